/*
 * gateway_explain_test.c - goal: each set of facts has its situation, with what happens next and
 * when.  Method: facts by hand, among them those that running services show for moments only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/explain.h"
#include "weir/v1/system.pb-c.h"

#define STATE(name_) WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_
#define SITUATION(name_) WEIR__V1__DOCUMENT_SITUATION__DOCUMENT_SITUATION_##name_
#define STAGE(name_) WEIR__V1__STAGE__STAGE_##name_
#define STEP(name_) WEIR__INTERNAL__V1__ENDING_RECORD__STEP__STEP_##name_

static weir_arena *arena;
static collection_record collection;
static document_record document;
static revision_record revision;
static Weir__Internal__V1__EmbedSpec spec;

static gateway_explain_facts
facts_of(uint32_t state)
{
    weir__internal__v1__collection_record__init(&collection);
    weir__internal__v1__document_record__init(&document);
    weir__internal__v1__revision_record__init(&revision);
    weir__internal__v1__embed_spec__init(&spec);
    collection.collection_no = 7;
    collection.collection_id = (char *)(uintptr_t)"c";
    collection.spec = &spec;
    document.newest_revision = 2;
    revision.state = state;
    revision.epoch = 3;
    return (gateway_explain_facts){ .found = { &collection, &document, &revision, "d", 2 },
        .model = "m",
        .gate_open = true };
}

static const Weir__V1__ExplainDocumentResponse *
explain(const gateway_explain_facts *facts)
{
    Weir__V1__ExplainDocumentResponse *response = weir_arena_alloc(arena, sizeof *response);

    weir__v1__explain_document_response__init(response);
    gateway_explain(facts, arena, response);
    assert_true(response->summary[0] != 0 && response->next[0] != 0);
    return response;
}

static void
expect(const gateway_explain_facts *facts, Weir__V1__DocumentSituation situation, const char *says)
{
    const Weir__V1__ExplainDocumentResponse *response = explain(facts);

    assert_int_equal(response->situation, situation);
    if (strstr(response->summary, says) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", says, response->summary);
}

static void
a_failed_attempt_says_which_it_was_and_when_the_next_one_is(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.embedder = (gateway_stage_fact){ .has_deferred = true,
        .attempt_count = 2,
        .attempts_max = 5,
        .due_ms = 60000,
        .code = WEIR_EMBED_FAILED,
        .message = "the provider said no" };
    expect(&facts, SITUATION(WAITING_FOR_RETRY), "attempt 2 of 5 failed with EMBED_FAILED");
    assert_int_equal(explain(&facts)->next_time->seconds, 60);
    assert_string_equal(explain(&facts)->findings[0]->message, "the provider said no");
    facts.embedder.attempt_count = 4;
    assert_non_null(strstr(explain(&facts)->next, "last attempt"));
}

static void
a_crash_is_told_apart_from_a_failed_attempt(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.ingest = (gateway_stage_fact){ .has_deferred = true,
        .attempts_max = 5,
        .crash_count = 2,
        .crashes_max = 3,
        .due_ms = 60000,
        .code = WEIR_WORKER_KILLED };
    expect(&facts, SITUATION(WAITING_FOR_RETRY), "the ingest ended 2 of 3 times");
    assert_non_null(strstr(explain(&facts)->next, "once more, alone"));
    assert_int_equal(explain(&facts)->findings[0]->error_class,
        WEIR__V1__ERROR_CLASS__ERROR_CLASS_KILLER);
}

static void
an_outage_is_waited_for(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.embedder = (gateway_stage_fact){ .has_deferred = true,
        .is_parked = true,
        .due_ms = 60000,
        .code = WEIR_MODEL_UNAVAILABLE };
    expect(&facts, SITUATION(WAITING_FOR_OUTAGE), "MODEL_UNAVAILABLE");
    facts.embedder.has_deferred = false; /* not looked at yet */
    facts.progress.stage = STAGE(EMBED);
    facts.breaker = WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN;
    expect(&facts, SITUATION(WAITING_FOR_OUTAGE), "MODEL_UNAVAILABLE");
}

static void
the_end_of_a_run_waits_for_the_indexer(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.ending_step = STEP(REVOKING);
    expect(&facts, SITUATION(BEING_GIVEN_UP), "is being given up");
    facts.indexer_away = true;
    assert_non_null(strstr(explain(&facts)->next, "when the indexer is back"));
    assert_string_equal(explain(&facts)->findings[0]->reason, "SERVICE_UNAVAILABLE");
    facts.ending_step = STEP(GIVING_UP);
    assert_non_null(strstr(explain(&facts)->next, "in a moment"));
}

static void
a_closed_gate_is_an_index_that_is_rebuilt(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(READY));

    facts.ready_revision = 2;
    expect(&facts, SITUATION(SEARCHABLE), "searches find it");
    assert_true(explain(&facts)->searchable);
    facts.gate_open = false;
    expect(&facts, SITUATION(INDEX_REBUILDING), "rebuilt");
    assert_false(explain(&facts)->searchable);
    facts = facts_of(STATE(READY)); /* the gate is open, and the document not back yet */
    expect(&facts, SITUATION(INDEX_REBUILDING), "rebuilt");
    facts = facts_of(STATE(PROCESSING));
    facts.gate_open = false;
    facts.progress.stage = STAGE(INDEX);
    expect(&facts, SITUATION(INDEX_REBUILDING), "waits for the index");
}

static void
what_the_indexer_has_made_ready_is_searchable_before_the_gateway_knows(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.ready_revision = 2;
    facts.ending_step = STEP(REVOKING);
    expect(&facts, SITUATION(SEARCHABLE), "searches find it");
}

static void
each_stage_says_what_it_holds(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PROCESSING));

    facts.ingest.queued = 17;
    facts.ingest.behind_revision = 1;
    expect(&facts, SITUATION(IN_STAGE), "being read and cut");
    assert_non_null(strstr(explain(&facts)->findings[0]->message, "behind revision 1"));
    assert_non_null(strstr(explain(&facts)->findings[1]->message, "17 rows"));
    facts.progress = (gateway_progress){ .stage = STAGE(INDEX), .chunk_count = 9 };
    facts.staged_count = 4;
    expect(&facts, SITUATION(IN_STAGE), "being indexed");
    assert_non_null(strstr(explain(&facts)->findings[0]->message, "4 of 9 chunks"));
}

static void
the_backlog_says_how_many_go_first(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PENDING));

    facts.ahead = 12;
    expect(&facts, SITUATION(IN_BACKLOG), "behind 12 documents");
    assert_int_equal(explain(&facts)->work_ahead_count, 12);
    facts.ahead = GATEWAY_EXPLAIN_AHEAD_MAX;
    expect(&facts, SITUATION(IN_BACKLOG), "at least 100000");
    facts.ingest.is_away = true;
    expect(&facts, SITUATION(SERVICE_AWAY), "ingest does not answer");
}

static void
an_older_revision_that_serves_and_a_missing_journal_are_told(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(PENDING));

    document.searchable_revision = 1;
    facts.reconciler_away = true;
    const Weir__V1__ExplainDocumentResponse *response = explain(&facts);
    assert_non_null(strstr(response->findings[1]->message, "reconciler does not answer"));
    assert_non_null(strstr(response->findings[2]->message, "find revision 1 meanwhile"));
}

static void
a_failure_names_its_dead_letter_and_the_way_out(void **state)
{
    gateway_explain_facts facts = facts_of(STATE(FAILED));
    failure_record failure = WEIR__INTERNAL__V1__FAILURE__INIT;

    expect(&facts, SITUATION(FAILED), "FAILED in run 3");
    failure.code = WEIR_EMBED_FAILED;
    failure.attempt_count = 5;
    failure.retryable = true;
    revision.failure = &failure;
    expect(&facts, SITUATION(FAILED), "after 5 attempts: EMBED_FAILED");
    assert_string_equal(explain(&facts)->dead_letter_id, "7.2.3.d");
    assert_non_null(strstr(explain(&facts)->findings[0]->next_step, "requeue"));
    document.newest_revision = 3;
    assert_non_null(strstr(explain(&facts)->findings[0]->next_step, "discard"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_attempt_says_which_it_was_and_when_the_next_one_is),
        cmocka_unit_test(a_crash_is_told_apart_from_a_failed_attempt),
        cmocka_unit_test(an_outage_is_waited_for),
        cmocka_unit_test(the_end_of_a_run_waits_for_the_indexer),
        cmocka_unit_test(a_closed_gate_is_an_index_that_is_rebuilt),
        cmocka_unit_test(what_the_indexer_has_made_ready_is_searchable_before_the_gateway_knows),
        cmocka_unit_test(each_stage_says_what_it_holds),
        cmocka_unit_test(the_backlog_says_how_many_go_first),
        cmocka_unit_test(an_older_revision_that_serves_and_a_missing_journal_are_told),
        cmocka_unit_test(a_failure_names_its_dead_letter_and_the_way_out),
    };

    arena = weir_arena_create(0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_arena_destroy(&arena);
    return failed;
}
