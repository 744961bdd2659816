/*
 * indexer_start_test.c - a start rebuilds what was there, and does without what is damaged.
 */
#include "tests/unit/indexer/world.h"

#include <stdio.h>
#include <string.h>

static void
an_empty_store_starts_with_nothing(void **state)
{
    world *self = *state;

    assert_false(indexer_gate_is_open(self->core));
    assert_int_equal(indexer_seeded_era(self->core), 0);
    assert_int_equal(verified_chunks(self), 0);
    assert_true(self->stage->credit > 0);
}

static void
everything_ready_is_found_again(void **state)
{
    world *self = *state;
    char name[16];

    send_gate(self, 0);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "d%d", i);
        put_document(self, name, 1, 1 + (uint32_t)i % 7);
        self->collection_no = 100 + (uint64_t)i % 3;
        put_document(self, name, 1, 2);
        self->collection_no = WORLD_COLLECTION;
        forget(self);
    }
    put_document(self, "large", 1, 700);
    const uint64_t chunks = verified_chunks(self);
    world_crash(self);
    assert_int_equal(verified_chunks(self), chunks);
    send_gate(self, 0);
    world_commit(self);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "d%d", i);
        assert_true(is_found(self, name, 1, 1, (uint32_t)i % 7));
    }
    assert_true(is_found(self, "large", 1, 1, 699));
}

static void
staging_goes_on_where_it_was(void **state)
{
    world *self = *state;

    send_gate(self, 0);
    send_vectors(self, "a", 1, 1, 0, 2, 0);
    world_commit(self);
    world_crash(self);
    send_gate(self, 0);
    send_vectors(self, "a", 1, 1, 0, 2, 0); /* the link may send it again */
    send_vectors(self, "a", 1, 1, 2, 2, 4);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(verified_chunks(self), 4);
}

/* Rows may be cut anew after a retry: vectors are stored in runs around those that are there. */
static void
rows_that_overlap_add_what_is_new(void **state)
{
    world *self = *state;

    send_gate(self, 0);
    send_vectors(self, "a", 1, 1, 2, 2, 0);
    world_commit(self);
    send_vectors(self, "a", 1, 1, 0, 7, 7);
    world_commit(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(count_keys(self, 'V'), 7);
    assert_int_equal(verified_chunks(self), 7);
    world_crash(self);
    assert_int_equal(verified_chunks(self), 7);
}

static void
a_round_that_was_not_synced_leaves_nothing(void **state)
{
    world *self = *state;

    send_gate(self, 0);
    put_document(self, "a", 1, 1);
    send_vectors(self, "a", 2, 1, 0, 3, 3);
    send_vectors(self, "b", 1, 1, 0, 3, 3);
    send_delete(self, "c", 1);
    world_crash(self);
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(ready_of(self, "b"), 0);
    assert_int_equal(get_document(self, "c")->deleted_below, 0);
    assert_int_equal(count_keys(self, 'V'), 1);
    assert_true(is_found(self, "a", 1, 1, 0));
    assert_false(is_found(self, "b", 1, 1, 0));
}

static void
crashing_in_start_again_and_again_ends_as_one_start(void **state)
{
    world *self = *state;

    send_gate(self, 0);
    put_document(self, "a", 1, 20);
    put_document(self, "a", 2, 20);
    put_document(self, "b", 1, 3);
    world_commit(self);
    for (uint32_t calls = 1; calls < 40; calls++) {
        weir_store_mem_fail_after(self->store, calls);
        (void)world_try_restart(self);
        weir_store_mem_fail_after(self->store, 0);
    }
    world_crash(self);
    world_quiet(self);
    assert_int_equal(verified_chunks(self), 23);
    assert_int_equal(count_keys(self, 'V'), 23);
}

static void
litter_is_swept_after_a_start(void **state)
{
    world *self = *state;
    const indexer_try owner = { "nobody", 1, 1 };

    send_gate(self, 0);
    put_document(self, "a", 1, 2);
    send_delete(self, "nobody", 1);
    for (uint32_t ordinal = 0; ordinal < 5; ordinal++) {
        const indexer_key text =
            indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, ordinal);
        const indexer_key vector =
            indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, ordinal);

        weir_batch_put(self->stage->batch, indexer_key_view(&text), weir_bytes_str(""));
        weir_batch_put(self->stage->batch, indexer_key_view(&vector),
            weir_bytes_str("no vector at all"));
    }
    world_restart(self);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 2);
    assert_int_equal(count_keys(self, 'K'), 2);
    assert_int_equal(verified_chunks(self), 2);
}

/* ---- damage ---- */

static void
damage(world *self, const indexer_key *key, const char *value)
{
    if (value != NULL)
        weir_batch_put(self->stage->batch, indexer_key_view(key), weir_bytes_str(value));
    else
        weir_batch_delete(self->stage->batch, indexer_key_view(key));
    world_commit(self);
}

static void
flip_a_byte(world *self, const indexer_key *key)
{
    weir_buffer value = { 0 };
    bool is_there = false;

    CHECK_OK(weir_store_get(self->store, NULL, indexer_key_view(key), &value, &is_there, &error));
    assert_true(is_there);
    value.data[7] ^= 1;
    weir_batch_put(self->stage->batch, indexer_key_view(key), weir_buffer_view(&value));
    weir_buffer_fini(&value);
    world_commit(self);
}

static void
expect_aside(const world *self, const indexer_key *key)
{
    assert_int_equal(self->stage->aside_count, 1);
    assert_true(weir_bytes_equal(self->stage->aside[0], indexer_key_view(key)));
}

/* The start knows that something is lost: no search takes it for absent. */
static void
expect_rebuilding(world *self)
{
    found *hits = NULL;

    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    CHECK_CODE(search_chunk(self, "b/1/1/0", NULL, 1, &hits), WEIR_INDEX_REBUILDING);
}

static void
a_damaged_vector_of_a_ready_revision_is_set_aside(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, 0);

    send_gate(self, 0);
    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    flip_a_byte(self, &key);
    CHECK_OK(world_try_restart(self));
    expect_aside(self, &key);
    expect_rebuilding(self);
    send_vectors(self, "a", 1, 2, 0, 3, 3);
    world_quiet(self);
    assert_true(is_found(self, "a", 1, 2, 2));
    world_restart(self);
    assert_int_equal(self->stage->aside_count, 0);
    assert_int_equal(verified_chunks(self), 5);
}

/* What is left of the try is fenced, so that no later row makes half of it READY. */
static void
expect_dropped(world *self)
{
    send_gate(self, 0);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), 0);
    send_vectors(self, "a", 1, 1, 0, 4, 4);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    send_vectors(self, "a", 1, 2, 0, 4, 4);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 102);
    assert_int_equal(verified_chunks(self), 4);
}

static void
a_damaged_vector_of_a_staged_try_is_set_aside(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, 0);

    send_vectors(self, "a", 1, 1, 0, 2, 0);
    world_commit(self);
    flip_a_byte(self, &key);
    CHECK_OK(world_try_restart(self));
    expect_aside(self, &key);
    expect_dropped(self);
}

/* The next try of a lost revision is damaged too: it is lost still. */
static void
a_damaged_next_try_leaves_the_revision_lost(void **state)
{
    world *self = *state;
    const indexer_try owners[] = { { "a", 1, 1 }, { "a", 1, 2 } };

    send_gate(self, 0);
    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    for (int i = 0; i < 2; i++) {
        const indexer_key key =
            indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owners[i], 0);

        flip_a_byte(self, &key);
        CHECK_OK(world_try_restart(self));
        expect_rebuilding(self);
        send_vectors(self, "a", 1, 2, 0, 2, 0);
        world_quiet(self);
    }
    send_vectors(self, "a", 1, 3, 0, 3, 3);
    world_quiet(self);
    assert_true(is_found(self, "a", 1, 3, 2));
    assert_int_equal(verified_chunks(self), 5);
}

/* The epoch that was lost is promised away; a later one brings the document back. */
static void
expect_brought_back(world *self, int64_t revision)
{
    send_vectors(self, "a", revision, 1, 0, 3, 3);
    world_quiet(self);
    assert_int_equal(ready_of(self, "a"), 0);
    send_vectors(self, "a", revision, 2, 0, 3, 3);
    world_quiet(self);
    assert_true(is_found(self, "a", revision, 2, 2));
    assert_true(is_found(self, "b", 1, 1, 1));
    assert_int_equal(verified_chunks(self), 5);
}

static void
a_ready_revision_with_a_missing_vector_is_lost_until_its_next_try(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, 0);

    send_gate(self, 0);
    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    damage(self, &key, NULL);
    CHECK_OK(world_try_restart(self));
    expect_rebuilding(self);
    world_restart(self);
    expect_rebuilding(self);
    expect_brought_back(self, 1);
}

static void
a_staged_try_with_a_missing_vector_is_dropped(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, 0);

    send_vectors(self, "a", 1, 1, 0, 1, 0);
    send_vectors(self, "a", 1, 1, 1, 3, 4); /* complete, and the gate is closed */
    world_commit(self);
    damage(self, &key, NULL);
    CHECK_OK(world_try_restart(self));
    expect_dropped(self);
}

/* What the register held comes again by the audit; its tries are promised away meanwhile. */
static void
expect_register_made_anew(world *self, const indexer_key *key, bool is_aside)
{
    CHECK_OK(world_try_restart(self));
    if (is_aside)
        expect_aside(self, key);
    expect_rebuilding(self);
    world_restart(self);
    assert_int_equal(self->stage->aside_count, 0);
    expect_rebuilding(self);
    assert_int_equal(count_keys(self, 'V'), 2);
    expect_brought_back(self, 2);
}

static void
a_register_that_does_not_decode_is_set_aside_and_made_anew(void **state)
{
    world *self = *state;
    const indexer_key key = indexer_key_document(WORLD_COLLECTION, "a");

    send_gate(self, 0);
    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    send_vectors(self, "a", 2, 1, 0, 2, 0);
    world_commit(self);
    damage(self, &key, "\xff\xff\xff");
    expect_register_made_anew(self, &key, true);
}

/* As one that a handler met: the process ended, and the record was moved before the start. */
static void
a_register_that_is_missing_is_made_anew(void **state)
{
    world *self = *state;
    const indexer_key key = indexer_key_document(WORLD_COLLECTION, "a");

    send_gate(self, 0);
    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    send_vectors(self, "a", 2, 1, 0, 2, 0);
    world_commit(self);
    damage(self, &key, NULL);
    expect_register_made_anew(self, &key, false);
}

/* Nothing of it was searchable: no search waits for it. */
static void
a_damaged_register_without_chunks_is_set_aside(void **state)
{
    world *self = *state;
    const indexer_key key = indexer_key_document(WORLD_COLLECTION, "gone");

    send_gate(self, 0);
    put_document(self, "b", 1, 2);
    send_delete(self, "gone", 1);
    world_quiet(self);
    damage(self, &key, "\xff\xff\xff");
    CHECK_OK(world_try_restart(self));
    expect_aside(self, &key);
    send_gate(self, 0);
    world_quiet(self);
    assert_true(is_found(self, "b", 1, 1, 1));
    assert_int_equal(verified_chunks(self), 2);
}

static void
what_is_ready_in_a_collection_whose_record_is_damaged_is_lost(void **state)
{
    static const char *const values[] = { "\xff\xff\xff", NULL };
    world *self = *state;
    const indexer_key key = indexer_key_collection(WORLD_COLLECTION);

    send_gate(self, 0);
    for (int64_t i = 0; i < 2; i++) {
        put_document(self, "a", 1 + i, 3);
        put_document(self, "b", 1 + i, 2);
        damage(self, &key, values[i]);
        CHECK_OK(world_try_restart(self));
        if (values[i] != NULL)
            expect_aside(self, &key);
        expect_rebuilding(self);
        assert_int_equal(count_keys(self, 'V'), 0);
        world_restart(self);
        expect_rebuilding(self); /* it is known by nothing but its lost documents */
        send_vectors(self, "a", 1 + i, 2, 0, 3, 3);
        world_quiet(self);
        assert_int_equal(ready_of(self, "a"), (1 + i) * 100 + 2);
        send_vectors(self, "b", 1 + i, 2, 0, 2, 2);
        world_quiet(self);
        assert_true(is_found(self, "a", 1 + i, 2, 2));
        assert_true(is_found(self, "b", 1 + i, 2, 1));
        assert_int_equal(verified_chunks(self), 5);
    }
}

static void
a_damaged_record_of_seeds_is_made_anew(void **state)
{
    world *self = *state;
    const indexer_key key = indexer_key_seed();

    send_seed(self, "a", 1, 0, 0, true);
    world_commit(self);
    assert_int_equal(indexer_seeded_era(self->core), weir_stage_era(self->stage));
    damage(self, &key, "\xff\xff\xff");
    CHECK_OK(world_try_restart(self));
    expect_aside(self, &key);
    assert_int_equal(indexer_seeded_era(self->core), weir_stage_era(self->stage));
    world_restart(self);
    assert_int_equal(self->stage->aside_count, 0);
    assert_int_equal(indexer_seeded_era(self->core), weir_stage_era(self->stage));
}

static void
a_staged_try_without_its_metadata_is_dropped(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_metadata(WORLD_COLLECTION, &owner);

    send_vectors(self, "a", 1, 1, 0, 4, 4); /* complete, and the gate is closed */
    world_commit(self);
    damage(self, &key, NULL);
    CHECK_OK(world_try_restart(self));
    expect_dropped(self);
}

static void
a_wiped_volume_starts_empty_behind_its_gate(void **state)
{
    world *self = *state;

    send_gate(self, 0);
    put_document(self, "a", 1, 2);
    world_stop(self);
    weir_store_mem_wipe(self->store);
    CHECK_OK(world_try_restart(self));
    assert_false(get_document(self, "a")->complete);
    send_seed(self, "a", 0, 0, 0, true);
    send_gate(self, 0);
    send_vectors(self, "a", 1, 2, 0, 2, 2); /* driven again */
    world_quiet(self);
    assert_true(is_found(self, "a", 1, 2, 1));
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_closed, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_store_starts_with_nothing),
        TEST(everything_ready_is_found_again),
        TEST(staging_goes_on_where_it_was),
        TEST(rows_that_overlap_add_what_is_new),
        TEST(a_round_that_was_not_synced_leaves_nothing),
        TEST(crashing_in_start_again_and_again_ends_as_one_start),
        TEST(litter_is_swept_after_a_start),
        TEST(a_damaged_vector_of_a_ready_revision_is_set_aside),
        TEST(a_damaged_vector_of_a_staged_try_is_set_aside),
        TEST(a_damaged_next_try_leaves_the_revision_lost),
        TEST(a_ready_revision_with_a_missing_vector_is_lost_until_its_next_try),
        TEST(a_staged_try_with_a_missing_vector_is_dropped),
        TEST(a_register_that_does_not_decode_is_set_aside_and_made_anew),
        TEST(a_register_that_is_missing_is_made_anew),
        TEST(a_damaged_register_without_chunks_is_set_aside),
        TEST(what_is_ready_in_a_collection_whose_record_is_damaged_is_lost),
        TEST(a_damaged_record_of_seeds_is_made_anew),
        TEST(a_staged_try_without_its_metadata_is_dropped),
        TEST(a_wiped_volume_starts_empty_behind_its_gate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
