/*
 * audit.h - what stands at the reconciler, for the audit that the gateway runs.
 *
 * Threads: any; nothing here enters the core.
 */
#ifndef WEIR_RECONCILER_AUDIT_H
#define WEIR_RECONCILER_AUDIT_H

#include "common/base/arena.h"
#include "common/store/store.h"
#include "weir/internal/v1/service.pb-c.h"

/* Dead letters and endings of up to 200 documents, or a page of all dead letters, from one
 * snapshot; the eras are the caller's to fill in.  INVALID_ARGUMENT for the sizes. */
weir_code reconciler_audit_endings(weir_store *store,
    const Weir__Internal__V1__AuditEndingsRequest *request,
    Weir__Internal__V1__AuditEndingsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
