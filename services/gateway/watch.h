/*
 * watch.h - the thread that follows the change log and sends each change to those who watch.
 *
 * A watcher is a place in the change log and a filter; nothing is queued for it, so a slow client
 * costs no memory.  The thread alone sends on a watch and finishes it.
 *
 * Threads: begin, the events and `changed` from any.
 */
#ifndef WEIR_GATEWAY_WATCH_H
#define WEIR_GATEWAY_WATCH_H

#include "services/gateway/gateway.h"
#include "services/gateway/views.h"

gateway_watch *gateway_watch_create(gateway *self);
/* Every watch has ended.  Accepts NULL. */
void gateway_watch_destroy(gateway_watch **watch_p);

typedef struct gateway_watch_wish {
    uint64_t collection_no;
    const char *collection_id;
    char *const *document_ids; /* borrowed from the call */
    size_t document_count;
    uint64_t after_change_no; /* the last change that is not wanted */
    bool wants_states;        /* begin with the present state of each of document_ids */
} gateway_watch_wish;

/* The change after which a client wants to go on.  INVALID_ARGUMENT, and RESUME_TOKEN_TOO_OLD for a
 * token of a life that a restore has ended. */
weir_code gateway_watch_read_token(gateway *self, weir_arena *arena, const char *token,
    uint64_t *ret_change_no, weir_error *reterr) WEIR_MUST_CHECK;

/* Take over the call.  QUEUE_FULL when gateway.watchers_max watch already: the call is still the
 * caller's. */
weir_code gateway_watch_begin(gateway_watch *watch, weir_rpc_call *call,
    const gateway_watch_wish *wish, weir_error *reterr) WEIR_MUST_CHECK;

/* The change log has grown; for gateway_core_on_change. */
void gateway_watch_changed(void *watch);

/* Events of a call that was taken over. */
typedef enum gateway_watch_event {
    GATEWAY_WATCH_WRITABLE = 1,
    GATEWAY_WATCH_CANCELLED,
    GATEWAY_WATCH_DRAINING
} gateway_watch_event;
void gateway_watch_tell(gateway_watch *watch, weir_rpc_call *call, gateway_watch_event event);
/* The last of the call. */
void gateway_watch_done(weir_rpc_call *call);

#endif
