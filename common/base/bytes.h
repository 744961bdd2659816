/*
 * bytes.h - borrowed views and owned, growing buffers of bytes.
 *
 * weir_bytes borrows; weir_buffer owns.  Allocation failure aborts (weir_alloc): no caller can do
 * better, and the supervisor restarts the service through the normal path.  Sizes that come from
 * outside are bounded by their reader before anything is allocated.
 */
#ifndef WEIR_BASE_BYTES_H
#define WEIR_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct weir_bytes {
    const uint8_t *data;
    size_t size;
} weir_bytes;

typedef struct weir_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
} weir_buffer;

static inline weir_bytes
weir_bytes_of(const void *data, size_t size)
{
    return (weir_bytes){ .data = data, .size = size };
}

/* A view of a C string without its NUL. */
static inline weir_bytes
weir_bytes_str(const char *text)
{
    return weir_bytes_of(text, strlen(text));
}

static inline bool
weir_bytes_equal(weir_bytes a, weir_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Lexicographic by unsigned byte, as RocksDB's default comparator: <0, 0, >0. */
int weir_bytes_compare(weir_bytes a, weir_bytes b);

static inline weir_bytes
weir_buffer_view(const weir_buffer *buffer)
{
    return weir_bytes_of(buffer->data, buffer->size);
}

/* {0} is an empty buffer.  weir_buffer_fini frees and resets to {0}; weir_buffer_clear keeps the
 * capacity. */
void weir_buffer_fini(weir_buffer *buffer);
void weir_buffer_clear(weir_buffer *buffer);
void weir_buffer_reserve(weir_buffer *buffer, size_t extra);
void weir_buffer_append(weir_buffer *buffer, const void *data, size_t size);
void weir_buffer_append_u8(weir_buffer *buffer, uint8_t value);
/* Big-endian, so that byte order is numeric order. */
void weir_buffer_append_u32(weir_buffer *buffer, uint32_t value);
void weir_buffer_append_u64(weir_buffer *buffer, uint64_t value);

/* Big-endian loads and stores; `at` needs no alignment. */
uint32_t weir_load_u32(const uint8_t *at);
uint64_t weir_load_u64(const uint8_t *at);
void weir_store_u32(uint8_t *at, uint32_t value);
void weir_store_u64(uint8_t *at, uint64_t value);

/* malloc family that aborts instead of returning NULL; the only allocation entry outside the
 * arena. */
void *weir_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *weir_alloc_zero(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *weir_realloc(void *old, size_t size) __attribute__((returns_nonnull));
char *weir_strdup(const char *text) __attribute__((returns_nonnull));
void weir_free(void *memory); /* NULL is fine */

#endif
