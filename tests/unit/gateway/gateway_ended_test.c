/*
 * gateway_ended_test.c - goal: requeue and discard do what the dead letter's run allows, once, and
 * FAILED never stands without its dead letter.  Method: commands against revisions in every
 * situation; the store is checked after each test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/rate.h"
#include "tests/unit/gateway/rig.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

typedef Weir__Internal__V1__EndedCommand ended_command;
typedef Weir__Internal__V1__EndedItem ended_item;
typedef Weir__Internal__V1__EndedResult ended_result;
typedef Weir__Internal__V1__EndedAnswer ended_answer;

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

static rig *
with_failure(void)
{
    rig *self = with_document();

    rig_give_up(self, "d", 1, 1);
    return self;
}

static void
done(rig *self)
{
    rig_check_store(self);
    rig_destroy(&self);
}

typedef struct wish {
    const char *tenant, *document_id, *request_id;
    uint64_t collection_no;
    int64_t revision, epoch;
    bool dry_run;
} wish;

static const ended_result *
decide(rig *self, gateway_command kind, wish wanted)
{
    ended_command command = WEIR__INTERNAL__V1__ENDED_COMMAND__INIT;
    ended_item item = WEIR__INTERNAL__V1__ENDED_ITEM__INIT;

    item.collection_no = wanted.collection_no != 0 ? wanted.collection_no : 1;
    item.document_id = (char *)(uintptr_t)(wanted.document_id != NULL ? wanted.document_id : "d");
    item.revision = wanted.revision != 0 ? wanted.revision : 1;
    item.epoch = wanted.epoch != 0 ? wanted.epoch : 1;
    command.items = (ended_item *[]){ &item };
    command.n_items = 1;
    command.dry_run = wanted.dry_run;
    if (wanted.request_id != NULL)
        command.request_id = (char *)(uintptr_t)wanted.request_id;
    const uint64_t reply =
        rig_submit(self, kind, wanted.tenant != NULL ? wanted.tenant : "t", &command.base);
    assert_true(rig_is_answered(self, reply));
    const ended_answer *answer = (const ended_answer *)(const void *)self->replies[reply].response;
    assert_int_equal(answer->n_results, 1);
    return answer->results[0];
}

#define REQUEUE(self_, ...) decide((self_), GATEWAY_REQUEUE, (wish){ __VA_ARGS__ })
#define DISCARD(self_, ...) decide((self_), GATEWAY_DISCARD, (wish){ __VA_ARGS__ })

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

static bool
has_source(rig *self, int64_t revision)
{
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    weir_error error;
    bool found = false;

    assert_int_equal(weir_store_get(self->store, NULL, gateway_key_source(&key, 1, "d", revision),
                         &value, &found, &error),
        WEIR_OK);
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    return found;
}

/* ---- requeue ---- */

static void
a_requeue_begins_the_run_after_the_one_that_was_given_up(void **state)
{
    rig *self = with_failure();
    const ended_result *result = REQUEUE(self);

    assert_int_equal(result->code, WEIR_OK);
    assert_int_equal(result->epoch, 2);
    assert_string_equal(result->collection_id, "c");
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(state_of(self, 1), STATE(PROCESSING));
    rig_settle(self);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(ACCEPTED));
    assert_int_equal(last_event(self)->cause,
        WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_RETRY);
    assert_int_equal(self->ingest.rows[self->ingest.row_count - 1]->epoch, 2);
    done(self);
}

static void
a_dead_letter_of_a_past_run_is_requeued_no_more(void **state)
{
    rig *self = with_failure();

    assert_int_equal(REQUEUE(self)->code, WEIR_OK);
    assert_int_equal(REQUEUE(self)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    rig_give_up(self, "d", 1, 2); /* it fails again: another dead letter */
    assert_int_equal(REQUEUE(self)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(REQUEUE(self, .epoch = 2)->epoch, 3);
    done(self);
}

static void
a_repeated_request_answers_as_before_and_begins_nothing(void **state)
{
    rig *self = with_failure();

    assert_int_equal(REQUEUE(self, .request_id = "r")->epoch, 2);
    assert_int_equal(REQUEUE(self, .request_id = "r")->epoch, 2);
    rig_give_up(self, "d", 1, 2);
    assert_int_equal(REQUEUE(self, .request_id = "r")->epoch, 2);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(REQUEUE(self, .request_id = "s")->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(REQUEUE(self, .request_id = "r", .epoch = 2)->epoch, 3);
    rig_crash(self);
    assert_int_equal(REQUEUE(self, .request_id = "r")->epoch, 2);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 3);
    done(self);
}

static void
only_the_newest_revision_is_requeued(void **state)
{
    rig *self = with_failure();

    RIG_INGEST(self, .text = "two");
    const ended_result *result = REQUEUE(self);
    assert_int_equal(result->code, WEIR_STATE_NOT_RETRYABLE);
    assert_non_null(strstr(result->message, "discard it"));
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    done(self);
}

static void
a_dry_run_says_what_would_be_done_and_writes_nothing(void **state)
{
    rig *self = with_failure();
    const size_t events = self->reconciler.event_count;

    assert_int_equal(REQUEUE(self, .dry_run = true, .request_id = "r")->epoch, 2);
    assert_int_equal(DISCARD(self, .dry_run = true, .request_id = "r")->state, STATE(DELETED));
    rig_settle(self);
    assert_int_equal(self->reconciler.event_count, events);
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 1);
    assert_int_equal(REQUEUE(self, .request_id = "r")->epoch, 2);
    done(self);
}

static void
what_is_not_failed_or_not_ones_own_is_no_dead_letter(void **state)
{
    rig *self = with_document();

    assert_int_equal(REQUEUE(self)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(DISCARD(self)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    rig_give_up(self, "d", 1, 1);
    assert_int_equal(REQUEUE(self, .tenant = "u")->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(DISCARD(self, .tenant = "u")->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_string_equal(DISCARD(self, .tenant = "u")->collection_id, "");
    assert_int_equal(REQUEUE(self, .collection_no = 2)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(REQUEUE(self, .document_id = "e")->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(REQUEUE(self, .revision = 2)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    done(self);
}

static void
a_thousand_are_requeued_in_one_command(void **state)
{
    rig *self = with_document();
    ended_command command = WEIR__INTERNAL__V1__ENDED_COMMAND__INIT;
    ended_item *items[1000];
    char name[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "d%d", i);
        RIG_INGEST(self, .document_id = weir_arena_strdup(self->arena, name), .text = "x");
        rig_give_up(self, name, 1, 1);
        items[i] = weir_arena_alloc(self->arena, sizeof *items[i]);
        weir__internal__v1__ended_item__init(items[i]);
        items[i]->collection_no = 1;
        items[i]->document_id = weir_arena_strdup(self->arena, name);
        items[i]->revision = 1;
        items[i]->epoch = i < 990 ? 1 : 2;
    }
    command.items = items;
    command.n_items = 1000;
    const uint64_t reply = rig_submit(self, GATEWAY_REQUEUE, "t", &command.base);
    const ended_answer *answer = (const ended_answer *)(const void *)self->replies[reply].response;
    assert_int_equal(answer->n_results, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(answer->results[i]->code, i < 990 ? WEIR_OK : WEIR_DEAD_LETTER_NOT_FOUND);
    done(self);
}

/* ---- discard ---- */

static void
a_discard_of_the_only_revision_deletes_the_document(void **state)
{
    rig *self = with_failure();
    const ended_result *result = DISCARD(self);

    assert_int_equal(result->code, WEIR_OK);
    assert_int_equal(result->state, STATE(DELETED));
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    assert_int_equal(state_of(self, 2), STATE(DELETED));
    assert_true(rig_revision(self, "d", 2)->is_delete);
    assert_int_equal(rig_document_record(self, "d")->deleted_below, 2);
    assert_false(has_source(self, 1));
    rig_settle(self);
    const lifecycle_event *event = last_event(self);
    assert_int_equal(event->kind, LIFECYCLE(DELETED));
    assert_int_equal(event->revision, 1);
    assert_int_equal(event->cause, WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_DISCARD);
    assert_int_equal(self->indexer.rows[self->indexer.row_count - 1]->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE);
    rig_ready(self, "d", 1, 1, 3); /* late, and impossible */
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    done(self);
}

static void
a_discard_leaves_the_older_revision_that_is_ready(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    RIG_INGEST(self, .text = "two");
    rig_give_up(self, "d", 2, 1);
    const ended_result *result = DISCARD(self, .revision = 2);
    assert_int_equal(result->state, STATE(SUPERSEDED));
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(state_of(self, 2), STATE(SUPERSEDED));
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 1);
    assert_int_equal(rig_document_record(self, "d")->newest_revision, 2);
    assert_false(has_source(self, 2));
    rig_settle(self);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(SUPERSEDED));
    done(self);
}

static void
what_was_discarded_can_be_ingested_again_with_the_same_bytes(void **state)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    RIG_INGEST(self, .text = "two");
    rig_give_up(self, "d", 2, 1);
    DISCARD(self, .revision = 2);
    const Weir__V1__IngestDocumentResponse *again =
        rig_ingested(self, RIG_INGEST(self, .text = "two"));
    assert_int_equal(again->outcome, WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_REPLACED);
    assert_int_equal(again->document->revision, 3);
    assert_true(has_source(self, 3));
    rig_ready(self, "d", 3, 1, 1);
    assert_int_equal(state_of(self, 1), STATE(SUPERSEDED));
    done(self);
}

static void
of_several_dead_letters_of_a_document_the_last_one_deletes_it(void **state)
{
    rig *self = with_failure();

    RIG_INGEST(self, .text = "two");
    assert_int_equal(DISCARD(self, .dry_run = true)->state, STATE(SUPERSEDED)); /* 2 is under way */
    rig_give_up(self, "d", 2, 1);
    assert_int_equal(DISCARD(self, .revision = 2)->state, STATE(SUPERSEDED));
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    assert_int_equal(DISCARD(self)->state, STATE(DELETED));
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    assert_int_equal(state_of(self, 2), STATE(SUPERSEDED));
    assert_int_equal(rig_document_record(self, "d")->deleted_below, 3);
    done(self);
}

static void
a_repeated_discard_is_counted_again_only_by_its_request_id(void **state)
{
    rig *self = with_failure();

    assert_int_equal(DISCARD(self, .request_id = "r")->code, WEIR_OK);
    assert_int_equal(DISCARD(self, .request_id = "r")->code, WEIR_OK);
    assert_int_equal(DISCARD(self)->code, WEIR_DEAD_LETTER_NOT_FOUND);
    assert_int_equal(rig_document_record(self, "d")->newest_revision, 2);
    /* A new document under the same name has nothing to fear from it. */
    RIG_INGEST(self, .text = "new");
    assert_int_equal(DISCARD(self, .request_id = "r")->code, WEIR_OK);
    assert_int_equal(state_of(self, 3), STATE(PROCESSING));
    done(self);
}

/* ---- the rate ---- */

static void
a_rate_gives_what_has_come_together_and_says_when_there_is_more(void **state)
{
    gateway_rate rate;
    int64_t wait_ms = -1;

    gateway_rate_init(&rate, 100, 5000);
    assert_int_equal(gateway_rate_take(&rate, 60, 5000, &wait_ms), 60);
    assert_int_equal(wait_ms, 0);
    assert_int_equal(gateway_rate_take(&rate, 60, 5000, &wait_ms), 40);
    assert_int_equal(wait_ms, 201);
    assert_int_equal(gateway_rate_take(&rate, 1000, 5000, &wait_ms), 0);
    assert_int_equal(wait_ms, 1001);
    assert_int_equal(gateway_rate_take(&rate, 10, 5100, &wait_ms), 10);
    gateway_rate_give_back(&rate, 10);
    assert_int_equal(gateway_rate_take(&rate, 10, 5100, &wait_ms), 10);
    assert_int_equal(gateway_rate_take(&rate, 1000, 60000, &wait_ms), 100); /* it holds no more */
    gateway_rate_fini(&rate);
    gateway_rate_init(&rate, 0, 0);
    assert_int_equal(gateway_rate_take(&rate, 1000, 0, &wait_ms), 1000);
    gateway_rate_fini(&rate);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_requeue_begins_the_run_after_the_one_that_was_given_up),
        cmocka_unit_test(a_dead_letter_of_a_past_run_is_requeued_no_more),
        cmocka_unit_test(a_repeated_request_answers_as_before_and_begins_nothing),
        cmocka_unit_test(only_the_newest_revision_is_requeued),
        cmocka_unit_test(a_dry_run_says_what_would_be_done_and_writes_nothing),
        cmocka_unit_test(what_is_not_failed_or_not_ones_own_is_no_dead_letter),
        cmocka_unit_test(a_thousand_are_requeued_in_one_command),
        cmocka_unit_test(a_discard_of_the_only_revision_deletes_the_document),
        cmocka_unit_test(a_discard_leaves_the_older_revision_that_is_ready),
        cmocka_unit_test(what_was_discarded_can_be_ingested_again_with_the_same_bytes),
        cmocka_unit_test(of_several_dead_letters_of_a_document_the_last_one_deletes_it),
        cmocka_unit_test(a_repeated_discard_is_counted_again_only_by_its_request_id),
        cmocka_unit_test(a_rate_gives_what_has_come_together_and_says_when_there_is_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
