/*
 * store_bench.c - the raw limits that everything durable in weir stands on.
 *
 *   store_bench [FOLDER]     the folder's disk is measured; default /var/tmp (/tmp is often memory)
 *
 * Prints the p50 and p99 of fdatasync after a 4 KiB append, and the rate of synced 1 KB records
 * through the store in batches of 1, 64 and 1024: what one committer thread could do with events
 * that cost nothing.
 */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/store/store.h"

enum {
    SYNCS = 400,
    APPEND_BYTES = 4096,
    RECORD_BYTES = 1024,
    BATCH_RUN_MS = 3000
};

static int
compare_times(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static int
measure_fdatasync(const char *folder)
{
    static const char block[APPEND_BYTES];
    int64_t took_us[SYNCS];
    char path[512];

    (void)snprintf(path, sizeof path, "%s/weir-sync-%d", folder, (int)getpid());
    const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0) {
        perror(path);
        return 1;
    }
    for (size_t index = 0; index < SYNCS; index++) {
        const int64_t begin_us = weir_clock_mono_us();

        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) != 0)
            perror(path);
        took_us[index] = weir_clock_mono_us() - begin_us;
    }
    (void)close(fd);
    (void)unlink(path);
    qsort(took_us, SYNCS, sizeof *took_us, compare_times);
    printf("fdatasync after 4 KiB: p50 %" PRId64 " us, p99 %" PRId64 " us\n", took_us[SYNCS / 2],
        took_us[SYNCS * 99 / 100]);
    return 0;
}

static void
put_record(weir_batch *batch, weir_rng *rng, uint64_t number)
{
    uint8_t key[9] = { 'k' };
    uint8_t value[RECORD_BYTES];

    for (size_t at = 0; at < sizeof value; at += 8)
        weir_store_u64(value + at, weir_rng_next(rng));
    weir_store_u64(key + 1, number);
    weir_batch_put(batch, weir_bytes_of(key, sizeof key), weir_bytes_of(value, sizeof value));
}

static weir_code
measure_batches(weir_store *store, uint32_t batch_count, weir_error *reterr)
{
    weir_batch *batch = weir_batch_create(store);
    weir_rng rng = { batch_count };
    weir_code code = WEIR_OK;
    uint64_t records = 0;
    const int64_t begin_us = weir_clock_mono_us();
    int64_t took_us = 0;

    while (code == WEIR_OK && took_us < BATCH_RUN_MS * INT64_C(1000)) {
        for (uint32_t index = 0; index < batch_count; index++)
            put_record(batch, &rng, (uint64_t)batch_count << 32 | records++);
        code = weir_store_commit(store, batch, true, reterr);
        took_us = weir_clock_mono_us() - begin_us;
    }
    weir_batch_destroy(&batch);
    printf("synced batches of %4u x 1 KB: %8.0f records/s, %7.0f syncs/s\n", batch_count,
        (double)records * 1e6 / (double)took_us,
        (double)records / batch_count * 1e6 / (double)took_us);
    return code;
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static weir_code
measure_store(const char *folder, weir_error *reterr)
{
    static const uint32_t batch_counts[] = { 1, 64, 1024 };
    char path[512];

    (void)snprintf(path, sizeof path, "%s/weir-store-bench-%d", folder, (int)getpid());
    const weir_store_options options = { .path = path, .service = "bench", .schema = 1 };
    weir_store *store = NULL;
    weir_code code = weir_store_open(&options, &store, reterr);

    for (size_t index = 0; code == WEIR_OK && index < 3; index++)
        code = measure_batches(store, batch_counts[index], reterr);
    weir_store_close(&store);
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}

int
main(int argc, char **argv)
{
    const char *const folder = argc > 1 ? argv[1] : "/var/tmp";
    weir_error error = { 0 };

    if (measure_fdatasync(folder) != 0)
        return 1;
    if (measure_store(folder, &error) == WEIR_OK)
        return 0;
    fprintf(stderr, "store_bench: %s\n", error.message);
    return 1;
}
