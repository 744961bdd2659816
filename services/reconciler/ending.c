/*
 * ending.c - the end of a try: revoke first, then give up; and the dead letters.
 *
 *   FAILED event ──> REVOKING, row to the indexer ──> REVOKED(epoch) ──> GIVING_UP, row to the gateway ──> GAVE_UP event
 *                                                 └─> was READY, deleted, superseded: final, nothing to give up
 *
 * An answer counts only for the epoch that was asked.  What the gateway drops (another epoch began) is forgotten here.
 */
#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"

enum { MESSAGE_BYTES_MAX = 200 };

static weir_bytes
ending_key(reconciler_core *core, const lifecycle_event *event)
{
    return reconciler_key_ending(&core->key, event->collection_no, event->document_id, event->revision);
}

static weir_code
get_ending(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, ending_record **ret_ending,
    weir_error *reterr)
{
    *ret_ending = NULL;
    return weir_stage_get(stage, ending_key(core, event), &weir__internal__v1__ending_record__descriptor, ret_ending,
        reterr);
}

static void
drop_ending(reconciler_core *core, weir_stage *stage, const lifecycle_event *event)
{
    weir_assert(core->endings > 0);
    core->endings--;
    weir_batch_delete(weir_stage_batch(stage), ending_key(core, event));
}

/* ---- dead letters ---- */

static weir_bytes
dead_letter_key(reconciler_core *core, const lifecycle_event *event)
{
    return reconciler_key_dead_letter(&core->key, event->tenant, event->collection_no, event->document_id,
        event->revision);
}

static weir_code
drop_dead_letter(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    ending_record *found = NULL;
    const weir_code code = weir_stage_get(stage, dead_letter_key(core, event),
        &weir__internal__v1__ending_record__descriptor, &found, reterr);

    /* A late event of an older try does not touch the dead letter of a newer one. */
    if (code != WEIR_OK || found == NULL || found->epoch > event->epoch)
        return code;
    core->dead_letters--;
    weir_batch_delete(weir_stage_batch(stage), dead_letter_key(core, event));
    return WEIR_OK;
}

static weir_code
put_dead_letter(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    ending_record record = WEIR__INTERNAL__V1__ENDING_RECORD__INIT;
    failure_record unknown = WEIR__INTERNAL__V1__FAILURE__INIT;
    ending_record *found = NULL;
    const weir_code code = weir_stage_get(stage, dead_letter_key(core, event),
        &weir__internal__v1__ending_record__descriptor, &found, reterr);

    if (code != WEIR_OK)
        return code;
    record.step = WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_FAILED;
    record.epoch = event->epoch;
    record.failure = event->failure != NULL ? event->failure : &unknown;
    record.first_failure_time_ms =
        record.failure->n_attempts > 0 ? record.failure->attempts[0]->time_ms : record.failure->time_ms;
    record.collection_id = event->collection_id;
    record.size_bytes = event->size_bytes;
    record.content_sha256 = event->content_sha256;
    core->dead_letters += found == NULL;
    weir_stage_put(stage, dead_letter_key(core, event), &record.base);
    return WEIR_OK;
}

/* ---- revoke ---- */

static void
address_row(const lifecycle_event *event, row_message *row)
{
    row->tenant = event->tenant;
    row->collection_no = event->collection_no;
    row->document_id = event->document_id;
    row->revision = event->revision;
    row->epoch = event->epoch;
}

static weir_code
begin_revoke(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    ending_record ending = WEIR__INTERNAL__V1__ENDING_RECORD__INIT;
    Weir__Internal__V1__RevokeRow revoke = WEIR__INTERNAL__V1__REVOKE_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    ending.step = WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_REVOKING;
    ending.epoch = event->epoch;
    ending.failure = event->failure;
    weir_stage_put(stage, ending_key(core, event), &ending.base);
    address_row(event, &row);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE;
    row.revoke = &revoke;
    return weir_stage_send(stage, WEIR_LINK_RECONCILER_INDEXER, &row, NULL, reterr);
}

static weir_code
on_failed(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    ending_record *ending = NULL;
    const weir_code code = get_ending(core, stage, event, &ending, reterr);

    if (code != WEIR_OK || (ending != NULL && ending->epoch >= event->epoch))
        return code;
    core->endings += ending == NULL;
    return begin_revoke(core, stage, event, reterr);
}

/* The try of the event, and every older one of its revision, needs no end any more. */
static weir_code
forget_ending(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, int64_t below_epoch,
    weir_error *reterr)
{
    ending_record *ending = NULL;
    const weir_code code = get_ending(core, stage, event, &ending, reterr);

    if (code == WEIR_OK && ending != NULL && ending->epoch < below_epoch)
        drop_ending(core, stage, event);
    return code;
}

static weir_code
forget_all(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    const weir_code code = forget_ending(core, stage, event, INT64_MAX, reterr);

    return code != WEIR_OK ? code : drop_dead_letter(core, stage, event, reterr);
}

static weir_code
on_gave_up(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    const weir_code code = forget_ending(core, stage, event, event->epoch + 1, reterr);

    core->given_up_total++;
    return code != WEIR_OK ? code : put_dead_letter(core, stage, event, reterr);
}

/* A new epoch: the dead letter and the endings of older ones are over. */
static weir_code
on_accepted(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
{
    if (event->epoch <= 1)
        return WEIR_OK;
    const weir_code code = forget_ending(core, stage, event, event->epoch, reterr);
    return code != WEIR_OK ? code : drop_dead_letter(core, stage, event, reterr);
}

weir_code
reconciler_on_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, weir_error *reterr)
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
        return forget_all(core, stage, event, reterr);
    case LIFECYCLE(DROPPED):
        return forget_ending(core, stage, event, event->epoch + 1, reterr);
    case LIFECYCLE(CHUNKED):
    case LIFECYCLE(EMBEDDED):
    case LIFECYCLE(DEFERRED):
    case LIFECYCLE(UNSPECIFIED):
    case _WEIR__INTERNAL__V1__LIFECYCLE_KIND_IS_INT_SIZE:
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* ---- give up ---- */

static char *
cut(weir_stage *stage, const char *message)
{
    size_t size = strnlen(message, MESSAGE_BYTES_MAX);

    while (size > 0 && ((uint8_t)message[size] & 0xC0) == 0x80) /* never inside a UTF-8 sequence */
        size--;
    return weir_arena_strndup(weir_stage_arena(stage), message, size);
}

/* At most 4 KiB: 16 attempts of 200 bytes each, and a message. */
static void
bound_failure(weir_stage *stage, failure_record *failure)
{
    failure->message = cut(stage, failure->message);
    for (size_t i = 0; i < failure->n_attempts; i++)
        failure->attempts[i]->message = cut(stage, failure->attempts[i]->message);
    while (failure->n_attempts > 1 && weir__internal__v1__failure__get_packed_size(failure) > WEIR_GIVE_UP_BYTES_MAX)
        failure->attempts[1] = failure->attempts[--failure->n_attempts];
}

static weir_code
give_up(reconciler_core *core, weir_stage *stage, const lifecycle_event *event, ending_record *ending,
    weir_error *reterr)
{
    Weir__Internal__V1__GiveUpRow give_up_row = WEIR__INTERNAL__V1__GIVE_UP_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    ending->step = WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_GIVING_UP;
    if (ending->failure != NULL)
        bound_failure(stage, ending->failure);
    weir_stage_put(stage, ending_key(core, event), &ending->base);
    give_up_row.failure = ending->failure;
    address_row(event, &row);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GIVE_UP;
    row.give_up = &give_up_row;
    return weir_stage_send(stage, WEIR_LINK_RECONCILER_GATEWAY, &row, NULL, reterr);
}

weir_code
reconciler_on_revoke_answer(reconciler_core *core, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;
    ending_record *ending = NULL;

    event.tenant = row->tenant;
    event.collection_no = row->collection_no;
    event.document_id = row->document_id;
    event.revision = row->revision;
    event.epoch = row->epoch;
    const weir_code code = get_ending(core, stage, &event, &ending, reterr);
    if (code != WEIR_OK || ending == NULL)
        return code;
    if (row->revoke_answer->verdict != WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_REVOKED) {
        drop_ending(core, stage, &event);
        return WEIR_OK;
    }
    if (ending->step != WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_REVOKING || ending->epoch != row->epoch)
        return WEIR_OK;
    return give_up(core, stage, &event, ending, reterr);
}

/* ---- seeds, after this volume was lost ---- */

weir_code
reconciler_on_seed(reconciler_core *core, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < row->seed->n_entries && code == WEIR_OK; i++) {
        const Weir__Internal__V1__SeedEntry *entry = row->seed->entries[i];
        lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

        if (entry->failed_revision == 0)
            continue;
        event.tenant = entry->tenant;
        event.collection_no = entry->collection_no;
        event.document_id = entry->document_id;
        event.revision = entry->failed_revision;
        event.epoch = entry->failed_epoch;
        event.failure = entry->failure;
        code = put_dead_letter(core, stage, &event, reterr);
    }
    if (code == WEIR_OK && row->seed->done)
        core->seeded_era = row->era;
    return code;
}
