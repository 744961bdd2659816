/*
 * rpc.c - ReconcilerService: reads only, on the worker pool; nothing here enters the core.
 */
#include "services/reconciler/rpc.h"

#include <stdlib.h>

#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "services/reconciler/keys.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__EndingRecord ending_record;

/* ---- a dead letter as clients see it ---- */

static Google__Protobuf__Timestamp *
time_of(weir_arena *arena, int64_t wall_ms)
{
    if (wall_ms == 0)
        return NULL;
    Google__Protobuf__Timestamp *time = weir_arena_alloc(arena, sizeof *time);

    google__protobuf__timestamp__init(time);
    time->seconds = wall_ms / 1000;
    time->nanos = (int32_t)(wall_ms % 1000) * 1000000;
    return time;
}

static char *
reason_of(uint32_t code)
{
    return (char *)(uintptr_t)weir_code_name((weir_code)code);
}

static void
view_attempts(weir_arena *arena, const Weir__Internal__V1__Failure *failure, Weir__V1__DeadLetter *view)
{
    view->n_attempts = failure->n_attempts;
    view->attempts = weir_arena_alloc(arena, (failure->n_attempts + 1) * sizeof(view->attempts[0]));
    for (size_t i = 0; i < failure->n_attempts; i++) {
        Weir__V1__DeadLetterAttempt *attempt = weir_arena_alloc(arena, sizeof *attempt);

        weir__v1__dead_letter_attempt__init(attempt);
        attempt->stage = (Weir__V1__Stage)failure->attempts[i]->stage;
        attempt->reason = reason_of(failure->attempts[i]->code);
        attempt->message = failure->attempts[i]->message;
        attempt->time = time_of(arena, failure->attempts[i]->time_ms);
        view->attempts[i] = attempt;
    }
}

static void
view_failure(weir_arena *arena, const Weir__Internal__V1__Failure *failure, Weir__V1__DeadLetter *view)
{
    Weir__V1__FailureInfo *info = weir_arena_alloc(arena, sizeof *info);

    weir__v1__failure_info__init(info);
    info->stage = (Weir__V1__Stage)failure->stage;
    info->reason = reason_of(failure->code);
    info->message = failure->message;
    info->attempt_count = (int32_t)failure->attempt_count;
    info->retryable = failure->retryable;
    info->time = time_of(arena, failure->time_ms);
    view->failure = info;
    view->last_failure_time = time_of(arena, failure->time_ms);
    view_attempts(arena, failure, view);
}

static Weir__V1__DeadLetter *
view_dead_letter(weir_arena *arena, const reconciler_dead_letter_id *id, const ending_record *record)
{
    Weir__V1__DeadLetter *view = weir_arena_alloc(arena, sizeof *view);
    char *sha256 = weir_arena_alloc(arena, 2 * record->content_sha256.len + 1);

    weir__v1__dead_letter__init(view);
    weir_hex_encode(weir_bytes_of(record->content_sha256.data, record->content_sha256.len), sha256);
    view->dead_letter_id = weir_arena_printf(arena, "%llu.%lld.%s", (unsigned long long)id->collection_no,
        (long long)id->revision, id->document_id);
    view->collection_id = record->collection_id;
    view->document_id = weir_arena_strdup(arena, id->document_id);
    view->revision = id->revision;
    view->run = (int32_t)record->epoch;
    view->first_failure_time = time_of(arena, record->first_failure_time_ms);
    view->content_sha256 = sha256;
    view->size_bytes = (int64_t)record->size_bytes;
    if (record->failure != NULL)
        view_failure(arena, record->failure, view);
    return view;
}

static weir_code
decode_ending(weir_arena *arena, weir_bytes value, ending_record **ret_record, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code =
        weir_wire_decode(&weir__internal__v1__ending_record__descriptor, value, NULL, arena, &message, reterr);

    *ret_record = (ending_record *)message;
    return code == WEIR_OK ? WEIR_OK : weir_error_set(reterr, WEIR_CORRUPT, "a stored dead letter does not decode");
}

/* ---- list ---- */

static bool
matches(const Weir__Internal__V1__ListEndedDocumentsRequest *request, const ending_record *record)
{
    const Weir__Internal__V1__Failure *failure = record->failure;

    return (request->code == 0 || (failure != NULL && failure->code == request->code)) &&
        (request->stage == 0 || (failure != NULL && failure->stage == request->stage));
}

static weir_code
list_page(weir_iter *iter, const Weir__Internal__V1__ListEndedDocumentsRequest *request,
    Weir__Internal__V1__ListEndedDocumentsResponse *response, weir_arena *arena, weir_error *reterr)
{
    const weir_bytes after = weir_bytes_of(request->after.data, request->after.len);
    bool is_there = after.size > 0 ? weir_iter_seek(iter, after) : weir_iter_next(iter);

    if (is_there && after.size > 0 && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (; is_there; is_there = weir_iter_next(iter)) {
        reconciler_dead_letter_id id;
        ending_record *record = NULL;
        const weir_code code = decode_ending(arena, weir_iter_value(iter), &record, reterr);

        if (code != WEIR_OK)
            return code;
        if (!reconciler_parse_dead_letter(weir_iter_key(iter), &id) || !matches(request, record))
            continue;
        response->dead_letters[response->n_dead_letters++] = view_dead_letter(arena, &id, record);
        if (response->n_dead_letters < (size_t)request->page_size)
            continue;
        const weir_bytes key = weir_iter_key(iter);
        response->next.data = weir_arena_memdup(arena, key.data, key.size);
        response->next.len = key.size;
        break;
    }
    return weir_iter_status(iter, reterr);
}

static weir_code
list_ended(reconciler *self, weir_rpc_call *call, const Weir__Internal__V1__ListEndedDocumentsRequest *request,
    Weir__Internal__V1__ListEndedDocumentsResponse *response, weir_arena *arena, weir_error *reterr)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };

    (void)call;
    if (request->page_size < 1 || request->page_size > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "page_size", "page_size must be 1..%d",
            WEIR_PAGE_SIZE_MAX);
    response->dead_letters =
        weir_arena_alloc(arena, (size_t)request->page_size * sizeof(response->dead_letters[0]));
    const weir_bytes prefix = reconciler_key_dead_letters(&lower, request->tenant, request->collection_no);
    weir_snapshot *snapshot = weir_store_snapshot_take(self->service->store);
    weir_iter *iter =
        weir_store_iter(self->service->store, snapshot, prefix, reconciler_key_after(&upper, prefix));
    const weir_code code = list_page(iter, request, response, arena, reterr);

    weir_iter_destroy(&iter);
    weir_store_snapshot_release(self->service->store, &snapshot);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}

WEIR_RPC_UNARY(list_ended, reconciler, Weir__Internal__V1__ListEndedDocumentsRequest,
    Weir__Internal__V1__ListEndedDocumentsResponse, weir__internal__v1__list_ended_documents_response__init)

/* ---- get ---- */

/* "<collection_no>.<revision>.<document_id>" */
static bool
parse_id(const char *text, const char *tenant, reconciler_dead_letter_id *ret_id)
{
    char *end = NULL;

    ret_id->tenant = tenant;
    ret_id->collection_no = strtoull(text, &end, 10);
    if (end == text || *end != '.' || ret_id->collection_no == 0)
        return false;
    const char *revision = end + 1;
    ret_id->revision = strtoll(revision, &end, 10);
    if (end == revision || *end != '.' || ret_id->revision <= 0)
        return false;
    ret_id->document_id = end + 1;
    return ret_id->document_id[0] != 0 && strlen(ret_id->document_id) <= WEIR_DOCUMENT_ID_BYTES_MAX;
}

static weir_code
no_such(const char *id, weir_error *reterr)
{
    return weir_error_set_field(reterr, WEIR_DEAD_LETTER_NOT_FOUND, "dead_letter_id",
        "there is no dead letter \"%s\"; it may have been requeued, replaced or deleted", id);
}

static weir_code
get_ended(reconciler *self, weir_rpc_call *call, const Weir__Internal__V1__GetEndedDocumentRequest *request,
    Weir__Internal__V1__GetEndedDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    reconciler_dead_letter_id id;
    ending_record *record = NULL;
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    bool found = false;

    (void)call;
    if (!parse_id(request->dead_letter_id, request->tenant, &id))
        return no_such(request->dead_letter_id, reterr);
    weir_code code = weir_store_get(self->service->store, NULL,
        reconciler_key_dead_letter(&key, id.tenant, id.collection_no, id.document_id, id.revision), &value, &found,
        reterr);
    if (code == WEIR_OK && !found)
        code = no_such(request->dead_letter_id, reterr);
    if (code == WEIR_OK)
        code = decode_ending(arena, weir_buffer_view(&value), &record, reterr);
    if (code == WEIR_OK) {
        response->dead_letter = view_dead_letter(arena, &id, record);
        response->collection_no = id.collection_no;
    }
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    return code;
}

WEIR_RPC_UNARY(get_ended, reconciler, Weir__Internal__V1__GetEndedDocumentRequest,
    Weir__Internal__V1__GetEndedDocumentResponse, weir__internal__v1__get_ended_document_response__init)

/* ---- journal ---- */

enum { JOURNAL_EVENTS_MAX = 256 };

static weir_code
read_events(weir_iter *iter, const char *tenant, Weir__Internal__V1__GetJournalResponse *response, weir_arena *arena,
    weir_error *reterr)
{
    while (response->n_events < JOURNAL_EVENTS_MAX && weir_iter_next(iter)) {
        ProtobufCMessage *message = NULL;
        const weir_code code = weir_wire_decode(&weir__internal__v1__lifecycle_event__descriptor,
            weir_iter_value(iter), NULL, arena, &message, reterr);

        if (code != WEIR_OK)
            return weir_error_set(reterr, WEIR_CORRUPT, "a stored event does not decode");
        Weir__Internal__V1__LifecycleEvent *event = (Weir__Internal__V1__LifecycleEvent *)message;
        if (strcmp(event->tenant, tenant) == 0)
            response->events[response->n_events++] = event;
    }
    return weir_iter_status(iter, reterr);
}

static weir_code
get_journal(reconciler *self, weir_rpc_call *call, const Weir__Internal__V1__GetJournalRequest *request,
    Weir__Internal__V1__GetJournalResponse *response, weir_arena *arena, weir_error *reterr)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };

    (void)call;
    response->events = weir_arena_alloc(arena, JOURNAL_EVENTS_MAX * sizeof(response->events[0]));
    weir_iter *iter = weir_store_iter(self->service->store, NULL,
        reconciler_key_event(&lower, request->collection_no, request->document_id, 0),
        reconciler_key_event(&upper, request->collection_no, request->document_id, UINT64_MAX));
    const weir_code code = read_events(iter, request->tenant, response, arena, reterr);

    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}

WEIR_RPC_UNARY(get_journal, reconciler, Weir__Internal__V1__GetJournalRequest, Weir__Internal__V1__GetJournalResponse,
    weir__internal__v1__get_journal_response__init)

static const weir_rpc_handler handlers[] = {
    { .method = "ListEndedDocuments", .flags = WEIR_RPC_POOL, .request = list_ended_rpc },
    { .method = "GetEndedDocument", .flags = WEIR_RPC_POOL, .request = get_ended_rpc },
    { .method = "GetJournal", .flags = WEIR_RPC_POOL, .request = get_journal_rpc },
};

const weir_service_api reconciler_unix_apis[] = {
    { .service = &weir__internal__v1__reconciler_service__descriptor,
        .handlers = handlers,
        .handler_count = sizeof handlers / sizeof handlers[0] },
    { .service = NULL },
};
