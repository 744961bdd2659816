/*
 * rpc_get_server_info.c - GetServerInfo and ListModels, from the configuration and the last look at
 * the services.
 */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "services/gateway/check.h"
#include "services/gateway/rpcs.h"
#include "services/gateway/status.h"
#include "services/gateway/views.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__GetServerInfoRequest info_request;
typedef Weir__V1__GetServerInfoResponse info_response;
typedef Weir__V1__ListModelsRequest models_request;
typedef Weir__V1__ListModelsResponse models_response;
typedef Weir__Internal__V1__ModelStatus model_status;

/* ---- GetServerInfo ---- */

static Weir__V1__ServiceInfo *
view_service(gateway *self, weir_service_id service, weir_arena *arena)
{
    Weir__V1__ServiceInfo *view = weir_arena_alloc(arena, sizeof *view);
    bool is_fresh = false;
    const stage_status *seen = gateway_status_read(self->status, service, arena, &is_fresh);

    weir__v1__service_info__init(view);
    view->name = (char *)(uintptr_t)weir_service_name(service);
    view->serving = is_fresh;
    if (seen == NULL)
        return view;
    view->version = seen->version;
    view->start_time = weir_wire_time(arena, weir_clock_wall_ms() - (int64_t)seen->uptime_s * 1000);
    return view;
}

static Weir__V1__ServiceInfo *
view_self(gateway *self, weir_arena *arena)
{
    Weir__V1__ServiceInfo *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__service_info__init(view);
    view->name = (char *)(uintptr_t)weir_service_name(WEIR_SERVICE_GATEWAY);
    view->version = (char *)(uintptr_t)WEIR_VERSION;
    view->serving = true;
    view->start_time = weir_wire_time(arena, self->service->started_ms);
    return view;
}

static Weir__V1__ServerLimits *
view_limits(weir_arena *arena)
{
    Weir__V1__ServerLimits *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__server_limits__init(view);
    view->unary_body_bytes = WEIR_UNARY_BODY_BYTES_MAX;
    view->streamed_document_bytes = WEIR_STREAMED_DOCUMENT_BYTES_MAX;
    view->answer_bytes = WEIR_ANSWER_BYTES_MAX;
    view->page_size = WEIR_PAGE_SIZE_MAX;
    view->top_k = WEIR_TOP_K_MAX;
    return view;
}

static weir_code
get_server_info(gateway *self, weir_rpc_call *call, const info_request *request,
    info_response *response, weir_arena *arena, weir_error *reterr)
{
    gateway_published published;
    size_t type_count = 0;

    (void)call, (void)request, (void)reterr;
    gateway_core_published(self->core, &published);
    response->version = (char *)(uintptr_t)WEIR_VERSION;
    response->start_time = weir_wire_time(arena, self->service->started_ms);
    response->default_embedding_model = self->default_model.name;
    response->default_embedding_model_note = self->default_model_note;
    response->auto_create_collections = self->config->gateway.auto_create_collections;
    response->media_types = (char **)(uintptr_t)gateway_media_types(&type_count);
    response->n_media_types = type_count;
    response->services = weir_arena_alloc(arena, WEIR_SERVICE_COUNT * sizeof *response->services);
    response->services[response->n_services++] = view_self(self, arena);
    for (int id = WEIR_SERVICE_GATEWAY + 1; id < WEIR_SERVICE_COUNT; id++)
        response->services[response->n_services++] = view_service(self, (weir_service_id)id, arena);
    response->limits = view_limits(arena);
    response->era = (int64_t)published.era;
    return WEIR_OK;
}

GATEWAY_UNARY(get_server_info, info_request, info_response,
    weir__v1__get_server_info_response__init)

/* ---- ListModels ---- */

static const char *
why_unavailable(const model_status *model, bool is_fresh)
{
    if (!is_fresh)
        return "the embedder does not answer at the moment";
    if (!model->allowed)
        return "the configuration does not allow it (embedder.allow_hash_models)";
    if (model->breaker == WEIR__V1__BREAKER_STATE__BREAKER_STATE_OPEN)
        return "it failed lately and is left alone for a while";
    return "";
}

static Weir__V1__Model *
view_model(gateway *self, const model_status *model, bool is_fresh, weir_arena *arena)
{
    Weir__V1__Model *view = weir_arena_alloc(arena, sizeof *view);
    weir_model facts;
    weir_error error;

    weir__v1__model__init(view);
    view->name = model->model;
    view->dimension = (int32_t)model->dimension;
    view->max_tokens = (int32_t)model->max_tokens;
    if (weir_model_find(model->model, self->config->common.model_dir, &facts, &error) == WEIR_OK)
        view->language = weir_arena_strdup(arena, facts.language);
    view->unavailable_reason = (char *)(uintptr_t)why_unavailable(model, is_fresh);
    view->available = view->unavailable_reason[0] == 0;
    view->is_default = strcmp(model->model, self->default_model.name) == 0;
    view->fingerprint = model->fingerprint;
    view->provider = (char *)(uintptr_t)"builtin";
    return view;
}

/* What is known of the default model before the embedder has answered. */
static model_status *
own_default(gateway *self, weir_arena *arena)
{
    model_status *model = weir_arena_alloc(arena, sizeof *model);

    weir__internal__v1__model_status__init(model);
    model->model = self->default_model.name;
    model->fingerprint = self->default_model.fingerprint;
    model->dimension = self->default_model.dimension;
    model->max_tokens = self->default_model.max_tokens;
    model->allowed = true;
    return model;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp((*(model_status *const *)a)->model, (*(model_status *const *)b)->model);
}

static weir_code
list_models(gateway *self, weir_rpc_call *call, const models_request *request,
    models_response *response, weir_arena *arena, weir_error *reterr)
{
    const weir_bytes scope = weir_bytes_str("ListModels");
    model_status *sole = own_default(self, arena);
    bool is_fresh = false;
    const stage_status *embedder =
        gateway_status_read(self->status, WEIR_SERVICE_EMBEDDER, arena, &is_fresh);
    model_status **models = embedder != NULL && embedder->n_models > 0 ? embedder->models : &sole;
    const size_t count = embedder != NULL && embedder->n_models > 0 ? embedder->n_models : 1;
    uint32_t page_size = 0;
    weir_bytes after;
    weir_code code = gateway_check_page_size(request->page_size, &page_size, reterr);

    (void)call;
    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &after, reterr);
    if (code != WEIR_OK)
        return code;
    qsort(models, count, sizeof models[0], by_name);
    response->models = weir_arena_alloc(arena, (count + 1) * sizeof *response->models);
    for (size_t i = 0; i < count; i++) {
        const weir_bytes name = weir_bytes_str(models[i]->model);

        if (after.size > 0 && weir_bytes_compare(name, after) <= 0)
            continue;
        if (response->n_models == page_size) {
            response->next_page_token =
                gateway_page_next(arena, scope, weir_bytes_str(models[i - 1]->model));
            break;
        }
        response->models[response->n_models++] = view_model(self, models[i], is_fresh, arena);
    }
    return WEIR_OK;
}

GATEWAY_UNARY(list_models, models_request, models_response, weir__v1__list_models_response__init)
