/*
 * check.c - the walk over raw protobuf bytes that comes before every unpack.
 *
 * What passes is safe to unpack: protobuf_c_message_unpack accepts it, recurses no deeper than
 * depth_max, and allocates no more than decoded_bytes_max.  For that the walk counts, allocation by
 * allocation, what protobuf-c 1.5 would ask of an allocator that rounds to 16 bytes and never frees
 * (the arena): the message, one record per field in blocks of doubling size after the first 16,
 * arrays, strings, bytes and unknown fields.
 *
 * Stricter than the protobuf specification in two points, both harmless to any real encoder:
 *   - a known field with another wire type is refused (there: treated as unknown);
 *   - a singular message field given twice is refused (there: merged), because merging makes the
 *     memory quadratic, and protobuf-c's merge fails on a oneof that neither part sets.
 */
#include "common/wire/wire.h"

#include <limits.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/map.h"

enum {
    DEPTH_LIMIT = 100, /* what any caller may ask for: about 1 KiB of stack a level in unpack */
    FIELDS_MAX = 256,  /* of one message type; google.protobuf.FileOptions has 21 */
    ELEMENTS_MAX_DEFAULT = 1000000,
    DECODED_BYTES_BASE = 64 << 10,
    DECODED_BYTES_FACTOR = 16,
    DECODED_BYTES_TOP = 64 << 20,
    ALLOCATION_ROUNDING = 16, /* the arena's */
    SCANNED_RECORD_BYTES = 32,
    SCANNED_RECORDS_INLINE = 16,
    BITMAP_BYTES_INLINE = 16,
    FIELD_NUMBER_MAX = (1 << 29) - 1
};

typedef struct walk {
    weir_wire_limits limits;
    size_t element_count;
    size_t decoded_bytes;
    uint32_t depth;
    const ProtobufCFieldDescriptor *path[DEPTH_LIMIT + 1]; /* path[d]: being read at depth d */
    weir_error *reterr;
} walk;

/* One message: the bytes not yet read, and the fields already met. */
typedef struct frame {
    const ProtobufCMessageDescriptor *descriptor;
    weir_bytes rest;
    size_t field_count;
    size_t unknown_count;
    uint64_t met[FIELDS_MAX / 64];
} frame;

/* One field as it stands in the bytes; for a length-delimited one `content` is without the
 * length. */
typedef struct occurrence {
    const ProtobufCFieldDescriptor *field; /* NULL: unknown */
    uint32_t number;
    uint8_t wire_type;
    weir_bytes content;
    size_t whole_bytes; /* with the length: what an unknown field keeps */
} occurrence;

static weir_code check_message(walk *self, const ProtobufCMessageDescriptor *descriptor,
    weir_bytes input);

/* ---- failures ---- */

static void
write_path(const walk *self, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t depth = 0; depth <= self->depth && self->path[depth] != NULL; depth++) {
        const char *const name = self->path[depth]->name;
        const char *const dot = depth == 0 ? "" : ".";
        const int wrote = snprintf(out + used, out_size - used, "%s%s", dot, name);

        if (wrote < 0 || (size_t)wrote >= out_size - used)
            return;
        used += (size_t)wrote;
    }
}

static weir_code
malformed(const walk *self, const char *what)
{
    char path[sizeof self->reterr->field];

    write_path(self, path, sizeof path);
    return weir_error_set_field(self->reterr, WEIR_MALFORMED_MESSAGE, path, "%s%s%s",
        path[0] == '\0' ? "the message " : path, path[0] == '\0' ? "" : " ", what);
}

/* ---- what unpack would allocate ---- */

static size_t
rounded(size_t size)
{
    return (size + ALLOCATION_ROUNDING - 1) / ALLOCATION_ROUNDING * ALLOCATION_ROUNDING;
}

static weir_code
count_bytes(walk *self, size_t size)
{
    if (size > self->limits.decoded_bytes_max - self->decoded_bytes)
        return malformed(self, "needs more memory than a message of its size may");
    self->decoded_bytes += size;
    return WEIR_OK;
}

static weir_code
count_elements(walk *self, size_t count)
{
    if (count > self->limits.elements_max - self->element_count)
        return malformed(self, "has too many elements");
    self->element_count += count;
    return WEIR_OK;
}

static size_t
element_size(ProtobufCType type)
{
    switch (type) {
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
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    weir_assert_failed("every type has a size", __FILE__, __LINE__);
}

/* The blocks of field records beyond those on unpack's stack: block k holds 16 * 2^k. */
static size_t
scanned_bytes(size_t field_count)
{
    size_t block = SCANNED_RECORDS_INLINE;
    size_t bytes = 0;

    for (size_t held = block; held < field_count; held += block) {
        block *= 2;
        bytes += block * SCANNED_RECORD_BYTES;
    }
    return bytes;
}

static weir_code
count_message(walk *self, const frame *message)
{
    const ProtobufCMessageDescriptor *const descriptor = message->descriptor;
    const size_t bitmap_bytes = (descriptor->n_fields + 7) / 8;
    const size_t bitmap_heap_bytes = bitmap_bytes > BITMAP_BYTES_INLINE ? bitmap_bytes : 0;
    const size_t unknown_bytes = message->unknown_count * sizeof(ProtobufCMessageUnknownField);

    return count_bytes(self,
        rounded(descriptor->sizeof_message) + scanned_bytes(message->field_count) +
            rounded(unknown_bytes) + rounded(bitmap_heap_bytes));
}

/* ---- reading ---- */

static bool
take(weir_bytes *rest, size_t size, weir_bytes *ret_taken)
{
    if (size > rest->size)
        return false;
    *ret_taken = weir_bytes_of(rest->data, size);
    rest->data += size;
    rest->size -= size;
    return true;
}

/* At most max_bytes bytes of a base-128 number; bits past 64 are dropped, as in every decoder. */
static bool
take_varint(weir_bytes *rest, size_t max_bytes, uint64_t *ret_value)
{
    const size_t limit = rest->size < max_bytes ? rest->size : max_bytes;
    uint64_t value = 0;

    for (size_t index = 0; index < limit; index++) {
        const uint8_t byte = rest->data[index];

        value |= (uint64_t)(byte & 0x7f) << (7 * index);
        if ((byte & 0x80) == 0) {
            rest->data += index + 1;
            rest->size -= index + 1;
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool
take_content(weir_bytes *rest, occurrence *found)
{
    const weir_bytes before = *rest;
    uint64_t number;
    bool is_whole = false;

    switch (found->wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        is_whole = take_varint(rest, 10, &number);
        found->content = weir_bytes_of(before.data, before.size - rest->size);
        break;
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        is_whole = take(rest, 8, &found->content);
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        is_whole = take_varint(rest, 5, &number) && number <= INT_MAX &&
            take(rest, (size_t)number, &found->content);
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        is_whole = take(rest, 4, &found->content);
        break;
    default: /* groups, which weir's messages never had, and numbers that mean nothing */
        break;
    }
    found->whole_bytes = before.size - rest->size;
    return is_whole;
}

/* By halves: protobuf-c keeps the fields sorted by number. */
static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *descriptor, uint32_t number)
{
    unsigned low = 0;
    unsigned high = descriptor->n_fields;

    while (low < high) {
        const unsigned middle = low + (high - low) / 2;

        if (descriptor->fields[middle].id == number)
            return &descriptor->fields[middle];
        if (descriptor->fields[middle].id < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static weir_code
take_occurrence(walk *self, frame *message, occurrence *ret_found)
{
    uint64_t tag;

    self->path[self->depth] = NULL;
    if (!take_varint(&message->rest, 5, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
        return malformed(self, "has a bad field number");
    ret_found->number = (uint32_t)(tag >> 3);
    ret_found->wire_type = (uint8_t)(tag & 7);
    ret_found->field = find_field(message->descriptor, ret_found->number);
    self->path[self->depth] = ret_found->field;
    if (!take_content(&message->rest, ret_found))
        return malformed(self, "ends in the middle of a field, or has a group");
    return WEIR_OK;
}

/* ---- the rules for one field ---- */

static uint8_t
expected_wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
    weir_assert_failed("every type has a wire type", __FILE__, __LINE__);
}

/* How many numbers a packed field holds; false when it does not end with a whole one. */
static bool
packed_count(ProtobufCType type, weir_bytes content, size_t *ret_count)
{
    const uint8_t wire_type = expected_wire_type(type);
    const size_t fixed_size = wire_type == PROTOBUF_C_WIRE_TYPE_32BIT ? 4 : 8;
    size_t count = 0;

    if (wire_type != PROTOBUF_C_WIRE_TYPE_VARINT) {
        *ret_count = content.size / fixed_size;
        return content.size % fixed_size == 0;
    }
    for (; content.size > 0; count++) {
        uint64_t value;

        /* protobuf-c reads packed booleans as one byte each. */
        if (!take_varint(&content, 10, &value) || (type == PROTOBUF_C_TYPE_BOOL && value > 1))
            return false;
    }
    *ret_count = count;
    return true;
}

static weir_code
check_packed(walk *self, const occurrence *found)
{
    size_t count = 0;

    if (!packed_count(found->field->type, found->content, &count) ||
        (found->field->type == PROTOBUF_C_TYPE_BOOL && count != found->content.size))
        return malformed(self, "is not a list of whole numbers");
    const weir_code code = count_elements(self, count);
    return code == WEIR_OK ? count_bytes(self, count * element_size(found->field->type)) : code;
}

static weir_code
check_string(walk *self, weir_bytes content)
{
    if (!weir_utf8_valid(content))
        return malformed(self, "is not UTF-8, or holds a NUL");
    return count_bytes(self, rounded(content.size + 1));
}

/* Decode makes the value of a map entry that names none. */
static weir_code
count_map_value(walk *self, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *const value = weir_wire_map_value_message(field);

    return value == NULL ? WEIR_OK : count_bytes(self, rounded(value->sizeof_message));
}

static weir_code
check_submessage(walk *self, const occurrence *found)
{
    if (self->depth + 1 >= self->limits.depth_max)
        return malformed(self, "is nested too deep");
    self->depth++;
    const weir_code code = check_message(self, found->field->descriptor, found->content);
    if (code != WEIR_OK)
        return code; /* with the depth, and so the path, of the failure */
    self->depth--;
    return count_map_value(self, found->field);
}

static weir_code
check_value(walk *self, const occurrence *found)
{
    if (found->wire_type != expected_wire_type(found->field->type))
        return malformed(self, "has the wrong wire type");
    if (found->field->type == PROTOBUF_C_TYPE_STRING)
        return check_string(self, found->content);
    if (found->field->type == PROTOBUF_C_TYPE_BYTES)
        return count_bytes(self, rounded(found->content.size));
    if (found->field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_submessage(self, found);
    return WEIR_OK;
}

/* Marks the field as met; true when it was before. */
static bool
was_met(frame *message, const ProtobufCFieldDescriptor *field)
{
    const size_t index = (size_t)(field - message->descriptor->fields);
    const uint64_t bit = UINT64_C(1) << (index % 64);
    const bool before = (message->met[index / 64] & bit) != 0;

    message->met[index / 64] |= bit;
    return before;
}

static weir_code
check_repeated(walk *self, frame *message, const occurrence *found)
{
    const bool is_number =
        expected_wire_type(found->field->type) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    const bool is_packed = is_number && found->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    /* The array is one allocation: its rounding is counted with the first occurrence. */
    const size_t rounding = was_met(message, found->field) ? 0 : ALLOCATION_ROUNDING - 1;
    const size_t bytes = is_packed ? 0 : element_size(found->field->type);
    const weir_code code = count_bytes(self, rounding + bytes);

    if (code != WEIR_OK)
        return code;
    return is_packed ? check_packed(self, found) : check_value(self, found);
}

static weir_code
check_field(walk *self, frame *message, const occurrence *found)
{
    const weir_code code = count_elements(self, 1);

    if (code != WEIR_OK)
        return code;
    if (found->field == NULL) {
        message->unknown_count++;
        return count_bytes(self, rounded(found->whole_bytes));
    }
    if (found->field->label == PROTOBUF_C_LABEL_REPEATED)
        return check_repeated(self, message, found);
    if (was_met(message, found->field) && found->field->type == PROTOBUF_C_TYPE_MESSAGE)
        return malformed(self, "is given twice");
    return check_value(self, found);
}

static weir_code
check_message(walk *self, const ProtobufCMessageDescriptor *descriptor, weir_bytes input)
{
    frame message = { .descriptor = descriptor, .rest = input };
    weir_code code = WEIR_OK;

    weir_assert(descriptor->n_fields <= FIELDS_MAX);
    while (code == WEIR_OK && message.rest.size > 0) {
        occurrence found;

        code = take_occurrence(self, &message, &found);
        message.field_count++;
        if (code == WEIR_OK)
            code = check_field(self, &message, &found);
    }
    if (code != WEIR_OK)
        return code;
    self->path[self->depth] = NULL;
    return count_message(self, &message);
}

static weir_wire_limits
with_defaults(const weir_wire_limits *limits, size_t input_bytes)
{
    weir_wire_limits filled = limits == NULL ? (weir_wire_limits){ 0 } : *limits;
    const size_t scaled = input_bytes < DECODED_BYTES_TOP
        ? input_bytes * DECODED_BYTES_FACTOR + DECODED_BYTES_BASE
        : DECODED_BYTES_TOP;

    if (filled.depth_max == 0)
        filled.depth_max = WEIR_WIRE_DEPTH_MAX;
    if (filled.elements_max == 0)
        filled.elements_max = ELEMENTS_MAX_DEFAULT;
    if (filled.decoded_bytes_max == 0)
        filled.decoded_bytes_max = scaled < DECODED_BYTES_TOP ? scaled : DECODED_BYTES_TOP;
    return filled;
}

weir_code
weir_wire_check(const ProtobufCMessageDescriptor *descriptor, weir_bytes input,
    const weir_wire_limits *limits, weir_error *reterr)
{
    walk self = { .limits = with_defaults(limits, input.size), .reterr = reterr };

    weir_assert(self.limits.depth_max <= DEPTH_LIMIT);
    if (input.size > INT_MAX)
        return malformed(&self, "is larger than 2 GiB");
    return check_message(&self, descriptor, input);
}
