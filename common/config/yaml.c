/*
 * yaml.c - a YAML file becomes dotted keys; the only file that knows libyaml.
 *
 * The file is read as a stream of events, so nesting and size are bounded before anything is built.
 * Sequences, anchors, aliases, tags and a second document are refused: a file of settings needs
 * none, and an alias can multiply memory.  All keys are checked before the first is applied.
 */
#include <errno.h>
#include <stdio.h>
#include <yaml.h>

#include "common/base/assert.h"
#include "common/config/config_internal.h"

typedef struct yaml_assignment {
    config_entry *entry;
    const char *text; /* in the reader's arena */
    size_t line;      /* from 1 */
} yaml_assignment;

typedef struct yaml_reader {
    weir_config *config;
    const char *name; /* of the file */
    weir_arena *arena;
    yaml_assignment *assignments;
    size_t assignment_count;
    char prefix[WEIR_CONFIG_KEY_BYTES_MAX]; /* "embedder." */
    size_t prefix_size;
    size_t prefix_sizes[WEIR_CONFIG_DEPTH_MAX]; /* before each open mapping */
    size_t depth;
    bool has_key; /* in the mapping at hand, `key` waits for its value */
    char key[WEIR_CONFIG_KEY_BYTES_MAX];
    yaml_mark_t key_mark;
    size_t documents;
} yaml_reader;

static weir_code
fail_at(const yaml_reader *reader, yaml_mark_t mark, weir_error *reterr, const char *what)
{
    return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s:%zu:%zu: %s", reader->name,
        mark.line + 1, mark.column + 1, what);
}

static weir_code
unknown_key(const yaml_reader *reader, weir_error *reterr)
{
    char what[300];
    const char *nearest = config_nearest(reader->config, reader->key);

    snprintf(what, sizeof what, "unknown key \"%s\"%s%s%s", reader->key,
        nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "?" : "");
    return fail_at(reader, reader->key_mark, reterr, what);
}

static weir_code
take_key(yaml_reader *reader, const yaml_event_t *event, weir_error *reterr)
{
    const size_t size = event->data.scalar.length;
    const char *text = (const char *)event->data.scalar.value;

    if (size == 0 || memchr(text, '\0', size) != NULL)
        return fail_at(reader, event->start_mark, reterr, "a key must be a word");
    if (reader->prefix_size + size >= sizeof reader->key)
        return fail_at(reader, event->start_mark, reterr, "the key is too long for any known one");
    snprintf(reader->key, sizeof reader->key, "%.*s%s", (int)reader->prefix_size, reader->prefix,
        text);
    reader->key_mark = event->start_mark;
    reader->has_key = true;
    return WEIR_OK;
}

static weir_code
check_not_twice(const yaml_reader *reader, const config_entry *entry, weir_error *reterr)
{
    char what[200];

    for (size_t i = 0; i < reader->assignment_count; i++) {
        if (reader->assignments[i].entry != entry)
            continue;
        snprintf(what, sizeof what, "%s is set twice, first in line %zu", reader->key,
            reader->assignments[i].line);
        return fail_at(reader, reader->key_mark, reterr, what);
    }
    return WEIR_OK;
}

static weir_code
take_value(yaml_reader *reader, const yaml_event_t *event, weir_error *reterr)
{
    const char *text = (const char *)event->data.scalar.value;
    const bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    config_entry *entry = config_find(reader->config, reader->key);
    weir_error inner = { 0 };
    config_value value;
    char what[sizeof inner.message + WEIR_CONFIG_KEY_BYTES_MAX];

    reader->has_key = false;
    if (entry == NULL && text[0] == '\0' &&
        config_is_section(reader->config, reader->key, strlen(reader->key)))
        return WEIR_OK; /* "embedder:" with nothing below it */
    if (entry == NULL)
        return unknown_key(reader, reterr);
    weir_code code = check_not_twice(reader, entry, reterr);
    if (code != WEIR_OK)
        return code;
    if (plain && (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
        return fail_at(reader, event->start_mark, reterr,
            "no value (write \"\" for an empty text)");
    if (strlen(text) != event->data.scalar.length)
        return fail_at(reader, event->start_mark, reterr, "the value holds a NUL");
    if (config_value_parse(entry->key, text, &value, &inner) != WEIR_OK) {
        snprintf(what, sizeof what, "%s: %s", reader->key, inner.message);
        return fail_at(reader, event->start_mark, reterr, what);
    }
    reader->assignments[reader->assignment_count++] = (yaml_assignment){ .entry = entry,
        .text = weir_arena_strdup(reader->arena, text),
        .line = event->start_mark.line + 1 };
    return WEIR_OK;
}

static weir_code
take_scalar(yaml_reader *reader, const yaml_event_t *event, weir_error *reterr)
{
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
        return fail_at(reader, event->start_mark, reterr,
            "anchors and tags are not understood here");
    if (reader->depth == 0 && event->data.scalar.length == 0)
        return WEIR_OK; /* an empty file */
    if (reader->depth == 0)
        return fail_at(reader, event->start_mark, reterr, "the file must hold KEY: VALUE lines");
    return reader->has_key ? take_value(reader, event, reterr) : take_key(reader, event, reterr);
}

static weir_code
open_mapping(yaml_reader *reader, const yaml_event_t *event, weir_error *reterr)
{
    if (event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL)
        return fail_at(reader, event->start_mark, reterr,
            "anchors and tags are not understood here");
    if (reader->depth > 0 && !reader->has_key)
        return fail_at(reader, event->start_mark, reterr, "a key must be a word");
    if (reader->depth > 0 && !config_is_section(reader->config, reader->key, strlen(reader->key))) {
        if (config_find(reader->config, reader->key) == NULL)
            return unknown_key(reader, reterr);
        return fail_at(reader, event->start_mark, reterr, "the key takes one value, not a section");
    }
    if (reader->depth == WEIR_CONFIG_DEPTH_MAX)
        return fail_at(reader, event->start_mark, reterr, "nested too deep");
    reader->prefix_sizes[reader->depth++] = reader->prefix_size;
    if (reader->has_key) {
        snprintf(reader->prefix, sizeof reader->prefix, "%.*s.", (int)sizeof reader->prefix - 2,
            reader->key);
        reader->prefix_size = strlen(reader->prefix);
    }
    reader->has_key = false;
    return WEIR_OK;
}

static weir_code
close_mapping(yaml_reader *reader)
{
    reader->prefix_size = reader->prefix_sizes[--reader->depth];
    reader->prefix[reader->prefix_size] = '\0';
    return WEIR_OK;
}

static weir_code
take_event(yaml_reader *reader, const yaml_event_t *event, weir_error *reterr)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (reader->documents++ > 0)
            return fail_at(reader, event->start_mark, reterr, "a second document in one file");
        return WEIR_OK;
    case YAML_SCALAR_EVENT:
        return take_scalar(reader, event, reterr);
    case YAML_MAPPING_START_EVENT:
        return open_mapping(reader, event, reterr);
    case YAML_MAPPING_END_EVENT:
        return close_mapping(reader);
    case YAML_SEQUENCE_START_EVENT:
        return fail_at(reader, event->start_mark, reterr, "no setting takes a list");
    case YAML_ALIAS_EVENT:
        return fail_at(reader, event->start_mark, reterr, "aliases are not understood here");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return WEIR_OK;
    }
    return WEIR_OK;
}

static weir_code
read_events(yaml_reader *reader, yaml_parser_t *parser, weir_error *reterr)
{
    for (;;) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event)) {
            const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
            const yaml_mark_t mark =
                parser->problem_mark.line != 0 || parser->problem_mark.column != 0
                ? parser->problem_mark
                : parser->mark;
            return fail_at(reader, mark, reterr, problem);
        }
        const bool last = event.type == YAML_STREAM_END_EVENT;
        const weir_code code = take_event(reader, &event, reterr);
        yaml_event_delete(&event);
        if (code != WEIR_OK || last)
            return code;
    }
}

/* Every text was parsed when it was taken, so none can be refused here. */
static void
apply(yaml_reader *reader)
{
    weir_error error = { 0 };

    for (size_t i = 0; i < reader->assignment_count; i++) {
        const yaml_assignment *it = &reader->assignments[i];
        const weir_code code =
            config_assign(reader->config, it->entry, it->text, WEIR_CONFIG_FROM_FILE, &error);
        weir_assert(code == WEIR_OK);
    }
}

weir_code
weir_config_read_text(weir_config *config, const char *name, weir_bytes text, weir_error *reterr)
{
    yaml_reader reader = { .config = config, .name = name };
    yaml_parser_t parser;

    if (text.size > WEIR_CONFIG_FILE_BYTES_MAX)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s: more than %d bytes", name,
            WEIR_CONFIG_FILE_BYTES_MAX);
    if (!yaml_parser_initialize(&parser))
        return weir_error_set(reterr, WEIR_NO_MEMORY, "%s: libyaml does not start", name);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    reader.arena = weir_arena_create(0);
    reader.assignments = weir_alloc_zero(config->entry_count + 1, sizeof *reader.assignments);
    const weir_code code = read_events(&reader, &parser, reterr);
    if (code == WEIR_OK)
        apply(&reader);
    yaml_parser_delete(&parser);
    weir_arena_destroy(&reader.arena);
    weir_free(reader.assignments);
    return code;
}

weir_code
weir_config_read_file(weir_config *config, const char *path, weir_error *reterr)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s: %s", path, strerror(errno));
    char *text = weir_alloc(WEIR_CONFIG_FILE_BYTES_MAX + 1);
    const size_t size = fread(text, 1, WEIR_CONFIG_FILE_BYTES_MAX + 1, file);
    const bool failed = ferror(file) != 0;
    fclose(file);
    const weir_code code = failed
        ? weir_error_set(reterr, WEIR_CONFIG_INVALID, "%s: cannot be read (is it a folder?)", path)
        : weir_config_read_text(config, path, weir_bytes_of(text, size), reterr);
    weir_free(text);
    return code;
}
