/*
 * progress.h - how far a try of a revision has come, by the events of its journal.  Pure.
 */
#ifndef WEIR_GATEWAY_PROGRESS_H
#define WEIR_GATEWAY_PROGRESS_H

#include "weir/internal/v1/row.pb-c.h"

typedef struct gateway_progress {
    uint32_t stage; /* weir.v1.Stage where the work is now; 0: not known */
    uint32_t chunk_count;
    uint64_t token_count;
    int64_t due_ms; /* of the next attempt; 0: none is put off */
} gateway_progress;

/* In their order, those of one revision and epoch. */
void gateway_progress_take(gateway_progress *progress,
    const Weir__Internal__V1__LifecycleEvent *event);

#endif
