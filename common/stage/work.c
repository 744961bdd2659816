/*
 * work.c - rows that need a job: the window, retries, deferral.  See work.h for the rules.
 *
 * A crash at any line leaves either the row unsettled at its sender (it comes again), or its DeferredRecord here.  A
 * record's crash_count is raised in the round before its work begins and cleared by the round that takes the result, so
 * what the count says after a start is how many processes ended while this row was at work.  Work with a raised count
 * runs alone, so that a neighbour is never blamed.
 */
#include "common/stage/work.h"

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "common/domain/backoff.h"
#include "common/wire/wire.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__DeferredRecord deferred_record;
typedef Weir__Internal__V1__Failure failure_message;

enum {
    ATTEMPTS_KEPT_MAX = 16,
    CAREFUL_ROWS = 1024,   /* no sender has more than this outstanding: credit_rows_max */
    CREDIT_ROWS_START = 256,
    CREDIT_PERIOD_MS = 1000,
};

typedef enum item_state { ITEM_WAITING = 1, ITEM_RUNNING, ITEM_DONE } item_state;

struct weir_work_item {
    weir_work_item *next; /* in the window, by seq; or among the deferred ones that run */
    uint64_t seq;         /* 0: its row is settled and its record is in the database */
    item_state state;
    bool dropped;         /* its result counts for nothing */
    bool must_defer;      /* into the database before any work, when its turn comes */
    bool is_behind;       /* of a deferred lower revision: not due before that one has left */
    bool alone;           /* runs with nothing beside it */
    int64_t arrived_ms;
    weir_arena *arena;    /* row, record */
    row_message *row;
    weir_bytes packed;
    deferred_record *record; /* attempts so far; its row and link are filled in when it is stored */
    void *payload;
    weir_error result;
};

typedef struct due_entry {
    int64_t due_ms;
    weir_bytes key; /* owned */
} due_entry;

struct weir_work {
    weir_work_ops ops;
    void *core;
    weir_work_policy policy;
    weir_link_kind link;
    uint32_t stage_number;

    weir_work_item *head, *tail;  /* the window, by seq */
    weir_work_item *next_to_start; /* first WAITING item of the window */
    weir_work_item *active;       /* deferred items that run */
    uint64_t window_count, running_count;
    bool alone_running, alone_waiting;

    due_entry *due; /* binary heap by due_ms */
    size_t due_count, due_capacity;
    uint64_t deferred_count, parked_count;
    uint32_t careful_left; /* rows still to be deferred before their first work of this start */
    int64_t started_ms;    /* rows handed over later were never at work in an earlier process */

    uint32_t credit;
    uint32_t settled_in_period;
    bool was_busy;
    int64_t period_began_ms;
};

/* ---- keys and the due heap ---- */

static uint64_t
part_of(const row_message *row)
{
    const bool has_chunks = row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS && row->chunks->n_chunks > 0;

    return has_chunks ? row->chunks->chunks[0]->ordinal : 0;
}

static void
append_document_key(weir_buffer *key, const row_message *row)
{
    weir_buffer_append_u8(key, 'd');
    weir_buffer_append_u64(key, row->collection_no);
    weir_buffer_append(key, row->document_id, strlen(row->document_id) + 1);
}

static weir_bytes
item_key(weir_arena *arena, const row_message *row)
{
    weir_buffer key = { 0 };

    append_document_key(&key, row);
    weir_buffer_append_u64(&key, (uint64_t)row->revision);
    weir_buffer_append_u64(&key, (uint64_t)row->epoch);
    weir_buffer_append_u64(&key, part_of(row));
    const weir_bytes copy = weir_bytes_of(weir_arena_memdup(arena, key.data, key.size), key.size);
    weir_buffer_fini(&key);
    return copy;
}

static int64_t
key_revision(weir_bytes key)
{
    return (int64_t)weir_load_u64(key.data + key.size - 24);
}

static int64_t
key_epoch(weir_bytes key)
{
    return (int64_t)weir_load_u64(key.data + key.size - 16);
}

static void
due_swap(weir_work *work, size_t a, size_t b)
{
    const due_entry held = work->due[a];

    work->due[a] = work->due[b];
    work->due[b] = held;
}

static void
due_push(weir_work *work, int64_t due_ms, weir_bytes key)
{
    if (work->due_count == work->due_capacity) {
        work->due_capacity = work->due_capacity == 0 ? 64 : work->due_capacity * 2;
        work->due = weir_realloc(work->due, work->due_capacity * sizeof *work->due);
    }
    uint8_t *copy = weir_alloc(key.size);
    memcpy(copy, key.data, key.size);
    size_t at = work->due_count++;
    work->due[at] = (due_entry){ .due_ms = due_ms, .key = weir_bytes_of(copy, key.size) };
    for (; at > 0 && work->due[(at - 1) / 2].due_ms > work->due[at].due_ms; at = (at - 1) / 2)
        due_swap(work, at, (at - 1) / 2);
}

/* The caller frees the key. */
static due_entry
due_pop(weir_work *work)
{
    const due_entry top = work->due[0];
    size_t at = 0;

    work->due[0] = work->due[--work->due_count];
    for (;;) {
        size_t least = at;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < work->due_count; child++)
            if (work->due[child].due_ms < work->due[least].due_ms)
                least = child;
        if (least == at)
            return top;
        due_swap(work, at, least);
        at = least;
    }
}

/* ---- items ---- */

static weir_code
item_create(weir_bytes packed, int64_t now_ms, weir_work_item **ret_item, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *row = NULL;
    const weir_bytes copy = weir_bytes_of(weir_arena_memdup(arena, packed.data, packed.size), packed.size);
    const weir_code code =
        weir_wire_decode(&weir__internal__v1__row__descriptor, copy, NULL, arena, &row, reterr);

    if (code != WEIR_OK) {
        weir_arena_destroy(&arena);
        return code;
    }
    weir_work_item *item = weir_alloc_zero(1, sizeof *item);
    item->arena = arena;
    item->state = ITEM_WAITING;
    item->arrived_ms = now_ms;
    item->row = (row_message *)row;
    item->packed = copy;
    item->record = weir_arena_alloc(arena, sizeof *item->record);
    weir__internal__v1__deferred_record__init(item->record);
    *ret_item = item;
    return WEIR_OK;
}

static void
item_destroy(weir_work *work, weir_work_item *item)
{
    if (item->payload != NULL)
        work->ops.release(work->core, item->payload);
    weir_arena_destroy(&item->arena);
    weir_free(item);
}

/* ---- records ---- */

/* Store the item's record as it stands; new: it was not in the database before. */
static void
put_record(weir_work *work, weir_stage *stage, weir_work_item *item, bool is_new)
{
    item->record->link = weir_link_number(work->link, 0, 0);
    item->record->row.data = (uint8_t *)(uintptr_t)item->packed.data;
    item->record->row.len = item->packed.size;
    if (item->record->since_ms == 0)
        item->record->since_ms = weir_stage_now_ms(stage);
    if (is_new)
        work->deferred_count++;
    weir_stage_put(stage, item_key(weir_stage_arena(stage), item->row), &item->record->base);
}

static void
forget_record(weir_work *work, weir_stage *stage, weir_bytes key, bool parked)
{
    weir_assert(work->deferred_count > 0);
    work->deferred_count--;
    if (parked && work->parked_count > 0)
        work->parked_count--;
    weir_batch_delete(weir_stage_batch(stage), key);
}

/* Range of the records of the row's document, in the round's arena. */
static void
document_range(weir_stage *stage, const row_message *row, weir_bytes *lower, weir_bytes *upper)
{
    weir_buffer key = { 0 };

    append_document_key(&key, row);
    uint8_t *low = weir_arena_memdup(weir_stage_arena(stage), key.data, key.size);
    uint8_t *high = weir_arena_memdup(weir_stage_arena(stage), key.data, key.size);
    high[key.size - 1] = 1; /* the terminating NUL + 1 */
    *lower = weir_bytes_of(low, key.size);
    *upper = weir_bytes_of(high, key.size);
    weir_buffer_fini(&key);
}

/* Keys of a document's records, in order, in the round's arena. */
static weir_code
list_records(weir_stage *stage, const row_message *row, weir_bytes **ret_keys, size_t *ret_count, weir_error *reterr)
{
    weir_bytes lower;
    weir_bytes upper;
    size_t count = 0;
    size_t capacity = 16;
    weir_bytes *keys = weir_arena_alloc(weir_stage_arena(stage), capacity * sizeof *keys);

    document_range(stage, row, &lower, &upper);
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), lower, upper);
    while (weir_iter_next(iter)) {
        if (count == capacity) {
            weir_bytes *more = weir_arena_alloc(weir_stage_arena(stage), 2 * capacity * sizeof *keys);
            memcpy(more, keys, count * sizeof *keys);
            keys = more;
            capacity *= 2;
        }
        const weir_bytes key = weir_iter_key(iter);
        keys[count++] = weir_bytes_of(weir_arena_memdup(weir_stage_arena(stage), key.data, key.size), key.size);
    }
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    *ret_keys = keys;
    *ret_count = count;
    return code;
}

static weir_work_item *
find_active(const weir_work *work, weir_stage *stage, weir_bytes key)
{
    for (weir_work_item *item = work->active; item != NULL; item = item->next)
        if (weir_bytes_equal(item_key(weir_stage_arena(stage), item->row), key))
            return item;
    return NULL;
}

static weir_code
drop_record(weir_work *work, weir_stage *stage, weir_bytes key, weir_error *reterr)
{
    deferred_record *record = NULL;
    const weir_code code =
        weir_stage_get(stage, key, &weir__internal__v1__deferred_record__descriptor, &record, reterr);

    if (code != WEIR_OK || record == NULL)
        return code;
    weir_work_item *running = find_active(work, stage, key);
    if (running != NULL)
        running->dropped = true;
    forget_record(work, stage, key, record->parked);
    return WEIR_OK;
}

/* A higher epoch of the same revision, or a tombstone above it, removes older deferred work; *ret_is_behind: deferred work
 * of a lower revision is left, so this row must queue behind it. */
static weir_code
fence_deferred(weir_work *work, weir_stage *stage, const row_message *row, bool *ret_is_behind, weir_error *reterr)
{
    weir_bytes *keys = NULL;
    size_t count = 0;

    *ret_is_behind = false;
    if (work->deferred_count == 0)
        return WEIR_OK;
    weir_code code = list_records(stage, row, &keys, &count, reterr);
    for (size_t i = 0; i < count && code == WEIR_OK; i++) {
        const int64_t revision = key_revision(keys[i]);
        const bool is_older_epoch = revision == row->revision && key_epoch(keys[i]) < row->epoch;

        if (revision < row->deleted_below || is_older_epoch)
            code = drop_record(work, stage, keys[i], reterr);
        else if (revision < row->revision)
            *ret_is_behind = true;
    }
    return code;
}

/* The lowest revision left of a document may be worked on: make its records due. */
static weir_code
wake_document(weir_work *work, weir_stage *stage, const row_message *row, weir_error *reterr)
{
    weir_bytes *keys = NULL;
    size_t count = 0;

    if (work->deferred_count == 0)
        return WEIR_OK;
    const weir_code code = list_records(stage, row, &keys, &count, reterr);
    if (code != WEIR_OK || count == 0 || key_revision(keys[0]) == row->revision)
        return code;
    for (size_t i = 0; i < count && key_revision(keys[i]) == key_revision(keys[0]); i++)
        due_push(work, weir_stage_now_ms(stage), keys[i]);
    return WEIR_OK;
}

/* ---- fates ---- */

static void
copy_attempts(weir_arena *arena, const failure_message *old, failure_message *failure)
{
    const size_t kept = old == NULL ? 0 : old->n_attempts < ATTEMPTS_KEPT_MAX ? old->n_attempts : ATTEMPTS_KEPT_MAX - 1;
    const size_t skipped = old == NULL ? 0 : old->n_attempts - kept;

    failure->attempts = weir_arena_alloc(arena, (kept + 1) * sizeof(failure->attempts[0]));
    for (size_t i = 0; i < kept; i++)
        failure->attempts[i] = old->attempts[skipped + i];
    Weir__Internal__V1__Attempt *attempt = weir_arena_alloc(arena, sizeof *attempt);
    weir__internal__v1__attempt__init(attempt);
    attempt->stage = failure->stage;
    attempt->code = failure->code;
    attempt->message = failure->message;
    attempt->time_ms = failure->time_ms;
    failure->attempts[kept] = attempt;
    failure->n_attempts = kept + 1;
}

static void
record_failure(weir_work *work, weir_stage *stage, weir_work_item *item, const weir_error *result)
{
    failure_message *failure = weir_arena_alloc(item->arena, sizeof *failure);

    weir__internal__v1__failure__init(failure);
    failure->stage = work->stage_number;
    failure->code = (uint32_t)result->code;
    failure->message = weir_arena_strdup(item->arena, result->message);
    failure->attempt_count = item->record->attempt_count;
    failure->retryable = weir_code_outcome(result->code) != WEIR_OUTCOME_FAILED;
    failure->time_ms = weir_stage_now_ms(stage);
    copy_attempts(item->arena, item->record->failure, failure);
    item->record->failure = failure;
}

static void
tell(weir_work *work, weir_stage *stage, const weir_work_item *item, Weir__Internal__V1__LifecycleKind kind)
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
    event.due_ms = item->record->due_ms;
    event.stage = work->stage_number;
    weir_stage_event(stage, &event);
}

/* Leave the database, if it was there; the next revision of the document may go on. */
static weir_code
leave(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    if (item->seq != 0)
        return WEIR_OK;
    forget_record(work, stage, item_key(weir_stage_arena(stage), item->row), item->record->parked);
    return wake_document(work, stage, item->row, reterr);
}

static void
defer(weir_work *work, weir_stage *stage, weir_work_item *item, bool parked)
{
    const uint32_t wait_ms = weir_backoff_ms(item->record->attempt_count > 0 ? item->record->attempt_count - 1 : 0,
        work->policy.backoff_base_ms, work->policy.backoff_max_ms, weir_stage_random(stage));

    item->record->due_ms = weir_stage_now_ms(stage) + wait_ms;
    item->record->crash_count = 0;
    if (parked && !item->record->parked)
        work->parked_count++;
    else if (!parked && item->record->parked && work->parked_count > 0)
        work->parked_count--;
    item->record->parked = parked;
    put_record(work, stage, item, item->seq != 0);
    due_push(work, item->record->due_ms, item_key(weir_stage_arena(stage), item->row));
    tell(work, stage, item, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED);
}

static weir_code
give_up(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    tell(work, stage, item, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED);
    return leave(work, stage, item, reterr);
}

/* The one place where a result becomes a fate: whatever happened, the item's fate is in this round. */
static weir_code
weir_work_settle(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    const weir_outcome outcome = weir_code_outcome(item->result.code);

    if (item->dropped)
        return WEIR_OK;
    if (outcome == WEIR_OUTCOME_DONE) {
        const weir_code code = work->ops.emit(work->core, stage, item, item->payload, reterr);
        return code != WEIR_OK ? code : leave(work, stage, item, reterr);
    }
    if (outcome != WEIR_OUTCOME_WAIT)
        item->record->attempt_count++;
    record_failure(work, stage, item, &item->result);
    if (outcome == WEIR_OUTCOME_WAIT) {
        defer(work, stage, item, true);
        return WEIR_OK;
    }
    if (outcome == WEIR_OUTCOME_RETRY && item->record->attempt_count < work->policy.attempts_max) {
        defer(work, stage, item, false);
        return WEIR_OK;
    }
    return give_up(work, stage, item, reterr);
}

/* ---- starting work ---- */

static weir_code
begin_item(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    item->state = ITEM_RUNNING;
    work->running_count++;
    if (item->alone)
        work->alone_running = true;
    return work->ops.start(work->core, stage, item, reterr);
}

static bool
may_start(const weir_work *work)
{
    return !work->alone_running && work->running_count < work->policy.in_flight_max;
}

static weir_code
start_window(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    while (work->next_to_start != NULL && may_start(work) && !work->alone_waiting && code == WEIR_OK) {
        weir_work_item *item = work->next_to_start;

        work->next_to_start = item->next;
        if (!item->must_defer)
            code = begin_item(work, stage, item, reterr);
    }
    return code;
}

static weir_code
quarantine(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    weir_error killed;

    weir_error_set(&killed, WEIR_WORKER_KILLED,
        "the process ended %u times while it worked on this document; it is set aside so that others go on",
        item->record->crash_count);
    item->record->attempt_count++;
    record_failure(work, stage, item, &killed);
    const weir_code code = give_up(work, stage, item, reterr);
    item_destroy(work, item);
    return code;
}

/* Begin deferred work; its crash count is raised in this round, so before the work begins. */
static weir_code
begin_deferred(weir_work *work, weir_stage *stage, weir_work_item *item, weir_error *reterr)
{
    if (item->record->crash_count >= work->policy.crashes_max)
        return quarantine(work, stage, item, reterr);
    item->alone = item->record->crash_count > 0;
    item->record->crash_count++;
    put_record(work, stage, item, false);
    item->next = work->active;
    work->active = item;
    return begin_item(work, stage, item, reterr);
}

static weir_code
load_deferred(weir_stage *stage, weir_bytes key, weir_work_item **ret_item, weir_error *reterr)
{
    deferred_record *stored = NULL;
    ProtobufCMessage *record = NULL;
    weir_buffer bytes = { 0 };
    bool found = false;
    weir_code code = weir_stage_get(stage, key, &weir__internal__v1__deferred_record__descriptor, &stored, reterr);

    *ret_item = NULL;
    if (code != WEIR_OK || stored == NULL)
        return code;
    code = item_create(weir_bytes_of(stored->row.data, stored->row.len), weir_stage_now_ms(stage), ret_item, reterr);
    if (code != WEIR_OK)
        return code;
    code = weir_batch_get(weir_stage_batch(stage), key, &bytes, &found, reterr);
    if (code == WEIR_OK && found)
        code = weir_wire_decode(&weir__internal__v1__deferred_record__descriptor, weir_buffer_view(&bytes), NULL,
            (*ret_item)->arena, &record, reterr);
    weir_buffer_fini(&bytes);
    if (code == WEIR_OK && record != NULL)
        (*ret_item)->record = (deferred_record *)record;
    return code;
}

/* Work that must run alone waits until nothing else runs; it goes back to the heap for a moment. */
static weir_code
start_due(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const int64_t now_ms = weir_stage_now_ms(stage);
    weir_code code = WEIR_OK;

    work->alone_waiting = false;
    while (work->due_count > 0 && work->due[0].due_ms <= now_ms && may_start(work) && code == WEIR_OK) {
        due_entry entry = due_pop(work);
        weir_work_item *item = NULL;

        if (find_active(work, stage, entry.key) == NULL)
            code = load_deferred(stage, entry.key, &item, reterr);
        if (code == WEIR_OK && item != NULL && item->record->due_ms > now_ms) {
            item_destroy(work, item); /* a newer entry of the heap stands for it */
        } else if (code == WEIR_OK && item != NULL && item->record->crash_count > 0 && work->running_count > 0) {
            item_destroy(work, item);
            due_push(work, now_ms, entry.key);
            weir_free((void *)(uintptr_t)entry.key.data);
            work->alone_waiting = true;
            return WEIR_OK;
        } else if (code == WEIR_OK && item != NULL) {
            code = begin_deferred(work, stage, item, reterr);
        }
        weir_free((void *)(uintptr_t)entry.key.data);
    }
    return code;
}

/* ---- the window ---- */

static void
pop_head(weir_work *work, weir_stage *stage)
{
    weir_work_item *item = work->head;

    work->head = item->next;
    if (work->head == NULL)
        work->tail = NULL;
    if (work->next_to_start == item)
        work->next_to_start = item->next;
    work->window_count--;
    work->settled_in_period++;
    weir_stage_settle(stage, work->link, item->seq);
}

/* The head keeps others waiting: its row goes into the database; a job that runs goes on. */
static void
defer_head(weir_work *work, weir_stage *stage)
{
    weir_work_item *item = work->head;

    pop_head(work, stage);
    item->record->crash_count = item->state == ITEM_RUNNING ? 1 : 0;
    item->record->due_ms = weir_stage_now_ms(stage);
    put_record(work, stage, item, true);
    item->seq = 0;
    if (item->state == ITEM_RUNNING) {
        item->next = work->active;
        work->active = item;
        return;
    }
    if (!item->is_behind)
        due_push(work, item->record->due_ms, item_key(weir_stage_arena(stage), item->row));
    item_destroy(work, item);
}

static weir_code
advance(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const int64_t patience_ms = work->policy.defer_after_ms;
    weir_code code = WEIR_OK;

    while (work->head != NULL && code == WEIR_OK) {
        weir_work_item *item = work->head;

        if (item->state != ITEM_DONE) {
            if (!item->must_defer && weir_stage_now_ms(stage) - item->arrived_ms < patience_ms)
                break;
            defer_head(work, stage);
            continue;
        }
        code = weir_work_settle(work, stage, item, reterr);
        if (code == WEIR_OK) {
            pop_head(work, stage);
            item_destroy(work, item);
        }
    }
    return code;
}

static void
adapt_credit(weir_work *work, weir_stage *stage)
{
    const int64_t now_ms = weir_stage_now_ms(stage);

    if (work->window_count + CREDIT_PERIOD_MS / 100 >= work->credit)
        work->was_busy = true;
    if (now_ms - work->period_began_ms < CREDIT_PERIOD_MS)
        return;
    if (work->was_busy) {
        work->credit = work->settled_in_period + work->settled_in_period / 4;
        if (work->credit < 8)
            work->credit = 8;
        weir_stage_set_credit(stage, work->link, work->credit);
    }
    work->was_busy = false;
    work->settled_in_period = 0;
    work->period_began_ms = now_ms;
}

static void
wish_to_wake(weir_work *work, weir_stage *stage)
{
    if (work->head != NULL)
        weir_stage_wake_at(stage, work->head->arrived_ms + work->policy.defer_after_ms);
    if (work->due_count > 0 && may_start(work)) {
        const int64_t soon_ms = weir_stage_now_ms(stage) + 10;
        weir_stage_wake_at(stage, work->due[0].due_ms > soon_ms ? work->due[0].due_ms : soon_ms);
    }
}

weir_code
weir_work_on_wake(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    weir_stage_counts counts;
    weir_code code = advance(work, stage, reterr);

    if (code == WEIR_OK)
        code = start_due(work, stage, reterr);
    if (code == WEIR_OK)
        code = start_window(work, stage, reterr);
    adapt_credit(work, stage);
    wish_to_wake(work, stage);
    weir_work_counts(work, &counts);
    weir_stage_set_counts(stage, &counts);
    return code;
}

/* ---- rows and results ---- */

static void
append_item(weir_work *work, weir_work_item *item, uint64_t seq)
{
    item->seq = seq;
    if (work->tail != NULL)
        work->tail->next = item;
    else
        work->head = item;
    work->tail = item;
    if (work->next_to_start == NULL)
        work->next_to_start = item;
    work->window_count++;
}

/* The first window after an unclean start: such a row may have been at work when the last process ended. */
static bool
take_careful(weir_work *work, const row_message *row)
{
    if (work->careful_left == 0 || row->handed_over_ms > work->started_ms)
        return false;
    work->careful_left--;
    return true;
}

weir_code
weir_work_on_row(weir_work *work, weir_stage *stage, uint64_t seq, const row_message *row, weir_bytes packed,
    weir_error *reterr)
{
    weir_work_item *item = NULL;
    bool is_behind = false;
    weir_code code = fence_deferred(work, stage, row, &is_behind, reterr);

    if (code == WEIR_OK)
        code = item_create(packed, weir_stage_now_ms(stage), &item, reterr);
    if (code != WEIR_OK)
        return code;
    item->is_behind = is_behind;
    item->must_defer = take_careful(work, row) || is_behind;
    append_item(work, item, seq);
    return advance(work, stage, reterr);
}

static void
unlink_active(weir_work *work, weir_work_item *item)
{
    for (weir_work_item **at = &work->active; *at != NULL; at = &(*at)->next) {
        if (*at == item) {
            *at = item->next;
            return;
        }
    }
    weir_assert(!"a deferred item that runs is in the list");
}

weir_code
weir_work_done(weir_work *work, weir_stage *stage, weir_work_item *item, void *payload, const weir_error *result,
    weir_error *reterr)
{
    weir_assert(item->state == ITEM_RUNNING);
    item->state = ITEM_DONE;
    item->payload = payload;
    item->result = *result;
    work->running_count--;
    if (item->alone)
        work->alone_running = false;
    if (item->seq != 0)
        return advance(work, stage, reterr);
    unlink_active(work, item);
    const weir_code code = weir_work_settle(work, stage, item, reterr);
    item_destroy(work, item);
    return code;
}

/* ---- start, era, counts ---- */

static weir_code
load_records(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    const uint8_t lower[] = { 'd' };
    const uint8_t upper[] = { 'd' + 1 };
    weir_buffer document = { 0 };
    int64_t revision = 0;
    weir_code code = WEIR_OK;
    weir_iter *iter =
        weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));

    while (code == WEIR_OK && weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);
        const weir_bytes name = weir_bytes_of(key.data, key.size - 24);
        ProtobufCMessage *record = NULL;

        code = weir_wire_decode(&weir__internal__v1__deferred_record__descriptor, weir_iter_value(iter), NULL,
            weir_stage_arena(stage), &record, reterr);
        if (code != WEIR_OK)
            break;
        work->deferred_count++;
        work->parked_count += ((deferred_record *)record)->parked ? 1 : 0;
        const bool is_same_document = weir_bytes_equal(weir_buffer_view(&document), name);
        if (!is_same_document) {
            weir_buffer_clear(&document);
            weir_buffer_append(&document, name.data, name.size);
            revision = key_revision(key);
        }
        /* Due times come from the wall clock, which may have jumped: none is further away than the longest backoff. */
        const int64_t latest_ms = weir_stage_now_ms(stage) + work->policy.backoff_max_ms;
        const int64_t due_ms = ((deferred_record *)record)->due_ms;
        if (key_revision(key) == revision)
            due_push(work, due_ms < latest_ms ? due_ms : latest_ms, key);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&document);
    return code;
}

weir_work *
weir_work_create(const weir_work_ops *ops, void *core, const weir_work_policy *policy, weir_link_kind link,
    uint32_t stage_number)
{
    weir_work *work = weir_alloc_zero(1, sizeof *work);

    weir_assert(policy->in_flight_max > 0 && policy->attempts_max > 0);
    work->ops = *ops;
    work->core = core;
    work->policy = *policy;
    work->link = link;
    work->stage_number = stage_number;
    work->credit = CREDIT_ROWS_START;
    return work;
}

void
weir_work_destroy(weir_work **work_p)
{
    weir_work *work = *work_p;

    if (work == NULL)
        return;
    for (weir_work_item *lists[] = { work->head, work->active }, **at = lists; at < lists + 2; at++) {
        for (weir_work_item *item = *at; item != NULL;) {
            weir_work_item *next = item->next;
            item_destroy(work, item);
            item = next;
        }
    }
    while (work->due_count > 0)
        weir_free((void *)(uintptr_t)due_pop(work).key.data);
    weir_free(work->due);
    weir_free(work);
    *work_p = NULL;
}

weir_code
weir_work_start(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    work->careful_left = weir_stage_identity(stage)->unclean ? CAREFUL_ROWS : 0;
    work->started_ms = weir_stage_now_ms(stage);
    work->period_began_ms = weir_stage_now_ms(stage);
    weir_stage_set_credit(stage, work->link, work->credit);
    weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    return load_records(work, stage, reterr);
}

static weir_code
drop_old_records(weir_work *work, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    const uint8_t lower[] = { 'd' };
    const uint8_t upper[] = { 'd' + 1 };
    weir_code code = WEIR_OK;
    weir_iter *iter =
        weir_store_iter(weir_stage_store(stage), NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));

    while (code == WEIR_OK && weir_iter_next(iter)) {
        weir_work_item *item = NULL;
        const weir_bytes key = weir_iter_key(iter);

        code = load_deferred(stage, key, &item, reterr);
        if (code == WEIR_OK && item != NULL && item->row->era < era)
            code = drop_record(work, stage, key, reterr);
        if (item != NULL)
            item_destroy(work, item);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
weir_work_on_era(weir_work *work, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    for (weir_work_item *item = work->head; item != NULL; item = item->next)
        if (item->row->era < era)
            item->dropped = true;
    return work->deferred_count == 0 ? WEIR_OK : drop_old_records(work, stage, era, reterr);
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
}

const row_message *
weir_work_item_row(const weir_work_item *item)
{
    return item->row;
}

uint32_t
weir_work_item_attempts(const weir_work_item *item)
{
    return item->record->attempt_count;
}
