/*
 * journal.c - every document's last events.
 *
 * An event is appended without a look at the others.  The oldest are cut off when a document says
 * that something is wrong with it, and now and then otherwise: so a document may hold some more
 * than are ever shown, and the common path costs no read.
 */
#include "common/base/hash.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"

enum { TRIM_ONE_IN = 16, TRIM_MAX = 512 };

static weir_iter *
events_of(reconciler_core *core, weir_stage *stage, uint64_t collection_no, const char *document_id,
    uint64_t upper_number)
{
    return weir_batch_iter(weir_stage_batch(stage),
        reconciler_key_event(&core->key, collection_no, document_id, 0),
        reconciler_key_event(&core->range_end, collection_no, document_id, upper_number));
}

/* Numbers of the events beyond those that are kept, some at a time. */
static weir_code
find_surplus(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    uint64_t numbers[TRIM_MAX], size_t *ret_count, weir_error *reterr)
{
    weir_iter *iter = events_of(core, stage, event->collection_no, event->document_id, UINT64_MAX);
    uint32_t kept = 0;

    *ret_count = 0;
    for (bool is_there = weir_iter_last(iter); is_there && *ret_count < TRIM_MAX;
        is_there = weir_iter_prev(iter)) {
        const weir_bytes key = weir_iter_key(iter);

        if (++kept > core->config.journal_events_max)
            numbers[(*ret_count)++] = weir_load_u64(key.data + key.size - 8);
    }
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
trim(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    uint64_t numbers[TRIM_MAX];
    size_t count = 0;
    const weir_code code = find_surplus(core, stage, event, numbers, &count, reterr);

    for (size_t i = 0; i < count; i++)
        weir_batch_delete(weir_stage_batch(stage),
            reconciler_key_event(&core->key, event->collection_no, event->document_id, numbers[i]));
    return code;
}

/* What a good try says, once each: it is the common path, and pays for a look back only sometimes.
 */
static bool
is_common(lifecycle_kind kind)
{
    return kind == LIFECYCLE(ACCEPTED) || kind == LIFECYCLE(CHUNKED) ||
        kind == LIFECYCLE(EMBEDDED) || kind == LIFECYCLE(READY) || kind == LIFECYCLE(SUPERSEDED) ||
        kind == LIFECYCLE(DELETED);
}

static bool
is_due_for_trim(const reconciler_core *core, lifecycle_kind kind)
{
    const weir_bytes number = weir_bytes_of(&core->next_number, sizeof core->next_number);

    return !is_common(kind) || weir_hash64(number, 0) % TRIM_ONE_IN == 0;
}

/* Every attempt has an event of its own, so the list of them is left out. */
static void
put_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *event)
{
    lifecycle_event kept = *event;
    failure_record failure = WEIR__INTERNAL__V1__FAILURE__INIT;

    kept.era = core->row_era;
    if (event->failure != NULL) {
        failure = *event->failure;
        failure.n_attempts = 0;
        failure.attempts = NULL;
        kept.failure = &failure;
    }
    weir_stage_put(stage,
        reconciler_key_event(&core->key, event->collection_no, event->document_id,
            core->next_number),
        &kept.base);
}

weir_code
reconciler_journal(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    put_event(core, stage, event);
    core->next_number++;
    core->number_changed = true;
    core->events_total++;
    return is_due_for_trim(core, event->kind) ? trim(core, stage, event, reterr) : WEIR_OK;
}

/* ---- looking back ---- */

static weir_code
decode_event(weir_stage *stage, weir_bytes key, weir_bytes value, lifecycle_event **ret_event,
    weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__lifecycle_event__descriptor, value,
        NULL, weir_stage_arena(stage), &message, reterr);

    *ret_event = (lifecycle_event *)message;
    return code == WEIR_OK ? WEIR_OK : weir_stage_damaged(stage, key, "LifecycleEvent", reterr);
}

weir_code
reconciler_last_event(reconciler_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, lifecycle_event **ret_event, weir_error *reterr)
{
    weir_iter *iter = events_of(core, stage, collection_no, document_id, UINT64_MAX);
    weir_code code = WEIR_OK;

    *ret_event = NULL;
    if (weir_iter_last(iter))
        code = decode_event(stage, weir_iter_key(iter), weir_iter_value(iter), ret_event, reterr);
    else
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
reconciler_find_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *of,
    lifecycle_kind kind, uint64_t min_era, bool *ret_found, weir_error *reterr)
{
    weir_iter *iter = events_of(core, stage, of->collection_no, of->document_id, UINT64_MAX);
    weir_code code = WEIR_OK;

    *ret_found = false;
    while (code == WEIR_OK && !*ret_found && weir_iter_next(iter)) {
        lifecycle_event *seen = NULL;

        code = decode_event(stage, weir_iter_key(iter), weir_iter_value(iter), &seen, reterr);
        if (code == WEIR_OK)
            *ret_found =
                seen->kind == kind && seen->revision == of->revision && seen->era >= min_era;
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}
