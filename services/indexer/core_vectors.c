/*
 * core_vectors.c - rows of vectors: staged as they come, READY once all chunks of one epoch are
 * there.
 *
 * The round that makes an epoch READY holds the register, the end of what it replaces, the event
 * and the row to the gateway: one batch, the moment of becoming searchable.  Vectors are in the
 * index before, invisible.
 */
#include <inttypes.h>

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/stage/retry.h"
#include "services/indexer/core_internal.h"
#include "weir/v1/document.pb-c.h"

enum {
    ORDINAL_MAX = 1 << 20
}; /* far above any limit of ingest: what a broken sender could make the index hold */

/* A row on its way into the register. */
typedef struct arrival {
    indexer_core *core;
    weir_stage *stage;
    const indexer_row *row;
    const Weir__Internal__V1__ChunksRow *chunks;
    indexer_document document;
    indexer_try owner;
    float *vectors; /* chunks x dimension, normalised; in the round's arena */
} arrival;

/* ---- events ---- */

static Weir__Internal__V1__LifecycleEvent
event_of(const arrival *at, Weir__Internal__V1__LifecycleKind kind)
{
    Weir__Internal__V1__LifecycleEvent event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = kind;
    event.tenant = at->row->tenant;
    event.collection_no = at->row->collection_no;
    event.document_id = at->row->document_id;
    event.revision = at->row->revision;
    event.epoch = at->row->epoch;
    event.time_ms = weir_stage_now_ms(at->stage);
    event.stage = WEIR__V1__STAGE__STAGE_INDEX;
    return event;
}

/* The row can never be staged: the reconciler decides what comes of its epoch. */
static void
report_failed(const arrival *at, const weir_error *why)
{
    Weir__Internal__V1__LifecycleEvent event =
        event_of(at, WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED);
    Weir__Internal__V1__Failure failure = WEIR__INTERNAL__V1__FAILURE__INIT;

    failure.stage = WEIR__V1__STAGE__STAGE_INDEX;
    failure.code = why->code;
    failure.message = (char *)why->message;
    failure.attempt_count = 1;
    failure.retryable = weir_retry_rule_for(why->code)->may_help;
    failure.time_ms = event.time_ms;
    event.failure = &failure;
    weir_stage_event(at->stage, &event);
}

static void
report_ready(weir_stage *stage, const indexer_document *document)
{
    const indexer_register *record = document->record;
    Weir__Internal__V1__LifecycleEvent event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_READY;
    event.tenant = document->collection->tenant;
    event.collection_no = document->collection->collection_no;
    event.document_id = (char *)document->document_id;
    event.revision = record->ready_revision;
    event.epoch = record->ready_epoch;
    event.time_ms = record->ready_time_ms;
    event.chunk_count = record->ready_chunk_count;
    event.token_count = record->ready_token_count;
    event.stage = WEIR__V1__STAGE__STAGE_INDEX;
    weir_stage_event(stage, &event);
}

/* ---- checks ---- */

static weir_code
check_spec(const arrival *at, weir_error *reterr)
{
    const Weir__Internal__V1__EmbedSpec *spec = at->chunks->spec;
    const indexer_collection *collection = at->document.collection;

    if (spec == NULL || spec->dimension == 0 || spec->dimension > WEIR_DIMENSION_MAX)
        return weir_error_set(reterr, WEIR_DIMENSION_MISMATCH,
            "vectors of %u components; 1 to %d are possible", spec == NULL ? 0 : spec->dimension,
            WEIR_DIMENSION_MAX);
    if (collection->index == NULL)
        return WEIR_OK;
    if (spec->dimension != indexer_index_dimension(collection->index))
        return weir_error_set(reterr, WEIR_DIMENSION_MISMATCH,
            "vectors of %u components; the collection has %u", spec->dimension,
            indexer_index_dimension(collection->index));
    if (strcmp(spec->fingerprint, collection->fingerprint) != 0)
        return weir_error_set(reterr, WEIR_VECTOR_INVALID,
            "vectors of model %s; the collection's are of %s", spec->fingerprint,
            collection->fingerprint);
    return WEIR_OK;
}

/* Ordinals ascend and fit what is known of the epoch's size. */
static weir_code
check_ordinals(const arrival *at, const indexer_staged *staged, weir_error *reterr)
{
    const uint32_t known = staged != NULL ? staged->chunk_count : 0;
    const uint32_t told = at->chunks->chunk_count;
    const uint32_t count = told != 0 ? told : known;
    const uint32_t limit = count != 0 ? count : ORDINAL_MAX;

    if (known != 0 && told != 0 && known != told)
        return weir_error_set(reterr, WEIR_INTERNAL, "one epoch of %u and of %u chunks", known,
            told);
    if (limit > ORDINAL_MAX || (staged != NULL && staged->staged_count > limit))
        return weir_error_set(reterr, WEIR_INTERNAL, "an epoch of %u chunks with more staged",
            limit);
    for (size_t i = 0; i < at->chunks->n_chunks; i++) {
        const uint32_t ordinal = at->chunks->chunks[i]->ordinal;

        if (ordinal >= limit || (i > 0 && ordinal <= at->chunks->chunks[i - 1]->ordinal))
            return weir_error_set(reterr, WEIR_INTERNAL, "chunk %u is out of order or beyond %u",
                ordinal, limit);
    }
    return WEIR_OK;
}

/* Copy the row's vectors into the round, normalised. */
static weir_code
read_vectors(arrival *at, weir_error *reterr)
{
    const uint32_t dimension = at->chunks->spec->dimension;
    const size_t size = dimension * sizeof(float);

    at->vectors = weir_arena_alloc(weir_stage_arena(at->stage), at->chunks->n_chunks * size + 1);
    for (size_t i = 0; i < at->chunks->n_chunks; i++) {
        const Weir__Internal__V1__Chunk *chunk = at->chunks->chunks[i];
        float *vector = at->vectors + i * dimension;

        if (chunk->vector.len != size)
            return weir_error_set(reterr, WEIR_DIMENSION_MISMATCH,
                "chunk %u has a vector of %zu bytes, not %zu", chunk->ordinal, chunk->vector.len,
                size);
        memcpy(vector, chunk->vector.data, size);
        const weir_code code = indexer_vector_normalise(vector, dimension, reterr);
        if (code != WEIR_OK)
            return weir_error_set(reterr, code, "chunk %u: %s", chunk->ordinal, reterr->message);
    }
    return WEIR_OK;
}

static weir_code
check(arrival *at, weir_error *reterr)
{
    const indexer_staged *staged =
        indexer_register_find(at->document.record, at->owner.revision, at->owner.epoch);
    weir_code code = check_spec(at, reterr);

    if (code == WEIR_OK)
        code = check_ordinals(at, staged, reterr);
    return code == WEIR_OK ? read_vectors(at, reterr) : code;
}

/* ---- staging ---- */

static void
put_metadata(const arrival *at)
{
    const indexer_key key = indexer_key_metadata(at->row->collection_no, &at->owner);
    Weir__Internal__V1__IndexMetadataRecord record =
        WEIR__INTERNAL__V1__INDEX_METADATA_RECORD__INIT;

    record.n_metadata = at->chunks->n_metadata;
    record.metadata = at->chunks->metadata;
    record.media_type = at->chunks->media_type;
    record.title = at->chunks->title;
    weir_stage_put(at->stage, indexer_key_view(&key), &record.base);
}

static void
put_chunk(const arrival *at, size_t i)
{
    const Weir__Internal__V1__Chunk *chunk = at->chunks->chunks[i];
    const indexer_key text =
        indexer_key_row(INDEXER_TAG_CHUNK, at->row->collection_no, &at->owner, chunk->ordinal);
    Weir__Internal__V1__ChunkRecord record = WEIR__INTERNAL__V1__CHUNK_RECORD__INIT;

    record.text = chunk->text;
    record.start_byte = chunk->start_byte;
    record.end_byte = chunk->end_byte;
    record.n_heading_path = chunk->n_heading_path;
    record.heading_path = chunk->heading_path;
    record.token_count = chunk->token_count;
    weir_stage_put(at->stage, indexer_key_view(&text), &record.base);
}

/* The vectors of the new chunks, those of neighbours in one record: most of the cost of a record is
 * that it is one. */
static void
put_vectors(const arrival *at, const uint32_t *ordinals, uint32_t count)
{
    const uint32_t dimension = at->chunks->spec->dimension;
    weir_buffer value = { 0 };

    for (uint32_t first = 0, next = 1; first < count; first = next++) {
        while (next < count && next - first < WEIR_CHUNKS_PER_ROW_MAX &&
            ordinals[next] == ordinals[next - 1] + 1)
            next++;
        const indexer_key key = indexer_key_row(INDEXER_TAG_VECTOR, at->row->collection_no,
            &at->owner, ordinals[first]);

        weir_buffer_clear(&value);
        indexer_vectors_encode(at->vectors + first * (size_t)dimension, next - first, dimension,
            &value);
        weir_batch_put(weir_stage_batch(at->stage), indexer_key_view(&key),
            weir_buffer_view(&value));
    }
    weir_buffer_fini(&value);
}

/* Store and index the chunks that are new; *ret_count of them. */
static weir_code
put_new_chunks(const arrival *at, uint32_t *ret_count, weir_error *reterr)
{
    indexer_index *index = at->document.collection->index;
    const uint32_t dimension = at->chunks->spec->dimension;
    uint32_t *ordinals = weir_arena_alloc(weir_stage_arena(at->stage),
        (at->chunks->n_chunks + 1) * sizeof *ordinals);
    uint32_t count = 0;

    for (size_t i = 0; i < at->chunks->n_chunks; i++) {
        const uint32_t ordinal = at->chunks->chunks[i]->ordinal;

        if (indexer_index_has(index, &at->owner, ordinal))
            continue; /* a duplicate of this epoch */
        put_chunk(at, i);
        memmove(at->vectors + count * (size_t)dimension, at->vectors + i * dimension,
            dimension * sizeof(float));
        ordinals[count++] = ordinal;
    }
    *ret_count = count;
    put_vectors(at, ordinals, count);
    return count == 0 ? WEIR_OK
                      : indexer_index_add(index, &at->owner, ordinals, at->vectors, count, reterr);
}

static void
know_vectors(const arrival *at)
{
    indexer_collection *collection = at->document.collection;

    if (collection->index != NULL)
        return;
    indexer_collection_set_vectors(collection, at->chunks->spec->dimension,
        at->chunks->spec->fingerprint, at->core->options.segment_bytes);
    indexer_put_collection(at->stage, collection);
}

/* ---- the decision ---- */

/* The linearization point, once this round is synced. */
static weir_code
make_ready(indexer_core *core, weir_stage *stage, indexer_document *document,
    const indexer_staged *staged, weir_error *reterr)
{
    const indexer_try owner = { document->document_id, staged->revision, staged->epoch };
    const indexer_key key = indexer_key_metadata(document->collection->collection_no, &owner);
    Weir__Internal__V1__IndexMetadataRecord *metadata = NULL;
    indexer_left left = { 0 };
    const weir_code code = weir_stage_get(stage, indexer_key_view(&key),
        &weir__internal__v1__index_metadata_record__descriptor, &metadata, reterr);

    if (code != WEIR_OK)
        return code;
    if (metadata == NULL) { /* it was set aside */
        indexer_drop_staged(core, stage, document, staged, "its metadata is missing");
        return WEIR_OK;
    }
    WEIR_FP_RETURN("indexer.ready.before", reterr);
    indexer_register_make_ready(document->record, weir_stage_arena(stage), staged,
        weir_stage_now_ms(stage), &left);
    document->record->media_type = metadata->media_type;
    indexer_document_save(stage, document);
    indexer_retire(core, document, &left);
    report_ready(stage, document);
    WEIR_FP_RETURN("indexer.ready.after", reterr);
    return indexer_send_ready(stage, document, reterr);
}

static weir_code
stage_chunks(arrival *at, weir_error *reterr)
{
    uint32_t count = 0;

    WEIR_FP_RETURN("indexer.stage.before", reterr);
    know_vectors(at);
    indexer_staged *staged = indexer_register_obtain(at->document.record,
        weir_stage_arena(at->stage), at->owner.revision, at->owner.epoch);
    if (staged->era == 0)
        put_metadata(at);
    const weir_code code = put_new_chunks(at, &count, reterr);
    if (code != WEIR_OK)
        return code;
    staged->staged_count += count;
    staged->era = at->row->era;
    if (at->chunks->chunk_count != 0) {
        staged->chunk_count = at->chunks->chunk_count;
        staged->token_count = at->chunks->token_count;
    }
    if (indexer_staged_is_complete(staged) && at->core->may_decide)
        return make_ready(at->core, at->stage, &at->document, staged, reterr);
    WEIR_FP_RETURN("indexer.stage.incomplete", reterr);
    indexer_document_save(at->stage, &at->document);
    if (indexer_staged_is_complete(staged))
        indexer_push_pending(at->core, at->document.collection, &at->owner);
    return WEIR_OK;
}

static weir_code
take_open(arrival *at, weir_error *reterr)
{
    weir_error why = { 0 };

    if (check(at, &why) == WEIR_OK)
        return stage_chunks(at, reterr);
    report_failed(at, &why);
    return WEIR_OK;
}

weir_code
indexer_take_vectors(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr)
{
    arrival at = { .core = core,
        .stage = stage,
        .row = row,
        .chunks = row->vectors,
        .owner = { row->document_id, row->revision, row->epoch } };
    indexer_collection *collection = NULL;
    weir_code code = indexer_obtain_collection(core, stage, row, &collection, reterr);

    if (code != WEIR_OK)
        return code;
    if (collection == NULL) {
        weir_error why;

        weir_error_set(&why, WEIR_INTERNAL, "collection %" PRIu64 " is another tenant's",
            row->collection_no);
        report_failed(&at, &why);
        return WEIR_OK;
    }
    code = indexer_document_load(stage, collection, row->document_id, &at.document, reterr);
    if (code != WEIR_OK)
        return code;
    switch (indexer_register_fence(at.document.record, row->revision, row->epoch)) {
    case INDEXER_FENCE_OPEN:
        return take_open(&at, reterr);
    case INDEXER_FENCE_READY:
    case INDEXER_FENCE_NEWER:
        /* The gateway may not have heard of the READY one: then this try counts as under way there,
         * and may take the place of the one that would tell. */
        return indexer_send_ready(stage, &at.document, reterr);
    case INDEXER_FENCE_DELETED:
    case INDEXER_FENCE_REVOKED:
        return WEIR_OK;
    }
    weir_assert(!"every fence is handled");
    return WEIR_INTERNAL;
}

/* ---- what waited for the gate ---- */

void
indexer_push_pending(indexer_core *core, indexer_collection *collection, const indexer_try *owner)
{
    const size_t size = strlen(owner->document_id) + 1;
    indexer_pending *item = weir_alloc(sizeof *item + size);

    memcpy(item->text, owner->document_id, size);
    item->collection = collection;
    item->owner = (indexer_try){ item->text, owner->revision, owner->epoch };
    STAILQ_INSERT_TAIL(&core->pending, item, link);
    core->pending_count++;
}

/* Rows of an older era were given up with it: the gateway drives the revision again under a new
 * epoch. */
static bool
may_be_ready(const indexer_document *document, const indexer_staged *staged, uint64_t era)
{
    return staged != NULL && indexer_staged_is_complete(staged) && staged->era >= era &&
        indexer_register_fence(document->record, staged->revision, staged->epoch) ==
        INDEXER_FENCE_OPEN;
}

static weir_code
decide(indexer_core *core, weir_stage *stage, const indexer_pending *item, weir_error *reterr)
{
    const char *document_id = weir_arena_strdup(weir_stage_arena(stage), item->owner.document_id);
    indexer_document document;
    const weir_code code =
        indexer_document_load(stage, item->collection, document_id, &document, reterr);

    if (code != WEIR_OK)
        return code;
    const indexer_staged *staged =
        indexer_register_find(document.record, item->owner.revision, item->owner.epoch);
    if (!may_be_ready(&document, staged, weir_stage_era(stage)))
        return WEIR_OK;
    return make_ready(core, stage, &document, staged, reterr);
}

weir_code
indexer_decide_pending(indexer_core *core, weir_stage *stage, uint32_t *budget, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (; *budget > 0 && code == WEIR_OK && !STAILQ_EMPTY(&core->pending); (*budget)--) {
        indexer_pending *item = STAILQ_FIRST(&core->pending);

        code = decide(core, stage, item, reterr);
        STAILQ_REMOVE_HEAD(&core->pending, link);
        core->pending_count--;
        weir_free(item);
    }
    return code;
}
