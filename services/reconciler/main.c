/*
 * weir-reconciler: owns the end of what fails, and the journal of every document.
 *
 *   takes   lifecycle events of every stage, answers to revokes (indexer), seeds after a loss
 *           (gateway)
 *   writes  journal, endings in the making, dead letters
 *   sends   revokes to the indexer; give-ups to the gateway, which alone records FAILED
 *
 * Nothing is lost if this process dies at any line: each step of an ending stands in the store
 * beside the row that it sent, and events come again until they are settled.
 */
#include "common/base/clock.h"
#include "services/reconciler/rpc.h"

static const weir_metric_family reconciler_metrics[] = {
    { .name = "weir_dead_letters", .type = WEIR_GAUGE, .help = "Dead letters of all tenants." },
    { .name = "weir_endings",
        .type = WEIR_GAUGE,
        .help = "Failed tries that are being revoked or given up." },
    { .name = "weir_unfinished_documents",
        .type = WEIR_GAUGE,
        .help = "Revisions that are not over, by the events that came." },
    { .name = "weir_stuck_documents",
        .type = WEIR_GAUGE,
        .help =
            "Revisions that are not over and silent for longer than reconciler.stuck_after_ms." },
    { .name = "weir_oldest_unready_age_seconds",
        .type = WEIR_GAUGE,
        .help = "Age of the oldest revision that is not over." },
    { .name = "weir_lifecycle_events_total",
        .type = WEIR_COUNTER,
        .help = "Lifecycle events taken from all stages." },
    { 0 },
};

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    const weir_reconciler_config *settings = &service->config->reconciler;
    const reconciler_core_config config = { .journal_events_max = settings->journal_events_max,
        .stuck_after_ms = settings->stuck_after_ms };
    reconciler *self = weir_alloc_zero(1, sizeof *self);

    (void)reterr;
    self->service = service;
    self->core = reconciler_core_create(&config);
    parts->self = self;
    parts->ops = &reconciler_core_ops;
    parts->core = self->core;
    parts->linger_ms = settings->linger_ms;
    return WEIR_OK;
}

static void
stop(weir_service *service, void *context)
{
    reconciler *self = context;

    (void)service;
    reconciler_core_destroy(&self->core);
    weir_free(self);
}

static void
status(weir_service *service, void *context, Weir__Internal__V1__GetStageStatusResponse *response,
    weir_arena *arena)
{
    const reconciler *self = context;
    reconciler_published published;

    (void)service;
    (void)arena;
    reconciler_core_published(self->core, &published);
    response->dead_letters = published.dead_letters;
    response->seeded_era = published.seeded_era;
    response->oldest_ms = published.oldest_since_ms;
}

static void
set(weir_service *service, const char *name, double value)
{
    weir_metric_set(weir_metrics_series(service->metrics, name, NULL, NULL, NULL), value);
}

static void
set_total(weir_service *service, const char *name, const char *label, uint64_t total)
{
    weir_metric_set_total(weir_metrics_series(service->metrics, name, label, NULL, NULL),
        (double)total);
}

static void
collect(weir_service *service, void *context)
{
    const reconciler *self = context;
    reconciler_published published;

    reconciler_core_published(self->core, &published);
    const int64_t age_ms =
        published.oldest_since_ms == 0 ? 0 : weir_clock_wall_ms() - published.oldest_since_ms;
    set(service, "weir_dead_letters", (double)published.dead_letters);
    set(service, "weir_endings", (double)published.endings);
    set(service, "weir_unfinished_documents", (double)published.unfinished);
    set(service, "weir_stuck_documents", (double)published.stuck);
    set(service, "weir_oldest_unready_age_seconds", age_ms > 0 ? (double)age_ms / 1e3 : 0);
    set_total(service, "weir_lifecycle_events_total", NULL, published.events_total);
    set_total(service, "weir_documents_total", "dead_lettered", published.dead_lettered_total);
}

static const weir_service_spec reconciler_spec = {
    .id = WEIR_SERVICE_RECONCILER,
    .unix_apis = reconciler_unix_apis,
    .metrics = reconciler_metrics,
    .start = start,
    .stop = stop,
    .status = status,
    .collect = collect,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &reconciler_spec);
}
