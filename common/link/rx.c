/*
 * rx.c - the receiver's end of a link: each row is delivered in order, settled once, and
 * acknowledged when that is on disk.
 *
 * Four numbers: received (delivered to the stage), cursor (settled, in order), prepared (in the
 * round's batch) and committed (synced).  Only `committed` is ever told to the sender (R4).
 * `received` is memory only: after a crash rows beyond the cursor come again, and the stage's
 * effects of them did not survive either, because effects and cursor are one batch.
 *
 * Where the rules and the model say cursor, this file says `received` if rows in flight will still
 * be settled: their effects are as good as done, so a sender that would use their numbers again was
 * rolled back.
 */
#include "common/link/rx_internal.h"

weir_code
weir_link_rx_start(const weir_link_rx_options *options, weir_link_rx **ret_rx, weir_error *reterr)
{
    weir_link_rx *rx = weir_alloc_zero(1, sizeof *rx);

    rx->store = options->store;
    rx->link = options->link;
    rx->carries_era = options->carries_era;
    rx->boot = link_boot_of(options->identity);
    memcpy(rx->store_id, options->identity->store_id, WEIR_STORE_ID_SIZE);
    rx->arena = weir_arena_create(0);
    link_envelope_init(&rx->envelope, rx->link, options->identity);

    const weir_code code = link_rx_record_load(rx, reterr);
    /* The sender's next HELLO may be seconds away; an ack of a new start brings it at once. */
    rx->ack_due = rx->has_peer;
    if (code != WEIR_OK)
        weir_link_rx_destroy(&rx);
    else
        *ret_rx = rx;
    return code;
}

void
weir_link_rx_destroy(weir_link_rx **rx_p)
{
    weir_link_rx *rx = *rx_p;

    if (rx == NULL)
        return;
    weir_free(rx->marks);
    weir_buffer_fini(&rx->envelope);
    weir_buffer_fini(&rx->frame);
    weir_arena_destroy(&rx->arena);
    weir_free(rx);
    *rx_p = NULL;
}

weir_code
weir_link_rx_frame(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era,
    int64_t now_ms, weir_batch *batch, weir_link_deliver *deliver, void *ud, weir_error *reterr)
{
    if (frame->link == rx->link && link_frame_is_whole(frame)) {
        if (frame->body_case == WEIR__INTERNAL__V1__FRAME__BODY_ROWS)
            return link_rx_rows(rx, frame, era, now_ms, deliver, ud, reterr);
        if (frame->body_case == WEIR__INTERNAL__V1__FRAME__BODY_HELLO) {
            link_rx_hello(rx, frame, era, batch);
            return WEIR_OK;
        }
    }
    rx->refused_total++;
    return WEIR_OK;
}

static uint8_t *
mark_of(const weir_link_rx *rx, uint64_t seq)
{
    return &rx->marks[seq & (rx->marks_capacity - 1)];
}

void
weir_link_rx_settle(weir_link_rx *rx, uint64_t seq)
{
    weir_assert(seq > rx->cursor && seq <= rx->received);
    weir_assert(*mark_of(rx, seq) == 0); /* settled twice */
    *mark_of(rx, seq) = 1;
    while (rx->cursor < rx->received && *mark_of(rx, rx->cursor + 1) != 0)
        *mark_of(rx, ++rx->cursor) = 0;
}

weir_code
weir_link_rx_prepare(weir_link_rx *rx, weir_batch *batch, weir_error *reterr)
{
    (void)reterr; /* puts only; the signature leaves room for reads */
    if (rx->cursor != rx->prepared)
        link_rx_record_put(rx, batch);
    return WEIR_OK;
}

void
weir_link_rx_committed(weir_link_rx *rx)
{
    if (rx->prepared != rx->committed)
        rx->ack_due = true;
    rx->committed = rx->prepared;
    rx->dirty = false;
}

void
weir_link_rx_set_credit(weir_link_rx *rx, uint32_t credit)
{
    /* A change that opens or closes the window is told at once, others ride on the next ack. */
    const bool telling =
        credit == 0 || rx->credit == 0 || credit / 2 >= rx->credit || credit <= rx->credit / 2;

    if (credit != rx->credit && telling && rx->hello_seen)
        rx->ack_due = true;
    rx->credit = credit;
}

void
weir_link_rx_status_read(const weir_link_rx *rx, weir_link_rx_status *ret_status)
{
    *ret_status = (weir_link_rx_status){ .cursor = rx->committed,
        .received = rx->received,
        .credit = rx->credit,
        .duplicate_total = rx->duplicate_total,
        .gap_total = rx->gap_total,
        .refused_total = rx->refused_total,
        .old_era_total = rx->old_era_total,
        .has_peer = rx->has_peer,
        .hello_seen = rx->hello_seen,
        .peer_boot_counter = rx->peer_boot.counter,
        .reset_era = rx->reset_era,
        .alarm_era = rx->alarm_era };
    memcpy(ret_status->peer_boot_random, rx->peer_boot.random, WEIR_BOOT_RANDOM_SIZE);
    memcpy(ret_status->peer_store_id, rx->peer_store_id, WEIR_STORE_ID_SIZE);
    memcpy(ret_status->alarm, rx->alarm, sizeof ret_status->alarm);
}
