/*
 * rpc.c - ReconcilerService: reads only, on the worker pool; nothing here enters the core.
 */
#include "services/reconciler/rpc.h"

#include "services/reconciler/audit.h"
#include "services/reconciler/reads.h"

typedef Weir__Internal__V1__ListEndedDocumentsRequest list_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse list_response;
typedef Weir__Internal__V1__GetEndedDocumentRequest get_request;
typedef Weir__Internal__V1__GetEndedDocumentResponse get_response;
typedef Weir__Internal__V1__SummarizeEndedDocumentsRequest summary_request;
typedef Weir__Internal__V1__SummarizeEndedDocumentsResponse summary_response;
typedef Weir__Internal__V1__CountEndedDocumentsRequest count_request;
typedef Weir__Internal__V1__CountEndedDocumentsResponse count_response;
typedef Weir__Internal__V1__GetJournalRequest journal_request;
typedef Weir__Internal__V1__GetJournalResponse journal_response;

static weir_code
list_ended(reconciler *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return reconciler_list_ended(self->service->store, request, response, arena, reterr);
}
WEIR_RPC_UNARY(list_ended, reconciler, list_request, list_response,
    weir__internal__v1__list_ended_documents_response__init)

static weir_code
get_ended(reconciler *self, weir_rpc_call *call, const get_request *request, get_response *response,
    weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return reconciler_get_ended(self->service->store, request, response, arena, reterr);
}
WEIR_RPC_UNARY(get_ended, reconciler, get_request, get_response,
    weir__internal__v1__get_ended_document_response__init)

static weir_code
summarize_ended(reconciler *self, weir_rpc_call *call, const summary_request *request,
    summary_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return reconciler_summarize_ended(self->service->store, request, response, arena, reterr);
}
WEIR_RPC_UNARY(summarize_ended, reconciler, summary_request, summary_response,
    weir__internal__v1__summarize_ended_documents_response__init)

static weir_code
count_ended(reconciler *self, weir_rpc_call *call, const count_request *request,
    count_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    (void)arena;
    return reconciler_count_ended(self->service->store, request, response, reterr);
}
WEIR_RPC_UNARY(count_ended, reconciler, count_request, count_response,
    weir__internal__v1__count_ended_documents_response__init)

static weir_code
get_journal(reconciler *self, weir_rpc_call *call, const journal_request *request,
    journal_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return reconciler_get_journal(self->service->store, request, response, arena, reterr);
}
WEIR_RPC_UNARY(get_journal, reconciler, journal_request, journal_response,
    weir__internal__v1__get_journal_response__init)

static weir_code
audit_endings(reconciler *self, weir_rpc_call *call,
    const Weir__Internal__V1__AuditEndingsRequest *request,
    Weir__Internal__V1__AuditEndingsResponse *response, weir_arena *arena, weir_error *reterr)
{
    reconciler_published published;
    weir_stage_status status;
    const weir_code code = weir_service_stage_status(self->service, &status, reterr);

    (void)call;
    if (code != WEIR_OK)
        return code;
    reconciler_core_published(self->core, &published);
    response->era = status.era; /* both before the snapshot: later ones make the answer void */
    response->seeded_era = published.swept_era;
    return reconciler_audit_endings(self->service->store, request, response, arena, reterr);
}
WEIR_RPC_UNARY(audit_endings, reconciler, Weir__Internal__V1__AuditEndingsRequest,
    Weir__Internal__V1__AuditEndingsResponse, weir__internal__v1__audit_endings_response__init)

static const weir_rpc_handler handlers[] = {
    { .method = "ListEndedDocuments", .flags = WEIR_RPC_POOL, .request = list_ended_rpc },
    { .method = "GetEndedDocument", .flags = WEIR_RPC_POOL, .request = get_ended_rpc },
    { .method = "SummarizeEndedDocuments", .flags = WEIR_RPC_POOL, .request = summarize_ended_rpc },
    { .method = "CountEndedDocuments", .flags = WEIR_RPC_POOL, .request = count_ended_rpc },
    { .method = "AuditEndings", .flags = WEIR_RPC_POOL, .request = audit_endings_rpc },
    { .method = "GetJournal", .flags = WEIR_RPC_POOL, .request = get_journal_rpc },
};

const weir_service_api reconciler_unix_apis[] = {
    { &weir__internal__v1__reconciler_service__descriptor, handlers,
        sizeof handlers / sizeof handlers[0] },
    { 0 },
};
