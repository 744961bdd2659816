/*
 * config.c - the table of entries behind a configuration: find, nearest, assign, environment.
 *
 * The struct that is filled changes by config_assign alone, and only by values that were parsed and
 * within bounds.
 */
#include <ctype.h>
#include <stdio.h>

#include "common/base/assert.h"
#include "common/config/config_internal.h"

/* What a field of the type may measure, for the check of the table. */
static bool
size_fits(const weir_config_key *key)
{
    switch (key->type) {
    case WEIR_CONFIG_U32:
        return key->size == sizeof(uint32_t) && key->max <= UINT32_MAX;
    case WEIR_CONFIG_BYTES:
        return key->size == sizeof(uint64_t);
    case WEIR_CONFIG_DURATION:
        return key->size == sizeof(uint64_t) ||
            (key->size == sizeof(uint32_t) && key->max <= UINT32_MAX);
    case WEIR_CONFIG_FLOAT:
        return key->size == sizeof(double);
    case WEIR_CONFIG_BOOL:
        return key->size == sizeof(bool);
    case WEIR_CONFIG_ENUM:
        return key->size == sizeof(int) && key->choices != NULL;
    case WEIR_CONFIG_STRING:
        return key->size == sizeof(char *);
    }
    return false;
}

static void
store_value(weir_config *config, const weir_config_key *key, const config_value *value,
    const char *text)
{
    uint8_t *field = (uint8_t *)config->values + key->offset;
    const uint32_t narrow = (uint32_t)value->number;

    switch (key->type) {
    case WEIR_CONFIG_U32:
    case WEIR_CONFIG_BYTES:
    case WEIR_CONFIG_DURATION:
        memcpy(field,
            key->size == sizeof narrow ? (const void *)&narrow : (const void *)&value->number,
            key->size);
        break;
    case WEIR_CONFIG_FLOAT:
        memcpy(field, &value->real, sizeof value->real);
        break;
    case WEIR_CONFIG_BOOL:
        memcpy(field, &value->truth, sizeof value->truth);
        break;
    case WEIR_CONFIG_ENUM:
        memcpy(field, &value->choice, sizeof value->choice);
        break;
    case WEIR_CONFIG_STRING:
        memcpy(field, &text, sizeof text);
        break;
    }
}

weir_code
config_assign(weir_config *config, config_entry *entry, const char *text, weir_config_source source,
    weir_error *reterr)
{
    config_value value = { 0 };
    const weir_code code = config_value_parse(entry->key, text, &value, reterr);

    if (code != WEIR_OK)
        return code;
    entry->text = weir_arena_strdup(config->arena, text);
    entry->source = source;
    store_value(config, entry->key, &value, entry->text);
    return WEIR_OK;
}

static void
add_entry(weir_config *config, const weir_config_key *key)
{
    weir_error error = { 0 };
    config_entry *entry = &config->entries[config->entry_count];

    weir_assert(key->offset + key->size <= config->values_size);
    weir_assert(size_fits(key));
    weir_assert(key->default_text != NULL && key->help != NULL);
    weir_assert(config_find(config, key->name) == NULL);
    entry->key = key;
    config->entry_count++;
    weir_assert(config_assign(config, entry, key->default_text, WEIR_CONFIG_FROM_DEFAULT, &error) ==
        WEIR_OK);
}

weir_config *
weir_config_create(const weir_config_key *const *tables, size_t struct_size)
{
    weir_config *config = weir_alloc_zero(1, sizeof *config);
    size_t count = 0;

    for (size_t t = 0; tables[t] != NULL; t++)
        for (const weir_config_key *key = tables[t]; key->name != NULL; key++)
            count++;
    config->arena = weir_arena_create(0);
    config->values = weir_alloc_zero(1, struct_size);
    config->values_size = struct_size;
    config->entries = weir_alloc_zero(count + 1, sizeof *config->entries);
    for (size_t t = 0; tables[t] != NULL; t++)
        for (const weir_config_key *key = tables[t]; key->name != NULL; key++)
            add_entry(config, key);
    return config;
}

void
weir_config_destroy(weir_config **config_p)
{
    weir_config *config = *config_p;

    if (config == NULL)
        return;
    weir_free(config->entries);
    weir_free(config->values);
    weir_arena_destroy(&config->arena);
    weir_free(config);
    *config_p = NULL;
}

config_entry *
config_find(const weir_config *config, const char *name)
{
    for (size_t i = 0; i < config->entry_count; i++)
        if (strcmp(config->entries[i].key->name, name) == 0)
            return &config->entries[i];
    return NULL;
}

bool
config_is_section(const weir_config *config, const char *name, size_t size)
{
    for (size_t i = 0; i < config->entry_count; i++) {
        const char *key = config->entries[i].key->name;
        if (strncmp(key, name, size) == 0 && key[size] == '.')
            return true;
    }
    return false;
}

/* Levenshtein's distance; both are shorter than WEIR_CONFIG_KEY_BYTES_MAX. */
static size_t
edit_distance(const char *a, const char *b)
{
    size_t row[WEIR_CONFIG_KEY_BYTES_MAX + 1];
    const size_t b_size = strlen(b);

    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            const size_t remove = row[j] + 1;
            const size_t insert = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < remove ? change : remove;
            row[j] = row[j] < insert ? row[j] : insert;
        }
    }
    return row[b_size];
}

const char *
config_nearest(const weir_config *config, const char *name)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;

    if (strlen(name) >= WEIR_CONFIG_KEY_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < config->entry_count; i++) {
        const char *key = config->entries[i].key->name;
        const char *dot = strrchr(key, '.');
        /* "batch_tokens" alone means embedder.batch_tokens. */
        const size_t distance =
            dot != NULL && strcmp(dot + 1, name) == 0 ? 1 : edit_distance(name, key);
        if (distance < best) {
            best = distance;
            nearest = key;
        }
    }
    return best <= 2 + strlen(name) / 3 ? nearest : NULL;
}

weir_code
weir_config_set(weir_config *config, const char *assignment, weir_error *reterr)
{
    const char *equals = strchr(assignment, '=');
    weir_error inner = { 0 };

    if (equals == NULL || equals == assignment)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "--set \"%.80s\": write KEY=VALUE",
            assignment);
    char name[WEIR_CONFIG_KEY_BYTES_MAX];
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    config_entry *entry = config_find(config, name);
    if (entry == NULL) {
        const char *nearest = config_nearest(config, name);
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "--set: unknown key \"%s\"%s%s%s", name,
            nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
            nearest != NULL ? "?" : "");
    }
    if (config_assign(config, entry, equals + 1, WEIR_CONFIG_FROM_ARGUMENT, &inner) != WEIR_OK)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "--set %s: %s", name, inner.message);
    return WEIR_OK;
}

const void *
weir_config_values(const weir_config *config)
{
    return config->values;
}

weir_config_source
weir_config_source_of(const weir_config *config, const char *key)
{
    const config_entry *entry = config_find(config, key);

    weir_assert(entry != NULL);
    return entry->source;
}
