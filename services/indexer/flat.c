/*
 * flat.c - segments over FAISS's C interface (see flat.h).
 *
 * FAISS checks no lengths, moves its memory while a search runs and answers bad input by an abort:
 * so lengths are asserted here, a lock stands between add and search, and only finite vectors come
 * this far.
 */
#include "services/indexer/flat.h"

#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <pthread.h>

#include "common/base/assert.h"
#include "services/indexer/kernel.h"

struct indexer_segment {
    uint32_t references; /* atomic */
    uint32_t dimension;
    uint32_t rows_max;
    pthread_rwlock_t lock; /* everything below */
    uint32_t rows, dead, capacity;
    FaissIndexFlatIP *flat;
    indexer_owner **owners; /* by row; NULL: dead */
    uint32_t *ordinals;     /* by row */
    uint8_t *alive;         /* by row, a bit */
};

/* Weak, so that neither library is asked for by name: FAISS brings OpenMP, and any BLAS will do. */
extern void omp_set_num_threads(int count) __attribute__((weak));
extern void openblas_set_num_threads(int count) __attribute__((weak));

/* Once in each thread that searches: a search is one thread's work, and OpenMP and BLAS would start
 * more. */
static void
stay_in_this_thread(void)
{
    static _Thread_local bool is_done;

    if (is_done)
        return;
    is_done = true;
    if (omp_set_num_threads != NULL)
        omp_set_num_threads(1);
    if (openblas_set_num_threads != NULL)
        openblas_set_num_threads(1);
}

/* FAISS keeps its words per thread until the next call. */
static weir_code
faiss_failure(const char *what, weir_error *reterr)
{
    const char *words = faiss_get_last_error();

    return weir_error_set(reterr, WEIR_INTERNAL, "FAISS could not %s: %s", what,
        words != NULL ? words : "no reason");
}

/* ---- owners ---- */

void
indexer_owner_ref(indexer_owner *owner)
{
    __atomic_fetch_add(&owner->references, 1, __ATOMIC_RELAXED);
}

void
indexer_owner_unref(indexer_owner *owner)
{
    if (__atomic_sub_fetch(&owner->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    weir_free(owner->places);
    weir_free(owner);
}

/* ---- segments ---- */

/* A waiting writer goes before new readers: the writer is the core. */
static void
init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

weir_code
indexer_segment_create(uint32_t dimension, uint32_t rows_max, indexer_segment **ret_segment,
    weir_error *reterr)
{
    FaissIndexFlatIP *flat = NULL;

    weir_assert(dimension > 0 && rows_max > 0);
    if (faiss_IndexFlatIP_new_with(&flat, dimension) != 0)
        return faiss_failure("make an index", reterr);

    indexer_segment *segment = weir_alloc_zero(1, sizeof *segment);
    segment->references = 1;
    segment->dimension = dimension;
    segment->rows_max = rows_max;
    segment->flat = flat;
    init_lock(&segment->lock);
    *ret_segment = segment;
    return WEIR_OK;
}

void
indexer_segment_ref(indexer_segment *segment)
{
    __atomic_fetch_add(&segment->references, 1, __ATOMIC_RELAXED);
}

void
indexer_segment_unref(indexer_segment *segment)
{
    if (__atomic_sub_fetch(&segment->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (uint32_t row = 0; row < segment->rows; row++)
        if (segment->owners[row] != NULL)
            indexer_owner_unref(segment->owners[row]);
    faiss_IndexFlatIP_free(segment->flat);
    pthread_rwlock_destroy(&segment->lock);
    weir_free(segment->owners);
    weir_free(segment->ordinals);
    weir_free(segment->alive);
    weir_free(segment);
}

static void
reserve_rows(indexer_segment *segment, uint32_t wanted)
{
    uint32_t capacity = segment->capacity == 0 ? 256 : segment->capacity;

    if (wanted <= segment->capacity)
        return;
    while (capacity < wanted)
        capacity *= 2;
    segment->owners = weir_realloc(segment->owners, capacity * sizeof *segment->owners);
    segment->ordinals = weir_realloc(segment->ordinals, capacity * sizeof *segment->ordinals);
    segment->alive = weir_realloc(segment->alive, capacity / 8);
    memset(segment->alive + segment->capacity / 8, 0, (capacity - segment->capacity) / 8);
    segment->capacity = capacity;
}

static void
append_rows(indexer_segment *segment, indexer_owner *const *owners, const uint32_t *ordinals,
    uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t row = segment->rows + i;

        indexer_owner_ref(owners[i]);
        segment->owners[row] = owners[i];
        segment->ordinals[row] = ordinals[i];
        segment->alive[row / 8] = (uint8_t)(segment->alive[row / 8] | 1u << row % 8);
    }
    segment->rows += count;
}

weir_code
indexer_segment_add(indexer_segment *segment, indexer_owner *const *owners,
    const uint32_t *ordinals, const float *vectors, uint32_t count, uint32_t *ret_first,
    weir_error *reterr)
{
    weir_code code = WEIR_OK;

    weir_assert(count <= indexer_segment_room(segment));
    pthread_rwlock_wrlock(&segment->lock);
    reserve_rows(segment, segment->rows + count);
    *ret_first = segment->rows;
    if (faiss_Index_add(segment->flat, count, vectors) == 0)
        append_rows(segment, owners, ordinals, count);
    else
        code = faiss_failure("add vectors", reterr);
    pthread_rwlock_unlock(&segment->lock);
    return code;
}

void
indexer_segment_kill(indexer_segment *segment, uint32_t row)
{
    pthread_rwlock_wrlock(&segment->lock);
    weir_assert(row < segment->rows && segment->owners[row] != NULL);
    indexer_owner *owner = segment->owners[row];
    segment->owners[row] = NULL;
    segment->alive[row / 8] = (uint8_t)(segment->alive[row / 8] & ~(1u << row % 8));
    segment->dead++;
    pthread_rwlock_unlock(&segment->lock);
    indexer_owner_unref(owner);
}

uint32_t
indexer_segment_rows(const indexer_segment *segment)
{
    return segment->rows;
}

uint32_t
indexer_segment_dead(const indexer_segment *segment)
{
    return segment->dead;
}

uint32_t
indexer_segment_room(const indexer_segment *segment)
{
    return segment->rows_max - segment->rows;
}

indexer_owner *
indexer_segment_row(const indexer_segment *segment, uint32_t row, uint32_t *ret_ordinal,
    const float **ret_vector)
{
    weir_assert(row < segment->rows);
    *ret_ordinal = segment->ordinals[row];
    *ret_vector = indexer_segment_vector(segment, row);
    return segment->owners[row];
}

/* ---- reading ---- */

void
indexer_segment_read_begin(indexer_segment *segment)
{
    pthread_rwlock_rdlock(&segment->lock);
}

void
indexer_segment_read_end(indexer_segment *segment)
{
    pthread_rwlock_unlock(&segment->lock);
}

const float *
indexer_segment_vector(const indexer_segment *segment, uint32_t row)
{
    float *vectors = NULL;
    size_t float_count = 0;

    faiss_IndexFlat_xb(segment->flat, &vectors, &float_count);
    weir_assert(((size_t)row + 1) * segment->dimension <= float_count);
    return vectors + (size_t)row * segment->dimension;
}

void
indexer_hits_push(indexer_hits *hits, indexer_owner *owner, uint32_t ordinal, float score)
{
    if (hits->count == hits->capacity) {
        hits->capacity = hits->capacity == 0 ? 64 : hits->capacity * 2;
        hits->items = weir_realloc(hits->items, hits->capacity * sizeof *hits->items);
    }
    hits->items[hits->count++] =
        (indexer_hit){ .owner = owner, .ordinal = ordinal, .score = score };
}

/* The selector and its parameters borrow the bitmap and each other: made and freed around one
 * search. */
static weir_code
search_alive(const indexer_segment *segment, const float *query, size_t count, float *scores,
    idx_t *rows, weir_error *reterr)
{
    FaissIDSelectorBitmap *alive = NULL;
    FaissSearchParameters *parameters = NULL;
    weir_code code = WEIR_OK;

    if (faiss_IDSelectorBitmap_new(&alive, segment->capacity / 8, segment->alive) != 0 ||
        faiss_SearchParameters_new(&parameters, (FaissIDSelector *)alive) != 0 ||
        faiss_Index_search_with_params(segment->flat, 1, query, (idx_t)count, parameters, scores,
            rows) != 0)
        code = faiss_failure("search", reterr);
    if (parameters != NULL)
        faiss_SearchParameters_free(parameters);
    if (alive != NULL)
        faiss_IDSelectorBitmap_free(alive);
    return code;
}

static weir_code
search_locked(const indexer_segment *segment, const float *query, size_t count, float *scores,
    idx_t *rows, weir_error *reterr)
{
    if (segment->dead > 0)
        return search_alive(segment, query, count, scores, rows, reterr);
    if (faiss_Index_search(segment->flat, 1, query, (idx_t)count, scores, rows) != 0)
        return faiss_failure("search", reterr);
    return WEIR_OK;
}

weir_code
indexer_segment_search(indexer_segment *segment, const float *query, size_t wanted_count,
    indexer_hits *hits, bool *ret_all, weir_error *reterr)
{
    stay_in_this_thread();
    indexer_segment_read_begin(segment);
    const size_t live = segment->rows - segment->dead;
    const size_t count = wanted_count < live ? wanted_count : live;
    float *scores = weir_alloc((count + 1) * sizeof *scores);
    idx_t *rows = weir_alloc((count + 1) * sizeof *rows);
    const weir_code code =
        count == 0 ? WEIR_OK : search_locked(segment, query, count, scores, rows, reterr);

    for (size_t i = 0; code == WEIR_OK && i < count; i++) {
        weir_assert(rows[i] >= 0 && rows[i] < segment->rows && segment->owners[rows[i]] != NULL);
        indexer_owner_ref(segment->owners[rows[i]]);
        indexer_hits_push(hits, segment->owners[rows[i]], segment->ordinals[rows[i]], scores[i]);
    }
    indexer_segment_read_end(segment);
    weir_free(scores);
    weir_free(rows);
    *ret_all = count == live;
    return code;
}
