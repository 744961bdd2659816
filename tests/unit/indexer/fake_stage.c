/*
 * fake_stage.c - see fake_stage.h.
 */
#include "tests/unit/indexer/fake_stage.h"

#include "common/base/assert.h"
#include "common/wire/wire.h"

weir_code
fake_stage_start(weir_store *store, const weir_core_ops *ops, void *core, uint64_t boot,
    uint64_t era, weir_stage **ret_stage, weir_error *reterr)
{
    weir_stage *stage = weir_alloc_zero(1, sizeof *stage);

    stage->ops = ops;
    stage->core = core;
    stage->store = store;
    stage->era = era;
    stage->now_ms = 1000000;
    stage->identity.boot_counter = boot;
    memset(stage->identity.boot_random, (int)boot, sizeof stage->identity.boot_random);
    stage->batch = weir_batch_create(store);
    stage->arena = weir_arena_create(0);
    stage->kept = weir_arena_create(0);
    *ret_stage = stage;
    const weir_code code = ops->start(core, stage, reterr);
    return code == WEIR_OK ? fake_stage_commit(stage, reterr) : code;
}

void
fake_stage_destroy(weir_stage **stage_p)
{
    weir_stage *stage = *stage_p;

    if (stage == NULL)
        return;
    weir_batch_destroy(&stage->batch);
    weir_arena_destroy(&stage->arena);
    weir_arena_destroy(&stage->kept);
    weir_buffer_fini(&stage->scratch);
    weir_free(stage);
    *stage_p = NULL;
}

weir_code
fake_stage_row(weir_stage *stage, weir_link_kind link, uint64_t seq,
    const Weir__Internal__V1__Row *row, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    weir_buffer packed = { 0 };
    ProtobufCMessage *copy = NULL;

    weir_wire_encode(&row->base, &packed);
    weir_code code = weir_wire_decode(row->base.descriptor, weir_buffer_view(&packed), NULL, arena,
        &copy, reterr);
    if (code == WEIR_OK)
        code = stage->ops->row(stage->core, stage, link, seq, (Weir__Internal__V1__Row *)copy,
            weir_buffer_view(&packed), reterr);
    weir_buffer_fini(&packed);
    weir_arena_destroy(&arena);
    return code;
}

weir_code
fake_stage_commit(weir_stage *stage, weir_error *reterr)
{
    weir_code code = stage->ops->round_end(stage->core, stage, reterr);

    if (code == WEIR_OK && weir_batch_count(stage->batch) > 0)
        code = weir_store_commit(stage->store, stage->batch, true, reterr);
    if (code == WEIR_OK)
        stage->ops->committed(stage->core, stage);
    weir_arena_reset(stage->arena);
    return code;
}

weir_code
fake_stage_settle_down(weir_stage *stage, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    for (int rounds = 0; code == WEIR_OK && stage->wake_at_ms != 0; rounds++) {
        weir_assert(rounds < 10000);
        if (stage->wake_at_ms > stage->now_ms)
            stage->now_ms = stage->wake_at_ms;
        stage->wake_at_ms = 0;
        code = stage->ops->wake(stage->core, stage, reterr);
        if (code == WEIR_OK)
            code = fake_stage_commit(stage, reterr);
    }
    return code;
}

void
fake_stage_forget(weir_stage *stage)
{
    stage->row_count = stage->settled_count = stage->event_count = stage->aside_count = 0;
    weir_arena_reset(stage->kept);
}

/* ---- what the core calls ---- */

int64_t
weir_stage_now_ms(const weir_stage *stage)
{
    return stage->now_ms;
}

uint64_t
weir_stage_era(const weir_stage *stage)
{
    return stage->era;
}

weir_batch *
weir_stage_batch(weir_stage *stage)
{
    return stage->batch;
}

weir_arena *
weir_stage_arena(weir_stage *stage)
{
    return stage->arena;
}

const weir_link_identity *
weir_stage_identity(const weir_stage *stage)
{
    return &stage->identity;
}

weir_code
weir_stage_get(weir_stage *stage, weir_bytes key, const ProtobufCMessageDescriptor *descriptor,
    void *ret_message, weir_error *reterr)
{
    ProtobufCMessage *message = NULL;
    bool found = false;
    weir_code code = weir_batch_get(stage->batch, key, &stage->scratch, &found, reterr);

    if (code == WEIR_OK && found)
        code = weir_wire_decode(descriptor, weir_buffer_view(&stage->scratch), NULL, stage->arena,
            &message, reterr);
    memcpy(ret_message, &message, sizeof message);
    return code;
}

void
weir_stage_put(weir_stage *stage, weir_bytes key, const ProtobufCMessage *message)
{
    weir_buffer_clear(&stage->scratch);
    weir_wire_encode(message, &stage->scratch);
    weir_batch_put(stage->batch, key, weir_buffer_view(&stage->scratch));
}

weir_code
weir_stage_set_aside(weir_stage *stage, weir_bytes key, weir_bytes value, const char *why,
    weir_error *reterr)
{
    weir_assert(stage->aside_count < sizeof stage->aside / sizeof stage->aside[0]);
    weir_assert(value.size > 0 && why[0] != '\0');
    stage->aside[stage->aside_count++] =
        (weir_bytes){ weir_arena_memdup(stage->kept, key.data, key.size), key.size };
    weir_batch_delete(stage->batch, key);
    return WEIR_OK;
}

/* A copy that lives until fake_stage_forget. */
static void *
keep(weir_stage *stage, const ProtobufCMessage *message)
{
    ProtobufCMessage *copy = NULL;

    weir_buffer_clear(&stage->scratch);
    weir_wire_encode(message, &stage->scratch);
    const weir_code code = weir_wire_decode(message->descriptor, weir_buffer_view(&stage->scratch),
        NULL, stage->kept, &copy, NULL);
    weir_assert(code == WEIR_OK);
    return copy;
}

weir_code
weir_stage_send(weir_stage *stage, weir_link_kind link, Weir__Internal__V1__Row *row,
    uint64_t *ret_seq, weir_error *reterr)
{
    weir_assert(ret_seq == NULL && stage->row_count < sizeof stage->rows / sizeof stage->rows[0]);
    weir_assert(weir_link_spec_of(link)->from == WEIR_SERVICE_INDEXER);
    if (row->era == 0)
        row->era = stage->era;
    stage->rows[stage->row_count++] = (fake_row){ .link = link, .row = keep(stage, &row->base) };
    return WEIR_OK;
}

void
weir_stage_settle(weir_stage *stage, weir_link_kind link, uint64_t seq)
{
    weir_assert(stage->settled_count < sizeof stage->settled / sizeof stage->settled[0]);
    stage->settled[stage->settled_count++] = (fake_settled){ .link = link, .seq = seq };
}

void
weir_stage_event(weir_stage *stage, const Weir__Internal__V1__LifecycleEvent *event)
{
    weir_assert(stage->event_count < sizeof stage->events / sizeof stage->events[0]);
    stage->events[stage->event_count++] = keep(stage, &event->base);
}

void
weir_stage_wake_at(weir_stage *stage, int64_t at_ms)
{
    if (stage->wake_at_ms == 0 || at_ms < stage->wake_at_ms)
        stage->wake_at_ms = at_ms;
}

void
weir_stage_set_credit(weir_stage *stage, weir_link_kind link, uint32_t rows)
{
    weir_assert(link == WEIR_LINK_EMBEDDER_INDEXER);
    stage->credit = rows;
}

void
weir_stage_set_counts(weir_stage *stage, const weir_stage_counts *counts)
{
    stage->counts = *counts;
}
