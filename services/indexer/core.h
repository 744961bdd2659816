/*
 * core.h - the indexer without sockets: the register of what is visible, its core for a stage, and
 * its reads.
 *
 * The core stages vectors as rows arrive and adds them to the index at once, still invisible.  One
 * synced round makes an epoch READY and retires what it replaces; that round is the moment of
 * becoming searchable.  A read takes a snapshot of the store first and asks the index then, and
 * keeps only what is READY in that snapshot, so what it answers was true at one instant.  Whatever
 * the snapshot needs stays in the index until the read is over.
 *
 * Threads: the core's handlers on the stage's thread; all reads, and the functions about the gate,
 * on any thread at any time between create and destroy.
 */
#ifndef WEIR_INDEXER_CORE_H
#define WEIR_INDEXER_CORE_H

#include "common/stage/stage.h"
#include "weir/internal/v1/record.pb-c.h"
#include "weir/internal/v1/service.pb-c.h"

typedef struct indexer_core indexer_core;

typedef struct indexer_options {
    size_t segment_bytes;     /* vectors of one segment of an index; 0: 16 MiB */
    uint32_t clear_keys_max;  /* keys of retired chunks deleted in one round; 0: 2,048 */
    uint32_t decide_rows_max; /* decisions caught up in one round once the gate opens; 0: 1,024 */
    void (*gate_opened)(void *ud); /* once a start, on the core's thread; may be NULL */
    void *ud;
} indexer_options;

/* The store outlives the core and is the one that its stage runs on.  options NULL: all defaults.
 */
indexer_core *indexer_core_create(weir_store *store, const indexer_options *options);
/* No read runs and the stage is gone.  Accepts NULL. */
void indexer_core_destroy(indexer_core **core_p);

/* For weir_stage_options.ops, with the core as `core`. */
extern const weir_core_ops indexer_core_ops;

/* The gateway has found this start clean: READY is decided, revokes and searches are answered. */
bool indexer_gate_is_open(const indexer_core *core);
/* Era for which this volume was seeded; 0: never. */
uint64_t indexer_seeded_era(const indexer_core *core);

typedef struct indexer_stats {
    uint64_t vectors, dead_vectors; /* in the indexes: alive; dead and not cleaned away yet */
    uint64_t segments, collections;
    uint64_t lost_documents; /* READY until their chunks were found damaged, and not back yet */
} indexer_stats;
void indexer_stats_read(indexer_core *core, indexer_stats *ret_stats);

/*
 * Nearest chunks of READY documents, best first, ties by document and ordinal.  Everything the
 * response points at lives in `arena`.  A collection that is not known, or is another tenant's, has
 * no hits.  Among equal scores at the end of the list the choice is the first by document and
 * ordinal as long as at most 8,192 rows share the score.
 *
 * WEIR_INDEX_REBUILDING    the gate is closed (retry after 1,000 ms), unless allow_partial.
 * WEIR_INVALID_ARGUMENT    top_k not in 1..1000, neighbor_chunks above 5.
 * WEIR_DIMENSION_MISMATCH, WEIR_VECTOR_INVALID (not finite, or zero), WEIR_RESPONSE_TOO_LARGE
 * (above 4 MiB) WEIR_CORRUPT, WEIR_STORE_IO
 */
weir_code indexer_search(indexer_core *core,
    const Weir__Internal__V1__SearchVectorsRequest *request,
    Weir__Internal__V1__SearchVectorsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* What the register says of a document; all zero for one that it does not know or that is another
 * tenant's. */
weir_code indexer_get_document(indexer_core *core,
    const Weir__Internal__V1__GetIndexedDocumentRequest *request,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Chunks of the READY revision from from_ordinal on: at most `limit`, and fewer when they would
 * pass 3 MiB (the caller goes on after the last ordinal until chunk_count is reached).
 * WEIR_DOCUMENT_NOT_FOUND  the revision asked for (0: any) is not the READY one.
 * WEIR_INVALID_ARGUMENT    limit not in 1..1000. */
weir_code indexer_list_chunks(indexer_core *core,
    const Weir__Internal__V1__ListIndexedChunksRequest *request,
    Weir__Internal__V1__ListIndexedChunksResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Compare register, stored chunks, stored vectors and index in one snapshot. */
weir_code indexer_verify(indexer_core *core, const Weir__Internal__V1__VerifyIndexRequest *request,
    Weir__Internal__V1__VerifyIndexResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* What is stored and indexed of up to 200 documents of any tenant, from one snapshot; era is the
 * caller's to fill in.  WEIR_INVALID_ARGUMENT. */
weir_code indexer_audit_documents(indexer_core *core,
    const Weir__Internal__V1__AuditDocumentsRequest *request,
    Weir__Internal__V1__AuditDocumentsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

/* A page of all documents: by register, then those that have chunks and none.
 * WEIR_INVALID_ARGUMENT. */
weir_code indexer_list_documents(indexer_core *core,
    const Weir__Internal__V1__ListIndexedDocumentsRequest *request,
    Weir__Internal__V1__ListIndexedDocumentsResponse *response, weir_arena *arena,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
