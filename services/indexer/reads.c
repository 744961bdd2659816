/*
 * reads.c - what the register and the chunks say, each answer from one snapshot.
 */
#include <inttypes.h>

#include "services/indexer/tally.h"
#include "services/indexer/view.h"

enum { LIST_BYTES_MAX = 3 << 20, FINDINGS_MAX = 100 };

/* ---- GetIndexedDocument ---- */

static void
fill_staged(const indexer_register *record,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_arena *arena)
{
    response->staged = weir_arena_alloc(arena, (record->n_staged + 1) * sizeof *response->staged);
    for (size_t i = 0; i < record->n_staged; i++) {
        Weir__Internal__V1__StagedRevision *staged = weir_arena_alloc(arena, sizeof *staged);

        weir__internal__v1__staged_revision__init(staged);
        staged->revision = record->staged[i]->revision;
        staged->epoch = record->staged[i]->epoch;
        staged->staged_count = record->staged[i]->staged_count;
        staged->chunk_count = record->staged[i]->chunk_count;
        response->staged[response->n_staged++] = staged;
    }
}

void
indexer_fill_register(const indexer_register *record,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_arena *arena)
{
    response->deleted_below = record->deleted_below;
    response->ready_revision = record->ready_revision;
    response->ready_epoch = record->ready_epoch;
    response->chunk_count = record->ready_chunk_count;
    response->token_count = record->ready_token_count;
    response->ready_time_ms = record->ready_time_ms;
    response->media_type = weir_arena_strdup(arena, record->media_type);
    fill_staged(record, response, arena);
}

static bool
can_be_document(const char *document_id)
{
    const size_t size = strlen(document_id);

    return size > 0 && size <= WEIR_DOCUMENT_ID_BYTES_MAX;
}

static weir_code
fill_document(indexer_view *view, uint64_t collection_no, const char *document_id,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_error *reterr)
{
    const indexer_register *record = NULL;
    const weir_code code = indexer_view_register(view, collection_no, document_id, &record, reterr);

    if (code == WEIR_OK && record != NULL)
        indexer_fill_register(record, response, view->arena);
    return code;
}

weir_code
indexer_get_document(indexer_core *core,
    const Weir__Internal__V1__GetIndexedDocumentRequest *request,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_arena *arena, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    indexer_view view;

    response->complete = indexer_gate_is_open(core);
    indexer_view_begin(&view, core, arena);
    if (can_be_document(request->document_id) &&
        indexer_collections_find_for(&core->collections, request->collection_no, request->tenant) !=
            NULL)
        code = fill_document(&view, request->collection_no, request->document_id, response, reterr);
    indexer_view_end(&view);
    return code;
}

/* ---- ListIndexedChunks ---- */

typedef struct lister {
    indexer_view view;
    const Weir__Internal__V1__ListIndexedChunksRequest *request;
    Weir__Internal__V1__ListIndexedChunksResponse *response;
    uint32_t dimension;
    size_t bytes;
    uint8_t *held; /* the vectors of held_count chunks from held_first on; in the arena */
    uint32_t held_first, held_count;
} lister;

/* Take the record that holds the chunk's vector into hand. */
static weir_code
find_vectors(lister *self, const indexer_try *owner, uint32_t ordinal, weir_error *reterr)
{
    const uint64_t collection_no = self->request->collection_no;
    const indexer_key lower = indexer_key_row(INDEXER_TAG_VECTOR, collection_no, owner, 0);
    const indexer_key upper = ordinal < UINT32_MAX
        ? indexer_key_row(INDEXER_TAG_VECTOR, collection_no, owner, ordinal + 1)
        : indexer_key_rows_end(INDEXER_TAG_VECTOR, collection_no, owner);
    weir_iter *iter = weir_store_iter(self->view.core->store, self->view.snapshot,
        indexer_key_view(&lower), indexer_key_view(&upper));
    indexer_key_parts parts;
    weir_bytes vectors = { 0 };
    weir_code code = WEIR_OK;

    self->held_count = 0;
    if (weir_iter_last(iter)) {
        code = indexer_key_parse(INDEXER_TAG_VECTOR, weir_iter_key(iter), &parts, reterr);
        if (code == WEIR_OK)
            code = indexer_vectors_check(weir_iter_value(iter), self->dimension, &vectors,
                &self->held_count, reterr);
        self->held_first = code == WEIR_OK ? parts.ordinal : 0;
        self->held = weir_arena_memdup(self->view.arena, vectors.data, vectors.size);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static bool
holds(const lister *self, uint32_t ordinal)
{
    return ordinal >= self->held_first && ordinal - self->held_first < self->held_count;
}

static weir_code
fill_vector(lister *self, const indexer_try *owner, Weir__Internal__V1__Chunk *chunk,
    weir_error *reterr)
{
    const size_t size = self->dimension * sizeof(float);

    if (!holds(self, chunk->ordinal)) {
        const weir_code code = find_vectors(self, owner, chunk->ordinal, reterr);

        if (code != WEIR_OK)
            return code;
    }
    if (!holds(self, chunk->ordinal))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "chunk %u of READY document %.64s has no vector", chunk->ordinal, owner->document_id);
    chunk->vector.len = size;
    chunk->vector.data = self->held + (chunk->ordinal - self->held_first) * size;
    return WEIR_OK;
}

static weir_code
add_chunk(lister *self, const weir_iter *iter, weir_error *reterr)
{
    indexer_key_parts parts;
    Weir__Internal__V1__ChunkRecord *record = NULL;
    Weir__Internal__V1__Chunk *chunk = weir_arena_alloc(self->view.arena, sizeof *chunk);
    weir_code code = indexer_key_parse(INDEXER_TAG_CHUNK, weir_iter_key(iter), &parts, reterr);

    if (code == WEIR_OK)
        code = indexer_view_decode(weir_iter_value(iter),
            &weir__internal__v1__chunk_record__descriptor, self->view.arena, &record, reterr);
    if (code != WEIR_OK)
        return code;
    weir__internal__v1__chunk__init(chunk);
    chunk->ordinal = parts.ordinal;
    chunk->text = record->text;
    chunk->start_byte = record->start_byte;
    chunk->end_byte = record->end_byte;
    chunk->n_heading_path = record->n_heading_path;
    chunk->heading_path = record->heading_path;
    chunk->token_count = record->token_count;
    if (self->request->with_vectors)
        code = fill_vector(self, &parts.owner, chunk, reterr);
    self->bytes += protobuf_c_message_get_packed_size(&chunk->base);
    self->response->chunks[self->response->n_chunks++] = chunk;
    return code;
}

static weir_code
list_rows(lister *self, const indexer_try *owner, weir_error *reterr)
{
    const Weir__Internal__V1__ListIndexedChunksRequest *request = self->request;
    const indexer_key lower =
        indexer_key_row(INDEXER_TAG_CHUNK, request->collection_no, owner, request->from_ordinal);
    const indexer_key upper =
        indexer_key_rows_end(INDEXER_TAG_CHUNK, request->collection_no, owner);
    weir_iter *iter = weir_store_iter(self->view.core->store, self->view.snapshot,
        indexer_key_view(&lower), indexer_key_view(&upper));
    weir_code code = WEIR_OK;

    self->response->chunks =
        weir_arena_alloc(self->view.arena, request->limit * sizeof *self->response->chunks);
    while (code == WEIR_OK && self->response->n_chunks < request->limit &&
        self->bytes < LIST_BYTES_MAX && weir_iter_next(iter))
        code = add_chunk(self, iter, reterr);
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
fill_title(lister *self, const indexer_try *owner, weir_error *reterr)
{
    const indexer_key key = indexer_key_metadata(self->request->collection_no, owner);
    Weir__Internal__V1__IndexMetadataRecord *record = NULL;
    const weir_code code = indexer_view_get(&self->view, &key,
        &weir__internal__v1__index_metadata_record__descriptor, NULL, &record, reterr);

    if (code == WEIR_OK && record != NULL)
        self->response->title = record->title;
    return code;
}

static weir_code
list(lister *self, weir_error *reterr)
{
    const Weir__Internal__V1__ListIndexedChunksRequest *request = self->request;
    indexer_core *core = self->view.core;
    indexer_collection *collection =
        indexer_collections_find_for(&core->collections, request->collection_no, request->tenant);
    const indexer_register *record = NULL;
    weir_code code = WEIR_OK;

    if (collection != NULL && can_be_document(request->document_id))
        code = indexer_view_register(&self->view, request->collection_no, request->document_id,
            &record, reterr);
    if (code != WEIR_OK)
        return code;
    if (record == NULL || record->ready_revision == 0)
        return weir_error_set(reterr, WEIR_DOCUMENT_NOT_FOUND,
            "no revision of document \"%.128s\" is READY, so it has no chunks",
            request->document_id);
    if (request->revision != 0 && request->revision != record->ready_revision)
        return weir_error_set(reterr, WEIR_DOCUMENT_NOT_FOUND,
            "revision %lld of document \"%.128s\" is not READY, so it has no chunks; revision %lld "
            "is",
            (long long)request->revision, request->document_id, (long long)record->ready_revision);

    const indexer_try owner = { request->document_id, record->ready_revision, record->ready_epoch };
    self->response->revision = record->ready_revision;
    self->response->chunk_count = record->ready_chunk_count;
    self->dimension = indexer_index_dimension(collection->index);
    code = list_rows(self, &owner, reterr);
    return code == WEIR_OK ? fill_title(self, &owner, reterr) : code;
}

weir_code
indexer_list_chunks(indexer_core *core, const Weir__Internal__V1__ListIndexedChunksRequest *request,
    Weir__Internal__V1__ListIndexedChunksResponse *response, weir_arena *arena, weir_error *reterr)
{
    lister self = { .request = request, .response = response };

    if (request->limit == 0 || request->limit > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "limit",
            "limit is %u; it may be 1 to %d", request->limit, WEIR_PAGE_SIZE_MAX);
    indexer_view_begin(&self.view, core, arena);
    const weir_code code = list(&self, reterr);
    indexer_view_end(&self.view);
    return code;
}

/* ---- VerifyIndex ---- */

typedef struct verifier {
    indexer_view view;
    indexer_collection *collection;
    Weir__Internal__V1__VerifyIndexResponse *response;
} verifier;

static weir_code
verify_document(verifier *self, const char *document_id, const indexer_register *record,
    weir_error *reterr)
{
    const indexer_source source = { .store = self->view.core->store,
        .snapshot = self->view.snapshot };
    Weir__Internal__V1__VerifyIndexResponse *response = self->response;
    indexer_tally tally;
    const weir_code code = indexer_tally_document(&source, self->collection->collection_no,
        self->collection, document_id, record, self->view.scratch, &tally, reterr);

    if (code != WEIR_OK)
        return code;
    response->documents++;
    response->chunks += tally.wanted;
    response->reachable += tally.indexed;
    if (indexer_tally_is_whole(&tally) || response->n_findings == FINDINGS_MAX)
        return WEIR_OK;
    response->findings[response->n_findings++] = weir_arena_printf(self->view.arena,
        "collection %" PRIu64 ", document %s, revision %" PRId64 ": %s",
        self->collection->collection_no, document_id, record->ready_revision,
        indexer_tally_finding(&tally, self->view.scratch));
    return WEIR_OK;
}

static weir_code
verify_pair(verifier *self, const weir_iter *iter, weir_error *reterr)
{
    const indexer_register *record = NULL;
    indexer_key_parts parts;
    weir_code code = indexer_key_parse(INDEXER_TAG_DOCUMENT, weir_iter_key(iter), &parts, reterr);

    weir_arena_reset(self->view.scratch);
    if (code == WEIR_OK)
        code = indexer_view_decode(weir_iter_value(iter),
            &weir__internal__v1__index_document_record__descriptor, self->view.scratch, &record,
            reterr);
    if (code != WEIR_OK || record->ready_revision == 0)
        return code;
    return verify_document(self, parts.owner.document_id, record, reterr);
}

static weir_code
verify_collection(verifier *self, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    indexer_key lower, upper;

    indexer_key_range(INDEXER_TAG_DOCUMENT, self->collection->collection_no, &lower, &upper);
    weir_iter *iter = weir_store_iter(self->view.core->store, self->view.snapshot,
        indexer_key_view(&lower), indexer_key_view(&upper));
    while (code == WEIR_OK && weir_iter_next(iter))
        code = verify_pair(self, iter, reterr);
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_code
indexer_verify(indexer_core *core, const Weir__Internal__V1__VerifyIndexRequest *request,
    Weir__Internal__V1__VerifyIndexResponse *response, weir_arena *arena, weir_error *reterr)
{
    verifier self = { .response = response };
    const uint64_t only = request->collection_no;
    uint64_t after = only > 0 ? only - 1 : 0;
    weir_code code = WEIR_OK;

    indexer_view_begin(&self.view, core, arena);
    response->findings = weir_arena_alloc(arena, FINDINGS_MAX * sizeof *response->findings);
    while (code == WEIR_OK &&
        (self.collection = indexer_collections_next(&core->collections, after)) != NULL) {
        if (only > 0 && self.collection->collection_no != only)
            break;
        code = verify_collection(&self, reterr);
        after = self.collection->collection_no;
    }
    indexer_view_end(&self.view);
    return code;
}
