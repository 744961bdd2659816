/*
 * methods.h - what the embedded FileDescriptorSet knows: files, symbols, services and their
 * methods.
 *
 * protobuf-c descriptors lack stream flags, so they are read from the set that `protoc
 * --descriptor_set_out` wrote; the same bytes answer reflection.  A method found here carries its
 * protobuf-c message descriptors once its service was bound, which is what the JSON front end and
 * `weir call` need.
 *
 * Threads: add and bind before use by several threads; afterwards read-only, any thread.
 */
#ifndef WEIR_RPC_METHODS_H
#define WEIR_RPC_METHODS_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

typedef struct weir_rpc_descriptors weir_rpc_descriptors;

typedef struct weir_rpc_method {
    const char *path;       /* "/weir.v1.DocumentService/GetDocument" */
    const char *service;    /* "weir.v1.DocumentService" */
    const char *name;       /* "GetDocument" */
    const char *input_type; /* "weir.v1.GetDocumentRequest" */
    const char *output_type;
    bool client_streams;
    bool server_streams;
    const ProtobufCMessageDescriptor *input; /* NULL until its service was bound */
    const ProtobufCMessageDescriptor *output;
} weir_rpc_method;

weir_rpc_descriptors *weir_rpc_descriptors_create(void);
void weir_rpc_descriptors_destroy(weir_rpc_descriptors **descriptors_p);

/*
 * Index one serialized FileDescriptorSet (weir_descriptor_set()).  The bytes are borrowed for the
 * life of `descriptors`.  A file already known by its name is skipped, so sets may overlap.
 * WEIR_CORRUPT when the bytes are no FileDescriptorSet.
 */
weir_code weir_rpc_descriptors_add(weir_rpc_descriptors *descriptors, weir_bytes set,
    weir_error *reterr) WEIR_MUST_CHECK;

/*
 * Attach the protobuf-c descriptor of a service, after comparing every method's name and types with
 * the set. WEIR_INTERNAL with a sentence when the two disagree (a stale set).  Binding twice is
 * fine.
 */
weir_code weir_rpc_descriptors_bind(weir_rpc_descriptors *descriptors,
    const ProtobufCServiceDescriptor *service, weir_error *reterr) WEIR_MUST_CHECK;

/* By path; the leading slash may be missing, and "pkg.Service.Method" is understood.  NULL: no such
 * method. */
const weir_rpc_method *weir_rpc_method_find(const weir_rpc_descriptors *descriptors,
    const char *path);

/* Every method of every service of the set, ordered by path. */
size_t weir_rpc_method_count(const weir_rpc_descriptors *descriptors);
const weir_rpc_method *weir_rpc_method_at(const weir_rpc_descriptors *descriptors, size_t index);

/* True when the set holds a service of that full name. */
bool weir_rpc_service_known(const weir_rpc_descriptors *descriptors, const char *service);

/* For reflection: the raw FileDescriptorProto of a file, or of the file that declares a symbol
 * (message, enum, enum value, field, oneof, extension, service, method).  Index < 0: not there. */
int weir_rpc_file_by_name(const weir_rpc_descriptors *descriptors, weir_bytes name);
int weir_rpc_file_by_symbol(const weir_rpc_descriptors *descriptors, weir_bytes symbol);
weir_bytes weir_rpc_file_bytes(const weir_rpc_descriptors *descriptors, int file);
/* Indexes of the file's imports that the set holds, in the order written; *ret_count of them. */
const int *weir_rpc_file_imports(const weir_rpc_descriptors *descriptors, int file,
    size_t *ret_count);
size_t weir_rpc_file_count(const weir_rpc_descriptors *descriptors);

#endif
