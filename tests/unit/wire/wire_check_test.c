/*
 * Goal: hostile bytes are refused before unpack sees them, with the path of the field.
 * Method: bytes written by hand, one rule a test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "wire_cases.pb-c.h"

#define TREE (&weir__test__tree__descriptor)
#define SCALARS (&weir__test__scalars__descriptor)
#define LISTS (&weir__test__lists__descriptor)

#define BYTES(text_) weir_bytes_of((text_), sizeof(text_) - 1)

static void
accepted(const ProtobufCMessageDescriptor *descriptor, weir_bytes input)
{
    weir_error error = { 0 };

    if (weir_wire_check(descriptor, input, NULL, &error) != WEIR_OK)
        fail_msg("refused: %s", error.message);
}

static void
refused(const ProtobufCMessageDescriptor *descriptor, weir_bytes input, const char *field,
    const char *what)
{
    weir_error error = { 0 };

    assert_int_equal(weir_wire_check(descriptor, input, NULL, &error), WEIR_MALFORMED_MESSAGE);
    assert_int_equal(error.code, WEIR_MALFORMED_MESSAGE);
    assert_string_equal(error.field, field);
    if (strstr(error.message, what) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", error.message, what);
    assert_int_equal(weir_wire_check(descriptor, input, NULL, NULL), WEIR_MALFORMED_MESSAGE);
}

static void
an_empty_message_is_accepted(void **state)
{
    accepted(TREE, weir_bytes_of(NULL, 0));
    accepted(TREE, BYTES(""));
}

static void
text_must_be_utf8_without_nul(void **state)
{
    accepted(TREE, BYTES("\x0a\x02\xc3\xa9"));
    refused(TREE, BYTES("\x0a\x02\xc3\x28"), "name", "name is not UTF-8");
    refused(TREE,
        BYTES("\x0a\x03"
              "a\0b"),
        "name", "NUL");
    refused(LISTS,
        BYTES("\x7a\x01"
              "a"
              "\x7a\x01\xff"),
        "a_string", "UTF-8");
    accepted(SCALARS, BYTES("\x82\x01\x02\xff\x00")); /* bytes may be anything */
}

static void
the_field_is_named_by_its_path(void **state)
{
    refused(TREE, BYTES("\x12\x07\x1a\x05\x32\x03\x0a\x01\xff"), "child.children.leaf.text",
        "UTF-8");
    refused(TREE, BYTES("\x12\x01\x0a"), "child.name", "middle of a field");
    refused(TREE,
        BYTES("\x0a\x01"
              "a"
              "\x12\x01\x80"),
        "child", "bad field number");
}

/* A tree of that many messages in all, the root counted. */
static void
write_nested(weir_buffer *out, unsigned levels)
{
    weir_buffer_clear(out);
    for (unsigned level = 1; level < levels; level++) {
        const uint8_t head[] = { 0x12, (uint8_t)out->size };
        weir_buffer deeper = { 0 };

        weir_buffer_append(&deeper, head, sizeof head);
        weir_buffer_append(&deeper, out->data, out->size);
        weir_buffer_fini(out);
        *out = deeper;
    }
}

static void
nesting_ends_at_its_limit(void **state)
{
    weir_buffer input = { 0 };
    weir_error error = { 0 };
    const weir_wire_limits three = { .depth_max = 3 };

    write_nested(&input, WEIR_WIRE_DEPTH_MAX);
    accepted(TREE, weir_buffer_view(&input));
    write_nested(&input, WEIR_WIRE_DEPTH_MAX + 1);
    assert_int_equal(weir_wire_check(TREE, weir_buffer_view(&input), NULL, &error),
        WEIR_MALFORMED_MESSAGE);
    assert_non_null(strstr(error.message, "nested too deep"));

    write_nested(&input, 3);
    assert_int_equal(weir_wire_check(TREE, weir_buffer_view(&input), &three, NULL), WEIR_OK);
    write_nested(&input, 4);
    assert_int_equal(weir_wire_check(TREE, weir_buffer_view(&input), &three, &error),
        WEIR_MALFORMED_MESSAGE);
    weir_buffer_fini(&input);
}

static void
many_elements_are_refused(void **state)
{
    const weir_wire_limits four = { .elements_max = 4 };
    weir_error error = { 0 };

    assert_int_equal(weir_wire_check(LISTS, BYTES("\x0a\x03\x01\x02\x03"), &four, &error), WEIR_OK);
    assert_int_equal(weir_wire_check(LISTS, BYTES("\x0a\x04\x01\x02\x03\x04"), &four, &error),
        WEIR_MALFORMED_MESSAGE);
    assert_string_equal(error.message, "a_int32 has too many elements");
    assert_int_equal(weir_wire_check(LISTS, BYTES("\x08\1\x08\1\x08\1\x08\1\x08\1"), &four, NULL),
        WEIR_MALFORMED_MESSAGE);
    /* Unknown fields count as well: each of them is kept. */
    assert_int_equal(weir_wire_check(LISTS, BYTES("\x98\6\1\x98\6\1\x98\6\1\x98\6\1\x98\6\1"),
                         &four, NULL),
        WEIR_MALFORMED_MESSAGE);
}

/* 4 MiB of empty sub-messages become 180 MiB in unpack. */
static void
a_small_message_may_not_become_a_large_one(void **state)
{
    weir_buffer input = { 0 };

    for (size_t index = 0; index < 400000; index++)
        weir_buffer_append(&input, "\x1a\x00", 2);
    refused(TREE, weir_buffer_view(&input), "children", "memory");
    weir_buffer_fini(&input);
}

static void
an_empty_body_has_the_base_budget(void **state)
{
    weir_buffer input = { 0 };

    for (size_t index = 0; index < 200; index++)
        weir_buffer_append(&input, "\x1a\x00", 2);
    accepted(TREE, weir_buffer_view(&input));
    weir_buffer_fini(&input);
}

static const uint8_t content_of_wire_type[][9] = {
    { 1, 0x01 },
    { 8, 1, 2, 3, 4, 5, 6, 7, 8 },
    { 1, 0x00 },
    { 0 },
    { 0 },
    { 4, 1, 2, 3, 4 },
};

/* Every field of every type with each wire type: only its own is taken. */
static void
a_known_field_must_have_its_own_wire_type(void **state)
{
    static const uint8_t own[] = { 0, 0, 0, 5, 0, 5, 5, 0, 0, 0, 1, 0, 1, 1, 0, 2, 2, 2 };

    for (uint32_t number = 1; number <= 17; number++) {
        for (uint8_t wire_type = 0; wire_type <= 5; wire_type++) {
            const uint32_t tag = number << 3 | wire_type;
            const uint8_t *const content = content_of_wire_type[wire_type];
            uint8_t bytes[12];
            size_t size = 0;

            if (tag > 0x7f)
                bytes[size++] = (uint8_t)(tag | 0x80);
            bytes[size++] = (uint8_t)(tag > 0x7f ? tag >> 7 : tag);
            memcpy(bytes + size, content + 1, content[0]);
            size += content[0];
            const weir_code code = weir_wire_check(SCALARS, weir_bytes_of(bytes, size), NULL, NULL);

            assert_int_equal(code == WEIR_OK, wire_type == own[number]);
        }
    }
}

static void
lists_of_numbers_may_be_packed_or_not(void **state)
{
    accepted(LISTS, BYTES("\x08\x05\x08\x06\x0a\x02\x07\x08"));
    accepted(LISTS, BYTES("\x1d\1\0\0\0\x1a\x08\1\0\0\0\2\0\0\0"));
    accepted(LISTS, BYTES("\x92\x01\x02\x05\x06")); /* declared unpacked, sent packed */
    accepted(LISTS, BYTES("\x0a\x00"));
}

static void
packed_lists_must_hold_whole_numbers(void **state)
{
    refused(LISTS, BYTES("\x0a\x02\x01\x80"), "a_int32", "whole numbers");
    refused(LISTS, BYTES("\x1a\x05\1\0\0\0\2"), "a_sfixed32", "whole numbers");
    refused(LISTS, BYTES("\x52\x07\1\0\0\0\0\0\0"), "a_sfixed64", "whole numbers");
    refused(LISTS, BYTES("\x42\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "a_int64",
        "whole numbers");
    accepted(LISTS, BYTES("\x42\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
    accepted(LISTS, BYTES("\x72\x02\x00\x01"));
    refused(LISTS, BYTES("\x72\x01\x02"), "a_bool", "whole numbers");
    refused(LISTS, BYTES("\x72\x02\x80\x00"), "a_bool", "whole numbers");
}

static void
groups_and_bad_numbers_are_refused(void **state)
{
    refused(TREE, BYTES("\x0b\x0c"), "name", "group");
    refused(TREE, BYTES("\xfb\x07\xfc\x07"), "", "the message ends in the middle");
    refused(TREE, BYTES("\x0e"), "name", "group");
    refused(TREE, BYTES("\x00\x00"), "", "the message has a bad field number");
    refused(TREE, BYTES("\x80\x00\x00"), "", "bad field number");
    refused(TREE, BYTES("\xf8\xff\xff\xff\x1f\x01"), "", "bad field number");
    accepted(TREE, BYTES("\xf8\xff\xff\xff\x0f\x01")); /* 2^29 - 1, the greatest */
    refused(TREE, BYTES("\x80\x80\x80\x80\x80\x01\x00"), "", "bad field number");
}

static void
a_field_cut_off_is_refused(void **state)
{
    refused(TREE, BYTES("\x0a"), "name", "middle");
    refused(TREE,
        BYTES("\x0a\x05"
              "abc"),
        "name", "middle");
    refused(TREE,
        BYTES("\x0a\xff\xff\xff\xff\x0f"
              "abc"),
        "name", "middle");
    refused(TREE, BYTES("\x0a\x80\x80\x80\x80\x80\x01"), "name", "middle");
    refused(SCALARS, BYTES("\x08"), "a_int32", "middle");
    refused(SCALARS, BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "a_int32",
        "middle");
    refused(SCALARS, BYTES("\x1d\x01\x02\x03"), "a_sfixed32", "middle");
    refused(SCALARS, BYTES("\x51\x01\x02\x03\x04\x05\x06\x07"), "a_sfixed64", "middle");
}

static void
a_message_field_may_stand_once(void **state)
{
    accepted(TREE, BYTES("\x12\x00"));
    refused(TREE, BYTES("\x12\x00\x12\x00"), "child", "given twice");
    refused(TREE, BYTES("\x32\x00\x32\x00"), "leaf", "given twice");
    accepted(TREE, BYTES("\x32\x00\x42\x00")); /* two members of one oneof: the last wins */
    accepted(TREE, BYTES("\x1a\x00\x1a\x00")); /* a list */
    accepted(TREE,
        BYTES("\x0a\x01"
              "a\x0a\x01"
              "b")); /* a scalar: the last wins */
}

static void
a_deep_path_is_cut_to_its_field(void **state)
{
    weir_buffer input = { 0 };
    weir_error error = { 0 };

    weir_buffer_append(&input, "\x0a\x01\xff", 3);
    for (unsigned level = 0; level < 25; level++) {
        const uint8_t head[] = { 0x1a, (uint8_t)input.size };
        weir_buffer outer = { 0 };

        weir_buffer_append(&outer, head, sizeof head);
        weir_buffer_append(&outer, input.data, input.size);
        weir_buffer_fini(&input);
        input = outer;
    }
    assert_int_equal(weir_wire_check(TREE, weir_buffer_view(&input), NULL, &error),
        WEIR_MALFORMED_MESSAGE);
    assert_memory_equal(error.field, "children.children.", 18);
    assert_in_range(strlen(error.field), 80, 95);
    weir_buffer_fini(&input);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_message_is_accepted),
        cmocka_unit_test(text_must_be_utf8_without_nul),
        cmocka_unit_test(the_field_is_named_by_its_path),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(many_elements_are_refused),
        cmocka_unit_test(a_small_message_may_not_become_a_large_one),
        cmocka_unit_test(an_empty_body_has_the_base_budget),
        cmocka_unit_test(a_known_field_must_have_its_own_wire_type),
        cmocka_unit_test(lists_of_numbers_may_be_packed_or_not),
        cmocka_unit_test(packed_lists_must_hold_whole_numbers),
        cmocka_unit_test(groups_and_bad_numbers_are_refused),
        cmocka_unit_test(a_field_cut_off_is_refused),
        cmocka_unit_test(a_message_field_may_stand_once),
        cmocka_unit_test(a_deep_path_is_cut_to_its_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
