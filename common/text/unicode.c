/*
 * unicode.c - the door to utf8proc, and weir's normal form.
 *
 * The normal form is made in one pass.  Characters are mapped one by one and appended; `segment` is
 * the place in the output from which the last characters may still compose with what follows.  Only
 * when a segment holds something that NFC could change is utf8proc asked, so plain text costs a
 * copy.
 */
#include "common/text/unicode.h"

#include <utf8proc.h>

#include "common/base/assert.h"
#include "common/base/id.h"

enum {
    REPLACEMENT = 0xFFFD,
    GRAPHEME_JOINER = 0x034F,
    MARKS_IN_A_ROW_MAX = 30,    /* UAX 15, section 13 */
    SEGMENT_BYTES_TARGET = 192, /* ask utf8proc for about so much at once */
    DROPPED = 0xFFFFFFFF,
};

typedef struct range {
    uint32_t first;
    uint32_t last;
} range;

uint32_t
weir_utf8_decode_any(const uint8_t *at, size_t left, size_t *ret_size)
{
    weir_assert(left > 0);
    const size_t size = weir_utf8_length(at, left);

    *ret_size = size == 0 ? 1 : size;
    switch (size) {
    case 1:
        return at[0];
    case 2:
        return (at[0] & 0x1FU) << 6 | (at[1] & 0x3FU);
    case 3:
        return (at[0] & 0x0FU) << 12 | (at[1] & 0x3FU) << 6 | (at[2] & 0x3FU);
    case 4:
        return (at[0] & 0x07U) << 18 | (at[1] & 0x3FU) << 12 | (at[2] & 0x3FU) << 6 |
            (at[3] & 0x3FU);
    default:
        return REPLACEMENT;
    }
}

size_t
weir_utf8_encode_any(uint32_t code, uint8_t out[4])
{
    weir_assert(code < 0x110000);
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, out);
}

size_t
weir_utf8_floor(weir_bytes text, size_t position)
{
    if (position >= text.size)
        return text.size;
    while (position > 0 && (text.data[position] & 0xC0) == 0x80)
        position--;
    return position;
}

static bool
in_ranges(uint32_t code, const range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    }
    return false;
}

static utf8proc_category_t
category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

bool
weir_char_is_space_beyond_ascii(uint32_t code)
{
    if (code == 0x85)
        return true;
    const utf8proc_category_t found = category(code);

    return found == UTF8PROC_CATEGORY_ZS || found == UTF8PROC_CATEGORY_ZL ||
        found == UTF8PROC_CATEGORY_ZP;
}

bool
weir_char_is_letter_or_digit_beyond_ascii(uint32_t code)
{
    const utf8proc_category_t found = category(code);

    return (found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO) ||
        (found >= UTF8PROC_CATEGORY_ND && found <= UTF8PROC_CATEGORY_NO);
}

bool
weir_char_is_mark_at_all(uint32_t code)
{
    const utf8proc_category_t found = category(code);

    return found >= UTF8PROC_CATEGORY_MN && found <= UTF8PROC_CATEGORY_ME;
}

uint32_t
weir_char_lower_beyond_ascii(uint32_t code)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

/* Characters that say nothing about the text: they steer its display or hide in it. */
static bool
is_invisible(uint32_t code)
{
    static const range invisible[] = {
        { 0x00AD, 0x00AD },
        { 0x061C, 0x061C },
        { 0x200B, 0x200B },
        { 0x200E, 0x200F },
        { 0x202A, 0x202E },
        { 0x2060, 0x2060 },
        { 0x2066, 0x2069 },
        { 0xFDD0, 0xFDEF },
        { 0xFEFF, 0xFEFF },
        { 0xFFF9, 0xFFFB },
        { 0xE0000, 0xE007F },
    };

    return (code & 0xFFFE) == 0xFFFE ||
        in_ranges(code, invisible, sizeof invisible / sizeof *invisible);
}

/* What a character becomes; LF and TAB stay, CR has been dealt with. */
static uint32_t
mapped(uint32_t code)
{
    if (code == '\n' || code == '\t')
        return code;
    if (code == '\v' || code == '\f' || code == 0x85 || code == 0x2028 || code == 0x2029)
        return '\n';
    if (code < 0x20 || (code >= 0x7F && code < 0xA0))
        return DROPPED;
    if (code < 0x80)
        return code;
    if (weir_char_is_space(code))
        return ' ';
    return is_invisible(code) ? DROPPED : code;
}

/* Common characters that NFC never changes (NFC_Quick_Check = Yes) and that never compose with
 * what stands before them. */
static bool
is_settled(uint32_t code)
{
    static const range settled[] = {
        { 0x0000, 0x02FF },
        { 0x0400, 0x0482 },
        { 0x048A, 0x052F },
        { 0x05D0, 0x05EA },
        { 0x0621, 0x063A },
        { 0x0641, 0x064A },
        { 0x2010, 0x2027 },
        { 0x2030, 0x205E },
        { 0x3001, 0x3029 },
        { 0x3041, 0x3096 },
        { 0x30A1, 0x30FA },
        { 0x3400, 0x4DBF },
        { 0x4E00, 0x9FFF },
        { 0xAC00, 0xD7A3 },
        { 0xFF01, 0xFF60 },
    };

    return in_ranges(code, settled, sizeof settled / sizeof *settled);
}

/* No character before it can compose with it.  All that can are marks or the vowels and final
 * consonants of Hangul. */
static bool
is_boundary(uint32_t code, const utf8proc_property_t *property)
{
    if ((code >= 0x1160 && code <= 0x11FF) || (code >= 0xD7B0 && code <= 0xD7FF))
        return false;
    return property->combining_class == 0 && property->category != UTF8PROC_CATEGORY_MN &&
        property->category != UTF8PROC_CATEGORY_MC;
}

typedef struct normalizer {
    weir_buffer *out;
    weir_buffer codes; /* scratch for utf8proc */
    size_t segment;    /* from here on, characters may still compose with what follows */
    bool is_open;      /* the segment holds something that NFC may change */
    uint32_t marks;    /* combining marks in a row */
} normalizer;

/* Compose the open segment in place. */
static void
close_segment(normalizer *self)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const size_t size = self->out->size - self->segment;
    const size_t room = (size * 4 + 16) * sizeof(utf8proc_int32_t);

    weir_buffer_clear(&self->codes);
    weir_buffer_reserve(&self->codes, room);
    utf8proc_int32_t *const codes = (utf8proc_int32_t *)(void *)self->codes.data;
    utf8proc_ssize_t count = utf8proc_decompose(self->out->data + self->segment,
        (utf8proc_ssize_t)size, codes, (utf8proc_ssize_t)(size * 4 + 16), options);

    weir_assert(count >= 0 && (size_t)count <= size * 4 + 16); /* input is UTF-8: it cannot fail */
    count = utf8proc_normalize_utf32(codes, count, options);
    self->out->size = self->segment;
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        uint8_t bytes[4];

        weir_buffer_append(self->out, bytes, weir_utf8_encode((uint32_t)codes[i], bytes));
    }
    self->segment = self->out->size;
    self->is_open = false;
}

static void
append_code(normalizer *self, uint32_t code)
{
    uint8_t bytes[4];

    weir_buffer_append(self->out, bytes, weir_utf8_encode(code, bytes));
}

static void
begin_segment(normalizer *self)
{
    if (self->is_open && self->out->size - self->segment < SEGMENT_BYTES_TARGET)
        return; /* a longer segment costs less by the byte */
    if (self->is_open)
        close_segment(self);
    self->segment = self->out->size;
}

static void
add_character(normalizer *self, uint32_t code)
{
    if (is_settled(code)) {
        begin_segment(self);
        self->marks = 0;
        append_code(self, code);
        return;
    }
    const utf8proc_property_t *const property = utf8proc_get_property((utf8proc_int32_t)code);

    if (property->combining_class == 0) {
        self->marks = 0;
    } else if (++self->marks > MARKS_IN_A_ROW_MAX) {
        append_code(self, GRAPHEME_JOINER);
        self->marks = 1;
    }
    if (is_boundary(code, property))
        begin_segment(self);
    append_code(self, code);
    self->is_open = true;
}

static bool
is_plain_ascii(uint8_t byte)
{
    return (byte >= ' ' && byte < 0x7F) || byte == '\n' || byte == '\t';
}

/* Bytes from `at` that stay as they are. */
static size_t
plain_length(const uint8_t *at, size_t left)
{
    size_t length = 0;

    while (length < left && is_plain_ascii(at[length]))
        length++;
    return length;
}

static void
add_plain(normalizer *self, const uint8_t *at, size_t length)
{
    if (self->is_open)
        close_segment(self);
    weir_buffer_append(self->out, at, length);
    self->segment = self->out->size - 1; /* a mark may follow the last one */
    self->marks = 0;
}

/* Take one character that is not plain; returns its bytes. */
static size_t
add_other(normalizer *self, const uint8_t *at, size_t left)
{
    if (at[0] == '\r') {
        add_character(self, '\n');
        return left > 1 && at[1] == '\n' ? 2 : 1;
    }
    size_t size = 0;
    const uint32_t code = mapped(weir_utf8_decode(at, left, &size));

    if (code != DROPPED)
        add_character(self, code);
    return size;
}

void
weir_text_normalize(weir_bytes text, weir_buffer *out)
{
    normalizer self = { .out = out, .segment = out->size };
    size_t position = 0;

    weir_buffer_reserve(out, text.size);
    while (position < text.size) {
        const uint8_t *const at = text.data + position;
        const size_t plain = plain_length(at, text.size - position);

        if (plain > 0)
            add_plain(&self, at, plain);
        position += plain > 0 ? plain : add_other(&self, at, text.size - position);
    }
    if (self.is_open)
        close_segment(&self);
    weir_buffer_fini(&self.codes);
}
