/*
 * flat.h - one segment of an index: a FAISS IndexFlatIP, and whose row is whose.  The only door to
 * FAISS.
 *
 * A segment is counted; a search holds a count while it scans, so that a segment taken out of its
 * index lives until the last scan is over.  Live rows hold a count of their owner.
 *
 * Threads: add and kill by one writer; the rest by any thread beside it (a lock inside, held for
 * one scan at most).
 */
#ifndef WEIR_INDEXER_FLAT_H
#define WEIR_INDEXER_FLAT_H

#include "services/indexer/index.h"

typedef struct indexer_segment indexer_segment;

/* Where a row stands. */
typedef struct indexer_place {
    uint32_t slot; /* segment of the index */
    uint32_t row;
} indexer_place;

struct indexer_owner {
    indexer_try key;      /* document_id points at `text` */
    uint32_t references;  /* atomic */
    uint32_t count;       /* rows; the writer's */
    uint32_t place_count; /* greatest ordinal + 1 */
    uint32_t place_capacity;
    indexer_place *places; /* by ordinal; under the lock of the index */
    indexer_owner *next;   /* in its bucket */
    char text[];
};

void indexer_owner_ref(indexer_owner *owner);
void indexer_owner_unref(indexer_owner *owner);

/* Room for rows_max rows; one reference.  WEIR_NO_MEMORY, WEIR_INTERNAL. */
weir_code indexer_segment_create(uint32_t dimension, uint32_t rows_max,
    indexer_segment **ret_segment, weir_error *reterr) WEIR_MUST_CHECK;
void indexer_segment_ref(indexer_segment *segment);
void indexer_segment_unref(indexer_segment *segment);

/* Append rows (count <= room); *ret_first is the number of the first of them. */
weir_code indexer_segment_add(indexer_segment *segment, indexer_owner *const *owners,
    const uint32_t *ordinals, const float *vectors, uint32_t count, uint32_t *ret_first,
    weir_error *reterr) WEIR_MUST_CHECK;
void indexer_segment_kill(indexer_segment *segment, uint32_t row);

/* Rows, dead ones included, and dead rows; the writer's view. */
uint32_t indexer_segment_rows(const indexer_segment *segment);
uint32_t indexer_segment_dead(const indexer_segment *segment);
uint32_t indexer_segment_room(const indexer_segment *segment);
/* Owner of a row, NULL if it is dead, its ordinal and its vector; the writer's view. */
indexer_owner *indexer_segment_row(const indexer_segment *segment, uint32_t row,
    uint32_t *ret_ordinal, const float **ret_vector);

/* Append the best `wanted_count` live rows to hits, unsorted; *ret_all: these are all of its rows.
 */
weir_code indexer_segment_search(indexer_segment *segment, const float *query, size_t wanted_count,
    indexer_hits *hits, bool *ret_all, weir_error *reterr) WEIR_MUST_CHECK;
/* Between read_begin and read_end: the vector of a row. */
void indexer_segment_read_begin(indexer_segment *segment);
const float *indexer_segment_vector(const indexer_segment *segment, uint32_t row);
void indexer_segment_read_end(indexer_segment *segment);

/* Takes over one count of owner. */
void indexer_hits_push(indexer_hits *hits, indexer_owner *owner, uint32_t ordinal, float score);

#endif
