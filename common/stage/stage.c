/*
 * stage.c - the round: what the handlers of all waiting events write becomes one synced batch, then
 * leaves.
 *
 * A crash at any line loses at most a round of which nothing has left: replies, rows, acks and jobs
 * go out only in weir_stage_release, which asserts that the round is synced.  The core's memory is
 * rebuilt by its `start`.
 *
 * Key: 's' -> u64 era.
 */
#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/plant.h"
#include "common/base/random.h"
#include "common/stage/stage_internal.h"
#include "common/wire/wire.h"

static const uint8_t era_key[] = { 's' };

static weir_code
load_era(weir_stage *stage, weir_error *reterr)
{
    bool found = false;
    const weir_code code = weir_store_get(stage->options.store, NULL,
        weir_bytes_of(era_key, sizeof era_key), &stage->scratch, &found, reterr);

    if (code != WEIR_OK)
        return code;
    if (found && stage->scratch.size != 8)
        return weir_error_set(reterr, WEIR_CORRUPT, "the era record has %zu bytes, not 8",
            stage->scratch.size);
    stage->era = found ? weir_load_u64(stage->scratch.data) : stage->options.initial_era;
    stage->start_era = stage->era;
    return WEIR_OK;
}

static void
put_era(weir_stage *stage)
{
    uint8_t value[8];

    weir_store_u64(value, stage->era);
    weir_batch_put(stage->batch, weir_bytes_of(era_key, sizeof era_key),
        weir_bytes_of(value, sizeof value));
}

weir_code
weir_stage_raise_era(weir_stage *stage, uint64_t era, weir_error *reterr)
{
    if (era <= stage->era)
        return WEIR_OK;
    WEIR_FP_RETURN("stage.era_raise.before", reterr);
    stage->era = era;
    put_era(stage);
    stage_links_set_era(stage);
    WEIR_FP_RETURN("stage.era_raise.after", reterr);
    if (stage->options.ops->era_raised == NULL)
        return WEIR_OK;
    return stage->options.ops->era_raised(stage->options.core, stage, era, reterr);
}

static void
publish_status(weir_stage *stage)
{
    pthread_mutex_lock(&stage->status_lock);
    stage->status.identity = stage->identity;
    stage->status.era = stage->era;
    stage->status.held_era = stage->applied_era > 0 ? stage->era : stage->start_era;
    stage->status.applied_era = stage->applied_era;
    stage->status.aside_count = stage->aside_count;
    stage->status.counts = stage->counts;
    stage->status.rounds_total = stage->rounds_total;
    stage->status.events_total = stage->events_total;
    stage->status.commit_us_total = stage->commit_us_total;
    stage_links_view(stage, &stage->status);
    pthread_mutex_unlock(&stage->status_lock);
}

static weir_code
start_all(weir_stage *stage, weir_error *reterr)
{
    WEIR_FP_RETURN("stage.start.before", reterr);
    weir_code code =
        weir_link_identity_start(stage->options.store, weir_service_name(stage->options.service),
            stage->options.identity_random, &stage->identity, reterr);

    if (code == WEIR_OK)
        code = load_era(stage, reterr);
    if (code == WEIR_OK)
        code = stage_links_start(stage, reterr);
    if (code == WEIR_OK)
        code = stage_aside_start(stage, reterr);
    if (code == WEIR_OK)
        code = stage->options.ops->start(stage->options.core, stage, reterr);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("stage.start.loaded", reterr);
    if (code != WEIR_OK)
        return code;
    put_era(stage);
    code = weir_stage_commit(stage, reterr);
    /* Other threads may look before the first release, and act on whose database it is. */
    if (code == WEIR_OK)
        publish_status(stage);
    return code == WEIR_OK ? WEIR_FP_CODE("stage.start.after", reterr) : code;
}

weir_code
weir_stage_create(const weir_stage_options *options, int64_t now_ms, uint64_t random,
    weir_stage **ret_stage, weir_error *reterr)
{
    weir_assert(options->ops != NULL && options->ops->start != NULL);
    weir_stage *stage = weir_alloc_zero(1, sizeof *stage);

    stage->options = *options;
    if (stage->options.credit_rows_max == 0)
        stage->options.credit_rows_max = 1024;
    if (stage->options.initial_era == 0)
        stage->options.initial_era = 1;
    stage->batch = weir_batch_create(options->store);
    stage->arena = weir_arena_create(0);
    pthread_mutex_init(&stage->status_lock, NULL);
    weir_stage_begin(stage, now_ms, random);

    const weir_code code = start_all(stage, reterr);
    if (code != WEIR_OK) {
        const bool moved = weir_stage_abandon(stage, reterr);

        if (options->set_aside != NULL)
            *options->set_aside = moved;
        weir_stage_destroy(&stage);
        return code;
    }
    *ret_stage = stage;
    return WEIR_OK;
}

void
weir_stage_destroy(weir_stage **stage_p)
{
    weir_stage *stage = *stage_p;

    if (stage == NULL)
        return;
    stage_links_destroy(stage);
    for (size_t i = 0; i < stage->job_count; i++)
        stage->jobs[i]->destroy(stage->jobs[i]);
    weir_batch_destroy(&stage->batch);
    weir_arena_destroy(&stage->arena);
    weir_buffer_fini(&stage->scratch);
    weir_buffer_fini(&stage->damaged);
    weir_free(stage->replies);
    weir_free(stage->jobs);
    weir_free(stage->lifecycle);
    pthread_mutex_destroy(&stage->status_lock);
    weir_free(stage);
    *stage_p = NULL;
}

/* ---- the driver's side ---- */

void
weir_stage_begin(weir_stage *stage, int64_t now_ms, uint64_t random)
{
    weir_assert(stage->round == stage->synced_round);
    stage->round++;
    /* The wall clock went back: what was planned by the time before may be years away. */
    if (now_ms < stage->now_ms && stage->wake_at_ms != 0)
        stage->wake_at_ms = now_ms;
    stage->now_ms = now_ms;
    stage->rng.state = random;
    stage->event_count = 0;
    weir_buffer_clear(&stage->damaged);
    weir_arena_reset(stage->arena);
}

static weir_code
refuse_request(weir_stage *stage, const weir_request *request)
{
    weir_error error;

    weir_error_set(&error, WEIR_UNIMPLEMENTED, "the %s takes no requests of kind %u",
        weir_service_name(stage->options.service), request->kind);
    weir_stage_fail(stage, request->reply_to, &error);
    return WEIR_OK;
}

weir_code
weir_stage_on_request(weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    WEIR_FP_RETURN("stage.request.before", reterr);
    stage->event_count++;
    if (request->kind == WEIR_REQUEST_APPLY_ERA)
        return stage_links_apply_era(stage, request, reterr);
    weir_error error = { .code = WEIR_OK };
    const stage_mark mark = stage_aside_mark(stage);
    const weir_code code = stage->options.ops->request != NULL
        ? stage->options.ops->request(stage->options.core, stage, request, &error)
        : refuse_request(stage, request);
    if (stage_aside_is_harmless(stage, mark, code)) {
        weir_stage_fail(stage, request->reply_to, &error);
        return WEIR_OK;
    }
    if (code != WEIR_OK && reterr != NULL)
        *reterr = error;
    return code;
}

weir_code
weir_stage_on_job(weir_stage *stage, weir_job *job, weir_error *reterr)
{
    weir_assert(stage->jobs_running > 0);
    stage->jobs_running--;
    stage->event_count++;
    weir_code code = WEIR_FP_CODE("stage.job_done.before", reterr);
    if (code == WEIR_OK)
        code = stage->options.ops->job_done(stage->options.core, stage, job, reterr);
    job->destroy(job);
    return code;
}

weir_code
weir_stage_on_time(weir_stage *stage, weir_error *reterr)
{
    if (stage->wake_at_ms == 0 || stage->wake_at_ms > stage->now_ms)
        return WEIR_OK;
    WEIR_FP_RETURN("stage.wake.before", reterr);
    stage->wake_at_ms = 0;
    stage->event_count++;
    if (stage->options.ops->wake == NULL) /* what is due is done at the end of the round */
        return WEIR_OK;
    return stage->options.ops->wake(stage->options.core, stage, reterr);
}

bool
weir_stage_is_full(const weir_stage *stage)
{
    return stage->event_count >= WEIR_ROUND_EVENTS_MAX ||
        weir_batch_bytes(stage->batch) >= WEIR_ROUND_BYTES_MAX;
}

/* No less than it takes packed; to measure that would cost as much as to pack it. */
static size_t
event_bytes(const Weir__Internal__V1__LifecycleEvent *event)
{
    enum { NUMBERS_BYTES_MAX = 256 };

    if (event->failure != NULL || event->message[0] != 0)
        return protobuf_c_message_get_packed_size(&event->base);
    return NUMBERS_BYTES_MAX + strlen(event->tenant) + strlen(event->document_id) +
        strlen(event->collection_id) + event->content_sha256.len;
}

/* How many events from `at` on go into one row: at most 1,000, and failures with long messages must
 * fit it too. */
static size_t
count_for_row(const weir_stage *stage, size_t at)
{
    enum { EVENTS_MAX = 1000, BYTES_MAX = WEIR_ROW_BYTES_MAX / 4 };
    size_t bytes = 0;
    size_t count = 0;

    while (at + count < stage->lifecycle_count && count < EVENTS_MAX && bytes < BYTES_MAX)
        bytes += event_bytes(stage->lifecycle[at + count++]);
    return count;
}

static weir_code
send_lifecycle(weir_stage *stage, weir_error *reterr)
{
    static const weir_link_kind to_reconciler[WEIR_SERVICE_COUNT] = {
        [WEIR_SERVICE_GATEWAY] = WEIR_LINK_GATEWAY_RECONCILER,
        [WEIR_SERVICE_INGEST] = WEIR_LINK_INGEST_RECONCILER,
        [WEIR_SERVICE_EMBEDDER] = WEIR_LINK_EMBEDDER_RECONCILER,
        [WEIR_SERVICE_INDEXER] = WEIR_LINK_INDEXER_RECONCILER,
    };
    weir_code code = WEIR_OK;

    for (size_t at = 0; at < stage->lifecycle_count && code == WEIR_OK;) {
        WEIR_FP_RETURN("stage.events.before", reterr);
        Weir__Internal__V1__EventsRow events = WEIR__INTERNAL__V1__EVENTS_ROW__INIT;
        Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

        events.n_events = count_for_row(stage, at);
        events.events = stage->lifecycle + at;
        at += events.n_events;
        row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS;
        row.events = &events;
        code = weir_stage_send(stage, to_reconciler[stage->options.service], &row, NULL, reterr);
    }
    stage->lifecycle_count = 0;
    return code;
}

static weir_code
commit_batch(weir_stage *stage, weir_error *reterr)
{
    if (weir_batch_count(stage->batch) == 0)
        return WEIR_OK;
    WEIR_FP_RETURN("stage.commit.before", reterr);
    const int64_t begun_us = weir_clock_mono_us();
    const weir_code code =
        weir_store_commit(stage->options.store, stage->batch, !WEIR_PLANT(UNSYNCED_COMMIT), reterr);

    stage->commit_us_total += (uint64_t)(weir_clock_mono_us() - begun_us);
    return code == WEIR_OK ? WEIR_FP_CODE("stage.commit.after", reterr) : code;
}

static void
send_replies(weir_stage *stage)
{
    const weir_stage_env *env = &stage->options.env;

    for (size_t i = 0; i < stage->reply_count; i++) {
        WEIR_FP("stage.reply.before");
        env->reply(env->ud, stage->replies[i].reply_to, stage->replies[i].error,
            stage->replies[i].response);
        WEIR_FP("stage.reply.after");
    }
    stage->reply_count = 0;
}

weir_code
weir_stage_commit(weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (stage->options.ops->round_end != NULL)
        code = stage->options.ops->round_end(stage->options.core, stage, reterr);
    if (code == WEIR_OK)
        code = send_lifecycle(stage, reterr);
    if (code == WEIR_OK)
        code = stage_links_prepare(stage, reterr);
    if (WEIR_PLANT(REPLY_BEFORE_COMMIT))
        send_replies(stage);
    if (code == WEIR_OK)
        code = commit_batch(stage, reterr);
    if (code != WEIR_OK)
        return code;
    stage->synced_round = stage->round;
    stage->rounds_total++;
    stage->events_total += stage->event_count;
    stage_links_committed(stage);
    if (stage->options.ops->committed != NULL)
        stage->options.ops->committed(stage->options.core, stage);
    return WEIR_OK;
}

/* The one place where things leave a stage. */
weir_code
weir_stage_release(weir_stage *stage, int64_t *ret_wake_ms, weir_error *reterr)
{
    weir_assert(stage->round == stage->synced_round);
    const weir_stage_env *env = &stage->options.env;
    int64_t wake_ms = stage->wake_at_ms != 0 ? stage->wake_at_ms : INT64_MAX;

    WEIR_FP_RETURN("stage.release.before", reterr);
    send_replies(stage);
    const weir_code code = stage_links_pump(stage, &wake_ms, reterr);
    for (size_t i = 0; i < stage->job_count; i++) {
        WEIR_FP("stage.job.before");
        stage->jobs_running++;
        env->job(env->ud, stage->jobs[i]);
    }
    stage->job_count = 0;
    publish_status(stage);
    *ret_wake_ms = wake_ms;
    WEIR_FP_RETURN("stage.release.after", reterr);
    return code != WEIR_OK ? code : stage_links_trim(stage, false, reterr);
}

void
weir_stage_set_draining(weir_stage *stage)
{
    stage->draining = true;
}

bool
weir_stage_is_draining(const weir_stage *stage)
{
    return stage->draining;
}

bool
weir_stage_is_idle(const weir_stage *stage)
{
    return stage->jobs_running == 0;
}

weir_code
weir_stage_stop_clean(weir_stage *stage, weir_error *reterr)
{
    WEIR_FP_RETURN("stage.stop.before", reterr);
    weir_code code = stage_links_trim(stage, true, reterr);

    if (code == WEIR_OK)
        code = weir_link_identity_stop(stage->batch, reterr);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("stage.stop.trimmed", reterr);
    if (code == WEIR_OK)
        code = weir_store_commit(stage->options.store, stage->batch, true, reterr);
    return code == WEIR_OK ? WEIR_FP_CODE("stage.stop.after", reterr) : code;
}

/* ---- the core's side ---- */

int64_t
weir_stage_now_ms(const weir_stage *stage)
{
    return stage->now_ms;
}

uint64_t
weir_stage_random(weir_stage *stage)
{
    return weir_rng_next(&stage->rng);
}

uint64_t
weir_stage_era(const weir_stage *stage)
{
    return stage->era;
}

weir_store *
weir_stage_store(weir_stage *stage)
{
    return stage->options.store;
}

weir_batch *
weir_stage_batch(weir_stage *stage)
{
    return stage->batch;
}

weir_arena *
weir_stage_arena(weir_stage *stage)
{
    return stage->arena;
}

const weir_link_identity *
weir_stage_identity(const weir_stage *stage)
{
    return &stage->identity;
}

weir_code
weir_stage_get(weir_stage *stage, weir_bytes key, const ProtobufCMessageDescriptor *descriptor,
    void *ret_message, weir_error *reterr)
{
    bool found = false;
    ProtobufCMessage *message = NULL;
    weir_code code = weir_batch_get(stage->batch, key, &stage->scratch, &found, reterr);

    if (code == WEIR_OK && found)
        code = weir_wire_decode(descriptor, weir_buffer_view(&stage->scratch), NULL, stage->arena,
            &message, reterr);
    if (code == WEIR_MALFORMED_MESSAGE)
        return weir_stage_damaged(stage, key, descriptor->short_name, reterr);
    if (code == WEIR_OK)
        memcpy(ret_message, &message, sizeof message);
    return code;
}

void
weir_stage_put(weir_stage *stage, weir_bytes key, const ProtobufCMessage *message)
{
    weir_buffer_clear(&stage->scratch);
    weir_wire_encode(message, &stage->scratch);
    weir_batch_put(stage->batch, key, weir_buffer_view(&stage->scratch));
}

/* Make room for one more element of `size` bytes. */
static void *
grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return weir_realloc(items, *capacity * size);
}

static void
push_reply(weir_stage *stage, stage_reply reply)
{
    stage->replies =
        grow(stage->replies, stage->reply_count, &stage->reply_capacity, sizeof *stage->replies);
    stage->replies[stage->reply_count++] = reply;
}

void
weir_stage_reply(weir_stage *stage, uint64_t reply_to, const ProtobufCMessage *response)
{
    if (reply_to != 0)
        push_reply(stage, (stage_reply){ .reply_to = reply_to, .response = response });
}

void
weir_stage_fail(weir_stage *stage, uint64_t reply_to, const weir_error *error)
{
    weir_assert(error->code != WEIR_OK);
    if (reply_to != 0)
        push_reply(stage,
            (stage_reply){ .reply_to = reply_to,
                .error = weir_arena_memdup(stage->arena, error, sizeof *error) });
}

void
weir_stage_start_job(weir_stage *stage, weir_job *job)
{
    stage->jobs = grow(stage->jobs, stage->job_count, &stage->job_capacity, sizeof *stage->jobs);
    stage->jobs[stage->job_count++] = job;
}

void
weir_stage_wake_at(weir_stage *stage, int64_t at_ms)
{
    if (stage->wake_at_ms == 0 || at_ms < stage->wake_at_ms)
        stage->wake_at_ms = at_ms;
}

static Weir__Internal__V1__Failure *
copy_failure(weir_stage *stage, const Weir__Internal__V1__Failure *failure)
{
    ProtobufCMessage *copy = NULL;
    weir_error error;

    weir_buffer_clear(&stage->scratch);
    weir_wire_encode(&failure->base, &stage->scratch);
    if (weir_wire_decode(failure->base.descriptor, weir_buffer_view(&stage->scratch), NULL,
            stage->arena, &copy, &error) != WEIR_OK)
        weir_assert(!"our own failure record decodes");
    return (Weir__Internal__V1__Failure *)copy;
}

void
weir_stage_event(weir_stage *stage, const Weir__Internal__V1__LifecycleEvent *event)
{
    Weir__Internal__V1__LifecycleEvent *copy =
        weir_arena_memdup(stage->arena, event, sizeof *event);

    copy->tenant = weir_arena_strdup(stage->arena, event->tenant);
    copy->document_id = weir_arena_strdup(stage->arena, event->document_id);
    copy->collection_id = weir_arena_strdup(stage->arena, event->collection_id);
    if (event->content_sha256.len > 0)
        copy->content_sha256.data =
            weir_arena_memdup(stage->arena, event->content_sha256.data, event->content_sha256.len);
    if (event->failure != NULL)
        copy->failure = copy_failure(stage, event->failure);
    stage->lifecycle = grow(stage->lifecycle, stage->lifecycle_count, &stage->lifecycle_capacity,
        sizeof *stage->lifecycle);
    stage->lifecycle[stage->lifecycle_count++] = copy;
}

void
weir_stage_set_counts(weir_stage *stage, const weir_stage_counts *counts)
{
    stage->counts = *counts;
}

void
weir_stage_status_read(weir_stage *stage, weir_stage_status *ret_status)
{
    pthread_mutex_lock(&stage->status_lock);
    *ret_status = stage->status;
    pthread_mutex_unlock(&stage->status_lock);
}
