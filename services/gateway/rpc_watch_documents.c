/*
 * rpc_watch_documents.c - WatchDocuments: where to begin; the thread of watch.c does the rest.
 */
#include "services/gateway/check.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/watch.h"

typedef Weir__V1__WatchDocumentsRequest watch_request;

enum { DOCUMENTS_MAX = 1000 };

static weir_code
check(const watch_request *request, weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK && request->n_document_ids > DOCUMENTS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "document_ids",
            "document_ids holds %zu ids and 1,000 is the most", request->n_document_ids);
    for (size_t i = 0; i < request->n_document_ids && code == WEIR_OK; i++)
        code = gateway_check_document_id(request->document_ids[i], "document_ids", reterr);
    return code;
}

/* After the event of the token; without one, after the newest change. */
static weir_code
find_start(gateway *self, const watch_request *request, weir_arena *arena, gateway_watch_wish *wish,
    weir_error *reterr)
{
    gateway_published published;

    gateway_core_published(self->core, &published);
    wish->after_change_no = published.change_no;
    wish->wants_states = request->resume_token[0] == 0;
    return wish->wants_states ? WEIR_OK
                              : gateway_watch_read_token(self, arena, request->resume_token,
                                    &wish->after_change_no, reterr);
}

static weir_code
find_collection(gateway *self, weir_rpc_call *call, const watch_request *request,
    gateway_watch_wish *wish, weir_error *reterr)
{
    collection_record *collection = NULL;
    gateway_look look;

    gateway_look_begin(&look, self->service->store, weir_rpc_call_arena(call));
    const weir_code code = gateway_look_collection(&look, gateway_tenant(call),
        request->collection_id, &collection, reterr);
    gateway_look_end(&look);
    if (code == WEIR_OK)
        wish->collection_no = collection->collection_no;
    return code;
}

static void
watch_documents(gateway *self, weir_rpc_call *call, const watch_request *request)
{
    gateway_watch_wish wish = { .collection_id = request->collection_id,
        .document_ids = request->document_ids,
        .document_count = request->n_document_ids };
    weir_error error = { .code = WEIR_OK };
    weir_code code = check(request, &error);

    if (code == WEIR_OK)
        code = find_collection(self, call, request, &wish, &error);
    if (code == WEIR_OK)
        code = find_start(self, request, weir_rpc_call_arena(call), &wish, &error);
    if (code == WEIR_OK) {
        /* What changes from here on is sent: the client may act on that before anything does. */
        weir_rpc_send_headers(call);
        code = gateway_watch_begin(self, call, &wish, &error);
    }
    if (code != WEIR_OK)
        weir_rpc_fail(call, &error);
}

GATEWAY_REQUEST(watch_documents, watch_request)
