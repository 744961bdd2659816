/*
 * limits.h - every named bound of weir that more than one module must agree on.  Relations are
 * compile errors.
 */
#ifndef WEIR_BASE_LIMITS_H
#define WEIR_BASE_LIMITS_H

enum {
    WEIR_UNARY_BODY_BYTES_MAX = 4 << 20, /* a document in one message */
    WEIR_STREAMED_DOCUMENT_BYTES_MAX = 64 << 20,
    WEIR_ANSWER_BYTES_MAX = 4 << 20,                      /* page instead */
    WEIR_RPC_MESSAGE_BYTES_MAX = (4 << 20) + (256 << 10), /* body and its fields */
    WEIR_DOCUMENT_ID_BYTES_MAX = 512,
    WEIR_COLLECTION_ID_BYTES_MAX = 64,
    WEIR_REQUEST_ID_BYTES_MAX = 128,
    WEIR_FILENAME_BYTES_MAX = 1024,
    WEIR_MEDIA_TYPE_BYTES_MAX = 128,
    WEIR_METADATA_ENTRIES_MAX = 64,
    WEIR_METADATA_BYTES_MAX = 16 << 10,
    WEIR_INLINE_BODY_BYTES_MAX = 64 << 10, /* above: the row refers to the source record */
    WEIR_CHUNK_BYTES_MAX = 8 << 10,
    WEIR_CHUNKS_PER_ROW_MAX = 64,
    WEIR_CHUNK_ROW_BYTES_MAX = 1 << 20,
    WEIR_CHUNKS_PER_DOCUMENT_MAX = 20000,
    WEIR_ROW_BYTES_MAX = 2 << 20, /* one row on a link */
    WEIR_FRAME_ROWS_MAX = 64,     /* rows packed in one message */
    WEIR_FRAME_BYTES_TARGET = 256 << 10,
    WEIR_FRAME_BYTES_MAX = (2 << 20) + (64 << 10),
    WEIR_DIMENSION_MAX = 4096,
    WEIR_TOP_K_MAX = 1000,
    WEIR_PAGE_SIZE_DEFAULT = 50,
    WEIR_PAGE_SIZE_MAX = 1000,
    WEIR_TENANT_BYTES_MAX = 64,
    WEIR_ROUND_EVENTS_MAX = 1024,
    WEIR_ROUND_BYTES_MAX = 4 << 20,
    WEIR_GIVE_UP_BYTES_MAX = 4 << 10,
    WEIR_WIRE_DEPTH_MAX = 32,
};

_Static_assert(WEIR_CHUNK_BYTES_MAX *WEIR_CHUNKS_PER_ROW_MAX <= WEIR_CHUNK_ROW_BYTES_MAX,
    "a full row of chunks fits its bound");
_Static_assert(WEIR_CHUNK_ROW_BYTES_MAX + WEIR_CHUNKS_PER_ROW_MAX * WEIR_DIMENSION_MAX * 4 <=
        WEIR_ROW_BYTES_MAX,
    "a row of chunks with its vectors fits a link row");
_Static_assert(WEIR_ROW_BYTES_MAX < WEIR_FRAME_BYTES_MAX, "any row fits a frame with its envelope");

#endif
