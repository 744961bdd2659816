/*
 * check.c - see check.h.
 */
#include "services/gateway/check.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/limits.h"
#include "common/wire/wire.h"

enum {
    METADATA_KEY_BYTES_MAX = 64,
    STRING_LIST_MAX = 64,
    FILTER_FIELDS_MAX = 32,
    QUERY_BYTES_MAX = 8 << 10,
    NEIGHBOR_CHUNKS_MAX = 5,
    LANGUAGE_BYTES_MAX = 35,
};

static const int64_t DURATION_SECONDS_MAX = 315576000000; /* of google.protobuf.Duration */

static weir_code
invalid(weir_error *reterr, const char *field, const char *sentence)
{
    return weir_error_set_field(reterr, WEIR_INVALID_ARGUMENT, field, "%s %s", field, sentence);
}

/* ---- names ---- */

static bool
is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

weir_code
gateway_check_collection_id(const char *id, const char *field, weir_error *reterr)
{
    const size_t size = strlen(id);
    bool is_good = size >= 1 && size <= WEIR_COLLECTION_ID_BYTES_MAX && is_lower_or_digit(id[0]);

    if (size == 0)
        return invalid(reterr, field, "is required");
    for (size_t i = 0; i < size; i++)
        is_good = is_good && (is_lower_or_digit(id[i]) || strchr("._-", id[i]) != NULL);
    if (!is_good)
        return invalid(reterr, field,
            "must be 1 to 64 characters of a-z, 0-9, '.', '_' and '-', and begin with a letter or "
            "a digit");
    return WEIR_OK;
}

weir_code
gateway_check_document_id(const char *id, const char *field, weir_error *reterr)
{
    const size_t size = strlen(id);

    if (size == 0)
        return invalid(reterr, field, "is required");
    if (size > WEIR_DOCUMENT_ID_BYTES_MAX)
        return invalid(reterr, field, "must be at most 512 bytes");
    return WEIR_OK;
}

weir_code
gateway_check_request_id(const char *id, weir_error *reterr)
{
    if (strlen(id) > WEIR_REQUEST_ID_BYTES_MAX)
        return invalid(reterr, "request_id", "must be at most 128 bytes");
    return WEIR_OK;
}

weir_code
gateway_check_revision(int64_t revision, weir_error *reterr)
{
    if (revision < 0)
        return invalid(reterr, "revision", "must not be negative; 0 is the newest");
    return WEIR_OK;
}

/* ---- numbers ---- */

weir_code
gateway_check_page_size(int32_t page_size, uint32_t *ret_size, weir_error *reterr)
{
    if (page_size < 0)
        return invalid(reterr, "page_size", "must not be negative; 0 is 50");
    *ret_size = page_size == 0 ? WEIR_PAGE_SIZE_DEFAULT : (uint32_t)page_size;
    if (*ret_size > WEIR_PAGE_SIZE_MAX)
        *ret_size = WEIR_PAGE_SIZE_MAX;
    return WEIR_OK;
}

weir_code
gateway_check_duration(const Google__Protobuf__Duration *duration, const char *field,
    int64_t default_ms, int64_t max_ms, int64_t *ret_ms, weir_error *reterr)
{
    if (duration == NULL || (duration->seconds == 0 && duration->nanos == 0)) {
        *ret_ms = default_ms;
        return WEIR_OK;
    }
    if (duration->seconds < 0 || duration->nanos < 0)
        return invalid(reterr, field, "must not be negative");
    if (duration->seconds > DURATION_SECONDS_MAX || duration->nanos > 999999999)
        return invalid(reterr, field, "is not a valid google.protobuf.Duration");
    const int64_t wanted_ms = duration->seconds * 1000 + (duration->nanos + 999999) / 1000000;
    *ret_ms = wanted_ms < max_ms ? wanted_ms : max_ms;
    return WEIR_OK;
}

/* ---- media types ---- */

static const char *const media_types[] = { "text/html", "text/markdown", "text/plain" };
/* Other names of the same, and the name for bytes of which nothing is said. */
static const char *const media_type_aliases[] = { "application/octet-stream",
    "application/xhtml+xml", "text/x-markdown" };

const char *const *
gateway_media_types(size_t *ret_count)
{
    *ret_count = sizeof media_types / sizeof media_types[0];
    return media_types;
}

static bool
is_named(const char *const *names, size_t count, const char *text, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == size && strncasecmp(names[i], text, size) == 0)
            return true;
    return false;
}

/* Bytes of a token (RFC 9110, section 5.6.2) from `text` on. */
static size_t
token_size(const char *text)
{
    size_t size = 0;

    while (text[size] != 0 &&
        (isalnum((unsigned char)text[size]) || strchr("!#$%&'*+-.^_`|~", text[size]) != NULL))
        size++;
    return size;
}

weir_code
gateway_check_media_type(const char *media_type, weir_error *reterr)
{
    const size_t type = token_size(media_type);
    const size_t subtype = media_type[type] == '/' ? token_size(media_type + type + 1) : 0;
    const size_t size = type + 1 + subtype;

    if (media_type[0] == 0)
        return WEIR_OK;
    if (strlen(media_type) > WEIR_MEDIA_TYPE_BYTES_MAX)
        return invalid(reterr, "media_type", "must be at most 128 bytes");
    if (type == 0 || subtype == 0 || strchr(" \t;", media_type[size]) == NULL)
        return invalid(reterr, "media_type", "must be a type and a subtype such as text/markdown");
    if (is_named(media_types, sizeof media_types / sizeof media_types[0], media_type, size) ||
        is_named(media_type_aliases, sizeof media_type_aliases / sizeof media_type_aliases[0],
            media_type, size))
        return WEIR_OK;
    return weir_error_set_field(reterr, WEIR_MEDIA_TYPE_UNSUPPORTED, "media_type",
        "weir cannot read \"%.*s\"; it reads text/plain, text/markdown and text/html", (int)size,
        media_type);
}

/* ---- metadata ---- */

typedef Weir__V1__IngestDocumentRequest__MetadataEntry metadata_entry;

static weir_code
bad_metadata(weir_error *reterr, const char *key, const char *sentence)
{
    char field[96];

    snprintf(field, sizeof field, "metadata[\"%.64s\"]", key);
    return invalid(reterr, field, sentence);
}

static weir_code
check_metadata_value(const char *key, const Weir__V1__MetadataValue *value, weir_error *reterr)
{
    if (value == NULL)
        return bad_metadata(reterr, key, "has no value");
    switch (value->value_case) {
    case WEIR__V1__METADATA_VALUE__VALUE_STRING_VALUE:
    case WEIR__V1__METADATA_VALUE__VALUE_BOOL_VALUE:
    case WEIR__V1__METADATA_VALUE__VALUE_TIMESTAMP_VALUE:
        return WEIR_OK;
    case WEIR__V1__METADATA_VALUE__VALUE_NUMBER_VALUE:
        return isfinite(value->number_value) ? WEIR_OK
                                             : bad_metadata(reterr, key, "must be a finite number");
    case WEIR__V1__METADATA_VALUE__VALUE_STRING_LIST:
        return value->string_list->n_values <= STRING_LIST_MAX
            ? WEIR_OK
            : bad_metadata(reterr, key, "holds more than 64 strings");
    case WEIR__V1__METADATA_VALUE__VALUE__NOT_SET:
    case _WEIR__V1__METADATA_VALUE__VALUE__CASE_IS_INT_SIZE:
        break;
    }
    return bad_metadata(reterr, key, "has no value");
}

static weir_code
check_metadata(metadata_entry *const *entries, size_t count, weir_error *reterr)
{
    size_t bytes = 0;
    weir_code code = WEIR_OK;

    if (count > WEIR_METADATA_ENTRIES_MAX)
        return invalid(reterr, "metadata", "holds more than 64 entries");
    for (size_t i = 0; i < count && code == WEIR_OK; i++) {
        const size_t key_size = strlen(entries[i]->key);

        if (key_size == 0 || key_size > METADATA_KEY_BYTES_MAX)
            return invalid(reterr, "metadata", "has a key that is not 1 to 64 bytes long");
        bytes += protobuf_c_message_get_packed_size(&entries[i]->base);
        code = check_metadata_value(entries[i]->key, entries[i]->value, reterr);
    }
    if (code == WEIR_OK && bytes > WEIR_METADATA_BYTES_MAX)
        return invalid(reterr, "metadata", "is larger than 16 KiB");
    return code;
}

/* ---- ingest ---- */

weir_bytes
gateway_body_of(const Weir__V1__IngestDocumentRequest *request)
{
    if (request->body_case == WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT)
        return weir_bytes_str(request->text);
    if (request->body_case == WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_DATA)
        return weir_bytes_of(request->data.data, request->data.len);
    return weir_bytes_of(NULL, 0);
}

static weir_code
check_body(const Weir__V1__IngestDocumentRequest *request, weir_error *reterr)
{
    const size_t size = gateway_body_of(request).size;
    const char *field =
        request->body_case == WEIR__V1__INGEST_DOCUMENT_REQUEST__BODY_TEXT ? "text" : "data";

    if (size == 0)
        return weir_error_set_field(reterr, WEIR_BODY_EMPTY, field,
            "the document has no body; to remove a document use DeleteDocument");
    if (size > WEIR_UNARY_BODY_BYTES_MAX)
        return weir_error_set_field(reterr, WEIR_BODY_TOO_LARGE, field,
            "the body has %zu bytes and one message takes 4 MiB; use UploadDocument for up to "
            "64 MiB",
            size);
    return WEIR_OK;
}

weir_code
gateway_check_ingest(const Weir__V1__IngestDocumentRequest *request, weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK && request->document_id[0] != 0)
        code = gateway_check_document_id(request->document_id, "document_id", reterr);
    if (code == WEIR_OK)
        code = check_body(request, reterr);
    if (code == WEIR_OK)
        code = gateway_check_media_type(request->media_type, reterr);
    if (code == WEIR_OK && strlen(request->filename) > WEIR_FILENAME_BYTES_MAX)
        code = invalid(reterr, "filename", "must be at most 1,024 bytes");
    if (code == WEIR_OK)
        code = check_metadata(request->metadata, request->n_metadata, reterr);
    if (code == WEIR_OK)
        code = gateway_check_request_id(request->request_id, reterr);
    if (code == WEIR_OK && request->source_version < 0)
        code = invalid(reterr, "source_version", "must not be negative; 0 is none");
    return code;
}

/* ---- collections ---- */

static weir_code
check_filter_field(const Weir__V1__FilterField *field, weir_error *reterr)
{
    const size_t size = strlen(field->name);
    bool is_good = size >= 1 && size <= METADATA_KEY_BYTES_MAX && field->name[0] >= 'a' &&
        field->name[0] <= 'z';

    for (size_t i = 0; i < size; i++)
        is_good = is_good && (is_lower_or_digit(field->name[i]) || field->name[i] == '_');
    if (!is_good)
        return invalid(reterr, "collection.filter_fields.name",
            "must be 1 to 64 characters of a-z, 0-9 and '_', and begin with a letter");
    if (field->kind <= WEIR__V1__FILTER_FIELD_KIND__FILTER_FIELD_KIND_UNSPECIFIED ||
        field->kind > WEIR__V1__FILTER_FIELD_KIND__FILTER_FIELD_KIND_TIME)
        return invalid(reterr, "collection.filter_fields.kind", "must be TAG, NUMBER or TIME");
    return WEIR_OK;
}

static weir_code
check_filter_fields(const Weir__V1__Collection *collection, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    if (collection->n_filter_fields > FILTER_FIELDS_MAX)
        return invalid(reterr, "collection.filter_fields", "holds more than 32 fields");
    for (size_t i = 0; i < collection->n_filter_fields && code == WEIR_OK; i++) {
        code = check_filter_field(collection->filter_fields[i], reterr);
        for (size_t j = 0; j < i && code == WEIR_OK; j++)
            if (strcmp(collection->filter_fields[i]->name, collection->filter_fields[j]->name) == 0)
                code = invalid(reterr, "collection.filter_fields.name", "is there twice");
    }
    return code;
}

static weir_code
check_mode(Weir__V1__SearchMode mode, const char *field, weir_error *reterr)
{
    if (mode < WEIR__V1__SEARCH_MODE__SEARCH_MODE_UNSPECIFIED ||
        mode > WEIR__V1__SEARCH_MODE__SEARCH_MODE_HYBRID)
        return invalid(reterr, field, "is no search mode");
    if (mode > WEIR__V1__SEARCH_MODE__SEARCH_MODE_VECTOR)
        return weir_error_set_field(reterr, WEIR_UNIMPLEMENTED, field,
            "this version searches by vector only; leave %s out or use SEARCH_MODE_VECTOR", field);
    return WEIR_OK;
}

weir_code
gateway_check_create_collection(const Weir__V1__CreateCollectionRequest *request,
    weir_error *reterr)
{
    const Weir__V1__Collection *wanted = request->collection;

    if (wanted == NULL)
        return invalid(reterr, "collection", "is required");
    weir_code code =
        gateway_check_collection_id(wanted->collection_id, "collection.collection_id", reterr);
    if (code == WEIR_OK && wanted->metric[0] != 0 && strcmp(wanted->metric, "cosine") != 0)
        code = invalid(reterr, "collection.metric", "must be \"cosine\" or empty");
    if (code == WEIR_OK && strlen(wanted->language) > LANGUAGE_BYTES_MAX)
        code = invalid(reterr, "collection.language", "must be a BCP 47 tag such as en");
    if (code == WEIR_OK)
        code = check_mode(wanted->default_mode, "collection.default_mode", reterr);
    if (code == WEIR_OK)
        code = check_filter_fields(wanted, reterr);
    if (code == WEIR_OK && wanted->chunking != NULL && wanted->chunking->max_tokens < 0)
        code = invalid(reterr, "collection.chunking.max_tokens",
            "must not be negative; 0 is the model's limit");
    if (code == WEIR_OK && wanted->chunking != NULL && wanted->chunking->overlap_tokens < 0)
        code = invalid(reterr, "collection.chunking.overlap_tokens",
            "must not be negative; 0 is an eighth of max_tokens");
    if (code == WEIR_OK && wanted->dimension < 0)
        code =
            invalid(reterr, "collection.dimension", "must not be negative; 0 is the model's own");
    if (code == WEIR_OK)
        code = gateway_check_request_id(request->request_id, reterr);
    return code;
}

/* ---- search ---- */

static weir_code
check_vector(const Weir__V1__Vector *vector, weir_error *reterr)
{
    bool is_zero = true;

    for (size_t i = 0; i < vector->n_values; i++) {
        if (!isfinite(vector->values[i]))
            return weir_error_set_field(reterr, WEIR_VECTOR_INVALID, "vector.values",
                "number %zu of the vector is not finite", i);
        is_zero = is_zero && vector->values[i] == 0;
    }
    if (is_zero)
        return weir_error_set_field(reterr, WEIR_VECTOR_INVALID, "vector.values",
            "the vector holds only zeros, so it has no direction");
    return WEIR_OK;
}

static weir_code
check_query(const Weir__V1__SearchRequest *request, weir_error *reterr)
{
    switch (request->query_case) {
    case WEIR__V1__SEARCH_REQUEST__QUERY_TEXT:
        if (request->text[0] == 0)
            return invalid(reterr, "text", "must not be empty");
        if (strlen(request->text) > QUERY_BYTES_MAX)
            return invalid(reterr, "text", "must be at most 8 KiB");
        return WEIR_OK;
    case WEIR__V1__SEARCH_REQUEST__QUERY_VECTOR:
        return check_vector(request->vector, reterr);
    case WEIR__V1__SEARCH_REQUEST__QUERY__NOT_SET:
    case _WEIR__V1__SEARCH_REQUEST__QUERY__CASE_IS_INT_SIZE:
        break;
    }
    return invalid(reterr, "query", "is required: set text or vector");
}

weir_code
gateway_check_search(const Weir__V1__SearchRequest *request, weir_error *reterr)
{
    weir_code code = gateway_check_collection_id(request->collection_id, "collection_id", reterr);

    if (code == WEIR_OK)
        code = check_query(request, reterr);
    if (code == WEIR_OK)
        code = check_mode(request->mode, "mode", reterr);
    if (code == WEIR_OK && (request->top_k < 0 || request->top_k > WEIR_TOP_K_MAX))
        code = invalid(reterr, "top_k", "must be 1 to 1,000; 0 is 10");
    if (code == WEIR_OK &&
        request->score_bound_case == WEIR__V1__SEARCH_REQUEST__SCORE_BOUND_MIN_SCORE &&
        !isfinite(request->min_score))
        code = invalid(reterr, "min_score", "must be a finite number");
    if (code == WEIR_OK && request->max_hits_per_document < 0)
        code = invalid(reterr, "max_hits_per_document", "must not be negative; 0 is no limit");
    if (code == WEIR_OK &&
        (request->neighbor_chunks < 0 || request->neighbor_chunks > NEIGHBOR_CHUNKS_MAX))
        code = invalid(reterr, "neighbor_chunks", "must be 0 to 5");
    return code;
}

/* ---- hashes ---- */

static void
append_text(weir_buffer *to, const char *text)
{
    const size_t size = strlen(text);

    weir_buffer_append_u64(to, size);
    weir_buffer_append(to, text, size);
}

static int
by_key(const void *a, const void *b)
{
    return strcmp((*(metadata_entry *const *)a)->key, (*(metadata_entry *const *)b)->key);
}

/* Keys are distinct: the decoder has kept one entry of each. */
static void
append_metadata(weir_buffer *to, const Weir__V1__IngestDocumentRequest *request)
{
    metadata_entry *sorted[WEIR_METADATA_ENTRIES_MAX];
    const size_t count = request->n_metadata;

    if (count == 0 || count > WEIR_METADATA_ENTRIES_MAX)
        return;
    memcpy(sorted, request->metadata, count * sizeof sorted[0]);
    qsort(sorted, count, sizeof sorted[0], by_key);
    for (size_t i = 0; i < count; i++) {
        append_text(to, sorted[i]->key);
        weir_buffer_append_u64(to, protobuf_c_message_get_packed_size(&sorted[i]->value->base));
        weir_wire_encode(&sorted[i]->value->base, to);
    }
}

weir_sha256_sum
gateway_hash_settings(const Weir__V1__IngestDocumentRequest *request,
    const weir_sha256_sum *content)
{
    weir_buffer bytes = { 0 };

    weir_buffer_append(&bytes, content->bytes, WEIR_SHA256_SIZE);
    append_text(&bytes, request->media_type);
    append_text(&bytes, request->filename);
    append_metadata(&bytes, request);
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&bytes));
    weir_buffer_fini(&bytes);
    return sum;
}

weir_sha256_sum
gateway_hash_ingest(const Weir__V1__IngestDocumentRequest *request, const weir_sha256_sum *settings)
{
    weir_buffer bytes = { 0 };

    weir_buffer_append(&bytes, settings->bytes, WEIR_SHA256_SIZE);
    append_text(&bytes, request->collection_id);
    append_text(&bytes, request->document_id);
    weir_buffer_append_u64(&bytes, (uint64_t)request->source_version);
    weir_buffer_append_u8(&bytes, request->force != 0);
    weir_buffer_append_u8(&bytes, (uint8_t)request->body_case);
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&bytes));
    weir_buffer_fini(&bytes);
    return sum;
}

weir_sha256_sum
gateway_hash_message(const ProtobufCMessage *message)
{
    weir_buffer bytes = { 0 };

    weir_wire_encode(message, &bytes);
    const weir_sha256_sum sum = weir_sha256(weir_buffer_view(&bytes));
    weir_buffer_fini(&bytes);
    return sum;
}
