/* The type sections: core types and module types; value, function, resource, component and
 * instance types; and what imports and exports introduce. */
#include <string.h>

#include "engine/base/vec.h"
#include "interp/component/decode.h"

/* ---- core types -------------------------------------------------------------------------- */

static bool read_core_valtype(struct comp_decoder *d, struct rd *rd, uint32_t *type)
{
    *type = rd_u8(rd);
    switch (*type) {
    case WASM_I32: case WASM_I64: case WASM_F32: case WASM_F64: case WASM_V128:
    case WASM_FUNCREF: case WASM_EXTERNREF: case WASM_EXNREF:
        return true;
    default:
        return comp_fail(d, rd, rd->failed ? ERR_INVALID : ERR_UNSUPPORTED,
                         "core value type 0x%02x is not supported here", *type);
    }
}

static bool read_core_valtypes(struct comp_decoder *d, struct rd *rd, const uint32_t **types,
                               uint32_t *count)
{
    *count = comp_read_count(d, rd);
    uint32_t *list = arena_alloc(d->arena, ((size_t)*count + 1) * sizeof *list);
    if (!list)
        return comp_fail_memory(d);
    for (uint32_t i = 0; i < *count; i++)
        if (!read_core_valtype(d, rd, &list[i]))
            return false;
    *types = list;
    return !rd->failed || comp_fail(d, rd, ERR_INVALID, "unexpected end");
}

static bool read_core_functype(struct comp_decoder *d, struct rd *rd, struct wasm_functype *type)
{
    return read_core_valtypes(d, rd, &type->params, &type->param_count) &&
           read_core_valtypes(d, rd, &type->results, &type->result_count);
}

static bool read_limits(struct comp_decoder *d, struct rd *rd, struct wasm_limits *limits,
                        uint64_t bound32)
{
    uint8_t flags = rd_u8(rd);
    if (flags & ~5u)
        return comp_fail(d, rd, ERR_INVALID, "malformed limits flags 0x%02x", flags);
    limits->is64 = (flags & 4) != 0;
    limits->min = rd_leb_u(rd, limits->is64 ? 64 : 32);
    limits->max = flags & 1 ? rd_leb_u(rd, limits->is64 ? 64 : 32) : UINT64_MAX;
    if (!limits->is64 && bound32 &&
        (limits->min > bound32 || (limits->max != UINT64_MAX && limits->max > bound32)))
        return comp_fail(d, rd, ERR_INVALID, "memory size must be at most %llu pages",
                         (unsigned long long)bound32);
    if (limits->min > limits->max)
        return comp_fail(d, rd, ERR_INVALID, "size minimum must not be greater than maximum");
    return true;
}

static bool read_core_extern(struct comp_decoder *d, struct rd *rd, const struct comp_space *types,
                             struct wasm_extern_type *out)
{
    *out = (struct wasm_extern_type){0};
    uint8_t kind = rd_u8(rd);
    switch (kind) {
    case WASM_TAG:
        if (rd_u8(rd) != 0)
            return comp_fail(d, rd, ERR_INVALID, "malformed tag");
        /* fall through */
    case WASM_FUNC: {
        uint32_t index = comp_read_index(rd);
        if (index >= types->count)
            return comp_fail(d, rd, ERR_INVALID, "type index out of bounds");
        const struct comp_core_type *type = types->items[index];
        if (type->is_module)
            return comp_fail(d, rd, ERR_INVALID, "core type index %u is not a function type",
                             index);
        out->func = type->func;
        break;
    }
    case WASM_TABLE:
        if (!read_core_valtype(d, rd, &out->type) || !read_limits(d, rd, &out->limits, 0))
            return false;
        break;
    case WASM_MEMORY:
        if (!read_limits(d, rd, &out->limits, 65536))
            return false;
        break;
    case WASM_GLOBAL: {
        if (!read_core_valtype(d, rd, &out->type))
            return false;
        uint8_t mutable_ = rd_u8(rd);
        if (mutable_ > 1)
            return comp_fail(d, rd, ERR_INVALID, "malformed mutability");
        out->mutable_ = mutable_ == 1;
        break;
    }
    default:
        return comp_fail(d, rd, ERR_INVALID, "malformed core extern kind 0x%02x", kind);
    }
    out->kind = (enum wasm_kind)kind;
    return !rd->failed || comp_fail(d, rd, ERR_INVALID, "unexpected end");
}

struct module_decls {
    struct comp_space types;
    struct {
        struct wasm_import *items;
        size_t count, capacity;
    } imports;
    struct {
        struct wasm_export *items;
        size_t count, capacity;
    } exports;
};

static bool read_core_deftype(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                              struct comp_core_type **out);

static bool is_new_import(struct comp_decoder *d, const struct module_decls *decls,
                          const struct wasm_import *import)
{
    if (!comp_work(d, decls->imports.count))
        return false;
    for (size_t i = 0; i < decls->imports.count; i++)
        if (decls->imports.items[i].module_bytes == import->module_bytes &&
            decls->imports.items[i].name_bytes == import->name_bytes &&
            memcmp(decls->imports.items[i].module, import->module, import->module_bytes) == 0 &&
            memcmp(decls->imports.items[i].name, import->name, import->name_bytes) == 0)
            return false;
    return true;
}

static bool is_new_export(struct comp_decoder *d, const struct module_decls *decls,
                          const struct wasm_export *export)
{
    if (!comp_work(d, decls->exports.count))
        return false;
    for (size_t i = 0; i < decls->exports.count; i++)
        if (decls->exports.items[i].name_bytes == export->name_bytes &&
            memcmp(decls->exports.items[i].name, export->name, export->name_bytes) == 0)
            return false;
    return true;
}

static bool read_module_decl(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                             struct module_decls *decls)
{
    uint8_t kind = rd_u8(rd);
    switch (kind) {
    case 0: {
        struct wasm_import import = {0};
        if (!comp_read_name(d, rd, &import.module, &import.module_bytes) ||
            !comp_read_name(d, rd, &import.name, &import.name_bytes) ||
            !read_core_extern(d, rd, &decls->types, &import.type))
            return false;
        if (!is_new_import(d, decls, &import))
            return comp_fail(d, rd, ERR_INVALID, "duplicate import name `%s:%s`", import.module,
                             import.name);
        return vec_push(NULL, &decls->imports, import) || comp_fail_memory(d);
    }
    case 1: {
        struct comp_core_type *type;
        if (!read_core_deftype(d, rd, NULL, &type))
            return false;
        return vec_push(NULL, &decls->types, (const void *)type) || comp_fail_memory(d);
    }
    case 2: {
        uint8_t sort = rd_u8(rd), target = rd_u8(rd);
        uint32_t count = comp_read_index(rd), index = comp_read_index(rd);
        if (sort != 0x10 || target != 1)
            return comp_fail(d, rd, ERR_INVALID, "malformed alias in a module type");
        const struct comp_core_type *type;
        if (count == 0) {
            if (index >= decls->types.count)
                return comp_fail(d, rd, ERR_INVALID, "type index out of bounds");
            type = decls->types.items[index];
        } else {
            const struct comp_scope *from = scope;
            for (uint32_t i = 1; i < count && from; i++)
                from = from->outer;
            if (!from)
                return comp_fail(d, rd, ERR_INVALID, "invalid outer alias count of %u", count);
            type = comp_scope_get(d, rd, from, COMP_SORT_CORE_TYPE, index);
        }
        if (!type)
            return false;
        if (type->is_module)
            return comp_fail(d, rd, ERR_INVALID, "a module type cannot be in a module type");
        return vec_push(NULL, &decls->types, (const void *)type) || comp_fail_memory(d);
    }
    case 3: {
        struct wasm_export export = {0};
        if (!comp_read_name(d, rd, &export.name, &export.name_bytes) ||
            !read_core_extern(d, rd, &decls->types, &export.type))
            return false;
        if (!is_new_export(d, decls, &export))
            return comp_fail(d, rd, ERR_INVALID, "export name `%s` already defined", export.name);
        return vec_push(NULL, &decls->exports, export) || comp_fail_memory(d);
    }
    default:
        return comp_fail(d, rd, ERR_INVALID, "malformed declaration 0x%02x in a module type", kind);
    }
}

static bool read_module_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                             const struct comp_module_type **out)
{
    struct module_decls decls = {0};
    uint32_t count = comp_read_count(d, rd);
    bool ok = true;
    for (uint32_t i = 0; i < count && ok; i++)
        ok = read_module_decl(d, rd, scope, &decls);
    struct comp_module_type *type = arena_calloc(d->arena, 1, sizeof *type);
    struct wasm_import *imports = arena_calloc(d->arena, decls.imports.count + 1, sizeof *imports);
    struct wasm_export *exports = arena_calloc(d->arena, decls.exports.count + 1, sizeof *exports);
    if (!type || !imports || !exports) {
        ok = comp_fail_memory(d);
    } else if (ok) {
        if (decls.imports.count)
            memcpy(imports, decls.imports.items, decls.imports.count * sizeof *imports);
        if (decls.exports.count)
            memcpy(exports, decls.exports.items, decls.exports.count * sizeof *exports);
        *type = (struct comp_module_type){(uint32_t)decls.imports.count,
                                          (uint32_t)decls.exports.count, imports, exports};
        *out = type;
    }
    vec_free(NULL, &decls.types);
    vec_free(NULL, &decls.imports);
    vec_free(NULL, &decls.exports);
    return ok;
}

/* `scope` NULL: within a module type, where module types may not be. */
static bool read_core_deftype(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                              struct comp_core_type **out)
{
    struct comp_core_type *type = arena_calloc(d->arena, 1, sizeof *type);
    if (!type)
        return comp_fail_memory(d);
    *out = type;
    uint8_t lead = rd_u8(rd);
    if (lead == 0x60)
        return read_core_functype(d, rd, &type->func);
    if (lead == 0x50 && scope) {
        type->is_module = true;
        return read_module_type(d, rd, scope, &type->module);
    }
    return comp_fail(d, rd, lead == 0x50 || rd->failed ? ERR_INVALID : ERR_UNSUPPORTED,
                     lead == 0x50 ? "a module type cannot be in a module type"
                                  : "core type 0x%02x in a component is not supported", lead);
}

bool comp_read_core_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_core_type *type;
    return read_core_deftype(d, rd, scope, &type) &&
           comp_scope_push(d, scope, COMP_SORT_CORE_TYPE, type);
}

/* ---- value types ------------------------------------------------------------------------- */

static const enum comp_kind primitive_kinds[] = {
    /* from 0x73 to 0x7f */
    COMP_STRING, COMP_CHAR, COMP_F64, COMP_F32, COMP_U64, COMP_S64, COMP_U32, COMP_S32, COMP_U16,
    COMP_S16, COMP_U8, COMP_S8, COMP_BOOL,
};

static const struct comp_type *read_valtype(struct comp_decoder *d, struct rd *rd,
                                            struct comp_scope *scope)
{
    uint8_t lead = rd_left(rd) ? rd->data[rd->at] : 0;
    if (rd_left(rd) && (lead & 0xC0) == 0x40) {
        rd->at++;
        if (lead >= 0x73)
            return comp_type_primitive(primitive_kinds[lead - 0x73]);
        comp_fail(d, rd, lead == 0x64 ? ERR_UNSUPPORTED : ERR_INVALID,
                  lead == 0x64 ? "error-context is not supported"
                               : "0x%02x is not a primitive value type", lead);
        return NULL;
    }
    int64_t index = rd_leb_s(rd, 33);
    if (rd->failed || index < 0) {
        comp_fail(d, rd, ERR_INVALID, "malformed value type");
        return NULL;
    }
    const struct comp_any *any = comp_scope_get(d, rd, scope, COMP_SORT_TYPE, (uint32_t)index);
    if (!any)
        return NULL;
    if (any->kind != COMP_ANY_VALUE) {
        comp_fail(d, rd, ERR_INVALID, "type index %u is not a defined type", (uint32_t)index);
        return NULL;
    }
    return any->of.value;
}

/* 0x00 none, 0x01 T. */
static bool read_optional(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                          const struct comp_type **type)
{
    uint8_t flag = rd_u8(rd);
    *type = NULL;
    if (flag > 1 || rd->failed)
        return comp_fail(d, rd, ERR_INVALID, "malformed optional type");
    return flag == 0 || (*type = read_valtype(d, rd, scope)) != NULL;
}

/* Labels of one type: kebab case, and different also when capitals are not looked at. */
static bool read_label(struct comp_decoder *d, struct rd *rd, struct map *seen, const char *what,
                       const char **label)
{
    uint32_t bytes;
    char lower[COMP_NAME_MAX];
    static char present;
    if (!comp_read_name(d, rd, label, &bytes))
        return false;
    if (bytes == 0)
        return comp_fail(d, rd, ERR_INVALID, "%s name cannot be empty", what);
    if (bytes > sizeof lower)
        return comp_fail(d, rd, ERR_LIMIT, "%s name is too long", what);
    if (!comp_name_is_label(*label, bytes))
        return comp_fail(d, rd, ERR_INVALID, "%s name `%s` is not in kebab case", what, *label);
    for (uint32_t i = 0; i < bytes; i++)
        lower[i] = (char)((*label)[i] >= 'A' && (*label)[i] <= 'Z' ? (*label)[i] + 32
                                                                    : (*label)[i]);
    if (map_find(seen, lower, bytes))
        return comp_fail(d, rd, ERR_INVALID, "%s name `%s` conflicts with previous name", what,
                         *label);
    return map_set(seen, lower, bytes, &present) || comp_fail_memory(d);
}

enum member { MEMBER_TYPED, MEMBER_CASE, MEMBER_LABEL, MEMBER_TUPLE };

/* The fields of a record, parameters, cases, labels or tuple. */
static struct comp_field *read_fields(struct comp_decoder *d, struct rd *rd,
                                      struct comp_scope *scope, enum member member,
                                      const char *what, uint32_t *count)
{
    *count = comp_read_count(d, rd);
    struct comp_field *fields = arena_calloc(d->arena, (size_t)*count + 1, sizeof *fields);
    struct map seen;
    map_init(&seen, NULL);
    bool ok = fields || comp_fail_memory(d);
    for (uint32_t i = 0; i < *count && ok; i++) {
        if (member != MEMBER_TUPLE)
            ok = read_label(d, rd, &seen, what, &fields[i].name);
        if (ok && member == MEMBER_CASE) {
            ok = read_optional(d, rd, scope, &fields[i].type);
            if (ok && rd_u8(rd) != 0)
                ok = comp_fail(d, rd, ERR_INVALID, "malformed variant case");
        } else if (ok && member != MEMBER_LABEL) {
            ok = (fields[i].type = read_valtype(d, rd, scope)) != NULL;
        }
    }
    map_deinit(&seen);
    return ok && !rd->failed ? fields : NULL;
}

static struct comp_res *read_resource_index(struct comp_decoder *d, struct rd *rd,
                                            struct comp_scope *scope)
{
    uint32_t index = comp_read_index(rd);
    const struct comp_any *any = comp_scope_get(d, rd, scope, COMP_SORT_TYPE, index);
    if (any && any->kind == COMP_ANY_RESOURCE)
        return any->of.resource;
    if (any)
        comp_fail(d, rd, ERR_INVALID, "type index %u is not a resource type", index);
    return NULL;
}

static const struct comp_type *read_defvaltype(struct comp_decoder *d, struct rd *rd,
                                               struct comp_scope *scope, uint8_t lead)
{
    struct comp_field *fields;
    const struct comp_type *a, *b;
    struct comp_res *resource;
    uint32_t count;
    switch (lead) {
    case 0x72:
        fields = read_fields(d, rd, scope, MEMBER_TYPED, "record field", &count);
        return fields ? comp_type_fields(d->arena, COMP_RECORD, fields, count, d->report) : NULL;
    case 0x71:
        fields = read_fields(d, rd, scope, MEMBER_CASE, "variant case", &count);
        return fields ? comp_type_fields(d->arena, COMP_VARIANT, fields, count, d->report) : NULL;
    case 0x70:
        a = read_valtype(d, rd, scope);
        return a ? comp_type_list(d->arena, a, d->report) : NULL;
    case 0x6f:
        fields = read_fields(d, rd, scope, MEMBER_TUPLE, "", &count);
        return fields ? comp_type_fields(d->arena, COMP_TUPLE, fields, count, d->report) : NULL;
    case 0x6e:
        fields = read_fields(d, rd, scope, MEMBER_LABEL, "flag", &count);
        return fields ? comp_type_fields(d->arena, COMP_FLAGS, fields, count, d->report) : NULL;
    case 0x6d:
        fields = read_fields(d, rd, scope, MEMBER_LABEL, "enum tag", &count);
        return fields ? comp_type_fields(d->arena, COMP_ENUM, fields, count, d->report) : NULL;
    case 0x6b:
        a = read_valtype(d, rd, scope);
        return a ? comp_type_option(d->arena, a, d->report) : NULL;
    case 0x6a:
        if (!read_optional(d, rd, scope, &a) || !read_optional(d, rd, scope, &b))
            return NULL;
        return comp_type_result(d->arena, a, b, d->report);
    case 0x69:
    case 0x68:
        resource = read_resource_index(d, rd, scope);
        return resource ? comp_type_handle(d->arena, lead == 0x69 ? COMP_OWN : COMP_BORROW,
                                           resource, d->report)
                        : NULL;
    case 0x67:
        a = read_valtype(d, rd, scope);
        count = comp_read_index(rd);
        return a ? comp_type_fixed_list(d->arena, a, count, d->report) : NULL;
    case 0x66:
    case 0x65:
        comp_fail(d, rd, ERR_UNSUPPORTED, "streams and futures (async) are not supported");
        return NULL;
    case 0x64:
        comp_fail(d, rd, ERR_UNSUPPORTED, "error-context is not supported");
        return NULL;
    case 0x63:
        a = read_valtype(d, rd, scope);
        b = a ? read_valtype(d, rd, scope) : NULL;
        if (!b)
            return NULL;
        if (a->kind > COMP_STRING || a->kind == COMP_F32 || a->kind == COMP_F64) {
            comp_fail(d, rd, ERR_INVALID, "a map's keys cannot be of this type");
            return NULL;
        }
        return comp_type_map(d->arena, a, b, d->report);
    default:
        if (lead >= 0x73 && lead <= 0x7f)
            return comp_type_primitive(primitive_kinds[lead - 0x73]);
        comp_fail(d, rd, ERR_INVALID, "malformed type 0x%02x", lead);
        return NULL;
    }
}

static const struct comp_functype *read_functype(struct comp_decoder *d, struct rd *rd,
                                                 struct comp_scope *scope)
{
    uint32_t count;
    const struct comp_type *result = NULL;
    struct comp_field *params = read_fields(d, rd, scope, MEMBER_TYPED, "function parameter",
                                            &count);
    if (!params)
        return NULL;
    if (count > COMP_PARAMS_MAX) {
        comp_fail(d, rd, ERR_LIMIT, "a function has more than %d parameters", COMP_PARAMS_MAX);
        return NULL;
    }
    uint8_t lead = rd_u8(rd);
    if (lead == 0) {
        if (!(result = read_valtype(d, rd, scope)))
            return NULL;
    } else if (lead != 1 || rd_u8(rd) != 0) {
        comp_fail(d, rd, ERR_INVALID, "malformed result list");
        return NULL;
    }
    return comp_functype_create(d->arena, params, count, result, d->report);
}

/* ---- component and instance types -------------------------------------------------------- */

bool comp_read_extern_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                           struct comp_extern *type)
{
    uint8_t kind = rd_u8(rd);
    *type = (struct comp_extern){0};
    if (kind == 0x00) {
        if (rd_u8(rd) != 0x11)
            return comp_fail(d, rd, ERR_INVALID, "malformed extern type");
        uint32_t index = comp_read_index(rd);
        const struct comp_core_type *core = comp_scope_get(d, rd, scope, COMP_SORT_CORE_TYPE,
                                                           index);
        if (!core)
            return false;
        if (!core->is_module)
            return comp_fail(d, rd, ERR_INVALID, "core type index %u is not a module type", index);
        type->sort = COMP_SORT_CORE_MODULE;
        type->of.module = core->module;
        return true;
    }
    if (kind == 0x02)
        return comp_fail(d, rd, ERR_UNSUPPORTED, "values as imports or exports are not supported");
    if (kind == 0x03) {
        uint8_t bound = rd_u8(rd);
        type->sort = COMP_SORT_TYPE;
        if (bound == 1 && !rd->failed) {
            type->of.type.kind = COMP_ANY_RESOURCE;
            return true;
        }
        if (bound != 0 || rd->failed)
            return comp_fail(d, rd, ERR_INVALID, "malformed type bound");
    } else if (kind != 0x01 && kind != 0x04 && kind != 0x05) {
        return comp_fail(d, rd, ERR_INVALID, "malformed extern type 0x%02x", kind);
    }
    uint32_t index = comp_read_index(rd);
    const struct comp_any *any = comp_scope_get(d, rd, scope, COMP_SORT_TYPE, index);
    if (!any)
        return false;
    switch (kind) {
    case 0x01:
        type->sort = COMP_SORT_FUNC;
        type->of.func = any->of.func;
        return any->kind == COMP_ANY_FUNC ||
               comp_fail(d, rd, ERR_INVALID, "type index %u is not a function type", index);
    case 0x03:
        type->of.type = *any;
        return true;
    case 0x04:
        type->sort = COMP_SORT_COMPONENT;
        type->of.component = any->of.component;
        return any->kind == COMP_ANY_COMPONENT ||
               comp_fail(d, rd, ERR_INVALID, "type index %u is not a component type", index);
    default:
        type->sort = COMP_SORT_INSTANCE;
        type->of.instance = any->of.instance;
        return any->kind == COMP_ANY_INSTANCE ||
               comp_fail(d, rd, ERR_INVALID, "type index %u is not an instance type", index);
    }
}

/* The form under which names must differ: lower case, "[method]a.b" and "[static]a.b" as "a.b",
 * and "a" where both parts are the same; constructors are apart. */
static bool unique_key(const char *name, uint32_t bytes, char out[COMP_NAME_MAX],
                       size_t *out_bytes)
{
    struct comp_name_parts parts = comp_name_parse(name, bytes);
    size_t count = 0;
    if (bytes > COMP_NAME_MAX)
        return false;
    if (parts.kind == COMP_NAME_METHOD || parts.kind == COMP_NAME_STATIC) {
        name = parts.resource;
        bytes = (uint32_t)(parts.resource_bytes + 1 + parts.member_bytes);
    }
    for (uint32_t i = 0; i < bytes; i++)
        out[count++] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    if ((parts.kind == COMP_NAME_METHOD || parts.kind == COMP_NAME_STATIC) &&
        parts.resource_bytes == parts.member_bytes &&
        memcmp(out, out + parts.resource_bytes + 1, parts.member_bytes) == 0)
        count = parts.resource_bytes;
    *out_bytes = count;
    return true;
}

static const struct comp_res *find_resource(struct comp_decoder *d,
                                            const struct comp_named_list *list, const char *name,
                                            size_t bytes)
{
    const struct comp_named *named = comp_find_named(d, list->items, (uint32_t)list->count, name,
                                                     (uint32_t)bytes);
    if (!named || named->type.sort != COMP_SORT_TYPE ||
        named->type.of.type.kind != COMP_ANY_RESOURCE)
        return NULL;
    return named->type.of.type.of.resource;
}

static bool check_annotated(struct comp_decoder *d, const struct rd *rd,
                            const struct comp_named_list *list,
                            const struct comp_name_parts *parts, const struct comp_extern *type)
{
    if (type->sort != COMP_SORT_FUNC)
        return comp_fail(d, rd, ERR_INVALID, "an item with an annotated name is not a func");
    const struct comp_functype *func = type->of.func;
    const struct comp_res *resource = find_resource(d, list, parts->resource,
                                                    parts->resource_bytes);
    if (!resource)
        return comp_fail(d, rd, ERR_INVALID,
                         "function does not match expected resource name: `%.*s` is not known in "
                         "this context", (int)parts->resource_bytes, parts->resource);
    if (parts->kind == COMP_NAME_METHOD) {
        if (func->param_count == 0)
            return comp_fail(d, rd, ERR_INVALID, "a method should have at least one argument");
        const struct comp_field *self = &func->params[0];
        if (strcmp(self->name, "self") != 0)
            return comp_fail(d, rd, ERR_INVALID,
                             "a method should have a first argument called `self`");
        if (self->type->kind != COMP_BORROW || self->type->resource != resource)
            return comp_fail(d, rd, ERR_INVALID,
                             "a method should take a first argument of `(borrow $T)` and match "
                             "its resource's name");
    } else if (parts->kind == COMP_NAME_CONSTRUCTOR) {
        const struct comp_type *made = func->result;
        if (!made)
            return comp_fail(d, rd, ERR_INVALID, "a constructor should return one value");
        if (made->kind == COMP_RESULT && made->fields[0].type)
            made = made->fields[0].type;
        if (made->kind != COMP_OWN || made->resource != resource)
            return comp_fail(d, rd, ERR_INVALID,
                             "function should return `(own $T)` or `(result (own $T))` of the "
                             "resource that it names");
    }
    return true;
}

bool comp_take_name(struct comp_decoder *d, const struct rd *rd, struct comp_scope *scope,
                    bool is_import, bool has_implements, const char *name, uint32_t bytes,
                    const struct comp_extern *type)
{
    struct comp_named_list *list = is_import ? &scope->imports : &scope->exports;
    char key[COMP_NAME_MAX];
    size_t key_bytes;
    static char present;
    const char *what = is_import ? "import" : "export";
    if (!unique_key(name, bytes, key, &key_bytes))
        return comp_fail(d, rd, ERR_LIMIT, "%s name is too long", what);
    /* A constructor shares the name of its resource. */
    struct comp_name_parts parts = comp_name_parse(name, bytes);
    if (map_find(&list->unique, key, key_bytes))
        return comp_fail(d, rd, ERR_INVALID, "%s name `%s` conflicts with previous name", what,
                         name);
    if (parts.kind == COMP_NAME_CONSTRUCTOR || parts.kind == COMP_NAME_METHOD ||
        parts.kind == COMP_NAME_STATIC)
        if (!check_annotated(d, rd, list, &parts, type))
            return false;
    if (has_implements && (type->sort != COMP_SORT_INSTANCE || parts.kind != COMP_NAME_LABEL))
        return comp_fail(d, rd, ERR_INVALID,
                         type->sort != COMP_SORT_INSTANCE
                             ? "only instances can have an `implements`: `%s`"
                             : "name `%s` is not valid with `implements`", name);
    if (!comp_make_visible(d, scope, is_import, type))
        return false;
    /* Instance types are looked at where they are used. */
    if (scope->kind != COMP_SCOPE_INSTANCE_TYPE && !comp_is_visible(d, scope, is_import, type))
        return comp_fail(d, rd, ERR_INVALID, "%s not valid to be used as %s `%s`",
                         comp_sort_name(type->sort), what, name);
    struct comp_named named = {name, bytes, *type};
    return (map_set(&list->unique, key, key_bytes, &present) && vec_push(NULL, list, named)) ||
           comp_fail_memory(d);
}

bool comp_introduce(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope,
                    bool is_import, bool has_implements, const char *name, uint32_t bytes,
                    struct comp_extern *type)
{
    const void *item = NULL;
    switch (type->sort) {
    case COMP_SORT_INSTANCE:
        type->of.instance = comp_open_instance(d, scope, is_import, type->of.instance);
        item = type->of.instance;
        break;
    case COMP_SORT_TYPE: {
        struct comp_any *any = arena_calloc(d->arena, 1, sizeof *any);
        if (!any)
            return comp_fail_memory(d);
        *any = type->of.type;
        if (any->kind == COMP_ANY_RESOURCE && !any->of.resource)
            any->of.resource = comp_scope_new_res(d, scope, is_import, name);
        if (any->kind == COMP_ANY_RESOURCE && !any->of.resource)
            return false;
        if (any->kind == COMP_ANY_VALUE &&
            !(any->of.value = comp_type_named(d->arena, any->of.value)))
            return comp_fail_memory(d);
        type->of.type = *any;
        item = any;
        break;
    }
    case COMP_SORT_FUNC:
        item = type->of.func;
        break;
    case COMP_SORT_COMPONENT:
        item = type->of.component;
        break;
    default:
        item = type->of.module;
        break;
    }
    return item && comp_take_name(d, rd, scope, is_import, has_implements, name, bytes, type) &&
           comp_scope_push(d, scope, type->sort, item);
}

static bool read_decl(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    uint8_t kind = rd_u8(rd);
    switch (kind) {
    case 0x00:
        return comp_read_core_type(d, rd, scope);
    case 0x01:
        return comp_read_type(d, rd, scope);
    case 0x02:
        return comp_read_alias(d, rd, scope);
    case 0x03:
        if (scope->kind == COMP_SCOPE_INSTANCE_TYPE)
            return comp_fail(d, rd, ERR_INVALID, "an import in an instance type");
        break;
    case 0x04:
        break;
    default:
        return comp_fail(d, rd, ERR_INVALID, "malformed declaration 0x%02x in a type", kind);
    }
    const char *name;
    uint32_t bytes;
    bool has_implements;
    struct comp_extern type;
    return comp_read_extern_name(d, rd, &name, &bytes, &has_implements) &&
           comp_read_extern_type(d, rd, scope, &type) &&
           comp_introduce(d, rd, scope, kind == 0x03, has_implements, name, bytes, &type);
}

static bool read_scope_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *outer,
                            bool is_component, struct comp_any *any)
{
    if (outer->depth + 1 > COMP_NESTING_MAX)
        return comp_fail(d, rd, ERR_LIMIT, "types are nested more than %d deep", COMP_NESTING_MAX);
    struct comp_scope scope;
    comp_scope_init(&scope,
                    is_component ? COMP_SCOPE_COMPONENT_TYPE : COMP_SCOPE_INSTANCE_TYPE, outer);
    uint32_t count = comp_read_count(d, rd);
    bool ok = true;
    for (uint32_t i = 0; i < count && ok; i++)
        ok = read_decl(d, rd, &scope);
    if (ok && is_component) {
        any->kind = COMP_ANY_COMPONENT;
        any->of.component = comp_scope_component_type(d, &scope);
        ok = any->of.component != NULL;
    } else if (ok) {
        any->kind = COMP_ANY_INSTANCE;
        any->of.instance = comp_scope_instance_type(d, &scope);
        ok = any->of.instance != NULL;
    }
    comp_scope_deinit(&scope);
    return ok;
}

/* Resources can only be defined by components proper: decode.c does that. */
bool comp_read_type(struct comp_decoder *d, struct rd *rd, struct comp_scope *scope)
{
    struct comp_any *any = arena_calloc(d->arena, 1, sizeof *any);
    if (!any)
        return comp_fail_memory(d);
    uint8_t lead = rd_u8(rd);
    switch (lead) {
    case 0x40:
        any->kind = COMP_ANY_FUNC;
        any->of.func = read_functype(d, rd, scope);
        if (!any->of.func)
            return false;
        break;
    case 0x43:
        return comp_fail(d, rd, ERR_UNSUPPORTED, "async functions are not supported");
    case 0x41:
    case 0x42:
        if (!read_scope_type(d, rd, scope, lead == 0x41, any))
            return false;
        break;
    case 0x3f:
        return comp_fail(d, rd, ERR_INVALID,
                         "resources can only be defined within a concrete component");
    default:
        any->kind = COMP_ANY_VALUE;
        any->of.value = read_defvaltype(d, rd, scope, lead);
        if (!any->of.value)
            return false;
        break;
    }
    return comp_scope_push(d, scope, COMP_SORT_TYPE, any);
}
