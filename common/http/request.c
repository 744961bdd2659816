/*
 * request.c - what a handler can ask of a request, and how its answer finds the connection.
 *
 * Two owners: the connection (until it is over) and the handler (until it has answered); the last
 * one frees.  A suspended connection is resumed by the answer, so that waiting costs no thread. All
 * changes of phase are made under the request's lock.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"

enum { STREAM_FULL_BYTES = 256 << 10, STREAM_BLOCK_BYTES = 16 << 10 };

static void
init_recursive(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

weir_http_request *
http_request_create(weir_http_server *server, const char *uri)
{
    weir_http_request *request = weir_alloc_zero(1, sizeof *request);

    request->server = server;
    request->references = 1;
    request->arena = weir_arena_create(0);
    pthread_mutex_init(&request->lock, NULL);
    init_recursive(&request->callbacks);
    char *path = weir_arena_strdup(request->arena, uri);
    char *question = strchr(path, '?');
    if (question != NULL) {
        *question = '\0';
        request->query = question + 1;
    }
    request->path = path;
    pthread_mutex_lock(&server->lock);
    request->next = server->requests;
    if (request->next != NULL)
        request->next->previous = request;
    server->requests = request;
    pthread_mutex_unlock(&server->lock);
    return request;
}

static void
unlink_request(weir_http_request *request)
{
    weir_http_server *server = request->server;

    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        server->requests = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
}

void
http_request_unref(weir_http_request *request)
{
    weir_http_server *server = request->server;

    pthread_mutex_lock(&server->lock);
    const bool last = --request->references == 0;
    if (last)
        unlink_request(request);
    pthread_mutex_unlock(&server->lock);
    if (!last)
        return;
    if (request->response != NULL)
        MHD_destroy_response(request->response);
    weir_buffer_fini(&request->body);
    weir_buffer_fini(&request->queue);
    weir_arena_destroy(&request->arena);
    pthread_mutex_destroy(&request->lock);
    pthread_mutex_destroy(&request->callbacks);
    weir_free(request);
}

bool
http_request_own(weir_http_request *request)
{
    weir_http_server *server = request->server;

    pthread_mutex_lock(&server->lock);
    const bool taken = !server->stopping;
    if (taken) {
        request->references++;
        server->owned_count++;
    }
    pthread_mutex_unlock(&server->lock);
    if (taken) {
        pthread_mutex_lock(&request->lock);
        request->phase = HTTP_HANDLING;
        pthread_mutex_unlock(&request->lock);
    }
    return taken;
}

void
http_request_disown(weir_http_request *request)
{
    weir_http_server *server = request->server;

    http_request_unref(request);
    pthread_mutex_lock(&server->lock);
    if (--server->owned_count == 0)
        pthread_cond_broadcast(&server->unowned);
    pthread_mutex_unlock(&server->lock);
}

/* ---- the head ---- */

static enum MHD_Result
count_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind, (void)name, (void)value;
    ++*(size_t *)context;
    return MHD_YES;
}

static enum MHD_Result
copy_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    weir_http_request *request = context;

    (void)kind;
    request->headers[request->header_count++] = (http_pair){
        .name = weir_arena_strdup(request->arena, name),
        .value = weir_arena_strdup(request->arena, value != NULL ? value : ""),
    };
    return MHD_YES;
}

static void
take_peer(weir_http_request *request, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char address[INET6_ADDRSTRLEN] = "";

    if (info == NULL || info->client_addr == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->client_addr;
        inet_ntop(AF_INET, &in->sin_addr, address, sizeof address);
        snprintf(request->peer, sizeof request->peer, "%s:%u", address,
            (unsigned)ntohs(in->sin_port));
    } else if (info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in =
            (const struct sockaddr_in6 *)(const void *)info->client_addr;
        inet_ntop(AF_INET6, &in->sin6_addr, address, sizeof address);
        snprintf(request->peer, sizeof request->peer, "[%s]:%u", address,
            (unsigned)ntohs(in->sin6_port));
    }
}

static bool
escapes_are_good(weir_http_request *request, const char *text)
{
    const size_t size = strlen(text);

    return weir_http_percent_decode(text, size, weir_arena_alloc(request->arena, size + 1));
}

void
http_request_take_head(weir_http_request *request, struct MHD_Connection *connection,
    const char *method)
{
    size_t count = 0;

    request->method = weir_arena_strdup(request->arena, method);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &count);
    request->headers =
        weir_arena_alloc_zero(request->arena, (count + 1) * sizeof *request->headers);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, copy_header, request);
    take_peer(request, connection);
    if (request->path[0] != '/' || !escapes_are_good(request, request->path) ||
        (request->query != NULL && !escapes_are_good(request, request->query)))
        request->refused_status = MHD_HTTP_BAD_REQUEST;
}

const char *
weir_http_method(const weir_http_request *request)
{
    return request->method;
}

const char *
weir_http_path(const weir_http_request *request)
{
    return request->path;
}

const char *
weir_http_header(const weir_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

weir_bytes
weir_http_body(const weir_http_request *request)
{
    return weir_buffer_view(&request->body);
}

const char *
weir_http_peer(const weir_http_request *request)
{
    return request->peer;
}

static int
hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    const int lower = tolower((unsigned char)digit);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool
weir_http_percent_decode(const char *text, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            *out++ = text[i];
            continue;
        }
        const int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return false;
        *out++ = (char)(high << 4 | low);
        i += 2;
    }
    *out = '\0';
    return true;
}

/* Decode one part of a query, where a plus is a blank. */
static const char *
decode_part(weir_arena *arena, const char *text, size_t size)
{
    char *plain = weir_arena_alloc(arena, size + 1);
    char *decoded = weir_arena_alloc(arena, size + 1);

    for (size_t i = 0; i < size; i++)
        plain[i] = text[i] == '+' ? ' ' : text[i];
    return weir_http_percent_decode(plain, size, decoded) ? decoded : NULL;
}

const char *
weir_http_query(const weir_http_request *request, const char *name)
{
    const char *at = request->query;

    while (at != NULL && *at != '\0') {
        const size_t size = strcspn(at, "&");
        const char *equals = memchr(at, '=', size);
        const size_t name_size = equals != NULL ? (size_t)(equals - at) : size;
        const char *decoded = decode_part(request->arena, at, name_size);
        if (decoded != NULL && strcmp(decoded, name) == 0)
            return equals == NULL ? ""
                                  : decode_part(request->arena, equals + 1, size - name_size - 1);
        at += size + (at[size] == '&');
    }
    return NULL;
}

static bool
is_in(const char *const *names, const char *name)
{
    while (*names != NULL)
        if (strcmp(*names++, name) == 0)
            return true;
    return false;
}

const char *
weir_http_query_other(const weir_http_request *request, const char *const *names)
{
    const char *at = request->query;

    while (at != NULL && *at != '\0') {
        const char *name = decode_part(request->arena, at, strcspn(at, "&="));
        if (name != NULL && !is_in(names, name))
            return name;
        at += strcspn(at, "&");
        at += *at == '&';
    }
    return NULL;
}

/* ---- the owner ---- */

void
weir_http_set_state(weir_http_request *request, void *state,
    void (*gone)(weir_http_request *, void *))
{
    pthread_mutex_lock(&request->lock);
    request->state = state;
    request->gone = gone;
    pthread_mutex_unlock(&request->lock);
}

void
http_request_tell_gone(weir_http_request *request)
{
    void (*gone)(weir_http_request *, void *) = NULL;

    pthread_mutex_lock(&request->callbacks);
    pthread_mutex_lock(&request->lock);
    const bool owed = request->phase == HTTP_HANDLING || request->phase == HTTP_STREAMING;
    if (owed && !request->gone_told)
        gone = request->gone;
    request->gone_told = true;
    void *state = request->state;
    pthread_mutex_unlock(&request->lock);
    if (gone != NULL)
        gone(request, state);
    pthread_mutex_unlock(&request->callbacks);
}

void
http_request_over(weir_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    request->connection = NULL;
    pthread_mutex_unlock(&request->lock);
    http_request_tell_gone(request);
    http_request_unref(request);
}

/* ---- the answer ---- */

static void
resume(weir_http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    MHD_resume_connection(request->connection);
}

enum MHD_Result
http_request_continue(weir_http_request *request, struct MHD_Connection *connection)
{
    enum MHD_Result result = MHD_YES;

    pthread_mutex_lock(&request->lock);
    if (request->response != NULL && !request->queued) {
        request->queued = true;
        result = MHD_queue_response(connection, (unsigned)request->status, request->response);
    } else if (request->response == NULL) {
        request->suspended = true;
        MHD_suspend_connection(connection);
    }
    pthread_mutex_unlock(&request->lock);
    return result;
}

static struct MHD_Response *
make_response(const weir_http_answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_copy(answer->body.size,
        answer->body.size > 0 ? answer->body.data : NULL);

    weir_assert(response != NULL);
    weir_assert(answer->header_count <= WEIR_HTTP_HEADERS_MAX);
    if (answer->content_type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    /* A value that is no header text (a line feed in it) is left out by the library: nothing can be
     * smuggled in. */
    for (size_t i = 0; i < answer->header_count; i++)
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    return response;
}

static void
set_response(weir_http_request *request, http_phase phase, struct MHD_Response *response,
    int status)
{
    pthread_mutex_lock(&request->callbacks);
    pthread_mutex_lock(&request->lock);
    weir_assert(request->phase == HTTP_HANDLING);
    request->phase = phase;
    request->response = response;
    request->status = status;
    resume(request);
    pthread_mutex_unlock(&request->lock);
    pthread_mutex_unlock(&request->callbacks);
}

void
weir_http_respond(weir_http_request *request, const weir_http_answer *answer)
{
    set_response(request, HTTP_ANSWERED, make_response(answer), answer->status);
    http_request_disown(request);
}

void
weir_http_respond_text(weir_http_request *request, int status, const char *content_type,
    const char *body)
{
    weir_http_respond(request,
        &(weir_http_answer){ .status = status,
            .content_type = content_type,
            .body = weir_bytes_str(body) });
}

enum MHD_Result
http_refuse(weir_http_request *request, struct MHD_Connection *connection)
{
    const char *content_type = "text/plain; charset=utf-8";
    const char *body = "the request is malformed\n";

    if (request->refused_status == MHD_HTTP_CONTENT_TOO_LARGE)
        body = "the body is too large\n";
    else if (request->refused_status == MHD_HTTP_SERVICE_UNAVAILABLE)
        body = "the server stops\n";
    if (request->server->options.refused != NULL)
        request->server->options.refused(request->refused_status, &content_type, &body);
    struct MHD_Response *response = make_response(&(weir_http_answer){ .content_type = content_type,
        .body = weir_bytes_str(body) });
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    const enum MHD_Result result =
        MHD_queue_response(connection, (unsigned)request->refused_status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- streams ---- */

/* Some of the queue, the end, or 0 after suspending the connection.  Under the lock. */
static ssize_t
take_from_queue(weir_http_request *request, char *out, size_t max)
{
    const size_t left = request->queue.size - request->queue_at;
    const size_t size = left < max ? left : max;

    if (left == 0 && request->stream_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        request->suspended = true;
        MHD_suspend_connection(request->connection);
        return 0;
    }
    memcpy(out, request->queue.data + request->queue_at, size);
    request->queue_at += size;
    if (request->queue_at == request->queue.size) {
        weir_buffer_clear(&request->queue);
        request->queue_at = 0;
    }
    return (ssize_t)size;
}

static void
tell_writable(weir_http_request *request)
{
    pthread_mutex_lock(&request->callbacks);
    pthread_mutex_lock(&request->lock);
    const bool tell = request->stream_full && !request->stream_ended && request->queue.size == 0;
    if (tell)
        request->stream_full = false;
    void *state = request->state;
    pthread_mutex_unlock(&request->lock);
    if (tell && request->writable != NULL)
        request->writable(request, state);
    pthread_mutex_unlock(&request->callbacks);
}

/* Runs on the connection's thread whenever the socket takes bytes. */
static ssize_t
read_stream(void *context, uint64_t position, char *out, size_t max)
{
    weir_http_request *request = context;

    (void)position;
    pthread_mutex_lock(&request->lock);
    const ssize_t size = take_from_queue(request, out, max);
    const bool room = request->stream_full && request->queue.size == 0;
    pthread_mutex_unlock(&request->lock);
    if (room)
        tell_writable(request);
    return size;
}

void
weir_http_stream_begin(weir_http_request *request, int status, const char *content_type,
    void (*writable)(weir_http_request *, void *))
{
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN,
        STREAM_BLOCK_BYTES, read_stream, request, NULL);

    weir_assert(response != NULL);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    request->writable = writable;
    set_response(request, HTTP_STREAMING, response, status);
}

weir_http_sent
weir_http_stream_send(weir_http_request *request, weir_bytes bytes)
{
    weir_http_sent sent = WEIR_HTTP_GONE;

    pthread_mutex_lock(&request->lock);
    weir_assert(request->phase == HTTP_STREAMING && !request->stream_ended);
    if (request->connection != NULL) {
        weir_buffer_append(&request->queue, bytes.data, bytes.size);
        if (request->queue.size - request->queue_at > STREAM_FULL_BYTES)
            request->stream_full = true;
        sent = request->stream_full ? WEIR_HTTP_FULL : WEIR_HTTP_SENT;
        resume(request);
    }
    pthread_mutex_unlock(&request->lock);
    return sent;
}

void
weir_http_stream_end(weir_http_request *request)
{
    pthread_mutex_lock(&request->callbacks);
    pthread_mutex_lock(&request->lock);
    weir_assert(request->phase == HTTP_STREAMING && !request->stream_ended);
    request->stream_ended = true;
    request->phase = HTTP_ANSWERED;
    resume(request);
    pthread_mutex_unlock(&request->lock);
    pthread_mutex_unlock(&request->callbacks);
    http_request_disown(request);
}
