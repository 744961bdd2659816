/*
 * pump.c - moves frames between the core and ZeroMQ, in one thread, and promises nothing.
 *
 * A successful zmq_send means queued somewhere, not delivered, whatever the options: a killed
 * receiver takes thousands of messages with it.  So nothing here is ever waited for or counted on;
 * the outbox and the cursor are the hand-off, and this file may drop any frame.  What it does
 * promise: bounded memory, no thread but its own touches a socket, a full queue is said at once,
 * and what the core has no room for stays in the socket, so that pressure reaches the sender.
 *
 * The loop waits in zmq_poll over all sockets and one eventfd (ZMQ_FD is edge-triggered and easily
 * misread).  POLLOUT is asked for only while a frame waits, since a writable socket would spin.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/link/pump_internal.h"

static void
wake(weir_link_pump *pump)
{
    const uint64_t one = 1;
    const ssize_t written = write(pump->wake_fd, &one, sizeof one);

    weir_assert(written == sizeof one || errno == EAGAIN); /* full means awake */
}

static void
drain_wake(weir_link_pump *pump)
{
    uint64_t count;
    const ssize_t got = read(pump->wake_fd, &count, sizeof count);

    weir_assert(got == sizeof count || errno == EAGAIN);
}

/* ---- out ---- */

static bool
next_frame(weir_link_pump *pump, link_port *port)
{
    if (port->has_waiting)
        return true;
    pthread_mutex_lock(&pump->lock);
    port->has_waiting = link_queue_pop(&port->queue, &port->waiting);
    pthread_mutex_unlock(&pump->lock);
    return port->has_waiting;
}

static void
flush_port(weir_link_pump *pump, link_port *port)
{
    while (next_frame(pump, port)) {
        if (zmq_msg_send(&port->waiting, port->out, ZMQ_DONTWAIT) < 0)
            return; /* no peer or no room: it waits, and POLLOUT tells */
        port->has_waiting = false;
    }
}

static void
reopen_port(weir_link_pump *pump, link_port *port)
{
    if (!atomic_exchange(&port->reopen, false))
        return;
    link_port_reopen(port, pump->context);
    weir_log(WEIR_LOG_INFO, "link.reopened", WEIR_INT("link", port->link));
}

/* ---- in ---- */

static bool
hand_over(weir_link_pump *pump, link_port *port)
{
    return pump->arrived(pump->ud, port->link,
        weir_bytes_of(zmq_msg_data(&port->held), zmq_msg_size(&port->held)));
}

/* Hand over the held frame or the next one from the socket; false: nothing more for now. */
static bool
read_one(weir_link_pump *pump, link_port *port)
{
    if (!port->has_held) {
        zmq_msg_init(&port->held);
        if (zmq_msg_recv(&port->held, port->in, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&port->held);
            return false;
        }
        port->has_held = true;
    }
    if (!hand_over(pump, port)) {
        port->held_until_ms = weir_clock_mono_ms() + LINK_HELD_RETRY_MS;
        return false;
    }
    zmq_msg_close(&port->held);
    port->has_held = false;
    return true;
}

static void
read_port(weir_link_pump *pump, link_port *port)
{
    if (port->has_held && weir_clock_mono_ms() < port->held_until_ms)
        return;
    for (int i = 0; i < LINK_READS_IN_A_ROW && read_one(pump, port); i++)
        continue;
}

/* ---- the loop ---- */

static void
fill_items(weir_link_pump *pump)
{
    pump->items[0] = (zmq_pollitem_t){ .fd = pump->wake_fd, .events = ZMQ_POLLIN };
    for (size_t i = 0; i < pump->port_count; i++) {
        const link_port *port = &pump->ports[i];

        pump->items[1 + 2 * i] =
            (zmq_pollitem_t){ .socket = port->in, .events = port->has_held ? 0 : ZMQ_POLLIN };
        pump->items[2 + 2 * i] =
            (zmq_pollitem_t){ .socket = port->out, .events = port->has_waiting ? ZMQ_POLLOUT : 0 };
    }
}

/* -1, or until the first held frame is tried again. */
static long
poll_timeout(const weir_link_pump *pump)
{
    for (size_t i = 0; i < pump->port_count; i++)
        if (pump->ports[i].has_held)
            return LINK_HELD_RETRY_MS;
    return -1;
}

static void
turn(weir_link_pump *pump)
{
    fill_items(pump);
    const int ready = zmq_poll(pump->items, (int)(1 + 2 * pump->port_count), poll_timeout(pump));

    weir_assert(ready >= 0 || errno == EINTR);
    if (pump->items[0].revents != 0)
        drain_wake(pump);
    for (size_t i = 0; i < pump->port_count; i++) {
        link_port *port = &pump->ports[i];

        reopen_port(pump, port);
        if (port->has_held || (pump->items[1 + 2 * i].revents & ZMQ_POLLIN) != 0)
            read_port(pump, port);
        flush_port(pump, port);
    }
}

static void *
run(void *argument)
{
    weir_link_pump *pump = argument;

    (void)pthread_setname_np(pthread_self(), "links");
    while (!atomic_load(&pump->stopping))
        turn(pump);
    return NULL;
}

/* ---- from other threads ---- */

static link_port *
find_port(weir_link_pump *pump, uint32_t link)
{
    for (size_t i = 0; i < pump->port_count; i++)
        if (pump->ports[i].link == link)
            return &pump->ports[i];
    return NULL;
}

bool
weir_link_pump_send(void *ud, uint32_t link, weir_bytes frame)
{
    weir_link_pump *pump = ud;
    link_port *port = find_port(pump, link);

    weir_assert(port != NULL);
    weir_assert(frame.size <= WEIR_FRAME_BYTES_MAX);
    pthread_mutex_lock(&pump->lock);
    const bool first = port->queue.count == 0;
    const bool taken = link_queue_push(&port->queue, frame);
    pthread_mutex_unlock(&pump->lock);
    if (taken && first)
        wake(pump);
    return taken;
}

void
weir_link_pump_reopen(weir_link_pump *pump, uint32_t link)
{
    link_port *port = find_port(pump, link);

    weir_assert(port != NULL);
    atomic_store(&port->reopen, true);
    wake(pump);
}

/* ---- start and stop ---- */

static void
port_init(link_port *port, const weir_link_endpoint *endpoint)
{
    port->link = endpoint->link;
    port->connect_to = weir_strdup(endpoint->sender ? endpoint->rows : endpoint->answers);
    port->bind_at = weir_strdup(endpoint->sender ? endpoint->answers : endpoint->rows);
    atomic_init(&port->reopen, false);
}

static weir_link_pump *
pump_create(const weir_link_endpoint *endpoints, size_t count, weir_link_arrived *arrived, void *ud)
{
    weir_link_pump *pump = weir_alloc_zero(1, sizeof *pump);

    pump->context = zmq_ctx_new();
    pump->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    weir_assert(pump->context != NULL && pump->wake_fd >= 0);
    pthread_mutex_init(&pump->lock, NULL);
    atomic_init(&pump->stopping, false);
    pump->arrived = arrived;
    pump->ud = ud;
    pump->ports = weir_alloc_zero(count + 1, sizeof *pump->ports);
    pump->port_count = count;
    pump->items = weir_alloc_zero(1 + 2 * count, sizeof *pump->items);
    for (size_t i = 0; i < count; i++)
        port_init(&pump->ports[i], &endpoints[i]);
    return pump;
}

static void
pump_destroy(weir_link_pump *pump)
{
    for (size_t i = 0; i < pump->port_count; i++)
        link_port_close(&pump->ports[i]);
    zmq_ctx_term(pump->context); /* LINGER is 0: it does not wait for a peer */
    close(pump->wake_fd);
    pthread_mutex_destroy(&pump->lock);
    weir_free(pump->items);
    weir_free(pump->ports);
    weir_free(pump);
}

weir_code
weir_link_pump_start(const weir_link_endpoint *endpoints, size_t count, weir_link_arrived *arrived,
    void *ud, weir_link_pump **ret_pump, weir_error *reterr)
{
    weir_link_pump *pump = pump_create(endpoints, count, arrived, ud);
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < count && code == WEIR_OK; i++)
        code = link_port_open(&pump->ports[i], pump->context, reterr);
    if (code == WEIR_OK && pthread_create(&pump->thread, NULL, run, pump) != 0)
        code = weir_error_set(reterr, WEIR_NO_MEMORY, "cannot start the links' thread");
    if (code != WEIR_OK) {
        pump_destroy(pump);
        return code;
    }
    *ret_pump = pump;
    return WEIR_OK;
}

void
weir_link_pump_stop(weir_link_pump **pump_p)
{
    weir_link_pump *pump = *pump_p;

    if (pump == NULL)
        return;
    atomic_store(&pump->stopping, true);
    wake(pump);
    pthread_join(pump->thread, NULL);
    pump_destroy(pump);
    *pump_p = NULL;
}
