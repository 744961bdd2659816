/*
 * Goal: a failpoint does nothing until it is armed, then what it was armed with, at the hit that
 * was named, and its table outlives the process that it killed.  Method: each case in a child,
 * since a process reads its environment at its first hit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"

enum { PASSED = 10, FAILED, CRASHED, REFUSED };

static char folder[] = "/tmp/weir-failpoint-XXXXXX";

/* Three hits of one name: how many came before the error, or CRASHED. */
static weir_code
three_hits(int *ret_passed, weir_error *reterr)
{
    for (*ret_passed = 0; *ret_passed < 3; ++*ret_passed)
        WEIR_FP_RETURN("test.returns", reterr);
    return WEIR_OK;
}

static _Noreturn void
child(void)
{
    weir_error error = { 0 };
    int passed = 0;

    WEIR_FP("test.plain");
    if (WEIR_FP_FAILS("test.fails"))
        _exit(PASSED + 10);
    if (three_hits(&passed, &error) != WEIR_OK)
        _exit(error.code == WEIR_INJECTED && strstr(error.message, "test.returns") != NULL
                ? 20 + passed
                : FAILED);
    _exit(PASSED);
}

static int
outcome_of(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGKILL ? CRASHED : FAILED;
    return WEXITSTATUS(status) == 2 ? REFUSED : WEXITSTATUS(status);
}

static int
run_child(const char *wanted, const char *table_folder)
{
    int status = 0;
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)unsetenv("WEIR_FAILPOINTS");
        (void)unsetenv("WEIR_FAILPOINTS_DIR");
        if (wanted != NULL)
            (void)setenv("WEIR_FAILPOINTS", wanted, 1);
        if (table_folder != NULL)
            (void)setenv("WEIR_FAILPOINTS_DIR", table_folder, 1);
        child();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return outcome_of(status);
}

static void
nothing_happens_unarmed(void **state)
{
    assert_int_equal(run_child(NULL, NULL), PASSED);
    assert_int_equal(run_child("test.of.another.program=crash", NULL), PASSED);
}

static void
a_crash_kills_at_the_hit_that_was_named(void **state)
{
    assert_int_equal(run_child("test.plain=crash", NULL), CRASHED);
    assert_int_equal(run_child("test.returns=crash@3", NULL), CRASHED);
    assert_int_equal(run_child("test.returns=crash@4", NULL), PASSED);
}

static void
an_error_is_returned_once_at_the_hit_that_was_named(void **state)
{
    assert_int_equal(run_child("test.fails=error", NULL), PASSED + 10);
    assert_int_equal(run_child("test.returns=error", NULL), 20);
    assert_int_equal(run_child("test.plain=error,test.returns=error@3", NULL), 22);
}

static void
a_pause_lasts_as_long_as_it_says(void **state)
{
    const int64_t begun_ms = weir_clock_mono_ms();

    assert_int_equal(run_child("test.returns=pause:30", NULL), PASSED);
    assert_true(weir_clock_mono_ms() - begun_ms >= 90);
}

/* A thousand hits in a child: how many failed, in tens. */
static int
tens_that_fail(const char *wanted)
{
    int status = 0;
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int failed = 0;

        (void)unsetenv("WEIR_FAILPOINTS_DIR");
        (void)setenv("WEIR_FAILPOINTS", wanted, 1);
        for (int i = 0; i < 1000; i++)
            failed += WEIR_FP_FAILS("test.often") ? 1 : 0;
        _exit(failed / 10);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
an_error_by_chance_comes_again_and_again_as_often_as_it_says(void **state)
{
    assert_int_equal(tens_that_fail("test.often=error:100%"), 100);
    assert_in_range(tens_that_fail("test.often=error:20%"), 15, 25);
    assert_in_range(tens_that_fail("test.often=error:0.5%"), 0, 2);
    assert_int_equal(tens_that_fail("test.often=error:0.0001%"), 0);
    assert_int_equal(tens_that_fail("test.often=error"), 0); /* once in a thousand */
}

static void
a_seed_decides_which_hits_fail(void **state)
{
    int seen[30] = { 0 };
    unsigned different = 0;

    for (int seed = 1; seed < 30; seed++) { /* of three hits: at which the first error was */
        char wanted[64];

        snprintf(wanted, sizeof wanted, "test.returns=error:50%%@%d", seed);
        seen[seed] = run_child(wanted, NULL);
        assert_int_equal(run_child(wanted, NULL), seen[seed]);
        different += seed > 1 && seen[seed] != seen[1] ? 1 : 0;
    }
    assert_true(different > 0);
}

static void
what_is_not_understood_is_refused(void **state)
{
    static const char *const wrong[] = { "test.plain", "test.plain=explode", "test.plain=crash@0",
        "test.plain=crash@x", "test.plain=pause:99999999", "test.fails=error:0%",
        "test.fails=error:101%", "test.fails=error:5", "test.fails=error:x%",
        "test.fails=error:5%@0", "test.fails=error:5%7" };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(run_child(wrong[i], NULL), REFUSED);
    assert_int_equal(run_child(NULL, "/nowhere"), REFUSED);
}

static weir_failpoint_slot *
make_table(void)
{
    char path[300];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, 2 * sizeof(weir_failpoint_slot)), 0);
    weir_failpoint_slot *table =
        mmap(NULL, 2 * sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(table, MAP_FAILED);
    close(fd);
    strcpy(table[0].name, "test.plain");
    strcpy(table[1].name, "test.returns");
    return table;
}

static void
a_table_counts_over_processes_and_arms_while_they_run(void **state)
{
    weir_failpoint_slot *table = make_table();
    char path[300];

    assert_int_equal(run_child(NULL, folder), PASSED);
    assert_int_equal(table[0].hits, 1);
    assert_int_equal(table[1].hits, 3);
    table[1].at = table[1].hits + 2;
    table[1].action = WEIR_FAILPOINT_CRASH;
    assert_int_equal(run_child(NULL, folder), CRASHED);
    assert_int_equal(table[1].hits, 5);
    assert_int_equal(table[1].fired, 1);
    assert_int_equal(table[1].action, WEIR_FAILPOINT_NONE);
    assert_int_equal(run_child(NULL, folder), PASSED);
    assert_int_equal(table[1].hits, 8);
    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void
the_list_has_every_name_of_the_program(void **state)
{
    char *arguments[] = { (char *)"program", (char *)"--list-failpoints", NULL };

    assert_false(weir_failpoints_listed(1, arguments));
    assert_true(weir_failpoints_listed(2, arguments));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_unarmed),
        cmocka_unit_test(a_crash_kills_at_the_hit_that_was_named),
        cmocka_unit_test(an_error_is_returned_once_at_the_hit_that_was_named),
        cmocka_unit_test(a_pause_lasts_as_long_as_it_says),
        cmocka_unit_test(an_error_by_chance_comes_again_and_again_as_often_as_it_says),
        cmocka_unit_test(a_seed_decides_which_hits_fail),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(a_table_counts_over_processes_and_arms_while_they_run),
        cmocka_unit_test(the_list_has_every_name_of_the_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
