/*
 * audit_count.c - see audit_count.h.
 */
#include "services/gateway/audit_count.h"

#include <inttypes.h>
#include <stdio.h>

#include "services/gateway/audit_rules.h"
#include "services/gateway/core_internal.h"

enum { REVISIONS_AT_ONCE = 5000, MESSAGE_BYTES = 400 };

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
    const weir_bytes lower = gateway_key_revisions(&count->look.key, collection_no);
    count->revisions = weir_store_iter(store, count->look.snapshot, lower,
        gateway_key_revisions(&count->look.end, collection_no + 1));
    return code;
}

void
gateway_audit_count_end(gateway_audit_count *count)
{
    weir_iter_destroy(&count->revisions);
    gateway_look_end(&count->look);
    weir_buffer_fini(&count->document_id);
    weir_arena_destroy(&count->scratch);
}

/* Revisions come in the order of their documents, the newest of each last. */
static void
end_document(gateway_audit_count *count)
{
    if (count->document_id.size > 0 && !count->is_newest_delete)
        count->counted.documents++;
}

static void
begin_document(gateway_audit_count *count, const char *document_id)
{
    if (count->document_id.size > 0 &&
        strcmp((const char *)count->document_id.data, document_id) == 0)
        return;
    end_document(count);
    weir_buffer_clear(&count->document_id);
    weir_buffer_append(&count->document_id, document_id, strlen(document_id) + 1);
}

static weir_code
add_revision(gateway_audit_count *count, weir_error *reterr)
{
    const weir_bytes key = weir_iter_key(count->revisions);
    revision_record *revision = NULL;

    weir_arena_reset(count->scratch);
    const weir_code code =
        gateway_look_decode(&count->look, &weir__internal__v1__revision_record__descriptor,
            weir_iter_value(count->revisions), &revision, reterr);
    if (code != WEIR_OK)
        return code;
    begin_document(count, (const char *)key.data + 1 + sizeof(uint64_t));
    count->is_newest_delete = revision->is_delete;
    gateway_count_revision(&count->counted, revision);
    count->looked_at++;
    return WEIR_OK;
}

weir_code
gateway_audit_count_some(gateway_audit_count *count, bool *ret_over, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    *ret_over = false;
    for (uint32_t left = REVISIONS_AT_ONCE; left > 0 && code == WEIR_OK; left--) {
        if (!weir_iter_next(count->revisions)) {
            end_document(count);
            weir_buffer_clear(&count->document_id);
            *ret_over = true;
            return weir_iter_status(count->revisions, reterr);
        }
        code = add_revision(count, reterr);
    }
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
