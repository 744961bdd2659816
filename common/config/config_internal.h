/*
 * config_internal.h - what the files of common/config share: one entry per key, and the parsers of
 * values.
 */
#ifndef WEIR_CONFIG_CONFIG_INTERNAL_H
#define WEIR_CONFIG_CONFIG_INTERNAL_H

#include "common/base/arena.h"
#include "common/config/config.h"

typedef struct config_entry {
    const weir_config_key *key;
    weir_config_source source;
    const char *text; /* as it was written; in the arena */
} config_entry;

struct weir_config {
    config_entry *entries;
    size_t entry_count;
    void *values;
    size_t values_size;
    weir_arena *arena;
};

/* A parsed value on its way into the struct. */
typedef union config_value {
    uint64_t number;
    double real;
    int choice;
    bool truth;
} config_value;

/* Parse text as a value of the key and check its bounds.  The message is one sentence about the
 * value, without key or place. */
weir_code config_value_parse(const weir_config_key *key, const char *text, config_value *ret_value,
    weir_error *reterr) WEIR_MUST_CHECK;
/* Parse and store; CONFIG_INVALID leaves everything as it was. */
weir_code config_assign(weir_config *config, config_entry *entry, const char *text,
    weir_config_source source, weir_error *reterr) WEIR_MUST_CHECK;
config_entry *config_find(const weir_config *config, const char *name);
/* The known key that looks most like name, or NULL when none does. */
const char *config_nearest(const weir_config *config, const char *name);
/* Some key begins with "name.". */
bool config_is_section(const weir_config *config, const char *name, size_t size);
/* "embedder.batch_tokens" -> "WEIR_EMBEDDER_BATCH_TOKENS", cut at size. */
void config_environment_name(const char *key, char *out, size_t size);
/* The name of choice number `index` of "a|b|c" into out; false: there are not so many. */
bool config_choice_at(const char *choices, int index, char *out, size_t size);

#endif
