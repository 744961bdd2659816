/*
 * ingest.c - `weir ingest`: plan, compare, send, wait, and the counts at the end.
 */
#include "cli/ingest.h"

#include <stdarg.h>
#include <string.h>

#include "weir/v1/collection.pb-c.h"

enum { SHOWN_MAX = 20, CALL_TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = 3600000 };

void
ingest_refuse(ingest *self, ingest_item *item, const char *format, ...)
{
    char reason[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&self->lock);
    item->fate = INGEST_REFUSED;
    item->reason = weir_arena_strdup(self->arena, reason);
    self->progress.refused++;
    pthread_mutex_unlock(&self->lock);
}

static size_t
count_fate(const ingest *self, ingest_fate fate)
{
    size_t count = 0;

    for (size_t i = 0; i < self->count; i++)
        count += self->items[i].fate == fate;
    return count;
}

static size_t
count_state(const ingest *self, Weir__V1__DocumentState state)
{
    size_t count = 0;

    for (size_t i = 0; i < self->count; i++)
        count += self->items[i].fate != INGEST_REFUSED && self->items[i].state == state;
    return count;
}

/* What did not become a document or FAILED, and where to read on. */
static void
print_bad_ones(const ingest *self)
{
    size_t shown = 0;
    size_t failed = 0;

    for (size_t i = 0; i < self->count; i++) {
        const ingest_item *it = &self->items[i];
        if (it->fate != INGEST_REFUSED &&
            it->state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED)
            continue;
        failed += it->fate != INGEST_REFUSED;
        if (shown++ < SHOWN_MAX)
            cli_complain("%s %s: %s", cli_plain(self->arena, it->path, 0),
                it->fate == INGEST_REFUSED ? "was refused" : "FAILED",
                it->reason != NULL ? cli_plain(self->arena, it->reason, 0) : "see `weir dlq ls`");
    }
    if (shown > SHOWN_MAX)
        cli_complain("and %zu more", shown - SHOWN_MAX);
    if (failed > 0)
        cli_complain("`weir dlq ls -c %s` lists what FAILED, `weir explain ID -c %s` says what can "
                     "be done",
            self->collection, self->collection);
}

/* "5 files: 4 accepted, 1 unchanged; 4 READY, 1 FAILED". */
static void
print_summary(const ingest *self)
{
    FILE *out = self->cli->json ? stderr : stdout;
    const char *separator = "; ";

    fprintf(out, "%zu file%s: %zu accepted, %zu unchanged, %zu refused", self->count,
        self->count == 1 ? "" : "s", count_fate(self, INGEST_ACCEPTED),
        count_fate(self, INGEST_UNCHANGED), count_fate(self, INGEST_REFUSED));
    for (int state = WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PENDING;
        self->progress.waiting && state <= WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_DELETED;
        state++) {
        const size_t count = count_state(self, (Weir__V1__DocumentState)state);
        if (count == 0)
            continue;
        fprintf(out, "%s%zu %s", separator, count, cli_state_name((Weir__V1__DocumentState)state));
        separator = ", ";
    }
    fprintf(out, "\n");
}

static int64_t
chunks_now(ingest *self)
{
    Weir__V1__GetCollectionRequest request = WEIR__V1__GET_COLLECTION_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error;

    request.collection_id = self->collection;
    if (cli_try(self->cli, &weir__v1__collection_service__descriptor, "GetCollection",
            &request.base, CALL_TIMEOUT_MS, self->arena, &message, &error) != WEIR_OK)
        return 0;
    return ((const Weir__V1__GetCollectionResponse *)(const void *)message)
        ->collection->chunk_count;
}

static cli_exit
run(ingest *self)
{
    cli_exit result = ingest_compare(self);

    if (result != CLI_OK)
        return result;
    self->progress.accepted = count_fate(self, INGEST_UNCHANGED);
    if (self->progress.waiting)
        self->chunks_before = chunks_now(self);
    result = ingest_send(self);
    if (result == CLI_OK && self->progress.waiting)
        result = ingest_wait(self);
    progress_end(&self->progress);
    print_summary(self);
    print_bad_ones(self);
    if (result == CLI_TIMED_OUT)
        cli_complain("the wait timed out; the work goes on: `weir wait -c %s`", self->collection);
    if (result != CLI_OK)
        return result;
    return count_fate(self, INGEST_REFUSED) > 0 ||
            (self->progress.waiting &&
                count_state(self, WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED) > 0)
        ? CLI_SOME_FAILED
        : CLI_OK;
}

cli_exit
cli_ingest(cli *cli_)
{
    ingest self = { .cli = cli_,
        .arena = cli_->arena,
        .lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };
    cli_exit result = cli_collection(cli_, &self.collection);

    if (result == CLI_OK)
        result = cli_duration(cli_, "timeout", WAIT_TIMEOUT_MS, &self.wait_timeout_ms);
    if (result == CLI_OK)
        result = ingest_plan(&self);
    if (result == CLI_OK && self.count == 0) {
        cli_complain("there is no file to ingest in %s%s", cli_->arguments[0],
            cli_has(cli_, "glob") ? " that matches --glob" : "; hidden ones are left out");
        result = CLI_NOT_FOUND;
    }
    if (result == CLI_OK) {
        const size_t refused = self.progress.refused;
        progress_begin(&self.progress, self.count, cli_has(cli_, "wait"));
        self.progress.refused = refused;
        result = run(&self);
    }
    weir_free(self.items);
    return result;
}
