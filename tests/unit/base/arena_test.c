/* Goal: the arena hands out distinct, aligned memory and keeps its cap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/arena.h"

static void
allocations_are_aligned_and_do_not_overlap(void **state)
{
    weir_arena *arena = weir_arena_create(0);
    unsigned char *blocks[400];

    for (size_t index = 0; index < 400; index++) {
        blocks[index] = weir_arena_alloc(arena, index * 7);
        assert_non_null(blocks[index]);
        assert_int_equal((uintptr_t)blocks[index] % 16, 0);
        memset(blocks[index], (int)index, index * 7);
    }
    for (size_t index = 1; index < 400; index++) {
        assert_int_equal(blocks[index][0], (unsigned char)index);
        assert_int_equal(blocks[index][index * 7 - 1], (unsigned char)index);
    }
    weir_arena_destroy(&arena);
    assert_null(arena);
}

static void
a_large_request_gets_a_chunk_of_its_own(void **state)
{
    weir_arena *arena = weir_arena_create(0);
    unsigned char *const large = weir_arena_alloc_zero(arena, 5 << 20);

    assert_int_equal(large[(5 << 20) - 1], 0);
    assert_int_equal(weir_arena_used(arena), 5 << 20);
    weir_arena_destroy(&arena);
}

static void
past_the_cap_the_answer_is_null_and_the_rest_still_works(void **state)
{
    weir_arena *arena = weir_arena_create(1024);

    assert_null(weir_arena_alloc(arena, 1025));
    assert_non_null(weir_arena_alloc(arena, 1000));
    assert_null(weir_arena_alloc(arena, 17));
    assert_non_null(weir_arena_alloc(arena, 16));
    assert_null(weir_arena_alloc(arena, 0));
    assert_null(weir_arena_strdup(arena, "x"));
    assert_null(weir_arena_printf(arena, "%d", 1));
    assert_null(weir_arena_memdup(arena, "x", 1));
    assert_null(weir_arena_alloc_zero(arena, 1));
    weir_arena_destroy(&arena);
}

static void
reset_forgets_everything_and_restores_the_cap(void **state)
{
    weir_arena *arena = weir_arena_create(64 << 10);

    for (int round = 0; round < 5; round++) {
        for (int index = 0; index < 64; index++)
            assert_non_null(weir_arena_alloc(arena, 1024));
        assert_null(weir_arena_alloc(arena, 1));
        weir_arena_reset(arena);
        assert_int_equal(weir_arena_used(arena), 0);
    }
    weir_arena_destroy(&arena);
}

static void
reset_of_an_empty_arena_is_allowed(void **state)
{
    weir_arena *arena = weir_arena_create(0);

    weir_arena_reset(arena);
    assert_non_null(weir_arena_alloc(arena, 1));
    weir_arena_destroy(&arena);
    weir_arena_destroy(&arena);
}

static void
copies_end_with_nul(void **state)
{
    weir_arena *arena = weir_arena_create(0);

    assert_string_equal(weir_arena_strdup(arena, "weir"), "weir");
    assert_string_equal(weir_arena_strndup(arena, "weirdness", 4), "weir");
    assert_string_equal(weir_arena_strndup(arena, NULL, 0), "");
    assert_string_equal(weir_arena_printf(arena, "%s-%d", "row", 7), "row-7");
    assert_memory_equal(weir_arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    weir_arena_destroy(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_large_request_gets_a_chunk_of_its_own),
        cmocka_unit_test(past_the_cap_the_answer_is_null_and_the_rest_still_works),
        cmocka_unit_test(reset_forgets_everything_and_restores_the_cap),
        cmocka_unit_test(reset_of_an_empty_arena_is_allowed),
        cmocka_unit_test(copies_end_with_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
