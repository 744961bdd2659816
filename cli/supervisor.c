/*
 * supervisor.c - `weir up` from the inside: a loop over child exits, due restarts and signals.
 */
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "weir/v1/system.pb-c.h"

extern char **environ;

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 30000,
    LONG_LIFE_MS = 60000,
    TICK_MS = 100,
    LOG_BYTES_MAX = 64 << 20,
    LOG_CHECK_MS = 10000,
    END_EXTRA_MS = 10000, /* beyond the services' own grace */
    TAIL_LINES = 10,
    EXIT_FATAL = 70,
    SERVICE_ARGUMENTS = 8,
    INFO_TIMEOUT_MS = 5000,
};

/* ---- logs ---- */

void
supervisor_log_path(const weir_suite_config *suite, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/log/%s.log", suite->common.data_dir, name);
}

void
supervisor_print_tail(const char *path, size_t lines)
{
    char text[8192];
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return;
    if (fseek(file, -(long)sizeof text + 1, SEEK_END) != 0)
        rewind(file);
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    size_t from = size;
    while (from > 0 && lines > 0) {
        from--;
        if (from == 0 || text[from - 1] == '\n')
            lines--;
    }
    fprintf(stderr, "%s", text + from);
}

/* The service appends, so the file can be copied away and emptied beneath it; lines between the two
 * are lost. */
static void
rotate_log(const char *path)
{
    struct stat state;
    char old[1300];
    char block[1 << 16];
    ssize_t size;

    if (stat(path, &state) != 0 || state.st_size < LOG_BYTES_MAX)
        return;
    snprintf(old, sizeof old, "%s.1", path);
    const int from = open(path, O_RDWR | O_CLOEXEC);
    const int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (from >= 0 && to >= 0 && (size = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)size) != size)
            break;
    if (from >= 0 && ftruncate(from, 0) != 0)
        cli_complain("%s cannot be emptied: %s", path, strerror(errno));
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
}

static void
rotate_logs(supervisor *self)
{
    const int64_t now_ms = weir_clock_mono_ms();
    char path[1200];

    if (now_ms - self->log_checked_ms < LOG_CHECK_MS)
        return;
    self->log_checked_ms = now_ms;
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        supervisor_log_path(self->suite, weir_service_name((weir_service_id)i), path, sizeof path);
        rotate_log(path);
    }
}

/* ---- one process ---- */

static int
spawn(const char *program, char *const *argv, const char *log, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
        0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    /* A group of its own: Ctrl-C reaches the supervisor alone, which then ends the services in
     * order. */
    posix_spawnattr_setflags(&attributes,
        POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    const int problem = posix_spawn(ret_pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return problem;
}

static bool
start_service(supervisor *self, weir_service_id id)
{
    char program[1200];
    char log[1200];
    char parent[16];
    suite_process *process = &self->ids.services[id];
    char **argv = weir_alloc_zero(self->argument_count + SERVICE_ARGUMENTS, sizeof *argv);
    size_t count = 0;

    snprintf(program, sizeof program, "%s/weir-%s", self->program_dir, weir_service_name(id));
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    supervisor_log_path(self->suite, weir_service_name(id), log, sizeof log);
    argv[count++] = program;
    for (size_t i = 0; i < self->argument_count; i++)
        argv[count++] = self->arguments[i];
    argv[count++] = (char *)"--data";
    argv[count++] = (char *)self->suite->common.data_dir;
    argv[count++] = (char *)"--die-with-parent";
    argv[count++] = parent;
    const int problem = spawn(program, argv, log, &process->pid);
    weir_free(argv);
    if (problem != 0) {
        process->pid = 0;
        cli_complain("%s does not start: %s", program, strerror(problem));
        return false;
    }
    process->started_ms = weir_clock_wall_ms();
    suite_lock_write(self->lock_fd, &self->ids);
    return true;
}

/* ---- exits ---- */

static weir_service_id
service_of(const supervisor *self, pid_t pid)
{
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        if (self->ids.services[i].pid == pid)
            return (weir_service_id)i;
    return WEIR_SERVICE_NONE;
}

static void
describe_exit(weir_service_id id, int status, int64_t restart_in_ms)
{
    char how[64];
    char when[64] = "";

    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "exited with %d", WEXITSTATUS(status));
    if (restart_in_ms == 0)
        snprintf(when, sizeof when, "; restarting now");
    else if (restart_in_ms > 0)
        snprintf(when, sizeof when, "; restarting in %.0f s", (double)restart_in_ms / 1e3);
    cli_complain("%s %s%s", weir_service_name(id), how, when);
}

/* A first start that fails by itself (a port in use, a wrong file, a locked folder) fails again. */
static bool
is_failed_start(const supervisor *self, int status)
{
    return !self->announced && WIFEXITED(status) && WEXITSTATUS(status) != EXIT_FATAL;
}

static void
plan_restart(supervisor *self, weir_service_id id, int status)
{
    suite_process *process = &self->ids.services[id];
    const int64_t lived_ms = weir_clock_wall_ms() - process->started_ms;
    int64_t *backoff_ms = &self->backoff_ms[id];

    if (lived_ms >= LONG_LIFE_MS)
        *backoff_ms = 0;
    describe_exit(id, status, *backoff_ms);
    self->restart_at_ms[id] = weir_clock_mono_ms() + *backoff_ms;
    *backoff_ms = *backoff_ms == 0 ? BACKOFF_FIRST_MS : *backoff_ms * 2;
    if (*backoff_ms > BACKOFF_MAX_MS)
        *backoff_ms = BACKOFF_MAX_MS;
}

/* False: the suite cannot go on. */
static bool
take_exit(supervisor *self, pid_t pid, int status)
{
    const weir_service_id id = service_of(self, pid);
    char log[1200];

    if (id == WEIR_SERVICE_NONE)
        return true;
    self->ids.services[id].pid = 0;
    suite_lock_write(self->lock_fd, &self->ids);
    if (self->ending)
        return true;
    if (is_failed_start(self, status)) {
        supervisor_log_path(self->suite, weir_service_name(id), log, sizeof log);
        describe_exit(id, status, -1);
        fprintf(stderr, "the end of %s:\n", log);
        supervisor_print_tail(log, TAIL_LINES);
        return false;
    }
    plan_restart(self, id, status);
    return true;
}

static bool
reap(supervisor *self)
{
    int status = 0;
    pid_t pid;
    bool good = true;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        good = take_exit(self, pid, status) && good;
    return good;
}

static bool
restart_due(supervisor *self)
{
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        if (self->restart_at_ms[i] == 0 || self->restart_at_ms[i] > weir_clock_mono_ms())
            continue;
        self->restart_at_ms[i] = 0;
        self->ids.services[i].restarts++;
        if (!start_service(self, (weir_service_id)i))
            return false;
    }
    return true;
}

/* ---- the end ---- */

static size_t
alive(const supervisor *self)
{
    size_t count = 0;

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        count += self->ids.services[i].pid > 0;
    return count;
}

static void
signal_all(const supervisor *self, int number)
{
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        if (self->ids.services[i].pid > 0)
            kill(self->ids.services[i].pid, number);
}

/* Drain all five; what has not ended in time, or at a second signal, is killed: the next start goes
 * on. */
static void
end_all(supervisor *self, const sigset_t *signals)
{
    const int64_t until_ms =
        weir_clock_mono_ms() + self->suite->common.shutdown_grace_ms + END_EXTRA_MS;
    const struct timespec tick = { .tv_nsec = TICK_MS * 1000000 };

    self->ending = true;
    signal_all(self, SIGTERM);
    while (alive(self) > 0 && weir_clock_mono_ms() < until_ms) {
        const int taken = sigtimedwait(signals, NULL, &tick);
        if (taken == SIGTERM || taken == SIGINT)
            break;
        (void)reap(self);
    }
    signal_all(self, SIGKILL);
    while (alive(self) > 0) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0)
            break;
        (void)take_exit(self, pid, status);
    }
    self->ids.supervisor = 0;
    suite_lock_write(self->lock_fd, &self->ids);
}

/* ---- the loop ---- */

/* By the Unix sockets: another suite may have the ports. */
bool
supervisor_all_serving(weir_rpc_runtime *runtime, const weir_suite_config *suite)
{
    char target[1200];

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        suite_socket(suite->common.data_dir, (weir_service_id)i, target, sizeof target);
        if (!cli_is_serving(runtime, target, 500))
            return false;
    }
    return true;
}

/* The default model, with a note when it is not the one that was wanted; in the arena.  "": the
 * gateway did not say. */
static const char *
ask_model(weir_rpc_runtime *runtime, const char *endpoint, weir_arena *arena)
{
    Weir__V1__GetServerInfoRequest request = WEIR__V1__GET_SERVER_INFO_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    cli asker = { .runtime = runtime, .arena = arena };
    const char *model = "";

    if (weir_rpc_channel_open(runtime, endpoint, NULL, &asker.channel, &error) == WEIR_OK &&
        cli_try(&asker, &weir__v1__system_service__descriptor, "GetServerInfo", &request.base,
            INFO_TIMEOUT_MS, arena, &message, &error) == WEIR_OK) {
        const Weir__V1__GetServerInfoResponse *info = (const void *)message;
        model = weir_arena_printf(arena, "%s%s%s", info->default_embedding_model,
            info->default_embedding_model_note[0] != '\0' ? ": " : "",
            info->default_embedding_model_note);
    }
    weir_rpc_channel_close(&asker.channel);
    return model;
}

void
supervisor_print_addresses(weir_rpc_runtime *runtime, const weir_suite_config *suite, bool json)
{
    const char *listen = suite->common.listen_address;
    const char *data = suite->common.data_dir;
    weir_arena *arena = weir_arena_create(0);
    char grpc[128];
    char http[128];
    char admin[128];

    suite_endpoint(listen, weir_suite_grpc_port(suite, 1), grpc, sizeof grpc);
    suite_endpoint(listen, weir_suite_json_port(suite), http, sizeof http);
    suite_endpoint(listen, weir_suite_admin_port(suite, 1), admin, sizeof admin);
    const char *model = ask_model(runtime, grpc, arena);
    if (json)
        cli_print_json_texts((const char *const[]){ "grpc", grpc, "json",
            weir_arena_printf(arena, "http://%s", http), "metrics",
            weir_arena_printf(arena, "http://%s/metrics", admin), "data", data, "logs",
            weir_arena_printf(arena, "%s/log", data), "model", model, NULL });
    else
        printf("weir is up\n"
               "  gRPC     %s    (weir --address, WEIR_ADDRESS, grpcurl -plaintext)\n"
               "  JSON     http://%s\n"
               "  metrics  http://%s/metrics and the next four ports\n"
               "  data     %s\n"
               "  logs     %s/log\n"
               "  model    %s\n",
            grpc, http, admin, data, data, model[0] != '\0' ? model : "?");
    fflush(stdout);
    weir_arena_destroy(&arena);
}

static void
announce(supervisor *self, weir_rpc_runtime **runtime_p)
{
    if (self->announced || alive(self) != WEIR_SERVICE_COUNT - 1 ||
        !supervisor_all_serving(*runtime_p, self->suite))
        return;
    self->announced = true;
    supervisor_print_addresses(*runtime_p, self->suite, self->json);
    weir_rpc_runtime_destroy(runtime_p);
}

static bool
start_all(supervisor *self)
{
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        if (!start_service(self, (weir_service_id)i))
            return false;
    return true;
}

static cli_exit
loop(supervisor *self, const sigset_t *signals, weir_rpc_runtime **runtime_p)
{
    const struct timespec soon = { .tv_nsec = TICK_MS * 1000000 };
    const struct timespec later = { .tv_sec = 1 };

    if (!start_all(self))
        return CLI_ERROR;
    for (;;) {
        const bool hurry = !self->announced || alive(self) < WEIR_SERVICE_COUNT - 1;
        const int taken = sigtimedwait(signals, NULL, hurry ? &soon : &later);
        if (taken == SIGTERM || taken == SIGINT || taken == SIGHUP)
            return CLI_OK;
        if (!reap(self) || !restart_due(self))
            return CLI_ERROR;
        announce(self, runtime_p);
        rotate_logs(self);
    }
}

cli_exit
supervisor_run(supervisor *self)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    weir_rpc_runtime *runtime = weir_rpc_runtime_create(1);
    self->ids.supervisor = getpid();
    self->ids.port_base = self->suite->common.port_base;
    snprintf(self->ids.address, sizeof self->ids.address, "%s", self->suite->common.listen_address);
    suite_lock_write(self->lock_fd, &self->ids);

    const cli_exit result = loop(self, &signals, &runtime);
    if (isatty(STDERR_FILENO) && result == CLI_OK)
        fprintf(stderr, "\nweir: draining; what was accepted stays accepted\n");
    end_all(self, &signals);
    weir_rpc_runtime_destroy(&runtime);
    return result;
}
