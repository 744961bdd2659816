/*
 * rpc_search.c - Search by vector: wait for the caller's own write, embed the text, ask the
 * indexer.
 *
 * No thread waits: each step goes on where the answer before it arrives.  The time is the call's
 * deadline, or gateway.query_timeout_ms without one.
 *
 * After the loss of the indexer's volume the new one answers from what has come back so far.  Until
 * all of the collection is back, that is refused as INDEX_REBUILDING, or told as not complete.
 */
#include <stdlib.h>

#include "common/base/clock.h"
#include "services/gateway/check.h"
#include "services/gateway/filter.h"
#include "services/gateway/peers.h"
#include "services/gateway/queries.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__SearchRequest search_request;
typedef Weir__V1__SearchResponse search_response;
typedef Weir__Internal__V1__SearchVectorsResponse indexed_response;
typedef Weir__Internal__V1__EmbedResponse embed_response;

enum { TOP_K_DEFAULT = 10, WRITE_SHARE_PERCENT = 75, REBUILD_RETRY_MS = 1000 };

typedef struct search_flow {
    gateway *self;
    weir_rpc_call *call;
    const search_request *request;
    collection_record *collection;
    gateway_filter filter;
    int64_t begun_us;
    int64_t until_ms; /* monotonic */
    bool consistency_satisfied;
    uint64_t era;       /* when the indexer was asked */
    bool is_rebuilding; /* then */
    Weir__Internal__V1__WaitCommand wait;
    weir_buffer vector; /* little-endian fp32 */
} search_flow;

static int64_t
left_ms(const search_flow *flow)
{
    return flow->until_ms - weir_clock_mono_ms();
}

static void
fail(search_flow *flow, const weir_error *error)
{
    weir_buffer_fini(&flow->vector);
    weir_rpc_fail(flow->call, error);
}

static void
fail_for_peer(search_flow *flow, weir_service_id peer, const weir_error *error)
{
    weir_error own;

    if (error->code == WEIR_TIMEOUT && left_ms(flow) <= 0)
        weir_error_set(&own, WEIR_TIMEOUT,
            "the time for this search was over before the %s answered", weir_service_name(peer));
    else
        gateway_peer_error(peer, error, &own);
    fail(flow, &own);
}

/* ---- the answer ---- */

static void
view_metadata(weir_arena *arena, const Weir__Internal__V1__IndexHit *hit, Weir__V1__Hit *view)
{
    view->metadata = weir_arena_alloc(arena, (hit->n_metadata + 1) * sizeof(view->metadata[0]));
    for (size_t i = 0; i < hit->n_metadata; i++) {
        Weir__V1__Hit__MetadataEntry *entry = weir_arena_alloc(arena, sizeof *entry);

        weir__v1__hit__metadata_entry__init(entry);
        entry->key = hit->metadata[i]->key;
        entry->value = hit->metadata[i]->value;
        view->metadata[view->n_metadata++] = entry;
    }
}

static Weir__V1__Hit *
view_hit(weir_arena *arena, const Weir__Internal__V1__IndexHit *hit, size_t rank)
{
    Weir__V1__Hit *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__hit__init(view);
    view->chunk_id = weir_arena_printf(arena, "%s@%lld#%u", hit->document_id,
        (long long)hit->revision, hit->ordinal);
    view->document_id = hit->document_id;
    view->revision = hit->revision;
    view->ordinal = (int32_t)hit->ordinal;
    view->score = hit->score;
    view->text = hit->text;
    view->start_byte = (int64_t)hit->start_byte;
    view->end_byte = (int64_t)hit->end_byte;
    view->title = hit->title;
    view->n_heading_path = hit->n_heading_path;
    view->heading_path = hit->heading_path;
    view->vector_rank = (int32_t)rank;
    view_metadata(arena, hit, view);
    return view;
}

static void
read_counters(search_flow *flow, counters_record *ret_counters)
{
    gateway_look look;
    weir_error error;

    gateway_look_begin(&look, flow->self->service->store, weir_rpc_call_arena(flow->call));
    if (gateway_look_counters(&look, flow->collection->collection_no, ret_counters, &error) !=
        WEIR_OK)
        weir__internal__v1__counters_record__init(ret_counters);
    gateway_look_end(&look);
}

/* Before the indexer is asked: what has come back later was not there for its answer. */
static void
look_at_rebuild(search_flow *flow)
{
    gateway_published published;
    counters_record counters;

    gateway_core_published(flow->self->core, &published);
    read_counters(flow, &counters);
    flow->era = published.era;
    flow->is_rebuilding = published.is_rebuilding || counters.rebuilding > 0;
}

/* A new indexer opens only after the era of its loss, so an answer of the same era is of one that
 * was whole. */
static bool
is_whole(const search_flow *flow)
{
    gateway_published published;

    gateway_core_published(flow->self->core, &published);
    return !flow->is_rebuilding && published.era == flow->era;
}

static void
fail_as_rebuilding(search_flow *flow)
{
    weir_error error;

    weir_error_set(&error, WEIR_INDEX_REBUILDING,
        "the index of collection \"%s\" is being built anew; try again, or set allow_partial",
        flow->request->collection_id);
    error.retry_after_ms = REBUILD_RETRY_MS;
    fail(flow, &error);
}

static void
indexer_answered(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    search_flow *flow = context;
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    const indexed_response *indexed = (const indexed_response *)(const void *)message;
    search_response response = WEIR__V1__SEARCH_RESPONSE__INIT;
    counters_record counters;

    if (error->code != WEIR_OK) {
        fail_for_peer(flow, WEIR_SERVICE_INDEXER, error);
        return;
    }
    const bool is_complete = indexed->complete && is_whole(flow);
    if (!is_complete && !flow->request->allow_partial) {
        fail_as_rebuilding(flow);
        return;
    }
    read_counters(flow, &counters);
    response.hits = weir_arena_alloc(arena, (indexed->n_hits + 1) * sizeof *response.hits);
    for (size_t i = 0; i < indexed->n_hits; i++)
        response.hits[response.n_hits++] = view_hit(arena, indexed->hits[i], i + 1);
    response.exact = indexed->exact;
    response.complete = is_complete;
    response.consistency_satisfied = flow->consistency_satisfied;
    response.unready_count = (int64_t)(counters.pending + counters.processing);
    const int64_t took_us = weir_clock_mono_us() - flow->begun_us;
    Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
    duration.seconds = took_us / 1000000;
    duration.nanos = (int32_t)(took_us % 1000000) * 1000;
    response.search_duration = &duration;
    weir_metric_observe(flow->self->search_duration, (double)took_us / 1e6);
    weir_buffer_fini(&flow->vector);
    weir_rpc_reply(flow->call, &response.base);
}

/* ---- the indexer ---- */

static void
ask_indexer(search_flow *flow)
{
    const search_request *request = flow->request;
    Weir__Internal__V1__SearchVectorsRequest wanted =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
    char *document_id = (char *)(uintptr_t)flow->filter.document_id;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(flow->call);
    wanted.collection_no = flow->collection->collection_no;
    wanted.vector.data = flow->vector.data;
    wanted.vector.len = flow->vector.size;
    wanted.top_k = request->top_k == 0 ? TOP_K_DEFAULT : (uint32_t)request->top_k;
    wanted.document_ids = &document_id;
    wanted.n_document_ids = document_id != NULL;
    wanted.exact = request->exact;
    wanted.omit_text = request->omit_text;
    wanted.has_min_score =
        request->score_bound_case == WEIR__V1__SEARCH_REQUEST__SCORE_BOUND_MIN_SCORE;
    wanted.min_score = wanted.has_min_score ? request->min_score : 0;
    wanted.max_hits_per_document = (uint32_t)request->max_hits_per_document;
    wanted.neighbor_chunks = (uint32_t)request->neighbor_chunks;
    wanted.allow_partial = request->allow_partial;
    look_at_rebuild(flow);
    gateway_peer_start(flow->self->indexer, "SearchVectors", &wanted.base,
        (gateway_patience){ left_ms(flow), GATEWAY_AWAY_MS }, indexer_answered, flow);
}

/* ---- the text's vector ---- */

static bool
is_of_the_collection(const search_flow *flow, const embed_response *embedded)
{
    const Weir__Internal__V1__EmbedSpec *spec = flow->collection->spec;

    return strcmp(embedded->fingerprint, spec->fingerprint) == 0 &&
        embedded->dimension == spec->dimension &&
        embedded->vectors.len == (size_t)spec->dimension * sizeof(float);
}

static void ask_embedder(search_flow *flow);

static void
embedder_answered(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    search_flow *flow = context;
    const embed_response *embedded = (const embed_response *)(const void *)message;
    weir_error own;

    if (error->code != WEIR_OK) {
        fail_for_peer(flow, WEIR_SERVICE_EMBEDDER, error);
        return;
    }
    if (!is_of_the_collection(flow, embedded)) {
        weir_error_set(&own, WEIR_MODEL_UNAVAILABLE,
            "the files of model %s are others than those that the collection was embedded with",
            flow->collection->spec->model);
        fail(flow, &own);
        return;
    }
    weir_buffer_append(&flow->vector, embedded->vectors.data, embedded->vectors.len);
    gateway_queries_put(flow->self->queries, flow->collection->spec->fingerprint,
        flow->request->text, weir_buffer_view(&flow->vector));
    ask_indexer(flow);
}

static void
ask_embedder(search_flow *flow)
{
    Weir__Internal__V1__EmbedRequest wanted = WEIR__INTERNAL__V1__EMBED_REQUEST__INIT;
    char *text = flow->request->text;

    wanted.model = flow->collection->spec->model;
    wanted.texts = &text;
    wanted.n_texts = 1;
    gateway_peer_start(flow->self->embedder, "Embed", &wanted.base,
        (gateway_patience){ left_ms(flow), GATEWAY_AWAY_MS }, embedder_answered, flow);
}

/* fp32 in the order of x86, the only one that weir is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors travel as they stand in memory");

static void
find_vector(search_flow *flow)
{
    const search_request *request = flow->request;

    if (request->query_case == WEIR__V1__SEARCH_REQUEST__QUERY_VECTOR) {
        weir_buffer_append(&flow->vector, request->vector->values,
            request->vector->n_values * sizeof request->vector->values[0]);
        ask_indexer(flow);
    } else if (gateway_queries_get(flow->self->queries, flow->collection->spec->fingerprint,
                   request->text, &flow->vector)) {
        ask_indexer(flow);
    } else {
        ask_embedder(flow);
    }
}

/* ---- the caller's own write ---- */

static void
write_is_settled(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    search_flow *flow = context;
    const Weir__V1__WaitDocumentResponse *response =
        (const Weir__V1__WaitDocumentResponse *)(const void *)message;

    flow->consistency_satisfied = error == NULL && response->document->terminal;
    find_vector(flow);
}

/* Most of the time may go into waiting; some is left for the search. */
static void
wait_for_write(search_flow *flow, const gateway_write *write)
{
    weir_error error = { .code = WEIR_OK };

    weir__internal__v1__wait_command__init(&flow->wait);
    flow->wait.collection_id = flow->request->collection_id;
    flow->wait.document_id = (char *)(uintptr_t)write->document_id;
    flow->wait.revision = write->revision;
    flow->wait.wait_until_ms = weir_clock_wall_ms() + left_ms(flow) * WRITE_SHARE_PERCENT / 100;
    flow->consistency_satisfied = false;
    if (weir_shell_submit(flow->self->service->shell, GATEWAY_WAIT, gateway_tenant(flow->call),
            weir_rpc_request_id(flow->call), &flow->wait.base, write_is_settled, flow,
            &error) != WEIR_OK)
        find_vector(flow);
}

/* ---- the call ---- */

static weir_code
find_collection(search_flow *flow, weir_error *reterr)
{
    const search_request *request = flow->request;
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, flow->self->service->store, weir_rpc_call_arena(flow->call));
    code = gateway_look_collection(&look, gateway_tenant(flow->call), request->collection_id,
        &flow->collection, reterr);
    gateway_look_end(&look);
    if (code == WEIR_OK && request->query_case == WEIR__V1__SEARCH_REQUEST__QUERY_VECTOR &&
        request->vector->n_values != flow->collection->spec->dimension)
        return weir_error_set_field(reterr, WEIR_DIMENSION_MISMATCH, "vector.values",
            "the vector has %zu numbers and the collection's model makes %u",
            request->vector->n_values, flow->collection->spec->dimension);
    return code;
}

static weir_code
check(search_flow *flow, gateway_write *ret_write, weir_error *reterr)
{
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    const char *token = flow->request->min_consistency_token;
    weir_code code = gateway_check_search(flow->request, reterr);

    if (code == WEIR_OK)
        code = gateway_filter_parse(flow->request->filter, GATEWAY_FILTER_DOCUMENTS, arena,
            &flow->filter, reterr);
    if (code == WEIR_OK)
        code = find_collection(flow, reterr);
    if (code != WEIR_OK || token[0] == 0)
        return code;
    if (!gateway_consistency_decode(arena, token, ret_write) ||
        ret_write->collection_no != flow->collection->collection_no)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "min_consistency_token",
            "min_consistency_token is not one that this server gave out for this collection");
    return WEIR_OK;
}

static void
search(gateway *self, weir_rpc_call *call, const search_request *request)
{
    search_flow *flow = weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof *flow);
    gateway_write write = { 0 };
    weir_error error = { .code = WEIR_OK };

    flow->self = self;
    flow->call = call;
    flow->request = request;
    flow->begun_us = weir_clock_mono_us();
    flow->until_ms = weir_clock_mono_ms() +
        (weir_rpc_ms_left(call) == INT64_MAX
                ? self->config->gateway.query_timeout_ms
                : gateway_time_left(call, self->config->gateway.wait_max_ms));
    flow->consistency_satisfied = true;
    if (check(flow, &write, &error) != WEIR_OK)
        weir_rpc_fail(call, &error);
    else if (write.document_id != NULL)
        wait_for_write(flow, &write);
    else
        find_vector(flow);
}

GATEWAY_REQUEST(search, search_request)
