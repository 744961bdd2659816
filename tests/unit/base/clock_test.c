/* Goal: times print as RFC 3339 and clocks go forward. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/clock.h"

static void
a_time_prints_in_utc_with_milliseconds(void **state)
{
    static const struct {
        int64_t wall_ms;
        const char *text;
    } rows[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 951782400007, "2000-02-29T00:00:00.007Z" },
        { 1769862896789, "2026-01-31T12:34:56.789Z" },
        { 253402300799999, "9999-12-31T23:59:59.999Z" },
        { -1, "1970-01-01T00:00:00.000Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999Z" },
        { INT64_MIN, "1970-01-01T00:00:00.000Z" },
    };

    for (size_t index = 0; index < sizeof rows / sizeof *rows; index++) {
        char text[25];

        weir_clock_format(rows[index].wall_ms, text);
        assert_string_equal(text, rows[index].text);
    }
}

static void
the_clocks_go_forward(void **state)
{
    const int64_t before_us = weir_clock_mono_us();
    const int64_t before_ms = weir_clock_mono_ms();

    weir_clock_sleep_ms(3);
    assert_true(weir_clock_mono_us() - before_us >= 3000);
    assert_true(weir_clock_mono_ms() - before_ms >= 2);
    assert_true(weir_clock_wall_ms() > 1700000000000);
    assert_true(weir_clock_thread_cpu_us() >= 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_prints_in_utc_with_milliseconds),
        cmocka_unit_test(the_clocks_go_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
