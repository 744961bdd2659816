/*
 * core_internal.h - what the files of the gateway's core share.
 *
 *   core.c       the table of handlers, start, suite record, published numbers
 *   records.c    the one function that changes a state; counters
 *   changes.c    the change log
 *   accept.c     accept, delete, retry, create collection
 *   ended.c      requeue and discard of dead letters
 *   rows.c       ready, deleted, raise, give up, what reads learned
 *   migrate.c    folders of schema 1
 *   dispatch.c   backlog to outbox within credit; sources filled in when sent
 *   unready.c    what is PENDING or PROCESSING: the oldest, the bytes
 *   waiters.c    calls that wait for a state
 *   era.c        lost volumes: notice, era, seed, gate, re-drive
 *   audit_core.c what an audit found: judged again, recorded, repaired; what a person decides
 */
#ifndef WEIR_GATEWAY_CORE_INTERNAL_H
#define WEIR_GATEWAY_CORE_INTERNAL_H

#include <pthread.h>

#include "services/gateway/audit_rules.h"
#include "services/gateway/core.h"
#include "services/gateway/keys.h"
#include "services/gateway/views.h"

#define DOCUMENT_STATE(name_) ((uint32_t)WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_##name_)
#define STAGE_NUMBER(name_) ((uint32_t)WEIR__V1__STAGE__STAGE_##name_)
#define LIFECYCLE(name_) (WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_)

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent lifecycle_event;
typedef Weir__Internal__V1__ChangeRecord change_record;

/* Unready revisions of one collection and one round; see unready.c. */
typedef struct unready_page unready_page;
typedef struct unready_slot {
    uint64_t first_no;
    unready_page *page; /* NULL: all of it has left */
} unready_slot;
typedef struct unready_pages {
    unready_slot *slots; /* by number, from head on */
    size_t head, count, capacity;
    size_t live;           /* slots with a page */
    unready_page *changed; /* in this round */
    uint64_t open_from_no; /* no page below takes one more */
} unready_pages;

/* A collection in memory: all of them are, since every accept asks. */
typedef struct collection_entry collection_entry;
struct collection_entry {
    collection_entry *next_by_name, *next_by_number;
    weir_arena *arena; /* holds the record */
    collection_record *record;
    counters_record counters;
    bool counters_changed;      /* in this round */
    uint64_t unready_no;        /* first number of the newest page of its unready revisions */
    unready_page *unready_page; /* that page, while the number is one of this round */
};

enum { COLLECTION_BUCKETS = 1024, WAITER_BUCKETS = 4096 };

/* Of the backlog, of what is unready and of the change log.  The simulator's second build splits
 * pages all the time. */
#ifdef WEIR_PLANTS
enum { ENTRIES_PER_PAGE = 2 };
#else
enum { ENTRIES_PER_PAGE = 256 };
#endif

typedef enum waiter_kind {
    WAITER_INGEST = 1,
    WAITER_DOCUMENT,
    WAITER_DELETE,
    WAITER_COLLECTION
} waiter_kind;

typedef struct waiter waiter;
struct waiter {
    waiter *next;
    waiter_kind kind;
    uint64_t reply_to;
    collection_entry *collection;
    char *document_id; /* NULL for a whole collection */
    int64_t revision;
    int64_t until_ms;
    uint32_t outcome; /* of an ingest */
    bool collection_created;
    uint64_t from_no,
        until_no; /* WAITER_COLLECTION: unready numbers in [from_no, until_no) are waited for */
};

/* The backlog of one tenant in one lane. */
typedef Weir__Internal__V1__BacklogRecord backlog_entry;
typedef Weir__Internal__V1__BacklogPageRecord backlog_page;
typedef struct backlog_queue backlog_queue;
struct backlog_queue {
    backlog_queue *next;
    uint8_t lane;
    char *tenant;
    uint32_t weight;    /* entries in a turn */
    uint32_t turn_left; /* of this turn, in which the room ended */
    bool has_moved;     /* in this round: its position is to be put */
    uint64_t count;
    uint64_t next_no;   /* no entry below: where the scan begins (never at the start: tombstones) */
    weir_arena *arena;  /* of the page */
    backlog_page *page; /* that next_no is in; NULL: not read yet */
    uint64_t page_no;   /* its first number */
    backlog_entry **added; /* in this round, in its arena, not put yet; ENTRIES_PER_PAGE of them */
    size_t added_count;
    uint64_t added_no; /* number of the first */
};

struct gateway_core {
    gateway_core_config config;
    char *tenant_weights, *default_model, *default_fingerprint;
    Weir__Internal__V1__SuiteRecord suite; /* repeated fields are owned below */
    Weir__Internal__V1__KnownStore known[WEIR_SERVICE_COUNT];
    uint8_t known_id[WEIR_SERVICE_COUNT][WEIR_STORE_ID_SIZE];
    bool suite_changed;
    weir_buffer redrive_after;
    bool is_redriving, redrive_ready_too;
    bool redrive_is_fresh; /* begun in this round, which the walk over what is committed lacks */
    uint8_t restored_id[GATEWAY_RESTORED_ID_SIZE]; /* of the last restore; in the suite record */

    weir_buffer key, range_end; /* scratch */
    collection_entry *by_name[COLLECTION_BUCKETS];
    collection_entry *by_number[COLLECTION_BUCKETS];
    collection_entry *changed[64]; /* entries with changed counters; beyond, all are looked at */
    size_t changed_count;
    waiter
        *waiters[WAITER_BUCKETS + 1]; /* by document; the last holds those of whole collections */
    uint64_t waiter_count;
    int64_t next_deadline_ms; /* earliest until_ms; INT64_MAX: none */
    backlog_queue *queues;    /* a ring in the list's order */
    backlog_queue *turn;      /* whose turn it is; NULL: the first one's */
    uint64_t backlog_count;
    gateway_load load; /* unready revisions */
    unready_pages unready;
    uint64_t pending_total, processing_total;
    uint64_t accepted_total, ready_total, failed_total, retried_total, deleted_total,
        superseded_total;
    uint64_t trimmed_change_no;               /* no change below */
    change_record *changes[ENTRIES_PER_PAGE]; /* of this round, in its arena, not put yet */
    size_t change_count;
    uint64_t first_change_no; /* of these */
    int64_t change_age_checked_ms;
    bool gate_is_due;                    /* a start of the indexer waits for it */
    bool is_suspect[WEIR_SERVICE_COUNT]; /* a link to it stopped; its own status decides what was
                                            lost */
    uint8_t refused_id[WEIR_SERVICE_COUNT]
                      [WEIR_STORE_ID_SIZE]; /* databases that were replaced and came back */
    Weir__Internal__V1__AuditRecord audit;  /* after_key is owned by audit_after */
    weir_buffer audit_after;
    uint64_t inconsistency_count, inconsistency_open; /* recorded; of these, open */
    uint64_t repaired_total;
    uint64_t recounts; /* corrections of counters since the start */
    bool change_added;
    bool is_draining; /* nobody may wait any more */
    void (*changed_callback)(void *ud);
    void *changed_ud;

    pthread_mutex_t published_lock;
    gateway_published published;
};

/* ---- records.c ---- */
/* Which revision of which document. */
typedef struct revision_id {
    collection_entry *collection;
    const char *document_id;
    int64_t revision;
    document_record *document; /* as the batch has it, changes of the handler included; see below */
} revision_id;
/* *ret NULL: absent. */
weir_code gateway_get_document(gateway_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, document_record **ret_document, weir_error *reterr) WEIR_MUST_CHECK;
void gateway_put_document(gateway_core *core, weir_stage *stage, uint64_t collection_no,
    const char *document_id, const document_record *document);
/* id->document (NULL: absent) and the revision's record (NULL: absent), which is in id->document
 * when it is the newest. */
weir_code gateway_get_both(gateway_core *core, weir_stage *stage, revision_id *id,
    revision_record **ret_revision, weir_error *reterr) WEIR_MUST_CHECK;
/* The same, when id->document is there already. */
weir_code gateway_get_revision_of(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record **ret_revision, weir_error *reterr) WEIR_MUST_CHECK;
/* Before newest_revision is raised: what was the newest gets a record of its own. */
void gateway_archive_newest(gateway_core *core, weir_stage *stage, const revision_id *id);
/* The one function that changes a state: record, counters, change log and update time move in the
 * same batch. A state equal to the present one writes the record all the same.  Waiters are woken.
 * The newest revision is written with id->document, which must be there. */
weir_code gateway_set_state(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint32_t state, weir_error *reterr) WEIR_MUST_CHECK;
void gateway_tell(weir_stage *stage, const revision_id *id, const revision_record *revision,
    Weir__Internal__V1__LifecycleKind kind);
void gateway_tell_why(weir_stage *stage, const revision_id *id, const revision_record *revision,
    Weir__Internal__V1__LifecycleKind kind, Weir__Internal__V1__LifecycleCause cause);
collection_entry *gateway_find_collection(const gateway_core *core, const char *tenant,
    const char *collection_id);
collection_entry *gateway_find_collection_no(const gateway_core *core, uint64_t collection_no);
weir_code gateway_add_collection(gateway_core *core, weir_bytes packed,
    collection_entry **ret_entry, weir_error *reterr) WEIR_MUST_CHECK;
void gateway_count(gateway_core *core, collection_entry *collection);
/* *count, of the collection, becomes less by n; one that is lower is wrong, and becomes 0. */
void gateway_take_off(const collection_entry *collection, uint64_t *count, uint64_t n);
enum { GATEWAY_COUNTERS = 10 };
/* One of them, in the order of CountersRecord. */
uint64_t *gateway_counter(counters_record *counters, size_t at);
/* What a scan adds for a revision; all but `documents`, which takes the whole document. */
void gateway_count_revision(counters_record *counters, const revision_record *revision);
/* One record at a start; the arena is of this record. */
typedef weir_code gateway_load_one(gateway_core *core, weir_stage *stage, const weir_iter *iter,
    weir_arena *arena, weir_error *reterr);
/* All records of [lower, upper) in the order of their keys, those of this round included; ends with
 * the first error. */
weir_code gateway_load_each(gateway_core *core, weir_stage *stage, weir_bytes lower,
    weir_bytes upper, gateway_load_one *load, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_load_collections(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
void gateway_put_counters(gateway_core *core, weir_stage *stage);

/* ---- changes.c ---- */
/* The next number is the change's; copied. */
void gateway_log_change(gateway_core *core, weir_stage *stage, const change_record *change);
/* One record: `count` changes with consecutive numbers, at most ENTRIES_PER_PAGE. */
void gateway_put_changes_record(gateway_core *core, weir_stage *stage, uint64_t first_no,
    change_record **changes, size_t count);
/* At the end of a round: what was logged in it. */
void gateway_put_changes(gateway_core *core, weir_stage *stage);
weir_code gateway_load_change_log(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Changes beyond the number that is kept, a bounded share a round; now and then, those beyond the
 * age. */
weir_code gateway_trim_change_log(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- accept.c ---- */
weir_code gateway_on_accept(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_delete(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_retry(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
/* A delete of the whole document: id->revision is the next one, the tombstone's. */
weir_code gateway_delete_all(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_create_collection(gateway_core *core, weir_stage *stage,
    const weir_request *request, weir_error *reterr) WEIR_MUST_CHECK;

/* The tombstone of id->revision, to the indexer; it is answered by a DeletedRow, however often it
 * is sent. */
weir_code gateway_send_tombstone(weir_stage *stage, const revision_id *id, int64_t delete_time_ms,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- ended.c ---- */
weir_code gateway_on_requeue(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_discard(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- unready.c ---- */
/* The revision has just become PENDING or PROCESSING: it gets a number. */
void gateway_unready_enter(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision);
void gateway_unready_leave(gateway_core *core, const revision_record *revision);
/* Whoever enters later in this round has this number or a greater one. */
uint64_t gateway_unready_mark(gateway_core *core);
/* At the end of a round: what entered and left, and the oldest of the rest. */
void gateway_put_unready(gateway_core *core, weir_stage *stage);
weir_code gateway_load_unready(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
void gateway_unready_destroy(gateway_core *core);
/* A revision of the collection with *from_no <= number < until_no is unready; *from_no moves to
 * it. */
bool gateway_unready_before(const gateway_core *core, uint64_t collection_no, uint64_t *from_no,
    uint64_t until_no);

/* ---- rows.c ---- */
weir_code gateway_on_row(gateway_core *core, weir_stage *stage, weir_link_kind link, uint64_t seq,
    const row_message *row, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_learn(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
/* As if the READY row of the revision had come; it is live. */
weir_code gateway_take_ready(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, revision_record *revision, const Weir__Internal__V1__ReadyRow *ready,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The one way to a new epoch: if the record's epoch is from_epoch, epoch + 1, PENDING, dispatched
 * or in the backlog. */
weir_code gateway_raise(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint8_t lane, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_retire_lower(gateway_core *core, weir_stage *stage, const revision_id *id,
    document_record *document, uint32_t state, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- dispatch.c ---- */
/* id->document must be there.  Hand the revision to ingest now, or put it into the backlog. */
weir_code gateway_hand_over(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision, uint8_t lane, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_dispatch(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the end of a round, before gateway_dispatch: what was put into the backlog. */
void gateway_put_backlog(gateway_core *core, weir_stage *stage);
/* What waits here, for the suite's status. */
void gateway_report_counts(const gateway_core *core, weir_stage *stage);
weir_code gateway_load_backlog(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_resolve(gateway_core *core, weir_stage *stage, weir_link_kind link,
    row_message *row, weir_arena *arena, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- migrate.c ---- */
/* At the start, once the suite's numbers are there: entries of schema 1 become pages. */
weir_code gateway_migrate(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- waiters.c ---- */
weir_code gateway_on_wait(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_wait_collection(gateway_core *core, weir_stage *stage,
    const weir_request *request, weir_error *reterr) WEIR_MUST_CHECK;
/* Answer when the revision is terminal (delete: confirmed) or until_ms has come. */
weir_code gateway_wait_for(gateway_core *core, weir_stage *stage, const waiter *wish,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_wake_document(gateway_core *core, weir_stage *stage, collection_entry *collection,
    const char *document_id, weir_error *reterr) WEIR_MUST_CHECK;
void gateway_wake_collections(gateway_core *core, weir_stage *stage);
/* The process is about to end: nobody waits any more. */
weir_code gateway_end_waits(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_expire_waiters(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
void gateway_destroy_waiters(gateway_core *core);

/* ---- era.c ---- */
weir_code gateway_on_link_news(gateway_core *core, weir_stage *stage, weir_link_kind link,
    unsigned news, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_peer_status(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the start, after a restore: the other databases count as lost. */
weir_code gateway_take_restore(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the end of a round: seed the indexer for an era that was raised while its link was open. */
weir_code gateway_seed_again(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the end of a round: tell a start of the indexer that both of its links are clean, once they
 * are. */
weir_code gateway_open_gate(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
/* At the end of a round: be woken for the re-drive that began in it. */
void gateway_plan_redrive(gateway_core *core, weir_stage *stage);
weir_code gateway_redrive_some(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;

/* ---- audit_core.c ---- */
/* What the audit calls the record of a revision; NULL: unknown. */
gateway_audit_state gateway_audit_state_of(const revision_record *revision);
weir_code gateway_load_audit(gateway_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_audit(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_audit_agrees(gateway_core *core, weir_stage *stage,
    const weir_request *request, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_audit_cursor(gateway_core *core, weir_stage *stage,
    const weir_request *request, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_audit_request(gateway_core *core, weir_stage *stage,
    const weir_request *request, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_on_resolve(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr) WEIR_MUST_CHECK;

/* A refusal as a reply; the handler goes on. */
weir_code gateway_refuse(weir_stage *stage, uint64_t reply_to, weir_code code, const char *field,
    const char *format, ...) WEIR_PRINTF(5, 6);
/* DOCUMENT_NOT_FOUND: the collection, which exists, has no such document; with a revision, the
 * document has no such revision. */
weir_code gateway_refuse_missing(weir_stage *stage, uint64_t reply_to, const revision_id *id,
    int64_t revision);

#endif
