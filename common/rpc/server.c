/*
 * server.c - services, listening, accepting and stopping.
 *
 * The order of a stop matters: health NOT_SERVING and `draining` first (an open watch would keep
 * the core from ending), then the core's shutdown, the budget, the cancel of what is left, and only
 * when the last call, accept and shutdown event are in does the core's server go.  The queues
 * belong to the runtime and go later still.
 */
#include <errno.h>
#include <grpc/compression.h>
#include <time.h>

#include "common/rpc/internal.h"

enum {
    WORKERS_DEFAULT = 4,
    POOL_QUEUE_DEFAULT = 1024,
    METADATA_BYTES_DEFAULT = 16 << 10,
    STREAMS_DEFAULT = 1000,
    KEEPALIVE_DEFAULT_MS = 60000,
    KEEPALIVE_TIMEOUT_MS = 20000,
    CLIENT_PING_MIN_MS = 10000,
    HANDSHAKE_MS = 10000,
    GRACE_DEFAULT_MS = 60000,
    IDLE_CLOSE_MS = 200, /* of a drain: for connections without calls to close by themselves */
    STUCK_REPORT_MS = 5000,
    MEMORY_BYTES_DEFAULT = 256 << 20,
};

/* ---- create and destroy ---- */

static void
fill_defaults(weir_rpc_server_options *options)
{
    if (options->workers == 0)
        options->workers = WORKERS_DEFAULT;
    if (options->pool_queue_max == 0)
        options->pool_queue_max = POOL_QUEUE_DEFAULT;
    if (options->message_bytes_max == 0)
        options->message_bytes_max = WEIR_RPC_MESSAGE_BYTES_MAX;
    if (options->answer_bytes_max == 0)
        options->answer_bytes_max = WEIR_ANSWER_BYTES_MAX;
    if (options->memory_bytes_max == 0)
        options->memory_bytes_max = MEMORY_BYTES_DEFAULT;
    if (options->metadata_bytes_max == 0)
        options->metadata_bytes_max = METADATA_BYTES_DEFAULT;
    if (options->concurrent_streams_max == 0)
        options->concurrent_streams_max = STREAMS_DEFAULT;
    if (options->keepalive_ms == 0)
        options->keepalive_ms = KEEPALIVE_DEFAULT_MS;
    if (options->connection_grace_ms == 0)
        options->connection_grace_ms = GRACE_DEFAULT_MS;
}

static bool
is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

/* Each TCP listener has files of its own, as each remembers what it has read. */
static weir_code
take_addresses(weir_rpc_server *server, const weir_rpc_server_options *options, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    weir_assert(options->address_count <= WR_ADDRESSES_MAX);
    for (size_t i = 0; i < options->address_count && code == WEIR_OK; i++) {
        server->addresses[i] = weir_strdup(options->addresses[i]);
        server->lock_fds[i] = -1;
        server->address_count++;
        if (!is_unix(options->addresses[i]))
            code = wr_tls_files_open(options->tls_certificate_file, options->tls_key_file,
                options->tls_client_ca_file, &server->tls[i], reterr);
    }
    return code;
}

static void
init_changed(pthread_cond_t *changed)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void shutdown_fire(wr_event *event, bool ok);

weir_code
weir_rpc_server_create(weir_rpc_runtime *runtime, const weir_rpc_server_options *options,
    weir_rpc_server **ret_server, weir_error *reterr)
{
    weir_rpc_server *server = weir_alloc_zero(1, sizeof *server);
    weir_code code;

    weir_assert(options->descriptors != NULL);
    server->runtime = runtime;
    server->descriptors = options->descriptors;
    server->options = *options;
    fill_defaults(&server->options);
    pthread_mutex_init(&server->lock, NULL);
    init_changed(&server->changed);
    server->shutdown_event.fire = shutdown_fire;
    server->pool = wr_pool_create(server->options.workers, server->options.pool_queue_max);
    code = take_addresses(server, options, reterr);
    if (code != WEIR_OK) {
        weir_rpc_server_destroy(&server);
        return code;
    }
    *ret_server = server;
    return WEIR_OK;
}

static void
free_services(weir_rpc_server *server)
{
    while (server->services != NULL) {
        wr_service *service = server->services;

        server->services = service->next;
        weir_free(service->rows);
        weir_free(service);
    }
}

void
weir_rpc_server_destroy(weir_rpc_server **server_p)
{
    weir_rpc_server *server = *server_p;

    if (server == NULL)
        return;
    weir_rpc_server_stop(server, 0);
    for (size_t i = 0; i < server->address_count; i++) {
        weir_free(server->addresses[i]);
        wr_tls_files_close(&server->tls[i]);
    }
    free_services(server);
    wr_health_destroy(&server->health);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    weir_free(server);
    *server_p = NULL;
}

/* ---- services ---- */

static weir_code
check_kind(const weir_rpc_method *method, const weir_rpc_handler *handler, weir_error *reterr)
{
    const bool unary = handler->request != NULL && handler->message == NULL &&
        handler->open == NULL && handler->half_closed == NULL;
    const bool stream =
        handler->request == NULL && handler->message != NULL && handler->half_closed != NULL;

    if (method->client_streams ? stream : unary)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_INTERNAL, "%s takes %s, so its row needs %s", method->path,
        method->client_streams ? "a stream of messages" : "one message",
        method->client_streams ? "`message` and `half_closed`, not `request`"
                               : "`request` and none of `open`, `message`, `half_closed`");
}

static wr_row *
row_of(wr_service *service, const char *name)
{
    for (size_t i = 0; i < service->row_count; i++)
        if (strcmp(service->rows[i].method->name, name) == 0)
            return &service->rows[i];
    return NULL;
}

static weir_code
fill_row(wr_service *service, const weir_rpc_handler *handler, weir_error *reterr)
{
    wr_row *row = row_of(service, handler->method);
    weir_code code;

    if (row == NULL)
        return weir_error_set(reterr, WEIR_INTERNAL, "%s has no method %s", service->type->name,
            handler->method);
    if (row->handler != NULL)
        return weir_error_set(reterr, WEIR_INTERNAL, "%s has two rows", row->method->path);
    code = check_kind(row->method, handler, reterr);
    if (code == WEIR_OK)
        row->handler = handler;
    return code;
}

static wr_service *
new_service(weir_rpc_server *server, const ProtobufCServiceDescriptor *type, void *context)
{
    wr_service *service = weir_alloc_zero(1, sizeof *service);

    service->type = type;
    service->context = context;
    service->row_count = type->n_methods;
    service->rows = weir_alloc_zero(type->n_methods, sizeof service->rows[0]);
    for (unsigned i = 0; i < type->n_methods; i++) {
        char path[256];

        snprintf(path, sizeof path, "/%s/%s", type->name, type->methods[i].name);
        service->rows[i].service = service;
        service->rows[i].method = weir_rpc_method_find(server->descriptors, path);
        weir_assert(service->rows[i].method != NULL);
    }
    return service;
}

static wr_service **
find_service(weir_rpc_server *server, const char *name)
{
    wr_service **at = &server->services;

    while (*at != NULL && strcmp((*at)->type->name, name) != 0)
        at = &(*at)->next;
    return at;
}

weir_code
weir_rpc_server_add(weir_rpc_server *server, const ProtobufCServiceDescriptor *type,
    const weir_rpc_handler *handlers, size_t handler_count, void *context, weir_error *reterr)
{
    wr_service **end = find_service(server, type->name);
    weir_code code;

    weir_assert(server->phase == WR_PREPARED);
    if (*end != NULL)
        return weir_error_set(reterr, WEIR_INTERNAL, "%s was added before", type->name);
    code = weir_rpc_descriptors_bind(server->descriptors, type, reterr);
    if (code != WEIR_OK)
        return code;
    *end = new_service(server, type, context); /* freed with the server, also when a row is wrong */
    for (size_t i = 0; i < handler_count && code == WEIR_OK; i++)
        code = fill_row(*end, &handlers[i], reterr);
    return code;
}

void
weir_rpc_server_intercept(weir_rpc_server *server, weir_rpc_interceptor interceptor, void *context)
{
    weir_assert(server->phase == WR_PREPARED);
    weir_assert(server->interceptor_count < WR_INTERCEPTORS_MAX);
    server->interceptors[server->interceptor_count].run = interceptor;
    server->interceptors[server->interceptor_count].context = context;
    server->interceptor_count++;
}

void
weir_rpc_server_observe(weir_rpc_server *server,
    void (*observer)(const weir_rpc_call_stats *stats, void *context), void *context)
{
    weir_assert(server->phase == WR_PREPARED && server->observer == NULL);
    server->observer = observer;
    server->observer_context = context;
}

const wr_row *
wr_server_row(const weir_rpc_server *server, const char *path)
{
    const weir_rpc_method *method = weir_rpc_method_find(server->descriptors, path);

    for (wr_service *each = server->services; each != NULL && method != NULL; each = each->next)
        if (strcmp(each->type->name, method->service) == 0)
            return row_of(each, method->name);
    return NULL;
}

const weir_rpc_method *
weir_rpc_server_method(const weir_rpc_server *server, const char *path)
{
    const wr_row *row = wr_server_row(server, path);

    return row == NULL ? NULL : row->method;
}

/* ---- accepting ---- */

/* One outstanding accept: of one method on one queue, or (row NULL) of whatever nobody registered.
 */
typedef struct pending_accept {
    wr_event event;
    weir_rpc_server *server;
    const wr_row *row;
    grpc_completion_queue *queue;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array headers;
    grpc_byte_buffer *payload;
    gpr_timespec deadline;
} pending_accept;

static void
arm(pending_accept *accept)
{
    grpc_server *core = accept->server->core;
    grpc_call_error refused;

    accept->core = NULL;
    accept->payload = NULL;
    grpc_metadata_array_init(&accept->headers);
    WR_TAG_RELEASE(&accept->event);
    if (accept->row != NULL) {
        grpc_byte_buffer **payload = accept->row->method->client_streams ? NULL : &accept->payload;

        refused = grpc_server_request_registered_call(core, accept->row->registered, &accept->core,
            &accept->deadline, &accept->headers, payload, accept->queue, accept->queue,
            &accept->event);
    } else {
        grpc_call_details_init(&accept->details);
        refused = grpc_server_request_call(core, &accept->core, &accept->details, &accept->headers,
            accept->queue, accept->queue, &accept->event);
    }
    weir_assert(refused == GRPC_CALL_OK);
}

static void
end_accept(pending_accept *accept)
{
    weir_rpc_server *server = accept->server;

    grpc_metadata_array_destroy(&accept->headers);
    if (accept->row == NULL)
        grpc_call_details_destroy(&accept->details);
    weir_free(accept);
    pthread_mutex_lock(&server->lock);
    weir_assert(server->accepts > 0);
    server->accepts--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void
set_deadline(weir_rpc_call *call, gpr_timespec deadline)
{
    const int64_t left_ms = wr_deadline_ms(deadline);

    if (left_ms != INT64_MAX)
        call->deadline_ms = weir_clock_mono_ms() + left_ms;
}

static weir_rpc_call *
call_of(pending_accept *accept)
{
    weir_rpc_call *call;
    char path[256] = "";

    if (accept->row == NULL) {
        const weir_bytes method = wr_slice_bytes(&accept->details.method);

        snprintf(path, sizeof path, "%.*s", (int)method.size, (const char *)method.data);
        /* A method without a handler row arrives here too: it is known, and answered by its name.
         */
        call = wr_call_create(accept->server, wr_server_row(accept->server, path), path);
        set_deadline(call, accept->details.deadline);
        grpc_call_details_destroy(&accept->details);
    } else {
        call = wr_call_create(accept->server, accept->row, NULL);
        set_deadline(call, accept->deadline);
    }
    call->core = accept->core;
    call->request_headers = accept->headers;
    call->payload = accept->payload;
    return call;
}

static void
accept_fire(wr_event *event, bool ok)
{
    pending_accept *accepted = WR_OF(event, pending_accept, event);
    weir_rpc_call *call;

    if (!ok) {
        end_accept(accepted);
        return;
    }
    call = call_of(accepted);
    arm(accepted);
    weir_assert(
        wr_call_publish(call)); /* an accept that is armed again keeps the server from ending */
    wr_call_begin(call);
}

static void
start_accept(weir_rpc_server *server, const wr_row *row, grpc_completion_queue *queue)
{
    pending_accept *accept = weir_alloc_zero(1, sizeof *accept);

    accept->event.fire = accept_fire;
    accept->server = server;
    accept->row = row;
    accept->queue = queue;
    pthread_mutex_lock(&server->lock);
    server->accepts++;
    pthread_mutex_unlock(&server->lock);
    arm(accept);
}

static void
start_accepts(weir_rpc_server *server)
{
    for (unsigned i = 0; i < wr_runtime_queue_count(server->runtime); i++) {
        grpc_completion_queue *queue = wr_runtime_queue_at(server->runtime, i);

        start_accept(server, NULL, queue);
        for (wr_service *each = server->services; each != NULL; each = each->next)
            for (size_t j = 0; j < each->row_count; j++)
                if (each->rows[j].registered != NULL)
                    start_accept(server, &each->rows[j], queue);
    }
}

/* ---- starting ---- */

typedef struct core_arguments {
    grpc_arg items[20];
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

/*
 * The core checks a message's size only when it has all of it, and reads a first message before any
 * handler or interceptor runs: 300 MB sent by anybody were 300 MB here.  The quota is what bounds
 * that: beyond it the core resets streams (RESOURCE_EXHAUSTED at the client).
 */
static grpc_server *
create_bounded(core_arguments *arguments, size_t memory_bytes_max)
{
    grpc_resource_quota *quota = grpc_resource_quota_create("weir");
    grpc_server *core;

    grpc_resource_quota_resize(quota, memory_bytes_max);
    *next_argument(arguments) = (grpc_arg){
        .type = GRPC_ARG_POINTER,
        .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
        .value.pointer = { .p = quota, .vtable = grpc_resource_quota_arg_vtable() },
    };

    const grpc_channel_args given = { .num_args = arguments->count, .args = arguments->items };

    core = grpc_server_create(&given, NULL);
    grpc_resource_quota_unref(quota);
    return core;
}

static grpc_server *
new_core(const weir_rpc_server_options *options)
{
    core_arguments arguments = { 0 };

    /* A second process on the port must fail, not share it. */
    set(&arguments, GRPC_ARG_ALLOW_REUSEPORT, 0);
    /* The size of a compressed message is checked after it was inflated: take no compressed ones.
     */
    set(&arguments, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
    /* Too large is for wr_call_check_size to say, in our own words. */
    set(&arguments, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, INT32_MAX);
    set(&arguments, GRPC_ARG_MAX_METADATA_SIZE, options->metadata_bytes_max);
    set(&arguments, GRPC_ARG_MAX_CONCURRENT_STREAMS, options->concurrent_streams_max);
    set(&arguments, GRPC_ARG_KEEPALIVE_TIME_MS, options->keepalive_ms);
    set(&arguments, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    set(&arguments, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    set(&arguments, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, CLIENT_PING_MIN_MS);
    set(&arguments, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS);
    if (options->connection_idle_ms > 0)
        set(&arguments, GRPC_ARG_MAX_CONNECTION_IDLE_MS, options->connection_idle_ms);
    if (options->connection_age_ms > 0) {
        set(&arguments, GRPC_ARG_MAX_CONNECTION_AGE_MS, options->connection_age_ms);
        set(&arguments, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, options->connection_grace_ms);
    }
    return create_bounded(&arguments, options->memory_bytes_max);
}

static void
register_methods(weir_rpc_server *server)
{
    for (wr_service *each = server->services; each != NULL; each = each->next)
        for (size_t i = 0; i < each->row_count; i++) {
            wr_row *row = &each->rows[i];

            if (row->handler == NULL)
                continue;
            row->registered = grpc_server_register_method(server->core, row->method->path, NULL,
                row->method->client_streams ? GRPC_SRM_PAYLOAD_NONE
                                            : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
                0);
            weir_assert(row->registered != NULL);
        }
}

static weir_code
listen_on(weir_rpc_server *server, size_t index, weir_error *reterr)
{
    const char *address = server->addresses[index];
    grpc_server_credentials *credentials;
    weir_code code = wr_address_lock(address, &server->lock_fds[index], reterr);
    int port;

    if (code != WEIR_OK)
        return code;
    credentials = wr_tls_server_credentials(server->tls[index]);
    port = credentials == NULL ? 0 : grpc_server_add_http2_port(server->core, address, credentials);
    if (credentials != NULL)
        grpc_server_credentials_release(credentials);
    if (port == 0)
        return wr_address_explain(address, reterr);
    server->ports[index] = is_unix(address) ? 0 : port;
    return WEIR_OK;
}

static void close_core(weir_rpc_server *server);
static void unlock_addresses(weir_rpc_server *server);

weir_code
weir_rpc_server_start(weir_rpc_server *server, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    weir_assert(server->phase == WR_PREPARED && server->core == NULL);
    server->core = new_core(&server->options);
    for (unsigned i = 0; i < wr_runtime_queue_count(server->runtime); i++)
        grpc_server_register_completion_queue(server->core, wr_runtime_queue_at(server->runtime, i),
            NULL);
    register_methods(server);
    for (size_t i = 0; i < server->address_count && code == WEIR_OK; i++)
        code = listen_on(server, i, reterr);
    if (code != WEIR_OK) {
        close_core(server);
        unlock_addresses(server);
        return code;
    }
    grpc_server_start(server->core);
    pthread_mutex_lock(&server->lock);
    server->phase = WR_SERVING;
    pthread_mutex_unlock(&server->lock);
    start_accepts(server);
    return WEIR_OK;
}

int
weir_rpc_server_port(const weir_rpc_server *server, size_t index)
{
    weir_assert(index < server->address_count);
    return server->ports[index];
}

/* ---- stopping ---- */

static void
shutdown_fire(wr_event *event, bool ok)
{
    weir_rpc_server *server = WR_OF(event, weir_rpc_server, shutdown_event);

    (void)ok;
    pthread_mutex_lock(&server->lock);
    server->shutdown_seen = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* Under the lock. */
static bool
all_ended(const weir_rpc_server *server)
{
    return server->calls == NULL && server->accepts == 0 &&
        (server->core == NULL || server->shutdown_seen);
}

/* Under the lock.  False: the time is over first. */
static bool
wait_ended(weir_rpc_server *server, uint32_t wait_ms)
{
    const int64_t until_ms = weir_clock_mono_ms() + wait_ms;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (until_ms % 1000) * 1000000 };

    while (!all_ended(server))
        if (pthread_cond_timedwait(&server->changed, &server->lock, &until) == ETIMEDOUT)
            return all_ended(server);
    return true;
}

/* Under the lock: only connections without calls are left. */
static bool
is_quiet(const weir_rpc_server *server)
{
    return server->calls == NULL && server->accepts == 0;
}

/*
 * Under the lock.  Up to drain_ms for calls to end.  Connections without calls get less: a client
 * that makes no call may not look at its connection at all (grpcio), so it never says good-bye.
 */
static void
wait_drained(weir_rpc_server *server, uint32_t drain_ms)
{
    const int64_t until_ms = weir_clock_mono_ms() + drain_ms;
    bool timed_out = false;

    while (!all_ended(server) && !(timed_out && is_quiet(server))) {
        const int64_t left_ms = until_ms - weir_clock_mono_ms();
        const bool is_short = is_quiet(server) && left_ms > IDLE_CLOSE_MS;
        const int64_t wait_ms = is_short ? IDLE_CLOSE_MS : left_ms;
        const int64_t at_ms = weir_clock_mono_ms() + wait_ms;
        const struct timespec at = { .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };

        if (left_ms <= 0)
            return;
        timed_out = pthread_cond_timedwait(&server->changed, &server->lock, &at) == ETIMEDOUT;
    }
}

/* Run `visit` on every call that is not done, without the lock. */
static void
for_each_call(weir_rpc_server *server, void (*visit)(weir_rpc_call *call))
{
    weir_rpc_call **calls = NULL;
    size_t count = 0;

    pthread_mutex_lock(&server->lock);
    for (weir_rpc_call *call = server->calls; call != NULL; call = call->next)
        count++;
    calls = weir_alloc(count * sizeof calls[0] + 1);
    count = 0;
    for (weir_rpc_call *call = server->calls; call != NULL; call = call->next)
        if (wr_call_try_ref(call))
            calls[count++] = call;
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < count; i++) {
        visit(calls[i]);
        weir_rpc_call_unref(calls[i]);
    }
    weir_free(calls);
}

static void
tell_draining(weir_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->pending == 0) {
        pthread_mutex_unlock(&call->lock);
        return;
    }
    wr_call_hold(call);
    call->draining_due = true;
    wr_call_deliver(call);
    wr_call_release(call);
}

static void
cancel_local(weir_rpc_call *call)
{
    weir_error error;

    if (call->core != NULL)
        return;
    weir_error_set(&error, WEIR_DRAINING, "the server is stopping: try again later");
    wr_local_cancel(call, &error);
}

/* Under the lock. */
static void
report_stuck(const weir_rpc_server *server)
{
    const weir_rpc_call *call = server->calls;

    weir_log(WEIR_LOG_WARN, "rpc.stop_waits",
        WEIR_STR("method", call == NULL ? "" : weir_rpc_call_method(call)->path),
        WEIR_INT("accepts", server->accepts),
        WEIR_STR("message", "a call has not been finished by its handler, or is still referenced"));
}

/* Everything is cancelled: what is left is for the handlers to finish. */
static void
wait_handlers(weir_rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (!wait_ended(server, STUCK_REPORT_MS))
        report_stuck(server);
    pthread_mutex_unlock(&server->lock);
}

static void
begin_shutdown(weir_rpc_server *server)
{
    WR_TAG_RELEASE(&server->shutdown_event);
    grpc_server_shutdown_and_notify(server->core, wr_runtime_queue_at(server->runtime, 0),
        &server->shutdown_event);
}

/* A core that has begun or finished its shutdown, or never started. */
static void
close_core(weir_rpc_server *server)
{
    if (server->core == NULL)
        return;
    if (server->phase == WR_PREPARED) {
        begin_shutdown(server);
        wait_handlers(server);
    }
    grpc_server_destroy(server->core);
    server->core = NULL;
    server->shutdown_seen = false;
}

static void
unlock_addresses(weir_rpc_server *server)
{
    for (size_t i = 0; i < server->address_count; i++) {
        wr_address_unlock(server->addresses[i], server->lock_fds[i]);
        server->lock_fds[i] = -1;
    }
}

/* False: stopped before. */
static bool
enter_stopping(weir_rpc_server *server)
{
    bool first;

    pthread_mutex_lock(&server->lock);
    first = server->phase < WR_STOPPING;
    if (first)
        server->phase = WR_STOPPING;
    pthread_mutex_unlock(&server->lock);
    return first;
}

void
weir_rpc_server_stop(weir_rpc_server *server, uint32_t drain_ms)
{
    weir_assert(!wr_on_poller());
    if (!enter_stopping(server))
        return;
    wr_health_stop(server);
    for_each_call(server, tell_draining);
    if (server->core != NULL)
        begin_shutdown(server);
    pthread_mutex_lock(&server->lock);
    wait_drained(server, drain_ms);
    pthread_mutex_unlock(&server->lock);

    if (server->core != NULL)
        grpc_server_cancel_all_calls(server->core);
    for_each_call(server, cancel_local);
    wait_handlers(server);

    pthread_mutex_lock(&server->lock);
    server->phase = WR_STOPPED;
    pthread_mutex_unlock(&server->lock);
    wr_local_stop_timer(server);
    wr_pool_destroy(&server->pool);
    close_core(server);
    unlock_addresses(server);
}
