/*
 * gateway_migrate_test.c - goal: a folder of schema 1 opens, whatever fails meanwhile, and all of
 * it is there.  Method: the records of a filled store written as schema 1 had them; starts on it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/base/random.h"
#include "common/wire/wire.h"
#include "tests/unit/gateway/rig.h"

enum { MANY = 300, STORE_CALLS_MAX = 200 };

typedef struct rewriting {
    rig *self;
    weir_batch *batch;
    weir_buffer key, value;
} rewriting;

typedef void visit_record(rewriting *run, weir_bytes key, weir_bytes value);

static void
visit_all(rewriting *run, char tag, visit_record *visit)
{
    const uint8_t lower[] = { (uint8_t)tag };
    const uint8_t upper[] = { (uint8_t)(tag + 1) };
    weir_iter *iter =
        weir_store_iter(run->self->store, NULL, weir_bytes_of(lower, 1), weir_bytes_of(upper, 1));
    weir_error error;

    while (weir_iter_next(iter))
        visit(run, weir_iter_key(iter), weir_iter_value(iter));
    assert_int_equal(weir_iter_status(iter, &error), WEIR_OK);
    weir_iter_destroy(&iter);
}

static void *
decode(rewriting *run, const ProtobufCMessageDescriptor *descriptor, weir_bytes value)
{
    ProtobufCMessage *message = NULL;
    weir_error error;

    assert_int_equal(weir_wire_decode(descriptor, value, NULL, run->self->arena, &message, &error),
        WEIR_OK);
    return message;
}

static void
put(rewriting *run, weir_bytes key, const ProtobufCMessage *record)
{
    weir_buffer_clear(&run->value);
    weir_wire_encode(record, &run->value);
    weir_batch_put(run->batch, key, weir_buffer_view(&run->value));
}

/* Tag, the bytes between, number: how schema 1 named its entries. */
static weir_bytes
key_of(rewriting *run, char tag, weir_bytes between, uint64_t number)
{
    weir_buffer_clear(&run->key);
    weir_buffer_append(&run->key, &tag, 1);
    weir_buffer_append(&run->key, between.data, between.size);
    weir_buffer_append_u64(&run->key, number);
    return weir_buffer_view(&run->key);
}

/* ---- as schema 1 wrote it ---- */

/* An unready revision had the number of its change. */
static void
put_old_revision(rewriting *run, uint64_t collection_no, const char *document_id, int64_t number,
    revision_record *revision)
{
    Weir__Internal__V1__UnreadyRecord entry = WEIR__INTERNAL__V1__UNREADY_RECORD__INIT;

    if (revision->state == DOCUMENT_STATE(PENDING) ||
        revision->state == DOCUMENT_STATE(PROCESSING)) {
        revision->unready_no = revision->change_no;
        entry.collection_no = collection_no;
        entry.document_id = (char *)(uintptr_t)document_id;
        entry.revision = number;
        entry.since_ms = revision->update_time_ms;
        entry.size_bytes = revision->size_bytes;
        put(run, key_of(run, 'U', (weir_bytes){ 0 }, revision->unready_no), &entry.base);
    }
    put(run, gateway_key_revision(&run->key, collection_no, document_id, number), &revision->base);
}

static void
rewrite_document(rewriting *run, weir_bytes key, weir_bytes value)
{
    document_record *document =
        decode(run, &weir__internal__v1__document_record__descriptor, value);

    put_old_revision(run, weir_load_u64(key.data + 1), gateway_key_document_id(key),
        document->newest_revision, document->newest);
    document->newest = NULL;
    put(run, key, &document->base);
}

static void
rewrite_revision(rewriting *run, weir_bytes key, weir_bytes value)
{
    put_old_revision(run, weir_load_u64(key.data + 1), (const char *)key.data + 9,
        (int64_t)weir_load_u64(key.data + key.size - 8),
        decode(run, &weir__internal__v1__revision_record__descriptor, value));
}

static void
rewrite_backlog(rewriting *run, weir_bytes key, weir_bytes value)
{
    const backlog_page *page =
        decode(run, &weir__internal__v1__backlog_page_record__descriptor, value);
    const weir_bytes between = weir_bytes_of(key.data + 1, key.size - 9);
    const uint64_t first_no = weir_load_u64(key.data + key.size - 8);

    for (size_t i = 0; i < page->n_entries; i++)
        put(run, key_of(run, 'B', between, first_no + i), &page->entries[i]->base);
    weir_batch_delete(run->batch, key);
}

static void
rewrite_changes(rewriting *run, weir_bytes key, weir_bytes value)
{
    const Weir__Internal__V1__ChangesRecord *page =
        decode(run, &weir__internal__v1__changes_record__descriptor, value);
    const uint64_t first_no = weir_load_u64(key.data + 1);

    for (size_t i = 0; i < page->n_changes; i++)
        put(run, key_of(run, 'W', (weir_bytes){ 0 }, first_no + i), &page->changes[i]->base);
    weir_batch_delete(run->batch, key);
}

static void
rewrite_suite(rewriting *run, weir_bytes key, weir_bytes value)
{
    Weir__Internal__V1__SuiteRecord *suite =
        decode(run, &weir__internal__v1__suite_record__descriptor, value);

    suite->next_unready_no = 0;
    put(run, key, &suite->base);
}

static void
forget(rewriting *run, weir_bytes key, weir_bytes value)
{
    (void)value;
    weir_batch_delete(run->batch, key);
}

static void
rewrite_as_schema_1(rig *self)
{
    rewriting run = { .self = self, .batch = weir_batch_create(self->store) };
    weir_error error;

    visit_all(&run, 'R', rewrite_revision);
    visit_all(&run, 'D', rewrite_document);
    visit_all(&run, 'P', rewrite_backlog);
    visit_all(&run, 'X', rewrite_changes);
    visit_all(&run, 'G', rewrite_suite);
    visit_all(&run, 'V', forget);
    visit_all(&run, 'F', forget);
    assert_int_equal(weir_store_commit(self->store, run.batch, true, &error), WEIR_OK);
    weir_batch_destroy(&run.batch);
    weir_buffer_fini(&run.key);
    weir_buffer_fini(&run.value);
}

/* ---- what a store holds ---- */

typedef struct held {
    uint64_t old;                   /* entries of schema 1 */
    uint64_t first_change, changes; /* numbers are dense from the first on */
    uint64_t unready, unready_bytes;
    uint64_t backlog, document_sum; /* what the backlog names, in any order */
} held;
static held found;

static void
count_old(rewriting *run, weir_bytes key, weir_bytes value)
{
    (void)run, (void)key, (void)value;
    found.old++;
}

static void
count_changes(rewriting *run, weir_bytes key, weir_bytes value)
{
    const Weir__Internal__V1__ChangesRecord *page =
        decode(run, &weir__internal__v1__changes_record__descriptor, value);
    const uint64_t first_no = weir_load_u64(key.data + 1);

    assert_in_range(page->n_changes, 1, ENTRIES_PER_PAGE);
    if (found.changes == 0)
        found.first_change = first_no;
    assert_int_equal(first_no, found.first_change + found.changes);
    found.changes += page->n_changes;
}

static void
count_unready(rewriting *run, weir_bytes key, weir_bytes value)
{
    const Weir__Internal__V1__UnreadyPageRecord *page =
        decode(run, &weir__internal__v1__unready_page_record__descriptor, value);

    (void)key;
    for (size_t i = 0; i < page->n_sizes; i++) {
        found.unready += page->sizes[i] != 0;
        found.unready_bytes += page->sizes[i] != 0 ? page->sizes[i] - 1 : 0;
    }
}

static void
count_backlog(rewriting *run, weir_bytes key, weir_bytes value)
{
    const backlog_page *page =
        decode(run, &weir__internal__v1__backlog_page_record__descriptor, value);

    for (size_t i = 0; i < page->n_entries; i++) {
        found.backlog++;
        found.document_sum += key.data[1]; /* the lane */
        for (const char *at = page->entries[i]->document_id; *at != '\0'; at++)
            found.document_sum = found.document_sum * 31 + (uint8_t)*at;
    }
}

static held
look(rig *self)
{
    rewriting run = { .self = self };

    found = (held){ 0 };
    visit_all(&run, 'B', count_old);
    visit_all(&run, 'U', count_old);
    visit_all(&run, 'W', count_old);
    visit_all(&run, 'X', count_changes);
    visit_all(&run, 'V', count_unready);
    visit_all(&run, 'P', count_backlog);
    return found;
}

static void
assert_migrated(rig *self, const held *before)
{
    const held after = look(self);

    assert_int_equal(after.old, 0);
    assert_int_equal(after.first_change, before->first_change);
    assert_int_equal(after.changes, before->changes);
    assert_int_equal(after.unready, before->unready);
    assert_int_equal(after.unready_bytes, before->unready_bytes);
    assert_int_equal(after.backlog, before->backlog);
    assert_int_equal(after.document_sum, before->document_sum);
    rig_check_store(self);
}

/* Every state, and more PENDING than a page has entries; READY with a newer one behind it. */
static rig *
filled_rig(held *ret_before)
{
    rig *self = rig_create();

    rig_peer_start(self, &self->ingest);
    rig_peer_start(self, &self->indexer);
    rig_peer_start(self, &self->reconciler);
    rig_run_ms(self, 2500);
    (void)RIG_INGEST(self, .document_id = "ready");
    rig_ready(self, "ready", 1, 1, 2);
    (void)RIG_INGEST(self, .document_id = "ready", .text = "newer");
    rig_ready(self, "ready", 2, 1, 2);
    (void)RIG_INGEST(self, .document_id = "failed");
    rig_give_up(self, "failed", 1, 1);
    (void)RIG_INGEST(self, .document_id = "deleted");
    (void)rig_delete(self, "deleted", NULL, false);
    (void)RIG_INGEST(self, .document_id = "processing");
    rig_peer_stop(self, &self->ingest);
    self->config.in_flight_max = 1; /* the one that is PROCESSING: all others wait */
    rig_crash(self);
    rig_run_ms(self, 2500);
    (void)RIG_INGEST(self, .document_id = "ready", .text = "newest");
    for (int i = 0; i < MANY; i++)
        (void)RIG_INGEST(self, .document_id = weir_arena_printf(self->arena, "p%d", i));
    rig_check_store(self);
    *ret_before = look(self);
    assert_int_equal(ret_before->old, 0);
    assert_int_equal(ret_before->backlog, MANY + 1);
    assert_int_equal(ret_before->unready, MANY + 2);
    rewrite_as_schema_1(self);
    assert_int_equal(look(self).old, ret_before->changes + MANY + 1 + MANY + 2);
    return self;
}

/* ---- tests ---- */

static void
what_schema_1_held_is_there_and_the_work_goes_on(void **state)
{
    held before;
    rig *self = filled_rig(&before);

    (void)state;
    rig_crash(self);
    assert_migrated(self, &before);
    assert_int_equal(rig_revision(self, "ready", 2)->state, DOCUMENT_STATE(READY));
    assert_int_equal(rig_revision(self, "ready", 3)->state, DOCUMENT_STATE(PENDING));
    assert_int_equal(rig_revision(self, "failed", 1)->state, DOCUMENT_STATE(FAILED));
    self->config.in_flight_max = 0;
    rig_crash(self);
    rig_peer_start(self, &self->ingest);
    rig_peer_restart(self, &self->indexer, false);
    rig_run_ms(self, 5000);
    for (int i = 0; i < MANY; i++)
        rig_ready(self, weir_arena_printf(self->arena, "p%d", i), 1, 1, 2);
    rig_ready(self, "ready", 3, 1, 2);
    rig_ready(self, "processing", 1, 1, 2);
    rig_check_store(self);
    assert_int_equal(look(self).unready, 0);
    assert_int_equal(look(self).backlog, 0);
    assert_int_equal(rig_revision(self, "p7", 1)->state, DOCUMENT_STATE(READY));
    assert_int_equal(rig_revision(self, "ready", 2)->state, DOCUMENT_STATE(SUPERSEDED));
    rig_destroy(&self);
}

static void
a_newest_revision_in_the_old_place_moves_when_it_is_touched(void **state)
{
    held before;
    rig *self = filled_rig(&before);

    (void)state;
    rig_crash(self);
    assert_null(rig_document_record(self, "failed")->newest);
    const int64_t epoch = rig_document(self, rig_retry(self, "failed", 0, NULL))->run;
    assert_int_equal(epoch, 2);
    assert_non_null(rig_document_record(self, "failed")->newest);
    assert_int_equal(rig_revision(self, "failed", 1)->epoch, 2);
    assert_null(rig_document_record(self, "processing")->newest);
    (void)RIG_INGEST(self, .document_id = "processing", .text = "replaced");
    assert_int_equal(rig_revision(self, "processing", 1)->state, DOCUMENT_STATE(PROCESSING));
    assert_int_equal(rig_revision(self, "processing", 2)->state, DOCUMENT_STATE(PENDING));
    rig_check_store(self);
    rig_destroy(&self);
}

/* Each store call of the start fails once, and the next start finds all of it. */
static void
a_start_that_fails_in_the_middle_is_repeated(void **state)
{
    uint32_t calls = 1;
    bool has_failed = true;

    (void)state;
    for (; has_failed && calls < STORE_CALLS_MAX; calls++) {
        held before;
        rig *self = filled_rig(&before);

        has_failed = rig_crash_in_start(self, calls);
        if (has_failed)
            rig_crash(self);
        assert_migrated(self, &before);
        rig_destroy(&self);
    }
    assert_in_range(calls, 8, STORE_CALLS_MAX - 1);
}

static void
a_second_start_changes_nothing(void **state)
{
    held before;
    rig *self = filled_rig(&before);

    (void)state;
    for (int i = 0; i < 3; i++) {
        rig_crash(self);
        assert_migrated(self, &before);
    }
    rig_destroy(&self);
}

/* A page that did not decode was set aside: its revisions are not counted, and get READY all the
 * same. */
static void
revisions_without_their_page_of_the_unready_go_on(void **state)
{
    rig *self = rig_create();
    rewriting run = { .self = self, .batch = weir_batch_create(self->store) };
    weir_error error;

    (void)state;
    (void)RIG_INGEST(self, .document_id = "a");
    visit_all(&run, 'V', forget);
    assert_int_equal(weir_store_commit(self->store, run.batch, true, &error), WEIR_OK);
    weir_batch_destroy(&run.batch);
    rig_crash(self);
    (void)RIG_INGEST(self, .document_id = "b");
    rig_peer_start(self, &self->indexer);
    rig_run_ms(self, 2500);
    assert_int_equal(look(self).unready, 1);
    rig_ready(self, "a", 1, 1, 2);
    rig_ready(self, "b", 1, 1, 2);
    rig_check_store(self);
    rig_destroy(&self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_schema_1_held_is_there_and_the_work_goes_on),
        cmocka_unit_test(a_newest_revision_in_the_old_place_moves_when_it_is_touched),
        cmocka_unit_test(a_start_that_fails_in_the_middle_is_repeated),
        cmocka_unit_test(a_second_start_changes_nothing),
        cmocka_unit_test(revisions_without_their_page_of_the_unready_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
