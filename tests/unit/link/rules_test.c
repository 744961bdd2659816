/*
 * Goal: each rule of a link (R1..R9) by itself, with the numbers that it promises.
 * Method: one sender and one receiver over in-memory stores; the test carries every frame by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/wire/wire.h"
#include "pair.h"

static void
check_ok(weir_code code, const weir_error *error, int line)
{
    if (code != WEIR_OK)
        fail_msg("line %d: %s: %s", line, weir_code_name(code), error->message);
}

#define OK(expression_) check_ok((expression_), &error, __LINE__)

static int
set_up(void **state)
{
    static pair p;
    weir_error error = { 0 };

    pair_init(&p, 42);
    OK(pair_start_a(&p, &error));
    OK(pair_start_b(&p, &error));
    *state = &p;
    return 0;
}

static int
tear_down(void **state)
{
    pair_fini(*state);
    return 0;
}

/* ---- steps ---- */

static void
pump_a(pair *p)
{
    weir_error error = { 0 };

    OK(pair_pump_a(p, &error));
}

static void
append(pair *p, uint64_t first_id, uint64_t count)
{
    weir_error error = { 0 };

    for (uint64_t i = 0; i < count; i++)
        OK(pair_append(p, first_id + i, NULL, &error));
}

static void
commit_a(pair *p)
{
    weir_error error = { 0 };

    OK(pair_commit_a(p, &error));
}

static void
commit_b(pair *p)
{
    weir_error error = { 0 };

    OK(pair_commit_b(p, &error));
    pair_pump_b(p);
}

static void
settle_all(pair *p)
{
    weir_error error = { 0 };

    OK(pair_settle(p, p->flight_count, &error));
}

static void
take_forth(pair *p)
{
    weir_error error = { 0 };

    while (p->forth.count > 0)
        OK(pair_hand_to_b(p, 0, false, &error));
}

static void
take_back(pair *p)
{
    weir_error error = { 0 };

    while (p->back.count > 0)
        OK(pair_hand_to_a(p, 0, false, &error));
}

/* HELLO and its answer. */
static void
open_link(pair *p)
{
    pump_a(p);
    take_forth(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
}

/* Everything there and back once. */
static void
carry(pair *p)
{
    pump_a(p);
    take_forth(p);
    settle_all(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
}

static void
send_rows(pair *p, uint64_t first_id, uint64_t count)
{
    append(p, first_id, count);
    commit_a(p);
    carry(p);
}

static void
lose(pair_queue *queue)
{
    while (queue->count > 0)
        pair_drop(queue, 0);
}

static void
restart_a(pair *p)
{
    weir_error error = { 0 };

    pair_crash_a(p);
    OK(pair_start_a(p, &error));
}

static void
restart_b(pair *p)
{
    weir_error error = { 0 };

    pair_crash_b(p);
    OK(pair_start_b(p, &error));
}

static Weir__Internal__V1__Frame *
peek(pair *p, const pair_queue *queue, size_t index)
{
    Weir__Internal__V1__Frame *frame = NULL;
    weir_error error = { 0 };

    assert_true(index < queue->count);
    weir_arena_reset(p->arena);
    OK(weir_link_frame_decode(weir_bytes_of(queue->frames[index].data, queue->frames[index].size),
        p->arena, &frame, &error));
    return frame;
}

static void
replace(pair_queue *queue, size_t index, const Weir__Internal__V1__Frame *frame)
{
    weir_buffer out = { 0 };

    weir_wire_encode(&frame->base, &out);
    pair_push(queue, weir_buffer_view(&out));
    pair_swap(queue, index, queue->count - 1);
    pair_drop(queue, queue->count - 1);
    weir_buffer_fini(&out);
}

/* ---- R1 ---- */

static void
numbers_are_dense_and_begin_at_one(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    uint64_t seq = 0;

    for (uint64_t i = 1; i <= 5; i++) {
        OK(pair_append(p, i, &seq, &error));
        assert_int_equal(seq, i);
    }
    assert_int_equal(pair_tx(p).next, 6);
}

static void
no_row_leaves_before_its_commit(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 3);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 1);
    assert_int_equal(peek(p, &p->forth, 0)->rows->n_rows, 3);
}

static void
a_round_that_was_lost_gives_its_numbers_to_the_next(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    uint64_t seq = 0;

    open_link(p);
    send_rows(p, 1, 2);
    append(p, 3, 2);
    restart_a(p);
    OK(pair_append(p, 5, &seq, &error));
    assert_int_equal(seq, 3);
}

static void
a_number_is_never_given_twice_even_when_all_rows_are_gone(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    uint64_t seq = 0;

    open_link(p);
    send_rows(p, 1, 7);
    OK(weir_link_tx_trim(p->tx, true, &error));
    assert_int_equal(pair_outbox_count(p), 0);
    OK(weir_store_sync(p->a.store, &error));
    restart_a(p);
    restart_a(p);
    OK(pair_append(p, 8, &seq, &error));
    assert_int_equal(seq, 8);
}

static void
a_row_that_no_receiver_would_take_is_refused_with_malformed_message(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

    row.document_id = "\xff\xfe";
    assert_int_equal(weir_link_tx_append(p->tx, p->a.batch, &row, NULL, &error),
        WEIR_MALFORMED_MESSAGE);
    assert_int_equal(pair_tx(p).next, 1);
}

static void
a_row_above_the_limit_is_refused_with_body_too_large(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    p->fill_bytes = WEIR_ROW_BYTES_MAX;
    assert_int_equal(pair_append(p, 1, NULL, &error), WEIR_BODY_TOO_LARGE);
    assert_int_equal(pair_tx(p).next, 1);
}

/* ---- R2 ---- */

static void
rows_wait_for_the_answer_of_this_start(void **state)
{
    pair *p = *state;

    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 1);
    assert_int_equal(peek(p, &p->forth, 0)->body_case, WEIR__INTERNAL__V1__FRAME__BODY_HELLO);
    take_forth(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
    assert_true(p->news & WEIR_LINK_NEWS_OPENED);
    pump_a(p);
    assert_int_equal(peek(p, &p->forth, 0)->body_case, WEIR__INTERNAL__V1__FRAME__BODY_ROWS);
}

static void
the_window_is_the_credit(void **state)
{
    pair *p = *state;

    weir_link_rx_set_credit(p->rx, 5);
    open_link(p);
    assert_int_equal(weir_link_tx_room(p->tx), 5);
    append(p, 1, 20);
    commit_a(p);
    assert_int_equal(weir_link_tx_room(p->tx), 0);
    pump_a(p);
    assert_int_equal(pair_tx(p).sent, 5);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 5);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 10);
}

static void
no_credit_stops_the_link_and_new_credit_is_told_at_once(void **state)
{
    pair *p = *state;

    weir_link_rx_set_credit(p->rx, 0);
    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    weir_link_rx_set_credit(p->rx, 8);
    pair_pump_b(p);
    take_back(p);
    pump_a(p);
    assert_int_equal(pair_tx(p).sent, 3);
}

static void
a_message_takes_64_rows_or_256_kib(void **state)
{
    pair *p = *state;

    weir_link_rx_set_credit(p->rx, 1000);
    open_link(p);
    append(p, 1, 100);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 2);
    assert_int_equal(peek(p, &p->forth, 0)->rows->n_rows, WEIR_FRAME_ROWS_MAX);
    assert_int_equal(peek(p, &p->forth, 1)->rows->n_rows, 36);

    lose(&p->forth);
    p->fill_bytes = 100 << 10;
    append(p, 101, 3);
    p->fill_bytes = 300 << 10;
    append(p, 104, 1);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count,
        3); /* 2 x 100 KiB, 100 KiB, and one that is larger by itself */
    assert_int_equal(peek(p, &p->forth, 0)->rows->n_rows, 2);
    assert_int_equal(peek(p, &p->forth, 2)->rows->first_seq, 104);
}

static void
a_send_without_room_is_tried_again(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    p->forth.blocked = true;
    pump_a(p);
    assert_int_equal(pair_tx(p).sent, 0);
    assert_true(p->wake_ms > p->now_ms && p->wake_ms <= p->now_ms + LINK_RETRY_MAX_MS);
    p->forth.blocked = false;
    p->now_ms = p->wake_ms;
    pump_a(p);
    assert_int_equal(pair_tx(p).sent, 2);
}

static void
without_progress_the_window_is_sent_again_after_two_seconds_and_later_each_time(void **state)
{
    pair *p = *state;
    const int64_t begun_ms = p->now_ms;
    const int64_t expected_ms[] = { 2000, 6000, 14000, 30000, 60000,
        90000 }; /* 2, 4, 8, 16, 30, 30 s apart */

    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
        p->now_ms = begun_ms + expected_ms[i] - 1;
        pump_a(p);
        const uint64_t before = pair_tx(p).resent_total;
        p->now_ms = begun_ms + expected_ms[i];
        pump_a(p);
        assert_int_equal(pair_tx(p).resent_total, before + 3);
        assert_int_equal(pair_tx(p).stalled_rtos, i + 1);
    }
    take_forth(p);
    settle_all(p);
    commit_b(p);
    take_back(p);
    assert_int_equal(pair_tx(p).stalled_rtos, 0);
    assert_int_equal(pair_tx(p).acked, 3);
}

static void
the_timer_follows_four_smoothed_round_trips(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    settle_all(p);
    p->now_ms += 1500; /* a slow commit */
    commit_b(p);
    take_back(p);
    append(p, 2, 1);
    commit_a(p);
    pump_a(p);
    lose(&p->forth);
    p->now_ms += 5999; /* HELLOs leave, rows do not */
    pump_a(p);
    assert_int_equal(pair_tx(p).resent_total, 0);
    p->now_ms += 1;
    pump_a(p);
    assert_int_equal(pair_tx(p).resent_total, 1);
}

static void
a_gap_is_told_once_and_closed_at_once(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    lose(&p->forth);
    for (uint64_t id = 3; id <= 5; id++) { /* three messages behind the gap */
        append(p, id, 1);
        commit_a(p);
        pump_a(p);
    }
    take_forth(p);
    commit_b(p);
    assert_int_equal(pair_rx(p).gap_total, 3);
    assert_int_equal(p->back.count, 1);
    assert_int_equal(peek(p, &p->back, 0)->body_case, WEIR__INTERNAL__V1__FRAME__BODY_NAK);
    take_back(p);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 5);
}

static void
a_gap_is_told_again_after_a_quarter_of_the_least_timer(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p);
    lose(&p->forth);
    append(p, 2, 1);
    commit_a(p);
    pump_a(p);
    for (int i = 0; i < 3; i++) {
        weir_error error = { 0 };
        OK(pair_hand_to_b(p, 0, true, &error));
        pair_pump_b(p);
        assert_int_equal(p->back.count, i < 2 ? 1 : 2);
        p->now_ms += LINK_NAK_REPEAT_MS / 2 + (i == 1 ? 0 : -1) + 1;
    }
}

static void
a_second_nak_for_the_same_cursor_is_ignored_within_a_round_trip(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p);
    lose(&p->forth);
    append(p, 2, 1);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    pair_pump_b(p);
    OK(pair_hand_to_a(p, 0, true, &error));
    pump_a(p);
    assert_int_equal(pair_tx(p).resent_total, 2);
    OK(pair_hand_to_a(p, 0, true, &error)); /* the same nak once more */
    pump_a(p);
    assert_int_equal(pair_tx(p).resent_total, 2);
    p->now_ms += LINK_HELLO_FAST_MS; /* no round trip was measured yet */
    OK(pair_hand_to_a(p, 0, false, &error));
    pump_a(p);
    assert_int_equal(pair_tx(p).resent_total, 4);
}

/* ---- R3 ---- */

static void
a_known_row_is_dropped_and_acknowledged_again(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    OK(pair_hand_to_b(p, 0, true, &error));
    OK(pair_hand_to_b(p, 0, true, &error)); /* not settled yet: nothing to say */
    assert_int_equal(p->flight_count, 3);
    assert_int_equal(pair_rx(p).duplicate_total, 3);
    settle_all(p);
    commit_b(p);
    lose(&p->back);
    OK(pair_hand_to_b(p, 0, false, &error));
    pair_pump_b(p);
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 3);
    assert_int_equal(p->doubled, 0);
}

static void
a_damaged_row_is_dropped_and_asked_for_again(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->forth, 0);
    frame->rows->rows[1].data[3] ^= 1;
    replace(&p->forth, 0, frame);
    take_forth(p);
    assert_int_equal(p->flight_count, 1);
    assert_int_equal(pair_rx(p).refused_total, 1);
    settle_all(p);
    commit_b(p);
    take_back(p);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 3);
    assert_int_equal(p->doubled, 0);
}

static void
a_row_under_another_number_does_not_pass(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->forth, 0);
    const ProtobufCBinaryData first = frame->rows->rows[0];
    frame->rows->rows[0] = frame->rows->rows[1];
    frame->rows->rows[1] = first;
    replace(&p->forth, 0, frame);
    take_forth(p);
    assert_int_equal(p->flight_count, 0);
    assert_int_equal(pair_rx(p).refused_total, 1);
}

static void
a_new_boot_of_the_receiver_takes_no_rows_before_a_hello_and_asks_for_one(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    restart_b(p);
    append(p, 3, 1);
    commit_a(p);
    p->now_ms += LINK_HELLO_FAST_MS;
    pump_a(p);
    take_forth(p);
    assert_int_equal(p->flight_count, 0);
    assert_int_equal(pair_rx(p).refused_total, 1);
    pair_pump_b(p);
    take_back(p); /* shows the new boot */
    pump_a(p);
    assert_int_equal(peek(p, &p->forth, 0)->body_case, WEIR__INTERNAL__V1__FRAME__BODY_HELLO);
    p->news = 0;
    take_forth(p);
    commit_b(p);
    take_back(p);
    assert_true(p->news & WEIR_LINK_NEWS_OPENED);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 3);
}

static void
rows_of_another_link_are_refused(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->forth, 0);
    frame->link++;
    OK(weir_link_rx_frame(p->rx, frame, 0, p->now_ms, p->b.batch, NULL, NULL, &error));
    assert_int_equal(pair_rx(p).refused_total, 1);
    assert_int_equal(pair_rx(p).received, 0);
}

static void
rows_of_an_old_start_are_refused_after_a_hello_of_a_newer_one(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p); /* stays in the queue */
    restart_a(p);
    pump_a(p);
    pair_swap(&p->forth, 0, 1); /* the new HELLO overtakes */
    take_forth(p);
    assert_int_equal(pair_rx(p).refused_total, 1);
    assert_int_equal(p->flight_count, 0);
}

static void
a_row_of_an_old_era_settles_without_being_delivered(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    p->carries_era = true;
    OK(pair_start_b(p, &error));
    p->era = 4;
    p->b_era = 5;
    open_link(p);
    append(p, 1, 2);
    p->era = 5;
    append(p, 3, 1);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    assert_int_equal(p->flight_count, 1);
    assert_int_equal(pair_rx(p).old_era_total, 2);
    settle_all(p);
    commit_b(p);
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 3);
}

static void
a_row_that_the_stage_refuses_is_not_taken_and_comes_again(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    p->refuse = WEIR_PRESSURE;
    assert_int_equal(pair_hand_to_b(p, 0, false, &error), WEIR_PRESSURE);
    assert_int_equal(pair_rx(p).received, 0);
    p->refuse = WEIR_OK;
    p->now_ms += LINK_RTO_MIN_MS;
    carry(p);
    assert_int_equal(pair_tx(p).acked, 2);
}

/* ---- R4 ---- */

static void
an_ack_tells_only_what_is_on_disk(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    OK(pair_settle(p, 2, &error));
    pair_pump_b(p);
    assert_int_equal(p->back.count, 0);
    commit_b(p);
    assert_int_equal(peek(p, &p->back, 0)->ack->cursor, 2);
    assert_int_equal(pair_rx(p).cursor, 2);
    assert_int_equal(pair_rx(p).received, 3);
}

static void
the_cursor_moves_over_contiguous_rows_only(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 4);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    weir_link_rx_settle(p->rx, 3);
    weir_link_rx_settle(p->rx, 2);
    commit_b(p);
    assert_int_equal(pair_rx(p).cursor, 0);
    weir_link_rx_settle(p->rx, 1);
    commit_b(p);
    assert_int_equal(pair_rx(p).cursor, 3);
}

static void
unsettled_rows_come_again_after_a_crash_of_the_receiver(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 4);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    OK(pair_settle(p, 2, &error));
    commit_b(p);
    take_back(p);
    OK(pair_settle(p, 2, &error)); /* never committed */
    restart_b(p);
    p->now_ms += LINK_HELLO_MS;
    carry(p);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 4);
    assert_int_equal(p->doubled, 0);
    assert_true(pair_has_effect(p, 4));
}

static void
an_ack_of_another_start_or_database_is_ignored(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    settle_all(p);
    commit_b(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->back, 0);
    frame->ack->sender_boot->random.data[0] ^= 1;
    replace(&p->back, 0, frame);
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 0);
    assert_int_equal(pair_tx(p).refused_total, 1);
}

static void
an_ack_of_a_number_that_was_never_given_is_ignored(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    settle_all(p);
    commit_b(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->back, 0);
    frame->ack->cursor = 3;
    replace(&p->back, 0, frame);
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 0);
}

static void
late_and_doubled_acks_are_harmless(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    OK(pair_settle(p, 1, &error));
    commit_b(p);
    OK(pair_settle(p, 1, &error));
    commit_b(p);
    pair_swap(&p->back, 0, 1);
    OK(pair_hand_to_a(p, 0, true, &error));
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 2);
}

/* ---- R5 ---- */

static void
a_lost_trim_costs_duplicates_only(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    send_rows(p, 1, 5);
    assert_int_equal(pair_tx(p).acked, 5);
    OK(weir_link_tx_trim(p->tx, true, &error));
    weir_link_tx_destroy(&p->tx);
    weir_batch_destroy(&p->a.batch);
    weir_store_mem_power_cut(p->a.store, 0); /* may or may not keep the trim: both are whole */
    OK(pair_start_a(p, &error));
    const size_t left = pair_outbox_count(p);
    assert_true(left == 0 || left == 5);
    assert_int_equal(pair_tx(p).acked, 5 - left);
    open_link(p);
    assert_int_equal(pair_tx(p).acked, 5);
}

static void
rows_are_trimmed_when_enough_gathered_or_when_forced(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    weir_link_rx_set_credit(p->rx, 5000);
    open_link(p);
    send_rows(p, 1, LINK_TRIM_ROWS - 1);
    OK(weir_link_tx_trim(p->tx, false, &error));
    assert_int_equal(pair_outbox_count(p), LINK_TRIM_ROWS - 1);
    send_rows(p, LINK_TRIM_ROWS, 1);
    OK(weir_link_tx_trim(p->tx, false, &error));
    assert_int_equal(pair_outbox_count(p), 0);
}

static void
a_missing_first_row_is_corrupt(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    const link_outbox_key key = link_outbox_key_of(PAIR_LINK, 1);

    append(p, 1, 3);
    commit_a(p);
    weir_batch_delete(p->a.batch, weir_bytes_of(key.bytes, sizeof key.bytes));
    OK(weir_store_commit(p->a.store, p->a.batch, true, &error));
    assert_int_equal(pair_start_a(p, &error), WEIR_CORRUPT);
}

static void
a_missing_last_row_is_corrupt(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    const link_outbox_key key = link_outbox_key_of(PAIR_LINK, 3);

    append(p, 1, 3);
    commit_a(p);
    restart_a(p); /* the record knows that 4 comes next */
    weir_batch_delete(p->a.batch, weir_bytes_of(key.bytes, sizeof key.bytes));
    OK(weir_store_commit(p->a.store, p->a.batch, true, &error));
    assert_int_equal(pair_start_a(p, &error), WEIR_CORRUPT);
}

static void
a_hole_in_the_outbox_is_corrupt_when_it_is_reached(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    const link_outbox_key key = link_outbox_key_of(PAIR_LINK, 2);

    append(p, 1, 3);
    commit_a(p);
    weir_batch_delete(p->a.batch, weir_bytes_of(key.bytes, sizeof key.bytes));
    commit_a(p);
    restart_a(p);
    open_link(p);
    assert_int_equal(pair_pump_a(p, &error), WEIR_CORRUPT);
    assert_non_null(strstr(error.message, "row 2"));
    assert_non_null(strstr(error.message, "missing"));
    assert_int_equal(pair_tx(p).sent, 1); /* the row before it has left, none behind it does */
    assert_int_equal(p->forth.count, 1);
}

static void
a_damaged_row_in_the_outbox_is_corrupt_when_it_is_read_back(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    const link_outbox_key key = link_outbox_key_of(PAIR_LINK, 1);

    append(p, 1, 1);
    commit_a(p);
    weir_batch_put(p->a.batch, weir_bytes_of(key.bytes, sizeof key.bytes),
        weir_bytes_str("not a row"));
    commit_a(p);
    restart_a(p);
    open_link(p);
    assert_int_equal(pair_pump_a(p, &error), WEIR_CORRUPT);
}

static void
rows_beyond_the_memory_are_read_back_in_order(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    p->memory_bytes_max = 300;
    OK(pair_start_a(p, &error));
    weir_link_rx_set_credit(p->rx, 1000);
    open_link(p);
    for (uint64_t id = 1; id <= 2500; id += 100)
        send_rows(p, id, 100);
    assert_int_equal(pair_tx(p).acked, 2500);
    assert_int_equal(pair_tx(p).resent_total, 0);
}

/* ---- R8 ---- */

static void
hello_is_fast_until_it_is_answered_and_then_every_three_seconds(void **state)
{
    pair *p = *state;
    const int64_t expected_ms[] = { 0, 100, 300, 700, 1500, 3100, 6100, 9100 };
    const int64_t begun_ms = p->now_ms;

    for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
        pump_a(p);
        assert_int_equal(p->now_ms - begun_ms, expected_ms[i]);
        assert_int_equal(p->forth.count, 1);
        if (i + 1 < sizeof expected_ms / sizeof expected_ms[0])
            lose(&p->forth);
        p->now_ms = p->wake_ms;
    }
    take_forth(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    assert_int_equal(p->wake_ms - p->now_ms, LINK_HELLO_MS);
    p->now_ms = p->wake_ms;
    pump_a(p);
    assert_int_equal(p->forth.count, 1);
}

static void
a_hello_carries_every_start_since_the_one_that_the_receiver_knows(void **state)
{
    pair *p = *state;

    open_link(p); /* knows start 1 */
    append(p, 1, 2);
    commit_a(p);
    restart_a(p); /* first 3 */
    append(p, 3, 1);
    commit_a(p);
    restart_a(p); /* first 4 */
    pump_a(p);
    const Weir__Internal__V1__Hello *hello = peek(p, &p->forth, 0)->hello;
    assert_int_equal(hello->n_starts, 3);
    assert_int_equal(hello->starts[0]->first, 1);
    assert_int_equal(hello->starts[1]->first, 3);
    assert_int_equal(hello->starts[2]->first, 4);
    assert_int_equal(hello->next, 4);
    take_forth(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
    p->now_ms += LINK_HELLO_MS;
    lose(&p->forth);
    pump_a(p);
    assert_int_equal(peek(p, &p->forth, 0)->hello->n_starts, 1);
}

static void
the_list_of_starts_stays_bounded_and_keeps_what_finds_a_rollback(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 1);
    commit_a(p);
    for (int i = 0; i < LINK_STARTS_MAX + 5; i++) {
        restart_a(p);
        append(p, (uint64_t)i + 2, 1);
        commit_a(p);
    }
    pump_a(p);
    const Weir__Internal__V1__Hello *hello = peek(p, &p->forth, 0)->hello;
    assert_int_equal(hello->n_starts, LINK_STARTS_MAX);
    assert_int_equal(hello->starts[0]->first, 1); /* the one that the receiver knows ... */
    assert_int_equal(hello->starts[1]->first,
        2); /* ... and the `first` of the one that followed it */
    open_link(p);
}

static void
the_answer_waits_until_the_boot_is_on_disk(void **state)
{
    pair *p = *state;

    pump_a(p);
    take_forth(p);
    pair_pump_b(p);
    assert_int_equal(p->back.count, 0);
    commit_b(p);
    assert_int_equal(p->back.count, 1);
}

static void
a_late_answer_to_an_earlier_start_is_ignored(void **state)
{
    pair *p = *state;

    pump_a(p);
    take_forth(p);
    commit_b(p);
    restart_a(p);
    take_back(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_WAITING);
    assert_int_equal(pair_tx(p).refused_total, 1);
}

static void
a_late_answer_with_a_lower_cursor_is_no_alarm(void **state)
{
    pair *p = *state;

    pump_a(p);
    take_forth(p);
    commit_b(p);
    weir_error error = { 0 };
    OK(pair_hand_to_a(p, 0, true, &error)); /* cursor 0; a copy stays */
    commit_a(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    settle_all(p);
    commit_b(p);
    pair_swap(&p->back, 0, 1);
    take_back(p);
    assert_int_equal(pair_tx(p).acked, 2);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
}

static pair *
with_five_settled(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 5);
    assert_int_equal(pair_tx(p).acked, 5);
    return p;
}

static void
say_hello_again(pair *p)
{
    p->now_ms += LINK_HELLO_MS;
    pump_a(p);
    take_forth(p);
    commit_b(p);
    take_back(p);
    commit_a(p);
}

static void
a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(void **state)
{
    pair *p = with_five_settled(state);
    weir_error error = { 0 };

    weir_link_tx_set_era(p->tx, 7);
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_wipe(p->b.store);
    OK(pair_start_b(p, &error));
    say_hello_again(p);
    const weir_link_tx_status status = pair_tx(p);
    assert_int_equal(status.state, WEIR_LINK_REGRESSED);
    assert_true(p->news & WEIR_LINK_NEWS_ALARM);
    assert_int_equal(status.alarm_era, 7);
    assert_memory_equal(status.alarm_store_id, p->b.identity.store_id, WEIR_STORE_ID_SIZE);
    assert_true(strlen(status.alarm) > 0);
}

static void
a_stopped_link_sends_no_rows_and_hears_nothing(void **state)
{
    pair *p = *state;

    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    append(p, 6, 1);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    assert_int_equal(weir_link_tx_room(p->tx), 0);
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
a_new_receiver_is_adopted_while_nothing_was_acknowledged(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    append(p, 1, 3);
    commit_a(p);
    pump_a(p);
    lose(&p->forth);
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_wipe(p->b.store);
    OK(pair_start_b(p, &error));
    say_hello_again(p);
    carry(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
    assert_int_equal(pair_tx(p).acked, 3);
    assert_memory_equal(pair_tx(p).peer_store_id, p->b.identity.store_id, WEIR_STORE_ID_SIZE);
}

static void
a_rolled_back_receiver_is_an_alarm(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->b.store);
    send_rows(p, 3, 3);
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_close(&p->b.store);
    p->b.store = copy;
    OK(pair_start_b(p, &error));
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
put_back_a(pair *p, weir_store *copy)
{
    weir_error error = { 0 };

    weir_link_tx_destroy(&p->tx);
    weir_batch_destroy(&p->a.batch);
    weir_store_close(&p->a.store);
    p->a.store = copy;
    OK(pair_start_a(p, &error));
}

static void
a_rolled_back_sender_that_would_use_numbers_again_is_an_alarm_of_the_receiver(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->a.store);
    send_rows(p, 3, 3);
    put_back_a(p, copy);
    p->b_era = 9;
    pump_a(p);
    take_forth(p);
    const weir_link_rx_status status = pair_rx(p);
    assert_true(strlen(status.alarm) > 0);
    assert_int_equal(status.alarm_era, 9);
    append(p, 6, 1);
    commit_a(p);
    carry(p);
    carry(p);
    assert_int_equal(p->flight_count, 0);
    assert_int_equal(pair_rx(p).cursor, 5);
}

/* The gateway hears of an alarm from the sender alone: it must judge by itself. */
static void
a_rolled_back_sender_that_would_use_numbers_again_finds_it_in_the_answer(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->a.store);
    send_rows(p, 3, 3);
    put_back_a(p, copy);
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
    assert_int_equal(pair_tx(p).alarm_lost, WEIR_LINK_LOST_OWN);
}

static void
rows_in_flight_of_a_lost_past_are_found_too(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->a.store);
    append(p, 3, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p); /* delivered, not settled */
    put_back_a(p, copy);
    pump_a(p);
    take_forth(p);
    assert_true(strlen(pair_rx(p).alarm) > 0);
}

static void
a_later_start_of_the_sender_that_used_those_numbers_is_found_too(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->a.store);
    send_rows(p, 3, 1);
    put_back_a(p, copy); /* first 3 */
    append(p, 10, 4);
    commit_a(p);
    restart_a(p); /* first 7, beyond the receiver's cursor 3 */
    pump_a(p);
    take_forth(p);
    assert_true(strlen(pair_rx(p).alarm) > 0);
}

static void
a_sender_that_does_not_know_the_start_that_the_receiver_saw_is_an_alarm(void **state)
{
    pair *p = *state;

    weir_store *copy = weir_store_mem_clone(p->a.store);
    restart_a(p);
    open_link(p);
    send_rows(p, 1, 2);
    put_back_a(p, copy); /* its list lacks the start of which the receiver took rows */
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
a_wiped_sender_is_an_alarm_when_rows_were_settled(void **state)
{
    pair *p = with_five_settled(state);
    weir_error error = { 0 };

    weir_link_tx_destroy(&p->tx);
    weir_batch_destroy(&p->a.batch);
    weir_store_mem_wipe(p->a.store);
    OK(pair_start_a(p, &error));
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
a_wiped_sender_is_adopted_while_nothing_was_settled(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    open_link(p);
    weir_link_tx_destroy(&p->tx);
    weir_batch_destroy(&p->a.batch);
    weir_store_mem_wipe(p->a.store);
    OK(pair_start_a(p, &error));
    open_link(p);
    send_rows(p, 1, 2);
    assert_int_equal(pair_tx(p).acked, 2);
}

/* ---- RESET ---- */

static void
reset_a(pair *p, uint64_t era)
{
    weir_error error = { 0 };

    p->era = era;
    OK(weir_link_tx_reset(p->tx, era, p->b.identity.store_id, p->a.batch, &error));
    commit_a(p);
}

static void
a_reset_drops_rows_of_older_eras_and_keeps_those_of_its_own(void **state)
{
    pair *p = *state;

    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    append(p, 6, 2); /* era 0 */
    p->era = 8;
    append(p, 8, 2);
    commit_a(p);
    reset_a(p, 8);
    assert_int_equal(pair_tx(p).acked, 7);
    assert_int_equal(pair_outbox_count(p), 2);
    say_hello_again(p);
    carry(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
    assert_int_equal(pair_tx(p).acked, 9);
    assert_int_equal(pair_rx(p).reset_era, 8);
    assert_true(pair_has_effect(p, 9));
    assert_false(pair_has_effect(p, 6));
}

static void
a_reset_survives_a_crash_of_either_end(void **state)
{
    pair *p = *state;

    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    reset_a(p, 8);
    restart_a(p);
    append(p, 6, 1);
    commit_a(p);
    say_hello_again(p);
    restart_b(p);
    say_hello_again(p);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 6);
    assert_int_equal(pair_rx(p).reset_era, 8);
}

static void
a_reset_is_done_once_per_era(void **state)
{
    pair *p = *state;

    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    reset_a(p, 8);
    say_hello_again(p);
    send_rows(p, 6, 2);
    assert_int_equal(pair_tx(p).acked, 7);
    reset_a(p, 8); /* the gateway asks again: nothing happens */
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
    say_hello_again(p);
    assert_int_equal(pair_rx(p).cursor, 7);
}

static void
a_reset_of_an_older_era_or_a_second_one_of_an_era_is_an_invalid_argument(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    uint8_t first[WEIR_STORE_ID_SIZE];

    memcpy(first, p->b.identity.store_id, sizeof first);
    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    reset_a(p, 8);
    assert_int_equal(weir_link_tx_reset(p->tx, 7, p->b.identity.store_id, p->a.batch, &error),
        WEIR_INVALID_ARGUMENT);
    assert_int_equal(weir_link_tx_reset(p->tx, 8, first, p->a.batch, &error),
        WEIR_INVALID_ARGUMENT);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_WAITING);
}

static void
a_reset_of_a_later_era_may_name_a_replaced_database_again(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    uint8_t first[WEIR_STORE_ID_SIZE];

    memcpy(first, p->b.identity.store_id, sizeof first);
    a_receiver_with_another_database_is_an_alarm_when_rows_were_settled(state);
    reset_a(p, 8);
    assert_int_equal(weir_link_tx_reset(p->tx, 9, first, p->a.batch, &error), WEIR_OK);
    assert_memory_equal(pair_tx(p).peer_store_id, first, sizeof first);
}

static void
a_replaced_receiver_is_refused_without_an_alarm(void **state)
{
    pair *p = with_five_settled(state);
    weir_error error = { 0 };

    weir_store *old = weir_store_mem_clone(p->b.store);
    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_wipe(p->b.store);
    OK(pair_start_b(p, &error));
    say_hello_again(p);
    reset_a(p, 1);
    say_hello_again(p);
    send_rows(p, 6, 1);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);

    weir_link_rx_destroy(&p->rx); /* the old volume is mounted again */
    weir_batch_destroy(&p->b.batch);
    weir_store_close(&p->b.store);
    p->b.store = old;
    OK(pair_start_b(p, &error));
    const uint64_t before = pair_tx(p).refused_total;
    say_hello_again(p);
    assert_int_equal(pair_tx(p).refused_total, before + 2); /* its ack and its answer */
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
    assert_int_equal(pair_tx(p).acked, 6);
}

/* The HELLO of an idle link is seconds away. */
static void
a_receiver_that_starts_again_is_greeted_at_once(void **state)
{
    pair *p = with_five_settled(state);
    weir_error error = { 0 };

    say_hello_again(p); /* just now, so the next one would take LINK_HELLO_MS */
    pair_crash_b(p);
    OK(pair_start_b(p, &error));
    commit_b(p);
    take_back(p);
    p->now_ms += LINK_HELLO_FAST_MS;
    pump_a(p);
    take_forth(p);
    commit_b(p);
    p->news = 0;
    take_back(p);
    assert_true(p->news & WEIR_LINK_NEWS_OPENED);
    assert_true(pair_rx(p).hello_seen);
}

static void
a_reset_waits_for_rows_in_flight(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    append(p, 3, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p); /* 3 and 4 are in flight */
    reset_a(p, 1);
    say_hello_again(p);
    assert_int_equal(pair_rx(p).reset_era, 0);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_WAITING); /* the answer was of the old era */
    settle_all(p);
    commit_b(p);
    say_hello_again(p);
    assert_int_equal(pair_rx(p).reset_era, 1);
    assert_int_equal(pair_rx(p).cursor, 4);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
}

static void
a_reset_of_another_database_is_not_taken(void **state)
{
    pair *p = with_five_settled(state);
    weir_error error = { 0 };
    const uint8_t other[WEIR_STORE_ID_SIZE] = { 1, 2, 3 };

    OK(weir_link_tx_reset(p->tx, 1, other, p->a.batch, &error));
    commit_a(p);
    say_hello_again(p);
    assert_int_equal(pair_rx(p).reset_era, 0);
    assert_int_equal(pair_rx(p).cursor, 5);
}

static void
a_sender_put_back_to_before_a_reset_is_an_alarm(void **state)
{
    pair *p = with_five_settled(state);

    weir_store *copy = weir_store_mem_clone(p->a.store);
    reset_a(p, 3);
    say_hello_again(p);
    assert_int_equal(pair_rx(p).reset_era, 3);
    put_back_a(p, copy);
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
wipe_b(pair *p)
{
    weir_error error = { 0 };

    weir_link_rx_destroy(&p->rx);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_wipe(p->b.store);
    OK(pair_start_b(p, &error));
}

static void
a_late_answer_of_a_database_that_was_lost_before_the_reset_is_ignored(void **state)
{
    pair *p = with_five_settled(state);

    wipe_b(p);
    p->now_ms += LINK_HELLO_MS;
    pump_a(p);
    take_forth(p);
    commit_b(p); /* its answer stays on the way */
    wipe_b(p);
    reset_a(p, 1);
    take_back(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_WAITING);
    say_hello_again(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_OPEN);
}

static void
a_receiver_that_does_not_know_the_reset_of_a_sender_does_not_adopt_it(void **state)
{
    pair *p = with_five_settled(state);

    reset_a(p, 1);
    say_hello_again(p);
    wipe_b(p);
    say_hello_again(p);
    assert_false(pair_rx(p).has_peer);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
no_rows_are_taken_while_a_reset_waits(void **state)
{
    pair *p = *state;

    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p); /* in flight */
    append(p, 3, 2);
    commit_a(p);
    pump_a(p); /* on their way when the RESET comes */
    reset_a(p, 1);
    p->now_ms += LINK_HELLO_MS;
    pump_a(p);
    pair_swap(&p->forth, 0, p->forth.count - 1); /* the HELLO overtakes */
    take_forth(p);
    assert_int_equal(pair_rx(p).received, 2);
    assert_int_equal(pair_rx(p).refused_total, 2);
}

static void
no_rows_are_taken_of_a_sender_in_alarm(void **state)
{
    pair *p = *state;

    open_link(p);
    send_rows(p, 1, 2);
    weir_store *copy = weir_store_mem_clone(p->a.store);
    send_rows(p, 3, 3);
    append(p, 6, 2);
    commit_a(p);
    pump_a(p); /* rows of the past that is lost now */
    put_back_a(p, copy);
    pump_a(p);
    pair_swap(&p->forth, 0, p->forth.count - 1);
    take_forth(p);
    assert_true(strlen(pair_rx(p).alarm) > 0);
    assert_int_equal(pair_rx(p).received, 5);
}

static void
a_cursor_beyond_every_row_is_an_alarm(void **state)
{
    pair *p = with_five_settled(state);

    p->now_ms += LINK_HELLO_MS;
    pump_a(p);
    take_forth(p);
    commit_b(p);
    Weir__Internal__V1__Frame *frame = peek(p, &p->back, 0);
    frame->answer->cursor = 6;
    replace(&p->back, 0, frame);
    take_back(p);
    assert_int_equal(pair_tx(p).state, WEIR_LINK_REGRESSED);
}

static void
rows_of_a_link_without_an_era_pass_in_any_era(void **state)
{
    pair *p = *state;

    p->b_era = 5;
    open_link(p);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    take_forth(p);
    assert_int_equal(p->flight_count, 2);
    assert_int_equal(pair_rx(p).old_era_total, 0);
}

/* ---- records and identity ---- */

static void
an_identity_counts_starts_and_knows_an_unclean_end(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    weir_link_identity identity;
    const uint8_t random[32] = { 9 };

    assert_int_equal(p->a.identity.boot_counter, 1);
    assert_false(p->a.identity.unclean);
    OK(weir_link_identity_start(p->a.store, "sender/0", random, &identity, &error));
    assert_int_equal(identity.boot_counter, 2);
    assert_true(identity.unclean);
    assert_memory_equal(identity.store_id, p->a.identity.store_id, WEIR_STORE_ID_SIZE);

    OK(weir_link_identity_stop(p->a.batch, &error));
    OK(weir_store_commit(p->a.store, p->a.batch, true, &error));
    OK(weir_link_identity_start(p->a.store, "sender/0", random, &identity, &error));
    assert_int_equal(identity.boot_counter, 3);
    assert_false(identity.unclean);
}

static void
another_services_database_is_schema_unsupported(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    weir_link_identity identity;
    const uint8_t random[32] = { 9 };

    assert_int_equal(weir_link_identity_start(p->a.store, "indexer/0", random, &identity, &error),
        WEIR_SCHEMA_UNSUPPORTED);
}

static void
put_garbage(pair *p, pair_end *end, const char *key, size_t size)
{
    weir_error error = { 0 };

    weir_batch_put(end->batch, weir_bytes_of(key, size), weir_bytes_str("\xff\xff\xff"));
    OK(weir_store_commit(end->store, end->batch, true, &error));
    (void)p;
}

static void
damaged_records_are_corrupt(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };

    put_garbage(p, &p->a, "l\0\1\0\0", 5);
    assert_int_equal(pair_start_a(p, &error), WEIR_CORRUPT);
    put_garbage(p, &p->b, "c\0\1\0\0", 5);
    assert_int_equal(pair_start_b(p, &error), WEIR_CORRUPT);
    put_garbage(p, &p->b, "a", 1);
    assert_int_equal(pair_start_b(p, &error), WEIR_CORRUPT);
    assert_int_equal(weir_link_identity_stop(p->b.batch, &error), WEIR_CORRUPT);
    weir_batch_destroy(&p->b.batch);
    weir_store_mem_wipe(p->b.store);
    p->b.batch = weir_batch_create(p->b.store);
    assert_int_equal(weir_link_identity_stop(p->b.batch, &error), WEIR_CORRUPT);
}

/* Fail the first, second, ... store call until a run passes untouched. */
static void
every_failing_store_call_is_store_io_and_leaves_the_link_as_it_was(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    weir_code code = WEIR_STORE_IO;
    uint32_t calls = 0;

    p->memory_bytes_max = 100;
    OK(pair_start_a(p, &error));
    open_link(p);
    append(p, 1, 8);
    commit_a(p);
    while (code == WEIR_STORE_IO && calls < 100) {
        weir_store_mem_fail_after(p->a.store, ++calls);
        code = pair_start_a(p, &error);
        weir_store_mem_fail_after(p->a.store, 0);
        assert_true(code == WEIR_OK || code == WEIR_STORE_IO);
    }
    assert_true(code == WEIR_OK && calls > 3);
    open_link(p);
    code = WEIR_STORE_IO;
    for (calls = 1; code == WEIR_STORE_IO && calls < 100; calls++) {
        p->now_ms += LINK_RTO_MAX_MS;
        weir_store_mem_fail_after(p->a.store, calls);
        code = pair_pump_a(p, &error);
        weir_store_mem_fail_after(p->a.store, 0);
    }
    assert_true(code == WEIR_OK && calls > 1);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 8);
    weir_store_mem_fail_after(p->a.store, 1);
    assert_int_equal(weir_link_tx_trim(p->tx, true, &error), WEIR_STORE_IO);
    weir_store_mem_fail_after(p->a.store, 0);
}

/* ---- rows by reference ---- */

typedef struct resolver {
    weir_code code;
    size_t body_bytes;
    unsigned calls;
} resolver;

static weir_code
add_body(void *ud, Weir__Internal__V1__Row *row, weir_arena *arena, weir_error *reterr)
{
    resolver *r = ud;

    r->calls++;
    if (r->code != WEIR_OK)
        return weir_error_set(reterr, r->code, "the source is away");
    row->document->body.len = r->body_bytes;
    row->document->body.data = weir_arena_alloc_zero(arena, r->body_bytes);
    return WEIR_OK;
}

static void
start_with_resolver(pair *p, resolver *r)
{
    weir_error error = { 0 };
    const weir_link_tx_options options = { .store = p->a.store,
        .identity = &p->a.identity,
        .link = PAIR_LINK,
        .resolve = add_body,
        .resolve_ud = r };

    weir_link_tx_destroy(&p->tx);
    OK(weir_link_tx_start(&options, 0, p->a.batch, &p->tx, &error));
    commit_a(p);
    open_link(p);
}

static void
a_row_is_completed_when_it_is_sent_and_not_when_it_is_stored(void **state)
{
    pair *p = *state;
    resolver r = { .body_bytes = 5000 };

    start_with_resolver(p, &r);
    append(p, 1, 2);
    commit_a(p);
    assert_int_equal(r.calls, 0);
    pump_a(p);
    assert_int_equal(r.calls, 2);
    assert_true(p->forth.frames[0].size > 10000);
    carry(p);
    assert_int_equal(pair_tx(p).acked, 2);
}

static void
a_row_that_cannot_be_completed_is_tried_again_and_not_skipped(void **state)
{
    pair *p = *state;
    resolver r = { .code = WEIR_SERVICE_UNAVAILABLE, .body_bytes = 10 };

    start_with_resolver(p, &r);
    append(p, 1, 2);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    assert_int_equal(p->wake_ms, p->now_ms + LINK_RESOLVE_RETRY_MS);
    r.code = WEIR_OK;
    p->now_ms = p->wake_ms;
    carry(p);
    assert_int_equal(pair_tx(p).acked, 2);
}

static void
a_damaged_reference_stops_the_sender(void **state)
{
    pair *p = *state;
    weir_error error = { 0 };
    resolver r = { .code = WEIR_CORRUPT };

    start_with_resolver(p, &r);
    append(p, 1, 1);
    commit_a(p);
    assert_int_equal(pair_pump_a(p, &error), WEIR_CORRUPT);
    assert_string_equal(error.message, "the source is away");
}

static void
a_row_that_grows_too_large_is_not_sent(void **state)
{
    pair *p = *state;
    resolver r = { .body_bytes = WEIR_ROW_BYTES_MAX };

    start_with_resolver(p, &r);
    append(p, 1, 1);
    commit_a(p);
    pump_a(p);
    assert_int_equal(p->forth.count, 0);
    assert_int_equal(pair_tx(p).sent, 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    TEST(numbers_are_dense_and_begin_at_one),
    TEST(no_row_leaves_before_its_commit),
    TEST(a_round_that_was_lost_gives_its_numbers_to_the_next),
    TEST(a_number_is_never_given_twice_even_when_all_rows_are_gone),
    TEST(a_row_that_no_receiver_would_take_is_refused_with_malformed_message),
    TEST(a_row_above_the_limit_is_refused_with_body_too_large),
    TEST(rows_wait_for_the_answer_of_this_start),
    TEST(the_window_is_the_credit),
    TEST(no_credit_stops_the_link_and_new_credit_is_told_at_once),
    TEST(a_message_takes_64_rows_or_256_kib),
    TEST(a_send_without_room_is_tried_again),
    TEST(without_progress_the_window_is_sent_again_after_two_seconds_and_later_each_time),
    TEST(the_timer_follows_four_smoothed_round_trips),
    TEST(a_gap_is_told_once_and_closed_at_once),
    TEST(a_gap_is_told_again_after_a_quarter_of_the_least_timer),
    TEST(a_second_nak_for_the_same_cursor_is_ignored_within_a_round_trip),
    TEST(a_known_row_is_dropped_and_acknowledged_again),
    TEST(a_damaged_row_is_dropped_and_asked_for_again),
    TEST(a_row_under_another_number_does_not_pass),
    TEST(a_new_boot_of_the_receiver_takes_no_rows_before_a_hello_and_asks_for_one),
    TEST(rows_of_another_link_are_refused),
    TEST(rows_of_an_old_start_are_refused_after_a_hello_of_a_newer_one),
    TEST(a_row_of_an_old_era_settles_without_being_delivered),
    TEST(a_row_that_the_stage_refuses_is_not_taken_and_comes_again),
    TEST(an_ack_tells_only_what_is_on_disk),
    TEST(the_cursor_moves_over_contiguous_rows_only),
    TEST(unsettled_rows_come_again_after_a_crash_of_the_receiver),
    TEST(an_ack_of_another_start_or_database_is_ignored),
    TEST(an_ack_of_a_number_that_was_never_given_is_ignored),
    TEST(late_and_doubled_acks_are_harmless),
    TEST(a_lost_trim_costs_duplicates_only),
    TEST(rows_are_trimmed_when_enough_gathered_or_when_forced),
    TEST(a_missing_first_row_is_corrupt),
    TEST(a_missing_last_row_is_corrupt),
    TEST(a_hole_in_the_outbox_is_corrupt_when_it_is_reached),
    TEST(a_damaged_row_in_the_outbox_is_corrupt_when_it_is_read_back),
    TEST(rows_beyond_the_memory_are_read_back_in_order),
    TEST(hello_is_fast_until_it_is_answered_and_then_every_three_seconds),
    TEST(a_hello_carries_every_start_since_the_one_that_the_receiver_knows),
    TEST(the_list_of_starts_stays_bounded_and_keeps_what_finds_a_rollback),
    TEST(the_answer_waits_until_the_boot_is_on_disk),
    TEST(a_late_answer_to_an_earlier_start_is_ignored),
    TEST(a_late_answer_with_a_lower_cursor_is_no_alarm),
    TEST(a_receiver_with_another_database_is_an_alarm_when_rows_were_settled),
    TEST(a_stopped_link_sends_no_rows_and_hears_nothing),
    TEST(a_new_receiver_is_adopted_while_nothing_was_acknowledged),
    TEST(a_rolled_back_receiver_is_an_alarm),
    TEST(a_rolled_back_sender_that_would_use_numbers_again_is_an_alarm_of_the_receiver),
    TEST(a_rolled_back_sender_that_would_use_numbers_again_finds_it_in_the_answer),
    TEST(rows_in_flight_of_a_lost_past_are_found_too),
    TEST(a_later_start_of_the_sender_that_used_those_numbers_is_found_too),
    TEST(a_sender_that_does_not_know_the_start_that_the_receiver_saw_is_an_alarm),
    TEST(a_wiped_sender_is_an_alarm_when_rows_were_settled),
    TEST(a_wiped_sender_is_adopted_while_nothing_was_settled),
    TEST(a_reset_drops_rows_of_older_eras_and_keeps_those_of_its_own),
    TEST(a_reset_survives_a_crash_of_either_end),
    TEST(a_reset_is_done_once_per_era),
    TEST(a_reset_of_an_older_era_or_a_second_one_of_an_era_is_an_invalid_argument),
    TEST(a_reset_of_a_later_era_may_name_a_replaced_database_again),
    TEST(a_replaced_receiver_is_refused_without_an_alarm),
    TEST(a_receiver_that_starts_again_is_greeted_at_once),
    TEST(a_reset_waits_for_rows_in_flight),
    TEST(a_reset_of_another_database_is_not_taken),
    TEST(a_sender_put_back_to_before_a_reset_is_an_alarm),
    TEST(a_late_answer_of_a_database_that_was_lost_before_the_reset_is_ignored),
    TEST(a_receiver_that_does_not_know_the_reset_of_a_sender_does_not_adopt_it),
    TEST(no_rows_are_taken_while_a_reset_waits),
    TEST(no_rows_are_taken_of_a_sender_in_alarm),
    TEST(a_cursor_beyond_every_row_is_an_alarm),
    TEST(rows_of_a_link_without_an_era_pass_in_any_era),
    TEST(an_identity_counts_starts_and_knows_an_unclean_end),
    TEST(another_services_database_is_schema_unsupported),
    TEST(damaged_records_are_corrupt),
    TEST(every_failing_store_call_is_store_io_and_leaves_the_link_as_it_was),
    TEST(a_row_is_completed_when_it_is_sent_and_not_when_it_is_stored),
    TEST(a_row_that_cannot_be_completed_is_tried_again_and_not_skipped),
    TEST(a_damaged_reference_stops_the_sender),
    TEST(a_row_that_grows_too_large_is_not_sent),
};

int
main(void)
{
    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
