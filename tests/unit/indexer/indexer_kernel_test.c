/*
 * indexer_kernel_test.c - the inner products are right.
 *
 * Method: compare with a double-precision reference over all small sizes and the sizes of real
 * models; CMake runs this program once more with WEIR_KERNEL=generic.
 */
#include "tests/unit/indexer/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "services/indexer/kernel.h"

enum { DIMENSION_MAX = 4096 };

static double
reference(const float *x, const float *y, size_t dimension)
{
    double sum = 0;

    for (size_t i = 0; i < dimension; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static void
compare_at(size_t dimension)
{
    /* One float more at each end, so that neither begins at an aligned address. */
    static float x[DIMENSION_MAX + 1], y[DIMENSION_MAX + 1];
    weir_rng rng = { .state = dimension };

    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i <= dimension; i++) {
            x[i] = (float)weir_rng_below(&rng, 2001) / 1000.0f - 1.0f;
            y[i] = (float)weir_rng_below(&rng, 2001) / 1000.0f - 1.0f;
        }
        const double wanted = reference(x + 1, y + 1, dimension);
        const double got = (double)indexer_inner_product(x + 1, y + 1, dimension);
        if (fabs(got - wanted) > 1e-5 * sqrt((double)dimension) + 1e-6)
            fail_msg("dimension %zu: %.9g, not %.9g", dimension, got, wanted);
    }
}

static void
inner_products_equal_a_double_reference_at_every_small_size(void **state)
{
    for (size_t dimension = 1; dimension <= 67; dimension++)
        compare_at(dimension);
}

static void
inner_products_equal_a_double_reference_at_the_sizes_of_models(void **state)
{
    const size_t dimensions[] = { 384, 512, 768, 1024, 1536, 3072, 4096 };

    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++)
        compare_at(dimensions[i]);
}

static void
each_component_counts_once(void **state)
{
    static float x[200], y[200];

    for (size_t dimension = 1; dimension <= 200; dimension++) {
        for (size_t i = 0; i < dimension; i++) {
            x[i] = 1;
            y[i] = (float)(i + 1);
        }
        const float sum = (float)(dimension * (dimension + 1) / 2); /* exact in a float */
        assert_true(indexer_inner_product(x, y, dimension) == sum);
    }
}

static void
the_environment_can_turn_avx2_off(void **state)
{
    const char *wish = getenv("WEIR_KERNEL");

    if (wish != NULL && strcmp(wish, "generic") == 0)
        assert_string_equal(indexer_kernel_name(), "generic");
    else
        print_message("kernel: %s\n", indexer_kernel_name());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inner_products_equal_a_double_reference_at_every_small_size),
        cmocka_unit_test(inner_products_equal_a_double_reference_at_the_sizes_of_models),
        cmocka_unit_test(each_component_counts_once),
        cmocka_unit_test(the_environment_can_turn_avx2_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
