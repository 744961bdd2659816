/*
 * work.h - rows that need a job: the window, retries, deferral (ingest and embedder).
 *
 * Effects are put into rounds in sequence order (R4).  A row is handled from memory; what must wait for a retry or an
 * outage, or is not done after two seconds at the head of the window, is deferred: its row goes into the database with a
 * due time, so the cursor moves and slow work blocks nobody.  Later revisions of the same document queue behind a deferred
 * one; a higher epoch of the same revision, or a tombstone above it, removes it.  After an unclean start the first window
 * is deferred with its crash count raised before any work begins (R6), so a row that kills the process is counted and is
 * given up as WORKER_KILLED after three.
 *
 * weir_work_settle is the one place where a result becomes a fate.
 *
 * Key: 'd' collection_no u64, document_id NUL, revision u64, epoch u64, part u64 -> DeferredRecord.
 * Threads: the core's.
 */
#ifndef WEIR_STAGE_WORK_H
#define WEIR_STAGE_WORK_H

#include "common/stage/stage.h"

typedef struct weir_work weir_work;
typedef struct weir_work_item weir_work_item; /* one row in the making */

typedef struct weir_work_policy {
    uint32_t attempts_max;    /* 5 */
    uint32_t crashes_max;     /* 3 */
    uint32_t backoff_base_ms; /* 500 */
    uint32_t backoff_max_ms;  /* 60,000 */
    uint32_t defer_after_ms;  /* 2,000: patience at the head of the window */
    uint32_t in_flight_max;   /* jobs at once; further rows wait in memory */
} weir_work_policy;

typedef struct weir_work_ops {
    /* Make the job for the item's row.  The job carries the item's id (weir_work_item_id). */
    weir_code (*make_job)(void *core, weir_stage *stage, weir_work_item *item, weir_job **ret_job, weir_error *reterr);
    /* The job went well: send the outputs and events of the finished job into the present round. */
    weir_code (*emit)(void *core, weir_stage *stage, weir_work_item *item, weir_job *job, weir_error *reterr);
} weir_work_ops;

weir_work *weir_work_create(const weir_work_ops *ops, void *core, const weir_work_policy *policy,
    weir_link_kind link, uint32_t stage_number /* weir.v1.Stage */);
void weir_work_destroy(weir_work **work_p);

/* Rebuild the due heap from 'd' rows. */
weir_code weir_work_start(weir_work *work, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* From the core's row handler. */
weir_code weir_work_on_row(weir_work *work, weir_stage *stage, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes packed, weir_error *reterr) WEIR_MUST_CHECK;
/* From the core's job_done: `result` is the job's outcome (code WEIR_OK: emit).  The work destroys the job once its
 * effects are in a round. */
weir_code weir_work_on_job(weir_work *work, weir_stage *stage, uint64_t item_id, weir_job *job,
    const weir_error *result, weir_error *reterr) WEIR_MUST_CHECK;
/* From the core's wake. */
weir_code weir_work_on_wake(weir_work *work, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* From era_raised: drop items and deferred rows of older eras. */
weir_code weir_work_on_era(weir_work *work, weir_stage *stage, uint64_t era, weir_error *reterr) WEIR_MUST_CHECK;
void weir_work_counts(const weir_work *work, weir_stage_counts *ret_counts);

uint64_t weir_work_item_id(const weir_work_item *item);
const Weir__Internal__V1__Row *weir_work_item_row(const weir_work_item *item);
/* Attempts that ended in an error so far, 0 for the first try. */
uint32_t weir_work_item_attempts(const weir_work_item *item);

#endif
