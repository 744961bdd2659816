/*
 * watchers.c - see watchers.h.
 */
#include "services/gateway/watchers.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "common/base/clock.h"

struct gateway_watchers {
    gateway *self;
    const gateway_watchers_kind *kind;
    pthread_t thread;
    weir_arena *arena; /* of one turn; the thread's */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    gateway_watcher *first;
    size_t count;
    bool has_news; /* since the thread last looked */
    bool stopping;
};

/* ---- one watcher ---- */

/* Under the lock. */
static int64_t
due_of(const gateway_watcher *one)
{
    if (one->is_cancelled || one->is_draining)
        return 0;
    return one->is_full ? INT64_MAX : one->due_ms;
}

/* Under the lock: out of the list; only the call is left of it. */
static void
forget(gateway_watchers *watchers, const gateway_watcher *gone)
{
    gateway_watcher **at = &watchers->first;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    watchers->count--;
}

/* The watcher is gone afterwards. */
static void
end(gateway_watchers *watchers, gateway_watcher *over, const weir_error *error)
{
    weir_rpc_call *call = over->call;

    pthread_mutex_lock(&watchers->lock);
    forget(watchers, over);
    pthread_mutex_unlock(&watchers->lock);
    if (error->code == WEIR_OK)
        weir_rpc_finish(call);
    else
        weir_rpc_fail(call, error);
}

static void
set_full(gateway_watcher *one, bool is_full)
{
    pthread_mutex_lock(&one->of->lock);
    one->is_full = is_full;
    pthread_mutex_unlock(&one->of->lock);
}

weir_rpc_sent
gateway_watcher_send(gateway_watcher *to, const ProtobufCMessage *message)
{
    set_full(to, true); /* said before the send: room may be told of before it returns */
    const weir_rpc_sent sent = weir_rpc_send(to->call, message);
    if (sent != WEIR_RPC_FULL)
        set_full(to, false);
    return sent;
}

static void
take_turn(gateway_watchers *watchers, gateway_watcher *one)
{
    weir_error error = { .code = WEIR_OK };
    int64_t due_ms = INT64_MAX;

    weir_arena_reset(watchers->arena);
    if (watchers->kind->turn(watchers->self, one, watchers->arena, &due_ms, &error) != WEIR_OK) {
        end(watchers, one, &error);
        return;
    }
    pthread_mutex_lock(&watchers->lock);
    one->due_ms = due_ms;
    pthread_mutex_unlock(&watchers->lock);
}

/* The watcher may be gone afterwards. */
static void
serve(gateway_watchers *watchers, gateway_watcher *one, bool has_news)
{
    weir_error error = { .code = WEIR_OK };

    pthread_mutex_lock(&watchers->lock);
    const bool is_over = one->is_cancelled || one->is_draining;
    const bool is_due = !one->is_full && (has_news || one->due_ms <= weir_clock_mono_ms());
    if (one->is_draining)
        (void)weir_error_set(&error, WEIR_DRAINING, "the service is about to stop; %s",
            watchers->kind->again);
    if (has_news) /* one without room has its turn for them later */
        one->due_ms = 0;
    pthread_mutex_unlock(&watchers->lock);
    if (is_over)
        end(watchers, one, &error);
    else if (is_due)
        take_turn(watchers, one);
}

/* ---- the thread ---- */

static void
serve_all(gateway_watchers *watchers, bool has_news)
{
    pthread_mutex_lock(&watchers->lock);
    gateway_watcher *one = watchers->first;
    pthread_mutex_unlock(&watchers->lock);
    while (one != NULL) {
        /* New ones come in at the front; only this thread takes any out. */
        gateway_watcher *next = one->next;

        serve(watchers, one, has_news);
        one = next;
    }
}

/* Under the lock. */
static int64_t
earliest(const gateway_watchers *watchers)
{
    int64_t due_ms = INT64_MAX;

    if (watchers->has_news)
        return 0;
    for (const gateway_watcher *one = watchers->first; one != NULL; one = one->next)
        due_ms = due_of(one) < due_ms ? due_of(one) : due_ms;
    return due_ms;
}

static void *
watchers_main(void *arg)
{
    gateway_watchers *watchers = arg;

    pthread_mutex_lock(&watchers->lock);
    while (!watchers->stopping) {
        const int64_t due_ms = earliest(watchers);
        const struct timespec until = { .tv_sec = due_ms / 1000,
            .tv_nsec = (due_ms % 1000) * 1000000 };

        if (due_ms == INT64_MAX) {
            pthread_cond_wait(&watchers->wake, &watchers->lock);
        } else if (due_ms > weir_clock_mono_ms()) {
            (void)pthread_cond_timedwait(&watchers->wake, &watchers->lock, &until);
        } else {
            const bool has_news = watchers->has_news;

            watchers->has_news = false;
            pthread_mutex_unlock(&watchers->lock);
            serve_all(watchers, has_news);
            pthread_mutex_lock(&watchers->lock);
        }
    }
    pthread_mutex_unlock(&watchers->lock);
    return NULL;
}

/* ---- life ---- */

gateway_watchers *
gateway_watchers_create(gateway *self, const gateway_watchers_kind *kind)
{
    gateway_watchers *watchers = weir_alloc_zero(1, sizeof *watchers);
    pthread_condattr_t monotonic;

    watchers->self = self;
    watchers->kind = kind;
    watchers->arena = weir_arena_create(0);
    pthread_mutex_init(&watchers->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watchers->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&watchers->thread, NULL, watchers_main, watchers) != 0)
        weir_assert(!"the thread of the watchers can be started");
    return watchers;
}

void
gateway_watchers_destroy(gateway_watchers **watchers_p)
{
    gateway_watchers *watchers = *watchers_p;

    if (watchers == NULL)
        return;
    weir_assert(watchers->first == NULL);
    pthread_mutex_lock(&watchers->lock);
    watchers->stopping = true;
    pthread_cond_signal(&watchers->wake);
    pthread_mutex_unlock(&watchers->lock);
    pthread_join(watchers->thread, NULL);
    pthread_mutex_destroy(&watchers->lock);
    pthread_cond_destroy(&watchers->wake);
    weir_arena_destroy(&watchers->arena);
    weir_free(watchers);
    *watchers_p = NULL;
}

weir_code
gateway_watchers_begin(gateway_watchers *watchers, weir_rpc_call *call, gateway_watcher *made,
    weir_error *reterr)
{
    const uint32_t max = watchers->self->config->gateway.watchers_max;

    made->of = watchers;
    made->call = call;
    pthread_mutex_lock(&watchers->lock);
    const bool is_full = watchers->count >= max;
    if (!is_full) {
        weir_rpc_call_set_state(call, made);
        made->next = watchers->first;
        watchers->first = made;
        watchers->count++;
        pthread_cond_signal(&watchers->wake);
    }
    pthread_mutex_unlock(&watchers->lock);
    if (!is_full)
        return WEIR_OK;
    weir_free(made);
    return weir_error_set(reterr, WEIR_QUEUE_FULL,
        "%u calls %s already (gateway.watchers_max); try again later", max, watchers->kind->verb);
}

/* ---- events ---- */

void
gateway_watchers_news(void *context)
{
    gateway_watchers *watchers = context;

    pthread_mutex_lock(&watchers->lock);
    if (watchers->first != NULL && !watchers->has_news) {
        watchers->has_news = true;
        pthread_cond_signal(&watchers->wake);
    }
    pthread_mutex_unlock(&watchers->lock);
}

typedef void change_watcher(gateway_watcher *one);

static void
tell(weir_rpc_call *call, change_watcher *change)
{
    gateway_watcher *one = weir_rpc_call_state(call);

    if (one == NULL)
        return;
    pthread_mutex_lock(&one->of->lock);
    change(one);
    pthread_cond_signal(&one->of->wake);
    pthread_mutex_unlock(&one->of->lock);
}

static void
set_room(gateway_watcher *one)
{
    one->is_full = false;
}

static void
set_cancelled(gateway_watcher *one)
{
    one->is_cancelled = true;
}

static void
set_draining(gateway_watcher *one)
{
    one->is_draining = true;
}

void
gateway_watcher_writable(weir_rpc_call *call, void *context)
{
    (void)context;
    tell(call, set_room);
}

void
gateway_watcher_cancelled(weir_rpc_call *call, void *context)
{
    (void)context;
    tell(call, set_cancelled);
}

void
gateway_watcher_draining(weir_rpc_call *call, void *context)
{
    (void)context;
    tell(call, set_draining);
}

void
gateway_watcher_done(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_free(weir_rpc_call_state(call));
    weir_rpc_call_set_state(call, NULL);
}
