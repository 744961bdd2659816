/*
 * audit_count.c - see audit_count.h.
 */
#include "services/gateway/audit_count.h"

#include <inttypes.h>
#include <stdio.h>

#include "services/gateway/audit_rules.h"
#include "services/gateway/core_internal.h"

enum { RECORDS_AT_ONCE = 5000, MESSAGE_BYTES = 400 };

weir_code
gateway_audit_count_begin(gateway_audit_count *count, weir_store *store, uint64_t collection_no,
    uint64_t recounts, weir_error *reterr)
{
    *count = (gateway_audit_count){ .collection_no = collection_no, .recounts = recounts };
    count->scratch = weir_arena_create(0);
    weir__internal__v1__counters_record__init(&count->counted);
    gateway_look_begin(&count->look, store, count->scratch);
    const weir_code code =
        gateway_look_counters(&count->look, collection_no, &count->stored, reterr);
    count->stored.base.n_unknown_fields = 0;
    count->stored.base.unknown_fields = NULL;
    count->revisions = weir_store_iter(store, count->look.snapshot,
        gateway_key_revisions(&count->look.key, collection_no),
        gateway_key_revisions(&count->look.end, collection_no + 1));
    count->documents = weir_store_iter(store, count->look.snapshot,
        gateway_key_documents(&count->look.key, collection_no),
        gateway_key_documents(&count->look.end, collection_no + 1));
    return code;
}

void
gateway_audit_count_end(gateway_audit_count *count)
{
    weir_iter_destroy(&count->revisions);
    weir_iter_destroy(&count->documents);
    gateway_look_end(&count->look);
    weir_arena_destroy(&count->scratch);
}

static void
add_revision(gateway_audit_count *count, const revision_record *revision)
{
    gateway_count_revision(&count->counted, revision);
    count->looked_at++;
}

/* A document counts unless its newest revision is a delete, which nothing lower outlives. */
static weir_code
add_document(gateway_audit_count *count, weir_error *reterr)
{
    document_record *document = NULL;
    const weir_code code =
        gateway_look_decode(&count->look, &weir__internal__v1__document_record__descriptor,
            weir_iter_value(count->documents), &document, reterr);

    if (code != WEIR_OK)
        return code;
    if (document->newest != NULL)
        add_revision(count, document->newest);
    count->counted.documents += document->newest_revision != document->deleted_below;
    return WEIR_OK;
}

static weir_code
add_older(gateway_audit_count *count, weir_error *reterr)
{
    revision_record *revision = NULL;
    const weir_code code =
        gateway_look_decode(&count->look, &weir__internal__v1__revision_record__descriptor,
            weir_iter_value(count->revisions), &revision, reterr);

    if (code == WEIR_OK)
        add_revision(count, revision);
    return code;
}

/* Revisions that have a key of their own first, then those inside their documents. */
static weir_code
add_next(gateway_audit_count *count, bool *ret_over, weir_error *reterr)
{
    weir_arena_reset(count->scratch);
    if (weir_iter_next(count->revisions))
        return add_older(count, reterr);
    const weir_code code = weir_iter_status(count->revisions, reterr);
    if (code != WEIR_OK)
        return code;
    if (weir_iter_next(count->documents))
        return add_document(count, reterr);
    *ret_over = true;
    return weir_iter_status(count->documents, reterr);
}

weir_code
gateway_audit_count_some(gateway_audit_count *count, bool *ret_over, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_over = false;
    for (uint32_t left = RECORDS_AT_ONCE; left > 0 && code == WEIR_OK && !*ret_over; left--)
        code = add_next(count, ret_over, reterr);
    return code;
}

/* ---- what differs ---- */

static char *
describe(const gateway_audit_count *count, weir_arena *arena)
{
    static const char *const names[GATEWAY_COUNTERS] = { "pending", "processing", "ready", "failed",
        "superseded", "deleted", "documents", "chunks", "accepted", "rebuilding" };
    char *message = weir_arena_alloc(arena, MESSAGE_BYTES);
    counters_record of_store = count->stored, of_scan = count->counted;
    size_t at = 0;

    for (size_t i = 0; i < GATEWAY_COUNTERS; i++) {
        const uint64_t stored = *gateway_counter(&of_store, i);
        const uint64_t counted = *gateway_counter(&of_scan, i);

        if (stored != counted && at < MESSAGE_BYTES)
            at += (size_t)snprintf(message + at, MESSAGE_BYTES - at,
                "%s%s %" PRIu64 " instead of %" PRIu64,
                at == 0 ? "the counters of the collection say " : ", ", names[i], stored, counted);
    }
    return at == 0 ? NULL : message;
}

Weir__Internal__V1__AuditCommand *
gateway_audit_count_finding(const gateway_audit_count *count, const char *tenant, uint64_t era,
    weir_arena *arena)
{
    char *message = describe(count, arena);
    Weir__Internal__V1__AuditCommand *command = weir_arena_alloc(arena, sizeof *command);

    if (message == NULL)
        return NULL;
    weir__internal__v1__audit_command__init(command);
    command->tenant = (char *)(uintptr_t)tenant;
    command->collection_no = count->collection_no;
    command->state = GATEWAY_AUDIT_COUNTERS;
    command->evidence = GATEWAY_AUDIT_SEES_OTHER_COUNT;
    command->era = era;
    command->message = message;
    command->recounts = count->recounts;
    command->stored = weir_arena_memdup(arena, &count->stored, sizeof count->stored);
    command->counted = weir_arena_memdup(arena, &count->counted, sizeof count->counted);
    return command;
}
