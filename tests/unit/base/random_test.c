/* Goal: the seeded generator is SplitMix64, bounded numbers are in bounds, the kernel's differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/random.h"

static void
the_generator_gives_the_published_sequence(void **state)
{
    weir_rng rng = { 1234567 };

    assert_true(weir_rng_next(&rng) == 6457827717110365317u);
    assert_true(weir_rng_next(&rng) == 3203168211198807973u);
    assert_true(weir_rng_next(&rng) == 9817491932198370423u);
}

static void
bounded_numbers_reach_each_value_and_no_other(void **state)
{
    weir_rng rng = { 5 };
    unsigned counts[7] = { 0 };

    for (int draw = 0; draw < 7000; draw++)
        counts[weir_rng_below(&rng, 7)]++;
    for (size_t value = 0; value < 7; value++)
        assert_in_range(counts[value], 800, 1200);
    assert_int_equal(weir_rng_below(&rng, 1), 0);
    assert_true(weir_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void
the_kernels_numbers_differ(void **state)
{
    uint8_t bytes[1000] = { 0 };
    unsigned zeros = 0;

    assert_true(weir_random_u64() != weir_random_u64());
    weir_random_bytes(bytes, sizeof bytes);
    for (size_t index = 0; index < sizeof bytes; index++)
        zeros += bytes[index] == 0;
    assert_true(zeros < 50);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_gives_the_published_sequence),
        cmocka_unit_test(bounded_numbers_reach_each_value_and_no_other),
        cmocka_unit_test(the_kernels_numbers_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
