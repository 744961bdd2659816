/*
 * filter.h - the part of the AIP-160 grammar that this version answers: `field = "value"`, joined
 * by AND.
 *
 * Threads: pure.
 */
#ifndef WEIR_GATEWAY_FILTER_H
#define WEIR_GATEWAY_FILTER_H

#include "common/base/arena.h"
#include "common/base/error.h"

/* Which fields a caller understands; bits. */
enum { GATEWAY_FILTER_DOCUMENT_ID = 1, GATEWAY_FILTER_REASON = 2, GATEWAY_FILTER_STAGE = 4 };

typedef struct gateway_filter {
    const char *document_id; /* NULL: any */
    weir_code reason;        /* WEIR_OK: any */
    uint32_t stage;          /* weir.v1.Stage; 0: any */
} gateway_filter;

/* Empty text and "*" match all.  FILTER_INVALID with the field "filter" and a sentence that says
 * where and what is understood. */
weir_code gateway_filter_parse(const char *text, unsigned fields, weir_arena *arena,
    gateway_filter *ret_filter, weir_error *reterr) WEIR_MUST_CHECK;

#endif
