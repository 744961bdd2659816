/*
 * reads.c - the journal of a document.  See reads.h.
 */
#include "common/wire/wire.h"
#include "services/reconciler/reads_internal.h"

typedef Weir__Internal__V1__GetJournalRequest journal_request;
typedef Weir__Internal__V1__GetJournalResponse journal_response;

enum { JOURNAL_EVENTS_MAX = 64 };

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
    if (strcmp(event->tenant, tenant) == 0) {
        const weir_bytes key = weir_iter_key(iter);

        response->numbers[response->n_numbers++] = weir_load_u64(key.data + key.size - 8);
        response->events[response->n_events++] = event;
    }
    return WEIR_OK;
}

static void
turn_round(journal_response *response)
{
    for (size_t i = 0; i < response->n_events / 2; i++) {
        Weir__Internal__V1__LifecycleEvent *event = response->events[i];
        const uint64_t number = response->numbers[i];
        const size_t other = response->n_events - 1 - i;

        response->events[i] = response->events[other];
        response->events[other] = event;
        response->numbers[i] = response->numbers[other];
        response->numbers[other] = number;
    }
}

/* Where the end of a try of the revision stands. */
static weir_code
read_ending(weir_store *store, const journal_request *request, journal_response *response,
    weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    ending_record *ending = NULL;
    bool found = false;
    weir_code code = weir_store_get(store, NULL,
        reconciler_key_ending(&key, request->collection_no, request->document_id,
            request->revision),
        &value, &found, reterr);

    if (code == WEIR_OK && found)
        code = reconciler_decode_ended(arena, weir_buffer_view(&value), &ending, reterr);
    if (code == WEIR_OK && found && strcmp(ending->tenant, request->tenant) == 0) {
        response->ending_step = (uint32_t)ending->step;
        response->ending_epoch = ending->epoch;
    }
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
    weir_arena_destroy(&arena);
    return code;
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
    response->numbers = weir_arena_alloc(arena, JOURNAL_EVENTS_MAX * sizeof(response->numbers[0]));
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
    return code == WEIR_OK && request->revision != 0 ? read_ending(store, request, response, reterr)
                                                     : code;
}
