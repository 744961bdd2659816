/* Goal: settings are taken exactly or refused with their place.  Method: a small table of every
 * type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config/config.h"

typedef struct sample {
    uint32_t workers;
    uint64_t cache_bytes;
    uint32_t wait_ms;
    uint64_t keep_ms;
    bool enabled;
    double ratio;
    const char *name;
    int level;
} sample;

#define ROW(type_, field_) \
    WEIR_CONFIG_##type_, offsetof(sample, field_), sizeof(((sample *)NULL)->field_)

static const weir_config_key keys[] = {
    { "name", ROW(STRING, name), "plain", 0, 8, NULL, "Name" },
    { "pool.cache_bytes", ROW(BYTES, cache_bytes), "1MiB", 1024, 1e12, NULL, "Cache" },
    { "pool.enabled", ROW(BOOL, enabled), "true", 0, 0, NULL, "Switch" },
    { "pool.keep", ROW(DURATION, keep_ms), "0", 0, 1e12, NULL, "Keep" },
    { "pool.level", ROW(ENUM, level), "info", 0, 0, "debug|info|warn", "Level" },
    { "pool.ratio", ROW(FLOAT, ratio), "0.5", 0, 1, NULL, "Ratio" },
    { "pool.wait_ms", ROW(DURATION, wait_ms), "500", 1, 60000, NULL, "Wait" },
    { "pool.workers", ROW(U32, workers), "2", 1, 64, NULL, "Threads" },
    WEIR_CONFIG_END,
};
static const weir_config_key *const tables[] = { keys, NULL };

static weir_config *config;
static weir_error error;

static int
make(void **state)
{
    config = weir_config_create(tables, sizeof(sample));
    memset(&error, 0, sizeof error);
    return 0;
}

static int
unmake(void **state)
{
    weir_config_destroy(&config);
    return 0;
}

static const sample *
values(void)
{
    return weir_config_values(config);
}

static weir_code
read_text(const char *text)
{
    return weir_config_read_text(config, "x.yaml", weir_bytes_str(text), &error);
}

static void
assert_refused(weir_code code, const char *wanted)
{
    assert_int_equal(code, WEIR_CONFIG_INVALID);
    if (strstr(error.message, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, error.message);
}

static void
defaults_fill_every_type(void **state)
{
    assert_string_equal(values()->name, "plain");
    assert_int_equal(values()->cache_bytes, 1 << 20);
    assert_true(values()->enabled);
    assert_int_equal(values()->wait_ms, 500);
    assert_int_equal(values()->level, 1);
    assert_true(values()->ratio > 0.49 && values()->ratio < 0.51);
    assert_int_equal(values()->workers, 2);
    assert_int_equal(weir_config_source_of(config, "pool.workers"), WEIR_CONFIG_FROM_DEFAULT);
}

static void
nested_and_dotted_keys_of_a_file_are_the_same(void **state)
{
    assert_int_equal(read_text("# a comment\n"
                               "name: \"\"\n"
                               "pool:\n"
                               "  workers: 8\n"
                               "  cache_bytes: 3 GiB\n"
                               "  keep: 2d\n"
                               "pool.wait_ms: 2s\n"
                               "pool.enabled: false\n"),
        WEIR_OK);
    assert_string_equal(values()->name, "");
    assert_int_equal(values()->workers, 8);
    assert_int_equal(values()->cache_bytes, 3ull << 30);
    assert_int_equal(values()->keep_ms, 2 * 86400000);
    assert_int_equal(values()->wait_ms, 2000);
    assert_false(values()->enabled);
    assert_int_equal(weir_config_source_of(config, "pool.workers"), WEIR_CONFIG_FROM_FILE);
}

static void
an_empty_file_and_an_empty_section_change_nothing(void **state)
{
    assert_int_equal(read_text(""), WEIR_OK);
    assert_int_equal(read_text("# nothing\n"), WEIR_OK);
    assert_int_equal(read_text("pool:\n"), WEIR_OK);
    assert_int_equal(values()->workers, 2);
}

static void
an_unknown_key_names_its_place_and_the_nearest_known_one(void **state)
{
    assert_refused(read_text("name: a\npool:\n  worker: 3\n"),
        "x.yaml:3:3: unknown key \"pool.worker\"; did you mean pool.workers?");
    assert_refused(read_text("workers: 3\n"), "did you mean pool.workers?");
    assert_refused(read_text("zebra_crossing_of_the_third_kind: 3\n"), "unknown key");
    assert_null(strstr(error.message, "did you mean"));
    assert_refused(read_text("pol:\n  workers: 3\n"), "x.yaml:1:1: unknown key \"pol\"");
}

static void
a_value_outside_its_bounds_names_its_place(void **state)
{
    assert_refused(read_text("pool:\n  workers: 65\n"),
        "x.yaml:2:12: pool.workers: 65 is outside 1..64");
    assert_refused(read_text("pool:\n  workers: 0\n"), "outside 1..64");
    assert_refused(read_text("name: 123456789\n"), "9 bytes, outside 0..8");
    assert_refused(read_text("pool.ratio: 1.5\n"), "outside 0..1");
    assert_refused(read_text("pool.wait_ms: 2h\n"), "outside 1..60000");
    assert_int_equal(values()->workers, 2);
}

static void
a_value_of_the_wrong_form_is_refused(void **state)
{
    assert_refused(read_text("pool.workers: two\n"), "\"two\" is not a whole number");
    assert_refused(read_text("pool.workers: -1\n"), "not a whole number");
    assert_refused(read_text("pool.workers: 2.5\n"), "not a whole number");
    assert_refused(read_text("pool.workers: 2 KiB\n"), "not a whole number");
    assert_refused(read_text("pool.cache_bytes: 2MB\n"), "KiB, MiB, GiB or TiB");
    assert_refused(read_text("pool.cache_bytes: 99999999999999999999\n"), "whole number");
    assert_refused(read_text("pool.cache_bytes: 99999999999TiB\n"), "whole number");
    assert_refused(read_text("pool.wait_ms: 3 weeks\n"), "ms, s, m, h or d");
    assert_refused(read_text("pool.enabled: yes\n"), "neither true nor false");
    assert_refused(read_text("pool.level: loud\n"), "none of debug|info|warn");
    assert_refused(read_text("pool.ratio: nan\n"), "not a number");
    assert_refused(read_text("pool.ratio: half\n"), "not a number");
    assert_refused(read_text("pool.workers:\n"), "no value");
    assert_refused(read_text("name: ~\n"), "no value");
    assert_refused(read_text("name: \"a\\0b\"\n"), "NUL");
}

static void
a_key_set_twice_names_both_lines(void **state)
{
    assert_refused(read_text("pool:\n  workers: 3\npool.workers: 4\n"),
        "x.yaml:3:1: pool.workers is set twice, first in line 2");
    assert_int_equal(values()->workers, 2);
}

static void
nothing_of_a_file_with_an_error_is_applied(void **state)
{
    assert_refused(read_text("name: new\npool.workers: 0\n"), "outside");
    assert_string_equal(values()->name, "plain");
}

static void
what_a_file_of_settings_needs_not_is_refused(void **state)
{
    assert_refused(read_text("name: &a x\n"), "anchors");
    assert_refused(read_text("pool: &p\n  workers: 3\n"), "anchors");
    assert_refused(read_text("name: *a\n"), "aliases");
    assert_refused(read_text("name: !!str x\n"), "tags");
    assert_refused(read_text("name: [a, b]\n"), "no setting takes a list");
    assert_refused(read_text("- a\n"), "no setting takes a list");
    assert_refused(read_text("just a text\n"), "KEY: VALUE");
    assert_refused(read_text("? {a: b}\n: c\n"), "a key must be a word");
    assert_refused(read_text("name: {a: b}\n"), "takes one value, not a section");
    assert_refused(read_text("name: a\n---\nname: b\n"), "second document");
    assert_refused(read_text("name: \"a\n"), "x.yaml:");
    assert_refused(read_text("name: a\n\tworkers: 3\n"), "x.yaml:2:");
}

static void
a_file_that_is_too_large_or_not_there_is_refused(void **state)
{
    char *text = weir_alloc(WEIR_CONFIG_FILE_BYTES_MAX + 1);

    memset(text, '#', WEIR_CONFIG_FILE_BYTES_MAX + 1);
    assert_refused(weir_config_read_text(config, "x.yaml",
                       weir_bytes_of(text, WEIR_CONFIG_FILE_BYTES_MAX + 1), &error),
        "more than 1048576 bytes");
    weir_free(text);
    assert_refused(weir_config_read_file(config, "/nowhere/x.yaml", &error),
        "/nowhere/x.yaml: No such file");
    assert_refused(weir_config_read_file(config, "/", &error), "cannot be read");
}

static void
a_file_on_disk_is_read(void **state)
{
    char path[] = "/tmp/weir-config-XXXXXX";
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "pool.workers: 5\n", 16), 16);
    close(fd);
    assert_int_equal(weir_config_read_file(config, path, &error), WEIR_OK);
    assert_int_equal(values()->workers, 5);
    unlink(path);
}

static void
set_wants_a_known_key_and_a_good_value(void **state)
{
    assert_int_equal(weir_config_set(config, "pool.workers=7", &error), WEIR_OK);
    assert_int_equal(values()->workers, 7);
    assert_int_equal(weir_config_set(config, "name=a=b", &error), WEIR_OK);
    assert_string_equal(values()->name, "a=b");
    assert_refused(weir_config_set(config, "pool.workers", &error), "write KEY=VALUE");
    assert_refused(weir_config_set(config, "=7", &error), "write KEY=VALUE");
    assert_refused(weir_config_set(config, "pool.worker=7", &error), "did you mean pool.workers?");
    assert_refused(weir_config_set(config, "pool.workers=0", &error),
        "--set pool.workers: 0 is outside 1..64");
    assert_int_equal(values()->workers, 7);
}

static void
the_environment_sets_keys_and_refuses_misspelt_ones(void **state)
{
    char *good[] = { "HOME=/root", "WEIR_POOL_WORKERS=9", "WEIR_NAME=env", "WEIR_OTHER_THING=1",
        NULL };
    char *bad_name[] = { "WEIR_POOL_WORKER=9", NULL };
    char *bad_value[] = { "WEIR_POOL_WORKERS=many", NULL };

    assert_int_equal(weir_config_read_environment(config, good, &error), WEIR_OK);
    assert_int_equal(values()->workers, 9);
    assert_string_equal(values()->name, "env");
    assert_int_equal(weir_config_source_of(config, "name"), WEIR_CONFIG_FROM_ENVIRONMENT);
    assert_refused(weir_config_read_environment(config, bad_name, &error),
        "unknown setting WEIR_POOL_WORKER; did you mean WEIR_POOL_WORKERS?");
    assert_refused(weir_config_read_environment(config, bad_value, &error),
        "environment: WEIR_POOL_WORKERS: \"many\"");
}

static void
names_that_a_cluster_adds_for_a_service_are_left_alone(void **state)
{
    char *links[] = { "WEIR_POOL_SERVICE_HOST=10.0.0.1", "WEIR_POOL_SERVICE_PORT=7070",
        "WEIR_POOL_PORT=tcp://x", "WEIR_POOL_PORT_7070_TCP_ADDR=10.0.0.1",
        "WEIR_POOL_SERVICE_PORT_GRPC=7070", NULL };

    assert_int_equal(weir_config_read_environment(config, links, &error), WEIR_OK);
}

static void
the_printed_file_reads_back_as_itself(void **state)
{
    weir_buffer first = { 0 };
    weir_buffer second = { 0 };

    assert_int_equal(weir_config_set(config, "name=a\"\\b", &error), WEIR_OK);
    assert_int_equal(weir_config_set(config, "pool.keep=3h", &error), WEIR_OK);
    weir_config_print_yaml(config, true, &first);
    weir_config *again = weir_config_create(tables, sizeof(sample));
    assert_int_equal(weir_config_read_text(again, "y", weir_buffer_view(&first), &error), WEIR_OK);
    weir_config_print_yaml(again, true, &second);
    assert_true(weir_bytes_equal(weir_buffer_view(&first), weir_buffer_view(&second)));
    assert_string_equal(((const sample *)weir_config_values(again))->name, "a\"\\b");
    weir_config_destroy(&again);
    weir_buffer_fini(&first);
    weir_buffer_fini(&second);
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, make, unmake)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_fill_every_type),
        CASE(nested_and_dotted_keys_of_a_file_are_the_same),
        CASE(an_empty_file_and_an_empty_section_change_nothing),
        CASE(an_unknown_key_names_its_place_and_the_nearest_known_one),
        CASE(a_value_outside_its_bounds_names_its_place),
        CASE(a_value_of_the_wrong_form_is_refused),
        CASE(a_key_set_twice_names_both_lines),
        CASE(nothing_of_a_file_with_an_error_is_applied),
        CASE(what_a_file_of_settings_needs_not_is_refused),
        CASE(a_file_that_is_too_large_or_not_there_is_refused),
        CASE(a_file_on_disk_is_read),
        CASE(set_wants_a_known_key_and_a_good_value),
        CASE(the_environment_sets_keys_and_refuses_misspelt_ones),
        CASE(names_that_a_cluster_adds_for_a_service_are_left_alone),
        CASE(the_printed_file_reads_back_as_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
