/*
 * rx_send.c - what leaves the receiver: answers, acks and naks, each with the cursor that is on
 * disk.
 */
#include "common/link/rx_internal.h"

#include "common/base/failpoint.h"

typedef struct pump_call {
    weir_link_rx *rx;
    weir_link_send *send;
    void *ud;
} pump_call;

static bool
send_frame(pump_call *call, uint32_t field, const ProtobufCMessage *body)
{
    weir_link_rx *rx = call->rx;

    link_frame_build(&rx->frame, &rx->envelope, field, body);
    if (field == LINK_FIELD_ACK && WEIR_FP_FAILS("link.ack.before"))
        return false;
    if (field == LINK_FIELD_ANSWER && WEIR_FP_FAILS("link.answer.before"))
        return false;
    return call->send(call->ud, rx->link, weir_buffer_view(&rx->frame));
}

static bool
send_answer(pump_call *call)
{
    const weir_link_rx *rx = call->rx;
    Weir__Internal__V1__HelloAnswer answer = WEIR__INTERNAL__V1__HELLO_ANSWER__INIT;
    Weir__Internal__V1__Boot sender = link_boot_message(&rx->peer_boot);
    Weir__Internal__V1__Boot hello = link_boot_message(&rx->hello_boot);

    if (rx->has_peer)
        answer.sender_boot = &sender;
    answer.hello_boot = &hello;
    answer.acked = rx->hello_acked;
    answer.hello_reset_era = rx->hello_reset_era;
    answer.cursor = rx->committed;
    answer.credit = rx->credit;
    answer.reset_era = rx->reset_era;
    return send_frame(call, LINK_FIELD_ANSWER, &answer.base);
}

static bool
send_ack(pump_call *call, uint32_t field)
{
    const weir_link_rx *rx = call->rx;
    Weir__Internal__V1__Ack ack = WEIR__INTERNAL__V1__ACK__INIT;
    Weir__Internal__V1__Boot boot = link_boot_message(&rx->peer_boot);

    ack.sender_store_id = link_borrow(rx->peer_store_id, WEIR_STORE_ID_SIZE);
    ack.sender_boot = &boot;
    ack.cursor = LINK_MUTANT(ACK_BEFORE_COMMIT) ? rx->received : rx->committed;
    ack.credit = rx->credit;
    return send_frame(call, field, &ack.base);
}

/* True when nothing is left to send. */
static bool
send_due(pump_call *call)
{
    weir_link_rx *rx = call->rx;

    if (rx->answer_due && !send_answer(call))
        return false;
    rx->answer_due = false;
    if (rx->nak_due && !send_ack(call, LINK_FIELD_NAK))
        return false;
    if (rx->nak_due)
        rx->ack_due = false; /* the nak carries the same cursor */
    rx->nak_due = false;
    if (rx->ack_due && !send_ack(call, LINK_FIELD_ACK))
        return false;
    WEIR_FP("link.ack.after");
    rx->ack_due = false;
    return true;
}

void
weir_link_rx_pump(weir_link_rx *rx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms)
{
    pump_call call = { .rx = rx, .send = send, .ud = ud };

    *ret_wake_ms = LINK_NEVER;
    if (rx->dirty) /* the answer would tell of a record that is not on disk */
        return;
    if (LINK_MUTANT(ACK_BEFORE_COMMIT) && rx->received > rx->cursor)
        rx->ack_due = true;
    /* The wall clock was set back: nothing waits for what is further away than it can be. */
    if (rx->retry_at_ms > now_ms + LINK_RETRY_MIN_MS)
        rx->retry_at_ms = now_ms;
    if (now_ms >= rx->retry_at_ms && !send_due(&call))
        rx->retry_at_ms = now_ms + LINK_RETRY_MIN_MS;
    if (rx->answer_due || rx->ack_due || rx->nak_due)
        *ret_wake_ms = rx->retry_at_ms;
}
