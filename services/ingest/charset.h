/*
 * charset.h - bytes in some charset to UTF-8.  Private to the library `parse`.
 */
#ifndef WEIR_INGEST_CHARSET_H
#define WEIR_INGEST_CHARSET_H

#include "common/base/bytes.h"

enum { INGEST_CHARSET_BYTES_MAX = 40 };

/* Value of the charset parameter of a media type ("text/html; charset=utf-8"), lower-cased; "" when
 * there is none. */
void ingest_charset_parameter(const char *media_type, char out[INGEST_CHARSET_BYTES_MAX + 1]);
/* Charset that an HTML document declares in its first 4 KiB (<meta charset>, <meta http-equiv>), or
 * "". */
void ingest_charset_html(weir_bytes source, char out[INGEST_CHARSET_BYTES_MAX + 1]);
/* The charset has NUL bytes in plain text: UTF-16 and its kin, by byte-order mark or by name. */
bool ingest_charset_is_wide(weir_bytes source, const char *declared);

/*
 * The source as UTF-8, without a byte-order mark, after the rule in parse.h.  The result is the
 * source itself or stands in *storage (the caller's); bytes without a meaning become U+FFFD.
 */
weir_bytes ingest_charset_decode(weir_bytes source, const char *declared, weir_buffer *storage);

#endif
