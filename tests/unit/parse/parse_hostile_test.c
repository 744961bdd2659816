/* Goal: no input crashes a parser, hangs it, or takes its stack.  Method: megabytes of one tag or
 * sign, garbage made of markup, mutated pages; whatever is accepted keeps every promise. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/unit/parse/chunk_support.h"

enum { FLOOD_BYTES = 2 << 20 };

static weir_tokenizer *tokenizer;

static void
repeat(weir_buffer *out, const char *text, size_t bytes)
{
    const size_t size = strlen(text);

    for (size_t done = 0; done + size <= bytes; done += size)
        weir_buffer_append(out, text, size);
}

/* Parse and cut; a refusal is fine, a broken promise is not. */
static weir_code
try(const char *media_type, weir_bytes source)
{
    const ingest_chunking chunking = { .tokenizer = tokenizer,
        .max_tokens = 64,
        .overlap_tokens = 8 };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };
    weir_code code = ingest_parse(media_type, NULL, source, &document, &error);

    if (code != WEIR_OK)
        return code;
    check_document(&document);
    code = ingest_chunk_document(&document, &chunking, &chunks, &error);
    if (code == WEIR_OK)
        check_chunks(&document, &chunking, &chunks);
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
    return code;
}

static void
flood(const char *media_type, const char *begin, const char *repeated, weir_code expected)
{
    weir_buffer source = { 0 };

    weir_buffer_append(&source, begin, strlen(begin));
    repeat(&source, repeated, FLOOD_BYTES);
    const int64_t begin_us = weir_clock_thread_cpu_us();
    const weir_code code = try(media_type, weir_buffer_view(&source));

    if (expected != WEIR_CODE_COUNT)
        assert_string_equal(weir_code_name(code), weir_code_name(expected));
    if (weir_clock_thread_cpu_us() - begin_us >
        INT64_C(60000000)) /* a sanitizer is slow; a quadratic parser is slower */
        fail_msg("'%s' takes too long", repeated);
    weir_buffer_fini(&source);
}

static void
deep_html_is_parse_failed(void **state)
{
    flood("text/html", "", "<div>", WEIR_PARSE_FAILED);
    flood("text/html", "", "<b>", WEIR_PARSE_FAILED);
    flood("text/html", "", "<div></x>", WEIR_PARSE_FAILED);
    flood("text/html", "", "<table><tr><td>", WEIR_PARSE_FAILED);
    flood("text/html", "", "<svg>", WEIR_PARSE_FAILED);
    flood("text/html", "", "<ul><li>", WEIR_PARSE_FAILED);
}

static void
a_little_too_deep_is_parse_failed_and_just_deep_enough_is_read(void **state)
{
    weir_buffer source = { 0 };

    repeat(&source, "<div>", 5 * (INGEST_DEPTH_MAX - 2)); /* html and body are two */
    weir_buffer_append(&source, "x", 1);
    assert_int_equal(try("text/html", weir_buffer_view(&source)), WEIR_OK);
    weir_buffer_clear(&source);
    repeat(&source, "<div>", 5 * (INGEST_DEPTH_MAX + 1));
    weir_buffer_append(&source, "x", 1);
    assert_int_equal(try("text/html", weir_buffer_view(&source)), WEIR_PARSE_FAILED);
    weir_buffer_fini(&source);
}

/* Three thousand open fonts are opened again in each paragraph. */
static void
html_whose_tree_explodes_is_parse_failed(void **state)
{
    weir_buffer source = { 0 };

    for (int i = 0; i < 3000; i++) {
        char tag[32];
        const int size = snprintf(tag, sizeof tag, "<font size=%d>", i);

        weir_buffer_append(&source, tag, (size_t)size);
    }
    repeat(&source, "<p>x", 1 << 20);
    assert_int_equal(try("text/html", weir_buffer_view(&source)), WEIR_PARSE_FAILED);
    weir_buffer_fini(&source);
}

static void
floods_of_html_end(void **state)
{
    static const char *const repeated[] = { "<", "</div>", "<p>x", "<a href=x>y", "<!--", "&amp;",
        "<br>", "<li>x", "<h1>x", "<option>", "<td>x", "<script>", "<title>", "<![CDATA[", "<?x",
        "</p>", "<table>x", "<frameset>", "<p a=1 b=2>" };

    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++)
        flood("text/html", "", repeated[i], WEIR_CODE_COUNT);
    flood("text/html", "<ul>", "<li>x", WEIR_OK);
    flood("text/html", "<table>", "<tr><td>a<td>b", WEIR_OK);
}

static void
floods_of_markdown_end(void **state)
{
    static const char *const repeated[] = { "[", "![", "*a **b ", "*_", "> ", "- ", "- a\n",
        "`a ``b ", "[a](<b", "<a ", "# a\n", "|a|b|\n", "\\*", "&amp;", "<div>\n\n", "~~a ",
        "    a\n\n", "[a]: b\n", "<!-- ", "\t", "1. a\n", "```\n" };

    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++)
        flood("text/markdown", "", repeated[i], WEIR_CODE_COUNT);
    flood("text/markdown", "|a|b|\n|-|-|\n", "|x|y|\n", WEIR_OK);
}

/* The copy of a long destination for each use is what md4c does not bound. */
static void
a_long_link_definition_used_a_million_times_is_parse_failed(void **state)
{
    weir_buffer source = { 0 };

    weir_buffer_append(&source, "[a]: ", 5);
    repeat(&source, "x", 1 << 20);
    weir_buffer_append(&source, "\n\n", 2);
    repeat(&source, "[a]", 3 << 20);
    assert_int_equal(try("text/markdown", weir_buffer_view(&source)), WEIR_PARSE_FAILED);
    weir_buffer_fini(&source);
}

static void
append_markup(weir_rng *rng, weir_buffer *out)
{
    static const char *const pieces[] = { "<p>", "</p>", "<div", ">", "<table>", "<tr>", "<td>",
        "</table>", "<ul>", "<li>", "</ul>", "<b>", "</b>", "<a href='", "'>", "<!--", "-->",
        "<script>", "</script>", "&", "&lt;", "&#x", ";", "<h1>", "</h1>", "<pre>", "</pre>",
        "<select>", "<template>", "<svg>", "<math>", "<main>", "<nav>", "<br>", "<title>",
        "<frameset>", "<body>", "</body>", "</html>", "<![CDATA[", "\n", "# ", "* ", "> ", "```",
        "|", "---", "[", "](", ")", "~~", "\xFF", "\xC3", "\xE2\x80\x8D", "\r", "text ",
        "more words. ", "\xE4\xB8\xAD" };
    const size_t count = sizeof pieces / sizeof *pieces;
    const char *const piece = pieces[weir_rng_below(rng, count)];

    weir_buffer_append(out, piece, strlen(piece));
}

static void
garbage_made_of_markup_is_read_or_refused(void **state)
{
    static const char *const types[] = { "text/html", "text/markdown", "text/plain" };
    weir_rng rng = { .state = 21 };

    for (int round = 0; round < 4000; round++) {
        weir_buffer source = { 0 };

        for (uint64_t left = 1 + weir_rng_below(&rng, 200); left > 0; left--)
            append_markup(&rng, &source);
        uint8_t *const exact =
            weir_alloc(source.size); /* so that a sanitizer sees a byte too many */

        memcpy(exact, source.data, source.size);
        (void)try(types[round % 3], weir_bytes_of(exact, source.size));
        weir_free(exact);
        weir_buffer_fini(&source);
    }
}

static void
random_bytes_are_read_or_refused(void **state)
{
    weir_rng rng = { .state = 22 };

    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[512];
        const size_t size = weir_rng_below(&rng, sizeof bytes);

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(weir_rng_below(&rng, 4) == 0 ? weir_rng_next(&rng)
                                                              : 32 + weir_rng_below(&rng, 95));
        (void)try(round % 2 == 0 ? "text/html" : NULL, weir_bytes_of(bytes, size));
        (void)try("text/markdown; charset=utf-16", weir_bytes_of(bytes, size));
    }
}

static int
open_tokenizer(void **state)
{
    weir_model model;
    weir_error error = { 0 };

    if (weir_model_find("hash-8", NULL, &model, &error) != WEIR_OK)
        return -1;
    return weir_tokenizer_open(&model, &tokenizer, &error) == WEIR_OK ? 0 : -1;
}

static int
close_tokenizer(void **state)
{
    weir_tokenizer_destroy(&tokenizer);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_html_is_parse_failed),
        cmocka_unit_test(a_little_too_deep_is_parse_failed_and_just_deep_enough_is_read),
        cmocka_unit_test(html_whose_tree_explodes_is_parse_failed),
        cmocka_unit_test(floods_of_html_end),
        cmocka_unit_test(floods_of_markdown_end),
        cmocka_unit_test(a_long_link_definition_used_a_million_times_is_parse_failed),
        cmocka_unit_test(garbage_made_of_markup_is_read_or_refused),
        cmocka_unit_test(random_bytes_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
