/*
 * http.h - a small HTTP/1.1 server: admin pages of every service, and the JSON front end of the
 * gateway.
 *
 * One handler per server; it answers each request exactly once, at once or later from any thread
 * (the connection is suspended meanwhile and holds no thread).  Bounds: connections, body bytes
 * (413 before the rest is read), header bytes, time without progress.  A request whose client has
 * gone is still to be answered; the answer goes nowhere.
 *
 * Threads: the handler runs on one of the server's threads and must not block for long; it may run
 * on several at once. Answering, sending and cancelling from any thread.
 */
#ifndef WEIR_HTTP_HTTP_H
#define WEIR_HTTP_HTTP_H

#include "common/base/bytes.h"
#include "common/base/error.h"

enum { WEIR_HTTP_HEADERS_MAX = 16, WEIR_HTTP_HEADER_MEMORY = 32 << 10 };

typedef struct weir_http_server weir_http_server;
typedef struct weir_http_request weir_http_request;

/* Called once the whole body is there.  The request lives until it is answered (or its stream
 * ended). */
typedef void weir_http_handler(weir_http_request *request, void *context);

typedef struct weir_http_options {
    const char *address;      /* "127.0.0.1", "::1", "0.0.0.0" */
    uint16_t port;            /* 0: any, see weir_http_server_port */
    uint32_t threads;         /* 0: 1 */
    uint32_t connections_max; /* 0: 64 */
    size_t body_bytes_max;    /* 0: 64 KiB; larger: 413 */
    uint32_t timeout_ms;      /* without progress; 0: 30 s.  Suspended requests do not count */
    weir_http_handler *handler;
    void *context;
    /* Body of the answer to a request that is refused before the handler (400, 413, 503):
     * "application/json" and text by status; NULL: a line of plain text. */
    void (*refused)(int status, const char **ret_content_type, const char **ret_body);
} weir_http_options;

/* WEIR_ADDRESS_IN_USE with address and port; CONFIG_INVALID for an address that is none. */
weir_code weir_http_server_start(const weir_http_options *options, weir_http_server **ret_server,
    weir_error *reterr) WEIR_MUST_CHECK;
uint16_t weir_http_server_port(const weir_http_server *server);
/* Close the listening socket: no new connections; requests under way go on. */
void weir_http_server_quiesce(weir_http_server *server);
/* Tells every owner that its client is gone, waits until all have answered, closes everything.
 * Requests that come meanwhile are answered 503.  Accepts NULL. */
void weir_http_server_stop(weir_http_server **server_p);

/* ---- the request; strings and bytes live as long as it does ---- */

const char *weir_http_method(const weir_http_request *request); /* "GET" */
/* As sent, percent-encoded, without the query; begins with a slash. */
const char *weir_http_path(const weir_http_request *request);
/* Decoded; the first of that name; NULL: absent.  Escapes were checked: a bad one was answered 400.
 */
const char *weir_http_query(const weir_http_request *request, const char *name);
/* The first name in the query, decoded, that is not in the list, which ends with NULL; NULL: there
 * is none.  It lives as long as the request. */
const char *weir_http_query_other(const weir_http_request *request, const char *const *names);
/* The first of that name in any case; NULL: absent. */
const char *weir_http_header(const weir_http_request *request, const char *name);
weir_bytes weir_http_body(const weir_http_request *request);
const char *weir_http_peer(const weir_http_request *request); /* "127.0.0.1:41234" */
/* Decode %XX in text[0..size) into out (size + 1 bytes, NUL-ended); false: bad escape or a NUL. */
bool weir_http_percent_decode(const char *text, size_t size, char *out);

/* The owner's own pointer; `gone` (may be NULL) runs at most once, on any thread, when the client
 * has gone away (or the server stops) before the answer; the request is still to be answered.
 * `gone` and `writable` never run after the answer or the end of the stream has returned; therefore
 * do not answer while holding a lock that they take. */
void weir_http_set_state(weir_http_request *request, void *state,
    void (*gone)(weir_http_request *request, void *state));

/* ---- the answer ---- */

typedef struct weir_http_header_line {
    const char *name;
    const char *value;
} weir_http_header_line;

typedef struct weir_http_answer {
    int status;
    const char *content_type;
    weir_bytes body;                      /* copied */
    const weir_http_header_line *headers; /* copied; at most WEIR_HTTP_HEADERS_MAX */
    size_t header_count;
} weir_http_answer;

/* Ends the request: do not touch it afterwards. */
void weir_http_respond(weir_http_request *request, const weir_http_answer *answer);
void weir_http_respond_text(weir_http_request *request, int status, const char *content_type,
    const char *body);

/*
 * A stream (server-sent events): begin, any sends, end.  The queue of a stream is bounded; a send
 * that passes 256 KiB is taken, but answers WEIR_HTTP_FULL: send no more until `writable` (may be
 * NULL) was called, any thread.
 */
typedef enum weir_http_sent { WEIR_HTTP_SENT = 0, WEIR_HTTP_FULL, WEIR_HTTP_GONE } weir_http_sent;
void weir_http_stream_begin(weir_http_request *request, int status, const char *content_type,
    void (*writable)(weir_http_request *, void *state));
weir_http_sent weir_http_stream_send(weir_http_request *request, weir_bytes bytes);
/* Ends the request: do not touch it afterwards. */
void weir_http_stream_end(weir_http_request *request);

#endif
