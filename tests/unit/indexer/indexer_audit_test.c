/*
 * What the indexer tells the audit, and what an audit row makes of its register.
 */
#include "services/indexer/tally.h"
#include "tests/unit/indexer/world.h"

typedef Weir__Internal__V1__AuditedDocument audited;

static const audited *
audit(world *self, const char *document_id)
{
    Weir__Internal__V1__AuditDocumentsRequest request =
        WEIR__INTERNAL__V1__AUDIT_DOCUMENTS_REQUEST__INIT;
    Weir__Internal__V1__AuditDocumentsResponse *response =
        weir_arena_alloc(self->arena, sizeof *response);
    Weir__Internal__V1__DocumentRef ref = WEIR__INTERNAL__V1__DOCUMENT_REF__INIT;
    Weir__Internal__V1__DocumentRef *refs[] = { &ref };

    weir__internal__v1__audit_documents_response__init(response);
    ref.collection_no = self->collection_no;
    ref.document_id = (char *)(uintptr_t)document_id;
    request.documents = refs;
    request.n_documents = 1;
    CHECK_OK(indexer_audit_documents(self->core, &request, response, self->arena, &error));
    assert_int_equal(response->n_documents, 1);
    return response->documents[0];
}

static void
send_audit(world *self, const char *document_id, int64_t forget_above, int64_t deleted_below)
{
    Weir__Internal__V1__Row row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__AuditRow asked = WEIR__INTERNAL__V1__AUDIT_ROW__INIT;

    asked.forget_above = forget_above;
    asked.deleted_below = deleted_below;
    row.tenant = (char *)(uintptr_t)self->tenant;
    row.collection_no = self->collection_no;
    row.document_id = (char *)(uintptr_t)document_id;
    row.revision = 1;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_AUDIT;
    row.audit = &asked;
    send_row(self, WEIR_LINK_GATEWAY_INDEXER, &row);
    world_quiet(self);
}

static indexer_key
row_key(indexer_tag tag, const char *document_id, int64_t revision, int64_t epoch, uint32_t ordinal)
{
    const indexer_try owner = { document_id, revision, epoch };

    return indexer_key_row(tag, WORLD_COLLECTION, &owner, ordinal);
}

static void
erase(world *self, const indexer_key *key)
{
    weir_batch_delete(self->stage->batch, indexer_key_view(key));
    world_commit(self);
}

static void
copy_key(world *self, const indexer_key *from, const indexer_key *to)
{
    weir_buffer value = { 0 };
    bool is_there = false;

    CHECK_OK(weir_store_get(self->store, NULL, indexer_key_view(from), &value, &is_there, &error));
    assert_true(is_there);
    weir_batch_put(self->stage->batch, indexer_key_view(to), weir_buffer_view(&value));
    weir_buffer_fini(&value);
    world_commit(self);
}

/* ---- what is told ---- */

static void
a_whole_document_has_no_finding(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    assert_true(audit(self, "a")->is_whole);
    assert_string_equal(audit(self, "a")->finding, "");
    assert_int_equal(audit(self, "a")->register_->ready_revision, 1);
    assert_int_equal(audit(self, "a")->stray_count, 0);
    assert_int_equal(audit(self, "never seen")->register_->ready_revision, 0);
}

static void
each_part_that_is_missing_is_found(void **state)
{
    world *self = *state;
    const indexer_try owner = { "m", 1, 1 };
    const indexer_key metadata = indexer_key_metadata(WORLD_COLLECTION, &owner);
    const indexer_key text = row_key(INDEXER_TAG_CHUNK, "k", 1, 1, 1);
    const indexer_key vector = row_key(INDEXER_TAG_VECTOR, "v", 1, 1, 0);
    const indexer_try indexed = { "i", 1, 1 };

    put_document(self, "m", 1, 2);
    put_document(self, "k", 1, 2);
    put_document(self, "v", 1, 2);
    put_document(self, "i", 1, 2);
    erase(self, &metadata);
    erase(self, &text);
    erase(self, &vector);
    indexer_index_remove(
        indexer_collections_find(&self->core->collections, WORLD_COLLECTION)->index, &indexed);
    assert_false(audit(self, "m")->is_whole);
    assert_false(audit(self, "k")->is_whole);
    assert_false(audit(self, "v")->is_whole);
    assert_false(audit(self, "i")->is_whole);
    assert_non_null(strstr(audit(self, "k")->finding, "1 texts"));
}

static void
a_row_of_the_index_too_many_is_found(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const uint32_t ordinal = 3;
    const float vector[WORLD_DIMENSION] = { 1 };

    put_document(self, "a", 1, 3);
    CHECK_OK(indexer_index_add(indexer_collections_find(&self->core->collections, WORLD_COLLECTION)
                                   ->index,
        &owner, &ordinal, vector, 1, &error));
    assert_false(audit(self, "a")->is_whole);
    assert_non_null(strstr(audit(self, "a")->finding, "4 rows in the index"));
}

static void
chunks_that_no_register_names_are_strays_but_not_while_any_are_cleared(void **state)
{
    world *self = *state;
    const indexer_key from = row_key(INDEXER_TAG_VECTOR, "a", 1, 1, 0);
    const indexer_key to = row_key(INDEXER_TAG_VECTOR, "a", 9, 9, 0);

    put_document(self, "a", 1, 3);
    world_quiet(self);
    copy_key(self, &from, &to);
    assert_int_equal(audit(self, "a")->stray_count, 1);
    assert_true(audit(self, "a")->is_whole);
    /* A retired revision leaves keys that are cleared in a later round. */
    send_vectors(self, "a", 2, 1, 0, 3, 3);
    world_commit(self);
    assert_int_equal(audit(self, "a")->stray_count, 0);
    world_quiet(self);
    assert_int_equal(audit(self, "a")->stray_count, 1);
}

static unsigned
walk(world *self, uint32_t limit, unsigned *ret_strays)
{
    Weir__Internal__V1__ListIndexedDocumentsRequest request =
        WEIR__INTERNAL__V1__LIST_INDEXED_DOCUMENTS_REQUEST__INIT;
    unsigned count = 0;

    *ret_strays = 0;
    request.limit = limit;
    do {
        Weir__Internal__V1__ListIndexedDocumentsResponse *page =
            weir_arena_alloc(self->arena, sizeof *page);

        weir__internal__v1__list_indexed_documents_response__init(page);
        CHECK_OK(indexer_list_documents(self->core, &request, page, self->arena, &error));
        for (size_t i = 0; i < page->n_documents; i++) {
            count += page->documents[i]->is_stray ? 0 : 1;
            *ret_strays += page->documents[i]->is_stray ? 1 : 0;
        }
        request.after = page->next;
    } while (request.after.len > 0);
    return count;
}

static void
the_walk_names_each_document_once_and_each_stray(void **state)
{
    world *self = *state;
    const indexer_key from = row_key(INDEXER_TAG_VECTOR, "b", 1, 1, 0);
    const indexer_key to = row_key(INDEXER_TAG_VECTOR, "ghost", 1, 1, 0);
    unsigned strays = 0;

    put_document(self, "a", 1, 3);
    put_document(self, "b", 1, 100);
    put_document(self, "c", 1, 2);
    send_delete(self, "d", 4);
    world_quiet(self);
    copy_key(self, &from, &to);
    for (uint32_t limit = 1; limit <= 5; limit++) {
        assert_int_equal(walk(self, limit, &strays), 4);
        assert_int_equal(strays, 1);
    }
}

/* ---- what is done ---- */

static void
a_check_leaves_a_whole_document_as_it_is(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    world_quiet(self);
    send_audit(self, "a", -1, 0);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_true(is_found(self, "a", 1, 1, 2));
}

static void
a_check_takes_back_what_is_damaged_and_drops_strays(void **state)
{
    world *self = *state;
    const indexer_key text = row_key(INDEXER_TAG_CHUNK, "a", 1, 1, 1);
    const indexer_key from = row_key(INDEXER_TAG_VECTOR, "a", 1, 1, 0);
    const indexer_key to = row_key(INDEXER_TAG_VECTOR, "a", 9, 9, 0);

    put_document(self, "a", 1, 3);
    world_quiet(self);
    copy_key(self, &from, &to);
    erase(self, &text);
    send_audit(self, "a", -1, 0);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(audit(self, "a")->lost_revision, 1);
    assert_int_equal(audit(self, "a")->stray_count, 0);
    assert_int_equal(count_keys(self, 'V'), 0);
    send_vectors(self, "a", 1, 2, 0, 3, 3);
    world_quiet(self);
    assert_true(is_found(self, "a", 1, 2, 1));
    assert_int_equal(audit(self, "a")->lost_revision, 0);
}

static void
what_the_gateway_never_gave_out_is_forgotten_and_its_numbers_can_be_used(void **state)
{
    world *self = *state;
    unsigned strays = 0;

    put_document(self, "a", 1, 3);
    world_quiet(self);
    send_audit(self, "a", 0, 0);
    assert_int_equal(ready_of(self, "a"), 0);
    assert_int_equal(walk(self, 10, &strays), 0);
    assert_int_equal(strays, 0);
    assert_int_equal(count_keys(self, 'K') + count_keys(self, 'M') + count_keys(self, 'V'), 0);
    put_document(self, "a", 1, 2);
    assert_true(is_found(self, "a", 1, 1, 1));
    assert_int_equal(verified_chunks(self), 2);
}

static void
revisions_above_the_gateways_are_forgotten_and_the_others_stay(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    send_vectors(self, "a", 3, 1, 0, 1, 2);
    send_revoke(self, "a", 2, 1);
    world_quiet(self);
    send_audit(self, "a", 1, 0);
    assert_int_equal(ready_of(self, "a"), 101);
    assert_int_equal(audit(self, "a")->register_->n_staged, 0);
    assert_int_equal(audit(self, "a")->n_revoked, 0);
    assert_true(is_found(self, "a", 1, 1, 2));
    send_delete(self, "b", 7);
    world_quiet(self);
    send_audit(self, "b", 3, 2);
    assert_int_equal(audit(self, "b")->register_->deleted_below, 2);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_open, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_document_has_no_finding),
        TEST(each_part_that_is_missing_is_found),
        TEST(a_row_of_the_index_too_many_is_found),
        TEST(chunks_that_no_register_names_are_strays_but_not_while_any_are_cleared),
        TEST(the_walk_names_each_document_once_and_each_stray),
        TEST(a_check_leaves_a_whole_document_as_it_is),
        TEST(a_check_takes_back_what_is_damaged_and_drops_strays),
        TEST(what_the_gateway_never_gave_out_is_forgotten_and_its_numbers_can_be_used),
        TEST(revisions_above_the_gateways_are_forgotten_and_the_others_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
