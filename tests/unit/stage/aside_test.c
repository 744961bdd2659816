/*
 * Goal: one record that does not decode stops nothing for long and is never thrown away.
 * Method: a service of three records, each damaged in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/wire/wire.h"
#include "rig.h"
#include "weir/internal/v1/record.pb-c.h"

typedef Weir__Internal__V1__Row row_message;
typedef Weir__Internal__V1__RequestRecord record_message;
typedef Weir__Internal__V1__SetAsideRecord aside_record;

#define IN WEIR_LINK_GATEWAY_INGEST

enum { ASK_READ_OWN = 1, ASK_READ_CUSTODY, ASK_WRITE_THEN_READ_CUSTODY, ASK_SCAN };

/* "P..." can be made again, "C..." is custody. */
static const char *const own_key = "P-own";
static const char *const custody_key = "C-kept";
static const char damage[] = "\xff\xff\xff no message";

static weir_code
read_record(weir_stage *stage, const char *key, weir_error *reterr)
{
    record_message *record = NULL;

    return weir_stage_get(stage, weir_bytes_str(key),
        &weir__internal__v1__request_record__descriptor, &record, reterr);
}

static weir_code
core_start(void *self, weir_stage *stage, weir_error *reterr)
{
    const bool *reads_at_start = self;

    return *reads_at_start ? read_record(stage, own_key, reterr) : WEIR_OK;
}

static weir_code
core_row(void *self, weir_stage *stage, weir_link_kind link, uint64_t seq, const row_message *row,
    weir_bytes packed, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    (void)self, (void)packed;
    if (strcmp(row->document_id, "kept") == 0)
        code = read_record(stage, custody_key, reterr);
    if (code == WEIR_OK)
        weir_stage_settle(stage, link, seq);
    return code;
}

static weir_code
core_request(void *self, weir_stage *stage, const weir_request *request, weir_error *reterr)
{
    (void)self;
    if (request->kind == ASK_SCAN) {
        const weir_code code = weir_stage_set_aside(stage, weir_bytes_str(own_key),
            weir_bytes_str(damage), "met by a scan, it does not decode", reterr);

        return code == WEIR_OK ? read_record(stage, own_key, reterr) : code;
    }
    if (request->kind == ASK_READ_OWN)
        return read_record(stage, own_key, reterr);
    if (request->kind == ASK_WRITE_THEN_READ_CUSTODY)
        weir_batch_put(weir_stage_batch(stage), weir_bytes_str("Z"), weir_bytes_str("half"));
    return read_record(stage, custody_key, reterr);
}

static const weir_core_ops ops = { .start = core_start,
    .row = core_row,
    .request = core_request,
    .custody = "C" };

static bool reads_at_start;

static void *
core_create(void *ud, weir_store *store)
{
    (void)ud, (void)store;
    return &reads_at_start;
}

static void
core_destroy(void *core)
{
    (void)core;
}

static rig r;

static int
set_up(void **state)
{
    const rig_options options = { .service = WEIR_SERVICE_INGEST,
        .in = IN,
        .ops = &ops,
        .core_create = core_create,
        .core_destroy = core_destroy };

    (void)state;
    reads_at_start = false;
    rig_init(&r, &options, 7);
    RIG_OK(rig_start(&r, error));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    rig_fini(&r);
    return 0;
}

static void
put_damage(const char *key)
{
    weir_batch *batch = weir_batch_create(r.store);

    weir_batch_put(batch, weir_bytes_str(key), weir_bytes_str(damage));
    RIG_OK(weir_store_commit(r.store, batch, true, error));
    weir_batch_destroy(&batch);
}

static bool
is_stored(const char *key, weir_buffer *value)
{
    bool found = false;

    RIG_OK(weir_store_get(r.store, NULL, weir_bytes_str(key), value, &found, error));
    return found;
}

/* The record that was set aside under its key holds the bytes and the reason. */
static void
expect_aside(const char *key)
{
    char aside_key[64];
    weir_buffer value = { 0 };
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;

    snprintf(aside_key, sizeof aside_key, "x%s", key);
    assert_true(is_stored(aside_key, &value));
    RIG_OK(weir_wire_decode(&weir__internal__v1__set_aside_record__descriptor,
        weir_buffer_view(&value), NULL, arena, &message, error));
    const aside_record *record = (const aside_record *)message;
    assert_int_equal(record->key.len, strlen(key));
    assert_memory_equal(record->key.data, key, strlen(key));
    assert_int_equal(record->value.len, strlen(damage));
    assert_memory_equal(record->value.data, damage, strlen(damage));
    assert_non_null(strstr(record->reason, "does not decode"));
    assert_int_equal(record->time_ms, r.now_ms);
    weir_arena_destroy(&arena);
    weir_buffer_fini(&value);
}

static weir_code
ask(uint32_t kind, weir_error *reterr)
{
    const weir_request request = { .kind = kind, .reply_to = 5, .tenant = "t" };

    return rig_request(&r, &request, reterr);
}

static uint64_t
aside_count(void)
{
    weir_stage_status status;

    weir_stage_status_read(r.stage, &status);
    return status.aside_count;
}

/* ---- tests ---- */

static void
a_record_that_a_scan_can_do_without_is_aside_in_the_same_round(void **state)
{
    weir_buffer value = { 0 };

    (void)state;
    put_damage(own_key);
    RIG_OK(ask(ASK_SCAN, error));
    RIG_OK(rig_run(&r, error));
    assert_false(is_stored(own_key, &value));
    expect_aside(own_key);
    assert_int_equal(aside_count(), 1);
    weir_buffer_fini(&value);
}

static void
a_record_that_a_start_needs_is_aside_at_the_next_start(void **state)
{
    weir_error failure = { .code = WEIR_OK };
    weir_buffer value = { 0 };

    (void)state;
    put_damage(own_key);
    RIG_OK(rig_stop(&r, error));
    reads_at_start = true;
    assert_int_equal(rig_start(&r, &failure), WEIR_CORRUPT);
    assert_non_null(strstr(failure.message, "P-own"));
    assert_false(is_stored(own_key, &value));
    expect_aside(own_key);
    RIG_OK(rig_start(&r, error));
    RIG_OK(rig_run(&r, error));
    assert_int_equal(aside_count(), 1);
    weir_buffer_fini(&value);
}

static void
a_record_met_at_work_ends_the_process_and_is_aside_afterwards(void **state)
{
    weir_error failure = { .code = WEIR_OK };

    (void)state;
    put_damage(own_key);
    assert_int_equal(ask(ASK_READ_OWN, &failure), WEIR_CORRUPT);
    (void)weir_stage_abandon(r.stage, &failure);
    rig_crash(&r);
    RIG_OK(rig_start(&r, error));
    expect_aside(own_key);
    RIG_OK(ask(ASK_READ_OWN, error));
}

static void
what_the_failed_round_wrote_is_not_there(void **state)
{
    weir_error failure = { .code = WEIR_OK };
    weir_buffer value = { 0 };

    (void)state;
    put_damage(own_key);
    weir_batch_put(weir_stage_batch(r.stage), weir_bytes_str("Z"), weir_bytes_str("half"));
    assert_int_equal(ask(ASK_READ_OWN, &failure), WEIR_CORRUPT);
    (void)weir_stage_abandon(r.stage, &failure);
    assert_false(is_stored("Z", &value));
    rig_crash(&r);
    RIG_OK(rig_start(&r, error));
    weir_buffer_fini(&value);
}

static void
another_failure_sets_nothing_aside(void **state)
{
    const weir_error failure = { .code = WEIR_STORE_IO, .message = "the disk" };

    (void)state;
    (void)weir_stage_abandon(r.stage, &failure);
    assert_int_equal(rig_keys(&r, 'x'), 0);
}

static void
a_request_that_needs_damaged_custody_is_refused_and_the_record_stays(void **state)
{
    weir_buffer value = { 0 };

    (void)state;
    put_damage(custody_key);
    RIG_OK(ask(ASK_READ_CUSTODY, error));
    RIG_OK(rig_run(&r, error));
    assert_int_equal(r.replies[r.reply_count - 1].error.code, WEIR_CORRUPT);
    RIG_OK(ask(ASK_READ_OWN, error));
    assert_true(is_stored(custody_key, &value));
    assert_int_equal(rig_keys(&r, 'x'), 0);
    weir_buffer_fini(&value);
}

static void
a_handler_that_had_written_already_ends_the_process(void **state)
{
    weir_error failure = { .code = WEIR_OK };

    (void)state;
    put_damage(custody_key);
    assert_int_equal(ask(ASK_WRITE_THEN_READ_CUSTODY, &failure), WEIR_CORRUPT);
    (void)weir_stage_abandon(r.stage, &failure);
    assert_int_equal(rig_keys(&r, 'x'), 0);
    rig_crash(&r);
    RIG_OK(rig_start(&r, error));
}

static void
send_row(const char *document_id)
{
    row_message row = WEIR__INTERNAL__V1__ROW__INIT;
    Weir__Internal__V1__DocumentRow document = WEIR__INTERNAL__V1__DOCUMENT_ROW__INIT;

    row.tenant = (char *)(uintptr_t)"t";
    row.document_id = (char *)(uintptr_t)document_id;
    row.payload_case = WEIR__INTERNAL__V1__ROW__PAYLOAD_DOCUMENT;
    row.document = &document;
    rig_send(&r, &row);
}

static void
a_row_that_needs_damaged_custody_is_aside_and_those_behind_it_go_on(void **state)
{
    (void)state;
    put_damage(custody_key);
    send_row("one");
    send_row("kept");
    send_row("two");
    RIG_OK(rig_run(&r, error));
    assert_int_equal(rig_settled(&r), 3);
    assert_int_equal(rig_keys(&r, 'x'), 1);
    assert_int_equal(aside_count(), 1);
}

static void
too_many_records_are_no_accident(void **state)
{
    weir_error failure = { .code = WEIR_OK };
    weir_buffer value = { 0 };
    char key[16];

    (void)state;
    for (int i = 0; i < WEIR_STAGE_ASIDE_MAX; i++) {
        snprintf(key, sizeof key, "x%d", i);
        put_damage(key);
    }
    RIG_OK(rig_stop(&r, error));
    RIG_OK(rig_start(&r, error));
    put_damage(own_key);
    assert_int_equal(ask(ASK_READ_OWN, &failure), WEIR_CORRUPT);
    (void)weir_stage_abandon(r.stage, &failure);
    assert_true(is_stored(own_key, &value));
    rig_crash(&r);
    RIG_OK(rig_start(&r, error));
    assert_int_equal(ask(ASK_SCAN, &failure), WEIR_CORRUPT);
    assert_non_null(strstr(failure.message, "already"));
    rig_crash(&r);
    RIG_OK(rig_start(&r, error));
    assert_true(is_stored(own_key, &value));
    weir_buffer_fini(&value);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_that_a_scan_can_do_without_is_aside_in_the_same_round),
        TEST(a_record_that_a_start_needs_is_aside_at_the_next_start),
        TEST(a_record_met_at_work_ends_the_process_and_is_aside_afterwards),
        TEST(what_the_failed_round_wrote_is_not_there),
        TEST(another_failure_sets_nothing_aside),
        TEST(a_request_that_needs_damaged_custody_is_refused_and_the_record_stays),
        TEST(a_handler_that_had_written_already_ends_the_process),
        TEST(a_row_that_needs_damaged_custody_is_aside_and_those_behind_it_go_on),
        TEST(too_many_records_are_no_accident),
    };

    weir_log_init("test", true, (weir_log_level)(WEIR_LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
