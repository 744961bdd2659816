/*
 * gateway_audit_core_test.c - goal: a finding counts only for the record that it was made of, and
 * each repair is one step that makes the two sides agree.  Method: findings as the audit hands them
 * in, against the core with peers that remember what they got.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/wire/wire.h"
#include "services/gateway/audit_count.h"
#include "services/gateway/audit_rules.h"
#include "tests/unit/gateway/rig.h"
#include "weir/v1/system.pb-c.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_
#define RESOLUTION(name_) WEIR__V1__INCONSISTENCY_RESOLUTION__INCONSISTENCY_RESOLUTION_##name_

enum { COLLECTION_NO = 1, REPAIR_AGAIN_MS = 20000 };

typedef Weir__Internal__V1__AuditCommand finding;
typedef Weir__Internal__V1__AuditAnswer audit_answer;

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
with_ready(void)
{
    rig *self = with_document();

    rig_ready(self, "d", 1, 1, 3);
    return self;
}

static rig *
with_failed(void)
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

/* ---- findings ---- */

/* As the audit makes it of the record that is there now. */
static finding
see(rig *self, const char *document_id, int64_t revision, gateway_audit_evidence evidence)
{
    const revision_record *record = rig_revision(self, document_id, revision);
    finding seen = WEIR__INTERNAL__V1__AUDIT_COMMAND__INIT;

    seen.tenant = (char *)(uintptr_t)"t";
    seen.collection_no = COLLECTION_NO;
    seen.document_id = (char *)(uintptr_t)document_id;
    seen.revision = revision;
    seen.epoch = record->epoch;
    seen.state = (uint32_t)gateway_audit_state_of(record);
    seen.evidence = evidence;
    seen.change_no = record->change_no;
    seen.era = weir_stage_era(self->stage);
    seen.message = (char *)(uintptr_t)"what was seen";
    return seen;
}

static finding
see_unknown(rig *self, uint64_t collection_no, const char *document_id, int64_t revision,
    gateway_audit_evidence evidence)
{
    finding seen = WEIR__INTERNAL__V1__AUDIT_COMMAND__INIT;

    seen.tenant = (char *)(uintptr_t)"t";
    seen.collection_no = collection_no;
    seen.document_id = (char *)(uintptr_t)document_id;
    seen.revision = revision;
    seen.state = GATEWAY_AUDIT_UNKNOWN;
    seen.evidence = evidence;
    seen.era = weir_stage_era(self->stage);
    seen.message = (char *)(uintptr_t)"what was seen";
    return seen;
}

static const ProtobufCMessage *
answer_of(rig *self, uint64_t reply)
{
    rig_settle(self);
    assert_true(rig_is_answered(self, reply));
    assert_int_equal(self->replies[reply].error.code, WEIR_OK);
    return self->replies[reply].response;
}

static const audit_answer *
tell(rig *self, const finding *seen)
{
    return (const audit_answer *)answer_of(self, rig_submit(self, GATEWAY_AUDIT, "", &seen->base));
}

static void
repair(rig *self, const finding *seen)
{
    const audit_answer *answer = tell(self, seen);

    assert_false(answer->is_stale);
    assert_true(answer->is_repaired);
}

static gateway_published
published(rig *self)
{
    gateway_published now;

    gateway_core_published(self->core, &now);
    return now;
}

static const lifecycle_event *
last_event(const rig *self)
{
    return self->reconciler.events[self->reconciler.event_count - 1];
}

static const rig_row *
last_row(const rig_peer *peer)
{
    return peer->rows[peer->row_count - 1];
}

static uint32_t
state_of(rig *self, int64_t revision)
{
    return rig_revision(self, "d", revision)->state;
}

/* ---- what counts ---- */

static void
a_finding_counts_for_nothing_once_the_record_has_changed(void **state)
{
    rig *self = with_ready();
    finding seen[5];

    for (size_t i = 0; i < 5; i++)
        seen[i] = see(self, "d", 1, GATEWAY_AUDIT_SEES_NOTHING);
    seen[0].epoch++;
    seen[1].change_no++;
    seen[2].era++;
    seen[3].state = GATEWAY_AUDIT_FAILED;
    seen[4].evidence = GATEWAY_AUDIT_SEES_READY; /* which agrees */
    for (size_t i = 0; i < 5; i++)
        assert_true(tell(self, &seen[i])->is_stale);
    const finding gone = see_unknown(self, COLLECTION_NO, "d", 1, GATEWAY_AUDIT_SEES_READY);
    assert_true(tell(self, &gone)->is_stale);
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(published(self).inconsistencies, 0);
    done(self);
}

static void
what_is_no_finding_is_refused(void **state)
{
    rig *self = with_ready();
    finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_NOTHING);

    seen.evidence = GATEWAY_AUDIT_EVIDENCE_COUNT;
    rig_refused(self, rig_submit(self, GATEWAY_AUDIT, "", &seen.base), WEIR_INVALID_ARGUMENT);
    seen.evidence = GATEWAY_AUDIT_SEES_NOTHING;
    seen.state = 0;
    rig_refused(self, rig_submit(self, GATEWAY_AUDIT, "", &seen.base), WEIR_INVALID_ARGUMENT);
    done(self);
}

/* ---- repairs ---- */

static void
what_the_indexer_lost_is_driven_again(void **state)
{
    rig *self = with_ready();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_NOTHING);

    repair(self, &seen);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 0);
    assert_int_equal(last_row(&self->ingest)->epoch, 2);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(AUDITED));
    assert_string_equal(last_event(self)->message, "what was seen");
    assert_int_equal(published(self).inconsistencies, 1);
    rig_ready(self, "d", 1, 2, 3);
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 1);
    done(self);
}

static void
a_ready_that_was_not_heard_of_is_recorded(void **state)
{
    rig *self = with_document();
    finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    seen.chunk_count = 7;
    repair(self, &seen);
    assert_int_equal(state_of(self, 1), STATE(READY));
    assert_int_equal(rig_revision(self, "d", 1)->chunk_count, 7);
    assert_int_equal(last_event(self)->recorded_state, STATE(READY));
    done(self);
}

static void
what_a_newer_one_replaced_is_retired(void **state)
{
    rig *self = with_ready();

    RIG_INGEST(self, .text = "two");
    rig_settle(self);
    const finding seen = see(self, "d", 2, GATEWAY_AUDIT_SEES_NEWER);
    repair(self, &seen);
    assert_int_equal(state_of(self, 2), STATE(SUPERSEDED));
    done(self);
}

static void
what_is_damaged_is_checked_by_the_indexer_first(void **state)
{
    rig *self = with_ready();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_DAMAGED);

    repair(self, &seen);
    assert_int_equal(last_row(&self->indexer)->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_AUDIT);
    assert_int_equal(last_row(&self->indexer)->audit->forget_above, -1);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 1);
    done(self);
}

static void
what_was_never_given_out_is_forgotten_above_the_newest(void **state)
{
    rig *self = with_ready();
    const finding ahead = see_unknown(self, COLLECTION_NO, "d", 5, GATEWAY_AUDIT_SEES_READY);
    const finding ghost = see_unknown(self, 99, "ghost", 3, GATEWAY_AUDIT_SEES_READY);

    repair(self, &ahead);
    assert_int_equal(last_row(&self->indexer)->audit->forget_above, 1);
    repair(self, &ghost);
    assert_int_equal(last_row(&self->indexer)->audit->forget_above, 0);
    assert_int_equal(last_row(&self->indexer)->collection_no, 99);
    assert_string_equal(last_row(&self->indexer)->tenant, "t");
    assert_int_equal(last_event(self)->recorded_state, 0);
    done(self);
}

static void
a_failed_revision_is_told_and_promised_again(void **state)
{
    rig *self = with_failed();
    const finding unlisted = see(self, "d", 1, GATEWAY_AUDIT_SEES_NO_LETTER);
    const finding unpromised = see(self, "d", 1, GATEWAY_AUDIT_SEES_NOTHING);

    repair(self, &unlisted);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(AUDITED));
    assert_int_equal(last_event(self)->recorded_state, STATE(FAILED));
    assert_non_null(last_event(self)->failure);
    assert_int_equal(last_event(self)->content_sha256.len, 32);
    repair(self, &unpromised);
    assert_int_equal(last_row(&self->indexer)->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED);
    assert_int_equal(last_row(&self->indexer)->seed->entries[0]->failed_revision, 1);
    assert_int_equal(last_row(&self->indexer)->seed->entries[0]->failed_epoch, 1);
    assert_false(last_row(&self->indexer)->seed->done);
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    done(self);
}

static void
a_tombstone_goes_again(void **state)
{
    rig *self = with_ready();

    rig_delete(self, "d", NULL, false);
    rig_deleted(self, "d", 2);
    const size_t rows = self->indexer.row_count;
    const finding seen = see(self, "d", 2, GATEWAY_AUDIT_SEES_READY);
    repair(self, &seen);
    assert_int_equal(self->indexer.row_count, rows + 1);
    assert_int_equal(last_row(&self->indexer)->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE);
    assert_int_equal(last_row(&self->indexer)->revision, 2);
    done(self);
}

static void
a_review_changes_nothing_but_the_list(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);
    const audit_answer *answer = tell(self, &seen);

    assert_true(answer->is_new);
    assert_false(answer->is_repaired);
    assert_int_equal(state_of(self, 1), STATE(FAILED));
    assert_int_equal(published(self).inconsistencies, 1);
    assert_int_equal(published(self).repaired_total, 0);
    done(self);
}

/* ---- the record of it ---- */

static void
a_repair_is_given_its_time_and_is_not_begun_for_ever(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_NO_LETTER);

    repair(self, &seen);
    assert_false(tell(self, &seen)->is_repaired);
    for (int i = 0; i < 4; i++) {
        self->now_ms += REPAIR_AGAIN_MS;
        repair(self, &seen);
    }
    self->now_ms += REPAIR_AGAIN_MS;
    assert_false(tell(self, &seen)->is_repaired); /* now a person decides */
    assert_int_equal(published(self).inconsistencies, 1);
    assert_int_equal(published(self).repaired_total, 5);
    done(self);
}

static void
settle_record(rig *self, uint64_t number)
{
    Weir__Internal__V1__AuditAgreesCommand command = WEIR__INTERNAL__V1__AUDIT_AGREES_COMMAND__INIT;

    command.number = number;
    (void)answer_of(self, rig_submit(self, GATEWAY_AUDIT_SETTLED, "", &command.base));
}

static void
what_agrees_again_is_closed_and_can_be_found_anew(void **state)
{
    rig *self = with_failed();
    const finding repaired = see(self, "d", 1, GATEWAY_AUDIT_SEES_NO_LETTER);
    const finding reviewed = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    repair(self, &repaired);
    assert_true(tell(self, &reviewed)->is_new);
    assert_int_equal(published(self).inconsistencies, 2);
    settle_record(self, 1);
    settle_record(self, 2);
    settle_record(self, 2);  /* gone: nobody had decided anything */
    settle_record(self, 77); /* never there */
    assert_int_equal(published(self).inconsistencies, 0);
    self->now_ms += 1;
    assert_true(tell(self, &repaired)->is_new);
    done(self);
}

static void
the_records_and_the_cursor_are_there_after_a_crash(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_NO_LETTER);
    Weir__Internal__V1__AuditCursorCommand cursor = WEIR__INTERNAL__V1__AUDIT_CURSOR_COMMAND__INIT;

    repair(self, &seen);
    cursor.walk = 1;
    cursor.is_over = true;
    (void)answer_of(self, rig_submit(self, GATEWAY_AUDIT_CURSOR, "", &cursor.base));
    const int64_t pass_ms = published(self).audit_full_pass_time_ms;
    assert_true(pass_ms > 0);
    rig_crash(self);
    rig_settle(self);
    assert_int_equal(published(self).inconsistencies, 1);
    assert_int_equal(published(self).audit_full_pass_time_ms, pass_ms);
    assert_false(tell(self, &seen)->is_new);
    done(self);
}

static counters_record *
counters_of(rig *self)
{
    return &gateway_find_collection_no(self->core, COLLECTION_NO)->counters;
}

/* What is stored is wrong when the process starts. */
static void
put_wrong_counters(rig *self)
{
    weir_batch *batch = weir_batch_create(self->store);
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    counters_record wrong = *counters_of(self);
    weir_error error;

    wrong.pending += 5;
    wrong.ready = 0;
    wrong.chunks += 100;
    weir_wire_encode(&wrong.base, &value);
    weir_batch_put(batch, gateway_key_counters(&key, COLLECTION_NO), weir_buffer_view(&value));
    assert_int_equal(weir_store_commit(self->store, batch, true, &error), WEIR_OK);
    weir_batch_destroy(&batch);
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    rig_crash(self);
    rig_settle(self);
}

static finding *
count(rig *self)
{
    gateway_audit_count scan;
    weir_error error;
    bool over = false;

    assert_int_equal(gateway_audit_count_begin(&scan, self->store, COLLECTION_NO,
                         published(self).recounts, &error),
        WEIR_OK);
    while (!over)
        assert_int_equal(gateway_audit_count_some(&scan, &over, &error), WEIR_OK);
    finding *found =
        gateway_audit_count_finding(&scan, "t", weir_stage_era(self->stage), self->arena);
    gateway_audit_count_end(&scan);
    return found;
}

/* ---- a person ---- */

static uint64_t
decide(rig *self, const char *id, Weir__V1__InconsistencyResolution resolution,
    const char *request_id)
{
    Weir__V1__ResolveInconsistencyRequest request = WEIR__V1__RESOLVE_INCONSISTENCY_REQUEST__INIT;
    Weir__Internal__V1__ResolveCommand command = WEIR__INTERNAL__V1__RESOLVE_COMMAND__INIT;
    uint8_t sum[32] = { (uint8_t)resolution };

    request.inconsistency_id = (char *)(uintptr_t)id;
    request.resolution = resolution;
    request.request_id = (char *)(uintptr_t)request_id;
    command.request = &request;
    command.payload_sha256.data = sum;
    command.payload_sha256.len = sizeof sum;
    return rig_submit(self, GATEWAY_RESOLVE, "t", &command.base);
}

static uint32_t
decided(rig *self, uint64_t reply)
{
    const Weir__V1__ResolveInconsistencyResponse *response =
        (const Weir__V1__ResolveInconsistencyResponse *)answer_of(self, reply);

    return (uint32_t)response->inconsistency->resolution;
}

static void
a_decision_is_made_once(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    (void)tell(self, &seen);
    rig_refused(self, decide(self, "7", RESOLUTION(DISMISS), ""), WEIR_NOT_FOUND);
    rig_refused(self, decide(self, "no number", RESOLUTION(DISMISS), ""), WEIR_NOT_FOUND);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(REDRIVE), "r")),
        RESOLUTION(REDRIVE));
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(REDRIVE), "r")),
        RESOLUTION(REDRIVE));
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(REDRIVE), "")),
        RESOLUTION(REDRIVE));
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    rig_refused(self, decide(self, "1", RESOLUTION(ADVANCE), ""), WEIR_STATE_NOT_RETRYABLE);
    rig_refused(self, decide(self, "1", RESOLUTION(ADVANCE), "r"), WEIR_REQUEST_ID_CONFLICT);
    assert_int_equal(published(self).inconsistencies, 0);
    done(self);
}

static void
ready_and_failed_at_once_can_be_taken_as_ready(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    (void)tell(self, &seen);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(ADVANCE), "")),
        RESOLUTION(ADVANCE));
    rig_ready(self, "d", 1, 1, 3); /* what the indexer answers to the row of the new run */
    assert_int_equal(state_of(self, 1), STATE(READY));
    done(self);
}

static void
a_dismissed_one_is_not_reported_until_something_changes(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    (void)tell(self, &seen);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(DISMISS), "")),
        RESOLUTION(DISMISS));
    assert_false(tell(self, &seen)->is_new);
    assert_int_equal(published(self).inconsistencies, 0);
    rig_retry(self, "d", 1, NULL);
    rig_settle(self);
    rig_give_up(self, "d", 1, 2);
    const finding later = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);
    (void)tell(self, &later);
    assert_int_equal(published(self).inconsistencies, 1);
    done(self);
}

static void
a_decision_about_a_changed_document_is_refused(void **state)
{
    rig *self = with_failed();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_READY);

    (void)tell(self, &seen);
    rig_retry(self, "d", 1, NULL);
    rig_settle(self);
    rig_refused(self, decide(self, "1", RESOLUTION(REDRIVE), ""), WEIR_STATE_NOT_RETRYABLE);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(DISMISS), "")),
        RESOLUTION(DISMISS));
    done(self);
}

static void
what_cannot_be_worked_on_again_is_not_driven(void **state)
{
    rig *self = with_ready();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_NO_SOURCE);

    (void)tell(self, &seen);
    rig_refused(self, decide(self, "1", RESOLUTION(REDRIVE), ""), WEIR_STATE_NOT_RETRYABLE);
    rig_refused(self, decide(self, "1", RESOLUTION(ADVANCE), ""), WEIR_STATE_NOT_RETRYABLE);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 1);
    assert_int_equal(published(self).inconsistencies, 1);
    done(self);
}

/* The rows since `from` to the indexer: first of the audit, then the tombstone, if any. */
static const rig_row *
audit_row_since(const rig *self, size_t from)
{
    for (size_t i = from; i < self->indexer.row_count; i++)
        if (self->indexer.rows[i]->audit != NULL)
            return self->indexer.rows[i];
    fail_msg("no row of the audit went to the indexer");
    return NULL;
}

static void
a_tombstone_of_the_indexer_can_be_taken_as_true(void **state)
{
    rig *self = with_ready();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_TOMBSTONE);
    const size_t from = self->indexer.row_count;

    (void)tell(self, &seen);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(ADVANCE), "")),
        RESOLUTION(ADVANCE));
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    assert_int_equal(rig_document_record(self, "d")->deleted_below, 2);
    assert_int_equal(rig_document_record(self, "d")->searchable_revision, 0);
    /* Whatever number the indexer's had, the gateway's takes its place. */
    assert_int_equal(audit_row_since(self, from)->audit->forget_above, 1);
    assert_int_equal(audit_row_since(self, from)->audit->deleted_below, 0);
    assert_int_equal(last_row(&self->indexer)->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE);
    assert_int_equal(last_row(&self->indexer)->revision, 2);
    assert_int_equal(last_event(self)->kind, LIFECYCLE(AUDITED));
    assert_int_equal(last_event(self)->recorded_state, STATE(DELETED));
    assert_null(count(self));
    done(self);
}

static void
a_tombstone_of_the_indexer_can_be_undone(void **state)
{
    rig *self = with_ready();
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_TOMBSTONE);
    const size_t from = self->indexer.row_count;

    (void)tell(self, &seen);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(REDRIVE), "")),
        RESOLUTION(REDRIVE));
    assert_int_equal(audit_row_since(self, from)->audit->forget_above, 0);
    assert_int_equal(audit_row_since(self, from)->audit->deleted_below, 0);
    assert_int_equal(rig_revision(self, "d", 1)->epoch, 2);
    rig_ready(self, "d", 1, 2, 3);
    assert_int_equal(state_of(self, 1), STATE(READY));
    done(self);
}

/* Its document lives on in a newer revision. */
static void
of_an_older_revision_a_tombstone_ends_only_that(void **state)
{
    rig *self = with_failed();

    RIG_INGEST(self, .text = "two");
    rig_settle(self);
    const finding seen = see(self, "d", 1, GATEWAY_AUDIT_SEES_TOMBSTONE);
    (void)tell(self, &seen);
    rig_refused(self, decide(self, "1", RESOLUTION(REDRIVE), ""), WEIR_STATE_NOT_RETRYABLE);
    assert_int_equal(decided(self, decide(self, "1", RESOLUTION(ADVANCE), "")),
        RESOLUTION(ADVANCE));
    assert_int_equal(state_of(self, 1), STATE(DELETED));
    assert_int_equal(rig_document_record(self, "d")->deleted_below, 0);
    rig_ready(self, "d", 2, 1, 3);
    assert_int_equal(state_of(self, 2), STATE(READY));
    done(self);
}

/* ---- counters ---- */

/* Documents with every state, and one that was deleted. */
static rig *
with_counted(void)
{
    rig *self = with_ready();

    RIG_INGEST(self, .document_id = "e", .text = "two");
    RIG_INGEST(self, .document_id = "f", .text = "three");
    RIG_INGEST(self, .document_id = "d", .text = "one again");
    RIG_INGEST(self, .document_id = "g", .text = "four");
    (void)rig_delete(self, "g", "", false);
    rig_settle(self);
    rig_give_up(self, "f", 1, 1);
    return self;
}

static void
counters_that_are_right_are_no_finding(void **state)
{
    rig *self = with_counted();

    assert_null(count(self));
    rig_ready(self, "d", 2, 1, 5);
    assert_null(count(self));
    done(self);
}

static void
wrong_counters_become_what_a_scan_counts(void **state)
{
    rig *self = with_counted();
    counters_record right = *counters_of(self);

    put_wrong_counters(self);
    const finding *seen = count(self);
    assert_non_null(seen);
    assert_string_equal(seen->message,
        "the counters of the collection say pending 5 instead of 0, ready 0 instead of 1, "
        "chunks 103 instead of 3");
    repair(self, seen);
    counters_record now = *counters_of(self);
    for (size_t i = 0; i < GATEWAY_COUNTERS; i++)
        assert_int_equal(*gateway_counter(&now, i), *gateway_counter(&right, i));
    assert_int_equal(published(self).pending, right.pending);
    /* It is over at once, and kept for whoever asks. */
    assert_int_equal(published(self).inconsistencies, 0);
    assert_int_equal(published(self).repaired_total, 1);
    assert_null(count(self));
    rig_crash(self);
    rig_settle(self);
    assert_null(count(self));
    done(self);
}

static void
what_changes_between_the_scan_and_the_correction_counts(void **state)
{
    rig *self = with_counted();

    put_wrong_counters(self);
    const finding *seen = count(self);
    RIG_INGEST(self, .document_id = "h", .text = "five");
    rig_ready(self, "e", 1, 1, 4);
    repair(self, seen);
    assert_null(count(self));
    done(self);
}

static void
what_two_have_found_is_corrected_once(void **state)
{
    rig *self = with_counted();

    put_wrong_counters(self);
    const finding *first = count(self);
    const finding *second = count(self);
    repair(self, first);
    assert_true(tell(self, second)->is_stale);
    assert_null(count(self));
    done(self);
}

/* A counter that is too low ends nothing. */
static void
a_state_that_no_counter_knows_of_can_be_left(void **state)
{
    rig *self = with_counted();

    put_wrong_counters(self);
    (void)rig_delete(self, "d", "", false);
    rig_settle(self);
    assert_int_equal(counters_of(self)->ready, 0);
    repair(self, count(self));
    assert_null(count(self));
    done(self);
}

static void
a_document_that_no_counter_knows_of_can_be_deleted(void **state)
{
    rig *self = with_counted();

    (void)state;
    counters_of(self)->documents = 0;
    (void)rig_delete(self, "d", "", false);
    rig_settle(self);
    assert_int_equal(counters_of(self)->documents, 0);
    repair(self, count(self));
    assert_null(count(self));
    done(self);
}

static void
counters_without_their_numbers_are_no_finding(void **state)
{
    rig *self = with_ready();
    finding seen = see_unknown(self, COLLECTION_NO, "", 0, GATEWAY_AUDIT_SEES_OTHER_COUNT);

    seen.state = GATEWAY_AUDIT_COUNTERS;
    rig_refused(self, rig_submit(self, GATEWAY_AUDIT, "", &seen.base), WEIR_INVALID_ARGUMENT);
    done(self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finding_counts_for_nothing_once_the_record_has_changed),
        cmocka_unit_test(what_is_no_finding_is_refused),
        cmocka_unit_test(what_the_indexer_lost_is_driven_again),
        cmocka_unit_test(a_ready_that_was_not_heard_of_is_recorded),
        cmocka_unit_test(what_a_newer_one_replaced_is_retired),
        cmocka_unit_test(what_is_damaged_is_checked_by_the_indexer_first),
        cmocka_unit_test(what_was_never_given_out_is_forgotten_above_the_newest),
        cmocka_unit_test(a_failed_revision_is_told_and_promised_again),
        cmocka_unit_test(a_tombstone_goes_again),
        cmocka_unit_test(a_review_changes_nothing_but_the_list),
        cmocka_unit_test(a_repair_is_given_its_time_and_is_not_begun_for_ever),
        cmocka_unit_test(what_agrees_again_is_closed_and_can_be_found_anew),
        cmocka_unit_test(the_records_and_the_cursor_are_there_after_a_crash),
        cmocka_unit_test(a_decision_is_made_once),
        cmocka_unit_test(ready_and_failed_at_once_can_be_taken_as_ready),
        cmocka_unit_test(a_dismissed_one_is_not_reported_until_something_changes),
        cmocka_unit_test(a_decision_about_a_changed_document_is_refused),
        cmocka_unit_test(what_cannot_be_worked_on_again_is_not_driven),
        cmocka_unit_test(a_tombstone_of_the_indexer_can_be_taken_as_true),
        cmocka_unit_test(a_tombstone_of_the_indexer_can_be_undone),
        cmocka_unit_test(of_an_older_revision_a_tombstone_ends_only_that),
        cmocka_unit_test(counters_that_are_right_are_no_finding),
        cmocka_unit_test(wrong_counters_become_what_a_scan_counts),
        cmocka_unit_test(what_changes_between_the_scan_and_the_correction_counts),
        cmocka_unit_test(what_two_have_found_is_corrected_once),
        cmocka_unit_test(a_state_that_no_counter_knows_of_can_be_left),
        cmocka_unit_test(a_document_that_no_counter_knows_of_can_be_deleted),
        cmocka_unit_test(counters_without_their_numbers_are_no_finding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
