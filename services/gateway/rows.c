/*
 * rows.c - what the other services tell the gateway: READY, deleted, one more try, give up.
 *
 * READY is decided by the indexer and FAILED only after its revoke, so the two exclude each other;
 * here they are only recorded, by compare-and-set on the epoch for a try and a giving up, and by
 * maximum for READY.  A repeated row changes nothing.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

static bool
is_live(uint32_t state)
{
    return state == DOCUMENT_STATE(PENDING) || state == DOCUMENT_STATE(PROCESSING);
}

static bool
may_be_retired(uint32_t state)
{
    return is_live(state) || state == DOCUMENT_STATE(READY) || state == DOCUMENT_STATE(FAILED);
}

static Weir__Internal__V1__LifecycleKind
retired_kind(uint32_t state)
{
    return state == DOCUMENT_STATE(DELETED) ? LIFECYCLE(DELETED) : LIFECYCLE(SUPERSEDED);
}

/* Every lower revision that is not over becomes SUPERSEDED or DELETED; READY ones too.  The
 * document's record goes first: a waiter that a change wakes reads it. */
weir_code
gateway_retire_lower(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, uint32_t state, weir_error *reterr)
{
    const uint64_t collection_no = id->collection->record->collection_no;
    int64_t lower = document->oldest_revision;
    weir_code code = WEIR_OK;

    if (lower < id->revision)
        document->oldest_revision = id->revision;
    gateway_put_document(core, stage, collection_no, id->document_id, document);
    for (; lower < id->revision && code == WEIR_OK; lower++) {
        revision_id lower_id = *id;
        revision_record *revision = NULL;

        lower_id.revision = lower;
        lower_id.document = document;
        code = gateway_get_revision_of(core, stage, &lower_id, &revision, reterr);
        if (code != WEIR_OK || revision == NULL || !may_be_retired(revision->state))
            continue;
        if (state == DOCUMENT_STATE(DELETED))
            revision->delete_time_ms = weir_stage_now_ms(stage);
        code = gateway_set_state(core, stage, &lower_id, revision, state, reterr);
        gateway_tell(stage, &lower_id, revision, retired_kind(state));
    }
    return code;
}

weir_code
gateway_raise(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint8_t lane, weir_error *reterr)
{
    revision_id raised = *id;
    const weir_code code = gateway_get_document(core, stage, id->collection->record->collection_no,
        id->document_id, &raised.document, reterr);

    if (code != WEIR_OK)
        return code;
    weir_assert(raised.document != NULL);
    WEIR_FP_RETURN("gateway.raise.before", reterr);
    core->retried_total += lane == GATEWAY_LANE_NEW;
    revision->epoch++;
    revision->era = weir_stage_era(stage);
    revision->stage = STAGE_NUMBER(ACCEPT);
    gateway_tell_why(stage, id, revision, LIFECYCLE(ACCEPTED),
        lane == GATEWAY_LANE_NEW ? WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_RETRY
                                 : WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_REDRIVE);
    return gateway_hand_over(core, stage, &raised, revision, lane, reterr);
}

/* ---- READY ---- */

static weir_code
record_ready(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, revision_record *revision, const Weir__Internal__V1__ReadyRow *ready,
    weir_error *reterr)
{
    WEIR_FP_RETURN("gateway.ready.before", reterr);
    revision->chunk_count = ready->chunk_count;
    revision->token_count = ready->token_count;
    revision->ready_time_ms = ready->ready_time_ms;
    revision->stage = STAGE_NUMBER(INDEX);
    revision->failure = NULL;
    if (ready->media_type[0] != 0)
        revision->media_type = ready->media_type;
    document->searchable_revision = id->revision;
    /* The indexer may have told READY of an earlier try, before this one began. */
    if (revision->epoch > 1)
        gateway_tell(stage, id, revision, LIFECYCLE(READY));
    const weir_code code =
        gateway_retire_lower(core, stage, id, document, DOCUMENT_STATE(SUPERSEDED), reterr);
    return code != WEIR_OK
        ? code
        : gateway_set_state(core, stage, id, revision, DOCUMENT_STATE(READY), reterr);
}

/* READY of a lower epoch counts too while the record is not over: the revision can be seen, whoever
 * asked for more. */
static weir_code
on_ready(gateway_core *core, weir_stage *stage, const revision_id *id, document_record *document,
    revision_record *revision, const Weir__Internal__V1__ReadyRow *ready, weir_error *reterr)
{
    if (revision->state == DOCUMENT_STATE(FAILED)) {
        weir_log(WEIR_LOG_ERROR, "document.ready_after_failed",
            WEIR_STR("document_id", id->document_id), WEIR_INT("revision", id->revision));
        return WEIR_OK;
    }
    if (!is_live(revision->state) || id->revision <= document->deleted_below)
        return WEIR_OK;
    return record_ready(core, stage, id, document, revision, ready, reterr);
}

/* ---- deleted ---- */

static weir_code
on_deleted(gateway_core *core, weir_stage *stage, const revision_id *id, document_record *document,
    weir_error *reterr)
{
    if (id->revision <= document->delete_confirmed)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.deleted.before", reterr);
    document->delete_confirmed = id->revision;
    gateway_put_document(core, stage, id->collection->record->collection_no, id->document_id,
        document);
    return gateway_wake_document(core, stage, id->collection, id->document_id, reterr);
}

/* ---- one more try, give up ---- */

/* The epoch that was asked for is over, whatever the record's is: the asker forgets that one alone.
 */
static void
tell_dropped(weir_stage *stage, const revision_id *id, const revision_record *revision,
    int64_t asked_epoch)
{
    revision_record asked = *revision;

    asked.epoch = asked_epoch;
    gateway_tell(stage, id, &asked, LIFECYCLE(DROPPED));
}

static weir_code
on_raise(gateway_core *core, weir_stage *stage, const revision_id *id, revision_record *revision,
    int64_t epoch, Weir__Internal__V1__Failure *failure, weir_error *reterr)
{
    if (revision->epoch == epoch && is_live(revision->state)) {
        revision->failure = failure;
        return gateway_raise(core, stage, id, revision, GATEWAY_LANE_NEW, reterr);
    }
    tell_dropped(stage, id, revision, epoch);
    return WEIR_OK;
}

static weir_code
on_give_up(gateway_core *core, weir_stage *stage, const revision_id *id, revision_record *revision,
    int64_t epoch, Weir__Internal__V1__Failure *failure, weir_error *reterr)
{
    if ((revision->epoch != epoch && !WEIR_PLANT(GIVE_UP_WITHOUT_COMPARE)) ||
        !is_live(revision->state)) {
        tell_dropped(stage, id, revision, epoch);
        return WEIR_OK;
    }
    WEIR_FP_RETURN("gateway.give_up.before", reterr);
    revision->failure = failure;
    if (failure != NULL)
        revision->stage = failure->stage;
    const weir_code code =
        gateway_set_state(core, stage, id, revision, DOCUMENT_STATE(FAILED), reterr);
    gateway_tell(stage, id, revision, LIFECYCLE(GAVE_UP));
    return code;
}

/* ---- rows ---- */

/* It was on its way when the indexer's volume was lost or rolled back: that READY may be gone with
 * it, and must not end the try that began for the loss. */
static bool
is_of_lost_indexer(const gateway_core *core, const row_message *row)
{
    return row->era < core->known[WEIR_SERVICE_INDEXER].lost_era;
}

static weir_code
dispatch_row(gateway_core *core, weir_stage *stage, const row_message *row, const revision_id *id,
    document_record *document, revision_record *revision, weir_error *reterr)
{
    switch (row->payload_case) {
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_READY:
        return is_of_lost_indexer(core, row)
            ? WEIR_OK
            : on_ready(core, stage, id, document, revision, row->ready, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETED:
        return on_deleted(core, stage, id, document, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_RAISE:
        return on_raise(core, stage, id, revision, row->epoch, row->raise->failure, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_GIVE_UP:
        return on_give_up(core, stage, id, revision, row->epoch, row->give_up->failure, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD__NOT_SET:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_VECTORS:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER:
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_AUDIT:
    case _WEIR__INTERNAL__V1__ROW__PAYLOAD__CASE_IS_INT_SIZE:
        break;
    }
    weir_log(WEIR_LOG_ERROR, "row.unexpected", WEIR_STR("document_id", row->document_id),
        WEIR_INT("payload", row->payload_case));
    return WEIR_OK;
}

weir_code
gateway_on_row(gateway_core *core, weir_stage *stage, weir_link_kind link, uint64_t seq,
    const row_message *row, weir_error *reterr)
{
    revision_id id = { .collection = gateway_find_collection_no(core, row->collection_no),
        .document_id = row->document_id,
        .revision = row->revision };
    revision_record *revision = NULL;
    weir_code code = WEIR_OK;

    weir_stage_settle(stage, link, seq);
    if (id.collection == NULL) {
        weir_log(WEIR_LOG_ERROR, "row.unknown_collection",
            WEIR_INT("collection_no", row->collection_no));
        return WEIR_OK;
    }
    code = gateway_get_both(core, stage, &id, &revision, reterr);
    if (code != WEIR_OK)
        return code;
    if (revision == NULL) {
        weir_log(WEIR_LOG_ERROR, "row.unknown_document", WEIR_STR("document_id", row->document_id),
            WEIR_INT("revision", row->revision));
        return WEIR_OK;
    }
    return dispatch_row(core, stage, row, &id, id.document, revision, reterr);
}

weir_code
gateway_take_ready(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, revision_record *revision, const Weir__Internal__V1__ReadyRow *ready,
    weir_error *reterr)
{
    return on_ready(core, stage, id, document, revision, ready, reterr);
}

/* What a read learned from the indexer's register is recorded as if its row had come, before the
 * read answers. */
weir_code
gateway_on_learn(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__LearnCommand *learn =
        (const Weir__Internal__V1__LearnCommand *)request->message;
    revision_id id = { .collection = gateway_find_collection_no(core, learn->collection_no),
        .document_id = learn->document_id,
        .revision = learn->revision };
    Weir__Internal__V1__ReadyRow ready = WEIR__INTERNAL__V1__READY_ROW__INIT;
    revision_record *revision = NULL;
    weir_code code = WEIR_OK;

    if (id.collection != NULL)
        code = gateway_get_both(core, stage, &id, &revision, reterr);
    ready.chunk_count = learn->chunk_count;
    ready.token_count = learn->token_count;
    ready.ready_time_ms = learn->ready_time_ms;
    ready.media_type = learn->media_type;
    /* An answer of an indexer that was lost since must not end a try that began for that loss. */
    if (code == WEIR_OK && revision != NULL && learn->era >= weir_stage_era(stage))
        code = on_ready(core, stage, &id, id.document, revision, &ready, reterr);
    if (code != WEIR_OK)
        return code;
    Weir__Internal__V1__EmptyResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);
    weir__internal__v1__empty_response__init(response);
    weir_stage_reply(stage, request->reply_to, &response->base);
    return WEIR_OK;
}
