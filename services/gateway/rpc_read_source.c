/*
 * rpc_read_source.c - SourceService.ReadSource, on the Unix socket: the body of a revision in
 * parts.
 *
 * The body is read once and sent as fast as the reader takes it.  A source that was purged
 * meanwhile (superseded, deleted) is NOT_FOUND: the reader settles its row without work.
 */
#include "common/base/failpoint.h"
#include "services/gateway/keys.h"
#include "services/gateway/parts.h"

typedef Weir__Internal__V1__ReadSourceRequest source_request;

enum { PART_BYTES_MAX = 1 << 20 };

static weir_rpc_sent
send_part(weir_rpc_call *call, weir_bytes data)
{
    Weir__Internal__V1__ReadSourceResponse part = WEIR__INTERNAL__V1__READ_SOURCE_RESPONSE__INIT;

    part.data.data = (uint8_t *)(uintptr_t)data.data;
    part.data.len = data.size;
    WEIR_FP("gateway.read_source.part");
    return weir_rpc_send(call, &part.base);
}

static void
read_source(gateway *self, weir_rpc_call *call, const source_request *request)
{
    weir_buffer *body = NULL;
    weir_buffer key = { 0 };
    bool found = false;
    weir_error error = { .code = WEIR_OK };

    gateway_parts_begin(call, PART_BYTES_MAX, send_part, &body);
    weir_code code = weir_store_get(self->service->store, NULL,
        gateway_key_source(&key, request->collection_no, request->document_id, request->revision),
        body, &found, &error);
    weir_buffer_fini(&key);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("gateway.read_source.before", &error);
    if (code == WEIR_OK && !found)
        code = weir_error_set(&error, WEIR_NOT_FOUND,
            "the source of that revision is not kept any more");
    if (code != WEIR_OK)
        weir_rpc_fail(call, &error);
    else
        gateway_parts_send(call);
}

GATEWAY_REQUEST(read_source, source_request)
