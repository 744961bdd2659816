/*
 * bert_chars.h - what the reference tokenizer of BERT makes of a character.  Private to text.
 */
#ifndef WEIR_TEXT_BERT_CHARS_H
#define WEIR_TEXT_BERT_CHARS_H

#include <stddef.h>
#include <stdint.h>

typedef enum weir_bert_class {
    WEIR_BERT_NOTHING = 0, /* dropped before anything else */
    WEIR_BERT_SPACE,       /* ends a word */
    WEIR_BERT_ALONE,       /* a word by itself: punctuation, Chinese characters */
    WEIR_BERT_LETTER       /* part of a word: everything else */
} weir_bert_class;

enum { WEIR_BERT_CODES_MAX = 8 };

/* Class of a character, and what is left of it after decomposition, accent stripping and lower case
 * in codes[*ret_count] (none for NOTHING, SPACE and most combining marks). */
weir_bert_class weir_bert_character(uint32_t code, uint32_t codes[WEIR_BERT_CODES_MAX],
    size_t *ret_count);

#endif
