/*
 * Goal: whichever store call, send or allocation of a core, its stage or its links fails, the
 * service starts again on the same store and every promise holds.  Method: one small history of the
 * simulator; in each run the Nth such call of one service fails, for N = 1, 2, ... until a run is
 * not touched any more.
 *
 * A store call that fails ends the process with an error; a send is refused; an allocation that
 * fails aborts the process wherever it stands, so here its stage and core are left as they are, and
 * a new process begins on the store.  The linker puts the functions below in the place of those
 * with their names (--wrap).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/base/log.h"
#include "tests/sim/sim.h"

/* Runs of one service and mode; "every" has no such bound. */
#ifdef __SANITIZE_ADDRESS__
enum { SEED = 7, RUNS_MAX = 40 };
#else
enum { SEED = 7, RUNS_MAX = 200 };
#endif

typedef enum mode { STORE = 1, SEND, ALLOCATION, MODE_COUNT } mode;

static const char *const mode_names[MODE_COUNT] = { "", "store calls", "sends", "allocations" };

static struct {
    mode mode;
    weir_service_id service;
    uint64_t nth;   /* 0: none fails */
    uint64_t count; /* of calls so far */
    bool inside;    /* a call of the stage of that service is running */
    bool abandoned; /* an allocation failed: its stage and core are not touched any more */
    sim_world *world;
    jmp_buf process; /* where the process began this call */
    weir_link_send *send;
    void *send_ud;
} plan;

static uint64_t runs_max = RUNS_MAX;

/* Leaks are what a process leaves that ends in the middle. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
    return 1;
}

static bool
fails(mode of)
{
    return plan.inside && !plan.world->quiet && plan.mode == of && ++plan.count == plan.nth;
}

/* ---- allocations ---- */

void *__real_weir_alloc(size_t size);
void *__wrap_weir_alloc(size_t size);
void *__real_weir_alloc_zero(size_t count, size_t size);
void *__wrap_weir_alloc_zero(size_t count, size_t size);
void *__real_weir_realloc(void *old, size_t size);
void *__wrap_weir_realloc(void *old, size_t size);

/* weir_alloc would abort. */
static void
abort_process(void)
{
    plan.inside = false;
    longjmp(plan.process, 1);
}

void *
__wrap_weir_alloc(size_t size)
{
    if (fails(ALLOCATION))
        abort_process();
    return __real_weir_alloc(size);
}

void *
__wrap_weir_alloc_zero(size_t count, size_t size)
{
    if (fails(ALLOCATION))
        abort_process();
    return __real_weir_alloc_zero(count, size);
}

void *
__wrap_weir_realloc(void *old, size_t size)
{
    if (fails(ALLOCATION))
        abort_process();
    return __real_weir_realloc(old, size);
}

/* ---- store calls ---- */

static weir_code
io_error(weir_error *reterr)
{
    return weir_error_set(reterr, WEIR_STORE_IO, "call %llu was to fail",
        (unsigned long long)plan.nth);
}

#define WRAP_STORE(name_, parameters_, arguments_) \
    weir_code __real_##name_ parameters_;          \
    weir_code __wrap_##name_ parameters_;          \
    weir_code __wrap_##name_ parameters_           \
    {                                              \
        if (fails(STORE))                          \
            return io_error(reterr);               \
        return __real_##name_ arguments_;          \
    }

WRAP_STORE(weir_store_get,
    (weir_store * store, const weir_snapshot *snapshot, weir_bytes key, weir_buffer *out,
        bool *ret_found, weir_error *reterr),
    (store, snapshot, key, out, ret_found, reterr))
WRAP_STORE(weir_batch_get,
    (weir_batch * batch, weir_bytes key, weir_buffer *out, bool *ret_found, weir_error *reterr),
    (batch, key, out, ret_found, reterr))
WRAP_STORE(weir_store_commit,
    (weir_store * store, weir_batch *batch, bool sync, weir_error *reterr),
    (store, batch, sync, reterr))
WRAP_STORE(weir_store_delete_range,
    (weir_store * store, weir_bytes lower, weir_bytes upper, weir_error *reterr),
    (store, lower, upper, reterr))
WRAP_STORE(weir_iter_status, (const weir_iter *iter, weir_error *reterr), (iter, reterr))

/* ---- sends ---- */

weir_code __real_weir_link_tx_pump(weir_link_tx *tx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms, weir_error *reterr);
weir_code __wrap_weir_link_tx_pump(weir_link_tx *tx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms, weir_error *reterr);
void __real_weir_link_rx_pump(weir_link_rx *rx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms);
void __wrap_weir_link_rx_pump(weir_link_rx *rx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms);

static bool
send_or_fail(void *ud, uint32_t link, weir_bytes frame)
{
    (void)ud;
    return !fails(SEND) && plan.send(plan.send_ud, link, frame);
}

weir_code
__wrap_weir_link_tx_pump(weir_link_tx *tx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms, weir_error *reterr)
{
    plan.send = send;
    plan.send_ud = ud;
    return __real_weir_link_tx_pump(tx, now_ms, send_or_fail, NULL, ret_wake_ms, reterr);
}

void
__wrap_weir_link_rx_pump(weir_link_rx *rx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms)
{
    plan.send = send;
    plan.send_ud = ud;
    __real_weir_link_rx_pump(rx, now_ms, send_or_fail, NULL, ret_wake_ms);
}

/* ---- one process ---- */

static bool
is_of_plan(const weir_stage *stage)
{
    return plan.world->nodes[plan.service].stage == stage;
}

/* The process is gone where it stood; what it wrote is there. */
static weir_code
abandon(weir_error *reterr)
{
    sim_node *node = &plan.world->nodes[plan.service];

    node->store = weir_store_mem_clone(node->store);
    node->stage = NULL;
    node->core = NULL;
    node->jobs = NULL;
    plan.abandoned = true;
    return io_error(reterr);
}

#define WRAP_STAGE(name_, parameters_, is_planned_, ...)    \
    weir_code __real_##name_ parameters_;                   \
    weir_code __wrap_##name_ parameters_;                   \
    weir_code __wrap_##name_ parameters_                    \
    {                                                       \
        if (!(is_planned_))                                 \
            return __real_##name_(__VA_ARGS__);             \
        if (setjmp(plan.process) != 0)                      \
            return abandon(reterr);                         \
        plan.inside = true;                                 \
        const weir_code code = __real_##name_(__VA_ARGS__); \
        plan.inside = false;                                \
        return code;                                        \
    }

WRAP_STAGE(weir_stage_create,
    (const weir_stage_options *options, int64_t now_ms, uint64_t random, weir_stage **ret_stage,
        weir_error *reterr),
    options->service == plan.service, options, now_ms, random, ret_stage, reterr)
WRAP_STAGE(weir_stage_on_frame,
    (weir_stage * stage, uint32_t link, weir_bytes frame, weir_error *reterr), is_of_plan(stage),
    stage, link, frame, reterr)
WRAP_STAGE(weir_stage_on_request,
    (weir_stage * stage, const weir_request *request, weir_error *reterr), is_of_plan(stage), stage,
    request, reterr)
WRAP_STAGE(weir_stage_on_job, (weir_stage * stage, weir_job *job, weir_error *reterr),
    is_of_plan(stage), stage, job, reterr)
WRAP_STAGE(weir_stage_on_time, (weir_stage * stage, weir_error *reterr), is_of_plan(stage), stage,
    reterr)
WRAP_STAGE(weir_stage_commit, (weir_stage * stage, weir_error *reterr), is_of_plan(stage), stage,
    reterr)
WRAP_STAGE(weir_stage_release, (weir_stage * stage, int64_t *ret_wake_ms, weir_error *reterr),
    is_of_plan(stage), stage, ret_wake_ms, reterr)

/* ---- the simulator's own ---- */

void __real_sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response);
void __wrap_sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response);
void __real_sim_core_destroy(sim_node *node);
void __wrap_sim_core_destroy(sim_node *node);

/* The client is no part of the process. */
void
__wrap_sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response)
{
    const bool inside = plan.inside;

    plan.inside = false;
    __real_sim_answer(world, reply_to, error, response);
    plan.inside = inside;
}

void
__wrap_sim_core_destroy(sim_node *node)
{
    if (plan.abandoned && node->core == NULL)
        return;
    __real_sim_core_destroy(node);
}

/* ---- the runs ---- */

/* Ingests, replacements, deletes, retries, bodies that fail, and no fault but the one. */
static sim_options
history(void)
{
    sim_options options = sim_options_of(SEED);

    return (sim_options){ .seed = SEED,
        .steps = 800,
        .store_error = 1, /* a process may end with an error of its store */
        .down_ms = 20,
        .delay_ms = 2,
        .collections = 1,
        .documents = 3,
        .ops = 24,
        .pace = 30,
        .deletes = 15,
        .retries = 15,
        .learns = 5,
        .waits = 5,
        .bad = 25,
        .large = 15,
        .huge = 10,
        .losses_max = 0,
        .embed_error = 10,
        .cut_ms = options.cut_ms,
        .pause_ms = options.pause_ms,
        .credit = 64,
        .in_flight = 4,
        .events = 4,
        .job_ms = 5 };
}

/* One run in which call nth fails (0: none); how many there were. */
static uint64_t
run(mode of, weir_service_id service, uint64_t nth)
{
    const sim_options options = history();

    plan.mode = of;
    plan.service = service;
    plan.nth = nth;
    plan.count = 0;
    plan.inside = plan.abandoned = false;
    plan.world = sim_create(&options);
    if (!sim_run(plan.world))
        fail_msg("%s %llu of the %s: %s: %s", mode_names[of], (unsigned long long)nth,
            weir_service_name(service), plan.world->invariant, plan.world->failure);
    sim_destroy(&plan.world);
    return plan.count;
}

static void
fail_each(mode of, uint64_t calls_min)
{
    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT; id++) {
        const weir_service_id service = (weir_service_id)id;
        const uint64_t calls = run(of, service, 0);
        const uint64_t stride = 1 + calls / runs_max;
        uint64_t nth = 1;
        uint64_t runs = 0;

        assert_true(calls >= calls_min);
        for (; run(of, service, nth) >= nth; nth += stride)
            runs++;
        assert_true(runs * stride + stride >= calls / 2);
        printf("%s of the %s: %llu, failed %llu of them\n", mode_names[of],
            weir_service_name(service), (unsigned long long)calls, (unsigned long long)runs);
    }
}

static void
any_store_call_may_fail(void **state)
{
    fail_each(STORE, 10);
}

static void
any_send_may_be_refused(void **state)
{
    fail_each(SEND, 20);
}

static void
an_abort_at_any_allocation_is_a_crash_like_others(void **state)
{
    fail_each(ALLOCATION, 100);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_store_call_may_fail),
        cmocka_unit_test(any_send_may_be_refused),
        cmocka_unit_test(an_abort_at_any_allocation_is_a_crash_like_others),
    };

    weir_log_init("nth", true, WEIR_LOG_ERROR + 1);
    if (argc > 1 && strcmp(argv[1], "every") == 0)
        runs_max = UINT64_MAX;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
