/*
 * pressure.c - `weir pressure`: how much work waits, where, and whether more is taken.
 */
#include <string.h>

#include "cli/cli.h"
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
        "OLDEST", NULL };
    cli_table *table = cli_table_create(self->arena, headers);

    for (size_t i = 0; i < it->n_stages; i++) {
        const Weir__V1__StagePressure *stage = it->stages[i];
        cli_table_row(table,
            (const char *const[]){ cli_stage_name(stage->stage), number(self, stage->queued),
                number(self, stage->in_flight), number(self, stage->deferred),
                number(self, stage->parked),
                cli_format_seconds(self->arena, seconds_of(stage->oldest_age)), NULL });
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

cli_exit
cli_pressure(cli *self)
{
    Weir__V1__GetPressureRequest request = WEIR__V1__GET_PRESSURE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

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
