/*
 * Goal: whatever is said in whatever state of an ending, the next state is the one of the table
 * below, and what is asked of indexer and gateway is asked once.
 * Method: a world per cell; the try in the middle has epoch 2, so that there are tries before and
 * after it.
 */
#include "tests/unit/reconciler/world.h"

#include "common/base/limits.h"
#include "common/base/log.h"

typedef Weir__Internal__V1__RevokeAnswerRow__Verdict verdict;
#define VERDICT(name_) (WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_##name_)

/* ---- states ---- */

typedef enum state_of_try { NOTHING, IS_REVOKING, IS_GIVING_UP, HAS_FAILED, STATES } state_of_try;

static void
bring_to(world *w, state_of_try to)
{
    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED), .epoch = 2);
    world_settle(w);
    if (to >= IS_REVOKING)
        SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .epoch = 2,
            .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 5));
    world_settle(w);
    if (to >= IS_GIVING_UP)
        say_answer(w, "d", 1, 2, VERDICT(REVOKED));
    world_settle(w);
    if (to == HAS_FAILED)
        SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP), .epoch = 2,
            .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 5));
    world_settle(w);
}

/* What is there: epoch of the ending and its step, epoch of the dead letter; 0: none. */
typedef struct picture {
    int64_t ending;
    Weir__Internal__V1__EndingRecord__Step step;
    int64_t dead_letter;
    size_t revokes, give_ups;
    bool unfinished;
} picture;

static picture
picture_of(world *w)
{
    const ending_record *ending = ending_of(w, "d", 1);
    const ending_record *dead_letter = dead_letter_of(w, "d", 1);

    return (picture){ .ending = ending != NULL ? ending->epoch : 0,
        .step = ending != NULL ? ending->step : STEP(UNSPECIFIED),
        .dead_letter = dead_letter != NULL ? dead_letter->epoch : 0,
        .revokes = asked(w, WEIR_LINK_RECONCILER_INDEXER),
        .give_ups = asked(w, WEIR_LINK_RECONCILER_GATEWAY),
        .unfinished = is_unfinished(w, "d", 1) };
}

static void
assert_picture(const picture *wanted, const picture *found, const char *cell)
{
    if (wanted->ending != found->ending || wanted->step != found->step ||
        wanted->dead_letter != found->dead_letter || wanted->revokes != found->revokes ||
        wanted->give_ups != found->give_ups || wanted->unfinished != found->unfinished)
        fail_msg("%s: ending %lld/%d dead letter %lld revokes %zu give-ups %zu unfinished %d, "
                 "not %lld/%d %lld %zu %zu %d",
            cell, (long long)found->ending, (int)found->step, (long long)found->dead_letter,
            found->revokes, found->give_ups, found->unfinished, (long long)wanted->ending,
            (int)wanted->step, (long long)wanted->dead_letter, wanted->revokes, wanted->give_ups,
            wanted->unfinished);
}

static picture
begin_of(state_of_try state)
{
    static const picture pictures[STATES] = {
        [NOTHING] = { .unfinished = true },
        [IS_REVOKING] = { .ending = 2, .step = STEP(REVOKING), .revokes = 1, .unfinished = true },
        [IS_GIVING_UP] = { .ending = 2,
            .step = STEP(GIVING_UP),
            .revokes = 1,
            .give_ups = 1,
            .unfinished = true },
        [HAS_FAILED] = { .dead_letter = 2, .revokes = 1, .give_ups = 1 },
    };

    return pictures[state];
}

/* ---- the table ---- */

static void
forget_ending_up_to(picture *p, int64_t epoch)
{
    if (p->ending <= epoch) {
        p->ending = 0;
        p->step = STEP(UNSPECIFIED);
    }
}

static picture
expect_event(state_of_try state, lifecycle_kind kind, int64_t epoch)
{
    picture p = begin_of(state);

    if (kind == LIFECYCLE(ACCEPTED)) {
        forget_ending_up_to(&p, epoch - 1);
        p.dead_letter = p.dead_letter < epoch ? 0 : p.dead_letter;
        p.unfinished = true;
    } else if (kind == LIFECYCLE(FAILED) && p.ending < epoch && p.dead_letter < epoch) {
        p.ending = epoch;
        p.step = STEP(REVOKING);
        p.revokes++;
    } else if (kind == LIFECYCLE(GAVE_UP)) {
        forget_ending_up_to(&p, epoch);
        p.dead_letter = p.dead_letter < epoch ? epoch : p.dead_letter;
        p.unfinished = false;
    } else if (kind == LIFECYCLE(DROPPED)) {
        forget_ending_up_to(&p, epoch);
    } else if (kind == LIFECYCLE(READY) || kind == LIFECYCLE(SUPERSEDED) ||
        kind == LIFECYCLE(DELETED)) {
        forget_ending_up_to(&p, epoch);
        p.dead_letter = p.dead_letter <= epoch ? 0 : p.dead_letter;
        p.unfinished = false;
    }
    return p;
}

static weir_link_kind
link_of(lifecycle_kind kind)
{
    if (kind == LIFECYCLE(READY))
        return WEIR_LINK_INDEXER_RECONCILER;
    if (kind == LIFECYCLE(CHUNKED))
        return WEIR_LINK_INGEST_RECONCILER;
    if (kind == LIFECYCLE(EMBEDDED) || kind == LIFECYCLE(DEFERRED) || kind == LIFECYCLE(FAILED))
        return WEIR_LINK_EMBEDDER_RECONCILER;
    return WEIR_LINK_GATEWAY_RECONCILER;
}

/* times: a duplicate changes nothing more. */
static void
try_event(state_of_try state, lifecycle_kind kind, int64_t epoch, int times)
{
    world *w = weir_alloc_zero(1, sizeof *w);
    char cell[96];

    snprintf(cell, sizeof cell, "state %d, event %d of epoch %d, %d times", (int)state, (int)kind,
        (int)epoch, times);
    world_init(w, 1);
    world_start(w);
    bring_to(w, state);
    const picture begin = picture_of(w);
    const picture wanted_begin = begin_of(state);
    assert_picture(&wanted_begin, &begin, cell);
    for (int i = 0; i < times; i++)
        say_on(w, link_of(kind), &(const say){ .kind = kind, .epoch = epoch });
    world_settle(w);
    const picture found = picture_of(w);
    const picture wanted = expect_event(state, kind, epoch);
    assert_picture(&wanted, &found, cell);
    assert_counts_are_true(w);
    world_fini(w);
    weir_free(w);
}

static void
every_event_in_every_state_does_what_the_table_says_and_twice_the_same(void **unused)
{
    for (int state = NOTHING; state < STATES; state++)
        for (int kind = LIFECYCLE(ACCEPTED); kind <= (int)LIFECYCLE(DROPPED); kind++)
            for (int64_t epoch = 1; epoch <= 3; epoch++)
                for (int times = 1; times <= 2; times++)
                    try_event((state_of_try)state, (lifecycle_kind)kind, epoch, times);
}

static picture
expect_answer(state_of_try state, verdict said, int64_t epoch)
{
    picture p = begin_of(state);

    if (p.ending != epoch)
        return p;
    if (said == VERDICT(REVOKED)) {
        p.give_ups += p.step == STEP(REVOKING);
        p.step = STEP(GIVING_UP);
    } else if (said != VERDICT(UNSPECIFIED)) {
        forget_ending_up_to(&p, epoch);
        p.unfinished = said != VERDICT(WAS_READY);
    }
    return p;
}

static void
try_answer(state_of_try state, verdict said, int64_t epoch, int times)
{
    world *w = weir_alloc_zero(1, sizeof *w);
    char cell[96];

    snprintf(cell, sizeof cell, "state %d, verdict %d on epoch %d, %d times", (int)state, (int)said,
        (int)epoch, times);
    world_init(w, 1);
    world_start(w);
    bring_to(w, state);
    for (int i = 0; i < times; i++)
        say_answer(w, "d", 1, epoch, said);
    world_settle(w);
    const picture found = picture_of(w);
    const picture wanted = expect_answer(state, said, epoch);
    assert_picture(&wanted, &found, cell);
    assert_counts_are_true(w);
    world_fini(w);
    weir_free(w);
}

static void
every_answer_in_every_state_counts_for_its_own_epoch_alone(void **unused)
{
    for (int state = NOTHING; state < STATES; state++)
        for (int said = VERDICT(UNSPECIFIED); said <= (int)VERDICT(SUPERSEDED); said++)
            for (int64_t epoch = 1; epoch <= 3; epoch++)
                for (int times = 1; times <= 2; times++)
                    try_answer((state_of_try)state, (verdict)said, epoch, times);
}

/* ---- what is asked ---- */

static void
a_revoke_names_the_try_that_failed(void **state)
{
    world *w = *state;

    bring_to(w, IS_REVOKING);
    const row_message *row = last_asked(w, WEIR_LINK_RECONCILER_INDEXER);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE);
    assert_string_equal(row->tenant, "acme");
    assert_int_equal(row->collection_no, WORLD_COLLECTION);
    assert_string_equal(row->document_id, "d");
    assert_int_equal(row->revision, 1);
    assert_int_equal(row->epoch, 2);
}

static void
a_give_up_carries_the_failure_with_its_attempts(void **state)
{
    world *w = *state;

    bring_to(w, IS_GIVING_UP);
    const row_message *row = last_asked(w, WEIR_LINK_RECONCILER_GATEWAY);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_GIVE_UP);
    assert_string_equal(row->tenant, "acme");
    assert_int_equal(row->epoch, 2);
    assert_int_equal(row->give_up->failure->code, WEIR_EMBED_FAILED);
    assert_int_equal(row->give_up->failure->n_attempts, 5);
}

static const failure_record *
give_up_with(world *w, failure_record *failure)
{
    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .failure = failure);
    world_settle(w);
    say_answer(w, "d", 1, 1, VERDICT(REVOKED));
    world_settle(w);
    return last_asked(w, WEIR_LINK_RECONCILER_GATEWAY)->give_up->failure;
}

static void
a_give_up_is_at_most_four_kib_and_keeps_the_order_of_its_attempts(void **state)
{
    world *w = *state;
    char message[3000];

    /* Three bytes a character, so that a cut at 200 or 320 bytes would be inside one. */
    for (size_t i = 0; i + 3 < sizeof message; i += 3)
        memcpy(message + i, "\xe2\x82\xac", 3);
    message[sizeof message - 3] = '\0';
    const failure_record *failure = give_up_with(w, a_failure(w, WEIR_EMBED_FAILED, message, 16));
    assert_true(protobuf_c_message_get_packed_size(&failure->base) <= WEIR_GIVE_UP_BYTES_MAX);
    assert_int_equal(failure->n_attempts, 16);
    assert_int_equal(strlen(failure->message), 318);
    for (size_t i = 0; i < failure->n_attempts; i++) {
        assert_int_equal(strlen(failure->attempts[i]->message), 198);
        assert_true(i == 0 || failure->attempts[i - 1]->time_ms < failure->attempts[i]->time_ms);
    }
}

static void
of_too_many_attempts_the_first_and_the_last_are_kept(void **state)
{
    world *w = *state;
    const failure_record *failure = give_up_with(w, a_failure(w, WEIR_EMBED_FAILED, "no", 40));

    assert_int_equal(failure->n_attempts, 16);
    assert_int_equal(failure->attempts[0]->time_ms, w->now_ms - 39000);
    assert_int_equal(failure->attempts[1]->time_ms, w->now_ms - 14000);
    assert_int_equal(failure->attempts[15]->time_ms, w->now_ms);
}

static void
a_failure_that_nobody_described_is_given_up_all_the_same(void **state)
{
    world *w = *state;

    assert_null(give_up_with(w, NULL));
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP));
    world_settle(w);
    assert_non_null(dead_letter_of(w, "d", 1));
}

static void
many_parts_of_one_try_that_fail_are_one_end(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(ACCEPTED));
    for (int i = 0; i < 5; i++) {
        SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .failure = a_failure(w, 43, "part", 1));
        SAY(w, INDEXER, .kind = LIFECYCLE(FAILED), .failure = a_failure(w, 7, "part", 1));
    }
    world_settle(w);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 1);
    say_answer(w, "d", 1, 1, VERDICT(REVOKED));
    world_settle(w);
    SAY(w, GATEWAY, .kind = LIFECYCLE(GAVE_UP));
    world_settle(w);
    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .failure = a_failure(w, 43, "late", 1));
    world_settle(w);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 1);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_GATEWAY), 1);
}

static void
a_ready_of_a_lost_indexer_does_not_end_the_end_of_a_later_try(void **state)
{
    world *w = *state;

    bring_to(w, IS_REVOKING);
    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .epoch = 1);
    say_answer(w, "d", 1, 1, VERDICT(WAS_READY));
    say_answer(w, "d", 1, 2, VERDICT(REVOKED));
    world_settle(w);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_GATEWAY), 1);
}

/* ---- eras ---- */

static void
what_is_open_is_asked_again_in_a_later_era_and_once_only(void **state)
{
    world *w = *state;

    bring_to(w, IS_GIVING_UP);
    SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .document_id = "e",
        .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1));
    world_settle(w);
    say_era(w, 2);
    world_wait(w, 10);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 4);
    const row_message *revoke = last_asked(w, WEIR_LINK_RECONCILER_INDEXER);
    assert_string_equal(revoke->document_id, "e");
    assert_string_equal(revoke->tenant, "acme");
    assert_int_equal(revoke->era, 2);
    world_crash(w);
    world_start(w);
    world_wait(w, 10000);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 4);
}

/* The promise may have gone with the indexer's volume: the gateway must not hear of an end that
 * nobody has promised since. */
static void
what_was_given_up_before_a_loss_is_given_up_again_once_it_is_promised_again(void **state)
{
    world *w = *state;

    bring_to(w, IS_GIVING_UP);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 1);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_GATEWAY), 1);
    say_era(w, 2);
    world_wait(w, 1000);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 2);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_GATEWAY), 1);
    assert_int_equal(ending_of(w, "d", 1)->step, STEP(REVOKING));
    say_answer(w, "d", 1, 2, VERDICT(REVOKED));
    world_wait(w, 1000);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_GATEWAY), 2);
    const row_message *give_up = last_asked(w, WEIR_LINK_RECONCILER_GATEWAY);
    assert_string_equal(give_up->document_id, "d");
    assert_int_equal(give_up->epoch, 2);
    assert_int_equal(give_up->era, 2);
    assert_int_equal(give_up->give_up->failure->n_attempts, 5);
}

/* Seeds 1004473 and 1039843: the walk saw what was committed, and the ending was of its own round.
 */
static void
what_began_to_end_in_the_round_that_raised_the_era_is_asked_again(void **state)
{
    world *w = *state;

    bring_to(w, NOTHING);
    SAY(w, GATEWAY, .kind = LIFECYCLE(FAILED), .epoch = 2,
        .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1));
    say_era(w, 2);
    assert_int_equal(world_round(w, 1000), WEIR_OK);
    world_wait(w, 100);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 2);
    assert_int_equal(last_asked(w, WEIR_LINK_RECONCILER_INDEXER)->era, 2);
    assert_int_equal(ending_of(w, "d", 1)->era, 2);
}

static void
thousands_are_asked_again_some_a_round_and_go_on_after_a_crash(void **state)
{
    world *w = *state;
    char name[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "d%d", i);
        SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .document_id = name);
    }
    world_settle(w);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 1000);
    say_era(w, 2);
    assert_int_equal(world_round(w, 1000), WEIR_OK);
    assert_true(asked(w, WEIR_LINK_RECONCILER_INDEXER) < 2000);
    world_crash(w);
    world_start(w);
    world_wait(w, 1000);
    assert_int_equal(asked(w, WEIR_LINK_RECONCILER_INDEXER), 2000);
}

/* ---- rows that are none ---- */

static void
a_row_that_is_not_for_a_reconciler_is_settled_without_effect(void **state)
{
    world *w = *state;
    Weir__Internal__V1__RevokeRow revoke = WEIR__INTERNAL__V1__REVOKE_ROW__INIT;
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_REVOKE;
    row.revoke = &revoke;
    say_row(w, WEIR_LINK_INDEXER_RECONCILER, &row);
    row_message empty = WEIR__INTERNAL__V1__ROW__INIT;
    say_row(w, WEIR_LINK_INDEXER_RECONCILER, &empty);
    world_settle(w);
    assert_int_equal(count_keys(w, 'E') + count_keys(w, 'L') + count_keys(w, 'J'), 0);
}

static void
an_event_without_a_kind_is_kept_and_changes_nothing_else(void **state)
{
    world *w = *state;

    SAY(w, GATEWAY, .kind = LIFECYCLE(UNSPECIFIED));
    SAY(w, GATEWAY, .kind = (lifecycle_kind)99);
    world_settle(w);
    assert_int_equal(count_keys(w, 'J'), 2);
    assert_int_equal(count_keys(w, 'E') + count_keys(w, 'L') + count_keys(w, 'U'), 0);
}

static void
a_command_is_refused(void **state)
{
    world *w = *state;
    const weir_request request = { .kind = 1, .reply_to = 5 };

    weir_stage_begin(w->stage, w->now_ms, 1);
    assert_int_equal(weir_stage_on_request(w->stage, &request, &error), WEIR_OK);
    assert_int_equal(weir_stage_commit(w->stage, &error), WEIR_OK);
    assert_int_equal(weir_stage_release(w->stage, &w->wake_ms, &error), WEIR_OK);
}

int
main(void)
{
#define IN_WORLD(test_) cmocka_unit_test_setup_teardown(test_, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_in_every_state_does_what_the_table_says_and_twice_the_same),
        cmocka_unit_test(every_answer_in_every_state_counts_for_its_own_epoch_alone),
        IN_WORLD(a_revoke_names_the_try_that_failed),
        IN_WORLD(a_give_up_carries_the_failure_with_its_attempts),
        IN_WORLD(a_give_up_is_at_most_four_kib_and_keeps_the_order_of_its_attempts),
        IN_WORLD(of_too_many_attempts_the_first_and_the_last_are_kept),
        IN_WORLD(a_failure_that_nobody_described_is_given_up_all_the_same),
        IN_WORLD(many_parts_of_one_try_that_fail_are_one_end),
        IN_WORLD(a_ready_of_a_lost_indexer_does_not_end_the_end_of_a_later_try),
        IN_WORLD(what_is_open_is_asked_again_in_a_later_era_and_once_only),
        IN_WORLD(what_was_given_up_before_a_loss_is_given_up_again_once_it_is_promised_again),
        IN_WORLD(what_began_to_end_in_the_round_that_raised_the_era_is_asked_again),
        IN_WORLD(thousands_are_asked_again_some_a_round_and_go_on_after_a_crash),
        IN_WORLD(a_row_that_is_not_for_a_reconciler_is_settled_without_effect),
        IN_WORLD(an_event_without_a_kind_is_kept_and_changes_nothing_else),
        IN_WORLD(a_command_is_refused),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
