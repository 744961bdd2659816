/* Goal: chunks keep their bounds, cover the text, and end where a reader would pause.
 * Method: examples with hash tokens, and random documents with both tokenizers. */
#include <stdlib.h>

#include "common/base/random.h"
#include "tests/unit/parse/chunk_support.h"

static weir_tokenizer *hash_tokenizer;
static weir_tokenizer *real_tokenizer; /* NULL: no model here */

static void
parse_or_fail(const char *media_type, weir_bytes source, ingest_document *ret_document)
{
    weir_error error = { 0 };

    if (ingest_parse(media_type, NULL, source, ret_document, &error) != WEIR_OK)
        fail_msg("%s", error.message);
}

/* Chunk a text and compare the chunks, separated by '|'. */
static void
check_cut(const char *media_type, const char *text, uint32_t max_tokens, uint32_t overlap,
    const char *expected)
{
    const ingest_chunking chunking = { .tokenizer = hash_tokenizer,
        .max_tokens = max_tokens,
        .overlap_tokens = overlap };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };
    weir_buffer out = { 0 };

    parse_or_fail(media_type, weir_bytes_str(text), &document);
    if (ingest_chunk_document(&document, &chunking, &chunks, &error) != WEIR_OK)
        fail_msg("%s", error.message);
    check_chunks(&document, &chunking, &chunks);
    for (size_t i = 0; i < chunks.count; i++) {
        const weir_bytes chunk = ingest_chunk_text(&document, &chunks.items[i]);

        weir_buffer_append(&out, "|", i > 0);
        weir_buffer_append(&out, chunk.data, chunk.size);
    }
    weir_buffer_append_u8(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    weir_buffer_fini(&out);
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
}

static void
a_small_text_is_one_chunk(void **state)
{
    check_cut("text/plain", "  one two.\n\nthree ", 16, 4, "one two.\n\nthree");
}

static void
the_end_of_a_paragraph_is_better_than_the_end_of_a_sentence(void **state)
{
    check_cut("text/plain", "a b c d e f g h i j.\n\nk l. M n o p q r s t", 16, 0,
        "a b c d e f g h i j.|k l. M n o p q r s t");
}

static void
the_end_of_a_sentence_is_better_than_the_middle(void **state)
{
    check_cut("text/plain", "a b c d e f g h i j. K l m n o p q r s t", 16, 0,
        "a b c d e f g h i j.|K l m n o p q r s t");
    check_cut("text/plain", "a b c d e f g h i (e.g. k l m n o p q r s t", 16, 0,
        "a b c d e f g h i (e.g. k l|m n o p q r s t");
}

static void
words_are_not_parted_from_their_commas(void **state)
{
    check_cut("text/plain", "a b c d e f g h i j k l m n o, p q", 16, 0,
        "a b c d e f g h i j k l m n o,|p q");
    check_cut("text/plain", "a b c d e f g h i j k l m n oo p, q", 16, 0,
        "a b c d e f g h i j k l m n oo|p, q");
    check_cut("text/plain", "a b c d e f g h i j k l m n o p, q", 16, 0,
        "a b c d e f g h i j k l m n o|p, q");
}

static void
neighbours_share_the_overlap_from_a_sentence_on(void **state)
{
    check_cut("text/plain", "a b c d e f g h i j k l m n o p q r", 16, 4,
        "a b c d e f g h i j k l m n o p|m n o p q r");
    check_cut("text/plain", "a b c d e f g h i j. K l. M n o. P q r s t", 16, 6,
        "a b c d e f g h i j. K l.|K l. M n o. P q r s t");
}

static void
a_heading_begins_a_chunk_without_overlap_and_stays_with_its_text(void **state)
{
    check_cut("text/markdown", "a b c d e f g h\n\n# I\n\nj k l m n o p q", 16, 4,
        "a b c d e f g h|I\n\nj k l m n o p q");
    check_cut("text/markdown", "a b\n\n# C\n\nd e", 16, 4,
        "a b\n\nC\n\nd e"); /* not worth a chunk */
    check_cut("text/markdown", "# a b c d e f g h i j\n\nk l m n o p q r s t", 16, 0,
        "a b c d e f g h i j\n\nk l m n o p|q r s t");
}

static void
code_is_cut_between_lines(void **state)
{
    check_cut("text/markdown", "```\na b c d e f g h i j.\nk l m. N o p q r s t\n```\n", 16, 0,
        "a b c d e f g h i j.|k l m. N o p q r s t");
}

static void
a_word_beyond_the_bounds_is_cut_between_characters(void **state)
{
    const ingest_chunking chunking = { .tokenizer = hash_tokenizer,
        .max_tokens = 64,
        .overlap_tokens = 8 };
    weir_buffer text = { 0 };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };

    weir_buffer_append(&text, "before ", 7);
    for (int i = 0; i < 10000; i++)
        weir_buffer_append(&text, "\xC3\xA9", 2);
    weir_buffer_append(&text, " after", 6);
    parse_or_fail("text/plain", weir_buffer_view(&text), &document);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error), WEIR_OK);
    check_chunks(&document, &chunking, &chunks);
    assert_int_equal(chunks.count, 4);
    weir_buffer_fini(&text);
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
}

static void
more_chunks_than_allowed_are_refused(void **state)
{
    const ingest_chunking chunking = { .tokenizer = hash_tokenizer,
        .max_tokens = 16,
        .chunks_max = 2 };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };

    parse_or_fail("text/plain",
        weir_bytes_str("a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g"),
        &document);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error),
        WEIR_TOO_MANY_CHUNKS);
    assert_null(chunks.items);
    ingest_document_fini(&document);
}

static void
text_without_tokens_is_empty(void **state)
{
    const ingest_document nothing = { 0 };
    ingest_chunking chunking = { .tokenizer = hash_tokenizer, .max_tokens = 16 };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };

    assert_int_equal(ingest_chunk_document(&nothing, &chunking, &chunks, &error), WEIR_EMPTY);
    if (real_tokenizer == NULL)
        skip();
    chunking.tokenizer = real_tokenizer;
    parse_or_fail("text/plain", weir_bytes_str("\xE2\x80\x8D \xCC\x81"), &document);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error), WEIR_EMPTY);
    assert_null(chunks.items);
    ingest_document_fini(&document);
}

static void
the_heading_path_is_outermost_first_and_bounded(void **state)
{
    static char source[2000];
    weir_bytes path[INGEST_HEADING_LEVELS];
    ingest_document document = { 0 };

    (void)snprintf(source, sizeof source, "# One\n## Two\n### %0600d\ntext", 7);
    parse_or_fail("text/markdown", weir_bytes_str(source), &document);
    assert_int_equal(ingest_heading_path(&document, document.blocks[3].heading, path), 3);
    assert_true(weir_bytes_equal(path[0], weir_bytes_str("One")));
    assert_true(weir_bytes_equal(path[1], weir_bytes_str("Two")));
    assert_int_equal(path[2].size, INGEST_HEADING_BYTES_MAX);
    assert_int_equal(ingest_heading_path(&document, INGEST_NO_HEADING, path), 0);
    ingest_document_fini(&document);
}

/* ---- random documents ---- */

static void
append_piece(weir_rng *rng, weir_buffer *out)
{
    static const char *const pieces[] = { " ", " ", " ", "\n", "\n\n", ". ", ", ", "? ", "(", ") ",
        "\t", "# ", "\n\n# T\n\n", "\n- ", "* ", "[SEP]", "\xE4\xB8\xAD\xE6\x96\x87",
        "\xE3\x80\x82", "\xCC\x81", "\xE2\x80\x8D", "\xF0\x9F\x98\x80", "##", "don't",
        "\xEA\xB0\x81", "x\xC3\xA9" };
    const uint64_t choice = weir_rng_below(rng, 60);

    if (choice < sizeof pieces / sizeof *pieces) {
        weir_buffer_append(out, pieces[choice], strlen(pieces[choice]));
        return;
    }
    const uint64_t length = choice == 59 ? weir_rng_below(rng, 300) : 1 + weir_rng_below(rng, 9);

    for (uint64_t i = 0; i < length; i++)
        weir_buffer_append_u8(out, (uint8_t)('a' + weir_rng_below(rng, 26)));
    weir_buffer_append(out, " ", choice % 2);
}

static void
check_random(weir_rng *rng, const weir_tokenizer *tokenizer)
{
    const uint32_t max_tokens = (uint32_t)(WEIR_CHUNK_TOKENS_MIN + weir_rng_below(rng, 60));
    const ingest_chunking chunking = { .tokenizer = tokenizer,
        .max_tokens = max_tokens,
        .overlap_tokens = (uint32_t)weir_rng_below(rng, (max_tokens + 1) / 2) };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    ingest_chunks again = { 0 };
    weir_error error = { 0 };
    weir_buffer source = { 0 };

    weir_buffer_append(&source, "start ", 6);
    for (uint64_t left = weir_rng_below(rng, 500); left > 0; left--)
        append_piece(rng, &source);
    parse_or_fail(weir_rng_below(rng, 2) == 0 ? "text/plain" : "text/markdown",
        weir_buffer_view(&source), &document);
    check_document(&document);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error), WEIR_OK);
    check_chunks(&document, &chunking, &chunks);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &again, &error), WEIR_OK);
    assert_int_equal(chunks.count, again.count);
    for (size_t i = 0; i < chunks.count; i++) {
        assert_int_equal(chunks.items[i].start, again.items[i].start);
        assert_int_equal(chunks.items[i].end, again.items[i].end);
    }
    ingest_chunks_fini(&chunks);
    ingest_chunks_fini(&again);
    ingest_document_fini(&document);
    weir_buffer_fini(&source);
}

static void
random_documents_keep_every_promise(void **state)
{
    weir_rng rng = { .state = 11 };

    for (int round = 0; round < 3000; round++) {
        check_random(&rng, hash_tokenizer);
        if (real_tokenizer != NULL)
            check_random(&rng, real_tokenizer);
    }
}

/* A chunk has at least half of the budget anew, so a text of n tokens gives at most about 2 n /
 * budget + 2. */
static void
ordinary_text_is_not_cut_into_crumbs(void **state)
{
    const ingest_chunking chunking = { .tokenizer = hash_tokenizer,
        .max_tokens = 64,
        .overlap_tokens = 8 };
    weir_rng rng = { .state = 12 };
    weir_buffer source = { 0 };
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };

    for (int i = 0; i < 64000; i++)
        weir_buffer_append(&source, weir_rng_below(&rng, 12) == 0 ? "Ab.\n\n" : "word ", 5);
    parse_or_fail("text/plain", weir_buffer_view(&source), &document);
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error), WEIR_OK);
    check_chunks(&document, &chunking, &chunks);
    assert_in_range(chunks.count, 1000, 2000);
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
    weir_buffer_fini(&source);
}

static int
open_tokenizers(void **state)
{
    weir_model model;
    weir_error error = { 0 };

    if (weir_model_find("hash-8", NULL, &model, &error) != WEIR_OK ||
        weir_tokenizer_open(&model, &hash_tokenizer, &error) != WEIR_OK)
        return -1;
    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &model, &error) == WEIR_OK)
        return weir_tokenizer_open(&model, &real_tokenizer, &error) == WEIR_OK ? 0 : -1;
    return 0;
}

static int
close_tokenizers(void **state)
{
    weir_tokenizer_destroy(&hash_tokenizer);
    weir_tokenizer_destroy(&real_tokenizer);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_text_is_one_chunk),
        cmocka_unit_test(the_end_of_a_paragraph_is_better_than_the_end_of_a_sentence),
        cmocka_unit_test(the_end_of_a_sentence_is_better_than_the_middle),
        cmocka_unit_test(words_are_not_parted_from_their_commas),
        cmocka_unit_test(neighbours_share_the_overlap_from_a_sentence_on),
        cmocka_unit_test(a_heading_begins_a_chunk_without_overlap_and_stays_with_its_text),
        cmocka_unit_test(code_is_cut_between_lines),
        cmocka_unit_test(a_word_beyond_the_bounds_is_cut_between_characters),
        cmocka_unit_test(more_chunks_than_allowed_are_refused),
        cmocka_unit_test(text_without_tokens_is_empty),
        cmocka_unit_test(the_heading_path_is_outermost_first_and_bounded),
        cmocka_unit_test(random_documents_keep_every_promise),
        cmocka_unit_test(ordinary_text_is_not_cut_into_crumbs),
    };

    return cmocka_run_group_tests(tests, open_tokenizers, close_tokenizers);
}
