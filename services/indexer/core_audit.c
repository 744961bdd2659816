/*
 * core_audit.c - what an audit makes the register do: let go of what is not whole, and forget what
 * the gateway never gave out.
 *
 * A READY revision whose chunks are damaged is READY no more, by a promise never to make its epoch
 * READY again, so that the gateway can drive it again under a new one.  Until the first row of a
 * later try has come it counts as lost: searches of its collection say so rather than take it for
 * absent.
 */
#include <inttypes.h>

#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "services/indexer/core_internal.h"
#include "services/indexer/tally.h"

/* ---- lost revisions ---- */

weir_code
indexer_lose(indexer_core *core, weir_stage *stage, indexer_document *document, const char *why)
{
    indexer_left left = { 0 };

    WEIR_FP("indexer.lose.before");
    weir_log(WEIR_LOG_ERROR, "document.damaged",
        WEIR_INT("collection_no", document->collection->collection_no),
        WEIR_STR("document_id", document->document_id),
        WEIR_INT("revision", document->record->ready_revision),
        WEIR_INT("run", document->record->ready_epoch), WEIR_STR("message", why));
    indexer_register_lose(document->record, weir_stage_arena(stage), &left);
    indexer_document_save(stage, document);
    indexer_retire(core, document, &left);
    return WEIR_OK;
}

void
indexer_drop_staged(indexer_core *core, weir_stage *stage, indexer_document *document,
    const indexer_staged *staged, const char *why)
{
    indexer_left left = { 0 };

    weir_log(WEIR_LOG_ERROR, "document.damaged",
        WEIR_INT("collection_no", document->collection->collection_no),
        WEIR_STR("document_id", document->document_id), WEIR_INT("revision", staged->revision),
        WEIR_INT("run", staged->epoch), WEIR_STR("message", why));
    indexer_register_drop(document->record, weir_stage_arena(stage), staged->revision,
        staged->epoch, &left);
    indexer_document_save(stage, document);
    indexer_retire(core, document, &left);
}

/* Every key of these tries in the batch, and every row of the index, at once: what is staged in
 * this round under the same name is put behind it. */
static weir_code
erase_tries(indexer_core *core, weir_stage *stage, const indexer_document *document,
    const indexer_left *left, weir_error *reterr)
{
    const uint64_t collection_no = document->collection->collection_no;
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < left->count && code == WEIR_OK; i++) {
        const indexer_try owner = { document->document_id, left->tries[i].revision,
            left->tries[i].epoch };

        code = indexer_erase_try(core, stage, collection_no, &owner, reterr);
        if (code == WEIR_OK && document->collection->index != NULL) {
            indexer_index_remove(document->collection->index, &owner);
            document->collection->needs_cleaning = core->needs_cleaning = true;
        }
    }
    return code;
}

/* ---- the row of the gateway ---- */

static weir_code
recheck(indexer_core *core, weir_stage *stage, indexer_document *document, weir_error *reterr)
{
    const indexer_source source = { .batch = weir_stage_batch(stage) };
    indexer_tally tally;
    weir_code code =
        indexer_tally_document(&source, document->collection->collection_no, document->collection,
            document->document_id, document->record, weir_stage_arena(stage), &tally, reterr);

    if (code == WEIR_OK && !indexer_tally_is_whole(&tally))
        code = indexer_lose(core, stage, document,
            indexer_tally_finding(&tally, weir_stage_arena(stage)));
    /* Those that are being cleared anyway are cleared twice. */
    return code == WEIR_OK ? erase_tries(core, stage, document, &tally.strays, reterr) : code;
}

static weir_code
forget(indexer_core *core, weir_stage *stage, indexer_document *document,
    const Weir__Internal__V1__AuditRow *audit, weir_error *reterr)
{
    const indexer_source source = { .batch = weir_stage_batch(stage) };
    const indexer_key key =
        indexer_key_document(document->collection->collection_no, document->document_id);
    indexer_left left = { 0 };
    indexer_tally tally;

    weir_log(WEIR_LOG_WARN, "document.forgotten",
        WEIR_INT("collection_no", document->collection->collection_no),
        WEIR_STR("document_id", document->document_id), WEIR_INT("above", audit->forget_above));
    indexer_register_forget(document->record, weir_stage_arena(stage), audit->forget_above,
        audit->deleted_below, &left);
    indexer_document_save(stage, document);
    if (audit->forget_above == 0)
        weir_batch_delete(weir_stage_batch(stage), indexer_key_view(&key));
    weir_code code = erase_tries(core, stage, document, &left, reterr);
    if (code == WEIR_OK)
        code = indexer_tally_document(&source, document->collection->collection_no,
            document->collection, document->document_id, document->record, weir_stage_arena(stage),
            &tally, reterr);
    return code == WEIR_OK ? erase_tries(core, stage, document, &tally.strays, reterr) : code;
}

weir_code
indexer_take_audit(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr)
{
    indexer_document document;
    indexer_collection *collection = NULL;
    weir_code code = indexer_obtain_collection(core, stage, row, &collection, reterr);

    if (code != WEIR_OK || collection == NULL)
        return code;
    WEIR_FP_RETURN("indexer.audit.before", reterr);
    code = indexer_document_load(stage, collection, row->document_id, &document, reterr);
    if (code == WEIR_OK)
        code = row->audit->forget_above < 0 ? recheck(core, stage, &document, reterr)
                                            : forget(core, stage, &document, row->audit, reterr);
    return code == WEIR_OK ? WEIR_FP_CODE("indexer.audit.after", reterr) : code;
}
