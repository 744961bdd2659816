/*
 * suite_lock.c - the lock file of a supervisor: text of fixed size, one line per process.
 */
#include "cli/suite_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { LOCK_BYTES = 1024, POLL_MS = 20 };

static int
open_lock(const char *data_dir, int flags)
{
    char path[1200];

    snprintf(path, sizeof path, "%s/run/up.lock", data_dir);
    return open(path, flags | O_CLOEXEC, 0600);
}

cli_exit
suite_lock_take(const char *data_dir, int *ret_fd)
{
    suite_ids ids;
    const int fd = open_lock(data_dir, O_RDWR | O_CREAT);

    if (fd < 0) {
        cli_complain("%s/run/up.lock: %s", data_dir, strerror(errno));
        return CLI_ERROR;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
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

void
suite_lock_write(int fd, const suite_ids *ids)
{
    char text[LOCK_BYTES];
    size_t at = (size_t)snprintf(text, sizeof text, "supervisor %d\nlisten %s %u\n",
        (int)ids->supervisor, ids->address, ids->port_base);

    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s %d %u %lld\n",
            weir_service_name((weir_service_id)i), (int)ids->services[i].pid,
            ids->services[i].restarts, (long long)ids->services[i].started_ms);
    memset(text + at, '\n', sizeof text - at);
    if (pwrite(fd, text, sizeof text, 0) != (ssize_t)sizeof text)
        cli_complain("the lock file cannot be written: %s", strerror(errno));
}

static void
read_line(const char *line, suite_ids *ids)
{
    char name[32];
    int pid = 0;
    unsigned restarts = 0;
    long long started_ms = 0;

    if (sscanf(line, "supervisor %d", &pid) == 1)
        ids->supervisor = pid;
    else if (sscanf(line, "listen %63s %u", ids->address, &ids->port_base) == 2)
        return;
    else if (sscanf(line, "%31s %d %u %lld", name, &pid, &restarts, &started_ms) == 4) {
        const weir_service_id id = weir_service_from_name(name);
        ids->services[id] =
            (suite_process){ .pid = pid, .restarts = restarts, .started_ms = started_ms };
    }
}

bool
suite_lock_read(const char *data_dir, suite_ids *ret_ids)
{
    char text[LOCK_BYTES + 1];
    const int fd = open_lock(data_dir, O_RDONLY);

    memset(ret_ids, 0, sizeof *ret_ids);
    if (fd < 0)
        return false;
    const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    const ssize_t size = pread(fd, text, LOCK_BYTES, 0);
    close(fd);
    if (!held || size <= 0)
        return held;
    text[size] = '\0';
    for (char *line = text; *line != '\0'; line += line[strcspn(line, "\n")] == '\n') {
        read_line(line, ret_ids);
        line += strcspn(line, "\n");
    }
    return true;
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
