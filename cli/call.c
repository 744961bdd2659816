/*
 * call.c - `weir call`: any method of any service by name, JSON in and out, from the embedded
 * descriptors.
 */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "common/base/id.h"
#include "common/json/json.h"
#include "common/rpc/methods.h"
#include "common/wire/descriptors.h"
#include "grpc/health/v1/health.pb-c.h"
#include "weir/internal/v1/service.pb-c.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/dead_letter.pb-c.h"
#include "weir/v1/search.pb-c.h"
#include "weir/v1/system.pb-c.h"

static const ProtobufCServiceDescriptor *const services[] = {
    &weir__v1__collection_service__descriptor,
    &weir__v1__document_service__descriptor,
    &weir__v1__search_service__descriptor,
    &weir__v1__dead_letter_service__descriptor,
    &weir__v1__system_service__descriptor,
    &weir__internal__v1__stage_service__descriptor,
    &weir__internal__v1__source_service__descriptor,
    &weir__internal__v1__embedder_service__descriptor,
    &weir__internal__v1__indexer_service__descriptor,
    &weir__internal__v1__reconciler_service__descriptor,
    &grpc__health__v1__health__descriptor,
};

typedef struct call_target {
    const weir_rpc_method *method;
    const ProtobufCServiceDescriptor *service;
} call_target;

/* ---- which method ---- */

static void
list_methods(const weir_rpc_descriptors *descriptors, const char *service)
{
    for (size_t i = 0; i < weir_rpc_method_count(descriptors); i++) {
        const weir_rpc_method *it = weir_rpc_method_at(descriptors, i);
        if (it->input != NULL && (service == NULL || strcmp(it->service, service) == 0))
            fprintf(stderr, "  %s\n", it->path + 1);
    }
}

/* "DocumentService/GetDocument" means the one in weir.v1. */
static cli_exit
find_method(cli *self, const weir_rpc_descriptors *descriptors, call_target *ret_target)
{
    const char *name = self->arguments[0];
    const weir_rpc_method *method = weir_rpc_method_find(descriptors, name);

    if (method == NULL)
        method =
            weir_rpc_method_find(descriptors, weir_arena_printf(self->arena, "weir.v1.%s", name));
    if (method == NULL)
        method = weir_rpc_method_find(descriptors,
            weir_arena_printf(self->arena, "weir.internal.v1.%s", name));
    for (size_t i = 0; method != NULL && i < sizeof services / sizeof services[0]; i++) {
        if (strcmp(services[i]->name, method->service) == 0) {
            *ret_target = (call_target){ method, services[i] };
            return CLI_OK;
        }
    }
    cli_complain("there is no method \"%s\"; there are", name);
    list_methods(descriptors, NULL);
    return CLI_USAGE;
}

static cli_exit
load_descriptors(weir_rpc_descriptors *descriptors)
{
    weir_error error = { 0 };
    weir_code code = weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error);

    for (size_t i = 0; code == WEIR_OK && i < sizeof services / sizeof services[0]; i++)
        code = weir_rpc_descriptors_bind(descriptors, services[i], &error);
    if (code == WEIR_OK)
        return CLI_OK;
    cli_complain("%s", error.message);
    return CLI_ERROR;
}

/* ---- the request ---- */

static cli_exit
read_stream(FILE *file, const char *name, weir_buffer *out)
{
    char block[1 << 16];
    size_t size;

    while ((size = fread(block, 1, sizeof block, file)) > 0 &&
        out->size <= WEIR_JSON_INPUT_BYTES_MAX)
        weir_buffer_append(out, block, size);
    if (!ferror(file) && out->size <= WEIR_JSON_INPUT_BYTES_MAX)
        return CLI_OK;
    cli_complain("%s cannot be read, or has more than %d bytes", name, WEIR_JSON_INPUT_BYTES_MAX);
    return CLI_ERROR;
}

static cli_exit
read_data(const cli *self, weir_buffer *out)
{
    const char *data = cli_text(self, "data", "{}");

    if (strcmp(data, "-") == 0)
        return read_stream(stdin, "standard input", out);
    if (data[0] != '@') {
        weir_buffer_append(out, data, strlen(data));
        return CLI_OK;
    }
    FILE *file = fopen(data + 1, "re");
    if (file == NULL) {
        cli_complain("%s: %s", data + 1, strerror(errno));
        return CLI_ERROR;
    }
    const cli_exit result = read_stream(file, data + 1, out);
    fclose(file);
    return result;
}

static cli_exit
parse(cli *self, const call_target *target, weir_bytes json, ProtobufCMessage **ret_message)
{
    weir_error error = { 0 };

    if (weir_json_decode(target->method->input, json, self->arena, ret_message, &error) == WEIR_OK)
        return CLI_OK;
    cli_complain("the request is no %s: %s", target->method->input_type, error.message);
    if (error.field[0] != '\0')
        fprintf(stderr, "  field: %s\n", error.field);
    return CLI_USAGE;
}

/* ---- the call ---- */

static cli_exit
call_unary(cli *self, const call_target *target, const ProtobufCMessage *request,
    uint32_t timeout_ms)
{
    ProtobufCMessage *response = NULL;
    weir_error error;

    if (cli_try(self, target->service, target->method->name, request, timeout_ms, self->arena,
            &response, &error) != WEIR_OK)
        return cli_explain(self, &error);
    cli_print_json(response);
    return CLI_OK;
}

/* One message a line.  Lines are sent first and answers read afterwards: for short streams typed by
 * hand. */
static cli_exit
send_lines(cli *self, const call_target *target, weir_bytes data, weir_rpc_stream *stream)
{
    const char *at = (const char *)data.data;
    size_t left = data.size;

    while (left > 0) {
        const char *newline = target->method->client_streams ? memchr(at, '\n', left) : NULL;
        const size_t size = newline != NULL ? (size_t)(newline - at) : left;
        ProtobufCMessage *message = NULL;
        weir_error error = { 0 };
        if (size > 0) {
            const cli_exit result = parse(self, target, weir_bytes_of(at, size), &message);
            if (result != CLI_OK)
                return result;
            if (weir_rpc_stream_send(stream, message, &error) != WEIR_OK)
                return CLI_OK; /* the answer says why */
        }
        at += size + (newline != NULL);
        left -= size + (newline != NULL);
    }
    weir_rpc_stream_half_close(stream);
    return CLI_OK;
}

static cli_exit
call_stream(cli *self, const call_target *target, weir_bytes data, uint32_t timeout_ms)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self, metadata, timeout_ms);
    weir_rpc_stub *stub = weir_rpc_stub_open(self->channel, target->service);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, target->method->name, &options);
    weir_arena *arena = weir_arena_create(0);
    weir_error error = { 0 };
    cli_exit result = send_lines(self, target, data, stream);

    while (result == CLI_OK) {
        ProtobufCMessage *message = NULL;
        const weir_code code = weir_rpc_stream_recv(stream, 0, arena, &message, &error);
        if (code != WEIR_OK)
            result = cli_explain(self, &error);
        if (code != WEIR_OK || message == NULL)
            break;
        cli_print_json(message);
        fflush(stdout);
        weir_arena_reset(arena);
    }
    if (result != CLI_OK)
        weir_rpc_stream_cancel(stream);
    (void)weir_rpc_stream_finish(&stream, &error);
    weir_rpc_stub_close(&stub);
    weir_arena_destroy(&arena);
    return result;
}

static cli_exit
call_target_with(cli *self, const call_target *target, weir_bytes data)
{
    ProtobufCMessage *request = NULL;
    int64_t timeout_ms = 0;
    cli_exit result = cli_duration(self, "timeout", 0, &timeout_ms);

    if (result != CLI_OK)
        return result;
    if (target->method->client_streams || target->method->server_streams)
        return call_stream(self, target, data, (uint32_t)timeout_ms);
    result = parse(self, target, data, &request);
    return result == CLI_OK ? call_unary(self, target, request, (uint32_t)timeout_ms) : result;
}

cli_exit
cli_call_method(cli *self)
{
    weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
    weir_buffer data = { 0 };
    call_target target = { 0 };
    cli_exit result = load_descriptors(descriptors);

    if (result == CLI_OK)
        result = find_method(self, descriptors, &target);
    if (result == CLI_OK)
        result = read_data(self, &data);
    if (result == CLI_OK)
        result = call_target_with(self, &target, weir_buffer_view(&data));
    weir_buffer_fini(&data);
    weir_rpc_descriptors_destroy(&descriptors);
    return result;
}
