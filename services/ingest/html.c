/*
 * html.c - text/html: the text that a reader would read.
 *
 * The tree is walked with a stack of our own, so depth costs no stack of the thread.  Block
 * elements end what is pending and begin anew; inline elements only add to it.  Three readings, the
 * first with any text counts: what is in <main> without navigation; the body without navigation;
 * the body with everything in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "services/ingest/html_tree.h"
#include "services/ingest/parsers.h"

typedef enum role {
    INLINE = 0,
    BLOCK,     /* stands on lines of its own; inside a cell, only apart by a space */
    STRUCTURE, /* a block that a row of a table cannot hold: the table is there for layout */
    CELL,
    INVISIBLE /* never text */
} role;

static const uint8_t roles[GUMBO_TAG_LAST + 1] = {
    [GUMBO_TAG_ADDRESS] = BLOCK,
    [GUMBO_TAG_ARTICLE] = BLOCK,
    [GUMBO_TAG_ASIDE] = BLOCK,
    [GUMBO_TAG_BODY] = BLOCK,
    [GUMBO_TAG_CAPTION] = BLOCK,
    [GUMBO_TAG_CENTER] = BLOCK,
    [GUMBO_TAG_DETAILS] = BLOCK,
    [GUMBO_TAG_DIALOG] = BLOCK,
    [GUMBO_TAG_DIV] = BLOCK,
    [GUMBO_TAG_FIELDSET] = BLOCK,
    [GUMBO_TAG_FIGCAPTION] = BLOCK,
    [GUMBO_TAG_FIGURE] = BLOCK,
    [GUMBO_TAG_FOOTER] = BLOCK,
    [GUMBO_TAG_FORM] = BLOCK,
    [GUMBO_TAG_HEADER] = BLOCK,
    [GUMBO_TAG_HGROUP] = BLOCK,
    [GUMBO_TAG_HTML] = BLOCK,
    [GUMBO_TAG_LEGEND] = BLOCK,
    [GUMBO_TAG_MAIN] = BLOCK,
    [GUMBO_TAG_NAV] = BLOCK,
    [GUMBO_TAG_P] = BLOCK,
    [GUMBO_TAG_SEARCH] = BLOCK,
    [GUMBO_TAG_SECTION] = BLOCK,
    [GUMBO_TAG_SUMMARY] = BLOCK,
    [GUMBO_TAG_NOSCRIPT] = BLOCK,
    [GUMBO_TAG_TBODY] = BLOCK,
    [GUMBO_TAG_THEAD] = BLOCK,
    [GUMBO_TAG_TFOOT] = BLOCK,
    [GUMBO_TAG_BLOCKQUOTE] = STRUCTURE,
    [GUMBO_TAG_DD] = STRUCTURE,
    [GUMBO_TAG_DIR] = STRUCTURE,
    [GUMBO_TAG_DL] = STRUCTURE,
    [GUMBO_TAG_DT] = STRUCTURE,
    [GUMBO_TAG_H1] = STRUCTURE,
    [GUMBO_TAG_H2] = STRUCTURE,
    [GUMBO_TAG_H3] = STRUCTURE,
    [GUMBO_TAG_H4] = STRUCTURE,
    [GUMBO_TAG_H5] = STRUCTURE,
    [GUMBO_TAG_H6] = STRUCTURE,
    [GUMBO_TAG_HR] = STRUCTURE,
    [GUMBO_TAG_LI] = STRUCTURE,
    [GUMBO_TAG_LISTING] = STRUCTURE,
    [GUMBO_TAG_MENU] = STRUCTURE,
    [GUMBO_TAG_OL] = STRUCTURE,
    [GUMBO_TAG_PLAINTEXT] = STRUCTURE,
    [GUMBO_TAG_PRE] = STRUCTURE,
    [GUMBO_TAG_TABLE] = STRUCTURE,
    [GUMBO_TAG_TR] = STRUCTURE,
    [GUMBO_TAG_UL] = STRUCTURE,
    [GUMBO_TAG_XMP] = STRUCTURE,
    [GUMBO_TAG_TD] = CELL,
    [GUMBO_TAG_TH] = CELL,
    [GUMBO_TAG_AUDIO] = INVISIBLE,
    [GUMBO_TAG_BUTTON] = INVISIBLE,
    [GUMBO_TAG_CANVAS] = INVISIBLE,
    [GUMBO_TAG_DATALIST] = INVISIBLE,
    [GUMBO_TAG_EMBED] = INVISIBLE,
    [GUMBO_TAG_HEAD] = INVISIBLE,
    [GUMBO_TAG_IFRAME] = INVISIBLE,
    [GUMBO_TAG_INPUT] = INVISIBLE,
    [GUMBO_TAG_MAP] = INVISIBLE,
    [GUMBO_TAG_METER] = INVISIBLE,
    [GUMBO_TAG_NOEMBED] = INVISIBLE,
    [GUMBO_TAG_OBJECT] = INVISIBLE,
    [GUMBO_TAG_PROGRESS] = INVISIBLE,
    [GUMBO_TAG_RP] = INVISIBLE,
    [GUMBO_TAG_SCRIPT] = INVISIBLE,
    [GUMBO_TAG_SELECT] = INVISIBLE,
    [GUMBO_TAG_STYLE] = INVISIBLE,
    [GUMBO_TAG_SVG] = INVISIBLE,
    [GUMBO_TAG_TEMPLATE] = INVISIBLE,
    [GUMBO_TAG_TEXTAREA] = INVISIBLE,
    [GUMBO_TAG_TITLE] = INVISIBLE,
    [GUMBO_TAG_VIDEO] = INVISIBLE,
    [GUMBO_TAG_ANNOTATION_XML] = INVISIBLE,
};

/* What surrounds a piece of text; each element changes a copy of its parent's. */
typedef struct surroundings {
    uint8_t heading_level; /* 0: not in a heading */
    bool is_pre;
    bool is_item;
    bool is_quote;
} surroundings;

typedef struct frame {
    const GumboNode *node;
    unsigned int next_child;
    surroundings around;  /* of the element's content */
    uint32_t item_number; /* of an OL: of its next item */
} frame;

typedef struct walker {
    ingest_builder *builder;
    weir_buffer pending;
    bool is_space_due;
    char item_mark[16];
    bool is_lenient;  /* navigation counts too */
    bool is_row_open; /* the row of a table is being read */
    frame *stack;
    uint32_t depth;
} walker;

/* ---- attributes ---- */

static const char *
attribute(const GumboElement *element, const char *name)
{
    const GumboAttribute *const found = gumbo_get_attribute(&element->attributes, name);

    return found == NULL ? NULL : found->value;
}

static bool
has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);

    while (words != NULL && *words != '\0') {
        const size_t size = strcspn(words, " \t\n\r\f");

        if (size == length && strncasecmp(words, word, size) == 0)
            return true;
        words += size;
        words += strspn(words, " \t\n\r\f");
    }
    return false;
}

static bool
has_any_word(const char *words, const char *const *list)
{
    for (size_t i = 0; words != NULL && list[i] != NULL; i++) {
        if (has_word(words, list[i]))
            return true;
    }
    return false;
}

/* Parts of a page that are not its text: by the standard's elements and roles, and by the class
 * names that the documentation generators Sphinx and DocBook use. */
static bool
is_boilerplate(const GumboElement *element)
{
    static const char *const asides[] = { "navigation", "search", "contentinfo", NULL };
    static const char *const classes[] = { "headerlink", "anchor-link", "navheader", "navfooter",
        "sphinxsidebar", "toc", "breadcrumb", "breadcrumbs", NULL };

    return element->tag == GUMBO_TAG_NAV || element->tag == GUMBO_TAG_FOOTER ||
        element->tag == GUMBO_TAG_SEARCH || element->tag == GUMBO_TAG_NOSCRIPT ||
        has_any_word(attribute(element, "role"), asides) ||
        has_any_word(attribute(element, "class"), classes) ||
        attribute(element, "hidden") != NULL || has_word(attribute(element, "aria-hidden"), "true");
}

/* ---- text ---- */

static ingest_block_kind
kind_of(const walker *self, surroundings around)
{
    if (around.heading_level > 0)
        return INGEST_BLOCK_HEADING;
    if (self->is_row_open)
        return INGEST_BLOCK_ROW;
    if (around.is_pre)
        return INGEST_BLOCK_CODE;
    if (around.is_item)
        return INGEST_BLOCK_ITEM;
    return around.is_quote ? INGEST_BLOCK_QUOTE : INGEST_BLOCK_PARAGRAPH;
}

static void
finish(walker *self, surroundings around)
{
    const weir_bytes pending = weir_buffer_view(&self->pending);

    if (around.heading_level == 1)
        ingest_builder_set_title(self->builder, pending);
    ingest_builder_add(self->builder, pending, kind_of(self, around), around.heading_level,
        around.is_pre);
    weir_buffer_clear(&self->pending);
    self->is_space_due = false;
}

static void
append(walker *self, const char *text, size_t size)
{
    if (self->item_mark[0] != '\0')
        weir_buffer_append(&self->pending, self->item_mark, strlen(self->item_mark));
    else if (self->is_space_due && self->pending.size > 0)
        weir_buffer_append_u8(&self->pending, ' ');
    self->item_mark[0] = '\0';
    self->is_space_due = false;
    weir_buffer_append(&self->pending, text, size);
}

/* Text where spaces count as one: word by word. */
static void
append_collapsed(walker *self, const char *text)
{
    static const char spaces[] = " \t\n\r\f";

    while (*text != '\0') {
        const size_t gap = strspn(text, spaces);
        const size_t word = strcspn(text + gap, spaces);

        self->is_space_due = self->is_space_due || gap > 0;
        if (word > 0)
            append(self, text + gap, word);
        text += gap + word;
    }
}

static void
take_text(walker *self, const GumboText *text, surroundings around)
{
    if (around.is_pre && *text->text != '\0')
        append(self, text->text, strlen(text->text));
    else
        append_collapsed(self, text->text);
}

/* A line break or a TAB: it stands for the space that may be due. */
static void
append_separator(walker *self, char separator)
{
    self->is_space_due = false;
    if (self->pending.size > 0)
        weir_buffer_append_u8(&self->pending, (uint8_t)separator);
}

/* ---- elements ---- */

static void
mark_item(walker *self, frame *list)
{
    if (list->node->type == GUMBO_NODE_ELEMENT && list->node->v.element.tag == GUMBO_TAG_OL)
        (void)snprintf(self->item_mark, sizeof self->item_mark, "%u. ", list->item_number++);
    else
        (void)snprintf(self->item_mark, sizeof self->item_mark, "- ");
}

/* The number that a list's first item has. */
static uint32_t
first_number(const GumboElement *element)
{
    const char *const start = element->tag == GUMBO_TAG_OL ? attribute(element, "start") : NULL;
    const long number = start == NULL ? 1 : strtol(start, NULL, 10);

    return number >= 0 && number < 1000000000 ? (uint32_t)number : 1;
}

static surroundings
content_of(GumboTag tag, surroundings around)
{
    if (tag >= GUMBO_TAG_H1 && tag <= GUMBO_TAG_H6)
        around.heading_level = (uint8_t)(1 + tag - GUMBO_TAG_H1);
    if (tag == GUMBO_TAG_PRE || tag == GUMBO_TAG_LISTING || tag == GUMBO_TAG_XMP ||
        tag == GUMBO_TAG_PLAINTEXT)
        around.is_pre = true;
    if (tag == GUMBO_TAG_LI || tag == GUMBO_TAG_DT || tag == GUMBO_TAG_DD)
        around.is_item = true;
    if (tag == GUMBO_TAG_BLOCKQUOTE)
        around.is_quote = true;
    return around;
}

/* End what is pending, as an element of this role demands. */
static void
set_apart(walker *self, role found, surroundings around)
{
    if (!self->is_row_open || around.heading_level > 0) {
        finish(self, around);
        return;
    }
    if (found == STRUCTURE) {
        finish(self, around);
        self->is_row_open = false;
    } else if (found == CELL) {
        append_separator(self, '\t');
    } else {
        self->is_space_due = true;
    }
}

static void
take_inline(walker *self, const GumboElement *element)
{
    if (element->tag == GUMBO_TAG_BR)
        append_separator(self, '\n');
    if (element->tag == GUMBO_TAG_IMG && attribute(element, "alt") != NULL)
        append_collapsed(self, attribute(element, "alt"));
}

/* Begin an element; false: its content is not for readers. */
static bool
enter_element(walker *self, const GumboNode *node, frame *parent, frame *new_frame)
{
    const GumboElement *const element = &node->v.element;
    const role found = (role)roles[element->tag];

    if (found == INVISIBLE || (!self->is_lenient && is_boilerplate(element)))
        return false;
    if (found == INLINE) {
        take_inline(self, element);
        return true;
    }
    set_apart(self, found, parent->around);
    new_frame->around = content_of(element->tag, parent->around);
    new_frame->item_number = first_number(element);
    if (element->tag == GUMBO_TAG_LI)
        mark_item(self, parent);
    if (element->tag == GUMBO_TAG_TR)
        self->is_row_open = true;
    return true;
}

static void
leave_element(walker *self, const frame *left)
{
    const GumboTag tag = left->node->v.element.tag;
    const role found = (role)roles[tag];

    if (found == INLINE)
        return;
    if (tag == GUMBO_TAG_TR || !self->is_row_open || left->around.heading_level > 0)
        finish(self, left->around);
    else
        self->is_space_due = true;
    if (tag == GUMBO_TAG_LI)
        self->item_mark[0] = '\0'; /* of an item without text */
    if (tag == GUMBO_TAG_TR)
        self->is_row_open = false; /* so it was: a table takes apart the row that it stands in */
}

/* ---- the walk ---- */

static const GumboVector *
children_of(const GumboNode *node)
{
    return node->type == GUMBO_NODE_DOCUMENT ? &node->v.document.children
                                             : &node->v.element.children;
}

static weir_code
push(walker *self, const frame *pushed, weir_error *reterr)
{
    if (self->depth == INGEST_DEPTH_MAX)
        return weir_error_set(reterr, WEIR_PARSE_FAILED, "HTML elements are nested deeper than %d",
            INGEST_DEPTH_MAX);
    self->stack[self->depth++] = *pushed;
    return WEIR_OK;
}

static weir_code
visit(walker *self, const GumboNode *node, weir_error *reterr)
{
    frame *const parent = &self->stack[self->depth - 1];
    frame child = { .node = node, .around = parent->around };

    switch (node->type) {
    case GUMBO_NODE_TEXT:
    case GUMBO_NODE_CDATA:
    case GUMBO_NODE_WHITESPACE:
        take_text(self, &node->v.text, parent->around);
        return WEIR_OK;
    case GUMBO_NODE_ELEMENT:
        return enter_element(self, node, parent, &child) ? push(self, &child, reterr) : WEIR_OK;
    case GUMBO_NODE_DOCUMENT:
    case GUMBO_NODE_COMMENT:
    case GUMBO_NODE_TEMPLATE:
        return WEIR_OK;
    }
    return WEIR_OK;
}

/* Everything below `top`, in document order. */
static weir_code
walk(walker *self, const GumboNode *top, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    self->depth = 0;
    self->stack[self->depth++] = (frame){ .node = top };
    while (code == WEIR_OK && self->depth > 0) {
        frame *const here = &self->stack[self->depth - 1];
        const GumboVector *const children = children_of(here->node);

        if (here->next_child < children->length) {
            code = visit(self, children->data[here->next_child++], reterr);
            continue;
        }
        if (self->depth > 1)
            leave_element(self, here);
        self->depth--;
    }
    finish(self, (surroundings){ 0 });
    return code;
}

/* ---- finding things ---- */

static bool
is_main(const GumboNode *node)
{
    return node->type == GUMBO_NODE_ELEMENT &&
        (node->v.element.tag == GUMBO_TAG_MAIN ||
            has_word(attribute(&node->v.element, "role"), "main"));
}

/* The first element for which `wanted` is true, or NULL.  Elements that are too deep are not looked
 * at. */
static const GumboNode *
find_element(walker *self, const GumboNode *top, bool (*wanted)(const GumboNode *))
{
    self->depth = 0;
    self->stack[self->depth++] = (frame){ .node = top };
    while (self->depth > 0) {
        frame *const here = &self->stack[self->depth - 1];
        const GumboVector *const children = children_of(here->node);

        if (here->next_child == children->length) {
            self->depth--;
            continue;
        }
        const GumboNode *const child = children->data[here->next_child++];

        if (wanted(child))
            return child;
        if (child->type == GUMBO_NODE_ELEMENT && self->depth < INGEST_DEPTH_MAX)
            self->stack[self->depth++] = (frame){ .node = child };
    }
    return NULL;
}

static bool
is_title(const GumboNode *node)
{
    return node->type == GUMBO_NODE_ELEMENT && node->v.element.tag == GUMBO_TAG_TITLE &&
        node->v.element.tag_namespace == GUMBO_NAMESPACE_HTML;
}

static void
take_title(walker *self, const GumboNode *root)
{
    const GumboNode *const title = find_element(self, root, is_title);
    const GumboNode *const text = title == NULL || title->v.element.children.length == 0
        ? NULL
        : title->v.element.children.data[0];

    if (text != NULL && text->type == GUMBO_NODE_TEXT)
        ingest_builder_set_title(self->builder, weir_bytes_str(text->v.text.text));
}

static weir_code
read_document(walker *self, const GumboNode *root, weir_error *reterr)
{
    const GumboNode *const main_part = find_element(self, root, is_main);
    weir_code code = main_part == NULL ? WEIR_OK : walk(self, main_part, reterr);

    if (code == WEIR_OK && ingest_builder_is_empty(self->builder))
        code = walk(self, root, reterr);
    self->is_lenient = true;
    if (code == WEIR_OK && ingest_builder_is_empty(self->builder))
        code = walk(self, root, reterr);
    return code;
}

static walker
make_walker(ingest_builder *builder)
{
    return (walker){ .builder = builder, .stack = weir_alloc(INGEST_DEPTH_MAX * sizeof(frame)) };
}

static void
free_walker(walker *self)
{
    weir_free(self->stack);
    weir_buffer_fini(&self->pending);
}

weir_code
ingest_parse_html(weir_bytes text, ingest_builder *builder, weir_error *reterr)
{
    ingest_html_tree tree;
    weir_code code = ingest_html_tree_parse(text, false, &tree, reterr);

    if (code != WEIR_OK)
        return code;
    walker self = make_walker(builder);

    take_title(&self, tree.root);
    code = read_document(&self, tree.root, reterr);
    free_walker(&self);
    ingest_html_tree_fini(&tree);
    return code;
}

weir_code
ingest_parse_html_piece(weir_bytes text, ingest_builder *builder, weir_error *reterr)
{
    ingest_html_tree tree;
    weir_code code = ingest_html_tree_parse(text, true, &tree, reterr);

    if (code != WEIR_OK)
        return code;
    walker self = make_walker(builder);

    self.is_lenient = true;
    code = walk(&self, tree.root, reterr);
    free_walker(&self);
    ingest_html_tree_fini(&tree);
    return code;
}
