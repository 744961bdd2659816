/*
 * Goal: frames and stored rows are what the schema says, and nothing damaged gets through; the
 * memory of fresh rows keeps its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/domain/links.h"
#include "common/link/tx_internal.h"
#include "common/wire/wire.h"

static const weir_link_identity identity = { .store_id = "0123456789abcde",
    .boot_counter = 300,
    .boot_random = "fedcba987654321" };

static weir_code
decode(weir_bytes bytes, weir_arena *arena, Weir__Internal__V1__Frame **ret_frame)
{
    weir_error error = { 0 };

    return weir_link_frame_decode(bytes, arena, ret_frame, &error);
}

static void
rows_packed_by_hand_are_the_bytes_that_protobuf_makes(void **state)
{
    weir_buffer envelope = { 0 }, by_hand = { 0 }, by_library = { 0 };
    static uint8_t large[20000];
    const weir_bytes rows[3] = { weir_bytes_str("first"), weir_bytes_of(large, sizeof large),
        weir_bytes_str("x") };
    ProtobufCBinaryData data[3];
    Weir__Internal__V1__Frame frame = WEIR__INTERNAL__V1__FRAME__INIT;
    Weir__Internal__V1__Rows message = WEIR__INTERNAL__V1__ROWS__INIT;
    const link_boot boot = link_boot_of(&identity);
    Weir__Internal__V1__Boot boot_message = link_boot_message(&boot);

    for (size_t i = 0; i < 3; i++)
        data[i] = link_borrow(rows[i].data, rows[i].size);
    frame.link = 0x30201;
    frame.store_id = link_borrow(identity.store_id, WEIR_STORE_ID_SIZE);
    frame.boot = &boot_message;
    frame.body_case = WEIR__INTERNAL__V1__FRAME__BODY_ROWS;
    frame.rows = &message;
    message.first_seq = 1234567890123;
    message.n_rows = 3;
    message.rows = data;
    weir_wire_encode(&frame.base, &by_library);

    link_envelope_init(&envelope, 0x30201, &identity);
    link_frame_build_rows(&by_hand, &envelope, message.first_seq, rows, 3);
    assert_true(weir_bytes_equal(weir_buffer_view(&by_hand), weir_buffer_view(&by_library)));
    weir_buffer_fini(&envelope);
    weir_buffer_fini(&by_hand);
    weir_buffer_fini(&by_library);
}

/* A whole frame of each body, for breaking. */
static void
build(weir_buffer *out, uint32_t field)
{
    weir_buffer envelope = { 0 };
    const link_boot boot = link_boot_of(&identity);
    Weir__Internal__V1__Boot boot_message = link_boot_message(&boot);
    Weir__Internal__V1__Start start = WEIR__INTERNAL__V1__START__INIT;
    Weir__Internal__V1__Start *starts[1] = { &start };
    Weir__Internal__V1__Hello hello = WEIR__INTERNAL__V1__HELLO__INIT;
    Weir__Internal__V1__HelloAnswer answer = WEIR__INTERNAL__V1__HELLO_ANSWER__INIT;
    Weir__Internal__V1__Ack ack = WEIR__INTERNAL__V1__ACK__INIT;
    const weir_bytes row = weir_bytes_str("row");

    link_envelope_init(&envelope, 7, &identity);
    start.boot = &boot_message;
    hello.n_starts = 1;
    hello.starts = starts;
    hello.next = 1;
    answer.hello_boot = &boot_message;
    ack.sender_boot = &boot_message;
    ack.sender_store_id = link_borrow(identity.store_id, WEIR_STORE_ID_SIZE);
    if (field == LINK_FIELD_ROWS)
        link_frame_build_rows(out, &envelope, 1, &row, 1);
    else
        link_frame_build(out, &envelope, field,
            field == LINK_FIELD_HELLO        ? &hello.base
                : field == LINK_FIELD_ANSWER ? &answer.base
                                             : &ack.base);
    weir_buffer_fini(&envelope);
}

static void
every_kind_of_frame_is_decoded(void **state)
{
    for (uint32_t field = LINK_FIELD_ROWS; field <= LINK_FIELD_NAK; field++) {
        weir_arena *arena = weir_arena_create(0);
        weir_buffer bytes = { 0 };
        Weir__Internal__V1__Frame *frame = NULL;

        build(&bytes, field);
        assert_int_equal(decode(weir_buffer_view(&bytes), arena, &frame), WEIR_OK);
        assert_int_equal(frame->body_case, field);
        assert_int_equal(frame->link, 7);
        weir_buffer_fini(&bytes);
        weir_arena_destroy(&arena);
    }
}

/* No byte less, and no bit flip, ends in anything but a whole frame or MALFORMED_MESSAGE. */
static void
cut_and_flipped_frames_are_malformed_or_whole(void **state)
{
    for (uint32_t field = LINK_FIELD_ROWS; field <= LINK_FIELD_NAK; field++) {
        weir_arena *arena = weir_arena_create(0);
        weir_buffer bytes = { 0 };
        Weir__Internal__V1__Frame *frame = NULL;

        build(&bytes, field);
        for (size_t size = 0; size < bytes.size; size++)
            assert_int_equal(decode(weir_bytes_of(bytes.data, size), arena, &frame),
                WEIR_MALFORMED_MESSAGE);
        for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            const weir_code code = decode(weir_buffer_view(&bytes), arena, &frame);
            assert_true(code == WEIR_MALFORMED_MESSAGE ||
                (code == WEIR_OK && link_frame_is_whole(frame)));
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            weir_arena_reset(arena);
        }
        weir_buffer_fini(&bytes);
        weir_arena_destroy(&arena);
    }
}

static void
frames_that_lack_a_field_or_have_one_of_a_wrong_size_are_malformed(void **state)
{
    weir_arena *arena = weir_arena_create(0);
    weir_buffer bytes = { 0 };
    Weir__Internal__V1__Frame *frame = NULL;
    Weir__Internal__V1__Frame bare = WEIR__INTERNAL__V1__FRAME__INIT;

    bare.link = 7;
    weir_wire_encode(&bare.base, &bytes);
    assert_int_equal(decode(weir_buffer_view(&bytes), arena, &frame), WEIR_MALFORMED_MESSAGE);

    build(&bytes, LINK_FIELD_HELLO);
    assert_int_equal(decode(weir_buffer_view(&bytes), arena, &frame), WEIR_OK);
    frame->hello->acked = frame->hello->next;
    assert_false(link_frame_is_whole(frame));
    frame->hello->acked = 0;
    Weir__Internal__V1__Reset reset = WEIR__INTERNAL__V1__RESET__INIT;
    frame->hello->reset = &reset;
    assert_false(link_frame_is_whole(frame));

    build(&bytes, LINK_FIELD_ROWS);
    assert_int_equal(decode(weir_buffer_view(&bytes), arena, &frame), WEIR_OK);
    frame->rows->first_seq = 0;
    assert_false(link_frame_is_whole(frame));
    frame->rows->first_seq = UINT64_MAX;
    assert_false(link_frame_is_whole(frame));

    static uint8_t huge[WEIR_FRAME_BYTES_MAX + 1];
    assert_int_equal(decode(weir_bytes_of(huge, sizeof huge), arena, &frame),
        WEIR_MALFORMED_MESSAGE);
    weir_buffer_fini(&bytes);
    weir_arena_destroy(&arena);
}

static void
keys_sort_by_link_and_number_and_are_parsed_back(void **state)
{
    const link_outbox_key a = link_outbox_key_of(1, UINT64_MAX), b = link_outbox_key_of(2, 0),
                          c = link_outbox_key_of(2, 255), d = link_outbox_key_of(2, 256);
    const weir_bytes keys[] = { weir_bytes_of(a.bytes, sizeof a), weir_bytes_of(b.bytes, sizeof b),
        weir_bytes_of(c.bytes, sizeof c), weir_bytes_of(d.bytes, sizeof d) };
    uint64_t seq = 0;

    for (size_t i = 0; i + 1 < 4; i++)
        assert_true(weir_bytes_compare(keys[i], keys[i + 1]) < 0);
    assert_true(link_outbox_key_parse(keys[3], 2, &seq));
    assert_int_equal(seq, 256);
    assert_false(link_outbox_key_parse(keys[3], 1, &seq));
    assert_false(link_outbox_key_parse(weir_bytes_of(d.bytes, sizeof d - 1), 2, &seq));
}

static void
any_flipped_bit_of_a_stored_row_is_found(void **state)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    uint8_t *data = NULL;
    size_t size = 0;
    weir_bytes packed;
    weir_error error = { 0 };

    row.document_id = "document";
    assert_int_equal(link_row_pack(3, 9, &row, &data, &size, &error), WEIR_OK);
    assert_int_equal(link_row_check(3, 9, weir_bytes_of(data, size), &packed, &error), WEIR_OK);
    assert_int_equal(packed.size, size - LINK_ROW_CRC_BYTES);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(link_row_check(3, 9, weir_bytes_of(data, size), &packed, &error),
            WEIR_CORRUPT);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(link_row_check(3, 8, weir_bytes_of(data, size), &packed, &error),
        WEIR_CORRUPT);
    assert_int_equal(link_row_check(4, 9, weir_bytes_of(data, size), &packed, &error),
        WEIR_CORRUPT);
    assert_int_equal(link_row_check(3, 9, weir_bytes_of(data, 3), &packed, &error), WEIR_CORRUPT);
    weir_free(data);
}

/* ---- the memory of fresh rows ---- */

static void
push(link_ring *ring, uint64_t seq, size_t size, uint64_t sent)
{
    uint8_t *data = weir_alloc(size);

    memset(data, (int)(seq & 0xff), size);
    link_ring_push(ring, seq, data, size, sent);
}

static void
rows_stay_in_memory_until_they_are_acknowledged(void **state)
{
    link_ring ring = { .bytes_max = 1 << 20 };
    weir_bytes row;

    for (uint64_t seq = 5; seq < 2005; seq++)
        push(&ring, seq, 100, 0);
    assert_true(link_ring_get(&ring, 5, &row));
    assert_int_equal(row.size, 100);
    assert_int_equal(row.data[0], 5);
    link_ring_drop_to(&ring, 1000);
    assert_false(link_ring_get(&ring, 1000, &row));
    assert_true(link_ring_get(&ring, 1001, &row));
    assert_true(link_ring_get(&ring, 2004, &row));
    assert_false(link_ring_get(&ring, 2005, &row));
    assert_int_equal(ring.bytes, 1004 * 100);
    link_ring_fini(&ring);
}

static void
full_memory_drops_what_was_sent_and_keeps_new_rows_out(void **state)
{
    link_ring ring = { .bytes_max = 1000 };
    weir_bytes row;

    for (uint64_t seq = 1; seq <= 10; seq++)
        push(&ring, seq, 100, 0);
    push(&ring, 11, 100, 4); /* 1 was sent: it makes room */
    assert_false(link_ring_get(&ring, 1, &row));
    assert_true(link_ring_get(&ring, 11, &row));
    push(&ring, 12, 100, 1);  /* nothing to drop: stays out */
    push(&ring, 13, 100, 13); /* room again, but the run would have a hole */
    assert_false(link_ring_get(&ring, 12, &row));
    assert_false(link_ring_get(&ring, 13, &row));
    assert_true(ring.bytes <= 1000);
    link_ring_drop_to(&ring, 13);
    push(&ring, 14, 100, 13); /* empty: it begins anew */
    assert_true(link_ring_get(&ring, 14, &row));
    link_ring_fini(&ring);
}

static void
a_row_larger_than_the_memory_stays_out(void **state)
{
    link_ring ring = { .bytes_max = 10 };
    weir_bytes row;

    push(&ring, 1, 11, 0);
    assert_false(link_ring_get(&ring, 1, &row));
    push(&ring, 2, 10, 0);
    assert_true(link_ring_get(&ring, 2, &row));
    link_ring_fini(&ring);
}

/* ---- the table of links ---- */

static void
the_table_of_links_is_whole(void **state)
{
    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);
        char name[64];

        snprintf(name, sizeof name, "%s-%s", weir_service_name(spec->from),
            weir_service_name(spec->to));
        assert_string_equal(spec->name, name);
        assert_int_equal(weir_link_kind_of(weir_link_number(spec->kind, 3, 255)), kind);
    }
    for (int service = WEIR_SERVICE_GATEWAY; service < WEIR_SERVICE_COUNT; service++)
        assert_int_equal(weir_service_from_name(weir_service_name((weir_service_id)service)),
            service);
    assert_int_equal(weir_service_from_name("none"), WEIR_SERVICE_NONE);
    assert_int_equal(weir_service_from_name("postmaster"), WEIR_SERVICE_NONE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_packed_by_hand_are_the_bytes_that_protobuf_makes),
        cmocka_unit_test(every_kind_of_frame_is_decoded),
        cmocka_unit_test(cut_and_flipped_frames_are_malformed_or_whole),
        cmocka_unit_test(frames_that_lack_a_field_or_have_one_of_a_wrong_size_are_malformed),
        cmocka_unit_test(keys_sort_by_link_and_number_and_are_parsed_back),
        cmocka_unit_test(any_flipped_bit_of_a_stored_row_is_found),
        cmocka_unit_test(rows_stay_in_memory_until_they_are_acknowledged),
        cmocka_unit_test(full_memory_drops_what_was_sent_and_keeps_new_rows_out),
        cmocka_unit_test(a_row_larger_than_the_memory_stays_out),
        cmocka_unit_test(the_table_of_links_is_whole),
    };

    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
