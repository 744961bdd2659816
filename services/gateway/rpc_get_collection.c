/*
 * rpc_get_collection.c - GetCollection and ListCollections, each from one look into the store.
 */
#include "common/base/limits.h"
#include "services/gateway/check.h"
#include "services/gateway/keys.h"
#include "services/gateway/reads.h"
#include "services/gateway/rpcs.h"

typedef Weir__V1__GetCollectionRequest get_request;
typedef Weir__V1__GetCollectionResponse get_response;
typedef Weir__V1__ListCollectionsRequest list_request;
typedef Weir__V1__ListCollectionsResponse list_response;

static weir_code
view(gateway_look *look, const collection_record *record, Weir__V1__Collection **ret_view,
    weir_error *reterr)
{
    counters_record counters;
    const weir_code code = gateway_look_counters(look, record->collection_no, &counters, reterr);

    if (code == WEIR_OK)
        *ret_view = gateway_view_collection(look->arena, record, &counters);
    return code;
}

static weir_code
get_collection(gateway *self, weir_rpc_call *call, const get_request *request,
    get_response *response, weir_arena *arena, weir_error *reterr)
{
    collection_record *record = NULL;
    gateway_look look;
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&look, self->service->store, arena);
    code = gateway_look_collection(&look, gateway_tenant(call), request->collection_id, &record,
        reterr);
    if (code == WEIR_OK)
        code = view(&look, record, &response->collection, reterr);
    gateway_look_end(&look);
    return code;
}

GATEWAY_UNARY(get_collection, get_request, get_response, weir__v1__get_collection_response__init)

/* Fill the page from the iterator; one more key says that there is a next page. */
static weir_code
fill_page(gateway_look *look, weir_iter *iter, uint32_t page_size, weir_bytes scope,
    list_response *response, weir_error *reterr)
{
    weir_bytes last = { 0 };
    weir_code code = WEIR_OK;

    response->collections =
        weir_arena_alloc(look->arena, (page_size + 1) * sizeof *response->collections);
    while (code == WEIR_OK && weir_iter_next(iter)) {
        const weir_bytes key = weir_iter_key(iter);
        collection_record *record = NULL;

        if (response->n_collections == page_size) {
            response->next_page_token = gateway_page_next(look->arena, scope, last);
            return WEIR_OK;
        }
        last = weir_bytes_of(weir_arena_memdup(look->arena, key.data, key.size), key.size);
        code = gateway_look_decode(look, &weir__internal__v1__collection_record__descriptor,
            weir_iter_value(iter), &record, reterr);
        if (code == WEIR_OK)
            code = view(look, record, &response->collections[response->n_collections++], reterr);
    }
    return code != WEIR_OK ? code : weir_iter_status(iter, reterr);
}

static weir_code
list_collections(gateway *self, weir_rpc_call *call, const list_request *request,
    list_response *response, weir_arena *arena, weir_error *reterr)
{
    const weir_bytes scope = weir_bytes_str("ListCollections");
    weir_bytes after;
    uint32_t page_size = 0;
    gateway_look look;
    weir_code code = gateway_check_page_size(request->page_size, &page_size, reterr);

    if (code == WEIR_OK)
        code = gateway_page_begin(arena, request->page_token, scope, &after, reterr);
    if (code != WEIR_OK)
        return code;
    gateway_look_begin(&look, self->service->store, arena);
    weir_bytes lower = gateway_key_collections(&look.key, gateway_tenant(call));
    const weir_bytes upper = gateway_key_after(&look.end, lower);
    if (after.size > 0) { /* the first key behind it: its own with one more byte */
        weir_buffer_clear(&look.key);
        weir_buffer_append(&look.key, after.data, after.size);
        weir_buffer_append_u8(&look.key, 0);
        lower = weir_buffer_view(&look.key);
    }
    weir_iter *iter = weir_store_iter(look.store, look.snapshot, lower, upper);
    code = fill_page(&look, iter, page_size, scope, response, reterr);
    weir_iter_destroy(&iter);
    gateway_look_end(&look);
    return code;
}

GATEWAY_UNARY(list_collections, list_request, list_response,
    weir__v1__list_collections_response__init)
