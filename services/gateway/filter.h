/*
 * filter.h - the part of the AIP-160 grammar that this version answers: comparisons joined by AND.
 *
 *   field = "value"      also '...' and bare words; !=, <, <=, >, >= where the field has an order
 *
 * Threads: pure.
 */
#ifndef WEIR_GATEWAY_FILTER_H
#define WEIR_GATEWAY_FILTER_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "weir/internal/v1/service.pb-c.h"

/* What is filtered: says which fields and comparisons are understood. */
typedef enum gateway_filter_of {
    GATEWAY_FILTER_DOCUMENTS = 1, /* document_id = */
    GATEWAY_FILTER_DEAD_LETTERS,
} gateway_filter_of;

enum { GATEWAY_FILTER_CONDITIONS_MAX = 32, GATEWAY_FILTER_BYTES_MAX = 4096 };

typedef struct gateway_filter {
    const char *document_id;                         /* the one that `=` names; NULL: any */
    Weir__Internal__V1__EndedCondition **conditions; /* all of them */
    size_t condition_count;
} gateway_filter;

/* Empty text and "*" match all.  FILTER_INVALID with the field "filter" and a sentence that says
 * where and what is understood. */
weir_code gateway_filter_parse(const char *text, gateway_filter_of of, weir_arena *arena,
    gateway_filter *ret_filter, weir_error *reterr) WEIR_MUST_CHECK;

#endif
