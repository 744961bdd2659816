/*
 * base64.c - RFC 4648.  Out: the standard alphabet with padding.  In: either alphabet, padded or
 * not.
 */
#include "common/json/json.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void
encode_group(const uint8_t *in, size_t count, uint8_t out[4])
{
    const uint32_t group = (uint32_t)in[0] << 16 | (count > 1 ? (uint32_t)in[1] << 8 : 0) |
        (count > 2 ? (uint32_t)in[2] : 0);

    out[0] = (uint8_t)alphabet[group >> 18];
    out[1] = (uint8_t)alphabet[group >> 12 & 63];
    out[2] = count > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
    out[3] = count > 2 ? (uint8_t)alphabet[group & 63] : '=';
}

void
weir_json_append_base64(weir_buffer *out, weir_bytes data)
{
    weir_buffer_reserve(out, (data.size + 2) / 3 * 4);
    for (size_t at = 0; at < data.size; at += 3) {
        const size_t left = data.size - at;

        encode_group(data.data + at, left < 3 ? left : 3, out->data + out->size);
        out->size += 4;
    }
}

static int
digit_of(uint8_t character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == '+' || character == '-')
        return 62;
    return character == '/' || character == '_' ? 63 : -1;
}

/* The length without padding, or SIZE_MAX when the padding is wrong. */
static size_t
unpadded(weir_bytes text)
{
    size_t size = text.size;

    while (size > 0 && text.data[size - 1] == '=')
        size--;
    if (size == text.size)
        return size % 4 == 1 ? SIZE_MAX : size;
    return text.size % 4 != 0 || text.size - size > 2 ? SIZE_MAX : size;
}

bool
weir_json_decode_base64(weir_bytes text, uint8_t *out, size_t *ret_size)
{
    const size_t size = unpadded(text);
    uint32_t bits = 0;
    size_t written = 0;

    if (size == SIZE_MAX)
        return false;
    for (size_t at = 0; at < size; at++) {
        const int digit = digit_of(text.data[at]);

        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        if (at % 4 != 0)
            out[written++] = (uint8_t)(bits >> (6 - at % 4 * 2));
    }
    *ret_size = written;
    return true;
}
