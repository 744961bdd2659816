/*
 * merge.c - committed keys and written keys in one order; a written key hides the committed one,
 * and a deleted one is passed over.
 *
 * Going forward, both sides stand on their first key that is not behind; going backward, on their
 * last one that is not ahead.  A change of direction seeks both sides anew.
 */
#include "common/store/merge.h"

#include "common/base/assert.h"

typedef struct merge_iter {
    weir_iter base;
    weir_iter *committed;
    const store_writes *writes;
    bool is_forward;
    bool has_committed; /* the committed side stands on a key */
    bool has_written;   /* the written side does: `at` */
    bool on_written;    /* where the whole stands */
    uint32_t at;        /* in the order of the writes */
    weir_buffer turn;   /* the key from which a turn seeks */
} merge_iter;

static merge_iter *
merge_of(weir_iter *iter)
{
    return (merge_iter *)iter;
}

static weir_bytes
committed_key(const merge_iter *self)
{
    return self->committed->ops->key(self->committed);
}

static const store_write *
write_at(const merge_iter *self)
{
    return store_writes_at(self->writes, self->at);
}

static weir_bytes
written_key(const merge_iter *self)
{
    return store_writes_key(self->writes, write_at(self));
}

static void
step_committed(merge_iter *self)
{
    self->has_committed = self->is_forward ? self->committed->ops->next(self->committed)
                                           : self->committed->ops->prev(self->committed);
}

static void
step_written(merge_iter *self)
{
    if (self->is_forward) {
        self->at++;
        self->has_written = self->at < self->writes->count;
    } else {
        self->has_written = self->at > 0;
        self->at--;
    }
}

/* Which side comes first in the direction: < 0 the written one, > 0 the committed one, 0 both. */
static int
compare_sides(const merge_iter *self)
{
    if (!self->has_committed)
        return -1;
    if (!self->has_written)
        return 1;
    const int order = weir_bytes_compare(written_key(self), committed_key(self));

    return self->is_forward ? order : -order;
}

/* Both sides are where they should be: find the one that counts. */
static bool
settle(merge_iter *self)
{
    while (self->has_committed || self->has_written) {
        const int order = compare_sides(self);

        self->on_written = order <= 0;
        if (!self->on_written || write_at(self)->is_put)
            return true;
        if (order == 0)
            step_committed(self);
        step_written(self);
    }
    return false;
}

static bool
merge_seek(weir_iter *iter, weir_bytes key)
{
    merge_iter *const self = merge_of(iter);

    self->is_forward = true;
    self->has_committed = self->committed->ops->seek(self->committed, key);
    self->at = key.size == 0 ? 0 : store_writes_lower_bound(self->writes, key);
    self->has_written = self->at < self->writes->count;
    return settle(self);
}

static bool
merge_seek_before(weir_iter *iter, weir_bytes key)
{
    merge_iter *const self = merge_of(iter);
    const uint32_t smaller =
        key.size == 0 ? self->writes->count : store_writes_lower_bound(self->writes, key);

    self->is_forward = false;
    self->has_committed = self->committed->ops->seek_before(self->committed, key);
    self->has_written = smaller > 0;
    self->at = smaller - 1;
    return settle(self);
}

static weir_bytes
merge_key(const weir_iter *iter)
{
    const merge_iter *const self = (const merge_iter *)iter;

    return self->on_written ? written_key(self) : committed_key(self);
}

static weir_bytes
merge_value(const weir_iter *iter)
{
    const merge_iter *const self = (const merge_iter *)iter;

    return self->on_written ? store_writes_value(self->writes, write_at(self))
                            : self->committed->ops->value(self->committed);
}

/* From the key on which the whole stands, one step in the present direction. */
static bool
step(merge_iter *self)
{
    if (!self->on_written) {
        step_committed(self);
    } else {
        if (compare_sides(self) == 0)
            step_committed(self);
        step_written(self);
    }
    return settle(self);
}

static weir_bytes
keep_turn(merge_iter *self)
{
    const weir_bytes key = merge_key(&self->base);

    weir_buffer_clear(&self->turn);
    weir_buffer_append(&self->turn, key.data, key.size);
    return weir_buffer_view(&self->turn);
}

static bool
merge_next(weir_iter *iter)
{
    merge_iter *const self = merge_of(iter);

    if (!self->is_forward && !merge_seek(iter, keep_turn(self)))
        return false;
    return step(self);
}

static bool
merge_prev(weir_iter *iter)
{
    merge_iter *const self = merge_of(iter);

    return self->is_forward ? merge_seek_before(iter, keep_turn(self)) : step(self);
}

static weir_code
merge_status(const weir_iter *iter, weir_error *reterr)
{
    const weir_iter *const committed = ((const merge_iter *)iter)->committed;

    return committed->ops->status(committed, reterr);
}

static void
merge_destroy(weir_iter *iter)
{
    merge_iter *const self = merge_of(iter);
    weir_buffer lower = self->committed->lower;
    weir_buffer upper = self->committed->upper;

    self->committed->ops->destroy(self->committed);
    weir_buffer_fini(&lower); /* only now, as in store.c */
    weir_buffer_fini(&upper);
    weir_buffer_fini(&self->turn);
    weir_free(self);
}

static const weir_iter_ops merge_ops = {
    .seek = merge_seek,
    .seek_before = merge_seek_before,
    .next = merge_next,
    .prev = merge_prev,
    .key = merge_key,
    .value = merge_value,
    .status = merge_status,
    .destroy = merge_destroy,
};

weir_iter *
store_merge_create(weir_iter *committed, store_writes *writes, weir_bytes lower, weir_bytes upper)
{
    merge_iter *const self = weir_alloc_zero(1, sizeof *self);

    weir_iter_init(&self->base, &merge_ops, lower, upper);
    store_writes_sort(writes);
    self->committed = committed;
    self->writes = writes;
    return &self->base;
}
