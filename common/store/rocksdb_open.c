/*
 * rocksdb_open.c - opening: the folder, the options, the first create, the schema.
 *
 * Order: lock the folder, refuse a full disk, create what is not there, open, compare what is there
 * with what was synced, compare the schema, lay the ballast.  No record of a folder that is refused
 * is changed.
 */
#include "common/base/assert.h"
#include "common/store/rocks.h"
#include "common/store/wal.h"

enum {
    CACHE_BYTES_DEFAULT = 64 << 20,
    WRITE_BUFFER_BYTES_MIN = 1 << 20,
    WRITE_BUFFER_BYTES_MAX = 64 << 20,
    OPEN_FILES_MAX = 512,
    WAL_BYTES_MAX = 128 << 20,
    LOG_BYTES_MAX = 16 << 20,
    BLOB_BYTES_MIN = 512,
    CACHE_SHARD_BITS =
        2, /* some shards hold large entries beside each other, and few threads read */
    BLOB_FILE_BYTES = 64 << 20,
    FLUSHES_MERGED = 12, /* small tables: each merge rewrites much of the first level */
    BYTES_PER_SYNC = 1 << 20,
    FILTER_BITS_PER_KEY = 10,
    FILTER_PART_BYTES = 4 << 10,
    INFO_LEVEL = 1
};

#define MEMTABLE_FILTER_SHARE 0.02

const char weir_rocks_schema_key[] = "mschema"; /* 'm': what a store says of itself */

/* ---- options ---- */

static void
set_durability(rocksdb_options_t *options)
{
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
    rocksdb_options_set_manual_wal_flush(options, 0);
    rocksdb_options_set_max_total_wal_size(options, WAL_BYTES_MAX);
    rocksdb_options_set_recycle_log_file_num(options, 2);
    /* No gain with one committer, and both weaken what a snapshot promises. */
    rocksdb_options_set_unordered_write(options, 0);
    rocksdb_options_set_enable_pipelined_write(options, 0);
}

static void
set_files(rocksdb_options_t *options)
{
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_info_log_level(options, INFO_LEVEL); /* a build with assertions says more */
    rocksdb_options_set_keep_log_file_num(options, 5);
    rocksdb_options_set_max_log_file_size(options, LOG_BYTES_MAX);
    rocksdb_options_set_bytes_per_sync(options, BYTES_PER_SYNC);
    rocksdb_options_set_avoid_unnecessary_blocking_io(options, 1);
    /* Nobody reads what RocksDB writes into its log now and then. */
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
}

/* What is merged again soon is not worth it: the tables of flushes and the first level. */
static void
set_compression(rocksdb_options_t *options, int compression)
{
    const int by_level[] = { rocksdb_no_compression, rocksdb_no_compression, compression };

    rocksdb_options_set_compression_per_level(options, by_level,
        sizeof by_level / sizeof by_level[0]);
}

/* Source bodies, chunks and vectors: written once, moved seldom.  From half a KiB on, or
 * compactions copy each document and chunk several times. */
static void
set_blobs(rocksdb_options_t *options, int compression)
{
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
    rocksdb_options_set_blob_file_size(options, BLOB_FILE_BYTES);
    rocksdb_options_set_blob_compression_type(options, compression);
    rocksdb_options_set_enable_blob_gc(options, 1);
    /* A compaction moves every live value of the oldest tenth of the files, so this is a price for
     * each: at a half, sources that nobody had replaced were written four times. */
    rocksdb_options_set_blob_gc_age_cutoff(options, 0.1);
    rocksdb_options_set_blob_gc_force_threshold(options, 0.5);
}

/* Index and filters in parts: whole ones may be as large as the cache, so that each look-up of an
 * absent key reads them anew (180 KB a document, measured).  To find the part costs as much as all
 * the rest of such a look-up, which is why whole filters can be asked for: the gateway's accepts
 * took a tenth less CPU with them, at 2.3 million documents with the default cache and, though each
 * then read 14 KB again, at 1.4 million with an eighth of it. */
static void
set_parts(rocksdb_block_based_table_options_t *table, bool whole_filters)
{
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_index_type(table,
        rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, !whole_filters);
    rocksdb_block_based_options_set_metadata_block_size(table, FILTER_PART_BYTES);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
}

/* With the large values beside it, a table is a small part of its write buffer.  The default of
 * 256 MiB for the first level would let each merge of a megabyte rewrite a level of hundreds. */
static void
set_sizes(rocksdb_options_t *options, size_t write_buffer_bytes)
{
    rocksdb_options_set_write_buffer_size(options, write_buffer_bytes);
    rocksdb_options_set_max_bytes_for_level_base(options, write_buffer_bytes);
    rocksdb_options_set_target_file_size_base(options, write_buffer_bytes / 2);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, FLUSHES_MERGED);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, 3 * FLUSHES_MERGED);
    rocksdb_options_set_level0_stop_writes_trigger(options, 4 * FLUSHES_MERGED);
    /* Most look-ups are for keys that are not there. */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, MEMTABLE_FILTER_SHARE);
    rocksdb_options_set_memtable_whole_key_filtering(options, 1);
}

/* The default of 64 shards leaves half a megabyte each, which one charge for a write buffer fills:
 * filters were read from the disk again for every look-up. */
static rocksdb_cache_t *
create_cache(size_t cache_bytes)
{
    rocksdb_lru_cache_options_t *const options = rocksdb_lru_cache_options_create();

    rocksdb_lru_cache_options_set_capacity(options, cache_bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(options, CACHE_SHARD_BITS);
    rocksdb_cache_t *const cache = rocksdb_cache_create_lru_opts(options);

    rocksdb_lru_cache_options_destroy(options);
    return cache;
}

/* One cache for all: blocks, index, filters, blobs, and the write buffers are charged to it. */
static void
set_memory(rocks_store *self, size_t cache_bytes, bool whole_filters)
{
    const size_t quarter = cache_bytes / 4;
    const size_t at_least = quarter > WRITE_BUFFER_BYTES_MIN ? quarter : WRITE_BUFFER_BYTES_MIN;

    self->cache = create_cache(cache_bytes);
    self->write_buffers =
        rocksdb_write_buffer_manager_create_with_cache(cache_bytes / 2, self->cache, false);
    self->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(self->table, self->cache);
    set_parts(self->table, whole_filters);
    /* The table options own the filter policy. */
    rocksdb_block_based_options_set_filter_policy(self->table,
        rocksdb_filterpolicy_create_bloom_full(FILTER_BITS_PER_KEY));
    rocksdb_options_set_block_based_table_factory(self->options, self->table);
    rocksdb_options_set_blob_cache(self->options, self->cache);
    rocksdb_options_set_write_buffer_manager(self->options, self->write_buffers);
    set_sizes(self->options, at_least < WRITE_BUFFER_BYTES_MAX ? at_least : WRITE_BUFFER_BYTES_MAX);
    rocksdb_options_set_max_write_buffer_number(self->options, 3);
}

static void
make_options(rocks_store *self, const weir_store_options *wanted)
{
    self->options = rocksdb_options_create();
    set_durability(self->options);
    set_files(self->options);
    set_memory(self, wanted->cache_bytes == 0 ? CACHE_BYTES_DEFAULT : wanted->cache_bytes,
        wanted->whole_filters);
    set_compression(self->options, rocksdb_lz4_compression);
    set_blobs(self->options,
        wanted->compresses_values ? rocksdb_lz4_compression : rocksdb_no_compression);

    self->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(self->read, 1);
    self->write_synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(self->write_synced, 1);
    self->write_unsynced = rocksdb_writeoptions_create();
}

/* ---- opening ---- */

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* A database that was completed and now misses a file, or has one that makes no sense, is
 * damaged: no retry helps. */
static weir_code
open_error(char *message, const weir_folder *folder, weir_error *reterr)
{
    const bool is_damage = starts_with(message, "Corruption") ||
        starts_with(message, "Invalid argument") || starts_with(message, "NotFound") ||
        starts_with(message, "IO error: No such file");
    const weir_code code = weir_error_set(reterr, is_damage ? WEIR_CORRUPT : WEIR_STORE_IO,
        "cannot open the database %s: %s", folder->db_path, message);

    rocksdb_free(message);
    return code;
}

static weir_code
open_at(rocks_store *self, const char *path, bool is_create, weir_error *reterr)
{
    char *message = NULL;

    rocksdb_options_set_create_if_missing(self->options, is_create);
    rocksdb_options_set_error_if_exists(self->options, is_create);
    self->db = rocksdb_open(self->options, path, &message);
    if (message != NULL && strstr(message, "not linked") != NULL) {
        /* This build of RocksDB has no LZ4: larger files, and nothing else. */
        rocksdb_free(message);
        message = NULL;
        set_compression(self->options, rocksdb_no_compression);
        set_blobs(self->options, rocksdb_no_compression);
        self->db = rocksdb_open(self->options, path, &message);
    }
    if (message == NULL)
        return WEIR_OK;
    self->db = NULL;
    return open_error(message, &self->folder, reterr);
}

/* ---- the schema record: u32 schema, then the service's name ---- */

static weir_code
write_schema(rocks_store *self, const weir_store_options *wanted, weir_error *reterr)
{
    weir_buffer record = { 0 };
    char *message = NULL;

    weir_buffer_append_u32(&record, wanted->schema);
    weir_buffer_append(&record, wanted->service, strlen(wanted->service));
    rocksdb_put(self->db, self->write_synced, weir_rocks_schema_key,
        sizeof weir_rocks_schema_key - 1, (const char *)record.data, record.size, &message);
    weir_buffer_fini(&record);
    return message == NULL ? WEIR_OK : weir_rocks_error(message, reterr);
}

static weir_code
judge_schema(const weir_store_options *wanted, const char *path, weir_bytes record,
    weir_error *reterr)
{
    if (record.size < 4)
        return weir_error_set(reterr, WEIR_CORRUPT, "%s has no readable schema record", path);
    const uint32_t schema = weir_load_u32(record.data);
    const weir_bytes service = weir_bytes_of(record.data + 4, record.size - 4);

    if (!weir_bytes_equal(service, weir_bytes_str(wanted->service)))
        return weir_error_set(reterr, WEIR_SCHEMA_UNSUPPORTED,
            "%s belongs to the service %.*s, not to %s: correct the data folder", path,
            (int)service.size, (const char *)service.data, wanted->service);
    if (schema > wanted->schema)
        return weir_error_set(reterr, WEIR_SCHEMA_UNSUPPORTED,
            "%s has schema %u, and this binary knows %u at most: install the newer weir again",
            path, schema, wanted->schema);
    if (schema < wanted->schema_oldest)
        return weir_error_set(reterr, WEIR_SCHEMA_UNSUPPORTED,
            "%s has schema %u, and this binary reads %u and newer: upgrade by way of an older weir",
            path, schema, wanted->schema_oldest);
    return WEIR_OK;
}

/* From now on records of the newest schema may be written, so older binaries must be kept out. */
static weir_code
raise_schema(rocks_store *self, const weir_store_options *wanted, weir_bytes record,
    weir_error *reterr)
{
    const bool is_newest = weir_load_u32(record.data) == wanted->schema;

    return is_newest ? WEIR_OK : write_schema(self, wanted, reterr);
}

static weir_code
check_schema(rocks_store *self, const weir_store_options *wanted, weir_error *reterr)
{
    char *message = NULL;
    size_t size = 0;
    char *const found = rocksdb_get(self->db, self->read, weir_rocks_schema_key,
        sizeof weir_rocks_schema_key - 1, &size, &message);

    if (message != NULL)
        return weir_rocks_error(message, reterr);
    const weir_bytes record = weir_bytes_of(found, found == NULL ? 0 : size);
    weir_code code = judge_schema(wanted, self->folder.path, record, reterr);

    if (code == WEIR_OK)
        code = raise_schema(self, wanted, record, reterr);
    rocksdb_free(found);
    return code;
}

/* ---- the first create ---- */

static weir_code
create(rocks_store *self, const weir_store_options *wanted, weir_error *reterr)
{
    weir_code code = weir_folder_clear_new(&self->folder, reterr);

    if (code == WEIR_OK)
        code = open_at(self, self->folder.new_path, true, reterr);
    if (code == WEIR_OK)
        code = write_schema(self, wanted, reterr);
    if (self->db != NULL)
        rocksdb_close(self->db);
    self->db = NULL;
    return code == WEIR_OK ? weir_folder_publish_new(&self->folder, reterr) : code;
}

/* Before the first write, which would hide what is missing. */
static weir_code
check_synced(const rocks_store *self, uint64_t synced, weir_error *reterr)
{
    const uint64_t number = rocksdb_get_latest_sequence_number(self->db);

    if (synced == WEIR_SYNCED_AS_IT_IS || number >= synced)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CORRUPT,
        "%s ends at change %llu, and %llu were on disk: its log is damaged, and acknowledged "
        "changes are lost",
        self->folder.db_path, (unsigned long long)number, (unsigned long long)synced);
}

static weir_code
open_there(rocks_store *self, weir_error *reterr)
{
    const char *const path = self->folder.db_path;
    const uint64_t synced = weir_synced_read(path);
    weir_code code = synced == WEIR_SYNCED_AS_IT_IS ? WEIR_OK : weir_wal_check(path, reterr);

    if (code == WEIR_OK)
        code = open_at(self, path, false, reterr);
    if (code == WEIR_OK)
        code = check_synced(self, synced, reterr);
    if (code == WEIR_OK)
        weir_synced_open(&self->synced, path);
    return code;
}

static weir_code
open_store(rocks_store *self, const weir_store_options *wanted, weir_error *reterr)
{
    weir_code code = weir_folder_open(wanted->path, &self->folder, reterr);

    if (code == WEIR_OK)
        code = weir_folder_check_reserve(&self->folder, wanted->reserve_bytes, reterr);
    if (code != WEIR_OK)
        return code;
    make_options(self, wanted);
    if (!weir_folder_has_db(&self->folder))
        code = create(self, wanted, reterr);
    if (code == WEIR_OK)
        code = open_there(self, reterr);
    if (code == WEIR_OK)
        weir_rocks_lower_threads();
    if (code == WEIR_OK)
        code = check_schema(self, wanted, reterr);
    if (code == WEIR_OK)
        code = weir_folder_set_ballast(&self->folder, wanted->ballast_bytes, wanted->reserve_bytes,
            reterr);
    return code;
}

weir_code
weir_store_open(const weir_store_options *options, weir_store **ret_store, weir_error *reterr)
{
    weir_assert(options->path != NULL && options->path[0] != '\0');
    weir_assert(options->service != NULL && options->service[0] != '\0');
    weir_assert(options->schema_oldest <= options->schema);
    rocks_store *const self = weir_alloc_zero(1, sizeof *self);

    self->base.ops = &weir_rocks_ops;
    self->folder.lock_fd = -1;
    self->synced.fd = -1;
    const weir_code code = open_store(self, options, reterr);

    if (code == WEIR_OK)
        *ret_store = &self->base;
    else
        weir_rocks_free(self);
    return code;
}

void
weir_rocks_free(rocks_store *self)
{
    /* The database first: it uses all the others.  Freeing what is not there is allowed by none
     * of them. */
    if (self->db != NULL)
        rocksdb_close(self->db);
    if (self->options != NULL) {
        rocksdb_readoptions_destroy(self->read);
        rocksdb_writeoptions_destroy(self->write_synced);
        rocksdb_writeoptions_destroy(self->write_unsynced);
        rocksdb_options_destroy(self->options);
        rocksdb_block_based_options_destroy(self->table);
        rocksdb_write_buffer_manager_destroy(self->write_buffers);
        rocksdb_cache_destroy(self->cache);
    }
    weir_synced_close(&self->synced);
    weir_folder_close(&self->folder); /* the lock last */
    weir_free(self);
}
