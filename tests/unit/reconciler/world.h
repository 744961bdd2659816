/*
 * world.h - a reconciler on a store that loses power, and the four services that it listens to.
 *
 * The reconciler's stage and links are the real ones; its peers are real ends of links over stores
 * of their own that never fail.  A test says what a service tells (say_*), in any order between
 * links, lets rounds run, and reads what the reconciler asked and what it keeps.  `answer` plays
 * the services that are asked; NULL: they only listen.
 */
#ifndef WEIR_TESTS_RECONCILER_WORLD_H
#define WEIR_TESTS_RECONCILER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "common/base/random.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"

enum { WORLD_COLLECTION = 7, WORLD_ROWS_MAX = 4096 };

typedef struct world_peer {
    weir_store *store;
    weir_batch *batch;
    weir_link_identity identity;
    weir_link_tx *tx; /* towards the reconciler */
    weir_link_rx *rx; /* from it */
    int64_t wake_ms;
} world_peer;

typedef struct world_frame {
    uint32_t link;
    weir_buffer bytes;
} world_frame;

typedef struct world_row {
    weir_link_kind link;
    const row_message *row;
} world_row;

typedef struct world world;
struct world {
    reconciler_core_config config;
    weir_store *store;
    weir_stage *stage;
    reconciler_core *core;
    weir_rng rng;
    weir_arena *arena;
    int64_t now_ms, wake_ms;
    world_peer peers[WEIR_LINK_COUNT];
    world_frame *frames;
    size_t frame_count, frame_capacity;
    world_row rows[WORLD_ROWS_MAX]; /* what the reconciler asked */
    size_t row_count;
    void (*answer)(world *self, weir_link_kind link, const row_message *row);
    void *answer_ud;
    uint32_t rounds;
    uint64_t era; /* of what the peers say */
};

extern weir_error error;

void world_init(world *self, uint64_t seed);
void world_fini(world *self);
weir_code world_try_start(world *self);
void world_start(world *self);
/* The process is gone at this instant, with a random part of what was not synced. */
void world_crash(world *self);
/* cmocka: *state is a world that has started. */
int world_setup(void **state);
int world_teardown(void **state);

/* ---- what the services say ---- */

typedef struct say {
    lifecycle_kind kind;
    const char *document_id; /* NULL: "d" */
    int64_t revision, epoch; /* 0: 1 */
    const char *tenant;      /* NULL: "acme" */
    uint64_t collection_no;  /* 0: WORLD_COLLECTION */
    int64_t time_ms;         /* 0: now */
    failure_record *failure;
    uint32_t stage; /* who says it: weir.v1.Stage */
} say;

void say_on(world *self, weir_link_kind link, const say *said);
#define SAY(self_, link_, ...) \
    say_on((self_), WEIR_LINK_##link_##_RECONCILER, &(const say){ __VA_ARGS__ })
void say_row(world *self, weir_link_kind link, row_message *row);
void say_answer(world *self, const char *document_id, int64_t revision, int64_t epoch,
    Weir__Internal__V1__RevokeAnswerRow__Verdict verdict);
/* A FAILED with one attempt, as a stage would say it. */
failure_record *a_failure(world *self, weir_code code, const char *message, size_t attempts);
/* Seeds of FAILED revisions; entries live for the call. */
void say_seed(world *self, Weir__Internal__V1__SeedEntry **entries, size_t count, bool done);
void say_era(world *self, uint64_t era);

/* ---- rounds ---- */

/* One round with up to `frames` of those under way, of any link, in order per link.  Not WEIR_OK:
 * the process has failed. */
weir_code world_round(world *self, uint32_t frames);
/* Until all that was said is settled and all that was asked is taken. */
void world_settle(world *self);
weir_code world_try_settle(world *self);
/* The same, then for_ms with nothing said. */
void world_wait(world *self, int64_t for_ms);

/* ---- what came of it ---- */

size_t asked(const world *self, weir_link_kind link);
const row_message *last_asked(const world *self, weir_link_kind link);
/* NULL: none. */
const ending_record *ending_of(world *self, const char *document_id, int64_t revision);
const ending_record *dead_letter_of(world *self, const char *document_id, int64_t revision);
size_t count_keys(world *self, char tag);
bool is_unfinished(world *self, const char *document_id, int64_t revision);
reconciler_published published(world *self);
/* Numbers in memory equal a scan of the store. */
void assert_counts_are_true(world *self);

#endif
