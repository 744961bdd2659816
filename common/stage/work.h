/*
 * work.h - rows that need a job: the window, retries, deferral (ingest and embedder).
 *
 * Effects are put into rounds in sequence order (R4).  A row is handled from memory; what must wait
 * for a retry or an outage, or is not done after two seconds at the head of the window, is
 * deferred: its row goes into the database with a due time, so the cursor moves and slow work
 * blocks nobody. Later revisions of the same document queue behind a deferred one; a higher epoch
 * of the same revision, or a tombstone above it, removes it.
 *
 * A row that kills the process.  After an unclean start the first window is deferred, and marked as
 * at work before any work begins (R6).  What was at work when a process ended runs alone from then
 * on, so that a neighbour is never blamed.  When a process ends under work that is alone, the next
 * one watches for a while, with no such work: if it ends too, others kill processes here, and
 * nothing is counted; if it lives, the crash is counted.  After three the row is given up as
 * WORKER_KILLED.  So a storm of kills fails no good document, and a bad one waits a little longer.
 *
 * When the deferred rows reach their bound of bytes, rows of the window are not begun any more:
 * they stay unsettled, so the sender's credit ends and the pressure reaches the gateway.
 *
 * weir_work settles each row in one place, where a result becomes a fate; that place also logs.
 * Which fate it is says the table of classes (retry.h): a stage returns a code, which has one
 * class, with a sentence and the time that the cause asks for (weir_error).
 *
 * Key: 'd' collection_no u64, document_id NUL, revision u64, epoch u64, part u64 -> DeferredRecord.
 * Threads: the core's.
 */
#ifndef WEIR_STAGE_WORK_H
#define WEIR_STAGE_WORK_H

#include "common/stage/retry.h"
#include "common/stage/stage.h"

typedef struct weir_work weir_work;
typedef struct weir_work_item weir_work_item; /* one row in the making */

typedef struct weir_work_ops {
    Weir__Internal__V1__Row__PayloadCase payload; /* of the rows that are work */
    /* Begin the work of an item: start a job, or join a batch.  The core calls weir_work_done once
     * for each start, in this call or later. */
    weir_code (*start)(void *core, weir_stage *stage, weir_work_item *item, weir_error *reterr);
    /* The work went well and it is the item's turn: send outputs and events into the present round.
     * payload is what weir_work_done was given. */
    weir_code (*emit)(void *core, weir_stage *stage, weir_work_item *item, void *payload,
        weir_error *reterr);
    /* Free a payload handed to weir_work_done; called once, emitted or not.  NULL payloads are not
     * passed. */
    void (*release)(void *core, void *payload);
    /* May this row be worked on now?  A code that waits (throttled, outage: it is known): it is
     * parked without being begun. Any other failure is left to start.  May be NULL: always. */
    weir_code (*check)(void *core, weir_stage *stage, const Weir__Internal__V1__Row *row,
        weir_error *reterr);
} weir_work_ops;

/* What metrics want to know; each may be NULL.  `worked` and `busy` are for the core's jobs, on
 * pool threads; the others are called by the work, on the core's thread. */
typedef struct weir_work_observer {
    void *ud;
    void (*waited)(void *ud, int64_t wait_ms);     /* from handed over to work begun */
    void (*attempted)(void *ud, weir_code result); /* one try is over */
    void (*worked)(void *ud, int64_t work_us);     /* a job ran so long */
    void (*busy)(void *ud, int by);                /* +1 when a worker begins, -1 when it is done */
} weir_work_observer;

weir_work *weir_work_create(const weir_work_ops *ops, void *core, const weir_work_policy *policy,
    weir_link_kind link, uint32_t stage_number /* weir.v1.Stage */);
/* Accepts NULL. */
void weir_work_destroy(weir_work **work_p);
/* Copied; before weir_work_start. */
void weir_work_observe(weir_work *work, const weir_work_observer *observer);

/* Rebuild the due heap from 'd' rows. */
weir_code weir_work_start(weir_work *work, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* From the core's row handler.  A row without ops->payload or whose document no key could name is
 * settled with a line in the log. */
weir_code weir_work_on_row(weir_work *work, weir_stage *stage, weir_link_kind link, uint64_t seq,
    const Weir__Internal__V1__Row *row, weir_bytes packed, weir_error *reterr) WEIR_MUST_CHECK;
/* The work of an item that was started is over: `result` (code WEIR_OK: emit with `payload`).  The
 * item's pointer is good until this call.  When the item was dropped meanwhile (a higher epoch, a
 * tombstone, an era), nothing is emitted. */
weir_code weir_work_done(weir_work *work, weir_stage *stage, weir_work_item *item, void *payload,
    const weir_error *result, weir_error *reterr) WEIR_MUST_CHECK;
/* Instead of weir_work_done, in a drain only: nothing was done for the item and nothing counts; the
 * next start begins it again. */
weir_code weir_work_abandon(weir_work *work, weir_stage *stage, weir_work_item *item,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Once per round, from round_end: defers, starts what may start, tells credit and counts, asks to
 * be woken. */
weir_code weir_work_on_round(weir_work *work, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* From era_raised: drop items and deferred rows of older eras. */
weir_code weir_work_on_era(weir_work *work, weir_stage *stage, uint64_t era,
    weir_error *reterr) WEIR_MUST_CHECK;
/* An outage is over: what it parked is due now. */
void weir_work_outage_ended(weir_work *work, weir_stage *stage);
void weir_work_counts(const weir_work *work, weir_stage_counts *ret_counts);

const Weir__Internal__V1__Row *weir_work_item_row(const weir_work_item *item);
/* Attempts that ended in an error so far, 0 for the first try. */
uint32_t weir_work_item_attempts(const weir_work_item *item);
/* A higher epoch, a tombstone or an era came meanwhile: its result counts for nothing. */
bool weir_work_item_is_dropped(const weir_work_item *item);

#endif
