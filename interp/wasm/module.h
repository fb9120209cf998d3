/* A decoded module: what decode.c makes, validate.c proves, translate.c reads. Private to
 * interp/wasm.
 *
 * Everything lies in the module's arena; bodies point into the module's own copy of the bytes.
 * Validation proves every index in range, every stack well-typed, so that later stages read the
 * same bytes without checks. */
#ifndef INTERP_WASM_MODULE_H
#define INTERP_WASM_MODULE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/arena.h"
#include "engine/base/map.h"
#include "interp/wasm/types.h"
#include "interp/wasm/wasm.h"

struct wasm_code; /* a function's translated form: code.h */

/* A constant expression, kept as its validated bytes (ending with 0x0B). */
struct wasm_const_expr {
    const uint8_t *code;
    uint32_t bytes;
};

struct wasm_func_def {
    uint32_t type_index;
    const uint8_t *body;      /* after the local declarations; NULL for imports */
    uint32_t body_bytes;      /* up to and including the final `end` */
    uint32_t body_offset;     /* of `body` in the file, for messages */
    uint32_t local_count;     /* parameters included */
    const uint32_t *local_types; /* [local_count] */
    uint32_t stack_max;       /* deepest operand stack in values, found by validation */
    uint32_t label_max;       /* deepest nesting of control structures, likewise */
    _Atomic(struct wasm_code *) code; /* NULL until the first call */
    bool is_declared;         /* may be named by ref.func in a body */
    bool is_valid;            /* the body has been validated; under translate_lock in known modules */
    bool has_unset_locals;    /* some have no value until they are set */
};

struct wasm_table_def {
    uint32_t type;
    struct wasm_limits limits;
    bool has_init;
    struct wasm_const_expr init;
};
struct wasm_memory_def {
    struct wasm_limits limits;
};
struct wasm_global_def {
    uint32_t type;
    bool mutable_;
    struct wasm_const_expr init; /* code NULL for imports */
};
struct wasm_tag_def {
    uint32_t type_index;
};

enum wasm_segment_mode { WASM_ACTIVE, WASM_PASSIVE, WASM_DECLARED };
struct wasm_elem_def {
    enum wasm_segment_mode mode;
    uint32_t type;
    uint32_t table;
    struct wasm_const_expr offset;
    uint32_t count;
    const uint32_t *funcs;                /* [count], or NULL when exprs are used */
    const struct wasm_const_expr *exprs;  /* [count] */
};
struct wasm_data_def {
    enum wasm_segment_mode mode;
    uint32_t memory;
    struct wasm_const_expr offset;
    const uint8_t *data;
    uint32_t bytes;
};
struct wasm_custom_def {
    const char *name;
    uint32_t name_bytes;
    const uint8_t *data;
    size_t bytes;
};

struct wasm_module {
    atomic_uint refs;
    struct arena arena;
    struct wasm_source *source;
    const uint8_t *bytes; /* in the source */
    size_t byte_count;
    bool is_known; /* bodies are validated one by one, before their translation */

    /* All index spaces hold the imports first. */
    uint32_t type_count;
    const struct wasm_def_type **types; /* the module holds their groups */
    uint32_t func_count, func_import_count;
    struct wasm_func_def *funcs;
    uint32_t table_count, table_import_count;
    struct wasm_table_def *tables;
    uint32_t memory_count, memory_import_count;
    struct wasm_memory_def *memories;
    uint32_t global_count, global_import_count;
    struct wasm_global_def *globals;
    uint32_t tag_count, tag_import_count;
    struct wasm_tag_def *tags;
    uint32_t import_count;
    struct wasm_import *imports;
    uint32_t export_count;
    struct wasm_export *exports;
    struct map exports_by_name; /* to struct wasm_export * */
    uint32_t elem_count;
    struct wasm_elem_def *elems;
    uint32_t data_count;
    struct wasm_data_def *datas;
    bool has_data_count;
    bool has_start;
    uint32_t start;
    uint32_t custom_count;
    struct wasm_custom_def *customs;
    /* From the "name" section: names[i] may be NULL; zero-terminated. */
    const char **func_names; /* [func_count], or NULL */

    pthread_mutex_t translate_lock;
    void *translated; /* translate.c's own list, freed by wasm_code_free_all(module) */
};

/* What a value type that names a type of the module by its index refers to, as instructions do;
 * false when there is no such type. Others stay as they are. */
static inline bool wasm_module_resolve(const struct wasm_module *module, uint32_t *type)
{
    if (!wasm_type_is_defined(*type))
        return true;
    uint32_t index = *type >> WASM_TYPE_NUMBER_SHIFT;
    if (index >= module->type_count)
        return false;
    *type = module->types[index]->value_types[(*type & WASM_NON_NULL) != 0];
    return true;
}

/* module.c: a value type as the text format writes it, with the module's index for a type that it
 * defines. Returns `text`, or a constant. */
enum { WASM_TYPE_TEXT_BYTES = 32 };
const char *wasm_type_text(const struct wasm_module *module, uint32_t type,
                           char text[WASM_TYPE_TEXT_BYTES]);

/* decode.c: fills everything but validation's fields. */
enum err wasm_decode(struct wasm_module *module, struct report *report) ERR_MUST_USE;
/* validate.c: all of WebAssembly's validation; fills stack_max, label_max, is_declared. Of a known
 * module all but the bodies. */
enum err wasm_validate(struct wasm_module *module, struct report *report) ERR_MUST_USE;
/* The body of one function of a known module that has passed wasm_validate, unless it has been
 * validated already. */
enum err wasm_validate_body(struct wasm_module *module, uint32_t index,
                            struct report *report) ERR_MUST_USE;
/* translate.c */
void wasm_code_free_all(struct wasm_module *module);

#endif
