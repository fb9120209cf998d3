/* A function's validated bytes to internal code, at its first call.
 *
 * One pass. The operand stack of the source is followed symbolically: an entry is a constant, a
 * local that nobody has copied yet, or a temporary in its *home* slot (locals come first in a
 * frame, then one home for each depth of the stack). What is pushed lazily is written out only
 * where somebody needs it in its home: call arguments, block results, before its local changes.
 *
 * Peepholes work on the instruction emitted last, as long as no label lies behind it (`barrier`):
 * a result goes straight into the local that local.set names, a comparison melts into its branch,
 * an addition into the address of a load, and a result that the next instruction consumes stays
 * in the accumulator and never reaches its slot.
 *
 * Invariants:
 * - acc[class].slot is the slot whose value the class's accumulator also holds here, or -1.
 * - Every local that appears as a V_LOCAL entry has those entries on the chain `locals[i].chain`.
 * - Entries below the innermost control structure's base are never V_LOCAL.
 * - Work and memory are linear in the body's bytes: entries are written out at most once per push,
 *   branches that carry more than MOVES_MAX values move them by one instruction.
 * - Between two instructions all state is in struct translator: a large function is translated
 *   in pieces of bounded work, so that no slice of a thread becomes long (wasm_translate). */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "interp/wasm/code.h"
#include "interp/wasm/opcodes.h"

enum { MOVES_MAX = 4, NONE = -1, POTENTIAL_RESET = 1 << 20, WORDS_MAX = 1 << 28 };

enum value_kind { V_TEMP, V_LOCAL, V_CONST };
struct value {
    uint8_t kind, type;
    uint16_t home;
    uint32_t local;      /* V_LOCAL */
    int32_t above, below; /* neighbours in the local's chain: entry indices or NONE */
    uint64_t bits;       /* V_CONST */
};

struct local {
    uint16_t slot;
    uint8_t type;
    bool assigned; /* on every path to here */
    int32_t chain; /* topmost V_LOCAL entry, or NONE */
};

/* One emitted instruction. */
struct emitted {
    uint32_t word;
    uint32_t source; /* offset in the body */
    int32_t potential;
    uint16_t op;
    bool has_result; /* in slot `c`, and may go to another slot */
    bool can_skip_slot; /* op + 1 leaves the result in the accumulator alone */
};

enum control_kind { C_FUNC, C_BLOCK, C_LOOP, C_IF, C_ELSE, C_TRY };
struct control {
    uint8_t kind;
    bool unreachable;   /* the code from here to else/end */
    uint32_t height;    /* entries below the parameters */
    uint32_t base;      /* home slot of the first parameter and of the first result */
    const uint32_t *params, *results;
    uint32_t param_count, result_count;
    uint32_t single;    /* storage for a block type of one result */
    uint32_t loop_word; /* C_LOOP */
    int32_t potential;  /* C_LOOP */
    int32_t patches;    /* forward branches: word of the last one, chained by `target`; or NONE */
    int32_t else_patches;
    uint32_t stamp, thunk; /* br_table */
    uint32_t try_start, catch_first, catch_count;
    size_t trail; /* locals assigned within, from here on the trail */
};

struct accumulator {
    int32_t slot;      /* or NONE */
    uint32_t producer; /* index in ops */
};
enum { CLASS_INT, CLASS_F64, CLASS_F32, CLASS_V128, CLASS_COUNT };

struct translator {
    struct wasm_module *module;
    const struct wasm_func_def *def;
    const struct wasm_functype *type;
    uint32_t source; /* offset of the current instruction */
    struct {
        union wasm_word *items;
        size_t count, capacity;
    } words;
    struct {
        struct emitted *items;
        size_t count, capacity;
    } ops;
    struct {
        struct value *items;
        size_t count, capacity;
    } values;
    struct {
        struct control *items;
        size_t count, capacity;
    } controls;
    struct {
        struct wasm_code_label *items;
        size_t count, capacity;
    } labels;
    struct {
        struct wasm_code_catch *items;
        size_t count, capacity;
    } catches, open_catches;
    struct local *locals;
    /* Locals assigned for the first time on this path, to be forgotten where paths join. */
    struct {
        uint32_t *items;
        size_t count, capacity;
    } trail;
    uint32_t zero_first, zero_end; /* slots of locals that may be read before they are assigned */
    uint32_t zero_op_words;        /* words of the zeroing at the start; 0 = none */
    uint32_t record_slot;
    uint32_t next_home, slots_max;
    uint32_t flushed; /* entries below hold no V_LOCAL */
    int32_t potential;
    size_t barrier; /* ops before this index must stay as they are */
    struct accumulator acc[CLASS_COUNT], acc_before[CLASS_COUNT];
    union wasm_word nowhere; /* written to once memory is out */
    bool guarded; /* memory 0 is reached without checks */
    bool failed;  /* memory is out */
    const char *unsupported;
    /* How far it has got. */
    const uint8_t *at;      /* the next instruction; NULL: not begun */
    uint32_t skipped;       /* control structures opened in unreachable code */
    bool at_end;            /* of the body */
    uint64_t work;          /* done so far: instructions, pushed values, labels of br_table */
    struct wasm_code *code; /* made once the body is done */
    uint32_t *costs;        /* of choose_handlers */
    size_t handlers_left;   /* ops that have none yet */
    struct translator *next; /* of the program's, when it waits to go on */
};

/* ---- emission ---------------------------------------------------------------------------- */

static unsigned class_of(uint8_t type)
{
    switch (type) {
    case WASM_F64:
        return CLASS_F64;
    case WASM_F32:
        return CLASS_F32;
    case WASM_V128:
        return CLASS_V128;
    default:
        return CLASS_INT;
    }
}

static uint32_t emit(struct translator *t, unsigned op)
{
    unsigned count = wasm_op_words[op];
    if (t->failed || !vec_reserve(NULL, &t->words, count) || !vec_reserve(NULL, &t->ops, 1) ||
        t->words.count > WORDS_MAX) {
        t->failed = true;
        return 0;
    }
    uint32_t at = (uint32_t)t->words.count;
    memset(&t->words.items[at], 0, count * sizeof *t->words.items);
    t->words.count += count;
    t->ops.items[t->ops.count++] = (struct emitted){
        .word = at, .source = t->source, .potential = t->potential, .op = (uint16_t)op};
    return at;
}

/* The word `index` words into the instruction at `at`. */
static union wasm_word *word(struct translator *t, uint32_t at, unsigned index)
{
    return t->failed ? &t->nowhere : &t->words.items[at + index];
}

static struct emitted *last_op(struct translator *t)
{
    return t->ops.count > t->barrier ? &t->ops.items[t->ops.count - 1] : NULL;
}

static void unemit(struct translator *t)
{
    t->words.count = t->ops.items[--t->ops.count].word;
    memcpy(t->acc, t->acc_before, sizeof t->acc);
}

static void forget_accumulators(struct translator *t)
{
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        t->acc[i].slot = t->acc_before[i].slot = NONE;
}

static void set_barrier(struct translator *t)
{
    t->barrier = t->ops.count;
}

static void slot_written(struct translator *t, uint32_t slot)
{
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        if (t->acc[i].slot == (int32_t)slot)
            t->acc[i].slot = NONE;
    if (t->acc[CLASS_V128].slot == (int32_t)slot - 1)
        t->acc[CLASS_V128].slot = NONE;
}

/* The last instruction has written `slot` and, for its class, the accumulator. */
static void result_in(struct translator *t, uint32_t slot, unsigned class_, bool can_skip)
{
    if (t->failed)
        return;
    memcpy(t->acc_before, t->acc, sizeof t->acc);
    slot_written(t, slot);
    if (class_ == CLASS_V128)
        slot_written(t, slot + 1);
    t->acc[class_] = (struct accumulator){(int32_t)slot, (uint32_t)(t->ops.count - 1)};
    struct emitted *op = &t->ops.items[t->ops.count - 1];
    op->has_result = true;
    op->can_skip_slot = can_skip;
}

/* ---- the symbolic stack ------------------------------------------------------------------ */

static void push(struct translator *t, struct value value)
{
    value.home = (uint16_t)t->next_home;
    value.above = value.below = NONE;
    t->work++;
    if (value.kind == V_LOCAL) {
        struct local *local = &t->locals[value.local];
        value.below = local->chain;
        if (local->chain != NONE)
            t->values.items[local->chain].above = (int32_t)t->values.count;
        local->chain = (int32_t)t->values.count;
    }
    if (!vec_push(NULL, &t->values, value)) {
        t->failed = true;
        return;
    }
    t->next_home += wasm_value_slots(value.type);
    if (t->next_home > t->slots_max)
        t->slots_max = t->next_home;
    if (t->slots_max > SLOTS_MAX) {
        t->unsupported = "a frame over 65,000 slots";
        t->next_home = value.home; /* homes stay below 2^16 until the translation gives up */
    }
}

static void push_temp(struct translator *t, uint8_t type)
{
    push(t, (struct value){.kind = V_TEMP, .type = type});
}

static void unchain(struct translator *t, struct value *value)
{
    if (value->kind != V_LOCAL)
        return;
    if (value->above != NONE)
        t->values.items[value->above].below = value->below;
    else
        t->locals[value->local].chain = value->below;
    if (value->below != NONE)
        t->values.items[value->below].above = value->above;
}

static struct value pop(struct translator *t)
{
    static const struct value nothing = {.type = WASM_I32};
    if (t->failed || t->unsupported)
        return nothing;
    struct value *value = &t->values.items[--t->values.count];
    unchain(t, value);
    t->next_home = value->home;
    if (t->flushed > t->values.count)
        t->flushed = (uint32_t)t->values.count;
    return *value;
}

struct operand {
    enum { IN_SLOT, IN_ACC, IN_CONST } where;
    uint32_t slot; /* valid for IN_ACC too unless consumed */
    uint64_t bits;
};

static struct operand operand_of(const struct translator *t, const struct value *value)
{
    if (value->kind == V_CONST)
        return (struct operand){.where = IN_CONST, .bits = value->bits};
    struct operand operand = {.where = IN_SLOT};
    operand.slot = value->kind == V_LOCAL ? t->locals[value->local].slot : value->home;
    if (t->acc[class_of(value->type)].slot == (int32_t)operand.slot)
        operand.where = IN_ACC;
    return operand;
}

/* The entry is used up from the accumulator: its producer need not write the slot. */
static void consume_acc(struct translator *t, const struct value *value)
{
    struct accumulator *acc = &t->acc[class_of(value->type)];
    if (value->kind != V_TEMP || t->failed || acc->producer < t->barrier)
        return;
    struct emitted *producer = &t->ops.items[acc->producer];
    if (producer->can_skip_slot) {
        producer->op++;
        producer->can_skip_slot = producer->has_result = false;
        acc->slot = NONE;
    }
}

/* Writes an entry's value into `slot`. */
static void move_to(struct translator *t, const struct value *value, uint32_t slot)
{
    struct operand from = operand_of(t, value);
    unsigned class_ = class_of(value->type);
    uint32_t at;
    if (from.where == IN_CONST) {
        bool narrow = from.bits <= UINT32_MAX;
        at = emit(t, narrow ? OP_const32 : OP_const64);
        if (narrow)
            word(t, at, 1)->imm = (uint32_t)from.bits;
        else
            word(t, at, 2)->u64 = from.bits;
        word(t, at, 1)->c = (uint16_t)slot;
        result_in(t, slot, CLASS_INT, false);
        return;
    }
    static const uint16_t from_slot[] = {OP_mov_s_S, OP_movd_s_S, OP_movf_s_S, OP_movv_s_S};
    static const uint16_t from_acc[] = {OP_mov_a_S, OP_movd_a_S, OP_movf_a_S,
                                         OP_movv_a_S};
    if (from.where == IN_ACC) {
        consume_acc(t, value);
        at = emit(t, from_acc[class_]);
    } else {
        at = emit(t, from_slot[class_]);
        word(t, at, 1)->a = (uint16_t)from.slot;
    }
    word(t, at, 1)->c = (uint16_t)slot;
    result_in(t, slot, class_, true);
}

/* Entry `index` becomes a temporary in its home. */
static void materialise(struct translator *t, size_t index)
{
    if (t->failed || t->unsupported)
        return;
    struct value *value = &t->values.items[index];
    if (value->kind == V_TEMP)
        return;
    struct value copy = *value;
    move_to(t, &copy, copy.home);
    value = &t->values.items[index];
    unchain(t, value);
    value->kind = V_TEMP;
}

/* The entry is in some slot afterwards. */
static void materialise_const(struct translator *t, size_t index)
{
    if (!t->failed && !t->unsupported && t->values.items[index].kind == V_CONST)
        materialise(t, index);
}

static void materialise_top(struct translator *t, uint32_t count)
{
    if (t->failed || t->unsupported)
        return;
    for (size_t i = t->values.count - count; i < t->values.count; i++)
        materialise(t, i);
}

/* Before a control structure: what it might change must not be pending below it. */
static void flush_locals(struct translator *t)
{
    for (size_t i = t->flushed; i < t->values.count && !t->failed && !t->unsupported; i++)
        if (t->values.items[i].kind == V_LOCAL)
            materialise(t, i);
    t->flushed = (uint32_t)t->values.count;
}

/* A popped constant that the instruction cannot take as such, into its (free) home. */
static struct operand in_slot(struct translator *t, struct value *value)
{
    if (value->kind == V_CONST) {
        move_to(t, value, value->home);
        value->kind = V_TEMP;
    }
    return operand_of(t, value);
}

/* Emits with a result in a new temporary. */
static uint32_t emit_result(struct translator *t, unsigned op, uint8_t type, bool can_skip)
{
    uint32_t home = t->next_home;
    push_temp(t, type);
    uint32_t at = emit(t, op);
    word(t, at, 1)->c = (uint16_t)home;
    result_in(t, home, class_of(type), can_skip);
    return at;
}

/* ---- locals ------------------------------------------------------------------------------ */

static void local_get(struct translator *t, uint32_t index)
{
    const struct local *local = &t->locals[index];
    if (!local->assigned) {
        uint32_t end = local->slot + wasm_value_slots(local->type);
        if (local->slot < t->zero_first)
            t->zero_first = local->slot;
        if (end > t->zero_end)
            t->zero_end = end;
    }
    push(t, (struct value){.kind = V_LOCAL, .type = t->locals[index].type, .local = index});
}

static void local_set(struct translator *t, uint32_t index, struct value value)
{
    if (t->failed || t->unsupported)
        return;
    struct local *local = &t->locals[index];
    if (!local->assigned) {
        if (!vec_push(NULL, &t->trail, index)) {
            t->failed = true;
            return;
        }
        local->assigned = true;
    }
    if (value.kind == V_LOCAL && value.local == index)
        return;
    bool pending = local->chain != NONE;
    while (local->chain != NONE && !t->failed)
        materialise(t, (size_t)local->chain);
    struct emitted *op = last_op(t);
    if (!pending && op && value.kind == V_TEMP && op->has_result &&
        word(t, op->word, 1)->c == value.home) {
        uint32_t producer = (uint32_t)(t->ops.count - 1);
        word(t, op->word, 1)->c = local->slot;
        slot_written(t, local->slot);
        if (wasm_value_slots(local->type) == 2)
            slot_written(t, local->slot + 1u);
        for (unsigned i = 0; i < CLASS_COUNT; i++)
            if (t->acc[i].slot == value.home && t->acc[i].producer == producer)
                t->acc[i].slot = local->slot;
        op->has_result = op->can_skip_slot = false;
        return;
    }
    move_to(t, &value, local->slot);
    /* The copy is the local's now: nobody may redirect or drop it. */
    if (!t->failed)
        t->ops.items[t->ops.count - 1].has_result =
            t->ops.items[t->ops.count - 1].can_skip_slot = false;
}

/* ---- numbers ----------------------------------------------------------------------------- */

enum shape { SHAPE_NONE, UNARY, BINARY, SYMMETRIC, COMPARE_INT, COMPARE_FLOAT, RETYPE };
struct number_op {
    uint8_t shape, in, out;
    uint16_t op; /* the family's first */
};

#define U(code, name, in, out) [WASM_OP_##code] = {UNARY, WASM_##in, WASM_##out, OP_##name##_s_S},
#define B(code, name, type) [WASM_OP_##code] = {BINARY, WASM_##type, WASM_##type, OP_##name##_ss_S},
#define S(code, name, type) \
    [WASM_OP_##code] = {SYMMETRIC, WASM_##type, WASM_##type, OP_##name##_ss_S},
#define CI(code, name, type) \
    [WASM_OP_##code] = {COMPARE_INT, WASM_##type, WASM_I32, OP_##name##_ss_S},
#define CF(code, name, type) \
    [WASM_OP_##code] = {COMPARE_FLOAT, WASM_##type, WASM_I32, OP_##name##_ss_S},
#define R(code, in, out) [WASM_OP_##code] = {RETYPE, WASM_##in, WASM_##out, 0},
static const struct number_op number_ops[WASM_OP_I64_TRUNC_SAT_F64_U + 1] = {
    U(I32_EQZ, i32_eqz, I32, I32) U(I64_EQZ, i64_eqz, I64, I32)
    CI(I32_EQ, i32_eq, I32) CI(I32_NE, i32_ne, I32) CI(I32_LT_S, i32_lt_s, I32)
    CI(I32_LT_U, i32_lt_u, I32) CI(I32_GT_S, i32_gt_s, I32) CI(I32_GT_U, i32_gt_u, I32)
    CI(I32_LE_S, i32_le_s, I32) CI(I32_LE_U, i32_le_u, I32) CI(I32_GE_S, i32_ge_s, I32)
    CI(I32_GE_U, i32_ge_u, I32)
    CI(I64_EQ, i64_eq, I64) CI(I64_NE, i64_ne, I64) CI(I64_LT_S, i64_lt_s, I64)
    CI(I64_LT_U, i64_lt_u, I64) CI(I64_GT_S, i64_gt_s, I64) CI(I64_GT_U, i64_gt_u, I64)
    CI(I64_LE_S, i64_le_s, I64) CI(I64_LE_U, i64_le_u, I64) CI(I64_GE_S, i64_ge_s, I64)
    CI(I64_GE_U, i64_ge_u, I64)
    CF(F32_EQ, f32_eq, F32) CF(F32_NE, f32_ne, F32) CF(F32_LT, f32_lt, F32)
    CF(F32_GT, f32_gt, F32) CF(F32_LE, f32_le, F32) CF(F32_GE, f32_ge, F32)
    CF(F64_EQ, f64_eq, F64) CF(F64_NE, f64_ne, F64) CF(F64_LT, f64_lt, F64)
    CF(F64_GT, f64_gt, F64) CF(F64_LE, f64_le, F64) CF(F64_GE, f64_ge, F64)
    U(I32_CLZ, i32_clz, I32, I32) U(I32_CTZ, i32_ctz, I32, I32) U(I32_POPCNT, i32_popcnt, I32, I32)
    S(I32_ADD, i32_add, I32) B(I32_SUB, i32_sub, I32) S(I32_MUL, i32_mul, I32)
    B(I32_DIV_S, i32_div_s, I32) B(I32_DIV_U, i32_div_u, I32) B(I32_REM_S, i32_rem_s, I32)
    B(I32_REM_U, i32_rem_u, I32) S(I32_AND, i32_and, I32) S(I32_OR, i32_or, I32)
    S(I32_XOR, i32_xor, I32) B(I32_SHL, i32_shl, I32) B(I32_SHR_S, i32_shr_s, I32)
    B(I32_SHR_U, i32_shr_u, I32) B(I32_ROTL, i32_rotl, I32) B(I32_ROTR, i32_rotr, I32)
    U(I64_CLZ, i64_clz, I64, I64) U(I64_CTZ, i64_ctz, I64, I64) U(I64_POPCNT, i64_popcnt, I64, I64)
    S(I64_ADD, i64_add, I64) B(I64_SUB, i64_sub, I64) S(I64_MUL, i64_mul, I64)
    B(I64_DIV_S, i64_div_s, I64) B(I64_DIV_U, i64_div_u, I64) B(I64_REM_S, i64_rem_s, I64)
    B(I64_REM_U, i64_rem_u, I64) S(I64_AND, i64_and, I64) S(I64_OR, i64_or, I64)
    S(I64_XOR, i64_xor, I64) B(I64_SHL, i64_shl, I64) B(I64_SHR_S, i64_shr_s, I64)
    B(I64_SHR_U, i64_shr_u, I64) B(I64_ROTL, i64_rotl, I64) B(I64_ROTR, i64_rotr, I64)
    U(F32_ABS, f32_abs, F32, F32) U(F32_NEG, f32_neg, F32, F32) U(F32_CEIL, f32_ceil, F32, F32)
    U(F32_FLOOR, f32_floor, F32, F32) U(F32_TRUNC, f32_trunc, F32, F32)
    U(F32_NEAREST, f32_nearest, F32, F32) U(F32_SQRT, f32_sqrt, F32, F32)
    B(F32_ADD, f32_add, F32) B(F32_SUB, f32_sub, F32) B(F32_MUL, f32_mul, F32)
    B(F32_DIV, f32_div, F32) B(F32_MIN, f32_min, F32) B(F32_MAX, f32_max, F32)
    B(F32_COPYSIGN, f32_copysign, F32)
    U(F64_ABS, f64_abs, F64, F64) U(F64_NEG, f64_neg, F64, F64) U(F64_CEIL, f64_ceil, F64, F64)
    U(F64_FLOOR, f64_floor, F64, F64) U(F64_TRUNC, f64_trunc, F64, F64)
    U(F64_NEAREST, f64_nearest, F64, F64) U(F64_SQRT, f64_sqrt, F64, F64)
    B(F64_ADD, f64_add, F64) B(F64_SUB, f64_sub, F64) B(F64_MUL, f64_mul, F64)
    B(F64_DIV, f64_div, F64) B(F64_MIN, f64_min, F64) B(F64_MAX, f64_max, F64)
    B(F64_COPYSIGN, f64_copysign, F64)
    R(I32_WRAP_I64, I64, I32)
    U(I32_TRUNC_F32_S, i32_trunc_f32_s, F32, I32) U(I32_TRUNC_F32_U, i32_trunc_f32_u, F32, I32)
    U(I32_TRUNC_F64_S, i32_trunc_f64_s, F64, I32) U(I32_TRUNC_F64_U, i32_trunc_f64_u, F64, I32)
    U(I64_EXTEND_I32_S, i64_extend_i32_s, I32, I64) U(I64_EXTEND_I32_U, i64_extend_i32_u, I32, I64)
    U(I64_TRUNC_F32_S, i64_trunc_f32_s, F32, I64) U(I64_TRUNC_F32_U, i64_trunc_f32_u, F32, I64)
    U(I64_TRUNC_F64_S, i64_trunc_f64_s, F64, I64) U(I64_TRUNC_F64_U, i64_trunc_f64_u, F64, I64)
    U(F32_CONVERT_I32_S, f32_convert_i32_s, I32, F32)
    U(F32_CONVERT_I32_U, f32_convert_i32_u, I32, F32)
    U(F32_CONVERT_I64_S, f32_convert_i64_s, I64, F32)
    U(F32_CONVERT_I64_U, f32_convert_i64_u, I64, F32)
    U(F32_DEMOTE_F64, f32_demote_f64, F64, F32)
    U(F64_CONVERT_I32_S, f64_convert_i32_s, I32, F64)
    U(F64_CONVERT_I32_U, f64_convert_i32_u, I32, F64)
    U(F64_CONVERT_I64_S, f64_convert_i64_s, I64, F64)
    U(F64_CONVERT_I64_U, f64_convert_i64_u, I64, F64)
    U(F64_PROMOTE_F32, f64_promote_f32, F32, F64)
    R(I32_REINTERPRET_F32, F32, I32) R(I64_REINTERPRET_F64, F64, I64)
    R(F32_REINTERPRET_I32, I32, F32) R(F64_REINTERPRET_I64, I64, F64)
    U(I32_EXTEND8_S, i32_extend8_s, I32, I32) U(I32_EXTEND16_S, i32_extend16_s, I32, I32)
    U(I64_EXTEND8_S, i64_extend8_s, I64, I64) U(I64_EXTEND16_S, i64_extend16_s, I64, I64)
    U(I64_EXTEND32_S, i64_extend32_s, I64, I64)
    U(I32_TRUNC_SAT_F32_S, i32_trunc_sat_f32_s, F32, I32)
    U(I32_TRUNC_SAT_F32_U, i32_trunc_sat_f32_u, F32, I32)
    U(I32_TRUNC_SAT_F64_S, i32_trunc_sat_f64_s, F64, I32)
    U(I32_TRUNC_SAT_F64_U, i32_trunc_sat_f64_u, F64, I32)
    U(I64_TRUNC_SAT_F32_S, i64_trunc_sat_f32_s, F32, I64)
    U(I64_TRUNC_SAT_F32_U, i64_trunc_sat_f32_u, F32, I64)
    U(I64_TRUNC_SAT_F64_S, i64_trunc_sat_f64_s, F64, I64)
    U(I64_TRUNC_SAT_F64_U, i64_trunc_sat_f64_u, F64, I64)
};
#undef U
#undef B
#undef S
#undef CI
#undef CF
#undef R

/* The order of forms in ops.def; S forms, A = S + 1. */
enum { FORM_SS = 0, FORM_SC = 2, FORM_AS = 4, FORM_AC = 6, FORM_SA = 8, FORM_CS = 10, FORM_CA = 12 };
enum { UNARY_S = 0, UNARY_A = 2, COMPARE_FORMS = 8, BRANCH_FORMS = 4 };

static unsigned unary_form(bool in_acc)
{
    return in_acc ? UNARY_A : UNARY_S;
}
static const uint8_t int_swapped[] = {0, 1, 4, 5, 2, 3, 8, 9, 6, 7};
static const uint8_t int_inverse[] = {1, 0, 8, 9, 6, 7, 4, 5, 2, 3};
static const uint8_t float_swapped[] = {0, 1, 3, 2, 5, 4};

static bool fits_imm(uint64_t bits, uint8_t type)
{
    return type == WASM_I32 || bits == (uint64_t)(int64_t)(int32_t)(uint32_t)bits;
}

static unsigned swapped_compare(unsigned op)
{
    unsigned base, size = COMPARE_FORMS;
    const uint8_t *swap = int_swapped;
    if (op >= OP_f64_eq_ss_S)
        base = OP_f64_eq_ss_S, swap = float_swapped;
    else if (op >= OP_f32_eq_ss_S)
        base = OP_f32_eq_ss_S, swap = float_swapped;
    else if (op >= OP_i64_eq_ss_S)
        base = OP_i64_eq_ss_S;
    else
        base = OP_i32_eq_ss_S;
    return base + swap[(op - base) / size] * size;
}

static uint32_t unary(struct translator *t, unsigned op, uint8_t out)
{
    struct value x = pop(t);
    struct operand a = in_slot(t, &x);
    bool in_acc = a.where == IN_ACC;
    if (in_acc)
        consume_acc(t, &x);
    uint32_t at = emit_result(t, op + unary_form(in_acc), out, true);
    word(t, at, 1)->a = (uint16_t)a.slot;
    return at;
}

/* The instruction of a binary family that takes its second operand from memory, and the load that
 * it replaces; false when there is none. */
static bool memory_form(unsigned op, unsigned *with_memory, unsigned *load)
{
    switch (op) {
#define ROW(name, type)               \
    case OP_##name##_ss_S:            \
        *with_memory = OP_##name##_am_S; \
        *load = OP_##type##_load_s_S; \
        return true;
        ROW(i32_add, i32)
        ROW(i32_and, i32)
        ROW(i32_or, i32)
        ROW(i32_xor, i32)
        ROW(i64_add, i64)
        ROW(i64_xor, i64)
        ROW(f32_add, f32)
        ROW(f32_sub, f32)
        ROW(f32_mul, f32)
        ROW(f64_add, f64)
        ROW(f64_sub, f64)
        ROW(f64_mul, f64)
#undef ROW
#define ROW(NAME)                        \
    case OP_##NAME:                      \
        *with_memory = OP_##NAME##_am_S; \
        *load = OP_V128_LOAD_s_S;        \
        return true;
        ROW(I8X16_ADD)
        ROW(I16X8_ADD)
        ROW(I32X4_ADD)
        ROW(I8X16_AVGR_U)
        ROW(V128_AND)
        ROW(V128_OR)
        ROW(V128_XOR)
        ROW(F32X4_ADD)
        ROW(F32X4_SUB)
        ROW(F32X4_MUL)
        ROW(F64X2_ADD)
        ROW(F64X2_SUB)
        ROW(F64X2_MUL)
#undef ROW
    default:
        return false;
    }
}

/* x is what the last instruction but one made, y what the last one loaded: then x can stay in the
 * accumulator, which the load would have taken. Operands and result of the same type. */
static bool binary_with_memory(struct translator *t, unsigned binary_op, uint8_t type,
                               const struct value *x, const struct value *y)
{
    unsigned with_memory, load_op;
    struct emitted *op = last_op(t);
    unsigned class_ = class_of(type);
    if (!op || !memory_form(binary_op, &with_memory, &load_op) || op->op != load_op ||
        !op->has_result || y->kind != V_TEMP || word(t, op->word, 1)->c != y->home ||
        x->kind != V_TEMP || t->acc_before[class_].slot != x->home)
        return false;
    union wasm_word address = *word(t, op->word, 1);
    unemit(t);
    consume_acc(t, x);
    uint32_t at = emit_result(t, with_memory, type, true);
    word(t, at, 1)->a = address.a;
    word(t, at, 1)->imm = address.imm;
    return true;
}

static void binary(struct translator *t, const struct number_op *info)
{
    unsigned op = info->op;
    bool is_float = info->in == WASM_F32 || info->in == WASM_F64;
    bool swaps = info->shape != BINARY;
    struct value y = pop(t), x = pop(t);
    if (binary_with_memory(t, op, info->in, &x, &y))
        return;
    if (y.kind == V_CONST && (op == OP_i32_sub_ss_S || op == OP_i64_sub_ss_S)) {
        uint64_t negated = op == OP_i32_sub_ss_S ? (uint32_t)-y.bits : -y.bits;
        if (fits_imm(negated, info->in)) {
            y.bits = negated;
            op = op == OP_i32_sub_ss_S ? OP_i32_add_ss_S : OP_i64_add_ss_S;
            swaps = true;
        }
    }
    if (y.kind == V_CONST && !is_float && !fits_imm(y.bits, info->in))
        in_slot(t, &y);
    if (x.kind == V_CONST && (y.kind == V_CONST || (!is_float && !fits_imm(x.bits, info->in))))
        in_slot(t, &x);
    struct operand a = operand_of(t, &x), b = operand_of(t, &y);
    if (swaps && (a.where == IN_CONST || (b.where == IN_ACC && a.where == IN_SLOT))) {
        struct value value = x;
        x = y, y = value;
        struct operand operand = a;
        a = b, b = operand;
        if (info->shape == COMPARE_INT || info->shape == COMPARE_FLOAT)
            op = swapped_compare(op);
    }
    unsigned form;
    uint64_t bits = 0;
    if (b.where == IN_CONST) {
        bits = b.bits;
        form = a.where == IN_ACC ? FORM_AC : FORM_SC;
    } else if (a.where == IN_CONST) {
        bits = a.bits;
        form = b.where == IN_ACC ? FORM_CA : FORM_CS;
        a.slot = b.slot;
    } else if (a.where == IN_ACC) {
        form = FORM_AS;
    } else {
        form = b.where == IN_ACC ? FORM_SA : FORM_SS;
    }
    if (form == FORM_AS || form == FORM_AC)
        consume_acc(t, &x);
    else if (form == FORM_SA || form == FORM_CA)
        consume_acc(t, &y);
    uint32_t at = emit_result(t, op + form, info->out, true);
    word(t, at, 1)->a = (uint16_t)a.slot;
    if (form == FORM_SS || form == FORM_AS)
        word(t, at, 1)->b = (uint16_t)b.slot;
    else if (form != FORM_SA && is_float)
        word(t, at, 2)->u64 = bits;
    else if (form != FORM_SA)
        word(t, at, 1)->imm = (uint32_t)bits;
}

/* The bits stay where they are and get another type. */
static void retype(struct translator *t, uint8_t out)
{
    struct value x = pop(t);
    if (x.kind == V_CONST && out == WASM_I32)
        x.bits = (uint32_t)x.bits;
    x.type = out;
    push(t, x);
}

static bool number(struct translator *t, uint32_t opcode)
{
    if (opcode >= sizeof number_ops / sizeof *number_ops)
        return false;
    const struct number_op *info = &number_ops[opcode];
    struct emitted *op = last_op(t);
    switch ((enum shape)info->shape) {
    case SHAPE_NONE:
        return false;
    case UNARY:
        /* eqz of an integer comparison is the inverse comparison. */
        if (info->op == OP_i32_eqz_s_S && op && op->has_result && op->op >= OP_i32_eq_ss_S &&
            op->op < OP_f32_eq_ss_S && t->values.count > 0 &&
            t->values.items[t->values.count - 1].kind == V_TEMP &&
            word(t, op->word, 1)->c == t->values.items[t->values.count - 1].home) {
            unsigned base = op->op >= OP_i64_eq_ss_S ? OP_i64_eq_ss_S : OP_i32_eq_ss_S;
            unsigned index = op->op - base;
            op->op = (uint16_t)(base + int_inverse[index / COMPARE_FORMS] * COMPARE_FORMS +
                                index % COMPARE_FORMS);
            return true;
        }
        unary(t, info->op, info->out);
        return true;
    case RETYPE:
        retype(t, info->out);
        return true;
    default:
        binary(t, info);
        return true;
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

enum { LOAD_S = 0, LOAD_A = 2, LOAD_C = 4, LOAD_X = 6, LOAD_Y = 8, LOAD_R = 10, LOAD_Z = 12, LOAD_W = 14 };
enum {
    STORE_SS,
    STORE_AS,
    STORE_CS,
    STORE_XS,
    STORE_RS,
    STORE_SA,
    STORE_CA,
    STORE_XA,
    STORE_ZS,
    STORE_SK, /* integers */
    STORE_AK,
    STORE_ZK,
    STORE_AA = STORE_SK /* floats */
};
struct memory_op {
    uint8_t type, bytes;
    uint16_t op;
};
#define L(code, name, type, bytes) [WASM_OP_##code] = {WASM_##type, bytes, OP_##name##_s_S},
#define S(code, name, type, bytes) [WASM_OP_##code] = {WASM_##type, bytes, OP_##name##_ss},
static const struct memory_op memory_ops[WASM_OP_I64_STORE32 + 1] = {
    L(I32_LOAD, i32_load, I32, 4) L(I64_LOAD, i64_load, I64, 8)
    L(F32_LOAD, f32_load, F32, 4) L(F64_LOAD, f64_load, F64, 8)
    L(I32_LOAD8_S, i32_load8_s, I32, 1) L(I32_LOAD8_U, i32_load8_u, I32, 1)
    L(I32_LOAD16_S, i32_load16_s, I32, 2) L(I32_LOAD16_U, i32_load16_u, I32, 2)
    L(I64_LOAD8_S, i64_load8_s, I64, 1) L(I64_LOAD8_U, i64_load8_u, I64, 1)
    L(I64_LOAD16_S, i64_load16_s, I64, 2) L(I64_LOAD16_U, i64_load16_u, I64, 2)
    L(I64_LOAD32_S, i64_load32_s, I64, 4) L(I64_LOAD32_U, i64_load32_u, I64, 4)
    S(I32_STORE, i32_store, I32, 4) S(I64_STORE, i64_store, I64, 8)
    S(F32_STORE, f32_store, F32, 4) S(F64_STORE, f64_store, F64, 8)
    S(I32_STORE8, i32_store8, I32, 1) S(I32_STORE16, i32_store16, I32, 2)
    S(I64_STORE8, i64_store8, I64, 1) S(I64_STORE16, i64_store16, I64, 2)
    S(I64_STORE32, i64_store32, I64, 4)
};
#undef L
#undef S

static bool needs_check(const struct translator *t, const struct wasm_instr *instr)
{
    return !t->guarded || instr->index != 0 || t->module->memories[0].limits.is64;
}

/* Leaves the checked host address in the integer accumulator. */
static void emit_address(struct translator *t, const struct wasm_instr *instr,
                         struct value *address, unsigned bytes)
{
    struct operand a = in_slot(t, address);
    bool is64 = t->module->memories[instr->index].limits.is64;
    uint32_t at = emit(t, is64 ? OP_address64_s : OP_address32_s);
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->imm = instr->index;
    word(t, at, 2)->u64 = instr->offset;
    word(t, at, 3)->u64 = bytes;
    t->acc[CLASS_INT].slot = NONE;
    set_barrier(t);
}

/* True when the popped address is a sum that the last instruction made: it is taken back, and
 * *sum says its operands (`a`: accumulator and slot b; else slots a and b). */
static bool take_sum(struct translator *t, const struct value *address, union wasm_word *sum,
                     bool *from_acc)
{
    struct emitted *op = last_op(t);
    if (!op || address->kind != V_TEMP || !op->has_result ||
        (op->op != OP_i32_add_ss_S && op->op != OP_i32_add_as_S) ||
        word(t, op->word, 1)->c != address->home)
        return false;
    *sum = *word(t, op->word, 1);
    *from_acc = op->op == OP_i32_add_as_S;
    unemit(t);
    return true;
}

/* Likewise when the last instruction added a constant to a slot or, if *from_acc, to the
 * accumulator: their operands. */
static bool take_offset(struct translator *t, const struct value *address, union wasm_word *sum,
                        bool *from_acc)
{
    struct emitted *op = last_op(t);
    if (!op || address->kind != V_TEMP || !op->has_result ||
        (op->op != OP_i32_add_sc_S && (op->op != OP_i32_add_ac_S || !*from_acc)) ||
        word(t, op->word, 1)->c != address->home)
        return false;
    *sum = *word(t, op->word, 1);
    *from_acc = op->op == OP_i32_add_ac_S;
    unemit(t);
    return true;
}

static void load(struct translator *t, const struct wasm_instr *instr, const struct memory_op *info)
{
    struct value address = pop(t);
    if (t->failed || t->unsupported)
        return;
    if (needs_check(t, instr)) {
        emit_address(t, instr, &address, info->bytes);
        emit_result(t, info->op + LOAD_R, info->type, true);
        return;
    }
    uint32_t offset = (uint32_t)instr->offset;
    union wasm_word sum;
    bool from_acc;
    uint32_t at;
    if (address.kind == V_CONST && address.bits + offset <= UINT32_MAX) {
        at = emit_result(t, info->op + LOAD_C, info->type, true);
        word(t, at, 1)->imm = (uint32_t)address.bits + offset;
        return;
    }
    struct emitted *op = last_op(t);
    if (op && (op->op == OP_i32_add_as_S || offset <= UINT16_MAX) &&
        take_sum(t, &address, &sum, &from_acc)) {
        at = emit_result(t, info->op + (unsigned)(from_acc ? LOAD_Y : LOAD_X), info->type, true);
        word(t, at, 1)->a = from_acc ? sum.b : sum.a;
        if (from_acc) {
            word(t, at, 1)->imm = offset;
        } else {
            word(t, at, 1)->b = sum.b;
            word(t, at, 1)->d = (uint16_t)offset;
        }
        return;
    }
    from_acc = true;
    if (offset == 0 && take_offset(t, &address, &sum, &from_acc)) {
        at = emit_result(t, info->op + (unsigned)(from_acc ? LOAD_W : LOAD_Z), info->type, true);
        word(t, at, 1)->a = sum.a;
        word(t, at, 1)->imm = sum.imm;
        return;
    }
    struct operand a = in_slot(t, &address);
    bool in_acc = a.where == IN_ACC;
    if (in_acc)
        consume_acc(t, &address);
    at = emit_result(t, info->op + (unsigned)(in_acc ? LOAD_A : LOAD_S), info->type, true);
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->imm = offset;
}

static void store(struct translator *t, const struct wasm_instr *instr, const struct memory_op *info)
{
    struct value value = pop(t), address = pop(t);
    if (t->failed || t->unsupported)
        return;
    uint32_t at;
    if (needs_check(t, instr)) {
        struct operand v = in_slot(t, &value);
        emit_address(t, instr, &address, info->bytes);
        at = emit(t, info->op + STORE_RS);
        word(t, at, 1)->c = (uint16_t)v.slot;
        return;
    }
    bool is_float = class_of(info->type) != CLASS_INT;
    uint32_t offset = (uint32_t)instr->offset;
    bool small = value.kind == V_CONST && !is_float && (int64_t)value.bits <= INT16_MAX &&
                 (int64_t)value.bits >= INT16_MIN;
    if (value.kind == V_CONST && info->type == WASM_I32) { /* kept zero-extended */
        int32_t narrow = (int32_t)(uint32_t)value.bits;
        small = narrow <= INT16_MAX && narrow >= INT16_MIN;
    }
    if (value.kind == V_CONST && !small)
        in_slot(t, &value);
    union wasm_word sum;
    bool from_acc;
    struct emitted *op = last_op(t);
    if (value.kind != V_CONST && offset <= UINT16_MAX && op && op->op == OP_i32_add_ss_S &&
        take_sum(t, &address, &sum, &from_acc)) {
        struct operand v = operand_of(t, &value);
        bool in_acc = v.where == IN_ACC;
        if (in_acc)
            consume_acc(t, &value);
        at = emit(t, info->op + (unsigned)(in_acc ? STORE_XA : STORE_XS));
        word(t, at, 1)->a = sum.a;
        word(t, at, 1)->b = sum.b;
        word(t, at, 1)->c = (uint16_t)v.slot;
        word(t, at, 1)->d = (uint16_t)offset;
        return;
    }
    from_acc = false;
    if (offset == 0 && take_offset(t, &address, &sum, &from_acc)) {
        struct operand v = operand_of(t, &value);
        at = emit(t, info->op + (unsigned)(v.where == IN_CONST ? STORE_ZK : STORE_ZS));
        word(t, at, 1)->a = sum.a;
        word(t, at, 1)->imm = sum.imm;
        word(t, at, 1)->c = (uint16_t)(v.where == IN_CONST ? v.bits : v.slot);
        return;
    }
    bool fixed = address.kind == V_CONST && address.bits + offset <= UINT32_MAX &&
                 value.kind != V_CONST;
    if (!fixed)
        in_slot(t, &address);
    struct operand a = operand_of(t, &address), v = operand_of(t, &value);
    unsigned form;
    if (v.where == IN_CONST) {
        form = a.where == IN_ACC ? STORE_AK : STORE_SK;
        v.slot = (uint16_t)v.bits;
    } else if (fixed) {
        form = v.where == IN_ACC ? STORE_CA : STORE_CS;
        offset += (uint32_t)address.bits;
    } else if (v.where == IN_ACC && (a.where != IN_ACC || !is_float)) {
        form = STORE_SA;
    } else if (v.where == IN_ACC) {
        form = STORE_AA;
    } else {
        form = a.where == IN_ACC ? STORE_AS : STORE_SS;
    }
    if (form == STORE_SA || form == STORE_CA || (is_float && form == STORE_AA))
        consume_acc(t, &value);
    if (form == STORE_AS || (!is_float && form == STORE_AK) || (is_float && form == STORE_AA))
        consume_acc(t, &address);
    at = emit(t, info->op + form);
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->c = (uint16_t)v.slot;
    word(t, at, 1)->imm = offset;
}

/* Instructions that take `count` operands in consecutive slots and leave to a C function. */
static uint32_t emit_slow(struct translator *t, unsigned op, uint32_t count, uint8_t result,
                          uint32_t index, uint32_t index2)
{
    materialise_top(t, count);
    for (uint32_t i = 0; i < count; i++)
        pop(t);
    uint32_t home = t->next_home;
    uint32_t at = result ? emit_result(t, op, result, false) : emit(t, op);
    word(t, at, 1)->a = (uint16_t)home;
    if (wasm_op_words[op] > 2) {
        word(t, at, 1)->imm = (uint32_t)t->potential;
        word(t, at, 2)->target = (int32_t)index;
        word(t, at, 2)->charge = (int32_t)index2;
    } else {
        word(t, at, 1)->imm = index;
    }
    /* The C function leaves the accumulators alone, so none holds the result. */
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        if (t->acc[i].slot == (int32_t)home)
            t->acc[i].slot = NONE;
    set_barrier(t);
    return at;
}

/* ---- vectors ----------------------------------------------------------------------------- */

/* Instructions of simd.def have the source's names. */
#define ROW_PLAIN(code, identifier)
#define ROW_BULK(code, identifier)
#define ROW_GC(code, identifier)
#define ROW_SIMD(code, identifier) [code] = OP_##identifier,
#define WASM_OP(group, code, identifier, text, immediates, number, operands, result) \
    ROW_##group(code, identifier)
static const uint16_t vector_ops[] = {
#include "interp/wasm/opcodes.def"
};
#undef WASM_OP
#undef ROW_PLAIN
#undef ROW_BULK
#undef ROW_GC
#undef ROW_SIMD

/* The order of forms in simd.def, as above: unary_form for one operand, FORM_SS, FORM_AS and
 * VECTOR_SA for two, VECTOR_SC and VECTOR_AC for shifts; of three, the one in the accumulator. */
enum { VECTOR_SA = 4, FORM_AS_OF_2 = 2, VECTOR_SC = 4, VECTOR_AC = 6, LANE_GUARDED = 0, LANE_R = 1 };

/* One lane loaded or stored: the vector comes from its slot. */
static void vector_lane_memory(struct translator *t, const struct wasm_instr *instr, unsigned op)
{
    const struct wasm_op_info *info = &wasm_op_infos[instr->op];
    struct value value = pop(t), address = pop(t);
    if (t->failed || t->unsupported)
        return;
    uint32_t slot = value.kind == V_LOCAL ? t->locals[value.local].slot : value.home;
    bool check = needs_check(t, instr);
    struct operand a = in_slot(t, &address);
    if (check)
        emit_address(t, instr, &address, 1u << info->number);
    op += check ? LANE_R : LANE_GUARDED;
    uint32_t at = info->result[0] ? emit_result(t, op, WASM_V128, false) : emit(t, op);
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->b = (uint16_t)slot;
    word(t, at, 2)->target = instr->lane;
    word(t, at, 2)->charge = (int32_t)(uint32_t)instr->offset;
}

static void vector_shift(struct translator *t, const struct wasm_op_info *info, unsigned op)
{
    struct value by = pop(t), x = pop(t);
    if (t->failed || t->unsupported)
        return;
    bool fixed = by.kind == V_CONST;
    struct operand b = operand_of(t, &by), a = operand_of(t, &x);
    unsigned form = a.where == IN_ACC ? (fixed ? VECTOR_AC : FORM_AS_OF_2)
                                      : (fixed ? VECTOR_SC : FORM_SS);
    if (a.where == IN_ACC)
        consume_acc(t, &x);
    uint32_t at = emit_result(t, op + form, wasm_op_letter_type(info->result[0]), true);
    word(t, at, 1)->a = (uint16_t)a.slot;
    if (fixed)
        word(t, at, 1)->imm = (uint32_t)b.bits;
    else
        word(t, at, 1)->b = (uint16_t)b.slot;
}

/* A shuffle that reads one operand only: that one, and its lanes. */
static bool shuffle_of_one(struct value *x, const struct value *y, uint8_t lanes[16])
{
    uint8_t all = 0, none = 16;
    for (unsigned i = 0; i < 16; i++) {
        all |= lanes[i];
        none &= lanes[i];
    }
    bool same = x->kind == V_LOCAL && y->kind == V_LOCAL && x->local == y->local;
    if (!same && (all & 16) && !(none & 16))
        return false;
    if (none & 16)
        *x = *y;
    for (unsigned i = 0; i < 16; i++)
        lanes[i] &= 15;
    return true;
}

static void vector(struct translator *t, const struct wasm_instr *instr)
{
    const struct wasm_op_info *info = &wasm_op_infos[instr->op];
    unsigned op = vector_ops[instr->op - WASM_GROUP_SIMD];
    if (info->imm == WASM_IMM_MEMARG_LANE) {
        vector_lane_memory(t, instr, op);
        return;
    }
    if (info->imm == WASM_IMM_MEMARG) {
        const struct memory_op row = {WASM_V128, (uint8_t)(1u << info->number), (uint16_t)op};
        if (info->result[0])
            load(t, instr, &row);
        else
            store(t, instr, &row);
        return;
    }
    uint32_t count = (uint32_t)strlen(info->operands);
    uint8_t type = wasm_op_letter_type(info->result[0]);
    bool is_lane = info->imm == WASM_IMM_LANE;
    if (count == 2 && !is_lane && info->operands[1] == 'i') {
        vector_shift(t, info, op);
        return;
    }
    struct value values[3];
    struct operand operands[3] = {{0}};
    for (uint32_t i = count; i-- > 0;)
        values[i] = pop(t);
    if (t->failed || t->unsupported)
        return;
    if (count == 2 && !is_lane && binary_with_memory(t, op, WASM_V128, &values[0], &values[1]))
        return;
    uint8_t bytes[16];
    if (info->imm == WASM_IMM_V128 || info->imm == WASM_IMM_SHUFFLE)
        memcpy(bytes, instr->vector, 16);
    if (info->imm == WASM_IMM_SHUFFLE && shuffle_of_one(&values[0], &values[1], bytes)) {
        op = OP_v128_shuffle_one;
        count = 1;
    }
    for (uint32_t i = 0; i < count; i++)
        in_slot(t, &values[i]);
    /* Which operand is consumed from the accumulator: the vectors, or a splat's number. */
    uint32_t from_acc = count;
    for (uint32_t i = 0; i < count; i++) {
        operands[i] = operand_of(t, &values[i]);
        if (operands[i].where == IN_ACC && from_acc == count && !(is_lane && (count == 1 || i == 1)))
            from_acc = i;
    }
    unsigned form = 0;
    if (from_acc < count) {
        consume_acc(t, &values[from_acc]);
        form = (from_acc + 1) * 2; /* behind the form of slots alone */
    }
    uint32_t at = emit_result(t, op + form, type, true);
    word(t, at, 1)->a = (uint16_t)operands[0].slot;
    word(t, at, 1)->b = (uint16_t)operands[1].slot;
    word(t, at, 1)->d = (uint16_t)operands[2].slot;
    if (is_lane)
        word(t, at, 2)->u64 = instr->lane;
    if ((info->imm == WASM_IMM_V128 || info->imm == WASM_IMM_SHUFFLE) && !t->failed)
        memcpy(word(t, at, 2), bytes, 16);
}

/* ---- control ----------------------------------------------------------------------------- */

static struct control *control_at(struct translator *t, uint32_t depth)
{
    return &t->controls.items[t->controls.count - 1 - depth];
}

static uint32_t label_arity(const struct control *c)
{
    return c->kind == C_LOOP ? c->param_count : c->result_count;
}
static const uint32_t *control_results(const struct control *c)
{
    return c->results ? c->results : &c->single;
}
static const uint32_t *label_types(const struct control *c)
{
    return c->kind == C_LOOP ? c->params : control_results(c);
}

/* The branch whose target word is at `at` goes to `c`. */
static void link_branch(struct translator *t, struct control *c, uint32_t at)
{
    if (t->failed)
        return;
    union wasm_word *w = &t->words.items[at];
    if (c->kind == C_LOOP) {
        w->target = (int32_t)c->loop_word - (int32_t)at;
        w->charge = t->potential - c->potential;
    } else {
        w->target = c->patches;
        w->charge = t->potential;
        c->patches = (int32_t)at;
    }
}

static void note_label(struct translator *t)
{
    if (t->potential != 0 &&
        !vec_push(NULL, &t->labels,
                  (struct wasm_code_label){(uint32_t)t->words.count, t->potential}))
        t->failed = true;
}

/* Here is the target of the chained branches; `reached` = also from the instruction above. */
static void place_label(struct translator *t, int32_t *patches, bool reached)
{
    int32_t here = (int32_t)t->words.count;
    if (t->failed || *patches == NONE)
        return;
    if (!reached)
        t->potential = t->words.items[*patches].charge;
    for (int32_t at = *patches; at != NONE;) {
        union wasm_word *w = &t->words.items[at];
        int32_t next = w->target;
        w->target = here - at;
        w->charge -= t->potential;
        at = next;
    }
    *patches = NONE;
    note_label(t);
    set_barrier(t);
    forget_accumulators(t);
}

/* Whether the top `count` entries lie where `c`'s label wants them. */
static bool in_place(const struct translator *t, const struct control *c, uint32_t count)
{
    if (count == 0)
        return true;
    const struct value *first = &t->values.items[t->values.count - count];
    if (first->home != c->base)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (first[i].kind != V_TEMP)
            return false;
    return true;
}

/* Copies the top entries to the label's place without popping them. Lowest first: a destination
 * is never above its source's home, so nothing is overwritten before it is read. */
static void move_label_values(struct translator *t, const struct control *c)
{
    uint32_t count = label_arity(c);
    if (count == 0 || t->failed || t->unsupported)
        return;
    size_t first = t->values.count - count;
    uint32_t to = c->base;
    if (count > MOVES_MAX) {
        materialise_top(t, count);
        uint32_t at = emit(t, OP_mov_n);
        word(t, at, 1)->a = t->values.items[first].home;
        word(t, at, 1)->c = (uint16_t)to;
        word(t, at, 1)->imm = wasm_type_slots(label_types(c), count);
        forget_accumulators(t);
        return;
    }
    for (uint32_t i = 0; i < count && !t->failed; i++) {
        struct value value = t->values.items[first + i];
        if (value.kind != V_TEMP || value.home != to)
            move_to(t, &value, to);
        to += wasm_value_slots(value.type);
    }
}

static void become_unreachable(struct translator *t)
{
    if (t->failed || t->unsupported)
        return;
    struct control *c = control_at(t, 0);
    c->unreachable = true;
    while (t->values.count > c->height && !t->failed)
        pop(t);
    t->next_home = c->base;
    set_barrier(t);
}

static void branch(struct translator *t, uint32_t depth)
{
    struct control *c = control_at(t, depth);
    move_label_values(t, c);
    uint32_t at = emit(t, OP_br);
    link_branch(t, c, at + 1);
    become_unreachable(t);
}

/* A branch on the popped condition (or its opposite), fused with the comparison that made it.
 * Returns the index of its target word, not yet linked. */
static uint32_t conditional(struct translator *t, struct value cond, bool when)
{
    struct emitted *op = last_op(t);
    uint32_t at;
    if (op && cond.kind == V_TEMP && op->has_result && word(t, op->word, 1)->c == cond.home) {
        unsigned made = op->op;
        union wasm_word operands = *word(t, op->word, 1);
        union wasm_word constant = {0};
        bool fused = true;
        unsigned branch_op = 0;
        if (made >= OP_i32_eq_ss_S && made < OP_f32_eq_ss_S) {
            bool is64 = made >= OP_i64_eq_ss_S;
            unsigned index = made - (is64 ? OP_i64_eq_ss_S : OP_i32_eq_ss_S);
            unsigned compare = index / COMPARE_FORMS;
            if (!when)
                compare = int_inverse[compare];
            branch_op = (is64 ? OP_br_i64_eq_ss : OP_br_i32_eq_ss) + compare * BRANCH_FORMS +
                        index % COMPARE_FORMS / 2;
        } else if (made >= OP_f32_eq_ss_S && made < OP_f64_eq_ss_S + 6 * COMPARE_FORMS) {
            bool is64 = made >= OP_f64_eq_ss_S;
            unsigned index = made - (is64 ? OP_f64_eq_ss_S : OP_f32_eq_ss_S);
            unsigned base = when ? (is64 ? OP_br_f64_eq_ss : OP_br_f32_eq_ss)
                                 : (is64 ? OP_br_not_f64_eq_ss : OP_br_not_f32_eq_ss);
            branch_op = base + index / COMPARE_FORMS * BRANCH_FORMS + index % COMPARE_FORMS / 2;
            if (wasm_op_words[made] > 2)
                constant = *word(t, op->word, 2);
        } else if (made >= OP_i32_and_ss_S && made < OP_i32_and_ss_S + COMPARE_FORMS) {
            branch_op = (when ? OP_br_i32_and_ss : OP_br_i32_nand_ss) + (made - OP_i32_and_ss_S) / 2;
        } else if (made == OP_i32_eqz_s_S || made == OP_i32_eqz_a_S) {
            bool in_acc = made == OP_i32_eqz_a_S;
            branch_op = when ? (in_acc ? OP_br_z_a : OP_br_z_s) : (in_acc ? OP_br_nz_a : OP_br_nz_s);
        } else if (made == OP_i64_eqz_s_S || made == OP_i64_eqz_a_S) {
            branch_op = when ? OP_br_i64_eq_ss : OP_br_i64_ne_ss;
            branch_op += made == OP_i64_eqz_a_S ? FORM_AC / 2 : FORM_SC / 2;
            operands.imm = 0;
        } else {
            fused = false;
        }
        if (fused) {
            unemit(t);
            at = emit(t, branch_op);
            *word(t, at, 1) = operands;
            if (wasm_op_words[branch_op] > 3)
                *word(t, at, 2) = constant;
            set_barrier(t);
            return at + wasm_op_words[branch_op] - 1;
        }
    }
    struct operand a = in_slot(t, &cond);
    bool in_acc = a.where == IN_ACC;
    if (in_acc)
        consume_acc(t, &cond);
    at = emit(t, when ? (in_acc ? OP_br_nz_a : OP_br_nz_s) : (in_acc ? OP_br_z_a : OP_br_z_s));
    word(t, at, 1)->a = (uint16_t)a.slot;
    set_barrier(t);
    return at + 2;
}

/* What a conditional branch asks. */
struct test {
    enum { TEST_COND, TEST_NULL, TEST_REF } kind;
    bool when;            /* it branches when the answer is this */
    struct value value;   /* COND: popped; the others: where the reference is */
    uint32_t type;        /* REF: the value type */
};

static uint32_t emit_ref_test(struct translator *t, uint32_t slot, uint32_t type, bool keeps);

/* A branch that is taken when the answer is `when`; the index of its target word. */
static uint32_t test_branch(struct translator *t, const struct test *test, bool when)
{
    if (test->kind == TEST_COND)
        return conditional(t, test->value, when);
    struct value value = test->value;
    uint32_t slot = in_slot(t, &value).slot;
    uint32_t at;
    if (test->kind == TEST_NULL) {
        at = emit(t, when ? OP_br_i64_eq_sc : OP_br_i64_ne_sc);
        word(t, at, 1)->a = (uint16_t)slot;
    } else {
        (void)emit_ref_test(t, slot, test->type, false);
        at = emit(t, when ? OP_br_nz_a : OP_br_z_a);
    }
    set_barrier(t);
    return at + 2;
}

static void branch_when(struct translator *t, uint32_t depth, struct test *test)
{
    struct control *c = control_at(t, depth);
    uint32_t count = label_arity(c);
    if (t->failed || t->unsupported)
        return;
    if (count > MOVES_MAX) { /* also on the way past the branch, so that it happens once */
        in_slot(t, &test->value);
        for (size_t i = t->values.count - count; i < t->values.count; i++)
            materialise(t, i);
        set_barrier(t); /* the condition's instruction is no longer the last */
    }
    if (in_place(t, c, count)) {
        uint32_t at = test_branch(t, test, test->when);
        link_branch(t, c, at);
        return;
    }
    int32_t past = NONE;
    uint32_t at = test_branch(t, test, !test->when);
    if (t->failed)
        return;
    struct accumulator acc[CLASS_COUNT];
    t->words.items[at] = (union wasm_word){.target = past, .charge = t->potential};
    past = (int32_t)at;
    memcpy(acc, t->acc, sizeof acc);
    move_label_values(t, c);
    at = emit(t, OP_br);
    link_branch(t, control_at(t, depth), at + 1);
    place_label(t, &past, false);
    memcpy(t->acc, acc, sizeof acc); /* the only way here is the branch past */
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        t->acc[i].producer = 0;
}

static void branch_if(struct translator *t, uint32_t depth)
{
    struct test test = {.kind = TEST_COND, .when = true, .value = pop(t)};
    branch_when(t, depth, &test);
}

static void branch_table(struct translator *t, const struct wasm_instr *instr)
{
    struct value index = pop(t);
    if (t->failed || t->unsupported)
        return;
    struct control *fallback = control_at(t, instr->index);
    uint32_t count = label_arity(fallback);
    if (count > 0) {
        in_slot(t, &index);
        materialise_top(t, count);
    }
    struct operand a = in_slot(t, &index);
    bool in_acc = a.where == IN_ACC;
    if (in_acc && count == 0)
        consume_acc(t, &index);
    uint32_t at = emit(t, in_acc ? OP_br_table_a : OP_br_table_s);
    uint32_t stamp = at + 1;
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->imm = instr->count;
    uint32_t first = at + 2;
    if (t->failed || !vec_reserve(NULL, &t->words, (size_t)instr->count + 1)) {
        t->failed = true;
        return;
    }
    memset(&t->words.items[first], 0, ((size_t)instr->count + 1) * sizeof *t->words.items);
    t->words.count += (size_t)instr->count + 1;
    const uint8_t *p = instr->vector;
    t->work += instr->count;
    for (uint32_t i = 0; i <= instr->count && !t->failed; i++) {
        uint32_t depth = i < instr->count ? wasm_leb_u32_trusted(&p) : instr->index;
        struct control *c = control_at(t, depth);
        if (in_place(t, c, count)) {
            link_branch(t, c, first + i);
            continue;
        }
        if (c->stamp != stamp) { /* its values move in a piece of code of their own */
            c->stamp = stamp;
            c->thunk = (uint32_t)t->words.count;
            note_label(t);
            uint32_t move = emit(t, OP_mov_n);
            word(t, move, 1)->a = t->values.items[t->values.count - count].home;
            word(t, move, 1)->c = (uint16_t)c->base;
            word(t, move, 1)->imm = wasm_type_slots(label_types(c), count);
            uint32_t jump = emit(t, OP_br);
            link_branch(t, c, jump + 1);
        }
        if (!t->failed)
            t->words.items[first + i].target = (int32_t)c->thunk - (int32_t)(first + i);
    }
    become_unreachable(t);
}

static void return_values(struct translator *t)
{
    uint32_t count = t->type->result_count;
    if (t->failed || t->unsupported)
        return;
    uint32_t at;
    if (count == 0) {
        at = emit(t, OP_ret_0);
    } else if (count == 1 && t->type->results[0] != WASM_V128) {
        struct value value = pop(t);
        struct operand a = in_slot(t, &value);
        unsigned op = OP_ret_i_s;
        if (a.where == IN_ACC) {
            static const uint16_t by_class[] = {OP_ret_i_a, OP_ret_f64_a, OP_ret_f32_a};
            op = by_class[class_of(value.type)];
            consume_acc(t, &value);
        }
        at = emit(t, op);
        word(t, at, 1)->a = (uint16_t)a.slot;
        value.kind = V_TEMP; /* never read again */
        push(t, value);
    } else {
        materialise_top(t, count);
        at = emit(t, OP_ret_n);
        if (!t->failed)
            word(t, at, 1)->a = t->values.items[t->values.count - count].home;
        word(t, at, 2)->u64 = wasm_type_slots(t->type->results, count);
    }
    word(t, at, 1)->c = (uint16_t)t->record_slot;
    word(t, at, 1)->imm = (uint32_t)t->potential;
}

/* Where other paths join, only what was assigned before `trail` is sure. */
static void forget_assigned(struct translator *t, size_t trail)
{
    while (t->trail.count > trail)
        t->locals[t->trail.items[--t->trail.count]].assigned = false;
}

/* Fills in a block's type; its parameters become temporaries on top of the stack. */
static void open_control(struct translator *t, enum control_kind kind,
                         const struct wasm_instr *instr)
{
    struct control c = {.kind = (uint8_t)kind, .patches = NONE, .else_patches = NONE};
    if (instr->block_type >= 0) {
        const struct wasm_functype *type = &t->module->types[instr->block_type]->func;
        c.params = type->params;
        c.param_count = type->param_count;
        c.results = type->results;
        c.result_count = type->result_count;
    } else if (instr->block_type == WASM_BLOCK_VALUE) {
        c.single = instr->block_value;
        c.result_count = 1;
    }
    c.trail = t->trail.count;
    materialise_top(t, c.param_count);
    flush_locals(t);
    c.height = (uint32_t)t->values.count - c.param_count;
    c.base = c.param_count && !t->failed && !t->unsupported ? t->values.items[c.height].home
                                                            : t->next_home;
    if (kind == C_LOOP) {
        if (t->potential > POTENTIAL_MAX) {
            uint32_t at = emit(t, OP_charge);
            word(t, at, 1)->imm = (uint32_t)t->potential;
            t->potential = 0;
        }
        set_barrier(t);
        forget_accumulators(t);
        c.loop_word = (uint32_t)t->words.count;
        c.potential = t->potential;
        note_label(t);
    }
    if (!vec_push(NULL, &t->controls, c)) {
        t->failed = true;
        return;
    }
}

static void open_if(struct translator *t, const struct wasm_instr *instr)
{
    struct value cond = pop(t);
    if (t->failed || t->unsupported)
        return;
    /* Writing entries out would come between a comparison and its branch; there is rarely any. */
    uint32_t params = instr->block_type >= 0
                          ? t->module->types[instr->block_type]->func.param_count : 0;
    bool pending = false;
    for (size_t i = t->values.count; i > t->flushed && !pending; i--)
        pending = t->values.items[i - 1].kind == V_LOCAL;
    for (size_t i = t->values.count - params; i < t->values.count && !pending; i++)
        pending = t->values.items[i].kind != V_TEMP;
    if (pending) {
        /* The condition's home lies above all of them. */
        if (cond.kind == V_LOCAL) {
            move_to(t, &cond, cond.home);
            cond.kind = V_TEMP;
        }
        set_barrier(t);
        materialise_top(t, params);
        flush_locals(t);
        set_barrier(t);
    }
    uint32_t at = conditional(t, cond, false);
    open_control(t, C_IF, instr);
    if (t->failed)
        return;
    t->words.items[at] = (union wasm_word){.target = NONE, .charge = t->potential};
    control_at(t, 0)->else_patches = (int32_t)at;
}

static void push_types(struct translator *t, const uint32_t *types, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        push_temp(t, (uint8_t)types[i]);
}

static void drop_to(struct translator *t, const struct control *c)
{
    while (t->values.count > c->height && !t->failed && !t->unsupported)
        pop(t);
    t->next_home = c->base;
}

static void begin_else(struct translator *t)
{
    struct control *c = control_at(t, 0);
    if (!c->unreachable) {
        materialise_top(t, c->result_count);
        uint32_t at = emit(t, OP_br);
        c = control_at(t, 0);
        link_branch(t, c, at + 1);
    }
    if (t->failed || t->unsupported)
        return;
    drop_to(t, c);
    forget_assigned(t, c->trail);
    place_label(t, &c->else_patches, false);
    c->kind = C_ELSE;
    c->unreachable = false;
    push_types(t, c->params, c->param_count);
}

/* Returns false when the code behind the block cannot be reached. */
static bool end_control(struct translator *t)
{
    struct control *c = control_at(t, 0);
    bool reached = !c->unreachable;
    if (reached)
        materialise_top(t, c->result_count);
    if (t->failed || t->unsupported)
        return false;
    if (c->kind == C_TRY) {
        for (uint32_t i = 0; i < c->catch_count; i++) {
            struct wasm_code_catch catch = t->open_catches.items[c->catch_first + i];
            catch.start = c->try_start;
            catch.end = (uint32_t)t->words.count;
            if (!vec_push(NULL, &t->catches, catch))
                t->failed = true;
        }
        t->open_catches.count = c->catch_first;
        set_barrier(t);
    }
    /* Without else, its place is the end. */
    if (c->else_patches != NONE) {
        int32_t last = c->else_patches; /* exactly one */
        t->words.items[last].target = c->patches;
        c->patches = last;
    }
    bool joined = c->patches != NONE;
    if (joined || !reached || c->kind == C_ELSE)
        forget_assigned(t, c->trail);
    place_label(t, &c->patches, reached);
    drop_to(t, c);
    struct control closed = *c;
    t->controls.count--;
    if (!reached && !joined)
        return false;
    if (reached && !joined && closed.result_count > 0) {
        /* The results stay where they are, in the accumulators too. */
        push_types(t, control_results(&closed), closed.result_count);
        set_barrier(t);
        return true;
    }
    push_types(t, control_results(&closed), closed.result_count);
    return true;
}

/* ---- calls ------------------------------------------------------------------------------- */

/* Pops the arguments, which must lie in their homes; where they begin. */
static uint32_t take_arguments(struct translator *t, const struct wasm_functype *type)
{
    for (uint32_t i = 0; i < type->param_count; i++)
        pop(t);
    return t->next_home;
}

static void after_call(struct translator *t, const struct wasm_functype *type, bool is_tail)
{
    t->potential = 0;
    set_barrier(t);
    forget_accumulators(t);
    /* The callee's frame is its own affair, but its results need room here. */
    if (is_tail)
        become_unreachable(t);
    else
        push_types(t, type->results, type->result_count);
}

static void call(struct translator *t, uint32_t index, bool is_tail)
{
    const struct wasm_functype *type = &t->module->types[t->module->funcs[index].type_index]->func;
    bool imported = index < t->module->func_import_count;
    materialise_top(t, type->param_count);
    uint32_t base = take_arguments(t, type);
    uint32_t at = emit(t, is_tail ? OP_return_call : imported ? OP_call_import : OP_call);
    word(t, at, 1)->a = (uint16_t)base;
    word(t, at, 1)->c = (uint16_t)(is_tail ? t->record_slot
                                           : base + wasm_type_slots(type->params, type->param_count));
    word(t, at, 1)->imm = index;
    word(t, at, 2)->charge = t->potential;
    after_call(t, type, is_tail);
}

static void call_indirect(struct translator *t, uint32_t type_index, uint32_t table, bool is_tail)
{
    const struct wasm_functype *type = &t->module->types[type_index]->func;
    if (t->failed || t->unsupported)
        return;
    size_t first = t->values.count - 1 - type->param_count;
    for (uint32_t i = 0; i < type->param_count; i++)
        materialise(t, first + i);
    bool plain = table == 0 && !is_tail && !t->module->tables[0].limits.is64;
    struct value callee = pop(t);
    struct operand index = in_slot(t, &callee);
    uint32_t base = take_arguments(t, type);
    uint32_t at;
    if (plain) {
        bool in_acc = index.where == IN_ACC;
        if (in_acc)
            consume_acc(t, &callee);
        at = emit(t, in_acc ? OP_call_indirect_a : OP_call_indirect_s);
        word(t, at, 1)->b = (uint16_t)index.slot;
    } else {
        at = emit(t, is_tail ? OP_return_call_table : OP_call_table);
        word(t, at, 1)->b = (uint16_t)index.slot;
        word(t, at, 3)->u64 = table;
    }
    word(t, at, 1)->a = (uint16_t)base;
    word(t, at, 1)->c = (uint16_t)(is_tail ? t->record_slot
                                           : base + wasm_type_slots(type->params, type->param_count));
    word(t, at, 2)->target = (int32_t)type_index;
    word(t, at, 2)->charge = t->potential;
    after_call(t, type, is_tail);
}

/* ---- references -------------------------------------------------------------------------- */

static void call_ref(struct translator *t, uint32_t type_index, bool is_tail)
{
    const struct wasm_functype *type = &t->module->types[type_index]->func;
    if (t->failed || t->unsupported)
        return;
    size_t first = t->values.count - 1 - type->param_count;
    for (uint32_t i = 0; i < type->param_count; i++)
        materialise(t, first + i);
    struct value callee = pop(t);
    uint32_t slot = in_slot(t, &callee).slot;
    uint32_t base = take_arguments(t, type);
    uint32_t at = emit(t, is_tail ? OP_return_call_ref : OP_call_ref);
    word(t, at, 1)->a = (uint16_t)base;
    word(t, at, 1)->b = (uint16_t)slot;
    word(t, at, 1)->c = (uint16_t)(is_tail ? t->record_slot
                                           : base + wasm_type_slots(type->params, type->param_count));
    word(t, at, 2)->charge = t->potential;
    after_call(t, type, is_tail);
}

/* The bits of ref_test_kind for a type that no module defines, in the hierarchy of any. */
static uint32_t kinds_of(uint32_t type)
{
    enum { I31 = 2, STRUCT = 4 << WASM_DEF_STRUCT, ARRAY = 4 << WASM_DEF_ARRAY };
    uint32_t null = wasm_type_is_nullable(type);
    switch (type & 0xFF) {
    case WASM_ANYREF:
        return null | I31 | STRUCT | ARRAY | 4 << WASM_DEF_HOST;
    case WASM_EQREF:
        return null | I31 | STRUCT | ARRAY;
    case WASM_I31REF:
        return null | I31;
    case WASM_STRUCTREF:
        return null | STRUCT;
    case WASM_ARRAYREF:
        return null | ARRAY;
    default:
        return null;
    }
}

/* Whether null is all there is to ask. */
static bool is_null_test(uint32_t type)
{
    return !wasm_type_is_defined(type) && wasm_type_top(type) != WASM_ANYREF;
}
static bool is_bottom(uint32_t type)
{
    return (type & 0xFF) == WASM_NULLFUNCREF || (type & 0xFF) == WASM_NULLEXTERNREF ||
           (type & 0xFF) == WASM_NULLEXNREF;
}

/* Whether the reference in the slot has the type: into a new temporary (`keeps`) or into the
 * accumulator alone. */
static uint32_t emit_ref_test(struct translator *t, uint32_t slot, uint32_t type, bool keeps)
{
    const struct wasm_def_type *def = wasm_type_is_defined(type) ? wasm_type_defined(type) : NULL;
    bool null_only = is_null_test(type);
    unsigned op = def ? OP_ref_test_type_s_S : null_only ? OP_ref_test_null_S : OP_ref_test_kind_s_S;
    uint32_t at;
    if (keeps) {
        at = emit_result(t, op, WASM_I32, true);
    } else {
        at = emit(t, op + 1);
        t->acc[CLASS_INT].slot = NONE;
    }
    word(t, at, 1)->a = (uint16_t)slot;
    word(t, at, 1)->imm = def ? wasm_type_is_nullable(type)
                          : null_only
                              ? (wasm_type_is_nullable(type) ? 1u : 0u) | (is_bottom(type) ? 0u : 2u)
                              : kinds_of(type);
    if (def)
        word(t, at, 2)->u64 = (uintptr_t)def;
    return at;
}

/* An instruction's type, which validation has resolved once. */
static uint32_t resolved(const struct translator *t, uint32_t type)
{
    CHECK(wasm_module_resolve(t->module, &type));
    return type;
}

static void ref_test(struct translator *t, const struct wasm_instr *instr)
{
    struct value value = pop(t);
    uint32_t slot = in_slot(t, &value).slot;
    (void)emit_ref_test(t, slot, resolved(t, instr->type), true);
}

/* The entry on top of the stack is checked and stays what it is. */
static uint32_t checked_slot(struct translator *t)
{
    if (t->failed || t->unsupported)
        return 0;
    materialise_const(t, t->values.count - 1);
    const struct value *value = &t->values.items[t->values.count - 1];
    struct operand operand = operand_of(t, value);
    /* It is read here and later once more, so whoever made it must write its slot. */
    struct accumulator *acc = &t->acc[CLASS_INT];
    if (operand.where == IN_ACC && value->kind == V_TEMP && acc->producer >= t->barrier &&
        !t->failed)
        t->ops.items[acc->producer].can_skip_slot = false;
    return operand.slot;
}

static void ref_cast(struct translator *t, const struct wasm_instr *instr)
{
    uint32_t type = resolved(t, instr->type), slot = checked_slot(t);
    const struct wasm_def_type *def = wasm_type_is_defined(type) ? wasm_type_defined(type) : NULL;
    bool null = wasm_type_is_nullable(type), null_only = is_null_test(type);
    if (null_only && null && !is_bottom(type))
        return; /* always right */
    if (null_only && !null && is_bottom(type)) {
        emit(t, OP_cast_never);
        return;
    }
    uint32_t at = emit(t, def ? OP_ref_cast_type : null_only ? OP_ref_cast_null : OP_ref_cast_kind);
    word(t, at, 1)->a = (uint16_t)slot;
    word(t, at, 1)->imm = def || null_only ? null : kinds_of(type);
    if (def)
        word(t, at, 2)->u64 = (uintptr_t)def;
}

static void ref_as_non_null(struct translator *t)
{
    uint32_t slot = checked_slot(t), at = emit(t, OP_check_null);
    word(t, at, 1)->a = (uint16_t)slot;
}

/* The reference is on top of the stack; what a label of br_on_null takes lies below it. */
static void branch_on_ref(struct translator *t, const struct wasm_instr *instr)
{
    if (t->failed || t->unsupported)
        return;
    materialise_const(t, t->values.count - 1);
    struct value value = t->values.items[t->values.count - 1];
    struct test test = {.kind = TEST_NULL, .when = true, .value = value};
    switch (instr->op) {
    case WASM_OP_BR_ON_NULL:
        pop(t);
        branch_when(t, instr->index, &test);
        push(t, (struct value){.kind = value.kind, .type = value.type, .local = value.local});
        return;
    case WASM_OP_BR_ON_NON_NULL:
        test.when = false;
        branch_when(t, instr->index, &test);
        pop(t);
        return;
    default:
        test.kind = TEST_REF;
        test.type = resolved(t, instr->type2);
        test.when = instr->op == WASM_OP_BR_ON_CAST;
        branch_when(t, instr->index, &test);
        return;
    }
}

/* ---- objects ----------------------------------------------------------------------------- */

/* The instruction of a family of reads that fits the field: families list them in this order. */
static unsigned read_op(uint32_t type, bool is_signed, unsigned first, unsigned step)
{
    enum { I8_S, I8_U, I16_S, I16_U, I32, I64, F32, F64 };
    switch (type) {
    case WASM_I8: return first + step * (is_signed ? I8_S : I8_U);
    case WASM_I16: return first + step * (is_signed ? I16_S : I16_U);
    case WASM_I32: return first + step * I32;
    case WASM_F32: return first + step * F32;
    case WASM_F64: return first + step * F64;
    default: return first + step * I64;
    }
}

static unsigned write_op(uint32_t type, unsigned first)
{
    static const uint8_t by_bytes[] = {[1] = 0, [2] = 1, [4] = 2, [8] = 3};
    return first + by_bytes[wasm_type_storage_bytes(type)];
}

static uint8_t unpacked(uint32_t type)
{
    return type == WASM_I8 || type == WASM_I16 ? WASM_I32 : (uint8_t)type;
}

static void struct_get(struct translator *t, const struct wasm_instr *instr)
{
    const struct wasm_field *field = &t->module->types[instr->index]->fields[instr->index2];
    uint32_t at;
    if (field->type == WASM_V128) {
        struct value object = pop(t);
        uint32_t slot = in_slot(t, &object).slot;
        at = emit_result(t, OP_struct_getv, WASM_V128, false);
        word(t, at, 1)->a = (uint16_t)slot;
    } else {
        at = unary(t, read_op(field->type, instr->op == WASM_OP_STRUCT_GET_S,
                              OP_struct_get_i8_s_s_S,
                              OP_struct_get_i8_u_s_S - OP_struct_get_i8_s_s_S),
                   unpacked(field->type));
    }
    word(t, at, 1)->imm = field->offset;
}

static void struct_set(struct translator *t, const struct wasm_instr *instr)
{
    const struct wasm_field *field = &t->module->types[instr->index]->fields[instr->index2];
    struct value value = pop(t), object = pop(t);
    if (t->failed || t->unsupported)
        return;
    uint32_t to = in_slot(t, &object).slot, from = in_slot(t, &value).slot;
    uint32_t at = emit(t, field->type == WASM_V128 ? OP_struct_setv
                                                   : write_op(field->type, OP_struct_set_8));
    word(t, at, 1)->a = (uint16_t)to;
    word(t, at, 1)->c = (uint16_t)from;
    word(t, at, 1)->imm = field->offset;
}

static void array_get(struct translator *t, const struct wasm_instr *instr)
{
    uint32_t type = t->module->types[instr->index]->fields[0].type;
    struct value index = pop(t), array = pop(t);
    if (t->failed || t->unsupported)
        return;
    uint32_t a = in_slot(t, &array).slot, b = in_slot(t, &index).slot;
    bool is_vector = type == WASM_V128;
    unsigned op = is_vector ? OP_array_getv
                            : read_op(type, instr->op == WASM_OP_ARRAY_GET_S,
                                      OP_array_get_i8_s_ss_S,
                                      OP_array_get_i8_u_ss_S - OP_array_get_i8_s_ss_S);
    uint32_t at = emit_result(t, op, unpacked(type), !is_vector);
    word(t, at, 1)->a = (uint16_t)a;
    word(t, at, 1)->b = (uint16_t)b;
}

static void array_set(struct translator *t, const struct wasm_instr *instr)
{
    uint32_t type = t->module->types[instr->index]->fields[0].type;
    struct value value = pop(t), index = pop(t), array = pop(t);
    if (t->failed || t->unsupported)
        return;
    uint32_t a = in_slot(t, &array).slot, b = in_slot(t, &index).slot;
    uint32_t c = in_slot(t, &value).slot;
    uint32_t at = emit(t, type == WASM_V128 ? OP_array_setv : write_op(type, OP_array_set_8));
    word(t, at, 1)->a = (uint16_t)a;
    word(t, at, 1)->b = (uint16_t)b;
    word(t, at, 1)->c = (uint16_t)c;
}

/* False: the instruction is none of these. */
static bool object(struct translator *t, const struct wasm_instr *instr)
{
    enum { REF = WASM_ANYREF };
    const struct wasm_module *m = t->module;
    uint32_t slots = 0;
    switch (instr->op) {
    case WASM_OP_STRUCT_NEW: {
        const struct wasm_def_type *type = m->types[instr->index];
        for (uint32_t i = 0; i < type->field_count; i++)
            slots += wasm_field_slots(type->fields[i].type);
        emit_slow(t, OP_struct_new, type->field_count, REF, instr->index, slots);
        return true;
    }
    case WASM_OP_STRUCT_NEW_DEFAULT:
        emit_slow(t, OP_struct_new_default, 0, REF, instr->index, 0);
        return true;
    case WASM_OP_STRUCT_GET: case WASM_OP_STRUCT_GET_S: case WASM_OP_STRUCT_GET_U:
        struct_get(t, instr);
        return true;
    case WASM_OP_STRUCT_SET:
        struct_set(t, instr);
        return true;
    case WASM_OP_ARRAY_NEW:
        emit_slow(t, OP_array_new, 2, REF, instr->index, 0);
        return true;
    case WASM_OP_ARRAY_NEW_DEFAULT:
        emit_slow(t, OP_array_new_default, 1, REF, instr->index, 0);
        return true;
    case WASM_OP_ARRAY_NEW_FIXED:
        emit_slow(t, OP_array_new_fixed, instr->index2, REF, instr->index, instr->index2);
        return true;
    case WASM_OP_ARRAY_NEW_DATA:
        emit_slow(t, OP_array_new_data, 2, REF, instr->index, instr->index2);
        return true;
    case WASM_OP_ARRAY_NEW_ELEM:
        emit_slow(t, OP_array_new_elem, 2, REF, instr->index, instr->index2);
        return true;
    case WASM_OP_ARRAY_GET: case WASM_OP_ARRAY_GET_S: case WASM_OP_ARRAY_GET_U:
        array_get(t, instr);
        return true;
    case WASM_OP_ARRAY_SET:
        array_set(t, instr);
        return true;
    case WASM_OP_ARRAY_LEN:
        unary(t, OP_array_len_s_S, WASM_I32);
        return true;
    case WASM_OP_ARRAY_FILL:
        emit_slow(t, OP_array_fill, 4, 0, instr->index, 0);
        return true;
    case WASM_OP_ARRAY_COPY:
        emit_slow(t, OP_array_copy, 5, 0, instr->index, instr->index2);
        return true;
    case WASM_OP_ARRAY_INIT_DATA:
        emit_slow(t, OP_array_init_data, 4, 0, instr->index, instr->index2);
        return true;
    case WASM_OP_ARRAY_INIT_ELEM:
        emit_slow(t, OP_array_init_elem, 4, 0, instr->index, instr->index2);
        return true;
    case WASM_OP_REF_TEST: case WASM_OP_REF_TEST_NULL:
        ref_test(t, instr);
        return true;
    case WASM_OP_REF_CAST: case WASM_OP_REF_CAST_NULL:
        ref_cast(t, instr);
        return true;
    case WASM_OP_BR_ON_NULL: case WASM_OP_BR_ON_NON_NULL: case WASM_OP_BR_ON_CAST:
    case WASM_OP_BR_ON_CAST_FAIL:
        branch_on_ref(t, instr);
        return true;
    case WASM_OP_ANY_CONVERT_EXTERN:
        emit_slow(t, OP_any_convert_extern, 1, REF, 0, 0);
        return true;
    case WASM_OP_EXTERN_CONVERT_ANY:
        emit_slow(t, OP_extern_convert_any, 1, REF, 0, 0);
        return true;
    case WASM_OP_REF_I31:
        unary(t, OP_ref_i31_s_S, WASM_I31REF);
        return true;
    case WASM_OP_I31_GET_S:
        unary(t, OP_i31_get_s_s_S, WASM_I32);
        return true;
    case WASM_OP_I31_GET_U:
        unary(t, OP_i31_get_u_s_S, WASM_I32);
        return true;
    case WASM_OP_REF_AS_NON_NULL:
        ref_as_non_null(t);
        return true;
    case WASM_OP_REF_EQ:
        binary(t, &number_ops[WASM_OP_I64_EQ]);
        return true;
    default:
        return false;
    }
}

/* ---- exceptions -------------------------------------------------------------------------- */

/* Each clause gets a landing pad, a branch to its label, in front of the body. */
static void open_try(struct translator *t, const struct wasm_instr *instr)
{
    uint32_t first = (uint32_t)t->open_catches.count;
    materialise_top(t, instr->block_type >= 0
                           ? t->module->types[instr->block_type]->func.param_count : 0);
    flush_locals(t);
    int32_t past = NONE;
    if (instr->count > 0) {
        uint32_t at = emit(t, OP_br);
        if (t->failed)
            return;
        t->words.items[at + 1] = (union wasm_word){.target = NONE, .charge = t->potential};
        past = (int32_t)at + 1;
    }
    int32_t potential = t->potential;
    const uint8_t *p = instr->vector;
    for (uint32_t i = 0; i < instr->count && !t->failed; i++) {
        struct wasm_code_catch catch = {.kind = *p++};
        if (catch.kind <= WASM_CATCH_REF)
            catch.tag = wasm_leb_u32_trusted(&p);
        struct control *c = control_at(t, wasm_leb_u32_trusted(&p));
        catch.target = (uint32_t)t->words.count;
        catch.slot = (uint16_t)c->base;
        t->potential = 0;
        uint32_t at = emit(t, OP_br);
        link_branch(t, c, at + 1);
        if (!vec_push(NULL, &t->open_catches, catch))
            t->failed = true;
        uint32_t slots = c->base + wasm_type_slots(label_types(c), label_arity(c));
        if (slots > t->slots_max)
            t->slots_max = slots;
    }
    t->potential = potential;
    if (t->failed)
        return;
    place_label(t, &past, false);
    open_control(t, C_TRY, instr);
    if (t->failed)
        return;
    struct control *c = control_at(t, 0);
    c->try_start = (uint32_t)t->words.count;
    c->catch_first = first;
    c->catch_count = instr->count;
    set_barrier(t);
}

/* ---- instructions ------------------------------------------------------------------------ */

static void select_value(struct translator *t)
{
    struct value cond = pop(t), y = pop(t), x = pop(t);
    if (t->failed || t->unsupported)
        return;
    in_slot(t, &x);
    in_slot(t, &y);
    struct operand c = in_slot(t, &cond);
    struct operand a = operand_of(t, &x), b = operand_of(t, &y);
    unsigned class_ = class_of(x.type);
    static const uint16_t by_class[] = {OP_select_i_s_S, OP_select_d_s_S, OP_select_f_s_S,
                                        OP_select_v_s_S};
    bool in_acc = c.where == IN_ACC;
    if (in_acc)
        consume_acc(t, &cond);
    uint32_t at = emit_result(t, by_class[class_] + unary_form(in_acc), x.type, true);
    word(t, at, 1)->a = (uint16_t)a.slot;
    word(t, at, 1)->b = (uint16_t)b.slot;
    word(t, at, 1)->d = (uint16_t)c.slot;
}

static void global_get(struct translator *t, uint32_t index)
{
    uint8_t type = (uint8_t)t->module->globals[index].type;
    uint32_t at;
    if (type == WASM_V128) {
        at = emit_result(t, OP_global_getv, type, false);
        word(t, at, 1)->imm = index;
    } else if (index < t->module->global_import_count) {
        at = emit_result(t, OP_global_get_far, type, false);
        word(t, at, 1)->imm = index;
    } else {
        at = emit_result(t, OP_global_get_S, type, true);
        word(t, at, 1)->imm =
            (uint32_t)((index - t->module->global_import_count) * sizeof(struct wasm_global));
    }
    /* It comes through the integer accumulator, whatever its type. */
    unsigned class_ = class_of(type);
    if (class_ == CLASS_F32 || class_ == CLASS_F64) {
        t->acc[class_].slot = NONE;
        t->acc[CLASS_INT].slot = NONE;
        if (!t->failed)
            t->ops.items[t->ops.count - 1].can_skip_slot = false;
    }
}

static void global_set(struct translator *t, uint32_t index)
{
    uint8_t type = (uint8_t)t->module->globals[index].type;
    struct value value = pop(t);
    struct operand a = in_slot(t, &value);
    uint32_t at;
    if (type == WASM_V128) {
        at = emit(t, OP_global_setv);
        word(t, at, 1)->imm = index;
    } else if (index < t->module->global_import_count) {
        at = emit(t, OP_global_set_far);
        word(t, at, 1)->imm = index;
    } else {
        bool in_acc = a.where == IN_ACC && class_of(type) == CLASS_INT;
        if (in_acc)
            consume_acc(t, &value);
        at = emit(t, in_acc ? OP_global_set_a : OP_global_set_s);
        word(t, at, 1)->imm =
            (uint32_t)((index - t->module->global_import_count) * sizeof(struct wasm_global));
    }
    word(t, at, 1)->a = (uint16_t)a.slot;
}

static uint8_t address_type(const struct wasm_limits *limits)
{
    return limits->is64 ? WASM_I64 : WASM_I32;
}

static void push_const(struct translator *t, uint8_t type, uint64_t bits)
{
    push(t, (struct value){.kind = V_CONST, .type = type, .bits = bits});
}

static void instruction(struct translator *t, const struct wasm_instr *instr)
{
    const struct wasm_module *m = t->module;
    uint32_t at;
    switch (instr->op) {
    case WASM_OP_UNREACHABLE:
        emit(t, OP_unreachable);
        become_unreachable(t);
        return;
    case WASM_OP_NOP:
        return;
    case WASM_OP_BLOCK:
        open_control(t, C_BLOCK, instr);
        return;
    case WASM_OP_LOOP:
        open_control(t, C_LOOP, instr);
        return;
    case WASM_OP_IF:
        open_if(t, instr);
        return;
    case WASM_OP_ELSE:
        begin_else(t);
        return;
    case WASM_OP_BR:
        branch(t, instr->index);
        return;
    case WASM_OP_BR_IF:
        branch_if(t, instr->index);
        return;
    case WASM_OP_BR_TABLE:
        branch_table(t, instr);
        return;
    case WASM_OP_RETURN:
        return_values(t);
        become_unreachable(t);
        return;
    case WASM_OP_CALL:
    case WASM_OP_RETURN_CALL:
        call(t, instr->index, instr->op == WASM_OP_RETURN_CALL);
        return;
    case WASM_OP_CALL_INDIRECT:
    case WASM_OP_RETURN_CALL_INDIRECT:
        call_indirect(t, instr->index, instr->index2, instr->op == WASM_OP_RETURN_CALL_INDIRECT);
        return;
    case WASM_OP_CALL_REF:
    case WASM_OP_RETURN_CALL_REF:
        call_ref(t, instr->index, instr->op == WASM_OP_RETURN_CALL_REF);
        return;
    case WASM_OP_DROP:
        pop(t);
        return;
    case WASM_OP_SELECT:
    case WASM_OP_SELECT_T:
        select_value(t);
        return;
    case WASM_OP_LOCAL_GET:
        local_get(t, instr->index);
        return;
    case WASM_OP_LOCAL_SET:
        local_set(t, instr->index, pop(t));
        return;
    case WASM_OP_LOCAL_TEE: {
        struct value value = pop(t);
        local_set(t, instr->index, value);
        if (value.kind == V_CONST)
            push_const(t, value.type, value.bits);
        else
            local_get(t, instr->index);
        return;
    }
    case WASM_OP_GLOBAL_GET:
        global_get(t, instr->index);
        return;
    case WASM_OP_GLOBAL_SET:
        global_set(t, instr->index);
        return;
    case WASM_OP_I32_CONST:
        push_const(t, WASM_I32, (uint32_t)instr->value);
        return;
    case WASM_OP_I64_CONST:
        push_const(t, WASM_I64, instr->value);
        return;
    case WASM_OP_F32_CONST:
        push_const(t, WASM_F32, (uint32_t)instr->value);
        return;
    case WASM_OP_F64_CONST:
        push_const(t, WASM_F64, instr->value);
        return;
    case WASM_OP_REF_NULL:
        push_const(t, (uint8_t)instr->type, 0);
        return;
    case WASM_OP_REF_IS_NULL:
        unary(t, OP_i64_eqz_s_S, WASM_I32);
        return;
    case WASM_OP_REF_FUNC:
        at = emit_slow(t, OP_ref_func, 0, WASM_FUNCREF, instr->index, 0);
        return;
    case WASM_OP_MEMORY_SIZE:
        emit_slow(t, OP_memory_size, 0, address_type(&m->memories[instr->index].limits),
                  instr->index, 0);
        return;
    case WASM_OP_MEMORY_GROW:
        emit_slow(t, OP_memory_grow, 1, address_type(&m->memories[instr->index].limits),
                  instr->index, 0);
        return;
    case WASM_OP_MEMORY_COPY:
        emit_slow(t, OP_memory_copy, 3, 0, instr->index, instr->index2);
        return;
    case WASM_OP_MEMORY_FILL:
        emit_slow(t, OP_memory_fill, 3, 0, instr->index, 0);
        return;
    case WASM_OP_MEMORY_INIT:
        emit_slow(t, OP_memory_init, 3, 0, instr->index, instr->index2);
        return;
    case WASM_OP_DATA_DROP:
        emit_slow(t, OP_data_drop, 0, 0, instr->index, 0);
        return;
    case WASM_OP_TABLE_GET:
        emit_slow(t, OP_table_get, 1, (uint8_t)m->tables[instr->index].type, instr->index, 0);
        return;
    case WASM_OP_TABLE_SET:
        emit_slow(t, OP_table_set, 2, 0, instr->index, 0);
        return;
    case WASM_OP_TABLE_SIZE:
        emit_slow(t, OP_table_size, 0, address_type(&m->tables[instr->index].limits),
                  instr->index, 0);
        return;
    case WASM_OP_TABLE_GROW:
        emit_slow(t, OP_table_grow, 2, address_type(&m->tables[instr->index].limits),
                  instr->index, 0);
        return;
    case WASM_OP_TABLE_FILL:
        emit_slow(t, OP_table_fill, 3, 0, instr->index, 0);
        return;
    case WASM_OP_TABLE_COPY:
        emit_slow(t, OP_table_copy, 3, 0, instr->index, instr->index2);
        return;
    case WASM_OP_TABLE_INIT:
        emit_slow(t, OP_table_init, 3, 0, instr->index, instr->index2);
        return;
    case WASM_OP_ELEM_DROP:
        emit_slow(t, OP_elem_drop, 0, 0, instr->index, 0);
        return;
    case WASM_OP_TRY_TABLE:
        open_try(t, instr);
        return;
    case WASM_OP_THROW: {
        const struct wasm_functype *type = &m->types[m->tags[instr->index].type_index]->func;
        materialise_top(t, type->param_count);
        uint32_t base = take_arguments(t, type);
        at = emit(t, OP_throw);
        word(t, at, 1)->a = (uint16_t)base;
        word(t, at, 1)->imm = instr->index;
        word(t, at, 2)->charge = t->potential;
        become_unreachable(t);
        return;
    }
    case WASM_OP_THROW_REF:
        at = emit_slow(t, OP_throw_ref, 1, 0, (uint32_t)t->potential, 0);
        become_unreachable(t);
        return;
    default:
        break;
    }
    if (instr->op >= WASM_OP_I32_LOAD && instr->op <= WASM_OP_I64_LOAD32_U)
        load(t, instr, &memory_ops[instr->op]);
    else if (instr->op >= WASM_OP_I32_STORE && instr->op <= WASM_OP_I64_STORE32)
        store(t, instr, &memory_ops[instr->op]);
    else if (instr->op >= WASM_GROUP_SIMD)
        vector(t, instr);
    else if (!object(t, instr) && !number(t, instr->op))
        t->unsupported = wasm_op_infos[instr->op].name;
}

/* ---- functions --------------------------------------------------------------------------- */

static bool is_free(uint32_t op)
{
    return op == WASM_OP_BLOCK || op == WASM_OP_LOOP || op == WASM_OP_ELSE || op == WASM_OP_END ||
           op == WASM_OP_NOP;
}

static bool open_function(struct translator *t, const struct wasm_func_def *def)
{
    uint32_t slot = 0, zero_count;
    t->locals = mem_alloc(NULL, ((size_t)def->local_count + 1) * sizeof *t->locals);
    if (!t->locals)
        return false;
    for (uint32_t i = 0; i < def->local_count; i++) {
        if (i == t->type->param_count)
            slot += RECORD_SLOTS;
        t->locals[i] = (struct local){.slot = (uint16_t)slot,
                                      .type = (uint8_t)def->local_types[i],
                                      .assigned = i < t->type->param_count,
                                      .chain = NONE};
        slot += wasm_value_slots(def->local_types[i]);
        if (slot > SLOTS_MAX) {
            t->unsupported = "over 65,000 slots of locals";
            return true;
        }
    }
    t->record_slot = wasm_type_slots(t->type->params, t->type->param_count);
    if (def->local_count == t->type->param_count)
        slot += RECORD_SLOTS;
    zero_count = slot - t->record_slot - RECORD_SLOTS;
    t->next_home = t->slots_max = slot;
    uint32_t results = wasm_type_slots(t->type->results, t->type->result_count);
    if (results > t->slots_max)
        t->slots_max = results;
    /* An upper bound of the frame, also for what it calls, before it is known exactly. */
    uint64_t bound = (uint64_t)t->slots_max + 2 * (uint64_t)def->stack_max + RECORD_SLOTS;
    if (bound > FRAME_SMALL_SLOTS) {
        uint32_t at = emit(t, OP_enter_big);
        word(t, at, 1)->imm = bound > SLOTS_MAX ? SLOTS_MAX + RECORD_SLOTS : (uint32_t)bound;
    }
    t->zero_first = UINT32_MAX;
    if (zero_count > 0) { /* settled at the end, when it is known which ones matter */
        emit(t, OP_zero);
        t->zero_op_words = wasm_op_words[OP_zero];
    }
    struct control c = {.kind = C_FUNC,
                        .base = t->next_home,
                        .results = t->type->results,
                        .result_count = t->type->result_count,
                        .patches = NONE,
                        .else_patches = NONE};
    set_barrier(t);
    return vec_push(NULL, &t->controls, c);
}

/* Goes on with the body until its end (`at_end`), or until `work` is done. */
static void translate_body(struct translator *t, uint64_t work)
{
    const struct wasm_func_def *def = t->def;
    const uint8_t *end = def->body + def->body_bytes;
    if (!t->at) {
        forget_accumulators(t);
        if (!open_function(t, def))
            t->failed = true;
        t->at = def->body;
    }
    while (!t->at_end && !t->failed && !t->unsupported) {
        if (t->work++ >= work)
            return;
        struct wasm_instr instr;
        const char *problem;
        const uint8_t *where;
        enum wasm_read read = wasm_instr_read(t->at, end, &instr, &problem, &where);
        CHECK(read == WASM_READ_OK); /* it was validated */
        t->source = (uint32_t)(t->at - def->body);
        t->at = instr.next;
        struct control *c = control_at(t, 0);
        if (c->unreachable) {
            if (instr.op == WASM_OP_BLOCK || instr.op == WASM_OP_LOOP || instr.op == WASM_OP_IF ||
                instr.op == WASM_OP_TRY_TABLE) {
                t->skipped++;
                continue;
            }
            if (instr.op != WASM_OP_END && (instr.op != WASM_OP_ELSE || t->skipped > 0))
                continue;
            if (t->skipped > 0) {
                t->skipped--;
                continue;
            }
        }
        if (instr.op == WASM_OP_END) {
            if (t->controls.count == 1 && !c->unreachable && c->patches == NONE) {
                return_values(t);
                t->at_end = true;
                return;
            }
            bool reached = end_control(t);
            if (t->controls.count == 0) {
                if (reached)
                    return_values(t);
                t->at_end = true;
                return;
            }
            if (!reached)
                become_unreachable(t);
            continue;
        }
        if (!is_free(instr.op) && ++t->potential > POTENTIAL_RESET) {
            uint32_t charge = emit(t, OP_charge);
            word(t, charge, 1)->imm = (uint32_t)t->potential - 1;
            t->potential = 1;
        }
        instruction(t, &instr);
    }
}

/* The zeroing of locals, now that it is known what could be seen. With a big frame's check in
 * front of it, it cannot be left out, only made short. */
static void settle_zeroing(struct translator *t)
{
    if (t->failed || t->unsupported || t->zero_op_words == 0)
        return;
    bool first = t->ops.items[0].op == OP_zero;
    struct emitted *op = &t->ops.items[first ? 0 : 1];
    if (t->zero_end == 0 && first)
        return;
    t->zero_op_words = 0;
    uint32_t count = t->zero_end == 0 ? 1 : t->zero_end - t->zero_first;
    op->op = count == 1 ? OP_zero1 : count == 2 ? OP_zero2 : count == 4 ? OP_zero4 : OP_zero;
    union wasm_word *operands = word(t, op->word, 1);
    operands->a = (uint16_t)(t->zero_end == 0 ? t->record_slot + RECORD_SLOTS : t->zero_first);
    operands->imm = count;
}

static void translator_free(struct translator *t)
{
    vec_free(NULL, &t->trail);
    vec_free(NULL, &t->words);
    vec_free(NULL, &t->ops);
    vec_free(NULL, &t->values);
    vec_free(NULL, &t->controls);
    vec_free(NULL, &t->labels);
    vec_free(NULL, &t->catches);
    vec_free(NULL, &t->open_catches);
    mem_free(NULL, t->locals);
    mem_free(NULL, t->costs);
    mem_free(NULL, t->code);
}

static struct translator translator_make(struct wasm_module *module, uint32_t index)
{
    const struct wasm_func_def *def = &module->funcs[index];
    return (struct translator){.module = module,
                               .def = def,
                               .type = &module->types[def->type_index]->func,
                               .guarded = wasm_memory_guards()};
}

static int compare_labels(const void *x, const void *y)
{
    uint32_t a = ((const struct wasm_code_label *)x)->word;
    uint32_t b = ((const struct wasm_code_label *)y)->word;
    return (a > b) - (a < b);
}

/* Chooses handlers: from the end, the cover of the rest with the fewest dispatches. As far as
 * `work` goes. */
static void choose_handlers(struct translator *t, uint64_t work)
{
    size_t count = t->ops.count;
    uint32_t *cost = t->costs;
    while (t->handlers_left > 0 && t->work < work) {
        size_t i = --t->handlers_left;
        uint16_t ops[SEQUENCE_LONGEST];
        uint32_t n = 0;
        t->work++;
        while (n < SEQUENCE_LONGEST && i + n < count) {
            ops[n] = t->ops.items[i + n].op;
            n++;
            /* A br_table's words and whatever never falls through end a straight line. */
            if (i + n < count &&
                t->ops.items[i + n].word !=
                    t->ops.items[i + n - 1].word + wasm_op_words[ops[n - 1]])
                break;
        }
        cost[i] = UINT32_MAX;
        for (uint32_t length = n; length > 0;) {
            uint32_t taken;
            wasm_handler handler = wasm_sequence_handler(ops, length, &taken);
            if (1 + cost[i + taken] < cost[i]) {
                cost[i] = 1 + cost[i + taken];
                t->code->words[t->ops.items[i].word].handler = handler;
            }
            length = taken - 1;
        }
    }
}

/* The code of a finished body, still without handlers; NULL when memory is out. */
static struct wasm_code *make_code(struct translator *t, uint32_t index)
{
    size_t words_bytes = t->words.count * sizeof(union wasm_word);
    size_t labels_bytes = t->labels.count * sizeof(struct wasm_code_label);
    size_t catches_bytes = t->catches.count * sizeof(struct wasm_code_catch);
    /* the longest sequence reaches so far behind the end */
    t->costs = mem_calloc(NULL, t->ops.count + SEQUENCE_LONGEST, sizeof *t->costs);
    struct wasm_code *code =
        t->costs ? mem_alloc(NULL, sizeof *code + words_bytes + labels_bytes + catches_bytes)
                 : NULL;
    if (!code)
        return NULL;
    union wasm_word *words = code->words;
    struct wasm_code_label *labels = (struct wasm_code_label *)(words + t->words.count);
    struct wasm_code_catch *catches = (struct wasm_code_catch *)(labels + t->labels.count);
    memcpy(words, t->words.items, words_bytes);
    if (labels_bytes > 0) {
        memcpy(labels, t->labels.items, labels_bytes);
        qsort(labels, t->labels.count, sizeof *labels, compare_labels);
    }
    if (catches_bytes > 0)
        memcpy(catches, t->catches.items, catches_bytes);
    code->func_index = index;
    code->word_count = (uint32_t)t->words.count;
    code->entry_word = t->zero_op_words;
    code->record_slot = (uint16_t)t->record_slot;
    code->frame_slots = t->slots_max;
    code->label_count = (uint32_t)t->labels.count;
    code->catch_count = (uint32_t)t->catches.count;
    code->labels = labels;
    code->catches = catches;
    t->handlers_left = t->ops.count;
    return code;
}

/* Goes on for `work` more. ERR_OK: code is there, with all its handlers. ERR_BUSY: not yet. */
static enum err translate_some(struct translator *t, uint32_t index, uint64_t work,
                               struct report *report)
{
    uint64_t until = work > UINT64_MAX - t->work ? UINT64_MAX : t->work + work;
    if (!t->code) {
        translate_body(t, until);
        if (!t->at_end && !t->failed && !t->unsupported)
            return ERR_BUSY;
        settle_zeroing(t);
        if (!t->failed && !t->unsupported)
            t->code = make_code(t, index);
        if (t->unsupported)
            return err_set(report, ERR_UNSUPPORTED,
                           "function %u uses what this build does not support: %s", index,
                           t->unsupported);
        if (!t->code)
            return err_set(report, ERR_MEMORY, "out of memory translating function %u", index);
    }
    choose_handlers(t, until);
    return t->handlers_left > 0 ? ERR_BUSY : ERR_OK;
}

/* How many codes of the program lie before `p`. */
static size_t code_index(const struct wasm_program *program, const union wasm_word *p)
{
    size_t low = 0, high = program->codes.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (program->codes.items[middle]->words < p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes the translator that waits to go on with this function off the list, or NULL. */
static struct translator *take_waiting(struct wasm_program *program, const struct wasm_func_def *def)
{
    struct translator **link = &program->waiting;
    while (*link && (*link)->def != def)
        link = &(*link)->next;
    struct translator *t = *link;
    if (t)
        *link = t->next;
    return t;
}

static enum err translate(struct wasm_module *module, uint32_t index, uint64_t work,
                          struct report *report)
{
    struct wasm_program *program = module->translated;
    struct translator local, *t = take_waiting(program, &module->funcs[index]);
    if (!t) {
        enum err err = wasm_validate_body(module, index, report);
        if (err)
            return err;
        local = translator_make(module, index);
    } else {
        local = *t;
    }
    enum err err = translate_some(&local, index, work, report);
    if (err == ERR_OK && !vec_reserve(NULL, &program->codes, 1))
        err = err_set(report, ERR_MEMORY, "out of memory translating function %u", index);
    if (err == ERR_BUSY) {
        if (!t)
            t = mem_alloc(NULL, sizeof *t);
        if (t) {
            *t = local;
            t->next = program->waiting;
            program->waiting = t;
            return ERR_BUSY;
        }
        err = err_set(report, ERR_MEMORY, "out of memory translating function %u", index);
    } else if (err == ERR_OK) {
        struct wasm_code *code = local.code;
        local.code = NULL;
        size_t at = code_index(program, code->words);
        memmove(program->codes.items + at + 1, program->codes.items + at,
                (program->codes.count++ - at) * sizeof *program->codes.items);
        program->codes.items[at] = code;
        atomic_store_explicit(&module->funcs[index].code, code, memory_order_release);
        atomic_store_explicit(&program->entries[index], code->words + code->entry_word,
                              memory_order_release);
    }
    mem_free(NULL, t);
    translator_free(&local);
    return err;
}

enum err wasm_translate(struct wasm_module *module, uint32_t index, uint64_t work,
                        struct report *report)
{
    struct wasm_program *program = module->translated;
    enum err err = ERR_OK;
    pthread_mutex_lock(&module->translate_lock);
    if (!atomic_load_explicit(&program->entries[index], memory_order_relaxed))
        err = translate(module, index, work, report);
    pthread_mutex_unlock(&module->translate_lock);
    return err;
}

bool wasm_translate_origin(struct wasm_module *module, const struct wasm_code *code, uint32_t at,
                           struct wasm_origin *origin)
{
    struct translator t = translator_make(module, code->func_index);
    translate_body(&t, UINT64_MAX);
    bool ok = !t.failed && !t.unsupported && t.ops.count > 0;
    if (ok) {
        size_t low = 0, high = t.ops.count;
        while (high - low > 1) {
            size_t middle = (low + high) / 2;
            if (t.ops.items[middle].word <= at)
                low = middle;
            else
                high = middle;
        }
        *origin = (struct wasm_origin){t.ops.items[low].source, t.ops.items[low].potential};
    }
    translator_free(&t);
    return ok;
}

const struct wasm_code *wasm_code_find(struct wasm_module *module, const union wasm_word *p)
{
    struct wasm_program *program = module->translated;
    if (!program)
        return NULL;
    pthread_mutex_lock(&module->translate_lock);
    size_t at = code_index(program, p + 1);
    const struct wasm_code *code = at > 0 ? program->codes.items[at - 1] : NULL;
    if (code && (size_t)(p - code->words) >= code->word_count)
        code = NULL;
    pthread_mutex_unlock(&module->translate_lock);
    return code;
}

int32_t wasm_code_potential(const struct wasm_code *code, uint32_t at)
{
    size_t low = 0, high = code->label_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code->labels[middle].word < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < code->label_count && code->labels[low].word == at ? code->labels[low].potential
                                                                   : 0;
}

/* ---- programs ---------------------------------------------------------------------------- */

static void program_free(struct wasm_program *program)
{
    if (!program)
        return;
    while (program->waiting) {
        struct translator *next = program->waiting->next;
        translator_free(program->waiting);
        mem_free(NULL, program->waiting);
        program->waiting = next;
    }
    for (size_t i = 0; i < program->codes.count; i++)
        mem_free(NULL, program->codes.items[i]);
    vec_free(NULL, &program->codes);
    wasm_image_free(&program->image);
    mem_free(NULL, program->entries);
    mem_free(NULL, program->ref_index);
    mem_free(NULL, program);
}

static struct wasm_program *program_make(const struct wasm_module *module)
{
    struct wasm_program *program = mem_calloc(NULL, 1, sizeof *program);
    if (!program)
        return NULL;
    program->image.fd = -1;
    program->entries = mem_calloc(NULL, module->func_count + 1, sizeof *program->entries);
    program->ref_index = mem_calloc(NULL, module->func_count + 1, sizeof *program->ref_index);
    if (!program->entries || !program->ref_index) {
        program_free(program);
        return NULL;
    }
    for (uint32_t i = 0; i < module->func_count; i++)
        program->ref_index[i] = module->funcs[i].is_declared;
    for (uint32_t i = 0; i < module->export_count; i++)
        if (module->exports[i].type.kind == WASM_FUNC)
            program->ref_index[module->exports[i].index] = true;
    for (uint32_t i = 0; i < module->elem_count; i++)
        for (uint32_t k = 0; module->elems[i].funcs && k < module->elems[i].count; k++)
            program->ref_index[module->elems[i].funcs[k]] = true;
    if (module->has_start)
        program->ref_index[module->start] = true;
    for (uint32_t i = 0; i < module->func_count; i++)
        program->ref_index[i] = i >= module->func_import_count && program->ref_index[i]
                                    ? program->ref_count++
                                    : UINT32_MAX;
    return program;
}

struct wasm_program *wasm_program_get(struct wasm_module *module)
{
    pthread_mutex_lock(&module->translate_lock);
    if (!module->translated)
        module->translated = program_make(module);
    struct wasm_program *program = module->translated;
    pthread_mutex_unlock(&module->translate_lock);
    return program;
}

void wasm_code_free_all(struct wasm_module *module)
{
    program_free(module->translated);
    module->translated = NULL;
}
