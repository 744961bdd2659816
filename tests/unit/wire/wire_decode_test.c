/* Goal: what passes the check comes out as it was encoded, with maps as the specification has
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/wire/wire.h"
#include "wire_cases.pb-c.h"

#define BYTES(text_) weir_bytes_of((text_), sizeof(text_) - 1)

static weir_arena *arena;

static int
setup(void **state)
{
    arena = weir_arena_create(0);
    return 0;
}

static int
teardown(void **state)
{
    weir_arena_destroy(&arena);
    return 0;
}

static void *
decoded(const ProtobufCMessageDescriptor *descriptor, weir_bytes input)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    if (weir_wire_decode(descriptor, input, NULL, arena, &message, &error) != WEIR_OK)
        fail_msg("%s: %s", error.field, error.message);
    return message;
}

static void
a_message_comes_back_as_it_went(void **state)
{
    Weir__Test__Leaf leaf = WEIR__TEST__LEAF__INIT;
    Weir__Test__Tree tree = WEIR__TEST__TREE__INIT;
    Weir__Test__Tree child = WEIR__TEST__TREE__INIT;
    Weir__Test__Lists lists = WEIR__TEST__LISTS__INIT;
    float floats[] = { 1.5f, -2.0f };
    weir_buffer bytes = { 0 };

    leaf.text = (char *)(uintptr_t)"leaf";
    leaf.number = -7;
    lists.n_a_float = 2;
    lists.a_float = floats;
    child.content_case = WEIR__TEST__TREE__CONTENT_LEAF;
    child.leaf = &leaf;
    tree.name = (char *)(uintptr_t)"root";
    tree.child = &child;
    tree.lists = &lists;
    weir_buffer_append(&bytes, "before", 6);
    weir_wire_encode(&tree.base, &bytes);

    const Weir__Test__Tree *const back =
        decoded(&weir__test__tree__descriptor, weir_bytes_of(bytes.data + 6, bytes.size - 6));
    assert_memory_equal(bytes.data, "before", 6);
    assert_string_equal(back->name, "root");
    assert_int_equal(back->child->content_case, WEIR__TEST__TREE__CONTENT_LEAF);
    assert_string_equal(back->child->leaf->text, "leaf");
    assert_int_equal(back->child->leaf->number, -7);
    assert_int_equal(back->lists->n_a_float, 2);
    assert_true(back->lists->a_float[1] == -2.0f);
    weir_buffer_fini(&bytes);
}

static void
an_empty_message_has_its_defaults(void **state)
{
    const Weir__Test__Scalars *const back =
        decoded(&weir__test__scalars__descriptor, weir_bytes_of(NULL, 0));
    weir_buffer bytes = { 0 };

    assert_string_equal(back->a_string, "");
    assert_null(back->a_leaf);
    weir_wire_encode(&back->base, &bytes);
    assert_int_equal(bytes.size, 0);
    weir_buffer_fini(&bytes);
}

static void
of_a_scalar_or_a_oneof_the_last_wins(void **state)
{
    const Weir__Test__Tree *const tree = decoded(&weir__test__tree__descriptor,
        BYTES("\x0a\x01"
              "a\x0a\x01"
              "b\x38\x05\x22\x02hi"));

    assert_string_equal(tree->name, "b");
    assert_int_equal(tree->content_case, WEIR__TEST__TREE__CONTENT_TEXT);
    assert_string_equal(tree->text, "hi");
}

static void
unknown_fields_are_kept(void **state)
{
    const weir_bytes input = BYTES("\x0a\x01"
                                   "a\x98\x06\x07\xa2\x06\x02hi");
    const Weir__Test__Tree *const tree = decoded(&weir__test__tree__descriptor, input);
    weir_buffer bytes = { 0 };

    weir_wire_encode(&tree->base, &bytes);
    assert_true(weir_bytes_equal(weir_buffer_view(&bytes), input));
    weir_buffer_fini(&bytes);
}

static void
of_equal_map_keys_the_last_wins(void **state)
{
    const Weir__Test__Maps *const maps = decoded(&weir__test__maps__descriptor,
        BYTES("\x0a\x06\x0a\x01"
              "a\x12\x01"
              "1"
              "\x0a\x06\x0a\x01"
              "b\x12\x01"
              "2"
              "\x0a\x06\x0a\x01"
              "a\x12\x01"
              "3"
              "\x0a\x03\x12\x01"
              "4" /* no key: the empty key */
              "\x0a\x05\x0a\x00\x12\x01"
              "5"));

    assert_int_equal(maps->n_text_by_name, 3);
    assert_string_equal(maps->text_by_name[0]->key, "b");
    assert_string_equal(maps->text_by_name[0]->value, "2");
    assert_string_equal(maps->text_by_name[1]->key, "a");
    assert_string_equal(maps->text_by_name[1]->value, "3");
    assert_string_equal(maps->text_by_name[2]->key, "");
    assert_string_equal(maps->text_by_name[2]->value, "5");
}

static void
maps_of_every_kind_of_key_are_settled(void **state)
{
    const Weir__Test__Maps *const maps = decoded(&weir__test__maps__descriptor,
        BYTES("\x12\x04\x08\x07\x12\x00\x12\x04\x08\x07\x12\x00"
              "\x1a\x04\x08\x01\x10\x02\x1a\x04\x08\x01\x10\x03\x1a\x02\x10\x04"
              "\x22\x09\x09\1\0\0\0\0\0\0\0\x22\x09\x09\2\0\0\0\0\0\0\0\x22\x09\x09\1\0\0\0\0\0\0\0"
              "\x2a\x04\x08\x01\x12\x00\x2a\x04\x08\x02\x12\x00"));

    assert_int_equal(maps->n_leaf_by_number, 1);
    assert_int_equal(maps->n_number_by_flag, 2);
    assert_int_equal(maps->number_by_flag[0]->value, 3);
    assert_int_equal(maps->n_bytes_by_id, 2);
    assert_int_equal(maps->n_nested, 2);
}

static void
an_entry_without_a_value_gets_an_empty_one(void **state)
{
    const Weir__Test__Maps *const maps =
        decoded(&weir__test__maps__descriptor, BYTES("\x12\x02\x08\x07\x0a\x03\x0a\x01k"));

    assert_int_equal(maps->n_leaf_by_number, 1);
    assert_non_null(maps->leaf_by_number[0]->value);
    assert_string_equal(maps->leaf_by_number[0]->value->text, "");
    assert_string_equal(maps->text_by_name[0]->value, "");
}

static void
maps_are_settled_at_every_depth(void **state)
{
    /* children[0].child.maps.nested[0].value.text_by_name, with one key twice. */
    const Weir__Test__Tree *const tree = decoded(&weir__test__tree__descriptor,
        BYTES("\x1a\x14\x12\x12\x52\x10\x2a\x0e\x08\x02\x12\x0a"
              "\x0a\x03\x0a\x01k\x0a\x03\x0a\x01k"));
    const Weir__Test__Maps *const maps = tree->children[0]->child->maps;

    assert_int_equal(maps->n_nested, 1);
    assert_int_equal(maps->nested[0]->value->n_text_by_name, 1);
}

static void
a_message_that_only_looks_like_a_map_keeps_its_doubles(void **state)
{
    const Weir__Test__Maps *const maps =
        decoded(&weir__test__maps__descriptor, BYTES("\x32\x03\x0a\x01k\x32\x03\x0a\x01k"));

    assert_int_equal(maps->n_pairs, 2);
}

static void
a_hostile_number_of_equal_keys_costs_little(void **state)
{
    weir_buffer input = { 0 };
    const weir_wire_limits limits = { .decoded_bytes_max = 64 << 20 };
    ProtobufCMessage *message = NULL;

    for (size_t index = 0; index < 200000; index++)
        weir_buffer_append(&input, "\x0a\x03\x0a\x01k", 5);
    assert_int_equal(weir_wire_decode(&weir__test__maps__descriptor, weir_buffer_view(&input),
                         &limits, arena, &message, NULL),
        WEIR_OK);
    assert_int_equal(((Weir__Test__Maps *)message)->n_text_by_name, 1);
    weir_buffer_fini(&input);
}

static void
a_full_arena_is_no_memory(void **state)
{
    weir_arena *small = weir_arena_create(200);
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    assert_int_equal(weir_wire_decode(&weir__test__tree__descriptor,
                         BYTES("\x1a\x00\x1a\x00\x1a\x00\x1a\x00"), NULL, small, &message, &error),
        WEIR_NO_MEMORY);
    assert_null(message);
    assert_non_null(strstr(error.message, "weir.test.Tree of 8 bytes"));
    weir_arena_destroy(&small);
}

/* The value of a map entry is made after unpack: there, too, the arena may be full. */
static void
an_arena_that_is_full_at_the_map_is_no_memory(void **state)
{
    const weir_bytes input = BYTES("\x12\x02\x08\x07");

    for (size_t cap = 16; cap < 1024; cap += 16) {
        weir_arena *small = weir_arena_create(cap);
        ProtobufCMessage *message = NULL;
        const weir_code code =
            weir_wire_decode(&weir__test__maps__descriptor, input, NULL, small, &message, NULL);

        assert_true(code == WEIR_OK || code == WEIR_NO_MEMORY);
        assert_int_equal(code == WEIR_OK, message != NULL);
        weir_arena_destroy(&small);
    }
}

static void
what_the_check_refuses_is_not_decoded(void **state)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    assert_int_equal(weir_wire_decode(&weir__test__tree__descriptor, BYTES("\x0a\x01\xff"), NULL,
                         arena, &message, &error),
        WEIR_MALFORMED_MESSAGE);
    assert_string_equal(error.field, "name");
    assert_null(message);
    assert_int_equal(weir_arena_used(arena), 0);
}

static void
the_allocator_takes_from_the_arena(void **state)
{
    ProtobufCAllocator allocator = weir_wire_arena_allocator(arena);
    Weir__Test__Leaf *const leaf =
        weir__test__leaf__unpack(&allocator, 3, (const uint8_t *)"\x0a\x01x");

    assert_string_equal(leaf->text, "x");
    assert_true(weir_arena_used(arena) > 0);
    weir__test__leaf__free_unpacked(leaf, &allocator);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_message_comes_back_as_it_went),
        TEST(an_empty_message_has_its_defaults),
        TEST(of_a_scalar_or_a_oneof_the_last_wins),
        TEST(unknown_fields_are_kept),
        TEST(of_equal_map_keys_the_last_wins),
        TEST(maps_of_every_kind_of_key_are_settled),
        TEST(an_entry_without_a_value_gets_an_empty_one),
        TEST(maps_are_settled_at_every_depth),
        TEST(a_message_that_only_looks_like_a_map_keeps_its_doubles),
        TEST(a_hostile_number_of_equal_keys_costs_little),
        TEST(a_full_arena_is_no_memory),
        TEST(an_arena_that_is_full_at_the_map_is_no_memory),
        TEST(what_the_check_refuses_is_not_decoded),
        TEST(the_allocator_takes_from_the_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
