/*
 * records.c - records, counters and the change log of the gateway's core.
 *
 * A state and everything derived from it (counters, change log) move in one batch, in
 * gateway_set_state and nowhere else, so after any crash a scan agrees with the counters.
 */
#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

weir_code
gateway_get_document(gateway_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, document_record **ret_document, weir_error *reterr)
{
    *ret_document = NULL;
    return weir_stage_get(stage, gateway_key_document(&core->key, collection_no, document_id),
        &weir__internal__v1__document_record__descriptor, ret_document, reterr);
}

weir_code
gateway_get_revision_of(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record **ret_revision, weir_error *reterr)
{
    const uint64_t collection_no = id->collection->record->collection_no;
    document_record *document = id->document;
    const bool is_newest = document != NULL && id->revision == document->newest_revision;

    *ret_revision = is_newest ? document->newest : NULL;
    if (document == NULL || *ret_revision != NULL)
        return WEIR_OK;
    const weir_code code = weir_stage_get(stage,
        gateway_key_revision(&core->key, collection_no, id->document_id, id->revision),
        &weir__internal__v1__revision_record__descriptor, ret_revision, reterr);
    if (is_newest && *ret_revision != NULL) { /* schema 1: it moves to its document now */
        document->newest = *ret_revision;
        gateway_put_document(core, stage, collection_no, id->document_id, document);
        weir_batch_delete(weir_stage_batch(stage),
            gateway_key_revision(&core->key, collection_no, id->document_id, id->revision));
    }
    return code;
}

weir_code
gateway_get_both(gateway_core *core, weir_stage *stage, revision_id *id,
    revision_record **ret_revision, weir_error *reterr)
{
    const weir_code code = gateway_get_document(core, stage, id->collection->record->collection_no,
        id->document_id, &id->document, reterr);

    *ret_revision = NULL;
    return code != WEIR_OK ? code : gateway_get_revision_of(core, stage, id, ret_revision, reterr);
}

void
gateway_archive_newest(gateway_core *core, weir_stage *stage, const revision_id *id)
{
    document_record *document = id->document;

    if (document->newest == NULL)
        return; /* there was none, or it is in schema 1's place */
    weir_stage_put(stage,
        gateway_key_revision(&core->key, id->collection->record->collection_no, id->document_id,
            document->newest_revision),
        &document->newest->base);
    document->newest = NULL;
}

void
gateway_put_document(gateway_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, const document_record *document)
{
    weir_stage_put(stage, gateway_key_document(&core->key, collection_no, document_id),
        &document->base);
}

/* ---- counters ---- */

static uint64_t *
count_of(counters_record *counters, uint32_t state)
{
    switch (state) {
    case DOCUMENT_STATE(PENDING):
        return &counters->pending;
    case DOCUMENT_STATE(PROCESSING):
        return &counters->processing;
    case DOCUMENT_STATE(READY):
        return &counters->ready;
    case DOCUMENT_STATE(FAILED):
        return &counters->failed;
    case DOCUMENT_STATE(SUPERSEDED):
        return &counters->superseded;
    case DOCUMENT_STATE(DELETED):
        return &counters->deleted;
    default:
        return NULL;
    }
}

uint64_t *
gateway_counter(counters_record *counters, size_t at)
{
    uint64_t *const all[GATEWAY_COUNTERS] = { &counters->pending, &counters->processing,
        &counters->ready, &counters->failed, &counters->superseded, &counters->deleted,
        &counters->documents, &counters->chunks, &counters->accepted, &counters->rebuilding };

    weir_assert(at < GATEWAY_COUNTERS);
    return all[at];
}

void
gateway_count_revision(counters_record *counters, const revision_record *revision)
{
    uint64_t *of_state = count_of(counters, revision->state);

    if (of_state != NULL)
        (*of_state)++;
    if (revision->state == DOCUMENT_STATE(READY))
        counters->chunks += revision->chunk_count;
    counters->rebuilding += revision->rebuilds ? 1 : 0;
    counters->accepted++;
}

void
gateway_count(gateway_core *core, collection_entry *collection)
{
    if (collection->counters_changed)
        return;
    collection->counters_changed = true;
    const size_t kept = sizeof core->changed / sizeof core->changed[0];
    if (core->changed_count < kept)
        core->changed[core->changed_count] = collection;
    core->changed_count++;
}

/* A counter that is too low is wrong already, and the audit's to correct: no reason to end the
 * service for ever. */
void
gateway_take_off(const collection_entry *collection, uint64_t *count, uint64_t n)
{
    if (*count < n)
        weir_log(WEIR_LOG_ERROR, "counters.wrong",
            WEIR_INT("collection_no", collection->record->collection_no),
            WEIR_STR("message", "a counter is lower than what leaves it; `weir audit run` counts"));
    *count -= *count < n ? *count : n;
}

static void
move_count(gateway_core *core, collection_entry *collection, const revision_record *revision,
    uint32_t to)
{
    uint64_t *from_count = count_of(&collection->counters, revision->state);
    uint64_t *to_count = count_of(&collection->counters, to);

    if (from_count != NULL)
        gateway_take_off(collection, from_count, 1);
    if (to_count != NULL)
        (*to_count)++;
    core->pending_total += to == DOCUMENT_STATE(PENDING);
    core->processing_total += to == DOCUMENT_STATE(PROCESSING);
    if (revision->state == DOCUMENT_STATE(PENDING))
        gateway_take_off(collection, &core->pending_total, 1);
    if (revision->state == DOCUMENT_STATE(PROCESSING))
        gateway_take_off(collection, &core->processing_total, 1);
    if (revision->state == DOCUMENT_STATE(READY) && to != DOCUMENT_STATE(READY))
        gateway_take_off(collection, &collection->counters.chunks, revision->chunk_count);
    if (revision->state != DOCUMENT_STATE(READY) && to == DOCUMENT_STATE(READY))
        collection->counters.chunks += revision->chunk_count;
    gateway_count(core, collection);
}

static void
put_counters_of(gateway_core *core, weir_stage *stage, collection_entry *collection)
{
    collection->counters_changed = false;
    weir_stage_put(stage, gateway_key_counters(&core->key, collection->record->collection_no),
        &collection->counters.base);
}

void
gateway_put_counters(gateway_core *core, weir_stage *stage)
{
    const size_t kept = sizeof core->changed / sizeof core->changed[0];

    if (core->changed_count <= kept) {
        for (size_t i = 0; i < core->changed_count; i++)
            put_counters_of(core, stage, core->changed[i]);
    } else {
        for (size_t bucket = 0; bucket < COLLECTION_BUCKETS; bucket++)
            for (collection_entry *entry = core->by_number[bucket]; entry != NULL;
                entry = entry->next_by_number)
                if (entry->counters_changed)
                    put_counters_of(core, stage, entry);
    }
    core->changed_count = 0;
}

/* ---- the change of a state ---- */

static void
log_change(gateway_core *core, weir_stage *stage, const revision_id *id, revision_record *revision)
{
    change_record change = WEIR__INTERNAL__V1__CHANGE_RECORD__INIT;

    change.tenant = id->collection->record->tenant;
    change.collection_no = id->collection->record->collection_no;
    change.document_id = (char *)(uintptr_t)id->document_id;
    change.revision = id->revision;
    change.epoch = revision->epoch;
    change.state = revision->state;
    change.stage = revision->stage;
    change.time_ms = weir_stage_now_ms(stage);
    revision->change_no = core->suite.next_change_no;
    gateway_log_change(core, stage, &change);
}

static void
count_total(gateway_core *core, uint32_t state)
{
    core->ready_total += state == DOCUMENT_STATE(READY);
    core->failed_total += state == DOCUMENT_STATE(FAILED);
    core->superseded_total += state == DOCUMENT_STATE(SUPERSEDED);
    core->deleted_total += state == DOCUMENT_STATE(DELETED);
}

static bool
is_unready(uint32_t state)
{
    return state == DOCUMENT_STATE(PENDING) || state == DOCUMENT_STATE(PROCESSING);
}

/* The newest in its document; the caller's changes of the document go with it. */
static void
put_revision(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision)
{
    const uint64_t collection_no = id->collection->record->collection_no;

    if (id->document != NULL && id->revision == id->document->newest_revision) {
        id->document->newest = revision;
        gateway_put_document(core, stage, collection_no, id->document_id, id->document);
        return;
    }
    weir_stage_put(stage,
        gateway_key_revision(&core->key, collection_no, id->document_id, id->revision),
        &revision->base);
}

weir_code
gateway_set_state(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint32_t state, weir_error *reterr)
{
    const uint64_t collection_no = id->collection->record->collection_no;
    const bool has_changed = revision->state != state;

    if (has_changed) {
        const bool was_unready = is_unready(revision->state);

        move_count(core, id->collection, revision, state);
        if (revision->rebuilds && gateway_state_is_terminal(state)) {
            revision->rebuilds = false;
            gateway_take_off(id->collection, &id->collection->counters.rebuilding, 1);
        }
        count_total(core, state);
        revision->state = state;
        revision->update_time_ms = weir_stage_now_ms(stage);
        log_change(core, stage, id, revision);
        if (!was_unready && is_unready(state))
            gateway_unready_enter(core, stage, id, revision);
        else if (was_unready && !is_unready(state))
            gateway_unready_leave(core, revision);
    }
    put_revision(core, stage, id, revision);
    /* Nothing will read the source of these again: a re-drive needs only what is live or FAILED. */
    if (state == DOCUMENT_STATE(SUPERSEDED) || state == DOCUMENT_STATE(DELETED))
        weir_batch_delete(weir_stage_batch(stage),
            gateway_key_source(&core->key, collection_no, id->document_id, id->revision));
    return has_changed ? gateway_wake_document(core, stage, id->collection, id->document_id, reterr)
                       : WEIR_OK;
}

void
gateway_tell(weir_stage *stage, const revision_id *id, const revision_record *revision,
    Weir__Internal__V1__LifecycleKind kind)
{
    gateway_tell_why(stage, id, revision, kind,
        WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_UNSPECIFIED);
}

void
gateway_tell_why(weir_stage *stage, const revision_id *id, const revision_record *revision,
    Weir__Internal__V1__LifecycleKind kind, Weir__Internal__V1__LifecycleCause cause)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = kind;
    event.cause = cause;
    event.tenant = id->collection->record->tenant;
    event.collection_no = id->collection->record->collection_no;
    event.collection_id = id->collection->record->collection_id;
    event.document_id = (char *)(uintptr_t)id->document_id;
    event.revision = id->revision;
    event.epoch = revision->epoch;
    event.time_ms = weir_stage_now_ms(stage);
    event.stage = STAGE_NUMBER(ACCEPT);
    if (kind == LIFECYCLE(ACCEPTED) || kind == LIFECYCLE(GAVE_UP)) {
        event.size_bytes = revision->size_bytes;
        event.content_sha256 = revision->content_sha256;
    }
    if (kind == LIFECYCLE(GAVE_UP))
        event.failure = revision->failure;
    weir_stage_event(stage, &event);
}

/* ---- collections in memory ---- */

static size_t
name_bucket(const char *tenant, const char *collection_id)
{
    const uint64_t seed = weir_hash64(weir_bytes_str(tenant), 0);

    return weir_hash64(weir_bytes_str(collection_id), seed) % COLLECTION_BUCKETS;
}

collection_entry *
gateway_find_collection(const gateway_core *core, const char *tenant, const char *collection_id)
{
    for (collection_entry *entry = core->by_name[name_bucket(tenant, collection_id)]; entry != NULL;
        entry = entry->next_by_name)
        if (strcmp(entry->record->tenant, tenant) == 0 &&
            strcmp(entry->record->collection_id, collection_id) == 0)
            return entry;
    return NULL;
}

collection_entry *
gateway_find_collection_no(const gateway_core *core, uint64_t collection_no)
{
    for (collection_entry *entry = core->by_number[collection_no % COLLECTION_BUCKETS];
        entry != NULL; entry = entry->next_by_number)
        if (entry->record->collection_no == collection_no)
            return entry;
    return NULL;
}

weir_code
gateway_add_collection(gateway_core *core, weir_bytes packed, collection_entry **ret_entry,
    weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *record = NULL;
    const weir_code code = weir_wire_decode(&weir__internal__v1__collection_record__descriptor,
        packed, NULL, arena, &record, reterr);

    if (code != WEIR_OK) {
        weir_arena_destroy(&arena);
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored collection does not decode");
    }
    collection_entry *entry = weir_arena_alloc_zero(arena, sizeof *entry);
    entry->arena = arena;
    entry->record = (collection_record *)record;
    weir__internal__v1__counters_record__init(&entry->counters);
    const size_t by_name = name_bucket(entry->record->tenant, entry->record->collection_id);
    const size_t by_number = entry->record->collection_no % COLLECTION_BUCKETS;
    entry->next_by_name = core->by_name[by_name];
    core->by_name[by_name] = entry;
    entry->next_by_number = core->by_number[by_number];
    core->by_number[by_number] = entry;
    *ret_entry = entry;
    return WEIR_OK;
}

static weir_code
load_counters(gateway_core *core, weir_stage *stage, collection_entry *entry, weir_error *reterr)
{
    counters_record *stored = NULL;
    const weir_code code =
        weir_stage_get(stage, gateway_key_counters(&core->key, entry->record->collection_no),
            &weir__internal__v1__counters_record__descriptor, &stored, reterr);

    if (code == WEIR_OK && stored != NULL) {
        entry->counters = *stored;
        entry->counters.base.n_unknown_fields = 0;
        entry->counters.base.unknown_fields = NULL;
        core->pending_total += stored->pending;
        core->processing_total += stored->processing;
    }
    return code;
}

weir_code
gateway_load_each(gateway_core *core, weir_stage *stage, weir_bytes lower, weir_bytes upper,
    gateway_load_one *load, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    weir_iter *iter = weir_batch_iter(weir_stage_batch(stage), lower, upper);
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        weir_arena_reset(arena);
        code = load(core, stage, iter, arena, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&arena);
    return code;
}

weir_code
gateway_load_collections(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    const weir_bytes lower = gateway_key_collections(&core->key, NULL);
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL, lower,
        gateway_key_after(&core->range_end, lower));
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        collection_entry *entry = NULL;

        code = gateway_add_collection(core, weir_iter_value(iter), &entry, reterr);
        if (code == WEIR_OK)
            code = load_counters(core, stage, entry, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}
