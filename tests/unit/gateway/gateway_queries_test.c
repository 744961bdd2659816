/*
 * gateway_queries_test.c - goal: the vectors asked for last are kept, and no more than the bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/gateway/queries.h"

static bool
has(gateway_queries *queries, const char *fingerprint, const char *text, const char *vector)
{
    weir_buffer out = { 0 };
    const bool found = gateway_queries_get(queries, fingerprint, text, &out);

    if (found)
        assert_true(weir_bytes_equal(weir_buffer_view(&out), weir_bytes_str(vector)));
    weir_buffer_fini(&out);
    return found;
}

static void
the_least_lately_used_goes_first(void **state)
{
    gateway_queries *queries = gateway_queries_create(2);

    gateway_queries_put(queries, "m", "a", weir_bytes_str("1"));
    gateway_queries_put(queries, "m", "b", weir_bytes_str("2"));
    assert_true(has(queries, "m", "a", "1"));
    gateway_queries_put(queries, "m", "c", weir_bytes_str("3"));
    assert_true(has(queries, "m", "a", "1"));
    assert_false(has(queries, "m", "b", "2"));
    assert_true(has(queries, "m", "c", "3"));
    assert_int_equal(gateway_queries_hits(queries), 3);
    gateway_queries_destroy(&queries);
}

static void
a_text_belongs_to_its_vector_space(void **state)
{
    gateway_queries *queries = gateway_queries_create(8);

    gateway_queries_put(queries, "m", "a", weir_bytes_str("1"));
    assert_false(has(queries, "n", "a", "1"));
    gateway_queries_destroy(&queries);
}

static void
without_room_nothing_is_kept(void **state)
{
    gateway_queries *queries = gateway_queries_create(0);

    gateway_queries_put(queries, "m", "a", weir_bytes_str("1"));
    assert_false(has(queries, "m", "a", "1"));
    gateway_queries_destroy(&queries);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_lately_used_goes_first),
        cmocka_unit_test(a_text_belongs_to_its_vector_space),
        cmocka_unit_test(without_room_nothing_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
