/*
 * builder.h - collects blocks of text into an ingest_document.  Private to the library `parse`.
 *
 * Parsers hand over one block at a time as raw UTF-8; the builder brings it into normal form,
 * tidies its spaces, keeps the headings, and leaves out what is empty.
 */
#ifndef WEIR_INGEST_BUILDER_H
#define WEIR_INGEST_BUILDER_H

#include "services/ingest/parse.h"

typedef struct ingest_builder {
    ingest_document *document;
    weir_buffer scratch;
    size_t block_capacity;
    size_t heading_capacity;
    uint32_t open_headings[INGEST_HEADING_LEVELS + 1]; /* by level: the one that is in force */
    uint32_t nearest;                                  /* heading of what comes next */
} ingest_builder;

/* `document` is zeroed. */
void ingest_builder_init(ingest_builder *builder, ingest_document *document);
/* Forget every block, keep the title. */
void ingest_builder_reset(ingest_builder *builder);
/* The document stays; only scratch memory goes. */
void ingest_builder_fini(ingest_builder *builder);

/*
 * Add a block.  level: of a heading, 1..6.  Spaces at its ends and at line ends go; of blank lines
 * in a row one stays; within a line runs of spaces become one (not in CODE and, with keep_spaces,
 * nowhere). A block without text adds nothing.
 */
void ingest_builder_add(ingest_builder *builder, weir_bytes raw, ingest_block_kind kind,
    uint32_t level, bool keep_spaces);
/* Set the title unless there is one: one line, cut between characters. */
void ingest_builder_set_title(ingest_builder *builder, weir_bytes raw);
bool ingest_builder_is_empty(const ingest_builder *builder);

#endif
