/*
 * fuzz_wire.c - any bytes, against the contract of contract.h.
 *
 * With clang this is a libFuzzer program; with another compiler the files named on the command line
 * are run once.
 */
#include <stdint.h>
#include <stdio.h>

#include "tests/fuzz/wire/contract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)wire_contract_hold(weir_bytes_of(data, size));
    return 0;
}

#ifndef WEIR_LIBFUZZER
static void
run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *const file = fopen(path, "rb");

    if (file == NULL)
        return;
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, size);
}

int
main(int argc, char **argv)
{
    for (int index = 1; index < argc; index++)
        run_file(argv[index]);
    return 0;
}
#endif
