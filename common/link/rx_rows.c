/*
 * rx_rows.c - rows at the receiver (R3): the next one is delivered, a known one is dropped, a later
 * one is a gap.
 *
 * A damaged row is a gap too: it is asked for again.  Rows count only after this boot has seen a
 * HELLO of the sender's start, because before that nobody has compared what the two databases know.
 */
#include "common/base/log.h"
#include "common/link/rx_internal.h"
#include "common/wire/wire.h"

typedef struct rows_call {
    weir_link_rx *rx;
    uint64_t era;
    int64_t now_ms;
    weir_link_deliver *deliver;
    void *ud;
} rows_call;

static void
grow_marks(weir_link_rx *rx)
{
    const size_t capacity = rx->marks_capacity == 0 ? 1024 : rx->marks_capacity * 2;
    uint8_t *marks = weir_alloc_zero(capacity, 1);

    for (uint64_t seq = rx->cursor + 1; rx->marks_capacity > 0 && seq <= rx->received; seq++)
        marks[seq & (capacity - 1)] = rx->marks[seq & (rx->marks_capacity - 1)];
    weir_free(rx->marks);
    rx->marks = marks;
    rx->marks_capacity = capacity;
}

/* One more row is in flight; its mark must not share a place with that of another. */
static void
take(weir_link_rx *rx)
{
    if (rx->received - rx->cursor + 1 >= rx->marks_capacity)
        grow_marks(rx);
    rx->received++;
    rx->nak_sent = false;
}

void
link_rx_begin_at(weir_link_rx *rx, uint64_t seq)
{
    if (rx->marks_capacity > 0)
        memset(rx->marks, 0, rx->marks_capacity);
    rx->cursor = rx->prepared = rx->received = seq;
}

/* One NAK per gap, until the gap is closed or a quarter of the least RTO has passed.  The gap is
 * behind `received`: the cursor may go on moving over rows in flight while it stays open. */
void
link_rx_want_resend(weir_link_rx *rx, int64_t now_ms)
{
    if (rx->nak_sent && rx->nak_received == rx->received &&
        now_ms - rx->nak_at_ms < LINK_NAK_REPEAT_MS)
        return;
    rx->nak_due = true;
    rx->nak_sent = true;
    rx->nak_received = rx->received;
    rx->nak_at_ms = now_ms;
}

/* Check and unpack the next row into rx->arena; NULL when it is damaged. */
static const Weir__Internal__V1__Row *
open_row(weir_link_rx *rx, uint64_t seq, weir_bytes stored, weir_bytes *ret_packed)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    weir_code code = link_row_check(rx->link, seq, stored, ret_packed, &error);

    if (LINK_MUTANT(CRC_IGNORED) && stored.size >= LINK_ROW_CRC_BYTES) {
        *ret_packed = weir_bytes_of(stored.data, stored.size - LINK_ROW_CRC_BYTES);
        code = WEIR_OK;
    }
    weir_arena_reset(rx->arena);
    if (code == WEIR_OK)
        code = weir_wire_decode(&weir__internal__v1__row__descriptor, *ret_packed, NULL, rx->arena,
            &message, &error);
    if (code == WEIR_OK)
        return (const Weir__Internal__V1__Row *)message;
    weir_log(WEIR_LOG_WARN, "link.row_damaged", WEIR_INT("link", rx->link), WEIR_INT("seq", seq),
        WEIR_STR("message", error.message));
    return NULL;
}

static weir_code
deliver_row(rows_call *call, uint64_t seq, const Weir__Internal__V1__Row *row, weir_bytes packed,
    weir_error *reterr)
{
    weir_link_rx *rx = call->rx;

    if (rx->carries_era && row->era < call->era) { /* R3: its work comes again in the present era */
        take(rx);
        rx->old_era_total++;
        weir_link_rx_settle(rx, seq);
        return WEIR_OK;
    }
    take(rx);
    const weir_code code = call->deliver(call->ud, rx->link, seq, row, packed, reterr);
    if (code != WEIR_OK)
        rx->received--; /* the stage did not take it */
    return code;
}

/* *ret_go_on: the rows behind it may count too. */
static weir_code
next_row(rows_call *call, uint64_t seq, weir_bytes stored, bool *ret_go_on, weir_error *reterr)
{
    weir_link_rx *rx = call->rx;
    weir_bytes packed = { 0 };
    const Weir__Internal__V1__Row *row = open_row(rx, seq, stored, &packed);

    *ret_go_on = row != NULL;
    if (row != NULL)
        return deliver_row(call, seq, row, packed, reterr);
    rx->refused_total++;
    link_rx_want_resend(rx, call->now_ms);
    return WEIR_OK;
}

static weir_code
one_row(rows_call *call, uint64_t seq, ProtobufCBinaryData data, bool *ret_go_on,
    weir_error *reterr)
{
    weir_link_rx *rx = call->rx;

    *ret_go_on = true;
    if (seq <= rx->received) {
        rx->duplicate_total++;
        rx->ack_due = rx->ack_due || seq <= rx->committed;
        return WEIR_OK;
    }
    while (LINK_MUTANT(GAP_TAKEN) && rx->received + 1 < seq) {
        take(rx);
        weir_link_rx_settle(rx, rx->received);
    }
    if (seq == rx->received + 1)
        return next_row(call, seq, weir_bytes_of(data.data, data.len), ret_go_on, reterr);
    *ret_go_on = false;
    rx->gap_total++;
    link_rx_want_resend(rx, call->now_ms);
    return WEIR_OK;
}

/* Rows of the database and start in force, after this boot's HELLO, while the link is in order. */
static bool
are_welcome(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, int64_t now_ms)
{
    if (!rx->has_peer || !link_id_is(rx->peer_store_id, frame->store_id) ||
        !link_boot_is(&rx->peer_boot, frame->boot))
        return false;
    if (rx->alarm[0] != 0 || rx->holding)
        return false;
    if (!rx->hello_seen) {
        link_rx_want_resend(rx,
            now_ms); /* shows the sender our boot, so that it says HELLO at once */
        return false;
    }
    return rx->received - rx->cursor + WEIR_FRAME_ROWS_MAX <= LINK_WINDOW_ROWS_MAX;
}

weir_code
link_rx_rows(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era, int64_t now_ms,
    weir_link_deliver *deliver, void *ud, weir_error *reterr)
{
    rows_call call = { .rx = rx, .era = era, .now_ms = now_ms, .deliver = deliver, .ud = ud };
    const Weir__Internal__V1__Rows *rows = frame->rows;
    weir_code code = WEIR_OK;
    bool go_on = true;

    if (!are_welcome(rx, frame, now_ms)) {
        rx->refused_total += rows->n_rows;
        return WEIR_OK;
    }
    for (size_t i = 0; code == WEIR_OK && go_on && i < rows->n_rows; i++)
        code = one_row(&call, rows->first_seq + i, rows->rows[i], &go_on, reterr);
    return code;
}
