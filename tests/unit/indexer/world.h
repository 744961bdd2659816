/*
 * world.h - an indexer on an in-memory store, rows for it, and what it answers.
 *
 * Chunk `ordinal` of (document, revision, epoch) has the text "document/revision/epoch/ordinal",
 * the vector named by that text, and bytes 10 * ordinal to 10 * ordinal + 12 of its document, so
 * that neighbours overlap by two.
 */
#ifndef WEIR_TESTS_INDEXER_WORLD_H
#define WEIR_TESTS_INDEXER_WORLD_H

#include "tests/unit/indexer/support.h"

#include "services/indexer/core_internal.h"
#include "tests/unit/indexer/fake_stage.h"

enum { WORLD_DIMENSION = 16, WORLD_COLLECTION = 7, WORLD_ERA = 3 };

typedef struct world {
    weir_store *store;
    indexer_core *core;
    weir_stage *stage;
    weir_arena *arena; /* of answers */
    indexer_options options;
    uint64_t boot, era, seq;
    const char *tenant; /* of rows and requests; "acme" */
    uint64_t collection_no;
} world;

typedef Weir__Internal__V1__SearchVectorsResponse found;

extern weir_error error;

/* cmocka setup and teardown: a world that has started, its gate open, or closed. */
int world_open(void **state);
int world_closed(void **state);
int world_teardown(void **state);

/* Another start on the same store.  world_crash drops the round in hand; world_restart ends it
 * first. */
void world_crash(world *self);
/* Without a start: no read or row until world_try_restart. */
void world_stop(world *self);
void world_restart(world *self);
/* The same without checking that the start succeeds. */
weir_code world_try_restart(world *self);

/* ---- rows; each is its own event, the round goes on until world_commit ---- */

void send_row(world *self, weir_link_kind link, Weir__Internal__V1__Row *row);
/* Chunks [first, first + count); total: chunk_count as the row tells it. */
void send_vectors(world *self, const char *document_id, int64_t revision, int64_t epoch,
    uint32_t first, uint32_t count, uint32_t total);
/* The same with a hand in the row before it goes. */
typedef void spoil_row(Weir__Internal__V1__Row *row);
void send_spoilt(world *self, const char *document_id, int64_t revision, int64_t epoch,
    uint32_t count, uint32_t total, spoil_row *spoil);
void send_delete(world *self, const char *document_id, int64_t revision);
void send_revoke(world *self, const char *document_id, int64_t revision, int64_t epoch);
/* boot 0: this one's. */
void send_gate(world *self, uint64_t boot);
void send_seed(world *self, const char *document_id, int64_t deleted_below, int64_t failed_revision,
    int64_t failed_epoch, bool done);
void world_commit(world *self);
/* Commit, then let the core finish what it does by itself. */
void world_quiet(world *self);
/* One whole revision in one row, committed. */
void put_document(world *self, const char *document_id, int64_t revision, uint32_t chunks);

/* ---- what was released ---- */

unsigned count_events(const world *self, Weir__Internal__V1__LifecycleKind kind);
const Weir__Internal__V1__LifecycleEvent *last_event(const world *self);
unsigned count_rows(const world *self, weir_link_kind link);
/* The last row on a link. */
const Weir__Internal__V1__Row *last_row(const world *self, weir_link_kind link);
void forget(world *self);

/* ---- reads ---- */

/* The search for the chunk's own vector; document_id NULL in `only`: no filter. */
weir_code search_chunk(world *self, const char *name, const char *only, uint32_t top_k,
    found **ret_found);
/* By filter and without it, the chunk with this text is found first / not at all. */
bool is_found(world *self, const char *document_id, int64_t revision, int64_t epoch,
    uint32_t ordinal);
const Weir__Internal__V1__GetIndexedDocumentResponse *get_document(world *self,
    const char *document_id);
/* VerifyIndex has no findings; READY chunks. */
uint64_t verified_chunks(world *self);
/* Keys of a tag in committed state. */
unsigned count_keys(world *self, char tag);
/* Readiness as stored: revision * 100 + epoch, or 0. */
int64_t ready_of(world *self, const char *document_id);

#endif
