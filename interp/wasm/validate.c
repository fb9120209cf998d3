/* Validation, as the appendix "Validation Algorithm" of the specification does it: one pass over
 * each body with a stack of operand types and a stack of open control structures. No recursion;
 * time is linear in the bytes (a br_table checks each distinct label once).
 *
 * Always true between instructions: `frame_count` >= 1 until the final `end`; the top frame's
 * height <= `count`; `height` equals the top frame's height. */
#include <stdio.h>
#include <string.h>

#include "engine/base/vec.h"
#include "interp/wasm/limits.h"
#include "interp/wasm/module.h"
#include "interp/wasm/opcodes.h"

/* The types of operands in unreachable code: anything, and any reference. */
enum { UNKNOWN = 0, UNKNOWN_REF = WASM_TYPE_BOTTOM | WASM_NON_NULL };

struct frame {
    uint8_t op; /* WASM_OP_BLOCK, LOOP, IF, ELSE, TRY_TABLE */
    bool unreachable;
    uint32_t height; /* of the operand stack below the frame's parameters */
    uint32_t unset; /* how many locals were set when it began: length of validator.set */
    uint64_t br_table_mark;
    struct wasm_functype type; /* its lists are borrowed */
};

/* How the quick way checks a one-byte opcode. */
struct quick {
    uint8_t kind;        /* enum quick_kind */
    uint8_t count;       /* of operands */
    uint8_t align_max;
    uint32_t operands[2];
    uint32_t result;     /* 0: none */
};
enum quick_kind { QUICK_NOT, QUICK_PLAIN, QUICK_CONST, QUICK_MEMARG, QUICK_LOCAL };

struct validator {
    struct wasm_module *module;
    struct report *report;
    enum err err;
    struct { uint32_t *items; size_t count, capacity; } stack;
    struct { struct frame *items; size_t count, capacity; } frames;
    size_t height; /* of the top frame */
    size_t stack_max, label_max;
    uint64_t br_table_count;
    /* The function, or the constant expression, that is being validated. */
    const struct wasm_func_def *func; /* NULL in constant expressions */
    const uint8_t *instr_at;
    const char *op_name;
    /* Of locals that have no value at first: whether they have one here, and those that got it
     * within the open control structures. */
    struct { uint8_t *items; size_t count, capacity; } is_set;
    struct { uint32_t *items; size_t count, capacity; } set;
    char names[2][WASM_TYPE_TEXT_BYTES]; /* for messages */
    unsigned name_turn;
    struct quick quick[256]; /* by opcode */
};

static enum err fail(struct validator *v, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));
static enum err fail(struct validator *v, enum err err, const char *format, ...)
{
    char text[300], place[300];
    va_list args;
    if (v->err)
        return v->err;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    place[0] = '\0';
    if (v->func) {
        uint32_t index = (uint32_t)(v->func - v->module->funcs);
        const char *name = v->module->func_names ? v->module->func_names[index] : NULL;
        (void)snprintf(place, sizeof place, "function %u%s%.200s%s", index, name ? " (" : "",
                       name ? name : "", name ? ")" : "");
    } else {
        (void)snprintf(place, sizeof place, "constant expression");
    }
    v->err = err_set(v->report, err, "%s at offset 0x%zx: %s%s%s", place,
                     (size_t)(v->instr_at - v->module->bytes), v->op_name ? v->op_name : "",
                     v->op_name ? ": " : "", text);
    return v->err;
}

/* ---- operands ---------------------------------------------------------------------------- */

static bool push(struct validator *v, uint32_t type)
{
    if (__builtin_expect(v->stack.count == v->stack.capacity, 0)) {
        if (v->stack.count >= WASM_STACK_MAX) {
            (void)fail(v, ERR_LIMIT, "more than %d operands on the stack", WASM_STACK_MAX);
            return false;
        }
        if (!vec_reserve(NULL, &v->stack, 1)) {
            (void)fail(v, ERR_MEMORY, "out of memory");
            return false;
        }
    }
    v->stack.items[v->stack.count++] = type;
    if (v->stack.count > v->stack_max)
        v->stack_max = v->stack.count;
    return true;
}

/* Valid until the next call but one. */
static const char *type_name(struct validator *v, uint32_t type)
{
    return type == UNKNOWN ? "any"
                           : wasm_type_text(v->module, type, v->names[v->name_turn++ % 2]);
}

/* The type on top, taken; at the frame's floor: unknown in unreachable code, else an error. */
static bool pop_any(struct validator *v, uint32_t *type)
{
    if (__builtin_expect(v->stack.count == v->height, 0)) {
        *type = UNKNOWN;
        if (v->frames.items[v->frames.count - 1].unreachable)
            return true;
        (void)fail(v, ERR_INVALID, "type mismatch: expected an operand, found none");
        return false;
    }
    *type = v->stack.items[--v->stack.count];
    return true;
}

static bool pop_slow(struct validator *v, uint32_t expected)
{
    if (v->stack.count == v->height) {
        if (v->frames.items[v->frames.count - 1].unreachable)
            return true;
        (void)fail(v, ERR_INVALID, "type mismatch: expected %s, found nothing",
                   type_name(v, expected));
        return false;
    }
    uint32_t found = v->stack.items[--v->stack.count];
    if (found == UNKNOWN || wasm_type_matches(found, expected))
        return true;
    (void)fail(v, ERR_INVALID, "type mismatch: expected %s, found %s", type_name(v, expected),
               type_name(v, found));
    return false;
}

static inline bool pop(struct validator *v, uint32_t expected)
{
    if (__builtin_expect(v->stack.count > v->height &&
                             v->stack.items[v->stack.count - 1] == expected, 1)) {
        v->stack.count--;
        return true;
    }
    return pop_slow(v, expected);
}

/* The operands on top are exactly these. Lists are compared and copied whole: a block or function
 * type may name a thousand types, and two bytes of a body can ask for all of them. */
static bool is_on_top(const struct validator *v, const uint32_t *types, uint32_t count)
{
    return v->stack.count - v->height >= count &&
           (count == 0 || memcmp(v->stack.items + v->stack.count - count, types,
                         count * sizeof *types) == 0);
}

static bool pop_list(struct validator *v, const uint32_t *types, uint32_t count)
{
    if (is_on_top(v, types, count)) {
        v->stack.count -= count;
        return true;
    }
    for (uint32_t i = count; i > 0; i--) {
        if (v->stack.count == v->height && v->frames.items[v->frames.count - 1].unreachable)
            return true; /* whatever is missing is there */
        if (!pop(v, types[i - 1]))
            return false;
    }
    return true;
}

static bool push_list(struct validator *v, const uint32_t *types, uint32_t count)
{
    if (v->stack.capacity - v->stack.count < count) {
        for (uint32_t i = 0; i < count; i++)
            if (!push(v, types[i]))
                return false;
    } else if (count > 0) {
        memcpy(v->stack.items + v->stack.count, types, count * sizeof *types);
        v->stack.count += count;
        if (v->stack.count > v->stack_max)
            v->stack_max = v->stack.count;
    }
    return true;
}

/* ---- control ----------------------------------------------------------------------------- */

static bool push_frame(struct validator *v, uint32_t op, const struct wasm_functype *type)
{
    if (v->frames.count >= WASM_LABELS_MAX) {
        (void)fail(v, ERR_LIMIT, "more than %d nested control structures", WASM_LABELS_MAX);
        return false;
    }
    if (!vec_reserve(NULL, &v->frames, 1)) {
        (void)fail(v, ERR_MEMORY, "out of memory");
        return false;
    }
    v->height = v->stack.count;
    v->frames.items[v->frames.count++] =
        (struct frame){.op = (uint8_t)op,
                       .height = (uint32_t)v->height,
                       .unset = (uint32_t)v->set.count,
                       .type = *type};
    if (v->frames.count > v->label_max)
        v->label_max = v->frames.count;
    return push_list(v, type->params, type->param_count);
}

/* Checks the results of the top frame and closes it; `frame` is a copy. */
static bool pop_frame(struct validator *v, struct frame *frame)
{
    *frame = v->frames.items[v->frames.count - 1];
    if (!pop_list(v, frame->type.results, frame->type.result_count))
        return false;
    if (v->stack.count != v->height) {
        (void)fail(v, ERR_INVALID,
                   "type mismatch: %zu more operand%s at the end of the block than its type has",
                   v->stack.count - v->height, v->stack.count - v->height == 1 ? "" : "s");
        return false;
    }
    while (v->set.count > frame->unset)
        v->is_set.items[v->set.items[--v->set.count]] = false;
    v->frames.count--;
    v->height = v->frames.count ? v->frames.items[v->frames.count - 1].height : 0;
    return true;
}

static void set_unreachable(struct validator *v)
{
    v->stack.count = v->height;
    v->frames.items[v->frames.count - 1].unreachable = true;
}

/* What a branch to the label carries; the lists are borrowed. False: no such label. */
static bool label_types(struct validator *v, uint32_t label, const uint32_t **types,
                        uint32_t *count)
{
    if (label >= v->frames.count) {
        (void)fail(v, ERR_INVALID, "unknown label %u: only %zu are open", label, v->frames.count);
        return false;
    }
    const struct frame *frame = &v->frames.items[v->frames.count - 1 - label];
    bool is_loop = frame->op == WASM_OP_LOOP;
    *types = is_loop ? frame->type.params : frame->type.results;
    *count = is_loop ? frame->type.param_count : frame->type.result_count;
    return true;
}

/* A list of this type alone, which lives as long as the module. */
static const uint32_t *one_type(uint32_t type)
{
#define BOTH(name) {name, name | WASM_NON_NULL}
    enum { FIRST = WASM_EXNREF, LAST = WASM_NULLEXNREF };
    static const uint32_t numbers[] = {WASM_V128, WASM_F64, WASM_F32, WASM_I64, WASM_I32};
    static const uint32_t references[][2] = {
        [WASM_EXNREF - FIRST] = BOTH(WASM_EXNREF),
        [WASM_ARRAYREF - FIRST] = BOTH(WASM_ARRAYREF),
        [WASM_STRUCTREF - FIRST] = BOTH(WASM_STRUCTREF),
        [WASM_I31REF - FIRST] = BOTH(WASM_I31REF),
        [WASM_EQREF - FIRST] = BOTH(WASM_EQREF),
        [WASM_ANYREF - FIRST] = BOTH(WASM_ANYREF),
        [WASM_EXTERNREF - FIRST] = BOTH(WASM_EXTERNREF),
        [WASM_FUNCREF - FIRST] = BOTH(WASM_FUNCREF),
        [WASM_NULLREF - FIRST] = BOTH(WASM_NULLREF),
        [WASM_NULLEXTERNREF - FIRST] = BOTH(WASM_NULLEXTERNREF),
        [WASM_NULLFUNCREF - FIRST] = BOTH(WASM_NULLFUNCREF),
        [WASM_NULLEXNREF - FIRST] = BOTH(WASM_NULLEXNREF),
    };
#undef BOTH
    bool non_null = !wasm_type_is_nullable(type);
    if (wasm_type_is_defined(type))
        return &wasm_type_defined(type)->value_types[non_null];
    if (wasm_type_is_ref(type))
        return &references[(type & 0xFF) - FIRST][non_null];
    return &numbers[type - WASM_V128];
}

/* A type that the instruction names. */
static bool resolve(struct validator *v, uint32_t *type)
{
    if (wasm_module_resolve(v->module, type))
        return true;
    (void)fail(v, ERR_INVALID, "unknown type %u", *type >> WASM_TYPE_NUMBER_SHIFT);
    return false;
}

/* A type of the module that is a function, a structure or an array; NULL after failing. */
static const struct wasm_def_type *def_type(struct validator *v, uint64_t index,
                                            enum wasm_def_kind kind)
{
    static const char *const kinds[] = {"function", "structure", "array"};
    if (index >= v->module->type_count) {
        (void)fail(v, ERR_INVALID, "unknown type %llu", (unsigned long long)index);
        return NULL;
    }
    const struct wasm_def_type *type = v->module->types[index];
    if (type->kind == kind)
        return type;
    (void)fail(v, ERR_INVALID, "type mismatch: type %llu is no %s type",
               (unsigned long long)index, kinds[kind]);
    return NULL;
}

static bool block_functype(struct validator *v, const struct wasm_instr *instr,
                           struct wasm_functype *type)
{
    *type = (struct wasm_functype){0};
    if (instr->block_type == WASM_BLOCK_VALUE) {
        uint32_t value = instr->block_value;
        if (!resolve(v, &value))
            return false;
        type->results = one_type(value);
        type->result_count = 1;
    } else if (instr->block_type >= 0) {
        const struct wasm_def_type *def = def_type(v, (uint64_t)instr->block_type, WASM_DEF_FUNC);
        if (!def)
            return false;
        *type = def->func;
    }
    return true;
}

static bool lists_match(const uint32_t *sub, const uint32_t *super, uint32_t count)
{
    if (count == 0 || memcmp(sub, super, count * sizeof *sub) == 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (!wasm_type_matches(sub[i], super[i]))
            return false;
    return true;
}

/* The operands of a br_table are checked against a label without being taken. */
static bool peek_list(struct validator *v, const uint32_t *types, uint32_t count)
{
    if (is_on_top(v, types, count))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        if (v->stack.count - v->height <= i) {
            if (v->frames.items[v->frames.count - 1].unreachable)
                return true;
            (void)fail(v, ERR_INVALID, "type mismatch: expected %s, found nothing",
                       type_name(v, types[count - 1 - i]));
            return false;
        }
        uint32_t found = v->stack.items[v->stack.count - 1 - i];
        if (found != UNKNOWN && !wasm_type_matches(found, types[count - 1 - i])) {
            (void)fail(v, ERR_INVALID, "type mismatch: expected %s, found %s",
                       type_name(v, types[count - 1 - i]), type_name(v, found));
            return false;
        }
    }
    return true;
}

static bool br_table(struct validator *v, const struct wasm_instr *instr)
{
    const uint32_t *types, *default_types;
    uint32_t count, default_count;
    if (!pop(v, WASM_I32) || !label_types(v, instr->index, &default_types, &default_count))
        return false;
    uint64_t mark = ++v->br_table_count;
    const uint8_t *at = instr->vector;
    for (uint32_t i = 0; i < instr->count; i++) {
        uint32_t label = wasm_leb_u32_trusted(&at);
        if (!label_types(v, label, &types, &count))
            return false;
        struct frame *frame = &v->frames.items[v->frames.count - 1 - label];
        if (frame->br_table_mark == mark)
            continue;
        frame->br_table_mark = mark;
        if (count != default_count) {
            (void)fail(v, ERR_INVALID,
                       "type mismatch: label %u takes %u operands, the default label %u", label,
                       count, default_count);
            return false;
        }
        if (!peek_list(v, types, count))
            return false;
    }
    if (!pop_list(v, default_types, default_count))
        return false;
    set_unreachable(v);
    return true;
}

static bool check_tag(struct validator *v, uint32_t index)
{
    if (index < v->module->tag_count)
        return true;
    (void)fail(v, ERR_INVALID, "unknown tag %u", index);
    return false;
}

/* Each clause's label, seen from outside the try_table, must take exactly what is caught. */
static bool catches(struct validator *v, const struct wasm_instr *instr)
{
    const uint8_t *at = instr->vector;
    for (uint32_t i = 0; i < instr->count; i++) {
        uint8_t kind = *at++;
        struct wasm_functype caught = {0};
        if (kind == WASM_CATCH || kind == WASM_CATCH_REF) {
            uint32_t tag = wasm_leb_u32_trusted(&at);
            if (!check_tag(v, tag))
                return false;
            caught = v->module->types[v->module->tags[tag].type_index]->func;
        }
        uint32_t label = wasm_leb_u32_trusted(&at);
        const uint32_t *types;
        uint32_t count;
        if (!label_types(v, label, &types, &count))
            return false;
        bool has_ref = kind == WASM_CATCH_REF || kind == WASM_CATCH_ALL_REF;
        bool fits = count == caught.param_count + has_ref &&
                    lists_match(caught.params, types, caught.param_count) &&
                    (!has_ref ||
                     wasm_type_matches(WASM_EXNREF | WASM_NON_NULL, types[count - 1]));
        if (!fits) {
            (void)fail(v, ERR_INVALID,
                       "type mismatch: catch clause %u does not fit its label %u", i, label);
            return false;
        }
    }
    return true;
}

/* ---- index spaces ------------------------------------------------------------------------ */

static uint32_t address_type(const struct wasm_limits *limits)
{
    return limits->is64 ? WASM_I64 : WASM_I32;
}

static bool memory_address(struct validator *v, uint32_t index, uint32_t *type)
{
    if (index >= v->module->memory_count) {
        (void)fail(v, ERR_INVALID, "unknown memory %u", index);
        return false;
    }
    *type = address_type(&v->module->memories[index].limits);
    return true;
}

static const struct wasm_table_def *table_at(struct validator *v, uint32_t index)
{
    if (index >= v->module->table_count) {
        (void)fail(v, ERR_INVALID, "unknown table %u", index);
        return NULL;
    }
    return &v->module->tables[index];
}

static const struct wasm_elem_def *elem_at(struct validator *v, uint32_t index)
{
    if (index >= v->module->elem_count) {
        (void)fail(v, ERR_INVALID, "unknown elem segment %u", index);
        return NULL;
    }
    return &v->module->elems[index];
}

static bool check_data(struct validator *v, uint32_t index)
{
    if (!v->module->has_data_count) {
        (void)fail(v, ERR_INVALID, "data count section required");
        return false;
    }
    if (index >= v->module->data_count) {
        (void)fail(v, ERR_INVALID, "unknown data segment %u", index);
        return false;
    }
    return true;
}

static bool check_memarg(struct validator *v, const struct wasm_instr *instr, uint32_t *type)
{
    if (!memory_address(v, instr->index, type))
        return false;
    if (instr->align > wasm_op_infos[instr->op].number) {
        (void)fail(v, ERR_INVALID, "alignment must not be larger than natural");
        return false;
    }
    if (*type == WASM_I32 && instr->offset > UINT32_MAX) {
        (void)fail(v, ERR_INVALID, "offset out of range: a 32-bit memory is addressed");
        return false;
    }
    return true;
}

static const struct wasm_functype *func_type(struct validator *v, uint32_t index)
{
    if (index >= v->module->func_count) {
        (void)fail(v, ERR_INVALID, "unknown function %u", index);
        return NULL;
    }
    return &v->module->types[v->module->funcs[index].type_index]->func;
}

/* The callee's type, its table's index operand already taken. */
static const struct wasm_functype *indirect_type(struct validator *v,
                                                 const struct wasm_instr *instr)
{
    const struct wasm_table_def *table = table_at(v, instr->index2);
    if (!table)
        return NULL;
    if (!wasm_type_matches(table->type, WASM_FUNCREF)) {
        (void)fail(v, ERR_INVALID, "type mismatch: table %u holds %s, not funcref",
                   instr->index2, type_name(v, table->type));
        return NULL;
    }
    const struct wasm_def_type *type = def_type(v, instr->index, WASM_DEF_FUNC);
    return type && pop(v, address_type(&table->limits)) ? &type->func : NULL;
}

/* As indirect_type, of a function reference that is taken. */
static const struct wasm_functype *ref_type(struct validator *v, const struct wasm_instr *instr)
{
    const struct wasm_def_type *type = def_type(v, instr->index, WASM_DEF_FUNC);
    return type && pop(v, type->value_types[0]) ? &type->func : NULL;
}

static bool call(struct validator *v, const struct wasm_functype *type)
{
    return type && pop_list(v, type->params, type->param_count) &&
           push_list(v, type->results, type->result_count);
}

static bool tail_call(struct validator *v, const struct wasm_functype *type)
{
    if (!type)
        return false;
    const struct wasm_functype *own = &v->frames.items[0].type;
    if (type->result_count != own->result_count ||
        !lists_match(type->results, own->results, own->result_count)) {
        (void)fail(v, ERR_INVALID,
                   "type mismatch: the callee's results are not the caller's results");
        return false;
    }
    if (!pop_list(v, type->params, type->param_count))
        return false;
    set_unreachable(v);
    return true;
}

static bool check_local(struct validator *v, uint32_t index, uint32_t *type)
{
    if (index >= v->func->local_count) {
        (void)fail(v, ERR_INVALID, "unknown local %u: the function has %u", index,
                   v->func->local_count);
        return false;
    }
    *type = v->func->local_types[index];
    return true;
}

static bool is_unset(const struct validator *v, uint32_t index, uint32_t type)
{
    return !wasm_type_is_defaultable(type) && index < v->is_set.count && !v->is_set.items[index];
}

static bool local_get(struct validator *v, uint32_t index)
{
    uint32_t type;
    if (!check_local(v, index, &type))
        return false;
    if (is_unset(v, index, type)) {
        (void)fail(v, ERR_INVALID, "uninitialized local %u", index);
        return false;
    }
    return push(v, type);
}

static bool local_set(struct validator *v, uint32_t index, uint32_t *type)
{
    if (!check_local(v, index, type) || !pop(v, *type))
        return false;
    if (is_unset(v, index, *type)) {
        if (!vec_push(NULL, &v->set, index)) {
            (void)fail(v, ERR_MEMORY, "out of memory");
            return false;
        }
        v->is_set.items[index] = true;
    }
    return true;
}

/* ---- references -------------------------------------------------------------------------- */

static bool pop_ref(struct validator *v, uint32_t *type)
{
    if (!pop_any(v, type))
        return false;
    if (*type == UNKNOWN)
        *type = UNKNOWN_REF;
    if (wasm_type_is_ref(*type))
        return true;
    (void)fail(v, ERR_INVALID, "type mismatch: expected a reference, found %s",
               type_name(v, *type));
    return false;
}

static bool fits(struct validator *v, uint32_t found, uint32_t wanted, const char *what)
{
    if (wasm_type_matches(found, wanted))
        return true;
    (void)fail(v, ERR_INVALID, "type mismatch: %s is %s, not %s", what, type_name(v, found),
               type_name(v, wanted));
    return false;
}

/* What a branch carries, whose last value is a reference; the others are checked and stay. */
static bool branch_with_ref(struct validator *v, uint32_t label, uint32_t type)
{
    const uint32_t *types;
    uint32_t count;
    if (!label_types(v, label, &types, &count))
        return false;
    if (count == 0) {
        (void)fail(v, ERR_INVALID, "type mismatch: label %u takes no reference", label);
        return false;
    }
    return fits(v, type, types[count - 1], "the reference") && pop_list(v, types, count - 1) &&
           push_list(v, types, count - 1);
}

static bool br_on_null(struct validator *v, const struct wasm_instr *instr)
{
    const uint32_t *types;
    uint32_t type, count;
    if (!pop_ref(v, &type))
        return false;
    if (instr->op == WASM_OP_BR_ON_NON_NULL)
        return branch_with_ref(v, instr->index, type | WASM_NON_NULL);
    return label_types(v, instr->index, &types, &count) && pop_list(v, types, count) &&
           push_list(v, types, count) && push(v, type | WASM_NON_NULL);
}

static bool br_on_cast(struct validator *v, const struct wasm_instr *instr)
{
    uint32_t from = instr->type, to = instr->type2;
    if (!resolve(v, &from) || !resolve(v, &to) || !fits(v, to, from, "the target of the cast") ||
        !pop(v, from))
        return false;
    uint32_t rest = from | (wasm_type_is_nullable(to) ? WASM_NON_NULL : 0);
    bool on_fail = instr->op == WASM_OP_BR_ON_CAST_FAIL;
    return branch_with_ref(v, instr->index, on_fail ? rest : to) && push(v, on_fail ? to : rest);
}

/* ---- objects ----------------------------------------------------------------------------- */

/* A field's type on the stack. */
static uint32_t unpacked(uint32_t type)
{
    return type == WASM_I8 || type == WASM_I16 ? (uint32_t)WASM_I32 : type;
}

static const struct wasm_field *check_field(struct validator *v, const struct wasm_field *field,
                                            bool is_get, bool is_plain)
{
    bool packed = field->type == WASM_I8 || field->type == WASM_I16;
    if (is_get && packed == is_plain) {
        (void)fail(v, ERR_INVALID, packed ? "type mismatch: a packed field wants _s or _u"
                                          : "type mismatch: the field is not packed");
        return NULL;
    }
    if (!is_get && !field->mutable_) {
        (void)fail(v, ERR_INVALID, "immutable field or array");
        return NULL;
    }
    return field;
}

static bool struct_op(struct validator *v, const struct wasm_instr *instr)
{
    const struct wasm_def_type *type = def_type(v, instr->index, WASM_DEF_STRUCT);
    if (!type)
        return false;
    if (instr->op == WASM_OP_STRUCT_NEW) {
        for (uint32_t i = type->field_count; i-- > 0;)
            if (!pop(v, unpacked(type->fields[i].type)))
                return false;
        return push(v, type->value_types[1]);
    }
    if (instr->op == WASM_OP_STRUCT_NEW_DEFAULT) {
        for (uint32_t i = 0; i < type->field_count; i++)
            if (!wasm_type_is_defaultable(type->fields[i].type)) {
                (void)fail(v, ERR_INVALID, "type mismatch: field %u has no default value", i);
                return false;
            }
        return push(v, type->value_types[1]);
    }
    if (instr->index2 >= type->field_count) {
        (void)fail(v, ERR_INVALID, "unknown field %u", instr->index2);
        return false;
    }
    bool is_get = instr->op != WASM_OP_STRUCT_SET;
    const struct wasm_field *field =
        check_field(v, &type->fields[instr->index2], is_get, instr->op == WASM_OP_STRUCT_GET);
    if (!field)
        return false;
    uint32_t value = unpacked(field->type);
    return is_get ? pop(v, type->value_types[0]) && push(v, value)
                  : pop(v, value) && pop(v, type->value_types[0]);
}

static bool is_plain_data(struct validator *v, uint32_t type)
{
    if (!wasm_type_is_ref(type))
        return true;
    (void)fail(v, ERR_INVALID, "type mismatch: array type is not numeric or vector");
    return false;
}

static bool elem_fits(struct validator *v, uint32_t index, uint32_t type)
{
    const struct wasm_elem_def *elem = elem_at(v, index);
    return elem && fits(v, elem->type, type, "the segment's type");
}

static bool pop_i32s(struct validator *v, unsigned count)
{
    while (count-- > 0)
        if (!pop(v, WASM_I32))
            return false;
    return true;
}

static bool array_new_fixed(struct validator *v, uint32_t count, uint32_t value)
{
    for (; count > 0; count--) {
        if (v->stack.count == v->height && v->frames.items[v->frames.count - 1].unreachable)
            return true; /* as many as are wanted */
        if (!pop(v, value))
            return false;
    }
    return true;
}

static bool array_copy(struct validator *v, const struct wasm_instr *instr,
                       const struct wasm_def_type *to)
{
    const struct wasm_def_type *from = def_type(v, instr->index2, WASM_DEF_ARRAY);
    return from && fits(v, from->fields[0].type, to->fields[0].type, "the source's element") &&
           pop_i32s(v, 2) && pop(v, from->value_types[0]) && pop_i32s(v, 1) &&
           pop(v, to->value_types[0]);
}

static bool array_op(struct validator *v, const struct wasm_instr *instr)
{
    const struct wasm_def_type *type = def_type(v, instr->index, WASM_DEF_ARRAY);
    if (!type)
        return false;
    const struct wasm_field *element = &type->fields[0];
    uint32_t value = unpacked(element->type), ref = type->value_types[0];
    uint32_t made = type->value_types[1];
    bool is_get = instr->op == WASM_OP_ARRAY_GET || instr->op == WASM_OP_ARRAY_GET_S ||
                  instr->op == WASM_OP_ARRAY_GET_U;
    bool is_write = instr->op == WASM_OP_ARRAY_SET || instr->op == WASM_OP_ARRAY_FILL ||
                    instr->op == WASM_OP_ARRAY_COPY || instr->op == WASM_OP_ARRAY_INIT_DATA ||
                    instr->op == WASM_OP_ARRAY_INIT_ELEM;
    if ((is_get || is_write) && !check_field(v, element, is_get, instr->op == WASM_OP_ARRAY_GET))
        return false;
    switch (instr->op) {
    case WASM_OP_ARRAY_NEW:
        return pop_i32s(v, 1) && pop(v, value) && push(v, made);
    case WASM_OP_ARRAY_NEW_DEFAULT:
        if (!wasm_type_is_defaultable(element->type)) {
            (void)fail(v, ERR_INVALID, "type mismatch: the element has no default value");
            return false;
        }
        return pop_i32s(v, 1) && push(v, made);
    case WASM_OP_ARRAY_NEW_FIXED:
        return array_new_fixed(v, instr->index2, value) && push(v, made);
    case WASM_OP_ARRAY_NEW_DATA:
        return is_plain_data(v, element->type) && check_data(v, instr->index2) && pop_i32s(v, 2) &&
               push(v, made);
    case WASM_OP_ARRAY_NEW_ELEM:
        return elem_fits(v, instr->index2, element->type) && pop_i32s(v, 2) && push(v, made);
    case WASM_OP_ARRAY_SET:
        return pop(v, value) && pop_i32s(v, 1) && pop(v, ref);
    case WASM_OP_ARRAY_FILL:
        return pop_i32s(v, 1) && pop(v, value) && pop_i32s(v, 1) && pop(v, ref);
    case WASM_OP_ARRAY_COPY:
        return array_copy(v, instr, type);
    case WASM_OP_ARRAY_INIT_DATA:
        return is_plain_data(v, element->type) && check_data(v, instr->index2) && pop_i32s(v, 3) &&
               pop(v, ref);
    case WASM_OP_ARRAY_INIT_ELEM:
        return elem_fits(v, instr->index2, element->type) && pop_i32s(v, 3) && pop(v, ref);
    default: /* array.get and its kin */
        return pop_i32s(v, 1) && pop(v, ref) && push(v, value);
    }
}

/* From one hierarchy to the other; null stays null. */
static bool convert(struct validator *v, uint32_t from, uint32_t to)
{
    uint32_t type;
    return pop_ref(v, &type) && fits(v, type, from, "the operand") &&
           push(v, to | (type & WASM_NON_NULL));
}

/* ---- instructions ------------------------------------------------------------------------ */

static bool select_untyped(struct validator *v)
{
    uint32_t a, b;
    if (!pop(v, WASM_I32) || !pop_any(v, &b) || !pop_any(v, &a))
        return false;
    uint32_t type = a == UNKNOWN ? b : a;
    if (a != b && a != UNKNOWN && b != UNKNOWN) {
        (void)fail(v, ERR_INVALID, "type mismatch: the operands are %s and %s",
                   type_name(v, a), type_name(v, b));
        return false;
    }
    if (wasm_type_is_ref(a) || wasm_type_is_ref(b)) {
        (void)fail(v, ERR_INVALID, "type mismatch: select without a type on references");
        return false;
    }
    return push(v, type);
}

static bool table_op(struct validator *v, const struct wasm_instr *instr)
{
    const struct wasm_table_def *table = table_at(v, instr->index);
    if (!table)
        return false;
    uint32_t at = address_type(&table->limits);
    switch (instr->op) {
    case WASM_OP_TABLE_GET: return pop(v, at) && push(v, table->type);
    case WASM_OP_TABLE_SET: return pop(v, table->type) && pop(v, at);
    case WASM_OP_TABLE_SIZE: return push(v, at);
    case WASM_OP_TABLE_GROW: return pop(v, at) && pop(v, table->type) && push(v, at);
    case WASM_OP_TABLE_FILL: return pop(v, at) && pop(v, table->type) && pop(v, at);
    case WASM_OP_TABLE_COPY: {
        const struct wasm_table_def *from = table_at(v, instr->index2);
        if (!from)
            return false;
        if (!wasm_type_matches(from->type, table->type)) {
            (void)fail(v, ERR_INVALID, "type mismatch: table of %s copied to table of %s",
                       type_name(v, from->type), type_name(v, table->type));
            return false;
        }
        uint32_t at_from = address_type(&from->limits);
        return pop(v, at == WASM_I64 ? at_from : at) && pop(v, at_from) && pop(v, at);
    }
    default: return false;
    }
}

static bool table_init(struct validator *v, const struct wasm_instr *instr)
{
    const struct wasm_table_def *table = table_at(v, instr->index2);
    const struct wasm_elem_def *elem = table ? elem_at(v, instr->index) : NULL;
    if (!elem)
        return false;
    if (!wasm_type_matches(elem->type, table->type)) {
        (void)fail(v, ERR_INVALID, "type mismatch: segment of %s into table of %s",
                   type_name(v, elem->type), type_name(v, table->type));
        return false;
    }
    return pop(v, WASM_I32) && pop(v, WASM_I32) && pop(v, address_type(&table->limits));
}

/* Instructions whose types depend on more than opcodes.def can say. */
static bool special(struct validator *v, const struct wasm_instr *instr)
{
    struct wasm_functype type;
    const struct wasm_functype *callee;
    struct frame frame;
    const uint32_t *types;
    uint32_t count, a, b;

    switch (instr->op) {
    case WASM_OP_UNREACHABLE:
        set_unreachable(v);
        return true;
    case WASM_OP_BLOCK:
    case WASM_OP_LOOP:
        return block_functype(v, instr, &type) && pop_list(v, type.params, type.param_count) &&
               push_frame(v, instr->op, &type);
    case WASM_OP_IF:
        return block_functype(v, instr, &type) && pop(v, WASM_I32) &&
               pop_list(v, type.params, type.param_count) && push_frame(v, instr->op, &type);
    case WASM_OP_TRY_TABLE:
        return block_functype(v, instr, &type) && pop_list(v, type.params, type.param_count) &&
               catches(v, instr) && push_frame(v, instr->op, &type);
    case WASM_OP_ELSE:
        if (v->frames.items[v->frames.count - 1].op != WASM_OP_IF) {
            (void)fail(v, ERR_INVALID, "else without if");
            return false;
        }
        return pop_frame(v, &frame) && push_frame(v, WASM_OP_ELSE, &frame.type);
    case WASM_OP_END:
        if (!pop_frame(v, &frame))
            return false;
        /* An `if` without `else` passes its parameters through. */
        if (frame.op == WASM_OP_IF &&
            (frame.type.param_count != frame.type.result_count ||
             !lists_match(frame.type.params, frame.type.results, frame.type.param_count))) {
            (void)fail(v, ERR_INVALID, "type mismatch: if without else must give what it takes");
            return false;
        }
        return push_list(v, frame.type.results, frame.type.result_count);
    case WASM_OP_BR:
        if (!label_types(v, instr->index, &types, &count) || !pop_list(v, types, count))
            return false;
        set_unreachable(v);
        return true;
    case WASM_OP_BR_IF:
        return pop(v, WASM_I32) && label_types(v, instr->index, &types, &count) &&
               pop_list(v, types, count) && push_list(v, types, count);
    case WASM_OP_BR_TABLE:
        return br_table(v, instr);
    case WASM_OP_RETURN:
        if (!pop_list(v, v->frames.items[0].type.results, v->frames.items[0].type.result_count))
            return false;
        set_unreachable(v);
        return true;
    case WASM_OP_CALL:
        return call(v, func_type(v, instr->index));
    case WASM_OP_CALL_INDIRECT:
        return call(v, indirect_type(v, instr));
    case WASM_OP_RETURN_CALL:
        return tail_call(v, func_type(v, instr->index));
    case WASM_OP_RETURN_CALL_INDIRECT:
        return tail_call(v, indirect_type(v, instr));
    case WASM_OP_CALL_REF:
        return call(v, ref_type(v, instr));
    case WASM_OP_RETURN_CALL_REF:
        return tail_call(v, ref_type(v, instr));
    case WASM_OP_THROW:
        if (!check_tag(v, instr->index))
            return false;
        callee = &v->module->types[v->module->tags[instr->index].type_index]->func;
        if (!pop_list(v, callee->params, callee->param_count))
            return false;
        set_unreachable(v);
        return true;
    case WASM_OP_THROW_REF:
        if (!pop(v, WASM_EXNREF))
            return false;
        set_unreachable(v);
        return true;
    case WASM_OP_DROP:
        return pop_any(v, &a);
    case WASM_OP_SELECT:
        return select_untyped(v);
    case WASM_OP_SELECT_T:
        a = instr->type;
        return resolve(v, &a) && pop(v, WASM_I32) && pop(v, a) && pop(v, a) && push(v, a);
    case WASM_OP_LOCAL_GET:
        return local_get(v, instr->index);
    case WASM_OP_LOCAL_SET:
        return local_set(v, instr->index, &a);
    case WASM_OP_LOCAL_TEE:
        return local_set(v, instr->index, &a) && push(v, a);
    case WASM_OP_GLOBAL_GET:
    case WASM_OP_GLOBAL_SET: {
        if (instr->index >= v->module->global_count) {
            (void)fail(v, ERR_INVALID, "unknown global %u", instr->index);
            return false;
        }
        const struct wasm_global_def *global = &v->module->globals[instr->index];
        if (instr->op == WASM_OP_GLOBAL_GET)
            return push(v, global->type);
        if (!global->mutable_) {
            (void)fail(v, ERR_INVALID, "immutable global %u", instr->index);
            return false;
        }
        return pop(v, global->type);
    }
    case WASM_OP_TABLE_GET: case WASM_OP_TABLE_SET: case WASM_OP_TABLE_SIZE:
    case WASM_OP_TABLE_GROW: case WASM_OP_TABLE_FILL: case WASM_OP_TABLE_COPY:
        return table_op(v, instr);
    case WASM_OP_TABLE_INIT:
        return table_init(v, instr);
    case WASM_OP_ELEM_DROP:
        return elem_at(v, instr->index) != NULL;
    case WASM_OP_DATA_DROP:
        return check_data(v, instr->index);
    case WASM_OP_MEMORY_COPY:
        if (!memory_address(v, instr->index, &a) || !memory_address(v, instr->index2, &b))
            return false;
        return pop(v, a == WASM_I64 ? b : a) && pop(v, b) && pop(v, a);
    case WASM_OP_REF_NULL:
        a = instr->type;
        return resolve(v, &a) && push(v, a);
    case WASM_OP_REF_IS_NULL:
        return pop_ref(v, &a) && push(v, WASM_I32);
    case WASM_OP_REF_FUNC:
        if (!func_type(v, instr->index))
            return false;
        if (!v->module->funcs[instr->index].is_declared) {
            (void)fail(v, ERR_INVALID, "undeclared function reference %u", instr->index);
            return false;
        }
        return push(v, v->module->types[v->module->funcs[instr->index].type_index]->value_types[1]);
    case WASM_OP_REF_EQ:
        return pop(v, WASM_EQREF) && pop(v, WASM_EQREF) && push(v, WASM_I32);
    case WASM_OP_REF_AS_NON_NULL:
        return pop_ref(v, &a) && push(v, a | WASM_NON_NULL);
    case WASM_OP_BR_ON_NULL:
    case WASM_OP_BR_ON_NON_NULL:
        return br_on_null(v, instr);
    case WASM_OP_BR_ON_CAST:
    case WASM_OP_BR_ON_CAST_FAIL:
        return br_on_cast(v, instr);
    case WASM_OP_REF_TEST: case WASM_OP_REF_TEST_NULL:
    case WASM_OP_REF_CAST: case WASM_OP_REF_CAST_NULL:
        a = instr->type;
        if (!resolve(v, &a) || !pop(v, wasm_type_top(a)))
            return false;
        return push(v, instr->op == WASM_OP_REF_TEST || instr->op == WASM_OP_REF_TEST_NULL
                           ? (uint32_t)WASM_I32 : a);
    case WASM_OP_STRUCT_NEW: case WASM_OP_STRUCT_NEW_DEFAULT: case WASM_OP_STRUCT_GET:
    case WASM_OP_STRUCT_GET_S: case WASM_OP_STRUCT_GET_U: case WASM_OP_STRUCT_SET:
        return struct_op(v, instr);
    case WASM_OP_ARRAY_NEW: case WASM_OP_ARRAY_NEW_DEFAULT: case WASM_OP_ARRAY_NEW_FIXED:
    case WASM_OP_ARRAY_NEW_DATA: case WASM_OP_ARRAY_NEW_ELEM: case WASM_OP_ARRAY_GET:
    case WASM_OP_ARRAY_GET_S: case WASM_OP_ARRAY_GET_U: case WASM_OP_ARRAY_SET:
    case WASM_OP_ARRAY_FILL: case WASM_OP_ARRAY_COPY: case WASM_OP_ARRAY_INIT_DATA:
    case WASM_OP_ARRAY_INIT_ELEM:
        return array_op(v, instr);
    case WASM_OP_ARRAY_LEN:
        return pop(v, WASM_ARRAYREF) && push(v, WASM_I32);
    case WASM_OP_ANY_CONVERT_EXTERN:
        return convert(v, WASM_EXTERNREF, WASM_ANYREF);
    case WASM_OP_EXTERN_CONVERT_ANY:
        return convert(v, WASM_ANYREF, WASM_EXTERNREF);
    case WASM_OP_REF_I31:
        return pop(v, WASM_I32) && push(v, WASM_I31REF | WASM_NON_NULL);
    case WASM_OP_I31_GET_S: case WASM_OP_I31_GET_U:
        return pop(v, WASM_I31REF) && push(v, WASM_I32);
    default:
        (void)fail(v, ERR_INVALID, "illegal opcode");
        return false;
    }
}

/* Immediates of instructions with a fixed signature; *address is what "a" stands for. */
static bool check_immediates(struct validator *v, const struct wasm_instr *instr,
                             const struct wasm_op_info *info, uint32_t *address)
{
    switch ((enum wasm_imm)info->imm) {
    case WASM_IMM_MEMARG:
        return check_memarg(v, instr, address);
    case WASM_IMM_MEMARG_LANE:
        if (!check_memarg(v, instr, address))
            return false;
        if (instr->lane >= 16 >> info->number)
            break;
        return true;
    case WASM_IMM_LANE:
        if (instr->lane >= info->number)
            break;
        return true;
    case WASM_IMM_SHUFFLE:
        for (unsigned i = 0; i < 16; i++)
            if (instr->vector[i] >= info->number) {
                (void)fail(v, ERR_INVALID, "invalid lane index %u", instr->vector[i]);
                return false;
            }
        return true;
    case WASM_IMM_MEMORY:
        return memory_address(v, instr->index, address);
    case WASM_IMM_MEMORY_INIT:
        return memory_address(v, instr->index2, address) && check_data(v, instr->index);
    default:
        return true;
    }
    (void)fail(v, ERR_INVALID, "invalid lane index %u", instr->lane);
    return false;
}

static bool fixed(struct validator *v, const struct wasm_instr *instr,
                  const struct wasm_op_info *info)
{
    static const uint8_t type_of[128] = {
        ['i'] = WASM_I32, ['I'] = WASM_I64, ['f'] = WASM_F32, ['F'] = WASM_F64, ['V'] = WASM_V128};
    uint32_t address = 0;
    if (info->imm != WASM_IMM_NONE && !check_immediates(v, instr, info, &address))
        return false;
    const char *p = info->operands;
    unsigned n = !p[0] ? 0 : !p[1] ? 1 : !p[2] ? 2 : 3;
    while (n-- > 0)
        if (!pop(v, p[n] == 'a' ? address : type_of[(unsigned char)p[n]]))
            return false;
    char result = info->result[0];
    return !result || push(v, result == 'a' ? address : type_of[(unsigned char)result]);
}

/* ---- the quick way ----------------------------------------------------------------------- */

/* Nine of ten instructions have one-byte opcodes, signatures of numbers and short immediates.
 * Those that are right are checked here; whatever else, right or wrong, goes the long way. */

static void quick_init(struct validator *v)
{
    const struct wasm_module *m = v->module;
    bool has_memory32 = m->memory_count > 0 && !m->memories[0].limits.is64;
    for (unsigned op = 0; op < 256; op++) {
        const struct wasm_op_info *info = &wasm_op_infos[op];
        struct quick *q = &v->quick[op];
        if (!info->name)
            continue;
        switch ((enum wasm_imm)info->imm) {
        case WASM_IMM_NONE: q->kind = QUICK_PLAIN; break;
        case WASM_IMM_I32:
        case WASM_IMM_I64: q->kind = QUICK_CONST; break;
        case WASM_IMM_MEMARG: q->kind = has_memory32 ? QUICK_MEMARG : QUICK_NOT; break;
        default: break;
        }
        q->count = (uint8_t)strlen(info->operands);
        q->align_max = info->number;
        for (unsigned i = 0; i < q->count && i < 2; i++)
            q->operands[i] = info->operands[i] == 'a' ? WASM_I32
                                                      : wasm_op_letter_type(info->operands[i]);
        q->result = wasm_op_letter_type(info->result[0]);
        if (q->count > 2 || (q->count > 0 && !q->operands[0]) ||
            (q->count > 1 && !q->operands[1]) || (info->result[0] && !q->result))
            q->kind = QUICK_NOT;
    }
    v->quick[WASM_OP_LOCAL_GET] = (struct quick){.kind = QUICK_LOCAL, .result = 1};
    v->quick[WASM_OP_LOCAL_SET] = (struct quick){.kind = QUICK_LOCAL, .count = 1};
    v->quick[WASM_OP_LOCAL_TEE] = (struct quick){.kind = QUICK_LOCAL, .count = 1, .result = 1};
}

enum {
    QUICK_LEB_BYTES = 4, /* an integer of so many bytes is in every range */
    QUICK_BYTES = 2 + QUICK_LEB_BYTES,
};

/* Behind an integer of at most QUICK_LEB_BYTES, or NULL. */
static inline const uint8_t *skip_short_leb(const uint8_t *at)
{
    for (unsigned i = 0; i < QUICK_LEB_BYTES; i++)
        if (!(at[i] & 0x80))
            return at + i + 1;
    return NULL;
}

/* Checks the instruction at *at, where QUICK_BYTES can be read, and moves *at behind it. False:
 * nothing has happened. */
static inline bool quick(struct validator *v, const struct wasm_func_def *func,
                         const uint8_t **at)
{
    const uint8_t *next = *at + 1;
    struct quick q = v->quick[**at];
    switch ((enum quick_kind)q.kind) {
    case QUICK_NOT:
        return false;
    case QUICK_PLAIN:
        break;
    case QUICK_CONST:
        next = skip_short_leb(next);
        break;
    case QUICK_MEMARG: /* an alignment above the natural one, or with flags, is no quick case */
        next = *next <= q.align_max ? skip_short_leb(next + 1) : NULL;
        break;
    case QUICK_LOCAL:
        if (*next >= 0x80 || *next >= func->local_count)
            return false;
        q.operands[0] = func->local_types[*next];
        if (q.operands[0] & WASM_NON_NULL)
            return false;
        q.result = q.result ? q.operands[0] : 0;
        next++;
        break;
    }
    size_t count = v->stack.count;
    uint32_t *top = v->stack.items + count;
    if (!next || count - v->height < q.count || count == v->stack.capacity ||
        (q.count > 0 && top[-1] != q.operands[q.count - 1]) ||
        (q.count > 1 && top[-2] != q.operands[0]))
        return false;
    top -= q.count;
    *top = q.result;
    v->stack.count = count - q.count + (q.result != 0);
    if (v->stack.count > v->stack_max)
        v->stack_max = v->stack.count;
    *at = next;
    return true;
}

/* ---- functions and constant expressions -------------------------------------------------- */

static enum err read_failed(struct validator *v, enum wasm_read result, const char *problem,
                            const uint8_t *where)
{
    v->instr_at = where;
    v->op_name = NULL;
    return fail(v, result == WASM_READ_UNSUPPORTED ? ERR_UNSUPPORTED : ERR_INVALID, "%s",
                problem);
}

static void begin(struct validator *v, const struct wasm_func_def *func, const uint8_t *at)
{
    v->func = func;
    v->instr_at = at;
    v->op_name = NULL;
    v->stack.count = v->frames.count = v->is_set.count = v->set.count = 0;
    v->height = v->stack_max = v->label_max = 0;
}

static enum err validate_func(struct validator *v, struct wasm_func_def *func)
{
    const struct wasm_functype *type = &v->module->types[func->type_index]->func;
    const struct wasm_functype own = {.results = type->results,
                                      .result_count = type->result_count};
    const uint8_t *at = func->body, *end = func->body + func->body_bytes;
    struct wasm_instr instr = {0};

    begin(v, func, at);
    if (func->has_unset_locals) {
        if (!vec_reserve(NULL, &v->is_set, func->local_count))
            return fail(v, ERR_MEMORY, "out of memory");
        v->is_set.count = func->local_count;
        memset(v->is_set.items, 0, func->local_count);
        memset(v->is_set.items, 1, type->param_count);
    }
    if (!push_frame(v, WASM_OP_BLOCK, &own))
        return v->err;
    while (v->frames.count > 0) {
        if (end - at >= QUICK_BYTES && quick(v, func, &at))
            continue;
        const char *problem;
        const uint8_t *where;
        v->instr_at = at;
        enum wasm_read result = wasm_instr_read(at, end, &instr, &problem, &where);
        if (result != WASM_READ_OK)
            return read_failed(v, result, problem, where);
        const struct wasm_op_info *info = &wasm_op_infos[instr.op];
        v->op_name = info->name;
        bool is_special = info->operands[0] == '*' || info->result[0] == '*' ||
                          info->imm == WASM_IMM_TABLE || info->imm == WASM_IMM_TABLE_INIT ||
                          info->imm == WASM_IMM_ELEM || info->imm == WASM_IMM_DATA;
        if (!(is_special ? special(v, &instr) : fixed(v, &instr, info)))
            return v->err;
        at = instr.next;
    }
    if (at != end) {
        v->instr_at = at;
        return fail(v, ERR_INVALID,
                    "END opcode expected: the function goes on behind its last end");
    }
    if (v->stack_max > WASM_STACK_MAX) /* push looks only when its memory grows */
        return fail(v, ERR_LIMIT, "more than %d operands on the stack", WASM_STACK_MAX);
    func->stack_max = (uint32_t)v->stack_max;
    func->label_max = (uint32_t)v->label_max;
    func->is_valid = true;
    return ERR_OK;
}

/* `globals_max`: how many globals the expression may see. Marks functions it names. */
static enum err validate_const(struct validator *v, const struct wasm_const_expr *expr,
                               uint32_t type, uint32_t globals_max)
{
    const struct wasm_functype own = {.results = one_type(type), .result_count = 1};
    struct wasm_instr instr = {.next = expr->code};
    begin(v, NULL, expr->code);
    if (!push_frame(v, WASM_OP_BLOCK, &own))
        return v->err;
    while (v->frames.count > 0) {
        const char *problem;
        const uint8_t *where;
        v->instr_at = instr.next;
        enum wasm_read result =
            wasm_instr_read(instr.next, expr->code + expr->bytes, &instr, &problem, &where);
        if (result != WASM_READ_OK)
            return read_failed(v, result, problem, where);
        const struct wasm_op_info *info = &wasm_op_infos[instr.op];
        v->op_name = info->name;
        if (instr.op == WASM_OP_GLOBAL_GET) {
            if (instr.index >= globals_max)
                return fail(v, ERR_INVALID, "unknown global %u", instr.index);
            if (v->module->globals[instr.index].mutable_)
                return fail(v, ERR_INVALID,
                            "constant expression required: global %u is mutable", instr.index);
        }
        if (instr.op == WASM_OP_REF_FUNC && instr.index < v->module->func_count)
            v->module->funcs[instr.index].is_declared = true;
        bool is_special = info->operands[0] == '*' || info->result[0] == '*';
        if (!(is_special ? special(v, &instr) : fixed(v, &instr, info)))
            return v->err;
    }
    return ERR_OK;
}

/* ---- the module -------------------------------------------------------------------------- */

static enum err check_limits(struct validator *v, const struct wasm_limits *limits,
                             const char *what, uint32_t index, uint64_t max32, uint64_t max64)
{
    uint64_t max = limits->is64 ? max64 : max32;
    if (limits->min > max || (limits->max != UINT64_MAX && limits->max > max))
        return err_set(v->report, ERR_INVALID, "%s size: %s %u may have at most %llu %s", what,
                       what, index, (unsigned long long)max,
                       what[0] == 'm' ? "pages" : "elements");
    if (limits->min > limits->max)
        return err_set(v->report, ERR_INVALID,
                       "%s %u: size minimum must not be greater than maximum", what, index);
    return ERR_OK;
}

static enum err validate_elem(struct validator *v, uint32_t index)
{
    struct wasm_module *m = v->module;
    const struct wasm_elem_def *elem = &m->elems[index];
    enum err err = ERR_OK;
    if (elem->mode == WASM_ACTIVE) {
        if (elem->table >= m->table_count)
            return err_set(v->report, ERR_INVALID, "element segment %u: unknown table %u", index,
                           elem->table);
        const struct wasm_table_def *table = &m->tables[elem->table];
        if (!wasm_type_matches(elem->type, table->type))
            return err_set(v->report, ERR_INVALID,
                           "element segment %u: type mismatch: %s into a table of %s", index,
                           type_name(v, elem->type), type_name(v, table->type));
        err = validate_const(v, &elem->offset, address_type(&table->limits), m->global_count);
    }
    for (uint32_t i = 0; i < elem->count && err == ERR_OK; i++) {
        if (elem->exprs) {
            err = validate_const(v, &elem->exprs[i], elem->type, m->global_count);
        } else if (elem->funcs[i] >= m->func_count) {
            err = err_set(v->report, ERR_INVALID, "element segment %u: unknown function %u",
                          index, elem->funcs[i]);
        } else {
            m->funcs[elem->funcs[i]].is_declared = true;
        }
    }
    return err;
}

static enum err validate_data(struct validator *v, uint32_t index)
{
    struct wasm_module *m = v->module;
    const struct wasm_data_def *data = &m->datas[index];
    if (data->mode != WASM_ACTIVE)
        return ERR_OK;
    if (data->memory >= m->memory_count)
        return err_set(v->report, ERR_INVALID, "data segment %u: unknown memory %u", index,
                       data->memory);
    return validate_const(v, &data->offset, address_type(&m->memories[data->memory].limits),
                          m->global_count);
}

static enum err validate_rest(struct validator *v)
{
    struct wasm_module *m = v->module;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < m->memory_count && err == ERR_OK; i++)
        err = check_limits(v, &m->memories[i].limits, "memory", i, 1u << 16, 1ull << 48);
    for (uint32_t i = 0; i < m->table_count && err == ERR_OK; i++) {
        err = check_limits(v, &m->tables[i].limits, "table", i, UINT32_MAX, UINT64_MAX);
        if (err == ERR_OK && !m->tables[i].has_init && i >= m->table_import_count &&
            !wasm_type_is_defaultable(m->tables[i].type))
            err = err_set(v->report, ERR_INVALID,
                          "table %u: type mismatch: %s needs an initial value", i,
                          type_name(v, m->tables[i].type));
        if (err == ERR_OK && m->tables[i].has_init)
            err = validate_const(v, &m->tables[i].init, m->tables[i].type,
                                 m->global_import_count);
    }
    for (uint32_t i = 0; i < m->tag_count && err == ERR_OK; i++)
        if (m->types[m->tags[i].type_index]->func.result_count != 0)
            err = err_set(v->report, ERR_INVALID, "tag %u: non-empty tag result type", i);
    for (uint32_t i = m->global_import_count; i < m->global_count && err == ERR_OK; i++)
        err = validate_const(v, &m->globals[i].init, m->globals[i].type, i);
    if (err == ERR_OK && m->has_start) {
        if (m->start >= m->func_count)
            return err_set(v->report, ERR_INVALID, "start function: unknown function %u",
                           m->start);
        const struct wasm_functype *type = &m->types[m->funcs[m->start].type_index]->func;
        if (type->param_count || type->result_count)
            return err_set(v->report, ERR_INVALID,
                           "start function %u: it must take and give nothing", m->start);
    }
    for (uint32_t i = 0; i < m->elem_count && err == ERR_OK; i++)
        err = validate_elem(v, i);
    for (uint32_t i = 0; i < m->data_count && err == ERR_OK; i++)
        err = validate_data(v, i);
    for (uint32_t i = m->func_import_count; !m->is_known && i < m->func_count && err == ERR_OK; i++)
        err = validate_func(v, &m->funcs[i]);
    return err;
}

enum err wasm_validate(struct wasm_module *module, struct report *report)
{
    struct validator v = {.module = module, .report = report};
    quick_init(&v);
    if (!vec_reserve(NULL, &v.stack, 64)) /* the quick way computes with its address */
        return err_set(report, ERR_MEMORY, "out of memory validating a module");
    enum err err = validate_rest(&v);
    vec_free(NULL, &v.stack);
    vec_free(NULL, &v.frames);
    vec_free(NULL, &v.is_set);
    vec_free(NULL, &v.set);
    return err;
}

enum err wasm_validate_body(struct wasm_module *module, uint32_t index, struct report *report)
{
    struct wasm_func_def *func = &module->funcs[index];
    if (func->is_valid)
        return ERR_OK;
    struct validator v = {.module = module, .report = report};
    quick_init(&v);
    enum err err = validate_func(&v, func);
    vec_free(NULL, &v.stack);
    vec_free(NULL, &v.frames);
    vec_free(NULL, &v.is_set);
    vec_free(NULL, &v.set);
    return err;
}
