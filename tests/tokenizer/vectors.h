/*
 * vectors.h - read test vectors of the reference tokenizer and compare (tests only).
 */
#ifndef WEIR_TESTS_TOKENIZER_VECTORS_H
#define WEIR_TESTS_TOKENIZER_VECTORS_H

#include "common/text/wordpiece.h"

typedef struct vectors_result {
    size_t strings;
    size_t tokens;
    size_t differences;
} vectors_result;

/* False: the file cannot be read, or a line is not a vector.  Differences go to standard error. */
bool vectors_compare(const weir_wordpiece *wordpiece, const char *path, vectors_result *ret_result);

#endif
