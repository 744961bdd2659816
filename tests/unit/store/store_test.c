/*
 * Goal: both kinds of store keep the contract of store.h. Method: each case runs against RocksDB
 * and against memory; they can differ in nothing that a case sees.
 */
#include "tests/unit/store/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"

static const weir_bytes no_bound;

typedef struct fixture {
    char path[128];
    weir_store *store;
    weir_batch *batch;
} fixture;

static fixture at;

static int
setup(void **state)
{
    scratch_make(at.path);
    at.store = open_kind(*state, at.path);
    at.batch = weir_batch_create(at.store);
    return 0;
}

static int
teardown(void **state)
{
    weir_batch_destroy(&at.batch);
    weir_store_close(&at.store);
    scratch_remove(at.path);
    return 0;
}

static weir_bytes
b(const char *text)
{
    return weir_bytes_str(text);
}

static void
commit(void)
{
    weir_error error = { 0 };

    CHECK_OK(weir_store_commit(at.store, at.batch, true, &error));
}

static void
put_letters(const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const char key[] = { *letters, '\0' };

        weir_batch_put(at.batch, b(key), b("1"));
    }
    commit();
}

static const char *
all(void)
{
    return listed(weir_store_iter(at.store, NULL, b("a"), b("l")));
}

static void
what_was_committed_is_read(void **state)
{
    weir_batch_put(at.batch, b("key"), b("value"));
    assert_null(text_at(at.store, NULL, "key"));
    commit();
    assert_string_equal(text_at(at.store, NULL, "key"), "value");
    assert_null(text_at(at.store, NULL, "other"));
}

static void
an_empty_value_is_a_value(void **state)
{
    weir_batch_put(at.batch, b("key"), no_bound);
    assert_string_equal(batch_text_at(at.batch, "key"), "");
    commit();
    assert_string_equal(text_at(at.store, NULL, "key"), "");
}

static void
get_replaces_what_the_buffer_held(void **state)
{
    weir_buffer out = { 0 };
    bool is_found = true;
    weir_error error = { 0 };

    put_letters("a");
    weir_buffer_append(&out, "old", 3);
    CHECK_OK(weir_store_get(at.store, NULL, b("a"), &out, &is_found, &error));
    assert_true(weir_bytes_equal(weir_buffer_view(&out), b("1")));
    CHECK_OK(weir_store_get(at.store, NULL, b("b"), &out, &is_found, &error));
    assert_false(is_found);
    assert_int_equal(out.size, 0);
    weir_buffer_append(&out, "old", 3);
    CHECK_OK(weir_batch_get(at.batch, b("a"), &out, &is_found, &error));
    assert_true(is_found && weir_bytes_equal(weir_buffer_view(&out), b("1")));
    weir_buffer_fini(&out);
}

static void
the_last_write_to_a_key_wins(void **state)
{
    weir_batch_put(at.batch, b("a"), b("1"));
    weir_batch_put(at.batch, b("a"), b("2"));
    weir_batch_put(at.batch, b("b"), b("1"));
    weir_batch_delete(at.batch, b("b"));
    weir_batch_delete(at.batch, b("c"));
    weir_batch_put(at.batch, b("c"), b("3"));
    assert_string_equal(batch_text_at(at.batch, "a"), "2");
    assert_null(batch_text_at(at.batch, "b"));
    commit();
    assert_string_equal(all(), "a=2 c=3 ");
}

static void
what_is_lent_is_read_and_left_alone(void **state)
{
    char first[] = "lent", second[] = "lent too";

    weir_batch_put_lent(at.batch, b("a"), b(first));
    weir_batch_put_lent(at.batch, b("b"), b(first));
    weir_batch_put_lent(at.batch, b("c"), b(first));
    weir_batch_put(at.batch, b("d"), b("kept"));
    weir_batch_put(at.batch, b("b"), b("2")); /* shorter: not into what was lent */
    weir_batch_delete(at.batch, b("c"));
    weir_batch_put_lent(at.batch, b("d"), b(second));
    assert_string_equal(batch_text_at(at.batch, "a"), "lent");
    assert_string_equal(listed(weir_batch_iter(at.batch, b("a"), b("l"))),
        "a=lent b=2 d=lent too ");
    commit();
    assert_string_equal(first, "lent");
    memset(first, '-', strlen(first)); /* the loan is over */
    memset(second, '-', strlen(second));
    assert_string_equal(all(), "a=lent b=2 d=lent too ");
    weir_batch_put(at.batch, b("a"), b("again")); /* the slot has forgotten the loan */
    weir_batch_put_lent(at.batch, b("e"), no_bound);
    commit();
    assert_string_equal(all(), "a=again b=2 d=lent too e= ");
}

static void
a_batch_reads_its_own_writes_before_the_store(void **state)
{
    put_letters("abc");
    weir_batch_put(at.batch, b("b"), b("2"));
    weir_batch_delete(at.batch, b("c"));
    assert_string_equal(batch_text_at(at.batch, "a"), "1");
    assert_string_equal(batch_text_at(at.batch, "b"), "2");
    assert_null(batch_text_at(at.batch, "c"));
    assert_string_equal(text_at(at.store, NULL, "b"), "1");
    assert_string_equal(text_at(at.store, NULL, "c"), "1");
}

static void
clear_forgets_the_batch(void **state)
{
    put_letters("a");
    weir_batch_put(at.batch, b("b"), b("2"));
    weir_batch_delete(at.batch, b("a"));
    assert_int_equal(weir_batch_count(at.batch), 2);
    assert_int_equal(weir_batch_bytes(at.batch), 3);
    weir_batch_clear(at.batch);
    assert_int_equal(weir_batch_count(at.batch), 0);
    assert_int_equal(weir_batch_bytes(at.batch), 0);
    assert_string_equal(batch_text_at(at.batch, "a"), "1");
    assert_null(batch_text_at(at.batch, "b"));
    commit();
    assert_string_equal(all(), "a=1 ");
}

static void
commit_clears_the_batch(void **state)
{
    put_letters("a");
    assert_int_equal(weir_batch_count(at.batch), 0);
    delete_now(at.store, "a", false);
    commit();
    assert_null(text_at(at.store, NULL, "a"));
}

static void
a_batch_sees_what_another_one_committed(void **state)
{
    weir_batch_put(at.batch, b("b"), b("2"));
    put_now(at.store, "a", "1", false);
    put_now(at.store, "b", "1", false);
    assert_string_equal(batch_text_at(at.batch, "a"), "1");
    assert_string_equal(batch_text_at(at.batch, "b"), "2");
    assert_string_equal(listed(weir_batch_iter(at.batch, b("a"), b("l"))), "a=1 b=2 ");
    commit();
    assert_string_equal(all(), "a=1 b=2 ");
}

static void
keys_come_in_the_order_of_unsigned_bytes(void **state)
{
    weir_batch_put(at.batch, b("n"), b("1"));
    weir_batch_put(at.batch, b("n\x7f"), b("2"));
    weir_batch_put(at.batch, b("n\x80"), b("3"));
    weir_batch_put(at.batch, b("n\xff"), b("4"));
    weir_batch_put(at.batch, weir_bytes_of("n\0", 2), b("5"));
    assert_string_equal(listed(weir_batch_iter(at.batch, b("n"), b("o"))) + 1,
        "=1 n=5 n\x7f=2 n\x80=3 n\xff=4 ");
    commit();
    assert_string_equal(listed(weir_store_iter(at.store, NULL, b("n"), b("o"))) + 1,
        "=1 n=5 n\x7f=2 n\x80=3 n\xff=4 ");
}

/* Every pair of bounds, both ways, over the store, a snapshot, and a batch that has half of the
 * keys. */
static void
an_iterator_stays_within_its_bounds(void **state)
{
    static const char letters[] = "bdfh";
    weir_snapshot *snapshot;

    put_letters("bdfh");
    put_letters("x");
    snapshot = weir_store_snapshot_take(at.store);
    put_letters("c");
    delete_now(at.store, "c", false);
    weir_batch_put(at.batch, b("d"), b("1"));
    weir_batch_put(at.batch, b("h"), b("1"));
    weir_batch_put(at.batch, b("y"), b("1"));
    for (char lower = 'a'; lower <= 'i'; lower++) {
        for (char upper = lower; upper <= 'j'; upper++) {
            const weir_bytes from = weir_bytes_of(&lower, 1);
            const weir_bytes to = weir_bytes_of(&upper, 1);
            char forward[64] = "";
            char backward[64] = "";

            for (size_t index = 0; index < 4; index++) {
                if (letters[index] >= lower && letters[index] < upper)
                    (void)sprintf(forward + strlen(forward), "%c=1 ", letters[index]);
                if (letters[3 - index] >= lower && letters[3 - index] < upper)
                    (void)sprintf(backward + strlen(backward), "%c=1 ", letters[3 - index]);
            }
            assert_string_equal(listed(weir_store_iter(at.store, NULL, from, to)), forward);
            assert_string_equal(listed(weir_store_iter(at.store, snapshot, from, to)), forward);
            assert_string_equal(listed(weir_batch_iter(at.batch, from, to)), forward);
            assert_string_equal(listed_back(weir_store_iter(at.store, NULL, from, to)), backward);
            assert_string_equal(listed_back(weir_store_iter(at.store, snapshot, from, to)),
                backward);
            assert_string_equal(listed_back(weir_batch_iter(at.batch, from, to)), backward);
        }
    }
    weir_store_snapshot_release(at.store, &snapshot);
    assert_null(snapshot);
}

static void
without_an_upper_bound_all_is_listed(void **state)
{
    put_letters("xyz");
    weir_batch_put(at.batch, b("\xff\xff"), b("1"));
    assert_string_equal(listed(weir_batch_iter(at.batch, b("y"), no_bound)), "y=1 z=1 \xff\xff=1 ");
    assert_string_equal(listed_back(weir_batch_iter(at.batch, b("y"), no_bound)),
        "\xff\xff=1 z=1 y=1 ");
    assert_string_equal(listed_back(weir_store_iter(at.store, NULL, b("z"), no_bound)), "z=1 ");
}

static void
the_bounds_are_copied(void **state)
{
    char lower[] = "b";
    char upper[] = "d";
    weir_iter *iter;

    put_letters("abcde");
    iter = weir_store_iter(at.store, NULL, b(lower), b(upper));
    lower[0] = 'd';
    upper[0] = 'z';
    assert_string_equal(listed(iter), "b=1 c=1 ");
}

static void
seek_finds_the_first_at_or_after_within_the_bounds(void **state)
{
    weir_iter *iter;

    put_letters("bdf");
    iter = weir_store_iter(at.store, NULL, b("b"), b("f"));
    assert_true(weir_iter_seek(iter, b("c")));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("d")));
    assert_true(weir_iter_seek(iter, b("a"))); /* below the range: its first */
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("b")));
    assert_false(weir_iter_seek(iter, b("e")));
    assert_false(weir_iter_next(iter)); /* after the end there is no way on */
    assert_true(weir_iter_seek(iter, b("d")));
    assert_true(weir_iter_prev(iter));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("b")));
    assert_false(weir_iter_prev(iter));
    assert_true(weir_iter_next(iter)); /* before the first again */
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("b")));
    weir_iter_destroy(&iter);
    assert_null(iter);
}

static void
an_iterator_turns_round(void **state)
{
    weir_iter *iter;

    put_letters("ace");
    weir_batch_put(at.batch, b("b"), b("2"));
    weir_batch_put(at.batch, b("d"), b("2"));
    iter = weir_batch_iter(at.batch, b("a"), b("z"));
    assert_true(weir_iter_seek(iter, b("c")));
    assert_true(weir_iter_prev(iter));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("b")));
    assert_true(weir_iter_next(iter));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("c")));
    assert_true(weir_iter_next(iter));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("d")));
    assert_true(weir_iter_prev(iter));
    assert_true(weir_bytes_equal(weir_iter_key(iter), b("c")));
    weir_iter_destroy(&iter);
}

static void
an_iterator_and_a_snapshot_do_not_see_later_commits(void **state)
{
    weir_snapshot *snapshot;
    weir_iter *iter;

    put_letters("abc");
    snapshot = weir_store_snapshot_take(at.store);
    iter = weir_store_iter(at.store, NULL, b("a"), b("l"));
    delete_now(at.store, "b", false);
    put_now(at.store, "a", "2", false);
    put_now(at.store, "d", "1", true);
    assert_string_equal(listed(iter), "a=1 b=1 c=1 ");
    assert_string_equal(text_at(at.store, snapshot, "a"), "1");
    assert_string_equal(text_at(at.store, snapshot, "b"), "1");
    assert_null(text_at(at.store, snapshot, "d"));
    assert_string_equal(listed(weir_store_iter(at.store, snapshot, b("a"), b("l"))),
        "a=1 b=1 c=1 ");
    assert_string_equal(all(), "a=2 c=1 d=1 ");
    weir_store_snapshot_release(at.store, &snapshot);
}

static void
delete_range_takes_the_lower_and_leaves_the_upper(void **state)
{
    weir_error error = { 0 };
    weir_snapshot *snapshot;

    put_letters("abcdef");
    snapshot = weir_store_snapshot_take(at.store);
    CHECK_OK(weir_store_delete_range(at.store, b("b"), b("e"), &error));
    assert_string_equal(all(), "a=1 e=1 f=1 ");
    CHECK_OK(weir_store_delete_range(at.store, b("a"), b("a"), &error)); /* empty */
    CHECK_OK(weir_store_delete_range(at.store, b("x"), b("z"), &error)); /* nothing there */
    assert_string_equal(all(), "a=1 e=1 f=1 ");
    put_now(at.store, "c", "2", true);
    assert_string_equal(all(), "a=1 c=2 e=1 f=1 ");
    assert_string_equal(listed(weir_store_iter(at.store, snapshot, b("a"), b("l"))),
        "a=1 b=1 c=1 d=1 e=1 f=1 ");
    weir_store_snapshot_release(at.store, &snapshot);
}

/* Large values live in other files of RocksDB. */
static void
values_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 65536, 3 << 20 };
    weir_rng rng = { 9 };

    for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        uint8_t *const value = weir_alloc(sizes[index]);
        weir_buffer back = { 0 };
        bool is_found = false;
        weir_error error = { 0 };

        for (size_t at_byte = 0; at_byte < sizes[index]; at_byte++)
            value[at_byte] = (uint8_t)weir_rng_next(&rng);
        weir_batch_put(at.batch, b("v"), weir_bytes_of(value, sizes[index]));
        commit();
        CHECK_OK(weir_store_get(at.store, NULL, b("v"), &back, &is_found, &error));
        assert_true(is_found);
        assert_true(weir_bytes_equal(weir_buffer_view(&back), weir_bytes_of(value, sizes[index])));
        weir_buffer_fini(&back);
        weir_free(value);
    }
}

static void
an_empty_batch_may_be_committed(void **state)
{
    weir_error error = { 0 };

    commit();
    CHECK_OK(weir_store_commit(at.store, at.batch, false, &error));
    CHECK_OK(weir_store_sync(at.store, &error));
    assert_string_equal(all(), "");
}

static void
the_stats_grow_with_the_content(void **state)
{
    weir_store_stats stats = { 0 };

    put_letters("abcdef");
    weir_store_stats_read(at.store, &stats);
    assert_true(stats.disk_bytes > 0);
    assert_true(stats.free_bytes > 0);
    assert_true(stats.memory_bytes > 0);
    assert_true(stats.stall_us < 1000000);
}

static void *
read_until_told(void *told_void)
{
    const _Atomic bool *const told = told_void;
    unsigned rounds = 0;

    while (!*told) {
        weir_snapshot *snapshot = weir_store_snapshot_take(at.store);
        weir_iter *iter = weir_store_iter(at.store, snapshot, b("a"), b("l"));
        weir_bytes first = { 0 };
        weir_buffer seen = { 0 };

        while (weir_iter_next(iter)) {
            first = weir_iter_value(iter);
            if (seen.size == 0)
                weir_buffer_append(&seen, first.data, first.size);
            /* All keys are written in one batch: a snapshot shows them equal. */
            if (!weir_bytes_equal(weir_buffer_view(&seen), first))
                abort();
        }
        weir_buffer_fini(&seen);
        weir_iter_destroy(&iter);
        weir_store_snapshot_release(at.store, &snapshot);
        rounds++;
    }
    return (void *)(uintptr_t)rounds;
}

static void
readers_see_whole_batches_while_one_thread_commits(void **state)
{
    _Atomic bool told = false;
    pthread_t threads[2];

    for (size_t index = 0; index < 2; index++)
        assert_int_equal(pthread_create(&threads[index], NULL, read_until_told, &told), 0);
    for (unsigned round = 0; round < 400; round++) {
        char value[16];
        weir_error error = { 0 };

        (void)snprintf(value, sizeof value, "%u", round);
        for (char letter = 'a'; letter <= 'j'; letter++)
            weir_batch_put(at.batch, weir_bytes_of(&letter, 1), b(value));
        CHECK_OK(weir_store_commit(at.store, at.batch, round % 16 == 0, &error));
    }
    told = true;
    for (size_t index = 0; index < 2; index++)
        assert_int_equal(pthread_join(threads[index], NULL), 0);
    assert_string_equal(text_at(at.store, NULL, "j"), "399");
}

int
main(void)
{
#define BOTH(name_)                                                               \
    { "rocksdb: " #name_, name_, setup, teardown, (void *)(uintptr_t)"rocksdb" }, \
        { "mem: " #name_, name_, setup, teardown, (void *)(uintptr_t)"mem" }
    const struct CMUnitTest tests[] = {
        BOTH(what_was_committed_is_read),
        BOTH(an_empty_value_is_a_value),
        BOTH(get_replaces_what_the_buffer_held),
        BOTH(the_last_write_to_a_key_wins),
        BOTH(what_is_lent_is_read_and_left_alone),
        BOTH(a_batch_reads_its_own_writes_before_the_store),
        BOTH(clear_forgets_the_batch),
        BOTH(commit_clears_the_batch),
        BOTH(a_batch_sees_what_another_one_committed),
        BOTH(keys_come_in_the_order_of_unsigned_bytes),
        BOTH(an_iterator_stays_within_its_bounds),
        BOTH(without_an_upper_bound_all_is_listed),
        BOTH(the_bounds_are_copied),
        BOTH(seek_finds_the_first_at_or_after_within_the_bounds),
        BOTH(an_iterator_turns_round),
        BOTH(an_iterator_and_a_snapshot_do_not_see_later_commits),
        BOTH(delete_range_takes_the_lower_and_leaves_the_upper),
        BOTH(values_of_every_size_come_back),
        BOTH(an_empty_batch_may_be_committed),
        BOTH(the_stats_grow_with_the_content),
        BOTH(readers_see_whole_batches_while_one_thread_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
