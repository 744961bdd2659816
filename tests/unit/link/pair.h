/*
 * pair.h - one link in one process: a sender and a receiver over two in-memory stores, with the
 * frames between them in two queues that the test empties as it likes.
 *
 * The receiver's effect of a row is one record in its store, put into the same batch as the cursor,
 * so that a test can ask which rows were settled, how often and in which order, also after a crash.
 */
#ifndef WEIR_TESTS_LINK_PAIR_H
#define WEIR_TESTS_LINK_PAIR_H

#include "common/base/random.h"
#include "common/link/internal.h"

enum { PAIR_LINK = 1 << 16 };

typedef struct pair_queue {
    struct pair_frame {
        uint8_t *data;
        size_t size;
    } *frames;
    size_t count, capacity;
    bool blocked; /* refuse what is sent */
} pair_queue;

typedef struct pair_end {
    weir_store *store;
    weir_batch *batch;
    weir_link_identity identity;
} pair_end;

typedef struct pair_flight {
    uint64_t seq;
    uint64_t id;
} pair_flight;

typedef struct pair {
    pair_end a, b;
    weir_link_tx *tx;
    weir_link_rx *rx;
    pair_queue forth, back;
    int64_t now_ms;
    int64_t wake_ms; /* of the last pumps */
    uint64_t era;    /* rows are made in it */
    uint64_t b_era;
    bool carries_era;
    bool boot_from_volume; /* a broken rule: no random bits */
    size_t memory_bytes_max;
    unsigned news; /* gathered */
    weir_rng rng;
    weir_arena *arena;
    pair_flight *flight; /* delivered, not settled, in order */
    size_t flight_count, flight_capacity;
    weir_code refuse;    /* the stage's answer to a delivery; WEIR_OK: takes it */
    uint64_t doubled;    /* effects of a row that had one */
    uint64_t fill_bytes; /* size of a row's text */
} pair;

void pair_init(pair *p, uint64_t seed);
void pair_fini(pair *p);

/* Start an end over its store; commits. */
weir_code pair_start_a(pair *p, weir_error *error);
weir_code pair_start_b(pair *p, weir_error *error);
/* The process is gone: nothing uncommitted remains, and of what was not synced only a random part.
 */
void pair_crash_a(pair *p);
void pair_crash_b(pair *p);

/* Append a row to the open round of A. */
weir_code pair_append(pair *p, uint64_t id, uint64_t *ret_seq, weir_error *error);
weir_code pair_commit_a(pair *p, weir_error *error);
weir_code pair_pump_a(pair *p, weir_error *error);
/* Settle `count` rows in flight, oldest first, in the open round of B. */
weir_code pair_settle(pair *p, size_t count, weir_error *error);
weir_code pair_commit_b(pair *p, weir_error *error);
void pair_pump_b(pair *p);

/* Hand the frame at `index` to the other end, and take it out of the queue unless `keep`. */
weir_code pair_hand_to_b(pair *p, size_t index, bool keep, weir_error *error);
weir_code pair_hand_to_a(pair *p, size_t index, bool keep, weir_error *error);
void pair_drop(pair_queue *queue, size_t index);
void pair_push(pair_queue *queue, weir_bytes frame);
void pair_swap(pair_queue *queue, size_t i, size_t j);

/* The row's effect stands in B's committed state. */
bool pair_has_effect(pair *p, uint64_t id);
/* Ids in the order of their effects; *ret_ids is freed by the caller. */
size_t pair_effects(pair *p, uint64_t **ret_ids);
/* Rows that stand in the outbox of A. */
size_t pair_outbox_count(pair *p);

weir_link_tx_status pair_tx(const pair *p);
weir_link_rx_status pair_rx(const pair *p);

#endif
