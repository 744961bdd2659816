/*
 * reading.c - messages of client-streaming and bidirectional calls, one at a time.
 *
 * The next read starts only when the handler is through with the last message (MORE, or resume
 * after HOLD): so the HTTP/2 window slows the client down, and a job on the pool is never joined by
 * a second one of the same call.
 */
#include "common/rpc/internal.h"

static void
read_next(weir_rpc_call *call)
{
    const grpc_op op = {
        .op = GRPC_OP_RECV_MESSAGE,
        .data.recv_message.recv_message = &call->incoming,
    };

    pthread_mutex_lock(&call->lock);
    if (call->owned && !call->decided && !call->cancelled) {
        weir_assert(!call->reading && !call->held && !call->half_closed);
        call->reading = true;
        wr_call_hold(call);
        wr_start_batch(call->core, &op, 1, &call->read_event);
    }
    pthread_mutex_unlock(&call->lock);
}

static weir_code
decode_message(weir_rpc_call *call, ProtobufCMessage **ret_message, weir_error *reterr)
{
    weir_code code = wr_call_check_size(call, call->payload, reterr);

    if (call->message_arena == NULL)
        call->message_arena = weir_arena_create(0);
    else
        weir_arena_reset(call->message_arena);
    call->received_messages++;
    call->received_bytes += grpc_byte_buffer_length(call->payload);
    if (code == WEIR_OK)
        code = wr_message_unpack(call->row->method->input, call->payload, call->message_arena,
            ret_message, reterr);
    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
    return code;
}

/* True: read on. */
static bool
after_message(weir_rpc_call *call, weir_rpc_flow flow)
{
    bool go_on;

    pthread_mutex_lock(&call->lock);
    call->in_message = false;
    go_on = flow == WEIR_RPC_MORE || call->resumed;
    call->held = !go_on;
    call->resumed = false;
    pthread_mutex_unlock(&call->lock);
    return go_on;
}

static void
give_message(weir_rpc_call *call)
{
    const wr_row *row = call->row;
    ProtobufCMessage *message;
    weir_error error;

    if (decode_message(call, &message, &error) != WEIR_OK) {
        wr_call_abort(call, &error);
        return;
    }
    pthread_mutex_lock(&call->lock);
    call->in_message = true;
    pthread_mutex_unlock(&call->lock);
    if (after_message(call, row->handler->message(call, message, row->service->context)))
        read_next(call);
}

/* A message, or without one the client's half-close; on a poller or a worker. */
static void
step(weir_rpc_call *call)
{
    if (call->payload != NULL)
        give_message(call);
    else
        call->row->handler->half_closed(call, call->row->service->context);
}

/*
 * The end of the client's messages looks like a broken stream: no message.  Only the core knows
 * which it was, and to take one for the other would turn half an upload into a document.
 */
static bool
is_half_close(const weir_rpc_call *call, bool ok)
{
    return ok && grpc_call_failed_before_recv_message(call->core) == 0;
}

void
wr_call_read_fire(wr_event *event, bool ok)
{
    weir_rpc_call *call = WR_OF(event, weir_rpc_call, read_event);
    grpc_byte_buffer *buffer = call->incoming;
    bool wanted;

    pthread_mutex_lock(&call->lock);
    call->reading = false;
    call->incoming = NULL;
    wanted = call->owned && !call->decided && !call->cancelled;
    if (buffer == NULL && wanted) {
        wanted = is_half_close(call, ok);
        call->half_closed = wanted;
    }
    pthread_mutex_unlock(&call->lock);

    if (wanted) {
        call->payload = buffer;
        if ((call->row->handler->flags & WEIR_RPC_POOL) != 0)
            wr_call_push(call, step, true);
        else
            step(call);
    } else if (buffer != NULL) {
        grpc_byte_buffer_destroy(buffer);
    }
    pthread_mutex_lock(&call->lock);
    wr_call_release(call);
}

void
wr_call_run_stream(weir_rpc_call *call)
{
    const wr_row *row = call->row;
    weir_error error;

    if (!wr_call_enter(call)) {
        weir_error_set(&error, WEIR_CANCELLED, "nobody waits for the answer");
        wr_call_fail_unstarted(call, &error);
        return;
    }
    if (row->handler->open != NULL)
        row->handler->open(call, row->service->context);
    wr_call_leave(call);
    read_next(call);
}

void
weir_rpc_resume(weir_rpc_call *call)
{
    bool go_on;

    pthread_mutex_lock(&call->lock);
    go_on = call->held;
    call->held = false;
    if (!go_on && call->in_message)
        call->resumed = true;
    pthread_mutex_unlock(&call->lock);
    if (go_on)
        read_next(call);
}

weir_arena *
weir_rpc_take_message(weir_rpc_call *call)
{
    weir_arena *arena = call->message_arena;

    weir_assert(arena != NULL);
    call->message_arena = NULL;
    return arena;
}
