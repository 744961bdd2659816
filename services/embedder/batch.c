/*
 * batch.c - see batch.h.
 *
 * Padding costs as much as text, so a batch holds texts of like length; a batch larger than about a
 * thousand tokens gains nothing.  The oldest piece is always in the next batch, so nothing waits
 * for ever for company.
 */
#include "services/embedder/batch.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"

enum { WIDTHS = 10, HASH_BATCH_FACTOR = 16, PIECES_MAX = 256 };
static const uint32_t widths[WIDTHS] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, UINT32_MAX };

typedef struct lane lane;
struct lane { /* the pieces of one model */
    lane *next;
    char model[WEIR_MODEL_NAME_BYTES_MAX + 1];
    uint32_t dimension;
    bool is_hash;
    struct {
        embedder_piece *first, *last;
    } queues[WIDTHS]; /* by length */
};

struct embedder_batches {
    uint32_t batch_tokens;
    lane *lanes;
    uint64_t next_number;
    uint64_t count;
};

/* ---- rows ---- */

embedder_row *
embedder_row_create(weir_work_item *item)
{
    embedder_row *row = weir_alloc_zero(1, sizeof *row);
    const Weir__Internal__V1__ChunksRow *chunks = weir_work_item_row(item)->chunks;

    row->item = item;
    row->row = weir_work_item_row(item);
    row->dimension = chunks->spec->dimension;
    row->count = row->left = chunks->n_chunks;
    row->vectors = weir_alloc(row->count * row->dimension * sizeof *row->vectors);
    row->is_cached = weir_alloc_zero(row->count, sizeof *row->is_cached);
    return row;
}

void
embedder_row_destroy(embedder_row *row)
{
    weir_free(row->vectors);
    weir_free(row->is_cached);
    weir_free(row->keys);
    weir_free(row);
}

static const Weir__Internal__V1__Chunk *
chunk_of(const embedder_piece *piece)
{
    return piece->row->row->chunks->chunks[piece->index];
}

static const Weir__Internal__V1__EmbedSpec *
spec_of(const embedder_row *row)
{
    return row->row->chunks->spec;
}

/* ---- queues ---- */

embedder_batches *
embedder_batches_create(uint32_t batch_tokens)
{
    embedder_batches *batches = weir_alloc_zero(1, sizeof *batches);

    batches->batch_tokens = batch_tokens == 0 ? EMBEDDER_RUN_TOKENS : batch_tokens;
    return batches;
}

void
embedder_batches_destroy(embedder_batches **batches_p)
{
    embedder_batches *batches = *batches_p;

    if (batches == NULL)
        return;
    while (!embedder_batches_are_empty(batches))
        weir_free(embedder_batches_take_oldest(batches));
    while (batches->lanes != NULL) {
        lane *next = batches->lanes->next;

        weir_free(batches->lanes);
        batches->lanes = next;
    }
    weir_free(batches);
    *batches_p = NULL;
}

/* Rows of one model name and dimension share batches. */
static lane *
lane_of(embedder_batches *batches, const embedder_row *row)
{
    const Weir__Internal__V1__EmbedSpec *spec = spec_of(row);
    lane *found = batches->lanes;

    while (found != NULL &&
        (found->dimension != row->dimension || strcmp(found->model, spec->model) != 0))
        found = found->next;
    if (found != NULL)
        return found;
    found = weir_alloc_zero(1, sizeof *found);
    weir_assert(strlen(spec->model) < sizeof found->model);
    strncpy(found->model, spec->model, sizeof found->model - 1);
    found->dimension = row->dimension;
    found->is_hash = weir_model_name_is_hash(spec->model);
    found->next = batches->lanes;
    batches->lanes = found;
    return found;
}

static size_t
width_index(uint32_t token_count)
{
    size_t i = 0;

    while (token_count > widths[i])
        i++;
    return i;
}

void
embedder_batches_add(embedder_batches *batches, embedder_row *row, uint32_t index)
{
    embedder_piece *piece = weir_alloc(sizeof *piece);
    lane *to = lane_of(batches, row);

    *piece = (embedder_piece){ .row = row, .index = index, .number = batches->next_number++ };
    const size_t width = width_index(chunk_of(piece)->token_count);
    if (to->queues[width].last != NULL)
        to->queues[width].last->next = piece;
    else
        to->queues[width].first = piece;
    to->queues[width].last = piece;
    batches->count++;
}

bool
embedder_batches_are_empty(const embedder_batches *batches)
{
    return batches->count == 0;
}

static embedder_piece *
take_first(embedder_batches *batches, lane *from, size_t width)
{
    embedder_piece *piece = from->queues[width].first;

    from->queues[width].first = piece->next;
    if (piece->next == NULL)
        from->queues[width].last = NULL;
    piece->next = NULL;
    batches->count--;
    return piece;
}

static lane *
find_oldest(embedder_batches *batches, size_t *ret_width)
{
    lane *oldest = NULL;
    uint64_t number = UINT64_MAX;

    for (lane *at = batches->lanes; at != NULL; at = at->next) {
        for (size_t width = 0; width < WIDTHS; width++) {
            const embedder_piece *first = at->queues[width].first;

            if (first == NULL || first->number >= number)
                continue;
            number = first->number;
            oldest = at;
            *ret_width = width;
        }
    }
    weir_assert(oldest != NULL);
    return oldest;
}

embedder_piece *
embedder_batches_take_oldest(embedder_batches *batches)
{
    size_t width = 0;
    lane *from = find_oldest(batches, &width);

    return take_first(batches, from, width);
}

static size_t
remove_from(lane *from, size_t width, const embedder_row *row)
{
    embedder_piece *kept = NULL;
    size_t removed = 0;

    for (embedder_piece **at = &from->queues[width].first; *at != NULL;) {
        embedder_piece *piece = *at;

        if (piece->row != row) {
            kept = piece;
            at = &piece->next;
            continue;
        }
        *at = piece->next;
        weir_free(piece);
        removed++;
    }
    from->queues[width].last = kept;
    return removed;
}

size_t
embedder_batches_remove(embedder_batches *batches, const embedder_row *row)
{
    size_t removed = 0;

    for (lane *at = batches->lanes; at != NULL; at = at->next)
        for (size_t width = 0; width < WIDTHS; width++)
            removed += remove_from(at, width, row);
    batches->count -= removed;
    return removed;
}

/* ---- the job ---- */

static void
fail_range(embedder_job *job, size_t first, size_t count, const weir_error *error)
{
    if (job->failures == NULL)
        job->failures = weir_alloc_zero(job->count, sizeof *job->failures);
    for (size_t i = first; i < first + count; i++)
        job->failures[i] = *error;
}

/* A batch that fails is halved until the piece at fault stands alone; but none is at fault when the
 * model could not be asked. */
static void
embed_range(embedder_job *job, const embedder_model *model, size_t first, size_t count)
{
    embedder_embed *embed =
        job->options->embed != NULL ? job->options->embed : embedder_model_embed;
    weir_error error = { .code = WEIR_OK };

    if (job->is_provider_away)
        return;
    if (embed(model, job->texts + first, count, job->vectors + first * job->dimension,
            job->token_counts + first, &error) == WEIR_OK)
        return;
    if (weir_retry_rule_for(error.code)->pause_factor > 0) {
        job->is_provider_away = true;
        job->failure = error;
        return;
    }
    if (count == 1) {
        fail_range(job, first, 1, &error);
        return;
    }
    embed_range(job, model, first, count / 2);
    embed_range(job, model, first + count / 2, count - count / 2);
}

/* The model here must be the one that the collection's vectors come from. */
static weir_code
check_model(const weir_model *facts, const Weir__Internal__V1__EmbedSpec *spec, weir_error *reterr)
{
    if (facts->dimension != spec->dimension)
        return weir_error_set(reterr, WEIR_DIMENSION_MISMATCH,
            "%s makes vectors of %u numbers, the collection has vectors of %u", facts->name,
            facts->dimension, spec->dimension);
    if (spec->fingerprint[0] == '\0' || strcmp(spec->fingerprint, facts->fingerprint) == 0)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
        "the collection was made with another version of %s (%.16s, here is %.16s)", facts->name,
        spec->fingerprint, facts->fingerprint);
}

static uint64_t
sum_tokens(const embedder_job *job)
{
    uint64_t tokens = 0;

    for (size_t i = 0; i < job->count; i++)
        tokens += job->token_counts[i];
    return tokens;
}

static void
embed_batch(embedder_job *job)
{
    const embedder_observer *observer = &job->options->observer;
    const embedder_model *model = NULL;
    weir_code code =
        embedder_models_get(job->options->models, job->model, true, &model, &job->failure);

    job->is_provider_away = weir_retry_rule_for(code)->pause_factor > 0;
    if (code == WEIR_OK)
        code =
            check_model(embedder_model_facts(model), spec_of(job->pieces[0]->row), &job->failure);
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("embedder.embed.before", &job->failure);
    if (code == WEIR_OK)
        embed_range(job, model, 0, job->count);
    WEIR_FP("embedder.embed.after");
    if (code == WEIR_OK)
        code = job->failure.code != WEIR_OK ? job->failure.code
            : job->failures != NULL         ? WEIR_EMBED_FAILED
                                            : WEIR_OK;
    if (observer->embedded != NULL)
        observer->embedded(observer->ud, job->model, code, sum_tokens(job));
}

static void
run(weir_job *base)
{
    embedder_job *job = (embedder_job *)base;
    const weir_work_observer *observer = &job->options->work_observer;
    const int64_t begun_us = weir_clock_mono_us();

    if (observer->busy != NULL)
        observer->busy(observer->ud, 1);
    embed_batch(job);
    if (observer->busy != NULL)
        observer->busy(observer->ud, -1);
    if (observer->worked != NULL)
        observer->worked(observer->ud, weir_clock_mono_us() - begun_us);
}

static void
destroy(weir_job *base)
{
    embedder_job *job = (embedder_job *)base;

    for (size_t i = 0; i < job->count; i++)
        weir_free(job->pieces[i]);
    weir_free(job->pieces);
    weir_free(job->texts);
    weir_free(job->token_counts);
    weir_free(job->vectors);
    weir_free(job->failures);
    weir_free(job);
}

/* Pieces of several collections may share a batch only if they mean the same vector space. */
static bool
may_join(const embedder_job *job, const embedder_piece *piece)
{
    return job->count == 0 ||
        strcmp(spec_of(job->pieces[0]->row)->fingerprint, spec_of(piece->row)->fingerprint) == 0;
}

static void
join(embedder_job *job, embedder_piece *piece)
{
    const char *text = chunk_of(piece)->text;

    job->texts[job->count] = weir_bytes_str(text);
    job->pieces[job->count++] = piece;
    piece->row->in_jobs++;
}

static void
fill(embedder_job *job, embedder_batches *batches, lane *from, size_t width)
{
    const uint64_t budget =
        (uint64_t)batches->batch_tokens * (from->is_hash ? HASH_BATCH_FACTOR : 1);
    uint64_t longest = 0;

    while (job->count < job->capacity && from->queues[width].first != NULL) {
        embedder_piece *piece = from->queues[width].first;
        const uint32_t tokens = chunk_of(piece)->token_count;

        longest = tokens > longest ? tokens : longest;
        if (job->count > 0 && (!may_join(job, piece) || (job->count + 1) * longest > budget))
            return;
        join(job, take_first(batches, from, width));
    }
}

embedder_job *
embedder_batches_next(embedder_batches *batches, const embedder_options *options)
{
    embedder_job *job = weir_alloc_zero(1, sizeof *job);
    size_t width = 0;
    lane *from = find_oldest(batches, &width);

    job->base = (weir_job){ .run = run, .destroy = destroy };
    job->options = options;
    job->capacity = PIECES_MAX;
    job->dimension = from->dimension;
    job->pieces = weir_alloc(job->capacity * sizeof *job->pieces);
    job->texts = weir_alloc(job->capacity * sizeof *job->texts);
    fill(job, batches, from, width);
    job->model = spec_of(job->pieces[0]->row)->model;
    job->token_counts = weir_alloc_zero(job->count, sizeof *job->token_counts);
    job->vectors = weir_alloc(job->count * job->dimension * sizeof *job->vectors);
    return job;
}
