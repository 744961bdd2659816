/*
 * rpc_explain_document.c - ExplainDocument: asks everyone who knows something of a document, for a
 * short time each, and explains what was found.
 *
 * A worker of the pool waits.  Whoever does not answer within ASK_MS counts as away, and the answer
 * says so.
 */
#include "common/domain/links.h"
#include "services/gateway/check.h"
#include "services/gateway/explain.h"
#include "services/gateway/keys.h"
#include "services/gateway/peers.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/status.h"

typedef Weir__V1__ExplainDocumentRequest explain_request;
typedef Weir__V1__ExplainDocumentResponse explain_response;

enum { ASK_MS = 500, DEFERRED_MAX = 100 };

/* ---- the gateway's own ---- */

static uint64_t
number_of(const weir_iter *iter)
{
    const weir_bytes key = weir_iter_key(iter);

    return weir_load_u64(key.data + key.size - 8);
}

/* Entries of a page from next_no on, up to that of the revision. */
static void
count_page(const Weir__Internal__V1__BacklogPageRecord *page, uint64_t first_no, uint64_t next_no,
    const gateway_found *found, uint64_t *ahead, bool *ret_found)
{
    for (size_t i = 0; i < page->n_entries && !*ret_found && *ahead < GATEWAY_EXPLAIN_AHEAD_MAX;
        i++) {
        const Weir__Internal__V1__BacklogRecord *entry = page->entries[i];

        if (first_no + i < next_no)
            continue;
        *ret_found = entry->collection_no == found->collection->collection_no &&
            entry->revision == found->number && entry->epoch == found->revision->epoch &&
            strcmp(entry->document_id, found->document_id) == 0;
        *ahead += !*ret_found;
    }
}

/* How many entries of the lane stand before that of the revision; *ret_found: it is there. */
static weir_code
count_lane(gateway_look *look, const gateway_found *found, const char *tenant, uint8_t lane,
    uint64_t *ahead, bool *ret_found, weir_error *reterr)
{
    uint64_t next_no = 0;
    weir_code code = gateway_look_backlog_position(look, lane, tenant, &next_no, reterr);
    const weir_bytes lower = gateway_key_backlog(&look->key, lane, tenant, 0);
    weir_iter *iter = weir_store_iter(look->store, look->snapshot, lower,
        gateway_key_backlog(&look->end, lane, tenant, UINT64_MAX));
    weir_arena *arena = weir_arena_create(0);
    gateway_look scratch = *look;

    scratch.arena = arena;
    while (code == WEIR_OK && !*ret_found && *ahead < GATEWAY_EXPLAIN_AHEAD_MAX &&
        weir_iter_next(iter)) {
        Weir__Internal__V1__BacklogPageRecord *page = NULL;

        weir_arena_reset(arena);
        code = gateway_look_decode(&scratch, &weir__internal__v1__backlog_page_record__descriptor,
            weir_iter_value(iter), &page, reterr);
        if (code == WEIR_OK)
            count_page(page, number_of(iter), next_no, found, ahead, ret_found);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&arena);
    return code;
}

static weir_code
count_ahead(gateway_look *look, const char *tenant, gateway_explain_facts *facts,
    weir_error *reterr)
{
    bool found = false;
    weir_code code = WEIR_OK;

    if (facts->found.revision->state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PENDING)
        return WEIR_OK;
    for (uint8_t lane = GATEWAY_LANE_NEW; lane <= GATEWAY_LANE_REDRIVE && !found && code == WEIR_OK;
        lane++)
        code = count_lane(look, &facts->found, tenant, lane, &facts->ahead, &found, reterr);
    return code;
}

static weir_code
find(gateway *self, weir_rpc_call *call, const explain_request *request,
    gateway_explain_facts *facts, weir_error *reterr)
{
    gateway_look look;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, reterr);
    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&look, self->service->store, weir_rpc_call_arena(call));
    code = gateway_look_find(&look, gateway_tenant(call), request->collection_id,
        request->document_id, request->revision, &facts->found, reterr);
    if (code == WEIR_OK)
        code = count_ahead(&look, gateway_tenant(call), facts, reterr);
    gateway_look_end(&look);
    return code;
}

/* ---- the others' ---- */

/* Of several parts of a revision, the one that waits longest. */
static void
take_deferred(const gateway_explain_facts *facts, const Weir__Internal__V1__DeferredWork *work,
    gateway_stage_fact *fact)
{
    if (work->revision < facts->found.number && fact->behind_revision == 0)
        fact->behind_revision = work->revision;
    if (work->revision != facts->found.number || work->epoch != facts->found.revision->epoch ||
        (work->attempt_count == 0 && work->crash_count == 0 &&
            !work->parked)) /* set aside, and being worked on */
        return;
    if (fact->has_deferred && work->due_ms <= fact->due_ms)
        return;
    fact->has_deferred = true;
    fact->is_parked = work->parked;
    fact->attempt_count = work->attempt_count;
    fact->crash_count = work->crash_count;
    fact->due_ms = work->due_ms;
    fact->code = work->failure != NULL ? work->failure->code : 0;
    fact->message = work->failure != NULL ? work->failure->message : NULL;
}

static void
ask_stage(gateway *self, weir_rpc_call *call, weir_service_id service,
    const gateway_explain_facts *facts, gateway_stage_fact *fact)
{
    Weir__Internal__V1__ListDeferredRequest wanted =
        WEIR__INTERNAL__V1__LIST_DEFERRED_REQUEST__INIT;
    Weir__Internal__V1__ListDeferredResponse *found = NULL;
    weir_error error;
    bool is_fresh = false;

    wanted.page_size = DEFERRED_MAX;
    wanted.collection_no = facts->found.collection->collection_no;
    wanted.document_id = (char *)(uintptr_t)facts->found.document_id;
    fact->is_away =
        gateway_peer_ask(self->stages[service], service, "ListDeferred", &wanted.base,
            gateway_time_left(call, ASK_MS), weir_rpc_call_arena(call), &found, &error) != WEIR_OK;
    for (size_t i = 0; !fact->is_away && i < found->n_deferred; i++)
        take_deferred(facts, found->deferred[i], fact);
    const stage_status *status =
        gateway_status_read(self->status, service, weir_rpc_call_arena(call), &is_fresh);
    fact->queued = status != NULL ? status->queued + status->in_flight + status->deferred : 0;
}

static void
ask_reconciler(gateway *self, weir_rpc_call *call, gateway_explain_facts *facts)
{
    Weir__Internal__V1__GetJournalRequest wanted = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    Weir__Internal__V1__GetJournalResponse *journal = NULL;
    const int64_t epoch = facts->found.revision->epoch;
    weir_error error;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.collection_no = facts->found.collection->collection_no;
    wanted.document_id = (char *)(uintptr_t)facts->found.document_id;
    wanted.revision = facts->found.number;
    facts->reconciler_away = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER,
                                 "GetJournal", &wanted.base, gateway_time_left(call, ASK_MS),
                                 weir_rpc_call_arena(call), &journal, &error) != WEIR_OK;
    if (facts->reconciler_away)
        return;
    for (size_t i = 0; i < journal->n_events; i++)
        if (journal->events[i]->revision == facts->found.number &&
            journal->events[i]->epoch == epoch)
            gateway_progress_take(&facts->progress, journal->events[i]);
    facts->ending_step = journal->ending_epoch == epoch ? journal->ending_step : 0;
}

static void
ask_indexer(gateway *self, weir_rpc_call *call, gateway_explain_facts *facts)
{
    Weir__Internal__V1__GetIndexedDocumentRequest wanted =
        WEIR__INTERNAL__V1__GET_INDEXED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetIndexedDocumentResponse *indexed = NULL;
    weir_error error;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.collection_no = facts->found.collection->collection_no;
    wanted.document_id = (char *)(uintptr_t)facts->found.document_id;
    const weir_code code =
        gateway_peer_ask(self->indexer, WEIR_SERVICE_INDEXER, "GetIndexedDocument", &wanted.base,
            gateway_time_left(call, ASK_MS), weir_rpc_call_arena(call), &indexed, &error);
    facts->indexer_away = code != WEIR_OK && code != WEIR_INDEX_REBUILDING;
    if (code != WEIR_OK)
        return;
    facts->gate_open = indexed->complete;
    facts->ready_revision = indexed->ready_revision;
    for (size_t i = 0; i < indexed->n_staged; i++)
        if (indexed->staged[i]->revision == facts->found.number &&
            indexed->staged[i]->epoch == facts->found.revision->epoch) {
            facts->staged_count = indexed->staged[i]->staged_count;
            facts->staged_chunks = indexed->staged[i]->chunk_count;
        }
}

static void
look_at_model(gateway *self, weir_rpc_call *call, gateway_explain_facts *facts)
{
    bool is_fresh = false;
    const stage_status *embedder = gateway_status_read(self->status, WEIR_SERVICE_EMBEDDER,
        weir_rpc_call_arena(call), &is_fresh);

    facts->model = facts->found.collection->spec->model;
    for (size_t i = 0; embedder != NULL && i < embedder->n_models; i++)
        if (strcmp(embedder->models[i]->model, facts->model) == 0)
            facts->breaker = embedder->models[i]->breaker;
}

static weir_code
explain_document(gateway *self, weir_rpc_call *call, const explain_request *request,
    explain_response *response, weir_arena *arena, weir_error *reterr)
{
    gateway_explain_facts facts = { .ingest.attempts_max = self->config->ingest.retry.attempts_max,
        .ingest.crashes_max = self->config->ingest.retry.crashes_max,
        .embedder.attempts_max = self->config->embedder.retry.attempts_max,
        .embedder.crashes_max = self->config->embedder.retry.crashes_max };
    const weir_code code = find(self, call, request, &facts, reterr);

    if (code != WEIR_OK)
        return code;
    if (!gateway_state_is_terminal(facts.found.revision->state)) {
        ask_stage(self, call, WEIR_SERVICE_INGEST, &facts, &facts.ingest);
        ask_stage(self, call, WEIR_SERVICE_EMBEDDER, &facts, &facts.embedder);
        ask_reconciler(self, call, &facts);
        look_at_model(self, call, &facts);
    }
    if (facts.found.revision->state <= WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY)
        ask_indexer(self, call, &facts);
    gateway_explain(&facts, arena, response);
    return WEIR_OK;
}

GATEWAY_UNARY(explain_document, explain_request, explain_response,
    weir__v1__explain_document_response__init)
