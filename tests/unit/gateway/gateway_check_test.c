/*
 * gateway_check_test.c - goal: every request that breaks a rule is refused with the rule's code and
 * the field's path, and none that keeps them.  Method: a good request with one thing changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "common/base/limits.h"
#include "services/gateway/check.h"

static char *
text(const char *borrowed)
{
    return (char *)(uintptr_t)borrowed;
}

/* `size` times the letter a. */
static char *
long_text(size_t size)
{
    static char buffer[(5 << 20) + 1];

    memset(buffer, 'a', size);
    buffer[size] = 0;
    return buffer;
}

static void
assert_refused(weir_code code, const weir_error *error, weir_code wanted, const char *field)
{
    assert_string_equal(weir_code_name(code), weir_code_name(wanted));
    assert_int_equal(error->code, wanted);
    assert_string_equal(error->field, field);
    assert_true(error->message[0] != 0);
}

#define REFUSED(call_, code_, field_)                     \
    do {                                                  \
        weir_error error_ = { .code = WEIR_OK };          \
        weir_error *reterr = &error_;                     \
        const weir_code got_ = (call_);                   \
        assert_refused(got_, &error_, (code_), (field_)); \
    } while (0)
#define TAKEN(call_)                             \
    do {                                         \
        weir_error error_ = { .code = WEIR_OK }; \
        weir_error *reterr = &error_;            \
        if ((call_) != WEIR_OK)                  \
            fail_msg("%s", error_.message);      \
    } while (0)

/* ---- names and numbers ---- */

static void
a_collection_id_is_short_lower_case_and_begins_with_a_letter_or_digit(void **state)
{
    static const char *const good[] = { "a", "0", "a.b_c-d", "docs-2026" };
    static const char *const bad[] = { "", "A", "-a", ".a", "_a", "a b", "a/b", "\xc3\xa4", "a\n" };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        TAKEN(gateway_check_collection_id(good[i], "collection_id", reterr));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        REFUSED(gateway_check_collection_id(bad[i], "collection_id", reterr), WEIR_INVALID_ARGUMENT,
            "collection_id");
    TAKEN(gateway_check_collection_id(long_text(64), "x", reterr));
    REFUSED(gateway_check_collection_id(long_text(65), "x", reterr), WEIR_INVALID_ARGUMENT, "x");
}

static void
a_document_id_has_1_to_512_bytes(void **state)
{
    TAKEN(gateway_check_document_id("/any thing/\xc3\xa4", "document_id", reterr));
    TAKEN(gateway_check_document_id(long_text(512), "document_id", reterr));
    REFUSED(gateway_check_document_id("", "document_id", reterr), WEIR_INVALID_ARGUMENT,
        "document_id");
    REFUSED(gateway_check_document_id(long_text(513), "document_id", reterr), WEIR_INVALID_ARGUMENT,
        "document_id");
}

static void
request_ids_revisions_and_pages_have_bounds(void **state)
{
    uint32_t size = 0;

    TAKEN(gateway_check_request_id(long_text(128), reterr));
    REFUSED(gateway_check_request_id(long_text(129), reterr), WEIR_INVALID_ARGUMENT, "request_id");
    TAKEN(gateway_check_revision(0, reterr));
    REFUSED(gateway_check_revision(-1, reterr), WEIR_INVALID_ARGUMENT, "revision");
    REFUSED(gateway_check_page_size(-1, &size, reterr), WEIR_INVALID_ARGUMENT, "page_size");
    TAKEN(gateway_check_page_size(0, &size, reterr));
    assert_int_equal(size, 50);
    TAKEN(gateway_check_page_size(1000000, &size, reterr));
    assert_int_equal(size, 1000);
    TAKEN(gateway_check_page_size(7, &size, reterr));
    assert_int_equal(size, 7);
}

static void
a_duration_is_not_negative_and_is_cut_at_its_bound(void **state)
{
    Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
    int64_t ms = -1;

    TAKEN(gateway_check_duration(NULL, "wait", 30, 100000, &ms, reterr));
    assert_int_equal(ms, 30);
    TAKEN(gateway_check_duration(&duration, "wait", 30, 100000, &ms, reterr));
    assert_int_equal(ms, 30);
    duration.seconds = 5;
    duration.nanos = 500000001;
    TAKEN(gateway_check_duration(&duration, "wait", 30, 100000, &ms, reterr));
    assert_int_equal(ms, 5501);
    TAKEN(gateway_check_duration(&duration, "wait", 30, 1000, &ms, reterr));
    assert_int_equal(ms, 1000);
    duration.seconds = -1;
    REFUSED(gateway_check_duration(&duration, "wait", 0, 1000, &ms, reterr), WEIR_INVALID_ARGUMENT,
        "wait");
    duration.seconds = 0;
    duration.nanos = -1;
    REFUSED(gateway_check_duration(&duration, "wait", 0, 1000, &ms, reterr), WEIR_INVALID_ARGUMENT,
        "wait");
    duration.seconds = INT64_MAX;
    duration.nanos = 0;
    REFUSED(gateway_check_duration(&duration, "wait", 0, 1000, &ms, reterr), WEIR_INVALID_ARGUMENT,
        "wait");
}

static void
a_media_type_is_one_that_can_be_read(void **state)
{
    static const char *const good[] = { "", "text/plain", "Text/Markdown",
        "text/html; charset=latin-1", "text/plain;charset=utf-8", "application/octet-stream" };
    static const char *const malformed[] = { "text", "/plain", "text/", "text plain",
        "text/plain charset\x01", "text/pl\xc3\xa4in" };
    static const char *const unknown[] = { "application/pdf", "image/png", "text/plainer" };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        TAKEN(gateway_check_media_type(good[i], reterr));
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        weir_error error = { .code = WEIR_OK };

        if (i != 4) /* what follows the type is the reader's affair */
            assert_int_equal(gateway_check_media_type(malformed[i], &error), WEIR_INVALID_ARGUMENT);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        REFUSED(gateway_check_media_type(unknown[i], reterr), WEIR_MEDIA_TYPE_UNSUPPORTED,
            "media_type");
    REFUSED(gateway_check_media_type(long_text(129), reterr), WEIR_INVALID_ARGUMENT, "media_type");
}

/* ---- ingest ---- */

static Weir__V1__IngestDocumentRequest
good_ingest(void)
{
    Weir__V1__IngestDocumentRequest request = WEIR__V1__INGEST_DOCUMENT_REQUEST__INIT;

    request.collection_id = text("c");
    request.body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request.text = text("hello");
    return request;
}

static void
a_good_ingest_is_taken(void **state)
{
    const Weir__V1__IngestDocumentRequest request = good_ingest();

    TAKEN(gateway_check_ingest(&request, reterr));
}

static void
a_body_is_there_and_at_most_4_mib(void **state)
{
    Weir__V1__IngestDocumentRequest request = good_ingest();

    request.text = text("");
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_BODY_EMPTY, "text");
    request.body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY__NOT_SET;
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_BODY_EMPTY, "data");
    request.body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
    request.text = long_text(4 << 20);
    TAKEN(gateway_check_ingest(&request, reterr));
    request.text = long_text((4 << 20) + 1);
    weir_error error;
    assert_int_equal(gateway_check_ingest(&request, &error), WEIR_BODY_TOO_LARGE);
    assert_non_null(strstr(error.message, "UploadDocument"));
}

static void
every_field_of_an_ingest_has_its_bound(void **state)
{
    Weir__V1__IngestDocumentRequest request = good_ingest();

    request.collection_id = text("C");
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "collection_id");
    request = good_ingest();
    request.document_id = long_text(513);
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "document_id");
    request = good_ingest();
    request.filename = long_text(1025);
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "filename");
    request = good_ingest();
    request.request_id = long_text(129);
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "request_id");
    request = good_ingest();
    request.source_version = -1;
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "source_version");
    request = good_ingest();
    request.media_type = text("application/pdf");
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_MEDIA_TYPE_UNSUPPORTED, "media_type");
}

typedef Weir__V1__IngestDocumentRequest__MetadataEntry metadata_entry;

static void
check_one_metadata(metadata_entry *entry, const char *field)
{
    Weir__V1__IngestDocumentRequest request = good_ingest();

    request.metadata = &entry;
    request.n_metadata = 1;
    if (field == NULL)
        TAKEN(gateway_check_ingest(&request, reterr));
    else
        REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, field);
}

static void
metadata_is_bounded_and_every_value_is_one(void **state)
{
    metadata_entry entry = WEIR__V1__INGEST_DOCUMENT_REQUEST__METADATA_ENTRY__INIT;
    Weir__V1__MetadataValue value = WEIR__V1__METADATA_VALUE__INIT;
    metadata_entry *many[65];
    Weir__V1__IngestDocumentRequest request = good_ingest();

    entry.key = text("author");
    entry.value = &value;
    check_one_metadata(&entry, "metadata[\"author\"]"); /* no value is set */
    value.value_case = WEIR__V1__METADATA_VALUE__VALUE_NUMBER_VALUE;
    value.number_value = 1.5;
    check_one_metadata(&entry, NULL);
    value.number_value = NAN;
    check_one_metadata(&entry, "metadata[\"author\"]");
    value.value_case = WEIR__V1__METADATA_VALUE__VALUE_STRING_VALUE;
    value.string_value = text("x");
    entry.key = text("");
    check_one_metadata(&entry, "metadata");
    entry.key = long_text(65);
    check_one_metadata(&entry, "metadata");
    entry.key = text("k");
    value.string_value = long_text(17 << 10);
    check_one_metadata(&entry, "metadata");
    value.string_value = text("x");
    for (size_t i = 0; i < 65; i++)
        many[i] = &entry;
    request.metadata = many;
    request.n_metadata = 64;
    TAKEN(gateway_check_ingest(&request, reterr));
    request.n_metadata = 65;
    REFUSED(gateway_check_ingest(&request, reterr), WEIR_INVALID_ARGUMENT, "metadata");
}

/* ---- search ---- */

static Weir__V1__SearchRequest
good_search(void)
{
    Weir__V1__SearchRequest request = WEIR__V1__SEARCH_REQUEST__INIT;

    request.collection_id = text("c");
    request.query_case = WEIR__V1__SEARCH_REQUEST__QUERY_TEXT;
    request.text = text("how");
    return request;
}

static void
a_search_asks_something_within_bounds(void **state)
{
    Weir__V1__SearchRequest request = good_search();

    TAKEN(gateway_check_search(&request, reterr));
    request.text = text("");
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "text");
    request.text = long_text(8193);
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "text");
    request.query_case = WEIR__V1__SEARCH_REQUEST__QUERY__NOT_SET;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "query");
    request = good_search();
    request.top_k = -1;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "top_k");
    request.top_k = 1001;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "top_k");
    request = good_search();
    request.max_hits_per_document = -1;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "max_hits_per_document");
    request = good_search();
    request.neighbor_chunks = 6;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "neighbor_chunks");
    request = good_search();
    request.score_bound_case = WEIR__V1__SEARCH_REQUEST__SCORE_BOUND_MIN_SCORE;
    request.min_score = NAN;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "min_score");
}

static void
a_query_vector_is_finite_and_has_a_direction(void **state)
{
    float values[3] = { 0, 1, 0 };
    Weir__V1__Vector vector = WEIR__V1__VECTOR__INIT;
    Weir__V1__SearchRequest request = good_search();

    vector.values = values;
    vector.n_values = 3;
    request.query_case = WEIR__V1__SEARCH_REQUEST__QUERY_VECTOR;
    request.vector = &vector;
    TAKEN(gateway_check_search(&request, reterr));
    values[1] = NAN;
    REFUSED(gateway_check_search(&request, reterr), WEIR_VECTOR_INVALID, "vector.values");
    values[1] = INFINITY;
    REFUSED(gateway_check_search(&request, reterr), WEIR_VECTOR_INVALID, "vector.values");
    values[1] = 0;
    REFUSED(gateway_check_search(&request, reterr), WEIR_VECTOR_INVALID, "vector.values");
}

static void
modes_that_this_version_lacks_are_unimplemented(void **state)
{
    Weir__V1__SearchRequest request = good_search();

    request.mode = WEIR__V1__SEARCH_MODE__SEARCH_MODE_VECTOR;
    TAKEN(gateway_check_search(&request, reterr));
    request.mode = WEIR__V1__SEARCH_MODE__SEARCH_MODE_HYBRID;
    REFUSED(gateway_check_search(&request, reterr), WEIR_UNIMPLEMENTED, "mode");
    request.mode = (Weir__V1__SearchMode)77;
    REFUSED(gateway_check_search(&request, reterr), WEIR_INVALID_ARGUMENT, "mode");
}

/* ---- collections ---- */

static void
a_collection_to_be_made_has_known_values(void **state)
{
    Weir__V1__CreateCollectionRequest request = WEIR__V1__CREATE_COLLECTION_REQUEST__INIT;
    Weir__V1__Collection wanted = WEIR__V1__COLLECTION__INIT;
    Weir__V1__FilterField field = WEIR__V1__FILTER_FIELD__INIT;
    Weir__V1__FilterField *fields[2] = { &field, &field };

    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT, "collection");
    request.collection = &wanted;
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.collection_id");
    wanted.collection_id = text("c");
    TAKEN(gateway_check_create_collection(&request, reterr));
    wanted.metric = text("l2");
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.metric");
    wanted.metric = text("cosine");
    wanted.dimension = -1;
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.dimension");
    wanted.dimension = 0;
    wanted.filter_fields = fields;
    wanted.n_filter_fields = 1;
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.filter_fields.name");
    field.name = text("year");
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.filter_fields.kind");
    field.kind = WEIR__V1__FILTER_FIELD_KIND__FILTER_FIELD_KIND_NUMBER;
    TAKEN(gateway_check_create_collection(&request, reterr));
    wanted.n_filter_fields = 2;
    REFUSED(gateway_check_create_collection(&request, reterr), WEIR_INVALID_ARGUMENT,
        "collection.filter_fields.name");
}

/* ---- hashes ---- */

static weir_sha256_sum
settings_of(const Weir__V1__IngestDocumentRequest *request)
{
    const weir_sha256_sum content = weir_sha256(gateway_body_of(request));

    return gateway_hash_settings(request, &content);
}

static bool
same(weir_sha256_sum a, weir_sha256_sum b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

static void
settings_are_the_same_whatever_the_order_of_the_metadata(void **state)
{
    Weir__V1__MetadataValue value = WEIR__V1__METADATA_VALUE__INIT;
    metadata_entry a = WEIR__V1__INGEST_DOCUMENT_REQUEST__METADATA_ENTRY__INIT;
    metadata_entry b = WEIR__V1__INGEST_DOCUMENT_REQUEST__METADATA_ENTRY__INIT;
    metadata_entry *forward[] = { &a, &b };
    metadata_entry *backward[] = { &b, &a };
    Weir__V1__IngestDocumentRequest first = good_ingest();
    Weir__V1__IngestDocumentRequest second = good_ingest();

    value.value_case = WEIR__V1__METADATA_VALUE__VALUE_STRING_VALUE;
    value.string_value = text("x");
    a.key = text("a");
    b.key = text("b");
    a.value = b.value = &value;
    first.metadata = forward;
    second.metadata = backward;
    first.n_metadata = second.n_metadata = 2;
    assert_true(same(settings_of(&first), settings_of(&second)));
    second.n_metadata = 1;
    assert_false(same(settings_of(&first), settings_of(&second)));
}

static void
settings_and_payload_differ_by_what_they_hold(void **state)
{
    const Weir__V1__IngestDocumentRequest base = good_ingest();
    Weir__V1__IngestDocumentRequest other = base;
    const weir_sha256_sum settings = settings_of(&base);

    other.request_id = text("r");
    assert_true(same(settings_of(&other), settings));
    assert_true(same(gateway_hash_ingest(&other, &settings),
        gateway_hash_ingest(&base, &settings)));
    other.document_id = text("d");
    assert_true(same(settings_of(&other), settings));
    assert_false(same(gateway_hash_ingest(&other, &settings),
        gateway_hash_ingest(&base, &settings)));
    other = base;
    other.filename = text("f.md");
    assert_false(same(settings_of(&other), settings));
    other = base;
    other.media_type = text("text/html");
    assert_false(same(settings_of(&other), settings));
    other = base;
    other.force = true;
    assert_false(same(gateway_hash_ingest(&other, &settings),
        gateway_hash_ingest(&base, &settings)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collection_id_is_short_lower_case_and_begins_with_a_letter_or_digit),
        cmocka_unit_test(a_document_id_has_1_to_512_bytes),
        cmocka_unit_test(request_ids_revisions_and_pages_have_bounds),
        cmocka_unit_test(a_duration_is_not_negative_and_is_cut_at_its_bound),
        cmocka_unit_test(a_media_type_is_one_that_can_be_read),
        cmocka_unit_test(a_good_ingest_is_taken),
        cmocka_unit_test(a_body_is_there_and_at_most_4_mib),
        cmocka_unit_test(every_field_of_an_ingest_has_its_bound),
        cmocka_unit_test(metadata_is_bounded_and_every_value_is_one),
        cmocka_unit_test(a_search_asks_something_within_bounds),
        cmocka_unit_test(a_query_vector_is_finite_and_has_a_direction),
        cmocka_unit_test(modes_that_this_version_lacks_are_unimplemented),
        cmocka_unit_test(a_collection_to_be_made_has_known_values),
        cmocka_unit_test(settings_are_the_same_whatever_the_order_of_the_metadata),
        cmocka_unit_test(settings_and_payload_differ_by_what_they_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
