/*
 * keys_ingest.c - settings of ingest: parsing, cutting, retries.
 */
#include "common/config/keys.h"

#define MIB_ (1024.0 * 1024)

/* Alphabetical. */
const weir_config_key weir_ingest_config_keys[] = {
    KEY(U32, ingest.retry.attempts_max, "ingest.attempts_max", "5", 1, 100,
        "Transient failures of one document before it is given up; waiting is none"),
    KEY(DURATION, ingest.retry.backoff_base_ms, "ingest.backoff_base_ms", "500", 1, 60000,
        "Longest wait before the first retry; doubles with each, or with the age of an "
        "outage, with full jitter"),
    KEY(DURATION, ingest.retry.backoff_max_ms, "ingest.backoff_max_ms", "60000", 1, 3600000,
        "Longest wait between two retries, whatever a cause asks for"),
    KEY(U32, ingest.chunks_per_document_max, "ingest.chunks_per_document_max", "20000", 1, 20000,
        "Chunks of one document above which it is given up with TOO_MANY_CHUNKS"),
    KEY(DURATION, ingest.retry.crash_watch_ms, "ingest.crash_watch_ms", "5000", 0, 600000,
        "How long a process must live without the work under which the last one ended before that "
        "is counted; 0: it is counted at once"),
    KEY(U32, ingest.retry.crashes_max, "ingest.crashes_max", "3", 1, 100,
        "Ends of the process over one document before it is given up with WORKER_KILLED"),
    KEY(DURATION, ingest.retry.defer_after_ms, "ingest.defer_after_ms", "2000", 10, 600000,
        "Time at the head of the line after which a document steps aside"),
    KEY(U32, ingest.retry.in_flight_max, "ingest.in_flight_max", "64", 1, 4096,
        "Documents being parsed or waiting for it"),
    KEY(DURATION, ingest.source_timeout_ms, "ingest.source_timeout_ms", "10000", 100, 600000,
        "Longest time to read a large body from the gateway"),
    KEY(BYTES, ingest.text_bytes_max, "ingest.text_bytes_max", "64MiB", 1024, 1024 * MIB_,
        "Largest normalised text of one document"),
    KEY(U32, ingest.workers, "ingest.workers", "2", 1, 256, "Threads that parse and cut"),
    WEIR_CONFIG_END
};
