/*
 * keys_embedder.c - settings of the embedder: models, batches, retries.
 */
#include "common/config/keys.h"

#define GIB_ (1024.0 * 1024 * 1024)

/* Alphabetical. */
const weir_config_key weir_embedder_config_keys[] = {
    KEY_BOOL(embedder.allow_hash_models, "embedder.allow_hash_models", "false",
        "Let collections use hash-D, a deterministic embedder for tests that knows no meaning"),
    KEY(U32, embedder.retry.attempts_max, "embedder.attempts_max", "5", 1, 100,
        "Transient failures of one row of chunks before its document is given up; waiting is none"),
    KEY(DURATION, embedder.retry.backoff_base_ms, "embedder.backoff_base_ms", "500", 1, 60000,
        "Longest wait before the first retry; doubles with each, or with the age of an "
        "outage, with full jitter"),
    KEY(DURATION, embedder.retry.backoff_max_ms, "embedder.backoff_max_ms", "60000", 1, 3600000,
        "Longest wait between two retries, whatever a cause asks for"),
    KEY(U32, embedder.batch_tokens, "embedder.batch_tokens", "1024", 16, 65536,
        "Tokens that a thread takes at a time, padding included; the model runs some of them at "
        "once"),
    KEY(BYTES, embedder.cache_bytes_max, "embedder.cache_bytes_max", "1GiB", 0, 1024 * GIB_,
        "Vectors kept on disk by the text they belong to; 0: none"),
    KEY(DURATION, embedder.retry.crash_watch_ms, "embedder.crash_watch_ms", "5000", 0, 600000,
        "How long a process must live without the work under which the last one ended before that "
        "is counted; 0: it is counted at once"),
    KEY(U32, embedder.retry.crashes_max, "embedder.crashes_max", "3", 1, 100,
        "Ends of the process over one row before its document is given up with WORKER_KILLED"),
    KEY(DURATION, embedder.retry.defer_after_ms, "embedder.defer_after_ms", "2000", 10, 600000,
        "Time at the head of the line after which a row steps aside"),
    KEY(U32, embedder.retry.in_flight_max, "embedder.in_flight_max", "64", 1, 4096,
        "Rows being embedded or waiting for it"),
    KEY(U32, embedder.query_workers, "embedder.query_workers", "1", 1, 64,
        "Threads for the texts of searches, which go before documents"),
    KEY(U32, embedder.workers, "embedder.workers", "2", 1, 256, "Threads that run the model"),
    WEIR_CONFIG_END
};
