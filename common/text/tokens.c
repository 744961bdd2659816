/*
 * tokens.c - one face for both ways of counting, and the hash tokens themselves.
 */
#include "common/text/tokens.h"

#include "common/base/assert.h"
#include "common/text/unicode.h"
#include "common/text/wordpiece.h"

struct weir_tokenizer {
    weir_wordpiece *wordpiece; /* NULL: hash tokens */
};

weir_code
weir_tokenizer_open(const weir_model *model, weir_tokenizer **ret_tokenizer, weir_error *reterr)
{
    char path[WEIR_MODEL_PATH_BYTES_MAX + 16];
    weir_wordpiece *wordpiece = NULL;

    if (model->kind == WEIR_MODEL_ONNX) {
        if (!weir_model_file(model, "vocab.txt", path, sizeof path))
            return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "the path of %s is too long",
                model->name);
        const weir_code code = weir_wordpiece_open(path, &wordpiece, reterr);

        if (code != WEIR_OK)
            return code;
    }
    *ret_tokenizer = weir_alloc_zero(1, sizeof **ret_tokenizer);
    (*ret_tokenizer)->wordpiece = wordpiece;
    return WEIR_OK;
}

void
weir_tokenizer_destroy(weir_tokenizer **tokenizer_p)
{
    if (tokenizer_p == NULL || *tokenizer_p == NULL)
        return;
    weir_wordpiece_destroy(&(*tokenizer_p)->wordpiece);
    weir_free(*tokenizer_p);
    *tokenizer_p = NULL;
}

uint32_t
weir_tokenizer_specials(const weir_tokenizer *tokenizer)
{
    return tokenizer->wordpiece == NULL ? 0 : WEIR_WORDPIECE_SPECIALS;
}

static bool
is_word_character(uint32_t code)
{
    return weir_char_is_letter_or_digit(code) || weir_char_is_mark(code);
}

/* Where the run of word characters that begins at `at` ends. */
static size_t
run_end(weir_bytes text, size_t at)
{
    while (at < text.size) {
        size_t size = 0;

        if (!is_word_character(weir_utf8_decode(text.data + at, text.size - at, &size)))
            break;
        at += size;
    }
    return at;
}

bool
weir_hash_token_next(weir_bytes text, size_t *position, weir_bytes *ret_token)
{
    while (*position < text.size) {
        const size_t at = *position;
        size_t size = 0;
        const uint32_t code = weir_utf8_decode(text.data + at, text.size - at, &size);

        *position = is_word_character(code) ? run_end(text, at) : at + size;
        if (weir_char_is_space(code))
            continue;
        *ret_token = weir_bytes_of(text.data + at, *position - at);
        return true;
    }
    return false;
}

bool
weir_tokenizer_next(const weir_tokenizer *tokenizer, weir_bytes text, size_t *position,
    weir_word *ret_word)
{
    weir_bytes token;

    if (tokenizer->wordpiece != NULL)
        return weir_wordpiece_next(tokenizer->wordpiece, text, position, ret_word);
    if (!weir_hash_token_next(text, position, &token))
        return false;
    ret_word->start = (size_t)(token.data - text.data);
    ret_word->end = ret_word->start + token.size;
    ret_word->token_count = 1;
    return true;
}

uint64_t
weir_tokenizer_count(const weir_tokenizer *tokenizer, weir_bytes text)
{
    uint64_t count = weir_tokenizer_specials(tokenizer);
    size_t position = 0;
    weir_word word;

    while (weir_tokenizer_next(tokenizer, text, &position, &word))
        count += word.token_count;
    return count;
}
