/*
 * Goal: what is not over is known exactly, in whatever order the links tell it; the oldest and the
 * stuck are found.
 * Method: orders by hand; time is the test's own; log lines are read back from standard error.
 */
#include "tests/unit/reconciler/world.h"

#include <unistd.h>

#include "common/base/log.h"
#include "weir/v1/document.pb-c.h"

enum { HOUR_MS = 3600000 };

/* ---- over or not ---- */

static void
a_revision_is_unfinished_from_accepted_to_its_end(void **state)
{
    static const lifecycle_kind ends[] = { LIFECYCLE(SUPERSEDED), LIFECYCLE(DELETED),
        LIFECYCLE(GAVE_UP) };
    world *w = *state;

    for (int i = 0; i < 3; i++) {
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .revision = i + 1);
        world_settle(w);
        assert_int_equal(published(w).unfinished, 1);
        SAY(w, GATEWAY, .kind = ends[i], .revision = i + 1);
        world_settle(w);
        assert_int_equal(published(w).unfinished, 0);
    }
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .revision = 4);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .revision = 4);
    world_settle(w);
    assert_int_equal(count_keys(w, 'U'), 0);
}

static void
ready_before_accepted_is_over_and_leaves_nothing(void **state)
{
    world *w = *state;

    SAY(w, INDEXER, .kind = LIFECYCLE(READY));
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
    assert_int_equal(count_keys(w, 'U'), 1); /* the mark */
    assert_counts_are_true(w);
    world_crash(w);
    world_start(w);
    assert_int_equal(published(w).unfinished, 0);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_settle(w);
    assert_int_equal(count_keys(w, 'U'), 0);
    assert_int_equal(published(w).unfinished, 0);
}

static void
ready_before_a_later_try_of_its_era_is_over_too_and_of_a_later_era_is_not(void **state)
{
    world *w = *state;

    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "a");
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "b");
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "a", .epoch = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
    w->era = 2;
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "b", .epoch = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    assert_int_equal(count_keys(w, 'U'), 1);
}

static void
a_revision_that_is_superseded_after_ready_leaves_nothing(void **state)
{
    world *w = *state;

    for (int64_t revision = 1; revision <= 50; revision++) {
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .revision = revision);
        SAY(w, INDEXER, .kind = LIFECYCLE(READY), .revision = revision);
        world_settle(w);
        if (revision > 1)
            SAY(w, GATEWAY, .kind = LIFECYCLE(SUPERSEDED), .revision = revision - 1);
    }
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED), .revision = 50);
    world_settle(w);
    assert_int_equal(count_keys(w, 'U'), 0);
}

static void
ready_told_again_leaves_nothing(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_settle(w);
    for (int i = 0; i < 3; i++) {
        SAY(w, INDEXER, .kind = LIFECYCLE(READY));
        world_settle(w);
    }
    assert_int_equal(count_keys(w, 'U'), 0);
}

static void
a_mark_that_nobody_removes_goes_with_the_revision(void **state)
{
    world *w = *state;

    SAY(w, INDEXER, .kind = LIFECYCLE(READY));
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    world_settle(w);
    assert_int_equal(count_keys(w, 'U'), 0);
}

static void
ready_of_an_earlier_try_ends_a_later_one_of_the_same_era(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
}

static void
ready_of_a_lost_indexer_does_not_end_a_try_of_a_later_era(void **state)
{
    world *w = *state;

    w->era = 2;
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    w->era = 1;
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    w->era = 2;
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1); /* the indexer says it again now */
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
}

static void
a_try_that_begins_after_ready_of_the_same_era_is_over_already(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 1);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1);
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
    w->era = 2; /* the indexer was lost: it has to come back */
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 3);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 3);
    world_settle(w);
    assert_int_equal(count_keys(w, 'U'), 0);
}

static void
a_revoke_that_came_too_late_ends_the_revision(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    SAY(w, INGEST, .kind = LIFECYCLE(FAILED), .epoch = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    say_answer(w, "d", 1, 2, WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_WAS_READY);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 0);
    assert_int_equal(published(w).endings, 0);
}

static void
a_seeding_forgets_what_is_of_an_earlier_era(void **state)
{
    world *w = *state;
    char name[16];

    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "d%d", i);
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = name);
    }
    world_settle(w);
    w->era = 2;
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "d5", .epoch = 2);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "d0", .epoch = 2);
    say_seed(w, NULL, 0, true);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "d6", .epoch = 2);
    world_wait(w, 100);
    assert_int_equal(published(w).unfinished, 3);
    assert_true(is_unfinished(w, "d0", 1)); /* the sweep has come to it in the very round */
    assert_true(is_unfinished(w, "d5", 1));
    assert_true(is_unfinished(w, "d6", 1));
    assert_counts_are_true(w);
}

static void
a_late_row_of_an_earlier_era_is_forgotten_by_a_seeding_too(void **state)
{
    world *w = *state;

    say_era(w, 2);
    world_settle(w);
    w->era = 1; /* it was under way when the volume was lost */
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "late");
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = "late", .revision = 2);
    world_settle(w);
    assert_int_equal(published(w).unfinished, 1);
    assert_int_equal(published(w).dead_letters, 1);
    w->era = 2;
    say_seed(w, NULL, 0, true);
    world_wait(w, 100);
    assert_int_equal(published(w).unfinished, 0);
    assert_int_equal(published(w).dead_letters, 0);
}

/* ---- the oldest ---- */

static void
the_oldest_is_known_at_once_and_again_when_it_is_over(void **state)
{
    world *w = *state;
    const int64_t begin_ms = w->now_ms;

    assert_int_equal(published(w).oldest_since_ms, 0);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "a", .time_ms = begin_ms);
    world_settle(w);
    assert_int_equal(published(w).oldest_since_ms, begin_ms);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "b", .time_ms = begin_ms + 50);
    world_wait(w, 6000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "a");
    world_wait(w, 6000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms + 50);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "b");
    world_settle(w);
    assert_int_equal(published(w).oldest_since_ms, 0);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "c", .time_ms = begin_ms + 60);
    world_settle(w); /* without waiting for a look */
    assert_int_equal(published(w).oldest_since_ms, begin_ms + 60);
}

static void
accepted_told_again_does_not_make_it_younger(void **state)
{
    world *w = *state;
    const int64_t begin_ms = w->now_ms;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2, .time_ms = begin_ms);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2, .time_ms = begin_ms + 50);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 1, .time_ms = begin_ms + 60);
    world_wait(w, 12000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 3, .time_ms = begin_ms + 70);
    world_wait(w, 12000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms + 70);
    assert_int_equal(published(w).unfinished, 1);
}

static void
the_oldest_of_thousands_is_found_in_slices_and_after_a_restart(void **state)
{
    world *w = *state;
    char name[16];
    const int64_t begin_ms = w->now_ms;

    for (int i = 0; i < 3500; i++) {
        snprintf(name, sizeof name, "d%04d", i);
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = name,
            .time_ms = begin_ms + (i == 3333 ? 0 : 100 + i));
    }
    world_wait(w, 12000);
    assert_int_equal(published(w).unfinished, 3500);
    assert_int_equal(published(w).oldest_since_ms, begin_ms);
    world_crash(w);
    world_start(w);
    world_wait(w, 1000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms);
}

static void
a_clock_that_is_set_back_does_not_end_the_looks(void **state)
{
    world *w = *state;
    const int64_t begin_ms = w->now_ms;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "a", .time_ms = begin_ms);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "b", .time_ms = begin_ms + 1);
    world_wait(w, 6000);
    w->now_ms -= 365 * 24 * (int64_t)HOUR_MS;
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "a");
    world_settle(w);
    world_wait(w, 70000);
    assert_int_equal(published(w).oldest_since_ms, begin_ms + 1);
}

/* ---- stuck ---- */

static FILE *log_copy;
static int kept_stderr;

static int
catch_log(void **state)
{
    log_copy = tmpfile();
    kept_stderr = dup(2);
    weir_log_init("test", true, WEIR_LOG_WARN);
    assert_true(log_copy != NULL && kept_stderr >= 0 && dup2(fileno(log_copy), 2) == 2);
    return world_setup(state);
}

static int
release_log(void **state)
{
    dup2(kept_stderr, 2);
    close(kept_stderr);
    fclose(log_copy);
    weir_log_init("test", true, WEIR_LOG_ERROR);
    return world_teardown(state);
}

static int
count_in_log(const char *text)
{
    static char all[1 << 16];
    const ssize_t size = pread(fileno(log_copy), all, sizeof all - 1, 0);
    int count = 0;

    assert_true(size >= 0);
    all[size] = '\0';
    for (const char *at = strstr(all, text); at != NULL; at = strstr(at + 1, text))
        count++;
    return count;
}

static void
a_document_without_any_event_is_named_once_an_hour(void **state)
{
    world *w = *state;

    w->core->config.stuck_after_ms = HOUR_MS;
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "lost", .epoch = 3);
    SAY(w, INGEST, .kind = LIFECYCLE(CHUNKED), .document_id = "lost", .epoch = 3);
    world_wait(w, HOUR_MS - 10000);
    assert_int_equal(published(w).stuck, 0);
    world_wait(w, 30000);
    assert_int_equal(published(w).stuck, 1);
    assert_int_equal(count_in_log("document.stuck"), 1);
    assert_int_equal(count_in_log("lost"), 1);
    assert_int_equal(count_in_log("STAGE_CHUNK"), 1);
    assert_int_equal(count_in_log("LIFECYCLE_KIND_CHUNKED"), 1);
    world_wait(w, 60000);
    assert_int_equal(count_in_log("document.stuck"), 1);
    w->config.stuck_after_ms = HOUR_MS;
    world_crash(w);
    world_start(w);
    world_wait(w, 60000);
    assert_int_equal(count_in_log("document.stuck"), 1); /* nor does a restart name it again */
    world_wait(w, HOUR_MS);
    assert_int_equal(count_in_log("document.stuck"), 2);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "lost", .epoch = 3);
    world_settle(w);
    assert_int_equal(published(w).stuck, 0);
}

static void
a_document_that_says_something_is_not_stuck(void **state)
{
    world *w = *state;

    w->core->config.stuck_after_ms = HOUR_MS;
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    for (int i = 0; i < 4; i++) {
        world_wait(w, HOUR_MS / 2);
        SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED));
    }
    world_wait(w, 60000);
    assert_int_equal(published(w).stuck, 0);
    assert_int_equal(count_in_log("document.stuck"), 0);
}

static void
a_thousand_stuck_documents_do_not_flood_the_log(void **state)
{
    world *w = *state;
    char name[16];

    w->core->config.stuck_after_ms = HOUR_MS;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "d%d", i);
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = name,
            .time_ms = w->now_ms - 2 * HOUR_MS);
    }
    world_settle(w);
    world_wait(w, 6000);
    assert_int_equal(published(w).stuck, 1000);
    assert_in_range(count_in_log("document.stuck"), 20, 40);
}

static void
without_a_limit_nothing_is_stuck(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_wait(w, 3 * HOUR_MS);
    assert_int_equal(published(w).stuck, 0);
    assert_int_equal(count_in_log("document.stuck"), 0);
}

/* Seed 11001: the indexer's READY went with a reset of its link, and nobody else said it. */
static void
the_gateways_word_on_ready_ends_what_the_indexers_was_lost_for(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_settle(w);
    assert_true(is_unfinished(w, "d", 1));
    SAY(w, GATEWAY, .kind = LIFECYCLE(READY), .stage = WEIR__V1__STAGE__STAGE_ACCEPT);
    SAY(w, GATEWAY, .kind = LIFECYCLE(READY), .stage = WEIR__V1__STAGE__STAGE_ACCEPT);
    SAY(w, GATEWAY, .kind = LIFECYCLE(READY), .document_id = "never-heard-of",
        .stage = WEIR__V1__STAGE__STAGE_ACCEPT);
    world_settle(w);
    assert_false(is_unfinished(w, "d", 1));
    assert_int_equal(published(w).unfinished, 0);
    assert_int_equal(count_keys(w, 'U'), 0); /* and no mark is left of the other */
    assert_counts_are_true(w);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
#define LOGGED(test_) cmocka_unit_test_setup_teardown(test_, catch_log, release_log)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_revision_is_unfinished_from_accepted_to_its_end),
        IN_WORLD(ready_before_accepted_is_over_and_leaves_nothing),
        IN_WORLD(ready_before_a_later_try_of_its_era_is_over_too_and_of_a_later_era_is_not),
        IN_WORLD(a_revision_that_is_superseded_after_ready_leaves_nothing),
        IN_WORLD(ready_told_again_leaves_nothing),
        IN_WORLD(a_mark_that_nobody_removes_goes_with_the_revision),
        IN_WORLD(ready_of_an_earlier_try_ends_a_later_one_of_the_same_era),
        IN_WORLD(ready_of_a_lost_indexer_does_not_end_a_try_of_a_later_era),
        IN_WORLD(a_try_that_begins_after_ready_of_the_same_era_is_over_already),
        IN_WORLD(a_revoke_that_came_too_late_ends_the_revision),
        IN_WORLD(a_seeding_forgets_what_is_of_an_earlier_era),
        IN_WORLD(a_late_row_of_an_earlier_era_is_forgotten_by_a_seeding_too),
        IN_WORLD(the_oldest_is_known_at_once_and_again_when_it_is_over),
        IN_WORLD(accepted_told_again_does_not_make_it_younger),
        IN_WORLD(the_oldest_of_thousands_is_found_in_slices_and_after_a_restart),
        IN_WORLD(a_clock_that_is_set_back_does_not_end_the_looks),
        LOGGED(a_document_without_any_event_is_named_once_an_hour),
        LOGGED(a_document_that_says_something_is_not_stuck),
        LOGGED(a_thousand_stuck_documents_do_not_flood_the_log),
        LOGGED(without_a_limit_nothing_is_stuck),
        IN_WORLD(the_gateways_word_on_ready_ends_what_the_indexers_was_lost_for),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
