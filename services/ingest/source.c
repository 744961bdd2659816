/*
 * source.c - see source.h.
 */
#include "services/ingest/source.h"

#include "common/base/limits.h"
#include "weir/internal/v1/service.pb-c.h"

static weir_code
append_part(const ProtobufCMessage *message, weir_buffer *out, weir_error *reterr)
{
    const Weir__Internal__V1__ReadSourceResponse *part =
        (const Weir__Internal__V1__ReadSourceResponse *)message;

    if (out->size + part->data.len > WEIR_STREAMED_DOCUMENT_BYTES_MAX)
        return weir_error_set(reterr, WEIR_BODY_TOO_LARGE, "the body has more than %d bytes",
            WEIR_STREAMED_DOCUMENT_BYTES_MAX);
    weir_buffer_append(out, part->data.data, part->data.len);
    return WEIR_OK;
}

static weir_code
receive(weir_rpc_stream *stream, weir_buffer *out, weir_error *reterr)
{
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;
    weir_code code = WEIR_OK;

    do {
        weir_arena_reset(arena);
        code = weir_rpc_stream_recv(stream, 0, arena, &message, reterr);
        if (code == WEIR_OK && message != NULL)
            code = append_part(message, out, reterr);
    } while (code == WEIR_OK && message != NULL);
    weir_arena_destroy(&arena);
    return code;
}

weir_code
ingest_source_read(void *ud, const Weir__Internal__V1__Row *row, weir_buffer *out,
    weir_error *reterr)
{
    const ingest_source *source = ud;
    const weir_rpc_call_options options = { .timeout_ms = source->timeout_ms };
    Weir__Internal__V1__ReadSourceRequest request = WEIR__INTERNAL__V1__READ_SOURCE_REQUEST__INIT;
    weir_error ignored;

    request.collection_no = row->collection_no;
    request.document_id = row->document_id;
    request.revision = row->revision;
    weir_rpc_stream *stream = weir_rpc_stream_open(source->stub, "ReadSource", &options);
    weir_code code = weir_rpc_stream_send(stream, &request.base, reterr);
    if (code == WEIR_OK) {
        weir_rpc_stream_half_close(stream);
        code = receive(stream, out, reterr);
    }
    if (code != WEIR_OK)
        weir_rpc_stream_cancel(stream);
    (void)weir_rpc_stream_finish(&stream, &ignored);
    return code;
}
