/*
 * collections.h - the collections that this volume knows: whose they are, what their vectors are,
 * and their indexes.
 *
 * Filled by the core (at its start from the 'T' records, later with the first row of a collection)
 * and never emptied, so a pointer lives as long as the map.
 *
 * Threads: put and set_vectors by the core; find and each by any thread.
 */
#ifndef WEIR_INDEXER_COLLECTIONS_H
#define WEIR_INDEXER_COLLECTIONS_H

#include <pthread.h>

#include "services/indexer/index.h"

typedef struct indexer_collection {
    uint64_t collection_no;
    char *tenant;         /* "": not known; read it by indexer_collection_tenant */
    char *fingerprint;    /* NULL: no vector seen yet */
    indexer_index *index; /* NULL: no vector seen yet; read it by indexer_collection_index */
    int64_t lost_count;   /* atomic; documents with a lost_revision; see indexer_collection_lost */
    int64_t lost_ended;  /* the core's: of these, what this round ends; counted once it is synced */
    bool needs_cleaning; /* the core's: rows were removed since the last cleaning found nothing */
} indexer_collection;

typedef struct indexer_collections {
    pthread_rwlock_t lock;
    indexer_collection **items; /* by collection_no */
    size_t count;
} indexer_collections;

void indexer_collections_init(indexer_collections *collections);
void indexer_collections_fini(indexer_collections *collections);
/* NULL: not known. */
indexer_collection *indexer_collections_find(indexer_collections *collections,
    uint64_t collection_no);
/* The same for a read on behalf of a tenant: NULL for another tenant's too. */
indexer_collection *indexer_collections_find_for(indexer_collections *collections,
    uint64_t collection_no, const char *tenant);
/* "" where the record of the collection was damaged and no row has come since; then it is taken for
 * anybody's: nothing of it is READY. */
const char *indexer_collection_tenant(const indexer_collection *collection);
bool indexer_collection_is_of(const indexer_collection *collection, const char *tenant);
/* The core's: of one whose tenant is not known (asserted). */
void indexer_collection_set_tenant(indexer_collection *collection, const char *tenant);
/* The round is synced: a search that sees fewer losses from here on has a snapshot without them. */
void indexer_collections_end_losses(indexer_collections *collections);
/* Add one that is not known (asserted). */
indexer_collection *indexer_collections_put(indexer_collections *collections,
    uint64_t collection_no, const char *tenant);
/* Its first vectors say what its vectors are. */
void indexer_collection_set_vectors(indexer_collection *collection, uint32_t dimension,
    const char *fingerprint, size_t segment_bytes);
/* Documents that were READY until their chunks were found damaged, and are not back yet. */
uint64_t indexer_collection_lost(const indexer_collection *collection);
indexer_index *indexer_collection_index(const indexer_collection *collection);
/* The one with the least collection_no above `after`; NULL: none. */
indexer_collection *indexer_collections_next(indexer_collections *collections, uint64_t after);

#endif
