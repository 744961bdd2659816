/*
 * ended.c - what a person decides about dead letters: a new epoch (requeue), or the end of the
 * revision (discard).
 *
 * A dead letter stands for one epoch that was given up, and FAILED and it go together.  So a
 * requeue is the one way to a new epoch, compared with the epoch that the dead letter names; and a
 * discard cannot leave the revision FAILED.  It makes it SUPERSEDED where another revision of the
 * document is not over, which keeps its place; otherwise it deletes the document, by a tombstone
 * like any other delete.  The indexer's promise never to make the epoch READY stands either way.
 *
 * The items of a command are one round; an item that has nothing to be done about gets an answer of
 * its own and stops no other.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/base/failpoint.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "services/gateway/core_internal.h"

typedef Weir__Internal__V1__EndedCommand ended_command;
typedef Weir__Internal__V1__EndedItem ended_item;
typedef Weir__Internal__V1__EndedAnswer ended_answer;
typedef Weir__Internal__V1__EndedResult ended_result;
typedef Weir__Internal__V1__RequestRecord request_record;

enum { DERIVED_BYTES = 16 };

/* One item in hand. */
typedef struct deciding {
    gateway_core *core;
    weir_stage *stage;
    const weir_request *request;
    const ended_command *command;
    const ended_item *item;
    gateway_method method;
    revision_id id;
    document_record *document;
    revision_record *revision; /* FAILED, of the item's epoch */
    ended_result *result;
} deciding;

/* ---- answers ---- */

static WEIR_PRINTF(3, 4) void refuse(deciding *self, weir_code code, const char *format, ...)
{
    char message[sizeof((weir_error *)NULL)->message];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    self->result->code = (uint32_t)code;
    self->result->message = weir_arena_strdup(weir_stage_arena(self->stage), message);
}

static void
refuse_as_gone(deciding *self)
{
    refuse(self, WEIR_DEAD_LETTER_NOT_FOUND,
        "there is no such dead letter; it may have been requeued, replaced, discarded or deleted");
}

/* ---- idempotency ---- */

/* The request_id of one item, made from that of the call. */
static const char *
derived_request_id(const deciding *self)
{
    weir_arena *arena = weir_stage_arena(self->stage);
    char *hex = weir_arena_alloc(arena, 2 * DERIVED_BYTES + 1);
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(weir_arena_printf(arena,
        "%s\n%" PRIu64 "\n%" PRId64 "\n%" PRId64 "\n%s", self->command->request_id,
        self->item->collection_no, self->item->revision, self->item->epoch,
        self->item->document_id)));

    weir_hex_encode(weir_bytes_of(sum.bytes, DERIVED_BYTES), hex);
    return hex;
}

static weir_code
was_done(deciding *self, bool *ret_done, weir_error *reterr)
{
    request_record *seen = NULL;

    *ret_done = false;
    if (self->command->request_id[0] == 0)
        return WEIR_OK;
    const weir_code code = weir_stage_get(self->stage,
        gateway_key_request(&self->core->key, self->request->tenant, self->method,
            derived_request_id(self)),
        &weir__internal__v1__request_record__descriptor, &seen, reterr);
    *ret_done = code == WEIR_OK && seen != NULL;
    return code;
}

static void
remember(deciding *self)
{
    request_record record = WEIR__INTERNAL__V1__REQUEST_RECORD__INIT;

    if (self->command->request_id[0] == 0)
        return;
    record.document_id = (char *)(uintptr_t)self->id.document_id;
    record.revision = self->id.revision;
    record.collection_no = self->item->collection_no;
    weir_stage_put(self->stage,
        gateway_key_request(&self->core->key, self->request->tenant, self->method,
            derived_request_id(self)),
        &record.base);
}

/* ---- which one ---- */

/* Its collection is the tenant's: otherwise it is like one that never was. */
static bool
find_collection(deciding *self)
{
    self->id.collection = gateway_find_collection_no(self->core, self->item->collection_no);
    self->id.document_id = self->item->document_id;
    self->id.revision = self->item->revision;
    if (self->id.collection == NULL ||
        strcmp(self->id.collection->record->tenant, self->request->tenant) != 0)
        return false;
    self->result->collection_id = self->id.collection->record->collection_id;
    return true;
}

static weir_code
load(deciding *self, weir_error *reterr)
{
    const weir_code code =
        gateway_get_both(self->core, self->stage, &self->id, &self->revision, reterr);

    self->document = self->id.document;
    return code;
}

static bool
is_given_up(const deciding *self)
{
    return self->document != NULL && self->revision != NULL &&
        self->revision->state == DOCUMENT_STATE(FAILED) &&
        self->revision->epoch == self->item->epoch;
}

/* ---- requeue ---- */

static weir_code
requeue(deciding *self, weir_error *reterr)
{
    if (self->id.revision < self->document->newest_revision) {
        refuse(self, WEIR_STATE_NOT_RETRYABLE,
            "revision %lld is not the newest (%lld), and only that can be tried again; discard it",
            (long long)self->id.revision, (long long)self->document->newest_revision);
        return WEIR_OK;
    }
    self->result->epoch = self->item->epoch + 1;
    self->result->state = DOCUMENT_STATE(PENDING);
    if (self->command->dry_run)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.requeue.before", reterr);
    remember(self);
    return gateway_raise(self->core, self->stage, &self->id, self->revision, GATEWAY_LANE_NEW,
        reterr);
}

/* ---- discard ---- */

static bool
holds_a_place(const revision_record *revision)
{
    return !revision->is_delete &&
        (revision->state == DOCUMENT_STATE(PENDING) ||
            revision->state == DOCUMENT_STATE(PROCESSING) ||
            revision->state == DOCUMENT_STATE(READY) || revision->state == DOCUMENT_STATE(FAILED));
}

/* *ret_other: another revision of the document is not over. */
static weir_code
find_other(deciding *self, bool *ret_other, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_other = false;
    for (int64_t other = self->document->newest_revision;
        other >= self->document->oldest_revision && code == WEIR_OK && !*ret_other; other--) {
        revision_id id = self->id;
        revision_record *revision = NULL;

        if (other == self->id.revision)
            continue;
        id.revision = other;
        code = gateway_get_revision_of(self->core, self->stage, &id, &revision, reterr);
        *ret_other = code == WEIR_OK && revision != NULL && holds_a_place(revision);
    }
    return code;
}

static weir_code
end_revision(deciding *self, uint32_t state, weir_error *reterr)
{
    const Weir__Internal__V1__LifecycleKind kind =
        state == DOCUMENT_STATE(DELETED) ? LIFECYCLE(DELETED) : LIFECYCLE(SUPERSEDED);

    if (state == DOCUMENT_STATE(DELETED))
        self->revision->delete_time_ms = weir_stage_now_ms(self->stage);
    const weir_code code =
        gateway_set_state(self->core, self->stage, &self->id, self->revision, state, reterr);
    gateway_tell_why(self->stage, &self->id, self->revision, kind,
        WEIR__INTERNAL__V1__LIFECYCLE_CAUSE__LIFECYCLE_CAUSE_DISCARD);
    return code;
}

static weir_code
discard(deciding *self, weir_error *reterr)
{
    bool has_other = false;
    weir_code code = find_other(self, &has_other, reterr);

    if (code != WEIR_OK)
        return code;
    self->result->epoch = self->item->epoch;
    self->result->state = has_other ? DOCUMENT_STATE(SUPERSEDED) : DOCUMENT_STATE(DELETED);
    if (self->command->dry_run)
        return WEIR_OK;
    WEIR_FP_RETURN("gateway.discard.before", reterr);
    remember(self);
    code = end_revision(self, self->result->state, reterr);
    if (code != WEIR_OK || has_other)
        return code;
    WEIR_FP_RETURN("gateway.discard.ended", reterr);
    revision_id tombstone = self->id;
    tombstone.revision = self->document->newest_revision + 1;
    return gateway_delete_all(self->core, self->stage, &tombstone, self->document, reterr);
}

/* ---- commands ---- */

static weir_code
decide(deciding *self, weir_error *reterr)
{
    bool done = false;

    if (!find_collection(self)) {
        refuse_as_gone(self);
        return WEIR_OK;
    }
    weir_code code = was_done(self, &done, reterr);
    if (code == WEIR_OK)
        code = load(self, reterr);
    if (code != WEIR_OK)
        return code;
    if (done && self->revision != NULL) {
        self->result->epoch =
            self->method == GATEWAY_METHOD_REQUEUE ? self->item->epoch + 1 : self->item->epoch;
        self->result->state = self->revision->state;
        return WEIR_OK;
    }
    if (!is_given_up(self)) {
        refuse_as_gone(self);
        return WEIR_OK;
    }
    return self->method == GATEWAY_METHOD_REQUEUE ? requeue(self, reterr) : discard(self, reterr);
}

static weir_code
decide_all(gateway_core *core, weir_stage *stage, const weir_request *request,
    gateway_method method, weir_error *reterr)
{
    const ended_command *command = (const ended_command *)request->message;
    weir_arena *arena = weir_stage_arena(stage);
    ended_answer *answer = weir_arena_alloc(arena, sizeof *answer);
    weir_code code = WEIR_OK;

    weir__internal__v1__ended_answer__init(answer);
    answer->results = weir_arena_alloc(arena, (command->n_items + 1) * sizeof answer->results[0]);
    for (size_t i = 0; i < command->n_items && code == WEIR_OK; i++) {
        deciding item = { .core = core,
            .stage = stage,
            .request = request,
            .command = command,
            .item = command->items[i],
            .method = method,
            .result = weir_arena_alloc(arena, sizeof *item.result) };

        weir__internal__v1__ended_result__init(item.result);
        answer->results[answer->n_results++] = item.result;
        code = decide(&item, reterr);
    }
    WEIR_FP_RETURN("gateway.ended.after", reterr);
    if (code == WEIR_OK)
        weir_stage_reply(stage, request->reply_to, &answer->base);
    return code;
}

weir_code
gateway_on_requeue(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    return decide_all(core, stage, request, GATEWAY_METHOD_REQUEUE, reterr);
}

weir_code
gateway_on_discard(gateway_core *core, weir_stage *stage, const weir_request *request,
    weir_error *reterr)
{
    return decide_all(core, stage, request, GATEWAY_METHOD_DISCARD, reterr);
}
