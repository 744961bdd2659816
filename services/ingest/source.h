/*
 * source.h - large bodies, read from the gateway over its Unix socket.
 */
#ifndef WEIR_INGEST_SOURCE_H
#define WEIR_INGEST_SOURCE_H

#include "common/rpc/client.h"
#include "services/ingest/core.h"

typedef struct ingest_source {
    weir_rpc_stub *stub; /* of SourceService */
    uint32_t timeout_ms;
} ingest_source;

/* An ingest_read_source with the ingest_source as ud.  Besides its codes: TIMEOUT, BODY_TOO_LARGE
 * for more than 64 MiB. */
weir_code ingest_source_read(void *ud, const Weir__Internal__V1__Row *row, weir_buffer *out,
    weir_error *reterr);

#endif
