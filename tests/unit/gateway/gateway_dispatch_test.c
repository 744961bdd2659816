/*
 * gateway_dispatch_test.c - goal: the backlog moves within credit, and no tenant waits for
 * another's million.  Method: an ingest that gives little credit, and the order in which rows come
 * to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

static uint64_t
backlog(rig *self)
{
    gateway_published published;

    gateway_core_published(self->core, &published);
    return published.backlog;
}

static void
ingest_many(rig *self, const char *tenant, int count)
{
    for (int i = 0; i < count; i++) {
        char *name = weir_arena_printf(self->arena, "%s%d", tenant, i);

        RIG_INGEST(self, .tenant = tenant, .document_id = name, .text = name);
    }
}

/* Position of the first row of a tenant, or -1. */
static int
first_of(const rig *self, const char *tenant)
{
    for (size_t i = 0; i < self->ingest.row_count; i++)
        if (strcmp(self->ingest.rows[i]->tenant, tenant) == 0)
            return (int)i;
    return -1;
}

static void
what_cannot_be_handed_over_waits_and_survives_a_crash(void **state)
{
    rig *self = rig_create();

    ingest_many(self, "t", 50);
    assert_int_equal(backlog(self), 50);
    rig_check_store(self);
    rig_crash(self);
    assert_int_equal(backlog(self), 50);
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 1000);
    assert_int_equal(backlog(self), 0);
    assert_int_equal(self->ingest.row_count, 50);
    for (size_t i = 0; i < 50; i++) { /* of one tenant in the order of acceptance */
        char name[16];

        snprintf(name, sizeof name, "t%zu", i);
        assert_string_equal(self->ingest.rows[i]->document_id, name);
    }
    rig_check_store(self);
    rig_destroy(&self);
}

static void
a_page_moved_in_part_is_gone_on_with_after_a_crash(void **state)
{
    rig *self = rig_create();

    self->config.in_flight_max = 3;
    rig_crash(self);
    ingest_many(self, "other", 1);
    rig_round_begin(self); /* one page */
    for (int i = 0; i < 20; i++) {
        char *name = weir_arena_printf(self->arena, "t%d", i);

        rig_round_ingest(self, (rig_ingest_options){ .document_id = name, .text = name });
    }
    rig_round_end(self);
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 500);
    assert_int_equal(self->ingest.row_count, 3);
    assert_int_equal(backlog(self), 18);
    rig_crash(self);
    assert_int_equal(backlog(self), 18);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
tenants_take_turns(void **state)
{
    rig *self = rig_create();

    ingest_many(self, "a", 300);
    ingest_many(self, "b", 3);
    ingest_many(self, "e", 3);
    self->ingest.credit = 8;
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 3000);
    assert_int_equal(backlog(self), 0);
    assert_in_range(first_of(self, "b"), 0, 20);
    assert_in_range(first_of(self, "e"), 0, 20);
    rig_destroy(&self);
}

/* Rows of a tenant among the first `count`. */
static int
rows_of(const rig *self, const char *tenant, size_t count)
{
    int found = 0;

    for (size_t i = 0; i < count; i++)
        found += strcmp(self->ingest.rows[i]->tenant, tenant) == 0;
    return found;
}

static rig *
rig_with_weights(const char *weights, uint32_t credit)
{
    rig *self = rig_create();

    self->config.tenant_weights = weights;
    rig_crash(self);
    self->ingest.credit = credit;
    return self;
}

static void
check_shares(uint32_t credit)
{
    rig *self = rig_with_weights("a=5,b=2", credit);

    ingest_many(self, "a", 300);
    ingest_many(self, "b", 300);
    ingest_many(self, "e", 300); /* is not named: 1 */
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 20000);
    assert_int_equal(backlog(self), 0);
    assert_int_equal(self->ingest.row_count, 900);
    for (size_t count = 8; count <= 480; count += 8) { /* a waits until 480 rows have moved */
        assert_int_equal(rows_of(self, "a", count), count / 8 * 5);
        assert_int_equal(rows_of(self, "b", count), count / 8 * 2);
    }
    for (size_t count = 480; count <= 750; count += 3) /* then two thirds are b's until 750 */
        assert_in_range(rows_of(self, "b", count), 120 + (count - 480) / 3 * 2 - 1,
            120 + (count - 480) / 3 * 2 + 1);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
shares_are_as_weights(void **state)
{
    check_shares(64);
}

static void
a_turn_that_credit_cuts_goes_on(void **state)
{
    check_shares(1);
    check_shares(3);
    check_shares(7);
}

static void
a_redrive_in_its_turn_does_not_hold_up_what_is_new(void **state)
{
    rig *self = rig_with_weights("t=50", 4);

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_settle(self);
    ingest_many(self, "t", 20);
    rig_run_ms(self, 2000);
    assert_int_equal(backlog(self), 0);
    rig_peer_stop(self, &self->ingest);
    rig_peer_restart(self, &self->indexer, true); /* all are re-driven, in a turn of 50 */
    rig_tell_status(self, &self->indexer);
    rig_run_ms(self, 2000);
    assert_in_range(backlog(self), 1, 19); /* its turn was cut */
    rig_peer_start(self, &self->ingest);
    rig_round_begin(self);
    for (int i = 0; i < 3; i++) {
        char *name = weir_arena_printf(self->arena, "new%d", i);

        rig_round_ingest(self, (rig_ingest_options){ .document_id = name, .text = name });
    }
    rig_round_end(self);
    rig_run_ms(self, 5000);
    assert_int_equal(backlog(self), 0);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
more_tenants_than_credit_are_all_served(void **state)
{
    rig *self = rig_create();
    char tenant[] = "A";

    for (int i = 0; i < 20; i++, tenant[0]++)
        ingest_many(self, weir_arena_strdup(self->arena, tenant), 20);
    self->ingest.credit = 8;
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 5000);
    assert_int_equal(backlog(self), 0);
    for (tenant[0] = 'A'; tenant[0] < 'A' + 20; tenant[0]++)
        assert_in_range(first_of(self, tenant), 0,
            60); /* everybody's first row is among the first three turns */
    rig_destroy(&self);
}

static void
no_more_than_in_flight_max_are_processed_at_once(void **state)
{
    rig *self = rig_create();

    self->config.in_flight_max = 3;
    rig_crash(self);
    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_settle(self);
    ingest_many(self, "t", 5);
    rig_run_ms(self, 500);
    assert_int_equal(self->ingest.row_count, 3);
    rig_ready(self, "t0", 1, 1, 1);
    rig_settle(self);
    assert_int_equal(self->ingest.row_count, 4);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
an_entry_whose_revision_is_over_moves_nothing(void **state)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->indexer);
    rig_settle(self);
    RIG_INGEST(self, .text = "one");
    rig_delete(self, "d", NULL, false);
    rig_deleted(self, "d", 2);
    assert_int_equal(backlog(self), 1);
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 500);
    assert_int_equal(backlog(self), 0);
    assert_int_equal(self->ingest.row_count, 0);
    rig_destroy(&self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_handed_over_waits_and_survives_a_crash),
        cmocka_unit_test(a_page_moved_in_part_is_gone_on_with_after_a_crash),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(shares_are_as_weights),
        cmocka_unit_test(a_turn_that_credit_cuts_goes_on),
        cmocka_unit_test(a_redrive_in_its_turn_does_not_hold_up_what_is_new),
        cmocka_unit_test(more_tenants_than_credit_are_all_served),
        cmocka_unit_test(no_more_than_in_flight_max_are_processed_at_once),
        cmocka_unit_test(an_entry_whose_revision_is_over_moves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
