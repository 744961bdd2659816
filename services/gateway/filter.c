/*
 * filter.c - see filter.h.
 */
#include "services/gateway/filter.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/base/assert.h"
#include "common/json/json.h"
#include "weir/v1/document.pb-c.h"

typedef Weir__Internal__V1__EndedCondition condition;
typedef Weir__Internal__V1__EndedCondition__Field field_number;
typedef Weir__Internal__V1__EndedCondition__Comparison comparison;

#define FIELD(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__FIELD__FIELD_##name_
#define COMPARISON(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__COMPARISON__COMPARISON_##name_

typedef struct scanner {
    const char *text;
    size_t at;
    gateway_filter_of of;
    weir_arena *arena;
} scanner;

static weir_code
refuse(const scanner *self, size_t at, weir_error *reterr, const char *what)
{
    const char *understood = self->of == GATEWAY_FILTER_DOCUMENTS
        ? "document_id = \"VALUE\""
        : "comparisons joined by AND, of reason, stage and document_id (=, !=), and of revision, "
          "run and last_failure_time (also <, <=, >, >=)";

    return weir_error_set_field(reterr, WEIR_FILTER_INVALID, "filter",
        "the filter is wrong at byte %zu: %s; understood here: %s", at, what, understood);
}

static void
skip_space(scanner *self)
{
    while (isspace((unsigned char)self->text[self->at]))
        self->at++;
}

static size_t
word_size(const char *text)
{
    size_t size = 0;

    while (isalnum((unsigned char)text[size]) || text[size] == '_')
        size++;
    return size;
}

/* ---- fields: how a value of each is read ---- */

typedef struct field {
    const char *name;
    field_number number;
    bool has_order; /* <, <=, >, >= too */
    bool in_documents;
    bool (*read)(char *value, condition *into);
    const char *wants;
} field;

static bool
read_reason(char *value, condition *into)
{
    const weir_code reason = weir_code_from_name(value);

    into->number = reason;
    return reason != WEIR_OK && strcmp(weir_code_name(reason), value) == 0;
}

static bool
read_stage(char *value, condition *into)
{
    static const char *const names[] = { NULL, "ACCEPT", "CHUNK", "EMBED", "INDEX" };
    const char *name = strncmp(value, "STAGE_", 6) == 0 ? value + 6 : value;

    for (int stage = 1; stage <= WEIR__V1__STAGE__STAGE_INDEX; stage++)
        if (strcasecmp(name, names[stage]) == 0)
            into->number = stage;
    return into->number != 0;
}

static bool
read_text(char *value, condition *into)
{
    into->text = value;
    return true;
}

static bool
read_number(char *value, condition *into)
{
    const size_t size = strspn(value, "0123456789");

    for (size_t i = 0; i < size && i < 18; i++)
        into->number = into->number * 10 + (value[i] - '0');
    return size > 0 && size <= 18 && value[size] == 0;
}

static bool
read_time(char *value, condition *into)
{
    static const int64_t seconds_max = 9000000000; /* in nanoseconds it fits */
    int64_t seconds = 0;
    int32_t nanos = 0;

    if (!weir_json_parse_timestamp(weir_bytes_str(value), &seconds, &nanos) ||
        seconds > seconds_max || seconds < -seconds_max)
        return false;
    into->number = seconds * 1000000000 + nanos;
    return true;
}

static const field fields[] = {
    { "document_id", FIELD(DOCUMENT_ID), false, true, read_text, "" },
    { "reason", FIELD(REASON), false, false, read_reason, "that is the name of no ErrorReason" },
    { "stage", FIELD(STAGE), false, false, read_stage, "a stage is ACCEPT, CHUNK, EMBED or INDEX" },
    { "revision", FIELD(REVISION), true, false, read_number, "a revision is a whole number" },
    { "run", FIELD(RUN), true, false, read_number, "a run is a whole number" },
    { "last_failure_time", FIELD(LAST_FAILURE_TIME), true, false, read_time,
        "an instant is such as \"2024-05-01T12:00:00Z\"" },
};

static const field *
find_field(const scanner *self, const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strlen(fields[i].name) == size && strncmp(name, fields[i].name, size) == 0 &&
            (fields[i].in_documents || self->of != GATEWAY_FILTER_DOCUMENTS))
            return &fields[i];
    return NULL;
}

/* ---- terms ---- */

/* "..." or '...' with backslash escapes, or a bare word; NULL: none. */
static char *
take_value(scanner *self)
{
    const char *from = self->text + self->at;
    const char quote = *from;
    size_t size = 0;

    if (quote != '"' && quote != '\'') {
        size = word_size(from);
        self->at += size;
        return size > 0 ? weir_arena_strndup(self->arena, from, size) : NULL;
    }
    char *value = weir_arena_alloc(self->arena, strlen(from) + 1);
    for (from++; *from != 0 && *from != quote; from++) {
        if (*from == '\\' && from[1] != 0)
            from++;
        value[size++] = *from;
    }
    if (*from == 0)
        return NULL;
    value[size] = 0;
    self->at = (size_t)(from + 1 - self->text);
    return value;
}

static comparison
take_comparison(scanner *self)
{
    static const struct {
        const char *text;
        comparison is;
    } all[] = { { "!=", COMPARISON(NOT_EQUAL) }, { "<=", COMPARISON(AT_MOST) },
        { ">=", COMPARISON(AT_LEAST) }, { "=", COMPARISON(EQUAL) }, { "<", COMPARISON(LESS) },
        { ">", COMPARISON(GREATER) } };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strncmp(self->text + self->at, all[i].text, strlen(all[i].text)) != 0)
            continue;
        self->at += strlen(all[i].text);
        return all[i].is;
    }
    return COMPARISON(UNSPECIFIED);
}

static bool
may_compare(const scanner *self, const field *of, comparison by)
{
    if (by == COMPARISON(EQUAL))
        return true;
    if (by == COMPARISON(UNSPECIFIED) || self->of == GATEWAY_FILTER_DOCUMENTS)
        return false;
    return of->has_order || by == COMPARISON(NOT_EQUAL);
}

static weir_code
add(const scanner *self, condition *made, size_t at, gateway_filter *filter, weir_error *reterr)
{
    if (made->field == FIELD(DOCUMENT_ID) && made->comparison == COMPARISON(EQUAL)) {
        if (filter->document_id != NULL && strcmp(filter->document_id, made->text) != 0)
            return refuse(self, at, reterr, "a document has one document_id");
        filter->document_id = made->text;
    }
    if (filter->condition_count == GATEWAY_FILTER_CONDITIONS_MAX)
        return refuse(self, at, reterr, "32 comparisons are the most");
    filter->conditions[filter->condition_count++] = made;
    return WEIR_OK;
}

static weir_code
take_term(scanner *self, gateway_filter *filter, weir_error *reterr)
{
    const size_t begin = self->at;
    const size_t size = word_size(self->text + begin);
    const field *of = find_field(self, self->text + begin, size);
    condition *made = weir_arena_alloc(self->arena, sizeof *made);

    weir__internal__v1__ended_condition__init(made);
    if (of == NULL)
        return refuse(self, begin, reterr, "that field is not known here");
    self->at += size;
    skip_space(self);
    const size_t operator_at = self->at;
    made->field = of->number;
    made->comparison = take_comparison(self);
    if (!may_compare(self, of, made->comparison))
        return refuse(self, operator_at, reterr,
            of->has_order ? "a comparison is expected" : "\"=\" is expected");
    skip_space(self);
    const size_t value_at = self->at;
    char *value = take_value(self);
    if (value == NULL)
        return refuse(self, value_at, reterr, "a value in quotes is expected");
    if (!of->read(value, made))
        return refuse(self, value_at, reterr, of->wants);
    return add(self, made, begin, filter, reterr);
}

weir_code
gateway_filter_parse(const char *text, gateway_filter_of of, weir_arena *arena,
    gateway_filter *ret_filter, weir_error *reterr)
{
    scanner self = { .text = text, .of = of, .arena = arena };
    weir_code code = WEIR_OK;

    *ret_filter = (gateway_filter){ .conditions = weir_arena_alloc(arena,
                                        GATEWAY_FILTER_CONDITIONS_MAX * sizeof(condition *)) };
    if (strlen(text) > GATEWAY_FILTER_BYTES_MAX)
        return refuse(&self, GATEWAY_FILTER_BYTES_MAX, reterr, "4,096 bytes are the most");
    skip_space(&self);
    if (text[self.at] == 0 || strcmp(text + self.at, "*") == 0)
        return WEIR_OK;
    for (;;) {
        code = take_term(&self, ret_filter, reterr);
        if (code != WEIR_OK)
            return code;
        skip_space(&self);
        if (text[self.at] == 0)
            return WEIR_OK;
        if (strncmp(text + self.at, "AND", 3) != 0 || !isspace((unsigned char)text[self.at + 3]))
            return refuse(&self, self.at, reterr, "AND is expected");
        self.at += 3;
        skip_space(&self);
    }
}
