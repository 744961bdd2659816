/*
 * number.c - numbers as text, and text as numbers, whatever the locale.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json/internal.h"

/* printf writes the locale's decimal point; and many readers take -0 for an integer, so that its
 * sign is lost. */
static void
mend(char *text)
{
    char *const comma = strchr(text, ',');

    if (comma != NULL)
        *comma = '.';
    if (strcmp(text, "-0") == 0)
        memcpy(text, "-0.0", 5);
}

void
json_format_double(double value, char out[JSON_NUMBER_BYTES])
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, JSON_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    mend(out);
}

void
json_format_float(float value, char out[JSON_NUMBER_BYTES])
{
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(out, JSON_NUMBER_BYTES, "%.*g", digits, (double)value);
        if (strtof(out, NULL) == value)
            break;
    }
    mend(out);
}

/* The number that `value` is or, as a string, holds; NULL: neither. */
static const yyjson_val *
number_in(const yyjson_val *value, yyjson_val *scratch)
{
    if (yyjson_is_num((yyjson_val *)value))
        return value;
    if (!yyjson_is_str((yyjson_val *)value))
        return NULL;
    const char *const text = yyjson_get_str((yyjson_val *)value);
    const char *const end = yyjson_read_number(text, scratch, YYJSON_READ_NOFLAG, NULL, NULL);

    return end == text + yyjson_get_len((yyjson_val *)value) ? scratch : NULL;
}

bool
json_read_int64(const yyjson_val *value, int64_t *ret)
{
    yyjson_val scratch;
    yyjson_val *const number = (yyjson_val *)number_in(value, &scratch);

    if (number == NULL)
        return false;
    if (yyjson_is_real(number)) {
        const double real = yyjson_get_real(number);

        if (real != trunc(real) || real < -0x1p63 || real >= 0x1p63)
            return false;
        *ret = (int64_t)real;
        return true;
    }
    if (yyjson_is_uint(number) && yyjson_get_uint(number) > INT64_MAX)
        return false;
    *ret = yyjson_get_sint(number);
    return true;
}

bool
json_read_uint64(const yyjson_val *value, uint64_t *ret)
{
    yyjson_val scratch;
    yyjson_val *const number = (yyjson_val *)number_in(value, &scratch);

    if (number == NULL)
        return false;
    if (yyjson_is_real(number)) {
        const double real = yyjson_get_real(number);

        if (real != trunc(real) || real < 0 || real >= 0x1p64)
            return false;
        *ret = (uint64_t)real;
        return true;
    }
    if (yyjson_is_sint(number) && yyjson_get_sint(number) < 0)
        return false;
    *ret = yyjson_get_uint(number);
    return true;
}

static bool
read_named(const yyjson_val *value, double *ret)
{
    if (yyjson_equals_str((yyjson_val *)value, "NaN"))
        *ret = NAN;
    else if (yyjson_equals_str((yyjson_val *)value, "Infinity"))
        *ret = INFINITY;
    else if (yyjson_equals_str((yyjson_val *)value, "-Infinity"))
        *ret = -INFINITY;
    else
        return false;
    return true;
}

bool
json_read_double(const yyjson_val *value, double *ret)
{
    yyjson_val scratch;

    if (read_named(value, ret))
        return true;
    yyjson_val *const number = (yyjson_val *)number_in(value, &scratch);

    if (number == NULL)
        return false;
    *ret = yyjson_get_num(number);
    return true;
}
