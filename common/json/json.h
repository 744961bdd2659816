/*
 * json.h - ProtoJSON both ways, from the descriptors alone.
 *
 * The mapping is the one of protobuf.dev/programming-guides/json: lowerCamelCase names out, these
 * and the proto names in; 64-bit integers as strings, bytes as base64, enum values by name;
 * Timestamp, Duration and FieldMask as strings, maps as objects.  google.protobuf.Any is
 * expanded for the messages of google/rpc/error_details.proto; of another type it keeps its
 * bytes as {"@type", "value": base64}.  proto3 only; a json_name option is not seen, because
 * protobuf-c's descriptors lack it; wrappers, Struct and Empty are not treated specially.
 *
 * Decoding is strict: an unknown or repeated member, a second member of a oneof, a number out of
 * range, a NUL in a string, anything after the value are errors that name the place.
 *
 * Threads: pure functions; the owner of the arena or buffer calls.
 */
#ifndef WEIR_JSON_JSON_H
#define WEIR_JSON_JSON_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

enum {
    WEIR_JSON_INPUT_BYTES_MAX = 8 << 20,   /* a 4 MiB body as base64, with room */
    WEIR_JSON_PARSER_BYTES_MAX = 48 << 20, /* what the parser's tree may take */
};

typedef struct weir_json_options {
    bool
        emit_defaults; /* zero scalars, empty lists and maps too; unset messages and oneofs never */
    bool pretty;       /* two spaces a level; otherwise no white space at all */
} weir_json_options;

/* Append `message` to `out`.  options NULL: all false.  On failure `out` is as it was.
 * WEIR_INVALID_ARGUMENT, with the path in reterr->field, for what JSON cannot carry: text that is
 * not UTF-8, an instant or a duration out of range, a field mask that does not survive the way;
 * WEIR_MALFORMED_MESSAGE for an Any whose bytes are not its message or that nests too deep. */
weir_code weir_json_encode(const ProtobufCMessage *message, const weir_json_options *options,
    weir_buffer *out, weir_error *reterr) WEIR_MUST_CHECK;

/* Read one message of `descriptor` from `json` into `arena`, where it lives; it is never freed by
 * itself.  *ret_message is untouched on failure.
 * WEIR_BODY_TOO_LARGE above WEIR_JSON_INPUT_BYTES_MAX; WEIR_MALFORMED_MESSAGE with line and column
 * for what is not JSON, and for a NUL in a string; WEIR_INVALID_ARGUMENT, with the path in
 * reterr->field, for what is not such a message; WEIR_NO_MEMORY at the arena's cap, or when the
 * message would take more than 64 KiB and 16 times the input. */
weir_code weir_json_decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes json,
    weir_arena *arena, ProtobufCMessage **ret_message, weir_error *reterr) WEIR_MUST_CHECK;

/* For JSON that no proto describes.  Text that is not UTF-8 comes out with U+FFFD in place of each
 * wrong byte. */
void weir_json_append_string(weir_buffer *out, weir_bytes text); /* with its quotes */
void weir_json_append_base64(weir_buffer *out, weir_bytes data); /* RFC 4648, padded, no quotes */

/* Base64 of either alphabet, padded or not, into `out` (3 bytes for 4 characters, rounded up);
 * false on anything else. */
bool weir_json_decode_base64(weir_bytes text, uint8_t *out, size_t *ret_size);

/* An instant as a Timestamp is written (RFC 3339 with a zone); false on anything else. */
bool weir_json_parse_timestamp(weir_bytes text, int64_t *ret_seconds, int32_t *ret_nanos);

#endif
