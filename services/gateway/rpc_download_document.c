/*
 * rpc_download_document.c - DownloadDocument: the bytes of a revision as they came.
 *
 * They are read once and checked against the SHA-256 that was accepted, before the first of them
 * leaves: a reader gets those bytes or an error, never others.  They are sent as fast as the reader
 * takes them.
 */
#include "common/base/hash.h"
#include "services/gateway/check.h"
#include "services/gateway/keys.h"
#include "services/gateway/parts.h"
#include "services/gateway/reads.h"

typedef Weir__V1__DownloadDocumentRequest download_request;
typedef Weir__V1__DownloadDocumentResponse download_response;

enum { PART_BYTES_MAX = 256 << 10 };

static weir_rpc_sent
send_part(weir_rpc_call *call, weir_bytes data)
{
    download_response part = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__INIT;

    part.part_case = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_DATA;
    part.data.data = (uint8_t *)(uintptr_t)data.data;
    part.data.len = data.size;
    return weir_rpc_send(call, &part.base);
}

/* False: not now; an event goes on. */
static bool
send_header(weir_rpc_call *call, const gateway_found *found)
{
    Weir__V1__DownloadDocumentHeader header = WEIR__V1__DOWNLOAD_DOCUMENT_HEADER__INIT;
    download_response part = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__INIT;

    header.document = gateway_found_view(weir_rpc_call_arena(call), found);
    header.media_type = header.document->media_type;
    header.size_bytes = header.document->size_bytes;
    part.part_case = WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_HEADER;
    part.header = &header;
    return weir_rpc_send(call, &part.base) != WEIR_RPC_FULL;
}

static weir_code
check(const download_request *request, weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    if (code == WEIR_OK)
        code = gateway_check_revision(request->revision, reterr);
    if (code != WEIR_OK)
        return code;
    if (request->content == WEIR__V1__DOCUMENT_CONTENT__DOCUMENT_CONTENT_NORMALIZED_TEXT)
        return weir_error_set_field(reterr, WEIR_UNIMPLEMENTED, "content",
            "normalized text is not kept; leave content out for the source, or read what was cut "
            "from the text with ListChunks");
    if (request->content > WEIR__V1__DOCUMENT_CONTENT__DOCUMENT_CONTENT_NORMALIZED_TEXT)
        return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, "content",
            "content is no value of DocumentContent");
    return WEIR_OK;
}

/* The revision that is meant; 0: the newest that is not a delete. */
static weir_code
find(gateway_look *look, weir_rpc_call *call, const download_request *request,
    gateway_found *ret_found, weir_error *reterr)
{
    weir_code code = gateway_look_find(look, gateway_tenant(call), request->collection_id,
        request->document_id, request->revision, ret_found, reterr);

    if (code == WEIR_OK && ret_found->revision->is_delete && request->revision == 0 &&
        ret_found->number > 1)
        code = gateway_look_find(look, gateway_tenant(call), request->collection_id,
            request->document_id, ret_found->number - 1, ret_found, reterr);
    return code;
}

static weir_code
read_body(gateway_look *look, const gateway_found *found, weir_buffer *body, weir_error *reterr)
{
    const ProtobufCBinaryData *accepted = &found->revision->content_sha256;
    bool is_kept = false;
    const weir_code code = weir_store_get(look->store, look->snapshot,
        gateway_key_source(&look->key, found->collection->collection_no, found->document_id,
            found->number),
        body, &is_kept, reterr);

    if (code != WEIR_OK)
        return code;
    if (!is_kept)
        return weir_error_set_field(reterr, WEIR_DOCUMENT_NOT_FOUND, "revision",
            "the source of revision %lld is not kept any more: it was superseded or deleted",
            (long long)found->number);
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(body));
    if (!weir_bytes_equal(weir_bytes_of(sum.bytes, sizeof sum.bytes),
            weir_bytes_of(accepted->data, accepted->len)))
        return weir_error_set(reterr, WEIR_CORRUPT,
            "the stored source of revision %lld has not the SHA-256 that was accepted; restore the "
            "gateway's data from a backup",
            (long long)found->number);
    return WEIR_OK;
}

static void
download_document(gateway *self, weir_rpc_call *call, const download_request *request)
{
    weir_buffer *body = NULL;
    gateway_found found;
    gateway_look look;
    weir_error error = { .code = WEIR_OK };
    weir_code code = check(request, &error);

    gateway_parts_begin(call, PART_BYTES_MAX, send_part, &body);
    if (code == WEIR_OK) {
        gateway_look_begin(&look, self->service->store, weir_rpc_call_arena(call));
        code = find(&look, call, request, &found, &error);
        if (code == WEIR_OK)
            code = read_body(&look, &found, body, &error);
        gateway_look_end(&look);
    }
    if (code != WEIR_OK) {
        weir_rpc_fail(call, &error);
        return;
    }
    if (send_header(call, &found))
        gateway_parts_send(call);
}

GATEWAY_REQUEST(download_document, download_request)
