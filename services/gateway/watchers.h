/*
 * watchers.h - server streams that go on until the caller has enough, and the thread that serves
 * those of one kind in turns.
 *
 * Nothing is queued for a watcher: one that reads slowly costs no memory, its next turn comes when
 * it has room.  The thread alone sends on its call and finishes it.
 *
 * Threads: create and destroy from one; a turn runs on the thread; all else from any.
 */
#ifndef WEIR_GATEWAY_WATCHERS_H
#define WEIR_GATEWAY_WATCHERS_H

#include "services/gateway/gateway.h"

/* First member of what the turns need of one watcher, which is weir_alloc'ed zeroed.  The fields
 * are the thread's and of watchers.c, but for `call`, which a turn may read. */
typedef struct gateway_watcher gateway_watcher;
struct gateway_watcher {
    gateway_watcher *next;
    gateway_watchers *of;
    weir_rpc_call *call;
    int64_t due_ms; /* monotonic; INT64_MAX: after the next news */
    bool is_full, is_cancelled, is_draining;
};

/* Send what is due.  *due_ms is INT64_MAX before; set it to the monotonic time in milliseconds of
 * the next turn unless that is to come after the next news (0: as soon as there is room).  The
 * arena is of this turn.  An error ends the call. */
typedef weir_code gateway_watchers_turn(gateway *self, gateway_watcher *watcher, weir_arena *arena,
    int64_t *due_ms, weir_error *reterr);

typedef struct gateway_watchers_kind {
    gateway_watchers_turn *turn;
    const char *verb;  /* "watch": what they do, for the error of one too many */
    const char *again; /* what to do after a drain */
} gateway_watchers_kind;

/* `kind` is static. */
gateway_watchers *gateway_watchers_create(gateway *self, const gateway_watchers_kind *kind);
/* Every watcher has ended.  Accepts NULL. */
void gateway_watchers_destroy(gateway_watchers **watchers_p);

/* Take over the call and `made`, whose first turn comes at once.  QUEUE_FULL when
 * gateway.watchers_max of the kind are there: `made` is freed, the call still the caller's. */
weir_code gateway_watchers_begin(gateway_watchers *watchers, weir_rpc_call *call,
    gateway_watcher *made, weir_error *reterr) WEIR_MUST_CHECK;

/* All get a turn.  `watchers` is a gateway_watchers: for gateway_core_on_change. */
void gateway_watchers_news(void *watchers);

/* From a turn.  WEIR_RPC_FULL: it is sent, and no turn comes before there is room. */
weir_rpc_sent gateway_watcher_send(gateway_watcher *to, const ProtobufCMessage *message);

/* Events of a call that was taken over, for the tables of RPCs; `context` is not used. */
void gateway_watcher_writable(weir_rpc_call *call, void *context);
void gateway_watcher_cancelled(weir_rpc_call *call, void *context);
void gateway_watcher_draining(weir_rpc_call *call, void *context);
/* The last of the call. */
void gateway_watcher_done(weir_rpc_call *call, void *context);

#endif
