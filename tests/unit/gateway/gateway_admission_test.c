/*
 * gateway_admission_test.c - goal: unary calls are refused at a limit, streams are held a little
 * below, and the sentence names the setting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/admission.h"

static gateway_admission
admit(gateway_limits limits, gateway_load load, weir_error *ret_why)
{
    *ret_why = (weir_error){ .code = WEIR_OK };
    return gateway_admit(&limits, &load, 100000, ret_why);
}

static void
without_limits_all_are_taken(void **state)
{
    weir_error why;

    assert_int_equal(admit((gateway_limits){ 0 }, (gateway_load){ .documents = UINT64_MAX }, &why),
        GATEWAY_ACCEPTING);
    assert_int_equal(why.code, WEIR_OK);
}

static void
streams_are_held_from_95_percent_and_calls_are_refused_at_the_limit(void **state)
{
    const gateway_limits limits = { .documents_max = 1000 };
    weir_error why;

    assert_int_equal(admit(limits, (gateway_load){ .documents = 949 }, &why), GATEWAY_ACCEPTING);
    assert_int_equal(admit(limits, (gateway_load){ .documents = 950 }, &why), GATEWAY_THROTTLING);
    assert_int_equal(why.code, WEIR_PRESSURE);
    assert_int_equal(admit(limits, (gateway_load){ .documents = 1000 }, &why), GATEWAY_REJECTING);
    assert_non_null(strstr(why.message, "gateway.max_pending_documents"));
    assert_true(why.retry_after_ms > 0);
}

static void
bytes_and_age_count_too(void **state)
{
    weir_error why;

    assert_int_equal(admit((gateway_limits){ .bytes_max = 10 }, (gateway_load){ .bytes = 10 },
                         &why),
        GATEWAY_REJECTING);
    assert_non_null(strstr(why.message, "gateway.max_pending_bytes"));
    assert_int_equal(admit((gateway_limits){ .age_max_ms = 1000 },
                         (gateway_load){ .oldest_since_ms = 99000 }, &why),
        GATEWAY_REJECTING);
    assert_non_null(strstr(why.message, "gateway.max_oldest_age_ms"));
    /* Nothing waits: nothing is old. */
    assert_int_equal(admit((gateway_limits){ .age_max_ms = 1000 }, (gateway_load){ 0 }, &why),
        GATEWAY_ACCEPTING);
}

static void
a_full_disk_refuses_whatever_the_limits(void **state)
{
    weir_error why;

    assert_int_equal(admit((gateway_limits){ 0 }, (gateway_load){ .disk_low = true }, &why),
        GATEWAY_REJECTING);
    assert_int_equal(why.code, WEIR_DISK_LOW);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_all_are_taken),
        cmocka_unit_test(streams_are_held_from_95_percent_and_calls_are_refused_at_the_limit),
        cmocka_unit_test(bytes_and_age_count_too),
        cmocka_unit_test(a_full_disk_refuses_whatever_the_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
