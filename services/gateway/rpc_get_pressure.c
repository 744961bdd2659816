/*
 * rpc_get_pressure.c - GetPressure: counters from one look into the store, stages from the last
 * look at the services.
 */
#include "common/base/clock.h"
#include "services/gateway/check.h"
#include "services/gateway/keys.h"
#include "services/gateway/pressure.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/status.h"

typedef Weir__V1__GetPressureRequest pressure_request;
typedef Weir__V1__GetPressureResponse pressure_response;
typedef Weir__V1__Pressure pressure;
typedef Weir__Internal__V1__UnreadyPageRecord unready_page;

enum { STAGES = 4, UNREADY_LOOKED_AT_MAX = 100000 };

static const weir_service_id service_of_stage[STAGES + 1] = {
    [WEIR__V1__STAGE__STAGE_ACCEPT] = WEIR_SERVICE_GATEWAY,
    [WEIR__V1__STAGE__STAGE_CHUNK] = WEIR_SERVICE_INGEST,
    [WEIR__V1__STAGE__STAGE_EMBED] = WEIR_SERVICE_EMBEDDER,
    [WEIR__V1__STAGE__STAGE_INDEX] = WEIR_SERVICE_INDEXER,
};

/* ---- counts ---- */

static void
add_counters(pressure *sum, const counters_record *counters)
{
    sum->pending += (int64_t)counters->pending;
    sum->processing += (int64_t)counters->processing;
    sum->ready += (int64_t)counters->ready;
    sum->failed += (int64_t)counters->failed;
    sum->superseded += (int64_t)counters->superseded;
    sum->deleted += (int64_t)counters->deleted;
}

static weir_code
count_all(gateway_look *look, const char *tenant, pressure *sum, weir_error *reterr)
{
    const weir_bytes lower = gateway_key_collections(&look->key, tenant);
    weir_iter *iter =
        weir_store_iter(look->store, look->snapshot, lower, gateway_key_after(&look->end, lower));
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        collection_record *collection = NULL;
        counters_record counters;

        code = gateway_look_decode(look, &weir__internal__v1__collection_record__descriptor,
            weir_iter_value(iter), &collection, reterr);
        if (code == WEIR_OK)
            code = gateway_look_counters(look, collection->collection_no, &counters, reterr);
        if (code == WEIR_OK)
            add_counters(sum, &counters);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* Since when the oldest unready revision of the collection waits; 0: none, or beyond a bounded
 * look. */
static weir_code
oldest_of(gateway_look *look, uint64_t collection_no, int64_t *ret_since_ms, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(look->store, look->snapshot,
        gateway_key_unready(&look->key, 0), gateway_key_unready_end(&look->end));
    size_t left = UNREADY_LOOKED_AT_MAX;
    weir_code code = WEIR_OK;

    *ret_since_ms = 0;
    while (code == WEIR_OK && *ret_since_ms == 0 && left-- > 0 && weir_iter_next(iter)) {
        unready_page *page = NULL;

        code = gateway_look_decode(look, &weir__internal__v1__unready_page_record__descriptor,
            weir_iter_value(iter), &page, reterr);
        if (code == WEIR_OK && page->collection_no == collection_no)
            *ret_since_ms = page->since_ms;
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
count_one(gateway_look *look, const char *tenant, const char *collection_id, pressure *sum,
    int64_t *ret_since_ms, weir_error *reterr)
{
    collection_record *collection = NULL;
    counters_record counters;
    weir_code code = gateway_look_collection(look, tenant, collection_id, &collection, reterr);

    if (code == WEIR_OK)
        code = gateway_look_counters(look, collection->collection_no, &counters, reterr);
    if (code != WEIR_OK)
        return code;
    add_counters(sum, &counters);
    return sum->pending + sum->processing == 0
        ? WEIR_OK
        : oldest_of(look, collection->collection_no, ret_since_ms, reterr);
}

/* ---- stages ---- */

static Weir__V1__StagePressure *
view_stage(weir_arena *arena, Weir__V1__Stage stage, const stage_status *seen, int64_t now_ms)
{
    Weir__V1__StagePressure *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__stage_pressure__init(view);
    view->stage = stage;
    if (seen == NULL)
        return view;
    view->queued = (int64_t)seen->queued;
    view->in_flight = (int64_t)seen->in_flight;
    view->deferred = (int64_t)seen->deferred;
    view->parked = (int64_t)seen->parked;
    if (seen->oldest_ms != 0)
        view->oldest_age =
            weir_wire_duration(arena, now_ms > seen->oldest_ms ? now_ms - seen->oldest_ms : 0);
    return view;
}

static void
fill_own(gateway *self, stage_status *own)
{
    weir_stage_status status;

    weir_stage_status_read(weir_shell_stage(self->service->shell), &status);
    weir__internal__v1__get_stage_status_response__init(own);
    own->queued = status.counts.queued;
    own->in_flight = status.counts.in_flight;
    own->oldest_ms = status.counts.oldest_ms;
}

static void
add_breakers(weir_arena *arena, const stage_status *embedder, pressure *view)
{
    const size_t count = embedder == NULL ? 0 : embedder->n_models;

    view->breakers = weir_arena_alloc(arena, (count + 1) * sizeof(view->breakers[0]));
    for (size_t i = 0; i < count; i++) {
        Weir__V1__Breaker *breaker = weir_arena_alloc(arena, sizeof *breaker);

        weir__v1__breaker__init(breaker);
        breaker->model = embedder->models[i]->model;
        breaker->state = (Weir__V1__BreakerState)embedder->models[i]->breaker;
        view->breakers[view->n_breakers++] = breaker;
    }
}

static void
add_stages(gateway *self, weir_arena *arena, pressure *view)
{
    const int64_t now_ms = weir_clock_wall_ms();
    stage_status own;
    bool is_fresh = false;

    fill_own(self, &own);
    view->stages = weir_arena_alloc(arena, STAGES * sizeof(view->stages[0]));
    for (int stage = 1; stage <= STAGES; stage++) {
        const weir_service_id service = service_of_stage[stage];
        const stage_status *seen = service == WEIR_SERVICE_GATEWAY
            ? &own
            : gateway_status_read(self->status, service, arena, &is_fresh);

        view->stages[view->n_stages] = view_stage(arena, (Weir__V1__Stage)stage, seen, now_ms);
        view->stages[view->n_stages++]->away = service != WEIR_SERVICE_GATEWAY && !is_fresh;
        if (service == WEIR_SERVICE_EMBEDDER)
            add_breakers(arena, seen, view);
    }
}

/* ---- the call ---- */

static void
add_admission(gateway *self, weir_arena *arena, pressure *view)
{
    weir_error why = { .code = WEIR_OK };

    view->admission = (Weir__V1__Admission)gateway_admission_now(self, &why);
    if (why.code != WEIR_OK)
        view->admission_reason = weir_arena_strdup(arena, why.message);
}

static weir_code
count(gateway *self, const char *tenant, const char *collection_id, weir_arena *arena,
    pressure *view, int64_t *ret_since_ms, weir_error *reterr)
{
    gateway_published published;
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_core_published(self->core, &published);
    *ret_since_ms = published.load.oldest_since_ms;
    view->inconsistencies = (int64_t)published.inconsistencies;
    gateway_look_begin(&look, self->service->store, arena);
    if (collection_id[0] == 0)
        code = count_all(&look, tenant, view, reterr);
    else
        code = count_one(&look, tenant, collection_id, view, ret_since_ms, reterr);
    gateway_look_end(&look);
    return code;
}

weir_code
gateway_read_pressure(gateway *self, const char *tenant, const char *collection_id,
    weir_arena *arena, pressure **ret_pressure, weir_error *reterr)
{
    pressure *view = weir_arena_alloc(arena, sizeof *view);
    int64_t since_ms = 0;
    weir_code code = WEIR_OK;

    if (collection_id[0] != 0)
        code = gateway_check_collection_id(collection_id, "collection_id", reterr);
    weir__v1__pressure__init(view);
    if (code == WEIR_OK)
        code = count(self, tenant, collection_id, arena, view, &since_ms, reterr);
    if (code != WEIR_OK)
        return code;
    view->dead_letters = view->failed; /* each has its one */
    const int64_t age_ms = weir_clock_wall_ms() - since_ms;
    if (since_ms != 0 && view->pending + view->processing > 0)
        view->oldest_unready_age = weir_wire_duration(arena, age_ms > 0 ? age_ms : 0);
    add_stages(self, arena, view);
    add_admission(self, arena, view);
    *ret_pressure = view;
    return WEIR_OK;
}

static weir_code
get_pressure(gateway *self, weir_rpc_call *call, const pressure_request *request,
    pressure_response *response, weir_arena *arena, weir_error *reterr)
{
    return gateway_read_pressure(self, gateway_tenant(call), request->collection_id, arena,
        &response->pressure, reterr);
}

GATEWAY_UNARY(get_pressure, pressure_request, pressure_response,
    weir__v1__get_pressure_response__init)
