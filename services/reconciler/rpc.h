/*
 * rpc.h - ReconcilerService: the reconciler's reads for the other services.
 */
#ifndef WEIR_RECONCILER_RPC_H
#define WEIR_RECONCILER_RPC_H

#include "common/service/service.h"
#include "services/reconciler/core.h"

typedef struct reconciler {
    weir_service *service;
    reconciler_core *core;
} reconciler;

extern const weir_service_api reconciler_unix_apis[];

#endif
