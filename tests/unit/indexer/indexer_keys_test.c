/*
 * indexer_keys_test.c - key order is logical order, and damage is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/indexer/keys.h"

static weir_error error;

static int
order(const indexer_key *a, const indexer_key *b)
{
    return weir_bytes_compare(indexer_key_view(a), indexer_key_view(b));
}

static void
rows_sort_by_collection_document_revision_epoch_ordinal(void **state)
{
    const struct {
        uint64_t collection_no;
        indexer_try owner;
        uint32_t ordinal;
    } rows[] = {
        { 1, { "a", 1, 1 }, 0 },
        { 1, { "a", 1, 1 }, 1 },
        { 1, { "a", 1, 1 }, 256 },
        { 1, { "a", 1, 2 }, 0 },
        { 1, { "a", 2, 1 }, 0 },
        { 1, { "a", 300, 1 }, 0 },
        { 1, { "a\x01", 1, 1 }, 0 },
        { 1, { "aa", 1, 1 }, 0 },
        { 1, { "b", 1, 1 }, 0 },
        { 2, { "a", 1, 1 }, 0 },
        { 256, { "a", 1, 1 }, 0 },
    };

    for (size_t i = 1; i < sizeof rows / sizeof rows[0]; i++) {
        const indexer_key before = indexer_key_row(INDEXER_TAG_VECTOR, rows[i - 1].collection_no,
            &rows[i - 1].owner, rows[i - 1].ordinal);
        const indexer_key after = indexer_key_row(INDEXER_TAG_VECTOR, rows[i].collection_no,
            &rows[i].owner, rows[i].ordinal);

        assert_true(order(&before, &after) < 0);
    }
}

static void
the_rows_of_a_try_lie_between_its_first_key_and_its_end(void **state)
{
    const indexer_try owner = { "doc", 3, 2 }, next = { "doc", 3, 3 }, longer = { "docs", 1, 1 };
    const indexer_key last = indexer_key_row(INDEXER_TAG_CHUNK, 9, &owner, UINT32_MAX);
    const indexer_key end = indexer_key_rows_end(INDEXER_TAG_CHUNK, 9, &owner);
    const indexer_key other = indexer_key_row(INDEXER_TAG_CHUNK, 9, &next, 0);
    const indexer_key another = indexer_key_row(INDEXER_TAG_CHUNK, 9, &longer, 0);

    assert_true(order(&last, &end) < 0);
    assert_true(order(&end, &other) < 0);
    assert_true(order(&end, &another) < 0);
}

static void
a_collections_range_holds_its_keys_and_no_others(void **state)
{
    const indexer_key inside = indexer_key_document(7, "x"), outside = indexer_key_document(8, "a");
    indexer_key lower, upper;

    indexer_key_range(INDEXER_TAG_DOCUMENT, 7, &lower, &upper);
    assert_true(order(&lower, &inside) < 0 && order(&inside, &upper) < 0);
    assert_true(order(&upper, &outside) < 0);
    indexer_key_range(INDEXER_TAG_DOCUMENT, 0, &lower, &upper);
    assert_true(order(&lower, &inside) < 0 && order(&outside, &upper) < 0);
    const indexer_key seed = indexer_key_seed();
    assert_true(order(&upper, &seed) < 0);
}

static void
keys_are_read_back_as_they_were_made(void **state)
{
    const indexer_try owner = { "Akte \xc3\xa4/1", 12, 34 };
    const indexer_key row = indexer_key_row(INDEXER_TAG_CHUNK, 56, &owner, 78);
    const indexer_key metadata = indexer_key_metadata(56, &owner);
    const indexer_key document = indexer_key_document(56, owner.document_id);
    const indexer_key collection = indexer_key_collection(56);
    indexer_key_parts parts;

    assert_int_equal(indexer_key_parse(INDEXER_TAG_CHUNK, indexer_key_view(&row), &parts, &error),
        WEIR_OK);
    assert_int_equal(parts.collection_no, 56);
    assert_string_equal(parts.owner.document_id, owner.document_id);
    assert_int_equal(parts.owner.revision, 12);
    assert_int_equal(parts.owner.epoch, 34);
    assert_int_equal(parts.ordinal, 78);
    assert_int_equal(indexer_key_parse(INDEXER_TAG_METADATA, indexer_key_view(&metadata), &parts,
                         &error),
        WEIR_OK);
    assert_int_equal(parts.owner.epoch, 34);
    assert_int_equal(indexer_key_parse(INDEXER_TAG_DOCUMENT, indexer_key_view(&document), &parts,
                         &error),
        WEIR_OK);
    assert_string_equal(parts.owner.document_id, owner.document_id);
    assert_int_equal(indexer_key_parse(INDEXER_TAG_COLLECTION, indexer_key_view(&collection),
                         &parts, &error),
        WEIR_OK);
    assert_int_equal(parts.collection_no, 56);
}

static void
every_truncation_of_a_key_is_corrupt(void **state)
{
    const indexer_try owner = { "doc", 1, 1 };
    const indexer_key row = indexer_key_row(INDEXER_TAG_VECTOR, 5, &owner, 0);
    indexer_key_parts parts;

    for (size_t size = 0; size < row.size; size++)
        assert_int_equal(indexer_key_parse(INDEXER_TAG_VECTOR, weir_bytes_of(row.bytes, size),
                             &parts, &error),
            WEIR_CORRUPT);
    assert_int_equal(indexer_key_parse(INDEXER_TAG_CHUNK, indexer_key_view(&row), &parts, &error),
        WEIR_CORRUPT);
}

static void
a_longest_document_id_fits_its_key(void **state)
{
    char id[WEIR_DOCUMENT_ID_BYTES_MAX + 1];
    const indexer_try owner = { id, INT64_MAX, INT64_MAX };
    indexer_key_parts parts;

    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    const indexer_key row = indexer_key_row(INDEXER_TAG_VECTOR, UINT64_MAX, &owner, UINT32_MAX);
    assert_int_equal(row.size, INDEXER_KEY_BYTES_MAX);
    assert_int_equal(indexer_key_parse(INDEXER_TAG_VECTOR, indexer_key_view(&row), &parts, &error),
        WEIR_OK);
    assert_string_equal(parts.owner.document_id, id);
}

static void
every_flipped_bit_of_a_stored_vector_is_noticed(void **state)
{
    const float vectors[] = { 0.6f, 0, -0.8f, 0, 1, 0 };
    weir_bytes back = { 0 };
    uint32_t count = 0;
    weir_buffer value = { 0 };

    indexer_vectors_encode(vectors, 2, 3, &value);
    assert_int_equal(value.size, 28);
    assert_int_equal(indexer_vectors_check(weir_buffer_view(&value), 3, &back, &count, &error),
        WEIR_OK);
    assert_int_equal(count, 2);
    assert_true(weir_bytes_equal(back, weir_bytes_of(vectors, sizeof vectors)));
    for (size_t bit = 0; bit < value.size * 8; bit++) {
        value.data[bit / 8] = (uint8_t)(value.data[bit / 8] ^ 1u << bit % 8);
        assert_int_equal(indexer_vectors_check(weir_buffer_view(&value), 3, &back, &count, &error),
            WEIR_CORRUPT);
        value.data[bit / 8] = (uint8_t)(value.data[bit / 8] ^ 1u << bit % 8);
    }
    assert_int_equal(indexer_vectors_check(weir_buffer_view(&value), 4, &back, &count, &error),
        WEIR_CORRUPT);
    assert_int_equal(indexer_vectors_check(weir_bytes_of(value.data, 4), 3, &back, &count, &error),
        WEIR_CORRUPT);
    weir_buffer_fini(&value);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_sort_by_collection_document_revision_epoch_ordinal),
        cmocka_unit_test(the_rows_of_a_try_lie_between_its_first_key_and_its_end),
        cmocka_unit_test(a_collections_range_holds_its_keys_and_no_others),
        cmocka_unit_test(keys_are_read_back_as_they_were_made),
        cmocka_unit_test(every_truncation_of_a_key_is_corrupt),
        cmocka_unit_test(a_longest_document_id_fits_its_key),
        cmocka_unit_test(every_flipped_bit_of_a_stored_vector_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
