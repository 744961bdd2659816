/*
 * rig.h - the gateway's core over the in-memory store, with three peers that remember what they
 * got.
 *
 * Time stands still but for rig_run_ms.  Frames are delivered at once and in order; a peer that is
 * down gets none.
 */
#ifndef WEIR_TESTS_GATEWAY_RIG_H
#define WEIR_TESTS_GATEWAY_RIG_H

#include "common/stage/stage.h"
#include "services/gateway/core.h"
#include "services/gateway/core_internal.h"
#include "weir/v1/document.pb-c.h"

typedef Weir__Internal__V1__Row rig_row;

typedef struct rig_peer {
    weir_service_id service;
    weir_store *store;
    weir_stage *stage; /* NULL: down */
    rig_row *rows[8192];
    size_t row_count;
    lifecycle_event *events[8192]; /* of EventsRows, in order */
    size_t event_count;
    uint32_t credit; /* of its links; 0: 1,024 */
} rig_peer;

typedef struct rig_reply {
    bool is_there;
    weir_error error; /* code WEIR_OK: the response */
    ProtobufCMessage *response;
} rig_reply;

enum { RIG_REPLIES_MAX = 16384 };

typedef struct rig_frame rig_frame;

typedef struct rig {
    gateway_core_config config;
    gateway_core *core;
    weir_store *store;
    weir_stage *stage;
    rig_peer ingest, indexer, reconciler;
    rig_frame *first, *last;
    rig_reply replies[RIG_REPLIES_MAX];
    uint64_t next_reply;
    weir_arena *arena; /* of everything that was remembered */
    int64_t now_ms, wake_ms;
    weir_rng rng;
    bool disk_low;
} rig;

rig *rig_create(void);
void rig_destroy(rig **rig_p);
/* End the gateway's process without a word, with a power cut, and start it again on what survived.
 */
void rig_crash(rig *self);
/* The same, and the calls-th store call of the start fails: true, and the gateway is down until the
 * next rig_crash.  False: the start made fewer calls. */
bool rig_crash_in_start(rig *self, uint32_t calls);
/* The same for a peer; wipe: on a new database. */
void rig_peer_restart(rig *self, rig_peer *peer, bool wipe);
void rig_peer_stop(rig *self, rig_peer *peer);
void rig_peer_start(rig *self, rig_peer *peer);

/* Deliver until nothing moves. */
void rig_settle(rig *self);
/* Let time pass, in steps of at most 10 ms, delivering what is due. */
void rig_run_ms(rig *self, int64_t duration_ms);

/* Hand a command to the core in a round of its own (not delivered yet) and answer with the handle
 * of its reply. */
uint64_t rig_submit(rig *self, gateway_command kind, const char *tenant,
    const ProtobufCMessage *message);
/* Begin, several commands, end: one round. */
void rig_round_begin(rig *self);
uint64_t rig_round_submit(rig *self, gateway_command kind, const char *tenant,
    const ProtobufCMessage *message);
void rig_round_end(rig *self);

/* What the gateway's look at the peer leads to: the core is told of its database, and the peer of
 * the era. */
void rig_tell_status(rig *self, rig_peer *peer);

/* A peer sends a row to the gateway. */
void rig_send(rig *self, rig_peer *peer, weir_link_kind link, rig_row *row);

/* ---- commands with what a test needs ---- */
typedef struct rig_ingest_options {
    const char *tenant, *collection_id, *document_id, *text, *request_id,
        *media_type; /* NULL: a default */
    int64_t source_version;
    bool force, held;
    int64_t wait_ms;
} rig_ingest_options;
uint64_t rig_ingest(rig *self, rig_ingest_options options);
#define RIG_INGEST(self_, ...) rig_ingest((self_), (rig_ingest_options){ __VA_ARGS__ })
/* The same in the round that has begun. */
uint64_t rig_round_ingest(rig *self, rig_ingest_options options);
uint64_t rig_delete(rig *self, const char *document_id, const char *request_id, bool allow_missing);
uint64_t rig_retry(rig *self, const char *document_id, int64_t revision, const char *request_id);
uint64_t rig_wait(rig *self, const char *document_id, int64_t revision, int64_t wait_ms);
uint64_t rig_wait_collection(rig *self, const char *token_document_id, int64_t revision,
    int64_t wait_ms);
/* ... and what the peers say. */
void rig_ready(rig *self, const char *document_id, int64_t revision, int64_t epoch,
    uint32_t chunks);
void rig_deleted(rig *self, const char *document_id, int64_t revision);
void rig_raise(rig *self, const char *document_id, int64_t revision, int64_t epoch);
void rig_give_up(rig *self, const char *document_id, int64_t revision, int64_t epoch);

/* The answers; each asserts that there is one of the kind. */
const Weir__V1__IngestDocumentResponse *rig_ingested(rig *self, uint64_t reply);
const Weir__V1__Document *rig_document(rig *self, uint64_t reply); /* of delete, retry, wait */
void rig_refused(rig *self, uint64_t reply, weir_code code);
bool rig_is_answered(rig *self, uint64_t reply);

/* The record of a revision as committed; asserts that it is there.  In the rig's arena. */
const revision_record *rig_revision(rig *self, const char *document_id, int64_t revision);
const document_record *rig_document_record(rig *self, const char *document_id);

/* K1..K6 of keys.h and the counters against a scan of everything; fails with a sentence. */
void rig_check_store(rig *self);

#endif
