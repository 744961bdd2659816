/*
 * backoff.c - see backoff.h.
 */
#include "common/domain/backoff.h"

#include "common/base/assert.h"

uint32_t
weir_backoff_ms(uint32_t attempt, uint32_t base_ms, uint32_t max_ms, uint64_t random)
{
    weir_assert(base_ms > 0);
    weir_assert(base_ms <= max_ms);
    const uint32_t shift = attempt < 31 ? attempt : 31;
    const uint64_t wanted_ms = (uint64_t)base_ms << shift;
    const uint64_t ceiling_ms = wanted_ms < max_ms ? wanted_ms : max_ms;

    return (uint32_t)(random % ceiling_ms) + 1;
}
