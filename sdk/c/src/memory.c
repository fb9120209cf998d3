/* The guest's heap: size classes of powers of two over a region that grows with memory.grow.
 * Freed blocks go to their class's list and are used again. Every block is preceded by 16 bytes
 * that hold its class, so blocks stay 16-byte aligned. */
#include "inferlet.h"

enum { HEADER_BYTES = 16, CLASS_MIN = 5, CLASS_COUNT = 32, PAGE_BYTES = 65536 };

struct free_block {
    struct free_block *next;
};

extern unsigned char __heap_base; /* set by the linker */

static struct free_block *free_lists[CLASS_COUNT];
static uintptr_t region_at;
static uintptr_t region_end;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);

static uint32_t class_of(size_t bytes)
{
    uint32_t class = CLASS_MIN;
    while (((size_t)1 << class) < bytes)
        if (++class == CLASS_COUNT)
            __builtin_trap();
    return class;
}

static void *take_region(size_t bytes)
{
    if (region_at == 0) {
        region_at = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
        region_end = __builtin_wasm_memory_size(0) * (uintptr_t)PAGE_BYTES;
    }
    if (region_end < region_at || region_end - region_at < bytes) {
        size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
            __builtin_trap();
        region_end = __builtin_wasm_memory_size(0) * (uintptr_t)PAGE_BYTES;
    }
    void *block = (void *)region_at;
    region_at += bytes;
    return block;
}

void *pie_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - HEADER_BYTES)
        __builtin_trap();
    uint32_t class = class_of(bytes + HEADER_BYTES);
    struct free_block *block = free_lists[class];
    if (block)
        free_lists[class] = block->next;
    else
        block = take_region((size_t)1 << class);
    *(uint32_t *)block = class;
    return (unsigned char *)block + HEADER_BYTES;
}

void pie_free(void *data)
{
    if (!data)
        return;
    struct free_block *block = (struct free_block *)((unsigned char *)data - HEADER_BYTES);
    uint32_t class = *(uint32_t *)block;
    block->next = free_lists[class];
    free_lists[class] = block;
}

void *pie_realloc(void *data, size_t bytes)
{
    if (!data)
        return pie_alloc(bytes);
    uint32_t class = *(uint32_t *)((unsigned char *)data - HEADER_BYTES);
    size_t room = ((size_t)1 << class) - HEADER_BYTES;
    if (bytes <= room)
        return data;
    void *grown = pie_alloc(bytes);
    memcpy(grown, data, room);
    pie_free(data);
    return grown;
}

/* What the host allocates arguments and results with. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_bytes,
                                                               size_t align, size_t bytes);
void *cabi_realloc(void *old, size_t old_bytes, size_t align, size_t bytes)
{
    (void)old_bytes;
    (void)align; /* at most 8 in this ABI */
    return pie_realloc(old, bytes);
}

/* The compiler may call these whatever the flags say. With bulk memory the first three are one
 * instruction each, which the builtins become. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    return __builtin_memcpy(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    return __builtin_memmove(to, from, bytes);
}

void *memset(void *to, int byte, size_t bytes)
{
    return __builtin_memset(to, byte, bytes);
}

__attribute__((no_builtin)) int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a;
    const unsigned char *y = b;
    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

__attribute__((no_builtin)) size_t strlen(const char *text)
{
    size_t bytes = 0;
    while (text[bytes])
        bytes++;
    return bytes;
}
