/*
 * work_internal.h - what work.c, work_records.c and work_due.c share.
 */
#ifndef WEIR_STAGE_WORK_INTERNAL_H
#define WEIR_STAGE_WORK_INTERNAL_H

#include "common/stage/work.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__Row work_row;
typedef Weir__Internal__V1__DeferredRecord work_record;
typedef Weir__Internal__V1__Failure work_failure;

enum { WORK_FILTER_SLOTS = 1 << 14 };

typedef enum work_state { WORK_WAITING = 1, WORK_RUNNING, WORK_DONE } work_state;

struct weir_work_item {
    weir_work_item *next; /* in the window, by seq; or among the deferred ones that run */
    uint64_t seq;         /* 0: its row is settled and its record, if any, is in the database */
    work_state state;
    bool dropped;      /* its result counts for nothing */
    bool steps_aside;  /* into the database, when its turn comes, before any work */
    bool alone;        /* runs with nothing beside it */
    weir_arena *arena; /* row, record, key */
    work_row *row;
    weir_bytes packed;
    weir_bytes key;      /* of its record */
    work_record *record; /* attempts so far; row and link are filled in when it is stored */
    void *payload;
    weir_error result;
};

/* A look at a record that is due. */
typedef struct work_due {
    int64_t due_ms;
    int64_t
        record_due_ms; /* of the record it stands for; one that is due later has another entry */
    int64_t handed_over_ms;
    bool parked;
    weir_bytes key; /* owned */
} work_due;

typedef struct work_heap { /* least due_ms first */
    work_due *items;
    size_t count, capacity;
} work_heap;

struct weir_work {
    weir_work_ops ops;
    void *core;
    weir_work_policy policy;
    weir_work_observer observer;
    weir_link_kind link;
    uint32_t stage_number;

    weir_work_item *head, *tail;   /* the window, by seq */
    weir_work_item *next_to_start; /* first item of the window that was not looked at */
    weir_work_item *active;        /* deferred items that run */
    weir_work_item *alone_next;    /* deferred, begins when nothing runs any more */
    uint64_t window_count, running_count, active_count;
    bool alone_running;
    int64_t head_since_ms;

    work_heap due;
    uint64_t deferred_count, parked_count, deferred_bytes;
    uint32_t *filter;       /* deferred records by hash of their document: 0 means none */
    int64_t watch_until_ms; /* no work that is alone begins before: a crash is in question */
    uint32_t careful_left;  /* rows still to be deferred before their first work of this start */
    int64_t started_ms;     /* rows handed over later were never at work in an earlier process */
    int64_t round_ms;       /* of the last round: the wall clock may jump */

    uint32_t credit;
    uint64_t row_bytes; /* smoothed */
    uint64_t settled_in_period;
    bool was_busy;
    int64_t period_began_ms;
    int64_t oldest_deferred_ms; /* as of the period's beginning */
};

/* ---- work_due.c ---- */

/* Copies the key. */
void work_due_push(work_heap *heap, work_due entry);
/* The caller frees the key. */
work_due work_due_pop(work_heap *heap);
/* No entry is due later than latest_ms, nor a parked one later than parked_latest_ms. */
void work_due_clip(work_heap *heap, int64_t latest_ms, int64_t parked_latest_ms);
int64_t work_due_oldest(const work_heap *heap); /* least handed_over_ms; 0: none */
void work_due_fini(work_heap *heap);

/* ---- work_records.c ---- */

/* The row in memory of its own. */
weir_code work_item_create(weir_bytes packed, weir_work_item **ret_item,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The row of a record; *ret_item NULL: it is gone. */
weir_code work_item_load(weir_stage *stage, weir_bytes key, weir_work_item **ret_item,
    weir_error *reterr) WEIR_MUST_CHECK;
void work_item_destroy(weir_work *work, weir_work_item *item);
bool work_is_same_document(const work_row *a, const work_row *b);

/* The work is over, and no process ended under it. */
void work_record_clear(work_record *record);
/* It was at work when a process ended: nothing runs beside it. */
bool work_record_is_suspect(const work_record *record);
/* A process ended while it was alone at work, and it is not decided yet whether that counts. */
bool work_record_has_open_crash(const work_record *record);
/* Store the item's record as it stands; is_new: it was not in the database before. */
void work_record_put(weir_work *work, weir_stage *stage, weir_work_item *item, bool is_new);
/* Take the item's record out of the database. */
void work_record_remove(weir_work *work, weir_stage *stage, const weir_work_item *item);
/* Look at the record at due_ms. */
void work_record_plan(weir_work *work, const weir_work_item *item, int64_t due_ms);
weir_work_item *work_find_active(const weir_work *work, weir_bytes key);

/* Deferred work of a lower revision of the document is left. */
weir_code work_is_behind(const weir_work *work, weir_stage *stage, const work_row *row,
    bool *ret_is_behind, weir_error *reterr) WEIR_MUST_CHECK;
/* A row arrived: it removes deferred work that it replaces, and what waited behind that may go on.
 */
weir_code work_fence(weir_work *work, weir_stage *stage, const work_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The lowest revision left of the row's document may be worked on. */
weir_code work_wake_document(weir_work *work, weir_stage *stage, const work_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code work_records_load(weir_work *work, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
weir_code work_records_drop_older(weir_work *work, weir_stage *stage, uint64_t era,
    weir_error *reterr) WEIR_MUST_CHECK;

#endif
