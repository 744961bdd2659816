/*
 * main.c - weir_service_main: from the arguments to the exit code, the same for all five.
 *
 * Signals: SIGTERM and SIGINT begin the drain, SIGPIPE is ignored, a drain that outlives its grace
 * is cut off by SIGALRM.  Being killed at any instruction loses nothing that was acknowledged: the
 * next start is the normal path.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/service/service_internal.h"

extern char **environ;

enum { OPEN_FILES_WANTED = 65536, LATE_SECONDS = 5 };

static void
raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const rlim_t wanted = limit.rlim_max < OPEN_FILES_WANTED ? limit.rlim_max : OPEN_FILES_WANTED;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        weir_log(WEIR_LOG_WARN, "service.limit", WEIR_STR("message", strerror(errno)));
}

/* Before the first thread, so that all inherit it: only the main thread takes these, by sigwait. */
static void
block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* True: the parent is still there and this process ends with it. */
static bool
die_with_parent(long parent)
{
    if (parent == 0)
        return true;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return (long)getppid() == parent; /* it may have ended before the line above */
}

static void
begin_log(const weir_service *service)
{
    const weir_common_config *common = &service->config->common;
    const bool text = common->log_format == WEIR_LOG_FORMAT_TEXT ||
        (common->log_format == WEIR_LOG_FORMAT_AUTO && isatty(STDERR_FILENO));

    weir_log_init(service->name, text, (weir_log_level)common->log_level);
}

static void
late(int signal_number)
{
    static const char message[] =
        "weir: the drain took longer than shutdown_grace_ms and was cut off\n";

    (void)signal_number;
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
        _exit(SERVICE_EXIT_LATE);
    _exit(SERVICE_EXIT_LATE);
}

/* The allocator reads it before anything runs: few heaps, and a thread that gives back what was not
 * used for some seconds (of the embedder the parsed graph's memory). */
__attribute__((visibility("default"))) const char *malloc_conf = "narenas:4,background_thread:true";

/* A record that a start cannot read is out of the way at the next one; there may be several. */
static weir_code
start(weir_service *service, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    do {
        service->private->set_aside = false;
        code = service_start(service, reterr);
    } while (code != WEIR_OK && service->private->set_aside);
    return code;
}

static int
run(weir_service *service, const service_arguments *arguments)
{
    weir_error error = { 0 };
    sigset_t signals;
    int taken = 0;

    begin_log(service);
    block_signals(&signals);
    if (!die_with_parent(arguments->parent))
        return SERVICE_EXIT_FAILED;
    umask(077);
    raise_open_files();
    if (start(service, &error) != WEIR_OK)
        return SERVICE_EXIT_FAILED;
    weir_log(WEIR_LOG_INFO, "service.started", WEIR_STR("version", WEIR_VERSION),
        WEIR_INT("pid", getpid()),
        WEIR_INT("duration_ms", weir_clock_wall_ms() - service->started_ms));

    sigwait(&signals, &taken);
    weir_log(WEIR_LOG_INFO, "service.drain",
        WEIR_STR("reason", taken == SIGTERM ? "SIGTERM" : "SIGINT"));
    signal(SIGALRM, late);
    alarm(service->config->common.shutdown_grace_ms / 1000 + LATE_SECONDS);
    const int64_t begun_ms = weir_clock_mono_ms();
    const bool clean = service_stop(service);
    alarm(0);
    weir_log(clean ? WEIR_LOG_INFO : WEIR_LOG_WARN, "service.stopped",
        WEIR_STR("message", clean ? "drained" : "time was over; the next start goes on"),
        WEIR_INT("duration_ms", weir_clock_mono_ms() - begun_ms));
    return SERVICE_EXIT_DRAINED;
}

static int
print(const weir_config *config, service_action action)
{
    weir_buffer out = { 0 };

    if (action == SERVICE_PRINT_CONFIG)
        weir_config_print_yaml(config, true, &out);
    else
        weir_config_print_reference(config, &out);
    const bool written = fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
    weir_buffer_fini(&out);
    return written ? 0 : SERVICE_EXIT_FAILED;
}

static int
act(weir_service *service, const service_arguments *arguments)
{
    switch (arguments->action) {
    case SERVICE_CHECK:
        printf("the settings are good\n");
        return 0;
    case SERVICE_PRINT_CONFIG:
    case SERVICE_PRINT_REFERENCE:
        return print(service->private->config_owner, arguments->action);
    case SERVICE_RUN:
    case SERVICE_VERSION:
    case SERVICE_HELP:
        break;
    }
    return run(service, arguments);
}

static int
load_and_act(weir_service *service, const service_arguments *arguments)
{
    weir_error error = { 0 };
    const weir_suite_sources sources = {
        .file = arguments->config_file,
        .environment = environ,
        .assignments = arguments->assignments,
        .assignment_count = arguments->assignment_count,
    };

    if (weir_suite_load(&sources, &service->private->config_owner, &service->config, &error) !=
        WEIR_OK) {
        fprintf(stderr, "weir-%s: %s\n", service->name, error.message);
        return SERVICE_EXIT_FAILED;
    }
    const int status = act(service, arguments);
    weir_config_destroy(&service->private->config_owner);
    return status;
}

int
weir_service_main(int argc, char **argv, const weir_service_spec *spec)
{
    struct weir_service_private private = { .lock = PTHREAD_MUTEX_INITIALIZER,
        .shell_lock = PTHREAD_RWLOCK_INITIALIZER };
    weir_service service = { .spec = spec,
        .name = weir_service_name(spec->id),
        .private = &private,
        .started_ms = weir_clock_wall_ms() };
    service_arguments arguments;
    weir_error error = { 0 };

    if (weir_failpoints_listed(argc, argv))
        return 0;
    weir_log_init(service.name, false, WEIR_LOG_INFO);
    if (service_arguments_parse(argc, argv, &arguments, &error) != WEIR_OK) {
        fprintf(stderr, "weir-%s: %s\n", service.name, error.message);
        return SERVICE_EXIT_USAGE;
    }
    if (arguments.action == SERVICE_VERSION) {
        printf("weir-%s %s\n", service.name, WEIR_VERSION);
        return 0;
    }
    if (arguments.action == SERVICE_HELP) {
        service_print_help(argv[0]);
        return 0;
    }
    return load_and_act(&service, &arguments);
}

_Noreturn void
weir_service_fatal(weir_service *service, const weir_error *error)
{
    atomic_store(&service->private->draining, true);
    weir_log(WEIR_LOG_ERROR, "service.fatal", WEIR_STR("reason", weir_code_name(error->code)),
        WEIR_STR("message", error->message));
    _exit(SERVICE_EXIT_FATAL);
}
