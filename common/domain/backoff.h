/*
 * backoff.h - when to try again: full jitter over a doubling, capped ceiling.  Pure.
 */
#ifndef WEIR_DOMAIN_BACKOFF_H
#define WEIR_DOMAIN_BACKOFF_H

#include <stdint.h>

/* Milliseconds to wait before try `attempt` + 1 (attempt 0: the first retry), in
 * [1, min(base << attempt, max)].  0 < base_ms <= max_ms.  The caller supplies the randomness
 * (Brooker, "Exponential Backoff and Jitter", 2015). */
uint32_t weir_backoff_ms(uint32_t attempt, uint32_t base_ms, uint32_t max_ms, uint64_t random);

#endif
