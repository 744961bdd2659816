/*
 * accept.c - accept that survives running out of file descriptors.
 *
 * libgrpc 1.51 stops listening for ever when accept4 fails with EMFILE (CVE-2023-4785).  A program
 * that links this file takes the place of libc's accept4: on EMFILE or ENFILE it spends a spare
 * descriptor to take the waiting connections and close them, so that the clients see a reset and
 * the listener lives.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/rpc/internal.h"

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
    __attribute__((visibility("default")));

static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static int spare_fd = -1;
static int64_t logged_at_ms;
static unsigned unlogged; /* connections closed since */

static int
open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
wr_accept_prepare(void)
{
    pthread_mutex_lock(&spare_lock);
    if (spare_fd < 0)
        spare_fd = open_spare();
    pthread_mutex_unlock(&spare_lock);
}

static int
accept_plain(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, size, flags);
}

/* Close waiting connections until none is left; the listener is non-blocking, else one is enough.
 */
static unsigned
shed(int fd)
{
    unsigned closed = 0;

    for (;;) {
        const int victim = accept_plain(fd, NULL, NULL, SOCK_CLOEXEC);

        if (victim < 0)
            return closed;
        close(victim);
        closed++;
        if ((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0)
            return closed;
    }
}

/* One line a second at most: whoever floods the listener must not flood the log. */
static void
report(unsigned closed)
{
    const int64_t now_ms = weir_clock_mono_ms();

    unlogged += closed;
    if (logged_at_ms != 0 && now_ms - logged_at_ms < 1000)
        return;
    weir_log(WEIR_LOG_WARN, "rpc.descriptors_exhausted", WEIR_INT("connections_closed", unlogged),
        WEIR_STR("message", "too many open files: new connections were closed"));
    logged_at_ms = now_ms;
    unlogged = 0;
}

int
accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    const int accepted = accept_plain(fd, address, size, flags);

    if (accepted >= 0 || (errno != EMFILE && errno != ENFILE))
        return accepted;

    pthread_mutex_lock(&spare_lock);
    if (spare_fd >= 0)
        close(spare_fd);
    report(shed(fd));
    spare_fd = open_spare();
    pthread_mutex_unlock(&spare_lock);
    errno = EAGAIN;
    return -1;
}
