/*
 * conformance_server.c - the server under test of the Connect conformance runner, gRPC over h2c:
 *
 *   connectconformance --conf grpc.yaml --mode server -- rpc-conformance-server
 *
 * Reads one ServerCompatRequest from standard input, answers the port on standard output, and
 * serves ConformanceService as its definition says until SIGTERM: requests, headers and timeout are
 * echoed.
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/descriptors.h"
#include "common/wire/wire.h"
#include "connectrpc/conformance/v1/conformance.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "tests/interop/test_service.h"

#define NAMED(name_) Connectrpc__Conformance__V1__##name_

typedef NAMED(Header) wire_header;
typedef NAMED(Error) wire_failure;
typedef NAMED(ConformancePayload) wire_payload;
typedef NAMED(ConformancePayload__RequestInfo) request_info;
typedef NAMED(UnaryResponseDefinition) unary_definition;
typedef NAMED(StreamResponseDefinition) stream_definition;

enum { REQUESTS_MAX = 64, HEADERS_MAX = 128, VALUE_BYTES_MAX = 4096 };

/* ---- metadata: binary values are base64 in the protos ---- */

static bool
is_binary(const char *name)
{
    const size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, "-bin") == 0;
}

static char *
value_text(weir_arena *arena, const char *name, weir_bytes value)
{
    char *text;
    int size;

    if (!is_binary(name))
        return weir_arena_strndup(arena, (const char *)value.data, value.size);
    text = weir_arena_alloc(arena, value.size * 2 + 8);
    size = EVP_EncodeBlock((unsigned char *)text, value.data, (int)value.size);
    while (size > 0 && text[size - 1] == '=')
        text[--size] = '\0';
    return text;
}

static weir_bytes
value_bytes(weir_arena *arena, const char *name, const char *text)
{
    const size_t size = strlen(text);
    const size_t padded = (size + 3) / 4 * 4;
    char *copy;
    uint8_t *bytes;
    int decoded;

    if (!is_binary(name))
        return weir_bytes_str(text);
    copy = weir_arena_alloc(arena, padded + 1);
    memset(copy, '=', padded);
    memcpy(copy, text, size);
    bytes = weir_arena_alloc(arena, padded + 1);
    decoded = EVP_DecodeBlock(bytes, (unsigned char *)copy, (int)padded);
    return weir_bytes_of(bytes, decoded < 0 ? 0 : (size_t)decoded - (padded - size));
}

typedef void (*metadata_setter)(weir_rpc_call *call, const char *key, weir_bytes value);

static void
set_all(weir_rpc_call *call, metadata_setter set, wire_header *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < headers[i]->n_value; j++)
            set(call, headers[i]->name,
                value_bytes(weir_rpc_call_arena(call), headers[i]->name, headers[i]->value[j]));
}

static wire_header *
find_header(request_info *info, const char *name)
{
    for (size_t i = 0; i < info->n_request_headers; i++)
        if (strcmp(info->request_headers[i]->name, name) == 0)
            return info->request_headers[i];
    return NULL;
}

static void
add_header(weir_arena *arena, request_info *info, const char *name, weir_bytes value)
{
    wire_header *header = find_header(info, name);

    if (header == NULL && info->n_request_headers < HEADERS_MAX) {
        header = weir_arena_alloc(arena, sizeof *header);
        connectrpc__conformance__v1__header__init(header);
        header->name = weir_arena_strdup(arena, name);
        header->value = weir_arena_alloc(arena, HEADERS_MAX * sizeof header->value[0]);
        info->request_headers[info->n_request_headers++] = header;
    }
    if (header != NULL && header->n_value < HEADERS_MAX)
        header->value[header->n_value++] = value_text(arena, name, value);
}

/* ---- what was received ---- */

static Google__Protobuf__Any *
any_of(weir_arena *arena, const ProtobufCMessage *message)
{
    Google__Protobuf__Any *any = weir_arena_alloc(arena, sizeof *any);
    weir_buffer packed = { 0 };

    google__protobuf__any__init(any);
    weir_wire_encode(message, &packed);
    any->type_url = weir_arena_printf(arena, "type.googleapis.com/%s", message->descriptor->name);
    any->value.len = packed.size;
    any->value.data = weir_arena_memdup(arena, packed.data, packed.size);
    weir_buffer_fini(&packed);
    return any;
}

/* Headers and timeout of the call; requests are added by their handlers. */
static request_info *
new_info(weir_rpc_call *call)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    request_info *info = weir_arena_alloc(arena, sizeof *info);
    weir_bytes key;
    weir_bytes value;

    connectrpc__conformance__v1__conformance_payload__request_info__init(info);
    info->request_headers = weir_arena_alloc(arena, HEADERS_MAX * sizeof(wire_header *));
    info->requests = weir_arena_alloc(arena, REQUESTS_MAX * sizeof(Google__Protobuf__Any *));
    for (size_t i = 0; weir_rpc_header_at(call, i, &key, &value); i++)
        add_header(arena, info, weir_arena_strndup(arena, (const char *)key.data, key.size), value);
    if (weir_rpc_ms_left(call) != INT64_MAX) {
        info->timeout_case =
            CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__REQUEST_INFO__TIMEOUT_TIMEOUT_MS;
        info->timeout_ms = weir_rpc_ms_left(call);
    }
    return info;
}

static void
add_request(weir_rpc_call *call, request_info *info, const ProtobufCMessage *request)
{
    if (info->n_requests < REQUESTS_MAX)
        info->requests[info->n_requests++] = any_of(weir_rpc_call_arena(call), request);
}

/* ---- failing as told ---- */

static void
fail(weir_rpc_call *call, const wire_failure *failure, const request_info *info)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any *details[REQUESTS_MAX];
    weir_buffer packed = { 0 };

    status.code = failure->code;
    status.message = failure->message;
    for (size_t i = 0; i < failure->n_details && i + 1 < REQUESTS_MAX; i++)
        details[status.n_details++] = failure->details[i];
    if (info != NULL)
        details[status.n_details++] = any_of(arena, &info->base);
    status.details = details;
    weir_wire_encode(&status.base, &packed);
    weir_rpc_fail_raw(call, failure->code, failure->message, weir_buffer_view(&packed));
    weir_buffer_fini(&packed);
}

/* ---- unary and client streaming ---- */

static void
answer_once(weir_rpc_call *call, const unary_definition *definition, request_info *info,
    ProtobufCMessage *response, wire_payload **payload_p)
{
    wire_payload payload = CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__INIT;
    const wire_failure *failure = NULL;

    payload.request_info = info;
    *payload_p = &payload;
    if (definition != NULL) {
        set_all(call, weir_rpc_set_header, definition->response_headers,
            definition->n_response_headers);
        set_all(call, weir_rpc_set_trailer, definition->response_trailers,
            definition->n_response_trailers);
        weir_clock_sleep_ms(definition->response_delay_ms);
        if (definition->response_case ==
            CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_RESPONSE_DATA)
            payload.data = definition->response_data;
        if (definition->response_case ==
            CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_ERROR)
            failure = definition->error;
    }
    if (failure != NULL)
        fail(call, failure, info);
    else
        weir_rpc_reply(call, response);
}

static void
unary(void *self, weir_rpc_call *call, const NAMED(UnaryRequest) * request)
{
    NAMED(UnaryResponse) response = CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE__INIT;
    request_info *info = new_info(call);

    (void)self;
    add_request(call, info, &request->base);
    answer_once(call, request->response_definition, info, &response.base, &response.payload);
}
WEIR_RPC_REQUEST(unary, void, NAMED(UnaryRequest))

static void
idempotent(void *self, weir_rpc_call *call, const NAMED(IdempotentUnaryRequest) * request)
{
    NAMED(IdempotentUnaryResponse)
    response = CONNECTRPC__CONFORMANCE__V1__IDEMPOTENT_UNARY_RESPONSE__INIT;
    request_info *info = new_info(call);

    (void)self;
    add_request(call, info, &request->base);
    answer_once(call, request->response_definition, info, &response.base, &response.payload);
}
WEIR_RPC_REQUEST(idempotent, void, NAMED(IdempotentUnaryRequest))

/* What a stream has received and sent so far; in the call's arena, but for the first message. */
typedef struct stream_state {
    request_info *info;
    weir_arena *first_arena;
    const ProtobufCMessage *first;
    const stream_definition *definition;
    size_t sent;
} stream_state;

static void
open_stream(weir_rpc_call *call, void *context)
{
    stream_state *state = weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof *state);

    (void)context;
    state->info = new_info(call);
    weir_rpc_call_set_state(call, state);
}

static void
take_request(weir_rpc_call *call, stream_state *state, const ProtobufCMessage *message)
{
    add_request(call, state->info, message);
    if (state->first == NULL) {
        state->first = message;
        state->first_arena = weir_rpc_take_message(call);
    }
}

static void
free_stream(weir_rpc_call *call, void *context)
{
    stream_state *state = weir_rpc_call_state(call);

    (void)context;
    weir_arena_destroy(&state->first_arena);
}

static weir_rpc_flow
client_stream_message(weir_rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)context;
    take_request(call, weir_rpc_call_state(call), message);
    return WEIR_RPC_MORE;
}

static void
client_stream_end(weir_rpc_call *call, void *context)
{
    stream_state *state = weir_rpc_call_state(call);
    const NAMED(ClientStreamRequest) *first = (const void *)state->first;
    NAMED(ClientStreamResponse)
    response = CONNECTRPC__CONFORMANCE__V1__CLIENT_STREAM_RESPONSE__INIT;

    (void)context;
    answer_once(call, first == NULL ? NULL : first->response_definition, state->info,
        &response.base, &response.payload);
}

/* ---- server streaming and both ways ---- */

static void
begin_answers(weir_rpc_call *call, const stream_definition *definition)
{
    if (definition == NULL)
        return;
    set_all(call, weir_rpc_set_header, definition->response_headers,
        definition->n_response_headers);
    set_all(call, weir_rpc_set_trailer, definition->response_trailers,
        definition->n_response_trailers);
    if (definition->n_response_data > 0)
        weir_rpc_send_headers(call);
}

static bool
has_more(const stream_state *state)
{
    return state->definition != NULL && state->sent < state->definition->n_response_data;
}

/* The next answer; `info` is what it echoes, or NULL. */
static void
send_next(weir_rpc_call *call, stream_state *state, request_info *info)
{
    NAMED(ServerStreamResponse) down = CONNECTRPC__CONFORMANCE__V1__SERVER_STREAM_RESPONSE__INIT;
    NAMED(BidiStreamResponse) both = CONNECTRPC__CONFORMANCE__V1__BIDI_STREAM_RESPONSE__INIT;
    wire_payload payload = CONNECTRPC__CONFORMANCE__V1__CONFORMANCE_PAYLOAD__INIT;
    const bool is_bidi = weir_rpc_call_method(call)->client_streams;

    payload.data = state->definition->response_data[state->sent++];
    payload.request_info = info;
    down.payload = &payload;
    both.payload = &payload;
    weir_clock_sleep_ms(state->definition->response_delay_ms);
    weir_rpc_send(call, is_bidi ? &both.base : &down.base);
}

static void
end_answers(weir_rpc_call *call, stream_state *state)
{
    const wire_failure *failure = state->definition == NULL ? NULL : state->definition->error;

    if (failure != NULL)
        fail(call, failure, state->sent == 0 ? state->info : NULL);
    else
        weir_rpc_finish(call);
}

static void
server_stream(void *self, weir_rpc_call *call, const NAMED(ServerStreamRequest) * request)
{
    stream_state *state;

    open_stream(call, self);
    state = weir_rpc_call_state(call);
    state->definition = request->response_definition;
    add_request(call, state->info, &request->base);
    begin_answers(call, state->definition);
    while (has_more(state))
        send_next(call, state, state->sent == 0 ? state->info : NULL);
    end_answers(call, state);
}
WEIR_RPC_REQUEST(server_stream, void, NAMED(ServerStreamRequest))

/* In turn: one answer for each message, which echoes what came since the last. */
static weir_rpc_flow
answer_in_turn(weir_rpc_call *call, stream_state *state)
{
    request_info *last = weir_arena_alloc(weir_rpc_call_arena(call), sizeof *last);

    if (!has_more(state)) {
        end_answers(call, state);
        return WEIR_RPC_MORE;
    }
    connectrpc__conformance__v1__conformance_payload__request_info__init(last);
    last->requests = state->info->requests;
    last->n_requests = state->info->n_requests;
    send_next(call, state, state->sent == 0 ? state->info : last);
    state->info->n_requests = 0;
    return WEIR_RPC_MORE;
}

static weir_rpc_flow
bidi_message(weir_rpc_call *call, const ProtobufCMessage *message, void *context)
{
    stream_state *state = weir_rpc_call_state(call);
    const bool is_first = state->first == NULL;
    const NAMED(BidiStreamRequest) * first;

    (void)context;
    take_request(call, state, message);
    first = (const void *)state->first;
    if (is_first) {
        state->definition = first->response_definition;
        begin_answers(call, state->definition);
    }
    return first->full_duplex ? answer_in_turn(call, state) : WEIR_RPC_MORE;
}

static void
bidi_end(weir_rpc_call *call, void *context)
{
    stream_state *state = weir_rpc_call_state(call);

    (void)context;
    while (has_more(state))
        send_next(call, state, state->sent == 0 ? state->info : NULL);
    end_answers(call, state);
}

static void
give_up(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_fail_with(call, WEIR_CANCELLED, "the client went away");
}

static const weir_rpc_handler handlers[] = {
    { .method = "Unary", .flags = WEIR_RPC_POOL, .request = unary_rpc },
    { .method = "IdempotentUnary", .flags = WEIR_RPC_POOL, .request = idempotent_rpc },
    { .method = "ServerStream",
        .flags = WEIR_RPC_POOL,
        .request = server_stream_rpc,
        .done = free_stream },
    { .method = "ClientStream",
        .flags = WEIR_RPC_POOL,
        .open = open_stream,
        .message = client_stream_message,
        .half_closed = client_stream_end,
        .cancelled = give_up,
        .done = free_stream },
    { .method = "BidiStream",
        .flags = WEIR_RPC_POOL,
        .open = open_stream,
        .message = bidi_message,
        .half_closed = bidi_end,
        .cancelled = give_up,
        .done = free_stream },
};

/* ---- the runner's protocol ---- */

static bool
read_all(int fd, uint8_t *out, size_t size)
{
    while (size > 0) {
        const ssize_t got = read(fd, out, size);

        if (got <= 0)
            return false;
        out += got;
        size -= (size_t)got;
    }
    return true;
}

static bool
read_start(void)
{
    uint8_t head[4];
    uint8_t body[1 << 16];
    uint32_t size;

    if (!read_all(STDIN_FILENO, head, sizeof head))
        return false;
    size = weir_load_u32(head);
    return size <= sizeof body && read_all(STDIN_FILENO, body, size);
}

static void
write_port(int port)
{
    NAMED(ServerCompatResponse)
    response = CONNECTRPC__CONFORMANCE__V1__SERVER_COMPAT_RESPONSE__INIT;
    weir_buffer packed = { 0 };
    weir_buffer out = { 0 };
    char host[] = "127.0.0.1";

    response.host = host;
    response.port = (uint32_t)port;
    weir_wire_encode(&response.base, &packed);
    weir_buffer_append_u32(&out, (uint32_t)packed.size);
    weir_buffer_append(&out, packed.data, packed.size);
    weir_assert(write(STDOUT_FILENO, out.data, out.size) == (ssize_t)out.size);
    weir_buffer_fini(&packed);
    weir_buffer_fini(&out);
}

static weir_code
serve(weir_rpc_runtime *runtime, weir_rpc_descriptors *descriptors, const sigset_t *signals,
    weir_error *reterr)
{
    static const char *const address = "127.0.0.1:0";
    const weir_rpc_server_options options = { .descriptors = descriptors,
        .addresses = &address,
        .address_count = 1,
        .workers = 16,
        .metadata_bytes_max = 64 << 10 };
    weir_rpc_server *server = NULL;
    weir_code code = weir_rpc_server_create(runtime, &options, &server, reterr);
    int signal_number;

    if (code == WEIR_OK)
        code = weir_rpc_server_add(server,
            &connectrpc__conformance__v1__conformance_service__descriptor, handlers,
            sizeof handlers / sizeof handlers[0], NULL, reterr);
    if (code == WEIR_OK)
        code = weir_rpc_server_start(server, reterr);
    if (code == WEIR_OK) {
        write_port(weir_rpc_server_port(server, 0));
        sigwait(signals, &signal_number);
        weir_rpc_server_stop(server, 1000);
    }
    weir_rpc_server_destroy(&server);
    return code;
}

int
main(void)
{
    weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
    weir_rpc_runtime *runtime;
    weir_error error;
    weir_code code;
    sigset_t signals;

    weir_log_init("rpc-conformance-server", true, WEIR_LOG_INFO);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (!read_start())
        return 2;
    runtime = weir_rpc_runtime_create(0);
    code = weir_rpc_descriptors_add(descriptors, interop_descriptor_set(), &error);
    if (code == WEIR_OK)
        code = weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error);
    if (code == WEIR_OK)
        code = serve(runtime, descriptors, &signals, &error);
    if (code != WEIR_OK)
        fprintf(stderr, "%s: %s\n", weir_code_name(error.code), error.message);
    weir_rpc_runtime_destroy(&runtime);
    weir_rpc_descriptors_destroy(&descriptors);
    return code == WEIR_OK ? 0 : 1;
}
