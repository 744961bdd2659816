/*
 * dispatch.c - R10: backlog before outbox.
 *
 * An accepted revision goes straight into the outbox when nobody waits and ingest has credit;
 * otherwise its entry waits in the backlog and is moved within credit, tenants in turn by their
 * weights, re-drives last.  A crash between leaves the entry: it is moved by the next start.
 *
 * Entries of one round share pages that never change; a position says which entries of the first
 * page have been moved, and the page is deleted with its last entry.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/base/weights.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum { DISPATCH_PER_ROUND_MAX = 512 };

static weir_code
send_document(weir_stage *stage, const revision_id *id, const revision_record *revision,
    weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;

    WEIR_FP_RETURN("gateway.dispatch.before", reterr);
    document.spec = id->collection->record->spec;
    document.by_reference = revision->size_bytes > WEIR_INLINE_BODY_BYTES_MAX;
    document.size_bytes = revision->size_bytes;
    document.content_sha256 = revision->content_sha256;
    document.media_type = revision->media_type;
    document.filename = revision->filename;
    document.n_metadata = revision->n_metadata;
    document.metadata = revision->metadata;
    row.tenant = id->collection->record->tenant;
    row.collection_no = id->collection->record->collection_no;
    row.document_id = (char *)(uintptr_t)id->document_id;
    row.revision = id->revision;
    row.epoch = revision->epoch;
    row.deleted_below = id->document->deleted_below;
    row.traceparent = revision->traceparent;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    return weir_stage_send(stage, WEIR_LINK_GATEWAY_INGEST, &row, NULL, reterr);
}

/* ---- the backlog ---- */

static backlog_queue *
find_queue(gateway_core *core, uint8_t lane, const char *tenant)
{
    for (backlog_queue *queue = core->queues; queue != NULL; queue = queue->next)
        if (queue->lane == lane && strcmp(queue->tenant, tenant) == 0)
            return queue;
    backlog_queue *queue = weir_alloc_zero(1, sizeof *queue);
    queue->lane = lane;
    queue->tenant = weir_strdup(tenant);
    queue->weight = weir_weights_of(core->tenant_weights, tenant);
    queue->arena = weir_arena_create(0);
    queue->next = core->queues;
    core->queues = queue;
    return queue;
}

static void
put_added(gateway_core *core, weir_stage *stage, backlog_queue *queue)
{
    backlog_page page = WEIR__INTERNAL__V1__BACKLOG_PAGE_RECORD__INIT;

    page.n_entries = queue->added_count;
    page.entries = queue->added;
    weir_stage_put(stage,
        gateway_key_backlog(&core->key, queue->lane, queue->tenant, queue->added_no), &page.base);
    queue->added = NULL;
    queue->added_count = 0;
}

void
gateway_put_backlog(gateway_core *core, weir_stage *stage)
{
    for (backlog_queue *queue = core->queues; queue != NULL; queue = queue->next)
        if (queue->added_count > 0)
            put_added(core, stage, queue);
}

static void
begin_page(gateway_core *core, weir_stage *stage, backlog_queue *queue)
{
    queue->added =
        weir_arena_alloc(weir_stage_arena(stage), ENTRIES_PER_PAGE * sizeof queue->added[0]);
    queue->added_no = core->suite.next_backlog_no;
    core->suite.next_backlog_no += ENTRIES_PER_PAGE; /* other queues may add in between */
    core->suite_changed = true;
    if (queue->count == 0) {
        queue->next_no = queue->page_no = queue->added_no;
        queue->page = NULL;
    }
}

static void
enqueue(gateway_core *core, weir_stage *stage, const revision_id *id,
    const revision_record *revision, uint8_t lane)
{
    weir_arena *arena = weir_stage_arena(stage);
    backlog_queue *queue = find_queue(core, lane, id->collection->record->tenant);
    backlog_entry *entry = weir_arena_alloc(arena, sizeof *entry);

    weir__internal__v1__backlog_record__init(entry);
    entry->collection_no = id->collection->record->collection_no;
    entry->document_id = weir_arena_strdup(arena, id->document_id);
    entry->revision = id->revision;
    entry->epoch = revision->epoch;
    entry->redrive = lane == GATEWAY_LANE_REDRIVE;
    if (queue->added_count == 0)
        begin_page(core, stage, queue);
    queue->added[queue->added_count++] = entry;
    queue->count++;
    core->backlog_count++;
    if (queue->added_count == ENTRIES_PER_PAGE)
        put_added(core, stage, queue);
}

/* Revisions that may be handed to ingest now. */
static uint64_t
room_for(const gateway_core *core, const weir_stage *stage)
{
    const uint64_t room = weir_stage_room(stage, WEIR_LINK_GATEWAY_INGEST);
    const uint64_t max = core->config.in_flight_max;

    if (max == 0)
        return room;
    if (core->processing_total >= max)
        return 0;
    return max - core->processing_total < room ? max - core->processing_total : room;
}

weir_code
gateway_hand_over(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint8_t lane, weir_error *reterr)
{
    if (core->backlog_count > 0 || lane != GATEWAY_LANE_NEW || room_for(core, stage) == 0) {
        enqueue(core, stage, id, revision, lane);
        return gateway_set_state(core, stage, id, revision, DOCUMENT_STATE(PENDING), reterr);
    }
    revision->stage = STAGE_NUMBER(CHUNK);
    const weir_code code = send_document(stage, id, revision, reterr);
    return code != WEIR_OK
        ? code
        : gateway_set_state(core, stage, id, revision, DOCUMENT_STATE(PROCESSING), reterr);
}

/* An entry whose revision is over, or was raised meanwhile, has nothing to do. */
static weir_code
dispatch_entry(gateway_core *core, weir_stage *stage, const backlog_entry *entry,
    weir_error *reterr)
{
    revision_id id = { .collection = gateway_find_collection_no(core, entry->collection_no),
        .document_id = entry->document_id,
        .revision = entry->revision };
    revision_record *revision = NULL;
    weir_code code = WEIR_OK;

    weir_assert(id.collection != NULL);
    code = gateway_get_both(core, stage, &id, &revision, reterr);
    if (code != WEIR_OK || revision == NULL)
        return code;
    if (revision->epoch != entry->epoch || revision->state != DOCUMENT_STATE(PENDING))
        return WEIR_OK;
    revision->stage = STAGE_NUMBER(CHUNK);
    code = send_document(stage, &id, revision, reterr);
    return code != WEIR_OK
        ? code
        : gateway_set_state(core, stage, &id, revision, DOCUMENT_STATE(PROCESSING), reterr);
}

static weir_code
decode_page(weir_stage *stage, const weir_iter *iter, weir_arena *arena, backlog_page **ret_page,
    weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__backlog_page_record__descriptor,
        weir_iter_value(iter), NULL, arena, &message, reterr);

    *ret_page = (backlog_page *)message;
    if (code != WEIR_OK || (*ret_page)->n_entries == 0)
        return weir_stage_damaged(stage, weir_iter_key(iter), "BacklogPageRecord", reterr);
    return WEIR_OK;
}

/* The page that queue->next_no is in, or the first one behind it: then that is where the queue
 * goes on. */
static weir_code
read_page(gateway_core *core, weir_stage *stage, backlog_queue *queue, weir_error *reterr)
{
    weir_buffer upper = { 0 };
    const uint64_t from_no = queue->page != NULL ? queue->page_no + 1 : queue->page_no;
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage),
        gateway_key_backlog(&core->key, queue->lane, queue->tenant, from_no),
        gateway_key_backlog(&upper, queue->lane, queue->tenant, UINT64_MAX));
    const bool is_there = weir_iter_next(iter);
    weir_code code = is_there ? WEIR_OK : weir_iter_status(iter, reterr);

    weir_assert(code != WEIR_OK || is_there);
    weir_arena_reset(queue->arena);
    if (code == WEIR_OK)
        code = decode_page(stage, iter, queue->arena, &queue->page, reterr);
    if (code == WEIR_OK) {
        const weir_bytes key = weir_iter_key(iter);

        queue->page_no = weir_load_u64(key.data + key.size - 8);
        if (queue->next_no < queue->page_no)
            queue->next_no = queue->page_no;
    }
    weir_iter_destroy(&iter);
    weir_buffer_fini(&upper);
    return code;
}

static bool
page_is_done(const backlog_queue *queue)
{
    return queue->page == NULL || queue->next_no - queue->page_no >= queue->page->n_entries;
}

/* Its place in the store: the page goes with its last entry, before that a position tells it. */
static void
put_position(gateway_core *core, weir_stage *stage, const backlog_queue *queue)
{
    Weir__Internal__V1__BacklogPositionRecord position =
        WEIR__INTERNAL__V1__BACKLOG_POSITION_RECORD__INIT;

    position.next_no = queue->next_no;
    if (!page_is_done(queue))
        weir_stage_put(stage, gateway_key_backlog_position(&core->key, queue->lane, queue->tenant),
            &position.base);
}

/* Move the first entry of a queue that has one. */
static weir_code
dispatch_next(gateway_core *core, weir_stage *stage, backlog_queue *queue, weir_error *reterr)
{
    weir_code code = page_is_done(queue) ? read_page(core, stage, queue, reterr) : WEIR_OK;

    if (code != WEIR_OK)
        return code;
    const backlog_entry *entry = queue->page->entries[queue->next_no - queue->page_no];
    queue->has_moved = true;
    queue->next_no++;
    queue->count--;
    core->backlog_count--;
    if (page_is_done(queue))
        weir_batch_delete(weir_stage_batch(stage),
            gateway_key_backlog(&core->key, queue->lane, queue->tenant, queue->page_no));
    return dispatch_entry(core, stage, entry, reterr);
}

/* Entries that its weight gives a queue in a turn; a turn in which the room or *left ended is gone
 * on with. */
static weir_code
take_turn(gateway_core *core, weir_stage *stage, backlog_queue *queue, uint32_t *left,
    weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (queue->turn_left == 0)
        queue->turn_left = queue->weight;
    while (code == WEIR_OK && queue->turn_left > 0 && queue->count > 0 && *left > 0 &&
        room_for(core, stage) > 0) {
        code = dispatch_next(core, stage, queue, reterr);
        queue->turn_left--;
        (*left)--;
    }
    if (queue->count == 0)
        queue->turn_left = 0;
    return code;
}

static void
put_positions(gateway_core *core, weir_stage *stage)
{
    for (backlog_queue *queue = core->queues; queue != NULL; queue = queue->next) {
        if (queue->has_moved)
            put_position(core, stage, queue);
        queue->has_moved = false;
    }
}

static uint64_t
waiting_queues(const gateway_core *core, uint8_t lane)
{
    uint64_t count = 0;

    for (const backlog_queue *queue = core->queues; queue != NULL; queue = queue->next)
        count += queue->lane == lane && queue->count > 0;
    return count;
}

/*
 * Deficit round robin with entries of cost 1 (Shreedhar and Varghese, 1996): over any time in which
 * two tenants wait, what they move is as their weights, and nobody waits for more than one turn of
 * each other.
 */
static weir_code
dispatch_lane(gateway_core *core, weir_stage *stage, uint8_t lane, weir_error *reterr)
{
    uint64_t waiting = waiting_queues(core, lane);
    uint32_t left = DISPATCH_PER_ROUND_MAX;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && waiting > 0) {
        backlog_queue *queue = core->turn != NULL ? core->turn : core->queues;

        core->turn = queue;
        if (queue->lane == lane && queue->count > 0) {
            code = take_turn(core, stage, queue, &left, reterr);
            waiting -= queue->count == 0;
            if (queue->turn_left > 0)
                break;
        }
        core->turn = queue->next;
    }
    put_positions(core, stage);
    return code;
}

weir_code
gateway_dispatch(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    if (core->backlog_count == 0)
        return WEIR_OK;
    weir_code code = dispatch_lane(core, stage, GATEWAY_LANE_NEW, reterr);
    if (code == WEIR_OK && waiting_queues(core, GATEWAY_LANE_NEW) == 0)
        code = dispatch_lane(core, stage, GATEWAY_LANE_REDRIVE, reterr);
    if (core->backlog_count > 0 && room_for(core, stage) > 0)
        weir_stage_wake_at(stage, weir_stage_now_ms(stage) + 1);
    return code;
}

void
gateway_report_counts(const gateway_core *core, weir_stage *stage)
{
    const weir_stage_counts counts = { .queued = core->backlog_count,
        .oldest_ms = core->backlog_count > 0 ? core->load.oldest_since_ms : 0 };

    weir_stage_set_counts(stage, &counts);
}

static weir_code
load_position(gateway_core *core, weir_stage *stage, backlog_queue *queue, weir_error *reterr)
{
    Weir__Internal__V1__BacklogPositionRecord *position = NULL;
    const weir_code code =
        weir_stage_get(stage, gateway_key_backlog_position(&core->key, queue->lane, queue->tenant),
            &weir__internal__v1__backlog_position_record__descriptor, &position, reterr);

    if (code == WEIR_OK && position != NULL && position->next_no > queue->next_no)
        queue->next_no = position->next_no;
    return code;
}

/* Pages come in the order of their numbers: a position can be inside the first one only. */
static weir_code
load_page(gateway_core *core, weir_stage *stage, const weir_iter *iter, weir_arena *arena,
    weir_error *reterr)
{
    const weir_bytes key = weir_iter_key(iter);
    backlog_queue *queue = find_queue(core, key.data[1], (const char *)key.data + 2);
    const uint64_t page_no = weir_load_u64(key.data + key.size - 8);
    backlog_page *page = NULL;
    weir_code code = decode_page(stage, iter, arena, &page, reterr);

    if (code != WEIR_OK)
        return code;
    const uint64_t end_no = page_no + page->n_entries;
    const bool is_first = queue->count == 0;
    if (is_first) {
        queue->next_no = queue->page_no = page_no;
        code = load_position(core, stage, queue, reterr);
        weir_assert(queue->next_no < end_no);
    }
    const uint64_t added = end_no - (is_first ? queue->next_no : page_no);
    queue->count += added;
    core->backlog_count += added;
    return code;
}

weir_code
gateway_load_backlog(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const uint8_t lower[] = { 'P' };
    const uint8_t upper[] = { 'P' + 1 };

    return gateway_load_each(core, stage, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1),
        load_page, reterr);
}

/* ---- sources, when a row is sent ---- */

weir_code
gateway_resolve(gateway_core *core, weir_stage *stage, weir_link_kind link, row_message *row,
    weir_arena *arena, weir_error *reterr)
{
    weir_buffer key = { 0 };
    weir_buffer body = { 0 };
    bool found = false;

    (void)core;
    WEIR_FP_RETURN("gateway.resolve.before", reterr);
    if (link != WEIR_LINK_GATEWAY_INGEST || row->document == NULL || row->document->by_reference)
        return WEIR_OK;
    const weir_code code = weir_store_get(weir_stage_store(stage), NULL,
        gateway_key_source(&key, row->collection_no, row->document_id, row->revision), &body,
        &found, reterr);
    if (code == WEIR_OK) {
        row->document->source_gone = !found;
        row->document->body.data = weir_arena_memdup(arena, body.data, body.size);
        row->document->body.len = body.size;
    }
    weir_buffer_fini(&key);
    weir_buffer_fini(&body);
    return code;
}
