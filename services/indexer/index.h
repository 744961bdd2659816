/*
 * index.h - the vectors of one collection in memory: exact search by inner product.
 *
 * A cache of the store that can be thrown away.  A row belongs to a try (one epoch of one revision
 * of one document) and an ordinal.  The index knows nothing of READY: its callers ask the register
 * which tries may be seen.
 *
 * Rows stand in segments of a few thousand (FAISS IndexFlatIP each), so a search holds a lock for
 * about a millisecond at a time and an add never waits longer.  Rows of a removed try are marked
 * dead; once a quarter of a full segment is dead, its survivors move to the newest segment
 * (indexer_index_clean).  A search that runs meanwhile goes on over the segments it began with; it
 * may meet a moved row twice, which is removed, and misses none.
 *
 * Threads: add, remove, clean, has and count by one writer at a time; search, gather, holds, rows
 * and stats by any thread beside it.
 */
#ifndef WEIR_INDEXER_INDEX_H
#define WEIR_INDEXER_INDEX_H

#include "common/base/bytes.h"
#include "common/base/error.h"

typedef struct indexer_index indexer_index;
typedef struct indexer_owner indexer_owner; /* a try that has rows; counted */

typedef struct indexer_try {
    const char *document_id;
    int64_t revision;
    int64_t epoch;
} indexer_try;

typedef struct indexer_hit {
    indexer_owner *owner; /* one count held */
    uint32_t ordinal;
    float score;
} indexer_hit;

/* {0} is empty.  After search or gather: best first, ties by document, ordinal, revision, epoch. */
typedef struct indexer_hits {
    indexer_hit *items;
    size_t count, capacity;
    bool is_complete; /* every row is in it; else those that are not score at most as high as the
                         last item */
} indexer_hits;

/* dimension 1..WEIR_DIMENSION_MAX; segment_bytes 0: 16 MiB of vectors a segment. */
indexer_index *indexer_index_create(uint32_t dimension, size_t segment_bytes);
/* No other call runs; hits may still be held.  Accepts NULL. */
void indexer_index_destroy(indexer_index **index_p);
uint32_t indexer_index_dimension(const indexer_index *index);

/*
 * Divide by the length, in place, unless that is 1 already.
 * WEIR_VECTOR_INVALID for NaN, infinities and zero.
 */
weir_code indexer_vector_normalise(float *vector, uint32_t dimension,
    weir_error *reterr) WEIR_MUST_CHECK;

/* Add rows; each (try, ordinal) at most once (asserted). `vectors`: count x dimension, normalised.
 * WEIR_NO_MEMORY, WEIR_INTERNAL with FAISS's words: the index may hold some of the rows; give it
 * up. */
weir_code indexer_index_add(indexer_index *index, const indexer_try *wanted,
    const uint32_t *ordinals, const float *vectors, size_t count,
    weir_error *reterr) WEIR_MUST_CHECK;
bool indexer_index_has(const indexer_index *index, const indexer_try *wanted, uint32_t ordinal);
uint32_t indexer_index_count(const indexer_index *index, const indexer_try *wanted);
/* Forget the rows of a try; one that is not there is fine. */
void indexer_index_remove(indexer_index *index, const indexer_try *wanted);
/* Do one piece of cleaning, about one segment's copy.  *ret_worked: there may be more. */
weir_code indexer_index_clean(indexer_index *index, bool *ret_worked,
    weir_error *reterr) WEIR_MUST_CHECK;

/* The `wanted_count` best rows of all, or more; all of them where fewer exist.  Replaces what hits
 * holds. `query`: normalised. */
weir_code indexer_index_search(indexer_index *index, const float *query, size_t wanted_count,
    indexer_hits *hits, weir_error *reterr) WEIR_MUST_CHECK;
/* Append every row of these tries, then sort; *ret_found: tries that were there. */
void indexer_index_gather(indexer_index *index, const float *query, const indexer_try *tries,
    size_t try_count, indexer_hits *hits, size_t *ret_found);
/* The row is there and its vector has these very bytes. */
bool indexer_index_holds(indexer_index *index, const indexer_try *wanted, uint32_t ordinal,
    const float *vector);

/* Lives as long as the hit. */
const indexer_try *indexer_owner_try(const indexer_owner *owner);
void indexer_hits_fini(indexer_hits *hits);

/* Rows of a try. */
uint32_t indexer_index_rows(indexer_index *index, const indexer_try *wanted);

typedef struct indexer_index_stats {
    uint64_t rows, dead_rows; /* alive; dead and still in a segment */
    uint32_t owners, segments;
} indexer_index_stats;
void indexer_index_stats_read(indexer_index *index, indexer_index_stats *ret_stats);

#endif
