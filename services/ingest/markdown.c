/*
 * markdown.c - text/markdown by md4c: CommonMark with tables, strikethrough and task lists.
 *
 * md4c calls back for each piece; the state here is how deep in lists and quotes the text stands
 * and what its block is.  Blocks of raw HTML go through the HTML parser, inline tags are left out.
 */
#include <md4c.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "services/ingest/entities.h"
#include "services/ingest/parsers.h"

enum {
    LIST_DEPTH_MAX = 32, /* deeper items get a dash, whatever their list says */
    FRONT_MATTER_BYTES_MAX = 64 << 10,
    CALLS_BETWEEN_LOOKS = 128,
    FLAGS = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS,
};

typedef struct markdown {
    ingest_builder *builder;
    weir_buffer pending;              /* text of the block that is being read */
    char item_mark[16];               /* written before the next text: "- ", "3. " */
    uint32_t numbers[LIST_DEPTH_MAX]; /* by list: the next item's number, 0 for a dash */
    uint32_t list_depth;
    uint32_t quote_depth;
    uint32_t heading_level; /* 0: not in a heading */
    bool is_row_begun;
    weir_error *error;
    weir_code code;
} markdown;

static ingest_block_kind
text_kind(const markdown *self)
{
    if (self->heading_level > 0)
        return INGEST_BLOCK_HEADING;
    if (self->list_depth > 0)
        return INGEST_BLOCK_ITEM;
    return self->quote_depth > 0 ? INGEST_BLOCK_QUOTE : INGEST_BLOCK_PARAGRAPH;
}

static void
finish(markdown *self, ingest_block_kind kind)
{
    const weir_bytes pending = weir_buffer_view(&self->pending);

    if (kind == INGEST_BLOCK_HEADING && self->heading_level == 1)
        ingest_builder_set_title(self->builder, pending);
    ingest_builder_add(self->builder, pending, kind, self->heading_level, false);
    weir_buffer_clear(&self->pending);
}

static void
append(markdown *self, const char *text, size_t size)
{
    if (self->item_mark[0] != '\0') {
        weir_buffer_append(&self->pending, self->item_mark, strlen(self->item_mark));
        self->item_mark[0] = '\0';
    }
    weir_buffer_append(&self->pending, text, size);
}

/* ---- lists ---- */

static void
enter_list(markdown *self, uint32_t first_number)
{
    finish(self, text_kind(self));
    if (self->list_depth < LIST_DEPTH_MAX)
        self->numbers[self->list_depth] = first_number;
    self->list_depth++;
}

static void
enter_item(markdown *self, const MD_BLOCK_LI_DETAIL *detail)
{
    const uint32_t list = self->list_depth - 1;
    const uint32_t number = list < LIST_DEPTH_MAX ? self->numbers[list] : 0;

    finish(self, INGEST_BLOCK_ITEM);
    if (number > 0) {
        (void)snprintf(self->item_mark, sizeof self->item_mark, "%u. ", number);
        self->numbers[list]++;
    } else {
        (void)snprintf(self->item_mark, sizeof self->item_mark, "%s",
            !detail->is_task               ? "- "
                : detail->task_mark == ' ' ? "- [ ] "
                                           : "- [x] ");
    }
}

static uint32_t
first_number(const MD_BLOCK_OL_DETAIL *detail)
{
    return detail->start == 0 ? 1 : detail->start;
}

/* ---- md4c's callbacks ---- */

static int
enter_block(MD_BLOCKTYPE type, void *detail, markdown *self)
{
    switch (type) {
    case MD_BLOCK_UL:
        enter_list(self, 0);
        break;
    case MD_BLOCK_OL:
        enter_list(self, first_number(detail));
        break;
    case MD_BLOCK_LI:
        enter_item(self, detail);
        break;
    case MD_BLOCK_QUOTE:
        finish(self, text_kind(self));
        self->quote_depth++;
        break;
    case MD_BLOCK_H:
        finish(self, text_kind(self));
        self->heading_level = ((const MD_BLOCK_H_DETAIL *)detail)->level;
        break;
    case MD_BLOCK_TR:
        self->is_row_begun = false;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        if (self->is_row_begun)
            append(self, "\t", 1);
        self->is_row_begun = true;
        break;
    case MD_BLOCK_P:
    case MD_BLOCK_CODE:
    case MD_BLOCK_HTML:
    case MD_BLOCK_TABLE:
        finish(self, text_kind(self));
        break;
    case MD_BLOCK_DOC:
    case MD_BLOCK_HR:
    case MD_BLOCK_THEAD:
    case MD_BLOCK_TBODY:
        break;
    }
    return 0;
}

static int
finish_html(markdown *self)
{
    self->code =
        ingest_parse_html_piece(weir_buffer_view(&self->pending), self->builder, self->error);
    weir_buffer_clear(&self->pending);
    return self->code == WEIR_OK ? 0 : 1;
}

static int
leave_block(MD_BLOCKTYPE type, void *detail, markdown *self)
{
    (void)detail;
    switch (type) {
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        self->list_depth--;
        break;
    case MD_BLOCK_QUOTE:
        finish(self, text_kind(self));
        self->quote_depth--;
        break;
    case MD_BLOCK_LI:
        finish(self, INGEST_BLOCK_ITEM);
        self->item_mark[0] = '\0'; /* of an item without text */
        break;
    case MD_BLOCK_H:
        finish(self, INGEST_BLOCK_HEADING);
        self->heading_level = 0;
        break;
    case MD_BLOCK_TR:
        finish(self, INGEST_BLOCK_ROW);
        break;
    case MD_BLOCK_CODE:
        finish(self, INGEST_BLOCK_CODE);
        break;
    case MD_BLOCK_HTML:
        return finish_html(self);
    case MD_BLOCK_P:
        finish(self, text_kind(self));
        break;
    case MD_BLOCK_DOC:
    case MD_BLOCK_HR:
    case MD_BLOCK_TABLE:
    case MD_BLOCK_THEAD:
    case MD_BLOCK_TBODY:
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        break;
    }
    return 0;
}

static bool
is_break_tag(const char *text, size_t size)
{
    return size >= 4 && text[0] == '<' && (text[1] | 0x20) == 'b' && (text[2] | 0x20) == 'r' &&
        (text[3] == '>' || text[3] == ' ' || text[3] == '/');
}

/* Raw HTML: whole in a block of it, and inline only its line breaks. */
static void
append_html(markdown *self, const char *text, size_t size, bool in_block)
{
    if (in_block)
        weir_buffer_append(&self->pending, text, size);
    else if (is_break_tag(text, size))
        append(self, "\n", 1);
}

typedef struct markdown_run {
    markdown state;
    bool in_html_block;
    int64_t begin_us;
    uint32_t calls;
} markdown_run;

/* md4c is linear but for a few things, such as a long link definition that is used a million times.
 * Non-zero ends the parse. */
static int
look_at_clock(markdown_run *run)
{
    if (++run->calls % CALLS_BETWEEN_LOOKS != 0 ||
        weir_clock_thread_cpu_us() - run->begin_us <= INGEST_PARSE_CPU_US_MAX)
        return 0;
    run->state.code = weir_error_set(run->state.error, WEIR_PARSE_FAILED,
        "the Markdown takes more than %d seconds to parse", INGEST_PARSE_CPU_US_MAX / 1000000);
    return 1;
}

static int
ignore_span(MD_SPANTYPE type, void *detail, void *context)
{
    (void)type, (void)detail;
    return look_at_clock(context);
}

static int
take_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE size, void *context)
{
    markdown_run *const run = context;
    markdown *const self = &run->state;

    switch (type) {
    case MD_TEXT_NORMAL:
    case MD_TEXT_CODE:
    case MD_TEXT_LATEXMATH:
        append(self, text, size);
        break;
    case MD_TEXT_NULLCHAR:
        break;
    case MD_TEXT_BR:
        append(self, "\n", 1);
        break;
    case MD_TEXT_SOFTBR:
        append(self, " ", 1);
        break;
    case MD_TEXT_ENTITY:
        append(self, "", 0);
        ingest_entity_append(weir_bytes_of(text, size), &self->pending);
        break;
    case MD_TEXT_HTML:
        append_html(self, text, size, run->in_html_block);
        break;
    }
    return look_at_clock(run);
}

static int
enter(MD_BLOCKTYPE type, void *detail, void *context)
{
    markdown_run *const run = context;

    run->in_html_block = type == MD_BLOCK_HTML;
    return look_at_clock(run) != 0 ? 1 : enter_block(type, detail, &run->state);
}

static int
leave(MD_BLOCKTYPE type, void *detail, void *context)
{
    markdown_run *const run = context;

    run->in_html_block = false;
    return leave_block(type, detail, &run->state);
}

/* ---- front matter ---- */

static bool
is_fence(const uint8_t *line, size_t size)
{
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\r'))
        size--;
    return size == 3 && (memcmp(line, "---", 3) == 0 || memcmp(line, "...", 3) == 0);
}

/* "title: A title" or "title: 'A title'". */
static void
take_title_line(weir_bytes line, ingest_builder *builder)
{
    static const char key[] = "title:";
    const uint8_t *at = line.data + sizeof key - 1;
    const uint8_t *end = line.data + line.size;

    if (line.size < sizeof key || memcmp(line.data, key, sizeof key - 1) != 0)
        return;
    while (at < end && *at == ' ')
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\r'))
        end--;
    if (end - at >= 2 && (*at == '"' || *at == '\'') && end[-1] == *at) {
        at++;
        end--;
    }
    ingest_builder_set_title(builder, weir_bytes_of(at, (size_t)(end - at)));
}

/* Skip a YAML front matter, which is no text, but for its title; returns what follows. */
static weir_bytes
skip_front_matter(weir_bytes text, ingest_builder *builder)
{
    const size_t looked = text.size < FRONT_MATTER_BYTES_MAX ? text.size : FRONT_MATTER_BYTES_MAX;
    bool is_first = true;
    size_t end = 0; /* of the front matter, its last fence included */

    for (size_t at = 0; at < looked && end == 0; is_first = false) {
        const uint8_t *const newline = memchr(text.data + at, '\n', looked - at);
        const size_t size = newline == NULL ? looked - at : (size_t)(newline - text.data) - at;

        if (is_first && (!is_fence(text.data + at, size) || text.data[0] != '-'))
            return text;
        if (!is_first && is_fence(text.data + at, size))
            end = at + size;
        at += size + 1;
    }
    if (end == 0)
        return text; /* a thematic break, not a front matter */
    for (size_t at = 0; at < end;) {
        const uint8_t *const newline = memchr(text.data + at, '\n', end - at);
        const size_t size = newline == NULL ? end - at : (size_t)(newline - text.data) - at;

        take_title_line(weir_bytes_of(text.data + at, size), builder);
        at += size + 1;
    }
    return weir_bytes_of(text.data + end, text.size - end);
}

weir_code
ingest_parse_markdown(weir_bytes text, ingest_builder *builder, weir_error *reterr)
{
    const weir_bytes body = skip_front_matter(text, builder);
    markdown_run run = { .state = { .builder = builder, .error = reterr },
        .begin_us = weir_clock_thread_cpu_us() };
    const MD_PARSER parser = { .flags = FLAGS,
        .enter_block = enter,
        .leave_block = leave,
        .enter_span = ignore_span,
        .leave_span = ignore_span,
        .text = take_text };
    weir_buffer source = { 0 };

    /* md4c runs over the end of its input with strcspn: it needs a NUL there, whatever size says.
     */
    weir_buffer_append(&source, body.data, body.size);
    weir_buffer_append_u8(&source, 0);
    const int result = md_parse((const MD_CHAR *)source.data, (MD_SIZE)body.size, &parser, &run);

    weir_buffer_fini(&source);
    weir_buffer_fini(&run.state.pending);
    if (run.state.code != WEIR_OK)
        return run.state.code;
    if (result != 0)
        return weir_error_set(reterr, WEIR_NO_MEMORY,
            "md4c: not enough memory for %zu bytes of Markdown", body.size);
    return WEIR_OK;
}
