/*
 * rig.h - one stage without threads: a sender before it, a receiver behind each of its links,
 * stores that lose power.
 *
 * The stage under test runs exactly as in a process: begin, events, commit, release.  Its peers are
 * real ends of links over stores of their own, so what a test reads as `rows` is what another
 * service would have taken, in order and once. Jobs run in the test's own time: at once, later, or
 * never because "the process died of it".
 */
#ifndef WEIR_TESTS_STAGE_RIG_H
#define WEIR_TESTS_STAGE_RIG_H

#include "common/stage/stage.h"

typedef enum rig_fate { RIG_RUN = 0, RIG_HOLD, RIG_KILL } rig_fate;

typedef struct rig_options {
    weir_service_id service;
    weir_link_kind in; /* the link that the test sends rows on */
    const weir_core_ops *ops;
    void *(*core_create)(void *ud, weir_store *store);
    void (*core_destroy)(void *core);
    /* What becomes of a job that could run now; NULL: it runs. */
    rig_fate (*job_fate)(void *ud, const weir_job *job);
    void *ud;
} rig_options;

typedef struct rig_row {
    weir_link_kind link;
    const Weir__Internal__V1__Row *row;
} rig_row;

typedef struct rig_reply {
    uint64_t reply_to;
    weir_error error; /* code WEIR_OK: answered */
} rig_reply;

typedef struct rig_peer {
    weir_store *store;
    weir_batch *batch;
    weir_link_identity identity;
    weir_link_tx *tx;
    weir_link_rx *rx;
} rig_peer;

typedef struct rig_frame {
    uint32_t link;
    weir_buffer bytes;
} rig_frame;

typedef struct rig {
    rig_options options;
    weir_store *store;
    weir_stage *stage;
    void *core;
    int64_t now_ms;
    int64_t wake_ms;
    weir_rng rng;
    weir_arena *arena;
    rig_peer peers[WEIR_LINK_COUNT];
    rig_frame *frames; /* towards the stage */
    size_t frame_count, frame_capacity;
    weir_job **jobs; /* released by the stage and not back yet */
    size_t job_count, job_capacity;
    rig_row *rows; /* what came out */
    size_t row_count, row_capacity;
    rig_reply replies[16];
    size_t reply_count;
    uint64_t rounds;
    uint64_t starts;
    uint32_t job_runs;
    bool mute; /* peers behind the stage neither hear nor answer */
} rig;

void rig_init(rig *r, const rig_options *options, uint64_t seed);
void rig_fini(rig *r);
/* A process begins over the store. */
weir_code rig_start(rig *r, weir_error *reterr);
/* The process is gone at this instant, and with it a random part of what was not synced. */
void rig_crash(rig *r);
/* The process drains and marks a clean end. */
weir_code rig_stop(rig *r, weir_error *reterr);

/* Hand a row to the link before the stage. */
void rig_send(rig *r, Weir__Internal__V1__Row *row);
/* One round.  WEIR_CANCELLED: a job killed the process. */
weir_code rig_round(rig *r, weir_error *reterr);
/* Rounds until nothing moves any more at this time. */
weir_code rig_run(rig *r, weir_error *reterr);
/* As rig_run, with time passing, at most for_ms. */
weir_code rig_run_for(rig *r, int64_t for_ms, weir_error *reterr);
weir_code rig_request(rig *r, const weir_request *request, weir_error *reterr);

/* Rows that came out on a link, in order; the n-th, or NULL. */
size_t rig_count(const rig *r, weir_link_kind link);
const Weir__Internal__V1__Row *rig_out(const rig *r, weir_link_kind link, size_t n);
/* Lifecycle events of that kind about a document ("": any) in all rows so far; the last one. */
size_t rig_events(const rig *r, int kind, const char *document_id,
    const Weir__Internal__V1__LifecycleEvent **ret_last);
weir_stage_counts rig_counts(const rig *r);
/* Rows of the link before the stage that are settled. */
uint64_t rig_settled(const rig *r);
/* Keys that begin with this byte in the stage's store. */
size_t rig_keys(const rig *r, uint8_t first);

/* Fail the test with the error's text unless code is WEIR_OK. */
#define RIG_OK(expression_)                                                                    \
    do {                                                                                       \
        weir_error error_ = { .code = WEIR_OK };                                               \
        weir_error *const error = &error_;                                                     \
        if ((expression_) != WEIR_OK)                                                          \
            fail_msg("%s: %s: %s", #expression_, weir_code_name(error_.code), error_.message); \
    } while (0)

#endif
