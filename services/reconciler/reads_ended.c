/*
 * reads_ended.c - dead letters one by one: the list, a page at a time, and one of them.  See
 * reads.h.
 *
 * A tenant's dead letters stand under its own name, so no request can reach those of another.
 */
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/time.h"
#include "common/wire/wire.h"
#include "services/reconciler/conditions.h"
#include "services/reconciler/reads_internal.h"

typedef Weir__Internal__V1__Failure failure_record;
typedef Weir__Internal__V1__ListEndedDocumentsRequest list_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse list_response;
typedef Weir__Internal__V1__GetEndedDocumentRequest get_request;
typedef Weir__Internal__V1__GetEndedDocumentResponse get_response;

enum {
    PAGE_BYTES_MAX = 3 << 20, /* of an answer of 4 MiB */
    LOOKED_AT_MAX = 10000,
};

/* ---- a dead letter as clients see it ---- */

static char *
reason_of(uint32_t code)
{
    return (char *)(uintptr_t)weir_code_name((weir_code)code);
}

static Weir__V1__ErrorClass
class_of(uint32_t code)
{
    return (Weir__V1__ErrorClass)weir_code_class((weir_code)code);
}

static void
view_attempts(weir_arena *arena, const failure_record *failure, Weir__V1__DeadLetter *view)
{
    view->n_attempts = failure->n_attempts;
    view->attempts = weir_arena_alloc(arena, (failure->n_attempts + 1) * sizeof(view->attempts[0]));
    for (size_t i = 0; i < failure->n_attempts; i++) {
        Weir__V1__DeadLetterAttempt *attempt = weir_arena_alloc(arena, sizeof *attempt);

        weir__v1__dead_letter_attempt__init(attempt);
        attempt->stage = (Weir__V1__Stage)failure->attempts[i]->stage;
        attempt->reason = reason_of(failure->attempts[i]->code);
        attempt->error_class = class_of(failure->attempts[i]->code);
        attempt->message = failure->attempts[i]->message;
        attempt->time = weir_wire_time(arena, failure->attempts[i]->time_ms);
        view->attempts[i] = attempt;
    }
}

static void
view_failure(weir_arena *arena, const failure_record *failure, Weir__V1__DeadLetter *view)
{
    Weir__V1__FailureInfo *info = weir_arena_alloc(arena, sizeof *info);

    weir__v1__failure_info__init(info);
    info->stage = (Weir__V1__Stage)failure->stage;
    info->reason = reason_of(failure->code);
    info->error_class = class_of(failure->code);
    info->message = failure->message;
    info->attempt_count = (int32_t)failure->attempt_count;
    info->retryable = failure->retryable;
    info->time = weir_wire_time(arena, failure->time_ms);
    view->failure = info;
    view->last_failure_time = weir_wire_time(arena, failure->time_ms);
    view_attempts(arena, failure, view);
}

char *
reconciler_dead_letter_id(weir_arena *arena, const reconciler_id *id, int64_t epoch)
{
    return weir_dead_letter_id_format(arena,
        &(weir_dead_letter_id){ .collection_no = id->collection_no,
            .revision = id->revision,
            .run = epoch,
            .document_id = id->document_id });
}

static Weir__V1__DeadLetter *
view_dead_letter(weir_arena *arena, const reconciler_id *id, const ending_record *record)
{
    Weir__V1__DeadLetter *view = weir_arena_alloc(arena, sizeof *view);
    char *sha256 = weir_arena_alloc(arena, 2 * record->content_sha256.len + 1);

    weir__v1__dead_letter__init(view);
    weir_hex_encode(weir_bytes_of(record->content_sha256.data, record->content_sha256.len), sha256);
    view->dead_letter_id = reconciler_dead_letter_id(arena, id, record->epoch);
    view->collection_id = record->collection_id;
    view->document_id = weir_arena_strdup(arena, id->document_id);
    view->revision = id->revision;
    view->run = (int32_t)record->epoch;
    view->first_failure_time = weir_wire_time(arena, record->first_failure_time_ms);
    view->content_sha256 = sha256;
    view->size_bytes = (int64_t)record->size_bytes;
    if (record->failure != NULL)
        view_failure(arena, record->failure, view);
    return view;
}

weir_code
reconciler_decode_ended(weir_arena *arena, weir_bytes value, ending_record **ret_record,
    weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__ending_record__descriptor, value,
        NULL, arena, &message, reterr);

    *ret_record = (ending_record *)message;
    return code == WEIR_OK
        ? WEIR_OK
        : weir_error_set(reterr, WEIR_CORRUPT, "a stored dead letter does not decode");
}

/* ---- list ---- */

typedef struct listing {
    const list_request *request;
    list_response *response;
    weir_store *store;
    weir_snapshot *snapshot;
    weir_arena *arena;   /* of the answer */
    weir_arena *scratch; /* of the record in hand */
    weir_iter *iter;
    weir_buffer key, value;
    size_t bytes, looked_at;
} listing;

static bool
is_full(const listing *list)
{
    return list->response->n_dead_letters >= (size_t)list->request->page_size ||
        list->bytes >= PAGE_BYTES_MAX || list->looked_at >= LOOKED_AT_MAX;
}

/* What stands under the iterator: the dead letter itself, or its place in the order of time. */
static weir_code
parse_place(const listing *list, reconciler_id *ret_id, weir_error *reterr)
{
    const weir_bytes key = weir_iter_key(list->iter);
    const bool is_whole = list->request->by_key ? reconciler_parse_dead_letter(key, ret_id)
                                                : reconciler_parse_order(key, ret_id);

    return is_whole ? WEIR_OK
                    : weir_error_set(reterr, WEIR_CORRUPT, "the key of a dead letter is damaged");
}

static weir_code
read_place(listing *list, const reconciler_id *id, weir_bytes *ret_value, weir_error *reterr)
{
    bool found = false;

    *ret_value = weir_iter_value(list->iter);
    if (list->request->by_key)
        return WEIR_OK;
    weir_buffer_clear(&list->value);
    const weir_code code = weir_store_get(list->store, list->snapshot,
        reconciler_key_dead_letter(&list->key, id->tenant, id->collection_no, id->document_id,
            id->revision),
        &list->value, &found, reterr);
    *ret_value = weir_buffer_view(&list->value);
    if (code != WEIR_OK || found)
        return code;
    return weir_error_set(reterr, WEIR_CORRUPT, "the order of dead letters names one that is gone");
}

static weir_code
add_to_page(listing *list, const reconciler_id *id, weir_bytes value, weir_error *reterr)
{
    ending_record *record = NULL;
    const weir_code code = reconciler_decode_ended(list->arena, value, &record, reterr);

    if (code != WEIR_OK)
        return code;
    list->bytes += value.size + weir_iter_key(list->iter).size;
    list->response->dead_letters[list->response->n_dead_letters++] =
        view_dead_letter(list->arena, id, record);
    return WEIR_OK;
}

/* What is under the iterator joins the page if it is wanted. */
static weir_code
take_place(listing *list, weir_error *reterr)
{
    const list_request *request = list->request;
    ending_record *record = NULL;
    weir_bytes value = { 0 };
    reconciler_id id;

    weir_arena_reset(list->scratch);
    list->looked_at++;
    weir_code code = parse_place(list, &id, reterr);
    if (code != WEIR_OK ||
        (request->collection_no != 0 && id.collection_no != request->collection_no))
        return code;
    code = read_place(list, &id, &value, reterr);
    if (code == WEIR_OK)
        code = reconciler_decode_ended(list->scratch, value, &record, reterr);
    if (code != WEIR_OK ||
        !reconciler_matches(request->conditions, request->n_conditions, &id, record))
        return code;
    return add_to_page(list, &id, value, reterr);
}

static weir_code
fill_page(listing *list, weir_error *reterr)
{
    const weir_bytes after = weir_bytes_of(list->request->after.data, list->request->after.len);
    weir_bytes last = { 0 };
    weir_code code = WEIR_OK;
    bool is_there = weir_iter_seek(list->iter, after);

    if (is_there && weir_bytes_equal(weir_iter_key(list->iter), after))
        is_there = weir_iter_next(list->iter);
    for (; is_there && !is_full(list) && code == WEIR_OK; is_there = weir_iter_next(list->iter)) {
        code = take_place(list, reterr);
        last = weir_iter_key(list->iter);
        if (is_full(list))
            last.data = weir_arena_memdup(list->arena, last.data, last.size);
    }
    if (code != WEIR_OK)
        return code;
    if (is_there) { /* more */
        list->response->next.data = (uint8_t *)(uintptr_t)last.data;
        list->response->next.len = last.size;
    }
    return weir_iter_status(list->iter, reterr);
}

static weir_code
list_range(listing *list, weir_bytes prefix, weir_error *reterr)
{
    weir_buffer upper = { 0 };

    list->snapshot = weir_store_snapshot_take(list->store);
    list->scratch = weir_arena_create(0);
    list->iter =
        weir_store_iter(list->store, list->snapshot, prefix, reconciler_key_after(&upper, prefix));
    const weir_code code = fill_page(list, reterr);

    weir_iter_destroy(&list->iter);
    weir_arena_destroy(&list->scratch);
    weir_store_snapshot_release(list->store, &list->snapshot);
    weir_buffer_fini(&list->key);
    weir_buffer_fini(&list->value);
    weir_buffer_fini(&upper);
    return code;
}

weir_code
reconciler_list_ended(weir_store *store, const list_request *request, list_response *response,
    weir_arena *arena, weir_error *reterr)
{
    listing list = { .request = request, .response = response, .store = store, .arena = arena };
    weir_buffer lower = { 0 };

    if (request->page_size < 1 || request->page_size > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "page_size",
            "page_size must be 1..%d", WEIR_PAGE_SIZE_MAX);
    response->dead_letters =
        weir_arena_alloc(arena, (size_t)request->page_size * sizeof(response->dead_letters[0]));
    const weir_bytes prefix = request->by_key
        ? reconciler_key_dead_letters(&lower, request->tenant, request->collection_no)
        : reconciler_key_orders(&lower, request->tenant);
    const weir_code code = list_range(&list, prefix, reterr);
    weir_buffer_fini(&lower);
    return code;
}

/* ---- get ---- */

static weir_code
no_such(const char *id, weir_error *reterr)
{
    return weir_error_set_field(reterr, WEIR_DEAD_LETTER_NOT_FOUND, "dead_letter_id",
        "there is no dead letter \"%.128s\"; it may have been requeued, replaced or deleted", id);
}

static weir_code
read_dead_letter(weir_store *store, const reconciler_id *id, int64_t run, const char *text,
    get_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    ending_record *record = NULL;
    bool found = false;
    weir_code code = weir_store_get(store, NULL,
        reconciler_key_dead_letter(&key, id->tenant, id->collection_no, id->document_id,
            id->revision),
        &value, &found, reterr);

    if (code == WEIR_OK && !found)
        code = no_such(text, reterr);
    if (code == WEIR_OK)
        code = reconciler_decode_ended(arena, weir_buffer_view(&value), &record, reterr);
    if (code == WEIR_OK && record->epoch != run)
        code = no_such(text, reterr);
    if (code == WEIR_OK) {
        response->dead_letter = view_dead_letter(arena, id, record);
        response->collection_no = id->collection_no;
    }
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    return code;
}

weir_code
reconciler_get_ended(weir_store *store, const get_request *request, get_response *response,
    weir_arena *arena, weir_error *reterr)
{
    weir_dead_letter_id named;

    if (!weir_dead_letter_id_parse(request->dead_letter_id, &named))
        return no_such(request->dead_letter_id, reterr);
    const reconciler_id id = { .tenant = request->tenant,
        .collection_no = named.collection_no,
        .document_id = named.document_id,
        .revision = named.revision };
    return read_dead_letter(store, &id, named.run, request->dead_letter_id, response, arena,
        reterr);
}
