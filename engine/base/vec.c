#include "engine/base/vec.h"

#include <stdint.h>

bool vec_reserve_bytes(struct mem_heap *heap, void **items, size_t count, size_t *capacity,
                       size_t extra, size_t item_bytes)
{
    size_t need;
    size_t bytes;
    if (__builtin_add_overflow(count, extra, &need))
        return false;
    if (need <= *capacity)
        return true;
    size_t grown = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (grown < need)
        grown = need;
    if (__builtin_mul_overflow(grown, item_bytes, &bytes))
        return false;
    void *block = mem_realloc(heap, *items, bytes);
    if (!block)
        return false;
    *items = block;
    *capacity = grown;
    return true;
}
