/*
 * random.c - the kernel's randomness, and SplitMix64.
 */
#include "common/base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "common/base/assert.h"

void
weir_random_bytes(void *out, size_t size)
{
    unsigned char *at = out;

    while (size > 0) {
        const ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        weir_assert(got > 0);
        at += got;
        size -= (size_t)got;
    }
}

uint64_t
weir_random_u64(void)
{
    uint64_t value;

    weir_random_bytes(&value, sizeof value);
    return value;
}

uint64_t
weir_rng_next(weir_rng *rng)
{
    uint64_t mixed = rng->state += 0x9E3779B97F4A7C15;

    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
}

uint64_t
weir_rng_below(weir_rng *rng, uint64_t bound)
{
    weir_assert(bound > 0);
    /* Refuse the few lowest values that would make small results likelier (2^64 mod bound of
     * them). */
    const uint64_t refused = -bound % bound;
    uint64_t value;

    do
        value = weir_rng_next(rng);
    while (value < refused);
    return value % bound;
}
