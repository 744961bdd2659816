/*
 * peers.c - see peers.h.
 */
#include "services/gateway/peers.h"

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/wire.h"

enum { RETRY_AFTER_MS = 500, DEADLINE_RESERVE_MS = 50 };

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
    const int64_t reserve_ms =
        left_ms / 8 < DEADLINE_RESERVE_MS ? left_ms / 8 : DEADLINE_RESERVE_MS;

    return left_ms != INT64_MAX && left_ms - reserve_ms < max_ms ? left_ms - reserve_ms : max_ms;
}

/* ---- a call that may be made twice: at once, and when the peer has come back ---- */

typedef struct peer_call {
    weir_rpc_stub *stub;
    const char *method;
    weir_arena *arena;
    ProtobufCMessage *request; /* a copy, for the second time */
    int64_t until_ms;          /* monotonic */
    int64_t away_ms;
    weir_rpc_answered answered;
    void *context;
} peer_call;

static void
end(peer_call *self, const weir_error *error, const ProtobufCMessage *response)
{
    weir_arena *arena = self->arena; /* `self` stands in it */

    self->answered(self->context, error, response);
    weir_arena_destroy(&arena);
}

static void
second_answered(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    peer_call *self = context;
    weir_error away;

    if (error->code != WEIR_TIMEOUT || weir_clock_mono_ms() >= self->until_ms) {
        end(self, error, response);
        return;
    }
    weir_error_set(&away, WEIR_SERVICE_UNAVAILABLE, "no connection within %lld ms",
        (long long)self->away_ms);
    end(self, &away, NULL);
}

static void
start(peer_call *self, int64_t timeout_ms, bool waits, weir_rpc_answered answered)
{
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms > 0 ? (uint32_t)timeout_ms : 1,
        .wait_for_ready = waits };

    weir_rpc_client_unref(weir_rpc_unary_start(self->stub, self->method, self->request, &options,
        answered, self));
}

static void
first_answered(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    peer_call *self = context;
    const int64_t left_ms = self->until_ms - weir_clock_mono_ms();
    const bool is_away = error->code == WEIR_SERVICE_UNAVAILABLE || error->code == WEIR_DRAINING;

    if (is_away && self->away_ms > 0 && left_ms > 0)
        start(self, left_ms < self->away_ms ? left_ms : self->away_ms, true, second_answered);
    else
        end(self, error, response);
}

void
gateway_peer_start(weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    gateway_patience patience, weir_rpc_answered answered, void *context)
{
    weir_arena *arena = weir_arena_create(0);
    peer_call *self = weir_arena_alloc_zero(arena, sizeof *self);
    weir_buffer packed = { 0 };
    weir_error error;

    weir_wire_encode(request, &packed);
    const weir_code code = weir_wire_decode(request->descriptor, weir_buffer_view(&packed), NULL,
        arena, &self->request, &error);
    weir_assert(code == WEIR_OK); /* our own bytes */
    weir_buffer_fini(&packed);
    self->stub = stub;
    self->method = method;
    self->arena = arena;
    self->until_ms = weir_clock_mono_ms() + patience.timeout_ms;
    self->away_ms = patience.away_ms;
    self->answered = answered;
    self->context = context;
    start(self, patience.timeout_ms, false, first_answered);
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
