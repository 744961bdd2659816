/*
 * journal.c - every document's last events, and which revisions are not over.
 *
 * Events of one link come in order, those of different links do not: READY may come before ACCEPTED.  So a try that ended
 * first leaves a mark, which its ACCEPTED removes.
 */
#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"

enum { UNFINISHED_SIZE = 17, OLDEST_PERIOD_MS = 5000, OLDEST_SCAN_MAX = 100000 };

/* ---- events ---- */

/* Keep the newest events of a document that has many (retries, outages). */
static weir_code
trim_events(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    weir_buffer upper = { 0 };
    const weir_bytes lower = reconciler_key_event(&core->key, event->collection_no, event->document_id, 0);
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), lower,
        reconciler_key_event(&upper, event->collection_no, event->document_id, UINT64_MAX));
    uint32_t kept = 0;
    uint64_t cut_number = 0;

    for (bool is_there = weir_iter_last(iter); is_there && cut_number == 0; is_there = weir_iter_prev(iter))
        if (++kept > core->config.journal_events_max)
            cut_number = weir_load_u64(weir_iter_key(iter).data + weir_iter_key(iter).size - 8);
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&upper);
    if (code == WEIR_OK && cut_number != 0)
        weir_batch_delete(weir_stage_batch(stage),
            reconciler_key_event(&core->key, event->collection_no, event->document_id, cut_number));
    return code;
}

static bool
may_repeat(const lifecycle_event *event)
{
    return event->kind == LIFECYCLE(DEFERRED) || event->epoch > 1 || event->revision > 8;
}

/* ---- what is not over ---- */

static bool
ends_a_revision(Weir__Internal__V1__LifecycleKind kind)
{
    return kind == LIFECYCLE(READY) || kind == LIFECYCLE(SUPERSEDED) || kind == LIFECYCLE(DELETED) ||
        kind == LIFECYCLE(GAVE_UP);
}

static void
put_unfinished(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, bool is_over)
{
    uint8_t value[UNFINISHED_SIZE];

    weir_store_u64(value, (uint64_t)event->epoch);
    weir_store_u64(value + 8, (uint64_t)event->time_ms);
    value[16] = is_over;
    weir_batch_put(weir_stage_batch(stage),
        reconciler_key_unfinished(&core->key, event->collection_no, event->document_id, event->revision),
        weir_bytes_of(value, sizeof value));
}

static void
drop_unfinished(reconciler_core *core, weir_stage *stage, const lifecycle_event *event)
{
    weir_batch_delete(weir_stage_batch(stage),
        reconciler_key_unfinished(&core->key, event->collection_no, event->document_id, event->revision));
}

static weir_code
track(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    const weir_code code = weir_batch_get(weir_stage_batch(stage),
        reconciler_key_unfinished(&core->key, event->collection_no, event->document_id, event->revision), &value,
        &found, reterr);
    const bool is_whole = found && value.size == UNFINISHED_SIZE;
    const int64_t epoch = is_whole ? (int64_t)weir_load_u64(value.data) : 0;
    const bool is_over = is_whole && value.data[16] != 0;
    weir_buffer_fini(&value);
    if (code != WEIR_OK)
        return code;
    if (ends_a_revision(event->kind)) {
        if (is_whole && !is_over && epoch <= event->epoch) {
            core->unfinished--;
            drop_unfinished(core, stage, event);
        } else if (!is_whole) {
            put_unfinished(core, stage, event, true);
        }
        return WEIR_OK;
    }
    if (event->kind != LIFECYCLE(ACCEPTED) || (is_whole && !is_over && epoch >= event->epoch))
        return WEIR_OK;
    if (is_over && epoch >= event->epoch) {
        drop_unfinished(core, stage, event);
        return WEIR_OK;
    }
    core->unfinished += !is_whole || is_over;
    put_unfinished(core, stage, event, false);
    return WEIR_OK;
}

weir_code
reconciler_journal(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    weir_stage_put(stage,
        reconciler_key_event(&core->key, event->collection_no, event->document_id, core->next_number), &event->base);
    core->next_number++;
    core->number_changed = true;
    core->events_total++;
    const weir_code code = track(core, stage, event, reterr);
    return code != WEIR_OK || !may_repeat(event) ? code : trim_events(core, stage, event, reterr);
}

/* The oldest accepted revision that is not over, looked up at most every few seconds over a bounded number. */
weir_code
reconciler_find_oldest(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    const uint8_t lower[] = { 'U' };
    const uint8_t upper[] = { 'U' + 1 };
    const int64_t now_ms = weir_stage_now_ms(stage);
    int64_t oldest_ms = 0;
    uint32_t left = OLDEST_SCAN_MAX;

    if (now_ms - core->oldest_checked_ms < OLDEST_PERIOD_MS && now_ms >= core->oldest_checked_ms)
        return WEIR_OK;
    core->oldest_checked_ms = now_ms;
    core->oldest_since_ms = 0;
    if (core->unfinished == 0)
        return WEIR_OK;
    weir_stage_wake_at(stage, now_ms + OLDEST_PERIOD_MS);
    weir_iter *iter =
        weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    while (left-- > 0 && weir_iter_next(iter)) {
        const weir_bytes value = weir_iter_value(iter);
        const int64_t since_ms = value.size == UNFINISHED_SIZE ? (int64_t)weir_load_u64(value.data + 8) : 0;

        if (since_ms != 0 && value.data[16] == 0 && (oldest_ms == 0 || since_ms < oldest_ms))
            oldest_ms = since_ms;
    }
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    core->oldest_since_ms = oldest_ms;
    return code;
}

static weir_code
count_range(weir_stage *stage, char tag, size_t over_at, uint64_t *ret_count, weir_error *reterr)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter =
        weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));

    *ret_count = 0;
    while (weir_iter_next(iter)) {
        const weir_bytes value = weir_iter_value(iter);
        *ret_count += over_at == 0 || value.size <= over_at || value.data[over_at] == 0;
    }
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
reconciler_count_records(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_code code = count_range(stage, 'L', 0, &core->dead_letters, reterr);

    if (code == WEIR_OK)
        code = count_range(stage, 'E', 0, &core->endings, reterr);
    if (code == WEIR_OK)
        code = count_range(stage, 'U', 16, &core->unfinished, reterr);
    return code;
}
