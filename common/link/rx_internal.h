/*
 * rx_internal.h - the receiver's end, split over rx*.c.
 */
#ifndef WEIR_LINK_RX_INTERNAL_H
#define WEIR_LINK_RX_INTERNAL_H

#include "common/link/internal.h"

struct weir_link_rx {
    weir_store *store;
    uint32_t link;
    bool carries_era;
    link_boot boot;
    uint8_t store_id[WEIR_STORE_ID_SIZE];

    /* Stands in the record, or goes into it with the next write. */
    bool has_peer;
    uint8_t peer_store_id[WEIR_STORE_ID_SIZE];
    link_boot peer_boot; /* greatest seen */
    uint64_t reset_era;

    /* committed <= prepared <= cursor <= received */
    uint64_t committed; /* the cursor on disk: the only one that is ever told */
    uint64_t prepared;  /* the cursor in the round's batch */
    uint64_t cursor;    /* contiguous settled rows, those of this round included */
    uint64_t received;  /* accepted and delivered */
    uint8_t *marks;     /* settled beyond the cursor, by seq & (capacity - 1) */
    size_t marks_capacity;
    bool dirty; /* what a HELLO changed is not synced yet: nothing leaves */

    bool hello_seen; /* this boot saw a HELLO of peer_boot */
    bool holding;    /* a HELLO that begins again waits until what is in flight has settled: no rows
                        meanwhile */
    uint32_t credit;

    /* Due to leave. */
    bool answer_due, ack_due, nak_due;
    link_boot hello_boot; /* of the HELLO that is answered */
    uint64_t hello_acked;
    uint64_t hello_reset_era;
    bool nak_sent; /* for the gap behind nak_received */
    uint64_t nak_received;
    int64_t nak_at_ms;
    int64_t retry_at_ms;

    uint64_t duplicate_total, gap_total, refused_total, old_era_total;
    char alarm[160];
    uint64_t alarm_era;

    weir_arena *arena; /* the row that is being delivered */
    weir_buffer envelope;
    weir_buffer frame;
};

/* ---- rx_record.c ---- */
weir_code link_rx_record_load(weir_link_rx *rx, weir_error *reterr) WEIR_MUST_CHECK;
/* Put the record with `cursor` into the round's batch. */
void link_rx_record_put(weir_link_rx *rx, weir_batch *batch);

/* ---- rx_hello.c ---- */
void link_rx_hello(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era,
    weir_batch *batch);

/* ---- rx_rows.c ---- */
weir_code link_rx_rows(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era,
    int64_t now_ms, weir_link_deliver *deliver, void *ud, weir_error *reterr) WEIR_MUST_CHECK;
/* Everything up to `seq` is settled, nothing beyond is in flight. */
void link_rx_begin_at(weir_link_rx *rx, uint64_t seq);
void link_rx_want_resend(weir_link_rx *rx, int64_t now_ms);

#endif
