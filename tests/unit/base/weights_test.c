/* Goal: a list of weights is taken as written, and what is wrong in one is quoted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/weights.h"

static void
a_name_has_its_weight_and_others_have_one(void **state)
{
    const char *list = "acme=4,a.b_C-9=100,z=1";

    assert_int_equal(weir_weights_of(list, "acme"), 4);
    assert_int_equal(weir_weights_of(list, "a.b_C-9"), 100);
    assert_int_equal(weir_weights_of(list, "z"), 1);
    assert_int_equal(weir_weights_of(list, "acm"), 1);
    assert_int_equal(weir_weights_of(list, "acme=4"), 1);
    assert_int_equal(weir_weights_of("", "acme"), 1);
}

static void
sound_lists_are_taken(void **state)
{
    static const char *const lists[] = { "", "a=1", "a=100", "a=007", "a=1,b=1", "ab=1,a=1,b=1" };
    weir_error error = { 0 };

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (weir_weights_check(lists[i], &error) != WEIR_OK)
            fail_msg("%s: %s", lists[i], error.message);
}

static void
what_is_wrong_is_quoted(void **state)
{
    static const struct {
        const char *list, *quoted;
    } rows[] = { { "a", "\"a\"" }, { "a=", "\"a=\"" }, { "a=0", "\"a=0\"" },
        { "a=101", "\"a=101\"" }, { "a=0001", "\"a=0001\"" }, { "a=1x", "\"a=1x\"" },
        { "a=-1", "\"a=-1\"" }, { "a=1.5", "\"a=1.5\"" }, { "=1", "\"=1\"" },
        { "b=1,,a=1", "\"\"" }, { ",", "\"\"" }, { "a b=1", "\"a b=1\"" },
        { "b=1, a=1", "\" a=1\"" }, { "b=1,a=1=1", "\"a=1=1\"" }, { "a=1,b=2,a=3", "\"a=3\"" },
        { "a123456789b123456789c123456789d123456789e123456789f123456789g1234=1", "g1234=1" } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_error error = { 0 };

        assert_int_equal(weir_weights_check(rows[i].list, &error), WEIR_CONFIG_INVALID);
        if (strstr(error.message, rows[i].quoted) == NULL)
            fail_msg("%s: %s", rows[i].list, error.message);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_its_weight_and_others_have_one),
        cmocka_unit_test(sound_lists_are_taken),
        cmocka_unit_test(what_is_wrong_is_quoted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
