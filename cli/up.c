/*
 * up.c - `weir up`: check the settings, take the lock, supervise; with --detach in a process of its
 * own.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/supervisor.h"
#include "common/base/clock.h"

extern char **environ;

enum { ARGUMENTS_MAX = 2 * CLI_VALUES_MAX + 8, READY_TIMEOUT_MS = 60000, TAIL_LINES = 20 };

/* What the services are to be started with; DATA comes from the supervisor. */
typedef struct up_arguments {
    char *list[ARGUMENTS_MAX];
    size_t count;
    char port[64];
} up_arguments;

static void
collect_arguments(const cli *self, up_arguments *arguments)
{
    const char *value;

    if (cli_has(self, "config")) {
        arguments->list[arguments->count++] = (char *)"--config";
        arguments->list[arguments->count++] = realpath(cli_text(self, "config", ""), NULL);
    }
    for (size_t i = 0; (value = cli_text_at(self, "set", i)) != NULL; i++) {
        arguments->list[arguments->count++] = (char *)"--set";
        arguments->list[arguments->count++] = (char *)value;
    }
    if (cli_has(self, "port-base")) {
        snprintf(arguments->port, sizeof arguments->port, "%s", cli_text(self, "port-base", ""));
        arguments->list[arguments->count++] = (char *)"--port-base";
        arguments->list[arguments->count++] = arguments->port;
    }
}

cli_exit
suite_load(const cli *self, weir_config **ret_config, const weir_suite_config **ret_suite)
{
    const char *assignments[CLI_VALUES_MAX + 2];
    size_t count = 0;
    const char *value;
    weir_error error = { 0 };

    for (size_t i = 0; (value = cli_text_at(self, "set", i)) != NULL; i++)
        assignments[count++] = value;
    if (cli_has(self, "data"))
        assignments[count++] =
            weir_arena_printf(self->arena, "data_dir=%s", cli_text(self, "data", ""));
    if (cli_has(self, "port-base"))
        assignments[count++] =
            weir_arena_printf(self->arena, "port_base=%s", cli_text(self, "port-base", ""));
    const weir_suite_sources sources = { .file = cli_text(self, "config", NULL),
        .environment = environ,
        .assignments = assignments,
        .assignment_count = count };
    if (weir_suite_load(&sources, ret_config, ret_suite, &error) == WEIR_OK)
        return CLI_OK;
    cli_complain("%s", error.message);
    return CLI_USAGE;
}

static cli_exit
make_folder(const char *path)
{
    char part[1100];

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    if (mkdir(part, 0700) == 0 || errno == EEXIST)
        return CLI_OK;
    cli_complain("cannot make %s: %s", path, strerror(errno));
    return CLI_ERROR;
}

cli_exit
suite_make_folders(const weir_suite_config *suite)
{
    static const char *const names[] = { "run", "log" };
    char path[1100];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", suite->common.data_dir, names[i]);
        const cli_exit result = make_folder(path);
        if (result != CLI_OK)
            return result;
    }
    return CLI_OK;
}

/* The services run with other folders than this process, so that DATA must not depend on it. */
static cli_exit
make_absolute(weir_config *config, const weir_suite_config *suite)
{
    char path[PATH_MAX];
    char assignment[PATH_MAX + 16];
    weir_error error = { 0 };

    if (realpath(suite->common.data_dir, path) == NULL) {
        cli_complain("%s: %s", suite->common.data_dir, strerror(errno));
        return CLI_ERROR;
    }
    snprintf(assignment, sizeof assignment, "data_dir=%s", path);
    if (weir_config_set(config, assignment, &error) == WEIR_OK)
        return CLI_OK;
    cli_complain("%s", error.message);
    return CLI_ERROR;
}

static cli_exit
find_program(char *out, size_t size)
{
    const ssize_t length = readlink("/proc/self/exe", out, size - 1);

    if (length < 0) {
        cli_complain("/proc/self/exe: %s", strerror(errno));
        return CLI_ERROR;
    }
    out[length] = '\0';
    return CLI_OK;
}

/* ---- in the background ---- */

static cli_exit
spawn_detached(const weir_suite_config *suite, const up_arguments *arguments, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char log[1200];
    char program[PATH_MAX];
    char *argv[ARGUMENTS_MAX + 8] = { program, (char *)"up", (char *)"--data",
        (char *)suite->common.data_dir };
    size_t count = 4;

    for (size_t i = 0; i < arguments->count; i++)
        argv[count++] = arguments->list[i];
    if (find_program(program, sizeof program) != CLI_OK)
        return CLI_ERROR;
    supervisor_log_path(suite, "up", log, sizeof log);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC,
        0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    const int problem = posix_spawn(ret_pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (problem == 0)
        return CLI_OK;
    cli_complain("the supervisor does not start: %s", strerror(problem));
    return CLI_ERROR;
}

/* SERVING of all five, or the end of the supervisor with what it said. */
static cli_exit
wait_serving(const weir_suite_config *suite, pid_t pid, int64_t timeout_ms, bool json)
{
    const int64_t until_ms = weir_clock_mono_ms() + timeout_ms;
    weir_rpc_runtime *runtime = weir_rpc_runtime_create(1);
    cli_exit result = CLI_TIMED_OUT;
    int status = 0;
    char log[1200];

    while (result == CLI_TIMED_OUT && weir_clock_mono_ms() < until_ms) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            result = WIFEXITED(status) && WEXITSTATUS(status) != 0 ? (cli_exit)WEXITSTATUS(status)
                                                                   : CLI_ERROR;
            supervisor_log_path(suite, "up", log, sizeof log);
            supervisor_print_tail(log, TAIL_LINES);
        } else if (supervisor_all_serving(runtime, suite)) {
            result = CLI_OK;
            supervisor_print_addresses(runtime, suite, json);
        } else {
            weir_clock_sleep_ms(50);
        }
    }
    weir_rpc_runtime_destroy(&runtime);
    return result;
}

static cli_exit
detach(const cli *self, const weir_suite_config *suite, const up_arguments *arguments,
    int64_t timeout_ms)
{
    int lock_fd = -1;
    pid_t pid = 0;
    cli_exit result = suite_lock_take(suite->common.data_dir, &lock_fd);

    if (result != CLI_OK)
        return result;
    close(lock_fd); /* it was only asked; the supervisor takes it for itself */
    result = spawn_detached(suite, arguments, &pid);
    if (result == CLI_OK)
        result = wait_serving(suite, pid, timeout_ms, self->json);
    if (result == CLI_TIMED_OUT)
        cli_complain(
            "not all services serve after %.0f s; they go on trying: `weir status --data %s`, "
            "logs in %s/log",
            (double)timeout_ms / 1e3, suite->common.data_dir, suite->common.data_dir);
    return result;
}

/* ---- in the foreground ---- */

static cli_exit
supervise(const cli *self, const weir_suite_config *suite, const up_arguments *arguments)
{
    supervisor it = { .suite = suite,
        .json = self->json,
        .arguments = arguments->list,
        .argument_count = arguments->count };
    char program[PATH_MAX];
    cli_exit result = find_program(program, sizeof program);

    if (result == CLI_OK)
        result = suite_lock_take(suite->common.data_dir, &it.lock_fd);
    if (result != CLI_OK)
        return result;
    snprintf(it.program_dir, sizeof it.program_dir, "%.1000s", dirname(program));
    result = supervisor_run(&it);
    close(it.lock_fd);
    return result;
}

cli_exit
cli_up(cli *self)
{
    weir_config *config = NULL;
    const weir_suite_config *suite = NULL;
    up_arguments arguments = { .count = 0 };
    int64_t timeout_ms = 0;
    cli_exit result = cli_duration(self, "timeout", READY_TIMEOUT_MS, &timeout_ms);

    if (result == CLI_OK)
        result = suite_load(self, &config, &suite);
    if (result != CLI_OK)
        return result;
    collect_arguments(self, &arguments);
    result = suite_make_folders(suite);
    if (result == CLI_OK)
        result = make_absolute(config, suite);
    if (result == CLI_OK)
        result = cli_has(self, "detach") ? detach(self, suite, &arguments, timeout_ms)
                                         : supervise(self, suite, &arguments);
    weir_config_destroy(&config);
    return result;
}

/* ---- weir down ---- */

enum { DOWN_TIMEOUT_MS = 45000 };

static void
say_down(const cli *self, const char *data_dir, const char *sentence)
{
    if (self->json)
        cli_print_json_texts((const char *const[]){ "data", data_dir, "state", "STOPPED", "message",
            sentence, NULL });
    else
        printf("%s\n", sentence);
}

cli_exit
cli_down(cli *self)
{
    weir_config *config = NULL;
    const weir_suite_config *suite = NULL;
    suite_ids ids;
    int64_t timeout_ms = 0;
    cli_exit result = cli_duration(self, "timeout", DOWN_TIMEOUT_MS, &timeout_ms);

    if (result == CLI_OK)
        result = suite_load(self, &config, &suite);
    if (result != CLI_OK)
        return result;
    if (!suite_lock_read(suite->common.data_dir, &ids) || ids.supervisor <= 0) {
        say_down(self, suite->common.data_dir,
            weir_arena_printf(self->arena, "nothing runs on %s", suite->common.data_dir));
    } else {
        kill(ids.supervisor, SIGTERM);
        if (suite_lock_wait_free(suite->common.data_dir, timeout_ms)) {
            say_down(self, suite->common.data_dir,
                "weir is down; what was accepted goes on at the next `weir up`");
        } else {
            cli_complain("process %d still drains after %.0f s; it goes on: `weir status --data "
                         "%s` shows it",
                (int)ids.supervisor, (double)timeout_ms / 1e3, suite->common.data_dir);
            result = CLI_TIMED_OUT;
        }
    }
    weir_config_destroy(&config);
    return result;
}
