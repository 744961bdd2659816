/*
 * views.c - see views.h.
 */
#include "services/gateway/views.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/base/id.h"

bool
gateway_state_is_terminal(uint32_t state)
{
    return state >= WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY;
}

Weir__V1__Inconsistency *
gateway_view_inconsistency(weir_arena *arena, uint64_t number,
    const Weir__Internal__V1__InconsistencyRecord *record)
{
    Weir__V1__Inconsistency *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__inconsistency__init(view);
    view->inconsistency_id = weir_arena_printf(arena, "%llu", (unsigned long long)number);
    view->collection_id = record->collection_id;
    view->document_id = record->document_id;
    view->revision = record->revision;
    view->run = (int32_t)record->epoch;
    view->recorded_state = (Weir__V1__DocumentState)record->recorded_state;
    view->evident_state = (Weir__V1__DocumentState)record->evident_state;
    view->message = record->message;
    view->proposed_resolution = (Weir__V1__InconsistencyResolution)record->proposed;
    view->resolution = (Weir__V1__InconsistencyResolution)record->resolution;
    view->create_time = weir_wire_time(arena, record->create_time_ms);
    view->resolve_time = weir_wire_time(arena, record->resolve_time_ms);
    return view;
}

bool
gateway_parse_inconsistency_id(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t i = 0;

    for (; text[i] >= '0' && text[i] <= '9' && i < 19; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    *ret_number = number;
    return i > 0 && text[i] == 0 && text[0] != '0';
}

Weir__V1__ErrorClass
gateway_view_class(uint32_t code)
{
    return (Weir__V1__ErrorClass)weir_code_class((weir_code)code);
}

Weir__V1__FailureInfo *
gateway_view_failure(weir_arena *arena, const failure_record *failure)
{
    if (failure == NULL || failure->code == 0)
        return NULL;
    Weir__V1__FailureInfo *info = weir_arena_alloc(arena, sizeof *info);

    weir__v1__failure_info__init(info);
    info->stage = (Weir__V1__Stage)failure->stage;
    info->reason = (char *)(uintptr_t)weir_code_name((weir_code)failure->code);
    info->error_class = gateway_view_class(failure->code);
    info->message = failure->message;
    info->attempt_count = (int32_t)failure->attempt_count;
    info->retryable = failure->retryable;
    info->time = weir_wire_time(arena, failure->time_ms);
    return info;
}

static char *
hex_in(weir_arena *arena, weir_bytes bytes)
{
    char *hex = weir_arena_alloc(arena, 2 * bytes.size + 1);

    weir_hex_encode(bytes, hex);
    return hex;
}

char *
gateway_token_encode(weir_arena *arena, uint8_t kind, weir_bytes content)
{
    weir_buffer bytes = { 0 };

    weir_buffer_append_u8(&bytes, kind);
    weir_buffer_append(&bytes, content.data, content.size);
    weir_buffer_append_u32(&bytes, weir_crc32c(0, weir_buffer_view(&bytes)));
    char *token = hex_in(arena, weir_buffer_view(&bytes));
    weir_buffer_fini(&bytes);
    return token;
}

bool
gateway_token_decode(weir_arena *arena, uint8_t kind, const char *token, weir_bytes *ret_content)
{
    const size_t size = strlen(token) / 2;
    uint8_t *bytes = weir_arena_alloc(arena, size + 1);

    if (size < 5 || size > 4096 || strlen(token) % 2 != 0 || !weir_hex_decode(token, bytes, size))
        return false;
    if (bytes[0] != kind ||
        weir_load_u32(bytes + size - 4) != weir_crc32c(0, weir_bytes_of(bytes, size - 4)))
        return false;
    *ret_content = weir_bytes_of(bytes + 1, size - 5);
    return true;
}

char *
gateway_consistency_encode(weir_arena *arena, const gateway_write *write)
{
    weir_buffer content = { 0 };

    weir_buffer_append_u64(&content, write->collection_no);
    weir_buffer_append_u64(&content, (uint64_t)write->revision);
    weir_buffer_append(&content, write->document_id, strlen(write->document_id) + 1);
    char *token =
        gateway_token_encode(arena, GATEWAY_TOKEN_CONSISTENCY, weir_buffer_view(&content));
    weir_buffer_fini(&content);
    return token;
}

bool
gateway_consistency_decode(weir_arena *arena, const char *token, gateway_write *ret_write)
{
    weir_bytes content;

    if (!gateway_token_decode(arena, GATEWAY_TOKEN_CONSISTENCY, token, &content) ||
        content.size < 18 || content.data[content.size - 1] != 0)
        return false;
    ret_write->collection_no = weir_load_u64(content.data);
    ret_write->revision = (int64_t)weir_load_u64(content.data + 8);
    ret_write->document_id = (const char *)content.data + 16;
    return true;
}

static void
view_metadata(weir_arena *arena, const revision_record *revision, Weir__V1__Document *view)
{
    view->n_metadata = revision->n_metadata;
    view->metadata =
        weir_arena_alloc(arena, (revision->n_metadata + 1) * sizeof(view->metadata[0]));
    for (size_t i = 0; i < revision->n_metadata; i++) {
        Weir__V1__Document__MetadataEntry *entry = weir_arena_alloc(arena, sizeof *entry);

        weir__v1__document__metadata_entry__init(entry);
        entry->key = revision->metadata[i]->key;
        entry->value = revision->metadata[i]->value;
        view->metadata[i] = entry;
    }
}

static void
view_times(weir_arena *arena, const document_record *document, const revision_record *revision,
    Weir__V1__Document *view)
{
    view->create_time = weir_wire_time(arena, document->create_time_ms);
    view->update_time = weir_wire_time(arena, revision->create_time_ms);
    view->ready_time = weir_wire_time(arena, revision->ready_time_ms);
    view->delete_time = weir_wire_time(arena, revision->delete_time_ms);
}

static char *
without_parameters(weir_arena *arena, const char *media_type)
{
    size_t size = strcspn(media_type, ";");

    while (size > 0 && (media_type[size - 1] == ' ' || media_type[size - 1] == '\t'))
        size--;
    return weir_arena_strndup(arena, media_type, size);
}

static char *
make_etag(weir_arena *arena, int64_t number, ProtobufCBinaryData settings_sha256)
{
    enum { DIGEST_BYTES = 8 };
    const size_t size = settings_sha256.len < DIGEST_BYTES ? settings_sha256.len : DIGEST_BYTES;

    return weir_arena_printf(arena, "%lld-%s", (long long)number,
        hex_in(arena, weir_bytes_of(settings_sha256.data, size)));
}

Weir__V1__Document *
gateway_view_document(weir_arena *arena, const collection_record *collection,
    const document_record *document, const revision_record *revision, const char *document_id,
    int64_t number)
{
    Weir__V1__Document *view = weir_arena_alloc(arena, sizeof *view);

    weir__v1__document__init(view);
    view->collection_id = collection->collection_id;
    view->document_id = weir_arena_strdup(arena, document_id);
    view->revision = number;
    view->state = (Weir__V1__DocumentState)revision->state;
    view->terminal = gateway_state_is_terminal(revision->state);
    view->stage = (Weir__V1__Stage)revision->stage;
    view->run = (int32_t)revision->epoch;
    view->searchable_revision = document->searchable_revision;
    view->chunk_count = (int32_t)revision->chunk_count;
    view->embedded_chunk_count = revision->state == WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_READY
        ? (int32_t)revision->chunk_count
        : 0;
    view->token_count = (int64_t)revision->token_count;
    if (revision->state <= WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_FAILED)
        view->error = gateway_view_failure(arena, revision->failure);
    view->media_type = without_parameters(arena, revision->media_type);
    view->filename = revision->filename;
    view->size_bytes = (int64_t)revision->size_bytes;
    view->content_sha256 =
        hex_in(arena, weir_bytes_of(revision->content_sha256.data, revision->content_sha256.len));
    view_metadata(arena, revision, view);
    view_times(arena, document, revision, view);
    const gateway_write write = { .collection_no = collection->collection_no,
        .revision = number,
        .document_id = document_id };
    view->consistency_token = gateway_consistency_encode(arena, &write);
    view->etag = make_etag(arena, number, revision->settings_sha256);
    return view;
}

void
gateway_view_pending(Weir__V1__Document *view)
{
    if (view->state != WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PROCESSING)
        return;
    view->state = WEIR__V1__DOCUMENT_STATE__DOCUMENT_STATE_PENDING;
    view->stage = WEIR__V1__STAGE__STAGE_ACCEPT;
}

Weir__V1__Collection *
gateway_view_collection(weir_arena *arena, const collection_record *collection,
    const counters_record *counters)
{
    Weir__V1__Collection *view = weir_arena_alloc(arena, sizeof *view);
    Weir__V1__Chunking *chunking = weir_arena_alloc(arena, sizeof *chunking);

    weir__v1__collection__init(view);
    weir__v1__chunking__init(chunking);
    view->collection_id = collection->collection_id;
    view->state = WEIR__V1__COLLECTION_STATE__COLLECTION_STATE_ACTIVE;
    view->embedding_model = collection->spec->model;
    view->dimension = (int32_t)collection->spec->dimension;
    view->metric = (char *)(uintptr_t)"cosine";
    view->language = collection->language;
    view->default_mode = (Weir__V1__SearchMode)collection->default_mode;
    chunking->max_tokens = (int32_t)collection->spec->max_tokens;
    chunking->overlap_tokens = (int32_t)collection->spec->overlap_tokens;
    view->chunking = chunking;
    view->n_filter_fields = collection->n_filter_fields;
    view->filter_fields =
        weir_arena_alloc(arena, (collection->n_filter_fields + 1) * sizeof(view->filter_fields[0]));
    for (size_t i = 0; i < collection->n_filter_fields; i++) {
        Weir__V1__FilterField *field = weir_arena_alloc(arena, sizeof *field);
        weir__v1__filter_field__init(field);
        field->name = collection->filter_fields[i]->name;
        field->kind = (Weir__V1__FilterFieldKind)collection->filter_fields[i]->kind;
        view->filter_fields[i] = field;
    }
    if (counters != NULL) {
        view->document_count = (int64_t)counters->documents;
        view->chunk_count = (int64_t)counters->chunks;
    }
    view->create_time = weir_wire_time(arena, collection->create_time_ms);
    view->update_time = weir_wire_time(arena, collection->create_time_ms);
    view->etag = weir_arena_printf(arena, "%llu", (unsigned long long)collection->version);
    return view;
}
