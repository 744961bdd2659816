/*
 * doctor_report.c - the report of `weir doctor`: sections of plain text, one file that can be read
 * and searched anywhere.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/base/clock.h"
#include "common/json/json.h"

enum { LOG_TAIL_BYTES = 64 << 10, COMMAND_BYTES_MAX = 4096, METRICS_MS = 2000 };

static void
section(FILE *out, const char *title, const char *of)
{
    fprintf(out, "\n==== %s%s%s\n", title, of[0] != '\0' ? " of " : "", of);
}

static void
write_message(FILE *out, const char *title, const char *of, const ProtobufCMessage *message)
{
    weir_buffer json = { 0 };
    weir_error error = { 0 };

    section(out, title, of);
    if (message == NULL)
        fprintf(out, "no answer\n");
    else if (weir_json_encode(message, NULL, &json, &error) != WEIR_OK)
        fprintf(out, "cannot be written: %s\n", error.message);
    else
        fprintf(out, "%.*s\n", (int)json.size, (const char *)json.data);
    weir_buffer_fini(&json);
}

/* ---- secrets ---- */

/* "provider.api_key" and "password", not "max_tokens". */
static bool
is_secret_name(const char *name, size_t size)
{
    static const char *const words[] = { "key", "secret", "token", "password", "credential",
        "credentials" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t length = strlen(words[i]);
        if (size >= length && strncasecmp(name + size - length, words[i], length) == 0)
            return true;
    }
    return false;
}

static void
redact_line(const char *line, size_t size, weir_buffer *out)
{
    size_t name = 0;

    while (name < size && line[name] != ':' && line[name] != '=')
        name++;
    if (name < size && line[strspn(line, " ")] != '#' && is_secret_name(line, name)) {
        weir_buffer_append(out, line, name + 1);
        weir_buffer_append(out, " (left out)", 11);
    } else {
        weir_buffer_append(out, line, size);
    }
    weir_buffer_append(out, "\n", 1);
}

void
doctor_redact(const char *text, size_t size, weir_buffer *out)
{
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        const size_t length = end != NULL ? (size_t)(end - text) : size;

        redact_line(text, length, out);
        text += length + (end != NULL);
        size -= length + (end != NULL);
    }
}

static void
write_redacted(FILE *out, const void *text, size_t size)
{
    weir_buffer clean = { 0 };

    doctor_redact(text, size, &clean);
    (void)fwrite(clean.data, 1, clean.size, out);
    weir_buffer_fini(&clean);
}

/* ---- the machine and the settings ---- */

static void
write_machine(FILE *out, const char *data_dir)
{
    struct utsname name;
    struct statvfs disk;

    section(out, "machine", "");
    if (uname(&name) == 0)
        fprintf(out, "%s %s %s\n", name.sysname, name.release, name.machine);
    fprintf(out, "processors %ld, memory %lld MiB\n", sysconf(_SC_NPROCESSORS_ONLN),
        (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) >> 20);
    if (statvfs(data_dir, &disk) == 0)
        fprintf(out, "disk of %s: %lld of %lld MiB free\n", data_dir,
            (long long)disk.f_bavail * (long long)disk.f_frsize >> 20,
            (long long)disk.f_blocks * (long long)disk.f_frsize >> 20);
}

static void
write_settings(FILE *out, weir_config *config)
{
    weir_buffer text = { 0 };

    section(out, "settings", "");
    weir_config_print_yaml(config, true, &text);
    write_redacted(out, text.data, text.size);
    weir_buffer_fini(&text);
}

/* What was said to the process at its start, one argument a line: --set is not in any file. */
static void
write_command(FILE *out, const doctor_service *it)
{
    char path[64], text[COMMAND_BYTES_MAX];

    section(out, "command", weir_service_name(it->id));
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)it->pid);
    FILE *file = it->pid > 0 ? fopen(path, "re") : NULL;
    if (file == NULL) {
        fprintf(out, "does not run\n");
        return;
    }
    const size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0')
            text[i] = '\n';
    write_redacted(out, text, size);
}

/* ---- metrics ---- */

static int
connect_to(const char *address)
{
    char host[96];
    const char *colon = strrchr(address, ':');
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
    const struct timeval patience = { .tv_sec = METRICS_MS / 1000 };
    struct addrinfo *found = NULL;
    int fd = -1;

    if (colon == NULL)
        return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    host[strcspn(host, "]")] = '\0';
    if (getaddrinfo(host[0] == '[' ? host + 1 : host, colon + 1, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* The page that Prometheus reads: one request of HTTP/1.0, whose answer ends with the connection.
 */
static void
write_metrics(FILE *out, const doctor_service *it)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    char block[4096];
    ssize_t size;

    section(out, "metrics", weir_service_name(it->id));
    const int fd = it->pid > 0 ? connect_to(it->admin) : -1;
    if (fd < 0 || write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1)
        fprintf(out, "no answer\n");
    else
        while ((size = read(fd, block, sizeof block)) > 0)
            (void)fwrite(block, 1, (size_t)size, out);
    if (fd >= 0)
        close(fd);
}

/* ---- logs ---- */

static void
write_log_tail(FILE *out, const char *data_dir, const char *name)
{
    char path[1200], block[4096];
    size_t size;

    section(out, "the end of the log", name);
    snprintf(path, sizeof path, "%s/log/%s.log", data_dir, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(out, "no log\n");
        return;
    }
    if (fseek(file, -LOG_TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    while ((size = fread(block, 1, sizeof block, file)) > 0)
        (void)fwrite(block, 1, size, out);
    fclose(file);
}

/* ---- all of it ---- */

static void
write_service(FILE *out, const doctor_service *it)
{
    const char *name = weir_service_name(it->id);

    write_command(out, it);
    write_message(out, "status", name, (const ProtobufCMessage *)it->status);
    write_message(out, "links", name, (const ProtobufCMessage *)it->links);
    write_message(out, "deferred work", name, (const ProtobufCMessage *)it->deferred);
    write_metrics(out, it);
}

void
doctor_report_write(FILE *out, const doctor_look *look)
{
    const char *data_dir = look->suite->common.data_dir;

    fprintf(out, "weir %s, report at %lld ms since 1970\n", WEIR_VERSION,
        (long long)weir_clock_wall_ms());
    write_machine(out, data_dir);
    write_settings(out, look->config);
    write_message(out, "server", "", (const ProtobufCMessage *)look->info);
    write_message(out, "pressure", "", (const ProtobufCMessage *)look->pressure);
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        write_service(out, &look->services[i]);
    write_log_tail(out, data_dir, "up");
    for (int i = WEIR_SERVICE_GATEWAY; i < WEIR_SERVICE_COUNT; i++)
        write_log_tail(out, data_dir, weir_service_name((weir_service_id)i));
}
