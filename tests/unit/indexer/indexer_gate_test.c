/*
 * indexer_gate_test.c - after a start nothing is decided until the gateway has found this start
 * clean.
 */
#include "tests/unit/indexer/world.h"

#include <stdio.h>
#include <string.h>

#define VERDICT(name_) WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_##name_

static void
rows_are_staged_and_nothing_is_decided(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    send_revoke(self, "b", 1, 1);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 2);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_false(get_document(self, "a")->complete);
    assert_int_equal(self->stage->row_count, 0);
    assert_int_equal(self->stage->event_count, 0);
    assert_int_equal(self->stage->settled_count, 1); /* the revoke waits */
    assert_int_equal(self->stage->counts.queued, 1);
    assert_int_equal(self->stage->counts.parked, 1);
    assert_int_equal(self->stage->counts.oldest_ms, 5);
}

static void
a_gate_row_of_this_start_opens_and_what_waited_is_decided(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    send_revoke(self, "b", 1, 1);
    send_revoke(self, "a", 1, 1);
    world_commit(self);
    send_gate(self, 0);
    assert_false(indexer_gate_is_open(self->core)); /* not synced */
    world_quiet(self);
    assert_true(indexer_gate_is_open(self->core));
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_RECONCILER), 2);
    assert_int_equal(self->stage->settled_count, 4);
    /* The revokes came first, so the complete epoch of `a` is given up. */
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_RECONCILER)->revoke_answer->verdict,
        VERDICT(REVOKED));
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(self->stage->counts.queued + self->stage->counts.parked, 0);
    put_document(self, "a", 1, 1);
    assert_int_equal(ready_of(self, "a"), 0);
    put_document(self, "c", 1, 1);
    assert_int_equal(ready_of(self, "c"), 101);
}

static void
complete_epochs_become_ready_when_the_gate_opens(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    put_document(self, "a", 2, 3);
    put_document(self, "b", 1, 1);
    send_vectors(self, "c", 1, 1, 0, 1, 2);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 201);
    assert_int_equal(ready_of(self, "b"), 101);
    assert_int_equal(ready_of(self, "c"), 0);
    assert_int_equal(verified_chunks(self), 4);
    assert_int_equal(count_keys(self, 'V'), 5);
}

static void
complete_epochs_are_remembered_over_a_crash(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    put_document(self, "b", 1, 2);
    send_delete(self, "b", 2);
    world_commit(self);
    world_crash(self);
    forget(self);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(ready_of(self, "b"), 0);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 1);
}

static void
a_gate_row_of_another_start_opens_nothing(void **state)
{
    world *self = *state;

    send_gate(self, 200);
    world_quiet(self);
    assert_false(indexer_gate_is_open(self->core));
    assert_int_equal(self->stage->settled_count, 1);
    send_gate(self, 0);
    world_quiet(self);
    assert_true(indexer_gate_is_open(self->core));
    world_restart(self);
    assert_false(indexer_gate_is_open(self->core));
    send_gate(self, self->boot - 1);
    world_quiet(self);
    assert_false(indexer_gate_is_open(self->core));
}

/* A volume rolled back counts the same starts again; only the random bits tell them apart. */
static void
counter_and_random_bits_must_both_be_this_starts(void **state)
{
    world *self = *state;

    self->stage->identity.boot_random[3] ^= 1;
    send_gate(self, 0);
    world_quiet(self);
    assert_false(indexer_gate_is_open(self->core));
    self->stage->identity.boot_random[3] ^= 1;
    self->stage->identity.boot_counter++;
    send_gate(self, 0);
    world_quiet(self);
    assert_false(indexer_gate_is_open(self->core));
}

static void
a_revoke_that_waited_is_not_settled_before_a_crash_and_comes_again(void **state)
{
    world *self = *state;

    send_revoke(self, "a", 1, 1);
    world_commit(self);
    assert_int_equal(self->stage->settled_count, 0);
    world_crash(self);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_RECONCILER), 0);
    send_revoke(self, "a", 1, 1);
    assert_int_equal(last_row(self, WEIR_LINK_INDEXER_RECONCILER)->revoke_answer->verdict,
        VERDICT(REVOKED));
}

static void
deletes_are_taken_while_the_gate_is_closed(void **state)
{
    world *self = *state;

    send_delete(self, "a", 3);
    world_commit(self);
    assert_int_equal(get_document(self, "a")->deleted_below, 3);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_GATEWAY), 1);
}

static void
decisions_are_caught_up_in_bounded_rounds(void **state)
{
    world *self = *state;
    char name[16];

    self->core->options.decide_rows_max = 7;
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "d%d", i);
        put_document(self, name, 1, 1);
        send_revoke(self, name, 2, 1);
    }
    send_gate(self, 0);
    world_commit(self);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_RECONCILER), 7);
    assert_true(self->stage->wake_at_ms != 0);
    send_revoke(self, "late", 2, 1); /* behind those that wait */
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_RECONCILER), 7);
    world_quiet(self);
    assert_int_equal(count_rows(self, WEIR_LINK_INDEXER_RECONCILER), 41);
    assert_string_equal(last_row(self, WEIR_LINK_INDEXER_RECONCILER)->document_id, "late");
    assert_int_equal(verified_chunks(self), 40);
}

/* ---- searches ---- */

static void
searches_say_that_the_index_is_not_whole(void **state)
{
    world *self = *state;
    found *answer = NULL;

    CHECK_CODE(search_chunk(self, "x", NULL, 3, &answer), WEIR_INDEX_REBUILDING);
    assert_int_equal(error.retry_after_ms, 1000);
}

static void
partial_answers_are_marked_as_such(void **state)
{
    world *self = *state;
    Weir__Internal__V1__SearchVectorsRequest request =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
    found answer = WEIR__INTERNAL__V1__SEARCH_VECTORS_RESPONSE__INIT;
    float vector[WORLD_DIMENSION];

    send_gate(self, 0);
    put_document(self, "a", 1, 1);
    put_document(self, "b", 1, 1);
    world_restart(self);
    put_document(self, "c", 1, 1);
    named_vector("a/1/1/0", vector, WORLD_DIMENSION);
    request.tenant = "acme";
    request.collection_no = WORLD_COLLECTION;
    request.vector = (ProtobufCBinaryData){ .data = (uint8_t *)vector, .len = sizeof vector };
    request.top_k = 5;
    request.allow_partial = true;
    CHECK_OK(indexer_search(self->core, &request, &answer, self->arena, &error));
    assert_false(answer.complete);
    assert_int_equal(answer.n_hits, 2);
    send_gate(self, 0);
    world_quiet(self);
    weir__internal__v1__search_vectors_response__init(&answer);
    CHECK_OK(indexer_search(self->core, &request, &answer, self->arena, &error));
    assert_true(answer.complete);
    assert_int_equal(answer.n_hits, 3);
}

/* ---- seeds ---- */

static void
seeds_fence_what_the_gateway_knows_to_be_over(void **state)
{
    world *self = *state;

    self->era = self->stage->era = WORLD_ERA + 1;
    send_seed(self, "deleted", 4, 0, 0, false);
    send_seed(self, "failed", 0, 2, 3, false);
    send_seed(self, "both", 1, 3, 1, false);
    world_commit(self);
    assert_int_equal(indexer_seeded_era(self->core), 0);
    send_seed(self, "", 0, 0, 0, true);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(indexer_seeded_era(self->core), WORLD_ERA + 1);
    put_document(self, "deleted", 4, 1);
    send_vectors(self, "failed", 2, 3, 0, 1, 1);
    send_vectors(self, "both", 3, 1, 0, 1, 1);
    world_commit(self);
    assert_int_equal(ready_of(self, "deleted") + ready_of(self, "failed") + ready_of(self, "both"),
        0);
    send_vectors(self, "failed", 2, 4, 0, 1, 1);
    put_document(self, "deleted", 5, 1);
    assert_int_equal(ready_of(self, "failed"), 204);
    assert_int_equal(ready_of(self, "deleted"), 501);
}

static void
seeds_and_their_era_outlive_a_crash(void **state)
{
    world *self = *state;

    send_seed(self, "deleted", 4, 2, 1, true);
    world_commit(self);
    world_crash(self);
    assert_int_equal(indexer_seeded_era(self->core), WORLD_ERA);
    assert_int_equal(get_document(self, "deleted")->deleted_below, 4);
    assert_false(indexer_gate_is_open(self->core));
}

static void
repeated_seeds_change_nothing(void **state)
{
    world *self = *state;

    send_seed(self, "a", 4, 6, 2, true);
    send_seed(self, "a", 4, 6, 2, true);
    send_seed(self, "a", 1, 6, 1, true);
    send_gate(self, 0);
    world_commit(self);
    send_vectors(self, "a", 6, 3, 0, 1, 1);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 603);
    send_seed(self, "a", 0, 6, 9, true); /* READY stands */
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 603);
}

static void
seeds_without_a_document_are_passed_over(void **state)
{
    world *self = *state;
    char long_id[WEIR_DOCUMENT_ID_BYTES_MAX + 2];

    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    send_seed(self, long_id, 3, 0, 0, true);
    world_commit(self);
    assert_int_equal(count_keys(self, 'D'), 0);
    assert_int_equal(indexer_seeded_era(self->core), WORLD_ERA);
}

/* Epoch 1 was staged whole before a loss raised the era: the gateway has begun epoch 2. */
static void
an_epoch_of_an_older_era_is_not_decided(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    put_document(self, "b", 1, 2);
    world_commit(self);
    self->era = self->stage->era = WORLD_ERA + 1;
    world_crash(self);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    send_vectors(self, "a", 1, 2, 0, 2, 2);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 102);
    assert_int_equal(count_keys(self, 'V'), 4);
    send_revoke(self, "b", 1, 1);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 2);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_closed, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rows_are_staged_and_nothing_is_decided),
        TEST(a_gate_row_of_this_start_opens_and_what_waited_is_decided),
        TEST(complete_epochs_become_ready_when_the_gate_opens),
        TEST(complete_epochs_are_remembered_over_a_crash),
        TEST(a_gate_row_of_another_start_opens_nothing),
        TEST(counter_and_random_bits_must_both_be_this_starts),
        TEST(a_revoke_that_waited_is_not_settled_before_a_crash_and_comes_again),
        TEST(deletes_are_taken_while_the_gate_is_closed),
        TEST(decisions_are_caught_up_in_bounded_rounds),
        TEST(searches_say_that_the_index_is_not_whole),
        TEST(partial_answers_are_marked_as_such),
        TEST(seeds_fence_what_the_gateway_knows_to_be_over),
        TEST(seeds_and_their_era_outlive_a_crash),
        TEST(repeated_seeds_change_nothing),
        TEST(seeds_without_a_document_are_passed_over),
        TEST(an_epoch_of_an_older_era_is_not_decided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
