/*
 * mem_map.h - an ordered map whose versions share what they have in common (inside common/store
 * only).
 *
 * A map is a pointer to its root, NULL when empty, and never changes while anyone else holds it:
 * put and remove take over one reference and answer another root, copying only the path that
 * differs.  So a snapshot, a batch under construction and the state at the last sync are each one
 * reference.
 *
 * The tree is a treap whose priorities are hashes of the keys: its shape follows from its content
 * alone, whatever the order of the writes, so that a simulation is the same on each run.
 *
 * Threads: references may be taken and dropped by any thread; the same root may be read by many.
 */
#ifndef WEIR_STORE_MEM_MAP_H
#define WEIR_STORE_MEM_MAP_H

#include "common/base/bytes.h"

typedef struct mem_node mem_node;

mem_node *mem_map_ref(mem_node *root);
void mem_map_unref(mem_node *root);

/* These take over the reference to root and answer one to the new root. */
mem_node *mem_map_put(mem_node *root, weir_bytes key, weir_bytes value);
mem_node *mem_map_remove(mem_node *root, weir_bytes key);
mem_node *mem_map_remove_range(mem_node *root, weir_bytes lower, weir_bytes upper);

/* The node of the key, the first at or after it, the first after it, the last before it; NULL:
 * there is none. Valid as long as a reference to root is held. */
const mem_node *mem_map_find(const mem_node *root, weir_bytes key);
const mem_node *mem_map_at_or_after(const mem_node *root, weir_bytes key);
const mem_node *mem_map_after(const mem_node *root, weir_bytes key);
const mem_node *mem_map_before(const mem_node *root, weir_bytes key);
const mem_node *mem_map_last(const mem_node *root);

weir_bytes mem_node_key(const mem_node *node);
weir_bytes mem_node_value(const mem_node *node);
/* Keys and values of the whole map. */
uint64_t mem_map_bytes(const mem_node *root);

#endif
