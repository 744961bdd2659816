/*
 * suite.h - every setting of the suite: one struct, one file for the five services and the program
 * `weir`.
 *
 * A service reads `common` and its own part; every program knows all keys, so one file is checked
 * whole whoever reads it.  Tables: keys_<part>.c; `weir config reference` prints them all.
 *
 * Strings are never NULL.  Threads: read-only once loaded.
 */
#ifndef WEIR_CONFIG_SUITE_H
#define WEIR_CONFIG_SUITE_H

#include "common/config/config.h"

/* Values of log.format. */
enum { WEIR_LOG_FORMAT_AUTO = 0, WEIR_LOG_FORMAT_JSON, WEIR_LOG_FORMAT_TEXT };

typedef struct weir_common_config {
    const char *data_dir;  /* resolved when the suite is loaded: never empty */
    const char *model_dir; /* "": found beside the program (common/text/models.h) */
    const char *listen_address;
    uint32_t port_base;
    bool allow_unauthenticated; /* serve without credentials on an address that is not loopback */
    int log_level;              /* weir_log_level */
    int log_format;             /* WEIR_LOG_FORMAT_... */
    uint32_t shutdown_grace_ms;
    uint64_t store_cache_bytes;
    uint64_t store_reserve_bytes;
    uint64_t store_low_water_bytes;
    uint64_t store_ballast_bytes;
    uint32_t rpc_pollers;
    uint32_t rpc_workers;
    uint32_t rpc_pool_queue_max;
    uint64_t rpc_message_bytes_max;
    uint64_t rpc_metadata_bytes_max;
    uint32_t rpc_concurrent_streams_max;
    uint32_t rpc_keepalive_ms;
    uint32_t rpc_connection_age_ms; /* 0: for ever */
    uint32_t rpc_connection_grace_ms;
    const char *tls_certificate_file; /* of the gateway's gRPC port; "": plain text */
    const char *tls_key_file;
    const char *tls_client_ca_file;
    uint32_t http_connections_max;
    uint32_t http_timeout_ms;
    uint32_t inbox_events_max;
    uint64_t inbox_bytes_max;
} weir_common_config;

typedef struct weir_gateway_config {
    bool auto_create_collections;
    const char *default_model; /* hash-384 is used when its files are missing */
    uint32_t pollers;          /* 0: rpc.pollers */
    uint32_t workers;          /* threads that answer reads; 0: rpc.workers */
    uint32_t http_threads;
    uint64_t http_body_bytes_max;
    uint32_t max_pending_documents;   /* 0: no limit */
    uint64_t max_pending_bytes;       /* 0: no limit */
    uint64_t max_oldest_age_ms;       /* 0: no limit */
    uint64_t request_id_retention_ms; /* key gateway.request_id_retention; 0: for ever */
    uint32_t change_log_entries_max;
    uint64_t change_log_age_ms;
    uint32_t in_flight_max; /* documents between ingest and READY or FAILED at once; 0: no limit */
    uint32_t stream_window; /* items of one IngestDocuments stream in the core at once */
    const char *tenant_weights; /* as weights.h says */
    uint32_t wait_max_ms;       /* longest wait of one call */
    uint32_t watchers_max;
    uint32_t query_cache_entries;
    uint32_t query_timeout_ms;
    uint32_t requeue_rate;       /* dead letters a second; 0: no limit */
    uint32_t status_interval_ms; /* between two looks at the other services */
} weir_gateway_config;

/* The stages that work through rows (ingest and embedder). */
typedef struct weir_retry_config {
    uint32_t attempts_max;
    uint32_t crashes_max;
    uint32_t crash_watch_ms; /* before a crash is counted; 0: it is at once */
    uint32_t backoff_base_ms;
    uint32_t backoff_max_ms;
    uint32_t defer_after_ms;
    uint32_t in_flight_max; /* jobs at once */
} weir_retry_config;

typedef struct weir_ingest_config {
    weir_retry_config retry;
    uint32_t workers;
    uint32_t chunks_per_document_max;
    uint64_t text_bytes_max; /* normalised text of one document */
    uint32_t source_timeout_ms;
} weir_ingest_config;

typedef struct weir_embedder_config {
    weir_retry_config retry;
    uint32_t workers;
    uint32_t batch_tokens;
    uint32_t query_workers; /* threads of the query lane */
    bool allow_hash_models;
    uint64_t cache_bytes_max; /* vector cache on disk; 0: no cache */
} weir_embedder_config;

typedef struct weir_indexer_config {
    uint32_t search_concurrency; /* searches at once; more wait */
} weir_indexer_config;

typedef struct weir_reconciler_config {
    uint32_t linger_ms;
    uint32_t journal_events_max;
    uint64_t stuck_after_ms; /* a revision without any event for so long is reported; 0: never */
} weir_reconciler_config;

typedef struct weir_audit_config {
    uint64_t interval_ms;          /* key audit.interval; between the starts of two passes */
    uint32_t documents_per_second; /* 0: no pass by itself */
} weir_audit_config;

typedef struct weir_suite_config {
    weir_common_config common;
    weir_gateway_config gateway;
    weir_ingest_config ingest;
    weir_embedder_config embedder;
    weir_indexer_config indexer;
    weir_reconciler_config reconciler;
    weir_audit_config audit;
} weir_suite_config;

extern const weir_config_key weir_common_config_keys[];
extern const weir_config_key weir_gateway_config_keys[];
extern const weir_config_key weir_ingest_config_keys[];
extern const weir_config_key weir_embedder_config_keys[];
extern const weir_config_key weir_indexer_config_keys[];
extern const weir_config_key weir_reconciler_config_keys[];
extern const weir_config_key weir_audit_config_keys[];

/* All seven tables, NULL-ended, for weir_config_create. */
extern const weir_config_key *const weir_suite_tables[];

/* What a program was started with. */
typedef struct weir_suite_sources {
    const char *file;               /* --config, or NULL: none */
    char *const *environment;       /* NULL: none */
    const char *const *assignments; /* --set, in order */
    size_t assignment_count;
} weir_suite_sources;

/*
 * Read all sources, check every relation between settings (weir_suite_check), resolve data_dir
 * ($WEIR_DATA, else /var/lib/weir for root, ~/.local/share/weir otherwise).  The struct lives as
 * long as *ret_config.  CONFIG_INVALID.
 */
weir_code weir_suite_load(const weir_suite_sources *sources, weir_config **ret_config,
    const weir_suite_config **ret_suite, weir_error *reterr) WEIR_MUST_CHECK;

/* Relations between settings; the message names both keys. */
weir_code weir_suite_check(const weir_suite_config *suite, weir_error *reterr) WEIR_MUST_CHECK;

/* Ports: gRPC of service number 1..5 (gateway, ingest, embedder, indexer, reconciler), its admin
 * HTTP, the JSON. */
static inline uint16_t
weir_suite_grpc_port(const weir_suite_config *suite, unsigned service)
{
    return (uint16_t)(suite->common.port_base + 69 + service);
}

static inline uint16_t
weir_suite_admin_port(const weir_suite_config *suite, unsigned service)
{
    return (uint16_t)(suite->common.port_base + 89 + service);
}

static inline uint16_t
weir_suite_json_port(const weir_suite_config *suite)
{
    return (uint16_t)(suite->common.port_base + 80);
}

#endif
