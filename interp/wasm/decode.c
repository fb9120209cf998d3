/* The binary format: bytes to struct wasm_module. Strict: whatever the specification calls
 * malformed is refused; instructions of bodies are read by validate.c.
 *
 * The decoder stops at its first error: `err` is set, `at` moves to `end`, every later read gives
 * zero, and loops look at `err`. */
#include <inttypes.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "interp/wasm/limits.h"
#include "interp/wasm/module.h"
#include "interp/wasm/opcodes.h"

struct decoder {
    struct wasm_module *module;
    struct report *report;
    const uint8_t *at, *end;
    const char *section; /* for messages */
    enum err err;
    uint64_t local_budget; /* declared locals that may still be written out */
    uint64_t super_budget; /* supertypes of all types together that may still be listed */
    /* The recursion group at hand: its types are those from group_first to before group_end. */
    uint32_t group_first, group_end;
    struct arena scratch; /* what is forgotten when the group is interned */
};

enum section {
    SECTION_CUSTOM, SECTION_TYPE, SECTION_IMPORT, SECTION_FUNCTION, SECTION_TABLE, SECTION_MEMORY,
    SECTION_GLOBAL, SECTION_EXPORT, SECTION_START, SECTION_ELEMENT, SECTION_CODE, SECTION_DATA,
    SECTION_DATA_COUNT, SECTION_TAG, SECTION_COUNT,
};
static const struct {
    const char *name;
    uint8_t order;
} sections[SECTION_COUNT] = {
    [SECTION_CUSTOM] = {"custom", 0},   [SECTION_TYPE] = {"type", 1},
    [SECTION_IMPORT] = {"import", 2},   [SECTION_FUNCTION] = {"function", 3},
    [SECTION_TABLE] = {"table", 4},     [SECTION_MEMORY] = {"memory", 5},
    [SECTION_TAG] = {"tag", 6},         [SECTION_GLOBAL] = {"global", 7},
    [SECTION_EXPORT] = {"export", 8},   [SECTION_START] = {"start", 9},
    [SECTION_ELEMENT] = {"element", 10}, [SECTION_DATA_COUNT] = {"data count", 11},
    [SECTION_CODE] = {"code", 12},      [SECTION_DATA] = {"data", 13},
};

static void fail(struct decoder *d, enum err err, const uint8_t *where, const char *problem)
{
    if (d->err)
        return;
    d->err = err_set(d->report, err, "%s section at offset 0x%zx: %s", d->section,
                     (size_t)(where - d->module->bytes), problem);
    d->at = d->end;
}

static void fail_limit(struct decoder *d, const char *what, uint64_t count, uint64_t count_max)
{
    if (d->err)
        return;
    d->err = err_set(d->report, ERR_LIMIT,
                     "%s section: %" PRIu64 " %s, this build takes at most %" PRIu64, d->section,
                     count, what, count_max);
    d->at = d->end;
}

static void fail_memory(struct decoder *d)
{
    if (d->err)
        return;
    d->err = err_set(d->report, ERR_MEMORY, "%s section: out of memory", d->section);
    d->at = d->end;
}

static void fail_read(struct decoder *d, enum wasm_read result, const uint8_t *where,
                      const char *problem)
{
    fail(d, result == WASM_READ_UNSUPPORTED ? ERR_UNSUPPORTED : ERR_INVALID, where, problem);
}

static size_t left(const struct decoder *d)
{
    return (size_t)(d->end - d->at);
}

static const uint8_t *take(struct decoder *d, size_t bytes)
{
    if (bytes > left(d)) {
        fail(d, ERR_INVALID, d->at, "unexpected end: length out of bounds");
        return NULL;
    }
    const uint8_t *at = d->at;
    d->at += bytes;
    return at;
}

static uint8_t byte(struct decoder *d)
{
    const uint8_t *at = take(d, 1);
    return at ? *at : 0;
}

static uint64_t leb(struct decoder *d, unsigned bits)
{
    const char *problem;
    uint64_t value = 0;
    if (d->at != d->end && *d->at < 0x80)
        return *d->at++; /* which fits any width */
    if (!wasm_leb_u(&d->at, d->end, bits, &value, &problem)) {
        fail(d, ERR_INVALID, d->at, problem);
        return 0;
    }
    return value;
}

static uint32_t u32(struct decoder *d)
{
    return (uint32_t)leb(d, 32);
}

/* A vector's length: its items take at least `item_bytes` each, so it cannot promise more than
 * the section holds. */
static uint32_t count(struct decoder *d, const char *what, size_t item_bytes, uint32_t count_max)
{
    const uint8_t *where = d->at;
    uint32_t n = u32(d);
    if (n > left(d) / item_bytes) {
        fail(d, ERR_INVALID, where, "unexpected end: more items than the section has room for");
        return 0;
    }
    if (n > count_max) {
        fail_limit(d, what, n, count_max);
        return 0;
    }
    return n;
}

static void *array(struct decoder *d, size_t items, size_t item_bytes)
{
    if (d->err)
        return NULL;
    void *result = arena_calloc(&d->module->arena, items, item_bytes);
    if (!result)
        fail_memory(d);
    return result;
}

/* `old_count` items (imports) with room for `extra` more behind them. */
static void *extend(struct decoder *d, const void *old, size_t old_count, size_t extra,
                    size_t item_bytes)
{
    uint8_t *result = array(d, old_count + extra, item_bytes);
    if (result && old_count)
        memcpy(result, old, old_count * item_bytes);
    return result;
}

static const char *name(struct decoder *d, uint32_t *bytes)
{
    const uint8_t *where = d->at;
    *bytes = u32(d);
    const uint8_t *text = take(d, *bytes);
    if (!text)
        return NULL;
    if (!utf8_is_valid((const char *)text, *bytes)) {
        fail(d, ERR_INVALID, where, "malformed UTF-8 encoding");
        return NULL;
    }
    char *copy = arena_strdup(&d->module->arena, (const char *)text, *bytes);
    if (!copy)
        fail_memory(d);
    return copy;
}

/* Types of the module become their numbers in the process; those of the group at hand, which has
 * none yet, their positions in it. */
static uint32_t value_type(struct decoder *d)
{
    const char *problem;
    uint32_t type = 0;
    const uint8_t *where = d->at;
    enum wasm_read result = wasm_type_read(&d->at, d->end, &type, &problem);
    if (result != WASM_READ_OK) {
        fail_read(d, result, where, problem);
        return WASM_I32;
    }
    uint32_t index = type >> WASM_TYPE_NUMBER_SHIFT;
    if (wasm_type_is_defined(type) && index >= d->group_first && index < d->group_end)
        return (index - d->group_first) << WASM_TYPE_NUMBER_SHIFT | (type & WASM_NON_NULL) |
               WASM_TYPE_RELATIVE;
    if (!wasm_module_resolve(d->module, &type)) {
        fail(d, ERR_INVALID, where, "unknown type");
        return WASM_I32;
    }
    return type;
}

static uint32_t ref_type(struct decoder *d)
{
    const uint8_t *where = d->at;
    uint32_t type = value_type(d);
    if (!d->err && !wasm_type_is_ref(type))
        fail(d, ERR_INVALID, where, "malformed reference type");
    return type;
}

static struct wasm_limits limits(struct decoder *d)
{
    struct wasm_limits result = {.max = UINT64_MAX};
    const uint8_t *where = d->at;
    uint8_t flags = byte(d);
    if (flags > 7 || (flags & 2)) {
        fail(d, ERR_INVALID, where, "malformed limits flags");
        return result;
    }
    result.is64 = flags & 4;
    result.min = leb(d, result.is64 ? 64 : 32);
    if (flags & 1) {
        result.max = leb(d, result.is64 ? 64 : 32);
        if (result.max == UINT64_MAX) /* which stands for none: no table or memory is so large */
            result.max--;
    }
    return result;
}

static struct wasm_table_def table_type(struct decoder *d)
{
    struct wasm_table_def table = {.type = ref_type(d)};
    table.limits = limits(d);
    return table;
}

static bool mutability(struct decoder *d)
{
    const uint8_t *where = d->at;
    uint8_t flag = byte(d);
    if (flag > 1)
        fail(d, ERR_INVALID, where, "malformed mutability");
    return flag;
}

static uint32_t type_index(struct decoder *d)
{
    const uint8_t *where = d->at;
    uint32_t index = u32(d);
    if (!d->err && index >= d->module->type_count)
        fail(d, ERR_INVALID, where, "unknown type");
    return d->err ? 0 : index;
}

static uint32_t func_type_index(struct decoder *d)
{
    const uint8_t *where = d->at;
    uint32_t index = type_index(d);
    if (!d->err && d->module->types[index]->kind != WASM_DEF_FUNC)
        fail(d, ERR_INVALID, where, "type mismatch: not a function type");
    return d->err ? 0 : index;
}

static struct wasm_tag_def tag_type(struct decoder *d)
{
    const uint8_t *where = d->at;
    if (byte(d) != 0)
        fail(d, ERR_INVALID, where, "malformed tag attribute");
    struct wasm_tag_def tag = {.type_index = func_type_index(d)};
    return tag;
}

static struct wasm_const_expr const_expr(struct decoder *d)
{
    struct wasm_const_expr expr = {.code = d->at};
    struct wasm_instr instr = {.next = d->at};
    do {
        const char *problem;
        const uint8_t *where;
        if (d->err)
            return expr;
        enum wasm_read result = wasm_instr_read(instr.next, d->end, &instr, &problem, &where);
        if (result != WASM_READ_OK) {
            fail_read(d, result, where, problem);
            return expr;
        }
        switch (instr.op) {
        case WASM_OP_I32_CONST: case WASM_OP_I64_CONST: case WASM_OP_F32_CONST:
        case WASM_OP_F64_CONST: case WASM_OP_V128_CONST: case WASM_OP_GLOBAL_GET:
        case WASM_OP_REF_NULL: case WASM_OP_REF_FUNC: case WASM_OP_END:
        case WASM_OP_I32_ADD: case WASM_OP_I32_SUB: case WASM_OP_I32_MUL:
        case WASM_OP_I64_ADD: case WASM_OP_I64_SUB: case WASM_OP_I64_MUL:
        case WASM_OP_STRUCT_NEW: case WASM_OP_STRUCT_NEW_DEFAULT: case WASM_OP_ARRAY_NEW:
        case WASM_OP_ARRAY_NEW_DEFAULT: case WASM_OP_ARRAY_NEW_FIXED: case WASM_OP_REF_I31:
        case WASM_OP_ANY_CONVERT_EXTERN: case WASM_OP_EXTERN_CONVERT_ANY:
            break;
        default:
            fail(d, ERR_INVALID, where, "constant expression required");
            return expr;
        }
    } while (instr.op != WASM_OP_END);
    expr.bytes = (uint32_t)(instr.next - d->at);
    d->at = instr.next;
    return expr;
}

/* ---- sections ---------------------------------------------------------------------------- */

static void *scratch(struct decoder *d, size_t items, size_t item_bytes)
{
    if (d->err)
        return NULL;
    void *result = arena_calloc(&d->scratch, items, item_bytes);
    if (!result)
        fail_memory(d);
    return result;
}

static const uint32_t *types_of(struct decoder *d, const char *what, uint32_t *n)
{
    *n = count(d, what, 1, WASM_PARAMS_MAX);
    uint32_t *list = scratch(d, *n, sizeof *list);
    for (uint32_t i = 0; i < *n && !d->err; i++)
        list[i] = value_type(d);
    return list;
}

static struct wasm_field field(struct decoder *d)
{
    struct wasm_field field = {0};
    if (left(d) && (*d->at == WASM_I8 || *d->at == WASM_I16))
        field.type = byte(d);
    else
        field.type = value_type(d);
    field.mutable_ = mutability(d);
    return field;
}

/* The type at `index` of the module, which is the next one to be declared. */
static struct wasm_type_decl sub_type(struct decoder *d, uint32_t index,
                                      const struct wasm_type_decl *group)
{
    enum { SUB = 0x50, SUB_FINAL = 0x4F, FUNC = 0x60, STRUCT = 0x5F, ARRAY = 0x5E };
    struct wasm_type_decl decl = {.is_final = true};
    const uint8_t *where = d->at;
    uint8_t form = byte(d);
    if (form == SUB || form == SUB_FINAL) {
        decl.is_final = form == SUB_FINAL;
        uint32_t supers = count(d, "supertypes", 1, WASM_ITEMS_MAX);
        if (supers > 1)
            fail(d, ERR_INVALID, where, "sub type: a type has at most one supertype");
        if (supers == 1) {
            where = d->at;
            uint32_t super = u32(d);
            if (!d->err && super >= index)
                fail(d, ERR_INVALID, where, "unknown type: a supertype must come first");
            if (d->err)
                return decl;
            uint32_t depth = 1;
            if (super >= d->group_first) {
                decl.super = (super - d->group_first) << WASM_TYPE_NUMBER_SHIFT |
                             WASM_TYPE_RELATIVE;
                depth += group[super - d->group_first].depth;
            } else {
                decl.super = d->module->types[super]->value_types[0];
                depth += d->module->types[super]->depth;
            }
            if (depth > WASM_SUPERTYPES_MAX || depth > d->super_budget) {
                fail(d, ERR_LIMIT, where, "more supertypes than this build has");
                return decl;
            }
            decl.depth = (uint8_t)depth;
            d->super_budget -= depth;
        }
        where = d->at;
        form = byte(d);
    }
    switch (form) {
    case FUNC:
        decl.kind = WASM_DEF_FUNC;
        decl.func.params = types_of(d, "parameters", &decl.func.param_count);
        decl.func.results = types_of(d, "results", &decl.func.result_count);
        break;
    case STRUCT: {
        decl.kind = WASM_DEF_STRUCT;
        decl.field_count = count(d, "fields", 2, WASM_FIELDS_MAX);
        struct wasm_field *fields = scratch(d, decl.field_count, sizeof *fields);
        for (uint32_t i = 0; i < decl.field_count && !d->err; i++)
            fields[i] = field(d);
        decl.fields = fields;
        break;
    }
    case ARRAY: {
        decl.kind = WASM_DEF_ARRAY;
        decl.field_count = 1;
        struct wasm_field *element = scratch(d, 1, sizeof *element);
        if (element)
            *element = field(d);
        decl.fields = element;
        break;
    }
    default:
        fail(d, ERR_INVALID, where, "malformed type");
    }
    return decl;
}

struct def_types {
    const struct wasm_def_type **items;
    size_t count, capacity;
};

/* `n` types that may mention each other. */
static void recursion_group(struct decoder *d, uint32_t n, struct def_types *types)
{
    const uint8_t *where = d->at;
    uint32_t first = (uint32_t)types->count;
    if (n > WASM_ITEMS_MAX - first) {
        fail_limit(d, "types", (uint64_t)first + n, WASM_ITEMS_MAX);
        return;
    }
    arena_reset(&d->scratch);
    struct wasm_type_decl *decls = scratch(d, n, sizeof *decls);
    d->group_first = first;
    d->group_end = first + n;
    for (uint32_t i = 0; i < n && !d->err; i++)
        decls[i] = sub_type(d, first + i, decls);
    d->group_first = d->group_end = 0;
    if (d->err || n == 0)
        return;
    if (!vec_reserve(NULL, types, n)) {
        fail_memory(d);
        return;
    }
    enum err err = wasm_types_intern(decls, n, types->items + first);
    if (err != ERR_OK) {
        fail(d, err, where,
             err == ERR_LIMIT ? "more types in all than this build has" : "out of memory");
        return;
    }
    types->count += n;
    d->module->types = types->items;
    d->module->type_count += n;
    for (uint32_t i = 0; i < n; i++)
        if (!wasm_type_fits_super(types->items[first + i]))
            fail(d, ERR_INVALID, where,
                 "sub type: a type does not match its supertype, or that is final");
}

static void type_section(struct decoder *d)
{
    uint32_t n = count(d, "types", 1, WASM_ITEMS_MAX);
    struct def_types types = {0};
    d->super_budget = 2 * (uint64_t)d->module->byte_count + 10000;
    if (!vec_reserve(NULL, &types, n + 1u))
        fail_memory(d);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        uint32_t group = 1;
        if (left(d) && *d->at == 0x4E) {
            byte(d);
            group = count(d, "types in a group", 1, WASM_ITEMS_MAX);
        }
        recursion_group(d, group, &types);
    }
    /* From here on they lie in the module's arena; also after an error, since it holds them. */
    if (types.count > 0) {
        d->module->types = arena_alloc(&d->module->arena, types.count * sizeof *types.items);
        if (d->module->types) {
            memcpy(d->module->types, types.items, types.count * sizeof *types.items);
        } else {
            for (size_t i = types.count; i-- > 0;)
                if (wasm_type_is_first(types.items[i]))
                    wasm_type_release(types.items[i]->group);
            d->module->type_count = 0;
            fail_memory(d);
        }
    }
    vec_free(NULL, &types);
}

static void import_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "imports", 4, WASM_ITEMS_MAX);
    m->imports = array(d, n, sizeof *m->imports);
    uint32_t *type_indices = array(d, n, sizeof *type_indices);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_import *import = &m->imports[i];
        import->module = name(d, &import->module_bytes);
        import->name = name(d, &import->name_bytes);
        const uint8_t *where = d->at;
        uint8_t kind = byte(d);
        struct wasm_extern_type *type = &import->type;
        type->kind = (enum wasm_kind)kind;
        switch (kind) {
        case WASM_FUNC:
            type_indices[i] = func_type_index(d);
            m->func_import_count++;
            break;
        case WASM_TABLE: {
            struct wasm_table_def table = table_type(d);
            type->type = table.type;
            type->limits = table.limits;
            m->table_import_count++;
            break;
        }
        case WASM_MEMORY:
            type->limits = limits(d);
            m->memory_import_count++;
            break;
        case WASM_GLOBAL:
            type->type = value_type(d);
            type->mutable_ = mutability(d);
            m->global_import_count++;
            break;
        case WASM_TAG:
            type_indices[i] = tag_type(d).type_index;
            m->tag_import_count++;
            break;
        default:
            fail(d, ERR_INVALID, where, "malformed import kind");
        }
        if (!d->err && (kind == WASM_FUNC || kind == WASM_TAG))
            type->func = m->types[type_indices[i]]->func;
    }
    m->funcs = array(d, m->func_import_count, sizeof *m->funcs);
    m->tables = array(d, m->table_import_count, sizeof *m->tables);
    m->memories = array(d, m->memory_import_count, sizeof *m->memories);
    m->globals = array(d, m->global_import_count, sizeof *m->globals);
    m->tags = array(d, m->tag_import_count, sizeof *m->tags);
    if (d->err)
        return;
    m->import_count = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct wasm_extern_type *type = &m->imports[i].type;
        switch (type->kind) {
        case WASM_FUNC: m->funcs[m->func_count++].type_index = type_indices[i]; break;
        case WASM_TABLE:
            m->tables[m->table_count++] =
                (struct wasm_table_def){.type = type->type, .limits = type->limits};
            break;
        case WASM_MEMORY: m->memories[m->memory_count++].limits = type->limits; break;
        case WASM_GLOBAL:
            m->globals[m->global_count++] =
                (struct wasm_global_def){.type = type->type, .mutable_ = type->mutable_};
            break;
        case WASM_TAG: m->tags[m->tag_count++].type_index = type_indices[i]; break;
        }
    }
}

static void function_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "functions", 1, WASM_ITEMS_MAX);
    /* The struct holds an atomic pointer; the imports' are still zero, so bytes may be copied. */
    m->funcs = extend(d, m->funcs, m->func_import_count, n, sizeof *m->funcs);
    for (uint32_t i = 0; i < n && !d->err; i++)
        m->funcs[m->func_count++].type_index = func_type_index(d);
}

static void table_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "tables", 3, WASM_TABLES_MAX);
    m->tables = extend(d, m->tables, m->table_import_count, n, sizeof *m->tables);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_table_def table = {0};
        if (left(d) && *d->at == 0x40) {
            byte(d);
            const uint8_t *where = d->at;
            if (byte(d) != 0)
                fail(d, ERR_INVALID, where, "malformed table");
            table = table_type(d);
            table.has_init = true;
            table.init = const_expr(d);
        } else {
            table = table_type(d);
        }
        m->tables[m->table_count++] = table;
    }
}

static void memory_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "memories", 2, WASM_MEMORIES_MAX);
    m->memories = extend(d, m->memories, m->memory_import_count, n, sizeof *m->memories);
    for (uint32_t i = 0; i < n && !d->err; i++)
        m->memories[m->memory_count++].limits = limits(d);
}

static void tag_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "tags", 2, WASM_ITEMS_MAX);
    m->tags = extend(d, m->tags, m->tag_import_count, n, sizeof *m->tags);
    for (uint32_t i = 0; i < n && !d->err; i++)
        m->tags[m->tag_count++] = tag_type(d);
}

static void global_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "globals", 3, WASM_ITEMS_MAX);
    m->globals = extend(d, m->globals, m->global_import_count, n, sizeof *m->globals);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_global_def *global = &m->globals[m->global_count++];
        global->type = value_type(d);
        global->mutable_ = mutability(d);
        global->init = const_expr(d);
    }
}

static void export_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "exports", 3, WASM_ITEMS_MAX);
    m->exports = array(d, n, sizeof *m->exports);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_export *export = &m->exports[i];
        const uint8_t *where = d->at;
        export->name = name(d, &export->name_bytes);
        if (d->err)
            break;
        if (map_find(&m->exports_by_name, export->name, export->name_bytes))
            fail(d, ERR_INVALID, where, "duplicate export name");
        else if (!map_set(&m->exports_by_name, export->name, export->name_bytes, export))
            fail_memory(d);
        where = d->at;
        uint8_t kind = byte(d);
        struct wasm_extern_type *type = &export->type;
        type->kind = (enum wasm_kind)kind;
        uint32_t index = export->index = u32(d);
        const char *unknown = NULL;
        switch (kind) {
        case WASM_FUNC:
            if (index >= m->func_count) {
                unknown = "unknown function";
                break;
            }
            type->func = m->types[m->funcs[index].type_index]->func;
            m->funcs[index].is_declared = true;
            break;
        case WASM_TABLE:
            if (index >= m->table_count) {
                unknown = "unknown table";
                break;
            }
            type->type = m->tables[index].type;
            type->limits = m->tables[index].limits;
            break;
        case WASM_MEMORY:
            if (index >= m->memory_count)
                unknown = "unknown memory";
            else
                type->limits = m->memories[index].limits;
            break;
        case WASM_GLOBAL:
            if (index >= m->global_count) {
                unknown = "unknown global";
                break;
            }
            type->type = m->globals[index].type;
            type->mutable_ = m->globals[index].mutable_;
            break;
        case WASM_TAG:
            if (index >= m->tag_count)
                unknown = "unknown tag";
            else
                type->func = m->types[m->tags[index].type_index]->func;
            break;
        default:
            unknown = "malformed export kind";
        }
        if (unknown)
            fail(d, ERR_INVALID, where, unknown);
        else if (!d->err)
            m->export_count = i + 1;
    }
}

static void start_section(struct decoder *d)
{
    d->module->has_start = true;
    d->module->start = u32(d);
}

static void element_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t n = count(d, "element segments", 3, WASM_ITEMS_MAX);
    m->elems = array(d, n, sizeof *m->elems);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_elem_def *elem = &m->elems[i];
        const uint8_t *where = d->at;
        uint32_t flags = u32(d);
        if (flags > 7)
            fail(d, ERR_INVALID, where, "malformed element segment flags");
        bool has_exprs = flags & 4;
        elem->mode = !(flags & 1) ? WASM_ACTIVE : flags & 2 ? WASM_DECLARED : WASM_PASSIVE;
        elem->type = has_exprs ? WASM_FUNCREF : WASM_FUNCREF | WASM_NON_NULL;
        if (elem->mode == WASM_ACTIVE) {
            elem->table = flags & 2 ? u32(d) : 0;
            elem->offset = const_expr(d);
        }
        if (flags & 3) {
            where = d->at;
            if (has_exprs)
                elem->type = ref_type(d);
            else if (byte(d) != 0)
                fail(d, ERR_INVALID, where, "malformed element kind");
        }
        elem->count = count(d, "elements in a segment", 1, WASM_ELEMENTS_MAX);
        if (has_exprs) {
            struct wasm_const_expr *exprs = array(d, elem->count, sizeof *exprs);
            for (uint32_t k = 0; k < elem->count && !d->err; k++)
                exprs[k] = const_expr(d);
            elem->exprs = exprs;
        } else {
            uint32_t *funcs = array(d, elem->count, sizeof *funcs);
            for (uint32_t k = 0; k < elem->count && !d->err; k++)
                funcs[k] = u32(d);
            elem->funcs = funcs;
        }
        m->elem_count = i + 1;
    }
}

static void data_count_section(struct decoder *d)
{
    d->module->has_data_count = true;
    d->module->data_count = u32(d);
}

/* Declarations of locals are pairs (how many, type): a few bytes can promise 2^32 of them. */
static void locals(struct decoder *d, struct wasm_func_def *func)
{
    const struct wasm_functype *type = &d->module->types[func->type_index]->func;
    const uint8_t *where = d->at;
    uint32_t groups = count(d, "groups of locals", 2, UINT32_MAX);
    const uint8_t *first = d->at;
    uint64_t total = type->param_count;
    for (uint32_t i = 0; i < groups && !d->err; i++) {
        total += u32(d);
        value_type(d);
    }
    if (d->err)
        return;
    if (total > UINT32_MAX) {
        fail(d, ERR_INVALID, where, "too many locals");
        return;
    }
    if (total > WASM_LOCALS_MAX) {
        fail_limit(d, "locals in one function", total, WASM_LOCALS_MAX);
        return;
    }
    func->local_count = (uint32_t)total;
    func->local_types = type->params;
    if (total == type->param_count)
        return;
    if (total > d->local_budget) {
        fail(d, ERR_LIMIT, where,
             "the functions declare more locals in all than a module of this size may");
        return;
    }
    d->local_budget -= total;
    uint32_t *types = arena_alloc(&d->module->arena, (size_t)total * sizeof *types);
    if (!types) {
        fail_memory(d);
        return;
    }
    size_t at = type->param_count;
    if (at)
        memcpy(types, type->params, at * sizeof *types);
    d->at = first;
    for (uint32_t i = 0; i < groups; i++) {
        uint32_t n = u32(d);
        uint32_t of = value_type(d);
        func->has_unset_locals |= n > 0 && !wasm_type_is_defaultable(of);
        for (size_t end = at + n; at < end; at++)
            types[at] = of;
    }
    func->local_types = types;
}

static void code_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    uint32_t defined = m->func_count - m->func_import_count;
    const uint8_t *where = d->at;
    uint32_t n = count(d, "function bodies", 2, WASM_ITEMS_MAX);
    if (!d->err && n != defined)
        fail(d, ERR_INVALID, where, "function and code section have inconsistent lengths");
    d->local_budget = 4 * (uint64_t)m->byte_count + 4 * WASM_LOCALS_MAX;
    const uint8_t *section_end = d->end;
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_func_def *func = &m->funcs[m->func_import_count + i];
        uint32_t bytes = u32(d);
        const uint8_t *begin = take(d, bytes);
        if (!begin)
            break;
        d->at = begin;
        d->end = begin + bytes;
        locals(d, func);
        func->body = d->at;
        func->body_bytes = (uint32_t)left(d);
        func->body_offset = (uint32_t)(d->at - m->bytes);
        d->end = section_end;
        d->at = d->err ? d->end : begin + bytes;
    }
}

static void data_section(struct decoder *d)
{
    struct wasm_module *m = d->module;
    const uint8_t *where = d->at;
    uint32_t n = count(d, "data segments", 2, WASM_ITEMS_MAX);
    if (!d->err && m->has_data_count && n != m->data_count)
        fail(d, ERR_INVALID, where, "data count and data section have inconsistent lengths");
    m->datas = array(d, n, sizeof *m->datas);
    for (uint32_t i = 0; i < n && !d->err; i++) {
        struct wasm_data_def *data = &m->datas[i];
        where = d->at;
        uint32_t flags = u32(d);
        if (flags > 2)
            fail(d, ERR_INVALID, where, "malformed data segment flags");
        data->mode = flags == 1 ? WASM_PASSIVE : WASM_ACTIVE;
        if (flags == 2)
            data->memory = u32(d);
        if (flags != 1)
            data->offset = const_expr(d);
        data->bytes = u32(d);
        data->data = take(d, data->bytes);
    }
    m->data_count = n;
}

static void custom_section(struct decoder *d)
{
    struct wasm_custom_def *custom = &d->module->customs[d->module->custom_count];
    custom->name = name(d, &custom->name_bytes);
    custom->bytes = left(d);
    custom->data = take(d, custom->bytes);
    if (!d->err)
        d->module->custom_count++;
}

/* ---- the "name" section ------------------------------------------------------------------ */

/* Function names are a convenience: whatever is wrong in here is left out without a word. They are
 * only shown, so they are kept as plain text. */
static void function_names(struct wasm_module *m, const uint8_t *at, const uint8_t *end)
{
    const char *problem;
    uint64_t n = 0;
    if (!wasm_leb_u(&at, end, 32, &n, &problem))
        return;
    for (; n > 0; n--) {
        uint64_t index = 0, bytes = 0;
        if (!wasm_leb_u(&at, end, 32, &index, &problem) ||
            !wasm_leb_u(&at, end, 32, &bytes, &problem) || bytes > (size_t)(end - at))
            return;
        const char *text = (const char *)at;
        at += bytes;
        if (index >= m->func_count || m->func_names[index] || !utf8_is_valid(text, bytes))
            continue;
        char *copy = arena_strdup(&m->arena, text, bytes);
        if (!copy)
            return;
        utf8_clean(copy, bytes);
        m->func_names[index] = copy;
    }
}

static void names(struct wasm_module *m)
{
    const uint8_t *at;
    size_t bytes;
    if (m->func_count == 0 || !wasm_module_custom_section(m, "name", 0, &at, &bytes))
        return;
    m->func_names = arena_calloc(&m->arena, m->func_count, sizeof *m->func_names);
    if (!m->func_names)
        return;
    const uint8_t *end = at + bytes;
    while (at != end) {
        const char *problem;
        uint64_t size = 0;
        uint8_t id = *at++;
        if (!wasm_leb_u(&at, end, 32, &size, &problem) || size > (size_t)(end - at))
            return;
        if (id == 1)
            function_names(m, at, at + size);
        at += size;
    }
}

/* ---- the module -------------------------------------------------------------------------- */

/* How many custom sections there are, as far as the sections' frames can be followed. */
static size_t custom_count(const uint8_t *at, const uint8_t *end)
{
    size_t n = 0;
    while (at != end) {
        const char *problem;
        uint64_t size = 0;
        if (*at++ == SECTION_CUSTOM)
            n++;
        if (!wasm_leb_u(&at, end, 32, &size, &problem) || size > (size_t)(end - at))
            break;
        at += size;
    }
    return n;
}

static void section(struct decoder *d, uint8_t id)
{
    switch ((enum section)id) {
    case SECTION_CUSTOM: custom_section(d); break;
    case SECTION_TYPE: type_section(d); break;
    case SECTION_IMPORT: import_section(d); break;
    case SECTION_FUNCTION: function_section(d); break;
    case SECTION_TABLE: table_section(d); break;
    case SECTION_MEMORY: memory_section(d); break;
    case SECTION_GLOBAL: global_section(d); break;
    case SECTION_EXPORT: export_section(d); break;
    case SECTION_START: start_section(d); break;
    case SECTION_ELEMENT: element_section(d); break;
    case SECTION_CODE: code_section(d); break;
    case SECTION_DATA: data_section(d); break;
    case SECTION_DATA_COUNT: data_count_section(d); break;
    case SECTION_TAG: tag_section(d); break;
    case SECTION_COUNT: break;
    }
}

enum err wasm_decode(struct wasm_module *module, struct report *report)
{
    const uint8_t *end = module->bytes + module->byte_count;
    struct decoder d = {
        .module = module, .report = report, .at = module->bytes, .end = end, .section = "header"};
    static const uint8_t magic[4] = {0, 'a', 's', 'm'}, version[4] = {1, 0, 0, 0};

    if (module->byte_count < 4 || memcmp(module->bytes, magic, 4) != 0)
        return err_set(report, ERR_INVALID, "magic header not detected: not a WebAssembly file");
    if (module->byte_count < 8 || memcmp(module->bytes + 4, version, 4) != 0)
        return err_set(report, ERR_INVALID,
                       "unknown binary version: not a core module of version 1%s",
                       module->byte_count >= 8 && module->bytes[6] == 1 ? " but a component" : "");
    d.at += 8;
    arena_init(&d.scratch, NULL);
    module->customs = array(&d, custom_count(d.at, end), sizeof *module->customs);
    unsigned order = 0;
    bool has_code = false, has_data = false;
    while (d.at != end && !d.err) {
        d.section = "next";
        const uint8_t *where = d.at;
        uint8_t id = byte(&d);
        if (id >= SECTION_COUNT) {
            fail(&d, ERR_INVALID, where, "malformed section id");
            break;
        }
        d.section = sections[id].name;
        uint32_t bytes = u32(&d);
        if (id != SECTION_CUSTOM) {
            if (sections[id].order <= order)
                fail(&d, ERR_INVALID, where,
                     "unexpected content after last section: it comes twice or out of order");
            order = sections[id].order;
        }
        const uint8_t *begin = take(&d, bytes);
        if (!begin)
            break;
        d.at = begin;
        d.end = begin + bytes;
        section(&d, id);
        if (!d.err && d.at != d.end)
            fail(&d, ERR_INVALID, d.at, "section size mismatch");
        d.end = end;
        has_code |= id == SECTION_CODE;
        has_data |= id == SECTION_DATA;
    }
    arena_deinit(&d.scratch);
    if (d.err)
        return d.err;
    d.section = "last";
    if (!has_code && module->func_count != module->func_import_count)
        fail(&d, ERR_INVALID, end, "function and code section have inconsistent lengths");
    if (!has_data && module->data_count != 0)
        fail(&d, ERR_INVALID, end, "data count and data section have inconsistent lengths");
    if (!d.err)
        names(module);
    return d.err;
}
