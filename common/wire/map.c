/*
 * map.c - what the specification asks of maps and protobuf-c leaves to others: one entry a key, the
 * last one, and a value in each.
 *
 * Equal keys are found by sorting, so that a hostile list of entries costs n log n.
 */
#include "common/wire/map.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/bytes.h"

enum { KEY_FIELD = 0, VALUE_FIELD = 1 };

typedef struct sorted_entry {
    ProtobufCMessage *entry;
    size_t index;
} sorted_entry;

static void *
member(const ProtobufCMessage *message, size_t offset)
{
    return (uint8_t *)(uintptr_t)message + offset;
}

/* "metadata_filter" names the entry "MetadataFilterEntry". */
static bool
is_entry_name(const char *field_name, const char *entry_name)
{
    bool is_word_start = true;

    for (; *field_name != '\0'; field_name++) {
        if (*field_name == '_') {
            is_word_start = true;
            continue;
        }
        const char wanted = is_word_start ? (char)toupper((unsigned char)*field_name) : *field_name;

        if (*entry_name++ != wanted)
            return false;
        is_word_start = false;
    }
    return strcmp(entry_name, "Entry") == 0;
}

bool
weir_wire_is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *const entry = field->descriptor;

    return entry->n_fields == 2 && entry->fields[KEY_FIELD].id == 1 &&
        entry->fields[VALUE_FIELD].id == 2 && strcmp(entry->fields[KEY_FIELD].name, "key") == 0 &&
        strcmp(entry->fields[VALUE_FIELD].name, "value") == 0 &&
        is_entry_name(field->name, entry->short_name);
}

const ProtobufCMessageDescriptor *
weir_wire_map_value_message(const ProtobufCFieldDescriptor *field)
{
    if (!weir_wire_is_map(field))
        return NULL;
    const ProtobufCMessageDescriptor *const entry = field->descriptor;

    return entry->fields[VALUE_FIELD].type == PROTOBUF_C_TYPE_MESSAGE
        ? entry->fields[VALUE_FIELD].descriptor
        : NULL;
}

/* Any total order does; keys are strings or numbers of four or eight bytes. */
static int
compare_keys(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCFieldDescriptor *const key = &a->descriptor->fields[KEY_FIELD];
    const void *const key_a = member(a, key->offset);
    const void *const key_b = member(b, key->offset);

    switch (key->type) {
    case PROTOBUF_C_TYPE_STRING:
        return strcmp(*(char *const *)key_a, *(char *const *)key_b);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return memcmp(key_a, key_b, 8);
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return memcmp(key_a, key_b, 4);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    weir_assert_failed("protoc allows no such key", __FILE__, __LINE__);
}

static int
compare_entries(const void *a_void, const void *b_void)
{
    const sorted_entry *const a = a_void;
    const sorted_entry *const b = b_void;
    const int order = compare_keys(a->entry, b->entry);

    if (order != 0)
        return order;
    return a->index < b->index ? -1 : 1;
}

/* Set to NULL each entry that a later one of the same key replaces. */
static void
strike_replaced(ProtobufCMessage **entries, size_t count)
{
    sorted_entry *const sorted = weir_alloc_zero(count, sizeof *sorted);

    for (size_t index = 0; index < count; index++)
        sorted[index] = (sorted_entry){ .entry = entries[index], .index = index };
    qsort(sorted, count, sizeof *sorted, compare_entries);
    for (size_t index = 0; index + 1 < count; index++) {
        if (compare_keys(sorted[index].entry, sorted[index + 1].entry) == 0)
            entries[sorted[index].index] = NULL;
    }
    weir_free(sorted);
}

static size_t
close_gaps(ProtobufCMessage **entries, size_t count)
{
    size_t kept = 0;

    for (size_t index = 0; index < count; index++) {
        if (entries[index] != NULL)
            entries[kept++] = entries[index];
    }
    return kept;
}

static bool
fill_value(ProtobufCMessage *entry, const ProtobufCMessageDescriptor *value, weir_arena *arena)
{
    void **const place = member(entry, entry->descriptor->fields[VALUE_FIELD].offset);

    if (*place != NULL)
        return true;
    *place = weir_arena_alloc(arena, value->sizeof_message);
    if (*place == NULL)
        return false;
    protobuf_c_message_init(value, *place);
    return true;
}

static bool
settle_map(const ProtobufCFieldDescriptor *field, ProtobufCMessage **entries, size_t *count,
    weir_arena *arena)
{
    const ProtobufCMessageDescriptor *const value = weir_wire_map_value_message(field);

    if (*count > 1) {
        strike_replaced(entries, *count);
        *count = close_gaps(entries, *count);
    }
    for (size_t index = 0; value != NULL && index < *count; index++) {
        if (!fill_value(entries[index], value, arena))
            return false;
    }
    return true;
}

static bool
settle_repeated(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, weir_arena *arena)
{
    size_t *const count = member(message, field->quantifier_offset);
    ProtobufCMessage **const elements = *(ProtobufCMessage ***)member(message, field->offset);

    if (weir_wire_is_map(field) && !settle_map(field, elements, count, arena))
        return false;
    for (size_t index = 0; index < *count; index++) {
        if (!weir_wire_settle_maps(elements[index], arena))
            return false;
    }
    return true;
}

/* A member of a oneof shares its place with the others: it is there only if the case says so. */
static bool
is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
        *(const uint32_t *)member(message, field->quantifier_offset) != field->id)
        return false;
    return *(void *const *)member(message, field->offset) != NULL;
}

bool
weir_wire_settle_maps(ProtobufCMessage *message, weir_arena *arena)
{
    for (unsigned index = 0; index < message->descriptor->n_fields; index++) {
        const ProtobufCFieldDescriptor *const field = &message->descriptor->fields[index];
        bool is_settled = true;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            is_settled = settle_repeated(message, field, arena);
        else if (is_present(message, field))
            is_settled =
                weir_wire_settle_maps(*(ProtobufCMessage **)member(message, field->offset), arena);
        if (!is_settled)
            return false;
    }
    return true;
}
