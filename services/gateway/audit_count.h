/*
 * audit_count.h - the counters of a collection against a scan of its revisions, in one snapshot.
 *
 * Counters and revisions change in one batch, so a snapshot of both agrees, or something is wrong.
 * The scan goes in steps, so that its caller may rest between them; the snapshot lives as long.
 *
 * Threads: a count belongs to one that may wait; any number at once.  What two of them find of one
 * collection is corrected once: the core knows by `recounts` which finding is older than the last
 * correction.
 */
#ifndef WEIR_GATEWAY_AUDIT_COUNT_H
#define WEIR_GATEWAY_AUDIT_COUNT_H

#include "services/gateway/core.h"
#include "services/gateway/reads.h"

typedef struct gateway_audit_count {
    gateway_look look;
    weir_arena *scratch; /* of one record */
    weir_iter *revisions, *documents;
    uint64_t collection_no, recounts;
    counters_record stored, counted;
    uint64_t looked_at;
} gateway_audit_count;

/* recounts: as published before this call. */
weir_code gateway_audit_count_begin(gateway_audit_count *count, weir_store *store,
    uint64_t collection_no, uint64_t recounts, weir_error *reterr) WEIR_MUST_CHECK;
/* Some thousand records.  WEIR_CORRUPT: one does not decode, so nobody can count. */
weir_code gateway_audit_count_some(gateway_audit_count *count, bool *ret_over,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Once it is over: the finding, in the arena, or NULL when the counters are right. */
Weir__Internal__V1__AuditCommand *gateway_audit_count_finding(const gateway_audit_count *count,
    const char *tenant, uint64_t era, weir_arena *arena);
/* After a begin, whatever it answered. */
void gateway_audit_count_end(gateway_audit_count *count);

#endif
