/*
 * tally.c - see tally.h.
 */
#include "services/indexer/tally.h"

#include <string.h>

#include "common/wire/wire.h"

typedef struct counting {
    const indexer_source *source;
    uint64_t collection_no;
    indexer_index *index;
    const char *document_id;
    const indexer_register *record;
    weir_arena *arena;
    indexer_tally *tally;
    float *vector; /* aligned */
} counting;

static weir_iter *
open_tag(const counting *self, indexer_tag tag)
{
    indexer_key lower, upper;

    indexer_key_tries(tag, self->collection_no, self->document_id, &lower, &upper);
    return self->source->batch != NULL
        ? weir_batch_iter(self->source->batch, indexer_key_view(&lower), indexer_key_view(&upper))
        : weir_store_iter(self->source->store, self->source->snapshot, indexer_key_view(&lower),
              indexer_key_view(&upper));
}

static bool
is_ready(const counting *self, const indexer_try *owner)
{
    return self->record != NULL && self->record->ready_revision == owner->revision &&
        self->record->ready_epoch == owner->epoch && owner->revision > 0;
}

/* Keys come in order, so a try is the last one or a new one. */
static void
add_stray(const counting *self, const indexer_try *owner)
{
    indexer_left *strays = &self->tally->strays;

    for (size_t i = 0; i < strays->count; i++)
        if (strays->tries[i].revision == owner->revision && strays->tries[i].epoch == owner->epoch)
            return;
    indexer_try *tries = weir_arena_alloc(self->arena, (strays->count + 1) * sizeof *tries);
    if (strays->count > 0)
        memcpy(tries, strays->tries, strays->count * sizeof *tries);
    tries[strays->count++] = (indexer_try){ .document_id = self->document_id,
        .revision = owner->revision,
        .epoch = owner->epoch };
    strays->tries = tries;
}

/* One record of vectors of the READY try. */
static void
count_vectors(const counting *self, const indexer_key_parts *parts, weir_bytes value)
{
    indexer_tally *tally = self->tally;
    weir_bytes vectors;
    uint32_t count = 0;

    if (self->index == NULL || parts->ordinal != tally->vectors)
        return;
    const uint32_t dimension = indexer_index_dimension(self->index);
    if (indexer_vectors_check(value, dimension, &vectors, &count, NULL) != WEIR_OK)
        return;
    tally->vectors += count;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(self->vector, vectors.data + i * dimension * sizeof(float),
            dimension * sizeof(float));
        tally->indexed +=
            indexer_index_holds(self->index, &parts->owner, parts->ordinal + i, self->vector);
    }
}

static bool
is_sound(const ProtobufCMessageDescriptor *descriptor, weir_bytes value)
{
    return weir_wire_check(descriptor, value, NULL, NULL) == WEIR_OK;
}

static void
count_pair(const counting *self, indexer_tag tag, const indexer_key_parts *parts, weir_bytes value)
{
    if (!is_ready(self, &parts->owner)) {
        if (self->record == NULL ||
            indexer_register_find(self->record, parts->owner.revision, parts->owner.epoch) == NULL)
            add_stray(self, &parts->owner);
    } else if (tag == INDEXER_TAG_CHUNK) {
        self->tally->texts += is_sound(&weir__internal__v1__chunk_record__descriptor, value);
    } else if (tag == INDEXER_TAG_METADATA) {
        self->tally->has_metadata =
            is_sound(&weir__internal__v1__index_metadata_record__descriptor, value);
    } else {
        count_vectors(self, parts, value);
    }
}

static weir_code
count_tag(const counting *self, indexer_tag tag, weir_error *reterr)
{
    weir_iter *iter = open_tag(self, tag);
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        indexer_key_parts parts;

        code = indexer_key_parse(tag, weir_iter_key(iter), &parts, reterr);
        if (code == WEIR_OK)
            count_pair(self, tag, &parts, weir_iter_value(iter));
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
indexer_tally_document(const indexer_source *source, uint64_t collection_no,
    indexer_collection *collection, const char *document_id, const indexer_register *record,
    weir_arena *arena, indexer_tally *ret_tally, weir_error *reterr)
{
    const counting self = { .source = source,
        .collection_no = collection_no,
        .index = collection != NULL ? indexer_collection_index(collection) : NULL,
        .document_id = document_id,
        .record = record,
        .arena = arena,
        .tally = ret_tally,
        .vector = weir_arena_alloc(arena, WEIR_DIMENSION_MAX * sizeof(float)) };

    *ret_tally = (indexer_tally){
        .wanted = record != NULL && record->ready_revision > 0 ? record->ready_chunk_count : 0
    };
    weir_code code = count_tag(&self, INDEXER_TAG_CHUNK, reterr);
    if (code == WEIR_OK)
        code = count_tag(&self, INDEXER_TAG_METADATA, reterr);
    if (code == WEIR_OK)
        code = count_tag(&self, INDEXER_TAG_VECTOR, reterr);
    if (code != WEIR_OK || ret_tally->wanted == 0 || self.index == NULL)
        return code;
    const indexer_try ready = { document_id, record->ready_revision, record->ready_epoch };
    ret_tally->index_rows = indexer_index_rows(self.index, &ready);
    return WEIR_OK;
}

bool
indexer_tally_is_whole(const indexer_tally *tally)
{
    return tally->wanted == 0 ||
        (tally->texts == tally->wanted && tally->vectors == tally->wanted &&
            tally->indexed == tally->wanted && tally->index_rows == tally->wanted &&
            tally->has_metadata);
}

const char *
indexer_tally_finding(const indexer_tally *tally, weir_arena *arena)
{
    if (!indexer_tally_is_whole(tally))
        return weir_arena_printf(arena,
            "of %u chunks that should be there: %u texts, %u sound vectors, %u of these in the "
            "index, %u rows in the index%s",
            tally->wanted, tally->texts, tally->vectors, tally->indexed, tally->index_rows,
            tally->has_metadata ? "" : ", and no metadata");
    if (tally->strays.count > 0)
        return weir_arena_printf(arena, "chunks of %zu tries that no register names",
            tally->strays.count);
    return "";
}
