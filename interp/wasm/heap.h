/* The heap of a store's objects: structures, arrays, exceptions, and its collector. Private to
 * interp/wasm.
 *
 * REFERENCES. NULL is null. A reference of the hierarchies of `any` and `exn` is the address of an
 * object or, with its lowest bit set, an unboxed i31. One of `extern` is what the host gave, or an
 * object or an i31 that a guest has converted. One of `func` is a struct wasm_func, which lives as
 * long as its store.
 *
 * LIMITS. The blocks of the heap count as memory of the store. A full heap is collected once; if
 * that does not free a good part of it, allocation fails rather than collect again and again. So
 * the work of collecting is at most a constant times the bytes allocated, and these cost fuel: the
 * collector is paid for when objects are made, by amounts that do not depend on when it runs. */
#ifndef INTERP_WASM_HEAP_H
#define INTERP_WASM_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "interp/wasm/types.h"

struct wasm_heap_block;
struct wasm_heap_region;
struct wasm_mark;

struct wasm_object {
    const struct wasm_def_type *type; /* NULL: a free cell */
};

struct wasm_array {
    const struct wasm_def_type *type;
    uint32_t length;
    _Alignas(8) uint8_t items[];
};

/* How a v128 lies in an object. */
struct wasm_vector {
    uint64_t halves[2];
};

/* A host's reference among objects (any.convert_extern). */
struct wasm_host_object {
    const struct wasm_def_type *type; /* &wasm_host_object_type */
    void *ref;
};

enum {
    WASM_HEAP_CLASSES = 48,
    WASM_I31_TAG = 0xFFF1, /* the upper 16 bits of an i31: no pointer, no small number of a host */
};

/* Zeroed memory is an empty heap. */
struct wasm_heap {
    struct wasm_heap_block *current[WASM_HEAP_CLASSES]; /* where the class allocates */
    struct wasm_heap_block *with_room[WASM_HEAP_CLASSES]; /* others with free cells */
    struct wasm_heap_block *blocks;                       /* all in use */
    struct wasm_heap_block *spare;                        /* of regions, in no use */
    struct wasm_heap_region *regions;
    /* Blocks in use by address: open addressing, NULL = free. */
    struct wasm_heap_block **index;
    size_t index_slots, block_count;
    uintptr_t low, high;  /* all blocks lie within */
    uint64_t bytes;       /* of blocks in use, counted in the store's memory_bytes */
    uint64_t taken_bytes; /* handed out to allocate from since the last collection */
    uint64_t budget_bytes; /* how much of that before the next */
    struct {
        struct wasm_mark *items;
        size_t count, capacity;
    } marks;
    bool refused;          /* the last allocation failed without a collection */
    bool overflowed;       /* an object is marked whose fields could not be noted */
    bool always_collect;   /* tests: at every allocation that may */
    unsigned no_collect;   /* > 0: values are where no root leads to */
    uint64_t collections;
};

/* A host's hold on an object; on the store's list. */
struct wasm_root {
    struct wasm_store *store;
    struct wasm_root *next, *previous;
    void *ref;
};

/* An object of `bytes` bytes, its head included and set, the rest undefined: it must be filled in
 * before the next allocation. May collect: every reference to be kept must be in a root, for the
 * running guest below thread->live_end. NULL when memory is out. */
void *wasm_heap_alloc(struct wasm_store *store, const struct wasm_def_type *type, uint64_t bytes);
void wasm_heap_collect(struct wasm_store *store);
void wasm_heap_deinit(struct wasm_store *store);
/* Whether the bits are the address of a live object. */
bool wasm_heap_has(const struct wasm_heap *heap, uint64_t bits);

static inline bool wasm_ref_is_i31(uint64_t bits)
{
    return bits >> 48 == WASM_I31_TAG;
}
static inline uint64_t wasm_ref_of_i31(uint32_t value)
{
    return (uint64_t)WASM_I31_TAG << 48 | (uint32_t)(value << 1) | 1;
}

/* ---- object.c: what instructions and constant expressions do with objects ------------------ */

/* Copies a value between cells and a field or an element. */
void wasm_field_write(uint32_t type, uint8_t *to, const union wasm_value *from);
void wasm_field_read(uint32_t type, const uint8_t *from, union wasm_value *to);
/* How many cells a field takes among operands. */
uint32_t wasm_field_slots(uint32_t type);
/* `cells`: the fields' values, in order; NULL: defaults. NULL when memory is out. */
void *wasm_struct_make(struct wasm_store *store, const struct wasm_def_type *type,
                       const union wasm_value *cells);
/* With undefined elements. NULL when memory is out. */
struct wasm_array *wasm_array_make(struct wasm_store *store, const struct wasm_def_type *type,
                                   uint32_t length);
/* `value` for all elements; NULL: the default. */
void wasm_array_fill(struct wasm_array *array, uint32_t at, uint32_t count,
                     const union wasm_value *value);
/* any.convert_extern and extern.convert_any. False when memory is out. */
bool wasm_ref_internalize(struct wasm_store *store, union wasm_value *ref);
void wasm_ref_externalize(union wasm_value *ref);

#endif
