/*
 * log.c - one line, one write(2).
 *
 * A line is built in a fixed buffer on the stack; what does not fit is cut at a character, the line
 * stays well formed and says `truncated`.  Text from outside cannot forge a line or drive a
 * terminal: control characters and bytes that are not UTF-8 are escaped in both formats.
 */
#include "common/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/id.h"

enum {
    LINE_BYTES_MAX = 8 << 10,
    TAIL_BYTES = 32, /* kept for the end of a cut line */
    NUMBER_BYTES_MAX = 24,
    ESCAPE_BYTES_MAX = 8 /* the longest escape of one byte, and the closing quote */
};

typedef struct line {
    size_t size;
    bool is_cut;
    char bytes[LINE_BYTES_MAX];
} line;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static const char text_head[] = "%s %-5s %s %s";
static const char json_head[] =
    "{\"time\":\"%s\",\"level\":\"%s\",\"service\":\"%s\",\"event\":\"%s\"";

static const char *service_name = "weir";
static bool is_text;
static weir_log_level level_min = WEIR_LOG_INFO;

void
weir_log_init(const char *service, bool text_format, weir_log_level min_level)
{
    service_name = service;
    is_text = text_format;
    level_min = min_level;
}

bool
weir_log_level_from_name(const char *name, weir_log_level *ret_level)
{
    for (size_t level = 0; level < sizeof level_names / sizeof *level_names; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            *ret_level = (weir_log_level)level;
            return true;
        }
    }
    return false;
}

static bool
has_room(const line *out, size_t size)
{
    return out->size + size + TAIL_BYTES <= LINE_BYTES_MAX;
}

/* Within what has_room promised, or within the tail. */
static void
put(line *out, const char *text, size_t size)
{
    memcpy(out->bytes + out->size, text, size);
    out->size += size;
}

static void
put_text(line *out, const char *text)
{
    put(out, text, strlen(text));
}

/* One byte that cannot stand as it is. */
static void
put_escape(line *out, uint8_t byte, bool is_utf8)
{
    const char *const form = !is_utf8 ? (is_text ? "\\x%02x" : "\\\\x%02x") : "\\u%04x";
    char escape[ESCAPE_BYTES_MAX];

    switch (byte) {
    case '"':
        put_text(out, "\\\"");
        break;
    case '\\':
        put_text(out, "\\\\");
        break;
    case '\n':
        put_text(out, "\\n");
        break;
    case '\t':
        put_text(out, "\\t");
        break;
    default:
        (void)snprintf(escape, sizeof escape, form, byte);
        put_text(out, escape);
    }
}

static bool
is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* U+0080 to U+009F are control characters to some terminals; as UTF-8 they begin with 0xC2. */
static bool
is_c1_control(const uint8_t *at, size_t length)
{
    return length == 2 && at[0] == 0xC2 && at[1] < 0xA0;
}

static void
put_escaped(line *out, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    const uint8_t *const end = at + strlen(text);

    while (at < end) {
        const size_t length = weir_utf8_length(at, (size_t)(end - at));

        if (!has_room(out, ESCAPE_BYTES_MAX)) {
            out->is_cut = true;
            return;
        }
        if (is_c1_control(at, length))
            put_escape(out, at[1], true); /* the second byte is the code point */
        else if (length > 1 || (length == 1 && is_plain(*at)))
            put(out, (const char *)at, length);
        else
            put_escape(out, *at, length == 1);
        at += length == 0 ? 1 : length;
    }
}

static void
put_json_field(line *out, const weir_log_field *field)
{
    char number[NUMBER_BYTES_MAX];

    put_text(out, ",\"");
    put_text(out, field->name);
    if (field->text == NULL) {
        (void)snprintf(number, sizeof number, "\":%" PRId64, field->number);
        put_text(out, number);
        return;
    }
    put_text(out, "\":\"");
    put_escaped(out, field->text);
    put_text(out, "\"");
}

/* True for text that reads as one word in `name=value`. */
static bool
is_word(const char *text)
{
    return text[0] != '\0' && strpbrk(text, " \t\n\"=\\") == NULL;
}

static void
put_text_field(line *out, const weir_log_field *field)
{
    char number[NUMBER_BYTES_MAX];

    put_text(out, " ");
    put_text(out, field->name);
    put_text(out, "=");
    if (field->text == NULL) {
        (void)snprintf(number, sizeof number, "%" PRId64, field->number);
        put_text(out, number);
        return;
    }
    const char *const quote = is_word(field->text) ? "" : "\"";
    put_text(out, quote);
    put_escaped(out, field->text);
    put_text(out, quote);
}

static void
put_head(line *out, weir_log_level level, const char *event)
{
    char now[25];

    weir_clock_format(weir_clock_wall_ms(), now);
    const int size = snprintf(out->bytes, LINE_BYTES_MAX / 2, is_text ? text_head : json_head, now,
        level_names[level], service_name, event);
    weir_assert(size > 0 && size < LINE_BYTES_MAX / 2); /* the names are static strings */
    out->size = (size_t)size;
}

static void
put_fields(line *out, const weir_log_field *fields)
{
    for (const weir_log_field *field = fields; field->name != NULL && !out->is_cut; field++) {
        /* The name, its quotes, and a number or the quotes of a text. */
        if (!has_room(out, strlen(field->name) + 8 + NUMBER_BYTES_MAX))
            out->is_cut = true;
        else if (is_text)
            put_text_field(out, field);
        else
            put_json_field(out, field);
    }
}

static void
write_all(const char *bytes, size_t size)
{
    ssize_t wrote;

    do
        wrote = write(STDERR_FILENO, bytes, size);
    while (wrote < 0 && errno == EINTR);
    /* Standard error is gone or full: nobody is left to be told. */
}

void
weir_log_write(weir_log_level level, const char *event, const weir_log_field *fields)
{
    line out;

    if (level < level_min)
        return;
    out.size = 0;
    out.is_cut = false;
    put_head(&out, level, event);
    put_fields(&out, fields);
    if (out.is_cut)
        put_text(&out, is_text ? " truncated=true" : ",\"truncated\":true");
    put_text(&out, is_text ? "\n" : "}\n");
    write_all(out.bytes, out.size);
}
