/*
 * parts.c - see parts.h.
 */
#include "services/gateway/parts.h"

typedef struct parts {
    weir_buffer body;
    size_t sent;
    size_t part_bytes_max;
    gateway_part_send *send;
} parts;

void
gateway_parts_begin(weir_rpc_call *call, size_t part_bytes_max, gateway_part_send *send,
    weir_buffer **ret_body)
{
    parts *self = weir_alloc_zero(1, sizeof *self);

    self->part_bytes_max = part_bytes_max;
    self->send = send;
    weir_rpc_call_set_state(call, self);
    *ret_body = &self->body;
}

void
gateway_parts_send(weir_rpc_call *call)
{
    parts *self = weir_rpc_call_state(call);

    while (self->sent < self->body.size) {
        const size_t left = self->body.size - self->sent;
        const weir_bytes part = weir_bytes_of(self->body.data + self->sent,
            left < self->part_bytes_max ? left : self->part_bytes_max);

        self->sent += part.size;
        const weir_rpc_sent sent = self->send(call, part);
        if (sent == WEIR_RPC_FULL && self->sent < self->body.size)
            return; /* `writable` goes on */
        if (sent == WEIR_RPC_GONE)
            break;
    }
    weir_rpc_finish(call);
}

void
gateway_parts_writable(weir_rpc_call *call, void *context)
{
    (void)context;
    gateway_parts_send(call);
}

/* The reader has gone: there may be no room, and so no `writable`, any more. */
void
gateway_parts_cancelled(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_finish(call);
}

void
gateway_parts_done(weir_rpc_call *call, void *context)
{
    parts *self = weir_rpc_call_state(call);

    (void)context;
    weir_buffer_fini(&self->body);
    weir_free(self);
}
