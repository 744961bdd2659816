/* Goal: each failure has one name, one gRPC status, one class; its text is whole UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/error.h"
#include "common/base/id.h"

static void
every_code_has_a_name_that_leads_back_to_it(void **state)
{
    for (int code = 0; code < WEIR_CODE_COUNT; code++) {
        const char *const name = weir_code_name((weir_code)code);

        assert_int_equal(weir_code_from_name(name), code);
        assert_in_range(weir_code_grpc_status((weir_code)code), 0, 16);
        assert_in_range(weir_code_class((weir_code)code), WEIR_CLASS_NONE, WEIR_CLASS_KILLER);
    }
}

static void
only_ok_is_no_failure(void **state)
{
    for (int code = 0; code < WEIR_CODE_COUNT; code++) {
        assert_int_equal(weir_code_class((weir_code)code) == WEIR_CLASS_NONE, code == WEIR_OK);
        assert_int_equal(weir_code_grpc_status((weir_code)code) == 0, code == WEIR_OK);
    }
}

static void
what_waits_tells_the_client_to_come_back(void **state)
{
    for (int code = 0; code < WEIR_CODE_COUNT; code++) {
        const int status = weir_code_grpc_status((weir_code)code);

        if (weir_code_class((weir_code)code) == WEIR_CLASS_THROTTLED)
            assert_int_equal(status, 8);
        if (weir_code_class((weir_code)code) == WEIR_CLASS_OUTAGE)
            assert_int_equal(status, 14);
    }
}

static void
only_a_worker_that_was_killed_is_a_killer(void **state)
{
    for (int code = 0; code < WEIR_CODE_COUNT; code++)
        assert_int_equal(weir_code_class((weir_code)code) == WEIR_CLASS_KILLER,
            code == WEIR_WORKER_KILLED);
}

static void
every_class_has_a_name(void **state)
{
    static const char *const names[] = { "done", "transient", "throttled", "outage", "permanent",
        "killer" };

    for (int class = 0; class < WEIR_CLASS_COUNT; class ++)
        assert_string_equal(weir_class_name((weir_class) class), names[class]);
}

static void
a_number_outside_the_map_is_internal(void **state)
{
    const weir_code unknown[] = { (weir_code)WEIR_CODE_COUNT, (weir_code)-1, (weir_code)100000 };

    for (size_t index = 0; index < 3; index++) {
        assert_string_equal(weir_code_name(unknown[index]), "INTERNAL");
        assert_int_equal(weir_code_grpc_status(unknown[index]), 13);
        assert_int_equal(weir_code_class(unknown[index]), WEIR_CLASS_TRANSIENT);
    }
    assert_int_equal(weir_code_from_name("NO_SUCH_CODE"), WEIR_INTERNAL);
    assert_int_equal(weir_code_from_name(""), WEIR_INTERNAL);
}

static void
set_fills_every_field(void **state)
{
    weir_error error = { .retry_after_ms = 9, .field = "old" };

    assert_int_equal(weir_error_set(&error, WEIR_DISK_LOW, "%d bytes left", 7), WEIR_DISK_LOW);
    assert_int_equal(error.code, WEIR_DISK_LOW);
    assert_int_equal(error.retry_after_ms, 0);
    assert_string_equal(error.field, "");
    assert_string_equal(error.message, "7 bytes left");
    assert_int_equal(weir_error_set_field(&error, WEIR_BODY_EMPTY, "document.body", "is empty"),
        WEIR_BODY_EMPTY);
    assert_string_equal(error.field, "document.body");
    assert_int_equal(weir_error_set(NULL, WEIR_TIMEOUT, "nobody listens"), WEIR_TIMEOUT);
}

static void
an_error_may_be_wrapped_in_itself(void **state)
{
    weir_error error;

    (void)weir_error_set_field(&error, WEIR_CORRUPT, "x.y", "bad byte");
    (void)weir_error_set_field(&error, WEIR_CORRUPT, error.field, "record 7: %s", error.message);
    assert_string_equal(error.message, "record 7: bad byte");
    assert_string_equal(error.field, "x.y");
}

/* Every length around the bound, with characters of every size: the cut never leaves half a one. */
static void
a_long_text_is_cut_before_a_whole_character(void **state)
{
    static const char *const characters[] = { "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t lead = 0; lead < 4; lead++) {
            char text[2000] = "aaa";
            weir_error error;

            text[lead] = '\0';
            for (size_t count = 0; count < 400; count++)
                strcat(text, characters[kind]);
            (void)weir_error_set_field(&error, WEIR_INTERNAL, text, "%s", text);
            assert_true(weir_utf8_valid(weir_bytes_str(error.message)));
            assert_true(weir_utf8_valid(weir_bytes_str(error.field)));
            assert_in_range(strlen(error.message), sizeof error.message - 4,
                sizeof error.message - 1);
            assert_in_range(strlen(error.field), sizeof error.field - 4, sizeof error.field - 1);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(only_ok_is_no_failure),
        cmocka_unit_test(what_waits_tells_the_client_to_come_back),
        cmocka_unit_test(only_a_worker_that_was_killed_is_a_killer),
        cmocka_unit_test(every_class_has_a_name),
        cmocka_unit_test(a_number_outside_the_map_is_internal),
        cmocka_unit_test(set_fills_every_field),
        cmocka_unit_test(an_error_may_be_wrapped_in_itself),
        cmocka_unit_test(a_long_text_is_cut_before_a_whole_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
