/*
 * any.c - google.protobuf.Any.  The error details that weir sends are expanded, as the mapping
 * asks; the bytes of other types are kept as base64, which every reader can at least pass on.
 */
#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/json/internal.h"
#include "common/wire/wire.h"
#include "google/protobuf/any.pb-c.h"
#include "google/rpc/error_details.pb-c.h"

enum { ANY_BYTES_MAX = 1 << 20 };

static const ProtobufCMessageDescriptor *const known_types[] = {
    &google__rpc__bad_request__descriptor,
    &google__rpc__error_info__descriptor,
    &google__rpc__retry_info__descriptor,
};

/* The type is what stands after the last slash. */
static const ProtobufCMessageDescriptor *
find_type(const char *type_url)
{
    const char *const slash = strrchr(type_url, '/');

    for (size_t at = 0; slash != NULL && at < sizeof known_types / sizeof known_types[0]; at++) {
        if (strcmp(known_types[at]->name, slash + 1) == 0)
            return known_types[at];
    }
    return NULL;
}

static weir_code
write_known(json_writer *writer, const ProtobufCMessageDescriptor *type, weir_bytes value,
    const json_place *place)
{
    weir_arena *arena = weir_arena_create(ANY_BYTES_MAX);
    ProtobufCMessage *message;
    weir_error error;
    weir_code code = weir_wire_decode(type, value, NULL, arena, &message, &error);

    if (code == WEIR_OK)
        code = json_encode_members(writer, message, place);
    else
        code = json_refuse(writer, code, place, "%.100s: %s", type->name, error.message);
    weir_arena_destroy(&arena);
    return code;
}

weir_code
json_encode_any(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    const Google__Protobuf__Any *const any = (const Google__Protobuf__Any *)message;
    const weir_bytes value = weir_bytes_of(any->value.data, any->value.len);
    const ProtobufCMessageDescriptor *const type = find_type(any->type_url);
    weir_code code = WEIR_OK;

    if (!weir_utf8_valid(weir_bytes_str(any->type_url)))
        return json_refuse(writer, WEIR_INVALID_ARGUMENT, place, "the type is not UTF-8");
    json_open(writer, '{');
    if (any->type_url[0] != '\0') {
        json_member(writer, weir_bytes_str("@type"));
        json_text(writer, weir_bytes_str(any->type_url));
    }
    if (type != NULL) {
        code = write_known(writer, type, value, place);
    } else if (value.size > 0) {
        json_member(writer, weir_bytes_str("value"));
        json_raw(writer, "\"");
        weir_json_append_base64(writer->out, value);
        json_raw(writer, "\"");
    }
    json_close(writer, '}');
    return code;
}

/* The packed members of a known type, as the value of `any`. */
static weir_code
read_known(json_decoder *in, const ProtobufCMessageDescriptor *type, const yyjson_val *object,
    Google__Protobuf__Any *any, const json_place *place)
{
    ProtobufCMessage *const message = json_take(in, type->sizeof_message, place);

    if (message == NULL)
        return WEIR_NO_MEMORY;
    type->message_init(message);
    const weir_code code = json_decode_members(in, object, "@type", message, place);
    if (code != WEIR_OK)
        return code;
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *const packed = json_take(in, size, place);

    if (packed == NULL)
        return WEIR_NO_MEMORY;
    weir_assert(protobuf_c_message_pack(message, packed) == size);
    any->value = (ProtobufCBinaryData){ .data = packed, .len = size };
    return WEIR_OK;
}

/* {"@type", "value": base64}, as json_encode_any writes what it does not know. */
static weir_code
read_unknown(json_decoder *in, yyjson_val *object, Google__Protobuf__Any *any,
    const json_place *place)
{
    yyjson_val *const value = yyjson_obj_get(object, "value");
    const ProtobufCFieldDescriptor *const field = &google__protobuf__any__descriptor.fields[1];

    if (yyjson_obj_size(object) != 1 + (value != NULL))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place,
            "the type %.80s is not known, so only its bytes can be given, as \"value\" in base64",
            any->type_url);
    return value == NULL ? WEIR_OK : json_decode_scalar(in, field, value, &any->value, place);
}

weir_code
json_decode_any(json_decoder *in, const yyjson_val *value, ProtobufCMessage **ret,
    const json_place *place)
{
    yyjson_val *const object = (yyjson_val *)value;
    yyjson_val *const url = yyjson_obj_get(object, "@type");
    Google__Protobuf__Any *const any = json_take(in, sizeof *any, place);
    weir_code code = WEIR_OK;

    if (any == NULL)
        return WEIR_NO_MEMORY;
    google__protobuf__any__init(any);
    if (!yyjson_is_obj(object) || (!yyjson_is_str(url) && yyjson_obj_size(object) > 0))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "expected an object with \"@type\"");
    if (url != NULL) {
        code = json_decode_text(in, url, &any->type_url, place);
        if (code != WEIR_OK)
            return code;
        const ProtobufCMessageDescriptor *const type = find_type(any->type_url);

        code = type != NULL ? read_known(in, type, object, any, place)
                            : read_unknown(in, object, any, place);
    }
    *ret = &any->base;
    return code;
}
