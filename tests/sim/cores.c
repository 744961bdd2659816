/*
 * cores.c - the five cores as the simulator makes them: the real ones, with small limits so that
 * little work shows much.
 *
 * Embedding is the real feature hashing, but every now and then it fails for a moment, as a
 * provider does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/text/models.h"
#include "services/embedder/core.h"
#include "services/ingest/core.h"
#include "tests/sim/sim.h"

enum { TOKENS_MAX = 16, TOKENS_OVERLAP = 2 };

static const weir_work_policy policy = { .attempts_max = 5,
    .crashes_max = 3,
    .backoff_base_ms = 500,
    .backoff_max_ms = 60000,
    .defer_after_ms = 2000,
    .in_flight_max = 4 };

/* The function pointer of an embedder carries no context; one world runs at a time in this process.
 */
static sim_world *running;

static weir_code
embed_or_fail(const embedder_model *model, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts, weir_error *reterr)
{
    if (!running->quiet && sim_random(running, 10) == 0)
        return weir_error_set(reterr,
            sim_random(running, 2) == 0 ? WEIR_TIMEOUT : WEIR_EMBED_FAILED,
            "the provider has a bad moment");
    return embedder_model_embed(model, texts, count, out, token_counts, reterr);
}

/* Bodies above 64 KiB go by reference: read them from the gateway's store, if the gateway is up. */
static weir_code
read_source(void *ud, const Weir__Internal__V1__Row *row, weir_buffer *out, weir_error *reterr)
{
    const sim_node *node = ud;

    (void)row;
    (void)out;
    return weir_error_set(reterr, WEIR_SERVICE_UNAVAILABLE, "%s reads no source here",
        weir_service_name(node->service));
}

static void
create_gateway(sim_node *node)
{
    weir_model model;
    weir_error error;
    char name[16];

    snprintf(name, sizeof name, "hash-%d", SIM_DIMENSION);
    if (weir_model_find(name, NULL, &model, &error) != WEIR_OK)
        sim_fail(node->world, "%s: %s", name, error.message);
    const gateway_core_config config = { .auto_create_collections = true,
        .default_model = name,
        .default_fingerprint = model.fingerprint,
        .default_dimension = SIM_DIMENSION,
        .default_max_tokens = TOKENS_MAX,
        .default_overlap_tokens = TOKENS_OVERLAP };
    node->core = gateway_core_create(&config);
}

static void
create_embedder(sim_node *node)
{
    running = node->world;
    node->models = embedder_models_create(NULL, true);
    const embedder_options options = { .policy = policy,
        .models = node->models,
        .batch_tokens = 128,
        .embed = embed_or_fail };
    node->core = embedder_core_create(&options);
}

const weir_core_ops *
sim_core_create(sim_node *node)
{
    const ingest_options ingest = { .policy = policy,
        .read_source = read_source,
        .read_source_ud = node };
    const reconciler_core_config reconciler = { 0 };

    switch (node->service) {
    case WEIR_SERVICE_GATEWAY:
        create_gateway(node);
        return &gateway_core_ops;
    case WEIR_SERVICE_INGEST:
        node->core = ingest_core_create(&ingest);
        return &ingest_core_ops;
    case WEIR_SERVICE_EMBEDDER:
        create_embedder(node);
        return &embedder_core_ops;
    case WEIR_SERVICE_INDEXER:
        node->core = indexer_core_create(node->store, NULL);
        return &indexer_core_ops;
    case WEIR_SERVICE_RECONCILER:
        node->core = reconciler_core_create(&reconciler);
        return &reconciler_core_ops;
    case WEIR_SERVICE_NONE:
    case WEIR_SERVICE_COUNT:
        break;
    }
    abort();
}

static void
destroy_embedder(sim_node *node)
{
    embedder_core *core = node->core;

    embedder_core_destroy(&core);
    embedder_models_destroy(&node->models);
}

void
sim_core_destroy(sim_node *node)
{
    gateway_core *gateway = node->core;
    ingest_core *ingest = node->core;
    indexer_core *indexer = node->core;
    reconciler_core *reconciler = node->core;

    if (node->service == WEIR_SERVICE_GATEWAY)
        gateway_core_destroy(&gateway);
    else if (node->service == WEIR_SERVICE_INGEST)
        ingest_core_destroy(&ingest);
    else if (node->service == WEIR_SERVICE_EMBEDDER)
        destroy_embedder(node);
    else if (node->service == WEIR_SERVICE_INDEXER)
        indexer_core_destroy(&indexer);
    else
        reconciler_core_destroy(&reconciler);
    node->core = NULL;
}
