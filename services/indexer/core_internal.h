/*
 * core_internal.h - what the files of the indexer's core share.
 */
#ifndef WEIR_INDEXER_CORE_INTERNAL_H
#define WEIR_INDEXER_CORE_INTERNAL_H

#include <sys/queue.h>

#include "services/indexer/collections.h"
#include "services/indexer/core.h"
#include "services/indexer/keys.h"
#include "services/indexer/readers.h"
#include "services/indexer/register.h"

typedef Weir__Internal__V1__Row indexer_row;

/* A try whose chunks nobody may see again.  It walks through three lists: retiring (in this round,
 * not synced yet), clearing (its keys are being deleted), leaving (its rows leave the index once no
 * reader needs them). */
typedef struct indexer_litter {
    STAILQ_ENTRY(indexer_litter) link;
    indexer_collection *collection;
    indexer_try owner;     /* document_id points at `text` */
    uint64_t commit;       /* that retired it */
    bool texts_are_gone;   /* its 'K' are deleted; now its 'V' */
    uint32_t next_ordinal; /* keys below are deleted */
    char text[];
} indexer_litter;
typedef STAILQ_HEAD(indexer_litter_list, indexer_litter) indexer_litter_list;

/* A revoke that came before the gate opened: its row is not settled yet. */
typedef struct indexer_waiting {
    STAILQ_ENTRY(indexer_waiting) link;
    uint64_t seq;
    indexer_row *row; /* in `arena` */
    weir_arena *arena;
} indexer_waiting;

/* A complete epoch that could not be decided yet. */
typedef struct indexer_pending {
    STAILQ_ENTRY(indexer_pending) link;
    indexer_collection *collection;
    indexer_try owner;
    char text[];
} indexer_pending;

struct indexer_core {
    weir_store *store;
    indexer_options options;
    indexer_collections collections;
    indexer_readers readers;
    bool gate_is_open;                     /* atomic: as committed */
    uint64_t seeded_era;                   /* atomic: as committed */
    uint64_t retired_total, cleared_total; /* atomic: tries whose chunks became litter; whose last
                                              key is gone */

    /* the core's thread only */
    bool may_decide;         /* the gate, as this round sees it */
    uint64_t new_seeded_era; /* the same for seeded_era */
    indexer_litter_list retiring, clearing, leaving;
    STAILQ_HEAD(, indexer_waiting) waiting;
    STAILQ_HEAD(, indexer_pending) pending;
    uint64_t waiting_count, pending_count;
    uint64_t cleared_now; /* in this round */
    bool needs_cleaning;  /* some collection does */
    uint64_t row_bytes;   /* smoothed size of a vectors row */
    uint32_t credit;
};

/* One document's register, as this round sees it. */
typedef struct indexer_document {
    indexer_collection *collection;
    const char *document_id;
    indexer_register *record; /* in the round's arena */
    bool was_lost;            /* before this round's change */
} indexer_document;

/* core.c */
weir_code indexer_document_load(weir_stage *stage, indexer_collection *collection,
    const char *document_id, indexer_document *ret_document, weir_error *reterr) WEIR_MUST_CHECK;
void indexer_document_save(weir_stage *stage, indexer_document *document);
/* The row's collection, made if it is new; *ret_collection NULL if it is another tenant's. */
weir_code indexer_obtain_collection(indexer_core *core, weir_stage *stage, const indexer_row *row,
    indexer_collection **ret_collection, weir_error *reterr) WEIR_MUST_CHECK;
void indexer_put_collection(weir_stage *stage, const indexer_collection *collection);
/* Tell the gateway which revision is READY (again). */
weir_code indexer_send_ready(weir_stage *stage, const indexer_document *document,
    weir_error *reterr) WEIR_MUST_CHECK;

/* core_vectors.c */
weir_code indexer_take_vectors(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Decide up to *budget pending epochs. */
weir_code indexer_decide_pending(indexer_core *core, weir_stage *stage, uint32_t *budget,
    weir_error *reterr) WEIR_MUST_CHECK;
void indexer_push_pending(indexer_core *core, indexer_collection *collection,
    const indexer_try *owner);

/* core_control.c */
weir_code indexer_take_delete(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code indexer_take_seed(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
void indexer_take_gate(indexer_core *core, weir_stage *stage, const indexer_row *row);
/* Settles the row, now or once the gate is open. */
weir_code indexer_take_revoke(indexer_core *core, weir_stage *stage, uint64_t seq,
    const indexer_row *row, weir_bytes packed, weir_error *reterr) WEIR_MUST_CHECK;
/* Answer up to *budget revokes that waited. */
weir_code indexer_answer_waiting(indexer_core *core, weir_stage *stage, uint32_t *budget,
    weir_error *reterr) WEIR_MUST_CHECK;

/* core_audit.c */
weir_code indexer_take_audit(indexer_core *core, weir_stage *stage, const indexer_row *row,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The document's READY revision is damaged. */
weir_code indexer_lose(indexer_core *core, weir_stage *stage, indexer_document *document,
    const char *why) WEIR_MUST_CHECK;
/* A staged try of the document is damaged: never READY. */
void indexer_drop_staged(indexer_core *core, weir_stage *stage, indexer_document *document,
    const indexer_staged *staged, const char *why);

/* reads.c */
void indexer_fill_register(const indexer_register *record,
    Weir__Internal__V1__GetIndexedDocumentResponse *response, weir_arena *arena);

/* core_clear.c */
/* These tries of the document left its register in this round. */
void indexer_retire(indexer_core *core, const indexer_document *document, const indexer_left *left);
/* Chunks without a register entry, found at the start. */
void indexer_push_litter(indexer_core *core, indexer_collection *collection,
    const indexer_try *owner);
/* Delete every key of a try in this round. */
weir_code indexer_erase_try(indexer_core *core, weir_stage *stage, uint64_t collection_no,
    const indexer_try *owner, weir_error *reterr) WEIR_MUST_CHECK;
/* One round's share of clearing and cleaning. */
weir_code indexer_clear_some(indexer_core *core, weir_stage *stage,
    weir_error *reterr) WEIR_MUST_CHECK;
void indexer_clear_committed(indexer_core *core);
void indexer_clear_forget(indexer_core *core);

/* core_start.c */
weir_code indexer_load(indexer_core *core, weir_stage *stage, weir_error *reterr) WEIR_MUST_CHECK;

#endif
