/*
 * stage.h - one service from the inside: a core without I/O, run in rounds.
 *
 *   events ──> core handlers ──> one batch, synced ──> replies, jobs, rows and acks leave, in order
 *
 * A round collects what the handlers of all waiting events write and release.  Steps of one round
 * see each other's writes.  Nothing leaves the process before its round is synced (one function
 * lets things out and asserts it).  When a commit fails, nothing of the round has left: the driver
 * stops serving and exits, and the start repairs.
 *
 * The stage also owns the ends of this service's links: frames become rows for the core; rows sent
 * by the core get their sequence numbers here; lifecycle events of a round become one row for the
 * reconciler.
 *
 * Two drivers run a stage: the shell (threads, sockets, clock: shell.h) and the simulator (one
 * seed).  Nothing of a core is compiled differently for either.
 *
 * Threads: one, the driver's core thread, but for weir_stage_status_read and weir_stage_links_read
 * (any thread).
 */
#ifndef WEIR_STAGE_STAGE_H
#define WEIR_STAGE_STAGE_H

#include "common/domain/links.h"
#include "common/base/random.h"
#include "common/link/link.h"

typedef struct weir_stage weir_stage;

/* A request from an RPC or from the shell itself.  Memory of `message` lives until its reply
 * (reply_to != 0) or until the handler returns (reply_to == 0). */
typedef struct weir_request {
    uint32_t kind;     /* the service's own enum; WEIR_REQUEST_APPLY_ERA and up are the stage's */
    uint64_t reply_to; /* a handle, never a pointer to the core; 0: nobody waits */
    const char *tenant;
    const ProtobufCMessage *message;
    const char *request_id; /* of the call, for logs; may be NULL */
} weir_request;

enum { WEIR_REQUEST_APPLY_ERA = 1000 }; /* message: ApplyEraRequest */

/* Pure work on a pool thread.  `run` touches only the job; it comes back to the core by job_done,
 * and is freed by `destroy` when job_done has returned: the stage does that, so the core takes out
 * what it keeps.  A job that is lost with the process is started again from the store. */
typedef struct weir_job weir_job;
struct weir_job {
    void (*run)(weir_job *job);
    void (*destroy)(weir_job *job);
    uint32_t kind; /* the service's own */
    bool urgent;   /* queries: before document work */
};

typedef struct weir_core_ops {
    /* Rebuild memory from the store; may write into the first round.  Once, before anything else.
     */
    weir_code (*start)(void *core, weir_stage *stage, weir_error *reterr);
    /* A row in sequence order.  The core settles it in this round (weir_stage_settle) or a later
     * one, in order. */
    weir_code (*row)(void *core, weir_stage *stage, weir_link_kind link, uint64_t seq,
        const Weir__Internal__V1__Row *row, weir_bytes packed, weir_error *reterr);
    /* NULL: the service takes none, and each is refused (WEIR_UNIMPLEMENTED). */
    weir_code (*request)(void *core, weir_stage *stage, const weir_request *request,
        weir_error *reterr);
    weir_code (*job_done)(void *core, weir_stage *stage, weir_job *job, weir_error *reterr);
    /* The time asked for by weir_stage_wake_at has come. */
    weir_code (*wake)(void *core, weir_stage *stage, weir_error *reterr);
    /* Bits of weir_link_tx_news for a link that this service sends on. */
    weir_code (*link_news)(void *core, weir_stage *stage, weir_link_kind link, unsigned news,
        weir_error *reterr);
    /* Complete a stored row before it is sent; reads committed state only.  May be NULL. */
    weir_code (*resolve)(void *core, weir_stage *stage, weir_link_kind link,
        Weir__Internal__V1__Row *row, weir_arena *arena, weir_error *reterr);
    /* A higher era was committed for this service (ApplyEra or a row): forget work of older ones.
     * May be NULL. */
    weir_code (*era_raised)(void *core, weir_stage *stage, uint64_t era, weir_error *reterr);
    /* All handlers of the round have run: last chance to write (dispatch, derived counters).  May
     * be NULL. */
    weir_code (*round_end)(void *core, weir_stage *stage, weir_error *reterr);
    /* The round is synced: memory may follow disk.  May be NULL. */
    void (*committed)(void *core, weir_stage *stage);
    /* First bytes of keys whose records are never set aside, because nobody could make them again;
     * NULL: none. */
    const char *custody;
} weir_core_ops;
/* A handler that returns an error breaks the stage: the driver exits.  Refusing a request is
 * weir_stage_fail, not that. Any op but start and request may be NULL where the service has no use
 * for it. */

/* What leaves a stage.  Called by weir_stage_release only. */
typedef struct weir_stage_env {
    void *ud;
    /* error NULL: OK with the response; messages live for the call. */
    void (*reply)(void *ud, uint64_t reply_to, const weir_error *error,
        const ProtobufCMessage *response);
    void (*job)(void *ud, weir_job *job);
    weir_link_send *send; /* a frame on a link, either direction */
} weir_stage_env;

typedef struct weir_stage_options {
    weir_service_id service;
    weir_store *store;
    const weir_core_ops *ops;
    void *core;
    uint8_t identity_random[32];
    weir_stage_env env;
    uint64_t initial_era;     /* of a new database: 1 */
    uint32_t credit_rows_max; /* upper bound of the credit given on each link; 0: 1024 */
    bool *set_aside;          /* set when weir_stage_create fails: the record that it could not read
                                 is out of the way, so a further try is without it; may be NULL */
} weir_stage_options;

/* Start identity, links and core, and commit the first round; nothing is released before
 * weir_stage_release. */
weir_code weir_stage_create(const weir_stage_options *options, int64_t now_ms, uint64_t random,
    weir_stage **ret_stage, weir_error *reterr) WEIR_MUST_CHECK;
void weir_stage_destroy(weir_stage **stage_p);

/* ---- the driver's side: begin, any events, commit, release ---- */

void weir_stage_begin(weir_stage *stage, int64_t now_ms, uint64_t random);
weir_code weir_stage_on_frame(weir_stage *stage, uint32_t link, weir_bytes frame,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The request and its message live until the round is released: the batch may point into them. */
weir_code weir_stage_on_request(weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code weir_stage_on_job(weir_stage *stage, weir_job *job, weir_error *reterr) WEIR_MUST_CHECK;
/* Runs `wake` when its time has come. */
weir_code weir_stage_on_time(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* True when a further event should wait for the next round (events or bytes reached their bound).
 */
bool weir_stage_is_full(const weir_stage *stage);
/* One synced batch (none if nothing was written). */
weir_code weir_stage_commit(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
/* A handler, the commit or the start has failed and the process will end: when a damaged record was
 * the reason, move it aside, so that the next start is without it (true).  Nothing else may be
 * called afterwards but weir_stage_destroy. */
bool weir_stage_abandon(weir_stage *stage, const weir_error *why);
/* Let replies, jobs, rows, acks out; *ret_wake_ms: call again by then, with or without events (wall
 * clock). */
weir_code weir_stage_release(weir_stage *stage, int64_t *ret_wake_ms,
    weir_error *reterr) WEIR_MUST_CHECK;
/* From now on the core begins nothing new; what runs is finished.  Between rounds. */
void weir_stage_set_draining(weir_stage *stage);
/* A drain is complete when this is true: no job runs and nothing is half done in memory. */
bool weir_stage_is_idle(const weir_stage *stage);
/* Mark the clean end (the last commit of a drain). */
weir_code weir_stage_stop_clean(weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- the core's side, inside handlers ---- */

int64_t weir_stage_now_ms(const weir_stage *stage); /* wall clock of the round */
uint64_t weir_stage_random(weir_stage *stage);      /* a new word each time */
uint64_t weir_stage_era(const weir_stage
        *stage); /* greatest era this service has committed (or writes now) */
/* Commit a higher era in this round (a lower or equal one does nothing) and tell the core by
 * era_raised. */
weir_code weir_stage_raise_era(weir_stage *stage, uint64_t era, weir_error *reterr) WEIR_MUST_CHECK;
/* RESET a link that this service sends on, in this round: era, towards the receiver's database that
 * is meant. */
weir_code weir_stage_reset_link(weir_stage *stage, weir_link_kind link,
    const uint8_t receiver_store_id[WEIR_STORE_ID_SIZE], weir_error *reterr) WEIR_MUST_CHECK;
weir_store *weir_stage_store(weir_stage *stage); /* for scans of committed state */
weir_batch *weir_stage_batch(weir_stage *stage); /* gets and puts of the round */
weir_arena *weir_stage_arena(weir_stage *stage); /* lives until release is over */
const weir_link_identity *weir_stage_identity(const weir_stage *stage);

/* Protobuf records: decode into the round's arena; *ret_message NULL when absent. */
weir_code weir_stage_get(weir_stage *stage, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor, void *ret_message,
    weir_error *reterr) WEIR_MUST_CHECK;
void weir_stage_put(weir_stage *stage, weir_bytes key, const ProtobufCMessage *message);

/* A stored record that does not decode: fills *reterr, remembers the key, answers WEIR_CORRUPT.
 * weir_stage_get calls it; so does whoever decodes a record from an iterator.  See aside.c for what
 * becomes of the record and of the service. */
weir_code weir_stage_damaged(weir_stage *stage, weir_bytes key, const char *what,
    weir_error *reterr);
/* A record that a scan has met and that the core can do without: moved aside in this round, with
 * `why`, and the core goes on.  WEIR_CORRUPT when too many are aside already. */
weir_code weir_stage_set_aside(weir_stage *stage, weir_bytes key, weir_bytes value, const char *why,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At most so many records are set aside: more mean that the database as a whole is damaged. */
enum { WEIR_STAGE_ASIDE_MAX = 1000 };

/* Send a row in this round.  `row->era` 0: filled with the present era. `ret_seq` may be NULL. */
weir_code weir_stage_send(weir_stage *stage, weir_link_kind link, Weir__Internal__V1__Row *row,
    uint64_t *ret_seq, weir_error *reterr) WEIR_MUST_CHECK;
/* Rows that a link takes now within credit. */
uint64_t weir_stage_room(const weir_stage *stage, weir_link_kind link);
/* Where a link stands that this service sends on. */
void weir_stage_link_status(const weir_stage *stage, weir_link_kind link,
    weir_link_tx_status *ret_status);
/* The same of a link that this service receives. */
void weir_stage_received_status(const weir_stage *stage, weir_link_kind link,
    weir_link_rx_status *ret_status);
/* The effect of the row is in this round (or was decided to be none). */
void weir_stage_settle(weir_stage *stage, weir_link_kind link, uint64_t seq);
/* One lifecycle event; copied, strings and failure included.  All of a round travel in rows of at
 * most 1,000 (not from the reconciler itself). */
void weir_stage_event(weir_stage *stage, const Weir__Internal__V1__LifecycleEvent *event);

/* Answers leave after the commit, in order.  The response must live in weir_stage_arena; the error
 * is copied. */
void weir_stage_reply(weir_stage *stage, uint64_t reply_to, const ProtobufCMessage *response);
void weir_stage_fail(weir_stage *stage, uint64_t reply_to, const weir_error *error);
/* The process is to end: begin nothing new. */
bool weir_stage_is_draining(const weir_stage *stage);
/* Start a job after the commit.  The stage owns it from here. */
void weir_stage_start_job(weir_stage *stage, weir_job *job);
/* Call `wake` at wall time at_ms; the earliest wish wins and is forgotten once met. */
void weir_stage_wake_at(weir_stage *stage, int64_t at_ms);
/* R9: what this stage can settle in about a second, per receiving link.  The stage clamps it
 * to 8..credit_rows_max, and to 0 (links) or 8 (control links) while the disk is low. */
void weir_stage_set_credit(weir_stage *stage, weir_link_kind link, uint32_t rows);
/* Admission by disk and memory, told by the driver: credit shrinks. */
void weir_stage_set_disk_low(weir_stage *stage, bool disk_low);

/* ---- for operators, any thread ---- */

typedef struct weir_stage_counts {
    uint64_t queued, in_flight, deferred,
        parked;        /* rows: received and not settled; at work; due later; outage */
    int64_t oldest_ms; /* handed_over_ms of the oldest unfinished work; 0: none */
} weir_stage_counts;

typedef struct weir_stage_link_view {
    weir_link_kind kind;
    bool sender;
    weir_link_tx_status tx; /* if sender */
    weir_link_rx_status rx; /* else */
} weir_stage_link_view;

typedef struct weir_stage_status {
    weir_link_identity identity;
    uint64_t era;
    /* What the database held at this start, until an ApplyEra was carried out in it.  By this one a
     * volume that was put back is known: its links may have told it the present era since. */
    uint64_t held_era;
    uint64_t applied_era; /* greatest era of an ApplyEra in this start; 0: none yet */
    uint64_t aside_count; /* records that were set aside */
    weir_stage_counts counts;
    uint64_t rounds_total, events_total; /* since the start */
    uint64_t commit_us_total;
    uint32_t link_count;
    weir_stage_link_view links[WEIR_LINK_COUNT];
} weir_stage_status;

/* The services whose volumes the alarm of a link says were lost: *ret_first, and *ret_second when
 * it may as well be that one's (else NONE).  The gateway's own volume is not among those that are
 * lost unseen, so a link to or from it that stopped names the other end.  False: no alarm that
 * counts. */
bool weir_stage_link_lost(const weir_stage_link_view *view, weir_service_id *ret_first,
    weir_service_id *ret_second);

/* As of the last release. */
void weir_stage_status_read(weir_stage *stage, weir_stage_status *ret_status);
/* Which of these tries the store still holds durable work for: a deferred row, or a row or a FAILED
 * event of a link that the receiver has not acknowledged as of `status`.  held: one for each try,
 * set to true where it is so.  *ret_is_partial: more rows wait than are looked at (20,000, 64 MiB),
 * so that false means nothing.
 *
 * Work moves gateway -> ingest -> embedder -> indexer -> reconciler and is durable at the next
 * before it leaves here: what none of them holds, asked in this order, nobody will do. */
typedef struct weir_try {
    uint64_t collection_no;
    const char *document_id;
    int64_t revision, epoch;
} weir_try;
weir_code weir_stage_find_work(weir_store *store, const weir_stage_status *status,
    const weir_try *tries, size_t count, bool *held, bool *ret_is_partial,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The core reports its counts (once per round at most). */
void weir_stage_set_counts(weir_stage *stage, const weir_stage_counts *counts);

#endif
