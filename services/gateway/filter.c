/*
 * filter.c - see filter.h.
 */
#include "services/gateway/filter.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "weir/v1/document.pb-c.h"

typedef struct scanner {
    const char *text;
    size_t at;
    unsigned fields;
    weir_arena *arena;
} scanner;

static weir_code
refuse(const scanner *self, weir_error *reterr, const char *what)
{
    static const char *const understood[] = { "nothing", "document_id", "reason",
        "document_id and reason", "stage", "document_id and stage", "reason and stage",
        "document_id, reason and stage" };

    return weir_error_set_field(reterr, WEIR_FILTER_INVALID, "filter",
        "the filter is wrong at byte %zu: %s; understood here is FIELD = \"VALUE\", joined by "
        "AND, for %s",
        self->at, what, understood[self->fields & 7]);
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

/* "..." or '...' with backslash escapes, or a bare word. */
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

static uint32_t
stage_of(const char *name)
{
    static const char *const names[] = { NULL, "ACCEPT", "CHUNK", "EMBED", "INDEX" };

    if (strncmp(name, "STAGE_", 6) == 0)
        name += 6;
    for (uint32_t stage = 1; stage <= WEIR__V1__STAGE__STAGE_INDEX; stage++)
        if (strcasecmp(name, names[stage]) == 0)
            return stage;
    return 0;
}

static weir_code
set_document_id(scanner *self, char *value, gateway_filter *filter, weir_error *reterr)
{
    if (filter->document_id != NULL && strcmp(filter->document_id, value) != 0)
        return refuse(self, reterr, "a document has one document_id");
    filter->document_id = value;
    return WEIR_OK;
}

static weir_code
set_reason(scanner *self, const char *value, gateway_filter *filter, weir_error *reterr)
{
    const weir_code reason = weir_code_from_name(value);

    if (strcmp(weir_code_name(reason), value) != 0 || reason == WEIR_OK)
        return refuse(self, reterr, "that is the name of no ErrorReason");
    filter->reason = reason;
    return WEIR_OK;
}

static weir_code
set_stage(scanner *self, const char *value, gateway_filter *filter, weir_error *reterr)
{
    filter->stage = stage_of(value);
    return filter->stage != 0 ? WEIR_OK
                              : refuse(self, reterr, "a stage is ACCEPT, CHUNK, EMBED or INDEX");
}

static weir_code
take_term(scanner *self, gateway_filter *filter, weir_error *reterr)
{
    const char *name = self->text + self->at;
    const size_t size = word_size(name);
    const bool is_document_id = size == 11 && strncmp(name, "document_id", size) == 0;
    const bool is_reason = size == 6 && strncmp(name, "reason", size) == 0;
    const bool is_stage = size == 5 && strncmp(name, "stage", size) == 0;
    const unsigned field = is_document_id ? GATEWAY_FILTER_DOCUMENT_ID
        : is_reason                       ? GATEWAY_FILTER_REASON
        : is_stage                        ? GATEWAY_FILTER_STAGE
                                          : 0;

    if ((field & self->fields) == 0)
        return refuse(self, reterr, "that field is not known here");
    self->at += size;
    skip_space(self);
    if (self->text[self->at] != '=')
        return refuse(self, reterr, "\"=\" is expected");
    self->at++;
    skip_space(self);
    char *value = take_value(self);
    if (value == NULL)
        return refuse(self, reterr, "a value in quotes is expected");
    if (is_document_id)
        return set_document_id(self, value, filter, reterr);
    return is_reason ? set_reason(self, value, filter, reterr)
                     : set_stage(self, value, filter, reterr);
}

weir_code
gateway_filter_parse(const char *text, unsigned fields, weir_arena *arena,
    gateway_filter *ret_filter, weir_error *reterr)
{
    scanner self = { .text = text, .fields = fields, .arena = arena };
    weir_code code = WEIR_OK;

    memset(ret_filter, 0, sizeof *ret_filter);
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
            return refuse(&self, reterr, "AND is expected");
        self.at += 3;
        skip_space(&self);
    }
}
