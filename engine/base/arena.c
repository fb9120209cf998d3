#include "engine/base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct arena_block {
    struct arena_block *older;
    size_t capacity_bytes;
    size_t used_bytes;
    size_t unused; /* keeps data[] 16-byte aligned */
    unsigned char data[];
};

enum { FIRST_BYTES = 1024, STEP_MAX_BYTES = 1 << 20, ALIGN_BYTES = 16 };

void arena_init(struct arena *arena, struct mem_heap *heap)
{
    *arena = (struct arena){.heap = heap, .next_bytes = FIRST_BYTES};
}

void arena_deinit(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *older = arena->blocks->older;
        mem_free(arena->heap, arena->blocks);
        arena->blocks = older;
    }
    arena->next_bytes = FIRST_BYTES;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *newest = arena->blocks;
    if (!newest)
        return;
    while (newest->older) {
        struct arena_block *older = newest->older;
        newest->older = older->older;
        mem_free(arena->heap, older);
    }
    newest->used_bytes = 0;
}

static bool add_block(struct arena *arena, size_t capacity)
{
    struct arena_block *block = mem_alloc(arena->heap, sizeof *block + capacity);
    if (!block)
        return false;
    *block = (struct arena_block){.older = arena->blocks, .capacity_bytes = capacity};
    arena->blocks = block;
    return true;
}

void arena_reserve(struct arena *arena, size_t bytes)
{
    if (!arena->blocks && bytes > 0 && bytes <= STEP_MAX_BYTES)
        (void)add_block(arena, bytes);
}

size_t arena_used_bytes(const struct arena *arena)
{
    size_t bytes = 0;
    for (const struct arena_block *block = arena->blocks; block; block = block->older)
        bytes += block->used_bytes;
    return bytes;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
    struct arena_block *block = arena->blocks;
    if (!block || block->capacity_bytes - block->used_bytes < bytes) {
        size_t capacity = arena->next_bytes > bytes ? arena->next_bytes : bytes;
        if (!add_block(arena, capacity))
            return NULL;
        block = arena->blocks;
        if (arena->next_bytes < STEP_MAX_BYTES)
            arena->next_bytes *= 2;
    }
    void *result = block->data + block->used_bytes;
    block->used_bytes += bytes;
    return result;
}

void *arena_calloc(struct arena *arena, size_t count, size_t item_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes))
        return NULL;
    void *result = arena_alloc(arena, bytes);
    if (result)
        memset(result, 0, bytes);
    return result;
}

char *arena_strdup(struct arena *arena, const char *text, size_t bytes)
{
    if (bytes == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(arena, bytes + 1);
    if (!copy)
        return NULL;
    if (bytes)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}
