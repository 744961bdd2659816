/*
 * status.c - `weir status`: the five services as their supervisor and they themselves see them.
 *
 * It ends with 0 only if all five serve, so that a script needs nothing but the exit status.
 */
#include <string.h>
#include <unistd.h>

#include "cli/suite_lock.h"
#include "common/base/clock.h"
#include "weir/internal/v1/service.pb-c.h"

typedef struct service_view {
    const char *name;
    const suite_process *process;
    const char *state; /* SERVING, NOT_SERVING, RESTARTING, STOPPED */
    char grpc[128];
    char admin[128];
    char version[32];
    int64_t uptime_s;
} service_view;

/* The service's own words; false: it does not answer. */
static bool
ask_service(cli *self, const char *target, service_view *view)
{
    Weir__Internal__V1__GetStageStatusRequest request =
        WEIR__INTERNAL__V1__GET_STAGE_STATUS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    bool answered = false;

    if (weir_rpc_channel_open(self->runtime, target, NULL, &self->channel, &error) != WEIR_OK)
        return false;
    if (cli_try(self, &weir__internal__v1__stage_service__descriptor, "GetStageStatus",
            &request.base, 2000, self->arena, &message, &error) == WEIR_OK) {
        const Weir__Internal__V1__GetStageStatusResponse *status = (const void *)message;
        snprintf(view->version, sizeof view->version, "%s", status->version);
        view->uptime_s = (int64_t)status->uptime_s;
        answered = true;
    }
    weir_rpc_channel_close(&self->channel);
    return answered;
}

static void
look_at(cli *self, const char *data_dir, const suite_ids *ids, bool running, weir_service_id id,
    service_view *view)
{
    char target[1200];

    view->name = weir_service_name(id);
    view->process = &ids->services[id];
    view->state = running ? "RESTARTING" : "STOPPED";
    suite_endpoint(ids->address, ids->port_base + 69 + (uint32_t)id, view->grpc, sizeof view->grpc);
    suite_endpoint(ids->address, ids->port_base + 89 + (uint32_t)id, view->admin,
        sizeof view->admin);
    if (!running || view->process->pid <= 0)
        return;
    view->uptime_s = (weir_clock_wall_ms() - view->process->started_ms) / 1000;
    view->state = "NOT_SERVING";
    suite_socket(data_dir, id, target, sizeof target);
    if (ask_service(self, target, view) && cli_is_serving(self->runtime, target, 2000))
        view->state = "SERVING";
}

static void
print_json(const service_view *views)
{
    printf("{\"services\":[");
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        const service_view *view = &views[i];
        printf("%s{\"name\":\"%s\",\"pid\":%d,\"state\":\"%s\","
               "\"grpc\":\"%s\",\"admin\":\"%s\",\"version\":\"%s\","
               "\"uptime_s\":%lld,\"restarts\":%u}",
            i == WEIR_SERVICE_GATEWAY ? "" : ",", view->name, (int)view->process->pid, view->state,
            view->grpc, view->admin, view->version, (long long)view->uptime_s,
            view->process->restarts);
    }
    printf("]}\n");
}

static void
print_table(const cli *self, const service_view *views)
{
    static const char *const headers[] = { "SERVICE", "PID", "STATE", "GRPC", "ADMIN", "VERSION",
        "UP", "RESTARTS", NULL };
    cli_table *table = cli_table_create(self->arena, headers);

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        const service_view *view = &views[i];
        cli_table_row(table,
            (const char *const[]){ view->name,
                weir_arena_printf(self->arena, "%d", (int)view->process->pid), view->state,
                view->grpc, view->admin, view->version[0] != '\0' ? view->version : "-",
                cli_format_seconds(self->arena, (double)view->uptime_s),
                weir_arena_printf(self->arena, "%u", view->process->restarts), NULL });
    }
    cli_table_print(self, table);
}

/* Says what does not serve and where to look. */
static cli_exit
judge(cli *self, const char *data_dir, bool running, const service_view *views)
{
    const char *names = "";
    int away = 0;

    if (!running) {
        cli_complain("nothing runs on %s; `weir up --data %s` starts it", data_dir, data_dir);
        return CLI_UNREACHABLE;
    }
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++) {
        if (strcmp(views[i].state, "SERVING") == 0)
            continue;
        names = weir_arena_printf(self->arena, "%s%s%s is %s", names, away++ == 0 ? "" : ", ",
            views[i].name, views[i].state);
    }
    if (away == 0)
        return CLI_OK;
    cli_complain("%d of %d services do not serve: %s; their last words are in %s/log, and `weir "
                 "doctor --data %s` looks further",
        away, WEIR_SERVICE_COUNT - 1, names, data_dir, data_dir);
    return CLI_ERROR;
}

cli_exit
cli_status(cli *self)
{
    weir_config *config = NULL;
    const weir_suite_config *suite = NULL;
    service_view views[WEIR_SERVICE_COUNT] = { 0 };
    suite_ids ids;
    cli_exit result = suite_load(self, &config, &suite);

    if (result != CLI_OK)
        return result;
    const bool running = suite_lock_read(suite->common.data_dir, &ids);
    if (ids.address[0] == '\0') {
        snprintf(ids.address, sizeof ids.address, "%s", suite->common.listen_address);
        ids.port_base = suite->common.port_base;
    }
    self->runtime = weir_rpc_runtime_create(1);
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        look_at(self, suite->common.data_dir, &ids, running, (weir_service_id)i, &views[i]);
    if (self->json)
        print_json(views);
    else
        print_table(self, views);
    result = judge(self, suite->common.data_dir, running, views);
    weir_config_destroy(&config);
    return result;
}
