/* Goal: byte order is numeric order, and buffers grow without losing a byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/bytes.h"

static void
order_is_that_of_unsigned_bytes_then_length(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        int sign;
    } rows[] = {
        { "", "", 0 },
        { "", "a", -1 },
        { "a", "", 1 },
        { "a", "a", 0 },
        { "a", "b", -1 },
        { "a", "aa", -1 },
        { "ab", "aa", 1 },
        { "\x7f", "\x80", -1 },
        { "\xff", "\x01", 1 },
    };

    for (size_t index = 0; index < sizeof rows / sizeof *rows; index++) {
        const weir_bytes a = weir_bytes_str(rows[index].a);
        const weir_bytes b = weir_bytes_str(rows[index].b);
        const int order = weir_bytes_compare(a, b);

        assert_int_equal((order > 0) - (order < 0), rows[index].sign);
        assert_int_equal(weir_bytes_equal(a, b), rows[index].sign == 0);
    }
    assert_int_equal(weir_bytes_compare(weir_bytes_of(NULL, 0), weir_bytes_of(NULL, 0)), 0);
}

static void
a_buffer_keeps_what_was_appended(void **state)
{
    weir_buffer buffer = { 0 };

    for (unsigned index = 0; index < 10000; index++)
        weir_buffer_append_u8(&buffer, (uint8_t)index);
    assert_int_equal(buffer.size, 10000);
    for (unsigned index = 0; index < 10000; index++)
        assert_int_equal(buffer.data[index], (uint8_t)index);

    const size_t capacity = buffer.capacity;
    weir_buffer_clear(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, capacity);
    weir_buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.size, 0);
    weir_buffer_fini(&buffer);
    assert_null(buffer.data);
}

static void
reserve_makes_room_without_changing_the_size(void **state)
{
    weir_buffer buffer = { 0 };

    weir_buffer_append(&buffer, "abc", 3);
    weir_buffer_reserve(&buffer, 1000);
    assert_true(buffer.capacity >= 1003);
    assert_int_equal(buffer.size, 3);
    assert_true(weir_bytes_equal(weir_buffer_view(&buffer), weir_bytes_str("abc")));
    weir_buffer_fini(&buffer);
}

static void
numbers_are_big_endian(void **state)
{
    static const uint8_t expected[] = { 1, 2, 3, 4, 0x80, 0, 0, 0, 0, 0, 0, 9 };
    weir_buffer buffer = { 0 };
    uint8_t stored[12];

    weir_buffer_append_u32(&buffer, 0x01020304);
    weir_buffer_append_u64(&buffer, 0x8000000000000009);
    assert_int_equal(buffer.size, sizeof expected);
    assert_memory_equal(buffer.data, expected, sizeof expected);
    assert_int_equal(weir_load_u32(buffer.data), 0x01020304);
    assert_int_equal(weir_load_u64(buffer.data + 4), 0x8000000000000009);
    weir_store_u32(stored, 0x01020304);
    weir_store_u64(stored + 4, 0x8000000000000009);
    assert_memory_equal(stored, expected, sizeof expected);
    weir_buffer_fini(&buffer);
}

static void
allocation_of_nothing_is_not_null(void **state)
{
    void *const nothing = weir_alloc(0);
    void *const zeroed = weir_alloc_zero(0, 8);
    char *const copy = weir_strdup("copy");

    assert_non_null(nothing);
    assert_non_null(zeroed);
    assert_string_equal(copy, "copy");
    weir_free(nothing);
    weir_free(zeroed);
    weir_free(copy);
    weir_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_unsigned_bytes_then_length),
        cmocka_unit_test(a_buffer_keeps_what_was_appended),
        cmocka_unit_test(reserve_makes_room_without_changing_the_size),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(allocation_of_nothing_is_not_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
