/*
 * migrate.c - folders of schema 1: one record an entry, and every revision in a key of its own.
 *
 * Unready and backlog entries become pages of one entry in the first round of a start; their
 * numbers stay.  Changes become records of up to 256.  A revision moves into its document when the
 * core first looks at it (records.c), and reads know both places.  A crash before the first round
 * leaves schema 1's records, found again by the next start.
 */
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

enum { BACKLOG_TAG = 'B', UNREADY_TAG = 'U', CHANGE_TAG = 'W' };

typedef struct migration {
    gateway_core *core;
    weir_stage *stage;
    weir_arena *arena; /* of what is being made */
    struct gathered *page;
} migration;

typedef weir_code move_entry(migration *run, weir_bytes key, weir_bytes value, weir_error *reterr);

static weir_code
decode(migration *run, const ProtobufCMessageDescriptor *descriptor, weir_bytes key,
    weir_bytes value, ProtobufCMessage **ret_message, weir_error *reterr)
{
    const weir_code code =
        weir_wire_decode(descriptor, value, NULL, run->arena, ret_message, reterr);

    return code == WEIR_OK ? WEIR_OK
                           : weir_stage_damaged(run->stage, key, descriptor->short_name, reterr);
}

static weir_code
move_unready(migration *run, weir_bytes key, weir_bytes value, weir_error *reterr)
{
    Weir__Internal__V1__UnreadyPageRecord page = WEIR__INTERNAL__V1__UNREADY_PAGE_RECORD__INIT;
    ProtobufCMessage *message = NULL;
    const weir_code code =
        decode(run, &weir__internal__v1__unready_record__descriptor, key, value, &message, reterr);
    const Weir__Internal__V1__UnreadyRecord *entry =
        (const Weir__Internal__V1__UnreadyRecord *)message;

    if (code != WEIR_OK)
        return code;
    uint64_t size = entry->size_bytes + 1;
    page.collection_no = entry->collection_no;
    page.since_ms = entry->since_ms;
    page.n_sizes = 1;
    page.sizes = &size;
    weir_stage_put(run->stage, gateway_key_unready(&run->core->key, weir_load_u64(key.data + 1)),
        &page.base);
    weir_arena_reset(run->arena);
    return WEIR_OK;
}

static weir_code
move_backlog(migration *run, weir_bytes key, weir_bytes value, weir_error *reterr)
{
    backlog_page page = WEIR__INTERNAL__V1__BACKLOG_PAGE_RECORD__INIT;
    ProtobufCMessage *message = NULL;
    const weir_code code =
        decode(run, &weir__internal__v1__backlog_record__descriptor, key, value, &message, reterr);
    backlog_entry *entry = (backlog_entry *)message;

    if (code != WEIR_OK)
        return code;
    page.n_entries = 1;
    page.entries = &entry;
    weir_stage_put(run->stage,
        gateway_key_backlog(&run->core->key, key.data[1], (const char *)key.data + 2,
            weir_load_u64(key.data + key.size - 8)),
        &page.base);
    weir_arena_reset(run->arena);
    return WEIR_OK;
}

static weir_code
move_all(migration *run, uint8_t tag, move_entry *move, weir_error *reterr)
{
    const uint8_t lower[] = { tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter = weir_store_iter(weir_stage_store(run->stage), NULL, weir_bytes_of(lower, 1),
        weir_bytes_of(upper, 1));
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && weir_iter_next(iter)) {
        code = move(run, weir_iter_key(iter), weir_iter_value(iter), reterr);
        weir_batch_delete(weir_stage_batch(run->stage), weir_iter_key(iter));
    }
    if (code == WEIR_OK)
        code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* ---- the change log ---- */

/* Consecutive changes, until they are a record. */
typedef struct gathered {
    change_record *changes[ENTRIES_PER_PAGE];
    size_t count;
    uint64_t first_no;
} gathered;

static void
put_gathered(migration *run, gathered *page)
{
    if (page->count > 0)
        gateway_put_changes_record(run->core, run->stage, page->first_no, page->changes,
            page->count);
    page->count = 0;
    weir_arena_reset(run->arena);
}

static weir_code
move_change(migration *run, weir_bytes key, weir_bytes value, weir_error *reterr)
{
    gathered *page = run->page;
    const uint64_t no = weir_load_u64(key.data + 1);
    ProtobufCMessage *message = NULL;

    if (page->count == ENTRIES_PER_PAGE || no != page->first_no + page->count)
        put_gathered(run, page);
    if (page->count == 0)
        page->first_no = no;
    const weir_code code =
        decode(run, &weir__internal__v1__change_record__descriptor, key, value, &message, reterr);
    page->changes[page->count] = (change_record *)message;
    page->count += code == WEIR_OK;
    return code;
}

weir_code
gateway_migrate(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    gathered page = { .count = 0 };
    migration run = { .core = core, .stage = stage, .arena = weir_arena_create(0), .page = &page };
    weir_code code = move_all(&run, UNREADY_TAG, move_unready, reterr);

    if (code == WEIR_OK)
        code = move_all(&run, BACKLOG_TAG, move_backlog, reterr);
    if (code == WEIR_OK)
        code = move_all(&run, CHANGE_TAG, move_change, reterr);
    if (code == WEIR_OK)
        put_gathered(&run, &page);
    weir_arena_destroy(&run.arena);
    if (core->suite.next_unready_no == 0) { /* schema 1 numbered them as the changes */
        core->suite.next_unready_no = core->suite.next_change_no;
        core->suite_changed = true;
    }
    return code;
}
