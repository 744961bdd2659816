/* Goal: the Debian manuals come out as text that a reader knows.  Method: parse and cut every page
 * of them that is installed here. */
#include <ftw.h>
#include <stdlib.h>

#include "tests/unit/parse/chunk_support.h"

static weir_tokenizer *tokenizer;
static size_t pages;
static size_t words_found;

static bool
contains(const ingest_document *document, const char *words)
{
    return memmem(document->text.data, document->text.size, words, strlen(words)) != NULL;
}

/* Without the pilcrow of the links that Sphinx puts behind them. */
static void
check_headings(const ingest_document *document)
{
    for (size_t i = 0; i < document->heading_count; i++) {
        const ingest_heading *const heading = &document->headings[i];

        assert_null(memmem(document->text.data + heading->start, heading->end - heading->start,
            "\xC2\xB6", 2));
    }
}

static weir_buffer
read_file(const char *path)
{
    FILE *const file = fopen(path, "re");
    weir_buffer out = { 0 };

    assert_non_null(file);
    for (size_t got = 1; got > 0;) {
        weir_buffer_reserve(&out, 64 << 10);
        got = fread(out.data + out.size, 1, out.capacity - out.size, file);
        out.size += got;
    }
    (void)fclose(file);
    return out;
}

static int
check_page(const char *path, const struct stat *found, int type, struct FTW *where)
{
    const ingest_chunking chunking = { .tokenizer = tokenizer,
        .max_tokens = 256,
        .overlap_tokens = 32 };
    const char *const dot = strrchr(path, '.');
    ingest_document document = { 0 };
    ingest_chunks chunks = { 0 };
    weir_error error = { 0 };

    if (type != FTW_F || dot == NULL || strcmp(dot, ".html") != 0)
        return 0;
    weir_buffer source = read_file(path);

    if (ingest_parse(NULL, path, weir_buffer_view(&source), &document, &error) != WEIR_OK)
        fail_msg("%s: %s", path, error.message);
    check_document(&document);
    assert_int_equal(document.media, INGEST_MEDIA_HTML);
    assert_true(document.title[0] != '\0');
    check_headings(&document);
    assert_false(contains(&document, "function("));
    words_found += contains(&document, "orphan");
    assert_int_equal(ingest_chunk_document(&document, &chunking, &chunks, &error), WEIR_OK);
    check_chunks(&document, &chunking, &chunks);
    pages++;
    ingest_chunks_fini(&chunks);
    ingest_document_fini(&document);
    weir_buffer_fini(&source);
    return 0;
}

static void
every_page_of_the_manuals_is_read_and_cut(void **state)
{
    static const char *const folders[] = { "/usr/share/doc/debian-policy",
        "/usr/share/doc/debian/FAQ", "/usr/share/doc/debian-reference-common",
        "/usr/share/developers-reference" };
    weir_model model;
    weir_error error = { 0 };

    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &model, &error) != WEIR_OK)
        assert_int_equal(weir_model_find(WEIR_MODEL_FALLBACK, NULL, &model, &error), WEIR_OK);
    assert_int_equal(weir_tokenizer_open(&model, &tokenizer, &error), WEIR_OK);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        (void)nftw(folders[i], check_page, 16, FTW_PHYS);
    weir_tokenizer_destroy(&tokenizer);
    if (pages == 0) {
        print_message("[  SKIPPED ] no Debian manual is installed here\n");
        skip();
    }
    print_message("%zu pages\n", pages);
    assert_true(words_found > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_of_the_manuals_is_read_and_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
