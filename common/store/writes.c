/*
 * writes.c - an append-only log of keys and values, a hash table over it, and an order on demand.
 *
 * Nothing here is durable: a crash loses what no commit has written, as it must.
 */
#include "common/store/writes.h"

#include <stdlib.h>

#include "common/base/assert.h"
#include "common/base/hash.h"

enum {
    SLOTS_MIN = 256,
    KEPT_BYTES_MAX = 4 << 20, /* a batch with one huge value must not hold its memory for ever */
    KEPT_ITEMS_MAX = 16 << 10,
    INSERTED_ONE_BY_ONE_MAX = 64
};

void
store_writes_fini(store_writes *self)
{
    weir_buffer_fini(&self->bytes);
    weir_free(self->items);
    weir_free(self->slots);
    weir_free(self->order);
    *self = (store_writes){ 0 };
}

void
store_writes_clear(store_writes *self)
{
    if (self->bytes.capacity > KEPT_BYTES_MAX || self->capacity > KEPT_ITEMS_MAX) {
        store_writes_fini(self);
        return;
    }
    if (self->slot_count > 0)
        memset(self->slots, 0, self->slot_count * sizeof *self->slots);
    weir_buffer_clear(&self->bytes);
    self->count = 0;
    self->ordered_count = 0;
}

weir_bytes
store_writes_key(const store_writes *self, const store_write *write)
{
    return weir_bytes_of(self->bytes.data + write->key_at, write->key_size);
}

weir_bytes
store_writes_value(const store_writes *self, const store_write *write)
{
    return weir_bytes_of(write->lent != NULL ? write->lent : self->bytes.data + write->value_at,
        write->value_size);
}

/* ---- the hash table ---- */

/* The slot that holds the key, or the empty one where it belongs. */
static uint32_t
find_slot(const store_writes *self, weir_bytes key, uint32_t hash)
{
    const uint32_t mask = self->slot_count - 1;
    uint32_t slot = hash & mask;

    for (; self->slots[slot] != 0; slot = (slot + 1) & mask) {
        const store_write *const write = &self->items[self->slots[slot] - 1];

        if (write->hash == hash && weir_bytes_equal(store_writes_key(self, write), key))
            break;
    }
    return slot;
}

static void
grow_slots(store_writes *self)
{
    weir_free(self->slots);
    self->slot_count = self->slot_count == 0 ? SLOTS_MIN : self->slot_count * 4;
    self->slots = weir_alloc_zero(self->slot_count, sizeof *self->slots);
    for (uint32_t index = 0; index < self->count; index++) {
        const store_write *const write = &self->items[index];

        self->slots[find_slot(self, store_writes_key(self, write), write->hash)] = index + 1;
    }
}

static void
grow_items(store_writes *self)
{
    self->capacity = self->capacity == 0 ? SLOTS_MIN / 2 : self->capacity * 2;
    self->items = weir_realloc(self->items, self->capacity * sizeof *self->items);
    self->order = weir_realloc(self->order, self->capacity * sizeof *self->order);
}

static size_t
keep(store_writes *self, weir_bytes bytes)
{
    const size_t at = self->bytes.size;

    weir_buffer_append(&self->bytes, bytes.data, bytes.size);
    return at;
}

/* The write of this key, made if there is none. */
static store_write *
write_of(store_writes *self, weir_bytes key)
{
    const uint32_t hash = (uint32_t)weir_hash64(key, 0);

    weir_assert(key.size < UINT32_MAX);
    if (self->count >= self->slot_count / 2)
        grow_slots(self);
    if (self->count == self->capacity)
        grow_items(self);
    const uint32_t slot = find_slot(self, key, hash);

    if (self->slots[slot] != 0)
        return &self->items[self->slots[slot] - 1];
    store_write *const made = &self->items[self->count++];

    *made = (store_write){ .hash = hash, .key_size = (uint32_t)key.size };
    made->key_at = keep(self, key);
    self->slots[slot] = self->count;
    return made;
}

void
store_writes_put(store_writes *self, weir_bytes key, weir_bytes value)
{
    weir_assert(value.size < UINT32_MAX);
    store_write *const write = write_of(self, key);

    /* A counter is written often in one round, and fits where it stood. */
    if (write->is_put && write->lent == NULL && value.size <= write->value_size) {
        if (value.size > 0)
            memcpy(self->bytes.data + write->value_at, value.data, value.size);
    } else {
        write->value_at = keep(self, value);
        write->lent = NULL;
    }
    write->value_size = (uint32_t)value.size;
    write->is_put = true;
}

void
store_writes_put_lent(store_writes *self, weir_bytes key, weir_bytes value)
{
    weir_assert(value.size < UINT32_MAX);
    store_write *const write = write_of(self, key);

    write->lent = value.data;
    write->value_at = self->bytes.size;
    write->value_size = (uint32_t)value.size;
    write->is_put = true;
}

void
store_writes_remove(store_writes *self, weir_bytes key)
{
    store_write *const write = write_of(self, key);

    write->is_put = false;
    write->value_size = 0;
}

const store_write *
store_writes_find(const store_writes *self, weir_bytes key)
{
    if (self->count == 0)
        return NULL;
    const uint32_t slot = find_slot(self, key, (uint32_t)weir_hash64(key, 0));

    return self->slots[slot] == 0 ? NULL : &self->items[self->slots[slot] - 1];
}

/* ---- the order ---- */

static int
compare_positions(const void *a, const void *b, void *self_void)
{
    const store_writes *const self = self_void;

    return weir_bytes_compare(store_writes_key(self, &self->items[*(const uint32_t *)a]),
        store_writes_key(self, &self->items[*(const uint32_t *)b]));
}

static uint32_t
lower_bound_of(const store_writes *self, weir_bytes key, uint32_t count)
{
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const store_write *const write = &self->items[self->order[middle]];

        if (weir_bytes_compare(store_writes_key(self, write), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void
insert_one(store_writes *self, uint32_t position)
{
    const uint32_t count = self->ordered_count;
    const uint32_t at = lower_bound_of(self, store_writes_key(self, &self->items[position]), count);

    memmove(self->order + at + 1, self->order + at, (count - at) * sizeof *self->order);
    self->order[at] = position;
    self->ordered_count++;
}

void
store_writes_sort(store_writes *self)
{
    /* Whoever looks again after a few writes must not pay for the whole batch. */
    if (self->ordered_count > 0 && self->count - self->ordered_count <= INSERTED_ONE_BY_ONE_MAX) {
        while (self->ordered_count < self->count)
            insert_one(self, self->ordered_count);
        return;
    }
    for (uint32_t position = 0; position < self->count; position++)
        self->order[position] = position;
    if (self->count > 1)
        qsort_r(self->order, self->count, sizeof *self->order, compare_positions, self);
    self->ordered_count = self->count;
}

const store_write *
store_writes_at(const store_writes *self, uint32_t index)
{
    weir_assert(self->ordered_count == self->count && index < self->count);
    return &self->items[self->order[index]];
}

uint32_t
store_writes_lower_bound(const store_writes *self, weir_bytes key)
{
    weir_assert(self->ordered_count == self->count);
    return lower_bound_of(self, key, self->count);
}
