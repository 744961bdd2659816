/* Goal: identifiers have the published forms, and UTF-8 is judged as RFC 3629 judges it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/id.h"

static void
hex_goes_there_and_back(void **state)
{
    static const uint8_t bytes[] = { 0x00, 0x09, 0xaf, 0xff };
    uint8_t back[4];
    char hex[9];

    weir_hex_encode(weir_bytes_of(bytes, 4), hex);
    assert_string_equal(hex, "0009afff");
    assert_true(weir_hex_decode("0009AFff", back, 4));
    assert_memory_equal(back, bytes, 4);
    weir_hex_encode(weir_bytes_of(NULL, 0), hex);
    assert_string_equal(hex, "");
}

static void
what_is_no_hex_is_refused(void **state)
{
    uint8_t back[2];

    assert_false(weir_hex_decode("", back, 2));
    assert_false(weir_hex_decode("012", back, 2));
    assert_false(weir_hex_decode("01234", back, 2));
    assert_false(weir_hex_decode("012g", back, 2));
    assert_false(weir_hex_decode("0/:@", back, 2));
    assert_false(weir_hex_decode("01`G", back, 2));
}

/* The example of RFC 9562, appendix A.6. */
static void
uuid7_carries_time_version_and_variant(void **state)
{
    static const uint8_t random[] = { 0x7c, 0xc3, 0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f };
    static const uint8_t ones[10] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    char text[37];

    weir_uuid7_format(0x017F22E279B0, random, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    weir_uuid7_format(0, ones, text);
    assert_string_equal(text, "00000000-0000-7fff-bfff-ffffffffffff");
}

/* The definition itself, without speed: the code point, and whether its form is the shortest. */
static bool
is_valid_by_definition(const uint8_t *at, size_t size)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t index = 0;

    while (index < size) {
        const uint8_t first = at[index];
        const size_t length = first < 0x80 ? 1
            : (first >> 5) == 6            ? 2
            : (first >> 4) == 14           ? 3
            : (first >> 3) == 30           ? 4
                                           : 0;
        uint32_t point = length == 1 ? first : first & (0xffu >> (length + 1));

        if (length == 0 || index + length > size || first == 0)
            return false;
        for (size_t more = 1; more < length; more++) {
            if ((at[index + more] >> 6) != 2)
                return false;
            point = point << 6 | (at[index + more] & 0x3f);
        }
        if (point < least[length] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
            return false;
        index += length;
    }
    return true;
}

static void
every_string_of_three_bytes_is_judged_as_defined(void **state)
{
    for (uint32_t number = 0; number < 1 << 24; number++) {
        uint8_t word[4];

        weir_store_u32(word, number);
        const uint8_t *const bytes = word + 1;

        if (weir_utf8_valid(weir_bytes_of(bytes, 3)) != is_valid_by_definition(bytes, 3))
            fail_msg("%06x", number);
    }
}

/* Every pair of first bytes of the four-byte forms, with edges for the rest. */
static void
four_byte_forms_are_judged_as_defined(void **state)
{
    static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff };

    for (uint32_t number = 0; number < 1 << 16; number++) {
        for (size_t third = 0; third < 6; third++) {
            for (size_t fourth = 0; fourth < 6; fourth++) {
                uint8_t bytes[4];

                weir_store_u32(bytes, number << 16);
                bytes[2] = edges[third];
                bytes[3] = edges[fourth];
                assert_int_equal(weir_utf8_valid(weir_bytes_of(bytes, 4)),
                    is_valid_by_definition(bytes, 4));
            }
        }
    }
}

/* The eight-byte steps must see a bad byte at each place of a long text. */
static void
one_bad_byte_is_seen_wherever_it_stands(void **state)
{
    static const uint8_t bad[] = { 0x00, 0x80, 0xc0, 0xf5, 0xff };
    uint8_t text[300]; /* more than two of the blocks that are judged at once */

    for (size_t size = 0; size <= sizeof text; size += size < 40 ? 1 : 13) {
        memset(text, 'a', sizeof text);
        assert_true(weir_utf8_valid(weir_bytes_of(text, size)));
        for (size_t at = 0; at < size; at++) {
            for (size_t kind = 0; kind < sizeof bad; kind++) {
                memset(text, 0x01, sizeof text); /* the smallest byte that is allowed */
                text[at] = bad[kind];
                assert_false(weir_utf8_valid(weir_bytes_of(text, size)));
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(what_is_no_hex_is_refused),
        cmocka_unit_test(uuid7_carries_time_version_and_variant),
        cmocka_unit_test(every_string_of_three_bytes_is_judged_as_defined),
        cmocka_unit_test(four_byte_forms_are_judged_as_defined),
        cmocka_unit_test(one_bad_byte_is_seen_wherever_it_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
