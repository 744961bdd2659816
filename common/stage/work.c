/*
 * work.c - rows that need a job: the window, what may start, and the fate of each.  See work.h for
 * the rules.
 *
 * A crash at any line leaves either the row unsettled at its sender (it comes again), or its
 * DeferredRecord here.  A record is marked as at work in the round before its work begins, and the
 * mark is taken away by the round that takes the result, so a mark that is there after a start says
 * that a process ended meanwhile.
 */
#include "common/stage/work.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "common/stage/work_internal.h"
#include "weir/v1/document.pb-c.h"

enum {
    ATTEMPTS_KEPT_MAX = 16,
    CAREFUL_ROWS = 1024, /* no sender has more than this outstanding: credit_rows_max */
    CREDIT_ROWS_START = 256,
    CREDIT_ROWS_MIN = 8,
    PERIOD_MS = 1000,
    CLOCK_JUMP_MS = 5000,
    WINDOW_BYTES_MAX = 64 << 20, /* what the rows of the window may hold in memory */
    ROW_BYTES_GUESS = 16 << 10,
};
static const uint64_t deferred_bytes_default = (uint64_t)1 << 30;

/* ---- what others are told ---- */

static void
tell(weir_work *work, weir_stage *stage, const weir_work_item *item,
    Weir__Internal__V1__LifecycleKind kind)
{
    Weir__Internal__V1__LifecycleEvent event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = kind;
    event.tenant = item->row->tenant;
    event.collection_no = item->row->collection_no;
    event.document_id = item->row->document_id;
    event.revision = item->row->revision;
    event.epoch = item->row->epoch;
    event.time_ms = weir_stage_now_ms(stage);
    event.failure = item->record->failure;
    event.stage = work->stage_number;
    if (kind == WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED)
        event.due_ms = item->record->due_ms > event.time_ms ? item->record->due_ms : event.time_ms;
    weir_stage_event(stage, &event);
}

/* The one line about a document that did not go through. */
static void
log_failure(const weir_work *work, const weir_work_item *item, const char *event)
{
    const ProtobufCEnumValue *stage =
        protobuf_c_enum_descriptor_get_value(&weir__v1__stage__descriptor, (int)work->stage_number);

    weir_log(WEIR_LOG_WARN, event, WEIR_STR("tenant", item->row->tenant),
        WEIR_INT("collection_no", item->row->collection_no),
        WEIR_STR("document_id", item->row->document_id), WEIR_INT("revision", item->row->revision),
        WEIR_INT("run", item->row->epoch), WEIR_STR("stage", stage != NULL ? stage->name : ""),
        WEIR_STR("reason", weir_code_name((weir_code)item->record->failure->code)),
        WEIR_INT("attempt", item->record->attempt_count),
        WEIR_STR("message", item->record->failure->message));
}

/* ---- failures ---- */

static Weir__Internal__V1__Attempt *
attempt_of(weir_arena *arena, const work_failure *failure)
{
    Weir__Internal__V1__Attempt *attempt = weir_arena_alloc(arena, sizeof *attempt);

    weir__internal__v1__attempt__init(attempt);
    attempt->stage = failure->stage;
    attempt->code = failure->code;
    attempt->message = failure->message;
    attempt->time_ms = failure->time_ms;
    return attempt;
}

/* The attempts before this one, the oldest left out when they are too many, and this one. */
static void
add_attempt(weir_arena *arena, const work_failure *old, work_failure *failure)
{
    const size_t had = old == NULL ? 0 : old->n_attempts;
    const size_t kept = had < ATTEMPTS_KEPT_MAX ? had : ATTEMPTS_KEPT_MAX - 1;

    failure->attempts = weir_arena_alloc(arena, (kept + 1) * sizeof failure->attempts[0]);
    for (size_t i = 0; i < kept; i++)
        failure->attempts[i] = old->attempts[had - kept + i];
    failure->attempts[kept] = attempt_of(arena, failure);
    failure->n_attempts = kept + 1;
}

/* is_attempt: it counts as a try, so it joins the list of them. */
static void
record_failure(weir_work *work, weir_stage *stage, weir_work_item *item, const weir_error *result,
    bool is_attempt)
{
    work_failure *failure = weir_arena_alloc(item->arena, sizeof *failure);
    const work_failure *old = item->record->failure;

    weir__internal__v1__failure__init(failure);
    failure->stage = work->stage_number;
    failure->code = (uint32_t)result->code;
    failure->message = weir_arena_strdup(item->arena, result->message);
    failure->attempt_count = item->record->attempt_count;
    failure->retryable = weir_retry_rule_for(result->code)->may_help;
    failure->time_ms = weir_stage_now_ms(stage);
    if (is_attempt) {
        add_attempt(item->arena, old, failure);
    } else if (old != NULL) {
        failure->n_attempts = old->n_attempts;
        failure->attempts = old->attempts;
    }
    item->record->failure = failure;
}

/* ---- fates ---- */

/* Leave the database, if it was there; the next revision of the document may go on. */
static weir_code
leave(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    if (item->seq != 0)
        return WEIR_OK;
    work_record_remove(work, stage, item);
    return work_wake_document(work, stage, item->row, reterr);
}

static uint32_t
wait_ms_for(const weir_work *work, weir_stage *stage, const weir_work_item *item,
    const weir_error *why)
{
    const work_record *record = item->record;

    return weir_retry_wait_ms(weir_retry_rule_for(why->code), &work->policy, record->attempt_count,
        weir_stage_now_ms(stage) - record->since_ms, why->retry_after_ms, weir_stage_random(stage));
}

static void
defer(weir_work *work, weir_stage *stage, weir_work_item *item)
{
    const weir_retry_rule *rule = weir_retry_rule_for(item->result.code);
    const bool parked = rule->end == WEIR_RETRY_ENDS_NEVER;
    const bool is_new = item->seq != 0;
    const bool was_parked = item->record->parked;

    if (!is_new && parked && !was_parked) /* a new one is counted when it is put */
        work->parked_count++;
    if (!is_new && !parked && was_parked)
        work->parked_count--;
    WEIR_FP("work.defer.before");
    if (item->record->since_ms == 0)
        item->record->since_ms = weir_stage_now_ms(stage);
    item->record->due_ms = weir_stage_now_ms(stage) + wait_ms_for(work, stage, item, &item->result);
    work_record_clear(item->record);
    item->record->parked = parked;
    work_record_put(work, stage, item, is_new);
    work_record_plan(work, item, item->record->due_ms);
    if (parked && was_parked) /* an outage is told once, not at each look */
        return;
    log_failure(work, item, rule->log_event);
    tell(work, stage, item, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED);
}

static weir_code
give_up(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    WEIR_FP_RETURN("work.give_up.before", reterr);
    log_failure(work, item, "document.failed");
    tell(work, stage, item, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED);
    return leave(work, stage, item, reterr);
}

/* A row that is in the window already replaces this one. */
static bool
is_replaced(const weir_work_item *item)
{
    const work_row *row = item->row;

    for (const weir_work_item *later = item->seq != 0 ? item->next : NULL; later != NULL;
        later = later->next) {
        const bool is_newer_try =
            later->row->revision == row->revision && later->row->epoch > row->epoch;

        if (work_is_same_document(row, later->row) &&
            (is_newer_try || row->revision < later->row->deleted_below))
            return true;
    }
    return false;
}

/* A job's result is never of the class of killers: only the start after a process says that. */
static weir_code
settle_failure(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    const weir_retry_rule *rule = weir_retry_rule_for(item->result.code);
    const bool is_attempt = rule->cost == WEIR_RETRY_COSTS_ATTEMPT;

    weir_assert(rule->cost != WEIR_RETRY_COSTS_CRASH);
    if (is_replaced(item))
        return WEIR_OK;
    if (is_attempt)
        item->record->attempt_count++;
    record_failure(work, stage, item, &item->result, is_attempt);
    if (weir_retry_is_over(rule, &work->policy, item->record->attempt_count, 0))
        return give_up(work, stage, item, reterr);
    defer(work, stage, item);
    return WEIR_OK;
}

/* The one place where a result becomes a fate: whatever happened, the item's fate is in this round.
 */
static weir_code
settle(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    if (work->observer.attempted != NULL)
        work->observer.attempted(work->observer.ud, item->result.code);
    if (item->dropped)
        return WEIR_OK;
    if (item->result.code != WEIR_OK)
        return settle_failure(work, stage, item, reterr);
    WEIR_FP_RETURN("work.emit.before", reterr);
    const weir_code code = work->ops.emit(work->core, stage, item, item->payload, reterr);
    return code != WEIR_OK ? code : leave(work, stage, item, reterr);
}

/* ---- the window ---- */

static void
append_item(weir_work *work, weir_stage *stage, weir_work_item *item, uint64_t seq)
{
    item->seq = seq;
    if (work->tail != NULL)
        work->tail->next = item;
    else
        work->head = item;
    if (work->head == item)
        work->head_since_ms = weir_stage_now_ms(stage);
    work->tail = item;
    if (work->next_to_start == NULL)
        work->next_to_start = item;
    work->window_count++;
    work->row_bytes = (work->row_bytes * 15 + item->packed.size) / 16 + 1;
}

static weir_work_item *
pop_head(weir_work *work, weir_stage *stage)
{
    weir_work_item *item = work->head;

    work->head = item->next;
    if (work->head == NULL)
        work->tail = NULL;
    if (work->next_to_start == item)
        work->next_to_start = item->next;
    item->next = NULL;
    work->window_count--;
    work->head_since_ms = weir_stage_now_ms(stage);
    weir_stage_settle(stage, work->link, item->seq);
    return item;
}

static void
link_active(weir_work *work, weir_work_item *item)
{
    weir_assert(item->state == WORK_RUNNING);
    item->seq = 0;
    item->next = work->active;
    work->active = item;
    work->active_count++;
}

/* Its row is settled with no effect; a job that runs comes back for nothing. */
static void
let_head_go(weir_work *work, weir_stage *stage)
{
    weir_work_item *item = pop_head(work, stage);

    item->dropped = true;
    if (item->state == WORK_RUNNING)
        link_active(work, item);
    else
        work_item_destroy(work, item);
}

/* Its row goes into the database, so that the cursor moves; a job that runs goes on. */
static weir_code
set_head_aside(weir_work *work, weir_stage *stage, bool is_behind)
{
    if (is_replaced(work->head)) {
        let_head_go(work, stage);
        return WEIR_OK;
    }
    WEIR_FP("work.set_aside.before");
    weir_work_item *item = pop_head(work, stage);
    item->record->at_work_ms = item->state == WORK_RUNNING ? weir_stage_now_ms(stage) : 0;
    item->record->due_ms = is_behind ? 0 : weir_stage_now_ms(stage);
    work_record_put(work, stage, item, true);
    if (item->state == WORK_RUNNING) {
        link_active(work, item);
        return WEIR_OK;
    }
    if (!is_behind)
        work_record_plan(work, item, item->record->due_ms);
    work_item_destroy(work, item);
    return WEIR_OK;
}

static bool
has_room(const weir_work *work)
{
    return work->deferred_bytes < work->policy.deferred_bytes_max;
}

static bool
patience_is_over(const weir_work *work, weir_stage *stage)
{
    if (weir_stage_is_draining(stage) || (work->head->state == WORK_WAITING && !has_room(work)))
        return false;
    return weir_stage_now_ms(stage) - work->head_since_ms >= work->policy.defer_after_ms;
}

static weir_code
settle_head(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const weir_code code = settle(work, stage, work->head, reterr);

    if (code == WEIR_OK) {
        work->settled_in_period++;
        work_item_destroy(work, pop_head(work, stage));
    }
    return code;
}

/* One step over the head; *ret_moved false: it must wait. */
static weir_code
step_head(weir_work *work, weir_stage *stage, bool *ret_moved, weir_error *reterr)
{
    bool is_behind = false;
    const weir_code code = work_is_behind(work, stage, work->head->row, &is_behind, reterr);

    *ret_moved = true;
    if (code != WEIR_OK)
        return code;
    if (work->head->dropped) {
        let_head_go(work, stage);
        return WEIR_OK;
    }
    if (is_behind || work->head->steps_aside)
        return set_head_aside(work, stage, is_behind);
    if (work->head->state == WORK_DONE)
        return settle_head(work, stage, reterr);
    if (patience_is_over(work, stage))
        return set_head_aside(work, stage, false);
    *ret_moved = false;
    return WEIR_OK;
}

static weir_code
advance(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (bool moved = true; work->head != NULL && moved && code == WEIR_OK;)
        code = step_head(work, stage, &moved, reterr);
    return code;
}

/* ---- starting ---- */

static bool
may_start(const weir_work *work)
{
    return work->alone_next == NULL && !work->alone_running &&
        work->running_count < work->policy.in_flight_max;
}

static weir_code
begin_item(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    const int64_t wait_ms = weir_stage_now_ms(stage) - item->row->handed_over_ms;

    weir_assert(item->state == WORK_WAITING);
    item->state = WORK_RUNNING;
    work->running_count++;
    if (item->alone)
        work->alone_running = true;
    if (work->observer.waited != NULL)
        work->observer.waited(work->observer.ud, wait_ms > 0 ? wait_ms : 0);
    return work->ops.start(work->core, stage, item, reterr);
}

/* An outage is known: *ret_error says so; any other failure is for start to meet. */
static bool
is_held_up(weir_work *work, weir_stage *stage, const work_row *row, weir_error *ret_error)
{
    if (work->ops.check == NULL)
        return false;
    return weir_retry_waits(work->ops.check(work->core, stage, row, ret_error));
}

static weir_code
start_in_window(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    bool is_behind = false;
    const weir_code code = work_is_behind(work, stage, item->row, &is_behind, reterr);

    if (code != WEIR_OK || item->dropped || item->steps_aside)
        return code;
    if (is_behind) {
        item->steps_aside = true;
        return WEIR_OK;
    }
    if (!is_held_up(work, stage, item->row, &item->result))
        return begin_item(work, stage, item, reterr);
    item->state = WORK_DONE;
    return WEIR_OK;
}

static weir_code
start_window(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && work->next_to_start != NULL && may_start(work) && has_room(work)) {
        weir_work_item *item = work->next_to_start;

        work->next_to_start = item->next;
        code = start_in_window(work, stage, item, reterr);
    }
    return code;
}

/* The process ended once more over this work. */
static void
record_crash(weir_work *work, weir_stage *stage, weir_work_item *item, bool is_last)
{
    weir_error killed;

    weir_error_set(&killed, WEIR_WORKER_KILLED,
        is_last ? "the process ended %u times while it worked on this document alone; it is set "
                  "aside so that others go on"
                : "the process ended while it worked on this document alone, for the %u. time; it "
                  "is tried again alone",
        item->record->crash_count);
    record_failure(work, stage, item, &killed, true);
    if (work->observer.attempted != NULL)
        work->observer.attempted(work->observer.ud, WEIR_WORKER_KILLED);
}

static weir_code
quarantine(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    WEIR_FP("work.quarantine.before");
    record_crash(work, stage, item, true);
    const weir_code code = give_up(work, stage, item, reterr);
    work_item_destroy(work, item);
    return code;
}

/* It is marked as at work in this round, so before the work begins. */
static weir_code
begin_deferred(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    WEIR_FP("work.deferred.before");
    item->alone = work_record_is_suspect(item->record);
    item->record->alone = item->alone;
    item->record->at_work_ms = weir_stage_now_ms(stage);
    if (!WEIR_PLANT(ATTEMPT_NOT_COUNTED))
        work_record_put(work, stage, item, false);
    item->next = work->active;
    work->active = item;
    work->active_count++;
    return begin_item(work, stage, item, reterr);
}

static weir_code
start_alone(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_work_item *item = work->alone_next;

    if (item == NULL || work->running_count > 0)
        return WEIR_OK;
    work->alone_next = NULL;
    if (!item->dropped)
        return begin_deferred(work, stage, item, reterr);
    work_item_destroy(work, item);
    return WEIR_OK;
}

/* A crash is in question, of this item or of another: it has its turn when that is decided. */
static weir_code
await_watch(weir_work *work, weir_stage *stage, weir_work_item *item)
{
    if (work_record_has_open_crash(item->record) && item->record->watch_boot == 0) {
        item->record->watch_boot = weir_stage_identity(stage)->boot_counter;
        work_record_put(work, stage, item, false);
    }
    work_record_plan(work, item, work->watch_until_ms);
    work_item_destroy(work, item);
    return WEIR_OK;
}

static bool
is_killer(const weir_work *work, const work_record *record)
{
    return weir_retry_is_over(weir_retry_rule_of(WEIR_CLASS_KILLER), &work->policy,
        record->attempt_count, record->crash_count);
}

/* It costs no attempt; the last one is told by the quarantine. */
static void
count_crash(weir_work *work, weir_stage *stage, weir_work_item *item)
{
    item->record->crash_count++;
    if (is_killer(work, item->record))
        return;
    record_crash(work, stage, item, false);
    log_failure(work, item, weir_retry_rule_of(WEIR_CLASS_KILLER)->log_event);
    tell(work, stage, item, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED);
}

/* Does the crash count?  Not if the process that watched ended as well. */
static void
decide_crash(weir_work *work, weir_stage *stage, weir_work_item *item)
{
    work_record *record = item->record;

    if (record->watch_boot == 0 || record->watch_boot == weir_stage_identity(stage)->boot_counter)
        count_crash(work, stage, item);
    record->at_work_ms = 0;
    record->watch_boot = 0;
    work_record_put(work, stage, item, false);
}

/* Decide about a deferred item that is due; takes it over. */
static weir_code
start_deferred(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    weir_error why;

    if (is_held_up(work, stage, item->row, &why)) {
        work_record_plan(work, item,
            weir_stage_now_ms(stage) + wait_ms_for(work, stage, item, &why));
        work_item_destroy(work, item);
        return WEIR_OK;
    }
    if (!work_record_is_suspect(item->record))
        return begin_deferred(work, stage, item, reterr);
    if (weir_stage_now_ms(stage) < work->watch_until_ms)
        return await_watch(work, stage, item);
    if (work_record_has_open_crash(item->record))
        decide_crash(work, stage, item);
    if (is_killer(work, item->record))
        return quarantine(work, stage, item, reterr);
    work->alone_next = item;
    return start_alone(work, stage, reterr);
}

static void
plan_again(weir_work *work, weir_stage *stage, const weir_work_item *item)
{
    const int64_t latest_ms = weir_stage_now_ms(stage) + work->policy.backoff_max_ms;

    work_record_plan(work, item,
        item->record->due_ms < latest_ms ? item->record->due_ms : latest_ms);
}

static weir_code
look_at(weir_work *work, weir_stage *stage, const work_due *entry, weir_error *reterr)
{
    weir_work_item *item = NULL;
    bool is_behind = false;

    if (work_find_active(work, entry->key) != NULL)
        return WEIR_OK;
    weir_code code = work_item_load(stage, entry->key, &item, reterr);
    if (code != WEIR_OK || item == NULL)
        return code;
    code = work_is_behind(work, stage, item->row, &is_behind, reterr);
    if (code == WEIR_OK && !is_behind && item->record->due_ms <= entry->record_due_ms)
        return start_deferred(work, stage, item, reterr);
    if (code == WEIR_OK &&
        !is_behind) /* put off since; one that is behind is woken when that leaves */
        plan_again(work, stage, item);
    work_item_destroy(work, item);
    return code;
}

/* Deferred work takes at most half of the places while rows of the window wait. */
static bool
may_start_deferred(const weir_work *work)
{
    const uint64_t half = (work->policy.in_flight_max + 1) / 2;
    const uint64_t places =
        work->next_to_start != NULL && has_room(work) ? half : work->policy.in_flight_max;

    return may_start(work) && work->active_count < places;
}

static weir_code
start_due(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    weir_code code = start_alone(work, stage, reterr);

    /* What is put back meanwhile is due later than now, so this ends. */
    while (code == WEIR_OK && work->due.count > 0 && work->due.items[0].due_ms <= now_ms &&
        may_start_deferred(work)) {
        const work_due entry = work_due_pop(&work->due);

        code = look_at(work, stage, &entry, reterr);
        weir_free((void *)(uintptr_t)entry.key.data);
    }
    return code;
}

/* ---- each round ---- */

/* R9: what is settled in a second and a quarter more, within the memory for rows; it shrinks only
 * when it was used. */
static void
adapt_credit(weir_work *work, weir_stage *stage, int64_t elapsed_ms)
{
    const uint64_t by_memory = WINDOW_BYTES_MAX / work->row_bytes;
    uint64_t rows = work->credit;

    if (work->was_busy)
        rows = work->settled_in_period * 5 / 4 * PERIOD_MS / (uint64_t)elapsed_ms;
    if (rows > by_memory)
        rows = by_memory;
    if (rows > UINT16_MAX)
        rows = UINT16_MAX;
    work->credit = rows < CREDIT_ROWS_MIN ? CREDIT_ROWS_MIN : (uint32_t)rows;
    weir_stage_set_credit(stage, work->link, work->credit);
}

static void
end_period(weir_work *work, weir_stage *stage)
{
    const int64_t elapsed_ms = weir_stage_now_ms(stage) - work->period_began_ms;

    if (work->window_count + work->credit / 4 >= work->credit)
        work->was_busy = true;
    if (elapsed_ms >= 0 && elapsed_ms < PERIOD_MS)
        return;
    if (elapsed_ms > 0)
        adapt_credit(work, stage, elapsed_ms);
    work->oldest_deferred_ms = work_due_oldest(&work->due);
    work->was_busy = false;
    work->settled_in_period = 0;
    work->period_began_ms = weir_stage_now_ms(stage);
}

/* The wall clock went back: nothing waits for a time that is years away now. */
static void
heed_clock(weir_work *work, int64_t now_ms)
{
    if (now_ms < work->round_ms - CLOCK_JUMP_MS) {
        const int64_t latest_ms = now_ms + work->policy.backoff_max_ms;

        work_due_clip(&work->due, latest_ms, latest_ms);
        work->head_since_ms = now_ms;
        if (work->watch_until_ms > latest_ms)
            work->watch_until_ms = latest_ms;
    }
    work->round_ms = now_ms;
}

static void
wish_to_wake(weir_work *work, weir_stage *stage)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    const int64_t patience_ends_ms = work->head_since_ms + work->policy.defer_after_ms;

    if (weir_stage_is_draining(stage))
        return;
    if (work->head != NULL && patience_ends_ms > now_ms)
        weir_stage_wake_at(stage, patience_ends_ms);
    if (work->due.count > 0 && may_start_deferred(work))
        weir_stage_wake_at(stage,
            work->due.items[0].due_ms > now_ms ? work->due.items[0].due_ms : now_ms + 1);
}

weir_code
weir_work_on_round(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_stage_counts counts;

    heed_clock(work, weir_stage_now_ms(stage));
    weir_code code = advance(work, stage, reterr);
    if (code == WEIR_OK && !weir_stage_is_draining(stage))
        code = start_due(work, stage, reterr);
    if (code == WEIR_OK && !weir_stage_is_draining(stage))
        code = start_window(work, stage, reterr);
    if (code == WEIR_OK) /* what is known to be held up was decided just now */
        code = advance(work, stage, reterr);
    end_period(work, stage);
    wish_to_wake(work, stage);
    weir_work_counts(work, &counts);
    weir_stage_set_counts(stage, &counts);
    return code;
}

/* ---- rows and results ---- */

/* The first window after an unclean start: such a row may have been at work when the last process
 * ended.  One that was handed over since was not; but what says so is another service's clock, and
 * a time that is still to come is no proof. */
static bool
take_careful(weir_work *work, const weir_stage *stage, const work_row *row)
{
    const bool is_since =
        row->handed_over_ms > work->started_ms && row->handed_over_ms <= weir_stage_now_ms(stage);

    if (work->careful_left == 0 || is_since)
        return false;
    work->careful_left--;
    return true;
}

/* Whose row it is must be nameable in a key; a sender that breaks this has a bug, and no event
 * could name the row. */
static bool
is_work(const weir_work *work, const work_row *row)
{
    const size_t size = strlen(row->document_id);

    return row->payload_case == work->ops.payload && row->collection_no > 0 && size > 0 &&
        size <= WEIR_DOCUMENT_ID_BYTES_MAX && row->revision > 0 && row->epoch >= 0;
}

weir_code
weir_work_on_row(weir_work *work, weir_stage *stage, weir_link_kind link, uint64_t seq,
    const work_row *row, weir_bytes packed, weir_error *reterr)
{
    weir_work_item *item = NULL;

    if (!is_work(work, row)) {
        weir_log(WEIR_LOG_ERROR, "row.unknown", WEIR_STR("link", weir_link_spec_of(link)->name),
            WEIR_INT("seq", seq), WEIR_INT("payload", row->payload_case));
        weir_stage_settle(stage, link, seq);
        return WEIR_OK;
    }
    weir_code code = work_fence(work, stage, row, reterr);

    if (code == WEIR_OK)
        code = work_item_create(packed, &item, reterr);
    if (code != WEIR_OK)
        return code;
    item->steps_aside = take_careful(work, stage, row);
    append_item(work, stage, item, seq);
    return advance(work, stage, reterr);
}

static void
unlink_active(weir_work *work, weir_work_item *item)
{
    for (weir_work_item **at = &work->active; *at != NULL; at = &(*at)->next) {
        if (*at == item) {
            *at = item->next;
            work->active_count--;
            return;
        }
    }
    weir_assert(!"a deferred item that runs is in the list");
}

static void
end_run(weir_work *work, weir_work_item *item)
{
    weir_assert(item->state == WORK_RUNNING && work->running_count > 0);
    work->running_count--;
    if (item->alone)
        work->alone_running = false;
    item->alone = false;
}

/* A lower revision of its document was deferred while it ran: its turn comes again after that one.
 */
static void
queue_behind(weir_work *work, weir_stage *stage, weir_work_item *item)
{
    work_record_clear(item->record);
    item->record->due_ms = 0;
    work_record_put(work, stage, item, false);
}

/* A deferred item's work is over. */
static weir_code
settle_deferred(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    bool is_behind = false;
    const weir_code code = work_is_behind(work, stage, item->row, &is_behind, reterr);

    if (code != WEIR_OK)
        return code;
    WEIR_FP("work.deferred.done");
    if (!is_behind || item->dropped)
        return settle(work, stage, item, reterr);
    queue_behind(work, stage, item);
    return WEIR_OK;
}

weir_code
weir_work_done(weir_work *work, weir_stage *stage, weir_work_item *item, void *payload,
    const weir_error *result, weir_error *reterr)
{
    end_run(work, item);
    item->state = WORK_DONE;
    item->payload = payload;
    item->result = *result;
    if (item->seq != 0)
        return advance(work, stage, reterr);
    unlink_active(work, item);
    const weir_code code = settle_deferred(work, stage, item, reterr);
    work_item_destroy(work, item);
    return code;
}

weir_code
weir_work_abandon(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    (void)reterr;
    weir_assert(weir_stage_is_draining(stage));
    end_run(work, item);
    item->state = WORK_WAITING; /* in the window: not settled, so its sender sends it again */
    if (item->seq != 0)
        return WEIR_OK;
    unlink_active(work, item);
    if (!item->dropped) {
        weir_assert(item->record->at_work_ms != 0);
        item->record->at_work_ms = 0;
        work_record_put(work, stage, item, false);
    }
    work_item_destroy(work, item);
    return WEIR_OK;
}

/* ---- start, end, era, counts ---- */

weir_work *
weir_work_create(const weir_work_ops *ops, void *core, const weir_work_policy *policy,
    weir_link_kind link, uint32_t stage_number)
{
    weir_work *work = weir_alloc_zero(1, sizeof *work);

    weir_assert(policy->in_flight_max > 0 && policy->attempts_max > 0);
    work->ops = *ops;
    work->core = core;
    work->policy = *policy;
    if (work->policy.deferred_bytes_max == 0)
        work->policy.deferred_bytes_max = deferred_bytes_default;
    work->link = link;
    work->stage_number = stage_number;
    work->credit = CREDIT_ROWS_START;
    work->row_bytes = ROW_BYTES_GUESS;
    work->filter = weir_alloc_zero(WORK_FILTER_SLOTS, sizeof *work->filter);
    return work;
}

static void
destroy_list(weir_work *work, weir_work_item *item)
{
    while (item != NULL) {
        weir_work_item *next = item->next;

        work_item_destroy(work, item);
        item = next;
    }
}

void
weir_work_destroy(weir_work **work_p)
{
    weir_work *work = *work_p;

    if (work == NULL)
        return;
    destroy_list(work, work->head);
    destroy_list(work, work->active);
    destroy_list(work, work->alone_next);
    work_due_fini(&work->due);
    weir_free(work->filter);
    weir_free(work);
    *work_p = NULL;
}

void
weir_work_observe(weir_work *work, const weir_work_observer *observer)
{
    work->observer = *observer;
}

weir_code
weir_work_start(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const int64_t now_ms = weir_stage_now_ms(stage);

    work->careful_left = weir_stage_identity(stage)->unclean ? CAREFUL_ROWS : 0;
    work->started_ms = work->round_ms = work->period_began_ms = now_ms;
    weir_stage_set_credit(stage, work->link, work->credit);
    return work_records_load(work, stage, reterr);
}

weir_code
weir_work_on_era(weir_work *work, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    for (weir_work_item *item = work->head; item != NULL; item = item->next)
        if (item->row->era < era)
            item->dropped = true;
    return work_records_drop_older(work, stage, era, reterr);
}

void
weir_work_outage_ended(weir_work *work, weir_stage *stage)
{
    work_due_clip(&work->due, INT64_MAX, weir_stage_now_ms(stage));
}

void
weir_work_counts(const weir_work *work, weir_stage_counts *ret_counts)
{
    *ret_counts = (weir_stage_counts){
        .queued = work->window_count,
        .in_flight = work->running_count,
        .deferred = work->deferred_count,
        .parked = work->parked_count,
        .oldest_ms = work->head != NULL ? work->head->row->handed_over_ms : 0,
    };
    for (const weir_work_item *item = work->active; item != NULL; item = item->next)
        if (ret_counts->oldest_ms == 0 || item->row->handed_over_ms < ret_counts->oldest_ms)
            ret_counts->oldest_ms = item->row->handed_over_ms;
    if (work->deferred_count > 0 && work->oldest_deferred_ms != 0 &&
        (ret_counts->oldest_ms == 0 || work->oldest_deferred_ms < ret_counts->oldest_ms))
        ret_counts->oldest_ms = work->oldest_deferred_ms;
}

const work_row *
weir_work_item_row(const weir_work_item *item)
{
    return item->row;
}

uint32_t
weir_work_item_attempts(const weir_work_item *item)
{
    return item->record->attempt_count;
}

bool
weir_work_item_is_dropped(const weir_work_item *item)
{
    return item->dropped;
}
