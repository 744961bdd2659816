/*
 * ingest_wait.c - until every document is terminal, with the stages' queues on the progress line.
 *
 * Documents are waited for one after the other in slices; most are done when their turn comes.  A
 * server that is away for a moment is waited for too.
 */
#include <string.h>

#include "cli/ingest.h"
#include "common/base/clock.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/system.pb-c.h"

enum { SLICE_MS = 300, CALL_TIMEOUT_MS = 30000, LOOK_MS = 500, AWAY_MS = 500 };

typedef struct waiting {
    ingest *ingest;
    weir_arena *arena; /* reset after each call */
    int64_t until_ms;  /* monotonic */
    int64_t looked_ms;
} waiting;

/* ---- the progress line ---- */

static int64_t
collection_chunks(ingest *self, weir_arena *arena)
{
    Weir__V1__GetCollectionRequest request = WEIR__V1__GET_COLLECTION_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error;

    request.collection_id = self->collection;
    if (cli_try(self->cli, &weir__v1__collection_service__descriptor, "GetCollection",
            &request.base, CALL_TIMEOUT_MS, arena, &message, &error) != WEIR_OK)
        return -1;
    return ((const Weir__V1__GetCollectionResponse *)(const void *)message)
        ->collection->chunk_count;
}

static void
format_stages(const Weir__V1__Pressure *pressure, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < pressure->n_stages && at < size; i++) {
        const Weir__V1__StagePressure *stage = pressure->stages[i];
        const int64_t waiting_count = stage->queued + stage->deferred + stage->parked;
        if (waiting_count > 0 || stage->away)
            at += (size_t)snprintf(out + at, size - at, "%s%s %lld%s", at == 0 ? "" : ", ",
                cli_stage_name(stage->stage), (long long)waiting_count,
                stage->away ? " (does not answer)" : "");
    }
}

/* What the whole collection has left is an upper bound of what is left of ours. */
static void
look(waiting *self)
{
    Weir__V1__GetPressureRequest request = WEIR__V1__GET_PRESSURE_REQUEST__INIT;
    progress *line = &self->ingest->progress;
    ProtobufCMessage *message = NULL;
    weir_error error;

    if (weir_clock_mono_ms() - self->looked_ms < LOOK_MS)
        return;
    self->looked_ms = weir_clock_mono_ms();
    request.collection_id = self->ingest->collection;
    if (cli_try(self->ingest->cli, &weir__v1__system_service__descriptor, "GetPressure",
            &request.base, CALL_TIMEOUT_MS, self->arena, &message, &error) == WEIR_OK) {
        const Weir__V1__Pressure *pressure =
            ((const Weir__V1__GetPressureResponse *)(const void *)message)->pressure;
        const size_t left = (size_t)(pressure->pending + pressure->processing);
        if (line->accepted > left && line->accepted - left > line->done)
            line->done = line->accepted - left;
        format_stages(pressure, line->stages, sizeof line->stages);
    }
    const int64_t chunks = collection_chunks(self->ingest, self->arena);
    if (chunks >= self->ingest->chunks_before)
        line->chunks = chunks - self->ingest->chunks_before;
    weir_arena_reset(self->arena);
}

/* ---- one document ---- */

static void
note_terminal(waiting *self, ingest_item *item, const Weir__V1__Document *document)
{
    item->state = document->state;
    if (document->error != NULL)
        item->reason = weir_arena_printf(self->ingest->arena, "%s: %s", document->error->reason,
            document->error->message);
    self->ingest->progress.failed +=
        document->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED;
    if (self->ingest->cli->json)
        cli_print_json(&document->base);
}

/* One call; *ret_terminal says whether the document has come to its end. */
static cli_exit
wait_slice(waiting *self, ingest_item *item, bool *ret_terminal)
{
    Weir__V1__WaitDocumentRequest request = WEIR__V1__WAIT_DOCUMENT_REQUEST__INIT;
    Google__Protobuf__Duration slice = GOOGLE__PROTOBUF__DURATION__INIT;
    ProtobufCMessage *message = NULL;
    weir_error error;

    slice.nanos = SLICE_MS * 1000000;
    request.collection_id = self->ingest->collection;
    request.document_id = item->document_id;
    request.revision = item->revision;
    request.timeout = &slice;
    const weir_code code = cli_try(self->ingest->cli, &weir__v1__document_service__descriptor,
        "WaitDocument", &request.base, CALL_TIMEOUT_MS, self->arena, &message, &error);
    if (code == WEIR_OK) {
        const Weir__V1__Document *document =
            ((const Weir__V1__WaitDocumentResponse *)(const void *)message)->document;
        *ret_terminal = document->terminal;
        if (document->terminal)
            note_terminal(self, item, document);
    } else if (cli_exit_of(code) == CLI_UNREACHABLE || code == WEIR_TIMEOUT) {
        weir_clock_sleep_ms(AWAY_MS);
    } else {
        return cli_explain(self->ingest->cli, &error);
    }
    weir_arena_reset(self->arena);
    return CLI_OK;
}

static cli_exit
wait_item(waiting *self, ingest_item *item)
{
    bool terminal = false;
    cli_exit result = CLI_OK;

    while (result == CLI_OK && !terminal) {
        result = wait_slice(self, item, &terminal);
        if (!terminal && weir_clock_mono_ms() >= self->until_ms)
            return CLI_TIMED_OUT;
        look(self);
        progress_update(&self->ingest->progress);
    }
    return result;
}

cli_exit
ingest_wait(ingest *self)
{
    size_t terminal = 0;
    cli_exit result = CLI_OK;
    waiting it = { .ingest = self,
        .arena = weir_arena_create(0),
        .until_ms = weir_clock_mono_ms() + self->wait_timeout_ms };

    for (size_t i = 0; i < self->count && result == CLI_OK; i++) {
        ingest_item *item = &self->items[i];
        if (item->fate != INGEST_ACCEPTED && item->fate != INGEST_UNCHANGED)
            continue;
        result = wait_item(&it, item);
        terminal += result == CLI_OK;
        if (self->progress.done < terminal)
            self->progress.done = terminal;
    }
    it.looked_ms = 0; /* the last line shows the end */
    look(&it);
    if (result == CLI_OK)
        self->progress.stages[0] = '\0'; /* the last look at the stages is older than the end */
    weir_arena_destroy(&it.arena);
    return result;
}
