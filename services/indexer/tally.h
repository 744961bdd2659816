/*
 * tally.h - what stands of one document: its READY chunks counted as texts, sound vectors and rows
 * of the index, and the tries that its register does not name.
 *
 * Threads: a tally belongs to one; over a snapshot any number at once, over a round the core's.
 */
#ifndef WEIR_INDEXER_TALLY_H
#define WEIR_INDEXER_TALLY_H

#include "services/indexer/core_internal.h"

/* Where keys are read: of a snapshot, or of the round (batch not NULL). */
typedef struct indexer_source {
    weir_store *store;
    const weir_snapshot *snapshot;
    weir_batch *batch;
} indexer_source;

typedef struct indexer_tally {
    uint32_t wanted;     /* chunks of the READY revision; 0: none is READY */
    uint32_t texts;      /* 'K' of them that decode */
    uint32_t vectors;    /* of the ordinals 0, 1, ... without a gap, with a good checksum */
    uint32_t indexed;    /* of these, those that the index holds with these very bytes */
    uint32_t index_rows; /* rows of the try in the index */
    bool has_metadata;   /* that decodes */
    indexer_left strays; /* tries with chunks and no place in the register; in the arena */
} indexer_tally;

/* collection NULL: the store has keys of a collection that is not known.  record NULL: there is no
 * register, so every try is a stray. */
weir_code indexer_tally_document(const indexer_source *source, uint64_t collection_no,
    indexer_collection *collection, const char *document_id, const indexer_register *record,
    weir_arena *arena, indexer_tally *ret_tally, weir_error *reterr) WEIR_MUST_CHECK;

/* Nothing is READY, or all of it is there once. */
bool indexer_tally_is_whole(const indexer_tally *tally);
/* What disagrees, one sentence in the arena; "" for nothing. */
const char *indexer_tally_finding(const indexer_tally *tally, weir_arena *arena);

#endif
