/*
 * writer.c - JSON text: brackets, commas, white space, strings.
 */
#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/json/internal.h"

static const char hex[] = "0123456789abcdef";

void
json_raw(json_writer *writer, const char *text)
{
    weir_buffer_append(writer->out, text, strlen(text));
}

static void
new_line(json_writer *writer)
{
    if (!writer->pretty)
        return;
    json_raw(writer, "\n");
    for (uint32_t level = 0; level < writer->depth; level++)
        json_raw(writer, "  ");
}

void
json_open(json_writer *writer, char bracket)
{
    weir_buffer_append(writer->out, &bracket, 1);
    writer->depth++;
    writer->first = true;
}

void
json_close(json_writer *writer, char bracket)
{
    weir_assert(writer->depth > 0);
    writer->depth--;
    if (!writer->first)
        new_line(writer);
    weir_buffer_append(writer->out, &bracket, 1);
    writer->first = false;
}

void
json_element(json_writer *writer)
{
    if (!writer->first)
        json_raw(writer, ",");
    new_line(writer);
    writer->first = false;
}

void
json_member(json_writer *writer, weir_bytes name)
{
    json_element(writer);
    json_text(writer, name);
    json_raw(writer, writer->pretty ? ": " : ":");
}

static void
append_escape(weir_buffer *out, uint8_t byte)
{
    static const char
        letters[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

    if (byte == '"' || byte == '\\' || letters[byte & 31] != 0) {
        const char pair[2] = { '\\', byte < 32 ? letters[byte] : (char)byte };

        weir_buffer_append(out, pair, sizeof pair);
        return;
    }
    const char code[6] = { '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] };

    weir_buffer_append(out, code, sizeof code);
}

static bool
needs_escape(uint8_t byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

static void
append_quoted(weir_buffer *out, weir_bytes text)
{
    size_t begin = 0;

    weir_buffer_reserve(out, text.size + 2);
    weir_buffer_append_u8(out, '"');
    for (size_t at = 0; at < text.size; at++) {
        if (!needs_escape(text.data[at]))
            continue;
        weir_buffer_append(out, text.data + begin, at - begin);
        append_escape(out, text.data[at]);
        begin = at + 1;
    }
    if (begin < text.size)
        weir_buffer_append(out, text.data + begin, text.size - begin);
    weir_buffer_append_u8(out, '"');
}

void
json_text(json_writer *writer, weir_bytes text)
{
    append_quoted(writer->out, text);
}

/* Bytes of the character at `at`, by its first byte; 1 when it is none. */
static size_t
character_size(const uint8_t *at, size_t left)
{
    const size_t size = *at < 0x80 ? 1 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : 4;

    return size <= left ? size : 1;
}

/* NUL counts as no UTF-8 in weir_utf8_valid, and is escaped here like its neighbours. */
static bool
is_character(weir_bytes one)
{
    return (one.size == 1 && one.data[0] == 0) || weir_utf8_valid(one);
}

void
weir_json_append_string(weir_buffer *out, weir_bytes text)
{
    weir_buffer mended = { 0 };

    for (size_t at = 0; at < text.size;) {
        const weir_bytes one =
            weir_bytes_of(text.data + at, character_size(text.data + at, text.size - at));
        const bool good = is_character(one);

        weir_buffer_append(&mended, good ? one.data : (const uint8_t *)"\xEF\xBF\xBD",
            good ? one.size : 3);
        at += good ? one.size : 1;
    }
    append_quoted(out, weir_buffer_view(&mended));
    weir_buffer_fini(&mended);
}
