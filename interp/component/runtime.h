/* Linkers and living instances. Private to interp/component.
 *
 * What is always true:
 *  - Everything of an instance but its handle tables and waiting calls lies in its arena and lives
 *    until comp_instance_destroy.
 *  - Guest code only runs below comp_instance_run, on the one thread; every entry (starting up, the
 *    call itself, calls between components) is a host function that returns WASM_HOST_CALL.
 *  - `call_arena` holds the values of at most one transfer (lift, host function, lower): guests run
 *    meanwhile only as cabi_realloc, which may not call out (may_leave is false).
 *  - After a trap the instance is dead: nothing of it runs again. */
#ifndef INTERP_COMPONENT_RUNTIME_H
#define INTERP_COMPONENT_RUNTIME_H

#include "engine/base/map.h"
#include "interp/component/def.h"

struct comp_sub;

/* ---- linkers ----------------------------------------------------------------------------- */

struct comp_resource {
    struct comp_sub *impl;       /* the component instance that defines it; NULL: the host */
    struct wasm_func *destructor; /* guest's; may be NULL */
    comp_resource_drop drop;     /* host's; may be NULL */
    const struct comp_res *host; /* the linker's identity; NULL for a guest's or an unknown one */
    const char *name;
};

struct comp_linker_resource {
    struct comp_res res; /* slot = index in the linker */
    const char *interface, *name;
    struct comp_resource resource; /* what all instances have of it */
};

struct comp_linker_func {
    const char *interface, *name;
    const struct comp_functype *type;
    comp_host_fn fn;
    void *user;
};

struct comp_linker_core {
    struct wasm_functype type;
    const char *name;
    wasm_host_fn fn;
    void *user;
};

struct comp_linker_export {
    const char *interface, *name; /* a '*' in the interface stands for any run of characters */
    const struct comp_functype *type;
};

struct comp_linker {
    uint64_t version; /* another one for every linker and every definition in it */
    struct arena arena;
    struct map resources, funcs, cores, modules; /* by "key of interface" 0x00 "name" */
    struct {
        struct comp_linker_resource **items;
        size_t count, capacity;
    } resource_list;
    struct {
        struct comp_linker_func **items;
        size_t count, capacity;
    } func_list;
    struct {
        struct comp_linker_export *items;
        size_t count, capacity;
    } exports;
    struct {
        const char **items;
        size_t count, capacity;
    } stubs;
};

/* What a component's imports have been bound to by one linker: the nth lookup of a host function
 * gave funcs[n] (NULL: none that fits). Lookups come in the same order in every instance. */
struct comp_links {
    uint64_t linker_version;
    size_t count;
    const struct comp_linker_func *funcs[];
};

const struct comp_linker_func *comp_linker_find_func(const struct comp_linker *linker,
                                                     const char *interface, size_t interface_bytes,
                                                     const char *name, size_t name_bytes);
const struct comp_linker_resource *comp_linker_find_resource(const struct comp_linker *linker,
                                                             const char *interface,
                                                             size_t interface_bytes,
                                                             const char *name, size_t name_bytes);
const struct comp_linker_core *comp_linker_find_core(const struct comp_linker *linker,
                                                     const char *module, size_t module_bytes,
                                                     const char *name, size_t name_bytes);
struct wasm_module *comp_linker_find_module(const struct comp_linker *linker, const char *name,
                                            size_t name_bytes);
const struct comp_functype *comp_linker_find_export(const struct comp_linker *linker,
                                                    const char *interface, size_t interface_bytes,
                                                    const char *name, size_t name_bytes);
bool comp_linker_is_stub(const struct comp_linker *linker, const char *interface,
                         size_t interface_bytes);
/* Appends "; close names: a, b" or "; the host has no interface ..." to a message. */
void comp_linker_suggest(const struct comp_linker *linker, struct buf *buf, const char *interface,
                         size_t interface_bytes, const char *name, size_t name_bytes);

/* ---- resources and handles --------------------------------------------------------------- */

/* One call into a component, as far as borrows care. */
struct comp_task {
    uint32_t borrow_count;
};

struct comp_handle {
    const struct comp_resource *resource; /* NULL: free */
    void *rep;           /* a guest's 32-bit rep, or the host's pointer */
    struct comp_task *scope; /* borrows: the call they live in */
    uint64_t serial;     /* own: grows with every handle made in the instance */
    uint32_t lends;
    uint32_t next_free;
    bool is_own;
};

struct comp_handles {
    struct comp_handle *items; /* [0] is never used */
    size_t count, capacity;
    uint32_t free_head;        /* 0: none */
};

/* What a call has borrowed from the caller's handle table. */
struct comp_lends {
    uint32_t *items;
    size_t count, capacity;
};

/* ---- instances --------------------------------------------------------------------------- */

struct comp_options {
    enum comp_encoding encoding;
    struct wasm_memory *memory;
    struct wasm_func *realloc, *post_return;
};

enum comp_func_kind { COMP_FUNC_HOST, COMP_FUNC_LIFTED, COMP_FUNC_MISSING };

struct comp_func {
    enum comp_func_kind kind;
    const struct comp_functype *type;      /* in the slots of `sub` for lifted ones */
    const struct comp_linker_func *host;   /* HOST */
    struct comp_sub *sub;                  /* LIFTED */
    struct comp_options options;
    struct wasm_func *core;
    const char *text;                      /* MISSING: what to say */
    bool is_stub;                          /* MISSING: only when called, not when linked */
};



struct comp_export {
    const char *name;
    uint32_t name_bytes;
    enum comp_sort sort;
    void *item;
};
/* An instance as others see it. */
struct comp_exports {
    uint32_t count;
    struct comp_export *items;
};

/* A core instance: a real one, or a bundle of exports. */
struct comp_core_instance {
    struct wasm_instance *instance;
    uint32_t count;
    struct comp_export *items; /* item = wasm_func *, ... */
};

struct comp_closure {
    const struct comp_def *def;
    struct comp_sub *env; /* the component instance in which it was defined */
};

/* One component instance. */
struct comp_sub {
    struct comp_instance *instance;
    const struct comp_def *def;
    struct comp_sub *parent; /* which instantiated it */
    struct comp_sub *env;    /* which contains its definition */
    struct comp_sub *next;   /* all of the instance */
    void **spaces[COMP_SORT_COUNT];
    uint32_t space_counts[COMP_SORT_COUNT];
    const struct comp_resource **slots;
    struct comp_exports args, exports;
    struct comp_handles handles;
    bool may_leave, may_enter;
    struct comp_options core_options; /* a core module's own memory and realloc */
};

/* A core function made by canon lower or a resource built-in. */
struct comp_lowered {
    struct comp_instance *instance;
    struct comp_sub *sub; /* the caller */
    const struct comp_functype *type; /* in the slots of `sub` */
    const struct comp_options *options;
    const struct comp_func *target;
    const struct comp_resource *resource;
    struct comp_core_sig sig;
};

/* Own handles of host resources on their way between two owners, in the order of the values: what
 * is left when a transfer traps is dropped with the instance. Empty between transfers. */
struct comp_flight {
    struct comp_flying {
        const struct comp_resource *resource;
        void *rep;
    } *items;
    size_t count, capacity, landed;
};

struct comp_frame {
    struct comp_sub *sub;
    uint32_t at;
};

enum comp_phase { COMP_STARTING, COMP_READY, COMP_DEAD };

struct comp_instance {
    struct mem_heap heap, call_heap;
    struct arena arena, call_arena, root_arena;
    const struct comp_linker *linker;
    struct comp_component *component;
    void *host;
    struct wasm_store *store;
    struct wasm_thread *thread;
    const struct comp_links *links; /* for this linker, or NULL: then the lookups are noted */
    struct {
        const struct comp_linker_func **items;
        size_t count, capacity;
    } noted;
    uint32_t lookups; /* of host functions so far */
    struct comp_sub *root, *subs;
    struct wasm_instance *core; /* of a core module, else NULL */
    enum comp_phase phase;
    uint64_t serial, step_count;
    struct comp_flight flight;
    struct {
        struct comp_frame *items;
        size_t count, capacity;
    } frames;
    struct wasm_func *starts[3]; /* start functions still to run before the next step */
    uint32_t start_count;
    struct wasm_func *init_func, *root_func; /* host functions: the thread's entries */
    bool has_begun;                          /* the thread holds the present phase's work */
    /* The present or next call. */
    bool is_called, has_result;
    const char *interface, *name; /* in root_arena; interface may be NULL */
    const struct comp_func *callee;
    struct comp_value *args;
    struct comp_value result;
    struct comp_task root_task;
};

/* ---- abi.c ------------------------------------------------------------------------------- */

/* The side of a transfer that has memory and handles. Traps are noted on the thread; functions
 * return false then. */
struct comp_abi {
    struct comp_instance *instance;
    struct comp_sub *sub;
    const struct comp_options *options;
    struct comp_lends *lends; /* lifting arguments: where borrows are noted */
    struct comp_task *task;   /* lowering arguments: the call that borrows live in */
    struct arena *arena;      /* of lifted values; call_arena unless set otherwise */
    uint8_t *memory;
    uint64_t memory_bytes;
};

void comp_abi_init(struct comp_abi *abi, struct comp_sub *sub, const struct comp_options *options);
/* A tuple of `count` fields from cells (or from the memory that cells[0] points to when
 * `is_indirect`) to values. */
bool comp_abi_lift(struct comp_abi *abi, const struct comp_field *fields, uint32_t count,
                   bool is_indirect, uint32_t size, uint32_t align,
                   const union wasm_value *cells, struct comp_value *values);
/* The reverse; when `is_indirect` memory is taken from realloc and cells[0] set. */
bool comp_abi_lower(struct comp_abi *abi, const struct comp_field *fields, uint32_t count,
                    bool is_indirect, uint32_t size, uint32_t align,
                    const struct comp_value *values, union wasm_value *cells);
/* One value to or from memory at `at`, bounds and alignment checked. */
bool comp_abi_store(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                    const struct comp_value *value);
bool comp_abi_load(struct comp_abi *abi, const struct comp_type *type, uint32_t at,
                   struct comp_value *value);
bool comp_abi_lower_flat(struct comp_abi *abi, const struct comp_type *type,
                         const struct comp_value *value, union wasm_value *cells, uint32_t *at);
bool comp_abi_lift_flat(struct comp_abi *abi, const struct comp_type *type,
                        const union wasm_value *cells, uint32_t *at, struct comp_value *value);

/* ---- handles.c --------------------------------------------------------------------------- */

/* 0 when the table is full or memory out (noted as a trap). */
uint32_t comp_handles_add(struct comp_sub *sub, const struct comp_resource *resource, void *rep,
                          bool is_own, struct comp_task *scope);
/* NULL (noted as a trap) when it is not a live handle of this resource. */
struct comp_handle *comp_handles_get(struct comp_sub *sub, uint32_t index,
                                     const struct comp_resource *resource);
void comp_handles_remove(struct comp_sub *sub, uint32_t index);
/* Notes that an own handle is between owners / has a new one. */
bool comp_flight_add(struct comp_instance *instance, const struct comp_resource *resource,
                     void *rep);
void comp_flight_land(struct comp_instance *instance, void *rep);
/* All owns within `value`, which the host gave, in lowering order. */
bool comp_flight_add_value(struct comp_sub *sub, const struct comp_type *type,
                           const struct comp_value *value);
void comp_flight_end(struct comp_instance *instance);
/* Drops all own handles of host resources, newest first, and frees the tables. */
void comp_handles_drop_all(struct comp_instance *instance);
bool comp_lends_add(struct comp_lends *lends, struct comp_sub *sub, uint32_t index);
/* Gives back what was lent and frees the list. */
void comp_lends_end(struct comp_lends *lends, struct comp_sub *sub);

/* ---- call.c ------------------------------------------------------------------------------ */

/* The core function that calls `target` from `sub`. NULL when memory is out. */
struct wasm_func *comp_call_lower(struct comp_sub *sub, const struct comp_functype *type,
                                  const struct comp_options *options,
                                  const struct comp_func *target);
/* One of any core type that traps with the text of a MISSING `target`. */
struct wasm_func *comp_call_missing(struct comp_sub *sub, const struct wasm_functype *core,
                                    const struct comp_func *target);
struct wasm_func *comp_call_resource(struct comp_sub *sub, enum comp_step_kind kind,
                                     const struct comp_resource *resource);
/* The entry for the embedder's calls. */
enum wasm_host_result comp_call_root(struct wasm_host_call *call, void *user);
/* NULL with a trap noted on the thread when `sub` may not be entered by `caller` (NULL: host). */
bool comp_call_enter(struct comp_sub *sub, const struct comp_sub *caller);
void comp_call_leave(struct comp_sub *sub, const struct comp_sub *caller);

#endif
