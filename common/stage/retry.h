/*
 * retry.h - what a failure of each class costs, when the next try is, and what ends the trying.
 *
 * One table (retry.c, printed in PROTOCOLS.md) decides it for all stages; work.c, the embedder's
 * breaker, the journal's readers and the metrics ask it and decide nothing themselves.  Pure: the
 * caller supplies counts, times and randomness.
 */
#ifndef WEIR_STAGE_RETRY_H
#define WEIR_STAGE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "weir/v1/document.pb-c.h"

/* A stage's settings. */
typedef struct weir_work_policy {
    uint32_t attempts_max;       /* 5 */
    uint32_t crashes_max;        /* 3 */
    uint32_t backoff_base_ms;    /* 500 */
    uint32_t backoff_max_ms;     /* 60,000 */
    uint32_t defer_after_ms;     /* 2,000: patience at the head of the window */
    uint32_t in_flight_max;      /* jobs at once; further rows wait in memory */
    uint64_t deferred_bytes_max; /* of rows in the database; 0: 1 GiB */
    uint32_t crash_watch_ms;     /* 5,000: shortest watch before a crash is counted; 0: none */
} weir_work_policy;

typedef enum weir_retry_cost {
    WEIR_RETRY_COSTS_NOTHING = 0, /* waiting is not an attempt */
    WEIR_RETRY_COSTS_ATTEMPT,
    WEIR_RETRY_COSTS_CRASH
} weir_retry_cost;

typedef enum weir_retry_growth {
    WEIR_RETRY_AT_NO_TIME = 0, /* there is no wait by the clock */
    WEIR_RETRY_BY_ATTEMPTS,    /* the ceiling doubles with each attempt */
    WEIR_RETRY_BY_AGE          /* it is as high as the wait is old */
} weir_retry_growth;

typedef enum weir_retry_end {
    WEIR_RETRY_ENDS_NEVER = 0,
    WEIR_RETRY_ENDS_AT_ATTEMPTS_MAX,
    WEIR_RETRY_ENDS_AT_CRASHES_MAX,
    WEIR_RETRY_ENDS_AT_ONCE
} weir_retry_end;

typedef struct weir_retry_rule {
    weir_retry_cost cost;
    weir_retry_growth grows; /* from backoff_base_ms to backoff_max_ms, with full jitter */
    bool heeds_cause;        /* a time that the cause asks for (retry_after_ms) is the wait */
    uint32_t pause_factor;   /* 0: the document waits alone; else who was asked is left alone by
                                all, at first for up to so many times backoff_base_ms */
    weir_retry_end end;
    bool may_help;                     /* a new run of the same bytes may succeed */
    Weir__V1__DocumentEventType event; /* what ListDocumentEvents calls it */
    const char *log_event;             /* of the line in the log, while the document goes on */
} weir_retry_rule;

/* Never NULL; static.  A class outside the enum is a bug. */
const weir_retry_rule *weir_retry_rule_of(weir_class class);
/* The same by the code of a failure. */
const weir_retry_rule *weir_retry_rule_for(weir_code code);
/* It waits for others, at no cost and without an end: throttled, outage. */
bool weir_retry_waits(weir_code code);
/* With so many attempts and crashes behind it, this failure included, nothing is tried again. */
bool weir_retry_is_over(const weir_retry_rule *rule, const weir_work_policy *policy,
    uint32_t attempts, uint32_t crashes);
/* Milliseconds until the next try, 1 to backoff_max_ms: `attempts` as above (BY_ATTEMPTS: 1 or
 * more), waited_ms since the first wait of the document, retry_after_ms of the failure (0: none).
 * For rules that have a wait. */
uint32_t weir_retry_wait_ms(const weir_retry_rule *rule, const weir_work_policy *policy,
    uint32_t attempts, int64_t waited_ms, uint32_t retry_after_ms, uint64_t random);
/* How long who was asked is left alone after `failures` earlier ones in a row, 1 to backoff_max_ms.
 * For rules that pause. */
uint32_t weir_retry_pause_ms(const weir_retry_rule *rule, const weir_work_policy *policy,
    uint32_t failures, uint32_t retry_after_ms, uint64_t random);

#endif
