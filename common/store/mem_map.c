/*
 * mem_map.c - a persistent treap.
 *
 * A node whose only reference is the one being taken over can be seen by nobody else and is changed
 * in place; any other is copied first (own).  The key and value stand in an entry of their own,
 * shared by the copies.
 */
#include "common/store/mem_map.h"

#include <stdatomic.h>

#include "common/base/assert.h"
#include "common/base/hash.h"

typedef struct entry {
    atomic_uint refs;
    size_t key_size;
    size_t value_size;
    uint8_t bytes[]; /* key, then value */
} entry;

struct mem_node {
    atomic_uint refs;
    uint64_t priority; /* no child has a greater one */
    entry *entry;
    mem_node *left;
    mem_node *right;
};

/* ---- references ---- */

static entry *
entry_create(weir_bytes key, weir_bytes value)
{
    entry *const created = weir_alloc(sizeof *created + key.size + value.size);

    atomic_init(&created->refs, 1);
    created->key_size = key.size;
    created->value_size = value.size;
    memcpy(created->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(created->bytes + key.size, value.data, value.size);
    return created;
}

static void
entry_unref(entry *dropped)
{
    if (atomic_fetch_sub(&dropped->refs, 1) == 1)
        weir_free(dropped);
}

mem_node *
mem_map_ref(mem_node *root)
{
    if (root != NULL)
        atomic_fetch_add(&root->refs, 1);
    return root;
}

void
mem_map_unref(mem_node *root)
{
    if (root == NULL || atomic_fetch_sub(&root->refs, 1) != 1)
        return;
    entry_unref(root->entry);
    mem_map_unref(root->left);
    mem_map_unref(root->right);
    weir_free(root);
}

static mem_node *
node_create(entry *content, uint64_t priority, mem_node *left, mem_node *right)
{
    mem_node *const created = weir_alloc(sizeof *created);

    atomic_init(&created->refs, 1);
    created->priority = priority;
    created->entry = content;
    created->left = left;
    created->right = right;
    return created;
}

/* Takes over a reference to node and answers one to a node of the same content that may be
 * changed. */
static mem_node *
own(mem_node *node)
{
    if (atomic_load(&node->refs) == 1)
        return node;
    atomic_fetch_add(&node->entry->refs, 1);
    mem_node *const copy =
        node_create(node->entry, node->priority, mem_map_ref(node->left), mem_map_ref(node->right));

    mem_map_unref(node);
    return copy;
}

/* ---- reading ---- */

weir_bytes
mem_node_key(const mem_node *node)
{
    return weir_bytes_of(node->entry->bytes, node->entry->key_size);
}

weir_bytes
mem_node_value(const mem_node *node)
{
    return weir_bytes_of(node->entry->bytes + node->entry->key_size, node->entry->value_size);
}

const mem_node *
mem_map_find(const mem_node *root, weir_bytes key)
{
    const mem_node *const found = mem_map_at_or_after(root, key);

    return found != NULL && weir_bytes_equal(mem_node_key(found), key) ? found : NULL;
}

const mem_node *
mem_map_at_or_after(const mem_node *root, weir_bytes key)
{
    const mem_node *best = NULL;

    while (root != NULL) {
        if (weir_bytes_compare(mem_node_key(root), key) >= 0) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

const mem_node *
mem_map_after(const mem_node *root, weir_bytes key)
{
    const mem_node *best = NULL;

    while (root != NULL) {
        if (weir_bytes_compare(mem_node_key(root), key) > 0) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

const mem_node *
mem_map_before(const mem_node *root, weir_bytes key)
{
    const mem_node *best = NULL;

    while (root != NULL) {
        if (weir_bytes_compare(mem_node_key(root), key) < 0) {
            best = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return best;
}

const mem_node *
mem_map_last(const mem_node *root)
{
    while (root != NULL && root->right != NULL)
        root = root->right;
    return root;
}

uint64_t
mem_map_bytes(const mem_node *root)
{
    return root == NULL ? 0
                        : root->entry->key_size + root->entry->value_size +
            mem_map_bytes(root->left) + mem_map_bytes(root->right);
}

/* ---- writing ---- */

/* The left child rises, when its priority says so. */
static mem_node *
settle_left(mem_node *node)
{
    mem_node *const child = node->left;

    if (child == NULL || child->priority <= node->priority)
        return node;
    weir_assert(atomic_load(&child->refs) == 1);
    node->left = child->right;
    child->right = node;
    return child;
}

static mem_node *
settle_right(mem_node *node)
{
    mem_node *const child = node->right;

    if (child == NULL || child->priority <= node->priority)
        return node;
    weir_assert(atomic_load(&child->refs) == 1);
    node->right = child->left;
    child->left = node;
    return child;
}

/* Takes over the reference to content. */
static mem_node *
put_entry(mem_node *node, entry *content, uint64_t priority)
{
    if (node == NULL)
        return node_create(content, priority, NULL, NULL);
    node = own(node);
    const weir_bytes key = weir_bytes_of(content->bytes, content->key_size);
    const int order = weir_bytes_compare(key, mem_node_key(node));

    if (order < 0) {
        node->left = put_entry(node->left, content, priority);
        return settle_left(node);
    }
    if (order > 0) {
        node->right = put_entry(node->right, content, priority);
        return settle_right(node);
    }
    entry_unref(node->entry);
    node->entry = content;
    return node;
}

mem_node *
mem_map_put(mem_node *root, weir_bytes key, weir_bytes value)
{
    return put_entry(root, entry_create(key, value), weir_hash64(key, 0));
}

/* All keys of `left` are below those of `right`. */
static mem_node *
join(mem_node *left, mem_node *right)
{
    if (left == NULL || right == NULL)
        return left == NULL ? right : left;
    if (left->priority >= right->priority) {
        left = own(left);
        left->right = join(left->right, right);
        return left;
    }
    right = own(right);
    right->left = join(left, right->left);
    return right;
}

/* The key is there. */
static mem_node *
remove_found(mem_node *node, weir_bytes key)
{
    weir_assert(node != NULL);
    node = own(node);
    const int order = weir_bytes_compare(key, mem_node_key(node));

    if (order < 0) {
        node->left = remove_found(node->left, key);
        return node;
    }
    if (order > 0) {
        node->right = remove_found(node->right, key);
        return node;
    }
    mem_node *const left = node->left;
    mem_node *const right = node->right;

    node->left = NULL;
    node->right = NULL;
    mem_map_unref(node);
    return join(left, right);
}

mem_node *
mem_map_remove(mem_node *root, weir_bytes key)
{
    /* Looked up first, or the path would be copied for nothing. */
    return mem_map_find(root, key) == NULL ? root : remove_found(root, key);
}

/* Keys below `key` to the left, the others to the right. */
static void
split(mem_node *node, weir_bytes key, mem_node **ret_left, mem_node **ret_right)
{
    if (node == NULL) {
        *ret_left = NULL;
        *ret_right = NULL;
        return;
    }
    node = own(node);
    if (weir_bytes_compare(mem_node_key(node), key) < 0) {
        split(node->right, key, &node->right, ret_right);
        *ret_left = node;
    } else {
        split(node->left, key, ret_left, &node->left);
        *ret_right = node;
    }
}

mem_node *
mem_map_remove_range(mem_node *root, weir_bytes lower, weir_bytes upper)
{
    mem_node *below;
    mem_node *rest;
    mem_node *inside;
    mem_node *above;

    if (weir_bytes_compare(lower, upper) >= 0)
        return root;
    split(root, lower, &below, &rest);
    split(rest, upper, &inside, &above);
    mem_map_unref(inside);
    return join(below, above);
}
