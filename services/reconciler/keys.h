/*
 * keys.h - every byte weir-reconciler puts in RocksDB beside the stage's and the links' own.
 * Schema 2 (1 had neither 'T' nor 'I').
 *
 * Integers are big-endian; strings hold no NUL and end with one.  Lines are in sort order.
 *
 *   key                                                    value            written by
 *   'E' collection_no u64, document_id NUL, revision u64   EndingRecord     failed; its end deletes
 *   'I'                                                    1 u8             start: 'T' is whole
 *   'J' collection_no u64, document_id NUL, number u64     LifecycleEvent   every event
 *   'L' tenant NUL, collection_no u64, document_id NUL, revision u64
 *                                                          EndingRecord     gave up, seed; its end
 *                                                                           deletes
 *   'N'                                                    next number u64  a round with events
 *   'S'                                                    seeded era u64, swept era u64
 *                                                                           the last seed, its
 *                                                                           sweep
 *   'T' tenant NUL, ~failed_ms u64, collection_no u64, document_id NUL, revision u64
 *                                                          nothing          with each 'L'
 *   'U' collection_no u64, document_id NUL, revision u64   epoch u64, since_ms u64, era u64,
 *                                                          reported_ms u64, over u8
 *                                                                           accepted, its end
 *
 * 'U' with over = 1: the revision was READY before its ACCEPTED came over another link.
 * 'T' lists dead letters by time, the newest failure first.
 *
 * A key is built here and nowhere else; buffers are cleared first.  Threads: pure.
 */
#ifndef WEIR_RECONCILER_KEYS_H
#define WEIR_RECONCILER_KEYS_H

#include "common/base/bytes.h"

weir_bytes reconciler_key_ending(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision);
weir_bytes reconciler_key_event(weir_buffer *key, uint64_t collection_no, const char *document_id,
    uint64_t number);
weir_bytes reconciler_key_dead_letter(weir_buffer *key, const char *tenant, uint64_t collection_no,
    const char *document_id, int64_t revision);
weir_bytes reconciler_key_unfinished(weir_buffer *key, uint64_t collection_no,
    const char *document_id, int64_t revision);
/* Where a dead letter stands in the order of time. */
weir_bytes reconciler_key_order(weir_buffer *key, const char *tenant, int64_t failed_ms,
    uint64_t collection_no, const char *document_id, int64_t revision);
/* The start of a tenant's dead letters in the order of time. */
weir_bytes reconciler_key_orders(weir_buffer *key, const char *tenant);
weir_bytes reconciler_key_order_is_whole(weir_buffer *key);
weir_bytes reconciler_key_number(weir_buffer *key);
weir_bytes reconciler_key_seeds(weir_buffer *key);
/* The start of a tenant's dead letters, of one collection if collection_no is not 0; tenant NULL:
 * of all tenants. */
weir_bytes reconciler_key_dead_letters(weir_buffer *key, const char *tenant,
    uint64_t collection_no);

/* What a key says; false when it is none of that kind.  Strings point into the key. */
typedef struct reconciler_id {
    const char *tenant; /* of dead letters; else NULL */
    uint64_t collection_no;
    const char *document_id;
    int64_t revision;
} reconciler_id;
bool reconciler_parse_dead_letter(weir_bytes key, reconciler_id *ret_id);
bool reconciler_parse_order(weir_bytes key, reconciler_id *ret_id);
/* tag: 'E' or 'U'. */
bool reconciler_parse_revision(weir_bytes key, char tag, reconciler_id *ret_id);

/* The end of the range of keys that begin with `prefix`. */
weir_bytes reconciler_key_after(weir_buffer *key, weir_bytes prefix);

#endif
