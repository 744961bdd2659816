/*
 * batch.h - chunks of many rows gathered into batches, and the job that embeds one.
 *
 * Threads: the core's, but for the job's run.
 */
#ifndef WEIR_EMBEDDER_BATCH_H
#define WEIR_EMBEDDER_BATCH_H

#include <sys/queue.h>

#include "services/embedder/cache.h"
#include "services/embedder/core.h"

/* One row at work; in the end the payload of its item. */
typedef struct embedder_row embedder_row;
struct embedder_row {
    LIST_ENTRY(embedder_row) at_work; /* until the work has it */
    weir_work_item *item;
    const Weir__Internal__V1__Row *row;
    uint32_t dimension;
    size_t count;             /* chunks */
    size_t left;              /* of them without a result */
    size_t in_jobs;           /* of those, in batches on the pool */
    float *vectors;           /* count x dimension */
    embedder_cache_key *keys; /* by chunk; NULL: its model is not cached */
    bool *is_cached;          /* by chunk: the vector came from the cache */
    weir_error failure;       /* the first; code WEIR_OK: none */
    bool is_abandoned;        /* a drain: what is left is not begun */
};
typedef LIST_HEAD(embedder_rows, embedder_row) embedder_rows;

embedder_row *embedder_row_create(weir_work_item *item);
void embedder_row_destroy(embedder_row *row);

/* A chunk that waits for its batch. */
typedef struct embedder_piece embedder_piece;
struct embedder_piece {
    embedder_piece *next;
    embedder_row *row;
    uint32_t index;
    uint64_t number; /* the order of arrival */
};

typedef struct embedder_batches embedder_batches;

embedder_batches *embedder_batches_create(uint32_t batch_tokens);
void embedder_batches_destroy(embedder_batches **batches_p);
void embedder_batches_add(embedder_batches *batches, embedder_row *row, uint32_t index);
bool embedder_batches_are_empty(const embedder_batches *batches);
/* Take the oldest piece out, for a drain; the caller frees it. */
embedder_piece *embedder_batches_take_oldest(embedder_batches *batches);

/* Drop the row's pieces that wait; returns how many. */
size_t embedder_batches_remove(embedder_batches *batches, const embedder_row *row);

typedef struct embedder_job {
    weir_job base;
    const embedder_options *options;
    const char *model; /* of the first piece's spec */
    size_t count, capacity;
    embedder_piece **pieces;
    weir_bytes *texts;
    uint32_t *token_counts;
    uint32_t dimension;
    float *vectors;
    bool is_provider_away; /* `failure` is of a class that pauses all who ask the model */
    weir_error failure;    /* of the whole batch; code WEIR_OK: see `failures` */
    weir_error *failures;  /* by piece; NULL: all went well */
} embedder_job;

/* The next batch: the oldest piece with others of the same model and like length, until the bound
 * of tokens is reached. There is a piece. */
embedder_job *embedder_batches_next(embedder_batches *batches, const embedder_options *options);

#endif
