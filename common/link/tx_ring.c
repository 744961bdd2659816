/*
 * tx_ring.c - fresh rows in memory, so that the normal path (append, commit, send, ack) reads
 * nothing back.
 *
 * The rows form one contiguous run of numbers.  When the bytes are used up, rows that were sent
 * already go first; when none is left, new rows stay out, and the sender reads them from the outbox
 * once it gets there.  The run begins anew when it has become empty.
 */
#include "common/link/tx_internal.h"

static struct link_ring_row *
row_at(const link_ring *ring, uint64_t seq)
{
    return &ring->rows[seq & (ring->capacity - 1)];
}

static void
drop_first(link_ring *ring)
{
    struct link_ring_row *row = row_at(ring, ring->first);

    weir_free(row->data);
    ring->bytes -= row->size;
    ring->first++;
}

static void
grow(link_ring *ring)
{
    link_ring wider = *ring;

    wider.capacity = ring->capacity == 0 ? 256 : ring->capacity * 2;
    wider.rows = weir_alloc(wider.capacity * sizeof *wider.rows);
    for (uint64_t seq = ring->first; seq < ring->end; seq++)
        *row_at(&wider, seq) = *row_at(ring, seq);
    weir_free(ring->rows);
    *ring = wider;
}

/* Is there room, after dropping what was sent? */
static bool
make_room(link_ring *ring, size_t size, uint64_t sent)
{
    while (ring->bytes + size > ring->bytes_max && ring->first < ring->end && ring->first <= sent)
        drop_first(ring);
    return ring->bytes + size <= ring->bytes_max;
}

void
link_ring_push(link_ring *ring, uint64_t seq, uint8_t *data, size_t size, uint64_t sent)
{
    const bool fits = make_room(ring, size, sent);

    if (ring->first == ring->end)
        ring->first = ring->end = seq;
    if (!fits || seq != ring->end) {
        weir_free(data);
        return;
    }
    if (ring->end - ring->first == ring->capacity)
        grow(ring);
    *row_at(ring, seq) = (struct link_ring_row){ .data = data, .size = size };
    ring->bytes += size;
    ring->end++;
}

bool
link_ring_get(const link_ring *ring, uint64_t seq, weir_bytes *ret_row)
{
    if (seq < ring->first || seq >= ring->end)
        return false;
    const struct link_ring_row *row = row_at(ring, seq);
    *ret_row = weir_bytes_of(row->data, row->size);
    return true;
}

void
link_ring_drop_to(link_ring *ring, uint64_t seq)
{
    while (ring->first < ring->end && ring->first <= seq)
        drop_first(ring);
}

void
link_ring_fini(link_ring *ring)
{
    link_ring_drop_to(ring, UINT64_MAX);
    weir_free(ring->rows);
    *ring = (link_ring){ 0 };
}
