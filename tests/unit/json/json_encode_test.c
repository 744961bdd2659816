/* Goal: a message becomes the JSON of the protobuf mapping, and what JSON cannot carry is refused
 * without a trace in the output. */
#include "tests/unit/json/json_support.h"

#include <math.h>
#include <stdio.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "weir/v1/document.pb-c.h"

static void
an_empty_message_is_an_empty_object(void **state)
{
    const Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    assert_encodes(&shapes, NULL, "{}");
    assert_encodes(&shapes, &(weir_json_options){ .pretty = true }, "{}");
}

static void
names_are_lower_camel_case_and_wide_integers_are_strings(void **state)
{
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.an_int32 = INT32_MIN;
    shapes.an_int64 = INT64_MIN;
    shapes.a_fixed64 = UINT64_MAX;
    shapes.a_uint32 = UINT32_MAX;
    assert_encodes(&shapes, NULL,
        "{\"anInt32\":-2147483648,\"anInt64\":\"-9223372036854775808\",\"aUint32\":4294967295,"
        "\"aFixed64\":\"18446744073709551615\"}");
}

static void
reals_are_a_short_text_that_reads_back(void **state)
{
    float floats[] = { 0.1f, 16777216.0f, 1e-45f, -0.0f, 3.4028235e38f };
    double doubles[] = { 0.1, 1e22, 5e-324, 1.7976931348623157e308, 123456789.125 };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.floats = floats;
    shapes.n_floats = 5;
    shapes.doubles = doubles;
    shapes.n_doubles = 5;
    assert_encodes(&shapes, NULL,
        "{\"floats\":[0.1,16777216,1.4013e-45,-0.0,3.4028235e+38],"
        "\"doubles\":[0.1,1e+22,4.94065645841247e-324,1.7976931348623157e+308,123456789.125]}");
}

static void
what_is_no_number_is_a_name(void **state)
{
    float floats[] = { NAN, INFINITY, -INFINITY };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.floats = floats;
    shapes.n_floats = 3;
    assert_encodes(&shapes, NULL, "{\"floats\":[\"NaN\",\"Infinity\",\"-Infinity\"]}");
}

static void
enum_values_are_names_and_unknown_ones_numbers(void **state)
{
    Weir__Test__Colour colours[] = { WEIR__TEST__COLOUR__COLOUR_NEGATIVE, (Weir__Test__Colour)41 };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.colours = colours;
    shapes.n_colours = 2;
    assert_encodes(&shapes, NULL, "{\"colours\":[\"COLOUR_NEGATIVE\",41]}");
}

static void
a_member_of_a_oneof_is_written_even_when_zero(void **state)
{
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.choice_case = WEIR__TEST__SHAPES__CHOICE_CHOSEN_NUMBER;
    assert_encodes(&shapes, NULL, "{\"chosenNumber\":0}");
}

static void
strings_are_escaped(void **state)
{
    Weir__Test__Inner inner = WEIR__TEST__INNER__INIT;

    inner.name = (char *)"a\"\\\n\t\x01 \xC3\xA9 </x>";
    assert_encodes(&inner, NULL, "{\"name\":\"a\\\"\\\\\\n\\t\\u0001 \xC3\xA9 </x>\"}");
}

static void
maps_are_objects(void **state)
{
    Weir__Test__Shapes__DoublesByInt32Entry one = WEIR__TEST__SHAPES__DOUBLES_BY_INT32_ENTRY__INIT;
    Weir__Test__Shapes__DoublesByInt32Entry *doubles[] = { &one };
    Weir__Test__Shapes__BytesByInt64Entry two = WEIR__TEST__SHAPES__BYTES_BY_INT64_ENTRY__INIT;
    Weir__Test__Shapes__BytesByInt64Entry *bytes[] = { &two };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    one.key = -4;
    one.value = 2.5;
    two.key = 1;
    two.value = (ProtobufCBinaryData){ .data = (uint8_t *)"\xFB\xFF", .len = 2 };
    shapes.doubles_by_int32 = doubles;
    shapes.n_doubles_by_int32 = 1;
    shapes.bytes_by_int64 = bytes;
    shapes.n_bytes_by_int64 = 1;
    assert_encodes(&shapes, NULL,
        "{\"doublesByInt32\":{\"-4\":2.5},\"bytesByInt64\":{\"1\":\"+/8=\"}}");
}

static void
only_a_map_is_an_object(void **state)
{
    Weir__Test__PairEntry entry = WEIR__TEST__PAIR_ENTRY__INIT;
    Weir__Test__PairEntry *entries[] = { &entry };
    Weir__Test__Pairs pairs = WEIR__TEST__PAIRS__INIT;

    entry.key = (char *)"k";
    pairs.pair = entries;
    pairs.n_pair = 1;
    assert_encodes(&pairs, NULL, "{\"pair\":[{\"key\":\"k\"}]}");
}

static void
times_have_0_3_6_or_9_digits(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;

    assert_encodes(&time, NULL, "\"1970-01-01T00:00:00Z\"");
    time.seconds = -62135596800;
    time.nanos = 120000000;
    assert_encodes(&time, NULL, "\"0001-01-01T00:00:00.120Z\"");
    time.seconds = 951827696; /* a leap day of a year that 400 divides */
    time.nanos = 1000;
    assert_encodes(&time, NULL, "\"2000-02-29T12:34:56.000001Z\"");
    time.seconds = 253402300799;
    time.nanos = 999999999;
    assert_encodes(&time, NULL, "\"9999-12-31T23:59:59.999999999Z\"");
}

/* Walks every end of February, where calendars go wrong. */
static void
every_year_has_its_own_leap_day_or_none(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    int64_t days = -719162 + 31 + 27; /* 0001-02-28 */

    for (int year = 1; year <= 9999; year++) {
        const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        char expected[40];

        time.seconds = days * 86400;
        (void)snprintf(expected, sizeof expected, "\"%04d-02-28T00:00:00Z\"", year);
        assert_encodes(&time, NULL, expected);
        time.seconds += 86400;
        (void)snprintf(expected, sizeof expected, "\"%04d-%sT00:00:00Z\"", year,
            leap ? "02-29" : "03-01");
        assert_encodes(&time, NULL, expected);
        days += leap ? 366 : 365;
    }
}

static void
durations_have_one_sign(void **state)
{
    Google__Protobuf__Duration span = GOOGLE__PROTOBUF__DURATION__INIT;

    assert_encodes(&span, NULL, "\"0s\"");
    span.nanos = -500000000;
    assert_encodes(&span, NULL, "\"-0.500s\"");
    span.seconds = -3;
    assert_encodes(&span, NULL, "\"-3.500s\"");
}

static void
masks_are_paths_in_lower_camel_case(void **state)
{
    char *paths[] = { (char *)"filter_fields", (char *)"a.b_c" };
    Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;

    assert_encodes(&mask, NULL, "\"\"");
    mask.paths = paths;
    mask.n_paths = 2;
    assert_encodes(&mask, NULL, "\"filterFields,a.bC\"");
}

static void
known_details_are_expanded_and_others_keep_their_bytes(void **state)
{
    Google__Protobuf__Any known = GOOGLE__PROTOBUF__ANY__INIT;
    Google__Protobuf__Any other = GOOGLE__PROTOBUF__ANY__INIT;
    Google__Protobuf__Any *details[] = { &known, &other };
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;

    known.type_url = (char *)"type.googleapis.com/google.rpc.ErrorInfo";
    known.value = (ProtobufCBinaryData){ .data = (uint8_t *)"\x0A\x05"
                                                            "EMPTY",
        .len = 7 };
    other.type_url = (char *)"type.googleapis.com/a.B";
    other.value = (ProtobufCBinaryData){ .data = (uint8_t *)"\x08\x01", .len = 2 };
    status.code = 3;
    status.details = details;
    status.n_details = 2;
    assert_encodes(&status, NULL,
        "{\"code\":3,\"details\":["
        "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"EMPTY\"},"
        "{\"@type\":\"type.googleapis.com/a.B\",\"value\":\"CAE=\"}]}");
}

static void
defaults_are_written_when_asked_for_but_no_absent_message(void **state)
{
    const Weir__Test__Inner inner = WEIR__TEST__INNER__INIT;
    const Weir__V1__IngestDocumentsResponse answer = WEIR__V1__INGEST_DOCUMENTS_RESPONSE__INIT;
    const weir_json_options options = { .emit_defaults = true };

    assert_encodes(&inner, &options, "{\"name\":\"\",\"bigNumber\":\"0\",\"colours\":[]}");
    assert_encodes(&answer, &options,
        "{\"correlationId\":\"\",\"outcome\":\"INGEST_OUTCOME_UNSPECIFIED\","
        "\"collectionCreated\":false}");
}

static void
pretty_text_has_two_spaces_a_level(void **state)
{
    Weir__Test__Inner inner = WEIR__TEST__INNER__INIT;
    Weir__Test__Inner *inners[] = { &inner };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    inner.name = (char *)"x";
    shapes.a_bool = 1;
    shapes.inners = inners;
    shapes.n_inners = 1;
    assert_encodes(&shapes, &(weir_json_options){ .pretty = true },
        "{\n  \"aBool\": true,\n  \"inners\": [\n    {\n      \"name\": \"x\"\n    }\n  ]\n}");
}

static void
assert_not_encoded(const void *message, weir_code expected, const char *field)
{
    weir_buffer out = { 0 };
    weir_error error = { 0 };

    weir_buffer_append(&out, "kept", 4);
    assert_int_equal(weir_json_encode(message, NULL, &out, &error), expected);
    assert_int_equal(error.code, expected);
    assert_string_equal(error.field, field);
    assert_int_equal(out.size, 4);
    weir_buffer_fini(&out);
}

static void
text_that_is_not_utf8_is_invalid_argument(void **state)
{
    Weir__Test__Inner inner = WEIR__TEST__INNER__INIT;
    Weir__Test__Inner *inners[] = { &inner, &inner };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    inner.name = (char *)"\xC3(";
    shapes.inners = inners;
    shapes.n_inners = 2;
    assert_not_encoded(&shapes, WEIR_INVALID_ARGUMENT, "inners[0].name");
}

static void
a_key_that_is_not_utf8_is_invalid_argument(void **state)
{
    Weir__Test__Shapes__StringsByNameEntry entry = WEIR__TEST__SHAPES__STRINGS_BY_NAME_ENTRY__INIT;
    Weir__Test__Shapes__StringsByNameEntry *entries[] = { &entry };
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    entry.key = (char *)"\xFF";
    shapes.strings_by_name = entries;
    shapes.n_strings_by_name = 1;
    assert_not_encoded(&shapes, WEIR_INVALID_ARGUMENT, "strings_by_name");
}

static void
an_instant_outside_four_digit_years_is_invalid_argument(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Weir__Test__Shapes shapes = WEIR__TEST__SHAPES__INIT;

    shapes.time = &time;
    time.seconds = 253402300800;
    assert_not_encoded(&shapes, WEIR_INVALID_ARGUMENT, "time");
    time.seconds = -62135596801;
    assert_not_encoded(&shapes, WEIR_INVALID_ARGUMENT, "time");
    time.seconds = 0;
    time.nanos = 1000000000;
    assert_not_encoded(&shapes, WEIR_INVALID_ARGUMENT, "time");
}

static void
a_duration_of_two_signs_is_invalid_argument(void **state)
{
    Google__Protobuf__Duration span = GOOGLE__PROTOBUF__DURATION__INIT;

    span.seconds = 1;
    span.nanos = -1;
    assert_not_encoded(&span, WEIR_INVALID_ARGUMENT, "");
    span.seconds = 315576000001;
    span.nanos = 0;
    assert_not_encoded(&span, WEIR_INVALID_ARGUMENT, "");
}

static void
a_mask_that_does_not_survive_is_invalid_argument(void **state)
{
    char *lost[] = { (char *)"fooBar", (char *)"foo__bar", (char *)"foo_3", (char *)"a,b" };

    for (size_t at = 0; at < 4; at++) {
        Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;

        mask.paths = &lost[at];
        mask.n_paths = 1;
        assert_not_encoded(&mask, WEIR_INVALID_ARGUMENT, "");
    }
}

static void
a_detail_whose_bytes_are_not_its_type_is_malformed(void **state)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

    any.type_url = (char *)"type.googleapis.com/google.rpc.ErrorInfo";
    any.value = (ProtobufCBinaryData){ .data = (uint8_t *)"\x0A\x05"
                                                          "EM",
        .len = 4 };
    assert_not_encoded(&any, WEIR_MALFORMED_MESSAGE, "");
}

static void
a_plain_string_is_mended_and_escaped(void **state)
{
    weir_buffer out = { 0 };

    weir_json_append_string(&out, weir_bytes_of("a\0\xFF\xC3\xA9\xE2\x82\"", 8));
    weir_buffer_append_u8(&out, 0);
    assert_string_equal((const char *)out.data,
        "\"a\\u0000\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\\\"\"");
    weir_buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_message_is_an_empty_object),
        cmocka_unit_test(names_are_lower_camel_case_and_wide_integers_are_strings),
        cmocka_unit_test(reals_are_a_short_text_that_reads_back),
        cmocka_unit_test(what_is_no_number_is_a_name),
        cmocka_unit_test(enum_values_are_names_and_unknown_ones_numbers),
        cmocka_unit_test(a_member_of_a_oneof_is_written_even_when_zero),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(maps_are_objects),
        cmocka_unit_test(only_a_map_is_an_object),
        cmocka_unit_test(times_have_0_3_6_or_9_digits),
        cmocka_unit_test(every_year_has_its_own_leap_day_or_none),
        cmocka_unit_test(durations_have_one_sign),
        cmocka_unit_test(masks_are_paths_in_lower_camel_case),
        cmocka_unit_test(known_details_are_expanded_and_others_keep_their_bytes),
        cmocka_unit_test(defaults_are_written_when_asked_for_but_no_absent_message),
        cmocka_unit_test(pretty_text_has_two_spaces_a_level),
        cmocka_unit_test(text_that_is_not_utf8_is_invalid_argument),
        cmocka_unit_test(a_key_that_is_not_utf8_is_invalid_argument),
        cmocka_unit_test(an_instant_outside_four_digit_years_is_invalid_argument),
        cmocka_unit_test(a_duration_of_two_signs_is_invalid_argument),
        cmocka_unit_test(a_mask_that_does_not_survive_is_invalid_argument),
        cmocka_unit_test(a_detail_whose_bytes_are_not_its_type_is_malformed),
        cmocka_unit_test(a_plain_string_is_mended_and_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
