/*
 * log.h - one line per event, JSON (or text on a terminal), to standard error.
 *
 *   weir_log(WEIR_LOG_INFO, "document.accepted", WEIR_STR("document_id", id),
 *       WEIR_INT("revision", 3));
 *
 * Fields in the order given after `time`, `level`, `service`, `event`.  Names are those of the log
 * contract: tenant, collection_id, document_id, revision, run, stage, reason, request_id, trace_id,
 * duration_ms, message, ...  Strings that are not UTF-8 are escaped; lines are at most 8 KiB and
 * written with one write(2); a line that is cut says `truncated`.
 *
 * Threads: any.  weir_log_init before the first thread starts.
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum weir_log_level {
    WEIR_LOG_DEBUG = 0,
    WEIR_LOG_INFO,
    WEIR_LOG_WARN,
    WEIR_LOG_ERROR
} weir_log_level;

typedef struct weir_log_field {
    const char *name; /* NULL ends the list */
    const char *text; /* NULL: the number is meant */
    int64_t number;
} weir_log_field;

#define WEIR_STR(name_, text_) ((weir_log_field){ .name = (name_), .text = (text_) })
#define WEIR_INT(name_, number_) ((weir_log_field){ .name = (name_), .number = (int64_t)(number_) })

/* service: static string.  text_format: people's format in place of JSON.  Lines below min_level
 * are dropped. */
void weir_log_init(const char *service, bool text_format, weir_log_level min_level);
void weir_log_write(weir_log_level level, const char *event, const weir_log_field *fields);
/* debug, info, warn, error. */
bool weir_log_level_from_name(const char *name, weir_log_level *ret_level);

#define weir_log(level_, event_, ...) \
    weir_log_write((level_), (event_), (const weir_log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })

#endif
