/*
 * reads.h - what others may see of the reconciler: dead letters and journals, each answer from one
 * version of the store.
 *
 * Threads: any; nothing here enters the core.
 */
#ifndef WEIR_RECONCILER_READS_H
#define WEIR_RECONCILER_READS_H

#include "common/base/arena.h"
#include "common/store/store.h"
#include "weir/internal/v1/service.pb-c.h"

/* A page of a tenant's dead letters, the newest failure first or in key order.  It is full, or
 * holds about 3 MiB, or a bounded number of records was looked at: so a page of a filtered list may
 * be short, even empty, and the list goes on as long as `next` is not empty.  INVALID_ARGUMENT for
 * the size of a page. */
weir_code reconciler_list_ended(weir_store *store,
    const Weir__Internal__V1__ListEndedDocumentsRequest *request,
    Weir__Internal__V1__ListEndedDocumentsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* DEAD_LETTER_NOT_FOUND for every id that is not exactly one of the tenant's. */
weir_code reconciler_get_ended(weir_store *store,
    const Weir__Internal__V1__GetEndedDocumentRequest *request,
    Weir__Internal__V1__GetEndedDocumentResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* The groups of a bounded number of them; the summary goes on as long as `next` is not empty. */
weir_code reconciler_summarize_ended(weir_store *store,
    const Weir__Internal__V1__SummarizeEndedDocumentsRequest *request,
    Weir__Internal__V1__SummarizeEndedDocumentsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_count_ended(weir_store *store,
    const Weir__Internal__V1__CountEndedDocumentsRequest *request,
    Weir__Internal__V1__CountEndedDocumentsResponse *response, weir_error *reterr) WEIR_MUST_CHECK;

/* The last 64 events of a document, oldest first; none for another tenant's. */
weir_code reconciler_get_journal(weir_store *store,
    const Weir__Internal__V1__GetJournalRequest *request,
    Weir__Internal__V1__GetJournalResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
