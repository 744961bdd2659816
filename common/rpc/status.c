/*
 * status.c - a weir_error as google.rpc.Status and back.
 *
 * Every failure carries ErrorInfo {reason, domain "weir.dev", metadata.request_id}; BadRequest
 * names the field; RetryInfo says when to come back.
 */
#include "common/base/id.h"
#include "common/rpc/internal.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

enum {
    DETAILS_MAX = 3,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNAVAILABLE = 14,
    RETRY_AFTER_DEFAULT_MS = 1000,
};

#define TYPE_PREFIX "type.googleapis.com/"

uint32_t
wr_status_retry_ms(const weir_error *error)
{
    const int status = weir_code_grpc_status(error->code);

    if (error->retry_after_ms > 0)
        return error->retry_after_ms;
    if (error->code == WEIR_RESPONSE_TOO_LARGE) /* asking again gives the same answer */
        return 0;
    return status == GRPC_RESOURCE_EXHAUSTED || status == GRPC_UNAVAILABLE ? RETRY_AFTER_DEFAULT_MS
                                                                           : 0;
}

/* protobuf strings are UTF-8; a message may quote a client's bytes, or be cut inside a character.
 */
static char *
clean_text(weir_arena *arena, const char *text)
{
    char *copy = weir_arena_strdup(arena, text);

    if (!weir_utf8_valid(weir_bytes_str(copy)))
        for (char *at = copy; *at != '\0'; at++)
            if ((unsigned char)*at >= 0x80)
                *at = '?';
    return copy;
}

static Google__Protobuf__Any *
any_of(weir_arena *arena, const ProtobufCMessage *message)
{
    Google__Protobuf__Any *any = weir_arena_alloc(arena, sizeof *any);
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = weir_arena_alloc(arena, size + 1);

    google__protobuf__any__init(any);
    any->type_url = weir_arena_printf(arena, TYPE_PREFIX "%s", message->descriptor->name);
    protobuf_c_message_pack(message, bytes);
    any->value = (ProtobufCBinaryData){ .len = size, .data = bytes };
    return any;
}

static Google__Protobuf__Any *
error_info(weir_arena *arena, const weir_error *error, const char *request_id)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = { &entry };
    char id_key[] = "request_id";
    char domain[] = "weir.dev";

    info.reason = weir_arena_strdup(arena, weir_code_name(error->code));
    info.domain = domain;
    if (request_id != NULL) {
        entry.key = id_key;
        entry.value = clean_text(arena, request_id);
        info.metadata = entries;
        info.n_metadata = 1;
    }
    return any_of(arena, &info.base);
}

static Google__Protobuf__Any *
bad_request(weir_arena *arena, const weir_error *error)
{
    Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = { &violation };

    violation.field = clean_text(arena, error->field);
    violation.description = clean_text(arena, error->message);
    request.field_violations = violations;
    request.n_field_violations = 1;
    return any_of(arena, &request.base);
}

static Google__Protobuf__Any *
retry_info(weir_arena *arena, uint32_t retry_ms)
{
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;

    delay.seconds = retry_ms / 1000;
    delay.nanos = (int32_t)(retry_ms % 1000) * 1000000;
    info.retry_delay = &delay;
    return any_of(arena, &info.base);
}

void
weir_rpc_status_encode(const weir_error *error, const char *request_id, weir_buffer *out)
{
    weir_arena *arena = weir_arena_create(0);
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any *details[DETAILS_MAX];
    const uint32_t retry_ms = wr_status_retry_ms(error);

    weir_assert(error->code != WEIR_OK);
    status.code = weir_code_grpc_status(error->code);
    status.message = clean_text(arena, error->message);
    status.details = details;
    details[status.n_details++] = error_info(arena, error, request_id);
    if (error->field[0] != '\0')
        details[status.n_details++] = bad_request(arena, error);
    if (retry_ms > 0)
        details[status.n_details++] = retry_info(arena, retry_ms);
    weir_wire_encode(&status.base, out);
    weir_arena_destroy(&arena);
}

/* ---- at the client ---- */

/* For a server that sends no ErrorInfo: the plainest code of each gRPC status. */
weir_code
wr_status_code(int grpc_status)
{
    static const weir_code codes[] = {
        WEIR_OK,
        WEIR_CANCELLED,
        WEIR_INTERNAL, /* UNKNOWN */
        WEIR_INVALID_ARGUMENT,
        WEIR_TIMEOUT,
        WEIR_NOT_FOUND,
        WEIR_COLLECTION_EXISTS,
        WEIR_PERMISSION_DENIED,
        WEIR_PRESSURE,
        WEIR_STATE_NOT_RETRYABLE,  /* FAILED_PRECONDITION */
        WEIR_ETAG_MISMATCH,        /* ABORTED */
        WEIR_RESUME_TOKEN_TOO_OLD, /* OUT_OF_RANGE */
        WEIR_UNIMPLEMENTED,
        WEIR_INTERNAL,
        WEIR_SERVICE_UNAVAILABLE,
        WEIR_CORRUPT,
        WEIR_UNAUTHENTICATED,
    };
    const int count = (int)(sizeof codes / sizeof codes[0]);

    return grpc_status >= 0 && grpc_status < count ? codes[grpc_status] : WEIR_INTERNAL;
}

static bool
is_type(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type)
{
    const char *slash = strrchr(any->type_url, '/');

    return slash != NULL && strcmp(slash + 1, type->name) == 0;
}

static ProtobufCMessage *
unpack_any(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type,
    weir_arena *arena)
{
    ProtobufCMessage *message = NULL;

    if (!is_type(any, type))
        return NULL;
    return weir_wire_decode(type, weir_bytes_of(any->value.data, any->value.len), NULL, arena,
               &message, NULL) == WEIR_OK
        ? message
        : NULL;
}

static void
read_info(const Google__Protobuf__Any *any, weir_arena *arena, weir_error *error)
{
    const Google__Rpc__ErrorInfo *info =
        (const void *)unpack_any(any, &google__rpc__error_info__descriptor, arena);

    if (info == NULL)
        return;

    const weir_code code = weir_code_from_name(info->reason);

    /* A reason that this version does not know reads as INTERNAL: then the status says more. */
    if (code != WEIR_INTERNAL && code != WEIR_OK)
        error->code = code;
}

static void
read_bad_request(const Google__Protobuf__Any *any, weir_arena *arena, weir_error *error)
{
    const Google__Rpc__BadRequest *request =
        (const void *)unpack_any(any, &google__rpc__bad_request__descriptor, arena);

    if (request != NULL && request->n_field_violations > 0)
        snprintf(error->field, sizeof error->field, "%s", request->field_violations[0]->field);
}

static void
read_retry(const Google__Protobuf__Any *any, weir_arena *arena, weir_error *error)
{
    const Google__Rpc__RetryInfo *info =
        (const void *)unpack_any(any, &google__rpc__retry_info__descriptor, arena);

    if (info == NULL || info->retry_delay == NULL || info->retry_delay->seconds < 0)
        return;

    const int64_t seconds = info->retry_delay->seconds < 86400 ? info->retry_delay->seconds : 86400;

    error->retry_after_ms = (uint32_t)(seconds * 1000 + info->retry_delay->nanos / 1000000);
}

void
wr_status_decode(int grpc_status, weir_bytes message, weir_bytes details, weir_error *ret_error)
{
    weir_arena *arena;
    ProtobufCMessage *decoded = NULL;

    *ret_error = (weir_error){ .code = WEIR_OK };
    if (grpc_status == 0)
        return;
    weir_error_set(ret_error, wr_status_code(grpc_status), "%.*s", (int)message.size,
        (const char *)message.data);
    if (details.size == 0)
        return;
    arena = weir_arena_create(0);
    if (weir_wire_decode(&google__rpc__status__descriptor, details, NULL, arena, &decoded, NULL) ==
        WEIR_OK) {
        const Google__Rpc__Status *status = (const void *)decoded;

        for (size_t i = 0; i < status->n_details; i++) {
            read_info(status->details[i], arena, ret_error);
            read_bad_request(status->details[i], arena, ret_error);
            read_retry(status->details[i], arena, ret_error);
        }
    }
    weir_arena_destroy(&arena);
}
