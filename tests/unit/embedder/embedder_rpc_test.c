/*
 * embedder_rpc_test.c - EmbedderService over a real Unix socket, with the hash model that is always
 * there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/wire/descriptors.h"
#include "services/embedder/rpc.h"

typedef Weir__Internal__V1__EmbedRequest embed_request;
typedef Weir__Internal__V1__EmbedResponse embed_response;

static weir_suite_config config;
static weir_service service;
static embedder self;
static weir_rpc_runtime *runtime;
static weir_rpc_descriptors *descriptors;
static weir_rpc_server *server;
static weir_rpc_channel *channel;
static weir_rpc_stub *stub;
static weir_arena *arena;
static weir_error error;
static unsigned calls;
static char folder[] = "/tmp/weir-embedder-XXXXXX";

static void
embedded(void *ud, const char *model, weir_code result, uint64_t tokens)
{
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

static int
set_up(void **state)
{
    static char path[64];
    const char *const addresses[] = { path };
    const weir_rpc_server_options options = { .addresses = addresses, .address_count = 1 };
    const weir_service_api *api = &embedder_unix_apis[0];

    snprintf(path, sizeof path, "unix:%s/s", folder);
    config.embedder.query_workers = 1;
    service.config = &config;
    self = (embedder){ .service = &service, .observer = { .embedded = embedded } };
    self.models = embedder_models_create("/nonexistent", false);
    sem_init(&self.query_lane, 0, 1);
    calls = 0;
    arena = weir_arena_create(0);
    runtime = weir_rpc_runtime_create(1);
    descriptors = weir_rpc_descriptors_create();
    assert_int_equal(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), &error), WEIR_OK);
    weir_rpc_server_options with = options;
    with.descriptors = descriptors;
    assert_int_equal(weir_rpc_server_create(runtime, &with, &server, &error), WEIR_OK);
    assert_int_equal(weir_rpc_server_add(server, api->service, api->handlers, api->handler_count,
                         &self, &error),
        WEIR_OK);
    assert_int_equal(weir_rpc_server_start(server, &error), WEIR_OK);
    assert_int_equal(weir_rpc_channel_open(runtime, path, NULL, &channel, &error), WEIR_OK);
    stub = weir_rpc_stub_open(channel, api->service);
    return 0;
}

static int
tear_down(void **state)
{
    weir_rpc_stub_close(&stub);
    weir_rpc_channel_close(&channel);
    weir_rpc_server_stop(server, 1000);
    weir_rpc_server_destroy(&server);
    weir_rpc_runtime_destroy(&runtime);
    weir_rpc_descriptors_destroy(&descriptors);
    embedder_models_destroy(&self.models);
    sem_destroy(&self.query_lane);
    weir_arena_destroy(&arena);
    return 0;
}

static weir_code
ask(const char *model, const char **texts, size_t count, uint32_t timeout_ms,
    embed_response **ret_response)
{
    embed_request request = WEIR__INTERNAL__V1__EMBED_REQUEST__INIT;
    const weir_rpc_call_options options = { .timeout_ms = timeout_ms, .wait_for_ready = true };
    ProtobufCMessage *response = NULL;

    request.model = (char *)(uintptr_t)model;
    request.n_texts = count;
    request.texts = (char **)(uintptr_t)texts;
    error = (weir_error){ .code = WEIR_OK };
    const weir_code code =
        weir_rpc_unary(stub, "Embed", &request.base, &options, arena, &response, &error);
    *ret_response = (embed_response *)response;
    return code;
}

static void
texts_are_embedded_in_order(void **state)
{
    const char *texts[] = { "ships float", "wind" };
    const embedder_model *model = NULL;
    embed_response *response = NULL;
    float expected[2][384];
    const weir_bytes bytes[] = { weir_bytes_str(texts[0]), weir_bytes_str(texts[1]) };

    assert_int_equal(ask("hash-384", texts, 2, 10000, &response), WEIR_OK);
    assert_int_equal(embedder_models_get(self.models, "hash-384", false, &model, &error), WEIR_OK);
    assert_int_equal(embedder_model_embed(model, bytes, 2, expected[0], NULL, &error), WEIR_OK);
    assert_int_equal(response->dimension, 384);
    assert_string_equal(response->fingerprint, embedder_model_facts(model)->fingerprint);
    assert_int_equal(response->vectors.len, sizeof expected);
    assert_memory_equal(response->vectors.data, expected, sizeof expected);
    assert_int_equal(response->token_count, 3);
    assert_int_equal(calls, 1);
}

static void
a_text_is_cut_at_the_models_limit(void **state)
{
    char text[20001];
    const char *texts[] = { text };
    embed_response *response = NULL;

    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    text[sizeof text - 1] = '\0';
    assert_int_equal(ask("hash-384", texts, 1, 10000, &response), WEIR_OK);
    assert_true(response->token_count <= 512);
}

static void
what_cannot_be_embedded_is_INVALID_ARGUMENT(void **state)
{
    const char *texts[65];
    const char *empty[] = { "fine", "" };
    embed_response *response = NULL;

    for (size_t i = 0; i < 65; i++)
        texts[i] = "x";
    assert_int_equal(ask("hash-384", texts, 0, 10000, &response), WEIR_INVALID_ARGUMENT);
    assert_string_equal(error.field, "texts");
    assert_int_equal(ask("hash-384", texts, 65, 10000, &response), WEIR_INVALID_ARGUMENT);
    assert_int_equal(ask("hash-384", empty, 2, 10000, &response), WEIR_INVALID_ARGUMENT);
    assert_int_equal(ask("hash-384", texts, 64, 10000, &response), WEIR_OK);
}

static void
models_that_cannot_be_used_say_why(void **state)
{
    const char *texts[] = { "x" };
    embed_response *response = NULL;

    assert_int_equal(ask("word2vec", texts, 1, 10000, &response), WEIR_MODEL_UNKNOWN);
    assert_string_equal(error.field, "model");
    assert_int_equal(ask("hash-32", texts, 1, 10000, &response), WEIR_MODEL_NOT_ALLOWED);
    assert_int_equal(ask(WEIR_MODEL_DEFAULT, texts, 1, 10000, &response), WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(error.retry_after_ms, 1000);
}

static void
a_query_that_finds_no_place_in_the_lane_ends_in_time(void **state)
{
    const char *texts[] = { "x" };
    embed_response *response = NULL;

    sem_wait(&self.query_lane);
    assert_int_equal(ask("hash-384", texts, 1, 100, &response), WEIR_TIMEOUT);
    sem_post(&self.query_lane);
    assert_int_equal(ask("hash-384", texts, 1, 10000, &response), WEIR_OK);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
        TEST(texts_are_embedded_in_order),
        TEST(a_text_is_cut_at_the_models_limit),
        TEST(what_cannot_be_embedded_is_INVALID_ARGUMENT),
        TEST(models_that_cannot_be_used_say_why),
        TEST(a_query_that_finds_no_place_in_the_lane_ends_in_time),
    };

    if (mkdtemp(folder) == NULL)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char lock[64];
    snprintf(lock, sizeof lock, "%s/s.lock", folder);
    unlink(lock);
    rmdir(folder);
    return failed;
}
