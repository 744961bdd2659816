/*
 * search.c - nearest chunks of what is READY in one snapshot.
 *
 * The index holds rows that may not be seen: staged ones, and retired ones that an older snapshot
 * still needs.  So a search asks for more rows than it wants, keeps those whose try is READY in its
 * snapshot, and asks for four times as many again until it has enough or the index has no more.
 */
#include <math.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "services/indexer/view.h"

typedef Weir__Internal__V1__SearchVectorsRequest search_request;
typedef Weir__Internal__V1__SearchVectorsResponse search_response;

enum { SPARE_ROWS = 32, TIE_ROWS_MAX = 8192, NEIGHBOR_CHUNKS_MAX = 5, RETRY_AFTER_MS = 1000 };

/* Which tries may be seen, asked once each: open addressing by pointer. */
typedef struct verdict {
    const indexer_owner *owner;
    bool is_visible;
} verdict;

typedef struct search {
    indexer_view view;
    const search_request *request;
    indexer_collection *collection;
    indexer_index *index;
    float *query;
    indexer_hits hits;
    verdict *verdicts; /* owners in `hits` stay, so their addresses do */
    size_t verdict_count, verdict_capacity;
    const indexer_hit **chosen; /* top_k at most, best first */
    size_t chosen_count;
    bool is_enough; /* more rows would not change `chosen` */
} search;

/* ---- the request ---- */

static weir_code
check_request(const indexer_core *core, const search_request *request, weir_error *reterr)
{
    if (request->top_k == 0 || request->top_k > WEIR_TOP_K_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "top_k",
            "top_k is %u; it may be 1 to %d", request->top_k, WEIR_TOP_K_MAX);
    if (request->neighbor_chunks > NEIGHBOR_CHUNKS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "neighbor_chunks",
            "neighbor_chunks is %u; it may be 0 to %d", request->neighbor_chunks,
            NEIGHBOR_CHUNKS_MAX);
    if (request->has_min_score && isnan(request->min_score))
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "min_score",
            "min_score is not a number");
    if (indexer_gate_is_open(core) || request->allow_partial)
        return WEIR_OK;
    weir_error_set(reterr, WEIR_INDEX_REBUILDING,
        "the index has not been found whole since its start");
    if (reterr != NULL)
        reterr->retry_after_ms = RETRY_AFTER_MS;
    return WEIR_INDEX_REBUILDING;
}

/* Documents whose chunks were found damaged were READY and are not absent. */
static weir_code
check_lost(const search *self, search_response *response, weir_error *reterr)
{
    const uint64_t lost = self->collection != NULL ? indexer_collection_lost(self->collection) : 0;

    if (lost == 0)
        return WEIR_OK;
    response->complete = false;
    if (self->request->allow_partial)
        return WEIR_OK;
    weir_error_set(reterr, WEIR_INDEX_REBUILDING,
        "%llu documents of the collection were damaged and are being brought back",
        (unsigned long long)lost);
    if (reterr != NULL)
        reterr->retry_after_ms = RETRY_AFTER_MS;
    return WEIR_INDEX_REBUILDING;
}

static weir_code
read_query(search *self, weir_error *reterr)
{
    const ProtobufCBinaryData vector = self->request->vector;
    const size_t dimension = vector.len / sizeof(float);
    weir_error why = { 0 };

    if (dimension == 0 || dimension * sizeof(float) != vector.len)
        return weir_error_set_field(reterr, WEIR_DIMENSION_MISMATCH, "vector",
            "a vector of %zu bytes", vector.len);
    if (self->index != NULL && dimension != indexer_index_dimension(self->index))
        return weir_error_set_field(reterr, WEIR_DIMENSION_MISMATCH, "vector",
            "the vector has %zu components; the collection has %u", dimension,
            indexer_index_dimension(self->index));
    self->query = weir_arena_memdup(self->view.arena, vector.data, vector.len);
    const weir_code code = indexer_vector_normalise(self->query, (uint32_t)dimension, &why);
    if (code != WEIR_OK)
        return weir_error_set_field(reterr, code, "vector", "%s", why.message);
    return WEIR_OK;
}

/* ---- what may be seen ---- */

static verdict *
find_verdict(verdict *verdicts, size_t capacity, const indexer_owner *owner)
{
    size_t at = (size_t)((uintptr_t)owner * 0x9e3779b97f4a7c15u >> 20) & (capacity - 1);

    while (verdicts[at].owner != NULL && verdicts[at].owner != owner)
        at = (at + 1) & (capacity - 1);
    return &verdicts[at];
}

static void
grow_verdicts(search *self)
{
    const size_t capacity = self->verdict_capacity == 0 ? 256 : self->verdict_capacity * 2;
    verdict *larger = weir_alloc_zero(capacity, sizeof *larger);

    for (size_t i = 0; i < self->verdict_capacity; i++)
        if (self->verdicts[i].owner != NULL)
            *find_verdict(larger, capacity, self->verdicts[i].owner) = self->verdicts[i];
    weir_free(self->verdicts);
    self->verdicts = larger;
    self->verdict_capacity = capacity;
}

static bool
is_ready(const indexer_register *record, const indexer_try *owner)
{
    return record != NULL && record->ready_revision == owner->revision &&
        record->ready_epoch == owner->epoch;
}

static weir_code
check_visible(search *self, const indexer_owner *owner, bool *ret_visible, weir_error *reterr)
{
    const indexer_register *record = NULL;

    if (self->verdict_count * 2 >= self->verdict_capacity)
        grow_verdicts(self);
    verdict *known = find_verdict(self->verdicts, self->verdict_capacity, owner);
    if (known->owner == NULL) {
        const indexer_try *key = indexer_owner_try(owner);
        const weir_code code = indexer_view_register(&self->view, self->collection->collection_no,
            key->document_id, &record, reterr);

        if (code != WEIR_OK)
            return code;
        *known = (verdict){ .owner = owner, .is_visible = is_ready(record, key) };
        self->verdict_count++;
    }
    *ret_visible = known->is_visible;
    return WEIR_OK;
}

/* ---- choosing ---- */

/* One document's share is full.  The list is short (top_k), so it is counted anew. */
static bool
has_share(const search *self, const indexer_hit *hit)
{
    uint32_t count = 0;

    if (self->request->max_hits_per_document == 0)
        return false;
    for (size_t i = 0; i < self->chosen_count; i++)
        count += strcmp(indexer_owner_try(self->chosen[i]->owner)->document_id,
                     indexer_owner_try(hit->owner)->document_id) == 0;
    return count >= self->request->max_hits_per_document;
}

/* Every row that was not fetched scores at most as high as the last one that was. */
static bool
is_decided(const search *self)
{
    if (self->hits.is_complete)
        return true;
    if (self->chosen_count < self->request->top_k)
        return false;
    const float last = self->chosen[self->chosen_count - 1]->score;
    return last > self->hits.items[self->hits.count - 1].score ||
        self->hits.count >= self->request->top_k + TIE_ROWS_MAX;
}

/* Go down the sorted hits. */
static weir_code
choose(search *self, weir_error *reterr)
{
    self->chosen_count = 0;
    for (size_t i = 0; i < self->hits.count && self->chosen_count < self->request->top_k; i++) {
        const indexer_hit *hit = &self->hits.items[i];
        bool is_visible = false;

        if (self->request->has_min_score && hit->score < self->request->min_score) {
            self->is_enough = true; /* all that follow score less */
            return WEIR_OK;
        }
        const weir_code code = check_visible(self, hit->owner, &is_visible, reterr);
        if (code != WEIR_OK)
            return code;
        if (is_visible && !has_share(self, hit))
            self->chosen[self->chosen_count++] = hit;
    }
    self->is_enough = is_decided(self);
    return WEIR_OK;
}

static weir_code
search_all(search *self, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t wanted = self->request->top_k + SPARE_ROWS; code == WEIR_OK && !self->is_enough;
        wanted *= 4) {
        /* Hits of the round before are let go, and with them the owners that verdicts point at. */
        memset(self->verdicts, 0, self->verdict_capacity * sizeof *self->verdicts);
        self->verdict_count = 0;
        code = indexer_index_search(self->index, self->query, wanted, &self->hits, reterr);
        if (code == WEIR_OK)
            code = choose(self, reterr);
    }
    return code;
}

/* ---- the documents asked for ---- */

static int
compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* READY tries of the documents asked for, each once. */
static weir_code
list_tries(search *self, indexer_try *tries, size_t *ret_count, weir_error *reterr)
{
    const size_t asked = self->request->n_document_ids;
    char **names =
        weir_arena_memdup(self->view.arena, self->request->document_ids, asked * sizeof *names);
    weir_code code = WEIR_OK;
    size_t count = 0;

    qsort(names, asked, sizeof *names, compare_names);
    for (size_t i = 0; i < asked && code == WEIR_OK; i++) {
        const size_t size = strlen(names[i]);
        const indexer_register *record = NULL;

        if (size == 0 || size > WEIR_DOCUMENT_ID_BYTES_MAX ||
            (i > 0 && strcmp(names[i - 1], names[i]) == 0))
            continue;
        code = indexer_view_register(&self->view, self->collection->collection_no, names[i],
            &record, reterr);
        if (code == WEIR_OK && record != NULL && record->ready_revision > 0)
            tries[count++] = (indexer_try){ names[i], record->ready_revision, record->ready_epoch };
    }
    *ret_count = count;
    return code;
}

static weir_code
search_documents(search *self, weir_error *reterr)
{
    indexer_try *tries =
        weir_arena_alloc(self->view.arena, self->request->n_document_ids * sizeof *tries);
    size_t count = 0, found = 0;
    const weir_code code = list_tries(self, tries, &count, reterr);

    if (code != WEIR_OK)
        return code;
    indexer_index_gather(self->index, self->query, tries, count, &self->hits, &found);
    if (found < count && indexer_gate_is_open(self->view.core))
        return weir_error_set(reterr, WEIR_INTERNAL,
            "%zu READY documents of %zu are not in the index", count - found, count);
    return choose(self, reterr);
}

/* ---- filling in hits ---- */

static weir_code
get_chunk(search *self, const indexer_try *owner, uint32_t ordinal,
    Weir__Internal__V1__ChunkRecord **ret_chunk, weir_error *reterr)
{
    const indexer_key key =
        indexer_key_row(INDEXER_TAG_CHUNK, self->collection->collection_no, owner, ordinal);
    const weir_code code = indexer_view_get(&self->view, &key,
        &weir__internal__v1__chunk_record__descriptor, NULL, ret_chunk, reterr);

    if (code == WEIR_OK && *ret_chunk == NULL)
        return weir_error_set(reterr, WEIR_CORRUPT,
            "chunk %u of READY document %.64s is not stored", ordinal, owner->document_id);
    return code;
}

/* Append what `next` adds to a text that ends at *end: neighbours share some bytes, and what was
 * left out between two chunks was only space. */
static void
join_chunk(weir_buffer *text, uint64_t *end, const Weir__Internal__V1__ChunkRecord *next)
{
    const size_t size = strlen(next->text);
    uint64_t skip = next->start_byte < *end ? *end - next->start_byte : 0;

    if (text->size > 0 && next->start_byte > *end)
        weir_buffer_append_u8(text, ' ');
    if (skip > size)
        skip = size;
    weir_buffer_append(text, next->text + skip, size - skip);
    if (next->end_byte > *end)
        *end = next->end_byte;
}

/* The hit's text with that of its neighbours. */
static weir_code
join_neighbors(search *self, const indexer_try *owner, uint32_t ordinal,
    Weir__Internal__V1__IndexHit *hit, weir_error *reterr)
{
    const uint32_t reach = self->request->neighbor_chunks;
    const indexer_register *record = NULL;
    weir_code code = indexer_view_register(&self->view, self->collection->collection_no,
        owner->document_id, &record, reterr);
    weir_buffer text = { 0 };
    uint64_t end = 0;

    if (code != WEIR_OK)
        return code;
    const uint32_t last = record->ready_chunk_count - 1;
    const uint32_t from = ordinal > reach ? ordinal - reach : 0;
    const uint32_t to = last - ordinal > reach ? ordinal + reach : last;
    for (uint32_t i = from; i <= to && code == WEIR_OK; i++) {
        Weir__Internal__V1__ChunkRecord *chunk = NULL;

        code = get_chunk(self, owner, i, &chunk, reterr);
        if (code != WEIR_OK)
            break;
        if (i == from)
            hit->start_byte = end = chunk->start_byte;
        join_chunk(&text, &end, chunk);
    }
    hit->end_byte = end;
    hit->text = weir_arena_strndup(self->view.arena, text.size > 0 ? (const char *)text.data : "",
        text.size);
    weir_buffer_fini(&text);
    return code;
}

static weir_code
fill_metadata(search *self, const indexer_try *owner, Weir__Internal__V1__IndexHit *hit,
    weir_error *reterr)
{
    const indexer_key key = indexer_key_metadata(self->collection->collection_no, owner);
    Weir__Internal__V1__IndexMetadataRecord *record = NULL;
    const weir_code code = indexer_view_get(&self->view, &key,
        &weir__internal__v1__index_metadata_record__descriptor, NULL, &record, reterr);

    if (code != WEIR_OK)
        return code;
    if (record == NULL)
        return weir_error_set(reterr, WEIR_CORRUPT, "READY document %.64s has no metadata record",
            owner->document_id);
    hit->title = record->title;
    hit->n_metadata = record->n_metadata;
    hit->metadata = record->metadata;
    return WEIR_OK;
}

static float
clamp_score(float score)
{
    return score > 1 ? 1 : score < -1 ? -1 : score;
}

static weir_code
fill_hit(search *self, const indexer_hit *from, Weir__Internal__V1__IndexHit *hit,
    weir_error *reterr)
{
    const indexer_try *owner = indexer_owner_try(from->owner);
    Weir__Internal__V1__ChunkRecord *chunk = NULL;
    weir_code code = get_chunk(self, owner, from->ordinal, &chunk, reterr);

    weir__internal__v1__index_hit__init(hit);
    if (code != WEIR_OK)
        return code;
    hit->document_id = weir_arena_strdup(self->view.arena, owner->document_id);
    hit->revision = owner->revision;
    hit->ordinal = from->ordinal;
    hit->score = clamp_score(from->score);
    hit->start_byte = chunk->start_byte;
    hit->end_byte = chunk->end_byte;
    hit->n_heading_path = chunk->n_heading_path;
    hit->heading_path = chunk->heading_path;
    if (!self->request->omit_text)
        hit->text = chunk->text;
    if (!self->request->omit_text && self->request->neighbor_chunks > 0)
        code = join_neighbors(self, owner, from->ordinal, hit, reterr);
    return code == WEIR_OK ? fill_metadata(self, owner, hit, reterr) : code;
}

static weir_code
fill_response(search *self, search_response *response, weir_error *reterr)
{
    weir_arena *arena = self->view.arena;
    size_t bytes = 0;

    response->hits = weir_arena_alloc(arena, (self->chosen_count + 1) * sizeof *response->hits);
    for (size_t i = 0; i < self->chosen_count; i++) {
        Weir__Internal__V1__IndexHit *hit = weir_arena_alloc(arena, sizeof *hit);
        const weir_code code = fill_hit(self, self->chosen[i], hit, reterr);

        if (code != WEIR_OK)
            return code;
        response->hits[response->n_hits++] = hit;
        bytes += protobuf_c_message_get_packed_size(&hit->base) + 8;
        if (bytes > WEIR_ANSWER_BYTES_MAX)
            return weir_error_set(reterr, WEIR_RESPONSE_TOO_LARGE,
                "%zu of %zu hits fill the answer: ask for fewer, fewer neighbors, or no text", i,
                self->chosen_count);
    }
    return WEIR_OK;
}

/* ---- all of it ---- */

static weir_code
run(search *self, search_response *response, weir_error *reterr)
{
    weir_code code = read_query(self, reterr);

    if (code != WEIR_OK || self->index == NULL)
        return code;
    self->chosen = weir_arena_alloc(self->view.arena, self->request->top_k * sizeof *self->chosen);
    grow_verdicts(self);
    code = self->request->n_document_ids > 0 ? search_documents(self, reterr)
                                             : search_all(self, reterr);
    return code == WEIR_OK ? fill_response(self, response, reterr) : code;
}

weir_code
indexer_search(indexer_core *core, const search_request *request, search_response *response,
    weir_arena *arena, weir_error *reterr)
{
    search self = { .request = request };
    weir_code code = check_request(core, request, reterr);

    if (code != WEIR_OK)
        return code;
    /* Before the snapshot: a gate that was open then stays open, and what it waited for is in the
     * snapshot. */
    response->complete = indexer_gate_is_open(core);
    response->exact = true;
    WEIR_FP_RETURN("indexer.search.before", reterr);
    self.collection =
        indexer_collections_find_for(&core->collections, request->collection_no, request->tenant);
    code = check_lost(&self, response, reterr);
    if (code != WEIR_OK)
        return code;
    indexer_view_begin(&self.view, core, arena);
    if (self.collection != NULL)
        self.index = indexer_collection_index(self.collection);
    code = WEIR_FP_CODE("indexer.search.snapshot", reterr);
    if (code == WEIR_OK)
        code = run(&self, response, reterr);
    indexer_hits_fini(&self.hits);
    weir_free(self.verdicts);
    indexer_view_end(&self.view);
    return code;
}
