/*
 * indexer_register_test.c - the register keeps its rules.
 *
 * Method: each rule by name, then a walk over random histories that checks after every step what
 * register.h promises: nothing deleted, revoked or superseded is ever READY or staged again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/random.h"
#include "services/indexer/register.h"

typedef struct fixture {
    weir_arena *arena;
    indexer_register record;
    indexer_left left;
} fixture;

static int
setup(void **state)
{
    fixture *self = weir_alloc_zero(1, sizeof *self);

    self->arena = weir_arena_create(0);
    weir__internal__v1__index_document_record__init(&self->record);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    fixture *self = *state;

    weir_arena_destroy(&self->arena);
    weir_free(self);
    return 0;
}

static indexer_staged *
stage(fixture *self, int64_t revision, int64_t epoch, uint32_t staged_count, uint32_t chunk_count)
{
    indexer_staged *staged = indexer_register_obtain(&self->record, self->arena, revision, epoch);

    staged->staged_count = staged_count;
    staged->chunk_count = chunk_count;
    return staged;
}

static void
make_ready(fixture *self, int64_t revision, int64_t epoch)
{
    const indexer_staged *staged = stage(self, revision, epoch, 2, 2);

    self->left = (indexer_left){ 0 };
    indexer_register_make_ready(&self->record, self->arena, staged, 1000, &self->left);
}

static void
revoke(fixture *self, int64_t revision, int64_t epoch)
{
    self->left = (indexer_left){ 0 };
    indexer_register_revoke(&self->record, self->arena, revision, epoch, &self->left);
}

static bool
delete_at(fixture *self, int64_t revision)
{
    self->left = (indexer_left){ 0 };
    return indexer_register_delete(&self->record, self->arena, revision, &self->left);
}

static bool
has_left(const fixture *self, int64_t revision, int64_t epoch)
{
    for (size_t i = 0; i < self->left.count; i++)
        if (self->left.tries[i].revision == revision && self->left.tries[i].epoch == epoch)
            return true;
    return false;
}

static void
a_new_document_is_open_to_any_try(void **state)
{
    fixture *self = *state;

    assert_int_equal(indexer_register_fence(&self->record, 1, 1), INDEXER_FENCE_OPEN);
    assert_int_equal(indexer_register_fence(&self->record, 9, 9), INDEXER_FENCE_OPEN);
    assert_null(indexer_register_find(&self->record, 1, 1));
}

static void
a_try_is_complete_with_all_chunks_and_a_known_number_of_them(void **state)
{
    fixture *self = *state;

    assert_false(indexer_staged_is_complete(stage(self, 1, 1, 0, 0)));
    assert_false(indexer_staged_is_complete(stage(self, 1, 1, 3, 0)));
    assert_false(indexer_staged_is_complete(stage(self, 1, 1, 2, 3)));
    assert_true(indexer_staged_is_complete(stage(self, 1, 1, 3, 3)));
    assert_int_equal(self->record.n_staged, 1);
}

static void
ready_fences_its_revision_and_all_below(void **state)
{
    fixture *self = *state;

    make_ready(self, 5, 2);
    assert_int_equal(indexer_register_fence(&self->record, 5, 1), INDEXER_FENCE_READY);
    assert_int_equal(indexer_register_fence(&self->record, 5, 2), INDEXER_FENCE_READY);
    assert_int_equal(indexer_register_fence(&self->record, 5, 99), INDEXER_FENCE_READY);
    assert_int_equal(indexer_register_fence(&self->record, 4, 99), INDEXER_FENCE_NEWER);
    assert_int_equal(indexer_register_fence(&self->record, 6, 1), INDEXER_FENCE_OPEN);
    assert_int_equal(self->record.ready_time_ms, 1000);
    assert_int_equal(self->left.count, 0);
}

static void
ready_retires_the_older_revision_and_every_try_it_overtakes(void **state)
{
    fixture *self = *state;

    make_ready(self, 2, 1);
    stage(self, 3, 1, 1, 0);
    stage(self, 4, 1, 1, 5);
    stage(self, 7, 1, 1, 0);
    make_ready(self, 4, 2);
    assert_int_equal(self->left.count, 3);
    assert_true(has_left(self, 2, 1) && has_left(self, 3, 1) && has_left(self, 4, 1));
    assert_int_equal(self->record.n_staged, 1);
    assert_non_null(indexer_register_find(&self->record, 7, 1));
}

static void
a_tombstone_fences_what_is_below_it(void **state)
{
    fixture *self = *state;

    stage(self, 2, 1, 1, 0);
    make_ready(self, 1, 1);
    assert_true(delete_at(self, 3));
    assert_true(has_left(self, 1, 1) && has_left(self, 2, 1));
    assert_int_equal(self->record.ready_revision, 0);
    assert_int_equal(self->record.ready_chunk_count, 0);
    assert_int_equal(indexer_register_fence(&self->record, 1, 9), INDEXER_FENCE_DELETED);
    assert_int_equal(indexer_register_fence(&self->record, 3, 9), INDEXER_FENCE_DELETED);
    assert_int_equal(indexer_register_fence(&self->record, 4, 1), INDEXER_FENCE_OPEN);
}

static void
a_late_delete_does_not_retire_a_newer_revision(void **state)
{
    fixture *self = *state;

    make_ready(self, 4, 1);
    assert_true(delete_at(self, 3));
    assert_int_equal(self->left.count, 0);
    assert_int_equal(self->record.ready_revision, 4);
    assert_int_equal(self->record.deleted_below, 3);
}

static void
a_lower_or_equal_delete_changes_nothing(void **state)
{
    fixture *self = *state;

    assert_true(delete_at(self, 3));
    make_ready(self, 4, 1);
    assert_false(delete_at(self, 3));
    assert_false(delete_at(self, 2));
    assert_int_equal(self->record.deleted_below, 3);
    assert_int_equal(self->record.ready_revision, 4);
}

static void
a_promise_fences_its_epoch_and_lower_ones_only(void **state)
{
    fixture *self = *state;

    stage(self, 1, 1, 1, 0);
    stage(self, 1, 2, 1, 0);
    stage(self, 1, 3, 1, 0);
    revoke(self, 1, 2);
    assert_int_equal(self->left.count, 2);
    assert_true(has_left(self, 1, 1) && has_left(self, 1, 2));
    assert_int_equal(indexer_register_fence(&self->record, 1, 2), INDEXER_FENCE_REVOKED);
    assert_int_equal(indexer_register_fence(&self->record, 1, 3), INDEXER_FENCE_OPEN);
    assert_int_equal(indexer_register_fence(&self->record, 2, 1), INDEXER_FENCE_OPEN);
    assert_non_null(indexer_register_find(&self->record, 1, 3));
}

static void
promises_only_grow(void **state)
{
    fixture *self = *state;

    revoke(self, 1, 4);
    revoke(self, 1, 2);
    assert_int_equal(indexer_register_fence(&self->record, 1, 4), INDEXER_FENCE_REVOKED);
    assert_int_equal(self->record.n_revoked, 1);
    revoke(self, 1, 6);
    assert_int_equal(indexer_register_fence(&self->record, 1, 6), INDEXER_FENCE_REVOKED);
    assert_int_equal(self->record.n_revoked, 1);
}

static void
promises_below_ready_or_a_tombstone_are_forgotten(void **state)
{
    fixture *self = *state;

    revoke(self, 1, 1);
    revoke(self, 3, 1);
    revoke(self, 5, 1);
    make_ready(self, 2, 1);
    assert_int_equal(self->record.n_revoked, 2);
    delete_at(self, 4);
    assert_int_equal(self->record.n_revoked, 1);
    assert_int_equal(indexer_register_fence(&self->record, 5, 1), INDEXER_FENCE_REVOKED);
}

/* ---- a walk ---- */

enum { REVISIONS = 6, EPOCHS = 4 };

typedef struct walk {
    fixture *self;
    weir_rng rng;
    bool gone[REVISIONS + 1][EPOCHS + 1]; /* left the register once */
    int64_t deleted;
    int64_t promised[REVISIONS + 1];
} walk;

static void
note_left(walk *at)
{
    for (size_t i = 0; i < at->self->left.count; i++)
        at->gone[at->self->left.tries[i].revision][at->self->left.tries[i].epoch] = true;
}

static void
step(walk *at)
{
    const int64_t revision = 1 + (int64_t)weir_rng_below(&at->rng, REVISIONS);
    const int64_t epoch = 1 + (int64_t)weir_rng_below(&at->rng, EPOCHS);
    const indexer_fence fence = indexer_register_fence(&at->self->record, revision, epoch);

    switch (weir_rng_below(&at->rng, 4)) {
    case 0:
        if (fence != INDEXER_FENCE_OPEN)
            return;
        assert_true(revision > at->deleted && epoch > at->promised[revision]);
        make_ready(at->self, revision, epoch);
        break;
    case 1:
        if (fence == INDEXER_FENCE_OPEN)
            stage(at->self, revision, epoch, 1, 2);
        return;
    case 2:
        delete_at(at->self, revision);
        at->deleted = revision > at->deleted ? revision : at->deleted;
        break;
    default:
        if (fence != INDEXER_FENCE_OPEN)
            return;
        revoke(at->self, revision, epoch);
        at->promised[revision] = epoch;
        break;
    }
    note_left(at);
}

static void
check_walk(const walk *at)
{
    const indexer_register *record = &at->self->record;

    assert_true(record->deleted_below == at->deleted);
    assert_true(record->ready_revision == 0 || record->ready_revision > at->deleted);
    assert_false(record->ready_revision > 0 &&
        at->gone[record->ready_revision][record->ready_epoch]);
    for (size_t i = 0; i < record->n_staged; i++)
        assert_int_equal(indexer_register_fence(record, record->staged[i]->revision,
                             record->staged[i]->epoch),
            INDEXER_FENCE_OPEN);
    for (int64_t revision = 1; revision <= REVISIONS; revision++)
        for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
            if (at->gone[revision][epoch])
                assert_int_not_equal(indexer_register_fence(record, revision, epoch),
                    INDEXER_FENCE_OPEN);
}

static void
what_left_the_register_never_comes_back(void **state)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        void *fresh = NULL;

        setup(&fresh);
        walk at = { .self = fresh, .rng = { .state = seed } };
        for (int i = 0; i < 40; i++) {
            step(&at);
            check_walk(&at);
        }
        teardown(&fresh);
    }
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_document_is_open_to_any_try),
        TEST(a_try_is_complete_with_all_chunks_and_a_known_number_of_them),
        TEST(ready_fences_its_revision_and_all_below),
        TEST(ready_retires_the_older_revision_and_every_try_it_overtakes),
        TEST(a_tombstone_fences_what_is_below_it),
        TEST(a_late_delete_does_not_retire_a_newer_revision),
        TEST(a_lower_or_equal_delete_changes_nothing),
        TEST(a_promise_fences_its_epoch_and_lower_ones_only),
        TEST(promises_only_grow),
        TEST(promises_below_ready_or_a_tombstone_are_forgotten),
        cmocka_unit_test(what_left_the_register_never_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
