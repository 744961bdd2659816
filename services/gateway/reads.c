/*
 * reads.c - see reads.h.
 */
#include "services/gateway/reads.h"

#include "common/wire/wire.h"
#include "services/gateway/keys.h"

void
gateway_look_begin(gateway_look *look, weir_store *store, weir_arena *arena)
{
    *look = (gateway_look){ .store = store,
        .snapshot = weir_store_snapshot_take(store),
        .arena = arena };
}

void
gateway_look_end(gateway_look *look)
{
    weir_store_snapshot_release(look->store, &look->snapshot);
    weir_buffer_fini(&look->key);
    weir_buffer_fini(&look->end);
    weir_buffer_fini(&look->value);
}

weir_code
gateway_look_decode(gateway_look *look, const ProtobufCMessageDescriptor *descriptor,
    weir_bytes bytes, void *ret_message, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    const weir_code code = weir_wire_decode(descriptor, bytes, NULL, look->arena, &message, reterr);

    if (code != WEIR_OK)
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored %s does not decode",
            descriptor->name);
    memcpy(ret_message, &message, sizeof message);
    return WEIR_OK;
}

static weir_code
get(gateway_look *look, weir_bytes key, const ProtobufCMessageDescriptor *descriptor,
    void *ret_message, weir_error *reterr)
{
    bool found = false;
    const weir_code code =
        weir_store_get(look->store, look->snapshot, key, &look->value, &found, reterr);

    memset(ret_message, 0, sizeof(void *));
    if (code != WEIR_OK || !found)
        return code;
    return gateway_look_decode(look, descriptor, weir_buffer_view(&look->value), ret_message,
        reterr);
}

weir_code
gateway_look_collection(gateway_look *look, const char *tenant, const char *collection_id,
    collection_record **ret_collection, weir_error *reterr)
{
    const weir_code code = get(look, gateway_key_collection(&look->key, tenant, collection_id),
        &weir__internal__v1__collection_record__descriptor, ret_collection, reterr);

    if (code != WEIR_OK || *ret_collection != NULL)
        return code;
    return weir_error_set_field(reterr, WEIR_COLLECTION_NOT_FOUND, "collection_id",
        "there is no collection \"%s\"", collection_id);
}

weir_code
gateway_look_document(gateway_look *look, uint64_t collection_no, const char *document_id,
    document_record **ret_document, weir_error *reterr)
{
    return get(look, gateway_key_document(&look->key, collection_no, document_id),
        &weir__internal__v1__document_record__descriptor, ret_document, reterr);
}

weir_code
gateway_look_revision(gateway_look *look, uint64_t collection_no, const char *document_id,
    int64_t revision, revision_record **ret_revision, weir_error *reterr)
{
    document_record *document = NULL;
    const weir_code code =
        gateway_look_document(look, collection_no, document_id, &document, reterr);

    *ret_revision = NULL;
    return code != WEIR_OK || document == NULL
        ? code
        : gateway_look_revision_of(look, collection_no, document_id, document, revision,
              ret_revision, reterr);
}

weir_code
gateway_look_revision_of(gateway_look *look, uint64_t collection_no, const char *document_id,
    const document_record *document, int64_t revision, revision_record **ret_revision,
    weir_error *reterr)
{
    if (revision == document->newest_revision && document->newest != NULL) {
        *ret_revision = document->newest;
        return WEIR_OK;
    }
    return get(look, gateway_key_revision(&look->key, collection_no, document_id, revision),
        &weir__internal__v1__revision_record__descriptor, ret_revision, reterr);
}

weir_code
gateway_look_backlog_position(gateway_look *look, uint8_t lane, const char *tenant,
    uint64_t *ret_next_no, weir_error *reterr)
{
    Weir__Internal__V1__BacklogPositionRecord *stored = NULL;
    const weir_code code = get(look, gateway_key_backlog_position(&look->key, lane, tenant),
        &weir__internal__v1__backlog_position_record__descriptor, &stored, reterr);

    *ret_next_no = stored != NULL ? stored->next_no : 0;
    return code;
}

weir_code
gateway_look_counters(gateway_look *look, uint64_t collection_no, counters_record *ret_counters,
    weir_error *reterr)
{
    counters_record *stored = NULL;
    const weir_code code = get(look, gateway_key_counters(&look->key, collection_no),
        &weir__internal__v1__counters_record__descriptor, &stored, reterr);

    weir__internal__v1__counters_record__init(ret_counters);
    if (code == WEIR_OK && stored != NULL)
        *ret_counters = *stored;
    return code;
}

weir_code
gateway_look_find(gateway_look *look, const char *tenant, const char *collection_id,
    const char *document_id, int64_t revision, gateway_found *ret_found, weir_error *reterr)
{
    gateway_found found = { .document_id = document_id, .number = revision };
    weir_code code =
        gateway_look_collection(look, tenant, collection_id, &found.collection, reterr);

    if (code == WEIR_OK)
        code = gateway_look_document(look, found.collection->collection_no, document_id,
            &found.document, reterr);
    if (code == WEIR_OK && found.document != NULL) {
        if (revision == 0)
            found.number = found.document->newest_revision;
        code = gateway_look_revision_of(look, found.collection->collection_no, document_id,
            found.document, found.number, &found.revision, reterr);
    }
    if (code != WEIR_OK)
        return code;
    if (found.document == NULL)
        return weir_error_set_field(reterr, WEIR_DOCUMENT_NOT_FOUND, "document_id",
            "there is no document \"%.128s\" in collection \"%s\"", document_id, collection_id);
    if (found.revision == NULL)
        return weir_error_set_field(reterr, WEIR_DOCUMENT_NOT_FOUND, "revision",
            "document \"%.128s\" has no revision %lld", document_id, (long long)revision);
    *ret_found = found;
    return WEIR_OK;
}

Weir__V1__Document *
gateway_found_view(weir_arena *arena, const gateway_found *found)
{
    return gateway_view_document(arena, found->collection, found->document, found->revision,
        found->document_id, found->number);
}
