/*
 * stage_rpc.c - weir.internal.v1.StageService, the same for all five: a look into one stage.
 *
 * Everything is read from the last release of the stage or from a snapshot of its database; only
 * ApplyEra enters the core.  It and Checkpoint answer over the Unix socket alone.
 */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/service/service_internal.h"
#include "common/wire/wire.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__GetStageStatusRequest status_request;
typedef Weir__Internal__V1__GetStageStatusResponse status_response;
typedef Weir__Internal__V1__ListLinksRequest links_request;
typedef Weir__Internal__V1__ListLinksResponse links_response;
typedef Weir__Internal__V1__ListDeferredRequest deferred_request;
typedef Weir__Internal__V1__ListDeferredResponse deferred_response;
typedef Weir__Internal__V1__ListSetAsideRequest set_aside_request;
typedef Weir__Internal__V1__ListSetAsideResponse set_aside_response;
typedef Weir__Internal__V1__LinkStatus link_status;
typedef Weir__Internal__V1__LinkAlarm link_alarm;
typedef Weir__Internal__V1__DeferredWork deferred_work;

enum { PAGE_BYTES_MAX = WEIR_ANSWER_BYTES_MAX / 2 };

static ProtobufCBinaryData
copy_bytes(weir_arena *arena, const void *data, size_t size)
{
    return (ProtobufCBinaryData){ .len = size, .data = weir_arena_memdup(arena, data, size) };
}

/* What the stage looked like at its last release. */
static weir_code
read_status(weir_service *service, weir_stage_status *ret_status, bool *ret_disk_low,
    weir_error *reterr)
{
    weir_shell *shell = service_shell_hold(service);

    if (shell == NULL)
        return weir_error_set(reterr, WEIR_DRAINING, "the service stops");
    weir_stage_status_read(weir_shell_stage(shell), ret_status);
    *ret_disk_low = weir_shell_disk_is_low(shell);
    service_shell_release(service);
    return WEIR_OK;
}

weir_code
weir_service_stage_status(weir_service *service, weir_stage_status *ret_status, weir_error *reterr)
{
    bool disk_low = false;

    return read_status(service, ret_status, &disk_low, reterr);
}

static const char *
peer_name(const weir_stage_link_view *view)
{
    const weir_link_spec *spec = weir_link_spec_of(view->kind);

    return weir_service_name(view->sender ? spec->to : spec->from);
}

/* ---- GetStageStatus ---- */

/* Links that stopped; a receiver's own finding is no alarm, because its sender finds the same. */
static void
add_alarm(status_response *response, const weir_stage_link_view *view, weir_arena *arena)
{
    weir_service_id lost[2];
    link_alarm *alarm = NULL;

    if (!weir_stage_link_lost(view, &lost[0], &lost[1]))
        return;
    alarm = weir_arena_alloc(arena, sizeof *alarm);
    weir__internal__v1__link_alarm__init(alarm);
    alarm->link = weir_arena_strdup(arena, weir_link_spec_of(view->kind)->name);
    alarm->peer = weir_arena_strdup(arena, peer_name(view));
    alarm->reason = weir_arena_strdup(arena, view->tx.alarm);
    alarm->peer_store_id = copy_bytes(arena, view->tx.alarm_store_id, WEIR_STORE_ID_SIZE);
    alarm->era = view->tx.alarm_era;
    alarm->reset_era = view->tx.reset_era;
    alarm->lost = weir_arena_alloc(arena, 2 * sizeof alarm->lost[0]);
    for (int i = 0; i < 2 && lost[i] != WEIR_SERVICE_NONE; i++)
        alarm->lost[alarm->n_lost++] = weir_arena_strdup(arena, weir_service_name(lost[i]));
    response->alarms[response->n_alarms++] = alarm;
}

static void
fill_stage(status_response *response, const weir_stage_status *status, weir_arena *arena)
{
    response->store_id = copy_bytes(arena, status->identity.store_id, WEIR_STORE_ID_SIZE);
    response->boot_counter = status->identity.boot_counter;
    response->boot_random = copy_bytes(arena, status->identity.boot_random, WEIR_BOOT_RANDOM_SIZE);
    response->queued = status->counts.queued;
    response->in_flight = status->counts.in_flight;
    response->deferred = status->counts.deferred;
    response->parked = status->counts.parked;
    response->oldest_ms = status->counts.oldest_ms;
    response->era = status->era;
    response->held_era = status->held_era;
    response->applied_era = status->applied_era;
    response->set_aside = status->aside_count;
    response->alarms =
        weir_arena_alloc_zero(arena, (WEIR_LINK_COUNT + 1) * sizeof *response->alarms);
    for (uint32_t i = 0; i < status->link_count; i++)
        add_alarm(response, &status->links[i], arena);
}

static weir_code
get_stage_status(weir_service *service, weir_rpc_call *call, const status_request *request,
    status_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_stage_status status;
    weir_store_stats stats;

    bool disk_low = false;

    (void)call, (void)request;
    const weir_code code = read_status(service, &status, &disk_low, reterr);
    if (code != WEIR_OK)
        return code;
    weir_store_stats_read(service->store, &stats);
    response->service = weir_arena_strdup(arena, service->name);
    response->version = weir_arena_strdup(arena, WEIR_VERSION);
    response->uptime_s = (uint64_t)(weir_clock_wall_ms() - service->started_ms) / 1000;
    response->store_bytes = stats.disk_bytes;
    response->disk_free_bytes = stats.free_bytes;
    if (disk_low)
        response->pressure_reason =
            weir_arena_strdup(arena, "free disk space is below store.low_water_bytes");
    fill_stage(response, &status, arena);
    if (service->spec->status != NULL)
        service->spec->status(service, service->self, response, arena);
    return WEIR_OK;
}

WEIR_RPC_UNARY(get_stage_status, weir_service, status_request, status_response,
    weir__internal__v1__get_stage_status_response__init)

/* ---- ListLinks ---- */

static const char *
link_state(const weir_stage_link_view *view)
{
    if (!view->sender)
        return view->rx.alarm[0] != '\0' ? "regressed" : view->rx.hello_seen ? "open" : "waiting";
    switch (view->tx.state) {
    case WEIR_LINK_OPEN:
        return "open";
    case WEIR_LINK_REGRESSED:
        return "regressed";
    case WEIR_LINK_WAITING:
        break;
    }
    return "waiting";
}

static link_status *
describe_link(const weir_stage_link_view *view, weir_arena *arena)
{
    link_status *link = weir_arena_alloc(arena, sizeof *link);
    const bool known = view->sender ? view->tx.has_peer : view->rx.has_peer;

    weir__internal__v1__link_status__init(link);
    link->link = weir_arena_strdup(arena, weir_link_spec_of(view->kind)->name);
    link->sender = view->sender;
    link->peer = weir_arena_strdup(arena, peer_name(view));
    if (known)
        link->peer_store_id = copy_bytes(arena,
            view->sender ? view->tx.peer_store_id : view->rx.peer_store_id, WEIR_STORE_ID_SIZE);
    link->next = view->sender ? view->tx.next : 0;
    link->settled = view->sender ? view->tx.acked : view->rx.cursor;
    link->credit = view->sender ? view->tx.credit : view->rx.credit;
    link->state = weir_arena_strdup(arena, link_state(view));
    link->resent = view->sender ? view->tx.resent_total : 0;
    link->alarm = weir_arena_strdup(arena, view->sender ? view->tx.alarm : view->rx.alarm);
    return link;
}

static weir_code
list_links(weir_service *service, weir_rpc_call *call, const links_request *request,
    links_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_stage_status status;

    bool disk_low = false;

    (void)call, (void)request;
    const weir_code code = read_status(service, &status, &disk_low, reterr);
    if (code != WEIR_OK)
        return code;
    response->links =
        weir_arena_alloc_zero(arena, (status.link_count + 1) * sizeof *response->links);
    for (uint32_t i = 0; i < status.link_count; i++)
        response->links[response->n_links++] = describe_link(&status.links[i], arena);
    return WEIR_OK;
}

WEIR_RPC_UNARY(list_links, weir_service, links_request, links_response,
    weir__internal__v1__list_links_response__init)

/* ---- ListDeferred ---- */

/* A page token is the last key in hex with its checksum in front. */
static char *
token_of(weir_bytes key, weir_arena *arena)
{
    char *token = weir_arena_alloc(arena, 8 + 2 * key.size + 1);

    snprintf(token, 9, "%08x", weir_crc32c(0, key));
    weir_hex_encode(key, token + 8);
    return token;
}

static weir_code
key_of_token(const char *token, weir_arena *arena, weir_bytes *ret_key, weir_error *reterr)
{
    const size_t size = strlen(token);
    uint8_t *key = weir_arena_alloc(arena, size + 1);
    uint8_t sum[4];
    char head[9];

    snprintf(head, sizeof head, "%s", token);
    if (size <= 8 || size % 2 != 0 || !weir_hex_decode(head, sum, 4) ||
        !weir_hex_decode(token + 8, key, (size - 8) / 2) ||
        weir_load_u32(sum) != weir_crc32c(0, weir_bytes_of(key, (size - 8) / 2)))
        return weir_error_set_field(reterr, WEIR_PAGE_TOKEN_INVALID, "page_token",
            "the page token is none that this service gave out: start without one");
    *ret_key = weir_bytes_of(key, (size - 8) / 2);
    return WEIR_OK;
}

static weir_code
decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes bytes, weir_arena *arena,
    ProtobufCMessage **ret_message, weir_error *reterr)
{
    const weir_code code = weir_wire_decode(descriptor, bytes, NULL, arena, ret_message, reterr);

    return code == WEIR_MALFORMED_MESSAGE
        ? weir_error_set(reterr, WEIR_CORRUPT, "a deferred row does not decode: %s",
              reterr->message)
        : code;
}

static weir_code
describe_deferred(weir_bytes value, weir_arena *arena, deferred_work **ret_work, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    weir_code code =
        decode(&weir__internal__v1__deferred_record__descriptor, value, arena, &message, reterr);

    if (code != WEIR_OK)
        return code;
    const Weir__Internal__V1__DeferredRecord *record = (const void *)message;
    code = decode(&weir__internal__v1__row__descriptor,
        weir_bytes_of(record->row.data, record->row.len), arena, &message, reterr);
    if (code != WEIR_OK)
        return code;
    const Weir__Internal__V1__Row *row = (const void *)message;
    deferred_work *work = weir_arena_alloc(arena, sizeof *work);
    weir__internal__v1__deferred_work__init(work);
    work->tenant = row->tenant;
    work->collection_no = row->collection_no;
    work->document_id = row->document_id;
    work->revision = row->revision;
    work->epoch = row->epoch;
    work->due_ms = record->due_ms;
    work->attempt_count = record->attempt_count;
    work->crash_count = record->crash_count;
    work->parked = record->parked;
    work->failure = record->failure;
    *ret_work = work;
    return WEIR_OK;
}

/* ---- pages of records ---- */

typedef weir_code add_record(void *response, weir_bytes value, weir_arena *arena,
    weir_error *reterr);

typedef struct page {
    weir_bytes lower, upper; /* of the records' keys */
    int32_t size;
    const char *token;
    add_record *add;
    void *response;
} page;

/* Adds at most `limit` records; one more says that there is a next page. */
static weir_code
scan_page(const page *it, weir_iter *iter, size_t limit, char **ret_token, weir_arena *arena,
    weir_error *reterr)
{
    weir_code code = WEIR_OK;
    weir_bytes last = { 0 };
    size_t count = 0, bytes = 0;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);

        if (count > 0 && (count == limit || bytes + weir_iter_value(iter).size > PAGE_BYTES_MAX)) {
            *ret_token = token_of(last, arena);
            break;
        }
        last = weir_bytes_of(weir_arena_memdup(arena, key.data, key.size), key.size);
        bytes += weir_iter_value(iter).size;
        code = it->add(it->response, weir_iter_value(iter), arena, reterr);
        count++;
    }
    return code == WEIR_OK ? weir_iter_status(iter, reterr) : code;
}

/* Keys of a document, of a collection, or of all (work.h). */
static weir_bytes
deferred_range(const deferred_request *request, weir_arena *arena, weir_bytes *ret_upper)
{
    const size_t id_size = strlen(request->document_id) + 1;
    const size_t size = request->collection_no == 0 ? 1
        : request->document_id[0] == '\0'           ? 1 + 8
                                                    : 1 + 8 + id_size;
    uint8_t *lower = weir_arena_alloc(arena, 1 + 8 + id_size);

    lower[0] = 'd';
    weir_store_u64(lower + 1, request->collection_no);
    memcpy(lower + 1 + 8, request->document_id, id_size);
    uint8_t *upper = weir_arena_memdup(arena, lower, size);
    size_t upper_size = size;
    while (upper[upper_size - 1] == UINT8_MAX)
        upper_size--;
    upper[upper_size - 1]++;
    *ret_upper = weir_bytes_of(upper, upper_size);
    return weir_bytes_of(lower, size);
}

/* The first key after the last one that was shown: the bound of an iterator is inclusive. */
static weir_code
page_begin(const page *it, weir_arena *arena, weir_bytes *ret_lower, weir_error *reterr)
{
    weir_bytes last = { 0 };

    *ret_lower = it->lower;
    if (it->size < 0)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "page_size",
            "page_size is negative");
    if (it->token[0] == '\0')
        return WEIR_OK;
    const weir_code code = key_of_token(it->token, arena, &last, reterr);
    if (code != WEIR_OK)
        return code;
    uint8_t *after = weir_arena_alloc(arena, last.size + 1);
    memcpy(after, last.data, last.size);
    after[last.size] = 0;
    *ret_lower = weir_bytes_of(after, last.size + 1);
    return WEIR_OK;
}

static size_t
page_limit(const page *it)
{
    const size_t limit = it->size == 0 ? WEIR_PAGE_SIZE_DEFAULT : (size_t)it->size;

    return limit > WEIR_PAGE_SIZE_MAX ? WEIR_PAGE_SIZE_MAX : limit;
}

static weir_code
read_page(weir_service *service, const page *it, char **ret_token, weir_arena *arena,
    weir_error *reterr)
{
    weir_bytes lower;
    weir_code code = page_begin(it, arena, &lower, reterr);

    if (code != WEIR_OK)
        return code;
    weir_snapshot *snapshot = weir_store_snapshot_take(service->store);
    weir_iter *iter = weir_store_iter(service->store, snapshot, lower, it->upper);
    code = scan_page(it, iter, page_limit(it), ret_token, arena, reterr);
    weir_iter_destroy(&iter);
    weir_store_snapshot_release(service->store, &snapshot);
    return code;
}

static weir_code
add_deferred(void *ud, weir_bytes value, weir_arena *arena, weir_error *reterr)
{
    deferred_response *response = ud;

    return describe_deferred(value, arena, &response->deferred[response->n_deferred++], reterr);
}

static weir_code
list_deferred(weir_service *service, weir_rpc_call *call, const deferred_request *request,
    deferred_response *response, weir_arena *arena, weir_error *reterr)
{
    weir_bytes upper = { 0 };
    const weir_bytes lower = deferred_range(request, arena, &upper);
    const page it = { .lower = lower,
        .upper = upper,
        .size = request->page_size,
        .token = request->page_token,
        .add = add_deferred,
        .response = response };

    (void)call;
    response->deferred = weir_arena_alloc_zero(arena, (page_limit(&it) + 1) * sizeof(void *));
    return read_page(service, &it, &response->next_page_token, arena, reterr);
}

WEIR_RPC_UNARY(list_deferred, weir_service, deferred_request, deferred_response,
    weir__internal__v1__list_deferred_response__init)

/* ---- FindWork ---- */

static weir_code
find_work(weir_service *service, weir_rpc_call *call,
    const Weir__Internal__V1__FindWorkRequest *request,
    Weir__Internal__V1__FindWorkResponse *response, weir_arena *arena, weir_error *reterr)
{
    const size_t count = request->n_tries;
    weir_stage_status status;
    bool is_partial = false;

    (void)call;
    if (count > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "tries",
            "%zu tries; at most %d are possible", count, WEIR_PAGE_SIZE_MAX);
    weir_try *tries = weir_arena_alloc(arena, (count + 1) * sizeof *tries);
    bool *held = weir_arena_alloc_zero(arena, (count + 1) * sizeof *held);
    for (size_t i = 0; i < count; i++)
        tries[i] = (weir_try){ .collection_no = request->tries[i]->collection_no,
            .document_id = request->tries[i]->document_id,
            .revision = request->tries[i]->revision,
            .epoch = request->tries[i]->epoch };
    weir_code code = weir_service_stage_status(service, &status, reterr);
    if (code == WEIR_OK)
        code =
            weir_stage_find_work(service->store, &status, tries, count, held, &is_partial, reterr);
    if (code != WEIR_OK)
        return code;
    response->held = weir_arena_alloc(arena, (count + 1) * sizeof *response->held);
    for (size_t i = 0; i < count; i++)
        response->held[response->n_held++] = held[i];
    response->is_partial = is_partial;
    return WEIR_OK;
}

WEIR_RPC_UNARY(find_work, weir_service, Weir__Internal__V1__FindWorkRequest,
    Weir__Internal__V1__FindWorkResponse, weir__internal__v1__find_work_response__init)
static weir_code
add_set_aside(void *ud, weir_bytes value, weir_arena *arena, weir_error *reterr)
{
    set_aside_response *response = ud;
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__set_aside_record__descriptor,
        value, NULL, arena, &message, reterr);

    if (code == WEIR_OK)
        response->records[response->n_records++] =
            (Weir__Internal__V1__SetAsideRecord *)(void *)message;
    return code;
}

static weir_code
list_set_aside(weir_service *service, weir_rpc_call *call, const set_aside_request *request,
    set_aside_response *response, weir_arena *arena, weir_error *reterr)
{
    const page it = { .lower = weir_bytes_str("x"),
        .upper = weir_bytes_str("y"),
        .size = request->page_size,
        .token = request->page_token,
        .add = add_set_aside,
        .response = response };

    (void)call;
    response->records = weir_arena_alloc_zero(arena, (page_limit(&it) + 1) * sizeof(void *));
    return read_page(service, &it, &response->next_page_token, arena, reterr);
}

WEIR_RPC_UNARY(list_set_aside, weir_service, set_aside_request, set_aside_response,
    weir__internal__v1__list_set_aside_response__init)

/* ---- ApplyEra ---- */

static void
apply_era(weir_service *service, weir_rpc_call *call,
    const Weir__Internal__V1__ApplyEraRequest *request)
{
    weir_service_submit(service, call, WEIR_REQUEST_APPLY_ERA, "", &request->base);
}

WEIR_RPC_REQUEST(apply_era, weir_service, Weir__Internal__V1__ApplyEraRequest)

/* The rows that operators do not get come last. */
static const weir_rpc_handler handlers[] = {
    { .method = "GetStageStatus", .flags = WEIR_RPC_POOL, .request = get_stage_status_rpc },
    { .method = "ListLinks", .flags = WEIR_RPC_POOL, .request = list_links_rpc },
    { .method = "ListDeferred", .flags = WEIR_RPC_POOL, .request = list_deferred_rpc },
    { .method = "FindWork", .flags = WEIR_RPC_POOL, .request = find_work_rpc },
    { .method = "ListSetAside", .flags = WEIR_RPC_POOL, .request = list_set_aside_rpc },
    { .method = "ApplyEra", .request = apply_era_rpc },
    { .method = "Checkpoint", .flags = WEIR_RPC_POOL, .request = service_checkpoint_rpc },
};
enum { INNER_ONLY = 2 };

weir_code
service_stage_rpc_add(weir_service *service, weir_rpc_server *server, bool inner,
    weir_error *reterr)
{
    const size_t count = sizeof handlers / sizeof handlers[0];

    return weir_rpc_server_add(server, &weir__internal__v1__stage_service__descriptor, handlers,
        inner ? count : count - INNER_ONLY, service, reterr);
}
