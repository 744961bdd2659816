/*
 * call_test.c - the life of calls over a real connection: every way to end one, and who is told.
 */
#include "tests/unit/rpc/harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/limits.h"

/* A deadline that passes, but not before the server has the call, however slow the machine is. */
enum { SHORT_MS = 500 };

/* What the handlers below do and what they saw. */
typedef struct call_script {
    pthread_mutex_t lock;
    weir_error failure; /* UnaryCall fails with it when its code is set; under the lock */
    bool hand_over;     /* keep the call for the test's own thread */
    bool holds_back;    /* StreamingOutputCall sends three messages and holds them */
    _Atomic(weir_rpc_call *) kept;
    tally opened;
    tally messages;
    tally half_closed;
    tally writable;
    tally cancelled;
    tally draining;
    tally done;
    tally gate;       /* pool handlers wait until it is 1 */
    atomic_bool hold; /* message handlers answer HOLD */
    atomic_size_t received;
} call_script;

typedef struct call_fixture {
    rpc_harness harness;
    call_script script;
} call_fixture;

static void
count_done(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((call_script *)context)->done);
}

static void
end_cancelled(weir_rpc_call *call, void *context)
{
    tally_add(&((call_script *)context)->cancelled);
    weir_rpc_fail_with(call, WEIR_CANCELLED, "the client went away");
}

static void
count_cancelled(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((call_script *)context)->cancelled);
}

static void
answer_unary(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    call_script *script = context;
    const simple_request *simple = (const void *)request;
    simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    pthread_mutex_lock(&script->lock);
    const weir_error failure = script->failure;
    pthread_mutex_unlock(&script->lock);
    tally_add(&script->opened);
    if (failure.code != WEIR_OK) {
        weir_rpc_fail(call, &failure);
    } else if (script->hand_over) {
        atomic_store(&script->kept, call);
        tally_add(&script->messages);
    } else {
        payload.body.len = (size_t)simple->response_size;
        payload.body.data =
            weir_arena_alloc_zero(weir_rpc_call_arena(call), (size_t)simple->response_size + 1);
        response.payload = &payload;
        response.username = weir_arena_strdup(weir_rpc_call_arena(call), "mary");
        weir_rpc_reply(call, &response.base);
    }
}

static void
answer_at_the_gate(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    call_script *script = context;

    tally_add(&script->opened);
    tally_wait(&script->gate, 1);
    (void)request;
    simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    weir_rpc_reply(call, &response.base);
}

static void
count_open(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((call_script *)context)->opened);
}

static weir_rpc_flow
count_message(weir_rpc_call *call, const ProtobufCMessage *message, void *context)
{
    call_script *script = context;
    const input_request *input = (const void *)message;

    if (input->payload != NULL)
        atomic_fetch_add(&script->received, input->payload->body.len);
    atomic_store(&script->kept, call);
    tally_add(&script->messages);
    return atomic_load(&script->hold) ? WEIR_RPC_HOLD : WEIR_RPC_MORE;
}

static void
answer_total(weir_rpc_call *call, void *context)
{
    call_script *script = context;
    input_response response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;

    tally_add(&script->half_closed);
    response.aggregated_payload_size = (int32_t)atomic_load(&script->received);
    weir_rpc_reply(call, &response.base);
}

/* A stream that never ends by itself, filled until it is full. */
static void
fill(weir_rpc_call *call)
{
    static uint8_t body[64 << 10];
    output_response response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body = (ProtobufCBinaryData){ .data = body, .len = sizeof body };
    response.payload = &payload;
    while (weir_rpc_send(call, &response.base) == WEIR_RPC_SENT) {
    }
}

/* Messages of 1, 2 and 3 bytes, which the test lets go. */
static void
send_three_held(weir_rpc_call *call)
{
    uint8_t body[3] = { 0 };
    output_response response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    response.payload = &payload;
    weir_rpc_send_hold(call);
    for (size_t i = 1; i <= sizeof body; i++) {
        payload.body = (ProtobufCBinaryData){ .data = body, .len = i };
        assert_int_equal(weir_rpc_send(call, &response.base), WEIR_RPC_SENT);
    }
}

static void
flood(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    call_script *script = context;

    (void)request;
    atomic_store(&script->kept, call);
    if (script->holds_back)
        send_three_held(call);
    else
        fill(call);
    tally_add(&script->opened);
}

static void
flood_on(weir_rpc_call *call, void *context)
{
    tally_add(&((call_script *)context)->writable);
    fill(call);
}

static void
end_draining(weir_rpc_call *call, void *context)
{
    call_script *script = context;

    tally_add(&script->draining);
    if (atomic_load(&script->hold)) /* a handler that does not care */
        return;
    weir_rpc_fail_with(call, WEIR_DRAINING, "the server is stopping");
}

static const weir_rpc_handler rows[] = {
    { .method = "UnaryCall",
        .request = answer_unary,
        .cancelled = count_cancelled,
        .done = count_done },
    { .method = "CacheableUnaryCall", .flags = WEIR_RPC_POOL, .request = answer_at_the_gate },
    { .method = "StreamingInputCall",
        .open = count_open,
        .message = count_message,
        .half_closed = answer_total,
        .cancelled = end_cancelled,
        .done = count_done },
    { .method = "StreamingOutputCall",
        .request = flood,
        .writable = flood_on,
        .cancelled = end_cancelled,
        .draining = end_draining,
        .done = count_done },
};

static int
set_up_with(void **state, const weir_rpc_server_options *options)
{
    call_fixture *fixture = weir_alloc_zero(1, sizeof *fixture);
    call_script *script = &fixture->script;
    tally *const all[] = { &script->opened, &script->messages, &script->half_closed,
        &script->writable, &script->cancelled, &script->draining, &script->done, &script->gate };

    pthread_mutex_init(&script->lock, NULL);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        tally_init(all[i]);
    harness_init(&fixture->harness);
    harness_server(&fixture->harness, options);
    harness_add(&fixture->harness, rows, COUNT_OF(rows), script);
    *state = fixture;
    return 0;
}

static int
set_up(void **state)
{
    set_up_with(state, NULL);
    harness_start(&((call_fixture *)*state)->harness);
    return 0;
}

static int
tear_down(void **state)
{
    call_fixture *fixture = *state;

    harness_fini(&fixture->harness);
    weir_free(fixture);
    return 0;
}

typedef struct pending_answer {
    tally answered;
    weir_code codes[4];
    unsigned count;
} pending_answer;

static void
note_answer(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    pending_answer *pending = context;

    (void)response;
    pthread_mutex_lock(&pending->answered.lock);
    pending->codes[pending->count++] = error->code;
    pthread_mutex_unlock(&pending->answered.lock);
    tally_add(&pending->answered);
}

static void
fail_with(call_fixture *fixture, const weir_error *failure)
{
    pthread_mutex_lock(&fixture->script.lock);
    fixture->script.failure = *failure;
    pthread_mutex_unlock(&fixture->script.lock);
}

/* ---- unary ---- */

static void
a_unary_call_brings_its_answer(void **state)
{
    call_fixture *fixture = *state;
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;

    CHECK_OK(weir_rpc_unary(fixture->harness.stub, "UnaryCall", &request.base, NULL, arena,
        &response, reterr));
    assert_string_equal(((simple_response *)(void *)response)->username, "mary");
    weir_arena_destroy(&arena);
    tally_wait(&fixture->script.done, 1);
    assert_int_equal(tally_count(&fixture->script.cancelled), 0);
}

static void
a_failure_arrives_with_reason_field_and_pause(void **state)
{
    call_fixture *fixture = *state;
    weir_error failure;
    weir_error error;

    weir_error_set_field(&failure, WEIR_FILTER_INVALID, "filter", "no field is called colour");
    failure.retry_after_ms = 2500;
    fail_with(fixture, &failure);
    assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", 0, &error), WEIR_FILTER_INVALID);
    assert_string_equal(error.field, "filter");
    assert_string_equal(error.message, "no field is called colour");
    assert_int_equal(error.retry_after_ms, 2500);
}

static void
every_code_arrives_as_itself(void **state)
{
    call_fixture *fixture = *state;

    for (int code = 1; code < WEIR_CODE_COUNT; code++) {
        weir_error failure;
        weir_error error;

        weir_error_set(&failure, (weir_code)code, "code %d", code);
        fail_with(fixture, &failure);
        assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", 0, &error), code);
    }
}

static void
exhaustion_and_outage_carry_a_pause_by_themselves(void **state)
{
    call_fixture *fixture = *state;
    weir_error failure;
    weir_error error;

    weir_error_set(&failure, WEIR_PRESSURE, "too much at once");
    fail_with(fixture, &failure);
    harness_unary(&fixture->harness, "UnaryCall", 0, &error);
    assert_true(error.retry_after_ms > 0);
    weir_error_set(&failure, WEIR_NOT_FOUND, "nothing");
    fail_with(fixture, &failure);
    harness_unary(&fixture->harness, "UnaryCall", 0, &error);
    assert_int_equal(error.retry_after_ms, 0);
}

static void *
answer_later(void *argument)
{
    call_fixture *fixture = argument;
    const simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;

    tally_wait(&fixture->script.messages, 1);
    weir_rpc_reply(atomic_load(&fixture->script.kept), &response.base);
    return NULL;
}

static void
another_thread_may_finish_the_call(void **state)
{
    call_fixture *fixture = *state;
    pthread_t thread;
    weir_error error;

    fixture->script.hand_over = true;
    assert_int_equal(pthread_create(&thread, NULL, answer_later, fixture), 0);
    assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", 0, &error), WEIR_OK);
    pthread_join(thread, NULL);
    tally_wait(&fixture->script.done, 1);
}

static void
a_deadline_ends_the_call_at_both_ends_and_the_handler_still_finishes_it(void **state)
{
    call_fixture *fixture = *state;
    const simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    weir_error error;

    /* The connection first: it must not cost the time of the call that is to reach its handler. */
    assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", 0, &error), WEIR_OK);
    tally_wait(&fixture->script.done, 1);
    fixture->script.hand_over = true;
    assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", SHORT_MS, &error), WEIR_TIMEOUT);
    tally_wait(&fixture->script.cancelled, 1);
    assert_true(weir_rpc_is_cancelled(atomic_load(&fixture->script.kept)));
    assert_true(weir_rpc_ms_left(atomic_load(&fixture->script.kept)) <= SHORT_MS);
    assert_int_equal(tally_count(&fixture->script.done), 1);
    weir_rpc_reply(atomic_load(&fixture->script.kept), &response.base);
    tally_wait(&fixture->script.done, 2);
    assert_int_equal(tally_count(&fixture->script.cancelled), 1);
}

static void
a_second_finish_changes_nothing(void **state)
{
    call_fixture *fixture = *state;
    const simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    pending_answer pending = { .count = 0 };
    weir_rpc_client_call *client;
    weir_rpc_call *call;

    tally_init(&pending.answered);
    fixture->script.hand_over = true;
    client = weir_rpc_unary_start(fixture->harness.stub, "UnaryCall", &request.base, NULL,
        note_answer, &pending);
    tally_wait(&fixture->script.messages, 1);
    call = atomic_load(&fixture->script.kept);
    weir_rpc_call_ref(call);
    weir_rpc_reply(call, &response.base);
    weir_rpc_fail_with(call, WEIR_INTERNAL, "too late");
    tally_wait(&pending.answered, 1);
    assert_int_equal(pending.codes[0], WEIR_OK);
    tally_wait(&fixture->script.done, 1);
    weir_rpc_fail_with(call, WEIR_INTERNAL, "much too late");
    weir_rpc_call_unref(call);
    weir_rpc_client_unref(client);
}

static void
a_method_without_a_row_is_unimplemented_by_its_name(void **state)
{
    call_fixture *fixture = *state;
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    assert_int_equal(weir_rpc_unary(fixture->harness.stub, "EmptyCall", &request.base, NULL, arena,
                         &response, &error),
        WEIR_UNIMPLEMENTED);
    assert_non_null(strstr(error.message, "/grpc.testing.TestService/EmptyCall"));
    weir_arena_destroy(&arena);
}

static void
a_service_that_was_not_added_is_unimplemented(void **state)
{
    call_fixture *fixture = *state;
    weir_rpc_stub *stub = weir_rpc_stub_open(fixture->harness.channel,
        &grpc__testing__unimplemented_service__descriptor);
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    assert_int_equal(weir_rpc_unary(stub, "UnimplementedCall", &request.base, NULL, arena,
                         &response, &error),
        WEIR_UNIMPLEMENTED);
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
}

static void
an_answer_over_the_limit_is_refused_by_the_server(void **state)
{
    call_fixture *fixture = *state;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    request.response_size = WEIR_ANSWER_BYTES_MAX + 1;
    assert_int_equal(weir_rpc_unary(fixture->harness.stub, "UnaryCall", &request.base, NULL, arena,
                         &response, &error),
        WEIR_RESPONSE_TOO_LARGE);
    assert_non_null(strstr(error.message, "page"));
    weir_arena_destroy(&arena);
}

static const char *
small_hint(const char *method_path)
{
    return strcmp(method_path, "/grpc.testing.TestService/UnaryCall") == 0 ? "cut it up" : NULL;
}

static int
set_up_small(void **state)
{
    const weir_rpc_server_options options = { .message_bytes_max = 1000,
        .too_large_hint = small_hint };

    set_up_with(state, &options);
    harness_start(&((call_fixture *)*state)->harness);
    return 0;
}

static void
a_request_over_the_limit_is_refused_with_what_to_do(void **state)
{
    call_fixture *fixture = *state;
    simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    uint8_t body[1001] = { 0 };
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;

    payload.body = (ProtobufCBinaryData){ .data = body, .len = sizeof body };
    request.payload = &payload;
    assert_int_equal(weir_rpc_unary(fixture->harness.stub, "UnaryCall", &request.base, NULL, arena,
                         &response, &error),
        WEIR_BODY_TOO_LARGE);
    assert_non_null(strstr(error.message, "cut it up"));
    assert_int_equal(tally_count(&fixture->script.opened), 0);
    weir_arena_destroy(&arena);
}

/* ---- the pool ---- */

static int
set_up_narrow(void **state)
{
    const weir_rpc_server_options options = { .workers = 1, .pool_queue_max = 1 };

    set_up_with(state, &options);
    harness_start(&((call_fixture *)*state)->harness);
    return 0;
}

static void
a_full_pool_refuses_and_lets_the_others_pass(void **state)
{
    call_fixture *fixture = *state;
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_rpc_client_call *calls[3];
    pending_answer pending = { .count = 0 };
    unsigned ok = 0;

    tally_init(&pending.answered);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        calls[i] = weir_rpc_unary_start(fixture->harness.stub, "CacheableUnaryCall", &request.base,
            NULL, note_answer, &pending);
        if (i == 0)
            tally_wait(&fixture->script.opened, 1); /* the one worker has it */
    }
    tally_wait(&pending.answered, 1);
    assert_int_equal(pending.codes[0], WEIR_QUEUE_FULL);
    tally_add(&fixture->script.gate);
    tally_wait(&pending.answered, 3);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        ok += pending.codes[i] == WEIR_OK;
        weir_rpc_client_unref(calls[i]);
    }
    assert_int_equal(ok, 2);
}

/* Keeps the newest call, with a reference, before it waits for its worker. */
static weir_code
keep_call(weir_rpc_call *call, void *context, weir_error *reterr)
{
    call_script *script = context;

    (void)reterr;
    weir_rpc_call_ref(call);
    weir_rpc_call *before = atomic_exchange(&script->kept, call);
    if (before != NULL)
        weir_rpc_call_unref(before);
    tally_add(&script->messages);
    return WEIR_OK;
}

static void
wait_cancelled(const weir_rpc_call *call)
{
    const int64_t until_ms = weir_clock_mono_ms() + PATIENCE_MS;

    while (!weir_rpc_is_cancelled(call)) {
        assert_true(weir_clock_mono_ms() < until_ms);
        weir_clock_sleep_ms(1);
    }
}

static void
a_call_that_timed_out_in_the_queue_never_reaches_its_handler(void **state)
{
    const weir_rpc_server_options options = { .workers = 1, .pool_queue_max = 1 };
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    pending_answer pending = { .count = 0 };
    weir_rpc_client_call *call;
    weir_error error;

    set_up_with(state, &options);
    call_fixture *fixture = *state;
    weir_rpc_server_intercept(fixture->harness.server, keep_call, &fixture->script);
    harness_start(&fixture->harness);
    tally_init(&pending.answered);
    call = weir_rpc_unary_start(fixture->harness.stub, "CacheableUnaryCall", &request.base, NULL,
        note_answer, &pending);
    tally_wait(&fixture->script.opened, 1);
    assert_int_equal(harness_unary(&fixture->harness, "CacheableUnaryCall", SHORT_MS, &error),
        WEIR_TIMEOUT);
    tally_wait(&fixture->script.messages, 2);
    wait_cancelled(atomic_load(&fixture->script.kept)); /* the server sees it some ms later */
    weir_rpc_call_unref(atomic_load(&fixture->script.kept));
    tally_add(&fixture->script.gate);
    tally_wait(&pending.answered, 1);
    weir_rpc_client_unref(call);
    weir_rpc_server_stop(fixture->harness.server, PATIENCE_MS);
    assert_int_equal(tally_count(&fixture->script.opened), 1);
}

/* ---- streams of messages ---- */

static void
send_input(weir_rpc_stream *stream, size_t size)
{
    input_request request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body.len = size;
    payload.body.data = weir_alloc_zero(1, size);
    request.payload = &payload;
    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    weir_free(payload.body.data);
}

static void
an_upload_is_added_up(void **state)
{
    call_fixture *fixture = *state;
    weir_rpc_stream *stream =
        weir_rpc_stream_open(fixture->harness.stub, "StreamingInputCall", NULL);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;

    for (int i = 0; i < 100; i++)
        send_input(stream, 10000);
    weir_rpc_stream_half_close(stream);
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_int_equal(((input_response *)(void *)message)->aggregated_payload_size, 1000000);
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_null(message);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    weir_arena_destroy(&arena);
    tally_wait(&fixture->script.done, 1);
}

/* To take a broken upload for a finished one would turn half a document into a document. */
static void
a_broken_upload_is_never_taken_for_a_finished_one(void **state)
{
    call_fixture *fixture = *state;
    weir_error error;

    for (unsigned i = 1; i <= 50; i++) {
        weir_rpc_stream *stream =
            weir_rpc_stream_open(fixture->harness.stub, "StreamingInputCall", NULL);

        send_input(stream, 1000);
        tally_wait(&fixture->script.messages, i);
        weir_rpc_stream_cancel(stream);
        assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_CANCELLED);
        tally_wait(&fixture->script.done, i);
    }
    assert_int_equal(tally_count(&fixture->script.half_closed), 0);
    assert_int_equal(tally_count(&fixture->script.cancelled), 50);
}

static void
a_held_stream_reads_on_only_after_resume(void **state)
{
    call_fixture *fixture = *state;
    weir_rpc_stream *stream =
        weir_rpc_stream_open(fixture->harness.stub, "StreamingInputCall", NULL);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;

    atomic_store(&fixture->script.hold, true);
    for (int i = 0; i < 3; i++)
        send_input(stream, 10);
    weir_rpc_stream_half_close(stream);
    tally_wait(&fixture->script.messages, 1);
    weir_error error;
    assert_int_equal(weir_rpc_stream_recv(stream, 50, arena, &message, &error), WEIR_TIMEOUT);
    assert_string_equal(error.field, "wait");
    assert_int_equal(tally_count(&fixture->script.messages), 1);
    weir_rpc_resume(atomic_load(&fixture->script.kept));
    tally_wait(&fixture->script.messages, 2);
    atomic_store(&fixture->script.hold, false);
    weir_rpc_resume(atomic_load(&fixture->script.kept));
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_int_equal(((input_response *)(void *)message)->aggregated_payload_size, 30);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    weir_arena_destroy(&arena);
}

static void
a_message_over_the_limit_ends_the_stream_and_tells_the_handler(void **state)
{
    call_fixture *fixture = *state;
    weir_rpc_stream *stream =
        weir_rpc_stream_open(fixture->harness.stub, "StreamingInputCall", NULL);
    weir_error error;

    send_input(stream, 2000);
    tally_wait(&fixture->script.cancelled, 1);
    assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_BODY_TOO_LARGE);
    tally_wait(&fixture->script.done, 1);
    assert_int_equal(tally_count(&fixture->script.messages), 0);
}

/* ---- streams of answers ---- */

static void
a_full_stream_goes_on_when_the_client_reads(void **state)
{
    call_fixture *fixture = *state;
    const output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    weir_rpc_stream *stream =
        weir_rpc_stream_open(fixture->harness.stub, "StreamingOutputCall", NULL);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    weir_error error;

    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    weir_rpc_stream_half_close(stream);
    for (int i = 0; i < 200; i++) {
        CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
        assert_int_equal(((output_response *)(void *)message)->payload->body.len, 64 << 10);
        weir_arena_reset(arena);
    }
    assert_true(tally_count(&fixture->script.writable) > 0);
    weir_rpc_stream_cancel(stream);
    assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_CANCELLED);
    tally_wait(&fixture->script.cancelled, 1);
    tally_wait(&fixture->script.done, 1);
    weir_arena_destroy(&arena);
}

static weir_rpc_stream *
open_stalled(call_fixture *fixture)
{
    const output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    weir_rpc_stream *stream =
        weir_rpc_stream_open(fixture->harness.stub, "StreamingOutputCall", NULL);

    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    weir_rpc_stream_half_close(stream);
    tally_wait(&fixture->script.opened, 1);
    return stream;
}

/* The first go with the headers: with a hint that more follows, the core wrote none of them. */
static void
what_is_held_goes_out_in_order_once_it_is_released(void **state)
{
    call_fixture *fixture = *state;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    weir_error error;

    fixture->script.holds_back = true;
    weir_rpc_stream *stream = open_stalled(fixture);

    assert_int_equal(weir_rpc_stream_recv(stream, 50, arena, &message, &error), WEIR_TIMEOUT);
    weir_rpc_send_release(atomic_load(&fixture->script.kept));
    for (size_t i = 1; i <= 3; i++) {
        CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
        assert_int_equal(((output_response *)(void *)message)->payload->body.len, i);
    }
    weir_rpc_finish(atomic_load(&fixture->script.kept));
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_null(message);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    tally_wait(&fixture->script.done, 1);
    weir_arena_destroy(&arena);
}

/* A client that goes away while messages are held is told of as ever, and release is harmless. */
static void
a_client_may_go_while_messages_are_held(void **state)
{
    call_fixture *fixture = *state;
    weir_error error;

    fixture->script.holds_back = true;
    weir_rpc_stream *stream = open_stalled(fixture);
    weir_rpc_call *const call = atomic_load(&fixture->script.kept);

    weir_rpc_call_ref(call);
    weir_rpc_stream_cancel(stream);
    assert_int_equal(weir_rpc_stream_finish(&stream, &error), WEIR_CANCELLED);
    tally_wait(&fixture->script.done, 1);
    weir_rpc_send_release(call);
    weir_rpc_call_unref(call);
}

static void
a_drain_ends_a_stalled_stream_when_its_time_is_over(void **state)
{
    call_fixture *fixture = *state;
    weir_rpc_stream *stream = open_stalled(fixture);
    weir_error error;

    atomic_store(&fixture->script.hold, true); /* `draining` is not heeded */
    weir_rpc_server_stop(fixture->harness.server, 50);
    assert_int_equal(tally_count(&fixture->script.draining), 1);
    assert_int_equal(tally_count(&fixture->script.cancelled), 1);
    assert_int_equal(tally_count(&fixture->script.done), 1);
    assert_int_not_equal(weir_rpc_stream_finish(&stream, &error), WEIR_OK);
}

static void
a_drain_lets_a_call_end_well(void **state)
{
    call_fixture *fixture = *state;
    pending_answer pending = { .count = 0 };
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_rpc_client_call *call;

    tally_init(&pending.answered);
    call = weir_rpc_unary_start(fixture->harness.stub, "CacheableUnaryCall", &request.base, NULL,
        note_answer, &pending);
    tally_wait(&fixture->script.opened, 1);
    tally_add(&fixture->script.gate);
    weir_rpc_server_stop(fixture->harness.server, PATIENCE_MS);
    tally_wait(&pending.answered, 1);
    assert_int_equal(pending.codes[0], WEIR_OK);
    weir_rpc_client_unref(call);
}

static void
a_stopped_server_cannot_be_reached(void **state)
{
    call_fixture *fixture = *state;
    weir_error error;

    weir_rpc_server_stop(fixture->harness.server, 0);
    weir_rpc_server_stop(fixture->harness.server, 0);
    assert_int_equal(harness_unary(&fixture->harness, "UnaryCall", PATIENCE_MS, &error),
        WEIR_SERVICE_UNAVAILABLE);
    assert_non_null(strstr(error.message, fixture->harness.target));
}

/* ---- interceptor and observer ---- */

static weir_code
want_key(weir_rpc_call *call, void *context, weir_error *reterr)
{
    weir_bytes value;

    (void)context;
    if (weir_rpc_is_public(call))
        return WEIR_OK;
    if (!weir_rpc_header(call, "authorization", &value))
        return weir_error_set(reterr, WEIR_UNAUTHENTICATED, "not one authorization header");
    weir_rpc_call_set_principal(call, weir_strdup("tenant"), weir_free);
    return WEIR_OK;
}

typedef struct seen_call {
    char path[128];
    weir_code code;
    bool has_principal;
    uint32_t sent_messages;
} seen_call;

/* One entry a call: a later call never writes what the test reads. */
typedef struct seen_calls {
    tally count;
    seen_call calls[8];
} seen_calls;

static void
see_call(const weir_rpc_call_stats *stats, void *context)
{
    seen_calls *all = context;
    seen_call *seen = &all->calls[tally_count(&all->count)];

    snprintf(seen->path, sizeof seen->path, "%s", stats->path);
    seen->code = stats->code;
    seen->has_principal = stats->principal != NULL;
    seen->sent_messages = stats->sent_messages;
    assert_true(stats->duration_us >= 0 && stats->request_id[0] != '\0');
    assert_true(strncmp(stats->peer, "ipv4:127.0.0.1:", 15) == 0);
    tally_add(&all->count);
}

static weir_code
unary_with_keys(rpc_harness *harness, size_t keys)
{
    const weir_rpc_metadata metadata[] = { { "authorization", weir_bytes_str("Bearer a.b") },
        { "authorization", weir_bytes_str("Bearer c.d") } };
    const weir_rpc_call_options options = { .metadata = metadata, .metadata_count = keys };
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;
    const weir_code code = weir_rpc_unary(harness->stub, "UnaryCall", &request.base, &options,
        arena, &response, &error);

    weir_arena_destroy(&arena);
    return code;
}

static weir_code
unknown_unary(rpc_harness *harness)
{
    weir_rpc_stub *stub =
        weir_rpc_stub_open(harness->channel, &grpc__testing__unimplemented_service__descriptor);
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;
    const weir_code code =
        weir_rpc_unary(stub, "UnimplementedCall", &request.base, NULL, arena, &response, &error);

    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
    return code;
}

static void
an_interceptor_lets_only_one_key_pass_and_the_observer_sees_each_call(void **state)
{
    seen_calls seen = { .calls = { { .code = WEIR_OK } } };
    call_fixture *fixture;

    set_up_with(state, NULL);
    fixture = *state;
    tally_init(&seen.count);
    weir_rpc_server_intercept(fixture->harness.server, want_key, NULL);
    weir_rpc_server_observe(fixture->harness.server, see_call, &seen);
    harness_start(&fixture->harness);

    assert_int_equal(unary_with_keys(&fixture->harness, 0), WEIR_UNAUTHENTICATED);
    tally_wait(&seen.count, 1);
    assert_int_equal(seen.calls[0].code, WEIR_UNAUTHENTICATED);
    assert_int_equal(unary_with_keys(&fixture->harness, 2), WEIR_UNAUTHENTICATED);
    tally_wait(&seen.count, 2);
    assert_int_equal(unary_with_keys(&fixture->harness, 1), WEIR_OK);
    tally_wait(&seen.count, 3);
    assert_string_equal(seen.calls[2].path, "/grpc.testing.TestService/UnaryCall");
    assert_int_equal(seen.calls[2].code, WEIR_OK);
    assert_true(seen.calls[2].has_principal);
    assert_int_equal(seen.calls[2].sent_messages, 1);
    /* Unknown paths cannot be probed without a key. */
    assert_int_equal(unknown_unary(&fixture->harness), WEIR_UNAUTHENTICATED);
    tally_wait(&seen.count, 4);
    assert_string_equal(seen.calls[3].path, "unknown");
    weir_rpc_server_stop(fixture->harness.server, PATIENCE_MS); /* `seen` is on the stack */
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_unary_call_brings_its_answer),
        TEST(a_failure_arrives_with_reason_field_and_pause),
        TEST(every_code_arrives_as_itself),
        TEST(exhaustion_and_outage_carry_a_pause_by_themselves),
        TEST(another_thread_may_finish_the_call),
        TEST(a_deadline_ends_the_call_at_both_ends_and_the_handler_still_finishes_it),
        TEST(a_second_finish_changes_nothing),
        TEST(a_method_without_a_row_is_unimplemented_by_its_name),
        TEST(a_service_that_was_not_added_is_unimplemented),
        TEST(an_answer_over_the_limit_is_refused_by_the_server),
        cmocka_unit_test_setup_teardown(a_request_over_the_limit_is_refused_with_what_to_do,
            set_up_small, tear_down),
        cmocka_unit_test_setup_teardown(
            a_message_over_the_limit_ends_the_stream_and_tells_the_handler, set_up_small,
            tear_down),
        cmocka_unit_test_setup_teardown(a_full_pool_refuses_and_lets_the_others_pass, set_up_narrow,
            tear_down),
        cmocka_unit_test_teardown(a_call_that_timed_out_in_the_queue_never_reaches_its_handler,
            tear_down),
        TEST(an_upload_is_added_up),
        TEST(a_broken_upload_is_never_taken_for_a_finished_one),
        TEST(a_held_stream_reads_on_only_after_resume),
        TEST(a_full_stream_goes_on_when_the_client_reads),
        TEST(what_is_held_goes_out_in_order_once_it_is_released),
        TEST(a_client_may_go_while_messages_are_held),
        TEST(a_drain_ends_a_stalled_stream_when_its_time_is_over),
        TEST(a_drain_lets_a_call_end_well),
        TEST(a_stopped_server_cannot_be_reached),
        cmocka_unit_test_teardown(
            an_interceptor_lets_only_one_key_pass_and_the_observer_sees_each_call, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
