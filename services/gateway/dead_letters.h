/*
 * dead_letters.h - what the RPCs of dead letters share: which ones a request means.
 *
 * Threads: a worker of the pool, which waits.
 */
#ifndef WEIR_GATEWAY_DEAD_LETTERS_H
#define WEIR_GATEWAY_DEAD_LETTERS_H

#include "services/gateway/filter.h"
#include "services/gateway/gateway.h"

enum { GATEWAY_DEAD_LETTERS_MAX = 1000, GATEWAY_RECONCILER_MS = 5000 };

/* Dead letters by a collection (empty: all) and a filter. */
typedef struct gateway_ended_wish {
    char *tenant;
    uint64_t collection_no; /* 0: all */
    gateway_filter filter;
} gateway_ended_wish;

/* COLLECTION_NOT_FOUND, FILTER_INVALID. */
weir_code gateway_wish_ended(gateway *self, weir_rpc_call *call, const char *collection_id,
    const char *filter_text, gateway_ended_wish *ret_wish, weir_error *reterr) WEIR_MUST_CHECK;

/* The reconciler lists a dead letter once it has heard that FAILED is durable here, some
 * milliseconds after a client may have seen it.  This waits for them, for a bounded time, so that
 * who saw FAILED finds the dead letter. */
weir_code gateway_let_endings_arrive(gateway *self, weir_rpc_call *call, uint64_t collection_no,
    weir_error *reterr) WEIR_MUST_CHECK;

/* A page of them, in the call's arena. */
weir_code gateway_ask_ended(gateway *self, weir_rpc_call *call, const gateway_ended_wish *wish,
    uint32_t page_size, weir_bytes after, bool by_key,
    Weir__Internal__V1__ListEndedDocumentsResponse **ret_page, weir_error *reterr) WEIR_MUST_CHECK;

/* Revisions FAILED of one collection, or of all of the tenant (collection_no 0). */
weir_code gateway_count_failed(gateway *self, const char *tenant, uint64_t collection_no,
    uint64_t *ret_failed, weir_error *reterr) WEIR_MUST_CHECK;

/* 1 to 2,048 bytes. */
weir_code gateway_check_dead_letter_id(const char *id, const char *field,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
