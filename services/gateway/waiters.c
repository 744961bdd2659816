/*
 * waiters.c - calls that wait for a state: ingest with `wait`, WaitDocument, a delete that waits
 * for the indexer, and WaitCollection.
 *
 * A waiter registers and looks in the same step of the core, so it cannot miss a change.  Waiters
 * are memory only: they die with their calls, and the answer after a restart comes from the record.
 */
#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/plant.h"
#include "services/gateway/core_internal.h"

enum { DEADLINE_GRAIN_MS = 20 };

static size_t
bucket_of(const collection_entry *collection, const char *document_id)
{
    if (document_id == NULL)
        return WAITER_BUCKETS;
    return weir_hash64(weir_bytes_str(document_id), collection->record->collection_no) %
        WAITER_BUCKETS;
}

static void
waiter_destroy(gateway_core *core, waiter *done)
{
    core->waiter_count--;
    weir_free(done->document_id);
    weir_free(done);
}

static void
waiter_add(gateway_core *core, weir_stage *stage, const waiter *wish)
{
    waiter *made = weir_alloc(sizeof *made);
    waiter **bucket = &core->waiters[bucket_of(wish->collection, wish->document_id)];

    *made = *wish;
    made->document_id = wish->document_id != NULL ? weir_strdup(wish->document_id) : NULL;
    made->next = *bucket;
    *bucket = made;
    core->waiter_count++;
    if (wish->until_ms < core->next_deadline_ms)
        core->next_deadline_ms = wish->until_ms;
    weir_stage_wake_at(stage, core->next_deadline_ms);
}

/* ---- answers ---- */

static void
answer_ingest(weir_stage *stage, const waiter *done, Weir__V1__Document *view)
{
    Weir__V1__IngestDocumentResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);

    weir__v1__ingest_document_response__init(response);
    response->document = view;
    response->outcome = (Weir__V1__IngestOutcome)done->outcome;
    response->collection_created = done->collection_created;
    weir_stage_reply(stage, done->reply_to, &response->base);
}

static void
answer_wait(weir_stage *stage, const waiter *done, Weir__V1__Document *view)
{
    Weir__V1__WaitDocumentResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);

    weir__v1__wait_document_response__init(response);
    response->document = view;
    weir_stage_reply(stage, done->reply_to, &response->base);
}

static void
refuse_unconfirmed(weir_stage *stage, const waiter *done)
{
    weir_error error;

    weir_error_set(&error, WEIR_SERVICE_UNAVAILABLE,
        "the delete is durable, but the indexer has not confirmed it in time; it still takes "
        "effect: ask again");
    error.retry_after_ms = 1000;
    weir_stage_fail(stage, done->reply_to, &error);
}

static void
answer_deleted(weir_stage *stage, const waiter *done, Weir__V1__Document *view)
{
    Weir__V1__DeleteDocumentResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);
    weir__v1__delete_document_response__init(response);
    response->document = view;
    weir_stage_reply(stage, done->reply_to, &response->base);
}

static void
answer_collection(weir_stage *stage, const waiter *done, bool is_settled)
{
    Weir__V1__WaitCollectionResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);
    const counters_record *counters = &done->collection->counters;

    weir__v1__wait_collection_response__init(response);
    response->settled = is_settled;
    response->pending = (int64_t)counters->pending;
    response->processing = (int64_t)counters->processing;
    response->ready = (int64_t)counters->ready;
    response->failed = (int64_t)counters->failed;
    response->superseded = (int64_t)counters->superseded;
    response->deleted = (int64_t)counters->deleted;
    weir_stage_reply(stage, done->reply_to, &response->base);
}

/* A wait that ends before its time has no answer: the client asks the next process. */
static void
refuse_draining(weir_stage *stage, uint64_t reply_to)
{
    weir_error error;

    weir_error_set(&error, WEIR_DRAINING, "the gateway restarts; wait for it again");
    error.retry_after_ms = 1000;
    weir_stage_fail(stage, reply_to, &error);
}

/* Until the indexer has confirmed a delete, a search may find what it ends: nobody is told before.
 */
static bool
is_unconfirmed(const waiter *done, const document_record *document, const revision_record *revision)
{
    if (done->kind == WAITER_DELETE)
        return document->delete_confirmed < done->revision && !WEIR_PLANT(DELETE_ANSWERED_EARLY);
    return done->kind == WAITER_DOCUMENT && revision->state == DOCUMENT_STATE(DELETED) &&
        document->delete_confirmed < document->deleted_below;
}

/* Answer if the state is there or `is_late`; *ret_answered says whether it was. */
static weir_code
try_answer(gateway_core *core, weir_stage *stage, const waiter *done, bool is_late,
    bool *ret_answered, weir_error *reterr)
{
    revision_id id = { .collection = done->collection,
        .document_id = done->document_id,
        .revision = done->revision };
    revision_record *revision = NULL;
    const weir_code code = gateway_get_both(core, stage, &id, &revision, reterr);

    if (code != WEIR_OK)
        return code;
    weir_assert(revision != NULL);
    const bool is_open = is_unconfirmed(done, id.document, revision);
    *ret_answered = is_late ||
        (!is_open && (done->kind == WAITER_DELETE || gateway_state_is_terminal(revision->state)));
    if (!*ret_answered)
        return WEIR_OK;
    if (is_open) {
        refuse_unconfirmed(stage, done);
        return WEIR_OK;
    }
    if (core->is_draining && done->kind == WAITER_DOCUMENT &&
        !gateway_state_is_terminal(revision->state)) {
        refuse_draining(stage, done->reply_to);
        return WEIR_OK;
    }
    Weir__V1__Document *view = gateway_view_document(weir_stage_arena(stage),
        done->collection->record, id.document, revision, done->document_id, done->revision);
    if (done->kind == WAITER_INGEST)
        answer_ingest(stage, done, view);
    else if (done->kind == WAITER_DELETE)
        answer_deleted(stage, done, view);
    else
        answer_wait(stage, done, view);
    return WEIR_OK;
}

static weir_code
refuse_wait(const gateway_core *core, weir_stage *stage, uint64_t reply_to)
{
    return gateway_refuse(stage, reply_to, WEIR_QUEUE_FULL, NULL,
        "%llu calls wait for documents already (gateway.watchers_max); try again later",
        (unsigned long long)core->waiter_count);
}

weir_code
gateway_wait_for(gateway_core *core, weir_stage *stage, const waiter *wish, weir_error *reterr)
{
    bool answered = false;
    /* An ingest is answered either way; so, when too many wait, it is answered as things stand. */
    const bool is_full = core->waiter_count >= core->config.waiters_max;
    const bool is_late = wish->until_ms <= weir_stage_now_ms(stage) || core->is_draining ||
        (wish->kind == WAITER_INGEST && is_full);

    if (wish->reply_to == 0)
        return WEIR_OK;
    const weir_code code = try_answer(core, stage, wish, is_late, &answered, reterr);
    if (code != WEIR_OK || answered)
        return code;
    if (wish->kind == WAITER_DOCUMENT && is_full)
        return refuse_wait(core, stage, wish->reply_to);
    waiter_add(core, stage, wish);
    return WEIR_OK;
}

weir_code
gateway_wake_document(gateway_core *core, weir_stage *stage, collection_entry *collection,
    const char *document_id, weir_error *reterr)
{
    waiter **at = &core->waiters[bucket_of(collection, document_id)];
    weir_code code = WEIR_OK;

    while (core->waiter_count > 0 && *at != NULL && code == WEIR_OK) {
        waiter *candidate = *at;
        bool answered = false;

        if (candidate->collection == collection && candidate->document_id != NULL &&
            candidate->kind != WAITER_COLLECTION &&
            strcmp(candidate->document_id, document_id) == 0)
            code = try_answer(core, stage, candidate, false, &answered, reterr);
        if (!answered) {
            at = &candidate->next;
            continue;
        }
        *at = candidate->next;
        waiter_destroy(core, candidate);
    }
    return code;
}

/* Nothing that was accepted up to the wish is unready. */
static bool
is_settled(const gateway_core *core, waiter *wish)
{
    const counters_record *counters = &wish->collection->counters;

    return counters->pending + counters->processing == 0 ||
        !gateway_unready_before(core, wish->collection->record->collection_no, &wish->from_no,
            wish->until_no);
}

/* At the end of a round: collections whose counters changed may have settled. */
void
gateway_wake_collections(gateway_core *core, weir_stage *stage)
{
    for (waiter **at = &core->waiters[WAITER_BUCKETS]; *at != NULL;) {
        waiter *candidate = *at;

        if (!candidate->collection->counters_changed || !is_settled(core, candidate)) {
            at = &candidate->next;
            continue;
        }
        answer_collection(stage, candidate, true);
        *at = candidate->next;
        waiter_destroy(core, candidate);
    }
}

/* Those whose time is over are answered as things stand. */
weir_code
gateway_expire_waiters(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const int64_t now_ms = core->is_draining ? INT64_MAX : weir_stage_now_ms(stage);
    int64_t next_ms = INT64_MAX;
    weir_code code = WEIR_OK;

    if (core->waiter_count == 0)
        core->next_deadline_ms = INT64_MAX; /* whoever it was for has been answered */
    if (core->next_deadline_ms > now_ms)
        return WEIR_OK;
    for (size_t bucket = 0; bucket <= WAITER_BUCKETS && code == WEIR_OK; bucket++) {
        for (waiter **at = &core->waiters[bucket]; *at != NULL && code == WEIR_OK;) {
            waiter *candidate = *at;
            bool answered = candidate->kind == WAITER_COLLECTION;

            if (candidate->until_ms > now_ms) {
                next_ms = candidate->until_ms < next_ms ? candidate->until_ms : next_ms;
                at = &candidate->next;
                continue;
            }
            if (candidate->kind == WAITER_COLLECTION && core->is_draining)
                refuse_draining(stage, candidate->reply_to);
            else if (candidate->kind == WAITER_COLLECTION)
                answer_collection(stage, candidate, false);
            else
                code = try_answer(core, stage, candidate, true, &answered, reterr);
            *at = candidate->next;
            waiter_destroy(core, candidate);
        }
    }
    core->next_deadline_ms = next_ms;
    if (next_ms != INT64_MAX)
        weir_stage_wake_at(stage,
            next_ms > now_ms + DEADLINE_GRAIN_MS ? next_ms : now_ms + DEADLINE_GRAIN_MS);
    return code;
}

weir_code
gateway_end_waits(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    core->is_draining = true;
    return gateway_expire_waiters(core, stage, reterr);
}

void
gateway_destroy_waiters(gateway_core *core)
{
    for (size_t bucket = 0; bucket <= WAITER_BUCKETS; bucket++) {
        while (core->waiters[bucket] != NULL) {
            waiter *gone = core->waiters[bucket];
            core->waiters[bucket] = gone->next;
            waiter_destroy(core, gone);
        }
    }
}

/* ---- requests ---- */

weir_code
gateway_on_wait(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__WaitCommand *command =
        (const Weir__Internal__V1__WaitCommand *)request->message;
    waiter wish = { .kind = WAITER_DOCUMENT,
        .reply_to = request->reply_to,
        .collection = gateway_find_collection(core, request->tenant, command->collection_id),
        .document_id = command->document_id,
        .revision = command->revision,
        .until_ms = command->wait_until_ms };
    revision_id id = { .collection = wish.collection, .document_id = wish.document_id };
    revision_record *revision = NULL;
    weir_code code = WEIR_OK;

    if (wish.collection == NULL)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_NOT_FOUND, "collection_id",
            "there is no collection \"%s\"", command->collection_id);
    code = gateway_get_document(core, stage, wish.collection->record->collection_no,
        wish.document_id, &id.document, reterr);
    if (code == WEIR_OK && id.document != NULL && wish.revision == 0)
        wish.revision = id.document->newest_revision;
    id.revision = wish.revision;
    if (code == WEIR_OK)
        code = gateway_get_revision_of(core, stage, &id, &revision, reterr);
    if (code != WEIR_OK)
        return code;
    if (revision == NULL)
        return gateway_refuse_missing(stage, request->reply_to,
            &(revision_id){ .collection = wish.collection, .document_id = command->document_id },
            id.document != NULL ? wish.revision : 0);
    return gateway_wait_for(core, stage, &wish, reterr);
}

/* Documents accepted up to the write that the command names; without one, up to now. */
static weir_code
find_until(gateway_core *core, weir_stage *stage,
    const Weir__Internal__V1__WaitCollectionCommand *command, waiter *wish, bool *ret_refused,
    weir_error *reterr)
{
    revision_id id = { .collection = wish->collection,
        .document_id = command->document_id,
        .revision = command->revision };
    revision_record *revision = NULL;

    *ret_refused = false;
    wish->until_no = gateway_unready_mark(core);
    if (command->document_id[0] == 0)
        return WEIR_OK;
    const weir_code code = gateway_get_both(core, stage, &id, &revision, reterr);
    if (code != WEIR_OK)
        return code;
    *ret_refused = revision == NULL;
    if (revision != NULL && !revision->is_delete)
        wish->until_no = revision->unready_no + 1;
    return WEIR_OK;
}

weir_code
gateway_on_wait_collection(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__WaitCollectionCommand *command =
        (const Weir__Internal__V1__WaitCollectionCommand *)request->message;
    waiter wish = { .kind = WAITER_COLLECTION,
        .reply_to = request->reply_to,
        .collection = gateway_find_collection(core, request->tenant, command->collection_id),
        .until_ms = command->wait_until_ms };
    bool refused = false;

    if (wish.collection == NULL)
        return gateway_refuse(stage, request->reply_to, WEIR_COLLECTION_NOT_FOUND, "collection_id",
            "there is no collection \"%s\"", command->collection_id);
    const weir_code code = find_until(core, stage, command, &wish, &refused, reterr);
    if (code == WEIR_OK && refused)
        return gateway_refuse(stage, request->reply_to, WEIR_INVALID_ARGUMENT, "consistency_token",
            "the token names no write of collection \"%s\"", command->collection_id);
    if (code != WEIR_OK)
        return code;
    const bool settled = is_settled(core, &wish);
    if (!settled && core->is_draining)
        refuse_draining(stage, wish.reply_to);
    else if (settled || wish.until_ms <= weir_stage_now_ms(stage))
        answer_collection(stage, &wish, settled);
    else if (core->waiter_count >= core->config.waiters_max)
        return refuse_wait(core, stage, request->reply_to);
    else
        waiter_add(core, stage, &wish);
    return WEIR_OK;
}
