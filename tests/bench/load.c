/*
 * load.c - weir-load: the client side of the benchmarks, one JSON line a run.
 *
 *   weir-load stream       ADDRESS COLLECTION SECONDS STREAMS BYTES
 *       durable accepts over IngestDocuments
 *   weir-load unary        ADDRESS COLLECTION SECONDS CALLS BYTES
 *       durable accepts, CALLS unary calls in flight
 *   weir-load paced        ADDRESS COLLECTION SECONDS STREAMS BYTES RATE
 *       RATE items a second in all over streams; latencies from the time each was due
 *   weir-load latency      ADDRESS COLLECTION COUNT BYTES
 *       one accept after the other
 *   weir-load idle-latency ADDRESS COLLECTION COUNT BYTES
 *       the same, each after the one before it is READY
 *   weir-load searchable   ADDRESS COLLECTION COUNT
 *       accept with wait until READY, one after the other
 *   weir-load documents    ADDRESS COLLECTION COUNT WORDS
 *       COUNT documents of WORDS words over one stream, then wait for all
 *   weir-load accept       ADDRESS COLLECTION COUNT WORDS
 *       the same without the wait
 *   weir-load echo         ADDRESS SECONDS CALLS
 *       that number of calls of Health/Check in flight: the bare RPC layer
 *   weir-load echo-latency ADDRESS COUNT
 *       one call of Health/Check after the other
 *
 * All runs are bounded by their count or time; every call has a deadline.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/rpc/client.h"
#include "outcome.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/document.pb-c.h"

enum {
    CALL_TIMEOUT_MS = 60000,
    STREAM_WINDOW = 256,
    SENT_TOGETHER = 32,
    LATENCIES_MAX = 100000,
    READY_SECONDS = 30,
    PACED_OPEN_MAX = 8192,
    PACE_US = 250, /* a paced sender looks at what is due so often: to wake for each costs as much
                      as the send */
    WARM_UP_US = 1000000
};

typedef struct load {
    weir_rpc_runtime *runtime;
    weir_rpc_channel *channel;
    weir_rpc_stub *documents, *collections, *health;
    weir_rpc_stub *outcomes; /* IngestDocuments alone, whose answers are counted and not read */
    const char *collection;
    char *body;
    int64_t until_ms;
    pthread_mutex_t lock;
    pthread_cond_t done;
    uint64_t sent, accepted, refused;
    uint32_t in_flight;
    uint64_t run; /* makes document ids unique */
} load;

static void
die(const char *what, const weir_error *error)
{
    fprintf(stderr, "weir-load: %s: %s %s\n", what, weir_code_name(error->code), error->message);
    exit(1);
}

/* What answers hold is not what is measured, and the client's processor is the service's. */
static weir_rpc_stub *
open_outcomes(weir_rpc_channel *channel)
{
    static ProtobufCServiceDescriptor service;
    static ProtobufCMethodDescriptor method;
    static const unsigned only = 0;

    service = weir__v1__document_service__descriptor;
    method = *protobuf_c_service_descriptor_get_method_by_name(&service, "IngestDocuments");
    method.output = &weir__bench__outcome__descriptor;
    service.n_methods = 1;
    service.methods = &method;
    service.method_indices_by_name = &only;
    return weir_rpc_stub_open(channel, &service);
}

/* One poller: of several, only one waits at the connection, and hands over what belongs to the
 * others by waking them: a quarter of what a call costs the client. */
static void
open_load(load *self, const char *address, const char *collection)
{
    weir_error error;

    self->runtime = weir_rpc_runtime_create(1);
    if (weir_rpc_channel_open(self->runtime, address, NULL, &self->channel, &error) != WEIR_OK)
        die(address, &error);
    self->documents = weir_rpc_stub_open(self->channel, &weir__v1__document_service__descriptor);
    self->outcomes = open_outcomes(self->channel);
    self->collections =
        weir_rpc_stub_open(self->channel, &weir__v1__collection_service__descriptor);
    self->health = weir_rpc_stub_open(self->channel, &grpc__health__v1__health__descriptor);
    self->collection = collection;
    self->run = weir_random_u64() % 1000000;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->done, NULL);
}

static void
close_load(load *self)
{
    weir_rpc_stub_close(&self->documents);
    weir_rpc_stub_close(&self->outcomes);
    weir_rpc_stub_close(&self->collections);
    weir_rpc_stub_close(&self->health);
    weir_rpc_channel_close(&self->channel);
    weir_rpc_runtime_destroy(&self->runtime);
    free(self->body);
}

/* ---- bodies ---- */

static char *
words_body(size_t words, uint64_t seed)
{
    static const char *const some[] = { "river", "stone", "wheel", "gate", "mill", "reed", "water",
        "field", "bridge", "lock", "weir", "barge", "flood", "bank", "fish", "rain" };
    weir_rng rng = { .state = seed };
    char *body = malloc(words * 14 + 1);
    size_t size = 0;

    for (size_t i = 0; i < words; i++)
        size += (size_t)sprintf(body + size, "%s%u ", some[weir_rng_below(&rng, 16)],
            (unsigned)weir_rng_below(&rng, 900));
    body[size > 0 ? size - 1 : 0] = 0;
    return body;
}

static char *
bytes_body(size_t bytes)
{
    char *body = words_body(bytes / 5 + 8, 7);

    body[bytes] = 0;
    return body;
}

static void
fill_ingest(const load *self, Weir__V1__IngestDocumentRequest *request, char id[48],
    uint64_t number)
{
    weir__v1__ingest_document_request__init(request);
    snprintf(id, 48, "%06llu-%llu", (unsigned long long)self->run, (unsigned long long)number);
    request->collection_id = (char *)(uintptr_t)self->collection;
    request->document_id = id;
    request->media_type = (char *)(uintptr_t)"text/plain";
    request->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request->text = self->body;
}

/* ---- streams ---- */

/* Driven by events alone: a thread for each direction would cost the machine more than the service
 * that is measured. */
typedef struct stream_run {
    load *self;
    weir_rpc_client_call *call;
    pthread_mutex_t lock;
    uint32_t open_items;
    bool is_full, is_sending, is_closed;
    uint64_t accepted, refused;
    bool failed;
} stream_run;

static weir_rpc_sent
send_item(stream_run *run)
{
    Weir__V1__IngestDocumentsRequest item = WEIR__V1__INGEST_DOCUMENTS_REQUEST__INIT;
    Weir__V1__IngestDocumentRequest request;
    char id[48];

    fill_ingest(run->self, &request, id, __atomic_fetch_add(&run->self->sent, 1, __ATOMIC_RELAXED));
    item.request = &request;
    return weir_rpc_client_send(run->call, &item.base);
}

static bool
has_room(const stream_run *run)
{
    return run->open_items < STREAM_WINDOW && !run->is_full && !run->is_closed;
}

/* Under the lock, which is given back around each send; one thread sends at a time. */
static void
fill_window(stream_run *run)
{
    if (run->is_sending)
        return;
    run->is_sending = true;
    while (has_room(run)) {
        const bool is_over = weir_clock_mono_ms() >= run->self->until_ms;

        run->is_closed = is_over;
        run->open_items += !is_over;
        run->is_full = true; /* said before the send: room may be reported before it returns */
        pthread_mutex_unlock(&run->lock);
        const weir_rpc_sent sent = is_over ? WEIR_RPC_SENT : send_item(run);
        if (is_over)
            weir_rpc_client_half_close(run->call);
        pthread_mutex_lock(&run->lock);
        if (sent == WEIR_RPC_SENT)
            run->is_full = false;
    }
    run->is_sending = false;
}

static weir_rpc_flow
item_answered(void *context, const ProtobufCMessage *message)
{
    const Weir__Bench__Outcome *answer = (const Weir__Bench__Outcome *)message;
    stream_run *run = context;

    pthread_mutex_lock(&run->lock);
    run->open_items--;
    run->accepted += answer->result_case == WEIR__BENCH__OUTCOME__RESULT_DOCUMENT;
    run->refused += answer->result_case == WEIR__BENCH__OUTCOME__RESULT_STATUS;
    if (run->open_items <= STREAM_WINDOW - SENT_TOGETHER)
        fill_window(run);
    pthread_mutex_unlock(&run->lock);
    return WEIR_RPC_MORE;
}

static void
stream_writable(void *context)
{
    stream_run *run = context;

    pthread_mutex_lock(&run->lock);
    run->is_full = false;
    fill_window(run);
    pthread_mutex_unlock(&run->lock);
}

static void
stream_done(void *context, const weir_error *error)
{
    stream_run *run = context;
    load *self = run->self;

    run->failed = error->code != WEIR_OK;
    if (run->failed)
        fprintf(stderr, "weir-load: stream: %s %s\n", weir_code_name(error->code), error->message);
    pthread_mutex_lock(&self->lock);
    self->in_flight--;
    pthread_cond_signal(&self->done);
    pthread_mutex_unlock(&self->lock);
}

static void
start_stream(load *self, stream_run *run)
{
    static const weir_rpc_client_events events = { .message = item_answered,
        .writable = stream_writable,
        .done = stream_done };
    const weir_rpc_call_options options = {
        .timeout_ms = (uint32_t)(self->until_ms - weir_clock_mono_ms()) + CALL_TIMEOUT_MS,
    };

    run->self = self;
    pthread_mutex_init(&run->lock, NULL);
    run->call = weir_rpc_client_open(self->outcomes, "IngestDocuments", &options, &events, run);
    pthread_mutex_lock(&run->lock);
    fill_window(run);
    pthread_mutex_unlock(&run->lock);
}

static void
print_rate(const char *name, uint64_t accepted, uint64_t refused, int64_t took_us)
{
    printf("{\"run\": \"%s\", \"accepted\": %llu, \"refused\": %llu, \"seconds\": %.3f, "
           "\"per_second\": %.1f}\n",
        name, (unsigned long long)accepted, (unsigned long long)refused, (double)took_us / 1e6,
        (double)accepted * 1e6 / (double)took_us);
}

static int
run_streams(load *self, int seconds, int streams, size_t bytes)
{
    stream_run *runs = calloc((size_t)streams, sizeof *runs);
    const int64_t begun_us = weir_clock_mono_us();
    uint64_t accepted = 0;
    uint64_t refused = 0;
    bool failed = false;

    self->body = bytes_body(bytes);
    self->until_ms = weir_clock_mono_ms() + seconds * 1000;
    self->in_flight = (uint32_t)streams;
    for (int i = 0; i < streams; i++)
        start_stream(self, &runs[i]);
    pthread_mutex_lock(&self->lock);
    while (self->in_flight > 0)
        pthread_cond_wait(&self->done, &self->lock);
    pthread_mutex_unlock(&self->lock);
    for (int i = 0; i < streams; i++) {
        weir_rpc_client_unref(runs[i].call);
        accepted += runs[i].accepted;
        refused += runs[i].refused;
        failed = failed || runs[i].failed;
    }
    print_rate("stream", accepted, refused, weir_clock_mono_us() - begun_us);
    free(runs);
    return failed;
}

/* ---- unary calls in flight, and the echo beside them ---- */

static void start_call(load *self);
static void start_echo(load *self);

static void
count_answer(load *self, const weir_error *error, void (*again)(load *))
{
    pthread_mutex_lock(&self->lock);
    self->in_flight--;
    self->accepted += error->code == WEIR_OK;
    self->refused += error->code != WEIR_OK;
    const bool is_over = weir_clock_mono_ms() >= self->until_ms;
    if (!is_over)
        self->in_flight++;
    pthread_cond_signal(&self->done);
    pthread_mutex_unlock(&self->lock);
    if (!is_over)
        again(self);
}

static void
on_ingested(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    (void)response;
    count_answer(context, error, start_call);
}

static void
on_echoed(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    (void)response;
    count_answer(context, error, start_echo);
}

static void
start_call(load *self)
{
    const weir_rpc_call_options options = { .timeout_ms = CALL_TIMEOUT_MS };
    Weir__V1__IngestDocumentRequest request;
    char id[48];

    fill_ingest(self, &request, id, __atomic_fetch_add(&self->sent, 1, __ATOMIC_RELAXED));
    weir_rpc_client_unref(weir_rpc_unary_start(self->documents, "IngestDocument", &request.base,
        &options, on_ingested, self));
}

static void
start_echo(load *self)
{
    const weir_rpc_call_options options = { .timeout_ms = CALL_TIMEOUT_MS };
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    weir_rpc_client_unref(weir_rpc_unary_start(self->health, "Check", &request.base, &options,
        on_echoed, self));
}

static int
run_calls(load *self, const char *name, int seconds, int calls, void (*start)(load *))
{
    const int64_t begun_us = weir_clock_mono_us();

    self->until_ms = weir_clock_mono_ms() + seconds * 1000;
    self->in_flight = (uint32_t)calls;
    for (int i = 0; i < calls; i++)
        start(self);
    pthread_mutex_lock(&self->lock);
    while (self->in_flight > 0)
        pthread_cond_wait(&self->done, &self->lock);
    pthread_mutex_unlock(&self->lock);
    print_rate(name, self->accepted, self->refused, weir_clock_mono_us() - begun_us);
    return 0;
}

/* ---- one after the other ---- */

static int
compare_times(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void
print_latencies(const char *name, int64_t *took_us, size_t count)
{
    qsort(took_us, count, sizeof took_us[0], compare_times);
    printf(
        "{\"run\": \"%s\", \"count\": %zu, \"p50_us\": %lld, \"p90_us\": %lld, \"p99_us\": %lld}\n",
        name, count, (long long)took_us[count / 2], (long long)took_us[count * 9 / 10],
        (long long)took_us[count * 99 / 100]);
}

/* A call whose answer is timed where it arrives: handing it to the thread that waits for it is work
 * of the client. */
typedef struct timed_call {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int64_t ended_us; /* 0: not yet */
    bool is_ready;
    weir_error error;
} timed_call;

static void
timed_answer(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    timed_call *timed = context;
    const int64_t now_us = weir_clock_mono_us();

    pthread_mutex_lock(&timed->lock);
    timed->error = *error;
    if (error->code == WEIR_OK &&
        response->descriptor == &weir__v1__ingest_document_response__descriptor)
        timed->is_ready = ((const Weir__V1__IngestDocumentResponse *)response)->document->state ==
            WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY;
    timed->ended_us = now_us;
    pthread_cond_signal(&timed->done);
    pthread_mutex_unlock(&timed->lock);
}

/* Microseconds; ends the program on a failure. */
static int64_t
time_call(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    bool *ret_is_ready)
{
    const weir_rpc_call_options options = { .timeout_ms = CALL_TIMEOUT_MS };
    timed_call timed = { .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };
    const int64_t begun_us = weir_clock_mono_us();

    weir_rpc_client_unref(weir_rpc_unary_start(stub, method, request, &options, timed_answer,
        &timed));
    pthread_mutex_lock(&timed.lock);
    while (timed.ended_us == 0)
        pthread_cond_wait(&timed.done, &timed.lock);
    pthread_mutex_unlock(&timed.lock);
    if (timed.error.code != WEIR_OK)
        die(method, &timed.error);
    *ret_is_ready = timed.is_ready;
    return timed.ended_us - begun_us;
}

static void
wait_until_ready(load *self, char *document_id, weir_arena *arena)
{
    const weir_rpc_call_options options = { .timeout_ms = CALL_TIMEOUT_MS };
    Weir__V1__WaitDocumentRequest request = WEIR__V1__WAIT_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    weir_error error;

    request.collection_id = (char *)(uintptr_t)self->collection;
    request.document_id = document_id;
    if (weir_rpc_unary(self->documents, "WaitDocument", &request.base, &options, arena, &response,
            &error) != WEIR_OK)
        die("WaitDocument", &error);
    weir_arena_reset(arena);
}

typedef enum latency_kind {
    LATENCY_ACCEPT,     /* the pipeline works on the last one meanwhile */
    LATENCY_IDLE,       /* each after the last one is READY */
    LATENCY_SEARCHABLE, /* from the request until READY */
    LATENCY_ECHO        /* the floor: a call that does nothing */
} latency_kind;

static int64_t
time_accept(load *self, latency_kind kind, uint64_t number, weir_arena *arena)
{
    Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
    Weir__V1__IngestDocumentRequest request;
    bool is_ready = false;
    char id[48];

    fill_ingest(self, &request, id, number);
    wait.seconds = READY_SECONDS;
    if (kind == LATENCY_SEARCHABLE)
        request.wait = &wait;
    const int64_t took_us = time_call(self->documents, "IngestDocument", &request.base, &is_ready);
    if (kind == LATENCY_SEARCHABLE && !is_ready) {
        fprintf(stderr, "weir-load: %s is not READY\n", id);
        exit(1);
    }
    if (kind == LATENCY_IDLE)
        wait_until_ready(self, id, arena);
    return took_us;
}

static int64_t
time_echo(load *self)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    bool ignored;

    return time_call(self->health, "Check", &request.base, &ignored);
}

static int
run_latency(load *self, const char *name, latency_kind kind, size_t count)
{
    static int64_t took_us[LATENCIES_MAX];
    weir_arena *arena = weir_arena_create(0);

    count = count < LATENCIES_MAX ? count : LATENCIES_MAX;
    for (size_t i = 0; i < count; i++)
        took_us[i] = kind == LATENCY_ECHO ? time_echo(self) : time_accept(self, kind, i, arena);
    weir_arena_destroy(&arena);
    print_latencies(name, took_us, count);
    return 0;
}

/* ---- streams at a fixed rate ---- */

/* The clock says when an item is due, whatever became of those before it, and its latency counts
 * from then on: a service that falls behind is not asked less. */
typedef struct paced_stream {
    load *self;
    weir_rpc_client_call *call;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_full, failed;
    int64_t due_us[PACED_OPEN_MAX]; /* of the items without an answer, which come in order */
    uint64_t sent, answered, refused;
    int64_t counts_from_us;
    int64_t *took_us;
    size_t took_count, took_room;
} paced_stream;

static weir_rpc_flow
paced_answered(void *context, const ProtobufCMessage *message)
{
    const Weir__Bench__Outcome *answer = (const Weir__Bench__Outcome *)message;
    paced_stream *stream = context;
    const int64_t now_us = weir_clock_mono_us();

    pthread_mutex_lock(&stream->lock);
    const int64_t due_us = stream->due_us[stream->answered++ % PACED_OPEN_MAX];
    stream->refused += answer->result_case == WEIR__BENCH__OUTCOME__RESULT_STATUS;
    if (due_us >= stream->counts_from_us && stream->took_count < stream->took_room)
        stream->took_us[stream->took_count++] = now_us - due_us;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return WEIR_RPC_MORE;
}

static void
paced_writable(void *context)
{
    paced_stream *stream = context;

    pthread_mutex_lock(&stream->lock);
    stream->is_full = false;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

static void
paced_done(void *context, const weir_error *error)
{
    paced_stream *stream = context;

    if (error->code != WEIR_OK)
        fprintf(stderr, "weir-load: stream: %s %s\n", weir_code_name(error->code), error->message);
    pthread_mutex_lock(&stream->lock);
    stream->failed = error->code != WEIR_OK;
    stream->is_full = false;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    pthread_mutex_lock(&stream->self->lock);
    stream->self->in_flight--;
    pthread_cond_signal(&stream->self->done);
    pthread_mutex_unlock(&stream->self->lock);
}

static void
open_paced(load *self, paced_stream *stream, int seconds, size_t room, int64_t counts_from_us)
{
    static const weir_rpc_client_events events = { .message = paced_answered,
        .writable = paced_writable,
        .done = paced_done };
    const weir_rpc_call_options options = {
        .timeout_ms = (uint32_t)seconds * 1000 + CALL_TIMEOUT_MS,
    };

    stream->self = self;
    stream->counts_from_us = counts_from_us;
    stream->took_room = room;
    stream->took_us = calloc(room, sizeof stream->took_us[0]);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    stream->call =
        weir_rpc_client_open(self->outcomes, "IngestDocuments", &options, &events, stream);
}

/* False: the stream has ended. */
static bool
send_paced(paced_stream *stream, int64_t due_us)
{
    Weir__V1__IngestDocumentsRequest item = WEIR__V1__INGEST_DOCUMENTS_REQUEST__INIT;
    Weir__V1__IngestDocumentRequest request;
    char id[48];

    pthread_mutex_lock(&stream->lock);
    while (!stream->failed &&
        (stream->is_full || stream->sent - stream->answered == PACED_OPEN_MAX))
        pthread_cond_wait(&stream->changed, &stream->lock);
    const bool is_open = !stream->failed;
    stream->due_us[stream->sent++ % PACED_OPEN_MAX] = due_us;
    stream->is_full = true; /* said before the send: room may be reported before it returns */
    pthread_mutex_unlock(&stream->lock);
    if (!is_open)
        return false;
    fill_ingest(stream->self, &request, id, stream->self->sent++);
    item.request = &request;
    if (weir_rpc_client_send(stream->call, &item.base) == WEIR_RPC_SENT)
        paced_writable(stream);
    return true;
}

static void
sleep_until(int64_t at_us)
{
    const struct timespec at = { .tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000 };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
        continue;
}

/* Prints what all streams have measured; true: all was accepted. */
static bool
end_paced(load *self, paced_stream *streams, int count, int64_t begun_us)
{
    uint64_t answered = 0;
    uint64_t refused = 0;
    size_t taken = 0;
    bool failed = false;

    for (int i = 0; i < count; i++)
        weir_rpc_client_half_close(streams[i].call);
    pthread_mutex_lock(&self->lock);
    while (self->in_flight > 0)
        pthread_cond_wait(&self->done, &self->lock);
    pthread_mutex_unlock(&self->lock);
    const int64_t took_us = weir_clock_mono_us() - begun_us;
    int64_t *all_us = calloc(self->sent + 1, sizeof all_us[0]);
    for (int i = 0; i < count; i++) {
        weir_rpc_client_unref(streams[i].call);
        answered += streams[i].answered;
        refused += streams[i].refused;
        failed = failed || streams[i].failed;
        memcpy(all_us + taken, streams[i].took_us, streams[i].took_count * sizeof all_us[0]);
        taken += streams[i].took_count;
        free(streams[i].took_us);
    }
    print_rate("paced", answered - refused, refused, took_us);
    if (taken > 0)
        print_latencies("paced-latency", all_us, taken);
    free(all_us);
    return !failed && refused == 0 && taken > 0;
}

static int
run_paced(load *self, int seconds, int count, size_t bytes, int64_t rate)
{
    const uint64_t items = (uint64_t)(rate * seconds);
    paced_stream *streams = calloc((size_t)count, sizeof *streams);
    bool is_open = true;

    self->body = bytes_body(bytes);
    self->in_flight = (uint32_t)count;
    const int64_t begun_us = weir_clock_mono_us();
    for (int i = 0; i < count; i++)
        open_paced(self, &streams[i], seconds, items / (uint64_t)count + 1, begun_us + WARM_UP_US);
    for (uint64_t i = 0; i < items && is_open; i++) {
        const int64_t due_us = begun_us + (int64_t)(i * 1000000 / (uint64_t)rate);

        if (weir_clock_mono_us() < due_us)
            sleep_until(due_us + PACE_US);
        is_open = send_paced(&streams[i % (uint64_t)count], due_us);
    }
    const bool is_good = end_paced(self, streams, count, begun_us);
    free(streams);
    return !is_good;
}

/* ---- a batch of documents to the end ---- */

static bool
collection_is_settled(load *self, weir_arena *arena)
{
    const weir_rpc_call_options options = { .timeout_ms = CALL_TIMEOUT_MS };
    Weir__V1__WaitCollectionRequest request = WEIR__V1__WAIT_COLLECTION_REQUEST__INIT;
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    ProtobufCMessage *response = NULL;
    weir_error error;

    request.collection_id = (char *)(uintptr_t)self->collection;
    timeout.seconds = 20;
    request.timeout = &timeout;
    if (weir_rpc_unary(self->collections, "WaitCollection", &request.base, &options, arena,
            &response, &error) != WEIR_OK)
        die("WaitCollection", &error);
    const Weir__V1__WaitCollectionResponse *answer =
        (const Weir__V1__WaitCollectionResponse *)response;
    if (answer->settled)
        printf("{\"run\": \"settled\", \"ready\": %lld, \"failed\": %lld, \"superseded\": %lld}\n",
            (long long)answer->ready, (long long)answer->failed, (long long)answer->superseded);
    return answer->settled;
}

typedef struct document_run {
    weir_rpc_stream *stream;
    pthread_t receiver;
    uint64_t accepted, refused;
    bool failed;
} document_run;

static void *
receive_items(void *arg)
{
    document_run *run = arg;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_error error = { .code = WEIR_OK };

    while (weir_rpc_stream_recv(run->stream, 0, arena, &message, &error) == WEIR_OK &&
        message != NULL) {
        const Weir__V1__IngestDocumentsResponse *answer =
            (const Weir__V1__IngestDocumentsResponse *)message;

        run->accepted +=
            answer->result_case == WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_DOCUMENT;
        run->refused += answer->result_case == WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_STATUS;
        weir_arena_reset(arena);
    }
    run->failed = error.code != WEIR_OK;
    if (run->failed)
        fprintf(stderr, "weir-load: stream: %s %s\n", weir_code_name(error.code), error.message);
    weir_arena_destroy(&arena);
    return NULL;
}

static int
run_documents(load *self, size_t count, size_t words, bool waits)
{
    weir_arena *arena = weir_arena_create(0);
    document_run run = { 0 };
    const weir_rpc_call_options options = { .timeout_ms = 10 * CALL_TIMEOUT_MS };
    const int64_t begun_us = weir_clock_mono_us();
    weir_error error = { .code = WEIR_OK };

    run.stream = weir_rpc_stream_open(self->documents, "IngestDocuments", &options);
    pthread_create(&run.receiver, NULL, receive_items, &run);
    for (size_t i = 0; i < count && error.code == WEIR_OK; i++) {
        Weir__V1__IngestDocumentsRequest item = WEIR__V1__INGEST_DOCUMENTS_REQUEST__INIT;
        Weir__V1__IngestDocumentRequest request;
        char id[48];
        char *body = words_body(words, i + 1);

        fill_ingest(self, &request, id, i);
        request.text = body;
        item.request = &request;
        if (weir_rpc_stream_send(run.stream, &item.base, &error) != WEIR_OK)
            fprintf(stderr, "weir-load: item %zu: %s\n", i, error.message);
        free(body);
    }
    weir_rpc_stream_half_close(run.stream);
    pthread_join(run.receiver, NULL);
    (void)weir_rpc_stream_finish(&run.stream, &error);
    print_rate("accepted", run.accepted, run.refused, weir_clock_mono_us() - begun_us);
    while (waits && !collection_is_settled(self, arena))
        weir_arena_reset(arena);
    weir_arena_destroy(&arena);
    if (waits)
        print_rate("documents", run.accepted, run.refused, weir_clock_mono_us() - begun_us);
    return run.failed || run.accepted != count;
}

static int
usage(void)
{
    fputs("usage: weir-load stream|unary ADDRESS COLLECTION SECONDS PARALLEL BYTES\n"
          "       weir-load paced ADDRESS COLLECTION SECONDS PARALLEL BYTES RATE\n"
          "       weir-load latency|idle-latency ADDRESS COLLECTION COUNT BYTES\n"
          "       weir-load searchable ADDRESS COLLECTION COUNT\n"
          "       weir-load documents|accept ADDRESS COLLECTION COUNT WORDS\n"
          "       weir-load echo ADDRESS SECONDS PARALLEL\n"
          "       weir-load echo-latency ADDRESS COUNT\n",
        stderr);
    return 2;
}

static int
run(load *self, int argc, char **argv)
{
    const char *name = argv[1];

    if (strcmp(name, "echo") == 0 && argc == 5)
        return run_calls(self, name, atoi(argv[3]), atoi(argv[4]), start_echo);
    if (strcmp(name, "echo-latency") == 0 && argc == 4)
        return run_latency(self, name, LATENCY_ECHO, (size_t)atoi(argv[3]));
    if (strcmp(name, "stream") == 0 && argc == 7)
        return run_streams(self, atoi(argv[4]), atoi(argv[5]), (size_t)atoi(argv[6]));
    if (strcmp(name, "paced") == 0 && argc == 8 && atoi(argv[5]) > 0 && atoll(argv[7]) > 0)
        return run_paced(self, atoi(argv[4]), atoi(argv[5]), (size_t)atoi(argv[6]), atoll(argv[7]));
    if (strcmp(name, "unary") == 0 && argc == 7) {
        self->body = bytes_body((size_t)atoi(argv[6]));
        return run_calls(self, name, atoi(argv[4]), atoi(argv[5]), start_call);
    }
    if (strcmp(name, "latency") == 0 && argc == 6) {
        self->body = bytes_body((size_t)atoi(argv[5]));
        return run_latency(self, name, LATENCY_ACCEPT, (size_t)atoi(argv[4]));
    }
    if (strcmp(name, "idle-latency") == 0 && argc == 6) {
        self->body = bytes_body((size_t)atoi(argv[5]));
        return run_latency(self, name, LATENCY_IDLE, (size_t)atoi(argv[4]));
    }
    if (strcmp(name, "searchable") == 0 && argc == 5) {
        self->body = bytes_body(400);
        return run_latency(self, name, LATENCY_SEARCHABLE, (size_t)atoi(argv[4]));
    }
    if ((strcmp(name, "documents") == 0 || strcmp(name, "accept") == 0) && argc == 6)
        return run_documents(self, (size_t)atoi(argv[4]), (size_t)atoi(argv[5]),
            strcmp(name, "documents") == 0);
    return usage();
}

int
main(int argc, char **argv)
{
    load self = { 0 };

    if (argc < 4)
        return usage();
    open_load(&self, argv[2], argv[3]);
    const int code = run(&self, argc, argv);
    close_load(&self);
    return code;
}
