/*
 * indexer_core_test.c - what each row does while the gate is open.
 */
#include "tests/unit/indexer/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EVENT(name_) WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_
#define VERDICT(name_) WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_##name_

/* ---- READY ---- */

static void
a_revision_is_searchable_once_all_chunks_are_there(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 2, 0);
    world_commit(self);
    assert_false(is_found(self, "a", 1, 1, 0));
    assert_int_equal(self->stage->event_count, 0);
    send_vectors(self, "a", 1, 1, 2, 1, 3);
    assert_false(is_found(self, "a", 1, 1, 0)); /* the round is not synced */
    world_commit(self);
    for (uint32_t ordinal = 0; ordinal < 3; ordinal++)
        assert_true(is_found(self, "a", 1, 1, ordinal));
    assert_int_equal(verified_chunks(self), 3);
}

static void
ready_is_told_to_reconciler_and_gateway_in_its_round(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 4, 2, 0, 3, 3);
    assert_int_equal(count_events(self, EVENT(READY)), 1);
    assert_int_equal(last_event(self)->revision, 4);
    assert_int_equal(last_event(self)->epoch, 2);
    assert_int_equal(last_event(self)->chunk_count, 3);
    assert_int_equal(last_event(self)->token_count, 12);
    assert_int_equal(last_event(self)->stage, 4);
    assert_string_equal(last_event(self)->tenant, "acme");

    const Weir__Internal__V1__Row *row = last_row(self, WEIR_LINK_INDEXER_GATEWAY);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_READY);
    assert_int_equal(row->revision, 4);
    assert_int_equal(row->epoch, 2);
    assert_int_equal(row->collection_no, WORLD_COLLECTION);
    assert_int_equal(row->ready->chunk_count, 3);
    assert_int_equal(row->ready->token_count, 12);
    assert_int_equal(row->ready->ready_time_ms, self->stage->now_ms);
    assert_string_equal(row->ready->media_type, "text/plain");
}

static void
every_row_is_settled_in_order(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 1, 0);
    send_delete(self, "b", 1);
    send_revoke(self, "c", 1, 1);
    send_gate(self, 0);
    assert_int_equal(self->stage->settled_count, 4);
    for (size_t i = 1; i < 4; i++)
        assert_true(self->stage->settled[i].seq > self->stage->settled[i - 1].seq);
    assert_int_equal(self->stage->settled[0].link, WEIR_LINK_EMBEDDER_INDEXER);
    assert_int_equal(self->stage->settled[2].link, WEIR_LINK_RECONCILER_INDEXER);
}

static void
chunks_may_come_in_any_order_of_rows(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 2, 1, 3);
    world_commit(self);
    send_vectors(self, "a", 1, 1, 0, 1, 0);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 0);
    send_vectors(self, "a", 1, 1, 1, 1, 0);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
}

static void
a_last_row_without_chunks_may_bring_the_count(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 2, 0);
    send_vectors(self, "a", 1, 1, 2, 0, 2);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(verified_chunks(self), 2);
}

static void
a_duplicate_chunk_of_an_epoch_is_one_chunk(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 2, 0);
    send_vectors(self, "a", 1, 1, 0, 2, 0); /* same round */
    world_commit(self);
    send_vectors(self, "a", 1, 1, 1, 1, 0); /* another */
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(get_document(self, "a")->staged[0]->staged_count, 2);
    send_vectors(self, "a", 1, 1, 1, 2, 3);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(verified_chunks(self), 3);
}

static void
a_row_of_a_ready_revision_repeats_the_event_to_the_gateway_alone(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    forget(self);
    send_vectors(self, "a", 1, 1, 0, 2, 2);
    send_vectors(self, "a", 1, 5, 0, 1, 0);
    world_commit(self);
    assert_int_equal(self->stage->event_count, 0);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 2);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->epoch, 1);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->ready->chunk_count, 2);
    assert_int_equal(self->stage->settled_count, 2);
    assert_int_equal(get_document(self, "a")->n_staged, 0);
}

static void
epochs_are_staged_apart_and_the_first_complete_one_wins(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 1, 2);
    send_vectors(self, "a", 1, 2, 1, 1, 2);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 0);
    send_vectors(self, "a", 1, 2, 0, 1, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 102);
    assert_true(is_found(self, "a", 1, 2, 0));
    assert_false(is_found(self, "a", 1, 1, 0));
    forget(self);
    send_vectors(self, "a", 1, 1, 1, 1, 2); /* the lower epoch is complete too late */
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 102);
    assert_int_equal(count_keys(self, 'V'), 2);
}

static void
a_newer_revision_replaces_the_older_one_at_once(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    send_vectors(self, "a", 2, 1, 0, 1, 0);
    world_commit(self);
    assert_true(is_found(self, "a", 1, 1, 2));
    assert_false(is_found(self, "a", 2, 1, 0));
    send_vectors(self, "a", 2, 1, 1, 1, 2);
    world_commit(self);
    assert_false(is_found(self, "a", 1, 1, 0));
    assert_true(is_found(self, "a", 2, 1, 0));
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 2);
    assert_int_equal(count_keys(self, 'K'), 2);
    assert_int_equal(count_keys(self, 'M'), 1);
    assert_int_equal(verified_chunks(self), 2);
}

static void
an_older_revision_never_follows_a_newer_one(void **state)
{
    world *self = *state;

    put_document(self, "a", 5, 1);
    forget(self);
    put_document(self, "a", 4, 2);
    assert_int_equal(ready_of(self, "a"), 501);
    assert_int_equal(self->stage->row_count, 1); /* the gateway may not know of 5 (seed 1031169) */
    assert_int_equal(self->stage->rows[0].row->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_READY);
    assert_int_equal(self->stage->rows[0].row->revision, 5);
    assert_int_equal(self->stage->settled_count, 1);
    assert_int_equal(count_keys(self, 'V'), 1);
}

static void
staged_chunks_of_overtaken_revisions_are_cleared(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 4, 0);
    send_vectors(self, "a", 3, 1, 0, 4, 0);
    put_document(self, "a", 2, 2);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 6);
    assert_int_equal(get_document(self, "a")->n_staged, 1);
    assert_int_equal(get_document(self, "a")->staged[0]->revision, 3);
}

/* ---- rows that cannot be staged ---- */

static void
expect_failure(world *self, weir_code code)
{
    world_commit(self);
    assert_int_equal(count_events(self, EVENT(FAILED)), 1);
    assert_string_equal(weir_code_name((weir_code)last_event(self)->failure->code),
        weir_code_name(code));
    assert_int_equal(last_event(self)->failure->stage, 4);
    assert_int_equal(last_event(self)->revision, 1);
    assert_int_equal(last_event(self)->epoch, 1);
    assert_true(strlen(last_event(self)->failure->message) > 0);
    assert_int_equal(self->stage->settled_count, 1);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(count_keys(self, 'V'), 0);
    assert_int_equal(count_keys(self, 'D'), 0);
}

static void
spoil_nan(Weir__Internal__V1__Row *row)
{
    const float nan = NAN;

    memcpy(row->vectors->chunks[1]->vector.data + 8, &nan, sizeof nan);
}

static void
spoil_zero(Weir__Internal__V1__Row *row)
{
    memset(row->vectors->chunks[0]->vector.data, 0, row->vectors->chunks[0]->vector.len);
}

static void
spoil_length(Weir__Internal__V1__Row *row)
{
    row->vectors->chunks[1]->vector.len -= 4;
}

static void
spoil_no_vector(Weir__Internal__V1__Row *row)
{
    row->vectors->chunks[1]->vector.len = 0;
}

static void
spoil_dimension(Weir__Internal__V1__Row *row)
{
    row->vectors->spec->dimension = 1u << 20;
}

static void
spoil_no_spec(Weir__Internal__V1__Row *row)
{
    row->vectors->spec = NULL;
}

static void
spoil_fingerprint(Weir__Internal__V1__Row *row)
{
    row->vectors->spec->fingerprint = "another";
}

static void
spoil_smaller(Weir__Internal__V1__Row *row)
{
    row->vectors->spec->dimension = 8;
    for (size_t i = 0; i < row->vectors->n_chunks; i++)
        row->vectors->chunks[i]->vector.len = 32;
}

static void
spoil_order(Weir__Internal__V1__Row *row)
{
    row->vectors->chunks[0]->ordinal = 1;
}

static void
spoil_ordinal(Weir__Internal__V1__Row *row)
{
    row->vectors->chunks[1]->ordinal = UINT32_MAX;
}

static void
vectors_that_are_not_finite_or_zero_fail_their_epoch(void **state)
{
    world *self = *state;

    send_spoilt(self, "a", 1, 1, 2, 2, spoil_nan);
    expect_failure(self, WEIR_VECTOR_INVALID);
    assert_non_null(strstr(last_event(self)->failure->message, "chunk 1"));
    assert_false(last_event(self)->failure->retryable);
    forget(self);
    send_spoilt(self, "a", 1, 1, 2, 2, spoil_zero);
    expect_failure(self, WEIR_VECTOR_INVALID);
}

static void
vectors_of_a_wrong_length_fail_their_epoch(void **state)
{
    world *self = *state;
    spoil_row *const spoils[] = { spoil_length, spoil_no_vector, spoil_dimension, spoil_no_spec };

    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        send_spoilt(self, "a", 1, 1, 2, 2, spoils[i]);
        expect_failure(self, WEIR_DIMENSION_MISMATCH);
        forget(self);
    }
}

static void
ordinals_out_of_order_or_bounds_fail_their_epoch(void **state)
{
    world *self = *state;

    send_spoilt(self, "a", 1, 1, 2, 2, spoil_order);
    expect_failure(self, WEIR_INTERNAL);
    forget(self);
    send_spoilt(self, "a", 1, 1, 2, 0, spoil_ordinal);
    expect_failure(self, WEIR_INTERNAL);
    forget(self);
    send_vectors(self, "a", 1, 1, 0, 3, 2);
    expect_failure(self, WEIR_INTERNAL);
}

static void
a_collection_keeps_the_dimension_and_model_of_its_first_vectors(void **state)
{
    world *self = *state;

    put_document(self, "first", 1, 1);
    forget(self);
    send_spoilt(self, "a", 1, 1, 1, 1, spoil_fingerprint);
    assert_int_equal(last_event(self)->failure->code, WEIR_VECTOR_INVALID);
    send_spoilt(self, "a", 1, 1, 1, 1, spoil_smaller);
    assert_int_equal(last_event(self)->failure->code, WEIR_DIMENSION_MISMATCH);
    world_restart(self);
    send_spoilt(self, "a", 1, 1, 1, 1, spoil_fingerprint);
    assert_int_equal(last_event(self)->failure->code, WEIR_VECTOR_INVALID);
}

static void
two_counts_for_one_epoch_fail_it(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 1, 3);
    send_vectors(self, "a", 1, 1, 1, 1, 4);
    assert_int_equal(count_events(self, EVENT(FAILED)), 1);
    send_vectors(self, "b", 1, 1, 0, 3, 0);
    send_vectors(self, "b", 1, 1, 3, 0, 2);
    assert_int_equal(count_events(self, EVENT(FAILED)), 2);
    world_commit(self);
    assert_int_equal(ready_of(self, "a") + ready_of(self, "b"), 0);
}

static void
a_failed_row_of_a_fenced_epoch_says_nothing(void **state)
{
    world *self = *state;

    send_delete(self, "a", 1);
    send_spoilt(self, "a", 1, 1, 2, 2, spoil_nan);
    assert_int_equal(self->stage->event_count, 0);
}

/* ---- deletes ---- */

static void
a_delete_hides_the_document_and_is_answered(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    put_document(self, "b", 1, 2);
    forget(self);
    send_delete(self, "a", 2);
    world_commit(self);
    assert_false(is_found(self, "a", 1, 1, 0));
    assert_true(is_found(self, "b", 1, 1, 0));
    assert_int_equal(get_document(self, "a")->deleted_below, 2);
    assert_int_equal(get_document(self, "a")->ready_revision, 0);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->payload_case,
        WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETED);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->revision, 2);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 2);
    assert_int_equal(count_keys(self, 'D'), 2);
}

static void
a_repeated_delete_is_answered_again(void **state)
{
    world *self = *state;

    send_delete(self, "a", 5);
    send_delete(self, "a", 5);
    send_delete(self, "a", 3);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 3);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->revision, 5);
}

static void
nothing_below_a_tombstone_is_staged_or_ready(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 1, 2);
    send_delete(self, "a", 3);
    send_vectors(self, "a", 1, 1, 1, 1, 2);
    put_document(self, "a", 2, 1);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(count_keys(self, 'V'), 0);
    assert_int_equal(count_keys(self, 'M'), 0);
    put_document(self, "a", 4, 1);
    assert_int_equal(ready_of(self, "a"), 401);
}

static void
a_delete_overtaken_by_a_newer_revision_leaves_it_ready(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    put_document(self, "a", 3, 1);
    send_delete(self, "a", 2);
    world_quiet(self);
    assert_true(is_found(self, "a", 3, 1, 0));
    assert_int_equal(get_document(self, "a")->deleted_below, 2);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->deleted_below, 2);
}

/* ---- revokes ---- */

static int
revoke_verdict(world *self, const char *document_id, int64_t revision, int64_t epoch)
{
    send_revoke(self, document_id, revision, epoch);
    const Weir__Internal__V1__Row *row = last_row(self, WEIR_LINK_INDEXER_RECONCILER);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER);
    assert_int_equal(row->revision, revision);
    assert_int_equal(row->epoch, epoch);
    return (int)row->revoke_answer->verdict;
}

static void
a_revoked_epoch_is_never_ready_and_its_chunks_go(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 2, 0);
    world_commit(self);
    assert_int_equal(revoke_verdict(self, "a", 1, 1), VERDICT(REVOKED));
    send_vectors(self, "a", 1, 1, 2, 1, 3);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(count_keys(self, 'V'), 0);
    send_vectors(self, "a", 1, 2, 0, 3, 3);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 102);
}

static void
a_repeated_revoke_gets_the_same_answer(void **state)
{
    world *self = *state;

    assert_int_equal(revoke_verdict(self, "a", 1, 2), VERDICT(REVOKED));
    assert_int_equal(revoke_verdict(self, "a", 1, 2), VERDICT(REVOKED));
    assert_int_equal(revoke_verdict(self, "a", 1, 1), VERDICT(REVOKED));
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 0);
}

static void
a_revoke_of_a_ready_revision_is_refused_and_repeats_the_event(void **state)
{
    world *self = *state;

    put_document(self, "a", 2, 1);
    forget(self);
    assert_int_equal(revoke_verdict(self, "a", 2, 7), VERDICT(WAS_READY));
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->revision, 2);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->epoch, 1);
    forget(self);
    assert_int_equal(revoke_verdict(self, "a", 1, 1), VERDICT(SUPERSEDED));
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_GATEWAY)->revision, 2);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 201);
}

static void
a_revoke_below_a_tombstone_is_refused(void **state)
{
    world *self = *state;

    send_delete(self, "a", 2);
    forget(self);
    assert_int_equal(revoke_verdict(self, "a", 1, 1), VERDICT(WAS_DELETED));
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 0);
}

static void
revoke_and_last_row_in_one_round_keep_their_order(void **state)
{
    world *self = *state;

    send_vectors(self, "a", 1, 1, 0, 1, 0);
    send_vectors(self, "b", 1, 1, 0, 1, 0);
    world_commit(self);
    send_vectors(self, "a", 1, 1, 1, 1, 2);
    assert_int_equal(revoke_verdict(self, "a", 1, 1), VERDICT(WAS_READY));
    assert_int_equal(revoke_verdict(self, "b", 1, 1), VERDICT(REVOKED));
    send_vectors(self, "b", 1, 1, 1, 1, 2);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(ready_of(self, "b"), 0);
}

/* ---- tenants ---- */

static void
a_row_of_another_tenant_changes_nothing(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    forget(self);
    self->tenant = "mallory";
    send_delete(self, "a", 9);
    send_revoke(self, "a", 9, 1);
    put_document(self, "a", 9, 1);
    assert_int_equal(self->stage->row_count, 0);
    assert_int_equal(count_events(self, EVENT(FAILED)), 1);
    assert_string_equal(last_event(self)->tenant, "mallory");
    assert_int_equal(self->stage->settled_count, 3);
    self->tenant = "acme";
    assert_true(is_found(self, "a", 1, 1, 0));
}

static void
rows_that_name_nothing_are_settled(void **state)
{
    world *self = *state;
    char long_id[WEIR_DOCUMENT_ID_BYTES_MAX + 2];

    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    send_delete(self, "", 1);
    send_delete(self, long_id, 1);
    send_delete(self, "a", 0);
    send_revoke(self, "a", 1, -1);
    self->collection_no = 0;
    send_delete(self, "a", 1);
    assert_int_equal(self->stage->settled_count, 5);
    assert_int_equal(self->stage->row_count, 0);
    world_commit(self);
    assert_int_equal(count_keys(self, 'D'), 0);
}

/* ---- the rounds' own work ---- */

static void
clearing_takes_a_bounded_number_of_keys_in_a_round(void **state)
{
    world *self = *state;

    self->core->options.clear_keys_max = 10;
    put_document(self, "a", 1, 40);
    send_delete(self, "a", 2);
    world_commit(self);
    unsigned before = count_keys(self, 'K');
    assert_in_range(before, 30, 40);
    while (self->stage->wake_at_ms != 0) {
        self->stage->wake_at_ms = 0;
        world_commit(self);
        const unsigned after = count_keys(self, 'K');
        assert_true(before - after <= 10);
        assert_true(after == 0 || count_keys(self, 'V') == 40); /* by them a start finds it */
        assert_int_equal(count_keys(self, 'M'), count_keys(self, 'V') > 0);
        before = after;
    }
    assert_int_equal(before, 0);
}

static void
a_crash_while_clearing_is_made_good_by_the_next_start(void **state)
{
    world *self = *state;

    for (int crash_after = 0; crash_after < 12; crash_after++) {
        self->core->options.clear_keys_max = self->options.clear_keys_max = 8;
        send_gate(self, 0);
        put_document(self, "a", crash_after + 1, 30);
        put_document(self, "keep", crash_after + 1, 3);
        for (int i = 0; i < crash_after; i++)
            world_commit(self);
        world_crash(self);
        assert_int_equal(verified_chunks(self), 33);
    }
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 33);
    assert_int_equal(count_keys(self, 'K'), 33);
    assert_int_equal(count_keys(self, 'M'), 2);
}

static void
spoil_large(Weir__Internal__V1__Row *row)
{
    static char text[8001];

    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < row->vectors->n_chunks; i++)
        row->vectors->chunks[i]->text = text;
}

static void
credit_follows_the_size_of_rows(void **state)
{
    world *self = *state;
    char name[16];

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "d%d", i);
        put_document(self, name, 1, 1);
        forget(self);
    }
    assert_in_range(self->stage->credit, 700, 1024);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "large%d", i);
        send_spoilt(self, name, 1, 1, 64, 64, spoil_large);
        world_commit(self);
        forget(self);
    }
    assert_in_range(self->stage->credit, 7, 12);
}

static void
every_store_error_breaks_the_round(void **state)
{
    world *self = *state;
    unsigned failures = 0;

    for (uint32_t calls = 1; calls < 60; calls++) {
        weir_error broken = { 0 };
        Weir__Internal__V1__DeleteRow delete = WEIR__INTERNAL__V1__DELETE_ROW__INIT;
        Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

        put_document(self, "a", 2 * (int64_t)calls, 5);
        row.tenant = "acme";
        row.collection_no = WORLD_COLLECTION;
        row.document_id = "a";
        row.revision = 2 * (int64_t)calls + 1;
        row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE;
        row.delete_ = &delete;
        weir_store_mem_fail_after(self->store, calls);
        weir_code code = fake_stage_row(self->stage, WEIR_LINK_GATEWAY_INDEXER, 1, &row, &broken);
        if (code == WEIR_OK)
            code = fake_stage_commit(self->stage, &broken);
        weir_store_mem_fail_after(self->store, 0);
        assert_true(code == WEIR_OK || code == WEIR_STORE_IO);
        failures += code != WEIR_OK;
        world_crash(self);
        send_gate(self, 0);
        world_quiet(self);
        verified_chunks(self);
    }
    assert_true(failures >= 3);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_open, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_revision_is_searchable_once_all_chunks_are_there),
        TEST(ready_is_told_to_reconciler_and_gateway_in_its_round),
        TEST(every_row_is_settled_in_order),
        TEST(chunks_may_come_in_any_order_of_rows),
        TEST(a_last_row_without_chunks_may_bring_the_count),
        TEST(a_duplicate_chunk_of_an_epoch_is_one_chunk),
        TEST(a_row_of_a_ready_revision_repeats_the_event_to_the_gateway_alone),
        TEST(epochs_are_staged_apart_and_the_first_complete_one_wins),
        TEST(a_newer_revision_replaces_the_older_one_at_once),
        TEST(an_older_revision_never_follows_a_newer_one),
        TEST(staged_chunks_of_overtaken_revisions_are_cleared),
        TEST(vectors_that_are_not_finite_or_zero_fail_their_epoch),
        TEST(vectors_of_a_wrong_length_fail_their_epoch),
        TEST(ordinals_out_of_order_or_bounds_fail_their_epoch),
        TEST(a_collection_keeps_the_dimension_and_model_of_its_first_vectors),
        TEST(two_counts_for_one_epoch_fail_it),
        TEST(a_failed_row_of_a_fenced_epoch_says_nothing),
        TEST(a_delete_hides_the_document_and_is_answered),
        TEST(a_repeated_delete_is_answered_again),
        TEST(nothing_below_a_tombstone_is_staged_or_ready),
        TEST(a_delete_overtaken_by_a_newer_revision_leaves_it_ready),
        TEST(a_revoked_epoch_is_never_ready_and_its_chunks_go),
        TEST(a_repeated_revoke_gets_the_same_answer),
        TEST(a_revoke_of_a_ready_revision_is_refused_and_repeats_the_event),
        TEST(a_revoke_below_a_tombstone_is_refused),
        TEST(revoke_and_last_row_in_one_round_keep_their_order),
        TEST(a_row_of_another_tenant_changes_nothing),
        TEST(rows_that_name_nothing_are_settled),
        TEST(clearing_takes_a_bounded_number_of_keys_in_a_round),
        TEST(a_crash_while_clearing_is_made_good_by_the_next_start),
        TEST(credit_follows_the_size_of_rows),
        TEST(every_store_error_breaks_the_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
