/*
 * thread_test.c - a process does not go on without a thread that the core of gRPC wanted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>
#include <grpc/grpc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rpc/client.h"

/* So many bytes of address space more than it has: enough for the core's blocks, too few for the
 * stack of a thread. */
static void
limit_memory(size_t more)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        _exit(2);
    fclose(file);

    const rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    const struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
    const struct rlimit no_core = { 0 };

    if (setrlimit(RLIMIT_AS, &limit) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0)
        _exit(2);
}

static void
a_thread_that_the_core_cannot_start_ends_the_process(void **state)
{
    weir_rpc_runtime *none = NULL;
    int status = 0;
    const pid_t child = fork();

    weir_rpc_runtime_destroy(&none); /* a program that has the layer */
    assert_int_not_equal(child, -1);
    if (child == 0) {
        alarm(20);
        limit_memory(4 << 20);
        grpc_init();
        _exit(0); /* it went on without its timers */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_the_core_cannot_start_ends_the_process),
    };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0; /* their shadow memory knows no limit on the address space */
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
