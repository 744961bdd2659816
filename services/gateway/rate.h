/*
 * rate.h - so many a second: a bucket that fills with time.
 *
 * Threads: any.
 */
#ifndef WEIR_GATEWAY_RATE_H
#define WEIR_GATEWAY_RATE_H

#include <pthread.h>
#include <stdint.h>

typedef struct gateway_rate {
    pthread_mutex_t lock;
    uint32_t per_second; /* 0: no limit; also what the bucket holds */
    double left;
    int64_t at_ms; /* when `left` was true */
} gateway_rate;

/* Full at first. */
void gateway_rate_init(gateway_rate *rate, uint32_t per_second, int64_t now_ms);
void gateway_rate_fini(gateway_rate *rate);
/* How many of `wanted` may go now, maybe 0; *ret_wait_ms: when it is worth to ask for the rest, 0
 * when all may go.  now_ms is of a clock that does not jump. */
uint32_t gateway_rate_take(gateway_rate *rate, uint32_t wanted, int64_t now_ms,
    int64_t *ret_wait_ms);
/* What was taken and not used. */
void gateway_rate_give_back(gateway_rate *rate, uint32_t count);

#endif
