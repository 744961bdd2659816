/*
 * chunk.h - a parsed document to chunks that fit the collection's model.
 *
 * A chunk is a byte range of the normalised text.  It ends, in this order of preference, before a
 * heading, at the end of a block (paragraph, list item, ...), at the end of a sentence, between
 * words; only a word that exceeds the bounds by itself is cut, between characters.  The next chunk
 * repeats up to overlap_tokens of the one before it, unless it begins with a heading.  Together the
 * chunks hold every byte of the text that is not a space.  Deterministic, O(n).  Any thread.
 */
#ifndef WEIR_INGEST_CHUNK_H
#define WEIR_INGEST_CHUNK_H

#include "common/text/tokens.h"
#include "services/ingest/parse.h"

typedef struct ingest_chunking {
    const weir_tokenizer *tokenizer;
    uint32_t max_tokens;     /* of a chunk, special tokens included; >= WEIR_CHUNK_TOKENS_MIN */
    uint32_t overlap_tokens; /* < max_tokens / 2 */
    uint32_t chunks_max;     /* 0: WEIR_CHUNKS_PER_DOCUMENT_MAX */
} ingest_chunking;

typedef struct ingest_chunk {
    size_t start;         /* in the document's text; neither end is a space */
    size_t end;           /* at most WEIR_CHUNK_BYTES_MAX after start */
    uint32_t token_count; /* special tokens included; what the embedder will count */
    uint32_t heading;     /* of its first byte: an index, or INGEST_NO_HEADING */
} ingest_chunk;

typedef struct ingest_chunks {
    ingest_chunk *items; /* in order of start: the ordinal is the index */
    size_t count;        /* at least 1 */
    uint64_t token_count;
} ingest_chunks;

/*
 * Cut the document; on success the caller ends *ret_chunks with ingest_chunks_fini.
 *
 * EMPTY            the text has no token.
 * TOO_MANY_CHUNKS  more than chunks_max; nothing was allocated.
 */
weir_code ingest_chunk_document(const ingest_document *document, const ingest_chunking *chunking,
    ingest_chunks *ret_chunks, weir_error *reterr) WEIR_MUST_CHECK;
void ingest_chunks_fini(ingest_chunks *chunks);

static inline weir_bytes
ingest_chunk_text(const ingest_document *document, const ingest_chunk *chunk)
{
    return weir_bytes_of(document->text.data + chunk->start, chunk->end - chunk->start);
}

/*
 * The headings above a chunk, outermost first, as views into the document's text (each at most
 * INGEST_HEADING_BYTES_MAX, cut between characters).  Returns how many.
 */
size_t ingest_heading_path(const ingest_document *document, uint32_t heading,
    weir_bytes out[INGEST_HEADING_LEVELS]);

#endif
