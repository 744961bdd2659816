/*
 * keys.c - see keys.h.
 */
#include "services/reconciler/keys.h"

#include "common/base/assert.h"

static weir_bytes
document_key(weir_buffer *key, char tag, uint64_t collection_no, const char *document_id, uint64_t number)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, (uint8_t)tag);
    weir_buffer_append_u64(key, collection_no);
    weir_buffer_append(key, document_id, strlen(document_id) + 1);
    weir_buffer_append_u64(key, number);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_ending(weir_buffer *key, uint64_t collection_no, const char *document_id, int64_t revision)
{
    return document_key(key, 'E', collection_no, document_id, (uint64_t)revision);
}

weir_bytes
reconciler_key_event(weir_buffer *key, uint64_t collection_no, const char *document_id, uint64_t number)
{
    return document_key(key, 'J', collection_no, document_id, number);
}

weir_bytes
reconciler_key_unfinished(weir_buffer *key, uint64_t collection_no, const char *document_id, int64_t revision)
{
    return document_key(key, 'U', collection_no, document_id, (uint64_t)revision);
}

weir_bytes
reconciler_key_dead_letters(weir_buffer *key, const char *tenant, uint64_t collection_no)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, 'L');
    if (tenant != NULL)
        weir_buffer_append(key, tenant, strlen(tenant) + 1);
    if (collection_no != 0)
        weir_buffer_append_u64(key, collection_no);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_dead_letter(weir_buffer *key, const char *tenant, uint64_t collection_no, const char *document_id,
    int64_t revision)
{
    weir_assert(collection_no != 0);
    reconciler_key_dead_letters(key, tenant, collection_no);
    weir_buffer_append(key, document_id, strlen(document_id) + 1);
    weir_buffer_append_u64(key, (uint64_t)revision);
    return weir_buffer_view(key);
}

weir_bytes
reconciler_key_number(weir_buffer *key)
{
    weir_buffer_clear(key);
    weir_buffer_append_u8(key, 'N');
    return weir_buffer_view(key);
}

bool
reconciler_parse_dead_letter(weir_bytes key, reconciler_dead_letter_id *ret_id)
{
    const uint8_t *end = key.data + key.size;
    const uint8_t *tenant_end = key.size > 1 ? memchr(key.data + 1, 0, key.size - 1) : NULL;

    if (tenant_end == NULL || key.data[0] != 'L' || end - tenant_end < 1 + 8 + 1 + 8)
        return false;
    if (end[-9] != 0)
        return false;
    ret_id->tenant = (const char *)key.data + 1;
    ret_id->collection_no = weir_load_u64(tenant_end + 1);
    ret_id->document_id = (const char *)tenant_end + 9;
    ret_id->revision = (int64_t)weir_load_u64(end - 8);
    return true;
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
