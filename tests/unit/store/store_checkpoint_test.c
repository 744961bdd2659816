/*
 * Goal: a checkpoint of a store in use is one instant of it, whole, and damage to it is found.
 */
#include "tests/unit/store/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[128];
static char copy[160];
static weir_error error;

static int
setup(void **state)
{
    (void)state;
    scratch_make(path);
    snprintf(copy, sizeof copy, "%s/copy", path);
    error = (weir_error){ 0 };
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(path);
    return 0;
}

static weir_store *
open_named(const char *name)
{
    char folder[160];

    snprintf(folder, sizeof folder, "%s/%s", path, name);
    return open_kind("rocksdb", folder);
}

static weir_store *
open_database(void)
{
    return open_named("here");
}

/* The checkpoint as the database of another folder. */
static weir_store *
open_copy(void)
{
    char folder[160];
    char db[170];

    snprintf(folder, sizeof folder, "%s/there", path);
    snprintf(db, sizeof db, "%s/db", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(copy, db), 0);
    return open_kind("rocksdb", folder);
}

static void
fill(weir_store *store, const char *value)
{
    char key[16];

    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%03d", i);
        put_now(store, key, value, i % 100 == 0);
    }
}

static void
a_checkpoint_holds_what_was_committed_and_nothing_later(void **state)
{
    weir_store *store = open_database();
    weir_store_contents contents;

    (void)state;
    fill(store, "old");
    put_now(store, "unsynced", "too", false);
    CHECK_OK(weir_store_checkpoint(store, copy, &error));
    put_now(store, "later", "no", true);
    delete_now(store, "k000", true);
    weir_store_close(&store);

    CHECK_OK(weir_store_read_through(copy, default_options(path).service, &contents, &error));
    assert_int_equal(contents.entries, 502); /* with the schema record */
    assert_int_equal(contents.schema, default_options(path).schema);
    store = open_copy();
    assert_string_equal(text_at(store, NULL, "k000"), "old");
    assert_string_equal(text_at(store, NULL, "unsynced"), "too");
    assert_null(text_at(store, NULL, "later"));
    weir_store_close(&store);
}

static void
a_checkpoint_never_takes_the_place_of_anything(void **state)
{
    weir_store *store = open_database();
    char part[170];

    (void)state;
    put_now(store, "a", "1", true);
    CHECK_OK(weir_store_checkpoint(store, copy, &error));
    CHECK_CODE(weir_store_checkpoint(store, copy, &error), WEIR_INVALID_ARGUMENT);
    snprintf(copy, sizeof copy, "%s/other", path);
    snprintf(part, sizeof part, "%s.part", copy);
    assert_int_equal(mkdir(part, 0700), 0);
    CHECK_CODE(weir_store_checkpoint(store, copy, &error), WEIR_INVALID_ARGUMENT);
    assert_int_equal(access(copy, F_OK), -1);
    weir_store_close(&store);
}

static void
a_checkpoint_into_a_folder_that_is_not_there_fails_and_the_store_goes_on(void **state)
{
    weir_store *store = open_database();

    (void)state;
    put_now(store, "a", "1", true);
    snprintf(copy, sizeof copy, "%s/none/copy", path);
    CHECK_CODE(weir_store_checkpoint(store, copy, &error), WEIR_STORE_IO);
    put_now(store, "b", "2", true);
    weir_store_close(&store);
}

/* Flip a byte in the middle of each file of that ending. */
static int
damage(const char *ending)
{
    DIR *files = opendir(copy);
    const struct dirent *file;
    int count = 0;

    assert_non_null(files);
    while ((file = readdir(files)) != NULL) {
        const char *dot = strrchr(file->d_name, '.');
        char name[500];
        struct stat status;
        unsigned char byte;

        if (dot == NULL || strcmp(dot, ending) != 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", copy, file->d_name);
        const int fd = open(name, O_RDWR);
        assert_int_equal(fstat(fd, &status), 0);
        assert_int_equal(pread(fd, &byte, 1, status.st_size / 3), 1);
        byte ^= 0x40;
        assert_int_equal(pwrite(fd, &byte, 1, status.st_size / 3), 1);
        close(fd);
        count++;
    }
    closedir(files);
    return count;
}

static void
a_flipped_byte_in_a_checkpoint_is_found(void **state)
{
    static const char *const endings[] = { ".sst", ".blob" };
    weir_store_contents contents;
    char large[2001];

    (void)state;
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    for (size_t i = 0; i < 2; i++) {
        weir_store *store = open_named(endings[i] + 1); /* a copy shares its files */

        snprintf(copy, sizeof copy, "%s/copy%zu", path, i);
        fill(store, large);
        CHECK_OK(weir_store_checkpoint(store, copy, &error));
        weir_store_close(&store);
        assert_true(damage(endings[i]) > 0);
        CHECK_CODE(weir_store_read_through(copy, default_options(path).service, &contents, &error),
            WEIR_CORRUPT);
    }
}

static void
a_checkpoint_of_another_service_is_refused(void **state)
{
    weir_store *store = open_database();
    weir_store_contents contents;

    (void)state;
    put_now(store, "a", "1", true);
    CHECK_OK(weir_store_checkpoint(store, copy, &error));
    weir_store_close(&store);
    CHECK_CODE(weir_store_read_through(copy, "another", &contents, &error), WEIR_CORRUPT);
    assert_non_null(strstr(error.message, "no database of another"));
    CHECK_CODE(weir_store_read_through(path, "another", &contents, &error), WEIR_STORE_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_checkpoint_holds_what_was_committed_and_nothing_later,
            setup, teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint_never_takes_the_place_of_anything, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            a_checkpoint_into_a_folder_that_is_not_there_fails_and_the_store_goes_on, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_a_checkpoint_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint_of_another_service_is_refused, setup,
            teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
