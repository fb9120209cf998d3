/* Random expressions and statements of a generated module. Every `expr` leaves one value, every
 * `statement` none; `depth` bounds what is nested. */
#include "tests/fuzz/gen.h"

const uint8_t gen_types[TYPE_COUNT] = {WASM_I32,  WASM_I64,     WASM_F32,       WASM_F64,
                                       WASM_V128, WASM_FUNCREF, WASM_EXTERNREF, WASM_EXNREF};

uint32_t gen_pick(struct gen *g, uint32_t below)
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

bool gen_chance(struct gen *g, uint32_t percent)
{
    return gen_pick(g, 100) < percent;
}

unsigned gen_type_number(uint8_t type)
{
    return (unsigned)((const uint8_t *)memchr(gen_types, type, TYPE_COUNT) - gen_types);
}

static bool is_reference(uint8_t type)
{
    return type == WASM_FUNCREF || type == WASM_EXTERNREF || type == WASM_EXNREF;
}

/* Numbers mostly; vectors and references now and then. */
uint8_t gen_pick_type(struct gen *g)
{
    uint32_t n = gen_pick(g, 40);
    if (n < 16)
        return WASM_I32;
    if (n < 24)
        return WASM_I64;
    if (n < 28)
        return WASM_F32;
    if (n < 32)
        return WASM_F64;
    if (n < 37)
        return g->features & GEN_SIMD ? WASM_V128 : WASM_I32;
    if (n == 37 && g->features & GEN_TABLES)
        return WASM_EXTERNREF;
    if (n == 38 && g->features & GEN_EXCEPTIONS)
        return WASM_EXNREF;
    return WASM_FUNCREF;
}

/* ---- encoding ---------------------------------------------------------------------------- */

void gen_put(struct buf *out, unsigned byte)
{
    buf_putc(out, (char)byte);
}

void gen_put_u(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        gen_put(out, (unsigned)(value & 0x7F) | 0x80);
    gen_put(out, (unsigned)value);
}

void gen_put_s(struct buf *out, int64_t value)
{
    for (;;) {
        unsigned byte = (unsigned)((uint64_t)value & 0x7F);
        value >>= 7;
        if ((value == 0 && !(byte & 0x40)) || (value == -1 && (byte & 0x40))) {
            gen_put(out, byte);
            return;
        }
        gen_put(out, byte | 0x80);
    }
}

void gen_put_le(struct buf *out, uint64_t bits, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        gen_put(out, (unsigned)(bits >> (8 * i)) & 0xFF);
}

void gen_put_op(struct buf *out, unsigned op)
{
    if (op >= WASM_GROUP_SIMD) {
        gen_put(out, 0xFD);
        gen_put_u(out, op - WASM_GROUP_SIMD);
    } else if (op >= WASM_GROUP_BULK) {
        gen_put(out, 0xFC);
        gen_put_u(out, op - WASM_GROUP_BULK);
    } else {
        gen_put(out, op);
    }
}

void gen_op(struct gen *g, unsigned op)
{
    gen_put_op(&g->code, op);
}

void gen_op_u(struct gen *g, unsigned op, uint64_t immediate)
{
    gen_put_op(&g->code, op);
    gen_put_u(&g->code, immediate);
}

void gen_i32_const(struct gen *g, int32_t value)
{
    gen_op(g, WASM_OP_I32_CONST);
    gen_put_s(&g->code, value);
}

/* ---- constants --------------------------------------------------------------------------- */

static uint64_t integer(struct gen *g, unsigned bits)
{
    static const uint64_t special[] = {0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255,
                                       256, 32767, 32768, 65535, 65536, 0x7FFFFFFF, 0x80000000,
                                       0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
                                       0xFFFFFFFF80000000, UINT64_MAX, UINT64_MAX - 1, 0xDEADBEEFCAFEF00D};
    uint64_t value;
    if (gen_chance(g, 60))
        value = special[gen_pick(g, sizeof special / sizeof *special)];
    else if (gen_chance(g, 50))
        value = gen_pick(g, 1000) - (uint64_t)500;
    else
        value = (uint64_t)gen_pick(g, UINT32_MAX) << 32 | gen_pick(g, UINT32_MAX);
    return bits == 32 ? (uint64_t)(int64_t)(int32_t)value : value;
}

static uint64_t f32_bits(struct gen *g)
{
    static const uint32_t special[] = {0, 0x80000000, 0x3F800000, 0xBF800000, 0x3F000000, 0x7F800000,
                                       0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FA00001, 1, 0x00800000,
                                       0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x4F800000, 0x5F000000,
                                       0x4B000001, 0x40490FDB, 0x3FC00000, 0xBF000000};
    return gen_chance(g, 75) ? special[gen_pick(g, sizeof special / sizeof *special)]
                             : gen_pick(g, UINT32_MAX);
}

static uint64_t f64_bits(struct gen *g)
{
    static const uint64_t special[] = {
        0, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x3FE0000000000000,
        0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0xFFF8000000000000,
        0x7FF4000000000001, 1, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0x41DFFFFFFFC00000,
        0x41E0000000000000, 0xC1E0000000000000, 0x41EFFFFFFFE00000, 0x43E0000000000000,
        0xC3E0000000000000, 0x43F0000000000000, 0x4330000000000001, 0x400921FB54442D18};
    return gen_chance(g, 75)
               ? special[gen_pick(g, sizeof special / sizeof *special)]
               : (uint64_t)gen_pick(g, UINT32_MAX) << 32 | gen_pick(g, UINT32_MAX);
}

void gen_put_const(struct gen *g, struct buf *out, uint8_t type)
{
    switch (type) {
    case WASM_I32:
        gen_put_op(out, WASM_OP_I32_CONST);
        gen_put_s(out, (int64_t)integer(g, 32));
        break;
    case WASM_I64:
        gen_put_op(out, WASM_OP_I64_CONST);
        gen_put_s(out, (int64_t)integer(g, 64));
        break;
    case WASM_F32:
        gen_put_op(out, WASM_OP_F32_CONST);
        gen_put_le(out, f32_bits(g), 4);
        break;
    case WASM_F64:
        gen_put_op(out, WASM_OP_F64_CONST);
        gen_put_le(out, f64_bits(g), 8);
        break;
    case WASM_V128:
        gen_put_op(out, WASM_OP_V128_CONST);
        if (gen_chance(g, 30)) {
            for (int i = 0; i < 4; i++)
                gen_put_le(out, f32_bits(g), 4);
        } else {
            for (int i = 0; i < 2; i++)
                gen_put_le(out, gen_chance(g, 50) ? f64_bits(g) : integer(g, 64), 8);
        }
        break;
    default:
        if (type == WASM_FUNCREF && g->func_count && gen_chance(g, 60)) {
            gen_put_op(out, WASM_OP_REF_FUNC);
            gen_put_u(out, gen_pick(g, g->func_count));
        } else {
            gen_put_op(out, WASM_OP_REF_NULL);
            gen_put(out, type);
        }
    }
}

/* ---- helpers ----------------------------------------------------------------------------- */

static void expr(struct gen *g, uint8_t type, int depth);
static void statements(struct gen *g, int depth);
static void leaf(struct gen *g, uint8_t type);

unsigned gen_scratch(const struct gen *g, uint8_t type)
{
    return g->local_count - TYPE_COUNT + gen_type_number(type);
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
            gen_op_u(g, WASM_OP_LOCAL_SET, gen_scratch(g, type));
        else
            gen_op(g, WASM_OP_DROP);
    }
    if (keep == types->count)
        return false;
    gen_op_u(g, WASM_OP_LOCAL_GET, gen_scratch(g, type));
    return true;
}

/* Takes the counter down; used up, the module traps. */
static void charge(struct gen *g)
{
    unsigned counter = g->global_count - 1;
    gen_op_u(g, WASM_OP_GLOBAL_GET, counter);
    gen_i32_const(g, 1);
    gen_op(g, WASM_OP_I32_SUB);
    gen_op_u(g, WASM_OP_GLOBAL_SET, counter);
    gen_op_u(g, WASM_OP_GLOBAL_GET, counter);
    gen_i32_const(g, 0);
    gen_op(g, WASM_OP_I32_LT_S);
    gen_op(g, WASM_OP_IF);
    gen_put(&g->code, 0x40);
    gen_op(g, WASM_OP_UNREACHABLE);
    gen_op(g, WASM_OP_END);
}

bool gen_chooses_nan(const char *name)
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

void gen_canonicalize(struct gen *g, uint8_t type, bool wide_lanes)
{
    unsigned local = gen_scratch(g, type);
    gen_op_u(g, WASM_OP_LOCAL_SET, local);
    gen_op_u(g, WASM_OP_LOCAL_GET, local);
    if (type == WASM_F32) {
        gen_op(g, WASM_OP_F32_CONST);
        gen_put_le(&g->code, 0x7FC00000, 4);
    } else if (type == WASM_F64) {
        gen_op(g, WASM_OP_F64_CONST);
        gen_put_le(&g->code, 0x7FF8000000000000, 8);
    } else {
        gen_op(g, WASM_OP_V128_CONST);
        for (int i = 0; i < 2; i++)
            gen_put_le(&g->code, wide_lanes ? 0x7FF8000000000000 : 0x7FC000007FC00000, 8);
        gen_op_u(g, WASM_OP_LOCAL_GET, local);
        gen_op_u(g, WASM_OP_LOCAL_GET, local);
        gen_op(g, wide_lanes ? WASM_OP_F64X2_EQ : WASM_OP_F32X4_EQ);
        gen_op(g, WASM_OP_V128_BITSELECT);
    }
    if (type != WASM_V128) {
        gen_op_u(g, WASM_OP_LOCAL_GET, local);
        gen_op_u(g, WASM_OP_LOCAL_GET, local);
        gen_op(g, type == WASM_F32 ? WASM_OP_F32_EQ : WASM_OP_F64_EQ);
        gen_op(g, WASM_OP_SELECT);
    }
    gen_op_u(g, WASM_OP_LOCAL_TEE, local); /* what is read from it later is canonical, too */
}

/* A value of an instruction that shows its bits. */
static void expr_seen(struct gen *g, uint8_t type, int depth)
{
    expr(g, type, depth);
    if ((type == WASM_F32 || type == WASM_F64) && g->features & GEN_FLOATS)
        gen_canonicalize(g, type, false);
}

/* Divisions and truncations mostly get operands that do not trap. */
static void tame(struct gen *g, unsigned code)
{
    bool divides = (code >= WASM_OP_I32_DIV_S && code <= WASM_OP_I32_REM_U) ||
                   (code >= WASM_OP_I64_DIV_S && code <= WASM_OP_I64_REM_U);
    if (!divides || gen_chance(g, 5))
        return;
    bool is64 = code >= WASM_OP_I64_DIV_S;
    gen_op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(&g->code, 0x7FFE); /* then never 0 or -1 */
    gen_op(g, is64 ? WASM_OP_I64_AND : WASM_OP_I32_AND);
    gen_op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(&g->code, 1);
    gen_op(g, is64 ? WASM_OP_I64_OR : WASM_OP_I32_OR);
}

static bool may_trap_on_numbers(const struct wasm_op_info *info)
{
    return strstr(info->name, ".trunc_f") != NULL;
}

/* ---- memory ------------------------------------------------------------------------------ */

static void index_const(struct gen *g, bool is64, uint64_t value)
{
    gen_op(g, is64 ? WASM_OP_I64_CONST : WASM_OP_I32_CONST);
    gen_put_s(&g->code, is64 ? (int64_t)value : (int32_t)(uint32_t)value);
}

/* An address: mostly inside the first page, now and then around a page's end, rarely anything. */
static void address(struct gen *g, unsigned memory, int depth)
{
    bool is64 = g->memories[memory].is64;
    if (gen_chance(g, 4)) {
        index_const(g, is64, (uint64_t)gen_pick(g, 4) * 65536 - gen_pick(g, 24) + gen_pick(g, 12));
        return;
    }
    expr(g, is64 ? WASM_I64 : WASM_I32, depth);
    if (gen_chance(g, 98)) {
        index_const(g, is64, gen_chance(g, 50) ? 0xFF : 0x7FF8);
        gen_op(g, is64 ? WASM_OP_I64_AND : WASM_OP_I32_AND);
    }
}

void gen_memarg(struct gen *g, struct buf *out, unsigned align, unsigned memory, uint64_t offset)
{
    bool named = memory > 0 || (g->features & GEN_MEMORIES && gen_chance(g, 10));
    gen_put_u(out, align | (named ? 0x40 : 0));
    if (named)
        gen_put_u(out, memory);
    gen_put_u(out, offset);
}

static void memarg(struct gen *g, const struct wasm_op_info *info, unsigned memory)
{
    static const uint64_t wide[] = {UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 33) + 5,
                                    UINT64_C(1) << 63, UINT64_MAX - 8, UINT64_MAX};
    unsigned align = gen_pick(g, (uint32_t)info->number + 1);
    uint64_t offset = gen_chance(g, 90)   ? gen_pick(g, 64)
                      : gen_chance(g, 80) ? gen_pick(g, 32000)
                      : gen_chance(g, 60) ? gen_pick(g, 70000)
                                          : UINT32_MAX;
    if (offset == UINT32_MAX && g->memories[memory].is64)
        offset = wide[gen_pick(g, sizeof wide / sizeof *wide)];
    gen_memarg(g, &g->code, align, memory, offset);
}

static void immediates(struct gen *g, const struct wasm_op_info *info, unsigned memory)
{
    switch ((enum wasm_imm)info->imm) {
    case WASM_IMM_MEMARG:
        memarg(g, info, memory);
        break;
    case WASM_IMM_MEMARG_LANE:
        memarg(g, info, memory);
        gen_put(&g->code, gen_pick(g, 16u >> info->number));
        break;
    case WASM_IMM_LANE:
        gen_put(&g->code, gen_pick(g, info->number));
        break;
    case WASM_IMM_SHUFFLE:
        for (int i = 0; i < 16; i++)
            gen_put(&g->code, gen_pick(g, 32));
        break;
    default:
        break;
    }
}

/* Whether an operation shows its float operands' bits. */
static bool shows_bits(const struct wasm_op_info *info)
{
    return strstr(info->name, "store") || strstr(info->name, "reinterpret") ||
           strstr(info->name, "copysign") || strstr(info->name, "splat") ||
           strstr(info->name, "replace_lane");
}

static void operands(struct gen *g, const struct wasm_op_info *info, unsigned memory, int depth)
{
    for (const char *p = info->operands; *p; p++) {
        if (*p == 'a')
            address(g, memory, depth);
        else if (shows_bits(info))
            expr_seen(g, wasm_op_letter_type(*p), depth);
        else
            expr(g, wasm_op_letter_type(*p), depth);
    }
}

static void operation(struct gen *g, uint8_t type, int depth)
{
    unsigned n = gen_type_number(type), memory = gen_pick(g, g->memory_count);
    if (g->by_result[n].count == 0) {
        leaf(g, type);
        return;
    }
    unsigned code = g->by_result[n].ops[gen_pick(g, g->by_result[n].count)];
    if (may_trap_on_numbers(&wasm_op_infos[code]) && gen_chance(g, 90))
        code = g->by_result[n].ops[gen_pick(g, g->by_result[n].count)];
    const struct wasm_op_info *info = &wasm_op_infos[code];
    operands(g, info, memory, depth - 1);
    tame(g, code);
    gen_op(g, code);
    immediates(g, info, memory);
    if (gen_chooses_nan(info->name) && (type == WASM_V128 || !(g->features & GEN_FLOATS)))
        gen_canonicalize(g, type, strncmp(info->name, "f64", 3) == 0);
}

/* memory.size, memory.grow: by a little, or by more than there can be. */
static void memory_size(struct gen *g, uint8_t type)
{
    unsigned memory = gen_pick(g, g->memory_count);
    bool is64 = g->memories[memory].is64;
    if (gen_chance(g, 40)) {
        gen_op_u(g, WASM_OP_MEMORY_SIZE, memory);
    } else {
        index_const(g, is64, gen_chance(g, 90) ? gen_pick(g, 3) : is64 ? UINT64_MAX : UINT32_MAX);
        gen_op_u(g, WASM_OP_MEMORY_GROW, memory);
    }
    if (is64 != (type == WASM_I64))
        gen_op(g, is64 ? WASM_OP_I32_WRAP_I64 : WASM_OP_I64_EXTEND_I32_U);
}

/* A vector with lanes that are small non-negative integers, as integers or floats. */
static void small_lanes(struct gen *g, char kind, int depth)
{
    expr(g, WASM_V128, depth);
    gen_op(g, WASM_OP_V128_CONST);
    for (int i = 0; i < 4; i++)
        gen_put_le(&g->code, 0x3FF, 4);
    gen_op(g, WASM_OP_V128_AND);
    gen_op(g, kind == 'F' ? WASM_OP_F64X2_CONVERT_LOW_I32X4_U : WASM_OP_F32X4_CONVERT_I32X4_S);
}

static void masked(struct gen *g, uint64_t mask, int depth)
{
    expr(g, WASM_V128, depth);
    gen_op(g, WASM_OP_V128_CONST);
    gen_put_le(&g->code, mask, 8);
    gen_put_le(&g->code, mask, 8);
    gen_op(g, WASM_OP_V128_AND);
}

/* A relaxed operation on operands where there is one result only. */
static void relaxed(struct gen *g, int depth)
{
    static const uint16_t equal[] = {WASM_OP_I8X16_EQ, WASM_OP_I16X8_EQ, WASM_OP_I32X4_EQ,
                                     WASM_OP_I64X2_EQ};
    unsigned code = g->relaxed[gen_pick(g, g->relaxed_count)];
    switch (code) {
    case WASM_OP_I8X16_RELAXED_SWIZZLE:
        expr(g, WASM_V128, depth);
        masked(g, 0x8F8F8F8F8F8F8F8F, depth); /* below 16 or at least 128 */
        break;
    case WASM_OP_I32X4_RELAXED_TRUNC_F32X4_S:
    case WASM_OP_I32X4_RELAXED_TRUNC_F32X4_U:
        small_lanes(g, 'f', depth);
        break;
    case WASM_OP_I32X4_RELAXED_TRUNC_F64X2_S_ZERO:
    case WASM_OP_I32X4_RELAXED_TRUNC_F64X2_U_ZERO:
        small_lanes(g, 'F', depth);
        break;
    case WASM_OP_F32X4_RELAXED_MADD:
    case WASM_OP_F32X4_RELAXED_NMADD:
    case WASM_OP_F64X2_RELAXED_MADD:
    case WASM_OP_F64X2_RELAXED_NMADD:
        for (int i = 0; i < 3; i++)
            small_lanes(g, code >= WASM_OP_F64X2_RELAXED_MADD ? 'F' : 'f', depth);
        break;
    case WASM_OP_F32X4_RELAXED_MIN:
    case WASM_OP_F32X4_RELAXED_MAX:
    case WASM_OP_F64X2_RELAXED_MIN:
    case WASM_OP_F64X2_RELAXED_MAX:
        for (int i = 0; i < 2; i++)
            small_lanes(g, code >= WASM_OP_F64X2_RELAXED_MIN ? 'F' : 'f', depth);
        break;
    case WASM_OP_I8X16_RELAXED_LANESELECT:
    case WASM_OP_I16X8_RELAXED_LANESELECT:
    case WASM_OP_I32X4_RELAXED_LANESELECT:
    case WASM_OP_I64X2_RELAXED_LANESELECT:
        for (int i = 0; i < 4; i++)
            expr(g, WASM_V128, depth);
        gen_op(g, equal[code - WASM_OP_I8X16_RELAXED_LANESELECT]);
        break;
    case WASM_OP_I16X8_RELAXED_Q15MULR_S:
        masked(g, 0x7FFF7FFF7FFF7FFF, depth);
        expr(g, WASM_V128, depth);
        break;
    default: /* the dot products */
        expr(g, WASM_V128, depth);
        masked(g, 0x7F7F7F7F7F7F7F7F, depth);
        if (code == WASM_OP_I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S)
            expr(g, WASM_V128, depth);
    }
    gen_op(g, code);
}

/* ---- tables ------------------------------------------------------------------------------ */

/* A table of the type, or of any (0); -1 when there is none. */
static int find_table(struct gen *g, uint8_t type)
{
    unsigned from = gen_pick(g, g->table_count);
    for (unsigned i = 0; i < g->table_count; i++) {
        unsigned n = (from + i) % g->table_count;
        if (type == 0 || g->tables[n].type == type)
            return (int)n;
    }
    return -1;
}

static void table_index(struct gen *g, unsigned table, int depth)
{
    bool is64 = g->tables[table].is64;
    if (gen_chance(g, 2)) {
        index_const(g, is64, gen_chance(g, 50) ? UINT64_MAX : (UINT64_C(1) << 32) + 1);
        return;
    }
    expr(g, is64 ? WASM_I64 : WASM_I32, depth);
    index_const(g, is64, 7);
    gen_op(g, is64 ? WASM_OP_I64_AND : WASM_OP_I32_AND);
}

static void table_small(struct gen *g, unsigned table, uint32_t below)
{
    index_const(g, g->tables[table].is64, gen_pick(g, below));
}

/* ---- control ----------------------------------------------------------------------------- */

static void put_block_type(struct gen *g, unsigned sig)
{
    const struct sig *s = &g->sigs[sig];
    if (s->params.count == 0 && s->results.count == 0 && gen_chance(g, 50))
        gen_put(&g->code, 0x40);
    else if (s->params.count == 0 && s->results.count == 1 && gen_chance(g, 50))
        gen_put(&g->code, s->results.items[0]);
    else
        gen_put_s(&g->code, sig);
}

/* The parameters' values are on the stack: into scratch locals they go. */
static void take_params(struct gen *g, const struct list *params)
{
    for (unsigned i = params->count; i > 0; i--)
        gen_op_u(g, WASM_OP_LOCAL_SET, gen_scratch(g, params->items[i - 1]));
}

/* A block, loop or if of the type `sig`, its parameters' values made here. */
static void block(struct gen *g, unsigned sig, int depth)
{
    const struct sig *s = &g->sigs[sig];
    static const unsigned kinds[] = {WASM_OP_BLOCK, WASM_OP_LOOP, WASM_OP_IF};
    unsigned kind = kinds[gen_pick(g, 3)];
    exprs(g, &s->params, depth - 2);
    if (kind == WASM_OP_IF)
        expr(g, WASM_I32, depth - 1);
    gen_op(g, kind);
    put_block_type(g, sig);
    g->labels[g->label_count++].types = kind == WASM_OP_LOOP ? s->params : s->results;
    if (kind == WASM_OP_LOOP)
        charge(g);
    for (int half = 0; half < (kind == WASM_OP_IF ? 2 : 1); half++) {
        if (half)
            gen_op(g, WASM_OP_ELSE);
        if (gen_chance(g, 80) || s->params.count != s->results.count ||
            memcmp(s->params.items, s->results.items, s->params.count) != 0) {
            take_params(g, &s->params);
            statements(g, depth - 1);
            exprs(g, &s->results, depth - 1);
        }
    }
    g->label_count--;
    gen_op(g, WASM_OP_END);
}

static bool same_list(const struct list *a, const struct list *b)
{
    return a->count == b->count && memcmp(a->items, b->items, a->count) == 0;
}

/* A catch clause for a label that takes what it leaves; false when there is no such label. */
static bool catch_clause(struct gen *g, struct buf *clauses)
{
    unsigned label = gen_pick(g, g->label_count);
    const struct list *types = &g->labels[g->label_count - 1 - label].types;
    if (types->count == 0 && gen_chance(g, 30)) {
        gen_put(clauses, WASM_CATCH_ALL);
        gen_put_u(clauses, label);
        return true;
    }
    if (types->count == 1 && types->items[0] == WASM_EXNREF && gen_chance(g, 30)) {
        gen_put(clauses, WASM_CATCH_ALL_REF);
        gen_put_u(clauses, label);
        return true;
    }
    for (unsigned i = 0; i < g->tag_count; i++)
        for (unsigned kind = 0; kind < 2; kind++)
            if (same_list(types, &g->sigs[g->catch_sig[i][kind]].results)) {
                gen_put(clauses, kind ? WASM_CATCH_REF : WASM_CATCH);
                gen_put_u(clauses, i);
                gen_put_u(clauses, label);
                return true;
            }
    return false;
}

/* A block that a try_table inside it may leave by a catch clause; then one of the values that the
 * block leaves is kept, if there is one of `type`. */
static bool try_block(struct gen *g, uint8_t type, int depth)
{
    struct list exnref = {.items = {WASM_EXNREF}, .count = 1}, nothing = {.count = 0}, outer;
    unsigned choice = gen_pick(g, 10), tag = gen_pick(g, g->tag_count);
    gen_op(g, WASM_OP_BLOCK);
    if (choice < 7) {
        unsigned sig = g->catch_sig[tag][choice % 2];
        outer = g->sigs[sig].results;
        put_block_type(g, sig);
    } else {
        outer = choice < 9 ? nothing : exnref;
        gen_put(&g->code, choice < 9 ? 0x40 : WASM_EXNREF);
    }
    g->labels[g->label_count++].types = outer;
    unsigned inner = gen_pick(g, g->sig_count);
    const struct sig *s = &g->sigs[inner];
    exprs(g, &s->params, depth - 2);
    struct buf clauses;
    buf_init(&clauses, NULL);
    unsigned count = 1;
    gen_put(&clauses, choice < 7 ? choice % 2 : choice < 9 ? WASM_CATCH_ALL : WASM_CATCH_ALL_REF);
    if (choice < 7)
        gen_put_u(&clauses, tag);
    gen_put_u(&clauses, 0);
    for (unsigned n = gen_pick(g, 3); n > 0; n--)
        count += catch_clause(g, &clauses);
    gen_op(g, WASM_OP_TRY_TABLE);
    put_block_type(g, inner);
    gen_put_u(&g->code, count);
    buf_append(&g->code, clauses.data, clauses.count);
    buf_deinit(&clauses);
    g->labels[g->label_count++].types = s->results;
    take_params(g, &s->params);
    statements(g, depth - 1);
    if (gen_chance(g, 60)) { /* something that throws */
        unsigned thrown = gen_chance(g, 60) ? tag : gen_pick(g, g->tag_count);
        expr(g, WASM_I32, depth - 2);
        gen_op(g, WASM_OP_IF);
        gen_put(&g->code, 0x40);
        g->labels[g->label_count++].types = nothing;
        exprs(g, &g->sigs[g->tag_sig[thrown]].params, depth - 2);
        gen_op_u(g, WASM_OP_THROW, thrown);
        gen_op(g, WASM_OP_END);
        g->label_count--;
    }
    exprs(g, &s->results, depth - 1);
    gen_op(g, WASM_OP_END);
    g->label_count--;
    (void)keep_one(g, &s->results, 0);
    exprs(g, &outer, depth - 2);
    gen_op(g, WASM_OP_END);
    g->label_count--;
    return keep_one(g, &outer, type);
}

/* A signature with `type` among its results, or any; -1 when there is none. */
static int find_sig(struct gen *g, uint8_t type)
{
    unsigned from = gen_pick(g, g->sig_count);
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
    unsigned from = gen_chance(g, 90) ? g->func_index + 1 : 0;
    unsigned skip = gen_pick(g, 3), callee = g->func_count;
    for (unsigned i = from; i < g->func_count; i++) {
        if (g->func_sig[i] == sig) {
            callee = i;
            if (skip-- == 0)
                break;
        }
    }
    if (callee < g->func_count) {
        exprs(g, &g->sigs[sig].params, depth - 2);
        gen_op_u(g, WASM_OP_CALL, callee);
    } else if (gen_chance(g, 6)) {
        unsigned table = (unsigned)find_table(g, WASM_FUNCREF);
        exprs(g, &g->sigs[sig].params, depth - 2);
        table_index(g, table, depth - 2);
        gen_op_u(g, WASM_OP_CALL_INDIRECT, sig);
        gen_put_u(&g->code, table);
    } else {
        exprs(g, &g->sigs[sig].results, depth - 2);
    }
}

static bool tail_call(struct gen *g, int depth)
{
    if (gen_chance(g, 15)) {
        for (unsigned i = 0; i < g->sig_count; i++)
            if (same_list(&g->sigs[i].results, &g->sig->results) && gen_chance(g, 40)) {
                unsigned table = (unsigned)find_table(g, WASM_FUNCREF);
                exprs(g, &g->sigs[i].params, depth - 2);
                table_index(g, table, depth - 2);
                gen_op_u(g, WASM_OP_RETURN_CALL_INDIRECT, i);
                gen_put_u(&g->code, table);
                return true;
            }
    }
    for (unsigned i = gen_chance(g, 85) ? g->func_index + 1 : 0; i < g->func_count; i++)
        if (same_list(&g->sigs[g->func_sig[i]].results, &g->sig->results) && gen_chance(g, 40)) {
            exprs(g, &g->sigs[g->func_sig[i]].params, depth - 2);
            gen_op_u(g, WASM_OP_RETURN_CALL, i);
            return true;
        }
    return false;
}

/* Leaves the function or a block; what follows is unreachable. */
static void jump(struct gen *g, int depth)
{
    unsigned label = gen_pick(g, g->label_count);
    const struct list *types = &g->labels[g->label_count - 1 - label].types;
    switch (gen_pick(g, 9)) {
    case 0:
        if (gen_chance(g, 90))
            break;
        gen_op(g, WASM_OP_UNREACHABLE);
        return;
    case 1:
        exprs(g, &g->sig->results, depth - 2);
        gen_op(g, WASM_OP_RETURN);
        return;
    case 2:
        if (g->features & GEN_TAIL_CALLS && tail_call(g, depth))
            return;
        break;
    case 3:
    case 4: {
        unsigned others[6], count = 0;
        exprs(g, types, depth - 2);
        expr(g, WASM_I32, depth - 2);
        for (unsigned i = 0; i < 6; i++) {
            unsigned other = gen_pick(g, g->label_count);
            if (same_list(types, &g->labels[g->label_count - 1 - other].types))
                others[count++] = other;
        }
        gen_op_u(g, WASM_OP_BR_TABLE, count);
        for (unsigned i = 0; i < count; i++)
            gen_put_u(&g->code, others[i]);
        gen_put_u(&g->code, label);
        return;
    }
    case 5:
        if (g->tag_count && gen_chance(g, 50)) {
            unsigned tag = gen_pick(g, g->tag_count);
            exprs(g, &g->sigs[g->tag_sig[tag]].params, depth - 2);
            gen_op_u(g, WASM_OP_THROW, tag);
            return;
        }
        if (g->tag_count && gen_chance(g, 50)) {
            expr(g, WASM_EXNREF, depth - 2);
            gen_op(g, WASM_OP_THROW_REF);
            return;
        }
        break;
    default:
        break;
    }
    exprs(g, types, depth - 2);
    gen_op_u(g, WASM_OP_BR, label);
}

static void leaf(struct gen *g, uint8_t type)
{
    unsigned from = gen_pick(g, g->local_count);
    if (gen_chance(g, 65)) {
        for (unsigned i = 0; i < g->local_count; i++) {
            unsigned n = (from + i) % g->local_count;
            if (g->locals[n] == type) {
                gen_op_u(g, WASM_OP_LOCAL_GET, n);
                return;
            }
        }
    } else if (gen_chance(g, 30)) {
        from = gen_pick(g, g->global_count);
        for (unsigned i = 0; i < g->global_count; i++) {
            unsigned n = (from + i) % g->global_count;
            if (g->globals[n] == type) {
                gen_op_u(g, WASM_OP_GLOBAL_GET, n);
                return;
            }
        }
    }
    gen_put_const(g, &g->code, type);
}

static void reference(struct gen *g, uint8_t type, int depth)
{
    int table = type == WASM_EXNREF ? -1 : find_table(g, type);
    if (type == WASM_EXTERNREF && g->import_count && gen_chance(g, 40)) {
        expr(g, WASM_I32, depth - 1);
        gen_op_u(g, WASM_OP_CALL, 2);
    } else if (table >= 0 && gen_chance(g, 70)) {
        table_index(g, (unsigned)table, depth - 1);
        gen_op_u(g, WASM_OP_TABLE_GET, (uint64_t)table);
    } else if (type != WASM_EXNREF || !g->tag_count || !try_block(g, type, depth)) {
        leaf(g, type);
    }
}

/* table.size, table.grow. */
static void table_size(struct gen *g, int depth)
{
    unsigned table = gen_pick(g, g->table_count);
    if (gen_chance(g, 40)) {
        gen_op_u(g, WASM_OP_TABLE_SIZE, table);
    } else {
        expr(g, g->tables[table].type, depth - 1);
        index_const(g, g->tables[table].is64,
                    gen_chance(g, 95) || !g->tables[table].has_max ? gen_pick(g, 3) : UINT64_MAX);
        gen_op_u(g, WASM_OP_TABLE_GROW, table);
    }
    if (g->tables[table].is64)
        gen_op(g, WASM_OP_I32_WRAP_I64);
}

/* Leaves one value of `type`. */
static void expr(struct gen *g, uint8_t type, int depth)
{
    if (depth <= 0 || g->code.count > BODY_BYTES) {
        leaf(g, type);
        return;
    }
    uint32_t n = gen_pick(g, 100);
    int sig = n >= 70 && n < 90 ? find_sig(g, type) : -1;
    bool has_room = g->label_count + 4 < LABELS_MAX;
    if (n < 12) {
        leaf(g, type);
    } else if (n < 60 && !is_reference(type)) {
        operation(g, type, depth);
    } else if (n < 65) {
        for (unsigned i = 0; i < g->local_count - TYPE_COUNT; i++) {
            if (g->locals[i] == type && gen_chance(g, 60)) {
                expr(g, type, depth - 1);
                gen_op_u(g, WASM_OP_LOCAL_TEE, i);
                return;
            }
        }
        leaf(g, type);
    } else if (n < 70) {
        expr(g, type, depth - 1);
        expr(g, type, depth - 1);
        expr(g, WASM_I32, depth - 1);
        if (is_reference(type) || gen_chance(g, 20)) {
            gen_op_u(g, WASM_OP_SELECT_T, 1);
            gen_put(&g->code, type);
        } else {
            gen_op(g, WASM_OP_SELECT);
        }
    } else if (n < 80 && sig >= 0 && has_room) {
        block(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, type);
    } else if (n < 90 && sig >= 0) {
        call_results(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, type);
    } else if (n == 90) {
        jump(g, depth);
    } else if (is_reference(type)) {
        reference(g, type, depth);
    } else if (n < 93 && type == WASM_I32) {
        static const uint8_t references[] = {WASM_FUNCREF, WASM_EXTERNREF, WASM_EXNREF};
        uint8_t reference = references[gen_pick(g, 3)];
        if ((reference == WASM_EXTERNREF && !(g->features & GEN_TABLES)) ||
            (reference == WASM_EXNREF && !(g->features & GEN_EXCEPTIONS)))
            reference = WASM_FUNCREF;
        expr(g, reference, depth - 1);
        gen_op(g, WASM_OP_REF_IS_NULL);
    } else if (n < 95 && type == WASM_I32) {
        table_size(g, depth);
    } else if (n < 97 && (type == WASM_I32 || type == WASM_I64)) {
        memory_size(g, type);
    } else if (n < 96 && type == WASM_V128 && g->features & GEN_RELAXED && g->relaxed_count) {
        relaxed(g, depth - 1);
    } else if (g->tag_count && has_room) {
        if (!try_block(g, type, depth))
            leaf(g, type);
    } else {
        operation(g, type, depth);
    }
}

/* ---- statements -------------------------------------------------------------------------- */

/* Memory and table operations over ranges, mostly in bounds. */
static void bulk(struct gen *g, int depth)
{
    unsigned memory = gen_pick(g, g->memory_count), from = gen_pick(g, g->memory_count);
    unsigned table = gen_pick(g, g->table_count), elem = gen_pick(g, g->elem_count);
    bool is64 = g->memories[memory].is64;
    int other;
    switch (gen_pick(g, 9)) {
    case 0:
        address(g, memory, depth - 1);
        expr(g, WASM_I32, depth - 1);
        index_const(g, is64, gen_chance(g, 97) ? gen_pick(g, 300) : gen_pick(g, 70000));
        gen_op_u(g, WASM_OP_MEMORY_FILL, memory);
        break;
    case 1:
        address(g, memory, depth - 1);
        address(g, from, depth - 1);
        index_const(g, is64 && g->memories[from].is64, gen_pick(g, 300));
        gen_op_u(g, WASM_OP_MEMORY_COPY, memory);
        gen_put_u(&g->code, from);
        break;
    case 2:
        address(g, memory, depth - 1);
        gen_i32_const(g, (int32_t)gen_pick(g, 12));
        gen_i32_const(g, (int32_t)gen_pick(g, 24));
        gen_op_u(g, WASM_OP_MEMORY_INIT, gen_pick(g, g->data_count));
        gen_put_u(&g->code, memory);
        break;
    case 3:
        gen_op_u(g, WASM_OP_DATA_DROP, gen_pick(g, g->data_count));
        break;
    case 4:
        table_small(g, table, 9);
        expr(g, g->tables[table].type, depth - 1);
        table_small(g, table, 4);
        gen_op_u(g, WASM_OP_TABLE_FILL, table);
        break;
    case 5:
        other = find_table(g, g->tables[table].type);
        table_small(g, table, 9);
        table_small(g, (unsigned)other, 9);
        index_const(g, g->tables[table].is64 && g->tables[other].is64, gen_pick(g, 4));
        gen_op_u(g, WASM_OP_TABLE_COPY, table);
        gen_put_u(&g->code, (uint64_t)other);
        break;
    case 6:
        other = find_table(g, g->elem_types[elem]);
        if (other < 0)
            break;
        table_small(g, (unsigned)other, 9);
        gen_i32_const(g, (int32_t)gen_pick(g, 3));
        gen_i32_const(g, (int32_t)gen_pick(g, 4));
        gen_op_u(g, WASM_OP_TABLE_INIT, elem);
        gen_put_u(&g->code, (uint64_t)other);
        break;
    case 7:
        gen_op_u(g, WASM_OP_ELEM_DROP, elem);
        break;
    default:
        table_small(g, table, 9);
        expr(g, g->tables[table].type, depth - 1);
        gen_op_u(g, WASM_OP_TABLE_SET, table);
    }
}

static void store(struct gen *g, int depth)
{
    unsigned memory = gen_pick(g, g->memory_count);
    unsigned code = g->by_result[NO_RESULT].ops[gen_pick(g, g->by_result[NO_RESULT].count)];
    operands(g, &wasm_op_infos[code], memory, depth - 1);
    gen_op(g, code);
    immediates(g, &wasm_op_infos[code], memory);
}

static void statement(struct gen *g, int depth)
{
    uint32_t n = gen_pick(g, 100);
    if (n < 26) {
        store(g, depth);
    } else if (n < 46) {
        unsigned local = gen_pick(g, g->local_count);
        expr(g, g->locals[local], depth - 1);
        gen_op_u(g, WASM_OP_LOCAL_SET, local);
    } else if (n < 58 && g->global_count > 1) {
        unsigned global = gen_pick(g, g->global_count - 1);
        expr_seen(g, g->globals[global], depth - 1);
        gen_op_u(g, WASM_OP_GLOBAL_SET, global);
    } else if (n < 60) {
        expr(g, gen_pick_type(g), depth - 1);
        gen_op(g, WASM_OP_DROP);
    } else if (n < 72) {
        bulk(g, depth);
    } else if (n < 80 && g->label_count < LABELS_MAX) {
        int sig = find_sig(g, 0);
        block(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, 0);
    } else if (n < 84 && g->label_count + 4 < LABELS_MAX && g->tag_count) {
        (void)try_block(g, 0, depth);
    } else if (n < 92) {
        unsigned label = gen_pick(g, g->label_count);
        const struct list types = g->labels[g->label_count - 1 - label].types;
        exprs(g, &types, depth - 1);
        expr(g, WASM_I32, depth - 1);
        gen_op_u(g, WASM_OP_BR_IF, label);
        (void)keep_one(g, &types, 0);
    } else if (n < 97) {
        int sig = find_sig(g, 0);
        call_results(g, (unsigned)sig, depth);
        (void)keep_one(g, &g->sigs[sig].results, 0);
    } else if (n == 97 && g->import_count) {
        gen_op_u(g, WASM_OP_CALL, 3);
    } else {
        gen_op(g, WASM_OP_NOP);
    }
}

static void statements(struct gen *g, int depth)
{
    for (unsigned n = gen_pick(g, 4); n > 0 && depth > 0 && g->code.count < BODY_BYTES; n--)
        statement(g, depth);
}

void gen_body(struct gen *g, bool is_deep)
{
    charge(g);
    statements(g, is_deep ? DEPTH_MAX : 2);
    if (is_deep)
        statements(g, DEPTH_MAX);
    exprs(g, &g->sig->results, DEPTH_MAX);
}

void gen_fold(struct gen *g, uint8_t type)
{
    if ((type == WASM_F32 || type == WASM_F64) && g->features & (GEN_FLOATS | GEN_SHAPES))
        gen_canonicalize(g, type, false);
    switch (type) {
    case WASM_F32: gen_op(g, WASM_OP_I32_REINTERPRET_F32); gen_op(g, WASM_OP_I64_EXTEND_I32_U); break;
    case WASM_F64: gen_op(g, WASM_OP_I64_REINTERPRET_F64); break;
    case WASM_I32: gen_op(g, WASM_OP_I64_EXTEND_I32_U); break;
    case WASM_V128:
        gen_op_u(g, WASM_OP_LOCAL_TEE, gen_scratch(g, WASM_V128));
        gen_op(g, WASM_OP_I64X2_EXTRACT_LANE);
        gen_put(&g->code, 0);
        gen_op_u(g, WASM_OP_LOCAL_GET, gen_scratch(g, WASM_V128));
        gen_op(g, WASM_OP_I64X2_EXTRACT_LANE);
        gen_put(&g->code, 1);
        gen_i32_const(g, 1);
        gen_op(g, WASM_OP_I64_EXTEND_I32_U);
        gen_op(g, WASM_OP_I64_ROTL);
        gen_op(g, WASM_OP_I64_XOR);
        break;
    case WASM_FUNCREF: case WASM_EXTERNREF: case WASM_EXNREF:
        gen_op(g, WASM_OP_REF_IS_NULL);
        gen_op(g, WASM_OP_I64_EXTEND_I32_U);
        break;
    default: break;
    }
    gen_op(g, WASM_OP_I64_XOR);
    gen_op(g, WASM_OP_I64_CONST);
    gen_put_s(&g->code, 17);
    gen_op(g, WASM_OP_I64_ROTL);
}

/* Operations that are nothing but operands, immediates and one result at most. */
void gen_collect_operations(struct gen *g)
{
    for (unsigned code = 0; code < WASM_GROUP_SIMD + 0x200; code++) {
        const struct wasm_op_info *info = &wasm_op_infos[code];
        if (!info->name || strchr(info->operands, '*') || strchr(info->result, '*') ||
            (code >= WASM_GROUP_GC && code < WASM_GROUP_SIMD) ||
            (code >= WASM_GROUP_SIMD && !(g->features & GEN_SIMD)))
            continue;
        if (strstr(info->name, "relaxed")) {
            g->relaxed[g->relaxed_count++] = (uint16_t)code;
            continue;
        }
        switch ((enum wasm_imm)info->imm) {
        case WASM_IMM_NONE: case WASM_IMM_MEMARG: case WASM_IMM_MEMARG_LANE: case WASM_IMM_LANE:
        case WASM_IMM_SHUFFLE:
            break;
        default:
            continue;
        }
        uint8_t result = wasm_op_letter_type(info->result[0]);
        unsigned n = result ? gen_type_number(result) : NO_RESULT;
        if (code != WASM_OP_NOP && g->by_result[n].count < OPS_MAX)
            g->by_result[n].ops[g->by_result[n].count++] = (uint16_t)code;
    }
}
