/*
 * pressure.h - the pressure of the suite now, for one answer or at intervals.
 *
 * Threads: all from any.
 */
#ifndef WEIR_GATEWAY_PRESSURE_H
#define WEIR_GATEWAY_PRESSURE_H

#include "services/gateway/watchers.h"
#include "weir/v1/system.pb-c.h"

/* collection_id "": of all.  In the arena.  COLLECTION_NOT_FOUND, INVALID_ARGUMENT. */
weir_code gateway_read_pressure(gateway *self, const char *tenant, const char *collection_id,
    weir_arena *arena, Weir__V1__Pressure **ret_pressure, weir_error *reterr) WEIR_MUST_CHECK;

/* Of WatchPressure: each answer is of its moment, and none that was missed is made up for. */
extern const gateway_watchers_kind gateway_pressure_watchers;

#endif
