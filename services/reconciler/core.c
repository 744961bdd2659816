/*
 * core.c - the reconciler's core: the table of its handlers, its start, and what it publishes.
 *
 * Everything in memory is counted again from the store by `start`; walks that were under way begin
 * again there, and every step of theirs looks before it writes.
 */
#include "services/reconciler/core.h"

#include "common/base/assert.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"

/* ---- start ---- */

/* Lists and the audit read these records without the core: a start is where a damaged one is met.
 */
static weir_code
check_record(weir_stage *stage, char tag, weir_iter *iter, weir_arena *arena, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    if (tag == 'U')
        return WEIR_OK;
    weir_arena_reset(arena);
    return weir_wire_decode(&weir__internal__v1__ending_record__descriptor, weir_iter_value(iter),
               NULL, arena, &message, reterr) == WEIR_OK
        ? WEIR_OK
        : weir_stage_damaged(stage, weir_iter_key(iter), "EndingRecord", reterr);
}

static weir_code
count_keys(weir_stage *stage, char tag, uint64_t *ret_count, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    weir_code code = WEIR_OK;
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));

    *ret_count = 0;
    while (code == WEIR_OK && weir_iter_next(iter)) {
        const weir_bytes value = weir_iter_value(iter);

        /* The mark of a revision that was READY too early is none that is unfinished. */
        *ret_count += tag != 'U' || value.size == 0 || value.data[value.size - 1] == 0;
        code = check_record(stage, tag, iter, arena, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&arena);
    return code;
}

static weir_code
count_records(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_code code = count_keys(stage, 'L', &core->dead_letters, reterr);

    if (code == WEIR_OK)
        code = count_keys(stage, 'E', &core->endings, reterr);
    if (code == WEIR_OK)
        code = count_keys(stage, 'U', &core->unfinished, reterr);
    return code;
}

static weir_code
load_number(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code = weir_batch_get(weir_stage_batch(stage), reconciler_key_number(&core->key),
        &value, &found, reterr);

    if (code == WEIR_OK && found && value.size != 8)
        code = weir_error_set(reterr, WEIR_CORRUPT, "the journal's number has %zu bytes, not 8",
            value.size);
    core->next_number = code == WEIR_OK && found ? weir_load_u64(value.data) : 1;
    weir_buffer_fini(&value);
    return code;
}

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    reconciler_core *core = self;
    weir_code code = load_number(core, stage, reterr);

    if (code == WEIR_OK)
        code = count_records(core, stage, reterr);
    if (code == WEIR_OK)
        code = reconciler_order_dead_letters(core, stage, reterr);
    if (code == WEIR_OK)
        code = reconciler_load_seeds(core, stage, reterr);
    if (core->endings > 0)
        reconciler_walk_begin(&core->again, stage);
    if (core->unfinished > 0)
        weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    return code;
}

/* ---- walks ---- */

void
reconciler_walk_begin(reconciler_walk *walk, weir_stage *stage)
{
    walk->is_active = true;
    weir_buffer_clear(&walk->after);
    weir_stage_wake_at(stage, weir_stage_now_ms(stage));
}

weir_code
reconciler_walk_on(reconciler_core *core, weir_stage *stage, reconciler_walk *walk, char tag,
    uint32_t limit, reconciler_visit *visit, weir_error *reterr)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_code code = WEIR_OK;

    weir_assert(walk->is_active && limit > 0);
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    bool is_there = weir_iter_seek(iter, weir_buffer_view(&walk->after));
    if (is_there && weir_bytes_equal(weir_iter_key(iter), weir_buffer_view(&walk->after)))
        is_there = weir_iter_next(iter);
    for (; is_there && limit > 0 && code == WEIR_OK; limit--, is_there = weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);

        weir_buffer_clear(&walk->after);
        weir_buffer_append(&walk->after, key.data, key.size);
        code = visit(core, stage, key, weir_iter_value(iter), reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    walk->is_active = is_there;
    if (walk->is_active)
        weir_stage_wake_at(stage, weir_stage_now_ms(stage) + 1);
    return code;
}

/* ---- handlers ---- */

static weir_code
on_events(reconciler_core *core, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < row->events->n_events && code == WEIR_OK; i++) {
        const lifecycle_event *event = row->events->events[i];

        code = reconciler_journal(core, stage, event, reterr);
        if (code == WEIR_OK)
            code = reconciler_track(core, stage, event, reterr);
        if (code == WEIR_OK)
            code = reconciler_on_event(core, stage, event, reterr);
    }
    return code;
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    reconciler_core *core = self;

    (void)packed;
    weir_stage_settle(stage, link, seq);
    core->row_era = row->era;
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS)
        return on_events(core, stage, row, reterr);
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER)
        return reconciler_on_revoke_answer(core, stage, row, reterr);
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED)
        return reconciler_on_seed(core, stage, row, reterr);
    weir_log(WEIR_LOG_ERROR, "row.unexpected", WEIR_STR("link", weir_link_spec_of(link)->name),
        WEIR_STR("document_id", row->document_id), WEIR_INT("payload", row->payload_case));
    return WEIR_OK;
}

static weir_code
core_wake(void *self, weir_stage *stage, weir_error *reterr)
{
    reconciler_core *core = self;
    weir_code code = WEIR_OK;

    if (core->again.is_active)
        code = reconciler_ask_again(core, stage, reterr);
    if (code == WEIR_OK)
        code = reconciler_sweep(core, stage, reterr);
    if (code == WEIR_OK)
        code = reconciler_look_on(core, stage, reterr);
    return code;
}

static weir_code
core_era_raised(void *self, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    reconciler_core *core = self;

    (void)era;
    (void)stage;
    (void)reterr;
    core->again_is_due = core->endings > 0;
    return WEIR_OK;
}

/* The first step of each is taken in the next round, which sees what this one has written. */
static void
begin_walks(reconciler_core *core, weir_stage *stage)
{
    if (core->again_is_due)
        reconciler_walk_begin(&core->again, stage);
    if (core->sweep_is_due) {
        reconciler_walk_begin(&core->sweep_dead_letters, stage);
        reconciler_walk_begin(&core->sweep_unfinished, stage);
    }
    core->again_is_due = false;
    core->sweep_is_due = false;
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    reconciler_core *core = self;
    const weir_stage_counts counts = { .in_flight = core->endings };
    uint8_t value[8];

    (void)reterr;
    begin_walks(core, stage);
    reconciler_plan_look(core, stage);
    weir_stage_set_counts(stage, &counts);
    if (!core->number_changed)
        return WEIR_OK;
    weir_store_u64(value, core->next_number);
    weir_batch_put(weir_stage_batch(stage), reconciler_key_number(&core->key),
        weir_bytes_of(value, sizeof value));
    core->number_changed = false;
    return WEIR_OK;
}

static void
core_committed(void *self, weir_stage *stage)
{
    reconciler_core *core = self;

    (void)stage;
    pthread_mutex_lock(&core->published_lock);
    core->published = (reconciler_published){
        .dead_letters = core->dead_letters,
        .endings = core->endings,
        .unfinished = core->unfinished,
        .oldest_since_ms = core->unfinished > 0 ? core->oldest_since_ms : 0,
        .stuck = core->unfinished > 0 ? core->stuck : 0,
        .dead_lettered_total = core->dead_lettered_total,
        .events_total = core->events_total,
        .seeded_era = core->seeded_era,
        .swept_era = core->swept_era,
    };
    pthread_mutex_unlock(&core->published_lock);
}

const weir_core_ops reconciler_core_ops = {
    .start = core_start,
    .row = core_row,
    .wake = core_wake,
    .era_raised = core_era_raised,
    .round_end = core_round_end,
    .committed = core_committed,
};

/* ---- life ---- */

reconciler_core *
reconciler_core_create(const reconciler_core_config *config)
{
    reconciler_core *core = weir_alloc_zero(1, sizeof *core);

    core->config = *config;
    if (core->config.journal_events_max == 0)
        core->config.journal_events_max = 64;
    pthread_mutex_init(&core->published_lock, NULL);
    return core;
}

void
reconciler_core_destroy(reconciler_core **core_p)
{
    reconciler_core *core = *core_p;

    if (core == NULL)
        return;
    weir_buffer_fini(&core->key);
    weir_buffer_fini(&core->range_end);
    weir_buffer_fini(&core->look.walk.after);
    weir_buffer_fini(&core->again.after);
    weir_buffer_fini(&core->sweep_dead_letters.after);
    weir_buffer_fini(&core->sweep_unfinished.after);
    pthread_mutex_destroy(&core->published_lock);
    weir_free(core);
    *core_p = NULL;
}

void
reconciler_core_published(reconciler_core *core, reconciler_published *ret_published)
{
    pthread_mutex_lock(&core->published_lock);
    *ret_published = core->published;
    pthread_mutex_unlock(&core->published_lock);
}
