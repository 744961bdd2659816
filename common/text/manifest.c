/*
 * manifest.c - just enough JSON to follow member names through objects.
 *
 * A manifest is a small file of this project's own making, read by a layer that has no JSON library
 * below it; what it does not understand it does not find.
 */
#include "common/text/manifest.h"

typedef struct scanner {
    const uint8_t *at;
    const uint8_t *end;
} scanner;

static bool
is_json_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static bool
take(scanner *self, uint8_t wanted)
{
    while (self->at < self->end && is_json_space(*self->at))
        self->at++;
    if (self->at == self->end || *self->at != wanted)
        return false;
    self->at++;
    return true;
}

/* A string with what stands between its quotes. */
static bool
take_string(scanner *self, weir_bytes *ret_string)
{
    if (!take(self, '"'))
        return false;
    const uint8_t *const begin = self->at;

    while (self->at < self->end && *self->at != '"') {
        if (*self->at == '\\' && self->at + 1 < self->end)
            self->at++;
        self->at++;
    }
    if (self->at >= self->end)
        return false;
    *ret_string = weir_bytes_of(begin, (size_t)(self->at++ - begin));
    return true;
}

/* Any value: up to the comma or bracket that ends it at this depth. */
static bool
take_value(scanner *self, weir_bytes *ret_value)
{
    uint32_t depth = 0;

    while (self->at < self->end && is_json_space(*self->at))
        self->at++;
    const uint8_t *const begin = self->at;

    while (self->at < self->end) {
        const uint8_t byte = *self->at;
        weir_bytes ignored;

        if (byte == '"') {
            if (!take_string(self, &ignored))
                return false;
            continue;
        }
        if (depth == 0 && (byte == ',' || byte == '}' || byte == ']'))
            break;
        if (byte == '{' || byte == '[')
            depth++;
        if (byte == '}' || byte == ']')
            depth--;
        self->at++;
    }
    const uint8_t *end = self->at;

    while (end > begin && is_json_space(end[-1]))
        end--;
    *ret_value = weir_bytes_of(begin, (size_t)(end - begin));
    return depth == 0 && end > begin;
}

static bool
find_member(weir_bytes json, const char *name, weir_bytes *ret_value)
{
    scanner self = { .at = json.data, .end = json.data + json.size };
    weir_bytes key;

    if (!take(&self, '{'))
        return false;
    do {
        if (!take_string(&self, &key) || !take(&self, ':') || !take_value(&self, ret_value))
            return false;
        if (weir_bytes_equal(key, weir_bytes_str(name)))
            return true;
    } while (take(&self, ','));
    return false;
}

bool
weir_manifest_find(weir_bytes json, const char *const *path, weir_bytes *ret_value)
{
    weir_bytes value = json;

    for (size_t i = 0; path[i] != NULL; i++) {
        if (!find_member(value, path[i], &value))
            return false;
    }
    if (value.size >= 2 && value.data[0] == '"') {
        value = weir_bytes_of(value.data + 1, value.size - 2);
        if (memchr(value.data, '\\', value.size) != NULL)
            return false;
    }
    *ret_value = value;
    return true;
}

bool
weir_manifest_string(weir_bytes json, const char *const *path, char *out, size_t out_size)
{
    weir_bytes value;

    if (!weir_manifest_find(json, path, &value) || value.size >= out_size)
        return false;
    memcpy(out, value.data, value.size);
    out[value.size] = '\0';
    return true;
}

bool
weir_manifest_u32(weir_bytes json, const char *const *path, uint32_t *ret_value)
{
    weir_bytes value;
    uint32_t number = 0;

    if (!weir_manifest_find(json, path, &value) || value.size > 9)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(value.data[i] - '0');
    }
    *ret_value = number;
    return value.size > 0;
}

bool
weir_manifest_true(weir_bytes json, const char *const *path)
{
    weir_bytes value;

    return weir_manifest_find(json, path, &value) &&
        weir_bytes_equal(value, weir_bytes_str("true"));
}
