/*
 * retrieval_tool - texts to chunks and vectors, exactly as the services make them, without any
 * service.
 *
 * usage: retrieval_tool MAX_TOKENS OVERLAP_TOKENS <TEXTS >CHUNKS
 *
 * TEXTS are NUL-terminated.  For each chunk, little-endian: number of its text u32, size u32, its
 * bytes, its vector (floats).  MAX_TOKENS 0: texts are not parsed or cut but embedded whole, as
 * queries are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "services/embedder/embed.h"
#include "services/ingest/chunk.h"

typedef struct tool {
    embedder_model *model;
    weir_tokenizer *tokenizer;
    uint32_t max_tokens;
    uint32_t overlap_tokens;
} tool;

static void
must(weir_code code, const weir_error *error)
{
    if (code == WEIR_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", weir_code_name(code), error->message);
    exit(1);
}

static void
write_chunk(const tool *self, uint32_t number, weir_bytes text)
{
    const uint32_t head[2] = { number, (uint32_t)text.size };
    const uint32_t dimension = embedder_model_facts(self->model)->dimension;
    float vector[WEIR_HASH_DIMENSION_MIN * 512];
    weir_error error = { 0 };

    must(embedder_model_embed(self->model, &text, 1, vector, NULL, &error), &error);
    (void)fwrite(head, sizeof head, 1, stdout);
    (void)fwrite(text.data, 1, text.size, stdout);
    (void)fwrite(vector, sizeof *vector, dimension, stdout);
}

static void
write_document(const tool *self, uint32_t number, weir_bytes source)
{
    const ingest_chunking chunking = {
        .tokenizer = self->tokenizer,
        .max_tokens = self->max_tokens,
        .overlap_tokens = self->overlap_tokens,
    };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };
    const weir_code code = ingest_parse("text/plain", NULL, source, &document, &error);

    if (code == WEIR_EMPTY)
        return;
    must(code, &error);
    must(ingest_chunk_document(&document, &chunking, &chunks, &error), &error);
    for (size_t i = 0; i < chunks.count; i++)
        write_chunk(self, number, ingest_chunk_text(&document, &chunks.items[i]));
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
}

int
main(int argc, char **argv)
{
    tool self = { 0 };
    weir_model facts;
    weir_error error = { 0 };
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size = 0;

    if (argc != 3) {
        (void)fprintf(stderr, "usage: retrieval_tool MAX_TOKENS OVERLAP_TOKENS <TEXTS >CHUNKS\n");
        return 2;
    }
    self.max_tokens = (uint32_t)atoi(argv[1]);
    self.overlap_tokens = (uint32_t)atoi(argv[2]);
    must(weir_model_find(WEIR_MODEL_DEFAULT, NULL, &facts, &error), &error);
    must(embedder_model_open(&facts, &self.model, &error), &error);
    must(weir_tokenizer_open(&facts, &self.tokenizer, &error), &error);
    for (uint32_t number = 0; (size = getdelim(&text, &capacity, '\0', stdin)) > 0; number++) {
        const weir_bytes bytes = weir_bytes_of(text, (size_t)size - 1);

        if (self.max_tokens > 0)
            write_document(&self, number, bytes);
        else
            write_chunk(&self, number, bytes);
    }
    free(text);
    weir_tokenizer_destroy(&self.tokenizer);
    embedder_model_close(&self.model);
    return 0;
}
