/*
 * rpc.h - the indexer's reads for the other services: IndexerService over the functions of core.h.
 */
#ifndef WEIR_INDEXER_RPC_H
#define WEIR_INDEXER_RPC_H

#include <semaphore.h>

#include "common/service/service.h"
#include "services/indexer/core.h"

typedef struct indexer {
    weir_service *service;
    indexer_core *core;
    sem_t searches; /* indexer.search_concurrency of them at once */
} indexer;

extern const weir_service_api indexer_unix_apis[];

#endif
