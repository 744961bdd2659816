/*
 * core_clear.c - the end of chunks that nobody may see again.
 *
 * A round that retires a try writes only its register.  Later rounds delete its keys, some at a
 * time, and its rows leave the index once every read under way began after the retirement
 * (readers.h).  A crash in between leaves litter that the next start finds (keys.h, K3), so no list
 * of it is kept on disk.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "services/indexer/core_internal.h"

static indexer_litter *
make_litter(indexer_collection *collection, const indexer_try *owner)
{
    const size_t size = strlen(owner->document_id) + 1;
    indexer_litter *litter = weir_alloc_zero(1, sizeof *litter + size);

    memcpy(litter->text, owner->document_id, size);
    litter->collection = collection;
    litter->owner = (indexer_try){ litter->text, owner->revision, owner->epoch };
    return litter;
}

void
indexer_retire(indexer_core *core, const indexer_document *document, const indexer_left *left)
{
    for (size_t i = 0; i < left->count; i++) {
        const indexer_try owner = { document->document_id, left->tries[i].revision,
            left->tries[i].epoch };
        indexer_litter *litter = make_litter(document->collection, &owner);

        STAILQ_INSERT_TAIL(&core->retiring, litter, link);
    }
    __atomic_add_fetch(&core->retired_total, left->count, __ATOMIC_RELEASE);
}

void
indexer_push_litter(indexer_core *core, indexer_collection *collection, const indexer_try *owner)
{
    indexer_litter *litter = make_litter(collection, owner);

    STAILQ_INSERT_TAIL(&core->clearing, litter, link);
    __atomic_add_fetch(&core->retired_total, 1, __ATOMIC_RELEASE);
}

void
indexer_clear_committed(indexer_core *core)
{
    indexer_litter *litter = NULL;

    __atomic_add_fetch(&core->cleared_total, core->cleared_now, __ATOMIC_RELEASE);
    core->cleared_now = 0;
    if (STAILQ_EMPTY(&core->retiring))
        return;
    const uint64_t commit = indexer_readers_count_commit(&core->readers);
    STAILQ_FOREACH(litter, &core->retiring, link)
    litter->commit = commit;
    STAILQ_CONCAT(&core->clearing, &core->retiring);
}

static void
forget_list(indexer_litter_list *list)
{
    while (!STAILQ_EMPTY(list)) {
        indexer_litter *litter = STAILQ_FIRST(list);

        STAILQ_REMOVE_HEAD(list, link);
        weir_free(litter);
    }
}

void
indexer_clear_forget(indexer_core *core)
{
    forget_list(&core->retiring);
    forget_list(&core->clearing);
    forget_list(&core->leaving);
}

/* ---- keys ---- */

/* Delete up to *budget keys of one tag from next_ordinal on.  They are fenced, so no row of this
 * round adds any. */
static weir_code
delete_rows(indexer_core *core, weir_stage *stage, indexer_litter *litter, indexer_tag tag,
    uint32_t *budget, bool *ret_done, weir_error *reterr)
{
    const uint64_t collection_no = litter->collection->collection_no;
    const indexer_key lower =
        indexer_key_row(tag, collection_no, &litter->owner, litter->next_ordinal);
    const indexer_key upper = indexer_key_rows_end(tag, collection_no, &litter->owner);
    weir_iter *iter =
        weir_store_iter(core->store, NULL, indexer_key_view(&lower), indexer_key_view(&upper));
    weir_code code = WEIR_OK;
    bool more = weir_iter_next(iter);

    for (; more && code == WEIR_OK && *budget > 0; more = weir_iter_next(iter)) {
        indexer_key_parts parts;

        code = indexer_key_parse(tag, weir_iter_key(iter), &parts, reterr);
        if (code != WEIR_OK)
            break;
        weir_batch_delete(weir_stage_batch(stage), weir_iter_key(iter));
        litter->next_ordinal = parts.ordinal + 1;
        --*budget;
    }
    *ret_done = !more;
    if (code == WEIR_OK && !more)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* Texts first: a start finds what is left by its vectors. */
static weir_code
delete_litter(indexer_core *core, weir_stage *stage, indexer_litter *litter, uint32_t *budget,
    bool *ret_done, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_done = false;
    if (!litter->texts_are_gone) {
        code = delete_rows(core, stage, litter, INDEXER_TAG_CHUNK, budget, ret_done, reterr);
        if (code != WEIR_OK || !*ret_done)
            return code;
        litter->texts_are_gone = true;
        litter->next_ordinal = 0;
    }
    return delete_rows(core, stage, litter, INDEXER_TAG_VECTOR, budget, ret_done, reterr);
}

weir_code
indexer_erase_try(indexer_core *core, weir_stage *stage, uint64_t collection_no,
    const indexer_try *owner, weir_error *reterr)
{
    static const indexer_tag tags[] = { INDEXER_TAG_CHUNK, INDEXER_TAG_VECTOR };
    const indexer_key metadata = indexer_key_metadata(collection_no, owner);
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < 2 && code == WEIR_OK; i++) {
        const indexer_key lower = indexer_key_row(tags[i], collection_no, owner, 0);
        const indexer_key upper = indexer_key_rows_end(tags[i], collection_no, owner);
        weir_iter *iter =
            weir_store_iter(core->store, NULL, indexer_key_view(&lower), indexer_key_view(&upper));

        while (weir_iter_next(iter))
            weir_batch_delete(weir_stage_batch(stage), weir_iter_key(iter));
        code = weir_iter_status(iter, reterr);
        weir_iter_destroy(&iter);
    }
    weir_batch_delete(weir_stage_batch(stage), indexer_key_view(&metadata));
    return code;
}

static weir_code
clear_keys(indexer_core *core, weir_stage *stage, weir_error *reterr)
{
    uint32_t budget = core->options.clear_keys_max;

    while (budget > 0 && !STAILQ_EMPTY(&core->clearing)) {
        indexer_litter *litter = STAILQ_FIRST(&core->clearing);
        bool done = false;
        WEIR_FP_RETURN("indexer.clear.before", reterr);
        const weir_code code = delete_litter(core, stage, litter, &budget, &done, reterr);

        if (code != WEIR_OK)
            return code;
        if (!done)
            return WEIR_OK;
        const indexer_key metadata =
            indexer_key_metadata(litter->collection->collection_no, &litter->owner);
        weir_batch_delete(weir_stage_batch(stage), indexer_key_view(&metadata));
        budget -= budget > 0;
        STAILQ_REMOVE_HEAD(&core->clearing, link);
        STAILQ_INSERT_TAIL(&core->leaving, litter, link);
        core->cleared_now++;
    }
    return WEIR_OK;
}

/* ---- the index ---- */

static void
leave_index(indexer_core *core)
{
    while (!STAILQ_EMPTY(&core->leaving)) {
        indexer_litter *litter = STAILQ_FIRST(&core->leaving);

        if (!indexer_readers_have_passed(&core->readers, litter->commit))
            return;
        if (litter->collection->index != NULL)
            indexer_index_remove(litter->collection->index, &litter->owner);
        litter->collection->needs_cleaning = core->needs_cleaning = true;
        STAILQ_REMOVE_HEAD(&core->leaving, link);
        weir_free(litter);
    }
}

/* One segment a round: it costs about a copy of it. */
static weir_code
clean_one(indexer_core *core, weir_error *reterr)
{
    indexer_collection *collection = NULL;
    uint64_t after = 0;

    while (core->needs_cleaning &&
        (collection = indexer_collections_next(&core->collections, after)) != NULL) {
        after = collection->collection_no;
        if (!collection->needs_cleaning || collection->index == NULL)
            continue;
        const weir_code code =
            indexer_index_clean(collection->index, &collection->needs_cleaning, reterr);

        if (code != WEIR_OK || collection->needs_cleaning)
            return code;
    }
    core->needs_cleaning = false;
    return WEIR_OK;
}

weir_code
indexer_clear_some(indexer_core *core, weir_stage *stage, weir_error *reterr)
{
    leave_index(core);
    const weir_code code = clear_keys(core, stage, reterr);

    return code == WEIR_OK ? clean_one(core, reterr) : code;
}
