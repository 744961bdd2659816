/*
 * cores.c - the five cores as the simulator makes them: the real ones, with small limits so that
 * little work shows much.
 *
 * Embedding is the real feature hashing, but every now and then it fails for a moment, as a
 * provider does, or is away for a while; some texts it never embeds, and some kill the process.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/text/models.h"
#include "services/embedder/core.h"
#include "services/gateway/keys.h"
#include "services/ingest/job.h"
#include "tests/sim/sim.h"

enum { TOKENS_MAX = 16, TOKENS_OVERLAP = 2 };

static weir_work_policy
policy_of(const sim_node *node)
{
    return (weir_work_policy){ .attempts_max = 5,
        .crashes_max = 3,
        .crash_watch_ms = 5000,
        .backoff_base_ms = 500,
        .backoff_max_ms = 60000,
        .defer_after_ms = 2000,
        .in_flight_max = node->world->options.in_flight };
}

/* ---- work that goes wrong ---- */

/* The function pointer of an embedder carries no context; one world runs at a time in this process.
 */
static sim_world *running;

static bool
holds(weir_bytes text, const char *word)
{
    return memmem(text.data, text.size, word, strlen(word)) != NULL;
}

static bool
any_holds(const weir_bytes *texts, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (holds(texts[i], word))
            return true;
    return false;
}

static weir_code
embed_or_fail(const embedder_model *model, const weir_bytes *texts, size_t count, float *out,
    uint32_t *token_counts, weir_error *reterr)
{
    if (any_holds(texts, count, SIM_POISON_EMBED))
        running->nodes[WEIR_SERVICE_EMBEDDER].must_die = true;
    if (running->outage_until_ms > running->now_ms)
        return weir_error_set(reterr, WEIR_SERVICE_UNAVAILABLE, "the provider is away");
    if (any_holds(texts, count, SIM_CURSED))
        return weir_error_set(reterr, WEIR_EMBED_FAILED, "the provider does not like this text");
    if (!running->quiet && sim_random(running, 100) < running->options.embed_error)
        return weir_error_set(reterr,
            sim_random(running, 2) == 0 ? WEIR_TIMEOUT : WEIR_EMBED_FAILED,
            "the provider has a bad moment");
    return embedder_model_embed(model, texts, count, out, token_counts, reterr);
}

/* Bodies above 64 KiB go by reference: from the gateway's store, if the gateway is there. */
static weir_code
read_source(void *ud, const Weir__Internal__V1__Row *row, weir_buffer *out, weir_error *reterr)
{
    const sim_node *node = ud;
    sim_node *gateway = &node->world->nodes[WEIR_SERVICE_GATEWAY];
    weir_buffer key = { 0 };
    bool found = false;

    if (gateway->stage == NULL || gateway->paused_until_ms > node->world->now_ms)
        return weir_error_set(reterr, WEIR_SERVICE_UNAVAILABLE, "the gateway is away");
    const weir_code code = weir_store_get(gateway->store, NULL,
        gateway_key_source(&key, row->collection_no, row->document_id, row->revision), out, &found,
        reterr);
    weir_buffer_fini(&key);
    if (code == WEIR_OK && !found)
        return weir_error_set(reterr, WEIR_DOCUMENT_NOT_FOUND, "the source is gone");
    return code;
}

/* Whatever parses it dies; bodies by reference do no such thing here. */
bool
sim_job_kills(sim_node *node, const weir_job *job)
{
    if (node->service != WEIR_SERVICE_INGEST)
        return false;
    const Weir__Internal__V1__DocumentRow *document = ((const ingest_job *)job)->row->document;
    return holds(weir_bytes_of(document->body.data, document->body.len), SIM_POISON_PARSE);
}

/* ---- the cores ---- */

static void
create_gateway(sim_node *node)
{
    weir_model model;
    weir_error error;
    char name[16];

    snprintf(name, sizeof name, "hash-%d", SIM_DIMENSION);
    if (weir_model_find(name, NULL, &model, &error) != WEIR_OK)
        sim_fail(node->world, "start", "%s: %s", name, error.message);
    const gateway_core_config config = { .auto_create_collections = true,
        .default_model = name,
        .default_fingerprint = model.fingerprint,
        .default_dimension = SIM_DIMENSION,
        .default_max_tokens = TOKENS_MAX,
        .default_overlap_tokens = TOKENS_OVERLAP,
        .in_flight_max = node->world->options.in_flight_gateway,
        .tenant_weights = "other=3",
        .change_log_age_ms = (uint64_t)1
            << 42, /* history.c reads all of it, whatever a clock says */
        .restored_id = node->world->restores > 0 ? node->world->restored_id : NULL,
        .disk_low = &node->disk_low };
    node->core = gateway_core_create(&config);
}

static void
create_ingest(sim_node *node)
{
    const ingest_options options = { .policy = policy_of(node),
        .read_source = read_source,
        .read_source_ud = node };

    node->core = ingest_core_create(&options);
}

static void
create_embedder(sim_node *node)
{
    running = node->world;
    node->models = embedder_models_create(NULL, true);
    const embedder_options options = { .policy = policy_of(node),
        .models = node->models,
        .batch_tokens = 128,
        .embed = embed_or_fail };
    node->core = embedder_core_create(&options);
}

const weir_core_ops *
sim_core_create(sim_node *node)
{
    const reconciler_core_config reconciler = { 0 };

    switch (node->service) {
    case WEIR_SERVICE_GATEWAY:
        create_gateway(node);
        return &gateway_core_ops;
    case WEIR_SERVICE_INGEST:
        create_ingest(node);
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
