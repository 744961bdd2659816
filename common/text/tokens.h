/*
 * tokens.h - counting tokens as a model counts them, word by word, so that a text can be cut.
 *
 * Two kinds: WordPiece (wordpiece.h), and hash tokens for hash-D models: a maximal run of letters,
 * digits and combining marks, lower-cased, is one token; every other character that is not a space
 * is one token.  A tokenizer never changes after it is made: any number of threads may use it.
 */
#ifndef WEIR_TEXT_TOKENS_H
#define WEIR_TEXT_TOKENS_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/text/models.h"

typedef struct weir_tokenizer weir_tokenizer;

/*
 * A stretch of text that is tokenized independently of its neighbours.  Words do not overlap, and
 * every byte that is not a space belongs to one; characters that the model ignores may make a word
 * of 0 tokens.
 */
typedef struct weir_word {
    size_t start;
    size_t end;
    uint32_t token_count;
} weir_word;

/* The tokenizer of a model.  MODEL_UNAVAILABLE: its vocabulary is missing or wrong. */
weir_code weir_tokenizer_open(const weir_model *model, weir_tokenizer **ret_tokenizer,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_tokenizer_destroy(weir_tokenizer **tokenizer_p);

/* Tokens that the model adds to every text (2 for WordPiece, 0 for hash). */
uint32_t weir_tokenizer_specials(const weir_tokenizer *tokenizer);
/* The word at or after *position, which moves to its end; false: none is left. */
bool weir_tokenizer_next(const weir_tokenizer *tokenizer, weir_bytes text, size_t *position,
    weir_word *ret_word);
/* Tokens of the whole text, special ones included. */
uint64_t weir_tokenizer_count(const weir_tokenizer *tokenizer, weir_bytes text);

/* The next hash token at or after *position: its bytes; false: none is left. */
bool weir_hash_token_next(weir_bytes text, size_t *position, weir_bytes *ret_token);

#endif
