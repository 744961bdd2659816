/*
 * error.h - every failure of weir, one line each.
 *
 * A failure is a value on the caller's stack: a code, a sentence, and for input errors the
 * field.  One line of WEIR_CODE_MAP decides the code's stable public name (ErrorInfo.reason), its
 * gRPC status and its class, which decides what a stage does with the item that met it.  Set where
 * it happens, with the facts; logged by whoever decides, not here.
 *
 * Threads: values only; no shared state.
 */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_MUST_CHECK __attribute__((warn_unused_result))
#define WEIR_PRINTF(format_, first_) __attribute__((format(printf, format_, first_)))

/* The closed list of kinds of failure.  What a stage does with each (attempts, waits, end, journal)
 * is one row of the table in common/stage/retry.c.  Numbers are those of `weir.v1.ErrorClass`. */
typedef enum weir_class {
    WEIR_CLASS_NONE = 0,  /* no failure: OK alone */
    WEIR_CLASS_TRANSIENT, /* the same again may go well soon */
    WEIR_CLASS_THROTTLED, /* refused for now by who is asked, because it has too much to do */
    WEIR_CLASS_OUTAGE,    /* who is asked is not there */
    WEIR_CLASS_PERMANENT, /* the same again fails again */
    WEIR_CLASS_KILLER,    /* the process ended while it worked on this alone */
    WEIR_CLASS_COUNT
} weir_class;

/*
 * Number, name, gRPC status number, class.  Numbers are stored in records: never change or reuse
 * one.  The names are the closed enum `weir.v1.ErrorReason` (error_test.c compares the two).
 */
#define WEIR_CODE_MAP(X)                             \
    X(0, OK, 0, NONE)                                \
    X(1, INVALID_ARGUMENT, 3, PERMANENT)             \
    X(2, MALFORMED_MESSAGE, 3, PERMANENT)            \
    X(3, BODY_TOO_LARGE, 3, PERMANENT)               \
    X(4, BODY_EMPTY, 3, PERMANENT)                   \
    X(5, MEDIA_TYPE_UNSUPPORTED, 3, PERMANENT)       \
    X(6, MODEL_UNKNOWN, 3, PERMANENT)                \
    X(7, DIMENSION_MISMATCH, 3, PERMANENT)           \
    X(8, VECTOR_INVALID, 3, PERMANENT)               \
    X(9, PAGE_TOKEN_INVALID, 3, PERMANENT)           \
    X(10, FILTER_INVALID, 3, PERMANENT)              \
    X(11, COLLECTION_NOT_FOUND, 5, PERMANENT)        \
    X(12, DOCUMENT_NOT_FOUND, 5, PERMANENT)          \
    X(13, DEAD_LETTER_NOT_FOUND, 5, PERMANENT)       \
    X(14, NOT_FOUND, 5, PERMANENT)                   \
    X(15, COLLECTION_EXISTS, 6, PERMANENT)           \
    X(16, REQUEST_ID_CONFLICT, 6, PERMANENT)         \
    X(17, MODEL_NOT_ALLOWED, 9, PERMANENT)           \
    X(18, STATE_NOT_RETRYABLE, 9, PERMANENT)         \
    X(19, SOURCE_VERSION_NOT_GREATER, 10, PERMANENT) \
    X(20, ETAG_MISMATCH, 10, PERMANENT)              \
    X(21, RESUME_TOKEN_TOO_OLD, 11, PERMANENT)       \
    X(22, PRESSURE, 8, THROTTLED)                    \
    X(23, DISK_LOW, 8, THROTTLED)                    \
    X(24, QUEUE_FULL, 8, THROTTLED)                  \
    X(25, NO_MEMORY, 8, TRANSIENT)                   \
    X(26, RESPONSE_TOO_LARGE, 8, PERMANENT)          \
    X(27, INDEX_REBUILDING, 14, OUTAGE)              \
    X(28, SERVICE_UNAVAILABLE, 14, OUTAGE)           \
    X(29, DRAINING, 14, OUTAGE)                      \
    X(30, STORE_IO, 14, TRANSIENT)                   \
    X(31, TIMEOUT, 4, TRANSIENT)                     \
    X(32, CANCELLED, 1, TRANSIENT)                   \
    X(33, UNIMPLEMENTED, 12, PERMANENT)              \
    X(34, UNAUTHENTICATED, 16, PERMANENT)            \
    X(35, PERMISSION_DENIED, 7, PERMANENT)           \
    X(36, CORRUPT, 15, PERMANENT)                    \
    X(37, INTERNAL, 13, TRANSIENT)                   \
    X(38, EMPTY, 3, PERMANENT)                       \
    X(39, PARSE_FAILED, 3, PERMANENT)                \
    X(40, TOO_MANY_CHUNKS, 3, PERMANENT)             \
    X(41, WORKER_KILLED, 13, KILLER)                 \
    X(42, MODEL_UNAVAILABLE, 14, OUTAGE)             \
    X(43, EMBED_FAILED, 13, TRANSIENT)               \
    X(44, CONFIG_INVALID, 3, PERMANENT)              \
    X(45, STORE_LOCKED, 9, PERMANENT)                \
    X(46, SCHEMA_UNSUPPORTED, 9, PERMANENT)          \
    X(47, ADDRESS_IN_USE, 9, PERMANENT)              \
    X(48, INJECTED, 14, TRANSIENT)

typedef enum weir_code {
#define WEIR_CODE_ENUM(number_, name_, grpc_, class_) WEIR_##name_ = number_,
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

/* Static strings and table look-ups; a number outside the map gives "INTERNAL", 13, TRANSIENT. */
const char *weir_code_name(weir_code code);
int weir_code_grpc_status(weir_code code);
weir_class weir_code_class(weir_code code);
/* "transient", ...; "done" for NONE: the label `class` of metrics. */
const char *weir_class_name(weir_class class);
/* The code with that name, or WEIR_INTERNAL. */
weir_code weir_code_from_name(const char *name);

#endif
