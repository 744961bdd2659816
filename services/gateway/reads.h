/*
 * reads.h - one consistent look into the gateway's store, beside the core.
 *
 * A look begins after the round whose answer the caller has seen, so it finds every acknowledged
 * write.  Records live in the arena.  Threads: a look belongs to one; any number at once.
 */
#ifndef WEIR_GATEWAY_READS_H
#define WEIR_GATEWAY_READS_H

#include "common/store/store.h"
#include "services/gateway/views.h"

typedef struct gateway_look {
    weir_store *store;
    weir_snapshot *snapshot;
    weir_arena *arena;
    weir_buffer key, end, value; /* scratch */
} gateway_look;

void gateway_look_begin(gateway_look *look, weir_store *store, weir_arena *arena);
void gateway_look_end(gateway_look *look);

/* COLLECTION_NOT_FOUND with the field "collection_id". */
weir_code gateway_look_collection(gateway_look *look, const char *tenant, const char *collection_id,
    collection_record **ret_collection, weir_error *reterr) WEIR_MUST_CHECK;
/* *ret NULL: absent. */
weir_code gateway_look_document(gateway_look *look, uint64_t collection_no, const char *document_id,
    document_record **ret_document, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_look_revision(gateway_look *look, uint64_t collection_no, const char *document_id,
    int64_t revision, revision_record **ret_revision, weir_error *reterr) WEIR_MUST_CHECK;
/* The same, by a document that was looked up already. */
weir_code gateway_look_revision_of(gateway_look *look, uint64_t collection_no,
    const char *document_id, const document_record *document, int64_t revision,
    revision_record **ret_revision, weir_error *reterr) WEIR_MUST_CHECK;
/* No entry of the lane with a lower number waits; 0: not known, all do. */
weir_code gateway_look_backlog_position(gateway_look *look, uint8_t lane, const char *tenant,
    uint64_t *ret_next_no, weir_error *reterr) WEIR_MUST_CHECK;
/* Zeros when absent. */
weir_code gateway_look_counters(gateway_look *look, uint64_t collection_no,
    counters_record *ret_counters, weir_error *reterr) WEIR_MUST_CHECK;
/* A record of `descriptor` from bytes of the store; WEIR_CORRUPT. */
weir_code gateway_look_decode(gateway_look *look, const ProtobufCMessageDescriptor *descriptor,
    weir_bytes bytes, void *ret_message, weir_error *reterr) WEIR_MUST_CHECK;

/* A document with one of its revisions. */
typedef struct gateway_found {
    collection_record *collection;
    document_record *document;
    revision_record *revision;
    const char *document_id;
    int64_t number;
} gateway_found;
/* revision 0: the newest.  COLLECTION_NOT_FOUND, DOCUMENT_NOT_FOUND. */
weir_code gateway_look_find(gateway_look *look, const char *tenant, const char *collection_id,
    const char *document_id, int64_t revision, gateway_found *ret_found,
    weir_error *reterr) WEIR_MUST_CHECK;
Weir__V1__Document *gateway_found_view(weir_arena *arena, const gateway_found *found);

#endif
