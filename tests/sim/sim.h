/*
 * sim.h - the five cores in one process, one seed.
 *
 * The world holds five nodes (store, core, stage), the messages under way on every link, the jobs
 * that run, and a few clients.  One seeded generator decides everything: which node runs a round
 * with which events, what is dropped, doubled, delayed and reordered, who crashes (with a power cut
 * of its unsynced tail), which volume is wiped.  Then a quiet phase without faults, in which every
 * accepted revision must end, and the checks of check.c.
 *
 * Nothing of a core is compiled differently for this; the same seed gives the same run (the trace
 * hash shows it).
 */
#ifndef WEIR_TESTS_SIM_SIM_H
#define WEIR_TESTS_SIM_SIM_H

#include "common/base/random.h"
#include "common/stage/stage.h"
#include "services/gateway/core.h"
#include "services/indexer/core.h"
#include "services/reconciler/core.h"

enum { SIM_DOCUMENTS = 6, SIM_OPS_MAX = 64, SIM_COLLECTIONS = 2, SIM_DIMENSION = 16 };

typedef struct sim_options {
    uint64_t seed;
    uint32_t steps; /* rounds of the noisy phase */
    uint32_t drop_percent, duplicate_percent, delay_ms_max;
    uint32_t crash_per_mille; /* chance per step that some node crashes */
    uint32_t wipe_per_mille;  /* chance per step that an inner service loses its volume */
    uint32_t clock_jump_per_mille;
    bool verbose;
} sim_options;

/* Options that a seed stands for: every fault kind is on in some seeds and off in others. */
sim_options sim_options_of(uint64_t seed);

typedef struct sim_message sim_message;
struct sim_message {
    sim_message *next;
    int64_t due_ms;
    uint32_t link;
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
    void *core;
    weir_stage *stage; /* NULL: down */
    int64_t up_at_ms;  /* when down */
    int64_t wake_ms;
    sim_message *messages; /* to this node, newest first */
    sim_job *jobs;
    uint32_t crashes, wipes;
    int64_t clock_skew_ms;
    struct embedder_models *models; /* the embedder's */
} sim_node;

typedef enum sim_op_kind { SIM_INGEST = 1, SIM_DELETE, SIM_RETRY } sim_op_kind;
typedef enum sim_op_state { SIM_OP_NEW = 1, SIM_OP_SENT, SIM_OP_OK, SIM_OP_REFUSED } sim_op_state;

/* What a client did and knows.  An op without an answer is sent again with the same request_id. */
typedef struct sim_op {
    sim_op_kind kind;
    sim_op_state state;
    uint32_t collection, document;
    char request_id[24];
    char *body;       /* of an ingest; owned */
    bool is_bad;      /* the body can never be READY */
    int64_t revision; /* of the answer */
    int64_t sent_ms;
    uint32_t sent_count;
    uint32_t acked_step; /* when the answer came */
    weir_arena *arena;   /* message under way */
    ProtobufCMessage *message;
    uint32_t kind_number;
} sim_op;

struct sim_world {
    sim_options options;
    weir_rng rng;
    int64_t now_ms;
    uint32_t step;
    bool quiet;
    uint64_t trace; /* hash of everything that happened */
    sim_node nodes[WEIR_SERVICE_COUNT];
    sim_op ops[SIM_OPS_MAX];
    uint32_t op_count;
    int64_t next_status_ms;
    int64_t deleted_acked[SIM_COLLECTIONS][SIM_DOCUMENTS]; /* greatest acknowledged delete */
    uint64_t rounds, messages_sent, messages_dropped;
    char failure[512]; /* "" while all is well */
};

sim_world *sim_create(const sim_options *options);
void sim_destroy(sim_world **world_p);
/* Noisy phase, quiet phase, checks.  False: world->failure says what broke. */
bool sim_run(sim_world *world);

/* ---- world.c, for the other files ---- */
uint64_t sim_random(sim_world *world, uint64_t bound);
bool sim_chance(sim_world *world, uint32_t per_mille);
void sim_trace(sim_world *world, const char *what, uint64_t a, uint64_t b);
void sim_fail(sim_world *world, const char *format, ...) WEIR_PRINTF(2, 3);
/* One round of a node with one request; the answer comes to sim_answer. */
void sim_request(sim_world *world, sim_node *node, uint32_t kind, uint64_t reply_to,
    const ProtobufCMessage *message);

/* ---- cores.c: how each service's core is made and destroyed ---- */
const weir_core_ops *sim_core_create(sim_node *node);
void sim_core_destroy(sim_node *node);

/* ---- client.c ---- */
void sim_client_begin(sim_world *world);
/* Send one op if the gateway is up. */
void sim_client_step(sim_world *world);
bool sim_client_is_done(const sim_world *world);
void sim_answer(sim_world *world, uint64_t reply_to, const weir_error *error,
    const ProtobufCMessage *response);
void sim_client_gateway_crashed(sim_world *world);
void sim_client_end(sim_world *world);
const char *sim_collection_name(uint32_t collection);
const char *sim_document_name(uint32_t document);

/* ---- check.c ---- */
/* Promises that hold at every instant (deletes are final, one revision per answer). */
void sim_check_now(sim_world *world);
/* True when every accepted revision is terminal and every link is empty. */
bool sim_is_settled(sim_world *world, char *why, size_t why_size);
/* What must hold once all is quiet. */
void sim_check_end(sim_world *world);

#endif
