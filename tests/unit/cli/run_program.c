/*
 * run_program.c - posix_spawn with output into files; the test waits with a deadline.
 */
#include "tests/unit/cli/run_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { DEADLINE_MS = 60000, WORDS_MAX = 64 };

extern char **environ;

void
pause_ms(int ms)
{
    struct pollfd nothing = { .fd = -1 };

    poll(&nothing, 1, ms);
}

bool
is_alive(pid_t pid)
{
    char path[64];
    char state = 'Z';

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state != 'Z';
}

int
wait_program(pid_t pid)
{
    const int64_t until_ms = weir_clock_mono_ms() + DEADLINE_MS;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        pause_ms(2);
        if (weir_clock_mono_ms() > until_ms)
            fail_msg("process %d has not ended", (int)pid);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static pid_t
start(char *const *argv, const char *out, const char *err)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(posix_spawn(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

pid_t
start_program(char *const *argv, const char *log)
{
    return start(argv, log, log);
}

static void
read_back(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
    unlink(path);
}

/* A name that no other process has, in another namespace either. */
static void
make_file(char *name)
{
    const int fd = mkstemp(name);

    assert_true(fd >= 0);
    close(fd);
}

const program_result *
run_program(char *const *argv)
{
    static program_result result;
    char out[] = "/tmp/weir-run-XXXXXX";
    char err[] = "/tmp/weir-run-XXXXXX";

    make_file(out);
    make_file(err);
    result.status = wait_program(start(argv, out, err));
    read_back(out, result.out, sizeof result.out);
    read_back(err, result.err, sizeof result.err);
    return &result;
}

const program_result *
run_words(const char *program, const char *words)
{
    static char copy[4096];
    char *argv[WORDS_MAX + 2] = { (char *)program };
    int count = 1;
    char *save = NULL;

    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        assert_true(count <= WORDS_MAX);
        argv[count++] = word;
    }
    return run_program(argv);
}

void
assert_contains(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", wanted, text);
}
