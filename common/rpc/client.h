/*
 * client.h - gRPC channels, stubs and calls: blocking for tools, with callbacks for services.
 *
 * Failures come back as weir_error: code by ErrorInfo.reason of the status details, else by the
 * gRPC status number; field and retry_after_ms from BadRequest and RetryInfo.  A server that cannot
 * be reached is WEIR_SERVICE_UNAVAILABLE, a deadline WEIR_TIMEOUT, a cancel WEIR_CANCELLED.
 *
 * Every answer passes weir_wire_decode; one that does not is WEIR_MALFORMED_MESSAGE.
 */
#ifndef WEIR_RPC_CLIENT_H
#define WEIR_RPC_CLIENT_H

#include "common/rpc/rpc.h"

typedef struct weir_rpc_channel weir_rpc_channel;
typedef struct weir_rpc_stub weir_rpc_stub;
typedef struct weir_rpc_client_call weir_rpc_client_call;
typedef struct weir_rpc_stream weir_rpc_stream;

typedef struct weir_rpc_channel_options {
    const char *service_config_json; /* NULL: none */
    size_t message_bytes_max;        /* 0: WEIR_RPC_MESSAGE_BYTES_MAX; larger answers fail
                                        RESPONSE_TOO_LARGE */
    uint32_t keepalive_ms;           /* 0: off */
    uint32_t reconnect_max_ms;       /* longest pause between attempts to connect; 0: 2000 */
    bool tls;
    const char *tls_ca_file;          /* NULL: the system's roots */
    const char *tls_certificate_file; /* both or neither: the client's own certificate */
    const char *tls_key_file;
    const char *tls_server_name; /* NULL: from the target */
    /* Sent with each call of the channel ("authorization"); copied. */
    const weir_rpc_metadata *metadata;
    size_t metadata_count;
} weir_rpc_channel_options;

/* target: "127.0.0.1:7070", "unix:/path", "dns:///name:port".  Connects on the first call.  options
 * may be NULL. WEIR_CONFIG_INVALID for a file that cannot be read or a bad pair. */
weir_code weir_rpc_channel_open(weir_rpc_runtime *runtime, const char *target,
    const weir_rpc_channel_options *options, weir_rpc_channel **ret_channel,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Calls still running are cancelled and waited for; stubs of it are closed before.  Accepts NULL.
 */
void weir_rpc_channel_close(weir_rpc_channel **channel_p);

/* One per service and channel; any thread may call through it. */
weir_rpc_stub *weir_rpc_stub_open(weir_rpc_channel *channel,
    const ProtobufCServiceDescriptor *service);
void weir_rpc_stub_close(weir_rpc_stub **stub_p);

typedef struct weir_rpc_call_options {
    uint32_t timeout_ms;               /* 0: none */
    bool wait_for_ready;               /* wait for a connection instead of failing at once */
    const weir_rpc_metadata *metadata; /* beside the channel's */
    size_t metadata_count;
} weir_rpc_call_options;

/* ---- blocking; any thread but a poller's (asserted) ---- */

/*
 * One unary call.  The answer lives in `arena`.  options may be NULL.  `method` is the short name
 * and must exist (asserted).
 */
weir_code weir_rpc_unary(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    const weir_rpc_call_options *options, weir_arena *arena, ProtobufCMessage **ret_response,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Any streaming method.  One thread may send while another receives; options->timeout_ms bounds the
 * whole call. */
weir_rpc_stream *weir_rpc_stream_open(weir_rpc_stub *stub, const char *method,
    const weir_rpc_call_options *options);
/* Waits for room.  When the call has ended, the reason: its status, or WEIR_CANCELLED after an
 * early OK. */
weir_code weir_rpc_stream_send(weir_rpc_stream *stream, const ProtobufCMessage *message,
    weir_error *reterr) WEIR_MUST_CHECK;
/* No more messages from here. */
void weir_rpc_stream_half_close(weir_rpc_stream *stream);
/*
 * The next message, in `arena`; timeout_ms 0: as long as the call lasts.  WEIR_OK with *ret_message
 * NULL is the good end.  WEIR_TIMEOUT with reterr->field "wait" when timeout_ms passed (the call
 * goes on), else the call's status.
 */
weir_code weir_rpc_stream_recv(weir_rpc_stream *stream, uint32_t timeout_ms, weir_arena *arena,
    ProtobufCMessage **ret_message, weir_error *reterr) WEIR_MUST_CHECK;
/* From any thread, also a signal-waiting one; recv and send then return WEIR_CANCELLED. */
void weir_rpc_stream_cancel(weir_rpc_stream *stream);
/* Half-close if need be, drop unread messages, wait for the status, free the stream.  For a
 * client-streaming method use recv for the answer before. */
weir_code weir_rpc_stream_finish(weir_rpc_stream **stream_p, weir_error *reterr);

/* ---- with callbacks, which run on a poller and must not block ---- */

/* error->code is WEIR_OK on success; response and error live until it returns. */
typedef void (*weir_rpc_answered)(void *context, const weir_error *error,
    const ProtobufCMessage *response);

/* `answered` runs exactly once.  Returns a reference for cancel, to be given back by
 * weir_rpc_client_unref. */
weir_rpc_client_call *weir_rpc_unary_start(weir_rpc_stub *stub, const char *method,
    const ProtobufCMessage *request, const weir_rpc_call_options *options,
    weir_rpc_answered answered, void *context);

typedef struct weir_rpc_client_events {
    /* Lives until it returns MORE, or until weir_rpc_client_resume after HOLD. */
    weir_rpc_flow (*message)(void *context, const ProtobufCMessage *message);
    void (*writable)(void *context);                      /* may be NULL */
    void (*done)(void *context, const weir_error *error); /* last, exactly once */
} weir_rpc_client_events;

/* Any streaming method.  The events are copied.  A reference as above. */
weir_rpc_client_call *weir_rpc_client_open(weir_rpc_stub *stub, const char *method,
    const weir_rpc_call_options *options, const weir_rpc_client_events *events, void *context);
weir_rpc_sent weir_rpc_client_send(weir_rpc_client_call *call, const ProtobufCMessage *message);
void weir_rpc_client_half_close(weir_rpc_client_call *call);
void weir_rpc_client_resume(weir_rpc_client_call *call);
void weir_rpc_client_cancel(weir_rpc_client_call *call);
/* Accepts NULL. */
void weir_rpc_client_unref(weir_rpc_client_call *call);

#endif
