/*
 * rpc_dead_letters.c - ListDeadLetters, SummarizeDeadLetters and GetDeadLetter: the reconciler's,
 * who keeps them.
 */
#include "services/gateway/dead_letters.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/wire/time.h"
#include "services/gateway/check.h"
#include "services/gateway/keys.h"
#include "services/gateway/peers.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"
#include "weir/v1/dead_letter.pb-c.h"

typedef Weir__V1__ListDeadLettersRequest list_request;
typedef Weir__V1__ListDeadLettersResponse list_response;
typedef Weir__V1__GetDeadLetterRequest get_request;
typedef Weir__V1__GetDeadLetterResponse get_response;
typedef Weir__V1__SummarizeDeadLettersRequest summary_request;
typedef Weir__V1__SummarizeDeadLettersResponse summary_response;
typedef Weir__V1__DeadLetterSummary summary;
typedef Weir__Internal__V1__ListEndedDocumentsRequest ended_request;
typedef Weir__Internal__V1__ListEndedDocumentsResponse ended_response;
typedef Weir__Internal__V1__SummarizeEndedDocumentsRequest groups_request;
typedef Weir__Internal__V1__SummarizeEndedDocumentsResponse groups_response;
typedef Weir__Internal__V1__EndedGroup group;

enum {
    DEAD_LETTER_ID_BYTES_MAX = 2048,
    ARRIVAL_LOOKS_MAX = 20,
    ARRIVAL_PAUSE_MS = 10,
    GROUPS_MAX = 1024,
};

/* ---- what was seen FAILED is listed ---- */

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

weir_code
gateway_count_failed(gateway *self, const char *tenant, uint64_t collection_no,
    uint64_t *ret_failed, weir_error *reterr)
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

/* *ret_missing: fewer dead letters are listed than revisions FAILED. */
static weir_code
some_are_missing(gateway *self, weir_rpc_call *call, uint64_t collection_no, bool *ret_missing,
    weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    Weir__Internal__V1__CountEndedDocumentsRequest wanted =
        WEIR__INTERNAL__V1__COUNT_ENDED_DOCUMENTS_REQUEST__INIT;
    Weir__Internal__V1__CountEndedDocumentsResponse *counted = NULL;
    uint64_t failed = 0;

    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.collection_no = collection_no;
    *ret_missing = false;
    weir_code code = gateway_count_failed(self, wanted.tenant, collection_no, &failed, reterr);
    /* Of many, the few that are on their way are missed by nobody. */
    if (code == WEIR_OK && failed > 0 && failed <= GATEWAY_DEAD_LETTERS_MAX) {
        wanted.count_max = failed;
        code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "CountEndedDocuments",
            &wanted.base, gateway_time_left(call, GATEWAY_RECONCILER_MS), arena, &counted, reterr);
        *ret_missing = code == WEIR_OK && counted->count < failed;
    }
    weir_arena_destroy(&arena);
    return code;
}

weir_code
gateway_let_endings_arrive(gateway *self, weir_rpc_call *call, uint64_t collection_no,
    weir_error *reterr)
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

/* ---- which ones ---- */

weir_code
gateway_wish_ended(gateway *self, weir_rpc_call *call, const char *collection_id,
    const char *filter_text, gateway_ended_wish *ret_wish, weir_error *reterr)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    collection_record *collection = NULL;
    gateway_look look;
    weir_code code = WEIR_OK;

    *ret_wish = (gateway_ended_wish){ .tenant = (char *)(uintptr_t)gateway_tenant(call) };
    if (collection_id[0] != 0) {
        gateway_look_begin(&look, self->service->store, arena);
        code = gateway_look_collection(&look, ret_wish->tenant, collection_id, &collection, reterr);
        gateway_look_end(&look);
    }
    if (code == WEIR_OK)
        code = gateway_filter_parse(filter_text, GATEWAY_FILTER_DEAD_LETTERS, arena,
            &ret_wish->filter, reterr);
    ret_wish->collection_no = collection != NULL ? collection->collection_no : 0;
    return code;
}

weir_code
gateway_ask_ended(gateway *self, weir_rpc_call *call, const gateway_ended_wish *wish,
    uint32_t page_size, weir_bytes after, bool by_key, ended_response **ret_page,
    weir_error *reterr)
{
    ended_request wanted = WEIR__INTERNAL__V1__LIST_ENDED_DOCUMENTS_REQUEST__INIT;

    wanted.tenant = wish->tenant;
    wanted.collection_no = wish->collection_no;
    wanted.page_size = (int32_t)page_size;
    wanted.after.data = (uint8_t *)(uintptr_t)after.data;
    wanted.after.len = after.size;
    wanted.by_key = by_key;
    wanted.conditions = wish->filter.conditions;
    wanted.n_conditions = wish->filter.condition_count;
    return gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "ListEndedDocuments",
        &wanted.base, gateway_time_left(call, GATEWAY_RECONCILER_MS), weir_rpc_call_arena(call),
        ret_page, reterr);
}

weir_code
gateway_check_dead_letter_id(const char *id, const char *field, weir_error *reterr)
{
    const size_t size = strlen(id);

    if (size == 0 || size > DEAD_LETTER_ID_BYTES_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, field,
            "%s must be an id from ListDeadLetters", field);
    return WEIR_OK;
}

/* ---- ListDeadLetters ---- */

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
    gateway_ended_wish wish;
    ended_response *page = NULL;
    weir_code code = gateway_check_page_size(request->page_size, &page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &after, reterr);
    if (code == WEIR_OK)
        code =
            gateway_wish_ended(self, call, request->collection_id, request->filter, &wish, reterr);
    if (code == WEIR_OK && after.size == 0)
        code = gateway_let_endings_arrive(self, call, wish.collection_no, reterr);
    if (code == WEIR_OK)
        code = gateway_ask_ended(self, call, &wish, page_size, after, false, &page, reterr);
    if (code != WEIR_OK)
        return code;
    response->n_dead_letters = page->n_dead_letters;
    response->dead_letters = page->dead_letters;
    if (page->next.len > 0)
        response->next_page_token =
            gateway_page_next(arena, scope, weir_bytes_of(page->next.data, page->next.len));
    return WEIR_OK;
}

GATEWAY_UNARY(list_dead_letters, list_request, list_response,
    weir__v1__list_dead_letters_response__init)

/* ---- SummarizeDeadLetters ---- */

typedef struct sums {
    group *groups[GROUPS_MAX];
    size_t count;
} sums;

static void
add_group(sums *all, group *part)
{
    for (size_t i = 0; i < all->count; i++) {
        group *into = all->groups[i];

        if (into->code != part->code || into->stage != part->stage)
            continue;
        into->count += part->count;
        if (part->oldest_ms < into->oldest_ms) {
            into->oldest_ms = part->oldest_ms;
            into->dead_letter_id = part->dead_letter_id;
        }
        return;
    }
    if (all->count < GROUPS_MAX)
        all->groups[all->count++] = part;
}

static weir_code
sum_up(gateway *self, weir_rpc_call *call, const gateway_ended_wish *wish, sums *all,
    weir_error *reterr)
{
    groups_request wanted = WEIR__INTERNAL__V1__SUMMARIZE_ENDED_DOCUMENTS_REQUEST__INIT;
    groups_response *part = NULL;
    weir_code code = WEIR_OK;

    wanted.tenant = wish->tenant;
    wanted.collection_no = wish->collection_no;
    wanted.conditions = wish->filter.conditions;
    wanted.n_conditions = wish->filter.condition_count;
    do {
        code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER,
            "SummarizeEndedDocuments", &wanted.base, gateway_time_left(call, GATEWAY_RECONCILER_MS),
            weir_rpc_call_arena(call), &part, reterr);
        if (code != WEIR_OK)
            return code;
        for (size_t i = 0; i < part->n_groups; i++)
            add_group(all, part->groups[i]);
        wanted.after = part->next;
    } while (wanted.after.len > 0);
    return WEIR_OK;
}

/* The largest first. */
static int
by_size(const void *a, const void *b)
{
    const group *one = *(group *const *)a;
    const group *other = *(group *const *)b;

    if (one->count != other->count)
        return one->count > other->count ? -1 : 1;
    if (one->stage != other->stage)
        return one->stage < other->stage ? -1 : 1;
    return one->code < other->code ? -1 : one->code > other->code;
}

static summary *
view_group(weir_arena *arena, const group *from)
{
    summary *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__dead_letter_summary__init(view);
    view->reason = (char *)(uintptr_t)weir_code_name((weir_code)from->code);
    view->stage = (Weir__V1__Stage)from->stage;
    view->count = (int64_t)from->count;
    view->oldest_time = weir_wire_time(arena, from->oldest_ms);
    view->sample_dead_letter_id = from->dead_letter_id;
    return view;
}

static weir_code
summarize_dead_letters(gateway *self, weir_rpc_call *call, const summary_request *request,
    summary_response *response, weir_arena *arena, weir_error *reterr)
{
    sums *all = weir_arena_alloc_zero(arena, sizeof *all);
    gateway_ended_wish wish;
    weir_code code =
        gateway_wish_ended(self, call, request->collection_id, request->filter, &wish, reterr);

    if (code == WEIR_OK)
        code = gateway_let_endings_arrive(self, call, wish.collection_no, reterr);
    if (code == WEIR_OK)
        code = sum_up(self, call, &wish, all, reterr);
    if (code != WEIR_OK)
        return code;
    qsort(all->groups, all->count, sizeof(group *), by_size);
    response->summaries = weir_arena_alloc(arena, (all->count + 1) * sizeof(summary *));
    for (size_t i = 0; i < all->count; i++)
        response->summaries[response->n_summaries++] = view_group(arena, all->groups[i]);
    return WEIR_OK;
}

GATEWAY_UNARY(summarize_dead_letters, summary_request, summary_response,
    weir__v1__summarize_dead_letters_response__init)

/* ---- GetDeadLetter ---- */

static weir_code
get_dead_letter(gateway *self, weir_rpc_call *call, const get_request *request,
    get_response *response, weir_arena *arena, weir_error *reterr)
{
    Weir__Internal__V1__GetEndedDocumentRequest wanted =
        WEIR__INTERNAL__V1__GET_ENDED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetEndedDocumentResponse *ended = NULL;
    weir_code code =
        gateway_check_dead_letter_id(request->dead_letter_id, "dead_letter_id", reterr);

    if (code != WEIR_OK)
        return code;
    wanted.tenant = (char *)(uintptr_t)gateway_tenant(call);
    wanted.dead_letter_id = request->dead_letter_id;
    code = gateway_peer_ask(self->reconciler, WEIR_SERVICE_RECONCILER, "GetEndedDocument",
        &wanted.base, gateway_time_left(call, GATEWAY_RECONCILER_MS), arena, &ended, reterr);
    if (code == WEIR_OK)
        response->dead_letter = ended->dead_letter;
    return code;
}

GATEWAY_UNARY(get_dead_letter, get_request, get_response, weir__v1__get_dead_letter_response__init)
