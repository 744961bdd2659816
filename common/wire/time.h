/*
 * time.h - wall time in milliseconds as google.protobuf messages.  Pure; built in the arena.
 */
#ifndef WEIR_WIRE_TIME_H
#define WEIR_WIRE_TIME_H

#include "common/base/arena.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

/* NULL for 0 and less: not set. */
Google__Protobuf__Timestamp *weir_wire_time(weir_arena *arena, int64_t wall_ms);
Google__Protobuf__Duration *weir_wire_duration(weir_arena *arena, int64_t duration_ms);

#endif
