/*
 * Goal: damage in a log is told from its end.  Method: logs written here, and one of a real store.
 */
#include "tests/unit/store/support.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/store/wal.h"

enum { NUMBER = 9, BLOCK = 32 << 10, COMMITS = 200, DATA_BYTES = 300 };

static weir_error error;

/* ---- logs as RocksDB writes them ---- */

static void
append_le(weir_buffer *log, uint32_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        weir_buffer_append_u8(log, (uint8_t)(value >> 8 * i));
}

static void
append_record(weir_buffer *log, uint8_t type, uint32_t number, size_t size)
{
    weir_buffer body = { 0 };

    weir_buffer_append_u8(&body, type);
    if (type > 4)
        append_le(&body, number, 4);
    for (size_t i = 0; i < size; i++)
        weir_buffer_append_u8(&body, (uint8_t)(i * 31 + size));
    const uint32_t crc = weir_crc32c(0, weir_buffer_view(&body));
    append_le(log, (crc >> 15 | crc << 17) + 0xa282ead8u, 4);
    append_le(log, (uint32_t)size, 2);
    weir_buffer_append(log, body.data, body.size);
    weir_buffer_fini(&body);
}

/* Records of one size; what does not fit into a block is left zero. */
static weir_buffer
made_log(uint8_t type, size_t count)
{
    const size_t header = type > 4 ? 11 : 7;
    weir_buffer log = { 0 };

    for (size_t i = 0; i < count; i++) {
        if (BLOCK - log.size % BLOCK < header + DATA_BYTES)
            while (log.size % BLOCK != 0)
                weir_buffer_append_u8(&log, 0);
        append_record(&log, type, NUMBER, DATA_BYTES);
    }
    return log;
}

static void
a_log_of_many_blocks_that_is_whole_has_no_hole(void **state)
{
    weir_buffer log = { 0 };

    for (int i = 0; i < 8; i++) { /* one batch over a whole block, in parts */
        append_record(&log, 6, NUMBER, BLOCK - 11);
        append_record(&log, 7, NUMBER, BLOCK - 11);
        append_record(&log, 8, NUMBER, BLOCK - 11);
    }
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 0);
    log.data[2 * BLOCK + 500] ^= 1;
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 7);
    weir_buffer_fini(&log);
}

static void
what_follows_a_flipped_bit_is_counted_wherever_the_bit_is(void **state)
{
    static const uint8_t types[] = { 1, 5 };

    for (size_t i = 0; i < 2; i++) {
        for (size_t place = 0; place < 40; place++) {
            weir_buffer log = made_log(types[i], 1000);

            log.data[5000 + place] ^= 0x10;
            const size_t behind = weir_wal_behind_hole(weir_buffer_view(&log), NUMBER);
            assert_in_range(behind, 1000 - 110, 1000); /* at worst, the rest of its block is not */
            weir_buffer_fini(&log);
        }
    }
}

static void
the_end_of_a_log_is_no_damage(void **state)
{
    weir_buffer log = made_log(5, 50);

    for (size_t cut = 0; cut < 400; cut += 7) /* a torn commit */
        assert_int_equal(weir_wal_behind_hole(weir_bytes_of(log.data, log.size - cut), NUMBER), 0);
    for (int i = 0; i < 50; i++) /* what the file held before it was used again */
        append_record(&log, 5, NUMBER - 3, DATA_BYTES);
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 0);
    for (int i = 0; i < 5000; i++) /* space that was laid out before it was needed */
        weir_buffer_append_u8(&log, 0);
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 0);
    weir_buffer_fini(&log);
}

static void
a_log_that_is_used_again_under_its_old_name_is_let_be(void **state)
{
    weir_buffer log = { 0 };

    append_record(&log, 5, NUMBER + 4, DATA_BYTES);
    for (int i = 0; i < 100; i++)
        append_record(&log, 5, NUMBER, DATA_BYTES);
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 0);
    log.data[20] ^= 1; /* and torn in its first record */
    assert_int_equal(weir_wal_behind_hole(weir_buffer_view(&log), NUMBER), 0);
    weir_buffer_fini(&log);
}

/* ---- a real one ---- */

static void
flip(const char *folder, double share)
{
    char pattern[200];
    glob_t found = { 0 };

    snprintf(pattern, sizeof pattern, "%s/db/*.log", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    FILE *stream = fopen(found.gl_pathv[found.gl_pathc - 1], "r+");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    const long place = (long)((double)ftell(stream) * share);
    assert_int_equal(fseek(stream, place, SEEK_SET), 0);
    const int byte = fgetc(stream);
    assert_int_equal(fseek(stream, place, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 4, stream), byte ^ 4);
    fclose(stream);
    globfree(&found);
}

enum { HEADER = 11, OF_THIS_LOG = 5 };

/* Where the records of the newest log begin; those of the log that it once was are not counted. */
static size_t
read_places(const char *folder, long *places, size_t most, char *path)
{
    char pattern[200];
    glob_t found = { 0 };
    uint8_t header[HEADER];
    size_t count = 0;
    uint32_t number = 0;

    snprintf(pattern, sizeof pattern, "%s/db/*.log", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    snprintf(path, 300, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    for (long at = 0; count < most; count++) {
        assert_int_equal(fseek(stream, at, SEEK_SET), 0);
        if (fread(header, 1, sizeof header, stream) != sizeof header || header[6] < OF_THIS_LOG)
            break;
        const uint32_t its = (uint32_t)header[7] | (uint32_t)header[8] << 8 |
            (uint32_t)header[9] << 16 | (uint32_t)header[10] << 24;
        number = count == 0 ? its : number;
        if (its != number)
            break;
        places[count] = at;
        at += HEADER + (header[4] | header[5] << 8);
    }
    fclose(stream);
    return count;
}

static void
flip_at(const char *path, long place)
{
    FILE *stream = fopen(path, "r+");

    assert_non_null(stream);
    assert_int_equal(fseek(stream, place, SEEK_SET), 0);
    const int byte = fgetc(stream);
    assert_int_equal(fseek(stream, place, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 4, stream), byte ^ 4);
    fclose(stream);
}

/* Few enough for one block.  from_end 0: the last record; COUNTED_FROM_START: the first. */
enum { FEW = 20, COUNTED_FROM_START = 1000, LOG_PLACES = 100 };

static void
commit_few(const char *folder)
{
    const weir_store_options options = default_options(folder);
    weir_store *store = NULL;

    CHECK_OK(weir_store_open(&options, &store, &error));
    for (int i = 0; i < FEW; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %d", i);
        put_now(store, key, "a value of some length, so that the log grows", true);
    }
    weir_store_close(&store);
}

static weir_code
open_again(const char *folder)
{
    const weir_store_options options = default_options(folder);
    weir_store *store = NULL;
    const weir_code code = weir_store_open(&options, &store, &error);

    weir_store_close(&store);
    return code;
}

static weir_code
commit_few_flip_and_open(size_t from_end, bool forgets)
{
    char folder[128];
    char path[300];
    long places[LOG_PLACES];

    scratch_make(folder);
    commit_few(folder);
    const size_t count = read_places(folder, places, LOG_PLACES, path);
    assert_in_range(count, FEW, LOG_PLACES - 1);
    const size_t index = from_end == COUNTED_FROM_START ? 0 : count - 1 - from_end;
    flip_at(path, places[index] + HEADER + 20);
    if (forgets) {
        snprintf(path, sizeof path, "%s/db/SYNCED", folder);
        assert_int_equal(remove(path), 0);
    }
    const weir_code code = open_again(folder);
    scratch_remove(folder);
    return code;
}

/* What is not told from the end of a log by the log alone. */
static void
a_flipped_bit_near_the_end_or_in_the_first_record_is_refused(void **state)
{
    static const size_t from_end[] = { 0, 1, FEW / 2, COUNTED_FROM_START };

    for (size_t i = 0; i < sizeof from_end / sizeof from_end[0]; i++) {
        CHECK_CODE(commit_few_flip_and_open(from_end[i], false), WEIR_CORRUPT);
        assert_non_null(strstr(error.message, "its log is damaged"));
        CHECK_OK(commit_few_flip_and_open(from_end[i], true)); /* else this proves nothing */
    }
}

static void
write_synced(const char *folder, uint64_t number, uint8_t flipped)
{
    uint8_t record[12];
    char path[200];

    weir_store_u64(record, number);
    weir_store_u32(record + 8, weir_crc32c(0, weir_bytes_of(record, 8)));
    record[3] ^= flipped;
    snprintf(path, sizeof path, "%s/db/SYNCED", folder);
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(record, 1, sizeof record, stream), sizeof record);
    fclose(stream);
}

static void
a_number_of_what_was_synced_that_is_damaged_or_old_says_nothing(void **state)
{
    char folder[128];

    scratch_make(folder);
    commit_few(folder);
    CHECK_OK(open_again(folder));
    write_synced(folder, 1, 0);
    CHECK_OK(open_again(folder));
    write_synced(folder, 1000000, 1);
    CHECK_OK(open_again(folder));
    write_synced(folder, 1000000, 0);
    CHECK_CODE(open_again(folder), WEIR_CORRUPT);
    scratch_remove(folder);
}

static void
a_log_that_is_gone_is_refused(void **state)
{
    char folder[128];
    char path[300];
    long places[LOG_PLACES];

    scratch_make(folder);
    commit_few(folder);
    assert_in_range(read_places(folder, places, LOG_PLACES, path), FEW, LOG_PLACES - 1);
    assert_int_equal(remove(path), 0);
    CHECK_CODE(open_again(folder), WEIR_CORRUPT);
    scratch_remove(folder);
}

/* The damage is before enough whole records for the log itself to tell, and before the last. */
static void
a_damaged_log_is_made_do_with_when_that_is_asked_for_and_only_until_a_commit(void **state)
{
    char folder[128];
    long places[LOG_PLACES];
    char path[300];

    scratch_make(folder);
    for (int i = 0; i < 2; i++) {
        const weir_store_options options = default_options(folder);
        weir_store *store = NULL;

        CHECK_OK(weir_store_open(&options, &store, &error));
        for (int j = 0; j < LOG_PLACES / 2; j++)
            put_now(store, "key", "value", true);
        weir_store_close(&store);
        assert_in_range(read_places(folder, places, LOG_PLACES, path), 50, LOG_PLACES - 1);
        flip_at(path, places[3] + HEADER + 4);
        CHECK_CODE(open_again(folder), WEIR_CORRUPT);
        CHECK_OK(weir_store_take_as_it_is(folder, &error));
        CHECK_OK(open_again(folder));
        CHECK_OK(open_again(folder));
    }
    scratch_remove(folder);
}

static weir_code
commit_flip_and_open(double share)
{
    char folder[128];
    weir_store *store = NULL;

    scratch_make(folder);
    const weir_store_options options = default_options(folder);
    CHECK_OK(weir_store_open(&options, &store, &error));
    for (int i = 0; i < COMMITS; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %d", i);
        put_now(store, key, "a value of some length, so that the log grows", true);
    }
    weir_store_close(&store);
    flip(folder, share);
    const weir_code code = weir_store_open(&options, &store, &error);
    weir_store_close(&store);
    scratch_remove(folder);
    return code;
}

static void
a_store_with_a_flipped_bit_in_its_log_is_refused(void **state)
{
    CHECK_CODE(commit_flip_and_open(0.1), WEIR_CORRUPT);
    CHECK_CODE(commit_flip_and_open(0.5), WEIR_CORRUPT);
    assert_non_null(strstr(error.message, ".log has a damaged record"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_of_many_blocks_that_is_whole_has_no_hole),
        cmocka_unit_test(what_follows_a_flipped_bit_is_counted_wherever_the_bit_is),
        cmocka_unit_test(the_end_of_a_log_is_no_damage),
        cmocka_unit_test(a_log_that_is_used_again_under_its_old_name_is_let_be),
        cmocka_unit_test(a_store_with_a_flipped_bit_in_its_log_is_refused),
        cmocka_unit_test(a_flipped_bit_near_the_end_or_in_the_first_record_is_refused),
        cmocka_unit_test(a_number_of_what_was_synced_that_is_damaged_or_old_says_nothing),
        cmocka_unit_test(a_log_that_is_gone_is_refused),
        cmocka_unit_test(
            a_damaged_log_is_made_do_with_when_that_is_asked_for_and_only_until_a_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
