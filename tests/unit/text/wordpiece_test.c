/* Goal: ids, offsets and limits of the tokenizer.  Method: a vocabulary of a few pieces for the
 * rules, and the reference's vectors with the real vocabulary where the model has been fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/text/models.h"
#include "tests/tokenizer/vectors.h"

static const char vocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nplay\n##ing\n##s\nun\n##able\n.\n"
    "\xe4\xb8\xad\ncafe\n##play\ne\n##xx\n\nlast\r\n";

enum {
    PAD,
    UNK,
    CLS,
    SEP,
    MASK,
    PLAY,
    ING,
    S,
    UN,
    ABLE,
    DOT,
    ZHONG,
    CAFE,
    PPLAY,
    E,
    XX,
    BLANK,
    LAST
};

static weir_wordpiece *
small(void)
{
    weir_wordpiece *wordpiece = NULL;
    weir_error error = { 0 };

    if (weir_wordpiece_create(weir_bytes_str(vocabulary), &wordpiece, &error) != WEIR_OK)
        fail_msg("%s", error.message);
    return wordpiece;
}

static void
check_ids(const char *text, const uint32_t *ids, size_t count)
{
    weir_wordpiece *wordpiece = small();
    weir_token tokens[64];
    const size_t got = weir_wordpiece_encode(wordpiece, weir_bytes_str(text), tokens, 64, NULL);

    assert_int_equal(got, count + 2);
    assert_int_equal(tokens[0].id, CLS);
    assert_int_equal(tokens[got - 1].id, SEP);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(tokens[i + 1].id, ids[i]);
    weir_wordpiece_destroy(&wordpiece);
}

#define CHECK_IDS(text_, ...)                             \
    check_ids((text_), (const uint32_t[]){ __VA_ARGS__ }, \
        sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void
the_longest_piece_wins_and_later_pieces_continue_the_word(void **state)
{
    CHECK_IDS("Plays  playing.", PLAY, S, PLAY, ING, DOT);
    CHECK_IDS("unplayable", UN, PPLAY, ABLE);
    CHECK_IDS("last", LAST);
}

static void
a_word_with_an_unmatched_end_is_wholly_unknown(void **state)
{
    CHECK_IDS("playz play", UNK, PLAY);
    CHECK_IDS("exxe", UNK);
}

static void
accents_case_and_invisible_characters_do_not_count(void **state)
{
    CHECK_IDS("CAF\xc3\x89", CAFE);  /* precomposed */
    CHECK_IDS("cafe\xcc\x81", CAFE); /* combining */
    CHECK_IDS("pl\xe2\x80\x8b"
              "ay",
        PLAY);                    /* zero-width space */
    CHECK_IDS("play\x85 ", PLAY); /* not UTF-8: U+FFFD is dropped */
}

static void
chinese_characters_and_punctuation_stand_alone(void **state)
{
    CHECK_IDS("play\xe4\xb8\xad\xe4\xb8\xad"
              "play",
        PLAY, ZHONG, ZHONG, PLAY);
    CHECK_IDS("play.play", PLAY, DOT, PLAY);
}

static void
special_tokens_in_the_text_stand_for_themselves(void **state)
{
    CHECK_IDS("play[SEP]play[MASK]", PLAY, SEP, PLAY, MASK);
    CHECK_IDS("[sep", UNK, UNK);
}

static void
a_word_of_101_characters_is_unknown_and_one_of_100_is_not(void **state)
{
    weir_wordpiece *wordpiece = small();
    weir_token tokens[128];
    char text[102];

    memset(text, 'x', sizeof text);
    text[0] = 'e'; /* and 99 or 100 times x: 49.5 or 50 pieces */
    assert_int_equal(weir_wordpiece_encode(wordpiece, weir_bytes_of(text, 99), tokens, 128, NULL),
        52);
    assert_int_equal(tokens[50].id, XX);
    assert_int_equal(weir_wordpiece_encode(wordpiece, weir_bytes_of(text, 101), tokens, 128, NULL),
        3);
    assert_int_equal(tokens[1].id, UNK);
    weir_wordpiece_destroy(&wordpiece);
}

static void
tokens_carry_the_bytes_that_they_stand_for(void **state)
{
    weir_wordpiece *wordpiece = small();
    weir_token tokens[16];
    const char *const text = " Caf\xc3\xa9 unplayable.";
    const size_t count = weir_wordpiece_encode(wordpiece, weir_bytes_str(text), tokens, 16, NULL);

    assert_int_equal(count, 7);
    assert_int_equal(tokens[1].start, 1); /* Café: 5 bytes */
    assert_int_equal(tokens[1].end, 6);
    assert_int_equal(tokens[2].start, 7); /* un */
    assert_int_equal(tokens[2].end, 9);
    assert_int_equal(tokens[4].start, 13); /* able */
    assert_int_equal(tokens[4].end, 17);
    assert_int_equal(tokens[5].start, 17);
    weir_wordpiece_destroy(&wordpiece);
}

static void
a_text_that_is_too_long_is_cut_before_its_last_token(void **state)
{
    weir_wordpiece *wordpiece = small();
    weir_token tokens[16];
    bool is_cut = false;
    const weir_bytes text = weir_bytes_str("play plays.");

    assert_int_equal(weir_wordpiece_encode(wordpiece, text, tokens, 6, &is_cut), 6);
    assert_false(is_cut);
    assert_int_equal(weir_wordpiece_encode(wordpiece, text, tokens, 4, &is_cut), 4);
    assert_true(is_cut);
    assert_int_equal(tokens[2].id, PLAY);
    assert_int_equal(tokens[3].id, SEP);
    assert_int_equal(weir_wordpiece_encode(wordpiece, text, tokens, 2, &is_cut), 2);
    assert_true(is_cut);
    weir_wordpiece_destroy(&wordpiece);
}

static void
words_hold_every_byte_that_is_not_a_space(void **state)
{
    weir_wordpiece *wordpiece = small();
    const weir_bytes text = weir_bytes_str("  \xcc\x81 play\xe2\x80\x8d.\xe2\x80\x8d ");
    static const weir_word expected[] = { { 2, 4, 0 }, { 5, 12, 1 }, { 12, 13, 1 }, { 13, 16, 0 } };
    size_t position = 0;
    weir_word word;

    for (size_t i = 0; i < 4; i++) {
        assert_true(weir_wordpiece_next(wordpiece, text, &position, &word));
        assert_int_equal(word.start, expected[i].start);
        assert_int_equal(word.end, expected[i].end);
        assert_int_equal(word.token_count, expected[i].token_count);
    }
    assert_false(weir_wordpiece_next(wordpiece, text, &position, &word));
    assert_int_equal(position, text.size);
    weir_wordpiece_destroy(&wordpiece);
}

static void
a_vocabulary_without_its_special_tokens_is_model_unavailable(void **state)
{
    weir_wordpiece *wordpiece = NULL;
    weir_error error = { 0 };

    assert_int_equal(weir_wordpiece_create(weir_bytes_str("a\nb\n"), &wordpiece, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_non_null(strstr(error.message, "[PAD]"));
    assert_int_equal(weir_wordpiece_open("/does/not/exist", &wordpiece, &error),
        WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(weir_wordpiece_open("/proc/self", &wordpiece, &error), WEIR_MODEL_UNAVAILABLE);
    assert_int_equal(weir_wordpiece_open("/dev/zero", &wordpiece, &error), WEIR_MODEL_UNAVAILABLE);
    assert_null(wordpiece);
    weir_wordpiece_destroy(&wordpiece);
    weir_wordpiece_destroy(NULL);
}

static void
the_committed_strings_of_the_reference_give_its_ids(void **state)
{
    weir_model model;
    weir_error error = { 0 };
    weir_wordpiece *wordpiece = NULL;
    vectors_result result = { 0 };
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];

    if (weir_model_find(WEIR_MODEL_DEFAULT, NULL, &model, &error) != WEIR_OK) {
        print_message("[  SKIPPED ] %s\n", error.message);
        skip();
    }
    assert_true(weir_model_file(&model, "vocab.txt", path, sizeof path));
    assert_int_equal(weir_wordpiece_open(path, &wordpiece, &error), WEIR_OK);
    assert_int_equal(weir_wordpiece_pad_id(wordpiece), 0);
    assert_true(vectors_compare(wordpiece, "tests/tokenizer/vectors.txt", &result));
    assert_int_equal(result.strings, 1998);
    assert_int_equal(result.differences, 0);
    weir_wordpiece_destroy(&wordpiece);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_piece_wins_and_later_pieces_continue_the_word),
        cmocka_unit_test(a_word_with_an_unmatched_end_is_wholly_unknown),
        cmocka_unit_test(accents_case_and_invisible_characters_do_not_count),
        cmocka_unit_test(chinese_characters_and_punctuation_stand_alone),
        cmocka_unit_test(special_tokens_in_the_text_stand_for_themselves),
        cmocka_unit_test(a_word_of_101_characters_is_unknown_and_one_of_100_is_not),
        cmocka_unit_test(tokens_carry_the_bytes_that_they_stand_for),
        cmocka_unit_test(a_text_that_is_too_long_is_cut_before_its_last_token),
        cmocka_unit_test(words_hold_every_byte_that_is_not_a_space),
        cmocka_unit_test(a_vocabulary_without_its_special_tokens_is_model_unavailable),
        cmocka_unit_test(the_committed_strings_of_the_reference_give_its_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
