/*
 * parts.h - the answer of a stream of bytes: one body, sent in parts as fast as its reader takes
 * them.
 *
 * Threads: the request's, then the events', one at a time.
 */
#ifndef WEIR_GATEWAY_PARTS_H
#define WEIR_GATEWAY_PARTS_H

#include "services/gateway/rpcs.h"

typedef weir_rpc_sent gateway_part_send(weir_rpc_call *call, weir_bytes part);

/* Becomes the state of the call; *ret_body is for the caller to fill, and lives as long as the
 * call. */
void gateway_parts_begin(weir_rpc_call *call, size_t part_bytes_max, gateway_part_send *send,
    weir_buffer **ret_body);
/* From the first part on. */
void gateway_parts_send(weir_rpc_call *call);

/* The events of such a call, for the tables in api.c. */
gateway_event_rpc gateway_parts_writable;
gateway_event_rpc gateway_parts_cancelled;
gateway_event_rpc gateway_parts_done;

#endif
