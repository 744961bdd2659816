/*
 * html_tree.c - gumbo on a leash.
 *
 * gumbo follows the standard: it never refuses a document, and on a hostile one it takes memory and
 * time without bound (each tag may look through all open elements; each paragraph may repeat all
 * open fonts). Three bounds hold it: a look at the tags beforehand refuses absurd nesting; its
 * memory comes from an arena with a cap; and its clock is looked at now and then.  gumbo cannot
 * report either, so the allocator leaves it by longjmp, and nothing is lost by that: all it ever
 * allocated is in the arena.
 */
#include "services/ingest/html_tree.h"

#include <setjmp.h>
#include <strings.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "services/ingest/parsers.h"

enum {
    OPEN_TAGS_MAX = 4096,
    MEMORY_BYTES_MAX = 512 << 20,
    ALLOCATIONS_BETWEEN_LOOKS = 1024,
    GRAIN = 16, /* sizes up to SMALL_MAX have a free list for each multiple of it */
    SMALL_MAX = 1024,
    LARGE_CLASSES = 40, /* above: one for each power of two */
    SMALL_CLASSES = SMALL_MAX / GRAIN + 1,
};

/* ---- the look beforehand ---- */

typedef enum tag_habit {
    NESTS = 0,
    NEVER_NESTS, /* has no content, or is closed by its next sibling */
    HOLDS_RAW_TEXT
} tag_habit;

static const uint8_t tag_habits[GUMBO_TAG_LAST + 1] = {
    [GUMBO_TAG_AREA] = NEVER_NESTS,
    [GUMBO_TAG_BASE] = NEVER_NESTS,
    [GUMBO_TAG_BR] = NEVER_NESTS,
    [GUMBO_TAG_COL] = NEVER_NESTS,
    [GUMBO_TAG_EMBED] = NEVER_NESTS,
    [GUMBO_TAG_HR] = NEVER_NESTS,
    [GUMBO_TAG_IMG] = NEVER_NESTS,
    [GUMBO_TAG_IMAGE] = NEVER_NESTS,
    [GUMBO_TAG_INPUT] = NEVER_NESTS,
    [GUMBO_TAG_LINK] = NEVER_NESTS,
    [GUMBO_TAG_META] = NEVER_NESTS,
    [GUMBO_TAG_PARAM] = NEVER_NESTS,
    [GUMBO_TAG_SOURCE] = NEVER_NESTS,
    [GUMBO_TAG_TRACK] = NEVER_NESTS,
    [GUMBO_TAG_WBR] = NEVER_NESTS,
    [GUMBO_TAG_KEYGEN] = NEVER_NESTS,
    [GUMBO_TAG_BGSOUND] = NEVER_NESTS,
    [GUMBO_TAG_BASEFONT] = NEVER_NESTS,
    [GUMBO_TAG_FRAME] = NEVER_NESTS,
    [GUMBO_TAG_P] = NEVER_NESTS,
    [GUMBO_TAG_LI] = NEVER_NESTS,
    [GUMBO_TAG_DT] = NEVER_NESTS,
    [GUMBO_TAG_DD] = NEVER_NESTS,
    [GUMBO_TAG_TR] = NEVER_NESTS,
    [GUMBO_TAG_TD] = NEVER_NESTS,
    [GUMBO_TAG_TH] = NEVER_NESTS,
    [GUMBO_TAG_THEAD] = NEVER_NESTS,
    [GUMBO_TAG_TBODY] = NEVER_NESTS,
    [GUMBO_TAG_TFOOT] = NEVER_NESTS,
    [GUMBO_TAG_OPTION] = NEVER_NESTS,
    [GUMBO_TAG_OPTGROUP] = NEVER_NESTS,
    [GUMBO_TAG_COLGROUP] = NEVER_NESTS,
    [GUMBO_TAG_CAPTION] = NEVER_NESTS,
    [GUMBO_TAG_RT] = NEVER_NESTS,
    [GUMBO_TAG_RP] = NEVER_NESTS,
    [GUMBO_TAG_RB] = NEVER_NESTS,
    [GUMBO_TAG_RTC] = NEVER_NESTS,
    [GUMBO_TAG_A] = NEVER_NESTS,
    [GUMBO_TAG_NOBR] = NEVER_NESTS,
    [GUMBO_TAG_HTML] = NEVER_NESTS,
    [GUMBO_TAG_HEAD] = NEVER_NESTS,
    [GUMBO_TAG_BODY] = NEVER_NESTS,
    [GUMBO_TAG_SCRIPT] = HOLDS_RAW_TEXT,
    [GUMBO_TAG_STYLE] = HOLDS_RAW_TEXT,
    [GUMBO_TAG_TEXTAREA] = HOLDS_RAW_TEXT,
    [GUMBO_TAG_TITLE] = HOLDS_RAW_TEXT,
    [GUMBO_TAG_XMP] = HOLDS_RAW_TEXT,
};

typedef struct tag_scan {
    const char *at;
    const char *end;
    uint32_t open[GUMBO_TAG_LAST + 1]; /* by tag: begun and not ended */
    uint32_t open_count;
} tag_scan;

static bool
is_letter(char byte)
{
    return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
}

static size_t
name_length(const char *at, const char *end)
{
    size_t length = 0;

    while (at + length < end &&
        (is_letter(at[length]) || (at[length] >= '0' && at[length] <= '9') || at[length] == '-'))
        length++;
    return length;
}

/* Move behind `text` where it next stands, or to the end. */
static void
skip_past(tag_scan *self, const char *text)
{
    const char *const found = memmem(self->at, (size_t)(self->end - self->at), text, strlen(text));

    self->at = found == NULL ? self->end : found + strlen(text);
}

/* Move to the end tag of an element whose content is no markup. */
static void
skip_raw_text(tag_scan *self, const char *name, size_t length)
{
    while (self->at < self->end) {
        const char *const found = memmem(self->at, (size_t)(self->end - self->at), "</", 2);

        if (found == NULL)
            break;
        self->at = found + 2;
        if ((size_t)(self->end - self->at) >= length && strncasecmp(self->at, name, length) == 0)
            return;
    }
    self->at = self->end;
}

static void
note_start_tag(tag_scan *self)
{
    const char *const name = self->at;
    const size_t length = name_length(name, self->end);
    const GumboTag tag = gumbo_tagn_enum(name, (unsigned int)length);

    self->at += length;
    if (tag_habits[tag] == HOLDS_RAW_TEXT) {
        skip_raw_text(self, name, length);
    } else if (tag_habits[tag] == NESTS) {
        self->open[tag]++;
        self->open_count++;
    }
}

static void
note_end_tag(tag_scan *self)
{
    const size_t length = name_length(self->at, self->end);
    const GumboTag tag = gumbo_tagn_enum(self->at, (unsigned int)length);

    self->at += length;
    if (self->open[tag] > 0) {
        self->open[tag]--;
        self->open_count--;
    }
}

/* No more than OPEN_TAGS_MAX elements are ever open at once, as far as a look at the tags can tell.
 */
static bool
is_reasonably_nested(weir_bytes text)
{
    tag_scan self = { .at = (const char *)text.data, .end = (const char *)text.data + text.size };

    while (self.at < self.end && self.open_count <= OPEN_TAGS_MAX) {
        const char *const found = memchr(self.at, '<', (size_t)(self.end - self.at));

        if (found == NULL)
            break;
        self.at = found + 1;
        if (self.end - self.at >= 3 && memcmp(self.at, "!--", 3) == 0) {
            skip_past(&self, "-->");
        } else if (self.at < self.end && is_letter(*self.at)) {
            note_start_tag(&self);
        } else if (self.end - self.at >= 2 && self.at[0] == '/' && is_letter(self.at[1])) {
            self.at++;
            note_end_tag(&self);
        }
    }
    return self.open_count <= OPEN_TAGS_MAX;
}

/* ---- memory ---- */

typedef enum escape { OUT_OF_MEMORY = 1, OUT_OF_TIME } escape;

typedef union block {
    union block *next; /* while it is free */
    size_t class;      /* while it is used */
    _Alignas(GRAIN) uint8_t alignment[GRAIN];
} block;

typedef struct leash {
    weir_arena *arena;
    jmp_buf out;
    int64_t begin_us;
    uint64_t allocations;
    block *freed[SMALL_CLASSES + LARGE_CLASSES];
} leash;

static size_t
class_of(size_t size)
{
    if (size <= SMALL_MAX)
        return (size + GRAIN - 1) / GRAIN;
    const size_t bits =
        (size_t)(64 - __builtin_clzll((unsigned long long)size - 1)); /* 11 and more */

    return SMALL_CLASSES + bits - 11;
}

static size_t
size_of_class(size_t class)
{
    return class < SMALL_CLASSES ? class * GRAIN : (size_t)1 << (class - SMALL_CLASSES + 11);
}

static void *
allocate(void *context, size_t size)
{
    leash *const self = context;
    const size_t class = class_of(size);
    block *found = size > MEMORY_BYTES_MAX ? NULL : self->freed[class];

    if (++self->allocations % ALLOCATIONS_BETWEEN_LOOKS == 0 &&
        weir_clock_thread_cpu_us() - self->begin_us > INGEST_PARSE_CPU_US_MAX)
        longjmp(self->out, OUT_OF_TIME);
    if (found != NULL)
        self->freed[class] = found->next;
    else if (size <= MEMORY_BYTES_MAX)
        found = weir_arena_alloc(self->arena, sizeof *found + size_of_class(class));
    if (found == NULL)
        longjmp(self->out, OUT_OF_MEMORY);
    found->class = class;
    return found + 1;
}

static void
release(void *context, void *memory)
{
    leash *const self = context;
    block *const freed = memory == NULL ? NULL : (block *)memory - 1;

    if (freed == NULL)
        return;
    const size_t class = freed->class;

    weir_assert(class < SMALL_CLASSES + LARGE_CLASSES);
    freed->next = self->freed[class];
    self->freed[class] = freed;
}

/* ---- parsing ---- */

static escape
parse_on_leash(leash *self, weir_bytes text, bool is_piece, const GumboNode **ret_root)
{
    GumboOptions options = kGumboDefaultOptions;
    const int escaped = setjmp(self->out);

    if (escaped != 0)
        return (escape)escaped;
    options.allocator = allocate;
    options.deallocator = release;
    options.userdata = self;
    options.max_errors = 0;
    if (is_piece)
        options.fragment_context = GUMBO_TAG_BODY;
    *ret_root = gumbo_parse_with_options(&options, (const char *)text.data, text.size)->root;
    return (escape)0;
}

weir_code
ingest_html_tree_parse(weir_bytes text, bool is_piece, ingest_html_tree *ret_tree,
    weir_error *reterr)
{
    if (!is_reasonably_nested(text))
        return weir_error_set(reterr, WEIR_PARSE_FAILED,
            "more than %d HTML elements are open at once: the document is broken or hostile",
            OPEN_TAGS_MAX);
    leash *self = weir_alloc_zero(1, sizeof *self);

    self->arena = weir_arena_create(MEMORY_BYTES_MAX);
    self->begin_us = weir_clock_thread_cpu_us();
    *ret_tree = (ingest_html_tree){ .arena = self->arena };
    const escape escaped = parse_on_leash(self, text, is_piece, &ret_tree->root);

    weir_free(self);
    if (escaped == 0)
        return WEIR_OK;
    ingest_html_tree_fini(ret_tree);
    if (escaped == OUT_OF_TIME)
        return weir_error_set(reterr, WEIR_PARSE_FAILED,
            "%zu bytes of HTML take more than %d seconds to parse", text.size,
            INGEST_PARSE_CPU_US_MAX / 1000000);
    return weir_error_set(reterr, WEIR_PARSE_FAILED,
        "the tree of %zu bytes of HTML does not fit %d MiB", text.size, MEMORY_BYTES_MAX >> 20);
}

void
ingest_html_tree_fini(ingest_html_tree *tree)
{
    weir_arena_destroy(&tree->arena);
    tree->root = NULL;
}
