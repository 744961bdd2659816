/*
 * rocksdb.c - the store on RocksDB.
 *
 * Promises what store.h does: a synced batch is on disk when commit returns, whole; batches become
 * durable in commit order, because there is one log and every synced write syncs all that is
 * unsynced before it.  After the first failure of a write nothing more is written: what reached the
 * disk is known only to the next open.
 *
 * The traps of the C API that this file steps around: errptr must be NULL before and freed after;
 * NULL from a get is absent and failed alike; an iterator borrows the bytes of its bounds.
 */
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/store/merge.h"
#include "common/store/rocks.h"

struct weir_snapshot {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

typedef struct rocks_batch {
    weir_batch base;
    rocks_store *store;
    store_writes writes;
    rocksdb_writebatch_t *batch; /* empty but in a commit */
} rocks_batch;

typedef struct rocks_iter {
    weir_iter base;
    rocksdb_readoptions_t *read; /* lives as long as the iterator */
    rocksdb_iterator_t *iter;
} rocks_iter;

static rocks_store *
rocks(weir_store *store)
{
    return (rocks_store *)store;
}

/* Bytes of weir are unsigned, those of the C API are not. */
static const char *
chars(weir_bytes bytes)
{
    return (const char *)bytes.data;
}

weir_code
weir_rocks_error(char *message, weir_error *reterr)
{
    const bool is_corrupt = strncmp(message, "Corruption", 10) == 0;
    const weir_code code =
        weir_error_set(reterr, is_corrupt ? WEIR_CORRUPT : WEIR_STORE_IO, "rocksdb: %s", message);

    rocksdb_free(message);
    return code;
}

static rocksdb_readoptions_t *
make_read_options(const weir_snapshot *snapshot)
{
    rocksdb_readoptions_t *const read = rocksdb_readoptions_create();

    rocksdb_readoptions_set_verify_checksums(read, 1);
    if (snapshot != NULL)
        rocksdb_readoptions_set_snapshot(read, snapshot->snapshot);
    return read;
}

/* Nobody asks RocksDB how many keys this thread has compared, and it counts each. */
static void
count_nothing(void)
{
    static _Thread_local bool is_set;

    if (!is_set)
        rocksdb_set_perf_level(rocksdb_disable);
    is_set = true;
}

/* ---- reads ---- */

static weir_code
rocks_get(weir_store *store, const weir_snapshot *snapshot, weir_bytes key, weir_buffer *out,
    bool *ret_found, weir_error *reterr)
{
    rocks_store *const self = rocks(store);
    char *message = NULL;
    size_t size = 0;

    count_nothing();
    rocksdb_pinnableslice_t *const pinned = rocksdb_get_pinned(self->db,
        snapshot == NULL ? self->read : snapshot->read, chars(key), key.size, &message);

    if (message != NULL)
        return weir_rocks_error(message, reterr);
    weir_buffer_clear(out);
    *ret_found = pinned != NULL;
    if (pinned == NULL)
        return WEIR_OK;
    const char *const value = rocksdb_pinnableslice_value(pinned, &size);

    weir_buffer_append(out, value, size);
    rocksdb_pinnableslice_destroy(pinned);
    return WEIR_OK;
}

static weir_snapshot *
rocks_snapshot_take(weir_store *store)
{
    weir_snapshot *const snapshot = weir_alloc(sizeof *snapshot);

    snapshot->snapshot = rocksdb_create_snapshot(rocks(store)->db);
    snapshot->read = make_read_options(snapshot);
    return snapshot;
}

static void
rocks_snapshot_release(weir_store *store, weir_snapshot *snapshot)
{
    rocksdb_readoptions_destroy(snapshot->read);
    rocksdb_release_snapshot(rocks(store)->db, snapshot->snapshot);
    weir_free(snapshot);
}

/* ---- iterators ---- */

static rocks_iter *
rocks_of(weir_iter *iter)
{
    return (rocks_iter *)iter;
}

static bool
rocks_iter_seek(weir_iter *iter, weir_bytes key)
{
    rocksdb_iterator_t *const at = rocks_of(iter)->iter;

    if (key.size == 0)
        rocksdb_iter_seek_to_first(at);
    else
        rocksdb_iter_seek(at, chars(key), key.size);
    return rocksdb_iter_valid(at);
}

static weir_bytes
rocks_iter_key(const weir_iter *iter)
{
    size_t size = 0;
    const char *const key = rocksdb_iter_key(((const rocks_iter *)iter)->iter, &size);

    return weir_bytes_of(key, size);
}

static bool
rocks_iter_prev(weir_iter *iter)
{
    rocksdb_iter_prev(rocks_of(iter)->iter);
    return rocksdb_iter_valid(rocks_of(iter)->iter);
}

static bool
rocks_iter_seek_before(weir_iter *iter, weir_bytes key)
{
    rocksdb_iterator_t *const at = rocks_of(iter)->iter;

    if (key.size == 0)
        rocksdb_iter_seek_to_last(at);
    else
        rocksdb_iter_seek_for_prev(at, chars(key), key.size);
    if (!rocksdb_iter_valid(at))
        return false;
    /* seek_for_prev stops on the key itself, where there is one. */
    const bool is_before = key.size == 0 || weir_bytes_compare(rocks_iter_key(iter), key) < 0;

    return is_before || rocks_iter_prev(iter);
}

static bool
rocks_iter_next(weir_iter *iter)
{
    rocksdb_iter_next(rocks_of(iter)->iter);
    return rocksdb_iter_valid(rocks_of(iter)->iter);
}

static weir_bytes
rocks_iter_value(const weir_iter *iter)
{
    size_t size = 0;
    const char *const value = rocksdb_iter_value(((const rocks_iter *)iter)->iter, &size);

    return weir_bytes_of(value, size);
}

static weir_code
rocks_iter_status(const weir_iter *iter, weir_error *reterr)
{
    char *message = NULL;

    rocksdb_iter_get_error(((const rocks_iter *)iter)->iter, &message);
    return message == NULL ? WEIR_OK : weir_rocks_error(message, reterr);
}

static void
rocks_iter_destroy(weir_iter *iter)
{
    rocks_iter *const self = rocks_of(iter);

    rocksdb_iter_destroy(self->iter);
    rocksdb_readoptions_destroy(self->read);
    weir_free(self);
}

static const weir_iter_ops iter_ops = {
    .seek = rocks_iter_seek,
    .seek_before = rocks_iter_seek_before,
    .next = rocks_iter_next,
    .prev = rocks_iter_prev,
    .key = rocks_iter_key,
    .value = rocks_iter_value,
    .status = rocks_iter_status,
    .destroy = rocks_iter_destroy,
};

/* The bounds are the iterator's own copies. */
static void
set_bounds(rocksdb_readoptions_t *read, weir_bytes lower, weir_bytes upper)
{
    if (lower.size > 0)
        rocksdb_readoptions_set_iterate_lower_bound(read, chars(lower), lower.size);
    if (upper.size > 0)
        rocksdb_readoptions_set_iterate_upper_bound(read, chars(upper), upper.size);
}

static weir_iter *
rocks_iter_create(weir_store *store, const weir_snapshot *snapshot, weir_bytes lower,
    weir_bytes upper)
{
    rocks_iter *const self = weir_alloc_zero(1, sizeof *self);

    weir_iter_init(&self->base, &iter_ops, lower, upper);
    self->read = make_read_options(snapshot);
    set_bounds(self->read, weir_buffer_view(&self->base.lower),
        weir_buffer_view(&self->base.upper));
    self->iter = rocksdb_create_iterator(rocks(store)->db, self->read);
    return &self->base;
}

/* ---- batches ---- */

static rocks_batch *
batch_of(weir_batch *batch)
{
    return (rocks_batch *)batch;
}

static void
rocks_batch_clear(weir_batch *batch)
{
    store_writes_clear(&batch_of(batch)->writes);
}

static void
rocks_batch_put(weir_batch *batch, weir_bytes key, weir_bytes value)
{
    store_writes_put(&batch_of(batch)->writes, key, value);
}

static void
rocks_batch_put_lent(weir_batch *batch, weir_bytes key, weir_bytes value)
{
    store_writes_put_lent(&batch_of(batch)->writes, key, value);
}

static void
rocks_batch_remove(weir_batch *batch, weir_bytes key)
{
    store_writes_remove(&batch_of(batch)->writes, key);
}

static weir_code
rocks_batch_get(weir_batch *batch, weir_bytes key, weir_buffer *out, bool *ret_found,
    weir_error *reterr)
{
    const store_writes *const writes = &batch_of(batch)->writes;
    const store_write *const write = store_writes_find(writes, key);

    if (write == NULL)
        return rocks_get(&batch_of(batch)->store->base, NULL, key, out, ret_found, reterr);
    const weir_bytes value = store_writes_value(writes, write);

    weir_buffer_clear(out);
    *ret_found = write->is_put;
    if (write->is_put)
        weir_buffer_append(out, value.data, value.size);
    return WEIR_OK;
}

static weir_iter *
rocks_batch_iter(weir_batch *batch, weir_bytes lower, weir_bytes upper)
{
    weir_iter *const committed =
        rocks_iter_create(&batch_of(batch)->store->base, NULL, lower, upper);

    return store_merge_create(committed, &batch_of(batch)->writes, lower, upper);
}

static void
rocks_batch_destroy(weir_batch *batch)
{
    store_writes_fini(&batch_of(batch)->writes);
    rocksdb_writebatch_destroy(batch_of(batch)->batch);
    weir_free(batch);
}

static const weir_batch_ops batch_ops = {
    .clear = rocks_batch_clear,
    .put = rocks_batch_put,
    .put_lent = rocks_batch_put_lent,
    .remove = rocks_batch_remove,
    .get = rocks_batch_get,
    .iter = rocks_batch_iter,
    .destroy = rocks_batch_destroy,
};

static weir_batch *
rocks_batch_create(weir_store *store)
{
    rocks_batch *const self = weir_alloc_zero(1, sizeof *self);

    self->base.ops = &batch_ops;
    self->store = rocks(store);
    self->batch = rocksdb_writebatch_create();
    return &self->base;
}

/* ---- writes ---- */

static weir_code
check_not_failed(const rocks_store *self, weir_error *reterr)
{
    return atomic_load(&self->has_failed)
        ? weir_error_set(reterr, WEIR_STORE_IO, "%s: an earlier write failed, open the store again",
              self->folder.path)
        : WEIR_OK;
}

/* Every failure of a write is indeterminate, so it is WEIR_STORE_IO, whatever RocksDB calls it. */
static weir_code
write_result(rocks_store *self, char *message, weir_error *reterr)
{
    if (message == NULL)
        return WEIR_OK;
    atomic_store(&self->has_failed, true);
    const weir_code code = weir_error_set(reterr, WEIR_STORE_IO, "rocksdb: %s", message);

    rocksdb_free(message);
    return code;
}

/* In key order, each key once: so each insertion begins where the last one ended. */
static void
fill_batch(rocksdb_writebatch_t *batch, store_writes *writes)
{
    store_writes_sort(writes);
    for (uint32_t index = 0; index < writes->count; index++) {
        const store_write *const write = store_writes_at(writes, index);
        const weir_bytes key = store_writes_key(writes, write);
        const weir_bytes value = store_writes_value(writes, write);

        if (write->is_put)
            rocksdb_writebatch_put(batch, chars(key), key.size, chars(value), value.size);
        else
            rocksdb_writebatch_delete(batch, chars(key), key.size);
    }
}

static weir_code
rocks_commit(weir_store *store, weir_batch *batch, bool sync, weir_error *reterr)
{
    rocks_store *const self = rocks(store);
    const weir_code code = check_not_failed(self, reterr);
    char *message = NULL;

    if (code != WEIR_OK)
        return code;
    rocksdb_writebatch_t *const filled = batch_of(batch)->batch;

    count_nothing();
    fill_batch(filled, &batch_of(batch)->writes);
    /* Each change has a number.  What others write meanwhile only makes `last` less than it is. */
    const uint64_t last =
        rocksdb_get_latest_sequence_number(self->db) + (uint64_t)rocksdb_writebatch_count(filled);
    rocksdb_write(self->db, sync ? self->write_synced : self->write_unsynced, filled, &message);
    rocksdb_writebatch_clear(filled);
    if (sync && message == NULL)
        weir_synced_note(&self->synced, last);
    return write_result(self, message, reterr);
}

static weir_code
rocks_delete_range(weir_store *store, weir_bytes lower, weir_bytes upper, weir_error *reterr)
{
    rocks_store *const self = rocks(store);
    const weir_code code = check_not_failed(self, reterr);
    char *message = NULL;

    if (code != WEIR_OK)
        return code;
    rocksdb_writebatch_t *const batch = rocksdb_writebatch_create();

    rocksdb_writebatch_delete_range(batch, chars(lower), lower.size, chars(upper), upper.size);
    rocksdb_write(self->db, self->write_unsynced, batch, &message);
    rocksdb_writebatch_destroy(batch);
    return write_result(self, message, reterr);
}

static weir_code
rocks_sync(weir_store *store, weir_error *reterr)
{
    rocks_store *const self = rocks(store);
    const weir_code code = check_not_failed(self, reterr);
    char *message = NULL;

    if (code != WEIR_OK)
        return code;
    rocksdb_flush_wal(self->db, 1, &message);
    return write_result(self, message, reterr);
}

/* ---- checksums ---- */

/*
 * rocksdb::crc32c::Extend.  Debian builds RocksDB without the processor's CRC32C instruction (its
 * LOG says so), and its table took a third of the time of a commit.  The function is an exported
 * symbol of the library, which calls it by way of its linkage table, so a definition in the program
 * takes its place: the same sum, by base's way to it.  A library without that symbol goes on with
 * its own.
 */
__attribute__((visibility("default"))) uint32_t weir_rocks_crc32c(uint32_t crc, const char *data,
    size_t size) __asm__("_ZN7rocksdb6crc32c6ExtendEjPKcm");

uint32_t
weir_rocks_crc32c(uint32_t crc, const char *data, size_t size)
{
    return weir_crc32c(crc, weir_bytes_of(data, size));
}

/* ---- the rest ---- */

static uint64_t
number_property(const rocks_store *self, const char *name)
{
    uint64_t value = 0;

    return rocksdb_property_int(self->db, name, &value) == 0 ? value : 0;
}

/* RocksDB gives this number, short of costly statistics, in one line of a text for people. */
static uint64_t
read_stall_us(const rocks_store *self)
{
    static const char label[] = "Cumulative stall: ";
    char *const text = rocksdb_property_value(self->db, "rocksdb.dbstats");
    const char *const line = text == NULL ? NULL : strstr(text, label);
    unsigned hours = 0;
    unsigned minutes = 0;
    double seconds = 0;
    const bool is_read = line != NULL &&
        sscanf(line + sizeof label - 1, "%u:%u:%lf", &hours, &minutes, &seconds) == 3;

    rocksdb_free(text);
    return is_read
        ? (hours * UINT64_C(3600) + minutes * UINT64_C(60)) * 1000000 + (uint64_t)(seconds * 1e6)
        : 0;
}

static void
rocks_stats_read(weir_store *store, weir_store_stats *ret_stats)
{
    const rocks_store *const self = rocks(store);

    *ret_stats = (weir_store_stats){
        .disk_bytes = weir_folder_disk_bytes(&self->folder),
        .free_bytes = weir_folder_free_bytes(&self->folder),
        /* The write buffers are charged to the cache. */
        .memory_bytes = rocksdb_cache_get_usage(self->cache) +
            number_property(self, "rocksdb.estimate-table-readers-mem"),
        .stall_us = read_stall_us(self),
    };
}

static void
rocks_close(weir_store *store)
{
    weir_rocks_free(rocks(store));
}

const weir_store_ops weir_rocks_ops = {
    .close = rocks_close,
    .get = rocks_get,
    .snapshot_take = rocks_snapshot_take,
    .snapshot_release = rocks_snapshot_release,
    .iter = rocks_iter_create,
    .batch_create = rocks_batch_create,
    .commit = rocks_commit,
    .delete_range = rocks_delete_range,
    .sync = rocks_sync,
    .stats_read = rocks_stats_read,
};
