/* Goal: every wrong input has its code, its field and its place, and bounded cost. */
#include "tests/unit/json/json_support.h"

#include "common/base/limits.h"
#include "common/base/random.h"
#include "google/rpc/status.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"

#define SHAPES (&weir__test__shapes__descriptor)

static void
an_unknown_field_names_its_path_its_place_and_the_nearest_name(void **state)
{
    assert_refused(&weir__v1__get_document_request__descriptor,
        "{\n  \"collection_id\": \"c\",\n  \"documentid\": \"d\"\n}", WEIR_INVALID_ARGUMENT,
        "documentid",
        "line 3, column 3: documentid: unknown field of "
        "weir.v1.GetDocumentRequest; perhaps documentId?");
    assert_refused(SHAPES, "{\"inners\":[{},{\"nmae\":1}]}", WEIR_INVALID_ARGUMENT,
        "inners[1].nmae", "line 1, column 16: ");
    assert_refused(SHAPES, "{\"inner\":{\"utterlyForeign\":1}}", WEIR_INVALID_ARGUMENT,
        "inner.utterlyForeign", "unknown field of weir.test.Inner");
}

static void
columns_count_characters(void **state)
{
    assert_refused(SHAPES, "{\"aString\":\"\xC3\xA9\xC3\xA9\",\"x\":1}", WEIR_INVALID_ARGUMENT, "x",
        "line 1, column 17: ");
}

static void
an_unknown_name_is_shown_on_one_line(void **state)
{
    assert_refused(SHAPES, "{\"a\\nb\":1}", WEIR_INVALID_ARGUMENT, "a?b", "a?b: unknown field");
    assert_refused(SHAPES, "{\"a\\u0000b\":1}", WEIR_INVALID_ARGUMENT, "a?b", "unknown field");
}

static void
a_field_twice_is_invalid_argument_in_either_spelling(void **state)
{
    assert_refused(SHAPES, "{\"anInt32\":1,\"an_int32\":1}", WEIR_INVALID_ARGUMENT, "an_int32",
        "stands twice");
    assert_refused(SHAPES, "{\"anInt32\":null,\"anInt32\":1}", WEIR_INVALID_ARGUMENT, "an_int32",
        "stands twice");
    assert_refused(SHAPES, "{\"stringsByName\":{\"b\":\"\",\"a\":\"\",\"b\":\"\"}}",
        WEIR_INVALID_ARGUMENT, "strings_by_name", "the key \"b\" stands twice");
}

static void
two_members_of_a_oneof_are_invalid_argument(void **state)
{
    assert_refused(&weir__v1__ingest_document_request__descriptor, "{\"text\":\"\",\"data\":\"\"}",
        WEIR_INVALID_ARGUMENT, "data", "only one of text and data can be given");
}

static void
what_is_not_json_is_malformed_with_its_place(void **state)
{
    assert_refused(SHAPES, "", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, " ", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{", WEIR_MALFORMED_MESSAGE, "", "line 1, column 2: not JSON");
    assert_refused(SHAPES, "{\"aBool\":true,}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{'aBool':true}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{\"aDouble\":01}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{\"aDouble\":NaN}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{/**/}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{\"aString\":\"\xFF\"}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
    assert_refused(SHAPES, "{\"aString\":\"\\ud800\"}", WEIR_MALFORMED_MESSAGE, "", "not JSON");
}

static void
anything_after_the_value_is_malformed_with_its_place(void **state)
{
    assert_refused(SHAPES, "{}\n x", WEIR_MALFORMED_MESSAGE, "", "line 2, column 2: not JSON");
    assert_refused(SHAPES, "{}{}", WEIR_MALFORMED_MESSAGE, "", "line 1, column 3: not JSON");
}

static void
a_nul_in_a_string_is_malformed(void **state)
{
    assert_refused(SHAPES, "{\"aString\":\"a\\u0000\"}", WEIR_MALFORMED_MESSAGE, "a_string", "NUL");
    assert_refused(SHAPES, "{\"stringsByName\":{\"a\\u0000\":\"\"}}", WEIR_MALFORMED_MESSAGE,
        "strings_by_name[a?]", "NUL");
}

static void
numbers_out_of_range_are_invalid_argument(void **state)
{
    const struct {
        const char *json;
        const char *field;
    } rows[] = {
        { "{\"anInt32\":2147483648}", "an_int32" },
        { "{\"anInt32\":-2147483649}", "an_int32" },
        { "{\"anInt32\":1.5}", "an_int32" },
        { "{\"anInt32\":\"\"}", "an_int32" },
        { "{\"anInt32\":\" 1\"}", "an_int32" },
        { "{\"anInt32\":\"1\\u0000\"}", "an_int32" },
        { "{\"anInt32\":\"1x\"}", "an_int32" },
        { "{\"anInt32\":true}", "an_int32" },
        { "{\"anInt64\":9223372036854775808}", "an_int64" },
        { "{\"anInt64\":\"1e19\"}", "an_int64" },
        { "{\"aUint32\":4294967296}", "a_uint32" },
        { "{\"aUint32\":-1}", "a_uint32" },
        { "{\"aUint64\":18446744073709551616}", "a_uint64" },
        { "{\"aUint64\":-1}", "a_uint64" },
        { "{\"aUint64\":[]}", "a_uint64" },
        { "{\"aFloat\":1e39}", "a_float" },
        { "{\"aDouble\":\"1e999\"}", "a_double" },
        { "{\"aDouble\":\"nan\"}", "a_double" },
        { "{\"aDouble\":{}}", "a_double" },
        { "{\"floats\":[1,\"x\"]}", "floats[1]" },
        { "{\"doublesByInt32\":{\"x\":1}}", "doubles_by_int32[x]" },
        { "{\"doublesByInt32\":{\"2147483648\":1}}", "doubles_by_int32[2147483648]" },
    };

    for (size_t at = 0; at < sizeof rows / sizeof rows[0]; at++)
        assert_refused(SHAPES, rows[at].json, WEIR_INVALID_ARGUMENT, rows[at].field, "expected");
}

static void
values_of_another_kind_are_invalid_argument(void **state)
{
    const struct {
        const char *json;
        const char *field;
        const char *said;
    } rows[] = {
        { "[]", "", "expected an object, a weir.test.Shapes" },
        { "null", "", "expected an object" },
        { "{\"aBool\":\"true\"}", "a_bool", "expected true or false" },
        { "{\"aBool\":1}", "a_bool", "expected true or false" },
        { "{\"aString\":1}", "a_string", "expected a string" },
        { "{\"someBytes\":1}", "some_bytes", "expected a string of base64" },
        { "{\"someBytes\":\"A\"}", "some_bytes", "expected base64" },
        { "{\"someBytes\":\"AA=\"}", "some_bytes", "expected base64" },
        { "{\"someBytes\":\"A===\"}", "some_bytes", "expected base64" },
        { "{\"someBytes\":\"A A=\"}", "some_bytes", "expected base64" },
        { "{\"inner\":[]}", "inner", "expected an object" },
        { "{\"inners\":{}}", "inners", "expected a list" },
        { "{\"inners\":[null]}", "inners[0]", "null is no element" },
        { "{\"strings\":[\"\",null]}", "strings[1]", "null is no element" },
        { "{\"stringsByName\":[]}", "strings_by_name", "expected an object" },
        { "{\"stringsByName\":{\"k\":null}}", "strings_by_name[k]", "null is no element" },
        { "{\"spansByBool\":{\"yes\":\"1s\"}}", "spans_by_bool[yes]", "expected \"true\"" },
        { "{\"colour\":\"COLOUR_RAD\"}", "colour", "perhaps COLOUR_RED?" },
        { "{\"colour\":1.5}", "colour", "expected a whole number" },
        { "{\"colour\":true}", "colour", "expected the name of a value" },
    };

    for (size_t at = 0; at < sizeof rows / sizeof rows[0]; at++)
        assert_refused(SHAPES, rows[at].json, WEIR_INVALID_ARGUMENT, rows[at].field, rows[at].said);
}

static void
wrong_instants_durations_and_masks_are_invalid_argument(void **state)
{
    const char *const times[] = { "1", "\"\"", "\"2026-01-31\"", "\"2026-01-31T00:00:00\"",
        "\"2026-02-29T00:00:00Z\"", "\"2026-13-01T00:00:00Z\"", "\"2026-01-01T24:00:00Z\"",
        "\"2026-01-01T00:00:60Z\"", "\"2026-01-01 00:00:00Z\"", "\"2026-01-01T00:00:00.Z\"",
        "\"2026-01-01T00:00:00.1234567890Z\"", "\"2026-01-01T00:00:00Zx\"",
        "\"0001-01-01T00:00:00+00:01\"", "\"0000-01-01T00:00:00Z\"", "\"26-01-01T00:00:00Z\"" };
    const char *const spans[] = { "1", "\"\"", "\"1\"", "\"s\"", "\"1.s\"", "\".5s\"", "\"+1s\"",
        "\"--1s\"", "\"1sx\"", "\"315576000001s\"", "\"315576000000.1s\"",
        "\"99999999999999999999s\"", "\"1.0000000001s\"" };
    const char *const masks[] = { "1", "\"a_b\"", "\"a\\u0000\"" };

    for (size_t at = 0; at < sizeof times / sizeof times[0]; at++)
        assert_refused(&google__protobuf__timestamp__descriptor, times[at], WEIR_INVALID_ARGUMENT,
            "", "expected an instant");
    for (size_t at = 0; at < sizeof spans / sizeof spans[0]; at++)
        assert_refused(&google__protobuf__duration__descriptor, spans[at], WEIR_INVALID_ARGUMENT,
            "", "expected a duration");
    for (size_t at = 0; at < sizeof masks / sizeof masks[0]; at++)
        assert_refused(&google__protobuf__field_mask__descriptor, masks[at], WEIR_INVALID_ARGUMENT,
            "", "paths");
}

static void
a_detail_of_an_unknown_type_takes_bytes_only(void **state)
{
    assert_refused(&google__rpc__status__descriptor,
        "{\"details\":[{\"@type\":\"x/a.B\",\"c\":1}]}", WEIR_INVALID_ARGUMENT, "details[0]",
        "not known");
    assert_refused(&google__rpc__status__descriptor, "{\"details\":[{\"reason\":\"\"}]}",
        WEIR_INVALID_ARGUMENT, "details[0]", "@type");
    assert_refused(&google__rpc__status__descriptor,
        "{\"details\":[{\"@type\":\"x/google.rpc.ErrorInfo\",\"raeson\":\"\"}]}",
        WEIR_INVALID_ARGUMENT, "details[0].raeson", "perhaps reason?");
}

static void
more_than_the_limit_is_body_too_large(void **state)
{
    char *const text = weir_alloc(WEIR_JSON_INPUT_BYTES_MAX + 2);

    memset(text, ' ', WEIR_JSON_INPUT_BYTES_MAX + 1);
    text[WEIR_JSON_INPUT_BYTES_MAX + 1] = '\0';
    assert_refused(SHAPES, text, WEIR_BODY_TOO_LARGE, "", "limit");
    weir_free(text);
}

/* "{<name>:[" + many times item + "]}" */
static char *
list_of(const char *name, const char *item, size_t count)
{
    weir_buffer text = { 0 };

    weir_buffer_append(&text, name, strlen(name));
    for (size_t at = 0; at < count; at++) {
        weir_buffer_append(&text, ",", at > 0 ? 1 : 0);
        weir_buffer_append(&text, item, strlen(item));
    }
    weir_buffer_append(&text, "]}", 3);
    return (char *)text.data;
}

static void
small_text_that_grows_large_is_no_memory(void **state)
{
    char *const text = list_of("{\"requests\":[", "{}", 200000);

    assert_refused(&weir__v1__batch_search_request__descriptor, text, WEIR_NO_MEMORY, NULL,
        "too much memory");
    weir_free(text);
}

static void
too_many_values_are_no_memory(void **state)
{
    char *const text = list_of("{\"int32s\":[", "1", 3000000);

    assert_refused(SHAPES, text, WEIR_NO_MEMORY, "", "too many values");
    weir_free(text);
}

static void
the_cap_of_the_arena_is_no_memory(void **state)
{
    weir_arena *arena = weir_arena_create(4096);
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    char *const text = list_of("{\"strings\":[", "\"abcdefghijklmnopqrstuvwxyz\"", 1000);

    assert_int_equal(weir_json_decode(SHAPES, weir_bytes_str(text), arena, &message, &error),
        WEIR_NO_MEMORY);
    assert_null(message);
    weir_free(text);
    weir_arena_destroy(&arena);
}

static void
nested_lists_cost_no_stack(void **state)
{
    char *const text = weir_alloc_zero(1, 2000001);

    memset(text, '[', 2000000);
    assert_refused(SHAPES, text, WEIR_MALFORMED_MESSAGE, "", "not JSON");
    weir_free(text);
}

/* A message that holds itself; protobuf-c's generator would allow it. */
typedef struct knot {
    ProtobufCMessage base;
    struct knot *knot;
} knot;

static void knot_init(ProtobufCMessage *message);
extern const ProtobufCMessageDescriptor knot_descriptor;

static const ProtobufCFieldDescriptor knot_fields[] = { {
    .name = "knot",
    .id = 1,
    .label = PROTOBUF_C_LABEL_NONE,
    .type = PROTOBUF_C_TYPE_MESSAGE,
    .offset = offsetof(knot, knot),
    .descriptor = &knot_descriptor,
} };

const ProtobufCMessageDescriptor knot_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.Knot",
    .short_name = "Knot",
    .sizeof_message = sizeof(knot),
    .n_fields = 1,
    .fields = knot_fields,
    .message_init = knot_init,
};

static void
knot_init(ProtobufCMessage *message)
{
    *(knot *)message = (knot){ .base = { .descriptor = &knot_descriptor } };
}

static char *
knots(size_t depth)
{
    weir_buffer text = { 0 };

    for (size_t at = 0; at < depth; at++)
        weir_buffer_append(&text, "{\"knot\":", 8);
    weir_buffer_append(&text, "{}", 2);
    for (size_t at = 0; at < depth; at++)
        weir_buffer_append(&text, "}", 1);
    weir_buffer_append_u8(&text, 0);
    return (char *)text.data;
}

static void
messages_nest_to_the_limit_and_no_further(void **state)
{
    weir_arena *arena = weir_arena_create(0);
    char *const good = knots(WEIR_WIRE_DEPTH_MAX - 1);
    char *const bad = knots(100000);

    assert_non_null(decode(arena, &knot_descriptor, good));
    weir_arena_destroy(&arena);

    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    arena = weir_arena_create(0);
    assert_int_equal(weir_json_decode(&knot_descriptor, weir_bytes_str(bad), arena, &message,
                         &error),
        WEIR_MALFORMED_MESSAGE);
    assert_non_null(strstr(error.message, "nest too deep"));
    assert_true(weir_arena_used(arena) < 100 * sizeof(knot));
    weir_arena_destroy(&arena);
    weir_free(good);
    weir_free(bad);
}

static void
a_ring_of_messages_is_not_written_for_ever(void **state)
{
    weir_buffer out = { 0 };
    weir_error error = { 0 };
    knot ring = { .base = { .descriptor = &knot_descriptor }, .knot = &ring };

    assert_int_equal(weir_json_encode(&ring.base, NULL, &out, &error), WEIR_MALFORMED_MESSAGE);
    assert_int_equal(out.size, 0);
    weir_buffer_fini(&out);
}

/* Flip, cut and repeat bytes of good texts: any answer is fine, but every answer that is OK must
 * be encodable and stand the way back.  The sanitizers watch. */
static void
mutated_texts_never_break_the_decoder(void **state)
{
    static const char *const seeds[] = {
        "{\"anInt32\":1,\"time\":\"2026-01-31T12:34:56.789Z\",\"span\":\"-1.5s\","
        "\"mask\":\"a,bC\"}",
        "{\"innersByName\":{\"k\":{\"name\":\"\\u00e9\",\"colours\":[\"COLOUR_RED\",3]}},"
        "\"bytesByInt64\":{\"-1\":\"+/8=\"},\"aDouble\":\"NaN\"}",
        "{\"any\":{\"@type\":\"x/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"f\"}]},"
        "\"chosenInner\":{\"bigNumber\":\"7\"},\"floats\":[1e3,-0.5],\"bools\":[true,false]}",
    };
    weir_rng rng = { .state = 20260131 };
    weir_arena *arena = weir_arena_create(0);

    for (int round = 0; round < 30000; round++) {
        const char *const seed = seeds[weir_rng_below(&rng, 3)];
        char text[512];
        size_t size = strlen(seed);
        ProtobufCMessage *message = NULL;

        memcpy(text, seed, size + 1);
        for (uint64_t left = weir_rng_below(&rng, 4); left > 0; left--)
            text[weir_rng_below(&rng, size)] = "{}[]\",:0-eE.\\u_A\x80\n"[weir_rng_below(&rng, 18)];
        if (weir_rng_below(&rng, 8) == 0)
            size = weir_rng_below(&rng, size);
        weir_arena_reset(arena);
        if (weir_json_decode(SHAPES, weir_bytes_of(text, size), arena, &message, NULL) != WEIR_OK)
            continue;
        weir_buffer once = { 0 };
        weir_buffer twice = { 0 };

        if (weir_json_encode(message, NULL, &once, NULL) == WEIR_OK) {
            assert_int_equal(weir_json_decode(SHAPES, weir_buffer_view(&once), arena, &message,
                                 NULL),
                WEIR_OK);
            assert_int_equal(weir_json_encode(message, NULL, &twice, NULL), WEIR_OK);
            assert_true(weir_bytes_equal(weir_buffer_view(&once), weir_buffer_view(&twice)));
        }
        weir_buffer_fini(&once);
        weir_buffer_fini(&twice);
    }
    weir_arena_destroy(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_field_names_its_path_its_place_and_the_nearest_name),
        cmocka_unit_test(columns_count_characters),
        cmocka_unit_test(an_unknown_name_is_shown_on_one_line),
        cmocka_unit_test(a_field_twice_is_invalid_argument_in_either_spelling),
        cmocka_unit_test(two_members_of_a_oneof_are_invalid_argument),
        cmocka_unit_test(what_is_not_json_is_malformed_with_its_place),
        cmocka_unit_test(anything_after_the_value_is_malformed_with_its_place),
        cmocka_unit_test(a_nul_in_a_string_is_malformed),
        cmocka_unit_test(numbers_out_of_range_are_invalid_argument),
        cmocka_unit_test(values_of_another_kind_are_invalid_argument),
        cmocka_unit_test(wrong_instants_durations_and_masks_are_invalid_argument),
        cmocka_unit_test(a_detail_of_an_unknown_type_takes_bytes_only),
        cmocka_unit_test(more_than_the_limit_is_body_too_large),
        cmocka_unit_test(small_text_that_grows_large_is_no_memory),
        cmocka_unit_test(too_many_values_are_no_memory),
        cmocka_unit_test(the_cap_of_the_arena_is_no_memory),
        cmocka_unit_test(nested_lists_cost_no_stack),
        cmocka_unit_test(messages_nest_to_the_limit_and_no_further),
        cmocka_unit_test(a_ring_of_messages_is_not_written_for_ever),
        cmocka_unit_test(mutated_texts_never_break_the_decoder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
