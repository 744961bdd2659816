/*
 * wire.h - the check before every unpack, and the one way in and out of protobuf bytes.
 *
 * protobuf-c unpacks hostile input without limits: nesting overflows the stack, empty sub-messages
 * multiply memory, invalid UTF-8 and NUL pass, duplicate map keys stay.  weir_wire_decode walks the
 * raw bytes against the descriptor first (depth, UTF-8, NUL, wire types of known fields, element
 * and byte budget), unpacks into an arena with a cap, and de-duplicates maps (last wins).  It
 * guards requests, rows from links and records from disk alike.
 *
 * Threads: pure functions; the arena's owner calls.
 */
#ifndef WEIR_WIRE_WIRE_H
#define WEIR_WIRE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

typedef struct weir_wire_limits {
    uint32_t depth_max;       /* nested messages; 0: WEIR_WIRE_DEPTH_MAX */
    size_t elements_max;      /* fields and repeated elements in all; 0: 1,000,000 */
    size_t decoded_bytes_max; /* what unpack may allocate; 0: 16 x input + 64 KiB, <= 64 MiB */
} weir_wire_limits;

/* Check `input` as a message of `descriptor`.  limits NULL: all defaults.
 * WEIR_MALFORMED_MESSAGE, with the path of the field in reterr->field where one is known. */
weir_code weir_wire_check(const ProtobufCMessageDescriptor *descriptor, weir_bytes input,
    const weir_wire_limits *limits, weir_error *reterr) WEIR_MUST_CHECK;

/* Check, then unpack into `arena`; the message lives as long as the arena and is never freed by
 * itself. WEIR_MALFORMED_MESSAGE as above, or WEIR_NO_MEMORY when the arena's cap is reached. */
weir_code weir_wire_decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes input,
    const weir_wire_limits *limits, weir_arena *arena, ProtobufCMessage **ret_message,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Append the packed bytes of `message` to `out`; asserts that pack wrote what get_packed_size
 * promised. */
void weir_wire_encode(const ProtobufCMessage *message, weir_buffer *out);

/* For protobuf-c calls that want an allocator: memory comes from the arena, free does nothing. */
ProtobufCAllocator weir_wire_arena_allocator(weir_arena *arena);

#endif
