/*
 * views.h - records of the gateway as the public messages that clients see; and tokens.
 *
 * Everything is built in the arena and borrows from the records.  Threads: pure.
 */
#ifndef WEIR_GATEWAY_VIEWS_H
#define WEIR_GATEWAY_VIEWS_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/wire/time.h"
#include "weir/internal/v1/record.pb-c.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__Internal__V1__CollectionRecord collection_record;
typedef Weir__Internal__V1__DocumentRecord document_record;
typedef Weir__Internal__V1__RevisionRecord revision_record;
typedef Weir__Internal__V1__CountersRecord counters_record;
typedef Weir__Internal__V1__Failure failure_record;

/* True for READY, FAILED, SUPERSEDED, DELETED. */
bool gateway_state_is_terminal(uint32_t state);

Weir__V1__Document *gateway_view_document(weir_arena *arena, const collection_record *collection,
    const document_record *document, const revision_record *revision, const char *document_id,
    int64_t number);
/* Of a revision that was handed over in the step that answers: no stage has begun, so it is shown
 * PENDING. */
void gateway_view_pending(Weir__V1__Document *view);
/* counters may be NULL. */
Weir__V1__Collection *gateway_view_collection(weir_arena *arena,
    const collection_record *collection, const counters_record *counters);
/* An inconsistency as a person sees it; `number` names it. */
Weir__V1__Inconsistency *gateway_view_inconsistency(weir_arena *arena, uint64_t number,
    const Weir__Internal__V1__InconsistencyRecord *record);
/* The number in an inconsistency_id; false for text that is none. */
bool gateway_parse_inconsistency_id(const char *text, uint64_t *ret_number);
/* Of a weir_code; 0: no class. */
Weir__V1__ErrorClass gateway_view_class(uint32_t code);
Weir__V1__FailureInfo *gateway_view_failure(weir_arena *arena, const failure_record *failure);

/* An opaque, checksummed token (page tokens, consistency tokens, resume tokens): lower-case hex. */
char *gateway_token_encode(weir_arena *arena, uint8_t kind, weir_bytes content);
/* The content, in the arena; false when it is foreign, damaged or of another kind. */
bool gateway_token_decode(weir_arena *arena, uint8_t kind, const char *token,
    weir_bytes *ret_content);
enum { GATEWAY_TOKEN_PAGE = 1, GATEWAY_TOKEN_CONSISTENCY = 2, GATEWAY_TOKEN_RESUME = 3 };

/* A write that a token names. */
typedef struct gateway_write {
    uint64_t collection_no;
    int64_t revision;
    const char *document_id;
} gateway_write;
char *gateway_consistency_encode(weir_arena *arena, const gateway_write *write);
bool gateway_consistency_decode(weir_arena *arena, const char *token, gateway_write *ret_write);

#endif
