/*
 * Goal: two processes over a Unix socket and RocksDB lose and double nothing when they are killed
 * at any moment. Method: link_rig at both ends; every 20 to 250 ms one of them, or both, get
 * SIGKILL and are started again; at last all rows must be settled and acknowledged.  KILLS sets how
 * many (SIGKILL leaves the page cache: a power cut is tested elsewhere).
 */
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/random.h"

enum { DEADLINE_MS = 30000, KILLS_DEFAULT = 50 };

static char program[400];

static pid_t
start(const char *role, const char *folder)
{
    sigset_t term, before;

    /* A process that is asked to end before it can take the signal keeps it until it can. */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive a failed test */
        execl(program, program, role, folder, (char *)NULL);
        _exit(127);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return child;
}

/* Wait for the end of a process; -1 at the deadline. */
static int
wait_for(pid_t child)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;
    int status = 0;

    while (waitpid(child, &status, WNOHANG) == 0) {
        if (weir_clock_mono_ms() > until_ms) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        weir_clock_sleep_ms(2);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
kill_and_restart(pid_t *child, const char *role, const char *folder)
{
    assert_int_equal(kill(*child, SIGKILL), 0);
    assert_int_equal(wait_for(*child),
        128 + SIGKILL); /* anything else: it had ended by itself, and said why */
    *child = start(role, folder);
}

static int
remove_one(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info, (void)flag, (void)walk;
    return remove(path);
}

static void
killed_at_any_moment_nothing_is_lost_or_doubled(void **state)
{
    const char *wanted = getenv("KILLS");
    const int kills = wanted != NULL ? atoi(wanted) : KILLS_DEFAULT;
    const uint64_t seed = weir_random_u64();
    weir_rng rng = { .state = seed };
    char folder[] = "/tmp/weir-rig-XXXXXX";
    const int64_t begun_ms = weir_clock_mono_ms();

    assert_non_null(mkdtemp(folder));
    pid_t receiver = start("receiver", folder), sender = start("sender", folder);
    for (int i = 0; i < kills; i++) {
        weir_clock_sleep_ms(20 + (uint32_t)weir_rng_below(&rng, 230)); /* the moment of the kill */
        const uint64_t which = weir_rng_below(&rng, 5);
        if (which != 0)
            kill_and_restart(which < 3 ? &sender : &receiver, which < 3 ? "sender" : "receiver",
                folder);
        else {
            kill_and_restart(&sender, "sender", folder);
            kill_and_restart(&receiver, "receiver", folder);
        }
    }
    assert_int_equal(kill(sender, SIGTERM), 0);
    assert_int_equal(wait_for(sender), 0); /* it ends when everything is acknowledged */
    assert_int_equal(kill(receiver, SIGTERM), 0);
    assert_int_equal(wait_for(receiver), 0);
    assert_int_equal(wait_for(start("check", folder)), 0);
    print_message("seed %llu: %d kills in %lld ms\n", (unsigned long long)seed, kills,
        (long long)(weir_clock_mono_ms() - begun_ms));
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_moment_nothing_is_lost_or_doubled)
    };

    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    snprintf(program, sizeof program, "%.*slink_rig",
        slash != NULL ? (int)(slash + 1 - argv[0]) : 0, argv[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
