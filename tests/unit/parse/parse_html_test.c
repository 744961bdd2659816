/* Goal: HTML gives what a reader would read.  Method: examples. */
#include "tests/unit/parse/support.h"

static void
check_html(const char *text, const char *expected, const char *title)
{
    check_parse("text/html", weir_bytes_str(text), expected, title);
}

static void
blocks_stand_alone_and_spaces_are_one(void **state)
{
    check_html("<title> A\n title </title><h1>One  <em>two</em></h1>"
               "<p>a\n  b<b> c</b>d</p>loose<div>e</div>",
        "1:One two|P:a b cd|P:loose|P:e", "A title");
    check_html("<p>a<br>b<br/> c<hr>d", "P:a\nb\nc|P:d", NULL);
    check_html("<p>&lt;x&gt; &eacute;&nbsp;&#8212; caf&#101;&#769;",
        "P:<x> \xC3\xA9 \xE2\x80\x94 caf\xC3\xA9", NULL);
}

static void
the_first_heading_is_the_title_when_there_is_no_other(void **state)
{
    check_html("<h2>x</h2><h1>One</h1><h1>Two</h1>", "2:x|1:One|1:Two", "One");
    check_html("<title></title><h1>One</h1>", "1:One", "One");
    check_html("<p>x", "P:x", "");
    check_html("<svg><title>not this</title></svg><p>x", "P:x", "");
}

static void
what_no_reader_sees_is_left_out(void **state)
{
    check_html(
        "<head><style>s{}</style><script>x()</script></head>"
        "<p>a<script>b()</script>c<template>d</template>"
        "<select><option>e</select><textarea>f</textarea><svg><text>g</text></svg><!-- h -->",
        "P:ac", NULL);
    check_html("<p>a <img src=x alt='a picture'> b <img src=y>", "P:a a picture b", NULL);
}

static void
navigation_is_left_out_unless_nothing_else_is_there(void **state)
{
    check_html("<nav>menu</nav><div role='navigation main-nav'>more</div><p hidden>h</p><p>text"
               "<a class='x headerlink' href=#>\xC2\xB6</a></p>"
               "<footer>foot</footer><noscript>js</noscript>",
        "P:text", NULL);
    check_html("<nav>menu</nav><noscript>js</noscript>", "P:menu|P:js", NULL);
}

static void
the_main_part_is_taken_alone_when_it_has_text(void **state)
{
    check_html("<div>banner</div><main><p>text</p></main><div>after</div>", "P:text", NULL);
    check_html("<div>banner</div><div role=main><p>text</p></div>", "P:text", NULL);
    check_html("<p>banner</p><main><nav>x</nav></main>", "P:banner", NULL);
}

static void
lists_keep_their_marks(void **state)
{
    check_html("<ul><li>a<ul><li>b</ul><li><p>c</p><p>d</p></ul><ol start=3><li>x<li>y</ol>",
        "I:- a|I:- b|I:- c|I:d|I:3. x|I:4. y", NULL);
    check_html("<dl><dt>term<dd>meaning</dl>", "I:term|I:meaning", NULL);
    check_html("<ul><li><li>a</ul>after", "I:- a|P:after", NULL);
}

static void
rows_of_tables_are_lines_with_tabs(void **state)
{
    check_html("<table><caption>cap</caption><tr><th>a<th>b</tr>"
               "<tr><td>c <b>d</b><td><p>e</p><p>f</p></table>after",
        "P:cap|R:a\tb|R:c d\te f|P:after", NULL);
    check_html("<table><tr><td><td>b</table>", "R:b", NULL);
}

static void
tables_for_layout_are_taken_apart(void **state)
{
    check_html("<table><tr><td>menu<td><h1>Head</h1><p>text</p>"
               "<table><tr><td>in<td>ner</table>more</table>",
        "R:menu|1:Head|P:text|R:in\tner|P:more", "Head");
}

static void
preformatted_text_keeps_its_lines(void **state)
{
    check_html("<pre>\nint  x;\n\n\n  y;  \n</pre><p>a  b", "C:int  x;\n\n  y;|P:a b", NULL);
    check_html("<blockquote>said<p>so</blockquote>", "Q:said|Q:so", NULL);
}

static void
items_and_rows_stand_on_lines_and_the_rest_has_blank_lines_between(void **state)
{
    static const char *const source =
        "<p>a<p>b<ul><li>c<li>d</ul><table><tr><td>e<tr><td>f</table>";
    ingest_document document = { 0 };
    weir_error error = { 0 };

    assert_int_equal(ingest_parse("text/html", NULL, weir_bytes_str(source), &document, &error),
        WEIR_OK);
    assert_true(weir_bytes_equal(weir_buffer_view(&document.text),
        weir_bytes_str("a\n\nb\n\n- c\n- d\n\ne\nf")));
    ingest_document_fini(&document);
}

static void
html_without_text_is_empty(void **state)
{
    check_refusal("text/html", weir_bytes_str(""), WEIR_EMPTY);
    check_refusal("text/html",
        weir_bytes_str("<html><head><title>x</title></head><body><script>y</script></body>"),
        WEIR_EMPTY);
    check_refusal("text/html", weir_bytes_str("<frameset><frame src=x></frameset>"), WEIR_EMPTY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_stand_alone_and_spaces_are_one),
        cmocka_unit_test(the_first_heading_is_the_title_when_there_is_no_other),
        cmocka_unit_test(what_no_reader_sees_is_left_out),
        cmocka_unit_test(navigation_is_left_out_unless_nothing_else_is_there),
        cmocka_unit_test(the_main_part_is_taken_alone_when_it_has_text),
        cmocka_unit_test(lists_keep_their_marks),
        cmocka_unit_test(rows_of_tables_are_lines_with_tabs),
        cmocka_unit_test(tables_for_layout_are_taken_apart),
        cmocka_unit_test(preformatted_text_keeps_its_lines),
        cmocka_unit_test(items_and_rows_stand_on_lines_and_the_rest_has_blank_lines_between),
        cmocka_unit_test(html_without_text_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
