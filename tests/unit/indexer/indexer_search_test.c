/*
 * indexer_search_test.c - a search answers exactly what is READY, to whom it belongs, as it was
 * asked.
 */
#include "tests/unit/indexer/world.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/indexer/kernel.h"
#include "services/indexer/view.h"

typedef Weir__Internal__V1__SearchVectorsRequest asked;

static float vector[WORLD_DIMENSION];

/* A search for the vector of `name`. */
static asked
ask(world *self, const char *name, uint32_t top_k)
{
    asked request = WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;

    named_vector(name, vector, WORLD_DIMENSION);
    request.tenant = (char *)self->tenant;
    request.collection_no = self->collection_no;
    request.vector = (ProtobufCBinaryData){ .data = (uint8_t *)vector, .len = sizeof vector };
    request.top_k = top_k;
    return request;
}

static found *
answer_of(world *self, const asked *request)
{
    found *answer = weir_arena_alloc(self->arena, sizeof *answer);

    weir__internal__v1__search_vectors_response__init(answer);
    CHECK_OK(indexer_search(self->core, request, answer, self->arena, &error));
    return answer;
}

static void
expect_code(world *self, const asked *request, weir_code code, const char *field)
{
    found answer = WEIR__INTERNAL__V1__SEARCH_VECTORS_RESPONSE__INIT;

    CHECK_CODE(indexer_search(self->core, request, &answer, self->arena, &error), code);
    assert_string_equal(error.field, field);
}

/* ---- exactness ---- */

static int
descending(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;

    return a > b ? -1 : a < b;
}

static void
scores_equal_brute_force_over_what_is_ready(void **state)
{
    world *self = *state;
    enum { DOCUMENTS = 60, CHUNKS = 5 };
    float scores[DOCUMENTS * CHUNKS], other[WORLD_DIMENSION];
    size_t count = 0;
    char name[32];

    for (int i = 0; i < DOCUMENTS; i++) {
        snprintf(name, sizeof name, "d%d", i);
        put_document(self, name, 1, CHUNKS);
        if (i % 2 == 0)
            put_document(self, name, 2, CHUNKS); /* retired rows stay for a while */
        if (i % 5 == 0)
            send_delete(self, name, 3);
        send_vectors(self, name, 9, 1, 0, 2, 0); /* never complete */
        forget(self);
    }
    world_commit(self);
    const asked request = ask(self, "a query", 40);
    for (int i = 0; i < DOCUMENTS; i++) {
        for (int ordinal = 0; ordinal < CHUNKS && i % 5 != 0; ordinal++) {
            snprintf(name, sizeof name, "d%d/%d/1/%d", i, i % 2 == 0 ? 2 : 1, ordinal);
            named_vector(name, other, WORLD_DIMENSION);
            scores[count++] = indexer_inner_product(vector, other, WORLD_DIMENSION);
        }
    }
    qsort(scores, count, sizeof *scores, descending);
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 40);
    assert_true(answer->exact && answer->complete);
    for (size_t i = 0; i < answer->n_hits; i++)
        assert_true(answer->hits[i]->score == scores[i]);
}

static void
a_hit_says_where_it_stands(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 3);
    const asked request = ask(self, "a/1/1/2", 1);
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 1);
    const Weir__Internal__V1__IndexHit *hit = answer->hits[0];
    assert_string_equal(hit->document_id, "a");
    assert_int_equal(hit->revision, 1);
    assert_int_equal(hit->ordinal, 2);
    assert_true(hit->score > 0.99999f && hit->score <= 1);
    assert_string_equal(hit->text, "a/1/1/2");
    assert_int_equal(hit->start_byte, 20);
    assert_int_equal(hit->end_byte, 32);
    assert_string_equal(hit->title, "A title");
    assert_int_equal(hit->n_metadata, 1);
    assert_string_equal(hit->metadata[0]->key, "colour");
}

static void
a_query_need_not_be_normalised(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    const asked request = ask(self, "a/1/1/0", 1);
    for (int i = 0; i < WORLD_DIMENSION; i++)
        vector[i] *= 1234;
    assert_true(answer_of(self, &request)->hits[0]->score > 0.99999f);
}

static void
many_invisible_rows_hide_no_visible_one(void **state)
{
    world *self = *state;
    char name[32];

    /* 600 staged rows that are nearer to the query than the one that is READY. */
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "s%d", i);
        send_vectors(self, name, 1, 1, 0, 1, 2);
        if (i % 50 == 0)
            forget(self);
    }
    put_document(self, "a", 1, 1);
    const asked request = ask(self, "b", 5);
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 1);
    assert_string_equal(answer->hits[0]->document_id, "a");
}

static void
ties_come_by_document_and_ordinal_even_at_the_cut(void **state)
{
    world *self = *state;
    char name[32], wanted[32];

    self->core->options.segment_bytes = 0; /* one segment, so that the fetch is cut in it */
    for (int i = 299; i >= 0; i--) {
        const indexer_try owner = { name, 1, 1 };
        const uint32_t ordinal = 1;
        float same[WORLD_DIMENSION];

        snprintf(name, sizeof name, "d%03d", i);
        put_document(self, name, 1, 1);
        /* A second row with one and the same vector for all documents, straight into the index; it
         * has the text of no chunk, so only omit_text hits of ordinal 0 could be filled: add its
         * chunk record too. */
        named_vector("same", same, WORLD_DIMENSION);
        CHECK_OK(indexer_index_add(
            indexer_collections_find(&self->core->collections, WORLD_COLLECTION)->index, &owner,
            &ordinal, same, 1, &error));
        const indexer_key key =
            indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, ordinal);
        Weir__Internal__V1__ChunkRecord record = WEIR__INTERNAL__V1__CHUNK_RECORD__INIT;
        weir_stage_put(self->stage, indexer_key_view(&key), &record.base);
        world_commit(self);
        forget(self);
    }
    const asked request = ask(self, "same", 20);
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 20);
    for (int i = 0; i < 20; i++) {
        snprintf(wanted, sizeof wanted, "d%03d", i);
        assert_string_equal(answer->hits[i]->document_id, wanted);
        assert_int_equal(answer->hits[i]->ordinal, 1);
    }
}

/* ---- as asked ---- */

static void
a_document_filter_is_exact_and_takes_each_document_once(void **state)
{
    world *self = *state;
    char *ids[] = { "b", "a", "b", "gone", "never", "" };

    put_document(self, "a", 1, 2);
    put_document(self, "b", 1, 3);
    put_document(self, "c", 1, 3);
    put_document(self, "gone", 1, 3);
    send_delete(self, "gone", 2);
    world_commit(self);
    asked request = ask(self, "c/1/1/0", 100);
    request.document_ids = ids;
    request.n_document_ids = 6;
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(strcmp(answer->hits[i]->document_id, "a") == 0 ||
            strcmp(answer->hits[i]->document_id, "b") == 0);
        assert_true(i == 0 || answer->hits[i]->score <= answer->hits[i - 1]->score);
    }
    request.top_k = 2;
    assert_int_equal(answer_of(self, &request)->n_hits, 2);
}

static void
hits_of_one_document_can_be_limited(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 60);
    put_document(self, "b", 1, 1);
    asked request = ask(self, "a/1/1/0", 10);
    request.max_hits_per_document = 2;
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 3);
    request.max_hits_per_document = 0;
    assert_int_equal(answer_of(self, &request)->n_hits, 10);
}

static void
hits_below_a_score_can_be_left_out(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 200);
    asked request = ask(self, "a/1/1/5", 100);
    request.has_min_score = true;
    request.min_score = 0.3f;
    const found *some = answer_of(self, &request);
    assert_true(some->n_hits > 0 && some->n_hits < 100);
    for (size_t i = 0; i < some->n_hits; i++)
        assert_true(some->hits[i]->score >= 0.3f);
    request.has_min_score = false;
    const found *all = answer_of(self, &request);
    assert_int_equal(all->n_hits, 100);
    assert_true(all->hits[some->n_hits]->score < 0.3f);
    request.has_min_score = true;
    request.min_score = NAN;
    expect_code(self, &request, WEIR_INVALID_ARGUMENT, "min_score");
}

static void
text_can_be_left_out(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    asked request = ask(self, "a/1/1/0", 1);
    request.omit_text = true;
    assert_string_equal(answer_of(self, &request)->hits[0]->text, "");
}

static void
neighbours_are_joined_without_their_overlap(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 5);
    asked request = ask(self, "a/1/1/2", 1);
    request.neighbor_chunks = 1;
    const Weir__Internal__V1__IndexHit *hit = answer_of(self, &request)->hits[0];
    assert_string_equal(hit->text,
        "a/1/1/1"
        "1/1/2"
        "1/1/3"); /* two bytes of each are shared */
    assert_int_equal(hit->start_byte, 10);
    assert_int_equal(hit->end_byte, 42);
    assert_int_equal(hit->ordinal, 2);
    named_vector("a/1/1/4", vector, WORLD_DIMENSION);
    request.neighbor_chunks = 5;
    hit = answer_of(self, &request)->hits[0];
    assert_int_equal(hit->start_byte, 0);
    assert_int_equal(hit->end_byte, 52);
    request.neighbor_chunks = 6;
    expect_code(self, &request, WEIR_INVALID_ARGUMENT, "neighbor_chunks");
}

/* ---- refusals ---- */

static void
top_k_has_bounds(void **state)
{
    world *self = *state;
    asked request = ask(self, "a", 0);

    expect_code(self, &request, WEIR_INVALID_ARGUMENT, "top_k");
    request.top_k = 1001;
    expect_code(self, &request, WEIR_INVALID_ARGUMENT, "top_k");
    request.top_k = 1000;
    assert_int_equal(answer_of(self, &request)->n_hits, 0);
}

static void
queries_that_are_not_finite_or_zero_are_refused(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    const asked request = ask(self, "a", 1);
    vector[3] = NAN;
    expect_code(self, &request, WEIR_VECTOR_INVALID, "vector");
    memset(vector, 0, sizeof vector);
    expect_code(self, &request, WEIR_VECTOR_INVALID, "vector");
}

static void
queries_of_another_dimension_are_refused(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    asked request = ask(self, "a", 1);
    const size_t sizes[] = { 0, 3, sizeof vector - 4, sizeof vector - 1 };
    for (size_t i = 0; i < 4; i++) {
        request.vector.len = sizes[i];
        expect_code(self, &request, WEIR_DIMENSION_MISMATCH, "vector");
    }
}

static void
an_answer_above_four_mebibytes_is_refused(void **state)
{
    world *self = *state;
    enum { TEXT = 8000, CHUNKS = 600 };
    static char text[TEXT + 1];

    memset(text, 'x', TEXT);
    put_document(self, "a", 1, CHUNKS);
    for (uint32_t ordinal = 0; ordinal < CHUNKS; ordinal++) {
        const indexer_try owner = { "a", 1, 1 };
        const indexer_key key =
            indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, ordinal);
        Weir__Internal__V1__ChunkRecord record = WEIR__INTERNAL__V1__CHUNK_RECORD__INIT;

        record.text = text;
        weir_stage_put(self->stage, indexer_key_view(&key), &record.base);
    }
    world_commit(self);
    asked request = ask(self, "a/1/1/0", CHUNKS);
    expect_code(self, &request, WEIR_RESPONSE_TOO_LARGE, "");
    request.omit_text = true;
    assert_int_equal(answer_of(self, &request)->n_hits, CHUNKS);
    request.omit_text = false;
    request.top_k = 500;
    assert_int_equal(answer_of(self, &request)->n_hits, 500);
}

static void
a_ready_chunk_without_its_record_is_corrupt(void **state)
{
    world *self = *state;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_key key = indexer_key_row(INDEXER_TAG_CHUNK, WORLD_COLLECTION, &owner, 0);

    put_document(self, "a", 1, 1);
    weir_batch_delete(self->stage->batch, indexer_key_view(&key));
    world_commit(self);
    const asked request = ask(self, "a/1/1/0", 1);
    expect_code(self, &request, WEIR_CORRUPT, "");
}

/* ---- tenants and collections ---- */

static void
another_tenants_collection_answers_like_none(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 1);
    self->tenant = "mallory";
    const asked stolen = ask(self, "a/1/1/0", 5);
    assert_int_equal(answer_of(self, &stolen)->n_hits, 0);
    assert_int_equal(get_document(self, "a")->ready_revision, 0);
    self->collection_no = 99;
    const asked absent = ask(self, "a/1/1/0", 5);
    const found *answer = answer_of(self, &absent);
    assert_int_equal(answer->n_hits, 0);
    assert_true(answer->complete);
}

static void
collections_do_not_see_each_other(void **state)
{
    world *self = *state;

    put_document(self, "a", 1, 2);
    self->collection_no = 8;
    put_document(self, "b", 1, 3);
    const asked request = ask(self, "a/1/1/0", 50);
    const found *answer = answer_of(self, &request);
    assert_int_equal(answer->n_hits, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(answer->hits[i]->document_id, "b");
    send_delete(self, "a", 2); /* of collection 8 */
    world_commit(self);
    self->collection_no = WORLD_COLLECTION;
    assert_true(is_found(self, "a", 1, 1, 0));
}

/* ---- beside changes ---- */

static void
a_read_under_way_keeps_what_its_snapshot_shows(void **state)
{
    world *self = *state;
    indexer_view view;
    const indexer_try owner = { "a", 1, 1 };
    const indexer_register *record = NULL;

    put_document(self, "a", 1, 2);
    indexer_index *index =
        indexer_collections_find(&self->core->collections, WORLD_COLLECTION)->index;
    indexer_view_begin(&view, self->core, self->arena);
    put_document(self, "a", 2, 2);
    for (int i = 0; i < 5; i++)
        world_commit(self);
    assert_int_equal(indexer_index_count(index, &owner), 2);
    assert_true(self->stage->wake_at_ms != 0); /* it asks for time to look again */
    CHECK_OK(indexer_view_register(&view, WORLD_COLLECTION, "a", &record, &error));
    assert_int_equal(record->ready_revision, 1);
    indexer_view_end(&view);
    world_quiet(self);
    assert_int_equal(indexer_index_count(index, &owner), 0);
}

enum { CHURNED = 8 };

typedef struct churn {
    world *self;
    bool stop; /* atomic */
    unsigned searches;
} churn;

static bool
has_each_once(const found *answer)
{
    unsigned seen = 0;

    for (size_t i = 0; i < answer->n_hits; i++) {
        const unsigned n = (unsigned)(answer->hits[i]->document_id[0] - 'a');

        if (seen >> n & 1)
            return false;
        seen |= 1u << n;
    }
    return seen == (1u << CHURNED) - 1;
}

/* At every instant each document is READY in exactly one revision of one chunk: each search must
 * find each once. */
static void *
search_on(void *ud)
{
    churn *at = ud;
    weir_arena *arena = weir_arena_create(0);
    float query[WORLD_DIMENSION];
    weir_error failed;

    named_vector("query", query, WORLD_DIMENSION);
    for (unsigned own = 0; !__atomic_load_n(&at->stop, __ATOMIC_ACQUIRE) || own < 20; own++) {
        asked request = WEIR__INTERNAL__V1__SEARCH_VECTORS_REQUEST__INIT;
        found answer = WEIR__INTERNAL__V1__SEARCH_VECTORS_RESPONSE__INIT;
        char *ids[] = { "a", "b", "c", "d", "e", "f", "g", "h" };

        request.tenant = "acme";
        request.collection_no = WORLD_COLLECTION;
        request.vector = (ProtobufCBinaryData){ .data = (uint8_t *)query, .len = sizeof query };
        request.top_k = 50;
        request.document_ids = ids;
        request.n_document_ids = own % 2 == 0 ? CHURNED : 0;
        if (indexer_search(at->self->core, &request, &answer, arena, &failed) != WEIR_OK ||
            !has_each_once(&answer))
            abort();
        weir_arena_reset(arena);
        __atomic_fetch_add(&at->searches, 1, __ATOMIC_RELAXED);
    }
    weir_arena_destroy(&arena);
    return NULL;
}

static void
searches_beside_replacements_see_each_document_once(void **state)
{
    world *self = *state;
    churn at = { .self = self };
    pthread_t threads[2];
    char name[2] = { 0 };

    for (name[0] = 'a'; name[0] < 'a' + CHURNED; name[0]++)
        put_document(self, name, 1, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, search_on, &at), 0);
    for (int64_t revision = 2; revision < 400; revision++) {
        name[0] = (char)('a' + revision % CHURNED);
        put_document(self, name, revision, 1);
        world_commit(self);
        forget(self);
    }
    __atomic_store_n(&at.stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    print_message("%u searches beside 398 replacements\n", at.searches);
    world_quiet(self);
    assert_int_equal(count_keys(self, 'V'), CHURNED);
    assert_int_equal(verified_chunks(self), CHURNED);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, world_open, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(scores_equal_brute_force_over_what_is_ready),
        TEST(a_hit_says_where_it_stands),
        TEST(a_query_need_not_be_normalised),
        TEST(many_invisible_rows_hide_no_visible_one),
        TEST(ties_come_by_document_and_ordinal_even_at_the_cut),
        TEST(a_document_filter_is_exact_and_takes_each_document_once),
        TEST(hits_of_one_document_can_be_limited),
        TEST(hits_below_a_score_can_be_left_out),
        TEST(text_can_be_left_out),
        TEST(neighbours_are_joined_without_their_overlap),
        TEST(top_k_has_bounds),
        TEST(queries_that_are_not_finite_or_zero_are_refused),
        TEST(queries_of_another_dimension_are_refused),
        TEST(an_answer_above_four_mebibytes_is_refused),
        TEST(a_ready_chunk_without_its_record_is_corrupt),
        TEST(another_tenants_collection_answers_like_none),
        TEST(collections_do_not_see_each_other),
        TEST(a_read_under_way_keeps_what_its_snapshot_shows),
        TEST(searches_beside_replacements_see_each_document_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
