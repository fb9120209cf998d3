/* Core WebAssembly: bytes to validated, translated, running code that can stop and continue.
 *
 *     module   decoded and validated once, immutable, shared by all stores (refcounted)
 *     store    one guest's world: instances, memories, tables, globals, functions; its limits
 *     thread   one activation stack inside a store; runs in slices of fuel and keeps nothing on
 *              the C stack between calls of wasm_thread_run
 *
 * Source: WebAssembly core specification 3.0. Nothing here knows about components or Pie. A store
 * and everything in it belong to one C thread at a time; modules may be shared between threads
 * (lazy translation is guarded inside). */
#ifndef INTERP_WASM_WASM_H
#define INTERP_WASM_WASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct wasm_module;
struct wasm_store;
struct wasm_instance;
struct wasm_thread;
struct wasm_func;   /* these four belong to a store and live until it is destroyed */
struct wasm_memory;
struct wasm_table;
struct wasm_global;
struct wasm_tag;
struct wasm_root;

/* ---- types ------------------------------------------------------------------------------- */

/* Value types: the low byte is the binary encoding. References to types that a module defines
 * carry the type's number in the process above WASM_NON_NULL: equal types have equal numbers
 * whichever module declares them, as long as a module or store holds them. */
enum wasm_type {
    WASM_I32 = 0x7F,
    WASM_I64 = 0x7E,
    WASM_F32 = 0x7D,
    WASM_F64 = 0x7C,
    WASM_V128 = 0x7B,
    WASM_NULLEXNREF = 0x74,
    WASM_NULLFUNCREF = 0x73,
    WASM_NULLEXTERNREF = 0x72,
    WASM_NULLREF = 0x71,
    WASM_FUNCREF = 0x70,
    WASM_EXTERNREF = 0x6F,
    WASM_ANYREF = 0x6E,
    WASM_EQREF = 0x6D,
    WASM_I31REF = 0x6C,
    WASM_STRUCTREF = 0x6B,
    WASM_ARRAYREF = 0x6A,
    WASM_EXNREF = 0x69,
    WASM_NON_NULL = 0x100, /* added to a reference type */
};

static inline bool wasm_type_is_ref(uint32_t type)
{
    return (type & 0xFF) - 0x60 < 0x15; /* below the numbers */
}

struct wasm_functype {
    uint32_t param_count, result_count;
    const uint32_t *params, *results; /* value types, borrowed from the owner */
};

enum wasm_kind { WASM_FUNC, WASM_TABLE, WASM_MEMORY, WASM_GLOBAL, WASM_TAG };

/* One value. References are pointers, NULL = ref.null; see the section on references. i32 and f32 use the low 32 bits; the high
 * bits are unspecified. v128 takes two cells, low half first. */
union wasm_value {
    uint32_t i32;
    uint64_t i64;
    float f32;
    double f64;
    void *ref;
};

struct wasm_limits {
    uint64_t min, max; /* pages or elements; max is UINT64_MAX when absent */
    bool is64;         /* memory64 / table64 */
};

struct wasm_extern_type {
    enum wasm_kind kind;
    struct wasm_functype func;   /* WASM_FUNC, WASM_TAG */
    struct wasm_limits limits;   /* WASM_TABLE, WASM_MEMORY */
    uint32_t type;               /* WASM_TABLE element, WASM_GLOBAL content */
    bool mutable_;               /* WASM_GLOBAL */
};

struct wasm_import {
    const char *module; /* zero-terminated, may contain zeros: use the sizes */
    const char *name;
    uint32_t module_bytes, name_bytes;
    struct wasm_extern_type type;
};

struct wasm_export {
    const char *name;
    uint32_t name_bytes;
    uint32_t index; /* in the index space of its kind */
    struct wasm_extern_type type;
};

/* ---- modules ----------------------------------------------------------------------------- */

/* Decodes and validates all of it (function bodies too); translation happens at a function's
 * first call. Copies what it needs: `bytes` may go away. The result has one reference.
 * ERR_INVALID for malformed or invalid modules; the report names section/function and offset. */
enum err wasm_module_create(const uint8_t *bytes, size_t count, struct wasm_module **module,
                            struct report *report) ERR_MUST_USE;
/* Bytes of a file that modules share instead of each copying its part; counted, one reference. */
struct wasm_source;
/* Takes `bytes`, which mem_alloc(NULL, ...) gave. NULL when memory is out: they are still the
 * caller's then. */
struct wasm_source *wasm_source_create(uint8_t *bytes, size_t count);
const uint8_t *wasm_source_bytes(const struct wasm_source *source, size_t *count); /* borrowed */
void wasm_source_unref(struct wasm_source *source); /* NULL is allowed */

/* As wasm_module_create, of `count` bytes of the source from `at` on, which lie within it; takes a
 * reference. `is_known` says that this build has accepted these bytes before: then the bodies of
 * functions are not validated now, but each before it is translated at its first call. Nothing
 * rests on the claim: a body that is invalid after all traps when it is called, with the
 * validator's words. For callers who keep a record of what they have loaded; it saves most of the
 * time of a large module. */
enum err wasm_module_create_from(struct wasm_source *source, size_t at, size_t count,
                                 bool is_known, struct wasm_module **module,
                                 struct report *report) ERR_MUST_USE;
struct wasm_module *wasm_module_ref(struct wasm_module *module);
void wasm_module_unref(struct wasm_module *module);

uint32_t wasm_module_import_count(const struct wasm_module *module);
const struct wasm_import *wasm_module_import(const struct wasm_module *module, uint32_t index);
uint32_t wasm_module_export_count(const struct wasm_module *module);
const struct wasm_export *wasm_module_export(const struct wasm_module *module, uint32_t index);
/* NULL when there is none. */
const struct wasm_export *wasm_module_find_export(const struct wasm_module *module,
                                                  const char *name, size_t name_bytes);
/* What to call a function in messages: its name in the name section, else that of an export or
 * import; NULL when it has none. Borrowed. */
const char *wasm_module_func_name(const struct wasm_module *module, uint32_t index);
/* The nth custom section with this name; false when there is none. Borrowed. */
bool wasm_module_custom_section(const struct wasm_module *module, const char *name, uint32_t nth,
                                const uint8_t **data, size_t *bytes);

/* ---- stores ------------------------------------------------------------------------------ */

struct wasm_store_limits {
    uint64_t memory_bytes_max;   /* linear memories and objects together; 0 = 4 GiB */
    uint64_t table_elements_max; /* all tables together; 0 = 10,000,000 */
    uint64_t stack_bytes_max;    /* one thread's activation stack; 0 = 8 MiB */
    uint64_t objects_bytes;      /* a hint: what wasm_store_objects_bytes will be; 0 = unknown */
};

/* `limits` may be NULL. */
enum err wasm_store_create(const struct wasm_store_limits *limits, struct wasm_store **store,
                           struct report *report) ERR_MUST_USE;
/* Frees everything in it. No thread of it may be running. */
void wasm_store_destroy(struct wasm_store *store);

/* Bytes of linear memory and of objects that guests of this store have now, and everything else
 * that it costs. */
uint64_t wasm_store_memory_bytes(const struct wasm_store *store);
uint64_t wasm_store_overhead_bytes(const struct wasm_store *store);
/* What its instances, functions and globals take, a part of the overhead. */
uint64_t wasm_store_objects_bytes(const struct wasm_store *store);

/* ---- host functions ---------------------------------------------------------------------- */

enum wasm_host_result {
    WASM_HOST_DONE,  /* results are in values[0 .. result_count) */
    WASM_HOST_TRAP,  /* wasm_thread_trap() has said why */
    WASM_HOST_WAIT,  /* wasm_thread_run returns WASM_RUN_WAIT; the function is called again, same
                        arguments and `state`, when the thread is run next */
    WASM_HOST_CALL,  /* call->callee is called with values[0 .. its params); then this function is
                        called again with `state` kept and the results in values[]; its own
                        arguments are gone by then (save what you need) */
};

/* One activation of a host function; valid during the call. */
struct wasm_host_call {
    struct wasm_thread *thread;
    struct wasm_instance *caller; /* the instance whose code called, NULL from wasm_thread_call */
    union wasm_value *values;     /* in: arguments; out: results; room for 16 cells at least, and
                                     for as many as its own type needs */
    struct wasm_func *callee;     /* for WASM_HOST_CALL */
    /* Restart record, zero at the first call of an activation and kept until it is DONE or
     * trapped. If the thread dies while the activation is suspended, `on_abandon` (when set) is
     * called once with it. */
    struct {
        uint64_t step;
        void *data;
        void (*on_abandon)(void *data);
    } *state;
};

typedef enum wasm_host_result (*wasm_host_fn)(struct wasm_host_call *call, void *user);

/* The type is copied. `user` is borrowed until the store is destroyed; `name` (for back traces)
 * is copied. NULL when memory is out. */
struct wasm_func *wasm_func_create_host(struct wasm_store *store,
                                        const struct wasm_functype *type, const char *name,
                                        wasm_host_fn fn, void *user);

/* ---- objects ----------------------------------------------------------------------------- */

union wasm_extern_ref {
    struct wasm_func *func;
    struct wasm_table *table;
    struct wasm_memory *memory;
    struct wasm_global *global;
    struct wasm_tag *tag;
};
struct wasm_extern {
    enum wasm_kind kind;
    union wasm_extern_ref of;
};

const struct wasm_functype *wasm_func_type(const struct wasm_func *func);
struct wasm_global *wasm_global_create(struct wasm_store *store, uint32_t type, bool mutable_,
                                       union wasm_value value[2]);
void wasm_global_get(const struct wasm_global *global, union wasm_value value[2]);
struct wasm_memory *wasm_memory_create(struct wasm_store *store, struct wasm_limits limits);
struct wasm_table *wasm_table_create(struct wasm_store *store, uint32_t type,
                                     struct wasm_limits limits, void *init);
uint64_t wasm_table_size(const struct wasm_table *table);
void *wasm_table_get(const struct wasm_table *table, uint64_t index); /* NULL out of range too */
bool wasm_table_set(struct wasm_table *table, uint64_t index, void *ref);

/* The memory's bytes now: borrowed, and valid only until guest code runs or the memory grows. */
uint8_t *wasm_memory_data(const struct wasm_memory *memory);
uint64_t wasm_memory_bytes(const struct wasm_memory *memory);

/* ---- references -------------------------------------------------------------------------- */

/* What a reference is depends on the hierarchy of its type:
 *     func     a struct wasm_func
 *     extern   the host's own pointer, or an object that a guest has passed off as one. A host's
 *              pointer must have zeros in its upper 16 bits (as user space has), and is never followed
 *     any      an object of the store's heap, or an i31
 *     exn      opaque
 * Objects are collected when nothing refers to them any more. Arguments and results of a running
 * host function, and those of a thread between its calls, are kept; what a host stores elsewhere
 * needs a root. Objects do not move. */

enum wasm_ref_kind { WASM_REF_NULL, WASM_REF_I31, WASM_REF_STRUCT, WASM_REF_ARRAY, WASM_REF_HOST };
/* Of a reference of the hierarchy of any; HOST: a host's pointer that a guest or
 * wasm_ref_from_extern has brought there. */
enum wasm_ref_kind wasm_ref_kind(const void *ref);
void *wasm_ref_make_i31(int32_t value); /* the lower 31 bits */
int32_t wasm_ref_get_i31(const void *ref);
/* any.convert_extern and extern.convert_any. The first may collect; NULL when memory is out. */
void *wasm_ref_from_extern(struct wasm_store *store, void *ref);
void *wasm_ref_to_extern(void *ref);

/* Of a structure or an array: how many fields or elements it has; one of them (`type` as declared,
 * i8 and i16 come as an unsigned WASM_I32); false when there is none at `index`. */
uint32_t wasm_object_count(const void *ref);
bool wasm_object_get(const void *ref, uint32_t index, uint32_t *type, union wasm_value value[2]);
/* False when there is none or it is immutable. The value must be of the field's type. */
bool wasm_object_set(void *ref, uint32_t index, const union wasm_value value[2]);

/* Keeps an object alive until it is destroyed, at the latest with the store. NULL when memory is
 * out. */
struct wasm_root *wasm_root_create(struct wasm_store *store, void *ref);
void *wasm_root_ref(const struct wasm_root *root);
void wasm_root_destroy(struct wasm_root *root);

/* Collects now; bytes of memory that objects take, free room among them included. */
void wasm_store_collect(struct wasm_store *store);
uint64_t wasm_store_object_bytes(const struct wasm_store *store);

/* ---- instances --------------------------------------------------------------------------- */

/* Links `imports` (one per import, in order; kinds and types are checked), allocates, and runs
 * data and element segments. A start function is NOT run: see wasm_instance_start_func.
 * ERR_INVALID = link error; ERR_TRAP = a segment did not fit; ERR_LIMIT/ERR_MEMORY. */
enum err wasm_instance_create(struct wasm_store *store, struct wasm_module *module,
                              const struct wasm_extern *imports, uint32_t import_count,
                              struct wasm_instance **instance, struct report *report) ERR_MUST_USE;
/* NULL when the module has none. */
struct wasm_func *wasm_instance_start_func(const struct wasm_instance *instance);
/* False when there is no such export. */
bool wasm_instance_export(const struct wasm_instance *instance, const char *name,
                          size_t name_bytes, struct wasm_extern *out);
struct wasm_module *wasm_instance_module(const struct wasm_instance *instance); /* borrowed */
/* A place for the embedder to hang its own data on an instance. */
void wasm_instance_set_user(struct wasm_instance *instance, void *user);
void *wasm_instance_user(const struct wasm_instance *instance);

/* ---- threads ----------------------------------------------------------------------------- */

enum wasm_run {
    WASM_RUN_DONE, /* results are ready: wasm_thread_result */
    WASM_RUN_WAIT, /* a host function waits; run again when its event happened */
    WASM_RUN_FUEL, /* the slice is used up, or ends early because a large function is being
                      translated; run again to go on */
    WASM_RUN_TRAP, /* wasm_thread_trap_text says why; the thread is idle again */
};

enum err wasm_thread_create(struct wasm_store *store, struct wasm_thread **thread) ERR_MUST_USE;
/* Abandons whatever is suspended in it. */
void wasm_thread_destroy(struct wasm_thread *thread);

/* Prepares a call; the thread must be idle. Arguments are cells as the type lists them. */
enum err wasm_thread_call(struct wasm_thread *thread, struct wasm_func *func,
                          const union wasm_value *args) ERR_MUST_USE;
/* Runs until done, waiting, trapped, or `fuel` units were used. Fuel is deterministic, the same on
 * every machine and build and however it is cut into slices: one unit per instruction of the
 * source but block, loop, else, end and nop, and one more for each 64 bytes that a bulk
 * instruction touches (a reference has 8) or memory.grow and table.grow add.
 * A slice uses at most `fuel`, the straight line of code behind the last branch or call taken
 * (where fuel is checked), and one unit of a bulk instruction; fills, copies and initialisations stop
 * within and go on in the next slice. Only memory.grow and table.grow count all of theirs at once. */
enum wasm_run wasm_thread_run(struct wasm_thread *thread, uint64_t fuel);
const union wasm_value *wasm_thread_result(const struct wasm_thread *thread);
/* Ends what is suspended (state->on_abandon is called, innermost first); the thread is idle. */
void wasm_thread_abandon(struct wasm_thread *thread);

/* Calls `func` to its end from inside a host function, on the C stack: for cabi_realloc and the
 * like, which may not wait. Fuel is counted; at most `fuel` is spent. Any host WAIT inside is a
 * trap. Returns WASM_RUN_DONE or WASM_RUN_TRAP. Results overwrite `values`. */
enum wasm_run wasm_thread_call_nested(struct wasm_thread *thread, struct wasm_func *func,
                                      union wasm_value *values, uint64_t fuel);

/* Fuel used since creation, exactly. */
uint64_t wasm_thread_fuel_used(const struct wasm_thread *thread);

/* Host functions: note a trap's text, then return WASM_HOST_TRAP. */
void wasm_thread_trap(struct wasm_thread *thread, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The spec's words ("integer divide by zero") or the host's; valid until the next call. */
const char *wasm_thread_trap_text(const struct wasm_thread *thread);
/* Back trace of the trap, innermost first: "  0: name (func 12) +0x3f\n..."; borrowed. A recursion
 * from one call site is one line: "     ... 60 more of name (func 12)\n". */
const char *wasm_thread_back_trace(const struct wasm_thread *thread);
/* How many frames of guest code were on the stack at the trap; no more are counted behind those
 * that the back trace has room for. */
uint32_t wasm_thread_trap_depth(const struct wasm_thread *thread);

/* One call of a thread that stands still: of a guest's function (wasm_module_func_name has its
 * name), or of a host function that waits or has called back. Borrowed. */
struct wasm_frame {
    struct wasm_module *module; /* NULL for a host function */
    uint32_t func_index;        /* in the module */
    const char *host_name;      /* of a host function, else NULL */
};
/* The calls of a thread that waits or has used its slice up, innermost first: writes at most `max`
 * and returns how many it wrote. 0 when the thread is idle or has not begun. */
uint32_t wasm_thread_stack(const struct wasm_thread *thread, struct wasm_frame *frames,
                           uint32_t max);

#endif
