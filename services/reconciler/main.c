/*
 * weir-reconciler: owns the end of what fails, and the journal of every document.
 *
 *   takes   lifecycle events of every stage, answers to revokes (indexer), seeds after a loss (gateway)
 *   writes  journal, endings in the making, dead letters
 *   sends   revokes to the indexer; give-ups to the gateway, which alone records FAILED
 *
 * Nothing is lost if this process dies at any line: each step of an ending stands in the store beside the row that it
 * sent, and events come again until they are settled.
 */
#include "common/config/suite.h"
#include "common/service/service.h"
#include "services/reconciler/rpc.h"

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    const reconciler_core_config config = { .journal_events_max = service->config->reconciler.journal_events_max };
    reconciler *self = weir_alloc_zero(1, sizeof *self);

    (void)reterr;
    self->service = service;
    self->core = reconciler_core_create(&config);
    parts->self = self;
    parts->ops = &reconciler_core_ops;
    parts->core = self->core;
    parts->linger_ms = service->config->reconciler.linger_ms;
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
status(weir_service *service, void *context, Weir__Internal__V1__GetStageStatusResponse *response, weir_arena *arena)
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

static const weir_service_spec reconciler_spec = {
    .id = WEIR_SERVICE_RECONCILER,
    .schema = 1,
    .unix_apis = reconciler_unix_apis,
    .start = start,
    .stop = stop,
    .status = status,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &reconciler_spec);
}
