/* Functions made of shapes: source code that the translator turns into given instructions of the
 * internal code, one after the other, so that it finds the sequences of sequences.def.
 *
 * An instruction's name says where its operands are (ops.def). `s`: a local that the accumulator
 * does not hold. `a`: what the instruction before left on the operand stack (form A), or the local
 * that it was put into (form S). An A result therefore is a pending expression, code that its
 * consumer takes in; everything else is a statement, which comes behind the pending expressions
 * made so far, for those run first. What the translator would melt together but the shape has
 * apart is kept apart by a block around the first part.
 *
 * Values are mostly small, so that they can be addresses, and floats stay away from NaN: vectors
 * of floats live in locals of their own. The function ends by storing NaNs again, canonical. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/gen.h"

extern const char *const gen_op_names[], *const gen_sequence_names[];
extern const unsigned gen_op_name_count, gen_sequence_count;

enum { STEPS_MAX = 24, PENDING_MAX = 12, OPEN_MAX = 40, FIXES_MAX = 24, NAME_BYTES = 40 };
enum { CLASS_INT, CLASS_F32, CLASS_F64, CLASS_V128, CLASSES };
enum kind { NUMBER, LOAD, STORE, VECTOR, BRANCH, OTHER };

/* What a vector's lanes are: operations on floats get nothing but floats, so that NaNs stay away. */
enum lanes { INTEGERS, FLOATS, DOUBLES };

struct form {
    char family[NAME_BYTES];
    char at[4]; /* where operands are */
    char to;    /* S, A, or 0 */
    enum kind kind;
    bool negated; /* of BRANCH: taken when the comparison fails */
    bool of_one;  /* a shuffle of one vector */
    unsigned code;
    const struct wasm_op_info *info;
};

struct pending {
    struct buf code;
    uint8_t type;
    uint64_t sets; /* locals assigned within */
    unsigned last; /* the source instruction that made it */
    enum lanes lanes;
    char at[4]; /* where its operands were */
};

struct shape {
    struct gen *g;
    struct form steps[STEPS_MAX];
    unsigned count, at;
    struct buf now; /* the statement or expression being made */
    uint64_t now_sets;
    unsigned now_last;
    enum lanes now_lanes;
    char now_at[4];
    struct pending pending[PENDING_MAX];
    unsigned pending_count;
    unsigned taken;   /* what made the pending expression that was taken last */
    bool taken_sum, taken_offset; /* it was an addition of two slots, of a slot and a constant */
    int acc[CLASSES]; /* the local that the accumulator holds, or -1 */
    bool open_loop[OPEN_MAX];
    unsigned open_count;
    unsigned turn; /* of the result locals */
    unsigned kind, helpers, sig_of_helper;
    struct {
        int local, local2; /* the address's locals, -1: none */
        uint32_t offset;
        uint8_t type;
    } fixes[FIXES_MAX];
    unsigned fix_count;
    bool ended; /* what follows cannot be reached */
};

/* Locals: parameters, which are never assigned, two of them positive, and results. */
enum {
    P_I32 = 0, P_I64 = 4, P_F32 = 6, P_F64 = 8, R_I32 = 10, R_I64 = 16, R_F32 = 20, R_F64 = 23,
    R_V128 = 26, R_F32X4 = 30, R_F64X2 = 32, R_LAST = 34,
    P_POSITIVE_F32 = P_F32 + 1, P_POSITIVE_F64 = P_F64 + 1,
};
static const uint8_t param_types[SHAPE_PARAMS] = {WASM_I32, WASM_I32, WASM_I32, WASM_I32, WASM_I64,
                                                  WASM_I64, WASM_F32, WASM_F32, WASM_F64, WASM_F64};

void gen_shape_sig(unsigned kind, struct sig *sig)
{
    static const uint8_t results[SHAPE_KINDS] = {WASM_I64, 0, WASM_I32, WASM_F32, WASM_F64};
    memset(sig, 0, sizeof *sig);
    memcpy(sig->params.items, param_types, SHAPE_PARAMS);
    sig->params.count = SHAPE_PARAMS;
    sig->results.items[0] = results[kind];
    sig->results.count = results[kind] != 0;
}

static float moderate(struct gen *g)
{
    static const float values[] = {0, 1, -1, 0.5f, 1.5f, 2, 3.25f, 100, -7, 0.1f, 65536, -0.0f, 12, 1000};
    return values[gen_pick(g, sizeof values / sizeof *values)];
}

static int32_t small(struct gen *g)
{
    if (gen_chance(g, 8))
        return (int32_t)(gen_pick(g, 2000) * 2147483u);
    if (gen_chance(g, 25))
        return 0;
    return (int32_t)(gen_chance(g, 60) ? gen_pick(g, 100) * 4 : gen_pick(g, 40));
}

static void put_float(struct buf *out, uint8_t type, float x)
{
    double wide = (double)x;
    uint32_t bits;
    uint64_t wide_bits;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&wide_bits, &wide, sizeof wide_bits);
    if (type == WASM_F32)
        gen_put_le(out, bits, 4);
    else
        gen_put_le(out, wide_bits, 8);
}

static void put_moderate(struct gen *g, struct buf *out, uint8_t type)
{
    put_float(out, type, moderate(g));
}

static void put_small(struct gen *g, struct buf *out, uint8_t type)
{
    switch (type) {
    case WASM_I32:
        gen_put_op(out, WASM_OP_I32_CONST);
        gen_put_s(out, small(g));
        break;
    case WASM_I64:
        gen_put_op(out, WASM_OP_I64_CONST);
        gen_put_s(out, small(g));
        break;
    case WASM_F32:
        gen_put_op(out, WASM_OP_F32_CONST);
        put_moderate(g, out, type);
        break;
    case WASM_F64:
        gen_put_op(out, WASM_OP_F64_CONST);
        put_moderate(g, out, type);
        break;
    default:
        gen_put_op(out, WASM_OP_V128_CONST);
        for (int i = 0; i < 4; i++)
            gen_put_le(out, (uint32_t)small(g), 4);
    }
}

/* What is divided by zero, or divides zero, and what has a root. */
static void put_positive(struct gen *g, struct buf *out, uint8_t type)
{
    gen_put_op(out, type == WASM_F32 ? WASM_OP_F32_CONST : WASM_OP_F64_CONST);
    put_float(out, type, 0.25f * (float)(1 + gen_pick(g, 40)));
}

void gen_shape_argument(struct gen *g, unsigned index)
{
    uint8_t type = param_types[index];
    if (index == P_POSITIVE_F32 || index == P_POSITIVE_F64) {
        put_positive(g, &g->code, type);
        return;
    }
    if ((type == WASM_I32 || type == WASM_I64) && gen_chance(g, 6))
        gen_put_const(g, &g->code, type);
    else
        put_small(g, &g->code, type);
}

/* ---- names ------------------------------------------------------------------------------- */

static bool find_op(const char *family, bool is_vector, struct form *form)
{
    char name[NAME_BYTES];
    size_t n = strlen(family);
    for (size_t i = 0; i <= n; i++)
        name[i] = is_vector ? (char)tolower((unsigned char)family[i]) : family[i];
    char *first = strchr(name, '_');
    if (!first)
        return false;
    *first = '.';
    for (unsigned code = 0; code < WASM_OP_COUNT; code++)
        if (wasm_op_infos[code].name && strcmp(wasm_op_infos[code].name, name) == 0 &&
            (code >= WASM_GROUP_SIMD) == is_vector && (code < WASM_GROUP_GC || is_vector)) {
            form->code = code;
            form->info = &wasm_op_infos[code];
            return true;
        }
    return false;
}

/* Whether it makes integers of a float's bits, or takes the sign of one that the accumulator holds. */
static bool shows_nan(const struct form *form)
{
    return strstr(form->info->name, "reinterpret_f") ||
           (strstr(form->info->name, "copysign") && form->at[1] == 'a');
}

static bool parse(const char *name, size_t bytes, struct form *form)
{
    static const char *const others[] = {
        "charge", "zero", "zero1", "zero2", "zero4", "br", "br_nz", "br_z", "br_table", "call",
        "call_import", "call_indirect", "ret_0", "ret_i", "ret_f32", "ret_f64", "mov", "movd",
        "movf", "movv", "const32", "const64", "select_i", "select_d", "select_f", "select_v",
        "global_get", "global_set"};
    memset(form, 0, sizeof *form);
    if (bytes == 0 || bytes >= NAME_BYTES)
        return false;
    memcpy(form->family, name, bytes);
    char *last = strrchr(form->family, '_');
    if (last && (strcmp(last, "_S") == 0 || strcmp(last, "_A") == 0)) {
        form->to = last[1];
        *last = 0;
        last = strrchr(form->family, '_');
    }
    if (last && strlen(last) <= 4 && strspn(last + 1, "sacxyrzkm") == strlen(last) - 1 &&
        strcmp(form->family, "i32_wrap_i64") != 0) {
        memcpy(form->at, last + 1, strlen(last) - 1);
        *last = 0;
    }
    if (strchr(form->at, 'r'))
        return false; /* of memories that are checked */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(form->family, others[i]) == 0) {
            form->kind = OTHER;
            return true;
        }
    if (isupper((unsigned char)name[0]) || strcmp(form->family, "v128_shuffle_one") == 0) {
        form->of_one = name[0] == 'v';
        if (!find_op(form->of_one ? "I8X16_SHUFFLE" : form->family, true, form))
            return false;
        form->kind = form->info->imm != WASM_IMM_MEMARG ? VECTOR
                     : form->info->result[0]            ? LOAD
                                                        : STORE;
        return true;
    }
    if (strncmp(form->family, "br_", 3) == 0) {
        form->kind = BRANCH;
        if (strcmp(form->family, "br_i32_nand") == 0) {
            form->negated = true;
            return find_op("i32_and", false, form);
        }
        form->negated = strncmp(form->family, "br_not_", 7) == 0;
        return find_op(form->family + (form->negated ? 7 : 3), false, form);
    }
    if (!form->at[0] || !find_op(form->family, false, form) || shows_nan(form))
        return false;
    form->kind = form->info->imm != WASM_IMM_MEMARG ? NUMBER
                 : form->info->result[0]            ? LOAD
                                                    : STORE;
    return true;
}

static int class_of(uint8_t type)
{
    return type == WASM_F32    ? CLASS_F32
           : type == WASM_F64  ? CLASS_F64
           : type == WASM_V128 ? CLASS_V128
                               : CLASS_INT;
}

static uint8_t operand_type(const struct form *form, unsigned index)
{
    uint8_t type = wasm_op_letter_type(form->info->operands[index]);
    return type ? type : WASM_I32;
}

/* The type that the instruction takes from the accumulator of integers; 0: none, or any. */
static uint8_t wants(const struct form *form)
{
    const char *a = strchr(form->at, 'a');
    uint8_t type = WASM_I32;
    if (form->at[0] == 'y')
        return WASM_I32;
    if (!a)
        return 0;
    if (form->kind == VECTOR)
        type = operand_type(form, (unsigned)(a - form->at));
    else if (form->kind == NUMBER || form->kind == BRANCH)
        type = operand_type(form, form->info->operands[1] && a != form->at ? 1 : 0);
    else if (form->kind == STORE)
        type = a == form->at ? WASM_I32 : operand_type(form, 1);
    else if (strncmp(form->family, "mov", 3) == 0 || strcmp(form->family, "global_set") == 0 ||
             strncmp(form->family, "ret_f", 5) == 0)
        return 0;
    return class_of(type) == CLASS_INT ? type : 0;
}

/* The type of integer that the steps from `from` on want of the accumulator. */
static uint8_t wanted(const struct shape *s, unsigned from)
{
    for (unsigned i = from; i < s->count; i++) {
        if (wants(&s->steps[i]))
            return wants(&s->steps[i]);
        if (s->steps[i].kind == NUMBER || s->steps[i].kind == LOAD)
            break;
    }
    return gen_chance(s->g, 80) ? WASM_I32 : WASM_I64;
}

/* ---- operands and results ---------------------------------------------------------------- */

static void now_op(struct shape *s, unsigned op)
{
    gen_put_op(&s->now, op);
}

static void now_op_u(struct shape *s, unsigned op, uint64_t immediate)
{
    gen_put_op(&s->now, op);
    gen_put_u(&s->now, immediate);
}

/* Locals for a type: parameters [*first, *first + 2), results [*result, *result_end). */
static void locals_of(uint8_t type, bool is_float_vector, bool wide, unsigned *first,
                      unsigned *first_end, unsigned *result, unsigned *result_end)
{
    switch (type) {
    case WASM_I32: *first = P_I32; *first_end = P_I64; *result = R_I32; *result_end = R_I64; break;
    case WASM_I64: *first = P_I64; *first_end = P_F32; *result = R_I64; *result_end = R_F32; break;
    case WASM_F32: *first = P_F32; *first_end = P_F64; *result = R_F32; *result_end = R_F64; break;
    case WASM_F64: *first = P_F64; *first_end = R_I32; *result = R_F64; *result_end = R_V128; break;
    default:
        *result = !is_float_vector ? R_V128 : wide ? R_F64X2 : R_F32X4;
        *result_end = !is_float_vector ? R_F32X4 : wide ? R_LAST : R_F64X2;
        *first = *result;
        *first_end = *result_end;
    }
}

static unsigned slot(struct shape *s, uint8_t type, bool may_be_result)
{
    unsigned first, end, result, result_end;
    locals_of(type, false, false, &first, &end, &result, &result_end);
    if (may_be_result && (type == WASM_V128 || gen_chance(s->g, 30)))
        for (unsigned tries = 0; tries < 4; tries++) {
            unsigned local = result + gen_pick(s->g, result_end - result);
            bool changes = s->pending_count > 0 &&
                           (s->pending[s->pending_count - 1].sets >> local & 1) != 0;
            if (s->acc[class_of(type)] != (int)local && !changes)
                return local;
        }
    return first + gen_pick(s->g, end - first);
}

static void get_slot(struct shape *s, uint8_t type)
{
    now_op_u(s, WASM_OP_LOCAL_GET, slot(s, type, true));
}

/* What the accumulator of the type's class holds. */
static void get_acc(struct shape *s, uint8_t type)
{
    int class_ = class_of(type);
    uint8_t have = type;
    s->taken = 0;
    s->taken_sum = s->taken_offset = false;
    if (s->pending_count > 0 && class_of(s->pending[s->pending_count - 1].type) == class_) {
        struct pending *from = &s->pending[--s->pending_count];
        have = from->type;
        s->taken = from->last;
        s->taken_sum = from->last == WASM_OP_I32_ADD && strcmp(from->at, "ss") == 0;
        s->taken_offset = from->last == WASM_OP_I32_ADD && strcmp(from->at, "sc") == 0;
        buf_append(&s->now, from->code.data ? from->code.data : "", from->code.count);
        s->now_sets |= from->sets;
        buf_deinit(&from->code);
    } else if (s->acc[class_] >= 0) {
        now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)s->acc[class_]);
        have = s->g->locals[s->acc[class_]];
    } else {
        get_slot(s, type);
    }
    if (have == WASM_I64 && type == WASM_I32)
        now_op(s, WASM_OP_I32_WRAP_I64);
    else if (have == WASM_I32 && type == WASM_I64)
        now_op(s, WASM_OP_I64_EXTEND_I32_U);
}

static void get_const(struct shape *s, uint8_t type)
{
    put_small(s->g, &s->now, type);
}

/* Before an operand is made that runs code, those that lie below it. */
static void get(struct shape *s, char at, uint8_t type, const struct form *form)
{
    if (at == 'a')
        get_acc(s, type);
    else if (at == 'c')
        get_const(s, type);
    else
        now_op_u(s, WASM_OP_LOCAL_GET,
                 slot(s, type, !form->info || !strstr(form->info->name, "copysign")));
}

/* `now` becomes a statement. */
static void flush(struct shape *s)
{
    struct buf *to = s->pending_count ? &s->pending[s->pending_count - 1].code : &s->g->code;
    if (s->pending_count)
        s->pending[s->pending_count - 1].sets |= s->now_sets;
    buf_append(to, s->now.data ? s->now.data : "", s->now.count);
    buf_clear(&s->now);
    s->now_sets = 0;
}

static unsigned result_local(struct shape *s, uint8_t type, bool is_float_vector, bool wide)
{
    unsigned first, end, result, result_end;
    locals_of(type, is_float_vector, wide, &first, &end, &result, &result_end);
    return result + s->turn++ % (result_end - result);
}

/* `now` leaves a value: where the form says, it goes. */
static void done(struct shape *s, uint8_t type, char to)
{
    int class_ = class_of(type);
    if (to == 'A' && s->pending_count < PENDING_MAX) {
        s->pending[s->pending_count] = (struct pending){
            .type = type, .sets = s->now_sets, .last = s->now_last,
            .lanes = s->now_lanes};
        memcpy(s->pending[s->pending_count].at, s->now_at, sizeof s->now_at);
        buf_init(&s->pending[s->pending_count].code, NULL);
        buf_append(&s->pending[s->pending_count].code, s->now.data, s->now.count);
        s->pending_count++;
        buf_clear(&s->now);
        s->now_sets = 0;
        s->now_lanes = INTEGERS;
        s->acc[class_] = -1;
        return;
    }
    unsigned local = result_local(s, type, s->now_lanes != INTEGERS, s->now_lanes == DOUBLES);
    s->now_lanes = INTEGERS;
    now_op_u(s, WASM_OP_LOCAL_SET, local);
    s->now_sets |= UINT64_C(1) << local;
    flush(s);
    s->acc[class_] = (int)local;
}

/* ---- labels ------------------------------------------------------------------------------ */

static void open(struct shape *s, unsigned op)
{
    now_op(s, op);
    gen_put(&s->now, 0x40);
    if (s->open_count < OPEN_MAX)
        s->open_loop[s->open_count++] = op == WASM_OP_LOOP;
}

/* A label without values that is not a loop's: the outermost one is such. */
static unsigned any_label(struct shape *s)
{
    unsigned n = gen_pick(s->g, s->open_count);
    while (s->open_loop[n])
        n--;
    return s->open_count - 1 - n;
}

/* The condition is on top in `now`: a branch away when it holds, or when not. The translator makes
 * the latter of an `if`, which cannot reach below itself on the operand stack. */
static void branch_on(struct shape *s, bool when)
{
    bool compares = s->taken >= WASM_OP_I32_EQZ && s->taken <= WASM_OP_F64_GE;
    if (compares || s->taken == WASM_OP_I32_AND) {
        now_op(s, WASM_OP_I32_EQZ); /* it melts into the branch in their place */
        when = !when;
    }
    if (!when && s->pending_count == 0) {
        open(s, WASM_OP_IF);
    } else {
        if (!when)
            now_op(s, WASM_OP_I32_EQZ);
        now_op_u(s, WASM_OP_BR_IF, any_label(s));
    }
    flush(s);
}

/* ---- steps ------------------------------------------------------------------------------- */

static uint32_t offset(struct gen *g)
{
    return gen_chance(g, 90) ? gen_pick(g, 64) : gen_chance(g, 80) ? gen_pick(g, 3000) : 65536 + gen_pick(g, 70000);
}

static void number(struct shape *s, const struct form *f)
{
    uint8_t result = wasm_op_letter_type(f->info->result[0]);
    unsigned count = (unsigned)strlen(f->info->operands);
    s->now_last = f->code;
    memcpy(s->now_at, f->at, sizeof s->now_at);
    if (strcmp(f->at, "am") == 0) {
        static const uint16_t loads[] = {WASM_OP_I32_LOAD, WASM_OP_F32_LOAD, WASM_OP_F64_LOAD};
        uint8_t type = operand_type(f, 0);
        get_acc(s, type);
        get_slot(s, WASM_I32);
        now_op(s, type == WASM_I64 ? WASM_OP_I64_LOAD : loads[class_of(type)]);
        gen_put_u(&s->now, 0);
        gen_put_u(&s->now, offset(s->g));
    } else {
        for (unsigned i = 0; i < count; i++) {
            char at = f->at[i] ? f->at[i] : 's';
            uint8_t type = operand_type(f, i);
            bool positive = class_of(type) != CLASS_INT &&
                            (strstr(f->info->name, ".div") || strstr(f->info->name, ".sqrt"));
            if (positive && at == 'c')
                put_positive(s->g, &s->now, type);
            else if (positive && at == 's')
                now_op_u(s, WASM_OP_LOCAL_GET, type == WASM_F32 ? P_POSITIVE_F32 : P_POSITIVE_F64);
            else
                get(s, at, type, f);
        }
    }
    now_op(s, f->code);
    done(s, result, f->to);
}

/* The address, where `at` says it is; what is added to it in the shape `form`. */
static void get_address(struct shape *s, char at, const struct form *f, int *local, int *local2)
{
    *local = -2; /* not to be said */
    *local2 = -1;
    if (at == 'x' && f->kind == STORE) {
        *local = (int)slot(s, WASM_I32, false);
        *local2 = (int)slot(s, WASM_I32, false);
        now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)*local);
        now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)*local2);
        now_op(s, WASM_OP_I32_ADD);
    } else if (at == 'z') {
        get_slot(s, WASM_I32);
        now_op(s, WASM_OP_I32_CONST);
        gen_put_s(&s->now, 1 + gen_pick(s->g, 300));
        now_op(s, WASM_OP_I32_ADD);
    } else if (at == 'x' || at == 'y') {
        get_slot(s, WASM_I32);
        get(s, at == 'x' ? 's' : 'a', WASM_I32, f);
        now_op(s, WASM_OP_I32_ADD);
    } else if (at == 'c') {
        now_op(s, WASM_OP_I32_CONST);
        gen_put_s(&s->now, 0);
        *local = -1;
    } else if (at == 's') {
        *local = (int)slot(s, WASM_I32, f->kind != STORE);
        now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)*local);
    } else {
        get(s, at, WASM_I32, f);
    }
}

static void load(struct shape *s, const struct form *f)
{
    int local, local2;
    uint32_t more = f->at[0] == 'z' ? 0 : offset(s->g);
    get_address(s, f->at[0], f, &local, &local2);
    if (f->at[0] == 'x')
        more %= 60000;
    if (f->at[0] == 'a' && s->taken_offset && more == 0)
        more = 1; /* or the constant would melt into the load */
    if (f->at[0] == 'a' && s->taken_sum)
        more = 65536 + more % 60000; /* too much to melt into the sum */
    now_op(s, f->code);
    gen_put_u(&s->now, gen_pick(s->g, f->info->number + 1u));
    gen_put_u(&s->now, more);
    s->now_last = f->code;
    done(s, wasm_op_letter_type(f->info->result[0]), f->to);
}

static void store(struct shape *s, const struct form *f)
{
    uint8_t type = operand_type(f, 1);
    uint32_t more = f->at[0] == 'z' ? 0 : offset(s->g);
    int local, local2;
    if (f->at[0] == 'x')
        more %= 60000;
    bool both = strcmp(f->at, "aa") == 0 && s->pending_count > 1;
    if (both) { /* the address was made first: it lies below the value */
        struct pending value = s->pending[s->pending_count - 1];
        s->pending[s->pending_count - 1] = s->pending[s->pending_count - 2];
        s->pending[s->pending_count - 2] = value;
    }
    s->taken_sum = s->taken_offset = false;
    get_address(s, f->at[0], f, &local, &local2);
    if (f->at[0] == 'a' && s->taken_offset && more == 0)
        more = 1;
    if (f->at[0] == 'a' && s->taken_sum && f->at[1] != 'k')
        more = 65536 + more % 60000;
    if (f->at[1] == 'k') {
        now_op(s, type == WASM_I32 ? WASM_OP_I32_CONST : WASM_OP_I64_CONST);
        gen_put_s(&s->now, (int64_t)gen_pick(s->g, 2000) - 1000);
    } else if (f->at[0] == 'x' && f->at[1] == 'a') { /* no code may come behind the sum */
        int held = s->acc[class_of(type)];
        if (held >= 0 && s->g->locals[held] == type)
            now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)held);
        else
            get_slot(s, type);
    } else if (class_of(type) != CLASS_INT && f->at[0] != 's' && f->at[1] == 's') {
        now_op_u(s, WASM_OP_LOCAL_GET, slot(s, type, false));
    } else {
        get(s, f->at[1], type, f);
    }
    now_op(s, f->code);
    gen_put_u(&s->now, gen_pick(s->g, f->info->number + 1u));
    gen_put_u(&s->now, more);
    if ((type == WASM_F32 || type == WASM_F64) && local > -2 && s->fix_count < FIXES_MAX) {
        s->fixes[s->fix_count].local = local;
        s->fixes[s->fix_count].local2 = local2;
        s->fixes[s->fix_count].offset = more;
        s->fixes[s->fix_count++].type = type;
    }
    flush(s);
}

static void branch(struct shape *s, const struct form *f)
{
    for (unsigned i = 0; i < 2; i++)
        get(s, f->at[i] ? f->at[i] : 's', operand_type(f, i), f);
    now_op(s, f->code);
    s->taken = 0;
    branch_on(s, !f->negated);
}

static bool is_float_op(const struct wasm_op_info *info, bool *wide)
{
    *wide = strncmp(info->name, "f64x2", 5) == 0 || strstr(info->name, "_f64x2") != NULL;
    return *wide || strncmp(info->name, "f32x4", 5) == 0 || strstr(info->name, "_f32x4") != NULL;
}

static bool is_comparison(const struct wasm_op_info *info)
{
    static const char *const names[] = {".eq", ".ne", ".lt", ".gt", ".le", ".ge"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *dot = strchr(info->name, '.');
        if (strncmp(dot, names[i], 3) == 0 && (dot[3] == 0 || dot[3] == '_'))
            return true;
    }
    return false;
}

static enum lanes lanes_of_local(unsigned local)
{
    return local >= R_F64X2 ? DOUBLES : local >= R_F32X4 ? FLOATS : INTEGERS;
}

/* A vector operand, from the accumulator only when that has lanes of the kind. */
static void get_vector(struct shape *s, char at, enum lanes lanes)
{
    bool pending = s->pending_count > 0 && s->pending[s->pending_count - 1].type == WASM_V128;
    int held = s->acc[CLASS_V128];
    enum lanes has = pending     ? s->pending[s->pending_count - 1].lanes
                     : held >= 0 ? lanes_of_local((unsigned)held)
                                 : INTEGERS;
    if (at == 'a' && (pending || held >= 0) && (lanes == INTEGERS || lanes == has)) {
        get_acc(s, WASM_V128);
        return;
    }
    unsigned first, end, result, result_end, local = 0;
    locals_of(WASM_V128, lanes != INTEGERS, lanes == DOUBLES, &first, &end, &result, &result_end);
    if (lanes == INTEGERS)
        end = R_LAST; /* bits are bits */
    for (unsigned tries = 0; tries < 4; tries++) {
        local = first + gen_pick(s->g, end - first);
        if ((int)local != held)
            break;
    }
    now_op_u(s, WASM_OP_LOCAL_GET, local);
}

static void lane_immediates(struct shape *s, const struct form *f)
{
    switch ((enum wasm_imm)f->info->imm) {
    case WASM_IMM_MEMARG_LANE:
        gen_put_u(&s->now, gen_pick(s->g, f->info->number + 1u));
        gen_put_u(&s->now, offset(s->g));
        gen_put(&s->now, gen_pick(s->g, 16u >> f->info->number));
        break;
    case WASM_IMM_LANE:
        gen_put(&s->now, gen_pick(s->g, f->info->number));
        break;
    case WASM_IMM_SHUFFLE: /* of both, or (any pair will do) of the second alone */
        for (int i = 0; i < 16; i++)
            gen_put(&s->now, f->of_one ? 16 + gen_pick(s->g, 16) : (unsigned)i * 2 + 1 - gen_pick(s->g, 2));
        break;
    case WASM_IMM_V128:
        for (int i = 0; i < 4; i++)
            gen_put_le(&s->now, (uint32_t)small(s->g), 4);
        break;
    default:
        break;
    }
}

static void vector(struct shape *s, const struct form *f)
{
    const struct wasm_op_info *info = f->info;
    bool wide, takes_floats = is_float_op(info, &wide);
    bool makes_wide = strncmp(info->name, "f64x2", 5) == 0;
    bool makes_floats = (makes_wide || strncmp(info->name, "f32x4", 5) == 0) && !is_comparison(info);
    if (strncmp(info->name, "f32x4.convert", 13) == 0 || strncmp(info->name, "f64x2.convert", 13) == 0)
        takes_floats = false;
    if (strstr(info->name, "relaxed"))
        return; /* its operands would have to be chosen */
    enum lanes lanes = !takes_floats ? INTEGERS : wide ? DOUBLES : FLOATS;
    if (strcmp(f->at, "am") == 0) {
        get_vector(s, 'a', lanes);
        get_slot(s, WASM_I32);
        now_op(s, WASM_OP_V128_LOAD);
        gen_put_u(&s->now, 0);
        /* Floats where memory mostly is zero still, and no NaN. */
        gen_put_u(&s->now, takes_floats ? 100000 + gen_pick(s->g, 20000) : offset(s->g));
    } else if (f->of_one) {
        now_op_u(s, WASM_OP_LOCAL_GET, R_V128);
        get_vector(s, f->at[0], INTEGERS);
    } else {
        for (unsigned i = 0; info->operands[i]; i++) {
            char at = strlen(f->at) > i ? f->at[i] : 's';
            uint8_t type = operand_type(f, i);
            if (type == WASM_V128)
                get_vector(s, at, lanes);
            else if (class_of(type) != CLASS_INT && at == 's')
                now_op_u(s, WASM_OP_LOCAL_GET, slot(s, type, false));
            else
                get(s, at, type, f);
        }
    }
    now_op(s, f->code);
    lane_immediates(s, f);
    s->now_last = f->code;
    s->now_lanes = !makes_floats || info->result[0] != 'V' ? INTEGERS : makes_wide ? DOUBLES : FLOATS;
    if (info->result[0])
        done(s, wasm_op_letter_type(info->result[0]), f->to);
    else
        flush(s);
}

/* A call of any sort; the moves of the steps before it may be its arguments. */
static void call(struct shape *s, const struct form *f, unsigned arguments)
{
    struct gen *g = s->g;
    if (strcmp(f->family, "call_import") == 0) {
        unsigned import = g->import_count && arguments == 1 ? 0 : 3;
        if (arguments > 1 || (arguments == 1 && !g->import_count))
            return;
        now_op_u(s, WASM_OP_CALL, g->import_count ? import : s->helpers);
        if (import == 3 && g->import_count) {
            flush(s);
            return;
        }
    } else if (strcmp(f->family, "call_indirect") == 0) {
        get(s, f->at[0], WASM_I32, f);
        now_op_u(s, WASM_OP_CALL_INDIRECT, s->sig_of_helper + arguments);
        gen_put_u(&s->now, 0);
    } else {
        now_op_u(s, WASM_OP_CALL, s->helpers + arguments);
    }
    done(s, WASM_I32, 'S');
    memset(s->acc, -1, sizeof s->acc);
}

/* How many of the steps from `at` on are moves and constants that a call follows; 0 when none
 * does, or when there are too many. */
static unsigned arguments_at(const struct shape *s, unsigned at)
{
    unsigned n = 0;
    while (at + n < s->count && (strcmp(s->steps[at + n].family, "const32") == 0 ||
                                 (strcmp(s->steps[at + n].family, "mov") == 0 &&
                                  s->steps[at + n].to == 'S')))
        n++;
    bool calls = at + n < s->count && s->steps[at + n].kind == OTHER &&
                 strncmp(s->steps[at + n].family, "call", 4) == 0 && n < SHAPE_HELPERS;
    return calls && s->pending_count == 0 ? n : 0;
}

static void return_(struct shape *s, const struct form *f)
{
    static const uint8_t types[] = {0, 0, WASM_I32, WASM_F32, WASM_F64};
    if (types[s->kind])
        get(s, f->at[0] ? f->at[0] : 's', types[s->kind], f);
    else if (s->kind == 0)
        put_small(s->g, &s->now, WASM_I64);
    now_op(s, WASM_OP_RETURN);
    flush(s);
    s->ended = true;
}

static void select_(struct shape *s, const struct form *f)
{
    uint8_t type = f->family[7] == 'd' ? WASM_F64 : f->family[7] == 'f' ? WASM_F32 : wanted(s, s->at + 1);
    get_slot(s, type);
    if (type == WASM_I32 && f->at[0] == 's' && s->acc[CLASS_INT] >= 0 && gen_chance(s->g, 50) &&
        s->g->locals[s->acc[CLASS_INT]] == type)
        now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)s->acc[CLASS_INT]);
    else
        get_slot(s, type);
    get(s, f->at[0], WASM_I32, f);
    now_op(s, WASM_OP_SELECT);
    s->now_last = WASM_OP_SELECT;
    done(s, type, f->to);
}

static void other(struct shape *s, const struct form *f)
{
    struct gen *g = s->g;
    const char *family = f->family;
    if (strcmp(family, "charge") == 0) {
        if (s->pending_count > 0)
            return;
        open(s, WASM_OP_LOOP);
        flush(s);
        memset(s->acc, -1, sizeof s->acc);
    } else if (strncmp(family, "br", 2) == 0) {
        bool when = strcmp(family, "br_nz") == 0;
        if (strcmp(family, "br") == 0) {
            now_op_u(s, WASM_OP_BR, any_label(s));
            flush(s);
            s->ended = true;
            return;
        }
        s->taken = 0;
        get(s, f->at[0], WASM_I32, f);
        if (strcmp(family, "br_table") == 0) {
            now_op_u(s, WASM_OP_BR_TABLE, 3);
            for (int i = 0; i < 4; i++)
                gen_put_u(&s->now, any_label(s));
            flush(s);
            s->ended = true;
            return;
        }
        branch_on(s, when);
    } else if (strncmp(family, "call", 4) == 0) {
        call(s, f, 0);
    } else if (strncmp(family, "ret_", 4) == 0) {
        return_(s, f);
    } else if (strcmp(family, "movv") == 0) {
        static const unsigned first[] = {R_V128, R_F32X4, R_F64X2};
        unsigned lanes = gen_pick(g, 3);
        int held = s->acc[CLASS_V128];
        if (f->at[0] == 'a' && held >= 0)
            lanes = lanes_of_local((unsigned)held);
        now_op_u(s, WASM_OP_LOCAL_GET,
                 f->at[0] == 'a' && held >= 0 ? (unsigned)held : first[lanes] + s->turn % 2);
        s->turn++;
        s->now_lanes = (enum lanes)lanes;
        done(s, WASM_V128, f->to);
    } else if (strncmp(family, "mov", 3) == 0) {
        uint8_t type = family[3] == 'd' ? WASM_F64 : family[3] == 'f' ? WASM_F32 : wanted(s, s->at + 1);
        int held = s->acc[class_of(type)];
        if (f->at[0] == 'a' && held >= 0)
            type = g->locals[held];
        if (f->at[0] == 'a' && held >= 0)
            now_op_u(s, WASM_OP_LOCAL_GET, (uint64_t)held);
        else
            get_slot(s, type);
        s->now_last = 0;
        done(s, type, 'S');
    } else if (strncmp(family, "const", 5) == 0) {
        uint8_t type = wanted(s, s->at + 1);
        if (strcmp(family, "const64") == 0) {
            type = WASM_I64;
            now_op(s, WASM_OP_I64_CONST);
            gen_put_s(&s->now, (int64_t)((uint64_t)gen_pick(g, UINT32_MAX) << 32 | 0x80000000));
        } else {
            now_op(s, type == WASM_I64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
            gen_put_s(&s->now, gen_chance(g, 90) ? small(g) & INT32_MAX : INT32_MAX);
        }
        done(s, type, 'S');
    } else if (strcmp(family, "select_v") == 0) {
        for (int i = 0; i < 2; i++)
            get_vector(s, 's', INTEGERS);
        get(s, f->at[0], WASM_I32, f);
        now_op(s, WASM_OP_SELECT);
        done(s, WASM_V128, f->to);
    } else if (strncmp(family, "select", 6) == 0) {
        select_(s, f);
    } else if (strcmp(family, "global_get") == 0) {
        uint8_t type = wanted(s, s->at + 1);
        for (unsigned i = g->global_import_count; i < g->global_count; i++)
            if (g->globals[i] == type) {
                now_op_u(s, WASM_OP_GLOBAL_GET, i);
                s->now_last = 0;
                done(s, type, f->to);
                return;
            }
    } else if (strcmp(family, "global_set") == 0) {
        unsigned global = g->global_import_count + gen_pick(g, g->global_count - g->global_import_count - 1);
        get(s, f->at[0], g->globals[global], f);
        now_op_u(s, WASM_OP_GLOBAL_SET, global);
        flush(s);
    }
}

static void step(struct shape *s)
{
    const struct form *f = &s->steps[s->at];
    unsigned arguments = gen_chance(s->g, 50) ? arguments_at(s, s->at) : 0;
    if (arguments > 0) {
        for (unsigned i = 0; i < arguments; i++)
            if (strcmp(s->steps[s->at + i].family, "mov") == 0)
                get(s, s->steps[s->at + i].at[0], WASM_I32, f);
            else
                put_small(s->g, &s->now, WASM_I32);
        s->at += arguments;
        call(s, &s->steps[s->at], arguments);
        buf_clear(&s->now);
        return;
    }
    switch (f->kind) {
    case NUMBER: number(s, f); break;
    case LOAD: load(s, f); break;
    case STORE: store(s, f); break;
    case VECTOR: vector(s, f); break;
    case BRANCH: branch(s, f); break;
    case OTHER: other(s, f); break;
    }
}

/* ---- functions --------------------------------------------------------------------------- */

static void set_local(struct gen *g, unsigned local)
{
    if (local >= R_F32X4) {
        gen_op(g, WASM_OP_V128_CONST);
        for (unsigned i = 0; i < (local >= R_F64X2 ? 2u : 4u); i++)
            put_float(&g->code, local >= R_F64X2 ? WASM_F64 : WASM_F32, 0.5f + (float)gen_pick(g, 30));
    } else {
        put_small(g, &g->code, g->locals[local]);
    }
    gen_op_u(g, WASM_OP_LOCAL_SET, local);
}

/* Instructions that are in no sequence, so that the shape starts behind them: they leave locals in
 * all accumulators. */
static void settle(struct shape *s)
{
    static const struct {
        uint8_t type;
        uint16_t op;
    } by_class[] = {{WASM_F32, WASM_OP_F32_CEIL}, {WASM_F64, WASM_OP_F64_CEIL}, {0, 0}};
    if (s->g->features & GEN_SIMD) {
        bool floats = gen_chance(s->g, 50);
        get_vector(s, 's', floats ? FLOATS : INTEGERS);
        now_op(s, floats ? WASM_OP_F32X4_CEIL : WASM_OP_I8X16_POPCNT);
        s->now_lanes = floats ? FLOATS : INTEGERS;
        done(s, WASM_V128, 'S');
    }
    for (int i = 0; i < 3; i++) {
        uint8_t type = by_class[i].type ? by_class[i].type : wanted(s, 0);
        unsigned op = by_class[i].op       ? by_class[i].op
                      : type == WASM_I32 ? WASM_OP_I32_CTZ
                                         : WASM_OP_I64_CTZ;
        get_slot(s, type);
        now_op(s, op);
        done(s, type, 'S');
    }
}

static void fix(struct shape *s, unsigned n)
{
    struct gen *g = s->g;
    bool is64 = s->fixes[n].type == WASM_F64;
    for (int i = 0; i < 2; i++) {
        if (s->fixes[n].local >= 0)
            gen_op_u(g, WASM_OP_LOCAL_GET, (uint64_t)s->fixes[n].local);
        else
            gen_i32_const(g, 0);
        if (s->fixes[n].local2 >= 0) {
            gen_op_u(g, WASM_OP_LOCAL_GET, (uint64_t)s->fixes[n].local2);
            gen_op(g, WASM_OP_I32_ADD);
        }
    }
    gen_op(g, is64 ? WASM_OP_F64_LOAD : WASM_OP_F32_LOAD);
    gen_put_u(&g->code, 0);
    gen_put_u(&g->code, s->fixes[n].offset);
    gen_canonicalize(g, s->fixes[n].type, false);
    gen_op(g, is64 ? WASM_OP_F64_STORE : WASM_OP_F32_STORE);
    gen_put_u(&g->code, 0);
    gen_put_u(&g->code, s->fixes[n].offset);
}

static void parse_all(struct shape *s, const char *text)
{
    while (*text) {
        size_t bytes = strcspn(text, " ,");
        if (s->count < STEPS_MAX && parse(text, bytes, &s->steps[s->count]))
            s->count++;
        text += bytes;
        text += strspn(text, " ,");
    }
}

/* What the function leaves: everything, folded, or one local. */
static void leave(struct shape *s)
{
    struct gen *g = s->g;
    static const unsigned one[] = {0, 0, R_I32, R_F32, R_F64};
    if (s->kind > 1)
        gen_op_u(g, WASM_OP_LOCAL_GET, one[s->kind] + s->turn % 3);
    if (s->kind != 0)
        return;
    gen_op(g, WASM_OP_I64_CONST);
    gen_put_s(&g->code, 0);
    for (unsigned i = R_I32; i < (g->features & GEN_SIMD ? (unsigned)R_LAST : (unsigned)R_V128); i++) {
        gen_op_u(g, WASM_OP_LOCAL_GET, i);
        gen_fold(g, g->locals[i]);
    }
}

void gen_shape_body(struct gen *g, unsigned kind, const char *text, unsigned helpers,
                    unsigned sig_of_helper)
{
    static const struct {
        uint8_t type, count;
    } own[] = {{WASM_I32, 6}, {WASM_I64, 4}, {WASM_F32, 3}, {WASM_F64, 3}, {WASM_V128, 8}};
    struct shape *s = calloc(1, sizeof *s);
    if (!s) {
        g->code.failed = true;
        return;
    }
    s->g = g;
    s->kind = kind;
    s->helpers = helpers;
    s->sig_of_helper = sig_of_helper;
    s->turn = gen_pick(g, 6);
    buf_init(&s->now, NULL);
    for (int i = 0; i < CLASSES; i++)
        s->acc[i] = -1;
    parse_all(s, text);
    /* Its locals stand in front of the scratch ones that are there already. */
    unsigned at = SHAPE_PARAMS;
    memmove(g->locals + R_LAST, g->locals + at, TYPE_COUNT);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        for (unsigned k = 0; k < own[i].count; k++)
            g->locals[at++] = own[i].type;
    g->local_count = R_LAST + TYPE_COUNT;

    bool zeroes = s->count > 0 && strncmp(s->steps[0].family, "zero", 4) == 0;
    bool charges = false, at_start = gen_chance(g, 20);
    for (unsigned i = 0; i < s->count; i++) {
        charges |= strcmp(s->steps[i].family, "charge") == 0;
        if (strstr(s->steps[i].family, "_DIV")) /* locals are zero there */
            at_start = false;
    }
    for (unsigned i = 0; charges && i < 70; i++) { /* so that the loop's head charges */
        gen_op(g, WASM_OP_I32_CONST);
        gen_put(&g->code, 0);
        gen_op(g, WASM_OP_DROP);
    }
    open(s, WASM_OP_BLOCK);
    flush(s);
    if (!zeroes && !at_start) {
        for (unsigned i = R_I32; i < (g->features & GEN_SIMD ? (unsigned)R_LAST : (unsigned)R_V128); i++)
            if (i >= R_F32X4 || gen_chance(g, 30))
                set_local(g, i);
        settle(s);
    }
    /* A label in the middle, reached from here, at a step that needs no accumulator. */
    unsigned middle = gen_chance(g, 25) && s->count > 2 ? 1 + gen_pick(g, s->count - 1) : 0;
    if (middle && !strchr(s->steps[middle].at, 'a')) {
        open(s, WASM_OP_BLOCK);
        get_slot(s, WASM_I32);
        now_op_u(s, WASM_OP_BR_IF, 0);
        flush(s);
    } else {
        middle = 0;
    }
    unsigned outside = s->open_count;
    for (; s->at < s->count && !s->ended; s->at++) {
        if (middle && s->at >= middle && s->pending_count == 0 && s->open_count == outside) {
            gen_op(g, WASM_OP_END);
            s->open_count--;
            outside = middle = 0;
            for (int i = 0; i < CLASSES; i++)
                s->acc[i] = -1;
        }
        step(s);
    }
    while (s->pending_count > 0) { /* nobody took it: what no sequence has does */
        struct buf all;
        buf_init(&all, NULL);
        for (unsigned i = 0; i < s->pending_count; i++)
            buf_append(&all, s->pending[i].code.data, s->pending[i].code.count);
        buf_append(&g->code, all.data, all.count);
        buf_deinit(&all);
        for (; s->pending_count > 0; s->pending_count--) {
            static const uint16_t takes[] = {WASM_OP_I32_CTZ, WASM_OP_F32_CEIL, WASM_OP_F64_CEIL,
                                             WASM_OP_I8X16_POPCNT};
            struct pending *p = &s->pending[s->pending_count - 1];
            gen_op(g, p->type == WASM_I64 ? WASM_OP_I64_CTZ : takes[class_of(p->type)]);
            gen_op_u(g, WASM_OP_LOCAL_SET, result_local(s, p->type, false, false));
            buf_deinit(&p->code);
        }
    }
    while (s->open_count-- > 0)
        gen_op(g, WASM_OP_END);
    for (unsigned i = 0; i < s->fix_count; i++)
        fix(s, i);
    leave(s);
    buf_deinit(&s->now);
    free(s);
}

/* ---- choosing ---------------------------------------------------------------------------- */

/* Some instructions; what only ends a line comes last, for nothing behind it would run. */
static void random_shape(struct gen *g, struct buf *shape)
{
    static const char *const ends[] = {"br", "br_table", "call", "call_import", "call_indirect",
                                       "ret_0", "ret_i", "ret_f32", "ret_f64"};
    for (unsigned n = 1 + gen_pick(g, 8); n > 0;) {
        struct form form;
        const char *name = gen_op_names[gen_pick(g, gen_op_name_count)];
        if (n > 1 && gen_chance(g, 5)) { /* a load as an operand, which wants something before it */
            static const char *const pairs[] = {
                "i32_mul_ss_A i32_add_am", "i32_mul_sc_A i32_and_am", "i32_add_ss_A i32_or_am",
                "i32_mul_ss_A i32_xor_am", "i64_mul_ss_A i64_add_am", "i64_mul_ss_A i64_xor_am",
                "f32_mul_ss_A f32_add_am", "f32_add_ss_A f32_sub_am", "f32_sub_ss_A f32_mul_am",
                "f64_mul_ss_A f64_add_am", "f64_mul_ss_A f64_sub_am", "f64_add_ss_A f64_mul_am"};
            static const char *const vector_pairs[] = {
                "V128_NOT_s_A V128_OR_am", "V128_NOT_s_A V128_XOR_am", "I32X4_NEG_s_A I32X4_ADD_am",
                "I8X16_NEG_s_A I8X16_ADD_am", "I8X16_ABS_s_A I8X16_AVGR_U_am",
                "F32X4_ABS_s_A F32X4_ADD_am", "F32X4_ABS_s_A F32X4_SUB_am",
                "F32X4_ABS_s_A F32X4_MUL_am", "F64X2_ABS_s_A F64X2_ADD_am",
                "F64X2_ABS_s_A F64X2_SUB_am", "F64X2_ABS_s_A F64X2_MUL_am"};
            bool vectors = g->features & GEN_SIMD && gen_chance(g, 50);
            buf_printf(shape, "%s%s_%c", shape->count ? " " : "",
                       vectors ? vector_pairs[gen_pick(g, sizeof vector_pairs / sizeof *vector_pairs)]
                               : pairs[gen_pick(g, sizeof pairs / sizeof *pairs)],
                       gen_chance(g, 50) ? 'S' : 'A');
            n--;
            continue;
        }
        /* Before an operation on lanes of floats in the accumulator, one that makes them. */
        if (g->features & GEN_SIMD && (strncmp(name, "F32X4", 5) == 0 || strncmp(name, "F64X2", 5) == 0))
            buf_printf(shape, "%s%.5s_ABS_s_A", shape->count ? " " : "", name);
        if (!parse(name, strlen(name), &form) || strncmp(name, "zero", 4) == 0 ||
            (form.kind == VECTOR && !(g->features & GEN_SIMD)) ||
            (form.kind == STORE && strcmp(form.at, "aa") == 0)) /* a NaN could get anywhere */
            continue;
        bool is_end = false;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            is_end |= form.kind == OTHER && strcmp(form.family, ends[i]) == 0;
        n--;
        if (is_end && n > 0)
            continue;
        buf_printf(shape, "%s%s", shape->count ? " " : "", name);
    }
}

static bool is_of_vectors(const char *names)
{
    return strstr(names, "128") || strstr(names, "X") || strstr(names, "movv") ||
           strstr(names, "select_v");
}

/* Whether what a load found may be stored at an address that nobody keeps. */
static bool hides_nan(const char *names)
{
    const char *store = strstr(names, "_store_aa");
    return store && (strstr(names, "f64_load") || strstr(names, "f32_load"));
}

unsigned gen_shape_next(struct gen *g, struct buf *shape)
{
    uint64_t state = g->state;
    buf_clear(shape);
    if (g->shapes) {
        size_t bytes = strcspn(g->shapes, ";\n");
        buf_append(shape, g->shapes, bytes);
        g->shapes += bytes + (g->shapes[bytes] == ';');
    } else if (gen_chance(g, 70)) {
        const char *name;
        do
            name = gen_sequence_names[gen_pick(g, gen_sequence_count)];
        while ((!(g->features & GEN_SIMD) && is_of_vectors(name)) || hides_nan(name));
        buf_puts(shape, name);
    } else {
        random_shape(g, shape);
    }
    g->state = state + 1; /* the same whether it was given or chosen */
    if (g->used)
        buf_printf(g->used, "%s%s", g->used->count ? ";" : "", shape->data);
    const char *last = strrchr(shape->data, ' '); /* the shape's end says how the function ends */
    last = last ? last + 1 : shape->data;
    if (strncmp(last, "ret_0", 5) == 0)
        return 1;
    if (strncmp(last, "ret_i", 5) == 0)
        return 2;
    if (strncmp(last, "ret_f32", 7) == 0)
        return 3;
    return strncmp(last, "ret_f64", 7) == 0 ? 4 : 0;
}
