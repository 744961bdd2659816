/*
 * charset.c - which charset, and its decoding.
 *
 * windows-1252 is decoded here, because iconv loads every charset but Unicode's from files that may
 * not be where the C library looks for them; it also stands for Latin-1 and ASCII, as on the web.
 */
#include "services/ingest/charset.h"

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <strings.h>

#include "common/base/id.h"
#include "common/text/unicode.h"

enum { HTML_LOOK_BYTES = 4096, REPLACEMENT = 0xFFFD };

static const uint16_t windows_1252_high[32] = { 0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026,
    0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018,
    0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D,
    0x017E, 0x0178 };

/* ---- names ---- */

static bool
is_charset_character(char byte)
{
    return isalnum((unsigned char)byte) != 0 || byte == '-' || byte == '_' || byte == '.' ||
        byte == ':';
}

/* Copy a name that begins at `at` (after spaces and a quote), lower-cased; too long a name is none.
 */
static void
copy_name(const char *at, const char *end, char out[INGEST_CHARSET_BYTES_MAX + 1])
{
    size_t size = 0;

    while (at < end && (*at == ' ' || *at == '"' || *at == '\'' || *at == '\t'))
        at++;
    while (at < end && is_charset_character(*at) && size < INGEST_CHARSET_BYTES_MAX)
        out[size++] = (char)tolower((unsigned char)*at++);
    out[at < end && is_charset_character(*at) ? 0 : size] = '\0';
}

/* The name after the next "charset =" in [at, end); false: there is none. */
static bool
find_charset(const char *at, const char *end, char out[INGEST_CHARSET_BYTES_MAX + 1])
{
    static const char word[] = "charset";

    for (; at + sizeof word - 1 < end; at++) {
        if (strncasecmp(at, word, sizeof word - 1) != 0)
            continue;
        const char *equals = at + sizeof word - 1;

        while (equals < end && (*equals == ' ' || *equals == '\t'))
            equals++;
        if (equals == end || *equals != '=')
            continue;
        copy_name(equals + 1, end, out);
        return out[0] != '\0';
    }
    return false;
}

/* Bytes of a charset's smallest unit. */
static size_t
unit_of(const char *charset)
{
    if (strncmp(charset, "utf-16", 6) == 0 || strncmp(charset, "ucs-2", 5) == 0)
        return 2;
    return strncmp(charset, "utf-32", 6) == 0 || strncmp(charset, "ucs-4", 5) == 0 ? 4 : 1;
}

void
ingest_charset_parameter(const char *media_type, char out[INGEST_CHARSET_BYTES_MAX + 1])
{
    const char *const semicolon = media_type == NULL ? NULL : strchr(media_type, ';');

    out[0] = '\0';
    if (semicolon != NULL)
        (void)find_charset(semicolon, semicolon + strlen(semicolon), out);
}

void
ingest_charset_html(weir_bytes source, char out[INGEST_CHARSET_BYTES_MAX + 1])
{
    const char *at = (const char *)source.data;
    const char *const end = at + (source.size < HTML_LOOK_BYTES ? source.size : HTML_LOOK_BYTES);

    out[0] = '\0';
    for (; at + 5 < end; at++) {
        if (*at != '<' || strncasecmp(at, "<meta", 5) != 0)
            continue;
        const char *const close = memchr(at, '>', (size_t)(end - at));

        if (!find_charset(at, close == NULL ? end : close, out))
            continue;
        if (unit_of(out) > 1)
            out[0] = '\0'; /* its own declaration would not have been readable */
        return;
    }
}

/* ---- decoding ---- */

typedef struct mark {
    const char *bytes;
    size_t size;
    const char *charset;
} mark;

/* The byte-order mark that the source begins with, or NULL.  UTF-32 before UTF-16, which is its
 * prefix. */
static const mark *
find_mark(weir_bytes source)
{
    static const mark marks[] = {
        { "\xEF\xBB\xBF", 3, "utf-8" },
        { "\xFF\xFE\x00\x00", 4, "utf-32le" },
        { "\x00\x00\xFE\xFF", 4, "utf-32be" },
        { "\xFF\xFE", 2, "utf-16le" },
        { "\xFE\xFF", 2, "utf-16be" },
    };

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (source.size >= marks[i].size && memcmp(source.data, marks[i].bytes, marks[i].size) == 0)
            return &marks[i];
    }
    return NULL;
}

bool
ingest_charset_is_wide(weir_bytes source, const char *declared)
{
    const mark *const found = find_mark(source);
    const char *const charset = found != NULL ? found->charset : declared;

    return strncmp(charset, "utf-16", 6) == 0 || strncmp(charset, "utf-32", 6) == 0 ||
        strncmp(charset, "ucs", 3) == 0 || strncmp(charset, "iso-10646", 9) == 0;
}

static void
append_code(weir_buffer *out, uint32_t code)
{
    uint8_t bytes[4];

    weir_buffer_append(out, bytes, weir_utf8_encode(code, bytes));
}

static void
decode_windows_1252(weir_bytes source, weir_buffer *out)
{
    weir_buffer_reserve(out, source.size + source.size / 8);
    for (size_t i = 0; i < source.size; i++) {
        const uint8_t byte = source.data[i];

        if (byte < 0x80)
            weir_buffer_append_u8(out, byte);
        else
            append_code(out, byte < 0xA0 ? windows_1252_high[byte - 0x80] : byte);
    }
}

/* False: iconv does not know the charset. */
static bool
decode_by_iconv(weir_bytes source, const char *charset, weir_buffer *out)
{
    const iconv_t converter = iconv_open("UTF-8", charset);
    char *at = (char *)(uintptr_t)source.data; /* iconv does not write there */
    size_t left = source.size;

    if (converter == (iconv_t)-1) /* NOLINT(performance-no-int-to-ptr): the interface's own value */
        return false;
    while (left > 0) {
        weir_buffer_reserve(out, left + 64);
        char *to = (char *)out->data + out->size;
        size_t room = out->capacity - out->size;
        const size_t result = iconv(converter, &at, &left, &to, &room);

        out->size = out->capacity - room;
        if (result != (size_t)-1 || errno == E2BIG)
            continue;
        const size_t skipped = unit_of(charset) < left ? unit_of(charset) : left;

        append_code(out, REPLACEMENT);
        at += skipped;
        left -= skipped;
    }
    (void)iconv_close(converter);
    return true;
}

/* Well-formed characters beyond ASCII, and bytes that belong to none. */
static void
count_utf8(weir_bytes source, size_t *ret_good, size_t *ret_bad)
{
    *ret_good = *ret_bad = 0;
    for (size_t at = 0; at < source.size;) {
        const size_t size = weir_utf8_length(source.data + at, source.size - at);

        *ret_good += size > 1;
        *ret_bad += size == 0;
        at += size == 0 ? 1 : size;
    }
}

static bool
is_unicode_name(const char *charset)
{
    return strcmp(charset, "utf-8") == 0 || strcmp(charset, "utf8") == 0;
}

static bool
is_western_name(const char *charset)
{
    static const char *const names[] = { "windows-1252", "cp1252", "iso-8859-1", "iso8859-1",
        "iso_8859-1", "latin1", "latin-1", "l1", "us-ascii", "ascii" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(charset, names[i]) == 0)
            return true;
    }
    return false;
}

/* Stateful charsets are all ASCII, and charsets that hold NULs may look like UTF-8: the name
 * decides. */
static bool
name_decides(const char *charset)
{
    return strncmp(charset, "iso-2022", 8) == 0 || unit_of(charset) > 1;
}

weir_bytes
ingest_charset_decode(weir_bytes source, const char *declared, weir_buffer *storage)
{
    const mark *const found = find_mark(source);
    const size_t skipped = found == NULL ? 0 : found->size;
    const weir_bytes rest = weir_bytes_of(source.data + skipped, source.size - skipped);
    const char *const charset = found == NULL ? declared : found->charset;
    size_t good = 0;
    size_t bad = 0;

    if (rest.size == 0 || is_unicode_name(charset))
        return rest; /* what is broken in it becomes U+FFFD with the normal form */
    if (name_decides(charset) && decode_by_iconv(rest, charset, storage))
        return weir_buffer_view(storage);
    count_utf8(rest, &good, &bad);
    if (bad == 0)
        return rest;
    if (charset[0] != '\0' && !is_western_name(charset) && decode_by_iconv(rest, charset, storage))
        return weir_buffer_view(storage);
    if (charset[0] == '\0' && good > bad)
        return rest; /* UTF-8 that was damaged */
    decode_windows_1252(rest, storage);
    return weir_buffer_view(storage);
}
