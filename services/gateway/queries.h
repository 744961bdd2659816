/*
 * queries.h - vectors of search texts that were asked for lately.  Losing them costs an embedding.
 *
 * Threads: any.
 */
#ifndef WEIR_GATEWAY_QUERIES_H
#define WEIR_GATEWAY_QUERIES_H

#include "common/base/bytes.h"

typedef struct gateway_queries gateway_queries;

/* entries_max 0: nothing is kept. */
gateway_queries *gateway_queries_create(uint32_t entries_max);
void gateway_queries_destroy(gateway_queries **queries_p);

/* The vector of `text` in the space `fingerprint`, appended to out; false: not kept. */
bool gateway_queries_get(gateway_queries *queries, const char *fingerprint, const char *text,
    weir_buffer *out);
void gateway_queries_put(gateway_queries *queries, const char *fingerprint, const char *text,
    weir_bytes vector);
uint64_t gateway_queries_hits(gateway_queries *queries);

#endif
