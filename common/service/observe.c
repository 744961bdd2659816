/*
 * observe.c - the metrics that every service has, by the names of the public contract.
 *
 * What others count already (stage, links, store, process) is copied when the page is asked for;
 * what happens once (a call, an attempt, a round) is counted where it happens.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/service/service_internal.h"

#define DURATION weir_metrics_duration_buckets, 18
#define COUNTS weir_metrics_count_buckets, 13

static const weir_metric_family families[] = {
    { "weir_build_info", WEIR_GAUGE, "Version of the program; always 1.", { "service", "version" },
        NULL, 0 },
    { "weir_rpc_requests_total", WEIR_COUNTER, "Calls that ended, by method and gRPC status.",
        { "method", "code" }, NULL, 0 },
    { "weir_rpc_duration_seconds", WEIR_HISTOGRAM,
        "Time from the first byte of a call to its status.", { "method" }, DURATION },
    { "weir_documents_total", WEIR_COUNTER, "Revisions by what became of them in this service.",
        { "state" }, NULL, 0 },
    { "weir_stage_wait_seconds", WEIR_HISTOGRAM, "Time from handed over to work begun.",
        { "stage" }, DURATION },
    { "weir_stage_work_seconds", WEIR_HISTOGRAM, "Time of the work itself.", { "stage" },
        DURATION },
    { "weir_stage_queued", WEIR_GAUGE, "Rows received and not settled.", { "stage" }, NULL, 0 },
    { "weir_stage_in_flight", WEIR_GAUGE, "Rows being worked on.", { "stage" }, NULL, 0 },
    { "weir_stage_deferred", WEIR_GAUGE, "Rows that wait for a retry.", { "stage" }, NULL, 0 },
    { "weir_stage_parked", WEIR_GAUGE, "Rows that wait for an outage to end.", { "stage" }, NULL,
        0 },
    { "weir_stage_oldest_age_seconds", WEIR_GAUGE, "Age of the oldest unfinished work.",
        { "stage" }, NULL, 0 },
    { "weir_attempts_total", WEIR_COUNTER,
        "Attempts at rows, by class of the failure (done: none) and reason.",
        { "stage", "class", "reason" }, NULL, 0 },
    { "weir_link_lag_rows", WEIR_GAUGE, "Rows sent on a link and not acknowledged.", { "link" },
        NULL, 0 },
    { "weir_link_acked_total", WEIR_COUNTER,
        "Rows acknowledged on a link since its database was made.", { "link" }, NULL, 0 },
    { "weir_link_resent_total", WEIR_COUNTER, "Rows sent again on a link.", { "link" }, NULL, 0 },
    { "weir_commit_duration_seconds", WEIR_HISTOGRAM, "Time to make one round durable.", { NULL },
        DURATION },
    { "weir_commit_events", WEIR_HISTOGRAM, "Events in one round.", { NULL }, COUNTS },
    { "weir_records_set_aside", WEIR_GAUGE, "Stored records that did not decode.", { NULL }, NULL,
        0 },
    { "weir_store_bytes", WEIR_GAUGE, "Size of the database on disk.", { NULL }, NULL, 0 },
    { "weir_store_free_bytes", WEIR_GAUGE, "Free bytes of its disk.", { NULL }, NULL, 0 },
    { "weir_store_memory_bytes", WEIR_GAUGE, "Memory of the database's caches and buffers.",
        { NULL }, NULL, 0 },
    { "weir_store_stall_seconds_total", WEIR_COUNTER,
        "Time that writes were held back by the database.", { NULL }, NULL, 0 },
    { "weir_worker_busy", WEIR_GAUGE, "Workers at work.", { NULL }, NULL, 0 },
    { "process_resident_memory_bytes", WEIR_GAUGE, "Resident memory.", { NULL }, NULL, 0 },
    { "process_cpu_seconds_total", WEIR_COUNTER, "CPU time, user and system.", { NULL }, NULL, 0 },
    { "process_open_fds", WEIR_GAUGE, "Open file descriptors.", { NULL }, NULL, 0 },
    { "process_start_time_seconds", WEIR_GAUGE, "Start of the process, seconds since 1970.",
        { NULL }, NULL, 0 },
    { .name = NULL },
};

const char *
service_stage_name(weir_service_id id)
{
    static const char *const names[WEIR_SERVICE_COUNT] = {
        [WEIR_SERVICE_GATEWAY] = "accept",
        [WEIR_SERVICE_INGEST] = "chunk",
        [WEIR_SERVICE_EMBEDDER] = "embed",
        [WEIR_SERVICE_INDEXER] = "index",
        [WEIR_SERVICE_RECONCILER] = "reconcile",
    };

    return names[id];
}

static const char *
stage_of(const weir_service *service)
{
    return service_stage_name(service->spec->id);
}

static void
set(weir_service *service, const char *name, const char *label, double value)
{
    weir_metric_set(weir_metrics_series(service->metrics, name, label, NULL, NULL), value);
}

static void
set_total(weir_service *service, const char *name, const char *label, double value)
{
    weir_metric_set_total(weir_metrics_series(service->metrics, name, label, NULL, NULL), value);
}

void
service_metrics_declare(weir_service *service)
{
    weir_metrics_declare(service->metrics, families);
    if (service->spec->metrics != NULL)
        weir_metrics_declare(service->metrics, service->spec->metrics);
    weir_metric_set(weir_metrics_series(service->metrics, "weir_build_info", service->name,
                        WEIR_VERSION, NULL),
        1);
    set(service, "process_start_time_seconds", NULL, (double)service->started_ms / 1e3);
}

/* ---- copied when the page is asked for ---- */

static void
collect_link(weir_service *service, const weir_stage_link_view *view)
{
    const char *name = weir_link_spec_of(view->kind)->name;

    if (!view->sender)
        return;
    set(service, "weir_link_lag_rows", name, (double)(view->tx.next - 1 - view->tx.acked));
    set_total(service, "weir_link_acked_total", name, (double)view->tx.acked);
    set_total(service, "weir_link_resent_total", name, (double)view->tx.resent_total);
}

static void
collect_stage(weir_service *service)
{
    weir_stage_status status;
    const char *stage = stage_of(service);

    weir_shell *shell = service_shell_hold(service);
    if (shell == NULL)
        return;
    weir_stage_status_read(weir_shell_stage(shell), &status);
    service_shell_release(service);
    const weir_stage_counts *counts = &status.counts;
    const int64_t age_ms = counts->oldest_ms == 0 ? 0 : weir_clock_wall_ms() - counts->oldest_ms;
    set(service, "weir_stage_queued", stage, (double)counts->queued);
    set(service, "weir_stage_in_flight", stage, (double)counts->in_flight);
    set(service, "weir_stage_deferred", stage, (double)counts->deferred);
    set(service, "weir_stage_parked", stage, (double)counts->parked);
    set(service, "weir_stage_oldest_age_seconds", stage, age_ms > 0 ? (double)age_ms / 1e3 : 0);
    set(service, "weir_records_set_aside", NULL, (double)status.aside_count);
    for (uint32_t i = 0; i < status.link_count; i++)
        collect_link(service, &status.links[i]);
}

static void
collect_store(weir_service *service)
{
    weir_store_stats stats;

    weir_store_stats_read(service->store, &stats);
    set(service, "weir_store_bytes", NULL, (double)stats.disk_bytes);
    set(service, "weir_store_free_bytes", NULL, (double)stats.free_bytes);
    set(service, "weir_store_memory_bytes", NULL, (double)stats.memory_bytes);
    set_total(service, "weir_store_stall_seconds_total", NULL, (double)stats.stall_us / 1e6);
}

static double
resident_bytes(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double
open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the folder's own */

    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void
collect_process(weir_service *service)
{
    struct rusage usage = { 0 };

    getrusage(RUSAGE_SELF, &usage);
    set_total(service, "process_cpu_seconds_total", NULL,
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    set(service, "process_resident_memory_bytes", NULL, resident_bytes());
    set(service, "process_open_fds", NULL, open_descriptors());
}

void
service_metrics_expose(weir_service *service, weir_buffer *out)
{
    collect_stage(service);
    collect_store(service);
    collect_process(service);
    if (service->spec->collect != NULL)
        service->spec->collect(service, service->self);
    weir_metrics_expose(service->metrics, out);
}

/* ---- counted when it happens ---- */

static const char *
grpc_status_name(int status)
{
    static const char *const names[] = { "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" };

    return status >= 0 && status <= 16 ? names[status] : "UNKNOWN";
}

/* A failure can be found by its request id; what comes by the thousand under load is kept for
 * debugging. */
static weir_log_level
level_of(int grpc_status)
{
    enum {
        OK = 0,
        CANCELLED = 1,
        UNKNOWN = 2,
        EXHAUSTED = 8,
        INTERNAL = 13,
        UNAVAILABLE = 14,
        DATA_LOSS = 15
    };

    switch (grpc_status) {
    case OK:
    case CANCELLED:
    case EXHAUSTED:
    case UNAVAILABLE:
        return WEIR_LOG_DEBUG;
    case UNKNOWN:
    case INTERNAL:
    case DATA_LOSS:
        return WEIR_LOG_WARN;
    default:
        return WEIR_LOG_INFO;
    }
}

static void
log_call(const weir_rpc_call_stats *stats)
{
    weir_log(level_of(stats->grpc_status), "call.finished", WEIR_STR("method", stats->path),
        WEIR_STR("code", grpc_status_name(stats->grpc_status)),
        WEIR_STR("reason", weir_code_name(stats->code)), WEIR_STR("request_id", stats->request_id),
        WEIR_INT("duration_ms", stats->duration_us / 1000), WEIR_STR("message", stats->message));
}

void
service_metrics_observe_call(const weir_rpc_call_stats *stats, void *context)
{
    weir_service *service = context;
    const char *method = stats->path[0] == '/' ? stats->path + 1 : stats->path;

    weir_metric_add(weir_metrics_series(service->metrics, "weir_rpc_requests_total", method,
                        grpc_status_name(stats->grpc_status), NULL),
        1);
    weir_metric_observe(weir_metrics_series(service->metrics, "weir_rpc_duration_seconds", method,
                            NULL, NULL),
        (double)stats->duration_us / 1e6);
    log_call(stats);
}

void
weir_service_count_documents(weir_service *service, const char *state, uint64_t count)
{
    weir_metric_add(weir_metrics_series(service->metrics, "weir_documents_total", state, NULL,
                        NULL),
        count);
}

static void
waited(void *ud, int64_t wait_ms)
{
    const weir_service *service = ud;

    weir_metric_observe(weir_metrics_series(service->metrics, "weir_stage_wait_seconds",
                            stage_of(service), NULL, NULL),
        wait_ms > 0 ? (double)wait_ms / 1e3 : 0);
}

static void
attempted(void *ud, weir_code result)
{
    const weir_service *service = ud;

    weir_metric_add(weir_metrics_series(service->metrics, "weir_attempts_total", stage_of(service),
                        weir_class_name(weir_code_class(result)), weir_code_name(result)),
        1);
}

static void
worked(void *ud, int64_t work_us)
{
    const weir_service *service = ud;

    weir_metric_observe(weir_metrics_series(service->metrics, "weir_stage_work_seconds",
                            stage_of(service), NULL, NULL),
        work_us > 0 ? (double)work_us / 1e6 : 0);
}

static void
busy(void *ud, int by)
{
    const weir_service *service = ud;

    weir_metric_move(weir_metrics_series(service->metrics, "weir_worker_busy", NULL, NULL, NULL),
        by);
}

weir_work_observer
weir_service_work_observer(weir_service *service)
{
    return (weir_work_observer){ .ud = service,
        .waited = waited,
        .attempted = attempted,
        .worked = worked,
        .busy = busy };
}

weir_work_policy
weir_service_work_policy(const weir_retry_config *retry)
{
    return (weir_work_policy){ .attempts_max = retry->attempts_max,
        .crashes_max = retry->crashes_max,
        .crash_watch_ms = retry->crash_watch_ms,
        .backoff_base_ms = retry->backoff_base_ms,
        .backoff_max_ms = retry->backoff_max_ms,
        .defer_after_ms = retry->defer_after_ms,
        .in_flight_max = retry->in_flight_max };
}
