/*
 * ports.c - see ports.h.
 */
#include "tests/tools/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/random.h"

enum { FIRST = 11000, STEP = 100, COUNT = 210 }; /* as in ports.py */

static bool
is_free(int port)
{
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* as servers do */
    const bool is_bound = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_bound;
}

static bool
are_free(int base)
{
    static const int offsets[] = { 70, 71, 72, 73, 74, 80, 90, 91, 92, 93, 94 };

    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        if (!is_free(base + offsets[i]))
            return false;
    return true;
}

/* The open file is the reservation: it goes with the process. */
static bool
is_reserved_now(int base)
{
    const char *parent = getenv("TMPDIR");
    char path[256];

    snprintf(path, sizeof path, "%s/weir-ports-%d", parent != NULL ? parent : "/tmp",
        (int)getuid());
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/weir-ports-%d/%d", parent != NULL ? parent : "/tmp",
        (int)getuid(), base);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(fd);
    return false;
}

int
ports_free_base(void)
{
    const int first = (int)(weir_random_u64() % COUNT);

    for (int i = 0; i < COUNT; i++) {
        const int base = FIRST + STEP * ((first + i) % COUNT);
        if (are_free(base) && is_reserved_now(base))
            return base;
    }
    fail_msg("no free range of ports from %d on", FIRST);
    return 0;
}
