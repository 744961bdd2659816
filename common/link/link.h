/*
 * link.h - the durable, ordered, acknowledged hand-off between two services, without I/O.
 *
 * A successful send over ZeroMQ means nothing, so a link is a log in the sender's database, shipped
 * over PUSH/PULL and acknowledged by cursor.  weir_link_tx is the sender's end, weir_link_rx the
 * receiver's.  Both are state machines over the store: bytes of frames and a clock come in, bytes
 * of frames go out, and every durable change goes into the batch of the caller's round.
 * PROTOCOLS.md names the rules R1..R11; tests/model/link.pml models them.
 *
 * Keys, in sort order (integers big-endian):
 *   'a'                                     IdentityRecord
 *   'c' link u32                            LinkRxRecord     (receiver)
 *   'l' link u32                            LinkTxRecord     (sender)
 *   'o' link u32, seq u64                   packed Row, then CRC32C over link, seq and row
 *                                           (the sender's outbox)
 *
 * A crash at any instruction leaves whole batches only; weir_link_*_start rebuilds everything in
 * memory.
 *
 * Threads: one, the core's.  Frames leave only after weir_link_*_committed (R1: a sequence number
 * never leaves the process before its own commit is synced; asserted).
 */
#ifndef WEIR_LINK_LINK_H
#define WEIR_LINK_LINK_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/store/store.h"
#include "weir/internal/v1/link.pb-c.h"
#include "weir/internal/v1/row.pb-c.h"

enum { WEIR_STORE_ID_SIZE = 16, WEIR_BOOT_RANDOM_SIZE = 16 };

/* Who this process is: its database and its start. */
typedef struct weir_link_identity {
    uint8_t store_id[WEIR_STORE_ID_SIZE];
    uint64_t boot_counter;
    uint8_t boot_random[WEIR_BOOT_RANDOM_SIZE];
    bool unclean; /* the last process did not end by a drain: careful mode (R6) */
} weir_link_identity;

/* Begin a start: make store_id if the database is new, count the boot, synced before it returns.
 * random: 32 bytes (16 for a new store_id, 16 for the boot). */
weir_code weir_link_identity_start(weir_store *store, const char *service, const uint8_t random[32],
    weir_link_identity *ret_identity, weir_error *reterr) WEIR_MUST_CHECK;
/* Mark a clean end in `batch`; the caller commits it last of all. */
weir_code weir_link_identity_stop(weir_batch *batch, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- the sender's end ---- */

typedef struct weir_link_tx weir_link_tx;

typedef enum weir_link_state {
    WEIR_LINK_WAITING = 1, /* no answer to a HELLO of this boot (and RESET) yet: no rows leave */
    WEIR_LINK_OPEN,
    WEIR_LINK_REGRESSED /* PEER_REGRESSED: stopped until a RESET of a higher era */
} weir_link_state;

typedef struct weir_link_tx_options {
    weir_store *store;
    const weir_link_identity *identity; /* borrowed for life */
    uint32_t link;
    size_t memory_bytes_max; /* fresh rows kept for sending; others are read back; 0: 8 MiB */
    /* Complete a stored row before it is sent (a body or vector by reference); memory from the
     * arena.  NULL: none. A failure skips nothing: the send stops there and is tried again later;
     * WEIR_CORRUPT and WEIR_STORE_IO are returned by weir_link_tx_pump. */
    weir_code (*resolve)(void *ud, Weir__Internal__V1__Row *row, weir_arena *arena,
        weir_error *reterr);
    void *resolve_ud;
} weir_link_tx_options;

/* Whose volume an alarm says was lost or rolled back. */
typedef enum weir_link_lost {
    WEIR_LINK_LOST_NONE = 0,
    WEIR_LINK_LOST_PEER, /* the receiver's */
    WEIR_LINK_LOST_OWN,  /* the sender's */
    WEIR_LINK_LOST_EITHER
} weir_link_lost;

typedef struct weir_link_tx_status {
    weir_link_state state;
    uint64_t next, acked, sent; /* next to give out; greatest acked; greatest sent in this start */
    uint32_t credit;            /* rows that may be beyond acked */
    uint64_t resent_total;      /* rows sent again in this start */
    uint64_t refused_total;     /* frames that were not for this database, start or link */
    uint32_t stalled_rtos;      /* time-outs since the last progress; after several, reopen */
    bool has_peer;
    uint8_t peer_store_id[WEIR_STORE_ID_SIZE];
    uint64_t peer_boot_counter; /* of the answer that opened the link */
    uint8_t peer_boot_random[WEIR_BOOT_RANDOM_SIZE];
    uint64_t reset_era; /* of the RESET in force; 0: none */
    char alarm[160];    /* why REGRESSED, or "" */
    weir_link_lost alarm_lost;
    uint64_t alarm_era;
    uint8_t alarm_store_id[WEIR_STORE_ID_SIZE]; /* the database that was met then */
} weir_link_tx_status;

/* Load from the store, count this start in `starts`; writes go into `batch`, which the caller
 * commits synced before the first frame leaves.  era: the sender's era now. */
weir_code weir_link_tx_start(const weir_link_tx_options *options, uint64_t era, weir_batch *batch,
    weir_link_tx **ret_tx, weir_error *reterr) WEIR_MUST_CHECK;
void weir_link_tx_destroy(weir_link_tx **tx_p);

/* R1: give the row the next sequence number and put it into `batch`.  ret_seq may be NULL.
 * WEIR_BODY_TOO_LARGE above WEIR_ROW_BYTES_MAX, WEIR_MALFORMED_MESSAGE for a row that no receiver
 * would take (text that is not UTF-8, say); nothing was written then. */
weir_code weir_link_tx_append(weir_link_tx *tx, weir_batch *batch,
    const Weir__Internal__V1__Row *row, uint64_t *ret_seq, weir_error *reterr) WEIR_MUST_CHECK;
/* Rows that may be appended and sent at once within the credit (R10: the backlog's dispatcher
 * asks). */
uint64_t weir_link_tx_room(const weir_link_tx *tx);
/* The batch with all writes of this link so far is synced: call after every commit of a batch that
 * a weir_link_tx_ function wrote to, not only after appends; nothing leaves before. */
void weir_link_tx_committed(weir_link_tx *tx);
/* The sender's era has risen: alarms from now on name it. */
void weir_link_tx_set_era(weir_link_tx *tx, uint64_t era);

typedef enum weir_link_tx_news {
    WEIR_LINK_NEWS_NONE = 0,
    WEIR_LINK_NEWS_ACKED = 1, /* acked moved */
    WEIR_LINK_NEWS_OPENED =
        2, /* the answer to this boot's HELLO was accepted, or the peer has a new boot */
    WEIR_LINK_NEWS_ALARM = 4 /* became REGRESSED */
} weir_link_tx_news;         /* bits */

/* A frame from the receiver (answer, ack, nak).  Frames that are not for this database, boot and
 * link are dropped and counted.  Durable changes go into `batch`. *ret_news: bits of
 * weir_link_tx_news. */
weir_code weir_link_tx_frame(weir_link_tx *tx, const Weir__Internal__V1__Frame *frame,
    int64_t now_ms, weir_batch *batch, unsigned *ret_news, weir_error *reterr) WEIR_MUST_CHECK;

/* Where frames go.  False: not sent (the queue is full); the link tries again later. */
typedef bool weir_link_send(void *ud, uint32_t link, weir_bytes frame);

/* Send what may be sent now: HELLO when due, rows within window and credit, resends after RTO, NAK
 * or a new boot. Call after each commit and at *ret_wake_ms at the latest.  Reads rows back from
 * the store when they are no longer in memory; WEIR_CORRUPT when an outbox row is missing or
 * damaged. */
weir_code weir_link_tx_pump(weir_link_tx *tx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms, weir_error *reterr) WEIR_MUST_CHECK;

/* R5: delete acknowledged rows, in a plain unsynced batch of its own, once enough of them gathered
 * (or force). */
weir_code weir_link_tx_trim(weir_link_tx *tx, bool force, weir_error *reterr) WEIR_MUST_CHECK;

/* R8 RESET after a loss: drop rows of older eras from the outbox, re-open towards
 * receiver_store_id.  Idempotent per era; what a replaced database says is refused until a RESET of
 * a later era names it again.  Durable in `batch`. */
weir_code weir_link_tx_reset(weir_link_tx *tx, uint64_t era,
    const uint8_t receiver_store_id[WEIR_STORE_ID_SIZE], weir_batch *batch,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_link_tx_status_read(const weir_link_tx *tx, weir_link_tx_status *ret_status);

/* ---- looks of others into an outbox, any thread ---- */

/* One past the greatest sequence number in the outbox of the snapshot; 0: it is empty, so all that
 * was ever sent is acknowledged. */
weir_code weir_link_outbox_end(weir_store *store, const weir_snapshot *snapshot, uint32_t link,
    uint64_t *ret_end, weir_error *reterr) WEIR_MUST_CHECK;

/* The rows from from_seq on, in order. */
typedef struct weir_link_outbox weir_link_outbox;
weir_link_outbox *weir_link_outbox_open(weir_store *store, const weir_snapshot *snapshot,
    uint32_t link, uint64_t from_seq);
/* *ret_row in the arena, as it is stored (not resolved); NULL: the end.  WEIR_CORRUPT. */
weir_code weir_link_outbox_next(weir_link_outbox *outbox, weir_arena *arena,
    Weir__Internal__V1__Row **ret_row, weir_error *reterr) WEIR_MUST_CHECK;
/* Bytes of the rows so far. */
size_t weir_link_outbox_bytes(const weir_link_outbox *outbox);
/* Accepts NULL. */
void weir_link_outbox_close(weir_link_outbox **outbox_p);

/* ---- the receiver's end ---- */

typedef struct weir_link_rx weir_link_rx;

typedef struct weir_link_rx_options {
    weir_store *store;
    const weir_link_identity *identity;
    uint32_t link;
    bool carries_era;
} weir_link_rx_options;

typedef struct weir_link_rx_status {
    uint64_t cursor;   /* greatest settled */
    uint64_t received; /* greatest accepted */
    uint32_t credit;
    uint64_t duplicate_total, gap_total, refused_total, old_era_total;
    bool has_peer;
    bool hello_seen; /* this boot answered a HELLO of the sender's boot in force */
    uint8_t peer_store_id[WEIR_STORE_ID_SIZE];
    uint64_t peer_boot_counter; /* the sender's boot in force */
    uint8_t peer_boot_random[WEIR_BOOT_RANDOM_SIZE];
    uint64_t reset_era;
    /* The sender was rolled back (numbers used again), or "".  For whoever looks: the sender finds
     * the same in the answer, and its alarm is the one that counts (a late HELLO of before a RESET
     * may raise this one). */
    char alarm[160];
    uint64_t alarm_era; /* the receiver's era when the alarm was raised */
} weir_link_rx_status;

weir_code weir_link_rx_start(const weir_link_rx_options *options, weir_link_rx **ret_rx,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_link_rx_destroy(weir_link_rx **rx_p);

/* One accepted row, in sequence order, each exactly once per start (again after a restart if it was
 * not settled). `row` lives until the callback returns; so does `packed`, the same row as packed
 * protobuf without the CRC, for a deferral.  A row of an old era (carries_era) is a counted no-op
 * (R3): the rx settles it by itself and does not call. An error: the row was not taken, and comes
 * again; the callback must not have kept it. */
typedef weir_code weir_link_deliver(void *ud, uint32_t link, uint64_t seq,
    const Weir__Internal__V1__Row *row, weir_bytes packed, weir_error *reterr);

/* A frame from the sender (hello, rows).  `era`: the receiver's era now.  Damaged, foreign and
 * out-of-order rows are dropped, counted and answered as R3 says.  An error from `deliver` is
 * returned at once. */
weir_code weir_link_rx_frame(weir_link_rx *rx, const Weir__Internal__V1__Frame *frame, uint64_t era,
    int64_t now_ms, weir_batch *batch, weir_link_deliver *deliver, void *ud,
    weir_error *reterr) WEIR_MUST_CHECK;

/* R4: the effect of row seq is in the present round.  Rows may be marked in any order; the cursor
 * moves over the contiguous ones.  The caller guarantees that effects are put into batches in
 * sequence order.  Each delivered row is settled exactly once (asserted).  While delivered rows are
 * unsettled a RESET waits, and no rows are taken. */
void weir_link_rx_settle(weir_link_rx *rx, uint64_t seq);
/* Put the moved cursor (if it moved) into the round's batch; call once per round before the commit.
 * Between it and weir_link_rx_committed nothing may be settled that is not in that batch. */
weir_code weir_link_rx_prepare(weir_link_rx *rx, weir_batch *batch,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The round is synced: acks may leave. */
void weir_link_rx_committed(weir_link_rx *rx);
/* R9: rows that may be outstanding beyond the cursor. */
void weir_link_rx_set_credit(weir_link_rx *rx, uint32_t credit);
/* Send acks, answers and naks that are due. */
void weir_link_rx_pump(weir_link_rx *rx, int64_t now_ms, weir_link_send *send, void *ud,
    int64_t *ret_wake_ms);
void weir_link_rx_status_read(const weir_link_rx *rx, weir_link_rx_status *ret_status);

/* ---- frames ---- */

/* Checked decode of a frame into the arena (WEIR_MALFORMED_MESSAGE). */
weir_code weir_link_frame_decode(weir_bytes bytes, weir_arena *arena,
    Weir__Internal__V1__Frame **ret_frame, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- the pump: ZeroMQ sockets in one thread (the only place that knows zmq) ---- */

typedef struct weir_link_pump weir_link_pump;

typedef struct weir_link_endpoint {
    uint32_t link;
    bool sender;         /* this process sends rows on it */
    const char *rows;    /* endpoint of the receiver's PULL for rows */
    const char *answers; /* endpoint of the sender's PULL for acks and answers */
} weir_link_endpoint;

/* Bytes of a frame arrived; called on the pump's thread.  False: no room now; the pump stops
 * reading for a moment, so that pressure reaches the sender through the socket. */
typedef bool weir_link_arrived(void *ud, uint32_t link, weir_bytes frame);

/* Bind, connect and start the thread.  WEIR_ADDRESS_IN_USE names the endpoint. */
weir_code weir_link_pump_start(const weir_link_endpoint *endpoints, size_t count,
    weir_link_arrived *arrived, void *ud, weir_link_pump **ret_pump,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Hand a frame to the pump's thread; copies.  False: its bounded queue is full, not sent.  Any
 * thread. Matches weir_link_send with the pump as ud. */
bool weir_link_pump_send(void *pump, uint32_t link, weir_bytes frame);
/* Close a link's sockets and open them anew (no progress for several RTOs). */
void weir_link_pump_reopen(weir_link_pump *pump, uint32_t link);
void weir_link_pump_stop(weir_link_pump **pump_p);

#endif
