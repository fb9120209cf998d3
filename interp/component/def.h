/* A decoded component: what decode.c makes and proves, instance.c carries out. Immutable.
 *
 * A definition is a list of steps in the order of the binary; each step appends one item to one
 * index space (or to the exports). Validation has proved every index in range, every name present
 * and every type fitting, so that instantiation only fails for the host's imports, for traps and
 * for memory. Private to interp/component. */
#ifndef INTERP_COMPONENT_DEF_H
#define INTERP_COMPONENT_DEF_H

#include <stdatomic.h>

#include "interp/component/types.h"

enum comp_sort {
    COMP_SORT_CORE_FUNC, /* in the order of enum wasm_kind */
    COMP_SORT_CORE_TABLE,
    COMP_SORT_CORE_MEMORY,
    COMP_SORT_CORE_GLOBAL,
    COMP_SORT_CORE_TAG,
    COMP_SORT_CORE_TYPE,
    COMP_SORT_CORE_MODULE,
    COMP_SORT_CORE_INSTANCE,
    COMP_SORT_FUNC,
    COMP_SORT_VALUE,
    COMP_SORT_TYPE,
    COMP_SORT_COMPONENT,
    COMP_SORT_INSTANCE,
    COMP_SORT_COUNT,
};

struct comp_instance_type;
struct comp_component_type;

/* What a core module type or a core module says about itself. */
struct comp_module_type {
    uint32_t import_count, export_count;
    const struct wasm_import *imports;
    const struct wasm_export *exports;
};

enum comp_any_kind {
    COMP_ANY_VALUE,
    COMP_ANY_FUNC,
    COMP_ANY_RESOURCE,
    COMP_ANY_INSTANCE,
    COMP_ANY_COMPONENT,
};

/* An item of the type index space. */
struct comp_any {
    enum comp_any_kind kind;
    union {
        const struct comp_type *value;
        const struct comp_functype *func;
        struct comp_res *resource;
        const struct comp_instance_type *instance;
        const struct comp_component_type *component;
    } of;
};

struct comp_extern {
    enum comp_sort sort; /* CORE_MODULE, FUNC, TYPE, COMPONENT, INSTANCE */
    union {
        const struct comp_module_type *module;
        const struct comp_functype *func;
        struct comp_any type;
        const struct comp_component_type *component;
        const struct comp_instance_type *instance;
    } of;
};

struct comp_named {
    const char *name; /* zero-terminated */
    uint32_t name_bytes;
    struct comp_extern type;
};

/* `bound` are the resources that the type itself introduces (export "r" (type (sub resource))):
 * none once it is the type of an actual instance. */
struct comp_instance_type {
    uint32_t export_count, bound_count;
    struct comp_named *exports;
    struct comp_res **bound;
    bool has_resource;
    uint32_t depth, tree_size;
};

struct comp_component_type {
    uint32_t import_count, export_count, import_bound_count, export_bound_count;
    struct comp_named *imports, *exports;
    struct comp_res **import_bound, **export_bound;
    bool has_free; /* it names resources of scopes around it */
    uint32_t depth, tree_size;
};

enum comp_encoding { COMP_UTF8, COMP_UTF16, COMP_LATIN1_UTF16 };

enum { COMP_NO_INDEX = 0xFFFFFFFF };

struct comp_canon {
    enum comp_encoding encoding;
    uint32_t memory, realloc, post_return; /* indices, or COMP_NO_INDEX */
};

struct comp_arg {
    const char *name;
    uint32_t name_bytes;
    enum comp_sort sort;
    uint32_t index;
};

enum comp_step_kind {
    COMP_STEP_MODULE,           /* module */
    COMP_STEP_CORE_INSTANTIATE, /* index of the module, args */
    COMP_STEP_CORE_INLINE,      /* args are the exports */
    COMP_STEP_COMPONENT,        /* def */
    COMP_STEP_INSTANTIATE,      /* index of the component, args, type = the exports */
    COMP_STEP_INLINE,           /* args are the exports */
    COMP_STEP_ALIAS,            /* sort, index of the instance, name */
    COMP_STEP_ALIAS_CORE,       /* sort, index of the core instance, name */
    COMP_STEP_ALIAS_OUTER,      /* sort, count of scopes, index */
    COMP_STEP_LIFT,             /* index of the core function, func, canon */
    COMP_STEP_LOWER,            /* index of the function, func, canon */
    COMP_STEP_RESOURCE_NEW,     /* slot */
    COMP_STEP_RESOURCE_DROP,
    COMP_STEP_RESOURCE_REP,
    COMP_STEP_RESOURCE,         /* slot, index of the destructor or COMP_NO_INDEX */
    COMP_STEP_TYPE,             /* appends a type that instances do not need */
    COMP_STEP_IMPORT,           /* name, type */
    COMP_STEP_EXPORT,           /* name, sort, index, type */
};

struct comp_step {
    enum comp_step_kind kind;
    enum comp_sort sort;
    uint32_t index, count, slot;
    const char *name;
    uint32_t name_bytes;
    uint32_t arg_count;
    struct comp_arg *args;
    struct wasm_module *module;
    const struct comp_def *def;
    const struct comp_functype *func;
    struct comp_extern type;
    struct comp_canon canon;
};

struct comp_def {
    uint32_t step_count, slot_count;
    struct comp_step *steps;
    uint32_t space_counts[COMP_SORT_COUNT];
    struct comp_component_type *type;
};

struct comp_links; /* runtime.h */

struct comp_component {
    atomic_uint refs;
    struct arena arena;
    /* What the last instance took once it was made; 0: none yet. */
    atomic_size_t arena_bytes, store_bytes;
    _Atomic(struct comp_links *) links; /* by the first linker; NULL: not yet */
    const struct comp_def *root;    /* NULL for a core module */
    struct wasm_module *core;       /* the core module, else NULL */
    struct {
        struct wasm_module **items;
        size_t count, capacity;
    } modules; /* one reference each */
};

/* decode.c: fills arena, root and modules. */
enum err comp_decode(struct comp_component *component, struct wasm_source *source, bool is_known,
                     struct report *report) ERR_MUST_USE;

#endif
