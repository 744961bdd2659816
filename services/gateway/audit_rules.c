/*
 * audit_rules.c - the table of the audit; see audit_rules.h.
 */
#include "services/gateway/audit_rules.h"

#include <stddef.h>

#include "common/base/assert.h"
#include "weir/v1/document.pb-c.h"

#define AGREES { GATEWAY_AUDIT_AGREES, GATEWAY_AUDIT_DO_NOTHING, "" }
#define ADVANCE(action_, why_) { GATEWAY_AUDIT_ADVANCE, GATEWAY_AUDIT_DO_##action_, (why_) }
#define REDRIVE(action_, why_) { GATEWAY_AUDIT_REDRIVE, GATEWAY_AUDIT_DO_##action_, (why_) }
#define REVIEW(why_) { GATEWAY_AUDIT_REVIEW, GATEWAY_AUDIT_DO_NOTHING, (why_) }
#define SEES(name_) [GATEWAY_AUDIT_SEES_##name_]

/* Sentences that several states share. */
#define UNKNOWN_LETTER "the reconciler lists a dead letter of an unknown revision"
#define FOREIGN_LETTER "the reconciler lists a dead letter of a revision that is not FAILED"
#define NO_SOURCE "the source is gone or is not what was submitted, so it cannot be worked on again"
#define STRAYS "the indexer keeps chunks that no revision owns"
#define TOMBSTONE "the indexer has a tombstone that the gateway never sent"

static const gateway_audit_row table[GATEWAY_AUDIT_STATE_COUNT][GATEWAY_AUDIT_EVIDENCE_COUNT] = {
    [GATEWAY_AUDIT_UNKNOWN] = {
        /* Search would show it, and Get would not know it: the gateway's custody decides. */
        SEES(READY) = ADVANCE(FORGET, "the indexer serves a revision that was never accepted"),
        SEES(DAMAGED) = ADVANCE(FORGET, "the indexer serves a revision that was never accepted"),
        /* Says nothing of a revision that is not there. */
        SEES(NEWER) = AGREES,
        /* Nothing is left for it to delete, and it would fence off revisions that are to come. */
        SEES(TOMBSTONE) = ADVANCE(FORGET, "the indexer has a tombstone that was never given out"),
        SEES(PROMISE) = ADVANCE(FORGET, "the indexer gave up a revision that was never accepted"),
        /* Staged chunks: the same number may be given out yet. */
        SEES(WORK) = ADVANCE(FORGET, "the indexer stages a revision that was never accepted"),
        SEES(NOTHING) = AGREES,
        SEES(LETTER) = ADVANCE(TELL, UNKNOWN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, UNKNOWN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(FORGET, STRAYS),
        /* No record, no source. */
        SEES(NO_SOURCE) = AGREES,
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_PENDING] = {
        /* The register is the truth; its row was lost. */
        SEES(READY) = ADVANCE(RECORD_READY, "it is READY and the gateway has not heard of it"),
        /* First what is damaged goes, then nothing is there, which is a new epoch. */
        SEES(DAMAGED) = REDRIVE(CHECK, "it is READY and not whole at the indexer"),
        SEES(NEWER) = ADVANCE(RETIRE, "a newer revision is READY"),
        /* It can never be READY, and only its owner knows whether it was to be deleted: ADVANCE
         * deletes it here too, REDRIVE makes the indexer let go of the tombstone. */
        SEES(TOMBSTONE) = REVIEW(TOMBSTONE),
        /* That epoch can never be READY, and nobody gives the revision up. */
        SEES(PROMISE) = REDRIVE(RAISE, "its run was revoked and nobody goes on with it"),
        SEES(WORK) = AGREES,
        SEES(NOTHING) = REDRIVE(RAISE, "nobody works on it: no backlog, no row, no deferred work"),
        /* A retry ended it, and the event was lost. */
        SEES(LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        SEES(NO_SOURCE) = REVIEW(NO_SOURCE),
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_PROCESSING] = {
        /* As for PENDING, but that stages hold the work instead of the backlog. */
        SEES(READY) = ADVANCE(RECORD_READY, "it is READY and the gateway has not heard of it"),
        SEES(DAMAGED) = REDRIVE(CHECK, "it is READY and not whole at the indexer"),
        SEES(NEWER) = ADVANCE(RETIRE, "a newer revision is READY"),
        SEES(TOMBSTONE) = REVIEW(TOMBSTONE),
        SEES(PROMISE) = REDRIVE(RAISE, "its run was revoked and nobody goes on with it"),
        SEES(WORK) = AGREES,
        SEES(NOTHING) = REDRIVE(RAISE, "no stage works on it and no row of it is under way"),
        SEES(LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        SEES(NO_SOURCE) = REVIEW(NO_SOURCE),
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_READY] = {
        SEES(READY) = AGREES,
        /* As a lost indexer, for one document. */
        SEES(DAMAGED) = REDRIVE(CHECK, "its chunks are not whole at the indexer"),
        SEES(NEWER) = ADVANCE(RETIRE, "a newer revision is READY"),
        SEES(TOMBSTONE) = REVIEW(TOMBSTONE),
        SEES(PROMISE) = REDRIVE(RAISE, "the indexer does not have it, and its run was revoked"),
        /* A newer revision is READY there, and is judged by itself. */
        SEES(WORK) = AGREES,
        SEES(NOTHING) = REDRIVE(RAISE, "the indexer does not have it"),
        SEES(LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        /* It can be found still; a re-drive would fail. */
        SEES(NO_SOURCE) = REVIEW(NO_SOURCE),
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_FAILED] = {
        /* The two exclude each other: a promise was broken, and a person has seen one of them. */
        SEES(READY) = REVIEW("it is FAILED and READY at once"),
        SEES(DAMAGED) = REVIEW("it is FAILED and READY at once, and not whole"),
        SEES(NEWER) = ADVANCE(RETIRE, "a newer revision is READY"),
        SEES(TOMBSTONE) = REVIEW(TOMBSTONE),
        SEES(PROMISE) = AGREES,
        /* What still comes of its epoch is fenced. */
        SEES(WORK) = AGREES,
        /* Nothing would keep a late row from making it READY. */
        SEES(NOTHING) = ADVANCE(PROMISE, "the indexer has not promised never to make it READY"),
        SEES(LETTER) = AGREES,
        SEES(OTHER_LETTER) = ADVANCE(TELL, "its dead letter is of another run or source"),
        SEES(NO_LETTER) = ADVANCE(TELL, "it has no dead letter"),
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        /* A dead letter must be resolvable. */
        SEES(NO_SOURCE) = REVIEW(NO_SOURCE),
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_RETIRED] = {
        /* What took its place is judged instead: not READY there, or the delete is missing. */
        SEES(READY) = AGREES,
        SEES(DAMAGED) = AGREES,
        SEES(NEWER) = AGREES,
        SEES(TOMBSTONE) = AGREES,
        SEES(PROMISE) = AGREES,
        SEES(WORK) = AGREES,
        SEES(NOTHING) = AGREES,
        SEES(LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        /* Its source is purged on purpose. */
        SEES(NO_SOURCE) = AGREES,
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_DELETE] = {
        /* A delete is final: whatever the indexer shows, the tombstone goes again. */
        SEES(READY) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(DAMAGED) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(NEWER) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(TOMBSTONE) = AGREES,
        SEES(PROMISE) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(WORK) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(NOTHING) = ADVANCE(TOMBSTONE, "the indexer has not heard of the delete"),
        SEES(LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(OTHER_LETTER) = ADVANCE(TELL, FOREIGN_LETTER),
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = ADVANCE(CHECK, STRAYS),
        /* A delete has none. */
        SEES(NO_SOURCE) = AGREES,
        SEES(OTHER_COUNT) = AGREES,
    },
    [GATEWAY_AUDIT_COUNTERS] = {
        /* Nothing that is seen of a revision says anything of them. */
        SEES(READY) = AGREES,
        SEES(DAMAGED) = AGREES,
        SEES(NEWER) = AGREES,
        SEES(TOMBSTONE) = AGREES,
        SEES(PROMISE) = AGREES,
        SEES(WORK) = AGREES,
        SEES(NOTHING) = AGREES,
        SEES(LETTER) = AGREES,
        SEES(OTHER_LETTER) = AGREES,
        SEES(NO_LETTER) = AGREES,
        SEES(STRAYS) = AGREES,
        SEES(NO_SOURCE) = AGREES,
        /* Revisions are what is true; counters are their sum, so that nobody needs a scan. */
        SEES(OTHER_COUNT) = ADVANCE(COUNT, "the counters are not what a scan counts"),
    },
};

const gateway_audit_row *
gateway_audit_row_of(gateway_audit_state state, gateway_audit_evidence evidence)
{
    weir_assert(state >= 1 && state < GATEWAY_AUDIT_STATE_COUNT);
    weir_assert(evidence >= 1 && evidence < GATEWAY_AUDIT_EVIDENCE_COUNT);
    return &table[state][evidence];
}

const char *
gateway_audit_state_name(gateway_audit_state state)
{
    static const char *const names[GATEWAY_AUDIT_STATE_COUNT] = { [GATEWAY_AUDIT_UNKNOWN] =
                                                                      "UNKNOWN",
        [GATEWAY_AUDIT_PENDING] = "PENDING",
        [GATEWAY_AUDIT_PROCESSING] = "PROCESSING",
        [GATEWAY_AUDIT_READY] = "READY",
        [GATEWAY_AUDIT_FAILED] = "FAILED",
        [GATEWAY_AUDIT_RETIRED] = "RETIRED",
        [GATEWAY_AUDIT_DELETE] = "DELETE",
        [GATEWAY_AUDIT_COUNTERS] = "COUNTERS" };

    return state >= 1 && state < GATEWAY_AUDIT_STATE_COUNT ? names[state] : "";
}

const char *
gateway_audit_evidence_name(gateway_audit_evidence evidence)
{
    static const char *const names[GATEWAY_AUDIT_EVIDENCE_COUNT] = {
        [GATEWAY_AUDIT_SEES_READY] = "READY",
        [GATEWAY_AUDIT_SEES_DAMAGED] = "DAMAGED",
        [GATEWAY_AUDIT_SEES_NEWER] = "NEWER",
        [GATEWAY_AUDIT_SEES_TOMBSTONE] = "TOMBSTONE",
        [GATEWAY_AUDIT_SEES_PROMISE] = "PROMISE",
        [GATEWAY_AUDIT_SEES_WORK] = "WORK",
        [GATEWAY_AUDIT_SEES_NOTHING] = "NOTHING",
        [GATEWAY_AUDIT_SEES_LETTER] = "LETTER",
        [GATEWAY_AUDIT_SEES_OTHER_LETTER] = "OTHER_LETTER",
        [GATEWAY_AUDIT_SEES_NO_LETTER] = "NO_LETTER",
        [GATEWAY_AUDIT_SEES_STRAYS] = "STRAYS",
        [GATEWAY_AUDIT_SEES_NO_SOURCE] = "NO_SOURCE",
        [GATEWAY_AUDIT_SEES_OTHER_COUNT] = "OTHER_COUNT",
    };

    return evidence >= 1 && evidence < GATEWAY_AUDIT_EVIDENCE_COUNT ? names[evidence] : "";
}

uint32_t
gateway_audit_evident_state(gateway_audit_evidence evidence)
{
    switch (evidence) {
    case GATEWAY_AUDIT_SEES_READY:
    case GATEWAY_AUDIT_SEES_DAMAGED:
        return WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY;
    case GATEWAY_AUDIT_SEES_NEWER:
        return WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_SUPERSEDED;
    case GATEWAY_AUDIT_SEES_TOMBSTONE:
        return WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED;
    case GATEWAY_AUDIT_SEES_LETTER:
    case GATEWAY_AUDIT_SEES_OTHER_LETTER:
        return WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
    case GATEWAY_AUDIT_SEES_WORK:
        return WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PROCESSING;
    case GATEWAY_AUDIT_SEES_PROMISE:
    case GATEWAY_AUDIT_SEES_NOTHING:
    case GATEWAY_AUDIT_SEES_NO_LETTER:
    case GATEWAY_AUDIT_SEES_STRAYS:
    case GATEWAY_AUDIT_SEES_NO_SOURCE:
    case GATEWAY_AUDIT_SEES_OTHER_COUNT:
    case GATEWAY_AUDIT_EVIDENCE_COUNT:
        return 0;
    }
    return 0;
}

/* ---- evidence ---- */

static bool
is_live(gateway_audit_state state)
{
    return state == GATEWAY_AUDIT_PENDING || state == GATEWAY_AUDIT_PROCESSING;
}

/* What is of older revisions, or of none, is told apart by who still works on it. */
static gateway_audit_evidence
see_rest(const gateway_audit_revision *revision, const gateway_audit_register *seen, bool has_work)
{
    if (has_work || (is_live(revision->state) && seen->is_staged))
        return GATEWAY_AUDIT_SEES_WORK;
    return seen->promised_epoch >= revision->epoch && revision->epoch > 0
        ? GATEWAY_AUDIT_SEES_PROMISE
        : GATEWAY_AUDIT_SEES_NOTHING;
}

gateway_audit_evidence
gateway_audit_see(const gateway_audit_revision *revision, const gateway_audit_register *seen,
    bool has_work)
{
    /* Of a delete only the tombstone counts; of others a tombstone ends all else. */
    if (seen->deleted_below >= revision->revision)
        return GATEWAY_AUDIT_SEES_TOMBSTONE;
    if (seen->ready_revision == revision->revision)
        return seen->is_whole ? GATEWAY_AUDIT_SEES_READY : GATEWAY_AUDIT_SEES_DAMAGED;
    /* A newer one that is READY there and not yet here is judged by itself, and retires this one.
     */
    if (seen->ready_revision > revision->revision)
        return seen->ready_revision == revision->newest_ready ? GATEWAY_AUDIT_SEES_NEWER
                                                              : GATEWAY_AUDIT_SEES_WORK;
    return see_rest(revision, seen, has_work);
}
