/*
 * audit.c - AuditDocuments and ListIndexedDocuments: what is stored and indexed, for the audit that
 * the gateway runs.
 *
 * All of an answer is of one snapshot.  Chunks that are being cleared belong to nobody for a while
 * and are no strays: while any are, none is reported.
 */
#include <inttypes.h>

#include "services/indexer/tally.h"
#include "services/indexer/view.h"

typedef Weir__Internal__V1__AuditDocumentsRequest audit_request;
typedef Weir__Internal__V1__AuditDocumentsResponse audit_response;
typedef Weir__Internal__V1__AuditedDocument audited_document;
typedef Weir__Internal__V1__ListIndexedDocumentsRequest list_request;
typedef Weir__Internal__V1__ListIndexedDocumentsResponse list_response;

enum { AUDIT_DOCUMENTS_MAX = 200 };

/* ---- AuditDocuments ---- */

typedef struct auditor {
    indexer_view view;
    audit_response *response;
    weir_arena *register_arena; /* of one document */
} auditor;

static void
fill_promises(audited_document *view, const indexer_register *record, weir_arena *arena)
{
    view->revoked = weir_arena_alloc(arena, (record->n_revoked + 1) * sizeof *view->revoked);
    for (size_t i = 0; i < record->n_revoked; i++) {
        Weir__Internal__V1__RevokedTry *promise = weir_arena_alloc(arena, sizeof *promise);

        weir__internal__v1__revoked_try__init(promise);
        promise->revision = record->revoked[i]->revision;
        promise->epoch = record->revoked[i]->epoch;
        view->revoked[view->n_revoked++] = promise;
    }
    view->lost_revision = record->lost_revision;
}

static void
fill_tally(audited_document *view, const indexer_tally *tally, weir_arena *arena)
{
    view->is_whole = indexer_tally_is_whole(tally);
    view->stray_count = (uint32_t)tally->strays.count;
    view->finding = (char *)(uintptr_t)indexer_tally_finding(tally, arena);
}

static weir_code
audit_document(auditor *self, const Weir__Internal__V1__DocumentRef *wanted, audited_document *view,
    weir_error *reterr)
{
    const indexer_source source = { .store = self->view.core->store,
        .snapshot = self->view.snapshot };
    indexer_collection *collection =
        indexer_collections_find(&self->view.core->collections, wanted->collection_no);
    const indexer_register *record = NULL;
    indexer_tally tally;
    weir_code code = indexer_view_register(&self->view, wanted->collection_no, wanted->document_id,
        &record, reterr);

    if (code == WEIR_OK)
        code = indexer_tally_document(&source, wanted->collection_no, collection,
            wanted->document_id, record, self->view.arena, &tally, reterr);
    if (code != WEIR_OK)
        return code;
    view->register_ = weir_arena_alloc(self->view.arena, sizeof *view->register_);
    weir__internal__v1__get_indexed_document_response__init(view->register_);
    if (record != NULL) {
        indexer_fill_register(record, view->register_, self->view.arena);
        fill_promises(view, record, self->view.arena);
    }
    fill_tally(view, &tally, self->view.arena);
    return WEIR_OK;
}

static bool
can_be_document(const Weir__Internal__V1__DocumentRef *wanted)
{
    const size_t size = strlen(wanted->document_id);

    return size > 0 && size <= WEIR_DOCUMENT_ID_BYTES_MAX && wanted->collection_no > 0;
}

static weir_code
audit_all(auditor *self, const audit_request *request, weir_error *reterr)
{
    audit_response *response = self->response;
    weir_code code = WEIR_OK;

    response->documents = weir_arena_alloc(self->view.arena,
        (request->n_documents + 1) * sizeof *response->documents);
    for (size_t i = 0; i < request->n_documents && code == WEIR_OK; i++) {
        audited_document *view = weir_arena_alloc(self->view.arena, sizeof *view);

        weir__internal__v1__audited_document__init(view);
        if (!can_be_document(request->documents[i]))
            return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "documents",
                "document %zu has no id that can be one", i);
        code = audit_document(self, request->documents[i], view, reterr);
        response->documents[response->n_documents++] = view;
    }
    return code;
}

/* Strays count only if nothing waited to be cleared before the snapshot and nothing was retired
 * since. */
static void
forgive_strays(audit_response *response)
{
    for (size_t i = 0; i < response->n_documents; i++) {
        audited_document *view = response->documents[i];

        view->stray_count = 0;
        if (view->is_whole)
            view->finding = (char *)(uintptr_t)protobuf_c_empty_string;
    }
}

weir_code
indexer_audit_documents(indexer_core *core, const audit_request *request, audit_response *response,
    weir_arena *arena, weir_error *reterr)
{
    const uint64_t cleared = __atomic_load_n(&core->cleared_total, __ATOMIC_ACQUIRE);
    auditor self = { .response = response };

    if (request->n_documents > AUDIT_DOCUMENTS_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "documents",
            "%zu documents; at most %d are possible", request->n_documents, AUDIT_DOCUMENTS_MAX);
    response->complete = indexer_gate_is_open(core);
    response->seeded_era = indexer_seeded_era(core);
    indexer_view_begin(&self.view, core, arena);
    weir_code code = weir_link_outbox_end(core->store, self.view.snapshot,
        weir_link_number(WEIR_LINK_INDEXER_GATEWAY, 0, 0), &response->told_below, reterr);
    if (code == WEIR_OK)
        code = audit_all(&self, request, reterr);
    indexer_view_end(&self.view);
    if (cleared != __atomic_load_n(&core->retired_total, __ATOMIC_ACQUIRE))
        forgive_strays(response);
    return code;
}

/* ---- ListIndexedDocuments ---- */

/* The walk goes through the registers, then through the documents that have chunks of each kind. */
static const indexer_tag walk_tags[] = { INDEXER_TAG_DOCUMENT, INDEXER_TAG_CHUNK,
    INDEXER_TAG_METADATA, INDEXER_TAG_VECTOR };
enum { WALK_TAGS = sizeof walk_tags / sizeof walk_tags[0], WALK_LOOKED_AT_MAX = 5000 };

typedef struct walker {
    indexer_view view;
    const list_request *request;
    list_response *response;
    uint32_t looked_at;
} walker;

static int64_t
greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t
greatest_revision(const indexer_register *record)
{
    int64_t greatest = greater(record->ready_revision, record->lost_revision);

    for (size_t i = 0; i < record->n_staged; i++)
        greatest = greater(greatest, record->staged[i]->revision);
    for (size_t i = 0; i < record->n_revoked; i++)
        greatest = greater(greatest, record->revoked[i]->revision);
    return greatest;
}

static void
add_document(walker *self, const indexer_key_parts *parts, const indexer_register *record)
{
    weir_arena *arena = self->view.arena;
    const indexer_collection *collection =
        indexer_collections_find(&self->view.core->collections, parts->collection_no);
    Weir__Internal__V1__IndexedDocument *view = weir_arena_alloc(arena, sizeof *view);

    weir__internal__v1__indexed_document__init(view);
    view->document = weir_arena_alloc(arena, sizeof *view->document);
    weir__internal__v1__document_ref__init(view->document);
    view->document->collection_no = parts->collection_no;
    view->document->document_id = weir_arena_strdup(arena, parts->owner.document_id);
    if (collection != NULL)
        view->document->tenant = (char *)(uintptr_t)indexer_collection_tenant(collection);
    view->is_stray = record == NULL;
    if (record != NULL) {
        view->greatest_revision = greatest_revision(record);
        view->deleted_below = record->deleted_below;
    }
    self->response->documents[self->response->n_documents++] = view;
}

/* The document under the iterator; of one with chunks, only if it has no register. */
static weir_code
take_document(walker *self, indexer_tag tag, const weir_iter *iter, indexer_key_parts *ret_parts,
    weir_error *reterr)
{
    const indexer_register *record = NULL;
    weir_code code = indexer_key_parse(tag, weir_iter_key(iter), ret_parts, reterr);

    if (code == WEIR_OK)
        code = indexer_view_register(&self->view, ret_parts->collection_no,
            ret_parts->owner.document_id, &record, reterr);
    if (code == WEIR_OK && (tag == INDEXER_TAG_DOCUMENT) == (record != NULL) &&
        (record == NULL || !self->request->only_lost || record->lost_revision != 0))
        add_document(self, ret_parts, record);
    self->looked_at++;
    return code;
}

static bool
page_is_full(const walker *self)
{
    return self->response->n_documents >= self->request->limit ||
        (!self->request->only_lost && self->looked_at >= WALK_LOOKED_AT_MAX);
}

/* From `after` on (empty: from the start of the tag) to the end of the tag or of the page, one step
 * a document. */
static weir_code
walk_tag(walker *self, indexer_tag tag, weir_bytes after, weir_error *reterr)
{
    indexer_key lower, upper, next;
    weir_code code = WEIR_OK;

    indexer_key_range(tag, 0, &lower, &upper);
    weir_iter *iter = weir_store_iter(self->view.core->store, self->view.snapshot,
        indexer_key_view(&lower), indexer_key_view(&upper));
    bool is_there = weir_iter_seek(iter, after.size > 0 ? after : indexer_key_view(&lower));
    while (is_there && code == WEIR_OK) {
        indexer_key_parts parts;

        code = take_document(self, tag, iter, &parts, reterr);
        if (code != WEIR_OK)
            break;
        indexer_key_tries(tag, parts.collection_no, parts.owner.document_id, &lower, &next);
        if (page_is_full(self)) {
            self->response->next.len = next.size;
            self->response->next.data = weir_arena_memdup(self->view.arena, next.bytes, next.size);
            break;
        }
        is_there = weir_iter_seek(iter, indexer_key_view(&next));
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

static size_t
tag_of(weir_bytes after)
{
    for (size_t i = 0; i < WALK_TAGS; i++)
        if (after.size > 0 && after.data[0] == (uint8_t)walk_tags[i])
            return i;
    return 0;
}

weir_code
indexer_list_documents(indexer_core *core, const list_request *request, list_response *response,
    weir_arena *arena, weir_error *reterr)
{
    walker self = { .request = request, .response = response };
    weir_bytes after = weir_bytes_of(request->after.data, request->after.len);
    weir_code code = WEIR_OK;

    if (request->limit == 0 || request->limit > WEIR_PAGE_SIZE_MAX)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "limit",
            "limit is %u; it may be 1 to %d", request->limit, WEIR_PAGE_SIZE_MAX);
    response->documents = weir_arena_alloc(arena, request->limit * sizeof *response->documents);
    indexer_view_begin(&self.view, core, arena);
    for (size_t i = tag_of(after); i < WALK_TAGS && code == WEIR_OK && response->next.len == 0 &&
        !(request->only_lost && walk_tags[i] != INDEXER_TAG_DOCUMENT);
        i++) {
        code = walk_tag(&self, walk_tags[i], after, reterr);
        after = weir_bytes_of(NULL, 0);
    }
    indexer_view_end(&self.view);
    return code;
}
