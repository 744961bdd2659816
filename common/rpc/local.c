/*
 * local.c - calls made inside this process: the same interceptors, pool and handlers, with no
 * connection behind.
 *
 * The answer is given once, by whoever comes first: the handler's finish, the deadline (a timer
 * thread, started with the first call) or a cancel.  It never overtakes a message that is being
 * given: it waits for that to return.
 */
#include <errno.h>
#include <time.h>

#include "common/rpc/internal.h"

/* ---- answering ---- */

static size_t
copy_pairs(const wr_pairs *pairs, weir_arena *arena, weir_rpc_metadata *out)
{
    for (size_t i = 0; i < pairs->count; i++)
        out[i] = (weir_rpc_metadata){ .key = wr_slice_text(arena, &pairs->items[i].key),
            .value = wr_slice_bytes(&pairs->items[i].value) };
    return pairs->count;
}

static void
give_answer(weir_rpc_call *call, const weir_error *error, const ProtobufCMessage *response)
{
    weir_arena *arena = weir_arena_create(0);
    weir_rpc_metadata headers[WR_PAIRS_MAX];
    weir_rpc_metadata trailers[WR_PAIRS_MAX];
    const weir_rpc_answer answer = {
        .error = error,
        .response = response,
        .request_id = call->request_id,
        .headers = headers,
        .header_count = copy_pairs(&call->headers, arena, headers),
        .trailers = trailers,
        .trailer_count = copy_pairs(&call->trailers, arena, trailers),
    };

    call->local_done(&answer, call->local_context);
    weir_arena_destroy(&arena);
}

void
wr_local_answer(weir_rpc_call *call, const weir_error *error, const ProtobufCMessage *response)
{
    bool now;

    pthread_mutex_lock(&call->lock);
    now = !call->answered && !call->local_sending;
    call->answer_due = !call->answered && call->local_sending;
    call->answered = true;
    call->initial_sent = true; /* what the handler sets from here on is too late */
    call->status_sent = true;
    pthread_mutex_unlock(&call->lock);
    if (now)
        give_answer(call, error, response);
}

weir_rpc_sent
wr_local_send(weir_rpc_call *call, const ProtobufCMessage *message)
{
    bool room;
    bool answer;

    pthread_mutex_lock(&call->lock);
    if (call->decided || call->local_message == NULL) {
        pthread_mutex_unlock(&call->lock);
        return WEIR_RPC_GONE;
    }
    weir_assert(!call->local_sending); /* two senders at a time would mix their order */
    call->local_sending = true;
    call->sent_messages++;
    pthread_mutex_unlock(&call->lock);

    room = call->local_message(message, call->local_context);

    pthread_mutex_lock(&call->lock);
    call->local_sending = false;
    answer = call->answer_due;
    call->answer_due = false;
    pthread_mutex_unlock(&call->lock);
    if (answer)
        give_answer(call, &call->error, NULL);
    return room ? WEIR_RPC_SENT : WEIR_RPC_FULL;
}

void
weir_rpc_invocation_writable(weir_rpc_call *call)
{
    if (call == NULL)
        return;
    pthread_mutex_lock(&call->lock);
    if (call->pending == 0) {
        pthread_mutex_unlock(&call->lock);
        return;
    }
    wr_call_hold(call);
    call->writable_due = true;
    wr_call_deliver(call);
    wr_call_release(call);
}

/* ---- giving up ---- */

void
wr_local_cancel(weir_rpc_call *call, const weir_error *error)
{
    pthread_mutex_lock(&call->lock);
    if (call->decided || call->pending == 0) {
        pthread_mutex_unlock(&call->lock);
        return;
    }
    wr_call_hold(call);
    call->decided = true;
    call->error = *error;
    call->cancel_due = true;
    atomic_store(&call->gone, true);
    pthread_mutex_unlock(&call->lock);

    wr_local_answer(call, error, NULL);
    pthread_mutex_lock(&call->lock);
    wr_call_deliver(call);
    wr_call_release(call);
}

void
weir_rpc_invocation_cancel(weir_rpc_call *call)
{
    weir_error error;

    if (call == NULL)
        return;
    weir_error_set(&error, WEIR_CANCELLED, "the caller gave up");
    wr_local_cancel(call, &error);
}

/* ---- deadlines ---- */

/* Under the server's lock: the earliest live deadline, and a call whose time is over with a
 * reference, or NULL. */
static weir_rpc_call *
find_late(weir_rpc_server *server, int64_t now_ms, int64_t *ret_next_ms)
{
    *ret_next_ms = INT64_MAX;
    for (weir_rpc_call *call = server->calls; call != NULL; call = call->next) {
        if (call->core != NULL || call->deadline_ms == INT64_MAX || weir_rpc_is_cancelled(call))
            continue;
        if (call->deadline_ms <= now_ms && wr_call_try_ref(call))
            return call;
        if (call->deadline_ms > now_ms && call->deadline_ms < *ret_next_ms)
            *ret_next_ms = call->deadline_ms;
    }
    return NULL;
}

static void
expire(weir_rpc_call *call)
{
    weir_error error;

    weir_error_set(&error, WEIR_TIMEOUT, "the deadline passed");
    wr_local_cancel(call, &error);
    atomic_store(&call->gone, true); /* also when it was decided: do not find it again */
    weir_rpc_call_unref(call);
}

static void
wait_for_deadline(weir_rpc_server *server, int64_t next_ms)
{
    const struct timespec until = { .tv_sec = next_ms / 1000,
        .tv_nsec = (next_ms % 1000) * 1000000 };

    if (next_ms == INT64_MAX)
        pthread_cond_wait(&server->changed, &server->lock);
    else
        pthread_cond_timedwait(&server->changed, &server->lock, &until);
}

static void *
watch_deadlines(void *argument)
{
    weir_rpc_server *server = argument;

    pthread_mutex_lock(&server->lock);
    while (!server->timer_ends) {
        int64_t next_ms;
        weir_rpc_call *late = find_late(server, weir_clock_mono_ms(), &next_ms);

        if (late == NULL) {
            wait_for_deadline(server, next_ms);
            continue;
        }
        pthread_mutex_unlock(&server->lock);
        expire(late);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void
note_deadline(weir_rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    if (!server->timer_started) {
        server->timer_started = true;
        weir_assert(pthread_create(&server->timer, NULL, watch_deadlines, server) == 0);
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

void
wr_local_stop_timer(weir_rpc_server *server)
{
    bool started;

    pthread_mutex_lock(&server->lock);
    started = server->timer_started;
    server->timer_started = false;
    server->timer_ends = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (started)
        pthread_join(server->timer, NULL);
}

/* ---- invoking ---- */

static void
copy_metadata(weir_rpc_call *call, const weir_rpc_invocation *invocation)
{
    grpc_metadata_array *headers = &call->request_headers;

    if (invocation->metadata_count == 0)
        return;
    headers->capacity = invocation->metadata_count;
    headers->metadata = gpr_malloc(headers->capacity * sizeof headers->metadata[0]);
    for (size_t i = 0; i < invocation->metadata_count; i++) {
        const weir_rpc_metadata *from = &invocation->metadata[i];

        headers->metadata[headers->count++] = (grpc_metadata){
            .key = grpc_slice_from_copied_string(from->key),
            .value =
                grpc_slice_from_copied_buffer((const char *)from->value.data, from->value.size),
        };
    }
}

/* The request's arena becomes the call's. */
static void
take_arena(weir_rpc_call *call, weir_arena **arena_p)
{
    weir_arena *given = *arena_p;

    *arena_p = NULL;
    if (call->row == NULL) { /* the path lives in the call's own: keep both */
        call->message_arena = given;
        return;
    }
    weir_arena_destroy(&call->arena);
    call->arena = given;
}

static void
fill(weir_rpc_call *call, const weir_rpc_invocation *invocation)
{
    if (invocation->arena_p != NULL)
        take_arena(call, invocation->arena_p);
    call->request = invocation->request;
    call->local_done = invocation->done;
    call->local_message = invocation->message;
    call->local_context = invocation->context;
    call->peer = weir_strdup(invocation->peer == NULL ? "local" : invocation->peer);
    copy_metadata(call, invocation);
    if (invocation->timeout_ms > 0)
        call->deadline_ms = weir_clock_mono_ms() + invocation->timeout_ms;
}

/* The server stops: answer without running anything. */
static void
refuse(weir_rpc_call *call)
{
    weir_error error;

    weir_error_set(&error, WEIR_DRAINING, "the server is stopping: try again later");
    wr_local_answer(call, &error, NULL);
    wr_call_discard(call);
}

void
weir_rpc_server_invoke(weir_rpc_server *server, const weir_rpc_invocation *invocation,
    weir_rpc_call **ret_call)
{
    char path[256];
    weir_rpc_call *call;

    snprintf(path, sizeof path, "/%s/%s", invocation->service, invocation->method);
    call = wr_call_create(server, wr_server_row(server, path), path);
    fill(call, invocation);
    if (ret_call != NULL)
        *ret_call = NULL;
    if (!wr_call_publish(call)) {
        refuse(call);
        return;
    }
    if (call->deadline_ms != INT64_MAX)
        note_deadline(server);
    if (ret_call != NULL) {
        weir_rpc_call_ref(call);
        *ret_call = call;
    }
    wr_call_begin(call);
}
