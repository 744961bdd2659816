/* Goal: what the protos promise beyond what buf can see: reasons equal codes, and the descriptor
 * set is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/base/error.h"
#include "common/wire/descriptors.h"
#include "weir/v1/error.pb-c.h"

static void
every_code_but_ok_is_a_reason_of_the_same_number(void **state)
{
    const ProtobufCEnumDescriptor *const reasons = &weir__v1__error_reason__descriptor;

    assert_int_equal(reasons->n_values, WEIR_CODE_COUNT);
    assert_string_equal(reasons->values[0].name, "ERROR_REASON_UNSPECIFIED");
    for (int code = 1; code < WEIR_CODE_COUNT; code++) {
        const ProtobufCEnumValue *const value = protobuf_c_enum_descriptor_get_value(reasons, code);
        char expected[96];

        assert_non_null(value);
        (void)snprintf(expected, sizeof expected, "ERROR_REASON_%s",
            weir_code_name((weir_code)code));
        assert_string_equal(value->name, expected);
    }
}

static void
the_descriptor_set_holds_every_file_and_its_imports(void **state)
{
    static const char *const names[] = { "weir/v1/document.proto", "weir/v1/error.proto",
        "grpc/health/v1/health.proto", "grpc/reflection/v1alpha/reflection.proto",
        "google/rpc/error_details.proto", "google/protobuf/timestamp.proto" };
    const weir_bytes set = weir_descriptor_set();

    assert_true(set.size > 10000);
    for (size_t at = 0; at < sizeof names / sizeof names[0]; at++)
        assert_non_null(memmem(set.data, set.size, names[at], strlen(names[at])));
}

/* A FileDescriptorSet is nothing but field 1, length-delimited, again and again. */
static void
the_descriptor_set_ends_where_its_last_file_ends(void **state)
{
    const weir_bytes set = weir_descriptor_set();
    size_t at = 0;

    while (at < set.size) {
        size_t length = 0;
        unsigned shift = 0;

        assert_int_equal(set.data[at++], 0x0A);
        do {
            assert_true(at < set.size && shift < 28);
            length |= (size_t)(set.data[at] & 0x7F) << shift;
            shift += 7;
        } while ((set.data[at++] & 0x80) != 0);
        at += length;
    }
    assert_int_equal(at, set.size);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_but_ok_is_a_reason_of_the_same_number),
        cmocka_unit_test(the_descriptor_set_holds_every_file_and_its_imports),
        cmocka_unit_test(the_descriptor_set_ends_where_its_last_file_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
