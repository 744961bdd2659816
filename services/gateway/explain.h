/*
 * explain.h - where a revision is, why, what happens next and what to do, from the facts that were
 * collected about it.  Pure.
 *
 * A fact that could not be had is a fact too: the service that would know it is away.
 */
#ifndef WEIR_GATEWAY_EXPLAIN_H
#define WEIR_GATEWAY_EXPLAIN_H

#include "services/gateway/progress.h"
#include "services/gateway/reads.h"

enum { GATEWAY_EXPLAIN_AHEAD_MAX = 100000 };

/* What one service that works through rows knows. */
typedef struct gateway_stage_fact {
    bool is_away;
    bool has_deferred; /* this revision and epoch waits there, as below */
    bool is_parked;
    uint32_t attempt_count, attempts_max;
    uint32_t crash_count, crashes_max;
    int64_t due_ms;
    uint32_t code; /* of the last failure; 0: none */
    const char *message;
    int64_t behind_revision; /* a lower revision of the document goes first; 0: none */
    uint64_t queued;         /* rows that it holds */
} gateway_stage_fact;

typedef struct gateway_explain_facts {
    gateway_found found;
    const char *model;
    uint32_t breaker; /* of it: weir.v1.BreakerState; 0: not known */
    uint64_t ahead;   /* in the backlog, at most AHEAD_MAX */
    gateway_stage_fact ingest, embedder;
    gateway_progress progress; /* of this epoch */
    bool reconciler_away;
    uint32_t ending_step; /* EndingRecord.Step of this epoch; 0: none */
    bool indexer_away;
    bool gate_open;
    int64_t ready_revision; /* at the indexer */
    uint32_t staged_count, staged_chunks;
} gateway_explain_facts;

/* In the arena; the facts' strings are borrowed. */
void gateway_explain(const gateway_explain_facts *facts, weir_arena *arena,
    Weir__V1__ExplainDocumentResponse *response);

#endif
