/*
 * unicode.h - what weir needs to know about characters: decoding, classes, normal form.
 *
 * The only door to utf8proc.  Any thread.
 */
#ifndef WEIR_TEXT_UNICODE_H
#define WEIR_TEXT_UNICODE_H

#include "common/base/bytes.h"

/* The same for any character; the functions below spare ASCII, which most text is, the call: it
 * cost more than the rest of a tokenizer. */
uint32_t weir_utf8_decode_any(const uint8_t *at, size_t left, size_t *ret_size);
size_t weir_utf8_encode_any(uint32_t code, uint8_t out[4]);
bool weir_char_is_space_beyond_ascii(uint32_t code);
bool weir_char_is_letter_or_digit_beyond_ascii(uint32_t code);
bool weir_char_is_mark_at_all(uint32_t code);
uint32_t weir_char_lower_beyond_ascii(uint32_t code);

/* Decode the character at `at` (left > 0 bytes); 1..4 bytes are consumed.  A byte that begins no
 * well-formed character is consumed alone and gives U+FFFD. */
static inline uint32_t
weir_utf8_decode(const uint8_t *at, size_t left, size_t *ret_size)
{
    if (left == 0 || at[0] >= 0x80)
        return weir_utf8_decode_any(at, left, ret_size);
    *ret_size = 1;
    return at[0];
}

/* Write one code point (a scalar value) and return its size, 1..4. */
static inline size_t
weir_utf8_encode(uint32_t code, uint8_t out[4])
{
    if (code >= 0x80)
        return weir_utf8_encode_any(code, out);
    out[0] = (uint8_t)code;
    return 1;
}

/* The greatest character boundary that is <= position; text is well-formed. */
size_t weir_utf8_floor(weir_bytes text, size_t position);

/* Unicode White_Space. */
static inline bool
weir_char_is_space(uint32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= '\t' && code <= '\r');
    return weir_char_is_space_beyond_ascii(code);
}

static inline bool
weir_char_is_letter_or_digit(uint32_t code)
{
    if (code < 0x80)
        return code - '0' < 10 || (code | 0x20) - 'a' < 26;
    return weir_char_is_letter_or_digit_beyond_ascii(code);
}

static inline bool
weir_char_is_mark(uint32_t code)
{
    return code >= 0x300 && weir_char_is_mark_at_all(code);
}

/* Simple lower case; the code itself where there is none. */
static inline uint32_t
weir_char_lower(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26 ? code | 0x20 : code;
    return weir_char_lower_beyond_ascii(code);
}

/*
 * Append `text` to `out` in weir's normal form, which is what byte offsets of chunks refer to:
 *   - NFC, with a grapheme joiner after every 30 combining marks in a row (the Stream-Safe Text
 *     Format of UAX 15), without which sorting them could take for ever;
 *   - CR LF, CR, VT, FF, NEL, LS, PS become LF; other Unicode spaces but TAB become one space each;
 *   - control characters but TAB, noncharacters, byte-order marks, zero-width space and word
 *     joiner, soft hyphens, bidirectional controls and tag characters are dropped (ZWJ and ZWNJ
 *     stay: they carry meaning);
 *   - a byte that is not UTF-8 becomes U+FFFD.
 * O(n).  The result of a second pass is the same text.
 */
void weir_text_normalize(weir_bytes text, weir_buffer *out);

#endif
