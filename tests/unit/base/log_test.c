/* Goal: a line is one well-formed JSON object whatever is put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/id.h"
#include "common/base/log.h"

static char written[20000];
static FILE *target;
static int saved_error;

static void
capture_begin(void)
{
    target = tmpfile();
    assert_non_null(target);
    (void)fflush(stderr);
    saved_error = dup(STDERR_FILENO);
    assert_true(dup2(fileno(target), STDERR_FILENO) >= 0);
}

static const char *
capture_end(void)
{
    assert_true(dup2(saved_error, STDERR_FILENO) >= 0);
    (void)close(saved_error);
    rewind(target);
    written[fread(written, 1, sizeof written - 1, target)] = '\0';
    (void)fclose(target);
    return written;
}

/* What follows the head: the head holds the time, which differs. */
static const char *
tail_of(const char *text)
{
    const char *const at = strstr(text, "\"event\":");

    assert_non_null(at);
    return at;
}

static void
a_line_is_one_json_object_with_fields_in_order(void **state)
{
    weir_log_init("gateway", false, WEIR_LOG_INFO);
    capture_begin();
    weir_log(WEIR_LOG_WARN, "document.accepted", WEIR_STR("document_id", "a"),
        WEIR_INT("revision", -3));
    weir_log(WEIR_LOG_ERROR, "no.fields");
    const char *const text = capture_end();

    assert_memory_equal(text, "{\"time\":\"2", 10);
    assert_non_null(strstr(text,
        "Z\",\"level\":\"warn\",\"service\":\"gateway\",\"event\":\"document.accepted\","
        "\"document_id\":\"a\",\"revision\":-3}\n{\"time\""));
    assert_non_null(strstr(text,
        "\"level\":\"error\",\"service\":\"gateway\",\"event\":\"no.fields\"}\n"));
}

static void
text_from_outside_cannot_break_the_line(void **state)
{
    weir_log_init("gateway", false, WEIR_LOG_INFO);
    capture_begin();
    weir_log(WEIR_LOG_INFO, "x.y",
        WEIR_STR("message", "\"}\\\n\t\r\x1b[31m\x7f\xc2\x9b \xff\xc3\xa9\xed\xa0\x80"));
    const char *const text = capture_end();

    assert_string_equal(tail_of(text),
        "\"event\":\"x.y\",\"message\":\"\\\"}\\\\\\n\\t\\u000d\\u001b[31m\\u007f\\u009b "
        "\\\\xff\xc3\xa9\\\\xed\\\\xa0\\\\x80\"}\n");
}

static void
lines_below_the_level_are_dropped(void **state)
{
    weir_log_init("gateway", false, WEIR_LOG_WARN);
    capture_begin();
    weir_log(WEIR_LOG_DEBUG, "a.b");
    weir_log(WEIR_LOG_INFO, "a.b");
    assert_string_equal(capture_end(), "");
}

static void
a_long_line_is_cut_and_says_so(void **state)
{
    static char longest[10000];

    weir_log_init("gateway", false, WEIR_LOG_INFO);
    for (size_t shift = 0; shift < 8; shift++) {
        memset(longest, '\x01', sizeof longest);
        memset(longest, 'a', shift);
        longest[sizeof longest - 1] = '\0';
        capture_begin();
        weir_log(WEIR_LOG_INFO, "x.y", WEIR_STR("message", longest), WEIR_STR("reason", "dropped"));
        const char *const text = capture_end();
        const size_t size = strlen(text);

        assert_in_range(size, 8000, 8192);
        assert_string_equal(text + size - 20, "\",\"truncated\":true}\n");
        assert_null(strstr(text, "dropped"));
    }
}

static void
many_fields_are_cut_between_fields(void **state)
{
    weir_log_field fields[2001] = { 0 };

    for (size_t index = 0; index < 2000; index++)
        fields[index] = WEIR_INT("number", INT64_MIN);
    weir_log_init("gateway", false, WEIR_LOG_INFO);
    capture_begin();
    weir_log_write(WEIR_LOG_INFO, "x.y", fields);
    const char *const text = capture_end();

    assert_true(strlen(text) <= 8192);
    assert_non_null(strstr(text, ",\"number\":-9223372036854775808,\"truncated\":true}\n"));
}

static void
a_terminal_gets_words(void **state)
{
    weir_log_init("gateway", true, WEIR_LOG_DEBUG);
    capture_begin();
    weir_log(WEIR_LOG_DEBUG, "x.y", WEIR_STR("word", "a/b"), WEIR_STR("text", "two words\x1b"),
        WEIR_STR("empty", ""), WEIR_STR("bytes", "\xff"), WEIR_INT("n", 7));
    const char *const text = capture_end();

    assert_int_equal(text[23], 'Z');
    assert_string_equal(text + 24,
        " debug gateway x.y word=a/b text=\"two words\\u001b\" empty=\"\" bytes=\\xff n=7\n");
}

static void
level_names_are_those_of_the_configuration(void **state)
{
    weir_log_level level = WEIR_LOG_ERROR;

    assert_true(weir_log_level_from_name("debug", &level));
    assert_int_equal(level, WEIR_LOG_DEBUG);
    assert_true(weir_log_level_from_name("warn", &level));
    assert_int_equal(level, WEIR_LOG_WARN);
    assert_false(weir_log_level_from_name("loud", &level));
    assert_int_equal(level, WEIR_LOG_WARN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_json_object_with_fields_in_order),
        cmocka_unit_test(text_from_outside_cannot_break_the_line),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(a_long_line_is_cut_and_says_so),
        cmocka_unit_test(many_fields_are_cut_between_fields),
        cmocka_unit_test(a_terminal_gets_words),
        cmocka_unit_test(level_names_are_those_of_the_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
