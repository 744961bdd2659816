/* Goal: hash tokens, and one face for both kinds.  Method: examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/text/tokens.h"

static void
check_tokens(const char *text, const char *const *expected)
{
    size_t position = 0;
    weir_bytes token;

    for (size_t i = 0; expected[i] != NULL; i++) {
        assert_true(weir_hash_token_next(weir_bytes_str(text), &position, &token));
        assert_true(weir_bytes_equal(token, weir_bytes_str(expected[i])));
    }
    assert_false(weir_hash_token_next(weir_bytes_str(text), &position, &token));
}

static void
words_are_runs_of_letters_digits_and_marks(void **state)
{
    check_tokens("  Don't x2\xcc\x81_y\xe4\xb8\xad ",
        (const char *const[]){ "Don", "'", "t", "x2\xcc\x81", "_", "y\xe4\xb8\xad", NULL });
    check_tokens(" \n\xc2\xa0\t", (const char *const[]){ NULL });
    check_tokens("", (const char *const[]){ NULL });
    check_tokens("\xff.", (const char *const[]){ "\xff", ".", NULL });
}

static void
the_hash_tokenizer_counts_a_token_a_word_and_adds_none(void **state)
{
    weir_model model;
    weir_error error = { 0 };
    weir_tokenizer *tokenizer = NULL;
    size_t position = 0;
    weir_word word;

    assert_int_equal(weir_model_find("hash-64", NULL, &model, &error), WEIR_OK);
    assert_int_equal(weir_tokenizer_open(&model, &tokenizer, &error), WEIR_OK);
    assert_int_equal(weir_tokenizer_specials(tokenizer), 0);
    assert_int_equal(weir_tokenizer_count(tokenizer, weir_bytes_str("one two, three")), 4);
    assert_true(weir_tokenizer_next(tokenizer, weir_bytes_str(" ab "), &position, &word));
    assert_int_equal(word.start, 1);
    assert_int_equal(word.end, 3);
    assert_int_equal(word.token_count, 1);
    weir_tokenizer_destroy(&tokenizer);
    weir_tokenizer_destroy(&tokenizer);
}

static void
the_real_tokenizer_counts_its_special_tokens(void **state)
{
    weir_model model;
    weir_error error = { 0 };
    weir_tokenizer *tokenizer = NULL;

    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &model, &error) != WEIR_OK) {
        print_message("[  SKIPPED ] %s\n", error.message);
        skip();
    }
    assert_int_equal(weir_tokenizer_open(&model, &tokenizer, &error), WEIR_OK);
    assert_int_equal(weir_tokenizer_specials(tokenizer), 2);
    assert_int_equal(weir_tokenizer_count(tokenizer, weir_bytes_str("Hello, world!")), 6);
    weir_tokenizer_destroy(&tokenizer);
}

static void
a_model_without_its_vocabulary_is_model_unavailable(void **state)
{
    const weir_model model = { .kind = WEIR_MODEL_ONNX, .name = "x", .folder = "/does/not/exist" };
    weir_model longest = model;
    weir_tokenizer *tokenizer = NULL;
    weir_error error = { 0 };

    assert_int_equal(weir_tokenizer_open(&model, &tokenizer, &error), WEIR_MODEL_UNAVAILABLE);
    memset(longest.folder, 'x', sizeof longest.folder - 1);
    assert_int_equal(weir_tokenizer_open(&longest, &tokenizer, &error), WEIR_MODEL_UNAVAILABLE);
    assert_null(tokenizer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_runs_of_letters_digits_and_marks),
        cmocka_unit_test(the_hash_tokenizer_counts_a_token_a_word_and_adds_none),
        cmocka_unit_test(the_real_tokenizer_counts_its_special_tokens),
        cmocka_unit_test(a_model_without_its_vocabulary_is_model_unavailable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
