/*
 * admission.h - whether new documents are taken: one pure rule for the core, the streams and
 * GetPressure.
 *
 * Unary calls are refused at a limit; streams are held a little below it, so that the room that is
 * left is for calls that cannot wait.  Threads: pure.
 */
#ifndef WEIR_GATEWAY_ADMISSION_H
#define WEIR_GATEWAY_ADMISSION_H

#include "common/base/error.h"

/* 0: no limit. */
typedef struct gateway_limits {
    uint64_t documents_max;
    uint64_t bytes_max;
    uint64_t age_max_ms;
} gateway_limits;

/* Revisions that are PENDING or PROCESSING. */
typedef struct gateway_load {
    uint64_t documents;
    uint64_t bytes;
    int64_t oldest_since_ms; /* wall time; 0: there is none */
    bool disk_low;
} gateway_load;

typedef enum gateway_admission {
    GATEWAY_ACCEPTING = 1,
    GATEWAY_THROTTLING, /* streams are held */
    GATEWAY_REJECTING,  /* unary calls are refused too */
} gateway_admission;

/* *ret_why: PRESSURE or DISK_LOW with a sentence; untouched when accepting. */
gateway_admission gateway_admit(const gateway_limits *limits, const gateway_load *load,
    int64_t now_ms, weir_error *ret_why);

#endif
