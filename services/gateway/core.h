/*
 * core.h - the gateway's core: custody, revisions, epochs and the era, without I/O.
 *
 * It owns the stage ACCEPTED.  Every number that orders the suite (revision, epoch, era,
 * collection_no) is given out here, by one thread that reads its own writes, so two documents can
 * never disagree about which came first.  An accept is one batch: revision, source bytes, request
 * id, change log, backlog entry (or outbox row when there is credit).
 *
 * A crash at any line leaves whole rounds: `start` rebuilds the collections, counters and backlog
 * positions from the store; waiters die with their calls, and their clients ask again.
 *
 * Threads: the core's, but for gateway_core_published (any).
 */
#ifndef WEIR_GATEWAY_CORE_H
#define WEIR_GATEWAY_CORE_H

#include "common/stage/stage.h"
#include "services/gateway/admission.h"
#include "weir/internal/v1/command.pb-c.h"

typedef struct gateway_core gateway_core;

/* Requests to the core; the message of each is named after it (command.proto), the answer beside
 * it. */
typedef enum gateway_command {
    GATEWAY_ACCEPT = 1,        /* AcceptCommand -> weir.v1.IngestDocumentResponse */
    GATEWAY_DELETE,            /* DeleteCommand -> weir.v1.DeleteDocumentResponse */
    GATEWAY_RETRY,             /* RetryCommand -> weir.v1.RetryDocumentResponse */
    GATEWAY_WAIT,              /* WaitCommand -> weir.v1.WaitDocumentResponse */
    GATEWAY_WAIT_COLLECTION,   /* WaitCollectionCommand -> weir.v1.WaitCollectionResponse */
    GATEWAY_CREATE_COLLECTION, /* CreateCollectionCommand -> weir.v1.CreateCollectionResponse */
    GATEWAY_LEARN,             /* LearnCommand -> EmptyResponse */
    GATEWAY_PEER_STATUS,       /* PeerStatusCommand -> nobody */
    GATEWAY_DRAIN,   /* EmptyResponse -> nobody: whoever waits is answered now, and from now on */
    GATEWAY_REQUEUE, /* EndedCommand -> EndedAnswer */
    GATEWAY_DISCARD, /* EndedCommand -> EndedAnswer */
    GATEWAY_AUDIT = 40,    /* AuditCommand -> AuditAnswer */
    GATEWAY_AUDIT_SETTLED, /* AuditAgreesCommand -> EmptyResponse */
    GATEWAY_AUDIT_CURSOR,  /* AuditCursorCommand -> EmptyResponse */
    GATEWAY_AUDIT_REQUEST, /* AuditRequestCommand -> AuditRequestAnswer */
    GATEWAY_RESOLVE,       /* ResolveCommand -> weir.v1.ResolveInconsistencyResponse */
} gateway_command;

enum { GATEWAY_RESTORED_ID_SIZE = 16 };

typedef struct gateway_core_config {
    bool auto_create_collections;
    /* What a collection made by the first document gets. */
    const char *default_model;
    const char *default_fingerprint;
    uint32_t default_dimension, default_max_tokens, default_overlap_tokens;
    gateway_limits limits;  /* of what is unfinished; beyond, accepts are refused with PRESSURE */
    uint32_t in_flight_max; /* PROCESSING at once; 0: as many as credit allows */
    const char *tenant_weights; /* shares in the backlog, as weights.h says; NULL: equal ones */
    uint32_t waiters_max;       /* calls that wait at once; 0: 1,000 */
    uint64_t change_log_entries_max; /* 0: 1,000,000 */
    uint64_t change_log_age_ms;      /* 0: a day */
    /* The database was restored from a backup and says so by this random id, once: everything that
     * the other databases hold may be older or gone.  NULL: not restored. */
    const uint8_t *restored_id;
    const bool
        *disk_low; /* set by the driver, read atomically: accepts answer DISK_LOW; may be NULL */
} gateway_core_config;

/* The config's strings are copied. */
gateway_core *gateway_core_create(const gateway_core_config *config);
void gateway_core_destroy(gateway_core **core_p);
extern const weir_core_ops gateway_core_ops;

/* What other threads may see, as of the last commit. */
typedef struct gateway_published {
    uint64_t era;
    uint64_t change_no; /* greatest change in the log */
    /* A restored database gives out numbers again that it gave out after the backup: resume tokens
     * say in which life they were made.  0: never restored. */
    uint64_t life;
    uint64_t life_change_no; /* of the first change in this life */
    uint64_t backlog;        /* documents that wait for credit */
    uint64_t pending, processing;
    gateway_load load; /* without disk_low, which is the reader's to know */
    uint64_t accepted_total, ready_total, failed_total, retried_total, deleted_total,
        superseded_total;
    bool is_redriving;
    bool is_rebuilding;              /* of these, what was READY too */
    uint64_t inconsistencies;        /* open */
    uint64_t repaired_total;         /* repairs begun since the start */
    uint64_t recounts;               /* corrections of counters since the start */
    int64_t audit_full_pass_time_ms; /* when the last whole audit ended, wall time; 0: never */
    /* Databases in force by service, for ApplyEra; has_store says which are known. */
    bool has_store[WEIR_SERVICE_COUNT];
    uint8_t store_id[WEIR_SERVICE_COUNT][WEIR_STORE_ID_SIZE];
    uint64_t lost_era[WEIR_SERVICE_COUNT];
} gateway_published;
void gateway_core_published(gateway_core *core, gateway_published *ret_published);
/* Called on the core's thread after a commit that added to the change log; may be NULL. */
void gateway_core_on_change(gateway_core *core, void (*changed)(void *ud), void *ud);

#endif
