/*
 * ingest_send.c - documents over one stream, answers as they come.
 *
 * This thread reads files and sends, blocked by flow control when the server is busy; a second one
 * takes the answers. When the connection is lost, what has no answer is sent again over a new one:
 * a document that had been accepted is then answered UNCHANGED (or REPEATED).
 */
#include <string.h>

#include "cli/ingest.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"
#include "google/rpc/error_details.pb-c.h"

#define SERVICE (&weir__v1__document_service__descriptor)

enum {
    RETRY_FIRST_MS = 250,
    RETRY_MAX_MS = 5000,
    LOST_MAX_MS = 60000,
    UPLOAD_PART_BYTES = 1 << 20
};

typedef struct receiver {
    ingest *ingest;
    weir_rpc_stream *stream;
    pthread_t thread;
    size_t answered;
    weir_error error; /* the end of the stream */
} receiver;

/* ---- one answer ---- */

/* The reason in the details, or NULL. */
static const char *
reason_of(const Google__Rpc__Status *status, weir_arena *arena)
{
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        const char *slash = strrchr(any->type_url, '/');
        ProtobufCMessage *message = NULL;
        weir_error error = { 0 };
        if (slash == NULL || strcmp(slash + 1, "google.rpc.ErrorInfo") != 0)
            continue;
        if (weir_wire_decode(&google__rpc__error_info__descriptor,
                weir_bytes_of(any->value.data, any->value.len), NULL, arena, &message,
                &error) == WEIR_OK)
            return ((const Google__Rpc__ErrorInfo *)(const void *)message)->reason;
    }
    return NULL;
}

/* Under the lock. */
static void
note_accepted(ingest *self, ingest_item *item, const Weir__V1__Document *document,
    Weir__V1__IngestOutcome outcome)
{
    item->fate = outcome == WEIR__V1__INGEST_OUTCOME__INGEST_OUTCOME_UNCHANGED ? INGEST_UNCHANGED
                                                                               : INGEST_ACCEPTED;
    item->revision = document->revision;
    item->state = document->state;
    self->progress.accepted++;
}

/* Under the lock. */
static void
note_answer(ingest *self, const Weir__V1__IngestDocumentsResponse *answer, weir_arena *arena)
{
    unsigned index = 0;

    if (sscanf(answer->correlation_id, "%u", &index) != 1 || index >= self->count)
        return;
    ingest_item *item = &self->items[index];
    if (answer->result_case == WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_DOCUMENT) {
        note_accepted(self, item, answer->document, answer->outcome);
    } else if (answer->result_case == WEIR__V1__INGEST_DOCUMENTS_RESPONSE__RESULT_STATUS) {
        const char *reason = reason_of(answer->status, arena);
        ingest_refuse(self, item, "%s%s%s", reason != NULL ? reason : "",
            reason != NULL ? ": " : "", answer->status->message);
    }
    if (self->cli->json && !self->progress.waiting)
        cli_print_json(&answer->base);
    progress_update(&self->progress);
}

static void *
receive(void *context)
{
    receiver *self = context;
    weir_arena *arena = weir_arena_create(0);
    ProtobufCMessage *message = NULL;

    while (weir_rpc_stream_recv(self->stream, 0, arena, &message, &self->error) == WEIR_OK &&
        message != NULL) {
        pthread_mutex_lock(&self->ingest->lock);
        note_answer(self->ingest, (const Weir__V1__IngestDocumentsResponse *)(const void *)message,
            arena);
        self->answered++;
        pthread_mutex_unlock(&self->ingest->lock);
        weir_arena_reset(arena);
        message = NULL;
    }
    weir_arena_destroy(&arena);
    return NULL;
}

/* ---- sending ---- */

/* PREFIX + document_id, or its hash where that is too long. */
static void
make_request_id(const ingest *self, const ingest_item *item,
    char out[WEIR_REQUEST_ID_BYTES_MAX + 1])
{
    const char *prefix = cli_text(self->cli, "request-prefix", "");
    const size_t prefix_size = strlen(prefix);
    const size_t id_size = strlen(item->document_id);
    char hex[2 * WEIR_SHA256_SIZE + 1];

    if (prefix_size + id_size <= WEIR_REQUEST_ID_BYTES_MAX) {
        memcpy(out, prefix, prefix_size);
        memcpy(out + prefix_size, item->document_id, id_size + 1);
        return;
    }
    const weir_sha256_sum sum = weir_sha256(weir_bytes_str(item->document_id));
    weir_hex_encode(weir_bytes_of(sum.bytes, sizeof sum.bytes), hex);
    snprintf(out, WEIR_REQUEST_ID_BYTES_MAX + 1, "%.60s%s", prefix, hex);
}

static char *
base_name(const ingest_item *item)
{
    char *slash = strrchr(item->document_id, '/');

    return slash != NULL ? slash + 1 : item->document_id;
}

static weir_code
send_item(ingest *self, size_t index, weir_buffer *bytes, weir_rpc_stream *stream,
    weir_error *reterr)
{
    Weir__V1__IngestDocumentsRequest item = WEIR__V1__INGEST_DOCUMENTS_REQUEST__INIT;
    Weir__V1__IngestDocumentRequest request = WEIR__V1__INGEST_DOCUMENT_REQUEST__INIT;
    char correlation_id[24];
    char request_id[WEIR_REQUEST_ID_BYTES_MAX + 1] = "";

    if (cli_has(self->cli, "request-prefix"))
        make_request_id(self, &self->items[index], request_id);
    snprintf(correlation_id, sizeof correlation_id, "%zu", index);
    item.request = &request;
    item.correlation_id = correlation_id;
    request.collection_id = self->collection;
    request.document_id = self->items[index].document_id;
    request.filename = base_name(&self->items[index]);
    request.media_type = (char *)cli_text(self->cli, "media-type", "");
    request.request_id = request_id;
    request.force = cli_has(self->cli, "force");
    request.body_case = WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_DATA;
    request.data = (ProtobufCBinaryData){ .len = bytes->size, .data = bytes->data };
    return weir_rpc_stream_send(stream, &item.base, reterr);
}

/* True: the item is to be sent over the stream now, and counts as sent. */
static bool
claim(ingest *self, ingest_item *item)
{
    pthread_mutex_lock(&self->lock);
    const bool mine = item->fate == INGEST_TO_SEND && item->size_bytes <= WEIR_UNARY_BODY_BYTES_MAX;
    if (mine)
        item->fate = INGEST_SENT;
    pthread_mutex_unlock(&self->lock);
    return mine;
}

static void
send_all(ingest *self, weir_rpc_stream *stream)
{
    weir_buffer bytes = { 0 };
    weir_error error = { 0 };
    weir_code code = WEIR_OK;

    for (size_t i = 0; i < self->count && code == WEIR_OK; i++) {
        if (!claim(self, &self->items[i]))
            continue;
        if (ingest_read_file(self, &self->items[i], WEIR_UNARY_BODY_BYTES_MAX, &bytes))
            code = send_item(self, i, &bytes, stream, &error);
    }
    weir_rpc_stream_half_close(stream);
    weir_buffer_fini(&bytes);
}

/* What has no answer is to be sent again. */
static size_t
take_back(ingest *self)
{
    size_t count = 0;

    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].fate == INGEST_SENT) {
            self->items[i].fate = INGEST_TO_SEND;
            count++;
        }
    }
    return count;
}

/* One stream from open to end.  *ret_answered: answers that came. */
static weir_code
run_stream(ingest *self, weir_rpc_stub *stub, size_t *ret_answered, weir_error *reterr)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self->cli, metadata, 0);
    receiver it = { .ingest = self,
        .stream = weir_rpc_stream_open(stub, "IngestDocuments", &options) };
    weir_error ignored = { 0 };

    if (pthread_create(&it.thread, NULL, receive, &it) != 0) {
        weir_rpc_stream_cancel(it.stream);
        (void)weir_rpc_stream_finish(&it.stream, &ignored);
        return weir_error_set(reterr, WEIR_NO_MEMORY, "no thread for the answers");
    }
    send_all(self, it.stream);
    pthread_join(it.thread, NULL);
    (void)weir_rpc_stream_finish(&it.stream, &ignored);
    *ret_answered = it.answered;
    *reterr = it.error;
    return it.error.code;
}

static bool
has_small_ones(const ingest *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].fate == INGEST_TO_SEND &&
            self->items[i].size_bytes <= WEIR_UNARY_BODY_BYTES_MAX)
            return true;
    return false;
}

/* Streams until nothing is left; a lost connection is tried again for a minute without any answer.
 */
static cli_exit
send_small(ingest *self, weir_rpc_stub *stub)
{
    int64_t wait_ms = RETRY_FIRST_MS;
    int64_t lost_ms = weir_clock_mono_ms();

    while (has_small_ones(self)) {
        weir_error error = { 0 };
        size_t answered = 0;
        const weir_code code = run_stream(self, stub, &answered, &error);
        const size_t unanswered = take_back(self);
        if (answered > 0) {
            lost_ms = weir_clock_mono_ms();
            wait_ms = RETRY_FIRST_MS;
        }
        if (code == WEIR_OK && unanswered == 0)
            continue;
        if (code != WEIR_OK && cli_exit_of(code) != CLI_UNREACHABLE)
            return cli_explain(self->cli, &error);
        if (weir_clock_mono_ms() - lost_ms > (self->progress.accepted > 0 ? LOST_MAX_MS : 0))
            return code != WEIR_OK ? cli_explain(self->cli, &error) : CLI_ERROR;
        weir_clock_sleep_ms((uint32_t)wait_ms);
        wait_ms = wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : wait_ms * 2;
    }
    return CLI_OK;
}

/* ---- files over 4 MiB ---- */

static weir_code
send_parts(ingest *self, ingest_item *item, const weir_buffer *bytes, weir_rpc_stream *stream,
    weir_error *reterr)
{
    Weir__V1__UploadDocumentRequest part = WEIR__V1__UPLOAD_DOCUMENT_REQUEST__INIT;
    Weir__V1__UploadDocumentHeader header = WEIR__V1__UPLOAD_DOCUMENT_HEADER__INIT;
    char request_id[WEIR_REQUEST_ID_BYTES_MAX + 1] = "";

    if (cli_has(self->cli, "request-prefix"))
        make_request_id(self, item, request_id);
    header.collection_id = self->collection;
    header.document_id = item->document_id;
    header.filename = base_name(item);
    header.media_type = (char *)cli_text(self->cli, "media-type", "");
    header.request_id = request_id;
    header.force = cli_has(self->cli, "force");
    header.size_bytes = (int64_t)bytes->size;
    part.part_case = WEIR__V1__UPLOAD_DOCUMENT_REQUEST__PART_HEADER;
    part.header = &header;
    weir_code code = weir_rpc_stream_send(stream, &part.base, reterr);
    part.part_case = WEIR__V1__UPLOAD_DOCUMENT_REQUEST__PART_DATA;
    for (size_t at = 0; at < bytes->size && code == WEIR_OK; at += UPLOAD_PART_BYTES) {
        const size_t left = bytes->size - at;
        part.data.len = left < UPLOAD_PART_BYTES ? left : UPLOAD_PART_BYTES;
        part.data.data = bytes->data + at;
        code = weir_rpc_stream_send(stream, &part.base, reterr);
    }
    weir_rpc_stream_half_close(stream);
    return code;
}

static void
upload(ingest *self, ingest_item *item, weir_rpc_stub *stub)
{
    weir_rpc_metadata metadata[1];
    const weir_rpc_call_options options = cli_call_options(self->cli, metadata, 0);
    weir_buffer bytes = { 0 };
    weir_error error = { 0 };
    weir_error ignored = { 0 };
    ProtobufCMessage *message = NULL;

    if (!ingest_read_file(self, item, WEIR_STREAMED_DOCUMENT_BYTES_MAX, &bytes)) {
        weir_buffer_fini(&bytes);
        return;
    }
    weir_arena *arena = weir_arena_create(0);
    weir_rpc_stream *stream = weir_rpc_stream_open(stub, "UploadDocument", &options);
    (void)!send_parts(self, item, &bytes, stream, &ignored); /* the answer says why */
    const weir_code code = weir_rpc_stream_recv(stream, 0, arena, &message, &error);
    if (code == WEIR_OK && message != NULL) {
        const Weir__V1__UploadDocumentResponse *answer = (const void *)message;
        note_accepted(self, item, answer->document, answer->outcome);
    } else if (code == WEIR_UNIMPLEMENTED) {
        ingest_refuse(self, item,
            "it has more than 4 MiB, and this server does not take uploads yet");
    } else {
        ingest_refuse(self, item, "%s: %s", weir_code_name(error.code), error.message);
    }
    (void)weir_rpc_stream_finish(&stream, &ignored);
    weir_arena_destroy(&arena);
    weir_buffer_fini(&bytes);
    progress_update(&self->progress);
}

cli_exit
ingest_send(ingest *self)
{
    weir_rpc_stub *stub = weir_rpc_stub_open(self->cli->channel, SERVICE);
    const cli_exit result = send_small(self, stub);

    for (size_t i = 0; result == CLI_OK && i < self->count; i++)
        if (self->items[i].fate == INGEST_TO_SEND)
            upload(self, &self->items[i], stub);
    weir_rpc_stub_close(&stub);
    return result;
}
