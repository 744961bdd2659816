/*
 * json_pipe: common/json behind a pipe, for differential.py.
 *
 *   in   OPERATION TYPE HEX    e: protobuf to JSON, E: with defaults, p: pretty; d: JSON to
 *                              protobuf
 *   out  ok HEX                or: error CODE FIELD MESSAGE
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/json/json.h"
#include "common/wire/wire.h"
#include "google/rpc/status.pb-c.h"
#include "json_shapes.pb-c.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"
#include "weir/v1/system.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &weir__test__shapes__descriptor,
    &google__rpc__status__descriptor,
    &weir__v1__document__descriptor,
    &weir__v1__ingest_document_request__descriptor,
    &weir__v1__ingest_documents_response__descriptor,
    &weir__v1__pressure__descriptor,
    &weir__v1__search_request__descriptor,
    &weir__v1__search_response__descriptor,
    &weir__v1__update_collection_request__descriptor,
};

static const ProtobufCMessageDescriptor *
find_type(const char *name)
{
    for (size_t at = 0; at < sizeof types / sizeof types[0]; at++) {
        if (strcmp(types[at]->name, name) == 0)
            return types[at];
    }
    weir_assert(!"the type is in the table");
    return NULL;
}

static weir_code
convert(char operation, const ProtobufCMessageDescriptor *type, weir_bytes in, weir_arena *arena,
    weir_buffer *out, weir_error *error)
{
    const weir_json_options options = { .emit_defaults = operation == 'E',
        .pretty = operation == 'p' };
    ProtobufCMessage *message;
    weir_code code;

    if (operation == 'd') {
        code = weir_json_decode(type, in, arena, &message, error);
        if (code == WEIR_OK)
            weir_wire_encode(message, out);
        return code;
    }
    code = weir_wire_decode(type, in, NULL, arena, &message, error);
    return code == WEIR_OK ? weir_json_encode(message, &options, out, error) : code;
}

static void
answer(weir_code code, const weir_error *error, const weir_buffer *out)
{
    if (code != WEIR_OK) {
        (void)printf("error %s %s %s\n", weir_code_name(code), error->field, error->message);
    } else {
        char *const hex = weir_alloc(out->size * 2 + 1);

        weir_hex_encode(weir_buffer_view(out), hex);
        (void)printf("ok %s\n", hex);
        weir_free(hex);
    }
    (void)fflush(stdout);
}

int
main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    while ((length = getline(&line, &capacity, stdin)) > 0) {
        char *const type = line + 2;
        char *const hex = strchr(type, ' ') + 1;
        const size_t size = (size_t)(line + length - 1 - hex) / 2;
        uint8_t *const data = weir_alloc(size + 1);
        weir_arena *arena = weir_arena_create(0);
        weir_buffer out = { 0 };
        weir_error error = { 0 };

        hex[-1] = '\0';
        line[length - 1] = '\0';
        weir_assert(weir_hex_decode(hex, data, size));
        answer(convert(line[0], find_type(type), weir_bytes_of(data, size), arena, &out, &error),
            &error, &out);
        weir_buffer_fini(&out);
        weir_arena_destroy(&arena);
        weir_free(data);
    }
    free(line);
    return 0;
}
