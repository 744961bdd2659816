/*
 * doctor.c - `weir doctor`: look at every service, say what is wrong and what to do, write a
 * report.
 *
 * A finding names what an operator can do about it; the report holds what somebody else needs to
 * see.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/base/clock.h"

enum { ASK_MS = 2000, DEFERRED_SHOWN = 100, OLD_S = 600 };

/* ---- looking ---- */

static const void *
ask(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    const ProtobufCMessage *request)
{
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };

    if (cli_try(self, service, method, request, ASK_MS, self->arena, &message, &error) != WEIR_OK)
        return NULL;
    return message;
}

/* On the port of its clients: the Unix socket has what the services ask each other. */
static void
ask_gateway(cli *self, doctor_look *look, const suite_ids *ids)
{
    Weir__V1__GetPressureRequest pressure = WEIR__V1__GET_PRESSURE_REQUEST__INIT;
    Weir__V1__GetServerInfoRequest info = WEIR__V1__GET_SERVER_INFO_REQUEST__INIT;
    const ProtobufCServiceDescriptor *service = &weir__v1__system_service__descriptor;
    weir_error error = { 0 };
    char target[128];

    suite_endpoint(ids->address, ids->port_base + 69 + WEIR_SERVICE_GATEWAY, target, sizeof target);
    if (weir_rpc_channel_open(self->runtime, target, NULL, &self->channel, &error) != WEIR_OK)
        return;
    const Weir__V1__GetPressureResponse *answer = ask(self, service, "GetPressure", &pressure.base);
    look->pressure = answer == NULL ? NULL : answer->pressure;
    look->info = ask(self, service, "GetServerInfo", &info.base);
    weir_rpc_channel_close(&self->channel);
}

static void
ask_service(cli *self, doctor_service *it)
{
    Weir__Internal__V1__GetStageStatusRequest status =
        WEIR__INTERNAL__V1__GET_STAGE_STATUS_REQUEST__INIT;
    Weir__Internal__V1__ListLinksRequest links = WEIR__INTERNAL__V1__LIST_LINKS_REQUEST__INIT;
    Weir__Internal__V1__ListDeferredRequest deferred =
        WEIR__INTERNAL__V1__LIST_DEFERRED_REQUEST__INIT;
    const ProtobufCServiceDescriptor *service = &weir__internal__v1__stage_service__descriptor;

    deferred.page_size = DEFERRED_SHOWN;
    it->status = ask(self, service, "GetStageStatus", &status.base);
    it->links = ask(self, service, "ListLinks", &links.base);
    it->deferred = ask(self, service, "ListDeferred", &deferred.base);
}

static void
look_at_service(cli *self, doctor_look *look, const suite_ids *ids, weir_service_id id)
{
    doctor_service *it = &look->services[id];
    weir_error error = { 0 };
    char target[1200];

    it->id = id;
    it->pid = look->running ? ids->services[id].pid : 0;
    suite_endpoint(ids->address, ids->port_base + 89 + (uint32_t)id, it->admin, sizeof it->admin);
    if (it->pid <= 0)
        return;
    suite_socket(look->suite->common.data_dir, id, target, sizeof target);
    it->serving = cli_is_serving(self->runtime, target, ASK_MS);
    if (weir_rpc_channel_open(self->runtime, target, NULL, &self->channel, &error) != WEIR_OK)
        return;
    ask_service(self, it);
    weir_rpc_channel_close(&self->channel);
    if (id == WEIR_SERVICE_GATEWAY)
        ask_gateway(self, look, ids);
}

static cli_exit
look_at_suite(cli *self, doctor_look *look)
{
    suite_ids ids = { 0 };
    const cli_exit result = suite_load(self, &look->config, &look->suite);

    if (result != CLI_OK)
        return result;
    look->running = suite_lock_read(look->suite->common.data_dir, &ids);
    if (ids.address[0] == '\0') {
        snprintf(ids.address, sizeof ids.address, "%s", look->suite->common.listen_address);
        ids.port_base = look->suite->common.port_base;
    }
    self->runtime = weir_rpc_runtime_create(1);
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        look_at_service(self, look, &ids, (weir_service_id)i);
    return CLI_OK;
}

/* ---- findings ---- */

typedef struct findings {
    bool json;
    size_t count;
} findings;

static void WEIR_PRINTF(3, 4) found(findings *self, const char *part, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    self->count++;
    if (self->json)
        cli_print_json_texts((const char *const[]){ "part", part, "finding", sentence, NULL });
    else
        printf("%s: %s\n", part, sentence);
}

static void
judge_service(findings *out, const doctor_look *look, const doctor_service *it)
{
    const char *name = weir_service_name(it->id);
    const char *data_dir = look->suite->common.data_dir;

    if (it->pid <= 0) {
        found(out, name, "does not run; its last words are in %s/log/%s.log", data_dir, name);
        return;
    }
    if (!it->serving)
        found(out, name, "runs and does not serve; %s/log/%s.log says why", data_dir, name);
    if (it->status == NULL)
        return;
    for (size_t i = 0; i < it->status->n_alarms; i++)
        found(out, name,
            "link %s is stopped: %s; the gateway decides within seconds, or see the runbook",
            it->status->alarms[i]->link, it->status->alarms[i]->reason);
    if (it->status->pressure_reason[0] != '\0')
        found(out, name, "takes less work: %s", it->status->pressure_reason);
    if (it->status->parked > 0)
        found(out, name, "%llu pieces of work wait for an outage to end",
            (unsigned long long)it->status->parked);
    if (it->status->set_aside > 0)
        found(out, name,
            "%llu stored records did not decode and were set aside: StageService/ListSetAside",
            (unsigned long long)it->status->set_aside);
    if (it->id == WEIR_SERVICE_INDEXER && !it->status->gate_open)
        found(out, name,
            "its gate is closed: searches answer INDEX_REBUILDING until the gateway opens it");
}

static void
judge_pressure(findings *out, const Weir__V1__Pressure *it)
{
    if (it->admission != WEIR__V1__ADMISSION__ADMISSION_ACCEPTING)
        found(out, "gateway", "holds or refuses documents: %s", it->admission_reason);
    if (it->dead_letters > 0)
        found(out, "gateway", "%lld dead letters; `weir dlq summary` groups them",
            (long long)it->dead_letters);
    if (it->inconsistencies > 0)
        found(out, "gateway", "%lld inconsistencies; `weir audit ls` lists them",
            (long long)it->inconsistencies);
    if (it->oldest_unready_age != NULL && it->oldest_unready_age->seconds > OLD_S)
        found(out, "gateway",
            "the oldest unfinished document waits for %lld s; `weir explain` says why",
            (long long)it->oldest_unready_age->seconds);
    for (size_t i = 0; i < it->n_breakers; i++)
        if (it->breakers[i]->state == WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN)
            found(out, "embedder", "the breaker of model %s is open", it->breakers[i]->model);
}

static void
judge(findings *out, const doctor_look *look)
{
    if (!look->running) {
        found(out, "weir", "nothing runs on %s; `weir up --data %s` starts it",
            look->suite->common.data_dir, look->suite->common.data_dir);
        return;
    }
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        judge_service(out, look, &look->services[i]);
    if (look->pressure != NULL)
        judge_pressure(out, look->pressure);
    else
        found(out, "gateway",
            "does not answer GetPressure on its port: dead letters, inconsistencies and ages are "
            "not known");
}

/* ---- the report ---- */

static const char *
report_path(cli *self)
{
    const time_t now = (time_t)(weir_clock_wall_ms() / 1000);
    struct tm utc;
    char stamp[32];

    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &utc);
    return cli_text(self, "report", weir_arena_printf(self->arena, "weir-doctor-%s.txt", stamp));
}

static cli_exit
write_report(cli *self, const doctor_look *look)
{
    const char *path = report_path(self);

    if (strcmp(path, "-") == 0)
        return CLI_OK;
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        cli_complain("%s: %s; name another file with --report", path, strerror(errno));
        return CLI_ERROR;
    }
    doctor_report_write(out, look);
    const bool is_whole = !ferror(out);
    if (fclose(out) != 0 || !is_whole) {
        cli_complain("%s could not be written: %s", path, strerror(errno));
        return CLI_ERROR;
    }
    if (self->json)
        cli_print_json_texts((const char *const[]){ "report", path, NULL });
    else
        printf("the report is in %s; it holds no document bodies and no secrets\n", path);
    return CLI_OK;
}

cli_exit
cli_doctor(cli *self)
{
    doctor_look look = { .suite = NULL };
    findings out = { .json = self->json };
    cli_exit result = look_at_suite(self, &look);

    if (result != CLI_OK)
        return result;
    judge(&out, &look);
    if (out.count == 0 && !self->json)
        printf("nothing is wrong that weir can see\n");
    result = write_report(self, &look);
    weir_config_destroy(&look.config);
    return result == CLI_OK && out.count > 0 ? CLI_ERROR : result;
}
