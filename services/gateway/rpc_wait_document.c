/*
 * rpc_wait_document.c - WaitDocument and WaitCollection: a command that the core answers when it is
 * time.
 */
#include "services/gateway/check.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/views.h"

typedef Weir__V1__WaitDocumentRequest wait_request;
typedef Weir__V1__WaitCollectionRequest collection_request;

enum { WAIT_DEFAULT_MS = 30000 };

static void
wait_document(gateway *self, weir_rpc_call *call, const wait_request *request)
{
    Weir__Internal__V1__WaitCommand *command =
        weir_arena_alloc(weir_rpc_call_arena(call), sizeof *command);
    weir_error error = { .code = WEIR_OK };
    int64_t wait_ms = 0;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", &error);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", &error);
    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, &error);
    if (code == WEIR_OK)
        code = gateway_check_duration(request->timeout, "timeout", WAIT_DEFAULT_MS,
            self->config->gateway.wait_max_ms, &wait_ms, &error);
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    weir__internal__v1__wait_command__init(command);
    command->collection_id = request->collection_id;
    command->document_id = request->document_id;
    command->revision = request->revision;
    command->wait_until_ms = gateway_wait_until(call, wait_ms);
    gateway_submit(self, call, GATEWAY_WAIT, &command->base);
}

GATEWAY_REQUEST(wait_document, wait_request)

static weir_code
name_write(weir_arena *arena, const char *token, Weir__Internal__V1__WaitCollectionCommand *command,
    weir_error *reterr)
{
    gateway_write write;

    if (token[0] == 0)
        return WEIR_OK;
    if (!gateway_consistency_decode(arena, token, &write))
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "consistency_token",
            "consistency_token is not one that this server gave out");
    command->document_id = (char *)(uintptr_t)write.document_id;
    command->revision = write.revision;
    return WEIR_OK;
}

static void
wait_collection(gateway *self, weir_rpc_call *call, const collection_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    Weir__Internal__V1__WaitCollectionCommand *command = weir_arena_alloc(arena, sizeof *command);
    weir_error error = { .code = WEIR_OK };
    int64_t wait_ms = 0;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", &error);

    weir__internal__v1__wait_collection_command__init(command);
    if (code == WEIR_OK)
        code = gateway_check_duration(request->timeout, "timeout", WAIT_DEFAULT_MS,
            self->config->gateway.wait_max_ms, &wait_ms, &error);
    if (code == WEIR_OK)
        code = name_write(arena, request->consistency_token, command, &error);
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    command->collection_id = request->collection_id;
    command->wait_until_ms = gateway_wait_until(call, wait_ms);
    gateway_submit(self, call, GATEWAY_WAIT_COLLECTION, &command->base);
}

GATEWAY_REQUEST(wait_collection, collection_request)
