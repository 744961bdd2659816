/*
 * rpc_read_source.c - SourceService.ReadSource, on the Unix socket: the body of a revision in
 * parts.
 *
 * The body is read once and sent as fast as the reader takes it.  A source that was purged
 * meanwhile (superseded, deleted) is NOT_FOUND: the reader settles its row without work.
 */
#include "services/gateway/keys.h"
#include "common/base/failpoint.h"
#include "services/gateway/rpcs.h"

typedef Weir__Internal__V1__ReadSourceRequest source_request;

enum { PART_BYTES_MAX = 1 << 20 };

typedef struct source_flow {
    weir_buffer body;
    size_t sent;
} source_flow;

/* On one thread at a time: the request's, then the events'. */
static void
send_parts(weir_rpc_call *call, source_flow *flow)
{
    while (flow->sent < flow->body.size) {
        const size_t left = flow->body.size - flow->sent;
        Weir__Internal__V1__ReadSourceResponse part =
            WEIR__INTERNAL__V1__READ_SOURCE_RESPONSE__INIT;

        part.data.data = flow->body.data + flow->sent;
        part.data.len = left < PART_BYTES_MAX ? left : PART_BYTES_MAX;
        flow->sent += part.data.len;
        WEIR_FP("gateway.read_source.part");
        const weir_rpc_sent sent = weir_rpc_send(call, &part.base);
        if (sent == WEIR_RPC_FULL && flow->sent < flow->body.size)
            return; /* `writable` goes on */
        if (sent == WEIR_RPC_GONE)
            break;
    }
    weir_rpc_finish(call);
}

static void
read_source(gateway *self, weir_rpc_call *call, const source_request *request)
{
    source_flow *flow = weir_alloc_zero(1, sizeof *flow);
    weir_buffer key = { 0 };
    bool found = false;
    weir_error error = { .code = WEIR_OK };

    weir_rpc_call_set_state(call, flow);
    weir_code code = weir_store_get(self->service->store, NULL,
        gateway_key_source(&key, request->collection_no, request->document_id, request->revision),
        &flow->body, &found, &error);
    weir_buffer_fini(&key);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("gateway.read_source.before", &error);
    if (code == WEIR_OK && !found)
        code = weir_error_set(&error, WEIR_NOT_FOUND,
            "the source of that revision is not kept any more");
    if (code != WEIR_OK)
        weir_rpc_fail(call, &error);
    else
        send_parts(call, flow);
}

GATEWAY_REQUEST(read_source, source_request)

void
gateway_read_source_writable(weir_rpc_call *call, void *context)
{
    (void)context;
    send_parts(call, weir_rpc_call_state(call));
}

/* The reader has gone: there may be no room, and so no `writable`, any more. */
void
gateway_read_source_cancelled(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_finish(call);
}

void
gateway_read_source_done(weir_rpc_call *call, void *context)
{
    source_flow *flow = weir_rpc_call_state(call);

    (void)context;
    weir_buffer_fini(&flow->body);
    weir_free(flow);
}
