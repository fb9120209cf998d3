/* Invariant: every block is preceded by a header that holds its size, so that a heap's counters
 * can be kept exact without asking the caller. */
#include "engine/base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/check.h"

struct header {
    size_t bytes;
    size_t guard; /* GUARD while alive: catches a foreign or twice freed pointer */
};

enum { GUARD = 0x50494550 };

static atomic_size_t engine_used;
static _Thread_local uint64_t fail_countdown;
static _Thread_local uint64_t allocation_count;

static bool fails_now(void)
{
    allocation_count++;
    return fail_countdown != 0 && --fail_countdown == 0;
}

static bool charge(struct mem_heap *heap, size_t bytes)
{
    if (!heap) {
        atomic_fetch_add_explicit(&engine_used, bytes, memory_order_relaxed);
        return true;
    }
    if (heap->limit_bytes &&
        (bytes > heap->limit_bytes || heap->used_bytes > heap->limit_bytes - bytes))
        return false;
    heap->used_bytes += bytes;
    if (heap->used_bytes > heap->peak_bytes)
        heap->peak_bytes = heap->used_bytes;
    return true;
}

static void discharge(struct mem_heap *heap, size_t bytes)
{
    if (!heap) {
        atomic_fetch_sub_explicit(&engine_used, bytes, memory_order_relaxed);
        return;
    }
    CHECK(heap->used_bytes >= bytes);
    heap->used_bytes -= bytes;
}

/* Whoever asks for so much at once is about to fill it: faults by huge pages are a tenth of the work. */
static void advise_large(void *block, size_t bytes)
{
    enum { LARGE = 4 << 20, PAGE = 4096 };
    if (bytes < LARGE)
        return;
    uintptr_t begin = ((uintptr_t)block + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = ((uintptr_t)block + bytes) & ~(uintptr_t)(PAGE - 1);
    (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* only advice: it may be refused */
}

void *mem_alloc(struct mem_heap *heap, size_t bytes)
{
    if (fails_now() || bytes > SIZE_MAX - sizeof(struct header) || !charge(heap, bytes))
        return NULL;
    struct header *header = malloc(sizeof *header + bytes);
    if (!header) {
        discharge(heap, bytes);
        return NULL;
    }
    advise_large(header, sizeof *header + bytes);
    header->bytes = bytes;
    header->guard = GUARD;
    return header + 1;
}

void *mem_calloc(struct mem_heap *heap, size_t count, size_t item_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes) ||
        bytes > SIZE_MAX - sizeof(struct header) || fails_now() || !charge(heap, bytes))
        return NULL;
    struct header *header = calloc(1, sizeof *header + bytes);
    if (!header) {
        discharge(heap, bytes);
        return NULL;
    }
    header->bytes = bytes;
    header->guard = GUARD;
    return header + 1;
}

void *mem_realloc(struct mem_heap *heap, void *block, size_t bytes)
{
    if (!block)
        return mem_alloc(heap, bytes);
    struct header *header = (struct header *)block - 1;
    size_t old_bytes = header->bytes;
    CHECK(header->guard == GUARD);
    if (fails_now() || bytes > SIZE_MAX - sizeof *header)
        return NULL;
    if (bytes > old_bytes && !charge(heap, bytes - old_bytes))
        return NULL;
    header = realloc(header, sizeof *header + bytes);
    if (!header) {
        if (bytes > old_bytes)
            discharge(heap, bytes - old_bytes);
        return NULL;
    }
    if (bytes < old_bytes)
        discharge(heap, old_bytes - bytes);
    header->bytes = bytes;
    return header + 1;
}

void mem_free(struct mem_heap *heap, void *block)
{
    if (!block)
        return;
    struct header *header = (struct header *)block - 1;
    CHECK(header->guard == GUARD);
    header->guard = 0;
    discharge(heap, header->bytes);
    free(header);
}

char *mem_strdup(struct mem_heap *heap, const char *text, size_t bytes)
{
    if (bytes == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(heap, bytes + 1);
    if (!copy)
        return NULL;
    if (bytes)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

void *mem_map(size_t bytes)
{
    if (bytes == 0)
        bytes = 1;
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    (void)madvise(block, bytes, MADV_HUGEPAGE); /* only advice: it may be refused */
    mem_spread(block, bytes);
    return block;
}

void mem_unmap(void *block, size_t bytes)
{
    if (block)
        CHECK(munmap(block, bytes ? bytes : 1) == 0);
}

size_t mem_used_bytes(void)
{
    return atomic_load_explicit(&engine_used, memory_order_relaxed);
}

uint64_t mem_fail_at(uint64_t nth)
{
    uint64_t count = allocation_count;
    allocation_count = 0;
    fail_countdown = nth;
    return count;
}
