/*
 * status.h - the thread that looks at every other service each gateway.status_interval_ms, and what
 * it saw.
 *
 * It tells the core which databases it met and which links stopped (that is how a lost volume is
 * noticed), and tells a service whose era is behind what the era is.  What it saw is kept for
 * GetPressure, ListModels and GetServerInfo.
 *
 * Threads: read from any.
 */
#ifndef WEIR_GATEWAY_STATUS_H
#define WEIR_GATEWAY_STATUS_H

#include "services/gateway/gateway.h"

typedef Weir__Internal__V1__GetStageStatusResponse stage_status;

/* The shell runs. */
gateway_status *gateway_status_start(gateway *self);
/* Before the shell stops; what was seen can be read on until destroy.  Accepts NULL. */
void gateway_status_stop(gateway_status *status);
void gateway_status_destroy(gateway_status **status_p);

/* The last answer of a service, in the arena; NULL when it never answered.  *ret_is_fresh: it
 * answered lately. */
const stage_status *gateway_status_read(gateway_status *status, weir_service_id service,
    weir_arena *arena, bool *ret_is_fresh);

#endif
