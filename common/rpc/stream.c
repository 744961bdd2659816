/*
 * stream.c - blocking calls for tools and worker threads, on top of client.c.
 *
 * A stream keeps at most one unread message: until it is taken, the next read is not started and
 * the server feels the flow control.
 */
#include <errno.h>
#include <time.h>

#include "common/rpc/client_internal.h"

typedef struct call_waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
} call_waiter;

static void
waiter_init(call_waiter *waiter)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&waiter->lock, NULL);
    pthread_cond_init(&waiter->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    waiter->done = false;
}

static void
waiter_fini(call_waiter *waiter)
{
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
}

static void
waiter_done(call_waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    pthread_cond_broadcast(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

/* ---- unary ---- */

static void
wake(weir_rpc_client_call *call)
{
    waiter_done(call->context);
}

weir_code
weir_rpc_unary(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    const weir_rpc_call_options *options, weir_arena *arena, ProtobufCMessage **ret_response,
    weir_error *reterr)
{
    weir_rpc_client_call *call;
    call_waiter waiter;
    weir_code code;

    weir_assert(!wr_on_poller());
    waiter_init(&waiter);
    call = wr_client_create(stub, method, options);
    call->context = &waiter;
    call->on_done = wake;
    wr_client_start_unary(call, request);
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done)
        pthread_cond_wait(&waiter.changed, &waiter.lock);
    pthread_mutex_unlock(&waiter.lock);
    waiter_fini(&waiter);

    code = call->error.code;
    if (code == WEIR_OK)
        code = wr_client_take_answer(call, arena, ret_response, reterr);
    else if (reterr != NULL)
        *reterr = call->error;
    weir_rpc_client_unref(call);
    return code;
}

/* ---- streams ---- */

struct weir_rpc_stream {
    weir_rpc_client_call *call;
    call_waiter waiter; /* its lock guards all below; `done` means that the status is known */
    grpc_byte_buffer *unread;
    bool is_full;
    bool is_draining; /* finish: nobody reads any more */
};

static weir_rpc_flow
stream_message(weir_rpc_client_call *call, grpc_byte_buffer *buffer)
{
    weir_rpc_stream *stream = call->context;
    weir_rpc_flow flow = WEIR_RPC_HOLD;

    pthread_mutex_lock(&stream->waiter.lock);
    if (stream->is_draining) {
        grpc_byte_buffer_destroy(buffer);
        flow = WEIR_RPC_MORE;
    } else {
        weir_assert(stream->unread == NULL);
        stream->unread = buffer;
        pthread_cond_broadcast(&stream->waiter.changed);
    }
    pthread_mutex_unlock(&stream->waiter.lock);
    return flow;
}

static void
stream_writable(weir_rpc_client_call *call)
{
    weir_rpc_stream *stream = call->context;

    pthread_mutex_lock(&stream->waiter.lock);
    stream->is_full = false;
    pthread_cond_broadcast(&stream->waiter.changed);
    pthread_mutex_unlock(&stream->waiter.lock);
}

static void
stream_done(weir_rpc_client_call *call)
{
    weir_rpc_stream *stream = call->context;

    waiter_done(&stream->waiter);
}

weir_rpc_stream *
weir_rpc_stream_open(weir_rpc_stub *stub, const char *method, const weir_rpc_call_options *options)
{
    weir_rpc_stream *stream = weir_alloc_zero(1, sizeof *stream);

    weir_assert(!wr_on_poller());
    waiter_init(&stream->waiter);
    stream->call = wr_client_create(stub, method, options);
    stream->call->context = stream;
    stream->call->on_message = stream_message;
    stream->call->on_writable = stream_writable;
    stream->call->on_done = stream_done;
    wr_client_start_stream(stream->call);
    return stream;
}

static weir_code
end_reason(const weir_rpc_stream *stream, weir_error *reterr)
{
    const weir_error *error = &stream->call->error;

    if (error->code == WEIR_OK)
        return weir_error_set(reterr, WEIR_CANCELLED, "the server has ended the call");
    if (reterr != NULL)
        *reterr = *error;
    return error->code;
}

weir_code
weir_rpc_stream_send(weir_rpc_stream *stream, const ProtobufCMessage *message, weir_error *reterr)
{
    bool done;

    weir_assert(!wr_on_poller());
    pthread_mutex_lock(&stream->waiter.lock);
    while (stream->is_full && !stream->waiter.done)
        pthread_cond_wait(&stream->waiter.changed, &stream->waiter.lock);
    done = stream->waiter.done;
    pthread_mutex_unlock(&stream->waiter.lock);
    if (done)
        return end_reason(stream, reterr);

    /* Said before the send: room may be reported before it returns. */
    pthread_mutex_lock(&stream->waiter.lock);
    stream->is_full = true;
    pthread_mutex_unlock(&stream->waiter.lock);

    const weir_rpc_sent sent = weir_rpc_client_send(stream->call, message);

    if (sent == WEIR_RPC_FULL)
        return WEIR_OK;
    pthread_mutex_lock(&stream->waiter.lock);
    stream->is_full = false;
    while (sent == WEIR_RPC_GONE && !stream->waiter.done)
        pthread_cond_wait(&stream->waiter.changed, &stream->waiter.lock);
    pthread_mutex_unlock(&stream->waiter.lock);
    return sent == WEIR_RPC_SENT ? WEIR_OK : end_reason(stream, reterr);
}

void
weir_rpc_stream_half_close(weir_rpc_stream *stream)
{
    weir_rpc_client_half_close(stream->call);
}

/* False: the time is over. */
static bool
wait_message(weir_rpc_stream *stream, uint32_t timeout_ms)
{
    const int64_t until_ms = weir_clock_mono_ms() + timeout_ms;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (until_ms % 1000) * 1000000 };

    while (stream->unread == NULL && !stream->waiter.done)
        if (timeout_ms == 0)
            pthread_cond_wait(&stream->waiter.changed, &stream->waiter.lock);
        else if (pthread_cond_timedwait(&stream->waiter.changed, &stream->waiter.lock, &until) ==
            ETIMEDOUT)
            return stream->unread != NULL || stream->waiter.done;
    return true;
}

weir_code
weir_rpc_stream_recv(weir_rpc_stream *stream, uint32_t timeout_ms, weir_arena *arena,
    ProtobufCMessage **ret_message, weir_error *reterr)
{
    grpc_byte_buffer *buffer;
    bool in_time;
    weir_code code;

    weir_assert(!wr_on_poller());
    pthread_mutex_lock(&stream->waiter.lock);
    in_time = wait_message(stream, timeout_ms);
    buffer = stream->unread;
    stream->unread = NULL;
    pthread_mutex_unlock(&stream->waiter.lock);

    if (!in_time)
        return weir_error_set_field(reterr, WEIR_TIMEOUT, "wait", "no message within %u ms",
            timeout_ms);
    if (buffer == NULL) {
        *ret_message = NULL;
        return stream->call->error.code == WEIR_OK ? WEIR_OK : end_reason(stream, reterr);
    }
    code = wr_message_unpack(stream->call->type->output, buffer, arena, ret_message, reterr);
    grpc_byte_buffer_destroy(buffer);
    weir_rpc_client_resume(stream->call);
    return code;
}

void
weir_rpc_stream_cancel(weir_rpc_stream *stream)
{
    weir_rpc_client_cancel(stream->call);
}

weir_code
weir_rpc_stream_finish(weir_rpc_stream **stream_p, weir_error *reterr)
{
    weir_rpc_stream *stream = *stream_p;
    weir_code code;

    weir_assert(!wr_on_poller());
    weir_rpc_client_half_close(stream->call);
    pthread_mutex_lock(&stream->waiter.lock);
    stream->is_draining = true;
    if (stream->unread != NULL)
        grpc_byte_buffer_destroy(stream->unread);
    stream->unread = NULL;
    pthread_mutex_unlock(&stream->waiter.lock);
    weir_rpc_client_resume(stream->call);

    pthread_mutex_lock(&stream->waiter.lock);
    while (!stream->waiter.done)
        pthread_cond_wait(&stream->waiter.changed, &stream->waiter.lock);
    pthread_mutex_unlock(&stream->waiter.lock);
    code = stream->call->error.code;
    if (code != WEIR_OK && reterr != NULL)
        *reterr = stream->call->error;
    weir_rpc_client_unref(stream->call);
    waiter_fini(&stream->waiter);
    weir_free(stream);
    *stream_p = NULL;
    return code;
}
