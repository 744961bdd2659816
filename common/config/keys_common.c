/*
 * keys_common.c - settings that every program of the suite shares.
 */
#include "common/config/keys.h"

#define MIB_ (1024.0 * 1024)
#define GIB_ (MIB_ * 1024)

/* Alphabetical within each section. */
const weir_config_key weir_common_config_keys[] = {
    KEY_BOOL(common.allow_unauthenticated, "allow_unauthenticated", "false",
        "Serve without credentials on an address that is not loopback: whoever reaches the ports "
        "reads and writes all"),
    KEY(STRING, common.data_dir, "data_dir", "", 0, 900,
        "Folder of all data, one folder per service below it; empty: $WEIR_DATA, else "
        "/var/lib/weir for root and "
        "~/.local/share/weir for others"),
    KEY(STRING, common.listen_address, "listen_address", "127.0.0.1", 1, 64,
        "Address that all ports listen on"),
    KEY(STRING, common.model_dir, "model_dir", "", 0, 900,
        "Folder of the embedding models; empty: looked for beside the programs"),
    KEY(U32, common.port_base, "port_base", "7000", 1024, 65400,
        "Ports count from here: gRPC +70 to +74, JSON +80, admin HTTP +90 to +94"),
    KEY(DURATION, common.shutdown_grace_ms, "shutdown_grace_ms", "10000", 0, 600000,
        "Longest time from SIGTERM to the end; what is not done by then is done after the next "
        "start"),

    KEY_ENUM(common.log_format, "log.format", "auto", "auto|json|text",
        "Form of log lines; auto is text on a terminal and JSON otherwise"),
    KEY_ENUM(common.log_level, "log.level", "info", "debug|info|warn|error",
        "Least level that is written"),

    KEY(BYTES, common.store_ballast_bytes, "store.ballast_bytes", "16MiB", 0, GIB_,
        "File kept beside each database, deleted to make room when the disk is full"),
    KEY(BYTES, common.store_cache_bytes, "store.cache_bytes", "64MiB", 4 * MIB_, 256 * GIB_,
        "Block cache and write buffers of each service's database together"),
    KEY(BYTES, common.store_low_water_bytes, "store.low_water_bytes", "512MiB", 0, 1024 * GIB_,
        "Free disk space below which no new work is accepted"),
    KEY(BYTES, common.store_reserve_bytes, "store.reserve_bytes", "128MiB", 0, 1024 * GIB_,
        "Free disk space below which a service does not start"),

    KEY(U32, common.rpc_concurrent_streams_max, "rpc.concurrent_streams_max", "1000", 1, 100000,
        "Calls at once on one connection"),
    KEY(DURATION, common.rpc_connection_age_ms, "rpc.connection_age_ms", "0", 0, 604800000,
        "Age at which a connection is asked to close; 0: never"),
    KEY(DURATION, common.rpc_connection_grace_ms, "rpc.connection_grace_ms", "60000", 1, 3600000,
        "Time that calls have to end on a connection that has reached its age"),
    KEY(DURATION, common.rpc_keepalive_ms, "rpc.keepalive_ms", "60000", 1000, 3600000,
        "Time between two pings of an idle connection"),
    KEY(BYTES, common.rpc_message_bytes_max, "rpc.message_bytes_max", "4352KiB", 64 * 1024,
        64 * MIB_, "Largest message of a call"),
    KEY(BYTES, common.rpc_metadata_bytes_max, "rpc.metadata_bytes_max", "16KiB", 1024, MIB_,
        "Largest headers of a call"),
    KEY(U32, common.rpc_pollers, "rpc.pollers", "1", 1, 64,
        "Threads that read and write connections; more than one cost each call a wake-up"),
    KEY(U32, common.rpc_pool_queue_max, "rpc.pool_queue_max", "1024", 1, 1000000,
        "Calls that wait for a thread; more are refused with QUEUE_FULL"),
    KEY(U32, common.rpc_workers, "rpc.workers", "4", 1, 256,
        "Threads that answer calls which read"),

    KEY(STRING, common.tls_certificate_file, "tls.certificate_file", "", 0, 900,
        "PEM certificate of the gateway's gRPC port; empty: plain text"),
    KEY(STRING, common.tls_client_ca_file, "tls.client_ca_file", "", 0, 900,
        "PEM authority that clients' certificates must be from; empty: none is asked for"),
    KEY(STRING, common.tls_key_file, "tls.key_file", "", 0, 900, "PEM key of tls.certificate_file"),

    KEY(U32, common.http_connections_max, "http.connections_max", "64", 4, 10000,
        "Connections at once to each HTTP port"),
    KEY(DURATION, common.http_timeout_ms, "http.timeout_ms", "30000", 1000, 600000,
        "Time without progress after which an HTTP connection is closed"),

    KEY(BYTES, common.inbox_bytes_max, "inbox.bytes_max", "64MiB", 8 * MIB_, 16 * GIB_,
        "Bytes of requests and rows that wait for a service's core; more are refused with "
        "QUEUE_FULL"),
    KEY(U32, common.inbox_events_max, "inbox.events_max", "8192", 64, 1000000,
        "Requests and rows that wait for a service's core"),
    WEIR_CONFIG_END
};
