/*
 * internal.h - what the files of common/json share.  Nobody outside includes it.
 */
#ifndef WEIR_JSON_INTERNAL_H
#define WEIR_JSON_INTERNAL_H

#include <yyjson.h>

#include "common/json/json.h"

/* Shapes that protobuf-c does not name. */
typedef enum json_special {
    JSON_PLAIN = 0,
    JSON_TIMESTAMP,
    JSON_DURATION,
    JSON_FIELD_MASK,
    JSON_ANY
} json_special;

/* A step of the way from the root to a value; the caller's stack holds the chain. */
typedef struct json_place {
    const struct json_place *up;
    const char *name;   /* proto name of a field, or NULL for a list index or a map key */
    weir_bytes key;     /* a map key or an unknown name, when name is NULL and index < 0 */
    int64_t index;      /* of a list, or -1 */
    const char *source; /* decoding: where the member's name stands in the copy, or NULL */
} json_place;

enum { JSON_PATH_BYTES = 96, JSON_TIME_BYTES = 40, JSON_NUMBER_BYTES = 32 };

/* names.c */
json_special json_special_of(const ProtobufCMessageDescriptor *descriptor);
bool json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field);
bool json_is_message(const ProtobufCFieldDescriptor *field);
/* lowerCamelCase of a proto name; cut at out_size. */
void json_camel(const char *name, char *out, size_t out_size);
const ProtobufCFieldDescriptor *json_find_field(const ProtobufCMessageDescriptor *,
    weir_bytes name);
/* The known name nearest to `name`, or "" when none is near. */
void json_nearest_field(const ProtobufCMessageDescriptor *, weir_bytes name, char out[64]);
void json_nearest_value(const ProtobufCEnumDescriptor *, weir_bytes name, char out[64]);
/* "requests[2].filter", cut from the left end so that the innermost part stays. */
void json_path(const json_place *place, char out[JSON_PATH_BYTES]);
/* At most 60 bytes of `text` on one line, for a message. */
const char *json_shown(weir_bytes text, char out[64]);

/* number.c: a short text that reads back as the same value; finite values only. */
void json_format_double(double value, char out[JSON_NUMBER_BYTES]);
void json_format_float(float value, char out[JSON_NUMBER_BYTES]);
/* The number in a JSON number or string; false: not one, or not in range, or not whole. */
bool json_read_int64(const yyjson_val *value, int64_t *ret);
bool json_read_uint64(const yyjson_val *value, uint64_t *ret);
bool json_read_double(const yyjson_val *value, double *ret);

/* times.c: false when out of range or not in the form of the mapping. */
bool json_format_timestamp(int64_t seconds, int32_t nanos, char out[JSON_TIME_BYTES]);
bool json_format_duration(int64_t seconds, int32_t nanos, char out[JSON_TIME_BYTES]);
bool json_parse_duration(weir_bytes text, int64_t *ret_seconds, int32_t *ret_nanos);

/* scalar.c: one value of a field's type, not a message, from JSON to its slot in the struct. */
typedef struct json_decoder json_decoder;
struct json_decoder {
    weir_arena *arena;
    weir_bytes input; /* as it came, for lines and columns */
    const char *copy; /* the parser's own; names point into it */
    size_t budget;    /* bytes that may still be taken from the arena */
    uint32_t depth;
    weir_error *reterr;
};
weir_code json_decode_scalar(json_decoder *, const ProtobufCFieldDescriptor *,
    const yyjson_val *value, void *slot, const json_place *);
weir_code json_decode_key(json_decoder *, const ProtobufCFieldDescriptor *, const yyjson_val *key,
    void *slot, const json_place *);
/* A copy of a JSON string in the arena. */
weir_code json_decode_text(json_decoder *, const yyjson_val *value, char **ret, const json_place *);
/* Memory within the budget, zeroed; NULL after filling the error. */
void *json_take(json_decoder *, size_t size, const json_place *);
weir_code json_fail(json_decoder *, weir_code, const json_place *, const char *format, ...)
    WEIR_PRINTF(4, 5);
size_t json_slot_size(const ProtobufCFieldDescriptor *field);

/* decode.c */
weir_code json_decode_message(json_decoder *, const ProtobufCMessageDescriptor *,
    const yyjson_val *value, ProtobufCMessage **ret, const json_place *);
/* Every member but `skip` (NULL: none) into `message`. */
weir_code json_decode_members(json_decoder *, const yyjson_val *object, const char *skip,
    ProtobufCMessage *message, const json_place *);

/* writer.c: JSON text with or without white space. */
typedef struct json_writer {
    weir_buffer *out;
    bool pretty;
    bool emit_defaults;
    bool first; /* nothing stands yet in the open list or object */
    uint32_t depth;
    weir_error *reterr;
} json_writer;
void json_open(json_writer *, char bracket);
void json_close(json_writer *, char bracket);
void json_element(json_writer *);                 /* before each value of a list */
void json_member(json_writer *, weir_bytes name); /* before each value of an object */
void json_raw(json_writer *, const char *text);
void json_text(json_writer *, weir_bytes text);

/* encode.c */
weir_code json_encode_message(json_writer *, const ProtobufCMessage *, const json_place *);
weir_code json_encode_members(json_writer *, const ProtobufCMessage *, const json_place *);
weir_code json_refuse(json_writer *, weir_code, const json_place *, const char *format, ...)
    WEIR_PRINTF(4, 5);

/* any.c */
weir_code json_encode_any(json_writer *, const ProtobufCMessage *any, const json_place *);
weir_code json_decode_any(json_decoder *, const yyjson_val *value, ProtobufCMessage **ret,
    const json_place *);

#endif
