/* Goal: a service's command line is taken whole or refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/service/service_internal.h"

static service_arguments arguments;
static weir_error error;

static weir_code
parse(int count, const char *first, const char *second, const char *third, const char *fourth)
{
    char *argv[] = { (char *)"weir-x", (char *)first, (char *)second, (char *)third, (char *)fourth,
        NULL };

    argv[count + 1] = NULL;
    return service_arguments_parse(count + 1, argv, &arguments, &error);
}

static void
no_arguments_mean_run(void **state)
{
    assert_int_equal(parse(0, NULL, NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_RUN);
    assert_null(arguments.config_file);
    assert_int_equal(arguments.assignment_count, 0);
}

static void
short_forms_become_assignments_in_order(void **state)
{
    assert_int_equal(parse(4, "--data", "/d", "--set", "log.level=debug"), WEIR_OK);
    assert_int_equal(arguments.assignment_count, 2);
    assert_string_equal(arguments.assignments[0], "data_dir=/d");
    assert_string_equal(arguments.assignments[1], "log.level=debug");
    assert_int_equal(parse(3, "--port-base", "8000", "--config=/c.yaml", NULL), WEIR_OK);
    assert_string_equal(arguments.assignments[0], "port_base=8000");
    assert_string_equal(arguments.config_file, "/c.yaml");
    assert_int_equal(parse(2, "--die-with-parent", "77", NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.parent, 77);
}

static void
actions_are_taken(void **state)
{
    assert_int_equal(parse(1, "--check", NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_CHECK);
    assert_int_equal(parse(1, "--print-config", NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_PRINT_CONFIG);
    assert_int_equal(parse(1, "--print-reference", NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_PRINT_REFERENCE);
    assert_int_equal(parse(1, "--version", NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_VERSION);
    assert_int_equal(parse(1, "--help", NULL, NULL, NULL), WEIR_OK);
    assert_int_equal(arguments.action, SERVICE_HELP);
}

static void
what_is_not_understood_is_named(void **state)
{
    assert_int_equal(parse(1, "--nonsense", NULL, NULL, NULL), WEIR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "--nonsense"));
    assert_int_equal(parse(1, "--config", NULL, NULL, NULL), WEIR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "--config wants a value"));
    assert_int_equal(parse(1, "stray", NULL, NULL, NULL), WEIR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "stray"));
    assert_int_equal(parse(2, "--die-with-parent", "x", NULL, NULL), WEIR_INVALID_ARGUMENT);
}

static void
too_many_settings_are_refused(void **state)
{
    char *argv[2 * SERVICE_ASSIGNMENTS_MAX + 4];
    int count = 0;

    argv[count++] = (char *)"weir-x";
    for (int i = 0; i <= SERVICE_ASSIGNMENTS_MAX; i++) {
        argv[count++] = (char *)"--set";
        argv[count++] = (char *)"a=b";
    }
    argv[count] = NULL;
    assert_int_equal(service_arguments_parse(count, argv, &arguments, &error),
        WEIR_INVALID_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_arguments_mean_run),
        cmocka_unit_test(short_forms_become_assignments_in_order),
        cmocka_unit_test(actions_are_taken),
        cmocka_unit_test(what_is_not_understood_is_named),
        cmocka_unit_test(too_many_settings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
