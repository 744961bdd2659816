/*
 * rpc_create_collection.c - CreateCollection: defaults from the model, then one step of the core.
 */
#include <stdio.h>

#include "services/gateway/check.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__CreateCollectionRequest create_request;
typedef Weir__Internal__V1__CreateCollectionCommand create_command;

/* The model's name in errors of this method. */
static weir_code
in_field(weir_code code, const char *field, weir_error *reterr)
{
    snprintf(reterr->field, sizeof reterr->field, "%s", field);
    return code;
}

static weir_code
fill_chunking(const weir_model *model, weir_arena *arena, Weir__V1__Collection *wanted,
    weir_error *reterr)
{
    Weir__V1__Chunking *chunking = weir_arena_alloc(arena, sizeof *chunking);
    uint32_t max_tokens = wanted->chunking != NULL ? (uint32_t)wanted->chunking->max_tokens : 0;
    uint32_t overlap_tokens =
        wanted->chunking != NULL ? (uint32_t)wanted->chunking->overlap_tokens : 0;
    const weir_code code = weir_model_chunking(model, &max_tokens, &overlap_tokens, reterr);

    if (code != WEIR_OK)
        return code;
    weir__v1__chunking__init(chunking);
    chunking->max_tokens = (int32_t)max_tokens;
    chunking->overlap_tokens = (int32_t)overlap_tokens;
    wanted->chunking = chunking;
    return WEIR_OK;
}

/* What was left out, filled in; what the core needs beside. */
static weir_code
complete(gateway *self, weir_arena *arena, Weir__V1__Collection *wanted, create_command *command,
    weir_error *reterr)
{
    weir_model model;
    const char *name =
        wanted->embedding_model[0] != 0 ? wanted->embedding_model : self->default_model.name;
    weir_code code = gateway_find_model(self, name, &model, reterr);

    if (code != WEIR_OK)
        return in_field(code, "collection.embedding_model", reterr);
    if (wanted->dimension != 0 && (uint32_t)wanted->dimension != model.dimension)
        return weir_error_set_field(reterr, WEIR_DIMENSION_MISMATCH, "collection.dimension",
            "%s makes vectors of %u numbers, not of %d; leave dimension out", model.name,
            model.dimension, wanted->dimension);
    code = fill_chunking(&model, arena, wanted, reterr);
    if (code != WEIR_OK)
        return code;
    wanted->embedding_model = weir_arena_strdup(arena, model.name);
    wanted->dimension = (int32_t)model.dimension;
    if (wanted->default_mode == WEIR__V1__SEARCH_MODE__SEARCH_MODE_UNSPECIFIED)
        wanted->default_mode = WEIR__V1__SEARCH_MODE__SEARCH_MODE_VECTOR;
    command->fingerprint = weir_arena_strdup(arena, model.fingerprint);
    return WEIR_OK;
}

static void
hash_payload(weir_arena *arena, create_request *request, create_command *command)
{
    char *request_id = request->request_id;

    request->request_id = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&request->base);
    request->request_id = request_id;
    command->payload_sha256.data = weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes);
    command->payload_sha256.len = sizeof sum.bytes;
}

static void
create_collection(gateway *self, weir_rpc_call *call, const create_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    create_request *copy = weir_arena_memdup(arena, request, sizeof *request);
    create_command *command = weir_arena_alloc(arena, sizeof *command);
    weir_error error = { .code = WEIR_OK };
    weir_code code = gateway_check_create_collection(request, &error);

    weir__internal__v1__create_collection_command__init(command);
    if (code == WEIR_OK) {
        hash_payload(arena, copy, command);
        copy->collection =
            weir_arena_memdup(arena, request->collection, sizeof *request->collection);
        code = complete(self, arena, copy->collection, command, &error);
    }
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    command->request = copy;
    gateway_submit(self, call, GATEWAY_CREATE_COLLECTION, &command->base);
}

GATEWAY_REQUEST(create_collection, create_request)
