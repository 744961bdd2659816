/*
 * core_control.c - deletes, seeds, the gate, and revokes: what others tell the register.
 *
 * Deletes and seeds only ever fence more, so they are taken whether the gate is open or not.  A
 * revoke is a decision: it waits for the gate, unsettled, so that it comes again should this
 * process end first.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "common/wire/wire.h"
#include "services/indexer/core_internal.h"

/* ---- deletes ---- */

static weir_code
delete_document(indexer_core *core, weir_stage *stage, indexer_document *document, int64_t revision)
{
    indexer_left left = { 0 };

    if (indexer_register_delete(document->record, weir_stage_arena(stage), revision, &left)) {
        indexer_document_save(stage, document);
        indexer_retire(core, document, &left);
    }
    return WEIR_OK;
}

static weir_code
send_deleted(weir_stage *stage, const indexer_document *document, weir_error *reterr)
{
    Weir__Internal__V1__DeletedRow deleted = WEIR__INTERNAL__V1__DELETED_ROW__INIT;
    indexer_row row = WEIR__INTERNAL__V1__ROW__INIT;

    row.tenant = document->collection->tenant;
    row.collection_no = document->collection->collection_no;
    row.document_id = (char *)document->document_id;
    row.revision = document->record->deleted_below;
    row.deleted_below = document->record->deleted_below;
    row.handed_over_ms = weir_stage_now_ms(stage);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETED;
    row.deleted = &deleted;
    return weir_stage_send(stage, WEIR_LINK_INDEXER_GATEWAY, &row, NULL, reterr);
}

/* The row's document; *ret_known false, with a line in the log, if the row names another tenant's
 * collection. */
static weir_code
load_of_row(indexer_core *core, weir_stage *stage, const indexer_row *row,
    indexer_document *ret_document, bool *ret_known, weir_error *reterr)
{
    indexer_collection *collection = NULL;
    const weir_code code = indexer_obtain_collection(core, stage, row, &collection, reterr);

    *ret_known = collection != NULL;
    if (code != WEIR_OK)
        return code;
    if (collection != NULL)
        return indexer_document_load(stage, collection, row->document_id, ret_document, reterr);
    weir_log(WEIR_LOG_ERROR, "row.of_another_tenant", WEIR_STR("tenant", row->tenant),
        WEIR_INT("collection_no", row->collection_no));
    return WEIR_OK;
}

weir_code
indexer_take_delete(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr)
{
    indexer_document document;
    bool is_known = false;
    weir_code code = load_of_row(core, stage, row, &document, &is_known, reterr);

    if (code != WEIR_OK || !is_known)
        return code;
    WEIR_FP_RETURN("indexer.delete.before", reterr);
    code = delete_document(core, stage, &document, row->revision);
    WEIR_FP("indexer.delete.after");
    /* A duplicate is answered too: the gateway may have lost the first answer with its memory of
     * it. */
    return code == WEIR_OK ? send_deleted(stage, &document, reterr) : code;
}

/* ---- seeds ---- */

static bool
may_revoke(const indexer_register *record, int64_t revision, int64_t epoch)
{
    const indexer_fence fence = indexer_register_fence(record, revision, epoch);

    return fence == INDEXER_FENCE_OPEN || fence == INDEXER_FENCE_REVOKED;
}

static void
seed_failed(indexer_core *core, weir_stage *stage, indexer_document *document, int64_t revision,
    int64_t epoch)
{
    indexer_left left = { 0 };

    if (!may_revoke(document->record, revision, epoch))
        return;
    indexer_register_revoke(document->record, weir_stage_arena(stage), revision, epoch, &left);
    indexer_document_save(stage, document);
    indexer_retire(core, document, &left);
}

static weir_code
seed_entry(indexer_core *core, weir_stage *stage, const Weir__Internal__V1__SeedEntry *entry,
    weir_error *reterr)
{
    const size_t id_size = strlen(entry->document_id);
    indexer_row row = WEIR__INTERNAL__V1__ROW__INIT;
    indexer_document document;
    bool is_known = false;

    if (id_size == 0 || id_size > WEIR_DOCUMENT_ID_BYTES_MAX || entry->collection_no == 0)
        return WEIR_OK;
    row.tenant = entry->tenant;
    row.collection_no = entry->collection_no;
    row.document_id = entry->document_id;
    weir_code code = load_of_row(core, stage, &row, &document, &is_known, reterr);
    if (code != WEIR_OK || !is_known)
        return code;
    if (entry->deleted_below > 0)
        code = delete_document(core, stage, &document, entry->deleted_below);
    if (code == WEIR_OK && entry->failed_revision > 0)
        seed_failed(core, stage, &document, entry->failed_revision, entry->failed_epoch);
    return code;
}

weir_code
indexer_take_seed(indexer_core *core, weir_stage *stage, const indexer_row *row, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    WEIR_FP_RETURN("indexer.seed.before", reterr);
    for (size_t i = 0; i < row->seed->n_entries && code == WEIR_OK; i++)
        code = seed_entry(core, stage, row->seed->entries[i], reterr);
    WEIR_FP("indexer.seed.after");
    if (code != WEIR_OK || !row->seed->done || row->era <= core->new_seeded_era)
        return code;

    const indexer_key key = indexer_key_seed();
    Weir__Internal__V1__IndexSeedRecord record = WEIR__INTERNAL__V1__INDEX_SEED_RECORD__INIT;
    record.seeded_era = row->era;
    core->new_seeded_era = row->era;
    weir_stage_put(stage, indexer_key_view(&key), &record.base);
    return WEIR_OK;
}

/* ---- the gate ---- */

void
indexer_take_gate(indexer_core *core, weir_stage *stage, const indexer_row *row)
{
    WEIR_FP("indexer.gate.before");
    const weir_link_identity *self = weir_stage_identity(stage);
    const ProtobufCBinaryData random = row->gate->boot_random;

    if (row->gate->boot_counter != self->boot_counter || random.len != sizeof self->boot_random ||
        memcmp(random.data, self->boot_random, random.len) != 0)
        return; /* it speaks of an earlier start */
    if (!core->may_decide)
        weir_log(WEIR_LOG_INFO, "gate.open", WEIR_INT("era", weir_stage_era(stage)),
            WEIR_INT("seeded_era", core->new_seeded_era),
            WEIR_INT("undecided", core->pending_count), WEIR_INT("revokes", core->waiting_count));
    core->may_decide = true;
}

/* ---- revokes ---- */

typedef Weir__Internal__V1__RevokeAnswerRow__Verdict verdict;

static verdict
revoke_document(indexer_core *core, weir_stage *stage, indexer_document *document, int64_t revision,
    int64_t epoch)
{
    indexer_left left = { 0 };

    switch (indexer_register_fence(document->record, revision, epoch)) {
    case INDEXER_FENCE_READY:
        return WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_WAS_READY;
    case INDEXER_FENCE_NEWER:
        return WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_SUPERSEDED;
    case INDEXER_FENCE_DELETED:
        return WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_WAS_DELETED;
    case INDEXER_FENCE_REVOKED:
        break;
    case INDEXER_FENCE_OPEN:
        indexer_register_revoke(document->record, weir_stage_arena(stage), revision, epoch, &left);
        if (!WEIR_PLANT(REVOKE_FORGOTTEN))
            indexer_document_save(stage, document);
        indexer_retire(core, document, &left);
        break;
    }
    return WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_REVOKED;
}

static weir_code
send_answer(weir_stage *stage, const indexer_document *document, const indexer_row *asked,
    verdict said, weir_error *reterr)
{
    Weir__Internal__V1__RevokeAnswerRow answer = WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__INIT;
    indexer_row row = WEIR__INTERNAL__V1__ROW__INIT;

    answer.verdict = said;
    row.tenant = document->collection->tenant;
    row.collection_no = document->collection->collection_no;
    row.document_id = (char *)document->document_id;
    row.revision = asked->revision;
    row.epoch = asked->epoch;
    row.deleted_below = document->record->deleted_below;
    row.traceparent = asked->traceparent;
    row.handed_over_ms = weir_stage_now_ms(stage);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE_ANSWER;
    row.revoke_answer = &answer;
    return weir_stage_send(stage, WEIR_LINK_INDEXER_RECONCILER, &row, NULL, reterr);
}

static weir_code
answer_revoke(indexer_core *core, weir_stage *stage, const indexer_row *row, weir_error *reterr)
{
    indexer_document document;
    bool is_known = false;
    weir_code code = load_of_row(core, stage, row, &document, &is_known, reterr);

    if (code != WEIR_OK || !is_known)
        return code;
    WEIR_FP_RETURN("indexer.revoke.before", reterr);
    const verdict said = revoke_document(core, stage, &document, row->revision, row->epoch);
    WEIR_FP_RETURN("indexer.revoke.after", reterr);
    code = send_answer(stage, &document, row, said, reterr);
    /* The gateway may never have heard of the READY that refuses the revoke. */
    if (code == WEIR_OK && document.record->ready_revision >= row->revision &&
        !WEIR_PLANT(FINAL_WITHOUT_EVENT))
        code = indexer_send_ready(stage, &document, reterr);
    return code;
}

/* A copy of the row that outlives the round. */
static weir_code
push_waiting(indexer_core *core, uint64_t seq, weir_bytes packed, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *row = NULL;
    const weir_code code =
        weir_wire_decode(&weir__internal__v1__row__descriptor, packed, NULL, arena, &row, reterr);

    if (code != WEIR_OK) {
        weir_arena_destroy(&arena);
        return code;
    }
    indexer_waiting *item = weir_alloc(sizeof *item);
    *item = (indexer_waiting){ .seq = seq, .row = (indexer_row *)row, .arena = arena };
    STAILQ_INSERT_TAIL(&core->waiting, item, link);
    core->waiting_count++;
    return WEIR_OK;
}

weir_code
indexer_take_revoke(indexer_core *core, weir_stage *stage, uint64_t seq, const indexer_row *row,
    weir_bytes packed, weir_error *reterr)
{
    if (!core->may_decide || !STAILQ_EMPTY(&core->waiting))
        return push_waiting(core, seq, packed, reterr);
    const weir_code code = answer_revoke(core, stage, row, reterr);
    if (code == WEIR_OK)
        weir_stage_settle(stage, WEIR_LINK_RECONCILER_INDEXER, seq);
    return code;
}

weir_code
indexer_answer_waiting(indexer_core *core, weir_stage *stage, uint32_t *budget, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (; *budget > 0 && code == WEIR_OK && !STAILQ_EMPTY(&core->waiting); (*budget)--) {
        indexer_waiting *item = STAILQ_FIRST(&core->waiting);

        code = answer_revoke(core, stage, item->row, reterr);
        if (code == WEIR_OK)
            weir_stage_settle(stage, WEIR_LINK_RECONCILER_INDEXER, item->seq);
        STAILQ_REMOVE_HEAD(&core->waiting, link);
        core->waiting_count--;
        weir_arena_destroy(&item->arena);
        weir_free(item);
    }
    return code;
}
