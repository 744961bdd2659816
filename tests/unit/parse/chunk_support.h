/*
 * chunk_support.h - what chunk.h promises of every list of chunks (tests only).
 */
#ifndef WEIR_TESTS_PARSE_CHUNK_SUPPORT_H
#define WEIR_TESTS_PARSE_CHUNK_SUPPORT_H

#include "common/base/limits.h"
#include "services/ingest/chunk.h"
#include "tests/unit/parse/support.h"

static inline bool
is_character_start(const ingest_document *document, size_t at)
{
    return at == document->text.size || (document->text.data[at] & 0xC0) != 0x80;
}

static inline void
check_gap(const ingest_document *document, size_t from, size_t to)
{
    while (from < to) {
        size_t size = 0;

        assert_true(weir_char_is_space(weir_utf8_decode(document->text.data + from, to - from,
            &size)));
        from += size;
    }
}

/* Bounds, order, coverage, and tokens as the embedder will count them. */
static inline void
check_chunks(const ingest_document *document, const ingest_chunking *chunking,
    const ingest_chunks *chunks)
{
    size_t start = 0;
    size_t end = 0;
    uint64_t tokens = 0;

    assert_true(chunks->count > 0);
    for (size_t i = 0; i < chunks->count; i++) {
        const ingest_chunk *const chunk = &chunks->items[i];

        assert_true(chunk->start < chunk->end && chunk->end <= document->text.size);
        assert_true(chunk->end - chunk->start <= WEIR_CHUNK_BYTES_MAX);
        assert_true(chunk->token_count <= chunking->max_tokens);
        assert_true(is_character_start(document, chunk->start) &&
            is_character_start(document, chunk->end));
        assert_int_equal(weir_tokenizer_count(chunking->tokenizer,
                             ingest_chunk_text(document, chunk)),
            chunk->token_count);
        if (i > 0)
            assert_true(chunk->start > start && chunk->end > end);
        if (chunk->start > end)
            check_gap(document, end, chunk->start);
        start = chunk->start;
        end = chunk->end;
        tokens += chunk->token_count;
    }
    check_gap(document, end, document->text.size);
    assert_int_equal(tokens, chunks->token_count);
}

#endif
