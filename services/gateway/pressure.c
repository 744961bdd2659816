/*
 * pressure.c - see pressure.h.  What is read is in rpc_get_pressure.c.
 */
#include "services/gateway/pressure.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "common/base/clock.h"

typedef struct watcher watcher;
struct watcher {
    watcher *next;
    weir_rpc_call *call;
    const char *collection_id;
    int64_t interval_ms;
    int64_t due_ms;                          /* monotonic; the thread's once it is in the list */
    bool is_full, is_cancelled, is_draining; /* under the lock */
};

struct gateway_pressure {
    gateway *self;
    pthread_t thread;
    weir_arena *arena; /* of one answer; the thread's */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    watcher *watchers;
    size_t count;
    bool stopping;
};

/* ---- one watcher ---- */

/* Under the lock. */
static int64_t
due_of(const watcher *one)
{
    if (one->is_cancelled || one->is_draining)
        return 0;
    return one->is_full ? INT64_MAX : one->due_ms;
}

/* Under the lock: out of the list; only the call is left of it. */
static void
forget(gateway_pressure *pressure, const watcher *gone)
{
    watcher **at = &pressure->watchers;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    pressure->count--;
}

static void
end(gateway_pressure *pressure, watcher *over, const weir_error *error)
{
    weir_rpc_call *call = over->call;

    pthread_mutex_lock(&pressure->lock);
    forget(pressure, over);
    pthread_mutex_unlock(&pressure->lock);
    if (error->code == WEIR_OK)
        weir_rpc_finish(call);
    else
        weir_rpc_fail(call, error);
}

static weir_code
answer(gateway_pressure *pressure, watcher *to, weir_error *reterr)
{
    Weir__V1__WatchPressureResponse response = WEIR__V1__WATCH_PRESSURE_RESPONSE__INIT;

    weir_arena_reset(pressure->arena);
    response.time = weir_wire_time(pressure->arena, weir_clock_wall_ms());
    const weir_code code = gateway_read_pressure(pressure->self, gateway_tenant(to->call),
        to->collection_id, pressure->arena, &response.pressure, reterr);
    if (code != WEIR_OK)
        return code;
    /* Said before the send: room may be told of before it returns. */
    pthread_mutex_lock(&pressure->lock);
    to->is_full = true;
    pthread_mutex_unlock(&pressure->lock);
    if (weir_rpc_send(to->call, &response.base) == WEIR_RPC_FULL)
        return WEIR_OK;
    pthread_mutex_lock(&pressure->lock);
    to->is_full = false;
    pthread_mutex_unlock(&pressure->lock);
    return WEIR_OK;
}

/* The watcher may be gone afterwards. */
static void
serve(gateway_pressure *pressure, watcher *one, int64_t now_ms)
{
    weir_error error = { .code = WEIR_OK };

    pthread_mutex_lock(&pressure->lock);
    const bool is_over = one->is_cancelled || one->is_draining;
    const bool is_draining = one->is_draining;
    const bool is_due = due_of(one) <= now_ms;
    pthread_mutex_unlock(&pressure->lock);
    if (is_draining)
        (void)weir_error_set(&error, WEIR_DRAINING, "the service is about to stop; watch again");
    if (!is_due)
        return;
    if (is_over || answer(pressure, one, &error) != WEIR_OK)
        end(pressure, one, &error);
    else /* what was missed is not made up for */
        one->due_ms = one->due_ms + one->interval_ms > now_ms ? one->due_ms + one->interval_ms
                                                              : now_ms + one->interval_ms;
}

/* ---- the thread ---- */

static void
serve_all(gateway_pressure *pressure)
{
    pthread_mutex_lock(&pressure->lock);
    watcher *one = pressure->watchers;
    pthread_mutex_unlock(&pressure->lock);
    while (one != NULL) {
        /* New ones come in at the front; only this thread takes any out. */
        watcher *next = one->next;

        serve(pressure, one, weir_clock_mono_ms());
        one = next;
    }
}

/* Under the lock. */
static int64_t
earliest(const gateway_pressure *pressure)
{
    int64_t due_ms = INT64_MAX;

    for (const watcher *one = pressure->watchers; one != NULL; one = one->next)
        due_ms = due_of(one) < due_ms ? due_of(one) : due_ms;
    return due_ms;
}

static void *
pressure_main(void *arg)
{
    gateway_pressure *pressure = arg;

    pthread_mutex_lock(&pressure->lock);
    while (!pressure->stopping) {
        const int64_t due_ms = earliest(pressure);
        const struct timespec until = { .tv_sec = due_ms / 1000,
            .tv_nsec = (due_ms % 1000) * 1000000 };

        if (due_ms == INT64_MAX) {
            pthread_cond_wait(&pressure->wake, &pressure->lock);
        } else if (due_ms > weir_clock_mono_ms()) {
            (void)pthread_cond_timedwait(&pressure->wake, &pressure->lock, &until);
        } else {
            pthread_mutex_unlock(&pressure->lock);
            serve_all(pressure);
            pthread_mutex_lock(&pressure->lock);
        }
    }
    pthread_mutex_unlock(&pressure->lock);
    return NULL;
}

/* ---- life ---- */

gateway_pressure *
gateway_pressure_create(gateway *self)
{
    gateway_pressure *pressure = weir_alloc_zero(1, sizeof *pressure);
    pthread_condattr_t monotonic;

    pressure->self = self;
    pressure->arena = weir_arena_create(0);
    pthread_mutex_init(&pressure->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pressure->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&pressure->thread, NULL, pressure_main, pressure) != 0)
        weir_assert(!"the thread of the pressure can be started");
    return pressure;
}

void
gateway_pressure_destroy(gateway_pressure **pressure_p)
{
    gateway_pressure *pressure = *pressure_p;

    if (pressure == NULL)
        return;
    weir_assert(pressure->watchers == NULL);
    pthread_mutex_lock(&pressure->lock);
    pressure->stopping = true;
    pthread_cond_signal(&pressure->wake);
    pthread_mutex_unlock(&pressure->lock);
    pthread_join(pressure->thread, NULL);
    pthread_mutex_destroy(&pressure->lock);
    pthread_cond_destroy(&pressure->wake);
    weir_arena_destroy(&pressure->arena);
    weir_free(pressure);
    *pressure_p = NULL;
}

weir_code
gateway_pressure_begin(gateway_pressure *pressure, weir_rpc_call *call, const char *collection_id,
    int64_t interval_ms, weir_error *reterr)
{
    const uint32_t max = pressure->self->config->gateway.watchers_max;
    watcher *made = weir_alloc_zero(1, sizeof *made);

    made->call = call;
    made->collection_id = collection_id;
    made->interval_ms = interval_ms;
    made->due_ms = weir_clock_mono_ms();
    pthread_mutex_lock(&pressure->lock);
    const bool is_full = pressure->count >= max;
    if (!is_full) {
        weir_rpc_call_set_state(call, made);
        made->next = pressure->watchers;
        pressure->watchers = made;
        pressure->count++;
        pthread_cond_signal(&pressure->wake);
    }
    pthread_mutex_unlock(&pressure->lock);
    if (!is_full)
        return WEIR_OK;
    weir_free(made);
    return weir_error_set(reterr, WEIR_QUEUE_FULL,
        "%u calls watch the pressure already (gateway.watchers_max); try again later", max);
}

void
gateway_pressure_tell(gateway_pressure *pressure, weir_rpc_call *call, gateway_watch_event event)
{
    watcher *one = weir_rpc_call_state(call);

    if (one == NULL)
        return;
    pthread_mutex_lock(&pressure->lock);
    if (event == GATEWAY_WATCH_WRITABLE)
        one->is_full = false;
    else if (event == GATEWAY_WATCH_CANCELLED)
        one->is_cancelled = true;
    else
        one->is_draining = true;
    pthread_cond_signal(&pressure->wake);
    pthread_mutex_unlock(&pressure->lock);
}

void
gateway_pressure_done(weir_rpc_call *call)
{
    weir_free(weir_rpc_call_state(call));
    weir_rpc_call_set_state(call, NULL);
}
