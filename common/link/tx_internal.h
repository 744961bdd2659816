/*
 * tx_internal.h - the sender's end, split over tx*.c.
 */
#ifndef WEIR_LINK_TX_INTERNAL_H
#define WEIR_LINK_TX_INTERNAL_H

#include "common/link/internal.h"

typedef struct link_start {
    link_boot boot;
    uint64_t first; /* `next` when it began */
} link_start;

/* Rows of the outbox that are still in memory: numbers first .. end - 1, each in memory of its own.
 */
typedef struct link_ring {
    struct link_ring_row {
        uint8_t *data;
        size_t size;
    } *rows;
    size_t capacity; /* a power of two, or 0 */
    uint64_t first, end;
    size_t bytes, bytes_max;
} link_ring;

/* Take over `data`; it is freed when it does not fit.  sent: rows up to it may be dropped to make
 * room. */
void link_ring_push(link_ring *ring, uint64_t seq, uint8_t *data, size_t size, uint64_t sent);
/* False when the row is not in memory. */
bool link_ring_get(const link_ring *ring, uint64_t seq, weir_bytes *ret_row);
void link_ring_drop_to(link_ring *ring, uint64_t seq); /* rows up to and with seq */
void link_ring_fini(link_ring *ring);

struct weir_link_tx {
    weir_store *store;
    uint32_t link;
    link_boot boot;
    uint8_t store_id[WEIR_STORE_ID_SIZE];
    weir_code (*resolve)(void *ud, Weir__Internal__V1__Row *row, weir_arena *arena,
        weir_error *reterr);
    void *resolve_ud;

    /* Stands in the record, or goes into it with the next write. */
    uint64_t next;           /* to give out */
    uint64_t next_committed; /* numbers below it are synced and may leave */
    uint64_t acked;          /* greatest known to be settled */
    uint64_t trimmed;        /* `acked` of the record: rows up to it are gone, all above exist */
    bool has_peer;
    uint8_t peer_store_id[WEIR_STORE_ID_SIZE];
    link_start *starts; /* oldest first, this one last */
    size_t start_count;
    uint64_t reset_era; /* 0: never */
    uint64_t reset_start;
    link_peers replaced;
    bool dirty; /* the record was written into a batch that is not synced yet: nothing leaves */

    /* The conversation of this start. */
    weir_link_state state;
    bool has_peer_boot;
    link_boot peer_boot;
    uint32_t credit;
    uint64_t sent;      /* the window ends here; falls back to acked */
    uint64_t sent_most; /* greatest number that left in this start */
    int64_t hello_at_ms;
    int64_t hello_wait_ms; /* 0: the next one comes after LINK_HELLO_MS */
    int64_t hello_sent_ms;

    /* The timer of R2. */
    int64_t progress_at_ms;
    int64_t rto_ms;
    int64_t srtt_8th_ms; /* eight times the smoothed ack time; -1: not measured yet */
    uint64_t timed_seq;  /* its ack is being timed; 0: none */
    int64_t timed_at_ms;
    uint64_t back_to; /* the last going back */
    int64_t back_at_ms;
    int64_t retry_at_ms; /* no room or no resolved row: not before */
    int64_t retry_wait_ms;
    uint32_t stalled_rtos;

    uint64_t resent_total, refused_total;
    uint64_t era;
    char alarm[160];
    weir_link_lost alarm_lost;
    uint64_t alarm_era;
    uint8_t alarm_store_id[WEIR_STORE_ID_SIZE];

    link_ring ring;
    weir_buffer envelope;
    weir_buffer frame;
    weir_arena *scratch; /* rows of the message being built that are not in the ring */
};

static inline Weir__Internal__V1__Start
link_start_message(const link_start *start, Weir__Internal__V1__Boot *boot)
{
    Weir__Internal__V1__Start message = WEIR__INTERNAL__V1__START__INIT;

    message.boot = boot;
    message.first = start->first;
    return message;
}

/* ---- tx_record.c ---- */
weir_code link_tx_record_load(weir_link_tx *tx, weir_error *reterr) WEIR_MUST_CHECK;
/* Write the record with `trimmed` as acked: it must agree with the rows that exist in the same
 * batch. */
void link_tx_record_put(const weir_link_tx *tx, weir_batch *batch, uint64_t next);
/* ... into the round's batch; nothing leaves until weir_link_tx_committed. */
void link_tx_record_change(weir_link_tx *tx, weir_batch *batch);
/* Start messages for a HELLO or a record, from the arena. */
Weir__Internal__V1__Start **link_tx_starts_message(const weir_link_tx *tx, weir_arena *arena);
/* Add this start; the list stays within LINK_STARTS_MAX. */
void link_tx_starts_add(weir_link_tx *tx, const link_boot *boot, uint64_t first);
/* Forget the starts before this one; false when there was none. */
bool link_tx_starts_prune(weir_link_tx *tx);
/* *ret_first: the first number of the start that followed that one; false: that one is not in the
 * list, or is this start. */
bool link_tx_starts_following(const weir_link_tx *tx, const link_boot *boot, uint64_t *ret_first);
void link_tx_reset_message(const weir_link_tx *tx, Weir__Internal__V1__Reset *reset);

/* ---- tx_rows.c ---- */
typedef struct link_rows {
    weir_bytes rows[WEIR_FRAME_ROWS_MAX];
    size_t count;
    size_t bytes;
    weir_iter
        *iter; /* over the outbox, opened when a row is not in memory; lives as long as one pump */
    uint64_t iter_seq; /* where it stands; 0: nowhere */
} link_rows;

/* Collect rows first .. last, as many as go into one message.  count 0 with WEIR_OK does not
 * happen. */
weir_code link_tx_rows_collect(weir_link_tx *tx, link_rows *rows, uint64_t first, uint64_t last,
    weir_error *reterr) WEIR_MUST_CHECK;
void link_tx_rows_fini(link_rows *rows);

/* ---- tx_send.c ---- */
/* A cursor from the receiver that passed all checks; true when acked moved. */
bool link_tx_progress(weir_link_tx *tx, uint64_t cursor, int64_t now_ms);
void link_tx_go_back(weir_link_tx *tx, int64_t now_ms);
/* Say HELLO now, and fast until it is answered. */
void link_tx_hello_now(weir_link_tx *tx);

#endif
