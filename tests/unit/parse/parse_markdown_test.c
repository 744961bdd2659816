/* Goal: Markdown gives its text without its signs.  Method: examples. */
#include "tests/unit/parse/support.h"

static void
check_markdown(const char *text, const char *expected, const char *title)
{
    check_parse("text/markdown", weir_bytes_str(text), expected, title);
}

static void
headings_and_paragraphs(void **state)
{
    check_markdown("# One *two*\n\nA\nparagraph.\n\n## Three\ntext\n\nSetext\n===\n",
        "1:One two|P:A paragraph.|2:Three|P:text|1:Setext", "One two");
}

static void
spans_leave_their_text(void **state)
{
    check_markdown(
        "a [link](http://x/ \"t\") `co  de` ~~del~~ **b**  \nnext ![pic *x*](y) <b>bold</b><br>end",
        "P:a link co de del b\nnext pic x bold\nend", "");
    check_markdown("&amp; &eacute; &#233; &#x263A; &unknown; &#xD800; &lt",
        "P:& \xC3\xA9 \xC3\xA9 \xE2\x98\xBA &unknown; &#xD800; &lt", NULL);
}

static void
lists_keep_their_marks(void **state)
{
    check_markdown("- a\n- b\n  - c\n- d\n\n3. x\n4. y\n", "I:- a|I:- b|I:- c|I:- d|I:3. x|I:4. y",
        NULL);
    check_markdown("- [ ] open\n- [x] done\n", "I:- [ ] open|I:- [x] done", NULL);
    check_markdown("* loose\n\n  second\n\n* next\n", "I:- loose|I:second|I:- next", NULL);
    check_markdown("-\n- a\n\nafter\n", "I:- a|P:after", NULL);
}

static void
code_tables_and_quotes(void **state)
{
    check_markdown("```c\nint  x;\n\n  y;\n```\n", "C:int  x;\n\n  y;", NULL);
    check_markdown("| a | b |\n|---|---|\n| c d | e |\n", "R:a\tb|R:c d\te", NULL);
    check_markdown("> said\n> so\n\nplain\n", "Q:said so|P:plain", NULL);
}

static void
html_blocks_are_read_as_html(void **state)
{
    check_markdown("before\n\n<div><p>in &amp; <script>no()</script>side</div>\n\nafter",
        "P:before|P:in & side|P:after", NULL);
    check_markdown("<!-- comment -->\n\nafter", "P:after", NULL);
}

static void
front_matter_is_no_text_but_its_title_is_the_title(void **state)
{
    check_markdown("---\ntitle: \"From the top\"\ntags: x\n---\n# Heading\ntext",
        "1:Heading|P:text", "From the top");
    check_markdown("---\r\ntitle: b\r\n...\r\ntext", "P:text", "b");
    check_markdown("---\n\ntext", "P:text", ""); /* a thematic break */
    check_markdown("--- x\ntitle: no\n---\n", "2:--- x title: no", NULL);
}

static void
headings_know_what_is_above_them(void **state)
{
    ingest_document document = { 0 };
    weir_error error = { 0 };

    assert_int_equal(ingest_parse("text/markdown", NULL,
                         weir_bytes_str("# A\n### B\n## C\ntext\n# D\n"), &document, &error),
        WEIR_OK);
    check_document(&document);
    assert_int_equal(document.heading_count, 4);
    assert_int_equal(document.headings[1].parent, 0);
    assert_int_equal(document.headings[2].parent, 0);
    assert_true(document.headings[3].parent == INGEST_NO_HEADING);
    assert_int_equal(document.blocks[3].heading, 2); /* text below C */
    ingest_document_fini(&document);
}

static void
markdown_without_text_is_empty(void **state)
{
    check_refusal("text/markdown", weir_bytes_str(""), WEIR_EMPTY);
    check_refusal("text/markdown", weir_bytes_str("---\n***\n<!-- x -->\n[a]: b\n"), WEIR_EMPTY);
    check_refusal("text/markdown", weir_bytes_str("-\n-\n"), WEIR_EMPTY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headings_and_paragraphs),
        cmocka_unit_test(spans_leave_their_text),
        cmocka_unit_test(lists_keep_their_marks),
        cmocka_unit_test(code_tables_and_quotes),
        cmocka_unit_test(html_blocks_are_read_as_html),
        cmocka_unit_test(front_matter_is_no_text_but_its_title_is_the_title),
        cmocka_unit_test(headings_know_what_is_above_them),
        cmocka_unit_test(markdown_without_text_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
