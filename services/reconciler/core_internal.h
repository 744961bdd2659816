/*
 * core_internal.h - what the files of the reconciler's core share.
 *
 *   core.c          the table of handlers, start, published numbers
 *   journal.c       every document's last events
 *   unfinished.c    which revisions are not over; the oldest, the stuck
 *   ending.c        what an event means for the end of a try: revoke, give up
 *   dead_letters.c  dead letters, seeds after a loss
 *   audit.c         dead letters and endings for the audit, and its repairs (audit.h)
 *   reads.c, reads_ended.c, reads_summary.c, conditions.c
 *                   what others may see of it (reads.h)
 */
#ifndef WEIR_RECONCILER_CORE_INTERNAL_H
#define WEIR_RECONCILER_CORE_INTERNAL_H

#include <pthread.h>

#include "services/reconciler/core.h"
#include "services/reconciler/keys.h"
#include "weir/internal/v1/record.pb-c.h"

#define LIFECYCLE(name_) (WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_)
#define STEP(name_) (WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_##name_)

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent lifecycle_event;
typedef Weir__Internal__V1__LifecycleKind lifecycle_kind;
typedef Weir__Internal__V1__EndingRecord ending_record;
typedef Weir__Internal__V1__Failure failure_record;

/* A walk over committed records, some of them a round, so that a million never stop the core. */
typedef struct reconciler_walk {
    bool is_active;
    weir_buffer after; /* the last key seen; empty: none yet */
} reconciler_walk;

/* A look at the revisions that are not over: what it has found so far. */
typedef struct reconciler_look {
    reconciler_walk walk;
    int64_t next_ms; /* of the next look */
    int64_t begun_ms;
    int64_t oldest_ms;
    uint64_t stuck;
    uint32_t named; /* in the log */
} reconciler_look;

struct reconciler_core {
    reconciler_core_config config;
    weir_buffer key, range_end;
    uint64_t next_number; /* of the journal */
    uint64_t row_era;     /* of the row in hand */
    bool number_changed;
    uint64_t dead_letters, endings, unfinished;
    int64_t oldest_since_ms;
    uint64_t stuck;
    uint64_t dead_lettered_total, events_total;
    uint64_t seeded_era, swept_era;
    reconciler_look look;
    /* Walks see what is committed, so they begin at the end of the round that wants them. */
    bool again_is_due, sweep_is_due;
    reconciler_walk again;              /* over the endings: asked anew in a later era */
    reconciler_walk sweep_dead_letters; /* after a seeding */
    reconciler_walk sweep_unfinished;

    pthread_mutex_t published_lock;
    reconciler_published published;
};

/* ---- journal.c ---- */
weir_code reconciler_journal(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The document's newest event; *ret_event NULL: none.  Lives as long as the round. */
weir_code reconciler_last_event(reconciler_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, lifecycle_event **ret_event, weir_error *reterr) WEIR_MUST_CHECK;
/* Is there one of this kind about the revision that came in this era or a later one? */
weir_code reconciler_find_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *of,
    lifecycle_kind kind, uint64_t min_era, bool *ret_found, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- unfinished.c ---- */
weir_code reconciler_track(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The indexer says, by an event or an answer, that the revision is READY. */
weir_code reconciler_was_ready(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, weir_error *reterr) WEIR_MUST_CHECK;
/* A look goes on, or begins when it is time. */
weir_code reconciler_look_on(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the end of a round: be woken for the next look. */
void reconciler_plan_look(reconciler_core *core, weir_stage *stage);
weir_code reconciler_sweep_unfinished(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- ending.c ---- */
weir_code reconciler_on_event(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_on_revoke_answer(reconciler_core *core, weir_stage *stage,
    const row_message *row, weir_error *reterr) WEIR_MUST_CHECK;
/* Ask again, some of the endings a round, what was asked in an earlier era. */
weir_code reconciler_ask_again(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- audit.c ---- */
/* The gateway's record of the revision, told again: it decides whether there is a dead letter. */
weir_code reconciler_on_audited(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- dead_letters.c ---- */
/* The dead letter of a try at least as new as the event's is there. */
weir_code reconciler_has_dead_letter(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, bool *ret_has, weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_put_dead_letter(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, weir_error *reterr) WEIR_MUST_CHECK;
/* Those of the revision up to max_epoch. */
weir_code reconciler_drop_dead_letter(reconciler_core *core, weir_stage *stage,
    const lifecycle_event *event, int64_t max_epoch, weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_on_seed(reconciler_core *core, weir_stage *stage, const row_message *row,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Forget, some a round, what stands here from before the last seeding and was not in it. */
weir_code reconciler_sweep(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_load_seeds(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At start: give each its place in the order of time if it has none yet. */
weir_code reconciler_order_dead_letters(reconciler_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- core.c ---- */
/* Call `visit` for up to `limit` committed records of a tag behind walk->after.  The walk ends by
 * itself; while it is active, the core is woken again.  Key and value live for the call. */
typedef weir_code reconciler_visit(reconciler_core *core, weir_stage *stage, weir_bytes key,
    weir_bytes value, weir_error *reterr);
weir_code reconciler_walk_on(reconciler_core *core, weir_stage *stage, reconciler_walk *walk,
    char tag, uint32_t limit, reconciler_visit *visit, weir_error *reterr) WEIR_MUST_CHECK;
void reconciler_walk_begin(reconciler_walk *walk, weir_stage *stage);

#endif
