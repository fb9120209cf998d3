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

/* Takes `count` cells from the stack; they stay there until the next push. */
static const union wasm_value *take(struct values *stack, uint32_t count)
{
    stack->count -= count;
    return stack->items + stack->count;
}

/* Instructions that make objects. NULL when memory is out. */
static void *evaluate_object(const struct wasm_instance *instance, const struct wasm_instr *instr,
                             struct values *stack)
{
    struct wasm_store *store = instance->store;
    const struct wasm_def_type *type = instance->module->types[instr->index];
    uint32_t slots = 0;
    switch (instr->op) {
    case WASM_OP_STRUCT_NEW:
        for (uint32_t i = 0; i < type->field_count; i++)
            slots += wasm_field_slots(type->fields[i].type);
        return wasm_struct_make(store, type, take(stack, slots));
    case WASM_OP_STRUCT_NEW_DEFAULT:
        return wasm_struct_make(store, type, NULL);
    default:
        break;
    }
    uint32_t length = instr->op == WASM_OP_ARRAY_NEW_FIXED ? instr->index2 : take(stack, 1)->i32;
    const union wasm_value *cells = NULL;
    slots = wasm_field_slots(type->fields[0].type);
    if (instr->op == WASM_OP_ARRAY_NEW)
        cells = take(stack, slots);
    else if (instr->op == WASM_OP_ARRAY_NEW_FIXED)
        cells = take(stack, slots * length);
    struct wasm_array *array = wasm_array_make(store, type, length);
    if (array && instr->op == WASM_OP_ARRAY_NEW_FIXED)
        for (uint32_t i = 0; i < length; i++)
            wasm_array_fill(array, i, 1, cells + (uint64_t)i * slots);
    else if (array)
        wasm_array_fill(array, 0, length, cells);
    return array;
}

static bool evaluate_step(const struct wasm_instance *instance, const struct wasm_instr *instr,
                          struct values *stack)
{
    union wasm_value value = {.i64 = 0};
    switch (instr->op) {
    case WASM_OP_STRUCT_NEW: case WASM_OP_STRUCT_NEW_DEFAULT: case WASM_OP_ARRAY_NEW:
    case WASM_OP_ARRAY_NEW_DEFAULT: case WASM_OP_ARRAY_NEW_FIXED:
        value.ref = evaluate_object(instance, instr, stack);
        if (!value.ref)
            return false;
        break;
    case WASM_OP_REF_I31:
        value.i64 = wasm_ref_of_i31(take(stack, 1)->i32);
        break;
    case WASM_OP_ANY_CONVERT_EXTERN:
        value = *take(stack, 1);
        if (!wasm_ref_internalize(instance->store, &value))
            return false;
        break;
    case WASM_OP_EXTERN_CONVERT_ANY:
        value = *take(stack, 1);
        wasm_ref_externalize(&value);
        break;
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
    instance->store->objects.no_collect++; /* what lies in `stack` has no root */
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
    instance->store->objects.no_collect--;
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

static bool import_matches(const struct wasm_module *module, const struct wasm_import *import,
                           uint32_t index, const struct wasm_extern *given)
{
    if (given->kind != import->type.kind)
        return false;
    switch (import->type.kind) {
    case WASM_FUNC:
        return wasm_def_type_matches(given->of.func->type,
                                     module->types[module->funcs[index].type_index]);
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
        return given->of.global->mutable_ == import->type.mutable_ &&
               (import->type.mutable_
                    ? given->of.global->type == import->type.type
                    : wasm_type_matches(given->of.global->type, import->type.type));
    case WASM_TAG:
        return given->of.tag->type == module->types[module->tags[index].type_index];
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
        if (!import_matches(module, import, index, &imports[i]))
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
    instance->elem_items = arena_calloc(arena, m->elem_count + 1u, sizeof(void **));
    return instance->imports && instance->tables && instance->memories && instance->globals &&
           instance->tags && instance->own_globals && instance->own_refs &&
           instance->elem_dropped && instance->data_dropped && instance->elem_items;
}

static void make_funcs(struct wasm_instance *instance)
{
    const struct wasm_module *m = instance->module;
    struct wasm_program *program = instance->program;
    for (uint32_t i = m->func_import_count; i < m->func_count; i++) {
        uint32_t ref = program->ref_index[i];
        if (ref == UINT32_MAX)
            continue;
        const struct wasm_def_type *def = m->types[m->funcs[i].type_index];
        const struct wasm_functype *type = &def->func;
        instance->own_refs[ref] = (struct wasm_func){
            .type = def,
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
        instance->tags[i]->type = m->types[m->tags[i].type_index];
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

uint64_t wasm_instance_elem_count(const struct wasm_instance *instance, uint32_t elem)
{
    return instance->elem_dropped[elem] ? 0 : instance->module->elems[elem].count;
}

bool wasm_instance_elements(struct wasm_instance *instance, uint32_t elem, uint64_t from,
                            uint64_t count, void **to)
{
    const struct wasm_elem_def *def = &instance->module->elems[elem];
    if (def->funcs) {
        for (uint64_t i = 0; i < count; i++)
            to[i] = wasm_instance_func(instance, def->funcs[from + i]);
        return true;
    }
    for (uint64_t i = 0; i < count; i++) {
        union wasm_value value[2];
        if (instance->elem_items[elem])
            value[0].ref = instance->elem_items[elem][from + i];
        else if (!evaluate(instance, &def->exprs[from + i], value))
            return false;
        to[i] = value[0].ref;
    }
    return true;
}

bool wasm_instance_init_table(struct wasm_instance *instance, uint32_t elem,
                              struct wasm_table *table, uint64_t at, uint64_t from,
                              uint64_t count)
{
    uint64_t available = wasm_instance_elem_count(instance, elem);
    if (count > available || from > available - count || count > table->size ||
        at > table->size - count)
        return false;
    return count == 0 || wasm_instance_elements(instance, elem, from, count, table->items + at);
}

/* The expressions of a passive segment are evaluated once: what they make has an identity. */
static bool keep_elements(struct wasm_instance *instance, uint32_t elem)
{
    const struct wasm_elem_def *def = &instance->module->elems[elem];
    void **items = arena_calloc(&instance->store->arena, def->count + 1u, sizeof *items);
    if (!items || !wasm_instance_elements(instance, elem, 0, def->count, items))
        return false;
    instance->elem_items[elem] = items;
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
        if (def->mode == WASM_PASSIVE) {
            if (def->exprs && !keep_elements(instance, i))
                return err_set(report, ERR_MEMORY, "out of memory instantiating a module");
            continue;
        }
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
    store->objects.no_collect++; /* segments hold values before they are complete */
    err = make_objects(instance, report);
    if (err == ERR_OK)
        err = run_segments(instance, report);
    store->objects.no_collect--;
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
