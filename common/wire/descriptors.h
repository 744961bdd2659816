/*
 * descriptors.h - the FileDescriptorSet of every proto that this build was generated from.
 *
 * Reflection hands its files out, and the RPC layer reads the stream flags of methods from it:
 * protobuf-c's own descriptors lack them.  Imports are included.  The bytes are static.  Any
 * thread.
 */
#ifndef WEIR_WIRE_DESCRIPTORS_H
#define WEIR_WIRE_DESCRIPTORS_H

#include "common/base/bytes.h"

/* A serialized google.protobuf.FileDescriptorSet; lives as long as the program. */
weir_bytes weir_descriptor_set(void);

#endif
