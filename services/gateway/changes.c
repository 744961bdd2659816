/*
 * changes.c - the change log: what WatchDocuments tells, in the order of the numbers.
 *
 * The changes of a round share records of up to 256, because most of what a small record costs is
 * that it is one.  A record is named by its first change; the numbers in it and from record to
 * record are dense.  It is written at the end of the round that made the changes, so in the same
 * batch; a crash leaves whole rounds.
 */
#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum {
    TRIMMED_STEP = 4096,  /* changes beyond those kept before any are forgotten */
    TRIMMED_RECORDS = 64, /* forgotten in one round */
    AGE_CHECK_MS = 10000,
};

void
gateway_log_change(gateway_core *core, weir_stage *stage, const change_record *change)
{
    weir_arena *arena = weir_stage_arena(stage);
    change_record *copy = weir_arena_memdup(arena, change, sizeof *change);

    copy->document_id = weir_arena_strdup(arena, change->document_id);
    if (core->change_count == 0)
        core->first_change_no = core->suite.next_change_no;
    core->changes[core->change_count++] = copy;
    core->suite.next_change_no++;
    core->suite_changed = true;
    core->change_added = true;
    if (core->change_count == ENTRIES_PER_PAGE)
        gateway_put_changes(core, stage);
}

void
gateway_put_changes_record(gateway_core *core, weir_stage *stage, uint64_t first_no,
    change_record **changes, size_t count)
{
    Weir__Internal__V1__ChangesRecord record = WEIR__INTERNAL__V1__CHANGES_RECORD__INIT;

    record.n_changes = count;
    record.changes = changes;
    weir_stage_put(stage, gateway_key_change(&core->key, first_no), &record.base);
}

void
gateway_put_changes(gateway_core *core, weir_stage *stage)
{
    if (core->change_count > 0)
        gateway_put_changes_record(core, stage, core->first_change_no, core->changes,
            core->change_count);
    core->change_count = 0;
}

/* Where the log begins: older changes were trimmed. */
weir_code
gateway_load_change_log(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), gateway_key_change(&core->key, 0),
        gateway_key_change_end(&core->range_end));

    core->trimmed_change_no = weir_iter_next(iter) ? weir_load_u64(weir_iter_key(iter).data + 1)
                                                   : core->suite.next_change_no;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* ---- trimming ---- */

/* The first numbers of the oldest records. */
typedef struct oldest_records {
    uint64_t first_no[TRIMMED_RECORDS + 1];
    size_t count;
} oldest_records;

/* Of the last change in a record. */
static weir_code
last_time(weir_stage *stage, const weir_iter *iter, int64_t *ret_ms, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__changes_record__descriptor,
        weir_iter_value(iter), NULL, weir_stage_arena(stage), &message, reterr);
    const Weir__Internal__V1__ChangesRecord *record =
        (const Weir__Internal__V1__ChangesRecord *)message;

    if (code != WEIR_OK || record->n_changes == 0)
        return weir_stage_damaged(stage, weir_iter_key(iter), "ChangesRecord", reterr);
    *ret_ms = record->changes[record->n_changes - 1]->time_ms;
    return WEIR_OK;
}

/* Up to and with the first that ended at before_ms or later. */
static weir_code
find_oldest(gateway_core *core, weir_stage *stage, int64_t before_ms, oldest_records *ret_oldest,
    weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL,
        gateway_key_change(&core->key, core->trimmed_change_no),
        gateway_key_change_end(&core->range_end));
    int64_t last_ms = INT64_MIN;
    weir_code code = WEIR_OK;

    ret_oldest->count = 0;
    while (code == WEIR_OK && ret_oldest->count <= TRIMMED_RECORDS && last_ms < before_ms &&
        weir_iter_next(iter)) {
        ret_oldest->first_no[ret_oldest->count++] = weir_load_u64(weir_iter_key(iter).data + 1);
        if (before_ms != INT64_MAX)
            code = last_time(stage, iter, &last_ms, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static void
forget(gateway_core *core, weir_stage *stage, const oldest_records *oldest, size_t index)
{
    weir_batch_delete(weir_stage_batch(stage),
        gateway_key_change(&core->key, oldest->first_no[index]));
    core->trimmed_change_no = oldest->first_no[index + 1];
}

/* Whole records below `until`, and the newest stays. */
static weir_code
trim_by_number(gateway_core *core, weir_stage *stage, uint64_t until, weir_error *reterr)
{
    oldest_records oldest;
    const weir_code code = find_oldest(core, stage, INT64_MAX, &oldest, reterr);

    for (size_t i = 0; code == WEIR_OK && i + 1 < oldest.count && oldest.first_no[i + 1] <= until;
        i++)
        forget(core, stage, &oldest, i);
    return code;
}

/* *ret_done false: there is more to forget. */
static weir_code
trim_by_age(gateway_core *core, weir_stage *stage, bool *ret_done, weir_error *reterr)
{
    const int64_t before_ms = weir_stage_now_ms(stage) - (int64_t)core->config.change_log_age_ms;
    oldest_records oldest;
    const weir_code code = find_oldest(core, stage, before_ms, &oldest, reterr);

    for (size_t i = 0; code == WEIR_OK && i + 1 < oldest.count; i++)
        forget(core, stage, &oldest, i);
    *ret_done = oldest.count <= TRIMMED_RECORDS;
    return code;
}

weir_code
gateway_trim_change_log(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    const uint64_t kept = core->config.change_log_entries_max;
    const uint64_t next = core->suite.next_change_no;
    bool is_done = true;

    if (next > kept + TRIMMED_STEP && core->trimmed_change_no < next - kept - TRIMMED_STEP)
        return trim_by_number(core, stage, next - kept, reterr);
    if (now_ms - core->change_age_checked_ms < AGE_CHECK_MS)
        return WEIR_OK;
    const weir_code code = trim_by_age(core, stage, &is_done, reterr);
    if (is_done)
        core->change_age_checked_ms = now_ms;
    return code;
}
