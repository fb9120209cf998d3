/* What the decoder's files share: scopes, and the algebra of static types. Private to
 * interp/component.
 *
 *     decode.c    sections and definitions
 *     typedecl.c  the type section: value, function, component and instance types
 *     match.c     copying types with resources replaced, subtyping, instantiation of types
 *     visible.c   which types imports and exports may mention
 *     names.c     names
 *
 * A scope is a component, or a component or instance type, while it is being read. Every index
 * that a definition uses is looked up in its scope's spaces, which so far hold what was read
 * before: forward references cannot be. `work` bounds the sum of all walks over types, so that a
 * small file cannot keep us busy for long. */
#ifndef INTERP_COMPONENT_DECODE_H
#define INTERP_COMPONENT_DECODE_H

#include "engine/base/map.h"
#include "engine/base/rd.h"
#include "interp/component/def.h"

enum {
    COMP_NESTING_MAX = 60,        /* scopes within scopes */
    COMP_WORK_MAX = 100 * 1000 * 1000,
    COMP_ITEMS_MAX = 1000 * 1000, /* in one index space */
};

struct comp_core_type {
    bool is_module;
    struct wasm_functype func;
    const struct comp_module_type *module;
};

enum comp_scope_kind { COMP_SCOPE_COMPONENT, COMP_SCOPE_COMPONENT_TYPE, COMP_SCOPE_INSTANCE_TYPE };

/* Items by sort: CORE_FUNC to CORE_TAG struct wasm_extern_type; CORE_TYPE struct comp_core_type;
 * CORE_MODULE and CORE_INSTANCE struct comp_module_type (an instance has only exports); FUNC
 * struct comp_functype; TYPE struct comp_any; COMPONENT struct comp_component_type; INSTANCE
 * struct comp_instance_type. */
struct comp_space {
    const void **items;
    size_t count, capacity;
};

struct comp_named_list {
    struct comp_named *items;
    size_t count, capacity;
    struct map unique; /* canonical names already taken */
};

struct comp_scope {
    struct comp_scope *outer;
    enum comp_scope_kind kind;
    uint32_t depth;
    struct comp_space spaces[COMP_SORT_COUNT];
    struct comp_named_list imports, exports;
    struct {
        struct comp_scope_res {
            struct comp_res *res;
            bool is_import;
        } *items;
        size_t count, capacity;
    } resources;
    struct {
        struct comp_step *items;
        size_t count, capacity;
    } steps;
    /* Types and resources (by address) that imports [0] and exports [1] have given a name: only
     * those may the types of further imports and exports be made of. */
    struct map visible[2];
};

struct comp_decoder {
    struct comp_component *component;
    struct arena *arena;
    struct report *report;
    const uint8_t *file; /* the source's bytes */
    struct wasm_source *source;
    bool is_known;
    uint64_t work;
    struct map copies; /* match.c: of one copying of a type, by the original's address */
};

/* Notes an error at the place the reader is at; returns false. */
bool comp_fail(struct comp_decoder *d, const struct rd *rd, enum err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool comp_fail_memory(struct comp_decoder *d);
bool comp_work(struct comp_decoder *d, uint64_t amount);

void comp_scope_init(struct comp_scope *scope, enum comp_scope_kind kind,
                     struct comp_scope *outer);
void comp_scope_deinit(struct comp_scope *scope);
bool comp_scope_push(struct comp_decoder *d, struct comp_scope *scope, enum comp_sort sort,
                     const void *item);
/* NULL with an error when there is no such item. */
const void *comp_scope_get(struct comp_decoder *d, const struct rd *rd,
                           const struct comp_scope *scope, enum comp_sort sort, uint32_t index);
struct comp_res *comp_scope_new_res(struct comp_decoder *d, struct comp_scope *scope,
                                    bool is_import, const char *name);
/* The scope's finished type. NULL when memory is out or it is too large. */
struct comp_component_type *comp_scope_component_type(struct comp_decoder *d,
                                                      struct comp_scope *scope);
struct comp_instance_type *comp_scope_instance_type(struct comp_decoder *d,
                                                    struct comp_scope *scope);

/* ---- reading ----------------------------------------------------------------------------- */

uint32_t comp_read_count(struct comp_decoder *d, struct rd *rd); /* of a vector: fits the rest */
uint32_t comp_read_index(struct rd *rd);
bool comp_read_name(struct comp_decoder *d, struct rd *rd, const char **name, uint32_t *bytes);
bool comp_read_sort(struct comp_decoder *d, struct rd *rd, enum comp_sort *sort);
const char *comp_sort_name(enum comp_sort sort);
/* An import's or export's name with its attributes; the grammar is checked. */
bool comp_read_extern_name(struct comp_decoder *d, struct rd *rd, const char **name,
                           uint32_t *bytes, bool *has_implements);

/* ---- typedecl.c -------------------------------------------------------------------------- */

bool comp_read_core_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope);
bool comp_read_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope);
/* As written: instances are not opened yet, (sub resource) gives a RESOURCE without one. */
bool comp_read_extern_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                           struct comp_extern *type);
/* Gives the scope what an import or export brings: opens instances, makes resources, names types,
 * checks and registers the name, appends to the index space. `type` is replaced by what it became.
 */
bool comp_introduce(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                    bool is_import, bool has_implements, const char *name, uint32_t bytes,
                    struct comp_extern *type);
/* The parts: a name for a list, with the rules for annotated names. */
bool comp_take_name(struct comp_decoder *d, const struct rd *rd, struct comp_scope *scope,
                    bool is_import, bool has_implements, const char *name, uint32_t bytes,
                    const struct comp_extern *type);
bool comp_read_alias(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope);

/* ---- match.c ----------------------------------------------------------------------------- */

bool comp_any_has_free(struct comp_decoder *d, const struct comp_any *any);
/* `type` with its bound resources replaced by new ones of `scope`. */
const struct comp_instance_type *comp_open_instance(struct comp_decoder *d,
                                                    struct comp_scope *scope, bool is_import,
                                                    const struct comp_instance_type *type);
/* Is `sub` usable where `super` is asked for? Binds bindable resources of `super`. On false there
 * is an error. */
bool comp_match(struct comp_decoder *d, const struct rd *rd, const struct comp_extern *sub,
                const struct comp_extern *super);
bool comp_match_core(struct comp_decoder *d, const struct rd *rd,
                     const struct wasm_extern_type *sub, const struct wasm_extern_type *super,
                     const char *name);
/* The type of the instance that `type` gives for these arguments; new resources are `scope`'s. */
const struct comp_instance_type *comp_match_instantiate(struct comp_decoder *d,
                                                        const struct rd *rd,
                                                        struct comp_scope *scope,
                                                        const struct comp_component_type *type,
                                                        const struct comp_named *args,
                                                        uint32_t arg_count);
/* Checks `item` against a type ascribed to it, opened in `scope`. */
bool comp_match_ascribed(struct comp_decoder *d, const struct rd *rd,
                         const struct comp_extern *item, const struct comp_extern *ascribed,
                         const struct comp_scope *scope, size_t first_resource);
const struct comp_named *comp_find_named(struct comp_decoder *d, const struct comp_named *items,
                                         uint32_t count, const char *name, uint32_t bytes);

/* ---- visible.c --------------------------------------------------------------------------- */

/* The types that this import or export names may be used by later ones. */
bool comp_make_visible(struct comp_decoder *d, struct comp_scope *scope, bool is_import,
                       const struct comp_extern *type);
/* Every record, variant, enum, flags and resource that the type uses has a name in the scope. */
bool comp_is_visible(struct comp_decoder *d, struct comp_scope *scope, bool is_import,
                     const struct comp_extern *type);

/* ---- names.c ----------------------------------------------------------------------------- */

enum comp_name_kind {
    COMP_NAME_BAD, COMP_NAME_LABEL, COMP_NAME_CONSTRUCTOR, COMP_NAME_METHOD, COMP_NAME_STATIC,
    COMP_NAME_INTERFACE,
};
struct comp_name_parts {
    enum comp_name_kind kind;
    const char *resource, *member; /* of annotated names; borrowed */
    size_t resource_bytes, member_bytes;
};
struct comp_name_parts comp_name_parse(const char *name, size_t bytes);
bool comp_name_is_interface(const char *name, size_t bytes);

#endif
