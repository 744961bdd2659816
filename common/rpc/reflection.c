/*
 * reflection.c - grpc.reflection.v1 and v1alpha over the embedded descriptor set.
 *
 * The two packages are the same messages under two names (older tools speak only v1alpha):
 * everything is done in v1, and a v1alpha message is packed and unpacked as the other.  Files are
 * handed out as they were compiled, a file with all that it imports; the list names only the
 * services that were added to this server.
 */
#include "common/rpc/internal.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

#define ANSWER_CASE(name_) \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name_

enum { GRPC_INVALID_ARGUMENT = 3, GRPC_NOT_FOUND = 5 };

/* The same bytes as a message of another type; NULL when they do not fit, which only a bug makes.
 */
static const ProtobufCMessage *
convert(const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type, weir_arena *arena)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes;
    ProtobufCMessage *converted;

    if (message->descriptor == type)
        return message;
    bytes = weir_arena_alloc(arena, size + 1);
    protobuf_c_message_pack(message, bytes);
    return weir_wire_decode(type, weir_bytes_of(bytes, size), NULL, arena, &converted, NULL) ==
            WEIR_OK
        ? converted
        : NULL;
}

static void
set_error(reflection_response *response, weir_arena *arena, int code, const char *text)
{
    Grpc__Reflection__V1__ErrorResponse *error = weir_arena_alloc(arena, sizeof *error);

    grpc__reflection__v1__error_response__init(error);
    error->error_code = code;
    error->error_message = weir_arena_strdup(arena, text);
    response->error_response = error;
    response->message_response_case = ANSWER_CASE(ERROR_RESPONSE);
}

typedef struct file_list {
    const weir_rpc_descriptors *descriptors;
    bool *seen;
    ProtobufCBinaryData *files;
    size_t count;
} file_list;

/* Depth is bounded by the number of files: each is entered once. */
static void
collect(file_list *list, int file)
{
    size_t count;
    const int *imports = weir_rpc_file_imports(list->descriptors, file, &count);
    const weir_bytes bytes = weir_rpc_file_bytes(list->descriptors, file);

    if (list->seen[file])
        return;
    list->seen[file] = true;
    list->files[list->count++] =
        (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.size };
    for (size_t i = 0; i < count; i++)
        collect(list, imports[i]);
}

static void
set_file(const weir_rpc_server *server, reflection_response *response, weir_arena *arena, int file)
{
    const size_t total = weir_rpc_file_count(server->descriptors);
    Grpc__Reflection__V1__FileDescriptorResponse *found;
    file_list list = { .descriptors = server->descriptors };

    if (file < 0) {
        set_error(response, arena, GRPC_NOT_FOUND, "not in this server's descriptors");
        return;
    }
    list.seen = weir_arena_alloc_zero(arena, total * sizeof list.seen[0]);
    list.files = weir_arena_alloc(arena, total * sizeof list.files[0]);
    collect(&list, file);
    found = weir_arena_alloc(arena, sizeof *found);
    grpc__reflection__v1__file_descriptor_response__init(found);
    found->file_descriptor_proto = list.files;
    found->n_file_descriptor_proto = list.count;
    response->file_descriptor_response = found;
    response->message_response_case = ANSWER_CASE(FILE_DESCRIPTOR_RESPONSE);
}

static void
set_services(const weir_rpc_server *server, reflection_response *response, weir_arena *arena)
{
    Grpc__Reflection__V1__ListServiceResponse *list = weir_arena_alloc(arena, sizeof *list);
    size_t count = 0;

    grpc__reflection__v1__list_service_response__init(list);
    for (const wr_service *each = server->services; each != NULL; each = each->next)
        count++;
    list->service = weir_arena_alloc(arena, count * sizeof list->service[0]);
    for (const wr_service *each = server->services; each != NULL; each = each->next) {
        Grpc__Reflection__V1__ServiceResponse *service = weir_arena_alloc(arena, sizeof *service);

        grpc__reflection__v1__service_response__init(service);
        service->name = weir_arena_strdup(arena, each->type->name);
        list->service[list->n_service++] = service;
    }
    response->list_services_response = list;
    response->message_response_case = ANSWER_CASE(LIST_SERVICES_RESPONSE);
}

/* proto3 has no extensions of our messages: a known type has none. */
static void
set_extensions(const weir_rpc_server *server, reflection_response *response, weir_arena *arena,
    const char *type)
{
    Grpc__Reflection__V1__ExtensionNumberResponse *none;

    if (weir_rpc_file_by_symbol(server->descriptors, weir_bytes_str(type)) < 0) {
        set_error(response, arena, GRPC_NOT_FOUND, "not in this server's descriptors");
        return;
    }
    none = weir_arena_alloc(arena, sizeof *none);
    grpc__reflection__v1__extension_number_response__init(none);
    none->base_type_name = weir_arena_strdup(arena, type);
    response->all_extension_numbers_response = none;
    response->message_response_case = ANSWER_CASE(ALL_EXTENSION_NUMBERS_RESPONSE);
}

#define REQUEST_CASE(name_) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name_

static void
fill(const weir_rpc_server *server, const reflection_request *request,
    reflection_response *response, weir_arena *arena)
{
    const weir_rpc_descriptors *descriptors = server->descriptors;

    switch ((int)request->message_request_case) {
    case REQUEST_CASE(LIST_SERVICES):
        set_services(server, response, arena);
        break;
    case REQUEST_CASE(FILE_BY_FILENAME):
        set_file(server, response, arena,
            weir_rpc_file_by_name(descriptors, weir_bytes_str(request->file_by_filename)));
        break;
    case REQUEST_CASE(FILE_CONTAINING_SYMBOL):
        set_file(server, response, arena,
            weir_rpc_file_by_symbol(descriptors, weir_bytes_str(request->file_containing_symbol)));
        break;
    case REQUEST_CASE(FILE_CONTAINING_EXTENSION):
        set_error(response, arena, GRPC_NOT_FOUND, "there are no extensions here");
        break;
    case REQUEST_CASE(ALL_EXTENSION_NUMBERS_OF_TYPE):
        set_extensions(server, response, arena, request->all_extension_numbers_of_type);
        break;
    default:
        set_error(response, arena, GRPC_INVALID_ARGUMENT, "the request asks for nothing");
        break;
    }
}

static weir_rpc_flow
reflect(weir_rpc_call *call, const ProtobufCMessage *message, void *context)
{
    weir_rpc_server *server = context;
    weir_arena *arena = weir_arena_create(0);
    const ProtobufCMessage *as_v1 =
        convert(message, &grpc__reflection__v1__server_reflection_request__descriptor, arena);
    reflection_request *request = (void *)(uintptr_t)as_v1;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    weir_rpc_sent sent;

    weir_assert(request != NULL);
    response.original_request = request;
    response.valid_host = request->host;
    fill(server, request, &response, arena);
    sent = weir_rpc_send(call, convert(&response.base, weir_rpc_call_method(call)->output, arena));
    weir_arena_destroy(&arena);
    return sent == WEIR_RPC_FULL ? WEIR_RPC_HOLD : WEIR_RPC_MORE;
}

static void
read_on(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_resume(call);
}

static void
end_reflection(weir_rpc_call *call, void *context)
{
    (void)context;
    weir_rpc_finish(call);
}

static const weir_rpc_handler handlers[] = {
    { .method = "ServerReflectionInfo",
        .flags = WEIR_RPC_PUBLIC,
        .message = reflect,
        .half_closed = end_reflection,
        .writable = read_on,
        .cancelled = end_reflection,
        .draining = end_reflection },
};

weir_code
weir_rpc_server_add_reflection(weir_rpc_server *server, weir_error *reterr)
{
    const weir_code code = weir_rpc_server_add(server,
        &grpc__reflection__v1__server_reflection__descriptor, handlers, 1, server, reterr);

    if (code != WEIR_OK)
        return code;
    return weir_rpc_server_add(server, &grpc__reflection__v1alpha__server_reflection__descriptor,
        handlers, 1, server, reterr);
}
