/*
 * rpc_dead_letters.c - ListDeadLetters, GetDeadLetter and RequeueDeadLetters.
 *
 * The reconciler keeps dead letters; to requeue one is a retry of its revision by the gateway's
 * core, the same as RetryDocument, so nothing is lost when the reconciler is away in between.  On
 * workers of the pool, which wait.
 */
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "google/rpc/status.pb-c.h"
#include "services/gateway/check.h"
#include "services/gateway/filter.h"
#include "services/gateway/keys.h"
#include "services/gateway/peers.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"
#include "weir/v1/dead_letter.pb-c.h"

typedef Weir__V1__ListDeadLettersRequest list_request;
typedef Weir__V1__ListDeadLettersResponse list_response;
typedef Weir__V1__GetDeadLetterRequest get_request;
typedef Weir__V1__GetDeadLetterResponse get_response;
typedef Weir__V1__RequeueDeadLettersRequest requeue_request;
typedef Weir__V1__RequeueDeadLettersResponse requeue_response;
typedef Weir__Internal__V1__ListEndedDocumentsRequest ended_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse ended_response;
typedef Weir__V1__DeadLetter dead_letter;

enum {
    RECONCILER_MS = 5000,
    REQUEUE_MAX = 1000,
    DEAD_LETTER_ID_BYTES_MAX = 2048,
    ARRIVAL_LOOKS_MAX = 20,
    ARRIVAL_PAUSE_MS = 10,
};

/* ---- what was seen FAILED is listed ---- */

/* The reconciler lists a dead letter once it has heard that FAILED is durable here, some
 * milliseconds after a client may have seen it.  A list that begins within them waits, so that who
 * saw FAILED finds the dead letter. */

static weir_code
add_failed(gateway_look *look, uint64_t collection_no, uint64_t *sum, weir_error *reterr)
{
    counters_record counters;
    const weir_code code = gateway_look_counters(look, collection_no, &counters, reterr);

    if (code == WEIR_OK)
        *sum += counters.failed;
    return code;
}

static weir_code
sum_failed(gateway_look *look, const char *tenant, uint64_t *sum, weir_error *reterr)
{
    const weir_bytes lower = gateway_key_collections(&look->key, tenant);
    weir_iter *iter =
        weir_store_iter(look->store, look->snapshot, lower, gateway_key_after(&look->end, lower));
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        collection_record *collection = NULL;

        code = gateway_look_decode(look, &weir__internal__v1__collection_record__descriptor,
            weir_iter_value(iter), &collection, reterr);
        if (code == WEIR_OK)
            code = add_failed(look, collection->collection_no, sum, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
count_failed(gateway *self, const char *tenant, uint64_t collection_no, uint64_t *ret_failed,
    weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    gateway_look look;

    *ret_failed = 0;
    gateway_look_begin(&look, self->service->store, arena);
    const weir_code code = collection_no != 0 ? add_failed(&look, collection_no, ret_failed, reterr)
                                              : sum_failed(&look, tenant, ret_failed, reterr);
    gateway_look_end(&look);
    weir_arena_destroy(&arena);
    return code;
}

/* *ret_missing: fewer dead letters are listed than revisions FAILED; never true beyond what one
 * page holds. */
static weir_code
some_are_missing(gateway *self, weir_rpc_call *call, uint64_t collection_no, bool *ret_missing,
    weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ended_request wanted = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_REQUEST__INIT;
    ended_response *ended = NULL;
    uint64_t failed = 0;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.collection_no = collection_no;
    wanted.page_size = REQUEUE_MAX;
    *ret_missing = false;
    weir_code code = count_failed(self, wanted.tenant, collection_no, &failed, reterr);
    if (code == WEIR_OK && failed > 0 && failed <= REQUEUE_MAX) {
        code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "ListEndedDocuments",
            &wanted.base, gateway_time_left(call, RECONCILER_MS), arena, &ended, reterr);
        *ret_missing = code == WEIR_OK && ended->n_dead_letters < failed;
    }
    weir_arena_destroy(&arena);
    return code;
}

static weir_code
let_endings_arrive(gateway *self, weir_rpc_call *call, uint64_t collection_no, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    bool missing = true;

    for (int left = ARRIVAL_LOOKS_MAX; left > 0 && code == WEIR_OK && missing; left--) {
        if (left < ARRIVAL_LOOKS_MAX)
            weir_clock_sleep_ms(ARRIVAL_PAUSE_MS);
        code = some_are_missing(self, call, collection_no, &missing, reterr);
    }
    return code;
}

/* ---- ListDeadLetters ---- */

/* The reconciler's request for a collection (empty: all) and a filter. */
static weir_code
fill_ended(gateway *self, weir_rpc_call *call, const char *collection_id, const char *filter_text,
    ended_request *wanted, weir_error *reterr)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    collection_record *collection = NULL;
    gateway_filter filter;
    gateway_look look;
    weir_code code = WEIR_OK;

    weir__internal__v1__list_ended_documents_request__init(wanted);
    wanted->tenant = (char *)(uintptr_t)gateway_tenant(call);
    if (collection_id[0] != 0) {
        gateway_look_begin(&look, self->service->store, arena);
        code = gateway_look_collection(&look, wanted->tenant, collection_id, &collection, reterr);
        gateway_look_end(&look);
    }
    if (code == WEIR_OK)
        code = gateway_filter_parse(filter_text, GATEWAY_FILTER_REASON | GATEWAY_FILTER_STAGE,
            arena, &filter, reterr);
    if (code != WEIR_OK)
        return code;
    wanted->collection_no = collection != NULL ? collection->collection_no : 0;
    wanted->code = (uint32_t)filter.reason;
    wanted->stage = filter.stage;
    return WEIR_OK;
}

static weir_bytes
scope_of(weir_arena *arena, const list_request *request)
{
    return weir_bytes_str(weir_arena_printf(arena, "ListDeadLetters\n%s\n%s",
        request->collection_id, request->filter));
}

static weir_code
list_dead_letters(gateway *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    const weir_bytes scope = scope_of(arena, request);
    uint32_t page_size = 0;
    weir_bytes after;
    ended_request wanted;
    ended_response *ended = NULL;
    weir_code code = gateway_check_page_size(request->page_size, &page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &after, reterr);
    if (code == WEIR_OK)
        code = fill_ended(self, call, request->collection_id, request->filter, &wanted, reterr);
    if (code == WEIR_OK && after.size == 0)
        code = let_endings_arrive(self, call, wanted.collection_no, reterr);
    if (code != WEIR_OK)
        return code;
    wanted.page_size = (int32_t)page_size;
    wanted.after.data = (uint8_t *)(uintptr_t)after.data;
    wanted.after.len = after.size;
    code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "ListEndedDocuments",
        &wanted.base, gateway_time_left(call, RECONCILER_MS), arena, &ended, reterr);
    if (code != WEIR_OK)
        return code;
    response->n_dead_letters = ended->n_dead_letters;
    response->dead_letters = ended->dead_letters;
    if (ended->next.len > 0)
        response->next_page_token =
            gateway_page_next(arena, scope, weir_bytes_of(ended->next.data, ended->next.len));
    return WEIR_OK;
}

GATEWAY_UNARY(list_dead_letters, list_request, list_response,
    weir__v1__list_dead_letters_response__init)

/* ---- GetDeadLetter ---- */

static weir_code
ask_dead_letter(gateway *self, weir_rpc_call *call, const char *dead_letter_id, weir_arena *arena,
    dead_letter **ret_letter, weir_error *reterr)
{
    Weir__Internal__V1__GetEndedDocumentRequest wanted =
        WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetEndedDocumentResponse *ended = NULL;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.dead_letter_id = (char *)(uintptr_t)dead_letter_id;
    const weir_code code =
        gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "GetEndedDocument",
            &wanted.base, gateway_time_left(call, RECONCILER_MS), arena, &ended, reterr);
    if (code != WEIR_OK)
        return code;
    if (ended->dead_letter == NULL)
        return weir_error_set_field(reterr, WEIR_DEAD_LETTER_NOT_FOUND, "dead_letter_id",
            "there is no dead letter \"%.200s\"", dead_letter_id);
    *ret_letter = ended->dead_letter;
    return WEIR_OK;
}

static weir_code
check_id(const char *dead_letter_id, const char *field, weir_error *reterr)
{
    const size_t size = strlen(dead_letter_id);

    if (size == 0 || size > DEAD_LETTER_ID_BYTES_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, field,
            "%s must be an id from ListDeadLetters", field);
    return WEIR_OK;
}

static weir_code
get_dead_letter(gateway *self, weir_rpc_call *call, const get_request *request,
    get_response *response, weir_arena *arena, weir_error *reterr)
{
    const weir_code code = check_id(request->dead_letter_id, "dead_letter_id", reterr);

    return code != WEIR_OK ? code
                           : ask_dead_letter(self, call, request->dead_letter_id, arena,
                                 &response->dead_letter, reterr);
}

GATEWAY_UNARY(get_dead_letter, get_request, get_response, weir__v1__get_dead_letter_response__init)

/* ---- RequeueDeadLetters ---- */

typedef struct requeue requeue;

typedef struct requeue_item {
    requeue *all;
    const char *dead_letter_id;
    dead_letter *letter; /* NULL: not found */
    Weir__V1__RetryDocumentRequest retry;
    Weir__Internal__V1__RetryCommand command;
    weir_sha256_sum payload;
    weir_error error;
    int32_t run;
} requeue_item;

struct requeue {
    gateway *self;
    weir_rpc_call *call;
    const requeue_request *request;
    requeue_item *items;
    size_t count;
    bool more;
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t left; /* under the lock */
};

static void
retried(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    requeue_item *item = context;
    requeue *all = item->all;
    const Weir__V1__RetryDocumentResponse *response =
        (const Weir__V1__RetryDocumentResponse *)(const void *)message;

    if (error != NULL)
        item->error = *error;
    else
        item->run = response->document->run;
    pthread_mutex_lock(&all->lock);
    all->left--;
    pthread_cond_signal(&all->done);
    pthread_mutex_unlock(&all->lock);
}

/* The request_id of one retry, made from that of the call: calling twice starts no second run. */
static char *
derived_request_id(weir_arena *arena, const requeue *all, const requeue_item *item)
{
    char *hex = weir_arena_alloc(arena, 2 * WEIR_SHA256_SIZE + 1);
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(weir_arena_printf(arena, "%s\n%s",
        all->request->request_id, item->dead_letter_id)));

    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    return hex;
}

static void
fill_retry(const requeue *all, requeue_item *item)
{
    weir_arena *arena = weir_rpc_call_arena(all->call);

    weir__v1__retry_document_request__init(&item->retry);
    item->retry.collection_id = item->letter->collection_id;
    item->retry.document_id = item->letter->document_id;
    item->retry.revision = item->letter->revision;
    item->payload = gateway_hash_message(&item->retry.base);
    if (all->request->request_id[0] != 0)
        item->retry.request_id = derived_request_id(arena, all, item);
    weir__internal__v1__retry_command__init(&item->command);
    item->command.request = &item->retry;
    item->command.payload_sha256.data = item->payload.bytes;
    item->command.payload_sha256.len = sizeof item->payload.bytes;
}

static void
start_retry(requeue *all, requeue_item *item)
{
    fill_retry(all, item);
    pthread_mutex_lock(&all->lock);
    all->left++;
    pthread_mutex_unlock(&all->lock);
    if (weir_shell_submit(all->self->service->shell, GATEWAY_RETRY, gateway_tenant(all->call),
            weir_rpc_request_id(all->call), &item->command.base, retried, item,
            &item->error) == WEIR_OK)
        return;
    pthread_mutex_lock(&all->lock);
    all->left--;
    pthread_mutex_unlock(&all->lock);
}

static void
retry_all(requeue *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].letter != NULL && !all->request->dry_run)
            start_retry(all, &all->items[i]);
    pthread_mutex_lock(&all->lock);
    while (all->left > 0)
        pthread_cond_wait(&all->done, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

static weir_code
find_by_ids(requeue *all, weir_arena *arena, weir_error *reterr)
{
    const requeue_request *request = all->request;
    weir_code code = WEIR_OK;

    if (request->n_dead_letter_ids > REQUEUE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "dead_letter_ids",
            "dead_letter_ids holds %zu ids and 1,000 is the most", request->n_dead_letter_ids);
    all->items =
        weir_arena_alloc_zero(arena, (request->n_dead_letter_ids + 1) * sizeof *all->items);
    for (size_t i = 0; i < request->n_dead_letter_ids && code == WEIR_OK; i++) {
        requeue_item *item = &all->items[all->count++];

        item->all = all;
        item->dead_letter_id = request->dead_letter_ids[i];
        code = check_id(item->dead_letter_id, "dead_letter_ids", reterr);
        if (code == WEIR_OK)
            code = ask_dead_letter(all->self, all->call, item->dead_letter_id, arena, &item->letter,
                &item->error);
        if (code != WEIR_OK && weir_code_grpc_status(code) == 14) {
            *reterr = item->error;
            return code;
        }
        if (item->letter == NULL && item->error.code != WEIR_OK)
            code = WEIR_OK; /* that one's result says so */
    }
    return code;
}

static weir_code
find_by_filter(requeue *all, weir_arena *arena, weir_error *reterr)
{
    ended_request wanted;
    ended_response *ended = NULL;
    weir_code code = fill_ended(all->self, all->call, all->request->collection_id,
        all->request->filter, &wanted, reterr);

    if (code == WEIR_OK)
        code = let_endings_arrive(all->self, all->call, wanted.collection_no, reterr);
    if (code != WEIR_OK)
        return code;
    wanted.page_size = REQUEUE_MAX;
    code = gateway_peer_ask(all->self->reconciler, WEIR_SERVICE_RECONCILER, "ListEndedDocuments",
        &wanted.base, gateway_time_left(all->call, RECONCILER_MS), arena, &ended, reterr);
    if (code != WEIR_OK)
        return code;
    all->items = weir_arena_alloc_zero(arena, (ended->n_dead_letters + 1) * sizeof *all->items);
    for (size_t i = 0; i < ended->n_dead_letters; i++) {
        requeue_item *item = &all->items[all->count++];

        item->all = all;
        item->letter = ended->dead_letters[i];
        item->dead_letter_id = item->letter->dead_letter_id;
    }
    all->more = ended->next.len > 0;
    return WEIR_OK;
}

static weir_code
find(requeue *all, weir_arena *arena, weir_error *reterr)
{
    const bool has_ids = all->request->n_dead_letter_ids > 0;
    const bool has_filter = all->request->filter[0] != 0 || all->request->collection_id[0] != 0;
    const weir_code code = gateway_check_request_id(all->request->request_id, reterr);

    if (code != WEIR_OK)
        return code;
    if (has_ids == has_filter)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT,
            has_ids ? "filter" : "dead_letter_ids",
            "set either dead_letter_ids, or filter (\"*\" for all) or collection_id");
    return has_ids ? find_by_ids(all, arena, reterr) : find_by_filter(all, arena, reterr);
}

static weir_code
view_result(const requeue *all, const requeue_item *item, weir_arena *arena,
    Weir__V1__RequeueDeadLettersResult **ret_view, weir_error *reterr)
{
    Weir__V1__RequeueDeadLettersResult *view = weir_arena_alloc(arena, sizeof *view);
    weir_buffer packed = { 0 };
    ProtobufCMessage *status = NULL;
    weir_code code = WEIR_OK;

    weir__v1__requeue_dead_letters_result__init(view);
    view->dead_letter_id = (char *)(uintptr_t)item->dead_letter_id;
    view->run = item->run;
    if (item->letter != NULL) {
        view->collection_id = item->letter->collection_id;
        view->document_id = item->letter->document_id;
    }
    if (item->error.code != WEIR_OK) {
        weir_rpc_status_encode(&item->error, weir_rpc_request_id(all->call), &packed);
        code = weir_wire_decode(&google__rpc__status__descriptor, weir_buffer_view(&packed), NULL,
            arena, &status, reterr);
        view->status = (Google__Rpc__Status *)(void *)status;
        weir_buffer_fini(&packed);
    }
    *ret_view = view;
    return code;
}

static weir_code
view_all(const requeue *all, requeue_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    response->more = all->more;
    response->results = weir_arena_alloc(arena, (all->count + 1) * sizeof *response->results);
    for (size_t i = 0; i < all->count && code == WEIR_OK; i++) {
        response->requeued_count += all->items[i].error.code == WEIR_OK;
        code = view_result(all, &all->items[i], arena, &response->results[response->n_results++],
            reterr);
    }
    return code;
}

static weir_code
requeue_dead_letters(gateway *self, weir_rpc_call *call, const requeue_request *request,
    requeue_response *response, weir_arena *arena, weir_error *reterr)
{
    requeue all = { .self = self, .call = call, .request = request };
    weir_code code = find(&all, arena, reterr);

    if (code != WEIR_OK)
        return code;
    pthread_mutex_init(&all.lock, NULL);
    pthread_cond_init(&all.done, NULL);
    retry_all(&all);
    pthread_mutex_destroy(&all.lock);
    pthread_cond_destroy(&all.done);
    return view_all(&all, response, arena, reterr);
}

GATEWAY_UNARY(requeue_dead_letters, requeue_request, requeue_response,
    weir__v1__requeue_dead_letters_response__init)
