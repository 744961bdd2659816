/*
 * Goal: the two kinds of store are one (but for RocksDB's schema record, below the keys used here).
 * Method: the same seeded operations on both, on few keys so that they meet; everything that can be
 * read is compared.
 */
#include "tests/unit/store/support.h"

#include <stdio.h>
#include <string.h>

#include "common/base/random.h"

typedef struct scale {
    unsigned rounds;
    uint32_t operations_max;
    uint32_t keys;
    unsigned large_every; /* a round with 100 times as many operations; 0: none */
} scale;

static const scale few = { 200, 30, 60, 0 };
/* A batch grows, and later ones are small again. */
static const scale many = { 30, 50, 3000, 5 };
static scale now;

typedef struct side {
    weir_store *store;
    weir_batch *batch;
    weir_snapshot *snapshot;
} side;

static side sides[2];
static char lent[] = "what is lent is read, and never written"; /* longer than what is copied */

static weir_bytes
some_key(weir_rng *rng, char out[16])
{
    (void)snprintf(out, 16, "x%02u", (unsigned)weir_rng_below(rng, now.keys));
    return weir_bytes_str(out);
}

static void
write_some(weir_rng *rng, unsigned round)
{
    const bool is_large = now.large_every > 0 && round % now.large_every == 0;
    const uint64_t at_most = is_large ? now.operations_max * UINT64_C(100) : now.operations_max;

    for (uint64_t left = weir_rng_below(rng, at_most); left > 0; left--) {
        char key_text[16];
        char value_text[24];
        const weir_bytes key = some_key(rng, key_text);
        const bool is_put = weir_rng_below(rng, 3) > 0;
        const bool is_lent = weir_rng_below(rng, 3) == 0;

        (void)snprintf(value_text, sizeof value_text, "%u", (unsigned)weir_rng_below(rng, 1000));
        for (size_t index = 0; index < 2; index++) {
            if (is_put && is_lent)
                weir_batch_put_lent(sides[index].batch, key, weir_bytes_str(lent));
            else if (is_put)
                weir_batch_put(sides[index].batch, key, weir_bytes_str(value_text));
            else
                weir_batch_delete(sides[index].batch, key);
        }
    }
}

static void
finish_some(weir_rng *rng)
{
    const uint64_t choice = weir_rng_below(rng, 8);
    char lower_text[16];
    char upper_text[16];
    const weir_bytes lower = some_key(rng, lower_text);
    const weir_bytes upper = some_key(rng, upper_text);

    for (size_t index = 0; index < 2; index++) {
        side *const self = &sides[index];
        weir_error error = { 0 };

        if (choice < 4)
            CHECK_OK(weir_store_commit(self->store, self->batch, choice == 0, &error));
        else if (choice == 4)
            weir_batch_clear(self->batch);
        else if (choice == 5 && weir_bytes_compare(lower, upper) <= 0)
            CHECK_OK(weir_store_delete_range(self->store, lower, upper, &error));
        else if (choice == 6)
            weir_store_snapshot_release(self->store, &self->snapshot);
        if (choice == 6)
            self->snapshot = weir_store_snapshot_take(self->store);
    }
}

static void
walk_alike(weir_iter *a, weir_iter *b, weir_rng *rng)
{
    bool is_on = false;

    for (unsigned step = 0; step < 40; step++) {
        const uint64_t move = weir_rng_below(rng, 8);
        char key_text[16];
        const weir_bytes key = some_key(rng, key_text);
        bool is_other_on;

        if (move == 0) {
            is_on = weir_iter_seek(a, key);
            is_other_on = weir_iter_seek(b, key);
        } else if (move == 1) {
            is_on = weir_iter_last(a);
            is_other_on = weir_iter_last(b);
        } else if (move <= 3 && is_on) {
            is_on = weir_iter_prev(a);
            is_other_on = weir_iter_prev(b);
        } else {
            is_on = weir_iter_next(a);
            is_other_on = weir_iter_next(b);
        }
        assert_int_equal(is_on, is_other_on);
        if (is_on) {
            assert_true(weir_bytes_equal(weir_iter_key(a), weir_iter_key(b)));
            assert_true(weir_bytes_equal(weir_iter_value(a), weir_iter_value(b)));
        }
    }
    weir_iter_destroy(&a);
    weir_iter_destroy(&b);
}

static void
compare_all(weir_rng *rng)
{
    char lower_text[16];
    char upper_text[16];
    const weir_bytes lower = some_key(rng, lower_text);
    const weir_bytes wanted = some_key(rng, upper_text);
    const weir_bytes upper = weir_rng_below(rng, 4) == 0 ? (weir_bytes){ 0 } : wanted;
    weir_iter *iters[2][3];

    for (size_t index = 0; index < 2; index++) {
        side *const self = &sides[index];

        iters[index][0] = weir_store_iter(self->store, NULL, lower, upper);
        iters[index][1] = weir_store_iter(self->store, self->snapshot, lower, upper);
        iters[index][2] = weir_batch_iter(self->batch, lower, upper);
    }
    for (size_t kind = 0; kind < 3; kind++)
        walk_alike(iters[0][kind], iters[1][kind], rng);
}

static void
run_alike(const scale *wanted)
{
    char path[128];
    weir_rng rng = { 2026 };

    now = *wanted;
    scratch_make(path);
    for (size_t index = 0; index < 2; index++) {
        sides[index].store = open_kind(index == 0 ? "rocksdb" : "mem", path);
        sides[index].batch = weir_batch_create(sides[index].store);
    }
    for (unsigned round = 0; round < now.rounds; round++) {
        write_some(&rng, round);
        for (unsigned look = 0; look < 3; look++)
            compare_all(&rng);
        finish_some(&rng);
        compare_all(&rng);
    }
    for (size_t index = 0; index < 2; index++) {
        weir_store_snapshot_release(sides[index].store, &sides[index].snapshot);
        weir_batch_destroy(&sides[index].batch);
        weir_store_close(&sides[index].store);
    }
    scratch_remove(path);
}

static void
the_same_operations_give_the_same_answers(void **state)
{
    run_alike(&few);
}

static void
batches_of_thousands_and_of_few_writes_give_the_same_answers(void **state)
{
    run_alike(&many);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_operations_give_the_same_answers),
        cmocka_unit_test(batches_of_thousands_and_of_few_writes_give_the_same_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
