/* Goal: what people read is laid out, and nothing of a document reaches the terminal as a command.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static weir_arena *arena;

static int
make(void **state)
{
    arena = weir_arena_create(0);
    return 0;
}

static int
unmake(void **state)
{
    weir_arena_destroy(&arena);
    return 0;
}

static void
control_characters_and_broken_text_become_blanks(void **state)
{
    assert_string_equal(cli_plain(arena, "a\033[31mb\nc\x7f", 0), "a [31mb c ");
    assert_string_equal(cli_plain(arena,
                            "a\xff"
                            "b",
                            0),
        "a b");
    assert_string_equal(cli_plain(arena,
                            "a\xc2\x9b"
                            "b",
                            0),
        "a b"); /* CSI as one character */
    assert_string_equal(cli_plain(arena,
                            "Stra\xc3\x9f"
                            "e \xe2\x82\xac",
                            0),
        "Stra\xc3\x9f"
        "e "
        "\xe2\x82\xac");
}

static void
long_text_is_cut_by_characters(void **state)
{
    assert_string_equal(cli_plain(arena, "abcdef", 6), "abcdef");
    assert_string_equal(cli_plain(arena, "abcdef", 5), "abcde...");
    assert_string_equal(cli_plain(arena, "\xc3\xa4\xc3\xb6\xc3\xbc", 2), "\xc3\xa4\xc3\xb6...");
}

static void
values_have_units(void **state)
{
    const Google__Protobuf__Timestamp time = {
        .base = PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor),
        .seconds = 1000000000,
        .nanos = 500000000
    };

    assert_string_equal(cli_format_bytes(arena, 0), "0 B");
    assert_string_equal(cli_format_bytes(arena, 1023), "1023 B");
    assert_string_equal(cli_format_bytes(arena, 1536), "1.5 KiB");
    assert_string_equal(cli_format_bytes(arena, 5LL << 30), "5.0 GiB");
    assert_string_equal(cli_format_seconds(arena, 3.21), "3.2 s");
    assert_string_equal(cli_format_seconds(arena, 250), "4 m 10 s");
    assert_string_equal(cli_format_seconds(arena, 7500), "2 h 5 m");
    assert_string_equal(cli_format_time(arena, NULL), "-");
    assert_string_equal(cli_format_time(arena, &time), "2001-09-09T01:46:40.500Z");
    assert_string_equal(cli_state_name(WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY), "READY");
    assert_string_equal(cli_state_name((Weir__V1__DocumentState)99), "?");
    assert_string_equal(cli_stage_name(WEIR__V1__STAGE__STAGE_EMBED), "embed");
    assert_string_equal(cli_stage_name((Weir__V1__Stage)99), "?");
}

/* Run `print` with standard output in a file. */
static const char *
captured(const cli *self, const cli_table *table)
{
    static char text[4096];
    FILE *file = tmpfile();
    const int kept = dup(STDOUT_FILENO);

    assert_non_null(file);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    cli_table_print(self, table);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void
columns_are_as_wide_as_their_widest_cell(void **state)
{
    static const char *const headers[] = { "ID", "NAME", "N", NULL };
    const cli self = { .arena = arena };
    cli_table *table = cli_table_create(arena, headers);

    cli_table_row(table,
        (const char *const[]){ "1", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "x", NULL });
    cli_table_row(table, (const char *const[]){ "long-id", "b", "y", NULL });
    assert_string_equal(captured(&self, table),
        "ID       NAME  N\n"
        "1        \xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f  x\n"
        "long-id  b     y\n");
}

static void
many_rows_are_kept_in_order(void **state)
{
    static const char *const headers[] = { "N", NULL };
    const cli self = { .arena = arena };
    cli_table *table = cli_table_create(arena, headers);

    for (int i = 0; i < 200; i++)
        cli_table_row(table, (const char *const[]){ weir_arena_printf(arena, "%d", i), NULL });
    assert_non_null(strstr(captured(&self, table), "N\n0\n1\n2\n"));
    assert_non_null(strstr(captured(&self, table), "\n198\n199\n"));
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(control_characters_and_broken_text_become_blanks),
        CASE(long_text_is_cut_by_characters),
        CASE(values_have_units),
        CASE(columns_are_as_wide_as_their_widest_cell),
        CASE(many_rows_are_kept_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
