/*
 * cache.h - vectors kept on disk by the text they belong to, so that the same text is embedded
 * once.
 *
 * Rows carry their vectors; nothing refers to the cache, so what it forgets costs time only.  Two
 * generations: entries go into the young one, a hit in the old one moves up, and when the young one
 * holds half of the bytes it becomes the old one and the old one is deleted as a whole.  So what
 * was not asked for since the last turn goes first.
 *
 * Keys: 'v' generation u32, 8 bytes naming the vector space, SHA-256 of the text -> fp32, CRC32C of
 * both 'w' -> generation u32, bytes of the young one u64
 *
 * Threads: the core's.
 */
#ifndef WEIR_EMBEDDER_CACHE_H
#define WEIR_EMBEDDER_CACHE_H

#include "common/base/hash.h"
#include "common/stage/stage.h"

typedef struct embedder_cache {
    uint64_t bytes_max; /* 0: no cache */
    uint32_t generation;
    uint64_t young_bytes;
    bool is_changed; /* the record is behind */
    bool must_trim;  /* generations before the old one are on disk */
} embedder_cache;

typedef struct embedder_cache_key {
    uint8_t bytes[1 + 4 + 8 + WEIR_SHA256_SIZE];
} embedder_cache_key;

/* The key of a text in the vector space of that fingerprint, in no generation yet. */
embedder_cache_key embedder_cache_key_of(const char *fingerprint, weir_bytes text);

/* Read the record. */
weir_code embedder_cache_start(embedder_cache *cache, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Copy the vector to out[dimension].  A damaged one is not found. */
weir_code embedder_cache_get(embedder_cache *cache, weir_stage *stage,
    const embedder_cache_key *key, uint32_t dimension, float *out, bool *ret_found,
    weir_error *reterr) WEIR_MUST_CHECK;
void embedder_cache_put(embedder_cache *cache, weir_stage *stage, const embedder_cache_key *key,
    const float *vector, uint32_t dimension);
/* Once per round: write the record, begin a generation, delete a forgotten one. */
weir_code embedder_cache_round_end(embedder_cache *cache, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
