/*
 * builder.c - blocks and headings, in order, without holes.
 */
#include "services/ingest/builder.h"

#include "common/base/assert.h"
#include "common/text/unicode.h"

void
ingest_builder_init(ingest_builder *builder, ingest_document *document)
{
    *builder = (ingest_builder){ .document = document };
    ingest_builder_reset(builder);
}

void
ingest_builder_reset(ingest_builder *builder)
{
    weir_buffer_clear(&builder->document->text);
    builder->document->block_count = 0;
    builder->document->heading_count = 0;
    builder->nearest = INGEST_NO_HEADING;
    for (size_t level = 0; level <= INGEST_HEADING_LEVELS; level++)
        builder->open_headings[level] = INGEST_NO_HEADING;
}

void
ingest_builder_fini(ingest_builder *builder)
{
    weir_buffer_fini(&builder->scratch);
}

bool
ingest_builder_is_empty(const ingest_builder *builder)
{
    return builder->document->block_count == 0;
}

static bool
is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Room for one more element; arrays double. */
static void *
grown(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return weir_realloc(array, *capacity * size);
}

/* What a run of blanks inside a line becomes: a TAB between the cells of a row, else a space. */
static uint8_t
joined_blanks(const uint8_t *at, size_t length, ingest_block_kind kind)
{
    return kind == INGEST_BLOCK_ROW && memchr(at, '\t', length) != NULL ? '\t' : ' ';
}

typedef struct tidier {
    uint8_t *out; /* where the next byte goes; never ahead of what is read */
    uint8_t *begin;
    size_t line_ends; /* in a row, so far */
} tidier;

/* Blanks and line ends are written only between characters: not at the start, and never at the end.
 */
static void
put_gap(tidier *self, const uint8_t *blanks, size_t length, ingest_block_kind kind,
    bool keep_spaces)
{
    const size_t lines = self->line_ends > 2 ? 2 : self->line_ends;

    self->line_ends = 0;
    if (self->out == self->begin)
        return;
    memset(self->out, '\n', lines);
    self->out += lines;
    if (keep_spaces) {
        memmove(self->out, blanks, length);
        self->out += length;
    } else if (length > 0 && lines == 0) {
        *self->out++ = joined_blanks(blanks, length, kind);
    }
}

/* Tidy the spaces of [begin, begin + size) in place; returns the new size. */
static size_t
tidy(uint8_t *begin, size_t size, ingest_block_kind kind, bool keep_spaces)
{
    tidier self = { .out = begin, .begin = begin };
    size_t blanks = 0; /* in a row, before `at` */

    for (size_t at = 0; at < size; at++) {
        if (is_blank(begin[at])) {
            blanks++;
        } else if (begin[at] == '\n') {
            self.line_ends++;
            blanks = 0;
        } else {
            const uint8_t byte = begin[at];

            if (blanks > 0 || self.line_ends > 0)
                put_gap(&self, begin + at - blanks, blanks, kind, keep_spaces);
            *self.out++ = byte;
            blanks = 0;
        }
    }
    return (size_t)(self.out - begin);
}

/* Neighbouring items and rows stand on lines of their own; everything else has a blank line
 * between. */
static size_t
separator(const ingest_builder *self, ingest_block_kind kind)
{
    const ingest_document *const document = self->document;

    if (document->block_count == 0)
        return 0;
    const ingest_block_kind before = document->blocks[document->block_count - 1].kind;

    return before == kind && (kind == INGEST_BLOCK_ITEM || kind == INGEST_BLOCK_ROW) ? 1 : 2;
}

static uint32_t
add_heading(ingest_builder *self, size_t start, size_t end, uint32_t level)
{
    ingest_document *const document = self->document;
    const uint32_t index = (uint32_t)document->heading_count;
    uint32_t parent = INGEST_NO_HEADING;

    for (uint32_t above = 1; above < level; above++) {
        if (self->open_headings[above] != INGEST_NO_HEADING)
            parent = self->open_headings[above];
    }
    for (uint32_t below = level; below <= INGEST_HEADING_LEVELS; below++)
        self->open_headings[below] = INGEST_NO_HEADING;
    self->open_headings[level] = index;
    document->headings =
        grown(document->headings, index, &self->heading_capacity, sizeof *document->headings);
    document->headings[document->heading_count++] =
        (ingest_heading){ .start = start, .end = end, .parent = parent, .level = level };
    return index;
}

static void
add_block(ingest_builder *self, size_t start, size_t end, ingest_block_kind kind, uint32_t level)
{
    ingest_document *const document = self->document;

    if (kind == INGEST_BLOCK_HEADING)
        self->nearest = add_heading(self, start, end, level);
    document->blocks = grown(document->blocks, document->block_count, &self->block_capacity,
        sizeof *document->blocks);
    document->blocks[document->block_count++] =
        (ingest_block){ .start = start, .end = end, .kind = kind, .heading = self->nearest };
}

/* A heading is one line. */
static void
join_lines(uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n')
            text[i] = ' ';
    }
}

void
ingest_builder_add(ingest_builder *builder, weir_bytes raw, ingest_block_kind kind, uint32_t level,
    bool keep_spaces)
{
    weir_assert(kind != INGEST_BLOCK_HEADING || (level >= 1 && level <= INGEST_HEADING_LEVELS));
    weir_buffer *const text = &builder->document->text;
    const size_t before = text->size;
    const size_t gap = separator(builder, kind);

    weir_buffer_append(text, "\n\n", gap);
    const size_t start = text->size;

    weir_text_normalize(raw, text);
    if (kind == INGEST_BLOCK_HEADING || kind == INGEST_BLOCK_ROW)
        join_lines(text->data + start, text->size - start);
    const size_t size = text->size == start ? 0
                                            : tidy(text->data + start, text->size - start, kind,
                                                  keep_spaces || kind == INGEST_BLOCK_CODE);

    text->size = size == 0 ? before : start + size;
    if (size > 0)
        add_block(builder, start, start + size, kind, level);
}

void
ingest_builder_set_title(ingest_builder *builder, weir_bytes raw)
{
    weir_buffer *const scratch = &builder->scratch;
    char *const title = builder->document->title;

    if (title[0] != '\0')
        return;
    weir_buffer_clear(scratch);
    weir_text_normalize(weir_bytes_of(raw.data,
                            raw.size < 4096 ? raw.size : weir_utf8_floor(raw, 4096)),
        scratch);
    if (scratch->size == 0)
        return;
    join_lines(scratch->data, scratch->size);
    scratch->size = tidy(scratch->data, scratch->size, INGEST_BLOCK_PARAGRAPH, false);
    const size_t size = weir_utf8_floor(weir_buffer_view(scratch), INGEST_TITLE_BYTES_MAX);

    memcpy(title, scratch->data, size);
    title[size] = '\0';
}
