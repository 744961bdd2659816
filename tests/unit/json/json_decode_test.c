/* Goal: every form that the protobuf mapping allows is read, and lives in the arena. */
#include "tests/unit/json/json_support.h"

#include <math.h>

#include "google/rpc/status.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"

static int
open_arena(void **state)
{
    *state = weir_arena_create(0);
    return 0;
}

static int
close_arena(void **state)
{
    weir_arena_destroy((weir_arena **)state);
    return 0;
}

static void
both_spellings_of_a_name_are_read(void **state)
{
    const char *const texts[] = { "{\"bigNumber\": \"12\"}", "{\"big_number\": 12}" };

    for (size_t at = 0; at < 2; at++) {
        const Weir__Test__Inner *const inner =
            decode(*state, &weir__test__inner__descriptor, texts[at]);

        assert_int_equal(inner->big_number, 12);
        assert_string_equal(inner->name, "");
    }
}

static void
integers_come_as_numbers_strings_and_whole_reals(void **state)
{
    const Weir__Test__Shapes *const shapes = decode_shapes(*state,
        "{\"anInt32\":\"-5\",\"anInt64\":-9223372036854775808,\"aUint64\":\"18446744073709551615\","
        "\"aUint32\":4.0,\"aSint64\":1e3,\"int64s\":[1,\"2\",3.0]}");

    assert_int_equal(shapes->an_int32, -5);
    assert_true(shapes->an_int64 == INT64_MIN);
    assert_true(shapes->a_uint64 == UINT64_MAX);
    assert_int_equal(shapes->a_uint32, 4);
    assert_int_equal(shapes->a_sint64, 1000);
    assert_int_equal(shapes->n_int64s, 3);
    assert_int_equal(shapes->int64s[1], 2);
}

static void
reals_come_as_numbers_strings_and_names(void **state)
{
    const Weir__Test__Shapes *const shapes = decode_shapes(*state,
        "{\"doubles\":[1,\"2.5\",\"NaN\",\"-Infinity\"],\"floats\":[0.1,\"Infinity\"]}");

    assert_int_equal(shapes->n_doubles, 4);
    assert_true(shapes->doubles[0] == 1 && shapes->doubles[1] == 2.5);
    assert_true(isnan(shapes->doubles[2]) && shapes->doubles[3] == -INFINITY);
    assert_true(shapes->floats[0] == 0.1f && shapes->floats[1] == INFINITY);
}

static void
bytes_come_in_either_alphabet_padded_or_not(void **state)
{
    const Weir__Test__Shapes *const shapes =
        decode_shapes(*state, "{\"byteStrings\":[\"+/8=\",\"-_8\",\"-_8=\",\"\",\"QQ\"]}");

    assert_int_equal(shapes->n_byte_strings, 5);
    for (size_t at = 0; at < 3; at++) {
        assert_int_equal(shapes->byte_strings[at].len, 2);
        assert_memory_equal(shapes->byte_strings[at].data, "\xFB\xFF", 2);
    }
    assert_int_equal(shapes->byte_strings[3].len, 0);
    assert_int_equal(shapes->byte_strings[4].data[0], 'A');
}

static void
enum_values_come_by_name_and_by_number(void **state)
{
    const Weir__Test__Shapes *const shapes =
        decode_shapes(*state, "{\"colours\":[\"COLOUR_NEGATIVE\",2,77]}");

    assert_int_equal(shapes->colours[0], -7);
    assert_int_equal(shapes->colours[1], WEIR__TEST__COLOUR__COLOUR_GREEN);
    assert_int_equal(shapes->colours[2], 77);
}

static void
null_is_a_field_that_is_not_there(void **state)
{
    const Weir__Test__Shapes *const shapes = decode_shapes(*state,
        "{\"aString\":null,\"inner\":null,\"inners\":null,\"stringsByName\":null,\"time\":null,"
        "\"chosenText\":null,\"chosenNumber\":0,\"colour\":null}");

    assert_string_equal(shapes->a_string, "");
    assert_null(shapes->inner);
    assert_null(shapes->time);
    assert_int_equal(shapes->n_inners, 0);
    assert_int_equal(shapes->choice_case, WEIR__TEST__SHAPES__CHOICE_CHOSEN_NUMBER);
}

static void
maps_come_as_objects_with_keys_of_their_type(void **state)
{
    const Weir__Test__Shapes *const shapes = decode_shapes(*state,
        "{\"doublesByInt32\":{\"-4\":2.5,\"9\":1},\"spansByBool\":{\"true\":\"1s\"},"
        "\"innersByName\":{\"\":{\"name\":\"x\"}}}");

    assert_int_equal(shapes->n_doubles_by_int32, 2);
    assert_int_equal(shapes->doubles_by_int32[0]->key, -4);
    assert_true(shapes->doubles_by_int32[1]->value == 1);
    assert_int_equal(shapes->spans_by_bool[0]->key, 1);
    assert_int_equal(shapes->spans_by_bool[0]->value->seconds, 1);
    assert_string_equal(shapes->inners_by_name[0]->key, "");
    assert_string_equal(shapes->inners_by_name[0]->value->name, "x");
}

static void
times_come_with_any_offset_and_fraction(void **state)
{
    const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } rows[] = {
        { "\"1970-01-01T00:00:00Z\"", 0, 0 },
        { "\"2000-02-29T12:34:56.000001Z\"", 951827696, 1000 },
        { "\"1969-12-31T23:59:59.5Z\"", -1, 500000000 },
        { "\"2026-01-31T14:04:56+01:30\"", 1769862896, 0 },
        { "\"2026-01-31T04:34:56.123456789-08:00\"", 1769862896, 123456789 },
        { "\"9999-12-31T23:59:59.999999999Z\"", 253402300799, 999999999 },
        { "\"0001-01-01T00:00:00Z\"", -62135596800, 0 },
    };

    for (size_t at = 0; at < sizeof rows / sizeof rows[0]; at++) {
        const Google__Protobuf__Timestamp *const time =
            decode(*state, &google__protobuf__timestamp__descriptor, rows[at].text);

        assert_true(time->seconds == rows[at].seconds);
        assert_int_equal(time->nanos, rows[at].nanos);
    }
}

static void
durations_come_with_up_to_nine_digits(void **state)
{
    const Google__Protobuf__Duration *span =
        decode(*state, &google__protobuf__duration__descriptor, "\"-0.5s\"");

    assert_int_equal(span->seconds, 0);
    assert_int_equal(span->nanos, -500000000);
    span = decode(*state, &google__protobuf__duration__descriptor, "\"315576000000s\"");
    assert_true(span->seconds == 315576000000);
    span = decode(*state, &google__protobuf__duration__descriptor, "\"3.000000001s\"");
    assert_int_equal(span->nanos, 1);
}

static void
masks_come_as_paths_with_commas(void **state)
{
    const Google__Protobuf__FieldMask *mask =
        decode(*state, &google__protobuf__field_mask__descriptor, "\"filterFields,a.bC\"");

    assert_int_equal(mask->n_paths, 2);
    assert_string_equal(mask->paths[0], "filter_fields");
    assert_string_equal(mask->paths[1], "a.b_c");
    mask = decode(*state, &google__protobuf__field_mask__descriptor, "\"\"");
    assert_int_equal(mask->n_paths, 0);
}

static void
details_come_back_as_they_went(void **state)
{
    const char *const text =
        "{\"code\":8,\"details\":["
        "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"1.500s\"},"
        "{\"@type\":\"type.googleapis.com/a.B\",\"value\":\"CAE=\"},{}]}";
    const Google__Rpc__Status *const status =
        decode(*state, &google__rpc__status__descriptor, text);

    assert_int_equal(status->n_details, 3);
    assert_int_equal(status->details[1]->value.len, 2);
    assert_encodes(status, NULL, text);
}

static void
the_arena_holds_all_that_a_message_needs(void **state)
{
    char text[] = "{\"collectionId\":\"c\",\"text\":\"h\\u00e9\\ud83d\\ude00\",\"metadata\":"
                  "{\"k\":{\"stringList\":{\"values\":[\"a\",\"b\"]}}},\"wait\":\"2s\"}";
    const Weir__V1__IngestDocumentRequest *const request =
        decode(*state, &weir__v1__ingest_document_request__descriptor, text);

    memset(text, 'x', sizeof text);
    assert_string_equal(request->collection_id, "c");
    assert_int_equal(request->body_case, WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT);
    assert_string_equal(request->text, "h\xC3\xA9\xF0\x9F\x98\x80");
    assert_string_equal(request->metadata[0]->value->string_list->values[1], "b");
    assert_int_equal(request->wait->seconds, 2);
}

static void
a_search_by_vector_with_a_bound_is_read(void **state)
{
    const Weir__V1__SearchRequest *const request =
        decode(*state, &weir__v1__search_request__descriptor,
            " {\"vector\" : {\"values\": [0.25, -1]}, \"minScore\": 0, \"topK\": 3}\n");

    assert_int_equal(request->query_case, WEIR__V1__SEARCH_REQUEST__QUERY_VECTOR);
    assert_true(request->vector->values[0] == 0.25f && request->vector->values[1] == -1);
    assert_int_equal(request->score_bound_case, WEIR__V1__SEARCH_REQUEST__SCORE_BOUND_MIN_SCORE);
}

int
main(void)
{
#define IN_ARENA(test_) cmocka_unit_test_setup_teardown(test_, open_arena, close_arena)
    const struct CMUnitTest tests[] = {
        IN_ARENA(both_spellings_of_a_name_are_read),
        IN_ARENA(integers_come_as_numbers_strings_and_whole_reals),
        IN_ARENA(reals_come_as_numbers_strings_and_names),
        IN_ARENA(bytes_come_in_either_alphabet_padded_or_not),
        IN_ARENA(enum_values_come_by_name_and_by_number),
        IN_ARENA(null_is_a_field_that_is_not_there),
        IN_ARENA(maps_come_as_objects_with_keys_of_their_type),
        IN_ARENA(times_come_with_any_offset_and_fraction),
        IN_ARENA(durations_come_with_up_to_nine_digits),
        IN_ARENA(masks_come_as_paths_with_commas),
        IN_ARENA(details_come_back_as_they_went),
        IN_ARENA(the_arena_holds_all_that_a_message_needs),
        IN_ARENA(a_search_by_vector_with_a_bound_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
