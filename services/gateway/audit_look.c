/*
 * audit_look.c - see audit_look.h.
 */
#include "services/gateway/audit_look.h"

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"
#include "services/gateway/keys.h"
#include "services/gateway/reads.h"

typedef Weir__Internal__V1__AuditDocumentsResponse indexed_response;
typedef Weir__Internal__V1__AuditEndingsResponse endings_response;
typedef Weir__Internal__V1__AuditedDocument audited_document;
typedef Weir__Internal__V1__AuditedEnding audited_ending;
typedef Weir__Internal__V1__AuditCommand audit_command;

enum {
    REVISIONS_MAX = 64,         /* of one document */
    BACKLOG_MAX = 100000,       /* entries looked at; beyond, PENDING counts as held */
    SOURCE_BYTES_MAX = 1 << 20, /* a source that is hashed */
    PEER_MS = 2000,
    PAUSE_MS = 10,
};

/* One revision as it was recorded at the first look. */
typedef struct seen_revision {
    size_t document;
    gateway_audit_revision is;
    uint64_t change_no;
    uint64_t size_bytes;
    const revision_record *record;
    bool has_work; /* of a live one */
    bool has_source;
} seen_revision;

/* One document at the first look. */
typedef struct seen_document {
    int64_t newest, oldest, deleted_below;
    size_t first, count; /* of the revisions */
    bool is_damaged;     /* a record of it does not decode */
} seen_document;

typedef struct looker {
    gateway *self;
    gateway_audit_look *look;
    weir_arena *arena;
    int64_t until_ms;
    uint64_t era;
    /* A peer that was not lost since knows what it was seeded with in an earlier era. */
    uint64_t lost_era[WEIR_SERVICE_COUNT];
    seen_document *documents;
    seen_revision *revisions;
    size_t revision_count, revision_capacity;
    const indexed_response *indexed;
    const endings_response *endings;
    weir_error *reterr;
} looker;

static weir_code
not_now(const looker *self, const char *why)
{
    return weir_error_set(self->reterr, WEIR_SERVICE_UNAVAILABLE, "the audit cannot look now: %s",
        why);
}

static weir_code
check_era(const looker *self)
{
    gateway_published published;

    gateway_core_published(self->self->core, &published);
    if (published.is_redriving)
        return not_now(self, "a lost volume is being brought back");
    return published.era == self->era ? WEIR_OK : not_now(self, "a new era has begun");
}

/* ---- the records ---- */

static seen_revision *
push_revision(looker *self)
{
    if (self->revision_count == self->revision_capacity) {
        const size_t capacity = self->revision_capacity == 0 ? 64 : self->revision_capacity * 2;
        seen_revision *grown = weir_arena_alloc_zero(self->arena, capacity * sizeof *grown);

        if (self->revision_count > 0)
            memcpy(grown, self->revisions, self->revision_count * sizeof *grown);
        self->revisions = grown;
        self->revision_capacity = capacity;
    }
    return &self->revisions[self->revision_count++];
}

/* Whether the source is there, and for what FAILED, whether it is the one that was submitted. */
static weir_code
look_at_source(looker *self, gateway_look *look, seen_revision *seen)
{
    const gateway_audit_ref *ref = &self->look->refs[seen->document];
    const bool is_hashed = seen->is.state == GATEWAY_AUDIT_FAILED;
    bool found = false;

    seen->has_source = true;
    if (seen->is.state == GATEWAY_AUDIT_RETIRED || seen->is.state == GATEWAY_AUDIT_DELETE ||
        seen->size_bytes > SOURCE_BYTES_MAX)
        return WEIR_OK;
    const weir_code code = weir_store_get(look->store, look->snapshot,
        gateway_key_source(&look->key, ref->collection_no, ref->document_id, seen->is.revision),
        &look->value, &found, self->reterr);
    if (code != WEIR_OK)
        return code;
    seen->has_source = found && look->value.size == seen->size_bytes;
    if (seen->has_source && is_hashed) {
        const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&look->value));

        seen->has_source = weir_bytes_equal(weir_bytes_of(sum.bytes, sizeof sum.bytes),
            weir_bytes_of(seen->record->content_sha256.data, seen->record->content_sha256.len));
    }
    return WEIR_OK;
}

static weir_code
read_revision(looker *self, gateway_look *look, size_t at, int64_t number, int64_t newest_ready)
{
    const gateway_audit_ref *ref = &self->look->refs[at];
    revision_record *record = NULL;
    const weir_code code = gateway_look_revision(look, ref->collection_no, ref->document_id, number,
        &record, self->reterr);

    if (code != WEIR_OK || record == NULL)
        return code;
    seen_revision *seen = push_revision(self);
    *seen = (seen_revision){ .document = at,
        .is = { .state = gateway_audit_state_of(record),
            .revision = number,
            .epoch = record->epoch,
            .newest_ready = newest_ready },
        .change_no = record->change_no,
        .size_bytes = record->size_bytes,
        .record = record };
    return look_at_source(self, look, seen);
}

/* A record of custody that does not decode is for whoever restores it; the others are looked at. */
static weir_code
pass_over_damage(looker *self, size_t at, weir_code code)
{
    if (code != WEIR_CORRUPT)
        return code;
    weir_log(WEIR_LOG_ERROR, "audit.passed_over",
        WEIR_STR("document_id", self->look->refs[at].document_id),
        WEIR_STR("message", self->reterr->message));
    self->documents[at].is_damaged = true;
    return WEIR_OK;
}

static weir_code
read_document(looker *self, gateway_look *look, size_t at)
{
    const gateway_audit_ref *ref = &self->look->refs[at];
    seen_document *seen = &self->documents[at];
    document_record *record = NULL;
    weir_code code =
        gateway_look_document(look, ref->collection_no, ref->document_id, &record, self->reterr);

    seen->first = self->revision_count;
    if (code != WEIR_OK || record == NULL)
        return code;
    seen->newest = record->newest_revision;
    seen->oldest = record->oldest_revision;
    seen->deleted_below = record->deleted_below;
    int64_t number = record->oldest_revision;
    if (number <= record->newest_revision - REVISIONS_MAX)
        number = record->newest_revision - REVISIONS_MAX + 1;
    for (; number <= record->newest_revision && code == WEIR_OK; number++)
        code = read_revision(self, look, at, number, record->searchable_revision);
    seen->count = self->revision_count - seen->first;
    return code;
}

static seen_revision *
find_revision(const looker *self, uint64_t collection_no, const char *document_id, int64_t revision)
{
    for (size_t i = 0; i < self->revision_count; i++) {
        seen_revision *seen = &self->revisions[i];
        const gateway_audit_ref *ref = &self->look->refs[seen->document];

        if (seen->is.revision == revision && ref->collection_no == collection_no &&
            strcmp(ref->document_id, document_id) == 0)
            return seen;
    }
    return NULL;
}

/* How many entries there are; those in front that were moved already belong to nothing PENDING. */
static size_t
mark_work(looker *self, const Weir__Internal__V1__BacklogPageRecord *page)
{
    for (size_t i = 0; i < page->n_entries; i++) {
        const Weir__Internal__V1__BacklogRecord *entry = page->entries[i];
        seen_revision *seen =
            find_revision(self, entry->collection_no, entry->document_id, entry->revision);

        if (seen != NULL && seen->is.epoch == entry->epoch)
            seen->has_work = true;
    }
    return page->n_entries;
}

/* Each PENDING revision has its entry in the backlog of the same snapshot. */
static weir_code
read_backlog(looker *self, gateway_look *look)
{
    const uint8_t lower[] = { 'P' };
    const uint8_t upper[] = { 'P' + 1 };
    weir_arena *scratch = weir_arena_create(0);
    weir_iter *iter = weir_store_iter(look->store, look->snapshot, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    size_t looked_at = 0;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && looked_at < BACKLOG_MAX && weir_iter_next(iter)) {
        ProtobufCMessage *message = NULL;

        weir_arena_reset(scratch);
        code = weir_wire_decode(&weir__internal__v1__backlog_page_record__descriptor,
            weir_iter_value(iter), NULL, scratch, &message, self->reterr);
        if (code == WEIR_OK)
            looked_at += mark_work(self, (const Weir__Internal__V1__BacklogPageRecord *)message);
    }
    for (size_t i = 0; i < self->revision_count && looked_at >= BACKLOG_MAX; i++)
        self->revisions[i].has_work = true;
    if (code == WEIR_OK)
        code = weir_iter_status(iter, self->reterr);
    weir_iter_destroy(&iter);
    weir_arena_destroy(&scratch);
    return code;
}

static bool
has_state(const looker *self, gateway_audit_state state)
{
    for (size_t i = 0; i < self->revision_count; i++)
        if (self->revisions[i].is.state == state)
            return true;
    return false;
}

/* The first look; *ret_sent: rows of these links with lower numbers were sent by what it saw. */
static weir_code
read_records(looker *self, uint64_t ret_sent[2])
{
    const weir_link_kind links[] = { WEIR_LINK_GATEWAY_INDEXER, WEIR_LINK_GATEWAY_RECONCILER };
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    for (size_t i = 0; i < 2 && code == WEIR_OK; i++)
        code = weir_link_outbox_end(look.store, look.snapshot, weir_link_number(links[i], 0, 0),
            &ret_sent[i], self->reterr);
    for (size_t i = 0; i < self->look->count && code == WEIR_OK; i++)
        code = pass_over_damage(self, i, read_document(self, &look, i));
    if (code == WEIR_OK && has_state(self, GATEWAY_AUDIT_PENDING))
        code = read_backlog(self, &look);
    gateway_look_end(&look);
    return code;
}

/* ---- waiting for what is under way ---- */

typedef struct barrier {
    weir_link_kind link;
    uint64_t below; /* all rows with lower numbers are settled */
} barrier;

static bool
has_passed(const weir_stage_status *status, const barrier *wanted)
{
    for (uint32_t i = 0; i < status->link_count; i++) {
        const weir_stage_link_view *view = &status->links[i];

        if (view->kind == wanted->link)
            return (view->sender ? view->tx.acked : view->rx.cursor) + 1 >= wanted->below;
    }
    return false;
}

static weir_code
wait_for(const looker *self, const barrier wanted[2])
{
    weir_stage_status status;

    for (;;) {
        const weir_code code =
            weir_service_stage_status(self->self->service, &status, self->reterr);
        if (code != WEIR_OK)
            return code;
        if (has_passed(&status, &wanted[0]) && has_passed(&status, &wanted[1]))
            return WEIR_OK;
        if (weir_clock_mono_ms() >= self->until_ms ||
            __atomic_load_n(&self->self->is_draining, __ATOMIC_RELAXED))
            return not_now(self, "a peer is behind with what it was told");
        weir_clock_sleep_ms(PAUSE_MS);
    }
}

/* ---- asking ---- */

/* A peer that is away is asked another time. */
static weir_code
ask(const looker *self, weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    void *ret_response)
{
    const int64_t left_ms = self->until_ms - weir_clock_mono_ms();
    const weir_rpc_call_options options = { .timeout_ms = left_ms <= 0 ? 1
            : left_ms < PEER_MS                                        ? (uint32_t)left_ms
                                                                       : PEER_MS };
    ProtobufCMessage *response = NULL;
    weir_error error = { .code = WEIR_OK };

    if (weir_rpc_unary(stub, method, request, &options, self->arena, &response, &error) != WEIR_OK)
        return not_now(self, error.message);
    memcpy(ret_response, &response, sizeof response);
    return WEIR_OK;
}

static Weir__Internal__V1__DocumentRef **
make_refs(const looker *self)
{
    Weir__Internal__V1__DocumentRef **refs =
        weir_arena_alloc(self->arena, (self->look->count + 1) * sizeof(refs[0]));

    for (size_t i = 0; i < self->look->count; i++) {
        refs[i] = weir_arena_alloc(self->arena, sizeof *refs[i]);
        weir__internal__v1__document_ref__init(refs[i]);
        refs[i]->tenant = (char *)(uintptr_t)self->look->refs[i].tenant;
        refs[i]->collection_no = self->look->refs[i].collection_no;
        refs[i]->document_id = (char *)(uintptr_t)self->look->refs[i].document_id;
    }
    return refs;
}

static weir_code
ask_for_work(const looker *self, weir_service_id service)
{
    Weir__Internal__V1__FindWorkRequest request = WEIR__INTERNAL__V1__FIND_WORK_REQUEST__INIT;
    Weir__Internal__V1__FindWorkResponse *answer = NULL;
    seen_revision **asked =
        weir_arena_alloc(self->arena, (self->revision_count + 1) * sizeof(asked[0]));

    request.tries =
        weir_arena_alloc(self->arena, (self->revision_count + 1) * sizeof(request.tries[0]));
    for (size_t i = 0; i < self->revision_count && request.n_tries < WEIR_PAGE_SIZE_MAX; i++) {
        seen_revision *seen = &self->revisions[i];

        if (seen->is.state != GATEWAY_AUDIT_PROCESSING || seen->has_work)
            continue;
        Weir__Internal__V1__TryRef *ref = weir_arena_alloc(self->arena, sizeof *ref);
        weir__internal__v1__try_ref__init(ref);
        ref->collection_no = self->look->refs[seen->document].collection_no;
        ref->document_id = (char *)(uintptr_t)self->look->refs[seen->document].document_id;
        ref->revision = seen->is.revision;
        ref->epoch = seen->is.epoch;
        asked[request.n_tries] = seen;
        request.tries[request.n_tries++] = ref;
    }
    if (request.n_tries == 0)
        return WEIR_OK;
    const weir_code code =
        ask(self, self->self->stages[service], "FindWork", &request.base, &answer);
    for (size_t i = 0; i < request.n_tries && code == WEIR_OK; i++)
        asked[i]->has_work = answer->is_partial || (i < answer->n_held && answer->held[i]);
    return code;
}

/* The gateway's own part, without a call. */
static weir_code
find_own_work(const looker *self)
{
    weir_stage_status status;
    bool is_partial = false;
    weir_try *tries = weir_arena_alloc(self->arena, (self->revision_count + 1) * sizeof *tries);
    bool *held = weir_arena_alloc_zero(self->arena, (self->revision_count + 1) * sizeof *held);
    weir_code code = weir_service_stage_status(self->self->service, &status, self->reterr);

    for (size_t i = 0; i < self->revision_count; i++) {
        const seen_revision *seen = &self->revisions[i];
        const gateway_audit_ref *ref = &self->look->refs[seen->document];

        tries[i] =
            (weir_try){ ref->collection_no, ref->document_id, seen->is.revision, seen->is.epoch };
    }
    if (code == WEIR_OK)
        code = weir_stage_find_work(self->self->service->store, &status, tries,
            self->revision_count, held, &is_partial, self->reterr);
    for (size_t i = 0; i < self->revision_count && code == WEIR_OK; i++)
        self->revisions[i].has_work = self->revisions[i].has_work || held[i] || is_partial;
    return code;
}

/* Work moves in this order, so what nobody holds when asked is held by nobody. */
static weir_code
ask_stages(const looker *self)
{
    static const weir_service_id stages[] = { WEIR_SERVICE_INGEST, WEIR_SERVICE_EMBEDDER,
        WEIR_SERVICE_INDEXER };
    weir_code code = has_state(self, GATEWAY_AUDIT_PROCESSING) ? find_own_work(self) : WEIR_OK;

    for (size_t i = 0; i < sizeof stages / sizeof stages[0] && code == WEIR_OK; i++)
        code = ask_for_work(self, stages[i]);
    return code;
}

static weir_code
ask_indexer(looker *self)
{
    Weir__Internal__V1__AuditDocumentsRequest request =
        WEIR__INTERNAL__V1__AUDIT_DOCUMENTS_REQUEST__INIT;
    indexed_response *answer = NULL;

    request.documents = make_refs(self);
    request.n_documents = self->look->count;
    const weir_code code = ask(self, self->self->indexer, "AuditDocuments", &request.base, &answer);
    if (code != WEIR_OK)
        return code;
    if (!answer->complete || answer->era != self->era ||
        answer->seeded_era < self->lost_era[WEIR_SERVICE_INDEXER] ||
        answer->n_documents != self->look->count)
        return not_now(self, "the indexer is not whole in this era yet");
    self->indexed = answer;
    return WEIR_OK;
}

static weir_code
ask_reconciler(looker *self)
{
    Weir__Internal__V1__AuditEndingsRequest request =
        WEIR__INTERNAL__V1__AUDIT_ENDINGS_REQUEST__INIT;
    endings_response *answer = NULL;

    request.documents = make_refs(self);
    request.n_documents = self->look->count;
    const weir_code code =
        ask(self, self->self->reconciler, "AuditEndings", &request.base, &answer);
    if (code != WEIR_OK)
        return code;
    if (answer->era != self->era || answer->seeded_era < self->lost_era[WEIR_SERVICE_RECONCILER])
        return not_now(self, "the reconciler is not whole in this era yet");
    self->endings = answer;
    return WEIR_OK;
}

/* ---- judging ---- */

static void
add_finding(looker *self, size_t document, const gateway_audit_revision *of, uint64_t change_no,
    gateway_audit_evidence evidence, const char *detail, int64_t letter_epoch)
{
    gateway_audit_look *look = self->look;
    const gateway_audit_row *row = gateway_audit_row_of(of->state, evidence);
    const gateway_audit_ref *ref = &look->refs[document];

    if (row->rule == GATEWAY_AUDIT_AGREES)
        return;
    if (look->finding_count == look->finding_capacity) {
        const size_t capacity = look->finding_capacity == 0 ? 16 : look->finding_capacity * 2;
        gateway_audit_finding *grown = weir_arena_alloc(self->arena, capacity * sizeof *grown);

        if (look->finding_count > 0)
            memcpy(grown, look->findings, look->finding_count * sizeof *grown);
        look->findings = grown;
        look->finding_capacity = capacity;
    }
    gateway_audit_finding *finding = &look->findings[look->finding_count++];
    finding->document = document;
    weir__internal__v1__audit_command__init(&finding->command);
    audit_command *command = &finding->command;
    command->tenant = (char *)(uintptr_t)ref->tenant;
    command->collection_no = ref->collection_no;
    command->document_id = (char *)(uintptr_t)ref->document_id;
    command->revision = of->revision;
    command->epoch = of->epoch;
    command->state = of->state;
    command->evidence = evidence;
    command->change_no = change_no;
    command->era = self->era;
    command->letter_epoch = letter_epoch;
    command->message =
        weir_arena_printf(self->arena, detail[0] != 0 ? "%s (%s)" : "%s", row->why, detail);
}

static gateway_audit_register
register_of(const audited_document *seen, const gateway_audit_revision *is)
{
    gateway_audit_register found = { .ready_revision = seen->register_->ready_revision,
        .deleted_below = seen->register_->deleted_below,
        .is_whole = seen->is_whole };

    for (size_t i = 0; i < seen->n_revoked; i++)
        if (seen->revoked[i]->revision == is->revision)
            found.promised_epoch = seen->revoked[i]->epoch;
    for (size_t i = 0; i < seen->register_->n_staged; i++) {
        const Weir__Internal__V1__StagedRevision *staged = seen->register_->staged[i];

        if (staged->revision == is->revision && staged->epoch == is->epoch &&
            staged->chunk_count > 0 && staged->staged_count == staged->chunk_count)
            found.is_staged = true;
    }
    return found;
}

static bool
is_of(const looker *self, const audited_ending *ending, size_t document, int64_t revision)
{
    const gateway_audit_ref *ref = &self->look->refs[document];

    return ending->revision == revision && ending->document->collection_no == ref->collection_no &&
        strcmp(ending->document->document_id, ref->document_id) == 0;
}

static bool
has_ending(const looker *self, const seen_revision *seen)
{
    for (size_t i = 0; i < self->endings->n_endings; i++)
        if (is_of(self, self->endings->endings[i], seen->document, seen->is.revision) &&
            self->endings->endings[i]->epoch >= seen->is.epoch)
            return true;
    return false;
}

static void
judge_register(looker *self, seen_revision *seen)
{
    const audited_document *indexed = self->indexed->documents[seen->document];
    const gateway_audit_register found = register_of(indexed, &seen->is);
    const bool has_work = seen->has_work || has_ending(self, seen);
    const bool is_live =
        seen->is.state == GATEWAY_AUDIT_PENDING || seen->is.state == GATEWAY_AUDIT_PROCESSING;
    const gateway_audit_evidence evidence =
        gateway_audit_see(&seen->is, &found, is_live && has_work);
    const size_t before = self->look->finding_count;

    add_finding(self, seen->document, &seen->is, seen->change_no, evidence, indexed->finding, 0);
    if (self->look->finding_count == before || evidence != GATEWAY_AUDIT_SEES_READY)
        return;
    audit_command *command = &self->look->findings[before].command;
    command->chunk_count = indexed->register_->chunk_count;
    command->token_count = indexed->register_->token_count;
    command->ready_time_ms = indexed->register_->ready_time_ms;
    command->media_type = indexed->register_->media_type;
}

static gateway_audit_evidence
letter_evidence(const seen_revision *seen, const audited_ending *letter)
{
    if (letter == NULL)
        return GATEWAY_AUDIT_SEES_NO_LETTER;
    const bool is_same = letter->epoch == seen->is.epoch &&
        weir_bytes_equal(weir_bytes_of(letter->content_sha256.data, letter->content_sha256.len),
            weir_bytes_of(seen->record->content_sha256.data, seen->record->content_sha256.len));

    return is_same ? GATEWAY_AUDIT_SEES_LETTER : GATEWAY_AUDIT_SEES_OTHER_LETTER;
}

static void
judge_letter(looker *self, const seen_revision *seen)
{
    const audited_ending *letter = NULL;

    for (size_t i = 0; i < self->endings->n_dead_letters; i++)
        if (is_of(self, self->endings->dead_letters[i], seen->document, seen->is.revision))
            letter = self->endings->dead_letters[i];
    add_finding(self, seen->document, &seen->is, seen->change_no, letter_evidence(seen, letter), "",
        letter != NULL ? letter->epoch : 0);
}

/* What is there of revisions that were never given out: one finding is enough for them all. */
static gateway_audit_evidence
unknown_evidence(const looker *self, size_t at, int64_t *ret_revision)
{
    const audited_document *indexed = self->indexed->documents[at];
    const Weir__Internal__V1__GetIndexedDocumentResponse *seen = indexed->register_;
    const int64_t newest = self->documents[at].newest;

    *ret_revision = newest + 1;
    if (seen->ready_revision > newest) {
        *ret_revision = seen->ready_revision;
        return GATEWAY_AUDIT_SEES_READY;
    }
    for (size_t i = 0; i < seen->n_staged; i++)
        if (seen->staged[i]->revision > newest) {
            *ret_revision = seen->staged[i]->revision;
            return GATEWAY_AUDIT_SEES_WORK;
        }
    for (size_t i = 0; i < indexed->n_revoked; i++)
        if (indexed->revoked[i]->revision > newest) {
            *ret_revision = indexed->revoked[i]->revision;
            return GATEWAY_AUDIT_SEES_PROMISE;
        }
    /* Of a document that is there a tombstone is judged with its revisions. */
    if (self->documents[at].deleted_below == newest && seen->deleted_below > newest) {
        *ret_revision = seen->deleted_below;
        return GATEWAY_AUDIT_SEES_TOMBSTONE;
    }
    return newest == 0 && indexed->stray_count > 0 ? GATEWAY_AUDIT_SEES_STRAYS
                                                   : GATEWAY_AUDIT_SEES_NOTHING;
}

static void
judge_unknown(looker *self, size_t at)
{
    gateway_audit_revision unknown = { .state = GATEWAY_AUDIT_UNKNOWN };
    const gateway_audit_evidence evidence = unknown_evidence(self, at, &unknown.revision);

    if (evidence != GATEWAY_AUDIT_SEES_NOTHING)
        add_finding(self, at, &unknown, 0, evidence, "", 0);
    for (size_t i = 0; i < self->endings->n_dead_letters; i++) {
        const audited_ending *letter = self->endings->dead_letters[i];
        const seen_document *seen = &self->documents[at];
        const bool is_known = letter->revision >= 1 && letter->revision <= seen->newest;

        if (!is_known && is_of(self, letter, at, letter->revision)) {
            unknown.revision = letter->revision;
            unknown.epoch = letter->epoch;
            add_finding(self, at, &unknown, 0, GATEWAY_AUDIT_SEES_LETTER, "", letter->epoch);
        }
    }
}

static void
judge_document(looker *self, size_t at)
{
    const seen_document *document = &self->documents[at];

    judge_unknown(self, at);
    for (size_t i = 0; i < document->count; i++) {
        seen_revision *seen = &self->revisions[document->first + i];

        judge_register(self, seen);
        judge_letter(self, seen);
        if (!seen->has_source)
            add_finding(self, at, &seen->is, seen->change_no, GATEWAY_AUDIT_SEES_NO_SOURCE, "", 0);
    }
    if (document->count > 0 && self->indexed->documents[at]->stray_count > 0) {
        const seen_revision *newest = &self->revisions[document->first + document->count - 1];

        add_finding(self, at, &newest->is, newest->change_no, GATEWAY_AUDIT_SEES_STRAYS,
            self->indexed->documents[at]->finding, 0);
    }
}

/* ---- the second look ---- */

static bool
is_same(const looker *self, const seen_revision *seen, const revision_record *record)
{
    (void)self;
    return record != NULL && gateway_audit_state_of(record) == seen->is.state &&
        record->epoch == seen->is.epoch && record->change_no == seen->change_no;
}

static weir_code
compare_document(looker *self, gateway_look *look, size_t at)
{
    const gateway_audit_ref *ref = &self->look->refs[at];
    const seen_document *seen = &self->documents[at];
    document_record *record = NULL;
    weir_code code =
        gateway_look_document(look, ref->collection_no, ref->document_id, &record, self->reterr);

    if (seen->is_damaged || code == WEIR_CORRUPT) {
        self->look->is_judged[at] = false;
        return WEIR_OK;
    }
    if (code != WEIR_OK)
        return code;
    self->look->is_judged[at] = (record != NULL ? record->newest_revision : 0) == seen->newest &&
        (record != NULL ? record->deleted_below : 0) == seen->deleted_below;
    for (size_t i = 0; i < seen->count && code == WEIR_OK; i++) {
        const seen_revision *revision = &self->revisions[seen->first + i];
        revision_record *now = NULL;

        code = gateway_look_revision(look, ref->collection_no, ref->document_id,
            revision->is.revision, &now, self->reterr);
        if (code == WEIR_OK && !is_same(self, revision, now))
            self->look->is_judged[at] = false;
    }
    return code;
}

static weir_code
compare_records(looker *self)
{
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    for (size_t i = 0; i < self->look->count && code == WEIR_OK; i++)
        code = compare_document(self, &look, i);
    gateway_look_end(&look);
    return code;
}

/* ---- all of it ---- */

static weir_code
look_once(looker *self)
{
    uint64_t sent[2] = { 0, 0 };
    weir_code code = read_records(self, sent);

    if (code == WEIR_OK) {
        const barrier out[] = { { WEIR_LINK_GATEWAY_INDEXER, sent[0] },
            { WEIR_LINK_GATEWAY_RECONCILER, sent[1] } };
        code = wait_for(self, out);
    }
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("gateway.audit.look.sent", self->reterr);
    if (code == WEIR_OK)
        code = ask_stages(self);
    if (code == WEIR_OK)
        code = ask_indexer(self);
    if (code == WEIR_OK)
        code = ask_reconciler(self);
    if (code == WEIR_OK) {
        const barrier in[] = { { WEIR_LINK_INDEXER_GATEWAY, self->indexed->told_below },
            { WEIR_LINK_RECONCILER_GATEWAY, self->endings->told_below } };
        code = wait_for(self, in);
    }
    if (code == WEIR_OK)
        code = WEIR_FP_CODE("gateway.audit.look.told", self->reterr);
    return code == WEIR_OK ? compare_records(self) : code;
}

weir_code
gateway_audit_look_at(gateway *self, const gateway_audit_ref *refs, size_t count, int64_t until_ms,
    weir_arena *arena, gateway_audit_look *ret_look, weir_error *reterr)
{
    gateway_published published;
    looker look = { .self = self,
        .look = ret_look,
        .arena = arena,
        .until_ms = until_ms,
        .reterr = reterr };

    gateway_core_published(self->core, &published);
    look.era = published.era;
    memcpy(look.lost_era, published.lost_era, sizeof look.lost_era);
    *ret_look = (gateway_audit_look){ .refs = refs,
        .count = count,
        .is_judged = weir_arena_alloc_zero(arena, (count + 1) * sizeof(bool)) };
    look.documents = weir_arena_alloc_zero(arena, (count + 1) * sizeof *look.documents);
    weir_code code = check_era(&look);
    if (code == WEIR_OK)
        code = look_once(&look);
    if (code == WEIR_OK)
        code = check_era(&look);
    for (size_t i = 0; i < count && code == WEIR_OK; i++)
        if (ret_look->is_judged[i])
            judge_document(&look, i);
    return code;
}
