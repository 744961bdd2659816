/*
 * indexer_history_test.c - random histories of the indexer against a small model of the register.
 *
 * Method: seeded events for a few documents (rows in any order and twice, deletes, revokes, gates,
 * restarts, crashes of the round in hand) go to the core and to the model; after each synced round
 * the register must equal the model, an exact search must find precisely what is READY, and at the
 * end the store must hold nothing else.
 */
#include "tests/unit/indexer/world.h"

#include <stdio.h>
#include <string.h>

enum { DOCUMENTS = 3, REVISIONS = 5, EPOCHS = 3, CHUNKS = 3, STEPS = 120, SEEDS = 150 };

typedef struct model_document {
    int64_t deleted, ready, ready_epoch;
    int64_t promised[REVISIONS + 1];
    uint8_t staged[REVISIONS + 1][EPOCHS + 1]; /* chunks, a bit each; bit 7: the count is known */
} model_document;

typedef struct model {
    model_document documents[DOCUMENTS];
    bool is_open;
} model;

typedef struct history {
    world *self;
    weir_rng rng;
    model synced, round; /* as of the last commit; as of now */
} history;

static const char *const names[DOCUMENTS] = { "a", "b", "bb" };

static bool
is_fenced(const model_document *document, int64_t revision, int64_t epoch)
{
    return document->ready >= revision || document->deleted >= revision ||
        document->promised[revision] >= epoch;
}

static void
drop_fenced(model_document *document)
{
    for (int64_t revision = 1; revision <= REVISIONS; revision++)
        for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
            if (is_fenced(document, revision, epoch))
                document->staged[revision][epoch] = 0;
}

static void
model_decide(model *at, model_document *document, int64_t revision, int64_t epoch)
{
    if (!at->is_open || is_fenced(document, revision, epoch) ||
        document->staged[revision][epoch] != 0x87)
        return;
    document->ready = revision;
    document->ready_epoch = epoch;
    drop_fenced(document);
}

/* ---- events ---- */

static void
a_row(history *at, int document, int64_t revision, int64_t epoch)
{
    model_document *expected = &at->round.documents[document];
    const uint32_t first = (uint32_t)weir_rng_below(&at->rng, CHUNKS);
    const uint32_t count = 1 + (uint32_t)weir_rng_below(&at->rng, CHUNKS - first);
    const bool tells_count = weir_rng_below(&at->rng, 2) == 0;

    send_vectors(at->self, names[document], revision, epoch, first, count,
        tells_count ? CHUNKS : 0);
    if (is_fenced(expected, revision, epoch))
        return;
    for (uint32_t i = first; i < first + count; i++)
        expected->staged[revision][epoch] |= (uint8_t)(1u << i);
    if (tells_count)
        expected->staged[revision][epoch] |= 0x80;
    model_decide(&at->round, expected, revision, epoch);
}

static void
a_delete(history *at, int document, int64_t revision)
{
    model_document *expected = &at->round.documents[document];

    send_delete(at->self, names[document], revision);
    if (expected->deleted < revision)
        expected->deleted = revision;
    if (expected->ready <= expected->deleted)
        expected->ready = expected->ready_epoch = 0;
    drop_fenced(expected);
}

static void
a_revoke(history *at, int document, int64_t revision, int64_t epoch)
{
    model_document *expected = &at->round.documents[document];

    if (!at->round.is_open)
        return; /* indexer_gate_test.c has those that wait */
    send_revoke(at->self, names[document], revision, epoch);
    if (is_fenced(expected, revision, epoch))
        return;
    expected->promised[revision] = epoch;
    drop_fenced(expected);
}

/* Decisions that waited are made in the same round, in the order of a start (by key) or of
 * completion.  READY of the greatest complete revision is what remains either way, but for epochs
 * of one revision: the first may win. */
static void
open_gate(history *at)
{
    send_gate(at->self, 0);
    at->round.is_open = true;
    for (int i = 0; i < DOCUMENTS; i++)
        for (int64_t revision = 1; revision <= REVISIONS; revision++)
            for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
                model_decide(&at->round, &at->round.documents[i], revision, epoch);
}

static void
step(history *at)
{
    const int document = (int)weir_rng_below(&at->rng, DOCUMENTS);
    const int64_t revision = 1 + (int64_t)weir_rng_below(&at->rng, REVISIONS);
    const int64_t epoch = 1 + (int64_t)weir_rng_below(&at->rng, EPOCHS);

    switch (weir_rng_below(&at->rng, 10)) {
    case 0:
        if (weir_rng_below(&at->rng, 3) == 0)
            a_delete(at, document, revision);
        break;
    case 1:
        a_revoke(at, document, revision, epoch);
        break;
    default:
        a_row(at, document, revision, epoch);
        break;
    }
}

/* ---- what must hold ---- */

/* A gate that opens may choose among complete epochs of one revision: take over which one it was.
 */
static void
adopt_epoch(history *at, int document)
{
    model_document *expected = &at->round.documents[document];
    const Weir__Internal__V1__GetIndexedDocumentResponse *said =
        get_document(at->self, names[document]);

    if (said->ready_revision == expected->ready && said->ready_epoch != expected->ready_epoch)
        expected->ready_epoch = said->ready_epoch;
}

static void
check_document(history *at, int document)
{
    const model_document *expected = &at->synced.documents[document];
    const Weir__Internal__V1__GetIndexedDocumentResponse *said =
        get_document(at->self, names[document]);

    assert_int_equal(said->deleted_below, expected->deleted);
    assert_int_equal(said->ready_revision, expected->ready);
    assert_int_equal(said->ready_epoch, expected->ready_epoch);
    assert_int_equal(said->complete, at->synced.is_open);
    size_t staged = 0;
    for (int64_t revision = 1; revision <= REVISIONS; revision++)
        for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
            staged += expected->staged[revision][epoch] != 0;
    assert_int_equal(said->n_staged, staged);
    if (!at->synced.is_open)
        return;
    for (int64_t revision = 1; revision <= REVISIONS; revision++)
        for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
            assert_int_equal(is_found(at->self, names[document], revision, epoch, 1),
                expected->ready == revision && expected->ready_epoch == epoch);
}

static void
commit(history *at, bool opened)
{
    world_commit(at->self);
    for (int document = 0; document < DOCUMENTS && opened; document++)
        adopt_epoch(at, document);
    at->synced = at->round;
    for (int document = 0; document < DOCUMENTS; document++)
        check_document(at, document);
    verified_chunks(at->self);
    forget(at->self);
}

static unsigned
expected_vectors(const model *at)
{
    unsigned count = 0;

    for (int document = 0; document < DOCUMENTS; document++) {
        const model_document *expected = &at->documents[document];

        count += expected->ready > 0 ? CHUNKS : 0;
        for (int64_t revision = 1; revision <= REVISIONS; revision++)
            for (int64_t epoch = 1; epoch <= EPOCHS; epoch++)
                count += (unsigned)__builtin_popcount(expected->staged[revision][epoch] & 0x7f);
    }
    return count;
}

static void
restart(history *at, bool is_crash)
{
    if (is_crash)
        world_crash(at->self);
    else
        world_restart(at->self);
    if (!is_crash)
        at->synced = at->round;
    at->round = at->synced;
    at->round.is_open = at->synced.is_open = false;
    for (int document = 0; document < DOCUMENTS; document++)
        check_document(at, document);
}

static void
run(history *at)
{
    bool opened = false;

    for (int i = 0; i < STEPS; i++) {
        const uint64_t choice = weir_rng_below(&at->rng, 100);

        if (choice < 30) {
            commit(at, opened);
            opened = false;
        } else if (choice < 34) {
            restart(at, choice < 32);
            opened = false;
        } else if (choice < 40 && !at->round.is_open) {
            commit(at, opened); /* the gate opens in a round of its own, so that `opened` explains
                                   one thing */
            open_gate(at);
            opened = true;
            commit(at, true);
            opened = false;
        } else {
            step(at);
        }
    }
    commit(at, opened);
    world_quiet(at->self);
    assert_int_equal(count_keys(at->self, 'V'), expected_vectors(&at->synced));
    assert_int_equal(count_keys(at->self, 'K'), expected_vectors(&at->synced));
}

static void
random_histories_keep_to_the_model(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        void *fresh = NULL;

        world_closed(&fresh);
        history at = { .self = fresh, .rng = { .state = seed } };
        at.self->options.clear_keys_max = 1 + (uint32_t)(seed % 7);
        run(&at);
        world_teardown(&fresh);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_keep_to_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
