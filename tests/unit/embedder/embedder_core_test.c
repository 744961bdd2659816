/*
 * embedder_core_test.c - rows of chunks to rows of vectors, in a stage without threads.
 *
 * Method: the models are the test's own (they stand in for models.c): hash embedders under the
 * names that the test wants, so that the built-in model can be missing, come back and be counted
 * without its files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/limits.h"
#include "services/embedder/core.h"
#include "tests/unit/stage/rig.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent event_message;

#define OUT WEIR_LINK_EMBEDDER_INDEXER
#define EMBEDDED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_EMBEDDED
#define DEFERRED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED
#define FAILED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED
#define CLOSED WEIR__V1__BREAKER_STATE__BREAKER_STATE_CLOSED
#define OPEN WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN
#define REAL WEIR_MODEL_DEFAULT

enum { DIMENSION = 16 };

/* ---- the test's models ---- */

static struct {
    embedder_model *real, *hash; /* real: a hash embedder that calls itself the built-in model */
    bool real_is_missing;
    unsigned gets;
} models;

weir_code
embedder_models_get(embedder_models *unused, const char *name, bool may_load,
    const embedder_model **ret_model, weir_error *reterr)
{
    models.gets++;
    if (strcmp(name, REAL) == 0) {
        if (models.real_is_missing)
            return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "its files are missing");
        *ret_model = models.real;
        return WEIR_OK;
    }
    if (strcmp(name, "hash-16") != 0)
        return weir_error_set(reterr, WEIR_MODEL_UNKNOWN, "no such model");
    *ret_model = models.hash;
    return WEIR_OK;
}

bool
embedder_models_has_default(embedder_models *unused)
{
    return !models.real_is_missing;
}

bool
embedder_models_allow_hash(const embedder_models *unused)
{
    return true;
}

static embedder_model *
open_model(const char *name)
{
    weir_model facts;
    embedder_model *model = NULL;
    weir_error error;

    assert_int_equal(weir_model_find("hash-16", NULL, &facts, &error), WEIR_OK);
    snprintf(facts.name, sizeof facts.name, "%s", name);
    assert_int_equal(embedder_model_open(&facts, &model, &error), WEIR_OK);
    return model;
}

/* ---- what is seen of the work ---- */

static struct {
    unsigned calls, texts, largest;
    size_t most_padded; /* count x longest of a call that went well */
    unsigned embedded_ok, embedded_failed;
    uint64_t tokens, hits;
    bool is_broken;    /* every text fails */
    weir_code refusal; /* of the model, whatever the text; OK: none */
    uint32_t retry_after_ms;
    bool hold;
    uint32_t batch_tokens, batches_max;
    uint64_t cache_bytes_max;
    uint32_t in_flight_max;
} seen;

static weir_code
spy(const embedder_model *model, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts, weir_error *reterr)
{
    uint32_t longest = 0;

    seen.calls++;
    if (seen.refusal != WEIR_OK) {
        weir_error_set(reterr, seen.refusal, "the model says no");
        reterr->retry_after_ms = seen.retry_after_ms;
        return seen.refusal;
    }
    seen.largest = count > seen.largest ? (unsigned)count : seen.largest;
    for (size_t i = 0; i < count; i++)
        if (seen.is_broken || memmem(texts[i].data, texts[i].size, "poison", 6) != NULL)
            return weir_error_set(reterr, WEIR_EMBED_FAILED, "a text among %zu is poison", count);
    seen.texts += (unsigned)count;
    const weir_code code = embedder_model_embed(model, texts, count, out, token_counts, reterr);
    for (size_t i = 0; code == WEIR_OK && i < count; i++)
        longest = token_counts[i] > longest ? token_counts[i] : longest;
    if (count * longest > seen.most_padded)
        seen.most_padded = count * longest;
    return code;
}

static void
embedded(void *ud, const char *model, weir_code result, uint64_t tokens)
{
    seen.embedded_ok += result == WEIR_OK ? 1 : 0;
    seen.embedded_failed += result != WEIR_OK ? 1 : 0;
    seen.tokens += tokens;
}

static void
cache_hits(void *ud, uint64_t count)
{
    seen.hits += count;
}

static embedder_core *the_core;

static void *
create(void *ud, weir_store *store)
{
    const embedder_options options = { .policy = { .attempts_max = 5,
                                           .crashes_max = 3,
                                           .backoff_base_ms = 500,
                                           .backoff_max_ms = 60000,
                                           .defer_after_ms = 2000,
                                           .in_flight_max = seen.in_flight_max },
        .models = (embedder_models *)&models,
        .batch_tokens = seen.batch_tokens,
        .batches_max = seen.batches_max,
        .cache_bytes_max = seen.cache_bytes_max,
        .embed = spy,
        .observer = { .embedded = embedded, .cache_hits = cache_hits } };

    the_core = embedder_core_create(&options);
    return the_core;
}

static void
destroy(void *core)
{
    embedder_core *embedder = core;

    embedder_core_destroy(&embedder);
}

static rig_fate
job_fate(void *ud, const weir_job *job)
{
    return seen.hold ? RIG_HOLD : RIG_RUN;
}

static rig r;

static int
set_up(void **state)
{
    static const rig_options options = { .service = WEIR_SERVICE_EMBEDDER,
        .in = WEIR_LINK_INGEST_EMBEDDER,
        .ops = &embedder_core_ops,
        .core_create = create,
        .core_destroy = destroy,
        .job_fate = job_fate };

    memset(&models, 0, sizeof models);
    memset(&seen, 0, sizeof seen);
    seen.batch_tokens = 64;
    seen.in_flight_max = 64;
    seen.cache_bytes_max = 1 << 20;
    models.real = open_model(REAL);
    models.hash = open_model("hash-16");
    rig_init(&r, &options, 5);
    return 0;
}

static int
tear_down(void **state)
{
    rig_fini(&r);
    embedder_model_close(&models.real);
    embedder_model_close(&models.hash);
    return 0;
}

/* ---- rows ---- */

typedef struct sent {
    const char *id;
    const char *model; /* NULL: hash-16 */
    const char *const *texts;
    uint32_t count;
    uint32_t first;
    uint32_t of; /* chunk_count: the last row */
    const char *fingerprint;
    uint32_t dimension;
    int64_t revision, epoch;
    uint64_t era;
    uint32_t tokens; /* of each chunk; 0: words */
    bool no_spec;
} sent;

static uint32_t
count_words(const char *text)
{
    uint32_t words = 1;

    for (; *text != '\0'; text++)
        words += *text == ' ' ? 1 : 0;
    return words;
}

static void
send(sent s)
{
    Weir__Internal__V1__ChunksRow chunks = WEIR__INTERNAL__V1__CHUNKS_ROW__INIT;
    Weir__Internal__V1__EmbedSpec spec = WEIR__INTERNAL__V1__EMBED_SPEC__INIT;
    Weir__Internal__V1__Chunk items[80];
    Weir__Internal__V1__Chunk *pointers[80];
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    spec.model = (char *)(uintptr_t)(s.model != NULL ? s.model : "hash-16");
    spec.fingerprint =
        (char *)(uintptr_t)(s.fingerprint != NULL ? s.fingerprint
                                                  : embedder_model_facts(models.hash)->fingerprint);
    spec.dimension = s.dimension != 0 ? s.dimension : DIMENSION;
    for (uint32_t i = 0; i < s.count; i++) {
        weir__internal__v1__chunk__init(&items[i]);
        items[i].ordinal = s.first + i;
        items[i].text = (char *)(uintptr_t)s.texts[i];
        items[i].token_count = s.tokens != 0 ? s.tokens : count_words(s.texts[i]);
        items[i].start_byte = 10 * i;
        pointers[i] = &items[i];
    }
    chunks.spec = s.no_spec ? NULL : &spec;
    chunks.n_chunks = s.count;
    chunks.chunks = pointers;
    chunks.chunk_count = s.of;
    chunks.token_count = s.of > 0 ? 99 : 0;
    chunks.title = "Title";
    chunks.media_type = "text/plain";
    row.era = s.era;
    row.tenant = "acme";
    row.collection_no = 7;
    row.document_id = (char *)(uintptr_t)(s.id != NULL ? s.id : "d");
    row.revision = s.revision == 0 ? 1 : s.revision;
    row.epoch = s.epoch == 0 ? 1 : s.epoch;
    row.deleted_below = 0;
    row.traceparent = "00-trace";
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS;
    row.chunks = &chunks;
    rig_send(&r, &row);
}

#define SEND(...) send((sent){ __VA_ARGS__ })
#define TEXTS(...)                                 \
    .texts = (const char *const[]){ __VA_ARGS__ }, \
    .count = sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *)
#define ONE(text_) TEXTS(text_), .of = 1

static void
start(void)
{
    RIG_OK(rig_start(&r, error));
    RIG_OK(rig_run(&r, error));
}

static void
run(void)
{
    RIG_OK(rig_run(&r, error));
}

static void
pass(int64_t ms)
{
    RIG_OK(rig_run_for(&r, ms, error));
}

static size_t
outs(void)
{
    return rig_count(&r, OUT);
}

static void
expect_vector(const Weir__Internal__V1__Chunk *chunk)
{
    float expected[DIMENSION];
    weir_error error;
    const weir_bytes text = weir_bytes_str(chunk->text);

    assert_int_equal(embedder_model_embed(models.hash, &text, 1, expected, NULL, &error), WEIR_OK);
    assert_int_equal(chunk->vector.len, sizeof expected);
    assert_memory_equal(chunk->vector.data, expected, sizeof expected);
}

static void
expect_failure(const char *id, weir_code code)
{
    const event_message *event = NULL;

    assert_int_equal(rig_events(&r, FAILED, id, &event), 1);
    if (event->failure->code != (uint32_t)code)
        fail_msg("%s: %s", weir_code_name((weir_code)event->failure->code),
            event->failure->message);
    assert_int_equal(event->failure->stage, 3);
}

/* ---- rows that work ---- */

static void
a_row_comes_out_with_its_vectors_and_all_that_it_said(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("d", TEXTS("ships float", "wind moves them", "sails"), .of = 3, .revision = 4, .epoch = 2);
    r.now_ms += 50;
    run();
    const row_message *row = rig_out(&r, OUT, 0);
    assert_non_null(row);
    assert_string_equal(row->tenant, "acme");
    assert_int_equal(row->collection_no, 7);
    assert_int_equal(row->revision, 4);
    assert_int_equal(row->epoch, 2);
    assert_int_equal(row->era, 1);
    assert_string_equal(row->traceparent, "00-trace");
    assert_int_equal(row->handed_over_ms, r.now_ms);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_VECTORS);
    assert_string_equal(row->vectors->title, "Title");
    assert_string_equal(row->vectors->media_type, "text/plain");
    assert_string_equal(row->vectors->spec->model, "hash-16");
    assert_int_equal(row->vectors->chunk_count, 3);
    assert_int_equal(row->vectors->token_count, 99);
    assert_int_equal(row->vectors->n_chunks, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(row->vectors->chunks[i]->ordinal, i);
        assert_int_equal(row->vectors->chunks[i]->start_byte, 10 * i);
        expect_vector(row->vectors->chunks[i]);
    }
    assert_int_equal(rig_events(&r, EMBEDDED, "d", &event), 1);
    assert_int_equal(event->chunk_count, 3);
    assert_int_equal(event->token_count, 99);
    assert_int_equal(event->stage, 3);
    assert_int_equal(rig_settled(&r), 1);
    assert_true(seen.tokens > 0);
}

static void
a_revision_in_several_rows_is_told_embedded_with_the_last(void **state)
{
    start();
    SEND("d", TEXTS("a", "b"));
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_events(&r, EMBEDDED, "", NULL), 0);
    SEND("d", TEXTS("c"), .first = 2, .of = 3);
    run();
    assert_int_equal(rig_events(&r, EMBEDDED, "d", NULL), 1);
    expect_vector(rig_out(&r, OUT, 1)->vectors->chunks[0]);
}

static void
rows_of_one_revision_are_deferred_apart(void **state)
{
    seen.is_broken = true;
    start();
    SEND("d", TEXTS("a", "b"));
    SEND("d", TEXTS("c"), .first = 2, .of = 3);
    run();
    assert_int_equal(rig_keys(&r, 'd'), 2);
    seen.is_broken = false;
    pass(60000);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

/* ---- batches ---- */

static void
chunks_of_many_rows_share_batches_within_the_budget(void **state)
{
    seen.cache_bytes_max = 0;
    seen.batches_max = 1;
    start();
    seen.hold = true;
    for (int i = 0; i < 40; i++)
        SEND("d", ONE("one two three four five six seven eight"), .revision = i + 1, .model = REAL);
    run();
    seen.hold = false;
    run();
    assert_int_equal(outs(), 40);
    assert_int_equal(seen.texts, 40);
    assert_int_equal(seen.largest, 8); /* 8 x 8 = 64 */
    assert_true(seen.calls <= 6);
}

static void
texts_of_unlike_length_do_not_share_a_batch(void **state)
{
    char long_text[512] = "";

    for (int i = 0; i < 60; i++)
        strcat(long_text, "word ");
    long_text[strlen(long_text) - 1] = '\0';
    start();
    seen.batch_tokens = 64;
    for (int i = 0; i < 4; i++)
        SEND("d", TEXTS("short", long_text), .of = 2, .revision = i + 1, .model = REAL);
    run();
    assert_int_equal(outs(), 4);
    assert_true(seen.most_padded <= 64);
}

static void
a_text_above_the_budget_goes_alone(void **state)
{
    start();
    SEND("d", TEXTS("a", "b"), .of = 2, .tokens = 1000, .model = REAL);
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(seen.largest, 1);
}

static void
only_a_few_batches_are_on_the_pool_at_once(void **state)
{
    seen.batches_max = 2;
    start();
    seen.hold = true;
    for (int i = 0; i < 10; i++)
        SEND("d", ONE("some text"), .revision = i + 1, .tokens = 64, .model = REAL);
    run();
    assert_int_equal(r.job_count, 2);
    seen.hold = false;
    run();
    assert_int_equal(outs(), 10);
}

static void
models_and_vector_spaces_do_not_share_a_batch(void **state)
{
    start();
    seen.hold = true;
    SEND("a", ONE("text"));
    SEND("b", ONE("text"), .model = REAL);
    SEND("c", ONE("text"), .fingerprint = "another");
    run();
    seen.hold = false;
    pass(1);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_counts(&r).parked, 1); /* c: the model here is of another version */
}

/* ---- poison ---- */

static void
one_poison_text_fails_its_own_document_only(void **state)
{
    const event_message *event = NULL;

    seen.batches_max = 1;
    start();
    seen.hold = true;
    for (int i = 0; i < 7; i++)
        SEND(i == 3 ? "bad" : "good", ONE(i == 3 ? "poison" : "fine words"), .revision = i + 1);
    run();
    seen.hold = false;
    run();
    assert_int_equal(outs(), 6);
    assert_int_equal(rig_settled(&r), 7);
    assert_int_equal(rig_events(&r, DEFERRED, "bad", &event), 1);
    assert_int_equal(event->failure->code, WEIR_EMBED_FAILED);
    pass(600000);
    expect_failure("bad", WEIR_EMBED_FAILED);
    assert_int_equal(rig_events(&r, FAILED, "good", NULL), 0);
    assert_int_equal(rig_events(&r, EMBEDDED, "good", NULL), 6);
    for (size_t i = 0; i < outs(); i++)
        expect_vector(rig_out(&r, OUT, i)->vectors->chunks[0]);
}

static void
one_poison_chunk_fails_the_whole_row(void **state)
{
    start();
    SEND("bad", TEXTS("fine", "poison", "fine too"), .of = 3);
    pass(600000);
    assert_int_equal(outs(), 0);
    expect_failure("bad", WEIR_EMBED_FAILED);
}

/* ---- rows that cannot work ---- */

static void
an_unknown_model_is_MODEL_UNKNOWN(void **state)
{
    char name[200];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    start();
    SEND("d", ONE("text"), .model = "word2vec");
    SEND("e", ONE("text"), .model = name);
    run();
    expect_failure("d", WEIR_MODEL_UNKNOWN);
    expect_failure("e", WEIR_MODEL_UNKNOWN);
}

static void
another_dimension_is_DIMENSION_MISMATCH(void **state)
{
    start();
    SEND("d", ONE("text"), .dimension = 8);
    run();
    expect_failure("d", WEIR_DIMENSION_MISMATCH);
}

static void
an_impossible_row_is_INVALID_ARGUMENT(void **state)
{
    char *large = weir_alloc(WEIR_CHUNK_BYTES_MAX + 2);
    const char *many[65];

    memset(large, 'x', WEIR_CHUNK_BYTES_MAX + 1);
    large[WEIR_CHUNK_BYTES_MAX + 1] = '\0';
    for (size_t i = 0; i < 65; i++)
        many[i] = "x";
    start();
    SEND("empty", ONE(""));
    SEND("large", ONE(large));
    SEND("none", .of = 1);
    SEND("many", .texts = many, .count = 65, .of = 65);
    SEND("spec", ONE("text"), .no_spec = true);
    SEND("wide", ONE("text"), .dimension = WEIR_DIMENSION_MAX + 1);
    run();
    expect_failure("empty", WEIR_INVALID_ARGUMENT);
    expect_failure("large", WEIR_INVALID_ARGUMENT);
    expect_failure("none", WEIR_INVALID_ARGUMENT);
    expect_failure("many", WEIR_INVALID_ARGUMENT);
    expect_failure("spec", WEIR_INVALID_ARGUMENT);
    expect_failure("wide", WEIR_INVALID_ARGUMENT);
    assert_int_equal(rig_settled(&r), 6);
    weir_free(large);
}

static void
a_row_that_has_no_chunks_in_it_is_passed_over(void **state)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    start();
    row.document_id = "d";
    row.collection_no = 1;
    row.revision = 1;
    rig_send(&r, &row);
    run();
    assert_int_equal(rig_settled(&r), 1);
}

/* ---- a missing model ---- */

static void
while_the_model_is_missing_rows_are_parked_and_few_look(void **state)
{
    char ids[50][8];

    models.real_is_missing = true;
    start();
    assert_int_equal(embedder_core_breaker(the_core), OPEN);
    for (int i = 0; i < 50; i++) {
        snprintf(ids[i], sizeof ids[i], "d%d", i);
        SEND(ids[i], ONE("text"), .model = REAL);
    }
    SEND("hash", ONE("text"));
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(rig_counts(&r).parked, 50);
    pass(600000);
    assert_in_range(models.gets, 10, 60);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 0);
    assert_int_equal(rig_events(&r, DEFERRED, "", NULL), 50);
    models.real_is_missing = false;
    pass(120000);
    assert_int_equal(outs(), 51);
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    assert_int_equal(rig_counts(&r).parked, 0);
}

static void
a_model_that_goes_missing_opens_the_breaker(void **state)
{
    start();
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    models.real_is_missing = true;
    SEND("d", ONE("text"), .model = REAL);
    run();
    assert_int_equal(embedder_core_breaker(the_core), OPEN);
    models.real_is_missing = false;
    pass(60000);
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    assert_int_equal(outs(), 1);
}

/* The table's column of pauses: who throttles is left alone by every document that asks it, for the
 * time that it asked for, and no batch is halved to find a culprit. */
static void
a_model_that_throttles_pauses_all_its_rows_and_no_others(void **state)
{
    const event_message *event = NULL;

    start();
    seen.refusal = WEIR_PRESSURE;
    seen.retry_after_ms = 5000;
    SEND("a", TEXTS("one", "two"), .model = REAL);
    SEND("b", ONE("three"), .model = REAL);
    run();
    const unsigned calls = seen.calls;
    assert_in_range(calls, 1, 2);
    assert_int_equal(embedder_core_breaker(the_core), OPEN);
    SEND("c", ONE("four"), .model = REAL);
    run();
    pass(4900);
    assert_int_equal(seen.calls, calls);
    assert_int_equal(rig_counts(&r).parked, 3);
    assert_int_equal(rig_events(&r, DEFERRED, "c", &event), 1);
    assert_int_equal(event->failure->code, WEIR_PRESSURE);
    assert_int_equal(event->failure->attempt_count, 0);
    seen.refusal = WEIR_OK;
    SEND("hash", ONE("text"));
    run();
    assert_int_equal(outs(), 1);
    pass(60000);
    assert_int_equal(outs(), 4);
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    assert_int_equal(rig_counts(&r).parked, 0);
}

static void
a_model_that_fails_now_and_then_pauses_nobody(void **state)
{
    const event_message *event = NULL;

    start();
    seen.refusal = WEIR_TIMEOUT;
    seen.retry_after_ms = 5000;
    SEND("a", ONE("one"), .model = REAL);
    run();
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    assert_int_equal(rig_events(&r, DEFERRED, "a", &event), 1);
    assert_int_equal(event->failure->attempt_count, 1);
    seen.refusal = WEIR_OK;
    SEND("b", ONE("two"), .model = REAL);
    run();
    assert_int_equal(outs(), 1);
}

static void
a_collection_of_another_version_waits_without_closing_the_way_for_others(void **state)
{
    start();
    SEND("old", ONE("text"), .model = REAL, .fingerprint = "another");
    run();
    assert_int_equal(embedder_core_breaker(the_core), CLOSED);
    assert_int_equal(rig_counts(&r).parked, 1);
    SEND("new", ONE("text"), .model = REAL);
    run();
    assert_int_equal(outs(), 1);
}

/* ---- the cache ---- */

static void
a_text_that_was_embedded_is_not_embedded_again(void **state)
{
    start();
    SEND("a", TEXTS("ships", "wind"), .of = 2, .model = REAL);
    run();
    assert_int_equal(seen.texts, 2);
    SEND("b", TEXTS("wind", "sails"), .of = 2, .model = REAL);
    run();
    assert_int_equal(seen.texts, 3);
    assert_int_equal(seen.hits, 1);
    SEND("c", TEXTS("sails", "ships", "wind"), .of = 3, .model = REAL);
    run();
    assert_int_equal(seen.texts, 3);
    assert_int_equal(outs(), 3);
    rig_crash(&r);
    start();
    pass(6000);
    SEND("d", TEXTS("ships"), .of = 1, .model = REAL);
    run();
    assert_int_equal(seen.texts, 3);
    assert_int_equal(outs(), 4);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < rig_out(&r, OUT, i)->vectors->n_chunks; k++)
            expect_vector(rig_out(&r, OUT, i)->vectors->chunks[k]);
    assert_int_equal(rig_events(&r, EMBEDDED, "", NULL), 4);
}

static void
what_hash_models_make_is_not_kept(void **state)
{
    start();
    SEND("a", ONE("ships"));
    SEND("b", ONE("ships"));
    run();
    assert_int_equal(rig_keys(&r, 'v'), 0);
    assert_int_equal(seen.hits, 0);
}

static void
another_vector_space_has_its_own_entries(void **state)
{
    start();
    SEND("a", ONE("ships"), .model = REAL);
    run();
    SEND("b", ONE("ships"), .model = REAL, .fingerprint = "another");
    run();
    assert_int_equal(seen.hits, 0);
}

static void
without_a_bound_there_is_no_cache(void **state)
{
    seen.cache_bytes_max = 0;
    start();
    SEND("a", ONE("ships"), .model = REAL);
    SEND("b", ONE("ships"), .model = REAL);
    run();
    assert_int_equal(rig_keys(&r, 'v'), 0);
    assert_int_equal(outs(), 2);
}

static void
a_damaged_entry_is_embedded_again(void **state)
{
    const uint8_t lower[] = { 'v' };
    const uint8_t upper[] = { 'v' + 1 };

    start();
    SEND("a", ONE("ships"), .model = REAL);
    run();
    weir_iter *iter =
        weir_store_iter(r.store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    weir_batch *batch = weir_batch_create(r.store);
    assert_true(weir_iter_next(iter));
    uint8_t value[DIMENSION * 4 + 4];
    assert_int_equal(weir_iter_value(iter).size, sizeof value);
    memcpy(value, weir_iter_value(iter).data, sizeof value);
    value[5] ^= 1;
    weir_batch_put(batch, weir_iter_key(iter), weir_bytes_of(value, sizeof value));
    weir_iter_destroy(&iter);
    RIG_OK(weir_store_commit(r.store, batch, true, error));
    weir_batch_destroy(&batch);
    SEND("b", ONE("ships"), .model = REAL);
    run();
    assert_int_equal(seen.hits, 0);
    assert_int_equal(seen.texts, 2);
    expect_vector(rig_out(&r, OUT, 1)->vectors->chunks[0]);
    SEND("c", ONE("ships"), .model = REAL);
    run();
    assert_int_equal(seen.hits, 1);
}

static void
send_text(int number)
{
    char text[32];

    snprintf(text, sizeof text, "text %d", number);
    SEND("d", ONE(text), .revision = ++number, .model = REAL);
}

/* An entry takes 113 bytes here, so a generation holds about 10. */
static void
the_cache_forgets_what_nobody_asked_for_and_keeps_within_its_bound(void **state)
{
    seen.cache_bytes_max = 2 * 1130;
    start();
    for (int i = 0; i < 100; i++) {
        send_text(i);
        SEND("kept", ONE("asked for again and again"), .revision = i + 1, .model = REAL);
        run();
        assert_true(rig_keys(&r, 'v') <= 21);
    }
    assert_int_equal(seen.texts, 101);
    assert_int_equal(seen.hits, 99);
    assert_true(rig_keys(&r, 'v') >= 10);
    send_text(0);
    run();
    assert_int_equal(seen.texts, 102); /* forgotten */
    rig_crash(&r);
    start();
    pass(6000);
    for (int i = 0; i < 5; i++) {
        rig_crash(&r);
        start();
        pass(6000);
        for (int k = 0; k < 4; k++)
            send_text(1000 + 10 * i + k);
        run();
        assert_true(rig_keys(&r, 'v') <= 21);
    }
    SEND("kept", ONE("asked for again and again"), .revision = 199, .model = REAL);
    run();
    rig_crash(&r);
    start();
    pass(6000);
    const unsigned texts = seen.texts;
    SEND("kept", ONE("asked for again and again"), .revision = 200, .model = REAL);
    run();
    assert_int_equal(seen.texts, texts);
    assert_true(rig_keys(&r, 'v') <= 21);
}

/* ---- era, drain, crash ---- */

static void
a_new_era_frees_the_places_of_old_rows(void **state)
{
    seen.in_flight_max = 4;
    seen.batches_max = 1;
    start();
    seen.hold = true;
    for (int i = 0; i < 4; i++)
        SEND("old", ONE("text"), .revision = i + 1, .tokens = 64, .model = REAL);
    run();
    assert_int_equal(rig_counts(&r).in_flight, 4);
    SEND("new", ONE("text two"), .era = 2, .model = REAL);
    run();
    assert_int_equal(rig_settled(&r), 4);
    assert_int_equal(rig_counts(&r).in_flight, 2); /* the one in a batch, and the new one */
    seen.hold = false;
    run();
    assert_int_equal(outs(), 1);
    assert_string_equal(rig_out(&r, OUT, 0)->document_id, "new");
    assert_int_equal(rig_counts(&r).in_flight, 0);
}

static void
a_drain_ends_after_the_batches_that_run(void **state)
{
    seen.batches_max = 1;
    start();
    seen.hold = true;
    for (int i = 0; i < 4; i++)
        SEND("d", TEXTS("text", "more"), .of = 2, .revision = i + 1, .tokens = 64, .model = REAL);
    run();
    weir_stage_set_draining(r.stage);
    RIG_OK(rig_round(&r, error)); /* what waits is abandoned, what runs is waited for */
    assert_false(weir_stage_is_idle(r.stage));
    seen.hold = false;
    RIG_OK(rig_stop(&r, error));
    assert_int_equal(seen.texts, 1);
    assert_int_equal(outs(), 0);
    assert_int_equal(rig_settled(&r), 0);
    start();
    pass(10000);
    assert_int_equal(outs(), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_out(&r, OUT, (size_t)i)->revision, i + 1);
}

static void
a_process_may_end_in_the_middle(void **state)
{
    seen.batches_max = 1;
    start();
    seen.hold = true;
    SEND("a", TEXTS("one", "two"), .of = 2, .tokens = 64, .model = REAL);
    SEND("b", ONE("three"), .model = REAL);
    run();
    rig_crash(&r);
    seen.hold = false;
    start();
    pass(10000);
    assert_int_equal(outs(), 2);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static void
a_long_row_goes_on_where_the_process_ended(void **state)
{
    seen.batches_max = 1;
    start();
    seen.hold = true;
    SEND("long", TEXTS("one", "two", "three", "four"), .of = 4, .tokens = 64, .model = REAL);
    run();
    for (unsigned done = 1; done <= 3; done++) {
        seen.hold = false;
        RIG_OK(rig_round(&r, error));
        seen.hold = true;
        assert_int_equal(seen.texts, done);
        rig_crash(&r);
        start();
        pass(6000);
    }
    seen.hold = false;
    run();
    assert_int_equal(outs(), 1);
    assert_int_equal(seen.texts, 4);
}

static void
the_store_may_fail_at_any_call(void **state)
{
    for (uint32_t n = 1;; n++) {
        weir_error failure;

        tear_down(NULL);
        set_up(NULL);
        seen.cache_bytes_max = 1130;
        r.rng.state = n;
        weir_store_mem_fail_after(r.store, n);
        SEND("a", TEXTS("one", "two"), .model = REAL);
        SEND("a", TEXTS("three"), .first = 2, .of = 3, .model = REAL);
        SEND("bad", ONE("poison"), .model = REAL);
        SEND("b", ONE("two"), .model = REAL);
        for (int i = 0; i < 12; i++)
            send_text(i);
        for (;;) {
            weir_code code = r.stage == NULL ? rig_start(&r, &failure) : WEIR_OK;
            if (code == WEIR_OK)
                code = rig_run_for(&r, 600000, &failure);
            if (code == WEIR_OK)
                break;
            assert_int_equal(code, WEIR_STORE_IO);
            rig_crash(&r);
        }
        assert_int_equal(rig_settled(&r), 16);
        assert_int_equal(outs(), 15);
        assert_int_equal(rig_events(&r, EMBEDDED, "", NULL), 14);
        expect_failure("bad", WEIR_EMBED_FAILED);
        assert_int_equal(rig_keys(&r, 'd'), 0);
        for (size_t i = 0; i < outs(); i++)
            for (size_t k = 0; k < rig_out(&r, OUT, i)->vectors->n_chunks; k++)
                expect_vector(rig_out(&r, OUT, i)->vectors->chunks[k]);
        if (r.starts == 1) {
            assert_true(n > 20);
            break;
        }
    }
}

static void
the_core_takes_no_requests(void **state)
{
    Weir__Internal__V1__EventsRow message = WEIR__INTERNAL__V1__EVENTS_ROW__INIT;

    start();
    RIG_OK(rig_request(&r, &(weir_request){ .kind = 1, .reply_to = 4, .message = &message.base },
        error));
    assert_int_equal(r.replies[0].error.code, WEIR_UNIMPLEMENTED);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
        TEST(a_row_comes_out_with_its_vectors_and_all_that_it_said),
        TEST(a_revision_in_several_rows_is_told_embedded_with_the_last),
        TEST(rows_of_one_revision_are_deferred_apart),
        TEST(chunks_of_many_rows_share_batches_within_the_budget),
        TEST(texts_of_unlike_length_do_not_share_a_batch),
        TEST(a_text_above_the_budget_goes_alone),
        TEST(only_a_few_batches_are_on_the_pool_at_once),
        TEST(models_and_vector_spaces_do_not_share_a_batch),
        TEST(one_poison_text_fails_its_own_document_only),
        TEST(one_poison_chunk_fails_the_whole_row),
        TEST(an_unknown_model_is_MODEL_UNKNOWN),
        TEST(another_dimension_is_DIMENSION_MISMATCH),
        TEST(an_impossible_row_is_INVALID_ARGUMENT),
        TEST(a_row_that_has_no_chunks_in_it_is_passed_over),
        TEST(while_the_model_is_missing_rows_are_parked_and_few_look),
        TEST(a_model_that_goes_missing_opens_the_breaker),
        TEST(a_model_that_throttles_pauses_all_its_rows_and_no_others),
        TEST(a_model_that_fails_now_and_then_pauses_nobody),
        TEST(a_collection_of_another_version_waits_without_closing_the_way_for_others),
        TEST(a_text_that_was_embedded_is_not_embedded_again),
        TEST(what_hash_models_make_is_not_kept),
        TEST(another_vector_space_has_its_own_entries),
        TEST(without_a_bound_there_is_no_cache),
        TEST(a_damaged_entry_is_embedded_again),
        TEST(the_cache_forgets_what_nobody_asked_for_and_keeps_within_its_bound),
        TEST(a_new_era_frees_the_places_of_old_rows),
        TEST(a_drain_ends_after_the_batches_that_run),
        TEST(a_process_may_end_in_the_middle),
        TEST(a_long_row_goes_on_where_the_process_ended),
        TEST(the_store_may_fail_at_any_call),
        TEST(the_core_takes_no_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
