/*
 * rpc.c - see rpc.h.
 *
 * A query runs on the thread of its call, so it never waits behind a batch of documents; what runs
 * at once is bounded by embedder.query_workers.
 */
#include "services/embedder/rpc.h"

#include <errno.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/limits.h"

typedef Weir__Internal__V1__EmbedRequest embed_request;
typedef Weir__Internal__V1__EmbedResponse embed_response;

enum { TEXTS_MAX = 64, WAIT_MAX_MS = 60000, LOAD_PAUSE_MS = 5000, RETRY_AFTER_MS = 1000 };

static weir_code
check_texts(const embed_request *request, weir_error *reterr)
{
    if (request->n_texts == 0 || request->n_texts > TEXTS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "texts",
            "%zu texts; 1 to %d are possible", request->n_texts, TEXTS_MAX);
    for (size_t i = 0; i < request->n_texts; i++)
        if (request->texts[i][0] == '\0')
            return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "texts", "text %zu is empty",
                i);
    return WEIR_OK;
}

/* A model that is missing may have come; one query in a while looks. */
static bool
may_load(embedder *self)
{
    const int64_t now_ms = weir_clock_mono_ms();
    int64_t next_ms = __atomic_load_n(&self->next_load_ms, __ATOMIC_RELAXED);

    return now_ms >= next_ms &&
        __atomic_compare_exchange_n(&self->next_load_ms, &next_ms, now_ms + LOAD_PAUSE_MS, false,
            __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static weir_code
find_model(embedder *self, const char *name, const embedder_model **ret_model, weir_error *reterr)
{
    weir_code code = embedder_models_get(self->models, name, false, ret_model, reterr);

    if (code == WEIR_MODEL_UNAVAILABLE && may_load(self))
        code = embedder_models_get(self->models, name, true, ret_model, reterr);
    if (code == WEIR_MODEL_UNAVAILABLE)
        reterr->retry_after_ms = RETRY_AFTER_MS;
    if (code == WEIR_MODEL_UNKNOWN || code == WEIR_MODEL_NOT_ALLOWED)
        weir_error_set_field(reterr, code, "model", "%s", reterr->message);
    return code;
}

/* Wait for a place in the lane, not longer than the client does. */
static weir_code
enter_lane(embedder *self, const weir_rpc_call *call, weir_error *reterr)
{
    const int64_t left_ms = weir_rpc_ms_left(call);
    const int64_t until_ms = weir_clock_mono_ms() + (left_ms < WAIT_MAX_MS ? left_ms : WAIT_MAX_MS);
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = until_ms % 1000 * 1000000 };

    while (sem_clockwait(&self->query_lane, CLOCK_MONOTONIC, &until) != 0)
        if (errno != EINTR)
            return weir_error_set(reterr, WEIR_TIMEOUT,
                "%u queries are being embedded; no place came in time",
                self->service->config->embedder.query_workers);
    if (!weir_rpc_is_cancelled(call))
        return WEIR_OK;
    sem_post(&self->query_lane);
    return weir_error_set(reterr, WEIR_CANCELLED, "the client went away");
}

static weir_code
embed_texts(const embedder_model *model, const embed_request *request, embed_response *response,
    weir_arena *arena, weir_error *reterr)
{
    const uint32_t dimension = embedder_model_facts(model)->dimension;
    weir_bytes texts[TEXTS_MAX];
    uint32_t tokens[TEXTS_MAX];

    for (size_t i = 0; i < request->n_texts; i++)
        texts[i] = weir_bytes_str(request->texts[i]);
    float *vectors = weir_arena_alloc(arena, request->n_texts * dimension * sizeof *vectors);
    const weir_code code =
        embedder_model_embed(model, texts, request->n_texts, vectors, tokens, reterr);
    if (code != WEIR_OK)
        return code;
    response->fingerprint = weir_arena_strdup(arena, embedder_model_facts(model)->fingerprint);
    response->dimension = dimension;
    response->vectors.data = (uint8_t *)vectors;
    response->vectors.len = request->n_texts * dimension * sizeof *vectors;
    for (size_t i = 0; i < request->n_texts; i++)
        response->token_count += tokens[i];
    return WEIR_OK;
}

static weir_code
embed(embedder *self, weir_rpc_call *call, const embed_request *request, embed_response *response,
    weir_arena *arena, weir_error *reterr)
{
    const embedder_model *model = NULL;
    weir_code code = check_texts(request, reterr);

    if (code == WEIR_OK)
        code = find_model(self, request->model, &model, reterr);
    if (code == WEIR_OK)
        code = enter_lane(self, call, reterr);
    if (code != WEIR_OK)
        return code;
    code = embed_texts(model, request, response, arena, reterr);
    sem_post(&self->query_lane);
    self->observer.embedded(self->observer.ud, embedder_model_facts(model)->name, code,
        response->token_count);
    return code;
}
WEIR_RPC_UNARY(embed, embedder, embed_request, embed_response,
    weir__internal__v1__embed_response__init)

static const weir_rpc_handler handlers[] = {
    { .method = "Embed", .flags = WEIR_RPC_POOL, .request = embed_rpc },
};

const weir_service_api embedder_unix_apis[] = {
    { &weir__internal__v1__embedder_service__descriptor, handlers,
        sizeof handlers / sizeof handlers[0] },
    { 0 },
};
