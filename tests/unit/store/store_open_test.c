/*
 * Goal: opening refuses what it must, by its code and with a sentence that helps, and never breaks
 * on damage.
 */
#include "tests/unit/store/support.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/hash.h"

static char path[128];
static weir_error error;

static int
setup(void **state)
{
    scratch_make(path);
    error = (weir_error){ 0 };
    return 0;
}

static int
teardown(void **state)
{
    scratch_remove(path);
    return 0;
}

static const char *
inside(const char *name)
{
    static char full[256];

    (void)snprintf(full, sizeof full, "%s/%s", path, name);
    return full;
}

static weir_code
try_open(const weir_store_options *options)
{
    weir_store *store = NULL;
    const weir_code code = weir_store_open(options, &store, &error);

    assert_int_equal(code == WEIR_OK, store != NULL);
    weir_store_close(&store);
    return code;
}

static void
make_database(void)
{
    weir_store *store = open_kind("rocksdb", path);

    put_now(store, "a", "1", true);
    weir_store_close(&store);
}

static void
a_database_is_there_when_it_is_opened_again(void **state)
{
    weir_store *store;

    make_database();
    store = open_kind("rocksdb", path);
    assert_string_equal(text_at(store, NULL, "a"), "1");
    weir_store_close(&store);
}

static void
the_folder_is_made_when_its_parent_exists(void **state)
{
    char below[200] = "";
    weir_store_options options = default_options(below);

    (void)snprintf(below, sizeof below, "%s/new/", path);
    CHECK_OK(try_open(&options));
    (void)snprintf(below, sizeof below, "%s/no/parent", path);
    CHECK_CODE(try_open(&options), WEIR_STORE_IO);
    assert_non_null(strstr(error.message, "No such file"));
}

static void
a_second_opener_is_told_who_holds_it(void **state)
{
    const weir_store_options options = default_options(path);
    weir_store *store = open_kind("rocksdb", path);
    char pid[32];

    (void)snprintf(pid, sizeof pid, "process %d", (int)getpid());
    CHECK_CODE(try_open(&options), WEIR_STORE_LOCKED);
    assert_non_null(strstr(error.message, pid));
    weir_store_close(&store);
    CHECK_OK(try_open(&options));
}

static void
schemas_outside_the_range_are_refused(void **state)
{
    weir_store_options options = default_options(path);

    options.schema = 3;
    options.schema_oldest = 2;
    CHECK_OK(try_open(&options));
    options.schema = 2;
    CHECK_CODE(try_open(&options), WEIR_SCHEMA_UNSUPPORTED);
    assert_non_null(strstr(error.message, "install the newer weir"));
    options.schema = 5;
    options.schema_oldest = 4;
    CHECK_CODE(try_open(&options), WEIR_SCHEMA_UNSUPPORTED);
    assert_non_null(strstr(error.message, "upgrade by way of an older weir"));
    options.schema_oldest = 3;
    CHECK_OK(try_open(&options));
    options.schema = 4; /* the open before raised it to 5 */
    CHECK_CODE(try_open(&options), WEIR_SCHEMA_UNSUPPORTED);
}

static void
the_folder_of_another_service_is_refused(void **state)
{
    weir_store_options options = default_options(path);

    make_database();
    options.service = "gate";
    CHECK_CODE(try_open(&options), WEIR_SCHEMA_UNSUPPORTED);
    assert_non_null(strstr(error.message, "belongs to the service gateway, not to gate"));
    options.service = "indexer";
    CHECK_CODE(try_open(&options), WEIR_SCHEMA_UNSUPPORTED);
}

static void
a_disk_below_the_reserve_is_refused_before_anything_is_made(void **state)
{
    weir_store_options options = default_options(path);
    struct stat status;

    options.reserve_bytes = UINT64_C(1) << 60;
    CHECK_CODE(try_open(&options), WEIR_DISK_LOW);
    assert_non_null(strstr(error.message, "ballast"));
    assert_int_equal(stat(inside("db"), &status), -1);
    options.reserve_bytes = 1;
    CHECK_OK(try_open(&options));
}

static void
the_ballast_is_kept_at_its_size(void **state)
{
    weir_store_options options = default_options(path);
    struct stat status;

    options.ballast_bytes = 1 << 20;
    CHECK_OK(try_open(&options));
    assert_int_equal(stat(inside("ballast"), &status), 0);
    assert_int_equal(status.st_size, 1 << 20);
    assert_true(status.st_blocks * 512 >= 1 << 20);
    options.ballast_bytes = 2 << 20;
    CHECK_OK(try_open(&options));
    assert_int_equal(stat(inside("ballast"), &status), 0);
    assert_int_equal(status.st_size, 2 << 20);
    options.ballast_bytes = 0;
    CHECK_OK(try_open(&options));
    assert_int_equal(stat(inside("ballast"), &status), -1);
    options.ballast_bytes = UINT64_C(1) << 60; /* does not fit: left out, and the store opens */
    CHECK_OK(try_open(&options));
    assert_int_equal(stat(inside("ballast"), &status), -1);
}

static void
write_file(const char *file, const char *content, size_t size)
{
    const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), size);
    (void)close(fd);
}

/* A crash in the very first create leaves db.new in any state. */
static void
a_creation_that_was_cut_off_is_begun_again(void **state)
{
    const weir_store_options options = default_options(path);
    struct stat status;

    assert_int_equal(mkdir(inside("db.new"), 0700), 0);
    write_file(inside("db.new/CURRENT"), "MANIFEST-000001\n", 16);
    write_file(inside("db.new/MANIFEST-000001"), "half", 4);
    CHECK_OK(try_open(&options));
    assert_int_equal(stat(inside("db.new"), &status), -1);
    assert_int_equal(stat(inside("db/CURRENT"), &status), 0);
}

static void
what_cannot_be_removed_is_an_error(void **state)
{
    const weir_store_options options = default_options(path);

    assert_int_equal(mkdir(inside("db.new"), 0700), 0);
    assert_int_equal(mkdir(inside("db.new/folder"), 0700), 0);
    CHECK_CODE(try_open(&options), WEIR_STORE_IO);
    assert_non_null(strstr(error.message, "unfinished"));
}

/* The file of the database whose name begins so. */
static const char *
database_file(const char *prefix)
{
    static char found[512];
    DIR *const files = opendir(inside("db"));
    const struct dirent *file;

    assert_non_null(files);
    found[0] = '\0';
    while ((file = readdir(files)) != NULL) {
        if (strncmp(file->d_name, prefix, strlen(prefix)) == 0)
            (void)snprintf(found, sizeof found, "%s/db/%s", path, file->d_name);
    }
    (void)closedir(files);
    assert_true(found[0] != '\0');
    return found;
}

static void
flip_byte(const char *file, off_t at)
{
    const int fd = open(file, O_RDWR);
    unsigned char byte = 0;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void
a_damaged_manifest_is_corrupt(void **state)
{
    const weir_store_options options = default_options(path);

    make_database();
    flip_byte(database_file("MANIFEST-"), 12);
    CHECK_CODE(try_open(&options), WEIR_CORRUPT);
    assert_non_null(strstr(error.message, "cannot open the database"));
}

static void
an_empty_manifest_is_corrupt(void **state)
{
    const weir_store_options options = default_options(path);

    make_database();
    write_file(database_file("MANIFEST-"), "", 0);
    CHECK_CODE(try_open(&options), WEIR_CORRUPT);
}

static void
a_missing_file_is_corrupt(void **state)
{
    const weir_store_options options = default_options(path);

    make_database();
    assert_int_equal(unlink(database_file("MANIFEST-")), 0);
    CHECK_CODE(try_open(&options), WEIR_CORRUPT);
    assert_int_equal(unlink(inside("db/CURRENT")), 0);
    CHECK_CODE(try_open(&options), WEIR_CORRUPT);
}

static void
without_a_schema_record_it_is_corrupt(void **state)
{
    const weir_store_options options = default_options(path);
    weir_store *store = open_kind("rocksdb", path);

    put_now(store, "mschema", "x", true);
    weir_store_close(&store);
    CHECK_CODE(try_open(&options), WEIR_CORRUPT);
    assert_non_null(strstr(error.message, "schema record"));
}

enum { FILTERED_PER_ROUND = 30000 };

static void
put_filtered(weir_store *store, uint32_t round)
{
    static const uint8_t value[100];
    weir_batch *batch = weir_batch_create(store);

    for (uint32_t number = 0; number < FILTERED_PER_ROUND; number++) {
        uint8_t key[4];

        weir_store_u32(key, round * FILTERED_PER_ROUND + number);
        weir_batch_put(batch, weir_bytes_of(key, sizeof key), weir_bytes_of(value, sizeof value));
    }
    CHECK_OK(weir_store_commit(store, batch, true, &error));
    weir_batch_destroy(&batch);
}

static bool
has_filtered(weir_store *store, uint32_t number)
{
    uint8_t key[4];
    weir_buffer value = { 0 };
    bool is_there = false;

    weir_store_u32(key, number);
    CHECK_OK(weir_store_get(store, NULL, weir_bytes_of(key, sizeof key), &value, &is_there,
        &error));
    weir_buffer_fini(&value);
    return is_there;
}

/* Tables of both kinds lie beside each other after an upgrade: the option may change at any start.
 */
static void
tables_with_whole_filters_and_in_parts_are_read_by_either(void **state)
{
    weir_store_options options = default_options(path);

    options.cache_bytes = 4 << 20; /* write buffers of a MiB: each round leaves tables */
    for (uint32_t round = 0; round < 4; round++) {
        weir_store *store = NULL;

        options.whole_filters = round % 2 == 1;
        CHECK_OK(weir_store_open(&options, &store, &error));
        put_filtered(store, round);
        for (uint32_t number = 0; number < 2 * 4 * FILTERED_PER_ROUND; number += 997)
            assert_int_equal(has_filtered(store, number),
                number < (round + 1) * FILTERED_PER_ROUND);
        weir_store_close(&store);
    }
}

/* In a process of its own: writes until a file may not grow.  Exit code 0: as the contract says. */
static int
write_until_refused(const char *folder)
{
    const struct rlimit small = { 512 << 10, 512 << 10 };
    static char value[64 << 10];
    const weir_store_options options = default_options(folder);
    weir_store *store = NULL;
    weir_code code = WEIR_OK;

    (void)signal(SIGXFSZ, SIG_IGN);
    if (weir_store_open(&options, &store, NULL) != WEIR_OK || setrlimit(RLIMIT_FSIZE, &small) != 0)
        return 2;
    weir_batch *batch = weir_batch_create(store);

    for (unsigned count = 0; count < 1000 && code == WEIR_OK; count++) {
        weir_batch_clear(batch);
        weir_batch_put(batch, weir_bytes_of(&count, sizeof count),
            weir_bytes_of(value, sizeof value));
        code = weir_store_commit(store, batch, true, NULL);
    }
    const struct rlimit large = { RLIM_INFINITY, RLIM_INFINITY };

    (void)setrlimit(RLIMIT_FSIZE, &large);
    if (code != WEIR_STORE_IO)
        return 3;
    weir_batch_clear(batch);
    weir_batch_put(batch, weir_bytes_str("later"), weir_bytes_str("1"));
    if (weir_store_commit(store, batch, true, &error) != WEIR_STORE_IO ||
        strstr(error.message, "an earlier write failed") == NULL)
        return 4;
    code = weir_store_delete_range(store, weir_bytes_str("a"), weir_bytes_str("b"), NULL);
    if (code != WEIR_STORE_IO)
        return 5;
    return weir_store_sync(store, NULL) == WEIR_STORE_IO ? 0 : 6;
}

static void
after_a_failed_write_no_other_is_let_through(void **state)
{
    const weir_store_options options = default_options(path);
    char self[] = "/proc/self/exe";
    char mode[] = "write-until-refused";
    char *arguments[] = { self, mode, path, NULL };
    const pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        (void)execv(self, arguments);
        _exit(9);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    CHECK_OK(try_open(&options)); /* recovery is the normal start */
}

/* RocksDB finds the function by this name; were it not exported, its slow one would be back unseen.
 */
static void
rocksdb_makes_its_checksums_with_the_processor(void **state)
{
    uint32_t (*extend)(uint32_t crc, const char *data, size_t size) = NULL;
    void *const ours = dlsym(RTLD_DEFAULT, "_ZN7rocksdb6crc32c6ExtendEjPKcm");
    void *const theirs = dlsym(RTLD_NEXT, "_ZN7rocksdb6crc32c6ExtendEjPKcm");

    assert_non_null(ours);
    assert_ptr_not_equal(ours, theirs);
    memcpy(&extend, &ours, sizeof extend);
    assert_int_equal(extend(0, "123456789", 9), 0xe3069283); /* RFC 3720's catalogue value */
    memcpy(&extend, &theirs, sizeof extend);
    assert_true(theirs == NULL || extend(0, "123456789", 9) == 0xe3069283);
    assert_true(theirs == NULL || extend(7, "weir", 4) == weir_crc32c(7, weir_bytes_str("weir")));
}

/* Of the threads of this process whose name begins so, the least that they yield more than it does;
 * -1: there is none. */
static int
yielded_by(const char *name)
{
    DIR *const threads = opendir("/proc/self/task");
    int least = -1;

    assert_non_null(threads);
    for (const struct dirent *each = readdir(threads); each != NULL; each = readdir(threads)) {
        char file_name[300];
        char found[32] = "";

        (void)snprintf(file_name, sizeof file_name, "/proc/self/task/%s/comm", each->d_name);
        FILE *const file = fopen(file_name, "re");
        if (file == NULL)
            continue;
        if (fgets(found, sizeof found, file) != NULL && strncmp(found, name, strlen(name)) == 0) {
            const int by = getpriority(PRIO_PROCESS, (id_t)strtoul(each->d_name, NULL, 10)) -
                getpriority(PRIO_PROCESS, 0);

            least = least < 0 || by < least ? by : least;
        }
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(closedir(threads), 0);
    return least;
}

/* Else a flush keeps the thread that commits waiting for a processor. */
static void
flushes_and_merges_yield_to_the_commits(void **state)
{
    weir_store_options options = default_options(inside("store"));
    weir_store *store = NULL;

    if (getpriority(PRIO_PROCESS, 0) == 19)
        skip(); /* there is nothing lower */
    CHECK_OK(weir_store_open(&options, &store, &error));
    assert_in_range(yielded_by("rocksdb:high"), 1, 9);
    assert_in_range(yielded_by("rocksdb:low"), 1, 19);
    weir_store_close(&store);
}

int
main(int argc, char **argv)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_database_is_there_when_it_is_opened_again),
        TEST(the_folder_is_made_when_its_parent_exists),
        TEST(a_second_opener_is_told_who_holds_it),
        TEST(schemas_outside_the_range_are_refused),
        TEST(the_folder_of_another_service_is_refused),
        TEST(a_disk_below_the_reserve_is_refused_before_anything_is_made),
        TEST(the_ballast_is_kept_at_its_size),
        TEST(a_creation_that_was_cut_off_is_begun_again),
        TEST(what_cannot_be_removed_is_an_error),
        TEST(a_damaged_manifest_is_corrupt),
        TEST(an_empty_manifest_is_corrupt),
        TEST(a_missing_file_is_corrupt),
        TEST(without_a_schema_record_it_is_corrupt),
        TEST(after_a_failed_write_no_other_is_let_through),
        TEST(tables_with_whole_filters_and_in_parts_are_read_by_either),
        TEST(rocksdb_makes_its_checksums_with_the_processor),
        TEST(flushes_and_merges_yield_to_the_commits),
    };

    if (argc == 3 && strcmp(argv[1], "write-until-refused") == 0)
        _exit(write_until_refused(argv[2])); /* as a service does: no clean close after a failure */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
