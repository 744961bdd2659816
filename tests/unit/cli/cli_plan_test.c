/* Goal: files become documents under the ids that a later run finds again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/ingest.h"

static const cli_option options[] = { { "glob", 'g', "PATTERN", "" }, { .name = NULL } };
static const cli_command command = { "test", "", "", "", options, 0, -1, true, NULL };

static char folder[64];
static cli program;
static ingest plan;

static void
write_file(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void
make_folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int
make(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/weir-plan-XXXXXX");
    assert_non_null(mkdtemp(folder));
    program = (cli){ .command = &command, .arena = weir_arena_create(0) };
    plan = (ingest){ .cli = &program,
        .arena = program.arena,
        .collection = (char *)"c",
        .lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };
    make_folder("sub");
    make_folder("sub/deep");
    make_folder(".hidden");
    write_file("b.md", "bb");
    write_file("a.txt", "a");
    write_file(".secret", "x");
    write_file(".hidden/x.md", "x");
    write_file("sub/deep/c.md", "ccc");
    return 0;
}

static int
unmake(void **state)
{
    char shell[128];

    weir_free(plan.items);
    weir_arena_destroy(&program.arena);
    snprintf(shell, sizeof shell, "rm -rf %s", folder);
    return system(shell);
}

static cli_exit
plan_for(const char *first, const char *second, const char *third)
{
    char *argv[] = { (char *)"weir", (char *)first, (char *)second, (char *)third, NULL };
    int argc = 1;

    while (argv[argc] != NULL)
        argc++;
    assert_int_equal(cli_parse(&program, argc, argv), CLI_OK);
    return ingest_plan(&plan);
}

static void
a_folder_gives_paths_below_it_in_order(void **state)
{
    assert_int_equal(plan_for(folder, NULL, NULL), CLI_OK);
    assert_int_equal(plan.count, 3);
    assert_string_equal(plan.items[0].document_id, "a.txt");
    assert_string_equal(plan.items[1].document_id, "b.md");
    assert_string_equal(plan.items[2].document_id, "sub/deep/c.md");
    assert_int_equal(plan.items[2].size_bytes, 3);
}

static void
a_slash_at_the_end_changes_no_id(void **state)
{
    char path[80];

    snprintf(path, sizeof path, "%s/", folder);
    assert_int_equal(plan_for(path, NULL, NULL), CLI_OK);
    assert_string_equal(plan.items[0].document_id, "a.txt");
    assert_string_equal(plan.items[2].document_id, "sub/deep/c.md");
}

static void
a_file_by_itself_is_named_by_its_name(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/sub/deep/c.md", folder);
    assert_int_equal(plan_for(path, NULL, NULL), CLI_OK);
    assert_int_equal(plan.count, 1);
    assert_string_equal(plan.items[0].document_id, "c.md");
}

static void
patterns_match_names_and_paths(void **state)
{
    assert_int_equal(plan_for(folder, "--glob", "*.md"), CLI_OK);
    assert_int_equal(plan.count, 2);
    plan.count = 0;
    program.value_count = 0;
    program.argument_count = 0;
    assert_int_equal(plan_for(folder, "--glob", "sub/*"), CLI_OK);
    assert_int_equal(plan.count, 1);
}

static void
links_to_files_count_and_links_to_folders_are_not_walked(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/link.md", folder);
    assert_int_equal(symlink("b.md", path), 0);
    snprintf(path, sizeof path, "%s/loop", folder);
    assert_int_equal(symlink(".", path), 0);
    assert_int_equal(plan_for(folder, NULL, NULL), CLI_OK);
    assert_int_equal(plan.count, 4);
    assert_string_equal(plan.items[2].document_id, "link.md");
}

static void
two_files_of_one_id_are_refused(void **state)
{
    char other[128];

    make_folder("other");
    write_file("other/a.txt", "z");
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(plan_for(folder, other, NULL), CLI_USAGE);
}

static void
a_path_that_is_not_there_is_not_found(void **state)
{
    assert_int_equal(plan_for("/nowhere/at/all", NULL, NULL), CLI_NOT_FOUND);
}

static void
names_that_cannot_be_ids_are_refused_one_by_one(void **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/bad\xff", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(plan_for(folder, NULL, NULL), CLI_OK);
    assert_int_equal(plan.progress.refused, 1);
    assert_int_equal(plan.count, 4);
}

static void
a_file_that_grew_too_large_or_went_away_is_refused(void **state)
{
    weir_buffer bytes = { 0 };

    assert_int_equal(plan_for(folder, NULL, NULL), CLI_OK);
    assert_true(ingest_read_file(&plan, &plan.items[1], 2, &bytes));
    assert_int_equal(bytes.size, 2);
    assert_false(ingest_read_file(&plan, &plan.items[1], 1, &bytes));
    assert_int_equal(plan.items[1].fate, INGEST_REFUSED);
    assert_int_equal(unlink(plan.items[0].path), 0);
    assert_false(ingest_read_file(&plan, &plan.items[0], 100, &bytes));
    assert_non_null(strstr(plan.items[0].reason, "No such file"));
    weir_buffer_fini(&bytes);
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_folder_gives_paths_below_it_in_order),
        CASE(a_slash_at_the_end_changes_no_id),
        CASE(a_file_by_itself_is_named_by_its_name),
        CASE(patterns_match_names_and_paths),
        CASE(links_to_files_count_and_links_to_folders_are_not_walked),
        CASE(two_files_of_one_id_are_refused),
        CASE(a_path_that_is_not_there_is_not_found),
        CASE(names_that_cannot_be_ids_are_refused_one_by_one),
        CASE(a_file_that_grew_too_large_or_went_away_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
