/*
 * audit.h - the two-way audit: a thread that walks slowly all the time, and the same at once for
 * RunAudit.
 *
 * A pass has four walks: the gateway's documents; the documents that the indexer has and the
 * gateway does not know; the dead letters of what is not FAILED; the counters of each collection
 * (audit_count.h).  Whatever looks wrong is looked at once more after a pause (audit_look.h), and
 * only what is seen twice is told to the core, which judges it again, records and repairs it
 * (audit_core.c).  (Counters are counted in one snapshot, so once is enough.)  What is recorded and
 * open is looked at every few seconds until it agrees.
 *
 * The cursor is on disk, so that a restart goes on.  The thread owns no fact: it can be lost at any
 * line.
 */
#ifndef WEIR_GATEWAY_AUDIT_H
#define WEIR_GATEWAY_AUDIT_H

#include "services/gateway/gateway.h"

/* The shell runs. */
gateway_audit *gateway_audit_start(gateway *self);
/* Before the shell stops.  Accepts NULL. */
void gateway_audit_stop(gateway_audit *audit);
void gateway_audit_destroy(gateway_audit **audit_p);

typedef struct gateway_audit_totals {
    uint64_t documents; /* looked at since the start, by the thread and by RunAudit */
} gateway_audit_totals;
void gateway_audit_totals_read(gateway_audit *audit, gateway_audit_totals *ret_totals);

/* One pass at once. */
typedef struct gateway_audit_run {
    const char *tenant;     /* whose documents; NULL: everybody's */
    uint64_t collection_no; /* 0: all */
    bool dry_run;
    int64_t until_ms; /* monotonic */
    uint64_t checked, found, repaired;
} gateway_audit_run;
/* On a thread that may wait.  WEIR_QUEUE_FULL: another one runs.  WEIR_TIMEOUT,
 * WEIR_SERVICE_UNAVAILABLE: the counts are of a part. */
weir_code gateway_audit_run_now(gateway_audit *audit, gateway_audit_run *run,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Hand a command to the core and wait for its answer, a copy in the arena.  The core answers in the
 * same round. */
weir_code gateway_audit_ask_core(gateway *self, const char *tenant, gateway_command kind,
    const ProtobufCMessage *command, weir_arena *arena, ProtobufCMessage **ret_answer,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
