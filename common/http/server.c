/*
 * server.c - libmicrohttpd as weir uses it: own listening socket, bounded bodies, suspended
 * requests.
 *
 * The library forbids stopping with suspended connections, so stop tells every owner that its
 * client is gone and waits until all have answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/http/http_internal.h"

enum { OVERRUN_BYTES_MAX = 1 << 20 }; /* read beyond the limit to be able to answer 413 */

/* ---- callbacks of the library ---- */

static void *
on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)connection;
    return http_request_create(context, uri);
}

static void
on_completed(void *context, struct MHD_Connection *connection, void **request_p,
    enum MHD_RequestTerminationCode code)
{
    (void)context, (void)connection, (void)code;
    if (*request_p != NULL)
        http_request_over(*request_p);
    *request_p = NULL;
}

/* The head is complete.  A declared length over the limit is refused before a byte of it is read.
 */
static enum MHD_Result
begin(weir_http_request *request, struct MHD_Connection *connection, const char *method)
{
    http_request_take_head(request, connection, method);
    request->connection = connection;
    const char *length = weir_http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && strtoull(length, NULL, 10) > request->server->options.body_bytes_max)
        request->refused_status = MHD_HTTP_CONTENT_TOO_LARGE;
    return request->refused_status != 0 ? http_refuse(request, connection) : MHD_YES;
}

static enum MHD_Result
take_body(weir_http_request *request, const char *data, size_t *size)
{
    if (request->body.size + *size <= request->server->options.body_bytes_max &&
        request->refused_status == 0) {
        weir_buffer_append(&request->body, data, *size);
    } else {
        request->refused_status = MHD_HTTP_CONTENT_TOO_LARGE;
        request->overrun_bytes += *size;
    }
    *size = 0;
    return request->overrun_bytes > OVERRUN_BYTES_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result
dispatch(weir_http_request *request, struct MHD_Connection *connection)
{
    if (request->refused_status == 0 && !http_request_own(request))
        request->refused_status = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (request->refused_status != 0)
        return http_refuse(request, connection);
    request->server->options.handler(request, request->server->options.context);
    return http_request_continue(request, connection);
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *data_size, void **request_p)
{
    weir_http_request *request = *request_p;

    (void)context, (void)url, (void)version;
    if (request->method == NULL)
        return begin(request, connection, method);
    if (*data_size > 0)
        return take_body(request, data, data_size);
    if (request->phase == HTTP_READING)
        return dispatch(request, connection);
    return http_request_continue(request, connection); /* resumed */
}

/* ---- start and stop ---- */

static weir_code
parse_address(const char *text, uint16_t port, struct sockaddr_storage *out, socklen_t *ret_size,
    weir_error *reterr)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_size = sizeof *v4;
        return WEIR_OK;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_size = sizeof *v6;
        return WEIR_OK;
    }
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "HTTP address \"%s\" is not an IP address",
        text);
}

static weir_code
listen_error(const weir_http_options *options, int fd, weir_error *reterr)
{
    const int problem = errno;

    close(fd);
    if (problem == EADDRINUSE)
        return weir_error_set(reterr, WEIR_ADDRESS_IN_USE, "another process listens on %s:%u",
            options->address, (unsigned)options->port);
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "cannot listen on %s:%u: %s",
        options->address, (unsigned)options->port, strerror(problem));
}

static weir_code
listen_on(weir_http_server *server, int *ret_fd, weir_error *reterr)
{
    const weir_http_options *options = &server->options;
    struct sockaddr_storage address;
    socklen_t size = 0;
    const int on = 1;
    const weir_code code = parse_address(options->address, options->port, &address, &size, reterr);

    if (code != WEIR_OK)
        return code;
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "no socket for %s: %s", options->address,
            strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0)
        return listen_error(options, fd, reterr);
    getsockname(fd, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.ss_family == AF_INET
            ? ((const struct sockaddr_in *)(const void *)&address)->sin_port
            : ((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    *ret_fd = fd;
    return WEIR_OK;
}

static void
fill_defaults(weir_http_options *options)
{
    options->threads = options->threads == 0 ? 1 : options->threads;
    options->connections_max = options->connections_max == 0 ? 64 : options->connections_max;
    if (options->connections_max < options->threads)
        options->connections_max = options->threads;
    options->body_bytes_max = options->body_bytes_max == 0 ? 64 << 10 : options->body_bytes_max;
    options->timeout_ms = options->timeout_ms == 0 ? 30000 : options->timeout_ms;
}

static struct MHD_Daemon *
start_daemon(weir_http_server *server, int fd)
{
    const weir_http_options *options = &server->options;
    const struct MHD_OptionItem pool[] = {
        { options->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END,
            (intptr_t)options->threads, NULL },
        { MHD_OPTION_END, 0, NULL },
    };

    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        on_request, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((options->timeout_ms + 999) / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)WEIR_HTTP_HEADER_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_uri, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
}

weir_code
weir_http_server_start(const weir_http_options *options, weir_http_server **ret_server,
    weir_error *reterr)
{
    weir_assert(options->handler != NULL);
    weir_http_server *server = weir_alloc_zero(1, sizeof *server);
    int fd = -1;

    server->options = *options;
    server->quiesced_fd = -1;
    fill_defaults(&server->options);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->unowned, NULL);
    weir_code code = listen_on(server, &fd, reterr);
    if (code == WEIR_OK) {
        server->daemon = start_daemon(server, fd);
        if (server->daemon == NULL) {
            close(fd);
            code = weir_error_set(reterr, WEIR_INTERNAL,
                "the HTTP server on port %u does not start", (unsigned)server->port);
        }
    }
    if (code != WEIR_OK) {
        weir_http_server_stop(&server);
        return code;
    }
    *ret_server = server;
    return WEIR_OK;
}

uint16_t
weir_http_server_port(const weir_http_server *server)
{
    return server->port;
}

/* The library's threads may still look at the socket, so it is closed after they have ended. */
void
weir_http_server_quiesce(weir_http_server *server)
{
    if (server->quiesced_fd >= 0)
        return;
    server->quiesced_fd = MHD_quiesce_daemon(server->daemon);
    if (server->quiesced_fd >= 0)
        shutdown(server->quiesced_fd, SHUT_RDWR);
}

/* The first request whose owner was not told yet, with a reference; NULL: none. */
static weir_http_request *
next_untold(weir_http_server *server)
{
    weir_http_request *found = NULL;

    for (weir_http_request *it = server->requests; it != NULL && found == NULL; it = it->next) {
        pthread_mutex_lock(&it->lock);
        if (!it->gone_told)
            found = it;
        pthread_mutex_unlock(&it->lock);
    }
    if (found != NULL)
        found->references++;
    return found;
}

static void
wait_for_owners(weir_http_server *server)
{
    weir_http_request *request;

    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    while ((request = next_untold(server)) != NULL) {
        pthread_mutex_unlock(&server->lock);
        http_request_tell_gone(request);
        http_request_unref(request);
        pthread_mutex_lock(&server->lock);
    }
    while (server->owned_count > 0)
        pthread_cond_wait(&server->unowned, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

void
weir_http_server_stop(weir_http_server **server_p)
{
    weir_http_server *server = *server_p;

    if (server == NULL)
        return;
    if (server->daemon != NULL) {
        weir_http_server_quiesce(server);
        wait_for_owners(server);
        MHD_stop_daemon(server->daemon);
        close(server->quiesced_fd);
    }
    weir_assert(server->requests == NULL);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->unowned);
    weir_free(server);
    *server_p = NULL;
}
