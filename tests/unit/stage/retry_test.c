/*
 * retry_test.c - what a failure of each class costs, how long is waited, and what ends it.
 *
 * Goal: one row of the table for each class, and every column means what its name says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/stage/retry.h"
#include "weir/v1/error.pb-c.h"

#define RULE(name_) weir_retry_rule_of(WEIR_CLASS_##name_)
#define EVENT(name_) WEIR__V1__DOCUMENT_EVENT_TYPE__DOCUMENT_EVENT_TYPE_##name_

static const weir_work_policy policy = { .attempts_max = 5,
    .crashes_max = 3,
    .backoff_base_ms = 500,
    .backoff_max_ms = 60000 };

/* The longest wait of the rule: full jitter draws from 1 to it. */
static uint32_t
ceiling(const weir_retry_rule *rule, uint32_t attempts, int64_t waited_ms)
{
    uint32_t most = 0;

    for (uint64_t random = 0; random < 70000; random++) {
        const uint32_t wait_ms = weir_retry_wait_ms(rule, &policy, attempts, waited_ms, 0, random);

        assert_in_range(wait_ms, 1, policy.backoff_max_ms);
        most = wait_ms > most ? wait_ms : most;
    }
    return most;
}

static void
the_public_classes_are_the_classes(void **state)
{
    assert_int_equal(weir__v1__error_class__descriptor.n_values, WEIR_CLASS_COUNT);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_UNSPECIFIED, WEIR_CLASS_NONE);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_TRANSIENT, WEIR_CLASS_TRANSIENT);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_THROTTLED, WEIR_CLASS_THROTTLED);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_OUTAGE, WEIR_CLASS_OUTAGE);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_PERMANENT, WEIR_CLASS_PERMANENT);
    assert_int_equal(WEIR__V1__ERROR_CLASS__ERROR_CLASS_KILLER, WEIR_CLASS_KILLER);
}

static void
a_transient_failure_spends_an_attempt_and_ends_with_the_last(void **state)
{
    const weir_retry_rule *rule = RULE(TRANSIENT);

    assert_int_equal(rule->cost, WEIR_RETRY_COSTS_ATTEMPT);
    assert_int_equal(rule->pause_factor, 0);
    assert_int_equal(rule->event, EVENT(ATTEMPT_FAILED));
    assert_true(rule->may_help);
    assert_false(weir_retry_is_over(rule, &policy, 4, 99));
    assert_true(weir_retry_is_over(rule, &policy, 5, 0));
    assert_int_equal(ceiling(rule, 1, 1000000), 500);
    assert_int_equal(ceiling(rule, 2, 0), 1000);
    assert_int_equal(ceiling(rule, 4, 0), 4000);
    assert_int_equal(ceiling(rule, 20, 0), 60000);
    assert_in_range(weir_retry_wait_ms(rule, &policy, 1, 0, 30000, 77), 1, 500); /* not heeded */
}

static void
a_throttled_one_waits_as_long_as_it_is_asked_to(void **state)
{
    const weir_retry_rule *rule = RULE(THROTTLED);

    assert_int_equal(rule->cost, WEIR_RETRY_COSTS_NOTHING);
    assert_int_equal(rule->event, EVENT(DEFERRED));
    assert_true(rule->may_help);
    assert_false(weir_retry_is_over(rule, &policy, UINT32_MAX, UINT32_MAX));
    assert_int_equal(weir_retry_wait_ms(rule, &policy, 0, 0, 30000, 0), 30001);
    assert_int_equal(weir_retry_wait_ms(rule, &policy, 0, 0, 30000, 499), 30500);
    assert_int_equal(weir_retry_wait_ms(rule, &policy, 0, 0, UINT32_MAX, 0), 60000);
    assert_int_equal(ceiling(rule, 0, 0), 500); /* nothing was asked */
    assert_int_equal(weir_retry_pause_ms(rule, &policy, 9, 30000, 0), 30001);
    assert_int_equal(weir_retry_pause_ms(rule, &policy, 0, 0, 499), 500);
}

static void
an_outage_is_waited_for_by_its_age_without_an_end(void **state)
{
    const weir_retry_rule *rule = RULE(OUTAGE);

    assert_int_equal(rule->cost, WEIR_RETRY_COSTS_NOTHING);
    assert_int_equal(rule->event, EVENT(DEFERRED));
    assert_true(rule->may_help);
    assert_false(weir_retry_is_over(rule, &policy, UINT32_MAX, UINT32_MAX));
    assert_int_equal(ceiling(rule, 0, 0), 500);
    assert_int_equal(ceiling(rule, 0, 501), 1000);
    assert_int_equal(ceiling(rule, 0, 16000), 16000);
    assert_int_equal(ceiling(rule, 0, INT64_MAX / 4), 60000);
    assert_int_equal(weir_retry_wait_ms(rule, &policy, 0, 0, 7000, 0), 7001);
    assert_int_equal(weir_retry_pause_ms(rule, &policy, 0, 0, 999), 1000);
    assert_int_equal(weir_retry_pause_ms(rule, &policy, 2, 0, 3999), 4000);
    assert_int_equal(weir_retry_pause_ms(rule, &policy, 30, 0, 59999), 60000);
}

static void
a_permanent_failure_is_the_end(void **state)
{
    const weir_retry_rule *rule = RULE(PERMANENT);

    assert_int_equal(rule->cost, WEIR_RETRY_COSTS_ATTEMPT);
    assert_int_equal(rule->pause_factor, 0);
    assert_false(rule->may_help);
    assert_true(weir_retry_is_over(rule, &policy, 1, 0));
}

static void
a_killer_is_set_aside_after_three_crashes_whatever_its_attempts(void **state)
{
    const weir_retry_rule *rule = RULE(KILLER);

    assert_int_equal(rule->cost, WEIR_RETRY_COSTS_CRASH);
    assert_int_equal(rule->pause_factor, 0);
    assert_int_equal(rule->event, EVENT(ATTEMPT_FAILED));
    assert_false(rule->may_help);
    assert_false(weir_retry_is_over(rule, &policy, 99, 2));
    assert_true(weir_retry_is_over(rule, &policy, 0, 3));
}

static void
only_what_never_ends_waits(void **state)
{
    for (int code = 0; code < WEIR_CODE_COUNT; code++) {
        const weir_class class = weir_code_class((weir_code)code);

        assert_int_equal(weir_retry_waits((weir_code)code),
            class == WEIR_CLASS_THROTTLED || class == WEIR_CLASS_OUTAGE);
        assert_ptr_equal(weir_retry_rule_for((weir_code)code), weir_retry_rule_of(class));
    }
}

static void
a_pause_is_never_above_the_longest_wait(void **state)
{
    const weir_work_policy tight = { .backoff_base_ms = 900, .backoff_max_ms = 1000 };

    for (uint64_t random = 0; random < 3000; random++)
        assert_in_range(weir_retry_pause_ms(RULE(OUTAGE), &tight, 0, 0, random), 1, 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_public_classes_are_the_classes),
        cmocka_unit_test(a_transient_failure_spends_an_attempt_and_ends_with_the_last),
        cmocka_unit_test(a_throttled_one_waits_as_long_as_it_is_asked_to),
        cmocka_unit_test(an_outage_is_waited_for_by_its_age_without_an_end),
        cmocka_unit_test(a_permanent_failure_is_the_end),
        cmocka_unit_test(a_killer_is_set_aside_after_three_crashes_whatever_its_attempts),
        cmocka_unit_test(only_what_never_ends_waits),
        cmocka_unit_test(a_pause_is_never_above_the_longest_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
