/*
 * reads.c - see reads.h.
 *
 * A tenant's dead letters stand under its own name, so no request can reach those of another.
 */
#include "services/reconciler/reads.h"

#include <inttypes.h>

#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "services/reconciler/keys.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__EndingRecord ending_record;
typedef Weir__Internal__V1__Failure failure_record;
typedef Weir__Internal__V1__ListEndedDocumentsRequest list_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse list_response;
typedef Weir__Internal__V1__GetEndedDocumentRequest get_request;
typedef Weir__Internal__V1__GetEndedDocumentResponse get_response;
typedef Weir__Internal__V1__GetJournalRequest journal_request;
typedef Weir__Internal__V1__GetJournalResponse journal_response;

enum {
    PAGE_BYTES_MAX = 3 << 20, /* of an answer of 4 MiB */
    LOOKED_AT_MAX = 10000,
    JOURNAL_EVENTS_MAX = 64,
    ID_DIGITS_MAX = 20,
};

/* ---- a dead letter as clients see it ---- */

static Google__Protobuf__Timestamp *
time_of(weir_arena *arena, int64_t wall_ms)
{
    if (wall_ms <= 0)
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
view_attempts(weir_arena *arena, const failure_record *failure, Weir__V1__DeadLetter *view)
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
view_failure(weir_arena *arena, const failure_record *failure, Weir__V1__DeadLetter *view)
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
view_dead_letter(weir_arena *arena, const reconciler_id *id, const ending_record *record)
{
    Weir__V1__DeadLetter *view = weir_arena_alloc(arena, sizeof *view);
    char *sha256 = weir_arena_alloc(arena, 2 * record->content_sha256.len + 1);

    weir__v1__dead_letter__init(view);
    weir_hex_encode(weir_bytes_of(record->content_sha256.data, record->content_sha256.len), sha256);
    view->dead_letter_id = weir_arena_printf(arena, "%" PRIu64 ".%" PRId64 ".%s", id->collection_no,
        id->revision, id->document_id);
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
    weir_arena *arena;   /* of the answer */
    weir_arena *scratch; /* of the record in hand */
    weir_iter *iter;
    size_t bytes, looked_at;
} listing;

static bool
matches(const list_request *request, const ending_record *record)
{
    const failure_record *failure = record->failure;

    return (request->code == 0 || (failure != NULL && failure->code == request->code)) &&
        (request->stage == 0 || (failure != NULL && failure->stage == request->stage));
}

static bool
is_full(const listing *list)
{
    return list->response->n_dead_letters >= (size_t)list->request->page_size ||
        list->bytes >= PAGE_BYTES_MAX || list->looked_at >= LOOKED_AT_MAX;
}

/* The record under the iterator joins the page if it is wanted. */
static weir_code
take_record(listing *list, weir_error *reterr)
{
    const weir_bytes value = weir_iter_value(list->iter);
    ending_record *record = NULL;
    reconciler_id id;

    weir_arena_reset(list->scratch);
    list->looked_at++;
    weir_code code = decode_ending(list->scratch, value, &record, reterr);
    if (code != WEIR_OK || !matches(list->request, record))
        return code;
    if (!reconciler_parse_dead_letter(weir_iter_key(list->iter), &id))
        return weir_error_set(reterr, WEIR_CORRUPT, "the key of a dead letter is damaged");
    code = decode_ending(list->arena, value, &record, reterr); /* to keep */
    if (code != WEIR_OK)
        return code;
    list->bytes += value.size + weir_iter_key(list->iter).size;
    list->response->dead_letters[list->response->n_dead_letters++] =
        view_dead_letter(list->arena, &id, record);
    return WEIR_OK;
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
        code = take_record(list, reterr);
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

weir_code
reconciler_list_ended(weir_store *store, const list_request *request, list_response *response,
    weir_arena *arena, weir_error *reterr)
{
    listing list = { .request = request, .response = response, .arena = arena };
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };

    if (request->page_size < 1 || request->page_size > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "page_size",
            "page_size must be 1..%d", WEIR_PAGE_SIZE_MAX);
    response->dead_letters =
        weir_arena_alloc(arena, (size_t)request->page_size * sizeof(response->dead_letters[0]));
    const weir_bytes prefix =
        reconciler_key_dead_letters(&lower, request->tenant, request->collection_no);
    list.scratch = weir_arena_create(0);
    list.iter = weir_store_iter(store, NULL, prefix, reconciler_key_after(&upper, prefix));
    const weir_code code = fill_page(&list, reterr);

    weir_iter_destroy(&list.iter);
    weir_arena_destroy(&list.scratch);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}

/* ---- get ---- */

/* Decimal digits as they are listed: no sign, no space, no leading zero; *text moves behind the dot
 * that follows. */
static bool
parse_number(const char **text, uint64_t max, uint64_t *ret_number)
{
    const char *at = *text;
    uint64_t number = 0;

    if (*at == '0')
        return false;
    for (; *at >= '0' && *at <= '9' && at - *text < ID_DIGITS_MAX; at++) {
        const uint64_t digit = (uint64_t)(*at - '0');

        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (at == *text || *at != '.')
        return false;
    *text = at + 1;
    *ret_number = number;
    return true;
}

/* "<collection_no>.<revision>.<document_id>" */
static bool
parse_id(const char *text, const char *tenant, reconciler_id *ret_id)
{
    uint64_t revision = 0;

    if (!parse_number(&text, UINT64_MAX, &ret_id->collection_no) ||
        !parse_number(&text, INT64_MAX, &revision))
        return false;
    ret_id->tenant = tenant;
    ret_id->revision = (int64_t)revision;
    ret_id->document_id = text;
    return text[0] != 0 &&
        strnlen(text, WEIR_DOCUMENT_ID_BYTES_MAX + 1) <= WEIR_DOCUMENT_ID_BYTES_MAX;
}

static weir_code
no_such(const char *id, weir_error *reterr)
{
    return weir_error_set_field(reterr, WEIR_DEAD_LETTER_NOT_FOUND, "dead_letter_id",
        "there is no dead letter \"%.128s\"; it may have been requeued, replaced or deleted", id);
}

static weir_code
read_dead_letter(weir_store *store, const reconciler_id *id, const char *text,
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
        code = decode_ending(arena, weir_buffer_view(&value), &record, reterr);
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
    reconciler_id id;

    if (!parse_id(request->dead_letter_id, request->tenant, &id))
        return no_such(request->dead_letter_id, reterr);
    return read_dead_letter(store, &id, request->dead_letter_id, response, arena, reterr);
}

/* ---- journal ---- */

static weir_code
take_event(weir_iter *iter, const char *tenant, journal_response *response, weir_arena *arena,
    weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__lifecycle_event__descriptor,
        weir_iter_value(iter), NULL, arena, &message, reterr);

    if (code != WEIR_OK)
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored event does not decode");
    Weir__Internal__V1__LifecycleEvent *event = (Weir__Internal__V1__LifecycleEvent *)message;
    if (strcmp(event->tenant, tenant) == 0)
        response->events[response->n_events++] = event;
    return WEIR_OK;
}

static void
turn_round(journal_response *response)
{
    for (size_t i = 0; i < response->n_events / 2; i++) {
        Weir__Internal__V1__LifecycleEvent *event = response->events[i];
        const size_t other = response->n_events - 1 - i;

        response->events[i] = response->events[other];
        response->events[other] = event;
    }
}

weir_code
reconciler_get_journal(weir_store *store, const journal_request *request,
    journal_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    weir_code code = WEIR_OK;
    uint32_t left = JOURNAL_EVENTS_MAX;

    response->events = weir_arena_alloc(arena, JOURNAL_EVENTS_MAX * sizeof(response->events[0]));
    weir_iter *iter = weir_store_iter(store, NULL,
        reconciler_key_event(&lower, request->collection_no, request->document_id, 0),
        reconciler_key_event(&upper, request->collection_no, request->document_id, UINT64_MAX));
    for (bool is_there = weir_iter_last(iter); is_there && left > 0 && code == WEIR_OK;
        is_there = weir_iter_prev(iter), left--)
        code = take_event(iter, request->tenant, response, arena, reterr);
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    turn_round(response);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}
