/*
 * contract.c - check and unpack agree.
 *
 *   1. What passes the check is unpacked, into an arena of the smallest budget that passes.
 *   2. What was decoded, packed again, passes again and packs to the same bytes.
 */
#include "tests/fuzz/wire/contract.h"

#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "wire_cases.pb-c.h"

enum { BUDGET_TOP = 64 << 20 };

static bool
passes(const ProtobufCMessageDescriptor *descriptor, weir_bytes input, size_t budget)
{
    const weir_wire_limits limits = { .decoded_bytes_max = budget };

    return weir_wire_check(descriptor, input, &limits, NULL) == WEIR_OK;
}

static size_t
smallest_budget(const ProtobufCMessageDescriptor *descriptor, weir_bytes input)
{
    size_t low = 1;
    size_t high = BUDGET_TOP;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (passes(descriptor, input, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static ProtobufCMessage *
decode(const ProtobufCMessageDescriptor *descriptor, weir_bytes input, weir_arena *arena)
{
    const weir_wire_limits limits = { .decoded_bytes_max = BUDGET_TOP };
    ProtobufCMessage *message = NULL;
    weir_error error = { 0 };
    const weir_code code = weir_wire_decode(descriptor, input, &limits, arena, &message, &error);

    if (code != WEIR_OK)
        weir_assert_failed(error.message, descriptor->name, (int)code);
    return message;
}

static void
hold_for(const ProtobufCMessageDescriptor *descriptor, weir_bytes input)
{
    weir_arena *tight = weir_arena_create(smallest_budget(descriptor, input));
    weir_arena *roomy = weir_arena_create(0);
    weir_buffer first = { 0 };
    weir_buffer second = { 0 };

    weir_wire_encode(decode(descriptor, input, tight), &first);
    weir_wire_encode(decode(descriptor, weir_buffer_view(&first), roomy), &second);
    weir_assert(weir_bytes_equal(weir_buffer_view(&first), weir_buffer_view(&second)));

    weir_buffer_fini(&first);
    weir_buffer_fini(&second);
    weir_arena_destroy(&tight);
    weir_arena_destroy(&roomy);
}

bool
wire_contract_hold(weir_bytes input)
{
    const ProtobufCMessageDescriptor *const descriptors[] = {
        &weir__test__tree__descriptor,
        &weir__test__scalars__descriptor,
        &weir__test__lists__descriptor,
        &weir__test__maps__descriptor,
    };
    bool was_taken = false;

    for (size_t index = 0; index < sizeof descriptors / sizeof *descriptors; index++) {
        if (!passes(descriptors[index], input, BUDGET_TOP))
            continue;
        hold_for(descriptors[index], input);
        was_taken = true;
    }
    return was_taken;
}
