/*
 * tx_record.c - the sender's record of a link, and the list of starts in it.
 */
#include "common/link/tx_internal.h"

static weir_code
corrupt(const weir_link_tx *tx, const char *what, weir_error *reterr)
{
    return weir_error_set(reterr, WEIR_CORRUPT, "the sender's record of link %#x: %s",
        (unsigned)tx->link, what);
}

static weir_code
read_starts(weir_link_tx *tx, const Weir__Internal__V1__LinkTxRecord *record, weir_error *reterr)
{
    tx->starts = weir_alloc((record->n_starts + 1) * sizeof *tx->starts);
    for (size_t i = 0; i < record->n_starts; i++) {
        if (!link_boot_read(record->starts[i]->boot, &tx->starts[i].boot))
            return corrupt(tx, "a start without a boot", reterr);
        tx->starts[i].first = record->starts[i]->first;
    }
    tx->start_count = record->n_starts;
    return WEIR_OK;
}

static weir_code
read_record(weir_link_tx *tx, const Weir__Internal__V1__LinkTxRecord *record, weir_error *reterr)
{
    if (record->next <= record->acked)
        return corrupt(tx, "next is not above acked", reterr);
    if (record->peer_store_id.len != 0 && record->peer_store_id.len != WEIR_STORE_ID_SIZE)
        return corrupt(tx, "a peer_store_id of a wrong size", reterr);
    if (!link_peers_read(&tx->replaced, record->replaced_store_ids, record->n_replaced_store_ids))
        return corrupt(tx, "a replaced store_id of a wrong size", reterr);

    tx->next = record->next;
    tx->acked = tx->trimmed = record->acked;
    tx->has_peer = record->peer_store_id.len != 0;
    if (tx->has_peer)
        memcpy(tx->peer_store_id, record->peer_store_id.data, WEIR_STORE_ID_SIZE);
    if (record->reset != NULL) {
        tx->reset_era = record->reset->era;
        tx->reset_start = record->reset->start;
    }
    return read_starts(tx, record, reterr);
}

weir_code
link_tx_record_load(weir_link_tx *tx, weir_error *reterr)
{
    const link_record_key key = link_record_key_of('l', tx->link);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_code code = link_record_load(tx->store, weir_bytes_of(key.bytes, sizeof key.bytes),
        &weir__internal__v1__link_tx_record__descriptor, arena, &message, reterr);

    tx->next = 1;
    if (code == WEIR_OK && message != NULL)
        code = read_record(tx, (Weir__Internal__V1__LinkTxRecord *)message, reterr);
    weir_arena_destroy(&arena);
    return code;
}

void
link_tx_reset_message(const weir_link_tx *tx, Weir__Internal__V1__Reset *reset)
{
    *reset = (Weir__Internal__V1__Reset)WEIR__INTERNAL__V1__RESET__INIT;
    reset->era = tx->reset_era;
    reset->start = tx->reset_start;
    /* The database that is meant is the adopted one: a receiver that was replaced before it settled
     * anything of this era must be able to take the RESET too. */
    reset->receiver_store_id = link_borrow(tx->peer_store_id, WEIR_STORE_ID_SIZE);
    reset->sender_store_id = link_borrow(tx->store_id, WEIR_STORE_ID_SIZE);
}

Weir__Internal__V1__Start **
link_tx_starts_message(const weir_link_tx *tx, weir_arena *arena)
{
    Weir__Internal__V1__Start **list =
        weir_arena_alloc(arena, (tx->start_count + 1) * sizeof *list);

    for (size_t i = 0; i < tx->start_count; i++) {
        Weir__Internal__V1__Boot *boot = weir_arena_alloc(arena, sizeof *boot);
        list[i] = weir_arena_alloc(arena, sizeof *list[i]);
        *boot = link_boot_message(&tx->starts[i].boot);
        *list[i] = link_start_message(&tx->starts[i], boot);
    }
    return list;
}

void
link_tx_record_put(const weir_link_tx *tx, weir_batch *batch, uint64_t next)
{
    const link_record_key key = link_record_key_of('l', tx->link);
    weir_arena *arena = weir_arena_create(0);
    Weir__Internal__V1__LinkTxRecord record = WEIR__INTERNAL__V1__LINK_TX_RECORD__INIT;
    Weir__Internal__V1__Reset reset;

    record.next = next;
    record.acked = LINK_MUTANT(ACKED_UNTRIMMED) ? tx->acked : tx->trimmed;
    if (tx->has_peer)
        record.peer_store_id = link_borrow(tx->peer_store_id, WEIR_STORE_ID_SIZE);
    record.n_starts = tx->start_count;
    record.starts = link_tx_starts_message(tx, arena);
    if (tx->reset_era > 0) {
        link_tx_reset_message(tx, &reset);
        record.reset = &reset;
    }
    record.n_replaced_store_ids = tx->replaced.count;
    record.replaced_store_ids = link_peers_message(&tx->replaced, arena);
    link_record_put(batch, weir_bytes_of(key.bytes, sizeof key.bytes), &record.base);
    weir_arena_destroy(&arena);
}

void
link_tx_record_change(weir_link_tx *tx, weir_batch *batch)
{
    link_tx_record_put(tx, batch, tx->next);
    tx->dirty = true;
}

void
link_tx_starts_add(weir_link_tx *tx, const link_boot *boot, uint64_t first)
{
    if (tx->start_count == LINK_STARTS_MAX) {
        /* The receiver looks for the start that it knows and takes the `first` of the one behind
         * it.  The oldest is the most likely to be known, so the second goes, and the third
         * inherits its `first`. */
        tx->starts[2].first = tx->starts[1].first;
        memmove(tx->starts + 1, tx->starts + 2, (tx->start_count - 2) * sizeof *tx->starts);
        tx->start_count--;
    }
    tx->starts = weir_realloc(tx->starts, (tx->start_count + 1) * sizeof *tx->starts);
    tx->starts[tx->start_count++] = (link_start){ .boot = *boot, .first = first };
}

bool
link_tx_starts_prune(weir_link_tx *tx)
{
    weir_assert(tx->start_count > 0);
    if (tx->start_count == 1)
        return false;
    tx->starts[0] = tx->starts[tx->start_count - 1];
    tx->start_count = 1;
    return true;
}

bool
link_tx_starts_following(const weir_link_tx *tx, const link_boot *boot, uint64_t *ret_first)
{
    for (size_t i = 0; i + 1 < tx->start_count; i++)
        if (link_boot_equal(&tx->starts[i].boot, boot)) {
            *ret_first = tx->starts[i + 1].first;
            return true;
        }
    return false;
}
