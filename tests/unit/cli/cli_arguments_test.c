/* Goal: options and arguments are taken in any order, and what is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/cli.h"

static const cli_option options[] = {
    { "collection", 'c', "NAME", "which" },
    { "wait", 'w', NULL, "wait" },
    { .name = NULL },
};
static const cli_command command = { "test", "PATH...", "for tests",
    "weir "
    "test",
    options, 1, 2, true, NULL };

static cli self;

static int
make(void **state)
{
    memset(&self, 0, sizeof self);
    self.command = &command;
    self.arena = weir_arena_create(0);
    return 0;
}

static int
unmake(void **state)
{
    weir_arena_destroy(&self.arena);
    return 0;
}

static cli_exit
parse(const char *first, const char *second, const char *third, const char *fourth)
{
    char *argv[] = { (char *)"weir", (char *)first, (char *)second, (char *)third, (char *)fourth,
        NULL };
    int argc = 1;

    while (argv[argc] != NULL)
        argc++;
    return cli_parse(&self, argc, argv);
}

static void
options_and_arguments_come_in_any_order(void **state)
{
    assert_int_equal(parse("a", "-c", "x", "b"), CLI_OK);
    assert_int_equal(self.argument_count, 2);
    assert_string_equal(self.arguments[1], "b");
    assert_string_equal(cli_text(&self, "collection", ""), "x");
    assert_false(cli_has(&self, "wait"));
}

static void
values_may_be_attached(void **state)
{
    assert_int_equal(parse("--collection=x", "-cy", "a", "-w"), CLI_OK);
    assert_string_equal(cli_text(&self, "collection", ""), "y"); /* the last one wins */
    assert_string_equal(cli_text_at(&self, "collection", 0), "x");
    assert_null(cli_text_at(&self, "collection", 2));
    assert_true(cli_has(&self, "wait"));
}

static void
two_dashes_end_the_options(void **state)
{
    assert_int_equal(parse("--", "-c", NULL, NULL), CLI_OK);
    assert_string_equal(self.arguments[0], "-c");
    assert_int_equal(parse("-", NULL, NULL, NULL), CLI_OK); /* standard input, by custom */
}

static void
what_is_wrong_is_a_usage_error(void **state)
{
    assert_int_equal(parse("a", "--nonsense", NULL, NULL), CLI_USAGE);
    assert_int_equal(parse("a", "-c", NULL, NULL), CLI_USAGE);
    assert_int_equal(parse("a", "--wait=yes", NULL, NULL), CLI_USAGE);
    assert_int_equal(parse("a", "-o", "xml", NULL), CLI_USAGE);
}

static void
too_few_and_too_many_arguments_are_usage_errors(void **state)
{
    assert_int_equal(parse("-w", NULL, NULL, NULL), CLI_USAGE);
    assert_int_equal(parse("a", "b", "c", NULL), CLI_USAGE);
}

static void
help_needs_no_arguments(void **state)
{
    assert_int_equal(parse("--help", NULL, NULL, NULL), CLI_OK);
}

static void
numbers_have_bounds(void **state)
{
    int64_t value = 0;

    assert_int_equal(parse("a", "-c", "12", NULL), CLI_OK);
    assert_int_equal(cli_number(&self, "collection", 1, 20, 5, &value), CLI_OK);
    assert_int_equal(value, 12);
    assert_int_equal(cli_number(&self, "collection", 1, 11, 5, &value), CLI_USAGE);
    assert_int_equal(cli_number(&self, "wait", 1, 11, 5, &value), CLI_OK);
    assert_int_equal(value, 5);
    self.value_count = 0;
    assert_int_equal(parse("a", "-c", "12x", NULL), CLI_OK);
    assert_int_equal(cli_number(&self, "collection", 1, 20, 5, &value), CLI_USAGE);
}

static void
durations_have_units(void **state)
{
    static const struct {
        const char *text;
        cli_exit result;
        int64_t ms;
    } cases[] = { { "2", CLI_OK, 2000 }, { "90s", CLI_OK, 90000 }, { "5m", CLI_OK, 300000 },
        { "1h", CLI_OK, 3600000 }, { "250ms", CLI_OK, 250 },
        { "1 "
          "day",
            CLI_USAGE, 0 },
        { "-1s", CLI_USAGE, 0 }, { "s", CLI_USAGE, 0 }, { "99999999999999h", CLI_USAGE, 0 } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char option[64];
        int64_t ms = 0;
        self.value_count = 0;
        self.argument_count = 0;
        snprintf(option, sizeof option, "--collection=%s", cases[i].text);
        assert_int_equal(parse("a", option, NULL, NULL), CLI_OK);
        assert_int_equal(cli_duration(&self, "collection", 7, &ms), cases[i].result);
        if (cases[i].result == CLI_OK)
            assert_int_equal(ms, cases[i].ms);
    }
}

static void
every_command_has_help_with_an_example_of_itself(void **state)
{
    for (const cli_command *it = cli_commands; it->name != NULL; it++) {
        char beginning[64];
        snprintf(beginning, sizeof beginning, "weir %s", it->name);
        assert_ptr_equal(strstr(it->examples, beginning), it->examples);
        assert_true(strlen(it->summary) > 0);
        assert_non_null(it->run);
        assert_non_null(it->options);
    }
}

static void
exit_codes_follow_the_status(void **state)
{
    assert_int_equal(cli_exit_of(WEIR_OK), CLI_OK);
    assert_int_equal(cli_exit_of(WEIR_INVALID_ARGUMENT), CLI_ERROR);
    assert_int_equal(cli_exit_of(WEIR_DOCUMENT_NOT_FOUND), CLI_NOT_FOUND);
    assert_int_equal(cli_exit_of(WEIR_TIMEOUT), CLI_TIMED_OUT);
    assert_int_equal(cli_exit_of(WEIR_SERVICE_UNAVAILABLE), CLI_UNREACHABLE);
    assert_int_equal(cli_exit_of(WEIR_UNAUTHENTICATED), CLI_CREDENTIALS);
    assert_int_equal(cli_exit_of(WEIR_PERMISSION_DENIED), CLI_CREDENTIALS);
    assert_int_equal(cli_exit_of(WEIR_COLLECTION_EXISTS), CLI_CONFLICT);
    assert_int_equal(cli_exit_of(WEIR_STATE_NOT_RETRYABLE), CLI_CONFLICT);
    assert_int_equal(cli_exit_of(WEIR_ETAG_MISMATCH), CLI_CONFLICT);
    assert_int_equal(cli_exit_of(WEIR_PRESSURE), CLI_PRESSURE);
    assert_int_equal(cli_exit_of(WEIR_INTERNAL), CLI_ERROR);
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(options_and_arguments_come_in_any_order),
        CASE(values_may_be_attached),
        CASE(two_dashes_end_the_options),
        CASE(what_is_wrong_is_a_usage_error),
        CASE(too_few_and_too_many_arguments_are_usage_errors),
        CASE(help_needs_no_arguments),
        CASE(numbers_have_bounds),
        CASE(durations_have_units),
        CASE(every_command_has_help_with_an_example_of_itself),
        CASE(exit_codes_follow_the_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
