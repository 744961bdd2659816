/*
 * Every pair of a recorded state and an evidence has its rule, and each rule is named here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "services/gateway/audit_rules.h"

/* One letter a pair: '.' agrees, 'A' advance, 'D' re-drive, 'R' review.  Columns: READY DAMAGED
 * NEWER TOMBSTONE PROMISE WORK NOTHING LETTER OTHER_LETTER NO_LETTER STRAYS NO_SOURCE
 * OTHER_COUNT. */
static const char *const rules[GATEWAY_AUDIT_STATE_COUNT] = {
    [GATEWAY_AUDIT_UNKNOWN] = "AA.AAA.AA.A..",
    [GATEWAY_AUDIT_PENDING] = "ADARD.DAA.AR.",
    [GATEWAY_AUDIT_PROCESSING] = "ADARD.DAA.AR.",
    [GATEWAY_AUDIT_READY] = ".DARD.DAA.AR.",
    [GATEWAY_AUDIT_FAILED] = "RRAR..A.AAAR.",
    [GATEWAY_AUDIT_RETIRED] = ".......AA.A..",
    [GATEWAY_AUDIT_DELETE] = "AAA.AAAAA.A..",
    [GATEWAY_AUDIT_COUNTERS] = "............A",
};

static char
letter_of(gateway_audit_rule rule)
{
    switch (rule) {
    case GATEWAY_AUDIT_AGREES:
        return '.';
    case GATEWAY_AUDIT_ADVANCE:
        return 'A';
    case GATEWAY_AUDIT_REDRIVE:
        return 'D';
    case GATEWAY_AUDIT_REVIEW:
        return 'R';
    }
    return '?';
}

static void
every_pair_has_its_rule(void **state)
{
    (void)state;
    for (int recorded = 1; recorded < GATEWAY_AUDIT_STATE_COUNT; recorded++)
        for (int seen = 1; seen < GATEWAY_AUDIT_EVIDENCE_COUNT; seen++) {
            const gateway_audit_row *row =
                gateway_audit_row_of((gateway_audit_state)recorded, (gateway_audit_evidence)seen);

            assert_int_equal(strlen(rules[recorded]), GATEWAY_AUDIT_EVIDENCE_COUNT - 1);
            if (letter_of(row->rule) != rules[recorded][seen - 1])
                fail_msg("%s and %s: %c, not %c",
                    gateway_audit_state_name((gateway_audit_state)recorded),
                    gateway_audit_evidence_name((gateway_audit_evidence)seen), letter_of(row->rule),
                    rules[recorded][seen - 1]);
        }
}

static void
what_does_not_agree_says_why_and_what_is_repaired_says_how(void **state)
{
    (void)state;
    for (int recorded = 1; recorded < GATEWAY_AUDIT_STATE_COUNT; recorded++)
        for (int seen = 1; seen < GATEWAY_AUDIT_EVIDENCE_COUNT; seen++) {
            const gateway_audit_row *row =
                gateway_audit_row_of((gateway_audit_state)recorded, (gateway_audit_evidence)seen);
            const bool is_repaired =
                row->rule == GATEWAY_AUDIT_ADVANCE || row->rule == GATEWAY_AUDIT_REDRIVE;

            assert_int_equal(row->why[0] != 0, row->rule != GATEWAY_AUDIT_AGREES);
            assert_int_equal(row->action != GATEWAY_AUDIT_DO_NOTHING, is_repaired);
            assert_true(gateway_audit_evidence_name((gateway_audit_evidence)seen)[0] != 0);
        }
}

/* ---- evidence ---- */

#define SEE(state_, revision_, epoch_, ready_, work_, ...)                                      \
    gateway_audit_see(&(gateway_audit_revision){ GATEWAY_AUDIT_##state_, (revision_), (epoch_), \
                          (ready_) },                                                           \
        &(gateway_audit_register){ __VA_ARGS__ }, (work_))

static void
the_register_is_read_in_order(void **state)
{
    (void)state;
    /* A tombstone ends all else, and of a delete it is what counts. */
    assert_int_equal(SEE(DELETE, 2, 1, 0, false, .deleted_below = 2), GATEWAY_AUDIT_SEES_TOMBSTONE);
    assert_int_equal(SEE(DELETE, 2, 1, 0, false, .ready_revision = 1, .is_whole = true),
        GATEWAY_AUDIT_SEES_NOTHING);
    assert_int_equal(SEE(READY, 1, 1, 1, false, .deleted_below = 1, .ready_revision = 1),
        GATEWAY_AUDIT_SEES_TOMBSTONE);
    assert_int_equal(SEE(READY, 1, 1, 1, false, .ready_revision = 1, .is_whole = true),
        GATEWAY_AUDIT_SEES_READY);
    assert_int_equal(SEE(READY, 1, 1, 1, false, .ready_revision = 1), GATEWAY_AUDIT_SEES_DAMAGED);
    assert_int_equal(SEE(READY, 1, 1, 1, false, .is_whole = true), GATEWAY_AUDIT_SEES_NOTHING);
    assert_int_equal(SEE(READY, 1, 2, 1, false, .promised_epoch = 2), GATEWAY_AUDIT_SEES_PROMISE);
    assert_int_equal(SEE(READY, 1, 2, 1, false, .promised_epoch = 1), GATEWAY_AUDIT_SEES_NOTHING);
}

static void
a_newer_revision_counts_once_both_know_it(void **state)
{
    (void)state;
    assert_int_equal(SEE(PENDING, 1, 1, 2, false, .ready_revision = 2, .is_whole = true),
        GATEWAY_AUDIT_SEES_NEWER);
    assert_int_equal(SEE(PENDING, 1, 1, 0, false, .ready_revision = 2, .is_whole = true),
        GATEWAY_AUDIT_SEES_WORK);
    /* An older one that serves meanwhile says nothing. */
    assert_int_equal(SEE(PENDING, 2, 1, 1, true, .ready_revision = 1, .is_whole = true),
        GATEWAY_AUDIT_SEES_WORK);
    assert_int_equal(SEE(PENDING, 2, 1, 1, false, .ready_revision = 1, .is_whole = true),
        GATEWAY_AUDIT_SEES_NOTHING);
}

static void
work_is_held_by_somebody_or_staged_whole(void **state)
{
    (void)state;
    assert_int_equal(SEE(PROCESSING, 1, 1, 0, true, .is_whole = true), GATEWAY_AUDIT_SEES_WORK);
    assert_int_equal(SEE(PROCESSING, 1, 1, 0, false, .is_staged = true), GATEWAY_AUDIT_SEES_WORK);
    assert_int_equal(SEE(PROCESSING, 1, 1, 0, false, .promised_epoch = 1),
        GATEWAY_AUDIT_SEES_PROMISE);
    /* Who gives it up holds it, though its epoch is promised away. */
    assert_int_equal(SEE(PROCESSING, 1, 1, 0, true, .promised_epoch = 1), GATEWAY_AUDIT_SEES_WORK);
    assert_int_equal(SEE(FAILED, 1, 1, 0, false, .is_staged = true), GATEWAY_AUDIT_SEES_NOTHING);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_has_its_rule),
        cmocka_unit_test(what_does_not_agree_says_why_and_what_is_repaired_says_how),
        cmocka_unit_test(the_register_is_read_in_order),
        cmocka_unit_test(a_newer_revision_counts_once_both_know_it),
        cmocka_unit_test(work_is_held_by_somebody_or_staged_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
