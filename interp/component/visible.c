/* Which types imports and exports may mention: records, variants, enums, flags and resources only
 * under names that earlier imports or exports gave them, so that whoever uses the component can
 * name all that it speaks of. Source: Explainer.md, "External Visibility of Types". */
#include "engine/base/map.h"
#include "interp/component/decode.h"

static bool add(struct comp_decoder *d, struct map *set, const void *address)
{
    static char present;
    return map_set(set, &address, sizeof address, &present) || comp_fail_memory(d);
}

bool comp_make_visible(struct comp_decoder *d, struct comp_scope *scope, bool is_import,
                       const struct comp_extern *type)
{
    struct map *set = &scope->visible[is_import ? 0 : 1];
    const struct comp_instance_type *instance = NULL;
    if (type->sort == COMP_SORT_INSTANCE) {
        instance = type->of.instance;
    } else if (type->sort == COMP_SORT_TYPE) {
        switch (type->of.type.kind) {
        case COMP_ANY_VALUE:
            return add(d, set, type->of.type.of.value);
        case COMP_ANY_RESOURCE:
            return add(d, set, type->of.type.of.resource);
        case COMP_ANY_INSTANCE:
            instance = type->of.type.of.instance;
            break;
        default:
            return true;
        }
    }
    if (!instance)
        return true;
    if (!comp_work(d, 1 + instance->export_count))
        return false;
    for (uint32_t i = 0; i < instance->export_count; i++)
        if (!comp_make_visible(d, scope, is_import, &instance->exports[i].type))
            return false;
    return true;
}

static bool is_known(const struct comp_scope *scope, bool is_import, const void *address)
{
    return map_find(&scope->visible[0], &address, sizeof address) ||
           (!is_import && map_find(&scope->visible[1], &address, sizeof address));
}

static bool value_is_visible(const struct comp_scope *scope, bool is_import,
                             const struct comp_type *type, bool is_top)
{
    if (!type)
        return true;
    switch (type->kind) {
    case COMP_RECORD: case COMP_VARIANT: case COMP_ENUM: case COMP_FLAGS:
        if (!is_top)
            return is_known(scope, is_import, type);
        break;
    case COMP_OWN: case COMP_BORROW:
        return is_known(scope, is_import, type->resource);
    default:
        break;
    }
    if (type->element)
        return value_is_visible(scope, is_import, type->element, false);
    for (uint32_t i = 0; i < type->field_count; i++)
        if (!value_is_visible(scope, is_import, type->fields[i].type, false))
            return false;
    return true;
}

static bool func_is_visible(struct comp_decoder *d, const struct comp_scope *scope,
                            bool is_import, const struct comp_functype *func)
{
    if (!comp_work(d, func->tree_size) ||
        !value_is_visible(scope, is_import, func->result, false))
        return false;
    for (uint32_t i = 0; i < func->param_count; i++)
        if (!value_is_visible(scope, is_import, func->params[i].type, false))
            return false;
    return true;
}

static bool instance_is_visible(struct comp_decoder *d, struct comp_scope *scope, bool is_import,
                                const struct comp_instance_type *instance)
{
    for (uint32_t i = 0; i < instance->export_count; i++)
        if (!comp_is_visible(d, scope, is_import, &instance->exports[i].type))
            return false;
    return true;
}

bool comp_is_visible(struct comp_decoder *d, struct comp_scope *scope, bool is_import,
                     const struct comp_extern *type)
{
    if (type->sort == COMP_SORT_FUNC)
        return func_is_visible(d, scope, is_import, type->of.func);
    if (type->sort == COMP_SORT_INSTANCE)
        return instance_is_visible(d, scope, is_import, type->of.instance);
    if (type->sort != COMP_SORT_TYPE)
        return true;
    const struct comp_any *any = &type->of.type;
    switch (any->kind) {
    case COMP_ANY_VALUE:
        return comp_work(d, any->of.value->tree_size) &&
               value_is_visible(scope, is_import, any->of.value, true);
    case COMP_ANY_FUNC:
        return func_is_visible(d, scope, is_import, any->of.func);
    case COMP_ANY_INSTANCE:
        return instance_is_visible(d, scope, is_import, any->of.instance);
    default:
        return true;
    }
}
