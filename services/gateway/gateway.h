/*
 * gateway.h - the process around the gateway's core: what its RPC handlers and threads share.
 *
 *   main.c                 the table of the service, its start and end
 *   api.c                  the tables of RPCs
 *   rpc_<verb>_<noun>.c    one RPC, or a small group
 *   reads.c                one consistent look into the store
 *   peers.c                calls to the other services, and what their failures are called here
 *   status.c               the thread that looks at the other services
 *   audit.c, audit_look.c  the thread that compares what the services know of each document
 *   watchers.c             the threads that serve those who watch
 *   watch.c                what they are sent of the change log
 *   streams.c              the thread that tries held streams again
 *   queries.c              vectors of search texts
 *   json.c                 Connect unary JSON
 *   check.c, filter.c      requests as text
 *   rate.c                 so many a second
 *   explain.c, progress.c  where a revision is, and why
 *
 * Reads never enter the core; writes and waits are its commands.  Nothing here owns a fact: every
 * thread and cache can be lost at any line.
 */
#ifndef WEIR_GATEWAY_GATEWAY_H
#define WEIR_GATEWAY_GATEWAY_H

#include "common/service/service.h"
#include "common/text/models.h"
#include "services/gateway/core.h"
#include "services/gateway/rate.h"

typedef struct gateway gateway;
typedef struct gateway_status gateway_status;
typedef struct gateway_watchers gateway_watchers;
typedef struct gateway_streams gateway_streams;
typedef struct gateway_queries gateway_queries;
typedef struct gateway_json gateway_json;
typedef struct gateway_audit gateway_audit;

struct gateway {
    weir_service *service;
    const weir_suite_config *config;
    gateway_core *core;
    bool disk_low;           /* atomic; the core reads it */
    uint64_t streamed_items; /* atomic; handed to the core by streams and not answered yet */
    uint8_t restored_id[GATEWAY_RESTORED_ID_SIZE]; /* the core borrows it, when there was one */
    weir_model default_model;
    char default_model_note[320]; /* why it is not the configured one, or "" */
    weir_rpc_stub *embedder;      /* EmbedderService, IndexerService, ReconcilerService */
    weir_rpc_stub *indexer;
    weir_rpc_stub *reconciler;
    weir_rpc_stub *stages[WEIR_SERVICE_COUNT]; /* StageService of the others */
    bool is_draining;                          /* atomic */
    gateway_audit *audit;
    gateway_status *status;
    gateway_watchers *watch;    /* of WatchDocuments */
    gateway_watchers *pressure; /* of WatchPressure */
    gateway_streams *streams;
    gateway_queries *queries;
    gateway_json *json;
    gateway_published counted; /* what the metrics have counted so far; the exposing thread's */
    weir_metric *search_duration;
    gateway_rate requeue_rate;
};

/* Whose call it is; lives as long as the call. */
const char *gateway_tenant(const weir_rpc_call *call);

/* Hand the command of a call to the core, whose answer finishes the call. */
void gateway_submit(gateway *self, weir_rpc_call *call, gateway_command kind,
    const ProtobufCMessage *command);

/* Wall time until which an answer may wait: `wait_ms` from now, but a little before the call's
 * deadline. */
int64_t gateway_wait_until(const weir_rpc_call *call, int64_t wait_ms);

/* Whether new documents are taken now; what streams have under way counts as taken. */
gateway_admission gateway_admission_now(gateway *self, weir_error *ret_why);

/* The model is there and may be used by a collection: MODEL_UNKNOWN, MODEL_UNAVAILABLE,
 * MODEL_NOT_ALLOWED. */
weir_code gateway_find_model(const gateway *self, const char *name, weir_model *ret_model,
    weir_error *reterr) WEIR_MUST_CHECK;

/* api.c */
extern const weir_service_api gateway_tcp_apis[];
extern const weir_service_api gateway_unix_apis[];

/* The pages of a list: the token holds the last key that was shown. */
weir_code gateway_page_begin(weir_arena *arena, const char *page_token, weir_bytes scope,
    weir_bytes *ret_after, weir_error *reterr) WEIR_MUST_CHECK;
char *gateway_page_next(weir_arena *arena, weir_bytes scope, weir_bytes last);

#endif
