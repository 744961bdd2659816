/*
 * tx_answer.c - what the sender makes of the receiver's frames (R2, R4, R8).
 *
 * The sender judges, because it knows its own present: the receiver answers every HELLO with what
 * it holds and says which HELLO it answers.  Every comparison is with what the answer echoes, never
 * with what the sender knows by now, so a late answer cannot look like a loss.
 */
#include <stdio.h>

#include "common/base/failpoint.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/link/tx_internal.h"

typedef struct answer_call {
    weir_link_tx *tx;
    const Weir__Internal__V1__Frame *frame;
    int64_t now_ms;
    weir_batch *batch;
    unsigned news;
} answer_call;

/* What is wrong, and with whose volume; why NULL: nothing. */
typedef struct fault {
    const char *why;
    weir_link_lost lost;
} fault;

static void
alarm_raise(answer_call *call, fault found)
{
    weir_link_tx *tx = call->tx;
    char database[2 * WEIR_STORE_ID_SIZE + 1];

    tx->state = WEIR_LINK_REGRESSED;
    tx->hello_wait_ms = 0;
    tx->alarm_era = tx->era;
    memcpy(tx->alarm_store_id, call->frame->store_id.data, WEIR_STORE_ID_SIZE);
    tx->alarm_lost = found.lost;
    snprintf(tx->alarm, sizeof tx->alarm, "%s", found.why);
    weir_hex_encode(weir_bytes_of(tx->alarm_store_id, WEIR_STORE_ID_SIZE), database);
    weir_log(WEIR_LOG_ERROR, "link.peer_regressed", WEIR_INT("link", tx->link),
        WEIR_STR("store_id", database), WEIR_STR("message", tx->alarm));
    call->news |= WEIR_LINK_NEWS_ALARM;
}

/* Nothing can be lost by it, and nothing is refused by it: a late answer of a database that is gone
 * may be taken for a new one, and the living one must be able to come back. */
static void
adopt(answer_call *call)
{
    weir_link_tx *tx = call->tx;

    weir_assert(tx->acked == 0 || !tx->has_peer);
    tx->has_peer = true;
    memcpy(tx->peer_store_id, call->frame->store_id.data, WEIR_STORE_ID_SIZE);
    tx->has_peer_boot = false;
    tx->state = WEIR_LINK_WAITING;
    link_tx_record_change(tx, call->batch);
}

/* Is it the receiver's database, after adopting it where nothing can be lost by that? */
static bool
peer_is_ours(answer_call *call)
{
    weir_link_tx *tx = call->tx;
    const uint8_t *id = call->frame->store_id.data;

    if (tx->has_peer && link_id_equal(tx->peer_store_id, id))
        return true;
    if (link_peers_has(&tx->replaced, id)) {
        tx->refused_total++;
        return false;
    }
    if (tx->has_peer && tx->acked > 0) {
        alarm_raise(call,
            (fault){
                "the receiver has another database than the one that settled rows of this link",
                WEIR_LINK_LOST_PEER });
        return false;
    }
    adopt(call);
    return true;
}

/* The receiver has not taken this start.  If it knows an earlier one, the answer is late, unless it
 * took rows of a start that followed that one: those are gone here, and their numbers are given out
 * again.  A start that is not in the list was forgotten when a later one opened the link, or was
 * lost with this volume. */
static fault
find_fault_of_start(const weir_link_tx *tx, const link_boot *seen, uint64_t cursor, bool *ret_late)
{
    uint64_t first = 0;
    const bool is_listed = link_tx_starts_following(tx, seen, &first);

    *ret_late = is_listed && (cursor < first || LINK_MUTANT(NO_SELF_JUDGEMENT));
    if (*ret_late)
        return (fault){ 0 };
    if (is_listed)
        return (fault){ "the receiver took rows of a start that is not known here any more: this "
                        "volume was rolled back",
            WEIR_LINK_LOST_OWN };
    return (fault){
        "the receiver knows a start that this database does not: a volume was rolled back",
        seen->counter >= tx->boot.counter ? WEIR_LINK_LOST_OWN : WEIR_LINK_LOST_EITHER
    };
}

/* *ret_late: the answer of our receiver says nothing about the present. */
static fault
find_fault(const weir_link_tx *tx, const Weir__Internal__V1__HelloAnswer *answer, bool *ret_late)
{
    const uint64_t acked = LINK_MUTANT(LATE_ANSWER) ? tx->acked : answer->acked;
    link_boot seen;

    *ret_late = false;
    if (answer->reset_era > tx->reset_era)
        return (fault){
            "the receiver was reset in an era unknown here: this volume was rolled back",
            WEIR_LINK_LOST_OWN
        };
    *ret_late = answer->reset_era < tx->reset_era || !link_boot_read(answer->sender_boot, &seen);
    if (*ret_late)
        return (fault){ 0 };
    if (!link_boot_equal(&seen, &tx->boot))
        return find_fault_of_start(tx, &seen, answer->cursor, ret_late);
    if (answer->cursor < acked)
        return (fault){
            "the receiver's cursor is below what it acknowledged: its volume was rolled back",
            WEIR_LINK_LOST_PEER
        };
    if (answer->cursor >= tx->next_committed)
        return (fault){
            "the receiver's cursor is beyond every row here: this volume was rolled back",
            WEIR_LINK_LOST_OWN
        };
    return (fault){ 0 };
}

static void
open_link(answer_call *call, const Weir__Internal__V1__HelloAnswer *answer)
{
    weir_link_tx *tx = call->tx;
    link_boot boot;
    const bool whole = link_boot_read(call->frame->boot, &boot);

    weir_assert(whole);
    WEIR_FP("link.open.before");
    const bool same =
        tx->state == WEIR_LINK_OPEN && tx->has_peer_boot && link_boot_equal(&boot, &tx->peer_boot);
    tx->state = WEIR_LINK_OPEN;
    tx->has_peer_boot = true;
    tx->peer_boot = boot;
    tx->credit = answer->credit;
    tx->hello_wait_ms = 0;
    tx->hello_at_ms = call->now_ms + LINK_HELLO_MS;
    if (link_tx_progress(tx, answer->cursor, call->now_ms))
        call->news |= WEIR_LINK_NEWS_ACKED;
    if (!same) { /* what was in flight towards the last boot is lost */
        call->news |= WEIR_LINK_NEWS_OPENED;
        link_tx_go_back(tx, call->now_ms);
    }
    if (link_tx_starts_prune(tx))
        link_tx_record_change(tx, call->batch);
}

static void
on_answer(answer_call *call)
{
    weir_link_tx *tx = call->tx;
    const Weir__Internal__V1__HelloAnswer *answer = call->frame->answer;
    bool late = false;

    /* To a HELLO of another start, or of before the RESET: a database that was lost before this one
     * was named may have given it, and nobody here ever heard of that one. */
    if (!link_boot_is(&tx->boot, answer->hello_boot) || answer->hello_reset_era != tx->reset_era) {
        tx->refused_total++;
        return;
    }
    if (!peer_is_ours(call))
        return;
    const fault found = find_fault(tx, answer, &late);
    if (found.why != NULL)
        alarm_raise(call, found);
    else if (!late)
        open_link(call, answer);
}

/* An ack or nak of our receiver for this database and start, of a number that left. */
static bool
ack_is_ours(const weir_link_tx *tx, const Weir__Internal__V1__Frame *frame,
    const Weir__Internal__V1__Ack *ack)
{
    if (!link_id_is(tx->peer_store_id, frame->store_id) || ack->cursor >= tx->next_committed)
        return false;
    return LINK_MUTANT(NO_ECHO) ||
        (tx->state == WEIR_LINK_OPEN && link_id_is(tx->store_id, ack->sender_store_id) &&
            link_boot_is(&tx->boot, ack->sender_boot));
}

/* R2: a gap, go back; but not again for the same cursor while the rows sent for the last one are
 * still on their way. */
static void
on_gap(weir_link_tx *tx, uint64_t cursor, int64_t now_ms)
{
    const int64_t round_trip_ms =
        tx->srtt_8th_ms < 0 ? LINK_HELLO_FAST_MS : tx->srtt_8th_ms / 8 + 1;

    if (cursor < tx->acked || tx->sent == tx->acked)
        return;
    if (cursor == tx->back_to && now_ms - tx->back_at_ms < round_trip_ms)
        return;
    link_tx_go_back(tx, now_ms);
}

static void
on_ack(answer_call *call, const Weir__Internal__V1__Ack *ack, bool is_nak)
{
    weir_link_tx *tx = call->tx;

    if (!ack_is_ours(tx, call->frame, ack)) {
        tx->refused_total++;
        return;
    }
    /* A new boot of the receiver takes no rows before it has seen a HELLO. */
    if (!link_boot_is(&tx->peer_boot, call->frame->boot) && tx->hello_wait_ms == 0)
        link_tx_hello_now(tx);
    WEIR_FP("link.ack_taken.before");
    tx->credit = ack->credit;
    if (link_tx_progress(tx, ack->cursor, call->now_ms))
        call->news |= WEIR_LINK_NEWS_ACKED;
    if (is_nak)
        on_gap(tx, ack->cursor, call->now_ms);
}

static void
dispatch(answer_call *call)
{
    switch (call->frame->body_case) {
    case WEIR__INTERNAL__V1__FRAME__BODY_ANSWER:
        on_answer(call);
        return;
    case WEIR__INTERNAL__V1__FRAME__BODY_ACK:
        on_ack(call, call->frame->ack, false);
        return;
    case WEIR__INTERNAL__V1__FRAME__BODY_NAK:
        on_ack(call, call->frame->nak, true);
        return;
    case WEIR__INTERNAL__V1__FRAME__BODY_ROWS:
    case WEIR__INTERNAL__V1__FRAME__BODY_HELLO:
    case WEIR__INTERNAL__V1__FRAME__BODY__NOT_SET:
    case _WEIR__INTERNAL__V1__FRAME__BODY__CASE_IS_INT_SIZE:
        break;
    }
    call->tx->refused_total++;
}

weir_code
weir_link_tx_frame(weir_link_tx *tx, const Weir__Internal__V1__Frame *frame, int64_t now_ms,
    weir_batch *batch, unsigned *ret_news, weir_error *reterr)
{
    answer_call call = { .tx = tx, .frame = frame, .now_ms = now_ms, .batch = batch };

    (void)reterr; /* nothing here reads the store; the signature leaves room for it */
    if (frame->link != tx->link || !link_frame_is_whole(frame) || tx->state == WEIR_LINK_REGRESSED)
        tx->refused_total++;
    else
        dispatch(&call);
    *ret_news = call.news;
    return WEIR_OK;
}
