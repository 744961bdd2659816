/*
 * check.h - what a request must hold before anything is done with it, and the hashes by which two
 * are the same.
 *
 * Every refusal names the field (BadRequest) and says what would be right.  Threads: pure.
 */
#ifndef WEIR_GATEWAY_CHECK_H
#define WEIR_GATEWAY_CHECK_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/hash.h"
#include "weir/v1/collection.pb-c.h"
#include "weir/v1/document.pb-c.h"
#include "weir/v1/search.pb-c.h"

/* All return WEIR_INVALID_ARGUMENT with the field where nothing else is said. */

/* 1 to 64 bytes of [a-z0-9._-], the first a letter or digit. */
weir_code gateway_check_collection_id(const char *id, const char *field,
    weir_error *reterr) WEIR_MUST_CHECK;
/* 1 to 512 bytes. */
weir_code gateway_check_document_id(const char *id, const char *field,
    weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_check_request_id(const char *id, weir_error *reterr) WEIR_MUST_CHECK;
weir_code gateway_check_revision(int64_t revision, weir_error *reterr) WEIR_MUST_CHECK;
/* 0: 50; more than 1,000 is taken as 1,000; negative is an error. */
weir_code gateway_check_page_size(int32_t page_size, uint32_t *ret_size,
    weir_error *reterr) WEIR_MUST_CHECK;
/* NULL or 0: default_ms; more than max_ms is taken as max_ms; negative or out of the proto's range
 * is an error. */
weir_code gateway_check_duration(const Google__Protobuf__Duration *duration, const char *field,
    int64_t default_ms, int64_t max_ms, int64_t *ret_ms, weir_error *reterr) WEIR_MUST_CHECK;
/* Empty, or type/subtype with parameters (RFC 9110).  MEDIA_TYPE_UNSUPPORTED for one that weir
 * cannot read. */
weir_code gateway_check_media_type(const char *media_type, weir_error *reterr) WEIR_MUST_CHECK;
/* Types that have a parser; *ret_count of them. */
const char *const *gateway_media_types(size_t *ret_count);

/* Also BODY_EMPTY, BODY_TOO_LARGE (names UploadDocument), MEDIA_TYPE_UNSUPPORTED. */
weir_code gateway_check_ingest(const Weir__V1__IngestDocumentRequest *request,
    weir_error *reterr) WEIR_MUST_CHECK;
/* All but model and chunking, which need the model's facts. */
weir_code gateway_check_create_collection(const Weir__V1__CreateCollectionRequest *request,
    weir_error *reterr) WEIR_MUST_CHECK;
/* All but what needs the collection (the dimension) and the filter; VECTOR_INVALID for NaN,
 * infinities and zeros; UNIMPLEMENTED for modes that this version does not answer. */
weir_code gateway_check_search(const Weir__V1__SearchRequest *request,
    weir_error *reterr) WEIR_MUST_CHECK;

weir_bytes gateway_body_of(const Weir__V1__IngestDocumentRequest *request);
/* Over body, media type, filename and metadata in the order of its keys: equal for what is
 * UNCHANGED. */
weir_sha256_sum gateway_hash_settings(const Weir__V1__IngestDocumentRequest *request,
    const weir_sha256_sum *content);
/* Over the packed message: callers clear request_id (and wait) first and put it back. */
weir_sha256_sum gateway_hash_message(const ProtobufCMessage *message);
/* The payload of an ingest: everything but request_id and wait. */
weir_sha256_sum gateway_hash_ingest(const Weir__V1__IngestDocumentRequest *request,
    const weir_sha256_sum *settings);

#endif
