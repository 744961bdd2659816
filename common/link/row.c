/*
 * row.c - a row as it stands in the outbox and travels: the packed Row, then CRC32C over (link,
 * seq, row).
 *
 * The CRC binds the row to its place, so a row that is read under another number is found, and it
 * is made once, by the sender: it guards the outbox, the wire and the receiver's memory alike.  A
 * row that a receiver's decoder would refuse never enters an outbox, because it would stand in the
 * way of every later one.
 */
#include "common/base/hash.h"
#include "common/link/internal.h"
#include "common/wire/wire.h"

link_outbox_key
link_outbox_key_of(uint32_t link, uint64_t seq)
{
    link_outbox_key key;

    key.bytes[0] = 'o';
    weir_store_u32(key.bytes + 1, link);
    weir_store_u64(key.bytes + 5, seq);
    return key;
}

bool
link_outbox_key_parse(weir_bytes key, uint32_t link, uint64_t *ret_seq)
{
    if (key.size != LINK_OUTBOX_KEY_BYTES || key.data[0] != 'o' ||
        weir_load_u32(key.data + 1) != link)
        return false;
    *ret_seq = weir_load_u64(key.data + 5);
    return true;
}

link_record_key
link_record_key_of(uint8_t tag, uint32_t link)
{
    link_record_key key;

    key.bytes[0] = tag;
    weir_store_u32(key.bytes + 1, link);
    return key;
}

uint32_t
link_row_crc(uint32_t link, uint64_t seq, weir_bytes packed)
{
    const link_outbox_key place = link_outbox_key_of(link, seq);
    const uint32_t crc = weir_crc32c(0, weir_bytes_of(place.bytes + 1, sizeof place.bytes - 1));

    return weir_crc32c(crc, packed);
}

static weir_code
check_fits(uint32_t link, size_t size, weir_error *reterr)
{
    if (size <= WEIR_ROW_BYTES_MAX - LINK_ROW_CRC_BYTES)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_BODY_TOO_LARGE, "a row of %zu bytes on link %#x; at most %d",
        size, (unsigned)link, WEIR_ROW_BYTES_MAX - LINK_ROW_CRC_BYTES);
}

weir_code
link_row_pack(uint32_t link, uint64_t seq, const Weir__Internal__V1__Row *row, uint8_t **ret_data,
    size_t *ret_size, weir_error *reterr)
{
    const size_t size = weir__internal__v1__row__get_packed_size(row);
    weir_code code = check_fits(link, size, reterr);
    if (code != WEIR_OK)
        return code;

    uint8_t *data = weir_alloc(size + LINK_ROW_CRC_BYTES);
    const size_t written = weir__internal__v1__row__pack(row, data);
    weir_assert(written == size);
    const weir_bytes packed = weir_bytes_of(data, size);

    code = weir_wire_check(&weir__internal__v1__row__descriptor, packed, NULL, reterr);
    if (code != WEIR_OK) {
        weir_free(data);
        return code;
    }
    weir_store_u32(data + size, link_row_crc(link, seq, packed));
    *ret_data = data;
    *ret_size = size + LINK_ROW_CRC_BYTES;
    return WEIR_OK;
}

weir_code
link_row_check(uint32_t link, uint64_t seq, weir_bytes stored, weir_bytes *ret_packed,
    weir_error *reterr)
{
    if (stored.size >= LINK_ROW_CRC_BYTES) {
        const weir_bytes packed = weir_bytes_of(stored.data, stored.size - LINK_ROW_CRC_BYTES);

        if (weir_load_u32(stored.data + packed.size) == link_row_crc(link, seq, packed)) {
            *ret_packed = packed;
            return WEIR_OK;
        }
    }
    return weir_error_set(reterr, WEIR_CORRUPT,
        "row %llu of link %#x (%zu bytes) does not match its CRC", (unsigned long long)seq,
        (unsigned)link, stored.size);
}
