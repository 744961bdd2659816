/*
 * dead_letters.c - `weir dlq`: what was given up, why, the way back, and the way out.
 */
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "weir/v1/dead_letter.pb-c.h"

typedef Weir__V1__DeadLetter dead_letter;

#define SERVICE (&weir__v1__dead_letter_service__descriptor)

enum { PAGE = 1000, ID_MAX = 60 };

static void
add_row(cli *self, cli_table *table, const ProtobufCMessage *item)
{
    const dead_letter *it = (const void *)item;
    const Weir__V1__FailureInfo *failure = it->failure;

    cli_table_row(table,
        (const char *const[]){ cli_plain(self->arena, it->dead_letter_id, 0),
            cli_plain(self->arena, it->document_id, ID_MAX),
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
    cli_table *table = cli_table_create(self->arena, headers);
    int64_t limit = 0;
    const cli_exit result = cli_number(self, "limit", 1, INT32_MAX, 0, &limit);

    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    return result != CLI_OK
        ? result
        : cli_list(self, SERVICE, "ListDeadLetters", &request.base, limit, table, add_row);
}

static void
print_dead_letter(cli *self, const dead_letter *it)
{
    weir_arena *arena = self->arena;

    printf("dead letter  %s\ncollection   %s\ndocument     %s\nrevision     %lld, run %d\n",
        cli_plain(arena, it->dead_letter_id, 0), cli_plain(arena, it->collection_id, 0),
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

cli_exit
cli_dlq_summary(cli *self)
{
    static const char *const headers[] = { "COUNT", "STAGE", "REASON", "OLDEST", "SUCH AS", NULL };
    Weir__V1__SummarizeDeadLettersRequest request = WEIR__V1__SUMMARIZE_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    cli_table *table = cli_table_create(self->arena, headers);

    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    const cli_exit result =
        cli_call(self, SERVICE, "SummarizeDeadLetters", &request.base, &message);
    if (result != CLI_OK)
        return result;
    const Weir__V1__SummarizeDeadLettersResponse *answer = (const void *)message;
    for (size_t i = 0; i < answer->n_summaries; i++) {
        const Weir__V1__DeadLetterSummary *it = answer->summaries[i];

        if (self->json)
            cli_print_json(&it->base);
        else
            cli_table_row(table,
                (const char *const[]){ weir_arena_printf(self->arena, "%lld", (long long)it->count),
                    cli_stage_name(it->stage), it->reason,
                    cli_format_time(self->arena, it->oldest_time),
                    cli_plain(self->arena, it->sample_dead_letter_id, 0), NULL });
    }
    if (!self->json)
        cli_table_print(self, table);
    return CLI_OK;
}

/* ---- requeue and discard: what both do ---- */

typedef struct batch_job {
    cli *self;
    const char *verb;    /* "requeued" */
    const char *warning; /* what to know before a yes */
    int64_t limit;
    int64_t done;
    int64_t refused;
    int next_id; /* of the arguments */
    char page_token[4096];
} batch_job;

static bool
by_ids(const batch_job *job)
{
    return job->self->argument_count > 0;
}

/* How many match now; -1: a sentence was said. */
static int64_t
count_matching(cli *self)
{
    Weir__V1__SummarizeDeadLettersRequest request = WEIR__V1__SUMMARIZE_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    int64_t count = 0;

    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    if (cli_call(self, SERVICE, "SummarizeDeadLetters", &request.base, &message) != CLI_OK)
        return -1;
    const Weir__V1__SummarizeDeadLettersResponse *answer = (const void *)message;
    for (size_t i = 0; i < answer->n_summaries; i++)
        count += answer->summaries[i]->count;
    return count;
}

/* A person at a terminal is asked; a script says --yes where something would be lost. */
static cli_exit
confirm(const batch_job *job, bool loses)
{
    cli *self = job->self;
    char answer[16];

    if (cli_has(self, "yes") || cli_has(self, "dry-run"))
        return CLI_OK;
    if (!isatty(STDIN_FILENO)) {
        if (!loses)
            return CLI_OK;
        cli_complain("%s; say --yes, or see what it would do with --dry-run", job->warning);
        return CLI_USAGE;
    }
    int64_t count = by_ids(job) ? self->argument_count : count_matching(self);
    if (count < 0)
        return CLI_ERROR;
    if (count > job->limit)
        count = job->limit;
    fprintf(stderr, "%lld dead letter%s will be %s: %s.\nGo on? [y/N] ", (long long)count,
        count == 1 ? "" : "s", job->verb, job->warning);
    if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    fprintf(stderr, "nothing was done\n");
    return CLI_INTERRUPTED;
}

static cli_exit
begin(batch_job *job, bool loses)
{
    cli *self = job->self;
    const bool has_wish = cli_has(self, "collection") || cli_has(self, "filter");
    const cli_exit result = cli_number(self, "limit", 1, INT32_MAX, INT32_MAX, &job->limit);

    if (result != CLI_OK)
        return result;
    if (by_ids(job) == has_wish) {
        cli_complain("which ones? give ids, or -c NAME for all of a collection, or --filter; "
                     "--dry-run only shows them");
        return CLI_USAGE;
    }
    return confirm(job, loses);
}

/* What is asked for next. */
static size_t
next_ids(const batch_job *job, char ***ret_ids)
{
    const int left = job->self->argument_count - job->next_id;

    *ret_ids = job->self->arguments + job->next_id;
    return (size_t)(left < PAGE ? left : PAGE);
}

static int32_t
next_page_size(const batch_job *job)
{
    const int64_t left = job->limit - job->done;

    return left < PAGE ? (int32_t)left : PAGE;
}

static void
show_progress(const batch_job *job)
{
    if (job->self->terminal && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%lld %s ", (long long)job->done, job->verb);
}

static void
sleep_for(const Google__Protobuf__Duration *delay)
{
    if (delay != NULL)
        weir_clock_sleep_ms((uint32_t)(delay->seconds * 1000 + delay->nanos / 1000000 + 1));
}

/* ---- requeue ---- */

static void
print_requeued(batch_job *job, const Weir__V1__RequeueDeadLettersResult *it)
{
    cli *self = job->self;
    const bool good = it->status == NULL || it->status->code == 0;

    job->refused += !good;
    if (self->json)
        cli_print_json(&it->base);
    else if (!good || by_ids(job) || cli_has(self, "dry-run"))
        printf("%s  %s  %s\n", cli_plain(self->arena, it->dead_letter_id, 0),
            cli_plain(self->arena, it->document_id, ID_MAX),
            good ? weir_arena_printf(self->arena, "run %d", it->run)
                 : cli_plain(self->arena, it->status->message, 0));
}

/* One call; *ret_more: there is a next one. */
static cli_exit
requeue_some(batch_job *job, bool *ret_more)
{
    cli *self = job->self;
    Weir__V1__RequeueDeadLettersRequest request = WEIR__V1__REQUEUE_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.n_dead_letter_ids = next_ids(job, &request.dead_letter_ids);
    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    request.dry_run = cli_has(self, "dry-run");
    request.page_token = job->page_token;
    request.page_size = by_ids(job) ? 0 : next_page_size(job);
    const cli_exit result = cli_call(self, SERVICE, "RequeueDeadLetters", &request.base, &message);
    if (result != CLI_OK)
        return result;
    const Weir__V1__RequeueDeadLettersResponse *answer = (const void *)message;
    for (size_t i = 0; i < answer->n_results; i++)
        print_requeued(job, answer->results[i]);
    job->next_id += (int)(by_ids(job) ? answer->n_results : 0);
    job->done += answer->requeued_count;
    snprintf(job->page_token, sizeof job->page_token, "%s", answer->next_page_token);
    *ret_more = by_ids(job) ? job->next_id < self->argument_count
                            : answer->next_page_token[0] != '\0' && job->done < job->limit;
    show_progress(job);
    if (*ret_more)
        sleep_for(answer->retry_delay);
    return CLI_OK;
}

/* A long job must not hold all that it was answered. */
static cli_exit
run_batches(batch_job *job, cli_exit (*some)(batch_job *job, bool *ret_more))
{
    cli *self = job->self;
    weir_arena *arena = self->arena;
    cli_exit result = CLI_OK;

    self->arena = weir_arena_create(0);
    for (bool more = true; more && result == CLI_OK;) {
        more = false;
        result = some(job, &more);
        weir_arena_reset(self->arena);
    }
    weir_arena_destroy(&self->arena);
    self->arena = arena;
    if (job->self->terminal && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    return result;
}

cli_exit
cli_dlq_requeue(cli *self)
{
    batch_job job = { .self = self,
        .verb = "requeued",
        .warning = "each begins a new run of its document" };
    cli_exit result = begin(&job, false);

    if (result == CLI_OK)
        result = run_batches(&job, requeue_some);
    if ((result == CLI_OK || job.done > 0) && !self->json)
        printf("%lld %s\n", (long long)job.done,
            cli_has(self, "dry-run") ? "would be tried again" : "are tried again");
    return result == CLI_OK && job.refused > 0 ? CLI_SOME_FAILED : result;
}

/* ---- discard ---- */

/* The ids that were asked for and are in no result: they name no dead letter. */
static void
print_unknown(batch_job *job, const Weir__V1__DiscardDeadLettersRequest *request,
    const Weir__V1__DiscardDeadLettersResponse *answer)
{
    for (size_t i = 0; i < request->n_dead_letter_ids; i++) {
        const char *id = request->dead_letter_ids[i];
        size_t at = 0;

        while (at < answer->n_results && strcmp(answer->results[at]->dead_letter_id, id) != 0)
            at++;
        if (at < answer->n_results)
            continue;
        job->refused++;
        cli_complain(
            "there is no dead letter \"%s\"; it may have been requeued, replaced, discarded "
            "or deleted",
            cli_plain(job->self->arena, id, 0));
    }
}

static void
print_discarded(batch_job *job, const Weir__V1__DiscardDeadLettersResult *it)
{
    cli *self = job->self;

    if (self->json)
        cli_print_json(&it->base);
    else if (by_ids(job) || cli_has(self, "dry-run"))
        printf("%s  %s  %s\n", cli_plain(self->arena, it->dead_letter_id, 0),
            cli_plain(self->arena, it->document_id, ID_MAX), cli_state_name(it->state));
}

static cli_exit
discard_some(batch_job *job, bool *ret_more)
{
    cli *self = job->self;
    Weir__V1__DiscardDeadLettersRequest request = WEIR__V1__DISCARD_DEAD_LETTERS_REQUEST__INIT;
    ProtobufCMessage *message = NULL;

    request.n_dead_letter_ids = next_ids(job, &request.dead_letter_ids);
    request.collection_id = (char *)cli_text(self, "collection", "");
    request.filter = (char *)cli_text(self, "filter", "");
    request.dry_run = cli_has(self, "dry-run");
    request.page_token = job->page_token;
    request.page_size = by_ids(job) ? 0 : next_page_size(job);
    const cli_exit result = cli_call(self, SERVICE, "DiscardDeadLetters", &request.base, &message);
    if (result != CLI_OK)
        return result;
    const Weir__V1__DiscardDeadLettersResponse *answer = (const void *)message;
    for (size_t i = 0; i < answer->n_results; i++)
        print_discarded(job, answer->results[i]);
    print_unknown(job, &request, answer);
    job->next_id += (int)request.n_dead_letter_ids;
    job->done += answer->discarded_count;
    snprintf(job->page_token, sizeof job->page_token, "%s", answer->next_page_token);
    *ret_more = by_ids(job) ? job->next_id < self->argument_count
                            : answer->next_page_token[0] != '\0' && job->done < job->limit;
    show_progress(job);
    return CLI_OK;
}

cli_exit
cli_dlq_discard(cli *self)
{
    batch_job job = { .self = self,
        .verb = "discarded",
        .warning = "their sources are purged, and a document of which no other revision is left "
                   "is deleted" };
    cli_exit result = begin(&job, true);

    if (result == CLI_OK)
        result = run_batches(&job, discard_some);
    if ((result == CLI_OK || job.done > 0) && !self->json)
        printf("%lld %s\n", (long long)job.done,
            cli_has(self, "dry-run") ? "would be discarded" : "are discarded");
    return result == CLI_OK && job.refused > 0 ? CLI_SOME_FAILED : result;
}
