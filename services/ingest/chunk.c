/*
 * chunk.c - a sliding window over the words of a document.
 *
 * Words enter the window until the next one does not fit (or begins a heading, and the window is
 * worth a chunk); then the window is cut at the best place, the chunk goes out, and what the next
 * chunk shares with it stays at the front.  Words are the tokenizer's: each is tokenized
 * independently of its neighbours, so a chunk's tokens are the sum of its words', and the embedder
 * will count the same.
 *
 * Every chunk has at least one word that no chunk before it has, so the loop ends; the work for a
 * chunk is linear in the window, and the window shrinks by more than half of its tokens, so the
 * whole is O(n).
 */
#include "services/ingest/chunk.h"

#include "common/base/assert.h"
#include "common/base/id.h"
#include "common/base/limits.h"
#include "common/text/unicode.h"

/* How good a place before a word is for a cut. */
typedef enum seam {
    SEAM_NONE = 0, /* between a word and its comma */
    SEAM_SPACE,
    SEAM_LINE, /* of code */
    SEAM_SENTENCE,
    SEAM_BLOCK,
    SEAM_HEADING, /* a heading begins */
    SEAM_FORCED   /* inside a word that had to be cut */
} seam;

typedef struct item {
    size_t start;
    size_t end;
    uint32_t token_count;
    seam seam; /* before it */
    size_t block;
} item;

typedef struct chunker {
    const ingest_document *document;
    const ingest_chunking *chunking;
    weir_bytes text;
    uint32_t budget; /* tokens of a chunk without the special ones */
    size_t position; /* of the tokenizer */
    weir_word rest;  /* of a word that is handed out in pieces; empty: none */
    size_t block;    /* of the last word */
    item *window;
    size_t count;
    size_t capacity;
    size_t repeated; /* words at the front that are in the last chunk too */
    uint64_t window_tokens;
    uint64_t all_tokens; /* of words, not of chunks */
    ingest_chunks out;
    size_t out_capacity;
} chunker;

/* ---- seams ---- */

static uint32_t
character_at(weir_bytes text, size_t at)
{
    size_t size = 0;

    return weir_utf8_decode(text.data + at, text.size - at, &size);
}

/* Step back over one character: its code, and its start in *at. */
static uint32_t
character_before(weir_bytes text, size_t *at)
{
    *at = weir_utf8_floor(text, *at - 1);
    return character_at(text, *at);
}

static bool
is_closing(uint32_t code)
{
    return code == '"' || code == '\'' || code == ')' || code == ']' || code == 0x2019 ||
        code == 0x201D || code == 0xBB || code == 0x300D;
}

static bool
ends_sentence(uint32_t code)
{
    return code == '.' || code == '!' || code == '?' || code == 0x2026 || code == 0x3002 ||
        code == 0xFF01 || code == 0xFF1F || code == 0x0964 || code == 0x061F;
}

/* The text before `end` is the end of a sentence, quotes and brackets after its full stop included.
 */
static bool
is_sentence_end(weir_bytes text, size_t end)
{
    uint32_t code = 0;

    for (int step = 0; step < 4 && end > 0; step++) {
        code = character_before(text, &end);
        if (!is_closing(code))
            break;
    }
    return ends_sentence(code);
}

/* A small letter goes on with the sentence: the full stop belonged to an abbreviation. */
static bool
begins_sentence(weir_bytes text, size_t start)
{
    const uint8_t byte = text.data[start];

    return byte < 'a' || byte > 'z';
}

static seam
seam_in_block(const chunker *self, size_t before, size_t start, ingest_block_kind kind)
{
    const weir_bytes text = self->text;

    if (before == start)
        return character_at(text, weir_utf8_floor(text, start - 1)) > 0x2FFF &&
                is_sentence_end(text, start)
            ? SEAM_SENTENCE
            : SEAM_NONE;
    if (kind == INGEST_BLOCK_CODE)
        return memchr(text.data + before, '\n', start - before) != NULL ? SEAM_LINE : SEAM_SPACE;
    return is_sentence_end(text, before) && begins_sentence(text, start) ? SEAM_SENTENCE
                                                                         : SEAM_SPACE;
}

/* Between the block of the word before and the next one: a heading stays with what it heads. */
static seam
seam_of_block(const ingest_block *before, const ingest_block *next)
{
    if (next->kind == INGEST_BLOCK_HEADING)
        return before->kind == INGEST_BLOCK_HEADING ? SEAM_SPACE : SEAM_HEADING;
    return before->kind == INGEST_BLOCK_HEADING ? SEAM_SPACE : SEAM_BLOCK;
}

/* ---- words ---- */

/* Cut a piece that fits off the front of the word that is too large. */
static weir_word
next_piece(chunker *self)
{
    weir_word piece = { .start = self->rest.start };
    size_t size = self->rest.end - self->rest.start;

    if (size > WEIR_CHUNK_BYTES_MAX)
        size = WEIR_CHUNK_BYTES_MAX;
    for (;;) {
        piece.end = weir_utf8_floor(self->text, piece.start + size);
        if (piece.end <= piece.start) /* smaller than its first character */
            piece.end = piece.start +
                weir_utf8_length(self->text.data + piece.start, self->rest.end - piece.start);
        const weir_bytes text =
            weir_bytes_of(self->text.data + piece.start, piece.end - piece.start);

        piece.token_count = (uint32_t)(weir_tokenizer_count(self->chunking->tokenizer, text) -
            weir_tokenizer_specials(self->chunking->tokenizer));
        if (piece.token_count <= self->budget || size <= 1)
            break;
        size /= 2;
    }
    weir_assert(piece.end > piece.start && piece.end <= self->rest.end);
    self->rest.start = piece.end;
    return piece;
}

static bool
fits_by_itself(const chunker *self, const weir_word *word)
{
    return word->token_count <= self->budget && word->end - word->start <= WEIR_CHUNK_BYTES_MAX;
}

static void
find_block(chunker *self, size_t start)
{
    const ingest_document *const document = self->document;

    while (self->block + 1 < document->block_count && start >= document->blocks[self->block].end)
        self->block++;
}

/* The next word, or piece of a word, with the seam before it; false: the text is at its end. */
static bool
next_item(chunker *self, item *ret_item)
{
    const size_t before = self->rest.start < self->rest.end ? self->rest.start : self->position;
    const size_t last_block = self->block;
    const bool is_piece = self->rest.start < self->rest.end;
    weir_word word;

    if (is_piece) {
        word = next_piece(self);
    } else {
        if (!weir_tokenizer_next(self->chunking->tokenizer, self->text, &self->position, &word))
            return false;
        if (!fits_by_itself(self, &word)) {
            self->rest = word;
            word = next_piece(self);
        }
    }
    find_block(self, word.start);
    const ingest_block *const blocks = self->document->blocks;

    *ret_item = (item){ .start = word.start,
        .end = word.end,
        .token_count = word.token_count,
        .block = self->block };
    if (is_piece)
        ret_item->seam = SEAM_FORCED;
    else if (self->block != last_block)
        ret_item->seam = seam_of_block(&blocks[last_block], &blocks[self->block]);
    else
        ret_item->seam = before == 0
            ? SEAM_NONE
            : seam_in_block(self, before, word.start, blocks[self->block].kind);
    return true;
}

/* ---- the window ---- */

static void
push(chunker *self, const item *added)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 512 : self->capacity * 2;
        self->window = weir_realloc(self->window, self->capacity * sizeof *self->window);
    }
    self->window[self->count++] = *added;
    self->window_tokens += added->token_count;
    self->all_tokens += added->token_count;
}

static void
drop_front(chunker *self, size_t dropped)
{
    for (size_t i = 0; i < dropped; i++)
        self->window_tokens -= self->window[i].token_count;
    self->count -= dropped;
    memmove(self->window, self->window + dropped, self->count * sizeof *self->window);
}

static bool
has_room(const chunker *self, const item *next)
{
    return self->window_tokens + next->token_count <= self->budget &&
        next->end - self->window[0].start <= WEIR_CHUNK_BYTES_MAX;
}

/* The next word must not join the window. */
static bool
must_cut(const chunker *self, const item *next)
{
    const bool is_worth_a_chunk = self->window_tokens * 4 >= self->budget;

    return next->seam == SEAM_FORCED || (next->seam == SEAM_HEADING && is_worth_a_chunk) ||
        !has_room(self, next);
}

/* Share of the budget that a chunk must fill to be cut at a seam that is not the last. */
static uint32_t
least_tokens(const chunker *self, seam found)
{
    return found >= SEAM_BLOCK ? self->budget * 3 / 5 : self->budget / 2;
}

/* How many words go out: up to the last of the best seams.  `next` stands behind the window. */
static size_t
choose_cut(const chunker *self, const item *next)
{
    static const seam wanted[] = { SEAM_BLOCK, SEAM_SENTENCE, SEAM_LINE, SEAM_SPACE };
    size_t best[4] = { 0 };
    uint64_t tokens = 0;

    if (next->seam >= SEAM_HEADING)
        return self->count;
    for (size_t words = 1; words <= self->count; words++) {
        const seam found = words == self->count ? next->seam : self->window[words].seam;

        tokens += self->window[words - 1].token_count;
        for (size_t i = 0; words > self->repeated && i < 4; i++) {
            if (found >= wanted[i] && tokens >= least_tokens(self, wanted[i]))
                best[i] = words;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (best[i] > 0)
            return best[i];
    }
    return self->count;
}

/* ---- output ---- */

static weir_code
emit(chunker *self, size_t words, weir_error *reterr)
{
    const uint32_t most = self->chunking->chunks_max == 0 ? (uint32_t)WEIR_CHUNKS_PER_DOCUMENT_MAX
                                                          : self->chunking->chunks_max;
    uint32_t tokens = weir_tokenizer_specials(self->chunking->tokenizer);

    if (self->out.count == most)
        return weir_error_set(reterr, WEIR_TOO_MANY_CHUNKS,
            "the document gives more than %u chunks of %u tokens (cut %zu of %zu bytes); split it",
            most, self->chunking->max_tokens, self->window[0].start, self->text.size);
    for (size_t i = 0; i < words; i++)
        tokens += self->window[i].token_count;
    if (self->out.count == self->out_capacity) {
        self->out_capacity = self->out_capacity == 0 ? 16 : self->out_capacity * 2;
        self->out.items =
            weir_realloc(self->out.items, self->out_capacity * sizeof *self->out.items);
    }
    self->out.items[self->out.count++] = (ingest_chunk){
        .start = self->window[0].start,
        .end = self->window[words - 1].end,
        .token_count = tokens,
        .heading = self->document->blocks[self->window[0].block].heading,
    };
    self->out.token_count += tokens;
    return WEIR_OK;
}

/* The word with which the next chunk begins, when the last one ended before word `cut`. */
static size_t
choose_start(const chunker *self, size_t cut, const item *next)
{
    const item *const following = cut < self->count ? &self->window[cut] : next;
    uint32_t tokens = 0;
    size_t start = cut;
    size_t sentence = cut;

    if (following->seam >= SEAM_HEADING)
        return cut;
    for (size_t i = cut - 1; i > 0; i--) { /* word 0 began the last chunk */
        tokens += self->window[i].token_count;
        if (tokens > self->chunking->overlap_tokens ||
            tokens + following->token_count > self->budget ||
            following->end - self->window[i].start > WEIR_CHUNK_BYTES_MAX)
            break;
        if (self->window[i].seam >= SEAM_SPACE)
            start = i;
        if (self->window[i].seam >= SEAM_SENTENCE)
            sentence = i;
        if (self->window[i].seam >= SEAM_HEADING)
            break;
    }
    return sentence < cut ? sentence : start;
}

/* Send the front of the window out as a chunk. */
static weir_code
cut_window(chunker *self, const item *next, weir_error *reterr)
{
    const size_t cut = choose_cut(self, next);

    weir_assert(cut > self->repeated && cut <= self->count);
    const weir_code code = emit(self, cut, reterr);

    if (code != WEIR_OK)
        return code;
    const size_t start = choose_start(self, cut, next);

    drop_front(self, start);
    self->repeated = cut - start;
    return WEIR_OK;
}

static weir_code
make_room(chunker *self, const item *next, weir_error *reterr)
{
    weir_code code = WEIR_OK;

    while (code == WEIR_OK && self->count > 0 && must_cut(self, next)) {
        if (self->count > self->repeated) {
            code = cut_window(self, next, reterr);
        } else { /* only what the last chunk has: repeat less of it */
            drop_front(self, 1);
            self->repeated--;
        }
    }
    return code;
}

static weir_code
run(chunker *self, weir_error *reterr)
{
    weir_code code = WEIR_OK;
    item next;

    while (code == WEIR_OK && next_item(self, &next)) {
        code = make_room(self, &next, reterr);
        if (code == WEIR_OK)
            push(self, &next);
    }
    if (code == WEIR_OK && self->count > self->repeated)
        code = emit(self, self->count, reterr);
    if (code == WEIR_OK && self->all_tokens == 0)
        code = weir_error_set(reterr, WEIR_EMPTY, "the text has no word that the model reads");
    return code;
}

weir_code
ingest_chunk_document(const ingest_document *document, const ingest_chunking *chunking,
    ingest_chunks *ret_chunks, weir_error *reterr)
{
    weir_assert(chunking->max_tokens >= WEIR_CHUNK_TOKENS_MIN);
    weir_assert(chunking->overlap_tokens * 2 < chunking->max_tokens);
    chunker self = {
        .document = document,
        .chunking = chunking,
        .text = weir_buffer_view(&document->text),
        .budget = chunking->max_tokens - weir_tokenizer_specials(chunking->tokenizer),
    };
    const weir_code code = document->block_count == 0
        ? weir_error_set(reterr, WEIR_EMPTY, "the document has no text")
        : run(&self, reterr);

    weir_free(self.window);
    if (code == WEIR_OK)
        *ret_chunks = self.out;
    else
        ingest_chunks_fini(&self.out);
    return code;
}

void
ingest_chunks_fini(ingest_chunks *chunks)
{
    weir_free(chunks->items);
    *chunks = (ingest_chunks){ 0 };
}

size_t
ingest_heading_path(const ingest_document *document, uint32_t heading,
    weir_bytes out[INGEST_HEADING_LEVELS])
{
    size_t count = 0;

    for (uint32_t at = heading; at != INGEST_NO_HEADING && count < INGEST_HEADING_LEVELS;
        at = document->headings[at].parent)
        count++;
    size_t place = count;

    for (uint32_t at = heading; place > 0; at = document->headings[at].parent) {
        const ingest_heading *const found = &document->headings[at];
        const weir_bytes whole =
            weir_bytes_of(document->text.data + found->start, found->end - found->start);

        out[--place] = weir_bytes_of(whole.data, weir_utf8_floor(whole, INGEST_HEADING_BYTES_MAX));
    }
    return count;
}
