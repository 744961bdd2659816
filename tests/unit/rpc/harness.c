/*
 * harness.c - see harness.h.
 */
#include "tests/unit/rpc/harness.h"

#include <errno.h>
#include <time.h>

void
tally_init(tally *counter)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&counter->lock, NULL);
    pthread_cond_init(&counter->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    counter->count = 0;
}

void
tally_add(tally *counter)
{
    pthread_mutex_lock(&counter->lock);
    counter->count++;
    pthread_cond_broadcast(&counter->changed);
    pthread_mutex_unlock(&counter->lock);
}

unsigned
tally_count(tally *counter)
{
    unsigned count;

    pthread_mutex_lock(&counter->lock);
    count = counter->count;
    pthread_mutex_unlock(&counter->lock);
    return count;
}

void
tally_wait(tally *counter, unsigned count)
{
    const int64_t until_ms = weir_clock_mono_ms() + PATIENCE_MS;
    const struct timespec until = { .tv_sec = until_ms / 1000,
        .tv_nsec = (until_ms % 1000) * 1000000 };
    unsigned seen;

    pthread_mutex_lock(&counter->lock);
    while (counter->count < count)
        if (pthread_cond_timedwait(&counter->changed, &counter->lock, &until) == ETIMEDOUT)
            break;
    seen = counter->count;
    pthread_mutex_unlock(&counter->lock);
    if (seen < count)
        fail_msg("waited for %u, saw %u", count, seen);
}

void
harness_init(rpc_harness *harness)
{
    memset(harness, 0, sizeof *harness);
    harness->runtime = weir_rpc_runtime_create(2);
    harness->descriptors = weir_rpc_descriptors_create();
    CHECK_OK(weir_rpc_descriptors_add(harness->descriptors, interop_descriptor_set(), reterr));
    CHECK_OK(weir_rpc_descriptors_add(harness->descriptors, weir_descriptor_set(), reterr));
}

void
harness_server(rpc_harness *harness, const weir_rpc_server_options *options)
{
    static const char *const addresses[] = { "127.0.0.1:0" };
    weir_rpc_server_options filled = { 0 };

    if (options != NULL)
        filled = *options;
    filled.descriptors = harness->descriptors;
    filled.addresses = addresses;
    filled.address_count = 1;
    CHECK_OK(weir_rpc_server_create(harness->runtime, &filled, &harness->server, reterr));
}

void
harness_add(rpc_harness *harness, const weir_rpc_handler *handlers, size_t count, void *context)
{
    CHECK_OK(weir_rpc_server_add(harness->server, &grpc__testing__test_service__descriptor,
        handlers, count, context, reterr));
}

void
harness_start(rpc_harness *harness)
{
    CHECK_OK(weir_rpc_server_start(harness->server, reterr));
    snprintf(harness->target, sizeof harness->target, "127.0.0.1:%d",
        weir_rpc_server_port(harness->server, 0));
    CHECK_OK(weir_rpc_channel_open(harness->runtime, harness->target, NULL, &harness->channel,
        reterr));
    harness->stub = weir_rpc_stub_open(harness->channel, &grpc__testing__test_service__descriptor);
}

void
harness_fini(rpc_harness *harness)
{
    weir_rpc_stub_close(&harness->stub);
    weir_rpc_channel_close(&harness->channel);
    weir_rpc_server_destroy(&harness->server);
    weir_rpc_runtime_destroy(&harness->runtime);
    weir_rpc_descriptors_destroy(&harness->descriptors);
}

weir_code
harness_unary(rpc_harness *harness, const char *method, uint32_t timeout_ms, weir_error *ret_error)
{
    const simple_request request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms };
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response = NULL;
    weir_code code;

    *ret_error = (weir_error){ .code = WEIR_OK };
    code =
        weir_rpc_unary(harness->stub, method, &request.base, &options, arena, &response, ret_error);
    weir_arena_destroy(&arena);
    return code;
}
