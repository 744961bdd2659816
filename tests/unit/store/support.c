/*
 * support.c - scratch folders and short forms of the store's calls.
 */
#include "tests/unit/store/support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char shown[8192];

void
scratch_make(char out[128])
{
    const char *const under = getenv("TMPDIR");

    (void)snprintf(out, 128, "%s/weir-store-XXXXXX", under == NULL ? "/tmp" : under);
    assert_non_null(mkdtemp(out));
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    return remove(path);
}

void
scratch_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

weir_store_options
default_options(const char *path)
{
    return (weir_store_options){
        .path = path,
        .service = "gateway",
        .schema = 1,
        .schema_oldest = 1,
        .cache_bytes = 8 << 20,
    };
}

weir_store *
open_kind(const char *kind, const char *path)
{
    const weir_store_options options = default_options(path);
    weir_store *store = NULL;
    weir_error error = { 0 };

    if (strcmp(kind, "mem") == 0)
        return weir_store_mem_create();
    CHECK_OK(weir_store_open(&options, &store, &error));
    return store;
}

void
put_now(weir_store *store, const char *key, const char *value, bool sync)
{
    weir_batch *batch = weir_batch_create(store);
    weir_error error = { 0 };

    weir_batch_put(batch, weir_bytes_str(key), weir_bytes_str(value));
    CHECK_OK(weir_store_commit(store, batch, sync, &error));
    weir_batch_destroy(&batch);
}

void
delete_now(weir_store *store, const char *key, bool sync)
{
    weir_batch *batch = weir_batch_create(store);
    weir_error error = { 0 };

    weir_batch_delete(batch, weir_bytes_str(key));
    CHECK_OK(weir_store_commit(store, batch, sync, &error));
    weir_batch_destroy(&batch);
}

static const char *
as_text(weir_buffer *value, bool is_found)
{
    const size_t size = value->size < sizeof shown ? value->size : sizeof shown - 1;

    if (size > 0)
        memcpy(shown, value->data, size);
    shown[size] = '\0';
    weir_buffer_fini(value);
    return is_found ? shown : NULL;
}

const char *
text_at(weir_store *store, const weir_snapshot *snapshot, const char *key)
{
    weir_buffer value = { 0 };
    bool is_found = false;
    weir_error error = { 0 };

    CHECK_OK(weir_store_get(store, snapshot, weir_bytes_str(key), &value, &is_found, &error));
    return as_text(&value, is_found);
}

const char *
batch_text_at(weir_batch *batch, const char *key)
{
    weir_buffer value = { 0 };
    bool is_found = false;
    weir_error error = { 0 };

    CHECK_OK(weir_batch_get(batch, weir_bytes_str(key), &value, &is_found, &error));
    return as_text(&value, is_found);
}

static size_t
show(weir_iter *iter, size_t used)
{
    const weir_bytes key = weir_iter_key(iter);
    const weir_bytes value = weir_iter_value(iter);
    const int wrote = snprintf(shown + used, sizeof shown - used, "%.*s=%.*s ", (int)key.size,
        (const char *)key.data, (int)value.size, value.size == 0 ? "" : (const char *)value.data);

    assert_true(wrote > 0 && (size_t)wrote < sizeof shown - used);
    return used + (size_t)wrote;
}

static const char *
finished(weir_iter *iter)
{
    weir_error error = { 0 };

    CHECK_OK(weir_iter_status(iter, &error));
    weir_iter_destroy(&iter);
    return shown;
}

const char *
listed(weir_iter *iter)
{
    size_t used = 0;

    shown[0] = '\0';
    while (weir_iter_next(iter))
        used = show(iter, used);
    return finished(iter);
}

const char *
listed_back(weir_iter *iter)
{
    size_t used = 0;

    shown[0] = '\0';
    for (bool is_on = weir_iter_last(iter); is_on; is_on = weir_iter_prev(iter))
        used = show(iter, used);
    return finished(iter);
}
