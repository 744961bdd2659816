/*
 * view.c - enter, then snapshot: in this order, so that what the snapshot shows stays in the index
 * (readers.h).
 */
#include "services/indexer/view.h"

#include "common/wire/wire.h"

void
indexer_view_begin(indexer_view *view, indexer_core *core, weir_arena *arena)
{
    *view = (indexer_view){ .core = core, .arena = arena, .scratch = weir_arena_create(0) };
    indexer_readers_enter(&core->readers, &view->reader);
    view->snapshot = weir_store_snapshot_take(core->store);
}

void
indexer_view_end(indexer_view *view)
{
    weir_store_snapshot_release(view->core->store, &view->snapshot);
    indexer_readers_leave(&view->core->readers, &view->reader);
    weir_arena_destroy(&view->scratch);
    weir_buffer_fini(&view->value);
}

weir_code
indexer_view_decode(weir_bytes value, const ProtobufCMessageDescriptor *descriptor,
    weir_arena *arena, void *ret_message, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    if (weir_wire_decode(descriptor, value, NULL, arena, &message, reterr) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CORRUPT, "a stored %s does not decode",
            descriptor->name);
    memcpy(ret_message, &message, sizeof message);
    return WEIR_OK;
}

weir_code
indexer_view_get(indexer_view *view, const indexer_key *key,
    const ProtobufCMessageDescriptor *descriptor, weir_arena *arena, void *ret_message,
    weir_error *reterr)
{
    const void *none = NULL;
    bool found = false;
    const weir_code code = weir_store_get(view->core->store, view->snapshot, indexer_key_view(key),
        &view->value, &found, reterr);

    if (code != WEIR_OK)
        return code;
    memcpy(ret_message, &none, sizeof none);
    if (!found)
        return WEIR_OK;
    return indexer_view_decode(weir_buffer_view(&view->value), descriptor,
        arena != NULL ? arena : view->arena, ret_message, reterr);
}

weir_code
indexer_view_register(indexer_view *view, uint64_t collection_no, const char *document_id,
    const indexer_register **ret_record, weir_error *reterr)
{
    const indexer_key key = indexer_key_document(collection_no, document_id);

    weir_arena_reset(view->scratch);
    return indexer_view_get(view, &key, &weir__internal__v1__index_document_record__descriptor,
        view->scratch, ret_record, reterr);
}
