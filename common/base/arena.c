/*
 * arena.c - a list of chunks, newest first; the newest is the one that is filled.
 *
 * A request that does not fit opens a new chunk of twice the size of the last one (or of its own
 * size, if larger), so the number of chunks is logarithmic in what is asked and the waste is
 * bounded by half.
 */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/bytes.h"

enum { CHUNK_BYTES_MIN = 8 << 10, CHUNK_BYTES_MAX = 1 << 20, ALIGNMENT = 16 };

typedef struct chunk {
    struct chunk *older;
    size_t size; /* bytes after the header */
    size_t used;
    _Alignas(ALIGNMENT) uint8_t bytes[];
} chunk;

struct weir_arena {
    chunk *newest;
    size_t cap_bytes;
    size_t used;
    size_t next_chunk_bytes;
};

weir_arena *
weir_arena_create(size_t cap_bytes)
{
    weir_arena *const arena = weir_alloc_zero(1, sizeof *arena);

    arena->cap_bytes = cap_bytes;
    arena->next_chunk_bytes = CHUNK_BYTES_MIN;
    return arena;
}

static void
free_chunks(chunk *newest, const chunk *kept)
{
    while (newest != NULL) {
        chunk *const older = newest->older;

        if (newest != kept)
            weir_free(newest);
        newest = older;
    }
}

void
weir_arena_destroy(weir_arena **arena_p)
{
    if (*arena_p == NULL)
        return;
    free_chunks((*arena_p)->newest, NULL);
    weir_free(*arena_p);
    *arena_p = NULL;
}

void
weir_arena_reset(weir_arena *arena)
{
    chunk *largest = arena->newest;

    for (chunk *at = arena->newest; at != NULL; at = at->older) {
        if (at->size > largest->size)
            largest = at;
    }
    free_chunks(arena->newest, largest);
    if (largest != NULL) {
        largest->older = NULL;
        largest->used = 0;
    }
    arena->newest = largest;
    arena->used = 0;
}

static void
open_chunk(weir_arena *arena, size_t size)
{
    const size_t chunk_bytes = size > arena->next_chunk_bytes ? size : arena->next_chunk_bytes;
    chunk *const opened = weir_alloc(sizeof *opened + chunk_bytes);

    weir_assert(chunk_bytes < SIZE_MAX / 2);
    opened->older = arena->newest;
    opened->size = chunk_bytes;
    opened->used = 0;
    arena->newest = opened;
    if (arena->next_chunk_bytes < CHUNK_BYTES_MAX)
        arena->next_chunk_bytes *= 2;
}

void *
weir_arena_alloc(weir_arena *arena, size_t size)
{
    weir_assert(size < SIZE_MAX / 4);
    /* Also for size 0, so that every allocation has an address of its own. */
    const size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    if (arena->cap_bytes != 0 && rounded > arena->cap_bytes - arena->used)
        return NULL;
    if (arena->newest == NULL || rounded > arena->newest->size - arena->newest->used)
        open_chunk(arena, rounded);

    void *const memory = arena->newest->bytes + arena->newest->used;
    arena->newest->used += rounded;
    arena->used += rounded;
    return memory;
}

void *
weir_arena_alloc_zero(weir_arena *arena, size_t size)
{
    void *const memory = weir_arena_alloc(arena, size);

    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

char *
weir_arena_strdup(weir_arena *arena, const char *text)
{
    return weir_arena_strndup(arena, text, strlen(text));
}

char *
weir_arena_strndup(weir_arena *arena, const char *text, size_t size)
{
    char *const copy = weir_arena_alloc(arena, size + 1);

    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void *
weir_arena_memdup(weir_arena *arena, const void *data, size_t size)
{
    void *const copy = weir_arena_alloc(arena, size);

    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *
weir_arena_printf(weir_arena *arena, const char *format, ...)
{
    va_list arguments;
    char brief[256];

    va_start(arguments, format);
    const int length = vsnprintf(brief, sizeof brief, format, arguments);
    va_end(arguments);
    weir_assert(length >= 0);
    if ((size_t)length < sizeof brief)
        return weir_arena_strndup(arena, brief, (size_t)length);

    char *const text = weir_arena_alloc(arena, (size_t)length + 1);
    if (text == NULL)
        return NULL;
    va_start(arguments, format);
    (void)vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

size_t
weir_arena_used(const weir_arena *arena)
{
    return arena->used;
}
