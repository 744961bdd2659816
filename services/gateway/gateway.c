/*
 * gateway.c - see gateway.h.
 */
#include "services/gateway/gateway.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "services/gateway/peers.h"
#include "services/gateway/views.h"

const char *
gateway_tenant(const weir_rpc_call *call)
{
    (void)call;
    return "default"; /* of calls without a credential, which the loopback address allows */
}

void
gateway_submit(gateway *self, weir_rpc_call *call, gateway_command kind,
    const ProtobufCMessage *command)
{
    __atomic_store_n(&self->disk_low, weir_shell_disk_is_low(self->service->shell),
        __ATOMIC_RELAXED);
    weir_service_submit(self->service, call, kind, gateway_tenant(call), command);
}

int64_t
gateway_wait_until(const weir_rpc_call *call, int64_t wait_ms)
{
    const int64_t left_ms = gateway_time_left(call, wait_ms);

    return left_ms <= 0 ? 0 : weir_clock_wall_ms() + left_ms;
}

gateway_admission
gateway_admission_now(gateway *self, weir_error *ret_why)
{
    const weir_gateway_config *config = &self->config->gateway;
    const gateway_limits limits = { .documents_max = config->max_pending_documents,
        .bytes_max = config->max_pending_bytes,
        .age_max_ms = config->max_oldest_age_ms };
    gateway_published published;

    gateway_core_published(self->core, &published);
    published.load.documents += __atomic_load_n(&self->streamed_items, __ATOMIC_RELAXED);
    published.load.disk_low = weir_shell_disk_is_low(self->service->shell);
    return gateway_admit(&limits, &published.load, weir_clock_wall_ms(), ret_why);
}

weir_code
gateway_find_model(const gateway *self, const char *name, weir_model *ret_model, weir_error *reterr)
{
    const weir_code code = weir_model_find(name, self->config->common.model_dir, ret_model, reterr);

    if (code != WEIR_OK)
        return code;
    if (ret_model->kind == WEIR_MODEL_HASH && !self->config->embedder.allow_hash_models &&
        strcmp(name, self->default_model.name) != 0)
        return weir_error_set(reterr, WEIR_MODEL_NOT_ALLOWED,
            "%s makes vectors without meaning, for tests; set embedder.allow_hash_models to use it",
            name);
    return WEIR_OK;
}

/* ---- pages ---- */

/* Content of a page token: a hash of what is listed, then the last key. */
weir_code
gateway_page_begin(weir_arena *arena, const char *page_token, weir_bytes scope,
    weir_bytes *ret_after, weir_error *reterr)
{
    weir_bytes content;

    *ret_after = weir_bytes_of(NULL, 0);
    if (page_token[0] == 0)
        return WEIR_OK;
    if (!gateway_token_decode(arena, GATEWAY_TOKEN_PAGE, page_token, &content) ||
        content.size < 8 || weir_load_u64(content.data) != weir_hash64(scope, 0))
        return weir_error_set_field(reterr, WEIR_PAGE_TOKEN_INVALID, "page_token",
            "the page token was not made by this method with these arguments; begin with the "
            "first page");
    *ret_after = weir_bytes_of(content.data + 8, content.size - 8);
    return WEIR_OK;
}

char *
gateway_page_next(weir_arena *arena, weir_bytes scope, weir_bytes last)
{
    weir_buffer content = { 0 };

    weir_buffer_append_u64(&content, weir_hash64(scope, 0));
    weir_buffer_append(&content, last.data, last.size);
    char *token = gateway_token_encode(arena, GATEWAY_TOKEN_PAGE, weir_buffer_view(&content));
    weir_buffer_fini(&content);
    return token;
}
