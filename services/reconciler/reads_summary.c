/*
 * reads_summary.c - how many dead letters there are, and why.  See reads.h.
 *
 * A summary looks at a bounded number of records in one call and says where to go on, so a million
 * of them stop nobody.
 */
#include "common/base/limits.h"
#include "services/reconciler/conditions.h"
#include "services/reconciler/reads_internal.h"

typedef Weir__Internal__V1__SummarizeEndedDocumentsRequest summary_request;
typedef Weir__Internal__V1__SummarizeEndedDocumentsResponse summary_response;
typedef Weir__Internal__V1__CountEndedDocumentsRequest count_request;
typedef Weir__Internal__V1__CountEndedDocumentsResponse count_response;
typedef Weir__Internal__V1__EndedGroup group;

enum {
    LOOKED_AT_MAX = 20000,
    GROUPS_MAX = 1024, /* more than stages times reasons */
};

typedef struct summing {
    const summary_request *request;
    summary_response *response;
    weir_arena *arena;   /* of the answer */
    weir_arena *scratch; /* of the record in hand */
} summing;

static group *
group_of(summing *sum, uint32_t code, uint32_t stage)
{
    summary_response *response = sum->response;

    for (size_t i = 0; i < response->n_groups; i++)
        if (response->groups[i]->code == code && response->groups[i]->stage == stage)
            return response->groups[i];
    if (response->n_groups == GROUPS_MAX)
        return response->groups[GROUPS_MAX - 1];
    group *made = weir_arena_alloc(sum->arena, sizeof *made);
    weir__internal__v1__ended_group__init(made);
    made->code = code;
    made->stage = stage;
    response->groups[response->n_groups++] = made;
    return made;
}

static void
count_in(summing *sum, const reconciler_id *id, const ending_record *record)
{
    const Weir__Internal__V1__Failure *failure = record->failure;
    const int64_t time_ms = failure != NULL ? failure->time_ms : 0;
    group *into =
        group_of(sum, failure != NULL ? failure->code : 0, failure != NULL ? failure->stage : 0);

    if (into->count++ > 0 && time_ms >= into->oldest_ms)
        return;
    into->oldest_ms = time_ms;
    into->dead_letter_id = reconciler_dead_letter_id(sum->arena, id, record->epoch);
}

static weir_code
take(summing *sum, weir_bytes key, weir_bytes value, weir_error *reterr)
{
    ending_record *record = NULL;
    reconciler_id id;

    weir_arena_reset(sum->scratch);
    if (!reconciler_parse_dead_letter(key, &id))
        return weir_error_set(reterr, WEIR_CORRUPT, "the key of a dead letter is damaged");
    const weir_code code = reconciler_decode_ended(sum->scratch, value, &record, reterr);
    if (code == WEIR_OK &&
        reconciler_matches(sum->request->conditions, sum->request->n_conditions, &id, record))
        count_in(sum, &id, record);
    return code;
}

static weir_code
sum_up(summing *sum, weir_iter *iter, weir_error *reterr)
{
    const weir_bytes after = weir_bytes_of(sum->request->after.data, sum->request->after.len);
    weir_bytes last = { 0 };
    weir_code code = WEIR_OK;
    bool is_there = weir_iter_seek(iter, after);

    if (is_there && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (int left = LOOKED_AT_MAX; is_there && left > 0 && code == WEIR_OK; left--) {
        code = take(sum, weir_iter_key(iter), weir_iter_value(iter), reterr);
        if (left == 1)
            last = weir_bytes_of(weir_arena_memdup(sum->arena, weir_iter_key(iter).data,
                                     weir_iter_key(iter).size),
                weir_iter_key(iter).size);
        is_there = weir_iter_next(iter);
    }
    if (is_there) {
        sum->response->next.data = (uint8_t *)(uintptr_t)last.data;
        sum->response->next.len = last.size;
    }
    return code == WEIR_OK ? weir_iter_status(iter, reterr) : code;
}

weir_code
reconciler_summarize_ended(weir_store *store, const summary_request *request,
    summary_response *response, weir_arena *arena, weir_error *reterr)
{
    summing sum = { .request = request, .response = response, .arena = arena };
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    const weir_bytes prefix =
        reconciler_key_dead_letters(&lower, request->tenant, request->collection_no);
    weir_iter *iter = weir_store_iter(store, NULL, prefix, reconciler_key_after(&upper, prefix));

    response->groups = weir_arena_alloc(arena, GROUPS_MAX * sizeof(response->groups[0]));
    sum.scratch = weir_arena_create(0);
    const weir_code code = sum_up(&sum, iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&sum.scratch);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}

weir_code
reconciler_count_ended(weir_store *store, const count_request *request, count_response *response,
    weir_error *reterr)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    const weir_bytes prefix =
        reconciler_key_dead_letters(&lower, request->tenant, request->collection_no);
    weir_iter *iter = weir_store_iter(store, NULL, prefix, reconciler_key_after(&upper, prefix));

    while (response->count < request->count_max && weir_iter_next(iter))
        response->count++;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}
