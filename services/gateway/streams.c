/*
 * streams.c - see streams.h.
 */
#include "services/gateway/streams.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"

enum { TRY_EVERY_MS = 10 };

struct gateway_streams {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    gateway_held ring; /* of those held */
    bool stopping;
};

static void
unlink_held(gateway_held *held)
{
    held->previous->next = held->next;
    held->next->previous = held->previous;
    held->previous = held->next = NULL;
}

static void
try_all(gateway_streams *streams)
{
    for (gateway_held *held = streams->ring.next; held != &streams->ring;) {
        gateway_held *next = held->next;

        if (held->try(held))
            unlink_held(held);
        held = next;
    }
}

static void
wait_a_little(gateway_streams *streams)
{
    const int64_t at_ms = weir_clock_mono_ms() + TRY_EVERY_MS;
    const struct timespec until = { .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };

    while (!streams->stopping && weir_clock_mono_ms() < at_ms)
        if (pthread_cond_timedwait(&streams->wake, &streams->lock, &until) != 0)
            break;
}

static void *
streams_main(void *arg)
{
    gateway_streams *streams = arg;

    pthread_mutex_lock(&streams->lock);
    while (!streams->stopping) {
        if (streams->ring.next == &streams->ring) {
            pthread_cond_wait(&streams->wake, &streams->lock);
            continue;
        }
        try_all(streams);
        wait_a_little(streams);
    }
    pthread_mutex_unlock(&streams->lock);
    return NULL;
}

gateway_streams *
gateway_streams_create(void)
{
    gateway_streams *streams = weir_alloc_zero(1, sizeof *streams);
    pthread_condattr_t monotonic;

    streams->ring.next = streams->ring.previous = &streams->ring;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&streams->lock, NULL);
    pthread_cond_init(&streams->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&streams->thread, NULL, streams_main, streams) != 0)
        weir_assert(!"the thread of the streams can be started");
    return streams;
}

void
gateway_streams_destroy(gateway_streams **streams_p)
{
    gateway_streams *streams = *streams_p;

    if (streams == NULL)
        return;
    weir_assert(streams->ring.next == &streams->ring);
    pthread_mutex_lock(&streams->lock);
    streams->stopping = true;
    pthread_cond_signal(&streams->wake);
    pthread_mutex_unlock(&streams->lock);
    pthread_join(streams->thread, NULL);
    pthread_mutex_destroy(&streams->lock);
    pthread_cond_destroy(&streams->wake);
    weir_free(streams);
    *streams_p = NULL;
}

void
gateway_streams_add(gateway_streams *streams, gateway_held *held)
{
    pthread_mutex_lock(&streams->lock);
    if (held->next == NULL) {
        held->previous = streams->ring.previous;
        held->next = &streams->ring;
        held->previous->next = held;
        held->next->previous = held;
        pthread_cond_signal(&streams->wake);
    }
    pthread_mutex_unlock(&streams->lock);
}

void
gateway_streams_remove(gateway_streams *streams, gateway_held *held)
{
    pthread_mutex_lock(&streams->lock);
    if (held->next != NULL)
        unlink_held(held);
    pthread_mutex_unlock(&streams->lock);
}
