/*
 * service_internal.h - what the files of common/service share.
 */
#ifndef WEIR_SERVICE_SERVICE_INTERNAL_H
#define WEIR_SERVICE_SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/http/http.h"
#include "common/service/service.h"

enum {
    SERVICE_EXIT_DRAINED = 0,
    SERVICE_EXIT_FAILED = 1,
    SERVICE_EXIT_USAGE = 2,
    SERVICE_EXIT_FATAL = 70,
    SERVICE_EXIT_LATE = 75, /* the drain took longer than its grace and was cut off */
};

typedef enum service_action {
    SERVICE_RUN = 0,
    SERVICE_CHECK,
    SERVICE_PRINT_CONFIG,
    SERVICE_PRINT_REFERENCE,
    SERVICE_VERSION,
    SERVICE_HELP
} service_action;

enum { SERVICE_ASSIGNMENTS_MAX = 64 };

typedef struct service_arguments {
    service_action action;
    const char *config_file; /* NULL: none */
    const char *assignments[SERVICE_ASSIGNMENTS_MAX];
    char owned[2][1100]; /* --data and --port-base as assignments */
    size_t assignment_count;
    long parent; /* of --die-with-parent; 0: not given */
} service_arguments;

/* WEIR_INVALID_ARGUMENT with a sentence for what is not understood. */
weir_code service_arguments_parse(int argc, char **argv, service_arguments *ret_arguments,
    weir_error *reterr) WEIR_MUST_CHECK;
void service_print_help(const char *program);

/* The core as the shell sees it: forwards every event and measures rounds on the way. */
typedef struct service_meter {
    weir_core_ops ops; /* given to the shell, with the meter as the core */
    const weir_core_ops *inner;
    void *core;
    uint64_t events;
    int64_t round_end_us;
    weir_metric *commit_duration;
    weir_metric *commit_events;
} service_meter;

void service_meter_init(service_meter *meter, const weir_service_parts *parts,
    weir_metrics *metrics);

struct weir_service_private {
    weir_config *config_owner;
    weir_service_parts parts;
    service_meter meter;
    weir_http_server *admin;
    atomic_bool draining;
    atomic_bool copying;         /* a checkpoint is made: one at a time */
    pthread_rwlock_t shell_lock; /* the shell is used under it, and ended as its writer */
    pthread_mutex_t lock;        /* everything below */
    char unready[160];           /* "": ready */
    bool serving;                /* told to health */
    bool listening;              /* the servers have started */
    bool set_aside;              /* the last start failed at a record that is out of the way now */
    bool serves;                 /* `serve` was done: `drain` comes before the shell's end */
    weir_rpc_channel *channels[WEIR_SERVICE_COUNT];
    char run_dir[1024];
};

/* "accept", "chunk", "embed", "index" or "reconcile": the label of stage metrics. */
const char *service_stage_name(weir_service_id id);

/* metrics */
void service_metrics_declare(weir_service *service);
void service_metrics_expose(weir_service *service, weir_buffer *out);
void service_metrics_observe_call(const weir_rpc_call_stats *stats, void *service);

/* The admin server: /metrics, /livez, /readyz. */
weir_code service_admin_start(weir_service *service, weir_error *reterr) WEIR_MUST_CHECK;

/* StageService; inner: with ApplyEra and Checkpoint, for the Unix socket only. */
weir_code service_stage_rpc_add(weir_service *service, weir_rpc_server *server, bool inner,
    weir_error *reterr) WEIR_MUST_CHECK;
/* StageService.Checkpoint (checkpoint.c). */
void service_checkpoint_rpc(weir_rpc_call *call, const ProtobufCMessage *request, void *service);

/* The shell for as long as until service_shell_release; NULL, without a need to release, once it is
 * stopped. */
weir_shell *service_shell_hold(weir_service *service);
void service_shell_release(weir_service *service);

/* Both servers with everything they serve, not started. */
weir_code service_servers_create(weir_service *service, weir_error *reterr) WEIR_MUST_CHECK;
weir_code service_servers_start(weir_service *service, weir_error *reterr) WEIR_MUST_CHECK;
/* No new calls; at most drain_ms for those that run. */
void service_servers_stop(weir_service *service, uint32_t drain_ms);

/* The reason not to serve, or "" into out. */
void service_unready_reason(weir_service *service, char *out, size_t size);
/* Tell health what is so now. */
void service_health_update(weir_service *service);

/* Everything from prepare to listening; what was begun is undone when a step fails. */
weir_code service_start(weir_service *service, weir_error *reterr) WEIR_MUST_CHECK;
/* Drain and undo everything.  False: something was left for the next start. */
bool service_stop(weir_service *service);

#endif
