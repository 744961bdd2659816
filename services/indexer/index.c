/*
 * index.c - tries, their rows and the segments they stand in (see index.h).
 *
 * Order of locks: the index, then a segment.  A search holds the index's lock only to copy the list
 * of segments. Survivors of a cleaned segment are added to the newest one before the old one leaves
 * the list, so at every instant a list holds each live row at least once.
 */
#include "services/indexer/index.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "services/indexer/flat.h"
#include "services/indexer/kernel.h"

enum { SEGMENT_BYTES = 16 << 20, ROWS_MIN = 64, DEAD_SHARE = 4 };

static const indexer_place nowhere = { .slot = UINT32_MAX, .row = UINT32_MAX };

struct indexer_index {
    uint32_t dimension;
    uint32_t rows_max; /* of a segment */
    pthread_rwlock_t lock;
    indexer_segment **slots; /* NULL: free */
    uint32_t slot_count;
    uint32_t tail; /* the slot that takes rows; slot_count: none */
    indexer_owner **buckets;
    uint32_t bucket_count, owner_count;
    uint64_t rows;
};

/* ---- vectors ---- */

weir_code
indexer_vector_normalise(float *vector, uint32_t dimension, weir_error *reterr)
{
    double square = 0;

    for (uint32_t i = 0; i < dimension; i++) {
        if (!isfinite(vector[i]))
            return weir_error_set(reterr, WEIR_VECTOR_INVALID,
                "component %u of the vector is not finite", i);
        square += (double)vector[i] * (double)vector[i];
    }
    if (square == 0)
        return weir_error_set(reterr, WEIR_VECTOR_INVALID, "the vector holds only zeros");
    /* Dividing again would change the last bits of what was normalised before. */
    if (fabs(square - 1) < 1e-6)
        return WEIR_OK;
    const double length = sqrt(square);
    for (uint32_t i = 0; i < dimension; i++)
        vector[i] = (float)((double)vector[i] / length);
    return WEIR_OK;
}

/* ---- hits ---- */

const indexer_try *
indexer_owner_try(const indexer_owner *owner)
{
    return &owner->key;
}

static int
compare_i64(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int
compare_tries(const indexer_try *a, const indexer_try *b, uint32_t a_ordinal, uint32_t b_ordinal)
{
    int order = strcmp(a->document_id, b->document_id);

    if (order == 0)
        order = compare_i64(a_ordinal, b_ordinal);
    if (order == 0)
        order = compare_i64(a->revision, b->revision);
    return order != 0 ? order : compare_i64(a->epoch, b->epoch);
}

static int
compare_hits(const void *left, const void *right)
{
    const indexer_hit *a = left;
    const indexer_hit *b = right;

    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return compare_tries(&a->owner->key, &b->owner->key, a->ordinal, b->ordinal);
}

static void
cut_hits(indexer_hits *hits, size_t count)
{
    for (size_t i = count; i < hits->count; i++)
        indexer_owner_unref(hits->items[i].owner);
    hits->count = count;
}

/* Sort, and remove rows that were met in two segments because they moved meanwhile. */
static void
sort_hits(indexer_hits *hits)
{
    size_t kept = 0;

    if (hits->count > 0)
        qsort(hits->items, hits->count, sizeof *hits->items, compare_hits);
    for (size_t i = 0; i < hits->count; i++) {
        if (kept > 0 && compare_hits(&hits->items[kept - 1], &hits->items[i]) == 0)
            indexer_owner_unref(hits->items[i].owner);
        else
            hits->items[kept++] = hits->items[i];
    }
    hits->count = kept;
}

void
indexer_hits_fini(indexer_hits *hits)
{
    cut_hits(hits, 0);
    weir_free(hits->items);
    *hits = (indexer_hits){ 0 };
}

/* ---- owners ---- */

static uint64_t
hash_try(const indexer_try *wanted)
{
    const uint64_t seed =
        (uint64_t)wanted->revision * 0x9e3779b97f4a7c15u + (uint64_t)wanted->epoch;

    return weir_hash64(weir_bytes_str(wanted->document_id), seed);
}

static indexer_owner **
find_link(const indexer_index *index, const indexer_try *wanted)
{
    indexer_owner **link = &index->buckets[hash_try(wanted) & (index->bucket_count - 1)];

    while (*link != NULL &&
        ((*link)->key.revision != wanted->revision || (*link)->key.epoch != wanted->epoch ||
            strcmp((*link)->key.document_id, wanted->document_id) != 0))
        link = &(*link)->next;
    return link;
}

static void
grow_buckets(indexer_index *index)
{
    indexer_owner **old = index->buckets;
    const uint32_t old_count = index->bucket_count;

    index->bucket_count = old_count * 2;
    index->buckets = weir_alloc_zero(index->bucket_count, sizeof *index->buckets);
    for (uint32_t i = 0; i < old_count; i++) {
        for (indexer_owner *owner = old[i], *next; owner != NULL; owner = next) {
            indexer_owner **head =
                &index->buckets[hash_try(&owner->key) & (index->bucket_count - 1)];

            next = owner->next;
            owner->next = *head;
            *head = owner;
        }
    }
    weir_free(old);
}

/* Under the write lock. */
static indexer_owner *
obtain_owner(indexer_index *index, const indexer_try *wanted)
{
    indexer_owner **link = find_link(index, wanted);
    const size_t size = strlen(wanted->document_id) + 1;

    if (*link != NULL)
        return *link;
    if (index->owner_count >= index->bucket_count) {
        grow_buckets(index);
        link = find_link(index, wanted);
    }
    indexer_owner *owner = weir_alloc_zero(1, sizeof *owner + size);
    memcpy(owner->text, wanted->document_id, size);
    owner->key = (indexer_try){ .document_id = owner->text,
        .revision = wanted->revision,
        .epoch = wanted->epoch };
    owner->references = 1;
    *link = owner;
    index->owner_count++;
    return owner;
}

/* Under the write lock. */
static void
put_place(indexer_owner *owner, uint32_t ordinal, indexer_place place)
{
    if (ordinal >= owner->place_capacity) {
        uint32_t capacity = owner->place_capacity == 0 ? 4 : owner->place_capacity;

        while (capacity <= ordinal)
            capacity *= 2;
        owner->places = weir_realloc(owner->places, capacity * sizeof *owner->places);
        owner->place_capacity = capacity;
    }
    while (owner->place_count <= ordinal)
        owner->places[owner->place_count++] = nowhere;
    owner->places[ordinal] = place;
}

static bool
has_place(const indexer_owner *owner, uint32_t ordinal)
{
    return ordinal < owner->place_count && owner->places[ordinal].row != nowhere.row;
}

/* ---- life ---- */

static uint32_t
rows_of_segment(uint32_t dimension, size_t segment_bytes)
{
    const size_t rows =
        (segment_bytes == 0 ? SEGMENT_BYTES : segment_bytes) / (dimension * sizeof(float));

    return rows < ROWS_MIN ? ROWS_MIN : (uint32_t)rows;
}

indexer_index *
indexer_index_create(uint32_t dimension, size_t segment_bytes)
{
    pthread_rwlockattr_t attributes;
    indexer_index *index = weir_alloc_zero(1, sizeof *index);

    weir_assert(dimension > 0 && dimension <= WEIR_DIMENSION_MAX);
    index->dimension = dimension;
    index->rows_max = rows_of_segment(dimension, segment_bytes);
    index->bucket_count = 16;
    index->buckets = weir_alloc_zero(index->bucket_count, sizeof *index->buckets);
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&index->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return index;
}

void
indexer_index_destroy(indexer_index **index_p)
{
    indexer_index *index = *index_p;

    if (index == NULL)
        return;
    for (uint32_t i = 0; i < index->slot_count; i++)
        if (index->slots[i] != NULL)
            indexer_segment_unref(index->slots[i]);
    for (uint32_t i = 0; i < index->bucket_count; i++) {
        for (indexer_owner *owner = index->buckets[i], *next; owner != NULL; owner = next) {
            next = owner->next;
            indexer_owner_unref(owner);
        }
    }
    pthread_rwlock_destroy(&index->lock);
    weir_free(index->slots);
    weir_free(index->buckets);
    weir_free(index);
    *index_p = NULL;
}

uint32_t
indexer_index_dimension(const indexer_index *index)
{
    return index->dimension;
}

/* ---- writing ---- */

static uint32_t
free_slot(indexer_index *index)
{
    for (uint32_t i = 0; i < index->slot_count; i++)
        if (index->slots[i] == NULL)
            return i;
    return index->slot_count;
}

static void
publish_segment(indexer_index *index, indexer_segment *segment)
{
    const uint32_t slot = free_slot(index);

    pthread_rwlock_wrlock(&index->lock);
    if (slot == index->slot_count) {
        index->slots = weir_realloc(index->slots, (slot + 1) * sizeof(indexer_segment *));
        index->slot_count++;
    }
    index->slots[slot] = segment;
    index->tail = slot;
    pthread_rwlock_unlock(&index->lock);
}

/* The segment that takes rows, with room for one at least. */
static weir_code
obtain_tail(indexer_index *index, indexer_segment **ret_segment, weir_error *reterr)
{
    const bool has_tail = index->tail < index->slot_count && index->slots[index->tail] != NULL;

    if (!has_tail || indexer_segment_room(index->slots[index->tail]) == 0) {
        indexer_segment *segment = NULL;
        const weir_code code =
            indexer_segment_create(index->dimension, index->rows_max, &segment, reterr);

        if (code != WEIR_OK)
            return code;
        publish_segment(index, segment);
    }
    *ret_segment = index->slots[index->tail];
    return WEIR_OK;
}

/* Append rows to the tail, and to new tails, and note where they stand now. */
static weir_code
append_rows(indexer_index *index, indexer_owner *const *owners, const uint32_t *ordinals,
    const float *vectors, size_t count, weir_error *reterr)
{
    for (size_t done = 0; done < count;) {
        indexer_segment *segment = NULL;
        uint32_t first = 0;
        weir_code code = obtain_tail(index, &segment, reterr);

        if (code != WEIR_OK)
            return code;
        const uint32_t room = indexer_segment_room(segment);
        const uint32_t part = count - done < room ? (uint32_t)(count - done) : room;
        code = indexer_segment_add(segment, owners + done, ordinals + done,
            vectors + done * index->dimension, part, &first, reterr);
        if (code != WEIR_OK)
            return code;
        pthread_rwlock_wrlock(&index->lock);
        for (uint32_t i = 0; i < part; i++)
            put_place(owners[done + i], ordinals[done + i],
                (indexer_place){ .slot = index->tail, .row = first + i });
        pthread_rwlock_unlock(&index->lock);
        done += part;
    }
    return WEIR_OK;
}

weir_code
indexer_index_add(indexer_index *index, const indexer_try *wanted, const uint32_t *ordinals,
    const float *vectors, size_t count, weir_error *reterr)
{
    indexer_owner **owners = weir_alloc((count + 1) * sizeof(indexer_owner *));

    pthread_rwlock_wrlock(&index->lock);
    indexer_owner *owner = obtain_owner(index, wanted);
    pthread_rwlock_unlock(&index->lock);
    for (size_t i = 0; i < count; i++) {
        weir_assert(!has_place(owner, ordinals[i]));
        owners[i] = owner;
    }
    const weir_code code = append_rows(index, owners, ordinals, vectors, count, reterr);
    weir_free(owners);
    if (code == WEIR_OK) {
        owner->count += (uint32_t)count;
        __atomic_fetch_add(&index->rows, count, __ATOMIC_RELAXED);
    }
    return code;
}

bool
indexer_index_has(const indexer_index *index, const indexer_try *wanted, uint32_t ordinal)
{
    const indexer_owner *owner = *find_link(index, wanted);

    return owner != NULL && has_place(owner, ordinal);
}

uint32_t
indexer_index_count(const indexer_index *index, const indexer_try *wanted)
{
    const indexer_owner *owner = *find_link(index, wanted);

    return owner != NULL ? owner->count : 0;
}

void
indexer_index_remove(indexer_index *index, const indexer_try *wanted)
{
    pthread_rwlock_wrlock(&index->lock);
    indexer_owner **link = find_link(index, wanted);
    indexer_owner *owner = *link;
    if (owner != NULL) {
        *link = owner->next;
        index->owner_count--;
    }
    pthread_rwlock_unlock(&index->lock);
    if (owner == NULL)
        return;
    for (uint32_t ordinal = 0; ordinal < owner->place_count; ordinal++)
        if (has_place(owner, ordinal))
            indexer_segment_kill(index->slots[owner->places[ordinal].slot],
                owner->places[ordinal].row);
    __atomic_fetch_sub(&index->rows, owner->count, __ATOMIC_RELAXED);
    indexer_owner_unref(owner);
}

/* ---- cleaning ---- */

/* A full segment with so many dead rows that moving the others pays; slot_count if there is none.
 */
static uint32_t
find_dirty(const indexer_index *index)
{
    for (uint32_t slot = 0; slot < index->slot_count; slot++) {
        const indexer_segment *segment = index->slots[slot];

        if (segment != NULL && indexer_segment_room(segment) == 0 &&
            (uint64_t)indexer_segment_dead(segment) * DEAD_SHARE > indexer_segment_rows(segment))
            return slot;
    }
    return index->slot_count;
}

/* Add the live rows of `old` to the tail. */
static weir_code
move_survivors(indexer_index *index, const indexer_segment *old, weir_error *reterr)
{
    const uint32_t rows = indexer_segment_rows(old);
    const size_t live = rows - indexer_segment_dead(old);
    indexer_owner **owners = weir_alloc((live + 1) * sizeof(indexer_owner *));
    uint32_t *ordinals = weir_alloc((live + 1) * sizeof *ordinals);
    float *vectors = weir_alloc((live * index->dimension + 1) * sizeof *vectors);
    size_t count = 0;

    for (uint32_t row = 0; row < rows; row++) {
        const float *vector = NULL;

        owners[count] = indexer_segment_row(old, row, &ordinals[count], &vector);
        if (owners[count] == NULL)
            continue;
        memcpy(vectors + count * index->dimension, vector, index->dimension * sizeof *vector);
        count++;
    }
    weir_assert(count == live);
    const weir_code code = append_rows(index, owners, ordinals, vectors, count, reterr);
    weir_free(owners);
    weir_free(ordinals);
    weir_free(vectors);
    return code;
}

weir_code
indexer_index_clean(indexer_index *index, bool *ret_worked, weir_error *reterr)
{
    const uint32_t slot = find_dirty(index);

    *ret_worked = slot < index->slot_count;
    if (!*ret_worked)
        return WEIR_OK;
    indexer_segment *old = index->slots[slot];
    const weir_code code = move_survivors(index, old, reterr);
    if (code != WEIR_OK)
        return code;
    pthread_rwlock_wrlock(&index->lock);
    index->slots[slot] = NULL;
    pthread_rwlock_unlock(&index->lock);
    indexer_segment_unref(old);
    return WEIR_OK;
}

/* ---- reading ---- */

static indexer_segment **
copy_segments(indexer_index *index, size_t *ret_count)
{
    size_t count = 0;

    pthread_rwlock_rdlock(&index->lock);
    indexer_segment **segments = weir_alloc((index->slot_count + 1) * sizeof(indexer_segment *));
    for (uint32_t i = 0; i < index->slot_count; i++) {
        if (index->slots[i] == NULL)
            continue;
        indexer_segment_ref(index->slots[i]);
        segments[count++] = index->slots[i];
    }
    pthread_rwlock_unlock(&index->lock);
    *ret_count = count;
    return segments;
}

/* Keep the list short while segments add to it. */
static void
prune_hits(indexer_hits *hits, size_t wanted_count, size_t allowed)
{
    if (hits->count <= allowed)
        return;
    sort_hits(hits);
    if (hits->count <= wanted_count)
        return;
    cut_hits(hits, wanted_count);
    hits->is_complete = false;
}

weir_code
indexer_index_search(indexer_index *index, const float *query, size_t wanted_count,
    indexer_hits *hits, weir_error *reterr)
{
    size_t segment_count = 0;
    indexer_segment **segments = copy_segments(index, &segment_count);
    weir_code code = WEIR_OK;

    cut_hits(hits, 0);
    hits->is_complete = true;
    for (size_t i = 0; i < segment_count; i++) {
        bool all = true;

        if (code == WEIR_OK)
            code = indexer_segment_search(segments[i], query, wanted_count, hits, &all, reterr);
        hits->is_complete = hits->is_complete && all;
        prune_hits(hits, wanted_count, 4 * wanted_count + 1024);
        indexer_segment_unref(segments[i]);
    }
    prune_hits(hits, wanted_count, 0);
    weir_free(segments);
    return code;
}

/* Under the read lock. */
static void
gather_owner(indexer_index *index, const float *query, indexer_owner *owner, indexer_hits *hits)
{
    indexer_segment *open = NULL;

    for (uint32_t ordinal = 0; ordinal < owner->place_count; ordinal++) {
        if (!has_place(owner, ordinal))
            continue;
        indexer_segment *segment = index->slots[owner->places[ordinal].slot];
        if (segment != open) {
            if (open != NULL)
                indexer_segment_read_end(open);
            indexer_segment_read_begin(segment);
            open = segment;
        }
        const float *vector = indexer_segment_vector(segment, owner->places[ordinal].row);
        indexer_owner_ref(owner);
        indexer_hits_push(hits, owner, ordinal,
            indexer_inner_product(query, vector, index->dimension));
    }
    if (open != NULL)
        indexer_segment_read_end(open);
}

void
indexer_index_gather(indexer_index *index, const float *query, const indexer_try *tries,
    size_t try_count, indexer_hits *hits, size_t *ret_found)
{
    size_t found = 0;

    for (size_t i = 0; i < try_count; i++) {
        pthread_rwlock_rdlock(&index->lock);
        indexer_owner *owner = *find_link(index, &tries[i]);
        if (owner != NULL)
            gather_owner(index, query, owner, hits);
        pthread_rwlock_unlock(&index->lock);
        found += owner != NULL;
    }
    hits->is_complete = true;
    sort_hits(hits);
    *ret_found = found;
}

bool
indexer_index_holds(indexer_index *index, const indexer_try *wanted, uint32_t ordinal,
    const float *vector)
{
    bool same = false;

    pthread_rwlock_rdlock(&index->lock);
    const indexer_owner *owner = *find_link(index, wanted);
    if (owner != NULL && has_place(owner, ordinal)) {
        indexer_segment *segment = index->slots[owner->places[ordinal].slot];

        indexer_segment_read_begin(segment);
        same = memcmp(indexer_segment_vector(segment, owner->places[ordinal].row), vector,
                   index->dimension * sizeof *vector) == 0;
        indexer_segment_read_end(segment);
    }
    pthread_rwlock_unlock(&index->lock);
    return same;
}

uint32_t
indexer_index_rows(indexer_index *index, const indexer_try *wanted)
{
    uint32_t rows = 0;

    pthread_rwlock_rdlock(&index->lock);
    const indexer_owner *owner = *find_link(index, wanted);
    for (uint32_t i = 0; owner != NULL && i < owner->place_count; i++)
        rows += has_place(owner, i);
    pthread_rwlock_unlock(&index->lock);
    return rows;
}

void
indexer_index_stats_read(indexer_index *index, indexer_index_stats *ret_stats)
{
    size_t count = 0;
    indexer_segment **segments = copy_segments(index, &count);

    *ret_stats = (indexer_index_stats){ .rows = __atomic_load_n(&index->rows, __ATOMIC_RELAXED),
        .segments = (uint32_t)count };
    for (size_t i = 0; i < count; i++) {
        indexer_segment_read_begin(segments[i]);
        ret_stats->dead_rows += indexer_segment_dead(segments[i]);
        indexer_segment_read_end(segments[i]);
        indexer_segment_unref(segments[i]);
    }
    pthread_rwlock_rdlock(&index->lock);
    ret_stats->owners = index->owner_count;
    pthread_rwlock_unlock(&index->lock);
    weir_free(segments);
}
