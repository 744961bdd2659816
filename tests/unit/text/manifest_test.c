/* Goal: members are found and garbage is not.  Method: examples, and every prefix of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/text/manifest.h"

#define PATH(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

static const char json[] = "{ \"skip\": [1, {\"b\": \"}\"}, "
                           "\"\\\"\"], \"n\": 42,\n \"a\": {\"b\": \"c d\", \"e\":\"x\\n\"},"
                           " \"yes\": true , \"no\": false}";

static void
members_are_found_by_path(void **state)
{
    const weir_bytes document = weir_bytes_str(json);
    char text[8];
    uint32_t number = 0;

    assert_true(weir_manifest_string(document, PATH("a", "b"), text, sizeof text));
    assert_string_equal(text, "c d");
    assert_true(weir_manifest_u32(document, PATH("n"), &number));
    assert_int_equal(number, 42);
    assert_true(weir_manifest_true(document, PATH("yes")));
    assert_false(weir_manifest_true(document, PATH("no")));
}

static void
what_is_absent_or_does_not_fit_is_not_found(void **state)
{
    const weir_bytes document = weir_bytes_str(json);
    char text[3];
    uint32_t number = 0;

    assert_false(weir_manifest_string(document, PATH("a", "b"), text, sizeof text));
    assert_false(weir_manifest_string(document, PATH("a", "e"), text, sizeof text)); /* escaped */
    assert_false(weir_manifest_string(document, PATH("b"), text, sizeof text));
    assert_false(weir_manifest_u32(document, PATH("yes"), &number));
    assert_false(weir_manifest_u32(document, PATH("n", "n"), &number));
    assert_false(weir_manifest_u32(weir_bytes_str("{\"n\": 9999999999}"), PATH("n"), &number));
    assert_false(weir_manifest_true(weir_bytes_str("[true]"), PATH("yes")));
    assert_false(weir_manifest_true(weir_bytes_str("{\"yes\" true}"), PATH("yes")));
    assert_false(weir_manifest_true(weir_bytes_str("{\"a\": {, \"yes\": true}"), PATH("yes")));
}

/* In memory of exactly its size, so that a sanitizer sees a byte too many. */
static void
no_prefix_is_read_past_its_end(void **state)
{
    for (size_t size = 0; size < sizeof json - 1; size++) {
        uint8_t *const copy = weir_alloc(size + 1);
        char text[8];

        memcpy(copy, json, size);
        (void)weir_manifest_string(weir_bytes_of(copy, size), PATH("no"), text, sizeof text);
        assert_false(weir_manifest_true(weir_bytes_of(copy, size), PATH("no")));
        weir_free(copy);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_path),
        cmocka_unit_test(what_is_absent_or_does_not_fit_is_not_found),
        cmocka_unit_test(no_prefix_is_read_past_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
