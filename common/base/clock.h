/*
 * clock.h - the only place that reads a clock (lint holds this).
 *
 * Wall time is for people, records and due times; monotonic time is for durations and timeouts.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

int64_t weir_clock_wall_ms(void);       /* milliseconds since 1970, UTC */
int64_t weir_clock_mono_ms(void);       /* milliseconds since boot, never back */
int64_t weir_clock_mono_us(void);       /* microseconds since boot, never back */
int64_t weir_clock_thread_cpu_us(void); /* CPU time of the calling thread */
/* Block the calling thread; for backoff loops of tools, never in a core. */
void weir_clock_sleep_ms(uint32_t duration_ms);
/* "2026-01-31T12:34:56.789Z" into out (25 bytes with NUL). */
void weir_clock_format(int64_t wall_ms, char out[25]);

#endif
