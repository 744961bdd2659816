/*
 * pressure.c - `weir pressure`: how much work waits, where, and whether more is taken.
 */
#include <string.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "common/wire/time.h"
#include "weir/v1/system.pb-c.h"

static double
seconds_of(const Google__Protobuf__Duration *duration)
{
    return duration == NULL ? 0 : (double)duration->seconds + duration->nanos / 1e9;
}

static const char *
number(cli *self, int64_t value)
{
    return weir_arena_printf(self->arena, "%lld", (long long)value);
}

static void
print_stages(cli *self, const Weir__V1__Pressure *it)
{
    static const char *const headers[] = { "STAGE", "QUEUED", "IN FLIGHT", "DEFERRED", "PARKED",
        "OLDEST", "SERVICE", NULL };
    cli_table *table = cli_table_create(self->arena, headers);

    for (size_t i = 0; i < it->n_stages; i++) {
        const Weir__V1__StagePressure *stage = it->stages[i];
        cli_table_row(table,
            (const char *const[]){ cli_stage_name(stage->stage), number(self, stage->queued),
                number(self, stage->in_flight), number(self, stage->deferred),
                number(self, stage->parked),
                cli_format_seconds(self->arena, seconds_of(stage->oldest_age)),
                stage->away ? "does not answer; the numbers are its last" : "answers", NULL });
    }
    cli_table_print(self, table);
}

void
cli_print_pressure(cli *self, const Weir__V1__Pressure *it)
{
    static const char *const admissions[] = { "unknown", "accepting", "throttling", "rejecting" };
    static const char *const breakers[] = { "unknown", "closed", "open", "half open" };

    printf("revisions   %lld pending, %lld processing, %lld ready, %lld failed, %lld superseded, "
           "%lld deleted\n",
        (long long)it->pending, (long long)it->processing, (long long)it->ready,
        (long long)it->failed, (long long)it->superseded, (long long)it->deleted);
    printf("admission   %s%s%s\n", (size_t)it->admission < 4 ? admissions[it->admission] : "?",
        it->admission_reason[0] != '\0' ? ": " : "",
        cli_plain(self->arena, it->admission_reason, 0));
    if (it->oldest_unready_age != NULL)
        printf("oldest      %s\n",
            cli_format_seconds(self->arena, seconds_of(it->oldest_unready_age)));
    printf("dead        %lld letters, %lld inconsistencies\n", (long long)it->dead_letters,
        (long long)it->inconsistencies);
    for (size_t i = 0; i < it->n_breakers; i++)
        printf("breaker     %s is %s\n", cli_plain(self->arena, it->breakers[i]->model, 0),
            (size_t)it->breakers[i]->state < 4 ? breakers[it->breakers[i]->state] : "?");
    if (it->n_stages > 0) {
        printf("\n");
        print_stages(self, it);
    }
}

/* ---- watch ---- */

enum { INTERVAL_MS = 1000, RECONNECT_MS = 500 };

static void
print_answer(cli *self, const Weir__V1__WatchPressureResponse *answer)
{
    if (self->json || answer->pressure == NULL) {
        cli_print_json(&answer->base);
    } else {
        printf("%s\n", cli_format_time(self->arena, answer->time));
        cli_print_pressure(self, answer->pressure);
        printf("\n");
    }
    fflush(stdout);
}

/* Until the stream ends or `*left` answers have come; a watch may go on for days, so what an answer
 * allocates ends with it. */
static weir_code
follow(cli *self, weir_rpc_stub *stub, const ProtobufCMessage *request, int64_t *left,
    weir_error *reterr)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self, metadata, 0);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "WatchPressure", &options);
    weir_arena *whole = self->arena;
    weir_error ignored = { 0 };
    weir_code code = weir_rpc_stream_send(stream, request, reterr);

    weir_rpc_stream_half_close(stream);
    self->arena = weir_arena_create(0);
    while (*left > 0) {
        ProtobufCMessage *message = NULL;

        code = weir_rpc_stream_recv(stream, 0, self->arena, &message, reterr);
        if (code != WEIR_OK || message == NULL)
            break;
        print_answer(self, (const void *)message);
        weir_arena_reset(self->arena);
        (*left)--;
    }
    weir_arena_destroy(&self->arena);
    self->arena = whole;
    weir_rpc_stream_cancel(stream); /* when enough have come */
    (void)weir_rpc_stream_finish(&stream, &ignored);
    return code;
}

static cli_exit
watch(cli *self)
{
    Weir__V1__WatchPressureRequest request = WEIR__V1__WATCH_PRESSURE_REQUEST__INIT;
    int64_t interval_ms = 0, count = 0;
    weir_error error = { 0 };
    cli_exit result = cli_duration(self, "interval", INTERVAL_MS, &interval_ms);

    if (result == CLI_OK)
        result = cli_number(self, "count", 0, INT32_MAX, 0, &count);
    if (result != CLI_OK)
        return result;
    request.collection_id = (char *)cli_text(self, "collection", "");
    request.interval = weir_wire_duration(self->arena, interval_ms);
    weir_rpc_stub *stub = weir_rpc_stub_open(self->channel, &weir__v1__system_service__descriptor);
    const int64_t wanted = count == 0 ? INT64_MAX : count;
    int64_t left = wanted;
    weir_code code = follow(self, stub, &request.base, &left, &error);
    /* Only a connection that had worked is worth waiting for. */
    while (left > 0 && left < wanted && cli_exit_of(code) == CLI_UNREACHABLE) {
        weir_clock_sleep_ms(RECONNECT_MS);
        code = follow(self, stub, &request.base, &left, &error);
    }
    weir_rpc_stub_close(&stub);
    return code == WEIR_OK ? CLI_OK : cli_explain(self, &error);
}

cli_exit
cli_pressure(cli *self)
{
    Weir__V1__GetPressureRequest request = WEIR__V1__GET_PRESSURE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    if (cli_has(self, "watch"))
        return watch(self);
    request.collection_id = (char *)cli_text(self, "collection", "");
    const cli_exit result = cli_call(self, &weir__v1__system_service__descriptor, "GetPressure",
        &request.base, &message);
    if (result != CLI_OK)
        return result;
    const Weir__V1__Pressure *it =
        ((const Weir__V1__GetPressureResponse *)(const void *)message)->pressure;
    if (it == NULL)
        return CLI_OK;
    if (self->json)
        cli_print_json(&it->base);
    else
        cli_print_pressure(self, it);
    return CLI_OK;
}
