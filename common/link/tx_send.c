/*
 * tx_send.c - what leaves the sender, and when (R2).
 *
 * Rows acked + 1 .. acked + credit are the window; `sent` runs through it and falls back to acked
 * after RTO, a NAK or a new boot of the receiver.  A fixed timer of 300 ms was measured to answer
 * slow commits with a storm of duplicates, so RTO is max(2 s, 4 x smoothed ack time) and doubles to
 * 30 s; NAK does the fast path.
 */
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/link/tx_internal.h"

typedef struct pump_call {
    weir_link_tx *tx;
    int64_t now_ms;
    weir_link_send *send;
    void *ud;
    int64_t wake_ms;
    link_rows *rows;
} pump_call;

static int64_t
rto_base(const weir_link_tx *tx)
{
    const int64_t measured_ms = tx->srtt_8th_ms < 0 ? 0 : tx->srtt_8th_ms / 2; /* 4 x srtt */

    if (measured_ms < LINK_RTO_MIN_MS)
        return LINK_RTO_MIN_MS;
    return measured_ms < LINK_RTO_MAX_MS ? measured_ms : LINK_RTO_MAX_MS;
}

/* Karn's rule: only a row that was sent once tells a round trip. */
static void
measure(weir_link_tx *tx, uint64_t cursor, int64_t now_ms)
{
    if (tx->timed_seq == 0 || cursor < tx->timed_seq)
        return;
    const int64_t sample_ms = now_ms - tx->timed_at_ms;

    tx->srtt_8th_ms =
        tx->srtt_8th_ms < 0 ? sample_ms * 8 : tx->srtt_8th_ms - tx->srtt_8th_ms / 8 + sample_ms;
    tx->timed_seq = 0;
}

bool
link_tx_progress(weir_link_tx *tx, uint64_t cursor, int64_t now_ms)
{
    weir_assert(cursor < tx->next_committed);
    if (cursor <= tx->acked)
        return false;
    measure(tx, cursor, now_ms);
    tx->acked = cursor;
    if (tx->sent < cursor) /* settled in an earlier start, or before this one went back */
        tx->sent = cursor;
    if (tx->sent_most < cursor)
        tx->sent_most = cursor;
    tx->progress_at_ms = now_ms;
    tx->rto_ms = rto_base(tx);
    tx->stalled_rtos = 0;
    link_ring_drop_to(&tx->ring, cursor);
    return true;
}

void
link_tx_go_back(weir_link_tx *tx, int64_t now_ms)
{
    if (tx->sent > tx->acked) {
        tx->back_to = tx->acked;
        tx->back_at_ms = now_ms;
    }
    tx->sent = tx->acked;
    tx->timed_seq = 0;
    tx->progress_at_ms = now_ms;
}

void
link_tx_hello_now(weir_link_tx *tx)
{
    tx->hello_at_ms =
        tx->hello_sent_ms + LINK_HELLO_FAST_MS; /* at most every 100 ms, whatever arrives */
    tx->hello_wait_ms = LINK_HELLO_FAST_MS;
}

static void
wake_at(pump_call *call, int64_t at_ms)
{
    if (at_ms < call->wake_ms)
        call->wake_ms = at_ms;
}

/* The bytes of a HELLO into tx->frame. */
static void
build_hello(weir_link_tx *tx)
{
    Weir__Internal__V1__Hello hello = WEIR__INTERNAL__V1__HELLO__INIT;
    Weir__Internal__V1__Reset reset;

    weir_arena_reset(tx->scratch);
    hello.n_starts = tx->start_count;
    hello.starts = link_tx_starts_message(tx, tx->scratch);
    hello.acked = tx->acked;
    hello.next = tx->next_committed;
    if (tx->reset_era > 0) {
        link_tx_reset_message(tx, &reset);
        hello.reset = &reset;
    }
    link_frame_build(&tx->frame, &tx->envelope, LINK_FIELD_HELLO, &hello.base);
}

/* When the next HELLO comes after one at now: slow, or fast and backing off while no answer came.
 */
static void
schedule_hello(weir_link_tx *tx, int64_t now_ms)
{
    const int64_t wait_ms = tx->hello_wait_ms > 0 ? tx->hello_wait_ms : LINK_HELLO_MS;

    tx->hello_at_ms = now_ms + wait_ms;
    if (tx->hello_wait_ms > 0)
        tx->hello_wait_ms = wait_ms * 2 < LINK_HELLO_MS ? wait_ms * 2 : LINK_HELLO_MS;
}

static void
say_hello(pump_call *call)
{
    weir_link_tx *tx = call->tx;

    if (call->now_ms >= tx->hello_at_ms) {
        build_hello(tx);
        if (!WEIR_FP_FAILS("link.hello.before") &&
            call->send(call->ud, tx->link, weir_buffer_view(&tx->frame))) {
            tx->hello_sent_ms = call->now_ms;
            schedule_hello(tx, call->now_ms);
        } else {
            tx->hello_at_ms = call->now_ms + LINK_HELLO_FAST_MS;
        }
    }
    wake_at(call, tx->hello_at_ms);
}

static void
check_timer(pump_call *call)
{
    weir_link_tx *tx = call->tx;

    if (tx->sent == tx->acked || call->now_ms - tx->progress_at_ms < tx->rto_ms)
        return;
    tx->stalled_rtos++;
    tx->rto_ms = tx->rto_ms * 2 < LINK_RTO_MAX_MS ? tx->rto_ms * 2 : LINK_RTO_MAX_MS;
    link_tx_go_back(tx, call->now_ms);
}

/* Nothing can leave now: again a little later, and later each time. */
static void
retry_later(pump_call *call, int64_t least_ms)
{
    weir_link_tx *tx = call->tx;
    const int64_t doubled_ms = tx->retry_wait_ms * 2;

    tx->retry_wait_ms = doubled_ms < least_ms ? least_ms : doubled_ms;
    if (tx->retry_wait_ms > LINK_RETRY_MAX_MS)
        tx->retry_wait_ms = LINK_RETRY_MAX_MS;
    tx->retry_at_ms = call->now_ms + tx->retry_wait_ms;
}

/* Rows first .. last left this process. */
static void
count_sent(weir_link_tx *tx, uint64_t first, uint64_t last, int64_t now_ms)
{
    if (tx->sent == tx->acked)
        tx->progress_at_ms = now_ms;
    if (first <= tx->sent_most)
        tx->resent_total += (last < tx->sent_most ? last : tx->sent_most) - first + 1;
    else if (tx->timed_seq == 0) {
        tx->timed_seq = last;
        tx->timed_at_ms = now_ms;
    }
    if (last > tx->sent_most)
        tx->sent_most = last;
    tx->sent = last;
    tx->retry_wait_ms = 0;
}

/* The last number that may leave now. */
static uint64_t
window_end(const weir_link_tx *tx)
{
    const uint64_t credit = LINK_MUTANT(ROWS_BEFORE_ANSWER) ? tx->credit + 8 : tx->credit;
    const uint64_t by_credit = tx->acked + credit;
    const uint64_t by_commit = (LINK_MUTANT(SEQ_REUSE) ? tx->next : tx->next_committed) - 1;

    return by_credit < by_commit ? by_credit : by_commit;
}

static weir_code
send_one(pump_call *call, uint64_t last, bool *ret_sent, weir_error *reterr)
{
    weir_link_tx *tx = call->tx;
    const uint64_t first = tx->sent + 1;
    const weir_code code = link_tx_rows_collect(tx, call->rows, first, last, reterr);
    if (code != WEIR_OK)
        return code;

    const uint64_t end = first + call->rows->count - 1;
    weir_assert(end < tx->next_committed || LINK_MUTANT(SEQ_REUSE)); /* R1 */
    link_frame_build_rows(&tx->frame, &tx->envelope, first, call->rows->rows, call->rows->count);
    *ret_sent = !WEIR_FP_FAILS("link.send.before") &&
        call->send(call->ud, tx->link, weir_buffer_view(&tx->frame));
    WEIR_FP_RETURN("link.send.after", reterr);
    if (*ret_sent)
        count_sent(tx, first, end, call->now_ms);
    else
        retry_later(call, LINK_RETRY_MIN_MS);
    return WEIR_OK;
}

/* Damage and a failing store stop the service; a row that cannot be completed now is tried again.
 */
static weir_code
judge_failure(pump_call *call, weir_code code, const weir_error *error)
{
    if (code == WEIR_CORRUPT || code == WEIR_STORE_IO)
        return code;
    retry_later(call, LINK_RESOLVE_RETRY_MS);
    weir_log(WEIR_LOG_WARN, "link.row_unresolved", WEIR_INT("link", call->tx->link),
        WEIR_INT("seq", call->tx->sent + 1), WEIR_STR("reason", weir_code_name(code)),
        WEIR_STR("message", error->message));
    return WEIR_OK;
}

static weir_code
send_rows(pump_call *call, weir_error *reterr)
{
    weir_link_tx *tx = call->tx;
    weir_error error = { 0 };
    bool sent = true;
    weir_code code = WEIR_OK;

    while (sent && code == WEIR_OK && call->now_ms >= tx->retry_at_ms) {
        const uint64_t last = window_end(tx);
        if (tx->sent >= last)
            return WEIR_OK;
        code = send_one(call, last, &sent, &error);
        if (code != WEIR_OK)
            code = judge_failure(call, code, &error);
    }
    if (code != WEIR_OK && reterr != NULL)
        *reterr = error;
    if (tx->sent < window_end(tx))
        wake_at(call, tx->retry_at_ms);
    return code;
}

static weir_code
pump_rows(pump_call *call, weir_error *reterr)
{
    weir_link_tx *tx = call->tx;
    link_rows rows = { 0 };

    if (tx->state != WEIR_LINK_OPEN &&
        !(LINK_MUTANT(ROWS_BEFORE_ANSWER) && tx->state == WEIR_LINK_WAITING))
        return WEIR_OK;
    call->rows = &rows;
    check_timer(call);
    const weir_code code = send_rows(call, reterr);
    link_tx_rows_fini(&rows);
    if (tx->sent > tx->acked)
        wake_at(call, tx->progress_at_ms + tx->rto_ms);
    return code;
}

/* The wall clock was set back: nothing waits for what is further away than it can be. */
static void
mind_clock(weir_link_tx *tx, int64_t now_ms)
{
    if (tx->hello_at_ms > now_ms + LINK_HELLO_MS)
        tx->hello_at_ms = now_ms;
    if (tx->retry_at_ms > now_ms + LINK_RETRY_MAX_MS)
        tx->retry_at_ms = now_ms;
    if (tx->progress_at_ms > now_ms)
        tx->progress_at_ms = now_ms;
    if (tx->timed_at_ms > now_ms)
        tx->timed_seq = 0;
}

weir_code
weir_link_tx_pump(weir_link_tx *tx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms, weir_error *reterr)
{
    mind_clock(tx, now_ms);
    pump_call call = { .tx = tx, .now_ms = now_ms, .send = send, .ud = ud, .wake_ms = LINK_NEVER };
    weir_code code = WEIR_OK;

    if (!tx->dirty || LINK_MUTANT(SEQ_REUSE)) {
        say_hello(&call);
        code = pump_rows(&call, reterr);
    }
    *ret_wake_ms = call.wake_ms;
    return code;
}
