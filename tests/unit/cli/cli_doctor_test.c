/*
 * Goal: a report that is sent away holds no secret, and hides nothing else.
 * Method: texts as settings and command lines have them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/doctor.h"

static void
expect(const char *text, const char *clean)
{
    weir_buffer out = { 0 };

    doctor_redact(text, strlen(text), &out);
    weir_buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, clean);
    weir_buffer_fini(&out);
}

static void
test_values_of_secret_settings_are_left_out(void **state)
{
    (void)state;
    expect("  api_key: abc.def\n", "  api_key: (left out)\n");
    expect("provider.Secret=abc\n", "provider.Secret= (left out)\n");
    expect("password: \"a: b\"\nnext: 1\n", "password: (left out)\nnext: 1\n");
}

static void
test_the_last_line_without_an_end_is_cleaned_too(void **state)
{
    (void)state;
    expect("x.token=abc", "x.token= (left out)\n");
}

static void
test_other_lines_stay_as_they_are(void **state)
{
    (void)state;
    expect("max_tokens: 256\nkey_file: /etc/weir/key\n--set\n",
        "max_tokens: 256\nkey_file: /etc/weir/key\n--set\n");
    expect("# stronger than --set KEY=VALUE\n", "# stronger than --set KEY=VALUE\n");
    expect("", "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_secret_settings_are_left_out),
        cmocka_unit_test(test_the_last_line_without_an_end_is_cleaned_too),
        cmocka_unit_test(test_other_lines_stay_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
