/*
 * gateway_end_test.c - goal: the end of a revision is recorded once, and a delete is final. Method:
 * what the indexer and the reconciler say, in every order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

static rig *
with_document(void)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_settle(self);
    RIG_INGEST(self, .text = "one");
    rig_settle(self);
    return self;
}

static void
done(rig *self)
{
    rig_check_store(self);
    rig_destroy(&self);
}

static uint32_t
state_of(rig *self, int64_t revision)
{
    return rig_revision(self, "d", revision)->state;
}

static const lifecycle_event *
last_event(const rig *self)
{
    return self->reconciler.events[self->reconciler.event_count - 1];
}

/* ---- READY ---- */

static void
ready_is_recorded_with_its_chunks(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(rig_revision(self, "d", 1)->chunk_count, 3);
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 1);
    rig_ready(self, "d", 1, 1, 3); /* a repeated row changes nothing */
    assert_int_equal(state_of(self, 1), STATE(READY));
    done(self);
}

static void
ready_of_a_newer_revision_supersedes_what_is_lower(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    RIG_INGEST(self, .text = "two");
    RIG_INGEST(self, .text = "three");
    assert_int_equal(state_of(self, 1), STATE(READY));
    rig_ready(self, "d", 3, 1, 2);
    assert_int_equal(state_of(self, 1), STATE(SUPERSEDED));
    assert_int_equal(state_of(self, 2), STATE(SUPERSEDED));
    assert_int_equal(state_of(self, 3), STATE(READY));
    rig_ready(self, "d", 2, 1, 9); /* late */
    assert_int_equal(state_of(self, 2), STATE(SUPERSEDED));
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 3);
    done(self);
}

static void
ready_of_a_lower_epoch_is_taken_while_the_record_is_not_over(void **state)
{
    rig *self = with_document();

    rig_raise(self, "d", 1, 1);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    rig_ready(self, "d", 1, 1, 3);
    assert_int_equal(state_of(self, 1), STATE(READY));
    done(self);
}

/* ---- raise and give up ---- */

static void
a_raise_begins_the_next_epoch_once(void **state)
{
    rig *self = with_document();

    rig_raise(self, "d", 1, 1);
    rig_raise(self, "d", 1, 1);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(DROPPED));
    assert_int_equal(self->ingest.rows[self->ingest.row_count - 1]->epoch, 2);
    done(self);
}

static void
giving_up_is_for_the_epoch_of_the_record_only(void **state)
{
    rig *self = with_document();

    rig_raise(self, "d", 1, 1);
    rig_give_up(self, "d", 1, 1);
    assert_int_equal(state_of(self, 1), STATE(PROCESSING));
    assert_int_equal(last_event(self)->kind, LIFECYCLE(DROPPED));
    rig_give_up(self, "d", 1, 2);
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    assert_int_equal(last_event(self)->kind, LIFECYCLE(GAVE_UP));
    assert_int_equal(rig_revision(self, "d", 1)->failure->code, WEIR_EMBED_FAILED);
    rig_raise(self, "d", 1, 2); /* FAILED stays until somebody asks */
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    done(self);
}

static void
what_is_ready_is_not_given_up(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    rig_give_up(self, "d", 1, 1);
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(last_event(self)->kind, LIFECYCLE(DROPPED));
    done(self);
}

/* ---- retry ---- */

static void
only_the_newest_failed_revision_is_retried(void **state)
{
    rig *self = with_document();

    rig_refused(self, rig_retry(self, "d", 0, NULL), WEIR_STATE_NOT_RETRYABLE);
    rig_refused(self, rig_retry(self, "x", 0, NULL), WEIR_DOCUMENT_NOT_FOUND);
    rig_refused(self, rig_retry(self, "d", 2, NULL), WEIR_DOCUMENT_NOT_FOUND);
    rig_give_up(self, "d", 1, 1);
    const Weir__V1__Document *retried = rig_document(self, rig_retry(self, "d", 0, "r"));
    assert_int_equal(retried->state, STATE(PENDING));
    assert_int_equal(retried->run, 2);
    assert_int_equal(rig_document(self, rig_retry(self, "d", 0, "r"))->run, 2); /* repeated */
    rig_give_up(self, "d", 1, 2);
    RIG_INGEST(self, .text = "two");
    rig_refused(self, rig_retry(self, "d", 1, NULL), WEIR_STATE_NOT_RETRYABLE);
    done(self);
}

/* ---- delete ---- */

static void
a_delete_is_answered_when_the_indexer_has_confirmed_it(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    const uint64_t reply = rig_delete(self, "d", NULL, false);
    rig_settle(self);
    assert_false(rig_is_answered(self, reply));
    assert_int_equal(self->indexer.rows[self->indexer.row_count - 1]->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE);
    rig_deleted(self, "d", 2);
    assert_int_equal(rig_document(self, reply)->state, STATE(DELETED));
    assert_int_equal(rig_document(self, reply)->revision, 2);
    assert_int_equal(rig_document(self, reply)->searchable_revision, 0);
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    done(self);
}

static void
a_second_delete_answers_the_same_revision(void **state)
{
    rig *self = with_document();
    const uint64_t first = rig_delete(self, "d", "r", false);
    const uint64_t second = rig_delete(self, "d", NULL, false);

    rig_deleted(self, "d", 2);
    assert_int_equal(rig_document(self, first)->revision, 2);
    assert_int_equal(rig_document(self, second)->revision, 2);
    RIG_INGEST(self, .text = "again");
    assert_int_equal(rig_document(self, rig_delete(self, "d", "r", false))->revision,
        2); /* repeated */
    assert_int_equal(rig_document_record(self, "d")->newest_revision, 3);
    done(self);
}

static void
a_delete_is_final(void **state)
{
    rig *self = with_document();

    rig_delete(self, "d", NULL, false);
    rig_ready(self, "d", 1, 1, 3);
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    rig_raise(self, "d", 1, 1);
    rig_give_up(self, "d", 1, 1);
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    rig_refused(self, rig_retry(self, "d", 0, NULL), WEIR_STATE_NOT_RETRYABLE);
    const Weir__V1__IngestDocumentResponse *next =
        rig_ingested(self, RIG_INGEST(self, .text = "one"));
    assert_int_equal(next->outcome, WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_CREATED);
    assert_int_equal(next->document->revision, 3);
    rig_settle(self);
    assert_int_equal(self->ingest.rows[self->ingest.row_count - 1]->deleted_below, 2);
    done(self);
}

static void
a_delete_without_the_indexer_is_unavailable_and_durable(void **state)
{
    rig *self = with_document();

    rig_peer_stop(self, &self->indexer);
    const uint64_t reply = rig_delete(self, "d", NULL, false);
    rig_run_ms(self, 1100);
    rig_refused(self, reply, WEIR_SERVICE_UNAVAILABLE);
    rig_crash(self);
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    rig_peer_start(self, &self->indexer);
    rig_run_ms(self, 3000);
    bool has_arrived = false;
    for (size_t i = 0; i < self->indexer.row_count; i++)
        has_arrived = has_arrived ||
            self->indexer.rows[i]->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE;
    assert_true(has_arrived);
    done(self);
}

static void
what_was_never_seen_is_not_found_unless_that_is_allowed(void **state)
{
    rig *self = with_document();

    rig_refused(self, rig_delete(self, "x", NULL, false), WEIR_DOCUMENT_NOT_FOUND);
    assert_null(rig_document(self, rig_delete(self, "x", NULL, true)));
    done(self);
}

static void
the_source_of_what_is_over_is_purged_and_says_so_in_rows(void **state)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_settle(self);
    RIG_INGEST(self, .text = "one");
    self->ingest.credit = 8;
    rig_peer_start(self, &self->ingest);
    rig_settle(self);
    rig_peer_stop(self, &self->ingest);
    RIG_INGEST(self, .text = "two");
    rig_ready(self, "d", 2, 1, 1); /* the indexer had it by another way */
    rig_peer_start(self, &self->ingest);
    rig_run_ms(self, 5000);
    for (size_t i = 1; i < self->ingest.row_count; i++)
        if (self->ingest.rows[i]->revision == 1)
            assert_true(self->ingest.rows[i]->document->source_gone);
    done(self);
}

static void
what_a_read_learned_in_this_era_is_recorded_like_the_row(void **state)
{
    rig *self = with_document();
    Weir__Internal__V1__LearnCommand learn = WEIR__INTERNAL__V1__LEARN_COMMAND__INIT;

    learn.collection_no = 1;
    learn.document_id = (char *)(uintptr_t)"d";
    learn.revision = 1;
    learn.epoch = 1;
    learn.chunk_count = 4;
    const uint64_t late = rig_submit(self, GATEWAY_LEARN, "t", &learn.base);
    assert_true(rig_is_answered(self, late));
    assert_int_equal(state_of(self, 1), STATE(PROCESSING)); /* asked before the present era */
    learn.era = 1;
    const uint64_t reply = rig_submit(self, GATEWAY_LEARN, "t", &learn.base);
    assert_true(rig_is_answered(self, reply));
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(rig_revision(self, "d", 1)->chunk_count, 4);
    done(self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_is_recorded_with_its_chunks),
        cmocka_unit_test(ready_of_a_newer_revision_supersedes_what_is_lower),
        cmocka_unit_test(ready_of_a_lower_epoch_is_taken_while_the_record_is_not_over),
        cmocka_unit_test(a_raise_begins_the_next_epoch_once),
        cmocka_unit_test(giving_up_is_for_the_epoch_of_the_record_only),
        cmocka_unit_test(what_is_ready_is_not_given_up),
        cmocka_unit_test(only_the_newest_failed_revision_is_retried),
        cmocka_unit_test(a_delete_is_answered_when_the_indexer_has_confirmed_it),
        cmocka_unit_test(a_second_delete_answers_the_same_revision),
        cmocka_unit_test(a_delete_is_final),
        cmocka_unit_test(a_delete_without_the_indexer_is_unavailable_and_durable),
        cmocka_unit_test(what_was_never_seen_is_not_found_unless_that_is_allowed),
        cmocka_unit_test(the_source_of_what_is_over_is_purged_and_says_so_in_rows),
        cmocka_unit_test(what_a_read_learned_in_this_era_is_recorded_like_the_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
