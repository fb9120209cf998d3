/* Linear memories.
 *
 * Guarded: the memory of a 32-bit index lies at the start of a reservation of WASM_GUARD_BYTES
 * without access rights, so that any index plus any static offset either hits the memory or
 * faults; trap.c turns the fault into a trap. Growing changes rights, never the address. Freed
 * reservations wait in a pool, emptied of their pages.
 * Otherwise (64-bit indices, or no address space for reservations): a plain mapping that may move
 * when it grows, and code that checks every access.
 *
 * Invariants: data[0 .. bytes) is accessible; `bytes` of all memories of a store add up to
 * store->memory_bytes, which never passes the store's limit. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "interp/wasm/code.h"

enum { POOL_MAX = 64 };
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *pool[POOL_MAX];
static unsigned pool_count;

static pthread_once_t guards_once = PTHREAD_ONCE_INIT;
static bool guards;

static void decide_guards(void)
{
    if (WASM_EXPLICIT_BOUNDS || sizeof(void *) < 8)
        return;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        return; /* a bounded address space is not ours to fill with reservations */
    void *probe = mmap(NULL, WASM_GUARD_BYTES, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED)
        return;
    munmap(probe, WASM_GUARD_BYTES);
    guards = wasm_fault_init();
}

bool wasm_memory_guards(void)
{
    pthread_once(&guards_once, decide_guards);
    return guards;
}

static uint8_t *reserve(void)
{
    uint8_t *data = NULL;
    pthread_mutex_lock(&pool_lock);
    if (pool_count > 0)
        data = pool[--pool_count];
    pthread_mutex_unlock(&pool_lock);
    if (data)
        return data;
    data = mmap(NULL, WASM_GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

static void unreserve(uint8_t *data, uint64_t used)
{
    bool kept = false;
    /* A fresh mapping over the used part forgets its pages and its rights in one call. */
    if (used == 0 || mmap(data, used, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                          0) != MAP_FAILED) {
        pthread_mutex_lock(&pool_lock);
        kept = pool_count < POOL_MAX;
        if (kept)
            pool[pool_count++] = data;
        pthread_mutex_unlock(&pool_lock);
    }
    if (!kept)
        munmap(data, WASM_GUARD_BYTES);
}

/* Makes the memory `bytes` long, which is more than it was. */
static bool extend(struct wasm_memory *memory, uint64_t bytes)
{
    if (memory->guarded) {
        if (mprotect(memory->data + memory->bytes, bytes - memory->bytes,
                     PROT_READ | PROT_WRITE) != 0)
            return false;
    } else {
        void *data = memory->data
                         ? mremap(memory->data, memory->bytes, bytes, MREMAP_MAYMOVE)
                         : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED)
            return false;
        memory->data = data;
    }
    memory->bytes = bytes;
    return true;
}

int64_t wasm_memory_grow(struct wasm_memory *memory, uint64_t pages)
{
    struct wasm_store *store = memory->store;
    uint64_t old = memory->bytes / WASM_PAGE_BYTES;
    if (pages == 0)
        return (int64_t)old;
    if (pages > memory->pages_max || old > memory->pages_max - pages)
        return -1;
    uint64_t extra = pages * WASM_PAGE_BYTES;
    if (extra > store->limits.memory_bytes_max ||
        store->memory_bytes > store->limits.memory_bytes_max - extra ||
        !extend(memory, memory->bytes + extra))
        return -1;
    store->memory_bytes += extra;
    return (int64_t)old;
}

void wasm_memory_populate(struct wasm_memory *memory, uint64_t at, uint64_t bytes)
{
    /* One call instead of a fault for each page; small pages are assumed, which only wastes. */
    enum { PAGE = 4096, WORTH_BYTES = 2 * PAGE };
#ifdef MADV_POPULATE_WRITE
    uint64_t start = at & ~(uint64_t)(PAGE - 1);
    if (bytes >= WORTH_BYTES)
        (void)madvise(memory->data + start, at + bytes - start, MADV_POPULATE_WRITE);
#endif
}

enum err wasm_memory_make(struct wasm_store *store, struct wasm_limits limits,
                          struct wasm_memory **out, struct report *report)
{
    struct wasm_memory *memory = arena_calloc(&store->arena, 1, sizeof *memory);
    *out = NULL;
    if (!memory)
        return err_set(report, ERR_MEMORY, "out of memory creating a linear memory");
    uint64_t addressable = limits.is64 ? UINT64_C(1) << 31 : UINT64_C(1) << 16;
    memory->store = store;
    memory->limits = limits;
    memory->pages_max = limits.max < addressable ? limits.max : addressable;
    memory->guarded = !limits.is64 && wasm_memory_guards();
    if (memory->guarded) {
        memory->data = wasm_fault_init() ? reserve() : NULL;
        if (!memory->data)
            return err_set(report, ERR_MEMORY, "no address space for another linear memory");
    }
    memory->next = store->memories;
    store->memories = memory;
    if (wasm_memory_grow(memory, limits.min) < 0)
        return err_set(report, ERR_LIMIT,
                       "a linear memory of %llu pages is over the limit of %llu bytes",
                       (unsigned long long)limits.min,
                       (unsigned long long)store->limits.memory_bytes_max);
    *out = memory;
    return ERR_OK;
}

struct wasm_memory *wasm_memory_create(struct wasm_store *store, struct wasm_limits limits)
{
    struct wasm_memory *memory;
    return wasm_memory_make(store, limits, &memory, NULL) == ERR_OK ? memory : NULL;
}

void wasm_memory_free(struct wasm_memory *memory)
{
    memory->store->memory_bytes -= memory->bytes;
    if (memory->guarded)
        unreserve(memory->data, memory->bytes);
    else if (memory->data)
        munmap(memory->data, memory->bytes);
}

uint8_t *wasm_memory_data(const struct wasm_memory *memory)
{
    return memory->data;
}

uint64_t wasm_memory_bytes(const struct wasm_memory *memory)
{
    return memory->bytes;
}
