/*
 * progress.c - bar, counts, rate and ETA on one line of standard error.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { DRAW_MS = 100, PLAIN_MS = 2000, BAR = 24 };

void
progress_begin(progress *self, size_t total, bool waiting)
{
    *self = (progress){ .total = total, .waiting = waiting, .begun_ms = weir_clock_mono_ms() };
    self->terminal = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    self->drawn_ms = self->begun_ms;
}

static size_t
finished(const progress *self)
{
    return (self->waiting ? self->done : self->accepted) + self->refused;
}

static void
format_eta(const progress *self, char *out, size_t size)
{
    const double seconds = (double)(weir_clock_mono_ms() - self->begun_ms) / 1e3;
    const size_t over = finished(self);

    if (over == 0 || over >= self->total || seconds < 1)
        snprintf(out, size, "%s", over >= self->total ? "" : ", ETA ?");
    else
        snprintf(out, size, ", ETA %.0f s", seconds / (double)over * (double)(self->total - over));
}

static void
format_line(const progress *self, char *out, size_t size)
{
    const double seconds = (double)(weir_clock_mono_ms() - self->begun_ms) / 1e3;
    char eta[40];
    size_t at;

    format_eta(self, eta, sizeof eta);
    at = (size_t)snprintf(out, size, "%zu/%zu files accepted", self->accepted, self->total);
    if (self->refused > 0)
        at += (size_t)snprintf(out + at, size - at, ", %zu refused", self->refused);
    if (self->waiting)
        at += (size_t)snprintf(out + at, size - at, ", %zu done, %zu failed, %lld chunks",
            self->done, self->failed, (long long)self->chunks);
    if (self->stages[0] != '\0')
        at += (size_t)snprintf(out + at, size - at, " [%s]", self->stages);
    snprintf(out + at, size - at, ", %.1f files/s%s",
        seconds > 0 ? (double)finished(self) / seconds : 0, eta);
}

static void
draw(progress *self)
{
    char line[400];
    char bar[BAR + 1];
    const size_t filled = self->total == 0 ? BAR : finished(self) * BAR / self->total;

    format_line(self, line, sizeof line);
    memset(bar, ' ', BAR);
    memset(bar, '#', filled > BAR ? BAR : filled);
    bar[BAR] = '\0';
    if (self->terminal)
        fprintf(stderr, "\r\033[K[%s] %s", bar, line);
    else
        fprintf(stderr, "weir: %s\n", line);
    fflush(stderr);
    self->drawn = true;
}

void
progress_update(progress *self)
{
    const int64_t now_ms = weir_clock_mono_ms();

    if (now_ms - self->drawn_ms < (self->terminal ? DRAW_MS : PLAIN_MS))
        return;
    self->drawn_ms = now_ms;
    draw(self);
}

void
progress_end(progress *self)
{
    draw(self);
    if (self->terminal)
        fprintf(stderr, "\n");
}
