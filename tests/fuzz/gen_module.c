#include "tests/fuzz/gen_module.h"

#include <stdio.h>
#include <string.h>

#include "interp/wasm/opcodes.h"
#include "interp/wasm/wasm.h"

enum {
    TYPES_MAX = 10, LIST_MAX = 4, FUNCS_MAX = 12, GLOBALS_MAX = 8, LOCALS_MAX = 24, LABELS_MAX = 24,
    RUNS_MAX = 6, DEPTH_MAX = 7, OPS_MAX = 600, CHARGE = 3000, BODY_BYTES = 1500,
};

struct list {
    uint8_t items[LIST_MAX];
    unsigned count;
};
struct sig {
    struct list params, results;
};
struct label {
    struct list types; /* what a branch to it carries */
};

struct gen {
    uint64_t state;
    const uint8_t *choices; /* used before the state's random numbers */
    size_t choice_bytes;
    unsigned features;
    struct sig sigs[TYPES_MAX];
    unsigned sig_count; /* sigs[0] is () -> (i64) */
    unsigned func_sig[FUNCS_MAX];
    unsigned func_count;
    uint8_t globals[GLOBALS_MAX]; /* the last is the counter */
    unsigned global_count;
    unsigned data_count, elem_count;
    /* Operations by result type, from opcodes.def. */
    struct {
        uint16_t ops[OPS_MAX];
        unsigned count;
    } by_result[6];
    /* The function being written. */
    struct buf code;
    const struct sig *sig;
    unsigned func_index;
    uint8_t locals[LOCALS_MAX];
    unsigned local_count; /* the last ones are scratch, one per type */
    struct label labels[LABELS_MAX];
    unsigned label_count;
};

static const uint8_t all_types[] = {WASM_I32, WASM_I64, WASM_F32, WASM_F64, WASM_V128,
                                    WASM_FUNCREF};
enum { TYPE_COUNT = 6 };

static uint32_t pick(struct gen *g, uint32_t below)
{
    if (g->choice_bytes >= 2) {
        uint32_t choice = (uint32_t)g->choices[0] | (uint32_t)g->choices[1] << 8;
        g->choices += 2;
        g->choice_bytes -= 2;
        return choice % below;
    }
    g->state = g->state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = g->state;
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15u;
    return (uint32_t)((x >> 32) % below);
}

static bool chance(struct gen *g, uint32_t percent)
{
    return pick(g, 100) < percent;
}

static unsigned type_number(uint8_t type)
{
    return (unsigned)((const uint8_t *)memchr(all_types, type, TYPE_COUNT) - all_types);
}

/* Numbers mostly; vectors and references now and then. */
static uint8_t pick_type(struct gen *g)
{
    uint32_t n = pick(g, 20);
    if (n < 8)
        return WASM_I32;
    if (n < 12)
        return WASM_I64;
    if (n < 14)
        return WASM_F32;
    if (n < 16)
        return WASM_F64;
    if (n < 19)
        return g->features & GEN_SIMD ? WASM_V128 : WASM_I32;
    return WASM_FUNCREF;
}

/* ---- encoding ---------------------------------------------------------------------------- */

static void put(struct buf *out, unsigned byte)
{
    buf_putc(out, (char)byte);
}

static void put_u(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put(out, (unsigned)(value & 0x7F) | 0x80);
    put(out, (unsigned)value);
}

static void put_s(struct buf *out, int64_t value)
{
    for (;;) {
        unsigned byte = (unsigned)((uint64_t)value & 0x7F);
        value >>= 7;
        if ((value == 0 && !(byte & 0x40)) || (value == -1 && (byte & 0x40))) {
            put(out, byte);
            return;
        }
        put(out, byte | 0x80);
    }
}

static void put_section(struct buf *out, unsigned id, struct buf *body)
{
    put(out, id);
    put_u(out, body->count);
    buf_append(out, body->data ? body->data : "", body->count);
    buf_clear(body);
}

static void put_op(struct buf *out, unsigned op)
{
    if (op >= WASM_GROUP_SIMD) {
        put(out, 0xFD);
        put_u(out, op - WASM_GROUP_SIMD);
    } else if (op >= WASM_GROUP_BULK) {
        put(out, 0xFC);
        put_u(out, op - WASM_GROUP_BULK);
    } else {
        put(out, op);
    }
}

static void op(struct gen *g, unsigned code)
{
    put_op(&g->code, code);
}

static void op_u(struct gen *g, unsigned code, uint64_t immediate)
{
    put_op(&g->code, code);
    put_u(&g->code, immediate);
}

static void i32_const(struct gen *g, int32_t value)
{
    op(g, WASM_OP_I32_CONST);
    put_s(&g->code, value);
}

static void put_le(struct buf *out, uint64_t bits, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        put(out, (unsigned)(bits >> (8 * i)) & 0xFF);
}

/* ---- constants --------------------------------------------------------------------------- */

static uint64_t integer(struct gen *g, unsigned bits)
{
    static const uint64_t special[] = {0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255,
                                       256, 32767, 32768, 65535, 65536, 0x7FFFFFFF, 0x80000000,
                                       0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
                                       UINT64_MAX, UINT64_MAX - 1, 0xDEADBEEFCAFEF00D};
    uint64_t value;
    if (chance(g, 60))
        value = special[pick(g, sizeof special / sizeof *special)];
    else if (chance(g, 50))
        value = pick(g, 1000) - (uint64_t)500;
    else
        value = (uint64_t)pick(g, UINT32_MAX) << 32 | pick(g, UINT32_MAX);
    return bits == 32 ? (uint64_t)(int64_t)(int32_t)value : value;
}

static uint64_t f32_bits(struct gen *g)
{
    static const uint32_t special[] = {0, 0x80000000, 0x3F800000, 0xBF800000, 0x3F000000, 0x7F800000,
                                       0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FA00001, 1, 0x00800000,
                                       0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x4F800000, 0x5F000000,
                                       0x4B000001, 0x40490FDB, 0x3FC00000, 0xBF000000};
    return chance(g, 75) ? special[pick(g, sizeof special / sizeof *special)]
                         : pick(g, UINT32_MAX);
}

static uint64_t f64_bits(struct gen *g)
{
    static const uint64_t special[] = {
        0, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x3FE0000000000000,
        0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0xFFF8000000000000,
        0x7FF4000000000001, 1, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0x41DFFFFFFFC00000,
        0x41E0000000000000, 0xC1E0000000000000, 0x41EFFFFFFFE00000, 0x43E0000000000000,
        0xC3E0000000000000, 0x43F0000000000000, 0x4330000000000001, 0x400921FB54442D18};
    return chance(g, 75) ? special[pick(g, sizeof special / sizeof *special)]
                         : (uint64_t)pick(g, UINT32_MAX) << 32 | pick(g, UINT32_MAX);
}

static void put_const(struct gen *g, struct buf *out, uint8_t type)
{
    switch (type) {
    case WASM_I32:
        put_op(out, WASM_OP_I32_CONST);
        put_s(out, (int64_t)integer(g, 32));
        break;
    case WASM_I64:
        put_op(out, WASM_OP_I64_CONST);
        put_s(out, (int64_t)integer(g, 64));
        break;
    case WASM_F32:
        put_op(out, WASM_OP_F32_CONST);
        put_le(out, f32_bits(g), 4);
        break;
    case WASM_F64:
        put_op(out, WASM_OP_F64_CONST);
        put_le(out, f64_bits(g), 8);
        break;
    case WASM_V128:
        put_op(out, WASM_OP_V128_CONST);
        if (chance(g, 30)) {
            for (int i = 0; i < 4; i++)
                put_le(out, f32_bits(g), 4);
        } else {
            for (int i = 0; i < 2; i++)
                put_le(out, chance(g, 50) ? f64_bits(g) : integer(g, 64), 8);
        }
        break;
    default:
        if (g->func_count && chance(g, 60)) {
            put_op(out, WASM_OP_REF_FUNC);
            put_u(out, pick(g, g->func_count));
        } else {
            put_op(out, WASM_OP_REF_NULL);
            put(out, WASM_FUNCREF);
        }
    }
}

/* ---- expressions ------------------------------------------------------------------------- */

static void expr(struct gen *g, uint8_t type, int depth);
static void statements(struct gen *g, int depth);

static unsigned scratch(const struct gen *g, uint8_t type)
{
    return g->local_count - TYPE_COUNT + type_number(type);
}

static void exprs(struct gen *g, const struct list *types, int depth)
{
    for (unsigned i = 0; i < types->count; i++)
        expr(g, types->items[i], depth);
}

/* The list's values are on the stack; leaves the first of type `type`, and false if none is. */
static bool keep_one(struct gen *g, const struct list *types, uint8_t type)
{
    unsigned keep = types->count;
    for (unsigned i = 0; i < types->count; i++)
        if (types->items[i] == type)
            keep = i;
    for (unsigned i = types->count; i > 0; i--) {
        if (i - 1 == keep)
            op_u(g, WASM_OP_LOCAL_SET, scratch(g, type));
        else
            op(g, WASM_OP_DROP);
    }
    if (keep == types->count)
        return false;
    op_u(g, WASM_OP_LOCAL_GET, scratch(g, type));
    return true;
}

/* Takes the counter down; used up, the module traps. */
static void charge(struct gen *g)
{
    unsigned counter = g->global_count - 1;
    op_u(g, WASM_OP_GLOBAL_GET, counter);
    i32_const(g, 1);
    op(g, WASM_OP_I32_SUB);
    op_u(g, WASM_OP_GLOBAL_SET, counter);
    op_u(g, WASM_OP_GLOBAL_GET, counter);
    i32_const(g, 0);
    op(g, WASM_OP_I32_LT_S);
    op(g, WASM_OP_IF);
    put(&g->code, 0x40);
    op(g, WASM_OP_UNREACHABLE);
    op(g, WASM_OP_END);
}

/* Whether the operation's NaN result may have bits of the engine's choice. */
static bool chooses_nan(const char *name)
{
    static const char *const prefixes[] = {"f32.", "f64.", "f32x4.", "f64x2."};
    static const char *const exact[] = {"load", "neg", "abs", "copysign", "reinterpret", "splat",
                                        "replace_lane", "extract_lane", "pmin", "pmax", "const",
                                        "convert", "eq", "ne", "lt", "gt", "le", "ge"};
    bool is_float = false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        is_float |= strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
    const char *rest = strchr(name, '.');
    for (size_t i = 0; rest && i < sizeof exact / sizeof *exact; i++)
        if (strncmp(rest + 1, exact[i], strlen(exact[i])) == 0 &&
            strncmp(rest + 1, "nearest", 7) != 0)
            return false;
    return is_float;
}

static void canonicalize(struct gen *g, const char *name, uint8_t type)
{
    unsigned local = scratch(g, type);
    op_u(g, WASM_OP_LOCAL_SET, local);
    op_u(g, WASM_OP_LOCAL_GET, local);
    if (type == WASM_F32) {
        op(g, WASM_OP_F32_CONST);
        put_le(&g->code, 0x7FC00000, 4);
    } else if (type == WASM_F64) {
        op(g, WASM_OP_F64_CONST);
        put_le(&g->code, 0x7FF8000000000000, 8);
    } else {
        bool is32 = strncmp(name, "f32", 3) == 0;
        op(g, WASM_OP_V128_CONST);
        for (int i = 0; i < 2; i++)
            put_le(&g->code, is32 ? 0x7FC000007FC00000 : 0x7FF8000000000000, 8);
        op_u(g, WASM_OP_LOCAL_GET, local);
        op_u(g, WASM_OP_LOCAL_GET, local);
        op(g, is32 ? WASM_OP_F32X4_EQ : WASM_OP_F64X2_EQ);
        op(g, WASM_OP_V128_BITSELECT);
    }
    if (type != WASM_V128) {
        op_u(g, WASM_OP_LOCAL_GET, local);
        op_u(g, WASM_OP_LOCAL_GET, local);
        op(g, type == WASM_F32 ? WASM_OP_F32_EQ : WASM_OP_F64_EQ);
        op(g, WASM_OP_SELECT);
    }
    op_u(g, WASM_OP_LOCAL_TEE, local); /* what is read from it later is canonical, too */
}

/* Divisions and truncations mostly get operands that do not trap. */
static void tame(struct gen *g, unsigned code)
{
    bool divides = (code >= WASM_OP_I32_DIV_S && code <= WASM_OP_I32_REM_U) ||
                   (code >= WASM_OP_I64_DIV_S && code <= WASM_OP_I64_REM_U);
    if (!divides || chance(g, 5))
        return;
    bool is64 = code >= WASM_OP_I64_DIV_S;
    op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    put_s(&g->code, 0x7FFE); /* then never 0 or -1 */
    op(g, is64 ? WASM_OP_I64_AND : WASM_OP_I32_AND);
    op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    put_s(&g->code, 1);
    op(g, is64 ? WASM_OP_I64_OR : WASM_OP_I32_OR);
}

static bool may_trap_on_numbers(const struct wasm_op_info *info)
{
    return strstr(info->name, ".trunc_f") != NULL;
}

/* An address: nearly always inside the first page. */
static void address(struct gen *g, int depth)
{
    expr(g, WASM_I32, depth);
    if (chance(g, 99)) {
        i32_const(g, chance(g, 50) ? 0xFF : 0x7FF8);
        op(g, WASM_OP_I32_AND);
    }
}

static void memarg(struct gen *g, const struct wasm_op_info *info)
{
    put_u(&g->code, pick(g, (uint32_t)info->number + 1));
    put_u(&g->code, chance(g, 90) ? pick(g, 64) : chance(g, 80) ? pick(g, 32000) : chance(g, 60) ? pick(g, 70000) : UINT32_MAX);
}

static void immediates(struct gen *g, const struct wasm_op_info *info)
{
    switch ((enum wasm_imm)info->imm) {
    case WASM_IMM_MEMARG:
        memarg(g, info);
        break;
    case WASM_IMM_MEMARG_LANE:
        memarg(g, info);
        put(&g->code, pick(g, 16u >> info->number));
        break;
    case WASM_IMM_LANE:
        put(&g->code, pick(g, info->number));
        break;
    case WASM_IMM_SHUFFLE:
        for (int i = 0; i < 16; i++)
            put(&g->code, pick(g, 32));
        break;
    case WASM_IMM_MEMORY:
        put(&g->code, 0);
        break;
    default:
        break;
    }
}

static void operands(struct gen *g, const struct wasm_op_info *info, int depth)
{
    bool is_grow = strcmp(info->name, "memory.grow") == 0;
    for (const char *p = info->operands; *p; p++) {
        if (is_grow)
            i32_const(g, (int32_t)pick(g, 3));
        else if (*p == 'a')
            address(g, depth);
        else
            expr(g, wasm_op_letter_type(*p), depth);
    }
}

static void operation(struct gen *g, uint8_t type, int depth)
{
    unsigned n = type_number(type);
    unsigned code = g->by_result[n].ops[pick(g, g->by_result[n].count)];
    if (may_trap_on_numbers(&wasm_op_infos[code]) && chance(g, 90))
        code = g->by_result[n].ops[pick(g, g->by_result[n].count)];
    const struct wasm_op_info *info = &wasm_op_infos[code];
    operands(g, info, depth - 1);
    tame(g, code);
    op(g, code);
    immediates(g, info);
    if (chooses_nan(info->name))
        canonicalize(g, info->name, type);
}

static void put_block_type(struct gen *g, unsigned sig)
{
    const struct sig *s = &g->sigs[sig];
    if (s->params.count == 0 && s->results.count == 0 && chance(g, 50))
        put(&g->code, 0x40);
    else if (s->params.count == 0 && s->results.count == 1 && chance(g, 50))
        put(&g->code, s->results.items[0]);
    else
        put_s(&g->code, sig);
}

/* A block, loop or if of the type `sig`, its parameters' values made here. */
static void block(struct gen *g, unsigned sig, int depth)
{
    const struct sig *s = &g->sigs[sig];
    static const unsigned kinds[] = {WASM_OP_BLOCK, WASM_OP_LOOP, WASM_OP_IF};
    unsigned kind = kinds[pick(g, 3)];
    exprs(g, &s->params, depth - 2);
    if (kind == WASM_OP_IF)
        expr(g, WASM_I32, depth - 1);
    op(g, kind);
    put_block_type(g, sig);
    g->labels[g->label_count++].types = kind == WASM_OP_LOOP ? s->params : s->results;
    if (kind == WASM_OP_LOOP)
        charge(g);
    for (int half = 0; half < (kind == WASM_OP_IF ? 2 : 1); half++) {
        if (half)
            op(g, WASM_OP_ELSE);
        for (unsigned i = s->params.count; i > 0; i--)
            op_u(g, WASM_OP_LOCAL_SET, scratch(g, s->params.items[i - 1]));
        statements(g, depth - 1);
        exprs(g, &s->results, depth - 1);
    }
    g->label_count--;
    op(g, WASM_OP_END);
}

/* A signature with `type` among its results, or any; -1 when there is none. */
static int find_sig(struct gen *g, uint8_t type)
{
    unsigned from = pick(g, g->sig_count);
    for (unsigned i = 0; i < g->sig_count; i++) {
        unsigned n = (from + i) % g->sig_count;
        const struct list *results = &g->sigs[n].results;
        if (type == 0 || memchr(results->items, type, results->count))
            return (int)n;
    }
    return -1;
}

/* Leaves the results of the signature: by a call, or where nothing can be called, by hand. Calls
 * mostly go to later functions, so that not every module ends in recursion. */
static void call_results(struct gen *g, unsigned sig, int depth)
{
    unsigned from = chance(g, 90) ? g->func_index + 1 : 0;
    unsigned skip = pick(g, 3), callee = g->func_count;
    for (unsigned i = from; i < g->func_count; i++) {
        if (g->func_sig[i] == sig) {
            callee = i;
            if (skip-- == 0)
                break;
        }
    }
    if (callee < g->func_count) {
        exprs(g, &g->sigs[sig].params, depth - 2);
        op_u(g, WASM_OP_CALL, callee);
    } else if (chance(g, 6)) {
        exprs(g, &g->sigs[sig].params, depth - 2);
        expr(g, WASM_I32, depth - 2);
        i32_const(g, 7);
        op(g, WASM_OP_I32_AND);
        op_u(g, WASM_OP_CALL_INDIRECT, sig);
        put(&g->code, 0);
    } else {
        exprs(g, &g->sigs[sig].results, depth - 2);
    }
}

static bool same_list(const struct list *a, const struct list *b)
{
    return a->count == b->count && memcmp(a->items, b->items, a->count) == 0;
}

/* Leaves the function or a block; what follows is unreachable. */
static void jump(struct gen *g, int depth)
{
    unsigned label = pick(g, g->label_count);
    const struct list *types = &g->labels[g->label_count - 1 - label].types;
    switch (pick(g, 8)) {
    case 0:
        if (chance(g, 90))
            break;
        op(g, WASM_OP_UNREACHABLE);
        return;
    case 1:
        exprs(g, &g->sig->results, depth - 2);
        op(g, WASM_OP_RETURN);
        return;
    case 2:
        if (g->features & GEN_TAIL_CALLS) {
            for (unsigned i = g->func_index + 1; i < g->func_count; i++)
                if (same_list(&g->sigs[g->func_sig[i]].results, &g->sig->results) &&
                    chance(g, 40)) {
                    exprs(g, &g->sigs[g->func_sig[i]].params, depth - 2);
                    op_u(g, WASM_OP_RETURN_CALL, i);
                    return;
                }
        }
        break;
    case 3:
    case 4: {
        unsigned others[6], count = 0;
        exprs(g, types, depth - 2);
        expr(g, WASM_I32, depth - 2);
        for (unsigned i = 0; i < 6; i++) {
            unsigned other = pick(g, g->label_count);
            if (same_list(types, &g->labels[g->label_count - 1 - other].types))
                others[count++] = other;
        }
        op_u(g, WASM_OP_BR_TABLE, count);
        for (unsigned i = 0; i < count; i++)
            put_u(&g->code, others[i]);
        put_u(&g->code, label);
        return;
    }
    default:
        break;
    }
    exprs(g, types, depth - 2);
    op_u(g, WASM_OP_BR, label);
}

static void leaf(struct gen *g, uint8_t type)
{
    unsigned from = pick(g, g->local_count);
    if (chance(g, 65)) {
        for (unsigned i = 0; i < g->local_count; i++) {
            unsigned n = (from + i) % g->local_count;
            if (g->locals[n] == type) {
                op_u(g, WASM_OP_LOCAL_GET, n);
                return;
            }
        }
    } else if (chance(g, 30)) {
        for (unsigned i = 0; i < g->global_count; i++) {
            if (g->globals[i] == type) {
                op_u(g, WASM_OP_GLOBAL_GET, i);
                return;
            }
        }
    }
    put_const(g, &g->code, type);
}

/* Leaves one value of `type`. */
static void expr(struct gen *g, uint8_t type, int depth)
{
    if (depth <= 0 || g->code.count > BODY_BYTES) {
        leaf(g, type);
        return;
    }
    uint32_t n = pick(g, 100);
    int sig = n >= 70 && n < 90 ? find_sig(g, type) : -1;
    if (n < 12) {
        leaf(g, type);
    } else if (n < 60 && type != WASM_FUNCREF) {
        operation(g, type, depth);
    } else if (n < 65) {
        for (unsigned i = 0; i < g->local_count - TYPE_COUNT; i++) {
            if (g->locals[i] == type && chance(g, 60)) {
                expr(g, type, depth - 1);
                op_u(g, WASM_OP_LOCAL_TEE, i);
                return;
            }
        }
        leaf(g, type);
    } else if (n < 70) {
        expr(g, type, depth - 1);
        expr(g, type, depth - 1);
        expr(g, WASM_I32, depth - 1);
        if (type == WASM_FUNCREF || chance(g, 20)) {
            op_u(g, WASM_OP_SELECT_T, 1);
            put(&g->code, type);
        } else {
            op(g, WASM_OP_SELECT);
        }
    } else if (n < 80 && sig >= 0 && g->label_count < LABELS_MAX) {
        block(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, type);
    } else if (n < 90 && sig >= 0) {
        call_results(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, type);
    } else if (n == 90) {
        jump(g, depth);
    } else if (n < 93 && type == WASM_I32) {
        expr(g, WASM_FUNCREF, depth - 1);
        op(g, WASM_OP_REF_IS_NULL);
    } else if (n < 95 && type == WASM_I32) {
        expr(g, WASM_FUNCREF, depth - 1);
        i32_const(g, (int32_t)pick(g, 3));
        op_u(g, WASM_OP_TABLE_GROW, 0);
    } else if (n < 96 && type == WASM_I32) {
        op_u(g, WASM_OP_TABLE_SIZE, 0);
    } else if (type == WASM_FUNCREF) {
        expr(g, WASM_I32, depth - 1);
        i32_const(g, 7);
        op(g, WASM_OP_I32_AND);
        op_u(g, WASM_OP_TABLE_GET, 0);
    } else {
        operation(g, type, depth);
    }
}

/* ---- statements -------------------------------------------------------------------------- */

static void small(struct gen *g, uint32_t below)
{
    i32_const(g, (int32_t)pick(g, below));
}

/* Memory and table operations over ranges, mostly in bounds. */
static void bulk(struct gen *g, int depth)
{
    switch (pick(g, 9)) {
    case 0:
        address(g, depth - 1);
        expr(g, WASM_I32, depth - 1);
        small(g, 300);
        op_u(g, WASM_OP_MEMORY_FILL, 0);
        break;
    case 1:
        address(g, depth - 1);
        address(g, depth - 1);
        small(g, 300);
        op_u(g, WASM_OP_MEMORY_COPY, 0);
        put(&g->code, 0);
        break;
    case 2:
        address(g, depth - 1);
        small(g, 12);
        small(g, 24);
        op_u(g, WASM_OP_MEMORY_INIT, pick(g, g->data_count));
        put(&g->code, 0);
        break;
    case 3:
        op_u(g, WASM_OP_DATA_DROP, pick(g, g->data_count));
        break;
    case 4:
        small(g, 9);
        expr(g, WASM_FUNCREF, depth - 1);
        small(g, 4);
        op_u(g, WASM_OP_TABLE_FILL, 0);
        break;
    case 5:
        small(g, 9);
        small(g, 9);
        small(g, 4);
        op_u(g, WASM_OP_TABLE_COPY, 0);
        put(&g->code, 0);
        break;
    case 6:
        small(g, 9);
        small(g, 3);
        small(g, 4);
        op_u(g, WASM_OP_TABLE_INIT, pick(g, g->elem_count));
        put(&g->code, 0);
        break;
    case 7:
        op_u(g, WASM_OP_ELEM_DROP, pick(g, g->elem_count));
        break;
    default:
        small(g, 9);
        expr(g, WASM_FUNCREF, depth - 1);
        op_u(g, WASM_OP_TABLE_SET, 0);
    }
}

static void store(struct gen *g, int depth)
{
    unsigned n = TYPE_COUNT - 1; /* the list of operations without a result */
    unsigned code = g->by_result[n].ops[pick(g, g->by_result[n].count)];
    operands(g, &wasm_op_infos[code], depth - 1);
    op(g, code);
    immediates(g, &wasm_op_infos[code]);
}

static void statement(struct gen *g, int depth)
{
    uint32_t n = pick(g, 100);
    if (n < 35) {
        unsigned local = pick(g, g->local_count - TYPE_COUNT + 1);
        if (local == g->local_count - TYPE_COUNT)
            return;
        expr(g, g->locals[local], depth);
        op_u(g, WASM_OP_LOCAL_SET, local);
    } else if (n < 45) {
        unsigned global = pick(g, g->global_count);
        if (global == g->global_count - 1)
            return;
        expr(g, g->globals[global], depth);
        op_u(g, WASM_OP_GLOBAL_SET, global);
    } else if (n < 65) {
        store(g, depth);
    } else if (n < 72) {
        bulk(g, depth);
    } else if (n < 84 && g->label_count < LABELS_MAX) {
        int sig = find_sig(g, 0);
        block(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, 0);
    } else if (n < 92) {
        unsigned label = pick(g, g->label_count);
        const struct list types = g->labels[g->label_count - 1 - label].types;
        exprs(g, &types, depth - 1);
        expr(g, WASM_I32, depth - 1);
        op_u(g, WASM_OP_BR_IF, label);
        (void)keep_one(g, &types, 0);
    } else if (n < 97) {
        int sig = find_sig(g, 0);
        call_results(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, 0);
    } else {
        op(g, WASM_OP_NOP);
    }
}

static void statements(struct gen *g, int depth)
{
    for (unsigned n = pick(g, 4); n > 0 && depth > 0 && g->code.count < BODY_BYTES; n--)
        statement(g, depth);
}

/* ---- functions and sections -------------------------------------------------------------- */

static void put_list(struct buf *out, const struct list *list)
{
    put_u(out, list->count);
    buf_append(out, list->items, list->count);
}

/* `own`: locals beside the parameters; g->locals are set. */
static void finish_body(struct gen *g, struct buf *section, unsigned param_count)
{
    struct buf body;
    buf_init(&body, NULL);
    put_u(&body, g->local_count - param_count);
    for (unsigned i = param_count; i < g->local_count; i++) {
        put_u(&body, 1);
        put(&body, g->locals[i]);
    }
    buf_append(&body, g->code.data, g->code.count);
    put_u(section, body.count);
    buf_append(section, body.data ? body.data : "", body.count);
    if (body.failed || g->code.failed)
        section->failed = true;
    buf_deinit(&body);
    buf_clear(&g->code);
}

static void begin_body(struct gen *g, const struct sig *sig, unsigned own)
{
    g->sig = sig;
    g->local_count = 0;
    for (unsigned i = 0; i < sig->params.count; i++)
        g->locals[g->local_count++] = sig->params.items[i];
    for (unsigned i = 0; i < own; i++)
        g->locals[g->local_count++] = pick_type(g);
    for (unsigned i = 0; i < TYPE_COUNT; i++)
        g->locals[g->local_count++] = all_types[i];
    g->labels[0].types = sig->results;
    g->label_count = 1;
}

static void function(struct gen *g, struct buf *section, const struct sig *sig)
{
    begin_body(g, sig, pick(g, 8));
    charge(g);
    statements(g, DEPTH_MAX);
    statements(g, DEPTH_MAX);
    exprs(g, &sig->results, DEPTH_MAX);
    op(g, WASM_OP_END);
    finish_body(g, section, sig->params.count);
}

/* An i64 on the stack (the fold so far) and a value of `type` on top: folds it in. */
static void fold(struct gen *g, uint8_t type)
{
    switch (type) {
    case WASM_F32: op(g, WASM_OP_I32_REINTERPRET_F32); op(g, WASM_OP_I64_EXTEND_I32_U); break;
    case WASM_F64: op(g, WASM_OP_I64_REINTERPRET_F64); break;
    case WASM_I32: op(g, WASM_OP_I64_EXTEND_I32_U); break;
    case WASM_FUNCREF: op(g, WASM_OP_REF_IS_NULL); op(g, WASM_OP_I64_EXTEND_I32_U); break;
    case WASM_V128:
        op_u(g, WASM_OP_LOCAL_TEE, scratch(g, WASM_V128));
        op(g, WASM_OP_I64X2_EXTRACT_LANE);
        put(&g->code, 0);
        op_u(g, WASM_OP_LOCAL_GET, scratch(g, WASM_V128));
        op(g, WASM_OP_I64X2_EXTRACT_LANE);
        put(&g->code, 1);
        i32_const(g, 1);
        op(g, WASM_OP_I64_EXTEND_I32_U);
        op(g, WASM_OP_I64_ROTL);
        op(g, WASM_OP_I64_XOR);
        break;
    default: break;
    }
    op(g, WASM_OP_I64_XOR);
    op(g, WASM_OP_I64_CONST);
    put_s(&g->code, 17);
    op(g, WASM_OP_I64_ROTL);
}

/* An exported function: sets the counter, calls, folds the results and the globals. */
static void runner(struct gen *g, struct buf *section, unsigned callee)
{
    const struct sig *sig = &g->sigs[g->func_sig[callee]];
    begin_body(g, &g->sigs[0], 0);
    i32_const(g, CHARGE);
    op_u(g, WASM_OP_GLOBAL_SET, g->global_count - 1);
    for (unsigned i = 0; i < sig->params.count; i++)
        put_const(g, &g->code, sig->params.items[i]);
    op_u(g, WASM_OP_CALL, callee);
    unsigned first = g->local_count;
    for (unsigned i = 0; i < sig->results.count; i++)
        g->locals[g->local_count++] = sig->results.items[i];
    for (unsigned i = sig->results.count; i > 0; i--)
        op_u(g, WASM_OP_LOCAL_SET, first + i - 1);
    /* `scratch` counts from the end: the scratch locals stay where they were. */
    unsigned all = g->local_count;
    g->local_count = first;
    op(g, WASM_OP_I64_CONST);
    put_s(&g->code, 0);
    for (unsigned i = 0; i < sig->results.count; i++) {
        op_u(g, WASM_OP_LOCAL_GET, first + i);
        fold(g, sig->results.items[i]);
    }
    for (unsigned i = 0; i < g->global_count; i++) {
        op_u(g, WASM_OP_GLOBAL_GET, i);
        fold(g, g->globals[i]);
    }
    op(g, WASM_OP_END);
    g->local_count = all;
    finish_body(g, section, 0);
}

static void collect_operations(struct gen *g)
{
    for (unsigned code = 0; code < WASM_OP_COUNT; code++) {
        const struct wasm_op_info *info = &wasm_op_infos[code];
        if (!info->name || strchr(info->operands, '*') || strchr(info->result, '*') ||
            strstr(info->name, "relaxed") || (code >= WASM_GROUP_SIMD && !(g->features & GEN_SIMD)))
            continue;
        switch ((enum wasm_imm)info->imm) {
        case WASM_IMM_NONE: case WASM_IMM_MEMARG: case WASM_IMM_MEMARG_LANE: case WASM_IMM_LANE:
        case WASM_IMM_SHUFFLE:
            break;
        case WASM_IMM_MEMORY:
            if (code == WASM_OP_MEMORY_FILL)
                continue;
            break;
        default:
            continue;
        }
        unsigned n = info->result[0] == 'a' ? 0 : TYPE_COUNT - 1;
        if (wasm_op_letter_type(info->result[0]))
            n = type_number(wasm_op_letter_type(info->result[0]));
        if (code != WASM_OP_NOP && g->by_result[n].count < OPS_MAX)
            g->by_result[n].ops[g->by_result[n].count++] = (uint16_t)code;
    }
}

static struct list pick_list(struct gen *g)
{
    struct list list = {.count = pick(g, chance(g, 70) ? 2 : LIST_MAX)};
    for (unsigned i = 0; i < list.count; i++)
        list.items[i] = pick_type(g);
    return list;
}

static void name_of(struct buf *out, char letter, unsigned number)
{
    char name[16];
    int bytes = snprintf(name, sizeof name, "%c%u", letter, number);
    put_u(out, (uint64_t)bytes);
    buf_append(out, name, (size_t)bytes);
}

static void plan(struct gen *g)
{
    g->sigs[0].results = (struct list){.items = {WASM_I64}, .count = 1};
    g->sig_count = 1;
    for (unsigned n = 3 + pick(g, TYPES_MAX - 3); g->sig_count < n; g->sig_count++) {
        g->sigs[g->sig_count].params = pick_list(g);
        g->sigs[g->sig_count].results = pick_list(g);
    }
    for (unsigned n = 2 + pick(g, FUNCS_MAX - RUNS_MAX - 1); g->func_count < n; g->func_count++)
        g->func_sig[g->func_count] = pick(g, g->sig_count);
    for (unsigned n = pick(g, GLOBALS_MAX - 1); g->global_count < n; g->global_count++)
        g->globals[g->global_count] = pick_type(g);
    g->globals[g->global_count++] = WASM_I32;
    g->data_count = 1 + pick(g, 3);
    g->elem_count = 1 + pick(g, 3);
}

static void tables_to_exports(struct gen *g, struct buf *out, struct buf *body, unsigned runs)
{
    put_u(body, 1);
    put(body, WASM_FUNCREF);
    put(body, 1);
    put_u(body, 8);
    put_u(body, 12);
    put_section(out, 4, body);
    buf_append(body, "\1\1\1\3", 4);
    put_section(out, 5, body);
    put_u(body, g->global_count);
    for (unsigned i = 0; i < g->global_count; i++) {
        put(body, g->globals[i]);
        put(body, 1);
        put_const(g, body, g->globals[i]);
        put(body, WASM_OP_END);
    }
    put_section(out, 6, body);
    put_u(body, 1 + runs);
    buf_append(body, "\1m\2\0", 4);
    for (unsigned i = 0; i < runs; i++) {
        name_of(body, 'r', i);
        put(body, 0);
        put_u(body, g->func_count + i);
    }
    put_section(out, 7, body);
}

static void segments(struct gen *g, struct buf *body)
{
    put_u(body, g->elem_count + 1);
    for (unsigned i = 0; i <= g->elem_count; i++) {
        /* The last declares every function, so that ref.func may name it. */
        bool is_last = i == g->elem_count, is_active = !is_last && chance(g, 70);
        put(body, is_last ? 3 : is_active ? 0 : 1);
        if (is_active) {
            put_op(body, WASM_OP_I32_CONST);
            put_s(body, pick(g, 5));
            put(body, WASM_OP_END);
        } else {
            put(body, 0);
        }
        unsigned count = is_last ? g->func_count : pick(g, 5);
        put_u(body, count);
        for (unsigned k = 0; k < count; k++)
            put_u(body, is_last ? k : pick(g, g->func_count));
    }
}

static void data(struct gen *g, struct buf *body)
{
    put_u(body, g->data_count);
    for (unsigned i = 0; i < g->data_count; i++) {
        bool is_active = chance(g, 60);
        put(body, is_active ? 0 : 1);
        if (is_active) {
            put_op(body, WASM_OP_I32_CONST);
            put_s(body, pick(g, 512));
            put(body, WASM_OP_END);
        }
        unsigned count = pick(g, 40);
        put_u(body, count);
        for (unsigned k = 0; k < count; k++)
            put(body, pick(g, 256));
    }
}

static bool module(struct gen *g, struct buf *out)
{
    struct buf body;
    buf_init(&body, NULL);
    buf_init(&g->code, NULL);
    collect_operations(g);
    plan(g);
    unsigned runs = 1 + pick(g, RUNS_MAX);

    buf_append(out, "\0asm\1\0\0\0", 8);
    put_u(&body, g->sig_count);
    for (unsigned i = 0; i < g->sig_count; i++) {
        put(&body, 0x60);
        put_list(&body, &g->sigs[i].params);
        put_list(&body, &g->sigs[i].results);
    }
    put_section(out, 1, &body);
    put_u(&body, g->func_count + runs);
    for (unsigned i = 0; i < g->func_count; i++)
        put_u(&body, g->func_sig[i]);
    for (unsigned i = 0; i < runs; i++)
        put(&body, 0);
    put_section(out, 3, &body);
    tables_to_exports(g, out, &body, runs);
    segments(g, &body);
    put_section(out, 9, &body);
    put_u(&body, g->data_count);
    put_section(out, 12, &body);
    put_u(&body, g->func_count + runs);
    for (g->func_index = 0; g->func_index < g->func_count; g->func_index++)
        function(g, &body, &g->sigs[g->func_sig[g->func_index]]);
    for (unsigned i = 0; i < runs; i++)
        runner(g, &body, pick(g, g->func_count));
    put_section(out, 10, &body);
    data(g, &body);
    put_section(out, 11, &body);
    bool ok = !out->failed && !body.failed;
    buf_deinit(&g->code);
    buf_deinit(&body);
    return ok;
}

bool gen_module(uint64_t seed, unsigned features, struct buf *out)
{
    struct gen g = {.state = seed * 0x9E3779B97F4A7C15u + 1, .features = features};
    return module(&g, out);
}

bool gen_module_from(const uint8_t *choices, size_t count, unsigned features, struct buf *out)
{
    struct gen g = {
        .state = count, .features = features, .choices = choices, .choice_bytes = count};
    return module(&g, out);
}
