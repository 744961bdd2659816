/*
 * encode.c - from a message to JSON, by its descriptor.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/json/internal.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

weir_code
json_refuse(json_writer *writer, weir_code code, const json_place *place, const char *format, ...)
{
    char path[JSON_PATH_BYTES];
    char message[160];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    json_path(place, path);
    return weir_error_set_field(writer->reterr, code, path, "%s%s%s", path,
        path[0] == '\0' ? "" : ": ", message);
}

static void
write_integer(json_writer *writer, const char *quote, int64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%s%" PRId64 "%s", quote, value, quote);
    json_raw(writer, text);
}

static void
write_unsigned(json_writer *writer, const char *quote, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%s%" PRIu64 "%s", quote, value, quote);
    json_raw(writer, text);
}

static void
write_real(json_writer *writer, double value, bool is_float)
{
    char text[JSON_NUMBER_BYTES];

    if (isnan(value)) {
        json_raw(writer, "\"NaN\"");
    } else if (isinf(value)) {
        json_raw(writer, value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    } else {
        if (is_float)
            json_format_float((float)value, text);
        else
            json_format_double(value, text);
        json_raw(writer, text);
    }
}

static void
write_enum(json_writer *writer, const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *const known = protobuf_c_enum_descriptor_get_value(descriptor, value);

    if (known != NULL)
        json_text(writer, weir_bytes_str(known->name));
    else
        write_integer(writer, "", value); /* of a newer version */
}

static weir_code
write_string(json_writer *writer, const char *text, const json_place *place)
{
    const weir_bytes bytes = weir_bytes_str(text != NULL ? text : "");

    if (!weir_utf8_valid(bytes))
        return json_refuse(writer, WEIR_INVALID_ARGUMENT, place, "the text is not UTF-8");
    json_text(writer, bytes);
    return WEIR_OK;
}

static void
write_bytes(json_writer *writer, const ProtobufCBinaryData *data)
{
    json_raw(writer, "\"");
    weir_json_append_base64(writer->out, weir_bytes_of(data->data, data->len));
    json_raw(writer, "\"");
}

/* One value of the field's type, a list's elements one by one. */
static weir_code
write_value(json_writer *writer, const ProtobufCFieldDescriptor *field, const void *slot,
    const json_place *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        write_integer(writer, "", *(const int32_t *)slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        write_integer(writer, "\"", *(const int64_t *)slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        write_unsigned(writer, "", *(const uint32_t *)slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        write_unsigned(writer, "\"", *(const uint64_t *)slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_FLOAT:
        write_real(writer, (double)*(const float *)slot, true);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_DOUBLE:
        write_real(writer, *(const double *)slot, false);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_BOOL:
        json_raw(writer, *(const protobuf_c_boolean *)slot ? "true" : "false");
        return WEIR_OK;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(writer, field->descriptor, *(const int *)slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_STRING:
        return write_string(writer, *(char *const *)slot, place);
    case PROTOBUF_C_TYPE_BYTES:
        write_bytes(writer, slot);
        return WEIR_OK;
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_encode_message(writer, *(const ProtobufCMessage *const *)slot, place);
    }
    weir_assert(!"every type has its text");
    return WEIR_INTERNAL;
}

static weir_code
write_list(json_writer *writer, const ProtobufCFieldDescriptor *field, const void *items,
    size_t count, const json_place *place)
{
    const size_t size = json_slot_size(field);

    json_open(writer, '[');
    for (size_t at = 0; at < count; at++) {
        const json_place element = { .up = place, .index = (int64_t)at };

        json_element(writer);
        const weir_code code =
            write_value(writer, field, (const char *)items + at * size, &element);
        if (code != WEIR_OK)
            return code;
    }
    json_close(writer, ']');
    return WEIR_OK;
}

/* The key's text; numbers and truth values go through `text`. */
static weir_bytes
key_text(const ProtobufCFieldDescriptor *field, const void *slot, weir_buffer *text)
{
    json_writer writer = { .out = text };

    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *const string = *(char *const *)slot;

        return weir_bytes_str(string != NULL ? string : "");
    }
    weir_buffer_clear(text);
    weir_assert(write_value(&writer, field, slot, NULL) == WEIR_OK);
    /* 64-bit integers come quoted. */
    const bool quoted = text->data[0] == '"';

    return weir_bytes_of(text->data + quoted, text->size - 2 * (size_t)quoted);
}

static weir_code
write_entry(json_writer *writer, const ProtobufCMessage *entry, const json_place *place,
    weir_buffer *scratch)
{
    const ProtobufCFieldDescriptor *const fields = entry->descriptor->fields;
    const void *const value = (const char *)entry + fields[1].offset;
    const weir_bytes key = key_text(&fields[0], (const char *)entry + fields[0].offset, scratch);
    const json_place here = { .up = place, .key = key, .index = -1 };

    if (!weir_utf8_valid(key))
        return json_refuse(writer, WEIR_INVALID_ARGUMENT, place, "a key is not UTF-8");
    json_member(writer, key);
    if (json_is_message(&fields[1]) && *(const ProtobufCMessage *const *)value == NULL) {
        json_raw(writer, "{}"); /* an absent value of a map is an empty one */
        return WEIR_OK;
    }
    return write_value(writer, &fields[1], value, &here);
}

static weir_code
write_map(json_writer *writer, const ProtobufCMessage *const *entries, size_t count,
    const json_place *place)
{
    weir_buffer scratch = { 0 };
    weir_code code = WEIR_OK;

    json_open(writer, '{');
    for (size_t at = 0; at < count && code == WEIR_OK; at++)
        code = write_entry(writer, entries[at], place, &scratch);
    json_close(writer, '}');
    weir_buffer_fini(&scratch);
    return code;
}

static bool
is_zero(const ProtobufCFieldDescriptor *field, const void *slot)
{
    static const uint8_t zeros[sizeof(uint64_t)];

    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *const text = *(char *const *)slot;

        return text == NULL || text[0] == '\0';
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)slot)->len == 0;
    return memcmp(slot, zeros, json_slot_size(field)) == 0;
}

static size_t
list_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return *(const size_t *)((const char *)message + field->quantifier_offset);
}

/* Is the field written, given what the message holds? */
static bool
is_written(const json_writer *writer, const ProtobufCMessage *message,
    const ProtobufCFieldDescriptor *field)
{
    const char *const base = (const char *)message;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return writer->emit_defaults || list_count(message, field) > 0;
    if (json_is_message(field))
        return *(const ProtobufCMessage *const *)(base + field->offset) != NULL;
    return writer->emit_defaults || !is_zero(field, base + field->offset);
}

static weir_code
write_field(json_writer *writer, const ProtobufCMessage *message,
    const ProtobufCFieldDescriptor *field, const json_place *up)
{
    const json_place place = { .up = up, .name = field->name };
    const void *const slot = (const char *)message + field->offset;
    char name[128];

    weir_assert(field->label == PROTOBUF_C_LABEL_NONE ||
        field->label == PROTOBUF_C_LABEL_REPEATED); /* proto3 */
    json_camel(field->name, name, sizeof name);
    json_member(writer, weir_bytes_str(name));
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return write_value(writer, field, slot, &place);
    const void *const items = *(const void *const *)slot;

    if (json_is_map(message->descriptor, field))
        return write_map(writer, items, list_count(message, field), &place);
    return write_list(writer, field, items, list_count(message, field), &place);
}

weir_code
json_encode_members(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    for (unsigned at = 0; at < message->descriptor->n_fields; at++) {
        const ProtobufCFieldDescriptor *const field = &message->descriptor->fields[at];

        if (!is_written(writer, message, field))
            continue;
        const weir_code code = write_field(writer, message, field, place);
        if (code != WEIR_OK)
            return code;
    }
    return WEIR_OK;
}

static weir_code
write_time(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    const Google__Protobuf__Timestamp *const time = (const Google__Protobuf__Timestamp *)message;
    char text[JSON_TIME_BYTES];

    if (!json_format_timestamp(time->seconds, time->nanos, text))
        return json_refuse(writer, WEIR_INVALID_ARGUMENT, place,
            "an instant of %" PRId64 " s and %d ns is not of the years 1 to 9999", time->seconds,
            time->nanos);
    json_text(writer, weir_bytes_str(text));
    return WEIR_OK;
}

static weir_code
write_duration(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    const Google__Protobuf__Duration *const span = (const Google__Protobuf__Duration *)message;
    char text[JSON_TIME_BYTES];

    if (!json_format_duration(span->seconds, span->nanos, text))
        return json_refuse(writer, WEIR_INVALID_ARGUMENT, place,
            "a duration of %" PRId64 " s and %d ns is out of range or of two signs", span->seconds,
            span->nanos);
    json_text(writer, weir_bytes_str(text));
    return WEIR_OK;
}

/* Does `path` come back after a way through lowerCamelCase?  Only when each _ stands before a
 * small letter and no letter is a capital. */
static bool
mask_survives(const char *path)
{
    for (; *path != '\0'; path++) {
        if ((*path >= 'A' && *path <= 'Z') || *path == ',')
            return false;
        if (*path == '_' && (path[1] < 'a' || path[1] > 'z'))
            return false;
    }
    return true;
}

static weir_code
write_mask(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    const Google__Protobuf__FieldMask *const mask = (const Google__Protobuf__FieldMask *)message;
    weir_buffer text = { 0 };
    weir_code code = WEIR_OK;

    for (size_t at = 0; at < mask->n_paths && code == WEIR_OK; at++) {
        char camel[512];

        if (!mask_survives(mask->paths[at]) || strlen(mask->paths[at]) >= sizeof camel)
            code = json_refuse(writer, WEIR_INVALID_ARGUMENT, place,
                "the mask's path %.60s has no lowerCamelCase form", mask->paths[at]);
        json_camel(mask->paths[at], camel, sizeof camel);
        weir_buffer_append(&text, ",", at > 0 ? 1 : 0);
        weir_buffer_append(&text, camel, strlen(camel));
    }
    if (code == WEIR_OK)
        json_text(writer, weir_buffer_view(&text));
    weir_buffer_fini(&text);
    return code;
}

weir_code
json_encode_message(json_writer *writer, const ProtobufCMessage *message, const json_place *place)
{
    weir_code code;

    switch (json_special_of(message->descriptor)) {
    case JSON_TIMESTAMP:
        return write_time(writer, message, place);
    case JSON_DURATION:
        return write_duration(writer, message, place);
    case JSON_FIELD_MASK:
        return write_mask(writer, message, place);
    case JSON_ANY:
        return json_encode_any(writer, message, place);
    case JSON_PLAIN:
        break;
    }
    if (writer->depth > 2 * WEIR_WIRE_DEPTH_MAX) /* a list and an object for each message */
        return json_refuse(writer, WEIR_MALFORMED_MESSAGE, place, "messages nest too deep");
    json_open(writer, '{');
    code = json_encode_members(writer, message, place);
    json_close(writer, '}');
    return code;
}

weir_code
weir_json_encode(const ProtobufCMessage *message, const weir_json_options *options,
    weir_buffer *out, weir_error *reterr)
{
    const size_t before = out->size;
    json_writer writer = { .out = out, .reterr = reterr, .first = true };

    if (options != NULL) {
        writer.pretty = options->pretty;
        writer.emit_defaults = options->emit_defaults;
    }
    const weir_code code = json_encode_message(&writer, message, NULL);

    if (code != WEIR_OK)
        out->size = before;
    return code;
}
