/*
 * sim.h - the five cores in one process, one seed.
 *
 * The world holds five nodes (store, core, stage), the messages under way on every link, the jobs
 * that run, and a few clients.  One seeded generator decides everything: which node runs a round
 * with which events, what is dropped, doubled, delayed and reordered, which links are cut, who
 * crashes (with a power cut of its unsynced tail), stands still or is told another time, which disk
 * is full, which volume is wiped or replaced by an older copy of itself.  Then a quiet phase
 * without faults, in which every accepted revision must end within bounded time, and the checks.
 *
 *   options.c  what a seed stands for           world.c   nodes, rounds, messages, time, the run
 *   faults.c   what goes wrong, and when        status.c  the gateway's look at every service
 *   client.c   what clients ask and believe     cores.c   how each core is made
 *   check.c    the promises, in the databases   history.c the promises, in the gateway's change log
 *
 * Nothing of a core is compiled differently for this; the same seed gives the same run (the trace
 * hash shows it).
 */
#ifndef WEIR_TESTS_SIM_SIM_H
#define WEIR_TESTS_SIM_SIM_H

#include "common/base/random.h"
#include "common/stage/stage.h"
#include "services/gateway/core.h"
#include "services/gateway/views.h"
#include "services/indexer/core.h"
#include "services/reconciler/core.h"
#include "tests/sim/options.h"

enum {
    SIM_DOCUMENTS = 4,
    SIM_COLLECTIONS = 3,
    SIM_OPS_MAX = 64,
    SIM_DIMENSION = 16,
    SIM_REVISIONS_MAX = 128, /* of one document */
};

/* A body with this word kills whoever parses it, or embeds it. */
#define SIM_POISON_PARSE "parsekiller"
#define SIM_POISON_EMBED "embedkiller"
/* Embedding a body with this word always fails. */
#define SIM_CURSED "cursed"

typedef struct sim_message sim_message;
struct sim_message {
    sim_message *next;
    int64_t due_ms;
    uint64_t number; /* in the order of sending */
    uint32_t link;
    bool is_answer; /* from the link's receiver */
    size_t size;
    uint8_t bytes[];
};

typedef struct sim_job sim_job;
struct sim_job {
    sim_job *next;
    int64_t due_ms;
    weir_job *job;
};

typedef struct sim_world sim_world;

typedef struct sim_node {
    sim_world *world;
    weir_service_id service;
    weir_store *store;
    weir_store *backup; /* an older copy of it, or NULL */
    void *core;
    weir_stage *stage; /* NULL: down */
    int64_t up_at_ms;  /* when down */
    int64_t paused_until_ms;
    int64_t wake_ms;
    int64_t clock_skew_ms;
    int64_t disk_low_until_ms;
    bool disk_low;         /* what the gateway's core is told of its disk */
    bool told_disk_low;    /* what the stage was told */
    bool must_die;         /* the work of this round kills the process */
    bool was_put_back;     /* its volume was lost or rolled back once */
    sim_message *messages; /* to this node, newest first */
    sim_job *jobs;
    struct embedder_models *models; /* the embedder's */
} sim_node;

typedef enum sim_op_kind {
    SIM_INGEST = 1,
    SIM_DELETE,
    SIM_RETRY,
    SIM_LEARN, /* a read that asked the indexer */
    SIM_WAIT
} sim_op_kind;
typedef enum sim_op_state { SIM_OP_NEW = 1, SIM_OP_SENT, SIM_OP_OK, SIM_OP_REFUSED } sim_op_state;

/* What a client did and knows.  An op without an answer is sent again with the same request_id. */
typedef struct sim_op {
    sim_op_kind kind;
    sim_op_state state;
    uint32_t number;
    uint32_t collection, document;
    char request_id[24];
    char *body;             /* of an ingest; owned */
    bool is_bad;            /* the body can never be READY */
    bool force;             /* an ingest of the same body is a new revision */
    int64_t source_version; /* 0: none */
    int64_t revision;       /* of the answer */
    int64_t sent_ms;
    uint32_t sent_count;
    weir_arena *arena; /* message under way */
    ProtobufCMessage *message;
    uint32_t kind_number;
} sim_op;

/* One revision as the gateway's change log told it so far. */
typedef struct sim_revision {
    uint32_t state; /* weir.v1.DocumentState; 0: nothing yet */
    int64_t epoch;
    uint32_t raised_from_failed;
} sim_revision;

typedef struct sim_document {
    int64_t deleted_acked;  /* greatest acknowledged delete */
    int64_t ingested_acked; /* greatest acknowledged ingest */
    uint32_t retries_sent;  /* requests of their own that may have raised it */
    int64_t ready_greatest; /* greatest revision that the gateway recorded READY */
    sim_revision revisions[SIM_REVISIONS_MAX];
} sim_document;

typedef enum sim_fault {
    SIM_FAULT_CRASH,
    SIM_FAULT_KILL,
    SIM_FAULT_WIPE,
    SIM_FAULT_ROLLBACK,
    SIM_FAULT_RESTORE,
    SIM_FAULT_CUT,
    SIM_FAULT_PAUSE,
    SIM_FAULT_CLOCK,
    SIM_FAULT_DISK,
    SIM_FAULT_STORE,
    SIM_FAULT_OUTAGE,
    SIM_FAULT_POISON,
    SIM_FAULT_COUNT
} sim_fault;

struct sim_world {
    sim_options options;
    bool verbose;
    weir_rng rng;
    int64_t now_ms;
    uint32_t step;
    bool quiet;
    bool is_settled; /* all is over: the last check */
    uint64_t trace;  /* hash of everything that happened */
    sim_node nodes[WEIR_SERVICE_COUNT];
    int64_t cut_until_ms[WEIR_LINK_COUNT][2];  /* [1]: answers */
    int64_t away_until_ms[WEIR_SERVICE_COUNT]; /* for the gateway's look */
    int64_t outage_until_ms;
    uint32_t losses; /* volumes lost or rolled back so far */
    uint32_t restores;
    uint8_t restored_id[GATEWAY_RESTORED_ID_SIZE]; /* of the last */
    sim_op ops[SIM_OPS_MAX];
    uint32_t op_count;
    int64_t next_status_ms;
    int64_t quiet_from_ms;
    sim_document documents[SIM_COLLECTIONS][SIM_DOCUMENTS];
    uint64_t change_no; /* the next one to read */
    uint64_t change_era;
    uint64_t rounds, messages_sent, messages_dropped, next_message;
    uint64_t faults[SIM_FAULT_COUNT];
    char failure[512];     /* "" while all is well */
    const char *invariant; /* that failed */
};

sim_world *sim_create(const sim_options *options);
void sim_destroy(sim_world **world_p);
/* Noisy phase, quiet phase, checks.  False: world->failure says what broke. */
bool sim_run(sim_world *world);

/* ---- world.c, for the other files ---- */
uint64_t sim_random(sim_world *world, uint64_t bound);
bool sim_chance(sim_world *world, uint32_t per_mille);
void sim_trace(sim_world *world, const char *what, uint64_t a, uint64_t b);
/* invariant: "I11", or the like.  The first failure counts. */
void sim_fail(sim_world *world, const char *invariant, const char *format, ...) WEIR_PRINTF(3, 4);
int64_t sim_clock_of(const sim_node *node);
/* One round of a node with one request; the answer comes to sim_answer. */
void sim_request(sim_world *world, sim_node *node, uint32_t kind, uint64_t reply_to,
    const char *tenant, const ProtobufCMessage *message);
typedef enum sim_end { SIM_END_KILL = 1, SIM_END_POWER, SIM_END_WIPE, SIM_END_ROLLBACK } sim_end;
/* End the process; it starts again in a while. */
void sim_node_end(sim_node *node, sim_end how);
void sim_node_stop(sim_node *node);
/* What was on the way to it is gone. */
void sim_node_drop_messages(sim_node *node);

/* ---- faults.c ---- */
void sim_faults_inject(sim_world *world);
/* Everything that is wrong ends now. */
void sim_faults_end(sim_world *world);
/* Before a round or a start: a call of the store may be made to fail. */
void sim_faults_arm(sim_node *node);
void sim_faults_disarm(sim_node *node);
bool sim_link_is_cut(const sim_world *world, weir_link_kind kind, bool is_answer);

/* ---- status.c ---- */
void sim_look_around(sim_world *world);

/* ---- cores.c: how each service's core is made and destroyed ---- */
const weir_core_ops *sim_core_create(sim_node *node);
void sim_core_destroy(sim_node *node);
/* The body of a document row, for those that kill. */
bool sim_job_kills(sim_node *node, const weir_job *job);

/* ---- client.c ---- */
void sim_client_begin(sim_world *world);
/* Send one op if the gateway is up. */
void sim_client_step(sim_world *world);
bool sim_client_is_done(const sim_world *world);
void sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response);
void sim_client_gateway_crashed(sim_world *world);
void sim_client_end(sim_world *world);
const char *sim_tenant(uint32_t collection);
const char *sim_collection_name(uint32_t collection);
const char *sim_document_name(uint32_t document);

/* ---- check.c ---- */
/* Promises that hold at every instant. */
void sim_check_now(sim_world *world);
/* True when every accepted revision is terminal and every link is empty. */
bool sim_is_settled(sim_world *world, char *why, size_t why_size);
/* What must hold once all is quiet. */
void sim_check_end(sim_world *world);
/* A record of the gateway; NULL: absent. */
void *sim_read_record(sim_world *world, weir_arena *arena, weir_bytes key,
    const ProtobufCMessageDescriptor *descriptor);
const collection_record *sim_read_collection(sim_world *world, weir_arena *arena,
    uint32_t collection);
const document_record *sim_read_document(sim_world *world, weir_arena *arena,
    uint64_t collection_no, const char *document_id);
const revision_record *sim_read_revision(sim_world *world, weir_arena *arena,
    uint64_t collection_no, const char *document_id, int64_t revision);

/* ---- history.c ---- */
/* Read the changes since the last time: which states followed which. */
void sim_history_follow(sim_world *world);

#endif
