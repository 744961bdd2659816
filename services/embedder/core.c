/*
 * core.c - see core.h: rows to pieces, batches to vectors, vectors to rows.
 */
#include "services/embedder/core.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "services/embedder/batch.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__ChunksRow chunks_row;
typedef Weir__Internal__V1__Chunk chunk_message;

enum { BATCHES_DEFAULT = 4 };

/* Whether the built-in model can be asked. */
typedef struct breaker {
    uint32_t state;        /* weir.v1.BreakerState; atomic: read by any thread */
    uint32_t failures;     /* probes in a row that found nothing */
    int64_t next_probe_ms; /* OPEN, or HALF_OPEN whose probe was lost */
    weir_error why;
} breaker;

struct embedder_core {
    embedder_options options;
    weir_work *work;
    embedder_rows rows; /* at work */
    embedder_batches *batches;
    uint32_t jobs_out;
    embedder_cache cache;
    breaker breaker;
};

/* ---- the breaker ---- */

static void
set_breaker(embedder_core *core, Weir__V1__BreakerState state)
{
    __atomic_store_n(&core->breaker.state, (uint32_t)state, __ATOMIC_RELAXED);
}

uint32_t
embedder_core_breaker(const embedder_core *core)
{
    return __atomic_load_n(&core->breaker.state, __ATOMIC_RELAXED);
}

static bool
is_closed(const embedder_core *core)
{
    return embedder_core_breaker(core) == WEIR__V1__BREAKER_STATE__BREAKER_STATE_CLOSED;
}

static void
open_breaker(embedder_core *core, weir_stage *stage, const weir_error *why)
{
    breaker *self = &core->breaker;
    const uint32_t wait_ms = weir_retry_pause_ms(weir_retry_rule_for(why->code),
        &core->options.policy, self->failures, why->retry_after_ms, weir_stage_random(stage));

    if (self->failures == 0)
        weir_log(WEIR_LOG_WARN, "model.unavailable", WEIR_STR("model", WEIR_MODEL_DEFAULT),
            WEIR_STR("message", why->message));
    self->failures++;
    self->why = *why;
    self->next_probe_ms = weir_stage_now_ms(stage) + wait_ms;
    set_breaker(core, WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN);
}

static void
close_breaker(embedder_core *core, weir_stage *stage)
{
    if (is_closed(core))
        return;
    weir_log(WEIR_LOG_INFO, "model.available", WEIR_STR("model", WEIR_MODEL_DEFAULT));
    core->breaker.failures = 0;
    set_breaker(core, WEIR__V1__BREAKER_STATE__BREAKER_STATE_CLOSED);
    weir_work_outage_ended(core->work, stage);
}

static bool
is_default(const char *model)
{
    return strcmp(model, WEIR_MODEL_DEFAULT) == 0;
}

/* While the model cannot be asked, one row at a time is let through to look. */
static weir_code
check_row(void *self, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    embedder_core *core = self;

    if (row->chunks->spec == NULL || !is_default(row->chunks->spec->model) || is_closed(core))
        return WEIR_OK;
    if (weir_stage_now_ms(stage) < core->breaker.next_probe_ms)
        return weir_error_set(reterr, core->breaker.why.code, "%s; the next look is soon",
            core->breaker.why.message);
    core->breaker.next_probe_ms =
        weir_stage_now_ms(stage) + core->options.policy.backoff_max_ms; /* should it be lost */
    set_breaker(core, WEIR__V1__BREAKER_STATE__BREAKER_STATE_HALF_OPEN);
    return WEIR_OK;
}

/* ---- a row's beginning ---- */

static weir_code
refuse_chunk(const chunk_message *chunk, weir_error *reterr)
{
    const size_t size = strlen(chunk->text);

    if (size > 0 && size <= WEIR_CHUNK_BYTES_MAX)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
        "chunk %u has %zu bytes; 1 to %d are possible", chunk->ordinal, size, WEIR_CHUNK_BYTES_MAX);
}

/* What the rest relies on, said by another service. */
static weir_code
refuse_row(const chunks_row *chunks, weir_error *reterr)
{
    const Weir__Internal__V1__EmbedSpec *spec = chunks->spec;
    weir_code code = WEIR_OK;

    if (spec == NULL || spec->dimension == 0 || spec->dimension > WEIR_DIMENSION_MAX)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
            "the row does not say what its vectors are");
    if (strlen(spec->model) > WEIR_MODEL_NAME_BYTES_MAX)
        return weir_error_set(reterr, WEIR_MODEL_UNKNOWN, "no model has a name of %zu bytes",
            strlen(spec->model));
    if (chunks->n_chunks == 0 || chunks->n_chunks > WEIR_CHUNKS_PER_ROW_MAX)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
            "a row of %zu chunks; 1 to %d are possible", chunks->n_chunks, WEIR_CHUNKS_PER_ROW_MAX);
    for (size_t i = 0; i < chunks->n_chunks && code == WEIR_OK; i++)
        code = refuse_chunk(chunks->chunks[i], reterr);
    return code;
}

static bool
is_cacheable(const embedder_core *core, const chunks_row *chunks)
{
    return core->cache.bytes_max > 0 && is_default(chunks->spec->model) &&
        chunks->spec->fingerprint[0] != '\0';
}

/* Fill in what is known already. */
static weir_code
look_up(embedder_core *core, weir_stage *stage, embedder_row *row, weir_error *reterr)
{
    const chunks_row *chunks = row->row->chunks;
    uint64_t hits = 0;
    weir_code code = WEIR_OK;

    if (!is_cacheable(core, chunks))
        return WEIR_OK;
    row->keys = weir_alloc(row->count * sizeof *row->keys);
    for (size_t i = 0; i < row->count && code == WEIR_OK; i++) {
        row->keys[i] = embedder_cache_key_of(chunks->spec->fingerprint,
            weir_bytes_str(chunks->chunks[i]->text));
        code = embedder_cache_get(&core->cache, stage, &row->keys[i], row->dimension,
            row->vectors + i * row->dimension, &row->is_cached[i], reterr);
        hits += row->is_cached[i] ? 1 : 0;
    }
    row->left -= hits;
    if (hits > 0 && core->options.observer.cache_hits != NULL)
        core->options.observer.cache_hits(core->options.observer.ud, hits);
    return code;
}

/* No chunk is left: the item's work is over. */
static weir_code
finish_row(embedder_core *core, weir_stage *stage, embedder_row *row, weir_error *reterr)
{
    const weir_error failure = row->failure;
    weir_work_item *item = row->item;

    LIST_REMOVE(row, at_work);
    if (failure.code == WEIR_OK)
        return weir_work_done(core->work, stage, item, row, &failure, reterr);
    embedder_row_destroy(row);
    return weir_work_done(core->work, stage, item, NULL, &failure, reterr);
}

static weir_code
start_item(void *self, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    embedder_core *core = self;
    weir_error refused = { .code = WEIR_OK };

    if (refuse_row(weir_work_item_row(item)->chunks, &refused) != WEIR_OK)
        return weir_work_done(core->work, stage, item, NULL, &refused, reterr);
    embedder_row *row = embedder_row_create(item);
    LIST_INSERT_HEAD(&core->rows, row, at_work);
    const weir_code code = look_up(core, stage, row, reterr);
    if (code != WEIR_OK)
        return code;
    if (row->left == 0)
        return finish_row(core, stage, row, reterr);
    for (size_t i = 0; i < row->count; i++)
        if (!row->is_cached[i])
            embedder_batches_add(core->batches, row, (uint32_t)i);
    return WEIR_OK;
}

/* ---- a row's end ---- */

static chunk_message *
with_vector(weir_arena *arena, const chunk_message *chunk, const embedder_row *row, size_t index)
{
    chunk_message *copy = weir_arena_memdup(arena, chunk, sizeof *chunk);

    copy->vector.data = (uint8_t *)(row->vectors + index * row->dimension);
    copy->vector.len = row->dimension * sizeof *row->vectors;
    return copy;
}

static weir_code
send_row(weir_stage *stage, const embedder_row *row, weir_error *reterr)
{
    weir_arena *arena = weir_stage_arena(stage);
    row_message out = *row->row;
    chunks_row vectors = *row->row->chunks;

    vectors.chunks = weir_arena_alloc(arena, row->count * sizeof vectors.chunks[0]);
    for (size_t i = 0; i < row->count; i++)
        vectors.chunks[i] = with_vector(arena, row->row->chunks->chunks[i], row, i);
    out.handed_over_ms = 0; /* now */
    out.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_VECTORS;
    out.vectors = &vectors;
    WEIR_FP_RETURN("embedder.emit.before", reterr);
    return weir_stage_send(stage, WEIR_LINK_EMBEDDER_INDEXER, &out, NULL, reterr);
}

/* Once for a revision, with its last row. */
static void
tell_embedded(weir_stage *stage, const row_message *row)
{
    Weir__Internal__V1__LifecycleEvent event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    if (row->chunks->chunk_count == 0)
        return;
    event.kind = WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_EMBEDDED;
    event.tenant = row->tenant;
    event.collection_no = row->collection_no;
    event.document_id = row->document_id;
    event.revision = row->revision;
    event.epoch = row->epoch;
    event.time_ms = weir_stage_now_ms(stage);
    event.chunk_count = row->chunks->chunk_count;
    event.token_count = row->chunks->token_count;
    event.stage = WEIR__V1__STAGE__STAGE_EMBED;
    weir_stage_event(stage, &event);
}

static weir_code
emit_item(void *self, weir_stage *stage, weir_work_item *item, void *payload, weir_error *reterr)
{
    (void)self;
    tell_embedded(stage, weir_work_item_row(item));
    return send_row(stage, payload, reterr);
}

static void
release_payload(void *self, void *payload)
{
    (void)self;
    embedder_row_destroy(payload);
}

/* ---- batches ---- */

/* A drain: what is not in a batch is not begun; what is comes back first. */
static weir_code
abandon_if_idle(embedder_core *core, weir_stage *stage, embedder_row *row, weir_error *reterr)
{
    weir_work_item *item = row->item;

    if (row->in_jobs > 0)
        return WEIR_OK;
    LIST_REMOVE(row, at_work);
    embedder_row_destroy(row);
    return weir_work_abandon(core->work, stage, item, reterr);
}

static weir_code
abandon_pieces(embedder_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && !embedder_batches_are_empty(core->batches)) {
        embedder_piece *piece = embedder_batches_take_oldest(core->batches);
        embedder_row *row = piece->row;
        const bool is_last = --row->left == row->in_jobs;

        weir_free(piece);
        row->is_abandoned = true;
        if (is_last)
            code = abandon_if_idle(core, stage, row, reterr);
    }
    return code;
}

static weir_code
start_batches(embedder_core *core, weir_stage *stage, weir_error *reterr)
{
    if (weir_stage_is_draining(stage))
        return abandon_pieces(core, stage, reterr);
    while (core->jobs_out < core->options.batches_max &&
        !embedder_batches_are_empty(core->batches)) {
        weir_stage_start_job(stage, &embedder_batches_next(core->batches, &core->options)->base);
        core->jobs_out++;
    }
    return WEIR_OK;
}

static const weir_error *
failure_of(const embedder_job *job, size_t index)
{
    if (job->failure.code != WEIR_OK)
        return &job->failure;
    if (job->failures != NULL && job->failures[index].code != WEIR_OK)
        return &job->failures[index];
    return NULL;
}

/* It is kept at once, so that a process that ends in the middle of a long row goes on there. */
static void
take_vector(embedder_core *core, weir_stage *stage, embedder_row *row, uint32_t index,
    const float *vector)
{
    memcpy(row->vectors + index * (size_t)row->dimension, vector, row->dimension * sizeof *vector);
    if (row->keys != NULL)
        embedder_cache_put(&core->cache, stage, &row->keys[index], vector, row->dimension);
}

static weir_code
take_result(embedder_core *core, weir_stage *stage, const embedder_job *job, size_t index,
    weir_error *reterr)
{
    const embedder_piece *piece = job->pieces[index];
    embedder_row *row = piece->row;
    const weir_error *failure = failure_of(job, index);

    row->in_jobs--;
    row->left--;
    if (failure == NULL)
        take_vector(core, stage, row, piece->index, job->vectors + index * row->dimension);
    else if (row->failure.code == WEIR_OK)
        row->failure = *failure;
    if (row->left > 0)
        return WEIR_OK;
    return row->is_abandoned ? abandon_if_idle(core, stage, row, reterr)
                             : finish_row(core, stage, row, reterr);
}

/* ---- handlers ---- */

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    embedder_core *core = self;
    const weir_code code = embedder_cache_start(&core->cache, stage, reterr);

    return code == WEIR_OK ? weir_work_start(core->work, stage, reterr) : code;
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    embedder_core *core = self;

    return weir_work_on_row(core->work, stage, link, seq, row, packed, reterr);
}

static weir_code
core_job_done(void *self, weir_stage *stage, weir_job *base, weir_error *reterr)
{
    embedder_core *core = self;
    const embedder_job *job = (const embedder_job *)base;
    weir_code code = WEIR_OK;

    weir_assert(core->jobs_out > 0);
    core->jobs_out--;
    if (job->is_provider_away && is_default(job->model))
        open_breaker(core, stage, &job->failure);
    else if (is_default(job->model))
        close_breaker(core, stage);
    for (size_t i = 0; i < job->count && code == WEIR_OK; i++)
        code = take_result(core, stage, job, i, reterr);
    return code;
}

/* Rows that count for nothing any more make room: none of their chunks is begun. */
static weir_code
let_dropped_go(embedder_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (embedder_row *row = LIST_FIRST(&core->rows); row != NULL && code == WEIR_OK;) {
        embedder_row *next = LIST_NEXT(row, at_work);

        if (weir_work_item_is_dropped(row->item)) {
            row->left -= embedder_batches_remove(core->batches, row);
            if (row->left == 0)
                code = finish_row(core, stage, row, reterr);
        }
        row = next;
    }
    return code;
}

static weir_code
core_era_raised(void *self, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    embedder_core *core = self;
    const weir_code code = weir_work_on_era(core->work, stage, era, reterr);

    return code == WEIR_OK ? let_dropped_go(core, stage, reterr) : code;
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    embedder_core *core = self;
    weir_code code = weir_work_on_round(core->work, stage, reterr);

    if (code == WEIR_OK)
        code = start_batches(core, stage, reterr);
    return code == WEIR_OK ? embedder_cache_round_end(&core->cache, stage, reterr) : code;
}

const weir_core_ops embedder_core_ops = {
    .start = core_start,
    .row = core_row,
    .job_done = core_job_done,
    .era_raised = core_era_raised,
    .round_end = core_round_end,
};

embedder_core *
embedder_core_create(const embedder_options *options)
{
    static const weir_work_ops ops = { .payload = WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS,
        .start = start_item,
        .emit = emit_item,
        .release = release_payload,
        .check = check_row };
    embedder_core *core = weir_alloc_zero(1, sizeof *core);

    weir_assert(options->models != NULL);
    core->options = *options;
    if (core->options.batches_max == 0)
        core->options.batches_max = BATCHES_DEFAULT;
    core->cache.bytes_max = options->cache_bytes_max;
    LIST_INIT(&core->rows);
    core->batches = embedder_batches_create(options->batch_tokens);
    core->work = weir_work_create(&ops, core, &options->policy, WEIR_LINK_INGEST_EMBEDDER,
        WEIR__V1__STAGE__STAGE_EMBED);
    weir_work_observe(core->work, &options->work_observer);
    weir_error_set(&core->breaker.why, WEIR_MODEL_UNAVAILABLE, "%s is not there",
        WEIR_MODEL_DEFAULT);
    set_breaker(core,
        embedder_models_has_default(options->models) ? WEIR__V1__BREAKER_STATE__BREAKER_STATE_CLOSED
                                                     : WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN);
    return core;
}

void
embedder_core_destroy(embedder_core **core_p)
{
    embedder_core *core = *core_p;

    if (core == NULL)
        return;
    embedder_batches_destroy(&core->batches);
    while (!LIST_EMPTY(&core->rows)) {
        embedder_row *row = LIST_FIRST(&core->rows);

        LIST_REMOVE(row, at_work);
        embedder_row_destroy(row);
    }
    weir_work_destroy(&core->work);
    weir_free(core);
    *core_p = NULL;
}
