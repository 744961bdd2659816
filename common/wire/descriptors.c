/*
 * descriptors.c - the file that protoc writes beside the generated code, inside the program.
 * Nothing can be missing at run time: without the file the build fails.
 */
#include "common/wire/descriptors.h"

/* The assembler copies the file in, so there is no large generated C array to compile. */
__asm__(".section .rodata\n"
        ".balign 16\n"
        "weir_descriptor_set_begin:\n"
        ".incbin \"" WEIR_DESCRIPTOR_FILE "\"\n"
        "weir_descriptor_set_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const uint8_t weir_descriptor_set_begin[] __attribute__((visibility("hidden")));
extern const uint8_t weir_descriptor_set_end[] __attribute__((visibility("hidden")));

weir_bytes
weir_descriptor_set(void)
{
    return weir_bytes_of(weir_descriptor_set_begin,
        (size_t)(weir_descriptor_set_end - weir_descriptor_set_begin));
}
