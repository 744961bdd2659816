/* Goal: the failures of weir and the public enum of reasons are the same list, number by number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/error.h"
#include "weir/v1/error.pb-c.h"

static const char prefix[] = "ERROR_REASON_";

static void
every_code_is_a_reason_of_the_same_number(void **state)
{
    for (int code = 1; code < WEIR_CODE_COUNT; code++) {
        const ProtobufCEnumValue *const value =
            protobuf_c_enum_descriptor_get_value(&weir__v1__error_reason__descriptor, code);

        assert_non_null(value);
        assert_memory_equal(value->name, prefix, sizeof prefix - 1);
        assert_string_equal(value->name + sizeof prefix - 1, weir_code_name((weir_code)code));
    }
}

static void
every_reason_is_a_code(void **state)
{
    assert_int_equal(weir__v1__error_reason__descriptor.n_values, WEIR_CODE_COUNT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_a_reason_of_the_same_number),
        cmocka_unit_test(every_reason_is_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
