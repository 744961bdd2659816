/*
 * keys.c - see keys.h.
 */
#include "services/gateway/keys.h"

#include "common/base/assert.h"

static void
start(weir_buffer *key, char tag)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, (uint8_t)tag);
}

static void
append_name(weir_buffer *key, const char *name)
{
    weir_buffer_append(key, name, strlen(name) + 1);
}

static weir_bytes
document_key(weir_buffer *key, char tag, uint64_t collection_no, const char *document_id)
{
    start(key, tag);
    weir_buffer_append_u64(key, collection_no);
    append_name(key, document_id);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_backlog(weir_buffer *key, uint8_t lane, const char *tenant, uint64_t number)
{
    start(key, 'P');
    weir_buffer_append_u8(key, lane);
    append_name(key, tenant);
    weir_buffer_append_u64(key, number);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_backlog_position(weir_buffer *key, uint8_t lane, const char *tenant)
{
    start(key, 'F');
    weir_buffer_append_u8(key, lane);
    append_name(key, tenant);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_collection(weir_buffer *key, const char *tenant, const char *collection_id)
{
    start(key, 'C');
    append_name(key, tenant);
    append_name(key, collection_id);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_collections(weir_buffer *key, const char *tenant)
{
    start(key, 'C');
    if (tenant != NULL)
        append_name(key, tenant);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_collection_name(weir_buffer *key, uint64_t collection_no)
{
    start(key, 'E');
    weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_document(weir_buffer *key, uint64_t collection_no, const char *document_id)
{
    return document_key(key, 'D', collection_no, document_id);
}

weir_bytes
gateway_key_documents(weir_buffer *key, uint64_t collection_no)
{
    start(key, 'D');
    weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_audit(weir_buffer *key)
{
    start(key, 'A');
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_inconsistency(weir_buffer *key, uint64_t number)
{
    start(key, 'I');
    weir_buffer_append_u64(key, number);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_inconsistency_end(weir_buffer *key)
{
    start(key, 'I' + 1);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_found(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision, uint8_t evidence)
{
    document_key(key, 'J', collection_no, document_id);
    weir_buffer_append_u64(key, (uint64_t)revision);
    weir_buffer_append_u8(key, evidence);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_suite(weir_buffer *key)
{
    start(key, 'G');
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_counters(weir_buffer *key, uint64_t collection_no)
{
    start(key, 'N');
    weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_request(weir_buffer *key, const char *tenant, gateway_method method,
    const char *request_id)
{
    start(key, 'Q');
    append_name(key, tenant);
    weir_buffer_append_u8(key, (uint8_t)method);
    weir_buffer_append(key, request_id, strlen(request_id));
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_revisions(weir_buffer *key, uint64_t collection_no)
{
    start(key, 'R');
    weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_revision(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    document_key(key, 'R', collection_no, document_id);
    weir_buffer_append_u64(key, (uint64_t)revision);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_source(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    document_key(key, 'S', collection_no, document_id);
    weir_buffer_append_u64(key, (uint64_t)revision);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_unready(weir_buffer *key, uint64_t unready_no)
{
    start(key, 'V');
    weir_buffer_append_u64(key, unready_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_unready_end(weir_buffer *key)
{
    start(key, 'V' + 1);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_change_end(weir_buffer *key)
{
    start(key, 'X' + 1);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_change(weir_buffer *key, uint64_t change_no)
{
    start(key, 'X');
    weir_buffer_append_u64(key, change_no);
    return weir_buffer_view(key);
}

weir_bytes
gateway_key_after(weir_buffer *key, weir_bytes prefix)
{
    weir_buffer_clear(key);
    weir_buffer_append(key, prefix.data, prefix.size);
    /* A byte of 255 has no successor: drop it and raise the one before. */
    while (key->size > 0 && key->data[key->size - 1] == UINT8_MAX)
        key->size--;
    weir_assert(key->size > 0);
    key->data[key->size - 1]++;
    return weir_buffer_view(key);
}

const char *
gateway_key_document_id(weir_bytes key)
{
    if (key.size < 11 || key.data[0] != 'D' || key.data[key.size - 1] != 0)
        return NULL;
    return (const char *)key.data + 9;
}
