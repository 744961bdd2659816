/*
 * job.c - see job.h.  A pure function of the row and its source, but for the time it took.
 *
 * Whether the model's tokenizer is there is asked first: while it is missing nothing is read or
 * parsed in vain.
 */
#include "services/ingest/job.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "services/ingest/chunk.h"
#include "services/ingest/parse.h"

typedef Weir__Internal__V1__DocumentRow document_row;
typedef Weir__Internal__V1__ChunksRow chunks_row;
typedef Weir__Internal__V1__Chunk chunk_message;

void
ingest_rows_destroy(ingest_rows *rows)
{
    weir_arena *arena = rows->arena;

    weir_arena_destroy(&arena); /* rows lives in it */
}

/* ---- the source ---- */

static bool
is_gone(weir_code code)
{
    return code == WEIR_DOCUMENT_NOT_FOUND || code == WEIR_NOT_FOUND;
}

/* The gateway named the content by its hash when it took custody: what arrives must be just that.
 */
static weir_code
check_source(const document_row *document, weir_bytes source, weir_error *reterr)
{
    if (document->content_sha256.len != WEIR_SHA256_SIZE)
        return WEIR_OK;
    const weir_sha256_sum sum = weir_sha256(source);

    if (memcmp(sum.bytes, document->content_sha256.data, sizeof sum.bytes) == 0)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CORRUPT,
        "the body of %zu bytes that the gateway sent is not the one that was accepted (%llu bytes)",
        source.size, (unsigned long long)document->size_bytes);
}

/* *source views the row, or *read where it was read; *ret_gone: there is none any more. */
static weir_code
get_source(const ingest_job *job, weir_buffer *read, weir_bytes *ret_source, bool *ret_gone,
    weir_error *reterr)
{
    const document_row *document = job->row->document;

    *ret_source = weir_bytes_of(document->body.data, document->body.len);
    if (document->by_reference) {
        if (job->options->read_source == NULL)
            return weir_error_set(reterr, WEIR_SERVICE_UNAVAILABLE,
                "nobody reads large bodies here");
        weir_code code = WEIR_FP_CODE("ingest.read_source.before", reterr);

        if (code == WEIR_OK)
            code = job->options->read_source(job->options->read_source_ud, job->row, read, reterr);
        WEIR_FP("ingest.read_source.after");

        *ret_gone = is_gone(code);
        if (code != WEIR_OK)
            return *ret_gone ? WEIR_OK : code;
        *ret_source = weir_buffer_view(read);
    }
    return check_source(document, *ret_source, reterr);
}

/* ---- rows ---- */

static char *
copy_text(weir_arena *arena, weir_bytes text)
{
    return weir_arena_strndup(arena, (const char *)text.data, text.size);
}

static void
set_heading_path(weir_arena *arena, const ingest_document *document, uint32_t heading,
    chunk_message *chunk)
{
    weir_bytes path[INGEST_HEADING_LEVELS];

    chunk->n_heading_path = ingest_heading_path(document, heading, path);
    chunk->heading_path =
        weir_arena_alloc(arena, INGEST_HEADING_LEVELS * sizeof chunk->heading_path[0]);
    for (size_t i = 0; i < chunk->n_heading_path; i++)
        chunk->heading_path[i] = copy_text(arena, path[i]);
}

static chunk_message *
make_chunk(weir_arena *arena, const ingest_document *document, const ingest_chunk *from,
    size_t ordinal)
{
    chunk_message *chunk = weir_arena_alloc(arena, sizeof *chunk);

    weir__internal__v1__chunk__init(chunk);
    chunk->ordinal = (uint32_t)ordinal;
    chunk->text = copy_text(arena, ingest_chunk_text(document, from));
    chunk->start_byte = from->start;
    chunk->end_byte = from->end;
    chunk->token_count = from->token_count;
    set_heading_path(arena, document, from->heading, chunk);
    return chunk;
}

/* Chunks have at most 8 KiB, so that 64 of them with their headings stay below a row's bound. */
static void
fill_row(const ingest_job *job, const ingest_document *document, const ingest_chunks *chunks,
    size_t first, ingest_rows *rows)
{
    const size_t left = chunks->count - first;
    const size_t count = left < WEIR_CHUNKS_PER_ROW_MAX ? left : WEIR_CHUNKS_PER_ROW_MAX;
    chunks_row *row = &rows->rows[rows->count++];

    weir__internal__v1__chunks_row__init(row);
    row->spec = job->row->document->spec;
    row->title = weir_arena_strdup(rows->arena, document->title);
    row->media_type = weir_arena_strdup(rows->arena, ingest_media_name(document->media));
    row->n_metadata = job->row->document->n_metadata;
    row->metadata = job->row->document->metadata;
    row->n_chunks = count;
    row->chunks = weir_arena_alloc(rows->arena, count * sizeof row->chunks[0]);
    for (size_t i = 0; i < count; i++)
        row->chunks[i] = make_chunk(rows->arena, document, &chunks->items[first + i], first + i);
    if (left == count) {
        row->chunk_count = (uint32_t)chunks->count;
        row->token_count = chunks->token_count;
    }
}

static ingest_rows *
make_rows(const ingest_job *job, const ingest_document *document, const ingest_chunks *chunks)
{
    const size_t count = (chunks->count + WEIR_CHUNKS_PER_ROW_MAX - 1) / WEIR_CHUNKS_PER_ROW_MAX;
    weir_arena *arena = weir_arena_create(0);
    ingest_rows *rows = weir_arena_alloc_zero(arena, sizeof *rows);

    rows->arena = arena;
    rows->rows = weir_arena_alloc(arena, count * sizeof rows->rows[0]);
    rows->chunk_count = (uint32_t)chunks->count;
    rows->token_count = chunks->token_count;
    for (size_t first = 0; first < chunks->count; first += WEIR_CHUNKS_PER_ROW_MAX)
        fill_row(job, document, chunks, first, rows);
    weir_assert(rows->count == count);
    return rows;
}

/* ---- the work ---- */

static weir_code
check_text(const ingest_options *options, const ingest_document *document, weir_error *reterr)
{
    if (options->text_bytes_max == 0 || document->text.size <= options->text_bytes_max)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_BODY_TOO_LARGE,
        "the document has %zu bytes of text; at most %llu", document->text.size,
        (unsigned long long)options->text_bytes_max);
}

static weir_code
cut(ingest_job *job, const weir_tokenizer *tokenizer, const ingest_document *document,
    weir_error *reterr)
{
    const Weir__Internal__V1__EmbedSpec *spec = job->row->document->spec;
    const ingest_chunking chunking = { .tokenizer = tokenizer,
        .max_tokens = spec->max_tokens,
        .overlap_tokens = spec->overlap_tokens,
        .chunks_max = job->options->chunks_max };
    ingest_chunks chunks = { 0 };
    weir_code code = check_text(job->options, document, reterr);

    if (code == WEIR_OK)
        code = ingest_chunk_document(document, &chunking, &chunks, reterr);
    if (code == WEIR_OK) {
        job->rows = make_rows(job, document, &chunks);
        ingest_chunks_fini(&chunks);
    }
    return code;
}

static weir_code
parse_and_cut(ingest_job *job, const weir_tokenizer *tokenizer, weir_bytes source,
    weir_error *reterr)
{
    const document_row *row = job->row->document;
    ingest_document document = { 0 };
    weir_code code = ingest_parse(row->media_type, row->filename, source, &document, reterr);

    if (code == WEIR_OK)
        code = cut(job, tokenizer, &document, reterr);
    ingest_document_fini(&document);
    return code;
}

/* The bounds that the chunker asserts come from another service here. */
static weir_code
check_spec(const Weir__Internal__V1__EmbedSpec *spec, weir_error *reterr)
{
    if (spec != NULL && spec->max_tokens >= WEIR_CHUNK_TOKENS_MIN &&
        spec->overlap_tokens < spec->max_tokens / 2)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
        "the collection's chunking of %u tokens with %u overlap is not possible",
        spec == NULL ? 0 : spec->max_tokens, spec == NULL ? 0 : spec->overlap_tokens);
}

static weir_code
work(ingest_job *job, weir_error *reterr)
{
    const weir_tokenizer *tokenizer = NULL;
    weir_buffer read = { 0 };
    weir_bytes source;
    bool gone = false;
    weir_code code = check_spec(job->row->document->spec, reterr);

    if (code == WEIR_OK)
        code = ingest_tokenizers_get(job->tokenizers, job->row->document->spec->model, &tokenizer,
            reterr);
    if (code == WEIR_OK)
        code = get_source(job, &read, &source, &gone, reterr);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("ingest.parse.before", reterr);
    if (code == WEIR_OK && !gone)
        code = parse_and_cut(job, tokenizer, source, reterr);
    weir_buffer_fini(&read);
    return code;
}

static void
run(weir_job *base)
{
    ingest_job *job = (ingest_job *)base;
    const weir_work_observer *observer = &job->options->observer;
    const int64_t begun_us = weir_clock_mono_us();

    if (observer->busy != NULL)
        observer->busy(observer->ud, 1);
    if (work(job, &job->result) == WEIR_OK)
        job->result.code = WEIR_OK;
    WEIR_FP("ingest.parse.after");
    if (observer->busy != NULL)
        observer->busy(observer->ud, -1);
    if (observer->worked != NULL)
        observer->worked(observer->ud, weir_clock_mono_us() - begun_us);
}

static void
destroy(weir_job *base)
{
    ingest_job *job = (ingest_job *)base;

    if (job->rows != NULL)
        ingest_rows_destroy(job->rows);
    weir_free(job);
}

ingest_job *
ingest_job_create(const ingest_options *options, ingest_tokenizers *tokenizers,
    weir_work_item *item)
{
    ingest_job *job = weir_alloc_zero(1, sizeof *job);

    job->base = (weir_job){ .run = run, .destroy = destroy };
    job->options = options;
    job->tokenizers = tokenizers;
    job->item = item;
    job->row = weir_work_item_row(item);
    return job;
}
