/*
 * standard_test.c - health and reflection, as their clients see them.
 */
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "tests/unit/rpc/harness.h"

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

enum {
    SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
    NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
    UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

static int
set_up(void **state)
{
    static rpc_harness harness;

    harness_init(&harness);
    harness_server(&harness, NULL);
    harness_add(&harness, NULL, 0, NULL);
    CHECK_OK(weir_rpc_server_add_health(harness.server, reterr));
    CHECK_OK(weir_rpc_server_add_reflection(harness.server, reterr));
    harness_start(&harness);
    *state = &harness;
    return 0;
}

static int
tear_down(void **state)
{
    harness_fini(*state);
    return 0;
}

/* ---- health ---- */

static weir_code
check_health(rpc_harness *harness, const char *service, int *ret_status)
{
    weir_rpc_stub *stub =
        weir_rpc_stub_open(harness->channel, &grpc__health__v1__health__descriptor);
    check_request request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *response;
    weir_error error;
    weir_code code;

    request.service = (char *)(uintptr_t)service;
    code = weir_rpc_unary(stub, "Check", &request.base, NULL, arena, &response, &error);
    if (code == WEIR_OK)
        *ret_status = (int)((check_response *)(void *)response)->status;
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
    return code;
}

static void
health_begins_not_serving_and_follows_what_is_set(void **state)
{
    rpc_harness *harness = *state;
    int status = -1;

    assert_int_equal(check_health(harness, "", &status), WEIR_OK);
    assert_int_equal(status, NOT_SERVING);
    weir_rpc_server_set_health(harness->server, NULL, true);
    assert_int_equal(check_health(harness, "", &status), WEIR_OK);
    assert_int_equal(status, SERVING);
    weir_rpc_server_set_health(harness->server, "grpc.testing.TestService", false);
    assert_int_equal(check_health(harness, "grpc.testing.TestService", &status), WEIR_OK);
    assert_int_equal(status, NOT_SERVING);
    assert_int_equal(check_health(harness, "", &status), WEIR_OK);
    assert_int_equal(status, SERVING);
    assert_int_equal(check_health(harness, "no.such.Service", &status), WEIR_NOT_FOUND);
}

static weir_rpc_stream *
watch(weir_rpc_stub *stub, const char *service)
{
    check_request request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "Watch", NULL);

    request.service = (char *)(uintptr_t)service;
    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    weir_rpc_stream_half_close(stream);
    return stream;
}

static int
next_status(weir_rpc_stream *stream)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    int status;

    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_non_null(message);
    status = (int)((check_response *)(void *)message)->status;
    weir_arena_destroy(&arena);
    return status;
}

static void
a_watch_tells_each_change_once_and_ends_with_the_server(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stub *stub =
        weir_rpc_stub_open(harness->channel, &grpc__health__v1__health__descriptor);
    weir_rpc_stream *whole = watch(stub, "");
    weir_rpc_stream *unknown = watch(stub, "no.such.Service");
    weir_error error;

    assert_int_equal(next_status(whole), NOT_SERVING);
    assert_int_equal(next_status(unknown), UNKNOWN);
    weir_rpc_server_set_health(harness->server, NULL, true);
    weir_rpc_server_set_health(harness->server, "", true);
    weir_rpc_server_set_health(harness->server, "", false);
    assert_int_equal(next_status(whole), SERVING);
    assert_int_equal(next_status(whole), NOT_SERVING);
    weir_rpc_server_set_health(harness->server, "", true);
    assert_int_equal(next_status(whole), SERVING);
    /* A patient drain must not wait for the watches. */
    const int64_t began_ms = weir_clock_mono_ms();
    weir_rpc_server_stop(harness->server, PATIENCE_MS);
    assert_true(weir_clock_mono_ms() - began_ms < PATIENCE_MS / 2);
    assert_int_equal(next_status(whole), NOT_SERVING);
    assert_int_equal(weir_rpc_stream_finish(&whole, &error), WEIR_DRAINING);
    assert_int_equal(weir_rpc_stream_finish(&unknown, &error), WEIR_DRAINING);
    weir_rpc_stub_close(&stub);
}

/* ---- reflection ---- */

static const reflection_response *
ask(rpc_harness *harness, reflection_request *request, weir_arena *arena)
{
    weir_rpc_stub *stub =
        weir_rpc_stub_open(harness->channel, &grpc__reflection__v1__server_reflection__descriptor);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "ServerReflectionInfo", NULL);
    ProtobufCMessage *message;

    CHECK_OK(weir_rpc_stream_send(stream, &request->base, reterr));
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    weir_rpc_stub_close(&stub);
    return (const void *)message;
}

#define ASK(case_) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##case_
#define ANSWER(case_) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##case_

static void
the_list_names_only_the_services_that_were_added(void **state)
{
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    char all[] = "*";
    const reflection_response *response;

    request.message_request_case = ASK(LIST_SERVICES);
    request.list_services = all;
    response = ask(*state, &request, arena);
    assert_int_equal(response->message_response_case, ANSWER(LIST_SERVICES_RESPONSE));
    assert_int_equal(response->list_services_response->n_service, 4);
    assert_string_equal(response->list_services_response->service[0]->name,
        "grpc.testing.TestService");
    weir_arena_destroy(&arena);
}

static void
a_symbol_brings_its_file_and_all_that_it_imports(void **state)
{
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    char symbol[] = "grpc.testing.TestService.UnaryCall";
    const reflection_response *response;

    request.message_request_case = ASK(FILE_CONTAINING_SYMBOL);
    request.file_containing_symbol = symbol;
    response = ask(*state, &request, arena);
    assert_int_equal(response->message_response_case, ANSWER(FILE_DESCRIPTOR_RESPONSE));
    assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, 3);
    weir_arena_destroy(&arena);
}

static void
what_reflection_does_not_know_is_an_error_in_the_stream(void **state)
{
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    char name[] = "no/such.proto";
    const reflection_response *response;

    request.message_request_case = ASK(FILE_BY_FILENAME);
    request.file_by_filename = name;
    response = ask(*state, &request, arena);
    assert_int_equal(response->message_response_case, ANSWER(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, 5);
    request.message_request_case = ASK(_NOT_SET);
    response = ask(*state, &request, arena);
    assert_int_equal(response->error_response->error_code, 3);
    weir_arena_destroy(&arena);
}

static void
the_older_package_answers_the_same(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_stub *stub = weir_rpc_stub_open(harness->channel,
        &grpc__reflection__v1alpha__server_reflection__descriptor);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "ServerReflectionInfo", NULL);
    Grpc__Reflection__V1alpha__ServerReflectionRequest request =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message;
    char all[] = "";

    request.message_request_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    request.list_services = all;
    CHECK_OK(weir_rpc_stream_send(stream, &request.base, reterr));
    CHECK_OK(weir_rpc_stream_recv(stream, PATIENCE_MS, arena, &message, reterr));
    assert_int_equal(((Grpc__Reflection__V1alpha__ServerReflectionResponse *)(void *)message)
                         ->list_services_response->n_service,
        4);
    CHECK_OK(weir_rpc_stream_finish(&stream, reterr));
    weir_arena_destroy(&arena);
    weir_rpc_stub_close(&stub);
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(health_begins_not_serving_and_follows_what_is_set),
        TEST(a_watch_tells_each_change_once_and_ends_with_the_server),
        TEST(the_list_names_only_the_services_that_were_added),
        TEST(a_symbol_brings_its_file_and_all_that_it_imports),
        TEST(what_reflection_does_not_know_is_an_error_in_the_stream),
        TEST(the_older_package_answers_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
