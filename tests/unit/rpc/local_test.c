/*
 * local_test.c - calls without a connection run the same handlers and are answered exactly once.
 */
#include "tests/unit/rpc/harness.h"

#include <stdatomic.h>

/* A deadline that passes, but not before the handler has begun, however slow the machine is. */
enum { SHORT_MS = 500 };

/* ---- handlers ---- */

typedef struct local_script {
    bool hand_over;
    _Atomic(weir_rpc_call *) kept;
    tally entered;
    tally cancelled;
    tally writable;
    tally draining;
    tally done;
    unsigned to_send;
} local_script;

static void
answer_unary(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    local_script *script = context;
    const simple_request *simple = (const void *)request;
    simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    char server_id[] = "here";

    assert_true(weir_rpc_is_local(call));
    weir_rpc_set_header(call, "x-seen", weir_bytes_str("yes"));
    weir_rpc_set_trailer(call, "x-after", weir_bytes_str("also"));
    atomic_store(&script->kept, call);
    tally_add(&script->entered);
    if (script->hand_over)
        return;
    if (simple->response_size < 0) {
        weir_rpc_fail_with(call, WEIR_INVALID_ARGUMENT, "a negative size");
        return;
    }
    response.server_id = server_id;
    weir_rpc_reply(call, &response.base);
}

static void
send_some(weir_rpc_call *call, local_script *script)
{
    output_response response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;

    while (script->to_send > 0) {
        const weir_rpc_sent sent = weir_rpc_send(call, &response.base);

        if (sent == WEIR_RPC_GONE)
            return;
        script->to_send--;
        if (sent == WEIR_RPC_FULL)
            return;
    }
    if (!script->hand_over)
        weir_rpc_finish(call);
}

static void
answer_stream(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    local_script *script = context;

    (void)request;
    atomic_store(&script->kept, call);
    send_some(call, script);
    tally_add(&script->entered);
}

static void
go_on(weir_rpc_call *call, void *context)
{
    tally_add(&((local_script *)context)->writable);
    send_some(call, context);
}

static void
count_cancelled(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((local_script *)context)->cancelled);
}

static void
finish_cancelled(weir_rpc_call *call, void *context)
{
    tally_add(&((local_script *)context)->cancelled);
    weir_rpc_finish(call);
}

static void
count_draining(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((local_script *)context)->draining);
}

static void
count_done(weir_rpc_call *call, void *context)
{
    (void)call;
    tally_add(&((local_script *)context)->done);
}

static const weir_rpc_handler rows[] = {
    { .method = "UnaryCall",
        .request = answer_unary,
        .cancelled = count_cancelled,
        .done = count_done },
    { .method = "CacheableUnaryCall",
        .flags = WEIR_RPC_POOL,
        .request = answer_unary,
        .done = count_done },
    { .method = "StreamingOutputCall",
        .request = answer_stream,
        .writable = go_on,
        .cancelled = finish_cancelled,
        .draining = count_draining,
        .done = count_done },
};

/* ---- the caller ---- */

typedef struct local_answer {
    tally count;
    tally messages;
    weir_error error;
    char server_id[32];
    char request_id[64];
    char seen[32];
    char after[32];
    unsigned room; /* messages after which the receiver is full */
} local_answer;

static void
copy_value(const weir_rpc_metadata *items, size_t count, const char *key, char *out, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(items[i].key, key) == 0)
            snprintf(out, size, "%.*s", (int)items[i].value.size,
                (const char *)items[i].value.data);
}

static void
take_answer(const weir_rpc_answer *answer, void *context)
{
    local_answer *taken = context;

    taken->error = *answer->error;
    snprintf(taken->request_id, sizeof taken->request_id, "%s", answer->request_id);
    if (answer->response != NULL)
        snprintf(taken->server_id, sizeof taken->server_id, "%s",
            ((const simple_response *)(const void *)answer->response)->server_id);
    copy_value(answer->headers, answer->header_count, "x-seen", taken->seen, sizeof taken->seen);
    copy_value(answer->trailers, answer->trailer_count, "x-after", taken->after,
        sizeof taken->after);
    tally_add(&taken->count);
}

static bool
take_message(const ProtobufCMessage *message, void *context)
{
    local_answer *taken = context;

    assert_ptr_equal(message->descriptor,
        &grpc__testing__streaming_output_call_response__descriptor);
    tally_add(&taken->messages);
    return taken->room == 0 || tally_count(&taken->messages) % taken->room != 0;
}

typedef struct local_fixture {
    rpc_harness harness;
    local_script script;
    local_answer answer;
} local_fixture;

static int
set_up(void **state)
{
    local_fixture *fixture = weir_alloc_zero(1, sizeof *fixture);
    local_script *script = &fixture->script;
    tally *const all[] = { &script->entered, &script->cancelled, &script->writable,
        &script->draining, &script->done, &fixture->answer.count, &fixture->answer.messages };

    for (size_t i = 0; i < COUNT_OF(all); i++)
        tally_init(all[i]);
    harness_init(&fixture->harness);
    harness_server(&fixture->harness, NULL);
    harness_add(&fixture->harness, rows, COUNT_OF(rows), script);
    *state = fixture;
    return 0;
}

static int
tear_down(void **state)
{
    local_fixture *fixture = *state;

    harness_fini(&fixture->harness);
    weir_free(fixture);
    return 0;
}

static void
invoke_with(local_fixture *fixture, const char *method, int32_t response_size, uint32_t timeout_ms,
    const weir_rpc_metadata *metadata, size_t metadata_count, weir_rpc_call **ret_call)
{
    weir_arena *arena = weir_arena_create(0);
    const bool stream = strcmp(method, "StreamingOutputCall") == 0;
    simple_request *simple = weir_arena_alloc(arena, sizeof *simple);
    output_request *output = weir_arena_alloc(arena, sizeof *output);
    weir_rpc_invocation invocation = {
        .service = "grpc.testing.TestService",
        .method = method,
        .request = stream ? &output->base : &simple->base,
        .arena_p = &arena,
        .metadata = metadata,
        .metadata_count = metadata_count,
        .timeout_ms = timeout_ms,
        .done = take_answer,
        .message = take_message,
        .context = &fixture->answer,
    };

    grpc__testing__simple_request__init(simple);
    grpc__testing__streaming_output_call_request__init(output);
    simple->response_size = response_size;
    weir_rpc_server_invoke(fixture->harness.server, &invocation, ret_call);
    assert_null(arena);
}

static void
invoke(local_fixture *fixture, const char *method, int32_t response_size, uint32_t timeout_ms,
    weir_rpc_call **ret_call)
{
    invoke_with(fixture, method, response_size, timeout_ms, NULL, 0, ret_call);
}

/* ---- tests ---- */

static void
a_local_call_is_answered_with_message_headers_and_trailers(void **state)
{
    local_fixture *fixture = *state;
    const weir_rpc_metadata id = { "x-request-id", weir_bytes_str("abc-1") };

    invoke_with(fixture, "UnaryCall", 0, 0, &id, 1, NULL);
    tally_wait(&fixture->answer.count, 1);
    assert_int_equal(fixture->answer.error.code, WEIR_OK);
    assert_string_equal(fixture->answer.server_id, "here");
    assert_string_equal(fixture->answer.request_id, "abc-1");
    assert_string_equal(fixture->answer.seen, "yes");
    assert_string_equal(fixture->answer.after, "also");
    assert_int_equal(tally_count(&fixture->script.done), 1);
}

static void
a_local_call_may_run_on_the_pool(void **state)
{
    local_fixture *fixture = *state;

    invoke(fixture, "CacheableUnaryCall", 0, 0, NULL);
    tally_wait(&fixture->answer.count, 1);
    assert_int_equal(fixture->answer.error.code, WEIR_OK);
    assert_int_equal(strlen(fixture->answer.request_id), 36);
    tally_wait(&fixture->script.done, 1);
}

static void
a_handlers_failure_comes_back(void **state)
{
    local_fixture *fixture = *state;

    invoke(fixture, "UnaryCall", -1, 0, NULL);
    assert_int_equal(fixture->answer.error.code, WEIR_INVALID_ARGUMENT);
    assert_string_equal(fixture->answer.error.message, "a negative size");
}

static void
what_is_not_there_is_unimplemented(void **state)
{
    static const char *const methods[] = { "EmptyCall", "Nonesuch", "StreamingInputCall" };
    local_fixture *fixture = *state;

    for (unsigned i = 0; i < COUNT_OF(methods); i++) {
        invoke(fixture, methods[i], 0, 0, NULL);
        tally_wait(&fixture->answer.count, i + 1);
        assert_int_equal(fixture->answer.error.code, WEIR_UNIMPLEMENTED);
        assert_non_null(strstr(fixture->answer.error.message, methods[i]));
    }
}

static void
a_deadline_answers_although_the_handler_has_not_finished(void **state)
{
    local_fixture *fixture = *state;
    const simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;

    fixture->script.hand_over = true;
    invoke(fixture, "UnaryCall", 0, SHORT_MS, NULL);
    tally_wait(&fixture->answer.count, 1);
    assert_int_equal(fixture->answer.error.code, WEIR_TIMEOUT);
    tally_wait(&fixture->script.cancelled, 1);
    assert_true(weir_rpc_is_cancelled(atomic_load(&fixture->script.kept)));
    assert_int_equal(tally_count(&fixture->script.done), 0);
    weir_rpc_reply(atomic_load(&fixture->script.kept), &response.base);
    tally_wait(&fixture->script.done, 1);
    assert_int_equal(tally_count(&fixture->answer.count), 1);
}

static void
a_cancel_answers_at_once_and_once(void **state)
{
    local_fixture *fixture = *state;
    const simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    weir_rpc_call *call;

    fixture->script.hand_over = true;
    invoke(fixture, "UnaryCall", 0, 0, &call);
    weir_rpc_invocation_cancel(call);
    weir_rpc_invocation_cancel(call);
    assert_int_equal(tally_count(&fixture->answer.count), 1);
    assert_int_equal(fixture->answer.error.code, WEIR_CANCELLED);
    assert_int_equal(tally_count(&fixture->script.cancelled), 1);
    weir_rpc_reply(atomic_load(&fixture->script.kept), &response.base);
    assert_int_equal(tally_count(&fixture->answer.count), 1);
    weir_rpc_call_unref(call);
}

static void
a_cancel_after_the_answer_does_nothing(void **state)
{
    local_fixture *fixture = *state;
    weir_rpc_call *call;

    invoke(fixture, "UnaryCall", 0, 0, &call);
    weir_rpc_invocation_cancel(call);
    weir_rpc_invocation_writable(call);
    assert_int_equal(tally_count(&fixture->answer.count), 1);
    assert_int_equal(fixture->answer.error.code, WEIR_OK);
    weir_rpc_call_unref(call);
}

static void
a_stream_stops_when_its_receiver_is_full_and_goes_on_when_told(void **state)
{
    local_fixture *fixture = *state;
    weir_rpc_call *call;

    fixture->script.to_send = 10;
    fixture->answer.room = 4;
    invoke(fixture, "StreamingOutputCall", 0, 0, &call);
    assert_int_equal(tally_count(&fixture->answer.messages), 4);
    weir_rpc_invocation_writable(call);
    assert_int_equal(tally_count(&fixture->answer.messages), 8);
    assert_int_equal(tally_count(&fixture->answer.count), 0);
    weir_rpc_invocation_writable(call);
    assert_int_equal(tally_count(&fixture->answer.messages), 10);
    assert_int_equal(tally_count(&fixture->answer.count), 1);
    assert_int_equal(fixture->answer.error.code, WEIR_OK);
    assert_int_equal(tally_count(&fixture->script.writable), 2);
    weir_rpc_call_unref(call);
}

static void
a_stop_ends_local_streams_and_refuses_new_calls(void **state)
{
    local_fixture *fixture = *state;

    fixture->script.to_send = 1;
    fixture->script.hand_over = true;
    harness_start(&fixture->harness);
    invoke(fixture, "StreamingOutputCall", 0, 0, NULL);
    weir_rpc_server_stop(fixture->harness.server, 20);
    assert_int_equal(tally_count(&fixture->script.draining), 1);
    assert_int_equal(tally_count(&fixture->script.cancelled), 1);
    assert_int_equal(tally_count(&fixture->script.done), 1);
    assert_int_equal(fixture->answer.error.code, WEIR_DRAINING);
    invoke(fixture, "UnaryCall", 0, 0, NULL);
    tally_wait(&fixture->answer.count, 2);
    assert_int_equal(fixture->answer.error.code, WEIR_DRAINING);
    assert_int_equal(tally_count(&fixture->script.entered), 1);
}

static weir_code
want_key(weir_rpc_call *call, void *context, weir_error *reterr)
{
    weir_bytes value;

    (void)context;
    return weir_rpc_header(call, "authorization", &value)
        ? WEIR_OK
        : weir_error_set(reterr, WEIR_UNAUTHENTICATED, "no key from %s", weir_rpc_peer(call));
}

static void
local_calls_pass_the_interceptors(void **state)
{
    local_fixture *fixture = *state;
    const weir_rpc_metadata key = { "authorization", weir_bytes_str("Bearer a.b") };

    weir_rpc_server_intercept(fixture->harness.server, want_key, NULL);
    invoke(fixture, "UnaryCall", 0, 0, NULL);
    assert_int_equal(fixture->answer.error.code, WEIR_UNAUTHENTICATED);
    assert_string_equal(fixture->answer.error.message, "no key from local");
    invoke_with(fixture, "UnaryCall", 0, 0, &key, 1, NULL);
    assert_int_equal(fixture->answer.error.code, WEIR_OK);
}

static void
a_method_is_found_with_its_message_types_only_when_its_service_was_added(void **state)
{
    local_fixture *fixture = *state;
    const weir_rpc_method *method =
        weir_rpc_server_method(fixture->harness.server, "grpc.testing.TestService/EmptyCall");

    assert_non_null(method);
    assert_ptr_equal(method->input, &grpc__testing__empty__descriptor);
    assert_null(weir_rpc_server_method(fixture->harness.server,
        "/grpc.testing.UnimplementedService/UnimplementedCall"));
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_local_call_is_answered_with_message_headers_and_trailers),
        TEST(a_local_call_may_run_on_the_pool),
        TEST(a_handlers_failure_comes_back),
        TEST(what_is_not_there_is_unimplemented),
        TEST(a_deadline_answers_although_the_handler_has_not_finished),
        TEST(a_cancel_answers_at_once_and_once),
        TEST(a_cancel_after_the_answer_does_nothing),
        TEST(a_stream_stops_when_its_receiver_is_full_and_goes_on_when_told),
        TEST(a_stop_ends_local_streams_and_refuses_new_calls),
        TEST(local_calls_pass_the_interceptors),
        TEST(a_method_is_found_with_its_message_types_only_when_its_service_was_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
