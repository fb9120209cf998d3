/* Growing arrays. A vector is any struct with the three fields below, so that `v.items[i]` keeps
 * its type:
 *
 *     struct { uint32_t *items; size_t count, capacity; } tokens = {0};
 *     if (!vec_push(NULL, &tokens, token)) return ERR_MEMORY;
 *     vec_free(NULL, &tokens);
 */
#ifndef ENGINE_BASE_VEC_H
#define ENGINE_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/mem.h"

/* Makes room for `extra` more items; false when memory is out (the vector is unchanged). */
bool vec_reserve_bytes(struct mem_heap *heap, void **items, size_t count, size_t *capacity,
                       size_t extra, size_t item_bytes) __attribute__((warn_unused_result));

#define vec_reserve(heap, vec, extra)                                                          \
    vec_reserve_bytes((heap), (void **)&(vec)->items, (vec)->count, &(vec)->capacity, (extra), \
                      sizeof *(vec)->items)

/* True when the item was appended, false when memory is out. */
#define vec_push(heap, vec, ...) \
    (vec_reserve((heap), (vec), 1) && ((vec)->items[(vec)->count++] = (__VA_ARGS__), true))

#define vec_free(heap, vec)                        \
    do {                                           \
        mem_free((heap), (vec)->items);            \
        (vec)->items = NULL;                       \
        (vec)->count = (vec)->capacity = 0;        \
    } while (0)

#endif
