/*
 * weir-gateway: owns one edge of a document's life, nothing -> ACCEPTED, and every public RPC.
 *
 *   takes   documents, deletes and retries over gRPC and JSON; READY, deletes, raises and give-ups
 *           over links
 *   writes  revision, source, request id, change log and backlog (or outbox) in one synced batch,
 *           before it answers
 *   sends   documents to ingest, deletes and seeds to the indexer, events to the reconciler
 *
 * Nothing is lost if this process dies at any line: what was answered is in the store, waiting
 * calls are asked again by their clients, and everything in memory is rebuilt from the store.
 */
#include <errno.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "services/gateway/audit.h"
#include "services/gateway/gateway.h"
#include "services/gateway/json.h"
#include "services/gateway/pressure.h"
#include "services/gateway/queries.h"
#include "services/gateway/status.h"
#include "services/gateway/streams.h"
#include "services/gateway/watch.h"

static const weir_metric_family gateway_metrics[] = {
    { "weir_admission", WEIR_GAUGE, "1 accepting, 2 streams are held, 3 refusing.", { NULL }, NULL,
        0 },
    { "weir_oldest_unready_age_seconds", WEIR_GAUGE, "Age of the oldest revision that is not over.",
        { NULL }, NULL, 0 },
    { "weir_documents_unready", WEIR_GAUGE, "Revisions that are PENDING or PROCESSING.", { NULL },
        NULL, 0 },
    { "weir_inconsistencies", WEIR_GAUGE,
        "Differences between services that an audit found and that are not resolved.", { NULL },
        NULL, 0 },
    { "weir_audit_documents_total", WEIR_COUNTER, "Documents that audits compared.", { NULL }, NULL,
        0 },
    { "weir_audit_repairs_total", WEIR_COUNTER, "Repairs that audits began.", { NULL }, NULL, 0 },
    { "weir_audit_pass_age_seconds", WEIR_GAUGE,
        "Time since the last whole pass of the audit ended; 0: none has.", { NULL }, NULL, 0 },
    { "weir_search_duration_seconds", WEIR_HISTOGRAM, "Time of a search that was answered.",
        { "mode" }, weir_metrics_duration_buckets, 18 },
    { "weir_cache_hits_total", WEIR_COUNTER, "Look-ups that a cache answered.", { "cache" }, NULL,
        0 },
    { .name = NULL },
};

/* ---- start ---- */

/* gateway.default_model if its files are there, else the fallback with a note that operators and
 * clients see. */
static weir_code
resolve_default_model(gateway *self, weir_error *reterr)
{
    const char *wanted = self->config->gateway.default_model;
    const char *model_dir = self->config->common.model_dir;
    weir_error why = { .code = WEIR_OK };
    const weir_code code = weir_model_find(wanted, model_dir, &self->default_model, &why);

    if (code == WEIR_OK)
        return WEIR_OK;
    if (code != WEIR_MODEL_UNAVAILABLE)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "gateway.default_model: %s",
            why.message);
    snprintf(self->default_model_note, sizeof self->default_model_note, "%s", why.message);
    weir_log(WEIR_LOG_WARN, "model.fallback", WEIR_STR("model", WEIR_MODEL_FALLBACK),
        WEIR_STR("message", why.message));
    return weir_model_find(WEIR_MODEL_FALLBACK, model_dir, &self->default_model, reterr);
}

/* What `weir restore` leaves beside the database: 32 hexadecimal digits.  It stays: the core knows
 * by the id which restore it has carried out. */
static weir_code
read_restored(const gateway *self, uint8_t id[GATEWAY_RESTORED_ID_SIZE], bool *ret_restored,
    weir_error *reterr)
{
    char path[1100];
    char text[2 * GATEWAY_RESTORED_ID_SIZE + 1] = { 0 };

    snprintf(path, sizeof path, "%s/%s/restored", self->service->data_dir, self->service->name);
    FILE *file = fopen(path, "re");
    *ret_restored = file != NULL;
    if (file == NULL)
        return errno == ENOENT
            ? WEIR_OK
            : weir_error_set(reterr, WEIR_STORE_IO, "%s: %s", path, strerror(errno));
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (size == sizeof text - 1 && weir_hex_decode(text, id, GATEWAY_RESTORED_ID_SIZE))
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CORRUPT,
        "%s is damaged: run `weir restore` again, with --replace", path);
}

static gateway_core *
create_core(const gateway *self, const uint8_t *restored_id)
{
    const weir_gateway_config *config = &self->config->gateway;
    const gateway_core_config options = {
        .auto_create_collections = config->auto_create_collections,
        .default_model = self->default_model.name,
        .default_fingerprint = self->default_model.fingerprint,
        .default_dimension = self->default_model.dimension,
        .default_max_tokens = self->default_model.max_tokens,
        .default_overlap_tokens = self->default_model.overlap_tokens,
        .limits = { .documents_max = config->max_pending_documents,
            .bytes_max = config->max_pending_bytes,
            .age_max_ms = config->max_oldest_age_ms },
        .in_flight_max = config->in_flight_max,
        .tenant_weights = config->tenant_weights,
        .waiters_max = config->watchers_max,
        .change_log_entries_max = config->change_log_entries_max,
        .change_log_age_ms = config->change_log_age_ms,
        .restored_id = restored_id,
        .disk_low = &self->disk_low,
    };

    return gateway_core_create(&options);
}

static weir_code
gateway_start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    gateway *self = weir_alloc_zero(1, sizeof *self);
    bool is_restored = false;

    self->service = service;
    self->config = service->config;
    weir_code code = resolve_default_model(self, reterr);
    if (code == WEIR_OK)
        code = read_restored(self, self->restored_id, &is_restored, reterr);
    if (code != WEIR_OK) {
        weir_free(self);
        return code;
    }
    self->core = create_core(self, is_restored ? self->restored_id : NULL);
    gateway_rate_init(&self->requeue_rate, self->config->gateway.requeue_rate,
        weir_clock_mono_ms());
    self->queries = gateway_queries_create(self->config->gateway.query_cache_entries);
    self->streams = gateway_streams_create();
    self->watch = gateway_watchers_create(self, &gateway_change_watchers);
    self->pressure = gateway_watchers_create(self, &gateway_pressure_watchers);
    gateway_core_on_change(self->core, gateway_watchers_news, self->watch);
    self->search_duration =
        weir_metrics_series(service->metrics, "weir_search_duration_seconds", "vector", NULL, NULL);
    parts->self = self;
    parts->ops = &gateway_core_ops;
    parts->core = self->core;
    return WEIR_OK;
}

static void
stop_threads(gateway *self)
{
    __atomic_store_n(&self->is_draining, true, __ATOMIC_RELAXED);
    gateway_audit_stop(self->audit);
    gateway_status_stop(self->status);
}

static weir_code
gateway_serve(weir_service *service, void *context, weir_error *reterr)
{
    gateway *self = context;

    self->embedder = weir_rpc_stub_open(weir_service_channel(service, WEIR_SERVICE_EMBEDDER),
        &weir__internal__v1__embedder_service__descriptor);
    self->indexer = weir_rpc_stub_open(weir_service_channel(service, WEIR_SERVICE_INDEXER),
        &weir__internal__v1__indexer_service__descriptor);
    self->reconciler = weir_rpc_stub_open(weir_service_channel(service, WEIR_SERVICE_RECONCILER),
        &weir__internal__v1__reconciler_service__descriptor);
    for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
        self->stages[id] = weir_rpc_stub_open(weir_service_channel(service, (weir_service_id)id),
            &weir__internal__v1__stage_service__descriptor);
    self->status = gateway_status_start(self);
    self->audit = gateway_audit_start(self);
    const weir_code code = gateway_json_start(self, &self->json, reterr);
    if (code != WEIR_OK)
        stop_threads(self); /* the shell ends before `stop` here too */
    return code;
}

/* ---- end ---- */

static void
gateway_drain(weir_service *service, void *context)
{
    const Weir__Internal__V1__EmptyResponse nothing = WEIR__INTERNAL__V1__EMPTY_RESPONSE__INIT;
    gateway *self = context;
    weir_error error;

    /* A full inbox: those who wait are cut off with the servers, half a grace later. */
    if (weir_shell_submit(service->shell, GATEWAY_DRAIN, "", NULL, &nothing.base, NULL, NULL,
            &error) != WEIR_OK)
        weir_log(WEIR_LOG_WARN, "service.waits_go_on", WEIR_STR("message", error.message));
    gateway_json_drain(self->json);
    stop_threads(self); /* they talk to the shell, which ends before `stop` */
}

static void
gateway_stop(weir_service *service, void *context)
{
    gateway *self = context;

    (void)service;
    gateway_json_stop(&self->json);
    gateway_audit_destroy(&self->audit);
    gateway_status_destroy(&self->status);
    gateway_watchers_destroy(&self->pressure);
    gateway_watchers_destroy(&self->watch);
    gateway_streams_destroy(&self->streams);
    gateway_queries_destroy(&self->queries);
    weir_rpc_stub_close(&self->embedder);
    weir_rpc_stub_close(&self->indexer);
    weir_rpc_stub_close(&self->reconciler);
    for (int id = 0; id < WEIR_SERVICE_COUNT; id++)
        weir_rpc_stub_close(&self->stages[id]);
    gateway_core_destroy(&self->core);
    gateway_rate_fini(&self->requeue_rate);
    weir_free(self);
}

/* ---- metrics ---- */

static void
count_documents(gateway *self, const gateway_published *now)
{
    const gateway_published *before = &self->counted;
    const struct {
        const char *state;
        uint64_t count;
    } states[] = {
        { "received", now->accepted_total - before->accepted_total },
        { "ready", now->ready_total - before->ready_total },
        { "failed", now->failed_total - before->failed_total },
        { "retried", now->retried_total - before->retried_total },
        { "dead_lettered", now->failed_total - before->failed_total },
        { "superseded", now->superseded_total - before->superseded_total },
        { "deleted", now->deleted_total - before->deleted_total },
    };

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        weir_service_count_documents(self->service, states[i].state, states[i].count);
    self->counted = *now;
}

static void
set(gateway *self, const char *name, double value)
{
    weir_metric_set(weir_metrics_series(self->service->metrics, name, NULL, NULL, NULL), value);
}

static void
set_total(gateway *self, const char *name, uint64_t value)
{
    weir_metric_set_total(weir_metrics_series(self->service->metrics, name, NULL, NULL, NULL),
        (double)value);
}

static void
expose_audit(gateway *self, const gateway_published *now)
{
    const int64_t age_ms = weir_clock_wall_ms() - now->audit_full_pass_time_ms;
    gateway_audit_totals totals;

    gateway_audit_totals_read(self->audit, &totals);
    set(self, "weir_inconsistencies", (double)now->inconsistencies);
    set(self, "weir_audit_pass_age_seconds",
        now->audit_full_pass_time_ms != 0 && age_ms > 0 ? (double)age_ms / 1e3 : 0);
    set_total(self, "weir_audit_documents_total", totals.documents);
    set_total(self, "weir_audit_repairs_total", now->repaired_total);
}

static void
gateway_collect(weir_service *service, void *context)
{
    gateway *self = context;
    gateway_published now;
    weir_error why;

    gateway_core_published(self->core, &now);
    count_documents(self, &now);
    const int64_t age_ms = weir_clock_wall_ms() - now.load.oldest_since_ms;
    set(self, "weir_admission", (double)gateway_admission_now(self, &why));
    set(self, "weir_documents_unready", (double)now.load.documents);
    set(self, "weir_oldest_unready_age_seconds",
        now.load.oldest_since_ms != 0 && age_ms > 0 ? (double)age_ms / 1e3 : 0);
    expose_audit(self, &now);
    weir_metric_set_total(weir_metrics_series(service->metrics, "weir_cache_hits_total", "query",
                              NULL, NULL),
        (double)gateway_queries_hits(self->queries));
}

static const char *
too_large_hint(const char *method_path)
{
    return strstr(method_path, "/Ingest") != NULL ? "use UploadDocument for documents above 4 MiB"
                                                  : NULL;
}

static const weir_service_spec gateway_spec = {
    .id = WEIR_SERVICE_GATEWAY,
    .stores_text = true,
    .asks_for_absent = true, /* each accept asks for its document, which is new most of the time */
    .tcp_apis = gateway_tcp_apis,
    .unix_apis = gateway_unix_apis,
    .metrics = gateway_metrics,
    .start = gateway_start,
    .serve = gateway_serve,
    .drain = gateway_drain,
    .stop = gateway_stop,
    .collect = gateway_collect,
    .too_large_hint = too_large_hint,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &gateway_spec);
}
