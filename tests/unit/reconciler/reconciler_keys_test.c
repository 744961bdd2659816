/*
 * Goal: byte order of keys is the order of what they name, and only whole keys are read back.
 * Method: neighbours are built and compared; keys are cut and damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/reconciler/keys.h"

static weir_buffer key, other;

static int
clear(void **state)
{
    weir_buffer_fini(&key);
    weir_buffer_fini(&other);
    return 0;
}

static void
assert_before(weir_bytes a, weir_bytes b)
{
    assert_true(weir_bytes_compare(a, b) < 0);
}

static void
dead_letters_of_a_tenant_stand_together_in_order(void **state)
{
    assert_before(reconciler_key_dead_letter(&key, "a", 1, "x", 9),
        reconciler_key_dead_letter(&other, "a", 1, "x", 10));
    assert_before(reconciler_key_dead_letter(&key, "a", 1, "x", 9),
        reconciler_key_dead_letter(&other, "a", 1, "xa", 1));
    assert_before(reconciler_key_dead_letter(&key, "a", 1, "z", 9),
        reconciler_key_dead_letter(&other, "a", 256, "a", 1));
    assert_before(reconciler_key_dead_letter(&key, "a", UINT64_MAX, "z", 9),
        reconciler_key_dead_letter(&other, "aa", 1, "a", 1));
    assert_before(reconciler_key_dead_letter(&key, "a", UINT64_MAX, "z", 9),
        reconciler_key_dead_letter(&other, "b", 1, "a", 1));
}

static void
the_range_of_a_tenant_holds_its_own_dead_letters_and_no_others(void **state)
{
    weir_buffer upper = { 0 };
    const weir_bytes lower = reconciler_key_dead_letters(&key, "a", 0);
    const weir_bytes end = reconciler_key_after(&upper, lower);

    const weir_bytes own = reconciler_key_dead_letter(&other, "a", UINT64_MAX, "z", INT64_MAX);
    assert_true(weir_bytes_compare(own, lower) > 0);
    assert_before(own, end);
    const weir_bytes foreign = reconciler_key_dead_letter(&other, "aa", 1, "a", 1);
    assert_true(weir_bytes_compare(foreign, end) > 0);
    weir_buffer_fini(&upper);
}

static void
the_end_of_a_range_carries_over_full_bytes(void **state)
{
    weir_buffer upper = { 0 };
    const weir_bytes lower = reconciler_key_dead_letters(&key, "a", UINT64_MAX);
    const weir_bytes end = reconciler_key_after(&upper, lower);

    assert_before(reconciler_key_dead_letter(&other, "a", UINT64_MAX, "z", INT64_MAX), end);
    assert_int_equal(end.size, 3);
    weir_buffer_fini(&upper);
}

static void
revisions_and_events_stand_in_numeric_order(void **state)
{
    assert_before(reconciler_key_event(&key, 1, "d", 255),
        reconciler_key_event(&other, 1, "d", 256));
    assert_before(reconciler_key_ending(&key, 1, "d", 255),
        reconciler_key_ending(&other, 1, "d", 256));
    assert_before(reconciler_key_unfinished(&key, 255, "d", 1),
        reconciler_key_unfinished(&other, 256, "d", 1));
    assert_before(reconciler_key_number(&key), reconciler_key_seeds(&other));
}

static void
a_key_says_what_it_was_built_from(void **state)
{
    reconciler_id id;

    assert_true(reconciler_parse_dead_letter(reconciler_key_dead_letter(&key, "acme", 7, "a/b.c",
                                                 3),
        &id));
    assert_string_equal(id.tenant, "acme");
    assert_int_equal(id.collection_no, 7);
    assert_string_equal(id.document_id, "a/b.c");
    assert_int_equal(id.revision, 3);
    assert_true(reconciler_parse_revision(reconciler_key_ending(&key, 8, "x", 4), 'E', &id));
    assert_null(id.tenant);
    assert_int_equal(id.collection_no, 8);
    assert_string_equal(id.document_id, "x");
    assert_int_equal(id.revision, 4);
    assert_false(reconciler_parse_revision(reconciler_key_ending(&key, 8, "x", 4), 'U', &id));
}

static void
a_key_that_is_cut_or_damaged_is_none(void **state)
{
    reconciler_id id;
    const weir_bytes whole = reconciler_key_dead_letter(&key, "acme", 7, "doc", 1);

    for (size_t size = 0; size < whole.size; size++)
        assert_false(reconciler_parse_dead_letter(weir_bytes_of(whole.data, size), &id));
    key.data[whole.size - 9] = 'x'; /* the NUL of the document */
    assert_false(reconciler_parse_dead_letter(weir_buffer_view(&key), &id));
    const weir_bytes ending = reconciler_key_ending(&key, 7, "doc", 1);
    for (size_t size = 0; size < ending.size; size++)
        assert_false(reconciler_parse_revision(weir_bytes_of(ending.data, size), 'E', &id));
    key.data[10] = 0; /* a second NUL in the document */
    assert_false(reconciler_parse_revision(weir_buffer_view(&key), 'E', &id));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(dead_letters_of_a_tenant_stand_together_in_order, clear),
        cmocka_unit_test_teardown(the_range_of_a_tenant_holds_its_own_dead_letters_and_no_others,
            clear),
        cmocka_unit_test_teardown(the_end_of_a_range_carries_over_full_bytes, clear),
        cmocka_unit_test_teardown(revisions_and_events_stand_in_numeric_order, clear),
        cmocka_unit_test_teardown(a_key_says_what_it_was_built_from, clear),
        cmocka_unit_test_teardown(a_key_that_is_cut_or_damaged_is_none, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
