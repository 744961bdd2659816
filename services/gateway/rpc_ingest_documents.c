/*
 * rpc_ingest_documents.c - IngestDocuments: answers in the order of the requests, each with its own
 * status.
 *
 * Items go to the core in the order in which they came, and the core answers in that order, so two
 * items of one document never overtake each other.  Under pressure no item is refused: the stream
 * is read no further until the item that waits has been handed over.  What a client sent and got no
 * answer for may or may not be accepted; with a request_id it can send it again.
 *
 * The call is finished by whoever finds that nothing is under way and the stream is over:
 * finish_reason says so under the lock, once.
 */
#include <pthread.h>

#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "google/rpc/status.pb-c.h"
#include "services/gateway/ingest.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/streams.h"

typedef Weir__V1__IngestDocumentsRequest item_request;
typedef Weir__V1__IngestDocumentsResponse item_response;
typedef struct ingest_stream ingest_stream;

/* Why the stream is not read; bits. */
enum { HOLD_WINDOW = 1, HOLD_OUTPUT = 2, HOLD_PRESSURE = 4 };

typedef enum item_state { ITEM_WAITING = 1, ITEM_SUBMITTED, ITEM_DONE } item_state;

typedef struct stream_item stream_item;
struct stream_item {
    stream_item *next, *next_answered;
    ingest_stream *stream;
    weir_arena *arena; /* of the request and everything made for it */
    item_state state;
    const char *correlation_id;
    Weir__Internal__V1__AcceptCommand command;
    weir_error error;                               /* why it was refused */
    const Weir__V1__IngestDocumentResponse *answer; /* when it was accepted */
    bool is_kept;                                   /* the answer is the item's own */
};

struct ingest_stream {
    gateway_held held; /* first, so that one is the other */
    gateway *self;
    weir_rpc_call *call;
    weir_shell_later later; /* with `answered`, the core thread's: what this round has answered */
    stream_item *answered;
    pthread_mutex_t lock; /* all below */
    stream_item *head, *tail;
    stream_item *waiting; /* no item before it waits; NULL: none does */
    uint32_t submitted_count;
    unsigned holds;
    bool is_holding; /* `message` answered HOLD and nobody has resumed */
    bool is_half_closed, is_cancelled, is_draining, is_finished;
    bool has_dropped; /* items that came and were not handed over */
};

_Static_assert(offsetof(ingest_stream, held) == 0, "a held stream is the stream");

/* ---- answers ---- */

static void
fill_status(const stream_item *item, item_response *response, weir_arena *arena)
{
    weir_buffer packed = { 0 };
    ProtobufCMessage *status = NULL;
    weir_error error;

    weir_rpc_status_encode(&item->error, weir_rpc_request_id(item->stream->call), &packed);
    const weir_code code = weir_wire_decode(&google__rpc__status__descriptor,
        weir_buffer_view(&packed), NULL, arena, &status, &error);
    weir_assert(code == WEIR_OK); /* our own bytes */
    weir_buffer_fini(&packed);
    response->result_case = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_STATUS;
    response->status = (Google__Rpc__Status *)status;
}

static void
send_item(ingest_stream *stream, const stream_item *item)
{
    item_response response = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__INIT;

    response.correlation_id = (char *)(uintptr_t)item->correlation_id;
    if (item->error.code != WEIR_OK) {
        fill_status(item, &response, item->arena);
    } else {
        response.result_case = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_DOCUMENT;
        response.document = item->answer->document;
        response.outcome = item->answer->outcome;
        response.collection_created = item->answer->collection_created;
    }
    if (weir_rpc_send(stream->call, &response.base) == WEIR_RPC_FULL)
        stream->holds |= HOLD_OUTPUT;
}

static void
item_destroy(stream_item *item)
{
    weir_arena_destroy(&item->arena);
    weir_free(item);
}

static void
drop_head(ingest_stream *stream)
{
    stream_item *item = stream->head;

    stream->head = item->next;
    if (stream->head == NULL)
        stream->tail = NULL;
    item_destroy(item);
}

static void
send_done(ingest_stream *stream)
{
    if (stream->head == NULL || stream->head->state != ITEM_DONE)
        return;
    weir_rpc_send_hold(stream->call);
    while (stream->head != NULL && stream->head->state == ITEM_DONE) {
        send_item(stream, stream->head);
        drop_head(stream);
    }
    weir_rpc_send_release(stream->call);
}

/* Items that the core has not seen are given up: nobody was told that they were taken. */
static void
drop_waiting(ingest_stream *stream)
{
    stream_item *last = NULL;

    for (stream_item **at = &stream->head; *at != NULL;) {
        stream_item *item = *at;

        if (item->state != ITEM_WAITING) {
            last = item;
            at = &item->next;
            continue;
        }
        *at = item->next;
        item_destroy(item);
        stream->has_dropped = true;
    }
    stream->tail = last;
    stream->waiting = NULL;
}

/* ---- what is to be done after the lock is given back ---- */

typedef struct aftermath {
    weir_rpc_call *call; /* a reference */
    bool resume, finish, drain;
} aftermath;

static aftermath
settle(ingest_stream *stream)
{
    aftermath after = { .call = stream->call };
    const bool is_over = stream->is_half_closed || stream->is_cancelled || stream->is_draining;

    if (stream->is_cancelled || stream->is_draining)
        drop_waiting(stream);
    after.finish = is_over && stream->head == NULL && !stream->is_finished;
    after.drain = stream->is_draining && (!stream->is_half_closed || stream->has_dropped);
    stream->is_finished = stream->is_finished || after.finish;
    after.resume =
        stream->is_holding && stream->holds == 0 && !stream->is_finished && !stream->is_draining;
    if (after.resume)
        stream->is_holding = false;
    weir_rpc_call_ref(after.call);
    return after;
}

/* The stream may be gone once this is called. */
static void
act(const aftermath *after)
{
    if (after->resume)
        weir_rpc_resume(after->call);
    if (after->finish && after->drain)
        weir_rpc_fail_with(after->call, WEIR_DRAINING,
            "the service is about to stop; open the stream again and send what was not answered");
    else if (after->finish)
        weir_rpc_finish(after->call);
    weir_rpc_call_unref(after->call);
}

/* ---- to the core and back ---- */

/* Answers live for one round; one that must wait for its turn is copied. */
static void
keep_answer(stream_item *item)
{
    weir_buffer packed = { 0 };
    ProtobufCMessage *copy = NULL;
    weir_error error;

    weir_wire_encode(&item->answer->base, &packed);
    const weir_code code = weir_wire_decode(item->answer->base.descriptor,
        weir_buffer_view(&packed), NULL, item->arena, &copy, &error);
    weir_assert(code == WEIR_OK); /* our own bytes */
    weir_buffer_fini(&packed);
    item->answer = (const Weir__V1__IngestDocumentResponse *)(const void *)copy;
    item->is_kept = true;
}

static void
keep_answers(ingest_stream *stream)
{
    for (stream_item *item = stream->head; item != NULL; item = item->next)
        if (item->state == ITEM_DONE && item->answer != NULL && !item->is_kept)
            keep_answer(item);
}

static void
count_submitted(ingest_stream *stream, int by)
{
    stream->submitted_count += (uint32_t)by;
    __atomic_add_fetch(&stream->self->streamed_items, (uint64_t)(int64_t)by, __ATOMIC_RELAXED);
}

static void
mark_answered(ingest_stream *stream)
{
    for (stream_item *item = stream->answered; item != NULL; item = item->next_answered) {
        item->state = ITEM_DONE;
        count_submitted(stream, -1);
    }
    stream->answered = NULL;
}

/* Once a round, not once an item: whoever takes the lock takes it from the pollers. */
static void
round_answered(weir_shell_later *later)
{
    ingest_stream *stream =
        (ingest_stream *)(void *)((char *)later - offsetof(ingest_stream, later));

    pthread_mutex_lock(&stream->lock);
    mark_answered(stream);
    send_done(stream);
    keep_answers(stream);
    if (stream->submitted_count <= stream->self->config->gateway.stream_window / 2)
        stream->holds &= ~(unsigned)HOLD_WINDOW;
    const aftermath after = settle(stream);
    pthread_mutex_unlock(&stream->lock);
    act(&after);
}

static void
item_answered(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    stream_item *item = context;
    ingest_stream *stream = item->stream;

    if (error != NULL)
        item->error = *error;
    else
        item->answer = (const Weir__V1__IngestDocumentResponse *)(const void *)response;
    if (stream->answered == NULL)
        weir_shell_run_later(stream->self->service->shell, &stream->later);
    item->next_answered = stream->answered;
    stream->answered = item;
}

/* Under the lock.  False: not now. */
static bool
try_submit(ingest_stream *stream, stream_item *item)
{
    gateway *self = stream->self;
    weir_error error = { .code = WEIR_OK };

    if (gateway_admission_now(self, &error) != GATEWAY_ACCEPTING)
        return false;
    item->state = ITEM_SUBMITTED;
    count_submitted(stream, 1);
    const weir_code code = weir_shell_submit_sized(self->service->shell, GATEWAY_ACCEPT,
        gateway_tenant(stream->call), weir_rpc_request_id(stream->call), &item->command.base,
        weir_arena_used(item->arena), item_answered, item, &error);
    if (code == WEIR_OK)
        return true;
    count_submitted(stream, -1);
    item->state = ITEM_WAITING;
    return false;
}

/* Hand over what waits, in order; HOLD_PRESSURE says whether something still does. */
static void
submit_waiting(ingest_stream *stream)
{
    stream->holds &= ~(unsigned)HOLD_PRESSURE;
    for (; stream->waiting != NULL; stream->waiting = stream->waiting->next) {
        if (stream->waiting->state == ITEM_WAITING && !try_submit(stream, stream->waiting)) {
            stream->holds |= HOLD_PRESSURE;
            return;
        }
    }
}

static bool
try_again(gateway_held *held)
{
    ingest_stream *stream = (ingest_stream *)held;

    pthread_mutex_lock(&stream->lock);
    submit_waiting(stream);
    send_done(stream);
    const bool is_released = (stream->holds & HOLD_PRESSURE) == 0;
    const bool resume =
        is_released && stream->is_holding && stream->holds == 0 && !stream->is_finished;
    if (resume)
        stream->is_holding = false;
    pthread_mutex_unlock(&stream->lock);
    if (resume) /* the call lives until `done`, which waits for this */
        weir_rpc_resume(stream->call);
    return is_released;
}

/* ---- the callbacks ---- */

void
gateway_ingest_documents_open(weir_rpc_call *call, void *context)
{
    ingest_stream *stream = weir_alloc_zero(1, sizeof *stream);

    stream->held.try = try_again;
    stream->later.run = round_answered;
    stream->self = context;
    stream->call = call;
    pthread_mutex_init(&stream->lock, NULL);
    weir_rpc_call_set_state(call, stream);
}

static stream_item *
make_item(ingest_stream *stream, const item_request *message)
{
    stream_item *item = weir_alloc_zero(1, sizeof *item);

    item->stream = stream;
    item->correlation_id = message->correlation_id;
    item->arena = weir_rpc_take_message(stream->call);
    item->state = ITEM_WAITING;
    if (message->request == NULL)
        (void)weir_error_set_field(&item->error, WEIR_INVALID_ARGUMENT, "request",
            "request is required");
    else if (strlen(message->correlation_id) > 128)
        (void)weir_error_set_field(&item->error, WEIR_INVALID_ARGUMENT, "correlation_id",
            "correlation_id must be at most 128 bytes");
    else if (gateway_ingest_command(item->arena, message->request, &item->command, &item->error) ==
        WEIR_OK)
        item->command.held = true;
    if (item->error.code != WEIR_OK)
        item->state = ITEM_DONE;
    return item;
}

static void
append(ingest_stream *stream, stream_item *item)
{
    if (stream->tail != NULL)
        stream->tail->next = item;
    else
        stream->head = item;
    stream->tail = item;
    if (stream->waiting == NULL)
        stream->waiting = item;
}

weir_rpc_flow
gateway_ingest_documents_message(weir_rpc_call *call, const ProtobufCMessage *message,
    void *context)
{
    ingest_stream *stream = weir_rpc_call_state(call);
    gateway *self = context;
    stream_item *item = make_item(stream, (const item_request *)(const void *)message);

    pthread_mutex_lock(&stream->lock);
    if (stream->is_cancelled || stream->is_draining) {
        stream->has_dropped = true;
        pthread_mutex_unlock(&stream->lock);
        item_destroy(item);
        return WEIR_RPC_HOLD;
    }
    append(stream, item);
    submit_waiting(stream);
    send_done(stream);
    if (stream->submitted_count >= self->config->gateway.stream_window)
        stream->holds |= HOLD_WINDOW;
    const bool is_pressed = (stream->holds & HOLD_PRESSURE) != 0;
    stream->is_holding = stream->holds != 0;
    const weir_rpc_flow flow = stream->is_holding ? WEIR_RPC_HOLD : WEIR_RPC_MORE;
    pthread_mutex_unlock(&stream->lock);
    if (is_pressed)
        gateway_streams_add(self->streams, &stream->held);
    return flow;
}

static void
settle_and_act(ingest_stream *stream)
{
    const aftermath after = settle(stream);

    pthread_mutex_unlock(&stream->lock);
    act(&after);
}

void
gateway_ingest_documents_half_closed(weir_rpc_call *call, void *context)
{
    ingest_stream *stream = weir_rpc_call_state(call);

    (void)context;
    pthread_mutex_lock(&stream->lock);
    stream->is_half_closed = true;
    settle_and_act(stream);
}

void
gateway_ingest_documents_writable(weir_rpc_call *call, void *context)
{
    ingest_stream *stream = weir_rpc_call_state(call);

    (void)context;
    pthread_mutex_lock(&stream->lock);
    stream->holds &= ~(unsigned)HOLD_OUTPUT;
    settle_and_act(stream);
}

void
gateway_ingest_documents_cancelled(weir_rpc_call *call, void *context)
{
    ingest_stream *stream = weir_rpc_call_state(call);

    (void)context;
    pthread_mutex_lock(&stream->lock);
    stream->is_cancelled = true;
    settle_and_act(stream);
}

void
gateway_ingest_documents_draining(weir_rpc_call *call, void *context)
{
    ingest_stream *stream = weir_rpc_call_state(call);

    (void)context;
    pthread_mutex_lock(&stream->lock);
    stream->is_draining = true;
    settle_and_act(stream);
}

void
gateway_ingest_documents_done(weir_rpc_call *call, void *context)
{
    gateway *self = context;
    ingest_stream *stream = weir_rpc_call_state(call);

    gateway_streams_remove(self->streams, &stream->held);
    weir_assert(stream->submitted_count == 0);
    while (stream->head != NULL)
        drop_head(stream);
    pthread_mutex_destroy(&stream->lock);
    weir_free(stream);
    weir_rpc_call_set_state(call, NULL);
}
