/*
 * gateway_changes_test.c - goal: the change log is dense, in order and bounded.  Method: rounds of
 * many accepts, and a scan of the records after each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/wire/wire.h"
#include "tests/unit/gateway/rig.h"

typedef struct scanned {
    uint64_t first_no, end_no; /* [first_no, end_no) are there */
    size_t records;
} scanned;

static const Weir__Internal__V1__ChangesRecord *
decode(rig *self, weir_bytes value)
{
    ProtobufCMessage *message = NULL;
    weir_error error;

    assert_int_equal(weir_wire_decode(&weir__internal__v1__changes_record__descriptor, value, NULL,
                         self->arena, &message, &error),
        WEIR_OK);
    return (const Weir__Internal__V1__ChangesRecord *)message;
}

static scanned
scan(rig *self)
{
    weir_buffer lower = { 0 };
    weir_buffer upper = { 0 };
    weir_iter *iter = weir_store_iter(self->store, NULL, gateway_key_change(&lower, 0),
        gateway_key_change_end(&upper));
    scanned found = { 0 };
    weir_error error;

    for (; weir_iter_next(iter); found.records++) {
        const uint64_t no = weir_load_u64(weir_iter_key(iter).data + 1);
        const size_t count = decode(self, weir_iter_value(iter))->n_changes;

        if (found.records == 0)
            found.first_no = found.end_no = no;
        assert_int_equal(no, found.end_no);
        assert_in_range(count, 1, ENTRIES_PER_PAGE);
        found.end_no = no + count;
    }
    assert_int_equal(weir_iter_status(iter, &error), WEIR_OK);
    weir_iter_destroy(&iter);
    weir_buffer_fini(&lower);
    weir_buffer_fini(&upper);
    return found;
}

/* One round of `count` accepts, each a change (ingest is down: PENDING). */
static void
accept_many(rig *self, const char *name, int count)
{
    rig_round_begin(self);
    for (int i = 0; i < count; i++) {
        Weir__V1__IngestDocumentRequest *request = weir_arena_alloc(self->arena, sizeof *request);
        Weir__Internal__V1__AcceptCommand *command = weir_arena_alloc(self->arena, sizeof *command);

        weir__v1__ingest_document_request__init(request);
        request->collection_id = (char *)(uintptr_t)"c";
        request->document_id = weir_arena_printf(self->arena, "%s-%d", name, i);
        request->body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT;
        request->text = request->document_id;
        weir__internal__v1__accept_command__init(command);
        command->request = request;
        command->held = true;
        (void)rig_round_submit(self, GATEWAY_ACCEPT, "t", &command->base);
    }
    rig_round_end(self);
}

static void
changes_of_a_round_share_records(void **state)
{
    rig *self = rig_create();

    (void)state;
    accept_many(self, "a", 600);
    const scanned found = scan(self);
    assert_int_equal(found.first_no, 1);
    assert_int_equal(found.end_no, 601);
    assert_int_equal(found.records, 3);
    rig_check_store(self);
    rig_destroy(&self);
}

static void
numbers_go_on_after_a_crash(void **state)
{
    rig *self = rig_create();

    (void)state;
    accept_many(self, "a", 10);
    rig_crash(self);
    accept_many(self, "b", 300);
    const scanned found = scan(self);
    assert_int_equal(found.first_no, 1);
    assert_int_equal(found.end_no, 311);
    rig_destroy(&self);
}

static void
changes_beyond_the_number_are_forgotten(void **state)
{
    rig *self = rig_create();

    (void)state;
    self->config.change_log_entries_max = 1000;
    rig_crash(self);
    for (int i = 0; i < 12; i++) {
        char *name = weir_arena_printf(self->arena, "n%d", i);

        accept_many(self, name, 900);
        const scanned found = scan(self);
        assert_int_equal(found.end_no, 1 + 900 * (i + 1));
        assert_true(found.end_no - found.first_no >= (i == 0 ? 900u : 1000u));
        assert_true(found.end_no - found.first_no <= 1000 + 4096 + 900 + ENTRIES_PER_PAGE);
    }
    assert_true(scan(self).first_no > 1);
    rig_destroy(&self);
}

static void
changes_beyond_the_age_are_forgotten_but_for_the_newest_record(void **state)
{
    rig *self = rig_create();

    (void)state;
    self->config.change_log_age_ms = 60000;
    rig_crash(self);
    accept_many(self, "a", 600);
    rig_run_ms(self, 50000);
    accept_many(self, "b", 1);
    assert_int_equal(scan(self).first_no, 1);
    rig_run_ms(self, 30000);
    accept_many(self, "c", 1);
    accept_many(self, "d", 1);
    assert_int_equal(scan(self).first_no, 601);
    rig_run_ms(self, 200000);
    accept_many(self, "e", 1);
    accept_many(self, "f", 1);
    const scanned found = scan(self);
    assert_in_range(found.first_no, 603, 605);
    assert_int_equal(found.end_no, 606);
    rig_destroy(&self);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_of_a_round_share_records),
        cmocka_unit_test(numbers_go_on_after_a_crash),
        cmocka_unit_test(changes_beyond_the_number_are_forgotten),
        cmocka_unit_test(changes_beyond_the_age_are_forgotten_but_for_the_newest_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
