/*
 * indexer_index_test.c - the index in memory finds exactly the nearest rows, while it is written
 * to.
 *
 * Method: brute force beside it; small segments, so that every test crosses several.
 */
#include "tests/unit/indexer/support.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/indexer/index.h"
#include "services/indexer/kernel.h"

enum { DIMENSION = 24, SEGMENT_ROWS = 64, SEGMENT_BYTES = SEGMENT_ROWS * DIMENSION * 4 };

static weir_error error;

static indexer_index *
make_index(void)
{
    return indexer_index_create(DIMENSION, SEGMENT_BYTES);
}

/* Document number n, as a try whose name lives until the next 16 calls. */
static indexer_try
numbered(unsigned n)
{
    static char names[16][32];
    static unsigned next;
    char *name = names[next++ % 16];

    snprintf(name, 32, "document-%u", n);
    return (indexer_try){ .document_id = name, .revision = 1, .epoch = 1 };
}

/* `count` rows of document n: ordinals 0.., vectors by seed n * 1000 + ordinal. */
static void
add_document(indexer_index *index, unsigned n, uint32_t count)
{
    const indexer_try owner = numbered(n);

    for (uint32_t ordinal = 0; ordinal < count; ordinal++) {
        float vector[DIMENSION];

        seeded_vector(n * 1000 + ordinal, vector, DIMENSION);
        CHECK_OK(indexer_index_add(index, &owner, &ordinal, vector, 1, &error));
    }
}

typedef struct scored {
    char name[32];
    uint32_t ordinal;
    float score;
} scored;

static int
compare_scored(const void *left, const void *right)
{
    const scored *a = left, *b = right;

    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    const int order = strcmp(a->name, b->name);
    return order != 0 ? order : a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

/* Compare a search for `wanted` rows with brute force over documents [0, documents) but those that
 * `is_gone` names. */
static void
compare_search(indexer_index *index, uint64_t seed, size_t wanted, unsigned documents,
    uint32_t rows, bool (*is_gone)(unsigned n))
{
    scored *all = weir_alloc_zero(documents * rows + 1, sizeof *all);
    float query[DIMENSION], vector[DIMENSION];
    indexer_hits hits = { 0 };
    size_t count = 0;

    seeded_vector(seed, query, DIMENSION);
    for (unsigned n = 0; n < documents; n++) {
        for (uint32_t ordinal = 0; ordinal < rows && !is_gone(n); ordinal++, count++) {
            seeded_vector(n * 1000 + ordinal, vector, DIMENSION);
            snprintf(all[count].name, sizeof all[count].name, "document-%u", n);
            all[count].ordinal = ordinal;
            all[count].score = indexer_inner_product(query, vector, DIMENSION);
        }
    }
    qsort(all, count, sizeof *all, compare_scored);
    CHECK_OK(indexer_index_search(index, query, wanted, &hits, &error));
    assert_int_equal(hits.count, wanted < count ? wanted : count);
    assert_true(wanted < count ? !hits.is_complete : hits.is_complete);
    for (size_t i = 0; i < hits.count; i++) {
        assert_string_equal(indexer_owner_try(hits.items[i].owner)->document_id, all[i].name);
        assert_int_equal(hits.items[i].ordinal, all[i].ordinal);
        assert_true(hits.items[i].score == all[i].score);
    }
    indexer_hits_fini(&hits);
    weir_free(all);
}

static bool
nobody(unsigned n)
{
    return false;
}

static bool
every_third(unsigned n)
{
    return n % 3 == 0;
}

static bool
most(unsigned n)
{
    return n % 4 != 0;
}

static void
a_search_equals_brute_force_over_several_segments(void **state)
{
    indexer_index *index = make_index();

    for (unsigned n = 0; n < 100; n++)
        add_document(index, n, 7);
    for (uint64_t seed = 1; seed < 20; seed++) {
        compare_search(index, seed, 10, 100, 7, nobody);
        compare_search(index, seed, 150, 100, 7, nobody);
        compare_search(index, seed, 5000, 100, 7, nobody);
    }
    indexer_index_destroy(&index);
}

static void
an_empty_index_answers_nothing_and_is_complete(void **state)
{
    indexer_index *index = make_index();
    float query[DIMENSION];
    indexer_hits hits = { 0 };

    seeded_vector(1, query, DIMENSION);
    CHECK_OK(indexer_index_search(index, query, 10, &hits, &error));
    assert_int_equal(hits.count, 0);
    assert_true(hits.is_complete);
    indexer_hits_fini(&hits);
    indexer_index_destroy(&index);
}

static void
removed_rows_are_found_no_more(void **state)
{
    indexer_index *index = make_index();

    for (unsigned n = 0; n < 60; n++)
        add_document(index, n, 5);
    for (unsigned n = 0; n < 60; n += 3) {
        const indexer_try owner = numbered(n);

        indexer_index_remove(index, &owner);
        assert_int_equal(indexer_index_count(index, &owner), 0);
        assert_false(indexer_index_has(index, &owner, 0));
    }
    for (uint64_t seed = 1; seed < 10; seed++)
        compare_search(index, seed, 20, 60, 5, every_third);
    indexer_index_destroy(&index);
}

static void
cleaning_moves_survivors_and_frees_the_dead(void **state)
{
    indexer_index *index = make_index();
    indexer_index_stats stats;
    bool worked = true;
    int rounds = 0;

    for (unsigned n = 0; n < 120; n++)
        add_document(index, n, 5);
    for (unsigned n = 0; n < 120; n++) {
        const indexer_try owner = numbered(n);

        if (most(n))
            indexer_index_remove(index, &owner);
    }
    for (; worked; rounds++)
        CHECK_OK(indexer_index_clean(index, &worked, &error));
    assert_true(rounds > 5);
    indexer_index_stats_read(index, &stats);
    assert_int_equal(stats.rows, 30 * 5);
    assert_int_equal(stats.owners, 30);
    assert_true(stats.dead_rows * 2 < stats.rows);
    assert_true(stats.segments <= 4);
    for (uint64_t seed = 1; seed < 10; seed++)
        compare_search(index, seed, 20, 120, 5, most);
    for (unsigned n = 0; n < 120; n += 4) {
        const indexer_try owner = numbered(n);
        float vector[DIMENSION];

        seeded_vector(n * 1000 + 3, vector, DIMENSION);
        assert_true(indexer_index_holds(index, &owner, 3, vector));
        assert_false(indexer_index_holds(index, &owner, 2, vector));
    }
    indexer_index_destroy(&index);
}

static void
one_row_in_a_full_segment_may_be_dead_without_a_move(void **state)
{
    indexer_index *index = make_index();
    const indexer_try owner = numbered(0);
    bool worked = true;

    for (unsigned n = 0; n < SEGMENT_ROWS; n++)
        add_document(index, n, 1);
    indexer_index_remove(index, &owner);
    CHECK_OK(indexer_index_clean(index, &worked, &error));
    assert_false(worked);
    indexer_index_destroy(&index);
}

static void
equal_scores_come_in_the_order_of_document_and_ordinal(void **state)
{
    indexer_index *index = make_index();
    indexer_hits hits = { 0 };
    float vector[DIMENSION];

    seeded_vector(7, vector, DIMENSION);
    for (unsigned n = 200; n > 0; n--) {
        for (uint32_t ordinal = 2; ordinal-- > 0;) {
            const indexer_try owner = numbered(n);

            CHECK_OK(indexer_index_add(index, &owner, &ordinal, vector, 1, &error));
        }
    }
    CHECK_OK(indexer_index_search(index, vector, 1000, &hits, &error));
    assert_int_equal(hits.count, 400);
    for (size_t i = 1; i < hits.count; i++) {
        const int order = strcmp(indexer_owner_try(hits.items[i - 1].owner)->document_id,
            indexer_owner_try(hits.items[i].owner)->document_id);

        assert_true(order < 0 || (order == 0 && hits.items[i - 1].ordinal < hits.items[i].ordinal));
        assert_true(hits.items[i].score == hits.items[0].score);
    }
    indexer_hits_fini(&hits);
    indexer_index_destroy(&index);
}

static void
gathering_gives_the_scores_of_searching(void **state)
{
    indexer_index *index = make_index();
    indexer_hits all = { 0 }, some = { 0 };
    float query[DIMENSION];
    size_t found = 0, at = 0;

    for (unsigned n = 0; n < 50; n++)
        add_document(index, n, 9);
    const indexer_try wanted[] = { numbered(3), numbered(44), numbered(17), numbered(999) };
    seeded_vector(5, query, DIMENSION);
    CHECK_OK(indexer_index_search(index, query, 1000, &all, &error));
    indexer_index_gather(index, query, wanted, 4, &some, &found);
    assert_int_equal(found, 3);
    assert_int_equal(some.count, 27);
    assert_true(some.is_complete);
    for (size_t i = 0; i < all.count && at < some.count; i++)
        if (all.items[i].owner == some.items[at].owner &&
            all.items[i].ordinal == some.items[at].ordinal)
            assert_true(all.items[i].score == some.items[at++].score);
    assert_int_equal(at, some.count);
    indexer_hits_fini(&all);
    indexer_hits_fini(&some);
    indexer_index_destroy(&index);
}

static void
hits_outlive_the_removal_of_their_rows(void **state)
{
    indexer_index *index = make_index();
    const indexer_try owner = numbered(1);
    indexer_hits hits = { 0 };
    float query[DIMENSION];

    add_document(index, 1, 3);
    seeded_vector(1000, query, DIMENSION);
    CHECK_OK(indexer_index_search(index, query, 3, &hits, &error));
    indexer_index_remove(index, &owner);
    indexer_index_destroy(&index);
    assert_string_equal(indexer_owner_try(hits.items[0].owner)->document_id, "document-1");
    indexer_hits_fini(&hits);
}

static void
epochs_of_one_document_are_apart(void **state)
{
    indexer_index *index = make_index();
    const indexer_try first = { "a", 1, 1 }, second = { "a", 1, 2 }, third = { "a", 2, 1 };
    const uint32_t ordinal = 0;
    float vector[DIMENSION];

    seeded_vector(1, vector, DIMENSION);
    CHECK_OK(indexer_index_add(index, &first, &ordinal, vector, 1, &error));
    CHECK_OK(indexer_index_add(index, &second, &ordinal, vector, 1, &error));
    CHECK_OK(indexer_index_add(index, &third, &ordinal, vector, 1, &error));
    indexer_index_remove(index, &second);
    indexer_index_remove(index, &second);
    assert_int_equal(indexer_index_count(index, &first), 1);
    assert_int_equal(indexer_index_count(index, &second), 0);
    assert_int_equal(indexer_index_count(index, &third), 1);
    indexer_index_destroy(&index);
}

/* ---- vectors ---- */

static void
vectors_that_are_not_finite_or_zero_are_refused(void **state)
{
    const float values[] = { NAN, INFINITY, -INFINITY };
    float vector[4] = { 0 };

    CHECK_CODE(indexer_vector_normalise(vector, 4, &error), WEIR_VECTOR_INVALID);
    for (int i = 0; i < 3; i++) {
        float bad[4] = { 1, 2, 3, values[i] };

        CHECK_CODE(indexer_vector_normalise(bad, 4, &error), WEIR_VECTOR_INVALID);
        assert_non_null(strstr(error.message, "component 3"));
    }
}

static void
vectors_of_any_finite_length_get_length_one(void **state)
{
    const float lengths[] = { 1e-38f, 1e-20f, 0.5f, 3, 1e18f, 3e38f };

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        float vector[3] = { lengths[i], 0, -lengths[i] };

        CHECK_OK(indexer_vector_normalise(vector, 3, &error));
        assert_true(fabsf(vector[0] - 0.70710678f) < 1e-6f);
        assert_true(vector[2] == -vector[0]);
    }
}

static void
normalising_again_changes_no_bit(void **state)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        float vector[384], copy[384];

        seeded_vector(seed, vector, 384);
        memcpy(copy, vector, sizeof copy);
        CHECK_OK(indexer_vector_normalise(copy, 384, &error));
        assert_memory_equal(copy, vector, sizeof copy);
    }
}

/* ---- threads ---- */

enum { CHURN = 24, STABLE_ROWS = 3, ROUNDS = 250 };

typedef struct searcher {
    indexer_index *index;
    unsigned stable; /* atomic: documents 0 .. stable - 1 are there to stay */
    bool stop;       /* atomic */
    unsigned searches;
} searcher;

/* Count the rows of each stable document in a complete answer. */
static void
check_stable(const indexer_hits *hits, unsigned stable)
{
    unsigned rows[ROUNDS] = { 0 };

    for (size_t i = 0; i < hits->count; i++) {
        const char *name = indexer_owner_try(hits->items[i].owner)->document_id;

        if (strncmp(name, "document-", 9) == 0)
            rows[strtoul(name + 9, NULL, 10)]++;
    }
    for (unsigned n = 0; n < stable; n++)
        if (rows[n] != STABLE_ROWS)
            abort();
}

/* Every stable row is found at every instant, once. */
static void *
search_stable(void *ud)
{
    searcher *self = ud;
    indexer_hits hits = { 0 };
    float query[DIMENSION];
    weir_error failed;

    seeded_vector(77, query, DIMENSION);
    while (!__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
        const unsigned stable = __atomic_load_n(&self->stable, __ATOMIC_ACQUIRE);

        if (indexer_index_search(self->index, query, 100000, &hits, &failed) != WEIR_OK)
            abort();
        check_stable(&hits, stable);
        self->searches++;
    }
    indexer_hits_fini(&hits);
    return NULL;
}

static indexer_try
churned(char *name, unsigned n)
{
    snprintf(name, 32, "churn-%u", n);
    return (indexer_try){ .document_id = name, .revision = 1, .epoch = 1 };
}

static void
add_churn(indexer_index *index, unsigned first, unsigned last)
{
    const uint32_t ordinals[] = { 0, 1, 5 };
    float vectors[3 * DIMENSION];
    char name[32];

    for (unsigned i = 0; i < 3; i++)
        seeded_vector(900000 + i, vectors + i * DIMENSION, DIMENSION);
    for (unsigned n = first; n < last; n++) {
        const indexer_try owner = churned(name, n);

        CHECK_OK(indexer_index_add(index, &owner, ordinals, vectors, 3, &error));
    }
}

/* Each round leaves one more stable document among rows that die, so cleaning moves it. */
static void
searches_beside_adds_removals_and_cleaning_miss_nothing(void **state)
{
    searcher self = { .index = make_index() };
    pthread_t thread;
    char name[32];

    assert_int_equal(pthread_create(&thread, NULL, search_stable, &self), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool worked = true;

        add_churn(self.index, 0, CHURN / 2);
        add_document(self.index, round, STABLE_ROWS);
        __atomic_store_n(&self.stable, round + 1, __ATOMIC_RELEASE);
        add_churn(self.index, CHURN / 2, CHURN);
        for (unsigned n = 0; n < CHURN; n++) {
            const indexer_try owner = churned(name, n);

            indexer_index_remove(self.index, &owner);
        }
        while (worked)
            CHECK_OK(indexer_index_clean(self.index, &worked, &error));
    }
    __atomic_store_n(&self.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    print_message("%u searches beside the changes\n", self.searches);
    indexer_index_destroy(&self.index);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_equals_brute_force_over_several_segments),
        cmocka_unit_test(an_empty_index_answers_nothing_and_is_complete),
        cmocka_unit_test(removed_rows_are_found_no_more),
        cmocka_unit_test(cleaning_moves_survivors_and_frees_the_dead),
        cmocka_unit_test(one_row_in_a_full_segment_may_be_dead_without_a_move),
        cmocka_unit_test(equal_scores_come_in_the_order_of_document_and_ordinal),
        cmocka_unit_test(gathering_gives_the_scores_of_searching),
        cmocka_unit_test(hits_outlive_the_removal_of_their_rows),
        cmocka_unit_test(epochs_of_one_document_are_apart),
        cmocka_unit_test(vectors_that_are_not_finite_or_zero_are_refused),
        cmocka_unit_test(vectors_of_any_finite_length_get_length_one),
        cmocka_unit_test(normalising_again_changes_no_bit),
        cmocka_unit_test(searches_beside_adds_removals_and_cleaning_miss_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
