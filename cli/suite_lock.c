/*
 * suite_lock.c - the lock file of a supervisor: text of fixed size, one line per process.
 */
#include "cli/suite_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { LOCK_BYTES = 1024, POLL_MS = 20, READERS_MS = 2000 };

static int
open_lock(const char *data_dir, int flags)
{
    char path[1200];

    snprintf(path, sizeof path, "%s/run/up.lock", data_dir);
    return open(path, flags | O_CLOEXEC, 0600);
}

static void
read_line(const char *line, suite_ids *ids)
{
    char name[32];
    int pid = 0;
    unsigned restarts = 0;
    long long started_ms = 0;
    unsigned long long inode = 0;

    if (sscanf(line, "supervisor %d", &pid) == 1)
        ids->supervisor = pid;
    else if (sscanf(line, "listen %63s %u", ids->address, &ids->port_base) == 2)
        return;
    else if (sscanf(line, "place %llu", &inode) == 1)
        ids->place = inode;
    else if (sscanf(line, "%31s %d %u %lld", name, &pid, &restarts, &started_ms) == 4) {
        const weir_service_id id = weir_service_from_name(name);
        ids->services[id] =
            (suite_process){ .pid = pid, .restarts = restarts, .started_ms = started_ms };
    }
}

static void
read_content(int fd, suite_ids *ids)
{
    char text[LOCK_BYTES + 1];
    const ssize_t size = pread(fd, text, LOCK_BYTES, 0);

    if (size <= 0)
        return;
    text[size] = '\0';
    for (char *line = text; *line != '\0'; line += line[strcspn(line, "\n")] == '\n') {
        read_line(line, ids);
        line += strcspn(line, "\n");
    }
}

/* A file that is copied gets another inode. */
static uint64_t
place_of(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 ? (uint64_t)status.st_ino : 0;
}

/* Who only looks whether a suite runs holds the lock for a moment, too, and is no suite. */
static bool
take_from_readers(const char *data_dir, int fd)
{
    const int64_t until_ms = weir_clock_mono_ms() + READERS_MS;
    suite_ids ids;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (suite_lock_read(data_dir, &ids) || weir_clock_mono_ms() >= until_ms)
            return false;
        weir_clock_sleep_ms(1);
    }
    return true;
}

cli_exit
suite_lock_take_any(const char *data_dir, int *ret_fd)
{
    suite_ids ids;
    const int fd = open_lock(data_dir, O_RDWR | O_CREAT);

    if (fd < 0) {
        cli_complain("%s/run/up.lock: %s", data_dir, strerror(errno));
        return CLI_ERROR;
    }
    if (take_from_readers(data_dir, fd)) {
        *ret_fd = fd;
        return CLI_OK;
    }
    close(fd);
    if (suite_lock_read(data_dir, &ids))
        cli_complain(
            "a suite runs on %s already (process %d); `weir status --data %s` shows it, `weir "
            "down --data %s` "
            "ends it",
            data_dir, (int)ids.supervisor, data_dir, data_dir);
    return CLI_CONFLICT;
}

cli_exit
suite_lock_take(const char *data_dir, int *ret_fd)
{
    suite_ids ids = { .supervisor = 0 };
    const cli_exit result = suite_lock_take_any(data_dir, ret_fd);

    if (result != CLI_OK)
        return result;
    read_content(*ret_fd, &ids);
    if (ids.supervisor == 0 || ids.place == 0 || ids.place == place_of(*ret_fd))
        return CLI_OK;
    cli_complain(
        "%s is a copy of a folder in which weir was running: its databases are of "
        "different moments.\nUse `weir backup` for copies.  `weir restore --in-place --data "
        "%s` makes a suite of what the gateway's database in it still holds.",
        data_dir, data_dir);
    close(*ret_fd);
    *ret_fd = -1;
    return CLI_CONFLICT;
}

void
suite_lock_write(int fd, const suite_ids *ids)
{
    char text[LOCK_BYTES];
    size_t at = (size_t)snprintf(text, sizeof text, "supervisor %d\nlisten %s %u\nplace %llu\n",
        (int)ids->supervisor, ids->address[0] != '\0' ? ids->address : "-", ids->port_base,
        (unsigned long long)place_of(fd));

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s %d %u %lld\n",
            weir_service_name((weir_service_id)i), (int)ids->services[i].pid,
            ids->services[i].restarts, (long long)ids->services[i].started_ms);
    memset(text + at, '\n', sizeof text - at);
    if (pwrite(fd, text, sizeof text, 0) != (ssize_t)sizeof text)
        cli_complain("the lock file cannot be written: %s", strerror(errno));
}

bool
suite_lock_read(const char *data_dir, suite_ids *ret_ids)
{
    const int fd = open_lock(data_dir, O_RDONLY);

    memset(ret_ids, 0, sizeof *ret_ids);
    if (fd < 0)
        return false;
    const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;

    if (held)
        read_content(fd, ret_ids);
    close(fd);
    return held;
}

bool
suite_lock_wait_free(const char *data_dir, int64_t timeout_ms)
{
    const int64_t until_ms = weir_clock_mono_ms() + timeout_ms;
    suite_ids ids;

    while (suite_lock_read(data_dir, &ids)) {
        if (weir_clock_mono_ms() >= until_ms)
            return false;
        weir_clock_sleep_ms(POLL_MS);
    }
    return true;
}

void
suite_endpoint(const char *listen_address, uint32_t port, char *out, size_t size)
{
    const char *host = listen_address;

    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    snprintf(out, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

void
suite_socket(const char *data_dir, weir_service_id id, char *out, size_t size)
{
    snprintf(out, size, "unix:%s/run/%s.grpc", data_dir, weir_service_name(id));
}
