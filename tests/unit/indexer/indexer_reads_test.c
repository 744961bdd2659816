/*
 * indexer_reads_test.c - the register, its chunks and the audit, as others read them.
 */
#include "tests/unit/indexer/world.h"

#include <stdio.h>
#include <string.h>

typedef Weir__Internal__V1__ListIndexedChunksRequest asked;
typedef Weir__Internal__V1__ListIndexedChunksResponse listed;

static asked
ask(const world *self, const char *document_id, uint32_t from, uint32_t limit)
{
    asked request = WEIR__INTERNAL__V1__LIST_INDEXED_CHUNKS_REQUEST__INIT;

    request.tenant = (char *)self->tenant;
    request.collection_no = self->collection_no;
    request.document_id = (char *)document_id;
    request.from_ordinal = from;
    request.limit = limit;
    return request;
}

static listed *
list(world *self, const asked *request)
{
    listed *response = weir_arena_alloc(self->arena, sizeof *response);

    weir__internal__v1__list_indexed_chunks_response__init(response);
    CHECK_OK(indexer_list_chunks(self->core, request, response, self->arena, &error));
    return response;
}

static void
expect_code(world *self, const asked *request, weir_code code)
{
    listed response = WEIR__INTERNAL__V1__LIST_INDEXED_CHUNKS_RESPONSE__INIT;

    CHECK_CODE(indexer_list_chunks(self->core, request, &response, self->arena, &error), code);
}

static void
the_register_says_what_is_ready_deleted_and_staged(void **state)
{
    world *self = *state;

    send_delete(self, "a", 1);
    put_document(self, "a", 2, 3);
    send_vectors(self, "a", 3, 2, 0, 2, 0);
    send_vectors(self, "a", 4, 1, 0, 1, 9);
    world_commit(self);
    const Weir__Internal__V1__GetIndexedDocumentResponse *said = get_document(self, "a");
    assert_int_equal(said->deleted_below, 1);
    assert_int_equal(said->ready_revision, 2);
    assert_int_equal(said->ready_epoch, 1);
    assert_int_equal(said->chunk_count, 3);
    assert_int_equal(said->token_count, 12);
    assert_int_equal(said->ready_time_ms, self->stage->now_ms);
    assert_string_equal(said->media_type, "text/plain");
    assert_true(said->complete);
    assert_int_equal(said->n_staged, 2);
    assert_int_equal(said->staged[0]->revision, 3);
    assert_int_equal(said->staged[0]->epoch, 2);
    assert_int_equal(said->staged[0]->staged_count, 2);
    assert_int_equal(said->staged[0]->chunk_count, 0);
    assert_int_equal(said->staged[1]->chunk_count, 9);
}

static void
an_unknown_document_is_all_zero(void **state)
{
    world *self = *state;
    char long_id[WEIR_DOCUMENT_ID_BYTES_MAX + 2];

    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    put_document(self, "a", 1, 1);
    assert_int_equal(get_document(self, "b")->ready_revision, 0);
    assert_int_equal(get_document(self, "")->ready_revision, 0);
    assert_int_equal(get_document(self, long_id)->ready_revision, 0);
    assert_true(get_document(self, "b")->complete);
}

static void
chunks_are_listed_by_ordinal_in_pages(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 300);
    asked request = ask(self, "a", 250, 20);
    const listed *page = list(self, &request);
    assert_int_equal(page->n_chunks, 20);
    assert_int_equal(page->chunk_count, 300);
    assert_int_equal(page->revision, 1);
    assert_string_equal(page->title, "A title");
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(page->chunks[i]->ordinal, 250 + i);
    assert_string_equal(page->chunks[0]->text, "a/1/1/250");
    assert_int_equal(page->chunks[0]->vector.len, 0);
    assert_int_equal(page->chunks[0]->token_count, 4);
    request.from_ordinal = 290;
    assert_int_equal(list(self, &request)->n_chunks, 10);
    request.from_ordinal = 300;
    assert_int_equal(list(self, &request)->n_chunks, 0);
}

static void
chunks_come_with_their_vectors_when_asked_for(void **state)
{
    world *self = *state;
    float vector[WORLD_DIMENSION];

    put_document(self, "a", 1, 2);
    asked request = ask(self, "a", 0, 10);
    request.with_vectors = true;
    const listed *page = list(self, &request);
    named_vector("a/1/1/1", vector, WORLD_DIMENSION);
    assert_int_equal(page->chunks[1]->vector.len, sizeof vector);
    assert_memory_equal(page->chunks[1]->vector.data, vector, sizeof vector);
}

static void
a_page_ends_before_it_grows_too_large(void **state)
{
    world *self = *state;
    static char text[8001];

    memset(text, 'x', sizeof text - 1);
    put_document(self, "a", 1, 900);
    for (uint32_t ordinal = 0; ordinal < 900; ordinal++) {
        const indexer_try owner = { "a", 1, 1 };
        const indexer_key key =
            indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, ordinal);
        Weir__Internal__V1__ChunkRecord record = WEIR__INTERNAL__V1__CHUNK_RECORD__INIT;

        record.text = text;
        weir_stage_put(self->stage, indexer_key_view(&key), &record.base);
    }
    world_commit(self);
    uint32_t seen = 0;
    while (seen < 900) {
        const asked request = ask(self, "a", seen, 1000);
        const listed *page = list(self, &request);

        assert_true(page->n_chunks > 0 && page->n_chunks < 420);
        assert_int_equal(page->chunks[0]->ordinal, seen);
        seen += (uint32_t)page->n_chunks;
    }
    assert_int_equal(seen, 900);
}

static void
only_the_ready_revision_can_be_listed(void **state)
{
    world *self = *state;

    put_document(self, "a", 2, 1);
    send_vectors(self, "a", 3, 1, 0, 1, 0);
    world_commit(self);
    asked request = ask(self, "a", 0, 10);
    request.revision = 2;
    assert_int_equal(list(self, &request)->n_chunks, 1);
    request.revision = 3;
    expect_code(self, &request, WEIR_DOCUMENT_NOT_FOUND);
    request.revision = 1;
    expect_code(self, &request, WEIR_DOCUMENT_NOT_FOUND);
    request = ask(self, "b", 0, 10);
    expect_code(self, &request, WEIR_DOCUMENT_NOT_FOUND);
    request = ask(self, "", 0, 10);
    expect_code(self, &request, WEIR_DOCUMENT_NOT_FOUND);
    request = ask(self, "a", 0, 10);
    request.tenant = "mallory";
    expect_code(self, &request, WEIR_DOCUMENT_NOT_FOUND);
}

static void
a_page_has_bounds(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    asked request = ask(self, "a", 0, 0);
    expect_code(self, &request, WEIR_INVALID_ARGUMENT);
    assert_string_equal(error.field, "limit");
    request.limit = 1001;
    expect_code(self, &request, WEIR_INVALID_ARGUMENT);
}

/* ---- the audit ---- */

static Weir__Internal__V1__VerifyIndexResponse *
verify(world *self, uint64_t collection_no)
{
    Weir__Internal__V1__VerifyIndexRequest request = WEIR__INTERNAL__V1__VERIFY_INDEX_REQUEST__INIT;
    Weir__Internal__V1__VerifyIndexResponse *response =
        weir_arena_alloc(self->arena, sizeof *response);

    weir__internal__v1__verify_index_response__init(response);
    request.collection_no = collection_no;
    CHECK_OK(indexer_verify(self->core, &request, response, self->arena, &error));
    return response;
}

static void
the_audit_counts_documents_chunks_and_reachable_vectors(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 2);
    send_vectors(self, "c", 1, 1, 0, 5, 0);
    self->collection_no = 9;
    put_document(self, "a", 1, 4);
    assert_int_equal(verify(self, 0)->documents, 3);
    assert_int_equal(verify(self, 0)->chunks, 9);
    assert_int_equal(verify(self, 0)->reachable, 9);
    assert_int_equal(verify(self, 9)->chunks, 4);
    assert_int_equal(verify(self, 8)->chunks, 0);
    assert_int_equal(verify(self, 0)->n_findings, 0);
}

static void
the_audit_finds_what_the_index_lost(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };

    put_document(self, "a", 1, 3);
    indexer_index_remove(
        indexer_collections_find(&self->core->collections, WORLD_COLLECTION)->index, &owner);
    assert_int_equal(verify(self, 0)->reachable, 0);
    assert_int_equal(verify(self, 0)->n_findings, 1);
    assert_non_null(strstr(verify(self, 0)->findings[0],
        "document a, revision 1: of 3 chunks that should be there: 3 texts, 3 sound vectors, 0 of "
        "these in the index, 0 rows in the index"));
}

static void
the_audit_finds_damaged_and_missing_records(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key vector = indexer_key_row(INDEXER_TAG_VECTOR, WORLD_COLLECTION, &owner, 0);
    const indexer_key text = indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, 2);

    put_document(self, "a", 1, 3);
    weir_batch_put(self->stage->batch, indexer_key_view(&vector), weir_bytes_str("damaged"));
    weir_batch_delete(self->stage->batch, indexer_key_view(&text));
    world_commit(self);
    assert_int_equal(verify(self, 0)->n_findings, 1);
    assert_non_null(strstr(verify(self, 0)->findings[0], "2 texts, 0 sound vectors"));
}

static void
the_audit_names_a_hundred_faults_at_most(void **state)
{
    world *self = *state;
    char name[16];

    for (int i = 0; i < 130; i++) {
        const indexer_try owner = { name, 1, 1 };

        snprintf(name, sizeof name, "d%d", i);
        put_document(self, name, 1, 1);
        indexer_index_remove(
            indexer_collections_find(&self->core->collections, WORLD_COLLECTION)->index, &owner);
        forget(self);
    }
    assert_int_equal(verify(self, 0)->n_findings, 100);
    assert_int_equal(verify(self, 0)->documents, 130);
}

static void
store_errors_reach_the_reader(void **state)
{
    world *self = *state;
    found *answer = NULL;
    unsigned failures = 0;

    put_document(self, "a", 1, 3);
    for (uint32_t calls = 1; calls < 8; calls++) {
        weir_store_mem_fail_after(self->store, calls);
        const weir_code code = search_chunk(self, "a/1/1/0", NULL, 3, &answer);
        weir_store_mem_fail_after(self->store, 0);
        assert_true(code == WEIR_OK || code == WEIR_STORE_IO);
        failures += code != WEIR_OK;
    }
    assert_true(failures >= 2);
    CHECK_OK(search_chunk(self, "a/1/1/0", NULL, 3, &answer));
    world_quiet(self);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_open, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_register_says_what_is_ready_deleted_and_staged),
        TEST(an_unknown_document_is_all_zero),
        TEST(chunks_are_listed_by_ordinal_in_pages),
        TEST(chunks_come_with_their_vectors_when_asked_for),
        TEST(a_page_ends_before_it_grows_too_large),
        TEST(only_the_ready_revision_can_be_listed),
        TEST(a_page_has_bounds),
        TEST(the_audit_counts_documents_chunks_and_reachable_vectors),
        TEST(the_audit_finds_what_the_index_lost),
        TEST(the_audit_finds_damaged_and_missing_records),
        TEST(the_audit_names_a_hundred_faults_at_most),
        TEST(store_errors_reach_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
