/* vectors.c - one line at a time; also checks offsets, counts by word, and truncation. */
#include "tests/tokenizer/vectors.h"

#include <stdio.h>
#include <stdlib.h>

enum { IDS_MAX = 8192, DIFFERENCES_SHOWN = 10 };

/* Undo the \xHH of make_vectors.py in place; returns the size. */
static size_t
unescape(char *text)
{
    char *out = text;

    for (const char *at = text; *at != '\0';) {
        unsigned int code = 0;

        if (at[0] == '\\' && sscanf(at, "\\x%2x", &code) == 1) {
            *out++ = (char)code;
            at += 4;
        } else {
            *out++ = *at++;
        }
    }
    return (size_t)(out - text);
}

static size_t
parse_ids(char *at, uint32_t *ids)
{
    size_t count = 0;

    while (*at != '\0' && *at != '\n' && count < IDS_MAX)
        ids[count++] = (uint32_t)strtoul(at, &at, 10);
    return count;
}

static void
show(weir_bytes text, const uint32_t *ids, size_t id_count, const weir_token *tokens, size_t count)
{
    (void)fprintf(stderr, "text: %.*s\n  reference:", (int)text.size, (const char *)text.data);
    for (size_t i = 0; i < id_count; i++)
        (void)fprintf(stderr, " %u", ids[i]);
    (void)fprintf(stderr, "\n  weir:     ");
    for (size_t i = 0; i < count; i++)
        (void)fprintf(stderr, " %u", tokens[i].id);
    (void)fputc('\n', stderr);
}

/* Offsets do not run backward and stay inside; word counts add up; a cut text keeps its beginning.
 */
static bool
is_consistent(const weir_wordpiece *wordpiece, weir_bytes text, const weir_token *tokens,
    size_t count)
{
    static weir_token cut_tokens[IDS_MAX];
    size_t position = 0;
    size_t by_words = WEIR_WORDPIECE_SPECIALS;
    size_t end = 0;
    weir_word word;
    bool is_cut = false;

    while (weir_wordpiece_next(wordpiece, text, &position, &word)) {
        if (word.start < end || word.end <= word.start || word.end > text.size)
            return false;
        end = word.end;
        by_words += word.token_count;
    }
    for (size_t i = 1; i + 1 < count; i++) {
        if (tokens[i].start >= tokens[i].end || tokens[i].end > text.size)
            return false;
    }
    const size_t half = count / 2 < 2 ? 2 : count / 2;
    const size_t cut = weir_wordpiece_encode(wordpiece, text, cut_tokens, half, &is_cut);

    return by_words == count && cut == half && is_cut == (half < count) &&
        cut_tokens[cut - 1].id == tokens[count - 1].id &&
        (cut < 3 || cut_tokens[cut - 2].id == tokens[cut - 2].id);
}

static void
compare_line(const weir_wordpiece *wordpiece, char *line, char *tab, vectors_result *result)
{
    static weir_token tokens[IDS_MAX];
    static uint32_t ids[IDS_MAX];
    const size_t id_count = parse_ids(tab + 1, ids);

    *tab = '\0';
    const weir_bytes text = weir_bytes_of(line, unescape(line));
    const size_t count = weir_wordpiece_encode(wordpiece, text, tokens, IDS_MAX, NULL);
    bool is_same = count == id_count && is_consistent(wordpiece, text, tokens, count);

    for (size_t i = 0; is_same && i < count; i++)
        is_same = tokens[i].id == ids[i];
    result->strings++;
    result->tokens += count;
    if (!is_same && result->differences++ < DIFFERENCES_SHOWN)
        show(text, ids, id_count, tokens, count);
}

bool
vectors_compare(const weir_wordpiece *wordpiece, const char *path, vectors_result *ret_result)
{
    FILE *const file = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    bool is_good = file != NULL;

    while (is_good && getline(&line, &capacity, file) > 0) {
        char *const tab = strrchr(line, '\t');

        is_good = tab != NULL;
        if (is_good)
            compare_line(wordpiece, line, tab, ret_result);
    }
    free(line);
    if (file != NULL)
        (void)fclose(file);
    return is_good;
}
