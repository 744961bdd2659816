/*
 * bert_chars.c - character facts of the reference tokenizer.
 *
 * In its order: drop control, format and private-use characters, U+0000 and U+FFFD; spaces; Chinese
 * characters stand alone; canonical decomposition; drop nonspacing marks; lower case; punctuation
 * stands alone.
 *
 * The reference takes its categories from Unicode 8, its decompositions from Unicode 12 and its
 * lower case from the newest Unicode, where utf8proc has one version for all.  The tables below
 * hold the difference, found by comparing every code point; a test compares them again.  A model
 * was trained with the reference's tokens, so the reference is right by definition.
 */
#include "common/text/bert_chars.h"

#include <stdbool.h>
#include <utf8proc.h>

#include "common/base/assert.h"

typedef struct range {
    uint32_t first;
    uint32_t last;
} range;

/* Marks, format characters and punctuation that are younger than the reference's categories: it
 * takes them for letters.  In ascending order. */
static const range plain_letters[] = {
    { 0x061D, 0x061D },
    { 0x07FD, 0x07FD },
    { 0x0890, 0x0891 },
    { 0x0898, 0x089F },
    { 0x08CA, 0x08E2 },
    { 0x09FD, 0x09FE },
    { 0x0A76, 0x0A76 },
    { 0x0AFA, 0x0AFF },
    { 0x0B55, 0x0B55 },
    { 0x0C04, 0x0C04 },
    { 0x0C3C, 0x0C3C },
    { 0x0C77, 0x0C77 },
    { 0x0C84, 0x0C84 },
    { 0x0D00, 0x0D00 },
    { 0x0D3B, 0x0D3C },
    { 0x0D81, 0x0D81 },
    { 0x0EBA, 0x0EBA },
    { 0x0ECE, 0x0ECE },
    { 0x180F, 0x180F },
    { 0x1885, 0x1886 },
    { 0x1ABF, 0x1ACE },
    { 0x1B7D, 0x1B7E },
    { 0x1DF6, 0x1DFB },
    { 0x2E43, 0x2E4F },
    { 0x2E52, 0x2E5D },
    { 0xA82C, 0xA82C },
    { 0xA8C5, 0xA8C5 },
    { 0xA8FF, 0xA8FF },
    { 0xA9BD, 0xA9BD },
    { 0x10D24, 0x10D27 },
    { 0x10EAB, 0x10EAD },
    { 0x10EFD, 0x10EFF },
    { 0x10F46, 0x10F50 },
    { 0x10F55, 0x10F59 },
    { 0x10F82, 0x10F89 },
    { 0x11070, 0x11070 },
    { 0x11073, 0x11074 },
    { 0x110C2, 0x110C2 },
    { 0x110CD, 0x110CD },
    { 0x111CF, 0x111CF },
    { 0x1123E, 0x1123E },
    { 0x11241, 0x11241 },
    { 0x1133B, 0x1133B },
    { 0x11438, 0x1143F },
    { 0x11442, 0x11444 },
    { 0x11446, 0x11446 },
    { 0x1144B, 0x1144F },
    { 0x1145A, 0x1145B },
    { 0x1145D, 0x1145E },
    { 0x11660, 0x1166C },
    { 0x116B9, 0x116B9 },
    { 0x1182F, 0x11837 },
    { 0x11839, 0x1183B },
    { 0x11938, 0x11938 },
    { 0x1193B, 0x1193C },
    { 0x1193E, 0x1193E },
    { 0x11943, 0x11946 },
    { 0x119D4, 0x119D7 },
    { 0x119DA, 0x119DB },
    { 0x119E0, 0x119E0 },
    { 0x119E2, 0x119E2 },
    { 0x11A01, 0x11A0A },
    { 0x11A33, 0x11A38 },
    { 0x11A3B, 0x11A47 },
    { 0x11A51, 0x11A56 },
    { 0x11A59, 0x11A5B },
    { 0x11A8A, 0x11A96 },
    { 0x11A98, 0x11A9C },
    { 0x11A9E, 0x11AA2 },
    { 0x11B00, 0x11B09 },
    { 0x11C30, 0x11C36 },
    { 0x11C38, 0x11C3D },
    { 0x11C3F, 0x11C3F },
    { 0x11C41, 0x11C45 },
    { 0x11C70, 0x11C71 },
    { 0x11C92, 0x11CA7 },
    { 0x11CAA, 0x11CB0 },
    { 0x11CB2, 0x11CB3 },
    { 0x11CB5, 0x11CB6 },
    { 0x11D31, 0x11D36 },
    { 0x11D3A, 0x11D3A },
    { 0x11D3C, 0x11D3D },
    { 0x11D3F, 0x11D45 },
    { 0x11D47, 0x11D47 },
    { 0x11D90, 0x11D91 },
    { 0x11D95, 0x11D95 },
    { 0x11D97, 0x11D97 },
    { 0x11EF3, 0x11EF4 },
    { 0x11EF7, 0x11EF8 },
    { 0x11F00, 0x11F01 },
    { 0x11F36, 0x11F3A },
    { 0x11F40, 0x11F40 },
    { 0x11F42, 0x11F4F },
    { 0x11FFF, 0x11FFF },
    { 0x12FF1, 0x12FF2 },
    { 0x13430, 0x13440 },
    { 0x13447, 0x13455 },
    { 0x16E97, 0x16E9A },
    { 0x16F4F, 0x16F4F },
    { 0x16FE2, 0x16FE2 },
    { 0x16FE4, 0x16FE4 },
    { 0x1CF00, 0x1CF2D },
    { 0x1CF30, 0x1CF46 },
    { 0x1E000, 0x1E006 },
    { 0x1E008, 0x1E018 },
    { 0x1E01B, 0x1E021 },
    { 0x1E023, 0x1E024 },
    { 0x1E026, 0x1E02A },
    { 0x1E08F, 0x1E08F },
    { 0x1E130, 0x1E136 },
    { 0x1E2AE, 0x1E2AE },
    { 0x1E2EC, 0x1E2EF },
    { 0x1E4EC, 0x1E4EF },
    { 0x1E944, 0x1E94A },
    { 0x1E95E, 0x1E95F },
};

/* Lower case of characters that are younger than utf8proc: first, last, what to add. */
static const struct {
    uint32_t first;
    uint32_t last;
    int32_t add;
} young_capitals[] = {
    { 0x1C89, 0x1C89, 1 },
    { 0xA7CB, 0xA7CB, 0x264 - 0xA7CB },
    { 0xA7CC, 0xA7CC, 1 },
    { 0xA7CE, 0xA7CE, 1 },
    { 0xA7D2, 0xA7D2, 1 },
    { 0xA7D4, 0xA7D4, 1 },
    { 0xA7DA, 0xA7DA, 1 },
    { 0xA7DC, 0xA7DC, 0x19B - 0xA7DC },
    { 0x10D50, 0x10D65, 0x20 },
    { 0x16EA0, 0x16EB8, 0x1B },
};

static bool
is_plain_letter(uint32_t code)
{
    size_t low = 0;
    size_t high = sizeof plain_letters / sizeof *plain_letters;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (code > plain_letters[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof plain_letters / sizeof *plain_letters && code >= plain_letters[low].first;
}

static bool
is_chinese(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
        (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
        (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
        (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

static bool
is_ascii_punctuation(uint32_t code)
{
    return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
        (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
}

static uint32_t
lower(uint32_t code)
{
    for (size_t i = 0; code >= 0x1C89 && i < sizeof young_capitals / sizeof *young_capitals; i++) {
        if (code >= young_capitals[i].first && code <= young_capitals[i].last)
            return (uint32_t)((int32_t)code + young_capitals[i].add);
    }
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

typedef enum kind { OTHER, DROPPED, SPACE, MARK, PUNCTUATION } kind;

static kind
kind_of(uint32_t code)
{
    if (code == 0x166D)
        return PUNCTUATION; /* a symbol since Unicode 12 */
    if (code == 0x111C9)
        return PUNCTUATION; /* a mark since Unicode 11 */
    if (code == 0x1734)
        return MARK; /* spacing since Unicode 14 */
    const utf8proc_category_t found = utf8proc_category((utf8proc_int32_t)code);

    if (found == UTF8PROC_CATEGORY_ZS || found == UTF8PROC_CATEGORY_ZL ||
        found == UTF8PROC_CATEGORY_ZP || code == '\t' || code == '\n' || code == '\r')
        return SPACE;
    if (code == 0xFFFD || found == UTF8PROC_CATEGORY_CC || found == UTF8PROC_CATEGORY_CO ||
        found == UTF8PROC_CATEGORY_CS || (found == UTF8PROC_CATEGORY_CF && !is_plain_letter(code)))
        return DROPPED;
    if (found == UTF8PROC_CATEGORY_MN)
        return is_plain_letter(code) ? OTHER : MARK;
    if (found >= UTF8PROC_CATEGORY_PC && found <= UTF8PROC_CATEGORY_PO)
        return is_plain_letter(code) ? OTHER : PUNCTUATION;
    return is_ascii_punctuation(code) ? PUNCTUATION : OTHER;
}

static size_t
decompose(uint32_t code, utf8proc_int32_t parts[WEIR_BERT_CODES_MAX])
{
    int last_boundary_class = 0;

    if (code == 0x11938) { /* decomposes since Unicode 13 */
        parts[0] = (utf8proc_int32_t)code;
        return 1;
    }
    const utf8proc_ssize_t count = utf8proc_decompose_char((utf8proc_int32_t)code, parts,
        WEIR_BERT_CODES_MAX, UTF8PROC_DECOMPOSE, &last_boundary_class);

    weir_assert(count > 0 && count <= WEIR_BERT_CODES_MAX); /* the longest has four parts */
    return (size_t)count;
}

static weir_bert_class
ascii_character(uint32_t code, uint32_t *ret_code, size_t *ret_count)
{
    *ret_count = 0;
    if (code == ' ' || code == '\t' || code == '\n' || code == '\r')
        return WEIR_BERT_SPACE;
    if (code < ' ' || code == 0x7F)
        return WEIR_BERT_NOTHING;
    *ret_code = code >= 'A' && code <= 'Z' ? code | 0x20 : code;
    *ret_count = 1;
    return is_ascii_punctuation(code) ? WEIR_BERT_ALONE : WEIR_BERT_LETTER;
}

weir_bert_class
weir_bert_character(uint32_t code, uint32_t codes[WEIR_BERT_CODES_MAX], size_t *ret_count)
{
    utf8proc_int32_t parts[WEIR_BERT_CODES_MAX];
    bool is_alone = is_chinese(code);

    if (code < 0x80)
        return ascii_character(code, codes, ret_count);
    *ret_count = 0;
    switch (kind_of(code)) {
    case DROPPED:
        return WEIR_BERT_NOTHING;
    case SPACE:
        return WEIR_BERT_SPACE;
    case OTHER:
    case MARK:
    case PUNCTUATION:
        break;
    }
    const size_t count = decompose(code, parts);

    for (size_t i = 0; i < count; i++) {
        const kind part = kind_of((uint32_t)parts[i]);

        if (part == MARK)
            continue;
        is_alone = is_alone || part == PUNCTUATION;
        codes[(*ret_count)++] = lower((uint32_t)parts[i]);
    }
    return is_alone ? WEIR_BERT_ALONE : WEIR_BERT_LETTER;
}
