/*
 * schemas.h - the schema of each service's records: what this version writes, and the oldest that
 * it opens.
 *
 * Raised with every change of a stored record or key that an older binary would misread.  The
 * folder of an older schema opens and is raised; `tests/upgrade` holds one of each.  Threads: pure.
 */
#ifndef WEIR_DOMAIN_SCHEMAS_H
#define WEIR_DOMAIN_SCHEMAS_H

#include "common/domain/links.h"

typedef struct weir_schemas {
    uint32_t newest, oldest;
} weir_schemas;

static inline weir_schemas
weir_schemas_of(weir_service_id service)
{
    static const weir_schemas schemas[WEIR_SERVICE_COUNT] = {
        [WEIR_SERVICE_GATEWAY] = { .newest = 2, .oldest = 1 },
        [WEIR_SERVICE_INGEST] = { .newest = 1, .oldest = 1 },
        [WEIR_SERVICE_EMBEDDER] = { .newest = 1, .oldest = 1 },
        [WEIR_SERVICE_INDEXER] = { .newest = 1, .oldest = 1 },
        [WEIR_SERVICE_RECONCILER] = { .newest = 2, .oldest = 1 },
    };

    return schemas[service];
}

#endif
