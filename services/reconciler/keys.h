/*
 * keys.h - every byte weir-reconciler puts in RocksDB beside the stage's and the links' own.  Schema 1.
 *
 * Integers are big-endian; strings hold no NUL and end with one.  Lines are in sort order.
 *
 *   key                                                        value                 written by
 *   'E' collection_no u64, document_id NUL, revision u64       EndingRecord          failed, revoke answer; its end deletes
 *   'J' collection_no u64, document_id NUL, number u64         LifecycleEvent        every event
 *   'L' tenant NUL, collection_no u64, document_id NUL, revision u64   EndingRecord  gave up, seed; its end deletes
 *   'N'                                                        u64 next number       every round with events
 *   'U' collection_no u64, document_id NUL, revision u64       epoch u64, since_ms u64, over u8   accepted, terminal
 *
 * 'U' with over = 1 marks a try that ended before its ACCEPTED came over another link; that event removes it.
 *
 * A key is built here and nowhere else; buffers are cleared first.  Threads: pure.
 */
#ifndef WEIR_RECONCILER_KEYS_H
#define WEIR_RECONCILER_KEYS_H

#include "common/base/bytes.h"

weir_bytes reconciler_key_ending(weir_buffer *key, uint64_t collection_no, const char *document_id, int64_t revision);
weir_bytes reconciler_key_event(weir_buffer *key, uint64_t collection_no, const char *document_id, uint64_t number);
weir_bytes reconciler_key_dead_letter(weir_buffer *key, const char *tenant, uint64_t collection_no,
    const char *document_id, int64_t revision);
weir_bytes reconciler_key_unfinished(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision);
weir_bytes reconciler_key_number(weir_buffer *key);
/* The start of a tenant's dead letters, of one collection if collection_no is not 0; tenant NULL: of all tenants. */
weir_bytes reconciler_key_dead_letters(weir_buffer *key, const char *tenant, uint64_t collection_no);
/* What a dead letter's key says; false when it is none.  Strings point into the key. */
typedef struct reconciler_dead_letter_id {
    const char *tenant;
    uint64_t collection_no;
    const char *document_id;
    int64_t revision;
} reconciler_dead_letter_id;
bool reconciler_parse_dead_letter(weir_bytes key, reconciler_dead_letter_id *ret_id);
/* The end of the range of keys that begin with `prefix`. */
weir_bytes reconciler_key_after(weir_buffer *key, weir_bytes prefix);

#endif
