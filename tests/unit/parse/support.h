/*
 * support.h - documents as one line of text, for comparison (tests only).
 *
 * A block is written as a letter for its kind (P paragraph, 1..6 heading, I item, C code, R row, Q
 * quote), a colon and its text; blocks are separated by '|'.
 */
#ifndef WEIR_TESTS_PARSE_SUPPORT_H
#define WEIR_TESTS_PARSE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/id.h"
#include "common/text/unicode.h"
#include "services/ingest/parse.h"

static inline char
kind_letter(const ingest_document *document, const ingest_block *block)
{
    if (block->kind == INGEST_BLOCK_HEADING)
        return (char)('0' + document->headings[block->heading].level);
    return " P?ICRQ"[block->kind];
}

static inline weir_bytes
block_text(const ingest_document *document, const ingest_block *block)
{
    return weir_bytes_of(document->text.data + block->start, block->end - block->start);
}

static inline bool
is_space_at(const ingest_document *document, size_t at)
{
    size_t size = 0;

    return weir_char_is_space(weir_utf8_decode(document->text.data + at, document->text.size - at,
        &size));
}

/* What parse.h promises of every document. */
static inline void
check_document(const ingest_document *document)
{
    size_t end = 0;

    assert_true(document->block_count > 0);
    assert_true(weir_utf8_valid(weir_buffer_view(&document->text)));
    for (size_t i = 0; i < document->block_count; i++) {
        const ingest_block *const block = &document->blocks[i];

        assert_true(block->start < block->end && block->end <= document->text.size &&
            block->start >= end);
        for (; end < block->start; end++)
            assert_int_equal(document->text.data[end], '\n');
        assert_false(is_space_at(document, block->start));
        assert_false(is_space_at(document,
            weir_utf8_floor(weir_buffer_view(&document->text), block->end - 1)));
        if (block->heading != INGEST_NO_HEADING)
            assert_true(block->heading < document->heading_count);
        end = block->end;
    }
    assert_int_equal(end, document->text.size);
    for (size_t i = 0; i < document->heading_count; i++) {
        const uint32_t parent = document->headings[i].parent;

        if (parent != INGEST_NO_HEADING)
            assert_true(parent < i &&
                document->headings[parent].level < document->headings[i].level);
    }
}

static inline weir_buffer
render(const ingest_document *document)
{
    weir_buffer out = { 0 };

    for (size_t i = 0; i < document->block_count; i++) {
        const ingest_block *const block = &document->blocks[i];
        const weir_bytes text = block_text(document, block);

        if (i > 0)
            weir_buffer_append_u8(&out, '|');
        weir_buffer_append_u8(&out, (uint8_t)kind_letter(document, block));
        weir_buffer_append_u8(&out, ':');
        weir_buffer_append(&out, text.data, text.size);
    }
    weir_buffer_append_u8(&out, '\0');
    return out;
}

static inline void
check_parse(const char *media_type, weir_bytes source, const char *expected, const char *title)
{
    ingest_document document = { 0 };
    weir_error error = { 0 };

    if (ingest_parse(media_type, NULL, source, &document, &error) != WEIR_OK)
        fail_msg("%s: %s", weir_code_name(error.code), error.message);
    check_document(&document);
    weir_buffer rendered = render(&document);

    assert_string_equal((const char *)rendered.data, expected);
    if (title != NULL)
        assert_string_equal(document.title, title);
    weir_buffer_fini(&rendered);
    ingest_document_fini(&document);
}

static inline void
check_refusal(const char *media_type, weir_bytes source, weir_code expected)
{
    ingest_document document = { 0 };
    weir_error error = { 0 };
    const weir_code code = ingest_parse(media_type, NULL, source, &document, &error);

    assert_string_equal(weir_code_name(code), weir_code_name(expected));
    assert_null(document.blocks); /* a refusal leaves ret_ alone */
    assert_true(error.message[0] != '\0');
}

#endif
