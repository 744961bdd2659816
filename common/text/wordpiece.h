/*
 * wordpiece.h - the tokenizer of uncased BERT models: text to vocabulary ids.
 *
 * Equal to the reference implementation (Hugging Face tokenizers, BertNormalizer with lower-casing
 * and accent stripping, BertPreTokenizer, WordPiece) id by id: tests/tokenizer makes the proof.
 * A loaded vocabulary never changes: any number of threads may use it at once.
 */
#ifndef WEIR_TEXT_WORDPIECE_H
#define WEIR_TEXT_WORDPIECE_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/text/tokens.h"

typedef struct weir_wordpiece weir_wordpiece;

/* A token and the bytes of the input that it stands for; [CLS] and [SEP] stand for none. */
typedef struct weir_token {
    uint32_t id;
    size_t start;
    size_t end;
} weir_token;

/* Special tokens that every encoded text has: [CLS] first, [SEP] last. */
enum { WEIR_WORDPIECE_SPECIALS = 2 };

/* Load vocab.txt: one piece a line, its line number is its id.  MODEL_UNAVAILABLE: the file cannot
 * be read, is larger than 16 MiB, or lacks [PAD], [UNK], [CLS] or [SEP]. */
weir_code weir_wordpiece_open(const char *path, weir_wordpiece **ret_wordpiece,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The same from memory; `vocabulary` is copied. */
weir_code weir_wordpiece_create(weir_bytes vocabulary, weir_wordpiece **ret_wordpiece,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_wordpiece_destroy(weir_wordpiece **wordpiece_p);

/*
 * Write the tokens of text to out, [CLS] and [SEP] included, at most `max` (>= 2): what does not
 * fit is cut off before [SEP].  Returns how many were written; *ret_cut (may be NULL) says whether
 * something was cut off.
 */
size_t weir_wordpiece_encode(const weir_wordpiece *wordpiece, weir_bytes text, weir_token *out,
    size_t max, bool *ret_cut);

/* As weir_tokenizer_next: one word at a time, without [CLS] and [SEP]. */
bool weir_wordpiece_next(const weir_wordpiece *wordpiece, weir_bytes text, size_t *position,
    weir_word *ret_word);

uint32_t weir_wordpiece_pad_id(const weir_wordpiece *wordpiece);

#endif
