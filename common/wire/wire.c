/*
 * wire.c - check, unpack into the arena, settle the maps; and pack.
 */
#include "common/wire/wire.h"

#include "common/base/assert.h"
#include "common/wire/map.h"

static void *
arena_allocate(void *arena, size_t size)
{
    return weir_arena_alloc(arena, size);
}

static void
arena_free(void *arena, void *memory)
{
    /* The arena frees all at once. */
    (void)arena;
    (void)memory;
}

ProtobufCAllocator
weir_wire_arena_allocator(weir_arena *arena)
{
    return (ProtobufCAllocator){
        .alloc = arena_allocate,
        .free = arena_free,
        .allocator_data = arena,
    };
}

/* unpack answers NULL for a full arena and for bytes that it refuses: this tells which. */
typedef struct watched_arena {
    weir_arena *arena;
    bool was_full;
} watched_arena;

static void *
watched_allocate(void *watched_void, size_t size)
{
    watched_arena *const watched = watched_void;
    void *const memory = weir_arena_alloc(watched->arena, size);

    watched->was_full |= memory == NULL;
    return memory;
}

static weir_code
unpack(const ProtobufCMessageDescriptor *descriptor, weir_bytes input, weir_arena *arena,
    ProtobufCMessage **ret_message, weir_error *reterr)
{
    static const uint8_t nothing[1];
    watched_arena watched = { .arena = arena };
    ProtobufCAllocator allocator = {
        .alloc = watched_allocate,
        .free = arena_free,
        .allocator_data = &watched,
    };
    ProtobufCMessage *const message = protobuf_c_message_unpack(descriptor, &allocator, input.size,
        input.size == 0 ? nothing : input.data);

    if (message == NULL && !watched.was_full)
        return weir_error_set(reterr, WEIR_MALFORMED_MESSAGE, "%s cannot be decoded",
            descriptor->name);
    if (message == NULL || !weir_wire_settle_maps(message, arena))
        return weir_error_set(reterr, WEIR_NO_MEMORY, "%s of %zu bytes does not fit its arena",
            descriptor->name, input.size);
    *ret_message = message;
    return WEIR_OK;
}

weir_code
weir_wire_decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes input,
    const weir_wire_limits *limits, weir_arena *arena, ProtobufCMessage **ret_message,
    weir_error *reterr)
{
    const weir_code code = weir_wire_check(descriptor, input, limits, reterr);

    return code == WEIR_OK ? unpack(descriptor, input, arena, ret_message, reterr) : code;
}

void
weir_wire_encode(const ProtobufCMessage *message, weir_buffer *out)
{
    const size_t promised = protobuf_c_message_get_packed_size(message);

    if (promised == 0)
        return; /* all defaults: nothing is written, and an empty buffer has no place to write to */
    weir_buffer_reserve(out, promised);
    const size_t wrote = protobuf_c_message_pack(message, out->data + out->size);
    weir_assert(wrote == promised);
    out->size += wrote;
}
