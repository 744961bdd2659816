/*
 * ending.c - the end of a try: revoke first, then give up.
 *
 *   FAILED event ──> REVOKING, row to the indexer ──> REVOKED(epoch) ──> GIVING_UP, row to the
 *                    │                                                  gateway ──> GAVE_UP event:
 *                    │                                                  a dead letter
 *                    └─> was READY, deleted, superseded: final, nothing to give up
 *
 * An answer counts only for the epoch that was asked.  What the gateway drops (another epoch began,
 * the revision is over) is forgotten here.  A loss may take a row with it that was asked and not
 * answered, or the promise of the indexer, so after a raise of the era everything that is open is
 * asked again, from the revoke on; asking twice changes nothing.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"
#include "weir/v1/document.pb-c.h"

enum { MESSAGE_BYTES_MAX = 320, ATTEMPT_BYTES_MAX = 200, ATTEMPTS_MAX = 16, AGAIN_SLICE = 200 };

static weir_bytes
key_of(reconciler_core *core, const lifecycle_event *event)
{
    return reconciler_key_ending(&core->key, event->collection_no, event->document_id,
        event->revision);
}

static weir_code
get(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record **ret_ending, weir_error *reterr)
{
    *ret_ending = NULL;
    return weir_stage_get(stage, key_of(core, event),
        &weir__internal__v1__ending_record__descriptor, ret_ending, reterr);
}

static void
drop(reconciler_core *core, weir_stage *stage, const lifecycle_event *event)
{
    WEIR_FP("reconciler.ending.drop");
    weir_assert(core->endings > 0);
    core->endings--;
    weir_batch_delete(weir_stage_batch(stage), key_of(core, event));
}

/* ---- asking ---- */

static row_message
row_of(const lifecycle_event *event)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    row.tenant = event->tenant;
    row.collection_no = event->collection_no;
    row.document_id = event->document_id;
    row.revision = event->revision;
    row.epoch = event->epoch;
    return row;
}

static weir_code
ask_revoke(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record *ending, weir_error *reterr)
{
    Weir__Internal__V1__RevokeRow revoke = WEIR__INTERNAL__V1__REVOKE_ROW__INIT;
    row_message row = row_of(event);

    ending->step = STEP(REVOKING);
    ending->era = weir_stage_era(stage);
    weir_stage_put(stage, key_of(core, event), &ending->base);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE;
    row.revoke = &revoke;
    WEIR_FP_RETURN("reconciler.revoke.before", reterr);
    return weir_stage_send(stage, WEIR_LINK_RECONCILER_INDEXER, &row, NULL, reterr);
}

/* Never inside a character. */
static char *
cut(weir_stage *stage, const char *message, size_t max)
{
    size_t size = strnlen(message, max);

    while (size > 0 && ((uint8_t)message[size] & 0xC0) == 0x80)
        size--;
    return weir_arena_strndup(weir_stage_arena(stage), message, size);
}

/* The gateway keeps at most 4 KiB of it: the first attempt and the last ones are worth most. */
static void
bound_failure(weir_stage *stage, failure_record *failure)
{
    failure->message = cut(stage, failure->message, MESSAGE_BYTES_MAX);
    for (size_t i = 0; i < failure->n_attempts; i++)
        failure->attempts[i]->message =
            cut(stage, failure->attempts[i]->message, ATTEMPT_BYTES_MAX);
    while (failure->n_attempts > ATTEMPTS_MAX ||
        (failure->n_attempts > 1 &&
            weir__internal__v1__failure__get_packed_size(failure) > WEIR_GIVE_UP_BYTES_MAX)) {
        failure->n_attempts--;
        memmove(&failure->attempts[1], &failure->attempts[2],
            (failure->n_attempts - 1) * sizeof(failure->attempts[0]));
    }
}

static weir_code
ask_give_up(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record *ending, weir_error *reterr)
{
    Weir__Internal__V1__GiveUpRow give_up = WEIR__INTERNAL__V1__GIVE_UP_ROW__INIT;
    row_message row = row_of(event);

    if (ending->failure != NULL)
        bound_failure(stage, ending->failure);
    ending->step = STEP(GIVING_UP);
    ending->era = weir_stage_era(stage);
    weir_stage_put(stage, key_of(core, event), &ending->base);
    give_up.failure = ending->failure;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GIVE_UP;
    row.give_up = &give_up;
    WEIR_FP_RETURN("reconciler.give_up.before", reterr);
    return weir_stage_send(stage, WEIR_LINK_RECONCILER_GATEWAY, &row, NULL, reterr);
}

/* ---- events ---- */

/* A stage may say FAILED once for each part of a try; one of them begins its end. */
static weir_code
on_failed(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    ending_record made = WEIR__INTERNAL__V1__ENDING_RECORD__INIT;
    ending_record *ending = NULL;
    bool has_ended = false;
    weir_code code = get(core, stage, event, &ending, reterr);

    if (code == WEIR_OK)
        code = reconciler_has_dead_letter(core, stage, event, &has_ended, reterr);
    if (code != WEIR_OK || has_ended || (ending != NULL && ending->epoch >= event->epoch))
        return code;
    core->endings += ending == NULL;
    made.tenant = event->tenant;
    made.epoch = event->epoch;
    made.failure = event->failure;
    return ask_revoke(core, stage, event, &made, reterr);
}

/* Tries of the revision up to max_epoch need no end any more. */
static weir_code
forget(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, int64_t max_epoch,
    weir_error *reterr)
{
    ending_record *ending = NULL;
    const weir_code code = get(core, stage, event, &ending, reterr);

    if (code == WEIR_OK && ending != NULL && ending->epoch <= max_epoch)
        drop(core, stage, event);
    return code;
}

/* A new try: the ends of those before are over. */
static weir_code
on_accepted(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    if (event->epoch <= 1)
        return WEIR_OK;
    const weir_code code = forget(core, stage, event, event->epoch - 1, reterr);
    return code != WEIR_OK
        ? code
        : reconciler_drop_dead_letter(core, stage, event, event->epoch - 1, reterr);
}

static weir_code
on_gave_up(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    const weir_code code = forget(core, stage, event, event->epoch, reterr);

    return code != WEIR_OK ? code : reconciler_put_dead_letter(core, stage, event, reterr);
}

/* A READY may come late, from an indexer that was lost since: it ends no try after its own.  The
 * gateway is never lost, and what it says is of its present try. */
static weir_code
on_final(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    const weir_code code = forget(core, stage, event, event->epoch, reterr);

    return code != WEIR_OK ? code
                           : reconciler_drop_dead_letter(core, stage, event, event->epoch, reterr);
}

weir_code
reconciler_on_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    switch (event->kind) {
    case LIFECYCLE(ACCEPTED):
        return on_accepted(core, stage, event, reterr);
    case LIFECYCLE(FAILED):
        return on_failed(core, stage, event, reterr);
    case LIFECYCLE(GAVE_UP):
        return on_gave_up(core, stage, event, reterr);
    case LIFECYCLE(READY):
    case LIFECYCLE(SUPERSEDED):
    case LIFECYCLE(DELETED):
        return on_final(core, stage, event, reterr);
    case LIFECYCLE(DROPPED): /* its epoch is the one that was asked for */
        return forget(core, stage, event, event->epoch, reterr);
    case LIFECYCLE(AUDITED):
        return reconciler_on_audited(core, stage, event, reterr);
    case LIFECYCLE(CHUNKED):
    case LIFECYCLE(EMBEDDED):
    case LIFECYCLE(DEFERRED):
    case LIFECYCLE(REVOKED):
    case LIFECYCLE(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__LIFECYCLE_KIND_IS_INT_SIZE:
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* ---- answers of the indexer ---- */

static lifecycle_event
event_of(const row_message *row)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.tenant = row->tenant;
    event.collection_no = row->collection_no;
    event.document_id = row->document_id;
    event.revision = row->revision;
    event.epoch = row->epoch;
    return event;
}

/* The promise joins the journal. */
static weir_code
note_revoked(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    ending_record *ending, weir_error *reterr)
{
    lifecycle_event revoked = *event;

    revoked.kind = LIFECYCLE(REVOKED);
    revoked.time_ms = weir_stage_now_ms(stage);
    revoked.stage = WEIR__V1__STAGE__STAGE_INDEX;
    const weir_code code = reconciler_journal(core, stage, &revoked, reterr);
    return code != WEIR_OK ? code : ask_give_up(core, stage, event, ending, reterr);
}

static weir_code
on_revoked(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    ending_record *ending = NULL;
    const weir_code code = get(core, stage, event, &ending, reterr);

    if (code != WEIR_OK || ending == NULL || ending->step != STEP(REVOKING) ||
        ending->epoch != event->epoch)
        return code;
    return note_revoked(core, stage, event, ending, reterr);
}

/* What has retired the revision is told by others, but of a READY nobody tells again. */
static weir_code
on_too_late(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, bool was_ready,
    weir_error *reterr)
{
    ending_record *ending = NULL;
    const weir_code code = get(core, stage, event, &ending, reterr);

    if (code != WEIR_OK || ending == NULL || ending->epoch != event->epoch)
        return code;
    drop(core, stage, event);
    return was_ready ? reconciler_was_ready(core, stage, event, reterr) : WEIR_OK;
}

weir_code
reconciler_on_revoke_answer(reconciler_core *core, weir_stage *stage, const row_message *row,
    weir_error *reterr)
{
    const lifecycle_event event = event_of(row);

    switch (row->revoke_answer->verdict) {
    case WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_REVOKED:
        return on_revoked(core, stage, &event, reterr);
    case WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_WAS_READY:
        return on_too_late(core, stage, &event, true, reterr);
    case WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_WAS_DELETED:
    case WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_SUPERSEDED:
        return on_too_late(core, stage, &event, false, reterr);
    case WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_UNSPECIFIED:
    case _WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT_IS_INT_SIZE:
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* ---- a later era ---- */

static weir_code
ask_one_again(reconciler_core *core, weir_stage *stage, weir_bytes key, weir_bytes value,
    weir_error *reterr)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;
    ending_record *ending = NULL;
    reconciler_id id;
    const weir_code code =
        weir_stage_get(stage, key, &weir__internal__v1__ending_record__descriptor, &ending,
            reterr); /* as this round sees it */

    (void)value;
    if (code != WEIR_OK || ending == NULL || ending->era >= weir_stage_era(stage))
        return code;
    if (!reconciler_parse_revision(key, 'E', &id))
        return weir_error_set(reterr, WEIR_CORRUPT, "a key of an ending is damaged");
    event.tenant = ending->tenant;
    event.collection_no = id.collection_no;
    event.document_id = (char *)(uintptr_t)id.document_id;
    event.revision = id.revision;
    event.epoch = ending->epoch;
    return ask_revoke(core, stage, &event, ending, reterr);
}

weir_code
reconciler_ask_again(reconciler_core *core, weir_stage *stage, weir_error *reterr)
{
    return reconciler_walk_on(core, stage, &core->again, 'E', AGAIN_SLICE, ask_one_again, reterr);
}
