/*
 * ops.h - what a kind of store must provide (inside common/store only).
 *
 * Each kind embeds these structs as its first member.  store.c checks arguments, counts what is
 * open and calls through; an implementation sees only calls that the contract of store.h allows.
 */
#ifndef WEIR_STORE_OPS_H
#define WEIR_STORE_OPS_H

#include <stdatomic.h>

#include "common/store/store.h"

typedef struct weir_store_ops {
    void (*close)(weir_store *store); /* frees it */
    weir_code (*get)(weir_store *store, const weir_snapshot *snapshot, weir_bytes key,
        weir_buffer *out, bool *ret_found, weir_error *reterr);
    weir_snapshot *(*snapshot_take)(weir_store *store);
    void (*snapshot_release)(weir_store *store, weir_snapshot *snapshot);
    weir_iter *(*iter)(weir_store *store, const weir_snapshot *snapshot, weir_bytes lower,
        weir_bytes upper);
    weir_batch *(*batch_create)(weir_store *store);
    weir_code (*commit)(weir_store *store, weir_batch *batch, bool sync, weir_error *reterr);
    weir_code (*delete_range)(weir_store *store, weir_bytes lower, weir_bytes upper,
        weir_error *reterr);
    weir_code (*sync)(weir_store *store, weir_error *reterr);
    void (*stats_read)(weir_store *store, weir_store_stats *ret_stats);
} weir_store_ops;

/* Each move answers whether the iterator stands on a key; store.c then holds the key against the
 * bounds. */
typedef struct weir_iter_ops {
    bool (*seek)(weir_iter *iter, weir_bytes key);        /* the first key >= key */
    bool (*seek_before)(weir_iter *iter, weir_bytes key); /* the last key < key; empty: of all */
    bool (*next)(weir_iter *iter);
    bool (*prev)(weir_iter *iter);
    weir_bytes (*key)(const weir_iter *iter);
    weir_bytes (*value)(const weir_iter *iter);
    weir_code (*status)(const weir_iter *iter, weir_error *reterr);
    void (*destroy)(weir_iter *iter); /* frees it, but for the bounds */
} weir_iter_ops;

typedef struct weir_batch_ops {
    void (*clear)(weir_batch *batch);
    void (*put)(weir_batch *batch, weir_bytes key, weir_bytes value);
    void (*put_lent)(weir_batch *batch, weir_bytes key, weir_bytes value); /* may copy it */
    void (*remove)(weir_batch *batch, weir_bytes key);
    weir_code (*get)(weir_batch *batch, weir_bytes key, weir_buffer *out, bool *ret_found,
        weir_error *reterr);
    weir_iter *(*iter)(weir_batch *batch, weir_bytes lower, weir_bytes upper);
    void (*destroy)(weir_batch *batch); /* frees it */
} weir_batch_ops;

struct weir_store {
    const weir_store_ops *ops;
    atomic_uint open_count;      /* batches, iterators and snapshots: none may outlive the store */
    weir_store_damaged *damaged; /* NULL: nobody asked to be told */
    void *damaged_ud;
};

/* An implementation sets ops; the rest is store.c's. */
struct weir_batch {
    const weir_batch_ops *ops;
    weir_store *store;
    uint32_t open_iters; /* on this batch: no write while one lives */
    uint32_t count;
    size_t bytes;
};

typedef enum weir_iter_place {
    WEIR_ITER_BEFORE = 0, /* before the first key of the range */
    WEIR_ITER_ON,
    WEIR_ITER_AFTER /* after the last one, or an error: there is no way on */
} weir_iter_place;

/* An implementation calls weir_iter_init; the rest is store.c's. */
struct weir_iter {
    const weir_iter_ops *ops;
    weir_store *store;
    weir_batch *batch; /* NULL: over committed state only */
    weir_iter_place place;
    weir_buffer lower;
    weir_buffer upper; /* empty: no bound */
};

/* Copies the bounds, so that an implementation may point into the iterator for as long as it
 * lives. */
static inline void
weir_iter_init(weir_iter *iter, const weir_iter_ops *ops, weir_bytes lower, weir_bytes upper)
{
    iter->ops = ops;
    weir_buffer_append(&iter->lower, lower.data, lower.size);
    weir_buffer_append(&iter->upper, upper.data, upper.size);
}

#endif
