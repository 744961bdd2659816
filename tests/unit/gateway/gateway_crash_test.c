/*
 * gateway_crash_test.c - goal: after a power cut at any point every answer that was given still
 * holds, and the counters agree with a scan.  Method: random commands and news from peers with
 * crashes in between, many seeds; a model of what was answered beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/gateway/rig.h"

enum { SEEDS = 40, STEPS = 200, DOCUMENTS = 4 };

/* What was answered for one document. */
typedef struct known {
    int64_t revision;          /* greatest that was answered */
    int64_t delete;            /* greatest delete that was answered */
    uint32_t sent;             /* request ids used */
    int64_t by_request[STEPS]; /* revision answered for each request id; 0: no answer */
} known;

static const char *const names[DOCUMENTS] = { "a", "b", "x", "d" };

static char *
request_id(rig *self, size_t document, uint32_t number)
{
    return weir_arena_printf(self->arena, "%s-%u", names[document], number);
}

static uint64_t
ingest(rig *self, size_t document, uint32_t number)
{
    return RIG_INGEST(self, .document_id = names[document],
        .request_id = request_id(self, document, number),
        .text = request_id(self, document, number));
}

static void
ingest_new(rig *self, size_t document, known *model)
{
    const uint32_t number = model->sent++;
    const int64_t revision = rig_ingested(self, ingest(self, document, number))->document->revision;

    model->by_request[number] = revision;
    assert_true(revision > model->revision);
    model->revision = revision;
}

/* The same request again: the same revision. */
static void
ingest_again(rig *self, size_t document, const known *model)
{
    if (model->sent == 0)
        return;
    const uint32_t number = (uint32_t)weir_rng_below(&self->rng, model->sent);
    const Weir__V1__IngestDocumentResponse *response =
        rig_ingested(self, ingest(self, document, number));

    assert_int_equal(response->outcome, WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_REPEATED);
    assert_int_equal(response->document->revision, model->by_request[number]);
}

static void delete(rig *self, size_t document, known *model)
{
    if (model->revision == 0)
        return;
    const uint64_t reply = rig_delete(self, names[document], NULL, false);
    const int64_t revision = rig_document_record(self, names[document])->newest_revision;

    if (!rig_is_answered(self, reply))
        rig_deleted(self, names[document], revision);
    assert_int_equal(rig_document(self, reply)->revision, revision);
    model->revision = model->delete = revision;
}

static void
news(rig *self, size_t document, const known *model)
{
    if (model->revision == 0)
        return;
    const int64_t revision = 1 + (int64_t)weir_rng_below(&self->rng, (uint64_t)model->revision);
    const revision_record *record = rig_revision(self, names[document], revision);

    switch (weir_rng_below(&self->rng, 4)) {
    case 0:
        rig_give_up(self, names[document], revision, record->epoch);
        break;
    case 1:
        rig_raise(self, names[document], revision, record->epoch);
        break;
    case 2:
        (void)rig_retry(self, names[document], 0, NULL);
        break;
    default:
        if (record->state != DOCUMENT_STATE(FAILED)) /* the revoke excludes it */
            rig_ready(self, names[document], revision, record->epoch, 2);
    }
}

static void
check_known(rig *self, const known *models)
{
    for (size_t i = 0; i < DOCUMENTS; i++) {
        if (models[i].revision == 0)
            continue;
        const document_record *document = rig_document_record(self, names[i]);

        assert_true(document->newest_revision >= models[i].revision);
        assert_true(document->deleted_below >= models[i].delete);
        assert_true(document->searchable_revision == 0 ||
            document->searchable_revision > models[i].delete);
        for (int64_t revision = 1; revision < models[i].delete; revision++) {
            const uint32_t state = rig_revision(self, names[i], revision)->state;

            assert_true(state == DOCUMENT_STATE(DELETED) || state == DOCUMENT_STATE(SUPERSEDED));
        }
    }
}

static void
step(rig *self, known *models)
{
    const size_t document = weir_rng_below(&self->rng, DOCUMENTS);

    switch (weir_rng_below(&self->rng, 8)) {
    case 0:
    case 1:
        ingest_new(self, document, &models[document]);
        break;
    case 2:
        ingest_again(self, document, &models[document]);
        break;
    case 3:
        delete (self, document, &models[document]);
        break;
    case 4:
        rig_crash(self);
        check_known(self, models);
        rig_run_ms(self, 2500); /* links open again */
        break;
    default:
        news(self, document, &models[document]);
    }
}

static void
answers_hold_through_crashes_and_counters_agree_with_a_scan(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        known models[DOCUMENTS] = { { 0 } };
        rig *self = rig_create();

        self->rng.state = seed;
        rig_peer_start(self, &self->ingest);
        rig_peer_start(self, &self->indexer);
        rig_peer_start(self, &self->reconciler);
        rig_settle(self);
        for (int i = 0; i < STEPS; i++) {
            step(self, models);
            rig_check_store(self);
        }
        check_known(self, models);
        rig_destroy(&self);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_hold_through_crashes_and_counters_agree_with_a_scan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
