/*
 * id.h - identifiers and their text forms.  Any thread.
 */
#ifndef WEIR_BASE_ID_H
#define WEIR_BASE_ID_H

#include "common/base/bytes.h"

/* Lower-case hex with NUL: out has 2 * size + 1 bytes. */
void weir_hex_encode(weir_bytes input, char *out);
/* Exactly out_size bytes from 2 * out_size hex digits; false on anything else. */
bool weir_hex_decode(const char *hex, uint8_t *out, size_t out_size);
/* UUIDv7 (RFC 9562 section 5.7) from a wall time and 10 random bytes; out has 37 bytes with NUL. */
void weir_uuid7_format(int64_t wall_ms, const uint8_t random[10], char out[37]);
/* True for well-formed UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms). */
bool weir_utf8_valid(weir_bytes input);
/* Length of the well-formed UTF-8 character (NUL included) that begins at `at`, 1..4; 0 when
 * there is none. */
size_t weir_utf8_length(const uint8_t *at, size_t left);

#endif
