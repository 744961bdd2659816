/*
 * tx_rows.c - the rows of one message: from memory, or read back from the outbox, completed where
 * they refer to another record.
 *
 * A row that is read back must be exactly the next number and match its CRC; a hole or a damaged
 * row stops the link (WEIR_CORRUPT), since going on would lose it without anybody knowing.
 */
#include "common/link/tx_internal.h"
#include "common/wire/wire.h"

void
link_tx_rows_fini(link_rows *rows)
{
    weir_iter_destroy(&rows->iter);
    rows->iter_seq = 0;
}

static void
open_iter(const weir_link_tx *tx, link_rows *rows, uint64_t seq)
{
    const link_outbox_key lower = link_outbox_key_of(tx->link, seq);
    const link_outbox_key upper = link_outbox_key_of(tx->link, UINT64_MAX);

    link_tx_rows_fini(rows);
    rows->iter = weir_store_iter(tx->store, NULL, weir_bytes_of(lower.bytes, sizeof lower.bytes),
        weir_bytes_of(upper.bytes, sizeof upper.bytes));
}

/* Stand on row seq; the iterator goes forward only, so a later row is one step and any other a new
 * iterator. */
static weir_code
seek_row(const weir_link_tx *tx, link_rows *rows, uint64_t seq, weir_error *reterr)
{
    uint64_t found = 0;

    if (rows->iter_seq == seq)
        return WEIR_OK;
    if (rows->iter == NULL || rows->iter_seq + 1 != seq)
        open_iter(tx, rows, seq);
    const bool more = weir_iter_next(rows->iter);
    const weir_code code = weir_iter_status(rows->iter, reterr);
    if (code != WEIR_OK)
        return code;
    if (!more || !link_outbox_key_parse(weir_iter_key(rows->iter), tx->link, &found) ||
        found != seq)
        return weir_error_set(reterr, WEIR_CORRUPT, "row %llu of link %#x is missing in the outbox",
            (unsigned long long)seq, (unsigned)tx->link);
    rows->iter_seq = seq;
    return WEIR_OK;
}

/* The stored row in memory that lives as long as the message is built. */
static weir_code
read_back(weir_link_tx *tx, link_rows *rows, uint64_t seq, weir_bytes *ret_row, weir_error *reterr)
{
    weir_bytes packed;
    weir_code code = seek_row(tx, rows, seq, reterr);
    if (code != WEIR_OK)
        return code;

    const weir_bytes stored = weir_iter_value(rows->iter);
    code = link_row_check(tx->link, seq, stored, &packed, reterr);
    if (code == WEIR_OK)
        *ret_row =
            weir_bytes_of(weir_arena_memdup(tx->scratch, stored.data, stored.size), stored.size);
    return code;
}

static weir_code
pack_resolved(weir_link_tx *tx, uint64_t seq, const Weir__Internal__V1__Row *row,
    weir_bytes *ret_row, weir_error *reterr)
{
    uint8_t *data = NULL;
    size_t size = 0;
    const weir_code code = link_row_pack(tx->link, seq, row, &data, &size, reterr);

    if (code == WEIR_OK)
        *ret_row = weir_bytes_of(weir_arena_memdup(tx->scratch, data, size), size);
    weir_free(data);
    return code;
}

/* Replace *row by its completed form. */
static weir_code
resolve_row(weir_link_tx *tx, uint64_t seq, weir_bytes *row, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_bytes packed = weir_bytes_of(row->data, row->size - LINK_ROW_CRC_BYTES);
    weir_code code = weir_wire_decode(&weir__internal__v1__row__descriptor, packed, NULL,
        tx->scratch, &message, reterr);
    if (code != WEIR_OK)
        return code;

    Weir__Internal__V1__Row *whole = (Weir__Internal__V1__Row *)message;
    code = tx->resolve(tx->resolve_ud, whole, tx->scratch, reterr);
    if (code == WEIR_OK)
        code = pack_resolved(tx, seq, whole, row, reterr);
    return code;
}

static weir_code
fetch(weir_link_tx *tx, link_rows *rows, uint64_t seq, weir_bytes *ret_row, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (!link_ring_get(&tx->ring, seq, ret_row))
        code = read_back(tx, rows, seq, ret_row, reterr);
    if (code == WEIR_OK && tx->resolve != NULL)
        code = resolve_row(tx, seq, ret_row, reterr);
    return code;
}

weir_code
link_tx_rows_collect(weir_link_tx *tx, link_rows *rows, uint64_t first, uint64_t last,
    weir_error *reterr)
{
    weir_arena_reset(tx->scratch);
    rows->count = rows->bytes = 0;
    for (uint64_t seq = first; seq <= last && rows->count < WEIR_FRAME_ROWS_MAX; seq++) {
        weir_bytes row;
        const weir_code code = fetch(tx, rows, seq, &row, reterr);

        if (code != WEIR_OK)
            return rows->count > 0
                ? WEIR_OK
                : code; /* what is whole goes first; the next call meets it again */
        if (rows->count > 0 && rows->bytes + row.size > WEIR_FRAME_BYTES_TARGET)
            break;
        rows->rows[rows->count++] = row;
        rows->bytes += row.size;
    }
    weir_assert(rows->count > 0);
    return WEIR_OK;
}
