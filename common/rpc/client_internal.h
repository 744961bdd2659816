/*
 * client_internal.h - the client call as client.c runs it and stream.c uses it.
 */
#ifndef WEIR_RPC_CLIENT_INTERNAL_H
#define WEIR_RPC_CLIENT_INTERNAL_H

#include "common/rpc/internal.h"

struct weir_rpc_channel {
    weir_rpc_runtime *runtime;
    grpc_channel *core;
    char *target;
    wr_pairs metadata;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    weir_rpc_client_call *calls; /* whose core call is alive */
};

struct weir_rpc_client_call {
    weir_rpc_channel *channel;
    const ProtobufCMethodDescriptor *type;
    weir_rpc_client_call *next;
    weir_rpc_client_call **prev_p;
    atomic_int refs;
    bool wait_for_ready;
    wr_pairs metadata;

    /* Set before the start.  They run on a poller, without the lock; on_message takes the buffer
     * over. */
    weir_rpc_flow (*on_message)(weir_rpc_client_call *call, grpc_byte_buffer *buffer);
    void (*on_writable)(weir_rpc_client_call *call);
    void (*on_done)(weir_rpc_client_call *call);
    void *context;
    weir_rpc_answered answered;
    weir_rpc_client_events events;

    /* Written by the core; read when the batch that names them is back. */
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice status_text;
    grpc_byte_buffer *incoming;

    weir_error error; /* what it ended with, before on_done */
    weir_error bad_message;
    weir_arena *message_arena;

    pthread_mutex_t lock; /* all below, and `core` */
    grpc_call *core;      /* NULL after the end */
    unsigned pending;
    bool ended;
    bool status_seen;
    bool reading;
    bool no_more;
    bool in_message;
    bool held;
    bool resumed;
    bool writing;
    bool close_asked;
    bool close_sent;
    wr_outbox outbox;
    wr_outgoing *sending;
    wr_event unary_event;
    wr_event status_event;
    wr_event headers_event;
    wr_event read_event;
    wr_event write_event;
};

/* Two references: the caller's and the layer's, which goes after on_done. */
weir_rpc_client_call *wr_client_create(weir_rpc_stub *stub, const char *method,
    const weir_rpc_call_options *options);
void wr_client_start_unary(weir_rpc_client_call *call, const ProtobufCMessage *request);
void wr_client_start_stream(weir_rpc_client_call *call);
/* The decoded answer of a unary call that ended with OK. */
weir_code wr_client_take_answer(weir_rpc_client_call *call, weir_arena *arena,
    ProtobufCMessage **ret_response, weir_error *reterr);

#endif
