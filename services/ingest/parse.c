/*
 * parse.c - the way from bytes to a document: type, charset, parser, and the bounds around them.
 */
#include "services/ingest/parse.h"

#include "common/base/limits.h"
#include "services/ingest/charset.h"
#include "services/ingest/parsers.h"

static weir_code
check_size(ingest_media media, size_t size, weir_error *reterr)
{
    const size_t max = media == INGEST_MEDIA_TEXT ? (size_t)WEIR_STREAMED_DOCUMENT_BYTES_MAX
                                                  : (size_t)INGEST_MARKUP_BYTES_MAX;

    if (size <= max)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_BODY_TOO_LARGE, "%zu bytes of %s; at most %zu are parsed",
        size, ingest_media_name(media), max);
}

static weir_code
parse_text(ingest_media media, weir_bytes text, ingest_builder *builder, weir_error *reterr)
{
    weir_code code = check_size(media, text.size, reterr);

    if (code != WEIR_OK)
        return code;
    switch (media) {
    case INGEST_MEDIA_TEXT:
        code = ingest_parse_plain(text, builder, reterr);
        break;
    case INGEST_MEDIA_MARKDOWN:
        code = ingest_parse_markdown(text, builder, reterr);
        break;
    case INGEST_MEDIA_HTML:
        code = ingest_parse_html(text, builder, reterr);
        break;
    }
    if (code == WEIR_OK && ingest_builder_is_empty(builder))
        code = weir_error_set(reterr, WEIR_EMPTY, "no text is left after parsing %s",
            ingest_media_name(media));
    return code;
}

weir_code
ingest_parse(const char *declared, const char *filename, weir_bytes source,
    ingest_document *ret_document, weir_error *reterr)
{
    char charset[INGEST_CHARSET_BYTES_MAX + 1];
    ingest_document document = { 0 };
    ingest_builder builder;
    weir_buffer decoded = { 0 };
    weir_code code = ingest_media_detect(declared, filename, source, &document.media, reterr);

    if (code == WEIR_OK)
        code = check_size(document.media, source.size, reterr);
    if (code != WEIR_OK)
        return code;
    ingest_charset_parameter(declared, charset);
    if (charset[0] == '\0' && document.media == INGEST_MEDIA_HTML)
        ingest_charset_html(source, charset);
    const weir_bytes text = ingest_charset_decode(source, charset, &decoded);

    ingest_builder_init(&builder, &document);
    code = parse_text(document.media, text, &builder, reterr);
    ingest_builder_fini(&builder);
    weir_buffer_fini(&decoded);
    if (code == WEIR_OK)
        *ret_document = document;
    else
        ingest_document_fini(&document);
    return code;
}

void
ingest_document_fini(ingest_document *document)
{
    weir_buffer_fini(&document->text);
    weir_free(document->blocks);
    weir_free(document->headings);
    *document = (ingest_document){ 0 };
}
