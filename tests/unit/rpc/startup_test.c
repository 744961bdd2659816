/*
 * startup_test.c - what is wrong with a service table, an address or a descriptor set is said at
 * the start.
 */
#include "tests/unit/rpc/harness.h"

#include <sys/stat.h>
#include <unistd.h>

static void
refuse_request(weir_rpc_call *call, const ProtobufCMessage *request, void *context)
{
    (void)request;
    (void)context;
    weir_rpc_fail_with(call, WEIR_INTERNAL, "not meant to be called");
}

static weir_rpc_flow
take_any(weir_rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)call;
    (void)message;
    (void)context;
    return WEIR_RPC_MORE;
}

static int
set_up(void **state)
{
    static rpc_harness harness;

    harness_init(&harness);
    harness_server(&harness, NULL);
    *state = &harness;
    return 0;
}

static int
tear_down(void **state)
{
    harness_fini(*state);
    return 0;
}

static void
expect_refused(rpc_harness *harness, const weir_rpc_handler *handlers, size_t count,
    const char *text)
{
    weir_error error;

    assert_int_equal(weir_rpc_server_add(harness->server, &grpc__testing__test_service__descriptor,
                         handlers, count, NULL, &error),
        WEIR_INTERNAL);
    assert_non_null(strstr(error.message, text));
}

static void
a_row_of_an_unknown_method_is_refused(void **state)
{
    const weir_rpc_handler rows[] = { { .method = "Nonesuch", .request = refuse_request } };

    expect_refused(*state, rows, 1, "Nonesuch");
}

static void
two_rows_of_one_method_are_refused(void **state)
{
    const weir_rpc_handler rows[] = { { .method = "UnaryCall", .request = refuse_request },
        { .method = "UnaryCall", .request = refuse_request } };

    expect_refused(*state, rows, 2, "two rows");
}

static void
a_unary_row_on_a_stream_of_messages_is_refused(void **state)
{
    const weir_rpc_handler rows[] = { { .method = "FullDuplexCall", .request = refuse_request } };

    expect_refused(*state, rows, 1, "a stream of messages");
}

static void
a_stream_row_on_a_unary_method_is_refused(void **state)
{
    const weir_rpc_handler rows[] = { { .method = "UnaryCall", .message = take_any } };

    expect_refused(*state, rows, 1, "one message");
}

static void
a_stream_row_without_half_closed_is_refused(void **state)
{
    const weir_rpc_handler rows[] = { { .method = "StreamingInputCall", .message = take_any } };

    expect_refused(*state, rows, 1, "half_closed");
}

static void
a_service_cannot_be_added_twice(void **state)
{
    rpc_harness *harness = *state;

    harness_add(harness, NULL, 0, NULL);
    expect_refused(harness, NULL, 0, "added before");
}

static void
a_set_without_the_service_is_refused_at_bind(void **state)
{
    weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
    weir_error error;

    (void)state;
    CHECK_OK(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), reterr));
    assert_int_equal(weir_rpc_descriptors_bind(descriptors,
                         &grpc__testing__test_service__descriptor, &error),
        WEIR_INTERNAL);
    assert_non_null(strstr(error.message, "EmptyCall"));
    weir_rpc_descriptors_destroy(&descriptors);
}

static weir_code
second_server(rpc_harness *harness, const char *address, weir_rpc_server **ret_server,
    weir_error *ret_error)
{
    const weir_rpc_server_options options = {
        .descriptors = harness->descriptors,
        .addresses = &address,
        .address_count = 1,
    };

    CHECK_OK(weir_rpc_server_create(harness->runtime, &options, ret_server, reterr));
    return weir_rpc_server_start(*ret_server, ret_error);
}

static void
a_port_in_use_is_named(void **state)
{
    rpc_harness *harness = *state;
    weir_rpc_server *second;
    weir_error error;

    harness_start(harness);
    assert_int_equal(second_server(harness, harness->target, &second, &error), WEIR_ADDRESS_IN_USE);
    assert_non_null(strstr(error.message, harness->target));
    weir_rpc_server_destroy(&second);
}

static void
an_address_without_a_port_is_invalid(void **state)
{
    weir_rpc_server *second;
    weir_error error;

    assert_int_equal(second_server(*state, "nonsense", &second, &error), WEIR_CONFIG_INVALID);
    weir_rpc_server_destroy(&second);
}

static void
a_unix_path_that_is_too_long_is_invalid(void **state)
{
    char address[300] = "unix:/tmp/";
    weir_rpc_server *second;
    weir_error error;

    memset(address + 10, 'x', sizeof address - 11);
    assert_int_equal(second_server(*state, address, &second, &error), WEIR_CONFIG_INVALID);
    assert_non_null(strstr(error.message, "107"));
    weir_rpc_server_destroy(&second);
}

static void
a_unix_socket_belongs_to_its_first_server_until_that_ends(void **state)
{
    char folder[] = "/tmp/weir-rpc-XXXXXX";
    char address[64];
    weir_rpc_server *first;
    weir_rpc_server *second;
    weir_error error;
    struct stat status;

    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    assert_int_equal(second_server(*state, address, &first, &error), WEIR_OK);
    assert_int_equal(second_server(*state, address, &second, &error), WEIR_ADDRESS_IN_USE);
    weir_rpc_server_destroy(&second);
    assert_int_equal(stat(address + 5, &status), 0); /* the loser left it alone */
    weir_rpc_server_destroy(&first);
    assert_int_equal(second_server(*state, address, &second, &error), WEIR_OK);
    weir_rpc_server_destroy(&second);
    snprintf(address, sizeof address, "%s/s.lock", folder);
    unlink(address);
    rmdir(folder);
}

static void
half_a_tls_pair_is_invalid(void **state)
{
    rpc_harness *harness = *state;
    const char *address = "127.0.0.1:0";
    const weir_rpc_server_options options = { .descriptors = harness->descriptors,
        .addresses = &address,
        .address_count = 1,
        .tls_certificate_file = "/nonexistent.pem" };
    weir_rpc_server *server = NULL;
    weir_error error;

    assert_int_equal(weir_rpc_server_create(harness->runtime, &options, &server, &error),
        WEIR_CONFIG_INVALID);
    assert_null(server);
}

static void
a_tls_file_that_cannot_be_read_is_named(void **state)
{
    rpc_harness *harness = *state;
    const char *address = "127.0.0.1:0";
    const weir_rpc_server_options options = { .descriptors = harness->descriptors,
        .addresses = &address,
        .address_count = 1,
        .tls_certificate_file = "/nonexistent.pem",
        .tls_key_file = "/nonexistent.key" };
    weir_rpc_server *server = NULL;
    weir_error error;

    assert_int_equal(weir_rpc_server_create(harness->runtime, &options, &server, &error),
        WEIR_CONFIG_INVALID);
    assert_non_null(strstr(error.message, "/nonexistent.pem"));
}

int
main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_row_of_an_unknown_method_is_refused),
        TEST(two_rows_of_one_method_are_refused),
        TEST(a_unary_row_on_a_stream_of_messages_is_refused),
        TEST(a_stream_row_on_a_unary_method_is_refused),
        TEST(a_stream_row_without_half_closed_is_refused),
        TEST(a_service_cannot_be_added_twice),
        TEST(a_set_without_the_service_is_refused_at_bind),
        TEST(a_port_in_use_is_named),
        TEST(an_address_without_a_port_is_invalid),
        TEST(a_unix_path_that_is_too_long_is_invalid),
        TEST(a_unix_socket_belongs_to_its_first_server_until_that_ends),
        TEST(half_a_tls_pair_is_invalid),
        TEST(a_tls_file_that_cannot_be_read_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
