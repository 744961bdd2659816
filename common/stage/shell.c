/*
 * shell.c - threads around a stage: inbox, core thread, worker pool, link pump.
 *
 * A crash at any line is the normal path: what was acknowledged is in the store, and start replays
 * the rest.
 */
#include "common/stage/shell.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/wire/wire.h"

enum { LOOK_MS = 1000, IDLE_WAKE_MS = 1000, STALLED_RTOS_MAX = 3, SPARE_EVENTS_MAX = 4096 };

typedef enum event_kind { EVENT_REQUEST = 1, EVENT_FRAME, EVENT_JOB } event_kind;

typedef struct shell_event shell_event;
struct shell_event {
    shell_event *next;
    event_kind kind;
    size_t bytes;
    weir_request request;
    void *call; /* who waits for the answer, with `reply`; NULL: nobody does */
    weir_shell_reply *reply;
    weir_arena *arena; /* a request's own copy of its message, or NULL */
    uint32_t link;
    weir_job *job;
    uint8_t frame[]; /* `bytes` of them, for a frame */
};

typedef struct shell_call shell_call;
struct shell_call { /* one request that somebody waits for; its address is the handle */
    shell_call *previous, *next;
    void *call;
    weir_shell_reply *reply;
};

typedef struct queue {
    shell_event *head, *tail;
    size_t count, bytes;
} queue;

typedef struct worker_arg {
    weir_shell *shell;
    int number;
} worker_arg;

struct weir_shell {
    weir_shell_options options;
    weir_stage *stage;
    weir_link_pump *pump;

    pthread_mutex_t lock; /* everything down to the pool */
    pthread_cond_t wake;
    queue inbox;
    queue spare; /* events of requests to be used again: who makes one never frees it, which malloc
                    answers with locks */
    bool draining, stopping;

    pthread_mutex_t pool_lock;
    pthread_cond_t pool_wake;
    queue urgent_jobs, jobs;
    bool pool_stopping;

    /* the core thread's own, until it has ended */
    shell_call calls; /* ring of those that the core has and has not answered */
    weir_shell_later *later;

    pthread_t core_thread;
    pthread_t *workers;
    worker_arg *worker_args;
    bool core_started;
    int64_t drain_until_ms; /* monotonic; under lock */
    int64_t looked_ms;      /* monotonic */
    bool disk_low;
    bool ended_clean;
};

/* ---- queues ----
 *
 * Whoever fills one signals after the unlock, or the thread that wakes meets a taken lock.  None of
 * them outlives the shell: pump and pool are joined, and callers of weir_shell_submit see to it.
 */

static void
push(queue *to, shell_event *event)
{
    event->next = NULL;
    if (to->tail != NULL)
        to->tail->next = event;
    else
        to->head = event;
    to->tail = event;
    to->count++;
    to->bytes += event->bytes;
}

static shell_event *
pop(queue *from)
{
    shell_event *event = from->head;

    if (event == NULL)
        return NULL;
    from->head = event->next;
    if (from->head == NULL)
        from->tail = NULL;
    from->count--;
    from->bytes -= event->bytes;
    return event;
}

/* Put what was not handled back before everything else. */
static void
push_front(queue *to, queue *rest)
{
    if (rest->head == NULL)
        return;
    rest->tail->next = to->head;
    if (to->tail == NULL)
        to->tail = rest->tail;
    to->head = rest->head;
    to->count += rest->count;
    to->bytes += rest->bytes;
    *rest = (queue){ 0 };
}

static void
event_destroy(shell_event *event)
{
    weir_arena_destroy(&event->arena);
    weir_free(event);
}

static void
empty(queue *from)
{
    for (shell_event *event = pop(from); event != NULL; event = pop(from)) {
        if (event->kind == EVENT_JOB)
            event->job->destroy(event->job);
        event_destroy(event);
    }
}

/* ---- calls ---- */

static shell_call *
call_create(weir_shell *shell, void *call, weir_shell_reply *reply)
{
    shell_call *made = weir_alloc(sizeof *made);

    *made = (shell_call){ .call = call,
        .reply = reply,
        .previous = &shell->calls,
        .next = shell->calls.next };
    shell->calls.next->previous = made;
    shell->calls.next = made;
    return made;
}

static void
call_answer(shell_call *call, const weir_error *error, const ProtobufCMessage *response)
{
    call->previous->next = call->next;
    call->next->previous = call->previous;
    call->reply(call->call, error, response);
    weir_free(call);
}

void
weir_shell_run_later(weir_shell *shell, weir_shell_later *later)
{
    later->next = shell->later;
    shell->later = later;
}

static void
run_later(weir_shell *shell)
{
    while (shell->later != NULL) {
        weir_shell_later *later = shell->later;

        shell->later = later->next;
        later->run(later);
    }
}

static shell_event *
take_one(weir_shell *shell)
{
    pthread_mutex_lock(&shell->lock);
    shell_event *event = pop(&shell->inbox);
    pthread_mutex_unlock(&shell->lock);
    return event;
}

static void
fail_all_calls(weir_shell *shell)
{
    queue kept = { 0 };
    weir_error error;

    weir_error_set(&error, WEIR_DRAINING,
        "the service is stopping; try again, the outcome is not known");
    while (shell->calls.next != &shell->calls)
        call_answer(shell->calls.next, &error, NULL);
    for (shell_event *event = take_one(shell); event != NULL; event = take_one(shell)) {
        if (event->kind == EVENT_REQUEST && event->reply != NULL)
            event->reply(event->call, &error, NULL);
        push(&kept, event);
    }
    run_later(shell);
    empty(&kept);
}

/* ---- what leaves the stage ---- */

static void
env_reply(void *ud, uint64_t reply_to, const weir_error *error, const ProtobufCMessage *response)
{
    (void)ud;
    call_answer((shell_call *)(uintptr_t)reply_to, error, response);
}

static bool
env_send(void *ud, uint32_t link, weir_bytes frame)
{
    weir_shell *shell = ud;

    return shell->pump != NULL && weir_link_pump_send(shell->pump, link, frame);
}

static void
env_job(void *ud, weir_job *job)
{
    weir_shell *shell = ud;
    shell_event *event = weir_alloc_zero(1, sizeof *event);

    event->kind = EVENT_JOB;
    event->job = job;
    pthread_mutex_lock(&shell->pool_lock);
    push(job->urgent ? &shell->urgent_jobs : &shell->jobs, event);
    pthread_mutex_unlock(&shell->pool_lock);
    pthread_cond_signal(&shell->pool_wake);
}

/* ---- the pool ---- */

static shell_event *
take_job(weir_shell *shell)
{
    shell_event *event = NULL;

    pthread_mutex_lock(&shell->pool_lock);
    for (;;) {
        if (shell->pool_stopping) /* the core has ended: nobody takes a result any more */
            break;
        event = pop(&shell->urgent_jobs);
        if (event == NULL)
            event = pop(&shell->jobs);
        if (event != NULL)
            break;
        pthread_cond_wait(&shell->pool_wake, &shell->pool_lock);
    }
    pthread_mutex_unlock(&shell->pool_lock);
    return event;
}

static void *
worker_main(void *arg)
{
    const worker_arg *self = arg;
    weir_shell *shell = self->shell;

    (void)pthread_setname_np(pthread_self(), "worker");
    if (shell->options.thread_start != NULL)
        shell->options.thread_start(shell->options.ud, self->number);
    for (shell_event *event = take_job(shell); event != NULL; event = take_job(shell)) {
        event->job->run(event->job);
        pthread_mutex_lock(&shell->lock);
        push(&shell->inbox,
            event); /* results are never refused: jobs are bounded by who starts them */
        pthread_mutex_unlock(&shell->lock);
        pthread_cond_signal(&shell->wake);
    }
    return NULL;
}

static void
stop_pool(weir_shell *shell)
{
    pthread_mutex_lock(&shell->pool_lock);
    shell->pool_stopping = true;
    pthread_cond_broadcast(&shell->pool_wake);
    pthread_mutex_unlock(&shell->pool_lock);
    for (uint32_t i = 0; i < shell->options.workers; i++)
        pthread_join(shell->workers[i], NULL);
}

/* ---- the inbox ---- */

static bool
inbox_is_full(const weir_shell *shell)
{
    return shell->inbox.count >= shell->options.inbox_events_max ||
        shell->inbox.bytes >= shell->options.inbox_bytes_max;
}

static bool
frame_arrived(void *ud, uint32_t link, weir_bytes frame)
{
    weir_shell *shell = ud;
    bool taken = false;

    pthread_mutex_lock(&shell->lock);
    if (!inbox_is_full(shell)) {
        shell_event *event = weir_alloc(sizeof *event + frame.size);
        *event = (shell_event){ .kind = EVENT_FRAME, .bytes = frame.size, .link = link };
        memcpy(event->frame, frame.data, frame.size);
        push(&shell->inbox, event);
        taken = true;
    }
    pthread_mutex_unlock(&shell->lock);
    if (taken)
        pthread_cond_signal(&shell->wake);
    return taken;
}

/* The message in an arena of its own. */
static weir_code
copy_message(const ProtobufCMessage *message, weir_arena **ret_arena, ProtobufCMessage **ret_copy,
    weir_error *reterr)
{
    weir_buffer packed = { 0 };
    weir_arena *arena = weir_arena_create(0);

    weir_wire_encode(message, &packed);
    const weir_code code = weir_wire_decode(message->descriptor, weir_buffer_view(&packed), NULL,
        arena, ret_copy, reterr);
    weir_buffer_fini(&packed);
    if (code == WEIR_OK)
        *ret_arena = arena;
    else
        weir_arena_destroy(&arena);
    return code;
}

/* Under the lock. */
static void
push_request(weir_shell *shell, const shell_event *filled)
{
    shell_event *event = pop(&shell->spare);

    if (event == NULL)
        event = weir_alloc(sizeof *event);
    *event = *filled;
    push(&shell->inbox, event);
}

static weir_code
refuse(const weir_shell *shell, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (shell->draining)
        code =
            weir_error_set(reterr, WEIR_DRAINING, "the service is stopping; try again in a moment");
    else if (inbox_is_full(shell))
        code = weir_error_set(reterr, WEIR_QUEUE_FULL,
            "%zu requests wait for this service already; slow down and try again",
            shell->inbox.count);
    if (code != WEIR_OK && reterr != NULL)
        reterr->retry_after_ms = 500;
    return code;
}

static weir_code
submit(weir_shell *shell, const shell_event *event, weir_error *reterr)
{
    pthread_mutex_lock(&shell->lock);
    const weir_code code = refuse(shell, reterr);
    if (code == WEIR_OK)
        push_request(shell, event);
    pthread_mutex_unlock(&shell->lock);
    if (code == WEIR_OK)
        pthread_cond_signal(&shell->wake);
    return code;
}

weir_code
weir_shell_submit_sized(weir_shell *shell, uint32_t kind, const char *tenant,
    const char *request_id, const ProtobufCMessage *message, size_t bytes, weir_shell_reply *reply,
    void *call, weir_error *reterr)
{
    const shell_event event = { .kind = EVENT_REQUEST,
        .bytes = bytes,
        .request = { .kind = kind, .tenant = tenant, .message = message, .request_id = request_id },
        .call = call,
        .reply = reply };

    weir_assert(reply != NULL);
    return submit(shell, &event, reterr);
}

weir_code
weir_shell_submit(weir_shell *shell, uint32_t kind, const char *tenant, const char *request_id,
    const ProtobufCMessage *message, weir_shell_reply *reply, void *call, weir_error *reterr)
{
    shell_event event = { .kind = EVENT_REQUEST,
        .bytes = protobuf_c_message_get_packed_size(message),
        .request = { .kind = kind, .tenant = tenant, .message = message, .request_id = request_id },
        .call = call,
        .reply = reply };
    ProtobufCMessage *copy = NULL;
    weir_code code = reply == NULL ? copy_message(message, &event.arena, &copy, reterr) : WEIR_OK;

    if (copy != NULL)
        event.request.message = copy;
    if (code == WEIR_OK)
        code = submit(shell, &event, reterr);
    if (code != WEIR_OK)
        weir_arena_destroy(&event.arena);
    return code;
}

/* ---- the core thread ---- */

static struct timespec
after_ms(int64_t wait_ms)
{
    const int64_t at_ms = weir_clock_mono_ms() + wait_ms;

    return (struct timespec){ .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };
}

/* Wait for events, a wake-up or the end; with a linger, let a few more events gather.  Called with
 * the lock held. */
static void
wait_for_events(weir_shell *shell, int64_t wake_ms)
{
    const int64_t now_ms = weir_clock_wall_ms();
    int64_t wait_ms = wake_ms > now_ms ? wake_ms - now_ms : 0;

    if (wait_ms > IDLE_WAKE_MS)
        wait_ms = IDLE_WAKE_MS;
    const struct timespec until = after_ms(wait_ms);
    while (shell->inbox.count == 0 && !shell->stopping && wait_ms > 0)
        if (pthread_cond_timedwait(&shell->wake, &shell->lock, &until) == ETIMEDOUT)
            break;
    if (shell->options.linger_ms == 0 || shell->draining)
        return;
    const struct timespec linger = after_ms(shell->options.linger_ms);
    while (shell->inbox.count > 0 && shell->inbox.count < WEIR_ROUND_EVENTS_MAX && !shell->draining)
        if (pthread_cond_timedwait(&shell->wake, &shell->lock, &linger) == ETIMEDOUT)
            break;
}

static weir_code
handle(weir_shell *shell, shell_event *event, weir_error *reterr)
{
    switch (event->kind) {
    case EVENT_REQUEST:
        if (event->reply != NULL)
            event->request.reply_to =
                (uint64_t)(uintptr_t)call_create(shell, event->call, event->reply);
        return weir_stage_on_request(shell->stage, &event->request, reterr);
    case EVENT_FRAME:
        return weir_stage_on_frame(shell->stage, event->link,
            weir_bytes_of(event->frame, event->bytes), reterr);
    case EVENT_JOB:
        return weir_stage_on_job(shell->stage, event->job, reterr);
    }
    weir_assert(!"every event kind is handled");
    return WEIR_INTERNAL;
}

static void
check_disk(weir_shell *shell)
{
    weir_store_stats stats;

    if (shell->options.disk_low_bytes == 0)
        return;
    weir_store_stats_read(shell->options.store, &stats);
    const bool low = stats.free_bytes < shell->options.disk_low_bytes;
    if (low != __atomic_load_n(&shell->disk_low, __ATOMIC_RELAXED))
        weir_stage_set_disk_low(shell->stage, low);
    __atomic_store_n(&shell->disk_low, low, __ATOMIC_RELAXED);
}

/* A socket that makes no progress is opened anew: nothing but the outbox matters, so it costs
 * nothing. */
static void
reopen_stalled_links(weir_shell *shell)
{
    weir_stage_status status;

    weir_stage_status_read(shell->stage, &status);
    for (uint32_t i = 0; i < status.link_count; i++) {
        const weir_stage_link_view *view = &status.links[i];
        if (view->sender && view->tx.stalled_rtos > 0 &&
            view->tx.stalled_rtos % STALLED_RTOS_MAX == 0)
            weir_link_pump_reopen(shell->pump, weir_link_number(view->kind, 0, 0));
    }
}

static void
look_around(weir_shell *shell)
{
    const int64_t now_ms = weir_clock_mono_ms();

    if (now_ms - shell->looked_ms < LOOK_MS)
        return;
    shell->looked_ms = now_ms;
    check_disk(shell);
    reopen_stalled_links(shell);
}

/* The round is over: its events are not needed any more. */
static void
put_away(weir_shell *shell, queue *done)
{
    queue spare = { 0 };

    for (shell_event *event = pop(done); event != NULL; event = pop(done)) {
        if (event->kind != EVENT_REQUEST) {
            event_destroy(event);
            continue;
        }
        weir_arena_destroy(&event->arena);
        push(&spare, event);
    }
    pthread_mutex_lock(&shell->lock);
    if (shell->spare.count < SPARE_EVENTS_MAX)
        push_front(&shell->spare, &spare);
    pthread_mutex_unlock(&shell->lock);
    empty(&spare);
}

/* Take what waits, at most one round; events and their memory live until the round is released. */
static weir_code
run_round(weir_shell *shell, int64_t *wake_ms, weir_error *reterr)
{
    queue taken = { 0 };
    queue done = { 0 };
    weir_code code = WEIR_OK;

    pthread_mutex_lock(&shell->lock);
    wait_for_events(shell, *wake_ms);
    taken = shell->inbox;
    shell->inbox = (queue){ 0 };
    if (shell->draining)
        weir_stage_set_draining(shell->stage);
    pthread_mutex_unlock(&shell->lock);

    weir_stage_begin(shell->stage, weir_clock_wall_ms(), weir_random_u64());
    look_around(shell);
    while (code == WEIR_OK && taken.head != NULL && !weir_stage_is_full(shell->stage)) {
        shell_event *event = pop(&taken);
        code = handle(shell, event, reterr);
        push(&done, event);
    }
    pthread_mutex_lock(&shell->lock);
    push_front(&shell->inbox, &taken);
    pthread_mutex_unlock(&shell->lock);
    if (code == WEIR_OK)
        code = weir_stage_on_time(shell->stage, reterr);
    if (code == WEIR_OK)
        code = weir_stage_commit(shell->stage, reterr);
    if (code == WEIR_OK)
        code = weir_stage_release(shell->stage, wake_ms, reterr);
    if (code == WEIR_OK)
        run_later(shell);
    put_away(shell, &done);
    return code;
}

/* True when the drain is over: nothing waits and nothing is half done, or its time has passed. */
static bool
drain_is_over(weir_shell *shell)
{
    pthread_mutex_lock(&shell->lock);
    const bool is_late = weir_clock_mono_ms() >= shell->drain_until_ms;
    const bool is_over = shell->draining &&
        (is_late || (shell->inbox.count == 0 && weir_stage_is_idle(shell->stage)));
    shell->ended_clean = is_over && !is_late;
    pthread_mutex_unlock(&shell->lock);
    return is_over;
}

static void *
core_main(void *arg)
{
    weir_shell *shell = arg;
    weir_error error = { .code = WEIR_OK };
    int64_t wake_ms = 0;
    weir_code code = WEIR_OK;

    (void)pthread_setname_np(pthread_self(), "core");
    if (shell->options.thread_start != NULL)
        shell->options.thread_start(shell->options.ud, -1);
    while (code == WEIR_OK && !drain_is_over(shell))
        code = run_round(shell, &wake_ms, &error);
    if (code == WEIR_OK && shell->ended_clean) {
        weir_stage_begin(shell->stage, weir_clock_wall_ms(), weir_random_u64());
        code = weir_stage_stop_clean(shell->stage, &error);
    }
    if (code != WEIR_OK) {
        const bool moved = weir_stage_abandon(shell->stage, &error);

        if (shell->options.set_aside != NULL)
            *shell->options.set_aside = moved;
        shell->options.fatal(shell->options.ud, &error);
    }
    return NULL;
}

/* ---- start and stop ---- */

static weir_code
start_stage(weir_shell *shell, weir_error *reterr)
{
    weir_stage_options options = {
        .service = shell->options.service,
        .store = shell->options.store,
        .ops = shell->options.ops,
        .core = shell->options.core,
        .set_aside = shell->options.set_aside,
        .env = { .ud = shell, .reply = env_reply, .job = env_job, .send = env_send },
    };

    weir_random_bytes(options.identity_random, sizeof options.identity_random);
    return weir_stage_create(&options, weir_clock_wall_ms(), weir_random_u64(), &shell->stage,
        reterr);
}

static weir_code
start_pump(weir_shell *shell, weir_error *reterr)
{
    enum { PATH_MAX_BYTES = 256 };
    char paths[WEIR_LINK_COUNT][2][PATH_MAX_BYTES];
    weir_link_endpoint endpoints[WEIR_LINK_COUNT];
    size_t count = 0;

    for (int kind = 1; kind < WEIR_LINK_COUNT; kind++) {
        const weir_link_spec *spec = weir_link_spec_of((weir_link_kind)kind);

        if (spec->from != shell->options.service && spec->to != shell->options.service)
            continue;
        snprintf(paths[kind][0], PATH_MAX_BYTES, "ipc://%s/%s.rows", shell->options.run_dir,
            spec->name);
        snprintf(paths[kind][1], PATH_MAX_BYTES, "ipc://%s/%s.acks", shell->options.run_dir,
            spec->name);
        endpoints[count++] = (weir_link_endpoint){ .link = weir_link_number(spec->kind, 0, 0),
            .sender = spec->from == shell->options.service,
            .rows = paths[kind][0],
            .answers = paths[kind][1] };
    }
    return weir_link_pump_start(endpoints, count, frame_arrived, shell, &shell->pump, reterr);
}

static void
start_threads(weir_shell *shell)
{
    shell->workers = weir_alloc_zero(shell->options.workers + 1, sizeof *shell->workers);
    shell->worker_args = weir_alloc_zero(shell->options.workers + 1, sizeof *shell->worker_args);
    for (uint32_t i = 0; i < shell->options.workers; i++) {
        shell->worker_args[i] = (worker_arg){ .shell = shell, .number = (int)i };
        if (pthread_create(&shell->workers[i], NULL, worker_main, &shell->worker_args[i]) != 0)
            weir_assert(!"a worker thread can be started");
    }
    if (pthread_create(&shell->core_thread, NULL, core_main, shell) != 0)
        weir_assert(!"the core thread can be started");
    shell->core_started = true;
}

static void
destroy(weir_shell *shell)
{
    weir_link_pump_stop(&shell->pump);
    weir_stage_destroy(&shell->stage);
    empty(&shell->inbox);
    empty(&shell->spare);
    empty(&shell->urgent_jobs);
    empty(&shell->jobs);
    pthread_mutex_destroy(&shell->lock);
    pthread_mutex_destroy(&shell->pool_lock);
    pthread_cond_destroy(&shell->wake);
    pthread_cond_destroy(&shell->pool_wake);
    weir_free(shell->workers);
    weir_free(shell->worker_args);
    weir_free(shell);
}

static void
init_locks(weir_shell *shell)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&shell->lock, NULL);
    pthread_mutex_init(&shell->pool_lock, NULL);
    pthread_cond_init(&shell->wake, &monotonic);
    pthread_cond_init(&shell->pool_wake, NULL);
    pthread_condattr_destroy(&monotonic);
}

weir_code
weir_shell_start(const weir_shell_options *options, weir_shell **ret_shell, weir_error *reterr)
{
    weir_assert(options->fatal != NULL);
    weir_shell *shell = weir_alloc_zero(1, sizeof *shell);

    shell->options = *options;
    if (shell->options.inbox_events_max == 0)
        shell->options.inbox_events_max = 8192;
    if (shell->options.inbox_bytes_max == 0)
        shell->options.inbox_bytes_max = 64 << 20;
    shell->calls.next = shell->calls.previous = &shell->calls;
    shell->drain_until_ms = INT64_MAX;
    init_locks(shell);

    weir_code code = start_stage(shell, reterr);
    if (code == WEIR_OK)
        code = start_pump(shell, reterr);
    if (code != WEIR_OK) {
        destroy(shell);
        return code;
    }
    start_threads(shell);
    *ret_shell = shell;
    return WEIR_OK;
}

weir_stage *
weir_shell_stage(weir_shell *shell)
{
    return shell->stage;
}

bool
weir_shell_disk_is_low(const weir_shell *shell)
{
    return __atomic_load_n(&shell->disk_low, __ATOMIC_RELAXED);
}

bool
weir_shell_stop(weir_shell **shell_p, uint32_t timeout_ms)
{
    weir_shell *shell = *shell_p;

    if (shell == NULL)
        return true;
    pthread_mutex_lock(&shell->lock);
    shell->draining = true;
    shell->stopping = true;
    shell->drain_until_ms = weir_clock_mono_ms() + timeout_ms;
    pthread_cond_broadcast(&shell->wake);
    pthread_mutex_unlock(&shell->lock);
    pthread_join(shell->core_thread, NULL);
    const bool ended_clean = shell->ended_clean;
    fail_all_calls(shell);
    stop_pool(shell);
    destroy(shell);
    *shell_p = NULL;
    return ended_clean;
}
