/*
 * pump_internal.h - sockets of the links, split over pump*.c; nothing else in weir knows zmq.
 */
#ifndef WEIR_LINK_PUMP_INTERNAL_H
#define WEIR_LINK_PUMP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

#include "common/link/internal.h"

enum {
    LINK_QUEUE_FRAMES_MAX = 128,
    LINK_QUEUE_BYTES_MAX = 8 << 20,
    LINK_HWM_FRAMES = 32, /* twice the messages of a usual window */
    LINK_KERNEL_BUFFER_BYTES = 256 << 10,
    LINK_HEARTBEAT_MS = 1000,
    LINK_HEARTBEAT_TIMEOUT_MS = 3000,
    LINK_RECONNECT_MS = 100,
    LINK_RECONNECT_MAX_MS = 5000, /* over a network; on this machine a try costs nothing */
    LINK_RECONNECT_IPC_MS = 50,
    LINK_HELD_RETRY_MS = 5,
    LINK_READS_IN_A_ROW = 64, /* of one socket, before the others have their turn */
    LINK_IPC_PATH_BYTES_MAX = 107,
};

/* Frames on their way to one socket; bounded in count and bytes (a single frame always fits). */
typedef struct link_queue {
    zmq_msg_t frames[LINK_QUEUE_FRAMES_MAX];
    size_t first, count;
    size_t bytes;
} link_queue;

/* The caller holds the lock of the queue's pump. */
bool link_queue_push(link_queue *queue, weir_bytes frame); /* copies; false: full */
/* The oldest frame moves into *ret_frame; false: empty. */
bool link_queue_pop(link_queue *queue, zmq_msg_t *ret_frame);
void link_queue_fini(link_queue *queue);

typedef struct link_port {
    uint32_t link;
    char *connect_to; /* where our frames go: rows of a sender, answers of a receiver */
    char *bind_at;    /* where the other end's frames arrive */

    void *out;         /* PUSH; the pump's thread only */
    void *in;          /* PULL; the pump's thread only */
    zmq_msg_t waiting; /* popped, but the socket was not ready */
    bool has_waiting;
    zmq_msg_t held; /* arrived, but nobody had room for it */
    bool has_held;
    int64_t held_until_ms;

    link_queue queue; /* under the lock */
    atomic_bool reopen;
} link_port;

struct weir_link_pump {
    void *context;
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock;
    atomic_bool stopping;
    weir_link_arrived *arrived;
    void *ud;
    link_port *ports;
    size_t port_count;
    zmq_pollitem_t *items; /* wake_fd, then in and out of each port */
};

/* Open both sockets of a port.  WEIR_ADDRESS_IN_USE, WEIR_CONFIG_INVALID. */
weir_code link_port_open(link_port *port, void *context, weir_error *reterr) WEIR_MUST_CHECK;
/* Close the connecting socket and open it anew. */
void link_port_reopen(link_port *port, void *context);
void link_port_close(link_port *port);

#endif
