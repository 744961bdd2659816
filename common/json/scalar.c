/*
 * scalar.c - one JSON value to one slot of a message's struct, and how a wrong one is reported.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/json/internal.h"

/* Line and column, from 1, of the byte at `offset`; columns count characters. */
static void
locate(weir_bytes input, size_t offset, unsigned *ret_line, unsigned *ret_column)
{
    *ret_line = 1;
    *ret_column = 1;
    for (size_t at = 0; at < offset && at < input.size; at++) {
        if (input.data[at] == '\n') {
            ++*ret_line;
            *ret_column = 1;
        } else if ((input.data[at] & 0xC0) != 0x80) {
            ++*ret_column;
        }
    }
}

/* "line 2, column 3: " of the innermost member that encloses the place, or "". */
static void
position_text(const json_decoder *in, const json_place *place, char out[48])
{
    unsigned line;
    unsigned column;

    while (place != NULL && place->source == NULL)
        place = place->up;
    out[0] = '\0';
    if (place == NULL)
        return;
    locate(in->input, (size_t)(place->source - in->copy) - 1, &line, &column); /* its quote */
    (void)snprintf(out, 48, "line %u, column %u: ", line, column);
}

weir_code
json_fail(json_decoder *in, weir_code code, const json_place *place, const char *format, ...)
{
    char path[JSON_PATH_BYTES];
    char position[48];
    char message[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    json_path(place, path);
    position_text(in, place, position);
    return weir_error_set_field(in->reterr, code, path, "%s%s%s%s", position, path,
        path[0] == '\0' ? "" : ": ", message);
}

void *
json_take(json_decoder *in, size_t size, const json_place *place)
{
    void *const memory = size <= in->budget ? weir_arena_alloc_zero(in->arena, size) : NULL;

    if (memory == NULL)
        (void)json_fail(in, WEIR_NO_MEMORY, place, "the message takes too much memory");
    else
        in->budget -= size;
    return memory;
}

size_t
json_slot_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    }
    weir_assert(!"every type has its size");
    return 0;
}

static weir_code
wrong(json_decoder *in, const json_place *place, const char *expected)
{
    return json_fail(in, WEIR_INVALID_ARGUMENT, place, "expected %s", expected);
}

weir_code
json_decode_text(json_decoder *in, const yyjson_val *value, char **ret, const json_place *place)
{
    yyjson_val *const string = (yyjson_val *)value;
    const size_t size = yyjson_get_len(string);

    if (!yyjson_is_str(string))
        return wrong(in, place, "a string");
    if (memchr(yyjson_get_str(string), 0, size) != NULL)
        return json_fail(in, WEIR_MALFORMED_MESSAGE, place, "the string holds a NUL");
    char *const copy = json_take(in, size + 1, place);

    if (copy == NULL)
        return WEIR_NO_MEMORY;
    memcpy(copy, yyjson_get_str(string), size);
    *ret = copy;
    return WEIR_OK;
}

static weir_code
read_bytes(json_decoder *in, yyjson_val *value, ProtobufCBinaryData *slot, const json_place *place)
{
    if (!yyjson_is_str(value))
        return wrong(in, place, "a string of base64");
    const weir_bytes text = weir_bytes_of(yyjson_get_str(value), yyjson_get_len(value));
    uint8_t *const data = json_take(in, text.size / 4 * 3 + 3, place);
    size_t size;

    if (data == NULL)
        return WEIR_NO_MEMORY;
    if (!weir_json_decode_base64(text, data, &size))
        return wrong(in, place, "base64");
    *slot = (ProtobufCBinaryData){ .data = data, .len = size };
    return WEIR_OK;
}

static weir_code
read_int32(json_decoder *in, const yyjson_val *value, int32_t *slot, const json_place *place)
{
    int64_t number;

    if (!json_read_int64(value, &number) || number < INT32_MIN || number > INT32_MAX)
        return wrong(in, place, "a whole number from -2147483648 to 2147483647");
    *slot = (int32_t)number;
    return WEIR_OK;
}

static weir_code
read_uint32(json_decoder *in, const yyjson_val *value, uint32_t *slot, const json_place *place)
{
    uint64_t number;

    if (!json_read_uint64(value, &number) || number > UINT32_MAX)
        return wrong(in, place, "a whole number from 0 to 4294967295");
    *slot = (uint32_t)number;
    return WEIR_OK;
}

static weir_code
read_float(json_decoder *in, const yyjson_val *value, float *slot, const json_place *place)
{
    double number;

    if (!json_read_double(value, &number) || (isfinite(number) && isinf((float)number)))
        return wrong(in, place, "a number in the range of a float");
    *slot = (float)number;
    return WEIR_OK;
}

static weir_code
unknown_value(json_decoder *in, const ProtobufCEnumDescriptor *descriptor, weir_bytes name,
    const json_place *place)
{
    char shown[64];
    char nearest[64];

    json_nearest_value(descriptor, name, nearest);
    return json_fail(in, WEIR_INVALID_ARGUMENT, place, "unknown value \"%s\" of %s%s%s%s",
        json_shown(name, shown), descriptor->short_name, nearest[0] == '\0' ? "" : "; perhaps ",
        nearest, nearest[0] == '\0' ? "" : "?");
}

static weir_code
read_enum(json_decoder *in, const ProtobufCEnumDescriptor *descriptor, yyjson_val *value,
    int32_t *slot, const json_place *place)
{
    if (!yyjson_is_str(value)) {
        if (!yyjson_is_num(value))
            return wrong(in, place, "the name of a value");
        return read_int32(in, value, slot, place);
    }
    const weir_bytes name = weir_bytes_of(yyjson_get_str(value), yyjson_get_len(value));

    for (unsigned at = 0; at < descriptor->n_value_names; at++) {
        if (weir_bytes_equal(name, weir_bytes_str(descriptor->values_by_name[at].name))) {
            *slot = descriptor->values[descriptor->values_by_name[at].index].value;
            return WEIR_OK;
        }
    }
    return unknown_value(in, descriptor, name, place);
}

static weir_code
read_bool(json_decoder *in, yyjson_val *value, protobuf_c_boolean *slot, const json_place *place)
{
    if (!yyjson_is_bool(value))
        return wrong(in, place, "true or false");
    *slot = yyjson_get_bool(value);
    return WEIR_OK;
}

weir_code
json_decode_scalar(json_decoder *in, const ProtobufCFieldDescriptor *field, const yyjson_val *value,
    void *slot, const json_place *place)
{
    yyjson_val *const json = (yyjson_val *)value; /* yyjson's readers take no const */

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(in, value, slot, place);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_read_int64(value, slot) ? WEIR_OK
                                            : wrong(in, place, "a whole number of 64 bits");
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint32(in, value, slot, place);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_read_uint64(value, slot)
            ? WEIR_OK
            : wrong(in, place, "a whole number of 64 bits, not negative");
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(in, value, slot, place);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_read_double(value, slot) ? WEIR_OK : wrong(in, place, "a number");
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(in, json, slot, place);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(in, field->descriptor, json, slot, place);
    case PROTOBUF_C_TYPE_STRING:
        return json_decode_text(in, value, slot, place);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(in, json, slot, place);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    weir_assert(!"a message is no scalar");
    return WEIR_INTERNAL;
}

weir_code
json_decode_key(json_decoder *in, const ProtobufCFieldDescriptor *field, const yyjson_val *key,
    void *slot, const json_place *place)
{
    if (field->type != PROTOBUF_C_TYPE_BOOL)
        return json_decode_scalar(in, field, key, slot, place);
    const bool yes = yyjson_equals_str((yyjson_val *)key, "true");

    if (!yes && !yyjson_equals_str((yyjson_val *)key, "false"))
        return wrong(in, place, "\"true\" or \"false\" as the key");
    *(protobuf_c_boolean *)slot = yes;
    return WEIR_OK;
}
