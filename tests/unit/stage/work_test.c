/*
 * work_test.c - what becomes of rows that need a job, in every order of results, failures, crashes
 * and time.
 *
 * Goal: each row is settled once and has one fate, whatever happens.  Method: a toy service whose
 * jobs do what their row says ("TIMEOUT:2": fail so for two attempts), a stage without threads, and
 * a store that loses power.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/stage/work.h"
#include "rig.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent event_message;

#define CHUNKED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_CHUNKED
#define DEFERRED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED
#define FAILED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED
#define OUT WEIR_LINK_INGEST_EMBEDDER

/* ---- the toy service ---- */

typedef struct toy {
    weir_work *work;
} toy;

typedef struct toy_job {
    weir_job base;
    weir_work_item *item;
    const row_message *row;
    uint32_t attempt;
    weir_error result;
} toy_job;

/* What the test decides while it runs. */
static struct {
    const char *held;         /* jobs of this document do not end */
    const char *killer;       /* a job of this document ends the process */
    const char *out_of_order; /* check says so for rows of this document */
    weir_work_policy policy;
    bool abandons;           /* in a drain */
    uint32_t retry_after_ms; /* asked for by each failure */
    uint32_t waits, attempts_ok, attempts_failed, crashes;
    toy *toy;
} test;

static bool
names(const char *document, const row_message *row)
{
    return document != NULL && (document[0] == '*' || strcmp(document, row->document_id) == 0);
}

static void
toy_run(weir_job *base)
{
    toy_job *job = (toy_job *)base;
    const char *script = job->row->document->filename;
    char name[64] = { 0 };
    unsigned times = 0;

    job->result.code = WEIR_OK;
    if (sscanf(script, "%63[A-Z_]:%u", name, &times) == 2 && job->attempt < times)
        weir_error_set(&job->result, weir_code_from_name(name), "attempt %u", job->attempt);
    job->result.retry_after_ms = test.retry_after_ms;
}

static void
toy_destroy(weir_job *base)
{
    weir_free(base);
}

static weir_code
toy_begin(void *core, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    toy *self = core;
    toy_job *job = weir_alloc_zero(1, sizeof *job);

    if (strcmp(weir_work_item_row(item)->document->filename, "NOTHING") == 0) {
        const weir_error nothing = { .code = WEIR_OK };

        weir_free(job);
        return weir_work_done(self->work, stage, item, NULL, &nothing, reterr);
    }
    *job = (toy_job){ .base = { .run = toy_run, .destroy = toy_destroy },
        .item = item,
        .row = weir_work_item_row(item),
        .attempt = weir_work_item_attempts(item) };
    weir_stage_start_job(stage, &job->base);
    return WEIR_OK;
}

static weir_code
toy_emit(void *core, weir_stage *stage, weir_work_item *item, void *payload, weir_error *reterr)
{
    const row_message *in = weir_work_item_row(item);
    Weir__Internal__V1__ChunksRow chunks = WEIR__INTERNAL__V1__CHUNKS_ROW__INIT;
    row_message out = WEIR__INTERNAL__V1__ROW__INIT;
    event_message event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    if (payload == NULL)
        return WEIR_OK;
    chunks.chunk_count = 1;
    out.era = in->era;
    out.tenant = in->tenant;
    out.collection_no = in->collection_no;
    out.document_id = in->document_id;
    out.revision = in->revision;
    out.epoch = in->epoch;
    out.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS;
    out.chunks = &chunks;
    event.kind = CHUNKED;
    event.document_id = in->document_id;
    event.revision = in->revision;
    weir_stage_event(stage, &event);
    return weir_stage_send(stage, OUT, &out, NULL, reterr);
}

static void
toy_release(void *core, void *payload)
{
    weir_free(payload);
}

static weir_code
toy_check(void *core, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    if (names(test.out_of_order, row))
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "the model is not there");
    return WEIR_OK;
}

static weir_code
toy_start(void *core, weir_stage *stage, weir_error *reterr)
{
    toy *self = core;

    return weir_work_start(self->work, stage, reterr);
}

static weir_code
toy_row(void *core, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    toy *self = core;

    return weir_work_on_row(self->work, stage, link, seq, row, packed, reterr);
}

static weir_code
toy_job_done(void *core, weir_stage *stage, weir_job *base, weir_error *reterr)
{
    toy *self = core;
    toy_job *job = (toy_job *)base;

    if (test.abandons && weir_stage_is_draining(stage))
        return weir_work_abandon(self->work, stage, job->item, reterr);
    return weir_work_done(self->work, stage, job->item,
        job->result.code == WEIR_OK ? weir_alloc(1) : NULL, &job->result, reterr);
}

static weir_code
toy_era(void *core, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    toy *self = core;

    return weir_work_on_era(self->work, stage, era, reterr);
}

static weir_code
toy_round_end(void *core, weir_stage *stage, weir_error *reterr)
{
    toy *self = core;

    return weir_work_on_round(self->work, stage, reterr);
}

static const weir_core_ops toy_ops = {
    .start = toy_start,
    .row = toy_row,
    .job_done = toy_job_done,
    .era_raised = toy_era,
    .round_end = toy_round_end,
};

static void
observe_wait(void *ud, int64_t wait_ms)
{
    test.waits++;
}

static void
observe_attempt(void *ud, weir_code result)
{
    if (result == WEIR_WORKER_KILLED)
        test.crashes++;
    else if (result == WEIR_OK)
        test.attempts_ok++;
    else
        test.attempts_failed++;
}

static void *
toy_create(void *ud, weir_store *store)
{
    static const weir_work_ops ops = { .payload = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT,
        .start = toy_begin,
        .emit = toy_emit,
        .release = toy_release,
        .check = toy_check };
    static const weir_work_observer observer = { .waited = observe_wait,
        .attempted = observe_attempt };
    toy *self = weir_alloc_zero(1, sizeof *self);

    self->work = weir_work_create(&ops, self, &test.policy, WEIR_LINK_GATEWAY_INGEST, 2);
    weir_work_observe(self->work, &observer);
    test.toy = self;
    return self;
}

static void
toy_core_destroy(void *core)
{
    toy *self = core;

    weir_work_destroy(&self->work);
    weir_free(self);
}

static rig_fate
job_fate(void *ud, const weir_job *base)
{
    const toy_job *job = (const toy_job *)base;

    if (names(test.killer, job->row))
        return RIG_KILL;
    return names(test.held, job->row) ? RIG_HOLD : RIG_RUN;
}

static const rig_options toy_options = {
    .service = WEIR_SERVICE_INGEST,
    .in = WEIR_LINK_GATEWAY_INGEST,
    .ops = &toy_ops,
    .core_create = toy_create,
    .core_destroy = toy_core_destroy,
    .job_fate = job_fate,
};

/* ---- the tests' own words ---- */

static rig r;

static int
set_up(void **state)
{
    memset(&test, 0, sizeof test);
    test.policy = (weir_work_policy){ .attempts_max = 5,
        .crashes_max = 3,
        .backoff_base_ms = 500,
        .backoff_max_ms = 60000,
        .defer_after_ms = 2000,
        .in_flight_max = 8 };
    rig_init(&r, &toy_options, 7);
    return 0;
}

static int
tear_down(void **state)
{
    rig_fini(&r);
    return 0;
}

typedef struct sent {
    const char *id;
    int64_t revision, epoch, deleted_below;
    uint64_t era;
    const char *script;
} sent;

static void
send(sent s)
{
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    document.filename = (char *)(uintptr_t)(s.script != NULL ? s.script : "");
    row.era = s.era;
    row.tenant = "acme";
    row.collection_no = 1;
    row.document_id = (char *)(uintptr_t)s.id;
    row.revision = s.revision == 0 ? 1 : s.revision;
    row.epoch = s.epoch == 0 ? 1 : s.epoch;
    row.deleted_below = s.deleted_below;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    rig_send(&r, &row);
}

#define SEND(...) send((sent){ __VA_ARGS__ })

static void
start(void)
{
    RIG_OK(rig_start(&r, error));
    RIG_OK(rig_run(&r, error));
}

static void
run(void)
{
    RIG_OK(rig_run(&r, error));
}

static void
pass(int64_t ms)
{
    RIG_OK(rig_run_for(&r, ms, error));
}

static void
expect_out(size_t n, const char *id, int64_t revision)
{
    const row_message *row = rig_out(&r, OUT, n);

    assert_non_null(row);
    assert_string_equal(row->document_id, id);
    assert_int_equal(row->revision, revision);
}

static size_t
outs(void)
{
    return rig_count(&r, OUT);
}

static Weir__Internal__V1__DeferredRecord *
first_record(void)
{
    const uint8_t lower[] = { 'd' };
    const uint8_t upper[] = { 'd' + 1 };
    weir_iter *iter =
        weir_store_iter(r.store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    Weir__Internal__V1__DeferredRecord *record = NULL;

    if (weir_iter_next(iter))
        record = weir__internal__v1__deferred_record__unpack(NULL, weir_iter_value(iter).size,
            weir_iter_value(iter).data);
    weir_iter_destroy(&iter);
    return record;
}

static void
expect_crash_count(uint32_t expected)
{
    Weir__Internal__V1__DeferredRecord *record = first_record();

    assert_non_null(record);
    assert_int_equal(record->crash_count, expected);
    weir__internal__v1__deferred_record__free_unpacked(record, NULL);
}

static void
expect_at_work(bool expected)
{
    Weir__Internal__V1__DeferredRecord *record = first_record();

    assert_non_null(record);
    assert_int_equal(record->at_work_ms != 0, expected);
    assert_int_equal(record->crash_count, 0);
    weir__internal__v1__deferred_record__free_unpacked(record, NULL);
}

/* ---- the window ---- */

static void
rows_come_out_in_order_though_their_jobs_end_in_another(void **state)
{
    start();
    test.held = "a";
    SEND("a");
    SEND("b");
    SEND("c");
    run();
    assert_int_equal(outs(), 0);
    assert_int_equal(rig_settled(&r), 0);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 3);
    expect_out(0, "a", 1);
    expect_out(1, "b", 1);
    expect_out(2, "c", 1);
    assert_int_equal(rig_settled(&r), 3);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_events(&r, CHUNKED, "", NULL), 3);
    assert_int_equal(test.waits, 3);
    assert_int_equal(test.attempts_ok, 3);
}

static void
a_row_without_work_is_settled_inside_start(void **state)
{
    start();
    SEND("gone", .script = "NOTHING");
    SEND("b");
    run();
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(outs(), 1);
}

static void
no_more_jobs_run_at_once_than_allowed(void **state)
{
    test.policy.in_flight_max = 2;
    start();
    test.held = "*";
    for (int i = 0; i < 5; i++)
        SEND(i % 2 == 0 ? "a" : "b", .revision = i + 1);
    run();
    assert_int_equal(r.job_count, 2);
    assert_int_equal(rig_counts(&r).queued, 5);
    assert_int_equal(rig_counts(&r).in_flight, 2);
    assert_int_equal(rig_counts(&r).oldest_ms, r.now_ms);
}

static void
a_slow_head_steps_aside_after_two_seconds_and_its_result_counts(void **state)
{
    start();
    test.held = "slow";
    SEND("slow");
    SEND("b");
    pass(1999);
    assert_int_equal(outs(), 0);
    pass(2);
    assert_int_equal(outs(), 1);
    expect_out(0, "b", 1);
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(rig_keys(&r, 'd'), 1);
    expect_at_work(true); /* its job runs */
    assert_int_equal(rig_counts(&r).deferred, 1);
    test.held = NULL;
    run();
    expect_out(1, "slow", 1);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_counts(&r).deferred, 0);
    assert_int_equal(rig_events(&r, DEFERRED, "", NULL), 0);
}

/* Patience is for the head: a row is not slow because those before it took their time. */
static void
waiting_for_its_turn_is_not_being_slow(void **state)
{
    test.policy.in_flight_max = 1;
    start();
    test.held = "*";
    SEND("a");
    SEND("b");
    SEND("c");
    for (int i = 0; i < 3; i++) {
        pass(1500);
        assert_int_equal(r.job_count, 1);
        assert_int_equal(rig_keys(&r, 'd'), 0);
        test.held = NULL;
        RIG_OK(rig_round(&r, error));
        test.held = "*";
    }
    run();
    assert_int_equal(outs(), 3);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_full_store_of_deferred_rows_holds_the_window_back(void **state)
{
    test.policy.deferred_bytes_max = 1;
    start();
    test.out_of_order = "parked";
    SEND("parked");
    run();
    assert_int_equal(rig_settled(&r), 1);
    SEND("a");
    pass(10000);
    assert_int_equal(r.job_runs, 0);
    assert_int_equal(rig_settled(&r), 1); /* the sender keeps it: pressure */
    test.out_of_order = NULL;
    pass(60000);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_settled(&r), 2);
}

/* ---- retries ---- */

static void
a_failed_attempt_is_made_again_after_a_backoff(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("flaky", .script = "TIMEOUT:2");
    SEND("b");
    run();
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_events(&r, DEFERRED, "flaky", &event), 1);
    assert_int_equal(event->failure->code, WEIR_TIMEOUT);
    assert_int_equal(event->failure->attempt_count, 1);
    assert_int_equal(event->stage, 2);
    assert_true(event->failure->retryable);
    assert_in_range(event->due_ms, r.now_ms + 1, r.now_ms + 500);
    pass(1500);
    assert_int_equal(rig_events(&r, DEFERRED, "flaky", &event), 2);
    assert_int_equal(event->failure->n_attempts, 2);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 0);
}

static void
a_document_is_given_up_after_its_last_attempt(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("flaky", .script = "TIMEOUT:99");
    pass(600000);
    assert_int_equal(r.job_runs, 5);
    assert_int_equal(rig_events(&r, DEFERRED, "flaky", NULL), 4);
    assert_int_equal(rig_events(&r, FAILED, "flaky", &event), 1);
    assert_int_equal(event->failure->attempt_count, 5);
    assert_int_equal(event->failure->n_attempts, 5);
    assert_string_equal(event->failure->attempts[0]->message, "attempt 0");
    assert_string_equal(event->failure->attempts[4]->message, "attempt 4");
    assert_string_equal(event->failure->message, "attempt 4");
    assert_int_equal(event->due_ms, 0);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(outs(), 0);
    assert_int_equal(test.attempts_failed, 5);
}

static void
attempts_are_counted_across_restarts(void **state)
{
    start();
    SEND("flaky", .script = "TIMEOUT:99");
    run();
    for (int i = 0; i < 10; i++) {
        RIG_OK(rig_stop(&r, error));
        start();
        pass(20000);
    }
    assert_int_equal(r.job_runs, 5);
    assert_int_equal(rig_events(&r, FAILED, "flaky", NULL), 1);
}

static void
what_no_retry_helps_is_given_up_at_once(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("bad", .script = "PARSE_FAILED:99");
    SEND("b");
    run();
    assert_int_equal(rig_events(&r, FAILED, "bad", &event), 1);
    assert_int_equal(event->failure->code, WEIR_PARSE_FAILED);
    assert_int_equal(event->failure->attempt_count, 1);
    assert_false(event->failure->retryable);
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
only_the_last_sixteen_attempts_are_kept(void **state)
{
    const event_message *event = NULL;

    test.policy.attempts_max = 20;
    start();
    SEND("flaky", .script = "TIMEOUT:99");
    pass(3600000);
    assert_int_equal(rig_events(&r, FAILED, "flaky", &event), 1);
    assert_int_equal(event->failure->attempt_count, 20);
    assert_int_equal(event->failure->n_attempts, 16);
    assert_string_equal(event->failure->attempts[0]->message, "attempt 4");
    assert_string_equal(event->failure->attempts[15]->message, "attempt 19");
}

/* ---- outages ---- */

static void
an_outage_spends_no_attempt_and_is_told_once(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("d", .script = "SERVICE_UNAVAILABLE:99");
    pass(3600000);
    assert_int_equal(rig_events(&r, DEFERRED, "d", &event), 1);
    assert_int_equal(event->failure->attempt_count, 0);
    assert_int_equal(event->failure->n_attempts, 0);
    assert_int_equal(rig_events(&r, FAILED, "d", NULL), 0);
    assert_int_equal(rig_counts(&r).parked, 1);
    assert_int_equal(rig_counts(&r).deferred, 1);
    assert_in_range(r.job_runs, 60, 400); /* the looks grow apart, up to a minute */
}

/* A throttled document is not tried before the time that was asked for, nor in vain afterwards; the
 * time that a transient failure carries is none of its own. */
static void
a_throttled_row_waits_as_long_as_the_cause_asks_for(void **state)
{
    const event_message *event = NULL;

    start();
    test.retry_after_ms = 20000;
    SEND("d", .script = "PRESSURE:99");
    SEND("t", .script = "TIMEOUT:1");
    run();
    assert_int_equal(rig_events(&r, DEFERRED, "d", &event), 1);
    assert_int_equal(event->failure->attempt_count, 0);
    assert_true(event->failure->retryable);
    assert_in_range(event->due_ms, r.now_ms + 20001, r.now_ms + 20500);
    assert_int_equal(rig_events(&r, DEFERRED, "t", &event), 1);
    assert_in_range(event->due_ms, r.now_ms + 1, r.now_ms + 500);
    pass(19000);
    assert_int_equal(r.job_runs, 3); /* two of t */
    assert_int_equal(rig_counts(&r).parked, 1);
    pass(600000 - 19000);
    assert_in_range(r.job_runs, 3 + 28, 3 + 30);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 0);
}

static void
a_cause_cannot_ask_for_more_than_the_longest_wait(void **state)
{
    const event_message *event = NULL;

    start();
    test.retry_after_ms = 3600000;
    SEND("d", .script = "QUEUE_FULL:1");
    run();
    assert_int_equal(rig_events(&r, DEFERRED, "d", &event), 1);
    assert_int_equal(event->due_ms, r.now_ms + 60000);
    pass(60001);
    assert_int_equal(r.job_runs, 2);
}

static void
a_known_outage_parks_without_a_job_and_its_end_wakes(void **state)
{
    start();
    test.out_of_order = "*";
    SEND("a");
    SEND("b");
    pass(600000);
    assert_int_equal(r.job_runs, 0);
    assert_int_equal(rig_counts(&r).parked, 2);
    expect_crash_count(0);
    test.out_of_order = NULL;
    weir_stage_begin(r.stage, r.now_ms, 1);
    weir_work_outage_ended(test.toy->work, r.stage);
    RIG_OK(weir_stage_commit(r.stage, error));
    RIG_OK(weir_stage_release(r.stage, &r.wake_ms, error));
    run();
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_counts(&r).parked, 0);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_parked_row_that_fails_otherwise_is_parked_no_more(void **state)
{
    start();
    test.out_of_order = "d";
    SEND("d", .script = "TIMEOUT:1");
    run();
    assert_int_equal(rig_counts(&r).parked, 1);
    test.out_of_order = NULL;
    pass(1000);
    assert_int_equal(rig_events(&r, DEFERRED, "d", NULL), 2);
    assert_int_equal(rig_counts(&r).parked, 0);
    pass(60000);
    assert_int_equal(outs(), 1);
}

/* ---- order within a document ---- */

static void
a_later_revision_queues_behind_a_deferred_one(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    SEND("d", .revision = 2);
    SEND("other");
    run();
    assert_int_equal(outs(), 1);
    expect_out(0, "other", 1);
    assert_int_equal(rig_settled(&r), 3);
    assert_int_equal(rig_keys(&r, 'd'), 2);
    pass(1000);
    expect_out(1, "d", 1);
    expect_out(2, "d", 2);
    assert_int_equal(r.job_runs, 4); /* none was for nothing */
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_later_revision_is_woken_though_the_clock_went_back(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    SEND("d", .revision = 2);
    run();
    r.now_ms -= 3600 * 1000;
    pass(60001); /* the first one's longest wait */
    assert_int_equal(outs(), 2);
}

static void
a_later_revision_that_is_done_already_waits_for_one_that_failed(void **state)
{
    start();
    test.held = "d";
    SEND("d", .script = "TIMEOUT:1");
    SEND("d", .revision = 2);
    run();
    test.held = NULL;
    run();
    assert_int_equal(outs(), 0);
    assert_int_equal(rig_settled(&r), 2);
    pass(1000);
    assert_int_equal(outs(), 2);
    expect_out(0, "d", 1);
    expect_out(1, "d", 2);
}

/* The lower one leaves between the arrival of the later one and its turn. */
static void
a_row_is_not_forgotten_when_what_it_waits_for_leaves_first(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    test.held = "head";
    SEND("head");
    SEND("d", .revision = 2);
    run();
    assert_int_equal(outs(), 0);
    assert_int_equal(r.job_runs, 1); /* the later revision was not begun */
    pass(1000);
    expect_out(0, "d", 1);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 3);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
order_is_kept_across_a_restart(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    SEND("d", .revision = 2);
    SEND("d", .revision = 3);
    run();
    rig_crash(&r);
    start();
    pass(60000);
    assert_int_equal(outs(), 3);
    for (int i = 0; i < 3; i++)
        expect_out((size_t)i, "d", i + 1);
}

static void
a_higher_epoch_removes_the_deferred_try(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:99");
    run();
    SEND("d", .epoch = 2);
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_out(&r, OUT, 0)->epoch, 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_counts(&r).deferred, 0);
    pass(600000);
    assert_int_equal(r.job_runs, 2);
}

static void
a_higher_epoch_in_the_window_keeps_the_old_try_from_being_deferred(void **state)
{
    start();
    test.held = "d";
    SEND("d", .script = "TIMEOUT:99");
    SEND("d", .epoch = 2);
    run();
    test.held = NULL;
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_events(&r, DEFERRED, "", NULL), 0);
}

static void
a_document_whose_name_begins_alike_is_left_alone(void **state)
{
    start();
    SEND("da", .script = "TIMEOUT:99");
    SEND("d", .script = "TIMEOUT:99");
    run();
    SEND("d", .epoch = 2);
    SEND("d", .revision = 9, .deleted_below = 8);
    run();
    assert_int_equal(rig_keys(&r, 'd'), 1);
    pass(600000);
    assert_int_equal(rig_events(&r, FAILED, "da", NULL), 1);
}

static void
a_slow_head_that_is_replaced_already_is_not_stored(void **state)
{
    start();
    test.held = "d";
    SEND("d");
    SEND("d", .epoch = 2);
    pass(2000);
    assert_int_equal(rig_settled(&r), 1);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_out(&r, OUT, 0)->epoch, 2);
}

static void
a_tombstone_removes_what_is_below_and_wakes_what_is_above(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:99");
    run();
    SEND("d", .revision = 3, .script = "");
    run();
    assert_int_equal(rig_keys(&r, 'd'), 2);
    SEND("d", .revision = 4, .deleted_below = 2);
    run();
    assert_int_equal(outs(), 2);
    expect_out(0, "d", 3);
    expect_out(1, "d", 4);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_result_of_work_that_was_removed_counts_for_nothing(void **state)
{
    start();
    test.held = "d";
    SEND("d");
    pass(2000);
    assert_int_equal(rig_keys(&r, 'd'), 1);
    SEND("d", .epoch = 2);
    run();
    assert_int_equal(rig_keys(&r, 'd'), 0);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_out(&r, OUT, 0)->epoch, 2);
    assert_int_equal(rig_counts(&r).in_flight, 0);
}

/* ---- the era ---- */

static void
a_new_era_settles_old_rows_without_effect(void **state)
{
    start();
    SEND("deferred", .script = "TIMEOUT:99");
    run();
    test.held = "running";
    SEND("running");
    SEND("done");
    run();
    assert_int_equal(rig_settled(&r), 1);
    SEND("new", .era = 2);
    run();
    assert_int_equal(rig_settled(&r), 4); /* at once, though a job runs */
    assert_int_equal(outs(), 1);
    expect_out(0, "new", 1);
    assert_int_equal(rig_out(&r, OUT, 0)->era, 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    test.held = NULL;
    run();
    pass(600000);
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_counts(&r).deferred, 0);
}

static void
a_new_era_drops_what_was_deferred_in_the_same_round(void **state)
{
    start();
    test.held = "*";
    SEND("d", .script = "TIMEOUT:99");
    run();
    test.held = NULL;
    weir_stage_begin(r.stage, r.now_ms, 1);
    r.jobs[0]->run(r.jobs[0]);
    r.job_count = 0;
    RIG_OK(weir_stage_on_job(r.stage, r.jobs[0], error));
    RIG_OK(weir_stage_raise_era(r.stage, 2, error));
    RIG_OK(weir_stage_commit(r.stage, error));
    RIG_OK(weir_stage_release(r.stage, &r.wake_ms, error));
    assert_int_equal(rig_keys(&r, 'd'), 0);
    pass(60000);
    assert_int_equal(r.job_count, 0);
}

/* ---- crashes ---- */

/* Start, and let the sender find out that this is a new process. */
static void
start_and_meet(void)
{
    start();
    pass(6000);
}

/* Start again until no job kills the process any more; returns how often it died. */
static int
run_through_crashes(int64_t for_ms)
{
    weir_error death;
    int deaths = 0;

    for (;; deaths++) {
        assert_true(deaths < 50);
        RIG_OK(rig_start(&r, error));
        if (rig_run_for(&r, for_ms, &death) == WEIR_OK)
            return deaths;
        assert_int_equal(death.code, WEIR_CANCELLED);
        rig_crash(&r);
    }
}

static void
a_row_that_kills_the_process_is_set_aside_after_three_counted_crashes(void **state)
{
    const event_message *event = NULL;

    start();
    for (int i = 0; i < 20; i++)
        SEND("good", .revision = i + 1);
    test.killer = "poison";
    SEND("poison");
    for (int i = 0; i < 20; i++)
        SEND("fine", .revision = i + 1);
    weir_error error;
    assert_int_equal(rig_run(&r, &error), WEIR_CANCELLED);
    rig_crash(&r);
    assert_int_equal(run_through_crashes(60000), 4); /* one among others, three alone */
    assert_int_equal(rig_events(&r, FAILED, "", &event), 1);
    assert_string_equal(event->document_id, "poison");
    assert_int_equal(event->failure->code, WEIR_WORKER_KILLED);
    assert_int_equal(event->failure->attempt_count, 0); /* a crash is no error */
    assert_int_equal(event->failure->n_attempts, 3);
    assert_int_equal(rig_events(&r, DEFERRED, "poison", &event), 2); /* told, but for the last */
    assert_int_equal(event->failure->code, WEIR_WORKER_KILLED);
    assert_true(event->due_ms >= event->time_ms);
    assert_int_equal(test.crashes, 3);
    assert_int_equal(outs(), 40);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
after_an_unclean_start_rows_are_counted_before_their_work(void **state)
{
    start();
    test.held = "*";
    SEND("a");
    SEND("b");
    run();
    assert_int_equal(rig_keys(&r, 'd'), 0);
    rig_crash(&r);
    start_and_meet();
    assert_int_equal(rig_keys(&r, 'd'), 2);
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(r.job_count, 2);
    expect_at_work(true);
    SEND("later"); /* was never at work before */
    run();
    assert_int_equal(rig_keys(&r, 'd'), 3 - 1);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 3);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
work_with_a_counted_crash_runs_alone(void **state)
{
    start();
    test.held = "*";
    SEND("a");
    SEND("b");
    SEND("c");
    run();
    rig_crash(&r);
    start_and_meet(); /* counted */
    assert_int_equal(r.job_count, 3);
    rig_crash(&r);
    start_and_meet();
    SEND("new");
    run();
    assert_int_equal(r.job_count, 1);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 4);
}

/* ---- the watch ---- */

/* Let the poison end processes until it runs alone and has ended one: its crash is in question. */
static void
bring_into_question(void)
{
    weir_error death;

    test.policy.crash_watch_ms = 5000;
    start();
    test.killer = "poison";
    SEND("poison");
    for (int deaths = 0; deaths < 3; deaths++) { /* in the window, among others, alone */
        if (deaths == 0)
            assert_int_equal(rig_run(&r, &death), WEIR_CANCELLED);
        else
            assert_int_equal(rig_run_for(&r, 6000, &death), WEIR_CANCELLED);
        rig_crash(&r);
        RIG_OK(rig_start(&r, error));
    }
    expect_crash_count(0);
}

static void
a_crash_is_counted_when_the_next_process_lives_without_that_work(void **state)
{
    weir_error death;
    const event_message *event = NULL;

    bring_into_question();
    for (uint32_t counted = 0; counted < 3; counted++) {
        expect_crash_count(counted);
        SEND(counted == 0 ? "a" : counted == 1 ? "b" : "c");
        assert_int_equal(rig_run_for(&r, 4900, &death), WEIR_OK); /* others go on meanwhile */
        assert_int_equal(outs(), counted + 1);
        assert_int_equal(rig_events(&r, FAILED, "poison", NULL), 0);
        if (counted == 2)
            break;
        assert_int_equal(rig_run_for(&r, 200, &death), WEIR_CANCELLED);
        rig_crash(&r);
        RIG_OK(rig_start(&r, error));
    }
    pass(200);
    assert_int_equal(rig_events(&r, FAILED, "poison", &event), 1);
    assert_int_equal(event->failure->code, WEIR_WORKER_KILLED);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_storm_of_kills_fails_no_good_document(void **state)
{
    weir_error death;

    bring_into_question();
    test.killer = NULL; /* it was never the document */
    test.held = "poison";
    for (int kills = 0; kills < 40; kills++) { /* with and without it at work */
        assert_int_equal(rig_run_for(&r, kills % 2 == 0 ? 2000 : 30, &death), WEIR_OK);
        rig_crash(&r);
        RIG_OK(rig_start(&r, error));
        expect_crash_count(0);
    }
    test.held = NULL;
    pass(20000);
    assert_int_equal(outs(), 1);
    expect_out(0, "poison", 1);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 0);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
no_suspect_begins_while_a_crash_is_in_question(void **state)
{
    weir_error death;

    bring_into_question();
    test.killer = NULL;
    assert_int_equal(rig_run_for(&r, 4900, &death), WEIR_OK);
    assert_int_equal(outs(), 0);
    assert_int_equal(rig_run_for(&r, 200, &death), WEIR_OK);
    assert_int_equal(outs(), 1);
}

/* Leaves a record with a counted crash that is not at work yet, while a job of "busy" runs. */
static void
let_a_suspect_wait(void)
{
    start();
    test.held = "suspect";
    SEND("suspect");
    pass(2000);
    rig_crash(&r);
    test.out_of_order = "suspect";
    test.held = "*";
    start_and_meet();
    SEND("busy");
    run();
    test.out_of_order = NULL;
    pass(60000);
    assert_int_equal(r.job_count, 1);
}

static void
suspect_work_waits_until_nothing_else_runs(void **state)
{
    let_a_suspect_wait();
    SEND("new"); /* and is not overtaken for ever */
    run();
    assert_int_equal(r.job_count, 1);
    test.held = "suspect";
    run();
    assert_int_equal(outs(), 1);
    expect_out(0, "busy", 1);
    assert_int_equal(r.job_count, 1);
    test.held = NULL;
    run();
    assert_int_equal(outs(), 3);
}

static void
suspect_work_that_is_replaced_while_it_waits_never_runs(void **state)
{
    let_a_suspect_wait();
    SEND("suspect", .epoch = 2);
    run();
    test.held = NULL;
    pass(60000);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_out(&r, OUT, 1)->epoch, 2);
    assert_int_equal(r.job_runs, 2);
}

static void
a_clean_end_needs_no_care(void **state)
{
    start();
    SEND("a");
    run();
    test.held = "*";
    test.abandons = true;
    SEND("b");
    run();
    test.held = NULL;
    RIG_OK(rig_stop(&r, error));
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_settled(&r), 1);
    test.held = "*";
    start();
    pass(30000); /* until the sender has sent again */
    assert_int_equal(r.job_count, 1);
}

static void
a_drain_takes_back_the_count_of_work_it_abandons(void **state)
{
    start();
    test.held = "slow";
    SEND("slow");
    pass(2000);
    expect_at_work(true);
    test.held = NULL;
    test.abandons = true;
    RIG_OK(rig_stop(&r, error));
    expect_at_work(false);
    test.abandons = false;
    start();
    pass(10);
    assert_int_equal(outs(), 1);
}

static void
a_drain_begins_nothing_new(void **state)
{
    test.policy.in_flight_max = 1;
    start();
    test.held = "*";
    SEND("a");
    SEND("b");
    run();
    test.held = NULL;
    RIG_OK(rig_stop(&r, error));
    assert_int_equal(r.job_runs, 1);
    assert_int_equal(rig_settled(&r), 1);
}

static void
deferred_work_leaves_half_of_the_places_to_new_rows(void **state)
{
    test.policy.in_flight_max = 4;
    start();
    test.out_of_order = "*";
    for (int i = 0; i < 6; i++)
        SEND(i % 2 == 0 ? "a" : "b", .revision = i + 1);
    SEND("c"), SEND("d"), SEND("e"), SEND("f");
    run();
    test.out_of_order = NULL;
    test.held = "*";
    r.now_ms += 60000;
    SEND("new");
    SEND("newer");
    RIG_OK(rig_round(&r, error));
    RIG_OK(rig_round(&r, error));
    assert_int_equal(r.job_count, 4);
    size_t new_ones = 0;
    for (size_t i = 0; i < r.job_count; i++)
        new_ones += strncmp(((toy_job *)r.jobs[i])->row->document_id, "new", 3) == 0 ? 1 : 0;
    assert_int_equal(new_ones, 2);
    test.held = NULL;
    pass(60000);
    assert_int_equal(outs(), 12);
}

/* ---- the clock ---- */

static void
a_due_time_far_away_is_brought_near(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    r.now_ms -= 365LL * 86400 * 1000; /* the wall clock was a year ahead */
    pass(61000);
    assert_int_equal(outs(), 1);
}

static void
a_due_time_far_away_is_brought_near_at_start(void **state)
{
    start();
    SEND("d", .script = "TIMEOUT:1");
    run();
    rig_crash(&r);
    r.now_ms -= 365LL * 86400 * 1000;
    start();
    pass(61000);
    assert_int_equal(outs(), 1);
}

/* ---- credit ---- */

static uint32_t
credit(void)
{
    weir_link_tx_status status;

    weir_link_tx_status_read(r.peers[WEIR_LINK_GATEWAY_INGEST].tx, &status);
    return status.credit;
}

static void
credit_falls_to_what_is_settled_in_a_second(void **state)
{
    start();
    SEND("a");
    run();
    assert_int_equal(credit(), 256);
    test.held = "*";
    for (int i = 0; i < 300; i++)
        SEND("a", .revision = i + 2);
    run();
    pass(5000);
    assert_int_equal(credit(), 8);
    test.held = NULL;
    pass(5000);
    assert_int_equal(outs(), 301);
}

/* ---- everything at once, and the store fails at each call ---- */

static void
send_mix(void)
{
    SEND("a");
    SEND("flaky", .script = "TIMEOUT:2");
    SEND("bad", .script = "PARSE_FAILED:99");
    SEND("parked", .script = "MODEL_UNAVAILABLE:0");
    SEND("flaky", .revision = 2);
    SEND("b", .script = "NOTHING");
    SEND("giveup", .script = "TIMEOUT:99");
    SEND("redriven", .script = "TIMEOUT:99");
    SEND("redriven", .epoch = 2);
    SEND("c");
}

/* Exactly these, each once; the order between documents is free. */
static void
expect_mix(void)
{
    static const struct {
        const char *id;
        int64_t revision, epoch;
    } expected[] = { { "a", 1, 1 }, { "flaky", 1, 1 }, { "flaky", 2, 1 }, { "parked", 1, 1 },
        { "redriven", 1, 2 }, { "c", 1, 1 } };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        size_t found = 0;

        for (size_t n = 0; n < outs(); n++) {
            const row_message *row = rig_out(&r, OUT, n);

            found += strcmp(row->document_id, expected[i].id) == 0 &&
                row->revision == expected[i].revision && row->epoch == expected[i].epoch;
        }
        assert_int_equal(found, 1);
    }
    assert_int_equal(outs(), sizeof expected / sizeof expected[0]);
    assert_int_equal(rig_events(&r, FAILED, "bad", NULL), 1);
    assert_int_equal(rig_events(&r, FAILED, "giveup", NULL), 1);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
    assert_int_equal(rig_settled(&r), 10);
}

/* Run to the end; the failing call ends the process, and the next start goes on. */
static void
run_mix(void)
{
    weir_error error = { .code = WEIR_OK };

    for (int starts = 0;; starts++) {
        assert_true(starts < 20);
        weir_code code = r.stage == NULL ? rig_start(&r, &error) : WEIR_OK;
        if (code == WEIR_OK)
            code = rig_run_for(&r, 600000, &error);
        if (code == WEIR_OK)
            return;
        assert_int_equal(code, WEIR_STORE_IO);
        rig_crash(&r);
    }
}

static void
the_store_may_fail_at_any_call(void **state)
{
    uint32_t failures = 0;

    for (uint32_t n = 1;; n++) {
        tear_down(NULL);
        set_up(NULL);
        r.rng.state = n;
        weir_store_mem_fail_after(r.store, n);
        send_mix();
        run_mix();
        expect_mix();
        if (r.starts == 1) /* n calls were not needed */
            break;
        failures++;
    }
    assert_true(failures > 40);
}

static void
the_power_may_fail_after_any_round(void **state)
{
    uint64_t rounds = 1;

    for (uint64_t cut = 1; cut <= rounds; cut++) {
        tear_down(NULL);
        set_up(NULL);
        r.rng.state = cut;
        start();
        send_mix();
        for (uint64_t i = 0; i < cut; i++)
            RIG_OK(rig_round(&r, error));
        rig_crash(&r);
        run_mix();
        expect_mix();
        rounds = 12;
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
        TEST(rows_come_out_in_order_though_their_jobs_end_in_another),
        TEST(a_row_without_work_is_settled_inside_start),
        TEST(no_more_jobs_run_at_once_than_allowed),
        TEST(a_slow_head_steps_aside_after_two_seconds_and_its_result_counts),
        TEST(waiting_for_its_turn_is_not_being_slow),
        TEST(a_full_store_of_deferred_rows_holds_the_window_back),
        TEST(a_failed_attempt_is_made_again_after_a_backoff),
        TEST(a_document_is_given_up_after_its_last_attempt),
        TEST(attempts_are_counted_across_restarts),
        TEST(what_no_retry_helps_is_given_up_at_once),
        TEST(only_the_last_sixteen_attempts_are_kept),
        TEST(an_outage_spends_no_attempt_and_is_told_once),
        TEST(a_throttled_row_waits_as_long_as_the_cause_asks_for),
        TEST(a_cause_cannot_ask_for_more_than_the_longest_wait),
        TEST(a_known_outage_parks_without_a_job_and_its_end_wakes),
        TEST(a_parked_row_that_fails_otherwise_is_parked_no_more),
        TEST(a_later_revision_queues_behind_a_deferred_one),
        TEST(a_later_revision_that_is_done_already_waits_for_one_that_failed),
        TEST(a_row_is_not_forgotten_when_what_it_waits_for_leaves_first),
        TEST(order_is_kept_across_a_restart),
        TEST(a_higher_epoch_removes_the_deferred_try),
        TEST(a_higher_epoch_in_the_window_keeps_the_old_try_from_being_deferred),
        TEST(a_later_revision_is_woken_though_the_clock_went_back),
        TEST(a_document_whose_name_begins_alike_is_left_alone),
        TEST(a_slow_head_that_is_replaced_already_is_not_stored),
        TEST(a_tombstone_removes_what_is_below_and_wakes_what_is_above),
        TEST(a_result_of_work_that_was_removed_counts_for_nothing),
        TEST(a_new_era_settles_old_rows_without_effect),
        TEST(a_new_era_drops_what_was_deferred_in_the_same_round),
        TEST(a_row_that_kills_the_process_is_set_aside_after_three_counted_crashes),
        TEST(after_an_unclean_start_rows_are_counted_before_their_work),
        TEST(work_with_a_counted_crash_runs_alone),
        TEST(a_crash_is_counted_when_the_next_process_lives_without_that_work),
        TEST(a_storm_of_kills_fails_no_good_document),
        TEST(no_suspect_begins_while_a_crash_is_in_question),
        TEST(suspect_work_waits_until_nothing_else_runs),
        TEST(suspect_work_that_is_replaced_while_it_waits_never_runs),
        TEST(a_clean_end_needs_no_care),
        TEST(a_drain_takes_back_the_count_of_work_it_abandons),
        TEST(a_drain_begins_nothing_new),
        TEST(deferred_work_leaves_half_of_the_places_to_new_rows),
        TEST(a_due_time_far_away_is_brought_near),
        TEST(a_due_time_far_away_is_brought_near_at_start),
        TEST(credit_falls_to_what_is_settled_in_a_second),
        TEST(the_store_may_fail_at_any_call),
        TEST(the_power_may_fail_after_any_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
