/*
 * cat.c - `weir cat`: the bytes of a document as they came, to standard output.
 *
 * They are written once they are whole and have the SHA-256 that the server names, or not at all.
 */
#include <string.h>

#include "cli/cli.h"
#include "common/base/hash.h"
#include "common/base/id.h"

typedef Weir__V1__DownloadDocumentResponse part_message;

typedef struct cat {
    cli *self;
    weir_buffer body; /* its hash is of the whole */
    char sha256[2 * WEIR_SHA256_SIZE + 1];
} cat;

static void
take(cat *job, const part_message *part)
{
    if (part->part_case == WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_HEADER &&
        part->header->document != NULL)
        snprintf(job->sha256, sizeof job->sha256, "%s", part->header->document->content_sha256);
    if (part->part_case == WEIR__V1__DOWNLOAD_DOCUMENT_RESPONSE__PART_DATA)
        weir_buffer_append(&job->body, part->data.data, part->data.len);
}

static cli_exit
receive(cat *job, weir_rpc_stream *stream)
{
    weir_arena *arena = weir_arena_create(0);
    weir_error error = { 0 };
    cli_exit result = CLI_OK;

    while (result == CLI_OK) {
        ProtobufCMessage *message = NULL;
        const weir_code code = weir_rpc_stream_recv(stream, 0, arena, &message, &error);

        if (code != WEIR_OK)
            result = cli_explain(job->self, &error);
        if (code != WEIR_OK || message == NULL)
            break;
        take(job, (const part_message *)(const void *)message);
        weir_arena_reset(arena);
    }
    weir_arena_destroy(&arena);
    return result;
}

static cli_exit
write_body(const cat *job)
{
    char hex[2 * WEIR_SHA256_SIZE + 1];
    const weir_bytes body = weir_buffer_view(&job->body);
    const weir_sha256_sum sum = weir_sha256(body);

    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    if (strcmp(hex, job->sha256) != 0) {
        cli_complain("what came has another SHA-256 than the document: nothing was written");
        return CLI_ERROR;
    }
    if (fwrite(body.data, 1, body.size, stdout) == body.size)
        return CLI_OK;
    cli_complain("standard output takes no more");
    return CLI_ERROR;
}

cli_exit
cli_cat(cli *self)
{
    Weir__V1__DownloadDocumentRequest request = WEIR__V1__DOWNLOAD_DOCUMENT_REQUEST__INIT;
    cat job = { .self = self };
    weir_rpc_metadata metadata[1];
    weir_error error = { 0 };
    cli_exit result = cli_collection(self, &request.collection_id);

    if (result == CLI_OK)
        result = cli_number(self, "revision", 1, INT64_MAX, 0, &request.revision);
    if (result != CLI_OK)
        return result;
    request.document_id = self->arguments[0];
    const weir_rpc_call_options options = cli_call_options(self, metadata, 0);
    weir_rpc_stub *stub =
        weir_rpc_stub_open(self->channel, &weir__v1__document_service__descriptor);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "DownloadDocument", &options);
    if (weir_rpc_stream_send(stream, &request.base, &error) == WEIR_OK)
        weir_rpc_stream_half_close(stream);
    result = receive(&job, stream); /* its answer says why a send failed */
    if (result == CLI_OK)
        result = write_body(&job);
    (void)weir_rpc_stream_finish(&stream, &error);
    weir_rpc_stub_close(&stub);
    weir_buffer_fini(&job.body);
    return result;
}
