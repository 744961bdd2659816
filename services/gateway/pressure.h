/*
 * pressure.h - the pressure of the suite now, and the thread that sends it at intervals to those
 * who watch.
 *
 * Nothing is queued for a watcher: one that reads slowly gets fewer answers, each of its moment.
 * The thread alone sends on a watch and finishes it.
 *
 * Threads: all from any.
 */
#ifndef WEIR_GATEWAY_PRESSURE_H
#define WEIR_GATEWAY_PRESSURE_H

#include "services/gateway/gateway.h"
#include "services/gateway/watch.h"
#include "weir/v1/system.pb-c.h"

/* collection_id "": of all.  In the arena.  COLLECTION_NOT_FOUND, INVALID_ARGUMENT. */
weir_code gateway_read_pressure(gateway *self, const char *tenant, const char *collection_id,
    weir_arena *arena, Weir__V1__Pressure **ret_pressure, weir_error *reterr) WEIR_MUST_CHECK;

gateway_pressure *gateway_pressure_create(gateway *self);
/* Every watch has ended.  Accepts NULL. */
void gateway_pressure_destroy(gateway_pressure **pressure_p);

/* Take over the call; the first answer leaves at once.  collection_id is borrowed from the call.
 * QUEUE_FULL when gateway.watchers_max watch already: the call is still the caller's. */
weir_code gateway_pressure_begin(gateway_pressure *pressure, weir_rpc_call *call,
    const char *collection_id, int64_t interval_ms, weir_error *reterr) WEIR_MUST_CHECK;
/* Events of a call that was taken over. */
void gateway_pressure_tell(gateway_pressure *pressure, weir_rpc_call *call,
    gateway_watch_event event);
/* The last of the call. */
void gateway_pressure_done(weir_rpc_call *call);

#endif
