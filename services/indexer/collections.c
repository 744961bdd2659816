/*
 * collections.c - a sorted array under a lock: collections are few, and made seldom (see
 * collections.h).
 */
#include "services/indexer/collections.h"

#include "common/base/assert.h"

static char unknown_tenant[1];

void
indexer_collections_init(indexer_collections *collections)
{
    *collections = (indexer_collections){ 0 };
    pthread_rwlock_init(&collections->lock, NULL);
}

void
indexer_collections_fini(indexer_collections *collections)
{
    for (size_t i = 0; i < collections->count; i++) {
        indexer_index_destroy(&collections->items[i]->index);
        if (collections->items[i]->tenant != unknown_tenant)
            weir_free(collections->items[i]->tenant);
        weir_free(collections->items[i]->fingerprint);
        weir_free(collections->items[i]);
    }
    weir_free(collections->items);
    pthread_rwlock_destroy(&collections->lock);
}

/* Where collection_no stands or would stand. */
static size_t
lower_bound(const indexer_collections *collections, uint64_t collection_no)
{
    size_t low = 0, high = collections->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (collections->items[middle]->collection_no < collection_no)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static indexer_collection *
item_at(const indexer_collections *collections, size_t at)
{
    return at < collections->count ? collections->items[at] : NULL;
}

indexer_collection *
indexer_collections_find(indexer_collections *collections, uint64_t collection_no)
{
    pthread_rwlock_rdlock(&collections->lock);
    indexer_collection *item = item_at(collections, lower_bound(collections, collection_no));
    pthread_rwlock_unlock(&collections->lock);
    return item != NULL && item->collection_no == collection_no ? item : NULL;
}

const char *
indexer_collection_tenant(const indexer_collection *collection)
{
    return __atomic_load_n(&collection->tenant, __ATOMIC_ACQUIRE);
}

bool
indexer_collection_is_of(const indexer_collection *collection, const char *tenant)
{
    const char *its = indexer_collection_tenant(collection);

    return its[0] == '\0' || strcmp(its, tenant) == 0;
}

void
indexer_collection_set_tenant(indexer_collection *collection, const char *tenant)
{
    weir_assert(collection->tenant == unknown_tenant);
    __atomic_store_n(&collection->tenant, weir_strdup(tenant), __ATOMIC_RELEASE);
}

indexer_collection *
indexer_collections_find_for(indexer_collections *collections, uint64_t collection_no,
    const char *tenant)
{
    indexer_collection *item = indexer_collections_find(collections, collection_no);

    return item != NULL && indexer_collection_is_of(item, tenant) ? item : NULL;
}

indexer_collection *
indexer_collections_next(indexer_collections *collections, uint64_t after)
{
    pthread_rwlock_rdlock(&collections->lock);
    indexer_collection *item = item_at(collections, lower_bound(collections, after + 1));
    pthread_rwlock_unlock(&collections->lock);
    return item;
}

indexer_collection *
indexer_collections_put(indexer_collections *collections, uint64_t collection_no,
    const char *tenant)
{
    indexer_collection *item = weir_alloc_zero(1, sizeof *item);

    weir_assert(indexer_collections_find(collections, collection_no) == NULL);
    item->collection_no = collection_no;
    item->tenant = tenant[0] != '\0' ? weir_strdup(tenant) : unknown_tenant;
    pthread_rwlock_wrlock(&collections->lock);
    const size_t at = lower_bound(collections, collection_no);
    collections->items =
        weir_realloc(collections->items, (collections->count + 1) * sizeof(indexer_collection *));
    memmove(&collections->items[at + 1], &collections->items[at],
        (collections->count - at) * sizeof(indexer_collection *));
    collections->items[at] = item;
    collections->count++;
    pthread_rwlock_unlock(&collections->lock);
    return item;
}

void
indexer_collection_set_vectors(indexer_collection *collection, uint32_t dimension,
    const char *fingerprint, size_t segment_bytes)
{
    weir_assert(collection->index == NULL);
    collection->fingerprint = weir_strdup(fingerprint);
    __atomic_store_n(&collection->index, indexer_index_create(dimension, segment_bytes),
        __ATOMIC_RELEASE);
}

void
indexer_collections_end_losses(indexer_collections *collections)
{
    for (size_t i = 0; i < collections->count; i++) { /* only the core's thread, this one, adds */
        indexer_collection *collection = collections->items[i];

        if (collection->lost_ended == 0)
            continue;
        __atomic_sub_fetch(&collection->lost_count, collection->lost_ended, __ATOMIC_RELEASE);
        collection->lost_ended = 0;
    }
}

uint64_t
indexer_collection_lost(const indexer_collection *collection)
{
    return (uint64_t)__atomic_load_n(&collection->lost_count, __ATOMIC_ACQUIRE);
}

indexer_index *
indexer_collection_index(const indexer_collection *collection)
{
    return __atomic_load_n(&collection->index, __ATOMIC_ACQUIRE);
}
