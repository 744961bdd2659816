/*
 * error.h - every failure of weir, one line each.
 *
 * A failure is a value on the caller's stack: a code, a sentence, and for input errors the
 * field.  One line of WEIR_CODE_MAP decides the code's stable public name (ErrorInfo.reason), its
 * gRPC status and what a stage does with the item that met it.  Set where it happens, with the
 * facts; logged by whoever decides, not here.
 *
 * Threads: values only; no shared state.
 */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_MUST_CHECK __attribute__((warn_unused_result))
#define WEIR_PRINTF(format_, first_) __attribute__((format(printf, format_, first_)))

/* What a stage does with an item that met the failure. */
typedef enum weir_outcome {
    WEIR_OUTCOME_DONE = 1, /* commit and forward */
    WEIR_OUTCOME_RETRY,    /* the same item again, after a backoff; spends an attempt */
    WEIR_OUTCOME_WAIT,     /* the same item again, later; spends no attempt (outage, throttling) */
    WEIR_OUTCOME_FAILED    /* report it to the reconciler: no retry helps */
} weir_outcome;

/*
 * Number, name, gRPC status number, outcome.  Numbers are stored in records: never change or reuse
 * one.  The names are the closed enum `weir.v1.ErrorReason` (error_test.c compares the two).
 */
#define WEIR_CODE_MAP(X)                          \
    X(0, OK, 0, DONE)                             \
    X(1, INVALID_ARGUMENT, 3, FAILED)             \
    X(2, MALFORMED_MESSAGE, 3, FAILED)            \
    X(3, BODY_TOO_LARGE, 3, FAILED)               \
    X(4, BODY_EMPTY, 3, FAILED)                   \
    X(5, MEDIA_TYPE_UNSUPPORTED, 3, FAILED)       \
    X(6, MODEL_UNKNOWN, 3, FAILED)                \
    X(7, DIMENSION_MISMATCH, 3, FAILED)           \
    X(8, VECTOR_INVALID, 3, FAILED)               \
    X(9, PAGE_TOKEN_INVALID, 3, FAILED)           \
    X(10, FILTER_INVALID, 3, FAILED)              \
    X(11, COLLECTION_NOT_FOUND, 5, FAILED)        \
    X(12, DOCUMENT_NOT_FOUND, 5, FAILED)          \
    X(13, DEAD_LETTER_NOT_FOUND, 5, FAILED)       \
    X(14, NOT_FOUND, 5, FAILED)                   \
    X(15, COLLECTION_EXISTS, 6, FAILED)           \
    X(16, REQUEST_ID_CONFLICT, 6, FAILED)         \
    X(17, MODEL_NOT_ALLOWED, 9, FAILED)           \
    X(18, STATE_NOT_RETRYABLE, 9, FAILED)         \
    X(19, SOURCE_VERSION_NOT_GREATER, 10, FAILED) \
    X(20, ETAG_MISMATCH, 10, FAILED)              \
    X(21, RESUME_TOKEN_TOO_OLD, 11, FAILED)       \
    X(22, PRESSURE, 8, WAIT)                      \
    X(23, DISK_LOW, 8, WAIT)                      \
    X(24, QUEUE_FULL, 8, WAIT)                    \
    X(25, NO_MEMORY, 8, RETRY)                    \
    X(26, RESPONSE_TOO_LARGE, 8, FAILED)          \
    X(27, INDEX_REBUILDING, 14, WAIT)             \
    X(28, SERVICE_UNAVAILABLE, 14, WAIT)          \
    X(29, DRAINING, 14, WAIT)                     \
    X(30, STORE_IO, 14, RETRY)                    \
    X(31, TIMEOUT, 4, RETRY)                      \
    X(32, CANCELLED, 1, RETRY)                    \
    X(33, UNIMPLEMENTED, 12, FAILED)              \
    X(34, UNAUTHENTICATED, 16, FAILED)            \
    X(35, PERMISSION_DENIED, 7, FAILED)           \
    X(36, CORRUPT, 15, FAILED)                    \
    X(37, INTERNAL, 13, RETRY)                    \
    X(38, EMPTY, 3, FAILED)                       \
    X(39, PARSE_FAILED, 3, FAILED)                \
    X(40, TOO_MANY_CHUNKS, 3, FAILED)             \
    X(41, WORKER_KILLED, 13, FAILED)              \
    X(42, MODEL_UNAVAILABLE, 14, WAIT)            \
    X(43, EMBED_FAILED, 13, RETRY)                \
    X(44, CONFIG_INVALID, 3, FAILED)              \
    X(45, STORE_LOCKED, 9, FAILED)                \
    X(46, SCHEMA_UNSUPPORTED, 9, FAILED)          \
    X(47, ADDRESS_IN_USE, 9, FAILED)              \
    X(48, INJECTED, 14, RETRY)

typedef enum weir_code {
#define WEIR_CODE_ENUM(number_, name_, grpc_, outcome_) WEIR_##name_ = number_,
    WEIR_CODE_MAP(WEIR_CODE_ENUM)
#undef WEIR_CODE_ENUM
        WEIR_CODE_COUNT
} weir_code;

/* Lives on the caller's stack; holds no pointers, so it is never freed. */
typedef struct weir_error {
    weir_code code;
    uint32_t retry_after_ms; /* 0: none; else RetryInfo for the client */
    char field[96];          /* path of the offending request field, or "" */
    char message[320];       /* one sentence with the facts and what to do */
} weir_error;

/* Fill *reterr (may be NULL) and return code: `return weir_error_set(...)` sets and answers.
 * An argument may be the old message of the same error. */
weir_code weir_error_set(weir_error *reterr, weir_code code, const char *format, ...)
    WEIR_PRINTF(3, 4);

/* As weir_error_set, naming the request field at fault (BadRequest.field_violations). */
weir_code weir_error_set_field(weir_error *reterr, weir_code code, const char *field,
    const char *format, ...) WEIR_PRINTF(4, 5);

/* Static strings and table look-ups; a number outside the map gives "INTERNAL", 13, RETRY. */
const char *weir_code_name(weir_code code);
int weir_code_grpc_status(weir_code code);
weir_outcome weir_code_outcome(weir_code code);
/* The code with that name, or WEIR_INTERNAL. */
weir_code weir_code_from_name(const char *name);

#endif
