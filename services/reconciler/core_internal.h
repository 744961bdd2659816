/*
 * core_internal.h - what the files of the reconciler's core share: core.c (table, start, published numbers), journal.c
 * (events, what is unfinished), ending.c (revoke, give up, dead letters).
 */
#ifndef WEIR_RECONCILER_CORE_INTERNAL_H
#define WEIR_RECONCILER_CORE_INTERNAL_H

#include <pthread.h>

#include "services/reconciler/core.h"
#include "services/reconciler/keys.h"
#include "weir/internal/v1/record.pb-c.h"

#define LIFECYCLE(name_) (WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_##name_)

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__LifecycleEvent lifecycle_event;
typedef Weir__Internal__V1__EndingRecord ending_record;
typedef Weir__Internal__V1__Failure failure_record;

struct reconciler_core {
    reconciler_core_config config;
    weir_buffer key, range_end;
    uint64_t next_number; /* of the journal */
    bool number_changed;
    uint64_t dead_letters, endings, unfinished;
    int64_t oldest_since_ms, oldest_checked_ms;
    uint64_t given_up_total, events_total, seeded_era;

    pthread_mutex_t published_lock;
    reconciler_published published;
};

/* ---- journal.c ---- */
weir_code reconciler_journal(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_find_oldest(reconciler_core *core, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_count_records(reconciler_core *core, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;

/* ---- ending.c ---- */
weir_code reconciler_on_event(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_on_revoke_answer(reconciler_core *core, weir_stage *stage, const row_message *row,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code reconciler_on_seed(reconciler_core *core, weir_stage *stage, const row_message *row, weir_error *reterr)
    WEIR_MUST_CHECK;

#endif
