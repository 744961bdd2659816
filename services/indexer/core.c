/*
 * core.c - the indexer's core: which handler takes which row, and what each round does beside its
 * rows.
 *
 * Every decision about a document is made in one round, from the register as that round sees it,
 * and is durable before anything about it leaves.  A crash at any line leaves whole rounds;
 * indexer_load rebuilds the rest from the store.
 */
#include "services/indexer/core_internal.h"

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/plant.h"
#include "common/wire/wire.h"

enum {
    ROW_MEMORY_BYTES =
        4 << 20, /* in flight; a quarter of the embedder's write buffer, so that most rows are
                    acknowledged and deleted before it is written out, and never reach a file */
    ROW_BYTES_GUESS = 128 << 10,
    CREDIT_ROWS_MAX = 1024,
    LEAVE_RETRY_MS = 20
};

indexer_core *
indexer_core_create(weir_store *store, const indexer_options *options)
{
    indexer_core *core = weir_alloc_zero(1, sizeof *core);

    core->store = store;
    if (options != NULL)
        core->options = *options;
    if (core->options.clear_keys_max == 0)
        core->options.clear_keys_max = 2048;
    if (core->options.decide_rows_max == 0)
        core->options.decide_rows_max = 1024;
    core->row_bytes = ROW_BYTES_GUESS;
    indexer_collections_init(&core->collections);
    indexer_readers_init(&core->readers);
    STAILQ_INIT(&core->retiring);
    STAILQ_INIT(&core->clearing);
    STAILQ_INIT(&core->leaving);
    STAILQ_INIT(&core->waiting);
    STAILQ_INIT(&core->pending);
    return core;
}

static void
forget_lists(indexer_core *core)
{
    while (!STAILQ_EMPTY(&core->waiting)) {
        indexer_waiting *item = STAILQ_FIRST(&core->waiting);

        STAILQ_REMOVE_HEAD(&core->waiting, link);
        weir_arena_destroy(&item->arena);
        weir_free(item);
    }
    while (!STAILQ_EMPTY(&core->pending)) {
        indexer_pending *item = STAILQ_FIRST(&core->pending);

        STAILQ_REMOVE_HEAD(&core->pending, link);
        weir_free(item);
    }
    indexer_clear_forget(core);
}

void
indexer_core_destroy(indexer_core **core_p)
{
    indexer_core *core = *core_p;

    if (core == NULL)
        return;
    forget_lists(core);
    indexer_readers_fini(&core->readers);
    indexer_collections_fini(&core->collections);
    weir_free(core);
    *core_p = NULL;
}

bool
indexer_gate_is_open(const indexer_core *core)
{
    return __atomic_load_n(&core->gate_is_open, __ATOMIC_ACQUIRE);
}

uint64_t
indexer_seeded_era(const indexer_core *core)
{
    return __atomic_load_n(&core->seeded_era, __ATOMIC_ACQUIRE);
}

void
indexer_stats_read(indexer_core *core, indexer_stats *ret_stats)
{
    indexer_collection *collection = NULL;

    *ret_stats = (indexer_stats){ 0 };
    for (uint64_t after = 0;
        (collection = indexer_collections_next(&core->collections, after)) != NULL;
        after = collection->collection_no) {
        indexer_index *index = indexer_collection_index(collection);
        indexer_index_stats stats = { 0 };

        if (index != NULL)
            indexer_index_stats_read(index, &stats);
        ret_stats->vectors += stats.rows;
        ret_stats->dead_vectors += stats.dead_rows;
        ret_stats->segments += stats.segments;
        ret_stats->collections++;
        ret_stats->lost_documents += indexer_collection_lost(collection);
    }
}

/* ---- documents and collections in a round ---- */

weir_code
indexer_document_load(weir_stage *stage, indexer_collection *collection, const char *document_id,
    indexer_document *ret_document, weir_error *reterr)
{
    const indexer_key key = indexer_key_document(collection->collection_no, document_id);
    indexer_register *record = NULL;
    const weir_code code = weir_stage_get(stage, indexer_key_view(&key),
        &weir__internal__v1__index_document_record__descriptor, &record, reterr);

    if (code != WEIR_OK)
        return code;
    if (record == NULL) {
        record = weir_arena_alloc(weir_stage_arena(stage), sizeof *record);
        weir__internal__v1__index_document_record__init(record);
    }
    *ret_document = (indexer_document){ .collection = collection,
        .document_id = document_id,
        .record = record,
        .was_lost = record->lost_revision != 0 };
    return WEIR_OK;
}

void
indexer_document_save(weir_stage *stage, indexer_document *document)
{
    const indexer_key key =
        indexer_key_document(document->collection->collection_no, document->document_id);
    const bool is_lost = document->record->lost_revision != 0;

    if (is_lost && !document->was_lost)
        __atomic_add_fetch(&document->collection->lost_count, 1, __ATOMIC_RELEASE);
    else if (!is_lost && document->was_lost)
        document->collection->lost_ended++;
    document->was_lost = is_lost;
    weir_stage_put(stage, indexer_key_view(&key), &document->record->base);
}

void
indexer_put_collection(weir_stage *stage, const indexer_collection *collection)
{
    const indexer_key key = indexer_key_collection(collection->collection_no);
    Weir__Internal__V1__IndexCollectionRecord record =
        WEIR__INTERNAL__V1__INDEX_COLLECTION_RECORD__INIT;

    record.tenant = collection->tenant;
    if (collection->index != NULL) {
        record.dimension = indexer_index_dimension(collection->index);
        record.fingerprint = collection->fingerprint;
    }
    weir_stage_put(stage, indexer_key_view(&key), &record.base);
}

weir_code
indexer_obtain_collection(indexer_core *core, weir_stage *stage, const indexer_row *row,
    indexer_collection **ret_collection, weir_error *reterr)
{
    indexer_collection *collection =
        indexer_collections_find(&core->collections, row->collection_no);

    (void)reterr;
    if (collection == NULL) {
        collection = indexer_collections_put(&core->collections, row->collection_no, row->tenant);
        indexer_put_collection(stage, collection);
    } else if (collection->tenant[0] == '\0' && row->tenant[0] != '\0') {
        indexer_collection_set_tenant(collection, row->tenant);
        indexer_put_collection(stage, collection);
    }
    *ret_collection = indexer_collection_is_of(collection, row->tenant) ? collection : NULL;
    return WEIR_OK;
}

weir_code
indexer_send_ready(weir_stage *stage, const indexer_document *document, weir_error *reterr)
{
    const indexer_register *record = document->record;
    Weir__Internal__V1__ReadyRow ready = WEIR__INTERNAL__V1__READY_ROW__INIT;
    indexer_row row = WEIR__INTERNAL__V1__ROW__INIT;

    weir_assert(record->ready_revision > 0);
    ready.chunk_count = record->ready_chunk_count;
    ready.token_count = record->ready_token_count;
    ready.ready_time_ms = record->ready_time_ms;
    ready.media_type = record->media_type;
    row.tenant = document->collection->tenant;
    row.collection_no = document->collection->collection_no;
    row.document_id = (char *)document->document_id;
    row.revision = record->ready_revision;
    row.epoch = record->ready_epoch;
    row.deleted_below = record->deleted_below;
    row.handed_over_ms = weir_stage_now_ms(stage);
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_READY;
    row.ready = &ready;
    return weir_stage_send(stage, WEIR_LINK_INDEXER_GATEWAY, &row, NULL, reterr);
}

/* ---- handlers ---- */

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    indexer_core *core = self;
    const weir_code code = indexer_load(core, stage, reterr);

    core->may_decide = WEIR_PLANT(NO_GATE);
    if (code == WEIR_OK)
        weir_log(WEIR_LOG_INFO, "index.loaded", WEIR_INT("collections", core->collections.count),
            WEIR_INT("undecided", core->pending_count));
    return code;
}

/* Whose row it is must be nameable in a key; a sender that breaks this has a bug, and no event
 * could name the row. */
static bool
names_document(const indexer_row *row)
{
    const size_t size = strlen(row->document_id);

    return row->collection_no > 0 && row->tenant[0] != '\0' && size > 0 &&
        size <= WEIR_DOCUMENT_ID_BYTES_MAX && row->revision > 0 && row->epoch >= 0;
}

static bool
is_of_document(const indexer_row *row)
{
    return row->payload_case != WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED &&
        row->payload_case != WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE;
}

static void
note_row_bytes(indexer_core *core, size_t size)
{
    core->row_bytes = (core->row_bytes * 15 + size) / 16 + 1;
}

/* Any row but a revoke: settled in its own round. */
static weir_code
take_row(indexer_core *core, weir_stage *stage, const indexer_row *row, weir_bytes packed,
    weir_error *reterr)
{
    switch ((int)row->payload_case) {
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_VECTORS:
        note_row_bytes(core, packed.size);
        return indexer_take_vectors(core, stage, row, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE:
        return indexer_take_delete(core, stage, row, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED:
        return indexer_take_seed(core, stage, row, reterr);
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE:
        indexer_take_gate(core, stage, row);
        return WEIR_OK;
    case WEIR__INTERNAL__V1__ROW__PAYLOAD_AUDIT:
        return indexer_take_audit(core, stage, row, reterr);
    default:
        weir_log(WEIR_LOG_ERROR, "row.unknown", WEIR_INT("payload", row->payload_case));
        return WEIR_OK;
    }
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const indexer_row *row,
    weir_bytes packed, weir_error *reterr)
{
    indexer_core *core = self;

    if (is_of_document(row) && !names_document(row)) {
        weir_log(WEIR_LOG_ERROR, "row.unnamed", WEIR_STR("link", weir_link_spec_of(link)->name),
            WEIR_INT("seq", seq));
        weir_stage_settle(stage, link, seq);
        return WEIR_OK;
    }
    if (row->payload_case == WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE)
        return indexer_take_revoke(core, stage, seq, row, packed, reterr);
    const weir_code code = take_row(core, stage, row, packed, reterr);
    if (code == WEIR_OK)
        weir_stage_settle(stage, link, seq);
    return code;
}

/* Its time is for the rounds' own work. */
static weir_code
core_wake(void *self, weir_stage *stage, weir_error *reterr)
{
    (void)self;
    (void)stage;
    (void)reterr;
    return WEIR_OK;
}

/* R9: rows that the memory for them holds. */
static void
give_credit(indexer_core *core, weir_stage *stage)
{
    const uint64_t rows = ROW_MEMORY_BYTES / core->row_bytes;
    const uint32_t credit = rows < CREDIT_ROWS_MAX ? (uint32_t)rows : CREDIT_ROWS_MAX;
    const uint32_t change = credit > core->credit ? credit - core->credit : core->credit - credit;

    if (change * 4 <= core->credit)
        return;
    core->credit = credit;
    weir_stage_set_credit(stage, WEIR_LINK_EMBEDDER_INDEXER, credit);
}

static void
tell_counts(const indexer_core *core, weir_stage *stage)
{
    weir_stage_counts counts = { .queued = core->waiting_count, .parked = core->pending_count };

    if (!STAILQ_EMPTY(&core->waiting))
        counts.oldest_ms = STAILQ_FIRST(&core->waiting)->row->handed_over_ms;
    weir_stage_set_counts(stage, &counts);
}

static void
ask_for_time(const indexer_core *core, weir_stage *stage)
{
    const bool can_decide = core->may_decide && core->waiting_count + core->pending_count > 0;

    if (can_decide || core->needs_cleaning || !STAILQ_EMPTY(&core->retiring) ||
        !STAILQ_EMPTY(&core->clearing))
        weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    else if (!STAILQ_EMPTY(&core->leaving))
        weir_stage_wake_at(stage, weir_stage_now_ms(stage) + LEAVE_RETRY_MS);
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    indexer_core *core = self;
    uint32_t budget = core->options.decide_rows_max;
    weir_code code = WEIR_OK;

    if (core->may_decide)
        code = indexer_answer_waiting(core, stage, &budget, reterr);
    if (code == WEIR_OK && core->may_decide)
        code = indexer_decide_pending(core, stage, &budget, reterr);
    if (code == WEIR_OK)
        code = indexer_clear_some(core, stage, reterr);
    give_credit(core, stage);
    tell_counts(core, stage);
    ask_for_time(core, stage);
    return code;
}

/* Memory of readers follows disk: searches open only after the seeds before the gate row are
 * durable. */
static void
core_committed(void *self, weir_stage *stage)
{
    indexer_core *core = self;

    (void)stage;
    indexer_clear_committed(core);
    indexer_collections_end_losses(&core->collections);
    __atomic_store_n(&core->seeded_era, core->new_seeded_era, __ATOMIC_RELEASE);
    if (!core->may_decide || indexer_gate_is_open(core))
        return;
    WEIR_FP("indexer.gate.after");
    __atomic_store_n(&core->gate_is_open, true, __ATOMIC_RELEASE);
    if (core->options.gate_opened != NULL)
        core->options.gate_opened(core->options.ud);
}

const weir_core_ops indexer_core_ops = {
    .start = core_start,
    .row = core_row,
    .wake = core_wake,
    .round_end = core_round_end,
    .committed = core_committed,
};
