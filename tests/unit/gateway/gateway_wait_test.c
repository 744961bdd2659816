/*
 * gateway_wait_test.c - goal: a call that waits is answered once, when its state is there or its
 * time is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

static rig *
with_peers(void)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_settle(self);
    return self;
}

static const Weir__V1__WaitCollectionResponse *
settled(rig *self, uint64_t reply)
{
    assert_true(self->replies[reply].is_there);
    assert_int_equal(self->replies[reply].error.code, WEIR_OK);
    return (const Weir__V1__WaitCollectionResponse *)(const void *)self->replies[reply].response;
}

static void
an_ingest_that_waits_is_answered_when_it_is_ready(void **state)
{
    rig *self = with_peers();
    const uint64_t reply = RIG_INGEST(self, .text = "one", .wait_ms = 10000);

    rig_settle(self);
    assert_false(rig_is_answered(self, reply));
    rig_ready(self, "d", 1, 1, 3);
    assert_int_equal(rig_ingested(self, reply)->document->state, STATE(READY));
    assert_int_equal(rig_ingested(self, reply)->document->searchable_revision, 1);
    assert_int_equal(rig_ingested(self, reply)->document->chunk_count, 3);
    assert_int_equal(rig_ingested(self, reply)->outcome,
        WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_CREATED);
    rig_destroy(&self);
}

static void
an_ingest_whose_wait_is_over_is_answered_as_things_stand(void **state)
{
    rig *self = with_peers();
    const uint64_t reply = RIG_INGEST(self, .text = "one", .wait_ms = 500);

    rig_run_ms(self, 400);
    assert_false(rig_is_answered(self, reply));
    rig_run_ms(self, 150);
    assert_int_equal(rig_ingested(self, reply)->document->state, STATE(PROCESSING));
    rig_destroy(&self);
}

static void
a_wait_ends_with_failed_superseded_and_deleted_too(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .text = "one");
    const uint64_t first = rig_wait(self, "d", 1, 10000);
    RIG_INGEST(self, .text = "two");
    const uint64_t second = rig_wait(self, "d", 0, 10000);
    rig_give_up(self, "d", 2, 1);
    assert_int_equal(rig_document(self, second)->state, STATE(FAILED));
    assert_string_equal(rig_document(self, second)->error->reason, "EMBED_FAILED");
    assert_false(rig_is_answered(self, first));
    RIG_INGEST(self, .text = "three");
    rig_ready(self, "d", 3, 1, 1);
    assert_int_equal(rig_document(self, first)->state, STATE(SUPERSEDED));
    RIG_INGEST(self, .text = "four");
    const uint64_t fourth = rig_wait(self, "d", 4, 10000);
    rig_delete(self, "d", NULL, false);
    assert_false(rig_is_answered(self, fourth)); /* a search may still find what the delete ends */
    rig_deleted(self, "d", 5);
    assert_int_equal(rig_document(self, fourth)->state, STATE(DELETED));
    rig_refused(self, rig_wait(self, "x", 0, 100), WEIR_DOCUMENT_NOT_FOUND);
    rig_refused(self, rig_wait(self, "d", 9, 100), WEIR_DOCUMENT_NOT_FOUND);
    rig_destroy(&self);
}

static void
a_collection_settles_when_what_was_accepted_before_is_over(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "a");
    RIG_INGEST(self, .document_id = "b");
    const uint64_t reply = rig_wait_collection(self, NULL, 0, 10000);
    RIG_INGEST(self, .document_id = "later");
    rig_ready(self, "a", 1, 1, 1);
    assert_false(rig_is_answered(self, reply));
    rig_give_up(self, "b", 1, 1);
    assert_true(settled(self, reply)->settled);
    assert_int_equal(settled(self, reply)->ready, 1);
    assert_int_equal(settled(self, reply)->failed, 1);
    assert_int_equal(settled(self, reply)->processing, 1);
    rig_destroy(&self);
}

static void
a_collection_waits_for_no_more_than_the_write_of_the_token(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "a");
    RIG_INGEST(self, .document_id = "b");
    const uint64_t reply = rig_wait_collection(self, "a", 1, 10000);
    assert_false(rig_is_answered(self, reply));
    rig_ready(self, "a", 1, 1, 1);
    assert_true(settled(self, reply)->settled);
    assert_true(settled(self, rig_wait_collection(self, "a", 1, 10000))->settled);
    rig_refused(self, rig_wait_collection(self, "x", 1, 100), WEIR_INVALID_ARGUMENT);
    rig_destroy(&self);
}

static void
a_collection_that_does_not_settle_in_time_says_so(void **state)
{
    rig *self = with_peers();

    RIG_INGEST(self, .document_id = "a");
    const uint64_t reply = rig_wait_collection(self, NULL, 0, 200);
    rig_run_ms(self, 250);
    assert_false(settled(self, reply)->settled);
    rig_destroy(&self);
}

static void
too_many_waits_are_refused_and_ingests_are_answered_at_once(void **state)
{
    rig *self = rig_create();

    self->config.waiters_max = 2;
    rig_crash(self);
    RIG_INGEST(self, .document_id = "a");
    rig_wait(self, "a", 0, 60000);
    rig_wait(self, "a", 0, 60000);
    rig_refused(self, rig_wait(self, "a", 0, 60000), WEIR_QUEUE_FULL);
    rig_refused(self, rig_wait_collection(self, NULL, 0, 60000), WEIR_QUEUE_FULL);
    assert_int_equal(rig_ingested(self, RIG_INGEST(self, .document_id = "b", .wait_ms = 60000))
                         ->document->state,
        STATE(PENDING));
    rig_destroy(&self);
}

/* Half of the grace would go by otherwise: the servers wait for their calls. */
static void
a_drain_ends_every_wait_and_lets_none_begin(void **state)
{
    Weir__Internal__V1__EmptyResponse nothing = WEIR__INTERNAL__V1__EMPTY_RESPONSE__INIT;
    rig *self = rig_create();

    (void)state;
    const uint64_t ingest = RIG_INGEST(self, .document_id = "d", .wait_ms = 10000);
    const uint64_t wait = rig_wait(self, "d", 1, 10000);
    const uint64_t all = rig_wait_collection(self, NULL, 0, 10000);
    RIG_INGEST(self, .document_id = "gone");
    const uint64_t gone = rig_delete(self, "gone", NULL, false);
    assert_false(rig_is_answered(self, ingest) || rig_is_answered(self, wait) ||
        rig_is_answered(self, all) || rig_is_answered(self, gone));
    rig_submit(self, GATEWAY_DRAIN, "", &nothing.base);

    assert_int_equal(rig_ingested(self, ingest)->document->revision, 1); /* it was accepted */
    rig_refused(self, wait, WEIR_DRAINING);
    rig_refused(self, all, WEIR_DRAINING);
    rig_refused(self, gone, WEIR_SERVICE_UNAVAILABLE);
    rig_refused(self, rig_wait(self, "d", 1, 10000), WEIR_DRAINING);
    rig_refused(self, rig_wait_collection(self, NULL, 0, 10000), WEIR_DRAINING);
    rig_ingested(self, RIG_INGEST(self, .document_id = "e", .wait_ms = 10000));
    rig_destroy(&self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_ends_every_wait_and_lets_none_begin),
        cmocka_unit_test(an_ingest_that_waits_is_answered_when_it_is_ready),
        cmocka_unit_test(an_ingest_whose_wait_is_over_is_answered_as_things_stand),
        cmocka_unit_test(a_wait_ends_with_failed_superseded_and_deleted_too),
        cmocka_unit_test(a_collection_settles_when_what_was_accepted_before_is_over),
        cmocka_unit_test(a_collection_waits_for_no_more_than_the_write_of_the_token),
        cmocka_unit_test(a_collection_that_does_not_settle_in_time_says_so),
        cmocka_unit_test(too_many_waits_are_refused_and_ingests_are_answered_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
