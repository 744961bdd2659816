/*
 * keys_gateway.c - settings of the gateway: admission, waiting, the JSON front end.
 */
#include "common/config/keys.h"

#define MIB_ (1024.0 * 1024)

/* Alphabetical. */
const weir_config_key weir_gateway_config_keys[] = {
    KEY_BOOL(gateway.auto_create_collections, "gateway.auto_create_collections", "true",
        "Make a missing collection with defaults when a document is ingested into it"),
    KEY(DURATION, gateway.change_log_age_ms, "gateway.change_log_age_ms", "1d", 60000,
        31536000000.0, "How long a watch can be resumed"),
    KEY(U32, gateway.change_log_entries_max, "gateway.change_log_entries_max", "1000000", 1000,
        100000000, "Changes kept for resumed watches"),
    KEY(STRING, gateway.default_model, "gateway.default_model", "all-minilm-l6-v2", 1, 64,
        "Embedding model of new collections; hash-384 takes its place when its files are missing"),
    KEY(BYTES, gateway.http_body_bytes_max, "gateway.http_body_bytes_max", "6MiB", 64 * 1024,
        64 * MIB_, "Largest body of a JSON or raw HTTP request"),
    KEY(U32, gateway.http_threads, "gateway.http_threads", "2", 1, 64, "Threads of the JSON port"),
    KEY(U32, gateway.in_flight_max, "gateway.in_flight_max", "0", 0, 100000000,
        "Revisions handed to the stages and not ended at once; 0: as many as credit allows"),
    KEY(DURATION, gateway.max_oldest_age_ms, "gateway.max_oldest_age_ms", "0", 0, 31536000000.0,
        "Age of the oldest unfinished document above which new ones are refused with PRESSURE; "
        "0: no limit"),
    KEY(BYTES, gateway.max_pending_bytes, "gateway.max_pending_bytes", "0", 0, 1024.0 * 1024 * MIB_,
        "Bytes of unfinished documents above which new ones are refused with PRESSURE; 0: no "
        "limit"),
    KEY(U32, gateway.max_pending_documents, "gateway.max_pending_documents", "1000000", 0,
        1000000000,
        "Unfinished documents above which new ones are refused with PRESSURE; 0: no limit"),
    KEY(U32, gateway.pollers, "gateway.pollers", "0", 0, 64,
        "Threads that read and write connections; 0: rpc.pollers"),
    KEY(U32, gateway.query_cache_entries, "gateway.query_cache_entries", "1024", 0, 1000000,
        "Vectors of search texts kept in memory"),
    KEY(DURATION, gateway.query_timeout_ms, "gateway.query_timeout_ms", "10000", 10, 600000,
        "Longest time of one search without a deadline of its own"),
    KEY(DURATION, gateway.request_id_retention_ms, "gateway.request_id_retention", "0", 0, 0,
        "How long a request_id is remembered; so far only 0, for ever, about 80 bytes each"),
    KEY(U32, gateway.requeue_rate, "gateway.requeue_rate", "1000", 0, 1000000,
        "Dead letters that are requeued in a second, all callers together; 0: no limit"),
    KEY(DURATION, gateway.status_interval_ms, "gateway.status_interval_ms", "2000", 100, 60000,
        "Time between two looks at the other services"),
    KEY(U32, gateway.stream_window, "gateway.stream_window", "256", 1, 65536,
        "Documents of one IngestDocuments stream that wait for the disk at once"),
    KEY(STRING, gateway.tenant_weights, "gateway.tenant_weights", "", 0, 4000,
        "Shares of tenants in what is handed to ingest while more waits than there is room for, as "
        "in acme=4,trial=1 with weights 1 to 100; a tenant that is not named has 1"),
    KEY(DURATION, gateway.wait_max_ms, "gateway.wait_max_ms", "1h", 1000, 3600000,
        "Longest wait of one call"),
    KEY(U32, gateway.watchers_max, "gateway.watchers_max", "1000", 1, 100000,
        "Watches and waits at once"),
    KEY(U32, gateway.workers, "gateway.workers", "0", 0, 256,
        "Threads that answer calls which read; 0: rpc.workers"),
    WEIR_CONFIG_END
};
