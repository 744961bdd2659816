/*
 * core.c - the gateway's core: the table of its handlers, its start, and what it publishes.
 */
#include "services/gateway/core.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/stage/retry.h"
#include "services/gateway/core_internal.h"

enum {
    CHANGE_LOG_ENTRIES = 1000000,
    CHANGE_LOG_AGE_MS = 86400000,
    WAITERS_MAX = 1000,
};

weir_code
gateway_refuse(weir_stage *stage, uint64_t reply_to, weir_code code, const char *field,
    const char *format, ...)
{
    weir_error error = { .code = code };
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    if (field != NULL)
        snprintf(error.field, sizeof error.field, "%s", field);
    if (weir_retry_waits(code))
        error.retry_after_ms = 1000;
    weir_stage_fail(stage, reply_to, &error);
    return WEIR_OK;
}

weir_code
gateway_refuse_missing(weir_stage *stage, uint64_t reply_to, const revision_id *id,
    int64_t revision)
{
    if (revision != 0)
        return gateway_refuse(stage, reply_to, WEIR_DOCUMENT_NOT_FOUND, "revision",
            "document \"%s\" has no revision %lld", id->document_id, (long long)revision);
    return gateway_refuse(stage, reply_to, WEIR_DOCUMENT_NOT_FOUND, "document_id",
        "there is no document \"%s\" in collection \"%s\"", id->document_id,
        id->collection->record->collection_id);
}

/* ---- the suite's numbers ---- */

static weir_code
adopt_stores(gateway_core *core, const Weir__Internal__V1__SuiteRecord *stored, weir_error *reterr)
{
    for (size_t i = 0; i < stored->n_stores; i++) {
        const Weir__Internal__V1__KnownStore *known = stored->stores[i];
        const weir_service_id service = weir_service_from_name(known->service);

        if (service == WEIR_SERVICE_NONE || known->store_id.len != WEIR_STORE_ID_SIZE)
            return weir_error_set(reterr, WEIR_CORRUPT,
                "the suite record names an unknown service");
        memcpy(core->known_id[service], known->store_id.data, WEIR_STORE_ID_SIZE);
        core->known[service].service = (char *)(uintptr_t)weir_service_name(service);
        core->known[service].store_id.data = core->known_id[service];
        core->known[service].store_id.len = WEIR_STORE_ID_SIZE;
        core->known[service].seeded_era = known->seeded_era;
        core->known[service].lost_era = known->lost_era;
        core->known[service].seen_era = known->seen_era;
    }
    return WEIR_OK;
}

static weir_code
load_suite(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    Weir__Internal__V1__SuiteRecord *stored = NULL;
    const weir_code code = weir_stage_get(stage, gateway_key_suite(&core->key),
        &weir__internal__v1__suite_record__descriptor, &stored, reterr);

    if (code != WEIR_OK || stored == NULL)
        return code;
    core->suite.era = stored->era;
    core->suite.next_collection_no = stored->next_collection_no;
    core->suite.next_change_no = stored->next_change_no;
    core->suite.next_backlog_no = stored->next_backlog_no;
    core->suite.next_unready_no = stored->next_unready_no;
    if (stored->redrive != NULL && stored->redrive->era != 0) {
        core->is_redriving = true;
        core->redrive_ready_too = stored->redrive->ready_too;
        weir_buffer_append(&core->redrive_after, stored->redrive->after_key.data,
            stored->redrive->after_key.len);
    }
    if (stored->restored_id.len == GATEWAY_RESTORED_ID_SIZE)
        memcpy(core->restored_id, stored->restored_id.data, GATEWAY_RESTORED_ID_SIZE);
    core->suite.restored_change_no = stored->restored_change_no;
    return adopt_stores(core, stored, reterr);
}

static void
put_suite(gateway_core *core, weir_stage *stage)
{
    Weir__Internal__V1__KnownStore *stores[WEIR_SERVICE_COUNT];
    Weir__Internal__V1__RedriveRecord redrive = WEIR__INTERNAL__V1__REDRIVE_RECORD__INIT;

    core->suite.n_stores = 0;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++)
        if (core->known[service].store_id.len == WEIR_STORE_ID_SIZE)
            stores[core->suite.n_stores++] = &core->known[service];
    core->suite.stores = stores;
    redrive.era = core->is_redriving ? weir_stage_era(stage) : 0;
    redrive.ready_too = core->redrive_ready_too;
    redrive.after_key.data = core->redrive_after.data;
    redrive.after_key.len = core->redrive_after.size;
    core->suite.redrive = &redrive;
    core->suite.era = weir_stage_era(stage);
    core->suite.restored_id.data = core->restored_id;
    core->suite.restored_id.len = GATEWAY_RESTORED_ID_SIZE;
    weir_stage_put(stage, gateway_key_suite(&core->key), &core->suite.base);
    core->suite.stores = NULL;
    core->suite.redrive = NULL;
    core->suite.restored_id.len = 0;
    core->suite.n_stores = 0;
    core->suite_changed = false;
}

/* ---- handlers ---- */

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    gateway_core *core = self;
    weir_code code = load_suite(core, stage, reterr);

    if (code == WEIR_OK)
        code = gateway_load_collections(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_migrate(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_load_unready(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_load_backlog(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_load_change_log(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_take_restore(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_load_audit(core, stage, reterr);
    if (code == WEIR_OK && (core->backlog_count > 0 || core->is_redriving))
        weir_stage_wake_at(stage, weir_stage_now_ms(stage));
    return code;
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    (void)packed;
    return gateway_on_row(self, stage, link, seq, row, reterr);
}

static weir_code
core_request(void *self, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    switch ((gateway_command)request->kind) {
    case GATEWAY_ACCEPT:
        return gateway_on_accept(self, stage, request, reterr);
    case GATEWAY_DELETE:
        return gateway_on_delete(self, stage, request, reterr);
    case GATEWAY_RETRY:
        return gateway_on_retry(self, stage, request, reterr);
    case GATEWAY_REQUEUE:
        return gateway_on_requeue(self, stage, request, reterr);
    case GATEWAY_DISCARD:
        return gateway_on_discard(self, stage, request, reterr);
    case GATEWAY_WAIT:
        return gateway_on_wait(self, stage, request, reterr);
    case GATEWAY_WAIT_COLLECTION:
        return gateway_on_wait_collection(self, stage, request, reterr);
    case GATEWAY_CREATE_COLLECTION:
        return gateway_on_create_collection(self, stage, request, reterr);
    case GATEWAY_LEARN:
        return gateway_on_learn(self, stage, request, reterr);
    case GATEWAY_PEER_STATUS:
        return gateway_on_peer_status(self, stage, request, reterr);
    case GATEWAY_DRAIN:
        return gateway_end_waits(self, stage, reterr);
    case GATEWAY_AUDIT:
        return gateway_on_audit(self, stage, request, reterr);
    case GATEWAY_AUDIT_SETTLED:
        return gateway_on_audit_agrees(self, stage, request, reterr);
    case GATEWAY_AUDIT_CURSOR:
        return gateway_on_audit_cursor(self, stage, request, reterr);
    case GATEWAY_AUDIT_REQUEST:
        return gateway_on_audit_request(self, stage, request, reterr);
    case GATEWAY_RESOLVE:
        return gateway_on_resolve(self, stage, request, reterr);
    }
    weir_assert(!"every command has a handler");
    return WEIR_INTERNAL;
}

static weir_code
core_wake(void *self, weir_stage *stage, weir_error *reterr)
{
    gateway_core *core = self;
    weir_code code = gateway_expire_waiters(core, stage, reterr);

    if (code == WEIR_OK && core->next_deadline_ms != INT64_MAX)
        weir_stage_wake_at(stage, core->next_deadline_ms);
    if (code == WEIR_OK)
        code = gateway_redrive_some(core, stage, reterr);
    return code;
}

static weir_code
core_link_news(void *self, weir_stage *stage, weir_link_kind link, unsigned news,
    weir_error *reterr)
{
    return gateway_on_link_news(self, stage, link, news, reterr);
}

static weir_code
core_resolve(void *self, weir_stage *stage, weir_link_kind link, row_message *row,
    weir_arena *arena, weir_error *reterr)
{
    return gateway_resolve(self, stage, link, row, arena, reterr);
}

static weir_code
core_round_end(void *self, weir_stage *stage, weir_error *reterr)
{
    gateway_core *core = self;
    weir_code code = gateway_seed_again(core, stage, reterr);

    gateway_put_backlog(core, stage);
    if (code == WEIR_OK)
        code = gateway_open_gate(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_dispatch(core, stage, reterr);
    if (code == WEIR_OK)
        code = gateway_trim_change_log(core, stage, reterr);
    if (code != WEIR_OK)
        return code;
    gateway_plan_redrive(core, stage);
    gateway_wake_collections(core, stage);
    gateway_put_unready(core, stage);
    gateway_put_changes(core, stage);
    gateway_put_counters(core, stage);
    if (core->suite_changed)
        put_suite(core, stage);
    gateway_report_counts(core, stage);
    return WEIR_OK;
}

static void
core_committed(void *self, weir_stage *stage)
{
    gateway_core *core = self;
    gateway_published *published = &core->published;

    pthread_mutex_lock(&core->published_lock);
    published->era = weir_stage_era(stage);
    published->change_no = core->suite.next_change_no - 1;
    published->life = weir_load_u64(core->restored_id);
    published->life_change_no = core->suite.restored_change_no;
    published->backlog = core->backlog_count;
    published->pending = core->pending_total;
    published->processing = core->processing_total;
    published->load = core->load;
    published->accepted_total = core->accepted_total;
    published->ready_total = core->ready_total;
    published->failed_total = core->failed_total;
    published->retried_total = core->retried_total;
    published->deleted_total = core->deleted_total;
    published->superseded_total = core->superseded_total;
    published->is_redriving = core->is_redriving;
    published->is_rebuilding = core->is_redriving && core->redrive_ready_too;
    published->inconsistencies = core->inconsistency_open;
    published->repaired_total = core->repaired_total;
    published->recounts = core->recounts;
    published->audit_full_pass_time_ms = core->audit.full_pass_time_ms;
    for (int service = 1; service < WEIR_SERVICE_COUNT; service++) {
        published->has_store[service] = core->known[service].store_id.len == WEIR_STORE_ID_SIZE;
        memcpy(published->store_id[service], core->known_id[service], WEIR_STORE_ID_SIZE);
        published->lost_era[service] = core->known[service].lost_era;
    }
    pthread_mutex_unlock(&core->published_lock);
    if (core->change_added && core->changed_callback != NULL)
        core->changed_callback(core->changed_ud);
    core->change_added = false;
}

const weir_core_ops gateway_core_ops = {
    .start = core_start,
    .row = core_row,
    .request = core_request,
    .wake = core_wake,
    .link_news = core_link_news,
    .resolve = core_resolve,
    .round_end = core_round_end,
    .committed = core_committed,
    .custody = "CDEGNQRS", /* all but what the audit can make again: see keys.h */
};

/* ---- life ---- */

gateway_core *
gateway_core_create(const gateway_core_config *config)
{
    gateway_core *core = weir_alloc_zero(1, sizeof *core);

    core->config = *config;
    if (core->config.change_log_entries_max == 0)
        core->config.change_log_entries_max = CHANGE_LOG_ENTRIES;
    if (core->config.change_log_age_ms == 0)
        core->config.change_log_age_ms = CHANGE_LOG_AGE_MS;
    if (core->config.waiters_max == 0)
        core->config.waiters_max = WAITERS_MAX;
    core->tenant_weights =
        weir_strdup(config->tenant_weights != NULL ? config->tenant_weights : "");
    core->default_model = weir_strdup(config->default_model);
    core->default_fingerprint = weir_strdup(config->default_fingerprint);
    weir__internal__v1__suite_record__init(&core->suite);
    weir__internal__v1__audit_record__init(&core->audit);
    core->audit.next_number = 1;
    core->suite.next_collection_no = 1;
    core->suite.next_change_no = 1;
    core->suite.next_backlog_no = 1;
    core->suite.next_unready_no = 1;
    core->trimmed_change_no = 1;
    core->next_deadline_ms = INT64_MAX;
    for (int service = 0; service < WEIR_SERVICE_COUNT; service++)
        weir__internal__v1__known_store__init(&core->known[service]);
    pthread_mutex_init(&core->published_lock, NULL);
    return core;
}

static void
destroy_collections(gateway_core *core)
{
    for (size_t bucket = 0; bucket < COLLECTION_BUCKETS; bucket++) {
        while (core->by_number[bucket] != NULL) {
            collection_entry *entry = core->by_number[bucket];
            weir_arena *arena = entry->arena;

            core->by_number[bucket] = entry->next_by_number;
            weir_arena_destroy(&arena);
        }
    }
}

void
gateway_core_destroy(gateway_core **core_p)
{
    gateway_core *core = *core_p;

    if (core == NULL)
        return;
    gateway_destroy_waiters(core);
    while (core->queues != NULL) {
        backlog_queue *queue = core->queues;
        core->queues = queue->next;
        weir_arena_destroy(&queue->arena);
        weir_free(queue->tenant);
        weir_free(queue);
    }
    destroy_collections(core);
    gateway_unready_destroy(core);
    weir_buffer_fini(&core->key);
    weir_buffer_fini(&core->range_end);
    weir_buffer_fini(&core->redrive_after);
    weir_buffer_fini(&core->audit_after);
    weir_free(core->tenant_weights);
    weir_free(core->default_model);
    weir_free(core->default_fingerprint);
    pthread_mutex_destroy(&core->published_lock);
    weir_free(core);
    *core_p = NULL;
}

void
gateway_core_published(gateway_core *core, gateway_published *ret_published)
{
    pthread_mutex_lock(&core->published_lock);
    *ret_published = core->published;
    pthread_mutex_unlock(&core->published_lock);
}

void
gateway_core_on_change(gateway_core *core, void (*changed)(void *ud), void *ud)
{
    core->changed_callback = changed;
    core->changed_ud = ud;
}
