/*
 * merge.h - an iterator over committed state and a batch's own writes together (inside common/store
 * only).
 */
#ifndef WEIR_STORE_MERGE_H
#define WEIR_STORE_MERGE_H

#include "common/store/ops.h"
#include "common/store/writes.h"

/* `committed` is an iterator over the same range that store.c does not know; it is taken over.
 * `writes` is borrowed and must not change while the iterator lives. */
weir_iter *store_merge_create(weir_iter *committed, store_writes *writes, weir_bytes lower,
    weir_bytes upper);

#endif
