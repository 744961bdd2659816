/*
 * work_records.c - the rows that wait in the database, and which of them may go first.
 *
 * A crash at any line leaves whole rounds: a record is written in the round that settles its row
 * and deleted in the round that holds the outputs, so a row is always at its sender, here, or done.
 */
#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/stage/work_internal.h"
#include "common/wire/wire.h"

enum {
    KEY_NUMBERS_BYTES = 24, /* revision, epoch, part */
    WATCH_TIMES = 10,
    WATCHED_WORK_MS_MAX = 6000,
};

static const uint8_t records_lower[] = { 'd' };
static const uint8_t records_upper[] = { 'd' + 1 };

/* ---- keys ---- */

/* Several rows of one epoch may be deferred at once: they are told apart by their first chunk. */
static uint64_t
part_of(const work_row *row)
{
    const bool has_chunks =
        row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS && row->chunks->n_chunks > 0;

    return has_chunks ? row->chunks->chunks[0]->ordinal : 0;
}

static void
append_document(weir_buffer *key, const work_row *row)
{
    weir_buffer_append_u8(key, 'd');
    weir_buffer_append_u64(key, row->collection_no);
    weir_buffer_append(key, row->document_id, strlen(row->document_id) + 1);
}

static weir_bytes
copy_bytes(weir_arena *arena, weir_bytes bytes)
{
    return weir_bytes_of(weir_arena_memdup(arena, bytes.data, bytes.size), bytes.size);
}

static weir_bytes
key_of(weir_arena *arena, const work_row *row)
{
    weir_buffer key = { 0 };

    append_document(&key, row);
    weir_buffer_append_u64(&key, (uint64_t)row->revision);
    weir_buffer_append_u64(&key, (uint64_t)row->epoch);
    weir_buffer_append_u64(&key, part_of(row));
    const weir_bytes copy = copy_bytes(arena, weir_buffer_view(&key));
    weir_buffer_fini(&key);
    return copy;
}

static weir_bytes
key_document(weir_bytes key)
{
    weir_assert(key.size > KEY_NUMBERS_BYTES);
    return weir_bytes_of(key.data, key.size - KEY_NUMBERS_BYTES);
}

static int64_t
key_revision(weir_bytes key)
{
    return (int64_t)weir_load_u64(key.data + key.size - KEY_NUMBERS_BYTES);
}

static int64_t
key_epoch(weir_bytes key)
{
    return (int64_t)weir_load_u64(key.data + key.size - KEY_NUMBERS_BYTES + 8);
}

/* ---- the filter: whether a document may have records, without asking the store ---- */

static uint32_t *
filter_slot(const weir_work *work, weir_bytes document)
{
    return &work->filter[weir_hash64(document, 0) % WORK_FILTER_SLOTS];
}

static bool
may_have_records(const weir_work *work, const work_row *row)
{
    weir_buffer key = { 0 };

    if (work->deferred_count == 0)
        return false;
    append_document(&key, row);
    const bool may = *filter_slot(work, weir_buffer_view(&key)) > 0;
    weir_buffer_fini(&key);
    return may;
}

static void
count_in(weir_work *work, weir_bytes key, uint64_t bytes, bool parked)
{
    ++*filter_slot(work, key_document(key));
    work->deferred_count++;
    work->deferred_bytes += bytes;
    work->parked_count += parked ? 1 : 0;
}

static void
count_out(weir_work *work, weir_bytes key, uint64_t bytes, bool parked)
{
    weir_assert(work->deferred_count > 0 && work->deferred_bytes >= bytes);
    weir_assert(*filter_slot(work, key_document(key)) > 0);
    weir_assert(!parked || work->parked_count > 0);
    --*filter_slot(work, key_document(key));
    work->deferred_count--;
    work->deferred_bytes -= bytes;
    work->parked_count -= parked ? 1 : 0;
}

/* ---- items ---- */

static weir_work_item *
item_of(weir_arena *arena, const ProtobufCMessage *row, weir_bytes packed)
{
    weir_work_item *item = weir_alloc_zero(1, sizeof *item);

    item->arena = arena;
    item->state = WORK_WAITING;
    item->row = (work_row *)(uintptr_t)row;
    item->packed = packed;
    item->key = key_of(arena, item->row);
    item->record = weir_arena_alloc(arena, sizeof *item->record);
    weir__internal__v1__deferred_record__init(item->record);
    return item;
}

static weir_code
decode_row(weir_bytes packed, weir_arena *arena, ProtobufCMessage **ret_row, weir_error *reterr)
{
    return weir_wire_decode(&weir__internal__v1__row__descriptor, packed, NULL, arena, ret_row,
        reterr);
}

weir_code
work_item_create(weir_bytes packed, weir_work_item **ret_item, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *row = NULL;
    const weir_bytes copy = copy_bytes(arena, packed);
    const weir_code code = decode_row(copy, arena, &row, reterr);

    if (code != WEIR_OK)
        weir_arena_destroy(&arena);
    else
        *ret_item = item_of(arena, row, copy);
    return code;
}

static weir_code
decode_record(weir_stage *stage, weir_bytes key, weir_bytes stored, weir_arena *arena,
    work_record **ret_record, ProtobufCMessage **ret_row, weir_error *reterr)
{
    ProtobufCMessage *record = NULL;
    weir_code code = weir_wire_decode(&weir__internal__v1__deferred_record__descriptor, stored,
        NULL, arena, &record, reterr);

    if (code == WEIR_OK) {
        *ret_record = (work_record *)record;
        code = decode_row(weir_bytes_of((*ret_record)->row.data, (*ret_record)->row.len), arena,
            ret_row, reterr);
    }
    return code == WEIR_OK ? WEIR_OK : weir_stage_damaged(stage, key, "DeferredRecord", reterr);
}

weir_code
work_item_load(weir_stage *stage, weir_bytes key, weir_work_item **ret_item, weir_error *reterr)
{
    weir_buffer stored = { 0 };
    work_record *record = NULL;
    ProtobufCMessage *row = NULL;
    bool found = false;
    weir_arena *arena = weir_arena_create(0);
    weir_code code = weir_batch_get(weir_stage_batch(stage), key, &stored, &found, reterr);

    *ret_item = NULL;
    if (code == WEIR_OK && found)
        code = decode_record(stage, key, weir_buffer_view(&stored), arena, &record, &row, reterr);
    weir_buffer_fini(&stored);
    if (code == WEIR_OK && found) {
        *ret_item = item_of(arena, row, weir_bytes_of(record->row.data, record->row.len));
        (*ret_item)->record = record;
    } else {
        weir_arena_destroy(&arena);
    }
    return code;
}

void
work_item_destroy(weir_work *work, weir_work_item *item)
{
    if (item->payload != NULL)
        work->ops.release(work->core, item->payload);
    weir_arena_destroy(&item->arena);
    weir_free(item);
}

bool
work_is_same_document(const work_row *a, const work_row *b)
{
    return a->collection_no == b->collection_no && strcmp(a->document_id, b->document_id) == 0;
}

weir_work_item *
work_find_active(const weir_work *work, weir_bytes key)
{
    if (work->alone_next != NULL && weir_bytes_equal(work->alone_next->key, key))
        return work->alone_next;
    for (weir_work_item *item = work->active; item != NULL; item = item->next)
        if (!item->dropped && weir_bytes_equal(item->key, key))
            return item;
    return NULL;
}

/* ---- records of items ---- */

void
work_record_clear(work_record *record)
{
    record->crash_count = 0;
    record->at_work_ms = 0;
    record->alone = false;
    record->watch_boot = 0;
}

bool
work_record_is_suspect(const work_record *record)
{
    return record->crash_count > 0 || record->alone || record->at_work_ms != 0;
}

bool
work_record_has_open_crash(const work_record *record)
{
    return record->alone && record->at_work_ms != 0;
}

void
work_record_put(weir_work *work, weir_stage *stage, weir_work_item *item, bool is_new)
{
    item->record->link = weir_link_number(work->link, 0, 0);
    item->record->row.data = (uint8_t *)(uintptr_t)item->packed.data;
    item->record->row.len = item->packed.size;
    if (item->record->since_ms == 0)
        item->record->since_ms = weir_stage_now_ms(stage);
    if (is_new)
        count_in(work, item->key, item->packed.size, item->record->parked);
    weir_stage_put(stage, item->key, &item->record->base);
}

void
work_record_remove(weir_work *work, weir_stage *stage, const weir_work_item *item)
{
    count_out(work, item->key, item->packed.size, item->record->parked);
    weir_batch_delete(weir_stage_batch(stage), item->key);
}

void
work_record_plan(weir_work *work, const weir_work_item *item, int64_t due_ms)
{
    work_due_push(&work->due,
        (work_due){ .due_ms = due_ms,
            .record_due_ms = item->record->due_ms,
            .handed_over_ms = item->row->handed_over_ms,
            .parked = item->record->parked,
            .key = item->key });
}

/* ---- records of a document ---- */

static weir_iter *
document_iter(weir_stage *stage, const work_row *row)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };

    append_document(&lower, row);
    append_document(&upper, row);
    upper.data[upper.size - 1] = 1; /* the terminating NUL + 1 */
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), weir_buffer_view(&lower),
        weir_buffer_view(&upper));
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return iter;
}

typedef struct key_list {
    weir_bytes *keys; /* in order, in the round's arena */
    size_t count, capacity;
} key_list;

static void
add_key(key_list *list, weir_arena *arena, weir_bytes key)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        weir_bytes *wider = weir_arena_alloc(arena, capacity * sizeof *wider);

        if (list->count > 0)
            memcpy(wider, list->keys, list->count * sizeof *wider);
        list->keys = wider;
        list->capacity = capacity;
    }
    list->keys[list->count++] = copy_bytes(arena, key);
}

static weir_code
list_document(const weir_work *work, weir_stage *stage, const work_row *row, key_list *ret_list,
    weir_error *reterr)
{
    *ret_list = (key_list){ 0 };
    if (!may_have_records(work, row))
        return WEIR_OK;
    weir_iter *iter = document_iter(stage, row);
    while (weir_iter_next(iter))
        add_key(ret_list, weir_stage_arena(stage), weir_iter_key(iter));
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
work_is_behind(const weir_work *work, weir_stage *stage, const work_row *row, bool *ret_is_behind,
    weir_error *reterr)
{
    *ret_is_behind = false;
    if (!may_have_records(work, row))
        return WEIR_OK;
    weir_iter *iter = document_iter(stage, row);
    if (weir_iter_next(iter))
        *ret_is_behind = key_revision(weir_iter_key(iter)) < row->revision;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* Remove a record whose work is replaced; if it is at work, its result counts for nothing. */
static weir_code
drop_record(weir_work *work, weir_stage *stage, weir_bytes key, weir_error *reterr)
{
    weir_work_item *stored = NULL;
    const weir_code code = work_item_load(stage, key, &stored, reterr);

    if (code != WEIR_OK || stored == NULL)
        return code;
    weir_work_item *running = work_find_active(work, key);
    if (running != NULL)
        running->dropped = true;
    work_record_remove(work, stage, stored);
    work_item_destroy(work, stored);
    return WEIR_OK;
}

static weir_code
drop_replaced(weir_work *work, weir_stage *stage, const work_row *row, const key_list *list,
    size_t *ret_count, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_count = 0;
    for (size_t i = 0; i < list->count && code == WEIR_OK; i++) {
        const int64_t revision = key_revision(list->keys[i]);
        const bool is_older_try =
            revision == row->revision && key_epoch(list->keys[i]) < row->epoch;

        if (revision >= row->deleted_below && !is_older_try)
            continue;
        code = drop_record(work, stage, list->keys[i], reterr);
        ++*ret_count;
    }
    return code;
}

weir_code
work_fence(weir_work *work, weir_stage *stage, const work_row *row, weir_error *reterr)
{
    key_list list;
    size_t dropped = 0;
    weir_code code = list_document(work, stage, row, &list, reterr);

    if (code == WEIR_OK)
        code = drop_replaced(work, stage, row, &list, &dropped, reterr);
    if (code == WEIR_OK && dropped > 0)
        code = work_wake_document(work, stage, row, reterr);
    return code;
}

/* A second entry for a record does no harm: the record says when it is due. */
weir_code
work_wake_document(weir_work *work, weir_stage *stage, const work_row *row, weir_error *reterr)
{
    key_list list;
    const int64_t now_ms = weir_stage_now_ms(stage);
    const weir_code code = list_document(work, stage, row, &list, reterr);

    for (size_t i = 0; code == WEIR_OK && i < list.count; i++) {
        if (key_revision(list.keys[i]) != key_revision(list.keys[0]))
            break;
        work_due_push(&work->due,
            (work_due){ .due_ms = now_ms,
                .record_due_ms = now_ms,
                .handed_over_ms = row->handed_over_ms,
                .key = list.keys[i] });
    }
    return code;
}

/* ---- all records ---- */

/* A process that is killed now and then is killed more likely in a long time than in a short one:
 * so it is watched for several times as long as the work took, as far as that is known. */
static int64_t
watch_ms(const weir_work *work, const work_record *record)
{
    const int64_t took_ms = work->started_ms - record->at_work_ms;
    int64_t wanted_ms =
        WATCH_TIMES * (took_ms < WATCHED_WORK_MS_MAX ? took_ms : WATCHED_WORK_MS_MAX);

    if (work->policy.crash_watch_ms == 0)
        return 0;
    return wanted_ms > work->policy.crash_watch_ms ? wanted_ms : work->policy.crash_watch_ms;
}

typedef struct loading {
    weir_work *work;
    int64_t latest_ms;
    weir_buffer document; /* of the record before */
    int64_t revision;     /* its lowest */
} loading;

static void
load_record(loading *load, weir_bytes key, const work_record *record, const work_row *row)
{
    const weir_bytes document = key_document(key);

    count_in(load->work, key, record->row.len, record->parked);
    if (work_record_has_open_crash(record) && record->watch_boot == 0)
        load->work->watch_until_ms = load->work->started_ms + watch_ms(load->work, record);
    if (!weir_bytes_equal(weir_buffer_view(&load->document), document)) {
        weir_buffer_clear(&load->document);
        weir_buffer_append(&load->document, document.data, document.size);
        load->revision = key_revision(key);
    }
    if (key_revision(key) != load->revision)
        return;
    work_due_push(&load->work->due,
        (work_due){ .due_ms = record->due_ms < load->latest_ms ? record->due_ms : load->latest_ms,
            .record_due_ms = record->due_ms,
            .handed_over_ms = row->handed_over_ms,
            .parked = record->parked,
            .key = key });
}

weir_code
work_records_load(weir_work *work, weir_stage *stage, weir_error *reterr)
{
    /* Due times come from the wall clock, which may have jumped: none is further away than this. */
    loading load = { .work = work,
        .latest_ms = weir_stage_now_ms(stage) + work->policy.backoff_max_ms };
    weir_arena *arena = weir_arena_create(0);
    weir_code code = WEIR_OK;
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL,
        weir_bytes_of(records_lower, 1), weir_bytes_of(records_upper, 1));

    while (code == WEIR_OK && weir_iter_next(iter)) {
        work_record *record = NULL;
        ProtobufCMessage *row = NULL;

        weir_arena_reset(arena);
        code = decode_record(stage, weir_iter_key(iter), weir_iter_value(iter), arena, &record,
            &row, reterr);
        if (code == WEIR_OK)
            load_record(&load, weir_iter_key(iter), record, (const work_row *)row);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&load.document);
    weir_arena_destroy(&arena);
    return code;
}

static weir_code
list_older(weir_stage *stage, uint64_t era, key_list *ret_list, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    weir_code code = WEIR_OK;
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), weir_bytes_of(records_lower, 1),
        weir_bytes_of(records_upper, 1));

    while (code == WEIR_OK && weir_iter_next(iter)) {
        work_record *record = NULL;
        ProtobufCMessage *row = NULL;

        weir_arena_reset(arena);
        code = decode_record(stage, weir_iter_key(iter), weir_iter_value(iter), arena, &record,
            &row, reterr);
        if (code == WEIR_OK && ((const work_row *)row)->era < era)
            add_key(ret_list, weir_stage_arena(stage), weir_iter_key(iter));
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&arena);
    return code;
}

/* Nothing that is left waits behind what goes: a document's later revisions came in no lower era.
 */
weir_code
work_records_drop_older(weir_work *work, weir_stage *stage, uint64_t era, weir_error *reterr)
{
    key_list list = { 0 };
    weir_code code = WEIR_OK;

    if (work->deferred_count > 0)
        code = list_older(stage, era, &list, reterr);
    for (size_t i = 0; i < list.count && code == WEIR_OK; i++)
        code = drop_record(work, stage, list.keys[i], reterr);
    return code;
}
