/*
 * outbox.c - the messages of a stream that wait for their turn: one batch is in flight at a time.
 */
#include "common/rpc/internal.h"

void
wr_outbox_init(wr_outbox *outbox)
{
    *outbox = (wr_outbox){ .tail_p = &outbox->head };
}

void
wr_outbox_put(wr_outbox *outbox, grpc_byte_buffer *buffer)
{
    wr_outgoing *outgoing = weir_alloc_zero(1, sizeof *outgoing);

    outgoing->buffer = buffer;
    outgoing->size = grpc_byte_buffer_length(buffer);
    outbox->bytes += outgoing->size;
    *outbox->tail_p = outgoing;
    outbox->tail_p = &outgoing->next;
}

wr_outgoing *
wr_outbox_take(wr_outbox *outbox)
{
    wr_outgoing *outgoing = outbox->head;

    if (outgoing == NULL)
        return NULL;
    outbox->head = outgoing->next;
    if (outbox->head == NULL)
        outbox->tail_p = &outbox->head;
    outbox->bytes -= outgoing->size;
    return outgoing;
}

void
wr_outgoing_free(wr_outgoing *outgoing)
{
    if (outgoing == NULL)
        return;
    grpc_byte_buffer_destroy(outgoing->buffer);
    weir_free(outgoing);
}

void
wr_outbox_drop(wr_outbox *outbox)
{
    for (wr_outgoing *each = wr_outbox_take(outbox); each != NULL; each = wr_outbox_take(outbox))
        wr_outgoing_free(each);
}
