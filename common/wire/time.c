/*
 * time.c - see time.h.
 */
#include "common/wire/time.h"

Google__Protobuf__Timestamp *
weir_wire_time(weir_arena *arena, int64_t wall_ms)
{
    if (wall_ms <= 0)
        return NULL;
    Google__Protobuf__Timestamp *time = weir_arena_alloc(arena, sizeof *time);

    google__protobuf__timestamp__init(time);
    time->seconds = wall_ms / 1000;
    time->nanos = (int32_t)(wall_ms % 1000) * 1000000;
    return time;
}

Google__Protobuf__Duration *
weir_wire_duration(weir_arena *arena, int64_t duration_ms)
{
    Google__Protobuf__Duration *duration = weir_arena_alloc(arena, sizeof *duration);

    google__protobuf__duration__init(duration);
    duration->seconds = duration_ms / 1000;
    duration->nanos = (int32_t)(duration_ms % 1000) * 1000000;
    return duration;
}
