/* Goal: the type is found, and what weir cannot read is named.  Method: a table. */
#include "tests/unit/parse/support.h"

static void
check_media(const char *declared, const char *filename, const char *source, ingest_media expected)
{
    ingest_media media = INGEST_MEDIA_TEXT;
    weir_error error = { 0 };

    if (ingest_media_detect(declared, filename, weir_bytes_str(source), &media, &error) != WEIR_OK)
        fail_msg("%s", error.message);
    assert_string_equal(ingest_media_name(media), ingest_media_name(expected));
}

static void
the_declared_type_decides(void **state)
{
    check_media("text/plain", "a.html", "<html>", INGEST_MEDIA_TEXT);
    check_media("text/markdown", NULL, "<html>", INGEST_MEDIA_MARKDOWN);
    check_media("Text/HTML ; charset=utf-8", "a.txt", "x", INGEST_MEDIA_HTML);
    check_media(" application/xhtml+xml", NULL, "x", INGEST_MEDIA_HTML);
}

static void
then_the_file_name_decides(void **state)
{
    check_media(NULL, "notes.md", "<html>", INGEST_MEDIA_MARKDOWN);
    check_media("", "PAGE.HTM", "x", INGEST_MEDIA_HTML);
    check_media("application/octet-stream", "a.b.txt", "<html>", INGEST_MEDIA_TEXT);
    check_media(NULL, "archive.tar", "<html>", INGEST_MEDIA_HTML);
    check_media(NULL, "noext", "plain", INGEST_MEDIA_TEXT);
}

static void
then_a_look_at_the_bytes_decides(void **state)
{
    check_media(NULL, NULL, "\n\t <!DOCTYPE html><p>", INGEST_MEDIA_HTML);
    check_media(NULL, "", "\xEF\xBB\xBF<HTML>", INGEST_MEDIA_HTML);
    check_media(NULL, NULL, "a < b", INGEST_MEDIA_TEXT);
    check_media(NULL, NULL, "", INGEST_MEDIA_TEXT);
}

static void
other_declared_types_are_unsupported_and_the_message_says_what_is_supported(void **state)
{
    ingest_media media = INGEST_MEDIA_TEXT;
    weir_error error = { 0 };

    assert_int_equal(ingest_media_detect("application/pdf", "a.txt", weir_bytes_str("x"), &media,
                         &error),
        WEIR_MEDIA_TYPE_UNSUPPORTED);
    assert_string_equal(error.field, "media_type");
    assert_non_null(strstr(error.message, "application/pdf"));
    assert_non_null(strstr(error.message, "text/markdown"));
}

static void
binary_bytes_are_unsupported_whatever_they_are_declared(void **state)
{
    static const char *const sources[] = { "%PDF-1.7", "PK\x03\x04", "\x89PNG\r\n", "\x1F\x8B\x08",
        "GIF89a" };

    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        check_refusal("text/plain", weir_bytes_str(sources[i]), WEIR_MEDIA_TYPE_UNSUPPORTED);
    check_refusal(NULL, weir_bytes_of("ab\0cd", 5), WEIR_MEDIA_TYPE_UNSUPPORTED);
    check_refusal("text/html", weir_bytes_of("<p>ab\0cd", 8), WEIR_MEDIA_TYPE_UNSUPPORTED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_declared_type_decides),
        cmocka_unit_test(then_the_file_name_decides),
        cmocka_unit_test(then_a_look_at_the_bytes_decides),
        cmocka_unit_test(
            other_declared_types_are_unsupported_and_the_message_says_what_is_supported),
        cmocka_unit_test(binary_bytes_are_unsupported_whatever_they_are_declared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
