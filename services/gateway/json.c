/*
 * json.c - see json.h: requests become calls inside this process, and their answers JSON.
 *
 * An exchange belongs to the call from its start to `answered`; a client that goes away cancels the
 * call, which is then answered all the same.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/json/json.h"
#include "common/wire/wire.h"
#include "google/rpc/status.pb-c.h"
#include "services/gateway/json_internal.h"

enum { TIMEOUT_DIGITS_MAX = 10, FORWARDED_MAX = 4 };
enum { METHOD_NOT_ALLOWED = 405, UNSUPPORTED_MEDIA_TYPE = 415 }; /* HTTP, as Connect has them */

struct gateway_json {
    gateway *self;
    weir_http_server *server;
    bool is_draining; /* atomic */
};

typedef struct exchange {
    gateway_json *json;
    weir_http_request *request;
    pthread_mutex_t lock;
    weir_rpc_call *call; /* a reference, once the call is made; under the lock */
    bool is_gone;        /* the client; under the lock */
    int references;      /* of the starter and of the answer; under the lock */
} exchange;

/* ---- answers ---- */

/* Connect's table of codes, by the gRPC number. */
static const struct {
    const char *name;
    int http;
} connect_codes[] = {
    [0] = { "ok", 200 },
    [1] = { "canceled", 499 },
    [2] = { "unknown", 500 },
    [3] = { "invalid_argument", 400 },
    [4] = { "deadline_exceeded", 504 },
    [5] = { "not_found", 404 },
    [6] = { "already_exists", 409 },
    [7] = { "permission_denied", 403 },
    [8] = { "resource_exhausted", 429 },
    [9] = { "failed_precondition", 400 },
    [10] = { "aborted", 409 },
    [11] = { "out_of_range", 400 },
    [12] = { "unimplemented", 501 },
    [13] = { "internal", 500 },
    [14] = { "unavailable", 503 },
    [15] = { "data_loss", 500 },
    [16] = { "unauthenticated", 401 },
};

static void
append_text(weir_buffer *out, const char *text)
{
    weir_buffer_append(out, text, strlen(text));
}

static void
append_detail(weir_buffer *out, const Google__Protobuf__Any *detail)
{
    const char *slash = strrchr(detail->type_url, '/');

    append_text(out, "{\"type\":");
    weir_json_append_string(out, weir_bytes_str(slash != NULL ? slash + 1 : detail->type_url));
    append_text(out, ",\"value\":\"");
    weir_json_append_base64(out, weir_bytes_of(detail->value.data, detail->value.len));
    while (out->size > 0 && out->data[out->size - 1] == '=') /* Connect leaves the padding out */
        out->size--;
    append_text(out, "\"}");
}

static void
append_error(weir_buffer *out, const weir_error *error, const char *request_id)
{
    weir_arena *arena = weir_arena_create(0);
    weir_buffer packed = { 0 };
    ProtobufCMessage *message = NULL;
    weir_error broken;

    append_text(out, "{\"code\":\"");
    append_text(out, connect_codes[weir_code_grpc_status(error->code)].name);
    append_text(out, "\",\"message\":");
    weir_json_append_string(out, weir_bytes_str(error->message));
    append_text(out, ",\"details\":[");
    weir_rpc_status_encode(error, request_id, &packed);
    if (weir_wire_decode(&google__rpc__status__descriptor, weir_buffer_view(&packed), NULL, arena,
            &message, &broken) == WEIR_OK) {
        const Google__Rpc__Status *status = (const Google__Rpc__Status *)(const void *)message;

        for (size_t i = 0; i < status->n_details; i++) {
            append_text(out, i > 0 ? "," : "");
            append_detail(out, status->details[i]);
        }
    }
    append_text(out, "]}");
    weir_buffer_fini(&packed);
    weir_arena_destroy(&arena);
}

static void
respond(weir_http_request *request, int status, weir_bytes body, const char *request_id,
    uint32_t retry_after_ms)
{
    weir_http_header_line headers[3];
    char seconds[16];
    weir_http_answer answer = { .status = status,
        .content_type = "application/json",
        .body = body,
        .headers = headers };

    if (request_id != NULL)
        headers[answer.header_count++] = (weir_http_header_line){ "x-request-id", request_id };
    if (status == METHOD_NOT_ALLOWED)
        headers[answer.header_count++] = (weir_http_header_line){ "Allow", "POST" };
    if (retry_after_ms > 0) {
        snprintf(seconds, sizeof seconds, "%u", (retry_after_ms + 999) / 1000);
        headers[answer.header_count++] = (weir_http_header_line){ "Retry-After", seconds };
    }
    weir_http_respond(request, &answer);
}

static void
respond_error(weir_http_request *request, int status, const weir_error *error,
    const char *request_id)
{
    weir_buffer body = { 0 };

    append_error(&body, error, request_id);
    respond(request, status != 0 ? status : connect_codes[weir_code_grpc_status(error->code)].http,
        weir_buffer_view(&body), request_id, error->retry_after_ms);
    weir_buffer_fini(&body);
}

static void
respond_message(weir_http_request *request, const ProtobufCMessage *message, const char *request_id)
{
    const weir_json_options options = { .emit_defaults = false };
    weir_buffer body = { 0 };
    weir_error error;

    if (weir_json_encode(message, &options, &body, &error) == WEIR_OK)
        respond(request, 200, weir_buffer_view(&body), request_id, 0);
    else
        respond_error(request, 0, &error, request_id);
    weir_buffer_fini(&body);
}

/* ---- one exchange ---- */

static void
exchange_unref(exchange *self)
{
    pthread_mutex_lock(&self->lock);
    const bool is_last = --self->references == 0;
    pthread_mutex_unlock(&self->lock);
    if (!is_last)
        return;
    if (self->call != NULL)
        weir_rpc_call_unref(self->call);
    pthread_mutex_destroy(&self->lock);
    weir_free(self);
}

static void
client_is_gone(weir_http_request *request, void *state)
{
    exchange *self = state;
    weir_rpc_call *call = NULL;

    (void)request;
    pthread_mutex_lock(&self->lock);
    self->is_gone = true;
    if (self->call != NULL) {
        call = self->call;
        weir_rpc_call_ref(call);
    }
    pthread_mutex_unlock(&self->lock);
    if (call == NULL)
        return;
    weir_rpc_invocation_cancel(call);
    weir_rpc_call_unref(call);
}

static void
answered(const weir_rpc_answer *answer, void *context)
{
    exchange *self = context;

    if (answer->error->code != WEIR_OK)
        respond_error(self->request, 0, answer->error, answer->request_id);
    else
        respond_message(self->request, answer->response, answer->request_id);
    exchange_unref(self);
}

/* Headers of the request that a call understands. */
static size_t
forward_headers(const weir_http_request *request, weir_rpc_metadata *out)
{
    static const char *const names[FORWARDED_MAX] = { "authorization", "x-request-id",
        "traceparent", "user-agent" };
    size_t count = 0;

    for (size_t i = 0; i < FORWARDED_MAX; i++) {
        const char *value = weir_http_header(request, names[i]);

        if (value != NULL)
            out[count++] = (weir_rpc_metadata){ .key = names[i], .value = weir_bytes_str(value) };
    }
    return count;
}

static weir_code
read_timeout(const weir_http_request *request, uint32_t *ret_timeout_ms, weir_error *reterr)
{
    const char *text = weir_http_header(request, "connect-timeout-ms");
    char *end = NULL;

    *ret_timeout_ms = 0;
    if (text == NULL)
        return WEIR_OK;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || strlen(text) > TIMEOUT_DIGITS_MAX ||
        value == 0)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
            "Connect-Timeout-Ms must be 1 to 10 digits of milliseconds");
    *ret_timeout_ms = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    return WEIR_OK;
}

static void
start_call(gateway_json *json, weir_http_request *request, json_wish *wish, uint32_t timeout_ms)
{
    exchange *self = weir_alloc_zero(1, sizeof *self);
    weir_rpc_metadata metadata[FORWARDED_MAX];
    const weir_rpc_invocation invocation = {
        .service = wish->method->service,
        .method = wish->method->name,
        .request = wish->message,
        .arena_p = &wish->arena,
        .metadata = metadata,
        .metadata_count = forward_headers(request, metadata),
        .timeout_ms = timeout_ms,
        .peer = weir_http_peer(request),
        .done = answered,
        .context = self,
    };
    weir_rpc_call *call = NULL;

    self->json = json;
    self->request = request;
    self->references = 2;
    pthread_mutex_init(&self->lock, NULL);
    weir_http_set_state(request, self, client_is_gone);
    weir_rpc_server_invoke(json->self->service->server, &invocation, &call);
    pthread_mutex_lock(&self->lock);
    self->call = call;
    const bool is_gone = self->is_gone;
    pthread_mutex_unlock(&self->lock);
    if (is_gone && call != NULL)
        weir_rpc_invocation_cancel(call);
    exchange_unref(self);
}

/* ---- Connect ---- */

/* "application/json", with or without parameters. */
static bool
is_json(const char *type)
{
    static const char wanted[] = "application/json";
    const size_t size = sizeof wanted - 1;

    return type != NULL && strncasecmp(type, wanted, size) == 0 &&
        (type[size] == '\0' || type[size] == ';' || type[size] == ' ');
}

static weir_code
check_connect(const weir_http_request *request, json_wish *wish, weir_error *reterr)
{
    const weir_rpc_method *method = wish->method;

    if (method == NULL)
        return weir_error_set(reterr, WEIR_UNIMPLEMENTED, "there is no method %s",
            weir_http_path(request));
    if (method->client_streams || method->server_streams)
        return weir_error_set(reterr, WEIR_UNIMPLEMENTED, "%s is a stream; use gRPC for it",
            method->name);
    if (strcmp(weir_http_method(request), "POST") != 0) {
        wish->status = METHOD_NOT_ALLOWED;
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT, "%s is called with POST",
            method->name);
    }
    if (is_json(weir_http_header(request, "content-type")))
        return WEIR_OK;
    wish->status = UNSUPPORTED_MEDIA_TYPE;
    return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
        "the body is to be JSON: Content-Type: application/json");
}

static weir_code
parse_connect(gateway_json *json, const weir_http_request *request, json_wish *wish,
    weir_error *reterr)
{
    const weir_bytes body = weir_http_body(request);

    wish->method = weir_rpc_server_method(json->self->service->server, weir_http_path(request));
    const weir_code code = check_connect(request, wish, reterr);
    if (code != WEIR_OK)
        return code;
    return weir_json_decode(wish->method->input, body.size > 0 ? body : weir_bytes_str("{}"),
        wish->arena, &wish->message, reterr);
}

/* ---- the port ---- */

/* Of a request that never became a call: as the caller named it, or a new one. */
static const char *
request_id_of(const weir_http_request *request, char made[37])
{
    const char *given = weir_http_header(request, "x-request-id");
    const size_t size = given != NULL ? strlen(given) : 0;
    bool is_good = size > 0 && size <= WEIR_REQUEST_ID_BYTES_MAX;
    uint8_t random[10];

    for (size_t i = 0; is_good && i < size; i++)
        is_good = given[i] > ' ' && given[i] <= '~';
    if (is_good)
        return given;
    weir_random_bytes(random, sizeof random);
    weir_uuid7_format(weir_clock_wall_ms(), random, made);
    return made;
}

static void
handle(weir_http_request *request, void *context)
{
    gateway_json *json = context;
    const bool is_rest = strncmp(weir_http_path(request), "/v1/", 4) == 0;
    json_wish wish = { .arena = weir_arena_create(0) };
    char made[37];
    uint32_t timeout_ms = 0;
    weir_error error = { .code = WEIR_OK };
    weir_code code = WEIR_OK;

    if (__atomic_load_n(&json->is_draining, __ATOMIC_ACQUIRE)) {
        code = weir_error_set(&error, WEIR_DRAINING,
            "the service is about to stop; try again in a moment");
        error.retry_after_ms = 500;
    }
    if (code == WEIR_OK)
        code = read_timeout(request, &timeout_ms, &error);
    if (code == WEIR_OK)
        code = is_rest ? gateway_rest_parse(json->self->service->server, request, &wish, &error)
                       : parse_connect(json, request, &wish, &error);
    if (code == WEIR_OK)
        start_call(json, request, &wish, timeout_ms);
    else
        respond_error(request, wish.status, &error, request_id_of(request, made));
    weir_arena_destroy(&wish.arena);
}

static void
refused(int status, const char **ret_content_type, const char **ret_body)
{
    static const char too_large[] =
        "{\"code\":\"invalid_argument\",\"message\":\"the body is too large; use UploadDocument "
        "over gRPC for documents above 4 MiB\",\"details\":[]}";
    static const char too_many[] =
        "{\"code\":\"unavailable\",\"message\":\"too many connections; try again\",\"details\":[]}";
    static const char malformed[] =
        "{\"code\":\"invalid_argument\",\"message\":\"the request is not "
        "well-formed HTTP\",\"details\":[]}";

    *ret_content_type = "application/json";
    *ret_body = status == 413 ? too_large : status == 503 ? too_many : malformed;
}

weir_code
gateway_json_start(gateway *self, gateway_json **ret_json, weir_error *reterr)
{
    gateway_json *json = weir_alloc_zero(1, sizeof *json);
    const weir_suite_config *config = self->config;
    const weir_http_options options = {
        .address = config->common.listen_address,
        .port = weir_suite_json_port(config),
        .threads = config->gateway.http_threads,
        .connections_max = config->common.http_connections_max,
        .body_bytes_max = (size_t)config->gateway.http_body_bytes_max,
        .timeout_ms = config->common.http_timeout_ms,
        .handler = handle,
        .context = json,
        .refused = refused,
    };

    json->self = self;
    const weir_code code = weir_http_server_start(&options, &json->server, reterr);
    if (code != WEIR_OK) {
        weir_free(json);
        return code;
    }
    *ret_json = json;
    return WEIR_OK;
}

void
gateway_json_drain(gateway_json *json)
{
    if (json == NULL)
        return;
    __atomic_store_n(&json->is_draining, true, __ATOMIC_RELEASE);
    weir_http_server_quiesce(json->server);
}

void
gateway_json_stop(gateway_json **json_p)
{
    gateway_json *json = *json_p;

    if (json == NULL)
        return;
    weir_http_server_stop(&json->server);
    weir_free(json);
    *json_p = NULL;
}
