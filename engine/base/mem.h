/* Memory: counted heaps with a limit.
 *
 * Every allocation belongs to a `struct mem_heap`, which counts its bytes and refuses to go over
 * its limit. A process's heap must be back at zero when the process ends. NULL stands for the
 * engine's own heap (no limit). Not thread-safe per heap, except the NULL heap. */
#ifndef ENGINE_BASE_MEM_H
#define ENGINE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

struct mem_heap {
    size_t used_bytes;
    size_t peak_bytes;
    size_t limit_bytes; /* 0 = none */
};

/* NULL on failure or when `heap`'s limit would be passed. Zero bytes give a valid pointer. */
void *mem_alloc(struct mem_heap *heap, size_t bytes) __attribute__((warn_unused_result));

/* As mem_alloc, zeroed, for `count` items; NULL also when the product overflows. */
void *mem_calloc(struct mem_heap *heap, size_t count, size_t item_bytes)
    __attribute__((warn_unused_result));

/* As realloc within one heap; on failure the old block stays valid. */
void *mem_realloc(struct mem_heap *heap, void *block, size_t bytes)
    __attribute__((warn_unused_result));

/* NULL is allowed. `heap` must be the one that allocated. */
void mem_free(struct mem_heap *heap, void *block);

/* A zero-terminated copy of `bytes` bytes; NULL on failure. */
char *mem_strdup(struct mem_heap *heap, const char *text, size_t bytes)
    __attribute__((warn_unused_result));

/* Page-aligned, zeroed memory outside any heap, for weights and pages; asks for huge pages, and
 * for pages in turn from all memories (NUMA nodes) where there are several: all threads read all of
 * it. NULL on failure. Free with mem_unmap and the same size. */
void *mem_map(size_t bytes) __attribute__((warn_unused_result));
void mem_unmap(void *block, size_t bytes);

/* Bytes alive on the NULL heap. */
size_t mem_used_bytes(void);

/* Bytes that this machine has, and that this process may still take, as the kernel and the
 * process's control groups say; UINT64_MAX when neither says anything. */
uint64_t mem_machine_total(void);
uint64_t mem_machine_available(void);

/* mem_map's spreading over NUMA nodes; nothing for less than 16 MiB or one node. */
void mem_spread(void *block, size_t bytes);
/* "0-1,3" as a mask of the first 64 nodes; returns how many there are. */
size_t mem_node_mask(const char *list, uint64_t *mask);

/* Tests: the nth mem_alloc/calloc/realloc from now fails (1 = the next one); 0 turns it off.
 * Thread-local. Returns how many allocations happened since the last call. */
uint64_t mem_fail_at(uint64_t nth);

#endif
