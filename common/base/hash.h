/*
 * hash.h - the three hashes weir uses: SHA-256 (libcrypto) names content, CRC32C (the processor's
 * instruction, or a table; Debian 13 packages no library for it) guards rows and records, XXH3
 * (xxhash) spreads keys.  Any thread.
 */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include "common/base/bytes.h"

enum { WEIR_SHA256_SIZE = 32 };

typedef struct weir_sha256_sum {
    uint8_t bytes[WEIR_SHA256_SIZE];
} weir_sha256_sum;

weir_sha256_sum weir_sha256(weir_bytes input);
/* CRC32C (Castagnoli, RFC 3720 appendix B.4) of input, continuing from `crc` (0 to start). */
uint32_t weir_crc32c(uint32_t crc, weir_bytes input);
/* The same by table: what a processor without the instruction runs, and what tests compare with. */
uint32_t weir_crc32c_portable(uint32_t crc, weir_bytes input);
uint64_t weir_hash64(weir_bytes input, uint64_t seed);

#endif
