/*
 * fake_stage.h - a stage without links, jobs or time of its own: handlers are called one by one,
 * and what they release is kept for the test to look at.  It defines the weir_stage_* functions
 * that the indexer's core calls.
 */
#ifndef WEIR_TESTS_INDEXER_FAKE_STAGE_H
#define WEIR_TESTS_INDEXER_FAKE_STAGE_H

#include "common/stage/stage.h"

typedef struct fake_row {
    weir_link_kind link;
    Weir__Internal__V1__Row *row; /* until fake_stage_forget */
} fake_row;

typedef struct fake_settled {
    weir_link_kind link;
    uint64_t seq;
} fake_settled;

struct weir_stage {
    const weir_core_ops *ops;
    void *core;
    weir_store *store;
    weir_link_identity identity;
    uint64_t era;
    int64_t now_ms;

    weir_batch *batch;
    weir_arena *arena; /* of the round */
    weir_arena *kept;  /* of what was released */
    weir_buffer scratch;

    /* since the last fake_stage_forget, in order */
    fake_row rows[512];
    size_t row_count;
    fake_settled settled[512];
    size_t settled_count;
    Weir__Internal__V1__LifecycleEvent *events[512];
    size_t event_count;
    weir_bytes aside[8]; /* keys */
    size_t aside_count;
    int64_t wake_at_ms; /* 0: no wish */
    weir_stage_counts counts;
    uint32_t credit;
};

/* A start on `store`, with the boot number `boot`; runs the core's start and commits its round. */
weir_code fake_stage_start(weir_store *store, const weir_core_ops *ops, void *core, uint64_t boot,
    uint64_t era, weir_stage **ret_stage, weir_error *reterr);
void fake_stage_destroy(weir_stage **stage_p);

/* The row passes through its packed form, as over a link.  Not committed. */
weir_code fake_stage_row(weir_stage *stage, weir_link_kind link, uint64_t seq,
    const Weir__Internal__V1__Row *row, weir_error *reterr);
/* End the round: round_end, commit, committed. */
weir_code fake_stage_commit(weir_stage *stage, weir_error *reterr);
/* Rounds without events until the core asks for no more time; time moves as it asks. */
weir_code fake_stage_settle_down(weir_stage *stage, weir_error *reterr);
void fake_stage_forget(weir_stage *stage);

#endif
