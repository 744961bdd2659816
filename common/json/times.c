/*
 * times.c - Timestamp and Duration as text: RFC 3339 in UTC, and seconds with an `s`, with 0, 3, 6
 * or 9 digits of fraction.
 */
#include <stdio.h>

#include "common/json/internal.h"

#define SECONDS_MIN (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define SECONDS_MAX 253402300799LL   /* 9999-12-31T23:59:59Z */
#define DURATION_MAX 315576000000LL  /* 10,000 years of 365.25 days */

/* A cursor over text that must match wholly. */
typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} reader;

static bool
is_digit(uint8_t character)
{
    return character >= '0' && character <= '9';
}

static bool
take(reader *in, char expected)
{
    if (in->at == in->end || *in->at != (uint8_t)expected)
        return false;
    in->at++;
    return true;
}

static void
need(reader *in, char expected)
{
    if (!take(in, expected))
        in->failed = true;
}

/* Exactly `count` digits, at least `min` and at most `max`. */
static int64_t
digits(reader *in, int count, int64_t min, int64_t max)
{
    int64_t value = 0;

    for (; count > 0; count--) {
        if (in->at == in->end || !is_digit(*in->at)) {
            in->failed = true;
            return min;
        }
        value = value * 10 + (*in->at++ - '0');
    }
    if (value < min || value > max)
        in->failed = true;
    return value;
}

/* Nanoseconds of a fraction of 1 to 9 digits after a point; 0 without a point. */
static int32_t
fraction(reader *in)
{
    int32_t nanos = 0;
    int count = 0;

    if (!take(in, '.'))
        return 0;
    for (; in->at < in->end && is_digit(*in->at) && count < 9; count++)
        nanos = nanos * 10 + (*in->at++ - '0');
    if (count == 0)
        in->failed = true;
    for (; count < 9; count++)
        nanos *= 10;
    return nanos;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the
 * leap day is the last one of its year and of its era of 400 years (146,097 days). */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
        719468;
}

static void
date_of(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    const int64_t z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t of_era = z - era * 146097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int64_t month = (5 * of_year + 2) / 153;

    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year + era * 400 + (*ret_month <= 2));
}

static int64_t
month_days(int64_t year, int64_t month)
{
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month == 2)
        return leap ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static int64_t
parse_date(reader *in)
{
    const int64_t year = digits(in, 4, 1, 9999);
    need(in, '-');
    const int64_t month = digits(in, 2, 1, 12);
    need(in, '-');
    const int64_t day = digits(in, 2, 1, month_days(year, month));

    return days_of(year, month, day);
}

static int64_t
parse_clock(reader *in)
{
    const int64_t hour = digits(in, 2, 0, 23);
    need(in, ':');
    const int64_t minute = digits(in, 2, 0, 59);
    need(in, ':');

    return hour * 3600 + minute * 60 + digits(in, 2, 0, 59);
}

/* Seconds east of UTC. */
static int64_t
parse_zone(reader *in)
{
    if (take(in, 'Z'))
        return 0;
    const bool west = take(in, '-');

    if (!west)
        need(in, '+');
    const int64_t hours = digits(in, 2, 0, 23);
    need(in, ':');
    const int64_t offset = hours * 3600 + digits(in, 2, 0, 59) * 60;

    return west ? -offset : offset;
}

bool
weir_json_parse_timestamp(weir_bytes text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    reader in = { .at = text.data, .end = text.data + text.size };
    int64_t seconds = parse_date(&in) * 86400;

    need(&in, 'T');
    seconds += parse_clock(&in);
    const int32_t nanos = fraction(&in);

    seconds -= parse_zone(&in);
    if (in.failed || in.at != in.end || seconds < SECONDS_MIN || seconds > SECONDS_MAX)
        return false;
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return true;
}

bool
json_parse_duration(weir_bytes text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    reader in = { .at = text.data, .end = text.data + text.size };
    const bool negative = take(&in, '-');
    const uint8_t *const begin = in.at;
    int64_t seconds = 0;

    for (; in.at < in.end && is_digit(*in.at) && seconds <= DURATION_MAX; in.at++)
        seconds = seconds * 10 + (*in.at - '0');
    if (in.at == begin)
        return false;
    const int32_t nanos = fraction(&in);

    need(&in, 's');
    if (in.failed || in.at != in.end || seconds > DURATION_MAX ||
        (seconds == DURATION_MAX && nanos > 0))
        return false;
    *ret_seconds = negative ? -seconds : seconds;
    *ret_nanos = negative ? -nanos : nanos;
    return true;
}

/* ".5", ".000001": 0, 3, 6 or 9 digits. */
static void
format_fraction(int32_t nanos, char out[12])
{
    out[0] = '\0';
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        (void)snprintf(out, 12, ".%03d", nanos / 1000000 % 1000);
    else if (nanos % 1000 == 0)
        (void)snprintf(out, 12, ".%06d", nanos / 1000 % 1000000);
    else
        (void)snprintf(out, 12, ".%09d", nanos % 1000000000);
}

bool
json_format_timestamp(int64_t seconds, int32_t nanos, char out[JSON_TIME_BYTES])
{
    char part[12];
    int year;
    int month;
    int day;

    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > 999999999)
        return false;
    const int64_t days = (seconds >= 0 ? seconds : seconds - 86399) / 86400;
    const int of_day = (int)(seconds - days * 86400);

    date_of(days, &year, &month, &day);
    format_fraction(nanos, part);
    (void)snprintf(out, JSON_TIME_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u%sZ", (unsigned)year % 10000,
        (unsigned)month % 100, (unsigned)day % 100, (unsigned)of_day / 3600 % 100,
        (unsigned)of_day / 60 % 60, (unsigned)of_day % 60, part);
    return true;
}

bool
json_format_duration(int64_t seconds, int32_t nanos, char out[JSON_TIME_BYTES])
{
    char part[12];

    if (seconds < -DURATION_MAX || seconds > DURATION_MAX || nanos < -999999999 ||
        nanos > 999999999 || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0))
        return false;
    const bool negative = seconds < 0 || nanos < 0;

    format_fraction(nanos < 0 ? -nanos : nanos, part);
    (void)snprintf(out, JSON_TIME_BYTES, "%s%lld%ss", negative ? "-" : "",
        (long long)(seconds < 0 ? -seconds : seconds), part);
    return true;
}
