#include <stdio.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "interp/wasm/limits.h"
#include "interp/wasm/module.h"
#include "interp/wasm/opcodes.h"

struct wasm_source {
    atomic_uint refs;
    uint8_t *bytes;
    size_t count;
};

struct wasm_source *wasm_source_create(uint8_t *bytes, size_t count)
{
    struct wasm_source *source = mem_alloc(NULL, sizeof *source);
    if (!source)
        return NULL;
    atomic_init(&source->refs, 1);
    source->bytes = bytes;
    source->count = count;
    return source;
}

const uint8_t *wasm_source_bytes(const struct wasm_source *source, size_t *count)
{
    *count = source->count;
    return source->bytes;
}

void wasm_source_unref(struct wasm_source *source)
{
    if (!source || atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) != 1)
        return;
    mem_free(NULL, source->bytes);
    mem_free(NULL, source);
}

static enum err too_large(size_t count, struct report *report)
{
    return err_set(report, ERR_LIMIT, "the module has %zu bytes, this build takes at most %d", count,
                   WASM_MODULE_BYTES_MAX);
}

enum err wasm_module_create_from(struct wasm_source *source, size_t at, size_t count,
                                 bool is_known, struct wasm_module **module,
                                 struct report *report)
{
    *module = NULL;
    if (count > WASM_MODULE_BYTES_MAX)
        return too_large(count, report);
    CHECK(at <= source->count && count <= source->count - at);
    struct wasm_module *m = mem_calloc(NULL, 1, sizeof *m);
    if (!m)
        return err_set(report, ERR_MEMORY, "out of memory for a module of %zu bytes", count);
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
    atomic_init(&m->refs, 1);
    arena_init(&m->arena, NULL);
    map_init(&m->exports_by_name, NULL);
    m->source = source;
    m->bytes = source->bytes + at;
    m->byte_count = count;
    m->is_known = is_known;
    (void)pthread_mutex_init(&m->translate_lock, NULL);

    enum err err = wasm_decode(m, report);
    if (err == ERR_OK)
        err = wasm_validate(m, report);
    if (err != ERR_OK) {
        wasm_module_unref(m);
        return err;
    }
    *module = m;
    return ERR_OK;
}

enum err wasm_module_create(const uint8_t *bytes, size_t count, struct wasm_module **module,
                            struct report *report)
{
    *module = NULL;
    if (count > WASM_MODULE_BYTES_MAX)
        return too_large(count, report);
    uint8_t *copy = mem_alloc(NULL, count);
    struct wasm_source *source = copy ? wasm_source_create(copy, count) : NULL;
    if (!source) {
        mem_free(NULL, copy);
        return err_set(report, ERR_MEMORY, "out of memory for a module of %zu bytes", count);
    }
    if (count)
        memcpy(copy, bytes, count);
    enum err err = wasm_module_create_from(source, 0, count, false, module, report);
    wasm_source_unref(source);
    return err;
}

struct wasm_module *wasm_module_ref(struct wasm_module *module)
{
    atomic_fetch_add_explicit(&module->refs, 1, memory_order_relaxed);
    return module;
}

void wasm_module_unref(struct wasm_module *module)
{
    if (!module || atomic_fetch_sub_explicit(&module->refs, 1, memory_order_acq_rel) != 1)
        return;
    wasm_code_free_all(module);
    /* Groups die with their last holder, so the first type of a group is asked for before. */
    for (uint32_t i = module->type_count; i-- > 0;)
        if (wasm_type_is_first(module->types[i]))
            wasm_type_release(module->types[i]->group);
    (void)pthread_mutex_destroy(&module->translate_lock);
    map_deinit(&module->exports_by_name);
    arena_deinit(&module->arena);
    wasm_source_unref(module->source);
    mem_free(NULL, module);
}

const char *wasm_type_text(const struct wasm_module *module, uint32_t type,
                           char text[WASM_TYPE_TEXT_BYTES])
{
    if (!wasm_type_is_defined(type))
        return wasm_type_name(type);
    uint32_t index = 0;
    while (index < module->type_count && (module->types[index]->value_types[0] ^ type) >>
                                             WASM_TYPE_NUMBER_SHIFT)
        index++;
    (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "(ref %s%u)",
                   wasm_type_is_nullable(type) ? "null " : "", index);
    return text;
}

uint32_t wasm_module_import_count(const struct wasm_module *module)
{
    return module->import_count;
}

const struct wasm_import *wasm_module_import(const struct wasm_module *module, uint32_t index)
{
    return index < module->import_count ? &module->imports[index] : NULL;
}

uint32_t wasm_module_export_count(const struct wasm_module *module)
{
    return module->export_count;
}

const struct wasm_export *wasm_module_export(const struct wasm_module *module, uint32_t index)
{
    return index < module->export_count ? &module->exports[index] : NULL;
}

const struct wasm_export *wasm_module_find_export(const struct wasm_module *module,
                                                  const char *name, size_t name_bytes)
{
    return map_find(&module->exports_by_name, name, name_bytes);
}

const char *wasm_module_func_name(const struct wasm_module *module, uint32_t index)
{
    if (index >= module->func_count)
        return NULL;
    if (module->func_names && module->func_names[index])
        return module->func_names[index];
    for (uint32_t i = 0; i < module->export_count; i++)
        if (module->exports[i].type.kind == WASM_FUNC && module->exports[i].index == index)
            return module->exports[i].name;
    for (uint32_t i = 0, at = 0; i < module->import_count && at <= index; i++)
        if (module->imports[i].type.kind == WASM_FUNC && at++ == index)
            return module->imports[i].name;
    return NULL;
}

bool wasm_module_custom_section(const struct wasm_module *module, const char *name, uint32_t nth,
                                const uint8_t **data, size_t *bytes)
{
    size_t name_bytes = strlen(name);
    for (uint32_t i = 0; i < module->custom_count; i++) {
        const struct wasm_custom_def *custom = &module->customs[i];
        if (custom->name_bytes != name_bytes || memcmp(custom->name, name, name_bytes) != 0)
            continue;
        if (nth-- == 0) {
            *data = custom->data;
            *bytes = custom->bytes;
            return true;
        }
    }
    return false;
}
