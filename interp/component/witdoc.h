/* WIT packages as text: interfaces, their types and functions, worlds. For tools (bakery, the
 * reference, the encoder of components); a running component needs none of it.
 *
 * A set is filled file by file and resolved once; then every name leads somewhere, no type
 * contains itself, and the tree is immutable. All texts are zero-terminated and belong to the set.
 * Source: WebAssembly/component-model, WIT.md, without what WASI 0.3 brings (async, stream,
 * future) and without nested packages. */
#ifndef INTERP_COMPONENT_WITDOC_H
#define INTERP_COMPONENT_WITDOC_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "interp/component/component.h"

enum {
    COMP_WIT_BYTES_MAX = 1 << 20,   /* of one file */
    COMP_WIT_DEPTH_MAX = 60,        /* of types within types */
    COMP_WIT_FLAT_BYTES_MAX = 1 << 16, /* of a signature with everything written out */
};

struct comp_wit_interface;
struct comp_wit_def;

struct comp_wit_field {
    const char *name; /* NULL in lists, options, results, tuples */
    const char *doc;  /* "" when there is none */
    const struct comp_wit_type *type; /* NULL: none */
};

/* A type as written. */
struct comp_wit_type {
    enum comp_kind kind;     /* unless `name` is set */
    const char *name;        /* refers to a definition; NULL otherwise */
    struct comp_wit_def *def; /* what `name` means, after resolving */
    /* Record, variant, enum, flags, tuple: what they have. List, option, own, borrow: one. Result:
     * two, either may be without a type. */
    struct comp_wit_field *fields;
    uint32_t field_count;
};

enum comp_wit_def_kind {
    COMP_WIT_ALIAS,    /* type NAME = TYPE; also record, variant, enum and flags */
    COMP_WIT_RESOURCE,
    COMP_WIT_USE,      /* a definition of another interface */
};

struct comp_wit_def {
    enum comp_wit_def_kind kind;
    const char *name, *doc;
    struct comp_wit_interface *interface; /* that has it */
    struct comp_wit_type *type;           /* COMP_WIT_ALIAS */
    const char *from, *from_name;         /* COMP_WIT_USE: as written */
    struct comp_wit_def *target;          /* COMP_WIT_USE, after resolving */
    uint32_t line;
    uint8_t state;                        /* the resolver's */
    struct comp_wit_def *next;
};

struct comp_wit_func {
    const char *name; /* "encode", "[method]tokenizer.encode", "[static]model.load", ... */
    const char *doc;
    struct comp_wit_field *params; /* `self` too */
    uint32_t param_count;
    const struct comp_wit_type *result; /* NULL: none */
    struct comp_wit_func *next;
};

struct comp_wit_interface {
    const char *id;   /* "wasi:io/poll@0.2.4" */
    const char *name; /* "poll" */
    const char *doc, *file;
    struct comp_wit_package *package;
    struct comp_wit_def *defs;   /* in the order of the text */
    struct comp_wit_func *funcs;
    struct comp_wit_def **def_end;
    struct comp_wit_func **func_end;
    struct comp_wit_interface *next;
};

enum comp_wit_item_kind { COMP_WIT_IMPORT, COMP_WIT_EXPORT, COMP_WIT_INCLUDE };

struct comp_wit_item {
    enum comp_wit_item_kind kind;
    const char *name; /* full: "pie:core/model", of an interface or a world */
    uint32_t line;
    struct comp_wit_item *next;
};

struct comp_wit_world {
    const char *id, *name, *doc, *file;
    struct comp_wit_item *items;
    struct comp_wit_world *next;
};

struct comp_wit_package {
    const char *name, *version; /* "wasi:io", "0.2.4" or "" */
    const char *doc;
    struct comp_wit_interface *interfaces;
    struct comp_wit_interface **interface_end;
    struct comp_wit_world *worlds;
    struct comp_wit_world **world_end;
    struct comp_wit_package *next;
};

struct comp_wit {
    struct arena arena;
    struct comp_wit_package *packages; /* in the order they came */
    bool is_resolved;
};

void comp_wit_init(struct comp_wit *wit);
void comp_wit_deinit(struct comp_wit *wit);

/* Reads one file. The package is what it declares; files of one package add up, a file without a
 * declaration belongs to `package` (NULL: it must have one). The report reads "core.wit, line 7:
 * expected `;`, found `}`". After a failure the set is good for comp_wit_deinit only. */
enum err comp_wit_add(struct comp_wit *wit, const char *text, size_t bytes, const char *file,
                      const char *package, struct report *report) ERR_MUST_USE;
/* Connects all names; nothing can be added afterwards. */
enum err comp_wit_resolve(struct comp_wit *wit, struct report *report) ERR_MUST_USE;

/* "pie:core/model", "wasi:io/poll@0.2.4" or with any other 0.2.x: the highest that is there. NULL
 * when there is none. */
const struct comp_wit_interface *comp_wit_find(const struct comp_wit *wit, const char *id,
                                               size_t bytes);
const struct comp_wit_func *comp_wit_find_func(const struct comp_wit_interface *interface,
                                               const char *name, size_t bytes);
const struct comp_wit_def *comp_wit_find_def(const struct comp_wit_interface *interface,
                                             const char *name, size_t bytes);
/* The definition behind any chain of `use`. */
const struct comp_wit_def *comp_wit_target(const struct comp_wit_def *def);

/* The function's type with every name written out, as comp_linker_func takes it; resources of
 * other interfaces are "wasi:io/poll.pollable", without a version. ERR_LIMIT beyond
 * COMP_WIT_FLAT_BYTES_MAX. */
enum err comp_wit_print_flat(struct buf *out, const struct comp_wit_interface *interface,
                             const struct comp_wit_func *func, struct report *report) ERR_MUST_USE;
/* A type as it is written, names kept. */
void comp_wit_print(struct buf *out, const struct comp_wit_type *type);
/* The packages whose names begin with `prefix` as Markdown. */
bool comp_wit_describe(struct buf *out, const struct comp_wit *wit, const char *prefix);

#endif
