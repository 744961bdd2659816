/*
 * rpc.h - EmbedderService: the texts of searches, in a lane of their own.
 */
#ifndef WEIR_EMBEDDER_RPC_H
#define WEIR_EMBEDDER_RPC_H

#include <semaphore.h>

#include "common/service/service.h"
#include "services/embedder/core.h"

typedef struct embedder {
    weir_service *service;
    embedder_models *models;
    embedder_core *core;
    embedder_observer observer;
    sem_t query_lane;     /* queries that run at once */
    int64_t next_load_ms; /* monotonic; atomic: a missing model is not looked for by each query */
} embedder;

extern const weir_service_api embedder_unix_apis[];

#endif
