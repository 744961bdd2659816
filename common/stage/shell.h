/*
 * shell.h - runs a stage in a process: inbox, core thread, worker pool, link pump.
 *
 * The inbox is a bounded queue; when it is full requests are refused with QUEUE_FULL and links are
 * not read.  The core thread takes what waits, at most one round, commits, releases.  Replies go to
 * weir_rpc calls by handle: the shell keeps the table from handle to call and forgets a handle once
 * it is answered.
 *
 * Any error of the core or the store is fatal by design: `fatal` is called once, on the core
 * thread, and the service must stop serving and exit.
 */
#ifndef WEIR_STAGE_SHELL_H
#define WEIR_STAGE_SHELL_H

#include "common/stage/stage.h"

typedef struct weir_shell weir_shell;

/* How a request's answer finds its way back: called once for each accepted request with a reply, on
 * the core thread. The messages live for the call. */
typedef void weir_shell_reply(void *call, const weir_error *error,
    const ProtobufCMessage *response);

typedef struct weir_shell_options {
    weir_service_id service;
    weir_store *store;
    const weir_core_ops *ops;
    void *core;
    const char *run_dir;       /* folder of the ipc:// sockets of the links */
    uint32_t workers;          /* pool threads; 0: no pool */
    uint32_t inbox_events_max; /* 0: 8192 */
    size_t inbox_bytes_max;    /* 0: 64 MiB */
    uint32_t linger_ms;        /* wait this long for a round to fill (reconciler); 0: never */
    bool *set_aside;           /* as in weir_stage_options; told before `fatal`, too */
    uint64_t disk_low_bytes;   /* free space below which links get no credit */
    void (*fatal)(void *ud, const weir_error *error);
    void (*thread_start)(void *ud,
        int worker); /* once in each pool thread (-1: the core thread); may be NULL */
    void *ud;
} weir_shell_options;

weir_code weir_shell_start(const weir_shell_options *options, weir_shell **ret_shell,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Hand a request to the core.  `call` and `reply` NULL: nobody waits; then `message` is copied. Any
 * thread, and the shell is there until it returns.  WEIR_QUEUE_FULL or WEIR_DRAINING: not taken,
 * `reply` is not called. */
weir_code weir_shell_submit(weir_shell *shell, uint32_t kind, const char *tenant,
    const char *request_id, const ProtobufCMessage *message, weir_shell_reply *reply, void *call,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The same for who has a reply and knows what the message takes of the inbox: to measure it is as
 * much work as to pack it. */
weir_code weir_shell_submit_sized(weir_shell *shell, uint32_t kind, const char *tenant,
    const char *request_id, const ProtobufCMessage *message, size_t bytes, weir_shell_reply *reply,
    void *call, weir_error *reterr) WEIR_MUST_CHECK;
/* Called by a reply: `run` is called once, when all answers of the round have been given, so that
 * what they have in common is done once.  Their messages live until it returns. */
typedef struct weir_shell_later weir_shell_later;
struct weir_shell_later {
    weir_shell_later *next;
    void (*run)(weir_shell_later *later);
};
void weir_shell_run_later(weir_shell *shell, weir_shell_later *later);
weir_stage *weir_shell_stage(weir_shell *shell); /* for weir_stage_status_read */
bool weir_shell_disk_is_low(const weir_shell *shell);
/* Refuse new requests and rows, finish what is in flight (at most timeout_ms), mark a clean end,
 * stop all threads. False: the time was over and something was left for the next start (nothing is
 * lost). */
bool weir_shell_stop(weir_shell **shell_p, uint32_t timeout_ms);

#endif
