/*
 * store_bench.c - the raw limits that everything durable in weir stands on.
 *
 *   store_bench [FOLDER]            the folder's disk is measured; default /var/tmp (/tmp is often
 *                                   memory)
 *   store_bench FOLDER SECONDS      documents of 2 KB in batches of 1024 for SECONDS: as long as
 * the accepts that are compared with it, since flushes and compactions count
 *
 * Prints the p50 and p99 of fdatasync after a 4 KiB append, and the rate of synced records through
 * the store: what one committer thread could do with events that cost nothing.  Without SECONDS,
 * records of 1 KB in batches of 1, 64 and 1024.
 */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/store/store.h"

enum {
    SYNCS = 400,
    APPEND_BYTES = 4096,
    RECORD_BYTES_MAX = 2048,
    BATCH_RUN_MS = 3000,
    RUN_MS_MAX = 600000
};

typedef struct batch_run {
    uint32_t batch_count;
    uint32_t record_bytes;
    int64_t run_ms;
} batch_run;

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

/* Words, as the documents of weir-load: what compression saves is the same on both sides. */
static void
fill_words(uint8_t *value, size_t size, weir_rng *rng)
{
    static const char *const some[] = { "river", "stone", "wheel", "gate", "mill", "reed", "water",
        "field", "bridge", "lock", "weir", "barge", "flood", "bank", "fish", "rain" };
    char word[16];

    for (size_t at = 0; at < size;) {
        const int length = snprintf(word, sizeof word, "%s%u ", some[weir_rng_below(rng, 16)],
            (unsigned)weir_rng_below(rng, 900));
        const size_t taken = (size_t)length < size - at ? (size_t)length : size - at;

        memcpy(value + at, word, taken);
        at += taken;
    }
}

/* Keys in no order, as document ids are. */
static void
put_record(weir_batch *batch, weir_rng *rng, weir_bytes value)
{
    uint8_t key[17] = { 'k' };

    weir_store_u64(key + 1, weir_rng_next(rng));
    weir_store_u64(key + 9, weir_rng_next(rng));
    weir_batch_put(batch, weir_bytes_of(key, sizeof key), value);
}

static double
cpu_us(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static weir_code
measure_batches(weir_store *store, const batch_run *run, weir_error *reterr)
{
    weir_batch *batch = weir_batch_create(store);
    weir_rng rng = { run->batch_count };
    uint8_t value[RECORD_BYTES_MAX];
    weir_code code = WEIR_OK;
    uint64_t records = 0;
    const double cpu_before_us = cpu_us();
    const int64_t begin_us = weir_clock_mono_us();
    int64_t took_us = 0;

    fill_words(value, run->record_bytes, &rng);
    while (code == WEIR_OK && took_us < run->run_ms * INT64_C(1000)) {
        for (uint32_t index = 0; index < run->batch_count; index++, records++)
            put_record(batch, &rng, weir_bytes_of(value, run->record_bytes));
        code = weir_store_commit(store, batch, true, reterr);
        took_us = weir_clock_mono_us() - begin_us;
    }
    weir_batch_destroy(&batch);
    printf(
        "synced batches of %4u x %u B: %8.0f records/s, %7.0f syncs/s, %5.1f us of CPU a record\n",
        run->batch_count, run->record_bytes, (double)records * 1e6 / (double)took_us,
        (double)records / run->batch_count * 1e6 / (double)took_us,
        (cpu_us() - cpu_before_us) / (double)records);
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
measure_store(const char *folder, const batch_run *run, weir_error *reterr)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/weir-store-bench-%d", folder, (int)getpid());
    const weir_store_options options = {
        .path = path,
        .service = "bench",
        .schema = 1,
        .compresses_values = true, /* as the gateway, whose bytes these are */
        .whole_filters = true,
    };
    weir_store *store = NULL;
    weir_code code = weir_store_open(&options, &store, reterr);

    if (code == WEIR_OK)
        code = measure_batches(store, run, reterr);
    weir_store_close(&store);
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}

/* Each run in a store of its own: none inherits the compactions of another. */
static weir_code
measure_sizes(const char *folder, weir_error *reterr)
{
    static const batch_run runs[] = { { 1, 1024, BATCH_RUN_MS }, { 64, 1024, BATCH_RUN_MS },
        { 1024, 1024, BATCH_RUN_MS } };
    weir_code code = WEIR_OK;

    for (size_t index = 0; code == WEIR_OK && index < sizeof runs / sizeof *runs; index++)
        code = measure_store(folder, &runs[index], reterr);
    return code;
}

int
main(int argc, char **argv)
{
    const char *const folder = argc > 1 ? argv[1] : "/var/tmp";
    const long seconds = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    const batch_run documents = { 1024, RECORD_BYTES_MAX, seconds * 1000 };
    weir_error error = { 0 };
    weir_code code = WEIR_OK;

    if (seconds < 0 || documents.run_ms > RUN_MS_MAX || measure_fdatasync(folder) != 0)
        return 1;
    code = seconds > 0 ? measure_store(folder, &documents, &error) : measure_sizes(folder, &error);
    if (code == WEIR_OK)
        return 0;
    fprintf(stderr, "store_bench: %s\n", error.message);
    return 1;
}
