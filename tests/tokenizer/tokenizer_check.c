/*
 * tokenizer_check - compare the WordPiece tokenizer with vectors of the reference.
 *
 * usage: tokenizer_check VOCAB VECTORS.  Prints each difference (at most ten) and a count; exits 1
 * if there is one, or if there are fewer vectors than make a proof: a file that was cut off.
 * make_vectors.py says how a line reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/tokenizer/vectors.h"

enum { STRINGS_MIN = 20000 };

int
main(int argc, char **argv)
{
    weir_wordpiece *wordpiece = NULL;
    weir_error error = { 0 };
    vectors_result result = { 0 };

    if (argc != 3) {
        (void)fprintf(stderr, "usage: tokenizer_check VOCAB VECTORS\n");
        return 2;
    }
    if (access(argv[1], R_OK) != 0 || access(argv[2], R_OK) != 0) {
        (void)printf("no model, or no vectors: tests/tokenizer/run.sh makes them\n");
        return 77;
    }
    if (weir_wordpiece_open(argv[1], &wordpiece, &error) != WEIR_OK) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    if (!vectors_compare(wordpiece, argv[2], &result)) {
        (void)fprintf(stderr, "%s cannot be read\n", argv[2]);
        return 2;
    }
    (void)printf("%zu strings, %zu tokens, %zu strings differ\n", result.strings, result.tokens,
        result.differences);
    weir_wordpiece_destroy(&wordpiece);
    if (result.strings < STRINGS_MIN)
        (void)fprintf(stderr, "%d are wanted: delete %s, tests/tokenizer/run.sh makes it anew\n",
            STRINGS_MIN, argv[2]);
    return result.differences == 0 && result.strings >= STRINGS_MIN ? 0 : 1;
}
