/*
 * weir-indexer: owns the last edge of the lifecycle, READY, and is the only register of what is
 * visible.
 *
 *   takes   chunks with their vectors (embedder); deletes, seeds and the gate (gateway); revokes
 *           (reconciler)
 *   writes  chunks, vectors, the register of each document
 *   sends   READY and DELETED to the gateway; READY, failures and answers to the reconciler
 *
 * A revision is READY, or not, by one synced batch.  Nothing is lost if this process dies at any
 * line: the index in memory is rebuilt from the store, rows come again until they are settled, and
 * after each start nothing is decided until the gateway has found this start clean.
 */
#include "common/base/log.h"
#include "services/indexer/kernel.h"
#include "services/indexer/rpc.h"

static const weir_metric_family indexer_metrics[] = {
    { .name = "weir_index_vectors",
        .type = WEIR_GAUGE,
        .help = "Vectors in the indexes, those of unfinished revisions included." },
    { .name = "weir_index_dead_vectors",
        .type = WEIR_GAUGE,
        .help = "Vectors of retired revisions that still take memory." },
    { .name = "weir_index_segments", .type = WEIR_GAUGE, .help = "Segments of all indexes." },
    { .name = "weir_index_lost_documents",
        .type = WEIR_GAUGE,
        .help = "Documents whose chunks were found damaged and that are not back yet." },
    { .name = "weir_index_gate_open",
        .type = WEIR_GAUGE,
        .help = "1 once the gateway has found this start clean; searches are refused before." },
    { 0 },
};

static void
gate_opened(void *ud)
{
    const indexer *self = ud;

    weir_service_set_unready(self->service, NULL);
}

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    indexer *self = weir_alloc_zero(1, sizeof *self);
    const indexer_options options = { .gate_opened = gate_opened, .ud = self };

    (void)reterr;
    self->service = service;
    self->core = indexer_core_create(service->store, &options);
    sem_init(&self->searches, 0, service->config->indexer.search_concurrency);
    weir_service_set_unready(service, "the gateway has not found this start clean yet");
    weir_log(WEIR_LOG_INFO, "index.kernel", WEIR_STR("kernel", indexer_kernel_name()));
    parts->self = self;
    parts->ops = &indexer_core_ops;
    parts->core = self->core;
    return WEIR_OK;
}

static void
stop(weir_service *service, void *context)
{
    indexer *self = context;

    (void)service;
    indexer_core_destroy(&self->core);
    sem_destroy(&self->searches);
    weir_free(self);
}

static void
status(weir_service *service, void *context, Weir__Internal__V1__GetStageStatusResponse *response,
    weir_arena *arena)
{
    const indexer *self = context;
    indexer_stats stats;

    (void)service;
    (void)arena;
    response->gate_open = indexer_gate_is_open(self->core);
    response->seeded_era = indexer_seeded_era(self->core);
    indexer_stats_read(self->core, &stats);
    response->lost_documents = stats.lost_documents;
}

static void
collect(weir_service *service, void *context)
{
    const indexer *self = context;
    weir_metrics *metrics = service->metrics;
    indexer_stats stats;

    indexer_stats_read(self->core, &stats);
    weir_metric_set(weir_metrics_series(metrics, "weir_index_vectors", NULL, NULL, NULL),
        (double)stats.vectors);
    weir_metric_set(weir_metrics_series(metrics, "weir_index_dead_vectors", NULL, NULL, NULL),
        (double)stats.dead_vectors);
    weir_metric_set(weir_metrics_series(metrics, "weir_index_segments", NULL, NULL, NULL),
        (double)stats.segments);
    weir_metric_set(weir_metrics_series(metrics, "weir_index_lost_documents", NULL, NULL, NULL),
        (double)stats.lost_documents);
    weir_metric_set(weir_metrics_series(metrics, "weir_index_gate_open", NULL, NULL, NULL),
        indexer_gate_is_open(self->core));
}

static const weir_service_spec indexer_spec = {
    .id = WEIR_SERVICE_INDEXER,
    .unix_apis = indexer_unix_apis,
    .metrics = indexer_metrics,
    .start = start,
    .stop = stop,
    .status = status,
    .collect = collect,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &indexer_spec);
}
