/*
 * keys.h - every byte weir-gateway puts in RocksDB beside the stage's and the links' own. Schema 2.
 *
 * Integers are big-endian, so byte order is numeric order; strings hold no NUL and end with one.
 * Lines are in sort order.  Pages hold what one round made, up to 256 entries, because most of what
 * a small record costs is that it is one.
 *
 *   key                                       value                written by
 *   'A'                                       AuditRecord          the audit
 *   'C' tenant NUL, collection_id NUL         CollectionRecord     create
 *   'D' collection_no u64, document_id NUL    DocumentRecord       a change of state, deleted
 *   'E' collection_no u64                     tenant NUL,          create
 *                                             collection_id NUL
 *   'F' lane u8, tenant NUL                   BacklogPosition-     dispatch
 *                                             Record
 *   'G'                                       SuiteRecord          accept, loss
 *   'I' number u64                            InconsistencyRecord  the audit, resolve
 *   'J' collection_no u64, document_id NUL,   number u64 of its    the audit, resolve
 *       revision u64, evidence u8             'I'
 *   'N' collection_no u64                     CountersRecord       whatever changes a state
 *   'P' lane u8, tenant NUL, number u64       BacklogPageRecord    accept, retry, re-drive;
 *                                                                  dispatch deletes
 *   'Q' tenant NUL, method u8, request_id     RequestRecord        each write with a request_id
 *   'R' collection_no u64, document_id NUL,   RevisionRecord       a newer revision, and whatever
 *       revision u64                                               changes the state of an older
 *   'S' collection_no u64, document_id NUL,   source bytes         accept; superseded and deleted
 *       revision u64                                               delete
 *   'V' unready_no u64                        UnreadyPageRecord    whatever changes a state
 *   'X' change_no u64                         ChangesRecord        whatever changes a state;
 *                                                                  trimming deletes
 *
 * A page is named by the number of its first entry.  The newest revision's record is in 'D', older
 * ones are in 'R'.  Schema 1 had 'B', 'U' and 'W', one record an entry, and every revision in 'R':
 * see migrate.c.
 *
 * K1 each 'D' holds its newest revision.  K2 each revision in PENDING, PROCESSING, READY or FAILED
 * that is no delete has its 'S'.  K3 each in PENDING has one entry in a 'P'.  K4 'N' counts
 * revisions by state.  K5 each 'C' has its 'E'.  K6 each in PENDING or PROCESSING has a size in the
 * 'V' of its unready_no, and nothing else has.
 *
 * A key is built here and nowhere else.  Buffers are cleared first.  Threads: pure.
 */
#ifndef WEIR_GATEWAY_KEYS_H
#define WEIR_GATEWAY_KEYS_H

#include "common/base/bytes.h"

enum { GATEWAY_LANE_NEW = 0, GATEWAY_LANE_REDRIVE = 1 };

typedef enum gateway_method { /* in 'Q' keys: never renumber */
    GATEWAY_METHOD_INGEST = 1,
    GATEWAY_METHOD_DELETE = 2,
    GATEWAY_METHOD_RETRY = 3,
    GATEWAY_METHOD_CREATE_COLLECTION = 4,
    GATEWAY_METHOD_REQUEUE = 5,
    GATEWAY_METHOD_DISCARD = 6,
    GATEWAY_METHOD_RUN_AUDIT = 7,
    GATEWAY_METHOD_RESOLVE = 8,
} gateway_method;

weir_bytes gateway_key_backlog(weir_buffer *key, uint8_t lane, const char *tenant, uint64_t number);
weir_bytes gateway_key_backlog_position(weir_buffer *key, uint8_t lane, const char *tenant);
weir_bytes gateway_key_collection(weir_buffer *key, const char *tenant, const char *collection_id);
/* The range of a tenant's collections begins with this; tenant NULL: of all. */
weir_bytes gateway_key_collections(weir_buffer *key, const char *tenant);
weir_bytes gateway_key_collection_name(weir_buffer *key, uint64_t collection_no);
weir_bytes gateway_key_document(weir_buffer *key, uint64_t collection_no, const char *document_id);
/* The range of a collection's documents begins with this. */
weir_bytes gateway_key_documents(weir_buffer *key, uint64_t collection_no);
/* Where the slow audit stands. */
weir_bytes gateway_key_audit(weir_buffer *key);
weir_bytes gateway_key_inconsistency(weir_buffer *key, uint64_t number);
weir_bytes gateway_key_inconsistency_end(weir_buffer *key);
/* The number of the inconsistency of this kind about a revision. */
weir_bytes gateway_key_found(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision, uint8_t evidence);
weir_bytes gateway_key_suite(weir_buffer *key);
weir_bytes gateway_key_counters(weir_buffer *key, uint64_t collection_no);
weir_bytes gateway_key_request(weir_buffer *key, const char *tenant, gateway_method method,
    const char *request_id);
weir_bytes gateway_key_revision(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision);
/* The range of a collection's revisions begins with this. */
weir_bytes gateway_key_revisions(weir_buffer *key, uint64_t collection_no);
weir_bytes gateway_key_source(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision);
weir_bytes gateway_key_unready(weir_buffer *key, uint64_t unready_no);
weir_bytes gateway_key_unready_end(weir_buffer *key); /* beyond them all */
weir_bytes gateway_key_change(weir_buffer *key, uint64_t change_no);
weir_bytes gateway_key_change_end(weir_buffer *key);

/* The end of a range: `prefix` with its last byte raised by one (prefixes above end in NUL or in a
 * tag). */
weir_bytes gateway_key_after(weir_buffer *key, weir_bytes prefix);
/* The document_id in a 'D' key; NULL when the key is not one. */
const char *gateway_key_document_id(weir_bytes key);

#endif
