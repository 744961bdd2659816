/*
 * hash.c - the hash-D models: signed feature hashing (Weinberger et al. 2009), no learning, no
 * files.
 *
 * Each word and each pair of neighbouring words falls by its hash into one of D components and adds
 * +1 or -1 there (a pair: half), so texts that share words are near each other.  For tests and
 * benches. "hash-v1" in the fingerprint names exactly what this file does: change it and change the
 * name.
 */
#include <math.h>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/text/tokens.h"
#include "common/text/unicode.h"
#include "services/embedder/encoder.h"

enum {
    WORD_SEED = 0x77656972, /* "weir" */
    PAIR_SEED = 0x70616972, /* "pair" */
    BLOCK_BYTES = 64,
};

/* Hash of a token in lower case, block by block, so that its length does not matter. */
static uint64_t
hash_token(weir_bytes token)
{
    uint8_t block[BLOCK_BYTES];
    size_t filled = 0;
    uint64_t hash = WORD_SEED;

    for (size_t at = 0; at < token.size;) {
        size_t size = 0;
        const uint32_t code = weir_utf8_decode(token.data + at, token.size - at, &size);

        filled += weir_utf8_encode(weir_char_lower(code), block + filled);
        at += size;
        if (filled + 4 > BLOCK_BYTES) {
            hash = weir_hash64(weir_bytes_of(block, filled), hash);
            filled = 0;
        }
    }
    return weir_hash64(weir_bytes_of(block, filled), hash);
}

static void
add_feature(uint64_t hash, float weight, uint32_t dimension, float *out)
{
    const float sign = (hash >> 63) != 0 ? 1.0F : -1.0F;

    out[(hash & UINT64_C(0x7FFFFFFFFFFFFFFF)) % dimension] += sign * weight;
}

static uint64_t
hash_pair(uint64_t left, uint64_t right)
{
    uint8_t both[16];

    weir_store_u64(both, left);
    weir_store_u64(both + 8, right);
    return weir_hash64(weir_bytes_of(both, sizeof both), PAIR_SEED);
}

static bool
is_word(weir_bytes token)
{
    size_t size = 0;

    return weir_char_is_letter_or_digit(weir_utf8_decode(token.data, token.size, &size));
}

/* Add the words (or, without any, every token); returns how many tokens there are. */
static uint32_t
add_tokens(weir_bytes text, bool words_only, uint32_t dimension, uint32_t max_tokens, float *out)
{
    uint32_t count = 0;
    uint64_t last = 0;
    size_t position = 0;
    weir_bytes token;

    while (count < max_tokens && weir_hash_token_next(text, &position, &token)) {
        count++;
        if (words_only && !is_word(token))
            continue;
        const uint64_t hash = hash_token(token);

        add_feature(hash, 1.0F, dimension, out);
        if (last != 0)
            add_feature(hash_pair(last, hash), 0.5F, dimension, out);
        last = hash;
    }
    return count;
}

static bool
is_zero(const float *vector, uint32_t dimension)
{
    for (uint32_t i = 0; i < dimension; i++) {
        if (fabsf(vector[i]) > 0.0F)
            return false;
    }
    return true;
}

uint32_t
embedder_hash_embed(weir_bytes text, uint32_t dimension, uint32_t max_tokens, float *out)
{
    weir_assert(dimension > 0);
    for (uint32_t i = 0; i < dimension; i++)
        out[i] = 0.0F;
    const uint32_t count = add_tokens(text, true, dimension, max_tokens, out);

    if (is_zero(out, dimension))
        (void)add_tokens(text, false, dimension, max_tokens, out);
    if (is_zero(out, dimension)) /* features have cancelled each other, or there are only spaces */
        add_feature(weir_hash64(text, WORD_SEED), 1.0F, dimension, out);
    return count;
}
