/* Goal: text comes out as UTF-8 after the rule in parse.h.  Method: the same words in many
 * charsets. */
#include "services/ingest/charset.h"
#include "tests/unit/parse/support.h"

#define BYTES(literal_) weir_bytes_of((literal_), sizeof(literal_) - 1)

static void
a_byte_order_mark_decides(void **state)
{
    check_parse("text/plain",
        BYTES("\xEF\xBB\xBF"
              "caf\xC3\xA9"),
        "P:caf\xC3\xA9", NULL);
    check_parse("text/plain",
        BYTES("\xFF\xFE"
              "c\0a\0f\0\xE9\0"),
        "P:caf\xC3\xA9", NULL);
    check_parse("text/plain; charset=latin1",
        BYTES("\xFE\xFF"
              "\0c\0a\0f\0\xE9"),
        "P:caf\xC3\xA9", NULL);
    check_parse("text/plain",
        BYTES("\xFF\xFE\0\0"
              "c\0\0\0\xE9\0\0\0"),
        "P:c\xC3\xA9", NULL);
    check_parse("text/plain",
        BYTES("\0\0\xFE\xFF"
              "\0\0\0c\0\0\0\xE9"),
        "P:c\xC3\xA9", NULL);
}

static void
well_formed_utf8_is_taken_as_such(void **state)
{
    check_parse("text/plain; charset=latin1", BYTES("caf\xC3\xA9"), "P:caf\xC3\xA9", NULL);
}

static void
the_declared_charset_is_used_for_other_bytes(void **state)
{
    check_parse("text/plain; charset=\"ISO-8859-1\"", BYTES("caf\xE9 \x93"),
        "P:caf\xC3\xA9 \xE2\x80\x9C", NULL);
    check_parse("text/plain;charset=utf-16le", BYTES("c\0\xE9\0"), "P:c\xC3\xA9", NULL);
    check_parse("text/plain; charset=utf-8", BYTES("caf\xE9 x"), "P:caf\xEF\xBF\xBD x", NULL);
}

static void
undeclared_bytes_are_windows_1252_unless_they_are_damaged_utf8(void **state)
{
    check_parse("text/plain", BYTES("caf\xE9 \x80"), "P:caf\xC3\xA9 \xE2\x82\xAC", NULL);
    check_parse("text/plain", BYTES("\xC3\xA9\xC3\xA9\xC3\xA9 \xE9"),
        "P:\xC3\xA9\xC3\xA9\xC3\xA9 \xEF\xBF\xBD", NULL);
    check_parse("text/plain; charset=klingon", BYTES("caf\xE9"), "P:caf\xC3\xA9", NULL);
}

static void
html_may_declare_its_charset_itself(void **state)
{
    check_parse("text/html", BYTES("<meta charset=iso-8859-1><p>caf\xE9"), "P:caf\xC3\xA9", NULL);
    check_parse("text/html",
        BYTES("<META http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"><p>\xE9"),
        "P:\xEF\xBF\xBD", NULL);
    check_parse("text/html", BYTES("<meta charset=utf-16><p>caf\xE9"), "P:caf\xC3\xA9", NULL);
}

static void
broken_utf16_becomes_the_replacement_character(void **state)
{
    check_parse("text/plain",
        BYTES("\xFF\xFE"
              "a\0\x00\xDC"
              "b\0"),
        "P:a\xEF\xBF\xBD"
        "b",
        NULL);
    check_parse("text/plain",
        BYTES("\xFF\xFE"
              "a\0b"),
        "P:a\xEF\xBF\xBD", NULL);
}

static void
names_are_read_with_care(void **state)
{
    char name[INGEST_CHARSET_BYTES_MAX + 1];

    ingest_charset_parameter("text/html; foo=bar; CHARSET = 'UTF-8'", name);
    assert_string_equal(name, "utf-8");
    ingest_charset_parameter("text/html", name);
    assert_string_equal(name, "");
    ingest_charset_parameter(NULL, name);
    assert_string_equal(name, "");
    ingest_charset_parameter("text/html; charset=../../etc/passwd", name);
    assert_string_equal(name, "..");
    ingest_charset_parameter(
        "text/html; charset=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", name);
    assert_string_equal(name, "");
    ingest_charset_html(BYTES("<meta name=charset"), name);
    assert_string_equal(name, "");
    ingest_charset_html(BYTES("<meta charset"), name);
    assert_string_equal(name, "");
    ingest_charset_html(BYTES("<meta"), name);
    assert_string_equal(name, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_order_mark_decides),
        cmocka_unit_test(well_formed_utf8_is_taken_as_such),
        cmocka_unit_test(the_declared_charset_is_used_for_other_bytes),
        cmocka_unit_test(undeclared_bytes_are_windows_1252_unless_they_are_damaged_utf8),
        cmocka_unit_test(html_may_declare_its_charset_itself),
        cmocka_unit_test(broken_utf16_becomes_the_replacement_character),
        cmocka_unit_test(names_are_read_with_care),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
