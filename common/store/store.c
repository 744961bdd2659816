/*
 * store.c - the one door to both kinds of store.
 *
 * Holds the programmer to the contract (keys are not empty, nothing outlives the store, nobody
 * writes to a batch under an iterator) so that both kinds break at the same line, whichever one a
 * test happens to use.
 */
#include "common/store/store.h"

#include "common/base/assert.h"
#include "common/store/ops.h"

void
weir_store_close(weir_store **store_p)
{
    if (*store_p == NULL)
        return;
    weir_assert(atomic_load(&(*store_p)->open_count) == 0);
    (*store_p)->ops->close(*store_p);
    *store_p = NULL;
}

/* ---- damage ---- */

void
weir_store_on_damage(weir_store *store, weir_store_damaged *damaged, void *ud)
{
    store->damaged = damaged;
    store->damaged_ud = ud;
}

static weir_code
told(const weir_store *store, weir_code code, const weir_error *error)
{
    static const weir_error unnamed = { .code = WEIR_CORRUPT, .message = "a checksum is wrong" };

    if (code == WEIR_CORRUPT && store->damaged != NULL)
        store->damaged(store->damaged_ud, error != NULL ? error : &unnamed);
    return code;
}

weir_code
weir_store_get(weir_store *store, const weir_snapshot *snapshot, weir_bytes key, weir_buffer *out,
    bool *ret_found, weir_error *reterr)
{
    weir_assert(key.size > 0);
    return told(store, store->ops->get(store, snapshot, key, out, ret_found, reterr), reterr);
}

weir_snapshot *
weir_store_snapshot_take(weir_store *store)
{
    atomic_fetch_add(&store->open_count, 1);
    return store->ops->snapshot_take(store);
}

void
weir_store_snapshot_release(weir_store *store, weir_snapshot **snapshot_p)
{
    if (*snapshot_p == NULL)
        return;
    store->ops->snapshot_release(store, *snapshot_p);
    *snapshot_p = NULL;
    atomic_fetch_sub(&store->open_count, 1);
}

/* ---- iterators ---- */

static weir_iter *
adopt_iter(weir_iter *iter, weir_store *store, weir_batch *batch)
{
    atomic_fetch_add(&store->open_count, 1);
    iter->store = store;
    iter->batch = batch;
    if (batch != NULL)
        batch->open_iters++;
    return iter;
}

weir_iter *
weir_store_iter(weir_store *store, const weir_snapshot *snapshot, weir_bytes lower,
    weir_bytes upper)
{
    return adopt_iter(store->ops->iter(store, snapshot, lower, upper), store, NULL);
}

static bool
is_in_range(const weir_iter *iter)
{
    const weir_bytes key = iter->ops->key(iter);
    const weir_bytes upper = weir_buffer_view(&iter->upper);

    return weir_bytes_compare(key, weir_buffer_view(&iter->lower)) >= 0 &&
        (upper.size == 0 || weir_bytes_compare(key, upper) < 0);
}

/* The move found a key or not; one outside the range is none, and `otherwise` says on which side
 * that leaves us. */
static bool
settle(weir_iter *iter, bool is_on_key, weir_iter_place otherwise)
{
    iter->place = is_on_key && is_in_range(iter) ? WEIR_ITER_ON : otherwise;
    return iter->place == WEIR_ITER_ON;
}

bool
weir_iter_next(weir_iter *iter)
{
    if (iter->place == WEIR_ITER_AFTER)
        return false;
    if (iter->place == WEIR_ITER_BEFORE)
        return weir_iter_seek(iter, weir_buffer_view(&iter->lower));
    return settle(iter, iter->ops->next(iter), WEIR_ITER_AFTER);
}

bool
weir_iter_seek(weir_iter *iter, weir_bytes key)
{
    const weir_bytes lower = weir_buffer_view(&iter->lower);
    const weir_bytes target = weir_bytes_compare(key, lower) < 0 ? lower : key;

    return settle(iter, iter->ops->seek(iter, target), WEIR_ITER_AFTER);
}

bool
weir_iter_last(weir_iter *iter)
{
    return settle(iter, iter->ops->seek_before(iter, weir_buffer_view(&iter->upper)),
        WEIR_ITER_BEFORE);
}

bool
weir_iter_prev(weir_iter *iter)
{
    weir_assert(iter->place == WEIR_ITER_ON);
    return settle(iter, iter->ops->prev(iter), WEIR_ITER_BEFORE);
}

weir_bytes
weir_iter_key(const weir_iter *iter)
{
    weir_assert(iter->place == WEIR_ITER_ON);
    return iter->ops->key(iter);
}

weir_bytes
weir_iter_value(const weir_iter *iter)
{
    weir_assert(iter->place == WEIR_ITER_ON);
    return iter->ops->value(iter);
}

weir_code
weir_iter_status(const weir_iter *iter, weir_error *reterr)
{
    return told(iter->store, iter->ops->status(iter, reterr), reterr);
}

void
weir_iter_destroy(weir_iter **iter_p)
{
    weir_iter *const iter = *iter_p;

    if (iter == NULL)
        return;
    weir_store *const store = iter->store;

    if (iter->batch != NULL)
        iter->batch->open_iters--;
    weir_buffer lower = iter->lower;
    weir_buffer upper = iter->upper;

    iter->ops->destroy(iter);
    weir_buffer_fini(&lower); /* only now: the implementation may have pointed into them */
    weir_buffer_fini(&upper);
    *iter_p = NULL;
    atomic_fetch_sub(&store->open_count, 1);
}

/* ---- batches ---- */

weir_batch *
weir_batch_create(weir_store *store)
{
    weir_batch *const batch = store->ops->batch_create(store);

    atomic_fetch_add(&store->open_count, 1);
    batch->store = store;
    return batch;
}

void
weir_batch_destroy(weir_batch **batch_p)
{
    weir_batch *const batch = *batch_p;

    if (batch == NULL)
        return;
    weir_store *const store = batch->store;

    weir_assert(batch->open_iters == 0);
    batch->ops->destroy(batch);
    *batch_p = NULL;
    atomic_fetch_sub(&store->open_count, 1);
}

void
weir_batch_clear(weir_batch *batch)
{
    weir_assert(batch->open_iters == 0);
    batch->ops->clear(batch);
    batch->bytes = 0;
    batch->count = 0;
}

static void
count_write(weir_batch *batch, weir_bytes key, size_t value_size)
{
    weir_assert(key.size > 0);
    weir_assert(batch->open_iters == 0);
    batch->bytes += key.size + value_size;
    batch->count++;
}

void
weir_batch_put(weir_batch *batch, weir_bytes key, weir_bytes value)
{
    count_write(batch, key, value.size);
    batch->ops->put(batch, key, value);
}

void
weir_batch_put_lent(weir_batch *batch, weir_bytes key, weir_bytes value)
{
    count_write(batch, key, value.size);
    batch->ops->put_lent(batch, key, value);
}

void
weir_batch_delete(weir_batch *batch, weir_bytes key)
{
    count_write(batch, key, 0);
    batch->ops->remove(batch, key);
}

weir_code
weir_batch_get(weir_batch *batch, weir_bytes key, weir_buffer *out, bool *ret_found,
    weir_error *reterr)
{
    weir_assert(key.size > 0);
    return told(batch->store, batch->ops->get(batch, key, out, ret_found, reterr), reterr);
}

weir_iter *
weir_batch_iter(weir_batch *batch, weir_bytes lower, weir_bytes upper)
{
    return adopt_iter(batch->ops->iter(batch, lower, upper), batch->store, batch);
}

size_t
weir_batch_bytes(const weir_batch *batch)
{
    return batch->bytes;
}

uint32_t
weir_batch_count(const weir_batch *batch)
{
    return batch->count;
}

/* ---- writes ---- */

weir_code
weir_store_commit(weir_store *store, weir_batch *batch, bool sync, weir_error *reterr)
{
    weir_assert(batch->store == store);
    weir_assert(batch->open_iters == 0);
    const weir_code code = store->ops->commit(store, batch, sync, reterr);

    if (code == WEIR_OK)
        weir_batch_clear(batch);
    return code;
}

weir_code
weir_store_delete_range(weir_store *store, weir_bytes lower, weir_bytes upper, weir_error *reterr)
{
    weir_assert(weir_bytes_compare(lower, upper) <= 0);
    return store->ops->delete_range(store, lower, upper, reterr);
}

weir_code
weir_store_sync(weir_store *store, weir_error *reterr)
{
    return store->ops->sync(store, reterr);
}

void
weir_store_stats_read(weir_store *store, weir_store_stats *ret_stats)
{
    store->ops->stats_read(store, ret_stats);
}
