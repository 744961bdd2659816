/*
 * core.h - the embedder without sockets: rows of chunks in, the same rows with vectors out.
 *
 * Chunks of many rows are gathered into batches of like length and a bounded number of tokens; a
 * few batches run on the pool at once.  A batch that fails is halved until the text at fault is
 * found, so one document never fails another.  What the built-in model computed is kept in the
 * vector cache at once, so that a long row which is interrupted goes on where it was.  A crash at
 * any line leaves a row unsettled at ingest, deferred here, or sent.
 *
 * While the built-in model is missing its rows are parked, which spends no attempt, and one at a
 * time looks whether it came back (the breaker).
 *
 * Threads: the handlers on the stage's thread; the functions about breaker and cache on any thread.
 */
#ifndef WEIR_EMBEDDER_CORE_H
#define WEIR_EMBEDDER_CORE_H

#include "common/stage/work.h"
#include "services/embedder/models.h"

typedef struct embedder_core embedder_core;

/* As embedder_model_embed. */
typedef weir_code embedder_embed(const embedder_model *model, const weir_bytes *texts, size_t count,
    float *out, uint32_t *token_counts, weir_error *reterr);

typedef struct embedder_observer {
    void *ud;
    /* One call of a model on a pool thread is over. */
    void (*embedded)(void *ud, const char *model, weir_code result, uint64_t tokens);
    void (*cache_hits)(void *ud, uint64_t count);
} embedder_observer;

typedef struct embedder_options {
    weir_work_policy policy;
    embedder_models *models;  /* borrowed */
    uint32_t batch_tokens;    /* of a batch, padding included; 0: EMBEDDER_RUN_TOKENS */
    uint32_t batches_max;     /* on the pool at once; 0: 4 */
    uint64_t cache_bytes_max; /* 0: no cache */
    embedder_embed *embed;    /* NULL: embedder_model_embed; tests put their own in */
    weir_work_observer work_observer;
    embedder_observer observer;
} embedder_options;

embedder_core *embedder_core_create(const embedder_options *options);
/* The stage is gone and no job runs.  Accepts NULL. */
void embedder_core_destroy(embedder_core **core_p);

/* For weir_stage_options.ops, with the core as `core`. */
extern const weir_core_ops embedder_core_ops;

/* weir.v1.BreakerState of the built-in model. */
uint32_t embedder_core_breaker(const embedder_core *core);

#endif
