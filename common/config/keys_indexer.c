/*
 * keys_indexer.c - settings of the indexer.
 */
#include "common/config/keys.h"

/* Alphabetical. */
const weir_config_key weir_indexer_config_keys[] = { KEY(U32, indexer.search_concurrency,
                                                         "indexer.search_concurrency", "4", 1, 256,
                                                         "Searches at once; more wait"),
    KEY(U32, indexer.workers, "indexer.workers", "2", 1, 256, "Threads that build indexes"),
    WEIR_CONFIG_END };
