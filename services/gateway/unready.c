/*
 * unready.c - the revisions that are PENDING or PROCESSING, in the order in which they became so.
 *
 * An entry is written and deleted in the batch that changes the state, so after any crash the
 * entries are the unready revisions.  They give the age of the oldest, the bytes under way, and
 * what a WaitCollection waits for.
 */
#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "services/gateway/core_internal.h"

typedef Weir__Internal__V1__UnreadyRecord unready_record;

void
gateway_unready_enter(gateway_core *core, weir_stage *stage, const revision_id *id,
    revision_record *revision)
{
    unready_record entry = WEIR__INTERNAL__V1__UNREADY_RECORD__INIT;

    entry.collection_no = id->collection->record->collection_no;
    entry.document_id = (char *)(uintptr_t)id->document_id;
    entry.revision = id->revision;
    entry.since_ms = weir_stage_now_ms(stage);
    entry.size_bytes = revision->size_bytes;
    revision->unready_no = revision->change_no;
    weir_stage_put(stage, gateway_key_unready(&core->key, revision->unready_no), &entry.base);
    if (core->load.documents++ == 0) {
        core->oldest_unready_no = revision->unready_no;
        core->load.oldest_since_ms = entry.since_ms;
        core->oldest_has_left = false;
    }
    core->load.bytes += revision->size_bytes;
}

void
gateway_unready_leave(gateway_core *core, weir_stage *stage, const revision_record *revision)
{
    /* Its entry was not counted if it was set aside, which a start makes good. */
    const uint64_t bytes =
        core->load.bytes < revision->size_bytes ? core->load.bytes : revision->size_bytes;

    weir_batch_delete(weir_stage_batch(stage),
        gateway_key_unready(&core->key, revision->unready_no));
    core->load.documents -= core->load.documents > 0;
    core->load.bytes -= bytes;
    if (revision->unready_no == core->oldest_unready_no)
        core->oldest_has_left = true;
}

/* ---- reading entries ---- */

typedef struct unready_reader {
    weir_stage *stage;
    weir_iter *iter;
    weir_arena *arena;
    uint64_t number;
    unready_record *entry;
} unready_reader;

/* Iterators and the arena are the caller's to destroy by reader_close. */
static void
reader_open(unready_reader *reader, gateway_core *core, weir_stage *stage, uint64_t from_no)
{
    const weir_bytes lower = gateway_key_unready(&core->key, from_no);
    const weir_bytes upper = gateway_key_unready_end(&core->range_end);

    *reader = (unready_reader){ .stage = stage,
        .iter = weir_batch_iter(weir_stage_batch(stage), lower, upper),
        .arena = weir_arena_create(0) };
}

/* *ret_more false: the end. */
static weir_code
reader_next(unready_reader *reader, bool *ret_more, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;

    *ret_more = weir_iter_next(reader->iter);
    if (!*ret_more)
        return weir_iter_status(reader->iter, reterr);
    weir_arena_reset(reader->arena);
    if (weir_wire_decode(&weir__internal__v1__unready_record__descriptor,
            weir_iter_value(reader->iter), NULL, reader->arena, &message, reterr) != WEIR_OK)
        return weir_stage_damaged(reader->stage, weir_iter_key(reader->iter), "UnreadyRecord",
            reterr);
    reader->number = weir_load_u64(weir_iter_key(reader->iter).data + 1);
    reader->entry = (unready_record *)message;
    return WEIR_OK;
}

static void
reader_close(unready_reader *reader)
{
    weir_iter_destroy(&reader->iter);
    weir_arena_destroy(&reader->arena);
}

weir_code
gateway_unready_refresh(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    unready_reader reader;
    bool more = false;

    if (!core->oldest_has_left)
        return WEIR_OK;
    core->oldest_has_left = false;
    core->load.oldest_since_ms = 0;
    if (core->load.documents == 0)
        return WEIR_OK;
    reader_open(&reader, core, stage, core->oldest_unready_no);
    const weir_code code = reader_next(&reader, &more, reterr);
    if (code == WEIR_OK && more) {
        core->oldest_unready_no = reader.number;
        core->load.oldest_since_ms = reader.entry->since_ms;
    }
    reader_close(&reader);
    weir_assert(code != WEIR_OK || more);
    return code;
}

weir_code
gateway_load_unready(gateway_core *core, weir_stage *stage, weir_error *reterr)
{
    unready_reader reader;
    weir_code code = WEIR_OK;
    bool more = true;

    reader_open(&reader, core, stage, 0);
    while (code == WEIR_OK && more) {
        code = reader_next(&reader, &more, reterr);
        if (code != WEIR_OK || !more)
            continue;
        if (core->load.documents++ == 0) {
            core->oldest_unready_no = reader.number;
            core->load.oldest_since_ms = reader.entry->since_ms;
        }
        core->load.bytes += reader.entry->size_bytes;
    }
    reader_close(&reader);
    return code;
}

weir_code
gateway_unready_before(gateway_core *core, weir_stage *stage, uint64_t collection_no,
    uint64_t *from_no, uint64_t until_no, bool *ret_any, weir_error *reterr)
{
    const uint64_t oldest = core->oldest_unready_no;
    unready_reader reader;
    weir_code code = WEIR_OK;
    bool more = true;

    *ret_any = false;
    if (core->load.documents == 0)
        return WEIR_OK;
    reader_open(&reader, core, stage, *from_no > oldest ? *from_no : oldest);
    while (code == WEIR_OK && more && !*ret_any) {
        code = reader_next(&reader, &more, reterr);
        if (code != WEIR_OK || !more || reader.number >= until_no)
            break;
        *from_no = reader.number;
        *ret_any = reader.entry->collection_no == collection_no;
    }
    reader_close(&reader);
    return code;
}
