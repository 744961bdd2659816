/*
 * weir-embedder: owns one edge of the lifecycle, CHUNKED -> EMBEDDED.
 *
 *   takes   rows of chunks (ingest); texts of searches (gateway, over the Unix socket, in a lane
 *           of their own)
 *   writes  link cursors, deferred rows, the vector cache, rows of vectors
 *   sends   chunks with their vectors to the indexer; EMBEDDED and failures to the reconciler
 *
 * Nothing is lost if this process dies at any line: a row is unsettled at ingest, deferred here
 * with the count of its attempts, or its vectors are in the outbox.  While the built-in model is
 * missing, its rows wait.
 */
#include <sys/resource.h>

#include "common/base/log.h"
#include "services/embedder/rpc.h"
#include "weir/v1/system.pb-c.h"

/* Document work is nicer than queries and than the other services: it is the only one that takes
 * whole cores. */
enum { WORKER_NICE = 5 };

static const weir_metric_family embedder_metrics[] = {
    { .name = "weir_embed_tokens_total",
        .type = WEIR_COUNTER,
        .help = "Tokens embedded, of documents and queries.",
        .labels = { "model" } },
    { .name = "weir_embed_requests_total",
        .type = WEIR_COUNTER,
        .help = "Batches and queries embedded, by class of the failure (done: none).",
        .labels = { "model", "class" } },
    { .name = "weir_cache_hits_total",
        .type = WEIR_COUNTER,
        .help = "Chunks whose vector was known already." },
    { .name = "weir_breaker_state",
        .type = WEIR_GAUGE,
        .help = "Of the built-in model: 1 closed, 2 open, 3 half open." },
    { 0 },
};

/* ---- what is counted ---- */

static void
embedded(void *ud, const char *model, weir_code result, uint64_t tokens)
{
    const weir_service *service = ud;

    weir_metric_add(weir_metrics_series(service->metrics, "weir_embed_tokens_total", model, NULL,
                        NULL),
        tokens);
    weir_metric_add(weir_metrics_series(service->metrics, "weir_embed_requests_total", model,
                        weir_class_name(weir_code_class(result)), NULL),
        1);
}

static void
cache_hits(void *ud, uint64_t count)
{
    const weir_service *service = ud;

    weir_metric_add(weir_metrics_series(service->metrics, "weir_cache_hits_total", NULL, NULL,
                        NULL),
        count);
}

/* ---- the service ---- */

/* Before any thread: the runtime silences standard error for a moment while it loads a model. */
static weir_code
prepare(weir_service *service, weir_error *reterr)
{
    const embedder_model *model = NULL;
    weir_error why = { .code = WEIR_OK };

    (void)reterr;
    service->prepared = embedder_models_create(service->config->common.model_dir,
        service->config->embedder.allow_hash_models);
    if (embedder_models_get(service->prepared, WEIR_MODEL_DEFAULT, true, &model, &why) == WEIR_OK)
        weir_log(WEIR_LOG_INFO, "model.loaded", WEIR_STR("model", WEIR_MODEL_DEFAULT),
            WEIR_STR("fingerprint", embedder_model_facts(model)->fingerprint));
    else
        weir_log(WEIR_LOG_WARN, "model.missing", WEIR_STR("model", WEIR_MODEL_DEFAULT),
            WEIR_STR("reason", weir_code_name(why.code)), WEIR_STR("message", why.message));
    return WEIR_OK;
}

static void
worker_start(void *context, int worker)
{
    (void)context;
    if (worker >= 0) /* of this thread alone; that it may fail changes nothing */
        (void)setpriority(PRIO_PROCESS, 0, WORKER_NICE);
}

static weir_code
start(weir_service *service, weir_service_parts *parts, weir_error *reterr)
{
    const weir_embedder_config *config = &service->config->embedder;
    embedder *self = weir_alloc_zero(1, sizeof *self);

    (void)reterr;
    self->service = service;
    self->models = service->prepared;
    self->observer =
        (embedder_observer){ .ud = service, .embedded = embedded, .cache_hits = cache_hits };
    sem_init(&self->query_lane, 0, config->query_workers);
    const embedder_options options = { .policy = weir_service_work_policy(&config->retry),
        .models = self->models,
        .batch_tokens = config->batch_tokens,
        .batches_max = 2 * config->workers,
        .cache_bytes_max = config->cache_bytes_max,
        .work_observer = weir_service_work_observer(service),
        .observer = self->observer };
    self->core = embedder_core_create(&options);
    *parts = (weir_service_parts){ .self = self,
        .ops = &embedder_core_ops,
        .core = self->core,
        .workers = config->workers,
        .thread_start = worker_start };
    return WEIR_OK;
}

static void
stop(weir_service *service, void *context)
{
    embedder *self = context;

    embedder_core_destroy(&self->core);
    embedder_models_destroy(&self->models);
    service->prepared = NULL;
    sem_destroy(&self->query_lane);
    weir_free(self);
}

/* ---- status ---- */

static Weir__Internal__V1__ModelStatus *
describe(const embedder *self, const char *name, weir_arena *arena)
{
    const bool has_default = embedder_models_has_default(self->models);
    const bool is_hash = weir_model_name_is_hash(name);
    Weir__Internal__V1__ModelStatus *status = weir_arena_alloc(arena, sizeof *status);
    const embedder_model *model = NULL;

    weir__internal__v1__model_status__init(status);
    if (embedder_models_get(self->models, name, false, &model, NULL) == WEIR_OK) {
        const weir_model *facts = embedder_model_facts(model);

        status->fingerprint = weir_arena_strdup(arena, facts->fingerprint);
        status->dimension = facts->dimension;
        status->max_tokens = facts->max_tokens;
        status->overlap_tokens = facts->overlap_tokens;
    }
    status->model = weir_arena_strdup(arena, name);
    status->is_default = is_hash != has_default;
    status->allowed = status->is_default || (is_hash && embedder_models_allow_hash(self->models));
    status->breaker =
        is_hash ? WEIR__V1__BREAKER_STATE__BREAKER_STATE_CLOSED : embedder_core_breaker(self->core);
    return status;
}

static void
status(weir_service *service, void *context, Weir__Internal__V1__GetStageStatusResponse *response,
    weir_arena *arena)
{
    const embedder *self = context;

    (void)service;
    response->n_models = 2;
    response->models = weir_arena_alloc(arena, 2 * sizeof response->models[0]);
    response->models[0] = describe(self, WEIR_MODEL_DEFAULT, arena);
    response->models[1] = describe(self, WEIR_MODEL_FALLBACK, arena);
}

static void
collect(weir_service *service, void *context)
{
    const embedder *self = context;

    weir_metric_set(weir_metrics_series(service->metrics, "weir_breaker_state", NULL, NULL, NULL),
        embedder_core_breaker(self->core));
}

static const weir_service_spec embedder_spec = {
    .id = WEIR_SERVICE_EMBEDDER,
    .unix_apis = embedder_unix_apis,
    .metrics = embedder_metrics,
    .prepare = prepare,
    .start = start,
    .stop = stop,
    .status = status,
    .collect = collect,
};

int
main(int argc, char **argv)
{
    return weir_service_main(argc, argv, &embedder_spec);
}
