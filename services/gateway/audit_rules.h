/*
 * audit_rules.h - one rule for each pair of what the gateway has recorded and what the other
 * services show.  Pure.
 *
 * The gateway's record says that something ought to be so; the evidence is what the indexer's
 * register, the dead letters, the stages and the source show while that record stood still.  The
 * table says what is right, and what makes it so.
 */
#ifndef WEIR_GATEWAY_AUDIT_RULES_H
#define WEIR_GATEWAY_AUDIT_RULES_H

#include <stdbool.h>
#include <stdint.h>

/* What the gateway has recorded of a revision.  Stored: never renumber. */
typedef enum gateway_audit_state {
    GATEWAY_AUDIT_UNKNOWN = 1,    /* it never gave that revision out */
    GATEWAY_AUDIT_PENDING = 2,    /* in the backlog */
    GATEWAY_AUDIT_PROCESSING = 3, /* handed over */
    GATEWAY_AUDIT_READY = 4,
    GATEWAY_AUDIT_FAILED = 5,
    GATEWAY_AUDIT_RETIRED = 6,  /* SUPERSEDED, or DELETED by a later delete */
    GATEWAY_AUDIT_DELETE = 7,   /* the revision is a delete */
    GATEWAY_AUDIT_COUNTERS = 8, /* not of a revision: the counters of a collection */
    GATEWAY_AUDIT_STATE_COUNT
} gateway_audit_state;

/* What the others show.  Stored: never renumber. */
typedef enum gateway_audit_evidence {
    GATEWAY_AUDIT_SEES_READY = 1,        /* the register has it READY, and all of it is there */
    GATEWAY_AUDIT_SEES_DAMAGED = 2,      /* the register has it READY, and not all is there */
    GATEWAY_AUDIT_SEES_NEWER = 3,        /* a newer revision is READY in both */
    GATEWAY_AUDIT_SEES_TOMBSTONE = 4,    /* the register has a tombstone above it */
    GATEWAY_AUDIT_SEES_PROMISE = 5,      /* the register has promised its epoch away */
    GATEWAY_AUDIT_SEES_WORK = 6,         /* something durable still works on it */
    GATEWAY_AUDIT_SEES_NOTHING = 7,      /* none of these */
    GATEWAY_AUDIT_SEES_LETTER = 8,       /* its dead letter, of this epoch */
    GATEWAY_AUDIT_SEES_OTHER_LETTER = 9, /* a dead letter of it, of another epoch or source */
    GATEWAY_AUDIT_SEES_NO_LETTER = 10,   /* no dead letter of it */
    GATEWAY_AUDIT_SEES_STRAYS = 11,      /* chunks of tries that no register names */
    GATEWAY_AUDIT_SEES_NO_SOURCE = 12,   /* its source is gone, or is another one */
    GATEWAY_AUDIT_SEES_OTHER_COUNT = 13, /* a scan of the revisions counts otherwise */
    GATEWAY_AUDIT_EVIDENCE_COUNT
} gateway_audit_evidence;

typedef enum gateway_audit_rule {
    GATEWAY_AUDIT_AGREES = 1, /* nothing is wrong */
    GATEWAY_AUDIT_ADVANCE,    /* the further of both is true: the other follows */
    GATEWAY_AUDIT_REDRIVE,    /* the revision is worked on again, under a new epoch */
    GATEWAY_AUDIT_REVIEW,     /* a person decides */
} gateway_audit_rule;

/* What makes it so; each is one step of the gateway's core. */
typedef enum gateway_audit_action {
    GATEWAY_AUDIT_DO_NOTHING = 0,
    GATEWAY_AUDIT_DO_RECORD_READY, /* as if the READY row had come */
    GATEWAY_AUDIT_DO_RETIRE,       /* SUPERSEDED by the newer READY one */
    GATEWAY_AUDIT_DO_RAISE,        /* a new epoch */
    GATEWAY_AUDIT_DO_CHECK,        /* the indexer drops what is not whole; then nothing is there */
    GATEWAY_AUDIT_DO_FORGET,       /* the indexer forgets what was never given out */
    GATEWAY_AUDIT_DO_PROMISE,      /* the indexer promises again what FAILED */
    GATEWAY_AUDIT_DO_TOMBSTONE,    /* the tombstone goes again */
    GATEWAY_AUDIT_DO_TELL,  /* the reconciler takes over the record: a dead letter, or none */
    GATEWAY_AUDIT_DO_COUNT, /* the counters become what the scan counts */
} gateway_audit_action;

typedef struct gateway_audit_row {
    gateway_audit_rule rule;
    gateway_audit_action action;
    const char *why; /* one sentence for people; "" for AGREES */
} gateway_audit_row;

/* Both in their range (asserted). */
const gateway_audit_row *gateway_audit_row_of(gateway_audit_state state,
    gateway_audit_evidence evidence);
const char *gateway_audit_state_name(gateway_audit_state state);
const char *gateway_audit_evidence_name(gateway_audit_evidence evidence);
/* The weir.v1.DocumentState that the evidence speaks for; 0: none. */
uint32_t gateway_audit_evident_state(gateway_audit_evidence evidence);

/* ---- what was seen, and which evidence it is ---- */

/* A revision as the gateway has recorded it. */
typedef struct gateway_audit_revision {
    gateway_audit_state state;
    int64_t revision, epoch;
    int64_t newest_ready; /* the document's READY revision by the gateway; 0: none */
} gateway_audit_revision;

/* What the indexer's register says of its document. */
typedef struct gateway_audit_register {
    int64_t ready_revision, deleted_below;
    int64_t promised_epoch; /* of this revision; 0: none */
    bool is_whole;          /* the READY revision's chunks */
    bool is_staged;         /* every chunk of the epoch is there and only the decision is missing */
} gateway_audit_register;

/* The evidence of the register; `has_work`: some stage, the backlog or an ending holds the epoch.
 */
gateway_audit_evidence gateway_audit_see(const gateway_audit_revision *revision,
    const gateway_audit_register *seen, bool has_work);

#endif
