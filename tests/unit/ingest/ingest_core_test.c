/*
 * ingest_core_test.c - documents to rows of chunks, through the real parser and chunker, in a stage
 * without threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "services/ingest/core.h"
#include "tests/unit/stage/rig.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent event_message;

#define OUT WEIR_LINK_INGEST_EMBEDDER
#define CHUNKED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_CHUNKED
#define DEFERRED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_DEFERRED
#define FAILED WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED

/* The gateway as the jobs see it. */
static struct {
    weir_code answer; /* WEIR_OK: body */
    const char *body;
    unsigned reads;
    unsigned waited, attempted, worked;
    int busy, busiest;
    uint32_t chunks_max;
    uint64_t text_bytes_max;
    bool no_reader;
} gateway;

static weir_code
read_source(void *ud, const row_message *row, weir_buffer *out, weir_error *reterr)
{
    gateway.reads++;
    if (gateway.answer != WEIR_OK)
        return weir_error_set(reterr, gateway.answer, "the gateway says so");
    weir_buffer_append(out, gateway.body, strlen(gateway.body));
    return WEIR_OK;
}

static void
waited(void *ud, int64_t wait_ms)
{
    gateway.waited++;
}

static void
attempted(void *ud, weir_code result)
{
    gateway.attempted++;
}

static void
worked(void *ud, int64_t work_us)
{
    gateway.worked++;
}

static void
busy(void *ud, int by)
{
    gateway.busy += by;
    if (gateway.busy > gateway.busiest)
        gateway.busiest = gateway.busy;
}

static void *
create(void *ud, weir_store *store)
{
    const ingest_options options = { .policy = { .attempts_max = 5,
                                         .crashes_max = 3,
                                         .backoff_base_ms = 500,
                                         .backoff_max_ms = 60000,
                                         .defer_after_ms = 2000,
                                         .in_flight_max = 8 },
        .model_dir = "/nonexistent",
        .chunks_max = gateway.chunks_max,
        .text_bytes_max = gateway.text_bytes_max,
        .read_source = gateway.no_reader ? NULL : read_source,
        .observer = { .waited = waited, .attempted = attempted, .worked = worked, .busy = busy } };

    return ingest_core_create(&options);
}

static void
destroy(void *core)
{
    ingest_core *ingest = core;

    ingest_core_destroy(&ingest);
}

static rig r;

static int
set_up(void **state)
{
    static const rig_options options = { .service = WEIR_SERVICE_INGEST,
        .in = WEIR_LINK_GATEWAY_INGEST,
        .ops = &ingest_core_ops,
        .core_create = create,
        .core_destroy = destroy };

    memset(&gateway, 0, sizeof gateway);
    rig_init(&r, &options, 3);
    return 0;
}

static int
tear_down(void **state)
{
    rig_fini(&r);
    return 0;
}

typedef struct sent {
    const char *id;
    const char *body;
    size_t size; /* 0: of the text */
    const char *media_type, *filename, *model;
    bool by_reference, gone, wrong_hash, no_spec;
    uint32_t max_tokens;
    int64_t revision, epoch, deleted_below;
} sent;

static void
send(sent s)
{
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;
    Weir__Internal__V1__EmbedSpec spec = WEIR__INTERNAL__V1__EMBED_SPEC__INIT;
    Weir__Internal__V1__MetadataEntry entry = WEIR__INTERNAL__V1__METADATA_ENTRY__INIT;
    Weir__Internal__V1__MetadataEntry *entries[] = { &entry };
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    const char *body = s.body != NULL ? s.body : "";
    const size_t size = s.size > 0 ? s.size : strlen(body);
    weir_sha256_sum sum = weir_sha256(weir_bytes_of(body, size));

    spec.model = (char *)(uintptr_t)(s.model != NULL ? s.model : "hash-64");
    spec.fingerprint = "print";
    spec.dimension = 64;
    spec.max_tokens = s.max_tokens > 0 ? s.max_tokens : 64;
    spec.overlap_tokens = spec.max_tokens / 8;
    entry.key = "author";
    sum.bytes[0] ^= s.wrong_hash ? 1 : 0;
    document.spec = s.no_spec ? NULL : &spec;
    document.by_reference = s.by_reference;
    document.source_gone = s.gone;
    document.size_bytes = size;
    document.content_sha256.data = sum.bytes;
    document.content_sha256.len = sizeof sum.bytes;
    document.media_type = (char *)(uintptr_t)(s.media_type != NULL ? s.media_type : "");
    document.filename = (char *)(uintptr_t)(s.filename != NULL ? s.filename : "");
    document.n_metadata = 1;
    document.metadata = entries;
    if (!s.by_reference && !s.gone) {
        document.body.data = (uint8_t *)(uintptr_t)body;
        document.body.len = size;
    }
    row.tenant = "acme";
    row.collection_no = 7;
    row.document_id = (char *)(uintptr_t)(s.id != NULL ? s.id : "d");
    row.revision = s.revision == 0 ? 1 : s.revision;
    row.epoch = s.epoch == 0 ? 1 : s.epoch;
    row.deleted_below = s.deleted_below;
    row.traceparent = "00-trace";
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    rig_send(&r, &row);
}

#define SEND(...) send((sent){ __VA_ARGS__ })

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
expect_failure(weir_code code)
{
    const event_message *event = NULL;

    assert_int_equal(rig_events(&r, FAILED, "", &event), 1);
    if (event->failure->code != (uint32_t)code)
        fail_msg("%s: %s", weir_code_name((weir_code)event->failure->code),
            event->failure->message);
    assert_int_equal(event->failure->stage, 2);
    assert_int_equal(event->failure->attempt_count, 1);
    assert_int_equal(rig_count(&r, OUT), 0);
    assert_int_equal(rig_settled(&r), 1);
    assert_int_equal(rig_keys(&r, 'd'), 0);
}

static char *
many_words(size_t words)
{
    weir_buffer text = { 0 };

    for (size_t i = 0; i < words; i++) {
        char word[32];

        snprintf(word, sizeof word, "word%zu%s", i, i % 10 == 9 ? ". " : " ");
        weir_buffer_append(&text, word, strlen(word));
    }
    weir_buffer_append_u8(&text, 0);
    return (char *)text.data;
}

/* ---- documents that work ---- */

static void
a_document_becomes_rows_that_tell_everything_about_it(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("d", "# Ships\n\nThey float on water.\n\n## Sails\n\nWind moves them.\n",
        .filename = "a.md", .revision = 4, .epoch = 2, .deleted_below = 3);
    r.now_ms += 100;
    run();
    const row_message *row = rig_out(&r, OUT, 0);
    assert_non_null(row);
    assert_string_equal(row->tenant, "acme");
    assert_int_equal(row->collection_no, 7);
    assert_string_equal(row->document_id, "d");
    assert_int_equal(row->revision, 4);
    assert_int_equal(row->epoch, 2);
    assert_int_equal(row->deleted_below, 3);
    assert_int_equal(row->era, 1);
    assert_string_equal(row->traceparent, "00-trace");
    assert_int_equal(row->handed_over_ms, r.now_ms);
    assert_int_equal(row->payload_case, WEIR__INTERNAL__V1__ROW__PAYLOAD_CHUNKS);
    assert_string_equal(row->chunks->spec->model, "hash-64");
    assert_int_equal(row->chunks->spec->dimension, 64);
    assert_string_equal(row->chunks->title, "Ships");
    assert_string_equal(row->chunks->media_type, "text/markdown");
    assert_int_equal(row->chunks->n_metadata, 1);
    assert_string_equal(row->chunks->metadata[0]->key, "author");
    assert_int_equal(row->chunks->chunk_count, row->chunks->n_chunks);
    assert_true(row->chunks->token_count > 5);
    const Weir__Internal__V1__Chunk *last = row->chunks->chunks[row->chunks->n_chunks - 1];
    assert_int_equal(last->ordinal, row->chunks->n_chunks - 1);
    assert_non_null(strstr(last->text, "Wind moves them."));
    assert_int_equal(last->end_byte - last->start_byte, strlen(last->text));
    assert_true(last->n_heading_path >= 1);
    assert_true(last->token_count > 0);
    assert_int_equal(rig_events(&r, CHUNKED, "d", &event), 1);
    assert_int_equal(event->chunk_count, row->chunks->chunk_count);
    assert_int_equal(event->token_count, row->chunks->token_count);
    assert_int_equal(event->revision, 4);
    assert_int_equal(event->epoch, 2);
    assert_int_equal(event->stage, 2);
    assert_int_equal(rig_settled(&r), 1);
    assert_int_equal(gateway.worked, 1);
    assert_int_equal(gateway.waited, 1);
    assert_int_equal(gateway.attempted, 1);
    assert_int_equal(gateway.busy, 0);
    assert_int_equal(gateway.busiest, 1);
}

static void
a_large_document_becomes_rows_of_64_chunks_and_the_last_says_how_many(void **state)
{
    char *text = many_words(3000);
    const event_message *event = NULL;
    uint32_t ordinal = 0;

    start();
    SEND("d", text, .max_tokens = 16);
    run();
    const size_t rows = rig_count(&r, OUT);
    assert_true(rows > 2);
    for (size_t i = 0; i < rows; i++) {
        const Weir__Internal__V1__ChunksRow *chunks = rig_out(&r, OUT, i)->chunks;

        assert_int_equal(chunks->chunks[0]->ordinal, ordinal);
        ordinal += (uint32_t)chunks->n_chunks;
        assert_string_equal(chunks->spec->model, "hash-64");
        assert_string_equal(chunks->media_type, "text/plain");
        if (i + 1 < rows) {
            assert_int_equal(chunks->n_chunks, WEIR_CHUNKS_PER_ROW_MAX);
            assert_int_equal(chunks->chunk_count, 0);
        } else {
            assert_int_equal(chunks->chunk_count, ordinal);
        }
    }
    assert_int_equal(rig_events(&r, CHUNKED, "d", &event), 1);
    assert_int_equal(event->chunk_count, ordinal);
    weir_free(text);
}

static void
send_sections(weir_buffer *text, int count, int64_t revision)
{
    for (int i = 0; i < count; i++)
        weir_buffer_append(text, "# H\n\na b c d e f g h i j\n\n", 25);
    send((sent){ .body = (const char *)text->data,
        .size = text->size,
        .filename = "a.md",
        .max_tokens = 16,
        .revision = revision });
    run();
}

static void
a_row_is_full_at_64_chunks(void **state)
{
    weir_buffer text = { 0 };

    start();
    send_sections(&text, WEIR_CHUNKS_PER_ROW_MAX, 1);
    assert_int_equal(rig_count(&r, OUT), 1);
    assert_int_equal(rig_out(&r, OUT, 0)->chunks->n_chunks, WEIR_CHUNKS_PER_ROW_MAX);
    assert_int_equal(rig_out(&r, OUT, 0)->chunks->chunk_count, WEIR_CHUNKS_PER_ROW_MAX);
    send_sections(&text, 1, 2);
    assert_int_equal(rig_count(&r, OUT), 3);
    assert_int_equal(rig_out(&r, OUT, 1)->chunks->n_chunks, WEIR_CHUNKS_PER_ROW_MAX);
    assert_int_equal(rig_out(&r, OUT, 2)->chunks->n_chunks, 1);
    assert_int_equal(rig_out(&r, OUT, 2)->chunks->chunk_count, WEIR_CHUNKS_PER_ROW_MAX + 1);
    weir_buffer_fini(&text);
}

static void
a_body_by_reference_is_read_from_the_gateway(void **state)
{
    gateway.body = "A long body.";
    start();
    SEND("d", "A long body.", .by_reference = true);
    run();
    assert_int_equal(gateway.reads, 1);
    assert_int_equal(rig_count(&r, OUT), 1);
    assert_string_equal(rig_out(&r, OUT, 0)->chunks->chunks[0]->text, "A long body.");
}

/* ---- documents that are gone ---- */

static void
a_purged_source_settles_without_work_or_event(void **state)
{
    start();
    SEND("d", .gone = true);
    gateway.answer = WEIR_DOCUMENT_NOT_FOUND;
    SEND("e", "text", .by_reference = true);
    gateway.answer = WEIR_DOCUMENT_NOT_FOUND;
    run();
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(rig_count(&r, OUT), 0);
    assert_int_equal(rig_count(&r, WEIR_LINK_INGEST_RECONCILER), 0);
    assert_int_equal(gateway.reads, 1);
}

/* ---- documents that fail ---- */

static void
a_document_without_text_is_EMPTY(void **state)
{
    start();
    SEND("d", "<html><body><script>x</script></body></html>", .media_type = "text/html");
    run();
    expect_failure(WEIR_EMPTY);
}

static void
an_unknown_media_type_is_MEDIA_TYPE_UNSUPPORTED(void **state)
{
    start();
    SEND("d", "%PDF-1.4", .media_type = "application/pdf");
    run();
    expect_failure(WEIR_MEDIA_TYPE_UNSUPPORTED);
}

static void
nesting_without_end_is_PARSE_FAILED(void **state)
{
    weir_buffer html = { 0 };

    for (int i = 0; i < 2000; i++)
        weir_buffer_append(&html, "<div>", 5);
    weir_buffer_append(&html, "x", 1);
    start();
    send((sent){ .body = (const char *)html.data, .size = html.size, .media_type = "text/html" });
    run();
    expect_failure(WEIR_PARSE_FAILED);
    weir_buffer_fini(&html);
}

static void
more_chunks_than_allowed_are_TOO_MANY_CHUNKS(void **state)
{
    char *text = many_words(500);

    gateway.chunks_max = 3;
    start();
    SEND("d", text, .max_tokens = 16);
    run();
    expect_failure(WEIR_TOO_MANY_CHUNKS);
    weir_free(text);
}

static void
more_text_than_allowed_is_BODY_TOO_LARGE(void **state)
{
    gateway.text_bytes_max = 10;
    start();
    SEND("d", "eleven bytes and more");
    run();
    expect_failure(WEIR_BODY_TOO_LARGE);
}

static void
another_body_than_the_accepted_one_is_CORRUPT(void **state)
{
    start();
    SEND("d", "text", .wrong_hash = true);
    run();
    expect_failure(WEIR_CORRUPT);
}

static void
an_unknown_model_is_MODEL_UNKNOWN(void **state)
{
    start();
    SEND("d", "text", .model = "word2vec");
    run();
    expect_failure(WEIR_MODEL_UNKNOWN);
}

static void
an_impossible_chunking_is_INVALID_ARGUMENT(void **state)
{
    start();
    SEND("d", "text", .max_tokens = 9);
    run();
    expect_failure(WEIR_INVALID_ARGUMENT);
}

static void
a_row_without_a_spec_is_INVALID_ARGUMENT(void **state)
{
    start();
    SEND("d", "text", .no_spec = true);
    run();
    expect_failure(WEIR_INVALID_ARGUMENT);
}

static void
a_row_that_is_no_document_is_passed_over(void **state)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;

    start();
    row.document_id = "d";
    row.collection_no = 1;
    row.revision = 1;
    rig_send(&r, &row);
    SEND("e", "text");
    run();
    assert_int_equal(rig_settled(&r), 2);
    assert_int_equal(rig_count(&r, OUT), 1);
}

static void
poison_fails_alone(void **state)
{
    start();
    for (int i = 0; i < 50; i++) {
        char id[8];

        snprintf(id, sizeof id, "d%d", i);
        SEND(id, i % 10 == 3 ? "<p></p>" : "Some words.", .media_type = "text/html");
    }
    run();
    assert_int_equal(rig_count(&r, OUT), 45);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 5);
    assert_int_equal(rig_events(&r, CHUNKED, "", NULL), 45);
    assert_int_equal(rig_settled(&r), 50);
}

/* ---- outages and retries ---- */

static void
while_the_gateway_is_away_documents_wait_and_spend_no_attempt(void **state)
{
    const event_message *event = NULL;

    gateway.answer = WEIR_SERVICE_UNAVAILABLE;
    gateway.body = "A long body.";
    start();
    SEND("d", "A long body.", .by_reference = true);
    SEND("e", "short");
    run();
    assert_int_equal(rig_count(&r, OUT), 1);
    assert_int_equal(rig_events(&r, DEFERRED, "d", &event), 1);
    assert_int_equal(event->failure->code, WEIR_SERVICE_UNAVAILABLE);
    assert_int_equal(event->failure->attempt_count, 0);
    assert_int_equal(rig_counts(&r).parked, 1);
    RIG_OK(rig_run_for(&r, 600000, error));
    gateway.answer = WEIR_OK;
    RIG_OK(rig_run_for(&r, 60000, error));
    assert_int_equal(rig_count(&r, OUT), 2);
    assert_int_equal(rig_events(&r, FAILED, "", NULL), 0);
}

static void
a_read_that_takes_too_long_is_tried_again_and_given_up(void **state)
{
    const event_message *event = NULL;

    gateway.answer = WEIR_TIMEOUT;
    start();
    SEND("d", "A long body.", .by_reference = true);
    RIG_OK(rig_run_for(&r, 600000, error));
    assert_int_equal(gateway.reads, 5);
    assert_int_equal(rig_events(&r, DEFERRED, "d", NULL), 4);
    assert_int_equal(rig_events(&r, FAILED, "d", &event), 1);
    assert_int_equal(event->failure->code, WEIR_TIMEOUT);
}

static void
a_model_whose_files_are_missing_is_waited_for(void **state)
{
    const event_message *event = NULL;

    start();
    SEND("d", "text", .model = "all-minilm-l6-v2");
    run();
    assert_int_equal(rig_events(&r, DEFERRED, "d", &event), 1);
    assert_int_equal(event->failure->code, WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(rig_counts(&r).parked, 1);
}

static void
without_a_reader_bodies_by_reference_wait(void **state)
{
    gateway.no_reader = true;
    start();
    SEND("d", "text", .by_reference = true);
    run();
    assert_int_equal(rig_counts(&r).parked, 1);
}

/* ---- crashes ---- */

/* The same documents, the same chunks, whichever call of the store fails. */
static void
the_store_may_fail_at_any_call(void **state)
{
    char *text = many_words(400);

    for (uint32_t n = 1;; n++) {
        weir_error failure;

        tear_down(NULL);
        set_up(NULL);
        r.rng.state = n;
        weir_store_mem_fail_after(r.store, n);
        SEND("a", "First.");
        SEND("large", text, .max_tokens = 16);
        SEND("empty", "<p></p>", .media_type = "text/html");
        SEND("b", "Last.");
        for (;;) {
            weir_code code = r.stage == NULL ? rig_start(&r, &failure) : WEIR_OK;
            if (code == WEIR_OK)
                code = rig_run_for(&r, 30000, &failure);
            if (code == WEIR_OK)
                break;
            assert_int_equal(code, WEIR_STORE_IO);
            rig_crash(&r);
        }
        assert_int_equal(rig_settled(&r), 4);
        assert_int_equal(rig_count(&r, OUT), 3);
        assert_int_equal(rig_events(&r, CHUNKED, "", NULL), 3);
        assert_int_equal(rig_events(&r, FAILED, "empty", NULL), 1);
        assert_int_equal(rig_keys(&r, 'd'), 0);
        if (r.starts == 1) {
            assert_true(n > 10);
            break;
        }
    }
    weir_free(text);
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
        TEST(a_document_becomes_rows_that_tell_everything_about_it),
        TEST(a_large_document_becomes_rows_of_64_chunks_and_the_last_says_how_many),
        TEST(a_row_is_full_at_64_chunks),
        TEST(a_body_by_reference_is_read_from_the_gateway),
        TEST(a_purged_source_settles_without_work_or_event),
        TEST(a_document_without_text_is_EMPTY),
        TEST(an_unknown_media_type_is_MEDIA_TYPE_UNSUPPORTED),
        TEST(nesting_without_end_is_PARSE_FAILED),
        TEST(more_chunks_than_allowed_are_TOO_MANY_CHUNKS),
        TEST(more_text_than_allowed_is_BODY_TOO_LARGE),
        TEST(another_body_than_the_accepted_one_is_CORRUPT),
        TEST(an_unknown_model_is_MODEL_UNKNOWN),
        TEST(an_impossible_chunking_is_INVALID_ARGUMENT),
        TEST(a_row_without_a_spec_is_INVALID_ARGUMENT),
        TEST(a_row_that_is_no_document_is_passed_over),
        TEST(poison_fails_alone),
        TEST(while_the_gateway_is_away_documents_wait_and_spend_no_attempt),
        TEST(a_read_that_takes_too_long_is_tried_again_and_given_up),
        TEST(a_model_whose_files_are_missing_is_waited_for),
        TEST(without_a_reader_bodies_by_reference_wait),
        TEST(the_store_may_fail_at_any_call),
        TEST(the_core_takes_no_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
