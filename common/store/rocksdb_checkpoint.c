/*
 * rocksdb_checkpoint.c - a copy of a database while it is open, and the reading of such a copy.
 *
 * A checkpoint is one instant of the database: files that never change are hard links where the
 * file system allows it, the rest is copied.  It is made in a folder with another name, synced and
 * renamed, so a folder with the wanted name is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/store/rocks.h"

static weir_code
make_checkpoint(rocks_store *self, const char *path, weir_error *reterr)
{
    char *message = NULL;
    rocksdb_checkpoint_t *const checkpoint = rocksdb_checkpoint_object_create(self->db, &message);

    if (message != NULL)
        return weir_rocks_error(message, reterr);
    /* 0: what is in memory goes to a table first, so that little of the log has to be copied. */
    rocksdb_checkpoint_create(checkpoint, path, 0, &message);
    rocksdb_checkpoint_object_destroy(checkpoint);
    return message == NULL ? WEIR_OK : weir_rocks_error(message, reterr);
}

static weir_code
refuse_existing(const char *path, weir_error *reterr)
{
    struct stat status;

    if (lstat(path, &status) != 0 && errno == ENOENT)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
        "%s is there already: name a folder that is not", path);
}

weir_code
weir_store_checkpoint(weir_store *store, const char *path, weir_error *reterr)
{
    weir_assert(store->ops == &weir_rocks_ops);
    rocks_store *const self = (rocks_store *)store;
    char unfinished[1200];

    if (snprintf(unfinished, sizeof unfinished, "%s.part", path) >= (int)sizeof unfinished)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "the path %.60s... is too long", path);
    weir_code code = refuse_existing(path, reterr);
    if (code == WEIR_OK)
        code = refuse_existing(unfinished, reterr);
    if (code == WEIR_OK)
        code = make_checkpoint(self, unfinished, reterr);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("store.checkpoint.unfinished", reterr);
    return code == WEIR_OK ? weir_folder_publish(unfinished, path, reterr) : code;
}

/* ---- the reading of one ---- */

typedef struct reading {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
} reading;

/* Opened for reading alone, it is not written to, but for a log of RocksDB's own that goes again.
 */
static weir_code
open_reading(reading *self, const char *path, weir_error *reterr)
{
    char *message = NULL;

    self->options = rocksdb_options_create();
    rocksdb_options_set_paranoid_checks(self->options, 1);
    self->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(self->read, 1);
    rocksdb_readoptions_set_fill_cache(self->read, 0);
    self->db = rocksdb_open_for_read_only(self->options, path, 0, &message);
    return message == NULL ? WEIR_OK : weir_rocks_error(message, reterr);
}

static void
close_reading(reading *self, const char *path)
{
    char log[1200];

    if (self->db != NULL)
        rocksdb_close(self->db);
    rocksdb_readoptions_destroy(self->read);
    rocksdb_options_destroy(self->options);
    snprintf(log, sizeof log, "%s/LOG", path);
    (void)unlink(log);
}

static weir_code
read_all(const reading *self, weir_store_contents *contents, weir_error *reterr)
{
    rocksdb_iterator_t *const iter = rocksdb_create_iterator(self->db, self->read);
    char *message = NULL;

    for (rocksdb_iter_seek_to_first(iter); rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) {
        size_t key_size = 0, value_size = 0;

        (void)rocksdb_iter_key(iter, &key_size);
        (void)rocksdb_iter_value(iter, &value_size);
        contents->entries++;
        contents->bytes += key_size + value_size;
    }
    rocksdb_iter_get_error(iter, &message);
    rocksdb_iter_destroy(iter);
    return message == NULL ? WEIR_OK : weir_rocks_error(message, reterr);
}

static weir_code
read_schema(const reading *self, const char *path, const char *service,
    weir_store_contents *contents, weir_error *reterr)
{
    char *message = NULL;
    size_t size = 0;
    char *const found = rocksdb_get(self->db, self->read, weir_rocks_schema_key,
        strlen(weir_rocks_schema_key), &size, &message);

    if (message != NULL)
        return weir_rocks_error(message, reterr);
    const bool is_its =
        found != NULL && size == 4 + strlen(service) && memcmp(found + 4, service, size - 4) == 0;
    if (is_its)
        contents->schema = weir_load_u32((const uint8_t *)found);
    rocksdb_free(found);
    return is_its ? WEIR_OK
                  : weir_error_set(reterr, WEIR_CORRUPT, "%s is no database of %s", path, service);
}

weir_code
weir_store_read_through(const char *path, const char *service, weir_store_contents *ret_contents,
    weir_error *reterr)
{
    reading self = { .db = NULL };
    weir_store_contents contents = { .schema = 0 };
    weir_code code = open_reading(&self, path, reterr);

    if (code == WEIR_OK)
        code = read_schema(&self, path, service, &contents, reterr);
    if (code == WEIR_OK)
        code = read_all(&self, &contents, reterr);
    close_reading(&self, path);
    if (code == WEIR_OK)
        *ret_contents = contents;
    return code;
}
