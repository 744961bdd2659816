/*
 * Goal: a store that fails at any call stops the process with what it was told undone or whole, and
 * the next start comes to the same end.
 * Method: one history is run with the n-th store call failing, for every n; after each failure the
 * process is gone (a power cut, a new start), and the end is compared with that of a run without
 * failures.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/log.h"

#define VERDICT(name_) (WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_##name_)

/* The indexer and the gateway agree with whatever they are asked. */
static void
answer_all(world *w, weir_link_kind link, const row_message *row)
{
    if (link == WEIR_LINK_RECONCILER_INDEXER)
        say_answer(w, row->document_id, row->revision, row->epoch,
            strcmp(row->document_id, "ready") == 0 ? VERDICT(WAS_READY) : VERDICT(REVOKED));
    else if (strcmp(row->document_id, "dropped") == 0)
        SAY(w, GATEWAY, .kind = LIFECYCLE(DROPPED), .document_id = row->document_id,
            .epoch = row->epoch);
    else
        SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .document_id = row->document_id,
            .epoch = row->epoch, .failure = row->give_up->failure);
}

static void
say_history(world *w)
{
    static const char *const names[] = { "ready", "dropped", "failed", "retried", "deleted" };
    Weir__Internal__V1__SeedEntry entry = WEIR__INTERNAL__V1__SEED_ENTRY__INIT;
    Weir__Internal__V1__SeedEntry *entries[] = { &entry };

    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = "early");
    for (size_t i = 0; i < 5; i++) {
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = names[i],
            .time_ms = w->now_ms - 7200000);
        SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED), .document_id = names[i], .time_ms = 1000);
        SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .document_id = names[i], .time_ms = 1000,
            .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 2));
    }
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "early");
    w->era = 2;
    entry.tenant = (char *)"acme";
    entry.collection_no = WORLD_COLLECTION;
    entry.document_id = (char *)"seeded";
    entry.failed_revision = 1;
    entry.failed_epoch = 1;
    say_seed(w, entries, 1, true);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "stuck", .epoch = 2,
        .time_ms = 1000);
}

static void
say_ends(world *w)
{
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "retried", .epoch = 2);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED), .document_id = "deleted");
}

static weir_code
run(world *w)
{
    weir_code code = WEIR_OK;

    if (w->stage == NULL)
        code = world_try_start(w);
    if (code == WEIR_OK)
        code = world_try_settle(w);
    for (int i = 0; i < 10 && code == WEIR_OK; i++) {
        w->now_ms += 1000;
        code = world_round(w, 1000);
    }
    return code == WEIR_OK ? world_try_settle(w) : code;
}

/* Until it runs through; the failed call is counted from the first round on. */
static uint32_t
run_with_failure(world *w, uint32_t nth)
{
    uint32_t failures = 0;

    weir_store_mem_fail_after(w->store, nth);
    while (run(w) != WEIR_OK) {
        assert_int_equal(error.code, WEIR_STORE_IO);
        assert_true(++failures < 3);
        world_crash(w);
    }
    weir_store_mem_fail_after(w->store, 0);
    return failures;
}

static void
assert_end(world *w)
{
    assert_counts_are_true(w);
    assert_int_equal(count_keys(w, 'E'), 0);
    assert_int_equal(count_keys(w, 'L'), 2);
    assert_non_null(dead_letter_of(w, "failed", 1));
    assert_non_null(dead_letter_of(w, "seeded", 1));
    assert_int_equal(dead_letter_of(w, "failed", 1)->failure->n_attempts, 2);
    assert_true(is_unfinished(w, "stuck", 1));
    assert_true(is_unfinished(w, "retried", 1));
    assert_false(is_unfinished(w, "early", 1));
    assert_int_equal(published(w).seeded_era, 2);
}

/* part: fail in the first or the second half of the history. */
static uint32_t
play(uint32_t nth, int part)
{
    world *w = weir_alloc_zero(1, sizeof *w);

    world_init(w, nth);
    w->config.stuck_after_ms = 3600000;
    w->answer = answer_all;
    say_history(w);
    uint32_t failures = run_with_failure(w, part == 0 ? nth : 0);
    say_ends(w);
    failures += run_with_failure(w, part == 1 ? nth : 0);
    assert_end(w);
    world_fini(w);
    weir_free(w);
    return failures;
}

static void
a_failure_of_any_store_call_leads_to_the_same_end(void **state)
{
    static const uint32_t calls_min[] = { 80, 8 };

    for (int part = 0; part < 2; part++) {
        uint32_t nth = 1;

        while (play(nth, part) > 0)
            nth++;
        if (nth < calls_min[part])
            fail_msg("part %d has %u store calls alone", part, nth);
    }
}

/* ---- damage ---- */

static void
put_damage(world *w, weir_bytes key, size_t size)
{
    static const uint8_t damage[64] = { 0xff, 0xff, 0xff };
    weir_batch *batch = weir_batch_create(w->store);

    weir_batch_put(batch, key, weir_bytes_of(damage, size));
    assert_int_equal(weir_store_commit(w->store, batch, true, &error), WEIR_OK);
    weir_batch_destroy(&batch);
}

static void
assert_start_refuses(world *w, weir_bytes key, size_t size)
{
    world_crash(w);
    put_damage(w, key, size);
    assert_int_equal(world_try_start(w), WEIR_CORRUPT);
}

static void
a_damaged_number_of_the_journal_stops_the_start(void **state)
{
    weir_buffer key = { 0 };

    assert_start_refuses(*state, reconciler_key_number(&key), 7);
    weir_buffer_fini(&key);
}

static void
a_damaged_record_of_seeds_stops_the_start(void **state)
{
    weir_buffer key = { 0 };

    assert_start_refuses(*state, reconciler_key_seeds(&key), 15);
    weir_buffer_fini(&key);
}

static void
a_damaged_ending_stops_the_service_when_it_is_met(void **state)
{
    world *w = *state;
    weir_buffer key = { 0 };

    put_damage(w, reconciler_key_ending(&key, WORLD_COLLECTION, "d", 1), 3);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    assert_int_equal(world_try_settle(w), WEIR_CORRUPT);
    weir_buffer_fini(&key);
}

static void
a_damaged_dead_letter_stops_the_service_when_it_is_met(void **state)
{
    world *w = *state;
    weir_buffer key = { 0 };

    put_damage(w, reconciler_key_dead_letter(&key, "acme", WORLD_COLLECTION, "d", 1), 3);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    assert_int_equal(world_try_settle(w), WEIR_CORRUPT);
    weir_buffer_fini(&key);
}

static void
a_damaged_record_of_an_unfinished_revision_stops_the_service_when_it_is_met(void **state)
{
    world *w = *state;
    weir_buffer key = { 0 };

    put_damage(w, reconciler_key_unfinished(&key, WORLD_COLLECTION, "d", 1), 3);
    SAY(w, GATEWAY, .kind = LIFECYCLE(DELETED));
    assert_int_equal(world_try_settle(w), WEIR_CORRUPT);
    weir_buffer_fini(&key);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_of_any_store_call_leads_to_the_same_end),
        IN_WORLD(a_damaged_number_of_the_journal_stops_the_start),
        IN_WORLD(a_damaged_record_of_seeds_stops_the_start),
        IN_WORLD(a_damaged_ending_stops_the_service_when_it_is_met),
        IN_WORLD(a_damaged_dead_letter_stops_the_service_when_it_is_met),
        IN_WORLD(a_damaged_record_of_an_unfinished_revision_stops_the_service_when_it_is_met),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
