/*
 * peers.h - calls to the other services, and what their failures are called here.
 *
 * A peer that does not answer is SERVICE_UNAVAILABLE in our own sentence: inner addresses and
 * library texts stay in the log.  What a peer refuses for a reason of its own (INDEX_REBUILDING,
 * MODEL_UNAVAILABLE) passes as it is.
 */
#ifndef WEIR_GATEWAY_PEERS_H
#define WEIR_GATEWAY_PEERS_H

#include "services/gateway/gateway.h"

/* The failure of a call to `peer` as the client gets it.  Any thread. */
void gateway_peer_error(weir_service_id peer, const weir_error *error, weir_error *ret_error);

/* How long a call may take, and how long of that it waits for a peer that is away to come back. */
typedef struct gateway_patience {
    int64_t timeout_ms;
    int64_t away_ms; /* 0: a peer that is away is UNAVAILABLE at once */
} gateway_patience;

enum { GATEWAY_AWAY_MS = 2000 }; /* about what a restart takes */

/* Start a call.  `answered` runs once, on a poller. */
void gateway_peer_start(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    gateway_patience patience, weir_rpc_answered answered, void *context);

/* The same, blocking; on a worker of the pool only.  The answer lives in the arena; failures are
 * translated. */
weir_code gateway_peer_ask(weir_rpc_stub *stub, weir_service_id peer, const char *method,
    const ProtobufCMessage *request, int64_t timeout_ms, weir_arena *arena, void *ret_response,
    weir_error *reterr) WEIR_MUST_CHECK;

/* What is left until a little before the call's deadline, at most max_ms: the client is to hear who
 * did not answer, not only that time is over. */
int64_t gateway_time_left(const weir_rpc_call *call, int64_t max_ms);

#endif
