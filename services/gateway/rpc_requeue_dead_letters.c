/*
 * rpc_requeue_dead_letters.c - RequeueDeadLetters and DiscardDeadLetters: a bounded number in each
 * call, one command to the core.
 *
 * A dead letter's id says all that the core compares, so ids need no reconciler.  With a filter the
 * reconciler lists a page of those that match, in the order of their keys: a caller that goes on
 * with next_page_token meets each once, also when it fails again meanwhile.  The worker waits for
 * that list alone; the core's answer finishes the call.
 */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/domain/dead_letter_id.h"
#include "common/wire/time.h"
#include "common/wire/wire.h"
#include "google/rpc/status.pb-c.h"
#include "services/gateway/check.h"
#include "services/gateway/dead_letters.h"
#include "services/gateway/rpcs.h"
#include "weir/v1/dead_letter.pb-c.h"

typedef Weir__V1__RequeueDeadLettersRequest requeue_request;
typedef Weir__V1__RequeueDeadLettersResponse requeue_response;
typedef Weir__V1__RequeueDeadLettersResult requeue_result;
typedef Weir__V1__DiscardDeadLettersRequest discard_request;
typedef Weir__V1__DiscardDeadLettersResponse discard_response;
typedef Weir__V1__DiscardDeadLettersResult discard_result;
typedef Weir__Internal__V1__EndedItem ended_item;
typedef Weir__Internal__V1__EndedResult ended_result;
typedef Weir__Internal__V1__EndedAnswer ended_answer;
typedef Weir__Internal__V1__ListEndedDocumentsResponse ended_page;

/* What both requests hold. */
typedef struct ended_wishes {
    char **ids;
    size_t id_count;
    const char *collection_id, *filter, *request_id, *page_token;
    int32_t page_size;
    bool dry_run;
} ended_wishes;

/* One dead letter that is named or matched. */
typedef struct ended_slot {
    const char *dead_letter_id;
    ended_item item;
    ended_result *result;
} ended_slot;

typedef struct ended_flow {
    gateway *self;
    weir_rpc_call *call;
    bool is_requeue;
    ended_wishes wishes;
    ended_slot *slots;
    size_t count;
    Weir__Internal__V1__EndedCommand command;
    bool more;
    char *next_page_token;
    int64_t wait_ms;
    void (*answer)(struct ended_flow *flow);
} ended_flow;

static bool
has_filter(const ended_flow *flow)
{
    return flow->wishes.id_count == 0;
}

/* ---- which ones ---- */

/* Room for what may go now: all of them but in a requeue, which has a rate. */
static uint32_t
take_share(ended_flow *flow, uint32_t wanted)
{
    if (!flow->is_requeue || flow->wishes.dry_run)
        return wanted;
    return gateway_rate_take(&flow->self->requeue_rate, wanted, weir_clock_mono_ms(),
        &flow->wait_ms);
}

static weir_code
find_by_ids(ended_flow *flow, weir_error *reterr)
{
    const ended_wishes *wishes = &flow->wishes;
    weir_code code = WEIR_OK;

    if (wishes->id_count > GATEWAY_DEAD_LETTERS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "dead_letter_ids",
            "dead_letter_ids holds %zu ids and 1,000 is the most", wishes->id_count);
    for (size_t i = 0; i < wishes->id_count && code == WEIR_OK; i++)
        code = gateway_check_dead_letter_id(wishes->ids[i], "dead_letter_ids", reterr);
    if (code != WEIR_OK)
        return code;
    flow->count = take_share(flow, (uint32_t)wishes->id_count);
    flow->more = flow->count < wishes->id_count;
    for (size_t i = 0; i < flow->count; i++)
        flow->slots[i].dead_letter_id = wishes->ids[i];
    return WEIR_OK;
}

static weir_code
list_page(ended_flow *flow, uint32_t page_size, weir_bytes scope, weir_bytes after,
    weir_error *reterr)
{
    gateway_ended_wish wish;
    ended_page *page = NULL;
    weir_code code = gateway_wish_ended(flow->self, flow->call, flow->wishes.collection_id,
        flow->wishes.filter, &wish, reterr);

    if (code == WEIR_OK && after.size == 0)
        code = gateway_let_endings_arrive(flow->self, flow->call, wish.collection_no, reterr);
    if (code == WEIR_OK)
        code =
            gateway_ask_ended(flow->self, flow->call, &wish, page_size, after, true, &page, reterr);
    if (code != WEIR_OK)
        return code;
    for (size_t i = 0; i < page->n_dead_letters; i++)
        flow->slots[flow->count++].dead_letter_id = page->dead_letters[i]->dead_letter_id;
    flow->more = page->next.len > 0;
    if (flow->more)
        flow->next_page_token = gateway_page_next(weir_rpc_call_arena(flow->call), scope,
            weir_bytes_of(page->next.data, page->next.len));
    return WEIR_OK;
}

static weir_code
check_page_size(int32_t wanted, uint32_t *ret_size, weir_error *reterr)
{
    const weir_code code = gateway_check_page_size(wanted, ret_size, reterr);

    if (wanted == 0)
        *ret_size = GATEWAY_DEAD_LETTERS_MAX;
    return code;
}

static weir_code
find_by_filter(ended_flow *flow, weir_error *reterr)
{
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    const ended_wishes *wishes = &flow->wishes;
    const weir_bytes scope = weir_bytes_str(weir_arena_printf(arena, "%s\n%s\n%s",
        flow->is_requeue ? "RequeueDeadLetters" : "DiscardDeadLetters", wishes->collection_id,
        wishes->filter));
    uint32_t page_size = 0;
    weir_bytes after;
    weir_code code = check_page_size(wishes->page_size, &page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, wishes->page_token, scope, &after, reterr);
    if (code != WEIR_OK)
        return code;
    const uint32_t share = take_share(flow, page_size);
    if (share == 0) { /* later, from the same place */
        flow->more = true;
        flow->next_page_token = (char *)(uintptr_t)wishes->page_token;
        return WEIR_OK;
    }
    code = list_page(flow, share, scope, after, reterr);
    if (flow->is_requeue && !wishes->dry_run && share > flow->count)
        gateway_rate_give_back(&flow->self->requeue_rate, share - (uint32_t)flow->count);
    if (!flow->more)
        flow->wait_ms = 0;
    return code;
}

static weir_code
find(ended_flow *flow, weir_error *reterr)
{
    const ended_wishes *wishes = &flow->wishes;
    const bool by_filter = wishes->filter[0] != 0 || wishes->collection_id[0] != 0;
    weir_error why = { .code = WEIR_OK };
    const weir_code code = gateway_check_request_id(wishes->request_id, reterr);

    if (code != WEIR_OK)
        return code;
    if ((wishes->id_count > 0) == by_filter)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT,
            by_filter ? "filter" : "dead_letter_ids",
            "set either dead_letter_ids, or filter (\"*\" for all) or collection_id");
    if (flow->is_requeue && !wishes->dry_run &&
        gateway_admission_now(flow->self, &why) == GATEWAY_REJECTING) {
        *reterr = why;
        return why.code;
    }
    flow->slots = weir_arena_alloc_zero(weir_rpc_call_arena(flow->call),
        (GATEWAY_DEAD_LETTERS_MAX + 1) * sizeof flow->slots[0]);
    return by_filter ? find_by_filter(flow, reterr) : find_by_ids(flow, reterr);
}

/* ---- what the core does about them ---- */

static void
fill_command(ended_flow *flow)
{
    Weir__Internal__V1__EndedCommand *command = &flow->command;

    weir__internal__v1__ended_command__init(command);
    command->request_id = (char *)(uintptr_t)flow->wishes.request_id;
    command->dry_run = flow->wishes.dry_run;
    command->items = weir_arena_alloc(weir_rpc_call_arena(flow->call),
        (flow->count + 1) * sizeof command->items[0]);
    for (size_t i = 0; i < flow->count; i++) {
        ended_item *item = &flow->slots[i].item;
        weir_dead_letter_id id;

        weir__internal__v1__ended_item__init(item);
        if (weir_dead_letter_id_parse(flow->slots[i].dead_letter_id, &id)) {
            item->collection_no = id.collection_no;
            item->document_id = (char *)(uintptr_t)id.document_id;
            item->revision = id.revision;
            item->epoch = id.run;
        } /* otherwise it names collection 0, which is nobody's */
        command->items[command->n_items++] = item;
    }
}

static void
decided(void *context, const weir_error *error, const ProtobufCMessage *message)
{
    ended_flow *flow = context;
    const ended_answer *answer = (const ended_answer *)(const void *)message;

    if (error != NULL) {
        weir_rpc_fail(flow->call, error);
        return;
    }
    for (size_t i = 0; i < flow->count; i++)
        flow->slots[i].result = answer->results[i];
    flow->answer(flow);
}

static void
run(ended_flow *flow)
{
    weir_error error = { .code = WEIR_OK };

    if (find(flow, &error) != WEIR_OK) {
        weir_rpc_fail(flow->call, &error);
        return;
    }
    if (flow->count == 0) {
        flow->answer(flow);
        return;
    }
    fill_command(flow);
    if (weir_shell_submit(flow->self->service->shell,
            flow->is_requeue ? GATEWAY_REQUEUE : GATEWAY_DISCARD, gateway_tenant(flow->call),
            weir_rpc_request_id(flow->call), &flow->command.base, decided, flow, &error) != WEIR_OK)
        weir_rpc_fail(flow->call, &error);
}

/* One that was listed and is none any more matches no filter. */
static bool
is_shown(const ended_flow *flow, const ended_slot *slot)
{
    return !has_filter(flow) || slot->result->code != WEIR_DEAD_LETTER_NOT_FOUND;
}

/* ---- RequeueDeadLetters ---- */

static weir_code
view_status(const ended_flow *flow, const ended_result *result, Google__Rpc__Status **ret_status,
    weir_error *reterr)
{
    weir_error failure = { .code = (weir_code)result->code };
    weir_buffer packed = { 0 };
    ProtobufCMessage *status = NULL;

    weir_error_set(&failure, failure.code, "%s", result->message);
    weir_rpc_status_encode(&failure, weir_rpc_request_id(flow->call), &packed);
    const weir_code code = weir_wire_decode(&google__rpc__status__descriptor,
        weir_buffer_view(&packed), NULL, weir_rpc_call_arena(flow->call), &status, reterr);
    *ret_status = (Google__Rpc__Status *)(void *)status;
    weir_buffer_fini(&packed);
    return code;
}

static weir_code
view_requeued(const ended_flow *flow, const ended_slot *slot, requeue_result **ret_view,
    weir_error *reterr)
{
    requeue_result *view = weir_arena_alloc(weir_rpc_call_arena(flow->call), sizeof *view);

    weir__v1__requeue_dead_letters_result__init(view);
    view->dead_letter_id = (char *)(uintptr_t)slot->dead_letter_id;
    view->collection_id = slot->result->collection_id;
    view->document_id = slot->item.document_id;
    view->revision = slot->item.revision;
    *ret_view = view;
    if (slot->result->code != WEIR_OK)
        return view_status(flow, slot->result, &view->status, reterr);
    view->run = (int32_t)slot->result->epoch;
    return WEIR_OK;
}

static void
answer_requeue(ended_flow *flow)
{
    requeue_response response = WEIR__V1__REQUEUE_DEAD_LETTERS_RESPONSE__INIT;
    weir_arena *arena = weir_rpc_call_arena(flow->call);
    weir_error error = { .code = WEIR_OK };
    weir_code code = WEIR_OK;

    response.results = weir_arena_alloc(arena, (flow->count + 1) * sizeof response.results[0]);
    for (size_t i = 0; i < flow->count && code == WEIR_OK; i++) {
        if (!is_shown(flow, &flow->slots[i]))
            continue;
        response.requeued_count += flow->slots[i].result->code == WEIR_OK;
        code =
            view_requeued(flow, &flow->slots[i], &response.results[response.n_results++], &error);
    }
    if (code != WEIR_OK) {
        weir_rpc_fail(flow->call, &error);
        return;
    }
    response.more = flow->more;
    if (flow->next_page_token != NULL)
        response.next_page_token = flow->next_page_token;
    if (flow->wait_ms > 0)
        response.retry_delay = weir_wire_duration(arena, flow->wait_ms);
    weir_rpc_reply(flow->call, &response.base);
}

static void
requeue_dead_letters(gateway *self, weir_rpc_call *call, const requeue_request *request)
{
    ended_flow *flow = weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof *flow);

    flow->self = self;
    flow->call = call;
    flow->is_requeue = true;
    flow->answer = answer_requeue;
    flow->wishes = (ended_wishes){ .ids = request->dead_letter_ids,
        .id_count = request->n_dead_letter_ids,
        .collection_id = request->collection_id,
        .filter = request->filter,
        .request_id = request->request_id,
        .page_token = request->page_token,
        .page_size = request->page_size,
        .dry_run = request->dry_run };
    run(flow);
}

GATEWAY_REQUEST(requeue_dead_letters, requeue_request)

/* ---- DiscardDeadLetters ---- */

static discard_result *
view_discarded(const ended_flow *flow, const ended_slot *slot)
{
    discard_result *view = weir_arena_alloc(weir_rpc_call_arena(flow->call), sizeof *view);

    weir__v1__discard_dead_letters_result__init(view);
    view->dead_letter_id = (char *)(uintptr_t)slot->dead_letter_id;
    view->collection_id = slot->result->collection_id;
    view->document_id = slot->item.document_id;
    view->revision = slot->item.revision;
    view->state = (Weir__V1__DocumentState)slot->result->state;
    return view;
}

static void
answer_discard(ended_flow *flow)
{
    discard_response response = WEIR__V1__DISCARD_DEAD_LETTERS_RESPONSE__INIT;
    weir_arena *arena = weir_rpc_call_arena(flow->call);

    response.results = weir_arena_alloc(arena, (flow->count + 1) * sizeof response.results[0]);
    response.dead_letter_ids =
        weir_arena_alloc(arena, (flow->count + 1) * sizeof response.dead_letter_ids[0]);
    for (size_t i = 0; i < flow->count; i++) {
        if (flow->slots[i].result->code != WEIR_OK)
            continue; /* it is none, or none any more */
        response.results[response.n_results++] = view_discarded(flow, &flow->slots[i]);
        response.dead_letter_ids[response.n_dead_letter_ids++] =
            (char *)(uintptr_t)flow->slots[i].dead_letter_id;
    }
    response.discarded_count = (int64_t)response.n_results;
    response.more = flow->more;
    if (flow->next_page_token != NULL)
        response.next_page_token = flow->next_page_token;
    weir_rpc_reply(flow->call, &response.base);
}

static void
discard_dead_letters(gateway *self, weir_rpc_call *call, const discard_request *request)
{
    ended_flow *flow = weir_arena_alloc_zero(weir_rpc_call_arena(call), sizeof *flow);

    flow->self = self;
    flow->call = call;
    flow->answer = answer_discard;
    flow->wishes = (ended_wishes){ .ids = request->dead_letter_ids,
        .id_count = request->n_dead_letter_ids,
        .collection_id = request->collection_id,
        .filter = request->filter,
        .request_id = request->request_id,
        .page_token = request->page_token,
        .page_size = request->page_size,
        .dry_run = request->dry_run };
    run(flow);
}

GATEWAY_REQUEST(discard_dead_letters, discard_request)
