/* The collector: precise in the heap, conservative on stacks, mark and sweep, nothing moves.
 *
 * A frame's slots do not say which of them hold references, and a map per allocation would have to
 * follow every rearrangement of operands that translation does. Taking each slot for a reference if
 * its bits are the address of a live object costs one look into a small table and keeps some
 * garbage a little longer; it needs nothing from the hot path. That forbids moving objects.
 *
 * Memory comes in blocks of BLOCK_BYTES, aligned to that. A block has cells of one size, and mark
 * bits for each 16 bytes at its front; an object over the largest class has blocks of its own. A
 * cell is free when its first word (the object's type) is NULL; cells from `bump` on were never
 * used. The mark stack lives on the store's heap; where it cannot grow, the block is noted and its
 * marked objects are read once more. The C stack is never used for depth.
 *
 * Invariants outside of wasm_heap_collect: no mark bit is set; every block in use is on `blocks`
 * and in `index`; a block is on with_room[class] only if it has free cells, and never while it is
 * current[class]; store->memory_bytes includes `bytes`. */
#include "interp/wasm/heap.h"

#include <string.h>
#include <sys/mman.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "interp/wasm/code.h"

enum {
    BLOCK_BYTES = 1 << 16,
    GRAIN_BYTES = 16,
    HEAD_BYTES = 1024,
    ROOM_BYTES = BLOCK_BYTES - HEAD_BYTES,
    REGION_BLOCKS = 16,
    FINE_CLASSES = 32,    /* of 16, 32, ... 512 bytes */
    BUDGET_MIN = 1 << 20, /* bytes allocated between collections, at least */
    LIMIT_SHARE = 16,     /* of a full heap must have been free for another collection */
    ARRAY_STRIDE = 256,   /* elements of an array that are noted at once */
};

static const uint16_t coarse_bytes[] = {640,  768,  1024, 1280, 1536,  2048,  2560,  3072,
                                        4096, 6144, 8192, 10752, 12800, 16000, 21504, 32256};

struct wasm_heap_block {
    uint64_t marks[BLOCK_BYTES / GRAIN_BYTES / 64];
    struct wasm_heap_block *next;      /* of heap.blocks or heap.spare */
    struct wasm_heap_block *next_room; /* of heap.with_room */
    struct free_cell *free;
    uint8_t *bump, *end;
    uint32_t cell_bytes;
    uint32_t room_bytes; /* free when it became current */
    uint8_t class_;  /* WASM_HEAP_CLASSES: one large object */
    bool rescan;     /* has marked objects that were not read */
    uint64_t bytes;  /* of a large object's mapping in use: what is charged */
    size_t map_bytes;
    void *map;       /* of a large object: to be unmapped */
};
_Static_assert(sizeof(struct wasm_heap_block) <= HEAD_BYTES, "the head of a block");

struct free_cell {
    const struct wasm_def_type *type; /* NULL */
    struct free_cell *next;
};

/* Mapped memory that blocks are cut from. */
struct wasm_heap_region {
    struct wasm_heap_region *next;
    void *map;
    size_t bytes;
};

/* An object whose references are still to be followed, an array from element `from` on. */
struct wasm_mark {
    struct wasm_object *object;
    uint32_t from;
};

/* ---- blocks ------------------------------------------------------------------------------ */

static unsigned class_of(uint64_t bytes)
{
    if (bytes <= FINE_CLASSES * GRAIN_BYTES)
        return bytes <= GRAIN_BYTES ? 0 : (unsigned)((bytes + GRAIN_BYTES - 1) / GRAIN_BYTES) - 1;
    unsigned class_ = 0;
    while (class_ < sizeof coarse_bytes / sizeof *coarse_bytes && coarse_bytes[class_] < bytes)
        class_++;
    return FINE_CLASSES + class_;
}

static uint32_t class_bytes(unsigned class_)
{
    return class_ < FINE_CLASSES ? (class_ + 1) * GRAIN_BYTES
                                 : coarse_bytes[class_ - FINE_CLASSES];
}
_Static_assert(FINE_CLASSES + sizeof coarse_bytes / sizeof *coarse_bytes == WASM_HEAP_CLASSES,
               "one list per class");

static struct wasm_heap_block *block_of(uint64_t bits)
{
    return (struct wasm_heap_block *)(uintptr_t)(bits & ~(uint64_t)(BLOCK_BYTES - 1));
}

static size_t index_slot(const struct wasm_heap *heap, const struct wasm_heap_block *block)
{
    uint64_t hash = ((uintptr_t)block / BLOCK_BYTES) * UINT64_C(0x9E3779B97F4A7C15);
    return (hash >> 32) & (heap->index_slots - 1);
}

static bool index_has(const struct wasm_heap *heap, const struct wasm_heap_block *block)
{
    if (heap->index_slots == 0)
        return false;
    size_t i = index_slot(heap, block);
    while (heap->index[i] && heap->index[i] != block)
        i = (i + 1) & (heap->index_slots - 1);
    return heap->index[i] != NULL;
}

static void index_put(struct wasm_heap *heap, struct wasm_heap_block *block)
{
    size_t i = index_slot(heap, block);
    while (heap->index[i])
        i = (i + 1) & (heap->index_slots - 1);
    heap->index[i] = block;
}

/* Fills the index anew; it has room. */
static void index_build(struct wasm_heap *heap)
{
    memset(heap->index, 0, heap->index_slots * sizeof *heap->index);
    for (struct wasm_heap_block *b = heap->blocks; b; b = b->next)
        index_put(heap, b);
}

static bool index_reserve(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    if (2 * (heap->block_count + 1) <= heap->index_slots)
        return true;
    size_t slots = heap->index_slots ? 2 * heap->index_slots : 64;
    struct wasm_heap_block **index = mem_calloc(&store->heap, slots, sizeof *index);
    if (!index)
        return false;
    mem_free(&store->heap, heap->index);
    heap->index = index;
    heap->index_slots = slots;
    index_build(heap);
    return true;
}

static bool fits_limit(const struct wasm_store *store, uint64_t bytes)
{
    return bytes <= store->limits.memory_bytes_max &&
           store->memory_bytes <= store->limits.memory_bytes_max - bytes;
}

static void use_block(struct wasm_store *store, struct wasm_heap_block *block)
{
    struct wasm_heap *heap = &store->objects;
    block->next = heap->blocks;
    heap->blocks = block;
    heap->block_count++;
    if (heap->block_count == 1 || (uintptr_t)block < heap->low)
        heap->low = (uintptr_t)block;
    if ((uintptr_t)block + block->bytes > heap->high)
        heap->high = (uintptr_t)block + block->bytes;
    heap->bytes += block->bytes;
    store->memory_bytes += block->bytes;
    index_put(heap, block);
}

/* One more region, cut into spare blocks. */
static bool add_region(struct wasm_heap *heap)
{
    size_t bytes = (REGION_BLOCKS + 1) * (size_t)BLOCK_BYTES;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    /* The region's own words lie where the mapping is not aligned, or in its last block. */
    uintptr_t first = ((uintptr_t)map + BLOCK_BYTES - 1) & ~(uintptr_t)(BLOCK_BYTES - 1);
    struct wasm_heap_region *region =
        first == (uintptr_t)map
            ? (struct wasm_heap_region *)(first + REGION_BLOCKS * (uintptr_t)BLOCK_BYTES)
            : map;
    *region = (struct wasm_heap_region){heap->regions, map, bytes};
    heap->regions = region;
    for (unsigned i = REGION_BLOCKS; i-- > 0;) {
        struct wasm_heap_block *block =
            (struct wasm_heap_block *)(first + i * (uintptr_t)BLOCK_BYTES);
        block->next = heap->spare;
        heap->spare = block;
    }
    return true;
}

static struct wasm_heap_block *new_block(struct wasm_store *store, unsigned class_)
{
    struct wasm_heap *heap = &store->objects;
    if (!index_reserve(store) || (!heap->spare && !add_region(heap)))
        return NULL;
    struct wasm_heap_block *block = heap->spare;
    heap->spare = block->next;
    memset(block, 0, sizeof *block);
    block->class_ = (uint8_t)class_;
    block->cell_bytes = class_bytes(class_);
    block->bytes = BLOCK_BYTES;
    block->bump = (uint8_t *)block + HEAD_BYTES;
    block->room_bytes = ROOM_BYTES / block->cell_bytes * block->cell_bytes;
    block->end = block->bump + block->room_bytes;
    use_block(store, block);
    return block;
}

static uint64_t large_bytes(uint64_t bytes)
{
    return (HEAD_BYTES + bytes + BLOCK_BYTES - 1) & ~(uint64_t)(BLOCK_BYTES - 1);
}

static struct wasm_heap_block *new_large(struct wasm_store *store, uint64_t bytes)
{
    uint64_t whole = large_bytes(bytes);
    size_t map_bytes = (size_t)whole + BLOCK_BYTES;
    if (!index_reserve(store))
        return NULL;
    void *map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    struct wasm_heap_block *block =
        (struct wasm_heap_block *)(((uintptr_t)map + BLOCK_BYTES - 1) &
                                   ~(uintptr_t)(BLOCK_BYTES - 1));
    block->class_ = WASM_HEAP_CLASSES;
    block->bytes = whole;
    block->map = map;
    block->map_bytes = map_bytes;
    block->cell_bytes = 1;
    block->bump = block->end = (uint8_t *)block + whole;
    use_block(store, block);
    return block;
}

/* The block is on no list any more. */
static void drop_block(struct wasm_store *store, struct wasm_heap_block *block)
{
    struct wasm_heap *heap = &store->objects;
    heap->block_count--;
    heap->bytes -= block->bytes;
    store->memory_bytes -= block->bytes;
    if (block->map) {
        munmap(block->map, block->map_bytes);
    } else {
        /* Its pages go back, and come as zeros if it is used again. */
        madvise(block, BLOCK_BYTES, MADV_DONTNEED);
        block->next = heap->spare;
        heap->spare = block;
    }
}

void wasm_heap_deinit(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    store->memory_bytes -= heap->bytes;
    for (struct wasm_heap_block *b = heap->blocks, *next; b; b = next) {
        next = b->next;
        if (b->map)
            munmap(b->map, b->map_bytes);
    }
    while (heap->regions) {
        struct wasm_heap_region region = *heap->regions;
        munmap(region.map, region.bytes);
        heap->regions = region.next;
    }
    mem_free(&store->heap, heap->index);
    vec_free(&store->heap, &heap->marks);
    *heap = (struct wasm_heap){0};
}

/* ---- marking ----------------------------------------------------------------------------- */

static struct wasm_object *object_at(uint64_t bits)
{
    return (struct wasm_object *)(uintptr_t)bits;
}

bool wasm_heap_has(const struct wasm_heap *heap, uint64_t bits)
{
    if (bits - heap->low >= heap->high - heap->low || bits % GRAIN_BYTES != 0)
        return false;
    const struct wasm_heap_block *block = block_of(bits);
    if (!index_has(heap, block))
        return false;
    uint64_t offset = bits - (uintptr_t)block;
    if (offset < HEAD_BYTES || bits >= (uintptr_t)block->bump)
        return false;
    offset -= HEAD_BYTES;
    bool is_start = block->class_ == WASM_HEAP_CLASSES ? offset == 0
                                                       : offset % block->cell_bytes == 0;
    return is_start && object_at(bits)->type != NULL;
}

static bool has_references(const struct wasm_object *object)
{
    switch ((enum wasm_def_kind)object->type->kind) {
    case WASM_DEF_STRUCT:
        return object->type->ref_count > 0;
    case WASM_DEF_ARRAY:
        return object->type->ref_count > 0 && ((const struct wasm_array *)object)->length > 0;
    case WASM_DEF_EXCEPTION:
        return true;
    case WASM_DEF_HOST:
    case WASM_DEF_FUNC:
        break;
    }
    return false;
}

static void note(struct wasm_store *store, struct wasm_object *object)
{
    struct wasm_heap *heap = &store->objects;
    if (vec_push(&store->heap, &heap->marks, (struct wasm_mark){object, 0}))
        return;
    block_of((uintptr_t)object)->rescan = true;
    heap->overflowed = true;
}

/* `bits` are the address of an object. */
static void mark(struct wasm_store *store, uint64_t bits)
{
    struct wasm_heap_block *block = block_of(bits);
    uint64_t grain = (bits - (uintptr_t)block) / GRAIN_BYTES;
    uint64_t *word = &block->marks[grain / 64], bit = UINT64_C(1) << grain % 64;
    if (*word & bit)
        return;
    *word |= bit;
    if (has_references(object_at(bits)))
        note(store, object_at(bits));
}

/* What may be an object, an i31, null, or bits that mean something else. */
static void mark_maybe(struct wasm_store *store, uint64_t bits)
{
    if (wasm_heap_has(&store->objects, bits))
        mark(store, bits);
}

/* A field's value. In the hierarchies of any and exn all bits without the lowest are an object. */
static void mark_field(struct wasm_store *store, const uint8_t *at, bool is_extern)
{
    uint64_t bits;
    memcpy(&bits, at, sizeof bits);
    if (bits == 0 || bits & 1)
        return;
    if (is_extern)
        mark_maybe(store, bits);
    else
        mark(store, bits);
}

static void mark_cells(struct wasm_store *store, const union wasm_value *from,
                       const union wasm_value *end)
{
    for (; from < end; from++)
        mark_maybe(store, from->i64);
}

/* Marks what the object refers to, of an array only ARRAY_STRIDE elements; whether it has more. */
static bool follow_part(struct wasm_store *store, struct wasm_mark at)
{
    const struct wasm_def_type *type = at.object->type;
    const uint8_t *bytes = (const uint8_t *)at.object;
    switch ((enum wasm_def_kind)type->kind) {
    case WASM_DEF_STRUCT:
        for (uint32_t i = 0; i < type->ref_count; i++)
            mark_field(store, bytes + (type->ref_offsets[i] & ~1u), type->ref_offsets[i] & 1);
        break;
    case WASM_DEF_ARRAY: {
        const struct wasm_array *array = (const struct wasm_array *)at.object;
        uint32_t left = array->length - at.from, count = left < ARRAY_STRIDE ? left : ARRAY_STRIDE;
        for (uint32_t i = 0; i < count; i++)
            mark_field(store, array->items + 8 * ((uint64_t)at.from + i),
                       type->ref_offsets[0] & 1);
        return left > count;
    }
    case WASM_DEF_EXCEPTION: {
        const struct wasm_exception *exception = (const struct wasm_exception *)at.object;
        const struct wasm_functype *values = &exception->tag->type->func;
        mark_cells(store, exception->values,
                   exception->values + wasm_type_slots(values->params, values->param_count));
        break;
    }
    case WASM_DEF_HOST:
    case WASM_DEF_FUNC:
        break;
    }
    return false;
}

/* The rest of an array stays on the stack below what its first part brings. */
static void drain(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    while (heap->marks.count > 0) {
        struct wasm_mark *top = &heap->marks.items[heap->marks.count - 1], at = *top;
        bool more = at.object->type->kind == WASM_DEF_ARRAY &&
                    ((const struct wasm_array *)at.object)->length - at.from > ARRAY_STRIDE;
        if (more)
            top->from += ARRAY_STRIDE;
        else
            heap->marks.count--;
        (void)follow_part(store, at);
    }
}

/* Reads all marked objects of the block again. */
static void rescan(struct wasm_store *store, struct wasm_heap_block *block)
{
    uint8_t *at = (uint8_t *)block + HEAD_BYTES;
    uint32_t step = block->class_ == WASM_HEAP_CLASSES ? (uint32_t)ROOM_BYTES : block->cell_bytes;
    for (; at < block->bump; at += step) {
        uint64_t grain = (uint64_t)(at - (uint8_t *)block) / GRAIN_BYTES;
        struct wasm_object *object = (struct wasm_object *)at;
        if (block->marks[grain / 64] >> grain % 64 & 1 && has_references(object)) {
            struct wasm_mark part = {object, 0};
            for (bool more = true; more; part.from += ARRAY_STRIDE) {
                more = follow_part(store, part);
                drain(store);
            }
        }
        if (block->class_ == WASM_HEAP_CLASSES)
            break;
    }
}

/* ---- roots ------------------------------------------------------------------------------- */

/* Behind the last slot of the thread's stack that may hold a value. */
static const union wasm_value *live_end(const struct wasm_thread *thread)
{
    const union wasm_value *end = thread->stack;
    switch (thread->state) {
    case THREAD_IDLE: /* results, until the next call */
        if (thread->func)
            end += thread->func->result_slots > thread->func->param_slots
                       ? thread->func->result_slots : thread->func->param_slots;
        break;
    case THREAD_RUNNING:
        end = thread->in_host ? thread->host_free : thread->live_end;
        break;
    case THREAD_WAITING: {
        const struct wasm_activation *a =
            &thread->activations.items[thread->activations.count - 1];
        uint32_t cells = HOST_CELLS_MIN;
        if (a->func->param_slots > cells)
            cells = a->func->param_slots;
        if (a->func->result_slots > cells)
            cells = a->func->result_slots;
        end = a->values + cells;
        break;
    }
    case THREAD_READY: {
        if (!thread->saved.p) { /* not begun */
            end += thread->func->param_slots;
            break;
        }
        const struct wasm_code *code =
            wasm_code_find(thread->instance->module, thread->saved.p);
        end = code ? thread->saved.R + code->frame_slots : thread->stack_end;
        break;
    }
    }
    return end < thread->stack_end ? end : thread->stack_end;
}

/* Returns how many bytes were looked through. */
static uint64_t mark_roots(struct wasm_store *store)
{
    uint64_t bytes = 0;
    for (const struct wasm_thread *t = store->threads; t; t = t->next) {
        const union wasm_value *end = live_end(t);
        mark_cells(store, t->stack, end);
        bytes += (uint64_t)(end - t->stack) * sizeof *end;
    }
    for (const struct wasm_instance *i = store->instances; i; i = i->next) {
        const struct wasm_module *m = i->module;
        uint32_t globals = m->global_count - m->global_import_count;
        for (uint32_t k = 0; k < globals; k++)
            if (wasm_type_is_ref(i->own_globals[k].type))
                mark_maybe(store, i->own_globals[k].value[0].i64);
        bytes += globals * sizeof *i->own_globals;
        for (uint32_t k = 0; k < m->elem_count; k++) {
            if (!i->elem_items[k] || i->elem_dropped[k])
                continue;
            for (uint32_t n = 0; n < m->elems[k].count; n++)
                mark_maybe(store, (uintptr_t)i->elem_items[k][n]);
            bytes += m->elems[k].count * sizeof(void *);
        }
    }
    for (const struct wasm_host_global *g = store->host_globals; g; g = g->next)
        mark_maybe(store, g->global.value[0].i64);
    for (const struct wasm_table *t = store->tables; t; t = t->next) {
        if (!wasm_type_may_hold_object(t->type))
            continue;
        for (uint64_t i = 0; i < t->size; i++)
            mark_maybe(store, (uintptr_t)t->items[i]);
        bytes += t->size * sizeof *t->items;
    }
    for (const struct wasm_root *r = store->roots; r; r = r->next)
        mark_maybe(store, (uintptr_t)r->ref);
    return bytes;
}

/* ---- sweeping ---------------------------------------------------------------------------- */

/* Makes free cells of what is not marked; returns how many cells are live. */
static uint32_t sweep_block(struct wasm_heap_block *block)
{
    uint8_t *first = (uint8_t *)block + HEAD_BYTES;
    uint32_t live = 0;
    struct free_cell **tail = &block->free;
    for (uint8_t *at = first; at < block->bump; at += block->cell_bytes) {
        uint64_t grain = (uint64_t)(at - (uint8_t *)block) / GRAIN_BYTES;
        if (block->marks[grain / 64] >> grain % 64 & 1) {
            live++;
            continue;
        }
        struct free_cell *cell = (struct free_cell *)at;
        cell->type = NULL;
        *tail = cell;
        tail = &cell->next;
    }
    *tail = NULL;
    return live;
}

static uint64_t sweep(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    struct wasm_heap_block *all = heap->blocks, *next;
    uint64_t live_bytes = 0;
    heap->blocks = NULL;
    memset(heap->current, 0, sizeof heap->current);
    memset(heap->with_room, 0, sizeof heap->with_room);
    for (struct wasm_heap_block *block = all; block; block = next) {
        next = block->next;
        bool is_large = block->class_ == WASM_HEAP_CLASSES;
        uint32_t live = is_large ? block->marks[HEAD_BYTES / GRAIN_BYTES / 64] != 0
                                 : sweep_block(block);
        if (live == 0) {
            drop_block(store, block);
            continue;
        }
        memset(block->marks, 0, sizeof block->marks);
        block->rescan = false;
        block->next = heap->blocks;
        heap->blocks = block;
        live_bytes += is_large ? block->bytes : (uint64_t)live * block->cell_bytes;
        if (is_large)
            continue;
        block->room_bytes = ROOM_BYTES / block->cell_bytes * block->cell_bytes -
                            live * block->cell_bytes;
        if (block->room_bytes > 0) {
            block->next_room = heap->with_room[block->class_];
            heap->with_room[block->class_] = block;
        }
    }
    if (heap->index)
        index_build(heap);
    return live_bytes;
}

void wasm_heap_collect(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    uint64_t root_bytes = mark_roots(store);
    drain(store);
    while (heap->overflowed) {
        heap->overflowed = false;
        for (struct wasm_heap_block *block = heap->blocks; block; block = block->next)
            if (block->rescan) {
                block->rescan = false;
                rescan(store, block);
            }
    }
    uint64_t live_bytes = sweep(store);
    heap->collections++;
    heap->taken_bytes = 0;
    heap->budget_bytes = live_bytes + root_bytes > BUDGET_MIN ? live_bytes + root_bytes
                                                              : BUDGET_MIN;
    if (heap->marks.capacity > ROOM_BYTES / sizeof *heap->marks.items)
        vec_free(&store->heap, &heap->marks);
}

/* ---- allocation -------------------------------------------------------------------------- */

static bool may_collect(const struct wasm_heap *heap)
{
    return heap->no_collect == 0;
}

/* Whether `bytes` more fit, perhaps after a collection. */
static bool make_room(struct wasm_store *store, uint64_t bytes)
{
    struct wasm_heap *heap = &store->objects;
    if (fits_limit(store, bytes))
        return true;
    if (!may_collect(heap))
        return false;
    /* A guest that is refused traps, and leaves garbage: the next one gets another collection. */
    if (heap->taken_bytes < heap->bytes / LIMIT_SHARE && !heap->refused) {
        heap->refused = true;
        return false;
    }
    heap->refused = false;
    wasm_heap_collect(store);
    return fits_limit(store, bytes);
}

static void collect_if_due(struct wasm_store *store)
{
    struct wasm_heap *heap = &store->objects;
    uint64_t budget = heap->budget_bytes ? heap->budget_bytes : BUDGET_MIN;
    if (may_collect(heap) && heap->taken_bytes >= budget)
        wasm_heap_collect(store);
}

static bool refill(struct wasm_store *store, unsigned class_)
{
    struct wasm_heap *heap = &store->objects;
    collect_if_due(store);
    heap->current[class_] = NULL;
    if (!heap->with_room[class_] && !make_room(store, BLOCK_BYTES) && !heap->with_room[class_])
        return false;
    struct wasm_heap_block *block = heap->with_room[class_];
    if (block)
        heap->with_room[class_] = block->next_room;
    else
        block = new_block(store, class_);
    heap->current[class_] = block;
    if (!block)
        return false;
    heap->taken_bytes += block->room_bytes;
    return true;
}

static void *alloc_large(struct wasm_store *store, uint64_t bytes)
{
    struct wasm_heap *heap = &store->objects;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    collect_if_due(store);
    if (!make_room(store, large_bytes(bytes)))
        return NULL;
    struct wasm_heap_block *block = new_large(store, bytes);
    if (!block)
        return NULL;
    heap->taken_bytes += block->bytes;
    return (uint8_t *)block + HEAD_BYTES;
}

void *wasm_heap_alloc(struct wasm_store *store, const struct wasm_def_type *type, uint64_t bytes)
{
    struct wasm_heap *heap = &store->objects;
    struct wasm_object *object;
    if (heap->always_collect && may_collect(heap))
        wasm_heap_collect(store);
    if (bytes > coarse_bytes[sizeof coarse_bytes / sizeof *coarse_bytes - 1]) {
        object = alloc_large(store, bytes);
    } else {
        unsigned class_ = class_of(bytes);
        struct wasm_heap_block *block = heap->current[class_];
        if (!block || (!block->free && block->bump == block->end)) {
            if (!refill(store, class_))
                return NULL;
            block = heap->current[class_];
        }
        if (block->free) {
            object = (struct wasm_object *)block->free;
            block->free = block->free->next;
        } else {
            object = (struct wasm_object *)block->bump;
            block->bump += block->cell_bytes;
        }
    }
    if (object)
        object->type = type;
    return object;
}
