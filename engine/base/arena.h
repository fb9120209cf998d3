/* Arena: many small allocations that die together. Blocks grow by doubling, up to 1 MiB steps. */
#ifndef ENGINE_BASE_ARENA_H
#define ENGINE_BASE_ARENA_H

#include <stddef.h>

#include "engine/base/mem.h"

struct arena_block;

struct arena {
    struct mem_heap *heap;      /* borrowed; NULL = the engine's own */
    struct arena_block *blocks; /* newest first */
    size_t next_bytes;
};

void arena_init(struct arena *arena, struct mem_heap *heap);
void arena_deinit(struct arena *arena);

/* Room for `bytes` in one block, before the first allocation. Nothing happens when memory is out. */
void arena_reserve(struct arena *arena, size_t bytes);

/* Of all blocks, what is in use. */
size_t arena_used_bytes(const struct arena *arena);

/* Forgets all allocations but keeps one block for the next round. */
void arena_reset(struct arena *arena);

/* 16-byte aligned, not zeroed; NULL on failure. Borrowed until reset or deinit. */
void *arena_alloc(struct arena *arena, size_t bytes) __attribute__((warn_unused_result));

/* Zeroed, for `count` items; NULL also when the product overflows. */
void *arena_calloc(struct arena *arena, size_t count, size_t item_bytes)
    __attribute__((warn_unused_result));

/* A zero-terminated copy; NULL on failure. */
char *arena_strdup(struct arena *arena, const char *text, size_t bytes)
    __attribute__((warn_unused_result));

#endif
