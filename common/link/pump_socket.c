/*
 * pump_socket.c - the two sockets of one end of one link.
 *
 * One PUSH that connects and one PULL that binds, one peer each: a PUSH with two peers deals
 * round-robin and breaks order.  Endpoints come from configuration, never from a message.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/link/pump_internal.h"

static weir_code
zmq_error(weir_code code, const char *what, const char *endpoint, weir_error *reterr)
{
    return weir_error_set(reterr, code, "%s %s: %s", what, endpoint, zmq_strerror(zmq_errno()));
}

static void
set_int(void *socket, int option, int value)
{
    const int failed = zmq_setsockopt(socket, option, &value, sizeof value);

    weir_assert(failed == 0);
}

static const char *
ipc_path(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;
}

/* What both kinds share: never wait at close, keep little in the kernel, notice a dead peer, come
 * back soon. */
static void *
open_socket(void *context, int kind, const char *endpoint)
{
    const int64_t message_bytes_max = WEIR_FRAME_BYTES_MAX;
    const bool is_ipc = ipc_path(endpoint) != NULL;
    void *socket = zmq_socket(context, kind);

    weir_assert(socket != NULL);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &message_bytes_max, sizeof message_bytes_max);
    set_int(socket, ZMQ_LINGER, 0);    /* what is not sent stands in the outbox */
    set_int(socket, ZMQ_IMMEDIATE, 1); /* nothing is queued for a peer that is not there */
    set_int(socket, ZMQ_SNDHWM, LINK_HWM_FRAMES);
    set_int(socket, ZMQ_RCVHWM, LINK_HWM_FRAMES);
    set_int(socket, ZMQ_SNDBUF, LINK_KERNEL_BUFFER_BYTES);
    set_int(socket, ZMQ_RCVBUF, LINK_KERNEL_BUFFER_BYTES);
    /* The end of a peer closes a Unix socket at once; only a network hides it. */
    if (!is_ipc) {
        set_int(socket, ZMQ_HEARTBEAT_IVL, LINK_HEARTBEAT_MS);
        set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, LINK_HEARTBEAT_TIMEOUT_MS);
    }
    set_int(socket, ZMQ_RECONNECT_IVL, is_ipc ? LINK_RECONNECT_IPC_MS : LINK_RECONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, is_ipc ? 0 : LINK_RECONNECT_MAX_MS); /* 0: constant */
    return socket;
}

static weir_code
check_endpoint(const char *endpoint, weir_error *reterr)
{
    const char *path = ipc_path(endpoint);

    if (path == NULL || strlen(path) <= LINK_IPC_PATH_BYTES_MAX)
        return WEIR_OK;
    return weir_error_set(reterr, WEIR_CONFIG_INVALID,
        "the path of endpoint %.120s... has %zu bytes; a Unix socket takes at "
        "most %d: choose a shorter run directory",
        endpoint, strlen(path), LINK_IPC_PATH_BYTES_MAX);
}

/* libzmq unlinks a socket file before it binds, so a second process would take the first one's
 * place unseen. */
static bool
somebody_listens(const char *endpoint)
{
    const char *path = ipc_path(endpoint);
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (path == NULL || path[0] == '@')
        return false;
    memcpy(address.sun_path, path, strlen(path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool listens = fd >= 0 &&
        (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return listens;
}

static weir_code
bind_port(link_port *port, weir_error *reterr)
{
    if (somebody_listens(port->bind_at))
        return weir_error_set(reterr, WEIR_ADDRESS_IN_USE, "another process listens at %s",
            port->bind_at);
    if (zmq_bind(port->in, port->bind_at) == 0)
        return WEIR_OK;
    return zmq_error(zmq_errno() == EADDRINUSE ? WEIR_ADDRESS_IN_USE : WEIR_CONFIG_INVALID,
        "cannot listen at", port->bind_at, reterr);
}

weir_code
link_port_open(link_port *port, void *context, weir_error *reterr)
{
    weir_code code = check_endpoint(port->bind_at, reterr);

    if (code == WEIR_OK)
        code = check_endpoint(port->connect_to, reterr);
    if (code != WEIR_OK)
        return code;
    port->in = open_socket(context, ZMQ_PULL, port->bind_at);
    port->out = open_socket(context, ZMQ_PUSH, port->connect_to);
    code = bind_port(port, reterr);
    if (code == WEIR_OK && zmq_connect(port->out, port->connect_to) != 0)
        code = zmq_error(WEIR_CONFIG_INVALID, "cannot connect to", port->connect_to, reterr);
    return code;
}

/* Only the connecting socket: the bound one has nothing to renew, since its peer connects. */
void
link_port_reopen(link_port *port, void *context)
{
    zmq_close(port->out);
    port->out = open_socket(context, ZMQ_PUSH, port->connect_to);
    const int failed = zmq_connect(port->out, port->connect_to);
    weir_assert(failed == 0); /* the endpoint was good when the port was opened */
}

void
link_port_close(link_port *port)
{
    if (port->has_waiting)
        zmq_msg_close(&port->waiting);
    if (port->has_held)
        zmq_msg_close(&port->held);
    if (port->in != NULL)
        zmq_close(port->in);
    if (port->out != NULL)
        zmq_close(port->out);
    link_queue_fini(&port->queue);
    weir_free(port->connect_to);
    weir_free(port->bind_at);
}
