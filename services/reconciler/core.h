/*
 * core.h - the reconciler's core: the journal of every document, and the end of what fails, without
 * I/O.
 *
 * It owns the stage FAILED.  To give up, it first makes the indexer revoke the epoch; only a
 * revoked epoch may become FAILED, and the gateway records it (GIVE_UP).  A dead letter is listed
 * once the gateway has said that it did.  Every step is a record in the store beside the row that
 * it sent, so a crash at any line goes on where it stood.
 *
 * Threads: the core's, but for reconciler_core_published (any).
 */
#ifndef WEIR_RECONCILER_CORE_H
#define WEIR_RECONCILER_CORE_H

#include "common/stage/stage.h"

typedef struct reconciler_core reconciler_core;

typedef struct reconciler_core_config {
    uint32_t journal_events_max; /* kept per document; 0: 64 */
    uint64_t stuck_after_ms;     /* without any event: reported; 0: never */
} reconciler_core_config;

reconciler_core *reconciler_core_create(const reconciler_core_config *config);
void reconciler_core_destroy(reconciler_core **core_p);
extern const weir_core_ops reconciler_core_ops;

/* As of the last commit; totals since the start. */
typedef struct reconciler_published {
    uint64_t dead_letters;
    uint64_t endings;        /* tries that are being revoked or given up */
    uint64_t unfinished;     /* revisions that are not over */
    int64_t oldest_since_ms; /* when the oldest of them was accepted, wall time; 0: none; as of the
                                last look, a few seconds ago */
    uint64_t stuck;          /* of them, without any event for stuck_after_ms; likewise */
    uint64_t dead_lettered_total, events_total;
    uint64_t seeded_era; /* era of the last whole seeding; 0: none */
    uint64_t swept_era;  /* era of the last seeding after which older things were forgotten */
} reconciler_published;
void reconciler_core_published(reconciler_core *core, reconciler_published *ret_published);

#endif
