/*
 * top.c - `weir top`: the pressure of the suite, drawn again and again, with what finished in
 * between.
 */
#include <string.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__Pressure pressure;

enum { INTERVAL_MS = 1000, INTERVAL_MS_MIN = 100 };

/* What the last look said, so that a rate can be told. */
typedef struct last_look {
    int64_t ready, failed, accepted;
    int64_t at_ms; /* monotonic; 0: there was none */
} last_look;

static int64_t
accepted_of(const pressure *it)
{
    return it->pending + it->processing + it->ready + it->failed + it->superseded + it->deleted;
}

static double
rate(int64_t now, int64_t before, int64_t took_ms)
{
    return took_ms > 0 && now > before ? (double)(now - before) * 1000.0 / (double)took_ms : 0;
}

static void
print_rates(const pressure *it, last_look *last)
{
    const int64_t now_ms = weir_clock_mono_ms();
    const int64_t took_ms = last->at_ms == 0 ? 0 : now_ms - last->at_ms;

    printf("per second  %.1f accepted, %.1f ready, %.1f failed\n",
        rate(accepted_of(it), last->accepted, took_ms), rate(it->ready, last->ready, took_ms),
        rate(it->failed, last->failed, took_ms));
    *last = (last_look){ .ready = it->ready,
        .failed = it->failed,
        .accepted = accepted_of(it),
        .at_ms = now_ms };
}

static void
draw(cli *self, const pressure *it, last_look *last)
{
    if (self->json) {
        cli_print_json(&it->base);
    } else {
        if (self->terminal)
            printf("\033[H\033[2J"); /* home, clear: ECMA-48 CUP and ED */
        print_rates(it, last);
        cli_print_pressure(self, it);
        if (!self->terminal)
            printf("\n");
    }
    fflush(stdout);
}

static cli_exit
look(cli *self, last_look *last)
{
    Weir__V1__GetPressureRequest request = WEIR__V1__GET_PRESSURE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.collection_id = (char *)cli_text(self, "collection", "");
    const cli_exit result = cli_call(self, &weir__v1__system_service__descriptor, "GetPressure",
        &request.base, &message);
    if (result == CLI_OK)
        draw(self, ((const Weir__V1__GetPressureResponse *)(const void *)message)->pressure, last);
    return result;
}

/* A look may go on for days: what it allocates ends with it. */
static cli_exit
look_once(cli *self, last_look *last)
{
    weir_arena *whole = self->arena;

    self->arena = weir_arena_create(0);
    const cli_exit result = look(self, last);
    weir_arena_destroy(&self->arena);
    self->arena = whole;
    return result;
}

cli_exit
cli_top(cli *self)
{
    int64_t interval_ms = 0, count = 0;
    last_look last = { .at_ms = 0 };
    cli_exit result = cli_duration(self, "interval", INTERVAL_MS, &interval_ms);

    if (result == CLI_OK)
        result = cli_number(self, "count", 0, INT32_MAX, 0, &count);
    if (interval_ms < INTERVAL_MS_MIN)
        interval_ms = INTERVAL_MS_MIN;
    for (int64_t i = 0; result == CLI_OK && (count == 0 || i < count); i++) {
        if (i > 0)
            weir_clock_sleep_ms((uint32_t)interval_ms);
        result = look_once(self, &last);
    }
    return result;
}
