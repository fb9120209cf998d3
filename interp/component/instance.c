/* Instances: carrying out a definition's steps, and the life of an instance around it. */
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/vec.h"
#include "interp/component/instance.h"

enum {
    CALL_HEAP_BYTES_MAX = 512 << 20, /* lifted values of one transfer */
    FRAMES_MAX = 100,                /* component instances being made inside one another */
    STEPS_MAX = 1000 * 1000,         /* steps of all component instances together */
};

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for an instance of the component");
}

/* ---- component instances ----------------------------------------------------------------- */

struct comp_sub *comp_sub_create(struct comp_instance *instance, const struct comp_def *def,
                                 uint32_t slot_count)
{
    struct comp_sub *sub = arena_calloc(&instance->arena, 1, sizeof *sub);
    if (!sub)
        return NULL;
    sub->instance = instance;
    sub->def = def;
    sub->may_enter = sub->may_leave = true;
    sub->slots = arena_calloc(&instance->arena, slot_count + 1, sizeof *sub->slots);
    if (!sub->slots)
        return NULL;
    for (int sort = 0; def && sort < COMP_SORT_COUNT; sort++) {
        sub->spaces[sort] = arena_calloc(&instance->arena, def->space_counts[sort] + 1,
                                         sizeof *sub->spaces[sort]);
        if (!sub->spaces[sort])
            return NULL;
    }
    sub->next = instance->subs;
    instance->subs = sub;
    return sub;
}

static void push(struct comp_sub *sub, enum comp_sort sort, void *item)
{
    CHECK(sub->space_counts[sort] < sub->def->space_counts[sort]);
    sub->spaces[sort][sub->space_counts[sort]++] = item;
}

static void *get(const struct comp_sub *sub, enum comp_sort sort, uint32_t index)
{
    CHECK(index < sub->space_counts[sort]);
    return sub->spaces[sort][index];
}

static const struct comp_export *find_export(const struct comp_export *items, uint32_t count,
                                             const char *name, uint32_t name_bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (items[i].name_bytes == name_bytes && memcmp(items[i].name, name, name_bytes) == 0)
            return &items[i];
    return NULL;
}

/* Validation has proved that what is asked for is there. Memory safety does not rest on that proof
 * alone: where guests meet, names, sorts and shapes are looked at once more. */
static enum err does_not_fit(const char *name, struct report *report)
{
    return err_set(report, ERR_INVALID, "the component's item %s does not fit its type", name);
}

/* Fills the resource slots that an item of this type brings into `sub`. */
static enum err bind_resources(struct comp_sub *sub, const struct comp_extern *type,
                               const void *item, struct report *report)
{
    if (type->sort == COMP_SORT_TYPE && type->of.type.kind == COMP_ANY_RESOURCE) {
        uint32_t slot = type->of.type.of.resource->slot;
        CHECK(slot < sub->def->slot_count);
        if (!sub->slots[slot])
            sub->slots[slot] = item;
    } else if (type->sort == COMP_SORT_INSTANCE && type->of.instance->has_resource) {
        const struct comp_exports *exports = item;
        for (uint32_t i = 0; i < type->of.instance->export_count; i++) {
            const struct comp_named *named = &type->of.instance->exports[i];
            if (named->type.sort != COMP_SORT_TYPE && named->type.sort != COMP_SORT_INSTANCE)
                continue;
            const struct comp_export *export = find_export(exports->items, exports->count,
                                                           named->name, named->name_bytes);
            if (!export || export->sort != named->type.sort)
                return does_not_fit(named->name, report);
            enum err err = bind_resources(sub, &named->type, export->item, report);
            if (err)
                return err;
        }
    }
    return ERR_OK;
}

/* ---- what the host gives ----------------------------------------------------------------- */

static bool same_as_host(void *user, const struct comp_res *a, const struct comp_res *b)
{
    const struct comp_sub *sub = user;
    const struct comp_resource *resource = sub->slots[a->slot];
    return resource && resource->host == b;
}

static struct comp_func *missing_func(struct comp_sub *sub, const struct comp_functype *type,
                                      struct buf *text, bool is_stub)
{
    struct arena *arena = &sub->instance->arena;
    struct comp_func *func = arena_calloc(arena, 1, sizeof *func);
    char *copy = text->failed || !text->data ? NULL : arena_strdup(arena, text->data, text->count);
    if (!func || !copy)
        return NULL;
    func->kind = COMP_FUNC_MISSING;
    func->type = type;
    func->text = copy;
    func->is_stub = is_stub;
    return func;
}

/* A function the host offers, or one that says why it does not. NULL when memory is out. */
struct comp_func *comp_instance_host_func(struct comp_sub *sub, const struct comp_functype *type,
                                          const char *interface, size_t interface_bytes,
                                          const char *name, size_t name_bytes)
{
    struct comp_instance *instance = sub->instance;
    const struct comp_linker *linker = instance->linker;
    uint32_t lookup = instance->lookups++;
    bool is_known = instance->links && lookup < instance->links->count &&
                    instance->links->funcs[lookup];
    const struct comp_linker_func *host =
        is_known ? instance->links->funcs[lookup]
                 : comp_linker_find_func(linker, interface, interface_bytes, name, name_bytes);
    struct buf buf;
    struct comp_func *func = NULL;
    buf_init(&buf, NULL);
    uint64_t work = COMP_TYPE_SIZE_MAX;
    if (!host && comp_linker_is_stub(linker, interface, interface_bytes)) {
        buf_printf(&buf, "%.*s of %.*s is not implemented in this build", (int)name_bytes, name,
                   (int)interface_bytes, interface);
        func = missing_func(sub, type, &buf, true);
    } else if (!host) {
        buf_printf(&buf, "the component imports the function %.*s of %.*s, which the host does "
                         "not offer", (int)name_bytes, name, (int)interface_bytes, interface);
        comp_linker_suggest(linker, &buf, interface, interface_bytes, name, name_bytes);
        func = missing_func(sub, type, &buf, false);
    } else if (type && !is_known && !comp_functype_equal(type, host->type, same_as_host, sub, &work)) {
        buf_printf(&buf, "%.*s of %.*s: the component expects ", (int)name_bytes, name,
                   (int)interface_bytes, interface);
        struct buf text;
        buf_init(&text, NULL);
        comp_functype_print(&text, type);
        buf_printf(&buf, "%s, the host offers ", text.data ? text.data : "?");
        buf_clear(&text);
        comp_functype_print(&text, host->type);
        buf_puts(&buf, text.data ? text.data : "?");
        buf_deinit(&text);
        func = missing_func(sub, type, &buf, false);
    } else if ((func = arena_calloc(&sub->instance->arena, 1, sizeof *func)) != NULL) {
        func->kind = COMP_FUNC_HOST;
        func->type = type ? type : host->type;
        func->host = host;
    }
    buf_deinit(&buf);
    const struct comp_linker_func *bound = func && func->kind == COMP_FUNC_HOST ? host : NULL;
    if (!instance->links && !vec_push(NULL, &instance->noted, bound))
        return NULL;
    return func;
}

static const struct comp_resource *host_resource(struct comp_sub *sub, const struct comp_res *res,
                                                 const char *interface, size_t interface_bytes,
                                                 const char *name, size_t name_bytes)
{
    if (sub->slots[res->slot])
        return sub->slots[res->slot];
    const struct comp_linker_resource *found = comp_linker_find_resource(
        sub->instance->linker, interface, interface_bytes, name, name_bytes);
    if (found)
        return &found->resource;
    /* Unknown to the host: nobody can make one, but functions over it may be imported. */
    struct comp_resource *resource = arena_calloc(&sub->instance->arena, 1, sizeof *resource);
    if (resource)
        resource->name = arena_strdup(&sub->instance->arena, name, name_bytes);
    return resource;
}

static enum err host_item(struct comp_sub *sub, const struct comp_extern *type,
                          const char *interface, uint32_t interface_bytes, const char *name,
                          uint32_t name_bytes, void **item, struct report *report);

static enum err host_exports(struct comp_sub *sub, const struct comp_instance_type *type,
                             const char *interface, uint32_t interface_bytes,
                             struct comp_exports **out, struct report *report)
{
    struct arena *arena = &sub->instance->arena;
    struct comp_exports *exports = arena_calloc(arena, 1, sizeof *exports);
    struct comp_export *items = arena_calloc(arena, type->export_count + 1, sizeof *items);
    if (!exports || !items)
        return no_memory(report);
    /* Types first: the functions' types are compared by them. */
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < type->export_count; i++) {
            const struct comp_named *named = &type->exports[i];
            if ((named->type.sort == COMP_SORT_TYPE) != (pass == 0))
                continue;
            items[i] = (struct comp_export){named->name, named->name_bytes, named->type.sort, NULL};
            enum err err = host_item(sub, &named->type, interface, interface_bytes, named->name,
                                     named->name_bytes, &items[i].item, report);
            if (err)
                return err;
            if (pass == 0)
                err = bind_resources(sub, &named->type, items[i].item, report);
            if (err)
                return err;
        }
    *exports = (struct comp_exports){type->export_count, items};
    *out = exports;
    return ERR_OK;
}

/* What the host has for an import of the root: NAME of INTERFACE ("" for top-level functions). */
static enum err host_item(struct comp_sub *sub, const struct comp_extern *type,
                          const char *interface, uint32_t interface_bytes, const char *name,
                          uint32_t name_bytes, void **item, struct report *report)
{
    *item = NULL;
    switch (type->sort) {
    case COMP_SORT_FUNC:
        *item = comp_instance_host_func(sub, type->of.func, interface, interface_bytes, name,
                                        name_bytes);
        return *item ? ERR_OK : no_memory(report);
    case COMP_SORT_TYPE: {
        if (type->of.type.kind != COMP_ANY_RESOURCE)
            return ERR_OK;
        const struct comp_resource *resource =
            host_resource(sub, type->of.type.of.resource, interface, interface_bytes, name,
                          name_bytes);
        memcpy(item, &resource, sizeof resource);
        return resource ? ERR_OK : no_memory(report);
    }
    case COMP_SORT_INSTANCE: {
        struct comp_exports *exports = NULL;
        enum err err = host_exports(sub, type->of.instance, name, name_bytes, &exports, report);
        *item = exports;
        return err;
    }
    case COMP_SORT_CORE_MODULE:
        *item = comp_linker_find_module(sub->instance->linker, name, name_bytes);
        if (*item)
            return ERR_OK;
        return err_set(report, ERR_NOT_FOUND,
                       "the component imports the core module %s, which the host does not offer",
                       name);
    default:
        return err_set(report, ERR_UNSUPPORTED,
                       "the component imports the component %s; only functions, types, instances "
                       "and core modules can be imported from the host", name);
    }
}

/* ---- core instances ---------------------------------------------------------------------- */

static void *extern_item(const struct wasm_extern *from)
{
    switch (from->kind) {
    case WASM_FUNC: return from->of.func;
    case WASM_TABLE: return from->of.table;
    case WASM_MEMORY: return from->of.memory;
    case WASM_GLOBAL: return from->of.global;
    default: return from->of.tag;
    }
}

static struct wasm_extern item_extern(enum comp_sort sort, void *item)
{
    struct wasm_extern result = {.kind = (enum wasm_kind)sort};
    switch (result.kind) {
    case WASM_FUNC: result.of.func = item; break;
    case WASM_TABLE: result.of.table = item; break;
    case WASM_MEMORY: result.of.memory = item; break;
    case WASM_GLOBAL: result.of.global = item; break;
    default: result.of.tag = item; break;
    }
    return result;
}

static bool core_export(const struct comp_core_instance *core, const char *name,
                        uint32_t name_bytes, struct wasm_extern *out)
{
    if (core->instance)
        return wasm_instance_export(core->instance, name, name_bytes, out);
    const struct comp_export *export = find_export(core->items, core->count, name, name_bytes);
    if (export)
        *out = item_extern(export->sort, export->item);
    return export != NULL;
}

/* Instantiates, notes whose it is, and queues its start function. */
enum err comp_instance_core(struct comp_sub *sub, struct wasm_module *module,
                            const struct wasm_extern *imports, uint32_t count,
                            struct wasm_instance **out, struct report *report)
{
    struct comp_instance *instance = sub->instance;
    enum err err = wasm_instance_create(instance->store, module, imports, count, out, report);
    if (err)
        return err;
    struct wasm_func *start = wasm_instance_start_func(*out);
    wasm_instance_set_user(*out, sub);
    if (start)
        instance->starts[instance->start_count++] = start;
    return ERR_OK;
}

static enum err step_core_instantiate(struct comp_sub *sub, const struct comp_step *step,
                                      struct report *report)
{
    struct wasm_module *module = get(sub, COMP_SORT_CORE_MODULE, step->index);
    uint32_t count = wasm_module_import_count(module);
    struct wasm_extern *imports = arena_calloc(&sub->instance->arena, count + 1, sizeof *imports);
    struct comp_core_instance *core = arena_calloc(&sub->instance->arena, 1, sizeof *core);
    if (!imports || !core)
        return no_memory(report);
    for (uint32_t i = 0; i < count; i++) {
        const struct wasm_import *import = wasm_module_import(module, i);
        bool is_found = false;
        for (uint32_t k = 0; k < step->arg_count && !is_found; k++)
            if (step->args[k].name_bytes == import->module_bytes &&
                memcmp(step->args[k].name, import->module, import->module_bytes) == 0)
                is_found = core_export(get(sub, COMP_SORT_CORE_INSTANCE, step->args[k].index),
                                       import->name, import->name_bytes, &imports[i]);
        if (!is_found)
            return err_set(report, ERR_INVALID, "the core import %s of %s is not given",
                           import->name, import->module);
    }
    enum err err = comp_instance_core(sub, module, imports, count, &core->instance, report);
    if (!err)
        push(sub, COMP_SORT_CORE_INSTANCE, core);
    return err;
}

static enum err step_inline(struct comp_sub *sub, const struct comp_step *step,
                            struct report *report)
{
    struct arena *arena = &sub->instance->arena;
    struct comp_export *items = arena_calloc(arena, step->arg_count + 1, sizeof *items);
    struct comp_exports *exports = arena_calloc(arena, 1, sizeof *exports);
    struct comp_core_instance *core = arena_calloc(arena, 1, sizeof *core);
    if (!items || !exports || !core)
        return no_memory(report);
    for (uint32_t i = 0; i < step->arg_count; i++) {
        const struct comp_arg *arg = &step->args[i];
        items[i] = (struct comp_export){arg->name, arg->name_bytes, arg->sort,
                                        get(sub, arg->sort, arg->index)};
    }
    if (step->kind == COMP_STEP_CORE_INLINE) {
        core->count = step->arg_count;
        core->items = items;
        push(sub, COMP_SORT_CORE_INSTANCE, core);
    } else {
        *exports = (struct comp_exports){step->arg_count, items};
        push(sub, COMP_SORT_INSTANCE, exports);
    }
    return ERR_OK;
}

/* ---- the other steps --------------------------------------------------------------------- */

static enum err step_instantiate(struct comp_sub *sub, const struct comp_step *step,
                                 struct report *report)
{
    struct comp_instance *instance = sub->instance;
    const struct comp_closure *closure = get(sub, COMP_SORT_COMPONENT, step->index);
    if (instance->frames.count >= FRAMES_MAX)
        return err_set(report, ERR_LIMIT, "components are instantiated more than %d deep",
                       FRAMES_MAX);
    struct comp_sub *inner = comp_sub_create(instance, closure->def, closure->def->slot_count);
    struct comp_export *args = arena_calloc(&instance->arena, step->arg_count + 1, sizeof *args);
    struct comp_frame frame = {inner, 0};
    if (!inner || !args || !vec_push(NULL, &instance->frames, frame))
        return no_memory(report);
    for (uint32_t i = 0; i < step->arg_count; i++) {
        const struct comp_arg *arg = &step->args[i];
        args[i] = (struct comp_export){arg->name, arg->name_bytes, arg->sort,
                                       get(sub, arg->sort, arg->index)};
    }
    inner->parent = sub;
    inner->env = closure->env;
    inner->args = (struct comp_exports){step->arg_count, args};
    return ERR_OK;
}

static enum err step_import(struct comp_sub *sub, const struct comp_step *step,
                            struct report *report)
{
    void *item = NULL;
    if (!sub->parent) {
        enum err err = host_item(sub, &step->type, "", 0, step->name, step->name_bytes, &item,
                                 report);
        if (err)
            return err;
    } else {
        const struct comp_export *arg = find_export(sub->args.items, sub->args.count, step->name,
                                                    step->name_bytes);
        if (!arg || arg->sort != step->type.sort)
            return does_not_fit(step->name, report);
        item = arg->item;
    }
    push(sub, step->type.sort, item);
    return bind_resources(sub, &step->type, item, report);
}

static enum err step_export(struct comp_sub *sub, const struct comp_step *step,
                            struct report *report)
{
    void *item = get(sub, step->sort, step->index);
    if (!sub->exports.items) {
        sub->exports.items = arena_calloc(&sub->instance->arena,
                                          sub->def->type->export_count + 1,
                                          sizeof *sub->exports.items);
        if (!sub->exports.items)
            return no_memory(report);
    }
    CHECK(sub->exports.count < sub->def->type->export_count);
    sub->exports.items[sub->exports.count++] =
        (struct comp_export){step->name, step->name_bytes, step->sort, item};
    push(sub, step->sort, item);
    return bind_resources(sub, &step->type, item, report);
}

static struct comp_options *make_options(struct comp_sub *sub, const struct comp_canon *canon)
{
    struct comp_options *options = arena_calloc(&sub->instance->arena, 1, sizeof *options);
    if (!options)
        return NULL;
    options->encoding = canon->encoding;
    if (canon->memory != COMP_NO_INDEX)
        options->memory = get(sub, COMP_SORT_CORE_MEMORY, canon->memory);
    if (canon->realloc != COMP_NO_INDEX)
        options->realloc = get(sub, COMP_SORT_CORE_FUNC, canon->realloc);
    if (canon->post_return != COMP_NO_INDEX)
        options->post_return = get(sub, COMP_SORT_CORE_FUNC, canon->post_return);
    return options;
}

static bool is_core(const struct wasm_func *func, const struct comp_core_sig *sig)
{
    return comp_core_sig_equal(sig, wasm_func_type(func));
}

static const struct comp_core_sig realloc_sig = {
    4, 1, {WASM_I32, WASM_I32, WASM_I32, WASM_I32}, {WASM_I32}};

static bool any_res(void *user, const struct comp_res *a, const struct comp_res *b)
{
    (void)user, (void)a, (void)b;
    return true;
}

static enum err step_lift(struct comp_sub *sub, const struct comp_step *step,
                          struct report *report)
{
    struct comp_func *func = arena_calloc(&sub->instance->arena, 1, sizeof *func);
    const struct comp_options *options = make_options(sub, &step->canon);
    if (!func || !options)
        return no_memory(report);
    *func = (struct comp_func){.kind = COMP_FUNC_LIFTED, .type = step->func, .sub = sub,
                               .options = *options,
                               .core = get(sub, COMP_SORT_CORE_FUNC, step->index)};
    struct comp_core_sig sig, post_sig = {0};
    comp_functype_core(step->func, true, &sig);
    post_sig.param_count = sig.result_count;
    post_sig.params[0] = sig.results[0];
    if (!is_core(func->core, &sig) ||
        (options->realloc && !is_core(options->realloc, &realloc_sig)) ||
        (options->post_return && !is_core(options->post_return, &post_sig)))
        return does_not_fit("(lifted function)", report);
    push(sub, COMP_SORT_FUNC, func);
    return ERR_OK;
}

static enum err step_lower(struct comp_sub *sub, const struct comp_step *step,
                           struct report *report)
{
    const struct comp_func *target = get(sub, COMP_SORT_FUNC, step->index);
    if (target->kind == COMP_FUNC_MISSING && !target->is_stub)
        return err_set(report, ERR_NOT_FOUND, "%s", target->text);
    uint64_t work = COMP_TYPE_SIZE_MAX;
    if (target->kind == COMP_FUNC_LIFTED &&
        !comp_functype_equal(step->func, target->type, any_res, NULL, &work))
        return does_not_fit("(lowered function)", report);
    const struct comp_options *options = make_options(sub, &step->canon);
    if (options && options->realloc && !is_core(options->realloc, &realloc_sig))
        return does_not_fit("realloc", report);
    struct wasm_func *func = options ? comp_call_lower(sub, step->func, options, target) : NULL;
    if (!func)
        return no_memory(report);
    push(sub, COMP_SORT_CORE_FUNC, func);
    return ERR_OK;
}

static enum err step_resource(struct comp_sub *sub, const struct comp_step *step,
                              struct report *report)
{
    struct comp_resource *resource = arena_calloc(&sub->instance->arena, 1, sizeof *resource);
    if (!resource)
        return no_memory(report);
    resource->impl = sub;
    resource->name = "a component's resource";
    if (step->index != COMP_NO_INDEX)
        resource->destructor = get(sub, COMP_SORT_CORE_FUNC, step->index);
    sub->slots[step->slot] = resource;
    push(sub, COMP_SORT_TYPE, resource);
    return ERR_OK;
}

static enum err do_step(struct comp_sub *sub, const struct comp_step *step, struct report *report)
{
    switch (step->kind) {
    case COMP_STEP_MODULE:
        push(sub, COMP_SORT_CORE_MODULE, step->module);
        return ERR_OK;
    case COMP_STEP_CORE_INSTANTIATE:
        return step_core_instantiate(sub, step, report);
    case COMP_STEP_CORE_INLINE:
    case COMP_STEP_INLINE:
        return step_inline(sub, step, report);
    case COMP_STEP_COMPONENT: {
        struct comp_closure *closure = arena_calloc(&sub->instance->arena, 1, sizeof *closure);
        if (!closure)
            return no_memory(report);
        *closure = (struct comp_closure){step->def, sub};
        push(sub, COMP_SORT_COMPONENT, closure);
        return ERR_OK;
    }
    case COMP_STEP_INSTANTIATE:
        return step_instantiate(sub, step, report);
    case COMP_STEP_ALIAS: {
        const struct comp_exports *from = get(sub, COMP_SORT_INSTANCE, step->index);
        const struct comp_export *export = find_export(from->items, from->count, step->name,
                                                       step->name_bytes);
        if (!export || export->sort != step->sort)
            return does_not_fit(step->name, report);
        push(sub, step->sort, export->item);
        return ERR_OK;
    }
    case COMP_STEP_ALIAS_CORE: {
        struct wasm_extern from;
        if (!core_export(get(sub, COMP_SORT_CORE_INSTANCE, step->index), step->name,
                         step->name_bytes, &from) || (enum comp_sort)from.kind != step->sort)
            return err_set(report, ERR_INVALID, "a core instance has no export %s", step->name);
        push(sub, step->sort, extern_item(&from));
        return ERR_OK;
    }
    case COMP_STEP_ALIAS_OUTER: {
        const struct comp_sub *outer = sub;
        for (uint32_t i = 0; i < step->count; i++)
            outer = outer->env;
        push(sub, step->sort, get(outer, step->sort, step->index));
        return ERR_OK;
    }
    case COMP_STEP_LIFT:
        return step_lift(sub, step, report);
    case COMP_STEP_LOWER:
        return step_lower(sub, step, report);
    case COMP_STEP_RESOURCE_NEW:
    case COMP_STEP_RESOURCE_DROP:
    case COMP_STEP_RESOURCE_REP: {
        if (!sub->slots[step->slot])
            return does_not_fit("(resource)", report);
        struct wasm_func *func = comp_call_resource(sub, step->kind, sub->slots[step->slot]);
        if (!func)
            return no_memory(report);
        push(sub, COMP_SORT_CORE_FUNC, func);
        return ERR_OK;
    }
    case COMP_STEP_RESOURCE:
        return step_resource(sub, step, report);
    case COMP_STEP_TYPE:
        push(sub, COMP_SORT_TYPE, NULL);
        return ERR_OK;
    case COMP_STEP_IMPORT:
        return step_import(sub, step, report);
    case COMP_STEP_EXPORT:
        return step_export(sub, step, report);
    }
    UNREACHABLE();
}

/* Does steps until all are done or a start function must run first (start_count > 0). */
static enum err advance(struct comp_instance *instance, struct report *report)
{
    while (instance->frames.count && instance->start_count == 0) {
        struct comp_frame *frame = &instance->frames.items[instance->frames.count - 1];
        struct comp_sub *sub = frame->sub;
        if (++instance->step_count > STEPS_MAX)
            return err_set(report, ERR_LIMIT, "instantiating the component takes too many steps");
        if (frame->at < sub->def->step_count) {
            enum err err = do_step(sub, &sub->def->steps[frame->at++], report);
            if (err)
                return err;
            continue;
        }
        instance->frames.count--;
        if (!sub->parent)
            continue;
        const struct comp_frame *outer = &instance->frames.items[instance->frames.count - 1];
        push(sub->parent, COMP_SORT_INSTANCE, &sub->exports);
        enum err err = bind_resources(sub->parent,
                                      &sub->parent->def->steps[outer->at - 1].type,
                                      &sub->exports, report);
        if (err)
            return err;
    }
    return ERR_OK;
}

/* The thread's entry for starting up: runs start functions and what lies between them. */
static enum wasm_host_result start_up(struct wasm_host_call *call, void *user)
{
    struct comp_instance *instance = user;
    struct report report = {0};
    if (call->state->step == 1) {
        instance->start_count--;
        memmove(instance->starts, instance->starts + 1,
                instance->start_count * sizeof *instance->starts);
    }
    if (advance(instance, &report) != ERR_OK) {
        wasm_thread_trap(call->thread, "%s", report.text);
        return WASM_HOST_TRAP;
    }
    if (instance->start_count == 0)
        return WASM_HOST_DONE;
    call->state->step = 1;
    call->callee = instance->starts[0];
    return WASM_HOST_CALL;
}

/* ---- life -------------------------------------------------------------------------------- */

static enum err create(struct comp_instance *instance, const struct wasm_store_limits *limits,
                       struct report *report)
{
    const struct wasm_functype none = {0};
    const struct comp_def *def = instance->component->root;
    enum err err = wasm_store_create(limits, &instance->store, report);
    if (err)
        return err;
    err = wasm_thread_create(instance->store, &instance->thread);
    if (err)
        return no_memory(report);
    instance->init_func = wasm_func_create_host(instance->store, &none, "start", start_up,
                                                instance);
    instance->root_func = wasm_func_create_host(instance->store, &none, "call", comp_call_root,
                                                instance);
    if (!instance->init_func || !instance->root_func)
        return no_memory(report);
    if (!def)
        return comp_core_instantiate(instance, report);
    struct comp_frame frame = {comp_sub_create(instance, def, def->slot_count), 0};
    if (!frame.sub || !vec_push(NULL, &instance->frames, frame))
        return no_memory(report);
    instance->root = frame.sub;
    return advance(instance, report);
}

/* The first instance's bindings serve all later ones that the same linker makes. */
static void keep_links(struct comp_instance *instance)
{
    size_t count = instance->noted.count;
    struct comp_links *none = NULL;
    if (instance->links || count == 0 ||
        atomic_load_explicit(&instance->component->links, memory_order_relaxed))
        return;
    struct comp_links *links =
        mem_alloc(NULL, sizeof *links + count * sizeof *instance->noted.items);
    if (!links)
        return;
    links->linker_version = instance->linker->version;
    links->count = count;
    memcpy(links->funcs, instance->noted.items, count * sizeof *instance->noted.items);
    if (!atomic_compare_exchange_strong_explicit(&instance->component->links, &none, links,
                                                 memory_order_acq_rel, memory_order_relaxed))
        mem_free(NULL, links);
}

enum err comp_instance_create(const struct comp_linker *linker, struct comp_component *component,
                              const struct wasm_store_limits *limits, void *host,
                              struct comp_instance **out, struct report *report)
{
    struct report local = {0};
    *out = NULL;
    struct comp_instance *instance = mem_calloc(NULL, 1, sizeof *instance);
    if (!instance)
        return no_memory(report);
    instance->call_heap.limit_bytes = CALL_HEAP_BYTES_MAX;
    arena_init(&instance->arena, &instance->heap);
    arena_reserve(&instance->arena,
                  atomic_load_explicit(&component->arena_bytes, memory_order_relaxed));
    arena_init(&instance->call_arena, &instance->call_heap);
    arena_init(&instance->root_arena, &instance->call_heap);
    instance->linker = linker;
    instance->component = comp_component_ref(component);
    instance->host = host;
    const struct comp_links *links =
        atomic_load_explicit(&component->links, memory_order_acquire);
    if (links && links->linker_version == linker->version)
        instance->links = links;
    struct wasm_store_limits hinted = limits ? *limits : (struct wasm_store_limits){0};
    hinted.objects_bytes = atomic_load_explicit(&component->store_bytes, memory_order_relaxed);
    enum err err = create(instance, &hinted, report ? report : &local);
    if (err) {
        comp_instance_destroy(instance);
        return err;
    }
    keep_links(instance);
    atomic_store_explicit(&component->arena_bytes, arena_used_bytes(&instance->arena),
                          memory_order_relaxed);
    atomic_store_explicit(&component->store_bytes, wasm_store_objects_bytes(instance->store),
                          memory_order_relaxed);
    vec_free(NULL, &instance->noted);
    *out = instance;
    return ERR_OK;
}

void comp_instance_destroy(struct comp_instance *instance)
{
    if (!instance)
        return;
    if (instance->thread)
        wasm_thread_destroy(instance->thread);
    comp_handles_drop_all(instance);
    if (instance->store)
        wasm_store_destroy(instance->store);
    vec_free(NULL, &instance->frames);
    vec_free(NULL, &instance->noted);
    arena_deinit(&instance->arena);
    arena_deinit(&instance->call_arena);
    arena_deinit(&instance->root_arena);
    comp_component_unref(instance->component);
    mem_free(NULL, instance);
}

void *comp_instance_host(const struct comp_instance *instance)
{
    return instance->host;
}

struct comp_instance *comp_instance_of(struct wasm_instance *core)
{
    const struct comp_sub *sub = wasm_instance_user(core);
    return sub->instance;
}

struct wasm_memory *comp_instance_memory(struct comp_instance *instance,
                                         struct wasm_instance *core)
{
    struct comp_sub *sub = wasm_instance_user(core);
    struct wasm_extern memory;
    (void)instance;
    if (!sub->core_options.memory && wasm_instance_export(core, "memory", 6, &memory) &&
        memory.kind == WASM_MEMORY)
        sub->core_options.memory = memory.of.memory;
    return sub->core_options.memory;
}

struct wasm_thread *comp_instance_thread(const struct comp_instance *instance)
{
    return instance->thread;
}

uint64_t comp_instance_memory_bytes(const struct comp_instance *instance)
{
    return wasm_store_memory_bytes(instance->store);
}

uint64_t comp_instance_overhead_bytes(const struct comp_instance *instance)
{
    return wasm_store_overhead_bytes(instance->store) + instance->heap.used_bytes +
           instance->call_heap.used_bytes + sizeof *instance;
}

/* ---- calls ------------------------------------------------------------------------------- */

static bool same_interface(const char *have, size_t have_bytes, const char *want,
                           size_t want_bytes)
{
    char a[COMP_NAME_MAX], b[COMP_NAME_MAX];
    size_t a_bytes, b_bytes;
    return comp_name_key(have, have_bytes, a, &a_bytes) &&
           comp_name_key(want, want_bytes, b, &b_bytes) && a_bytes == b_bytes &&
           memcmp(a, b, a_bytes) == 0;
}

static const struct comp_functype *named_func(const struct comp_named *items, uint32_t count,
                                              const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (items[i].type.sort == COMP_SORT_FUNC && strcmp(items[i].name, name) == 0)
            return items[i].type.of.func;
    return NULL;
}

/* The type of an export as the definition declares it. */
static const struct comp_functype *declared(const struct comp_component_type *type,
                                            const char *interface, const char *name)
{
    if (!interface)
        return named_func(type->exports, type->export_count, name);
    for (uint32_t i = 0; i < type->export_count; i++) {
        const struct comp_named *named = &type->exports[i];
        if (named->type.sort == COMP_SORT_INSTANCE &&
            same_interface(named->name, named->name_bytes, interface, strlen(interface))) {
            const struct comp_functype *found = named_func(named->type.of.instance->exports,
                                                           named->type.of.instance->export_count,
                                                           name);
            if (found)
                return found;
        }
    }
    return NULL;
}

bool comp_component_export_params(const struct comp_component *component, const char *interface,
                                  const char *name, enum comp_kind *kinds, uint32_t max,
                                  uint32_t *count)
{
    const struct comp_functype *type =
        component->root ? declared(component->root->type, interface, name) : NULL;
    if (!type)
        return false;
    *count = type->param_count;
    for (uint32_t i = 0; i < type->param_count && i < max; i++)
        kinds[i] = type->params[i].type->kind;
    return true;
}

/* The exported function itself; NULL when the instance has not got so far, or has none. */
static const struct comp_func *exported(const struct comp_instance *instance,
                                        const char *interface, const char *name)
{
    const struct comp_exports *exports = &instance->root->exports;
    const struct comp_export *found = NULL;
    for (uint32_t i = 0; !interface ? i < 1 : i < exports->count; i++) {
        const struct comp_export *export = &exports->items[i];
        const struct comp_exports *inner = exports;
        if (interface) {
            if (export->sort != COMP_SORT_INSTANCE ||
                !same_interface(export->name, export->name_bytes, interface, strlen(interface)))
                continue;
            inner = export->item;
        }
        found = find_export(inner->items, inner->count, name, (uint32_t)strlen(name));
        if (found && found->sort == COMP_SORT_FUNC)
            return found->item;
    }
    return NULL;
}

/* A deep copy of an argument, checked against its type. */
static bool copy_value(struct arena *arena, const struct comp_type *type,
                       const struct comp_value *from, struct comp_value *to)
{
    if (from->kind != type->kind)
        return false;
    *to = *from;
    switch (type->kind) {
    case COMP_STRING:
        to->of.string.data = arena_strdup(arena, from->of.string.data ? from->of.string.data : "",
                                          from->of.string.bytes);
        return to->of.string.data != NULL;
    case COMP_LIST:
        if (type->packed_bytes) {
            void *copy = arena_calloc(arena, from->of.list.count + 1, type->packed_bytes);
            if (!copy || (from->of.list.count && !from->of.list.data))
                return false;
            if (from->of.list.count)
                memcpy(copy, from->of.list.data, from->of.list.count * type->packed_bytes);
            to->of.list.data = copy;
            return true;
        }
        break;
    case COMP_RECORD:
    case COMP_TUPLE:
        if (from->of.list.count != type->field_count)
            return false;
        break;
    case COMP_VARIANT:
    case COMP_OPTION:
    case COMP_RESULT: {
        if (from->of.variant.index >= type->field_count)
            return false;
        const struct comp_type *payload = type->fields[from->of.variant.index].type;
        if (!payload)
            return true;
        to->of.variant.payload = arena_alloc(arena, sizeof *to->of.variant.payload);
        return to->of.variant.payload && from->of.variant.payload &&
               copy_value(arena, payload, from->of.variant.payload, to->of.variant.payload);
    }
    default:
        return true;
    }
    size_t count = from->of.list.count;
    to->of.list.items = arena_calloc(arena, count + 1, sizeof *to->of.list.items);
    if (!to->of.list.items || (count && !from->of.list.items))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!copy_value(arena, type->kind == COMP_LIST ? type->element : type->fields[i].type,
                        &from->of.list.items[i], &to->of.list.items[i]))
            return false;
    return true;
}

enum err comp_instance_call(struct comp_instance *instance, const char *interface,
                            const char *name, const struct comp_value *args, size_t arg_count,
                            struct report *report)
{
    if (instance->phase == COMP_DEAD)
        return err_set(report, ERR_TRAP, "cannot enter component instance: it has trapped");
    if (instance->is_called)
        return err_set(report, ERR_BUSY, "the instance is still in a call");
    const struct comp_functype *type = NULL;
    if (instance->component->root) {
        type = declared(instance->component->root->type, interface, name);
    } else {
        const struct comp_func *func = exported(instance, interface, name);
        type = func ? func->type : NULL;
    }
    if (!type)
        return err_set(report, ERR_NOT_FOUND, "the component does not export the function %s%s%s",
                       interface ? interface : "", interface ? "#" : "", name);
    if (arg_count != type->param_count)
        return err_set(report, ERR_INVALID, "%s takes %u arguments, not %zu", name,
                       type->param_count, arg_count);
    struct arena *arena = &instance->root_arena;
    arena_reset(arena);
    instance->has_result = false;
    instance->interface = interface ? arena_strdup(arena, interface, strlen(interface)) : NULL;
    instance->name = arena_strdup(arena, name, strlen(name));
    instance->args = arena_calloc(arena, arg_count + 1, sizeof *instance->args);
    if (!instance->name || !instance->args || (interface && !instance->interface))
        return no_memory(report);
    for (size_t i = 0; i < arg_count; i++)
        if (!copy_value(arena, type->params[i].type, &args[i], &instance->args[i]))
            return err_set(report, ERR_INVALID, "argument %zu of %s is not of its type", i, name);
    instance->callee = NULL;
    instance->is_called = true;
    return ERR_OK;
}

static enum wasm_run run_phase(struct comp_instance *instance, struct wasm_func *entry,
                               uint64_t fuel)
{
    if (!instance->has_begun) {
        if (wasm_thread_call(instance->thread, entry, NULL) != ERR_OK) {
            wasm_thread_trap(instance->thread, "no memory for the call");
            instance->phase = COMP_DEAD;
            return WASM_RUN_TRAP;
        }
        instance->has_begun = true;
    }
    enum wasm_run run = wasm_thread_run(instance->thread, fuel);
    if (run == WASM_RUN_DONE)
        instance->has_begun = false;
    else if (run == WASM_RUN_TRAP)
        instance->phase = COMP_DEAD;
    return run;
}

enum wasm_run comp_instance_run(struct comp_instance *instance, uint64_t fuel)
{
    uint64_t before = wasm_thread_fuel_used(instance->thread);
    if (instance->phase == COMP_STARTING) {
        enum wasm_run run = run_phase(instance, instance->init_func, fuel);
        if (run != WASM_RUN_DONE)
            return run;
        instance->phase = COMP_READY;
    }
    if (instance->phase == COMP_DEAD)
        return WASM_RUN_TRAP;
    if (!instance->is_called)
        return WASM_RUN_DONE;
    if (!instance->callee) {
        const struct comp_func *func = exported(instance, instance->interface, instance->name);
        if (!func || func->kind != COMP_FUNC_LIFTED) {
            wasm_thread_trap(instance->thread, "%s is not a function of the component's own",
                             instance->name);
            instance->phase = COMP_DEAD;
            return WASM_RUN_TRAP;
        }
        instance->callee = func;
    }
    uint64_t used = wasm_thread_fuel_used(instance->thread) - before;
    enum wasm_run run = run_phase(instance, instance->root_func, fuel > used ? fuel - used : 0);
    if (run == WASM_RUN_DONE) {
        instance->is_called = false;
        instance->has_result = instance->callee->type->result != NULL;
    }
    return run;
}

const struct comp_value *comp_instance_result(const struct comp_instance *instance)
{
    return instance->has_result ? &instance->result : NULL;
}

const char *comp_instance_trap_text(const struct comp_instance *instance)
{
    return wasm_thread_trap_text(instance->thread);
}

const char *comp_instance_back_trace(const struct comp_instance *instance)
{
    return wasm_thread_back_trace(instance->thread);
}

struct wasm_instance *comp_instance_module_instance(const struct comp_instance *instance)
{
    return instance->core;
}
