/*
 * Goal: a synced commit has reached the disk when it returns.  SIGKILL cannot show this, since the
 * page cache survives. Method: this program's fdatasync and fsync stand before libc's, so RocksDB's
 * calls are counted.
 */
#include "tests/unit/store/support.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_uint sync_count;
static atomic_uint folder_count; /* of the store's folder */
static atomic_uint parent_count; /* of the folder that it stands in */

__attribute__((visibility("default"))) int fdatasync(int fd);
__attribute__((visibility("default"))) int fsync(int fd);

typedef int sync_function(int fd);

static char path[128];
static weir_store *store;

static void
count_folder(int fd)
{
    char link[64];
    char opened[256];

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, opened, sizeof opened - 1);

    if (size < 0)
        abort();
    opened[size] = '\0';
    const char *const slash = strrchr(path, '/');

    atomic_fetch_add(&folder_count, strcmp(opened, path) == 0);
    atomic_fetch_add(&parent_count,
        slash != NULL && size == slash - path && strncmp(opened, path, (size_t)size) == 0);
}

static int
count_and_call(const char *name, int fd)
{
    sync_function *const real = (sync_function *)(uintptr_t)dlsym(RTLD_NEXT, name);

    if (real == NULL)
        abort();
    atomic_fetch_add(&sync_count, 1);
    count_folder(fd);
    return real(fd);
}

int
fdatasync(int fd)
{
    return count_and_call("fdatasync", fd);
}

int
fsync(int fd)
{
    return count_and_call("fsync", fd);
}

static int
setup(void **state)
{
    scratch_make(path);
    store = open_kind("rocksdb", path);
    return 0;
}

static int
teardown(void **state)
{
    weir_store_close(&store);
    scratch_remove(path);
    return 0;
}

static void
creating_syncs_the_files_and_the_folders(void **state)
{
    /* By then: the new folder's parent is not ours, but each file, db.new and the folder itself
     * are. */
    assert_true(atomic_load(&sync_count) >= 4);
}

/* A regression: whoever made the folder, or renamed the database in it, may have been killed before
 * its sync; the next start acknowledged records in a folder that a power cut would have taken. */
static void
opening_syncs_folders_that_are_there(void **state)
{
    weir_store_close(&store);
    const unsigned folder = atomic_load(&folder_count);
    const unsigned parent = atomic_load(&parent_count);

    store = open_kind("rocksdb", path);
    assert_true(atomic_load(&folder_count) > folder);
    assert_true(atomic_load(&parent_count) > parent);
}

static void
a_synced_commit_is_on_disk_when_it_returns(void **state)
{
    for (unsigned round = 0; round < 20; round++) {
        const unsigned before = atomic_load(&sync_count);

        put_now(store, "a", "1", true);
        assert_true(atomic_load(&sync_count) > before);
    }
}

static void
an_unsynced_commit_waits_for_nothing(void **state)
{
    const unsigned before = atomic_load(&sync_count);

    for (unsigned round = 0; round < 20; round++)
        put_now(store, "a", "1", false);
    assert_int_equal(atomic_load(&sync_count), before);
}

static void
sync_makes_earlier_commits_durable(void **state)
{
    weir_error error = { 0 };

    put_now(store, "a", "1", false);
    const unsigned before = atomic_load(&sync_count);

    CHECK_OK(weir_store_sync(store, &error));
    assert_true(atomic_load(&sync_count) > before);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(creating_syncs_the_files_and_the_folders),
        TEST(opening_syncs_folders_that_are_there),
        TEST(a_synced_commit_is_on_disk_when_it_returns),
        TEST(an_unsynced_commit_waits_for_nothing),
        TEST(sync_makes_earlier_commits_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
