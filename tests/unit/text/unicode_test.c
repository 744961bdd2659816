/* Goal: the normal form is NFC, clean, stable and cheap.  Method: examples, random text, hard runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <cmocka.h>

#include "common/base/id.h"
#include "common/base/random.h"
#include "common/text/unicode.h"

static void
check_normal(const char *text, const char *expected)
{
    weir_buffer out = { 0 };

    weir_text_normalize(weir_bytes_str(text), &out);
    weir_buffer_append_u8(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    weir_buffer_fini(&out);
}

static void
line_ends_become_line_feeds_and_spaces_become_spaces(void **state)
{
    check_normal("a\r\nb\rc\nd\ve\ff\xc2\x85g\xe2\x80\xa8h\xe2\x80\xa9i\r",
        "a\nb\nc\nd\ne\nf\ng\nh\ni\n");
    check_normal("a\xc2\xa0"
                 "b\xe3\x80\x80"
                 "c\td",
        "a b c\td");
}

static void
characters_that_say_nothing_are_dropped(void **state)
{
    check_normal("\xef\xbb\xbf"
                 "a\x01\x7f\xe2\x80\x8b"
                 "b\xc2\xad"
                 "c\xe2\x80\xae"
                 "d\xf3\xa0\x81\x81",
        "abcd");
    check_normal("a\xe2\x80\x8d"
                 "b\xe2\x80\x8c"
                 "c",
        "a\xe2\x80\x8d"
        "b\xe2\x80\x8c"
        "c");
    check_normal("\xef\xbf\xbf", ""); /* a noncharacter */
    check_normal("", "");
}

static void
text_is_composed_also_across_the_fast_paths(void **state)
{
    check_normal("cafe\xcc\x81s", "caf\xc3\xa9s");
    check_normal("\xc3\xa9\xcc\xa3", "\xe1\xba\xb9\xcc\x81");             /* marks reordered */
    check_normal("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"); /* Hangul */
    check_normal("\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81");             /* LV and T */
    check_normal("\xe2\x84\xab", "\xc3\x85");                             /* Angstrom */
    check_normal("\xd9\x88\xd9\x94", "\xd8\xa4");                         /* Arabic */
    check_normal("\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c");             /* Kana */
}

static void
bytes_that_are_not_utf8_become_the_replacement_character(void **state)
{
    check_normal("a\xff"
                 "b\xc3",
        "a\xef\xbf\xbd"
        "b\xef\xbf\xbd");
    check_normal("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
}

static void
append_random_character(weir_rng *rng, weir_buffer *out)
{
    static const uint32_t first[] = { 0x20, 0x300, 0x3A0, 0x600, 0x900, 0x1100, 0x1E00, 0x3040,
        0xAC00, 0x1D150 };
    static const uint32_t span[] = { 0x60, 0x70, 0x60, 0x100, 0x80, 0x100, 0x100, 0x60, 0x400,
        0x80 };
    const size_t script = weir_rng_below(rng, 10);
    uint8_t bytes[4];
    const uint32_t code = first[script] + (uint32_t)weir_rng_below(rng, span[script]);

    weir_buffer_append(out, bytes, weir_utf8_encode(code, bytes));
}

static bool
is_nfc(weir_bytes text)
{
    uint8_t *composed = NULL;
    const utf8proc_ssize_t size = utf8proc_map(text.data, (utf8proc_ssize_t)text.size, &composed,
        UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const bool is_same =
        size == (utf8proc_ssize_t)text.size && memcmp(composed, text.data, text.size) == 0;

    free(composed);
    return is_same;
}

static void
random_text_comes_out_as_nfc_and_a_second_pass_changes_nothing(void **state)
{
    weir_rng rng = { .state = 7 };

    for (int round = 0; round < 3000; round++) {
        weir_buffer text = { 0 };
        weir_buffer once = { 0 };
        weir_buffer twice = { 0 };
        const uint64_t length = 1 + weir_rng_below(&rng, 400);

        for (uint64_t i = 0; i < length; i++)
            append_random_character(&rng, &text);
        weir_text_normalize(weir_buffer_view(&text), &once);
        weir_text_normalize(weir_buffer_view(&once), &twice);
        assert_true(weir_utf8_valid(weir_buffer_view(&once)));
        assert_true(is_nfc(weir_buffer_view(&once)));
        assert_true(weir_bytes_equal(weir_buffer_view(&once), weir_buffer_view(&twice)));
        weir_buffer_fini(&text);
        weir_buffer_fini(&once);
        weir_buffer_fini(&twice);
    }
}

static void
random_bytes_come_out_as_utf8(void **state)
{
    weir_rng rng = { .state = 8 };

    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[300];
        weir_buffer out = { 0 };

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(weir_rng_below(&rng, 3) == 0 ? 'a' : weir_rng_next(&rng));
        weir_text_normalize(weir_bytes_of(bytes, sizeof bytes), &out);
        assert_true(weir_utf8_valid(weir_buffer_view(&out)));
        weir_buffer_fini(&out);
    }
}

/* Two classes of marks in turn, a megabyte of them: sorting them all would take hours. */
static void
an_endless_run_of_marks_is_divided_by_joiners(void **state)
{
    weir_buffer text = { 0 };
    weir_buffer out = { 0 };
    weir_buffer twice = { 0 };

    for (int i = 0; i < 1 << 18; i++)
        weir_buffer_append(&text, i % 2 == 0 ? "\xcc\x81" : "\xcc\xa3", 2);
    weir_text_normalize(weir_buffer_view(&text), &out);
    weir_text_normalize(weir_buffer_view(&out), &twice);
    assert_true(is_nfc(weir_buffer_view(&out)));
    assert_true(weir_bytes_equal(weir_buffer_view(&out), weir_buffer_view(&twice)));
    assert_true(out.size > text.size && out.size < text.size + text.size / 20);
    weir_buffer_fini(&text);
    weir_buffer_fini(&out);
    weir_buffer_fini(&twice);
}

static void
appending_leaves_what_was_there(void **state)
{
    weir_buffer out = { 0 };

    weir_buffer_append(&out, "e", 1);
    weir_text_normalize(weir_bytes_str("\xcc\x81"), &out);
    assert_int_equal(out.size, 3);
    weir_buffer_fini(&out);
}

static void
positions_are_rounded_down_to_characters(void **state)
{
    const weir_bytes text = weir_bytes_str("a\xe4\xb8\xad"
                                           "b");

    assert_int_equal(weir_utf8_floor(text, 0), 0);
    assert_int_equal(weir_utf8_floor(text, 2), 1);
    assert_int_equal(weir_utf8_floor(text, 3), 1);
    assert_int_equal(weir_utf8_floor(text, 4), 4);
    assert_int_equal(weir_utf8_floor(text, 99), 5);
}

static void
classes_of_characters(void **state)
{
    assert_true(weir_char_is_space(' ') && weir_char_is_space(0x85) && weir_char_is_space(0x2028));
    assert_false(weir_char_is_space(0x200B) || weir_char_is_space('x'));
    assert_true(weir_char_is_letter_or_digit('7') && weir_char_is_letter_or_digit(0x4E2D));
    assert_false(weir_char_is_letter_or_digit('_') || weir_char_is_letter_or_digit(0x301));
    assert_true(weir_char_is_mark(0x301) && !weir_char_is_mark('a'));
    assert_int_equal(weir_char_lower(0xC9), 0xE9);
    assert_int_equal(weir_char_lower('Z'), 'z');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_ends_become_line_feeds_and_spaces_become_spaces),
        cmocka_unit_test(characters_that_say_nothing_are_dropped),
        cmocka_unit_test(text_is_composed_also_across_the_fast_paths),
        cmocka_unit_test(bytes_that_are_not_utf8_become_the_replacement_character),
        cmocka_unit_test(random_text_comes_out_as_nfc_and_a_second_pass_changes_nothing),
        cmocka_unit_test(random_bytes_come_out_as_utf8),
        cmocka_unit_test(an_endless_run_of_marks_is_divided_by_joiners),
        cmocka_unit_test(appending_leaves_what_was_there),
        cmocka_unit_test(positions_are_rounded_down_to_characters),
        cmocka_unit_test(classes_of_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
