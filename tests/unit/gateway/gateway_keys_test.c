/*
 * gateway_keys_test.c - goal: the order of keys is the order of what they name.  Method: encode
 * neighbours, compare bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/gateway/keys.h"

static weir_buffer first, second;

static void
documents_stand_in_the_order_of_their_ids_and_revisions(void **state)
{
    assert_true(weir_bytes_compare(gateway_key_document(&first, 1, "a"),
                    gateway_key_document(&second, 1, "ab")) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&first, 1, "ab"),
                    gateway_key_document(&second, 1, "b")) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&first, 1, "z"),
                    gateway_key_document(&second, 2, "a")) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&first, 255, "z"),
                    gateway_key_document(&second, 256, "a")) < 0);
    assert_true(weir_bytes_compare(gateway_key_revision(&first, 1, "a", 9),
                    gateway_key_revision(&second, 1, "a", 10)) < 0);
    assert_true(weir_bytes_compare(gateway_key_revision(&first, 1, "a", 256),
                    gateway_key_revision(&second, 1, "ab", 1)) < 0);
}

static void
a_range_holds_its_documents_and_no_others(void **state)
{
    weir_buffer key = { 0 };
    const weir_bytes lower = gateway_key_documents(&first, 255);
    const weir_bytes upper = gateway_key_after(&second, lower);

    assert_true(weir_bytes_compare(lower, gateway_key_document(&key, 255, "a")) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&key, 255, "\xff\xff"), upper) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&key, 254, "\xff"), lower) < 0);
    assert_true(weir_bytes_compare(gateway_key_document(&key, 256, "a"), upper) >= 0);
    weir_buffer_fini(&key);
}

static void
a_tenants_collections_are_its_own(void **state)
{
    weir_buffer key = { 0 };
    const weir_bytes lower = gateway_key_collections(&first, "t");
    const weir_bytes upper = gateway_key_after(&second, lower);

    assert_true(weir_bytes_compare(gateway_key_collection(&key, "t", "zzz"), upper) < 0);
    assert_true(weir_bytes_compare(gateway_key_collection(&key, "t", "a"), lower) > 0);
    assert_true(weir_bytes_compare(gateway_key_collection(&key, "tt", "a"), upper) >= 0);
    assert_true(weir_bytes_compare(gateway_key_collection(&key, "s", "z"), lower) < 0);
    weir_buffer_fini(&key);
}

static void
numbers_stand_in_their_order(void **state)
{
    assert_true(weir_bytes_compare(gateway_key_unready(&first, 255),
                    gateway_key_unready(&second, 256)) < 0);
    assert_true(weir_bytes_compare(gateway_key_unready(&first, UINT64_MAX),
                    gateway_key_unready_end(&second)) < 0);
    assert_true(weir_bytes_compare(gateway_key_change(&first, 1), gateway_key_change(&second, 2)) <
        0);
    assert_true(weir_bytes_compare(gateway_key_backlog(&first, GATEWAY_LANE_NEW, "t", 9),
                    gateway_key_backlog(&second, GATEWAY_LANE_NEW, "t", 10)) < 0);
}

static void
a_document_id_is_read_back_from_its_key(void **state)
{
    assert_string_equal(gateway_key_document_id(gateway_key_document(&first, 7, "a/b")), "a/b");
    assert_null(gateway_key_document_id(gateway_key_counters(&first, 7)));
    assert_null(gateway_key_document_id(gateway_key_documents(&first, 7)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_stand_in_the_order_of_their_ids_and_revisions),
        cmocka_unit_test(a_range_holds_its_documents_and_no_others),
        cmocka_unit_test(a_tenants_collections_are_its_own),
        cmocka_unit_test(numbers_stand_in_their_order),
        cmocka_unit_test(a_document_id_is_read_back_from_its_key),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);

    weir_buffer_fini(&first);
    weir_buffer_fini(&second);
    return failed;
}
