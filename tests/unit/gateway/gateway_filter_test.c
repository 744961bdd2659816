/*
 * gateway_filter_test.c - goal: filters that are understood are, and all others are refused with
 * the place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/filter.h"
#include "weir/v1/document.pb-c.h"

enum { ALL = GATEWAY_FILTER_DOCUMENT_ID | GATEWAY_FILTER_REASON | GATEWAY_FILTER_STAGE };

static weir_arena *arena;

static gateway_filter
parsed(const char *text)
{
    gateway_filter filter;
    weir_error error;

    if (gateway_filter_parse(text, ALL, arena, &filter, &error) != WEIR_OK)
        fail_msg("%s: %s", text, error.message);
    return filter;
}

static void
refused(const char *text, unsigned fields)
{
    gateway_filter filter;
    weir_error error = { .code = WEIR_OK };

    if (gateway_filter_parse(text, fields, arena, &filter, &error) != WEIR_FILTER_INVALID)
        fail_msg("%s was taken", text);
    assert_string_equal(error.field, "filter");
    assert_non_null(strstr(error.message, "at byte"));
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

    assert_int_equal(filter.reason, WEIR_EMPTY);
    assert_int_equal(filter.stage, WEIR__V1__STAGE__STAGE_CHUNK);
    assert_string_equal(filter.document_id, "d");
    assert_int_equal(parsed("stage = embed").stage, WEIR__V1__STAGE__STAGE_EMBED);
}

static void
what_is_not_understood_is_refused(void **state)
{
    static const char *const bad[] = { "x = 1", "document_id", "document_id =", "document_id = \"a",
        "document_id != \"a\"", "document_id = \"a\" OR document_id = \"b\"",
        "document_id = \"a\" document_id = \"a\"", "document_id = \"a\" AND document_id = \"b\"",
        "document_id = \"a\" AND", "reason = \"NO_SUCH\"", "reason = OK", "stage = 7",
        "* AND document_id = \"a\"", "document_id = \"a\")" };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i], ALL);
    refused("reason = \"EMPTY\"", GATEWAY_FILTER_DOCUMENT_ID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_filters_match_all),
        cmocka_unit_test(values_stand_in_quotes_or_alone),
        cmocka_unit_test(terms_are_joined_by_and),
        cmocka_unit_test(what_is_not_understood_is_refused),
    };

    arena = weir_arena_create(0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weir_arena_destroy(&arena);
    return failed;
}
