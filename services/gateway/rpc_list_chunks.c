/*
 * rpc_list_chunks.c - ListChunks: the indexer's chunks of a READY revision.
 *
 * A page begins at an ordinal; the token holds it with the revision, so that a page never mixes two
 * revisions.
 */
#include "services/gateway/check.h"
#include "services/gateway/peers.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__ListChunksRequest list_request;
typedef Weir__Internal__V1__ListIndexedChunksRequest indexed_request;
typedef Weir__Internal__V1__ListIndexedChunksResponse indexed_response;

enum { INDEXER_MS = 10000, PLACE_BYTES = 12 };

typedef struct chunks_flow {
    weir_rpc_call *call;
    const list_request *request;
    indexed_request wanted;
    weir_bytes scope;
} chunks_flow;

static Weir__V1__Chunk *
view_chunk(weir_arena *arena, const chunks_flow *flow, int64_t revision,
    const Weir__Internal__V1__Chunk *chunk)
{
    Weir__V1__Chunk *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__chunk__init(view);
    view->chunk_id = weir_arena_printf(arena, "%s@%lld#%u", flow->request->document_id,
        (long long)revision, chunk->ordinal);
    view->document_id = flow->request->document_id;
    view->revision = revision;
    view->ordinal = (int32_t)chunk->ordinal;
    view->text = chunk->text;
    view->start_byte = (int64_t)chunk->start_byte;
    view->end_byte = (int64_t)chunk->end_byte;
    view->token_count = (int32_t)chunk->token_count;
    view->n_heading_path = chunk->n_heading_path;
    view->heading_path = chunk->heading_path;
    return view;
}

static char *
next_token(weir_arena *arena, const chunks_flow *flow, int64_t revision, uint32_t ordinal)
{
    uint8_t place[PLACE_BYTES];

    weir_store_u64(place, (uint64_t)revision);
    weir_store_u32(place + 8, ordinal);
    return gateway_page_next(arena, flow->scope, weir_bytes_of(place, sizeof place));
}

static void
indexer_answered(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    chunks_flow *flow = context;
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    const indexed_response *indexed = (const indexed_response *)(const void *)message;
    Weir__V1__ListChunksResponse response = WEIR__V1__LIST_CHUNKS_RESPONSE__INIT;
    weir_error own;

    if (error->code != WEIR_OK) {
        gateway_peer_error(WEIR_SERVICE_INDEXER, error, &own);
        weir_rpc_fail(flow->call, &own);
        return;
    }
    response.chunks = weir_arena_alloc(arena, (indexed->n_chunks + 1) * sizeof *response.chunks);
    for (size_t i = 0; i < indexed->n_chunks; i++)
        response.chunks[response.n_chunks++] =
            view_chunk(arena, flow, indexed->revision, indexed->chunks[i]);
    if (indexed->n_chunks > 0) {
        const uint32_t next = indexed->chunks[indexed->n_chunks - 1]->ordinal + 1;

        if (next < indexed->chunk_count)
            response.next_page_token = next_token(arena, flow, indexed->revision, next);
    }
    weir_rpc_reply(flow->call, &response.base);
}

static weir_bytes
scope_of(weir_arena *arena, const list_request *request)
{
    list_request arguments = *request;

    arguments.page_size = 0;
    arguments.page_token = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&arguments.base);
    return weir_bytes_of(weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes), sizeof sum.bytes);
}

/* Where to begin, by the arguments and the page token. */
static weir_code
check(chunks_flow *flow, weir_arena *arena, weir_error *reterr)
{
    const list_request *request = flow->request;
    weir_bytes place;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, reterr);
    if (code == WEIR_OK)
        code = gateway_check_page_size(request->page_size, &flow->wanted.limit, reterr);
    flow->scope = scope_of(arena, request);
    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, flow->scope, &place, reterr);
    if (code != WEIR_OK)
        return code;
    flow->wanted.revision = request->revision;
    if (place.size == PLACE_BYTES) {
        flow->wanted.revision = (int64_t)weir_load_u64(place.data);
        flow->wanted.from_ordinal = weir_load_u32(place.data + 8);
    }
    return WEIR_OK;
}

/* A document that was never seen is NOT_FOUND; one that is not READY has no chunks. */
static weir_code
find(gateway *self, chunks_flow *flow, weir_arena *arena, weir_error *reterr)
{
    gateway_found found;
    gateway_look look;

    gateway_look_begin(&look, self->service->store, arena);
    const weir_code code =
        gateway_look_find(&look, gateway_tenant(flow->call), flow->request->collection_id,
            flow->request->document_id, flow->request->revision, &found, reterr);
    gateway_look_end(&look);
    if (code == WEIR_OK)
        flow->wanted.collection_no = found.collection->collection_no;
    return code;
}

static void
list_chunks(gateway *self, weir_rpc_call *call, const list_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    chunks_flow *flow = weir_arena_alloc_zero(arena, sizeof *flow);
    weir_error error = { .code = WEIR_OK };

    flow->call = call;
    flow->request = request;
    weir__internal__v1__list_indexed_chunks_request__init(&flow->wanted);
    if (check(flow, arena, &error) != WEIR_OK || find(self, flow, arena, &error) != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    flow->wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    flow->wanted.document_id = request->document_id;
    const gateway_patience patience = { gateway_time_left(call, INDEXER_MS), GATEWAY_AWAY_MS };
    gateway_peer_start(self->indexer, "ListIndexedChunks", &flow->wanted.base, patience,
        indexer_answered, flow);
}

GATEWAY_REQUEST(list_chunks, list_request)
