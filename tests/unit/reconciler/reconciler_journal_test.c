/*
 * Goal: a document's last events are kept in order, no more than are allowed are shown, and the
 * store does not grow with their number.
 * Method: many events of one document among those of others.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/log.h"
#include "services/reconciler/reads.h"

static const Weir__Internal__V1__GetJournalResponse *
read_journal(world *w, const char *tenant, const char *document_id)
{
    Weir__Internal__V1__GetJournalRequest request = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    Weir__Internal__V1__GetJournalResponse *response = weir_arena_alloc(w->arena, sizeof *response);

    weir__internal__v1__get_journal_response__init(response);
    request.tenant = (char *)tenant;
    request.collection_no = WORLD_COLLECTION;
    request.document_id = (char *)document_id;
    assert_int_equal(reconciler_get_journal(w->store, &request, response, w->arena, &error),
        WEIR_OK);
    return response;
}

static void
events_are_read_oldest_first_with_all_they_say(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_settle(w);
    SAY(w, INGEST, .kind = LIFECYCLE(CHUNKED));
    world_settle(w);
    SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED), .failure = a_failure(w, WEIR_TIMEOUT, "slow", 2));
    world_settle(w);
    const Weir__Internal__V1__GetJournalResponse *journal = read_journal(w, "acme", "d");
    assert_int_equal(journal->n_events, 3);
    assert_int_equal(journal->events[0]->kind, LIFECYCLE(ACCEPTED));
    assert_string_equal(journal->events[0]->collection_id, "papers");
    assert_int_equal(journal->events[1]->kind, LIFECYCLE(CHUNKED));
    assert_int_equal(journal->events[2]->kind, LIFECYCLE(DEFERRED));
    assert_string_equal(journal->events[2]->failure->message, "slow");
    assert_int_equal(journal->events[2]->failure->attempt_count, 2);
    assert_int_equal(journal->events[2]->failure->n_attempts, 0); /* each has its own event */
}

static void
retries_without_end_keep_the_last_64_events(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "c");
    for (int i = 0; i < 200; i++)
        SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED), .time_ms = 1000 + i);
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .document_id = "e");
    world_settle(w);
    assert_int_equal(count_keys(w, 'J'), 64 + 2);
    const Weir__Internal__V1__GetJournalResponse *journal = read_journal(w, "acme", "d");
    assert_int_equal(journal->n_events, 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(journal->events[i]->time_ms, 1000 + 200 - 64 + i);
    assert_int_equal(read_journal(w, "acme", "c")->n_events, 1);
    assert_int_equal(read_journal(w, "acme", "e")->n_events, 1);
}

static void
a_document_replaced_without_end_keeps_a_bounded_number_and_shows_64(void **state)
{
    world *w = *state;

    for (int64_t revision = 1; revision <= 500; revision++) {
        SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .revision = revision);
        SAY(w, INDEXER, .kind = LIFECYCLE(READY), .revision = revision);
    }
    world_settle(w);
    assert_in_range(count_keys(w, 'J'), 64, 64 + 200);
    assert_int_equal(read_journal(w, "acme", "d")->n_events, 64);
}

static void
a_smaller_number_is_kept_when_the_configuration_says_so(void **state)
{
    world *w = *state;

    w->config.journal_events_max = 8;
    world_crash(w);
    world_start(w);
    for (int i = 0; i < 50; i++)
        SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED));
    world_settle(w);
    assert_int_equal(count_keys(w, 'J'), 8);
}

static void
numbers_go_on_after_a_crash(void **state)
{
    world *w = *state;

    for (int i = 0; i < 20; i++) {
        SAY(w, EMBEDDER, .kind = LIFECYCLE(DEFERRED), .time_ms = 1000 + i);
        world_settle(w);
        world_crash(w);
        world_start(w);
    }
    const Weir__Internal__V1__GetJournalResponse *journal = read_journal(w, "acme", "d");
    assert_int_equal(journal->n_events, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(journal->events[i]->time_ms, 1000 + i);
}

static void
another_tenant_sees_no_events(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    world_settle(w);
    assert_int_equal(read_journal(w, "other", "d")->n_events, 0);
    assert_int_equal(read_journal(w, "", "d")->n_events, 0);
    assert_int_equal(read_journal(w, "acme", "d")->n_events, 1);
    assert_int_equal(read_journal(w, "acme", "")->n_events, 0);
}

static void
damage_in_a_stored_event_is_said(void **state)
{
    world *w = *state;
    Weir__Internal__V1__GetJournalRequest request = WEIR__INTERNAL__V1__GET_JOURNAL_REQUEST__INIT;
    Weir__Internal__V1__GetJournalResponse response =
        WEIR__INTERNAL__V1__GET_JOURNAL_RESPONSE__INIT;
    weir_buffer key = { 0 };
    weir_batch *batch = weir_batch_create(w->store);

    weir_batch_put(batch, reconciler_key_event(&key, WORLD_COLLECTION, "d", 1),
        weir_bytes_of("\xff\xff", 2));
    assert_int_equal(weir_store_commit(w->store, batch, true, &error), WEIR_OK);
    request.tenant = (char *)"acme";
    request.collection_no = WORLD_COLLECTION;
    request.document_id = (char *)"d";
    assert_int_equal(reconciler_get_journal(w->store, &request, &response, w->arena, &error),
        WEIR_CORRUPT);
    weir_batch_destroy(&batch);
    weir_buffer_fini(&key);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(events_are_read_oldest_first_with_all_they_say),
        IN_WORLD(retries_without_end_keep_the_last_64_events),
        IN_WORLD(a_document_replaced_without_end_keeps_a_bounded_number_and_shows_64),
        IN_WORLD(a_smaller_number_is_kept_when_the_configuration_says_so),
        IN_WORLD(numbers_go_on_after_a_crash),
        IN_WORLD(another_tenant_sees_no_events),
        IN_WORLD(damage_in_a_stored_event_is_said),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
