/*
 * dead_letters.c - `weir dlq`: what was given up, why, and the way back.
 */
#include <string.h>

#include "cli/cli.h"
#include "weir/v1/dead_letter.pb-c.h"

typedef Weir__V1__DeadLetter dead_letter;

#define SERVICE (&weir__v1__dead_letter_service__descriptor)

enum { PAGE = 1000, ID_MAX = 60 };

static void
add_row(cli *self, cli_table *table, const dead_letter *it)
{
    const Weir__V1__FailureInfo *failure = it->failure;

    cli_table_row(table,
        (const char *const[]){ it->dead_letter_id, cli_plain(self->arena, it->document_id, ID_MAX),
            weir_arena_printf(self->arena, "%lld", (long long)it->revision),
            failure != NULL ? cli_stage_name(failure->stage) : "-",
            failure != NULL ? failure->reason : "-",
            weir_arena_printf(self->arena, "%d", failure != NULL ? failure->attempt_count : 0),
            cli_format_time(self->arena, it->last_failure_time),
            failure != NULL ? cli_plain(self->arena, failure->message, 0) : "", NULL });
}

cli_exit
cli_dlq_ls(cli *self)
{
    static const char *const headers[] = { "DEAD LETTER", "DOCUMENT", "REV", "STAGE", "REASON",
        "ATTEMPTS", "FAILED", "MESSAGE", NULL };
    Weir__V1__ListDeadLettersRequest request = WEIR__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_table *table = cli_table_create(self->arena, headers);
    int64_t limit = 0;
    bool more = true;
    cli_exit result = cli_number(self, "limit", 1, INT32_MAX, INT32_MAX, &limit);

    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    while (result == CLI_OK && more && limit > 0) {
        request.page_size = limit < PAGE ? (int32_t)limit : PAGE;
        result = cli_call(self, SERVICE, "ListDeadLetters", &request.base, &message);
        if (result != CLI_OK)
            return result;
        const Weir__V1__ListDeadLettersResponse *page = (const void *)message;
        for (size_t i = 0; i < page->n_dead_letters && limit > 0; i++, limit--) {
            if (self->json)
                cli_print_json(&page->dead_letters[i]->base);
            else
                add_row(self, table, page->dead_letters[i]);
        }
        request.page_token = page->next_page_token;
        more = page->next_page_token[0] != '\0';
    }
    if (result == CLI_OK && !self->json)
        cli_table_print(self, table);
    return result;
}

static void
print_dead_letter(cli *self, const dead_letter *it)
{
    weir_arena *arena = self->arena;

    printf("dead letter  %s\ncollection   %s\ndocument     %s\nrevision     %lld, run %d\n",
        it->dead_letter_id, cli_plain(arena, it->collection_id, 0),
        cli_plain(arena, it->document_id, 0), (long long)it->revision, it->run);
    if (it->failure != NULL)
        printf("failed       in stage %s: %s\n             %s\n",
            cli_stage_name(it->failure->stage), it->failure->reason,
            cli_plain(arena, it->failure->message, 0));
    printf("first        %s\nlast         %s\nsource       %s, sha256 %s\n",
        cli_format_time(arena, it->first_failure_time),
        cli_format_time(arena, it->last_failure_time), cli_format_bytes(arena, it->size_bytes),
        it->content_sha256);
    for (size_t i = 0; i < it->n_attempts; i++)
        printf("attempt %-4zu %s  %s  %s: %s\n", i + 1,
            cli_format_time(arena, it->attempts[i]->time), cli_stage_name(it->attempts[i]->stage),
            it->attempts[i]->reason, cli_plain(arena, it->attempts[i]->message, 0));
}

cli_exit
cli_dlq_get(cli *self)
{
    Weir__V1__GetDeadLetterRequest request = WEIR__V1__GET_DEAD_LETTER_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.dead_letter_id = self->arguments[0];
    const cli_exit result = cli_call(self, SERVICE, "GetDeadLetter", &request.base, &message);
    if (result != CLI_OK)
        return result;
    const dead_letter *it =
        ((const Weir__V1__GetDeadLetterResponse *)(const void *)message)->dead_letter;
    if (self->json)
        cli_print_json(&it->base);
    else
        print_dead_letter(self, it);
    return CLI_OK;
}

/* How many were refused. */
static size_t
print_results(cli *self, const Weir__V1__RequeueDeadLettersResponse *answer)
{
    size_t refused = 0;

    for (size_t i = 0; i < answer->n_results; i++) {
        const Weir__V1__RequeueDeadLettersResult *it = answer->results[i];
        const bool good = it->status == NULL || it->status->code == 0;
        refused += !good;
        if (self->json)
            cli_print_json(&it->base);
        else
            printf("%s  %s  %s\n", it->dead_letter_id,
                cli_plain(self->arena, it->document_id, ID_MAX),
                good ? weir_arena_printf(self->arena, "run %d", it->run)
                     : cli_plain(self->arena, it->status->message, 0));
    }
    return refused;
}

cli_exit
cli_dlq_requeue(cli *self)
{
    Weir__V1__RequeueDeadLettersRequest request = WEIR__V1__REQUEUE_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int64_t requeued = 0;
    size_t refused = 0;
    bool more = true;

    request.dead_letter_ids = self->arguments;
    request.n_dead_letter_ids = (size_t)self->argument_count;
    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    request.dry_run = cli_has(self, "dry-run");
    if (self->argument_count == 0 && request.collection_id[0] == '\0') {
        cli_complain(
            "which ones? give ids, or -c NAME for all of a collection; --dry-run only shows them");
        return CLI_USAGE;
    }
    while (more) {
        const cli_exit result =
            cli_call(self, SERVICE, "RequeueDeadLetters", &request.base, &message);
        if (result != CLI_OK)
            return result;
        const Weir__V1__RequeueDeadLettersResponse *answer = (const void *)message;
        refused += print_results(self, answer);
        requeued += answer->requeued_count;
        more = answer->more && !request.dry_run && answer->requeued_count > 0;
    }
    if (!self->json)
        printf("%lld %s\n", (long long)requeued,
            request.dry_run ? "would be tried again" : "are tried again");
    return refused > 0 ? CLI_SOME_FAILED : CLI_OK;
}
