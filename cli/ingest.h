/*
 * ingest.h - the parts of `weir ingest`: what to send, sending it, waiting for it.
 *
 * Resumable: what the server holds already with the same bytes is not sent again.  Request ids are
 * made only from the caller's own prefix, never from content: after a delete they would be repeated
 * for ever.
 */
#ifndef WEIR_CLI_INGEST_H
#define WEIR_CLI_INGEST_H

#include <pthread.h>

#include "cli/cli.h"
#include "cli/progress.h"

typedef enum ingest_fate {
    INGEST_TO_SEND = 0,
    INGEST_SENT,      /* no answer yet */
    INGEST_ACCEPTED,  /* durable */
    INGEST_UNCHANGED, /* the server had the same bytes */
    INGEST_REFUSED
} ingest_fate;

typedef struct ingest_item {
    const char *path;
    char *document_id;
    int64_t size_bytes;
    ingest_fate fate;
    int64_t revision;
    Weir__V1__DocumentState state; /* the last one seen */
    const char *reason;            /* of a refusal or failure: "EMPTY: ..." */
} ingest_item;

typedef struct ingest {
    cli *cli;
    char *collection;
    weir_arena *arena;
    ingest_item *items; /* by document_id */
    size_t count;
    size_t capacity;
    pthread_mutex_t
        lock; /* recursive: items' fates and the progress, while the stream's receiver runs */
    progress progress;
    int64_t chunks_before; /* of the collection, when the wait began */
    int64_t wait_timeout_ms;
} ingest;

/* ingest_plan.c: files and folders to items, sorted; CLI_USAGE for two files of one id. */
cli_exit ingest_plan(ingest *self);
/* Mark what the server holds already. */
cli_exit ingest_compare(ingest *self);
/* Read a file of at most max bytes; false after noting the reason in the item. */
bool ingest_read_file(ingest *self, ingest_item *item, size_t max, weir_buffer *out);

/* ingest_send.c: send all that is to be sent; survives a restart of the server. */
cli_exit ingest_send(ingest *self);

/* ingest_wait.c: until every accepted item is terminal. */
cli_exit ingest_wait(ingest *self);

/* Any thread. */
void ingest_refuse(ingest *self, ingest_item *item, const char *format, ...) WEIR_PRINTF(3, 4);

#endif
