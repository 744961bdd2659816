/*
 * test_service.h - grpc.testing.TestService, as the interop test descriptions of gRPC define it.
 *
 * Beyond them, request headers make the unary call fail as weir's own handlers do: x-weir-fail (a
 * reason), x-weir-field, x-weir-retry-ms.
 */
#ifndef WEIR_TEST_SERVICE_H
#define WEIR_TEST_SERVICE_H

#include "common/rpc/rpc.h"

/* The descriptor set of the interop protos. */
weir_bytes interop_descriptor_set(void);
weir_code interop_service_add(weir_rpc_server *server, weir_error *reterr) WEIR_MUST_CHECK;

#endif
