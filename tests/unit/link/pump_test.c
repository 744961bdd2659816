/*
 * Goal: the pump's own promises: frames arrive in order, a full queue is said, what has no room
 * waits in the socket, a taken address and a long path are named, and stopping never waits for a
 * peer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/link/internal.h"
#include "tests/tools/ports.h"

enum { LINK = 1 << 16, DEADLINE_MS = 30000 };

/* Where frames of one end arrive. */
typedef struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t came;
    size_t count;
    uint64_t last; /* number in the last frame */
    bool in_order;
    size_t refuse; /* so many more are not taken */
    size_t refused;
} inbox;

typedef struct ends {
    char folder[32];
    char rows[80], answers[80];
    inbox at_sender, at_receiver;
    weir_link_pump *sender, *receiver;
} ends;

static bool
arrived(void *ud, uint32_t link, weir_bytes frame)
{
    inbox *box = ud;
    bool taken = true;

    pthread_mutex_lock(&box->lock);
    if (box->refuse > 0) {
        box->refuse--;
        box->refused++;
        taken = false;
    } else {
        const uint64_t number = weir_load_u64(frame.data);
        box->in_order =
            box->in_order && link == LINK && (box->count == 0 || number == box->last + 1);
        box->last = number;
        box->count++;
    }
    pthread_cond_broadcast(&box->came);
    pthread_mutex_unlock(&box->lock);
    return taken;
}

static void
inbox_init(inbox *box)
{
    *box = (inbox){ .in_order = true };
    pthread_mutex_init(&box->lock, NULL);
    pthread_cond_init(&box->came, NULL);
}

/* Wait for `count` frames; fails at the deadline. */
static void
await(inbox *box, size_t count)
{
    struct timespec until;

    until.tv_sec = weir_clock_wall_ms() / 1000 + DEADLINE_MS / 1000;
    until.tv_nsec = 0;
    pthread_mutex_lock(&box->lock);
    while (box->count < count)
        if (pthread_cond_timedwait(&box->came, &box->lock, &until) != 0)
            break;
    const size_t got = box->count;
    pthread_mutex_unlock(&box->lock);
    assert_int_equal(got, count);
}

/* Frames so far, after at most a tenth of a second in which more than `before` may come. */
static size_t
count_after(inbox *box, size_t before)
{
    const int64_t until_ms = weir_clock_wall_ms() + 100;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (until_ms % 1000) * 1000000 };

    pthread_mutex_lock(&box->lock);
    while (before != SIZE_MAX && box->count <= before)
        if (pthread_cond_timedwait(&box->came, &box->lock, &until) != 0)
            break;
    const size_t got = box->count;
    pthread_mutex_unlock(&box->lock);
    return got;
}

static weir_code
start(ends *e, bool sender, weir_error *error)
{
    const weir_link_endpoint endpoint = { .link = LINK,
        .sender = sender,
        .rows = e->rows,
        .answers = e->answers };

    return weir_link_pump_start(&endpoint, 1, arrived, sender ? &e->at_sender : &e->at_receiver,
        sender ? &e->sender : &e->receiver, error);
}

static void
start_ok(ends *e, bool sender)
{
    weir_error error = { 0 };

    if (start(e, sender, &error) != WEIR_OK)
        fail_msg("%s", error.message);
}

/* Send frame `number`, again while there is no room. */
static void
send_number(weir_link_pump *pump, uint64_t number, size_t size)
{
    uint8_t *frame = weir_alloc_zero(1, size);
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;

    weir_store_u64(frame, number);
    while (!weir_link_pump_send(pump, LINK, weir_bytes_of(frame, size))) {
        assert_true(weir_clock_mono_ms() < until_ms);
        sched_yield();
    }
    weir_free(frame);
}

static int
set_up(void **state)
{
    static ends e;

    e = (ends){ .folder = "/tmp/weir-pump-XXXXXX" };
    assert_non_null(mkdtemp(e.folder));
    snprintf(e.rows, sizeof e.rows, "ipc://%s/rows", e.folder);
    snprintf(e.answers, sizeof e.answers, "ipc://%s/answers", e.folder);
    inbox_init(&e.at_sender);
    inbox_init(&e.at_receiver);
    *state = &e;
    return 0;
}

static int
tear_down(void **state)
{
    ends *e = *state;

    weir_link_pump_stop(&e->sender);
    weir_link_pump_stop(&e->receiver);
    unlink(e->rows + 6);
    unlink(e->answers + 6);
    rmdir(e->folder);
    return 0;
}

static void
frames_arrive_in_order_both_ways(void **state)
{
    ends *e = *state;

    start_ok(e, true);
    start_ok(e, false);
    for (uint64_t number = 1; number <= 2000; number++) {
        send_number(e->sender, number, 8 + (size_t)(number % 50) * 100);
        if (number % 4 == 0)
            send_number(e->receiver, number / 4, 100);
    }
    await(&e->at_receiver, 2000);
    await(&e->at_sender, 500);
    assert_true(e->at_receiver.in_order && e->at_sender.in_order);
}

static void
frames_over_tcp_arrive_too(void **state)
{
    ends *e = *state;
    const int port = ports_free_base() + 70;

    snprintf(e->rows, sizeof e->rows, "tcp://127.0.0.1:%d", port);
    snprintf(e->answers, sizeof e->answers, "tcp://127.0.0.1:%d", port + 1);
    start_ok(e, true);
    start_ok(e, false);
    send_number(e->sender, 1, 2 << 20);
    await(&e->at_receiver, 1);
    snprintf(e->rows, sizeof e->rows, "ipc://none");
    snprintf(e->answers, sizeof e->answers, "ipc://none");
}

static void
a_full_queue_is_said_and_bounded(void **state)
{
    ends *e = *state;
    uint8_t frame[8] = { 0 };
    size_t taken = 0;

    start_ok(e, true); /* nobody listens: IMMEDIATE keeps frames out of the socket */
    while (taken < 10000 &&
        weir_link_pump_send(e->sender, LINK, weir_bytes_of(frame, sizeof frame)))
        taken++;
    assert_in_range(taken, 64, 1000);
}

static void
bytes_are_bounded_as_well_as_frames(void **state)
{
    ends *e = *state;
    uint8_t *frame = weir_alloc_zero(1, WEIR_FRAME_BYTES_MAX);
    size_t taken = 0;

    start_ok(e, true);
    while (taken < 100 &&
        weir_link_pump_send(e->sender, LINK, weir_bytes_of(frame, WEIR_FRAME_BYTES_MAX)))
        taken++;
    assert_in_range(taken, 1, 10);
    weir_free(frame);
}

static void
what_nobody_has_room_for_waits_and_comes_in_order(void **state)
{
    ends *e = *state;

    e->at_receiver.refuse = 20;
    start_ok(e, false);
    start_ok(e, true);
    for (uint64_t number = 1; number <= 100; number++)
        send_number(e->sender, number, 64);
    await(&e->at_receiver, 100);
    assert_true(e->at_receiver.in_order);
    assert_int_equal(e->at_receiver.refused, 20);
}

static void
a_receiver_that_comes_back_is_found_again(void **state)
{
    ends *e = *state;

    start_ok(e, true);
    for (int i = 1; i <= 3; i++) {
        const size_t before = count_after(&e->at_receiver, SIZE_MAX);

        start_ok(e, false);
        /* What goes to a socket whose end is not noticed yet is lost: a link sends it again. */
        for (int tries = 0; tries < 100 && count_after(&e->at_receiver, before) == before; tries++)
            send_number(e->sender, (uint64_t)i, 64);
        assert_true(count_after(&e->at_receiver, before) > before);
        weir_link_pump_stop(&e->receiver);
    }
}

static void
a_reopened_link_goes_on(void **state)
{
    ends *e = *state;

    start_ok(e, true);
    start_ok(e, false);
    send_number(e->sender, 1, 64);
    await(&e->at_receiver, 1);
    weir_link_pump_reopen(e->sender, LINK);
    send_number(e->sender, 2, 64);
    await(&e->at_receiver, 2);
}

static void
a_taken_unix_socket_is_address_in_use(void **state)
{
    ends *e = *state;
    weir_link_pump *first;
    weir_error error = { 0 };

    start_ok(e, false);
    first = e->receiver;
    e->receiver = NULL;
    assert_int_equal(start(e, false, &error), WEIR_ADDRESS_IN_USE);
    assert_non_null(strstr(error.message, e->rows));
    e->receiver = first;
}

static void
a_taken_port_is_address_in_use(void **state)
{
    ends *e = *state;
    weir_link_pump *first;
    weir_error error = { 0 };

    snprintf(e->rows, sizeof e->rows, "tcp://127.0.0.1:%d", ports_free_base() + 70);
    start_ok(e, false);
    first = e->receiver;
    e->receiver = NULL;
    assert_int_equal(start(e, false, &error), WEIR_ADDRESS_IN_USE);
    assert_non_null(strstr(error.message, e->rows));
    e->receiver = first;
    snprintf(e->rows, sizeof e->rows, "ipc://none");
}

static void
a_left_over_socket_file_is_no_obstacle(void **state)
{
    ends *e = *state;
    FILE *file = fopen(e->rows + 6, "w");

    assert_non_null(file);
    fclose(file);
    start_ok(e, false);
}

static void
a_path_too_long_for_a_unix_socket_is_config_invalid(void **state)
{
    ends *e = *state;
    weir_error error = { 0 };
    char path[200];
    weir_link_endpoint endpoint = { .link = LINK,
        .sender = false,
        .rows = path,
        .answers = e->answers };

    snprintf(path, sizeof path, "ipc://%s/%0*d", e->folder, 108 - (int)strlen(e->folder) - 1, 0);
    assert_int_equal(strlen(path + 6), 108);
    assert_int_equal(weir_link_pump_start(&endpoint, 1, arrived, &e->at_receiver, &e->receiver,
                         &error),
        WEIR_CONFIG_INVALID);
    assert_non_null(strstr(error.message, "107"));
    path[strlen(path) - 1] = 0;
    assert_int_equal(weir_link_pump_start(&endpoint, 1, arrived, &e->at_receiver, &e->receiver,
                         &error),
        WEIR_OK);
    unlink(path + 6);
}

static void
an_endpoint_that_is_none_is_config_invalid(void **state)
{
    ends *e = *state;
    weir_error error = { 0 };

    snprintf(e->rows, sizeof e->rows, "carrier-pigeon://roof");
    assert_int_equal(start(e, false, &error), WEIR_CONFIG_INVALID);
    assert_int_equal(start(e, true, &error), WEIR_CONFIG_INVALID);
    snprintf(e->rows, sizeof e->rows, "ipc://none");
}

static void
stopping_does_not_wait_for_a_peer_that_is_not_there(void **state)
{
    ends *e = *state;
    const int64_t begun_ms = weir_clock_mono_ms();

    start_ok(e, true);
    send_number(e->sender, 1, 64);
    weir_link_pump_stop(&e->sender);
    assert_true(weir_clock_mono_ms() - begun_ms < DEADLINE_MS);
}

/* An idle pump must not spin: with a full queue and no peer it uses next to no processor time. */
static void
a_blocked_pump_sleeps(void **state)
{
    ends *e = *state;
    uint8_t frame[8] = { 0 };
    struct rusage before, after;

    start_ok(e, true);
    while (weir_link_pump_send(e->sender, LINK, weir_bytes_of(frame, sizeof frame)))
        continue;
    getrusage(RUSAGE_SELF, &before);
    weir_clock_sleep_ms(300); /* the subject of the test is what happens in this time */
    getrusage(RUSAGE_SELF, &after);
    const int64_t used_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
        after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(used_us < 100000);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_arrive_in_order_both_ways),
        TEST(frames_over_tcp_arrive_too),
        TEST(a_full_queue_is_said_and_bounded),
        TEST(bytes_are_bounded_as_well_as_frames),
        TEST(what_nobody_has_room_for_waits_and_comes_in_order),
        TEST(a_receiver_that_comes_back_is_found_again),
        TEST(a_reopened_link_goes_on),
        TEST(a_taken_unix_socket_is_address_in_use),
        TEST(a_taken_port_is_address_in_use),
        TEST(a_left_over_socket_file_is_no_obstacle),
        TEST(a_path_too_long_for_a_unix_socket_is_config_invalid),
        TEST(an_endpoint_that_is_none_is_config_invalid),
        TEST(stopping_does_not_wait_for_a_peer_that_is_not_there),
        TEST(a_blocked_pump_sleeps),
    };

    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
