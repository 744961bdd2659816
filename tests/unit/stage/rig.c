/*
 * rig.c - see rig.h.
 */
#include "rig.h"

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/wire/wire.h"

static void
fill_random(rig *r, uint8_t out[32])
{
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)weir_rng_next(&r->rng);
}

static void *
grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return weir_realloc(items, *capacity * size);
}

/* ---- frames and what leaves the stage ---- */

static void
push_frame(rig *r, uint32_t link, weir_bytes bytes)
{
    r->frames = grow(r->frames, r->frame_count, &r->frame_capacity, sizeof *r->frames);
    rig_frame *frame = &r->frames[r->frame_count++];
    *frame = (rig_frame){ .link = link };
    weir_buffer_append(&frame->bytes, bytes.data, bytes.size);
}

static bool
peer_send(void *ud, uint32_t link, weir_bytes frame)
{
    push_frame(ud, link, frame);
    return true;
}

static weir_code
take_row(void *ud, uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes packed, weir_error *reterr)
{
    rig *r = ud;
    ProtobufCMessage *copy = NULL;

    (void)row;
    const weir_code code = weir_wire_decode(&weir__internal__v1__row__descriptor,
        weir_bytes_of(weir_arena_memdup(r->arena, packed.data, packed.size), packed.size), NULL,
        r->arena, &copy, reterr);
    weir_assert(code == WEIR_OK);
    r->rows = grow(r->rows, r->row_count, &r->row_capacity, sizeof *r->rows);
    r->rows[r->row_count++] =
        (rig_row){ .link = weir_link_kind_of(link), .row = (const Weir__Internal__V1__Row *)copy };
    weir_link_rx_settle(r->peers[weir_link_kind_of(link)].rx, seq);
    return WEIR_OK;
}

static void
peer_take(rig *r, rig_peer *peer, const Weir__Internal__V1__Frame *frame)
{
    int64_t wake_ms = 0;
    unsigned news = 0;
    weir_error error;
    weir_code code = WEIR_OK;

    if (peer->tx != NULL)
        code = weir_link_tx_frame(peer->tx, frame, r->now_ms, peer->batch, &news, &error);
    else
        code = weir_link_rx_frame(peer->rx, frame, 0, r->now_ms, peer->batch, take_row, r, &error);
    if (code == WEIR_OK && peer->rx != NULL)
        code = weir_link_rx_prepare(peer->rx, peer->batch, &error);
    if (code == WEIR_OK)
        code = weir_store_commit(peer->store, peer->batch, true, &error);
    weir_assert(code == WEIR_OK);
    if (peer->tx != NULL) {
        weir_link_tx_committed(peer->tx);
        code = weir_link_tx_pump(peer->tx, r->now_ms, peer_send, r, &wake_ms, &error);
        weir_assert(code == WEIR_OK);
    } else {
        weir_link_rx_committed(peer->rx);
        weir_link_rx_pump(peer->rx, r->now_ms, peer_send, r, &wake_ms);
    }
}

static bool
env_send(void *ud, uint32_t link, weir_bytes bytes)
{
    rig *r = ud;
    rig_peer *peer = &r->peers[weir_link_kind_of(link)];
    Weir__Internal__V1__Frame *frame = NULL;
    weir_error error;
    weir_arena *arena = weir_arena_create(0);

    weir_assert(weir_link_frame_decode(bytes, arena, &frame, &error) == WEIR_OK);
    if (peer->tx != NULL || !r->mute)
        peer_take(r, peer, frame);
    weir_arena_destroy(&arena);
    return true;
}

static void
env_job(void *ud, weir_job *job)
{
    rig *r = ud;

    r->jobs = grow(r->jobs, r->job_count, &r->job_capacity, sizeof *r->jobs);
    r->jobs[r->job_count++] = job;
}

static void
env_reply(void *ud, uint64_t reply_to, const weir_error *error, const ProtobufCMessage *response)
{
    rig *r = ud;

    (void)response;
    weir_assert(r->reply_count < 16);
    r->replies[r->reply_count++] = (rig_reply){ .reply_to = reply_to,
        .error = error != NULL ? *error : (weir_error){ .code = WEIR_OK } };
}

/* ---- peers ---- */

static void
start_peer(rig *r, const weir_link_spec *spec)
{
    rig_peer *peer = &r->peers[spec->kind];
    uint8_t random[32];
    weir_error error;
    const bool sends = spec->to == r->options.service;

    fill_random(r, random);
    peer->store = weir_store_mem_create();
    weir_code code = weir_link_identity_start(peer->store, "peer", random, &peer->identity, &error);
    peer->batch = weir_batch_create(peer->store);
    const uint32_t link = weir_link_number(spec->kind, 0, 0);
    if (code == WEIR_OK && sends)
        code = weir_link_tx_start(&(weir_link_tx_options){ .store = peer->store,
                                      .identity = &peer->identity,
                                      .link = link },
            1, peer->batch, &peer->tx, &error);
    else if (code == WEIR_OK)
        code = weir_link_rx_start(&(weir_link_rx_options){ .store = peer->store,
                                      .identity = &peer->identity,
                                      .link = link },
            &peer->rx, &error);
    if (code == WEIR_OK)
        code = weir_store_commit(peer->store, peer->batch, true, &error);
    weir_assert(code == WEIR_OK);
    if (sends)
        weir_link_tx_committed(peer->tx);
    else
        weir_link_rx_set_credit(peer->rx, 512);
}

void
rig_init(rig *r, const rig_options *options, uint64_t seed)
{
    *r = (rig){ .options = *options, .rng = { .state = seed }, .now_ms = 1700000000000 };
    r->arena = weir_arena_create(0);
    r->store = weir_store_mem_create();
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);

        if (spec->from == options->service || spec->kind == options->in)
            start_peer(r, spec);
    }
}

static void
drop_flight(rig *r)
{
    for (size_t i = 0; i < r->frame_count; i++)
        weir_buffer_fini(&r->frames[i].bytes);
    r->frame_count = 0;
    for (size_t i = 0; i < r->job_count; i++)
        r->jobs[i]->destroy(r->jobs[i]);
    r->job_count = 0;
}

static void
end_process(rig *r)
{
    drop_flight(r);
    weir_stage_destroy(&r->stage);
    if (r->core != NULL)
        r->options.core_destroy(r->core);
    r->core = NULL;
}

void
rig_fini(rig *r)
{
    end_process(r);
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        weir_link_tx_destroy(&r->peers[kind].tx);
        weir_link_rx_destroy(&r->peers[kind].rx);
        weir_batch_destroy(&r->peers[kind].batch);
        weir_store_close(&r->peers[kind].store);
    }
    weir_store_close(&r->store);
    weir_arena_destroy(&r->arena);
    weir_free(r->frames);
    weir_free(r->jobs);
    weir_free(r->rows);
}

/* ---- the process ---- */

weir_code
rig_start(rig *r, weir_error *reterr)
{
    weir_assert(r->stage == NULL);
    r->core = r->options.core_create(r->options.ud, r->store);
    weir_stage_options options = { .service = r->options.service,
        .store = r->store,
        .ops = r->options.ops,
        .core = r->core,
        .env = { .ud = r, .reply = env_reply, .job = env_job, .send = env_send } };
    fill_random(r, options.identity_random);
    r->starts++;
    return weir_stage_create(&options, r->now_ms, weir_rng_next(&r->rng), &r->stage, reterr);
}

void
rig_crash(rig *r)
{
    end_process(r);
    weir_store_mem_fail_after(r->store, 0);
    weir_store_mem_power_cut(r->store, weir_rng_next(&r->rng));
}

weir_code
rig_stop(rig *r, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    weir_stage_set_draining(r->stage);
    do
        code = rig_round(r, reterr);
    while (code == WEIR_OK && !weir_stage_is_idle(r->stage));
    if (code == WEIR_OK) {
        weir_stage_begin(r->stage, r->now_ms, 1);
        code = weir_stage_stop_clean(r->stage, reterr);
    }
    end_process(r);
    return code;
}

static weir_code
feed_frames(rig *r, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    const size_t count = r->frame_count;
    rig_frame *frames = r->frames;

    r->frames = NULL;
    r->frame_count = r->frame_capacity = 0;
    for (size_t i = 0; i < count; i++) {
        if (code == WEIR_OK)
            code = weir_stage_on_frame(r->stage, frames[i].link, weir_buffer_view(&frames[i].bytes),
                reterr);
        weir_buffer_fini(&frames[i].bytes);
    }
    weir_free(frames);
    return code;
}

static weir_code
feed_jobs(rig *r, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    size_t kept = 0;
    const size_t count = r->job_count;

    for (size_t i = 0; i < count; i++) {
        weir_job *job = r->jobs[i];
        const rig_fate fate = code != WEIR_OK || r->options.job_fate == NULL
            ? RIG_RUN
            : r->options.job_fate(r->options.ud, job);

        if (fate == RIG_KILL)
            code = weir_error_set(reterr, WEIR_CANCELLED, "the job killed the process");
        if (fate != RIG_RUN || code != WEIR_OK) {
            r->jobs[kept++] = job;
            continue;
        }
        r->job_runs++;
        job->run(job);
        code = weir_stage_on_job(r->stage, job, reterr);
    }
    r->job_count = kept;
    return code;
}

static weir_code
end_round(rig *r, weir_error *reterr)
{
    weir_code code = weir_stage_on_time(r->stage, reterr);

    if (code == WEIR_OK)
        code = weir_stage_commit(r->stage, reterr);
    if (code == WEIR_OK)
        code = weir_stage_release(r->stage, &r->wake_ms, reterr);
    r->rounds++;
    return code;
}

weir_code
rig_round(rig *r, weir_error *reterr)
{
    weir_stage_begin(r->stage, r->now_ms, weir_rng_next(&r->rng));
    weir_code code = feed_frames(r, reterr);

    if (code == WEIR_OK)
        code = feed_jobs(r, reterr);
    return code == WEIR_OK ? end_round(r, reterr) : code;
}

weir_code
rig_request(rig *r, const weir_request *request, weir_error *reterr)
{
    weir_stage_begin(r->stage, r->now_ms, weir_rng_next(&r->rng));
    const weir_code code = weir_stage_on_request(r->stage, request, reterr);

    return code == WEIR_OK ? end_round(r, reterr) : code;
}

/* The sender's timers; those of the stage run in its release. */
static void
pump_sender(rig *r)
{
    int64_t wake_ms = 0;
    weir_error error;
    rig_peer *peer = &r->peers[r->options.in];

    weir_assert(weir_link_tx_pump(peer->tx, r->now_ms, peer_send, r, &wake_ms, &error) == WEIR_OK);
}

static bool
can_move(const rig *r)
{
    if (r->frame_count > 0 || r->wake_ms <= r->now_ms)
        return true;
    for (size_t i = 0; i < r->job_count; i++)
        if (r->options.job_fate == NULL ||
            r->options.job_fate(r->options.ud, r->jobs[i]) != RIG_HOLD)
            return true;
    return false;
}

weir_code
rig_run(rig *r, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    pump_sender(r);
    for (uint32_t quiet = 0, i = 0; code == WEIR_OK && quiet < 2; i++) {
        weir_assert(i < 100000); /* it never comes to rest */
        code = rig_round(r, reterr);
        quiet = can_move(r) ? 0 : quiet + 1;
    }
    return code;
}

weir_code
rig_run_for(rig *r, int64_t for_ms, weir_error *reterr)
{
    const int64_t until_ms = r->now_ms + for_ms;
    weir_code code = rig_run(r, reterr);

    while (code == WEIR_OK && r->now_ms < until_ms) {
        r->now_ms = r->wake_ms > r->now_ms && r->wake_ms < until_ms ? r->wake_ms : until_ms;
        code = rig_run(r, reterr);
    }
    return code;
}

void
rig_send(rig *r, Weir__Internal__V1__Row *row)
{
    rig_peer *peer = &r->peers[r->options.in];
    weir_error error;

    if (row->era == 0)
        row->era = 1;
    if (row->handed_over_ms == 0)
        row->handed_over_ms = r->now_ms;
    weir_assert(weir_link_tx_append(peer->tx, peer->batch, row, NULL, &error) == WEIR_OK);
    weir_assert(weir_store_commit(peer->store, peer->batch, true, &error) == WEIR_OK);
    weir_link_tx_committed(peer->tx);
    pump_sender(r);
}

/* ---- looks ---- */

size_t
rig_count(const rig *r, weir_link_kind link)
{
    size_t count = 0;

    for (size_t i = 0; i < r->row_count; i++)
        count += r->rows[i].link == link ? 1 : 0;
    return count;
}

const Weir__Internal__V1__Row *
rig_out(const rig *r, weir_link_kind link, size_t n)
{
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].link == link && n-- == 0)
            return r->rows[i].row;
    return NULL;
}

size_t
rig_events(const rig *r, int kind, const char *document_id,
    const Weir__Internal__V1__LifecycleEvent **ret_last)
{
    size_t count = 0;

    for (size_t i = 0; i < r->row_count; i++) {
        const Weir__Internal__V1__Row *row = r->rows[i].row;

        if (row->payload_case != WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS)
            continue;
        for (size_t k = 0; k < row->events->n_events; k++) {
            const Weir__Internal__V1__LifecycleEvent *event = row->events->events[k];

            if ((int)event->kind != kind ||
                (document_id[0] != '\0' && strcmp(event->document_id, document_id) != 0))
                continue;
            count++;
            if (ret_last != NULL)
                *ret_last = event;
        }
    }
    return count;
}

weir_stage_counts
rig_counts(const rig *r)
{
    weir_stage_status status;

    weir_stage_status_read(r->stage, &status);
    return status.counts;
}

uint64_t
rig_settled(const rig *r)
{
    weir_link_tx_status status;

    weir_link_tx_status_read(r->peers[r->options.in].tx, &status);
    return status.acked;
}

size_t
rig_keys(const rig *r, uint8_t first)
{
    const uint8_t lower[] = { first };
    const uint8_t upper[] = { (uint8_t)(first + 1) };
    size_t count = 0;
    weir_iter *iter =
        weir_store_iter(r->store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));

    while (weir_iter_next(iter))
        count++;
    weir_iter_destroy(&iter);
    return count;
}
