/*
 * Goal: FAILED and one dead letter go together: made once, with all that is known; ended by a
 * retry, a newer revision or a delete; brought back by seeds; never kept when its end was lost.
 * Method: what the gateway says, in its order, between what others say in theirs.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/log.h"

static void
fail_document(world *w, const char *document_id, int64_t epoch)
{
    failure_record *failure = a_failure(w, WEIR_EMBED_FAILED, "the provider said no", 3);

    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .document_id = document_id, .epoch = epoch,
        .failure = failure);
    world_settle(w);
    say_answer(w, document_id, 1, epoch,
        WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_REVOKED);
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = document_id, .epoch = epoch,
        .failure = failure);
    world_settle(w);
}

/* ---- made ---- */

static void
it_says_what_failed_where_when_and_how_often(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    const ending_record *record = dead_letter_of(w, "d", 1);
    assert_non_null(record);
    assert_int_equal(record->step, STEP(FAILED));
    assert_int_equal(record->epoch, 1);
    assert_string_equal(record->collection_id, "papers");
    assert_int_equal(record->size_bytes, 123);
    assert_int_equal(record->content_sha256.len, 32);
    assert_int_equal(record->failure->code, WEIR_EMBED_FAILED);
    assert_string_equal(record->failure->message, "the provider said no");
    assert_int_equal(record->failure->n_attempts, 3);
    assert_int_equal(record->first_failure_time_ms, record->failure->attempts[0]->time_ms);
}

static void
it_is_listed_only_once_the_gateway_has_recorded_failed(void **state)
{
    world *w = *state;

    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED),
        .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1));
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
    say_answer(w, "d", 1, 1, WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_REVOKED);
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP));
    world_settle(w);
    assert_non_null(dead_letter_of(w, "d", 1));
    assert_int_equal(published(w).dead_letters, 1);
    assert_int_equal(published(w).endings, 0);
}

static void
it_is_counted_once_however_often_it_is_told(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP));
    world_settle(w);
    assert_int_equal(published(w).dead_lettered_total, 1);
    assert_int_equal(published(w).dead_letters, 1);
    assert_int_equal(dead_letter_of(w, "d", 1)->failure->n_attempts, 3); /* the first one's */
}

static void
each_tenant_collection_and_revision_has_its_own(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP));
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .revision = 2);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .tenant = "other", .collection_no = 8);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .collection_no = 9);
    world_settle(w);
    assert_int_equal(published(w).dead_letters, 4);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    world_settle(w);
    assert_int_equal(published(w).dead_letters, 3);
    assert_null(dead_letter_of(w, "d", 1));
    assert_counts_are_true(w);
}

/* ---- ended ---- */

static void
a_retry_ends_it_and_the_next_failure_makes_it_anew(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
    assert_true(is_unfinished(w, "d", 1));
    fail_document(w, "d", 2);
    assert_int_equal(dead_letter_of(w, "d", 1)->epoch, 2);
    assert_int_equal(published(w).dead_letters, 1);
    assert_int_equal(published(w).dead_lettered_total, 2);
}

static void
a_newer_revision_that_is_ready_ends_it(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .revision = 2);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .revision = 2);
    world_settle(w);
    assert_non_null(dead_letter_of(w, "d", 1)); /* the gateway has not said so yet */
    SAY(w, GATEWAY, .kind = LIFECYCLE(SUPERSEDED));
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
    assert_counts_are_true(w);
}

static void
a_delete_ends_it(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
    assert_counts_are_true(w);
}

static void
what_is_told_late_by_other_links_does_not_end_it(void **state)
{
    world *w = *state;

    fail_document(w, "d", 2);
    SAY(w, INGEST, .kind = LIFECYCLE(CHUNKED), .epoch = 2);
    SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED), .epoch = 2);
    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .epoch = 1);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DROPPED), .epoch = 2);
    world_settle(w);
    assert_non_null(dead_letter_of(w, "d", 1));
}

static void
ready_that_overtakes_gave_up_and_the_retry_leaves_no_dead_letter(void **state)
{
    world *w = *state;

    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 2);
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .epoch = 1);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    assert_null(dead_letter_of(w, "d", 1));
}

/* ---- seeds ---- */

static Weir__Internal__V1__SeedEntry *
entry_of(world *w, const char *document_id, int64_t epoch)
{
    Weir__Internal__V1__SeedEntry *entry = weir_arena_alloc(w->arena, sizeof *entry);

    weir__internal__v1__seed_entry__init(entry);
    entry->tenant = (char *)"acme";
    entry->collection_no = WORLD_COLLECTION;
    entry->document_id = weir_arena_strdup(w->arena, document_id);
    entry->failed_revision = 1;
    entry->failed_epoch = epoch;
    entry->failure = a_failure(w, WEIR_PARSE_FAILED, "from the gateway", 2);
    entry->collection_id = (char *)"papers";
    entry->size_bytes = 55;
    return entry;
}

static void
seeds_bring_back_the_dead_letters_of_a_lost_volume(void **state)
{
    world *w = *state;
    Weir__Internal__V1__SeedEntry *entries[] = { entry_of(w, "a", 1), entry_of(w, "b", 3),
        entry_of(w, "c", 1) };

    entries[2]->failed_revision = 0; /* a tombstone alone */
    entries[2]->deleted_below = 4;
    w->era = 2;
    say_seed(w, entries, 2, false);
    say_seed(w, entries + 2, 1, true);
    world_wait(w, 10);
    assert_int_equal(published(w).dead_letters, 2);
    assert_int_equal(published(w).seeded_era, 2);
    assert_int_equal(published(w).dead_lettered_total, 0); /* none was made now */
    const ending_record *record = dead_letter_of(w, "b", 1);
    assert_int_equal(record->epoch, 3);
    assert_string_equal(record->failure->message, "from the gateway");
    assert_int_equal(record->first_failure_time_ms, record->failure->attempts[0]->time_ms);
    assert_string_equal(record->collection_id, "papers");
    assert_int_equal(record->size_bytes, 55);
    assert_counts_are_true(w);
}

static void
a_seed_without_a_failure_is_a_dead_letter_all_the_same(void **state)
{
    world *w = *state;
    Weir__Internal__V1__SeedEntry *entry = entry_of(w, "a", 1);

    entry->failure = NULL;
    say_seed(w, &entry, 1, true);
    world_wait(w, 10);
    assert_non_null(dead_letter_of(w, "a", 1)->failure);
}

static void
a_seed_does_not_take_away_what_is_known(void **state)
{
    world *w = *state;

    fail_document(w, "d", 2);
    Weir__Internal__V1__SeedEntry *entry = entry_of(w, "d", 2);
    w->era = 2;
    say_seed(w, &entry, 1, true);
    world_wait(w, 10);
    const ending_record *record = dead_letter_of(w, "d", 1);
    assert_string_equal(record->failure->message, "the provider said no");
    assert_int_equal(record->content_sha256.len, 32);
    assert_int_equal(record->era, 2);
    assert_counts_are_true(w);
}

static void
a_seed_of_a_later_try_takes_the_place_of_an_older_one(void **state)
{
    world *w = *state;

    fail_document(w, "d", 1);
    Weir__Internal__V1__SeedEntry *entry = entry_of(w, "d", 2);
    w->era = 2;
    say_seed(w, &entry, 1, true);
    world_wait(w, 10);
    assert_int_equal(dead_letter_of(w, "d", 1)->epoch, 2);
    assert_int_equal(published(w).dead_letters, 1);
}

static void
what_a_seeding_does_not_list_is_forgotten_and_what_came_after_it_stays(void **state)
{
    world *w = *state;
    char name[16];

    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "old%d", i);
        SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = name);
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = name, .revision = 2);
    }
    world_settle(w);
    Weir__Internal__V1__SeedEntry *entry = entry_of(w, "old7", 1);
    w->era = 2;
    say_seed(w, &entry, 1, true);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = "old8", .epoch = 2);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = "new");
    world_wait(w, 100);
    assert_int_equal(published(w).dead_letters, 3);
    assert_non_null(dead_letter_of(w, "old7", 1));
    assert_non_null(dead_letter_of(w, "old8", 1));
    assert_non_null(dead_letter_of(w, "new", 1));
    assert_counts_are_true(w);
}

static void
a_sweep_that_was_cut_off_goes_on_after_the_crash(void **state)
{
    world *w = *state;
    char name[16];

    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "old%d", i);
        SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = name);
    }
    world_settle(w);
    w->era = 2;
    say_seed(w, NULL, 0, true);
    assert_int_equal(world_round(w, 1000), WEIR_OK);
    const size_t left = count_keys(w, 'L');
    assert_true(left > 0);
    world_crash(w);
    world_start(w);
    world_wait(w, 100);
    assert_int_equal(count_keys(w, 'L'), 0);
    assert_int_equal(published(w).seeded_era, 2);
    assert_counts_are_true(w);
    /* And it is over: the next start does not begin it again. */
    world_crash(w);
    world_start(w);
    assert_false(w->core->sweep_dead_letters.is_active);
}

static void
seeds_of_an_era_that_is_past_do_not_lower_it(void **state)
{
    world *w = *state;

    w->era = 3;
    say_seed(w, NULL, 0, true);
    w->era = 2;
    say_seed(w, NULL, 0, true);
    world_settle(w);
    assert_int_equal(published(w).seeded_era, 3);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(it_says_what_failed_where_when_and_how_often),
        IN_WORLD(it_is_listed_only_once_the_gateway_has_recorded_failed),
        IN_WORLD(it_is_counted_once_however_often_it_is_told),
        IN_WORLD(each_tenant_collection_and_revision_has_its_own),
        IN_WORLD(a_retry_ends_it_and_the_next_failure_makes_it_anew),
        IN_WORLD(a_newer_revision_that_is_ready_ends_it),
        IN_WORLD(a_delete_ends_it),
        IN_WORLD(what_is_told_late_by_other_links_does_not_end_it),
        IN_WORLD(ready_that_overtakes_gave_up_and_the_retry_leaves_no_dead_letter),
        IN_WORLD(seeds_bring_back_the_dead_letters_of_a_lost_volume),
        IN_WORLD(a_seed_without_a_failure_is_a_dead_letter_all_the_same),
        IN_WORLD(a_seed_does_not_take_away_what_is_known),
        IN_WORLD(a_seed_of_a_later_try_takes_the_place_of_an_older_one),
        IN_WORLD(what_a_seeding_does_not_list_is_forgotten_and_what_came_after_it_stays),
        IN_WORLD(a_sweep_that_was_cut_off_goes_on_after_the_crash),
        IN_WORLD(seeds_of_an_era_that_is_past_do_not_lower_it),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
