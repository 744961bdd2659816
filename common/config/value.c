/*
 * value.c - the text of one setting becomes a value, or one sentence says why not.
 *
 * Nothing is clamped: a number outside its bounds, an unknown unit or a word that is no choice is
 * an error.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/config/config_internal.h"

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

static const unit byte_units[] = { { "", 1 }, { "B", 1 }, { "KiB", 1ull << 10 },
    { "MiB", 1ull << 20 }, { "GiB", 1ull << 30 }, { "TiB", 1ull << 40 }, { NULL, 0 } };
static const unit time_units[] = { { "", 1 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
    { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 } };
static const unit no_units[] = { { "", 1 }, { NULL, 0 } };

static const unit *
units_of(weir_config_type type)
{
    if (type == WEIR_CONFIG_BYTES)
        return byte_units;
    return type == WEIR_CONFIG_DURATION ? time_units : no_units;
}

static const char *
units_hint(weir_config_type type)
{
    if (type == WEIR_CONFIG_BYTES)
        return "a whole number of bytes, or one with KiB, MiB, GiB or TiB";
    return type == WEIR_CONFIG_DURATION
        ? "a whole number of milliseconds, or one with ms, s, m, h or d"
        : "a whole number";
}

static weir_code
check_bounds(const weir_config_key *key, double value, const char *text, weir_error *reterr)
{
    if (value >= key->min && value <= key->max)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s is outside %.15g..%.15g", text, key->min,
        key->max);
}

static weir_code
parse_number(const weir_config_key *key, const char *text, config_value *ret_value,
    weir_error *reterr)
{
    char *end = NULL;
    const unit *it = units_of(key->type);

    errno = 0;
    const unsigned long long digits =
        isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (end == NULL || errno == ERANGE)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.60s\" is not %s", text,
            units_hint(key->type));
    while (*end == ' ')
        end++;
    while (it->name != NULL && strcmp(it->name, end) != 0)
        it++;
    if (it->name == NULL || digits > UINT64_MAX / it->factor)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.60s\" is not %s", text,
            units_hint(key->type));
    ret_value->number = digits * it->factor;
    return check_bounds(key, (double)ret_value->number, text, reterr);
}

static weir_code
parse_float(const weir_config_key *key, const char *text, config_value *ret_value,
    weir_error *reterr)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value))
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.60s\" is not a number", text);
    ret_value->real = value;
    return check_bounds(key, value, text, reterr);
}

static weir_code
parse_bool(const char *text, config_value *ret_value, weir_error *reterr)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.60s\" is neither true nor false",
            text);
    ret_value->truth = text[0] == 't';
    return WEIR_OK;
}

bool
config_choice_at(const char *choices, int index, char *out, size_t size)
{
    const char *at = choices;

    while (index-- > 0) {
        at = strchr(at, '|');
        if (at == NULL)
            return false;
        at++;
    }
    const size_t length = strcspn(at, "|");
    snprintf(out, size, "%.*s", (int)length, at);
    return true;
}

static weir_code
parse_enum(const weir_config_key *key, const char *text, config_value *ret_value,
    weir_error *reterr)
{
    char choice[32];

    for (int i = 0; config_choice_at(key->choices, i, choice, sizeof choice); i++) {
        if (strcmp(choice, text) == 0) {
            ret_value->choice = i;
            return WEIR_OK;
        }
    }
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "\"%.60s\" is none of %s", text,
        key->choices);
}

static weir_code
check_string(const weir_config_key *key, const char *text, weir_error *reterr)
{
    const double size = (double)strlen(text);

    if (size >= key->min && size <= key->max)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CONFIG_INVALID,
        "the text has %.0f bytes, outside %.0f..%.0f", size, key->min, key->max);
}

weir_code
config_value_parse(const weir_config_key *key, const char *text, config_value *ret_value,
    weir_error *reterr)
{
    switch (key->type) {
    case WEIR_CONFIG_U32:
    case WEIR_CONFIG_BYTES:
    case WEIR_CONFIG_DURATION:
        return parse_number(key, text, ret_value, reterr);
    case WEIR_CONFIG_FLOAT:
        return parse_float(key, text, ret_value, reterr);
    case WEIR_CONFIG_BOOL:
        return parse_bool(text, ret_value, reterr);
    case WEIR_CONFIG_ENUM:
        return parse_enum(key, text, ret_value, reterr);
    case WEIR_CONFIG_STRING:
        return check_string(key, text, reterr);
    }
    weir_assert(!"every type has a parser");
    return WEIR_INTERNAL;
}
