/*
 * mutant.h - rules broken on purpose, one at a time, for the test that must find each of them.
 *
 * What ships is compiled without WEIR_LINK_MUTANTS: every LINK_MUTANT is the constant false and
 * nothing of this remains.  tests/unit/link/adversary_test.c compiles the link's sources a second
 * time with it.
 */
#ifndef WEIR_LINK_MUTANT_H
#define WEIR_LINK_MUTANT_H

#include <stdbool.h>

/* Name, and what is wrong.  The first twelve are those of tests/model/link.pml. */
#define LINK_MUTANT_MAP(X)                                                                  \
    X(ACK_BEFORE_COMMIT, "B acks what it has received, settled or not")                     \
    X(NO_ECHO, "A takes acks of other boots and databases")                                 \
    X(NO_FIRST, "B does not look at `first`: a rolled-back A passes")                       \
    X(CURSOR_APART, "the cursor is not in the batch of the effects")                        \
    X(RESET_KEEPS_CURSOR, "RESET does not move B's cursor")                                 \
    X(SEQ_REUSE, "rows leave before their commit")                                          \
    X(BOOT_FROM_VOLUME, "boot is only a counter in the database")                           \
    X(FIRST_OF_LAST_START, "B looks at the `first` of this start only")                     \
    X(ROWS_BEFORE_ANSWER, "rows leave before B has answered the HELLO")                     \
    X(RESET_TWICE, "RESET is not tied to an era")                                           \
    X(NO_SELF_JUDGEMENT,                                                                    \
        "A takes the answer of a receiver that has rows of a lost start for a late one")    \
    X(LATE_ANSWER, "A compares the cursor with its present acked, not with the echoed one") \
    X(RESET_IN_FLIGHT, "B applies a RESET while rows of before are in flight")              \
    X(TRIM_APART, "rows are deleted before `acked` is written")                             \
    X(ACKED_UNTRIMMED, "A's record says acked for rows that still exist or are gone by it") \
    X(ANSWER_BEFORE_COMMIT, "B answers before the boot that it saw is on disk")             \
    X(CRC_IGNORED, "B takes damaged rows")                                                  \
    X(GAP_TAKEN, "B takes rows behind a gap")

typedef enum link_mutant {
    LINK_MUTANT_NONE = 0,
#define LINK_MUTANT_ENUM(name_, text_) LINK_MUTANT_##name_,
    LINK_MUTANT_MAP(LINK_MUTANT_ENUM)
#undef LINK_MUTANT_ENUM
        LINK_MUTANT_COUNT
} link_mutant;

#ifdef WEIR_LINK_MUTANTS
extern link_mutant weir_link_mutant;
#define LINK_MUTANT(name_) (weir_link_mutant == LINK_MUTANT_##name_)
#else
#define LINK_MUTANT(name_) false
#endif

#endif
