/*
 * unfinished.c - which revisions are not over, the oldest of them, and those that are stuck.
 *
 * ACCEPTED, SUPERSEDED, DELETED and GAVE_UP come over one link, in order.  READY comes over another
 * and may overtake ACCEPTED: then it leaves a mark, which ACCEPTED removes.  READY is final for a
 * revision: a try that was begun because the gateway had not heard of it yet is over with it.
 *
 * The oldest is found by a look over all of them, a slice a round, every few seconds.
 */
#include "common/base/assert.h"
#include "common/base/log.h"
#include "services/reconciler/core_internal.h"
#include "weir/v1/document.pb-c.h"

enum {
    RECORD_SIZE = 33,
    LOOK_PERIOD_MS = 5000,
    LOOK_PERIOD_MAX_MS = 60000,
    LOOK_SHARE = 20, /* a look that takes long comes again after this many times as long */
    LOOK_SLICE = 1000,
    SWEEP_SLICE = 1000,
    NAMED_MAX = 20, /* lines of the log in one look */
    NAME_AGAIN_MS = 3600000,
};

typedef struct unfinished_record {
    int64_t epoch;
    int64_t since_ms;
    uint64_t era; /* of the row that began it: a late one may come after the stage's was raised */
    int64_t reported_ms; /* as stuck; 0: never */
    bool is_over;
} unfinished_record;

/* ---- records ---- */

static weir_code
decode(weir_stage *stage, weir_bytes key, weir_bytes value, unfinished_record *ret_record,
    weir_error *reterr)
{
    if (value.size != RECORD_SIZE)
        return weir_stage_damaged(stage, key, "record of an unfinished revision", reterr);
    *ret_record = (unfinished_record){ .epoch = (int64_t)weir_load_u64(value.data),
        .since_ms = (int64_t)weir_load_u64(value.data + 8),
        .era = weir_load_u64(value.data + 16),
        .reported_ms = (int64_t)weir_load_u64(value.data + 24),
        .is_over = value.data[32] != 0 };
    return WEIR_OK;
}

static weir_code
get(weir_stage *stage, weir_bytes key, unfinished_record *ret_record, bool *ret_found,
    weir_error *reterr)
{
    weir_buffer value = { 0 };
    weir_code code = weir_batch_get(weir_stage_batch(stage), key, &value, ret_found, reterr);

    if (code == WEIR_OK && *ret_found)
        code = decode(stage, key, weir_buffer_view(&value), ret_record, reterr);
    weir_buffer_fini(&value);
    return code;
}

static void
put(weir_stage *stage, weir_bytes key, const unfinished_record *record)
{
    uint8_t value[RECORD_SIZE];

    weir_store_u64(value, (uint64_t)record->epoch);
    weir_store_u64(value + 8, (uint64_t)record->since_ms);
    weir_store_u64(value + 16, record->era);
    weir_store_u64(value + 24, (uint64_t)record->reported_ms);
    value[32] = record->is_over;
    weir_batch_put(weir_stage_batch(stage), key, weir_bytes_of(value, sizeof value));
}

static void
drop(reconciler_core *core, weir_stage *stage, weir_bytes key, const unfinished_record *record)
{
    weir_assert(record->is_over || core->unfinished > 0);
    core->unfinished -= !record->is_over;
    weir_batch_delete(weir_stage_batch(stage), key);
}

static weir_bytes
key_of(reconciler_core *core, const lifecycle_event *event)
{
    return reconciler_key_unfinished(&core->key, event->collection_no, event->document_id,
        event->revision);
}

/* ---- events ---- */

/* READY before its ACCEPTED; or READY once more, of which nothing is left to say. */
static weir_code
mark_over(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    const unfinished_record record = { .epoch = event->epoch,
        .since_ms = event->time_ms,
        .era = core->row_era,
        .is_over = true };
    bool was_accepted = false;
    const weir_code code =
        reconciler_find_event(core, stage, event, LIFECYCLE(ACCEPTED), 0, &was_accepted, reterr);

    if (code == WEIR_OK && !was_accepted)
        put(stage, key_of(core, event), &record);
    return code;
}

weir_code
reconciler_was_ready(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    unfinished_record record = { .epoch = 0 };
    bool found = false;
    const weir_code code = get(stage, key_of(core, event), &record, &found, reterr);

    if (code != WEIR_OK)
        return code;
    if (!found)
        return mark_over(core, stage, event, reterr);
    /* A READY of an earlier try ends the present one too, unless it is of an earlier era: an
     * indexer that was lost since may have said it. */
    if (!record.is_over && (event->epoch >= record.epoch || core->row_era >= record.era))
        drop(core, stage, key_of(core, event), &record);
    return WEIR_OK;
}

/* The gateway ends it, in the order in which it began it. */
static weir_code
finish(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    unfinished_record record = { .epoch = 0 };
    bool found = false;
    const weir_code code = get(stage, key_of(core, event), &record, &found, reterr);

    if (code == WEIR_OK && found)
        drop(core, stage, key_of(core, event), &record);
    return code;
}

static void
begin(reconciler_core *core, weir_stage *stage, const lifecycle_event *event)
{
    const unfinished_record record = { .epoch = event->epoch,
        .since_ms = event->time_ms,
        .era = core->row_era };

    if (core->unfinished++ == 0)
        core->oldest_since_ms = event->time_ms;
    put(stage, key_of(core, event), &record);
}

/* A later try of a revision of which nothing is open: the gateway had not heard of its READY, if
 * that is of this era; otherwise an indexer was lost, and the revision is to come back. */
static weir_code
begin_later(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    bool was_ready = false;
    const weir_code code = reconciler_find_event(core, stage, event, LIFECYCLE(READY),
        core->row_era, &was_ready, reterr);

    if (code == WEIR_OK && !was_ready)
        begin(core, stage, event);
    return code;
}

static weir_code
on_accepted(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    unfinished_record record = { .epoch = 0 };
    bool found = false;
    const weir_code code = get(stage, key_of(core, event), &record, &found, reterr);

    if (code != WEIR_OK || (found && !record.is_over && record.epoch >= event->epoch))
        return code;
    if (found)
        drop(core, stage, key_of(core, event), &record);
    if (found && record.is_over && (record.epoch >= event->epoch || record.era >= core->row_era))
        return WEIR_OK;
    if (!found && event->epoch > 1)
        return begin_later(core, stage, event, reterr);
    begin(core, stage, event);
    return WEIR_OK;
}

/* By the gateway's record, which an audit has told. */
static bool
is_over_there(const lifecycle_event *event)
{
    return event->recorded_state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PENDING &&
        event->recorded_state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PROCESSING;
}

/* What the gateway says of a READY comes behind its own ACCEPTED, so it is never too early. */
static bool
is_of_gateway(const lifecycle_event *event)
{
    return event->stage == WEIR__V1__STAGE__STAGE_ACCEPT;
}

weir_code
reconciler_track(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    switch (event->kind) {
    case LIFECYCLE(ACCEPTED):
        return on_accepted(core, stage, event, reterr);
    case LIFECYCLE(READY):
        return is_of_gateway(event) ? finish(core, stage, event, reterr)
                                    : reconciler_was_ready(core, stage, event, reterr);
    case LIFECYCLE(SUPERSEDED):
    case LIFECYCLE(DELETED):
    case LIFECYCLE(GAVE_UP):
        return finish(core, stage, event, reterr);
    case LIFECYCLE(AUDITED):
        return is_over_there(event) ? finish(core, stage, event, reterr) : WEIR_OK;
    case LIFECYCLE(CHUNKED):
    case LIFECYCLE(EMBEDDED):
    case LIFECYCLE(DEFERRED):
    case LIFECYCLE(FAILED):
    case LIFECYCLE(DROPPED):
    case LIFECYCLE(REVOKED):
    case LIFECYCLE(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__LIFECYCLE_KIND_IS_INT_SIZE:
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* ---- stuck ---- */

static void
log_stuck(const reconciler_id *id, const unfinished_record *record, const lifecycle_event *last,
    int64_t now_ms)
{
    const ProtobufCEnumValue *stage =
        protobuf_c_enum_descriptor_get_value(&weir__v1__stage__descriptor,
            last != NULL ? (int)last->stage : 0);
    const ProtobufCEnumValue *kind =
        protobuf_c_enum_descriptor_get_value(&weir__internal__v1__lifecycle_kind__descriptor,
            last != NULL ? (int)last->kind : 0);

    weir_log(WEIR_LOG_WARN, "document.stuck", WEIR_STR("tenant", last != NULL ? last->tenant : ""),
        WEIR_INT("collection_no", id->collection_no), WEIR_STR("document_id", id->document_id),
        WEIR_INT("revision", id->revision), WEIR_INT("run", record->epoch),
        WEIR_STR("stage", stage != NULL ? stage->name : ""),
        WEIR_STR("last_event", kind != NULL ? kind->name : ""),
        WEIR_INT("age_s", (now_ms - record->since_ms) / 1000));
}

static bool
is_older(const reconciler_core *core, int64_t time_ms, int64_t now_ms)
{
    return core->config.stuck_after_ms != 0 && now_ms > time_ms &&
        (uint64_t)(now_ms - time_ms) > core->config.stuck_after_ms;
}

static bool
may_name(const reconciler_core *core, const unfinished_record *record, int64_t now_ms)
{
    const bool was_lately = record->reported_ms != 0 && record->reported_ms <= now_ms &&
        now_ms - record->reported_ms < NAME_AGAIN_MS;

    return !was_lately && core->look.named < NAMED_MAX;
}

/* Name it, unless this very round has ended or begun it again. */
static weir_code
name_stuck(reconciler_core *core, weir_stage *stage, const reconciler_id *id,
    const unfinished_record *seen, const lifecycle_event *last, weir_error *reterr)
{
    const weir_bytes key =
        reconciler_key_unfinished(&core->key, id->collection_no, id->document_id, id->revision);
    unfinished_record record = { .epoch = 0 };
    bool found = false;
    const weir_code code = get(stage, key, &record, &found, reterr);

    if (code != WEIR_OK || !found || record.is_over || record.epoch != seen->epoch)
        return code;
    record.reported_ms = weir_stage_now_ms(stage);
    put(stage, key, &record);
    core->look.named++;
    log_stuck(id, &record, last, record.reported_ms);
    return WEIR_OK;
}

static weir_code
judge(reconciler_core *core, weir_stage *stage, weir_bytes key, const unfinished_record *record,
    weir_error *reterr)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    reconciler_id id;
    lifecycle_event *last = NULL;

    if (!is_older(core, record->since_ms, now_ms))
        return WEIR_OK;
    if (!reconciler_parse_revision(key, 'U', &id))
        return weir_error_set(reterr, WEIR_CORRUPT, "a key of an unfinished revision is damaged");
    const weir_code code =
        reconciler_last_event(core, stage, id.collection_no, id.document_id, &last, reterr);
    if (code != WEIR_OK || (last != NULL && !is_older(core, last->time_ms, now_ms)))
        return code;
    core->look.stuck++;
    return may_name(core, record, now_ms) ? name_stuck(core, stage, &id, record, last, reterr)
                                          : WEIR_OK;
}

/* ---- the look ---- */

static weir_code
look_at(reconciler_core *core, weir_stage *stage, weir_bytes key, weir_bytes value,
    weir_error *reterr)
{
    reconciler_look *look = &core->look;
    unfinished_record record = { .epoch = 0 };
    const weir_code code = decode(stage, key, value, &record, reterr);

    if (code != WEIR_OK || record.is_over)
        return code;
    if (look->oldest_ms == 0 || record.since_ms < look->oldest_ms)
        look->oldest_ms = record.since_ms;
    return judge(core, stage, key, &record, reterr);
}

static void
end_look(reconciler_core *core, int64_t now_ms)
{
    reconciler_look *look = &core->look;
    int64_t period_ms = LOOK_SHARE * (now_ms - look->begun_ms);

    if (period_ms < LOOK_PERIOD_MS)
        period_ms = LOOK_PERIOD_MS;
    if (period_ms > LOOK_PERIOD_MAX_MS)
        period_ms = LOOK_PERIOD_MAX_MS;
    look->next_ms = now_ms + period_ms;
    core->oldest_since_ms = look->oldest_ms;
    core->stuck = look->stuck;
}

weir_code
reconciler_look_on(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    reconciler_look *look = &core->look;
    const int64_t now_ms = weir_stage_now_ms(stage);

    if (!look->walk.is_active) {
        if (core->unfinished == 0 || look->next_ms > now_ms)
            return WEIR_OK;
        look->oldest_ms = 0;
        look->stuck = 0;
        look->named = 0;
        look->begun_ms = now_ms;
        reconciler_walk_begin(&look->walk, stage);
    }
    const weir_code code =
        reconciler_walk_on(core, stage, &look->walk, 'U', LOOK_SLICE, look_at, reterr);
    if (code == WEIR_OK && !look->walk.is_active)
        end_look(core, now_ms);
    return code;
}

void
reconciler_plan_look(reconciler_core *core, weir_stage *stage)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    reconciler_look *look = &core->look;

    if (look->walk.is_active || core->unfinished == 0)
        return;
    if (look->next_ms > now_ms + LOOK_PERIOD_MAX_MS) /* the clock was set back */
        look->next_ms = now_ms + LOOK_PERIOD_MS;
    weir_stage_wake_at(stage, look->next_ms > now_ms ? look->next_ms : now_ms);
}

/* ---- after a seeding ---- */

/* What is unfinished at the gateway was driven again in this era or will be, and comes again. */
static weir_code
sweep(reconciler_core *core, weir_stage *stage, weir_bytes key, weir_bytes value,
    weir_error *reterr)
{
    unfinished_record record = { .epoch = 0 };
    bool found = false;
    weir_code code = decode(stage, key, value, &record, reterr);

    if (code != WEIR_OK || record.era >= core->seeded_era)
        return code;
    code = get(stage, key, &record, &found, reterr); /* as this round sees it */
    if (code == WEIR_OK && found && record.era < core->seeded_era)
        drop(core, stage, key, &record);
    return code;
}

weir_code
reconciler_sweep_unfinished(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    return reconciler_walk_on(core, stage, &core->sweep_unfinished, 'U', SWEEP_SLICE, sweep,
        reterr);
}
