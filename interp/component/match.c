/* The algebra of static types: replacing resources, subtyping, instantiating.
 *
 * A resource type is known by its address. To instantiate a component, the resources that its type
 * binds get `subst` set, its types are compared or copied with the substitution, and `subst` is
 * cleared again. Outside of this file no `subst` is ever set. */
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/decode.h"

static struct comp_res *resolve(const struct comp_res *res)
{
    return res->subst ? res->subst : (struct comp_res *)(uintptr_t)res;
}

static bool same_res(void *user, const struct comp_res *a, const struct comp_res *b)
{
    (void)user;
    return resolve(a) == resolve(b);
}

/* ---- copies ------------------------------------------------------------------------------ */

static const struct comp_type *copy_type(struct comp_decoder *d, const struct comp_type *type)
{
    if (!type || !type->has_resource)
        return type;
    /* One copy of each, so that what was one type stays one. */
    struct comp_type *copy = map_find(&d->copies, &type, sizeof type);
    if (copy)
        return copy;
    if (!comp_work(d, 1 + type->field_count))
        return NULL;
    copy = arena_alloc(d->arena, sizeof *copy);
    if (!copy || !map_set(&d->copies, &type, sizeof type, copy))
        return comp_fail_memory(d), NULL;
    *copy = *type;
    if (type->resource)
        copy->resource = resolve(type->resource);
    if (type->element && !(copy->element = copy_type(d, type->element)))
        return NULL;
    if (type->fields) {
        copy->fields = arena_calloc(d->arena, type->field_count, sizeof *copy->fields);
        if (!copy->fields)
            return comp_fail_memory(d), NULL;
        for (uint32_t i = 0; i < type->field_count; i++) {
            copy->fields[i] = type->fields[i];
            if (type->fields[i].type &&
                !(copy->fields[i].type = copy_type(d, type->fields[i].type)))
                return NULL;
        }
    }
    return copy;
}

static const struct comp_functype *copy_functype(struct comp_decoder *d,
                                                 const struct comp_functype *type)
{
    if (!type->has_resource)
        return type;
    if (!comp_work(d, 1 + type->param_count))
        return NULL;
    struct comp_functype *copy = arena_alloc(d->arena, sizeof *copy);
    struct comp_field *params = arena_calloc(d->arena, type->param_count + 1, sizeof *params);
    if (!copy || !params)
        return comp_fail_memory(d), NULL;
    *copy = *type;
    copy->params = params;
    for (uint32_t i = 0; i < type->param_count; i++) {
        params[i] = type->params[i];
        if (!(params[i].type = copy_type(d, type->params[i].type)))
            return NULL;
    }
    if (type->result && !(copy->result = copy_type(d, type->result)))
        return NULL;
    return copy;
}

static const struct comp_instance_type *copy_instance(struct comp_decoder *d,
                                                      const struct comp_instance_type *type);
static const struct comp_component_type *copy_component(struct comp_decoder *d,
                                                        const struct comp_component_type *type);

static bool copy_any(struct comp_decoder *d, const struct comp_any *from, struct comp_any *to)
{
    *to = *from;
    switch (from->kind) {
    case COMP_ANY_VALUE:
        return (to->of.value = copy_type(d, from->of.value)) != NULL;
    case COMP_ANY_FUNC:
        return (to->of.func = copy_functype(d, from->of.func)) != NULL;
    case COMP_ANY_RESOURCE:
        to->of.resource = resolve(from->of.resource);
        return true;
    case COMP_ANY_INSTANCE:
        return (to->of.instance = copy_instance(d, from->of.instance)) != NULL;
    case COMP_ANY_COMPONENT:
        return (to->of.component = copy_component(d, from->of.component)) != NULL;
    }
    return false;
}

static bool copy_extern(struct comp_decoder *d, const struct comp_extern *from,
                        struct comp_extern *to)
{
    *to = *from;
    switch (from->sort) {
    case COMP_SORT_FUNC:
        return (to->of.func = copy_functype(d, from->of.func)) != NULL;
    case COMP_SORT_TYPE:
        return copy_any(d, &from->of.type, &to->of.type);
    case COMP_SORT_INSTANCE:
        return (to->of.instance = copy_instance(d, from->of.instance)) != NULL;
    case COMP_SORT_COMPONENT:
        return (to->of.component = copy_component(d, from->of.component)) != NULL;
    default:
        return true;
    }
}

/* `copies` is only right for one set of substitutions. */
static void forget_copies(struct comp_decoder *d)
{
    map_deinit(&d->copies);
    map_init(&d->copies, NULL);
}

static struct comp_named *copy_named(struct comp_decoder *d, const struct comp_named *from,
                                     uint32_t count)
{
    if (!comp_work(d, 1 + count))
        return NULL;
    struct comp_named *copy = arena_calloc(d->arena, count + 1, sizeof *copy);
    if (!copy)
        return comp_fail_memory(d), NULL;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = from[i];
        if (!copy_extern(d, &from[i].type, &copy[i].type))
            return NULL;
    }
    return copy;
}

static const struct comp_instance_type *copy_instance(struct comp_decoder *d,
                                                      const struct comp_instance_type *type)
{
    if (!type->has_resource)
        return type;
    struct comp_instance_type *copy = arena_alloc(d->arena, sizeof *copy);
    if (!copy)
        return comp_fail_memory(d), NULL;
    *copy = *type;
    copy->exports = copy_named(d, type->exports, type->export_count);
    return copy->exports ? copy : NULL;
}

static const struct comp_component_type *copy_component(struct comp_decoder *d,
                                                        const struct comp_component_type *type)
{
    if (!type->has_free)
        return type;
    struct comp_component_type *copy = arena_alloc(d->arena, sizeof *copy);
    if (!copy)
        return comp_fail_memory(d), NULL;
    *copy = *type;
    copy->imports = copy_named(d, type->imports, type->import_count);
    copy->exports = copy_named(d, type->exports, type->export_count);
    return copy->imports && copy->exports ? copy : NULL;
}

static void bind_all(struct comp_res **bound, uint32_t count, bool is_bindable)
{
    for (uint32_t i = 0; i < count; i++) {
        bound[i]->is_bindable = is_bindable;
        bound[i]->subst = NULL;
    }
}

const struct comp_instance_type *comp_open_instance(struct comp_decoder *d,
                                                    struct comp_scope *scope, bool is_import,
                                                    const struct comp_instance_type *type)
{
    if (type->bound_count == 0)
        return type;
    struct comp_instance_type *copy = arena_alloc(d->arena, sizeof *copy);
    if (!copy)
        return comp_fail_memory(d), NULL;
    *copy = *type;
    copy->bound_count = 0;
    bool ok = true;
    for (uint32_t i = 0; i < type->bound_count && ok; i++) {
        type->bound[i]->subst = comp_scope_new_res(d, scope, is_import, type->bound[i]->name);
        ok = type->bound[i]->subst != NULL;
    }
    copy->exports = ok ? copy_named(d, type->exports, type->export_count) : NULL;
    forget_copies(d);
    bind_all(type->bound, type->bound_count, false);
    return copy->exports ? copy : NULL;
}

/* ---- free resources ---------------------------------------------------------------------- */

/* `is_bindable` marks the resources that are bound between here and the top of the walk. */
static bool type_has_free(const struct comp_type *type)
{
    if (!type || !type->has_resource)
        return false;
    if (type->resource)
        return !type->resource->is_bindable;
    if (type->element)
        return type_has_free(type->element);
    for (uint32_t i = 0; i < type->field_count; i++)
        if (type_has_free(type->fields[i].type))
            return true;
    return false;
}

static bool any_has_free(const struct comp_any *any);

static bool named_have_free(const struct comp_named *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct comp_extern *type = &items[i].type;
        struct comp_any any = {.kind = COMP_ANY_VALUE};
        switch (type->sort) {
        case COMP_SORT_FUNC:
            any.kind = COMP_ANY_FUNC;
            any.of.func = type->of.func;
            break;
        case COMP_SORT_TYPE:
            any = type->of.type;
            break;
        case COMP_SORT_INSTANCE:
            any.kind = COMP_ANY_INSTANCE;
            any.of.instance = type->of.instance;
            break;
        case COMP_SORT_COMPONENT:
            any.kind = COMP_ANY_COMPONENT;
            any.of.component = type->of.component;
            break;
        default:
            continue;
        }
        if (any_has_free(&any))
            return true;
    }
    return false;
}

static bool any_has_free(const struct comp_any *any)
{
    bool result = false;
    switch (any->kind) {
    case COMP_ANY_VALUE:
        return type_has_free(any->of.value);
    case COMP_ANY_FUNC:
        for (uint32_t i = 0; i < any->of.func->param_count && !result; i++)
            result = type_has_free(any->of.func->params[i].type);
        return result || type_has_free(any->of.func->result);
    case COMP_ANY_RESOURCE:
        return !any->of.resource->is_bindable;
    case COMP_ANY_INSTANCE: {
        const struct comp_instance_type *type = any->of.instance;
        if (!type->has_resource)
            return false;
        bind_all(type->bound, type->bound_count, true);
        result = named_have_free(type->exports, type->export_count);
        bind_all(type->bound, type->bound_count, false);
        return result;
    }
    case COMP_ANY_COMPONENT: {
        const struct comp_component_type *type = any->of.component;
        if (!type->has_free)
            return false;
        bind_all(type->import_bound, type->import_bound_count, true);
        bind_all(type->export_bound, type->export_bound_count, true);
        result = named_have_free(type->imports, type->import_count) ||
                 named_have_free(type->exports, type->export_count);
        bind_all(type->import_bound, type->import_bound_count, false);
        bind_all(type->export_bound, type->export_bound_count, false);
        return result;
    }
    }
    return false;
}

static uint32_t any_size(const struct comp_any *any)
{
    switch (any->kind) {
    case COMP_ANY_VALUE: return any->of.value->tree_size;
    case COMP_ANY_FUNC: return any->of.func->tree_size;
    case COMP_ANY_INSTANCE: return any->of.instance->tree_size;
    case COMP_ANY_COMPONENT: return any->of.component->tree_size;
    default: return 1;
    }
}

bool comp_any_has_free(struct comp_decoder *d, const struct comp_any *any)
{
    /* Out of work counts as "has": the caller then fails, with the report already set. */
    return !comp_work(d, any_size(any)) || any_has_free(any);
}

/* ---- subtyping --------------------------------------------------------------------------- */

const struct comp_named *comp_find_named(struct comp_decoder *d, const struct comp_named *items,
                                         uint32_t count, const char *name, uint32_t bytes)
{
    if (!comp_work(d, count / 8))
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].name_bytes == bytes && memcmp(items[i].name, name, bytes) == 0)
            return &items[i];
    return NULL;
}

static bool match_limits(const struct wasm_limits *sub, const struct wasm_limits *super)
{
    return sub->is64 == super->is64 && sub->min >= super->min && sub->max <= super->max;
}

static bool same_cells(const uint32_t *a, const uint32_t *b, uint32_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof *a) == 0;
}

bool comp_match_core(struct comp_decoder *d, const struct rd *rd,
                     const struct wasm_extern_type *sub, const struct wasm_extern_type *super,
                     const char *name)
{
    bool ok = sub->kind == super->kind;
    switch (super->kind) {
    case WASM_FUNC:
    case WASM_TAG:
        ok = ok && sub->func.param_count == super->func.param_count &&
             sub->func.result_count == super->func.result_count &&
             same_cells(sub->func.params, super->func.params, sub->func.param_count) &&
             same_cells(sub->func.results, super->func.results, sub->func.result_count);
        break;
    case WASM_TABLE:
        ok = ok && sub->type == super->type && match_limits(&sub->limits, &super->limits);
        break;
    case WASM_MEMORY:
        ok = ok && match_limits(&sub->limits, &super->limits);
        break;
    case WASM_GLOBAL:
        ok = ok && sub->type == super->type && sub->mutable_ == super->mutable_;
        break;
    }
    return ok || comp_fail(d, rd, ERR_INVALID, "type mismatch for core item `%s`", name);
}

static const struct wasm_export *find_core_export(struct comp_decoder *d,
                                                  const struct comp_module_type *type,
                                                  const char *name, uint32_t bytes)
{
    if (!comp_work(d, type->export_count / 8))
        return NULL;
    for (uint32_t i = 0; i < type->export_count; i++)
        if (type->exports[i].name_bytes == bytes &&
            memcmp(type->exports[i].name, name, bytes) == 0)
            return &type->exports[i];
    return NULL;
}

static bool match_module(struct comp_decoder *d, const struct rd *rd,
                         const struct comp_module_type *sub, const struct comp_module_type *super)
{
    for (uint32_t i = 0; i < super->export_count; i++) {
        const struct wasm_export *want = &super->exports[i];
        const struct wasm_export *have = find_core_export(d, sub, want->name, want->name_bytes);
        if (!have)
            return comp_fail(d, rd, ERR_INVALID, "missing expected export `%s`", want->name);
        if (!comp_match_core(d, rd, &have->type, &want->type, want->name))
            return false;
    }
    for (uint32_t i = 0; i < sub->import_count; i++) {
        const struct wasm_import *want = &sub->imports[i], *have = NULL;
        if (!comp_work(d, super->import_count / 8))
            return false;
        for (uint32_t k = 0; k < super->import_count && !have; k++) {
            const struct wasm_import *other = &super->imports[k];
            if (other->module_bytes == want->module_bytes &&
                other->name_bytes == want->name_bytes &&
                memcmp(other->module, want->module, want->module_bytes) == 0 &&
                memcmp(other->name, want->name, want->name_bytes) == 0)
                have = other;
        }
        if (!have)
            return comp_fail(d, rd, ERR_INVALID, "missing expected import `%s` of `%s`",
                             want->name, want->module);
        if (!comp_match_core(d, rd, &have->type, &want->type, want->name))
            return false;
    }
    return true;
}

static bool match_instance(struct comp_decoder *d, const struct rd *rd,
                           const struct comp_instance_type *sub,
                           const struct comp_instance_type *super)
{
    bool ok = comp_work(d, 1 + super->export_count);
    bind_all(super->bound, super->bound_count, true);
    for (uint32_t i = 0; i < super->export_count && ok; i++) {
        const struct comp_named *want = &super->exports[i];
        const struct comp_named *have = comp_find_named(d, sub->exports, sub->export_count,
                                                        want->name, want->name_bytes);
        ok = have ? comp_match(d, rd, &have->type, &want->type)
                  : comp_fail(d, rd, ERR_INVALID, "missing expected export `%s`", want->name);
    }
    bind_all(super->bound, super->bound_count, false);
    return ok;
}

static bool match_component(struct comp_decoder *d, const struct rd *rd,
                            const struct comp_component_type *sub,
                            const struct comp_component_type *super)
{
    bool ok = comp_work(d, 1 + super->export_count + sub->import_count);
    bind_all(sub->import_bound, sub->import_bound_count, true);
    for (uint32_t i = 0; i < sub->import_count && ok; i++) {
        const struct comp_named *want = &sub->imports[i];
        const struct comp_named *have = comp_find_named(d, super->imports, super->import_count,
                                                        want->name, want->name_bytes);
        ok = have ? comp_match(d, rd, &have->type, &want->type)
                  : comp_fail(d, rd, ERR_INVALID, "missing expected import `%s`", want->name);
    }
    bind_all(super->export_bound, super->export_bound_count, true);
    for (uint32_t i = 0; i < super->export_count && ok; i++) {
        const struct comp_named *want = &super->exports[i];
        const struct comp_named *have = comp_find_named(d, sub->exports, sub->export_count,
                                                        want->name, want->name_bytes);
        ok = have ? comp_match(d, rd, &have->type, &want->type)
                  : comp_fail(d, rd, ERR_INVALID, "missing expected export `%s`", want->name);
    }
    bind_all(sub->import_bound, sub->import_bound_count, false);
    bind_all(super->export_bound, super->export_bound_count, false);
    return ok;
}

static const char *any_word(const struct comp_any *any)
{
    switch (any->kind) {
    case COMP_ANY_VALUE: return "defined type";
    case COMP_ANY_FUNC: return "func";
    case COMP_ANY_RESOURCE: return "resource";
    case COMP_ANY_INSTANCE: return "instance";
    default: return "component";
    }
}

static bool match_func(struct comp_decoder *d, const struct rd *rd,
                       const struct comp_functype *sub, const struct comp_functype *super)
{
    if (comp_functype_equal(sub, super, same_res, NULL, &d->work))
        return true;
    if (!comp_work(d, 1))
        return false;
    struct buf a, b;
    buf_init(&a, NULL);
    buf_init(&b, NULL);
    comp_functype_print(&a, super);
    comp_functype_print(&b, sub);
    bool is_resource = a.data && b.data && strcmp(a.data, b.data) == 0;
    comp_fail(d, rd, ERR_INVALID, "%stype mismatch: expected %s, found %s",
              is_resource ? "resource types are not the same: " : "", a.data ? a.data : "?",
              b.data ? b.data : "?");
    buf_deinit(&a);
    buf_deinit(&b);
    return false;
}

static bool match_any(struct comp_decoder *d, const struct rd *rd, const struct comp_any *sub,
                      const struct comp_any *super)
{
    if (sub->kind != super->kind)
        return comp_fail(d, rd, ERR_INVALID, "expected %s, found %s", any_word(super),
                         any_word(sub));
    switch (super->kind) {
    case COMP_ANY_VALUE:
        return comp_type_equal(sub->of.value, super->of.value, same_res, NULL, &d->work) ||
               comp_fail(d, rd, ERR_INVALID, "type mismatch: the defined types differ");
    case COMP_ANY_FUNC:
        return match_func(d, rd, sub->of.func, super->of.func);
    case COMP_ANY_RESOURCE:
        if (super->of.resource->is_bindable && !super->of.resource->subst) {
            super->of.resource->subst = resolve(sub->of.resource);
            return true;
        }
        return same_res(NULL, sub->of.resource, super->of.resource) ||
               comp_fail(d, rd, ERR_INVALID, "resource types are not the same");
    case COMP_ANY_INSTANCE:
        return match_instance(d, rd, sub->of.instance, super->of.instance) &&
               match_instance(d, rd, super->of.instance, sub->of.instance);
    case COMP_ANY_COMPONENT:
        return match_component(d, rd, sub->of.component, super->of.component) &&
               match_component(d, rd, super->of.component, sub->of.component);
    }
    return false;
}

bool comp_match(struct comp_decoder *d, const struct rd *rd, const struct comp_extern *sub,
                const struct comp_extern *super)
{
    if (sub->sort != super->sort)
        return comp_fail(d, rd, ERR_INVALID, "expected %s, found %s", comp_sort_name(super->sort),
                         comp_sort_name(sub->sort));
    switch (super->sort) {
    case COMP_SORT_FUNC:
        return match_func(d, rd, sub->of.func, super->of.func);
    case COMP_SORT_TYPE:
        return match_any(d, rd, &sub->of.type, &super->of.type);
    case COMP_SORT_INSTANCE:
        return match_instance(d, rd, sub->of.instance, super->of.instance);
    case COMP_SORT_COMPONENT:
        return match_component(d, rd, sub->of.component, super->of.component);
    default:
        return match_module(d, rd, sub->of.module, super->of.module);
    }
}

const struct comp_instance_type *comp_match_instantiate(struct comp_decoder *d,
                                                        const struct rd *rd,
                                                        struct comp_scope *scope,
                                                        const struct comp_component_type *type,
                                                        const struct comp_named *args,
                                                        uint32_t arg_count)
{
    bool ok = comp_work(d, 1 + type->import_count + type->import_bound_count +
                               type->export_bound_count);
    struct comp_instance_type *result = arena_calloc(d->arena, 1, sizeof *result);
    if (!result)
        return comp_fail_memory(d), NULL;
    bind_all(type->import_bound, type->import_bound_count, true);
    for (uint32_t i = 0; i < type->import_count && ok; i++) {
        const struct comp_named *want = &type->imports[i];
        const struct comp_named *have = comp_find_named(d, args, arg_count, want->name,
                                                        want->name_bytes);
        ok = have ? comp_match(d, rd, &have->type, &want->type)
                  : comp_fail(d, rd, ERR_INVALID, "missing import named `%s`", want->name);
    }
    for (uint32_t i = 0; i < type->export_bound_count && ok; i++) {
        struct comp_res *fresh = comp_scope_new_res(d, scope, false, type->export_bound[i]->name);
        type->export_bound[i]->subst = fresh;
        ok = fresh != NULL;
    }
    if (ok) {
        result->export_count = type->export_count;
        result->exports = copy_named(d, type->exports, type->export_count);
        forget_copies(d);
        result->has_resource = true;
        result->depth = type->depth;
        result->tree_size = type->tree_size;
    }
    bind_all(type->import_bound, type->import_bound_count, false);
    bind_all(type->export_bound, type->export_bound_count, false);
    return result->exports ? result : NULL;
}

bool comp_match_ascribed(struct comp_decoder *d, const struct rd *rd,
                         const struct comp_extern *item, const struct comp_extern *ascribed,
                         const struct comp_scope *scope, size_t first_resource)
{
    for (size_t i = first_resource; i < scope->resources.count; i++)
        scope->resources.items[i].res->is_bindable = true;
    bool ok = comp_match(d, rd, item, ascribed);
    for (size_t i = first_resource; i < scope->resources.count; i++) {
        scope->resources.items[i].res->is_bindable = false;
        scope->resources.items[i].res->subst = NULL;
    }
    return ok;
}
