/*
 * client.c - channels, stubs, and the one state machine of a client call.
 *
 * A unary call is one batch and one event.  A stream has a batch for the status, one for each read
 * and one for each write.  `pending` counts the batches with the core; the last one to return ends
 * the call and gives its status. The blocking calls of stream.c stand on this one.
 */

#include "common/rpc/client_internal.h"

enum {
    RECONNECT_FIRST_MS = 100,
    RECONNECT_MAX_DEFAULT_MS = 2000,
    KEEPALIVE_TIMEOUT_MS = 20000,
};

/* ---- channel ---- */

typedef struct core_arguments {
    grpc_arg items[16];
    size_t count;
} core_arguments;

static grpc_arg *
next_argument(core_arguments *arguments)
{
    weir_assert(arguments->count < sizeof arguments->items / sizeof arguments->items[0]);
    return &arguments->items[arguments->count++];
}

static void
set(core_arguments *arguments, const char *key, size_t value)
{
    *next_argument(arguments) = (grpc_arg){
        .type = GRPC_ARG_INTEGER,
        .key = (char *)(uintptr_t)key,
        .value.integer = value > INT32_MAX ? INT32_MAX : (int)value,
    };
}

static void
set_text(core_arguments *arguments, const char *key, const char *value)
{
    if (value != NULL)
        *next_argument(arguments) = (grpc_arg){
            .type = GRPC_ARG_STRING,
            .key = (char *)(uintptr_t)key,
            .value.string = (char *)(uintptr_t)value,
        };
}

static void
fill_arguments(core_arguments *arguments, const weir_rpc_channel_options *options)
{
    const size_t limit =
        options->message_bytes_max == 0 ? WEIR_RPC_MESSAGE_BYTES_MAX : options->message_bytes_max;
    const size_t pause =
        options->reconnect_max_ms == 0 ? RECONNECT_MAX_DEFAULT_MS : options->reconnect_max_ms;

    set(arguments, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, limit);
    set(arguments, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS);
    set(arguments, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, pause);
    set(arguments, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    set(arguments, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    set(arguments, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    set_text(arguments, GRPC_ARG_PRIMARY_USER_AGENT_STRING, "weir/" WEIR_VERSION);
    set_text(arguments, GRPC_ARG_SERVICE_CONFIG, options->service_config_json);
    set_text(arguments, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options->tls_server_name);
    if (options->keepalive_ms > 0) {
        set(arguments, GRPC_ARG_KEEPALIVE_TIME_MS, options->keepalive_ms);
        set(arguments, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    }
}

weir_code
weir_rpc_channel_open(weir_rpc_runtime *runtime, const char *target,
    const weir_rpc_channel_options *options, weir_rpc_channel **ret_channel, weir_error *reterr)
{
    static const weir_rpc_channel_options plain;
    const weir_rpc_channel_options *chosen = options == NULL ? &plain : options;
    grpc_channel_credentials *credentials;
    core_arguments arguments = { 0 };
    weir_code code = wr_tls_channel_credentials(chosen, &credentials, reterr);
    weir_rpc_channel *channel;

    if (code != WEIR_OK)
        return code;
    fill_arguments(&arguments, chosen);

    const grpc_channel_args channel_args = { .num_args = arguments.count, .args = arguments.items };

    channel = weir_alloc_zero(1, sizeof *channel);
    channel->runtime = runtime;
    channel->target = weir_strdup(target);
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->changed, NULL);
    channel->core = grpc_channel_create(target, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    for (size_t i = 0; i < chosen->metadata_count; i++)
        wr_pairs_add(&channel->metadata, chosen->metadata[i].key, chosen->metadata[i].value);
    *ret_channel = channel;
    return WEIR_OK;
}

void
weir_rpc_channel_close(weir_rpc_channel **channel_p)
{
    weir_rpc_channel *channel = *channel_p;

    if (channel == NULL)
        return;
    weir_assert(!wr_on_poller());
    pthread_mutex_lock(&channel->lock);
    for (weir_rpc_client_call *call = channel->calls; call != NULL; call = call->next)
        weir_rpc_client_cancel(call); /* takes the call's lock under the channel's, nowhere else */
    while (channel->calls != NULL)
        pthread_cond_wait(&channel->changed, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    grpc_channel_destroy(channel->core);
    wr_pairs_fini(&channel->metadata);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    weir_free(channel->target);
    weir_free(channel);
    *channel_p = NULL;
}

/* ---- stub ---- */

struct weir_rpc_stub {
    weir_rpc_channel *channel;
    const ProtobufCServiceDescriptor *type;
    char **paths; /* the core keeps pointers to them until the channel goes */
    void **registered;
};

weir_rpc_stub *
weir_rpc_stub_open(weir_rpc_channel *channel, const ProtobufCServiceDescriptor *service)
{
    weir_rpc_stub *stub = weir_alloc_zero(1, sizeof *stub);

    stub->channel = channel;
    stub->type = service;
    stub->paths = weir_alloc_zero(service->n_methods + 1, sizeof stub->paths[0]);
    stub->registered = weir_alloc_zero(service->n_methods + 1, sizeof stub->registered[0]);
    for (unsigned i = 0; i < service->n_methods; i++) {
        const size_t size = strlen(service->name) + strlen(service->methods[i].name) + 3;

        stub->paths[i] = weir_alloc(size);
        snprintf(stub->paths[i], size, "/%s/%s", service->name, service->methods[i].name);
        stub->registered[i] = grpc_channel_register_call(channel->core, stub->paths[i], NULL, NULL);
    }
    return stub;
}

void
weir_rpc_stub_close(weir_rpc_stub **stub_p)
{
    weir_rpc_stub *stub = *stub_p;

    if (stub == NULL)
        return;
    for (unsigned i = 0; i < stub->type->n_methods; i++)
        weir_free(stub->paths[i]);
    weir_free(stub->paths);
    weir_free(stub->registered);
    weir_free(stub);
    *stub_p = NULL;
}

/* ---- making a call ---- */

static unsigned
method_index(const weir_rpc_stub *stub, const char *name)
{
    for (unsigned i = 0; i < stub->type->n_methods; i++)
        if (strcmp(stub->type->methods[i].name, name) == 0)
            return i;
    weir_assert(!"the service has no such method");
    return 0;
}

static void
link_call(weir_rpc_channel *channel, weir_rpc_client_call *call)
{
    pthread_mutex_lock(&channel->lock);
    call->next = channel->calls;
    call->prev_p = &channel->calls;
    if (call->next != NULL)
        call->next->prev_p = &call->next;
    channel->calls = call;
    pthread_mutex_unlock(&channel->lock);
}

static void
unlink_call(weir_rpc_client_call *call)
{
    weir_rpc_channel *channel = call->channel;

    pthread_mutex_lock(&channel->lock);
    *call->prev_p = call->next;
    if (call->next != NULL)
        call->next->prev_p = call->prev_p;
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}

static void unary_fire(wr_event *event, bool ok);
static void status_fire(wr_event *event, bool ok);
static void headers_fire(wr_event *event, bool ok);
static void read_fire(wr_event *event, bool ok);
static void write_fire(wr_event *event, bool ok);

static void
copy_pairs(weir_rpc_client_call *call, const weir_rpc_call_options *options)
{
    wr_pairs_copy(&call->metadata, &call->channel->metadata);
    for (size_t i = 0; options != NULL && i < options->metadata_count; i++)
        wr_pairs_add(&call->metadata, options->metadata[i].key, options->metadata[i].value);
}

static gpr_timespec
deadline_of(const weir_rpc_call_options *options)
{
    if (options == NULL || options->timeout_ms == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
        gpr_time_from_millis(options->timeout_ms, GPR_TIMESPAN));
}

weir_rpc_client_call *
wr_client_create(weir_rpc_stub *stub, const char *method, const weir_rpc_call_options *options)
{
    weir_rpc_client_call *call = weir_alloc_zero(1, sizeof *call);
    const unsigned index = method_index(stub, method);

    pthread_mutex_init(&call->lock, NULL);
    atomic_init(&call->refs, 2); /* the caller's and the layer's */
    call->channel = stub->channel;
    call->type = &stub->type->methods[index];
    call->wait_for_ready = options != NULL && options->wait_for_ready;
    call->unary_event.fire = unary_fire;
    call->status_event.fire = status_fire;
    call->headers_event.fire = headers_fire;
    call->read_event.fire = read_fire;
    call->write_event.fire = write_fire;
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    call->status_text = grpc_empty_slice();
    wr_outbox_init(&call->outbox);
    copy_pairs(call, options);
    call->core = grpc_channel_create_registered_call(stub->channel->core, NULL,
        GRPC_PROPAGATE_DEFAULTS, wr_runtime_queue(stub->channel->runtime), stub->registered[index],
        deadline_of(options), NULL);
    link_call(stub->channel, call);
    return call;
}

static void
free_call(weir_rpc_client_call *call)
{
    wr_outbox_drop(&call->outbox);
    wr_pairs_fini(&call->metadata);
    if (call->incoming != NULL)
        grpc_byte_buffer_destroy(call->incoming);
    grpc_slice_unref(call->status_text);
    weir_arena_destroy(&call->message_arena);
    pthread_mutex_destroy(&call->lock);
    weir_free(call);
}

void
weir_rpc_client_unref(weir_rpc_client_call *call)
{
    if (call != NULL && atomic_fetch_sub(&call->refs, 1) == 1)
        free_call(call);
}

/* ---- the end ---- */

static void
log_failure(const weir_rpc_client_call *call, const char *text)
{
    weir_log(WEIR_LOG_DEBUG, "rpc.unreachable", WEIR_STR("target", call->channel->target),
        WEIR_STR("message", text));
}

/* The core's own sentences name inner addresses: they go to the log, and the caller gets one of
 * ours. */
static void
explain_core(weir_rpc_client_call *call)
{
    weir_error *error = &call->error;
    char text[sizeof error->message];

    snprintf(text, sizeof text, "%s", error->message);
    if (call->status == GRPC_STATUS_UNAVAILABLE) {
        log_failure(call, text);
        weir_error_set(error, WEIR_SERVICE_UNAVAILABLE, "no connection to %s",
            call->channel->target);
    } else if (call->status == GRPC_STATUS_DEADLINE_EXCEEDED) {
        weir_error_set(error, WEIR_TIMEOUT, "%s did not answer before the deadline",
            call->channel->target);
    } else if (call->status == GRPC_STATUS_RESOURCE_EXHAUSTED &&
        strstr(text, "essage larger than max") != NULL) {
        weir_error_set(error, WEIR_RESPONSE_TOO_LARGE, "the answer is too large: %s", text);
    }
}

static void
read_status(weir_rpc_client_call *call)
{
    size_t count;
    const weir_bytes details = wr_metadata_find(call->trailing.metadata, call->trailing.count,
        "grpc-status-details-bin", &count);

    wr_status_decode((int)call->status, wr_slice_bytes(&call->status_text), details, &call->error);
    if (count == 0)
        explain_core(call);
}

/* No batch is with the core any more, and the core's call can go before the caller's reference
 * does. */
static void
complete(weir_rpc_client_call *call)
{
    read_status(call);
    call->on_done(call);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    pthread_mutex_lock(&call->lock);
    grpc_call *core = call->core;
    call->core = NULL;
    pthread_mutex_unlock(&call->lock);
    unlink_call(
        call); /* before the core's call goes: a closing channel cancels what it finds listed */
    grpc_call_unref(core);
    weir_rpc_client_unref(call);
}

/* Under the lock, which is released; the call may be gone afterwards. */
static void
release(weir_rpc_client_call *call)
{
    bool last;

    weir_assert(call->pending > 0);
    call->pending--;
    last = call->pending == 0;
    if (last)
        call->ended = true;
    pthread_mutex_unlock(&call->lock);
    if (last)
        complete(call);
}

/* ---- batches ---- */

static grpc_op
initial_op(weir_rpc_client_call *call)
{
    uint32_t flags = 0;

    if (call->wait_for_ready)
        flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
            GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    return (grpc_op){
        .op = GRPC_OP_SEND_INITIAL_METADATA,
        .flags = flags,
        .data.send_initial_metadata = { .count = call->metadata.count,
            .metadata = call->metadata.items },
    };
}

static grpc_op
headers_op(weir_rpc_client_call *call)
{
    return (grpc_op){
        .op = GRPC_OP_RECV_INITIAL_METADATA,
        .data.recv_initial_metadata.recv_initial_metadata = &call->initial,
    };
}

static grpc_op
read_op(weir_rpc_client_call *call)
{
    return (grpc_op){
        .op = GRPC_OP_RECV_MESSAGE,
        .data.recv_message.recv_message = &call->incoming,
    };
}

static grpc_op
status_op(weir_rpc_client_call *call)
{
    return (grpc_op){
        .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
        .data.recv_status_on_client = { .trailing_metadata = &call->trailing,
            .status = &call->status,
            .status_details = &call->status_text },
    };
}

void
wr_client_start_unary(weir_rpc_client_call *call, const ProtobufCMessage *request)
{
    grpc_byte_buffer *buffer = wr_message_pack(request);
    const grpc_op ops[] = {
        initial_op(call),
        { .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer },
        { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
        headers_op(call),
        read_op(call),
        status_op(call),
    };

    weir_assert(request->descriptor == call->type->input);
    call->pending = 1;
    wr_start_batch(call->core, ops, sizeof ops / sizeof ops[0], &call->unary_event);
    grpc_byte_buffer_destroy(buffer);
}

static void
unary_fire(wr_event *event, bool ok)
{
    weir_rpc_client_call *call = WR_OF(event, weir_rpc_client_call, unary_event);

    (void)ok;
    pthread_mutex_lock(&call->lock);
    release(call);
}

/* Under the lock. */
static void
start_read(weir_rpc_client_call *call)
{
    const grpc_op op = read_op(call);

    if (call->status_seen || call->reading || call->no_more)
        return;
    call->reading = true;
    call->pending++;
    wr_start_batch(call->core, &op, 1, &call->read_event);
}

void
wr_client_start_stream(weir_rpc_client_call *call)
{
    const grpc_op status = status_op(call);
    const grpc_op first[] = { initial_op(call), headers_op(call) };

    pthread_mutex_lock(&call->lock);
    call->pending = 2;
    wr_start_batch(call->core, &status, 1, &call->status_event);
    wr_start_batch(call->core, first, 2, &call->headers_event);
    start_read(call);
    pthread_mutex_unlock(&call->lock);
}

static void
headers_fire(wr_event *event, bool ok)
{
    weir_rpc_client_call *call = WR_OF(event, weir_rpc_client_call, headers_event);

    (void)ok;
    pthread_mutex_lock(&call->lock);
    release(call);
}

static void
status_fire(wr_event *event, bool ok)
{
    weir_rpc_client_call *call = WR_OF(event, weir_rpc_client_call, status_event);

    (void)ok;
    pthread_mutex_lock(&call->lock);
    call->status_seen = true;
    wr_outbox_drop(&call->outbox);
    release(call);
}

/* ---- reading ---- */

static void
read_fire(wr_event *event, bool ok)
{
    weir_rpc_client_call *call = WR_OF(event, weir_rpc_client_call, read_event);
    grpc_byte_buffer *buffer = call->incoming;
    weir_rpc_flow flow = WEIR_RPC_HOLD;

    call->incoming = NULL;
    pthread_mutex_lock(&call->lock);
    call->reading = false;
    call->in_message = buffer != NULL;
    if (buffer == NULL || !ok)
        call->no_more = true;
    pthread_mutex_unlock(&call->lock);
    if (buffer != NULL)
        flow = call->on_message(call, buffer);
    pthread_mutex_lock(&call->lock);
    call->in_message = false;
    if (buffer != NULL && (flow == WEIR_RPC_MORE || call->resumed))
        start_read(call);
    else
        call->held = buffer != NULL;
    call->resumed = false;
    release(call);
}

void
weir_rpc_client_resume(weir_rpc_client_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->in_message) {
        call->resumed = true;
    } else if (call->held && !call->ended) {
        call->held = false;
        start_read(call);
    }
    pthread_mutex_unlock(&call->lock);
}

/* ---- writing; under the lock ---- */

static void
pump(weir_rpc_client_call *call)
{
    grpc_op ops[2];
    size_t count = 0;

    if (call->writing || call->close_sent || call->status_seen)
        return;
    call->sending = wr_outbox_take(&call->outbox);
    if (call->sending != NULL)
        ops[count++] = (grpc_op){
            .op = GRPC_OP_SEND_MESSAGE,
            .flags = call->outbox.head != NULL ? GRPC_WRITE_BUFFER_HINT : 0,
            .data.send_message.send_message = call->sending->buffer,
        };
    if (call->close_asked && call->outbox.head == NULL) {
        call->close_sent = true;
        ops[count++] = (grpc_op){ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
    }
    if (count == 0)
        return;
    call->writing = true;
    call->pending++;
    wr_start_batch(call->core, ops, count, &call->write_event);
}

static void
write_fire(wr_event *event, bool ok)
{
    weir_rpc_client_call *call = WR_OF(event, weir_rpc_client_call, write_event);
    bool tell;

    pthread_mutex_lock(&call->lock);
    call->writing = false;
    wr_outgoing_free(call->sending);
    call->sending = NULL;
    if (!ok)
        wr_outbox_drop(&call->outbox);
    tell = call->outbox.told_full && call->outbox.bytes <= WR_SEND_QUEUE_MARK / 2;
    if (tell)
        call->outbox.told_full = false;
    pump(call);
    pthread_mutex_unlock(&call->lock);
    if (tell && call->on_writable != NULL)
        call->on_writable(call);
    pthread_mutex_lock(&call->lock);
    release(call);
}

weir_rpc_sent
weir_rpc_client_send(weir_rpc_client_call *call, const ProtobufCMessage *message)
{
    grpc_byte_buffer *buffer = wr_message_pack(message);
    weir_rpc_sent sent = WEIR_RPC_GONE;

    weir_assert(message->descriptor == call->type->input);
    pthread_mutex_lock(&call->lock);
    if (call->status_seen || call->ended || call->close_asked) {
        grpc_byte_buffer_destroy(buffer);
    } else {
        wr_outbox_put(&call->outbox, buffer);
        pump(call);
        sent = call->outbox.bytes < WR_SEND_QUEUE_MARK ? WEIR_RPC_SENT : WEIR_RPC_FULL;
        call->outbox.told_full = call->outbox.told_full || sent == WEIR_RPC_FULL;
    }
    pthread_mutex_unlock(&call->lock);
    return sent;
}

void
weir_rpc_client_half_close(weir_rpc_client_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (!call->ended && !call->status_seen && !call->close_asked) {
        call->close_asked = true;
        pump(call);
    }
    pthread_mutex_unlock(&call->lock);
}

void
weir_rpc_client_cancel(weir_rpc_client_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->core != NULL)
        grpc_call_cancel(call->core, NULL);
    pthread_mutex_unlock(&call->lock);
}

/* ---- the callback interface ---- */

static void
unary_answered(weir_rpc_client_call *call)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response = NULL;

    if (call->error.code == WEIR_OK)
        wr_client_take_answer(call, arena, &response, &call->error);
    call->answered(call->context, &call->error, response);
    weir_arena_destroy(&arena);
}

weir_code
wr_client_take_answer(weir_rpc_client_call *call, weir_arena *arena,
    ProtobufCMessage **ret_response, weir_error *reterr)
{
    if (call->incoming == NULL)
        return weir_error_set(reterr, WEIR_MALFORMED_MESSAGE, "%s answered OK without a message",
            call->channel->target);
    return wr_message_unpack(call->type->output, call->incoming, arena, ret_response, reterr);
}

weir_rpc_client_call *
weir_rpc_unary_start(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    const weir_rpc_call_options *options, weir_rpc_answered answered, void *context)
{
    weir_rpc_client_call *call = wr_client_create(stub, method, options);

    call->answered = answered;
    call->context = context;
    call->on_done = unary_answered;
    wr_client_start_unary(call, request);
    return call;
}

static weir_rpc_flow
event_message(weir_rpc_client_call *call, grpc_byte_buffer *buffer)
{
    ProtobufCMessage *message;
    weir_code code;

    if (call->message_arena == NULL)
        call->message_arena = weir_arena_create(0);
    else
        weir_arena_reset(call->message_arena);
    code = wr_message_unpack(call->type->output, buffer, call->message_arena, &message,
        &call->bad_message);
    grpc_byte_buffer_destroy(buffer);
    if (code == WEIR_OK)
        return call->events.message(call->context, message);
    weir_rpc_client_cancel(call);
    return WEIR_RPC_HOLD;
}

static void
event_writable(weir_rpc_client_call *call)
{
    if (call->events.writable != NULL)
        call->events.writable(call->context);
}

static void
event_done(weir_rpc_client_call *call)
{
    const bool bad = call->bad_message.code != WEIR_OK;

    call->events.done(call->context, bad ? &call->bad_message : &call->error);
}

weir_rpc_client_call *
weir_rpc_client_open(weir_rpc_stub *stub, const char *method, const weir_rpc_call_options *options,
    const weir_rpc_client_events *events, void *context)
{
    weir_rpc_client_call *call = wr_client_create(stub, method, options);

    call->events = *events;
    call->context = context;
    call->on_message = event_message;
    call->on_writable = event_writable;
    call->on_done = event_done;
    wr_client_start_stream(call);
    return call;
}
