/* How the parts find each other: an import that reads or fills the module's memory can only be
 * lowered once the module is instantiated, and the module can only be instantiated with its
 * imports. So such imports go through a shim, a module of functions that call through a table
 * which is filled afterwards ("fixups"). Imports without memory are given directly.
 *
 *     import instances, one per interface          emit_interface
 *     module 0 main, 1 shim, 2 fixups              emit_modules
 *     shim; main(imports); fixups(table, lowered)  emit_instances
 *     lifted exports                               emit_exports
 *
 * Every definition is a section of its own. Invariant: `counts` has the size of each index space
 * after what was appended to `out` so far. */
#include "interp/component/encode.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/map.h"
#include "engine/base/rd.h"
#include "engine/base/vec.h"
#include "interp/component/types.h"
#include "interp/component/witdoc.h"

enum {
    SECTION_CORE_MODULE = 1, SECTION_CORE_INSTANCE = 2, SECTION_INSTANCE = 5, SECTION_ALIAS = 6,
    SECTION_TYPE = 7, SECTION_CANON = 8, SECTION_IMPORT = 10, SECTION_EXPORT = 11,
};
enum { SORT_FUNC = 1, SORT_TYPE = 3, SORT_INSTANCE = 5 };
enum { CORE_FUNC = 0, CORE_TABLE = 1, CORE_MEMORY = 2, CORE_INSTANCE = 0x12 };
enum { IMPORTS_MAX = 10000, NONE = 0xFFFFFFFF };
static const char drop_prefix[] = "[resource-drop]";
static const char initialize[] = "_initialize";

/* A value type: a primitive's code, or an index. */
struct val {
    bool is_index;
    uint32_t code;
};

/* Types are defined in the component (`decls` NULL) or in an instance type. */
struct scope {
    struct buf *decls;
    uint32_t decl_count, type_count;
    struct map types; /* definition -> index + 1 */
    const struct comp_wit_interface *interface;
};

struct import {
    const struct wasm_import *core;
    const struct comp_wit_interface *interface;
    const struct comp_wit_func *func;   /* NULL: a drop of ... */
    const struct comp_wit_def *resource; /* ... this resource */
    bool needs_memory, needs_realloc;
    uint32_t shim;      /* its number in the shim, NONE: given directly */
    uint32_t core_func; /* index of what main imports */
};

struct export {
    const struct wasm_export *core;
    const struct comp_wit_interface *interface;
    const struct comp_wit_func *func;
    bool needs_realloc;
    uint32_t lifted;
};

struct encoder {
    const struct comp_wit *wit;
    struct wasm_module *module;
    struct buf *out;
    struct report *report;
    enum err err;
    struct {
        struct import *items;
        size_t count, capacity;
    } imports;
    struct {
        struct export *items;
        size_t count, capacity;
    } exports;
    struct map marked;       /* definitions that must be there */
    struct map instances;    /* interface -> 1 while it is being emitted, index + 2 afterwards */
    struct scope component;
    uint32_t core_funcs, core_instances, funcs, instances_count;
    uint32_t shim_count;
    struct arena arena; /* flat types */
};

/* ---- bytes -------------------------------------------------------------------------------- */

static void fail_memory(struct encoder *e)
{
    if (!e->err)
        e->err = err_set(e->report, ERR_MEMORY, "no memory for a component");
}

static void put(struct buf *out, uint32_t byte)
{
    (void)buf_putc(out, (char)(unsigned char)byte);
}

static void put_u32(struct buf *out, uint32_t value)
{
    while (value >= 0x80) {
        put(out, (value & 0x7f) | 0x80);
        value >>= 7;
    }
    put(out, value);
}

static void put_name(struct buf *out, const char *name, size_t bytes)
{
    put_u32(out, (uint32_t)bytes);
    (void)buf_append(out, name, bytes);
}

static void put_text(struct buf *out, const char *name)
{
    put_name(out, name, strlen(name));
}

/* A type index as the signed number that value types are. */
static void put_val(struct buf *out, struct val val)
{
    uint32_t value = val.code;
    if (!val.is_index) {
        put(out, value);
        return;
    }
    while (value >= 0x40) {
        put(out, (value & 0x7f) | 0x80);
        value >>= 7;
    }
    put(out, value);
}

/* One definition as a section; empties `body`. */
static void put_section(struct encoder *e, uint32_t id, struct buf *body, bool counted)
{
    if (body->failed)
        fail_memory(e);
    put(e->out, id);
    put_u32(e->out, (uint32_t)body->count + (counted ? 1 : 0));
    if (counted)
        put(e->out, 1);
    (void)buf_append(e->out, body->data, body->count);
    if (e->out->failed)
        fail_memory(e);
    buf_clear(body);
}

/* ---- what is needed ----------------------------------------------------------------------- */

static void mark_type(struct encoder *e, const struct comp_wit_type *type);

static void mark_def(struct encoder *e, const struct comp_wit_def *def)
{
    if (e->err || map_find(&e->marked, &def, sizeof def))
        return;
    if (!map_set(&e->marked, &def, sizeof def, e))
        fail_memory(e);
    if (def->kind == COMP_WIT_USE)
        mark_def(e, def->target);
    else if (def->kind == COMP_WIT_ALIAS)
        mark_type(e, def->type);
}

static void mark_type(struct encoder *e, const struct comp_wit_type *type)
{
    if (type->name) {
        mark_def(e, type->def);
        return;
    }
    for (uint32_t i = 0; i < type->field_count; i++)
        if (type->fields[i].type)
            mark_type(e, type->fields[i].type);
}

static void mark_func(struct encoder *e, const struct comp_wit_func *func)
{
    for (uint32_t i = 0; i < func->param_count; i++)
        mark_type(e, func->params[i].type);
    if (func->result)
        mark_type(e, func->result);
}

static struct comp_res *find_any(void *user, const char *name, size_t bytes)
{
    static struct comp_res any;
    (void)user;
    (void)name;
    (void)bytes;
    return &any; /* only the shape matters here */
}

/* The function's type with its layout; NULL after a failure. */
static const struct comp_functype *flat_type(struct encoder *e,
                                             const struct comp_wit_interface *interface,
                                             const struct comp_wit_func *func)
{
    const struct comp_functype *type = NULL;
    struct buf text;
    if (e->err)
        return NULL;
    buf_init(&text, NULL);
    e->err = comp_wit_print_flat(&text, interface, func, e->report);
    if (!e->err)
        e->err = comp_wit_parse_func(&e->arena, text.data, find_any, NULL, &type, e->report);
    buf_deinit(&text);
    return e->err ? NULL : type;
}

static void check_signature(struct encoder *e, const struct comp_functype *type, bool is_lift,
                            const struct wasm_functype *core, const char *what, const char *module,
                            const char *name)
{
    struct comp_core_sig sig;
    comp_functype_core(type, is_lift, &sig);
    if (comp_core_sig_equal(&sig, core))
        return;
    struct buf have, want;
    buf_init(&have, NULL);
    buf_init(&want, NULL);
    const struct wasm_functype wanted = {.param_count = sig.param_count,
                                         .result_count = sig.result_count,
                                         .params = sig.params,
                                         .results = sig.results};
    comp_core_sig_print(&have, core);
    comp_core_sig_print(&want, &wanted);
    e->err = err_set(e->report, ERR_INVALID,
                     "the module %s %s of %s as %s, but its canonical form is %s", what, name, module,
                     have.data ? have.data : "?", want.data ? want.data : "?");
    buf_deinit(&have);
    buf_deinit(&want);
}

static void add_import(struct encoder *e, const struct wasm_import *core)
{
    struct import import = {.core = core, .shim = NONE};
    const struct comp_wit_interface *interface =
        comp_wit_find(e->wit, core->module, core->module_bytes);
    size_t prefix = sizeof drop_prefix - 1;
    if (core->type.kind != WASM_FUNC || !interface) {
        e->err = err_set(e->report, ERR_NOT_FOUND,
                         "the module imports %s of \"%s\", which is no %s; is a source file or a "
                         "library missing?",
                         core->name, core->module, interface ? "function" : "interface of the SDK");
        return;
    }
    import.interface = interface;
    if (core->name_bytes > prefix && memcmp(core->name, drop_prefix, prefix) == 0) {
        import.resource = comp_wit_find_def(interface, core->name + prefix, core->name_bytes - prefix);
        if (!import.resource || comp_wit_target(import.resource)->kind != COMP_WIT_RESOURCE) {
            e->err = err_set(e->report, ERR_NOT_FOUND, "%s has no resource %s", interface->id,
                             core->name + prefix);
            return;
        }
        mark_def(e, import.resource);
        if (!e->err && (core->type.func.param_count != 1 || core->type.func.params[0] != WASM_I32 ||
                        core->type.func.result_count != 0))
            e->err = err_set(e->report, ERR_INVALID, "the module imports %s of %s with a wrong type",
                             core->name, core->module);
    } else {
        import.func = comp_wit_find_func(interface, core->name, core->name_bytes);
        if (!import.func) {
            e->err = err_set(e->report, ERR_NOT_FOUND, "%s has no function %s", interface->id,
                             core->name);
            return;
        }
        mark_func(e, import.func);
        const struct comp_functype *type = flat_type(e, interface, import.func);
        if (!type)
            return;
        check_signature(e, type, false, &core->type.func, "imports", core->module, core->name);
        import.needs_realloc = type->result && type->result->has_pointer;
        import.needs_memory = import.needs_realloc || type->params_have_pointer ||
                              type->flat_count > COMP_FLAT_PARAMS_MAX ||
                              (type->result && type->result->flat_count > COMP_FLAT_RESULTS_MAX);
        if (import.needs_memory)
            import.shim = e->shim_count++;
    }
    if (!e->err && !vec_push(NULL, &e->imports, import))
        fail_memory(e);
}

static void add_export(struct encoder *e, const struct wasm_export *core)
{
    const char *hash = memchr(core->name, '#', core->name_bytes);
    if (core->type.kind != WASM_FUNC || !hash ||
        (core->name_bytes > 10 && memcmp(core->name, "cabi_post_", 10) == 0))
        return;
    size_t interface_bytes = (size_t)(hash - core->name);
    struct export export = {.core = core};
    export.interface = comp_wit_find(e->wit, core->name, interface_bytes);
    if (export.interface)
        export.func = comp_wit_find_func(export.interface, hash + 1,
                                         core->name_bytes - interface_bytes - 1);
    if (!export.func) {
        e->err = err_set(e->report, ERR_NOT_FOUND,
                         "the module exports %s, but there is no such function in the SDK or in the "
                         "program", core->name);
        return;
    }
    mark_func(e, export.func);
    const struct comp_functype *type = flat_type(e, export.interface, export.func);
    if (!type)
        return;
    check_signature(e, type, true, &core->type.func, "exports", export.interface->id,
                    export.func->name);
    export.needs_realloc = type->params_have_pointer || type->flat_count > COMP_FLAT_PARAMS_MAX;
    if (!e->err && !vec_push(NULL, &e->exports, export))
        fail_memory(e);
}

/* ---- types -------------------------------------------------------------------------------- */

/* Appends a type's definition; gives its index. */
static uint32_t define(struct encoder *e, struct scope *scope, struct buf *body)
{
    if (scope->decls) {
        put(scope->decls, 0x01);
        (void)buf_append(scope->decls, body->data, body->count);
        scope->decl_count++;
        if (body->failed)
            fail_memory(e);
        buf_clear(body);
    } else {
        put_section(e, SECTION_TYPE, body, true);
    }
    return scope->type_count++;
}

static uint32_t def_index(struct encoder *e, struct scope *scope, const struct comp_wit_def *def);

static void put_optional(struct buf *out, const struct val *val, bool is_there)
{
    put(out, is_there);
    if (is_there)
        put_val(out, *val);
}

/* The definition that own<> and borrow<> name. */
static const struct comp_wit_def *handle_def(const struct comp_wit_type *type)
{
    return type->fields[0].type->def;
}

/* True for names of resources, and of aliases of them: written as a plain type they mean own. */
static bool is_resource(const struct comp_wit_def *def)
{
    def = comp_wit_target(def);
    while (def->kind == COMP_WIT_ALIAS && def->type->name)
        def = comp_wit_target(def->type->def);
    return def->kind == COMP_WIT_RESOURCE;
}

static struct val put_type(struct encoder *e, struct scope *scope, const struct comp_wit_type *type);

/* The body of a type that is no name and no primitive. */
static void put_body(struct encoder *e, struct scope *scope, const struct comp_wit_type *type,
                     struct buf *body)
{
    struct val *parts = arena_calloc(&e->arena, (size_t)type->field_count + 1, sizeof *parts);
    if (!parts) {
        fail_memory(e);
        return;
    }
    bool is_handle = type->kind == COMP_OWN || type->kind == COMP_BORROW;
    for (uint32_t i = 0; i < type->field_count && !is_handle; i++)
        if (type->fields[i].type)
            parts[i] = put_type(e, scope, type->fields[i].type);
    switch (type->kind) {
    case COMP_RECORD: put(body, 0x72); break;
    case COMP_VARIANT: put(body, 0x71); break;
    case COMP_LIST: put(body, 0x70); break;
    case COMP_TUPLE: put(body, 0x6f); break;
    case COMP_FLAGS: put(body, 0x6e); break;
    case COMP_ENUM: put(body, 0x6d); break;
    case COMP_OPTION: put(body, 0x6b); break;
    case COMP_RESULT: put(body, 0x6a); break;
    default: /* a handle */
        put(body, type->kind == COMP_OWN ? 0x69 : 0x68);
        put_u32(body, def_index(e, scope, handle_def(type)));
        return;
    }
    if (type->kind == COMP_LIST || type->kind == COMP_OPTION) {
        put_val(body, parts[0]);
        return;
    }
    if (type->kind == COMP_RESULT) {
        put_optional(body, &parts[0], type->fields[0].type != NULL);
        put_optional(body, &parts[1], type->fields[1].type != NULL);
        return;
    }
    put_u32(body, type->field_count);
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (type->kind != COMP_TUPLE)
            put_text(body, type->fields[i].name);
        if (type->kind == COMP_VARIANT) {
            put_optional(body, &parts[i], type->fields[i].type != NULL);
            put(body, 0);
        } else if (type->kind == COMP_RECORD || type->kind == COMP_TUPLE) {
            put_val(body, parts[i]);
        }
    }
}

static struct val put_type(struct encoder *e, struct scope *scope, const struct comp_wit_type *type)
{
    static const uint8_t codes[] = {0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x7a, 0x79,
                                    0x78, 0x77, 0x76, 0x75, 0x74, 0x73};
    struct buf body;
    if (e->err)
        return (struct val){0};
    if (!type->name && type->kind <= COMP_STRING)
        return (struct val){false, codes[type->kind]};
    if (type->name && !is_resource(type->def))
        return (struct val){true, def_index(e, scope, type->def)};
    buf_init(&body, NULL);
    if (type->name) {
        put(&body, 0x69);
        put_u32(&body, def_index(e, scope, type->def));
    } else {
        put_body(e, scope, type, &body);
    }
    struct val val = {true, define(e, scope, &body)};
    buf_deinit(&body);
    return val;
}

static uint32_t put_func_type(struct encoder *e, struct scope *scope,
                              const struct comp_wit_func *func)
{
    struct buf body;
    struct val *params = arena_calloc(&e->arena, (size_t)func->param_count + 1, sizeof *params);
    struct val result = {0};
    buf_init(&body, NULL);
    if (!params) {
        fail_memory(e);
        return 0;
    }
    for (uint32_t i = 0; i < func->param_count; i++)
        params[i] = put_type(e, scope, func->params[i].type);
    if (func->result)
        result = put_type(e, scope, func->result);
    put(&body, 0x40);
    put_u32(&body, func->param_count);
    for (uint32_t i = 0; i < func->param_count; i++) {
        put_text(&body, func->params[i].name);
        put_val(&body, params[i]);
    }
    put(&body, func->result ? 0 : 1);
    if (func->result)
        put_val(&body, result);
    else
        put(&body, 0);
    uint32_t index = define(e, scope, &body);
    buf_deinit(&body);
    return index;
}

static uint32_t instance_of(struct encoder *e, const struct comp_wit_interface *interface)
{
    uintptr_t found = (uintptr_t)map_find(&e->instances, &interface, sizeof interface);
    return found >= 2 ? (uint32_t)(found - 2) : NONE;
}

/* Index of a definition's type in a scope. In the component it is an alias of an imported
 * instance's export; in an instance type it is an export of that type. */
static uint32_t def_index(struct encoder *e, struct scope *scope, const struct comp_wit_def *def)
{
    uintptr_t known = (uintptr_t)map_find(&scope->types, &def, sizeof def);
    if (known)
        return (uint32_t)(known - 1);
    if (e->err)
        return 0;
    struct buf body;
    buf_init(&body, NULL);
    uint32_t index;
    if (!scope->decls) {
        if (def->interface == scope->interface && def->kind == COMP_WIT_USE)
            return def_index(e, scope, def->target);
        uint32_t instance = instance_of(e, def->interface);
        if (instance == NONE) {
            e->err = err_set(e->report, ERR_UNSUPPORTED,
                             "an exported function uses the type %s of %s, which is not imported; "
                             "exports are made of plain and imported types only",
                             def->name, def->interface->id);
            return 0;
        }
        put(&body, SORT_TYPE);
        put(&body, 0x00);
        put_u32(&body, instance);
        put_text(&body, def->name);
        put_section(e, SECTION_ALIAS, &body, true);
        index = scope->type_count++;
    } else {
        uint32_t bound = NONE;
        if (def->kind == COMP_WIT_USE) {
            uint32_t outer = def_index(e, &e->component, def->target);
            put(scope->decls, 0x02);
            put(scope->decls, SORT_TYPE);
            put(scope->decls, 0x02);
            put_u32(scope->decls, 1);
            put_u32(scope->decls, outer);
            scope->decl_count++;
            bound = scope->type_count++;
        } else if (def->kind == COMP_WIT_ALIAS && is_resource(def)) {
            bound = def_index(e, scope, def->type->def);
        } else if (def->kind == COMP_WIT_ALIAS) {
            struct val val = put_type(e, scope, def->type);
            bound = val.code;
            if (!val.is_index) {
                put(&body, val.code);
                bound = define(e, scope, &body);
            }
        }
        put(scope->decls, 0x04);
        put(scope->decls, 0x00);
        put_text(scope->decls, def->name);
        put(scope->decls, SORT_TYPE);
        put(scope->decls, def->kind == COMP_WIT_RESOURCE ? 1 : 0);
        if (def->kind != COMP_WIT_RESOURCE)
            put_u32(scope->decls, bound);
        scope->decl_count++;
        index = scope->type_count++;
    }
    buf_deinit(&body);
    if (!map_set(&scope->types, &def, sizeof def, (void *)(uintptr_t)(index + 1)))
        fail_memory(e);
    return index;
}

/* ---- imports ------------------------------------------------------------------------------ */

/* The interfaces whose types this one uses come first, and their types are there by name before
 * the instance type that refers to them. */
static void emit_interface(struct encoder *e, const struct comp_wit_interface *interface)
{
    uintptr_t state = (uintptr_t)map_find(&e->instances, &interface, sizeof interface);
    if (e->err || state >= 2)
        return;
    if (state == 1) {
        e->err = err_set(e->report, ERR_INVALID, "%s uses types of an interface that uses its own",
                         interface->id);
        return;
    }
    if (!map_set(&e->instances, &interface, sizeof interface, (void *)(uintptr_t)1))
        fail_memory(e);
    for (const struct comp_wit_def *def = interface->defs; def; def = def->next)
        if (def->kind == COMP_WIT_USE && map_find(&e->marked, &def, sizeof def)) {
            emit_interface(e, def->target->interface);
            if (!e->err)
                (void)def_index(e, &e->component, def->target);
        }
    if (e->err)
        return;
    struct buf decls, body;
    buf_init(&decls, NULL);
    buf_init(&body, NULL);
    struct scope scope = {.decls = &decls, .interface = interface};
    map_init(&scope.types, NULL);
    for (const struct comp_wit_def *def = interface->defs; def && !e->err; def = def->next)
        if (map_find(&e->marked, &def, sizeof def))
            (void)def_index(e, &scope, def);
    for (const struct comp_wit_func *func = interface->funcs; func && !e->err; func = func->next) {
        bool is_used = false;
        for (size_t i = 0; i < e->imports.count && !is_used; i++)
            is_used = e->imports.items[i].func == func;
        if (!is_used)
            continue;
        uint32_t index = put_func_type(e, &scope, func);
        put(&decls, 0x04);
        put(&decls, 0x00);
        put_text(&decls, func->name);
        put(&decls, SORT_FUNC);
        put_u32(&decls, index);
        scope.decl_count++;
    }
    put(&body, 0x42);
    put_u32(&body, scope.decl_count);
    (void)buf_append(&body, decls.data, decls.count);
    if (decls.failed)
        fail_memory(e);
    uint32_t type = define(e, &e->component, &body);
    put(&body, 0x00);
    put_text(&body, interface->id);
    put(&body, SORT_INSTANCE);
    put_u32(&body, type);
    put_section(e, SECTION_IMPORT, &body, true);
    uintptr_t known = (uintptr_t)e->instances_count++ + 2;
    if (!map_set(&e->instances, &interface, sizeof interface, (void *)known))
        fail_memory(e);
    map_deinit(&scope.types);
    buf_deinit(&decls);
    buf_deinit(&body);
}

static void emit_imports(struct encoder *e)
{
    for (size_t i = 0; i < e->imports.count; i++)
        emit_interface(e, e->imports.items[i].interface);
    for (size_t i = 0; i < e->exports.count; i++) {
        const struct comp_wit_interface *interface = e->exports.items[i].interface;
        for (const struct comp_wit_def *def = interface->defs; def; def = def->next)
            if (def->kind == COMP_WIT_USE && map_find(&e->marked, &def, sizeof def))
                emit_interface(e, def->target->interface);
    }
}

/* ---- core modules ------------------------------------------------------------------------- */

static void put_core_section(struct buf *out, uint32_t id, struct buf *body)
{
    put(out, id);
    put_u32(out, (uint32_t)body->count);
    (void)buf_append(out, body->data, body->count);
    out->failed |= body->failed;
    buf_clear(body);
}

static void put_core_type(struct buf *out, const struct wasm_functype *type)
{
    put(out, 0x60);
    put_u32(out, type->param_count);
    for (uint32_t i = 0; i < type->param_count; i++)
        put(out, type->params[i]);
    put_u32(out, type->result_count);
    for (uint32_t i = 0; i < type->result_count; i++)
        put(out, type->results[i]);
}

/* One type per function of the shim, in their order. */
static void put_shim_types(const struct encoder *e, struct buf *body, bool with_empty)
{
    static const struct wasm_functype empty;
    put_u32(body, e->shim_count + with_empty);
    for (size_t i = 0; i < e->imports.count; i++)
        if (e->imports.items[i].shim != NONE)
            put_core_type(body, &e->imports.items[i].core->type.func);
    if (with_empty)
        put_core_type(body, &empty);
}

static void put_number(struct buf *out, uint32_t number)
{
    char digits[12];
    int bytes = snprintf(digits, sizeof digits, "%u", number);
    put_name(out, digits, (size_t)bytes);
}

static const char header[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};

static void make_shim(const struct encoder *e, struct buf *out)
{
    struct buf body, code;
    buf_init(&body, NULL);
    buf_init(&code, NULL);
    (void)buf_append(out, header, sizeof header);
    put_shim_types(e, &body, false);
    put_core_section(out, 1, &body);
    put_u32(&body, e->shim_count);
    for (uint32_t i = 0; i < e->shim_count; i++)
        put_u32(&body, i);
    put_core_section(out, 3, &body);
    put(&body, 1); /* one table of functions, of exactly this size */
    put(&body, 0x70);
    put(&body, 1);
    put_u32(&body, e->shim_count);
    put_u32(&body, e->shim_count);
    put_core_section(out, 4, &body);
    put_u32(&body, e->shim_count + 1);
    for (uint32_t i = 0; i < e->shim_count; i++) {
        put_number(&body, i);
        put(&body, CORE_FUNC);
        put_u32(&body, i);
    }
    put_text(&body, "$imports");
    put(&body, CORE_TABLE);
    put(&body, 0);
    put_core_section(out, 7, &body);
    put_u32(&body, e->shim_count);
    uint32_t shim = 0;
    for (size_t i = 0; i < e->imports.count; i++) {
        if (e->imports.items[i].shim == NONE)
            continue;
        buf_clear(&code);
        put(&code, 0); /* no locals */
        for (uint32_t p = 0; p < e->imports.items[i].core->type.func.param_count; p++) {
            put(&code, 0x20); /* local.get */
            put_u32(&code, p);
        }
        put(&code, 0x41); /* i32.const, signed */
        put_val(&code, (struct val){true, shim});
        put(&code, 0x11); /* call_indirect */
        put_u32(&code, shim);
        put(&code, 0);
        put(&code, 0x0b);
        put_u32(&body, (uint32_t)code.count);
        (void)buf_append(&body, code.data, code.count);
        out->failed |= code.failed;
        shim++;
    }
    put_core_section(out, 10, &body);
    buf_deinit(&body);
    buf_deinit(&code);
}

/* Fills the shim's table and then runs the module's own _initialize. */
static void make_fixups(const struct encoder *e, bool has_initialize, struct buf *out)
{
    struct buf body;
    buf_init(&body, NULL);
    (void)buf_append(out, header, sizeof header);
    put_shim_types(e, &body, has_initialize);
    put_core_section(out, 1, &body);
    put_u32(&body, e->shim_count + (e->shim_count != 0) + has_initialize);
    for (uint32_t i = 0; i < e->shim_count; i++) {
        put_text(&body, "");
        put_number(&body, i);
        put(&body, 0);
        put_u32(&body, i);
    }
    if (has_initialize) {
        put_text(&body, "");
        put_text(&body, initialize);
        put(&body, 0);
        put_u32(&body, e->shim_count);
    }
    if (e->shim_count) {
        put_text(&body, "");
        put_text(&body, "$imports");
        put(&body, 1);
        put(&body, 0x70);
        put(&body, 1);
        put_u32(&body, e->shim_count);
        put_u32(&body, e->shim_count);
    }
    put_core_section(out, 2, &body);
    if (has_initialize) {
        put_u32(&body, e->shim_count);
        put_core_section(out, 8, &body);
    }
    if (e->shim_count) {
        put(&body, 1);
        put(&body, 0); /* active, table 0, at 0 */
        put(&body, 0x41);
        put(&body, 0);
        put(&body, 0x0b);
        put_u32(&body, e->shim_count);
        for (uint32_t i = 0; i < e->shim_count; i++)
            put_u32(&body, i);
        put_core_section(out, 9, &body);
    }
    buf_deinit(&body);
}

/* The module without what describes it to makers of components. */
static void copy_module(struct encoder *e, const uint8_t *module, size_t bytes, struct buf *out)
{
    static const char described[] = "component-type";
    size_t at = sizeof header;
    (void)buf_append(out, module, at);
    while (at < bytes) { /* valid: wasm_module_create has read it */
        size_t begin = at;
        struct rd rd = rd_make(module + at, bytes - at);
        uint8_t id = rd_u8(&rd);
        uint32_t size = (uint32_t)rd_leb_u(&rd, 32);
        const uint8_t *body = rd_take(&rd, size);
        if (!body) {
            e->err = err_set(e->report, ERR_INVALID, "the module is cut off");
            return;
        }
        at += rd.at;
        if (id == 0) {
            struct rd name = rd_make(body, size);
            uint32_t name_bytes = (uint32_t)rd_leb_u(&name, 32);
            const uint8_t *text = rd_take(&name, name_bytes);
            if (text && name_bytes >= sizeof described - 1 &&
                memcmp(text, described, sizeof described - 1) == 0)
                continue;
        }
        (void)buf_append(out, module + begin, at - begin);
    }
}

/* ---- instances ---------------------------------------------------------------------------- */

static uint32_t alias_core(struct encoder *e, uint32_t sort, uint32_t instance, const char *name,
                           size_t bytes)
{
    struct buf body;
    buf_init(&body, NULL);
    put(&body, 0x00);
    put(&body, sort);
    put(&body, 0x01);
    put_u32(&body, instance);
    put_name(&body, name, bytes);
    put_section(e, SECTION_ALIAS, &body, true);
    buf_deinit(&body);
    return sort == CORE_FUNC ? e->core_funcs++ : 0;
}

/* Lowers an imported function; `options` are those that need the module, NULL: none. */
static uint32_t lower(struct encoder *e, const struct import *import, uint32_t realloc)
{
    struct buf body;
    buf_init(&body, NULL);
    put(&body, SORT_FUNC);
    put(&body, 0x00);
    put_u32(&body, instance_of(e, import->interface));
    put_text(&body, import->func->name);
    put_section(e, SECTION_ALIAS, &body, true);
    put(&body, 0x01);
    put(&body, 0x00);
    put_u32(&body, e->funcs++);
    if (import->needs_memory) {
        put_u32(&body, import->needs_realloc ? 3 : 2);
        put(&body, 0x03);
        put(&body, 0);
        if (import->needs_realloc) {
            put(&body, 0x04);
            put_u32(&body, realloc);
        }
        put(&body, 0x00);
    } else {
        put(&body, 0);
    }
    put_section(e, SECTION_CANON, &body, true);
    buf_deinit(&body);
    return e->core_funcs++;
}

static uint32_t drop_resource(struct encoder *e, const struct comp_wit_def *resource)
{
    struct buf body;
    buf_init(&body, NULL);
    uint32_t type = def_index(e, &e->component, resource);
    put(&body, 0x03);
    put_u32(&body, type);
    put_section(e, SECTION_CANON, &body, true);
    buf_deinit(&body);
    return e->core_funcs++;
}

/* Imports with one module name are one instance, made of core functions. */
static void emit_main(struct encoder *e)
{
    struct buf body, args;
    uint32_t arg_count = 0;
    buf_init(&body, NULL);
    buf_init(&args, NULL);
    for (size_t i = 0; i < e->imports.count; i++) {
        const struct wasm_import *first = e->imports.items[i].core;
        bool is_first = true;
        for (size_t j = 0; j < e->imports.count; j++) {
            const struct wasm_import *other = e->imports.items[j].core;
            if (other->module_bytes != first->module_bytes ||
                memcmp(other->module, first->module, first->module_bytes) != 0)
                continue;
            is_first &= j >= i;
        }
        if (!is_first)
            continue;
        struct buf exports;
        struct map seen;
        uint32_t unique = 0;
        buf_init(&exports, NULL);
        map_init(&seen, NULL);
        for (size_t j = i; j < e->imports.count && !e->err; j++) {
            const struct wasm_import *other = e->imports.items[j].core;
            if (other->module_bytes != first->module_bytes ||
                memcmp(other->module, first->module, first->module_bytes) != 0 ||
                map_find(&seen, other->name, other->name_bytes))
                continue;
            if (!map_set(&seen, other->name, other->name_bytes, e))
                fail_memory(e);
            put_name(&exports, other->name, other->name_bytes);
            put(&exports, CORE_FUNC);
            put_u32(&exports, e->imports.items[j].core_func);
            unique++;
        }
        put(&body, 0x01);
        put_u32(&body, unique);
        (void)buf_append(&body, exports.data, exports.count);
        body.failed |= exports.failed;
        put_section(e, SECTION_CORE_INSTANCE, &body, true);
        put_name(&args, first->module, first->module_bytes);
        put(&args, CORE_INSTANCE);
        put_u32(&args, e->core_instances++);
        arg_count++;
        map_deinit(&seen);
        buf_deinit(&exports);
    }
    put(&body, 0x00);
    put_u32(&body, 0);
    put_u32(&body, arg_count);
    (void)buf_append(&body, args.data, args.count);
    body.failed |= args.failed;
    put_section(e, SECTION_CORE_INSTANCE, &body, true);
    e->core_instances++;
    buf_deinit(&body);
    buf_deinit(&args);
}

static bool has_export(const struct encoder *e, const char *name, enum wasm_kind kind)
{
    const struct wasm_export *export =
        wasm_module_find_export(e->module, name, strlen(name));
    return export && export->type.kind == kind;
}

static void emit_fixups(struct encoder *e, uint32_t shim, uint32_t main_, uint32_t realloc,
                        bool has_initialize)
{
    struct buf body, exports;
    uint32_t count = 0;
    buf_init(&body, NULL);
    buf_init(&exports, NULL);
    if (e->shim_count) {
        (void)alias_core(e, CORE_TABLE, shim, "$imports", 8);
        put_text(&exports, "$imports");
        put(&exports, CORE_TABLE);
        put(&exports, 0);
        count++;
    }
    for (size_t i = 0; i < e->imports.count && !e->err; i++) {
        const struct import *import = &e->imports.items[i];
        if (import->shim == NONE)
            continue;
        uint32_t lowered = lower(e, import, realloc);
        put_number(&exports, import->shim);
        put(&exports, CORE_FUNC);
        put_u32(&exports, lowered);
        count++;
    }
    if (has_initialize) {
        uint32_t func = alias_core(e, CORE_FUNC, main_, initialize, sizeof initialize - 1);
        put_text(&exports, initialize);
        put(&exports, CORE_FUNC);
        put_u32(&exports, func);
        count++;
    }
    put(&body, 0x01);
    put_u32(&body, count);
    (void)buf_append(&body, exports.data, exports.count);
    body.failed |= exports.failed;
    put_section(e, SECTION_CORE_INSTANCE, &body, true);
    uint32_t given = e->core_instances++;
    put(&body, 0x00);
    put_u32(&body, e->shim_count ? 2 : 1);
    put_u32(&body, 1);
    put_text(&body, "");
    put(&body, CORE_INSTANCE);
    put_u32(&body, given);
    put_section(e, SECTION_CORE_INSTANCE, &body, true);
    e->core_instances++;
    buf_deinit(&body);
    buf_deinit(&exports);
}

static void emit_core(struct encoder *e, const uint8_t *module, size_t bytes, uint32_t *main_,
                      uint32_t *realloc)
{
    bool has_memory = has_export(e, "memory", WASM_MEMORY);
    bool has_realloc = has_export(e, "cabi_realloc", WASM_FUNC);
    bool has_initialize = has_export(e, initialize, WASM_FUNC);
    bool needs_realloc = false;
    struct buf body;
    for (size_t i = 0; i < e->imports.count; i++)
        needs_realloc |= e->imports.items[i].needs_realloc;
    for (size_t i = 0; i < e->exports.count; i++)
        needs_realloc |= e->exports.items[i].needs_realloc;
    if ((e->shim_count && !has_memory) || (needs_realloc && !has_realloc)) {
        e->err = err_set(e->report, ERR_INVALID,
                         "the module does not export `%s`, which values of lists and strings need",
                         has_memory ? "cabi_realloc" : "memory");
        return;
    }
    buf_init(&body, NULL);
    copy_module(e, module, bytes, &body);
    put_section(e, SECTION_CORE_MODULE, &body, false);
    uint32_t shim = NONE;
    if (e->shim_count) {
        make_shim(e, &body);
        put_section(e, SECTION_CORE_MODULE, &body, false);
    }
    if (e->shim_count || has_initialize) {
        make_fixups(e, has_initialize, &body);
        put_section(e, SECTION_CORE_MODULE, &body, false);
    }
    if (e->shim_count) {
        put(&body, 0x00);
        put_u32(&body, 1);
        put_u32(&body, 0);
        put_section(e, SECTION_CORE_INSTANCE, &body, true);
        shim = e->core_instances++;
    }
    buf_deinit(&body);
    for (size_t i = 0; i < e->imports.count && !e->err; i++) {
        struct import *import = &e->imports.items[i];
        if (!import->func) {
            import->core_func = drop_resource(e, import->resource);
        } else if (import->shim == NONE) {
            import->core_func = lower(e, import, NONE);
        } else {
            char digits[12];
            int length = snprintf(digits, sizeof digits, "%u", import->shim);
            import->core_func = alias_core(e, CORE_FUNC, shim, digits, (size_t)length);
        }
    }
    if (!e->err)
        emit_main(e);
    *main_ = e->core_instances - 1;
    if (has_memory)
        (void)alias_core(e, CORE_MEMORY, *main_, "memory", 6);
    *realloc = NONE;
    if (needs_realloc)
        *realloc = alias_core(e, CORE_FUNC, *main_, "cabi_realloc", 12);
    if (!e->err && (e->shim_count || has_initialize))
        emit_fixups(e, shim, *main_, *realloc, has_initialize);
}

/* ---- exports ------------------------------------------------------------------------------ */

static void lift(struct encoder *e, struct export *export, uint32_t main_, uint32_t realloc)
{
    struct buf body, post;
    const struct wasm_export *core = export->core;
    bool has_memory = has_export(e, "memory", WASM_MEMORY);
    uint32_t post_return = NONE;
    e->component.interface = export->interface;
    buf_init(&body, NULL);
    buf_init(&post, NULL);
    (void)buf_printf(&post, "cabi_post_%.*s", (int)core->name_bytes, core->name);
    if (post.failed)
        fail_memory(e);
    else if (has_export(e, post.data, WASM_FUNC))
        post_return = alias_core(e, CORE_FUNC, main_, post.data, post.count);
    uint32_t type = put_func_type(e, &e->component, export->func);
    uint32_t func = alias_core(e, CORE_FUNC, main_, core->name, core->name_bytes);
    put(&body, 0x00);
    put(&body, 0x00);
    put_u32(&body, func);
    uint32_t options = 1u + has_memory + (realloc != NONE) + (post_return != NONE);
    put_u32(&body, options);
    put(&body, 0x00);
    if (has_memory) {
        put(&body, 0x03);
        put(&body, 0);
    }
    if (realloc != NONE) {
        put(&body, 0x04);
        put_u32(&body, realloc);
    }
    if (post_return != NONE) {
        put(&body, 0x05);
        put_u32(&body, post_return);
    }
    put_u32(&body, type);
    put_section(e, SECTION_CANON, &body, true);
    export->lifted = e->funcs++;
    buf_deinit(&post);
    buf_deinit(&body);
}

static void emit_exports(struct encoder *e, uint32_t main_, uint32_t realloc)
{
    struct buf body;
    buf_init(&body, NULL);
    for (size_t i = 0; i < e->exports.count && !e->err; i++)
        lift(e, &e->exports.items[i], main_, realloc);
    for (size_t i = 0; i < e->exports.count && !e->err; i++) {
        const struct comp_wit_interface *interface = e->exports.items[i].interface;
        uint32_t count = 0;
        bool is_first = true;
        for (size_t j = 0; j < e->exports.count; j++)
            if (e->exports.items[j].interface == interface) {
                is_first &= j >= i;
                count++;
            }
        if (!is_first)
            continue;
        put(&body, 0x01);
        put_u32(&body, count);
        for (size_t j = i; j < e->exports.count; j++) {
            if (e->exports.items[j].interface != interface)
                continue;
            put(&body, 0x00);
            put_text(&body, e->exports.items[j].func->name);
            put(&body, SORT_FUNC);
            put_u32(&body, e->exports.items[j].lifted);
        }
        put_section(e, SECTION_INSTANCE, &body, true);
        put(&body, 0x00);
        put_text(&body, interface->id);
        put(&body, SORT_INSTANCE);
        put_u32(&body, e->instances_count++);
        put(&body, 0x00);
        put_section(e, SECTION_EXPORT, &body, true);
        e->instances_count++; /* an export is an index of its own */
    }
    buf_deinit(&body);
}

/* ------------------------------------------------------------------------------------------- */

static void encode(struct encoder *e, const uint8_t *module, size_t bytes)
{
    static const char component_header[8] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    uint32_t import_count = wasm_module_import_count(e->module);
    uint32_t export_count = wasm_module_export_count(e->module);
    if (import_count > IMPORTS_MAX || export_count > IMPORTS_MAX) {
        e->err = err_set(e->report, ERR_LIMIT, "the module has more than %d imports or exports",
                         IMPORTS_MAX);
        return;
    }
    for (uint32_t i = 0; i < import_count && !e->err; i++)
        add_import(e, wasm_module_import(e->module, i));
    for (uint32_t i = 0; i < export_count && !e->err; i++)
        add_export(e, wasm_module_export(e->module, i));
    if (e->err)
        return;
    (void)buf_append(e->out, component_header, sizeof component_header);
    emit_imports(e);
    uint32_t main_ = NONE, realloc = NONE;
    if (!e->err)
        emit_core(e, module, bytes, &main_, &realloc);
    if (!e->err)
        emit_exports(e, main_, realloc);
    if (e->out->failed)
        fail_memory(e);
}

enum err comp_encode(const uint8_t *module, size_t bytes, const struct comp_wit *wit,
                     struct buf *out, struct report *report)
{
    struct report local = {0};
    struct encoder e = {.wit = wit, .out = out, .report = report ? report : &local};
    e.err = wasm_module_create(module, bytes, &e.module, e.report);
    if (e.err)
        return e.err;
    arena_init(&e.arena, NULL);
    map_init(&e.marked, NULL);
    map_init(&e.instances, NULL);
    map_init(&e.component.types, NULL);
    encode(&e, module, bytes);
    map_deinit(&e.component.types);
    map_deinit(&e.instances);
    map_deinit(&e.marked);
    vec_free(NULL, &e.imports);
    vec_free(NULL, &e.exports);
    arena_deinit(&e.arena);
    wasm_module_unref(e.module);
    return e.err;
}
