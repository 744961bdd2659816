/*
 * progress.h - one line that follows long work: redrawn on a terminal, a plain line now and then
 * when piped.
 *
 * All on standard error, so that standard output stays for results.  Threads: one at a time;
 * callers lock.
 */
#ifndef WEIR_CLI_PROGRESS_H
#define WEIR_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct progress {
    size_t total;    /* files */
    size_t accepted; /* durable at the server, or found there unchanged */
    size_t refused;
    size_t done; /* READY or FAILED */
    size_t failed;
    int64_t chunks;   /* made searchable since the start */
    char stages[192]; /* "chunk 3, embed 40 (does not answer)", or "" */
    bool waiting;     /* the end is `done`, not `accepted` */
    bool terminal;
    int64_t begun_ms; /* monotonic */
    int64_t drawn_ms;
    bool drawn;
} progress;

void progress_begin(progress *self, size_t total, bool waiting);
/* Draw if it is time. */
void progress_update(progress *self);
/* Draw for the last time and end the line. */
void progress_end(progress *self);

#endif
