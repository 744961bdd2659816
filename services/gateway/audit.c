/*
 * audit.c - see audit.h.
 */
#include "services/gateway/audit.h"

#include <pthread.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/wire/wire.h"
#include "services/gateway/audit_count.h"
#include "services/gateway/audit_look.h"
#include "services/gateway/keys.h"
#include "services/gateway/reads.h"
#include "services/gateway/status.h"

typedef Weir__Internal__V1__ListIndexedDocumentsRequest indexed_request;
typedef Weir__Internal__V1__ListIndexedDocumentsResponse indexed_page;
typedef Weir__Internal__V1__AuditEndingsRequest endings_request;
typedef Weir__Internal__V1__AuditEndingsResponse endings_page;

enum {
    WALK_GATEWAY = 0,
    WALK_INDEXER = 1,
    WALK_LETTERS = 2,
    WALK_COUNTERS = 3,
    WALK_COUNT = 4,
    PAGE = GATEWAY_AUDIT_DOCUMENTS_MAX,
    FAR_PAGE = 500, /* of the walks that pick a few out of many */
    FAR_CHEAP = 20, /* of them cost as much as one document */
    LOOK_MS = 3000,
    ASK_MS = 2000,
    CONFIRM_PAUSE_MS = 1000,
    AGAIN_PAUSE_MS = 200,
    AGAIN_MAX = 5,
    OPEN_EVERY_MS = 2000,
    LOST_EVERY_MS = 2000,
    COUNT_PAUSE_MS = 20, /* of the thread, between two steps of a count */
    TICK_MS = 2000,
    CURSOR_EVERY_MS = 10000,
    RUN_RETRY_MS = 1000,
};

/* Where a pass stands. */
typedef struct cursor {
    unsigned walk;
    weir_buffer after; /* a key of the walk's own store; empty: from its start */
} cursor;

struct gateway_audit {
    gateway *self;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, is_joined;
    bool is_run_under_way; /* atomic; a RunAudit holds a worker of the pool, so one at a time */
    uint64_t documents;    /* atomic */
};

enum { FINDINGS_SEEN_MAX = 1000 };

/* Of one caller: the thread, or a RunAudit. */
typedef struct auditor {
    gateway_audit *audit;
    gateway *self;
    weir_arena *arena;            /* of one page */
    const gateway_audit_run *run; /* NULL: the thread */
    uint64_t found, repaired;
    uint64_t seen[FINDINGS_SEEN_MAX]; /* hashes of the first findings: two walks may meet one */
    size_t seen_count;
    weir_error *reterr;
} auditor;

/* ---- waiting ---- */

/* False: the process ends. */
static bool
rest(gateway_audit *audit, int64_t pause_ms)
{
    const int64_t at_ms = weir_clock_mono_ms() + pause_ms;
    const struct timespec until = { .tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000 };

    pthread_mutex_lock(&audit->lock);
    while (!audit->stopping && weir_clock_mono_ms() < at_ms)
        (void)pthread_cond_timedwait(&audit->wake, &audit->lock, &until);
    const bool goes_on = !audit->stopping;
    pthread_mutex_unlock(&audit->lock);
    return goes_on;
}

static bool
is_stopping(gateway_audit *audit)
{
    return !rest(audit, 0);
}

/* ---- commands of the core ---- */

typedef struct answered {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    weir_error error;
    ProtobufCMessage *copy; /* in the arena */
    weir_arena *arena;
} answered;

static void
take_answer(void *context, const weir_error *error, const ProtobufCMessage *response)
{
    answered *self = context;
    weir_buffer packed = { 0 };
    weir_code code = WEIR_OK;

    pthread_mutex_lock(&self->lock);
    if (error != NULL) {
        self->error = *error;
    } else {
        weir_wire_encode(response, &packed);
        code = weir_wire_decode(response->descriptor, weir_buffer_view(&packed), NULL, self->arena,
            &self->copy, &self->error);
        weir_assert(code == WEIR_OK); /* our own bytes */
        weir_buffer_fini(&packed);
    }
    self->is_done = true;
    pthread_cond_signal(&self->done);
    pthread_mutex_unlock(&self->lock);
}

weir_code
gateway_audit_ask_core(gateway *self, const char *tenant, gateway_command kind,
    const ProtobufCMessage *command, weir_arena *arena, ProtobufCMessage **ret_answer,
    weir_error *reterr)
{
    answered wait = { .arena = arena };

    pthread_mutex_init(&wait.lock, NULL);
    pthread_cond_init(&wait.done, NULL);
    weir_code code = weir_shell_submit(self->service->shell, kind, tenant, NULL, command,
        take_answer, &wait, reterr);
    pthread_mutex_lock(&wait.lock);
    while (code == WEIR_OK && !wait.is_done)
        pthread_cond_wait(&wait.done, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    pthread_mutex_destroy(&wait.lock);
    pthread_cond_destroy(&wait.done);
    if (code == WEIR_OK && wait.error.code != WEIR_OK) {
        *reterr = wait.error;
        code = wait.error.code;
    }
    *ret_answer = wait.copy;
    return code;
}

static weir_code
tell_core(auditor *self, gateway_command kind, const ProtobufCMessage *command,
    ProtobufCMessage **ret_answer)
{
    return gateway_audit_ask_core(self->self, "", kind, command, self->arena, ret_answer,
        self->reterr);
}

static bool
is_repairable(const Weir__Internal__V1__AuditCommand *command)
{
    return gateway_audit_row_of((gateway_audit_state)command->state,
               (gateway_audit_evidence)command->evidence)
               ->rule != GATEWAY_AUDIT_REVIEW;
}

/* Two walks of one run may meet what a person must decide, and in a dry one what it would have
 * repaired: it counts once. */
static bool
was_seen(auditor *self, const Weir__Internal__V1__AuditCommand *command)
{
    const uint64_t hash = weir_hash64(weir_bytes_str(command->document_id),
        command->collection_no ^ (uint64_t)command->revision << 32 ^ command->evidence);

    for (size_t i = 0; i < self->seen_count; i++)
        if (self->seen[i] == hash)
            return true;
    if (self->seen_count < FINDINGS_SEEN_MAX)
        self->seen[self->seen_count++] = hash;
    return false;
}

static weir_code
report(auditor *self, const Weir__Internal__V1__AuditCommand *command)
{
    ProtobufCMessage *message = NULL;
    const bool is_again = self->run != NULL && was_seen(self, command);

    if (self->run != NULL && self->run->dry_run) {
        self->found += is_again ? 0 : 1;
        self->repaired += !is_again && is_repairable(command);
        return WEIR_OK;
    }
    const weir_code code = tell_core(self, GATEWAY_AUDIT, &command->base, &message);
    if (code != WEIR_OK)
        return code;
    const Weir__Internal__V1__AuditAnswer *answer =
        (const Weir__Internal__V1__AuditAnswer *)(const void *)message;
    self->found += answer->is_stale || is_again ? 0 : 1;
    self->repaired += answer->is_repaired ? 1 : 0;
    return WEIR_OK;
}

/* ---- looks ---- */

static int64_t
look_until(const auditor *self)
{
    const int64_t until_ms = weir_clock_mono_ms() + LOOK_MS;

    return self->run != NULL && self->run->until_ms < until_ms ? self->run->until_ms : until_ms;
}

static bool
is_same_finding(const Weir__Internal__V1__AuditCommand *a,
    const Weir__Internal__V1__AuditCommand *b)
{
    return a->collection_no == b->collection_no && a->revision == b->revision &&
        a->evidence == b->evidence && a->state == b->state && a->epoch == b->epoch &&
        a->change_no == b->change_no && strcmp(a->document_id, b->document_id) == 0;
}

static bool
is_found(const gateway_audit_look *look, const Weir__Internal__V1__AuditCommand *command)
{
    for (size_t i = 0; i < look->finding_count; i++)
        if (is_same_finding(&look->findings[i].command, command))
            return true;
    return false;
}

/* The documents with findings once more, after a pause; what is seen again counts. */
static weir_code
confirm(auditor *self, const gateway_audit_look *first)
{
    gateway_audit_ref *refs =
        weir_arena_alloc(self->arena, (first->finding_count + 1) * sizeof *refs);
    bool *is_taken = weir_arena_alloc_zero(self->arena, (first->count + 1) * sizeof *is_taken);
    gateway_audit_look second;
    size_t count = 0;

    for (size_t i = 0; i < first->finding_count; i++) {
        const size_t document = first->findings[i].document;

        if (!is_taken[document])
            refs[count++] = first->refs[document];
        is_taken[document] = true;
    }
    if (count == 0 || !rest(self->audit, CONFIRM_PAUSE_MS))
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.audit.confirm.before", self->reterr);
    weir_code code = gateway_audit_look_at(self->self, refs, count, look_until(self), self->arena,
        &second, self->reterr);
    for (size_t i = 0; i < second.finding_count && code == WEIR_OK; i++)
        if (is_found(first, &second.findings[i].command))
            code = report(self, &second.findings[i].command);
    return code;
}

/* One page: looked at, and what is wrong confirmed and told; `ret_look`: the first look. */
static weir_code
inspect(auditor *self, const gateway_audit_ref *refs, size_t count, gateway_audit_look *ret_look)
{
    *ret_look = (gateway_audit_look){ 0 };
    if (count == 0)
        return WEIR_OK;
    const weir_code code = gateway_audit_look_at(self->self, refs, count, look_until(self),
        self->arena, ret_look, self->reterr);
    if (code != WEIR_OK)
        return code;
    __atomic_add_fetch(&self->audit->documents, count, __ATOMIC_RELAXED);
    return confirm(self, ret_look);
}

/* The same; what changed meanwhile is looked at again a few times. */
static weir_code
inspect_all(auditor *self, const gateway_audit_ref *refs, size_t count)
{
    weir_code code = WEIR_OK;

    for (int left = AGAIN_MAX; count > 0 && left > 0 && code == WEIR_OK; left--) {
        gateway_audit_look look;
        gateway_audit_ref *again = weir_arena_alloc(self->arena, count * sizeof *again);
        size_t again_count = 0;

        if (left < AGAIN_MAX && !rest(self->audit, AGAIN_PAUSE_MS))
            return WEIR_OK;
        code = inspect(self, refs, count, &look);
        for (size_t i = 0; i < count && code == WEIR_OK; i++)
            if (!look.is_judged[i])
                again[again_count++] = refs[i];
        refs = again;
        count = again_count;
    }
    return code;
}

/* ---- the walks: each makes a page of refs and moves the cursor ---- */

typedef struct page {
    gateway_audit_ref refs[FAR_PAGE];
    size_t count;
    size_t looked_at; /* documents, letters */
    bool is_last;
} page;

static bool
is_wanted(const auditor *self, const char *tenant, uint64_t collection_no)
{
    const gateway_audit_run *run = self->run;

    return run == NULL ||
        ((run->tenant == NULL || strcmp(run->tenant, tenant) == 0) &&
            (run->collection_no == 0 || run->collection_no == collection_no));
}

static void
add_ref(auditor *self, page *into, const char *tenant, uint64_t collection_no,
    const char *document_id)
{
    if (!is_wanted(self, tenant, collection_no) || document_id[0] == 0 || tenant[0] == 0)
        return;
    into->refs[into->count++] = (gateway_audit_ref){
        .tenant = weir_arena_strdup(self->arena, tenant),
        .collection_no = collection_no,
        .document_id = weir_arena_strdup(self->arena, document_id),
    };
}

static void
move_to(cursor *at, weir_bytes key)
{
    weir_buffer_clear(&at->after);
    weir_buffer_append(&at->after, key.data, key.size);
}

/* Whose collection it is; NULL: unknown. */
static weir_code
find_tenant(auditor *self, gateway_look *look, uint64_t collection_no, const char **ret_tenant)
{
    bool found = false;
    const weir_code code = weir_store_get(look->store, look->snapshot,
        gateway_key_collection_name(&look->end, collection_no), &look->value, &found, self->reterr);

    *ret_tenant = code == WEIR_OK && found && look->value.size > 0
        ? weir_arena_strdup(self->arena, (const char *)look->value.data)
        : NULL;
    return code;
}

static weir_code
walk_gateway(auditor *self, cursor *at, page *into)
{
    const uint8_t all[] = { 'D', 'D' + 1 };
    const char *tenant = NULL;
    uint64_t tenant_of = 0;
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    weir_iter *iter = weir_store_iter(look.store, look.snapshot, weir_bytes_of(all, 1),
        weir_bytes_of(all + 1, 1));
    const weir_bytes after = weir_buffer_view(&at->after);
    bool is_there = after.size > 0 ? weir_iter_seek(iter, after) : weir_iter_next(iter);
    if (is_there && after.size > 0 && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (; is_there && code == WEIR_OK && into->looked_at < PAGE; is_there = weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);
        const char *document_id = gateway_key_document_id(key);
        const uint64_t collection_no = document_id != NULL ? weir_load_u64(key.data + 1) : 0;

        if (self->run != NULL && self->run->collection_no != 0 &&
            collection_no > self->run->collection_no) {
            is_there = false;
            break;
        }
        into->looked_at++;
        move_to(at, key);
        if (document_id != NULL && collection_no != tenant_of)
            code = find_tenant(self, &look, collection_no, &tenant);
        tenant_of = collection_no;
        if (document_id != NULL && tenant != NULL)
            add_ref(self, into, tenant, collection_no, document_id);
    }
    into->is_last = !is_there;
    if (code == WEIR_OK)
        code = weir_iter_status(iter, self->reterr);
    weir_iter_destroy(&iter);
    gateway_look_end(&look);
    return code;
}

static weir_code
ask(auditor *self, weir_rpc_stub *stub, const char *method, const ProtobufCMessage *request,
    void *ret_response)
{
    const weir_rpc_call_options options = { .timeout_ms = ASK_MS };
    ProtobufCMessage *response = NULL;
    weir_error error = { .code = WEIR_OK };

    if (weir_rpc_unary(stub, method, request, &options, self->arena, &response, &error) != WEIR_OK)
        return weir_error_set(self->reterr, WEIR_SERVICE_UNAVAILABLE, "%s: %s", method,
            error.message);
    memcpy(ret_response, &response, sizeof response);
    return WEIR_OK;
}

/* The gateway has given out no such revision, or sent no such tombstone. */
static weir_code
is_foreign(auditor *self, gateway_look *look, const Weir__Internal__V1__IndexedDocument *seen,
    bool *ret_foreign)
{
    document_record *record = NULL;
    const weir_code code = gateway_look_document(look, seen->document->collection_no,
        seen->document->document_id, &record, self->reterr);

    *ret_foreign = false;
    if (code == WEIR_CORRUPT) /* custody that nobody can read now is not foreign */
        return WEIR_OK;
    *ret_foreign = code == WEIR_OK &&
        (record == NULL || seen->is_stray || seen->greatest_revision > record->newest_revision ||
            seen->deleted_below > record->deleted_below);
    return code;
}

/* An indexer that has lost the record of a collection does not know whose it is. */
static weir_code
add_seen(auditor *self, gateway_look *look, page *into, const Weir__Internal__V1__DocumentRef *seen)
{
    const char *tenant = seen->tenant;
    weir_code code = WEIR_OK;

    if (tenant[0] == '\0')
        code = find_tenant(self, look, seen->collection_no, &tenant);
    if (code == WEIR_OK && tenant != NULL)
        add_ref(self, into, tenant, seen->collection_no, seen->document_id);
    return code;
}

static weir_code
pick_foreign(auditor *self, const indexed_page *seen, bool only_lost, page *into)
{
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    for (size_t i = 0; i < seen->n_documents && code == WEIR_OK; i++) {
        const Weir__Internal__V1__DocumentRef *of = seen->documents[i]->document;
        bool foreign = only_lost;

        if (!only_lost)
            code = is_foreign(self, &look, seen->documents[i], &foreign);
        if (code == WEIR_OK && foreign)
            code = add_seen(self, &look, into, of);
    }
    gateway_look_end(&look);
    return code;
}

static weir_code
walk_indexer(auditor *self, cursor *at, page *into)
{
    indexed_request request = WEIR__INTERNAL__V1__LIST_INDEXED_DOCUMENTS_REQUEST__INIT;
    indexed_page *seen = NULL;

    request.after.data = at->after.data;
    request.after.len = at->after.size;
    request.limit = FAR_PAGE;
    weir_code code = ask(self, self->self->indexer, "ListIndexedDocuments", &request.base, &seen);
    if (code == WEIR_OK)
        code = pick_foreign(self, seen, false, into);
    if (code != WEIR_OK)
        return code;
    into->looked_at = seen->n_documents;
    into->is_last = seen->next.len == 0;
    move_to(at, weir_bytes_of(seen->next.data, seen->next.len));
    return WEIR_OK;
}

static weir_code
pick_letters(auditor *self, const endings_page *seen, page *into)
{
    gateway_look look;
    weir_code code = WEIR_OK;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    for (size_t i = 0; i < seen->n_dead_letters && code == WEIR_OK; i++) {
        const Weir__Internal__V1__AuditedEnding *letter = seen->dead_letters[i];
        revision_record *record = NULL;

        code = gateway_look_revision(&look, letter->document->collection_no,
            letter->document->document_id, letter->revision, &record, self->reterr);
        if (code == WEIR_CORRUPT) { /* custody that nobody can read now */
            code = WEIR_OK;
            continue;
        }
        if (code == WEIR_OK &&
            (record == NULL || record->state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED ||
                record->epoch != letter->epoch))
            add_ref(self, into, letter->document->tenant, letter->document->collection_no,
                letter->document->document_id);
    }
    gateway_look_end(&look);
    return code;
}

static weir_code
walk_letters(auditor *self, cursor *at, page *into)
{
    endings_request request = WEIR__INTERNAL__V1__AUDIT_ENDINGS_REQUEST__INIT;
    endings_page *seen = NULL;

    request.after.data = at->after.data;
    request.after.len = at->after.size;
    request.limit = FAR_PAGE;
    weir_code code = ask(self, self->self->reconciler, "AuditEndings", &request.base, &seen);
    if (code == WEIR_OK)
        code = pick_letters(self, seen, into);
    if (code != WEIR_OK)
        return code;
    into->looked_at = seen->n_dead_letters;
    into->is_last = seen->next.len == 0;
    move_to(at, weir_bytes_of(seen->next.data, seen->next.len));
    return WEIR_OK;
}

/* ---- counters ---- */

static weir_code
count_all(auditor *self, gateway_audit_count *count)
{
    bool over = false;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && !over) {
        code = gateway_audit_count_some(count, &over, self->reterr);
        if (code != WEIR_OK || over)
            return code;
        if (!rest(self->audit, self->run == NULL ? COUNT_PAUSE_MS : 0) ||
            (self->run != NULL && weir_clock_mono_ms() > self->run->until_ms))
            code = weir_error_set(self->reterr, WEIR_SERVICE_UNAVAILABLE,
                "there was no time to count a collection");
    }
    return code;
}

static weir_code
count_collection(auditor *self, const char *tenant, uint64_t collection_no, uint64_t *ret_count)
{
    gateway_published published;
    gateway_audit_count count;

    gateway_core_published(self->self->core, &published);
    weir_code code = gateway_audit_count_begin(&count, self->self->service->store, collection_no,
        published.recounts, self->reterr);
    if (code == WEIR_OK)
        code = count_all(self, &count);
    *ret_count = count.looked_at;
    const Weir__Internal__V1__AuditCommand *finding = code == WEIR_OK
        ? gateway_audit_count_finding(&count, tenant, published.era, self->arena)
        : NULL;
    gateway_audit_count_end(&count);
    if (code == WEIR_CORRUPT) /* custody that nobody can read now can not be counted */
        return WEIR_OK;
    return finding == NULL ? code : report(self, finding);
}

/* One collection a page.  *ret_found false: there is none behind `at`. */
static weir_code
next_collection(auditor *self, cursor *at, uint64_t *ret_no, const char **ret_tenant,
    bool *ret_found)
{
    gateway_look look;
    const uint64_t after = at->after.size == 9 ? weir_load_u64(at->after.data + 1) : 0;

    gateway_look_begin(&look, self->self->service->store, self->arena);
    weir_iter *iter = weir_store_iter(look.store, look.snapshot,
        gateway_key_collection_name(&look.key, after + 1),
        gateway_key_collection_name(&look.end, UINT64_MAX));
    *ret_found = weir_iter_next(iter);
    if (*ret_found) {
        move_to(at, weir_iter_key(iter));
        *ret_no = weir_load_u64(weir_iter_key(iter).data + 1);
        *ret_tenant = weir_arena_strdup(self->arena, (const char *)weir_iter_value(iter).data);
    }
    const weir_code code = weir_iter_status(iter, self->reterr);
    weir_iter_destroy(&iter);
    gateway_look_end(&look);
    return code;
}

static weir_code
walk_counters(auditor *self, cursor *at, page *into)
{
    const char *tenant = NULL;
    uint64_t collection_no = 0, count = 0;
    bool found = false;
    weir_code code = next_collection(self, at, &collection_no, &tenant, &found);

    into->is_last = !found;
    if (code == WEIR_OK && found && is_wanted(self, tenant, collection_no))
        code = count_collection(self, tenant, collection_no, &count);
    into->looked_at = count;
    return code;
}

/* ---- a pass ---- */

static weir_code
inspect_refs(auditor *self, const page *made)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < made->count && code == WEIR_OK; i += PAGE)
        code = inspect_all(self, made->refs + i, made->count - i < PAGE ? made->count - i : PAGE);
    return code;
}

typedef weir_code walk_page(auditor *self, cursor *at, page *into);

static walk_page *const walks[WALK_COUNT] = {
    [WALK_GATEWAY] = walk_gateway,
    [WALK_INDEXER] = walk_indexer,
    [WALK_LETTERS] = walk_letters,
    [WALK_COUNTERS] = walk_counters,
};

/* One page of the pass; the cursor moves only when all of it was looked at. *ret_cost: documents
 * that it was worth. */
static weir_code
step(auditor *self, cursor *at, size_t *ret_cost, bool *ret_over)
{
    page *made = weir_alloc_zero(1, sizeof *made);
    cursor next = { .walk = at->walk };

    move_to(&next, weir_buffer_view(&at->after));
    weir_code code = walks[at->walk](self, &next, made);
    if (code == WEIR_OK)
        code = inspect_refs(self, made);
    if (code == WEIR_OK) {
        *ret_cost =
            at->walk == WALK_GATEWAY ? made->looked_at : made->count + made->looked_at / FAR_CHEAP;
        at->walk = next.walk + (made->is_last ? 1 : 0);
        move_to(at, made->is_last ? weir_bytes_of(NULL, 0) : weir_buffer_view(&next.after));
        *ret_over = at->walk == WALK_COUNT;
    }
    weir_buffer_fini(&next.after);
    weir_free(made);
    return code;
}

/* ---- RunAudit ---- */

static weir_code
run_all(gateway_audit *audit, gateway_audit_run *run, weir_error *reterr)
{
    auditor self = { .audit = audit,
        .self = audit->self,
        .arena = weir_arena_create(0),
        .run = run,
        .reterr = reterr };
    cursor at = { .walk = WALK_GATEWAY };
    bool over = false;
    weir_code code = WEIR_OK;

    if (run->collection_no != 0)
        (void)gateway_key_documents(&at.after, run->collection_no);
    while (!over && weir_clock_mono_ms() < run->until_ms && !is_stopping(audit)) {
        size_t cost = 0;
        const unsigned walk = at.walk;

        weir_arena_reset(self.arena);
        code = step(&self, &at, &cost, &over);
        if (code == WEIR_OK && walk == WALK_GATEWAY)
            run->checked += cost;
        if (code == WEIR_SERVICE_UNAVAILABLE)
            (void)rest(audit, AGAIN_PAUSE_MS);
        else if (code != WEIR_OK)
            break;
    }
    run->found = self.found;
    run->repaired = self.repaired;
    weir_buffer_fini(&at.after);
    weir_arena_destroy(&self.arena);
    if (code != WEIR_OK || over)
        return code;
    return weir_error_set(reterr, WEIR_TIMEOUT,
        "the time was over after %llu documents; give it more, or name a collection",
        (unsigned long long)run->checked);
}

weir_code
gateway_audit_run_now(gateway_audit *audit, gateway_audit_run *run, weir_error *reterr)
{
    if (__atomic_exchange_n(&audit->is_run_under_way, true, __ATOMIC_ACQUIRE)) {
        weir_error_set(reterr, WEIR_QUEUE_FULL, "another audit runs; begin this one after it");
        reterr->retry_after_ms = RUN_RETRY_MS;
        return WEIR_QUEUE_FULL;
    }
    const weir_code code = run_all(audit, run, reterr);
    __atomic_store_n(&audit->is_run_under_way, false, __ATOMIC_RELEASE);
    return code;
}

/* ---- what is open ---- */

typedef struct open_records {
    uint64_t numbers[PAGE];
    Weir__Internal__V1__InconsistencyRecord *records[PAGE];
    gateway_audit_ref refs[PAGE];
    size_t count;
} open_records;

static weir_code
read_open(auditor *self, uint64_t *from_no, open_records *ret)
{
    gateway_look look;
    weir_code code = WEIR_OK;

    ret->count = 0;
    gateway_look_begin(&look, self->self->service->store, self->arena);
    weir_iter *iter = weir_store_iter(look.store, look.snapshot,
        gateway_key_inconsistency(&look.key, *from_no), gateway_key_inconsistency_end(&look.end));
    *from_no = 0;
    while (code == WEIR_OK && weir_iter_next(iter)) {
        const uint64_t number = weir_load_u64(weir_iter_key(iter).data + 1);
        Weir__Internal__V1__InconsistencyRecord *record = NULL;

        if (ret->count == PAGE) {
            *from_no = number;
            break;
        }
        code = gateway_look_decode(&look, &weir__internal__v1__inconsistency_record__descriptor,
            weir_iter_value(iter), &record, self->reterr);
        if (code != WEIR_OK || record->resolution != 0)
            continue;
        ret->refs[ret->count] =
            (gateway_audit_ref){ record->tenant, record->collection_no, record->document_id };
        ret->numbers[ret->count] = number;
        ret->records[ret->count++] = record;
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, self->reterr);
    weir_iter_destroy(&iter);
    gateway_look_end(&look);
    return code;
}

static bool
is_still_wrong(const gateway_audit_look *look, size_t document,
    const Weir__Internal__V1__InconsistencyRecord *record)
{
    for (size_t i = 0; i < look->finding_count; i++)
        if (look->findings[i].document == document &&
            look->findings[i].command.revision == record->revision &&
            look->findings[i].command.evidence == record->evidence)
            return true;
    return false;
}

/* What agrees again is told; what does not is repaired again when it is time (the core knows). */
static weir_code
look_at_open(auditor *self, uint64_t *from_no)
{
    open_records *open = weir_alloc(sizeof *open);
    gateway_audit_look look;
    weir_code code = read_open(self, from_no, open);

    if (code == WEIR_OK)
        code = inspect(self, open->refs, open->count, &look);
    for (size_t i = 0; i < open->count && code == WEIR_OK; i++) {
        Weir__Internal__V1__AuditAgreesCommand command =
            WEIR__INTERNAL__V1__AUDIT_AGREES_COMMAND__INIT;
        ProtobufCMessage *answer = NULL;

        if (!look.is_judged[i] || is_still_wrong(&look, i, open->records[i]))
            continue;
        command.number = open->numbers[i];
        code = tell_core(self, GATEWAY_AUDIT_SETTLED, &command.base, &answer);
    }
    weir_free(open);
    return code;
}

/* What the indexer says is damaged waits for its re-drive. */
static weir_code
look_at_lost(auditor *self)
{
    indexed_request request = WEIR__INTERNAL__V1__LIST_INDEXED_DOCUMENTS_REQUEST__INIT;
    indexed_page *seen = NULL;
    page *made = weir_alloc_zero(1, sizeof *made);

    request.limit = PAGE;
    request.only_lost = true;
    weir_code code = ask(self, self->self->indexer, "ListIndexedDocuments", &request.base, &seen);
    if (code == WEIR_OK)
        code = pick_foreign(self, seen, true, made);
    if (code == WEIR_OK)
        code = inspect_refs(self, made);
    weir_free(made);
    return code;
}

static bool
has_lost(auditor *self)
{
    bool is_fresh = false;
    const stage_status *indexer =
        gateway_status_read(self->self->status, WEIR_SERVICE_INDEXER, self->arena, &is_fresh);

    return indexer != NULL && is_fresh && indexer->lost_documents > 0;
}

/* ---- the slow audit ---- */

typedef struct slow {
    auditor self;
    cursor at;
    int64_t begin_ms; /* wall time at which the pass began, or is to begin */
    int64_t next_ms;  /* monotonic: of the next page */
    int64_t saved_ms; /* monotonic: of the cursor */
    int64_t open_ms, lost_ms;
    uint64_t open_from;
} slow;

static void
load_cursor(slow *slow_walk)
{
    Weir__Internal__V1__AuditRecord *record = NULL;
    ProtobufCMessage *message = NULL;
    weir_buffer key = { 0 };
    weir_buffer value = { 0 };
    bool found = false;

    if (weir_store_get(slow_walk->self.self->service->store, NULL, gateway_key_audit(&key), &value,
            &found, slow_walk->self.reterr) == WEIR_OK &&
        found &&
        weir_wire_decode(&weir__internal__v1__audit_record__descriptor, weir_buffer_view(&value),
            NULL, slow_walk->self.arena, &message, slow_walk->self.reterr) == WEIR_OK) {
        record = (Weir__Internal__V1__AuditRecord *)message;
        slow_walk->at.walk = record->walk < WALK_COUNT ? record->walk : WALK_GATEWAY;
        move_to(&slow_walk->at, weir_bytes_of(record->after.data, record->after.len));
        slow_walk->begin_ms = record->begin_time_ms;
    }
    weir_buffer_fini(&key);
    weir_buffer_fini(&value);
}

static weir_code
save_cursor(slow *slow_walk, bool is_over)
{
    Weir__Internal__V1__AuditCursorCommand command = WEIR__INTERNAL__V1__AUDIT_CURSOR_COMMAND__INIT;
    ProtobufCMessage *answer = NULL;

    slow_walk->saved_ms = weir_clock_mono_ms();
    command.walk = slow_walk->at.walk;
    command.after.data = slow_walk->at.after.data;
    command.after.len = slow_walk->at.after.size;
    command.begin_time_ms = slow_walk->begin_ms;
    command.is_over = is_over;
    return tell_core(&slow_walk->self, GATEWAY_AUDIT_CURSOR, &command.base, &answer);
}

/* The next pass begins an interval after this one began, at once if that is over. */
static weir_code
end_pass(slow *slow_walk)
{
    const int64_t interval_ms = (int64_t)slow_walk->self.self->config->audit.interval_ms;
    const int64_t now_ms = weir_clock_wall_ms();

    slow_walk->at.walk = WALK_GATEWAY;
    weir_buffer_clear(&slow_walk->at.after);
    slow_walk->begin_ms += interval_ms;
    if (slow_walk->begin_ms < now_ms || slow_walk->begin_ms > now_ms + interval_ms)
        slow_walk->begin_ms = now_ms;
    return save_cursor(slow_walk, true);
}

static weir_code
walk_on(slow *slow_walk)
{
    const uint32_t rate = slow_walk->self.self->config->audit.documents_per_second;
    size_t cost = 0;
    bool over = false;
    weir_code code = step(&slow_walk->self, &slow_walk->at, &cost, &over);

    slow_walk->next_ms =
        weir_clock_mono_ms() + (code == WEIR_OK ? (int64_t)cost * 1000 / rate : TICK_MS);
    if (code == WEIR_OK && over)
        code = end_pass(slow_walk);
    else if (code == WEIR_OK && weir_clock_mono_ms() - slow_walk->saved_ms >= CURSOR_EVERY_MS)
        code = save_cursor(slow_walk, false);
    return code;
}

static bool
is_due(const slow *slow_walk)
{
    const bool is_between = slow_walk->at.walk == WALK_GATEWAY && slow_walk->at.after.size == 0;
    const int64_t wait_ms = slow_walk->begin_ms - weir_clock_wall_ms();
    const int64_t interval_ms = (int64_t)slow_walk->self.self->config->audit.interval_ms;

    return slow_walk->self.self->config->audit.documents_per_second > 0 &&
        weir_clock_mono_ms() >= slow_walk->next_ms &&
        (!is_between || wait_ms <= 0 || wait_ms > interval_ms);
}

/* A failure here is a peer that is away, or an era: the next turn tries again. */
static void
turn(slow *slow_walk)
{
    auditor *self = &slow_walk->self;
    const int64_t now_ms = weir_clock_mono_ms();
    gateway_published published;
    weir_code code = WEIR_OK;

    weir_arena_reset(self->arena);
    gateway_core_published(self->self->core, &published);
    if (published.inconsistencies > 0 && now_ms >= slow_walk->open_ms) {
        code = look_at_open(self, &slow_walk->open_from);
        slow_walk->open_ms = weir_clock_mono_ms() + OPEN_EVERY_MS;
    }
    if (code == WEIR_OK && now_ms >= slow_walk->lost_ms && has_lost(self)) {
        code = look_at_lost(self);
        slow_walk->lost_ms = weir_clock_mono_ms() + LOST_EVERY_MS;
    }
    if (code == WEIR_OK && is_due(slow_walk))
        code = walk_on(slow_walk);
    if (code != WEIR_OK)
        weir_log(WEIR_LOG_DEBUG, "audit.not_now", WEIR_STR("message", self->reterr->message));
}

static int64_t
pause_of(const slow *slow_walk)
{
    const int64_t left_ms = slow_walk->next_ms - weir_clock_mono_ms();

    return left_ms > 0 && left_ms < TICK_MS ? left_ms : TICK_MS;
}

static void *
audit_main(void *arg)
{
    gateway_audit *audit = arg;
    weir_error error = { .code = WEIR_OK };
    slow slow_walk = { .self = { .audit = audit,
                           .self = audit->self,
                           .arena = weir_arena_create(0),
                           .reterr = &error } };

    load_cursor(&slow_walk);
    while (rest(audit, pause_of(&slow_walk)))
        turn(&slow_walk);
    weir_buffer_fini(&slow_walk.at.after);
    weir_arena_destroy(&slow_walk.self.arena);
    return NULL;
}

/* ---- life ---- */

gateway_audit *
gateway_audit_start(gateway *self)
{
    gateway_audit *audit = weir_alloc_zero(1, sizeof *audit);
    pthread_condattr_t monotonic;

    audit->self = self;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&audit->thread, NULL, audit_main, audit) != 0)
        weir_assert(!"the thread of the audit can be started");
    return audit;
}

void
gateway_audit_stop(gateway_audit *audit)
{
    if (audit == NULL || audit->is_joined)
        return;
    pthread_mutex_lock(&audit->lock);
    audit->stopping = true;
    pthread_cond_broadcast(&audit->wake);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->thread, NULL);
    audit->is_joined = true;
}

void
gateway_audit_destroy(gateway_audit **audit_p)
{
    gateway_audit *audit = *audit_p;

    if (audit == NULL)
        return;
    gateway_audit_stop(audit);
    pthread_mutex_destroy(&audit->lock);
    pthread_cond_destroy(&audit->wake);
    weir_free(audit);
    *audit_p = NULL;
}

void
gateway_audit_totals_read(gateway_audit *audit, gateway_audit_totals *ret_totals)
{
    ret_totals->documents = __atomic_load_n(&audit->documents, __ATOMIC_RELAXED);
}
