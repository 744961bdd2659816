/*
 * Goal: after kill -9 at any moment, what was acknowledged is there, whole, and nothing else is
 * half there. Method: this program starts itself as a writer that acknowledges each synced commit
 * through a pipe; the test kills it after some acknowledgements and opens the database.  (The page
 * cache survives a kill: the power cut is tested by the suite that cuts files back to their last
 * sync.)
 */
#include "tests/unit/store/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/random.h"

enum { KILLS = 20, ACKS_MAX = 60, VALUE_BYTES_MAX = 12000, PARTS = 3 };

static weir_bytes
key_of(uint32_t number, uint8_t part, uint8_t out[6])
{
    out[0] = 'k';
    weir_store_u32(out + 1, number);
    out[5] = part;
    return weir_bytes_of(out, 6);
}

/* The value of a record follows from its number, so that the reader knows it. */
static weir_bytes
value_of(uint32_t number, uint8_t part, uint8_t out[VALUE_BYTES_MAX])
{
    weir_rng rng = { (uint64_t)number << 8 | part };
    const size_t size = weir_rng_below(&rng, VALUE_BYTES_MAX);

    for (size_t index = 0; index < size; index++)
        out[index] = (uint8_t)weir_rng_next(&rng);
    return weir_bytes_of(out, size);
}

static uint32_t
last_number(weir_store *store)
{
    weir_buffer value = { 0 };
    bool is_found = false;
    weir_error error = { 0 };

    if (weir_store_get(store, NULL, weir_bytes_str("last"), &value, &is_found, &error) != WEIR_OK)
        abort();
    const uint32_t last = is_found ? weir_load_u32(value.data) : 0;

    weir_buffer_fini(&value);
    return last;
}

static void
put_record(weir_batch *batch, uint32_t number)
{
    uint8_t last[4];

    for (uint8_t part = 0; part < PARTS; part++) {
        uint8_t key[6];
        uint8_t value[VALUE_BYTES_MAX];

        weir_batch_put(batch, key_of(number, part, key), value_of(number, part, value));
    }
    weir_store_u32(last, number);
    weir_batch_put(batch, weir_bytes_str("last"), weir_bytes_of(last, sizeof last));
}

/* Never returns by itself: commits, acknowledges, until it is killed. */
static int
run_writer(const char *path, int ack_fd)
{
    weir_store *store = open_kind("rocksdb", path);
    weir_batch *batch = weir_batch_create(store);

    for (uint32_t number = last_number(store) + 1;; number++) {
        put_record(batch, number);
        /* Every other one rides on the next one's sync. */
        const bool sync = number % 2 == 0;

        if (weir_store_commit(store, batch, sync, NULL) != WEIR_OK)
            return 1;
        if (sync && write(ack_fd, &number, sizeof number) != sizeof number)
            return 1;
    }
}

static pid_t
start_writer(const char *path, int *ret_ack_fd)
{
    int fds[2];
    char fd_text[16];
    char self[] = "/proc/self/exe";
    char mode[] = "writer";
    char path_copy[128];
    char *arguments[] = { self, mode, path_copy, fd_text, NULL };

    assert_int_equal(pipe(fds), 0);
    (void)snprintf(fd_text, sizeof fd_text, "%d", fds[1]);
    (void)snprintf(path_copy, sizeof path_copy, "%s", path);
    const pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)close(fds[0]);
        (void)execv(self, arguments);
        _exit(9);
    }
    (void)close(fds[1]);
    *ret_ack_fd = fds[0];
    return child;
}

/* Kill the writer after `count` acknowledgements; the greatest number that it acknowledged. */
static uint32_t
run_and_kill(const char *path, uint64_t count)
{
    int ack_fd = -1;
    const pid_t child = start_writer(path, &ack_fd);
    uint32_t number = 0;
    int status = 0;

    for (; count > 0; count--)
        assert_int_equal(read(ack_fd, &number, sizeof number), sizeof number);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ack_fd, &number, sizeof number) == sizeof number)
        ; /* what it acknowledged before it died */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    (void)close(ack_fd);
    return number;
}

static void
check_record(weir_store *store, uint32_t number)
{
    for (uint8_t part = 0; part < PARTS; part++) {
        uint8_t key[6];
        uint8_t expected[VALUE_BYTES_MAX];
        weir_buffer value = { 0 };
        bool is_found = false;
        weir_error error = { 0 };
        const weir_bytes wanted = value_of(number, part, expected);

        CHECK_OK(weir_store_get(store, NULL, key_of(number, part, key), &value, &is_found, &error));
        assert_true(is_found);
        assert_true(weir_bytes_equal(weir_buffer_view(&value), wanted));
        weir_buffer_fini(&value);
    }
}

static void
check_nothing_after(weir_store *store, uint32_t last)
{
    uint8_t from[6];
    weir_iter *iter = weir_store_iter(store, NULL, key_of(last + 1, 0, from), weir_bytes_str("l"));
    weir_error error = { 0 };

    assert_false(weir_iter_next(iter));
    CHECK_OK(weir_iter_status(iter, &error));
    weir_iter_destroy(&iter);
}

static void
what_was_acknowledged_survives_kill_9(void **state)
{
    char path[128];
    weir_rng rng = { 42 };
    uint32_t checked = 0;

    scratch_make(path);
    for (unsigned round = 0; round < KILLS; round++) {
        const uint32_t acknowledged = run_and_kill(path, 1 + weir_rng_below(&rng, ACKS_MAX));
        weir_store *store = open_kind("rocksdb", path);
        const uint32_t last = last_number(store);

        assert_true(last >= acknowledged);
        for (uint32_t number = round % 5 == 0 ? 1 : checked + 1; number <= last; number++)
            check_record(store, number);
        check_nothing_after(store, last);
        checked = last;
        weir_store_close(&store);
    }
    scratch_remove(path);
}

/* The create itself: killed before the first acknowledgement, at growing delays. */
static void
a_create_that_is_killed_leaves_a_folder_that_opens(void **state)
{
    for (unsigned delay_us = 0; delay_us < 40000; delay_us += 4000) {
        char path[128];
        int ack_fd = -1;
        int status = 0;
        weir_store *store;

        scratch_make(path);
        const pid_t child = start_writer(path, &ack_fd);
        (void)usleep(delay_us); /* only spreads the moment of the kill: nothing waits for it */
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        (void)close(ack_fd);
        store = open_kind("rocksdb", path);
        put_now(store, "a", "1", true);
        weir_store_close(&store);
        scratch_remove(path);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_kill_9),
        cmocka_unit_test(a_create_that_is_killed_leaves_a_folder_that_opens),
    };

    if (argc == 4 && strcmp(argv[1], "writer") == 0)
        return run_writer(argv[2], atoi(argv[3]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
