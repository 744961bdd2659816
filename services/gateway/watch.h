/*
 * watch.h - those who follow the change log: each change is sent to those who watch.
 *
 * A watcher is a place in the change log and a filter.  Its turns come when the log has grown
 * (gateway_watchers_news).
 *
 * Threads: all from any.
 */
#ifndef WEIR_GATEWAY_WATCH_H
#define WEIR_GATEWAY_WATCH_H

#include "services/gateway/views.h"
#include "services/gateway/watchers.h"

extern const gateway_watchers_kind gateway_change_watchers;

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

/* Take over the call.  QUEUE_FULL as gateway_watchers_begin. */
weir_code gateway_watch_begin(gateway *self, weir_rpc_call *call, const gateway_watch_wish *wish,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
