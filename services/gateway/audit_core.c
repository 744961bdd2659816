/*
 * audit_core.c - what an audit found: judged again, recorded and repaired in one round.
 *
 * The look at the other services happens outside (audit_look.c); here its finding is compared with
 * the record once more, by state, epoch and change number, and counts for nothing if any of them
 * has moved.  Then the table decides (audit_rules.h), and the inconsistency, the repair and the
 * event that names the document are one batch.  A repair that a crash or an era takes with it is
 * found and begun again by the next look, since each is idempotent.
 *
 * Records are bounded: the oldest resolved one makes room; when all are open, what is found beyond
 * is not recorded and not repaired until there is room, and the next pass finds it again.
 */
#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/gateway/audit_rules.h"
#include "services/gateway/core_internal.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__Internal__V1__AuditCommand audit_command;
typedef Weir__Internal__V1__InconsistencyRecord inconsistency_record;
typedef Weir__Internal__V1__RequestRecord request_record;

#define RESOLUTION(name_) \
    ((uint32_t)WEIR__V1__INCONSISTENCY_RESOLUTION__INCONSISTENCY_RESOLUTION_##name_)

enum { RECORDS_MAX = 10000, REPAIR_AGAIN_MS = 20000, REPAIRS_MAX = 5, FORGET_NOTHING = -1 };

/* ---- records ---- */

static void
put_audit(gateway_core *core, weir_stage *stage)
{
    core->audit.after.data = core->audit_after.data;
    core->audit.after.len = core->audit_after.size;
    weir_stage_put(stage, gateway_key_audit(&core->key), &core->audit.base);
}

static weir_code
get_record(gateway_core *core, weir_stage *stage, uint64_t number, inconsistency_record **ret,
    weir_error *reterr)
{
    *ret = NULL;
    return weir_stage_get(stage, gateway_key_inconsistency(&core->key, number),
        &weir__internal__v1__inconsistency_record__descriptor, ret, reterr);
}

static void
put_record(gateway_core *core, weir_stage *stage, uint64_t number,
    const inconsistency_record *record)
{
    weir_stage_put(stage, gateway_key_inconsistency(&core->key, number), &record->base);
}

static weir_bytes
found_key(gateway_core *core, const inconsistency_record *record)
{
    return gateway_key_found(&core->key, record->collection_no, record->document_id,
        record->revision, (uint8_t)record->evidence);
}

static weir_code
find_number(gateway_core *core, weir_stage *stage, const audit_command *command,
    uint64_t *ret_number, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    const weir_code code = weir_batch_get(weir_stage_batch(stage),
        gateway_key_found(&core->key, command->collection_no, command->document_id,
            command->revision, (uint8_t)command->evidence),
        &value, &found, reterr);

    *ret_number = code == WEIR_OK && found && value.size == 8 ? weir_load_u64(value.data) : 0;
    weir_buffer_fini(&value);
    return code;
}

static void
erase_record(gateway_core *core, weir_stage *stage, uint64_t number,
    const inconsistency_record *record)
{
    weir_assert(core->inconsistency_count > 0);
    core->inconsistency_count--;
    core->inconsistency_open -= record->resolution == 0;
    weir_batch_delete(weir_stage_batch(stage), found_key(core, record));
    weir_batch_delete(weir_stage_batch(stage), gateway_key_inconsistency(&core->key, number));
}

static void
resolve_record(gateway_core *core, weir_stage *stage, uint64_t number, inconsistency_record *record,
    uint32_t resolution)
{
    weir_assert(core->inconsistency_open > 0);
    core->inconsistency_open--;
    record->resolution = resolution;
    record->resolve_time_ms = weir_stage_now_ms(stage);
    if (resolution != RESOLUTION(DISMISS)) /* a dismissed one is remembered by its finding */
        weir_batch_delete(weir_stage_batch(stage), found_key(core, record));
    put_record(core, stage, number, record);
}

static weir_code
decode_record(weir_stage *stage, const weir_iter *iter, inconsistency_record **ret,
    weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    if (weir_wire_decode(&weir__internal__v1__inconsistency_record__descriptor,
            weir_iter_value(iter), NULL, weir_stage_arena(stage), &message, reterr) != WEIR_OK)
        return weir_stage_damaged(stage, weir_iter_key(iter), "InconsistencyRecord", reterr);
    *ret = (inconsistency_record *)message;
    return WEIR_OK;
}

typedef weir_code visit_record(gateway_core *core, weir_stage *stage, uint64_t number,
    const inconsistency_record *record, bool *stop, weir_error *reterr);

static weir_code
visit_records(gateway_core *core, weir_stage *stage, visit_record *visit, weir_error *reterr)
{
    weir_iter *iter = weir_store_iter(weir_stage_store(stage), NULL,
        gateway_key_inconsistency(&core->key, 0), gateway_key_inconsistency_end(&core->range_end));
    bool stop = false;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && !stop && weir_iter_next(iter)) {
        inconsistency_record *record = NULL;
        const uint64_t number = weir_load_u64(weir_iter_key(iter).data + 1);

        code = decode_record(stage, iter, &record, reterr);
        if (code == WEIR_OK)
            code = visit(core, stage, number, record, &stop, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
count_record(gateway_core *core, weir_stage *stage, uint64_t number,
    const inconsistency_record *record, bool *stop, weir_error *reterr)
{
    (void)stage, (void)stop, (void)reterr;
    core->inconsistency_count++;
    core->inconsistency_open += record->resolution == 0;
    if (number >= core->audit.next_number)
        core->audit.next_number = number + 1; /* the record of the audit was set aside */
    return WEIR_OK;
}

weir_code
gateway_load_audit(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    Weir__Internal__V1__AuditRecord *stored = NULL;
    const weir_code code = weir_stage_get(stage, gateway_key_audit(&core->key),
        &weir__internal__v1__audit_record__descriptor, &stored, reterr);

    if (code != WEIR_OK)
        return code;
    if (stored != NULL) {
        core->audit.walk = stored->walk;
        core->audit.begin_time_ms = stored->begin_time_ms;
        core->audit.full_pass_time_ms = stored->full_pass_time_ms;
        core->audit.next_number = stored->next_number;
        weir_buffer_append(&core->audit_after, stored->after.data, stored->after.len);
    }
    return visit_records(core, stage, count_record, reterr);
}

static weir_code
erase_if_resolved(gateway_core *core, weir_stage *stage, uint64_t number,
    const inconsistency_record *record, bool *stop, weir_error *reterr)
{
    inconsistency_record *now = NULL;
    const weir_code code = get_record(core, stage, number, &now, reterr); /* as of this round */

    (void)record;
    if (code != WEIR_OK || now == NULL || now->resolution == 0)
        return code;
    erase_record(core, stage, number, now);
    *stop = true;
    return WEIR_OK;
}

/* Room for one more; false: all that are kept are open. */
static weir_code
make_room(gateway_core *core, weir_stage *stage, bool *ret_room, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (core->inconsistency_count >= RECORDS_MAX &&
        core->inconsistency_open < core->inconsistency_count)
        code = visit_records(core, stage, erase_if_resolved, reterr);
    *ret_room = core->inconsistency_count < RECORDS_MAX;
    return code;
}

/* ---- the record in question, as it is now ---- */

typedef struct judged {
    gateway_core *core;
    weir_stage *stage;
    revision_id id; /* collection NULL: the gateway knows none of that number */
    const char *tenant;
    document_record *document; /* NULL: unknown */
    revision_record *revision; /* NULL: unknown */
    gateway_audit_state state;
} judged;

gateway_audit_state
gateway_audit_state_of(const revision_record *revision)
{
    if (revision == NULL)
        return GATEWAY_AUDIT_UNKNOWN;
    if (revision->is_delete)
        return GATEWAY_AUDIT_DELETE;
    switch (revision->state) {
    case DOCUMENT_STATE(PENDING):
        return GATEWAY_AUDIT_PENDING;
    case DOCUMENT_STATE(PROCESSING):
        return GATEWAY_AUDIT_PROCESSING;
    case DOCUMENT_STATE(READY):
        return GATEWAY_AUDIT_READY;
    case DOCUMENT_STATE(FAILED):
        return GATEWAY_AUDIT_FAILED;
    default:
        return GATEWAY_AUDIT_RETIRED;
    }
}

static weir_code
load_judged(judged *self, uint64_t collection_no, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    self->id.collection = gateway_find_collection_no(self->core, collection_no);
    if (self->id.collection != NULL) {
        self->tenant = self->id.collection->record->tenant;
        code = gateway_get_document(self->core, self->stage, collection_no, self->id.document_id,
            &self->document, reterr);
    }
    self->id.document = self->document;
    if (code == WEIR_OK && self->document != NULL)
        code = gateway_get_revision_of(self->core, self->stage, &self->id, &self->revision, reterr);
    self->state = gateway_audit_state_of(self->revision);
    return code;
}

static weir_code
load_counters(judged *self, const audit_command *command, weir_error *reterr)
{
    const weir_code code = load_judged(self, command->collection_no, reterr);

    if (code == WEIR_OK && self->id.collection != NULL)
        self->state = GATEWAY_AUDIT_COUNTERS;
    return code;
}

/* ---- repairs ---- */

static weir_code
send_audit(const judged *self, uint64_t collection_no, int64_t forget_above, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__AuditRow audit = WEIR__INTERNAL__V1__AUDIT_ROW__INIT;

    audit.forget_above = forget_above;
    audit.deleted_below = self->document != NULL ? self->document->deleted_below : 0;
    row.tenant = (char *)(uintptr_t)self->tenant;
    row.collection_no = collection_no;
    row.document_id = (char *)(uintptr_t)self->id.document_id;
    row.revision = self->id.revision > 0 ? self->id.revision : 1;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_AUDIT;
    row.audit = &audit;
    return weir_stage_send(self->stage, WEIR_LINK_GATEWAY_INDEXER, &row, NULL, reterr);
}

static weir_code
send_promise(const judged *self, weir_error *reterr)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__SeedRow seed = WEIR__INTERNAL__V1__SEED_ROW__INIT;
    Weir__Internal__V1__SeedEntry entry = WEIR__INTERNAL__V1__SEED_ENTRY__INIT;
    Weir__Internal__V1__SeedEntry *entries[] = { &entry };

    entry.tenant = (char *)(uintptr_t)self->tenant;
    entry.collection_no = self->id.collection->record->collection_no;
    entry.document_id = (char *)(uintptr_t)self->id.document_id;
    entry.deleted_below = self->document->deleted_below;
    entry.failed_revision = self->id.revision;
    entry.failed_epoch = self->revision->epoch;
    seed.entries = entries;
    seed.n_entries = 1;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_SEED;
    row.seed = &seed;
    return weir_stage_send(self->stage, WEIR_LINK_GATEWAY_INDEXER, &row, NULL, reterr);
}

static weir_code
raise_again(const judged *self, weir_error *reterr)
{
    if (self->document->searchable_revision == self->id.revision) {
        self->document->searchable_revision = 0; /* it comes back with its READY */
        gateway_put_document(self->core, self->stage, self->id.collection->record->collection_no,
            self->id.document_id, self->document);
    }
    return gateway_raise(self->core, self->stage, &self->id, self->revision, GATEWAY_LANE_REDRIVE,
        reterr);
}

static weir_code
take_ready(const judged *self, const audit_command *command, weir_error *reterr)
{
    Weir__Internal__V1__ReadyRow ready = WEIR__INTERNAL__V1__READY_ROW__INIT;

    ready.chunk_count = command->chunk_count;
    ready.token_count = command->token_count;
    ready.ready_time_ms = command->ready_time_ms;
    ready.media_type = command->media_type;
    return gateway_take_ready(self->core, self->stage, &self->id, self->document, self->revision,
        &ready, reterr);
}

static weir_code
retire(const judged *self, weir_error *reterr)
{
    const weir_code code = gateway_set_state(self->core, self->stage, &self->id, self->revision,
        DOCUMENT_STATE(SUPERSEDED), reterr);

    if (code == WEIR_OK)
        gateway_tell(self->stage, &self->id, self->revision, LIFECYCLE(SUPERSEDED));
    return code;
}

static weir_code
send_tombstone_again(const judged *self, weir_error *reterr)
{
    revision_id tombstone = self->id;

    tombstone.revision = self->document->deleted_below;
    return gateway_send_tombstone(self->stage, &tombstone, self->revision->delete_time_ms, reterr);
}

/* What was wrong in the snapshot is wrong by as much now: what has changed since has moved the
 * counters and what they count alike. */
static void
correct_counters(const judged *self, const audit_command *command)
{
    collection_entry *collection = self->id.collection;
    counters_record stored = *command->stored, counted = *command->counted;

    for (size_t i = 0; i < GATEWAY_COUNTERS; i++)
        *gateway_counter(&collection->counters, i) +=
            *gateway_counter(&counted, i) - *gateway_counter(&stored, i);
    self->core->pending_total += counted.pending - stored.pending;
    self->core->processing_total += counted.processing - stored.processing;
    self->core->recounts++;
    gateway_count(self->core, collection);
}

static weir_code
act(const judged *self, gateway_audit_action action, const audit_command *command,
    weir_error *reterr)
{
    const int64_t newest = self->document != NULL ? self->document->newest_revision : 0;

    switch (action) {
    case GATEWAY_AUDIT_DO_NOTHING:
    case GATEWAY_AUDIT_DO_TELL: /* by the event of every repair */
        return WEIR_OK;
    case GATEWAY_AUDIT_DO_RECORD_READY:
        return take_ready(self, command, reterr);
    case GATEWAY_AUDIT_DO_RETIRE:
        return retire(self, reterr);
    case GATEWAY_AUDIT_DO_RAISE:
        return raise_again(self, reterr);
    case GATEWAY_AUDIT_DO_CHECK:
        return send_audit(self, command->collection_no, FORGET_NOTHING, reterr);
    case GATEWAY_AUDIT_DO_FORGET:
        return send_audit(self, command->collection_no, newest, reterr);
    case GATEWAY_AUDIT_DO_PROMISE:
        return send_promise(self, reterr);
    case GATEWAY_AUDIT_DO_TOMBSTONE:
        return send_tombstone_again(self, reterr);
    case GATEWAY_AUDIT_DO_COUNT:
        correct_counters(self, command);
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* The record as it is after the repair, to the journal and the dead letters. */
static void
tell_audited(const judged *self, const audit_command *command)
{
    lifecycle_event event = WEIR__INTERNAL__V1__LIFECYCLE_EVENT__INIT;

    event.kind = LIFECYCLE(AUDITED);
    event.tenant = (char *)(uintptr_t)self->tenant;
    event.collection_no = command->collection_no;
    event.document_id = (char *)(uintptr_t)self->id.document_id;
    event.revision = self->id.revision;
    event.epoch = command->epoch;
    event.time_ms = weir_stage_now_ms(self->stage);
    event.stage = STAGE_NUMBER(ACCEPT);
    event.message = command->message;
    if (self->revision != NULL) {
        event.epoch = self->revision->epoch;
        event.recorded_state = self->revision->state;
        event.collection_id = self->id.collection->record->collection_id;
        event.size_bytes = self->revision->size_bytes;
        event.content_sha256 = self->revision->content_sha256;
        event.failure = self->revision->failure;
    }
    weir_stage_event(self->stage, &event);
}

static void
log_audit(const judged *self, const audit_command *command, const gateway_audit_row *row,
    bool is_repaired)
{
    weir_log(WEIR_LOG_WARN, is_repaired ? "audit.repaired" : "audit.found",
        WEIR_STR("tenant", self->tenant),
        WEIR_STR("collection_id",
            self->id.collection != NULL ? self->id.collection->record->collection_id : ""),
        WEIR_STR("document_id", self->id.document_id), WEIR_INT("revision", self->id.revision),
        WEIR_INT("run", command->epoch),
        WEIR_STR("recorded", gateway_audit_state_name(self->state)),
        WEIR_STR("seen", gateway_audit_evidence_name((gateway_audit_evidence)command->evidence)),
        WEIR_STR("rule",
            row->rule == GATEWAY_AUDIT_ADVANCE       ? "advance"
                : row->rule == GATEWAY_AUDIT_REDRIVE ? "redrive"
                                                     : "review"),
        WEIR_STR("message", command->message));
}

/* ---- a finding ---- */

static uint32_t
proposal(const gateway_audit_row *row)
{
    switch (row->rule) {
    case GATEWAY_AUDIT_ADVANCE:
        return RESOLUTION(ADVANCE);
    case GATEWAY_AUDIT_REDRIVE:
        return RESOLUTION(REDRIVE);
    case GATEWAY_AUDIT_AGREES:
    case GATEWAY_AUDIT_REVIEW:
        return RESOLUTION(UNSPECIFIED);
    }
    return RESOLUTION(UNSPECIFIED);
}

static void
fill_record(const judged *self, const audit_command *command, const gateway_audit_row *row,
    inconsistency_record *record)
{
    weir__internal__v1__inconsistency_record__init(record);
    record->tenant = (char *)(uintptr_t)self->tenant;
    record->collection_no = command->collection_no;
    if (self->id.collection != NULL)
        record->collection_id = self->id.collection->record->collection_id;
    record->document_id = command->document_id;
    record->revision = command->revision;
    record->epoch = command->epoch;
    record->state = command->state;
    record->evidence = command->evidence;
    record->recorded_state = self->revision != NULL ? self->revision->state : 0;
    record->evident_state = gateway_audit_evident_state((gateway_audit_evidence)command->evidence);
    record->message = command->message;
    record->proposed = proposal(row);
    record->create_time_ms = weir_stage_now_ms(self->stage);
}

/* The record of this finding: the one that is kept, or a new one; *ret_number 0: there is no room.
 */
static weir_code
obtain_record(const judged *self, const audit_command *command, const gateway_audit_row *row,
    uint64_t *ret_number, inconsistency_record **ret_record, bool *ret_new, weir_error *reterr)
{
    gateway_core *core = self->core;
    uint8_t value[8];
    bool has_room = false;
    weir_code code = find_number(core, self->stage, command, ret_number, reterr);

    *ret_new = false;
    *ret_record = NULL;
    if (code == WEIR_OK && *ret_number != 0)
        code = get_record(core, self->stage, *ret_number, ret_record, reterr);
    if (code != WEIR_OK || *ret_record != NULL)
        return code;
    code = make_room(core, self->stage, &has_room, reterr);
    *ret_number = 0;
    if (code != WEIR_OK || !has_room)
        return code;
    *ret_number = core->audit.next_number++;
    *ret_record = weir_arena_alloc(weir_stage_arena(self->stage), sizeof **ret_record);
    fill_record(self, command, row, *ret_record);
    core->inconsistency_count++;
    core->inconsistency_open++;
    weir_store_u64(value, *ret_number);
    weir_batch_put(weir_stage_batch(self->stage), found_key(core, *ret_record),
        weir_bytes_of(value, sizeof value));
    put_audit(core, self->stage);
    *ret_new = true;
    return WEIR_OK;
}

/* A repair is given its time, and is not begun for ever: then a person decides. */
static bool
may_repair(const judged *self, const gateway_audit_row *row, inconsistency_record *record)
{
    const int64_t now_ms = weir_stage_now_ms(self->stage);

    if (record->resolution != 0 || row->rule == GATEWAY_AUDIT_REVIEW)
        return false;
    if (record->repair_count >= REPAIRS_MAX) {
        record->proposed = RESOLUTION(UNSPECIFIED);
        return false;
    }
    return record->repair_time_ms == 0 || record->repair_time_ms > now_ms ||
        now_ms - record->repair_time_ms >= REPAIR_AGAIN_MS;
}

/* A dismissed one stays so as long as nothing has changed. */
static void
reopen_if_changed(gateway_core *core, const audit_command *command, inconsistency_record *record,
    int64_t now_ms)
{
    if (record->resolution == 0 ||
        (record->resolution == RESOLUTION(DISMISS) && record->state == command->state &&
            record->epoch == command->epoch))
        return;
    record->resolution = 0;
    record->resolve_time_ms = 0;
    record->repair_count = 0;
    record->repair_time_ms = 0;
    record->state = command->state;
    record->epoch = command->epoch;
    record->message = command->message;
    record->create_time_ms = now_ms;
    core->inconsistency_open++;
}

static weir_code
handle_finding(judged *self, const audit_command *command, const gateway_audit_row *row,
    Weir__Internal__V1__AuditAnswer *answer, weir_error *reterr)
{
    inconsistency_record *record = NULL;
    uint64_t number = 0;
    bool is_new = false;
    weir_code code = obtain_record(self, command, row, &number, &record, &is_new, reterr);

    if (code != WEIR_OK || record == NULL)
        return code;
    WEIR_FP_RETURN("gateway.audit.finding", reterr);
    answer->is_new = is_new;
    reopen_if_changed(self->core, command, record, weir_stage_now_ms(self->stage));
    answer->is_stale = record->resolution != 0; /* dismissed: a person has seen it */
    if (may_repair(self, row, record)) {
        record->repair_count++;
        record->repair_time_ms = weir_stage_now_ms(self->stage);
        self->core->repaired_total++;
        answer->is_repaired = true;
        log_audit(self, command, row, true);
        code = act(self, row->action, command, reterr);
        WEIR_FP_RETURN("gateway.audit.repaired", reterr);
        if (self->state == GATEWAY_AUDIT_COUNTERS) /* right from this round on, and no document's */
            resolve_record(self->core, self->stage, number, record, RESOLUTION(ADVANCE));
        else
            tell_audited(self, command);
    } else if (is_new) {
        log_audit(self, command, row, false);
    }
    put_record(self->core, self->stage, number, record);
    return code;
}

static bool
is_stale(const judged *self, const audit_command *command)
{
    const revision_record *revision = self->revision;

    if (self->state == GATEWAY_AUDIT_COUNTERS)
        return command->recounts != self->core->recounts; /* an older look than the last one */
    return command->era != weir_stage_era(self->stage) || self->core->is_redriving ||
        (uint32_t)self->state != command->state ||
        (revision != NULL &&
            (revision->epoch != command->epoch || revision->change_no != command->change_no));
}

static bool
is_of_counters(const audit_command *command)
{
    return command->state == GATEWAY_AUDIT_COUNTERS;
}

static bool
is_sane(const audit_command *command)
{
    if (is_of_counters(command) && (command->stored == NULL || command->counted == NULL))
        return false;
    return command->state >= 1 && command->state < GATEWAY_AUDIT_STATE_COUNT &&
        command->evidence >= 1 && command->evidence < GATEWAY_AUDIT_EVIDENCE_COUNT &&
        (command->document_id[0] == 0) == is_of_counters(command) && command->tenant[0] != 0;
}

weir_code
gateway_on_audit(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const audit_command *command = (const audit_command *)request->message;
    Weir__Internal__V1__AuditAnswer *answer =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *answer);
    judged self = { .core = core,
        .stage = stage,
        .id = { .document_id = command->document_id, .revision = command->revision },
        .tenant = command->tenant };
    weir_code code = WEIR_OK;

    weir__internal__v1__audit_answer__init(answer);
    if (!is_sane(command))
        return gateway_refuse(stage, request->reply_to, WEIR_INVALID_ARGUMENT, NULL,
            "that is no finding");
    code = is_of_counters(command) ? load_counters(&self, command, reterr)
                                   : load_judged(&self, command->collection_no, reterr);
    if (code != WEIR_OK)
        return code;
    const gateway_audit_row *row = gateway_audit_row_of((gateway_audit_state)command->state,
        (gateway_audit_evidence)command->evidence);
    answer->is_stale = is_stale(&self, command) || row->rule == GATEWAY_AUDIT_AGREES;
    if (!answer->is_stale)
        code = handle_finding(&self, command, row, answer, reterr);
    if (code == WEIR_OK)
        weir_stage_reply(stage, request->reply_to, &answer->base);
    return code;
}

/* ---- it agrees again ---- */

static void
reply_empty(weir_stage *stage, uint64_t reply_to)
{
    Weir__Internal__V1__EmptyResponse *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);

    weir__internal__v1__empty_response__init(response);
    weir_stage_reply(stage, reply_to, &response->base);
}

weir_code
gateway_on_audit_agrees(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__AuditAgreesCommand *command =
        (const Weir__Internal__V1__AuditAgreesCommand *)request->message;
    inconsistency_record *record = NULL;
    const weir_code code = get_record(core, stage, command->number, &record, reterr);

    if (code != WEIR_OK)
        return code;
    if (record != NULL && record->resolution == 0) {
        WEIR_FP_RETURN("gateway.audit.agrees", reterr);
        weir_log(WEIR_LOG_INFO, "audit.agrees", WEIR_STR("tenant", record->tenant),
            WEIR_STR("collection_id", record->collection_id),
            WEIR_STR("document_id", record->document_id), WEIR_INT("revision", record->revision),
            WEIR_INT("repairs", record->repair_count));
        /* What went away by itself was nobody's decision. */
        if (record->repair_count == 0)
            erase_record(core, stage, command->number, record);
        else
            resolve_record(core, stage, command->number, record,
                record->proposed != 0 ? record->proposed : RESOLUTION(ADVANCE));
    }
    reply_empty(stage, request->reply_to);
    return WEIR_OK;
}

/* ---- the cursor ---- */

weir_code
gateway_on_audit_cursor(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__AuditCursorCommand *command =
        (const Weir__Internal__V1__AuditCursorCommand *)request->message;

    (void)reterr;
    core->audit.walk = command->walk;
    core->audit.begin_time_ms = command->begin_time_ms;
    if (command->is_over)
        core->audit.full_pass_time_ms = weir_stage_now_ms(stage);
    weir_buffer_clear(&core->audit_after);
    weir_buffer_append(&core->audit_after, command->after.data, command->after.len);
    put_audit(core, stage);
    reply_empty(stage, request->reply_to);
    return WEIR_OK;
}

/* ---- answers that are kept ---- */

/* *ret_seen: the kept record; *ret_refused: the id was used with another request. */
static weir_code
find_request(gateway_core *core, weir_stage *stage, const weir_request *request,
    gateway_method method, const char *request_id, ProtobufCBinaryData payload_sha256,
    request_record **ret_seen, bool *ret_refused, weir_error *reterr)
{
    *ret_seen = NULL;
    *ret_refused = false;
    if (request_id[0] == 0)
        return WEIR_OK;
    const weir_code code =
        weir_stage_get(stage, gateway_key_request(&core->key, request->tenant, method, request_id),
            &weir__internal__v1__request_record__descriptor, ret_seen, reterr);
    if (code != WEIR_OK || *ret_seen == NULL ||
        weir_bytes_equal(weir_bytes_of((*ret_seen)->payload_sha256.data,
                             (*ret_seen)->payload_sha256.len),
            weir_bytes_of(payload_sha256.data, payload_sha256.len)))
        return code;
    *ret_refused = true;
    return gateway_refuse(stage, request->reply_to, WEIR_REQUEST_ID_CONFLICT, "request_id",
        "request_id \"%s\" was used with another request; use a new one", request_id);
}

static void
keep_answer(gateway_core *core, weir_stage *stage, const weir_request *request,
    gateway_method method, const char *request_id, ProtobufCBinaryData payload_sha256,
    const ProtobufCMessage *answer)
{
    request_record record = WEIR__INTERNAL__V1__REQUEST_RECORD__INIT;
    weir_buffer packed = { 0 };

    if (request_id[0] == 0)
        return;
    weir_wire_encode(answer, &packed);
    record.payload_sha256 = payload_sha256;
    record.answer.data = packed.data;
    record.answer.len = packed.size;
    weir_stage_put(stage, gateway_key_request(&core->key, request->tenant, method, request_id),
        &record.base);
    weir_buffer_fini(&packed);
}

static weir_code
decode_answer(weir_stage *stage, const request_record *seen,
    const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **ret_answer, weir_error *reterr)
{
    const weir_code code =
        weir_wire_decode(descriptor, weir_bytes_of(seen->answer.data, seen->answer.len), NULL,
            weir_stage_arena(stage), ret_answer, reterr);

    return code == WEIR_OK ? WEIR_OK
                           : weir_error_set(reterr, WEIR_CORRUPT, "a kept answer does not decode");
}

weir_code
gateway_on_audit_request(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__AuditRequestCommand *command =
        (const Weir__Internal__V1__AuditRequestCommand *)request->message;
    Weir__Internal__V1__AuditRequestAnswer *response =
        weir_arena_alloc(weir_stage_arena(stage), sizeof *response);
    request_record *seen = NULL;
    ProtobufCMessage *kept = NULL;
    bool refused = false;
    weir_code code = find_request(core, stage, request, GATEWAY_METHOD_RUN_AUDIT,
        command->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    weir__internal__v1__audit_request_answer__init(response);
    if (seen != NULL)
        code = decode_answer(stage, seen, &weir__v1__run_audit_response__descriptor, &kept, reterr);
    else if (command->answer != NULL)
        keep_answer(core, stage, request, GATEWAY_METHOD_RUN_AUDIT, command->request_id,
            command->payload_sha256, &command->answer->base);
    response->answer = seen != NULL ? (Weir__V1__RunAuditResponse *)kept : command->answer;
    if (code == WEIR_OK)
        weir_stage_reply(stage, request->reply_to, &response->base);
    return code;
}

/* ---- what a person decides ---- */

static void
reply_resolved(weir_stage *stage, const weir_request *request, uint64_t number,
    const inconsistency_record *record, Weir__V1__ResolveInconsistencyResponse **ret_response)
{
    weir_arena *arena = weir_stage_arena(stage);
    Weir__V1__ResolveInconsistencyResponse *response = weir_arena_alloc(arena, sizeof *response);

    weir__v1__resolve_inconsistency_response__init(response);
    response->inconsistency = gateway_view_inconsistency(arena, number, record);
    weir_stage_reply(stage, request->reply_to, &response->base);
    *ret_response = response;
}

/* The tombstone that only the indexer has is taken as true.  Of the newest revision the document is
 * deleted, with a tombstone of the gateway's own, before which the indexer lets go of that one: its
 * number may be yet to come.  Of an older revision only that ends. */
static weir_code
take_tombstone(const judged *self, weir_error *reterr)
{
    const bool is_newest = self->id.revision == self->document->newest_revision;
    revision_id tombstone = self->id;
    weir_code code = WEIR_OK;

    if (is_newest) {
        code =
            send_audit(self, self->id.collection->record->collection_no, self->id.revision, reterr);
        tombstone.revision++;
        if (code == WEIR_OK)
            code = gateway_delete_all(self->core, self->stage, &tombstone, self->document, reterr);
        self->revision->state = DOCUMENT_STATE(DELETED);
        return code;
    }
    self->revision->delete_time_ms = weir_stage_now_ms(self->stage);
    code = gateway_set_state(self->core, self->stage, &self->id, self->revision,
        DOCUMENT_STATE(DELETED), reterr);
    if (code == WEIR_OK)
        gateway_tell(self->stage, &self->id, self->revision, LIFECYCLE(DELETED));
    return code;
}

/* The gateway's record is taken as true: the indexer lets go of the tombstone, and of what else it
 * has of the revision, which is worked on again. */
static weir_code
drop_tombstone(const judged *self, const char **ret_refusal, weir_error *reterr)
{
    if (self->id.revision < self->document->newest_revision) {
        *ret_refusal = "a newer revision has taken its place; ADVANCE ends this one";
        return WEIR_OK;
    }
    const weir_code code =
        send_audit(self, self->id.collection->record->collection_no, self->id.revision - 1, reterr);
    return code == WEIR_OK ? raise_again(self, reterr) : code;
}

/* Take what the others show: the delete that the indexer knows, or its READY. */
static weir_code
advance(judged *self, const inconsistency_record *record, const audit_command *seen,
    const gateway_audit_row *row, const char **ret_refusal, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (row->rule == GATEWAY_AUDIT_ADVANCE)
        return act(self, row->action, seen, reterr);
    if (record->evidence == GATEWAY_AUDIT_SEES_TOMBSTONE)
        return take_tombstone(self, reterr);
    if (record->evidence == GATEWAY_AUDIT_SEES_DAMAGED)
        return act(self, GATEWAY_AUDIT_DO_CHECK, seen, reterr);
    if (record->evidence != GATEWAY_AUDIT_SEES_READY) {
        *ret_refusal = "there is no further state to take; ingest the document again or delete it, "
                       "then DISMISS";
        return WEIR_OK;
    }
    /* The decision is the retry between FAILED and READY; its row meets READY and is answered. */
    if (self->state == GATEWAY_AUDIT_FAILED)
        code = raise_again(self, reterr);
    return code;
}

static weir_code
redrive(judged *self, const inconsistency_record *record, const audit_command *seen,
    const char **ret_refusal, weir_error *reterr)
{
    const bool can_be_driven = self->state == GATEWAY_AUDIT_PENDING ||
        self->state == GATEWAY_AUDIT_PROCESSING || self->state == GATEWAY_AUDIT_READY ||
        self->state == GATEWAY_AUDIT_FAILED;

    if (!can_be_driven || record->evidence == GATEWAY_AUDIT_SEES_NO_SOURCE) {
        *ret_refusal = "the revision cannot be worked on again; ingest the document again or "
                       "delete it, then DISMISS";
        return WEIR_OK;
    }
    if (record->evidence == GATEWAY_AUDIT_SEES_TOMBSTONE)
        return drop_tombstone(self, ret_refusal, reterr);
    if (record->evidence == GATEWAY_AUDIT_SEES_DAMAGED ||
        (record->evidence == GATEWAY_AUDIT_SEES_READY && self->state == GATEWAY_AUDIT_FAILED)) {
        const weir_code code = act(self, GATEWAY_AUDIT_DO_CHECK, seen, reterr);
        if (code != WEIR_OK)
            return code;
    }
    return raise_again(self, reterr);
}

static audit_command
command_of(const inconsistency_record *record, weir_stage *stage)
{
    audit_command command = WEIR__INTERNAL__V1__AUDIT_COMMAND__INIT;

    command.tenant = record->tenant;
    command.collection_no = record->collection_no;
    command.document_id = record->document_id;
    command.revision = record->revision;
    command.epoch = record->epoch;
    command.state = record->state;
    command.evidence = record->evidence;
    command.era = weir_stage_era(stage);
    command.message = record->message;
    return command;
}

/* *ret_refusal: why nothing was done, or NULL. */
static weir_code
decide(gateway_core *core, weir_stage *stage, const inconsistency_record *record,
    uint32_t resolution, const char **ret_refusal, weir_error *reterr)
{
    const audit_command seen = command_of(record, stage);
    const gateway_audit_row *row = gateway_audit_row_of((gateway_audit_state)record->state,
        (gateway_audit_evidence)record->evidence);
    judged self = { .core = core,
        .stage = stage,
        .id = { .document_id = record->document_id, .revision = record->revision },
        .tenant = record->tenant };
    weir_code code = load_judged(&self, record->collection_no, reterr);

    *ret_refusal = NULL;
    if (code != WEIR_OK || resolution == RESOLUTION(DISMISS))
        return code;
    if ((uint32_t)self.state != record->state ||
        (self.revision != NULL && self.revision->epoch != record->epoch)) {
        *ret_refusal = "the document has changed since; look at it again, or DISMISS";
        return WEIR_OK;
    }
    code = resolution == RESOLUTION(ADVANCE)
        ? advance(&self, record, &seen, row, ret_refusal, reterr)
        : redrive(&self, record, &seen, ret_refusal, reterr);
    if (code == WEIR_OK && *ret_refusal == NULL)
        tell_audited(&self, &seen);
    return code;
}

static weir_code
resolve_open(gateway_core *core, weir_stage *stage, const weir_request *request,
    const Weir__Internal__V1__ResolveCommand *command, uint64_t number,
    inconsistency_record *record, weir_error *reterr)
{
    const uint32_t resolution = (uint32_t)command->request->resolution;
    Weir__V1__ResolveInconsistencyResponse *response = NULL;
    const char *refusal = NULL;

    if (record->resolution != 0 && record->resolution != resolution)
        return gateway_refuse(stage, request->reply_to, WEIR_STATE_NOT_RETRYABLE, "resolution",
            "inconsistency %llu was resolved otherwise before", (unsigned long long)number);
    if (record->resolution == 0) {
        const weir_code code = decide(core, stage, record, resolution, &refusal, reterr);
        if (code != WEIR_OK)
            return code;
        WEIR_FP_RETURN("gateway.audit.resolve.before", reterr);
        if (refusal != NULL)
            return gateway_refuse(stage, request->reply_to, WEIR_STATE_NOT_RETRYABLE, "resolution",
                "%s", refusal);
        weir_log(WEIR_LOG_INFO, "audit.resolved", WEIR_STR("tenant", record->tenant),
            WEIR_STR("collection_id", record->collection_id),
            WEIR_STR("document_id", record->document_id), WEIR_INT("revision", record->revision),
            WEIR_INT("resolution", resolution));
        resolve_record(core, stage, number, record, resolution);
        WEIR_FP_RETURN("gateway.audit.resolve.after", reterr);
    }
    reply_resolved(stage, request, number, record, &response);
    keep_answer(core, stage, request, GATEWAY_METHOD_RESOLVE, command->request->request_id,
        command->payload_sha256, &response->base);
    return WEIR_OK;
}

weir_code
gateway_on_resolve(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    const Weir__Internal__V1__ResolveCommand *command =
        (const Weir__Internal__V1__ResolveCommand *)request->message;
    request_record *seen = NULL;
    inconsistency_record *record = NULL;
    ProtobufCMessage *kept = NULL;
    uint64_t number = 0;
    bool refused = false;
    weir_code code = find_request(core, stage, request, GATEWAY_METHOD_RESOLVE,
        command->request->request_id, command->payload_sha256, &seen, &refused, reterr);

    if (code != WEIR_OK || refused)
        return code;
    if (seen != NULL) {
        code = decode_answer(stage, seen, &weir__v1__resolve_inconsistency_response__descriptor,
            &kept, reterr);
        if (code == WEIR_OK)
            weir_stage_reply(stage, request->reply_to, kept);
        return code;
    }
    if (gateway_parse_inconsistency_id(command->request->inconsistency_id, &number))
        code = get_record(core, stage, number, &record, reterr);
    if (code != WEIR_OK)
        return code;
    if (record == NULL || strcmp(record->tenant, request->tenant) != 0)
        return gateway_refuse(stage, request->reply_to, WEIR_NOT_FOUND, "inconsistency_id",
            "there is no inconsistency \"%.40s\"; ListInconsistencies (weir audit ls --resolved) "
            "shows those that are kept",
            command->request->inconsistency_id);
    return resolve_open(core, stage, request, command, number, record, reterr);
}
