/*
 * failpoint.h - named places at which a test build crashes, fails or pauses on request.
 *
 * Only builds with -DWEIR_FAILPOINTS=ON have them (`make failpoints`); in any other each use is
 * nothing: no code, no name, no section.  Each use registers itself in the linker section
 * `weir_failpoints`, so that a program knows all of its own (`weir-gateway --list-failpoints`) and
 * the test of them (tests/failpoints) can prove that each was reached, crashed on and failed on.
 *
 * Armed by the environment:
 *
 *   WEIR_FAILPOINTS="a.b.before=crash,a.c.after=error@3,a.d.before=pause:200"
 *       at each start of a process; @N: at the Nth hit of it, else at the first
 *   WEIR_FAILPOINTS_DIR=DIR
 *       the table DIR/<program>, mapped and shared: whoever made it (one weir_failpoint_slot for
 *       each name) sees the hits, also those of processes that are dead, and arms by writing `at`
 *       and then `action`, without a restart.  A crash and an error without a chance disarm
 *       themselves.
 *
 *   crash   SIGKILL of the process itself, at once
 *   error   the surrounding code takes the way of its errors (WEIR_INJECTED)
 *   error:5%@SEED
 *           the same at each hit with that chance (0.0001 to 100 %, SEED is 1 if left out), for
 *           good; which hits fail follows from the name, the seed and the number of the hit, which
 *           goes on over restarts if there is a table
 *   pause   sleeps at each hit
 *
 * Threads: any.
 */
#ifndef WEIR_BASE_FAILPOINT_H
#define WEIR_BASE_FAILPOINT_H

#include <stddef.h>

#include "common/base/error.h"

#ifdef WEIR_FAILPOINTS

enum { WEIR_FAILPOINT_NAME_BYTES = 64 };

typedef enum weir_failpoint_action {
    WEIR_FAILPOINT_NONE = 0,
    WEIR_FAILPOINT_CRASH,
    WEIR_FAILPOINT_ERROR,
    WEIR_FAILPOINT_PAUSE,
    WEIR_FAILPOINT_CHANCE /* an error now and then */
} weir_failpoint_action;

/* One record of a table; shared with the test that arms it. */
typedef struct weir_failpoint_slot {
    char name[WEIR_FAILPOINT_NAME_BYTES]; /* with its NUL */
    uint32_t action;                      /* weir_failpoint_action */
    uint32_t amount; /* of a pause: milliseconds; of a chance: hits in a million */
    uint64_t at;     /* fires when `hits` has come to it; of a chance: the seed */
    uint64_t hits;   /* ever, by all processes that mapped the table */
    uint64_t fired;  /* crashes, errors and pauses */
} weir_failpoint_slot;

typedef struct weir_failpoint {
    const char *name;
    bool can_fail; /* else it crashes and pauses only */
    weir_failpoint_slot *slot;
} weir_failpoint;

/* True: the caller is to fail.  Does not return from a crash. */
bool weir_failpoint_hit(const weir_failpoint *site);
/* As weir_failpoint_hit: WEIR_INJECTED and *reterr, or WEIR_OK. */
weir_code weir_failpoint_code(const weir_failpoint *site, weir_error *reterr) WEIR_MUST_CHECK;
/* Print "name can_fail" of each if the arguments are just --list-failpoints; true if they were. */
bool weir_failpoints_listed(int argc, char **argv);

/* Pointers in the section: the compiler may pad the structs, but not these. */
#define WEIR_FP_SITE(site_, name_, can_fail_)                 \
    static weir_failpoint site_ = { name_, can_fail_, NULL }; \
    static weir_failpoint *site_##at __attribute__((section("weir_failpoints"), used)) = &site_

/* A statement: crash or pause here. */
#define WEIR_FP(name_)                          \
    do {                                        \
        WEIR_FP_SITE(failpoint_, name_, false); \
        (void)weir_failpoint_hit(&failpoint_);  \
    } while (0)

/* An expression: true where the code around it is to take the way of its errors. */
#define WEIR_FP_FAILS(name_)                   \
    (__extension__({                           \
        WEIR_FP_SITE(failpoint_, name_, true); \
        weir_failpoint_hit(&failpoint_);       \
    }))

/* An expression: WEIR_OK, or WEIR_INJECTED and *reterr_. */
#define WEIR_FP_CODE(name_, reterr_)                 \
    (__extension__({                                 \
        WEIR_FP_SITE(failpoint_, name_, true);       \
        weir_failpoint_code(&failpoint_, (reterr_)); \
    }))

/* A statement: may return WEIR_INJECTED from the function around it. */
#define WEIR_FP_RETURN(name_, reterr_)                                    \
    do {                                                                  \
        const weir_code failpoint_code_ = WEIR_FP_CODE(name_, (reterr_)); \
        if (failpoint_code_ != WEIR_OK)                                   \
            return failpoint_code_;                                       \
    } while (0)

#else

#define WEIR_FP(name_) ((void)0)
#define WEIR_FP_FAILS(name_) (false)
#define WEIR_FP_CODE(name_, reterr_) (WEIR_OK)
#define WEIR_FP_RETURN(name_, reterr_) ((void)0)
#define weir_failpoints_listed(argc_, argv_) (false)

#endif

#endif
