/*
 * Goal: every client command asks what it should, shows what came and exits with the right code.
 * Method: the real program against a gateway inside this test, whose answers are fixed by the ids
 * asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/wire/descriptors.h"
#include "common/wire/time.h"
#include "tests/unit/cli/run_program.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/dead_letter.pb-c.h"
#include "weir/v1/search.pb-c.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__Document document;

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_

static weir_rpc_runtime *runtime;
static weir_rpc_descriptors *descriptors;
static weir_rpc_server *server;
static char folder[64];

/* What the gateway was asked; under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 16];
static int cut_streams; /* streams to be broken after their first item */

static void
note(const char *format, ...)
{
    va_list arguments;
    const size_t at = strlen(log_text);

    pthread_mutex_lock(&lock);
    va_start(arguments, format);
    vsnprintf(log_text + at, sizeof log_text - at, format, arguments);
    va_end(arguments);
    pthread_mutex_unlock(&lock);
}

/* ---- the gateway ---- */

static document *
make_document(weir_arena *arena, const char *id, Weir__V1__DocumentState state)
{
    document *it = weir_arena_alloc(arena, sizeof *it);

    weir__v1__document__init(it);
    it->collection_id = (char *)"c";
    it->document_id = weir_arena_strdup(arena, id);
    it->revision = 3;
    it->state = state;
    it->terminal = state >= STATE(READY);
    it->stage = WEIR__V1__STAGE__STAGE_EMBED;
    it->content_sha256 = (char *)"";
    if (state == STATE(FAILED)) {
        it->error = weir_arena_alloc(arena, sizeof *it->error);
        weir__v1__failure_info__init(it->error);
        it->error->reason = (char *)"EMPTY";
        it->error->message = (char *)"there is no text in it";
    }
    return it;
}

static weir_code
find_document(const char *id, weir_arena *arena, document **ret_document, weir_error *reterr)
{
    static const struct {
        const char *id;
        Weir__V1__DocumentState state;
    } known[] = { { "ready", STATE(READY) }, { "failed", STATE(FAILED) },
        { "slow", STATE(PROCESSING) }, { "bad.md", STATE(FAILED) } };

    if (strcmp(id, "pressure") == 0)
        return weir_error_set(reterr, WEIR_PRESSURE, "too much waits");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].id, id) == 0) {
            *ret_document = make_document(arena, id, known[i].state);
            return WEIR_OK;
        }
    }
    if (strstr(id, ".md") != NULL || strstr(id, ".txt") != NULL) {
        *ret_document = make_document(arena, id, STATE(READY));
        return WEIR_OK;
    }
    return weir_error_set_field(reterr, WEIR_DOCUMENT_NOT_FOUND, "document_id",
        "there is no "
        "document \"%s\"",
        id);
}

/* "same.md" is known with the bytes "same". */
static weir_code
get_document(void *self, weir_rpc_call *call, const Weir__V1__GetDocumentRequest *request,
    Weir__V1__GetDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    weir_bytes key = { 0 };

    if (weir_rpc_header(call, "authorization", &key))
        note("key %.*s\n", (int)key.size, (const char *)key.data);
    note("get %s r%lld\n", request->document_id, (long long)request->revision);
    if (strcmp(request->document_id, "same.md") == 0) {
        const weir_sha256_sum sum = weir_sha256(weir_bytes_str("same"));
        response->document = make_document(arena, "same.md", STATE(READY));
        response->document->size_bytes = 4;
        response->document->content_sha256 = weir_arena_alloc(arena, 65);
        weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes),
            response->document->content_sha256);
        return WEIR_OK;
    }
    if (strchr(request->document_id, '.') != NULL)
        return weir_error_set(reterr, WEIR_DOCUMENT_NOT_FOUND, "not there");
    return find_document(request->document_id, arena, &response->document, reterr);
}
WEIR_RPC_UNARY(get_document, void, Weir__V1__GetDocumentRequest, Weir__V1__GetDocumentResponse,
    weir__v1__get_document_response__init)

static weir_code
list_documents(void *self, weir_rpc_call *call, const Weir__V1__ListDocumentsRequest *request,
    Weir__V1__ListDocumentsResponse *response, weir_arena *arena, weir_error *reterr)
{
    const bool second = strcmp(request->page_token, "next") == 0;

    note("list states=%zu filter=%s "
         "deleted=%d\n",
        request->n_states, request->filter, request->show_deleted);
    response->documents = weir_arena_alloc_zero(arena, sizeof(document *));
    response->documents[response->n_documents++] =
        make_document(arena, second ? "failed" : "ready", second ? STATE(FAILED) : STATE(READY));
    response->next_page_token = (char *)(second ? "" : "next");
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_documents, void, Weir__V1__ListDocumentsRequest,
    Weir__V1__ListDocumentsResponse, weir__v1__list_documents_response__init)

static weir_code
delete_document(void *self, weir_rpc_call *call, const Weir__V1__DeleteDocumentRequest *request,
    Weir__V1__DeleteDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    note("delete %s missing=%d\n", request->document_id, request->allow_missing);
    return find_document(request->document_id, arena, &response->document, reterr);
}
WEIR_RPC_UNARY(delete_document, void, Weir__V1__DeleteDocumentRequest,
    Weir__V1__DeleteDocumentResponse, weir__v1__delete_document_response__init)

static weir_code
retry_document(void *self, weir_rpc_call *call, const Weir__V1__RetryDocumentRequest *request,
    Weir__V1__RetryDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    if (strcmp(request->document_id, "ready") == 0)
        return weir_error_set(reterr, WEIR_STATE_NOT_RETRYABLE, "it is READY");
    return find_document(request->document_id, arena, &response->document, reterr);
}
WEIR_RPC_UNARY(retry_document, void, Weir__V1__RetryDocumentRequest,
    Weir__V1__RetryDocumentResponse, weir__v1__retry_document_response__init)

static weir_code
wait_document(void *self, weir_rpc_call *call, const Weir__V1__WaitDocumentRequest *request,
    Weir__V1__WaitDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    return find_document(request->document_id, arena, &response->document, reterr);
}
WEIR_RPC_UNARY(wait_document, void, Weir__V1__WaitDocumentRequest, Weir__V1__WaitDocumentResponse,
    weir__v1__wait_document_response__init)

static weir_code
list_chunks(void *self, weir_rpc_call *call, const Weir__V1__ListChunksRequest *request,
    Weir__V1__ListChunksResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__Chunk *chunk = weir_arena_alloc(arena, sizeof *chunk);

    weir__v1__chunk__init(chunk);
    chunk->text = (char *)"the text of a chunk";
    chunk->end_byte = 19;
    response->chunks = weir_arena_memdup(arena, &chunk, sizeof chunk);
    response->n_chunks = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_chunks, void, Weir__V1__ListChunksRequest, Weir__V1__ListChunksResponse,
    weir__v1__list_chunks_response__init)

static void
watch_documents(void *self, weir_rpc_call *call, const Weir__V1__WatchDocumentsRequest *request)
{
    Weir__V1__WatchDocumentsResponse event = WEIR__V1__WATCH_DOCUMENTS_RESPONSE__INIT;

    note("watch ids=%zu token=%s\n", request->n_document_ids, request->resume_token);
    if (strcmp(request->resume_token, "old") == 0) {
        weir_rpc_fail_with(call, WEIR_RESUME_TOKEN_TOO_OLD, "too old");
        return;
    }
    event.document = make_document(weir_rpc_call_arena(call), "ready", STATE(READY));
    event.resume_token = (char *)"t1";
    weir_rpc_send(call, &event.base);
    weir_rpc_finish(call);
}
WEIR_RPC_REQUEST(watch_documents, void, Weir__V1__WatchDocumentsRequest)

/* IngestDocuments: refuses "refused.txt", breaks the first streams after one item when cut_streams
 * says so. */
static void
ingest_open(weir_rpc_call *call, void *context)
{
    note("stream\n");
}

static weir_rpc_flow
ingest_documents(void *self, weir_rpc_call *call, const Weir__V1__IngestDocumentsRequest *item)
{
    Weir__V1__IngestDocumentsResponse answer = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__INIT;
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    const Weir__V1__IngestDocumentRequest *request = item->request;

    note("item %s %s file=%s request_id=%s "
         "bytes=%zu\n",
        request->collection_id, request->document_id, request->filename, request->request_id,
        request->data.len);
    pthread_mutex_lock(&lock);
    const bool cut = cut_streams > 0;
    cut_streams -= cut;
    pthread_mutex_unlock(&lock);
    if (cut) {
        weir_rpc_fail_with(call, WEIR_DRAINING, "going away");
        return WEIR_RPC_MORE;
    }
    answer.correlation_id = item->correlation_id;
    if (strcmp(request->document_id, "refused.txt") == 0) {
        status.code = 3;
        status.message = (char *)"that will not do";
        answer.result_case = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_STATUS;
        answer.status = &status;
    } else {
        answer.result_case = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_DOCUMENT;
        answer.document =
            make_document(weir_rpc_call_arena(call), request->document_id, STATE(PENDING));
        answer.outcome = WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_CREATED;
    }
    weir_rpc_send(call, &answer.base);
    return WEIR_RPC_MORE;
}
WEIR_RPC_MESSAGE(ingest_documents, void, Weir__V1__IngestDocumentsRequest)

static void
ingest_half_closed(weir_rpc_call *call, void *context)
{
    weir_rpc_finish(call);
}

static weir_code
search(void *self, weir_rpc_call *call, const Weir__V1__SearchRequest *request,
    Weir__V1__SearchResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__Hit *hit = weir_arena_alloc(arena, sizeof *hit);

    note("search %s k=%d filter=%s mode=%d exact=%d "
         "min=%d\n",
        request->text, request->top_k, request->filter, request->mode, request->exact,
        request->score_bound_case != 0);
    response->complete = true;
    if (strcmp(request->text, "nothing") == 0)
        return WEIR_OK;
    weir__v1__hit__init(hit);
    hit->document_id = (char *)"ready";
    hit->chunk_id = (char *)"ready@3#0";
    hit->title = (char *)"A title";
    hit->text = (char *)"a passage \033[31mwith colours";
    hit->score = 0.75F;
    response->hits = weir_arena_memdup(arena, &hit, sizeof hit);
    response->n_hits = 1;
    response->unready_count = 2;
    return WEIR_OK;
}
WEIR_RPC_UNARY(search, void, Weir__V1__SearchRequest, Weir__V1__SearchResponse,
    weir__v1__search_response__init)

static weir_code
get_pressure(void *self, weir_rpc_call *call, const Weir__V1__GetPressureRequest *request,
    Weir__V1__GetPressureResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__StagePressure *stage = weir_arena_alloc(arena, sizeof *stage);

    weir__v1__stage_pressure__init(stage);
    stage->stage = WEIR__V1__STAGE__STAGE_EMBED;
    stage->queued = 7;
    response->pressure = weir_arena_alloc(arena, sizeof *response->pressure);
    weir__v1__pressure__init(response->pressure);
    response->pressure->ready = 11;
    response->pressure->admission = WEIR__V1__ADMISSION__ADMISSION_ACCEPTING;
    response->pressure->stages = weir_arena_memdup(arena, &stage, sizeof stage);
    response->pressure->n_stages = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(get_pressure, void, Weir__V1__GetPressureRequest, Weir__V1__GetPressureResponse,
    weir__v1__get_pressure_response__init)

static void
watch_pressure(void *self, weir_rpc_call *call, const Weir__V1__WatchPressureRequest *request)
{
    Weir__V1__WatchPressureResponse answer = WEIR__V1__WATCH_PRESSURE_RESPONSE__INIT;
    Weir__V1__Pressure seen = WEIR__V1__PRESSURE__INIT;

    note("pressure collection=%s interval=%lld.%09d\n", request->collection_id,
        (long long)request->interval->seconds, request->interval->nanos);
    answer.time = weir_wire_time(weir_rpc_call_arena(call), 1700000000000);
    answer.pressure = &seen;
    for (seen.ready = 21; seen.ready < 24; seen.ready++)
        weir_rpc_send(call, &answer.base);
    weir_rpc_finish(call);
}
WEIR_RPC_REQUEST(watch_pressure, void, Weir__V1__WatchPressureRequest)

static weir_code
run_audit(void *self, weir_rpc_call *call, const Weir__V1__RunAuditRequest *request,
    Weir__V1__RunAuditResponse *response, weir_arena *arena, weir_error *reterr)
{
    note("audit %s dry=%d\n", request->collection_id, request->dry_run);
    response->checked_count = 40;
    response->inconsistency_count = 3;
    response->repaired_count = 2;
    return WEIR_OK;
}
WEIR_RPC_UNARY(run_audit, void, Weir__V1__RunAuditRequest, Weir__V1__RunAuditResponse,
    weir__v1__run_audit_response__init)

static Weir__V1__Inconsistency *
make_inconsistency(weir_arena *arena)
{
    Weir__V1__Inconsistency *it = weir_arena_alloc(arena, sizeof *it);

    weir__v1__inconsistency__init(it);
    it->inconsistency_id = weir_arena_strdup(arena, "17");
    it->document_id = weir_arena_strdup(arena, "doubtful");
    it->message = weir_arena_strdup(arena, "it is FAILED and READY at once");
    it->recorded_state = STATE(FAILED);
    it->evident_state = STATE(READY);
    return it;
}

static weir_code
list_inconsistencies(void *self, weir_rpc_call *call,
    const Weir__V1__ListInconsistenciesRequest *request,
    Weir__V1__ListInconsistenciesResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__Inconsistency *it = make_inconsistency(arena);

    note("inconsistencies token=%s resolved=%d\n", request->page_token, request->show_resolved);
    response->inconsistencies = weir_arena_memdup(arena, &it, sizeof it);
    response->n_inconsistencies = 1;
    if (request->page_token[0] == '\0')
        response->next_page_token = weir_arena_strdup(arena, "next");
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_inconsistencies, void, Weir__V1__ListInconsistenciesRequest,
    Weir__V1__ListInconsistenciesResponse, weir__v1__list_inconsistencies_response__init)

static weir_code
resolve_inconsistency(void *self, weir_rpc_call *call,
    const Weir__V1__ResolveInconsistencyRequest *request,
    Weir__V1__ResolveInconsistencyResponse *response, weir_arena *arena, weir_error *reterr)
{
    if (strcmp(request->inconsistency_id, "17") != 0)
        return weir_error_set(reterr, WEIR_NOT_FOUND, "there is no inconsistency");
    response->inconsistency = make_inconsistency(arena);
    response->inconsistency->resolution = request->resolution;
    return WEIR_OK;
}
WEIR_RPC_UNARY(resolve_inconsistency, void, Weir__V1__ResolveInconsistencyRequest,
    Weir__V1__ResolveInconsistencyResponse, weir__v1__resolve_inconsistency_response__init)

static weir_code
list_models(void *self, weir_rpc_call *call, const Weir__V1__ListModelsRequest *request,
    Weir__V1__ListModelsResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__Model *model = weir_arena_alloc(arena, sizeof *model);

    weir__v1__model__init(model);
    model->name = (char *)"hash-384";
    model->dimension = 384;
    model->is_default = true;
    response->models = weir_arena_memdup(arena, &model, sizeof model);
    response->n_models = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_models, void, Weir__V1__ListModelsRequest, Weir__V1__ListModelsResponse,
    weir__v1__list_models_response__init)

static Weir__V1__Collection *
make_collection(weir_arena *arena, const char *name)
{
    Weir__V1__Collection *it = weir_arena_alloc(arena, sizeof *it);

    weir__v1__collection__init(it);
    it->collection_id = weir_arena_strdup(arena, name);
    it->embedding_model = (char *)"hash-384";
    it->document_count = 5;
    return it;
}

static weir_code
create_collection(void *self, weir_rpc_call *call, const Weir__V1__CreateCollectionRequest *request,
    Weir__V1__CreateCollectionResponse *response, weir_arena *arena, weir_error *reterr)
{
    const Weir__V1__Collection *wanted = request->collection;

    note("create %s model=%s tokens=%d\n", wanted->collection_id, wanted->embedding_model,
        wanted->chunking != NULL ? wanted->chunking->max_tokens : 0);
    if (strcmp(wanted->collection_id, "there") == 0)
        return weir_error_set(reterr, WEIR_COLLECTION_EXISTS, "it is there");
    response->collection = make_collection(arena, wanted->collection_id);
    return WEIR_OK;
}
WEIR_RPC_UNARY(create_collection, void, Weir__V1__CreateCollectionRequest,
    Weir__V1__CreateCollectionResponse, weir__v1__create_collection_response__init)

static weir_code
get_collection(void *self, weir_rpc_call *call, const Weir__V1__GetCollectionRequest *request,
    Weir__V1__GetCollectionResponse *response, weir_arena *arena, weir_error *reterr)
{
    if (strcmp(request->collection_id, "nowhere") == 0)
        return weir_error_set(reterr, WEIR_COLLECTION_NOT_FOUND,
            "there is no collection "
            "\"nowhere\"");
    response->collection = make_collection(arena, request->collection_id);
    return WEIR_OK;
}
WEIR_RPC_UNARY(get_collection, void, Weir__V1__GetCollectionRequest,
    Weir__V1__GetCollectionResponse, weir__v1__get_collection_response__init)

static weir_code
list_collections(void *self, weir_rpc_call *call, const Weir__V1__ListCollectionsRequest *request,
    Weir__V1__ListCollectionsResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__Collection *it =
        make_collection(arena, request->page_token[0] == '\0' ? "first" : "second");

    response->collections = weir_arena_memdup(arena, &it, sizeof it);
    response->n_collections = 1;
    response->next_page_token = (char *)(request->page_token[0] == '\0' ? "more" : "");
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_collections, void, Weir__V1__ListCollectionsRequest,
    Weir__V1__ListCollectionsResponse, weir__v1__list_collections_response__init)

static weir_code
wait_collection(void *self, weir_rpc_call *call, const Weir__V1__WaitCollectionRequest *request,
    Weir__V1__WaitCollectionResponse *response, weir_arena *arena, weir_error *reterr)
{
    response->settled = strcmp(request->collection_id, "slow") != 0;
    response->ready = 4;
    response->failed = strcmp(request->collection_id, "failing") == 0;
    return WEIR_OK;
}
WEIR_RPC_UNARY(wait_collection, void, Weir__V1__WaitCollectionRequest,
    Weir__V1__WaitCollectionResponse, weir__v1__wait_collection_response__init)

static Weir__V1__DeadLetter *
make_letter(weir_arena *arena)
{
    Weir__V1__DeadLetter *it = weir_arena_alloc(arena, sizeof *it);

    weir__v1__dead_letter__init(it);
    it->dead_letter_id = (char *)"d1";
    it->document_id = (char *)"failed";
    it->failure = weir_arena_alloc(arena, sizeof *it->failure);
    weir__v1__failure_info__init(it->failure);
    it->failure->reason = (char *)"EMPTY";
    it->failure->message = (char *)"no text";
    return it;
}

static weir_code
list_dead_letters(void *self, weir_rpc_call *call, const Weir__V1__ListDeadLettersRequest *request,
    Weir__V1__ListDeadLettersResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__DeadLetter *it = make_letter(arena);

    response->dead_letters = weir_arena_memdup(arena, &it, sizeof it);
    response->n_dead_letters = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(list_dead_letters, void, Weir__V1__ListDeadLettersRequest,
    Weir__V1__ListDeadLettersResponse, weir__v1__list_dead_letters_response__init)

static weir_code
get_dead_letter(void *self, weir_rpc_call *call, const Weir__V1__GetDeadLetterRequest *request,
    Weir__V1__GetDeadLetterResponse *response, weir_arena *arena, weir_error *reterr)
{
    if (strcmp(request->dead_letter_id, "d1") != 0)
        return weir_error_set(reterr, WEIR_DEAD_LETTER_NOT_FOUND, "no such letter");
    response->dead_letter = make_letter(arena);
    return WEIR_OK;
}
WEIR_RPC_UNARY(get_dead_letter, void, Weir__V1__GetDeadLetterRequest,
    Weir__V1__GetDeadLetterResponse, weir__v1__get_dead_letter_response__init)

static weir_code
requeue_dead_letters(void *self, weir_rpc_call *call,
    const Weir__V1__RequeueDeadLettersRequest *request,
    Weir__V1__RequeueDeadLettersResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__RequeueDeadLettersResult *it = weir_arena_alloc(arena, sizeof *it);

    note("requeue ids=%zu dry=%d token=%s size=%d\n", request->n_dead_letter_ids, request->dry_run,
        request->page_token, request->page_size);
    if (strcmp(request->collection_id, "pages") == 0 && strcmp(request->page_token, "two") != 0) {
        const bool is_first = request->page_token[0] == '\0';

        response->requeued_count = is_first ? 0 : 1; /* a page may be empty */
        response->next_page_token = (char *)(is_first ? "one" : "two");
        response->more = true;
        response->retry_delay = weir_arena_alloc(arena, sizeof *response->retry_delay);
        google__protobuf__duration__init(response->retry_delay);
        response->retry_delay->nanos = 1000000;
        return WEIR_OK;
    }
    weir__v1__requeue_dead_letters_result__init(it);
    it->dead_letter_id = (char *)"d1";
    it->run = 2;
    if (request->n_dead_letter_ids > 0 && strcmp(request->dead_letter_ids[0], "bad") == 0) {
        it->status = weir_arena_alloc(arena, sizeof *it->status);
        google__rpc__status__init(it->status);
        it->status->code = 5;
        it->status->message = (char *)"no such letter";
    } else {
        response->requeued_count = 1;
    }
    response->results = weir_arena_memdup(arena, &it, sizeof it);
    response->n_results = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(requeue_dead_letters, void, Weir__V1__RequeueDeadLettersRequest,
    Weir__V1__RequeueDeadLettersResponse, weir__v1__requeue_dead_letters_response__init)

static weir_code
summarize_dead_letters(void *self, weir_rpc_call *call,
    const Weir__V1__SummarizeDeadLettersRequest *request,
    Weir__V1__SummarizeDeadLettersResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__DeadLetterSummary *it = weir_arena_alloc(arena, sizeof *it);

    weir__v1__dead_letter_summary__init(it);
    it->reason = (char *)"EMPTY";
    it->count = 41;
    it->sample_dead_letter_id = (char *)"d1";
    response->summaries = weir_arena_memdup(arena, &it, sizeof it);
    response->n_summaries = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(summarize_dead_letters, void, Weir__V1__SummarizeDeadLettersRequest,
    Weir__V1__SummarizeDeadLettersResponse, weir__v1__summarize_dead_letters_response__init)

static weir_code
discard_dead_letters(void *self, weir_rpc_call *call,
    const Weir__V1__DiscardDeadLettersRequest *request,
    Weir__V1__DiscardDeadLettersResponse *response, weir_arena *arena, weir_error *reterr)
{
    Weir__V1__DiscardDeadLettersResult *it = weir_arena_alloc(arena, sizeof *it);

    note("discard ids=%zu dry=%d\n", request->n_dead_letter_ids, request->dry_run);
    weir__v1__discard_dead_letters_result__init(it);
    it->dead_letter_id = (char *)"d1";
    it->document_id = (char *)"failed";
    it->state = STATE(SUPERSEDED);
    response->results = weir_arena_memdup(arena, &it, sizeof it);
    response->n_results = 1;
    response->discarded_count = 1;
    return WEIR_OK;
}
WEIR_RPC_UNARY(discard_dead_letters, void, Weir__V1__DiscardDeadLettersRequest,
    Weir__V1__DiscardDeadLettersResponse, weir__v1__discard_dead_letters_response__init)

static void
send_bytes(weir_rpc_call *call, const char *bytes)
{
    Weir__V1__DownloadDocumentResponse part = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__INIT;

    part.part_case = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_DATA;
    part.data.data = (uint8_t *)(uintptr_t)bytes;
    part.data.len = strlen(bytes);
    (void)weir_rpc_send(call, &part.base);
}

/* "short" is cut off on the way. */
static void
download(void *self, weir_rpc_call *call, const Weir__V1__DownloadDocumentRequest *request)
{
    Weir__V1__DownloadDocumentHeader header = WEIR__V1__DOWNLOAD_DOCUMENT_HEADER__INIT;
    Weir__V1__DownloadDocumentResponse part = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__INIT;
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str("some bytes"));
    char hex[2 * WEIR_SHA256_SIZE + 1];
    weir_error error;

    if (strcmp(request->document_id, "nowhere") == 0) {
        weir_error_set(&error, WEIR_DOCUMENT_NOT_FOUND, "there is no such document");
        weir_rpc_fail(call, &error);
        return;
    }
    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    header.document = make_document(weir_rpc_call_arena(call), "ready", STATE(READY));
    header.document->content_sha256 = hex;
    part.part_case = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_HEADER;
    part.header = &header;
    (void)weir_rpc_send(call, &part.base);
    send_bytes(call, "some ");
    if (strcmp(request->document_id, "short") != 0)
        send_bytes(call, "bytes");
    weir_rpc_finish(call);
}
WEIR_RPC_REQUEST(download, void, Weir__V1__DownloadDocumentRequest)

static const weir_rpc_handler document_rows[] = {
    { .method = "DownloadDocument", .request = download_rpc },
    { .method = "GetDocument", .request = get_document_rpc },
    { .method = "ListDocuments", .request = list_documents_rpc },
    { .method = "DeleteDocument", .request = delete_document_rpc },
    { .method = "RetryDocument", .request = retry_document_rpc },
    { .method = "WaitDocument", .request = wait_document_rpc },
    { .method = "ListChunks", .request = list_chunks_rpc },
    { .method = "WatchDocuments", .request = watch_documents_rpc },
    { .method = "IngestDocuments",
        .open = ingest_open,
        .message = ingest_documents_rpc,
        .half_closed = ingest_half_closed },
};
static const weir_rpc_handler search_rows[] = { { .method = "Search", .request = search_rpc } };
static const weir_rpc_handler system_rows[] = {
    { .method = "GetPressure", .request = get_pressure_rpc },
    { .method = "WatchPressure", .request = watch_pressure_rpc },
    { .method = "ListModels", .request = list_models_rpc },
    { .method = "RunAudit", .request = run_audit_rpc },
    { .method = "ListInconsistencies", .request = list_inconsistencies_rpc },
    { .method = "ResolveInconsistency", .request = resolve_inconsistency_rpc },
};
static const weir_rpc_handler collection_rows[] = {
    { .method = "CreateCollection", .request = create_collection_rpc },
    { .method = "GetCollection", .request = get_collection_rpc },
    { .method = "ListCollections", .request = list_collections_rpc },
    { .method = "WaitCollection", .request = wait_collection_rpc },
};
static const weir_rpc_handler letter_rows[] = {
    { .method = "ListDeadLetters", .request = list_dead_letters_rpc },
    { .method = "GetDeadLetter", .request = get_dead_letter_rpc },
    { .method = "RequeueDeadLetters", .request = requeue_dead_letters_rpc },
    { .method = "SummarizeDeadLetters", .request = summarize_dead_letters_rpc },
    { .method = "DiscardDeadLetters", .request = discard_dead_letters_rpc },
};

#define ADD(service_, rows_)                                                                  \
    assert_int_equal(weir_rpc_server_add(server, &weir__v1__##service_##_service__descriptor, \
                         rows_, sizeof rows_ / sizeof rows_[0], NULL, &error),                \
        WEIR_OK)

static int
start_gateway(void **state)
{
    static const char *const address = "127.0.0.1:0";
    weir_error error = { 0 };
    char endpoint[64];

    runtime = weir_rpc_runtime_create(1);
    descriptors = weir_rpc_descriptors_create();
    assert_int_equal(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error), WEIR_OK);
    const weir_rpc_server_options options = { .descriptors = descriptors,
        .addresses = &address,
        .address_count = 1 };
    assert_int_equal(weir_rpc_server_create(runtime, &options, &server, &error), WEIR_OK);
    ADD(document, document_rows);
    ADD(search, search_rows);
    ADD(system, system_rows);
    ADD(collection, collection_rows);
    ADD(dead_letter, letter_rows);
    assert_int_equal(weir_rpc_server_start(server, &error), WEIR_OK);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", weir_rpc_server_port(server, 0));
    setenv("WEIR_ADDRESS", endpoint, 1);
    snprintf(folder, sizeof folder, "/tmp/weir-client-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int
stop_gateway(void **state)
{
    char shell[128];

    weir_rpc_server_destroy(&server);
    weir_rpc_runtime_destroy(&runtime);
    weir_rpc_descriptors_destroy(&descriptors);
    snprintf(shell, sizeof shell, "rm -rf %s", folder);
    return system(shell);
}

/* ---- the tests ---- */

static const program_result *
weir(const char *format, ...)
{
    char words[1024];
    va_list arguments;

    pthread_mutex_lock(&lock);
    log_text[0] = '\0';
    pthread_mutex_unlock(&lock);
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return run_words(WEIR_PROGRAM, words);
}

static void
expect(const program_result *result, int status, const char *out)
{
    if (result->status != status)
        fail_msg("exit %d, not %d: %s%s", result->status, status, result->out, result->err);
    assert_contains(result->out, out);
}

static void
expect_error(const program_result *result, int status, const char *err)
{
    if (result->status != status)
        fail_msg("exit %d, not %d: %s%s", result->status, status, result->out, result->err);
    assert_contains(result->err, err);
}

static void
get_shows_a_document(void **state)
{
    expect(weir("get ready -c c --revision 2"), CLI_OK, "state        READY");
    assert_contains(log_text, "get ready r2");
    expect(weir("get ready -c c -o "
                "json"),
        CLI_OK, "{\"collectionId\":\"c\",\"documentId\":\"ready\"");
    expect(weir("get failed -c c"), CLI_OK, "EMPTY: there is no text in it");
}

static void
failures_say_reason_field_next_step_and_request_id(void **state)
{
    const program_result *result = weir("get nobody -c c");

    expect_error(result, CLI_NOT_FOUND,
        "weir: DOCUMENT_NOT_FOUND: there is no document "
        "\"nobody\"");
    assert_contains(result->err, "field: document_id");
    assert_contains(result->err, "next: `weir ls -c NAME`");
    assert_contains(result->err, "request_id: 0");
    expect_error(weir("get pressure -c c"), CLI_PRESSURE, "PRESSURE");
    expect_error(weir("get x"), CLI_USAGE, "which collection?");
    expect_error(weir("get ready -c c --address "
                      "127.0.0.1:1"),
        CLI_UNREACHABLE, "SERVICE_UNAVAILABLE");
    expect_error(weir("get ready -c c --revision none"), CLI_USAGE, "--revision");
}

static void
the_key_is_sent_and_a_missing_one_is_named(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/key", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("k1.secret\n", file);
    fclose(file);
    setenv("WEIR_API_KEY_FILE", path, 1);
    expect(weir("get ready -c c"), CLI_OK, "READY");
    assert_contains(log_text, "key Bearer k1.secret\n");
    setenv("WEIR_API_KEY_FILE", "/nowhere/key", 1);
    expect_error(weir("get ready -c c"), CLI_CREDENTIALS, "/nowhere/key");
    unsetenv("WEIR_API_KEY_FILE");
}

static void
ls_reads_every_page(void **state)
{
    const program_result *result = weir("ls -c c --state READY --state FAILED --deleted");

    expect(result, CLI_OK, "ready");
    assert_contains(result->out, "EMPTY: there is no text in it");
    assert_contains(log_text, "list states=2 filter= deleted=1");
    result = weir("ls -c c -n 1 -o json");
    expect(result, CLI_OK, "\"documentId\":\"ready\"");
    assert_null(strstr(result->out, "failed"));
    expect_error(weir("ls -c c --state NONE"), CLI_USAGE, "--state NONE");
}

static void
rm_and_retry_go_on_after_a_failure(void **state)
{
    const program_result *result = weir("rm ready nobody failed -c c --allow-missing");

    expect(result, CLI_NOT_FOUND, "ready: deleted (revision 3)");
    assert_contains(result->out, "failed: deleted");
    assert_contains(log_text, "delete failed missing=1");
    expect_error(weir("retry ready -c c"), CLI_CONFLICT, "STATE_NOT_RETRYABLE");
    expect(weir("retry failed -c c"), CLI_OK, "failed: trying again");
}

static void
wait_has_a_code_for_each_end(void **state)
{
    expect(weir("wait ready -c c"), CLI_OK, "ready: READY");
    expect(weir("wait failed -c c"), CLI_SOME_FAILED, "failed: FAILED");
    expect_error(weir("wait slow -c c --timeout 50ms"), CLI_TIMED_OUT, "weir explain slow -c c");
    expect(weir("wait -c c"), CLI_OK, "4 ready, 0 failed");
    expect(weir("wait -c failing"), CLI_SOME_FAILED, "1 failed");
    expect(weir("wait -c slow --timeout 50ms"), CLI_TIMED_OUT, "4 ready");
}

static void
watch_prints_events_and_names_an_old_token(void **state)
{
    expect(weir("watch ready -c c"), CLI_OK, "READY");
    assert_contains(log_text, "watch ids=1 token=\n");
    expect(weir("watch -c c -o json"), CLI_OK, "\"resumeToken\":\"t1\"");
    expect_error(weir("watch -c c --resume old"), CLI_ERROR, "begin anew without --resume");
}

static void
chunks_shows_text_and_place(void **state)
{
    expect(weir("chunks ready -c c"), CLI_OK, "the text of a chunk");
    expect(weir("chunks ready -c c -o json"), CLI_OK, "\"text\":\"the text of a chunk\"");
}

static void
search_shows_passages_without_their_control_characters(void **state)
{
    const program_result *result = weir("search question -c c -k 3 --mode vector --exact "
                                        "--min-score 0.5");

    expect(result, CLI_OK, " 1. 0.750  ready  A title");
    assert_contains(result->out, "a passage  [31mwith colours");
    assert_contains(result->out, "2 accepted documents are not searchable yet");
    assert_contains(log_text, "search question k=3 filter= mode=1 exact=1 min=1");
    expect(weir("search nothing -c c"), CLI_OK, "nothing found");
    expect(weir("search question -c c -o json"), CLI_OK, "{\"chunkId\":\"ready@3#0\"");
    expect(weir("search question -c c --explain"), CLI_OK, "ready@3#0");
    expect_error(weir("search question -c c --mode magic"), CLI_USAGE, "--mode");
    expect_error(weir("search question -c c --min-score high"), CLI_USAGE, "--min-score");
    expect_error(weir("search question -c c -k 0"), CLI_USAGE, "--top-k");
}

static void
pressure_models_and_collections_are_tables(void **state)
{
    expect(weir("pressure"), CLI_OK, "11 ready");
    expect(weir("pressure"), CLI_OK, "embed");
    expect(weir("pressure -o json"), CLI_OK, "\"admission\":\"ADMISSION_ACCEPTING\"");
    expect(weir("pressure --watch"), CLI_OK, "23 ready");
    assert_contains(log_text, "pressure collection= interval=1.000000000\n");
    const program_result *two = weir("pressure --watch -c mine -i 250ms -n 2 -o json");
    expect(two, CLI_OK, "\"ready\":\"22\"");
    assert_null(strstr(two->out, "\"23\""));
    assert_contains(log_text, "pressure collection=mine interval=0.250000000\n");
    expect_error(weir("pressure --watch -n many"), CLI_USAGE, "--count");
    expect(weir("model ls"), CLI_OK, "hash-384");
    expect(weir("collection ls"), CLI_OK, "second");
    expect(weir("collection get mine"), CLI_OK, "mine");
    expect_error(weir("collection get nowhere"), CLI_NOT_FOUND, "weir collection create NAME");
    expect(weir("collection create new --model m --max-tokens 64"), CLI_OK, "new");
    assert_contains(log_text, "create new model=m tokens=64");
    expect_error(weir("collection create there"), CLI_CONFLICT, "COLLECTION_EXISTS");
}

static void
an_audit_is_run_listed_and_decided(void **state)
{
    const program_result *result = weir("audit run -c c --dry-run");

    expect(result, CLI_OK, "40 documents compared, 3 inconsistencies found, 2 of them would be");
    assert_contains(log_text, "audit c dry=1");
    expect(weir("audit run -o json"), CLI_OK, "\"checkedCount\":\"40\"");
    result = weir("audit ls --resolved");
    expect(result, CLI_OK, "doubtful");
    assert_contains(result->out, "review");
    assert_contains(result->out, "open");
    assert_contains(log_text, "inconsistencies token=next resolved=1");
    expect(weir("audit ls -n 1 -o json"), CLI_OK, "\"inconsistencyId\":\"17\"");
    expect(weir("audit resolve 17 redrive"), CLI_OK, "17  doubtful  redrive");
    expect(weir("audit resolve 17 dismiss -o json"), CLI_OK, "INCONSISTENCY_RESOLUTION_DISMISS");
    expect_error(weir("audit resolve 18 advance"), CLI_NOT_FOUND, "no inconsistency");
    expect_error(weir("audit resolve 17 perhaps"), CLI_USAGE, "advance, redrive or dismiss");
    expect_error(weir("audit"), CLI_USAGE, "weir audit resolve");
}

static void
dead_letters_are_listed_shown_and_requeued(void **state)
{
    expect(weir("dlq ls"), CLI_OK, "EMPTY");
    expect(weir("dlq get d1"), CLI_OK, "document     failed");
    expect_error(weir("dlq get d2"), CLI_NOT_FOUND, "DEAD_LETTER_NOT_FOUND");
    expect(weir("dlq requeue d1"), CLI_OK, "1 are tried again");
    expect(weir("dlq requeue -c c --dry-run"), CLI_OK, "1 would be tried again");
    assert_contains(log_text, "requeue ids=0 dry=1");
    expect(weir("dlq requeue bad"), CLI_SOME_FAILED, "no such letter");
    expect_error(weir("dlq requeue"), CLI_USAGE, "which ones?");
    expect_error(weir("dlq requeue d1 -c c"), CLI_USAGE, "which ones?");
    expect(weir("dlq summary -c c"), CLI_OK, "41");
}

static void
a_requeue_goes_on_until_no_page_is_left(void **state)
{
    expect(weir("dlq requeue -c pages"), CLI_OK, "2 are tried again");
    assert_contains(log_text, "token= size=1000\n");
    assert_contains(log_text, "token=one size=1000\n");
    assert_contains(log_text, "token=two size=1000\n");
    expect(weir("dlq requeue -c pages --limit 1"), CLI_OK, "1 are tried again");
    assert_contains(log_text, "token=one size=1\n");
}

static void
a_discard_by_a_script_needs_a_yes(void **state)
{
    expect_error(weir("dlq discard d1"), CLI_USAGE, "--yes");
    assert_null(strstr(log_text, "discard ids"));
    expect(weir("dlq discard d1 --yes"), CLI_OK, "1 are discarded");
    expect_error(weir("dlq discard d1 d9 --yes"), CLI_SOME_FAILED,
        "there is no dead letter \"d9\"");
    expect(weir("dlq discard -c c --dry-run"), CLI_OK, "SUPERSEDED");
    assert_contains(log_text, "discard ids=0 dry=1");
}

static void
the_bytes_of_a_document_are_written_whole_or_not_at_all(void **state)
{
    expect(weir("cat ready -c c"), CLI_OK, "some bytes");
    expect_error(weir("cat short -c c"), CLI_ERROR, "another SHA-256");
    expect_error(weir("cat nowhere -c c"), CLI_NOT_FOUND, "DOCUMENT_NOT_FOUND");
}

static void
call_speaks_json_both_ways(void **state)
{
    expect(weir("call DocumentService/GetDocument -d "
                "{\"collectionId\":\"c\",\"documentId\":\"ready\"}"),
        CLI_OK, "{\"document\":{\"collectionId\":\"c\"");
    expect(weir("call weir.v1.SystemService/GetPressure"), CLI_OK, "\"queued\":\"7\"");
    expect(weir("call weir.v1.DocumentService.WatchDocuments -d "
                "{\"collectionId\":\"c\"}"),
        CLI_OK, "\"resumeToken\"");
    expect_error(weir("call DocumentService/GetDocument -d "
                      "{\"nonsense\":1}"),
        CLI_USAGE, "nonsense");
    expect_error(weir("call DocumentService/GetDocument -d {"), CLI_USAGE,
        "is no "
        "weir.v1.GetDocumentRequest");
    expect_error(weir("call "
                      "DocumentService/Nothing"),
        CLI_USAGE, "weir.v1.DocumentService/GetDocument");
    expect_error(weir("call SystemService/GetServerInfo"), CLI_ERROR, "UNIMPLEMENTED");
    expect_error(weir("call DocumentService/GetDocument -d @/nowhere"), CLI_ERROR, "/nowhere");
}

static void
call_sends_a_line_per_message_of_a_stream(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/lines", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"request\":{\"collectionId\":\"c\",\"documentId\":\"one\","
          "\"text\":\"x\"},\"correlationId\":\"a\"}\n"
          "{\"request\":{\"collectionId\":\"c\",\"documentId\":\"two\","
          "\"text\":\"x\"},\"correlationId\":\"b\"}\n",
        file);
    fclose(file);
    const program_result *result = weir("call DocumentService/IngestDocuments -d @%s", path);
    expect(result, CLI_OK, "\"correlationId\":\"a\"");
    assert_contains(result->out, "\"correlationId\":\"b\"");
}

static void
write_file(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/docs/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int
make_documents(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/docs", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("a.md", "aaa");
    write_file("b.txt", "b");
    write_file("same.md", "same");
    return 0;
}

static int
remove_documents(void **state)
{
    char shell[128];

    snprintf(shell, sizeof shell, "rm -rf %s/docs", folder);
    return system(shell);
}

static void
ingest_sends_what_is_new_and_counts(void **state)
{
    const program_result *result = weir("ingest %s/docs -c c", folder);

    expect(result, CLI_OK, "3 files: 2 accepted, 1 unchanged, 0 refused");
    assert_contains(log_text, "item c a.md file=a.md request_id= bytes=3");
    assert_contains(log_text, "item c b.txt");
    assert_null(strstr(log_text, "item c same.md"));
    assert_contains(result->err, "3/3 files accepted");
}

static void
ingest_waits_and_some_failed_is_four(void **state)
{
    const program_result *result = weir("ingest %s/docs -c c --wait", folder);

    expect(result, CLI_OK, "3 READY");
    write_file("bad.md", "bad");
    result = weir("ingest %s/docs -c c --wait", folder);
    expect(result, CLI_SOME_FAILED, "3 READY, 1 FAILED");
    assert_contains(result->err, "bad.md FAILED: EMPTY: there is no text in it");
    result = weir("ingest %s/docs -c c --wait -o json", folder);
    assert_contains(result->out, "{\"collectionId\":\"c\",\"documentId\":\"a.md\"");
    assert_contains(result->err, "4 files: 3 accepted");
}

static void
ingest_names_what_was_refused(void **state)
{
    write_file("refused.txt", "x");
    const program_result *result = weir("ingest %s/docs -c c", folder);
    expect(result, CLI_SOME_FAILED, "1 refused");
    assert_contains(result->err, "refused.txt was refused: that will not do");
}

static void
ingest_goes_on_after_a_lost_stream(void **state)
{
    /* One item is accepted in a first run, so that a lost connection is worth waiting for. */
    cut_streams = 0;
    expect(weir("ingest %s/docs -c c", folder), CLI_OK, "2 accepted");
    pthread_mutex_lock(&lock);
    cut_streams = 1;
    pthread_mutex_unlock(&lock);
    expect(weir("ingest %s/docs -c c", folder), CLI_OK, "3 files: 2 accepted, 1 unchanged");
    const char *first = strstr(log_text, "stream\n");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "stream\n"));
}

static void
ingest_takes_prefix_pattern_and_force(void **state)
{
    expect(weir("ingest %s/docs -c c --request-prefix run7- --glob *.md --force", folder), CLI_OK,
        "2 files: 2 accepted");
    assert_contains(log_text, "item c a.md file=a.md request_id=run7-a.md");
    assert_contains(log_text, "item c same.md");
    expect_error(weir("ingest %s/docs -c c --glob *.pdf", folder), CLI_NOT_FOUND,
        "no file to "
        "ingest");
    expect_error(weir("ingest /nowhere/x -c c"), CLI_NOT_FOUND, "/nowhere/x: No such file");
    expect_error(weir("ingest %s/docs -c c --address "
                      "127.0.0.1:1",
                     folder),
        CLI_UNREACHABLE, "SERVICE_UNAVAILABLE");
}

static void
ingest_refuses_a_large_file_when_there_are_no_uploads(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/docs/large.txt", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (4 << 20) + 1), 0);
    fclose(file);
    const program_result *result = weir("ingest %s/docs -c c", folder);
    expect(result, CLI_SOME_FAILED, "2 accepted, 1 unchanged, 1 refused");
    assert_contains(result->err, "more than 4 MiB");
}

static void
what_is_no_command_is_a_usage_error(void **state)
{
    expect_error(weir("frobnicate"), CLI_USAGE, "there is no command \"frobnicate\"");
    expect_error(weir("dlq"), CLI_USAGE, "weir dlq requeue");
    expect_error(weir("dlq nonsense"), CLI_USAGE, "there is no command \"dlq nonsense\"");
    expect_error(weir("dlq nonsense"), CLI_USAGE, "weir dlq requeue");
    expect(weir("help dlq"), CLI_OK, "weir dlq requeue");
    expect_error(weir("help dlq nonsense"), CLI_USAGE, "there is no command \"dlq nonsense\"");
    expect(weir("--help"), CLI_OK, "usage: weir COMMAND");
    expect(weir("help ingest"), CLI_OK, "weir ingest docs -c handbook --wait");
    expect(weir("help collection create"), CLI_OK, "weir collection create handbook");
    expect(weir("search --help"), CLI_OK, "usage: weir search TEXT");
    expect(weir("version"), CLI_OK, "weir " WEIR_VERSION);
    expect(weir("version -o json"), CLI_OK, "{\"version\":\"" WEIR_VERSION "\"}");
}

static void
settings_are_checked_and_printed(void **state)
{
    expect(weir("config check config/weir.yaml"), CLI_OK, "the settings are good");
    expect(weir("config check --config config/weir.yaml"), CLI_OK, "the settings are good");
    expect_error(weir("config check --set log.levle=debug"), CLI_ERROR, "did you mean log.level?");
    expect(weir("config print --set log.level=debug"), CLI_OK, "  level: debug");
    expect(weir("config print --default --set log.level=debug"), CLI_OK, "  level: info");
    expect(weir("config reference"), CLI_OK, "| `log.level` |");
}

#define DOCS(test_) cmocka_unit_test_setup_teardown(test_, make_documents, remove_documents)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_shows_a_document),
        cmocka_unit_test(failures_say_reason_field_next_step_and_request_id),
        cmocka_unit_test(the_key_is_sent_and_a_missing_one_is_named),
        cmocka_unit_test(ls_reads_every_page),
        cmocka_unit_test(rm_and_retry_go_on_after_a_failure),
        cmocka_unit_test(wait_has_a_code_for_each_end),
        cmocka_unit_test(watch_prints_events_and_names_an_old_token),
        cmocka_unit_test(chunks_shows_text_and_place),
        cmocka_unit_test(search_shows_passages_without_their_control_characters),
        cmocka_unit_test(pressure_models_and_collections_are_tables),
        cmocka_unit_test(an_audit_is_run_listed_and_decided),
        cmocka_unit_test(dead_letters_are_listed_shown_and_requeued),
        cmocka_unit_test(a_requeue_goes_on_until_no_page_is_left),
        cmocka_unit_test(a_discard_by_a_script_needs_a_yes),
        cmocka_unit_test(the_bytes_of_a_document_are_written_whole_or_not_at_all),
        cmocka_unit_test(call_speaks_json_both_ways),
        cmocka_unit_test(call_sends_a_line_per_message_of_a_stream),
        DOCS(ingest_sends_what_is_new_and_counts),
        DOCS(ingest_waits_and_some_failed_is_four),
        DOCS(ingest_names_what_was_refused),
        DOCS(ingest_goes_on_after_a_lost_stream),
        DOCS(ingest_takes_prefix_pattern_and_force),
        DOCS(ingest_refuses_a_large_file_when_there_are_no_uploads),
        cmocka_unit_test(what_is_no_command_is_a_usage_error),
        cmocka_unit_test(settings_are_checked_and_printed),
    };

    return cmocka_run_group_tests(tests, start_gateway, stop_gateway);
}
