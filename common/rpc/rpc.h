/*
 * rpc.h - the gRPC server of weir, over the C core; clients are in client.h.
 *
 * A service is a table with one row per method.  A handler gets a call and the decoded request, and
 * **finishes the call exactly once, even when the call was cancelled**: weir_rpc_reply,
 * weir_rpc_finish or weir_rpc_fail.  It may do so at once, or hand the call to another thread which
 * does it later; between the handler and the finish the call belongs to whoever is to finish it.
 * The finish ends that ownership: do not touch the call after it, unless you hold a
 * weir_rpc_call_ref.
 *
 *   static const weir_rpc_handler handlers[] = {
 *       { .method = "GetDocument", .flags = WEIR_RPC_POOL, .request = get_document_rpc },
 *       { .method = "IngestDocument", .request = ingest_document_rpc },
 *   };
 *   weir_rpc_server_add(server, &document_service, handlers, 2, gateway, &error)
 *
 * A method of the service without a row answers UNIMPLEMENTED and says so by name.  Request bytes
 * pass weir_wire_decode; a malformed one is answered INVALID_ARGUMENT / MALFORMED_MESSAGE without
 * the handler.
 *
 * Memory: the request message and everything from weir_rpc_call_arena live until the call has
 * finished and its last reference is gone.  Strings returned by the functions below live as long as
 * the call.
 *
 * Threads: callbacks of one call run on one poller thread, never two at a time, and must not block
 * (blocking stalls every client of that poller).  With WEIR_RPC_POOL, request, open, message and
 * half_closed run on a worker instead, still one at a time and in order; writable, cancelled and
 * draining may then run beside them, but one at a time and never before request or open has
 * returned.  Reply, send, finish, fail, resume, ref, unref, is_cancelled and ms_left may be called
 * from any thread.
 */
#ifndef WEIR_RPC_RPC_H
#define WEIR_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/rpc/methods.h"

typedef struct weir_rpc_runtime weir_rpc_runtime;
typedef struct weir_rpc_server weir_rpc_server;
typedef struct weir_rpc_call weir_rpc_call;

/* ---- runtime: one per process, shared by its server and its channels ---- */

/* Start the core and `pollers` (0: 2) poller threads.  Also raises the heap's trim threshold,
 * guards accept against running out of descriptors and sends the core's log to weir_log.  Never
 * fork afterwards (posix_spawn is fine). */
weir_rpc_runtime *weir_rpc_runtime_create(unsigned pollers);
/* After every server and channel of it is gone; blocks until the pollers have ended.  Accepts NULL.
 */
void weir_rpc_runtime_destroy(weir_rpc_runtime **runtime_p);

/* ---- handlers ---- */

enum {
    WEIR_RPC_POOL = 1,   /* run on the worker pool: may block on disk, locks, other services */
    WEIR_RPC_PUBLIC = 2, /* no credentials asked: interceptors see weir_rpc_is_public() */
};

typedef enum weir_rpc_flow {
    WEIR_RPC_MORE = 0, /* give me the next message */
    WEIR_RPC_HOLD /* stop reading until weir_rpc_resume: the client is slowed down by flow control
                   */
} weir_rpc_flow;

typedef enum weir_rpc_sent {
    WEIR_RPC_SENT = 0, /* taken */
    WEIR_RPC_FULL, /* taken, but stop: the queue passed its mark; go on when `writable` is called */
    WEIR_RPC_GONE  /* dropped: the call was cancelled or is finished */
} weir_rpc_sent;

/* `context` is the pointer given to weir_rpc_server_add. */
typedef struct weir_rpc_handler {
    const char *method;
    unsigned flags;
    /* Unary and server-streaming: required. */
    void (*request)(weir_rpc_call *call, const ProtobufCMessage *request, void *context);
    /* Client-streaming and bidirectional: `message` and `half_closed` are required, `open` comes
     * first. */
    void (*open)(weir_rpc_call *call, void *context);
    /* The message lives until this returns WEIR_RPC_MORE, or until resume after HOLD, or longer
     * with weir_rpc_take_message. */
    weir_rpc_flow (*message)(weir_rpc_call *call, const ProtobufCMessage *message, void *context);
    /* The client has sent its last message.  A broken connection never gets here, but a client that
     * ends its stream in the middle of a message does (the core drops the half message in silence):
     * an upload must say its size or hash, and the handler compare. */
    void (*half_closed)(weir_rpc_call *call, void *context);
    /* Room again after WEIR_RPC_FULL. */
    void (*writable)(weir_rpc_call *call, void *context);
    /* The client went away, the deadline passed, a message was malformed or the server cancels: at
     * most once, and not when the finish came first.  The call must still be finished (any finish
     * will do). */
    void (*cancelled)(weir_rpc_call *call, void *context);
    /* The server begins to drain: end what would otherwise stay open (a watch).  Mostly on the
     * stopping thread. */
    void (*draining)(weir_rpc_call *call, void *context);
    /* Last, exactly once, for every call whose request or open ran; free weir_rpc_call_state here.
     * On a poller, or on the thread that finished a call which nobody waited for any more. */
    void (*done)(weir_rpc_call *call, void *context);
} weir_rpc_handler;

/*
 * A unary method as a plain function, testable without a socket:
 *
 *   static weir_code get_document(gateway *self, weir_rpc_call *call, const get_request *request,
 *       get_response *response, weir_arena *arena, weir_error *reterr);
 *   WEIR_RPC_UNARY(get_document, gateway, get_request, get_response,
 *       weir__v1__get_document_response__init)
 *
 * (with typedefs for the generated message types)
 * defines `get_document_rpc` for the handler table.  `response` is initialised, borrows what its
 * fields point at (from `arena` or longer lived) and is packed before the function's memory goes.
 */
#define WEIR_RPC_UNARY(name_, self_type_, request_type_, response_type_, response_init_)        \
    static void name_##_rpc(weir_rpc_call *call_, const ProtobufCMessage *request_,             \
        void *context_)                                                                         \
    {                                                                                           \
        weir_error error_ = { .code = WEIR_OK };                                                \
        response_type_ response_;                                                               \
        weir_code code_;                                                                        \
        response_init_(&response_);                                                             \
        code_ =                                                                                 \
            name_((self_type_ *)context_, call_, (const request_type_ *)(const void *)request_, \
                &response_, weir_rpc_call_arena(call_), &error_);                               \
        if (code_ == WEIR_OK)                                                                   \
            weir_rpc_reply(call_, &response_.base);                                             \
        else                                                                                    \
            weir_rpc_fail(call_, &error_);                                                      \
    }

/*
 * A typed request callback, for handlers that finish later or stream:
 *   WEIR_RPC_REQUEST(watch_documents, gateway, watch_request)
 * defines watch_documents_rpc, which calls
 *   static void watch_documents(gateway *self, weir_rpc_call *call, const watch_request *request)
 */
#define WEIR_RPC_REQUEST(name_, self_type_, request_type_)                                   \
    static void name_##_rpc(weir_rpc_call *call_, const ProtobufCMessage *request_,          \
        void *context_)                                                                      \
    {                                                                                        \
        name_((self_type_ *)context_, call_, (const request_type_ *)(const void *)request_); \
    }

/* The same for `message` rows: static weir_rpc_flow name(self *, weir_rpc_call *, const
 * message_type *). */
#define WEIR_RPC_MESSAGE(name_, self_type_, message_type_)                                   \
    static weir_rpc_flow name_##_rpc(weir_rpc_call *call_, const ProtobufCMessage *message_, \
        void *context_)                                                                      \
    {                                                                                        \
        return name_((self_type_ *)context_, call_,                                          \
            (const message_type_ *)(const void *)message_);                                  \
    }

/* ---- answering ---- */

/* Finish a unary or client-streaming call with its one answer.  The message is packed before this
 * returns and its type is asserted.  On a cancelled or finished call: a cheap no-op. */
void weir_rpc_reply(weir_rpc_call *call, const ProtobufCMessage *response);
/* Queue one message of a server-streaming or bidirectional call; packed before this returns. */
weir_rpc_sent weir_rpc_send(weir_rpc_call *call, const ProtobufCMessage *message);
/* Keep what send queues until release, which lets it go in one piece: several messages at once cost
 * the system calls of one.  Not nested; by the one thread that sends. */
void weir_rpc_send_hold(weir_rpc_call *call);
void weir_rpc_send_release(weir_rpc_call *call);
/* Finish a streaming call with OK, after everything queued was sent. */
void weir_rpc_finish(weir_rpc_call *call);
/*
 * Finish with a failure: gRPC status by weir_code_grpc_status, details in grpc-status-details-bin
 * (ErrorInfo with the reason, BadRequest when error->field is set, RetryInfo and
 * grpc-retry-pushback-ms for RESOURCE_EXHAUSTED and UNAVAILABLE or when retry_after_ms is set).
 * error->code must not be WEIR_OK.  Messages queued before are sent first.
 */
void weir_rpc_fail(weir_rpc_call *call, const weir_error *error);
void weir_rpc_fail_with(weir_rpc_call *call, weir_code code, const char *format, ...)
    WEIR_PRINTF(3, 4);
/* Finish with a gRPC status as it is, and with `details` (may be empty) in grpc-status-details-bin:
 * for what stands in for another server.  weir's own failures go through weir_rpc_fail. */
void weir_rpc_fail_raw(weir_rpc_call *call, int grpc_status, const char *message,
    weir_bytes details);
/* After WEIR_RPC_HOLD: read on.  May be called before the message callback has returned HOLD. */
void weir_rpc_resume(weir_rpc_call *call);
/* Inside `message` or before resume: the arena that holds the message, now the caller's
 * (weir_arena_destroy). */
weir_arena *weir_rpc_take_message(weir_rpc_call *call);

/* To keep the call's memory across threads beyond the finish. */
void weir_rpc_call_ref(weir_rpc_call *call);
void weir_rpc_call_unref(weir_rpc_call *call);

/* ---- about a call ---- */

bool weir_rpc_is_cancelled(const weir_rpc_call *call);
/* Milliseconds until the deadline, 0 when it passed, INT64_MAX without one.  Soft: may be some ms
 * too long. */
int64_t weir_rpc_ms_left(const weir_rpc_call *call);
/* Scratch memory for the handler's present owner; one thread at a time. */
weir_arena *weir_rpc_call_arena(weir_rpc_call *call);
/* The method; for an unknown path only `path` is set and the rest NULL. */
const weir_rpc_method *weir_rpc_call_method(const weir_rpc_call *call);
/* The x-request-id: the client's when it is 1..128 visible ASCII characters, else made here. Echoed
 * by itself. */
const char *weir_rpc_request_id(const weir_rpc_call *call);
/* "ipv4:127.0.0.1:51234", "unix:...", or what an in-process caller gave. */
const char *weir_rpc_peer(weir_rpc_call *call);
/* True when the row says WEIR_RPC_PUBLIC. */
bool weir_rpc_is_public(const weir_rpc_call *call);
/* True for a call made with weir_rpc_server_invoke. */
bool weir_rpc_is_local(const weir_rpc_call *call);
/* The value of a request header (lower-case key); false when it is absent **or repeated**. */
bool weir_rpc_header(const weir_rpc_call *call, const char *key, weir_bytes *ret_value);
/* The index-th of all request headers, in the order received; false past the last. */
bool weir_rpc_header_at(const weir_rpc_call *call, size_t index, weir_bytes *ret_key,
    weir_bytes *ret_value);
/* Response metadata; before the first message or the finish (header), before the finish (trailer).
 * Values of keys ending in "-bin" are bytes, others visible ASCII.  Copied. */
void weir_rpc_set_header(weir_rpc_call *call, const char *key, weir_bytes value);
void weir_rpc_set_trailer(weir_rpc_call *call, const char *key, weir_bytes value);
/* Send the headers now, before the first message: a client of a stream that may stay silent for
 * long then knows that it was accepted.  Nothing on a local call. */
void weir_rpc_send_headers(weir_rpc_call *call);
/* The handler's own pointer for this call. */
void weir_rpc_call_set_state(weir_rpc_call *call, void *state);
void *weir_rpc_call_state(const weir_rpc_call *call);
/* Who calls: set by an interceptor; `release` (may be NULL) runs when the call's memory goes. */
void weir_rpc_call_set_principal(weir_rpc_call *call, void *principal,
    void (*release)(void *principal));
void *weir_rpc_call_principal(const weir_rpc_call *call);

/* ---- server ---- */

typedef struct weir_rpc_server_options {
    weir_rpc_descriptors *descriptors; /* outlives the server; weir_rpc_server_add binds services */
    const char *const
        *addresses; /* "127.0.0.1:7070", "[::1]:0", "unix:/path"; each is listened on */
    size_t address_count;
    unsigned workers;         /* threads of the pool; 0: 4 */
    unsigned pool_queue_max;  /* calls waiting for a worker; 0: 1024; beyond: QUEUE_FULL */
    size_t message_bytes_max; /* 0: WEIR_RPC_MESSAGE_BYTES_MAX; larger: BODY_TOO_LARGE */
    size_t answer_bytes_max;  /* 0: WEIR_ANSWER_BYTES_MAX; larger: RESPONSE_TOO_LARGE */
    /* Sentence to add for a method whose message was too large ("use UploadDocument"), or NULL. */
    const char *(*too_large_hint)(const char *method_path);
    /* What the core may hold in buffers for all connections; 0: 256 MiB.  Beyond, streams are
     * reset. This, not message_bytes_max, is the bound against a hostile client. */
    size_t memory_bytes_max;
    size_t metadata_bytes_max;       /* 0: 16 KiB */
    unsigned concurrent_streams_max; /* per connection; 0: 1000 */
    uint32_t keepalive_ms;           /* server pings; 0: 60 s */
    uint32_t connection_idle_ms;     /* 0: never closed for idleness */
    uint32_t connection_age_ms; /* 0: never; else GOAWAY after that age, with connection_grace_ms to
                                   end */
    uint32_t connection_grace_ms; /* 0: 60 s */
    /* PEM files; both or neither, for the TCP addresses.  Read again when they change.  With a
     * client CA, clients must show a certificate. */
    const char *tls_certificate_file;
    const char *tls_key_file;
    const char *tls_client_ca_file;
} weir_rpc_server_options;

/* Options are copied.  WEIR_CONFIG_INVALID for half a TLS pair or a file that cannot be read. */
weir_code weir_rpc_server_create(weir_rpc_runtime *runtime, const weir_rpc_server_options *options,
    weir_rpc_server **ret_server, weir_error *reterr) WEIR_MUST_CHECK;
/* Stops first if need be (without waiting for calls).  Accepts NULL. */
void weir_rpc_server_destroy(weir_rpc_server **server_p);

/*
 * Before start.  Rows are borrowed for the server's life.  WEIR_INTERNAL with a sentence for a row
 * of an unknown method, a row twice, a callback that does not fit the method's kind, or a stale
 * descriptor set.
 */
weir_code weir_rpc_server_add(weir_rpc_server *server, const ProtobufCServiceDescriptor *service,
    const weir_rpc_handler *handlers, size_t handler_count, void *context,
    weir_error *reterr) WEIR_MUST_CHECK;

/*
 * Runs on a poller before the handler, in the order of registration (at most 4), also for unknown
 * methods so that paths cannot be probed without a key; must not block.  WEIR_OK lets the call
 * pass, else it fails with *reterr.
 */
typedef weir_code (*weir_rpc_interceptor)(weir_rpc_call *call, void *context, weir_error *reterr);
void weir_rpc_server_intercept(weir_rpc_server *server, weir_rpc_interceptor interceptor,
    void *context);

typedef struct weir_rpc_call_stats {
    const char *path; /* "unknown" for a path that is no method: metric labels stay bounded */
    weir_code code;
    int grpc_status;
    int64_t duration_us;
    size_t received_bytes;
    size_t sent_bytes;
    uint32_t received_messages;
    uint32_t sent_messages;
    const char *request_id;
    const char *peer;
    void *principal;
    const char *message; /* of the failure, or "" */
    bool local;
} weir_rpc_call_stats;

/* Called once per call at its end, any thread; must not block.  One observer. */
void weir_rpc_server_observe(weir_rpc_server *server,
    void (*observer)(const weir_rpc_call_stats *stats, void *context), void *context);

/* grpc.health.v1.Health, and grpc.reflection.v1 and v1alpha (lists the services added).  Public.
 * Before start. */
weir_code weir_rpc_server_add_health(weir_rpc_server *server, weir_error *reterr) WEIR_MUST_CHECK;
weir_code weir_rpc_server_add_reflection(weir_rpc_server *server,
    weir_error *reterr) WEIR_MUST_CHECK;
/* service NULL: "" and every service added; "": the whole server; else that service.  All begin
 * NOT_SERVING. Any thread, any time between add_health and destroy. */
void weir_rpc_server_set_health(weir_rpc_server *server, const char *service, bool serving);

/* Bind and listen.  WEIR_ADDRESS_IN_USE with the address when another process has it (a lock file
 * beside a unix socket shows that its owner lives), WEIR_CONFIG_INVALID for an address that cannot
 * be listened on. */
weir_code weir_rpc_server_start(weir_rpc_server *server, weir_error *reterr) WEIR_MUST_CHECK;
/* The port bound for addresses[index]; 0 for a unix socket. */
int weir_rpc_server_port(const weir_rpc_server *server, size_t index);
/*
 * Health NOT_SERVING, `draining` for every open call, no new calls (UNAVAILABLE), up to drain_ms
 * for calls to end, then cancel the rest, close idle connections and wait until each handler has
 * finished its call.  Blocks; not from a callback.  The threads that finish calls must still run.
 * A second stop does nothing.
 */
void weir_rpc_server_stop(weir_rpc_server *server, uint32_t drain_ms);

/* ---- calls without a connection: the JSON front end ---- */

typedef struct weir_rpc_metadata {
    const char *key; /* lower case */
    weir_bytes value;
} weir_rpc_metadata;

typedef struct weir_rpc_answer {
    const weir_error *error;          /* code WEIR_OK when it went well */
    const ProtobufCMessage *response; /* the one answer of a unary method, else NULL */
    const char *request_id;
    const weir_rpc_metadata *headers; /* what the handler set */
    size_t header_count;
    const weir_rpc_metadata *trailers;
    size_t trailer_count;
} weir_rpc_answer;

typedef struct weir_rpc_invocation {
    const char *service;             /* "weir.v1.DocumentService" */
    const char *method;              /* "GetDocument"; unary or server-streaming */
    const ProtobufCMessage *request; /* lives in *arena_p */
    weir_arena *
        *arena_p; /* taken: *arena_p is NULL afterwards; NULL pointer: request outlives the call */
    const weir_rpc_metadata *metadata; /* request headers, copied */
    size_t metadata_count;
    uint32_t timeout_ms; /* 0: none; else answered TIMEOUT when it passes */
    const char *peer;    /* copied; NULL: "local" */
    /* Exactly once, on the thread that finishes the call (or the timer, or the caller itself); what
     * the answer points at lives until it returns. */
    void (*done)(const weir_rpc_answer *answer, void *context);
    /* Server-streaming: each message, on the sender's thread; false: taken, but stop until
     * weir_rpc_invocation_writable. */
    bool (*message)(const ProtobufCMessage *message, void *context);
    void *context;
} weir_rpc_invocation;

/*
 * Run a registered method in this process, through the same interceptors, pool, observer and
 * handler.  Unknown or missing methods answer WEIR_UNIMPLEMENTED, a stopping server WEIR_DRAINING,
 * all by `done`. *ret_call (may be NULL) is a reference to cancel with or to report room; the
 * caller unrefs it.
 */
void weir_rpc_server_invoke(weir_rpc_server *server, const weir_rpc_invocation *invocation,
    weir_rpc_call **ret_call);
/* As a client that went away: `cancelled` for the handler, `done` with WEIR_CANCELLED at once if it
 * was not called. */
void weir_rpc_invocation_cancel(weir_rpc_call *call);
void weir_rpc_invocation_writable(weir_rpc_call *call);

/* The method of an added service by path, with its message descriptors; NULL when the server does
 * not serve it. A method without a handler row is found too (invoke says UNIMPLEMENTED). */
const weir_rpc_method *weir_rpc_server_method(const weir_rpc_server *server, const char *path);

/* ---- failures as bytes ---- */

/* google.rpc.Status of a failure as it goes into grpc-status-details-bin, appended to `out`;
 * request_id may be NULL. For streams that answer each item with a status of its own, and for
 * Connect error bodies. */
void weir_rpc_status_encode(const weir_error *error, const char *request_id, weir_buffer *out);

#endif
