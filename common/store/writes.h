/*
 * writes.h - what a batch has written so far: found by key, listed in key order (inside
 * common/store only).
 *
 * RocksDB's own indexed batch keeps a skip list, which costs more per record than the write to the
 * memtable.  Here a write is an append and a slot in a hash table; the order is made when it is
 * asked for.  A batch that goes to RocksDB in key order is also cheaper there: each insertion into
 * the memtable begins where the last one ended.
 *
 * Threads: one.  Views and positions hold until the next write.
 */
#ifndef WEIR_STORE_WRITES_H
#define WEIR_STORE_WRITES_H

#include "common/base/bytes.h"

typedef struct store_write { /* the last operation on one key */
    size_t key_at;           /* in the bytes */
    size_t value_at;
    const uint8_t *lent; /* the value, when it is not in the bytes; else NULL */
    uint32_t key_size;
    uint32_t value_size;
    uint32_t hash;
    bool is_put; /* false: deleted */
} store_write;

typedef struct store_writes {
    weir_buffer bytes;  /* keys and values */
    store_write *items; /* in the order of the first write to each key */
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; /* position in items + 1; 0: empty; a power of two of them */
    uint32_t slot_count;
    uint32_t *order; /* positions in items, by key; the first ordered_count are in place */
    uint32_t ordered_count;
} store_writes;

void store_writes_fini(store_writes *self);
/* Empty again.  Memory is kept up to a bound. */
void store_writes_clear(store_writes *self);
void store_writes_put(store_writes *self, weir_bytes key, weir_bytes value);
/* The value is not copied: it stays where it is until the writes are cleared. */
void store_writes_put_lent(store_writes *self, weir_bytes key, weir_bytes value);
void store_writes_remove(store_writes *self, weir_bytes key);
/* NULL: the key was not written. */
const store_write *store_writes_find(const store_writes *self, weir_bytes key);
weir_bytes store_writes_key(const store_writes *self, const store_write *write);
weir_bytes store_writes_value(const store_writes *self, const store_write *write);

/* Bring the order up to date; store_writes_at and _lower_bound hold until the next write. */
void store_writes_sort(store_writes *self);
/* The index-th write in key order. */
const store_write *store_writes_at(const store_writes *self, uint32_t index);
/* How many keys are smaller. */
uint32_t store_writes_lower_bound(const store_writes *self, weir_bytes key);

#endif
