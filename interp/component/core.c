/* Plain core modules that follow the canonical ABI's names, so that C compiles to an inferlet with
 * nothing but clang: import module = interface, import name = function, export name =
 * "INTERFACE#FUNCTION" beside `memory`, `cabi_realloc` and "cabi_post_INTERFACE#FUNCTION". Types
 * come from the linker. */
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/instance.h"

enum { EXPORTS_MAX = 10000 }; /* each is looked up by its name */
static const char drop_prefix[] = "[resource-drop]";

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for an instance of the module");
}

static enum err wrong_type(const struct wasm_import *import, const struct wasm_functype *have,
                           struct report *report)
{
    struct buf wanted, given;
    buf_init(&wanted, NULL);
    buf_init(&given, NULL);
    comp_core_sig_print(&wanted, &import->type.func);
    comp_core_sig_print(&given, have);
    enum err err = err_set(report, ERR_INVALID,
                           "the module imports %s of %s as %s, but its canonical form is %s",
                           import->name, import->module, wanted.data ? wanted.data : "?",
                           given.data ? given.data : "?");
    buf_deinit(&wanted);
    buf_deinit(&given);
    return err;
}

static bool same_core(const struct wasm_functype *a, const struct wasm_functype *b)
{
    return a->param_count == b->param_count && a->result_count == b->result_count &&
           (!a->param_count ||
            memcmp(a->params, b->params, a->param_count * sizeof *a->params) == 0) &&
           (!a->result_count ||
            memcmp(a->results, b->results, a->result_count * sizeof *a->results) == 0);
}

static enum err link_import(struct comp_sub *sub, const struct wasm_import *import,
                            struct wasm_func **out, struct report *report)
{
    struct comp_instance *instance = sub->instance;
    const struct comp_linker *linker = instance->linker;
    if (import->type.kind != WASM_FUNC)
        return err_set(report, ERR_INVALID, "the module imports %s of %s, which is not a function",
                       import->name, import->module);
    const struct comp_linker_core *core = comp_linker_find_core(
        linker, import->module, import->module_bytes, import->name, import->name_bytes);
    if (core) {
        if (!same_core(&core->type, &import->type.func))
            return wrong_type(import, &core->type, report);
        *out = wasm_func_create_host(instance->store, &core->type, core->name, core->fn,
                                     core->user);
        return *out ? ERR_OK : no_memory(report);
    }
    size_t prefix = sizeof drop_prefix - 1;
    if (import->name_bytes > prefix && memcmp(import->name, drop_prefix, prefix) == 0) {
        const struct comp_linker_resource *resource = comp_linker_find_resource(
            linker, import->module, import->module_bytes, import->name + prefix,
            import->name_bytes - prefix);
        if (!resource)
            return err_set(report, ERR_NOT_FOUND, "the host has no resource %s in %s",
                           import->name + prefix, import->module);
        *out = comp_call_resource(sub, COMP_STEP_RESOURCE_DROP,
                                  &resource->resource);
    } else {
        struct comp_func *func = comp_instance_host_func(sub, NULL, import->module,
                                                         import->module_bytes, import->name,
                                                         import->name_bytes);
        if (!func)
            return no_memory(report);
        if (func->kind == COMP_FUNC_MISSING && !func->is_stub)
            return err_set(report, ERR_NOT_FOUND, "%s", func->text);
        if (func->kind == COMP_FUNC_MISSING) {
            *out = comp_call_missing(sub, &import->type.func, func);
            return *out ? ERR_OK : no_memory(report);
        }
        *out = comp_call_lower(sub, func->type, &sub->core_options, func);
    }
    if (!*out)
        return no_memory(report);
    if (!same_core(wasm_func_type(*out), &import->type.func))
        return wrong_type(import, wasm_func_type(*out), report);
    return ERR_OK;
}

/* The instance while its exports are looked at. A function that is only passed on from the imports
 * is not the module's own: called from outside, it would have no caller. */
struct exporter {
    struct comp_sub *sub;
    struct wasm_instance *core;
    const struct wasm_extern *imports;
    uint32_t import_count;
};

/* NULL when there is none of its own with that name. All imports are functions, the first ones. */
static struct wasm_func *find_func(const struct exporter *e, const char *name, size_t bytes)
{
    struct wasm_extern found;
    const struct wasm_export *export =
        wasm_module_find_export(wasm_instance_module(e->core), name, bytes);
    if (!export || export->type.kind != WASM_FUNC || export->index < e->import_count ||
        !wasm_instance_export(e->core, name, bytes, &found))
        return NULL;
    return found.of.func;
}

static bool is_imported(const struct exporter *e, const struct wasm_func *func)
{
    for (uint32_t i = 0; i < e->import_count; i++)
        if (e->imports[i].of.func == func)
            return true;
    return false;
}

static bool has_type(const struct wasm_func *func, uint32_t params, uint32_t results)
{
    const struct wasm_functype *type = wasm_func_type(func);
    if (type->param_count != params || type->result_count != results)
        return false;
    for (uint32_t i = 0; i < params; i++)
        if (type->params[i] != WASM_I32)
            return false;
    return results == 0 || type->results[0] == WASM_I32;
}

/* The exported function as a component function, NULL with ERR_OK when its name says nothing. */
static enum err make_export(const struct exporter *e, const struct wasm_export *export,
                            size_t interface_bytes, struct comp_func **out,
                            struct report *report)
{
    struct comp_sub *sub = e->sub;
    struct comp_instance *instance = sub->instance;
    static const struct comp_functype nothing;
    const struct comp_functype *type = &nothing;
    struct wasm_func *func = find_func(e, export->name, export->name_bytes);
    struct buf post;
    *out = NULL;
    if (!func)
        return ERR_OK;
    if (interface_bytes < export->name_bytes) {
        type = comp_linker_find_export(instance->linker, export->name, interface_bytes,
                                       export->name + interface_bytes + 1,
                                       export->name_bytes - interface_bytes - 1);
        if (!type)
            return ERR_OK;
    } else if (!has_type(func, 0, 0)) {
        return ERR_OK;
    }
    struct comp_core_sig sig;
    comp_functype_core(type, true, &sig);
    if (!comp_core_sig_equal(&sig, wasm_func_type(func)))
        return err_set(report, ERR_INVALID, "the module's export %s has the wrong core type",
                       export->name);
    struct comp_func *result = arena_calloc(&instance->arena, 1, sizeof *result);
    if (!result)
        return no_memory(report);
    *result = (struct comp_func){.kind = COMP_FUNC_LIFTED, .type = type, .sub = sub,
                                 .options = sub->core_options, .core = func};
    buf_init(&post, NULL);
    buf_puts(&post, "cabi_post_");
    buf_append(&post, export->name, export->name_bytes);
    if (post.failed) {
        buf_deinit(&post);
        return no_memory(report);
    }
    struct wasm_func *post_return = find_func(e, post.data, post.count);
    buf_deinit(&post);
    if (post_return && has_type(post_return, sig.result_count, 0))
        result->options.post_return = post_return;
    bool needs_memory = type->params_have_pointer || type->flat_count > COMP_FLAT_PARAMS_MAX;
    if (needs_memory && (!result->options.memory || !result->options.realloc))
        return err_set(report, ERR_INVALID,
                       "the module exports %s but not the memory and cabi_realloc that it needs",
                       export->name);
    if (type->result && type->result->flat_count > COMP_FLAT_RESULTS_MAX &&
        !result->options.memory)
        return err_set(report, ERR_INVALID,
                       "the module exports %s but not the memory that it needs", export->name);
    *out = result;
    return ERR_OK;
}

/* Adds to the root's exports: top-level, or in the instance of its interface. */
static bool add_export(struct comp_sub *sub, const struct wasm_export *export,
                       size_t interface_bytes, uint32_t capacity, struct comp_func *func)
{
    struct arena *arena = &sub->instance->arena;
    struct comp_exports *into = &sub->exports;
    const char *name = export->name;
    uint32_t name_bytes = export->name_bytes;
    if (interface_bytes < name_bytes) {
        into = NULL;
        for (uint32_t i = 0; i < sub->exports.count && !into; i++)
            if (sub->exports.items[i].sort == COMP_SORT_INSTANCE &&
                sub->exports.items[i].name_bytes == interface_bytes &&
                memcmp(sub->exports.items[i].name, name, interface_bytes) == 0)
                into = sub->exports.items[i].item;
        if (!into) {
            into = arena_calloc(arena, 1, sizeof *into);
            if (!into || !(into->items = arena_calloc(arena, capacity, sizeof *into->items)))
                return false;
            sub->exports.items[sub->exports.count++] = (struct comp_export){
                name, (uint32_t)interface_bytes, COMP_SORT_INSTANCE, into};
        }
        name += interface_bytes + 1;
        name_bytes -= (uint32_t)interface_bytes + 1;
    }
    into->items[into->count++] = (struct comp_export){name, name_bytes, COMP_SORT_FUNC, func};
    return true;
}

enum err comp_core_instantiate(struct comp_instance *instance, struct report *report)
{
    struct wasm_module *module = instance->component->core;
    uint32_t resource_count = (uint32_t)instance->linker->resource_list.count;
    uint32_t import_count = wasm_module_import_count(module);
    struct comp_sub *sub = comp_sub_create(instance, NULL, resource_count);
    struct wasm_extern *imports = arena_calloc(&instance->arena, import_count + 1,
                                               sizeof *imports);
    if (!sub || !imports)
        return no_memory(report);
    instance->root = sub;
    for (uint32_t i = 0; i < resource_count; i++)
        sub->slots[i] = &instance->linker->resource_list.items[i]->resource;
    for (uint32_t i = 0; i < import_count; i++) {
        imports[i].kind = WASM_FUNC;
        enum err err = link_import(sub, wasm_module_import(module, i), &imports[i].of.func,
                                   report);
        if (err)
            return err;
    }
    struct wasm_instance *core;
    enum err err = comp_instance_core(sub, module, imports, import_count, &core, report);
    if (err)
        return err;
    instance->core = core;

    const struct exporter exporter = {sub, core, imports, import_count};
    if (instance->start_count && is_imported(&exporter, instance->starts[0]))
        return err_set(report, ERR_INVALID, "the module's start function is the host's");
    struct wasm_extern memory;
    if (wasm_instance_export(core, "memory", 6, &memory) && memory.kind == WASM_MEMORY)
        sub->core_options.memory = memory.of.memory;
    struct wasm_func *realloc = find_func(&exporter, "cabi_realloc", 12);
    if (realloc && has_type(realloc, 4, 1))
        sub->core_options.realloc = realloc;
    struct wasm_func *initialize = find_func(&exporter, "_initialize", 11);
    if (initialize && has_type(initialize, 0, 0))
        instance->starts[instance->start_count++] = initialize;

    uint32_t export_count = wasm_module_export_count(module);
    if (export_count > EXPORTS_MAX)
        return err_set(report, ERR_LIMIT, "the module has more than %d exports", EXPORTS_MAX);
    sub->exports.items = arena_calloc(&instance->arena, export_count + 1,
                                      sizeof *sub->exports.items);
    if (!sub->exports.items)
        return no_memory(report);
    for (uint32_t i = 0; i < export_count; i++) {
        const struct wasm_export *export = wasm_module_export(module, i);
        const char *hash = memchr(export->name, '#', export->name_bytes);
        size_t interface_bytes = hash ? (size_t)(hash - export->name) : export->name_bytes;
        struct comp_func *func = NULL;
        if (export->type.kind != WASM_FUNC ||
            (export->name_bytes > 10 && memcmp(export->name, "cabi_post_", 10) == 0))
            continue;
        err = make_export(&exporter, export, interface_bytes, &func, report);
        if (err)
            return err;
        if (func && !add_export(sub, export, interface_bytes, export_count + 1, func))
            return no_memory(report);
    }
    return ERR_OK;
}
