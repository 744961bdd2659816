/*
 * find_work.c - whether anything durable of this service will still act on a try.
 */
#include "common/stage/stage.h"

enum { ROWS_MAX = 20000, BYTES_MAX = 64 << 20 };

typedef struct finder {
    weir_store *store;
    weir_snapshot *snapshot;
    const weir_try *tries;
    size_t count;
    bool *held;
    weir_arena *scratch;
    size_t rows, bytes;
    bool is_partial;
} finder;

static void
mark(finder *self, uint64_t collection_no, const char *document_id, int64_t revision, int64_t epoch)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->tries[i].collection_no == collection_no && self->tries[i].revision == revision &&
            self->tries[i].epoch == epoch && strcmp(self->tries[i].document_id, document_id) == 0)
            self->held[i] = true;
}

/* An event that somebody will act on: the end of a try begins with FAILED. */
static void
mark_row(finder *self, const Weir__Internal__V1__Row *row)
{
    if (row->payload_case != WEIR__INTERNAL__V1__ROW__PAYLOAD_EVENTS) {
        mark(self, row->collection_no, row->document_id, row->revision, row->epoch);
        return;
    }
    for (size_t i = 0; i < row->events->n_events; i++) {
        const Weir__Internal__V1__LifecycleEvent *event = row->events->events[i];

        if (event->kind == WEIR__INTERNAL__V1__LIFECYCLE_KIND__LIFECYCLE_KIND_FAILED)
            mark(self, event->collection_no, event->document_id, event->revision, event->epoch);
    }
}

static weir_code
look_at_link(finder *self, const weir_stage_link_view *view, weir_error *reterr)
{
    weir_link_outbox *outbox = weir_link_outbox_open(self->store, self->snapshot,
        weir_link_number(view->kind, 0, 0), view->tx.acked + 1);
    Weir__Internal__V1__Row *row = NULL;
    weir_code code = WEIR_OK;

    do {
        weir_arena_reset(self->scratch);
        code = weir_link_outbox_next(outbox, self->scratch, &row, reterr);
        if (code == WEIR_OK && row != NULL)
            mark_row(self, row);
        self->is_partial = self->is_partial || ++self->rows > ROWS_MAX ||
            self->bytes + weir_link_outbox_bytes(outbox) > BYTES_MAX;
    } while (code == WEIR_OK && row != NULL && !self->is_partial);
    self->bytes += weir_link_outbox_bytes(outbox);
    weir_link_outbox_close(&outbox);
    return code;
}

/* 'd' collection_no u64, document_id NUL, revision u64, epoch u64, part u64 (work.h). */
static weir_code
look_at_deferred(finder *self, size_t at, weir_error *reterr)
{
    const weir_try *wanted = &self->tries[at];
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };

    for (int end = 0; end < 2; end++) {
        weir_buffer *key = end == 0 ? &lower : &upper;

        weir_buffer_append_u8(key, 'd');
        weir_buffer_append_u64(key, wanted->collection_no);
        weir_buffer_append(key, wanted->document_id, strlen(wanted->document_id) + 1);
        weir_buffer_append_u64(key, (uint64_t)wanted->revision);
        weir_buffer_append_u64(key, (uint64_t)wanted->epoch + (uint64_t)end);
    }
    weir_iter *iter = weir_store_iter(self->store, self->snapshot, weir_buffer_view(&lower),
        weir_buffer_view(&upper));
    if (weir_iter_next(iter))
        self->held[at] = true;
    const weir_code code = weir_iter_status(iter, reterr);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return code;
}

weir_code
weir_stage_find_work(weir_store *store, const weir_stage_status *status, const weir_try *tries,
    size_t count, bool *held, bool *ret_is_partial, weir_error *reterr)
{
    finder self = { .store = store,
        .snapshot = weir_store_snapshot_take(store),
        .tries = tries,
        .count = count,
        .held = held,
        .scratch = weir_arena_create(0) };
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < count && code == WEIR_OK; i++)
        code = look_at_deferred(&self, i, reterr);
    for (uint32_t i = 0; i < status->link_count && code == WEIR_OK; i++)
        if (status->links[i].sender)
            code = look_at_link(&self, &status->links[i], reterr);
    *ret_is_partial = self.is_partial;
    weir_store_snapshot_release(store, &self.snapshot);
    weir_arena_destroy(&self.scratch);
    return code;
}
