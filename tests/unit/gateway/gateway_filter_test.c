/*
 * gateway_filter_test.c - goal: filters that are understood are, and all others are refused with
 * the place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/filter.h"
#include "weir/v1/document.pb-c.h"

#define FIELD(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__FIELD__FIELD_##name_
#define COMPARISON(name_) WEIR__INTERNAL__V1__ENDED_CONDITION__COMPARISON__COMPARISON_##name_

static weir_arena *arena;

static gateway_filter
parsed(const char *text)
{
    gateway_filter filter;
    weir_error error;

    if (gateway_filter_parse(text, GATEWAY_FILTER_DEAD_LETTERS, arena, &filter, &error) != WEIR_OK)
        fail_msg("%s: %s", text, error.message);
    return filter;
}

static void
refused(const char *text, gateway_filter_of of, size_t at)
{
    gateway_filter filter;
    weir_error error = { .code = WEIR_OK };
    char place[32];

    snprintf(place, sizeof place, "at byte %zu:", at);
    if (gateway_filter_parse(text, of, arena, &filter, &error) != WEIR_FILTER_INVALID)
        fail_msg("%s was taken", text);
    assert_string_equal(error.field, "filter");
    if (strstr(error.message, place) == NULL)
        fail_msg("%s: %s, not %s", text, error.message, place);
}

static void
empty_filters_match_all(void **state)
{
    assert_null(parsed("").document_id);
    assert_null(parsed("  ").document_id);
    assert_null(parsed("*").document_id);
}

static void
values_stand_in_quotes_or_alone(void **state)
{
    assert_string_equal(parsed("document_id = \"a b\"").document_id, "a b");
    assert_string_equal(parsed("document_id='x'").document_id, "x");
    assert_string_equal(parsed("document_id=x_1").document_id, "x_1");
    assert_string_equal(parsed("document_id = \"a\\\"b\\\\\"").document_id, "a\"b\\");
}

static void
terms_are_joined_by_and(void **state)
{
    const gateway_filter filter =
        parsed("reason = \"EMPTY\" AND stage = STAGE_CHUNK AND document_id = \"d\"");

    assert_int_equal(filter.condition_count, 3);
    assert_int_equal(filter.conditions[0]->field, FIELD(REASON));
    assert_int_equal(filter.conditions[0]->number, WEIR_EMPTY);
    assert_int_equal(filter.conditions[1]->field, FIELD(STAGE));
    assert_int_equal(filter.conditions[1]->number, WEIR__V1__STAGE__STAGE_CHUNK);
    assert_int_equal(filter.conditions[2]->field, FIELD(DOCUMENT_ID));
    assert_string_equal(filter.conditions[2]->text, "d");
    assert_string_equal(filter.document_id, "d");
    assert_int_equal(parsed("stage = embed").conditions[0]->number, WEIR__V1__STAGE__STAGE_EMBED);
}

static void
numbers_and_instants_have_an_order(void **state)
{
    static const struct {
        const char *text;
        int comparison;
    } all[] = { { "run = 2", COMPARISON(EQUAL) }, { "run != 2", COMPARISON(NOT_EQUAL) },
        { "run<2", COMPARISON(LESS) }, { "run <= 2", COMPARISON(AT_MOST) },
        { "run > 2", COMPARISON(GREATER) }, { "run >=\"2\"", COMPARISON(AT_LEAST) } };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const gateway_filter filter = parsed(all[i].text);

        assert_int_equal(filter.conditions[0]->field, FIELD(RUN));
        assert_int_equal(filter.conditions[0]->comparison, all[i].comparison);
        assert_int_equal(filter.conditions[0]->number, 2);
    }
    assert_int_equal(parsed("revision = 999999999999999999").conditions[0]->number,
        999999999999999999);
    assert_int_equal(
        parsed("last_failure_time >= \"1970-01-01T00:00:01.5Z\"").conditions[0]->number,
        1500000000);
    assert_int_equal(
        parsed("last_failure_time < '2024-05-01T02:00:00+02:00'").conditions[0]->number,
        1714521600000000000);
    assert_int_equal(parsed("document_id != \"a\"").conditions[0]->comparison,
        COMPARISON(NOT_EQUAL));
    assert_null(parsed("document_id != \"a\"").document_id);
}

static void
what_is_not_understood_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } bad[] = { { "x = 1", 0 }, { "document_id", 11 }, { "document_id =", 13 },
        { "document_id = \"a", 14 }, { "document_id < \"a\"", 12 }, { "reason > \"EMPTY\"", 7 },
        { "document_id = \"a\" OR document_id = \"b\"", 18 },
        { "document_id = \"a\" document_id = \"a\"", 18 },
        { "document_id = \"a\" AND document_id = \"b\"", 22 }, { "document_id = \"a\" AND", 18 },
        { "reason = \"NO_SUCH\"", 9 }, { "reason = OK", 9 }, { "stage = 7", 8 },
        { "* AND document_id = \"a\"", 0 }, { "document_id = \"a\")", 17 }, { "run = x", 6 },
        { "run = 1 AND run = -1", 18 }, { "run = 9999999999999999999", 6 },
        { "last_failure_time > yesterday", 20 }, { "last_failure_time > \"2024-05-01\"", 20 },
        { "last_failure_time > \"9999-01-01T00:00:00Z\"", 20 }, { "run : 1", 4 } };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i].text, GATEWAY_FILTER_DEAD_LETTERS, bad[i].at);
    refused("reason = \"EMPTY\"", GATEWAY_FILTER_DOCUMENTS, 0);
    refused("document_id != \"a\"", GATEWAY_FILTER_DOCUMENTS, 12);
}

static void
a_filter_has_bounds(void **state)
{
    char text[GATEWAY_FILTER_BYTES_MAX + 2];
    size_t size = 0;

    for (int i = 0; i < GATEWAY_FILTER_CONDITIONS_MAX; i++)
        size +=
            (size_t)snprintf(text + size, sizeof text - size, "%srun = 1", i == 0 ? "" : " AND ");
    assert_int_equal(parsed(text).condition_count, GATEWAY_FILTER_CONDITIONS_MAX);
    snprintf(text + size, sizeof text - size, " AND run = 1");
    refused(text, GATEWAY_FILTER_DEAD_LETTERS, size + 5);
    memset(text, ' ', sizeof text);
    text[sizeof text - 1] = 0;
    refused(text, GATEWAY_FILTER_DEAD_LETTERS, GATEWAY_FILTER_BYTES_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_filters_match_all),
        cmocka_unit_test(values_stand_in_quotes_or_alone),
        cmocka_unit_test(terms_are_joined_by_and),
        cmocka_unit_test(numbers_and_instants_have_an_order),
        cmocka_unit_test(what_is_not_understood_is_refused_with_its_place),
        cmocka_unit_test(a_filter_has_bounds),
    };

    arena = weir_arena_create(0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_arena_destroy(&arena);
    return failed;
}
