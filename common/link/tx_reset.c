/*
 * tx_reset.c - RESET at the sender: the gateway has decided what a loss means, and the link begins
 * again.
 *
 * Rows of older eras are dropped, because their work comes again under new epochs; rows of the new
 * era that were appended before the RESET stand at the end of the outbox and stay.  `start` is the
 * first row that stays.  Everything goes into the caller's batch with the record, so a crash leaves
 * the link before or after the RESET, never between.
 */
#include "common/base/failpoint.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/link/tx_internal.h"
#include "common/wire/wire.h"

static weir_code
row_era(const weir_link_tx *tx, uint64_t seq, weir_bytes stored, uint64_t *ret_era,
    weir_error *reterr)
{
    weir_bytes packed;
    weir_code code = link_row_check(tx->link, seq, stored, &packed, reterr);
    if (code != WEIR_OK)
        return code;

    ProtobufCMessage *message = NULL;
    weir_arena_reset(tx->scratch);
    code = weir_wire_decode(&weir__internal__v1__row__descriptor, packed, NULL, tx->scratch,
        &message, reterr);
    if (code == WEIR_OK)
        *ret_era = ((Weir__Internal__V1__Row *)message)->era;
    return code;
}

/* The first row such that it and all behind it are of `era` or a higher one. */
static weir_code
find_start(const weir_link_tx *tx, uint64_t era, weir_batch *batch, uint64_t *ret_start,
    weir_error *reterr)
{
    const link_outbox_key lower = link_outbox_key_of(tx->link, tx->trimmed + 1);
    const link_outbox_key upper = link_outbox_key_of(tx->link, tx->next);
    weir_iter *iter = weir_batch_iter(batch, weir_bytes_of(lower.bytes, sizeof lower.bytes),
        weir_bytes_of(upper.bytes, sizeof upper.bytes));
    weir_code code = WEIR_OK;
    uint64_t start = tx->next;

    for (bool more = weir_iter_last(iter); more; more = weir_iter_prev(iter)) {
        uint64_t seq = 0, found = 0;

        if (!link_outbox_key_parse(weir_iter_key(iter), tx->link, &seq) || seq != start - 1)
            code = weir_error_set(reterr, WEIR_CORRUPT, "row %llu of link %#x is missing",
                (unsigned long long)start - 1, (unsigned)tx->link);
        else
            code = row_era(tx, seq, weir_iter_value(iter), &found, reterr);
        if (code != WEIR_OK || found < era)
            break;
        start = seq;
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    *ret_start = start;
    return code;
}

static weir_code
check_reset(const weir_link_tx *tx, uint64_t era, const uint8_t id[WEIR_STORE_ID_SIZE],
    weir_error *reterr)
{
    char database[2 * WEIR_STORE_ID_SIZE + 1];

    weir_hex_encode(weir_bytes_of(id, WEIR_STORE_ID_SIZE), database);
    if (era < tx->reset_era)
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
            "RESET of era %llu after one of era %llu", (unsigned long long)era,
            (unsigned long long)tx->reset_era);
    if (era == tx->reset_era && !link_id_equal(tx->peer_store_id, id))
        return weir_error_set(reterr, WEIR_INVALID_ARGUMENT,
            "a second RESET of era %llu names database %s: another loss needs another era",
            (unsigned long long)era, database);
    return WEIR_OK;
}

static void
drop_rows(weir_link_tx *tx, uint64_t start, weir_batch *batch)
{
    for (uint64_t seq = tx->trimmed + 1; seq < start; seq++) {
        const link_outbox_key key = link_outbox_key_of(tx->link, seq);
        weir_batch_delete(batch, weir_bytes_of(key.bytes, sizeof key.bytes));
    }
    link_ring_drop_to(&tx->ring, start - 1);
    tx->trimmed = tx->acked = start - 1;
}

static void
adopt_named(weir_link_tx *tx, const uint8_t id[WEIR_STORE_ID_SIZE])
{
    if (tx->has_peer && !link_id_equal(tx->peer_store_id, id))
        link_peers_add(&tx->replaced, tx->peer_store_id);
    /* A link that had settled nothing may have adopted a new database before the gateway knew of
     * it, and have been sent back to the old one: the later era is right. */
    link_peers_remove(&tx->replaced, id);
    tx->has_peer = true;
    memcpy(tx->peer_store_id, id, WEIR_STORE_ID_SIZE);
    tx->has_peer_boot = false;
}

static void
begin_again(weir_link_tx *tx)
{
    tx->state = WEIR_LINK_WAITING;
    tx->alarm[0] = 0;
    tx->credit = 0;
    tx->sent = tx->acked;
    tx->timed_seq = 0;
    tx->rto_ms = LINK_RTO_MIN_MS;
    tx->stalled_rtos = 0;
    link_tx_hello_now(tx);
}

weir_code
weir_link_tx_reset(weir_link_tx *tx, uint64_t era,
    const uint8_t receiver_store_id[WEIR_STORE_ID_SIZE], weir_batch *batch, weir_error *reterr)
{
    weir_assert(era > 0);
    uint64_t start = 0;
    weir_code code = check_reset(tx, era, receiver_store_id, reterr);

    if (code != WEIR_OK || era == tx->reset_era)
        return code;
    WEIR_FP_RETURN("link.reset.before", reterr);
    code = find_start(tx, era, batch, &start, reterr);
    if (code != WEIR_OK)
        return code;

    drop_rows(tx, start, batch);
    adopt_named(tx, receiver_store_id);
    tx->reset_era = era;
    tx->reset_start = start;
    weir_link_tx_set_era(tx, era);
    begin_again(tx);
    link_tx_record_change(tx, batch);
    weir_log(WEIR_LOG_WARN, "link.reset", WEIR_INT("link", tx->link), WEIR_INT("era", era),
        WEIR_INT("start", start));
    WEIR_FP_RETURN("link.reset.after", reterr);
    return WEIR_OK;
}
