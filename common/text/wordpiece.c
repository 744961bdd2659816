/*
 * wordpiece.c - greedy longest-match-first over a trie of code points.
 *
 * The trie's edges are one hash table from (node, code point) to node, so a word costs one probe
 * per character and matched piece, whatever the vocabulary holds.  Two roots: pieces that begin a
 * word, and pieces ("##...") that continue one.
 */
#include "common/text/wordpiece.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/text/bert_chars.h"
#include "common/text/unicode.h"

enum {
    WORD_CODES_MAX = 100, /* the reference gives a longer word up as one [UNK] */
    VOCABULARY_BYTES_MAX = 16 << 20,
    VOCABULARY_PIECES_MAX = 1 << 20,
    ROOT_BEGIN = 0,
    ROOT_CONTINUE = 1,
    NONE = 0xFFFFFFFF,
    CODE_BITS = 21,
};

typedef enum special { PAD, UNK, CLS, SEP, MASK, SPECIAL_COUNT } special;

static const char *const special_text[SPECIAL_COUNT] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]",
    "[MASK]" };

typedef struct edge {
    uint64_t key; /* node and code point, plus one; 0: free */
    uint32_t child;
} edge;

struct weir_wordpiece {
    edge *edges;
    size_t edge_mask;
    size_t edge_count;
    uint32_t *piece_of; /* by node: the id of the piece that ends there, or NONE */
    uint32_t node_count;
    uint32_t node_capacity;
    uint32_t size;
    uint32_t special_id[SPECIAL_COUNT];
};

/* A word on its way through the normaliser. */
typedef struct word {
    size_t start;
    size_t end;
    uint32_t special_id; /* a special token written out in the text, or NONE */
    uint32_t count;      /* of codes; WORD_CODES_MAX + 1: too long */
    uint32_t codes[WORD_CODES_MAX + 1];
    size_t starts[WORD_CODES_MAX + 1]; /* by code: where its character begins and ends */
    size_t ends[WORD_CODES_MAX + 1];
} word;

/* ---- the trie ---- */

static size_t
edge_slot(const weir_wordpiece *self, uint64_t key)
{
    size_t slot = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & self->edge_mask;

    while (self->edges[slot].key != 0 && self->edges[slot].key != key)
        slot = (slot + 1) & self->edge_mask;
    return slot;
}

static uint64_t
edge_key(uint32_t node, uint32_t code)
{
    return ((uint64_t)node << CODE_BITS | code) + 1;
}

static uint32_t
child_of(const weir_wordpiece *self, uint32_t node, uint32_t code)
{
    const edge *const found = &self->edges[edge_slot(self, edge_key(node, code))];

    return found->key == 0 ? NONE : found->child;
}

static void
grow_edges(weir_wordpiece *self)
{
    edge *const old = self->edges;
    const size_t old_count = old == NULL ? 0 : self->edge_mask + 1;
    const size_t count = old == NULL ? 1024 : old_count * 2;

    self->edges = weir_alloc_zero(count, sizeof *self->edges);
    self->edge_mask = count - 1;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].key != 0)
            self->edges[edge_slot(self, old[i].key)] = old[i];
    }
    weir_free(old);
}

static uint32_t
add_node(weir_wordpiece *self)
{
    if (self->node_count == self->node_capacity) {
        self->node_capacity = self->node_capacity == 0 ? 1024 : self->node_capacity * 2;
        self->piece_of = weir_realloc(self->piece_of, self->node_capacity * sizeof *self->piece_of);
    }
    self->piece_of[self->node_count] = NONE;
    return self->node_count++;
}

static uint32_t
child_or_new(weir_wordpiece *self, uint32_t node, uint32_t code)
{
    if (self->edges == NULL || self->edge_count * 2 > self->edge_mask)
        grow_edges(self);
    edge *const found = &self->edges[edge_slot(self, edge_key(node, code))];

    if (found->key != 0)
        return found->child;
    found->key = edge_key(node, code);
    self->edge_count++;
    return found->child = add_node(self); /* the nodes move, the edges do not */
}

static void
add_piece(weir_wordpiece *self, weir_bytes piece, uint32_t id)
{
    const bool continues = piece.size > 2 && piece.data[0] == '#' && piece.data[1] == '#';
    uint32_t node = continues ? ROOT_CONTINUE : ROOT_BEGIN;
    size_t at = continues ? 2 : 0;

    while (at < piece.size) {
        size_t size = 0;
        const uint32_t code = weir_utf8_decode(piece.data + at, piece.size - at, &size);

        node = child_or_new(self, node, code);
        at += size;
    }
    self->piece_of[node] = id;
}

/* ---- loading ---- */

static weir_bytes
next_line(weir_bytes *rest)
{
    const uint8_t *const newline = memchr(rest->data, '\n', rest->size);
    const size_t length = newline == NULL ? rest->size : (size_t)(newline - rest->data);
    const size_t taken = newline == NULL ? length : length + 1;
    weir_bytes line = weir_bytes_of(rest->data, length);

    *rest = weir_bytes_of(rest->data + taken, rest->size - taken);
    while (line.size > 0 && (line.data[line.size - 1] == '\r' || line.data[line.size - 1] == ' '))
        line.size--;
    return line;
}

static void
note_special(weir_wordpiece *self, weir_bytes piece, uint32_t id)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (weir_bytes_equal(piece, weir_bytes_str(special_text[i])))
            self->special_id[i] = id;
    }
}

static weir_code
check_specials(const weir_wordpiece *self, weir_error *reterr)
{
    for (int i = 0; i < MASK; i++) {
        if (self->special_id[i] == NONE)
            return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
                "the vocabulary of %u pieces has no %s: it is not that of a BERT model", self->size,
                special_text[i]);
    }
    return WEIR_OK;
}

weir_code
weir_wordpiece_create(weir_bytes vocabulary, weir_wordpiece **ret_wordpiece, weir_error *reterr)
{
    weir_wordpiece *self = weir_alloc_zero(1, sizeof *self);

    for (int i = 0; i < SPECIAL_COUNT; i++)
        self->special_id[i] = NONE;
    grow_edges(self);
    (void)add_node(self); /* ROOT_BEGIN */
    (void)add_node(self); /* ROOT_CONTINUE */
    while (vocabulary.size > 0 && self->size < VOCABULARY_PIECES_MAX) {
        const weir_bytes piece = next_line(&vocabulary);
        const uint32_t id = self->size++;

        note_special(self, piece, id);
        if (piece.size > 0)
            add_piece(self, piece, id);
    }
    const weir_code code = check_specials(self, reterr);

    if (code == WEIR_OK)
        *ret_wordpiece = self;
    else
        weir_wordpiece_destroy(&self);
    return code;
}

void
weir_wordpiece_destroy(weir_wordpiece **wordpiece_p)
{
    if (wordpiece_p == NULL || *wordpiece_p == NULL)
        return;
    weir_free((*wordpiece_p)->edges);
    weir_free((*wordpiece_p)->piece_of);
    weir_free(*wordpiece_p);
    *wordpiece_p = NULL;
}

static weir_code
read_whole(int fd, const char *path, weir_buffer *out, weir_error *reterr)
{
    for (;;) {
        weir_buffer_reserve(out, 64 << 10);
        const ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);

        if (got == 0)
            return WEIR_OK;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "%s: %s", path, strerror(errno));
        out->size += (size_t)got;
        if (out->size > VOCABULARY_BYTES_MAX)
            return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE,
                "%s: a vocabulary of more than %d bytes", path, VOCABULARY_BYTES_MAX);
    }
}

weir_code
weir_wordpiece_open(const char *path, weir_wordpiece **ret_wordpiece, weir_error *reterr)
{
    weir_buffer file = { 0 };
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return weir_error_set(reterr, WEIR_MODEL_UNAVAILABLE, "%s: %s", path, strerror(errno));
    weir_code code = read_whole(fd, path, &file, reterr);

    (void)close(fd);
    if (code == WEIR_OK)
        code = weir_wordpiece_create(weir_buffer_view(&file), ret_wordpiece, reterr);
    weir_buffer_fini(&file);
    return code;
}

/* ---- words ---- */

/* A special token that is written out in the text stands for itself, as in the reference. */
static uint32_t
special_at(const weir_wordpiece *self, weir_bytes text, size_t at, size_t *ret_size)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const size_t size = strlen(special_text[i]);

        if (self->special_id[i] != NONE && text.size - at >= size &&
            memcmp(text.data + at, special_text[i], size) == 0) {
            *ret_size = size;
            return self->special_id[i];
        }
    }
    return NONE;
}

static void
add_codes(word *self, const uint32_t *codes, size_t count, size_t start, size_t end)
{
    for (size_t i = 0; i < count && self->count <= WORD_CODES_MAX; i++) {
        self->codes[self->count] = codes[i];
        self->starts[self->count] = start;
        self->ends[self->count++] = end;
    }
}

/* Take the character at self->end into the word; false: it does not belong to it. */
static bool
take_character(word *self, weir_bytes text, bool *ret_is_alone)
{
    uint32_t codes[WEIR_BERT_CODES_MAX];
    size_t size = 0;
    size_t count = 0;
    const uint32_t code = weir_utf8_decode(text.data + self->end, text.size - self->end, &size);
    const weir_bert_class found = weir_bert_character(code, codes, &count);

    *ret_is_alone = found == WEIR_BERT_ALONE;
    if (found == WEIR_BERT_SPACE || (found == WEIR_BERT_ALONE && self->end > self->start))
        return false;
    add_codes(self, codes, count, self->end, self->end + size);
    self->end += size;
    return true;
}

static size_t
skip_spaces(weir_bytes text, size_t at)
{
    while (at < text.size) {
        uint32_t codes[WEIR_BERT_CODES_MAX];
        size_t size = 0;
        size_t count = 0;
        const uint32_t code = weir_utf8_decode(text.data + at, text.size - at, &size);

        if (weir_bert_character(code, codes, &count) != WEIR_BERT_SPACE)
            break;
        at += size;
    }
    return at;
}

static bool
scan_word(const weir_wordpiece *self, weir_bytes text, size_t position, word *out)
{
    bool is_alone = false;
    size_t special_size = 0;

    out->start = out->end = skip_spaces(text, position);
    out->count = 0;
    out->special_id = NONE;
    if (out->start == text.size)
        return false;
    if (text.data[out->start] == '[')
        out->special_id = special_at(self, text, out->start, &special_size);
    if (out->special_id != NONE) {
        out->end += special_size;
        return true;
    }
    while (!is_alone && out->end < text.size && take_character(out, text, &is_alone))
        continue;
    return true;
}

/* The longest piece that begins at code `at`; returns its length in codes, 0 when there is none. */
static uint32_t
longest_piece(const weir_wordpiece *self, const word *in, uint32_t at, uint32_t *ret_id)
{
    uint32_t node = at == 0 ? ROOT_BEGIN : ROOT_CONTINUE;
    uint32_t length = 0;

    for (uint32_t i = at; i < in->count; i++) {
        node = child_of(self, node, in->codes[i]);
        if (node == NONE)
            break;
        if (self->piece_of[node] != NONE) {
            *ret_id = self->piece_of[node];
            length = i + 1 - at;
        }
    }
    return length;
}

/* Write the tokens of a word to out[WORD_CODES_MAX]; returns how many. */
static uint32_t
cut_word(const weir_wordpiece *self, const word *in, weir_token *out)
{
    const weir_token unknown = { .id = self->special_id[UNK], .start = in->start, .end = in->end };
    uint32_t count = 0;

    out[0] = unknown;
    if (in->special_id != NONE) {
        out[0].id = in->special_id;
        return 1;
    }
    if (in->count > WORD_CODES_MAX)
        return 1;
    for (uint32_t at = 0; at < in->count;) {
        uint32_t id = 0;
        const uint32_t length = longest_piece(self, in, at, &id);

        if (length == 0) { /* one unmatched piece makes the whole word unknown */
            out[0] = unknown;
            return 1;
        }
        out[count++] =
            (weir_token){ .id = id, .start = in->starts[at], .end = in->ends[at + length - 1] };
        at += length;
    }
    return count;
}

bool
weir_wordpiece_next(const weir_wordpiece *wordpiece, weir_bytes text, size_t *position,
    weir_word *ret_word)
{
    word scanned;
    weir_token tokens[WORD_CODES_MAX];

    if (!scan_word(wordpiece, text, *position, &scanned)) {
        *position = text.size;
        return false;
    }
    *position = scanned.end;
    ret_word->start = scanned.start;
    ret_word->end = scanned.end;
    ret_word->token_count = cut_word(wordpiece, &scanned, tokens);
    return true;
}

size_t
weir_wordpiece_encode(const weir_wordpiece *wordpiece, weir_bytes text, weir_token *out, size_t max,
    bool *ret_cut)
{
    word scanned;
    weir_token tokens[WORD_CODES_MAX];
    size_t count = 0;
    size_t position = 0;
    bool cut = false;

    weir_assert(max >= WEIR_WORDPIECE_SPECIALS);
    out[count++] = (weir_token){ .id = wordpiece->special_id[CLS] };
    while (!cut && scan_word(wordpiece, text, position, &scanned)) {
        const size_t word_tokens = cut_word(wordpiece, &scanned, tokens);
        const size_t room = max - 1 - count;

        cut = word_tokens > room;
        for (size_t i = 0; i < (cut ? room : word_tokens); i++)
            out[count++] = tokens[i];
        position = scanned.end;
    }
    out[count++] =
        (weir_token){ .id = wordpiece->special_id[SEP], .start = text.size, .end = text.size };
    if (ret_cut != NULL)
        *ret_cut = cut;
    return count;
}

uint32_t
weir_wordpiece_pad_id(const weir_wordpiece *wordpiece)
{
    return wordpiece->special_id[PAD];
}
