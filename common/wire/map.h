/*
 * map.h - map fields, which protobuf-c presents as arrays of entries (inside common/wire only).
 */
#ifndef WEIR_WIRE_MAP_H
#define WEIR_WIRE_MAP_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/base/arena.h"

/* protobuf-c keeps no map mark: it is a repeated message with the name and the two fields that
 * protoc gives an entry, and protoc lets no other message of that shape stand beside its map. */
bool weir_wire_is_map(const ProtobufCFieldDescriptor *field);

/* The message that the map's values are, or NULL. */
const ProtobufCMessageDescriptor *weir_wire_map_value_message(const ProtobufCFieldDescriptor
        *field);

/* In `message` and all below it: of entries with equal keys keep the last, and give an entry
 * without a value an empty one from the arena.  False when the arena's cap is reached.  Recurses
 * as deep as the message, which was checked. */
bool weir_wire_settle_maps(ProtobufCMessage *message, weir_arena *arena);

#endif
