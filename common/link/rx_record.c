/*
 * rx_record.c - the receiver's record of a link: whose rows, up to where.
 */
#include "common/link/rx_internal.h"

static weir_code
read_record(weir_link_rx *rx, const Weir__Internal__V1__LinkRxRecord *record, weir_error *reterr)
{
    if (record->peer_store_id.len != WEIR_STORE_ID_SIZE ||
        !link_boot_read(record->peer_boot, &rx->peer_boot))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "the receiver's record of link %#x has an identifier of a wrong size",
            (unsigned)rx->link);
    rx->has_peer = true;
    memcpy(rx->peer_store_id, record->peer_store_id.data, WEIR_STORE_ID_SIZE);
    rx->reset_era = record->reset_era;
    link_rx_begin_at(rx, record->cursor);
    rx->committed = record->cursor;
    return WEIR_OK;
}

weir_code
link_rx_record_load(weir_link_rx *rx, weir_error *reterr)
{
    const link_record_key key = link_record_key_of('c', rx->link);
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_code code = link_record_load(rx->store, weir_bytes_of(key.bytes, sizeof key.bytes),
        &weir__internal__v1__link_rx_record__descriptor, arena, &message, reterr);

    if (code == WEIR_OK && message != NULL)
        code = read_record(rx, (Weir__Internal__V1__LinkRxRecord *)message, reterr);
    weir_arena_destroy(&arena);
    return code;
}

void
link_rx_record_put(weir_link_rx *rx, weir_batch *batch)
{
    const link_record_key key = link_record_key_of('c', rx->link);
    Weir__Internal__V1__Boot boot = link_boot_message(&rx->peer_boot);
    Weir__Internal__V1__LinkRxRecord record = WEIR__INTERNAL__V1__LINK_RX_RECORD__INIT;

    weir_assert(rx->has_peer);
    record.peer_store_id = link_borrow(rx->peer_store_id, WEIR_STORE_ID_SIZE);
    record.peer_boot = &boot;
    record.cursor = LINK_MUTANT(CURSOR_APART) ? rx->prepared : rx->cursor;
    record.reset_era = rx->reset_era;
    link_record_put(batch, weir_bytes_of(key.bytes, sizeof key.bytes), &record.base);
    rx->prepared = rx->cursor;
}
