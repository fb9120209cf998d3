/* Instances: linking, constant expressions, segments.
 *
 * Everything of an instance lies in its store's arena. Once an instance is on the store's list it
 * stays there, even when a segment does not fit afterwards: tables of other instances may refer
 * to its functions already (as the specification wants). */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "interp/wasm/code.h"
#include "interp/wasm/opcodes.h"

struct wasm_func *wasm_instance_func(const struct wasm_instance *instance, uint32_t index)
{
    if (index < instance->module->func_import_count)
        return instance->imports[index];
    return &instance->own_refs[instance->program->ref_index[index]];
}

/* ---- constant expressions ---------------------------------------------------------------- */

struct values {
    union wasm_value *items;
    size_t count, capacity;
};

static bool evaluate_step(const struct wasm_instance *instance, const struct wasm_instr *instr,
                          struct values *stack)
{
    union wasm_value value = {.i64 = 0};
    switch (instr->op) {
    case WASM_OP_I32_CONST:
        value.i64 = (uint32_t)instr->value;
        break;
    case WASM_OP_I64_CONST:
    case WASM_OP_F32_CONST:
    case WASM_OP_F64_CONST:
        value.i64 = instr->value;
        break;
    case WASM_OP_V128_CONST:
        memcpy(&value, instr->vector, 8);
        if (!vec_push(NULL, stack, value))
            return false;
        memcpy(&value, instr->vector + 8, 8);
        break;
    case WASM_OP_REF_NULL:
        break;
    case WASM_OP_REF_FUNC:
        value.ref = wasm_instance_func(instance, instr->index);
        break;
    case WASM_OP_GLOBAL_GET: {
        const struct wasm_global *global = instance->globals[instr->index];
        value = global->value[0];
        if (global->type == WASM_V128) {
            if (!vec_push(NULL, stack, value))
                return false;
            value = global->value[1];
        }
        break;
    }
    default: { /* extended constants: two operands */
        uint64_t y = stack->items[--stack->count].i64, x = stack->items[--stack->count].i64;
        switch (instr->op) {
        case WASM_OP_I32_ADD:
            value.i64 = (uint32_t)(x + y);
            break;
        case WASM_OP_I32_SUB:
            value.i64 = (uint32_t)(x - y);
            break;
        case WASM_OP_I32_MUL:
            value.i64 = (uint32_t)(x * y);
            break;
        case WASM_OP_I64_ADD:
            value.i64 = x + y;
            break;
        case WASM_OP_I64_SUB:
            value.i64 = x - y;
            break;
        default:
            value.i64 = x * y;
            break;
        }
    }
    }
    return vec_push(NULL, stack, value);
}

/* False when memory is out. */
static bool evaluate(const struct wasm_instance *instance, const struct wasm_const_expr *expr,
                     union wasm_value out[2])
{
    struct values stack = {0};
    const uint8_t *at = expr->code, *end = expr->code + expr->bytes;
    bool ok = true;
    while (ok && at < end && *at != WASM_OP_END) {
        struct wasm_instr instr;
        const char *problem;
        const uint8_t *where;
        if (wasm_instr_read(at, end, &instr, &problem, &where) != WASM_READ_OK)
            break; /* cannot be: it was validated */
        ok = evaluate_step(instance, &instr, &stack);
        at = instr.next;
    }
    out[0] = out[1] = (union wasm_value){.i64 = 0};
    if (ok)
        for (size_t i = 0; i < stack.count && i < 2; i++)
            out[i] = stack.items[i];
    vec_free(NULL, &stack);
    return ok;
}

/* ---- linking ----------------------------------------------------------------------------- */

static bool limits_match(const struct wasm_limits *actual, uint64_t size,
                         const struct wasm_limits *wanted)
{
    return actual->is64 == wanted->is64 && size >= wanted->min &&
           (wanted->max == UINT64_MAX || actual->max <= wanted->max);
}

static bool import_matches(const struct wasm_program *program, const struct wasm_module *module,
                           const struct wasm_import *import, uint32_t index,
                           const struct wasm_extern *given)
{
    if (given->kind != import->type.kind)
        return false;
    switch (import->type.kind) {
    case WASM_FUNC:
        return given->of.func->type == program->types[module->funcs[index].type_index];
    case WASM_TABLE: {
        const struct wasm_table *table = given->of.table;
        return table->type == import->type.type &&
               limits_match(&table->limits, table->size, &import->type.limits);
    }
    case WASM_MEMORY: {
        const struct wasm_memory *memory = given->of.memory;
        return limits_match(&memory->limits, memory->bytes / WASM_PAGE_BYTES,
                            &import->type.limits);
    }
    case WASM_GLOBAL:
        return given->of.global->type == import->type.type &&
               given->of.global->mutable_ == import->type.mutable_;
    case WASM_TAG:
        return given->of.tag->type == program->types[module->tags[index].type_index];
    }
    return false;
}

static enum err link(struct wasm_instance *instance, const struct wasm_extern *imports,
                     uint32_t import_count, struct report *report)
{
    const struct wasm_module *module = instance->module;
    uint32_t next[5] = {0};
    if (import_count != module->import_count)
        return err_set(report, ERR_INVALID, "the module has %u imports, %u were given",
                       module->import_count, import_count);
    for (uint32_t i = 0; i < import_count; i++) {
        const struct wasm_import *import = &module->imports[i];
        uint32_t index = next[import->type.kind]++;
        if (!imports[i].of.func)
            return err_set(report, ERR_INVALID, "unknown import: %s.%s", import->module,
                           import->name);
        if (!import_matches(instance->program, module, import, index, &imports[i]))
            return err_set(report, ERR_INVALID,
                           "incompatible import type: what was given for %s.%s has another kind "
                           "or type",
                           import->module, import->name);
        switch (import->type.kind) {
        case WASM_FUNC:
            instance->imports[index] = imports[i].of.func;
            break;
        case WASM_TABLE:
            instance->tables[index] = imports[i].of.table;
            break;
        case WASM_MEMORY:
            instance->memories[index] = imports[i].of.memory;
            break;
        case WASM_GLOBAL:
            instance->globals[index] = imports[i].of.global;
            break;
        case WASM_TAG:
            instance->tags[index] = imports[i].of.tag;
            break;
        }
    }
    return ERR_OK;
}

/* ---- allocation -------------------------------------------------------------------------- */

static bool allocate(struct wasm_instance *instance)
{
    const struct wasm_module *m = instance->module;
    struct arena *arena = &instance->store->arena;
    uint32_t own_globals = m->global_count - m->global_import_count;
    instance->imports = arena_calloc(arena, m->func_import_count + 1u, sizeof(void *));
    instance->tables = arena_calloc(arena, m->table_count + 1u, sizeof(void *));
    instance->memories = arena_calloc(arena, m->memory_count + 1u, sizeof(void *));
    instance->globals = arena_calloc(arena, m->global_count + 1u, sizeof(void *));
    instance->tags = arena_calloc(arena, m->tag_count + 1u, sizeof(void *));
    instance->own_globals = arena_calloc(arena, own_globals + 1u, sizeof(struct wasm_global));
    instance->own_refs =
        arena_calloc(arena, instance->program->ref_count + 1u, sizeof(struct wasm_func));
    instance->elem_dropped = arena_calloc(arena, m->elem_count + 1u, 1);
    instance->data_dropped = arena_calloc(arena, m->data_count + 1u, 1);
    return instance->imports && instance->tables && instance->memories && instance->globals &&
           instance->tags && instance->own_globals && instance->own_refs &&
           instance->elem_dropped && instance->data_dropped;
}

static void make_funcs(struct wasm_instance *instance)
{
    const struct wasm_module *m = instance->module;
    struct wasm_program *program = instance->program;
    for (uint32_t i = m->func_import_count; i < m->func_count; i++) {
        uint32_t ref = program->ref_index[i];
        if (ref == UINT32_MAX)
            continue;
        const struct wasm_functype *type = program->types[m->funcs[i].type_index];
        instance->own_refs[ref] = (struct wasm_func){
            .type = type,
            .instance = instance,
            .entry = &program->entries[i],
            .index = i,
            .param_slots = (uint16_t)wasm_type_slots(type->params, type->param_count),
            .result_slots = (uint16_t)wasm_type_slots(type->results, type->result_count)};
    }
}

static enum err make_objects(struct wasm_instance *instance, struct report *report)
{
    const struct wasm_module *m = instance->module;
    struct wasm_store *store = instance->store;
    const char *no_memory = "out of memory instantiating a module";
    for (uint32_t i = m->tag_import_count; i < m->tag_count; i++) {
        instance->tags[i] = arena_calloc(&store->arena, 1, sizeof(struct wasm_tag));
        if (!instance->tags[i])
            return err_set(report, ERR_MEMORY, "%s", no_memory);
        instance->tags[i]->type = instance->program->types[m->tags[i].type_index];
    }
    for (uint32_t i = m->memory_import_count; i < m->memory_count; i++) {
        enum err err =
            wasm_memory_make(store, m->memories[i].limits, &instance->memories[i], report);
        if (err != ERR_OK)
            return err;
    }
    union wasm_value value[2];
    for (uint32_t i = m->global_import_count; i < m->global_count; i++) {
        struct wasm_global *global = &instance->own_globals[i - m->global_import_count];
        instance->globals[i] = global;
        global->type = m->globals[i].type;
        global->mutable_ = m->globals[i].mutable_;
        if (!evaluate(instance, &m->globals[i].init, global->value))
            return err_set(report, ERR_MEMORY, "%s", no_memory);
    }
    for (uint32_t i = m->table_import_count; i < m->table_count; i++) {
        const struct wasm_table_def *def = &m->tables[i];
        value[0].ref = NULL;
        if (def->has_init && !evaluate(instance, &def->init, value))
            return err_set(report, ERR_MEMORY, "%s", no_memory);
        enum err err = wasm_table_make(store, def->type, def->limits, value[0].ref,
                                       &instance->tables[i], report);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* ---- segments ---------------------------------------------------------------------------- */

bool wasm_instance_init_table(struct wasm_instance *instance, uint32_t elem,
                              struct wasm_table *table, uint64_t at, uint64_t from,
                              uint64_t count)
{
    const struct wasm_elem_def *def = &instance->module->elems[elem];
    uint64_t available = instance->elem_dropped[elem] ? 0 : def->count;
    if (count > available || from > available - count || count > table->size ||
        at > table->size - count)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        union wasm_value value[2];
        if (def->funcs)
            value[0].ref = wasm_instance_func(instance, def->funcs[from + i]);
        else if (!evaluate(instance, &def->exprs[from + i], value))
            return false;
        table->items[at + i] = value[0].ref;
    }
    return true;
}

static uint64_t offset_of(union wasm_value value, bool is64)
{
    return is64 ? value.i64 : value.i32;
}

static enum err run_segments(struct wasm_instance *instance, struct report *report)
{
    const struct wasm_module *m = instance->module;
    union wasm_value value[2];
    for (uint32_t i = 0; i < m->elem_count; i++) {
        const struct wasm_elem_def *def = &m->elems[i];
        if (def->mode == WASM_PASSIVE)
            continue;
        if (def->mode == WASM_ACTIVE) {
            struct wasm_table *table = instance->tables[def->table];
            if (!evaluate(instance, &def->offset, value))
                return err_set(report, ERR_MEMORY, "out of memory instantiating a module");
            if (!wasm_instance_init_table(instance, i, table,
                                          offset_of(value[0], table->limits.is64), 0, def->count))
                return err_set(report, ERR_TRAP,
                               "out of bounds table access: element segment %u does not fit", i);
        }
        instance->elem_dropped[i] = 1;
    }
    const struct wasm_image *image = m->data_count > 0 ? wasm_image_get(instance->module) : NULL;
    if (image && !wasm_image_map(image, instance->memories[0]))
        return err_set(report, ERR_MEMORY, "no memory mapping left for another instance");
    for (uint32_t i = 0; i < m->data_count; i++) {
        const struct wasm_data_def *def = &m->datas[i];
        if (def->mode != WASM_ACTIVE)
            continue;
        if (image) {
            instance->data_dropped[i] = 1;
            continue;
        }
        struct wasm_memory *memory = instance->memories[def->memory];
        if (!evaluate(instance, &def->offset, value))
            return err_set(report, ERR_MEMORY, "out of memory instantiating a module");
        uint64_t at = offset_of(value[0], memory->limits.is64);
        if (def->bytes > memory->bytes || at > memory->bytes - def->bytes)
            return err_set(report, ERR_TRAP,
                           "out of bounds memory access: data segment %u does not fit", i);
        if (def->bytes > 0) {
            wasm_memory_populate(memory, at, def->bytes);
            memcpy(memory->data + at, def->data, def->bytes);
        }
        instance->data_dropped[i] = 1;
    }
    return ERR_OK;
}

/* ---- the public face --------------------------------------------------------------------- */

enum err wasm_instance_create(struct wasm_store *store, struct wasm_module *module,
                              const struct wasm_extern *imports, uint32_t import_count,
                              struct wasm_instance **out, struct report *report)
{
    *out = NULL;
    struct wasm_program *program = wasm_program_get(module);
    struct wasm_instance *instance =
        program ? arena_calloc(&store->arena, 1, sizeof *instance) : NULL;
    if (!instance)
        return err_set(report, ERR_MEMORY, "out of memory instantiating a module");
    instance->store = store;
    instance->module = module;
    instance->program = program;
    if (!allocate(instance))
        return err_set(report, ERR_MEMORY, "out of memory instantiating a module");
    enum err err = link(instance, imports, import_count, report);
    if (err != ERR_OK)
        return err;
    wasm_module_ref(module);
    instance->next = store->instances;
    store->instances = instance;
    make_funcs(instance);
    err = make_objects(instance, report);
    if (err == ERR_OK)
        err = run_segments(instance, report);
    if (err == ERR_OK)
        *out = instance;
    return err;
}

struct wasm_func *wasm_instance_start_func(const struct wasm_instance *instance)
{
    return instance->module->has_start ? wasm_instance_func(instance, instance->module->start)
                                       : NULL;
}

bool wasm_instance_export(const struct wasm_instance *instance, const char *name,
                          size_t name_bytes, struct wasm_extern *out)
{
    const struct wasm_export *export =
        wasm_module_find_export(instance->module, name, name_bytes);
    if (!export)
        return false;
    out->kind = export->type.kind;
    switch (export->type.kind) {
    case WASM_FUNC:
        out->of.func = wasm_instance_func(instance, export->index);
        break;
    case WASM_TABLE:
        out->of.table = instance->tables[export->index];
        break;
    case WASM_MEMORY:
        out->of.memory = instance->memories[export->index];
        break;
    case WASM_GLOBAL:
        out->of.global = instance->globals[export->index];
        break;
    case WASM_TAG:
        out->of.tag = instance->tags[export->index];
        break;
    }
    return true;
}

struct wasm_module *wasm_instance_module(const struct wasm_instance *instance)
{
    return instance->module;
}

void wasm_instance_set_user(struct wasm_instance *instance, void *user)
{
    instance->user = user;
}

void *wasm_instance_user(const struct wasm_instance *instance)
{
    return instance->user;
}
