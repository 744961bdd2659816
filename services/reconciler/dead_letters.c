/*
 * dead_letters.c - what FAILED, until a retry, a newer revision or a delete ends that; and the
 * seeds that bring it back after a loss.
 *
 * A dead letter is made by GAVE_UP and ended by what follows on the same link, so it never
 * disagrees with the gateway for longer than an event takes.  A seeding lists all that is FAILED:
 * what stands here by a row of an earlier era and is not in it is forgotten, for its end was lost
 * with this volume.
 *
 * Beside each stands its place in the order of time ('T'), put and deleted in the same batch.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"
#include "weir/v1/document.pb-c.h"

enum { SWEEP_SLICE = 500 };

static weir_bytes
key_of(reconciler_core *core, const lifecycle_event *event)
{
    return reconciler_key_dead_letter(&core->key, event->tenant, event->collection_no,
        event->document_id, event->revision);
}

static weir_code
get(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record **ret_record, weir_error *reterr)
{
    *ret_record = NULL;
    return weir_stage_get(stage, key_of(core, event),
        &weir__internal__v1__ending_record__descriptor, ret_record, reterr);
}

weir_code
reconciler_has_dead_letter(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    bool *ret_has, weir_error *reterr)
{
    ending_record *found = NULL;
    const weir_code code = get(core, stage, event, &found, reterr);

    *ret_has = code == WEIR_OK && found != NULL && found->epoch >= event->epoch;
    return code;
}

static weir_bytes
order_of(reconciler_core *core, const reconciler_id *id, const ending_record *record)
{
    return reconciler_key_order(&core->range_end, id->tenant,
        record->failure != NULL ? record->failure->time_ms : 0, id->collection_no, id->document_id,
        id->revision);
}

static reconciler_id
id_of(const lifecycle_event *event)
{
    return (reconciler_id){ .tenant = event->tenant,
        .collection_no = event->collection_no,
        .document_id = event->document_id,
        .revision = event->revision };
}

static void
drop(reconciler_core *core, weir_stage *stage, weir_bytes key, const ending_record *record)
{
    reconciler_id id;
    const bool is_whole = reconciler_parse_dead_letter(key, &id);

    WEIR_FP("reconciler.dead_letter.drop");
    weir_assert(core->dead_letters > 0 && is_whole);
    core->dead_letters--;
    weir_batch_delete(weir_stage_batch(stage), order_of(core, &id, record));
    weir_batch_delete(weir_stage_batch(stage), key);
}

weir_code
reconciler_drop_dead_letter(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    int64_t max_epoch, weir_error *reterr)
{
    ending_record *found = NULL;
    const weir_code code = get(core, stage, event, &found, reterr);

    if (code == WEIR_OK && found != NULL && found->epoch <= max_epoch)
        drop(core, stage, key_of(core, event), found);
    return code;
}

/* ---- made ---- */

/* The one line about a document that ends here. */
static void
log_made(const lifecycle_event *event, const failure_record *failure)
{
    const ProtobufCEnumValue *stage =
        protobuf_c_enum_descriptor_get_value(&weir__v1__stage__descriptor, (int)failure->stage);

    weir_log(WEIR_LOG_WARN, "document.dead_lettered", WEIR_STR("tenant", event->tenant),
        WEIR_STR("collection_id", event->collection_id),
        WEIR_STR("document_id", event->document_id), WEIR_INT("revision", event->revision),
        WEIR_INT("run", event->epoch), WEIR_STR("stage", stage != NULL ? stage->name : ""),
        WEIR_STR("reason", weir_code_name((weir_code)failure->code)),
        WEIR_INT("attempts", failure->attempt_count), WEIR_STR("message", failure->message));
}

/* `old`: the one whose place it takes, or NULL. */
static void
put(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, failure_record *failure,
    const ending_record *old)
{
    ending_record record = WEIR__INTERNAL__V1__ENDING_RECORD__INIT;
    const reconciler_id id = id_of(event);

    core->dead_letters += old == NULL;
    if (old != NULL)
        weir_batch_delete(weir_stage_batch(stage), order_of(core, &id, old));
    record.step = STEP(FAILED);
    record.tenant = event->tenant;
    record.epoch = event->epoch;
    record.era = core->row_era;
    record.failure = failure;
    record.first_failure_time_ms =
        failure->n_attempts > 0 ? failure->attempts[0]->time_ms : failure->time_ms;
    record.collection_id = event->collection_id;
    record.size_bytes = event->size_bytes;
    record.content_sha256 = event->content_sha256;
    weir_stage_put(stage, key_of(core, event), &record.base);
    weir_batch_put(weir_stage_batch(stage), order_of(core, &id, &record), weir_bytes_of("", 0));
}

/* It stands in the era of the row too. */
static void
confirm(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record *found)
{
    found->era = core->row_era;
    weir_stage_put(stage, key_of(core, event), &found->base);
}

weir_code
reconciler_put_dead_letter(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    failure_record unknown = WEIR__INTERNAL__V1__FAILURE__INIT;
    failure_record *failure = event->failure != NULL ? event->failure : &unknown;
    ending_record *found = NULL;
    const weir_code code = get(core, stage, event, &found, reterr);

    if (code != WEIR_OK)
        return code;
    if (found != NULL && found->epoch >= event->epoch) {
        confirm(core, stage, event, found);
        return WEIR_OK;
    }
    WEIR_FP_RETURN("reconciler.dead_letter.before", reterr);
    core->dead_lettered_total++;
    put(core, stage, event, failure, found);
    log_made(event, failure);
    WEIR_FP_RETURN("reconciler.dead_letter.after", reterr);
    return WEIR_OK;
}

/* ---- seeds ---- */

static lifecycle_event
event_of(const Weir__Internal__V1__SeedEntry *entry)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.tenant = entry->tenant;
    event.collection_no = entry->collection_no;
    event.document_id = entry->document_id;
    event.revision = entry->failed_revision;
    event.epoch = entry->failed_epoch;
    event.failure = entry->failure;
    event.collection_id = entry->collection_id;
    event.size_bytes = entry->size_bytes;
    event.content_sha256 = entry->content_sha256;
    return event;
}

/* What is known of it here is not less than what a seed says. */
static weir_code
seed_entry(reconciler_core *core, weir_stage *stage, const Weir__Internal__V1__SeedEntry *entry,
    weir_error *reterr)
{
    const lifecycle_event event = event_of(entry);
    failure_record unknown = WEIR__INTERNAL__V1__FAILURE__INIT;
    ending_record *found = NULL;
    const weir_code code = get(core, stage, &event, &found, reterr);

    if (code != WEIR_OK)
        return code;
    if (found == NULL || found->epoch < event.epoch) {
        put(core, stage, &event, event.failure != NULL ? event.failure : &unknown, found);
        return WEIR_OK;
    }
    confirm(core, stage, &event, found);
    return WEIR_OK;
}

static void
put_seeds(reconciler_core *core, weir_stage *stage)
{
    uint8_t value[16];

    weir_store_u64(value, core->seeded_era);
    weir_store_u64(value + 8, core->swept_era);
    weir_batch_put(weir_stage_batch(stage), reconciler_key_seeds(&core->key),
        weir_bytes_of(value, sizeof value));
}

static void
end_seeding(reconciler_core *core, weir_stage *stage, uint64_t era)
{
    core->seeded_era = era;
    core->sweep_is_due = true;
    put_seeds(core, stage);
    weir_log(WEIR_LOG_INFO, "seeds.taken", WEIR_INT("era", era),
        WEIR_INT("dead_letters", core->dead_letters));
}

weir_code
reconciler_on_seed(reconciler_core *core, weir_stage *stage, const row_message *row,
    weir_error *reterr)
{
    weir_code code = WEIR_FP_CODE("reconciler.seed.before", reterr);

    for (size_t i = 0; i < row->seed->n_entries && code == WEIR_OK; i++) {
        const Weir__Internal__V1__SeedEntry *entry = row->seed->entries[i];

        if (entry->failed_revision > 0 && entry->collection_no > 0)
            code = seed_entry(core, stage, entry, reterr);
    }
    if (code == WEIR_OK && row->seed->done && row->era > core->seeded_era)
        end_seeding(core, stage, row->era);
    return code;
}

weir_code
reconciler_load_seeds(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code = weir_batch_get(weir_stage_batch(stage), reconciler_key_seeds(&core->key),
        &value, &found, reterr);

    if (code == WEIR_OK && found && value.size != 16)
        code = weir_error_set(reterr, WEIR_CORRUPT, "the record of seeds has %zu bytes, not 16",
            value.size);
    if (code == WEIR_OK && found) {
        core->seeded_era = weir_load_u64(value.data);
        core->swept_era = weir_load_u64(value.data + 8);
    }
    weir_buffer_fini(&value);
    if (code == WEIR_OK && core->swept_era < core->seeded_era) {
        reconciler_walk_begin(&core->sweep_dead_letters, stage);
        reconciler_walk_begin(&core->sweep_unfinished, stage);
    }
    return code;
}

/* ---- the order of time ---- */

static weir_code
put_orders(reconciler_core *core, weir_stage *stage, weir_iter *iter, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        ending_record *record = NULL;
        reconciler_id id;

        code = weir_stage_get(stage, weir_iter_key(iter),
            &weir__internal__v1__ending_record__descriptor, &record, reterr);
        if (code == WEIR_OK && !reconciler_parse_dead_letter(weir_iter_key(iter), &id))
            code = weir_error_set(reterr, WEIR_CORRUPT, "the key of a dead letter is damaged");
        if (code == WEIR_OK)
            weir_batch_put(weir_stage_batch(stage), order_of(core, &id, record),
                weir_bytes_of("", 0));
    }
    return code == WEIR_OK ? weir_iter_status(iter, reterr) : code;
}

/* Once in the life of a database that schema 1 wrote. */
weir_code
reconciler_order_dead_letters(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    static const uint8_t is_whole = 1;
    weir_buffer value = { 0 };
    bool found = false;
    weir_code code = weir_batch_get(weir_stage_batch(stage),
        reconciler_key_order_is_whole(&core->key), &value, &found, reterr);

    weir_buffer_fini(&value);
    if (code != WEIR_OK || found)
        return code;
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL,
        reconciler_key_dead_letters(&core->key, NULL, 0), weir_bytes_str("M"));
    code = put_orders(core, stage, iter, reterr);
    weir_iter_destroy(&iter);
    if (code == WEIR_OK)
        weir_batch_put(weir_stage_batch(stage), reconciler_key_order_is_whole(&core->key),
            weir_bytes_of(&is_whole, 1));
    return code;
}

/* ---- the sweep ---- */

static weir_code
sweep_one(reconciler_core *core, weir_stage *stage, weir_bytes key, weir_bytes value,
    weir_error *reterr)
{
    ending_record *found = NULL;
    const weir_code code = weir_stage_get(stage, key,
        &weir__internal__v1__ending_record__descriptor, &found, reterr); /* as this round sees it */

    (void)value;
    if (code == WEIR_OK && found != NULL && found->era < core->seeded_era)
        drop(core, stage, key, found);
    return code;
}

weir_code
reconciler_sweep(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (core->sweep_dead_letters.is_active)
        code = reconciler_walk_on(core, stage, &core->sweep_dead_letters, 'L', SWEEP_SLICE,
            sweep_one, reterr);
    if (code == WEIR_OK && core->sweep_unfinished.is_active)
        code = reconciler_sweep_unfinished(core, stage, reterr);
    if (code != WEIR_OK || core->sweep_is_due || core->sweep_dead_letters.is_active ||
        core->sweep_unfinished.is_active || core->swept_era == core->seeded_era)
        return code;
    core->swept_era = core->seeded_era;
    put_seeds(core, stage);
    return WEIR_OK;
}
