/*
 * Goal: what a row costs in processor time on its way: append, message, accept, settle, ack; the
 * store's own share is shown apart. Method: rows of about 300 bytes in rounds of 256 over in-memory
 * stores, thread CPU time.  The bound is generous, so that a busy machine or a sanitizer does not
 * fail it; the printed numbers are what to watch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/link/internal.h"

enum { LINK = 1 << 16, ROUND_ROWS = 256, ROUNDS = 200, BOUND_NS = 50000 };

typedef struct bench {
    weir_store *a, *b;
    weir_batch *batch_a, *batch_b;
    weir_link_identity id_a, id_b;
    weir_link_tx *tx;
    weir_link_rx *rx;
    weir_buffer forth[64], back[64];
    size_t forth_count, back_count;
    uint64_t first, count; /* delivered and not settled */
    weir_arena *arena;
    int64_t append_us, commit_us, send_us, decode_us, accept_us, settle_us, ack_us;
} bench;

static void
ok(weir_code code)
{
    assert_int_equal(code, WEIR_OK);
}

static bool
send_forth(void *ud, uint32_t link, weir_bytes frame)
{
    bench *b = ud;

    weir_buffer_clear(&b->forth[b->forth_count]);
    weir_buffer_append(&b->forth[b->forth_count++], frame.data, frame.size);
    return true;
}

static bool
send_back(void *ud, uint32_t link, weir_bytes frame)
{
    bench *b = ud;

    weir_buffer_clear(&b->back[b->back_count]);
    weir_buffer_append(&b->back[b->back_count++], frame.data, frame.size);
    return true;
}

static weir_code
deliver(void *ud, uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes packed, weir_error *reterr)
{
    bench *b = ud;

    if (b->count++ == 0)
        b->first = seq;
    return WEIR_OK;
}

static void
start(bench *b)
{
    uint8_t random[32] = { 1 };
    weir_error error = { 0 };

    b->a = weir_store_mem_create();
    b->b = weir_store_mem_create();
    b->arena = weir_arena_create(0);
    ok(weir_link_identity_start(b->a, "a", random, &b->id_a, &error));
    random[0] = 2;
    ok(weir_link_identity_start(b->b, "b", random, &b->id_b, &error));
    b->batch_a = weir_batch_create(b->a);
    b->batch_b = weir_batch_create(b->b);
    const weir_link_tx_options tx = { .store = b->a, .identity = &b->id_a, .link = LINK };
    const weir_link_rx_options rx = { .store = b->b, .identity = &b->id_b, .link = LINK };
    ok(weir_link_tx_start(&tx, 0, b->batch_a, &b->tx, &error));
    ok(weir_link_rx_start(&rx, &b->rx, &error));
    weir_link_rx_set_credit(b->rx, 4 * ROUND_ROWS);
}

static void
stop(bench *b)
{
    weir_link_tx_destroy(&b->tx);
    weir_link_rx_destroy(&b->rx);
    weir_batch_destroy(&b->batch_a);
    weir_batch_destroy(&b->batch_b);
    weir_store_close(&b->a);
    weir_store_close(&b->b);
    weir_arena_destroy(&b->arena);
    for (size_t i = 0; i < 64; i++) {
        weir_buffer_fini(&b->forth[i]);
        weir_buffer_fini(&b->back[i]);
    }
}

static int64_t
lap(int64_t *since_us)
{
    const int64_t now_us = weir_clock_thread_cpu_us();
    const int64_t passed_us = now_us - *since_us;

    *since_us = now_us;
    return passed_us;
}

static void
append_row(bench *b)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;
    Weir__Internal__V1__EmbedSpec spec = WEIR__INTERNAL__V1__EMBED_SPEC__INIT;
    uint8_t sha[32] = { 7 };
    uint8_t body[100] = { 8 };
    weir_error error;

    spec.model = "all-minilm-l6-v2";
    spec.fingerprint = "0123456789abcdef";
    spec.dimension = 384;
    spec.max_tokens = 256;
    document.spec = &spec;
    document.content_sha256 = link_borrow(sha, sizeof sha);
    document.body = link_borrow(body, sizeof body);
    document.size_bytes = 4000;
    document.media_type = "text/markdown";
    row.era = 3;
    row.tenant = "tenant-one";
    row.collection_no = 12;
    row.document_id = "handbook/chapters/0001/section-0042.md";
    row.revision = 2;
    row.epoch = 1;
    row.handed_over_ms = 1760000000000;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    ok(weir_link_tx_append(b->tx, b->batch_a, &row, NULL, &error));
}

static void
frames_to_b(bench *b, int64_t now_ms, int64_t *since_us)
{
    weir_error error = { 0 };

    for (size_t i = 0; i < b->forth_count; i++) {
        Weir__Internal__V1__Frame *frame = NULL;
        weir_arena_reset(b->arena);
        ok(weir_link_frame_decode(weir_buffer_view(&b->forth[i]), b->arena, &frame, &error));
        b->decode_us += lap(since_us);
        ok(weir_link_rx_frame(b->rx, frame, 0, now_ms, b->batch_b, deliver, b, &error));
        b->accept_us += lap(since_us);
    }
    b->forth_count = 0;
}

static void
frames_to_a(bench *b, int64_t now_ms)
{
    weir_error error = { 0 };
    unsigned news;

    for (size_t i = 0; i < b->back_count; i++) {
        Weir__Internal__V1__Frame *frame = NULL;
        weir_arena_reset(b->arena);
        ok(weir_link_frame_decode(weir_buffer_view(&b->back[i]), b->arena, &frame, &error));
        ok(weir_link_tx_frame(b->tx, frame, now_ms, b->batch_a, &news, &error));
    }
    b->back_count = 0;
}

static void
one_round(bench *b, int64_t now_ms, int rows)
{
    weir_error error = { 0 };
    int64_t wake_ms, since_us = weir_clock_thread_cpu_us();

    for (int i = 0; i < rows; i++)
        append_row(b);
    b->append_us += lap(&since_us);
    ok(weir_store_commit(b->a, b->batch_a, true, &error));
    b->commit_us += lap(&since_us);
    weir_link_tx_committed(b->tx);
    ok(weir_link_tx_pump(b->tx, now_ms, send_forth, b, &wake_ms, &error));
    b->send_us += lap(&since_us);
    frames_to_b(b, now_ms, &since_us);
    for (uint64_t i = 0; i < b->count; i++)
        weir_link_rx_settle(b->rx, b->first + i);
    b->count = 0;
    ok(weir_link_rx_prepare(b->rx, b->batch_b, &error));
    b->settle_us += lap(&since_us);
    ok(weir_store_commit(b->b, b->batch_b, true, &error));
    b->commit_us += lap(&since_us);
    weir_link_rx_committed(b->rx);
    weir_link_rx_pump(b->rx, now_ms, send_back, b, &wake_ms);
    frames_to_a(b, now_ms);
    b->ack_us += lap(&since_us);
    ok(weir_link_tx_trim(b->tx, false, &error));
    b->commit_us += lap(&since_us);
}

static void
a_row_costs_little(void **state)
{
    static bench b;
    const double rows = (double)ROUND_ROWS * ROUNDS;

    start(&b);
    one_round(&b, 1000, 0); /* HELLO */
    b.append_us = b.commit_us = b.send_us = b.decode_us = b.accept_us = b.settle_us = b.ack_us = 0;
    for (int i = 1; i <= ROUNDS; i++)
        one_round(&b, 1000 + i, ROUND_ROWS);

    weir_link_tx_status status;
    weir_link_tx_status_read(b.tx, &status);
    assert_int_equal(status.acked, ROUND_ROWS * ROUNDS);
    assert_int_equal(status.resent_total, 0);
    const int64_t link_us =
        b.append_us + b.send_us + b.decode_us + b.accept_us + b.settle_us + b.ack_us;
    print_message(
        "per row, ns: append %.0f send %.0f decode %.0f accept %.0f settle %.0f ack %.0f = %.0f; "
        "the memory store's commits and trims %.0f\n",
        1000.0 * (double)b.append_us / rows, 1000.0 * (double)b.send_us / rows,
        1000.0 * (double)b.decode_us / rows, 1000.0 * (double)b.accept_us / rows,
        1000.0 * (double)b.settle_us / rows, 1000.0 * (double)b.ack_us / rows,
        1000.0 * (double)link_us / rows, 1000.0 * (double)b.commit_us / rows);
    assert_true(1000.0 * (double)link_us / rows < BOUND_NS);
    stop(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_row_costs_little) };

    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
