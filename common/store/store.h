/*
 * store.h - an ordered, durable map of bytes: RocksDB in production, an in-memory map that can lose
 * power in tests.
 *
 * One vtable; nothing outside common/store knows which one it talks to.  Every error of a write,
 * flush or sync is indeterminate: the caller must stop serving and exit (WEIR_STORE_IO), and
 * recovery is the normal start.
 *
 * Durability: weir_store_commit(sync = true) returns after the batch is on disk.  A batch is whole
 * or absent after a crash at any instruction.  Batches become durable in commit order: an unsynced
 * batch is never lost while a later synced one survives.
 *
 * Keys are the callers' but for one: "mschema" holds the service and schema of a store on disk.
 *
 * Threads: get, iterators and snapshots from any thread; commit from one thread (the committer); a
 * batch or an iterator belongs to one thread at a time.
 */
#ifndef WEIR_STORE_STORE_H
#define WEIR_STORE_STORE_H

#include "common/base/bytes.h"
#include "common/base/error.h"

typedef struct weir_store weir_store;
typedef struct weir_snapshot weir_snapshot;
typedef struct weir_batch weir_batch;
typedef struct weir_iter weir_iter;

typedef struct weir_store_options {
    const char *path;       /* folder of the database; made if its parent exists */
    const char *service;    /* stored with the schema; another service's folder is refused */
    uint32_t schema;        /* newest that this binary writes; a newer one is refused */
    uint32_t schema_oldest; /* the oldest it opens; the stored one is then raised to schema */
    size_t cache_bytes;     /* block cache and write buffers together; 0: 64 MiB */
    bool compresses_values; /* large values are text that stays; not vectors, not rows */
    bool whole_filters;     /* many keys are asked for that are not there; not for databases whose
                               filters are many times the cache */
    uint64_t reserve_bytes; /* free space below which opening is refused; 0: no check */
    uint64_t ballast_bytes; /* size of the ballast file kept beside the database; 0: none */
} weir_store_options;

/*
 * Open or create.  The first create is made in a temporary folder, synced and renamed, so a crash
 * in it leaves nothing half made.  A lock file holds the folder while it is open.
 *
 * WEIR_STORE_LOCKED        another process holds it (the message names the pid where it is known).
 * WEIR_SCHEMA_UNSUPPORTED  written by a newer weir, too old, or by another service; the message
 *                          says what to do.
 * WEIR_DISK_LOW            free space is below the reserve.
 * WEIR_CORRUPT, WEIR_STORE_IO
 */
weir_code weir_store_open(const weir_store_options *options, weir_store **ret_store,
    weir_error *reterr) WEIR_MUST_CHECK;

/*
 * Let the next open of the closed store in `path` make do with what its log still has, instead of
 * refusing damage in it; from the first synced commit on nothing is made do with.  Tables are read
 * as strictly as ever.  WEIR_STORE_IO.
 */
weir_code weir_store_take_as_it_is(const char *path, weir_error *reterr) WEIR_MUST_CHECK;

/* The in-memory store.  It lives until closed; weir_store_mem_* below drive its faults. */
weir_store *weir_store_mem_create(void);

/* Call `damaged` whenever a read finds that a checksum does not match (WEIR_CORRUPT), on the thread
 * that reads and before it gets its error: a service stops there, since what else is damaged nobody
 * knows.  Set before other threads use the store. */
typedef void weir_store_damaged(void *ud, const weir_error *error);
void weir_store_on_damage(weir_store *store, weir_store_damaged *damaged, void *ud);

/* Every batch, iterator and snapshot must be gone.  Sets *store_p to NULL; accepts NULL. */
void weir_store_close(weir_store **store_p);

/* Copy the value of key into out (replacing its content).  *ret_found says whether there is one.
 * snapshot NULL: the newest committed state. */
weir_code weir_store_get(weir_store *store, const weir_snapshot *snapshot, weir_bytes key,
    weir_buffer *out, bool *ret_found, weir_error *reterr) WEIR_MUST_CHECK;

/* A consistent view of what is committed now.  Release before close. */
weir_snapshot *weir_store_snapshot_take(weir_store *store);
void weir_store_snapshot_release(weir_store *store, weir_snapshot **snapshot_p);

/* Iterate keys in [lower, upper) in byte order, starting before the first: call weir_iter_next
 * or _seek first. upper.size 0: no upper bound.  The bounds are copied. */
weir_iter *weir_store_iter(weir_store *store, const weir_snapshot *snapshot, weir_bytes lower,
    weir_bytes upper);
bool weir_iter_next(weir_iter *iter); /* to the next; false at the end or on error */
bool weir_iter_seek(weir_iter *iter, weir_bytes key); /* to the first key >= key */
bool weir_iter_last(weir_iter *iter);                 /* to the last key of the range */
bool weir_iter_prev(weir_iter *iter);
weir_bytes weir_iter_key(const weir_iter *iter); /* valid until the iterator moves */
weir_bytes weir_iter_value(const weir_iter *iter);
/* After every loop that ended by `false`. */
weir_code weir_iter_status(const weir_iter *iter, weir_error *reterr) WEIR_MUST_CHECK;
void weir_iter_destroy(weir_iter **iter_p);

/* A batch that reads its own writes.  Order of operations on one key is kept: the last wins. */
weir_batch *weir_batch_create(weir_store *store);
void weir_batch_destroy(weir_batch **batch_p);
void weir_batch_clear(weir_batch *batch);
void weir_batch_put(weir_batch *batch, weir_bytes key, weir_bytes value);
/* The same for a large value whose bytes neither move nor change until the batch is cleared or
 * destroyed: it need not be copied. */
void weir_batch_put_lent(weir_batch *batch, weir_bytes key, weir_bytes value);
void weir_batch_delete(weir_batch *batch, weir_bytes key);
/* The batch's own writes first, then the committed state. */
weir_code weir_batch_get(weir_batch *batch, weir_bytes key, weir_buffer *out, bool *ret_found,
    weir_error *reterr) WEIR_MUST_CHECK;
/* As weir_store_iter over the committed state merged with the batch; do not write to the batch
 * while it lives. */
weir_iter *weir_batch_iter(weir_batch *batch, weir_bytes lower, weir_bytes upper);
size_t weir_batch_bytes(const weir_batch *batch); /* keys and values so far */
uint32_t weir_batch_count(const weir_batch *batch);

/* Write the batch and clear it.  sync: return only when it and all earlier ones are on disk. */
weir_code weir_store_commit(weir_store *store, weir_batch *batch, bool sync,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Delete [lower, upper) in a plain batch of its own, unsynced: trims of outboxes and retired
 * data. */
weir_code weir_store_delete_range(weir_store *store, weir_bytes lower, weir_bytes upper,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Make all earlier commits durable. */
weir_code weir_store_sync(weir_store *store, weir_error *reterr) WEIR_MUST_CHECK;

typedef struct weir_store_stats {
    uint64_t disk_bytes;   /* size of the database's files */
    uint64_t free_bytes;   /* free space of its file system */
    uint64_t memory_bytes; /* caches, write buffers, pinned iterators */
    uint64_t stall_us;     /* time writes were delayed since opening */
} weir_store_stats;
void weir_store_stats_read(weir_store *store, weir_store_stats *ret_stats);

/* ---- copies of a store on disk ---- */

/*
 * Write what is committed now as a database of its own into the new folder `path`, whose parent
 * exists; hard links where it is on the same file system.  Whole and on disk when it returns; what
 * a failure or a crash leaves is called `path`.part.  Beside commits, from any thread, one at a
 * time.  WEIR_INVALID_ARGUMENT when `path` or `path`.part is there, WEIR_STORE_IO.
 */
weir_code weir_store_checkpoint(weir_store *store, const char *path,
    weir_error *reterr) WEIR_MUST_CHECK;

typedef struct weir_store_contents {
    uint32_t schema;
    uint64_t entries, bytes; /* of keys and values */
} weir_store_contents;

/* Read every entry of a checkpoint, with all checksums, without changing it.  WEIR_CORRUPT for
 * damage, and for what is no database of that service. */
weir_code weir_store_read_through(const char *path, const char *service,
    weir_store_contents *ret_contents, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- faults of the in-memory store (tests and the simulator) ---- */

/* Drop what is not synced: a random prefix of the unsynced batches survives (`random` picks how
 * many). */
void weir_store_mem_power_cut(weir_store *store, uint64_t random);
/* Forget everything, as a lost volume. */
void weir_store_mem_wipe(weir_store *store);
/* Deep copy, for a rolled-back volume. */
weir_store *weir_store_mem_clone(const weir_store *store);
/* Fail the n-th store call from now with WEIR_STORE_IO (0: none). */
void weir_store_mem_fail_after(weir_store *store, uint32_t calls);

#endif
