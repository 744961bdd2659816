/* Goal: the hashes are the published ones.  Method: test vectors, one path against the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/random.h"

static void
sha256_gives_the_vectors_of_fips_180(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } rows[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };

    for (size_t index = 0; index < 3; index++) {
        const weir_sha256_sum sum = weir_sha256(weir_bytes_str(rows[index].text));
        char hex[65];

        weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
        assert_string_equal(hex, rows[index].hex);
    }
    (void)weir_sha256(weir_bytes_of(NULL, 0));
}

static void
crc32c_gives_the_vectors_of_rfc_3720(void **state)
{
    uint8_t bytes[32] = { 0 };

    assert_int_equal(weir_crc32c(0, weir_bytes_of(bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(weir_crc32c(0, weir_bytes_of(bytes, 32)), 0x62a8ab43);
    for (unsigned index = 0; index < 32; index++)
        bytes[index] = (uint8_t)index;
    assert_int_equal(weir_crc32c(0, weir_bytes_of(bytes, 32)), 0x46dd794e);
    for (unsigned index = 0; index < 32; index++)
        bytes[index] = (uint8_t)(31 - index);
    assert_int_equal(weir_crc32c(0, weir_bytes_of(bytes, 32)), 0x113fdb5c);
    assert_int_equal(weir_crc32c(0, weir_bytes_str("123456789")), 0xe3069283);
}

static void
crc32c_continues_and_both_ways_agree(void **state)
{
    weir_rng rng = { 3 };
    uint8_t bytes[3000];

    for (size_t index = 0; index < sizeof bytes; index++)
        bytes[index] = (uint8_t)weir_rng_next(&rng);
    /* Every short length, and those around the blocks that are summed side by side. */
    for (size_t size = 0; size < 2900; size += size < 100 || size % 256 < 16 ? 1 : 15) {
        for (size_t from = 0; from < 8; from++) {
            const weir_bytes whole = weir_bytes_of(bytes + from, size);
            const uint32_t crc = weir_crc32c(0, whole);
            const size_t split = size / 3;
            const uint32_t first = weir_crc32c(0, weir_bytes_of(whole.data, split));

            assert_int_equal(crc, weir_crc32c_portable(0, whole));
            const weir_bytes rest = weir_bytes_of(whole.data + split, size - split);
            assert_int_equal(crc, weir_crc32c(first, rest));
        }
    }
}

static void
hash64_is_xxh3(void **state)
{
    assert_true(weir_hash64(weir_bytes_str(""), 0) == 0x2d06800538d394c2);
    assert_true(weir_hash64(weir_bytes_str("weir"), 1) != weir_hash64(weir_bytes_str("weir"), 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_vectors_of_fips_180),
        cmocka_unit_test(crc32c_gives_the_vectors_of_rfc_3720),
        cmocka_unit_test(crc32c_continues_and_both_ways_agree),
        cmocka_unit_test(hash64_is_xxh3),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
