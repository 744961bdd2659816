/*
 * supervisor.h - the five processes of a suite: start, watch, restart, end.
 *
 * The first restart of a service is immediate, from the second on it waits, doubling up to a cap; a
 * service that lived for a minute begins anew.  The services die with the supervisor.  A service
 * that fails its very first start ends the suite: waiting would not help.
 *
 * Threads: one, the main one (the services' death signal is tied to the thread that started them).
 */
#ifndef WEIR_CLI_SUPERVISOR_H
#define WEIR_CLI_SUPERVISOR_H

#include "cli/suite_lock.h"

typedef struct supervisor {
    const weir_suite_config *suite;
    char *const *arguments; /* --config, --set ... for every service; NULL-ended */
    size_t argument_count;
    char program_dir[1024]; /* of this program: the services lie beside it */
    bool json;              /* how the addresses are printed */
    int lock_fd;
    suite_ids ids;
    bool announced; /* all five have been SERVING */
    bool ending;
    int64_t backoff_ms[WEIR_SERVICE_COUNT];
    int64_t restart_at_ms[WEIR_SERVICE_COUNT]; /* monotonic; 0: not due */
    int64_t log_checked_ms;
} supervisor;

/* Run the suite in this process until SIGTERM or SIGINT. */
cli_exit supervisor_run(supervisor *self);
/* The path of a service's log file. */
void supervisor_log_path(const weir_suite_config *suite, const char *name, char *out, size_t size);
/* Copy the last lines of a log file to standard error. */
void supervisor_print_tail(const char *path, size_t lines);
/* All five are SERVING by their health service. */
bool supervisor_all_serving(weir_rpc_runtime *runtime, const weir_suite_config *suite);
/* Where it is reached, and by which model it embeds; json: as one object. */
void supervisor_print_addresses(weir_rpc_runtime *runtime, const weir_suite_config *suite,
    bool json);

#endif
