/*
 * rpc_get_document.c - GetDocument: the gateway's own record, and what only others know of a
 * revision that is not over.
 *
 * Whether a revision is READY is the indexer's to say, so it is asked while the record says PENDING
 * or PROCESSING; what it says is recorded by the core before the answer leaves, so no later read
 * goes back.  Stage and progress come from the reconciler's journal if it answers soon.  No thread
 * waits: the flow goes on where the last answer arrives.
 *
 * The answer is of one instant: when a newer revision, a new run or a delete came while others were
 * asked, what they said is of another one, and the look begins anew.
 */
#include <stdio.h>

#include "common/base/clock.h"
#include "services/gateway/check.h"
#include "services/gateway/peers.h"
#include "services/gateway/progress.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__GetDocumentRequest get_request;
typedef Weir__Internal__V1__GetIndexedDocumentResponse indexed_response;
typedef Weir__Internal__V1__GetJournalResponse journal_response;
typedef Weir__Internal__V1__LearnCommand learn_command;

enum { INDEXER_MS = 2000, JOURNAL_MS = 200, LOOKS_MAX = 32 };

typedef struct get_flow {
    gateway *self;
    weir_rpc_call *call;
    const get_request *request;
    gateway_found found;
    uint32_t looks;
    int left; /* answers still out; atomic */

    /* each written by one answer, read after the last */
    weir_error indexer_error;
    learn_command learn;
    char media_type[130];
    uint32_t staged_count, staged_chunks;
    gateway_progress progress;
} get_flow;

/* ---- the answer ---- */

static void
add_progress(const get_flow *flow, Weir__V1__Document *view, weir_arena *arena)
{
    const gateway_progress *seen = &flow->progress;

    if (view->terminal || view->run != (int32_t)flow->found.revision->epoch)
        return;
    if (seen->stage != 0) {
        view->stage = (Weir__V1__Stage)seen->stage;
        view->state = WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PROCESSING;
    }
    if (view->chunk_count == 0)
        view->chunk_count =
            (int32_t)(seen->chunk_count != 0 ? seen->chunk_count : flow->staged_chunks);
    if (view->token_count == 0)
        view->token_count = (int64_t)seen->token_count;
    view->embedded_chunk_count = (int32_t)flow->staged_count;
    view->next_attempt_time = weir_wire_time(arena, seen->due_ms);
}

static void begin_look(get_flow *flow);

/* A delete that the indexer has not confirmed: a search may find what it ends, while the record,
 * also that of a revision above it, says that nothing can be found. */
static bool
is_unconfirmed(const gateway_found *found)
{
    return found->document->delete_confirmed < found->document->deleted_below &&
        found->document->searchable_revision < found->document->deleted_below;
}

static void
reply(get_flow *flow)
{
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    Weir__V1__GetDocumentResponse response = WEIR__V1__GET_DOCUMENT_RESPONSE__INIT;

    response.document = gateway_found_view(arena, &flow->found);
    add_progress(flow, response.document, arena);
    weir_rpc_reply(flow->call, &response.base);
}

static weir_code
find(get_flow *flow, weir_error *reterr)
{
    gateway_look look;

    gateway_look_begin(&look, flow->self->service->store, weir_rpc_call_arena(flow->call));
    const weir_code code =
        gateway_look_find(&look, gateway_tenant(flow->call), flow->request->collection_id,
            flow->request->document_id, flow->request->revision, &flow->found, reterr);
    gateway_look_end(&look);
    return code;
}

static void
answer(get_flow *flow)
{
    const int64_t number = flow->found.number;
    const int64_t epoch = flow->found.revision->epoch;
    weir_error error = { .code = WEIR_OK };

    if (find(flow, &error) != WEIR_OK)
        weir_rpc_fail(flow->call, &error);
    else if (flow->found.number == number && flow->found.revision->epoch == epoch &&
        !is_unconfirmed(&flow->found))
        reply(flow);
    else
        begin_look(flow);
}

static void
learned(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    get_flow *flow = context;

    (void)response;
    if (error != NULL)
        weir_rpc_fail(flow->call, error);
    else
        answer(flow);
}

/* A delete shows once the indexer has confirmed it. */
static void
wait_for_delete(get_flow *flow)
{
    Weir__Internal__V1__WaitCommand *command =
        weir_arena_alloc(weir_rpc_call_arena(flow->call), sizeof *command);
    weir_error error = { .code = WEIR_OK };

    weir__internal__v1__wait_command__init(command);
    command->collection_id = flow->request->collection_id;
    command->document_id = flow->request->document_id;
    command->revision = flow->found.document->deleted_below;
    command->wait_until_ms = gateway_wait_until(flow->call, INDEXER_MS);
    if (weir_shell_submit(flow->self->service->shell, GATEWAY_WAIT, gateway_tenant(flow->call),
            weir_rpc_request_id(flow->call), &command->base, learned, flow, &error) != WEIR_OK)
        weir_rpc_fail(flow->call, &error);
}

/* Both answers are here, or their time is over. */
static void
go_on(get_flow *flow)
{
    weir_error error = { .code = WEIR_OK };

    if (flow->indexer_error.code != WEIR_OK) {
        weir_rpc_fail(flow->call, &flow->indexer_error);
        return;
    }
    if (flow->learn.revision == 0 ||
        flow->learn.revision == flow->found.document->searchable_revision) {
        answer(flow);
        return;
    }
    if (weir_shell_submit(flow->self->service->shell, GATEWAY_LEARN, gateway_tenant(flow->call),
            weir_rpc_request_id(flow->call), &flow->learn.base, learned, flow, &error) != WEIR_OK)
        weir_rpc_fail(flow->call, &error);
}

static void
one_is_here(get_flow *flow)
{
    if (__atomic_sub_fetch(&flow->left, 1, __ATOMIC_ACQ_REL) == 0)
        go_on(flow);
}

/* ---- what others know ---- */

static void
take_staged(get_flow *flow, const indexed_response *indexed)
{
    for (size_t i = 0; i < indexed->n_staged; i++) {
        const Weir__Internal__V1__StagedRevision *staged = indexed->staged[i];

        if (staged->revision != flow->found.number || staged->epoch != flow->found.revision->epoch)
            continue;
        flow->staged_count = staged->staged_count;
        flow->staged_chunks = staged->chunk_count;
    }
}

static void
indexer_answered(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    get_flow *flow = context;
    const indexed_response *indexed = (const indexed_response *)(const void *)response;

    if (error->code != WEIR_OK) {
        gateway_peer_error(WEIR_SERVICE_INDEXER, error, &flow->indexer_error);
        one_is_here(flow);
        return;
    }
    snprintf(flow->media_type, sizeof flow->media_type, "%s", indexed->media_type);
    flow->learn.revision = indexed->ready_revision;
    flow->learn.epoch = indexed->ready_epoch;
    flow->learn.chunk_count = indexed->chunk_count;
    flow->learn.token_count = indexed->token_count;
    flow->learn.ready_time_ms = indexed->ready_time_ms;
    flow->learn.media_type = flow->media_type;
    take_staged(flow, indexed);
    one_is_here(flow);
}

static void
journal_answered(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    get_flow *flow = context;
    const journal_response *journal = (const journal_response *)(const void *)response;

    for (size_t i = 0; error->code == WEIR_OK && i < journal->n_events; i++)
        if (journal->events[i]->revision == flow->found.number &&
            journal->events[i]->epoch == flow->found.revision->epoch)
            gateway_progress_take(&flow->progress, journal->events[i]);
    one_is_here(flow);
}

static void
ask_others(get_flow *flow)
{
    Weir__Internal__V1__GetIndexedDocumentRequest indexed =
        WEIR__INTERNAL__V1__GET_INDEXED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetJournalRequest journal = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    gateway_published published;

    gateway_core_published(flow->self->core, &published);
    indexed.tenant = journal.tenant = (char *)(uintptr_t)gateway_tenant(flow->call);
    indexed.collection_no = journal.collection_no = flow->found.collection->collection_no;
    indexed.document_id = journal.document_id = flow->request->document_id;
    weir__internal__v1__learn_command__init(&flow->learn);
    flow->learn.collection_no = indexed.collection_no;
    flow->learn.document_id = flow->request->document_id;
    flow->learn.era = published.era;
    flow->left = 2;
    const gateway_patience indexer = { gateway_time_left(flow->call, INDEXER_MS), GATEWAY_AWAY_MS };
    const gateway_patience reconciler = { gateway_time_left(flow->call, JOURNAL_MS), 0 };
    gateway_peer_start(flow->self->reconciler, "GetJournal", &journal.base, reconciler,
        journal_answered, flow);
    gateway_peer_start(flow->self->indexer, "GetIndexedDocument", &indexed.base, indexer,
        indexer_answered, flow);
}

/* ---- the call ---- */

/* By what was found. */
static void
begin_look(get_flow *flow)
{
    weir_error error = { .code = WEIR_OK };

    memset(&flow->progress, 0, sizeof flow->progress);
    flow->staged_count = flow->staged_chunks = 0;
    if (++flow->looks > LOOKS_MAX) {
        weir_error_set(&error, WEIR_SERVICE_UNAVAILABLE,
            "document \"%s\" changes faster than it can be looked at; try again",
            flow->request->document_id);
        weir_rpc_fail(flow->call, &error);
    } else if (is_unconfirmed(&flow->found)) {
        wait_for_delete(flow);
    } else if (!gateway_state_is_terminal(flow->found.revision->state)) {
        ask_others(flow);
    } else {
        reply(flow);
    }
}

static weir_code
check(const get_request *request, weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    return code == WEIR_OK ? gateway_check_revision(request->revision, reterr) : code;
}

static void
get_document(gateway *self, weir_rpc_call *call, const get_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    get_flow *flow = weir_arena_alloc_zero(arena, sizeof *flow);
    weir_error error = { .code = WEIR_OK };

    flow->self = self;
    flow->call = call;
    flow->request = request;
    if (check(request, &error) != WEIR_OK || find(flow, &error) != WEIR_OK)
        weir_rpc_fail(call, &error);
    else
        begin_look(flow);
}

GATEWAY_REQUEST(get_document, get_request)
