/*
 * names.c - names of fields and values: their two spellings, the nearest known one, paths of
 * places.
 */
#include <stdio.h>

#include "common/json/internal.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/field_mask.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

json_special
json_special_of(const ProtobufCMessageDescriptor *descriptor)
{
    if (descriptor == &google__protobuf__timestamp__descriptor)
        return JSON_TIMESTAMP;
    if (descriptor == &google__protobuf__duration__descriptor)
        return JSON_DURATION;
    if (descriptor == &google__protobuf__field_mask__descriptor)
        return JSON_FIELD_MASK;
    return descriptor == &google__protobuf__any__descriptor ? JSON_ANY : JSON_PLAIN;
}

bool
json_is_message(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE;
}

static bool
is_key_type(ProtobufCType type)
{
    return type != PROTOBUF_C_TYPE_FLOAT && type != PROTOBUF_C_TYPE_DOUBLE &&
        type != PROTOBUF_C_TYPE_BYTES && type != PROTOBUF_C_TYPE_ENUM &&
        type != PROTOBUF_C_TYPE_MESSAGE;
}

/* protoc calls the entry type of the map `a_map` of message M: M.AMapEntry. */
static bool
is_entry_name(const char *entry, const char *parent, const char *field)
{
    const size_t parent_size = strlen(parent);
    bool upper = true;

    if (strncmp(entry, parent, parent_size) != 0 || entry[parent_size] != '.')
        return false;
    entry += parent_size + 1;
    for (; *field != '\0'; field++) {
        if (*field == '_') {
            upper = true;
            continue;
        }
        const bool raise = upper && *field >= 'a' && *field <= 'z';

        if (*entry++ != (raise ? *field - 'a' + 'A' : *field))
            return false;
        upper = false;
    }
    return strcmp(entry, "Entry") == 0;
}

bool
json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || !json_is_message(field))
        return false;
    const ProtobufCMessageDescriptor *const entry = field->descriptor;

    return entry->n_fields == 2 && entry->fields[0].id == 1 && entry->fields[1].id == 2 &&
        strcmp(entry->fields[0].name, "key") == 0 && strcmp(entry->fields[1].name, "value") == 0 &&
        is_key_type(entry->fields[0].type) && is_entry_name(entry->name, parent->name, field->name);
}

void
json_camel(const char *name, char *out, size_t out_size)
{
    size_t size = 0;
    bool upper = false;

    for (; *name != '\0' && size + 1 < out_size; name++) {
        if (*name == '_') {
            upper = true;
            continue;
        }
        const bool raise = upper && *name >= 'a' && *name <= 'z';

        out[size++] = (char)(raise ? *name - 'a' + 'A' : *name);
        upper = false;
    }
    out[size] = '\0';
}

static bool
is_called(const ProtobufCFieldDescriptor *field, weir_bytes name)
{
    char camel[128];

    if (weir_bytes_equal(name, weir_bytes_str(field->name)))
        return true;
    json_camel(field->name, camel, sizeof camel);
    return weir_bytes_equal(name, weir_bytes_str(camel));
}

const ProtobufCFieldDescriptor *
json_find_field(const ProtobufCMessageDescriptor *descriptor, weir_bytes name)
{
    for (unsigned at = 0; at < descriptor->n_fields; at++) {
        if (is_called(&descriptor->fields[at], name))
            return &descriptor->fields[at];
    }
    return NULL;
}

static unsigned
least(unsigned a, unsigned b, unsigned c)
{
    const unsigned ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Levenshtein distance without regard to case; both are shorter than 64. */
static unsigned
distance(weir_bytes a, const char *b)
{
    const size_t b_size = strlen(b);
    unsigned row[64];

    for (unsigned at = 0; at <= b_size; at++)
        row[at] = at;
    for (size_t i = 0; i < a.size; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < b_size; j++) {
            const unsigned change = (a.data[i] | 32) != ((uint8_t)b[j] | 32);
            const unsigned next = least(row[j + 1] + 1, row[j] + 1, diagonal + change);

            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    return row[b_size];
}

/* Keep `candidate` in out when it is nearer than *best, the distance so far. */
static void
keep_nearer(weir_bytes name, const char *candidate, unsigned *best, char out[64])
{
    if (name.size >= 64 || strlen(candidate) >= 64)
        return;
    const unsigned found = distance(name, candidate);

    if (found < *best) {
        *best = found;
        (void)snprintf(out, 64, "%s", candidate);
    }
}

/* A third of the name may be wrong; more is another name. */
static unsigned
near_enough(weir_bytes name)
{
    return (unsigned)(name.size / 3) + 2;
}

void
json_nearest_field(const ProtobufCMessageDescriptor *descriptor, weir_bytes name, char out[64])
{
    unsigned best = near_enough(name);

    out[0] = '\0';
    for (unsigned at = 0; at < descriptor->n_fields; at++) {
        char camel[64];

        json_camel(descriptor->fields[at].name, camel, sizeof camel);
        keep_nearer(name, camel, &best, out);
    }
}

void
json_nearest_value(const ProtobufCEnumDescriptor *descriptor, weir_bytes name, char out[64])
{
    unsigned best = UINT32_MAX;

    out[0] = '\0';
    for (unsigned at = 0; at < descriptor->n_values; at++)
        keep_nearer(name, descriptor->values[at].name, &best, out);
}

const char *
json_shown(weir_bytes text, char out[64])
{
    size_t size = text.size < 60 ? text.size : 60;

    if (size < text.size) {
        while (size > 0 && (text.data[size] & 0xC0) == 0x80)
            size--;
    }
    for (size_t at = 0; at < size; at++)
        out[at] = (char)(text.data[at] < 0x20 || text.data[at] == 0x7F ? '?' : text.data[at]);
    memcpy(out + size, size < text.size ? "..." : "", size < text.size ? 4 : 1);
    return out;
}

static size_t
step_text(const json_place *place, char *out, size_t out_size)
{
    char shown[64];
    int size;

    if (place->name != NULL)
        size = snprintf(out, out_size, "%s%s", place->up != NULL ? "." : "", place->name);
    else if (place->index >= 0)
        size = snprintf(out, out_size, "[%lld]", (long long)place->index);
    else
        size = snprintf(out, out_size, "[%s]", json_shown(place->key, shown));
    return (size_t)size < out_size ? (size_t)size : out_size - 1;
}

void
json_path(const json_place *place, char out[JSON_PATH_BYTES])
{
    size_t begin = JSON_PATH_BYTES - 1;
    char step[JSON_PATH_BYTES];

    out[begin] = '\0';
    for (; place != NULL; place = place->up) {
        const size_t size = step_text(place, step, sizeof step);

        if (size > begin)
            break;
        begin -= size;
        memcpy(out + begin, step, size);
    }
    if (out[begin] == '.')
        begin++;
    memmove(out, out + begin, JSON_PATH_BYTES - begin);
}
