/*
 * bytes.c - growing buffers, big-endian numbers, and allocation that never returns NULL.
 */
#include "common/base/bytes.h"

#include <endian.h>
#include <stdlib.h>

#include "common/base/assert.h"

enum { BUFFER_BYTES_MIN = 64 };

int
weir_bytes_compare(weir_bytes a, weir_bytes b)
{
    const size_t common = a.size < b.size ? a.size : b.size;
    const int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

void
weir_buffer_fini(weir_buffer *buffer)
{
    weir_free(buffer->data);
    *buffer = (weir_buffer){ 0 };
}

void
weir_buffer_clear(weir_buffer *buffer)
{
    buffer->size = 0;
}

void
weir_buffer_reserve(weir_buffer *buffer, size_t extra)
{
    weir_assert(extra < SIZE_MAX / 4 && buffer->size < SIZE_MAX / 4);
    const size_t wanted = buffer->size + extra;
    size_t capacity = buffer->capacity < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : buffer->capacity;

    if (wanted <= buffer->capacity)
        return;
    while (capacity < wanted)
        capacity *= 2;
    buffer->data = weir_realloc(buffer->data, capacity);
    buffer->capacity = capacity;
}

void
weir_buffer_append(weir_buffer *buffer, const void *data, size_t size)
{
    if (size == 0)
        return;
    weir_buffer_reserve(buffer, size);
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

void
weir_buffer_append_u8(weir_buffer *buffer, uint8_t value)
{
    weir_buffer_append(buffer, &value, sizeof value);
}

void
weir_buffer_append_u32(weir_buffer *buffer, uint32_t value)
{
    const uint32_t big = htobe32(value);

    weir_buffer_append(buffer, &big, sizeof big);
}

void
weir_buffer_append_u64(weir_buffer *buffer, uint64_t value)
{
    const uint64_t big = htobe64(value);

    weir_buffer_append(buffer, &big, sizeof big);
}

uint32_t
weir_load_u32(const uint8_t *at)
{
    uint32_t big;

    memcpy(&big, at, sizeof big);
    return be32toh(big);
}

uint64_t
weir_load_u64(const uint8_t *at)
{
    uint64_t big;

    memcpy(&big, at, sizeof big);
    return be64toh(big);
}

void
weir_store_u32(uint8_t *at, uint32_t value)
{
    const uint32_t big = htobe32(value);

    memcpy(at, &big, sizeof big);
}

void
weir_store_u64(uint8_t *at, uint64_t value)
{
    const uint64_t big = htobe64(value);

    memcpy(at, &big, sizeof big);
}

void *
weir_alloc(size_t size)
{
    /* malloc(0) may answer NULL, which would look like a failure. */
    void *const memory = malloc(size == 0 ? 1 : size);

    weir_assert(memory != NULL);
    return memory;
}

void *
weir_alloc_zero(size_t count, size_t size)
{
    void *const memory = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);

    weir_assert(memory != NULL);
    return memory;
}

void *
weir_realloc(void *old, size_t size)
{
    void *const memory = realloc(old, size == 0 ? 1 : size);

    weir_assert(memory != NULL);
    return memory;
}

char *
weir_strdup(const char *text)
{
    const size_t size = strlen(text) + 1;

    return memcpy(weir_alloc(size), text, size);
}

void
weir_free(void *memory)
{
    free(memory);
}
