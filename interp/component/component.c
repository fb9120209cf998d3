#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/def.h"

static const uint8_t core_header[] = {0x00, 'a', 's', 'm', 0x01, 0x00, 0x00, 0x00};

enum err comp_component_create_from(struct wasm_source *source, bool is_known,
                                    struct comp_component **out, struct report *report)
{
    size_t count;
    const uint8_t *bytes = wasm_source_bytes(source, &count);
    *out = NULL;
    struct comp_component *component = mem_calloc(NULL, 1, sizeof *component);
    if (!component)
        return err_set(report, ERR_MEMORY, "no memory for a component");
    atomic_init(&component->refs, 1);
    atomic_init(&component->links, NULL);
    arena_init(&component->arena, NULL);
    enum err err;
    if (count >= sizeof core_header && memcmp(bytes, core_header, sizeof core_header) == 0)
        err = wasm_module_create_from(source, 0, count, is_known, &component->core, report);
    else
        err = comp_decode(component, source, is_known, report);
    if (err) {
        comp_component_unref(component);
        return err;
    }
    *out = component;
    return ERR_OK;
}

enum err comp_component_create(const uint8_t *bytes, size_t count,
                               struct comp_component **component, struct report *report)
{
    *component = NULL;
    uint8_t *copy = mem_alloc(NULL, count);
    struct wasm_source *source = copy ? wasm_source_create(copy, count) : NULL;
    if (!source) {
        mem_free(NULL, copy);
        return err_set(report, ERR_MEMORY, "no memory for a component");
    }
    if (count)
        memcpy(copy, bytes, count);
    enum err err = comp_component_create_from(source, false, component, report);
    wasm_source_unref(source);
    return err;
}

struct comp_component *comp_component_ref(struct comp_component *component)
{
    atomic_fetch_add_explicit(&component->refs, 1, memory_order_relaxed);
    return component;
}

void comp_component_unref(struct comp_component *component)
{
    if (!component ||
        atomic_fetch_sub_explicit(&component->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < component->modules.count; i++)
        wasm_module_unref(component->modules.items[i]);
    vec_free(NULL, &component->modules);
    if (component->core)
        wasm_module_unref(component->core);
    mem_free(NULL, atomic_load_explicit(&component->links, memory_order_acquire));
    arena_deinit(&component->arena);
    mem_free(NULL, component);
}

typedef void (*each_fn)(void *user, const char *interface, const char *name);

static void each_named(const struct comp_named *items, uint32_t count, each_fn each, void *user)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct comp_named *named = &items[i];
        if (named->type.sort == COMP_SORT_FUNC) {
            each(user, "", named->name);
        } else if (named->type.sort == COMP_SORT_INSTANCE) {
            const struct comp_instance_type *type = named->type.of.instance;
            uint32_t funcs = 0;
            for (uint32_t k = 0; k < type->export_count; k++)
                if (type->exports[k].type.sort == COMP_SORT_FUNC) {
                    each(user, named->name, type->exports[k].name);
                    funcs++;
                }
            if (!funcs)
                each(user, named->name, NULL);
        } else {
            each(user, named->name, NULL);
        }
    }
}

void comp_component_each_import(const struct comp_component *component, each_fn each, void *user)
{
    if (component->root) {
        each_named(component->root->type->imports, component->root->type->import_count, each,
                   user);
        return;
    }
    for (uint32_t i = 0; i < wasm_module_import_count(component->core); i++) {
        const struct wasm_import *import = wasm_module_import(component->core, i);
        each(user, import->module, import->name);
    }
}

void comp_component_each_export(const struct comp_component *component, each_fn each, void *user)
{
    if (component->root) {
        each_named(component->root->type->exports, component->root->type->export_count, each,
                   user);
        return;
    }
    for (uint32_t i = 0; i < wasm_module_export_count(component->core); i++) {
        const struct wasm_export *export = wasm_module_export(component->core, i);
        const char *hash = memchr(export->name, '#', export->name_bytes);
        char interface[COMP_NAME_MAX];
        if (export->type.kind != WASM_FUNC)
            continue;
        if (!hash || (size_t)(hash - export->name) >= sizeof interface) {
            each(user, "", export->name);
            continue;
        }
        memcpy(interface, export->name, (size_t)(hash - export->name));
        interface[hash - export->name] = 0;
        each(user, interface, hash + 1);
    }
}

struct wasm_module *comp_component_module(const struct comp_component *component, size_t index)
{
    if (component->core)
        return index == 0 ? component->core : NULL;
    return index < component->modules.count ? component->modules.items[index] : NULL;
}
