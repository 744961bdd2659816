/*
 * service.h - one process of weir, so that five mains differ only where the services differ.
 *
 * weir_service_main owns: arguments, configuration, log, signals, the limit of open files, the
 * store, the RPC runtime and both servers (TCP for operators and clients, a Unix socket for the
 * other services), health, reflection, StageService, the admin HTTP server, metrics, the shell,
 * drain and exit codes.  A service is a table of functions:
 *
 *   prepare   before any thread: load models
 *   start     build the core; store, runtime and metrics are there, the shell is not
 *   serve     the shell runs, the servers do not listen yet
 *   drain     after `serve`, before the shell and the servers end (SIGTERM, or a start that fails
 *             later): end what would otherwise stay open or still use them
 *   stop      everything is stopped: free
 *
 * A start that fails at any step says why in one line and exits with 1; what was begun is undone in
 * reverse.
 *
 * Exit codes: 0 drained, 1 start failed, 2 usage, 70 a fatal error of store or core: nothing of the
 * failed round has left the process, and the next start is the normal path.
 */
#ifndef WEIR_SERVICE_SERVICE_H
#define WEIR_SERVICE_SERVICE_H

#include "common/config/suite.h"
#include "common/metrics/metrics.h"
#include "common/rpc/client.h"
#include "common/rpc/rpc.h"
#include "common/stage/shell.h"
#include "common/stage/work.h"
#include "weir/internal/v1/service.pb-c.h"

typedef struct weir_service weir_service;

/* One gRPC service to be served; rows are borrowed for the life of the process. */
typedef struct weir_service_api {
    const ProtobufCServiceDescriptor *service; /* NULL ends a list */
    const weir_rpc_handler *handlers;
    size_t handler_count;
} weir_service_api;

/* What `start` fills in. */
typedef struct weir_service_parts {
    void *self;               /* context of every RPC handler and of the hooks below */
    const weir_core_ops *ops; /* required */
    void *core;
    uint32_t workers;                             /* job threads of the shell; 0: no pool */
    uint32_t linger_ms;                           /* as in shell.h */
    void (*thread_start)(void *self, int worker); /* may be NULL */
} weir_service_parts;

typedef struct weir_service_spec {
    weir_service_id id;
    bool stores_text;                  /* large values of its store are worth compressing */
    bool asks_for_absent;              /* its store is asked for many keys that are not there */
    const weir_service_api *tcp_apis;  /* beside health, reflection and StageService; may be NULL */
    const weir_service_api *unix_apis; /* likewise, on DATA/run/<service>.grpc; may be NULL */
    const weir_metric_family *metrics; /* the service's own; may be NULL */

    weir_code (*prepare)(weir_service *service,
        weir_error *reterr); /* may be NULL; sets service->prepared */
    weir_code (*start)(weir_service *service, weir_service_parts *parts, weir_error *reterr);
    weir_code (*serve)(weir_service *service, void *self, weir_error *reterr); /* may be NULL */
    void (*drain)(weir_service *service, void *self);                          /* may be NULL */
    void (*stop)(weir_service *service, void *self); /* may be NULL; also after a failed serve,
                                                        never after a failed start */
    /* Complete GetStageStatus (models, gate_open, dead_letters...); fields live in the arena.  May
     * be NULL. */
    void (*status)(weir_service *service, void *self,
        Weir__Internal__V1__GetStageStatusResponse *response, weir_arena *arena);
    /* Just before the metrics are exposed: set gauges.  May be NULL. */
    void (*collect)(weir_service *service, void *self);
    /* The servers' hint for bodies that are too large; may be NULL. */
    const char *(*too_large_hint)(const char *method_path);
} weir_service_spec;

/* The process; fields are read-only to services but `prepared`. */
struct weir_service {
    const weir_service_spec *spec;
    const char *name; /* "embedder" */
    const weir_suite_config *config;
    const char *data_dir; /* of the suite */
    const char *run_dir;  /* DATA/run, mode 0700: sockets */
    void *prepared;       /* the service's own, from prepare to stop */
    weir_store *store;    /* DATA/<service> */
    weir_metrics *metrics;
    weir_rpc_runtime *runtime;
    weir_rpc_descriptors *descriptors;
    weir_shell *shell; /* from serve to the end of the drain; calls go by weir_service_submit */
    weir_rpc_server
        *server; /* TCP, from serve on (not started yet there): interceptors are added in serve */
    weir_rpc_server *inner; /* Unix socket, likewise */
    void *self;
    int64_t started_ms; /* wall time */
    struct weir_service_private *private;
};

int weir_service_main(int argc, char **argv, const weir_service_spec *spec);

/* ---- for services ---- */

/* Hand the request of a call to the core; the core's answer finishes the call.  A refusal
 * (QUEUE_FULL, DRAINING) finishes it here.  tenant lives at least as long as the call. */
void weir_service_submit(weir_service *service, weir_rpc_call *call, uint32_t kind,
    const char *tenant, const ProtobufCMessage *request);

/* The channel to another service's Unix socket, opened on first use and closed after `stop`.  From
 * `start` on, any thread. */
weir_rpc_channel *weir_service_channel(weir_service *service, weir_service_id peer);

/* What the stage looked like at its last release; DRAINING once it stops.  Any thread. */
weir_code weir_service_stage_status(weir_service *service, weir_stage_status *ret_status,
    weir_error *reterr) WEIR_MUST_CHECK;

/* A reason not to serve (rebuilding an index, waiting for a model): health NOT_SERVING and /readyz
 * 503 with the reason until NULL is set.  Services begin ready.  Any thread. */
void weir_service_set_unready(weir_service *service, const char *reason);

/* Stop serving and exit with 70, now: a store or core that failed must not answer any more.  Any
 * thread. */
_Noreturn void weir_service_fatal(weir_service *service, const weir_error *error);

/* ---- metrics of api.md that only a service can count; any thread ---- */

/* weir_documents_total{state}: received, ready, failed, retried, dead_lettered, superseded,
 * deleted. */
void weir_service_count_documents(weir_service *service, const char *state, uint64_t count);
/* For the services that work through rows: their settings as the work wants them, and an observer
 * that fills weir_attempts_total{stage,class,reason} (class by the error table),
 * weir_stage_wait_seconds{stage}, weir_stage_work_seconds{stage} and weir_worker_busy. */
weir_work_policy weir_service_work_policy(const weir_retry_config *retry);
weir_work_observer weir_service_work_observer(weir_service *service);

#endif
