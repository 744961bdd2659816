/*
 * Goal: whatever the documents go through, and wherever the reconciler dies, in the end it agrees
 * with the gateway: one dead letter for each FAILED revision and no other, nothing half ended, and
 * what is unfinished is what the gateway has not ended.
 * Method: a gateway and an indexer of a few lines each play the rules of the design (READY at most
 * once, revoke before give up, compare-and-set of the epoch); a seed decides what happens to four
 * documents, which link's news arrive when, when the indexer is lost, and between which rounds the
 * power goes.
 */
#include "tests/unit/reconciler/world.h"

#include <stdlib.h>

#include "common/base/log.h"

enum { DOCUMENTS = 4, REVISIONS = 6, STEPS = 120 };
#define VERDICT(name_) (WEIR__INTERNAL__V1__REVOKE_ANSWER_ROW__VERDICT__VERDICT_##name_)

typedef enum state { LIVE = 1, READY, FAILED, SUPERSEDED, DELETED } revision_state;

typedef struct model_document {
    int64_t newest;
    revision_state states[REVISIONS + 1]; /* at the gateway */
    int64_t epochs[REVISIONS + 1];
    int64_t ready, ready_epoch, deleted; /* at the indexer */
    int64_t revoked[REVISIONS + 1];
    int64_t floor[REVISIONS + 1]; /* rows of lower epochs are of an earlier era: dropped */
} model_document;

typedef struct model {
    model_document documents[DOCUMENTS];
} model;

static const char *const names[DOCUMENTS] = { "a", "b", "c", "d" };

static model_document *
find(world *w, const char *document_id)
{
    model *m = w->answer_ud;

    return &m->documents[document_id[0] - 'a'];
}

static void
tell(world *w, const model_document *d, int64_t revision, lifecycle_kind kind, int64_t epoch)
{
    const model *m = w->answer_ud;

    SAY(w, GATEWAY, .kind = kind, .document_id = names[d - m->documents], .revision = revision,
        .epoch = epoch,
        .failure = kind == LIFECYCLE(GAVE_UP) ? a_failure(w, WEIR_EMBED_FAILED, "no", 1) : NULL);
}

/* ---- the gateway ---- */

static void
retire_lower(world *w, model_document *d, int64_t below, revision_state state)
{
    for (int64_t lower = 1; lower < below; lower++) {
        if (d->states[lower] == SUPERSEDED || d->states[lower] == DELETED || d->states[lower] == 0)
            continue;
        d->states[lower] = state;
        tell(w, d, lower, state == DELETED ? LIFECYCLE(DELETED) : LIFECYCLE(SUPERSEDED),
            d->epochs[lower]);
    }
}

static void
gateway_hears_ready(world *w, model_document *d, int64_t revision)
{
    if (d->states[revision] != LIVE)
        return;
    retire_lower(w, d, revision, SUPERSEDED);
    d->states[revision] = READY;
}

static void
gateway_hears_give_up(world *w, const row_message *row)
{
    model_document *d = find(w, row->document_id);

    if (d->epochs[row->revision] != row->epoch || d->states[row->revision] != LIVE) {
        tell(w, d, row->revision, LIFECYCLE(DROPPED), row->epoch);
        return;
    }
    assert_true(d->ready != row->revision); /* I8 */
    assert_true(d->revoked[row->revision] >= row->epoch);
    d->states[row->revision] = FAILED;
    tell(w, d, row->revision, LIFECYCLE(GAVE_UP), row->epoch);
}

static void
raise_epoch(world *w, model_document *d, int64_t revision)
{
    d->epochs[revision]++;
    d->states[revision] = LIVE;
    tell(w, d, revision, LIFECYCLE(ACCEPTED), d->epochs[revision]);
}

/* ---- the indexer ---- */

static void
indexer_says_ready(world *w, model_document *d)
{
    const model *m = w->answer_ud;

    SAY(w, INDEXER, .kind = LIFECYCLE(READY), .document_id = names[d - m->documents],
        .revision = d->ready, .epoch = d->ready_epoch);
}

static void
indexer_hears_revoke(world *w, const row_message *row)
{
    model_document *d = find(w, row->document_id);
    const int64_t revision = row->revision;

    if (d->deleted > revision) {
        say_answer(w, row->document_id, revision, row->epoch, VERDICT(WAS_DELETED));
    } else if (d->ready >= revision) {
        say_answer(w, row->document_id, revision, row->epoch,
            d->ready == revision ? VERDICT(WAS_READY) : VERDICT(SUPERSEDED));
        gateway_hears_ready(w, d, d->ready);
    } else {
        if (d->revoked[revision] < row->epoch)
            d->revoked[revision] = row->epoch;
        say_answer(w, row->document_id, revision, row->epoch, VERDICT(REVOKED));
    }
}

/* All vectors of an epoch are there. */
static void
indexer_decides(world *w, model_document *d, int64_t revision, int64_t epoch, bool gateway_hears)
{
    if (d->deleted > revision || d->ready > revision || d->revoked[revision] >= epoch ||
        epoch < d->floor[revision])
        return;
    if (d->ready != revision) {
        d->ready = revision;
        d->ready_epoch = epoch;
    }
    indexer_says_ready(w, d);
    if (gateway_hears)
        gateway_hears_ready(w, d, d->ready);
}

static void
answer(world *w, weir_link_kind link, const row_message *row)
{
    if (link == WEIR_LINK_RECONCILER_INDEXER)
        indexer_hears_revoke(w, row);
    else
        gateway_hears_give_up(w, row);
}

/* ---- what happens ---- */

static uint64_t
below(world *w, uint64_t bound)
{
    return weir_rng_below(&w->rng, bound);
}

static void
accept(world *w, model_document *d)
{
    if (d->newest >= REVISIONS)
        return;
    d->newest++;
    raise_epoch(w, d, d->newest);
}

static void
delete_it(world *w, model_document *d)
{
    if (d->newest == 0 || d->newest >= REVISIONS || d->states[d->newest] == DELETED)
        return;
    d->newest++;
    d->states[d->newest] = DELETED; /* the tombstone is a revision of its own */
    d->epochs[d->newest] = 1;
    retire_lower(w, d, d->newest, DELETED);
    d->deleted = d->newest;
    if (d->ready < d->deleted)
        d->ready = 0;
}

/* A stage works on some epoch of some revision: it fails, or goes through. */
static void
work(world *w, model_document *d)
{
    const model *m = w->answer_ud;

    if (d->newest == 0)
        return;
    const int64_t revision = 1 + (int64_t)below(w, (uint64_t)d->newest);
    if (d->epochs[revision] == 0 || d->states[revision] == DELETED)
        return;
    const int64_t epoch = 1 + (int64_t)below(w, (uint64_t)d->epochs[revision]);
    const say said = { .document_id = names[d - m->documents],
        .revision = revision,
        .epoch = epoch };
    say failed = said;

    switch (below(w, 4)) {
    case 0:
        failed.kind = LIFECYCLE(DEFERRED);
        say_on(w, WEIR_LINK_EMBEDDER_RECONCILER, &failed);
        break;
    case 1:
        indexer_decides(w, d, revision, epoch, below(w, 3) != 0);
        break;
    default:
        failed.kind = LIFECYCLE(FAILED);
        failed.failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1);
        say_on(w, below(w, 2) == 0 ? WEIR_LINK_INGEST_RECONCILER : WEIR_LINK_EMBEDDER_RECONCILER,
            &failed);
        break;
    }
}

/* Its volume is lost: seeded with what is deleted and FAILED, and the rest is driven again. */
static void
lose_indexer(world *w)
{
    model *m = w->answer_ud;

    w->era++;
    for (size_t i = 0; i < DOCUMENTS; i++) {
        model_document *d = &m->documents[i];

        d->ready = 0;
        for (int64_t revision = 1; revision <= d->newest; revision++) {
            const bool has_failed = d->states[revision] == FAILED;

            d->revoked[revision] = has_failed ? d->epochs[revision] : 0;
            if (d->states[revision] == LIVE || d->states[revision] == READY)
                raise_epoch(w, d, revision);
            d->floor[revision] = d->epochs[revision];
        }
    }
}

static void
happen(world *w)
{
    model *m = w->answer_ud;
    model_document *d = &m->documents[below(w, DOCUMENTS)];

    if (below(w, 100) == 0)
        lose_indexer(w);
    switch (below(w, 10)) {
    case 0:
    case 1:
        accept(w, d);
        break;
    case 2:
        if (below(w, 3) == 0)
            delete_it(w, d);
        break;
    case 3:
        if (d->newest > 0 && d->states[d->newest] == FAILED)
            raise_epoch(w, d, d->newest);
        break;
    case 4: /* a re-drive */
        if (d->newest > 0 && d->states[d->newest] == LIVE && d->epochs[d->newest] < 4)
            raise_epoch(w, d, d->newest);
        break;
    default:
        work(w, d);
    }
}

/* ---- the end ---- */

/* Every stage ends what it still has: the newest try of each live revision fails. */
static void
end_all(world *w)
{
    model *m = w->answer_ud;

    for (size_t i = 0; i < DOCUMENTS; i++)
        for (int64_t revision = 1; revision <= m->documents[i].newest; revision++)
            if (m->documents[i].states[revision] == LIVE)
                SAY(w, EMBEDDER, .kind = LIFECYCLE(FAILED), .document_id = names[i],
                    .revision = revision, .epoch = m->documents[i].epochs[revision],
                    .failure = a_failure(w, WEIR_EMBED_FAILED, "no", 1));
}

static void
assert_agreement(world *w, uint64_t seed)
{
    const model *m = w->answer_ud;
    size_t failed = 0;

    for (size_t i = 0; i < DOCUMENTS; i++) {
        const model_document *d = &m->documents[i];

        for (int64_t revision = 1; revision <= d->newest; revision++) {
            const ending_record *dead_letter = dead_letter_of(w, names[i], revision);

            failed += d->states[revision] == FAILED;
            if (d->states[revision] == LIVE)
                fail_msg("seed %llu: %s@%lld never ends", (unsigned long long)seed, names[i],
                    (long long)revision);
            if ((dead_letter != NULL) != (d->states[revision] == FAILED))
                fail_msg("seed %llu: %s@%lld is in state %d, its dead letter is %s",
                    (unsigned long long)seed, names[i], (long long)revision,
                    (int)d->states[revision], dead_letter != NULL ? "there" : "not there");
            if (dead_letter != NULL && dead_letter->epoch != d->epochs[revision])
                fail_msg("seed %llu: %s@%lld failed in run %lld, its dead letter is of %lld",
                    (unsigned long long)seed, names[i], (long long)revision,
                    (long long)d->epochs[revision], (long long)dead_letter->epoch);
        }
    }
    assert_int_equal(count_keys(w, 'L'), failed);
    if (count_keys(w, 'E') != 0 || published(w).unfinished != 0)
        fail_msg("seed %llu: %zu endings and %llu unfinished are left", (unsigned long long)seed,
            count_keys(w, 'E'), (unsigned long long)published(w).unfinished);
    assert_counts_are_true(w);
}

static void
play(uint64_t seed)
{
    world *w = weir_alloc_zero(1, sizeof *w);
    model m = { 0 };

    world_init(w, seed);
    w->answer = answer;
    w->answer_ud = &m;
    world_start(w);
    const uint64_t crash_one_in = 2 + below(w, 20);
    for (int i = 0; i < STEPS; i++) {
        happen(w);
        if (below(w, 3) != 0)
            w->now_ms += (int64_t)below(w, 300);
        if (world_round(w, (uint32_t)below(w, 4)) != WEIR_OK)
            fail_msg("seed %llu: %s", (unsigned long long)seed, error.message);
        if (below(w, crash_one_in) == 0) {
            world_crash(w);
            world_start(w);
            assert_counts_are_true(w);
        }
    }
    world_settle(w);
    end_all(w);
    world_settle(w);
    assert_agreement(w, seed);
    world_fini(w);
    weir_free(w);
}

static void
in_the_end_the_reconciler_agrees_with_the_gateway(void **state)
{
    const char *only = getenv("WEIR_SEED");
    const char *count = getenv("WEIR_SEEDS");

    if (only != NULL) {
        play(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= (count != NULL ? strtoull(count, NULL, 10) : 1500); seed++)
        play(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_end_the_reconciler_agrees_with_the_gateway),
    };

    weir_log_init("test", true, WEIR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
