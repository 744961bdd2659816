/*
 * audit.c - `weir audit`: compare what the services know, and decide what no rule can.
 */
#include <string.h>

#include "cli/cli.h"
#include "weir/v1/system.pb-c.h"

typedef Weir__V1__Inconsistency inconsistency;

#define SERVICE (&weir__v1__system_service__descriptor)
#define RESOLUTION(name_) WEIR__V1__INCONSISTENCY_RESOLUTION__INCONSISTENCY_RESOLUTION_##name_

enum { ID_MAX = 60, RUN_MS = 600000 };

static const struct {
    const char *word;
    Weir__V1__InconsistencyResolution resolution;
} resolutions[] = {
    { "advance", RESOLUTION(ADVANCE) },
    { "redrive", RESOLUTION(REDRIVE) },
    { "dismiss", RESOLUTION(DISMISS) },
};

enum { RESOLUTIONS = sizeof resolutions / sizeof resolutions[0] };

static const char *
resolution_word(Weir__V1__InconsistencyResolution resolution, const char *none)
{
    for (size_t i = 0; i < RESOLUTIONS; i++)
        if (resolutions[i].resolution == resolution)
            return resolutions[i].word;
    return none;
}

/* ---- run ---- */

cli_exit
cli_audit_run(cli *self)
{
    Weir__V1__RunAuditRequest request = WEIR__V1__RUN_AUDIT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error = { .code = WEIR_OK };
    int64_t timeout_ms = 0;
    const cli_exit result = cli_duration(self, "timeout", RUN_MS, &timeout_ms);

    if (result != CLI_OK)
        return result;
    request.collection_id = (char *)cli_text(self, "collection", "");
    request.dry_run = cli_has(self, "dry-run");
    if (cli_try(self, SERVICE, "RunAudit", &request.base, (uint32_t)timeout_ms, self->arena,
            &message, &error) != WEIR_OK)
        return cli_explain(self, &error);
    const Weir__V1__RunAuditResponse *answer = (const void *)message;
    if (self->json)
        cli_print_json(message);
    else
        printf("%lld documents compared, %lld inconsistencies found, %lld of them %s\n",
            (long long)answer->checked_count, (long long)answer->inconsistency_count,
            (long long)answer->repaired_count,
            request.dry_run ? "would be repaired" : "are being repaired");
    return CLI_OK;
}

/* ---- ls ---- */

static void
add_row(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const inconsistency *it = (const void *)item;
    weir_arena *arena = self->arena;

    cli_table_row(table,
        (const char *const[]){ it->inconsistency_id, cli_plain(arena, it->collection_id, ID_MAX),
            it->document_id[0] == '\0' ? "-" : cli_plain(arena, it->document_id, ID_MAX),
            weir_arena_printf(arena, "%lld", (long long)it->revision),
            it->recorded_state == 0 ? "-" : cli_state_name(it->recorded_state),
            it->evident_state == 0 ? "-" : cli_state_name(it->evident_state),
            resolution_word(it->proposed_resolution, "review"),
            resolution_word(it->resolution, "open"), cli_format_time(arena, it->create_time),
            cli_plain(arena, it->message, 0), NULL });
}

cli_exit
cli_audit_ls(cli *self)
{
    static const char *const headers[] = { "ID", "COLLECTION", "DOCUMENT", "REV", "RECORDED",
        "EVIDENT", "PROPOSED", "DECIDED", "FOUND", "MESSAGE", NULL };
    Weir__V1__ListInconsistenciesRequest request = WEIR__V1__LIST_INCONSISTENCIES_REQUEST__INIT;
    cli_table *table = cli_table_create(self->arena, headers);
    int64_t limit = 0;
    const cli_exit result = cli_number(self, "limit", 1, INT32_MAX, 0, &limit);

    request.collection_id = (char *)cli_text(self, "collection", "");
    request.show_resolved = cli_has(self, "resolved");
    return result != CLI_OK
        ? result
        : cli_list(self, SERVICE, "ListInconsistencies", &request.base, limit, table, add_row);
}

/* ---- resolve ---- */

cli_exit
cli_audit_resolve(cli *self)
{
    Weir__V1__ResolveInconsistencyRequest request = WEIR__V1__RESOLVE_INCONSISTENCY_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.inconsistency_id = self->arguments[0];
    for (size_t i = 0; i < RESOLUTIONS; i++)
        if (strcmp(resolutions[i].word, self->arguments[1]) == 0)
            request.resolution = resolutions[i].resolution;
    if (request.resolution == 0) {
        cli_complain("\"%s\" is no decision; give advance, redrive or dismiss", self->arguments[1]);
        return CLI_USAGE;
    }
    const cli_exit result =
        cli_call(self, SERVICE, "ResolveInconsistency", &request.base, &message);
    if (result != CLI_OK)
        return result;
    const inconsistency *it =
        ((const Weir__V1__ResolveInconsistencyResponse *)(const void *)message)->inconsistency;
    if (self->json)
        cli_print_json(&it->base);
    else
        printf("%s  %s  %s\n", it->inconsistency_id,
            cli_plain(self->arena, it->document_id, ID_MAX),
            resolution_word(it->resolution, "open"));
    return CLI_OK;
}
