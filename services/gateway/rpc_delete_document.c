/*
 * rpc_delete_document.c - DeleteDocument and RetryDocument: one step of the core each.
 *
 * A delete is answered when the indexer has confirmed that nothing older can be seen; until then
 * the call waits.
 */
#include "services/gateway/check.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__DeleteDocumentRequest delete_request;
typedef Weir__V1__RetryDocumentRequest retry_request;

enum { DELETE_WAIT_MS = 30000 };

static void
keep_sum(weir_arena *arena, const weir_sha256_sum *sum, ProtobufCBinaryData *ret_data)
{
    ret_data->data = weir_arena_memdup(arena, sum->bytes, sizeof sum->bytes);
    ret_data->len = sizeof sum->bytes;
}

static weir_code
check(const char *collection_id, const char *document_id, const char *request_id,
    weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(document_id, "document_id", reterr);
    return code == WEIR_OK ? gateway_check_request_id(request_id, reterr) : code;
}

static void
delete_document(gateway *self, weir_rpc_call *call, const delete_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    Weir__Internal__V1__DeleteCommand *command = weir_arena_alloc(arena, sizeof *command);
    delete_request payload = *request;
    weir_error error = { .code = WEIR_OK };

    if (check(request->collection_id, request->document_id, request->request_id, &error) !=
        WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    payload.request_id = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&payload.base);
    weir__internal__v1__delete_command__init(command);
    command->request = (delete_request *)(uintptr_t)request;
    command->wait_until_ms = gateway_wait_until(call, DELETE_WAIT_MS);
    keep_sum(arena, &sum, &command->payload_sha256);
    gateway_submit(self, call, GATEWAY_DELETE, &command->base);
}

GATEWAY_REQUEST(delete_document, delete_request)

static void
retry_document(gateway *self, weir_rpc_call *call, const retry_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    Weir__Internal__V1__RetryCommand *command = weir_arena_alloc(arena, sizeof *command);
    retry_request payload = *request;
    weir_error error = { .code = WEIR_OK };
    weir_code code =
        check(request->collection_id, request->document_id, request->request_id, &error);

    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, &error);
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    payload.request_id = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&payload.base);
    weir__internal__v1__retry_command__init(command);
    command->request = (retry_request *)(uintptr_t)request;
    keep_sum(arena, &sum, &command->payload_sha256);
    gateway_submit(self, call, GATEWAY_RETRY, &command->base);
}

GATEWAY_REQUEST(retry_document, retry_request)
