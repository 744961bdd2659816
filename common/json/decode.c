/*
 * decode.c - from JSON to a message in an arena, by its descriptor.
 *
 * The parser works in place on a copy, so that each member's name still stands at its own offset
 * and an error can say line and column.  Nothing recurses but messages, which depth bounds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/json/internal.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

enum {
    FIELDS_MAX = 256,
    EXPANSION_MAX = 16, /* bytes of a message for each byte of input */
    BUDGET_BYTES_MIN = 64 << 10,
    BUDGET_BYTES_MAX = 64 << 20
};

static weir_bytes
text_of(const yyjson_val *string)
{
    return weir_bytes_of(yyjson_get_str((yyjson_val *)string),
        yyjson_get_len((yyjson_val *)string));
}

static weir_code decode_value(json_decoder *in, const ProtobufCFieldDescriptor *field,
    const yyjson_val *value, void *slot, const json_place *place);

static weir_code
decode_list(json_decoder *in, const ProtobufCFieldDescriptor *field, yyjson_val *value,
    ProtobufCMessage *message, const json_place *place)
{
    const size_t count = yyjson_arr_size(value);
    const size_t size = json_slot_size(field);
    yyjson_arr_iter iterator;
    yyjson_val *item;

    if (!yyjson_arr_iter_init(value, &iterator))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "expected a list");
    char *const items = json_take(in, count * size, place);

    if (items == NULL)
        return WEIR_NO_MEMORY;
    *(void **)((char *)message + field->offset) = items;
    *(size_t *)((char *)message + field->quantifier_offset) = count;
    for (size_t at = 0; (item = yyjson_arr_iter_next(&iterator)) != NULL; at++) {
        const json_place here = { .up = place, .index = (int64_t)at };
        const weir_code code = decode_value(in, field, item, items + at * size, &here);

        if (code != WEIR_OK)
            return code;
    }
    return WEIR_OK;
}

static int
compare_keys(const void *a, const void *b)
{
    return weir_bytes_compare(*(const weir_bytes *)a, *(const weir_bytes *)b);
}

/* Sorted, because a hostile map may have half a million keys. */
static weir_code
check_keys(json_decoder *in, yyjson_val *object, const json_place *place)
{
    const size_t count = yyjson_obj_size(object);
    weir_bytes *const keys = weir_alloc_zero(count + 1, sizeof *keys);
    yyjson_obj_iter iterator = yyjson_obj_iter_with(object);
    weir_code code = WEIR_OK;

    for (size_t at = 0; at < count; at++)
        keys[at] = text_of(yyjson_obj_iter_next(&iterator));
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t at = 1; at < count && code == WEIR_OK; at++) {
        char shown[64];

        if (weir_bytes_equal(keys[at - 1], keys[at]))
            code = json_fail(in, WEIR_INVALID_ARGUMENT, place, "the key \"%s\" stands twice",
                json_shown(keys[at], shown));
    }
    weir_free(keys);
    return code;
}

static weir_code
decode_entry(json_decoder *in, const ProtobufCMessageDescriptor *descriptor, yyjson_val *key,
    ProtobufCMessage **ret, const json_place *place)
{
    const weir_bytes name = text_of(key);
    const json_place here = { .up = place,
        .key = name,
        .index = -1,
        .source = (const char *)name.data };
    ProtobufCMessage *const entry = json_take(in, descriptor->sizeof_message, &here);

    if (entry == NULL)
        return WEIR_NO_MEMORY;
    descriptor->message_init(entry);
    *ret = entry;
    const weir_code code = json_decode_key(in, &descriptor->fields[0], key,
        (char *)entry + descriptor->fields[0].offset, &here);

    if (code != WEIR_OK)
        return code;
    return decode_value(in, &descriptor->fields[1], yyjson_obj_iter_get_val(key),
        (char *)entry + descriptor->fields[1].offset, &here);
}

static weir_code
decode_map(json_decoder *in, const ProtobufCFieldDescriptor *field, yyjson_val *value,
    ProtobufCMessage *message, const json_place *place)
{
    yyjson_obj_iter iterator;
    yyjson_val *key;

    if (!yyjson_obj_iter_init(value, &iterator))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "expected an object");
    const size_t count = yyjson_obj_size(value);
    ProtobufCMessage **const entries = json_take(in, count * sizeof *entries, place);
    weir_code code = entries == NULL ? WEIR_NO_MEMORY : check_keys(in, value, place);

    for (size_t at = 0; code == WEIR_OK && (key = yyjson_obj_iter_next(&iterator)) != NULL; at++)
        code = decode_entry(in, field->descriptor, key, &entries[at], place);
    *(void **)((char *)message + field->offset) = entries;
    *(size_t *)((char *)message + field->quantifier_offset) = count;
    return code;
}

/* An element of a list, a map's value, or a field that is not repeated. */
static weir_code
decode_value(json_decoder *in, const ProtobufCFieldDescriptor *field, const yyjson_val *value,
    void *slot, const json_place *place)
{
    if (yyjson_is_null((yyjson_val *)value))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "null is no element");
    if (json_is_message(field))
        return json_decode_message(in, field->descriptor, value, slot, place);
    return json_decode_scalar(in, field, value, slot, place);
}

/* A oneof's case is the number of the member that is set. */
static weir_code
choose_member(json_decoder *in, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
    const json_place *place)
{
    uint32_t *const chosen = (uint32_t *)((char *)message + field->quantifier_offset);

    if (*chosen != 0) {
        const ProtobufCFieldDescriptor *const other =
            protobuf_c_message_descriptor_get_field(message->descriptor, *chosen);

        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "only one of %s and %s can be given",
            other->name, field->name);
    }
    *chosen = field->id;
    return WEIR_OK;
}

static weir_code
decode_field(json_decoder *in, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
    yyjson_val *value, const json_place *place)
{
    if (yyjson_is_null(value)) /* as if it were not there */
        return WEIR_OK;
    if (json_is_map(message->descriptor, field))
        return decode_map(in, field, value, message, place);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return decode_list(in, field, value, message, place);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        const weir_code code = choose_member(in, message, field, place);

        if (code != WEIR_OK)
            return code;
    }
    return decode_value(in, field, value, (char *)message + field->offset, place);
}

static weir_code
unknown_field(json_decoder *in, const ProtobufCMessageDescriptor *descriptor, weir_bytes name,
    const json_place *up)
{
    char shown[64];
    char nearest[64];
    const json_place place = { .up = up,
        .name = json_shown(name, shown),
        .source = (const char *)name.data };

    json_nearest_field(descriptor, name, nearest);
    return json_fail(in, WEIR_INVALID_ARGUMENT, &place, "unknown field of %s%s%s%s",
        descriptor->name, nearest[0] == '\0' ? "" : "; perhaps ", nearest,
        nearest[0] == '\0' ? "" : "?");
}

static weir_code
decode_member(json_decoder *in, yyjson_val *key, ProtobufCMessage *message,
    uint64_t seen[FIELDS_MAX / 64], const json_place *up)
{
    const weir_bytes name = text_of(key);
    const ProtobufCFieldDescriptor *const field = json_find_field(message->descriptor, name);

    if (field == NULL)
        return unknown_field(in, message->descriptor, name, up);
    const json_place place = { .up = up, .name = field->name, .source = (const char *)name.data };
    const size_t at = (size_t)(field - message->descriptor->fields);

    if ((seen[at / 64] >> at % 64 & 1) != 0)
        return json_fail(in, WEIR_INVALID_ARGUMENT, &place, "the field stands twice");
    seen[at / 64] |= (uint64_t)1 << at % 64;
    return decode_field(in, message, field, yyjson_obj_iter_get_val(key), &place);
}

weir_code
json_decode_members(json_decoder *in, const yyjson_val *object, const char *skip,
    ProtobufCMessage *message, const json_place *place)
{
    uint64_t seen[FIELDS_MAX / 64] = { 0 };
    yyjson_obj_iter iterator;
    yyjson_val *key;

    weir_assert(message->descriptor->n_fields <= FIELDS_MAX);
    if (!yyjson_obj_iter_init((yyjson_val *)object, &iterator))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place, "expected an object, a %s",
            message->descriptor->name);
    while ((key = yyjson_obj_iter_next(&iterator)) != NULL) {
        if (skip != NULL && yyjson_equals_str(key, skip))
            continue;
        const weir_code code = decode_member(in, key, message, seen, place);

        if (code != WEIR_OK)
            return code;
    }
    return WEIR_OK;
}

static weir_code
decode_time(json_decoder *in, yyjson_val *value, ProtobufCMessage *message, const json_place *place)
{
    Google__Protobuf__Timestamp *const time = (Google__Protobuf__Timestamp *)message;

    if (yyjson_is_str(value) &&
        weir_json_parse_timestamp(text_of(value), &time->seconds, &time->nanos))
        return WEIR_OK;
    return json_fail(in, WEIR_INVALID_ARGUMENT, place,
        "expected an instant such as \"2026-01-31T12:34:56.789Z\"");
}

static weir_code
decode_duration(json_decoder *in, yyjson_val *value, ProtobufCMessage *message,
    const json_place *place)
{
    Google__Protobuf__Duration *const span = (Google__Protobuf__Duration *)message;

    if (yyjson_is_str(value) && json_parse_duration(text_of(value), &span->seconds, &span->nanos))
        return WEIR_OK;
    return json_fail(in, WEIR_INVALID_ARGUMENT, place,
        "expected a duration such as \"1.5s\" or \"300s\"");
}

/* One path of a mask to snake_case; each capital gains an underscore. */
static weir_code
decode_path(json_decoder *in, weir_bytes path, char **ret, const json_place *place)
{
    char *const out = json_take(in, path.size * 2 + 1, place);
    size_t size = 0;

    if (out == NULL)
        return WEIR_NO_MEMORY;
    for (size_t at = 0; at < path.size; at++) {
        const char letter = (char)path.data[at];

        if (letter == '_' || letter == '\0')
            return json_fail(in, WEIR_INVALID_ARGUMENT, place,
                "paths of a mask are in lowerCamelCase, such as \"filterFields\"");
        if (letter >= 'A' && letter <= 'Z')
            out[size++] = '_';
        out[size++] = (char)(letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter);
    }
    *ret = out;
    return WEIR_OK;
}

static size_t
count_commas(weir_bytes text)
{
    size_t count = 0;

    for (size_t at = 0; at < text.size; at++)
        count += text.data[at] == ',';
    return count;
}

static weir_code
decode_mask(json_decoder *in, yyjson_val *value, ProtobufCMessage *message, const json_place *place)
{
    Google__Protobuf__FieldMask *const mask = (Google__Protobuf__FieldMask *)message;

    if (!yyjson_is_str(value))
        return json_fail(in, WEIR_INVALID_ARGUMENT, place,
            "expected paths with commas between them, such as \"a,b.c\"");
    weir_bytes rest = text_of(value);

    mask->n_paths = rest.size == 0 ? 0 : count_commas(rest) + 1;
    mask->paths = json_take(in, mask->n_paths * sizeof *mask->paths, place);
    if (mask->paths == NULL)
        return WEIR_NO_MEMORY;
    for (size_t at = 0; at < mask->n_paths; at++) {
        const uint8_t *const comma = memchr(rest.data, ',', rest.size);
        const size_t size = comma == NULL ? rest.size : (size_t)(comma - rest.data);
        const weir_code code =
            decode_path(in, weir_bytes_of(rest.data, size), &mask->paths[at], place);

        if (code != WEIR_OK)
            return code;
        rest = weir_bytes_of(rest.data + size + 1, comma == NULL ? 0 : rest.size - size - 1);
    }
    return WEIR_OK;
}

static weir_code
decode_into(json_decoder *in, yyjson_val *value, ProtobufCMessage *message, const json_place *place)
{
    weir_code code;

    switch (json_special_of(message->descriptor)) {
    case JSON_TIMESTAMP:
        return decode_time(in, value, message, place);
    case JSON_DURATION:
        return decode_duration(in, value, message, place);
    case JSON_FIELD_MASK:
        return decode_mask(in, value, message, place);
    case JSON_ANY: /* json_decode_message took it */
    case JSON_PLAIN:
        break;
    }
    if (in->depth >= WEIR_WIRE_DEPTH_MAX)
        return json_fail(in, WEIR_MALFORMED_MESSAGE, place, "messages nest too deep");
    in->depth++;
    code = json_decode_members(in, value, NULL, message, place);
    in->depth--;
    return code;
}

weir_code
json_decode_message(json_decoder *in, const ProtobufCMessageDescriptor *descriptor,
    const yyjson_val *value, ProtobufCMessage **ret, const json_place *place)
{
    if (json_special_of(descriptor) == JSON_ANY)
        return json_decode_any(in, value, ret, place);
    ProtobufCMessage *const message = json_take(in, descriptor->sizeof_message, place);

    if (message == NULL)
        return WEIR_NO_MEMORY;
    descriptor->message_init(message);
    *ret = message;
    return decode_into(in, (yyjson_val *)value, message, place);
}

/* An allocator for the parser with an upper bound; each block remembers its size. */
typedef struct bounded {
    size_t left;
} bounded;

static void *
bounded_malloc(void *context, size_t size)
{
    bounded *const bound = context;

    if (size > bound->left)
        return NULL;
    bound->left -= size;
    return weir_alloc(size);
}

static void *
bounded_realloc(void *context, void *old, size_t old_size, size_t size)
{
    bounded *const bound = context;

    if (size > old_size && size - old_size > bound->left)
        return NULL;
    bound->left = bound->left + old_size - size;
    return weir_realloc(old, size);
}

static void
bounded_free(void *context, void *memory)
{
    (void)context;
    weir_free(memory);
}

static weir_code
parse_error(json_decoder *in, const yyjson_read_err *error)
{
    /* Made up of the parser's position, which is an offset, and a quote before it. */
    const json_place place = { .name = "", .source = in->copy + error->pos + 1 };

    if (error->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return json_fail(in, WEIR_NO_MEMORY, NULL, "the JSON has too many values");
    return json_fail(in, WEIR_MALFORMED_MESSAGE, &place, "not JSON: %s", error->msg);
}

static weir_code
parse(json_decoder *in, char *copy, yyjson_doc **ret)
{
    bounded bound = { .left = WEIR_JSON_PARSER_BYTES_MAX };
    const yyjson_alc allocator = { .malloc = bounded_malloc,
        .realloc = bounded_realloc,
        .free = bounded_free,
        .ctx = &bound };
    yyjson_read_err error;

    *ret = yyjson_read_opts(copy, in->input.size, YYJSON_READ_INSITU, &allocator, &error);
    return *ret != NULL ? WEIR_OK : parse_error(in, &error);
}

static size_t
budget_of(weir_bytes json)
{
    const size_t budget = json.size * EXPANSION_MAX + BUDGET_BYTES_MIN;

    return budget < BUDGET_BYTES_MAX ? budget : BUDGET_BYTES_MAX;
}

weir_code
weir_json_decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes json, weir_arena *arena,
    ProtobufCMessage **ret_message, weir_error *reterr)
{
    json_decoder in = { .arena = arena, .input = json, .reterr = reterr };
    ProtobufCMessage *message;
    yyjson_doc *document;

    if (json.size > WEIR_JSON_INPUT_BYTES_MAX)
        return weir_error_set(reterr, WEIR_BODY_TOO_LARGE,
            "%zu bytes of JSON are more than the limit of %d", json.size,
            WEIR_JSON_INPUT_BYTES_MAX);
    char *const copy = weir_alloc_zero(1, json.size + YYJSON_PADDING_SIZE);

    if (json.size > 0)
        memcpy(copy, json.data, json.size);
    in.copy = copy;
    in.budget = budget_of(json);
    weir_code code = parse(&in, copy, &document);

    if (code == WEIR_OK) {
        code = json_decode_message(&in, descriptor, yyjson_doc_get_root(document), &message, NULL);
        yyjson_doc_free(document);
    }
    weir_free(copy);
    if (code == WEIR_OK)
        *ret_message = message;
    return code;
}
