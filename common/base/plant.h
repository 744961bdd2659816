/*
 * plant.h - rules of the cores broken on purpose, one at a time, for the simulator that must find
 * each of them.
 *
 * What ships is compiled without WEIR_PLANTS: every WEIR_PLANT is the constant false and nothing of
 * this remains (a test looks).  tests/sim compiles the cores a second time with it.  The rules of
 * the links are in common/link/mutant.h.
 */
#ifndef WEIR_BASE_PLANT_H
#define WEIR_BASE_PLANT_H

#include <stdbool.h>

/* Name, and what is wrong. */
#define WEIR_PLANT_MAP(X)                                                                   \
    X(UNSYNCED_COMMIT, "a round leaves before it is on disk")                               \
    X(REPLY_BEFORE_COMMIT, "clients are answered before the commit")                        \
    X(NO_EPOCH_FENCE, "an epoch that was revoked may become READY")                         \
    X(DELETE_WITHOUT_FENCE, "a revision below a tombstone may become READY")                \
    X(READY_INCOMPLETE, "READY with the last row of chunks, whatever is missing before it") \
    X(EPOCHS_MIXED, "chunks of two epochs count as those of one")                           \
    X(REVOKE_FORGOTTEN, "a revoke is answered and not written down")                        \
    X(NO_GATE, "the indexer decides and answers before its links were found clean")         \
    X(NO_TOMBSTONE_SEEDS, "a new indexer is not told of deletes")                           \
    X(NO_REDRIVE, "what was under way at a loss is not driven again")                       \
    X(REDRIVE_FAILED, "a loss drives FAILED revisions again")                               \
    X(GIVE_UP_WITHOUT_COMPARE, "a giving up of an earlier epoch counts")                    \
    X(RETRY_WITHOUT_COMPARE, "a retry raises a revision in any state")                      \
    X(REQUEST_ID_FORGOTTEN, "a request that comes again is done again")                     \
    X(ATTEMPT_NOT_COUNTED, "a deferred attempt is not counted before its work")             \
    X(DELETE_ANSWERED_EARLY, "a delete is answered before the indexer has confirmed it")    \
    X(FINAL_WITHOUT_EVENT, "a refused revoke does not tell the gateway of the READY again")

typedef enum weir_plant {
    WEIR_PLANT_NONE = 0,
#define WEIR_PLANT_ENUM(name_, text_) WEIR_PLANT_##name_,
    WEIR_PLANT_MAP(WEIR_PLANT_ENUM)
#undef WEIR_PLANT_ENUM
        WEIR_PLANT_COUNT
} weir_plant;

#ifdef WEIR_PLANTS
extern weir_plant weir_plant_on;
#define WEIR_PLANT(name_) (weir_plant_on == WEIR_PLANT_##name_)
#else
#define WEIR_PLANT(name_) false
#endif

#endif
