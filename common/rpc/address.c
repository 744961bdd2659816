/*
 * address.c - who owns a listening address.
 *
 * A unix socket is taken over silently by a second process (bind after unlink), so a lock file
 * beside it is held for as long as the server lives; the kernel drops the lock with the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/rpc/internal.h"

/* The path of "unix:PATH" or "unix:///PATH", else NULL. */
static const char *
unix_path(const char *address)
{
    if (strncmp(address, "unix://", 7) == 0)
        return address + 7;
    return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

weir_code
wr_address_lock(const char *address, int *ret_fd, weir_error *reterr)
{
    const char *path = unix_path(address);
    char lock_path[sizeof((struct sockaddr_un *)0)->sun_path + 8];
    int fd;

    *ret_fd = -1;
    if (path == NULL)
        return WEIR_OK;
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID,
            "the path of a unix socket may have 107 bytes at most: %s", address);
    snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "cannot open %s: %s", lock_path,
            strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return weir_error_set(reterr, WEIR_ADDRESS_IN_USE, "%s is in use: another process holds %s",
            address, lock_path);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

/* The lock file stays: removing it would let two processes lock two files of one name. */
void
wr_address_unlock(const char *address, int fd)
{
    if (fd < 0)
        return;
    unlink(unix_path(address));
    close(fd);
}

/* Host and port of "host:port" or "[v6]:port"; false when it is neither. */
static bool
split_address(const char *address, char *host, size_t host_size, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    size_t size;

    if (colon == NULL || colon == address)
        return false;
    size = (size_t)(colon - address);
    if (address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    if (size >= host_size)
        return false;
    memcpy(host, address, size);
    host[size] = '\0';
    *ret_port = colon + 1;
    return true;
}

static int
try_bind(const struct addrinfo *info)
{
    const int yes = 1;
    const int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failure = 0;

    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 1) != 0)
        failure = errno;
    close(fd);
    return failure;
}

static int
bind_failure(const char *host, const char *port, const char **ret_text)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *found;
    const int lookup = getaddrinfo(host, port, &hints, &found);
    int failure;

    if (lookup != 0) {
        *ret_text = gai_strerror(lookup);
        return -1;
    }
    failure = try_bind(found);
    freeaddrinfo(found);
    *ret_text = failure == 0 ? "the address was free a moment later" : strerror(failure);
    return failure;
}

weir_code
wr_address_explain(const char *address, weir_error *reterr)
{
    char host[256];
    const char *port;
    const char *text = "it must be HOST:PORT, [HOST]:PORT or unix:PATH";
    int failure = -1;

    if (unix_path(address) != NULL)
        text = "the folder must exist and be writable";
    else if (split_address(address, host, sizeof host, &port))
        failure = bind_failure(host, port, &text);
    if (failure == EADDRINUSE)
        return weir_error_set(reterr, WEIR_ADDRESS_IN_USE,
            "%s is in use by another process: stop it or configure another port", address);
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "cannot listen on %s: %s", address, text);
}
