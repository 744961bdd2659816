/*
 * cache.c - see cache.h.
 *
 * A crash at any line loses at most the deletion of a generation that is forgotten already; the
 * next start repeats it.
 */
#include "services/embedder/cache.h"

#include "common/base/assert.h"
#include "common/base/limits.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "vectors are stored and sent as they stand in memory");

enum { CRC_BYTES = 4, RECORD_BYTES = 12, SPACE_AT = 5, TEXT_AT = 13 };

static const uint8_t record_key[] = { 'w' };

embedder_cache_key
embedder_cache_key_of(const char *fingerprint, weir_bytes text)
{
    embedder_cache_key key = { .bytes = { 'v' } };
    const weir_sha256_sum space = weir_sha256(weir_bytes_str(fingerprint));
    const weir_sha256_sum sum = weir_sha256(text);

    memcpy(key.bytes + SPACE_AT, space.bytes, TEXT_AT - SPACE_AT);
    memcpy(key.bytes + TEXT_AT, sum.bytes, sizeof sum.bytes);
    return key;
}

static embedder_cache_key
in_generation(const embedder_cache_key *key, uint32_t generation)
{
    embedder_cache_key placed = *key;

    weir_store_u32(placed.bytes + 1, generation);
    return placed;
}

static weir_bytes
view(const embedder_cache_key *key)
{
    return weir_bytes_of(key->bytes, sizeof key->bytes);
}

/* Over text, space and vector, but not the generation, which changes. */
static uint32_t
crc_of(const embedder_cache_key *key, weir_bytes vector)
{
    const uint32_t crc =
        weir_crc32c(0, weir_bytes_of(key->bytes + SPACE_AT, sizeof key->bytes - SPACE_AT));

    return weir_crc32c(crc, vector);
}

weir_code
embedder_cache_start(embedder_cache *cache, weir_stage *stage, weir_error *reterr)
{
    weir_buffer stored = { 0 };
    bool found = false;
    const weir_code code = weir_store_get(weir_stage_store(stage), NULL,
        weir_bytes_of(record_key, sizeof record_key), &stored, &found, reterr);

    cache->generation = 1;
    if (code == WEIR_OK && found && stored.size == RECORD_BYTES) {
        cache->generation = weir_load_u32(stored.data);
        cache->young_bytes = weir_load_u64(stored.data + 4);
        cache->must_trim = true;
    }
    weir_buffer_fini(&stored);
    return code;
}

/* *ret_found: there is one, whole and of this dimension. */
static weir_code
look_up(weir_stage *stage, const embedder_cache_key *placed, uint32_t dimension, float *out,
    bool *ret_found, weir_error *reterr)
{
    weir_buffer stored = { 0 };
    const size_t size = dimension * sizeof *out;
    const weir_code code =
        weir_batch_get(weir_stage_batch(stage), view(placed), &stored, ret_found, reterr);

    if (code == WEIR_OK && *ret_found)
        *ret_found = stored.size == size + CRC_BYTES &&
            weir_load_u32(stored.data + size) == crc_of(placed, weir_bytes_of(stored.data, size));
    if (code == WEIR_OK && *ret_found)
        memcpy(out, stored.data, size);
    weir_buffer_fini(&stored);
    return code;
}

weir_code
embedder_cache_get(embedder_cache *cache, weir_stage *stage, const embedder_cache_key *key,
    uint32_t dimension, float *out, bool *ret_found, weir_error *reterr)
{
    const embedder_cache_key young = in_generation(key, cache->generation);
    const embedder_cache_key old = in_generation(key, cache->generation - 1);

    *ret_found = false;
    if (cache->bytes_max == 0)
        return WEIR_OK;
    weir_code code = look_up(stage, &young, dimension, out, ret_found, reterr);
    if (code != WEIR_OK || *ret_found)
        return code;
    code = look_up(stage, &old, dimension, out, ret_found, reterr);
    if (code == WEIR_OK && *ret_found)
        embedder_cache_put(cache, stage, key, out, dimension);
    return code;
}

void
embedder_cache_put(embedder_cache *cache, weir_stage *stage, const embedder_cache_key *key,
    const float *vector, uint32_t dimension)
{
    const embedder_cache_key placed = in_generation(key, cache->generation);
    const size_t size = dimension * sizeof *vector;
    uint8_t value[WEIR_DIMENSION_MAX * sizeof *vector + CRC_BYTES];

    weir_assert(dimension > 0 && dimension <= WEIR_DIMENSION_MAX);
    if (cache->bytes_max == 0)
        return;
    memcpy(value, vector, size);
    weir_store_u32(value + size, crc_of(&placed, weir_bytes_of(value, size)));
    weir_batch_put(weir_stage_batch(stage), view(&placed), weir_bytes_of(value, size + CRC_BYTES));
    cache->young_bytes += sizeof placed.bytes + size + CRC_BYTES;
    cache->is_changed = true;
}

static void
put_record(embedder_cache *cache, weir_stage *stage)
{
    uint8_t value[RECORD_BYTES];

    weir_store_u32(value, cache->generation);
    weir_store_u64(value + 4, cache->young_bytes);
    weir_batch_put(weir_stage_batch(stage), weir_bytes_of(record_key, sizeof record_key),
        weir_bytes_of(value, sizeof value));
    cache->is_changed = false;
}

/* Of generations before the old one, which an earlier round, synced by now, has forgotten. */
static weir_code
trim(const embedder_cache *cache, weir_stage *stage, weir_error *reterr)
{
    uint8_t lower[1 + 4] = { 'v' };
    uint8_t upper[1 + 4] = { 'v' };

    weir_store_u32(upper + 1, cache->generation - 1);
    return weir_store_delete_range(weir_stage_store(stage), weir_bytes_of(lower, sizeof lower),
        weir_bytes_of(upper, sizeof upper), reterr);
}

weir_code
embedder_cache_round_end(embedder_cache *cache, weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (cache->must_trim && cache->generation > 1)
        code = trim(cache, stage, reterr);
    cache->must_trim = false;
    if (!cache->is_changed)
        return code;
    if (cache->young_bytes >= cache->bytes_max / 2) {
        cache->generation++;
        cache->young_bytes = 0;
        cache->must_trim = true; /* once this round is synced */
    }
    put_record(cache, stage);
    return code;
}
