/*
 * print.c - the settings as a commented YAML file and as a page of reference, both from the key
 * tables.
 *
 * config/weir.yaml and config/REFERENCE.md are these texts; a test fails when they are stale.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/config/config_internal.h"

static void print(weir_buffer *out, const char *format, ...) WEIR_PRINTF(2, 3);

static void
print(weir_buffer *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0)
        weir_buffer_append(out, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

/* The section of a key: "" for "data_dir", "embedder" for "embedder.workers". */
static size_t
section_size(const char *key)
{
    const char *dot = strchr(key, '.');

    return dot == NULL ? 0 : (size_t)(dot - key);
}

static bool
same_section(const char *a, const char *b)
{
    const size_t size = section_size(a);

    return size == section_size(b) && strncmp(a, b, size) == 0;
}

static const char *
type_name(const weir_config_key *key)
{
    switch (key->type) {
    case WEIR_CONFIG_U32:
        return "whole number";
    case WEIR_CONFIG_BYTES:
        return "bytes";
    case WEIR_CONFIG_DURATION:
        return "milliseconds";
    case WEIR_CONFIG_BOOL:
        return "true or false";
    case WEIR_CONFIG_FLOAT:
        return "number";
    case WEIR_CONFIG_STRING:
        return "text";
    case WEIR_CONFIG_ENUM:
        return "word";
    }
    return "";
}

/* A bound of bytes with its largest whole unit, other numbers as they are. */
static void
format_bound(const weir_config_key *key, double value, char *out, size_t size)
{
    static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
    size_t unit = 0;

    while (key->type == WEIR_CONFIG_BYTES && value >= 1024 && unit < 4 &&
        (double)(uint64_t)(value / 1024) * 1024 == value) {
        value /= 1024;
        unit++;
    }
    snprintf(out, size, "%.15g%s", value, units[unit]);
}

static void
format_bounds(const weir_config_key *key, char *out, size_t size)
{
    char low[40];
    char high[40];

    if (key->type == WEIR_CONFIG_BOOL) {
        snprintf(out, size, "true or false");
        return;
    }
    if (key->type == WEIR_CONFIG_ENUM) {
        size_t at = 0;
        char choice[32];
        for (int i = 0; config_choice_at(key->choices, i, choice, sizeof choice) && at < size; i++)
            at += (size_t)snprintf(out + at, size - at, "%s%s", i == 0 ? "" : ", ", choice);
        return;
    }
    format_bound(key, key->min, low, sizeof low);
    format_bound(key, key->max, high, sizeof high);
    if (key->type == WEIR_CONFIG_STRING)
        snprintf(out, size, "text of %s to %s bytes", low, high);
    else
        snprintf(out, size, "%s, %s to %s", type_name(key), low, high);
}

static void
print_yaml_value(weir_buffer *out, const weir_config_key *key, const char *text)
{
    if (key->type != WEIR_CONFIG_STRING) {
        print(out, "%s\n", text);
        return;
    }
    print(out, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            print(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            print(out, "\\x%02x", (unsigned)(unsigned char)*text);
        else
            print(out, "%c", *text);
    }
    print(out, "\"\n");
}

/* A comment of lines of at most 100 columns. */
static void
print_comment(weir_buffer *out, const char *indent, const char *text)
{
    const size_t width = 98 - strlen(indent);

    while (*text != '\0') {
        size_t size = strlen(text);
        if (size > width) {
            size = width;
            while (size > 0 && text[size] != ' ')
                size--;
        }
        print(out, "%s# %.*s\n", indent, (int)size, text);
        text += text[size] == ' ' ? size + 1 : size;
    }
}

static void
print_yaml_entry(weir_buffer *out, const config_entry *entry, bool present)
{
    const weir_config_key *key = entry->key;
    const size_t section = section_size(key->name);
    const char *indent = section == 0 ? "" : "  ";
    char bounds[128] = "";
    char comment[512];

    format_bounds(key, bounds, sizeof bounds);
    snprintf(comment, sizeof comment, "%s (%s).", key->help, bounds);
    print_comment(out, indent, comment);
    print(out, "%s%s: ", indent, key->name + (section == 0 ? 0 : section + 1));
    print_yaml_value(out, key, present ? entry->text : key->default_text);
}

/* The first key of its section, in the order of the tables. */
static bool
begins_section(const weir_config *config, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (same_section(config->entries[i].key->name, config->entries[index].key->name))
            return false;
    return true;
}

void
weir_config_print_yaml(const weir_config *config, bool present, weir_buffer *out)
{
    print(out,
        "# weir.yaml: one file for the five services and the program `weir`.\n"
        "# Every setting%s.  Stronger than this file are the environment (WEIR_LOG_LEVEL sets\n"
        "# log.level) and --set KEY=VALUE.  Check a file with `weir config check FILE`.\n",
        present ? " as it is in force" : " with its default");
    for (size_t i = 0; i < config->entry_count; i++) {
        const char *first = config->entries[i].key->name;
        if (!begins_section(config, i))
            continue;
        print(out, "\n");
        if (section_size(first) > 0)
            print(out, "%.*s:\n", (int)section_size(first), first);
        for (size_t j = i; j < config->entry_count; j++)
            if (same_section(first, config->entries[j].key->name))
                print_yaml_entry(out, &config->entries[j], present);
    }
}

static void
print_reference_row(weir_buffer *out, const weir_config_key *key)
{
    char bounds[128] = "";
    char environment[WEIR_CONFIG_KEY_BYTES_MAX + 8];

    format_bounds(key, bounds, sizeof bounds);
    config_environment_name(key->name, environment, sizeof environment);
    print(out, "| `%s` | `%s` | %s | %s | `%s` |\n", key->name,
        key->default_text[0] != '\0' ? key->default_text : "\"\"", bounds, key->help, environment);
}

void
weir_config_print_reference(const weir_config *config, weir_buffer *out)
{
    print(out,
        "# Settings of weir\n\n"
        "Printed by `weir config reference`; `config/weir.yaml` is the same as a file.  Later "
        "sources win: the\n"
        "default, the file (`--config FILE`), the environment, `--set KEY=VALUE`.  An unknown "
        "key or a value\n"
        "outside its bounds stops the start with its place; nothing is clamped.\n\n"
        "Bytes take `KiB`, `MiB`, `GiB`, `TiB`; milliseconds take `ms`, `s`, `m`, `h`, `d`.\n");
    for (size_t i = 0; i < config->entry_count; i++) {
        const char *first = config->entries[i].key->name;
        if (!begins_section(config, i))
            continue;
        print(out,
            "\n## %.*s\n\n| key | default | values | meaning | environment "
            "|\n|---|---|---|---|---|\n",
            section_size(first) > 0 ? (int)section_size(first) : 9,
            section_size(first) > 0 ? first : "the suite");
        for (size_t j = i; j < config->entry_count; j++)
            if (same_section(first, config->entries[j].key->name))
                print_reference_row(out, config->entries[j].key);
    }
}
