/*
 * journal.c - `weir events` and `weir explain`: what happened to a document, and where it is now.
 */
#include <string.h>

#include "cli/cli.h"

#define SERVICE (&weir__v1__document_service__descriptor)

/* "STAGE_CHUNK" without the first `skip` characters; "?" for a number without a name. */
static const char *
name_of(const ProtobufCEnumDescriptor *descriptor, int number, size_t skip)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

    return value != NULL ? value->name + skip : "?";
}

/* " (transient)"; of no failure nothing. */
static const char *
class_in_brackets(weir_arena *arena, Weir__V1__ErrorClass class)
{
    if (class <= 0 || class >= (int)WEIR_CLASS_COUNT)
        return "";
    return weir_arena_printf(arena, " (%s)", weir_class_name((weir_class) class));
}

static const char *
event_name(const Weir__V1__DocumentEvent *it)
{
    return name_of(&weir__v1__document_event_type__descriptor, (int)it->type,
        sizeof "DOCUMENT_EVENT_TYPE_" - 1);
}

/* ---- events ---- */

static const char *
what(cli *self, const Weir__V1__DocumentEvent *it)
{
    const char *message = cli_plain(self->arena, it->message, 0);
    const char *due = it->next_attempt_time != NULL
        ? weir_arena_printf(self->arena, "; again at %s",
              cli_format_time(self->arena, it->next_attempt_time))
        : "";

    return it->reason[0] != '\0'
        ? weir_arena_printf(self->arena, "%s%s: %s%s", it->reason,
              class_in_brackets(self->arena, it->error_class), message, due)
        : message;
}

static void
add_row(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const Weir__V1__DocumentEvent *it = (const void *)item;
    cli_table_row(table,
        (const char *const[]){ cli_format_time(self->arena, it->time),
            weir_arena_printf(self->arena, "%lld", (long long)it->revision),
            weir_arena_printf(self->arena, "%d", it->run), event_name(it),
            cli_stage_name(it->stage),
            it->attempt_count > 0 ? weir_arena_printf(self->arena, "%d", it->attempt_count) : "",
            what(self, it), NULL });
}

cli_exit
cli_events(cli *self)
{
    static const char *const headers[] = { "TIME", "REV", "RUN", "EVENT", "STAGE", "ATTEMPT",
        "WHAT", NULL };
    Weir__V1__ListDocumentEventsRequest request = WEIR__V1__LIST_DOCUMENT_EVENTS_REQUEST__INIT;
    cli_table *table = cli_table_create(self->arena, headers);
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);
    request.document_id = self->arguments[0];
    return result != CLI_OK
        ? result
        : cli_list(self, SERVICE, "ListDocumentEvents", &request.base, 0, table, add_row);
}

/* ---- explain ---- */

static void
print_finding(cli *self, const Weir__V1__ExplainDocumentFinding *it)
{
    printf("  - %s%s%s%s%s%s\n",
        it->stage != 0 ? weir_arena_printf(self->arena, "%s: ", cli_stage_name(it->stage)) : "",
        it->reason, class_in_brackets(self->arena, it->error_class),
        it->reason[0] != '\0' ? ": " : "", cli_plain(self->arena, it->message, 0),
        it->next_step[0] != '\0' ? weir_arena_printf(self->arena, "\n    what to do: %s",
                                       cli_plain(self->arena, it->next_step, 0))
                                 : "");
}

static void
print_explanation(cli *self, const Weir__V1__ExplainDocumentResponse *it)
{
    weir_arena *arena = self->arena;

    printf("%s\n", cli_plain(arena, it->summary, 0));
    printf("situation    %s\n",
        name_of(&weir__v1__document_situation__descriptor, (int)it->situation,
            sizeof "DOCUMENT_SITUATION_" - 1));
    printf("searchable   %s\n", it->searchable ? "yes" : "no");
    printf("next         %s\n", cli_plain(arena, it->next, 0));
    if (it->next_time != NULL)
        printf("when         %s\n", cli_format_time(arena, it->next_time));
    if (it->dead_letter_id[0] != '\0')
        printf("dead letter  %s\n", cli_plain(arena, it->dead_letter_id, 0));
    for (size_t i = 0; i < it->n_findings; i++)
        print_finding(self, it->findings[i]);
}

cli_exit
cli_explain_document(cli *self)
{
    Weir__V1__ExplainDocumentRequest request = WEIR__V1__EXPLAIN_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);
    request.document_id = self->arguments[0];
    if (result == CLI_OK)
        result = cli_call(self, SERVICE, "ExplainDocument", &request.base, &message);
    if (result != CLI_OK)
        return result;
    if (self->json)
        cli_print_json(message);
    else
        print_explanation(self, (const void *)message);
    return CLI_OK;
}
