/*
 * output.c - tables for people, JSON for programs.
 *
 * Text that came from documents may hold anything, so control characters never reach the terminal.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/json/json.h"

enum { ROWS_AT_FIRST = 64, WIDTH_DEFAULT = 80, GAP = 2 };

struct cli_table {
    weir_arena *arena;
    const char *const *headers;
    size_t columns;
    const char *const **rows;
    size_t row_count;
    size_t row_capacity;
};

void
cli_complain(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "weir: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
}

const char *
cli_plain(weir_arena *arena, const char *text, size_t max)
{
    const size_t size = strlen(text);
    char *plain = weir_arena_alloc(arena, size + 4);
    size_t at = 0;
    size_t characters = 0;

    for (size_t i = 0; i < size; characters++) {
        const size_t length = weir_utf8_length((const uint8_t *)text + i, size - i);
        const unsigned char first = (unsigned char)text[i];
        const bool c1 = length == 2 && first == 0xc2 && (unsigned char)text[i + 1] < 0xa0;
        if (max != 0 && characters == max) {
            memcpy(plain + at, "...", 3);
            at += 3;
            break;
        }
        if (length == 0 || first < 0x20 || first == 0x7f || c1) {
            plain[at++] = ' ';
        } else {
            memcpy(plain + at, text + i, length);
            at += length;
        }
        i += length == 0 ? 1 : length;
    }
    plain[at] = '\0';
    return plain;
}

void
cli_print_json(const ProtobufCMessage *message)
{
    weir_buffer line = { 0 };
    weir_error error = { 0 };

    if (weir_json_encode(message, NULL, &line, &error) != WEIR_OK)
        cli_complain("this answer cannot be written as JSON: %s", error.message);
    else
        printf("%.*s\n", (int)line.size, (const char *)line.data);
    weir_buffer_fini(&line);
}

void
cli_print_json_texts(const char *const *pairs)
{
    weir_buffer line = { 0 };

    weir_buffer_append(&line, "{", 1);
    for (size_t i = 0; pairs[i] != NULL; i += 2) {
        if (i > 0)
            weir_buffer_append(&line, ",", 1);
        weir_json_append_string(&line, weir_bytes_str(pairs[i]));
        weir_buffer_append(&line, ":", 1);
        weir_json_append_string(&line, weir_bytes_str(pairs[i + 1]));
    }
    weir_buffer_append(&line, "}", 1);
    printf("%.*s\n", (int)line.size, (const char *)line.data);
    weir_buffer_fini(&line);
}

/* ---- tables ---- */

cli_table *
cli_table_create(weir_arena *arena, const char *const *headers)
{
    cli_table *table = weir_arena_alloc_zero(arena, sizeof *table);

    table->arena = arena;
    table->headers = headers;
    while (headers[table->columns] != NULL)
        table->columns++;
    weir_assert(table->columns <= CLI_COLUMNS_MAX);
    return table;
}

void
cli_table_row(cli_table *table, const char *const *cells)
{
    if (table->row_count == table->row_capacity) {
        const size_t capacity = table->row_capacity == 0 ? ROWS_AT_FIRST : table->row_capacity * 2;
        const char *const **rows = weir_arena_alloc(table->arena, capacity * sizeof *rows);
        if (table->row_count > 0)
            memcpy(rows, table->rows, table->row_count * sizeof *rows);
        table->rows = rows;
        table->row_capacity = capacity;
    }
    table->rows[table->row_count++] =
        weir_arena_memdup(table->arena, cells, table->columns * sizeof *cells);
}

static size_t
characters_of(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

size_t
cli_width(void)
{
    struct winsize size = { 0 };

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col
                                                                            : WIDTH_DEFAULT;
}

static void
print_row(const cli_table *table, const char *const *cells, const size_t *widths, size_t edge)
{
    size_t at = 0;

    for (size_t i = 0; i < table->columns; i++) {
        const char *cell = cells[i];
        if (i + 1 == table->columns) {
            if (edge > at + 8 && characters_of(cell) > edge - at)
                cell = cli_plain(table->arena, cell, edge - at - 3);
            printf("%s\n", cell);
            return;
        }
        printf("%s%*s", cell, (int)(widths[i] - characters_of(cell) + GAP), "");
        at += widths[i] + GAP;
    }
}

void
cli_table_print(const cli *self, const cli_table *table)
{
    size_t widths[CLI_COLUMNS_MAX] = { 0 };
    const size_t edge = self->terminal ? cli_width() : 0;

    for (size_t i = 0; i < table->columns; i++) {
        widths[i] = characters_of(table->headers[i]);
        for (size_t r = 0; r < table->row_count; r++)
            if (characters_of(table->rows[r][i]) > widths[i])
                widths[i] = characters_of(table->rows[r][i]);
    }
    if (self->terminal)
        printf("\033[1m");
    print_row(table, table->headers, widths, edge);
    if (self->terminal)
        printf("\033[0m");
    for (size_t r = 0; r < table->row_count; r++)
        print_row(table, table->rows[r], widths, edge);
}

/* ---- values ---- */

const char *
cli_format_time(weir_arena *arena, const Google__Protobuf__Timestamp *time)
{
    char text[25];

    if (time == NULL)
        return "-";
    weir_clock_format(time->seconds * 1000 + time->nanos / 1000000, text);
    return weir_arena_strdup(arena, text);
}

const char *
cli_format_bytes(weir_arena *arena, int64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    return weir_arena_printf(arena, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

const char *
cli_format_seconds(weir_arena *arena, double seconds)
{
    const int64_t whole = (int64_t)seconds;

    if (seconds < 60)
        return weir_arena_printf(arena, "%.1f s", seconds);
    if (seconds < 3600)
        return weir_arena_printf(arena, "%d m %d s", (int)(whole / 60), (int)(whole % 60));
    return weir_arena_printf(arena, "%lld h %d m", (long long)(whole / 3600),
        (int)(whole % 3600 / 60));
}

/* The value's name without the enum's prefix. */
static const char *
enum_name(const ProtobufCEnumDescriptor *descriptor, int number, size_t prefix)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

    return value == NULL ? "?" : value->name + prefix;
}

const char *
cli_state_name(Weir__V1__DocumentState state)
{
    return enum_name(&weir__v1__document_state__descriptor, (int)state, strlen("DOCUMENT_STATE_"));
}

const char *
cli_stage_name(Weir__V1__Stage stage)
{
    static const char *const names[] = { "-", "accept", "chunk", "embed", "index" };

    return (size_t)stage < sizeof names / sizeof names[0] ? names[stage] : "?";
}
