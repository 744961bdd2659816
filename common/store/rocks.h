/*
 * rocks.h - what the two files of the RocksDB store share (inside common/store only).
 */
#ifndef WEIR_STORE_ROCKS_H
#define WEIR_STORE_ROCKS_H

#include <rocksdb/c.h>

#include "common/store/folder.h"
#include "common/store/ops.h"
#include "common/store/synced.h"

typedef struct rocks_store {
    weir_store base;
    weir_folder folder;
    weir_synced synced;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_write_buffer_manager_t *write_buffers;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write_synced;
    rocksdb_writeoptions_t *write_unsynced;
    atomic_bool has_failed; /* a write did: what is on disk is unknown, no other is let through */
} rocks_store;

extern const weir_store_ops weir_rocks_ops;

extern const char weir_rocks_schema_key[]; /* u32 schema, then the service's name */

/* The one translator of RocksDB's failures: takes its string, which is freed. */
weir_code weir_rocks_error(char *message, weir_error *reterr);
/* Close and free everything that is there, in the order that RocksDB's assertions want. */
void weir_rocks_free(rocks_store *self);

/* Once a database is open, which starts RocksDB's threads: a smaller share of the processors for
 * them.  Where the system has no such thing, nothing. */
void weir_rocks_lower_threads(void);

#endif
