/*
 * parse.h - bytes of a document to normalised text with its headings and blocks.
 *
 * text/plain, text/markdown, text/html.  Pure functions of their input: no I/O, no threads, no
 * clock in the result; hostile input is bounded in size, depth, memory and time.  Any thread.
 */
#ifndef WEIR_INGEST_PARSE_H
#define WEIR_INGEST_PARSE_H

#include "common/base/bytes.h"
#include "common/base/error.h"

enum {
    INGEST_MARKUP_BYTES_MAX = 16 << 20, /* HTML and Markdown; plain text may have 64 MiB */
    INGEST_HEADING_LEVELS = 6,
    INGEST_TITLE_BYTES_MAX = 512,
    INGEST_HEADING_BYTES_MAX = 256, /* of a heading in a path; longer ones are cut */
    INGEST_DEPTH_MAX = 512,         /* of nested HTML elements */
};

typedef enum ingest_media {
    INGEST_MEDIA_TEXT = 1,
    INGEST_MEDIA_MARKDOWN,
    INGEST_MEDIA_HTML
} ingest_media;

typedef enum ingest_block_kind {
    INGEST_BLOCK_PARAGRAPH = 1,
    INGEST_BLOCK_HEADING,
    INGEST_BLOCK_ITEM, /* of a list */
    INGEST_BLOCK_CODE,
    INGEST_BLOCK_ROW, /* of a table; cells are separated by TAB */
    INGEST_BLOCK_QUOTE
} ingest_block_kind;

enum { INGEST_NO_HEADING = UINT32_MAX };

/* A heading: its bytes in the text, and the heading above it (an index, or INGEST_NO_HEADING). */
typedef struct ingest_heading {
    size_t start;
    size_t end;
    uint32_t parent;
    uint32_t level; /* 1..6 */
} ingest_heading;

/* Blocks do not overlap, are in order, are not empty, and hold every byte that is not a space. */
typedef struct ingest_block {
    size_t start;
    size_t end;
    ingest_block_kind kind;
    uint32_t heading; /* the nearest heading; of a heading block, itself; or INGEST_NO_HEADING */
} ingest_block;

typedef struct ingest_document {
    weir_buffer text; /* UTF-8 in weir's normal form (common/text/unicode.h) */
    char title[INGEST_TITLE_BYTES_MAX + 1]; /* "" when the document has none */
    ingest_media media;
    ingest_block *blocks;
    size_t block_count;
    ingest_heading *headings;
    size_t heading_count;
} ingest_document;

/*
 * Decide what the bytes are: the declared type where weir knows it (parameters are ignored), else
 * the file name's extension, else a look at the bytes.  declared and filename may be NULL or "".
 * A declared application/octet-stream counts as undeclared.
 *
 * MEDIA_TYPE_UNSUPPORTED  another type is declared, or the bytes are of a known binary format or
 *                         hold NULs; the message names what is supported.
 */
weir_code ingest_media_detect(const char *declared, const char *filename, weir_bytes source,
    ingest_media *ret_media, weir_error *reterr) WEIR_MUST_CHECK;

/* "text/plain", "text/markdown", "text/html". */
const char *ingest_media_name(ingest_media media);

/*
 * Parse.  declared may carry a charset parameter.  Charset: a byte-order mark decides; else UTF-8
 * when the bytes are well-formed UTF-8; else the declared charset (parameter, HTML meta) when iconv
 * knows it; else windows-1252, whose superset of Latin-1 gives every byte a meaning.
 *
 * On success *ret_document is the caller's: ingest_document_fini.
 *
 * MEDIA_TYPE_UNSUPPORTED  as ingest_media_detect.
 * BODY_TOO_LARGE          markup above INGEST_MARKUP_BYTES_MAX, or text above 64 MiB.
 * PARSE_FAILED            nested deeper than INGEST_DEPTH_MAX, or the parser would need more than
 *                         its bound of memory or time.
 * EMPTY                   no text is left after parsing.
 */
weir_code ingest_parse(const char *declared, const char *filename, weir_bytes source,
    ingest_document *ret_document, weir_error *reterr) WEIR_MUST_CHECK;

/* Accepts a zeroed document. */
void ingest_document_fini(ingest_document *document);

#endif
