/* Components: sections and definitions, read and validated in one pass. Source: Binary.md. */
#include "interp/component/decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"

/* ---- errors and bounds ------------------------------------------------------------------- */

bool comp_fail(struct comp_decoder *d, const struct rd *rd, enum err code, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    err_set(d->report, code, "component, at offset 0x%zx: %s",
            (size_t)(rd->data - d->file) + rd->at, text);
    return false;
}

bool comp_fail_memory(struct comp_decoder *d)
{
    err_set(d->report, ERR_MEMORY, "no memory to decode a component");
    return false;
}

bool comp_work(struct comp_decoder *d, uint64_t amount)
{
    if (amount < d->work) {
        d->work -= amount;
        return true;
    }
    d->work = 0;
    err_set(d->report, ERR_LIMIT, "the component's types are too large to check");
    return false;
}

/* ---- scopes ------------------------------------------------------------------------------ */

void comp_scope_init(struct comp_scope *scope, enum comp_scope_kind kind,
                     struct comp_scope *outer)
{
    memset(scope, 0, sizeof *scope);
    scope->kind = kind;
    scope->outer = outer;
    scope->depth = outer ? outer->depth + 1 : 0;
    map_init(&scope->imports.unique, NULL);
    map_init(&scope->exports.unique, NULL);
    map_init(&scope->visible[0], NULL);
    map_init(&scope->visible[1], NULL);
}

void comp_scope_deinit(struct comp_scope *scope)
{
    for (int sort = 0; sort < COMP_SORT_COUNT; sort++)
        vec_free(NULL, &scope->spaces[sort]);
    vec_free(NULL, &scope->imports);
    vec_free(NULL, &scope->exports);
    map_deinit(&scope->imports.unique);
    map_deinit(&scope->exports.unique);
    vec_free(NULL, &scope->resources);
    vec_free(NULL, &scope->steps);
    map_deinit(&scope->visible[0]);
    map_deinit(&scope->visible[1]);
}

bool comp_scope_push(struct comp_decoder *d, struct comp_scope *scope, enum comp_sort sort,
                     const void *item)
{
    if (scope->spaces[sort].count >= COMP_ITEMS_MAX) {
        err_set(d->report, ERR_LIMIT, "the component has too many definitions");
        return false;
    }
    return vec_push(NULL, &scope->spaces[sort], item) || comp_fail_memory(d);
}

const void *comp_scope_get(struct comp_decoder *d, const struct rd *rd,
                           const struct comp_scope *scope, enum comp_sort sort, uint32_t index)
{
    if (!rd->failed && index < scope->spaces[sort].count)
        return scope->spaces[sort].items[index];
    if (rd->failed)
        comp_fail(d, rd, ERR_INVALID, "unexpected end or malformed integer");
    else
        comp_fail(d, rd, ERR_INVALID, "unknown %s %u: %s index out of bounds",
                  comp_sort_name(sort), index, comp_sort_name(sort));
    return NULL;
}

struct comp_res *comp_scope_new_res(struct comp_decoder *d, struct comp_scope *scope,
                                    bool is_import, const char *name)
{
    struct comp_res *res = arena_calloc(d->arena, 1, sizeof *res);
    struct comp_scope_res entry = {res, is_import};
    if (!res || scope->resources.count >= COMP_ITEMS_MAX) {
        comp_fail_memory(d);
        return NULL;
    }
    res->slot = (uint32_t)scope->resources.count;
    res->name = name;
    if (!vec_push(NULL, &scope->resources, entry)) {
        comp_fail_memory(d);
        return NULL;
    }
    return res;
}

/* Adds up sizes and depths of what a scope imports or exports. */
static bool measure(struct comp_decoder *d, const struct comp_named_list *list, uint32_t *depth,
                    uint32_t *size, bool *has_resource)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct comp_extern *type = &list->items[i].type;
        uint32_t inner_depth = 1, inner_size = 1;
        switch (type->sort) {
        case COMP_SORT_FUNC:
            inner_depth = type->of.func->depth;
            inner_size = type->of.func->tree_size;
            *has_resource |= type->of.func->has_resource;
            break;
        case COMP_SORT_INSTANCE:
            inner_depth = type->of.instance->depth;
            inner_size = type->of.instance->tree_size;
            *has_resource |= type->of.instance->has_resource;
            break;
        case COMP_SORT_COMPONENT:
            inner_depth = type->of.component->depth;
            inner_size = type->of.component->tree_size;
            *has_resource |= type->of.component->has_free;
            break;
        case COMP_SORT_TYPE: {
            const struct comp_any *any = &type->of.type;
            if (any->kind == COMP_ANY_VALUE) {
                inner_depth = any->of.value->depth;
                inner_size = any->of.value->tree_size;
                *has_resource |= any->of.value->has_resource;
            } else if (any->kind == COMP_ANY_FUNC) {
                inner_depth = any->of.func->depth;
                inner_size = any->of.func->tree_size;
                *has_resource |= any->of.func->has_resource;
            } else if (any->kind == COMP_ANY_INSTANCE) {
                inner_depth = any->of.instance->depth;
                inner_size = any->of.instance->tree_size;
                *has_resource |= any->of.instance->has_resource;
            } else if (any->kind == COMP_ANY_COMPONENT) {
                inner_depth = any->of.component->depth;
                inner_size = any->of.component->tree_size;
                *has_resource |= any->of.component->has_free;
            } else {
                *has_resource = true;
            }
            break;
        }
        default:
            break;
        }
        if (*depth <= inner_depth)
            *depth = inner_depth + 1;
        *size += inner_size;
        if (*depth > COMP_TYPE_DEPTH_MAX || *size > COMP_TYPE_SIZE_MAX) {
            err_set(d->report, ERR_LIMIT, "effective type size exceeds the limit");
            return false;
        }
    }
    return true;
}

static struct comp_named *keep_named(struct comp_decoder *d, const struct comp_named_list *list)
{
    struct comp_named *copy = arena_calloc(d->arena, list->count + 1, sizeof *copy);
    if (copy && list->count)
        memcpy(copy, list->items, list->count * sizeof *copy);
    if (!copy)
        comp_fail_memory(d);
    return copy;
}

struct comp_component_type *comp_scope_component_type(struct comp_decoder *d,
                                                      struct comp_scope *scope)
{
    struct comp_component_type *type = arena_calloc(d->arena, 1, sizeof *type);
    size_t count = scope->resources.count;
    struct comp_res **imports = arena_calloc(d->arena, count + 1, sizeof *imports);
    struct comp_res **exports = arena_calloc(d->arena, count + 1, sizeof *exports);
    if (!type || !imports || !exports)
        return comp_fail_memory(d), NULL;
    type->import_bound = imports;
    type->export_bound = exports;
    for (size_t i = 0; i < count; i++)
        if (scope->resources.items[i].is_import)
            imports[type->import_bound_count++] = scope->resources.items[i].res;
        else
            exports[type->export_bound_count++] = scope->resources.items[i].res;
    type->import_count = (uint32_t)scope->imports.count;
    type->export_count = (uint32_t)scope->exports.count;
    type->imports = keep_named(d, &scope->imports);
    type->exports = keep_named(d, &scope->exports);
    type->depth = type->tree_size = 1;
    bool has_resource = false;
    if (!type->imports || !type->exports ||
        !measure(d, &scope->imports, &type->depth, &type->tree_size, &has_resource) ||
        !measure(d, &scope->exports, &type->depth, &type->tree_size, &has_resource))
        return NULL;
    /* A component proper cannot name resources of others; a type may. */
    type->has_free = has_resource && scope->kind != COMP_SCOPE_COMPONENT;
    return type;
}

struct comp_instance_type *comp_scope_instance_type(struct comp_decoder *d,
                                                    struct comp_scope *scope)
{
    struct comp_instance_type *type = arena_calloc(d->arena, 1, sizeof *type);
    size_t count = scope->resources.count;
    struct comp_res **bound = arena_calloc(d->arena, count + 1, sizeof *bound);
    if (!type || !bound)
        return comp_fail_memory(d), NULL;
    for (size_t i = 0; i < count; i++)
        bound[i] = scope->resources.items[i].res;
    type->bound = bound;
    type->bound_count = (uint32_t)count;
    type->export_count = (uint32_t)scope->exports.count;
    type->exports = keep_named(d, &scope->exports);
    type->depth = type->tree_size = 1;
    if (!type->exports ||
        !measure(d, &scope->exports, &type->depth, &type->tree_size, &type->has_resource))
        return NULL;
    return type;
}

/* ---- reading ----------------------------------------------------------------------------- */

uint32_t comp_read_count(struct comp_decoder *d, struct rd *rd)
{
    uint32_t count = (uint32_t)rd_leb_u(rd, 32);
    if (rd->failed || count > rd_left(rd)) {
        rd->failed = true;
        comp_fail(d, rd, ERR_INVALID, "unexpected end: a vector is longer than its section");
        return 0;
    }
    return count;
}

uint32_t comp_read_index(struct rd *rd)
{
    return (uint32_t)rd_leb_u(rd, 32);
}

bool comp_read_name(struct comp_decoder *d, struct rd *rd, const char **name, uint32_t *bytes)
{
    *bytes = (uint32_t)rd_leb_u(rd, 32);
    const uint8_t *data = rd_take(rd, *bytes);
    if (!data)
        return comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file in a name");
    if (!utf8_is_valid((const char *)data, *bytes))
        return comp_fail(d, rd, ERR_INVALID, "malformed UTF-8 encoding in a name");
    *name = arena_strdup(d->arena, (const char *)data, *bytes);
    return *name || comp_fail_memory(d);
}

const char *comp_sort_name(enum comp_sort sort)
{
    static const char *const names[] = {
        "core func", "core table", "core memory", "core global", "core tag", "core type",
        "core module", "core instance", "func", "value", "type", "component", "instance",
    };
    return names[sort];
}

static bool read_core_sort(struct comp_decoder *d, struct rd *rd, enum comp_sort *sort)
{
    uint8_t byte = rd_u8(rd);
    if (byte <= 4)
        *sort = (enum comp_sort)byte;
    else if (byte >= 0x10 && byte <= 0x12)
        *sort = (enum comp_sort)(COMP_SORT_CORE_TYPE + byte - 0x10);
    else
        return comp_fail(d, rd, ERR_INVALID, "malformed core sort 0x%02x", byte);
    return !rd->failed || comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file");
}

bool comp_read_sort(struct comp_decoder *d, struct rd *rd, enum comp_sort *sort)
{
    uint8_t byte = rd_u8(rd);
    if (byte == 0)
        return read_core_sort(d, rd, sort);
    if (byte > 5 || rd->failed)
        return comp_fail(d, rd, ERR_INVALID, "malformed sort 0x%02x", byte);
    *sort = (enum comp_sort)(COMP_SORT_FUNC + byte - 1);
    if (*sort == COMP_SORT_VALUE)
        return comp_fail(d, rd, ERR_UNSUPPORTED, "component values are not supported");
    return true;
}

bool comp_read_extern_name(struct comp_decoder *d, struct rd *rd, const char **name,
                           uint32_t *bytes, bool *has_implements)
{
    uint8_t lead = rd_u8(rd);
    *has_implements = false;
    if (lead > 2)
        return comp_fail(d, rd, ERR_INVALID, "malformed name lead 0x%02x", lead);
    if (!comp_read_name(d, rd, name, bytes))
        return false;
    if (*bytes == 0)
        return comp_fail(d, rd, ERR_INVALID, "an extern name is the empty string");
    if (comp_name_parse(*name, *bytes).kind == COMP_NAME_BAD)
        return comp_fail(d, rd, ERR_INVALID,
                         "`%s` is not a valid extern name: not in kebab case and not an interface "
                         "name", *name);
    if (lead < 2)
        return true;
    uint32_t count = comp_read_count(d, rd), seen = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t kind = rd_u8(rd);
        const char *text;
        uint32_t text_bytes;
        if (kind > 2 || rd->failed)
            return comp_fail(d, rd, ERR_INVALID, "malformed name attribute 0x%02x", kind);
        if (seen & (1u << kind))
            return comp_fail(d, rd, ERR_INVALID, "a name attribute conflicts with previous name "
                                                 "attributes");
        seen |= 1u << kind;
        if (!comp_read_name(d, rd, &text, &text_bytes))
            return false;
        if (kind == 0 && !comp_name_is_interface(text, text_bytes))
            return comp_fail(d, rd, ERR_INVALID, "`%s` is not a valid name: `implements` must be "
                                                 "an interface", text);
        *has_implements |= kind == 0;
    }
    return !rd->failed;
}

/* ---- steps ------------------------------------------------------------------------------- */

static bool add_step(struct comp_decoder *d, struct comp_scope *scope,
                     const struct comp_step *step)
{
    return vec_push(NULL, &scope->steps, *step) || comp_fail_memory(d);
}

/* An item of a component and the step that makes it. */
static bool define(struct comp_decoder *d, struct comp_scope *scope, enum comp_sort sort,
                   const void *item, const struct comp_step *step)
{
    return item && comp_scope_push(d, scope, sort, item) && add_step(d, scope, step);
}

static bool extern_of(struct comp_decoder *d, const struct rd *rd, const struct comp_scope *scope,
                      enum comp_sort sort, uint32_t index, struct comp_extern *out)
{
    const void *item = comp_scope_get(d, rd, scope, sort, index);
    *out = (struct comp_extern){.sort = sort};
    if (!item)
        return false;
    switch (sort) {
    case COMP_SORT_FUNC: out->of.func = item; break;
    case COMP_SORT_TYPE: out->of.type = *(const struct comp_any *)item; break;
    case COMP_SORT_COMPONENT: out->of.component = item; break;
    case COMP_SORT_INSTANCE: out->of.instance = item; break;
    case COMP_SORT_CORE_MODULE: out->of.module = item; break;
    default:
        return comp_fail(d, rd, ERR_INVALID, "a %s cannot be imported or exported",
                         comp_sort_name(sort));
    }
    return true;
}

/* ---- core modules and instances ---------------------------------------------------------- */

static const struct comp_module_type *module_type(struct comp_decoder *d,
                                                  const struct wasm_module *module)
{
    uint32_t import_count = wasm_module_import_count(module);
    uint32_t export_count = wasm_module_export_count(module);
    struct comp_module_type *type = arena_calloc(d->arena, 1, sizeof *type);
    struct wasm_import *imports = arena_calloc(d->arena, import_count + 1, sizeof *imports);
    struct wasm_export *exports = arena_calloc(d->arena, export_count + 1, sizeof *exports);
    if (!type || !imports || !exports)
        return comp_fail_memory(d), NULL;
    for (uint32_t i = 0; i < import_count; i++)
        imports[i] = *wasm_module_import(module, i);
    for (uint32_t i = 0; i < export_count; i++)
        exports[i] = *wasm_module_export(module, i);
    *type = (struct comp_module_type){import_count, export_count, imports, exports};
    return type;
}

/* Core modules may import a name twice; in components they may not. */
static bool check_imports(struct comp_decoder *d, const struct rd *rd,
                          const struct comp_module_type *type)
{
    struct map seen;
    struct buf key;
    static char present;
    bool ok = true;
    map_init(&seen, NULL);
    buf_init(&key, NULL);
    for (uint32_t i = 0; i < type->import_count && ok; i++) {
        const struct wasm_import *import = &type->imports[i];
        buf_clear(&key);
        buf_append(&key, &import->module_bytes, sizeof import->module_bytes);
        buf_append(&key, import->module, import->module_bytes);
        buf_append(&key, import->name, import->name_bytes);
        if (key.failed)
            ok = comp_fail_memory(d);
        else if (map_find(&seen, key.data, key.count))
            ok = comp_fail(d, rd, ERR_INVALID, "duplicate import name `%s:%s`", import->module,
                           import->name);
        else
            ok = map_set(&seen, key.data, key.count, &present) || comp_fail_memory(d);
    }
    map_deinit(&seen);
    buf_deinit(&key);
    return ok;
}

static bool read_module(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct wasm_module *module;
    struct report inner = {0};
    size_t bytes = rd_left(rd);
    const uint8_t *data = rd_take(rd, bytes);
    enum err err = wasm_module_create_from(d->source, (size_t)(data - d->file), bytes, d->is_known,
                                           &module, &inner);
    if (err)
        return comp_fail(d, rd, err, "core module: %s", inner.text);
    if (!vec_push(NULL, &d->component->modules, module)) {
        wasm_module_unref(module);
        return comp_fail_memory(d);
    }
    struct comp_step step = {.kind = COMP_STEP_MODULE, .module = module};
    const struct comp_module_type *type = module_type(d, module);
    return type && check_imports(d, rd, type) &&
           define(d, scope, COMP_SORT_CORE_MODULE, type, &step);
}

static bool is_new_arg(struct comp_decoder *d, const struct comp_arg *args, uint32_t count)
{
    const struct comp_arg *arg = &args[count];
    if (!comp_work(d, count / 8))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (args[i].name_bytes == arg->name_bytes &&
            memcmp(args[i].name, arg->name, arg->name_bytes) == 0)
            return false;
    return true;
}

static bool read_core_args(struct comp_decoder *d, struct rd *rd, struct comp_step *step)
{
    step->arg_count = comp_read_count(d, rd);
    step->args = arena_calloc(d->arena, (size_t)step->arg_count + 1, sizeof *step->args);
    if (!step->args)
        return comp_fail_memory(d);
    for (uint32_t i = 0; i < step->arg_count; i++) {
        struct comp_arg *arg = &step->args[i];
        if (!comp_read_name(d, rd, &arg->name, &arg->name_bytes))
            return false;
        if (step->kind == COMP_STEP_CORE_INSTANTIATE) {
            uint8_t sort = rd_u8(rd);
            if (sort != 0x12)
                return comp_fail(d, rd, ERR_INVALID,
                                 "invalid leading byte (0x%x) for instantiation arg kind", sort);
            arg->sort = COMP_SORT_CORE_INSTANCE;
        } else if (!read_core_sort(d, rd, &arg->sort)) {
            return false;
        }
        arg->index = comp_read_index(rd);
        if (!is_new_arg(d, step->args, i))
            return comp_fail(d, rd, ERR_INVALID, "core name `%s` already defined", arg->name);
    }
    return !rd->failed || comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file");
}

/* Every import of the module is given, and of its type. The result exports what the module does. */
static const struct comp_module_type *check_core_instantiate(struct comp_decoder *d,
                                                             const struct rd *rd,
                                                             const struct comp_scope *scope,
                                                             const struct comp_step *step)
{
    const struct comp_module_type *module = comp_scope_get(d, rd, scope, COMP_SORT_CORE_MODULE,
                                                           step->index);
    if (!module)
        return NULL;
    for (uint32_t i = 0; i < step->arg_count; i++)
        if (!comp_scope_get(d, rd, scope, COMP_SORT_CORE_INSTANCE, step->args[i].index))
            return NULL;
    for (uint32_t i = 0; i < module->import_count; i++) {
        const struct wasm_import *import = &module->imports[i];
        const struct comp_module_type *from = NULL;
        const struct wasm_export *found = NULL;
        if (!comp_work(d, step->arg_count))
            return NULL;
        for (uint32_t k = 0; k < step->arg_count && !from; k++)
            if (step->args[k].name_bytes == import->module_bytes &&
                memcmp(step->args[k].name, import->module, import->module_bytes) == 0)
                from = scope->spaces[COMP_SORT_CORE_INSTANCE].items[step->args[k].index];
        if (!from) {
            comp_fail(d, rd, ERR_INVALID, "missing module instantiation argument `%s`",
                      import->module);
            return NULL;
        }
        if (!comp_work(d, from->export_count / 8))
            return NULL;
        for (uint32_t k = 0; k < from->export_count && !found; k++)
            if (from->exports[k].name_bytes == import->name_bytes &&
                memcmp(from->exports[k].name, import->name, import->name_bytes) == 0)
                found = &from->exports[k];
        if (!found) {
            comp_fail(d, rd, ERR_INVALID,
                      "module instantiation argument `%s` does not export an item named `%s`",
                      import->module, import->name);
            return NULL;
        }
        if (!comp_match_core(d, rd, &found->type, &import->type, import->name))
            return NULL;
    }
    return module;
}

static const struct comp_module_type *core_inline(struct comp_decoder *d, const struct rd *rd,
                                                  const struct comp_scope *scope,
                                                  const struct comp_step *step)
{
    struct comp_module_type *type = arena_calloc(d->arena, 1, sizeof *type);
    struct wasm_export *exports = arena_calloc(d->arena, (size_t)step->arg_count + 1,
                                               sizeof *exports);
    if (!type || !exports)
        return comp_fail_memory(d), NULL;
    for (uint32_t i = 0; i < step->arg_count; i++) {
        const struct comp_arg *arg = &step->args[i];
        if (arg->sort > COMP_SORT_CORE_TAG) {
            comp_fail(d, rd, ERR_INVALID, "a %s cannot be exported by a core instance",
                      comp_sort_name(arg->sort));
            return NULL;
        }
        const struct wasm_extern_type *item = comp_scope_get(d, rd, scope, arg->sort, arg->index);
        if (!item)
            return NULL;
        exports[i] = (struct wasm_export){arg->name, arg->name_bytes, 0, *item};
    }
    type->export_count = step->arg_count;
    type->exports = exports;
    return type;
}

static bool read_core_instance(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {0};
    uint8_t lead = rd_u8(rd);
    const struct comp_module_type *type;
    if (lead == 0) {
        step.kind = COMP_STEP_CORE_INSTANTIATE;
        step.index = comp_read_index(rd);
        if (!read_core_args(d, rd, &step))
            return false;
        type = check_core_instantiate(d, rd, scope, &step);
    } else if (lead == 1) {
        step.kind = COMP_STEP_CORE_INLINE;
        if (!read_core_args(d, rd, &step))
            return false;
        type = core_inline(d, rd, scope, &step);
    } else {
        return comp_fail(d, rd, ERR_INVALID, "invalid leading byte (0x%x) for core instance", lead);
    }
    return define(d, scope, COMP_SORT_CORE_INSTANCE, type, &step);
}

/* ---- instances --------------------------------------------------------------------------- */

static bool read_instantiate(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                             struct comp_step *step)
{
    step->kind = COMP_STEP_INSTANTIATE;
    step->index = comp_read_index(rd);
    step->arg_count = comp_read_count(d, rd);
    step->args = arena_calloc(d->arena, (size_t)step->arg_count + 1, sizeof *step->args);
    struct comp_named *args = arena_calloc(d->arena, (size_t)step->arg_count + 1, sizeof *args);
    if (!step->args || !args)
        return comp_fail_memory(d);
    for (uint32_t i = 0; i < step->arg_count; i++) {
        struct comp_arg *arg = &step->args[i];
        if (!comp_read_name(d, rd, &arg->name, &arg->name_bytes) ||
            !comp_read_sort(d, rd, &arg->sort))
            return false;
        arg->index = comp_read_index(rd);
        args[i].name = arg->name;
        args[i].name_bytes = arg->name_bytes;
        if (!extern_of(d, rd, scope, arg->sort, arg->index, &args[i].type))
            return false;
        if (!is_new_arg(d, step->args, i))
            return comp_fail(d, rd, ERR_INVALID,
                             "instantiation argument `%s` conflicts with previous argument",
                             arg->name);
    }
    const struct comp_component_type *component = comp_scope_get(d, rd, scope,
                                                                 COMP_SORT_COMPONENT, step->index);
    if (!component)
        return false;
    step->type.sort = COMP_SORT_INSTANCE;
    step->type.of.instance = comp_match_instantiate(d, rd, scope, component, args,
                                                    step->arg_count);
    /* The inner component's names for the types given to it stand for ours. */
    for (uint32_t i = 0; i < component->import_count; i++)
        if (!comp_make_visible(d, scope, true, &component->imports[i].type))
            return false;
    return step->type.of.instance != NULL;
}

static bool read_inline(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                        struct comp_step *step)
{
    step->kind = COMP_STEP_INLINE;
    step->arg_count = comp_read_count(d, rd);
    step->args = arena_calloc(d->arena, (size_t)step->arg_count + 1, sizeof *step->args);
    if (!step->args)
        return comp_fail_memory(d);
    /* A scope of its own for the names; its resources stay the component's. */
    struct comp_scope inner;
    comp_scope_init(&inner, COMP_SCOPE_INSTANCE_TYPE, scope);
    bool ok = true;
    for (uint32_t i = 0; i < step->arg_count && ok; i++) {
        struct comp_arg *arg = &step->args[i];
        struct comp_extern type;
        bool has_implements;
        ok = comp_read_extern_name(d, rd, &arg->name, &arg->name_bytes, &has_implements) &&
             comp_read_sort(d, rd, &arg->sort);
        if (!ok)
            break;
        arg->index = comp_read_index(rd);
        ok = extern_of(d, rd, scope, arg->sort, arg->index, &type);
        if (!ok)
            break;
        /* Bundling is not exporting: nothing need be visible yet, so the list is made by hand. */
        struct comp_named named = {arg->name, arg->name_bytes, type};
        char key[COMP_NAME_MAX];
        static char present;
        size_t bytes = arg->name_bytes < sizeof key ? arg->name_bytes : sizeof key;
        for (size_t k = 0; k < bytes; k++)
            key[k] = (char)(arg->name[k] >= 'A' && arg->name[k] <= 'Z' ? arg->name[k] + 32
                                                                        : arg->name[k]);
        if (map_find(&inner.exports.unique, key, bytes))
            ok = comp_fail(d, rd, ERR_INVALID, "export name `%s` conflicts with previous name",
                           arg->name);
        else
            ok = (map_set(&inner.exports.unique, key, bytes, &present) &&
                  vec_push(NULL, &inner.exports, named)) || comp_fail_memory(d);
    }
    if (ok) {
        step->type.sort = COMP_SORT_INSTANCE;
        step->type.of.instance = comp_scope_instance_type(d, &inner);
        ok = step->type.of.instance != NULL;
    }
    comp_scope_deinit(&inner);
    return ok;
}

static bool read_instance(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {0};
    uint8_t lead = rd_u8(rd);
    if (lead > 1)
        return comp_fail(d, rd, ERR_INVALID, "invalid leading byte (0x%x) for instance", lead);
    return (lead == 0 ? read_instantiate(d, rd, scope, &step)
                      : read_inline(d, rd, scope, &step)) &&
           define(d, scope, COMP_SORT_INSTANCE, step.type.of.instance, &step);
}

/* ---- aliases ----------------------------------------------------------------------------- */

static bool alias_export(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                         enum comp_sort sort)
{
    struct comp_step step = {.kind = COMP_STEP_ALIAS, .sort = sort};
    step.index = comp_read_index(rd);
    const struct comp_instance_type *instance = comp_scope_get(d, rd, scope, COMP_SORT_INSTANCE,
                                                               step.index);
    if (!instance || !comp_read_name(d, rd, &step.name, &step.name_bytes))
        return false;
    const struct comp_named *named = comp_find_named(d, instance->exports, instance->export_count,
                                                     step.name, step.name_bytes);
    if (!named)
        return comp_fail(d, rd, ERR_INVALID, "instance %u has no export named `%s`", step.index,
                         step.name);
    if (named->type.sort != sort)
        return comp_fail(d, rd, ERR_INVALID, "export `%s` for instance %u is not a %s", step.name,
                         step.index, comp_sort_name(sort));
    if (scope->kind != COMP_SCOPE_COMPONENT && sort != COMP_SORT_TYPE &&
        sort != COMP_SORT_INSTANCE)
        return comp_fail(d, rd, ERR_INVALID,
                         "aliases in a type may only refer to types or instances");
    const void *item;
    switch (sort) {
    case COMP_SORT_FUNC: item = named->type.of.func; break;
    case COMP_SORT_COMPONENT: item = named->type.of.component; break;
    case COMP_SORT_INSTANCE: item = named->type.of.instance; break;
    case COMP_SORT_TYPE: item = &named->type.of.type; break;
    default: item = named->type.of.module; break;
    }
    if (scope->kind != COMP_SCOPE_COMPONENT)
        return comp_scope_push(d, scope, sort, item);
    return define(d, scope, sort, item, &step);
}

static bool alias_core_export(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                              enum comp_sort sort)
{
    struct comp_step step = {.kind = COMP_STEP_ALIAS_CORE, .sort = sort};
    if (scope->kind != COMP_SCOPE_COMPONENT)
        return comp_fail(d, rd, ERR_INVALID,
                         "aliases in a type may only refer to types or instances");
    step.index = comp_read_index(rd);
    const struct comp_module_type *instance = comp_scope_get(d, rd, scope, COMP_SORT_CORE_INSTANCE,
                                                             step.index);
    if (!instance || !comp_read_name(d, rd, &step.name, &step.name_bytes))
        return false;
    if (!comp_work(d, instance->export_count / 8))
        return false;
    const struct wasm_export *found = NULL;
    for (uint32_t i = 0; i < instance->export_count && !found; i++)
        if (instance->exports[i].name_bytes == step.name_bytes &&
            memcmp(instance->exports[i].name, step.name, step.name_bytes) == 0)
            found = &instance->exports[i];
    if (!found)
        return comp_fail(d, rd, ERR_INVALID, "core instance %u has no export named `%s`",
                         step.index, step.name);
    if ((enum comp_sort)found->type.kind != sort)
        return comp_fail(d, rd, ERR_INVALID, "export `%s` for core instance %u is not a %s",
                         step.name, step.index, comp_sort_name(sort));
    return define(d, scope, sort, &found->type, &step);
}

static bool alias_outer(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                        enum comp_sort sort)
{
    struct comp_step step = {.kind = COMP_STEP_ALIAS_OUTER, .sort = sort};
    step.count = comp_read_index(rd);
    step.index = comp_read_index(rd);
    const struct comp_scope *from = scope;
    bool crosses = false;
    if (sort != COMP_SORT_CORE_MODULE && sort != COMP_SORT_CORE_TYPE && sort != COMP_SORT_TYPE &&
        sort != COMP_SORT_COMPONENT)
        return comp_fail(d, rd, ERR_INVALID,
                         "outer item %s is not a module, type, or component", comp_sort_name(sort));
    if (scope->kind != COMP_SCOPE_COMPONENT && sort != COMP_SORT_TYPE &&
        sort != COMP_SORT_CORE_TYPE)
        return comp_fail(d, rd, ERR_INVALID,
                         "aliases in a type may only refer to types or instances");
    for (uint32_t i = 0; i < step.count && from; i++) {
        crosses |= from->kind == COMP_SCOPE_COMPONENT;
        from = from->outer;
    }
    if (!from)
        return comp_fail(d, rd, ERR_INVALID, "invalid outer alias count of %u", step.count);
    const void *item = comp_scope_get(d, rd, from, sort, step.index);
    if (!item)
        return false;
    if (crosses && sort == COMP_SORT_TYPE && comp_any_has_free(d, item))
        return comp_fail(d, rd, ERR_INVALID,
                         "cannot alias outer type %u which transitively refers to resources not "
                         "defined in the current component", step.index);
    if (scope->kind != COMP_SCOPE_COMPONENT || sort == COMP_SORT_CORE_TYPE)
        return comp_scope_push(d, scope, sort, item);
    return define(d, scope, sort, item, &step);
}

bool comp_read_alias(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    enum comp_sort sort;
    if (!comp_read_sort(d, rd, &sort))
        return false;
    uint8_t target = rd_u8(rd);
    bool is_core = sort < COMP_SORT_FUNC && sort != COMP_SORT_CORE_MODULE;
    if (target == 0 && !rd->failed) {
        if (is_core)
            return comp_fail(d, rd, ERR_INVALID, "an instance cannot export a %s",
                             comp_sort_name(sort));
        return alias_export(d, rd, scope, sort);
    }
    if (target == 1) {
        if (sort > COMP_SORT_CORE_TAG)
            return comp_fail(d, rd, ERR_INVALID, "a core instance cannot export a %s",
                             comp_sort_name(sort));
        return alias_core_export(d, rd, scope, sort);
    }
    if (target == 2)
        return alias_outer(d, rd, scope, sort);
    return comp_fail(d, rd, ERR_INVALID, "malformed alias target 0x%02x", target);
}

/* ---- types of a component proper --------------------------------------------------------- */

static bool has_sig(const struct wasm_functype *type, uint32_t params, uint32_t results)
{
    if (type->param_count != params || type->result_count != results)
        return false;
    for (uint32_t i = 0; i < params; i++)
        if (type->params[i] != WASM_I32)
            return false;
    return results == 0 || type->results[0] == WASM_I32;
}

static bool read_resource(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_RESOURCE, .index = COMP_NO_INDEX};
    uint8_t rep = rd_u8(rd), has_destructor = rd_u8(rd);
    if (rep != WASM_I32)
        return comp_fail(d, rd, rep == WASM_I64 ? ERR_UNSUPPORTED : ERR_INVALID,
                         "resources can only be represented by `i32`");
    if (has_destructor > 1)
        return comp_fail(d, rd, ERR_INVALID, "malformed resource type");
    if (has_destructor) {
        step.index = comp_read_index(rd);
        const struct wasm_extern_type *func = comp_scope_get(d, rd, scope, COMP_SORT_CORE_FUNC,
                                                             step.index);
        if (!func)
            return false;
        if (!has_sig(&func->func, 1, 0))
            return comp_fail(d, rd, ERR_INVALID, "wrong signature for a destructor");
    }
    struct comp_any *any = arena_calloc(d->arena, 1, sizeof *any);
    if (!any)
        return comp_fail_memory(d);
    any->kind = COMP_ANY_RESOURCE;
    any->of.resource = comp_scope_new_res(d, scope, false, NULL);
    if (!any->of.resource)
        return false;
    any->of.resource->local_to = scope;
    step.slot = any->of.resource->slot;
    return define(d, scope, COMP_SORT_TYPE, any, &step);
}

static bool read_component_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    if (rd_left(rd) && rd->data[rd->at] == 0x3f) {
        rd->at++;
        return read_resource(d, rd, scope);
    }
    struct comp_step step = {.kind = COMP_STEP_TYPE};
    return comp_read_type(d, rd, scope) && add_step(d, scope, &step);
}

/* ---- canonical definitions --------------------------------------------------------------- */

static const struct wasm_extern_type *core_func(struct comp_decoder *d, const struct rd *rd,
                                                const struct comp_scope *scope, uint32_t index)
{
    return comp_scope_get(d, rd, scope, COMP_SORT_CORE_FUNC, index);
}

static bool read_canon_options(struct comp_decoder *d, struct rd *rd,
                               const struct comp_scope *scope, bool is_lift,
                               struct comp_canon *canon)
{
    uint32_t count = comp_read_count(d, rd);
    bool has_encoding = false;
    *canon = (struct comp_canon){COMP_UTF8, COMP_NO_INDEX, COMP_NO_INDEX, COMP_NO_INDEX};
    for (uint32_t i = 0; i < count; i++) {
        uint8_t option = rd_u8(rd);
        uint32_t *index = NULL;
        const char *what = "";
        switch (option) {
        case 0x00: case 0x01: case 0x02:
            if (has_encoding)
                return comp_fail(d, rd, ERR_INVALID, "canonical encoding option conflicts with "
                                                     "another encoding option");
            has_encoding = true;
            canon->encoding = (enum comp_encoding)option;
            continue;
        case 0x03:
            index = &canon->memory;
            what = "memory";
            break;
        case 0x04:
            index = &canon->realloc;
            what = "realloc";
            break;
        case 0x05:
            index = &canon->post_return;
            what = "post-return";
            if (!is_lift)
                return comp_fail(d, rd, ERR_INVALID,
                                 "canonical option `post-return` cannot be specified for lowerings");
            break;
        case 0x06: case 0x07:
            return comp_fail(d, rd, ERR_UNSUPPORTED, "async lifting and lowering are not supported");
        default:
            return comp_fail(d, rd, ERR_INVALID, "malformed canonical option 0x%02x", option);
        }
        if (*index != COMP_NO_INDEX)
            return comp_fail(d, rd, ERR_INVALID,
                             "canonical option `%s` is specified more than once", what);
        *index = comp_read_index(rd);
        if (rd->failed || *index == COMP_NO_INDEX)
            return comp_fail(d, rd, ERR_INVALID, "malformed index");
    }
    if (canon->memory != COMP_NO_INDEX) {
        const struct wasm_extern_type *memory = comp_scope_get(d, rd, scope,
                                                               COMP_SORT_CORE_MEMORY,
                                                               canon->memory);
        if (!memory)
            return false;
        if (memory->limits.is64)
            return comp_fail(d, rd, ERR_UNSUPPORTED,
                             "64-bit memories in canonical options are not supported");
    }
    if (canon->realloc != COMP_NO_INDEX) {
        const struct wasm_extern_type *func = core_func(d, rd, scope, canon->realloc);
        if (!func)
            return false;
        if (!has_sig(&func->func, 4, 1))
            return comp_fail(d, rd, ERR_INVALID, "canonical option `realloc` uses a core function "
                                                 "with an incorrect signature");
        if (canon->memory == COMP_NO_INDEX)
            return comp_fail(d, rd, ERR_INVALID, "canonical option `realloc` requires `memory` to "
                                                 "also be specified");
    }
    return true;
}

static bool need(struct comp_decoder *d, const struct rd *rd, const struct comp_canon *canon,
                 bool memory, bool realloc)
{
    if ((memory || realloc) && canon->memory == COMP_NO_INDEX)
        return comp_fail(d, rd, ERR_INVALID, "canonical option `memory` is required");
    if (realloc && canon->realloc == COMP_NO_INDEX)
        return comp_fail(d, rd, ERR_INVALID, "canonical option `realloc` is required");
    return true;
}

static bool read_lift(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_LIFT};
    if (rd_u8(rd) != 0)
        return comp_fail(d, rd, ERR_INVALID, "malformed canonical lift");
    step.index = comp_read_index(rd);
    const struct wasm_extern_type *core = core_func(d, rd, scope, step.index);
    if (!core || !read_canon_options(d, rd, scope, true, &step.canon))
        return false;
    uint32_t type_index = comp_read_index(rd);
    const struct comp_any *any = comp_scope_get(d, rd, scope, COMP_SORT_TYPE, type_index);
    if (!any)
        return false;
    if (any->kind != COMP_ANY_FUNC)
        return comp_fail(d, rd, ERR_INVALID, "type index %u is not a function type", type_index);
    const struct comp_functype *type = step.func = any->of.func;
    bool is_indirect = type->flat_count > COMP_FLAT_PARAMS_MAX;
    bool takes_memory = type->params_have_pointer || is_indirect;
    bool gives_memory = type->result && (type->result->has_pointer ||
                                         type->result->flat_count > COMP_FLAT_RESULTS_MAX);
    if (!need(d, rd, &step.canon, takes_memory || gives_memory, takes_memory))
        return false;
    struct comp_core_sig sig;
    comp_functype_core(type, true, &sig);
    if (!comp_core_sig_equal(&sig, &core->func)) {
        bool in_params = sig.param_count != core->func.param_count ||
                         (sig.param_count &&
                          memcmp(sig.params, core->func.params,
                                 sig.param_count * sizeof *sig.params) != 0);
        return comp_fail(d, rd, ERR_INVALID, "lowered %s types do not match the core function's",
                         in_params ? "parameter" : "result");
    }
    if (step.canon.post_return != COMP_NO_INDEX) {
        const struct wasm_extern_type *post = core_func(d, rd, scope, step.canon.post_return);
        if (!post)
            return false;
        if (post->func.result_count != 0 || post->func.param_count != sig.result_count ||
            (sig.result_count && post->func.params[0] != sig.results[0]))
            return comp_fail(d, rd, ERR_INVALID, "canonical option `post-return` uses a core "
                                                 "function with an incorrect signature");
    }
    return define(d, scope, COMP_SORT_FUNC, type, &step);
}

static const struct wasm_extern_type *core_func_type(struct comp_decoder *d,
                                                     const struct comp_core_sig *sig)
{
    struct wasm_extern_type *type = arena_calloc(d->arena, 1, sizeof *type);
    struct comp_core_sig *copy = arena_alloc(d->arena, sizeof *copy);
    if (!type || !copy)
        return comp_fail_memory(d), NULL;
    *copy = *sig;
    type->kind = WASM_FUNC;
    type->func = (struct wasm_functype){sig->param_count, sig->result_count, copy->params,
                                        copy->results};
    return type;
}

static bool read_lower(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_LOWER};
    if (rd_u8(rd) != 0)
        return comp_fail(d, rd, ERR_INVALID, "malformed canonical lower");
    step.index = comp_read_index(rd);
    const struct comp_functype *type = comp_scope_get(d, rd, scope, COMP_SORT_FUNC, step.index);
    if (!type || !read_canon_options(d, rd, scope, false, &step.canon))
        return false;
    step.func = type;
    bool takes_memory = type->params_have_pointer || type->flat_count > COMP_FLAT_PARAMS_MAX;
    bool result_pointer = type->result && type->result->has_pointer;
    bool result_indirect = type->result && type->result->flat_count > COMP_FLAT_RESULTS_MAX;
    if (!need(d, rd, &step.canon, takes_memory || result_indirect, result_pointer))
        return false;
    struct comp_core_sig sig;
    comp_functype_core(type, false, &sig);
    return define(d, scope, COMP_SORT_CORE_FUNC, core_func_type(d, &sig), &step);
}

static bool read_resource_canon(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                                enum comp_step_kind kind)
{
    struct comp_step step = {.kind = kind};
    uint32_t index = comp_read_index(rd);
    const struct comp_any *any = comp_scope_get(d, rd, scope, COMP_SORT_TYPE, index);
    if (!any)
        return false;
    if (any->kind != COMP_ANY_RESOURCE)
        return comp_fail(d, rd, ERR_INVALID, "type index %u is not a resource type", index);
    if (kind != COMP_STEP_RESOURCE_DROP && any->of.resource->local_to != scope)
        return comp_fail(d, rd, ERR_INVALID, "type index %u is not a local resource", index);
    step.slot = any->of.resource->slot;
    struct comp_core_sig sig = {1, kind == COMP_STEP_RESOURCE_DROP ? 0 : 1, {WASM_I32},
                                {WASM_I32}};
    return define(d, scope, COMP_SORT_CORE_FUNC, core_func_type(d, &sig), &step);
}

static bool read_canon(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    uint8_t lead = rd_u8(rd);
    switch (lead) {
    case 0x00:
        return read_lift(d, rd, scope);
    case 0x01:
        return read_lower(d, rd, scope);
    case 0x02:
        return read_resource_canon(d, rd, scope, COMP_STEP_RESOURCE_NEW);
    case 0x03:
        return read_resource_canon(d, rd, scope, COMP_STEP_RESOURCE_DROP);
    case 0x04:
        return read_resource_canon(d, rd, scope, COMP_STEP_RESOURCE_REP);
    default:
        if ((lead >= 0x05 && lead <= 0x2d) || (lead >= 0x40 && lead <= 0x42))
            return comp_fail(d, rd, ERR_UNSUPPORTED,
                             "the canonical built-in 0x%02x (async, threads) is not supported",
                             lead);
        return comp_fail(d, rd, ERR_INVALID, "malformed canonical definition 0x%02x", lead);
    }
}

/* ---- imports and exports ----------------------------------------------------------------- */

static bool read_import(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_IMPORT};
    bool has_implements;
    if (!comp_read_extern_name(d, rd, &step.name, &step.name_bytes, &has_implements) ||
        !comp_read_extern_type(d, rd, scope, &step.type) ||
        !comp_introduce(d, rd, scope, true, has_implements, step.name, step.name_bytes,
                        &step.type))
        return false;
    return add_step(d, scope, &step);
}

static bool read_export(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_EXPORT};
    bool has_implements;
    struct comp_extern item;
    if (!comp_read_extern_name(d, rd, &step.name, &step.name_bytes, &has_implements) ||
        !comp_read_sort(d, rd, &step.sort))
        return false;
    step.index = comp_read_index(rd);
    if (!extern_of(d, rd, scope, step.sort, step.index, &item))
        return false;
    uint8_t is_ascribed = rd_u8(rd);
    if (is_ascribed > 1 || rd->failed)
        return comp_fail(d, rd, ERR_INVALID, "malformed export");
    step.type = item;
    if (is_ascribed && !comp_read_extern_type(d, rd, scope, &step.type))
        return false;
    size_t first_resource = scope->resources.count;
    if (!comp_introduce(d, rd, scope, false, has_implements, step.name, step.name_bytes,
                        &step.type))
        return false;
    if (is_ascribed && !comp_match_ascribed(d, rd, &item, &step.type, scope, first_resource))
        return false;
    return add_step(d, scope, &step);
}

/* ---- components -------------------------------------------------------------------------- */

static bool read_component(struct comp_decoder *d, struct rd *rd, struct comp_scope *outer,
                           const struct comp_def **out);

static bool read_nested(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_step step = {.kind = COMP_STEP_COMPONENT};
    if (scope->depth + 1 > COMP_NESTING_MAX)
        return comp_fail(d, rd, ERR_LIMIT, "components are nested more than %d deep",
                         COMP_NESTING_MAX);
    return read_component(d, rd, scope, &step.def) &&
           define(d, scope, COMP_SORT_COMPONENT, step.def->type, &step);
}

static bool read_custom(struct comp_decoder *d, struct rd *rd)
{
    const char *name;
    uint32_t bytes;
    if (!comp_read_name(d, rd, &name, &bytes))
        return false;
    rd->at = rd->bytes;
    return true;
}

typedef bool (*read_item)(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope);

static bool read_section(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                         uint8_t id)
{
    static const read_item items[] = {
        [2] = read_core_instance, [3] = comp_read_core_type, [5] = read_instance,
        [6] = comp_read_alias, [7] = read_component_type, [8] = read_canon,
        [10] = read_import, [11] = read_export,
    };
    switch (id) {
    case 0:
        return read_custom(d, rd);
    case 1:
        return read_module(d, rd, scope);
    case 4:
        return read_nested(d, rd, scope);
    case 9: case 12:
        return comp_fail(d, rd, ERR_UNSUPPORTED,
                         "component start functions and values are not supported");
    case 2: case 3: case 5: case 6: case 7: case 8: case 10: case 11: {
        uint32_t count = comp_read_count(d, rd);
        for (uint32_t i = 0; i < count; i++)
            if (!items[id](d, rd, scope))
                return false;
        if (rd->failed)
            return comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file or malformed integer");
        return true;
    }
    default:
        return comp_fail(d, rd, ERR_INVALID, "malformed section id: %u", id);
    }
}

static struct comp_def *finish(struct comp_decoder *d, struct comp_scope *scope)
{
    struct comp_def *def = arena_calloc(d->arena, 1, sizeof *def);
    size_t count = scope->steps.count;
    struct comp_step *steps = arena_calloc(d->arena, count + 1, sizeof *steps);
    if (!def || !steps)
        return comp_fail_memory(d), NULL;
    if (count)
        memcpy(steps, scope->steps.items, count * sizeof *steps);
    def->steps = steps;
    def->step_count = (uint32_t)count;
    def->slot_count = (uint32_t)scope->resources.count;
    for (int sort = 0; sort < COMP_SORT_COUNT; sort++)
        def->space_counts[sort] = (uint32_t)scope->spaces[sort].count;
    def->type = comp_scope_component_type(d, scope);
    return def->type ? def : NULL;
}

static bool read_sections(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    static const uint8_t header[] = {0x00, 'a', 's', 'm', 0x0d, 0x00, 0x01, 0x00};
    const uint8_t *preamble = rd_take(rd, sizeof header);
    if (!preamble)
        return comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file in the header");
    if (memcmp(preamble, header, sizeof header) != 0)
        return comp_fail(d, rd, ERR_INVALID,
                         memcmp(preamble, header, 4) ? "not a WebAssembly file: magic header not "
                                                       "detected"
                                                     : "unknown binary version");
    while (rd_left(rd)) {
        uint8_t id = rd_u8(rd);
        uint32_t bytes = (uint32_t)rd_leb_u(rd, 32);
        const uint8_t *data = rd_take(rd, bytes);
        if (!data)
            return comp_fail(d, rd, ERR_INVALID, "unexpected end-of-file in a section");
        struct rd section = rd_make(data, bytes);
        if (!read_section(d, &section, scope, id))
            return false;
        if (section.at != section.bytes)
            return comp_fail(d, &section, ERR_INVALID,
                             "section size mismatch: unexpected data at the end of the section");
    }
    return true;
}

static bool read_component(struct comp_decoder *d, struct rd *rd, struct comp_scope *outer,
                           const struct comp_def **out)
{
    struct comp_scope scope;
    comp_scope_init(&scope, COMP_SCOPE_COMPONENT, outer);
    *out = read_sections(d, rd, &scope) ? finish(d, &scope) : NULL;
    comp_scope_deinit(&scope);
    return *out != NULL;
}

enum err comp_decode(struct comp_component *component, struct wasm_source *source, bool is_known,
                     struct report *report)
{
    struct report local = {0};
    size_t count;
    const uint8_t *bytes = wasm_source_bytes(source, &count);
    struct comp_decoder d = {.component = component, .arena = &component->arena,
                             .report = report ? report : &local, .file = bytes,
                             .source = source, .is_known = is_known,
                             .work = COMP_WORK_MAX};
    struct rd rd = rd_make(bytes, count);
    map_init(&d.copies, NULL);
    bool ok = read_component(&d, &rd, NULL, &component->root);
    map_deinit(&d.copies);
    if (ok)
        return ERR_OK;
    comp_fail(&d, &rd, ERR_INVALID, "malformed component");
    return d.report->code;
}
