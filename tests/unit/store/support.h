/*
 * support.h - what the tests of the store share.
 */
#ifndef WEIR_TESTS_STORE_SUPPORT_H
#define WEIR_TESTS_STORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/store/store.h"

/* The expression gives WEIR_OK, or the test fails with the text of `error`, which must be in
 * scope. */
#define CHECK_OK(expression_)                                                               \
    do {                                                                                    \
        if ((expression_) != WEIR_OK)                                                       \
            fail_msg("%s: %s %s", #expression_, weir_code_name(error.code), error.message); \
    } while (0)
#define CHECK_CODE(expression_, code_) \
    assert_string_equal(weir_code_name(expression_), weir_code_name(code_))

/* A fresh folder under $TMPDIR or /tmp, and its removal with all that is in it. */
void scratch_make(char out[128]);
void scratch_remove(const char *path);

/* A store of the kind named "mem" or "rocksdb", in `path` when it needs one. */
weir_store *open_kind(const char *kind, const char *path);
weir_store_options default_options(const char *path);

/* Commit one put or delete; fail the test when it fails. */
void put_now(weir_store *store, const char *key, const char *value, bool sync);
void delete_now(weir_store *store, const char *key, bool sync);

/* The value as text, or NULL; from the snapshot when it is not NULL.  Valid until the next call. */
const char *text_at(weir_store *store, const weir_snapshot *snapshot, const char *key);
const char *batch_text_at(weir_batch *batch, const char *key);

/* "a=1 b=2 " of what is left of the iterator, which is destroyed. */
const char *listed(weir_iter *iter);
const char *listed_back(weir_iter *iter);

#endif
