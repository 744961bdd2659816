/*
 * list.c - what every `ls` does with its pages.  The names page_size, page_token and
 * next_page_token, and the items as the first field of an answer, are the API's custom.
 */
#include "cli/cli.h"
#include "common/base/assert.h"

enum { PAGE = 1000 };

static void *
member(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);

    weir_assert(field != NULL);
    return (uint8_t *)(uintptr_t)message + field->offset;
}

static const ProtobufCMessage *const *
items_of(const ProtobufCMessage *page, size_t *ret_count)
{
    const ProtobufCFieldDescriptor *field = &page->descriptor->fields[0];

    weir_assert(field->label == PROTOBUF_C_LABEL_REPEATED);
    memcpy(ret_count, (const uint8_t *)page + field->quantifier_offset, sizeof *ret_count);
    return *(const ProtobufCMessage *const *const *)(const void *)((const uint8_t *)page +
        field->offset);
}

cli_exit
cli_list(cli *self, const ProtobufCServiceDescriptor *service, const char *method,
    ProtobufCMessage *request, int64_t limit, cli_table *table, cli_show *show)
{
    char **token = member(request, "page_token");
    int32_t *page_size = member(request, "page_size");
    int64_t left = limit > 0 ? limit : INT64_MAX;

    do {
        ProtobufCMessage *page = NULL;
        size_t count = 0;

        *page_size = left < PAGE ? (int32_t)left : PAGE;
        const cli_exit result = cli_call(self, service, method, request, &page);
        if (result != CLI_OK)
            return result;
        const ProtobufCMessage *const *items = items_of(page, &count);
        for (size_t i = 0; i < count && left > 0; i++, left--) {
            if (self->json)
                cli_print_json(items[i]);
            else
                show(self, table, items[i]);
        }
        *token = *(char **)member(page, "next_page_token");
    } while (left > 0 && (*token)[0] != '\0');
    if (table != NULL && !self->json)
        cli_table_print(self, table);
    return CLI_OK;
}
