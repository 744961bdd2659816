/*
 * boot.c - one start of a process, as a value.
 *
 * A boot is equal to another only when counter and random part are: a rolled-back database counts
 * the same numbers again, and its starts must not be taken for those that were lost.
 */
#include "common/link/internal.h"

link_boot
link_boot_of(const weir_link_identity *identity)
{
    link_boot boot = { .counter = identity->boot_counter };

    memcpy(boot.random, identity->boot_random, sizeof boot.random);
    return boot;
}

bool
link_boot_equal(const link_boot *a, const link_boot *b)
{
    return a->counter == b->counter && memcmp(a->random, b->random, sizeof a->random) == 0;
}

bool
link_boot_is(const link_boot *boot, const Weir__Internal__V1__Boot *message)
{
    link_boot other;

    return link_boot_read(message, &other) && link_boot_equal(boot, &other);
}

bool
link_boot_read(const Weir__Internal__V1__Boot *message, link_boot *ret_boot)
{
    if (message == NULL || message->random.len != WEIR_BOOT_RANDOM_SIZE)
        return false;
    ret_boot->counter = message->counter;
    memcpy(ret_boot->random, message->random.data, WEIR_BOOT_RANDOM_SIZE);
    return true;
}

Weir__Internal__V1__Boot
link_boot_message(const link_boot *boot)
{
    Weir__Internal__V1__Boot message = WEIR__INTERNAL__V1__BOOT__INIT;

    message.counter = boot->counter;
    message.random = link_borrow(boot->random, sizeof boot->random);
    return message;
}

ProtobufCBinaryData
link_borrow(const void *data, size_t size)
{
    /* protobuf-c has no const fields; a borrowing message is only packed. */
    return (ProtobufCBinaryData){ .len = size, .data = (uint8_t *)(uintptr_t)data };
}
