/* Goal: one supervisor a folder; its ids can be read while it lives and mean nothing afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/suite_lock.h"
#include "common/base/clock.h"

static char folder[64];

static int
make(void **state)
{
    char run[80];

    snprintf(folder, sizeof folder, "/tmp/weir-lock-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(run, sizeof run, "%s/run", folder);
    return mkdir(run, 0700);
}

static int
unmake(void **state)
{
    char shell[128];

    snprintf(shell, sizeof shell, "rm -rf %s", folder);
    return system(shell);
}

static void
what_is_written_is_read_while_the_lock_is_held(void **state)
{
    suite_ids ids = { .supervisor = 12, .port_base = 9000 };
    suite_ids seen;
    int fd = -1;

    snprintf(ids.address, sizeof ids.address, "127.0.0.1");
    ids.services[WEIR_SERVICE_INDEXER] = (suite_process){ 34, 5, 1700000000000 };
    assert_int_equal(suite_lock_take(folder, &fd), CLI_OK);
    suite_lock_write(fd, &ids);
    assert_true(suite_lock_read(folder, &seen));
    assert_int_equal(seen.supervisor, 12);
    assert_int_equal(seen.port_base, 9000);
    assert_string_equal(seen.address, "127.0.0.1");
    assert_int_equal(seen.services[WEIR_SERVICE_INDEXER].pid, 34);
    assert_int_equal(seen.services[WEIR_SERVICE_INDEXER].restarts, 5);
    assert_int_equal(seen.services[WEIR_SERVICE_INDEXER].started_ms, 1700000000000);
    assert_int_equal(seen.services[WEIR_SERVICE_GATEWAY].pid, 0);
    close(fd);
    assert_false(suite_lock_read(folder, &seen));
    assert_int_equal(seen.supervisor, 0);
}

static void
a_second_supervisor_is_a_conflict(void **state)
{
    int first = -1;
    int second = -1;

    assert_int_equal(suite_lock_take(folder, &first), CLI_OK);
    assert_int_equal(suite_lock_take(folder, &second), CLI_CONFLICT);
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(suite_lock_take(folder, &second), CLI_OK);
    close(second);
}

static void *
look_for_a_moment(void *fd)
{
    weir_clock_sleep_ms(20);
    close(*(int *)fd);
    return NULL;
}

/* Regression: `weir up` was refused, without a word, when `weir status` looked at the same time. */
static void
who_only_looks_is_no_conflict(void **state)
{
    pthread_t reader;
    char path[96];
    int fd = -1;

    snprintf(path, sizeof path, "%s/run/up.lock", folder);
    int looking = open(path, O_RDONLY | O_CREAT, 0600);
    assert_int_equal(flock(looking, LOCK_SH | LOCK_NB), 0);
    assert_int_equal(pthread_create(&reader, NULL, look_for_a_moment, &looking), 0);
    assert_int_equal(suite_lock_take(folder, &fd), CLI_OK);
    pthread_join(reader, NULL);
    close(fd);
}

static void
waiting_ends_with_the_lock_or_the_time(void **state)
{
    int fd = -1;

    assert_true(suite_lock_wait_free(folder, 0)); /* there is no file yet */
    assert_int_equal(suite_lock_take(folder, &fd), CLI_OK);
    assert_false(suite_lock_wait_free(folder, 30));
    close(fd);
    assert_true(suite_lock_wait_free(folder, 30));
}

static void
a_folder_that_is_not_there_is_an_error(void **state)
{
    suite_ids ids;
    int fd = -1;

    assert_int_equal(suite_lock_take("/nowhere", &fd), CLI_ERROR);
    assert_false(suite_lock_read("/nowhere", &ids));
}

static void
endpoints_are_where_a_client_gets_through(void **state)
{
    char out[64];

    suite_endpoint("127.0.0.1", 7070, out, sizeof out);
    assert_string_equal(out, "127.0.0.1:7070");
    suite_endpoint("0.0.0.0", 7070, out, sizeof out);
    assert_string_equal(out, "127.0.0.1:7070");
    suite_endpoint("::", 7070, out, sizeof out);
    assert_string_equal(out, "[::1]:7070");
    suite_endpoint("fd00::1", 1, out, sizeof out);
    assert_string_equal(out, "[fd00::1]:1");
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_written_is_read_while_the_lock_is_held),
        CASE(a_second_supervisor_is_a_conflict),
        CASE(who_only_looks_is_no_conflict),
        CASE(waiting_ends_with_the_lock_or_the_time),
        CASE(a_folder_that_is_not_there_is_an_error),
        CASE(endpoints_are_where_a_client_gets_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
