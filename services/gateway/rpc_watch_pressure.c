/*
 * rpc_watch_pressure.c - WatchPressure: the pressure at once and then at an interval.
 */
#include "common/base/clock.h"
#include "common/wire/time.h"
#include "services/gateway/check.h"
#include "services/gateway/pressure.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__WatchPressureRequest watch_request;

typedef Weir__V1__WatchPressureResponse watch_response;

enum { INTERVAL_MS = 1000, INTERVAL_MS_MIN = 100, INTERVAL_MS_MAX = 3600000 };

typedef struct watcher {
    gateway_watcher base;
    const char *collection_id; /* borrowed from the call */
    int64_t interval_ms;
    int64_t answer_ms; /* monotonic: when the present answer was due; the thread's */
} watcher;

static weir_code
answer(gateway *self, gateway_watcher *one, weir_arena *arena, int64_t *due_ms, weir_error *reterr)
{
    watcher *to = (watcher *)one;
    const int64_t now_ms = weir_clock_mono_ms();
    watch_response response = WEIR__V1__WATCH_PRESSURE_RESPONSE__INIT;

    response.time = weir_wire_time(arena, weir_clock_wall_ms());
    const weir_code code = gateway_read_pressure(self, gateway_tenant(one->call), to->collection_id,
        arena, &response.pressure, reterr);
    if (code != WEIR_OK)
        return code;
    (void)gateway_watcher_send(one, &response.base);
    to->answer_ms =
        (to->answer_ms + to->interval_ms > now_ms ? to->answer_ms : now_ms) + to->interval_ms;
    *due_ms = to->answer_ms;
    return WEIR_OK;
}

const gateway_watchers_kind gateway_pressure_watchers = {
    .turn = answer,
    .verb = "watch the pressure",
    .again = "watch again",
};

static weir_code
check(const watch_request *request, int64_t *ret_interval_ms, weir_error *reterr)
{
    weir_code code = gateway_check_duration(request->interval, "interval", INTERVAL_MS,
        INTERVAL_MS_MAX, ret_interval_ms, reterr);

    if (code == WEIR_OK && *ret_interval_ms < INTERVAL_MS_MIN)
        code = weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "interval",
            "interval is %lld ms and 100 ms is the least", (long long)*ret_interval_ms);
    if (code == WEIR_OK && request->collection_id[0] != 0)
        code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);
    return code;
}

static weir_code
begin(gateway *self, weir_rpc_call *call, const char *collection_id, int64_t interval_ms,
    weir_error *reterr)
{
    watcher *made = weir_alloc_zero(1, sizeof *made);

    made->collection_id = collection_id;
    made->interval_ms = interval_ms;
    made->answer_ms = weir_clock_mono_ms();
    return gateway_watchers_begin(self->pressure, call, &made->base, reterr);
}

static void
watch_pressure(gateway *self, weir_rpc_call *call, const watch_request *request)
{
    weir_error error = { .code = WEIR_OK };
    int64_t interval_ms = 0;
    weir_code code = check(request, &interval_ms, &error);

    if (code == WEIR_OK)
        code = begin(self, call, request->collection_id, interval_ms, &error);
    if (code != WEIR_OK)
        weir_rpc_fail(call, &error);
}

GATEWAY_REQUEST(watch_pressure, watch_request)
