/*
 * gateway_views_test.c - goal: tokens come back as they went, and no other text is taken for one;
 * times are exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/gateway/views.h"

static weir_arena *arena;

static void
a_token_comes_back_as_it_went(void **state)
{
    weir_bytes content;
    char *token = gateway_token_encode(arena, GATEWAY_TOKEN_PAGE, weir_bytes_str("abc"));

    assert_true(gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, token, &content));
    assert_true(weir_bytes_equal(content, weir_bytes_str("abc")));
}

static void
a_token_of_another_kind_or_an_altered_one_is_refused(void **state)
{
    weir_bytes content;
    char *token = gateway_token_encode(arena, GATEWAY_TOKEN_PAGE, weir_bytes_str("abc"));

    assert_false(gateway_token_decode(arena, GATEWAY_TOKEN_RESUME, token, &content));
    for (size_t i = 0; token[i] != 0; i++) {
        const char was = token[i];

        token[i] = was == '0' ? '1' : '0';
        assert_false(gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, token, &content));
        token[i] = was;
    }
    assert_false(gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, "", &content));
    assert_false(gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, "zz", &content));
    assert_false(gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, "0", &content));
}

static void
a_consistency_token_names_its_write(void **state)
{
    const gateway_write write = { .collection_no = 7, .revision = 3, .document_id = "a/b" };
    gateway_write read = { 0 };

    assert_true(gateway_consistency_decode(arena, gateway_consistency_encode(arena, &write),
        &read));
    assert_int_equal(read.collection_no, 7);
    assert_int_equal(read.revision, 3);
    assert_string_equal(read.document_id, "a/b");
    assert_false(gateway_consistency_decode(arena,
        gateway_token_encode(arena, GATEWAY_TOKEN_CONSISTENCY, weir_bytes_str("short")), &read));
}

static void
times_and_durations_are_exact_to_the_millisecond(void **state)
{
    assert_null(weir_wire_time(arena, 0));
    assert_int_equal(weir_wire_time(arena, 1234)->seconds, 1);
    assert_int_equal(weir_wire_time(arena, 1234)->nanos, 234000000);
    assert_int_equal(weir_wire_duration(arena, 60001)->seconds, 60);
    assert_int_equal(weir_wire_duration(arena, 60001)->nanos, 1000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_comes_back_as_it_went),
        cmocka_unit_test(a_token_of_another_kind_or_an_altered_one_is_refused),
        cmocka_unit_test(a_consistency_token_names_its_write),
        cmocka_unit_test(times_and_durations_are_exact_to_the_millisecond),
    };

    arena = weir_arena_create(0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_arena_destroy(&arena);
    return failed;
}
