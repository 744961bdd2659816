/*
 * rate.c - see rate.h.
 */
#include "services/gateway/rate.h"

void
gateway_rate_init(gateway_rate *rate, uint32_t per_second, int64_t now_ms)
{
    pthread_mutex_init(&rate->lock, NULL);
    rate->per_second = per_second;
    rate->left = per_second;
    rate->at_ms = now_ms;
}

void
gateway_rate_fini(gateway_rate *rate)
{
    pthread_mutex_destroy(&rate->lock);
}

static void
fill(gateway_rate *rate, int64_t now_ms)
{
    if (now_ms > rate->at_ms)
        rate->left += (double)(now_ms - rate->at_ms) * rate->per_second / 1000;
    if (rate->left > rate->per_second)
        rate->left = rate->per_second;
    rate->at_ms = now_ms;
}

uint32_t
gateway_rate_take(gateway_rate *rate, uint32_t wanted, int64_t now_ms, int64_t *ret_wait_ms)
{
    uint32_t taken = wanted;

    *ret_wait_ms = 0;
    if (rate->per_second == 0)
        return wanted;
    pthread_mutex_lock(&rate->lock);
    fill(rate, now_ms);
    if (taken > rate->left)
        taken = (uint32_t)rate->left;
    rate->left -= taken;
    if (taken < wanted) {
        const uint32_t rest = wanted - taken < rate->per_second ? wanted - taken : rate->per_second;

        *ret_wait_ms = (int64_t)((rest - rate->left) * 1000 / rate->per_second) + 1;
    }
    pthread_mutex_unlock(&rate->lock);
    return taken;
}

void
gateway_rate_give_back(gateway_rate *rate, uint32_t count)
{
    pthread_mutex_lock(&rate->lock);
    rate->left += count;
    pthread_mutex_unlock(&rate->lock);
}
