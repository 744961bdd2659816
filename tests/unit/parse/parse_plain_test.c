/* Goal: plain text keeps its paragraphs and lines.  Method: examples. */
#include <stdlib.h>

#include "common/base/limits.h"
#include "tests/unit/parse/support.h"

static void
check_plain(const char *text, const char *expected, const char *title)
{
    check_parse("text/plain", weir_bytes_str(text), expected, title);
}

static void
blank_lines_separate_paragraphs(void **state)
{
    check_plain("one\ntwo\n\nthree\n \t\n\n\nfour", "P:one\ntwo|P:three|P:four", "");
    check_plain("one\r\ntwo\r\n\r\nthree\rfour\r\rfive", "P:one\ntwo|P:three\nfour|P:five", "");
    check_plain("page one\fpage two\f\fthree", "P:page one\npage two|P:three", "");
}

static void
indentation_stays_and_spaces_at_line_ends_go(void **state)
{
    check_plain("  a  b \n    c\t\n", "P:a  b\n    c", NULL);
}

static void
a_short_first_line_on_its_own_is_the_title(void **state)
{
    check_plain("A title\n\nText.", "P:A title|P:Text.", "A title");
    check_plain("\n\n A title \n\nText.", "P:A title|P:Text.", "A title");
    check_plain("two\nlines\n\nText.", "P:two\nlines|P:Text.", "");
    check_plain("only one line", "P:only one line", "");
}

static void
text_without_a_character_is_empty(void **state)
{
    check_refusal("text/plain", weir_bytes_str(""), WEIR_EMPTY);
    check_refusal("text/plain", weir_bytes_str(" \n\t\r\n\xc2\xa0\xe2\x80\x8b"), WEIR_EMPTY);
    check_refusal("text/plain", weir_bytes_str("\xEF\xBB\xBF"), WEIR_EMPTY);
}

static void
more_than_64_mib_is_too_large(void **state)
{
    const size_t size = (size_t)WEIR_STREAMED_DOCUMENT_BYTES_MAX + 1;
    uint8_t *const bytes = weir_alloc_zero(1, size); /* pages that are never touched cost nothing */

    bytes[0] = 'a';
    memset(bytes, 'a', 70000);
    check_refusal("text/plain", weir_bytes_of(bytes, size), WEIR_BODY_TOO_LARGE);
    check_refusal("text/html", weir_bytes_of(bytes, (size_t)INGEST_MARKUP_BYTES_MAX + 1),
        WEIR_BODY_TOO_LARGE);
    check_refusal("text/markdown", weir_bytes_of(bytes, (size_t)INGEST_MARKUP_BYTES_MAX + 1),
        WEIR_BODY_TOO_LARGE);
    weir_free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blank_lines_separate_paragraphs),
        cmocka_unit_test(indentation_stays_and_spaces_at_line_ends_go),
        cmocka_unit_test(a_short_first_line_on_its_own_is_the_title),
        cmocka_unit_test(text_without_a_character_is_empty),
        cmocka_unit_test(more_than_64_mib_is_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
