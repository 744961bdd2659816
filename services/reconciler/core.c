/*
 * core.c - the reconciler's core: the table of its handlers, its start, and what it publishes.
 */
#include "services/reconciler/core.h"

#include "common/base/log.h"
#include "services/reconciler/core_internal.h"

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    reconciler_core *core = self;
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code = weir_batch_get(weir_stage_batch(stage), reconciler_key_number(&core->key), &value, &found, reterr);

    core->next_number = found && value.size == 8 ? weir_load_u64(value.data) : 1;
    weir_buffer_fini(&value);
    if (code == WEIR_OK)
        code = reconciler_count_records(core, stage, reterr);
    weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    return code;
}

static weir_code
on_events(reconciler_core *core, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < row->events->n_events && code == WEIR_OK; i++) {
        code = reconciler_journal(core, stage, row->events->events[i], reterr);
        if (code == WEIR_OK)
            code = reconciler_on_event(core, stage, row->events->events[i], reterr);
    }
    return code;
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row, weir_bytes packed,
    weir_error *reterr)
{
    (void)packed;
    weir_stage_settle(stage, link, seq);
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS)
        return on_events(self, stage, row, reterr);
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER)
        return reconciler_on_revoke_answer(self, stage, row, reterr);
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED)
        return reconciler_on_seed(self, stage, row, reterr);
    weir_log(WEIR_LOG_ERROR, "row.unexpected", WEIR_STR("document_id", row->document_id),
        WEIR_INT("payload", row->payload_case));
    return WEIR_OK;
}

static weir_code
core_request(void *self, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    (void)self;
    (void)reterr;
    weir_error error;
    weir_error_set(&error, WEIR_UNIMPLEMENTED, "the reconciler takes no command %u", request->kind);
    weir_stage_fail(stage, request->reply_to, &error);
    return WEIR_OK;
}

static weir_code
core_wake(void *self, weir_stage *stage, weir_error *reterr)
{
    return reconciler_find_oldest(self, stage, reterr);
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    reconciler_core *core = self;
    uint8_t value[8];

    if (!core->number_changed)
        return WEIR_OK;
    weir_store_u64(value, core->next_number);
    weir_batch_put(weir_stage_batch(stage), reconciler_key_number(&core->key), weir_bytes_of(value, sizeof value));
    core->number_changed = false;
    return reconciler_find_oldest(core, stage, reterr);
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
        .oldest_since_ms = core->oldest_since_ms,
        .given_up_total = core->given_up_total,
        .events_total = core->events_total,
        .seeded_era = core->seeded_era,
    };
    pthread_mutex_unlock(&core->published_lock);
}

const weir_core_ops reconciler_core_ops = {
    .start = core_start,
    .row = core_row,
    .request = core_request,
    .wake = core_wake,
    .round_end = core_round_end,
    .committed = core_committed,
};

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
