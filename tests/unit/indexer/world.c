/*
 * world.c - see world.h.
 */
#include "tests/unit/indexer/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"

weir_error error;

void
world_stop(world *self)
{
    fake_stage_destroy(&self->stage);
    indexer_core_destroy(&self->core);
}

weir_code
world_try_restart(world *self)
{
    world_stop(self);
    self->core = indexer_core_create(self->store, &self->options);
    self->boot++;
    return fake_stage_start(self->store, &indexer_core_ops, self->core, self->boot, self->era,
        &self->stage, &error);
}

int
world_closed(void **state)
{
    world *self = weir_alloc_zero(1, sizeof *self);

    weir_log_init("indexer", true, WEIR_LOG_ERROR);
    self->store = weir_store_mem_create();
    self->arena = weir_arena_create(0);
    self->options.segment_bytes = 64 * WORLD_DIMENSION * 4;
    self->era = WORLD_ERA;
    self->tenant = "acme";
    self->collection_no = WORLD_COLLECTION;
    CHECK_OK(world_try_restart(self));
    *state = self;
    return 0;
}

int
world_open(void **state)
{
    world_closed(state);
    send_gate(*state, 0);
    world_commit(*state);
    forget(*state);
    return 0;
}

int
world_teardown(void **state)
{
    world *self = *state;

    world_stop(self);
    weir_store_close(&self->store);
    weir_arena_destroy(&self->arena);
    weir_free(self);
    return 0;
}

void
world_crash(world *self)
{
    world_stop(self);
    weir_store_mem_power_cut(self->store, self->seq);
    CHECK_OK(world_try_restart(self));
}

void
world_restart(world *self)
{
    world_commit(self);
    CHECK_OK(world_try_restart(self));
}

/* ---- rows ---- */

void
send_row(world *self, weir_link_kind link, Weir__Internal__V1__Row *row)
{
    if (row->era == 0)
        row->era = self->era;
    CHECK_OK(fake_stage_row(self->stage, link, ++self->seq, row, &error));
}

static Weir__Internal__V1__Row
row_of(world *self, const char *document_id, int64_t revision, int64_t epoch)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

    row.tenant = (char *)self->tenant;
    row.collection_no = self->collection_no;
    row.document_id = (char *)document_id;
    row.revision = revision;
    row.epoch = epoch;
    row.handed_over_ms = 5;
    return row;
}

static Weir__Internal__V1__Chunk *
make_chunk(weir_arena *arena, const char *document_id, int64_t revision, int64_t epoch,
    uint32_t ordinal)
{
    Weir__Internal__V1__Chunk *chunk = weir_arena_alloc(arena, sizeof *chunk);
    float *vector = weir_arena_alloc(arena, WORLD_DIMENSION * sizeof *vector);

    weir__internal__v1__chunk__init(chunk);
    chunk->ordinal = ordinal;
    chunk->text = weir_arena_printf(arena, "%s/%" PRId64 "/%" PRId64 "/%u", document_id, revision,
        epoch, ordinal);
    chunk->start_byte = 10 * ordinal;
    chunk->end_byte = 10 * ordinal + 12;
    chunk->token_count = 4;
    named_vector(chunk->text, vector, WORLD_DIMENSION);
    chunk->vector.data = (uint8_t *)vector;
    chunk->vector.len = WORLD_DIMENSION * sizeof *vector;
    return chunk;
}

static void
fill_chunks(weir_arena *arena, Weir__Internal__V1__ChunksRow *chunks,
    const Weir__Internal__V1__Row *row, uint32_t first, uint32_t count)
{
    Weir__Internal__V1__EmbedSpec *spec = weir_arena_alloc(arena, sizeof *spec);

    weir__internal__v1__embed_spec__init(spec);
    spec->model = "model";
    spec->fingerprint = "fingerprint";
    spec->dimension = WORLD_DIMENSION;
    chunks->spec = spec;
    chunks->title = "A title";
    chunks->media_type = "text/plain";
    chunks->chunks = weir_arena_alloc(arena, (count + 1) * sizeof *chunks->chunks);
    for (uint32_t i = 0; i < count; i++)
        chunks->chunks[chunks->n_chunks++] =
            make_chunk(arena, row->document_id, row->revision, row->epoch, first + i);
}

static void
send_chunks(world *self, const char *document_id, int64_t revision, int64_t epoch, uint32_t first,
    uint32_t count, uint32_t total, spoil_row *spoil)
{
    weir_arena *arena = weir_arena_create(0);
    Weir__Internal__V1__ChunksRow chunks = WEIR__INTERNAL__V1__CHUNKS_ROW__INIT;
    Weir__Internal__V1__MetadataEntry entry = WEIR__INTERNAL__V1__METADATA_ENTRY__INIT;
    Weir__Internal__V1__MetadataEntry *entries[] = { &entry };
    Weir__Internal__V1__Row row = row_of(self, document_id, revision, epoch);

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_VECTORS;
    row.vectors = &chunks;
    entry.key = "colour";
    chunks.metadata = entries;
    chunks.n_metadata = 1;
    chunks.chunk_count = total;
    chunks.token_count = total * 4;
    fill_chunks(arena, &chunks, &row, first, count);
    if (spoil != NULL)
        spoil(&row);
    send_row(self, WEIR_LINK_EMBEDDER_INDEXER, &row);
    weir_arena_destroy(&arena);
}

void
send_vectors(world *self, const char *document_id, int64_t revision, int64_t epoch, uint32_t first,
    uint32_t count, uint32_t total)
{
    send_chunks(self, document_id, revision, epoch, first, count, total, NULL);
}

void
send_spoilt(world *self, const char *document_id, int64_t revision, int64_t epoch, uint32_t count,
    uint32_t total, spoil_row *spoil)
{
    send_chunks(self, document_id, revision, epoch, 0, count, total, spoil);
}

void
send_delete(world *self, const char *document_id, int64_t revision)
{
    Weir__Internal__V1__DeleteRow delete = WEIR__INTERNAL__V1__DELETE_ROW__INIT;
    Weir__Internal__V1__Row row = row_of(self, document_id, revision, 1);

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DELETE;
    row.delete_ = &delete;
    send_row(self, WEIR_LINK_GATEWAY_INDEXER, &row);
}

void
send_revoke(world *self, const char *document_id, int64_t revision, int64_t epoch)
{
    Weir__Internal__V1__RevokeRow revoke = WEIR__INTERNAL__V1__REVOKE_ROW__INIT;
    Weir__Internal__V1__Row row = row_of(self, document_id, revision, epoch);

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE;
    row.revoke = &revoke;
    send_row(self, WEIR_LINK_RECONCILER_INDEXER, &row);
}

void
send_gate(world *self, uint64_t boot)
{
    Weir__Internal__V1__GateRow gate = WEIR__INTERNAL__V1__GATE_ROW__INIT;
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    uint8_t random[WEIR_BOOT_RANDOM_SIZE];

    gate.boot_counter = boot != 0 ? boot : self->boot;
    memset(random, (int)gate.boot_counter, sizeof random);
    gate.boot_random = (ProtobufCBinaryData){ .data = random, .len = sizeof random };
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_GATE;
    row.gate = &gate;
    send_row(self, WEIR_LINK_GATEWAY_INDEXER, &row);
}

void
send_seed(world *self, const char *document_id, int64_t deleted_below, int64_t failed_revision,
    int64_t failed_epoch, bool done)
{
    Weir__Internal__V1__SeedEntry entry = WEIR__INTERNAL__V1__SEED_ENTRY__INIT;
    Weir__Internal__V1__SeedEntry *entries[] = { &entry };
    Weir__Internal__V1__SeedRow seed = WEIR__INTERNAL__V1__SEED_ROW__INIT;
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;

    entry.tenant = (char *)self->tenant;
    entry.collection_no = self->collection_no;
    entry.document_id = (char *)document_id;
    entry.deleted_below = deleted_below;
    entry.failed_revision = failed_revision;
    entry.failed_epoch = failed_epoch;
    seed.entries = entries;
    seed.n_entries = document_id[0] != '\0';
    seed.done = done;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED;
    row.seed = &seed;
    send_row(self, WEIR_LINK_GATEWAY_INDEXER, &row);
}

void
world_commit(world *self)
{
    CHECK_OK(fake_stage_commit(self->stage, &error));
}

void
world_quiet(world *self)
{
    world_commit(self);
    CHECK_OK(fake_stage_settle_down(self->stage, &error));
}

void
put_document(world *self, const char *document_id, int64_t revision, uint32_t chunks)
{
    send_vectors(self, document_id, revision, 1, 0, chunks, chunks);
    world_commit(self);
}

/* ---- what was released ---- */

unsigned
count_events(const world *self, Weir__Internal__V1__LifecycleKind kind)
{
    unsigned count = 0;

    for (size_t i = 0; i < self->stage->event_count; i++)
        count += self->stage->events[i]->kind == kind;
    return count;
}

const Weir__Internal__V1__LifecycleEvent *
last_event(const world *self)
{
    assert_true(self->stage->event_count > 0);
    return self->stage->events[self->stage->event_count - 1];
}

unsigned
count_rows(const world *self, weir_link_kind link)
{
    unsigned count = 0;

    for (size_t i = 0; i < self->stage->row_count; i++)
        count += self->stage->rows[i].link == link;
    return count;
}

const Weir__Internal__V1__Row *
last_row(const world *self, weir_link_kind link)
{
    for (size_t i = self->stage->row_count; i > 0; i--)
        if (self->stage->rows[i - 1].link == link)
            return self->stage->rows[i - 1].row;
    fail_msg("no row on %s", weir_link_spec_of(link)->name);
    return NULL;
}

void
forget(world *self)
{
    fake_stage_forget(self->stage);
}

/* ---- reads ---- */

weir_code
search_chunk(world *self, const char *name, const char *only, uint32_t top_k, found **ret_found)
{
    Weir__Internal__V1__SearchVectorsRequest request =
        WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
    char *ids[] = { (char *)only };
    float vector[WORLD_DIMENSION];

    named_vector(name, vector, WORLD_DIMENSION);
    request.tenant = (char *)self->tenant;
    request.collection_no = self->collection_no;
    request.vector = (ProtobufCBinaryData){ .data = (uint8_t *)vector, .len = sizeof vector };
    request.top_k = top_k;
    request.document_ids = ids;
    request.n_document_ids = only != NULL;
    weir_arena_reset(self->arena);
    *ret_found = weir_arena_alloc(self->arena, sizeof **ret_found);
    weir__internal__v1__search_vectors_response__init(*ret_found);
    return indexer_search(self->core, &request, *ret_found, self->arena, &error);
}

static bool
is_first(world *self, const char *name, const char *only)
{
    found *answer = NULL;

    CHECK_OK(search_chunk(self, name, only, 3, &answer));
    return answer->n_hits > 0 && strcmp(answer->hits[0]->text, name) == 0;
}

bool
is_found(world *self, const char *document_id, int64_t revision, int64_t epoch, uint32_t ordinal)
{
    char name[600];

    snprintf(name, sizeof name, "%s/%" PRId64 "/%" PRId64 "/%u", document_id, revision, epoch,
        ordinal);
    const bool among_all = is_first(self, name, NULL);
    assert_int_equal(is_first(self, name, document_id), among_all);
    return among_all;
}

const Weir__Internal__V1__GetIndexedDocumentResponse *
get_document(world *self, const char *document_id)
{
    Weir__Internal__V1__GetIndexedDocumentRequest request =
        WEIR__INTERNAL__V1__GET_INDEXED_DOCUMENT_REQUEST__INIT;
    Weir__Internal__V1__GetIndexedDocumentResponse *response =
        weir_arena_alloc(self->arena, sizeof *response);

    weir__internal__v1__get_indexed_document_response__init(response);
    request.tenant = (char *)self->tenant;
    request.collection_no = self->collection_no;
    request.document_id = (char *)document_id;
    CHECK_OK(indexer_get_document(self->core, &request, response, self->arena, &error));
    return response;
}

int64_t
ready_of(world *self, const char *document_id)
{
    const Weir__Internal__V1__GetIndexedDocumentResponse *register_ =
        get_document(self, document_id);

    return register_->ready_revision * 100 + register_->ready_epoch;
}

uint64_t
verified_chunks(world *self)
{
    Weir__Internal__V1__VerifyIndexRequest request = WEIR__INTERNAL__V1__VERIFY_INDEX_REQUEST__INIT;
    Weir__Internal__V1__VerifyIndexResponse response =
        WEIR__INTERNAL__V1__VERIFY_INDEX_RESPONSE__INIT;

    CHECK_OK(indexer_verify(self->core, &request, &response, self->arena, &error));
    if (response.n_findings > 0)
        fail_msg("%zu findings, first: %s", response.n_findings, response.findings[0]);
    assert_int_equal(response.reachable, response.chunks);
    return response.chunks;
}

unsigned
count_keys(world *self, char tag)
{
    const uint8_t lower = (uint8_t)tag, upper = (uint8_t)(tag + 1);
    weir_iter *iter =
        weir_store_iter(self->store, NULL, weir_bytes_of(&lower, 1), weir_bytes_of(&upper, 1));
    unsigned count = 0;

    /* Vectors of neighbours share a record: what counts is how many there are. */
    while (weir_iter_next(iter))
        count += tag == 'V' && weir_iter_value(iter).size > 64
            ? (unsigned)(weir_iter_value(iter).size / (WORLD_DIMENSION * sizeof(float)))
            : 1;
    CHECK_OK(weir_iter_status(iter, &error));
    weir_iter_destroy(&iter);
    return count;
}
