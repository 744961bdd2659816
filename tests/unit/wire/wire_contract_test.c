/*
 * Goal: check and unpack agree on damaged messages too (tests/fuzz/wire/contract.h).
 * Method: one rich message, cut at each place and damaged by a seeded generator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/base/random.h"
#include "common/wire/wire.h"
#include "tests/fuzz/wire/contract.h"
#include "wire_cases.pb-c.h"

enum { DAMAGES = 60000 };

static const char rich[] =
    "\x0a\x04root\x12\x06\x0a\x02hi\x38\x05\x1a\x02\x38\x01\x1a\x04\x32\x02\x10\x07"
    "\x4a\x17\x0a\x03\x01\x02\x03\x08\x04\x1a\x04\x01\x00\x00\x00\x72\x02\x00\x01\x7a\x01z"
    "\x8a\x01\x00"
    "\x52\x1a\x0a\x06\x0a\x01"
    "a\x12\x01"
    "1\x12\x04\x08\x07\x12\x00\x1a\x02\x10\x04"
    "\x2a\x06\x08\x02\x12\x02\x1a\x00"
    "\x42\x07\x82\x01\x04\x01\x02\x03\x04\xc2\x0c\x02zz";

static void
every_prefix_keeps_the_contract(void **state)
{
    assert_true(wire_contract_hold(weir_bytes_of(rich, sizeof rich - 1)));
    for (size_t size = 0; size < sizeof rich; size++)
        (void)wire_contract_hold(weir_bytes_of(rich, size));
}

/* The budget is exact at each edge of rounding and at each new block of field records. */
static void
every_size_keeps_the_contract(void **state)
{
    weir_buffer text = { 0 };
    weir_buffer fields = { 0 };
    weir_buffer unknown = { 0 };

    for (uint8_t size = 0; size < 120; size++) {
        const uint8_t head[] = { 0x0a, size };

        weir_buffer_clear(&text);
        weir_buffer_append(&text, head, sizeof head);
        for (uint8_t count = 0; count < size; count++)
            weir_buffer_append_u8(&text, 'a');
        assert_true(wire_contract_hold(weir_buffer_view(&text)));
        weir_buffer_append(&fields, "\x38\x01", 2);
        assert_true(wire_contract_hold(weir_buffer_view(&fields)));
        weir_buffer_append(&unknown, "\xf8\x06\x01", 3);
        assert_true(wire_contract_hold(weir_buffer_view(&unknown)));
    }
    weir_buffer_fini(&text);
    weir_buffer_fini(&fields);
    weir_buffer_fini(&unknown);
}

static void
damage(weir_rng *rng, uint8_t *bytes, size_t *size)
{
    const size_t at = weir_rng_below(rng, *size);

    switch (weir_rng_below(rng, 4)) {
    case 0:
        bytes[at] = (uint8_t)weir_rng_next(rng);
        break;
    case 1:
        bytes[at] ^= (uint8_t)(1u << weir_rng_below(rng, 8));
        break;
    case 2: /* drop one byte */
        memmove(bytes + at, bytes + at + 1, *size - at - 1);
        *size -= 1;
        break;
    default: /* double one byte */
        memmove(bytes + at + 1, bytes + at, *size - at);
        *size += 1;
    }
}

static void
damaged_messages_keep_the_contract(void **state)
{
    weir_rng rng = { 11 };
    unsigned taken = 0;

    for (unsigned round = 0; round < DAMAGES; round++) {
        uint8_t bytes[sizeof rich + 8];
        size_t size = sizeof rich - 1;

        memcpy(bytes, rich, size);
        for (uint64_t count = 1 + weir_rng_below(&rng, 4); count > 0; count--)
            damage(&rng, bytes, &size);
        taken += wire_contract_hold(weir_bytes_of(bytes, size));
    }
    /* Both sides of the contract were met, or the test tests nothing. */
    assert_in_range(taken, DAMAGES / 100, DAMAGES - DAMAGES / 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_keeps_the_contract),
        cmocka_unit_test(every_size_keeps_the_contract),
        cmocka_unit_test(damaged_messages_keep_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
