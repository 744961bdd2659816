/*
 * rpc_watch_pressure.c - WatchPressure: checks; the thread of pressure.c does the rest.
 */
#include "services/gateway/check.h"
#include "services/gateway/pressure.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__WatchPressureRequest watch_request;

enum { INTERVAL_MS = 1000, INTERVAL_MS_MIN = 100, INTERVAL_MS_MAX = 3600000 };

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

static void
watch_pressure(gateway *self, weir_rpc_call *call, const watch_request *request)
{
    weir_error error = { .code = WEIR_OK };
    int64_t interval_ms = 0;
    weir_code code = check(request, &interval_ms, &error);

    if (code == WEIR_OK)
        code = gateway_pressure_begin(self->pressure, call, request->collection_id, interval_ms,
            &error);
    if (code != WEIR_OK)
        weir_rpc_fail(call, &error);
}

GATEWAY_REQUEST(watch_pressure, watch_request)

void
gateway_watch_pressure_writable(weir_rpc_call *call, void *context)
{
    gateway_pressure_tell(((gateway *)context)->pressure, call, GATEWAY_WATCH_WRITABLE);
}

void
gateway_watch_pressure_cancelled(weir_rpc_call *call, void *context)
{
    gateway_pressure_tell(((gateway *)context)->pressure, call, GATEWAY_WATCH_CANCELLED);
}

void
gateway_watch_pressure_draining(weir_rpc_call *call, void *context)
{
    gateway_pressure_tell(((gateway *)context)->pressure, call, GATEWAY_WATCH_DRAINING);
}

void
gateway_watch_pressure_done(weir_rpc_call *call, void *context)
{
    (void)context;
    gateway_pressure_done(call);
}
