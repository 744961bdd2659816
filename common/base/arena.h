/*
 * arena.h - memory that is freed all at once.
 *
 * Doubling chunks (8 KiB to 1 MiB); nothing is freed singly.  With a cap, an allocation past it
 * returns NULL: that is how the decoder bounds what a hostile message may ask for.  Threads: one
 * owner at a time.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

typedef struct weir_arena weir_arena;

/* cap_bytes 0: no cap. */
weir_arena *weir_arena_create(size_t cap_bytes);
void weir_arena_destroy(weir_arena **arena_p);
/* Forget every allocation but keep the largest chunk. */
void weir_arena_reset(weir_arena *arena);
/* 16-byte aligned; NULL only when the cap would be passed. */
void *weir_arena_alloc(weir_arena *arena, size_t size);
void *weir_arena_alloc_zero(weir_arena *arena, size_t size);
/* NUL-terminated copies. */
char *weir_arena_strdup(weir_arena *arena, const char *text);
char *weir_arena_strndup(weir_arena *arena, const char *text, size_t size);
void *weir_arena_memdup(weir_arena *arena, const void *data, size_t size);
char *weir_arena_printf(weir_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Bytes handed out since creation or reset. */
size_t weir_arena_used(const weir_arena *arena);

#endif
