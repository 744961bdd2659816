/*
 * suite_lock.h - DATA/run/up.lock: who supervises a suite, and the ids of its processes.
 *
 * The supervisor holds the file by flock(2) for its life, so a lock that is free belongs to nobody
 * whatever stands in it.  Its content has a fixed size and is written by one pwrite(2): a reader
 * sees the old or the new one.
 */
#ifndef WEIR_CLI_SUITE_LOCK_H
#define WEIR_CLI_SUITE_LOCK_H

#include <sys/types.h>

#include "cli/cli.h"

typedef struct suite_process {
    pid_t pid; /* 0: not running */
    uint32_t restarts;
    int64_t started_ms; /* wall time */
} suite_process;

typedef struct suite_ids {
    pid_t supervisor;
    uint32_t port_base;
    char address[64]; /* listen_address */
    uint64_t place;   /* inode of the file when it was written; 0: not known */
    suite_process services[WEIR_SERVICE_COUNT];
} suite_ids;

/* Take the lock; *ret_fd stays open for life.  CLI_CONFLICT after a sentence when another
 * supervisor has it, and when DATA is a copy of a folder in which a suite was running: its
 * databases were copied at different moments. */
cli_exit suite_lock_take(const char *data_dir, int *ret_fd);
/* The same, but of a copy too: for `weir restore`. */
cli_exit suite_lock_take_any(const char *data_dir, int *ret_fd);
/* supervisor 0: it ended, and all services with it. */
void suite_lock_write(int fd, const suite_ids *ids);
/* True when a supervisor holds the lock; *ret_ids is filled when its content could be read. */
bool suite_lock_read(const char *data_dir, suite_ids *ret_ids);
/* Wait until nobody holds the lock; false: timeout_ms passed. */
bool suite_lock_wait_free(const char *data_dir, int64_t timeout_ms);

/* Settings by --config, --set, --data and --port-base (up.c). */
cli_exit suite_load(const cli *self, weir_config **ret_config, const weir_suite_config **ret_suite);
/* DATA, DATA/run and DATA/log. */
cli_exit suite_make_folders(const weir_suite_config *suite);

/* Where clients reach a listen address: "127.0.0.1:7070", "[::1]:7070". */
void suite_endpoint(const char *listen_address, uint32_t port, char *out, size_t size);

/* Where this machine reaches a service of the suite on data_dir and of no other: its Unix socket.
 */
void suite_socket(const char *data_dir, weir_service_id id, char *out, size_t size);

#endif
