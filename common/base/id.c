/*
 * id.c - hexadecimal, UUIDv7 and the shape of UTF-8.
 */
#include "common/base/id.h"

#include "common/base/assert.h"

static const char hex_digits[] = "0123456789abcdef";

void
weir_hex_encode(weir_bytes input, char *out)
{
    for (size_t index = 0; index < input.size; index++) {
        *out++ = hex_digits[input.data[index] >> 4];
        *out++ = hex_digits[input.data[index] & 15];
    }
    *out = '\0';
}

/* 0..15, or -1 for what is no hex digit. */
static int
hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool
weir_hex_decode(const char *hex, uint8_t *out, size_t out_size)
{
    if (strlen(hex) != 2 * out_size)
        return false;
    for (size_t index = 0; index < out_size; index++) {
        const int high = hex_value(hex[2 * index]);
        const int low = hex_value(hex[2 * index + 1]);

        if (high < 0 || low < 0)
            return false;
        out[index] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void
weir_uuid7_format(int64_t wall_ms, const uint8_t random[10], char out[37])
{
    uint8_t uuid[16];
    char hex[33];
    size_t used = 0;

    weir_assert(wall_ms >= 0);
    /* 48 bits of time; the last two bytes are overwritten. */
    weir_store_u64(uuid, (uint64_t)wall_ms << 16);
    memcpy(uuid + 6, random, 10);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x70); /* version 7 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
    weir_hex_encode(weir_bytes_of(uuid, sizeof uuid), hex);
    for (size_t index = 0; index < 32; index++) {
        if (index == 8 || index == 12 || index == 16 || index == 20)
            out[used++] = '-';
        out[used++] = hex[index];
    }
    out[used] = '\0';
    weir_assert(used == 36);
}

static bool
is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t
weir_utf8_length(const uint8_t *at, size_t left)
{
    if (left == 0)
        return 0;
    const uint8_t first = at[0];

    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0; /* a continuation, an overlong two-byte form, or above U+10FFFF */
    const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    if (left < length)
        return 0;
    for (size_t index = 1; index < length; index++) {
        if (!is_continuation(at[index]))
            return 0;
    }
    if ((first == 0xE0 && at[1] < 0xA0) || (first == 0xF0 && at[1] < 0x90))
        return 0; /* overlong */
    if ((first == 0xED && at[1] > 0x9F) || (first == 0xF4 && at[1] > 0x8F))
        return 0; /* a surrogate, or above U+10FFFF */
    return length;
}

enum { BLOCK_BYTES = 128 };

/* ASCII without NUL.  Without a way out of the loop the compiler makes vector instructions of it.
 */
static bool
is_ascii_block(const uint8_t *at)
{
    uint8_t bad = 0;

    for (size_t index = 0; index < BLOCK_BYTES; index++)
        bad = (uint8_t)(bad | ((int8_t)at[index] <= 0));
    return bad == 0;
}

/* How many leading bytes, in steps of eight, are ASCII without NUL. */
static size_t
ascii_prefix(weir_bytes input, size_t from)
{
    static const uint64_t ones = 0x0101010101010101;
    static const uint64_t tops = 0x8080808080808080;
    size_t at = from;

    for (; input.size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, input.data + at, sizeof word);
        /* Without a top bit in the word, a subtraction can set one only by borrowing from a zero
         * byte. */
        if (((word | (word - ones)) & tops) != 0)
            break;
    }
    return at - from;
}

bool
weir_utf8_valid(weir_bytes input)
{
    size_t at = 0;

    while (input.size - at >= BLOCK_BYTES && is_ascii_block(input.data + at))
        at += BLOCK_BYTES;
    while (at < input.size) {
        if (input.data[at] < 0x80)
            at += ascii_prefix(input, at);
        if (at == input.size)
            break;
        const size_t length = weir_utf8_length(input.data + at, input.size - at);

        if (length == 0 || input.data[at] == 0)
            return false;
        at += length;
    }
    return true;
}
