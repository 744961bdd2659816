/*
 * keys.c - built only here, parsed only here (see keys.h).
 */
#include "services/indexer/keys.h"

#include "common/base/assert.h"
#include "common/base/hash.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
    "vectors are stored as they are in memory");

static void
put_u8(indexer_key *key, uint8_t value)
{
    key->bytes[key->size++] = value;
}

static void
put_u32(indexer_key *key, uint32_t value)
{
    weir_store_u32(key->bytes + key->size, value);
    key->size += 4;
}

static void
put_u64(indexer_key *key, uint64_t value)
{
    weir_store_u64(key->bytes + key->size, value);
    key->size += 8;
}

static indexer_key
key_of_collection(indexer_tag tag, uint64_t collection_no)
{
    indexer_key key;

    key.size = 0;
    put_u8(&key, (uint8_t)tag);
    put_u64(&key, collection_no);
    return key;
}

static indexer_key
key_of_document(indexer_tag tag, uint64_t collection_no, const char *document_id)
{
    indexer_key key = key_of_collection(tag, collection_no);
    const size_t size = strlen(document_id) + 1;

    weir_assert(size > 1 && size <= WEIR_DOCUMENT_ID_BYTES_MAX + 1);
    memcpy(key.bytes + key.size, document_id, size);
    key.size += size;
    return key;
}

static indexer_key
key_of_try(indexer_tag tag, uint64_t collection_no, const indexer_try *owner)
{
    indexer_key key = key_of_document(tag, collection_no, owner->document_id);

    put_u64(&key, (uint64_t)owner->revision);
    put_u64(&key, (uint64_t)owner->epoch);
    return key;
}

indexer_key
indexer_key_document(uint64_t collection_no, const char *document_id)
{
    return key_of_document(INDEXER_TAG_DOCUMENT, collection_no, document_id);
}

indexer_key
indexer_key_seed(void)
{
    indexer_key key;

    key.size = 0;
    put_u8(&key, INDEXER_TAG_SEED);
    return key;
}

indexer_key
indexer_key_collection(uint64_t collection_no)
{
    return key_of_collection(INDEXER_TAG_COLLECTION, collection_no);
}

indexer_key
indexer_key_metadata(uint64_t collection_no, const indexer_try *owner)
{
    return key_of_try(INDEXER_TAG_METADATA, collection_no, owner);
}

indexer_key
indexer_key_row(indexer_tag tag, uint64_t collection_no, const indexer_try *owner, uint32_t ordinal)
{
    indexer_key key = key_of_try(tag, collection_no, owner);

    weir_assert(tag == INDEXER_TAG_CHUNK || tag == INDEXER_TAG_VECTOR);
    put_u32(&key, ordinal);
    return key;
}

indexer_key
indexer_key_rows_end(indexer_tag tag, uint64_t collection_no, const indexer_try *owner)
{
    const indexer_try next = { owner->document_id, owner->revision, owner->epoch + 1 };

    return key_of_try(tag, collection_no, &next);
}

void
indexer_key_tries(indexer_tag tag, uint64_t collection_no, const char *document_id,
    indexer_key *ret_lower, indexer_key *ret_upper)
{
    *ret_lower = key_of_document(tag, collection_no, document_id);
    *ret_upper = *ret_lower;
    ret_upper->bytes[ret_upper->size - 1] = 1; /* behind the NUL */
}

void
indexer_key_range(indexer_tag tag, uint64_t collection_no, indexer_key *ret_lower,
    indexer_key *ret_upper)
{
    *ret_lower = key_of_collection(tag, collection_no);
    *ret_upper = key_of_collection(tag, collection_no + 1);
    if (collection_no > 0)
        return;
    ret_lower->size = 1;
    ret_upper->bytes[0]++;
    ret_upper->size = 1;
}

static bool
has_document(indexer_tag tag)
{
    return tag != INDEXER_TAG_COLLECTION;
}

static size_t
tail_size(indexer_tag tag)
{
    if (tag == INDEXER_TAG_METADATA)
        return 16;
    return tag == INDEXER_TAG_CHUNK || tag == INDEXER_TAG_VECTOR ? 20 : 0;
}

/* Take the document's id; false if it does not end. */
static bool
parse_document(weir_bytes key, size_t *at, const char **ret_document_id)
{
    const uint8_t *end = memchr(key.data + *at, 0, key.size - *at);

    if (end == NULL || end == key.data + *at)
        return false;
    *ret_document_id = (const char *)key.data + *at;
    *at = (size_t)(end + 1 - key.data);
    return true;
}

weir_code
indexer_key_parse(indexer_tag tag, weir_bytes key, indexer_key_parts *ret_parts, weir_error *reterr)
{
    indexer_key_parts parts = { 0 };
    size_t at = 9;

    if (key.size < at || key.data[0] != tag || weir_load_u64(key.data + 1) == 0)
        return weir_error_set(reterr, WEIR_CORRUPT, "a key of %zu bytes is none of tag '%c'",
            key.size, (int)tag);
    parts.collection_no = weir_load_u64(key.data + 1);
    if (has_document(tag) && !parse_document(key, &at, &parts.owner.document_id))
        return weir_error_set(reterr, WEIR_CORRUPT, "a key of tag '%c' names no document",
            (int)tag);
    if (key.size - at != tail_size(tag))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "a key of tag '%c' has %zu bytes too many or too few", (int)tag, key.size - at);
    if (tail_size(tag) >= 16) {
        parts.owner.revision = (int64_t)weir_load_u64(key.data + at);
        parts.owner.epoch = (int64_t)weir_load_u64(key.data + at + 8);
    }
    if (tail_size(tag) == 20)
        parts.ordinal = weir_load_u32(key.data + at + 16);
    *ret_parts = parts;
    return WEIR_OK;
}

void
indexer_vectors_encode(const float *vectors, uint32_t count, uint32_t dimension, weir_buffer *out)
{
    const weir_bytes bytes = weir_bytes_of(vectors, (size_t)count * dimension * sizeof *vectors);

    weir_assert(count > 0);
    weir_buffer_append(out, bytes.data, bytes.size);
    weir_buffer_append_u32(out, weir_crc32c(0, bytes));
}

weir_code
indexer_vectors_check(weir_bytes value, uint32_t dimension, weir_bytes *ret_vectors,
    uint32_t *ret_count, weir_error *reterr)
{
    const size_t one = dimension * sizeof(float);

    if (value.size < one + 4 || (value.size - 4) % one != 0 ||
        (value.size - 4) / one > WEIR_CHUNKS_PER_ROW_MAX)
        return weir_error_set(reterr, WEIR_CORRUPT,
            "stored vectors of %zu bytes, not 1 to %d times %zu", value.size,
            WEIR_CHUNKS_PER_ROW_MAX, one);
    const weir_bytes vectors = weir_bytes_of(value.data, value.size - 4);

    if (weir_crc32c(0, vectors) != weir_load_u32(value.data + vectors.size))
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored vector fails its checksum");
    *ret_vectors = vectors;
    *ret_count = (uint32_t)(vectors.size / one);
    return WEIR_OK;
}
