/*
 * core.h - ingest without sockets: documents in, rows of chunks out.
 *
 * A DocumentRow becomes a job on the pool: find the model's tokenizer, get the body, decide what it
 * is, parse, cut.  Its chunks leave as ChunksRows of at most 64 in the round that settles the row,
 * with the event CHUNKED.  A crash at any line leaves the row unsettled at the gateway, deferred
 * here, or its chunks in the outbox.
 *
 * Threads: the handlers on the stage's thread; read_source on pool threads.
 */
#ifndef WEIR_INGEST_CORE_H
#define WEIR_INGEST_CORE_H

#include "common/stage/work.h"

typedef struct ingest_core ingest_core;

/*
 * Read the body of a revision whose row says by_reference, appending to *out.  Called on a pool
 * thread, may block, but not much longer than the caller's patience of some seconds.
 *
 * DOCUMENT_NOT_FOUND, NOT_FOUND  the source was purged: the row settles without work.
 * SERVICE_UNAVAILABLE            the gateway is away: the row waits, which spends no attempt.
 * Anything else is an attempt that failed.
 */
typedef weir_code ingest_read_source(void *ud, const Weir__Internal__V1__Row *row, weir_buffer *out,
    weir_error *reterr);

typedef struct ingest_options {
    weir_work_policy policy;
    const char *model_dir;           /* as weir_model_find; copied */
    uint32_t chunks_max;             /* of a document; 0: WEIR_CHUNKS_PER_DOCUMENT_MAX */
    uint64_t text_bytes_max;         /* of a document's normalised text; 0: no bound */
    ingest_read_source *read_source; /* NULL: bodies by reference wait */
    void *read_source_ud;
    weir_work_observer observer;
} ingest_options;

ingest_core *ingest_core_create(const ingest_options *options);
/* The stage is gone and no job runs.  Accepts NULL. */
void ingest_core_destroy(ingest_core **core_p);

/* For weir_stage_options.ops, with the core as `core`. */
extern const weir_core_ops ingest_core_ops;

#endif
