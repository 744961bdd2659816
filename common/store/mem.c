/*
 * mem.c - the store in memory, for tests and the simulator: same contract, and a disk that can
 * fail.
 *
 * A commit takes effect at once.  What a power cut may take back is kept as versions: `durable` is
 * the state at the last sync and `tail` the state after each batch since, so any prefix of the
 * unsynced batches is one version away. A write that is made to fail takes no effect that can be
 * read, but joins the tail: after a power cut it may be there or not, as with a real disk.
 *
 * Deterministic: no clock, no randomness but what the caller passes.
 */
#include <pthread.h>

#include "common/base/assert.h"
#include "common/store/mem_map.h"
#include "common/store/ops.h"

enum { FREE_BYTES = 1 << 30 };

typedef struct mem_store {
    weir_store base;
    pthread_mutex_t mutex; /* guards all below: the roots are replaced while other threads read */
    mem_node *root;
    mem_node *durable;
    mem_node **tail;
    size_t tail_count;
    size_t tail_capacity;
    uint32_t calls_to_failure; /* 0: none is planned */
    bool has_failed; /* a write did: no other is let through until a power cut or a new plan */
} mem_store;

struct weir_snapshot {
    mem_node *root;
};

typedef struct mem_op {
    size_t key_at; /* in the batch's bytes */
    size_t key_size;
    size_t value_size;
    bool is_put;
} mem_op;

/* `merged` is the committed state `origin` with the operations applied; when the committed state
 * has moved on, they are applied again. */
typedef struct mem_batch {
    weir_batch base;
    mem_store *store;
    weir_buffer bytes; /* keys and values of the operations */
    weir_buffer ops;   /* of mem_op */
    mem_node *origin;
    mem_node *merged;
} mem_batch;

typedef struct mem_iter {
    weir_iter base;
    mem_node *root;
    const mem_node *at;
    bool has_failed;
} mem_iter;

static mem_store *
mem(weir_store *store)
{
    return (mem_store *)store;
}

/* ---- planned failures ---- */

/* Counts one call; true when it is the one that must fail. */
static bool
must_fail(mem_store *self)
{
    pthread_mutex_lock(&self->mutex);
    const bool fails = self->calls_to_failure == 1;

    if (self->calls_to_failure > 0)
        self->calls_to_failure--;
    pthread_mutex_unlock(&self->mutex);
    return fails;
}

static weir_code
planned_error(weir_error *reterr, const char *call)
{
    return weir_error_set(reterr, WEIR_STORE_IO, "%s failed, as planned by the test", call);
}

/* ---- reads ---- */

static mem_node *
current_root(mem_store *self)
{
    pthread_mutex_lock(&self->mutex);
    mem_node *const root = mem_map_ref(self->root);

    pthread_mutex_unlock(&self->mutex);
    return root;
}

/* Takes over the reference to root. */
static void
copy_value(mem_node *root, weir_bytes key, weir_buffer *out, bool *ret_found)
{
    const mem_node *const found = mem_map_find(root, key);

    weir_buffer_clear(out);
    *ret_found = found != NULL;
    if (found != NULL)
        weir_buffer_append(out, mem_node_value(found).data, mem_node_value(found).size);
    mem_map_unref(root);
}

static weir_code
mem_get(weir_store *store, const weir_snapshot *snapshot, weir_bytes key, weir_buffer *out,
    bool *ret_found, weir_error *reterr)
{
    if (must_fail(mem(store)))
        return planned_error(reterr, "get");
    copy_value(snapshot == NULL ? current_root(mem(store)) : mem_map_ref(snapshot->root), key, out,
        ret_found);
    return WEIR_OK;
}

static weir_snapshot *
mem_snapshot_take(weir_store *store)
{
    weir_snapshot *const snapshot = weir_alloc(sizeof *snapshot);

    snapshot->root = current_root(mem(store));
    return snapshot;
}

static void
mem_snapshot_release(weir_store *store, weir_snapshot *snapshot)
{
    (void)store;
    mem_map_unref(snapshot->root);
    weir_free(snapshot);
}

/* ---- iterators: each holds a version, so nothing that happens later can touch it ---- */

static mem_iter *
mem_of(weir_iter *iter)
{
    return (mem_iter *)iter;
}

static bool
stand(mem_iter *self, const mem_node *at)
{
    self->at = self->has_failed ? NULL : at;
    return self->at != NULL;
}

static bool
mem_iter_seek(weir_iter *iter, weir_bytes key)
{
    return stand(mem_of(iter), mem_map_at_or_after(mem_of(iter)->root, key));
}

static bool
mem_iter_seek_before(weir_iter *iter, weir_bytes key)
{
    const mem_node *const root = mem_of(iter)->root;

    return stand(mem_of(iter), key.size == 0 ? mem_map_last(root) : mem_map_before(root, key));
}

static bool
mem_iter_next(weir_iter *iter)
{
    return stand(mem_of(iter), mem_map_after(mem_of(iter)->root, mem_node_key(mem_of(iter)->at)));
}

static bool
mem_iter_prev(weir_iter *iter)
{
    return stand(mem_of(iter), mem_map_before(mem_of(iter)->root, mem_node_key(mem_of(iter)->at)));
}

static weir_bytes
mem_iter_key(const weir_iter *iter)
{
    return mem_node_key(((const mem_iter *)iter)->at);
}

static weir_bytes
mem_iter_value(const weir_iter *iter)
{
    return mem_node_value(((const mem_iter *)iter)->at);
}

static weir_code
mem_iter_status(const weir_iter *iter, weir_error *reterr)
{
    return ((const mem_iter *)iter)->has_failed ? planned_error(reterr, "iteration") : WEIR_OK;
}

static void
mem_iter_destroy(weir_iter *iter)
{
    mem_map_unref(mem_of(iter)->root);
    weir_free(iter);
}

static const weir_iter_ops iter_ops = {
    .seek = mem_iter_seek,
    .seek_before = mem_iter_seek_before,
    .next = mem_iter_next,
    .prev = mem_iter_prev,
    .key = mem_iter_key,
    .value = mem_iter_value,
    .status = mem_iter_status,
    .destroy = mem_iter_destroy,
};

/* Takes over the reference to root. */
static weir_iter *
iter_over(mem_store *store, mem_node *root, weir_bytes lower, weir_bytes upper)
{
    mem_iter *const self = weir_alloc_zero(1, sizeof *self);

    weir_iter_init(&self->base, &iter_ops, lower, upper);
    self->root = root;
    self->has_failed = must_fail(store);
    return &self->base;
}

static weir_iter *
mem_iter_create(weir_store *store, const weir_snapshot *snapshot, weir_bytes lower,
    weir_bytes upper)
{
    mem_node *const root =
        snapshot == NULL ? current_root(mem(store)) : mem_map_ref(snapshot->root);

    return iter_over(mem(store), root, lower, upper);
}

/* ---- batches ---- */

static void
apply(mem_batch *self, const mem_op *op)
{
    const weir_bytes key = weir_bytes_of(self->bytes.data + op->key_at, op->key_size);

    if (op->is_put)
        self->merged =
            mem_map_put(self->merged, key, weir_bytes_of(key.data + op->key_size, op->value_size));
    else
        self->merged = mem_map_remove(self->merged, key);
}

/* Bring `merged` up to the committed state. */
static void
refresh(mem_batch *self)
{
    mem_node *const root = current_root(self->store);
    const mem_op *const ops = (const mem_op *)(const void *)self->ops.data;

    if (root == self->origin) {
        mem_map_unref(root);
        return;
    }
    mem_map_unref(self->origin);
    mem_map_unref(self->merged);
    self->origin = root;
    self->merged = mem_map_ref(root);
    for (size_t index = 0; index < self->ops.size / sizeof *ops; index++)
        apply(self, &ops[index]);
}

static void
add_op(mem_batch *self, weir_bytes key, weir_bytes value, bool is_put)
{
    const mem_op op = {
        .key_at = self->bytes.size,
        .key_size = key.size,
        .value_size = value.size,
        .is_put = is_put,
    };

    weir_buffer_append(&self->bytes, key.data, key.size);
    weir_buffer_append(&self->bytes, value.data, value.size);
    weir_buffer_append(&self->ops, &op, sizeof op);
    apply(self, &op);
}

static void
mem_batch_put(weir_batch *batch, weir_bytes key, weir_bytes value)
{
    add_op((mem_batch *)batch, key, value, true);
}

static void
mem_batch_remove(weir_batch *batch, weir_bytes key)
{
    add_op((mem_batch *)batch, key, weir_bytes_of(NULL, 0), false);
}

static void
mem_batch_clear(weir_batch *batch)
{
    mem_batch *const self = (mem_batch *)batch;

    weir_buffer_clear(&self->bytes);
    weir_buffer_clear(&self->ops);
    mem_map_unref(self->merged);
    mem_map_unref(self->origin);
    self->origin = current_root(self->store);
    self->merged = mem_map_ref(self->origin);
}

static weir_code
mem_batch_get(weir_batch *batch, weir_bytes key, weir_buffer *out, bool *ret_found,
    weir_error *reterr)
{
    mem_batch *const self = (mem_batch *)batch;

    if (must_fail(self->store))
        return planned_error(reterr, "get");
    refresh(self);
    copy_value(mem_map_ref(self->merged), key, out, ret_found);
    return WEIR_OK;
}

static weir_iter *
mem_batch_iter(weir_batch *batch, weir_bytes lower, weir_bytes upper)
{
    mem_batch *const self = (mem_batch *)batch;

    refresh(self);
    return iter_over(self->store, mem_map_ref(self->merged), lower, upper);
}

static void
mem_batch_destroy(weir_batch *batch)
{
    mem_batch *const self = (mem_batch *)batch;

    mem_map_unref(self->origin);
    mem_map_unref(self->merged);
    weir_buffer_fini(&self->bytes);
    weir_buffer_fini(&self->ops);
    weir_free(self);
}

static const weir_batch_ops batch_ops = {
    .clear = mem_batch_clear,
    .put = mem_batch_put,
    .put_lent = mem_batch_put,
    .remove = mem_batch_remove,
    .get = mem_batch_get,
    .iter = mem_batch_iter,
    .destroy = mem_batch_destroy,
};

static weir_batch *
mem_batch_create(weir_store *store)
{
    mem_batch *const self = weir_alloc_zero(1, sizeof *self);

    self->base.ops = &batch_ops;
    self->store = mem(store);
    self->origin = current_root(self->store);
    self->merged = mem_map_ref(self->origin);
    return &self->base;
}

/* ---- writes ---- */

/* Takes over the reference to version.  With the mutex held. */
static void
push_tail(mem_store *self, mem_node *version)
{
    if (self->tail_count == self->tail_capacity) {
        self->tail_capacity = self->tail_capacity == 0 ? 16 : self->tail_capacity * 2;
        self->tail = weir_realloc(self->tail, self->tail_capacity * sizeof *self->tail);
    }
    self->tail[self->tail_count++] = version;
}

/* What the last version says is on disk from now on.  With the mutex held. */
static void
make_durable(mem_store *self, mem_node *version)
{
    mem_map_unref(self->durable);
    self->durable = version;
    for (size_t index = 0; index < self->tail_count; index++)
        mem_map_unref(self->tail[index]);
    self->tail_count = 0;
}

static weir_code
begin_write(mem_store *self, const char *call, bool *ret_fails, weir_error *reterr)
{
    *ret_fails = must_fail(self);
    pthread_mutex_lock(&self->mutex);
    const bool had_failed = self->has_failed;

    self->has_failed |= *ret_fails;
    pthread_mutex_unlock(&self->mutex);
    return had_failed ? weir_error_set(reterr, WEIR_STORE_IO, "%s: an earlier write failed", call)
                      : WEIR_OK;
}

/* Takes over the reference to version. */
static void
install(mem_store *self, mem_node *version, bool fails, bool sync)
{
    pthread_mutex_lock(&self->mutex);
    push_tail(self, mem_map_ref(version));
    if (!fails) {
        mem_map_unref(self->root);
        self->root = mem_map_ref(version);
        if (sync)
            make_durable(self, mem_map_ref(version));
    }
    pthread_mutex_unlock(&self->mutex);
    mem_map_unref(version);
}

static weir_code
mem_commit(weir_store *store, weir_batch *batch, bool sync, weir_error *reterr)
{
    mem_store *const self = mem(store);
    mem_batch *const written = (mem_batch *)batch;
    bool fails = false;
    const weir_code code = begin_write(self, "commit", &fails, reterr);

    if (code != WEIR_OK)
        return code;
    refresh(written);
    install(self, mem_map_ref(written->merged), fails, sync);
    return fails ? planned_error(reterr, "commit") : WEIR_OK;
}

static weir_code
mem_delete_range(weir_store *store, weir_bytes lower, weir_bytes upper, weir_error *reterr)
{
    mem_store *const self = mem(store);
    bool fails = false;
    const weir_code code = begin_write(self, "delete_range", &fails, reterr);

    if (code != WEIR_OK)
        return code;
    install(self, mem_map_remove_range(current_root(self), lower, upper), fails, false);
    return fails ? planned_error(reterr, "delete_range") : WEIR_OK;
}

static weir_code
mem_sync(weir_store *store, weir_error *reterr)
{
    mem_store *const self = mem(store);
    bool fails = false;
    const weir_code code = begin_write(self, "sync", &fails, reterr);

    if (code != WEIR_OK)
        return code;
    if (fails)
        return planned_error(reterr, "sync");
    pthread_mutex_lock(&self->mutex);
    make_durable(self, mem_map_ref(self->root));
    pthread_mutex_unlock(&self->mutex);
    return WEIR_OK;
}

static void
mem_stats_read(weir_store *store, weir_store_stats *ret_stats)
{
    mem_node *const root = current_root(mem(store));
    const uint64_t bytes = mem_map_bytes(root);

    mem_map_unref(root);
    *ret_stats = (weir_store_stats){
        .disk_bytes = bytes,
        .free_bytes = FREE_BYTES,
        .memory_bytes = bytes,
    };
}

/* ---- life and faults ---- */

static void
drop_all(mem_store *self)
{
    make_durable(self, NULL);
    mem_map_unref(self->root);
    self->root = NULL;
    self->has_failed = false;
    self->calls_to_failure = 0;
}

static void
mem_close(weir_store *store)
{
    mem_store *const self = mem(store);

    drop_all(self);
    weir_free(self->tail);
    pthread_mutex_destroy(&self->mutex);
    weir_free(self);
}

static const weir_store_ops mem_ops = {
    .close = mem_close,
    .get = mem_get,
    .snapshot_take = mem_snapshot_take,
    .snapshot_release = mem_snapshot_release,
    .iter = mem_iter_create,
    .batch_create = mem_batch_create,
    .commit = mem_commit,
    .delete_range = mem_delete_range,
    .sync = mem_sync,
    .stats_read = mem_stats_read,
};

weir_store *
weir_store_mem_create(void)
{
    mem_store *const self = weir_alloc_zero(1, sizeof *self);

    self->base.ops = &mem_ops;
    pthread_mutex_init(&self->mutex, NULL);
    return &self->base;
}

/* The faults are for this kind only, and for moments when nothing stands on the state that
 * vanishes. */
static mem_store *
mem_at_rest(weir_store *store)
{
    weir_assert(store->ops == &mem_ops);
    weir_assert(atomic_load(&store->open_count) == 0);
    return mem(store);
}

void
weir_store_mem_power_cut(weir_store *store, uint64_t random)
{
    mem_store *const self = mem_at_rest(store);
    const size_t kept = (size_t)(random % (self->tail_count + 1));
    mem_node *const survivor = mem_map_ref(kept == 0 ? self->durable : self->tail[kept - 1]);

    drop_all(self);
    self->root = survivor;
    self->durable = mem_map_ref(survivor);
}

void
weir_store_mem_wipe(weir_store *store)
{
    drop_all(mem_at_rest(store));
}

weir_store *
weir_store_mem_clone(const weir_store *store)
{
    const mem_store *const original = (const mem_store *)store;
    weir_store *const created = weir_store_mem_create();
    mem_store *const self = mem(created);

    weir_assert(store->ops == &mem_ops);
    /* Versions are never changed, so sharing them is as deep a copy as any. */
    self->root = mem_map_ref(original->root);
    self->durable = mem_map_ref(original->durable);
    for (size_t index = 0; index < original->tail_count; index++)
        push_tail(self, mem_map_ref(original->tail[index]));
    return created;
}

void
weir_store_mem_fail_after(weir_store *store, uint32_t calls)
{
    mem_store *const self = mem(store);

    weir_assert(store->ops == &mem_ops);
    pthread_mutex_lock(&self->mutex);
    self->calls_to_failure = calls;
    self->has_failed = false;
    pthread_mutex_unlock(&self->mutex);
}
