/*
 * audit.c - AuditEndings: dead letters and endings as they stand, for the audit that the gateway
 * runs; and what its repairs mean here.
 *
 * The gateway owns FAILED.  What an AUDITED event says of the revision is taken over, whatever
 * stood here: a dead letter for FAILED, none for anything else.
 */
#include "services/reconciler/audit.h"

#include "common/base/failpoint.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "services/reconciler/core_internal.h"
#include "weir/v1/document.pb-c.h"

typedef Weir__Internal__V1__AuditEndingsRequest audit_request;
typedef Weir__Internal__V1__AuditEndingsResponse audit_response;
typedef Weir__Internal__V1__AuditedEnding audited_ending;

enum { AUDIT_DOCUMENTS_MAX = 200, ENDINGS_MAX = 2000 };

/* ---- repairs ---- */

weir_code
reconciler_on_audited(reconciler_core *core, weir_stage *stage, const lifecycle_event *event,
    weir_error *reterr)
{
    const bool has_failed =
        event->recorded_state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
    /* One of another try, a later one too, is not the gateway's. */
    weir_code code = reconciler_drop_dead_letter(core, stage, event, INT64_MAX, reterr);

    if (code == WEIR_OK)
        code = WEIR_FP_CODE("reconciler.audited.dropped", reterr);
    return code == WEIR_OK && has_failed ? reconciler_put_dead_letter(core, stage, event, reterr)
                                         : code;
}

/* ---- AuditEndings ---- */

typedef struct auditor {
    weir_store *store;
    weir_snapshot *snapshot;
    audit_response *response;
    weir_arena *arena, *scratch;
    weir_buffer lower, upper;
} auditor;

static weir_code
decode(auditor *self, weir_bytes value, ending_record **ret_record, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    weir_arena_reset(self->scratch);
    if (weir_wire_decode(&weir__internal__v1__ending_record__descriptor, value, NULL, self->scratch,
            &message, reterr) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored ending does not decode");
    *ret_record = (ending_record *)message;
    return WEIR_OK;
}

static audited_ending *
view_ending(weir_arena *arena, const reconciler_id *id, const ending_record *record)
{
    audited_ending *view = weir_arena_alloc(arena, sizeof *view);

    weir__internal__v1__audited_ending__init(view);
    view->document = weir_arena_alloc(arena, sizeof *view->document);
    weir__internal__v1__document_ref__init(view->document);
    view->document->tenant = weir_arena_strdup(arena, id->tenant != NULL ? id->tenant : "");
    view->document->collection_no = id->collection_no;
    view->document->document_id = weir_arena_strdup(arena, id->document_id);
    view->revision = id->revision;
    view->epoch = record->epoch;
    view->content_sha256.len = record->content_sha256.len;
    view->content_sha256.data =
        weir_arena_memdup(arena, record->content_sha256.data, record->content_sha256.len);
    return view;
}

static weir_code
take(auditor *self, const weir_iter *iter, char tag, weir_error *reterr)
{
    audit_response *response = self->response;
    ending_record *record = NULL;
    reconciler_id id = { 0 };
    const weir_bytes key = weir_iter_key(iter);
    const bool is_key = tag == 'L' ? reconciler_parse_dead_letter(key, &id)
                                   : reconciler_parse_revision(key, tag, &id);

    if (!is_key)
        return weir_error_set(reterr, WEIR_CORRUPT, "the key of an ending is damaged");
    const weir_code code = decode(self, weir_iter_value(iter), &record, reterr);
    if (code != WEIR_OK)
        return code;
    if (tag == 'L')
        response->dead_letters[response->n_dead_letters++] = view_ending(self->arena, &id, record);
    else
        response->endings[response->n_endings++] = view_ending(self->arena, &id, record);
    return WEIR_OK;
}

/* All of a document's, of one kind; `lower` is the key of its revision 0. */
static weir_code
take_range(auditor *self, char tag, weir_bytes lower, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    weir_buffer_clear(&self->upper);
    weir_buffer_append(&self->upper, lower.data, lower.size - 8);
    weir_buffer_append_u64(&self->upper, UINT64_MAX);
    weir_iter *iter =
        weir_store_iter(self->store, self->snapshot, lower, weir_buffer_view(&self->upper));
    while (code == WEIR_OK &&
        self->response->n_dead_letters + self->response->n_endings < ENDINGS_MAX &&
        weir_iter_next(iter))
        code = take(self, iter, tag, reterr);
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
audit_documents(auditor *self, const audit_request *request, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < request->n_documents && code == WEIR_OK; i++) {
        const Weir__Internal__V1__DocumentRef *of = request->documents[i];

        code = take_range(self, 'L',
            reconciler_key_dead_letter(&self->lower, of->tenant, of->collection_no, of->document_id,
                0),
            reterr);
        if (code == WEIR_OK)
            code = take_range(self, 'E',
                reconciler_key_ending(&self->lower, of->collection_no, of->document_id, 0), reterr);
    }
    return code;
}

static weir_code
audit_page(auditor *self, const audit_request *request, weir_error *reterr)
{
    audit_response *response = self->response;
    const weir_bytes after = weir_bytes_of(request->after.data, request->after.len);
    const weir_bytes prefix = reconciler_key_dead_letters(&self->lower, NULL, 0);
    weir_bytes last = { 0 };
    weir_code code = WEIR_OK;
    weir_iter *iter = weir_store_iter(self->store, self->snapshot, prefix,
        reconciler_key_after(&self->upper, prefix));
    bool is_there = weir_iter_seek(iter, after.size > 0 ? after : prefix);

    if (is_there && weir_bytes_equal(weir_iter_key(iter), after))
        is_there = weir_iter_next(iter);
    for (; is_there && code == WEIR_OK && response->n_dead_letters < request->limit;
        is_there = weir_iter_next(iter)) {
        code = take(self, iter, 'L', reterr);
        last = weir_iter_key(iter);
        last.data = weir_arena_memdup(self->arena, last.data, last.size);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    if (is_there) {
        response->next.data = (uint8_t *)(uintptr_t)last.data;
        response->next.len = last.size;
    }
    weir_iter_destroy(&iter);
    return code;
}

static weir_code
check(const audit_request *request, weir_error *reterr)
{
    if (request->n_documents > AUDIT_DOCUMENTS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "documents",
            "%zu documents; at most %d are possible", request->n_documents, AUDIT_DOCUMENTS_MAX);
    if (request->n_documents == 0 && (request->limit == 0 || request->limit > WEIR_PAGE_SIZE_MAX))
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "limit",
            "limit is %u; it may be 1 to %d", request->limit, WEIR_PAGE_SIZE_MAX);
    return WEIR_OK;
}

weir_code
reconciler_audit_endings(weir_store *store, const audit_request *request, audit_response *response,
    weir_arena *arena, weir_error *reterr)
{
    auditor self = { .store = store, .response = response, .arena = arena };
    weir_code code = check(request, reterr);

    if (code != WEIR_OK)
        return code;
    WEIR_FP_RETURN("reconciler.audit_endings.before", reterr);
    response->dead_letters = weir_arena_alloc(arena, ENDINGS_MAX * sizeof *response->dead_letters);
    response->endings = weir_arena_alloc(arena, ENDINGS_MAX * sizeof *response->endings);
    self.snapshot = weir_store_snapshot_take(store);
    self.scratch = weir_arena_create(0);
    code = weir_link_outbox_end(store, self.snapshot,
        weir_link_number(WEIR_LINK_RECONCILER_GATEWAY, 0, 0), &response->told_below, reterr);
    if (code == WEIR_OK)
        code = request->n_documents > 0 ? audit_documents(&self, request, reterr)
                                        : audit_page(&self, request, reterr);
    weir_arena_destroy(&self.scratch);
    weir_store_snapshot_release(store, &self.snapshot);
    weir_buffer_fini(&self.lower);
    weir_buffer_fini(&self.upper);
    return code;
}
