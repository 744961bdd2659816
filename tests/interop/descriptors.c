/*
 * descriptors.c - the interop protos' FileDescriptorSet, taken in at build time.
 */
#include "tests/interop/test_service.h"

__asm__(".section .rodata\n"
        ".balign 16\n"
        "interop_descriptor_set_begin:\n"
        ".incbin \"" INTEROP_DESCRIPTOR_FILE "\"\n"
        "interop_descriptor_set_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t interop_descriptor_set_begin[] __attribute__((visibility("hidden")));
extern const uint8_t interop_descriptor_set_end[] __attribute__((visibility("hidden")));

weir_bytes
interop_descriptor_set(void)
{
    return weir_bytes_of(interop_descriptor_set_begin,
        (size_t)(interop_descriptor_set_end - interop_descriptor_set_begin));
}
