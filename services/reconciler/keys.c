/*
 * keys.c - see keys.h.
 */
#include "services/reconciler/keys.h"

#include "common/base/assert.h"

static weir_bytes
document_key(weir_buffer *key, char tag, uint64_t collection_no, const char *document_id,
    uint64_t number)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, (uint8_t)tag);
    weir_buffer_append_u64(key, collection_no);
    weir_buffer_append(key, document_id, strlen(document_id) + 1);
    weir_buffer_append_u64(key, number);
    return weir_buffer_view(key);
}

static weir_bytes
single_key(weir_buffer *key, char tag)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, (uint8_t)tag);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_ending(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    return document_key(key, 'E', collection_no, document_id, (uint64_t)revision);
}

weir_bytes
reconciler_key_event(weir_buffer *key, uint64_t collection_no, const char *document_id,
    uint64_t number)
{
    return document_key(key, 'J', collection_no, document_id, number);
}

weir_bytes
reconciler_key_unfinished(weir_buffer *key, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    return document_key(key, 'U', collection_no, document_id, (uint64_t)revision);
}

weir_bytes
reconciler_key_dead_letters(weir_buffer *key, const char *tenant, uint64_t collection_no)
{
    single_key(key, 'L');
    if (tenant != NULL)
        weir_buffer_append(key, tenant, strlen(tenant) + 1);
    if (collection_no != 0)
        weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_dead_letter(weir_buffer *key, const char *tenant, uint64_t collection_no,
    const char *document_id, int64_t revision)
{
    weir_assert(collection_no != 0);
    reconciler_key_dead_letters(key, tenant, collection_no);
    weir_buffer_append(key, document_id, strlen(document_id) + 1);
    weir_buffer_append_u64(key, (uint64_t)revision);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_orders(weir_buffer *key, const char *tenant)
{
    single_key(key, 'T');
    weir_buffer_append(key, tenant, strlen(tenant) + 1);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_order(weir_buffer *key, const char *tenant, int64_t failed_ms,
    uint64_t collection_no, const char *document_id, int64_t revision)
{
    reconciler_key_orders(key, tenant);
    weir_buffer_append_u64(key, ~(uint64_t)failed_ms);
    weir_buffer_append_u64(key, collection_no);
    weir_buffer_append(key, document_id, strlen(document_id) + 1);
    weir_buffer_append_u64(key, (uint64_t)revision);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_order_is_whole(weir_buffer *key)
{
    return single_key(key, 'I');
}

weir_bytes
reconciler_key_number(weir_buffer *key)
{
    return single_key(key, 'N');
}

weir_bytes
reconciler_key_seeds(weir_buffer *key)
{
    return single_key(key, 'S');
}

/* From collection_no on: u64, document_id NUL, u64. */
static bool
parse_tail(const uint8_t *at, const uint8_t *end, reconciler_id *ret_id)
{
    if (end - at < 8 + 1 + 8 || end[-9] != 0)
        return false;
    if (memchr(at + 8, 0, (size_t)(end - at - 8)) != end - 9)
        return false;
    ret_id->collection_no = weir_load_u64(at);
    ret_id->document_id = (const char *)at + 8;
    ret_id->revision = (int64_t)weir_load_u64(end - 8);
    return true;
}

bool
reconciler_parse_dead_letter(weir_bytes key, reconciler_id *ret_id)
{
    const uint8_t *tenant_end = key.size > 1 ? memchr(key.data + 1, 0, key.size - 1) : NULL;

    if (tenant_end == NULL || key.data[0] != 'L')
        return false;
    ret_id->tenant = (const char *)key.data + 1;
    return parse_tail(tenant_end + 1, key.data + key.size, ret_id);
}

bool
reconciler_parse_order(weir_bytes key, reconciler_id *ret_id)
{
    const uint8_t *end = key.data + key.size;
    const uint8_t *tenant_end = key.size > 1 ? memchr(key.data + 1, 0, key.size - 1) : NULL;

    if (tenant_end == NULL || key.data[0] != 'T' || end - tenant_end < 1 + 8)
        return false;
    ret_id->tenant = (const char *)key.data + 1;
    return parse_tail(tenant_end + 1 + 8, end, ret_id);
}

bool
reconciler_parse_revision(weir_bytes key, char tag, reconciler_id *ret_id)
{
    if (key.size < 1 || key.data[0] != (uint8_t)tag)
        return false;
    ret_id->tenant = NULL;
    return parse_tail(key.data + 1, key.data + key.size, ret_id);
}

weir_bytes
reconciler_key_after(weir_buffer *key, weir_bytes prefix)
{
    weir_buffer_clear(key);
    weir_buffer_append(key, prefix.data, prefix.size);
    while (key->size > 0 && key->data[key->size - 1] == UINT8_MAX)
        key->size--;
    weir_assert(key->size > 0);
    key->data[key->size - 1]++;
    return weir_buffer_view(key);
}
