/*
 * outbox.c - looks of others into a sender's outbox, each from one snapshot.
 */
#include "common/link/internal.h"
#include "common/wire/wire.h"

struct weir_link_outbox {
    uint32_t link;
    weir_iter *iter;
    size_t bytes;
};

static weir_iter *
rows_from(weir_store *store, const weir_snapshot *snapshot, uint32_t link, uint64_t from_seq)
{
    const link_outbox_key lower = link_outbox_key_of(link, from_seq);
    const link_outbox_key upper = link_outbox_key_of(link + 1, 0);

    return weir_store_iter(store, snapshot, weir_bytes_of(lower.bytes, sizeof lower.bytes),
        weir_bytes_of(upper.bytes, sizeof upper.bytes));
}

weir_code
weir_link_outbox_end(weir_store *store, const weir_snapshot *snapshot, uint32_t link,
    uint64_t *ret_end, weir_error *reterr)
{
    weir_iter *iter = rows_from(store, snapshot, link, 0);
    uint64_t seq = 0;

    *ret_end = 0;
    if (weir_iter_last(iter) && link_outbox_key_parse(weir_iter_key(iter), link, &seq))
        *ret_end = seq + 1;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

weir_link_outbox *
weir_link_outbox_open(weir_store *store, const weir_snapshot *snapshot, uint32_t link,
    uint64_t from_seq)
{
    weir_link_outbox *outbox = weir_alloc_zero(1, sizeof *outbox);

    outbox->link = link;
    outbox->iter = rows_from(store, snapshot, link, from_seq);
    return outbox;
}

weir_code
weir_link_outbox_next(weir_link_outbox *outbox, weir_arena *arena,
    Weir__Internal__V1__Row **ret_row, weir_error *reterr)
{
    ProtobufCMessage *row = NULL;
    weir_bytes packed;
    uint64_t seq = 0;

    *ret_row = NULL;
    if (!weir_iter_next(outbox->iter))
        return weir_iter_status(outbox->iter, reterr);
    if (!link_outbox_key_parse(weir_iter_key(outbox->iter), outbox->link, &seq))
        return weir_error_set(reterr, WEIR_CORRUPT, "a key of the outbox is damaged");
    weir_code code =
        link_row_check(outbox->link, seq, weir_iter_value(outbox->iter), &packed, reterr);
    if (code == WEIR_OK)
        code = weir_wire_decode(&weir__internal__v1__row__descriptor, packed, NULL, arena, &row,
            reterr);
    outbox->bytes += packed.size;
    *ret_row = (Weir__Internal__V1__Row *)row;
    return code == WEIR_OK ? WEIR_OK
                           : weir_error_set(reterr, WEIR_CORRUPT, "row %llu of an outbox: %s",
                                 (unsigned long long)seq, reterr->message);
}

size_t
weir_link_outbox_bytes(const weir_link_outbox *outbox)
{
    return outbox->bytes;
}

void
weir_link_outbox_close(weir_link_outbox **outbox_p)
{
    weir_link_outbox *outbox = *outbox_p;

    if (outbox == NULL)
        return;
    weir_iter_destroy(&outbox->iter);
    weir_free(outbox);
    *outbox_p = NULL;
}
