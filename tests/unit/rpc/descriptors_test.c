/*
 * descriptors_test.c - what the reader finds in a FileDescriptorSet, and what it makes of garbage.
 */
#include "tests/unit/rpc/harness.h"

static weir_rpc_descriptors *
both_sets(void)
{
    weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();

    CHECK_OK(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), reterr));
    CHECK_OK(weir_rpc_descriptors_add(descriptors, interop_descriptor_set(), reterr));
    return descriptors;
}

static void
a_method_knows_its_types_and_streams(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();
    const weir_rpc_method *method =
        weir_rpc_method_find(descriptors, "/grpc.testing.TestService/StreamingInputCall");

    assert_non_null(method);
    assert_string_equal(method->service, "grpc.testing.TestService");
    assert_string_equal(method->name, "StreamingInputCall");
    assert_string_equal(method->input_type, "grpc.testing.StreamingInputCallRequest");
    assert_string_equal(method->output_type, "grpc.testing.StreamingInputCallResponse");
    assert_true(method->client_streams);
    assert_false(method->server_streams);
    assert_null(method->input);
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
binding_a_service_attaches_its_message_descriptors(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();
    const weir_rpc_method *method;

    CHECK_OK(weir_rpc_descriptors_bind(descriptors, &grpc__testing__test_service__descriptor,
        reterr));
    method = weir_rpc_method_find(descriptors, "grpc.testing.TestService/UnaryCall");
    assert_ptr_equal(method->input, &grpc__testing__simple_request__descriptor);
    assert_ptr_equal(method->output, &grpc__testing__simple_response__descriptor);
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
a_path_may_be_written_in_three_ways(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();
    const weir_rpc_method *method =
        weir_rpc_method_find(descriptors, "/grpc.health.v1.Health/Check");

    assert_non_null(method);
    assert_ptr_equal(weir_rpc_method_find(descriptors, "grpc.health.v1.Health/Check"), method);
    assert_ptr_equal(weir_rpc_method_find(descriptors, "grpc.health.v1.Health.Check"), method);
    assert_null(weir_rpc_method_find(descriptors, "grpc.health.v1.Health/Chec"));
    assert_null(weir_rpc_method_find(descriptors, "Check"));
    assert_null(weir_rpc_method_find(descriptors, ""));
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
every_method_of_the_set_is_listed_in_order(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();

    assert_true(weir_rpc_method_count(descriptors) > 10);
    for (size_t i = 1; i < weir_rpc_method_count(descriptors); i++)
        assert_true(strcmp(weir_rpc_method_at(descriptors, i - 1)->path,
                        weir_rpc_method_at(descriptors, i)->path) < 0);
    assert_true(weir_rpc_service_known(descriptors, "grpc.testing.UnimplementedService"));
    assert_false(weir_rpc_service_known(descriptors, "grpc.testing"));
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
a_symbol_of_any_kind_leads_to_its_file(void **state)
{
    static const char *const symbols[] = {
        "google.rpc.Status",                                /* message */
        "google.rpc.Status.details",                        /* field */
        "google.rpc.BadRequest.FieldViolation",             /* nested message */
        "grpc.health.v1.Health",                            /* service */
        "grpc.health.v1.Health.Check",                      /* method */
        "grpc.health.v1.HealthCheckResponse.ServingStatus", /* nested enum */
        "grpc.health.v1.HealthCheckResponse.SERVING",       /* its value stands beside it */
        "grpc.reflection.v1.ServerReflectionRequest.message_request", /* oneof */
    };
    weir_rpc_descriptors *descriptors = both_sets();

    for (size_t i = 0; i < COUNT_OF(symbols); i++)
        if (weir_rpc_file_by_symbol(descriptors, weir_bytes_str(symbols[i])) < 0)
            fail_msg("%s is not found", symbols[i]);
    assert_true(weir_rpc_file_by_symbol(descriptors, weir_bytes_str("google.rpc")) < 0);
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
a_file_knows_what_it_imports(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();
    const int file = weir_rpc_file_by_name(descriptors, weir_bytes_str("google/rpc/status.proto"));
    size_t count;
    const int *imports = weir_rpc_file_imports(descriptors, file, &count);

    assert_true(file >= 0);
    assert_int_equal(count, 1);
    assert_int_equal(imports[0],
        weir_rpc_file_by_name(descriptors, weir_bytes_str("google/protobuf/any.proto")));
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
a_set_given_twice_changes_nothing(void **state)
{
    weir_rpc_descriptors *descriptors = both_sets();
    const size_t files = weir_rpc_file_count(descriptors);
    const size_t methods = weir_rpc_method_count(descriptors);

    CHECK_OK(weir_rpc_descriptors_add(descriptors, weir_descriptor_set(), reterr));
    assert_int_equal(weir_rpc_file_count(descriptors), files);
    assert_int_equal(weir_rpc_method_count(descriptors), methods);
    weir_rpc_descriptors_destroy(&descriptors);
}

static void
bytes_that_are_no_set_are_corrupt(void **state)
{
    static const char *const garbage[] = { "hello", "\x0a\x7f", "\x0a\x02\x0a\x7f", "\x08\x01",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" };

    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
        weir_error error;

        assert_int_equal(weir_rpc_descriptors_add(descriptors, weir_bytes_str(garbage[i]), &error),
            WEIR_CORRUPT);
        weir_rpc_descriptors_destroy(&descriptors);
    }
}

/* Goal: no read past the end.  Method: every prefix of a real set, from memory of exactly its size.
 */
static void
a_set_cut_at_any_byte_is_read_within_its_bounds(void **state)
{
    const weir_bytes whole = interop_descriptor_set();

    for (size_t size = 1; size < whole.size; size += 7) {
        weir_rpc_descriptors *descriptors = weir_rpc_descriptors_create();
        uint8_t *copy = weir_alloc(size);
        weir_error error;
        weir_code code;

        memcpy(copy, whole.data, size);
        code = weir_rpc_descriptors_add(descriptors, weir_bytes_of(copy, size), &error);
        assert_true(code == WEIR_OK || code == WEIR_CORRUPT);
        weir_rpc_descriptors_destroy(&descriptors);
        weir_free(copy);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_knows_its_types_and_streams),
        cmocka_unit_test(binding_a_service_attaches_its_message_descriptors),
        cmocka_unit_test(a_path_may_be_written_in_three_ways),
        cmocka_unit_test(every_method_of_the_set_is_listed_in_order),
        cmocka_unit_test(a_symbol_of_any_kind_leads_to_its_file),
        cmocka_unit_test(a_file_knows_what_it_imports),
        cmocka_unit_test(a_set_given_twice_changes_nothing),
        cmocka_unit_test(bytes_that_are_no_set_are_corrupt),
        cmocka_unit_test(a_set_cut_at_any_byte_is_read_within_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
