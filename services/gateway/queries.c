/*
 * queries.c - see queries.h.  A hash table whose entries stand in a ring by their last use.
 */
#include "services/gateway/queries.h"

#include <pthread.h>

#include "common/base/hash.h"

typedef struct query query;
struct query {
    query *next;            /* of the bucket */
    query *older, *younger; /* of the ring */
    weir_sha256_sum key;
    size_t size;
    uint8_t vector[];
};

struct gateway_queries {
    pthread_mutex_t lock;
    uint32_t entries_max, count;
    uint64_t hits;
    query ring; /* ring.older: the youngest; ring.younger: the oldest */
    size_t bucket_count;
    query **buckets;
};

static weir_sha256_sum
key_of(const char *fingerprint, const char *text)
{
    weir_buffer bytes = { 0 };

    weir_buffer_append(&bytes, fingerprint, strlen(fingerprint) + 1);
    weir_buffer_append(&bytes, text, strlen(text));
    const weir_sha256_sum key = weir_sha256(weir_buffer_view(&bytes));
    weir_buffer_fini(&bytes);
    return key;
}

static query **
bucket_of(gateway_queries *queries, const weir_sha256_sum *key)
{
    return &queries->buckets[weir_load_u64(key->bytes) % queries->bucket_count];
}

static query *
find(gateway_queries *queries, const weir_sha256_sum *key)
{
    query *entry = *bucket_of(queries, key);

    while (entry != NULL && memcmp(entry->key.bytes, key->bytes, sizeof key->bytes) != 0)
        entry = entry->next;
    return entry;
}

static void
unlink_entry(query *entry)
{
    entry->older->younger = entry->younger;
    entry->younger->older = entry->older;
}

static void
link_youngest(gateway_queries *queries, query *entry)
{
    entry->older = queries->ring.older;
    entry->younger = &queries->ring;
    entry->older->younger = entry;
    queries->ring.older = entry;
}

static void
forget_oldest(gateway_queries *queries)
{
    query *oldest = queries->ring.younger;
    query **at = bucket_of(queries, &oldest->key);

    while (*at != oldest)
        at = &(*at)->next;
    *at = oldest->next;
    unlink_entry(oldest);
    weir_free(oldest);
    queries->count--;
}

gateway_queries *
gateway_queries_create(uint32_t entries_max)
{
    gateway_queries *queries = weir_alloc_zero(1, sizeof *queries);

    pthread_mutex_init(&queries->lock, NULL);
    queries->entries_max = entries_max;
    queries->ring.older = queries->ring.younger = &queries->ring;
    queries->bucket_count = (size_t)entries_max + 1;
    queries->buckets = weir_alloc_zero(queries->bucket_count, sizeof *queries->buckets);
    return queries;
}

void
gateway_queries_destroy(gateway_queries **queries_p)
{
    gateway_queries *queries = *queries_p;

    if (queries == NULL)
        return;
    while (queries->count > 0)
        forget_oldest(queries);
    pthread_mutex_destroy(&queries->lock);
    weir_free(queries->buckets);
    weir_free(queries);
    *queries_p = NULL;
}

bool
gateway_queries_get(gateway_queries *queries, const char *fingerprint, const char *text,
    weir_buffer *out)
{
    const weir_sha256_sum key = key_of(fingerprint, text);

    pthread_mutex_lock(&queries->lock);
    query *entry = find(queries, &key);
    if (entry != NULL) {
        unlink_entry(entry);
        link_youngest(queries, entry);
        weir_buffer_append(out, entry->vector, entry->size);
        queries->hits++;
    }
    pthread_mutex_unlock(&queries->lock);
    return entry != NULL;
}

void
gateway_queries_put(gateway_queries *queries, const char *fingerprint, const char *text,
    weir_bytes vector)
{
    const weir_sha256_sum key = key_of(fingerprint, text);

    pthread_mutex_lock(&queries->lock);
    if (queries->entries_max > 0 && find(queries, &key) == NULL) {
        query *entry = weir_alloc(sizeof *entry + vector.size);

        if (queries->count == queries->entries_max)
            forget_oldest(queries);
        *entry = (query){ .next = *bucket_of(queries, &key), .key = key, .size = vector.size };
        memcpy(entry->vector, vector.data, vector.size);
        *bucket_of(queries, &key) = entry;
        link_youngest(queries, entry);
        queries->count++;
    }
    pthread_mutex_unlock(&queries->lock);
}

uint64_t
gateway_queries_hits(gateway_queries *queries)
{
    pthread_mutex_lock(&queries->lock);
    const uint64_t hits = queries->hits;
    pthread_mutex_unlock(&queries->lock);
    return hits;
}
