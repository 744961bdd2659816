/*
 * call.c - the life of one call on the server: from its first event to its last.
 *
 * A handler finishes its call exactly once, even when it was cancelled; the layer may decide the
 * status before (a malformed message, a cancelled client), but the handler still owes its finish.
 * `done` comes when the handler has finished, no batch is with the core and no callback runs. Every
 * decision is taken under the call's lock; every callback runs without it.
 */
#include <stdarg.h>

#include "common/base/id.h"
#include "common/base/random.h"
#include "common/rpc/internal.h"

/* ---- memory ---- */

static void write_fire(wr_event *event, bool ok);
static void close_fire(wr_event *event, bool ok);

static void
link_call(weir_rpc_server *server, weir_rpc_call *call)
{
    call->next = server->calls;
    call->prev_p = &server->calls;
    if (call->next != NULL)
        call->next->prev_p = &call->next;
    server->calls = call;
    call->listed = true;
}

static void
unlink_call(weir_rpc_server *server, weir_rpc_call *call)
{
    if (!call->listed)
        return;
    pthread_mutex_lock(&server->lock);
    *call->prev_p = call->next;
    if (call->next != NULL)
        call->next->prev_p = call->prev_p;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

weir_rpc_call *
wr_call_create(weir_rpc_server *server, const wr_row *row, const char *path)
{
    weir_rpc_call *call = weir_alloc_zero(1, sizeof *call);

    pthread_mutex_init(&call->lock, NULL);
    atomic_init(&call->refs, 1);
    atomic_init(&call->gone, false);
    call->server = server;
    call->row = row;
    call->arena = weir_arena_create(0);
    if (row == NULL)
        call->unknown.path = weir_arena_strdup(call->arena, path);
    call->deadline_ms = INT64_MAX;
    call->started_us = weir_clock_mono_us();
    call->pending = 2;
    call->owned = true;
    call->write_event.fire = write_fire;
    call->read_event.fire = wr_call_read_fire;
    call->close_event.fire = close_fire;
    grpc_metadata_array_init(&call->request_headers);
    wr_outbox_init(&call->outbox);
    return call;
}

bool
wr_call_publish(weir_rpc_call *call)
{
    weir_rpc_server *server = call->server;
    bool open;

    pthread_mutex_lock(&server->lock);
    open = server->phase < WR_STOPPING || (call->core != NULL && server->phase < WR_STOPPED);
    if (open)
        link_call(server, call);
    pthread_mutex_unlock(&server->lock);
    return open;
}

void
wr_call_discard(weir_rpc_call *call)
{
    call->pending = 0;
    weir_rpc_call_unref(call);
}

/* A local call's request headers are our copies; a remote one's belong to the core's call. */
static void
free_headers(weir_rpc_call *call)
{
    if (call->core == NULL)
        for (size_t i = 0; i < call->request_headers.count; i++) {
            grpc_slice_unref(call->request_headers.metadata[i].key);
            grpc_slice_unref(call->request_headers.metadata[i].value);
        }
    grpc_metadata_array_destroy(&call->request_headers);
}

static void
free_call(weir_rpc_call *call)
{
    weir_assert(call->pending == 0);
    if (call->principal_release != NULL)
        call->principal_release(call->principal);
    wr_outbox_drop(&call->outbox);
    wr_pairs_fini(&call->headers);
    wr_pairs_fini(&call->trailers);
    free_headers(call);
    if (call->payload != NULL)
        grpc_byte_buffer_destroy(call->payload);
    if (call->core != NULL)
        grpc_call_unref(call->core);
    unlink_call(call->server, call); /* the server may go now */
    weir_arena_destroy(&call->message_arena);
    weir_arena_destroy(&call->arena);
    weir_free(call->peer);
    weir_free(call->raw_message);
    pthread_mutex_destroy(&call->lock);
    weir_free(call);
}

void
weir_rpc_call_ref(weir_rpc_call *call)
{
    weir_assert(atomic_fetch_add(&call->refs, 1) > 0);
}

bool
wr_call_try_ref(weir_rpc_call *call)
{
    int refs = atomic_load(&call->refs);

    while (refs > 0)
        if (atomic_compare_exchange_weak(&call->refs, &refs, refs + 1))
            return true;
    return false;
}

void
weir_rpc_call_unref(weir_rpc_call *call)
{
    if (call != NULL && atomic_fetch_sub(&call->refs, 1) == 1)
        free_call(call);
}

/* ---- the end ---- */

static const weir_error *
final_error(weir_rpc_call *call)
{
    if (!call->decided || (call->no_request && call->close_flag != 0)) {
        const bool late = weir_rpc_ms_left(call) == 0;

        weir_error_set(&call->error, late ? WEIR_TIMEOUT : WEIR_CANCELLED,
            late ? "the deadline passed" : "the client went away");
    }
    return &call->error;
}

static void
observe(weir_rpc_call *call)
{
    const weir_rpc_server *server = call->server;
    const weir_error *error = final_error(call);

    if (server->observer == NULL)
        return;

    const weir_rpc_call_stats stats = {
        .path = call->row == NULL ? "unknown" : call->row->method->path,
        .code = error->code,
        .grpc_status = call->raw ? call->raw_status : weir_code_grpc_status(error->code),
        .duration_us = weir_clock_mono_us() - call->started_us,
        .received_bytes = call->received_bytes,
        .sent_bytes = call->sent_bytes,
        .received_messages = call->received_messages,
        .sent_messages = call->sent_messages,
        .request_id = call->request_id,
        .peer = weir_rpc_peer(call),
        .principal = call->principal,
        .message = error->code == WEIR_OK ? "" : error->message,
        .local = call->core == NULL,
    };

    server->observer(&stats, server->observer_context);
}

static void
complete(weir_rpc_call *call)
{
    const weir_rpc_handler *handler = call->row == NULL ? NULL : call->row->handler;

    if (call->handler_started && handler->done != NULL)
        handler->done(call, call->row->service->context);
    observe(call);
    weir_rpc_call_unref(call);
}

void
wr_call_hold(weir_rpc_call *call)
{
    weir_assert(call->pending > 0);
    call->pending++;
}

void
wr_call_release(weir_rpc_call *call)
{
    bool last;

    weir_assert(call->pending > 0);
    call->pending--;
    last = call->pending == 0;
    pthread_mutex_unlock(&call->lock);
    if (last)
        complete(call);
}

/* ---- callbacks that wait for their turn ---- */

typedef void (*plain_callback)(weir_rpc_call *call, void *context);

/* The next callback that is due, or NULL with *ret_any false.  A row without that callback gives
 * NULL and true. */
static plain_callback
next_due(weir_rpc_call *call, bool *ret_any)
{
    const weir_rpc_handler *handler = call->row->handler;

    *ret_any = true;
    if (call->cancel_due && !call->cancel_told) {
        call->cancel_told = true;
        return handler->cancelled;
    }
    if (call->draining_due) {
        call->draining_due = false;
        return handler->draining;
    }
    if (call->writable_due) {
        call->writable_due = false;
        return call->decided || call->cancelled ? NULL : handler->writable;
    }
    *ret_any = false;
    return NULL;
}

void
wr_call_deliver(weir_rpc_call *call)
{
    if (!call->handler_started || call->entering || call->delivering)
        return;
    call->delivering = true;
    for (bool any = true; call->owned;) {
        const plain_callback callback = next_due(call, &any);

        if (!any)
            break;
        if (callback == NULL)
            continue;
        pthread_mutex_unlock(&call->lock);
        callback(call, call->row->service->context);
        pthread_mutex_lock(&call->lock);
    }
    call->delivering = false;
}

bool
wr_call_enter(weir_rpc_call *call)
{
    bool wanted;

    pthread_mutex_lock(&call->lock);
    wanted = !call->cancelled && !call->decided;
    if (wanted) {
        call->handler_started = true;
        call->entering = true;
    }
    pthread_mutex_unlock(&call->lock);
    return wanted;
}

void
wr_call_leave(weir_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->entering = false;
    wr_call_deliver(call);
    pthread_mutex_unlock(&call->lock);
}

/* ---- sending; all under the lock ---- */

static void
start_close(weir_rpc_call *call)
{
    const grpc_op op = {
        .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
        .data.recv_close_on_server.cancelled = &call->close_flag,
    };

    if (call->core == NULL || call->close_started)
        return;
    call->close_started = true;
    wr_call_hold(call);
    wr_start_batch(call->core, &op, 1, &call->close_event);
}

static grpc_op
initial_op(weir_rpc_call *call)
{
    call->initial_sent = true;
    return (grpc_op){
        .op = GRPC_OP_SEND_INITIAL_METADATA,
        .data.send_initial_metadata = { .count = call->headers.count,
            .metadata = call->headers.items },
    };
}

/* Beside the headers never with the hint: the core then writes neither until something else is to
 * be written on the connection. */
static grpc_op
message_op(weir_rpc_call *call, bool with_headers)
{
    return (grpc_op){
        .op = GRPC_OP_SEND_MESSAGE,
        .flags = call->outbox.head != NULL && !with_headers ? GRPC_WRITE_BUFFER_HINT : 0,
        .data.send_message.send_message = call->sending->buffer,
    };
}

static void
add_details(weir_rpc_call *call)
{
    weir_buffer details = { 0 };
    const uint32_t retry_ms = wr_status_retry_ms(&call->error);
    char number[16];

    weir_rpc_status_encode(&call->error, call->request_id, &details);
    wr_pairs_add(&call->trailers, "grpc-status-details-bin", weir_buffer_view(&details));
    weir_buffer_fini(&details);
    if (retry_ms == 0)
        return;
    snprintf(number, sizeof number, "%u", retry_ms);
    wr_pairs_add(&call->trailers, "grpc-retry-pushback-ms", weir_bytes_str(number));
}

static grpc_op
status_op(weir_rpc_call *call, grpc_slice *text)
{
    const int status = call->raw ? call->raw_status : weir_code_grpc_status(call->error.code);

    if (status != 0 && !call->raw)
        add_details(call);
    *text = grpc_slice_from_copied_string(status == 0
            ? ""
            : (call->raw ? call->raw_message : call->error.message));
    call->status_sent = true;
    return (grpc_op){
        .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
        .data.send_status_from_server = { .trailing_metadata_count = call->trailers.count,
            .trailing_metadata = call->trailers.items,
            .status = (grpc_status_code)status,
            .status_details = status == 0 ? NULL : text },
    };
}

/*
 * Send what can be sent: one batch in flight.  The last message and the status share a batch, and
 * take the wait for the close along when it was not started yet: a unary call that answers at once
 * costs two events, not three.
 */
static void
pump(weir_rpc_call *call)
{
    grpc_op ops[4];
    size_t count = 0;
    grpc_slice text = grpc_empty_slice();

    if (call->core == NULL || call->writing || call->send_held || call->status_sent ||
        call->cancelled)
        return;
    call->sending = wr_outbox_take(&call->outbox);
    if (call->sending == NULL && !call->decided && !(call->initial_due && !call->initial_sent))
        return;

    const bool with_headers = !call->initial_sent;

    if (with_headers)
        ops[count++] = initial_op(call);
    if (call->sending != NULL)
        ops[count++] = message_op(call, with_headers);
    if (call->decided && call->outbox.head == NULL) {
        ops[count++] = status_op(call, &text);
        if (!call->close_started) {
            call->close_started = true;
            ops[count++] = (grpc_op){
                .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                .data.recv_close_on_server.cancelled = &call->close_flag,
            };
        }
    }
    call->writing = true;
    wr_call_hold(call);
    wr_start_batch(call->core, ops, count, &call->write_event);
    grpc_slice_unref(text);
}

static void
write_fire(wr_event *event, bool ok)
{
    weir_rpc_call *call = WR_OF(event, weir_rpc_call, write_event);

    pthread_mutex_lock(&call->lock);
    call->writing = false;
    wr_outgoing_free(call->sending);
    call->sending = NULL;
    if (!ok) { /* the client is gone; the close event says so too */
        atomic_store(&call->gone, true);
        wr_outbox_drop(&call->outbox);
    }
    if (call->outbox.told_full && call->outbox.bytes <= WR_SEND_QUEUE_MARK / 2) {
        call->outbox.told_full = false;
        call->writable_due = true;
    }
    pump(call);
    wr_call_deliver(call);
    wr_call_release(call);
}

static void
close_fire(wr_event *event, bool ok)
{
    weir_rpc_call *call = WR_OF(event, weir_rpc_call, close_event);

    (void)ok;
    pthread_mutex_lock(&call->lock);
    if (call->close_flag != 0) {
        call->cancelled = true;
        call->cancel_due = true;
        atomic_store(&call->gone, true);
        wr_outbox_drop(&call->outbox);
        wr_call_deliver(call);
    }
    wr_call_release(call);
}

/* ---- finishing ---- */

/* Once: what the call ends with.  False: that was decided before. */
static bool
decide(weir_rpc_call *call, const weir_error *error)
{
    if (call->decided || call->cancelled)
        return false;
    call->decided = true;
    call->error = *error;
    return true;
}

/* The handler's one finish.  Takes `buffer`, the packed response, which may be NULL. */
static void
finish(weir_rpc_call *call, const weir_error *error, const ProtobufCMessage *response,
    grpc_byte_buffer *buffer)
{
    bool first;

    pthread_mutex_lock(&call->lock);
    if (!call->owned) {
        pthread_mutex_unlock(&call->lock);
        if (buffer != NULL)
            grpc_byte_buffer_destroy(buffer);
        return;
    }
    call->owned = false;
    first = decide(call, error);
    if (first && response != NULL)
        call->sent_messages++;
    if (first && buffer != NULL) {
        call->sent_bytes += grpc_byte_buffer_length(buffer);
        wr_outbox_put(&call->outbox, buffer);
    } else if (buffer != NULL) {
        grpc_byte_buffer_destroy(buffer);
    }
    if (call->core == NULL && first) {
        pthread_mutex_unlock(&call->lock);
        wr_local_answer(call, error, response);
        pthread_mutex_lock(&call->lock);
    }
    pump(call);
    wr_call_release(call);
}

static bool
answer_fits(const weir_rpc_call *call, const grpc_byte_buffer *buffer, weir_error *reterr)
{
    const size_t limit = call->server->options.answer_bytes_max;
    const size_t size =
        buffer == NULL ? 0 : grpc_byte_buffer_length((grpc_byte_buffer *)(uintptr_t)buffer);

    if (size <= limit)
        return true;
    weir_error_set(reterr, WEIR_RESPONSE_TOO_LARGE,
        "the answer has %zu bytes, more than the limit of %zu: ask for less, with a smaller page",
        size, limit);
    return false;
}

void
weir_rpc_reply(weir_rpc_call *call, const ProtobufCMessage *response)
{
    const bool pack = call->core != NULL && !weir_rpc_is_cancelled(call);
    grpc_byte_buffer *buffer = pack ? wr_message_pack(response) : NULL;
    weir_error error = { .code = WEIR_OK };

    weir_assert(call->row != NULL && response->descriptor == call->row->method->output);
    weir_assert(!call->row->method->server_streams);
    if (answer_fits(call, buffer, &error)) {
        finish(call, &error, response, buffer);
        return;
    }
    grpc_byte_buffer_destroy(buffer);
    finish(call, &error, NULL, NULL);
}

void
weir_rpc_finish(weir_rpc_call *call)
{
    const weir_error ok = { .code = WEIR_OK };

    weir_assert(call->row != NULL && call->row->method->server_streams);
    finish(call, &ok, NULL, NULL);
}

void
weir_rpc_fail(weir_rpc_call *call, const weir_error *error)
{
    weir_assert(error->code != WEIR_OK);
    finish(call, error, NULL, NULL);
}

void
weir_rpc_fail_with(weir_rpc_call *call, weir_code code, const char *format, ...)
{
    weir_error error;
    char text[sizeof error.message];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    weir_error_set(&error, code, "%s", text);
    weir_rpc_fail(call, &error);
}

void
weir_rpc_fail_raw(weir_rpc_call *call, int grpc_status, const char *message, weir_bytes details)
{
    weir_error error;

    weir_assert(grpc_status != 0);
    pthread_mutex_lock(&call->lock);
    if (!call->decided && !call->raw) {
        call->raw = true;
        call->raw_status = grpc_status;
        call->raw_message = weir_strdup(message);
        if (details.size > 0)
            wr_pairs_add(&call->trailers, "grpc-status-details-bin", details);
    }
    pthread_mutex_unlock(&call->lock);
    weir_error_set(&error, wr_status_code(grpc_status), "%s", message);
    finish(call, &error, NULL, NULL);
}

void
wr_call_fail_unstarted(weir_rpc_call *call, const weir_error *error)
{
    weir_assert(!call->handler_started);
    finish(call, error, NULL, NULL);
}

void
wr_call_abort(weir_rpc_call *call, const weir_error *error)
{
    pthread_mutex_lock(&call->lock);
    wr_call_hold(call);
    decide(call, error);
    atomic_store(&call->gone, true);
    call->cancel_due = true;
    pump(call);
    wr_call_deliver(call);
    wr_call_release(call);
}

static weir_rpc_sent
queue_message(weir_rpc_call *call, grpc_byte_buffer *buffer)
{
    weir_rpc_sent sent = WEIR_RPC_GONE;

    pthread_mutex_lock(&call->lock);
    if (!call->owned || call->decided || call->cancelled) {
        grpc_byte_buffer_destroy(buffer);
    } else {
        call->sent_messages++;
        call->sent_bytes += grpc_byte_buffer_length(buffer);
        wr_outbox_put(&call->outbox, buffer);
        pump(call);
        sent = call->outbox.bytes < WR_SEND_QUEUE_MARK ? WEIR_RPC_SENT : WEIR_RPC_FULL;
        if (sent == WEIR_RPC_FULL)
            call->outbox.told_full = true;
    }
    pthread_mutex_unlock(&call->lock);
    return sent;
}

weir_rpc_sent
weir_rpc_send(weir_rpc_call *call, const ProtobufCMessage *message)
{
    grpc_byte_buffer *buffer;
    weir_error error;

    weir_assert(call->row != NULL && call->row->method->server_streams);
    weir_assert(message->descriptor == call->row->method->output);
    if (weir_rpc_is_cancelled(call))
        return WEIR_RPC_GONE;
    if (call->core == NULL)
        return wr_local_send(call, message);
    buffer = wr_message_pack(message);
    if (answer_fits(call, buffer, &error))
        return queue_message(call, buffer);
    grpc_byte_buffer_destroy(buffer);
    wr_call_abort(call, &error);
    return WEIR_RPC_GONE;
}

void
weir_rpc_send_hold(weir_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    weir_assert(!call->send_held);
    call->send_held = true;
    pthread_mutex_unlock(&call->lock);
}

void
weir_rpc_send_release(weir_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->send_held = false;
    pump(call);
    pthread_mutex_unlock(&call->lock);
}

/* ---- the beginning ---- */

static bool
is_request_id(weir_bytes value)
{
    if (value.size == 0 || value.size > WEIR_REQUEST_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] <= 0x20 || value.data[i] >= 0x7f)
            return false;
    return true;
}

static void
take_request_id(weir_rpc_call *call)
{
    weir_bytes value = { 0 };

    if (weir_rpc_header(call, "x-request-id", &value) && is_request_id(value)) {
        memcpy(call->request_id, value.data, value.size);
    } else {
        uint8_t random[10];
        char made[37];

        weir_random_bytes(random, sizeof random);
        weir_uuid7_format(weir_clock_wall_ms(), random, made);
        memcpy(call->request_id, made, sizeof made);
    }
    wr_pairs_add(&call->headers, "x-request-id", weir_bytes_str(call->request_id));
}

static weir_code
intercept(weir_rpc_call *call, weir_error *reterr)
{
    const weir_rpc_server *server = call->server;

    for (size_t i = 0; i < server->interceptor_count; i++) {
        const weir_code code =
            server->interceptors[i].run(call, server->interceptors[i].context, reterr);

        if (code != WEIR_OK)
            return code;
    }
    return WEIR_OK;
}

static weir_code
find_handler(const weir_rpc_call *call, weir_error *reterr)
{
    if (call->row == NULL)
        return weir_error_set(reterr, WEIR_UNIMPLEMENTED,
            "%s is not served here: check the service, the method and the address",
            call->unknown.path);
    if (call->row->handler == NULL)
        return weir_error_set(reterr, WEIR_UNIMPLEMENTED,
            "this version of weir does not have %s yet", call->row->method->path);
    return WEIR_OK;
}

weir_code
wr_call_check_size(const weir_rpc_call *call, const grpc_byte_buffer *buffer, weir_error *reterr)
{
    const weir_rpc_server_options *options = &call->server->options;
    const size_t size = grpc_byte_buffer_length((grpc_byte_buffer *)(uintptr_t)buffer);
    const char *hint = NULL;

    if (size <= options->message_bytes_max)
        return WEIR_OK;
    if (options->too_large_hint != NULL)
        hint = options->too_large_hint(call->row->method->path);
    return weir_error_set(reterr, WEIR_BODY_TOO_LARGE,
        "the message has %zu bytes, more than the limit of %zu%s%s", size,
        options->message_bytes_max, hint == NULL ? "" : ": ", hint == NULL ? "" : hint);
}

static weir_code
admit(weir_rpc_call *call, weir_error *reterr)
{
    weir_code code;

    take_request_id(call);
    code = intercept(call, reterr);
    if (code == WEIR_OK)
        code = find_handler(call, reterr);
    if (code != WEIR_OK)
        return code;
    if (call->row->method->client_streams)
        return call->core != NULL
            ? WEIR_OK
            : weir_error_set(reterr, WEIR_UNIMPLEMENTED,
                  "%s takes a stream of messages: call it over gRPC", call->row->method->path);
    if (call->request != NULL) /* local: decoded by its caller */
        return WEIR_OK;
    call->no_request = call->payload == NULL;
    if (call->no_request)
        return weir_error_set(reterr, WEIR_UNIMPLEMENTED, "%s takes exactly one request message",
            call->row->method->path); /* what gRPC says of a wrong number of messages */
    return wr_call_check_size(call, call->payload, reterr);
}

static weir_code
decode_request(weir_rpc_call *call, weir_error *reterr)
{
    ProtobufCMessage *message;
    weir_code code;

    call->received_messages = 1;
    if (call->request != NULL)
        return WEIR_OK;
    call->received_bytes = grpc_byte_buffer_length(call->payload);
    code =
        wr_message_unpack(call->row->method->input, call->payload, call->arena, &message, reterr);
    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
    if (code == WEIR_OK)
        call->request = message;
    return code;
}

static void
run_request(weir_rpc_call *call)
{
    const wr_row *row = call->row;
    weir_error error;

    if (decode_request(call, &error) != WEIR_OK) {
        wr_call_fail_unstarted(call, &error);
    } else if (!wr_call_enter(call)) {
        weir_error_set(&error, WEIR_CANCELLED, "nobody waits for the answer");
        wr_call_fail_unstarted(call, &error);
    } else {
        row->handler->request(call, call->request, row->service->context);
        wr_call_leave(call);
    }
}

static void
run_job(wr_job *job)
{
    weir_rpc_call *call = WR_OF(job, weir_rpc_call, job);

    call->job_run(call);
    pthread_mutex_lock(&call->lock);
    wr_call_release(call);
}

bool
wr_call_push(weir_rpc_call *call, void (*run)(weir_rpc_call *call), bool force)
{
    pthread_mutex_lock(&call->lock);
    wr_call_hold(call);
    pthread_mutex_unlock(&call->lock);
    call->job.run = run_job;
    call->job_run = run;
    if (wr_pool_push(call->server->pool, &call->job, force))
        return true;
    pthread_mutex_lock(&call->lock);
    weir_assert(call->pending > 1);
    wr_call_release(call);
    return false;
}

static void
run_handler(weir_rpc_call *call)
{
    void (*const run)(weir_rpc_call *) =
        call->row->method->client_streams ? wr_call_run_stream : run_request;
    weir_error error;

    if ((call->row->handler->flags & WEIR_RPC_POOL) == 0) {
        run(call);
    } else if (!wr_call_push(call, run, false)) {
        weir_error_set(&error, WEIR_QUEUE_FULL, "too many calls are waiting: try again later");
        wr_call_fail_unstarted(call, &error);
    }
}

void
wr_call_begin(weir_rpc_call *call)
{
    weir_error error;

    if (admit(call, &error) == WEIR_OK)
        run_handler(call);
    else
        wr_call_fail_unstarted(call, &error);
    pthread_mutex_lock(&call->lock);
    start_close(call);
    wr_call_release(call);
}

/* ---- questions ---- */

bool
weir_rpc_is_cancelled(const weir_rpc_call *call)
{
    return atomic_load(&((weir_rpc_call *)(uintptr_t)call)->gone);
}

int64_t
weir_rpc_ms_left(const weir_rpc_call *call)
{
    int64_t left;

    if (call->deadline_ms == INT64_MAX)
        return INT64_MAX;
    left = call->deadline_ms - weir_clock_mono_ms();
    return left > 0 ? left : 0;
}

weir_arena *
weir_rpc_call_arena(weir_rpc_call *call)
{
    return call->arena;
}

const weir_rpc_method *
weir_rpc_call_method(const weir_rpc_call *call)
{
    return call->row == NULL ? &call->unknown : call->row->method;
}

const char *
weir_rpc_request_id(const weir_rpc_call *call)
{
    return call->request_id;
}

const char *
weir_rpc_peer(weir_rpc_call *call)
{
    if (call->peer == NULL && call->core != NULL) {
        char *peer = grpc_call_get_peer(call->core);

        call->peer = weir_strdup(peer);
        gpr_free(peer);
    }
    return call->peer == NULL ? "local" : call->peer;
}

bool
weir_rpc_is_public(const weir_rpc_call *call)
{
    return call->row != NULL && call->row->handler != NULL &&
        (call->row->handler->flags & WEIR_RPC_PUBLIC) != 0;
}

bool
weir_rpc_is_local(const weir_rpc_call *call)
{
    return call->core == NULL;
}

bool
weir_rpc_header(const weir_rpc_call *call, const char *key, weir_bytes *ret_value)
{
    size_t count;
    const weir_bytes value =
        wr_metadata_find(call->request_headers.metadata, call->request_headers.count, key, &count);

    if (count != 1)
        return false;
    *ret_value = value;
    return true;
}

bool
weir_rpc_header_at(const weir_rpc_call *call, size_t index, weir_bytes *ret_key,
    weir_bytes *ret_value)
{
    if (index >= call->request_headers.count)
        return false;
    *ret_key = wr_slice_bytes(&call->request_headers.metadata[index].key);
    *ret_value = wr_slice_bytes(&call->request_headers.metadata[index].value);
    return true;
}

void
weir_rpc_set_header(weir_rpc_call *call, const char *key, weir_bytes value)
{
    pthread_mutex_lock(&call->lock);
    if (!call->initial_sent)
        wr_pairs_add(&call->headers, key, value);
    pthread_mutex_unlock(&call->lock);
}

void
weir_rpc_send_headers(weir_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->owned && !call->initial_sent) {
        call->initial_due = true;
        pump(call);
    }
    pthread_mutex_unlock(&call->lock);
}

void
weir_rpc_set_trailer(weir_rpc_call *call, const char *key, weir_bytes value)
{
    pthread_mutex_lock(&call->lock);
    if (!call->status_sent)
        wr_pairs_add(&call->trailers, key, value);
    pthread_mutex_unlock(&call->lock);
}

void
weir_rpc_call_set_state(weir_rpc_call *call, void *state)
{
    call->state = state;
}

void *
weir_rpc_call_state(const weir_rpc_call *call)
{
    return call->state;
}

void
weir_rpc_call_set_principal(weir_rpc_call *call, void *principal, void (*release)(void *principal))
{
    weir_assert(call->principal == NULL);
    call->principal = principal;
    call->principal_release = release;
}

void *
weir_rpc_call_principal(const weir_rpc_call *call)
{
    return call->principal;
}
