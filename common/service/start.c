/*
 * start.c - a service's start as a table of steps, undone in reverse.
 *
 * Order matters: models before threads, the store before the core, the core before anything that
 * can reach it, the servers after all that they serve, the admin port last.  A crash between any
 * two steps is the normal path.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/domain/schemas.h"
#include "common/service/service_internal.h"
#include "common/wire/descriptors.h"

/* The longest name of a socket below DATA/run, with some to spare. */
enum { SOCKET_NAME_BYTES = 40, SOCKET_PATH_BYTES_MAX = 107 };

static weir_code
make_folder(const char *path, mode_t mode, weir_error *reterr)
{
    char part[1024];

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return weir_error_set(reterr, WEIR_STORE_IO, "cannot make %s: %s", part,
                strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return weir_error_set(reterr, WEIR_STORE_IO, "cannot make %s: %s", path, strerror(errno));
    return WEIR_OK;
}

/* `weir restore` keeps this file from its first change to its last. */
static weir_code
refuse_half_restore(const weir_service *service, weir_error *reterr)
{
    char path[1100];
    struct stat status;

    snprintf(path, sizeof path, "%s/restoring", service->data_dir);
    if (lstat(path, &status) != 0)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_STORE_LOCKED,
        "%s holds half a restore: run `weir restore` again, with --replace", service->data_dir);
}

static weir_code
begin_folders(weir_service *service, weir_error *reterr)
{
    struct weir_service_private *private = service->private;

    service->data_dir = service->config->common.data_dir;
    if (strlen(service->data_dir) + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES_MAX)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "data_dir has %zu bytes, and the sockets below it allow %d: choose a shorter path",
            strlen(service->data_dir), SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES);
    snprintf(private->run_dir, sizeof private->run_dir, "%s/run", service->data_dir);
    service->run_dir = private->run_dir;
    weir_code code = make_folder(service->data_dir, 0700, reterr);
    if (code == WEIR_OK)
        code = refuse_half_restore(service, reterr);
    return code == WEIR_OK ? make_folder(service->run_dir, 0700, reterr) : code;
}

static weir_code
begin_prepare(weir_service *service, weir_error *reterr)
{
    return service->spec->prepare != NULL ? service->spec->prepare(service, reterr) : WEIR_OK;
}

/* What a person must do comes first: the cause may be cut. */
static void
say_damage(const weir_service *service, const weir_error *cause, weir_error *ret_error)
{
    if (service->spec->id == WEIR_SERVICE_GATEWAY)
        weir_error_set(ret_error, WEIR_CORRUPT,
            "the database in %s/%s is damaged; restore it from a backup with `weir restore`, or, "
            "if only its log is, make do with the rest: `weir restore --in-place` (%s)",
            service->data_dir, service->name, cause->message);
    else
        weir_error_set(ret_error, WEIR_CORRUPT,
            "the database in %s/%s is damaged; delete that folder and start again, and the gateway "
            "has it built anew (%s)",
            service->data_dir, service->name, cause->message);
}

static void
store_damaged(void *ud, const weir_error *error)
{
    weir_error said;

    say_damage(ud, error, &said);
    weir_service_fatal(ud, &said);
}

static weir_code
begin_store(weir_service *service, weir_error *reterr)
{
    const weir_common_config *common = &service->config->common;
    const weir_schemas schemas = weir_schemas_of(service->spec->id);
    weir_error error = { .code = WEIR_OK };
    char path[1100];
    const weir_store_options options = {
        .path = path,
        .service = service->name,
        .schema = schemas.newest,
        .schema_oldest = schemas.oldest,
        .cache_bytes = common->store_cache_bytes,
        .compresses_values = service->spec->stores_text,
        .whole_filters = service->spec->asks_for_absent,
        .reserve_bytes = common->store_reserve_bytes,
        .ballast_bytes = common->store_ballast_bytes,
    };

    snprintf(path, sizeof path, "%s/%s", service->data_dir, service->name);
    const weir_code code = weir_store_open(&options, &service->store, &error);
    if (code == WEIR_OK)
        weir_store_on_damage(service->store, store_damaged, service);
    else if (code == WEIR_CORRUPT)
        say_damage(service, &error, reterr);
    else
        *reterr = error;
    return code;
}

static void
end_store(weir_service *service)
{
    weir_store_close(&service->store);
}

static weir_code
begin_runtime(weir_service *service, weir_error *reterr)
{
    const uint32_t own =
        service->spec->id == WEIR_SERVICE_GATEWAY ? service->config->gateway.pollers : 0;

    service->metrics = weir_metrics_create();
    service_metrics_declare(service);
    service->runtime =
        weir_rpc_runtime_create(own != 0 ? own : service->config->common.rpc_pollers);
    service->descriptors = weir_rpc_descriptors_create();
    return weir_rpc_descriptors_add(service->descriptors, weir_descriptor_set(), reterr);
}

static void
end_runtime(weir_service *service)
{
    for (int i = 0; i < WEIR_SERVICE_COUNT; i++)
        weir_rpc_channel_close(&service->private->channels[i]);
    weir_rpc_runtime_destroy(&service->runtime);
    weir_rpc_descriptors_destroy(&service->descriptors);
    weir_metrics_destroy(&service->metrics);
}

static weir_code
begin_core(weir_service *service, weir_error *reterr)
{
    const weir_code code = service->spec->start(service, &service->private->parts, reterr);

    service->self = service->private->parts.self;
    return code;
}

static void
end_core(weir_service *service)
{
    if (service->spec->stop != NULL)
        service->spec->stop(service, service->self);
}

/* What a round met that is not out of the way at the next start, unless it says itself what to do.
 */
static void
shell_failed(void *context, const weir_error *error)
{
    const weir_service *service = context;
    weir_error said = *error;

    if (error->code == WEIR_CORRUPT && !service->private->set_aside &&
        strstr(error->message, "weir restore") == NULL)
        say_damage(service, error, &said);
    weir_service_fatal(context, &said);
}

static void
shell_thread_start(void *context, int worker)
{
    const weir_service *service = context;

    service->private->parts.thread_start(service->self, worker);
}

static weir_code
begin_shell(weir_service *service, weir_error *reterr)
{
    const weir_common_config *common = &service->config->common;
    const weir_service_parts *parts = &service->private->parts;

    service_meter_init(&service->private->meter, parts, service->metrics);
    const weir_shell_options options = {
        .service = service->spec->id,
        .store = service->store,
        .ops = &service->private->meter.ops,
        .core = &service->private->meter,
        .run_dir = service->run_dir,
        .workers = parts->workers,
        .inbox_events_max = common->inbox_events_max,
        .inbox_bytes_max = common->inbox_bytes_max,
        .linger_ms = parts->linger_ms,
        .set_aside = &service->private->set_aside,
        .disk_low_bytes = common->store_low_water_bytes,
        .fatal = shell_failed,
        .thread_start = parts->thread_start != NULL ? shell_thread_start : NULL,
        .ud = service,
    };

    weir_error error = { .code = WEIR_OK };
    const weir_code code = weir_shell_start(&options, &service->shell, &error);
    if (code == WEIR_CORRUPT && !service->private->set_aside)
        say_damage(service, &error, reterr);
    else if (code != WEIR_OK)
        *reterr = error;
    return code;
}

static void
end_shell(weir_service *service)
{
    if (service->shell != NULL)
        (void)weir_shell_stop(&service->shell, 0);
}

static weir_code
begin_servers(weir_service *service, weir_error *reterr)
{
    weir_code code = service_servers_create(service, reterr);

    if (code == WEIR_OK && service->spec->serve != NULL)
        code = service->spec->serve(service, service->self, reterr);
    service->private->serves = code == WEIR_OK;
    return code == WEIR_OK ? service_servers_start(service, reterr) : code;
}

/* Also after half a begin. */
static void
end_servers(weir_service *service)
{
    weir_rpc_server_destroy(&service->server);
    weir_rpc_server_destroy(&service->inner);
}

static weir_code
begin_admin(weir_service *service, weir_error *reterr)
{
    return service_admin_start(service, reterr);
}

static void
end_admin(weir_service *service)
{
    weir_http_server_stop(&service->private->admin);
}

typedef struct start_step {
    const char *name;
    weir_code (*begin)(weir_service *service, weir_error *reterr);
    void (*end)(weir_service *service); /* NULL: nothing to undo */
    bool end_half;                      /* `end` also undoes a begin that failed */
} start_step;

static const start_step steps[] = {
    { "folders", begin_folders, NULL, false },
    { "models", begin_prepare, NULL, false },
    { "store", begin_store, end_store, false },
    { "runtime", begin_runtime, end_runtime, true },
    { "core", begin_core, end_core, false },
    { "shell", begin_shell, end_shell, true },
    { "servers", begin_servers, end_servers, true },
    { "admin", begin_admin, end_admin, false },
};
enum { STEP_COUNT = sizeof steps / sizeof steps[0] };

static void
undo(weir_service *service, size_t count)
{
    while (count-- > 0)
        if (steps[count].end != NULL)
            steps[count].end(service);
}

/* What the service runs beside its core may talk to the shell: it ends first. */
static void
drain(weir_service *service)
{
    if (service->private->serves && service->spec->drain != NULL)
        service->spec->drain(service, service->self);
}

weir_code
service_start(weir_service *service, weir_error *reterr)
{
    for (size_t i = 0; i < STEP_COUNT; i++) {
        weir_code code = WEIR_FP_CODE("service.start.step.before", reterr);

        if (code == WEIR_OK)
            code = steps[i].begin(service, reterr);

        if (code == WEIR_OK)
            continue;
        weir_log(WEIR_LOG_ERROR, "service.start_failed", WEIR_STR("step", steps[i].name),
            WEIR_STR("reason", weir_code_name(code)), WEIR_STR("message", reterr->message));
        drain(service);
        undo(service, steps[i].end_half ? i + 1 : i);
        return code;
    }
    return WEIR_OK;
}

static void *
stop_servers(void *context)
{
    weir_service *service = context;

    service_servers_stop(service, service->config->common.shutdown_grace_ms / 2);
    return NULL;
}

/*
 * The servers end when every call is finished, and calls that wait for the core are finished by the
 * core or, at its end, by the shell.  So the calls get half of the grace, and then the core ends
 * whether or not they have.
 */
static bool
stop_servers_and_shell(weir_service *service)
{
    const uint32_t grace_ms = service->config->common.shutdown_grace_ms;
    const int64_t until_ms = weir_clock_mono_ms() + grace_ms;
    const int64_t half_ms = weir_clock_wall_ms() + grace_ms / 2 + 100;
    const struct timespec half = { .tv_sec = half_ms / 1000, .tv_nsec = half_ms % 1000 * 1000000 };
    pthread_t stopper;

    const bool threaded = pthread_create(&stopper, NULL, stop_servers, service) == 0;
    const bool ended = threaded && pthread_timedjoin_np(stopper, NULL, &half) == 0;
    const int64_t left_ms = until_ms - weir_clock_mono_ms();
    pthread_rwlock_wrlock(&service->private->shell_lock);
    const bool clean = weir_shell_stop(&service->shell, left_ms > 0 ? (uint32_t)left_ms : 0);
    pthread_rwlock_unlock(&service->private->shell_lock);
    if (threaded && !ended)
        pthread_join(stopper, NULL);
    return clean;
}

bool
service_stop(weir_service *service)
{
    atomic_store(&service->private->draining, true);
    service_health_update(service);
    WEIR_FP("service.drain.before");
    drain(service);
    const bool clean = stop_servers_and_shell(service);
    WEIR_FP("service.drain.after");
    undo(service, STEP_COUNT);
    return clean;
}
