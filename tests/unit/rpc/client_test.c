/*
 * client_test.c - channels and blocking streams when the other end does not behave.
 */
#include "tests/unit/rpc/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int
set_up(void **state)
{
    static rpc_harness harness;

    harness_init(&harness);
    harness_server(&harness, NULL);
    CHECK_OK(interop_service_add(harness.server, reterr));
    harness_start(&harness);
    *state = &harness;
    return 0;
}

static int
tear_down(void **state)
{
    harness_fini(*state);
    return 0;
}

static void
nobody_listening_is_unavailable_and_names_the_target(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_channel *channel;
    weir_rpc_stub *stub;
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    CHECK_OK(weir_rpc_channel_open(harness->runtime, "unix:/nonexistent/socket", NULL, &channel,
        reterr));
    stub = weir_rpc_stub_open(channel, &grpc__testing__test_service__descriptor);
    assert_int_equal(weir_rpc_unary(stub, "UnaryCall", &request.base, NULL, arena, &response,
                         &error),
        WEIR_SERVICE_UNAVAILABLE);
    assert_string_equal(error.message, "no connection to unix:/nonexistent/socket");
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
}

static void
a_status_without_details_becomes_the_plainest_code(void **state)
{
    rpc_harness *harness = *state;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    weir_arena *arena = weir_arena_create(0);
    char text[] = "plain words";
    ProtobufCMessage *response;
    weir_error error;

    status.code = 5;
    status.message = text;
    request.response_status = &status;
    assert_int_equal(weir_rpc_unary(harness->stub, "UnaryCall", &request.base, NULL, arena,
                         &response, &error),
        WEIR_NOT_FOUND);
    assert_string_equal(error.message, "plain words");
    weir_arena_destroy(&arena);
}

static void
an_answer_over_the_channels_limit_is_too_large(void **state)
{
    rpc_harness *harness = *state;
    const weir_rpc_channel_options options = { .message_bytes_max = 1000 };
    weir_rpc_channel *channel;
    weir_rpc_stub *stub;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    CHECK_OK(weir_rpc_channel_open(harness->runtime, harness->target, &options, &channel, reterr));
    stub = weir_rpc_stub_open(channel, &grpc__testing__test_service__descriptor);
    request.response_size = 2000;
    assert_int_equal(weir_rpc_unary(stub, "UnaryCall", &request.base, NULL, arena, &response,
                         &error),
        WEIR_RESPONSE_TOO_LARGE);
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
}

static void
a_tls_file_of_a_channel_that_cannot_be_read_is_named(void **state)
{
    rpc_harness *harness = *state;
    const weir_rpc_channel_options options = { .tls = true, .tls_ca_file = "/nonexistent.pem" };
    weir_rpc_channel *channel;
    weir_error error;

    assert_int_equal(weir_rpc_channel_open(harness->runtime, harness->target, &options, &channel,
                         &error),
        WEIR_CONFIG_INVALID);
    assert_non_null(strstr(error.message, "/nonexistent.pem"));
}

/* ---- streams ---- */

static void
ping(weir_rpc_stream *stream, int32_t size, size_t body_size)
{
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *list[] = { &parameters };
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    parameters.size = size;
    request.response_parameters = list;
    request.n_response_parameters = 1;
    payload.body.data = weir_alloc_zero(1, body_size + 1);
    payload.body.len = body_size;
    request.payload = &payload;
    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    weir_free(payload.body.data);
}

static size_t
pong(weir_rpc_stream *stream)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    size_t size;

    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_non_null(message);
    size = ((output_response *)(void *)message)->payload->body.len;
    weir_arena_destroy(&arena);
    return size;
}

static void
messages_go_both_ways_in_turn(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", NULL);

    for (int i = 1; i <= 100; i++) {
        ping(stream, i * 10, 5);
        assert_int_equal(pong(stream), i * 10);
    }
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
}

static void *
ping_many(void *argument)
{
    for (int i = 0; i < 200; i++)
        ping(argument, 20000, 20000);
    weir_rpc_stream_half_close(argument);
    return NULL;
}

static void
one_thread_may_send_while_another_receives(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", NULL);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, ping_many, stream), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(pong(stream), 20000);
    pthread_join(thread, NULL);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
}

static void
a_receive_that_waited_long_enough_leaves_the_call_alone(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", NULL);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    weir_error error;

    assert_int_equal(weir_rpc_stream_recv(stream, 20, arena, &message, &error), WEIR_TIMEOUT);
    assert_string_equal(error.field, "wait");
    ping(stream, 7, 1);
    assert_int_equal(pong(stream), 7);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    weir_arena_destroy(&arena);
}

static void
a_deadline_ends_a_stream_with_timeout(void **state)
{
    rpc_harness *harness = *state;
    const weir_rpc_call_options options = { .timeout_ms = 50 };
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", &options);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    weir_error error;

    assert_int_equal(weir_rpc_stream_recv(stream, 0, arena, &message, &error), WEIR_TIMEOUT);
    assert_string_equal(error.field, "");
    assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_TIMEOUT);
    weir_arena_destroy(&arena);
}

static void
a_send_to_an_ended_call_gives_the_reason(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", NULL);
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    weir_error error;

    status.code = 7;
    request.response_status = &status;
    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    assert_int_equal(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, &error),
        WEIR_PERMISSION_DENIED);
    assert_int_equal(weir_rpc_stream_send(stream, &request.base, &error), WEIR_PERMISSION_DENIED);
    assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_PERMISSION_DENIED);
    weir_arena_destroy(&arena);
}

static void
unread_messages_do_not_keep_a_stream_from_finishing(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stream *stream = weir_rpc_stream_open(harness->stub, "FullDuplexCall", NULL);

    for (int i = 0; i < 20; i++)
        ping(stream, 1000, 1);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
}

typedef struct ended {
    tally count;
    _Atomic weir_code code;
} ended;

static weir_rpc_flow
hold_message(void *context, const ProtobufCMessage *message)
{
    (void)context;
    (void)message;
    return WEIR_RPC_HOLD;
}

static void
note_end(void *context, const weir_error *error)
{
    ended *end = context;

    atomic_store(&end->code, error->code);
    tally_add(&end->count);
}

static void
closing_a_channel_cancels_what_still_runs_on_it(void **state)
{
    rpc_harness *harness = *state;
    const weir_rpc_client_events events = { .message = hold_message, .done = note_end };
    ended end = { .code = WEIR_OK };
    weir_rpc_client_call *call;

    tally_init(&end.count);
    call = weir_rpc_client_open(harness->stub, "FullDuplexCall", NULL, &events, &end);
    weir_rpc_stub_close(&harness->stub);
    weir_rpc_channel_close(&harness->channel);
    assert_int_equal(tally_count(&end.count), 1);
    assert_int_equal(atomic_load(&end.code), WEIR_CANCELLED);
    weir_rpc_client_cancel(call);
    weir_rpc_client_unref(call);
}

/* ---- running out of descriptors (CVE-2023-4785) ---- */

/* The client's end of a connection that the server shed reads its end or a reset. */
static bool
was_shed(int fd)
{
    const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    char byte[64];
    ssize_t size;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    do
        size = read(fd, byte, sizeof byte);
    while (size > 0);
    return size == 0 || errno == ECONNRESET;
}

static void
the_listener_lives_on_after_running_out_of_descriptors(void **state)
{
    rpc_harness *harness = *state;
    struct rlimit before;
    struct rlimit low;
    int fds[64];
    weir_error error;
    int highest;

    assert_int_equal(harness_unary(harness, "UnaryCall", PATIENCE_MS, &error), WEIR_OK);
    for (size_t i = 0; i < COUNT_OF(fds);
        i++) /* the client's ends first: they need descriptors too */
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    highest = fds[COUNT_OF(fds) - 1];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)highest + 5;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);

    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)weir_rpc_server_port(harness->server, 0)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(was_shed(fds[COUNT_OF(fds) - 1]));
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        close(fds[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

    /* A new connection, not the channel's old one. */
    weir_rpc_channel *channel;
    weir_rpc_stub *stub;
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    const weir_rpc_call_options options = { .timeout_ms = PATIENCE_MS, .wait_for_ready = true };
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;

    CHECK_OK(weir_rpc_channel_open(harness->runtime, harness->target, NULL, &channel, reterr));
    stub = weir_rpc_stub_open(channel, &grpc__testing__test_service__descriptor);
    CHECK_OK(weir_rpc_unary(stub, "UnaryCall", &request.base, &options, arena, &response, reterr));
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nobody_listening_is_unavailable_and_names_the_target),
        TEST(a_status_without_details_becomes_the_plainest_code),
        TEST(an_answer_over_the_channels_limit_is_too_large),
        TEST(a_tls_file_of_a_channel_that_cannot_be_read_is_named),
        TEST(messages_go_both_ways_in_turn),
        TEST(one_thread_may_send_while_another_receives),
        TEST(a_receive_that_waited_long_enough_leaves_the_call_alone),
        TEST(a_deadline_ends_a_stream_with_timeout),
        TEST(a_send_to_an_ended_call_gives_the_reason),
        TEST(unread_messages_do_not_keep_a_stream_from_finishing),
        TEST(closing_a_channel_cancels_what_still_runs_on_it),
        TEST(the_listener_lives_on_after_running_out_of_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
