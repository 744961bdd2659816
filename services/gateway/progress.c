/*
 * progress.c - see progress.h.
 */
#include "services/gateway/progress.h"

#include "weir/v1/document.pb-c.h"

#define KIND(name_) WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_

void
gateway_progress_take(gateway_progress *progress, const Weir__Internal__V1__LifecycleEvent *event)
{
    progress->due_ms = 0;
    if (event->chunk_count != 0)
        progress->chunk_count = event->chunk_count;
    if (event->token_count != 0)
        progress->token_count = event->token_count;
    if (event->kind == KIND(CHUNKED))
        progress->stage = WEIR__V1__STAGE__STAGE_EMBED;
    else if (event->kind == KIND(EMBEDDED))
        progress->stage = WEIR__V1__STAGE__STAGE_INDEX;
    else if (event->kind == KIND(DEFERRED) || event->kind == KIND(FAILED))
        progress->stage = event->stage;
    if (event->kind == KIND(DEFERRED))
        progress->due_ms = event->due_ms;
}
