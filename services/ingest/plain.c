/*
 * plain.c - text/plain: paragraphs are what blank lines separate.
 *
 * Lines and their indentation stay as they are: a poem or a table drawn with characters means
 * something by them, and a tokenizer does not mind.
 */
#include "services/ingest/parsers.h"

enum { TITLE_LINE_BYTES_MAX = 160 };

/* The line at *at without its end; *at moves behind it.  LF, CR LF, CR and FF end a line. */
static weir_bytes
next_line(weir_bytes text, size_t *at)
{
    const size_t start = *at;
    size_t end = start;

    while (end < text.size && text.data[end] != '\n' && text.data[end] != '\r' &&
        text.data[end] != '\f')
        end++;
    *at = end < text.size ? end + 1 : end;
    if (end + 1 < text.size && text.data[end] == '\r' && text.data[end + 1] == '\n')
        *at = end + 2;
    return weir_bytes_of(text.data + start, end - start);
}

static bool
is_blank_line(weir_bytes line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\v')
            return false;
    }
    return true;
}

/* A short first line with a blank line after it is the title. */
static void
take_title(weir_bytes paragraph, ingest_builder *builder)
{
    size_t at = 0;
    const weir_bytes line = next_line(paragraph, &at);

    if (ingest_builder_is_empty(builder) && line.size <= TITLE_LINE_BYTES_MAX &&
        at >= paragraph.size)
        ingest_builder_set_title(builder, line);
}

weir_code
ingest_parse_plain(weir_bytes text, ingest_builder *builder, weir_error *reterr)
{
    size_t start = 0; /* of the paragraph */

    (void)reterr;
    for (size_t at = 0; at < text.size;) {
        const size_t line_start = at;
        const bool is_blank = is_blank_line(next_line(text, &at));

        if (!is_blank && at < text.size)
            continue;
        const weir_bytes paragraph =
            weir_bytes_of(text.data + start, (is_blank ? line_start : at) - start);

        if (is_blank && paragraph.size > 0)
            take_title(paragraph, builder);
        ingest_builder_add(builder, paragraph, INGEST_BLOCK_PARAGRAPH, 0, true);
        start = at;
    }
    return WEIR_OK;
}
