/*
 * job.h - one document to rows of chunks, on a pool thread.
 */
#ifndef WEIR_INGEST_JOB_H
#define WEIR_INGEST_JOB_H

#include "services/ingest/core.h"
#include "services/ingest/tokenizers.h"

/* The rows of a document, as they are sent; everything lives in the arena. */
typedef struct ingest_rows {
    weir_arena *arena;
    Weir__Internal__V1__ChunksRow *rows;
    size_t count;
    uint32_t chunk_count;
    uint64_t token_count;
} ingest_rows;

void ingest_rows_destroy(ingest_rows *rows);

typedef struct ingest_job {
    weir_job base;
    const ingest_options *options;
    ingest_tokenizers *tokenizers;
    weir_work_item *item; /* for the core; the job looks at its row only */
    const Weir__Internal__V1__Row *row;
    weir_error result;
    ingest_rows *rows; /* taken by the core; NULL: the source is gone, or it failed */
} ingest_job;

/* Metadata and spec of the rows point into the item's row, which outlives them. */
ingest_job *ingest_job_create(const ingest_options *options, ingest_tokenizers *tokenizers,
    weir_work_item *item);

#endif
