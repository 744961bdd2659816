/* Goal: hash vectors are deterministic, of length 1, and alike for like texts.  Method: examples,
 * random texts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/random.h"
#include "services/embedder/embed.h"

enum { DIMENSION = 384 };

static embedder_model *
open_hash(const char *name)
{
    embedder_model *model = NULL;
    weir_model facts;
    weir_error error = { 0 };

    assert_int_equal(weir_model_find(name, NULL, &facts, &error), WEIR_OK);
    assert_int_equal(embedder_model_open(&facts, &model, &error), WEIR_OK);
    assert_string_equal(embedder_model_facts(model)->name, name);
    return model;
}

static void
embed_one(const embedder_model *model, const char *text, float *out)
{
    const weir_bytes bytes = weir_bytes_str(text);
    weir_error error = { 0 };

    assert_int_equal(embedder_model_embed(model, &bytes, 1, out, NULL, &error), WEIR_OK);
}

static double
dot(const float *left, const float *right, size_t size)
{
    double sum = 0.0;

    for (size_t i = 0; i < size; i++)
        sum += (double)left[i] * (double)right[i];
    return sum;
}

static void
the_same_words_give_the_same_vector_whatever_their_case(void **state)
{
    embedder_model *model = open_hash("hash-384");
    float a[DIMENSION];
    float b[DIMENSION];

    embed_one(model, "The quick brown fox", a);
    embed_one(model, "the  QUICK, brown fox!", b);
    assert_memory_equal(a, b, sizeof a);
    embedder_model_close(&model);
}

static void
texts_that_share_words_are_nearer_than_texts_that_do_not(void **state)
{
    embedder_model *model = open_hash("hash-384");
    float a[DIMENSION];
    float b[DIMENSION];
    float c[DIMENSION];

    embed_one(model, "how to orphan a package in the archive", a);
    embed_one(model, "orphan a package", b);
    embed_one(model, "cheese and wine from the south", c);
    assert_true(dot(a, b, DIMENSION) > 0.5);
    assert_true(dot(a, c, DIMENSION) < 0.3);
    embedder_model_close(&model);
}

/* "hash-v1" promises these bits: stored vectors are compared with new ones. */
static void
version_one_never_changes(void **state)
{
    embedder_model *model = open_hash("hash-8");
    float vector[8];
    int32_t rounded[8];

    embed_one(model, "A document is searchable if and only if it is READY.", vector);
    for (size_t i = 0; i < 8; i++)
        rounded[i] = (int32_t)lrintf(vector[i] * 10000.0F);
    const int32_t expected[8] = { -5213, 3128, 1043, 6255, 4170, -1043, -2085, 0 };

    assert_memory_equal(rounded, expected, sizeof expected);
    embedder_model_close(&model);
}

static void
no_text_has_a_zero_vector(void **state)
{
    static const char *const texts[] = { " ", "\n\t", "!", "...", "\xe2\x80\x8d", "a",
        "\xe4\xb8\xad" };
    weir_rng rng = { .state = 3 };
    embedder_model *model = open_hash("hash-8");
    float vector[8];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        embed_one(model, texts[i], vector);
        assert_true(fabs(dot(vector, vector, 8) - 1.0) < 1e-5);
    }
    for (int round = 0; round < 20000; round++) {
        char text[5] = { 0 };

        for (size_t i = 0; i < 4; i++)
            text[i] = (char)(' ' + weir_rng_below(&rng, 95));
        embed_one(model, text, vector);
        assert_true(fabs(dot(vector, vector, 8) - 1.0) < 1e-5);
    }
    embedder_model_close(&model);
}

static void
a_long_text_counts_at_most_max_tokens(void **state)
{
    embedder_model *model = open_hash("hash-64");
    char text[2001];
    const weir_bytes bytes = weir_bytes_of(text, 2000);
    float vector[64];
    uint32_t count = 0;
    weir_error error = { 0 };

    for (size_t i = 0; i < 2000; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    assert_int_equal(embedder_model_embed(model, &bytes, 1, vector, &count, &error), WEIR_OK);
    assert_int_equal(count, 256);
    embedder_model_close(&model);
}

static void
empty_and_broken_texts_are_invalid(void **state)
{
    embedder_model *model = open_hash("hash-8");
    const weir_bytes texts[2] = { weir_bytes_str("good"), weir_bytes_str("") };
    const weir_bytes broken = weir_bytes_str("\xff");
    float vectors[16];
    weir_error error = { 0 };

    assert_int_equal(embedder_model_embed(model, texts, 2, vectors, NULL, &error),
        WEIR_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "text 1"));
    assert_int_equal(embedder_model_embed(model, &broken, 1, vectors, NULL, &error),
        WEIR_INVALID_ARGUMENT);
    embedder_model_close(&model);
    embedder_model_close(&model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_words_give_the_same_vector_whatever_their_case),
        cmocka_unit_test(texts_that_share_words_are_nearer_than_texts_that_do_not),
        cmocka_unit_test(version_one_never_changes),
        cmocka_unit_test(no_text_has_a_zero_vector),
        cmocka_unit_test(a_long_text_counts_at_most_max_tokens),
        cmocka_unit_test(empty_and_broken_texts_are_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
