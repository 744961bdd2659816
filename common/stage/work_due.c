/*
 * work_due.c - when to look at which deferred record: a binary heap in memory, rebuilt from the
 * records at start.
 *
 * An entry is a hint.  Whoever takes it reads the record, which alone says whether the work is
 * still there and due.
 */
#include "common/stage/work_internal.h"

static void
swap(work_heap *heap, size_t a, size_t b)
{
    const work_due held = heap->items[a];

    heap->items[a] = heap->items[b];
    heap->items[b] = held;
}

static void
sift_down(work_heap *heap, size_t at)
{
    for (;;) {
        size_t least = at;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++)
            if (heap->items[child].due_ms < heap->items[least].due_ms)
                least = child;
        if (least == at)
            return;
        swap(heap, at, least);
        at = least;
    }
}

void
work_due_push(work_heap *heap, work_due entry)
{
    uint8_t *key = weir_alloc(entry.key.size);

    memcpy(key, entry.key.data, entry.key.size);
    entry.key.data = key;
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
        heap->items = weir_realloc(heap->items, heap->capacity * sizeof *heap->items);
    }
    size_t at = heap->count++;
    heap->items[at] = entry;
    for (; at > 0 && heap->items[(at - 1) / 2].due_ms > heap->items[at].due_ms; at = (at - 1) / 2)
        swap(heap, at, (at - 1) / 2);
}

work_due
work_due_pop(work_heap *heap)
{
    const work_due top = heap->items[0];

    heap->items[0] = heap->items[--heap->count];
    sift_down(heap, 0);
    return top;
}

void
work_due_clip(work_heap *heap, int64_t latest_ms, int64_t parked_latest_ms)
{
    for (size_t i = 0; i < heap->count; i++) {
        work_due *entry = &heap->items[i];
        const int64_t bound_ms =
            entry->parked && parked_latest_ms < latest_ms ? parked_latest_ms : latest_ms;

        if (entry->due_ms > bound_ms)
            entry->due_ms = bound_ms;
    }
    for (size_t at = heap->count / 2; at-- > 0;)
        sift_down(heap, at);
}

int64_t
work_due_oldest(const work_heap *heap)
{
    int64_t oldest_ms = 0;

    for (size_t i = 0; i < heap->count; i++)
        if (oldest_ms == 0 || heap->items[i].handed_over_ms < oldest_ms)
            oldest_ms = heap->items[i].handed_over_ms;
    return oldest_ms;
}

void
work_due_fini(work_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        weir_free((void *)(uintptr_t)heap->items[i].key.data);
    weir_free(heap->items);
    *heap = (work_heap){ 0 };
}
