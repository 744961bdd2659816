/*
 * rpc_ingest_document.c - IngestDocument: durable when it answers OK, and repeatable with the same
 * request_id.
 */
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/random.h"
#include "services/gateway/check.h"
#include "services/gateway/ingest.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__IngestDocumentRequest ingest_request;
typedef Weir__Internal__V1__AcceptCommand accept_command;

enum { UUID_TEXT_BYTES = 37, TRACEPARENT_BYTES = 55 };

static char *
make_document_id(weir_arena *arena)
{
    char *id = weir_arena_alloc(arena, UUID_TEXT_BYTES);
    uint8_t random[10];

    weir_random_bytes(random, sizeof random);
    weir_uuid7_format(weir_clock_wall_ms(), random, id);
    return id;
}

static ProtobufCBinaryData
keep(weir_arena *arena, weir_sha256_sum sum)
{
    return (ProtobufCBinaryData){ .data = weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes),
        .len = sizeof sum.bytes };
}

weir_code
gateway_ingest_command(weir_arena *arena, ingest_request *request, accept_command *ret_command,
    weir_error *reterr)
{
    const weir_code code = gateway_check_ingest(request, reterr);

    if (code != WEIR_OK)
        return code;
    const weir_sha256_sum content = weir_sha256(gateway_body_of(request));
    const weir_sha256_sum settings = gateway_hash_settings(request, &content);
    weir__internal__v1__accept_command__init(ret_command);
    ret_command->request = request;
    ret_command->content_sha256 = keep(arena, content);
    ret_command->settings_sha256 = keep(arena, settings);
    if (request->request_id[0] != 0)
        ret_command->payload_sha256 = keep(arena, gateway_hash_ingest(request, &settings));
    if (request->document_id[0] == 0)
        ret_command->made_document_id = make_document_id(arena);
    return WEIR_OK;
}

/* Of the W3C's form, or none: it travels in rows, which take nothing but UTF-8. */
static char *
traceparent(const weir_rpc_call *call, weir_arena *arena)
{
    weir_bytes value;

    if (!weir_rpc_header(call, "traceparent", &value) || value.size != TRACEPARENT_BYTES)
        return (char *)(uintptr_t)"";
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] == 0 || strchr("0123456789abcdef-", value.data[i]) == NULL)
            return (char *)(uintptr_t)"";
    return weir_arena_strndup(arena, (const char *)value.data, value.size);
}

static void
ingest_document(gateway *self, weir_rpc_call *call, const ingest_request *request)
{
    weir_arena *arena = weir_rpc_call_arena(call);
    accept_command *command = weir_arena_alloc(arena, sizeof *command);
    weir_error error = { .code = WEIR_OK };
    int64_t wait_ms = 0;
    weir_code code =
        gateway_ingest_command(arena, (ingest_request *)(uintptr_t)request, command, &error);

    if (code == WEIR_OK)
        code = gateway_check_duration(request->wait, "wait", 0, self->config->gateway.wait_max_ms,
            &wait_ms, &error);
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    command->traceparent = traceparent(call, arena);
    if (wait_ms > 0)
        command->wait_until_ms = gateway_wait_until(call, wait_ms);
    gateway_submit(self, call, GATEWAY_ACCEPT, &command->base);
}

GATEWAY_REQUEST(ingest_document, ingest_request)
