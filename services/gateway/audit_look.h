/*
 * audit_look.h - one look of the audit at some documents: what the gateway has recorded, what the
 * others show, and which of it disagrees while the record stood still.
 *
 * A look is exact, not a guess by age.  The records are read before and after the others are asked;
 * before they are asked, everything that those records had sent has been acknowledged; before the
 * records are read again, everything that the others had told by then has arrived.  A revision
 * whose record is the same both times therefore ought to agree, whatever the load.  What has
 * changed is not judged, and a look for which a peer is away, another era begins or a re-drive runs
 * judges nothing at all.
 *
 * Threads: a look belongs to one thread that may wait; any number at once.
 */
#ifndef WEIR_GATEWAY_AUDIT_LOOK_H
#define WEIR_GATEWAY_AUDIT_LOOK_H

#include "services/gateway/audit_rules.h"
#include "services/gateway/gateway.h"

enum { GATEWAY_AUDIT_DOCUMENTS_MAX = 100 };

typedef struct gateway_audit_ref {
    const char *tenant;
    uint64_t collection_no;
    const char *document_id;
} gateway_audit_ref;

/* A revision and an evidence whose rule is not AGREES. */
typedef struct gateway_audit_finding {
    size_t document; /* in the look's refs */
    Weir__Internal__V1__AuditCommand command;
} gateway_audit_finding;

typedef struct gateway_audit_look {
    const gateway_audit_ref *refs;
    size_t count;
    bool *is_judged; /* by document: false when its record changed meanwhile */
    gateway_audit_finding *findings;
    size_t finding_count, finding_capacity;
} gateway_audit_look;

/* Everything lives in the arena.  until_ms: monotonic.  WEIR_OK: judged, findings or none.
 * SERVICE_UNAVAILABLE: not now (a peer is away or behind, an era begins, a re-drive runs);
 * TIMEOUT. */
weir_code gateway_audit_look_at(gateway *self, const gateway_audit_ref *refs, size_t count,
    int64_t until_ms, weir_arena *arena, gateway_audit_look *ret_look,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
