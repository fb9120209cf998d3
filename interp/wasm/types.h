/* Defined types: functions, structures, arrays; one object per distinct type in the whole process.
 * Private to interp/wasm.
 *
 * Types are declared in recursion groups, and two groups are the same when they look the same. A
 * group is *interned* when a module is decoded: equal types of all modules are one struct
 * wasm_def_type, with a number that value types carry (wasm.h). Comparing types across modules is
 * therefore comparing pointers or 32-bit numbers; a declared subtype is found in one load and one
 * comparison, since every type lists its supertypes by their depth (`display`).
 *
 * Groups are counted: a module holds those that it declares, a group holds those that it mentions. */
#ifndef INTERP_WASM_TYPES_H
#define INTERP_WASM_TYPES_H

#include "engine/base/err.h"
#include "interp/wasm/wasm.h"

struct wasm_type_group;

enum wasm_def_kind {
    WASM_DEF_FUNC,
    WASM_DEF_STRUCT,
    WASM_DEF_ARRAY,
    WASM_DEF_HOST,      /* not of modules: a host's reference in the shape of an object */
    WASM_DEF_EXCEPTION, /* likewise: what exnref refers to */
};

/* Value types by their low byte; the others stand beside these in enum wasm_type. */
enum {
    WASM_I8 = 0x78, /* only as storage of fields */
    WASM_I16 = 0x77,
    WASM_TYPE_DEFINED = 0x63,  /* a defined type: its number in the upper bits */
    WASM_TYPE_RELATIVE = 0x62, /* while a group is declared: the position in it */
    WASM_TYPE_BOTTOM = 0x60,   /* in unreachable code: a reference to whatever is wanted */
    WASM_TYPE_NUMBER_SHIFT = 9,
    WASM_TYPE_NUMBER_MAX = (1 << 22) - 1,
    WASM_SUPERTYPES_MAX = 63,
};

struct wasm_field {
    uint32_t type;   /* a value type, WASM_I8 or WASM_I16 */
    uint32_t offset; /* in the object, its head included; of an array: of element 0 */
    bool mutable_;
};

struct wasm_def_type {
    struct wasm_functype func; /* first: what the public interface hands out */
    uint8_t kind;              /* enum wasm_def_kind */
    bool is_final;
    uint8_t depth; /* how many supertypes */
    uint32_t value_types[2]; /* (ref null this), (ref this) */
    uint32_t field_count;    /* of an array: 1 */
    uint32_t bytes;          /* of a structure, its head included; of an array's element */
    uint32_t ref_count;      /* fields that may hold objects; of an array: 0 or 1 */
    const struct wasm_field *fields;
    const uint32_t *ref_offsets; /* [ref_count]; the lowest bit: a host's reference may be there */
    struct wasm_type_group *group;
    /* [depth + 1]: the supertype at each depth, then itself. */
    const struct wasm_def_type *display[];
};

/* A type as it is declared. Concrete types among them are interned, or relative to the group. */
struct wasm_type_decl {
    uint8_t kind;
    bool is_final;
    uint8_t depth;  /* 0 without a supertype, else one more than that has */
    uint32_t super; /* a (ref null ...) of it, 0 = none */
    struct wasm_functype func;
    uint32_t field_count;
    const struct wasm_field *fields; /* offsets are not looked at */
};

/* One reference to the group for the caller; `out` gets its types. ERR_MEMORY; ERR_LIMIT when the
 * process has too many types. */
enum err wasm_types_intern(const struct wasm_type_decl *decls, uint32_t count,
                           const struct wasm_def_type **out) ERR_MUST_USE;
void wasm_type_release(struct wasm_type_group *group);
/* Whether `type` is the first of its group: who holds a module's types releases at these. */
bool wasm_type_is_first(const struct wasm_def_type *type);
/* Whether the declared supertype allows this type; a type without one is right. */
bool wasm_type_fits_super(const struct wasm_def_type *type);

/* What a value type with WASM_TYPE_DEFINED refers to. The caller holds the type. */
const struct wasm_def_type *wasm_type_defined(uint32_t type);

static inline bool wasm_type_is_defined(uint32_t type)
{
    return (type & 0xFF) == WASM_TYPE_DEFINED;
}
static inline bool wasm_type_is_nullable(uint32_t type)
{
    return !(type & WASM_NON_NULL);
}
/* Fields and locals without a value of their own start as this. */
static inline bool wasm_type_is_defaultable(uint32_t type)
{
    return !wasm_type_is_ref(type) || wasm_type_is_nullable(type);
}
/* Whether values of the type may be objects of the collector's heap. Host references may, when a
 * guest has converted an object to one. */
bool wasm_type_may_hold_object(uint32_t type);
/* The top of the hierarchy: WASM_ANYREF, WASM_FUNCREF, WASM_EXTERNREF or WASM_EXNREF. */
uint32_t wasm_type_top(uint32_t type);
/* sub <: super, for value types. */
bool wasm_type_matches(uint32_t sub, uint32_t super);
static inline bool wasm_def_type_matches(const struct wasm_def_type *sub,
                                         const struct wasm_def_type *super)
{
    return sub == super ||
           (super->depth < sub->depth && sub->display[super->depth] == super);
}
/* Bytes that a field of this type takes in an object. */
uint32_t wasm_type_storage_bytes(uint32_t type);

/* Not interned: what the heads of host references and exceptions point to. */
extern const struct wasm_def_type wasm_host_object_type, wasm_exception_object_type;

#endif
