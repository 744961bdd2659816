/*
 * support.c - see support.h.
 */
#include "tests/unit/indexer/support.h"

#include "common/base/hash.h"
#include "services/indexer/index.h"

void
seeded_vector(uint64_t seed, float *out, uint32_t dimension)
{
    weir_rng rng = { .state = seed };
    weir_error error;

    for (uint32_t i = 0; i < dimension; i++)
        out[i] = (float)weir_rng_below(&rng, 20001) / 10000.0f - 1.0f;
    CHECK_OK(indexer_vector_normalise(out, dimension, &error));
}

void
named_vector(const char *name, float *out, uint32_t dimension)
{
    seeded_vector(weir_hash64(weir_bytes_str(name), 1), out, dimension);
}
