/*
 * register.h - the rules of the one register: what may become READY, and what never may.  Pure.
 *
 * Each function reads or changes one document's record in memory (arena memory); the caller stores
 * it in the same round as everything that follows from the change.  The rules, for a document D:
 *
 *   READY(rev, epoch)   only if deleted(D) < rev, revoked(D, rev) < epoch, ready(D) < rev, every
 *                       chunk of this epoch is staged, and its rows are of the present era
 *   delete(rev)         deleted(D) = max; READY is retired only if its revision is not higher: a
 *                       newer one may have overtaken
 *   revoke(rev, epoch)  refused once rev or a newer revision is READY, or a tombstone covers it;
 *                       else final for the epoch
 *   cleared             a try that left `staged` is fenced by the same record, so its rows are
 *                       never staged again
 */
#ifndef WEIR_INDEXER_REGISTER_H
#define WEIR_INDEXER_REGISTER_H

#include "common/base/arena.h"
#include "services/indexer/index.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__IndexDocumentRecord indexer_register;
typedef Weir__Internal__V1__StagedEpoch indexer_staged;

typedef enum indexer_fence {
    INDEXER_FENCE_OPEN = 0, /* may be staged, and READY once complete */
    INDEXER_FENCE_READY,    /* this revision is READY, by this epoch or another */
    INDEXER_FENCE_NEWER,    /* a newer revision is READY */
    INDEXER_FENCE_DELETED,  /* a tombstone covers it */
    INDEXER_FENCE_REVOKED   /* this epoch was promised away */
} indexer_fence;

/* Tries that left the register: their chunks are litter once the round is synced. */
typedef struct indexer_left {
    indexer_try *tries; /* document_id is not filled in */
    size_t count;
} indexer_left;

indexer_fence indexer_register_fence(const indexer_register *record, int64_t revision,
    int64_t epoch);

/* The staged entry of a try, or NULL. */
indexer_staged *indexer_register_find(const indexer_register *record, int64_t revision,
    int64_t epoch);
/* The same, made if need be (fence OPEN, asserted). */
indexer_staged *indexer_register_obtain(indexer_register *record, weir_arena *arena,
    int64_t revision, int64_t epoch);
bool indexer_staged_is_complete(const indexer_staged *staged);

/* Make a complete staged try READY (fence OPEN, asserted).  `left` gains the replaced READY one and
 * every staged try of this or a lower revision. */
void indexer_register_make_ready(indexer_register *record, weir_arena *arena,
    const indexer_staged *staged, int64_t now_ms, indexer_left *left);
/* True if deleted_below moved. */
bool indexer_register_delete(indexer_register *record, weir_arena *arena, int64_t revision,
    indexer_left *left);
/* The promise, if the fence is OPEN or REVOKED for the epoch (asserted); lower epochs of the
 * revision with it. */
void indexer_register_revoke(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t epoch, indexer_left *left);

/* The READY revision is READY no more: its chunks are damaged.  Its epoch is promised away, and it
 * is lost_revision until a later try of it, a newer READY or a tombstone comes. */
void indexer_register_lose(indexer_register *record, weir_arena *arena, indexer_left *left);
/* A staged try is damaged: it leaves, its epoch is promised away (unless something else fences it),
 * and what is lost stays so. */
void indexer_register_drop(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t epoch, indexer_left *left);
/* Nothing above `revision` is known here any more; the tombstone is at most `deleted_below` then.
 */
void indexer_register_forget(indexer_register *record, weir_arena *arena, int64_t revision,
    int64_t deleted_below, indexer_left *left);

#endif
