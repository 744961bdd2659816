/*
 * rpc_list_documents.c - ListDocuments: newest revisions by document_id, from the gateway's own
 * records.
 *
 * A page looks at a bounded number of documents, so a list that matches little may answer short
 * pages with a token to go on.  Threads of the pool.
 */
#include "common/base/limits.h"
#include "services/gateway/check.h"
#include "services/gateway/filter.h"
#include "services/gateway/keys.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__ListDocumentsRequest list_request;
typedef Weir__V1__ListDocumentsResponse list_response;

enum { LOOKED_AT_MAX = 20000, PAGE_BYTES_MAX = 3 << 20 };

typedef struct lister {
    gateway_look look;
    weir_arena *scratch; /* of documents that do not match */
    const list_request *request;
    list_response *response;
    const collection_record *collection;
    gateway_filter filter;
    uint32_t page_size;
    size_t bytes;
    weir_bytes scope;
} lister;

static bool
state_is_wanted(const list_request *request, uint32_t state)
{
    if (state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED && !request->show_deleted)
        return false;
    for (size_t i = 0; i < request->n_states; i++)
        if ((uint32_t)request->states[i] == state)
            return true;
    return request->n_states == 0;
}

/* The document under the iterator, if it is wanted. */
static weir_code
add(lister *self, const weir_iter *iter, weir_error *reterr)
{
    const uint64_t collection_no = self->collection->collection_no;
    weir_arena *arena = self->look.arena;
    gateway_found found = { .collection = (collection_record *)(uintptr_t)self->collection };

    weir_arena_reset(self->scratch);
    self->look.arena = self->scratch;
    found.document_id =
        weir_arena_strdup(self->scratch, gateway_key_document_id(weir_iter_key(iter)));
    weir_code code =
        gateway_look_decode(&self->look, &weir__internal__v1__document_record__descriptor,
            weir_iter_value(iter), &found.document, reterr);
    if (code == WEIR_OK) {
        found.number = found.document->newest_revision;
        code = gateway_look_revision_of(&self->look, collection_no, found.document_id,
            found.document, found.number, &found.revision, reterr);
    }
    self->look.arena = arena;
    if (code != WEIR_OK || found.revision == NULL ||
        !state_is_wanted(self->request, found.revision->state))
        return code;
    /* Once more, to stay. */
    code = gateway_look_revision(&self->look, collection_no, found.document_id, found.number,
        &found.revision, reterr);
    if (code != WEIR_OK)
        return code;
    Weir__V1__Document *view = gateway_found_view(arena, &found);
    self->bytes += protobuf_c_message_get_packed_size(&view->base);
    self->response->documents[self->response->n_documents++] = view;
    return WEIR_OK;
}

static bool
page_is_full(const lister *self, size_t looked_at)
{
    return self->response->n_documents == self->page_size || self->bytes >= PAGE_BYTES_MAX ||
        looked_at == LOOKED_AT_MAX;
}

static weir_code
fill_page(lister *self, weir_iter *iter, weir_error *reterr)
{
    weir_buffer last = { 0 };
    size_t looked_at = 0;
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);

        if (page_is_full(self, looked_at)) {
            self->response->next_page_token =
                gateway_page_next(self->look.arena, self->scope, weir_buffer_view(&last));
            break;
        }
        weir_buffer_clear(&last);
        weir_buffer_append(&last, key.data, key.size);
        looked_at++;
        code = add(self, iter, reterr);
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_buffer_fini(&last);
    return code;
}

/* Only the document that the filter names. */
static weir_code
list_one(lister *self, weir_error *reterr)
{
    weir_buffer upper = { 0 };
    const weir_bytes lower = gateway_key_document(&self->look.key, self->collection->collection_no,
        self->filter.document_id);
    weir_iter *iter = weir_store_iter(self->look.store, self->look.snapshot, lower,
        gateway_key_after(&upper, lower));
    const weir_code code =
        weir_iter_next(iter) ? add(self, iter, reterr) : weir_iter_status(iter, reterr);

    weir_iter_destroy(&iter);
    weir_buffer_fini(&upper);
    return code;
}

static weir_code
list_all(lister *self, weir_bytes after, weir_error *reterr)
{
    weir_bytes lower = gateway_key_documents(&self->look.key, self->collection->collection_no);
    const weir_bytes upper = gateway_key_after(&self->look.end, lower);

    if (after.size > 0) { /* the first key behind it: its own with one more byte */
        weir_buffer_clear(&self->look.key);
        weir_buffer_append(&self->look.key, after.data, after.size);
        weir_buffer_append_u8(&self->look.key, 0);
        lower = weir_buffer_view(&self->look.key);
    }
    weir_iter *iter = weir_store_iter(self->look.store, self->look.snapshot, lower, upper);
    const weir_code code = fill_page(self, iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* What a page token belongs to: the method with all its arguments but the page. */
static weir_bytes
scope_of(weir_arena *arena, const list_request *request)
{
    list_request arguments = *request;

    arguments.page_size = 0;
    arguments.page_token = (char *)(uintptr_t)"";
    const weir_sha256_sum sum = gateway_hash_message(&arguments.base);
    return weir_bytes_of(weir_arena_memdup(arena, sum.bytes, sizeof sum.bytes), sizeof sum.bytes);
}

static weir_code
check(lister *self, weir_bytes *ret_after, weir_error *reterr)
{
    const list_request *request = self->request;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_page_size(request->page_size, &self->page_size, reterr);
    if (code == WEIR_OK)
        code = gateway_filter_parse(request->filter, GATEWAY_FILTER_DOCUMENTS, self->look.arena,
            &self->filter, reterr);
    self->scope = scope_of(self->look.arena, request);
    return code != WEIR_OK
        ? code
        : gateway_page_begin(self->look.arena, request->page_token, self->scope, ret_after, reterr);
}

static weir_code
list_documents(gateway *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    lister list = { .request = request, .response = response, .look.arena = arena };
    collection_record *collection = NULL;
    weir_bytes after;
    weir_code code = check(&list, &after, reterr);

    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&list.look, self->service->store, arena);
    code = gateway_look_collection(&list.look, gateway_tenant(call), request->collection_id,
        &collection, reterr);
    list.collection = collection;
    list.scratch = weir_arena_create(0);
    response->documents =
        weir_arena_alloc(arena, (list.page_size + 1) * sizeof *response->documents);
    if (code == WEIR_OK)
        code = list.filter.document_id != NULL ? list_one(&list, reterr)
                                               : list_all(&list, after, reterr);
    weir_arena_destroy(&list.scratch);
    gateway_look_end(&list.look);
    return code;
}

GATEWAY_UNARY(list_documents, list_request, list_response, weir__v1__list_documents_response__init)
