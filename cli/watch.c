/*
 * watch.c - `weir watch`: changes of stage and state as they are committed.
 *
 * A lost connection is taken up again with the last resume token, so that no change is missed.
 */
#include <string.h>

#include "cli/cli.h"
#include "common/base/clock.h"

enum { RECONNECT_MS = 500, TOKEN_BYTES_MAX = 512 };

static void
print_event(cli *self, weir_arena *arena, const Weir__V1__WatchDocumentsResponse *event)
{
    const Weir__V1__Document *it = event->document;

    if (self->json || it == NULL) {
        cli_print_json(&event->base);
    } else {
        printf("%s  %-10s %-6s r%lld run %d  %s%s%s\n", cli_format_time(arena, event->event_time),
            cli_state_name(it->state), cli_stage_name(it->stage), (long long)it->revision, it->run,
            cli_plain(arena, it->document_id, 0), it->error != NULL ? "  " : "",
            it->error != NULL ? it->error->reason : "");
    }
    fflush(stdout);
}

/* Until the stream ends; `token` follows the events. */
static weir_code
follow(cli *self, weir_rpc_stub *stub, Weir__V1__WatchDocumentsRequest *request, char *token,
    weir_error *reterr)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self, metadata, 0);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "WatchDocuments", &options);
    weir_arena *arena = weir_arena_create(0);
    weir_code code = weir_rpc_stream_send(stream, &request->base, reterr);

    weir_rpc_stream_half_close(stream);
    for (;;) {
        ProtobufCMessage *message = NULL;
        code = weir_rpc_stream_recv(stream, 0, arena, &message, reterr);
        if (code != WEIR_OK || message == NULL)
            break;
        const Weir__V1__WatchDocumentsResponse *event = (const void *)message;
        print_event(self, arena, event);
        snprintf(token, TOKEN_BYTES_MAX, "%s", event->resume_token);
        weir_arena_reset(arena);
    }
    weir_error ignored = { 0 };
    (void)weir_rpc_stream_finish(&stream, &ignored);
    weir_arena_destroy(&arena);
    return code;
}

cli_exit
cli_watch(cli *self)
{
    Weir__V1__WatchDocumentsRequest request = WEIR__V1__WATCH_DOCUMENTS_REQUEST__INIT;
    char token[TOKEN_BYTES_MAX];
    weir_error error = { 0 };
    const cli_exit result = cli_collection(self, &request.collection_id);

    if (result != CLI_OK)
        return result;
    snprintf(token, sizeof token, "%s", cli_text(self, "resume", ""));
    request.document_ids = self->arguments;
    request.n_document_ids = (size_t)self->argument_count;
    request.resume_token = token;
    weir_rpc_stub *stub =
        weir_rpc_stub_open(self->channel, &weir__v1__document_service__descriptor);
    weir_code code = follow(self, stub, &request, token, &error);
    /* Only a connection that had worked is worth waiting for. */
    while (token[0] != '\0' && cli_exit_of(code) == CLI_UNREACHABLE) {
        weir_clock_sleep_ms(RECONNECT_MS);
        code = follow(self, stub, &request, token, &error);
    }
    weir_rpc_stub_close(&stub);
    return code == WEIR_OK ? CLI_OK : cli_explain(self, &error);
}
