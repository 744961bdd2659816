/*
 * view.h - one read: a place among the readers, a snapshot, and records from it.
 *
 * Threads: a view belongs to the thread that began it.
 */
#ifndef WEIR_INDEXER_VIEW_H
#define WEIR_INDEXER_VIEW_H

#include "services/indexer/core_internal.h"

typedef struct indexer_view {
    indexer_core *core;
    indexer_reader reader;
    weir_snapshot *snapshot;
    weir_arena *arena;   /* of the call: what answers point at */
    weir_arena *scratch; /* of one register that is only looked at */
    weir_buffer value;
} indexer_view;

void indexer_view_begin(indexer_view *view, indexer_core *core, weir_arena *arena);
void indexer_view_end(indexer_view *view);

/* A record of the snapshot in `arena` (NULL: view->arena); *ret_message NULL when absent. */
weir_code indexer_view_get(indexer_view *view, const indexer_key *key,
    const ProtobufCMessageDescriptor *descriptor, weir_arena *arena, void *ret_message,
    weir_error *reterr) WEIR_MUST_CHECK;
/* A document's register, until the next call of this function; NULL when absent. */
weir_code indexer_view_register(indexer_view *view, uint64_t collection_no, const char *document_id,
    const indexer_register **ret_record, weir_error *reterr) WEIR_MUST_CHECK;
weir_code indexer_view_decode(weir_bytes value, const ProtobufCMessageDescriptor *descriptor,
    weir_arena *arena, void *ret_message, weir_error *reterr) WEIR_MUST_CHECK;

#endif
