/*
 * internal.h - what the files of common/rpc share; nobody else includes it.
 *
 * Only the .c files of this folder see the gRPC headers.  Symbols shared between them begin with
 * wr_.
 *
 * Every batch given to the core carries a wr_event as its tag; the poller that takes the completion
 * calls its function.  A call counts what keeps it from being done (`pending`): its handler until
 * the finish, each batch with the core, each callback that runs, a job on the pool.  Whoever takes
 * the count to zero completes the call.
 */
#ifndef WEIR_RPC_INTERNAL_H
#define WEIR_RPC_INTERNAL_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/rpc/client.h"
#include "common/rpc/rpc.h"
#include "common/wire/wire.h"

/* The core is not instrumented, so ThreadSanitizer is told what its queues order. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define WR_TAG_RELEASE(tag_) __tsan_release(tag_)
#define WR_TAG_ACQUIRE(tag_) __tsan_acquire(tag_)
#else
#define WR_TAG_RELEASE(tag_) ((void)(tag_))
#define WR_TAG_ACQUIRE(tag_) ((void)(tag_))
#endif

enum {
    WR_POLLERS_MAX = 16,
    WR_INTERCEPTORS_MAX = 4,
    WR_ADDRESSES_MAX = 8,
    WR_SEND_QUEUE_MARK = 256 << 10, /* bytes queued beyond which weir_rpc_send says FULL */
    WR_PAIRS_MAX = 32,
};

/* ---- runtime.c ---- */

typedef struct wr_event {
    void (*fire)(struct wr_event *event, bool ok);
} wr_event;

#define WR_OF(event_, type_, member_) \
    ((type_ *)(void *)((char *)(event_) - offsetof(type_, member_)))

grpc_completion_queue *wr_runtime_queue(weir_rpc_runtime *runtime);
unsigned wr_runtime_queue_count(const weir_rpc_runtime *runtime);
grpc_completion_queue *wr_runtime_queue_at(weir_rpc_runtime *runtime, unsigned index);
/* True on a poller thread of any runtime: what blocks must not run there. */
bool wr_on_poller(void);
/* grpc_call_start_batch; a refusal is our mistake and asserted. */
void wr_start_batch(grpc_call *call, const grpc_op *ops, size_t count, wr_event *event);

/* ---- accept.c ---- */

/* Hold the spare descriptor that accept4 gives up when the process has run out of them.  Once per
 * process. */
void wr_accept_prepare(void);

/* ---- thread.c ---- */

/* From now on, and in every program that has this call, a thread that cannot be started ends the
 * process, whoever wanted it. */
void wr_thread_prepare(void);

/* ---- message.c ---- */

grpc_byte_buffer *wr_message_pack(const ProtobufCMessage *message);
weir_code wr_message_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
    weir_arena *arena, ProtobufCMessage **ret_message, weir_error *reterr);

/* Metadata to send: copied keys and values, at most WR_PAIRS_MAX. */
typedef struct wr_pairs {
    grpc_metadata
        *items; /* stay where they are once a batch with them was started: nothing is added then */
    size_t count;
    size_t room;
} wr_pairs;

/* False when there is no room or the key or value is not allowed in HTTP/2. */
bool wr_pairs_add(wr_pairs *pairs, const char *key, weir_bytes value);
/* All of `from`, sharing its slices. */
void wr_pairs_copy(wr_pairs *pairs, const wr_pairs *from);
void wr_pairs_fini(wr_pairs *pairs);
weir_bytes wr_slice_bytes(const grpc_slice *slice);
/* NUL-terminated copy in the arena. */
char *wr_slice_text(weir_arena *arena, const grpc_slice *slice);
/* Value of the only entry with that key; *ret_count of them all. */
weir_bytes wr_metadata_find(const grpc_metadata *items, size_t count, const char *key,
    size_t *ret_count);
/* Milliseconds from now until `deadline`; INT64_MAX for the infinite future. */
int64_t wr_deadline_ms(gpr_timespec deadline);

/* ---- status.c ---- */

/* Pause to tell the client; 0: none. */
uint32_t wr_status_retry_ms(const weir_error *error);
/* The plainest code of a gRPC status number. */
weir_code wr_status_code(int grpc_status);
/* What a call ended with at the client: status number, text and the trailers' details, as one
 * error. */
void wr_status_decode(int grpc_status, weir_bytes message, weir_bytes details,
    weir_error *ret_error);

/* ---- pool.c ---- */

typedef struct wr_pool wr_pool;

typedef struct wr_job {
    void (*run)(struct wr_job *job);
    struct wr_job *next;
} wr_job;

wr_pool *wr_pool_create(unsigned workers, unsigned queue_max);
/* Runs what is queued, then joins. */
void wr_pool_destroy(wr_pool **pool_p);
/* False when the queue is full and `force` is not set. */
bool wr_pool_push(wr_pool *pool, wr_job *job, bool force);

/* ---- tls.c ---- */

typedef struct wr_tls_files wr_tls_files;

/* Reads the three files once to see that they can be read; certificate NULL: *ret_files is NULL. */
weir_code wr_tls_files_open(const char *certificate, const char *key, const char *client_ca,
    wr_tls_files **ret_files, weir_error *reterr);
void wr_tls_files_close(wr_tls_files **files_p);
/* Insecure when files is NULL.  The files outlive the server that uses the credentials. */
grpc_server_credentials *wr_tls_server_credentials(wr_tls_files *files);
weir_code wr_tls_channel_credentials(const weir_rpc_channel_options *options,
    grpc_channel_credentials **ret_credentials, weir_error *reterr);

/* ---- address.c ---- */

/* Lock file beside a unix socket; *ret_fd is -1 for other addresses. */
weir_code wr_address_lock(const char *address, int *ret_fd, weir_error *reterr);
void wr_address_unlock(const char *address, int fd);
/* Why the core could not listen there, found by trying to bind. */
weir_code wr_address_explain(const char *address, weir_error *reterr);

/* ---- server.c ---- */

typedef struct wr_service wr_service;

/* One method of an added service. */
typedef struct wr_row {
    const weir_rpc_method *method;
    const weir_rpc_handler *handler; /* NULL: the service has no row for it */
    wr_service *service;
    void *registered; /* the core's handle */
} wr_row;

struct wr_service {
    const ProtobufCServiceDescriptor *type;
    void *context;
    size_t row_count;
    wr_row *rows;
    wr_service *next;
};

typedef enum wr_phase { WR_PREPARED, WR_SERVING, WR_STOPPING, WR_STOPPED } wr_phase;

typedef struct wr_health wr_health;

struct weir_rpc_server {
    weir_rpc_runtime *runtime;
    weir_rpc_descriptors *descriptors;
    grpc_server *core;
    wr_pool *pool;
    weir_rpc_server_options options; /* defaults filled in; its pointers are not kept */

    char *addresses[WR_ADDRESSES_MAX];
    int ports[WR_ADDRESSES_MAX];
    int lock_fds[WR_ADDRESSES_MAX];
    wr_tls_files
        *tls[WR_ADDRESSES_MAX]; /* NULL: plaintext; each listener notices changes by itself */
    size_t address_count;

    wr_service *services; /* in the order added */
    struct {
        weir_rpc_interceptor run;
        void *context;
    } interceptors[WR_INTERCEPTORS_MAX];
    size_t interceptor_count;
    void (*observer)(const weir_rpc_call_stats *stats, void *context);
    void *observer_context;
    wr_health *health;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    wr_phase phase;
    weir_rpc_call *calls; /* every call that is not done */
    size_t accepts;       /* outstanding with the core */
    bool shutdown_seen;
    wr_event shutdown_event;
    pthread_t timer; /* deadlines of local calls; started with the first */
    bool timer_started;
    bool timer_ends;
};

const wr_row *wr_server_row(const weir_rpc_server *server, const char *path);

/* ---- outbox.c ---- */

/* A message waiting to be sent. */
typedef struct wr_outgoing {
    struct wr_outgoing *next;
    grpc_byte_buffer *buffer;
    size_t size;
} wr_outgoing;

typedef struct wr_outbox {
    wr_outgoing *head;
    wr_outgoing **tail_p;
    size_t bytes;
    bool told_full;
} wr_outbox;

void wr_outbox_init(wr_outbox *outbox);
void wr_outbox_put(wr_outbox *outbox, grpc_byte_buffer *buffer);
wr_outgoing *wr_outbox_take(wr_outbox *outbox);
void wr_outbox_drop(wr_outbox *outbox);
void wr_outgoing_free(wr_outgoing *outgoing);

/* ---- call.c ---- */

struct weir_rpc_call {
    weir_rpc_server *server;
    const wr_row *row;       /* NULL: no such method */
    weir_rpc_method unknown; /* what weir_rpc_call_method gives then */
    grpc_call *core;         /* NULL: a local call */
    weir_rpc_call *next;     /* the server's list */
    weir_rpc_call **prev_p;
    bool listed;
    atomic_int refs;
    atomic_bool gone; /* cancelled, or its status decided by the layer: stop working */

    weir_arena *arena;
    grpc_metadata_array request_headers;
    char request_id[WEIR_REQUEST_ID_BYTES_MAX + 1];
    char *peer;
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    int64_t started_us;
    void *state;
    void *principal;
    void (*principal_release)(void *principal);
    wr_pairs headers;
    wr_pairs trailers;
    grpc_byte_buffer *payload; /* the request, until it is decoded */
    const ProtobufCMessage *request;

    pthread_mutex_t lock; /* all below */
    unsigned pending;
    bool owned;   /* the handler has not finished it */
    bool decided; /* `error` is what it ends with */
    bool handler_started;
    bool entering; /* request or open runs: other callbacks wait until it returned */
    bool delivering;
    bool cancel_due;
    bool cancel_told;
    bool draining_due;
    bool writable_due;
    bool cancelled;
    bool close_started;
    bool no_request; /* refused for it: a client that gave up before it had sent one looks alike */
    bool initial_due;
    bool initial_sent;
    bool status_sent;
    bool writing;
    bool send_held; /* more is about to be queued */
    bool reading;
    bool in_message;
    bool held;
    bool resumed; /* resume came before the callback said HOLD */
    bool half_closed;
    weir_error error;
    bool raw; /* the status is raw_status and raw_message, the details are set already */
    int raw_status;
    char *raw_message;
    wr_outbox outbox;
    wr_outgoing *sending;
    grpc_byte_buffer *incoming;
    weir_arena *message_arena;
    int close_flag;
    wr_event write_event;
    wr_event read_event;
    wr_event close_event;
    wr_job job;
    void (*job_run)(weir_rpc_call *call);
    size_t received_bytes;
    size_t sent_bytes;
    uint32_t received_messages;
    uint32_t sent_messages;

    /* local calls only */
    void (*local_done)(const weir_rpc_answer *answer, void *context);
    bool (*local_message)(const ProtobufCMessage *message, void *context);
    void *local_context;
    bool local_sending; /* local_message runs: an answer waits for it */
    bool answer_due;
    bool answered; /* local_done was called, or is being called */
};

/* With the layer's own reference and two reasons not to be done: wr_call_begin and the handler's
 * finish.  `path` is for a call without a row. */
weir_rpc_call *wr_call_create(weir_rpc_server *server, const wr_row *row, const char *path);
/* Into the server's list, once all about the request is set.  False: the server stops; discard the
 * call. */
bool wr_call_publish(weir_rpc_call *call);
void wr_call_discard(weir_rpc_call *call);
/* A reference to a call found in the server's list (under the server's lock); false: it is on its
 * way out. */
bool wr_call_try_ref(weir_rpc_call *call);
/* Interceptors, then the handler.  Uses up the first of the two reasons. */
void wr_call_begin(weir_rpc_call *call);
/* Under the call's lock: one more reason not to be done, and one fewer.  The latter unlocks, may
 * complete the call, and the call may be gone afterwards. */
void wr_call_hold(weir_rpc_call *call);
void wr_call_release(weir_rpc_call *call);
/* Under the call's lock, with a hold: run the callbacks that are due, unlocking around each. */
void wr_call_deliver(weir_rpc_call *call);
/* Decide the status without the handler, which is told by `cancelled` and still owes its finish. */
void wr_call_abort(weir_rpc_call *call, const weir_error *error);
/* The layer in the handler's place. */
void wr_call_fail_unstarted(weir_rpc_call *call, const weir_error *error);
/* Around the first callback.  False: nobody waits for this call any more, so do not run it. */
bool wr_call_enter(weir_rpc_call *call);
void wr_call_leave(weir_rpc_call *call);
/* Run on the pool; false: its queue is full. */
bool wr_call_push(weir_rpc_call *call, void (*run)(weir_rpc_call *call), bool force);
weir_code wr_call_check_size(const weir_rpc_call *call, const grpc_byte_buffer *buffer,
    weir_error *reterr);

/* ---- reading.c ---- */

/* The open callback, then messages one by one. */
void wr_call_run_stream(weir_rpc_call *call);
void wr_call_read_fire(wr_event *event, bool ok);

/* ---- local.c ---- */

/* The answer of a local call, at most once; error code WEIR_OK and a response, or a failure. */
void wr_local_answer(weir_rpc_call *call, const weir_error *error,
    const ProtobufCMessage *response);
weir_rpc_sent wr_local_send(weir_rpc_call *call, const ProtobufCMessage *message);
void wr_local_cancel(weir_rpc_call *call, const weir_error *error);
void wr_local_stop_timer(weir_rpc_server *server);

/* ---- health.c ---- */

void wr_health_stop(weir_rpc_server *server);
void wr_health_destroy(wr_health **health_p);

#endif
