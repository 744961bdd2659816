/*
 * support.h - what the tests of the indexer share: vectors that everybody can make again.
 */
#ifndef WEIR_TESTS_INDEXER_SUPPORT_H
#define WEIR_TESTS_INDEXER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/random.h"

/* The expression gives WEIR_OK, or the test fails with the text of `error`, which must be in
 * scope. */
#define CHECK_OK(expression_)                                                               \
    do {                                                                                    \
        if ((expression_) != WEIR_OK)                                                       \
            fail_msg("%s: %s %s", #expression_, weir_code_name(error.code), error.message); \
    } while (0)
#define CHECK_CODE(expression_, code_) \
    assert_string_equal(weir_code_name(expression_), weir_code_name(code_))

/* A unit vector that depends on the name alone. */
void named_vector(const char *name, float *out, uint32_t dimension);
/* The same for a number. */
void seeded_vector(uint64_t seed, float *out, uint32_t dimension);

#endif
