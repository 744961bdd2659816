/*
 * keys.h - every byte weir-indexer itself puts into its database.  Schema 1.  (Links and stage have
 * the lower-case tags.)
 *
 * Integers are big-endian, so byte order is numeric order.  One leading tag byte per kind, in sort
 * order; "try" stands for document_id NUL, revision u64, epoch u64:
 *
 *   key                                          value
 *   'D' collection_no u64, document_id NUL       IndexDocumentRecord: the register
 *   'G'                                          IndexSeedRecord
 *   'K' collection_no u64, try, ordinal u32      ChunkRecord
 *   'M' collection_no u64, try                   IndexMetadataRecord
 *   'T' collection_no u64                        IndexCollectionRecord
 *   'V' collection_no u64, try, ordinal u32      vectors of that chunk and of up to 63 behind it,
 *                                                dimension x fp32 little-endian each; their CRC32C
 *                                                u32
 *
 * Invariants (indexer_verify and indexer_core_test.c):
 *   K1  'D' names tries: at most one READY one, and staged ones; each has a 'K' and a vector for
 *       each of its chunks, and one 'M'.
 *   K2  READY means vectors for the ordinals 0 .. ready_chunk_count - 1.
 *   K3  'K', 'V' and 'M' of any other try are litter, deleted in slices from the lowest ordinal
 *       on, first 'K', then 'V', by which a start finds it, and 'M' with the last.
 *   K4  each collection_no in a key has its 'T'.
 * The index in memory is rebuilt from 'V' alone; nothing here is rebuildable.
 */
#ifndef WEIR_INDEXER_KEYS_H
#define WEIR_INDEXER_KEYS_H

#include "common/base/limits.h"
#include "services/indexer/index.h"

enum { INDEXER_KEY_BYTES_MAX = 1 + 8 + WEIR_DOCUMENT_ID_BYTES_MAX + 1 + 8 + 8 + 4 };

typedef enum indexer_tag {
    INDEXER_TAG_DOCUMENT = 'D',
    INDEXER_TAG_SEED = 'G',
    INDEXER_TAG_CHUNK = 'K',
    INDEXER_TAG_METADATA = 'M',
    INDEXER_TAG_COLLECTION = 'T',
    INDEXER_TAG_VECTOR = 'V'
} indexer_tag;

typedef struct indexer_key {
    uint8_t bytes[INDEXER_KEY_BYTES_MAX];
    size_t size;
} indexer_key;

static inline weir_bytes
indexer_key_view(const indexer_key *key)
{
    return weir_bytes_of(key->bytes, key->size);
}

/* document_id has 1..WEIR_DOCUMENT_ID_BYTES_MAX bytes (asserted). */
indexer_key indexer_key_document(uint64_t collection_no, const char *document_id);
indexer_key indexer_key_seed(void);
indexer_key indexer_key_collection(uint64_t collection_no);
indexer_key indexer_key_metadata(uint64_t collection_no, const indexer_try *owner);
/* tag: CHUNK or VECTOR. */
indexer_key indexer_key_row(indexer_tag tag, uint64_t collection_no, const indexer_try *owner,
    uint32_t ordinal);
/* The first key after all rows of this try: an upper bound. */
indexer_key indexer_key_rows_end(indexer_tag tag, uint64_t collection_no, const indexer_try *owner);
/* [lower, upper) of all keys of a tag (METADATA, CHUNK or VECTOR) of one document, whatever the
 * try.
 */
void indexer_key_tries(indexer_tag tag, uint64_t collection_no, const char *document_id,
    indexer_key *ret_lower, indexer_key *ret_upper);
/* [lower, upper) of all keys of a tag, or of one collection's (collection_no > 0). */
void indexer_key_range(indexer_tag tag, uint64_t collection_no, indexer_key *ret_lower,
    indexer_key *ret_upper);

/* What a stored key says; document_id points into the key.  Fields that the tag's keys lack are 0.
 */
typedef struct indexer_key_parts {
    uint64_t collection_no;
    indexer_try owner;
    uint32_t ordinal;
} indexer_key_parts;

/* WEIR_CORRUPT for anything that is not a key of this tag. */
weir_code indexer_key_parse(indexer_tag tag, weir_bytes key, indexer_key_parts *ret_parts,
    weir_error *reterr) WEIR_MUST_CHECK;

/* The stored form of `count` vectors in a row: appended to `out`. */
void indexer_vectors_encode(const float *vectors, uint32_t count, uint32_t dimension,
    weir_buffer *out);
/* *ret_vectors points into `value`, which need not be aligned for floats.  WEIR_CORRUPT when the
 * size or the checksum is wrong. */
weir_code indexer_vectors_check(weir_bytes value, uint32_t dimension, weir_bytes *ret_vectors,
    uint32_t *ret_count, weir_error *reterr) WEIR_MUST_CHECK;

#endif
