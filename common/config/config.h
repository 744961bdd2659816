/*
 * config.h - settings by key tables: YAML, environment and --set into one struct.
 *
 * Later sources win: the default of the key's row, the file, WEIR_<SECTION>_<KEY> in the
 * environment, --set.  Nothing is clamped or guessed: an unknown key is an error that names the
 * nearest known one, a value outside its bounds an error that quotes file, line and column.  A key
 * named twice, an anchor, an alias or a tag in the file is an error.
 *
 * Threads: none; the struct is read-only once loaded.
 */
#ifndef WEIR_CONFIG_CONFIG_H
#define WEIR_CONFIG_CONFIG_H

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum {
    WEIR_CONFIG_FILE_BYTES_MAX = 1 << 20,
    WEIR_CONFIG_DEPTH_MAX = 4,
    WEIR_CONFIG_KEY_BYTES_MAX = 96,
};

typedef enum weir_config_type {
    WEIR_CONFIG_U32 = 1,  /* uint32_t: a whole number */
    WEIR_CONFIG_BYTES,    /* uint64_t: a whole number with an optional suffix KiB, MiB, GiB, TiB */
    WEIR_CONFIG_DURATION, /* uint32_t or uint64_t of milliseconds: a whole number, or one with ms,
                             s, m, h, d */
    WEIR_CONFIG_BOOL,     /* bool: true or false */
    WEIR_CONFIG_FLOAT,    /* double */
    WEIR_CONFIG_STRING, /* const char *, owned by the loaded configuration; min and max count bytes
                         */
    WEIR_CONFIG_ENUM    /* int: index of one of `choices` */
} weir_config_type;

/* One row per setting. */
typedef struct weir_config_key {
    const char *name; /* "embedder.batch_tokens"; NULL ends a table */
    weir_config_type type;
    size_t offset; /* of the field in the struct that is filled */
    size_t size;   /* of that field */
    const char *default_text;
    double min;
    double max;
    const char *choices; /* ENUM: "debug|info|warn|error" */
    const char *help;    /* one sentence with the unit, without a full stop */
} weir_config_key;

#define WEIR_CONFIG_END { .name = NULL }

/* Where a value came from, for messages and for `config print`. */
typedef enum weir_config_source {
    WEIR_CONFIG_FROM_DEFAULT = 0,
    WEIR_CONFIG_FROM_FILE,
    WEIR_CONFIG_FROM_ENVIRONMENT,
    WEIR_CONFIG_FROM_ARGUMENT
} weir_config_source;

typedef struct weir_config weir_config;

/*
 * A configuration over NULL-ended tables (tables itself ends with NULL), all defaults.  The tables
 * outlive it. struct_size is the size of the struct that offsets point into.  A wrong row is
 * asserted: duplicate name, default that does not parse, field of the wrong size.
 */
weir_config *weir_config_create(const weir_config_key *const *tables, size_t struct_size);
void weir_config_destroy(weir_config **config_p);

/* CONFIG_INVALID with "FILE:LINE:COLUMN: ..." for each of them; nothing of a file is applied when
 * one key is wrong. */
weir_code weir_config_read_file(weir_config *config, const char *path,
    weir_error *reterr) WEIR_MUST_CHECK;
/* The same from memory; `name` stands for the file in messages. */
weir_code weir_config_read_text(weir_config *config, const char *name, weir_bytes text,
    weir_error *reterr) WEIR_MUST_CHECK;
/*
 * environment is NULL-ended "NAME=value".  WEIR_LOG_LEVEL sets log.level.  Names that begin with
 * WEIR_ and a known section, but are no key, are errors; other names are left alone.
 */
weir_code weir_config_read_environment(weir_config *config, char *const *environment,
    weir_error *reterr) WEIR_MUST_CHECK;
/* "key=value". */
weir_code weir_config_set(weir_config *config, const char *assignment,
    weir_error *reterr) WEIR_MUST_CHECK;

/* The filled struct; lives as long as the configuration. */
const void *weir_config_values(const weir_config *config);
weir_config_source weir_config_source_of(const weir_config *config, const char *key);

/* Append every key as YAML with its help, bounds and default as comments.  present: the values now;
 * else defaults. */
void weir_config_print_yaml(const weir_config *config, bool present, weir_buffer *out);
/* Append the reference page (Markdown). */
void weir_config_print_reference(const weir_config *config, weir_buffer *out);

#endif
