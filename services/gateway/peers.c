/*
 * peers.c - see peers.h.
 */
#include "services/gateway/peers.h"

#include "common/base/log.h"

enum { RETRY_AFTER_MS = 500 };

static bool
is_the_peers_own(weir_code code)
{
    switch (weir_code_grpc_status(code)) {
    case 3: /* INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND, RESOURCE_EXHAUSTED, OUT_OF_RANGE */
    case 5:
    case 8:
    case 9:
    case 11:
        return code != WEIR_MALFORMED_MESSAGE;
    default:
        return code == WEIR_INDEX_REBUILDING || code == WEIR_MODEL_UNAVAILABLE ||
            code == WEIR_EMBED_FAILED;
    }
}

void
gateway_peer_error(weir_service_id peer, const weir_error *error, weir_error *ret_error)
{
    if (is_the_peers_own(error->code)) {
        *ret_error = *error;
        return;
    }
    weir_log(WEIR_LOG_DEBUG, "peer.failed", WEIR_STR("peer", weir_service_name(peer)),
        WEIR_STR("reason", weir_code_name(error->code)), WEIR_STR("message", error->message));
    weir_error_set(ret_error, WEIR_SERVICE_UNAVAILABLE,
        "the %s does not answer at the moment; try again", weir_service_name(peer));
    ret_error->field[0] = 0;
    ret_error->retry_after_ms = RETRY_AFTER_MS;
}

int64_t
gateway_time_left(const weir_rpc_call *call, int64_t max_ms)
{
    const int64_t left_ms = weir_rpc_ms_left(call);

    return left_ms < max_ms ? left_ms : max_ms;
}

void
gateway_peer_start(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    gateway_patience patience, weir_rpc_answered answered, void *context)
{
    const weir_rpc_call_options options = { .timeout_ms = patience.timeout_ms > 0
            ? (uint32_t)patience.timeout_ms
            : 1,
        .wait_for_ready = patience.waits };

    weir_rpc_client_unref(weir_rpc_unary_start(stub, method, request, &options, answered, context));
}

weir_code
gateway_peer_ask(weir_rpc_stub *stub, weir_service_id peer, const char *method,
    const ProtobufCMessage *request, int64_t timeout_ms, weir_arena *arena, void *ret_response,
    weir_error *reterr)
{
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms > 0 ? (uint32_t)timeout_ms : 1,
        .wait_for_ready = true };
    ProtobufCMessage *response = NULL;
    weir_error error = { .code = WEIR_OK };

    if (weir_rpc_unary(stub, method, request, &options, arena, &response, &error) != WEIR_OK) {
        gateway_peer_error(peer, &error, reterr);
        return reterr->code;
    }
    memcpy(ret_response, &response, sizeof response);
    return WEIR_OK;
}
