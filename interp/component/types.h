/* Value and function types of the component model with their canonical-ABI layout, worked out once
 * when the type is made. Private to interp/component.
 *
 * Types are immutable, live in the arena of their component or linker, and may be shared (a graph
 * without cycles, at most COMP_TYPE_DEPTH_MAX deep and COMP_TYPE_SIZE_MAX nodes large when seen as
 * a tree), so that walks over them are bounded. Source: CanonicalABI.md, 32-bit memories. */
#ifndef INTERP_COMPONENT_TYPES_H
#define INTERP_COMPONENT_TYPES_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "interp/component/component.h"

enum {
    COMP_TYPE_DEPTH_MAX = 100,
    COMP_TYPE_SIZE_MAX = 1000000,
    COMP_FLAT_PARAMS_MAX = 16,
    COMP_FLAT_RESULTS_MAX = 1,
    COMP_FLAT_MAX = 16,         /* longer flat forms only ever travel in memory */
    COMP_VALUE_BYTES_MAX = (1 << 28) - 1,
    COMP_PARAMS_MAX = 1000,
};

/* The identity of a resource type: the address of this. `slot` numbers the resources of the
 * component (or linker) that introduced it; an instance has one runtime resource per slot.
 * While types are matched or copied (validation only) `subst` names what it stands for. */
struct comp_res {
    uint32_t slot;
    bool is_bindable;       /* matching may bind it to a resource of the other side */
    const void *local_to;   /* the component scope that defines it, NULL for imported ones */
    const char *name;       /* for messages; may be NULL */
    struct comp_res *subst;
};

struct comp_field {
    const char *name; /* zero-terminated; NULL in tuples */
    const struct comp_type *type; /* NULL: a case without payload, a label */
    uint32_t offset;  /* records and tuples, from the start of the value */
};

struct comp_type {
    enum comp_kind kind;
    uint32_t size, align;          /* in memory */
    uint32_t flat_count;           /* COMP_FLAT_MAX + 1 when there are more */
    uint8_t flat[COMP_FLAT_MAX];   /* enum wasm_type */
    bool has_resource, has_borrow;
    bool has_pointer;              /* a list or string is in it: lifting needs a memory */
    uint32_t depth, tree_size;
    /* Record, tuple: fields. Variant, enum, option (none, some), result (ok, error): cases.
     * Flags: labels. */
    uint32_t field_count;
    struct comp_field *fields;
    uint32_t discriminant_bytes, payload_offset; /* variant-like */
    const struct comp_type *element; /* list */
    uint32_t fixed_count;            /* list<T, N>: N elements in line; else 0 */
    bool is_map;                     /* map<K, V>: a list of pairs */
    uint32_t packed_bytes;         /* list of plain numbers: bytes of one, else 0 */
    struct comp_res *resource;     /* own, borrow */
};

struct comp_functype {
    uint32_t param_count;
    struct comp_field *params;      /* offsets are those of the parameter tuple in memory */
    const struct comp_type *result; /* NULL when there is none */
    uint32_t params_size, params_align;
    uint32_t flat_count;            /* of the parameters; COMP_FLAT_MAX + 1 when more */
    uint8_t flat[COMP_FLAT_MAX];
    bool has_resource, params_have_pointer;
    uint32_t depth, tree_size;
};

/* The shared types bool .. string. */
const struct comp_type *comp_type_primitive(enum comp_kind kind);

/* Constructors; NULL with a report when a bound is passed, the rules broken, or memory out.
 * `fields` are kept (they must be the arena's). Labels are not checked here. */
const struct comp_type *comp_type_list(struct arena *arena, const struct comp_type *element,
                                       struct report *report);
/* list<T, N>: N elements side by side. */
const struct comp_type *comp_type_fixed_list(struct arena *arena, const struct comp_type *element,
                                             uint32_t count, struct report *report);
/* map<K, V>: in memory a list of pairs. */
const struct comp_type *comp_type_map(struct arena *arena, const struct comp_type *key,
                                      const struct comp_type *value, struct report *report);
const struct comp_type *comp_type_fields(struct arena *arena, enum comp_kind kind,
                                         struct comp_field *fields, uint32_t count,
                                         struct report *report);
const struct comp_type *comp_type_option(struct arena *arena, const struct comp_type *some,
                                         struct report *report);
const struct comp_type *comp_type_result(struct arena *arena, const struct comp_type *ok,
                                         const struct comp_type *error, struct report *report);
const struct comp_type *comp_type_handle(struct arena *arena, enum comp_kind kind,
                                         struct comp_res *resource, struct report *report);
/* A copy of `type`: the same type under a name of its own (decode.h). */
const struct comp_type *comp_type_named(struct arena *arena, const struct comp_type *type);
const struct comp_functype *comp_functype_create(struct arena *arena, struct comp_field *params,
                                                 uint32_t count, const struct comp_type *result,
                                                 struct report *report);

/* Structural equality; resources are compared by `same`. `*work` counts down the nodes visited;
 * false when it reaches 0. */
typedef bool (*comp_same_res)(void *user, const struct comp_res *a, const struct comp_res *b);
bool comp_type_equal(const struct comp_type *a, const struct comp_type *b, comp_same_res same,
                     void *user, uint64_t *work);
bool comp_functype_equal(const struct comp_functype *a, const struct comp_functype *b,
                         comp_same_res same, void *user, uint64_t *work);

/* As WIT text, for messages; cut off at a few hundred bytes. */
void comp_type_print(struct buf *buf, const struct comp_type *type);
void comp_functype_print(struct buf *buf, const struct comp_functype *type);

/* The core signature that `canon lower` gives (is_lift false) or `canon lift` wants (true). At
 * most COMP_FLAT_PARAMS_MAX + 1 parameters. */
struct comp_core_sig {
    uint32_t param_count, result_count;
    uint32_t params[COMP_FLAT_PARAMS_MAX + 1];
    uint32_t results[COMP_FLAT_RESULTS_MAX];
};
void comp_functype_core(const struct comp_functype *type, bool is_lift, struct comp_core_sig *sig);
bool comp_core_sig_equal(const struct comp_core_sig *sig, const struct wasm_functype *type);
void comp_core_sig_print(struct buf *buf, const struct wasm_functype *type);

/* ---- wit.c ------------------------------------------------------------------------------- */

/* Finds a resource by its name as written: "context" or "wasi:io/poll.pollable". */
typedef struct comp_res *(*comp_find_res)(void *user, const char *name, size_t bytes);

/* Parses "func(a: u32) -> string"; ERR_INVALID tells where it went wrong. */
enum err comp_wit_parse_func(struct arena *arena, const char *text, comp_find_res find, void *user,
                             const struct comp_functype **type,
                             struct report *report) ERR_MUST_USE;

/* ---- names.c ----------------------------------------------------------------------------- */

bool comp_name_is_label(const char *name, size_t bytes);
/* The key under which a name is linked: "wasi:io/poll@0.2.6" becomes "wasi:io/poll@0.2";
 * `out` has room for COMP_NAME_MAX bytes. False when the name is longer. */
enum { COMP_NAME_MAX = 512 };
bool comp_name_key(const char *name, size_t bytes, char *out, size_t *out_bytes);
/* The part before '@'. */
size_t comp_name_base_bytes(const char *name, size_t bytes);

#endif
