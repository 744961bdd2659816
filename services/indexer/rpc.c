/*
 * rpc.c - IndexerService: reads only, on the worker pool; nothing here enters the core.
 */
#include "services/indexer/rpc.h"

#include <errno.h>

typedef Weir__Internal__V1__SearchVectorsRequest search_request;
typedef Weir__Internal__V1__SearchVectorsResponse search_response;
typedef Weir__Internal__V1__GetIndexedDocumentRequest get_request;
typedef Weir__Internal__V1__GetIndexedDocumentResponse get_response;
typedef Weir__Internal__V1__ListIndexedChunksRequest list_request;
typedef Weir__Internal__V1__ListIndexedChunksResponse list_response;
typedef Weir__Internal__V1__VerifyIndexRequest verify_request;
typedef Weir__Internal__V1__VerifyIndexResponse verify_response;

static weir_code
search_vectors(indexer *self, weir_rpc_call *call, const search_request *request,
    search_response *response, weir_arena *arena, weir_error *reterr)
{
    while (sem_wait(&self->searches) != 0 && errno == EINTR)
        continue;
    /* Whoever waited longer than the client does not work for nobody. */
    const weir_code code = weir_rpc_is_cancelled(call)
        ? weir_error_set(reterr, WEIR_CANCELLED, "the client went away")
        : indexer_search(self->core, request, response, arena, reterr);
    sem_post(&self->searches);
    return code;
}
WEIR_RPC_UNARY(search_vectors, indexer, search_request, search_response,
    weir__internal__v1__search_vectors_response__init)

static weir_code
get_indexed_document(indexer *self, weir_rpc_call *call, const get_request *request,
    get_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return indexer_get_document(self->core, request, response, arena, reterr);
}
WEIR_RPC_UNARY(get_indexed_document, indexer, get_request, get_response,
    weir__internal__v1__get_indexed_document_response__init)

static weir_code
list_indexed_chunks(indexer *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return indexer_list_chunks(self->core, request, response, arena, reterr);
}
WEIR_RPC_UNARY(list_indexed_chunks, indexer, list_request, list_response,
    weir__internal__v1__list_indexed_chunks_response__init)

static weir_code
verify_index(indexer *self, weir_rpc_call *call, const verify_request *request,
    verify_response *response, weir_arena *arena, weir_error *reterr)
{
    (void)call;
    return indexer_verify(self->core, request, response, arena, reterr);
}
WEIR_RPC_UNARY(verify_index, indexer, verify_request, verify_response,
    weir__internal__v1__verify_index_response__init)

static weir_code
audit_documents(indexer *self, weir_rpc_call *call,
    const Weir__Internal__V1__AuditDocumentsRequest *request,
    Weir__Internal__V1__AuditDocumentsResponse *response, weir_arena *arena, weir_error *reterr)
{
    weir_stage_status status;
    weir_code code = weir_service_stage_status(self->service, &status, reterr);

    (void)call;
    response->era = status.era; /* before the snapshot: a later one makes the answer void */
    if (code == WEIR_OK)
        code = indexer_audit_documents(self->core, request, response, arena, reterr);
    return code;
}
WEIR_RPC_UNARY(audit_documents, indexer, Weir__Internal__V1__AuditDocumentsRequest,
    Weir__Internal__V1__AuditDocumentsResponse, weir__internal__v1__audit_documents_response__init)

static weir_code
list_indexed_documents(indexer *self, weir_rpc_call *call,
    const Weir__Internal__V1__ListIndexedDocumentsRequest *request,
    Weir__Internal__V1__ListIndexedDocumentsResponse *response, weir_arena *arena,
    weir_error *reterr)
{
    (void)call;
    return indexer_list_documents(self->core, request, response, arena, reterr);
}
WEIR_RPC_UNARY(list_indexed_documents, indexer, Weir__Internal__V1__ListIndexedDocumentsRequest,
    Weir__Internal__V1__ListIndexedDocumentsResponse,
    weir__internal__v1__list_indexed_documents_response__init)

static const weir_rpc_handler handlers[] = {
    { .method = "SearchVectors", .flags = WEIR_RPC_POOL, .request = search_vectors_rpc },
    { .method = "GetIndexedDocument", .flags = WEIR_RPC_POOL, .request = get_indexed_document_rpc },
    { .method = "ListIndexedChunks", .flags = WEIR_RPC_POOL, .request = list_indexed_chunks_rpc },
    { .method = "AuditDocuments", .flags = WEIR_RPC_POOL, .request = audit_documents_rpc },
    { .method = "ListIndexedDocuments",
        .flags = WEIR_RPC_POOL,
        .request = list_indexed_documents_rpc },
    { .method = "VerifyIndex", .flags = WEIR_RPC_POOL, .request = verify_index_rpc },
};

const weir_service_api indexer_unix_apis[] = {
    { &weir__internal__v1__indexer_service__descriptor, handlers,
        sizeof handlers / sizeof handlers[0] },
    { 0 },
};
