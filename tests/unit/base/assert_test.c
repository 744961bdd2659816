/* Goal: a failed assertion says where and kills the process.  Method: a child that fails one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/assert.h"

static void
a_true_assertion_does_nothing(void **state)
{
    weir_assert(1 + 1 == 2);
}

static void
fail_one(int standard_error)
{
    const struct rlimit no_core = { 0, 0 };

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGABRT, SIG_DFL);
    (void)dup2(standard_error, STDERR_FILENO);
    weir_assert(getpid() == 0);
    _exit(0);
}

static void
a_false_assertion_is_logged_and_aborts(void **state)
{
    int pipe_fds[2];
    char text[1024] = { 0 };
    int status = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fail_one(pipe_fds[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(read(pipe_fds[0], text, sizeof text - 1) > 0);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "\"event\":\"assert.failed\""));
    assert_non_null(strstr(text, "\"expression\":\"getpid() == 0\""));
    assert_non_null(strstr(text, "assert_test.c"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_true_assertion_does_nothing),
        cmocka_unit_test(a_false_assertion_is_logged_and_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
