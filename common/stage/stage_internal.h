/*
 * stage_internal.h - what stage.c and stage_links.c share: the stage itself.
 */
#ifndef WEIR_STAGE_STAGE_INTERNAL_H
#define WEIR_STAGE_STAGE_INTERNAL_H

#include <pthread.h>

#include "common/stage/stage.h"

typedef struct stage_reply {
    uint64_t reply_to;
    const weir_error *error; /* NULL: OK */
    const ProtobufCMessage *response;
} stage_reply;

typedef struct stage_resolver {
    weir_stage *stage;
    weir_link_kind link;
} stage_resolver;

struct weir_stage {
    weir_stage_options options;
    weir_link_identity identity;
    uint64_t era;
    uint64_t start_era;   /* that of the database at this start */
    uint64_t applied_era; /* memory only: after a start the gateway says it again */

    /* the round */
    weir_batch *batch;
    weir_arena *arena;
    weir_buffer scratch;
    int64_t now_ms;
    weir_rng rng;
    uint64_t round, synced_round; /* what is released belongs to a synced round (asserted) */
    uint32_t event_count;         /* events handled in this round */
    int64_t wake_at_ms;           /* 0: no wish */
    stage_reply *replies;
    size_t reply_count, reply_capacity;
    weir_job **jobs;
    size_t job_count, job_capacity;
    Weir__Internal__V1__LifecycleEvent **lifecycle;
    size_t lifecycle_count, lifecycle_capacity;

    /* the links, by kind */
    weir_link_tx *tx[WEIR_LINK_COUNT];
    weir_link_rx *rx[WEIR_LINK_COUNT];
    stage_resolver resolvers[WEIR_LINK_COUNT];
    uint32_t wanted_credit[WEIR_LINK_COUNT];
    bool disk_low;

    uint64_t jobs_running;
    bool draining;
    uint64_t aside_count;
    weir_buffer damaged; /* key of the record that did not decode in this round; empty: none did */
    uint64_t rounds_total, events_total, commit_us_total;
    weir_stage_counts counts;
    pthread_mutex_t status_lock;
    weir_stage_status status; /* under status_lock */
};

/* aside.c */
weir_code stage_aside_start(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* Before a handler runs; after it has failed, stage_aside_is_harmless says whether it met a damaged
 * record of custody and had done nothing yet, so that this event alone is refused. */
typedef struct stage_mark {
    size_t writes, replies;
} stage_mark;
stage_mark stage_aside_mark(const weir_stage *stage);
bool stage_aside_is_harmless(const weir_stage *stage, stage_mark mark, weir_code code);
/* A row that could not be taken for that reason is set aside instead. */
weir_code stage_aside_row(weir_stage *stage, uint32_t link, uint64_t seq, weir_bytes packed,
    const weir_error *why, weir_error *reterr) WEIR_MUST_CHECK;

/* stage_links.c */
weir_code stage_links_start(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
void stage_links_destroy(weir_stage *stage);
weir_code stage_links_prepare(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
void stage_links_committed(weir_stage *stage);
weir_code stage_links_pump(weir_stage *stage, int64_t *wake_ms, weir_error *reterr) WEIR_MUST_CHECK;
weir_code stage_links_apply_era(weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code stage_links_trim(weir_stage *stage, bool force, weir_error *reterr) WEIR_MUST_CHECK;
void stage_links_set_era(weir_stage *stage);
void stage_links_view(weir_stage *stage, weir_stage_status *status);

#endif
