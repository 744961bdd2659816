/*
 * indexer_readers_test.c - what a read under way may need is known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/indexer/readers.h"

static void
without_readers_every_commit_is_passed(void **state)
{
    indexer_readers readers;

    indexer_readers_init(&readers);
    assert_true(indexer_readers_have_passed(&readers, indexer_readers_count_commit(&readers)));
    indexer_readers_fini(&readers);
}

static void
a_reader_holds_back_commits_after_it_entered(void **state)
{
    indexer_readers readers;
    indexer_reader before, after;

    indexer_readers_init(&readers);
    const uint64_t first = indexer_readers_count_commit(&readers);
    indexer_readers_enter(&readers, &before);
    const uint64_t second = indexer_readers_count_commit(&readers);
    indexer_readers_enter(&readers, &after);
    assert_true(indexer_readers_have_passed(&readers, first));
    assert_false(indexer_readers_have_passed(&readers, second));
    indexer_readers_leave(&readers, &before);
    assert_true(indexer_readers_have_passed(&readers, second));
    indexer_readers_leave(&readers, &after);
    indexer_readers_fini(&readers);
}

static void
readers_leave_in_any_order(void **state)
{
    indexer_readers readers;
    indexer_reader items[5];
    uint64_t commits[5];
    const int order[] = { 2, 0, 4, 3, 1 };
    bool inside[] = { true, true, true, true, true };

    indexer_readers_init(&readers);
    for (int i = 0; i < 5; i++) {
        indexer_readers_enter(&readers, &items[i]);
        commits[i] = indexer_readers_count_commit(&readers);
    }
    for (int i = 0; i < 5; i++) {
        indexer_readers_leave(&readers, &items[order[i]]);
        inside[order[i]] = false;
        for (int commit = 0, held = 0; commit < 5; commit++) {
            held += inside[commit];
            assert_int_equal(indexer_readers_have_passed(&readers, commits[commit]), held == 0);
        }
    }
    indexer_readers_fini(&readers);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_readers_every_commit_is_passed),
        cmocka_unit_test(a_reader_holds_back_commits_after_it_entered),
        cmocka_unit_test(readers_leave_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
