/*
 * http_internal.h - the request and the server, for the files of common/http.
 */
#ifndef WEIR_HTTP_HTTP_INTERNAL_H
#define WEIR_HTTP_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>

#include "common/base/arena.h"
#include "common/http/http.h"

typedef enum http_phase {
    HTTP_READING = 0, /* head and body come in */
    HTTP_HANDLING,    /* the handler owes an answer */
    HTTP_ANSWERED,    /* `response` is there; the owner is gone */
    HTTP_STREAMING    /* `response` is a stream whose queue fills */
} http_phase;

typedef struct http_pair {
    const char *name;
    const char *value;
} http_pair;

struct weir_http_request {
    weir_http_server *server;
    weir_http_request *next; /* of the server's list */
    weir_http_request *previous;
    pthread_mutex_t lock;
    int references; /* the connection's and the owner's; under the server's lock */

    weir_arena *arena;
    const char *method;
    const char *path;
    char *query; /* as sent, after the question mark; NULL: none */
    http_pair *headers;
    size_t header_count;
    weir_buffer body;
    char peer[64];
    int refused_status;   /* the body is too large or the head is bad */
    size_t overrun_bytes; /* read and dropped beyond the limit of the body */

    /* Held while gone or writable runs, and taken before the owner's end: they never run after it.
     */
    pthread_mutex_t callbacks;

    /* Under the lock. */
    http_phase phase;
    struct MHD_Connection *connection; /* NULL once it is over */
    bool suspended;
    bool queued; /* the response was handed to the connection */
    struct MHD_Response *response;
    int status;
    void *state;
    void (*gone)(weir_http_request *, void *state);
    bool gone_told;

    weir_buffer queue; /* of a stream */
    size_t queue_at;   /* bytes of it that left */
    bool stream_ended;
    bool stream_full;
    void (*writable)(weir_http_request *, void *state);
};

struct weir_http_server {
    weir_http_options options;
    struct MHD_Daemon *daemon;
    uint16_t port;
    int quiesced_fd; /* the listening socket once nothing new is taken; -1: before */
    pthread_mutex_t lock;
    pthread_cond_t unowned;
    size_t owned_count; /* requests that wait for an answer or stream */
    bool stopping;
    weir_http_request *requests;
};

weir_http_request *http_request_create(weir_http_server *server, const char *uri);
void http_request_unref(weir_http_request *request);
/* The handler's ownership begins (false: the server stops) and ends. */
bool http_request_own(weir_http_request *request);
void http_request_disown(weir_http_request *request);
/* Copy method, headers and peer out of the connection; sets refused_status when the head is bad. */
void http_request_take_head(weir_http_request *request, struct MHD_Connection *connection,
    const char *method);
/* Hand the response to the connection, or suspend it until there is one.  On the connection's
 * thread. */
enum MHD_Result http_request_continue(weir_http_request *request,
    struct MHD_Connection *connection);
/* The connection has ended: nothing more can be sent. */
void http_request_over(weir_http_request *request);
/* Tell the owner once that its client is gone. */
void http_request_tell_gone(weir_http_request *request);
enum MHD_Result http_refuse(weir_http_request *request, struct MHD_Connection *connection);

#endif
