/*
 * parsers.h - one parser for each media type.  Private to the library `parse`.
 */
#ifndef WEIR_INGEST_PARSERS_H
#define WEIR_INGEST_PARSERS_H

#include "services/ingest/builder.h"

/* CPU time of the thread after which a parser gives a document up: ten times what the largest
 * honest one takes. */
enum { INGEST_PARSE_CPU_US_MAX = 10 * 1000 * 1000 };

/* Each reads UTF-8 (perhaps broken: that becomes U+FFFD) and fills the builder; what is left out or
 * empty is the caller's to notice.  PARSE_FAILED as ingest_parse. */
weir_code ingest_parse_plain(weir_bytes text, ingest_builder *builder,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code ingest_parse_markdown(weir_bytes text, ingest_builder *builder,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code ingest_parse_html(weir_bytes text, ingest_builder *builder,
    weir_error *reterr) WEIR_MUST_CHECK;

/* A piece of HTML inside a Markdown document: its blocks are added, titles and navigation are not
 * looked for. */
weir_code ingest_parse_html_piece(weir_bytes text, ingest_builder *builder,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
