/*
 * aside.c - records that do not decode, moved out of the way with their bytes and the reason.
 *
 * RocksDB's checksums find damage of the disk, and that stops the service.  What is left for here
 * is a record that was written wrong or by another program: one of them must not stop the pipeline
 * of all others, and must not be thrown away either.
 *
 * Memory of a core cannot be taken back, so a handler that meets such a record ends the process
 * like any other failure; but before, the record moves aside, and the start that follows within a
 * second is without it.  (A start that scans, and can do without the record, moves it in its own
 * round and goes on.)  The audit then finds the document that lacks it and drives it again.
 * Records of custody, which only the gateway has, cannot be made again and stay where they are:
 * what asks for them is refused (WEIR_CORRUPT) as long as its handler has done nothing yet, and all
 * others go on.
 *
 * Key: 'x', key of the record -> SetAsideRecord.  A row of a link that met a record of custody has
 * the key 'x', 'o', link u32, seq u64.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/stage/stage_internal.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__SetAsideRecord aside_record;

static const uint8_t aside_lower[] = { 'x' };
static const uint8_t aside_upper[] = { 'x' + 1 };

enum { KEY_SHOWN = 48 };

static weir_iter *
aside_iter(weir_store *store)
{
    return weir_store_iter(store, NULL, weir_bytes_of(aside_lower, sizeof aside_lower),
        weir_bytes_of(aside_upper, sizeof aside_upper));
}

weir_code
stage_aside_start(weir_stage *stage, weir_error *reterr)
{
    weir_iter *iter = aside_iter(stage->options.store);

    stage->aside_count = 0;
    while (weir_iter_next(iter))
        stage->aside_count++;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    return code;
}

/* Printable bytes of a key as they are, others as %XX. */
static const char *
key_text(weir_arena *arena, weir_bytes key)
{
    const size_t shown = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;
    char *text = weir_arena_alloc(arena, shown * 3 + 1);
    size_t at = 0;

    for (size_t i = 0; i < shown; i++)
        at += (size_t)snprintf(text + at, 4,
            key.data[i] > ' ' && key.data[i] < 0x7f ? "%c" : "%%%02X", key.data[i]);
    text[at] = '\0';
    return text;
}

static void
put_aside(weir_stage *stage, weir_bytes key, weir_bytes value, const char *why)
{
    aside_record record = WEIR__INTERNAL__V1__SET_ASIDE_RECORD__INIT;
    weir_buffer aside_key = { 0 };

    record.key = (ProtobufCBinaryData){ key.size, (uint8_t *)(uintptr_t)key.data };
    record.value = (ProtobufCBinaryData){ value.size, (uint8_t *)(uintptr_t)value.data };
    record.reason = (char *)(uintptr_t)why;
    record.time_ms = stage->now_ms;
    weir_buffer_append(&aside_key, aside_lower, sizeof aside_lower);
    weir_buffer_append(&aside_key, key.data, key.size);
    weir_log(WEIR_LOG_ERROR, "record.set_aside", WEIR_STR("key", key_text(stage->arena, key)),
        WEIR_INT("bytes", value.size), WEIR_STR("message", why));
    weir_stage_put(stage, weir_buffer_view(&aside_key), &record.base);
    weir_buffer_fini(&aside_key);
    stage->aside_count++;
}

/* ---- a record that does not decode ---- */

weir_code
weir_stage_damaged(weir_stage *stage, weir_bytes key, const char *what, weir_error *reterr)
{
    weir_buffer_clear(&stage->damaged);
    weir_buffer_append(&stage->damaged, key.data, key.size);
    return weir_error_set(reterr, WEIR_CORRUPT, "a stored %s does not decode, key %s", what,
        key_text(stage->arena, key));
}

static bool
is_custody(const weir_stage *stage)
{
    const char *custody = stage->options.ops->custody;

    return custody != NULL && stage->damaged.size > 0 && stage->damaged.data[0] != 0 &&
        strchr(custody, stage->damaged.data[0]) != NULL;
}

/* In a round that holds nothing else. */
static weir_code
move_aside(weir_stage *stage, const char *why, weir_error *reterr)
{
    weir_buffer value = { 0 };
    bool found = false;
    const weir_bytes key = weir_buffer_view(&stage->damaged);
    weir_code code = weir_store_get(stage->options.store, NULL, key, &value, &found, reterr);

    if (code == WEIR_OK && found) {
        put_aside(stage, key, weir_buffer_view(&value), why);
        weir_batch_delete(stage->batch, key);
        code = weir_store_commit(stage->options.store, stage->batch, true, reterr);
    }
    weir_buffer_fini(&value);
    return code;
}

bool
weir_stage_abandon(weir_stage *stage, const weir_error *why)
{
    weir_error error = { .code = WEIR_OK };

    if (why->code != WEIR_CORRUPT || stage->damaged.size == 0 || is_custody(stage))
        return false;
    if (stage->aside_count >= WEIR_STAGE_ASIDE_MAX) {
        weir_log(WEIR_LOG_ERROR, "database.damaged", WEIR_INT("set_aside", stage->aside_count),
            WEIR_STR("message", "too many records do not decode: see the runbook"));
        return false;
    }
    weir_batch_clear(stage->batch);
    if (move_aside(stage, why->message, &error) == WEIR_OK)
        return true;
    weir_log(WEIR_LOG_ERROR, "record.not_set_aside", WEIR_STR("message", error.message));
    return false;
}

weir_code
weir_stage_set_aside(weir_stage *stage, weir_bytes key, weir_bytes value, const char *why,
    weir_error *reterr)
{
    if (stage->aside_count >= WEIR_STAGE_ASIDE_MAX)
        return weir_error_set(reterr, WEIR_CORRUPT, "%s; %u records are set aside already", why,
            (unsigned)WEIR_STAGE_ASIDE_MAX);
    put_aside(stage, key, value, why);
    weir_batch_delete(stage->batch, key);
    return WEIR_OK;
}

/* ---- an event that met a record of custody ---- */

stage_mark
stage_aside_mark(const weir_stage *stage)
{
    return (stage_mark){ weir_batch_count(stage->batch), stage->reply_count };
}

bool
stage_aside_is_harmless(const weir_stage *stage, stage_mark mark, weir_code code)
{
    return code == WEIR_CORRUPT && is_custody(stage) &&
        weir_batch_count(stage->batch) == mark.writes && stage->reply_count == mark.replies;
}

weir_code
stage_aside_row(weir_stage *stage, uint32_t link, uint64_t seq, weir_bytes packed,
    const weir_error *why, weir_error *reterr)
{
    uint8_t key[13] = { 'o' };

    if (stage->aside_count >= WEIR_STAGE_ASIDE_MAX)
        return weir_error_set(reterr, WEIR_CORRUPT, "%s; %u records are set aside already",
            why->message, (unsigned)WEIR_STAGE_ASIDE_MAX);
    weir_store_u32(key + 1, link);
    weir_store_u64(key + 5, seq);
    put_aside(stage, weir_bytes_of(key, sizeof key), packed, why->message);
    weir_stage_settle(stage, weir_link_kind_of(link), seq);
    return WEIR_OK;
}
