/*
 * random.h - the only place that asks the kernel for randomness (lint holds this), and a seeded
 * generator for simulators and tests.
 */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* getrandom(2); aborts if the kernel refuses.  Any thread. */
void weir_random_bytes(void *out, size_t size);
uint64_t weir_random_u64(void);

/* SplitMix64 (Steele, Lea, Flood 2014): every seed gives a full-period sequence.  One owner at a
 * time. */
typedef struct weir_rng {
    uint64_t state;
} weir_rng;
uint64_t weir_rng_next(weir_rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t weir_rng_below(weir_rng *rng, uint64_t bound);

#endif
