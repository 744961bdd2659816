/*
 * descriptors.c - a reader of FileDescriptorSet bytes.
 *
 * No code is generated for descriptor.proto: this walks the wire format, notes files, symbols and
 * methods, and leaves the bytes as they are, so that options nobody here knows survive into
 * reflection.
 */
#include <stdlib.h>

#include "common/rpc/internal.h"

enum {
    DEPTH_MAX = 32,
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

typedef struct file_entry {
    weir_bytes name;
    weir_bytes bytes;
    int *imports;
    size_t import_count;
} file_entry;

typedef struct symbol_entry {
    char *name;
    int file;
} symbol_entry;

struct weir_rpc_descriptors {
    weir_arena *arena;
    file_entry *files;
    size_t file_count;
    symbol_entry *symbols;
    size_t symbol_count;
    size_t symbol_room;
    weir_rpc_method **methods;
    size_t method_count;
};

/* ---- wire format ---- */

typedef struct wire_cursor {
    const uint8_t *at;
    const uint8_t *end;
} wire_cursor;

typedef struct wire_field {
    uint32_t number;
    unsigned type;
    uint64_t value;   /* of a varint */
    weir_bytes bytes; /* of a length-delimited field */
} wire_field;

static bool
read_varint(wire_cursor *cursor, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        const uint8_t byte = *cursor->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool
read_span(wire_cursor *cursor, uint64_t size, weir_bytes *ret_bytes)
{
    if (size > (uint64_t)(cursor->end - cursor->at))
        return false;
    *ret_bytes = weir_bytes_of(cursor->at, (size_t)size);
    cursor->at += size;
    return true;
}

static bool
read_value(wire_cursor *cursor, wire_field *field)
{
    uint64_t size;

    switch (field->type) {
    case WIRE_VARINT:
        return read_varint(cursor, &field->value);
    case WIRE_FIXED64:
        return read_span(cursor, 8, &field->bytes);
    case WIRE_BYTES:
        return read_varint(cursor, &size) && read_span(cursor, size, &field->bytes);
    case WIRE_FIXED32:
        return read_span(cursor, 4, &field->bytes);
    default:
        return false;
    }
}

/* False at the end, and at what is no protobuf, where cursor->at stays before cursor->end or is set
 * to NULL. */
static bool
next_field(wire_cursor *cursor, wire_field *field)
{
    uint64_t key;

    if (cursor->at == NULL || cursor->at == cursor->end)
        return false;
    *field = (wire_field){ 0 };
    if (read_varint(cursor, &key) && key >> 3 <= UINT32_MAX) {
        field->number = (uint32_t)(key >> 3);
        field->type = (unsigned)(key & 7);
        if (read_value(cursor, field))
            return true;
    }
    cursor->at = NULL;
    return false;
}

static wire_cursor
cursor_over(weir_bytes bytes)
{
    return (wire_cursor){ .at = bytes.data, .end = bytes.data + bytes.size };
}

/* A whole message parsed to its end. */
static bool
well_formed(const wire_cursor *cursor)
{
    return cursor->at == cursor->end;
}

static weir_bytes
field_bytes(weir_bytes message, uint32_t number)
{
    wire_cursor cursor = cursor_over(message);
    wire_field field;
    weir_bytes found = { 0 };

    while (next_field(&cursor, &field))
        if (field.number == number && field.type == WIRE_BYTES)
            found = field.bytes;
    return found;
}

static bool
field_flag(weir_bytes message, uint32_t number)
{
    wire_cursor cursor = cursor_over(message);
    wire_field field;
    bool found = false;

    while (next_field(&cursor, &field))
        if (field.number == number && field.type == WIRE_VARINT)
            found = field.value != 0;
    return found;
}

/* ---- symbols ---- */

static char *
join(weir_arena *arena, const char *scope, weir_bytes name)
{
    return weir_arena_printf(arena, "%s%s%.*s", scope, scope[0] == '\0' ? "" : ".", (int)name.size,
        (const char *)name.data);
}

static char *
add_symbol(weir_rpc_descriptors *descriptors, const char *scope, weir_bytes name, int file)
{
    char *full = join(descriptors->arena, scope, name);

    if (descriptors->symbol_count == descriptors->symbol_room) {
        descriptors->symbol_room = descriptors->symbol_room * 2 + 256;
        descriptors->symbols = weir_realloc(descriptors->symbols,
            descriptors->symbol_room * sizeof descriptors->symbols[0]);
    }
    descriptors->symbols[descriptors->symbol_count++] =
        (symbol_entry){ .name = full, .file = file };
    return full;
}

static void
add_enum(weir_rpc_descriptors *descriptors, const char *scope, weir_bytes bytes, int file)
{
    wire_cursor cursor = cursor_over(bytes);
    wire_field field;

    add_symbol(descriptors, scope, field_bytes(bytes, 1), file);
    while (next_field(&cursor, &field))
        if (field.number == 2 && field.type == WIRE_BYTES) /* a value lives beside its enum */
            add_symbol(descriptors, scope, field_bytes(field.bytes, 1), file);
}

static void
add_message(weir_rpc_descriptors *descriptors, const char *scope, weir_bytes bytes, int file,
    unsigned depth)
{
    const char *full = add_symbol(descriptors, scope, field_bytes(bytes, 1), file);
    wire_cursor cursor = cursor_over(bytes);
    wire_field field;

    while (next_field(&cursor, &field)) {
        if (field.type != WIRE_BYTES)
            continue;
        if (field.number == 2 || field.number == 6 ||
            field.number == 8) /* field, extension, oneof */
            add_symbol(descriptors, full, field_bytes(field.bytes, 1), file);
        else if (field.number == 3 && depth < DEPTH_MAX)
            add_message(descriptors, full, field.bytes, file, depth + 1);
        else if (field.number == 4)
            add_enum(descriptors, full, field.bytes, file);
    }
}

/* Type names begin with a dot when protoc wrote them. */
static char *
type_name(weir_arena *arena, weir_bytes name)
{
    const bool dotted = name.size > 0 && name.data[0] == '.';

    return weir_arena_strndup(arena, (const char *)name.data + (dotted ? 1 : 0),
        name.size - (dotted ? 1 : 0));
}

static void
add_method(weir_rpc_descriptors *descriptors, const char *service, weir_bytes bytes, int file)
{
    weir_arena *arena = descriptors->arena;
    const weir_bytes name = field_bytes(bytes, 1);
    weir_rpc_method *method = weir_arena_alloc_zero(arena, sizeof *method);

    add_symbol(descriptors, service, name, file);
    method->service = service;
    method->name = weir_arena_strndup(arena, (const char *)name.data, name.size);
    method->path = weir_arena_printf(arena, "/%s/%s", service, method->name);
    method->input_type = type_name(arena, field_bytes(bytes, 2));
    method->output_type = type_name(arena, field_bytes(bytes, 3));
    method->client_streams = field_flag(bytes, 5);
    method->server_streams = field_flag(bytes, 6);
    descriptors->methods = weir_realloc(descriptors->methods,
        (descriptors->method_count + 1) * sizeof descriptors->methods[0]);
    descriptors->methods[descriptors->method_count++] = method;
}

static void
add_service(weir_rpc_descriptors *descriptors, const char *package, weir_bytes bytes, int file)
{
    const char *full = add_symbol(descriptors, package, field_bytes(bytes, 1), file);
    wire_cursor cursor = cursor_over(bytes);
    wire_field field;

    while (next_field(&cursor, &field))
        if (field.number == 2 && field.type == WIRE_BYTES)
            add_method(descriptors, full, field.bytes, file);
}

static bool
add_file(weir_rpc_descriptors *descriptors, weir_bytes bytes)
{
    const weir_bytes package = field_bytes(bytes, 2);
    const char *scope =
        weir_arena_strndup(descriptors->arena, (const char *)package.data, package.size);
    const int file = (int)descriptors->file_count;
    wire_cursor cursor = cursor_over(bytes);
    wire_field field;

    descriptors->files = weir_realloc(descriptors->files,
        (descriptors->file_count + 1) * sizeof descriptors->files[0]);
    descriptors->files[descriptors->file_count++] =
        (file_entry){ .name = field_bytes(bytes, 1), .bytes = bytes };
    while (next_field(&cursor, &field)) {
        if (field.type != WIRE_BYTES)
            continue;
        if (field.number == 4)
            add_message(descriptors, scope, field.bytes, file, 0);
        else if (field.number == 5)
            add_enum(descriptors, scope, field.bytes, file);
        else if (field.number == 6)
            add_service(descriptors, scope, field.bytes, file);
        else if (field.number == 7)
            add_symbol(descriptors, scope, field_bytes(field.bytes, 1), file);
    }
    return well_formed(&cursor);
}

/* ---- building ---- */

static int
compare_symbols(const void *a, const void *b)
{
    return strcmp(((const symbol_entry *)a)->name, ((const symbol_entry *)b)->name);
}

static int
compare_methods(const void *a, const void *b)
{
    return strcmp((*(weir_rpc_method *const *)a)->path, (*(weir_rpc_method *const *)b)->path);
}

/* A file may come before what it imports, so imports are resolved when all files of a set are
 * known. */
static void
resolve_imports(weir_rpc_descriptors *descriptors, file_entry *file)
{
    wire_cursor cursor = cursor_over(file->bytes);
    wire_field field;

    weir_free(file->imports);
    file->imports = NULL;
    file->import_count = 0;
    while (next_field(&cursor, &field)) {
        const int found = field.number == 3 && field.type == WIRE_BYTES
            ? weir_rpc_file_by_name(descriptors, field.bytes)
            : -1;

        if (found < 0)
            continue;
        file->imports =
            weir_realloc(file->imports, (file->import_count + 1) * sizeof file->imports[0]);
        file->imports[file->import_count++] = found;
    }
}

weir_rpc_descriptors *
weir_rpc_descriptors_create(void)
{
    weir_rpc_descriptors *descriptors = weir_alloc_zero(1, sizeof *descriptors);

    descriptors->arena = weir_arena_create(0);
    return descriptors;
}

void
weir_rpc_descriptors_destroy(weir_rpc_descriptors **descriptors_p)
{
    weir_rpc_descriptors *descriptors = *descriptors_p;

    if (descriptors == NULL)
        return;
    for (size_t i = 0; i < descriptors->file_count; i++)
        weir_free(descriptors->files[i].imports);
    weir_free(descriptors->files);
    weir_free(descriptors->symbols);
    weir_free(descriptors->methods);
    weir_arena_destroy(&descriptors->arena);
    weir_free(descriptors);
    *descriptors_p = NULL;
}

static void
sort_all(weir_rpc_descriptors *descriptors)
{
    if (descriptors->symbol_count > 0)
        qsort(descriptors->symbols, descriptors->symbol_count, sizeof descriptors->symbols[0],
            compare_symbols);
    if (descriptors->method_count > 0)
        qsort(descriptors->methods, descriptors->method_count, sizeof descriptors->methods[0],
            compare_methods);
    for (size_t i = 0; i < descriptors->file_count; i++)
        resolve_imports(descriptors, &descriptors->files[i]);
}

weir_code
weir_rpc_descriptors_add(weir_rpc_descriptors *descriptors, weir_bytes set, weir_error *reterr)
{
    wire_cursor cursor = cursor_over(set);
    wire_field field;
    bool good = true;

    while (good && next_field(&cursor, &field)) {
        if (field.number != 1 || field.type != WIRE_BYTES) {
            good = false;
            break;
        }
        if (weir_rpc_file_by_name(descriptors, field_bytes(field.bytes, 1)) < 0)
            good = add_file(descriptors, field.bytes);
    }
    sort_all(descriptors);
    if (!good || !well_formed(&cursor) || set.size == 0)
        return weir_error_set(reterr, WEIR_CORRUPT, "%zu bytes are no FileDescriptorSet", set.size);
    return WEIR_OK;
}

static weir_rpc_method *
find_exact(const weir_rpc_descriptors *descriptors, const char *path)
{
    const weir_rpc_method key = { .path = path };
    const weir_rpc_method *key_p = &key;
    weir_rpc_method **found = descriptors->method_count == 0
        ? NULL
        : bsearch(&key_p, descriptors->methods, descriptors->method_count,
              sizeof descriptors->methods[0], compare_methods);

    return found == NULL ? NULL : *found;
}

static weir_code
bind_method(weir_rpc_descriptors *descriptors, const char *service,
    const ProtobufCMethodDescriptor *type, weir_error *reterr)
{
    char path[256];
    weir_rpc_method *method;

    snprintf(path, sizeof path, "/%s/%s", service, type->name);
    method = find_exact(descriptors, path);
    if (method == NULL)
        return weir_error_set(reterr, WEIR_INTERNAL, "the descriptor set has no method %s", path);
    if (strcmp(method->input_type, type->input->name) != 0 ||
        strcmp(method->output_type, type->output->name) != 0)
        return weir_error_set(reterr, WEIR_INTERNAL,
            "%s takes %s and answers %s in the descriptor set, but %s and %s in the code", path,
            method->input_type, method->output_type, type->input->name, type->output->name);
    method->input = type->input;
    method->output = type->output;
    return WEIR_OK;
}

weir_code
weir_rpc_descriptors_bind(weir_rpc_descriptors *descriptors,
    const ProtobufCServiceDescriptor *service, weir_error *reterr)
{
    for (unsigned i = 0; i < service->n_methods; i++) {
        const weir_code code =
            bind_method(descriptors, service->name, &service->methods[i], reterr);

        if (code != WEIR_OK)
            return code;
    }
    return WEIR_OK;
}

/* ---- asking ---- */

const weir_rpc_method *
weir_rpc_method_find(const weir_rpc_descriptors *descriptors, const char *path)
{
    char normal[256];
    const int size = snprintf(normal, sizeof normal, "/%s", path[0] == '/' ? path + 1 : path);

    if (size < 0 || (size_t)size >= sizeof normal)
        return NULL;
    if (strchr(normal + 1, '/') == NULL) {
        char *dot = strrchr(normal, '.');

        if (dot == NULL)
            return NULL;
        *dot = '/';
    }
    return find_exact(descriptors, normal);
}

size_t
weir_rpc_method_count(const weir_rpc_descriptors *descriptors)
{
    return descriptors->method_count;
}

const weir_rpc_method *
weir_rpc_method_at(const weir_rpc_descriptors *descriptors, size_t index)
{
    weir_assert(index < descriptors->method_count);
    return descriptors->methods[index];
}

bool
weir_rpc_service_known(const weir_rpc_descriptors *descriptors, const char *service)
{
    for (size_t i = 0; i < descriptors->method_count; i++)
        if (strcmp(descriptors->methods[i]->service, service) == 0)
            return true;
    return false;
}

int
weir_rpc_file_by_name(const weir_rpc_descriptors *descriptors, weir_bytes name)
{
    for (size_t i = 0; i < descriptors->file_count; i++)
        if (weir_bytes_equal(descriptors->files[i].name, name))
            return (int)i;
    return -1;
}

int
weir_rpc_file_by_symbol(const weir_rpc_descriptors *descriptors, weir_bytes symbol)
{
    char name[512];
    const symbol_entry key = { .name = name };
    const symbol_entry *found;

    if (symbol.size >= sizeof name || descriptors->symbol_count == 0)
        return -1;
    memcpy(name, symbol.data, symbol.size);
    name[symbol.size] = '\0';
    found = bsearch(&key, descriptors->symbols, descriptors->symbol_count,
        sizeof descriptors->symbols[0], compare_symbols);
    return found == NULL ? -1 : found->file;
}

weir_bytes
weir_rpc_file_bytes(const weir_rpc_descriptors *descriptors, int file)
{
    weir_assert(file >= 0 && (size_t)file < descriptors->file_count);
    return descriptors->files[file].bytes;
}

const int *
weir_rpc_file_imports(const weir_rpc_descriptors *descriptors, int file, size_t *ret_count)
{
    weir_assert(file >= 0 && (size_t)file < descriptors->file_count);
    *ret_count = descriptors->files[file].import_count;
    return descriptors->files[file].imports;
}

size_t
weir_rpc_file_count(const weir_rpc_descriptors *descriptors)
{
    return descriptors->file_count;
}
