/*
 * rx_hello.c - HELLO and RESET at the receiver (R8).
 *
 * The receiver changes its record only where the HELLO proves that nothing is lost by it: a first
 * sender; a later start of the same database that knows the start seen last and gives out fresh
 * numbers only; another database while nothing was settled; a RESET of a higher era that means this
 * database.  In all other cases it answers with what it holds, and the sender judges.
 *
 * What begins again waits for what is in flight: rows that were delivered will be settled by their
 * old numbers, and these must not be taken for the new rows of the same numbers.  Meanwhile no rows
 * are taken; the sender goes on asking.
 */
#include <stdio.h>

#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/link/rx_internal.h"

typedef struct hello_call {
    weir_link_rx *rx;
    const Weir__Internal__V1__Frame *frame;
    const Weir__Internal__V1__Hello *hello;
    link_boot boot;
    uint64_t era;
    weir_batch *batch;
} hello_call;

/* This HELLO's start is the greatest seen from now on. */
static void
see_boot(hello_call *call)
{
    weir_link_rx *rx = call->rx;

    rx->peer_boot = call->boot;
    rx->hello_seen = true;
    rx->nak_sent = false;
    link_rx_record_put(rx, call->batch);
    rx->dirty = !LINK_MUTANT(ANSWER_BEFORE_COMMIT);
}

static void
see_database(hello_call *call)
{
    weir_link_rx *rx = call->rx;

    rx->has_peer = true;
    memcpy(rx->peer_store_id, call->frame->store_id.data, WEIR_STORE_ID_SIZE);
    see_boot(call);
}

/* Rows in flight would settle under numbers that mean other rows by then. */
static bool
must_hold(weir_link_rx *rx)
{
    if (LINK_MUTANT(RESET_IN_FLIGHT))
        return false;
    rx->holding = rx->received > rx->cursor;
    return rx->holding;
}

static void
apply_reset(hello_call *call)
{
    weir_link_rx *rx = call->rx;
    const Weir__Internal__V1__Reset *reset = call->hello->reset;

    if (must_hold(rx))
        return;
    WEIR_FP("link.reset_taken.before");
    if (!LINK_MUTANT(RESET_KEEPS_CURSOR))
        link_rx_begin_at(rx, reset->start - 1);
    rx->reset_era = reset->era;
    rx->alarm[0] = 0;
    see_database(call);
    weir_log(WEIR_LOG_WARN, "link.reset_taken", WEIR_INT("link", rx->link),
        WEIR_INT("era", reset->era), WEIR_INT("start", reset->start));
}

/* A rolled-back sender gives out numbers again that this receiver has taken already. */
static void
raise_alarm(hello_call *call, uint64_t first)
{
    weir_link_rx *rx = call->rx;

    snprintf(rx->alarm, sizeof rx->alarm,
        "the sender was rolled back: it begins at %llu, rows up to %llu were taken from it already",
        (unsigned long long)first, (unsigned long long)rx->received);
    rx->alarm_era = call->era;
    weir_log(WEIR_LOG_ERROR, "link.sender_rolled_back", WEIR_INT("link", rx->link),
        WEIR_STR("message", rx->alarm));
}

/* The `first` of the start that followed the one seen last; false when the HELLO does not know that
 * one. */
static bool
find_following(const hello_call *call, uint64_t *ret_first)
{
    const Weir__Internal__V1__Hello *hello = call->hello;

    for (size_t i = 0; i + 1 < hello->n_starts; i++)
        if (link_boot_is(&call->rx->peer_boot, hello->starts[i]->boot)) {
            *ret_first =
                hello->starts[LINK_MUTANT(FIRST_OF_LAST_START) ? hello->n_starts - 1 : i + 1]
                    ->first;
            return true;
        }
    return false;
}

static void
same_database(hello_call *call)
{
    weir_link_rx *rx = call->rx;
    uint64_t first = 0;

    if (link_boot_equal(&rx->peer_boot, &call->boot)) {
        rx->hello_seen = true;
        return;
    }
    if (!find_following(call, &first))
        return; /* late, or rolled back to before the start seen last: the sender judges by the
                   answer */
    if (rx->received >= first && !LINK_MUTANT(NO_FIRST))
        raise_alarm(call, first);
    else
        see_boot(call);
}

static bool
reset_is_for_us(const hello_call *call)
{
    const Weir__Internal__V1__Reset *reset = call->hello->reset;

    return reset != NULL && link_id_is(call->rx->store_id, reset->receiver_store_id) &&
        link_id_is(call->frame->store_id.data, reset->sender_store_id);
}

static void
judge(hello_call *call)
{
    weir_link_rx *rx = call->rx;
    const uint64_t era = call->hello->reset != NULL ? call->hello->reset->era : 0;

    rx->holding = false;
    if ((era > rx->reset_era || (LINK_MUTANT(RESET_TWICE) && era > 0)) && reset_is_for_us(call))
        apply_reset(call);
    else if (era != rx->reset_era)
        return;
    else if (!rx->has_peer)
        see_database(call);
    else if (link_id_is(rx->peer_store_id, call->frame->store_id))
        same_database(call);
    else if (rx->cursor == 0 && !must_hold(rx))
        see_database(call);
}

void
link_rx_hello(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era,
    weir_batch *batch)
{
    hello_call call = { .rx = rx,
        .frame = frame,
        .hello = frame->hello,
        .era = era,
        .batch = batch };
    const Weir__Internal__V1__Start *newest = call.hello->starts[call.hello->n_starts - 1];

    if (!link_boot_read(frame->boot, &call.boot) || !link_boot_is(&call.boot, newest->boot)) {
        rx->refused_total++; /* a HELLO whose list does not end with its own start */
        return;
    }
    judge(&call);
    rx->answer_due = true;
    rx->hello_boot = call.boot;
    rx->hello_acked = call.hello->acked;
    rx->hello_reset_era = call.hello->reset != NULL ? call.hello->reset->era : 0;
}
