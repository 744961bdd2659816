/*
 * register.c - see register.h; models/revoke.pml checks the same rules.
 */
#include "services/indexer/register.h"

#include "common/base/assert.h"
#include "common/base/plant.h"

static int64_t
revoked_epoch(const indexer_register *record, int64_t revision)
{
    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision == revision)
            return record->revoked[i]->epoch;
    return 0;
}

indexer_fence
indexer_register_fence(const indexer_register *record, int64_t revision, int64_t epoch)
{
    if (record->ready_revision > revision)
        return INDEXER_FENCE_NEWER;
    if (record->ready_revision == revision)
        return INDEXER_FENCE_READY;
    if (record->deleted_below >= revision && !WEIR_PLANT(DELETE_WITHOUT_FENCE))
        return INDEXER_FENCE_DELETED;
    return revoked_epoch(record, revision) >= epoch && !WEIR_PLANT(NO_EPOCH_FENCE)
        ? INDEXER_FENCE_REVOKED
        : INDEXER_FENCE_OPEN;
}

indexer_staged *
indexer_register_find(const indexer_register *record, int64_t revision, int64_t epoch)
{
    for (size_t i = 0; i < record->n_staged; i++)
        if (record->staged[i]->revision == revision &&
            (record->staged[i]->epoch == epoch || WEIR_PLANT(EPOCHS_MIXED)))
            return record->staged[i];
    return NULL;
}

/* A copy of an array of pointers with room for one more: lists stay short. */
static void *
with_room(weir_arena *arena, const void *items, size_t count)
{
    void **copy = weir_arena_alloc(arena, (count + 1) * sizeof *copy);

    if (count > 0)
        memcpy(copy, items, count * sizeof *copy);
    return copy;
}

indexer_staged *
indexer_register_obtain(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t epoch)
{
    indexer_staged *staged = indexer_register_find(record, revision, epoch);

    weir_assert(indexer_register_fence(record, revision, epoch) == INDEXER_FENCE_OPEN);
    if (staged != NULL)
        return staged;
    staged = weir_arena_alloc(arena, sizeof *staged);
    weir__internal__v1__staged_epoch__init(staged);
    staged->revision = revision;
    staged->epoch = epoch;
    record->staged = with_room(arena, record->staged, record->n_staged);
    record->staged[record->n_staged++] = staged;
    return staged;
}

bool
indexer_staged_is_complete(const indexer_staged *staged)
{
    return staged->chunk_count > 0 &&
        (staged->staged_count == staged->chunk_count || WEIR_PLANT(READY_INCOMPLETE));
}

static void
leave(indexer_left *left, weir_arena *arena, int64_t revision, int64_t epoch)
{
    indexer_try *tries = weir_arena_alloc(arena, (left->count + 1) * sizeof *tries);

    if (left->count > 0)
        memcpy(tries, left->tries, left->count * sizeof *tries);
    tries[left->count++] = (indexer_try){ .revision = revision, .epoch = epoch };
    left->tries = tries;
}

static bool
is_fenced(const indexer_register *record, const indexer_staged *staged)
{
    return indexer_register_fence(record, staged->revision, staged->epoch) != INDEXER_FENCE_OPEN;
}

/* Staged tries that the record fences now leave; the READY one keeps its chunks. */
static void
drop_fenced(indexer_register *record, weir_arena *arena, indexer_left *left)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_staged; i++) {
        indexer_staged *staged = record->staged[i];
        const bool is_ready =
            staged->revision == record->ready_revision && staged->epoch == record->ready_epoch;

        if (!is_fenced(record, staged))
            record->staged[kept++] = staged;
        else if (!is_ready)
            leave(left, arena, staged->revision, staged->epoch);
    }
    record->n_staged = kept;
}

/* A promise below READY or a tombstone says nothing that these do not say. */
static void
drop_promises(indexer_register *record)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision > record->ready_revision &&
            record->revoked[i]->revision > record->deleted_below)
            record->revoked[kept++] = record->revoked[i];
    record->n_revoked = kept;
    if (record->lost_revision <= record->ready_revision ||
        record->lost_revision <= record->deleted_below)
        record->lost_revision = 0;
}

void
indexer_register_make_ready(indexer_register *record, weir_arena *arena,
    const indexer_staged *staged, int64_t now_ms, indexer_left *left)
{
    weir_assert(!is_fenced(record, staged));
    weir_assert(indexer_staged_is_complete(staged));
    if (record->ready_revision > 0)
        leave(left, arena, record->ready_revision, record->ready_epoch);
    record->ready_revision = staged->revision;
    record->ready_epoch = staged->epoch;
    record->ready_chunk_count = staged->chunk_count;
    record->ready_token_count = staged->token_count;
    record->ready_time_ms = now_ms;
    drop_fenced(record, arena, left);
    drop_promises(record);
}

static void
clear_ready(indexer_register *record, weir_arena *arena, indexer_left *left)
{
    leave(left, arena, record->ready_revision, record->ready_epoch);
    record->ready_revision = record->ready_epoch = record->ready_time_ms = 0;
    record->ready_chunk_count = 0;
    record->ready_token_count = 0;
    record->media_type = (char *)protobuf_c_empty_string;
}

bool
indexer_register_delete(indexer_register *record, weir_arena *arena, int64_t revision,
    indexer_left *left)
{
    if (record->deleted_below >= revision)
        return false;
    record->deleted_below = revision;
    if (record->ready_revision > 0 && record->ready_revision <= revision)
        clear_ready(record, arena, left);
    drop_fenced(record, arena, left);
    drop_promises(record);
    return true;
}

void
indexer_register_revoke(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t epoch, indexer_left *left)
{
    const indexer_fence fence = indexer_register_fence(record, revision, epoch);

    weir_assert(fence == INDEXER_FENCE_OPEN || fence == INDEXER_FENCE_REVOKED);
    if (fence == INDEXER_FENCE_REVOKED)
        return;
    Weir__Internal__V1__RevokedEpoch *promise = NULL;
    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision == revision)
            promise = record->revoked[i];
    if (promise == NULL) {
        promise = weir_arena_alloc(arena, sizeof *promise);
        weir__internal__v1__revoked_epoch__init(promise);
        promise->revision = revision;
        record->revoked = with_room(arena, record->revoked, record->n_revoked);
        record->revoked[record->n_revoked++] = promise;
    }
    promise->epoch = epoch;
    if (record->lost_revision <= revision)
        record->lost_revision = 0; /* its next try ended */
    drop_fenced(record, arena, left);
}

void
indexer_register_lose(indexer_register *record, weir_arena *arena, indexer_left *left)
{
    const int64_t revision = record->ready_revision;
    const int64_t epoch = record->ready_epoch;

    weir_assert(revision > 0);
    clear_ready(record, arena, left);
    if (revision > record->deleted_below)
        indexer_register_revoke(record, arena, revision, epoch, left);
    record->lost_revision = revision > record->deleted_below ? revision : 0;
}

void
indexer_register_drop(indexer_register *record, weir_arena *arena, int64_t revision, int64_t epoch,
    indexer_left *left)
{
    const int64_t lost = record->lost_revision;

    if (indexer_register_fence(record, revision, epoch) == INDEXER_FENCE_OPEN)
        indexer_register_revoke(record, arena, revision, epoch, left);
    else
        drop_fenced(record, arena, left);
    record->lost_revision = lost;
}

static void
forget_staged(indexer_register *record, weir_arena *arena, int64_t revision, indexer_left *left)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_staged; i++) {
        if (record->staged[i]->revision <= revision)
            record->staged[kept++] = record->staged[i];
        else
            leave(left, arena, record->staged[i]->revision, record->staged[i]->epoch);
    }
    record->n_staged = kept;
}

void
indexer_register_forget(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t deleted_below, indexer_left *left)
{
    size_t kept = 0;

    if (record->ready_revision > revision)
        clear_ready(record, arena, left);
    forget_staged(record, arena, revision, left);
    for (size_t i = 0; i < record->n_revoked; i++)
        if (record->revoked[i]->revision <= revision)
            record->revoked[kept++] = record->revoked[i];
    record->n_revoked = kept;
    if (record->deleted_below > revision)
        record->deleted_below = deleted_below;
    if (record->lost_revision > revision)
        record->lost_revision = 0;
}
