/*
 * runtime.c - the core, its completion queues and one poller thread for each.
 *
 * A batch on a queue that was shut down aborts inside the core, so the queues are the last to go:
 * the runtime is destroyed after every server and channel.
 */
#include <dlfcn.h>

#include "common/rpc/internal.h"

#ifdef WEIR_HAVE_GPR_LOG
#include <grpc/support/log.h>
#endif

struct weir_rpc_runtime {
    unsigned count;
    atomic_uint turn;
    grpc_completion_queue *queues[WR_POLLERS_MAX];
    pthread_t threads[WR_POLLERS_MAX];
};

static _Thread_local bool on_poller;

bool
wr_on_poller(void)
{
    return on_poller;
}

static void *
poll_queue(void *argument)
{
    grpc_completion_queue *queue = argument;

    (void)pthread_setname_np(pthread_self(), "rpc-poller");
    on_poller = true;
    for (;;) {
        const grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);

        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        weir_assert(event.type == GRPC_OP_COMPLETE);
        WR_TAG_ACQUIRE(event.tag);
        ((wr_event *)event.tag)->fire(event.tag, event.success != 0);
    }
}

#ifdef WEIR_HAVE_GPR_LOG
/* The core's own lines are for whoever debugs the core: its errors reach the caller as a status
 * anyway. */
static void
log_core(gpr_log_func_args *line)
{
    const weir_log_level level =
        line->severity == GPR_LOG_SEVERITY_ERROR ? WEIR_LOG_WARN : WEIR_LOG_DEBUG;

    weir_log(level, "rpc.core", WEIR_STR("message", line->message), WEIR_STR("file", line->file),
        WEIR_INT("line", line->line));
}
#endif

/*
 * Debian builds the core with the assertions of its mutexes on: each lock then searches a graph of
 * all locks for a cycle, a tenth of what a call costs.  The switch is an exported C++ function,
 * whose name carries the version of the library; one with another name goes on searching.
 */
static void
end_deadlock_search(void)
{
    static const char name[] = "_ZN4absl7debian729SetMutexDeadlockDetectionModeENS0_"
                               "15OnDeadlockCycleE";
    enum { IGNORE = 0 };
    void (*set_mode)(int mode) = NULL;

    *(void **)&set_mode = dlsym(RTLD_DEFAULT, name);
    if (set_mode != NULL)
        set_mode(IGNORE);
}

weir_rpc_runtime *
weir_rpc_runtime_create(unsigned pollers)
{
    weir_rpc_runtime *runtime = weir_alloc_zero(1, sizeof *runtime);

    weir_assert(pollers <= WR_POLLERS_MAX);
    wr_thread_prepare();
    wr_accept_prepare();
#ifdef WEIR_HAVE_GPR_LOG
    gpr_set_log_function(log_core);
#endif
    end_deadlock_search();
    grpc_init();
    runtime->count = pollers == 0 ? 2 : pollers;
    for (unsigned i = 0; i < runtime->count; i++) {
        runtime->queues[i] = grpc_completion_queue_create_for_next(NULL);
        weir_assert(pthread_create(&runtime->threads[i], NULL, poll_queue, runtime->queues[i]) ==
            0);
    }
    return runtime;
}

void
weir_rpc_runtime_destroy(weir_rpc_runtime **runtime_p)
{
    weir_rpc_runtime *runtime = *runtime_p;

    if (runtime == NULL)
        return;
    weir_assert(!wr_on_poller());
    for (unsigned i = 0; i < runtime->count; i++)
        grpc_completion_queue_shutdown(runtime->queues[i]);
    for (unsigned i = 0; i < runtime->count; i++) {
        pthread_join(runtime->threads[i], NULL);
        grpc_completion_queue_destroy(runtime->queues[i]);
    }
    grpc_shutdown();
    weir_free(runtime);
    *runtime_p = NULL;
}

grpc_completion_queue *
wr_runtime_queue(weir_rpc_runtime *runtime)
{
    return runtime->queues[atomic_fetch_add(&runtime->turn, 1) % runtime->count];
}

unsigned
wr_runtime_queue_count(const weir_rpc_runtime *runtime)
{
    return runtime->count;
}

grpc_completion_queue *
wr_runtime_queue_at(weir_rpc_runtime *runtime, unsigned index)
{
    weir_assert(index < runtime->count);
    return runtime->queues[index];
}

void
wr_start_batch(grpc_call *call, const grpc_op *ops, size_t count, wr_event *event)
{
    WR_TAG_RELEASE(event);
    weir_assert(grpc_call_start_batch(call, ops, count, event, NULL) == GRPC_CALL_OK);
}
