/*
 * links.c - the one table of links and the one table of service names.
 *
 * Numbers are array positions that stand in records and frames; the assertions below keep a new
 * line from being put in the middle.
 */
#include "common/domain/links.h"

#include <string.h>

#include "common/base/assert.h"

#define LINK(kind_, name_, from_, to_, control_, carries_era_) \
    [WEIR_LINK_##kind_] = { .kind = WEIR_LINK_##kind_,         \
        .name = (name_),                                       \
        .from = WEIR_SERVICE_##from_,                          \
        .to = WEIR_SERVICE_##to_,                              \
        .control = (control_),                                 \
        .carries_era = (carries_era_) }

/*
 * carries_era: only the path of documents drops rows of a lost era, because their work comes again
 * under a new epoch. A tombstone, a revoke, a seed or an event is not driven again and stays true
 * in any era, so those rows always pass and their receivers compare revisions and epochs.
 */
/* clang-format off */
static const weir_link_spec specs[WEIR_LINK_COUNT] = {
    /*   kind                 name                   from        to          control era */
    LINK(GATEWAY_INGEST,      "gateway-ingest",      GATEWAY,    INGEST,     false, true),
    LINK(INGEST_EMBEDDER,     "ingest-embedder",     INGEST,     EMBEDDER,   false, true),
    LINK(EMBEDDER_INDEXER,    "embedder-indexer",    EMBEDDER,   INDEXER,    false, true),
    LINK(GATEWAY_INDEXER,     "gateway-indexer",     GATEWAY,    INDEXER,    true,  false),
    LINK(GATEWAY_RECONCILER,  "gateway-reconciler",  GATEWAY,    RECONCILER, false, false),
    LINK(INGEST_RECONCILER,   "ingest-reconciler",   INGEST,     RECONCILER, false, false),
    LINK(EMBEDDER_RECONCILER, "embedder-reconciler", EMBEDDER,   RECONCILER, false, false),
    LINK(INDEXER_RECONCILER,  "indexer-reconciler",  INDEXER,    RECONCILER, false, false),
    LINK(RECONCILER_INDEXER,  "reconciler-indexer",  RECONCILER, INDEXER,    true,  false),
    LINK(RECONCILER_GATEWAY,  "reconciler-gateway",  RECONCILER, GATEWAY,    true,  false),
    LINK(INDEXER_GATEWAY,     "indexer-gateway",     INDEXER,    GATEWAY,    true,  false),
};
/* clang-format on */

_Static_assert(WEIR_LINK_INDEXER_GATEWAY == 11 && WEIR_LINK_COUNT == 12,
    "a new link is added at the end, with its line above");

static const char *const service_names[WEIR_SERVICE_COUNT] = {
    [WEIR_SERVICE_NONE] = "none",
    [WEIR_SERVICE_GATEWAY] = "gateway",
    [WEIR_SERVICE_INGEST] = "ingest",
    [WEIR_SERVICE_EMBEDDER] = "embedder",
    [WEIR_SERVICE_INDEXER] = "indexer",
    [WEIR_SERVICE_RECONCILER] = "reconciler",
};

const weir_link_spec *
weir_link_spec_of(weir_link_kind kind)
{
    weir_assert(kind > WEIR_LINK_NONE && kind < WEIR_LINK_COUNT);
    weir_assert(specs[kind].kind == kind);
    return &specs[kind];
}

const char *
weir_service_name(weir_service_id service)
{
    weir_assert(service >= WEIR_SERVICE_NONE && service < WEIR_SERVICE_COUNT);
    return service_names[service];
}

weir_service_id
weir_service_from_name(const char *name)
{
    for (int id = WEIR_SERVICE_GATEWAY; id < WEIR_SERVICE_COUNT; id++)
        if (strcmp(name, service_names[id]) == 0)
            return (weir_service_id)id;
    return WEIR_SERVICE_NONE;
}
