/*
 * test_service.c - the handlers of grpc.testing.TestService.
 *
 * HalfDuplexCall and UnimplementedCall have no row: they answer UNIMPLEMENTED.
 */
#include "tests/interop/test_service.h"

#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "grpc/testing/test.pb-c.h"

typedef Grpc__Testing__Empty empty;
typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__SimpleResponse simple_response;
typedef Grpc__Testing__StreamingInputCallRequest input_request;
typedef Grpc__Testing__StreamingInputCallResponse input_response;
typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingOutputCallResponse output_response;

enum { PAYLOAD_BYTES_MAX = 8 << 20, GRPC_INVALID_ARGUMENT = 3 };

/* ---- what the calls share ---- */

static void
echo_metadata(weir_rpc_call *call)
{
    weir_bytes value;

    if (weir_rpc_header(call, "x-grpc-test-echo-initial", &value))
        weir_rpc_set_header(call, "x-grpc-test-echo-initial", value);
    if (weir_rpc_header(call, "x-grpc-test-echo-trailing-bin", &value))
        weir_rpc_set_trailer(call, "x-grpc-test-echo-trailing-bin", value);
}

static bool
fail_as_asked(weir_rpc_call *call, const Grpc__Testing__EchoStatus *status)
{
    if (status == NULL || status->code == 0)
        return false;
    weir_rpc_fail_raw(call, status->code, status->message, (weir_bytes){ 0 });
    return true;
}

static const char *
header_text(weir_rpc_call *call, const char *key)
{
    weir_bytes value;

    if (!weir_rpc_header(call, key, &value))
        return NULL;
    return weir_arena_strndup(weir_rpc_call_arena(call), (const char *)value.data, value.size);
}

static bool
fail_as_weir(weir_rpc_call *call)
{
    const char *reason = header_text(call, "x-weir-fail");
    const char *field = header_text(call, "x-weir-field");
    const char *retry_ms = header_text(call, "x-weir-retry-ms");
    weir_error error;

    if (reason == NULL)
        return false;
    weir_error_set_field(&error, weir_code_from_name(reason), field == NULL ? "" : field,
        "asked to fail with %s", reason);
    if (retry_ms != NULL)
        error.retry_after_ms = (uint32_t)strtoul(retry_ms, NULL, 10);
    weir_rpc_fail(call, &error);
    return true;
}

/* False: a size that no test asks for. */
static bool
make_payload(weir_arena *arena, int32_t size, Grpc__Testing__Payload *payload)
{
    if (size < 0 || size > PAYLOAD_BYTES_MAX)
        return false;
    grpc__testing__payload__init(payload);
    payload->body.len = (size_t)size;
    payload->body.data = weir_arena_alloc_zero(arena, (size_t)size + 1);
    return true;
}

/* ---- unary ---- */

static weir_code
empty_call(void *self, weir_rpc_call *call, const empty *request, empty *response,
    weir_arena *arena, weir_error *reterr)
{
    (void)self;
    (void)call;
    (void)request;
    (void)response;
    (void)arena;
    (void)reterr;
    return WEIR_OK;
}
WEIR_RPC_UNARY(empty_call, void, empty, empty, grpc__testing__empty__init)

static void
unary_call(void *self, weir_rpc_call *call, const simple_request *request)
{
    simple_response response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;

    (void)self;
    echo_metadata(call);
    if (fail_as_weir(call) || fail_as_asked(call, request->response_status))
        return;
    if (!make_payload(weir_rpc_call_arena(call), request->response_size, &payload)) {
        weir_rpc_fail_with(call, WEIR_INVALID_ARGUMENT, "response_size is out of range");
        return;
    }
    response.payload = &payload;
    weir_rpc_reply(call, &response.base);
}
WEIR_RPC_REQUEST(unary_call, void, simple_request)

/* ---- server streaming: as much as fits, the rest when there is room ---- */

typedef struct output_state {
    const output_request *request;
    size_t next;
} output_state;

static weir_rpc_sent
send_output(weir_rpc_call *call, const Grpc__Testing__ResponseParameters *parameters)
{
    weir_arena *arena = weir_arena_create(0);
    output_response response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    Grpc__Testing__Payload payload;
    weir_rpc_sent sent = WEIR_RPC_GONE;

    if (parameters->interval_us > 0)
        weir_clock_sleep_ms((uint32_t)(parameters->interval_us + 999) / 1000);
    if (make_payload(arena, parameters->size, &payload)) {
        response.payload = &payload;
        sent = weir_rpc_send(call, &response.base);
    }
    weir_arena_destroy(&arena);
    return sent;
}

static void
go_on(weir_rpc_call *call, void *context)
{
    output_state *output = weir_rpc_call_state(call);

    (void)context;
    while (output->next < output->request->n_response_parameters) {
        const weir_rpc_sent sent =
            send_output(call, output->request->response_parameters[output->next++]);

        if (sent == WEIR_RPC_FULL)
            return; /* until `writable` */
        if (sent == WEIR_RPC_GONE)
            break;
    }
    if (!fail_as_asked(call, output->request->response_status))
        weir_rpc_finish(call);
}

static void
streaming_output(void *self, weir_rpc_call *call, const output_request *request)
{
    output_state *output = weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof *output);

    (void)self;
    echo_metadata(call);
    output->request = request;
    weir_rpc_call_set_state(call, output);
    go_on(call, NULL);
}
WEIR_RPC_REQUEST(streaming_output, void, output_request)

static void
end_stream(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_finish(call);
}

/* ---- client streaming ---- */

static void
open_input(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_call_set_state(call, weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof(size_t)));
}

static weir_rpc_flow
add_input(void *self, weir_rpc_call *call, const input_request *message)
{
    size_t *total = weir_rpc_call_state(call);

    (void)self;
    if (message->payload != NULL)
        *total += message->payload->body.len;
    return WEIR_RPC_MORE;
}
WEIR_RPC_MESSAGE(add_input, void, input_request)

static void
answer_input(weir_rpc_call *call, void *context)
{
    const size_t *total = weir_rpc_call_state(call);
    input_response response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;

    (void)context;
    response.aggregated_payload_size = (int32_t)*total;
    weir_rpc_reply(call, &response.base);
}

static void
give_up(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_fail_with(call, WEIR_CANCELLED, "the client went away");
}

/* ---- both ways ---- */

static void
open_duplex(weir_rpc_call *call, void *context)
{
    (void)context;
    echo_metadata(call);
}

static weir_rpc_flow
answer_each(void *self, weir_rpc_call *call, const output_request *message)
{
    bool full = false;

    (void)self;
    if (fail_as_asked(call, message->response_status))
        return WEIR_RPC_MORE;
    for (size_t i = 0; i < message->n_response_parameters; i++)
        full = send_output(call, message->response_parameters[i]) == WEIR_RPC_FULL;
    return full ? WEIR_RPC_HOLD : WEIR_RPC_MORE;
}
WEIR_RPC_MESSAGE(answer_each, void, output_request)

static void
read_on(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_resume(call);
}

static const weir_rpc_handler handlers[] = {
    { .method = "EmptyCall", .request = empty_call_rpc },
    { .method = "UnaryCall", .flags = WEIR_RPC_POOL, .request = unary_call_rpc },
    { .method = "CacheableUnaryCall", .request = unary_call_rpc },
    { .method = "StreamingOutputCall",
        .flags = WEIR_RPC_POOL,
        .request = streaming_output_rpc,
        .writable = go_on,
        .cancelled = end_stream },
    { .method = "StreamingInputCall",
        .open = open_input,
        .message = add_input_rpc,
        .half_closed = answer_input,
        .cancelled = give_up },
    { .method = "FullDuplexCall",
        .flags = WEIR_RPC_POOL,
        .open = open_duplex,
        .message = answer_each_rpc,
        .half_closed = end_stream,
        .writable = read_on,
        .cancelled = end_stream },
};

weir_code
interop_service_add(weir_rpc_server *server, weir_error *reterr)
{
    return weir_rpc_server_add(server, &grpc__testing__test_service__descriptor, handlers,
        sizeof handlers / sizeof handlers[0], NULL, reterr);
}
