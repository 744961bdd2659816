/*
 * keys_indexer.c - settings of the indexer.
 */
#include "common/config/keys.h"

/* Alphabetical. */
const weir_config_key weir_indexer_config_keys[] = { KEY(U32, indexer.search_concurrency,
                                                         "indexer.search_concurrency", "4", 1, 256,
                                                         "Searches at once; more wait"),
    WEIR_CONFIG_END };
