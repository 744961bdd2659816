/*
 * harness.h - a server on a free port with TestService, a channel to it, and counters to wait on.
 */
#ifndef WEIR_RPC_HARNESS_H
#define WEIR_RPC_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/rpc/client.h"
#include "common/wire/descriptors.h"
#include "grpc/testing/test.pb-c.h"
#include "tests/interop/test_service.h"

typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__SimpleResponse simple_response;
typedef Grpc__Testing__StreamingInputCallRequest input_request;
typedef Grpc__Testing__StreamingInputCallResponse input_response;
typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingOutputCallResponse output_response;

#define COUNT_OF(array_) (sizeof(array_) / sizeof((array_)[0]))

#define CHECK_OK(expression_)                                                       \
    do {                                                                            \
        weir_error check_error_ = { .code = WEIR_OK };                              \
        weir_error *const reterr = &check_error_;                                   \
        if ((expression_) != WEIR_OK)                                               \
            fail_msg("%s: %s: %s", #expression_, weir_code_name(check_error_.code), \
                check_error_.message);                                              \
    } while (0)

/* How long a test waits for what must come. */
enum { PATIENCE_MS = 30000 };

/* A count that other threads raise. */
typedef struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
} tally;

void tally_init(tally *counter);
void tally_add(tally *counter);
unsigned tally_count(tally *counter);
/* Fails the test when it does not come to `count` in time. */
void tally_wait(tally *counter, unsigned count);

typedef struct rpc_harness {
    weir_rpc_runtime *runtime;
    weir_rpc_descriptors *descriptors;
    weir_rpc_server *server;
    weir_rpc_channel *channel;
    weir_rpc_stub *stub;
    char target[64];
} rpc_harness;

/* Descriptors of the interop protos and of weir; runtime with two pollers. */
void harness_init(rpc_harness *harness);
/* options: addresses and descriptors are filled in; NULL for all defaults. */
void harness_server(rpc_harness *harness, const weir_rpc_server_options *options);
void harness_add(rpc_harness *harness, const weir_rpc_handler *handlers, size_t count,
    void *context);
/* Start, and open a channel with a stub of TestService. */
void harness_start(rpc_harness *harness);
void harness_fini(rpc_harness *harness);

/* UnaryCall with an empty request; the failure in *ret_error. */
weir_code harness_unary(rpc_harness *harness, const char *method, uint32_t timeout_ms,
    weir_error *ret_error);

#endif
