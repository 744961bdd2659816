/*
 * media.c - what kind of document the bytes are.
 */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "common/base/assert.h"
#include "services/ingest/charset.h"
#include "services/ingest/parse.h"

#define SUPPORTED "weir reads text/plain, text/markdown and text/html"

enum { LOOK_BYTES = 64 << 10 };

static const struct {
    const char *name;
    ingest_media media;
} declared_names[] = {
    { "text/plain", INGEST_MEDIA_TEXT },
    { "text/markdown", INGEST_MEDIA_MARKDOWN },
    { "text/x-markdown", INGEST_MEDIA_MARKDOWN },
    { "text/html", INGEST_MEDIA_HTML },
    { "application/xhtml+xml", INGEST_MEDIA_HTML },
};

static const struct {
    const char *extension;
    ingest_media media;
} extensions[] = {
    { "txt", INGEST_MEDIA_TEXT },
    { "text", INGEST_MEDIA_TEXT },
    { "log", INGEST_MEDIA_TEXT },
    { "rst", INGEST_MEDIA_TEXT },
    { "adoc", INGEST_MEDIA_TEXT },
    { "md", INGEST_MEDIA_MARKDOWN },
    { "markdown", INGEST_MEDIA_MARKDOWN },
    { "mkd", INGEST_MEDIA_MARKDOWN },
    { "html", INGEST_MEDIA_HTML },
    { "htm", INGEST_MEDIA_HTML },
    { "xhtml", INGEST_MEDIA_HTML },
};

/* Formats that would pass for text, or that deserve their name in the message. */
static const struct {
    const char *bytes;
    size_t size;
    const char *name;
} binary_formats[] = {
    { "%PDF-", 5, "PDF" },
    { "PK\x03\x04", 4, "ZIP (or an office document)" },
    { "\x1F\x8B", 2, "gzip" },
    { "\x89PNG", 4, "PNG" },
    { "\xFF\xD8\xFF", 3, "JPEG" },
    { "GIF8", 4, "GIF" },
    { "{\\rtf", 5, "RTF" },
    { "\x7F"
      "ELF",
        4, "ELF" },
    { "\xD0\xCF\x11\xE0", 4, "an old office document" },
    { "BZh", 3, "bzip2" },
    { "\xFD"
      "7zXZ",
        5, "xz" },
    { "(\xB5/\xFD", 4, "zstd" },
    { "%!PS", 4, "PostScript" },
    { "SQLite format", 13, "SQLite" },
};

const char *
ingest_media_name(ingest_media media)
{
    switch (media) {
    case INGEST_MEDIA_TEXT:
        return "text/plain";
    case INGEST_MEDIA_MARKDOWN:
        return "text/markdown";
    case INGEST_MEDIA_HTML:
        return "text/html";
    }
    weir_assert(!"every media has a name");
    return "";
}

/* Length of a media type without parameters and spaces around. */
static size_t
type_length(const char *declared)
{
    size_t length = strcspn(declared, ";");

    while (length > 0 && isspace((unsigned char)declared[length - 1]))
        length--;
    return length;
}

static bool
is_undeclared(const char *declared, size_t length)
{
    static const char unknown[] = "application/octet-stream";

    return length == 0 ||
        (length == sizeof unknown - 1 && strncasecmp(declared, unknown, length) == 0);
}

static bool
media_of_type(const char *declared, size_t length, ingest_media *ret_media)
{
    for (size_t i = 0; i < sizeof declared_names / sizeof *declared_names; i++) {
        if (strlen(declared_names[i].name) == length &&
            strncasecmp(declared_names[i].name, declared, length) == 0) {
            *ret_media = declared_names[i].media;
            return true;
        }
    }
    return false;
}

static bool
media_of_filename(const char *filename, ingest_media *ret_media)
{
    const char *const dot = filename == NULL ? NULL : strrchr(filename, '.');

    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof *extensions; i++) {
        if (strcasecmp(dot + 1, extensions[i].extension) == 0) {
            *ret_media = extensions[i].media;
            return true;
        }
    }
    return false;
}

/* The first thing in the bytes, after spaces, is one of HTML's beginnings. */
static bool
looks_like_html(weir_bytes source)
{
    static const char *const beginnings[] = { "<!doctype html", "<html", "<head", "<body", "<title",
        "<h1", "<table", "<div" };
    size_t at = source.size >= 3 && memcmp(source.data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

    while (at < source.size && isspace(source.data[at]))
        at++;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        const size_t size = strlen(beginnings[i]);

        if (source.size - at >= size &&
            strncasecmp((const char *)source.data + at, beginnings[i], size) == 0)
            return true;
    }
    return false;
}

static weir_code
check_is_text(const char *declared, weir_bytes source, weir_error *reterr)
{
    char charset[INGEST_CHARSET_BYTES_MAX + 1];
    const size_t looked = source.size < LOOK_BYTES ? source.size : LOOK_BYTES;

    for (size_t i = 0; i < sizeof binary_formats / sizeof *binary_formats; i++) {
        if (source.size >= binary_formats[i].size &&
            memcmp(source.data, binary_formats[i].bytes, binary_formats[i].size) == 0)
            return weir_error_set(reterr, WEIR_MEDIA_TYPE_UNSUPPORTED,
                "the bytes are %s; " SUPPORTED, binary_formats[i].name);
    }
    ingest_charset_parameter(declared, charset);
    if (looked == 0 || ingest_charset_is_wide(source, charset))
        return WEIR_OK;
    const uint8_t *const nul = memchr(source.data, '\0', looked);

    if (nul == NULL)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_MEDIA_TYPE_UNSUPPORTED,
        "the bytes are not text (a NUL at offset %zu); " SUPPORTED, (size_t)(nul - source.data));
}

weir_code
ingest_media_detect(const char *declared, const char *filename, weir_bytes source,
    ingest_media *ret_media, weir_error *reterr)
{
    while (declared != NULL && isspace((unsigned char)*declared))
        declared++;
    const size_t length = declared == NULL ? 0 : type_length(declared);
    ingest_media media = looks_like_html(source) ? INGEST_MEDIA_HTML : INGEST_MEDIA_TEXT;

    if (is_undeclared(declared, length))
        (void)media_of_filename(filename, &media);
    else if (!media_of_type(declared, length, &media))
        return weir_error_set_field(reterr, WEIR_MEDIA_TYPE_UNSUPPORTED, "media_type",
            "the media type '%.*s' is not supported; " SUPPORTED,
            (int)(length < 100 ? length : 100), declared);
    const weir_code code = check_is_text(declared, source, reterr);

    if (code == WEIR_OK)
        *ret_media = media;
    return code;
}
