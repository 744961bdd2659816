/*
 * client.c - the connection to a gateway, and what a failure means for the person at the keyboard.
 *
 * Each call carries an x-request-id of its own, so that a failure can be found in the server's log.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/random.h"
#include "grpc/health/v1/health.pb-c.h"

enum { CALL_TIMEOUT_MS = 60000, KEY_BYTES_MAX = 1024 };

#define DEFAULT_ADDRESS "127.0.0.1:7070"

static const char *
environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : fallback;
}

static const char *
address_of(const cli *self)
{
    return cli_text(self, "address", environment("WEIR_ADDRESS", DEFAULT_ADDRESS));
}

/* "Bearer KEYID.SECRET" from the file that WEIR_API_KEY_FILE names; *ret NULL: there is none. */
static cli_exit
read_key(cli *self, const char **ret_value)
{
    const char *path = environment("WEIR_API_KEY_FILE", NULL);
    char key[KEY_BYTES_MAX];

    *ret_value = NULL;
    if (path == NULL)
        return CLI_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        cli_complain("WEIR_API_KEY_FILE: %s: %s", path, strerror(errno));
        return CLI_CREDENTIALS;
    }
    key[fread(key, 1, sizeof key - 1, file)] = '\0';
    fclose(file);
    key[strcspn(key, " \t\r\n")] = '\0';
    if (key[0] == '\0') {
        cli_complain("WEIR_API_KEY_FILE: %s is empty", path);
        return CLI_CREDENTIALS;
    }
    *ret_value = weir_arena_printf(self->arena, "Bearer %s", key);
    return CLI_OK;
}

cli_exit
cli_connect(cli *self)
{
    const char *ca = cli_text(self, "ca", environment("WEIR_CA_FILE", NULL));
    const char *key = NULL;
    weir_error error = { 0 };
    const cli_exit result = read_key(self, &key);

    if (result != CLI_OK)
        return result;
    const weir_rpc_metadata metadata[] = { { "authorization",
        weir_bytes_str(key != NULL ? key : "") } };
    const weir_rpc_channel_options options = {
        .tls = ca != NULL,
        .tls_ca_file = ca,
        .metadata = metadata,
        .metadata_count = key != NULL ? 1 : 0,
    };
    self->runtime = weir_rpc_runtime_create(1);
    if (weir_rpc_channel_open(self->runtime, address_of(self), &options, &self->channel, &error) !=
        WEIR_OK) {
        cli_complain("%s", error.message);
        return CLI_ERROR;
    }
    return CLI_OK;
}

void
cli_disconnect(cli *self)
{
    weir_rpc_channel_close(&self->channel);
    weir_rpc_runtime_destroy(&self->runtime);
}

weir_rpc_call_options
cli_call_options(cli *self, weir_rpc_metadata storage[1], uint32_t timeout_ms)
{
    uint8_t random[10];

    weir_random_bytes(random, sizeof random);
    weir_uuid7_format(weir_clock_wall_ms(), random, self->request_id);
    storage[0] = (weir_rpc_metadata){ "x-request-id", weir_bytes_str(self->request_id) };
    return (weir_rpc_call_options){ .timeout_ms = timeout_ms,
        .metadata = storage,
        .metadata_count = 1 };
}

weir_code
cli_try(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    const ProtobufCMessage *request, uint32_t timeout_ms, weir_arena *arena,
    ProtobufCMessage **ret_response, weir_error *reterr)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self, metadata, timeout_ms);
    weir_rpc_stub *stub = weir_rpc_stub_open(self->channel, service);

    memset(reterr, 0, sizeof *reterr);
    const weir_code code =
        weir_rpc_unary(stub, method, request, &options, arena, ret_response, reterr);
    weir_rpc_stub_close(&stub);
    return code;
}

cli_exit
cli_call(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    const ProtobufCMessage *request, ProtobufCMessage **ret_response)
{
    weir_error error;
    const weir_code code =
        cli_try(self, service, method, request, CALL_TIMEOUT_MS, self->arena, ret_response, &error);

    return code == WEIR_OK ? CLI_OK : cli_explain(self, &error);
}

cli_exit
cli_exit_of(weir_code code)
{
    enum {
        NOT_FOUND = 5,
        EXISTS = 6,
        DENIED = 7,
        EXHAUSTED = 8,
        PRECONDITION = 9,
        ABORTED = 10,
        UNAVAILABLE = 14,
        UNAUTHENTICATED = 16,
        DEADLINE = 4
    };

    switch (weir_code_grpc_status(code)) {
    case 0:
        return CLI_OK;
    case NOT_FOUND:
        return CLI_NOT_FOUND;
    case DEADLINE:
        return CLI_TIMED_OUT;
    case EXISTS:
    case PRECONDITION:
    case ABORTED:
        return CLI_CONFLICT;
    case EXHAUSTED:
        return CLI_PRESSURE;
    case UNAVAILABLE:
        return CLI_UNREACHABLE;
    case UNAUTHENTICATED:
    case DENIED:
        return CLI_CREDENTIALS;
    default:
        return CLI_ERROR;
    }
}

/* What to do next, where there is something; NULL: the message says it all. */
static const char *
advice(const weir_error *error)
{
    static const struct {
        weir_code code;
        const char *text;
    } table[] = {
        { WEIR_SERVICE_UNAVAILABLE,
            "is it running? `weir status` says how the services are, `weir up` starts them; "
            "--address or WEIR_ADDRESS names another one" },
        { WEIR_COLLECTION_NOT_FOUND,
            "`weir collection ls` lists them, `weir collection create NAME` makes one" },
        { WEIR_DOCUMENT_NOT_FOUND, "`weir ls -c NAME` lists the documents of a collection" },
        { WEIR_DEAD_LETTER_NOT_FOUND,
            "`weir dlq ls` lists them, `weir explain` says what became of a document" },
        { WEIR_MODEL_UNKNOWN, "`weir model ls` lists them" },
        { WEIR_MODEL_NOT_ALLOWED,
            "start with --set embedder.allow_hash_models=true to allow hash-D for tests" },
        { WEIR_STATE_NOT_RETRYABLE,
            "only a FAILED document can be tried again; `weir get` shows its state" },
        { WEIR_PRESSURE, "`weir pressure` shows what waits; try again later" },
        { WEIR_DISK_LOW, "free disk space at the server, or lower store.low_water_bytes" },
        { WEIR_UNAUTHENTICATED, "put the key into a file and name it by WEIR_API_KEY_FILE" },
        { WEIR_RESUME_TOKEN_TOO_OLD, "begin anew without --resume" },
        { WEIR_INDEX_REBUILDING, "try again soon, or take what is there with --allow-partial" },
        { WEIR_TIMEOUT,
            "the server did not answer in time; `weir status` says how the services are" },
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == error->code)
            return table[i].text;
    return NULL;
}

cli_exit
cli_explain(const cli *self, const weir_error *error)
{
    const char *next = advice(error);

    cli_complain("%s: %s", weir_code_name(error->code), cli_plain(self->arena, error->message, 0));
    if (error->field[0] != '\0')
        fprintf(stderr, "  field: %s\n", cli_plain(self->arena, error->field, 0));
    if (next != NULL)
        fprintf(stderr, "  next: %s\n", next);
    if (error->retry_after_ms > 0)
        fprintf(stderr, "  retry after: %.1f s\n", error->retry_after_ms / 1e3);
    if (error->code == WEIR_SERVICE_UNAVAILABLE)
        fprintf(stderr, "  address: %s\n", address_of(self));
    fprintf(stderr, "  request_id: %s\n", self->request_id);
    return cli_exit_of(error->code);
}

cli_exit
cli_collection(const cli *self, char **ret_collection)
{
    const char *name = cli_text(self, "collection", environment("WEIR_COLLECTION", NULL));

    if (name == NULL) {
        cli_complain(
            "which collection? -c NAME (or WEIR_COLLECTION); `weir collection ls` lists them");
        return CLI_USAGE;
    }
    *ret_collection = (char *)name;
    return CLI_OK;
}

bool
cli_is_serving(weir_rpc_runtime *runtime, const char *address, uint32_t timeout_ms)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms };
    weir_rpc_channel *channel = NULL;
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    bool serving = false;

    if (weir_rpc_channel_open(runtime, address, NULL, &channel, &error) != WEIR_OK)
        return false;
    weir_arena *arena = weir_arena_create(0);
    weir_rpc_stub *stub = weir_rpc_stub_open(channel, &grpc__health__v1__health__descriptor);
    if (weir_rpc_unary(stub, "Check", &request.base, &options, arena, &message, &error) == WEIR_OK)
        serving = ((const Grpc__Health__V1__HealthCheckResponse *)(const void *)message)->status ==
            GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
    weir_arena_destroy(&arena);
    return serving;
}
