/*
 * clock.c - clock_gettime, once for all.
 */
#include "common/base/clock.h"

#include <errno.h>
#include <time.h>

#include "common/base/assert.h"

static int64_t
clock_us(clockid_t clock)
{
    struct timespec now;
    const int failed = clock_gettime(clock, &now);

    weir_assert(failed == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
weir_clock_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t
weir_clock_mono_ms(void)
{
    return clock_us(CLOCK_BOOTTIME) / 1000;
}

int64_t
weir_clock_mono_us(void)
{
    return clock_us(CLOCK_BOOTTIME);
}

int64_t
weir_clock_thread_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

void
weir_clock_sleep_ms(uint32_t duration_ms)
{
    struct timespec left = {
        .tv_sec = duration_ms / 1000,
        .tv_nsec = (long)(duration_ms % 1000) * 1000000,
    };

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

/* The last `digits` decimal digits of value, without a NUL. */
static char *
put_digits(char *out, int64_t value, int digits)
{
    for (int index = digits - 1; index >= 0; index--) {
        out[index] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

void
weir_clock_format(int64_t wall_ms, char out[25])
{
    static const int64_t year_10000_ms = 253402300800000;
    /* Out of range is a damaged record, not a reason to abort: show the nearest end. */
    const int64_t positive_ms = wall_ms < 0 ? 0 : wall_ms;
    const int64_t shown_ms = positive_ms < year_10000_ms ? positive_ms : year_10000_ms - 1;
    const time_t seconds = (time_t)(shown_ms / 1000);
    struct tm parts;

    (void)gmtime_r(&seconds, &parts);
    out = put_digits(out, parts.tm_year + 1900, 4);
    *out++ = '-';
    out = put_digits(out, parts.tm_mon + 1, 2);
    *out++ = '-';
    out = put_digits(out, parts.tm_mday, 2);
    *out++ = 'T';
    out = put_digits(out, parts.tm_hour, 2);
    *out++ = ':';
    out = put_digits(out, parts.tm_min, 2);
    *out++ = ':';
    out = put_digits(out, parts.tm_sec, 2);
    *out++ = '.';
    out = put_digits(out, shown_ms % 1000, 3);
    *out++ = 'Z';
    *out = '\0';
}
