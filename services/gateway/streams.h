/*
 * streams.h - the thread that tries held streams again.
 *
 * A stream is held when the suite takes no more work or the core's inbox is full; nothing tells
 * when that ends, so a stream asks again every few milliseconds.  Without held streams the thread
 * sleeps.
 *
 * Threads: add and remove from any; `try` runs on the thread of the streams, one at a time.
 */
#ifndef WEIR_GATEWAY_STREAMS_H
#define WEIR_GATEWAY_STREAMS_H

#include <stdbool.h>

typedef struct gateway_streams gateway_streams;

/* Embedded in a stream; zeroed at first. */
typedef struct gateway_held gateway_held;
struct gateway_held {
    gateway_held *previous, *next;   /* NULL: not held */
    bool (*try)(gateway_held *held); /* true: no longer held */
};

gateway_streams *gateway_streams_create(void);
/* Every stream has been removed.  Accepts NULL. */
void gateway_streams_destroy(gateway_streams **streams_p);

void gateway_streams_add(gateway_streams *streams, gateway_held *held);
/* When this returns, `try` does not run and will not.  Not from `try`. */
void gateway_streams_remove(gateway_streams *streams, gateway_held *held);

#endif
