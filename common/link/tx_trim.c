/*
 * tx_trim.c - R5: `acked` and the deletion of the rows are one batch, of its own and unsynced.
 *
 * Losing the batch whole costs duplicates, which the receiver drops.  Point deletes and not one
 * range delete, because a range delete is a batch of its own in the store and would be torn from
 * the record; nothing ever scans the tombstones, since every reader starts at acked + 1.
 */
#include "common/link/tx_internal.h"

#include "common/base/failpoint.h"

static void
delete_rows(const weir_link_tx *tx, weir_batch *batch, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        const link_outbox_key key = link_outbox_key_of(tx->link, seq);
        weir_batch_delete(batch, weir_bytes_of(key.bytes, sizeof key.bytes));
    }
}

static weir_code
trim_to(weir_link_tx *tx, weir_batch *batch, uint64_t last, weir_error *reterr)
{
    delete_rows(tx, batch, tx->trimmed + 1, last);
    if (LINK_MUTANT(TRIM_APART)) {
        const weir_code code = weir_store_commit(tx->store, batch, false, reterr);
        if (code != WEIR_OK)
            return code;
    }
    tx->trimmed = last;
    link_tx_record_put(tx, batch, tx->next_committed);
    WEIR_FP_RETURN("link.trim.before", reterr);
    const weir_code code = weir_store_commit(tx->store, batch, false, reterr);
    return code == WEIR_OK ? WEIR_FP_CODE("link.trim.after", reterr) : code;
}

weir_code
weir_link_tx_trim(weir_link_tx *tx, bool force, weir_error *reterr)
{
    const uint64_t ready = tx->acked - tx->trimmed;

    /* A record that waits in the round's batch would overwrite this one with an older `acked`. */
    if (ready == 0 || tx->dirty || (ready < LINK_TRIM_ROWS && !force))
        return WEIR_OK;

    weir_batch *batch = weir_batch_create(tx->store);
    weir_code code = WEIR_OK;
    while (code == WEIR_OK && tx->trimmed < tx->acked) {
        const uint64_t left = tx->acked - tx->trimmed;
        code = trim_to(tx, batch,
            tx->trimmed + (left < LINK_TRIM_BATCH_ROWS ? left : LINK_TRIM_BATCH_ROWS), reterr);
    }
    weir_batch_destroy(&batch);
    return code;
}
