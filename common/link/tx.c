/*
 * tx.c - the sender's end of a link: an outbox in the sender's database and a window over it.
 *
 * Promises: numbers are dense and given out in commit order, a number is never given out twice, a
 * row leaves only after its batch is synced, a row is deleted only after the receiver has settled
 * it.
 *
 * `next` is never reused.  It is written with the record at each start, adoption, trim and RESET;
 * between those the rows themselves carry it, because a row is deleted only in a batch that also
 * writes the record.  So at start next = max(record.next, last row + 1), and after everything was
 * acknowledged and trimmed the record alone knows it.
 *
 * The record's `acked` is the trimmed one, always: it agrees with the rows that exist at every
 * instant (R5), while the acknowledged one runs ahead in memory and costs duplicates when it is
 * lost.
 *
 * A crash at any line leaves: the record and the rows of whole batches.  Rows are contiguous from
 * acked + 1; the first and the last are checked at start, all others when they are read for
 * sending, and none can be passed over.
 */
#include "common/link/tx_internal.h"

#include "common/base/failpoint.h"

enum { RING_BYTES_DEFAULT = 8 << 20 };

/* The outbox of this link, [acked + 1, end). */
static weir_iter *
outbox_iter(const weir_link_tx *tx)
{
    const link_outbox_key lower = link_outbox_key_of(tx->link, tx->acked + 1);
    const link_outbox_key upper = link_outbox_key_of(tx->link, UINT64_MAX);

    return weir_store_iter(tx->store, NULL, weir_bytes_of(lower.bytes, sizeof lower.bytes),
        weir_bytes_of(upper.bytes, sizeof upper.bytes));
}

/* First and last number in the outbox; 0 and 0 when it is empty. */
static weir_code
outbox_ends(const weir_link_tx *tx, uint64_t *ret_first, uint64_t *ret_last, weir_error *reterr)
{
    weir_iter *iter = outbox_iter(tx);
    uint64_t first = 0, last = 0;
    bool named = true;

    if (weir_iter_next(iter))
        named = link_outbox_key_parse(weir_iter_key(iter), tx->link, &first);
    if (first != 0 && weir_iter_last(iter))
        named = named && link_outbox_key_parse(weir_iter_key(iter), tx->link, &last);
    weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    if (code == WEIR_OK && !named)
        code = weir_error_set(reterr, WEIR_CORRUPT,
            "a key in the outbox of link %#x has another form", (unsigned)tx->link);
    *ret_first = first;
    *ret_last = last;
    return code;
}

/* R5: the first row must be acked + 1, and `next` comes from the last row or the record, whichever
 * is greater. */
static weir_code
outbox_check(weir_link_tx *tx, weir_error *reterr)
{
    uint64_t first, last;
    const weir_code code = outbox_ends(tx, &first, &last, reterr);

    if (code != WEIR_OK)
        return code;
    const uint64_t wanted_first = last == 0 && tx->next == tx->acked + 1 ? 0 : tx->acked + 1;
    if (first != wanted_first || (last != 0 && last + 1 < tx->next))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "the outbox of link %#x holds rows %llu to %llu, but %llu are acknowledged and %llu "
            "comes next",
            (unsigned)tx->link, (unsigned long long)first, (unsigned long long)last,
            (unsigned long long)tx->acked, (unsigned long long)tx->next);
    if (last >= tx->next)
        tx->next = last + 1;
    return WEIR_OK;
}

static weir_link_tx *
tx_create(const weir_link_tx_options *options, uint64_t era)
{
    weir_link_tx *tx = weir_alloc_zero(1, sizeof *tx);

    tx->store = options->store;
    tx->link = options->link;
    tx->boot = link_boot_of(options->identity);
    memcpy(tx->store_id, options->identity->store_id, WEIR_STORE_ID_SIZE);
    tx->resolve = options->resolve;
    tx->resolve_ud = options->resolve_ud;
    tx->ring.bytes_max =
        options->memory_bytes_max > 0 ? options->memory_bytes_max : RING_BYTES_DEFAULT;
    tx->state = WEIR_LINK_WAITING;
    tx->hello_wait_ms = LINK_HELLO_FAST_MS;
    tx->rto_ms = LINK_RTO_MIN_MS;
    tx->srtt_8th_ms = -1;
    tx->back_at_ms = INT64_MIN / 2;
    tx->hello_sent_ms = INT64_MIN / 2;
    tx->era = era;
    tx->scratch = weir_arena_create(0);
    link_envelope_init(&tx->envelope, tx->link, options->identity);
    return tx;
}

weir_code
weir_link_tx_start(const weir_link_tx_options *options, uint64_t era, weir_batch *batch,
    weir_link_tx **ret_tx, weir_error *reterr)
{
    weir_link_tx *tx = tx_create(options, era);
    weir_code code = link_tx_record_load(tx, reterr);

    if (code == WEIR_OK)
        code = outbox_check(tx, reterr);
    if (code != WEIR_OK) {
        weir_link_tx_destroy(&tx);
        return code;
    }
    tx->next_committed = tx->next;
    tx->sent = tx->sent_most = tx->acked;
    link_tx_starts_add(tx, &tx->boot, tx->next);
    link_tx_record_change(tx, batch);
    *ret_tx = tx;
    return WEIR_OK;
}

void
weir_link_tx_destroy(weir_link_tx **tx_p)
{
    weir_link_tx *tx = *tx_p;

    if (tx == NULL)
        return;
    link_ring_fini(&tx->ring);
    link_peers_fini(&tx->replaced);
    weir_buffer_fini(&tx->envelope);
    weir_buffer_fini(&tx->frame);
    weir_arena_destroy(&tx->scratch);
    weir_free(tx->starts);
    weir_free(tx);
    *tx_p = NULL;
}

weir_code
weir_link_tx_append(weir_link_tx *tx, weir_batch *batch, const Weir__Internal__V1__Row *row,
    uint64_t *ret_seq, weir_error *reterr)
{
    const uint64_t seq = tx->next;
    uint8_t *data = NULL;
    size_t size = 0;
    WEIR_FP_RETURN("link.append.before", reterr);
    const weir_code code = link_row_pack(tx->link, seq, row, &data, &size, reterr);
    if (code != WEIR_OK)
        return code;

    const link_outbox_key key = link_outbox_key_of(tx->link, seq);
    weir_batch_put(batch, weir_bytes_of(key.bytes, sizeof key.bytes), weir_bytes_of(data, size));
    link_ring_push(&tx->ring, seq, data, size, tx->sent);
    tx->next = seq + 1;
    if (row->era > tx->era)
        tx->era = row->era;
    if (ret_seq != NULL)
        *ret_seq = seq;
    return WEIR_OK;
}

uint64_t
weir_link_tx_room(const weir_link_tx *tx)
{
    const uint64_t outstanding = tx->next - 1 - tx->acked;

    return tx->state == WEIR_LINK_OPEN && outstanding < tx->credit ? tx->credit - outstanding : 0;
}

void
weir_link_tx_committed(weir_link_tx *tx)
{
    tx->next_committed = tx->next;
    tx->dirty = false;
}

void
weir_link_tx_set_era(weir_link_tx *tx, uint64_t era)
{
    if (era > tx->era)
        tx->era = era;
}

void
weir_link_tx_status_read(const weir_link_tx *tx, weir_link_tx_status *ret_status)
{
    *ret_status = (weir_link_tx_status){ .state = tx->state,
        .next = tx->next,
        .acked = tx->acked,
        .sent = tx->sent_most,
        .credit = tx->credit,
        .resent_total = tx->resent_total,
        .refused_total = tx->refused_total,
        .stalled_rtos = tx->stalled_rtos,
        .has_peer = tx->has_peer,
        .peer_boot_counter = tx->peer_boot.counter,
        .reset_era = tx->reset_era,
        .alarm_lost = tx->alarm_lost,
        .alarm_era = tx->alarm_era };
    memcpy(ret_status->peer_store_id, tx->peer_store_id, WEIR_STORE_ID_SIZE);
    memcpy(ret_status->peer_boot_random, tx->peer_boot.random, WEIR_BOOT_RANDOM_SIZE);
    memcpy(ret_status->alarm, tx->alarm, sizeof ret_status->alarm);
    memcpy(ret_status->alarm_store_id, tx->alarm_store_id, WEIR_STORE_ID_SIZE);
}
